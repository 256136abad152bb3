// Rule: the row of an operator. Its shape rule, its cost rule, its formula in words, and every name it answers to.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_RULE_HPP
#define MACSIM_RULE_HPP

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "macsim/contents.hpp"
#include "macsim/diag.hpp"
#include "macsim/dtype.hpp"
#include "macsim/graph.hpp"
#include "macsim/text.hpp"

namespace macsim {

/// Kinds of work that an energy table can price. A mac is one multiply and one add. Each of the others is one scalar
/// operation; exp stands for exp-like functions (tanh, erf, sigmoid's exponential), trig for sin, cos and their kin.
enum class Work : std::uint8_t { mac, add, mul, div, compare, exp, log, sqrt, trig, logic, convert, count_ };
inline constexpr std::size_t kWorks = static_cast<std::size_t>(Work::count_);
std::string_view name_of(Work work) noexcept;

/// How far a number can be trusted; in a sum the worst wins.
enum class Trust : std::uint8_t { exact, bound, estimate, unknown };
std::string_view name_of(Trust trust) noexcept;

/// The loops of a convolution or of attention, which the sizes of the operands do not tell: `batch` products of m * k
/// and k * n elements. Attention: m queries (of all heads that share a key) meet n keys of k elements and values of v.
struct Nest {
  Count batch = 1, m, n, k;
  Count v;
  std::int64_t overlap = 1;  ///< of a convolution: how many patches an element of the image is in, at most
};

/// The work and traffic of one node.
struct Cost {
  std::array<Count, kWorks> work{};
  /// Bytes. Unset: all data inputs are read and all outputs written once (analyze fills that in). `read` is of
  /// activations, `weights` of tensors stored in the model.
  std::optional<Count> read, weights, written;
  /// Of the macs, those at positions that a causal mask or a window of the operator's own hides: a kernel that skips
  /// them performs the rest.
  Count masked;
  std::shared_ptr<const Nest> nest;  ///< null: a product whose operands' sizes tell the loops, or no contraction
  DType compute = DType::unknown;    ///< of the work other than macs; unset: the first data input's
  DType lhs = DType::unknown, rhs = DType::unknown, accumulate = DType::unknown;  ///< of the macs
  Trust trust = Trust::exact;
  std::string_view because;  ///< required for a bound, an estimate or all-zero work; a literal

  Count& operator[](Work w) { return work[static_cast<std::size_t>(w)]; }
  const Count& operator[](Work w) const { return work[static_cast<std::size_t>(w)]; }
  /// Nothing is computed and nothing moves: a view, a constant, a host-side number.
  void free(std::string_view why) {
    read = weights = written = Count(0);
    because = why;
  }
  /// Nothing is computed; the bytes stay as they are or are left to the default.
  void moves(std::string_view why) { because = why; }
};

class Walk;  // the walker, private

/// What a rule sees of one node: inputs by canonical slot, attributes, and (in a cost rule) outputs. Read-only.
/// Slots are positions in Rule::slots; a family file names them with an enum. Asking for a slot that the operator's
/// spelling does not have, or that the node leaves out, is safe: has() is false, the type unknown.
class Call {
 public:
  // Inputs.
  bool has(std::size_t slot) const noexcept;
  const Type& in(std::size_t slot) const noexcept;
  DType dtype(std::size_t slot) const noexcept { return in(slot).dtype; }
  bool ranked(std::size_t slot) const noexcept { return in(slot).ranked; }
  /// The shape of a slot. Where the rank is unknown it is empty and the call is marked: whatever the rule then says,
  /// every output's shape becomes unknown and the cost too, so a rule needs no check of its own. Use ranked() first
  /// where something useful can be said without the shape. An absent slot is empty without a mark.
  const Shape& shape(std::size_t slot) const noexcept;
  /// The elements, when known: shape-computing values, and stored tensors of up to 65536 elements (decoded now, on
  /// demand, and kept). nullptr: unknown.
  const Contents* contents(std::size_t slot) const;
  /// The elements as whole numbers, each perhaps undefined(); nullopt: unknown contents.
  std::optional<std::vector<Dim>> ints(std::size_t slot) const;
  /// The elements as 64-bit constants; nullopt when any is not.
  std::optional<std::vector<std::int64_t>> constants(std::size_t slot) const;
  Role role(std::size_t slot) const noexcept;  ///< weight: stored in the model (also through captures)

