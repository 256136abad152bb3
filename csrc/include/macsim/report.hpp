// Report: what analysis found, node by node and in sum, symbolic until bound.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_REPORT_HPP
#define MACSIM_REPORT_HPP

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "macsim/contents.hpp"
#include "macsim/diag.hpp"
#include "macsim/expr.hpp"
#include "macsim/graph.hpp"
#include "macsim/onnx.hpp"
#include "macsim/registry.hpp"
#include "macsim/rule.hpp"

namespace macsim {

/// A quantity of a row. The first kWorks are Work, in its order; then bytes; then parts of the macs.
enum class Column : std::uint8_t {
  // clang-format off: as Work
  mac, add, mul, div, compare, exp, log, sqrt, trig, logic, convert,
  // clang-format on
  read,     ///< bytes of activations read
  weights,  ///< bytes read of tensors stored in the model
  written,  ///< bytes written
  masked,   ///< of the macs, those at positions that a causal mask or a window hides
  count_,
};
inline constexpr std::size_t kColumns = static_cast<std::size_t>(Column::count_);
std::string_view name_of(Column column) noexcept;

/// What is given with a model.
struct Given {
  Type type;             ///< unranked: take the model's
  ContentsPtr contents;  ///< null: only the shape is given
};
struct Options {
  std::map<std::string, Given, std::less<>> inputs;  ///< shapes and contents of inputs, by name
  Bindings dims;                                     ///< sizes of symbols
  std::size_t most_rows = 20'000'000;                ///< stop expanding functions and loops beyond this
};

/// A sum of rows.
struct Total {
  std::array<Count, kColumns> sum{};
  Count flops, int_ops;        ///< 2 a mac, 1 for every other scalar operation on floats; the same for integers
  Trust trust = Trust::exact;  ///< the worst of the rows; unknown, too, when a sum does not fit 128 bits
  std::size_t rows = 0;        ///< how many rows
  std::size_t unknown = 0;     ///< how many of them are unknown: then the sums are lower bounds
  const Count& operator[](Column c) const { return sum[static_cast<std::size_t>(c)]; }
  Count macs_unmasked() const { return (*this)[Column::mac] - (*this)[Column::masked]; }
};

/// How rows are grouped.
enum class Key : std::uint8_t { op, node, scope, dtype, rule };

/// A tensor at a row's edge.
struct Tensor {
  std::string_view name;
  std::string_view slot;  ///< the operator's name for it, may be empty
  Type type;
  Role role = Role::activation;
};

/// A symbol that is still free, and what it stands for.
struct Unbound {
  std::string name;
  std::string why;
};

/// The result of analyze(): rows in the order of execution. Copies share their data. Safe to read from many threads.
class Report {
 public:
  std::size_t rows() const noexcept;
  // One row; `i` must be below rows(). Texts live as long as the report's data.
  std::string_view name(std::size_t i) const;  ///< the node's name, may be empty
  std::string op(std::size_t i) const;         ///< "Conv"; "com.microsoft::FusedConv" outside the default dialect
  std::string rule(std::size_t i) const;       ///< the rule's name; "" when unknown
  std::string scope(std::size_t i) const;      ///< "encoder.layers.0.attn": the modules around it, may be empty
  std::string path(std::size_t i) const;  ///< bodies and functions around it, then its name: unique enough to find it
  Trust trust(std::size_t i) const;
  std::string_view because(std::size_t i) const;         ///< the reason for a zero or for a trust below exact
  DType compute(std::size_t i) const;                    ///< of the work other than macs
  std::array<DType, 3> mac_dtypes(std::size_t i) const;  ///< lhs, rhs, accumulator
  Count times(std::size_t i) const;                      ///< how often the node runs (loops)
  const Count& at(Column column, std::size_t i) const;
  Count flops(std::size_t i) const;
  Count int_ops(std::size_t i) const;
  Count macs_unmasked(std::size_t i) const;         ///< of kernels that skip what a causal mask or a window hides
  std::vector<Tensor> inputs(std::size_t i) const;  ///< absent ones are left out
  std::vector<Tensor> outputs(std::size_t i) const;

  Total total() const;
  /// Groups in order of first appearance. `depth` limits scopes to so many levels; -1: all.
  std::vector<std::pair<std::string, Total>> by(Key key, int depth = -1) const;
  /// For every row, the group it is in, as an index into by()'s result.
  std::vector<std::uint32_t> groups(Key key, int depth = -1) const;

  std::vector<Tensor> graph_inputs() const;
  std::vector<Tensor> graph_outputs() const;
  /// What is known of the elements of graph output i; null: nothing.
  ContentsPtr output_contents(std::size_t i) const;
  Count parameters() const;    ///< elements of stored tensors that are read as data, each once
  Count weight_bytes() const;  ///< their bytes
  std::vector<Unbound> unbound() const;
  /// What must be at least 0 for the counts to hold and depends on symbols that are free: bind() refuses other sizes.
  std::vector<Expr> assumptions() const;
  const std::vector<Diagnostic>& diagnostics() const;
  const Model& model() const;
  ModelPtr shared_model() const;

  /// Puts sizes in the place of symbols; nothing is analysed again. bad_request when a size is negative, a name is
  /// nobody's, or an assumption made on the way does not hold for it.
  Result<Report> bind(const Bindings& sizes) const;

  struct Data;
  const std::shared_ptr<const Data>& data() const noexcept { return data_; }
  explicit Report(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

 private:
  std::shared_ptr<const Data> data_;
};

/// Infers every type and counts every node. Always gives a report: what is unknown is marked and listed in its
/// diagnostics. Fails only with bad_request, when something in `options` does not fit the model.
Result<Report> analyze(ModelPtr model, const Registry& registry, const Options& options = {});

}  // namespace macsim

#endif  // MACSIM_REPORT_HPP
