// How common gradients are written: contractions, element-wise functions, views.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "rules/elementwise.hpp"
#include "rules/support.hpp"

namespace macsim::rules {

/// The rule with this gradient.
Rule with_gradient(Rule rule, GradientFn gradient);
/// The spellings with this gradient in place of the rule's.
std::vector<Binding> with_gradient(std::vector<Binding> spelled, const GradientFn& gradient);

/// y = a * b + c, c left out or not: each gradient of a and b has as many products as y, and needs the other; that of c
/// is the sum of y's over what it was spread over.
GradientFn gradient_product(std::size_t a = 0, std::size_t b = 1, std::size_t bias = 2);
/// What is kept to differentiate a function of one element.
enum class Keeps : std::uint8_t { nothing, input, output };
/// So many operations for each element of the input.
GradientFn gradient_each(PerElement work, Keeps keeps);
/// The gradient is the same elements in another shape.
GradientFn gradient_view();
/// The gradient's elements go to other places, each once.
GradientFn gradient_moves();
/// As much work as the operator's own, the other way round.
Status gradient_like_run(const Call& c, Gradient& g);
/// The gradient is 0 wherever there is one: it is filled in.
GradientFn gradient_zero();
/// Adds that sum the gradient of an output over what an input was spread over.
void add_spread(Gradient& g, const Shape& y, const Shape& x);

}  // namespace macsim::rules
