// Gated activations, and the element-wise operators of com.microsoft.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "rules/elementwise.hpp"
#include "rules/gradient.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

using enum Work;

// x * sigmoid(alpha * x), also z * sigmoid(z) of z = scale * x.
const PerElement kScaledSilu = {{exp, 1}, {add, 1}, {div, 1}, {mul, 2}};

InferFn infer_broadcast(DType dtype) {
  return [dtype](const Call& c, Outputs& out) -> Status {
    const DType to = dtype == DType::unknown ? c.dtype(0) : dtype;
    Shape y;
    if (Status status = broadcast(c, c.shape(0), c.shape(1), y); !status) {
      out.unranked(0, to);
      return status;
    }
    out.set(0, to, std::move(y));
    return {};
  };
}

// Gelu. ------------------------------------------------------------------------------------------------------------

Status cost_bias_gelu(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  work::activation(cost, c.op() == "FastGelu" ? "FastGelu" : "Gelu", n);
  if (c.has(1)) cost[add] += n;
  return {};
}

// [..., 2d] -> [..., d]: one half of the last axis gates the other.
Status infer_halved(const Call& c, Outputs& out) {
  Shape y = c.shape(0);
  if (!y.empty()) y.back() = quotient(c, y.back(), 2);
  out.set(0, c.dtype(0), std::move(y));
  return {};
}

Status cost_bias_split_gelu(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  cost[add] = numel(c.shape(0));
  work::activation(cost, "Gelu", n);
  cost[mul] += n;
  return {};
}

// SwiGLU, GatedAdd. ------------------------------------------------------------------------------------------------

enum : std::size_t { kGate, kUp };

Status infer_swiglu(const Call& c, Outputs& out) {
  return c.has(kUp) ? infer_same(c, out) : infer_halved(c, out);  // one input: both halves, gate first
}

Status cost_swiglu(const Call& c, Cost& cost) {
  const bool of_onnx = c.dialect() == "onnx";
  const double alpha = c.real(of_onnx ? "alpha" : "activation_alpha", 1);
  work::swiglu(cost, numel(c.out_shape()), alpha != 1, c.real("activation_beta", 0) != 0, c.real("limit", 0) > 0);
  return {};
}

Status cost_gated_add(const Call& c, Cost& cost) {
  enum : std::size_t { kX = 0, kGateOf = 2, kGateWeight = 3 };
  cost[mul] = cost[add] = numel(c.out_shape());
  if (c.has(kGateWeight)) {  // the gate of a row is the sigmoid of its dot product with the weight
    const Shape& x = c.shape(kX);
    const Count rows = numel(x, 0, x.size() - 1);
    cost[mac] = numel(c.shape(kGateOf));
    cost.rhs = c.dtype(kGateWeight);
    work::activation(cost, "Sigmoid", rows);
  }
  return {};
}

// Numbers of two parts, integers, checks. --------------------------------------------------------------------------

// Pairs of (real, imaginary) along the last axis: 4 products and 2 sums for each pair.
Status cost_complex(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  cost[mul] = 2 * n;
  cost[add] = n;
  return {};
}

Status cost_mul_integer(const Call& c, Cost& cost) {
  enum : std::size_t { kA, kB, kZeroOfA, kZeroOfB };
  cost.compute = DType::i32;
  cost[mul] = numel(c.out_shape());
  if (c.has(kZeroOfA)) cost[add] += numel(c.shape(kA));
  if (c.has(kZeroOfB)) cost[add] += numel(c.shape(kB));
  return {};
}

Status infer_all_finite(const Call&, Outputs& out) {
  out.set(0, DType::boolean, {});
  return {};
}

