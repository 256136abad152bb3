// What the parts of the element-wise family share.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <utility>
#include <vector>

#include "rules/support.hpp"

namespace macsim::rules {

/// Scalar operations that one element takes, by kind.
using PerElement = std::vector<std::pair<Work, int>>;

/// A cost of so many operations for each element of output 0.
CostFn cost_each(PerElement work);
void add_each(Cost& cost, const PerElement& work, const Count& elements);
/// Output 0 is slot 0 broadcast with slot 1 (older versions: slot 1 fits into slot 0).
Status broadcast_pair(const Call& c, std::size_t a, std::size_t b, Shape& out);

/// Whether contents are worth looking for: the output is small, and nothing but small contents is known.
bool is_small(const Shape& shape);
/// Position in a tensor of shape `from` of element `n` of the broadcast shape `to`; sizes must be constant.
class Broadcaster {
 public:
  Broadcaster(const Shape& from, const Shape& to);
  std::size_t operator()(std::size_t n) const noexcept;

 private:
  std::vector<std::size_t> sizes_, strides_;
};

Rule element_row(std::string name, std::string slots, std::string summary, std::string formula, std::string reference,
                 InferFn infer, CostFn cost, std::vector<Binding> spelled);
std::string onnx_page(std::string_view op);
inline constexpr std::string_view kContribPage =
    "https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md";

void append_unary(std::vector<Rule>& rules);      ///< one input
void append_binary(std::vector<Rule>& rules);     ///< two inputs and more, comparison, logic, where, clip
void append_casts(std::vector<Rule>& rules);
void append_fused(std::vector<Rule>& rules);      ///< com.microsoft activations and their kin

}  // namespace macsim::rules
