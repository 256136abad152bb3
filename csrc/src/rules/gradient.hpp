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

/// Rows' gradients by the rows' names.
using Gradients = std::vector<std::pair<std::string_view, GradientFn>>;
/// The rules, those that are named with these gradients.
std::vector<Rule> with_gradients(const Gradients& gradients, std::vector<Rule> rules);
/// The rules, those that state no gradient with none. `because` is a literal.
std::vector<Rule> without_gradients(std::string_view because, std::vector<Rule> rules);

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
/// A product with weights that are codes, a first: that of a has as many products, and the codes are widened once more.
/// A bias gets the sum of y's; nothing else is trained.
GradientFn gradient_by_codes(std::size_t bias = SIZE_MAX);
/// Of a network in one operator: each product has one of either operand, as far as inputs (`data`) and stored tensors
/// need them; what is no product takes twice the operator's own work. An estimate; all inputs are kept.
Status gradient_of_network(const Call& c, Gradient& g);
/// The same where weights are codes, in these slots with their scales: products have that of the data alone.
GradientFn gradient_of_coded_network(std::vector<std::size_t> codes);
/// Adds that of an activation fused into an operator, of `n` elements: a rectifier's by its result; of others the
/// function once more and a product, an estimate.
void fused_activation_gradient(Gradient& g, std::string_view name, const Count& n);
/// Marks the gradient as an estimate, unless something worse is known of it.
void estimated(Gradient& g, std::string_view because);
/// The gradient is 0 wherever there is one: it is filled in.
GradientFn gradient_zero();
/// Adds that sum the gradient of an output over what an input was spread over.
void add_spread(Gradient& g, const Shape& y, const Shape& x);

}  // namespace macsim::rules