  // Inputs by position in the node, for variadic operators.
  std::size_t inputs() const noexcept;
  bool given(std::size_t position) const noexcept;
  const Type& at(std::size_t position) const noexcept;
  const Shape& shape_at(std::size_t position) const noexcept;  ///< marks like shape()
  const Contents* contents_at(std::size_t position) const;

  // Outputs. Types are there in a cost rule.
  std::size_t outputs() const noexcept;
  bool wants(std::size_t i) const noexcept;  ///< the output is there and named
  const Type& out(std::size_t i = 0) const noexcept;
  const Shape& out_shape(std::size_t i = 0) const noexcept;  ///< marks like shape()

  // Attributes; references to a function's attributes are followed.
  bool has_attr(std::string_view name) const noexcept;
  std::int64_t integer(std::string_view name, std::int64_t otherwise) const noexcept;
  double real(std::string_view name, double otherwise) const noexcept;
  std::string_view text(std::string_view name, std::string_view otherwise) const noexcept;
  Span<std::int64_t> integers(std::string_view name) const noexcept;  ///< empty when absent
  Span<double> reals(std::string_view name) const noexcept;
  Span<std::string_view> texts(std::string_view name) const noexcept;
  const Stored* tensor(std::string_view name) const noexcept;
  const Type* type(std::string_view name) const noexcept;
  const Attr* attr(std::string_view name) const noexcept;

  std::string_view op() const noexcept;       ///< "Conv"
  std::string_view dialect() const noexcept;  ///< "onnx"
  std::int64_t version() const noexcept;      ///< opset in force
  std::string_view node_name() const noexcept;

  /// Notes that a simplification took `e` to be at least 0, where it is not for all sizes; bind() then refuses sizes
  /// for which it is not. false: nothing can be assumed here, in a branch that may never run, and nothing was noted.
  bool assume_not_negative(const Expr& e) const;
  /// The same of e - 1.
  bool assume_positive(const Expr& e) const { return assume_not_negative(e - 1); }
  /// Notes that the operator needs a == b, where that is not so for all sizes; bind() then refuses sizes for which it
  /// is not. `what` they are, in the plural, is a literal: "the numbers of elements".
  void assume_equal(const Expr& a, const Expr& b, std::string_view what) const;
  /// Puts a remark about this node in the report.
  void remark(Code code, std::string text) const;

 private:
  friend class Walk;
  friend class Outputs;
  explicit Call(Walk& walk) noexcept : walk_(walk) {}
  Walk& walk_;
};

/// Where a shape rule puts its results.
class Outputs {
 public:
  /// Beyond the node's outputs: ignored, so a rule may always set all that the operator has.
  void set(std::size_t i, DType dtype, Shape shape);
  void set(std::size_t i, Type type);
  void unranked(std::size_t i, DType dtype) { set(i, Type::unranked(dtype)); }
  /// The elements, when they are known. More than kMostItems are dropped. Their number must be the shape's.
  void know(std::size_t i, Contents contents);
  void know(std::size_t i, ContentsPtr contents);
  /// The elements of an input, in the same order, when they are known.
  void pass(std::size_t i, std::size_t slot);
  /// A new named size for something that depends on data: "<node>.<what>". Listed in the report as one to bind; if the
  /// user already bound it, the number. `why` says what it counts, in a few words.
  Dim symbol(std::string_view what, std::string_view why);

 private:
  friend class Walk;
  explicit Outputs(Walk& walk) noexcept : walk_(walk) {}
  Walk& walk_;
};

/// The gradient of one node: the work of those inputs that need one, and what of the run it needs. Unless it says
/// otherwise it reads the gradients of the outputs and all that was kept, and writes the gradients of the inputs.
class Gradient {
 public:
  const Cost& run;  ///< of the operator itself
  Cost cost;        ///< of the gradients
  Cost again;       ///< of what was not kept and is computed once more for them