Status cost_all_finite(const Call& c, Cost& cost) {
  for (std::size_t i = 0; i < c.inputs(); ++i) cost[compare] += numel(c.shape_at(i));
  cost[logic] = cost[compare] - 1;
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// Of Gelu dy (Phi(z) + z phi(z)), z = x + bias made again; the tanh form dy (1 + t + z (1 - t^2) u) / 2.
Status gradient_bias_gelu(const Call& c, Gradient& g) {
  const Count n = numel(c.out_shape());
  const PerElement exact = {{exp, 2}, {add, 2}, {mul, 7}}, by_tanh = {{exp, 1}, {add, 5}, {mul, 12}};
  if (c.has(1)) g.again[add] += n;
  add_each(g.cost, c.op() == "FastGelu" ? by_tanh : exact, n);
  if (g.needs(1)) add_spread(g, c.out_shape(), c.shape(1));
  g.keep(0);
  g.keep(1);
  return {};
}

/// u gelu(v): dy gelu(v) and dy u gelu'(v); u, v and gelu(v) made again.
Status gradient_bias_split_gelu(const Call& c, Gradient& g) {
  const Count n = numel(c.out_shape());
  g.again[add] += numel(c.shape(0));
  work::activation(g.again, "Gelu", n);
  add_each(g.cost, {{exp, 2}, {add, 2}, {mul, 9}}, n);
  if (g.needs(1)) add_spread(g, c.shape(0), c.shape(1));
  g.keep(0);
  g.keep(1);
  return {};
}

/// x s: dy s (1 + z (1 - s)), s = sigmoid(z), z = alpha x. z s: that times the scale, too; the scale gets the sum of it
/// times x.
Status gradient_scaled_silu(const Call& c, Gradient& g) {
  const Count n = numel(c.shape(0));
  add_each(g.cost, {{exp, 1}, {add, 3}, {div, 1}, {mul, 4}}, n);
  if (g.needs(0) && c.op() == "ScaledSiLU") g[mul] += n;
  if (g.needs(1)) {
    g[mul] += n;
    add_spread(g, c.out_shape(), c.shape(1));
  }
  g.keep(0);
  g.keep(1);
  return {};
}

/// y = gate s up, s = sigmoid(alpha gate): dy gate s, and dy up s (1 + alpha gate (1 - s)).
Status gradient_swiglu(const Call& c, Gradient& g) {
  const Count n = numel(c.out_shape());
  const double alpha = c.real(c.dialect() == "onnx" ? "alpha" : "activation_alpha", 1);
  add_each(g.cost, {{exp, 1}, {add, 1}, {div, 1}}, n);
  if (g.needs(kGate)) add_each(g.cost, {{add, 2}, {mul, alpha == 1 ? 4 : 5}}, n);
  if (g.needs(kUp) || !c.has(kUp)) g[mul] += 2 * n;
  if (c.real("limit", 0) > 0) g[compare] += 3 * n;
  g.keep(kGate);
  g.keep(kUp);
  return {};
}

/// That of the sum is the sum's own; a bias sums it.
Status gradient_bias_add(const Call& c, Gradient& g) {
  if (g.needs(1)) add_spread(g, c.out_shape(), c.shape(1));
  g.cost.read = g.needs(1) ? bytes(c.out()) : Count(0);
  g.cost.weights = Count(0);
  g.cost.written = g.needs(1) ? bytes(c.in(1)) : Count(0);
  if (g.cost.written->is(0)) g.cost.because = "the gradient as it is";
  return {};
}

/// x's is dy; y's dy gate; the gate's, for each row, the sum of dy y, through its sigmoid back to a product.
Status gradient_gated_add(const Call& c, Gradient& g) {
  enum : std::size_t { kAdded = 1, kGateOf, kGateWeight };
  const Count n = numel(c.out_shape());
  if (g.needs(kAdded)) g[mul] += n;
  if (g.needs(kGateOf) || g.needs(kGateWeight)) {
    g[mul] += n;
    add_spread(g, c.out_shape(),
               c.has(kGateWeight) ? Shape{quotient(c, n, c.out_shape().back()), 1} : c.shape(kGateOf));
    if (c.has(kGateWeight)) {
      const Count rows = quotient(c, n, c.out_shape().back());
      g[mul] += 2 * rows;
      g[add] += rows;
      g[mac] += ((g.needs(kGateOf) ? 1 : 0) + (g.needs(kGateWeight) ? 1 : 0)) * numel(c.shape(kGateOf));
    }
  }
  for (const std::size_t slot : {kAdded, kGateOf, kGateWeight}) g.keep(slot);
  return {};
}

/// A product with the other's conjugate for each.
Status gradient_complex(const Call& c, Gradient& g) {
  for (const auto& [one, other] : {std::pair<std::size_t, std::size_t>(0, 1), {1, 0}}) {
    if (!g.needs(one)) continue;
    g[mul] += 2 * numel(c.out_shape());
    g[add] += numel(c.out_shape());
    add_spread(g, c.out_shape(), c.shape(one));
    g.keep(other);
  }
  return {};
}

std::vector<Rule> with_their_gradients(std::vector<Rule> rules) {
  const NoGradient whole{"its results are no real numbers"};
  return with_gradients({{"bias_gelu", gradient_bias_gelu},
                         {"bias_split_gelu", gradient_bias_split_gelu},
                         {"quick_gelu", gradient_scaled_silu},
                         {"scaled_silu", gradient_scaled_silu},
                         {"swiglu", gradient_swiglu},
                         {"bias_add", gradient_bias_add},
                         {"gated_add", gradient_gated_add},
                         {"complex_mul", gradient_complex},
                         {"mul_integer", whole},
                         {"is_all_finite", whole}},
                        std::move(rules));
}

}  // namespace

