// The shared vocabulary of the families: sizes, broadcasting, windows, axes, and how common rows are written.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

/// Product of the sizes from axis `from` up to (not including) `to`; 1 for none.
Count numel(const Shape& shape, std::size_t from = 0, std::size_t to = SIZE_MAX);
/// Bytes of `count` packed elements, rounded up to whole bytes; undefined for strings and unknown dtypes.
Count bytes(DType dtype, const Count& count);
/// Bytes of a value as it lies in memory; undefined when its shape or dtype is.
Count bytes(const Type& type);

/// The axis as a position in [0, rank); nullopt when outside [-rank, rank-1].
std::optional<std::size_t> axis_in(std::int64_t axis, std::size_t rank) noexcept;
/// All of them, normalised; nullopt when any is outside or one comes twice.
std::optional<std::vector<std::size_t>> axes_in(Span<std::int64_t> axes, std::size_t rank);
/// A list of axes or sizes that older versions state as an attribute and newer ones as an input: the input when it is
/// there, otherwise the attribute. `known` false: the input is there, its contents are not known.
struct IntList {
  bool known = true;
  bool given = false;
  std::vector<std::int64_t> values;
};
IntList int_list(const Call& c, std::size_t slot, std::string_view attribute);
/// Sizes that an operator takes from a 1-D input: its elements, undefined() where they are not known; all undefined()
/// when only their number is known, nullopt when not even that is.
std::optional<std::vector<Dim>> asked_sizes(const Call& c, std::size_t slot);

/// Multidirectional broadcasting. Different symbols give max(a, b), which is right for every legal broadcast of sizes
/// >= 1; the call records that assumption. Two different constants, neither 1: Status bad_inputs.
Status broadcast(const Call& c, const Shape& a, const Shape& b, Shape& out);
/// Dimensions that must agree (channels, the inner size of a matmul): the better known of the two; a remark when
/// they are known to differ.
Dim unify(const Call& c, const Dim& a, const Dim& b, std::string_view what);

/// The larger of e and 0; where e >= 0 holds once every symbol is at least 1, it is assumed and recorded.
Dim at_least_zero(const Call& c, const Dim& e);
/// max and min; where every symbol being at least 1 decides which it is, that is assumed and recorded.
Dim larger(const Call& c, const Dim& a, const Dim& b);
Dim smaller(const Call& c, const Dim& a, const Dim& b);
/// a / b where the operator guarantees divisibility (reshape, split, group counts): exact division that may cancel
/// symbols (recorded), otherwise floor_div (that nothing is left is recorded).
Dim quotient(const Call& c, const Dim& a, const Dim& b);

/// Attributes of a sliding window over the last `spatial` axes, with ONNX's names and defaults (kernel_shape, strides,
/// dilations, pads, auto_pad, ceil_mode).
struct Window {
  std::vector<Dim> kernel;
  std::vector<std::int64_t> strides, dilations;
  std::vector<Dim> begin, end;  ///< padding (auto_pad resolved per input size by windowed())
  std::string_view auto_pad = "NOTSET";
  bool ceil_mode = false;
};
/// Reads the attributes; `kernel` from kernel_shape, else from the given weight sizes. bad_inputs when lists have wrong
/// lengths or strides/dilations/kernels are not positive; a remark when kernel_shape is not the weights'.
Status read_window(const Call& c, std::size_t spatial, const Shape& kernel_if_absent, Window& out);
/// Output size of one axis of a window: floor or ceil((in + pads - dilation*(kernel-1) - 1)/stride) + 1, or what
/// auto_pad says; with ceil_mode the last window must start inside the input or its left padding.
Dim windowed(const Call& c, const Dim& in, const Window& w, std::size_t axis);

/// A text attribute with a fixed vocabulary: bad_inputs when it is there and none of these.
Status one_of(const Call& c, std::string_view attribute, std::initializer_list<std::string_view> words);

/// What two types have in common: sizes that differ are unknown, and so is a rank that differs.
Type common(const Type& a, const Type& b);

/// "[2, batch, 64]" for messages.
std::string text(const Shape& shape);
/// Status{bad_inputs, text}.
Status bad(std::string text);

/// The permutation applied; `perm` must be a permutation of the rank.
Shape permuted(const Shape& shape, const std::vector<std::size_t>& perm);

// Common rows. ---------------------------------------------------------------------------------------------------

/// Output 0 has the type of slot 0.
Status infer_same(const Call& c, Outputs& out);
/// Output 0 has the shape of slot 0 and this dtype.
InferFn infer_same_as(DType dtype);
/// A cost with no arithmetic, where bytes move: the reason is a literal.
CostFn cost_moves(std::string_view why);
/// A cost of nothing at all: the reason is a literal.
CostFn cost_free(std::string_view why);
/// Spellings in the onnx dialect: onnx({"Relu", "Neg"}).
std::vector<Binding> onnx(std::initializer_list<std::string_view> names);
/// Spellings in com.microsoft.
std::vector<Binding> microsoft(std::initializer_list<std::string_view> names);
/// Where an operator of ONNX is documented.
Text onnx_page(std::string_view op);
/// One text after the other.
inline Text operator+(const Text& a, const Text& b) { return Text::joined({a, b}); }
std::vector<Binding> operator+(std::vector<Binding> a, std::vector<Binding> b);

}  // namespace macsim::rules
