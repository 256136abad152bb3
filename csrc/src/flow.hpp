// The flow of tensors through a finished report: for every row what it reads and writes, views looked through. Private.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "amounts.hpp"
#include "macsim/traffic.hpp"
#include "walk.hpp"

namespace macsim {

/// A tensor that a row reads or writes: a value, the tensor behind its views, and the bytes that move of it, in all
/// runs of the row.
struct Touch {
  std::uint32_t tensor = 0, value = 0;
  Amounts::Id bytes = 0;
};

/// What a sequence was made of, where that is said in the same graph.
Span<ValueId> elements_of(const Model& model, const Graph& graph, ValueId sequence);

/// Values of all frames are numbered one after another; a tensor is a value that is nobody's view.
class Flow {
 public:
  /// `cache`: names of inputs and outputs that are of keys and values of earlier tokens; none: is_cache_name() tells.
  Flow(const Report::Data& from, std::optional<std::vector<std::string>> cache);

  std::size_t rows() const noexcept { return found.node.size(); }
  std::size_t values() const noexcept { return alias_.size(); }
  Span<Touch> reads(std::size_t row) const { return span(reads_, read_first_, row); }
  Span<Touch> writes(std::size_t row) const { return span(writes_, write_first_, row); }
  /// Rows that read a tensor, in order, once for each time.
  Span<std::uint32_t> readers(std::uint32_t tensor) const { return span(readers_, reader_first_, tensor); }
  std::uint32_t producer(std::uint32_t tensor) const noexcept { return producer_[tensor]; }  ///< row; kNone
  /// Rows that write it before its producer does: rounds of a loop, each a part.
  Span<std::uint32_t> earlier(std::uint32_t tensor) const {
    if (earlier_.empty()) return {};
    const auto at = earlier_.find(tensor);
    return at == earlier_.end() ? Span<std::uint32_t>() : Span<std::uint32_t>(at->second.data(), at->second.size());
  }
  bool escapes(std::uint32_t tensor) const noexcept { return escapes_[tensor]; }  ///< others than rows need it
  bool leaves(std::uint32_t tensor) const noexcept { return leaves_[tensor]; }    ///< an output of the model
  Access access(std::size_t row) const noexcept { return access_[op(row)]; }
  std::uint32_t op(std::size_t row) const noexcept {  ///< into Model::ops
    return frame_at(row).graph->nodes[found.node[row]].op;
  }
  /// Its bytes are its own rule's: they are not all of its inputs and outputs, once.
  bool is_custom(std::size_t row) const noexcept { return found.own_bytes[row] != 0; }
  /// Rows of one region may be one kernel: they run as often, with nothing of control flow between them.
  std::uint32_t region(std::size_t row) const noexcept { return region_[found.frame[row]]; }
  /// Weights, inputs of the model, what is worked out before it runs, and what bodies get that nobody can follow: no
  /// row of it writes them.
  bool is_given(std::uint32_t tensor) const noexcept {
    const std::uint32_t maker = producer_[tensor];
    if (maker != kNone) return write_first_[maker] == write_first_[maker + 1];
    return true;
  }
  bool runs_once(std::size_t row) const { return found.times.empty() && frame_at(row).times.is(1); }
  Duty duty(std::uint32_t tensor) const noexcept { return duty_[tensor]; }
  const Type& type(std::uint32_t value) const;
  /// Bytes of a value that rows touch, with the sizes that are bound, in one run.
  Amounts::Id size(std::uint32_t value) const noexcept { return size_[value] == kNone ? Amounts::kZero : size_[value]; }
  const Amounts& amounts() const noexcept { return amounts_; }
  const Count& count(Amounts::Id id) const { return amounts_[id]; }
  std::uint32_t tensor_of(std::uint32_t frame, ValueId id) const noexcept;
  std::uint32_t value_of(std::uint32_t frame, ValueId id) const noexcept { return base_[frame] + id; }
  std::string_view name(std::uint32_t value) const;
  const Nest* nest(std::size_t row) const;
  Count bound(const Count& count) const { return count.is_constant() ? count : count.bind(data.bound); }

  const Report::Data& data;
  const Analysis& found;