std::vector<Rule> fused_rules() {
  std::vector<Rule> rules = {
      {"bias_gelu", "x bias", "Gelu after a bias",
       "exp = |y|; exact: mul = 3|y|, add = |y|; tanh form (FastGelu): mul = 6|y|, add = 2|y|; a bias: add = |y| more",
       contrib_doc("BiasGelu"), infer_same, cost_bias_gelu, microsoft({"BiasGelu", "FastGelu"})},
      {"bias_split_gelu", "x bias", "Bias, then the left half times gelu of the right half",
       "add = |x| + |y|; exp = |y|; mul = 4|y|", contrib_doc("BiasSplitGelu"), infer_halved, cost_bias_split_gelu,
       microsoft({"BiasSplitGelu"})},
      {"quick_gelu", "x", "x * sigmoid(alpha*x)", "exp = add = div = |x|; mul = 2|x|", contrib_doc("QuickGelu"),
       infer_same, cost_each(kScaledSilu), microsoft({"QuickGelu"})},
      {"scaled_silu", "x scale", "z * sigmoid(z) of z = scale*x", "exp = add = div = |x|; mul = 2|x|",
       contrib_doc("ScaledSiLU"), infer_same, cost_each(kScaledSilu), microsoft({"ScaledSiLU"})},
      {"swiglu", "gate up", "gate * sigmoid(alpha*gate) * up",
       "exp = add = div = |y|; mul = 2|y|, 3|y| with an alpha other than 1; a beta: add = |y| more; a limit: "
       "compare = 3|y|",
       onnx_page("SwiGLU"), infer_swiglu, cost_swiglu, onnx({"SwiGLU"}) + microsoft({"SwiGLU"})},
      {"bias_add", "x bias skip", "Bias and residual", "add = 2|x|", contrib_doc("BiasAdd"), infer_same,
       cost_each({{add, 2}}), microsoft({"BiasAdd"})},
      {"gated_add", "x y gate gate_weight", "x + y * gate",
       "mul = add = |x|; with gate_weight: mac = |gate|, and for each row exp = add = div = 1", contrib_doc("GatedAdd"),
       infer_same, cost_gated_add, microsoft({"GatedAdd"})},
      {"complex_mul", "a b", "Product of complex numbers held as pairs", "mul = 2|y|; add = |y|",
       contrib_doc("ComplexMul"), infer_broadcast(DType::unknown), cost_complex,
       microsoft({"ComplexMul", "ComplexMulConj"})},
      {"mul_integer",
       "a b a_zero b_zero",
       "Product of quantised tensors",
       "mul = |y|; zero points: add = |a|, |b|",
       contrib_doc("MulInteger"),
       infer_broadcast(DType::i32),
       cost_mul_integer,
       {{"com.microsoft::MulInteger", "a a_zero b b_zero"}}},
      {"is_all_finite", "xs...", "Whether all elements are finite", "compare = n; logic = n - 1; n elements in all",
       contrib_doc("IsAllFinite"), infer_all_finite, cost_all_finite, microsoft({"IsAllFinite"})},
  };
  return with_their_gradients(std::move(rules));
}

}  // namespace macsim::rules