  Count& operator[](Work w) { return cost[w]; }
  bool needs(std::size_t slot) const noexcept;  ///< the gradient of this input is wanted
  bool needs_at(std::size_t position) const noexcept { return position < needed_.size() && needed_[position]; }
  bool comes(std::size_t output = 0) const noexcept { return output < coming_.size() && coming_[output]; }
  // What is kept from the run until the gradient is computed.
  void keep(std::size_t slot);
  void keep_at(std::size_t position) { kept_inputs_.push_back(position); }
  void keep_output(std::size_t output = 0) { kept_outputs_.push_back(output); }
  void keep_bytes(const Count& bytes) { kept_ += bytes; }  ///< masks, statistics: what is no input and no output
  /// It is not differentiable by this input: no gradient goes there.
  void none(std::size_t slot);
  void none_at(std::size_t position) {
    if (position < needed_.size()) needed_[position] = false;
  }

 private:
  friend class Backward;
  explicit Gradient(const Cost& of_run) noexcept : run(of_run) {}
  const std::vector<std::int32_t>* positions_ = nullptr;  ///< of the slots
  std::vector<bool> needed_, coming_;                     ///< by input position, by output
  std::vector<std::size_t> kept_inputs_, kept_outputs_;
  Count kept_;
};

using InferFn = std::function<Status(const Call&, Outputs&)>;
using CostFn = std::function<Status(const Call&, Cost&)>;
using GradientFn = std::function<Status(const Call&, Gradient&)>;
/// A gradient rule of what has none: its results are constants to whoever differentiates.
struct NoGradient {
  std::string_view because;  ///< a literal
  Status operator()(const Call&, Gradient&) const { return {}; }
};
using ControlFn = Status (*)(Walk&, const Call&, Outputs&);  ///< runs bodies; built-in control flow only

/// How an operator goes over its data: what passes over whole graphs may join it with.
enum class Access : std::uint8_t {
  other,        ///< in an order of its own
  pointwise,    ///< an element of a result from the elements at its place, inputs broadcast
  rows,         ///< from whole rows of its data: reductions, norms
  softmax,      ///< rows, too: where it stands between two products, all three are one kernel
  contraction,  ///< sums of products: what comes next, point by point, may happen before a result is written
  dequantize,   ///< pointwise, and what a contraction can do while it reads
  view,         ///< where it moves nothing, its results are its first input
  update,       ///< its first result is its first input, changed in part or made longer
};

/// One spelling of an operator in one dialect.
struct Binding {
  Text op;                 ///< "onnx::Conv"
  Text slots;              ///< its inputs in order by canonical name, when they differ from the rule's
  std::int64_t since = 1;  ///< first and last version that it answers to
  std::int64_t until = INT64_MAX;
  Text attrs{};           ///< attributes that the dialect calls otherwise, its name first: "dim=axis keepdim=keepdims"
  InferFn infer{};        ///< a shape rule of its own, where the dialect's arguments differ; unset: the rule's
  CostFn cost{};          ///< the same for the cost
  GradientFn gradient{};  ///< the same for the gradient
};

/// The row. Slots are canonical input names in order, "x w b". A leading '#' marks a host-side number (a shape, axes,
/// a ratio): not traffic, not a parameter. A trailing "..." marks the last as repeated: "xs...". A node without any
/// input is refused when the first is data: "x?" says that it may be left out.
struct Rule {
  Text name;  ///< "conv"; unique
  Text slots;
  Text summary;    ///< what it is, one line
  Text formula;    ///< the work in words: "mac = |y| * |w[1:]|; add = |y| with a bias"
  Text reference;  ///< where the semantics are defined
  InferFn infer;
  CostFn cost;
  std::vector<Binding> spelled;
  ControlFn control = nullptr;
  GradientFn gradient{};  ///< unset: nobody knows the work of its gradient
  Access access = Access::other;
};

}  // namespace macsim

#endif  // MACSIM_RULE_HPP
