// Traffic: how many bytes a finished report moves, at four levels, and how much memory a run of it holds. Passes over
// the graph; they ask no rule.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_TRAFFIC_HPP
#define MACSIM_TRAFFIC_HPP

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "macsim/report.hpp"

namespace macsim {

/// What stays near the units that compute, between one operator and the next.
enum class Level : std::uint8_t {
  unfused,  ///< nothing: each operator reads its inputs and writes its outputs; views move nothing
  fused,    ///< what one kernel of today's compilers passes on: see Traffic::group
  minimum,  ///< everything: each weight and input is read once, each output written once
  cached,   ///< what a memory of some capacity holds, the least recently used going first
};
std::string_view name_of(Level level) noexcept;

/// Bytes by what they are of. `cache`: of keys and values of earlier tokens.
enum class Moved : std::uint8_t { read, weights, cache, written, count_ };
inline constexpr std::size_t kMoved = static_cast<std::size_t>(Moved::count_);
std::string_view name_of(Moved moved) noexcept;

/// What a tensor is to the model.
enum class Duty : std::uint8_t { input, weight, cache, activation, output, count_ };
inline constexpr std::size_t kDuties = static_cast<std::size_t>(Duty::count_);
std::string_view name_of(Duty duty) noexcept;

/// Bytes that move at one level. Rows have what they are the first of a kernel to read, and what they make.
struct Traffic {
  Level level = Level::unfused;
  std::int64_t capacity = 0;                               ///< bytes; of `cached`
  std::vector<Count> amounts;                              ///< every amount that occurs, once; [0] is 0
  std::array<std::vector<std::uint32_t>, kMoved> columns;  ///< by row, into `amounts`; what is past the end is 0
  std::array<Count, kMoved> total{};                       ///< what is unknown is left out
  std::array<Count, kDuties> duties{};                     ///< the same bytes, by what they are of
  Trust trust = Trust::exact;        ///< the worst of the rows; unknown: the sums are lower bounds
  std::vector<std::uint32_t> group;  ///< by row: its kernel; kNone: it moves nothing
  std::uint32_t groups = 0;          ///< how many kernels, numbered in the order they run
  /// `cached`, by kernel: what no order of its loops can go below with that capacity when nothing is there before: 2
  /// mnk / sqrt(S) - 2 S elements of a product, and each operand once. 0: not known.
  std::vector<Count> io_bound;
  const Count& at(Moved moved, std::size_t row) const {
    const auto& values = columns[static_cast<std::size_t>(moved)];
    return amounts[row < values.size() ? values[row] : 0];
  }
};

/// A tensor while it is held.
struct Held {
  std::string name;  ///< of the value; else of the node that makes it
  Type type;
  Duty duty = Duty::activation;
  Count bytes;
  std::uint32_t from = 0, to = 0;  ///< rows: the first and the last that need it; from 0, to rows(): all the time
};

struct MemoryOptions {
  /// A module's inputs are held until it returns, as by Python's calls; else until the last row that reads them.
  bool by_module = false;
  /// Results are held until the program let go of them, as a trace saw it; see Flows::saw_releases().
  bool by_program = false;
  bool in_place = false;  ///< point by point, a result takes the place of an input of its size that nobody needs later
};

/// Memory that a run holds, row by row, when each tensor is freed after the last row that reads it. Inputs and weights
/// are held all the time, outputs to the end.
struct Memory {
  Count weights;                ///< bytes of the stored tensors that are read
  std::vector<Count> timeline;  ///< by row: bytes held while it runs, without weights
  Count activations;            ///< the largest of them
  std::uint32_t peak = kNone;   ///< the first row where it is reached; kNone: sizes that are free decide
  std::vector<Held> alive;      ///< then, largest first; empty when sizes that are free decide
  Count peak_bytes;             ///< weights and activations
  Trust trust = Trust::exact;   ///< unknown: a size is not known, and left out
};

/// The tensors of a report, followed once: levels and memory are asked of it. Copies share their data; safe to use from
/// many threads.
class Flows {
 public:
  /// `cache`: names of the inputs and outputs of the model that are keys and values of earlier tokens; unset:
  /// those that are named as exporters name them.
  explicit Flows(Report report, std::optional<std::vector<std::string>> cache = std::nullopt);
  /// `capacity`, of `cached`, in bytes; bad_request when it is not above 0.
  Result<Traffic> traffic(Level level, std::int64_t capacity = 0) const;
  Memory memory(const MemoryOptions& options = {}) const;
  /// Whether it is known how long the program held its results.
  bool saw_releases() const noexcept;

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

}  // namespace macsim

#endif  // MACSIM_TRAFFIC_HPP
