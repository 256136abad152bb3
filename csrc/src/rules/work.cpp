// Pieces of work that several families share: activations, softmax, norms, quantisation.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "work.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "support.hpp"

namespace macsim::rules::work {
namespace {

/// Scalar operations for one element.
struct Recipe {
  std::string_view name;  // lower case
  int add = 0, mul = 0, div = 0, compare = 0, exp = 0, log = 0, logic = 0, convert = 0;
};

constexpr Recipe kRecipes[] = {
    {.name = ""},
    {.name = "none"},
    {.name = "identity"},
    {.name = "abs", .logic = 1},
    {.name = "affine", .add = 1, .mul = 1},
    {.name = "celu", .add = 2, .mul = 1, .div = 1, .compare = 2, .exp = 1},
    {.name = "clip", .compare = 2},
    {.name = "elu", .add = 1, .mul = 1, .compare = 1, .exp = 1},
    {.name = "exp", .exp = 1},
    // 0.5 * x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x^3)))
    {.name = "fastgelu", .add = 2, .mul = 6, .exp = 1},
    // 0.5 * x * (1 + erf(x / sqrt(2)))
    {.name = "gelu", .add = 1, .mul = 3, .exp = 1},
    {.name = "hardsigmoid", .add = 1, .mul = 1, .compare = 2},
    {.name = "hardswish", .add = 1, .mul = 2, .compare = 2},
    {.name = "leakyrelu", .mul = 1, .compare = 1},
    {.name = "linear", .add = 1, .mul = 1},
    {.name = "mish", .add = 1, .mul = 1, .exp = 2, .log = 1},
    {.name = "parametricsoftplus", .add = 1, .mul = 2, .exp = 1, .log = 1},
    {.name = "quickgelu", .add = 1, .mul = 2, .div = 1, .exp = 1},
    {.name = "relu", .compare = 1},
    {.name = "relu2", .mul = 1, .compare = 1},
    {.name = "relu_squared", .mul = 1, .compare = 1},
    {.name = "round", .convert = 1},
    {.name = "scaledelu", .add = 1, .mul = 2, .compare = 1, .exp = 1},
    {.name = "scaledtanh", .mul = 2, .exp = 1},
    {.name = "selu", .add = 1, .mul = 2, .compare = 1, .exp = 1},
    {.name = "sigmoid", .add = 1, .div = 1, .exp = 1},
    {.name = "silu", .add = 1, .mul = 1, .div = 1, .exp = 1},
    {.name = "softplus", .add = 1, .exp = 1, .log = 1},
    {.name = "softsign", .add = 1, .div = 1, .logic = 1},
    {.name = "swish", .add = 1, .mul = 1, .div = 1, .exp = 1},
    {.name = "tanh", .exp = 1},
    {.name = "thresholdedrelu", .compare = 1},
};

void add(Cost& cost, Work kind, int times, const Count& n) {
  if (times != 0) cost[kind] += times * n;
}

}  // namespace

bool activation(Cost& cost, std::string_view name, const Count& n) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char ch) { return ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch - 'A' + 'a') : ch; });
  const auto* found =
      std::find_if(std::begin(kRecipes), std::end(kRecipes), [&](const Recipe& r) { return r.name == lower; });
  if (found == std::end(kRecipes)) return false;
  add(cost, Work::add, found->add, n);
  add(cost, Work::mul, found->mul, n);
  add(cost, Work::div, found->div, n);
  add(cost, Work::compare, found->compare, n);
  add(cost, Work::exp, found->exp, n);
  add(cost, Work::log, found->log, n);
  add(cost, Work::logic, found->logic, n);
  add(cost, Work::convert, found->convert, n);
  return true;
}

void fused_activation(Cost& cost, std::string_view name, const Count& n) {
  if (activation(cost, name, n)) return;
  cost[Work::exp] += n;
  if (cost.trust == Trust::unknown) return;
  cost.trust = Trust::estimate;
  cost.because = "the fused activation is not known: one exponential an element is counted";
}

void swiglu(Cost& cost, const Count& n, bool alpha, bool beta, bool limit) {
  activation(cost, "silu", n);
  cost[Work::mul] += alpha ? 2 * n : n;
  if (beta) cost[Work::add] += n;
  if (limit) cost[Work::compare] += 3 * n;
}

void softmax(Cost& cost, const Count& rows, const Count& n, bool sink) {
  if (n.is(0)) return;
  const Count x = rows * n;
  const Count terms = sink ? x + rows : x;
  cost[Work::compare] += terms - rows;
  cost[Work::add] += terms + terms - rows;
  cost[Work::exp] += terms;
  cost[Work::div] += x;
}

void rms_norm(Cost& cost, const Count& rows, const Count& n, bool scaled) {
  const Count x = rows * n;
  cost[Work::mul] += (scaled ? 3 : 2) * x;  // squares, normalise, scale
  cost[Work::add] += x;                     // the sum (n - 1) and eps
  cost[Work::div] += 2 * rows;              // mean, reciprocal
  cost[Work::sqrt] += rows;
}

void l2_norm(Cost& cost, const Count& rows, const Count& n) {
  const Count x = rows * n;
  cost[Work::mul] += 2 * x;
  cost[Work::add] += x;
  cost[Work::div] += rows;
  cost[Work::sqrt] += rows;
}

void rotate(Cost& cost, const Count& n) {
  cost[Work::mul] += 2 * n;
  cost[Work::add] += n;
}

void top_k(Cost& cost, const Count& rows, const Count& n, const Count& k) {
  const Count kept = k.is_constant() && n.is_constant() ? min(k, n) : k;
  cost[Work::compare] += rows * (kept * n - floor_div(kept * (kept + 1), 2));
}

void requantize(Cost& cost, const Count& n, bool zero_point) {
  cost[Work::mul] += n;
  cost[Work::convert] += n;
  if (zero_point) cost[Work::add] += n;
  cost[Work::compare] += 2 * n;
}

void dequantize(Cost& cost, const Count& n, bool zero_point) {
  if (zero_point) cost[Work::add] += n;
  cost[Work::convert] += n;
  cost[Work::mul] += n;
}

void dynamic_quantize(Cost& cost, const Count& n) {
  // scale = (max(0, max(x)) - min(0, min(x))) / (qmax - qmin)
  cost[Work::compare] += 2 * n;
  cost[Work::add] += 1;
  cost[Work::div] += 1;
  // zero = round(saturate(qmin - min(x) / scale))
  cost[Work::div] += 1;
  cost[Work::add] += 1;
  cost[Work::compare] += 2;
  cost[Work::convert] += 1;
  // saturate(round(x / scale) + zero)
  cost[Work::div] += n;
  cost[Work::convert] += n;
  cost[Work::add] += n;
  cost[Work::compare] += 2 * n;
}

Reads& Reads::all(std::size_t slot) {
  if (c_.has(slot)) (c_.role(slot) == Role::weight ? weights_ : read_) += bytes(c_.in(slot));
  return *this;
}

Reads& Reads::part(std::size_t slot, const Count& elements) {
  if (c_.has(slot)) (c_.role(slot) == Role::weight ? weights_ : read_) += bytes(c_.dtype(slot), elements);
  return *this;
}

void Reads::into(Cost& cost) const {
  cost.read = read_;
  cost.weights = weights_;
}

}  // namespace macsim::rules::work
