// Pieces of work that several families share: activations, softmax, norms, quantisation. Each adds to a cost.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules::work {

/// The named function on `n` elements, in ONNX's or com.microsoft's spelling and any case ("Relu", "leakyrelu",
/// "HardSigmoid"). "" and "none" are nothing. False: nobody knows the function; nothing was added.
bool activation(Cost& cost, std::string_view name, const Count& n);
/// The same for an activation fused into an operator: an unknown one is estimated.
void fused_activation(Cost& cost, std::string_view name, const Count& n);
/// clamp(gate) * sigmoid(alpha * clamp(gate)) * (clamp(up) + beta) on `n` pairs.
void swiglu(Cost& cost, const Count& n, bool alpha, bool beta, bool limit);

/// Softmax of `rows` rows of `n`: largest, subtract, exp, sum, divide. With a sink, one more term in every denominator.
void softmax(Cost& cost, const Count& rows, const Count& n, bool sink = false);
/// x / sqrt(mean(x^2) + eps) on `rows` rows of `n`, times a scale where there is one.
void rms_norm(Cost& cost, const Count& rows, const Count& n, bool scaled = true);
/// x / sqrt(sum(x^2) + eps) on `rows` rows of `n`.
void l2_norm(Cost& cost, const Count& rows, const Count& n);
/// Rotation of pairs by an angle: `n` elements are rotated, 2 mul and 1 add for each.
void rotate(Cost& cost, const Count& n);
/// The k largest of each of `rows` rows of `n`, found one after the other.
void top_k(Cost& cost, const Count& rows, const Count& n, const Count& k);

/// Scale, round, zero point, saturate: from an accumulator to `n` quantised elements.
void requantize(Cost& cost, const Count& n, bool zero_point);
/// (q - zero point) * scale on `n` elements.
void dequantize(Cost& cost, const Count& n, bool zero_point);
/// DynamicQuantizeLinear of `n` elements: range, scale and zero point, then quantisation.
void dynamic_quantize(Cost& cost, const Count& n);

/// Bytes that an operator reads where it does not read all of every input, told slot by slot.
class Reads {
 public:
  explicit Reads(const Call& c) : c_(c) {}
  Reads& all(std::size_t slot);                          ///< nothing when the slot is left out
  Reads& part(std::size_t slot, const Count& elements);  ///< so many of its elements
  void into(Cost& cost) const;

 private:
  const Call& c_;
  Count read_, weights_;
};

}  // namespace macsim::rules::work

namespace macsim::rules {

/// Where an operator of com.microsoft is documented.
inline Text contrib_doc(std::string_view op) {
  return Text::joined(
      {"https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.", op});
}

/// The rows of several parts, in order.
template <class... More>
std::vector<Rule> joined(std::vector<Rule> first, More... more) {
  first.reserve((first.size() + ... + more.size()));
  (std::move(more.begin(), more.end(), std::back_inserter(first)), ...);
  return first;
}

/// A size that an attribute must state; undefined when it does not, or states less than 1.
inline Dim stated(const Call& c, std::string_view attribute) {
  const std::int64_t size = c.integer(attribute, 0);
  return size < 1 ? Dim::undefined() : Dim(size);
}

/// Of two sizes that must agree the one that says more: a constant, else one that is defined.
inline const Dim& better_known(const Dim& a, const Dim& b) noexcept {
  return a.is_constant() || !b.defined() || (a.defined() && !b.is_constant()) ? a : b;
}

}  // namespace macsim::rules
