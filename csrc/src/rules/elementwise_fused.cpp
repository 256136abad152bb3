// Element-wise operators of com.microsoft, and gated activations.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/elementwise.hpp"

namespace macsim::rules {
namespace {

using enum Work;

const PerElement kSigmoidTimes = {{exp, 1}, {add, 1}, {div, 1}, {mul, 2}};  // x * sigmoid(alpha * x)

Rule contrib(std::string name, std::string slots, std::string summary, std::string formula, InferFn infer, CostFn cost,
             std::initializer_list<std::string_view> ops) {
  return element_row(std::move(name), std::move(slots), std::move(summary), std::move(formula),
                     std::string(kContribPage), std::move(infer), std::move(cost), microsoft(ops));
}

Status infer_broadcast(const Call& c, Outputs& out) {
  Shape y;
  if (Status status = broadcast(c, c.shape(0), c.shape(1), y); !status) {
    out.unranked(0, c.dtype(0));
    return status;
  }
  out.set(0, c.dtype(0), std::move(y));
  return {};
}

// Gelu after a bias, which FastGelu may lack.
Status cost_bias_gelu(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  if (c.op() == "FastGelu") {
    add_each(cost, {{exp, 1}, {mul, 6}, {add, 2}}, n);
  } else {
    add_each(cost, {{exp, 1}, {mul, 3}, {add, 1}}, n);
  }
  if (c.has(1)) cost[add] += n;
  return {};
}

// [.., 2d] -> [.., d]: left * gelu(right).
Status infer_halved(const Call& c, Outputs& out) {
  Shape y = c.shape(0);
  if (!y.empty()) y.back() = quotient(c, y.back(), 2);
  out.set(0, c.dtype(0), std::move(y));
  return {};
}

Status cost_bias_split_gelu(const Call& c, Cost& cost) {
  add_each(cost, {{exp, 1}, {mul, 4}, {add, 1}}, numel(c.out_shape()));
  cost[add] += numel(c.shape(0));
  return {};
}

Status infer_swiglu(const Call& c, Outputs& out) {
  if (c.dialect() == "onnx" || c.has(1)) {
    if (c.ranked(1)) (void)c.shape(1);
    return infer_same(c, out);
  }
  return infer_halved(c, out);
}

Status cost_swiglu(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  const bool contrib_op = c.dialect() != "onnx";
  const double alpha = contrib_op ? c.real("activation_alpha", 1) : c.real("alpha", 1);
  add_each(cost, {{exp, 1}, {add, 1}, {div, 1}, {mul, alpha == 1 ? 2 : 3}}, n);
  if (contrib_op && c.real("activation_beta", 0) != 0) cost[add] += n;
  if (contrib_op && c.real("limit", 0) > 0) cost[compare] += 3 * n;
  return {};
}

Status cost_gated_add(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  cost[mul] = n;
  cost[add] = n;
  if (c.has(3)) {  // the gate is a dot product of a row with gate_weight, then a sigmoid
    const Shape& x = c.shape(0);
    const Count rows = numel(x, 0, x.size() - 1);
    cost[mac] = rows * numel(c.shape(3));
    add_each(cost, {{exp, 1}, {add, 1}, {div, 1}}, rows);
  }
  return {};
}

// Pairs of (real, imaginary) along the last axis: 4 products and 2 sums for each two elements.
Status cost_complex(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  cost[mul] = 2 * n;
  cost[add] = n;
  return {};
}

Status infer_mul_integer(const Call& c, Outputs& out) {
  Shape y;
  if (Status status = broadcast(c, c.shape(0), c.shape(1), y); !status) {
    out.unranked(0, DType::i32);
    return status;
  }
  out.set(0, DType::i32, std::move(y));
  return {};
}

Status cost_mul_integer(const Call& c, Cost& cost) {
  cost[mul] = numel(c.out_shape());
  if (c.has(2)) cost[add] += numel(c.shape(0));
  if (c.has(3)) cost[add] += numel(c.shape(1));
  return {};
}

Status infer_all_finite(const Call&, Outputs& out) {
  out.set(0, DType::boolean, {});
  return {};
}

Status cost_all_finite(const Call& c, Cost& cost) {
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    cost[compare] += numel(c.shape_at(i));
    cost[logic] += numel(c.shape_at(i));
  }
  return {};
}

}  // namespace

void append_fused(std::vector<Rule>& rules) {
  rules.push_back(contrib("bias_gelu", "x bias", "Gelu after a bias",
                          "exact: exp = |y|, mul = 3|y|, add = |y|; tanh form (FastGelu): exp = |y|, mul = 6|y|, "
                          "add = 2|y|; a bias: add = |y| more",
                          infer_same, cost_bias_gelu, {"BiasGelu", "FastGelu"}));
  rules.push_back(contrib("bias_split_gelu", "x bias", "Bias, then left half times gelu of the right half",
                          "add = |x| + |y|; exp = |y|; mul = 4|y|", infer_halved, cost_bias_split_gelu,
                          {"BiasSplitGelu"}));
  rules.push_back(contrib("quick_gelu", "x", "x * sigmoid(alpha*x)", "exp, add, div = |x|; mul = 2|x|", infer_same,
                          cost_each(kSigmoidTimes), {"QuickGelu"}));
  rules.push_back(contrib("scaled_silu", "x scale", "z * sigmoid(z) of z = scale*x", "exp, add, div = |x|; mul = 2|x|",
                          infer_same, cost_each(kSigmoidTimes), {"ScaledSiLU"}));
  rules.push_back(element_row("swiglu", "gate up", "gate * sigmoid(alpha*gate) * up",
                              "exp, add, div = |y|; mul = 2|y|, 3|y| with an alpha; a beta: add = |y| more; a limit: "
                              "compare = 3|y|",
                              onnx_page("SwiGLU"), infer_swiglu, cost_swiglu,
                              onnx({"SwiGLU"}) + microsoft({"SwiGLU"})));
  rules.push_back(contrib("bias_add", "x bias skip", "Bias and residual", "add = 2|x|", infer_same,
                          cost_each({{add, 2}}), {"BiasAdd"}));
  rules.push_back(contrib("gated_add", "x y gate gate_weight", "x + y * gate",
                          "mul, add = |x|; with gate_weight the gate is computed: mac = |x|, and a sigmoid a row",
                          infer_same, cost_gated_add, {"GatedAdd"}));
  rules.push_back(contrib("complex_mul", "a b", "Product of complex numbers held as pairs", "mul = 2|y|; add = |y|",
                          infer_broadcast, cost_complex, {"ComplexMul", "ComplexMulConj"}));
  Rule integers =
      contrib("mul_integer", "a b a_zero b_zero", "Product of quantised tensors",
              "mul = |y|; zero points: add = |a|, |b|", infer_mul_integer, cost_mul_integer, {"MulInteger"});
  integers.spelled.front().slots = "a a_zero b b_zero";
  rules.push_back(std::move(integers));
  rules.push_back(contrib("is_all_finite", "xs...", "Whether all elements are finite", "compare = logic = sum of |x|",
                          infer_all_finite, cost_all_finite, {"IsAllFinite"}));
}

}  // namespace macsim::rules