 private:
  template <class T>
  static Span<T> span(const std::vector<T>& all, const std::vector<std::uint32_t>& first, std::size_t at) {
    return {all.data() + first[at], first[at + 1] - first[at]};
  }
  const Frame& frame_at(std::size_t row) const noexcept { return *frames_[found.frame[row]]; }
  void number();
  void classify();
  bool is_cache_name(std::string_view name) const;
  // Control flow: flow_bodies.cpp.
  void join(std::uint32_t value, std::uint32_t to, bool part);
  void join_bodies();
  void join_arguments(std::uint32_t frame, std::uint32_t before);
  void join_elements(std::uint32_t frame, std::size_t round);
  void join_results(std::uint32_t frame);
  void join_stacks();
  void find_escapes();
  void go_through(std::size_t row);
  void add_reads(std::size_t row, const Node& node, std::uint32_t frame, Amounts::Id repeat);
  void fit(std::size_t first, Amounts::Id stated, bool weights, std::uint32_t frame);
  Amounts::Id sized(std::uint32_t frame, ValueId id);
  Amounts::Id sized(std::uint32_t value);
  Amounts::Id times(std::size_t row);
  void find_readers();
  const Count& at(Column column, std::size_t row) const;
  Amounts::Id narrow(std::uint32_t value, std::uint32_t tensor);
  std::uint32_t frame_of(std::uint32_t value) const;

  std::vector<const Frame*> frames_;  // those of the analysis, at hand
  std::vector<Access> access_;        // by operator of the model
  std::vector<std::uint32_t> base_;   // by frame: its first value
  std::vector<std::uint32_t> alias_;  // by value: what it is a view of; itself
  std::vector<std::uint32_t> producer_;
  std::vector<bool> escapes_, leaves_;
  std::vector<Duty> duty_;
  std::vector<std::uint32_t> region_;  // by frame
  struct Stack {
    std::uint32_t frame, made, whole;  // a round, what it makes, the value that all rounds make
  };
  std::vector<Stack> stacks_;
  std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> earlier_;
  std::optional<std::vector<std::string>> cache_;
  std::vector<Amounts::Id> size_;  // by value; kNone: not asked for yet
  Amounts amounts_;
  struct Sized {
    const Type* type = nullptr;
    Amounts::Id id = 0;
  };
  std::vector<Sized> sized_;  // by hash: layers repeat
  std::vector<Touch> reads_, writes_;
  std::vector<std::uint32_t> read_first_, write_first_, readers_, reader_first_;
};

/// What of an operator matters for kernels beyond its access.
enum class Step : std::uint8_t {
  none,
  largest,
  less,
  exponential,
  sum,
  quotient,
  inverse,
  times,   ///< a softmax that is written as its steps
  joined,  ///< tensors one after another
  part,    ///< of a tensor
  turned,  ///< the same elements in another order
};
/// By operator of the model.
std::vector<Step> steps_of(const Flow& flow);

/// Which rows are one kernel: by row, kNone for those that move nothing. `inlined`: rows that kernels of others do
/// while they read; they are in the first of these. Kernels are numbered as they can run, each after those whose
/// results it needs.
struct Kernels {
  std::vector<std::uint32_t> group;
  std::vector<bool> inlined;
  std::vector<Step> step;  ///< by operator of the model
  std::uint32_t count = 0;
  Step step_of(const Flow& flow, std::size_t row) const { return step[flow.op(row)]; }
};
Kernels kernels_of(const Flow& flow);

/// One kernel's tensors from outside, and those of its own that others need.
struct Edges {
  std::vector<std::uint32_t> first_read, first_write;  // by kernel, one more at the end
  struct Edge {
    std::uint32_t row = 0;
    Touch touch;
    bool part = false;  ///< of several that the tensor is split into
  };
  std::vector<Edge> reads, writes;
};
Edges edges_of(const Flow& flow, const Kernels& kernels, Amounts& amounts);

/// Bytes of a tensor that were brought after a kernel has read its share, when so many were before.
Amounts::Id brought_after(const Flow& flow, Amounts& amounts, const Edges::Edge& edge, Amounts::Id before);

/// A tensor that its kernel writes to its place in what `row` puts together, so that the row does not move it.
struct Placed {
  std::uint32_t row = 0, tensor = 0;
  Amounts::Id bytes = 0;
  bool operator<(const Placed& other) const noexcept {
    return row != other.row ? row < other.row : tensor < other.tensor;
  }
};
std::vector<Placed> placed_in(const Flow& flow, const Kernels& kernels, const Edges& edges);

/// Fills in what moves.
class Bytes {
 public:
  Bytes(const Flow& flow, Amounts& amounts, Traffic& out);
  void add(std::uint32_t row, bool written, std::uint32_t tensor, Amounts::Id bytes);
  void finish();

 private:
  Count total(const std::vector<std::int64_t>& times);

  const Flow& flow_;
  Amounts& amounts_;
  Traffic& out_;
  std::array<std::vector<std::int64_t>, kDuties> times_[2];  // read, written; by amount: how often
};

/// Puts the bytes of kernels behind a memory of `capacity` bytes into `out`.
void put_cached(const Flow& flow, const Kernels& kernels, const Edges& edges, Amounts& amounts, Traffic& out);

Memory memory_of(const Flow& flow, const Report& report, const MemoryOptions& options);

}  // namespace macsim
