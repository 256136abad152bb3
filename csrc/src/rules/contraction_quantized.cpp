// Contractions on quantised operands: integers in, integers or rescaled results out.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "aten.hpp"
#include "contraction.hpp"
#include "families.hpp"
#include "rules/gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

// All rows of this file share these slots; every spelling lists its own in its own order.
enum : std::size_t { kA, kB, kAScale, kBScale, kAZero, kBZero, kYScale, kYZero, kBias, kC };
constexpr char kSlots[] = "a b a_scale b_scale a_zero b_zero y_scale y_zero bias c c_scale";

/// The multiply-adds; the zero points are taken off first, where given.
void integer_product(const Call& c, const Count& macs, Cost& cost) {
  cost[Work::mac] = macs;
  if (c.has(kAZero)) cost[Work::add] += numel(c.shape(kA));
  if (c.has(kBZero)) cost[Work::add] += numel(c.shape(kB));
  cost.accumulate = DType::i32;
}

Count macs_of(const Call& c) { return matmul_macs(c.shape(kA), c.shape(kB), c.out_shape()); }

/// How many factors scale_a * scale_b there are: one for all, one per row or column, or one for each element.
Count factors(const Call& c) {
  const Shape& a = c.shape(kAScale);
  const Shape& b = c.shape(kBScale);
  if (a.size() < 2 && b.size() < 2) return numel(a) * numel(b);
  Shape both;
  return broadcast(c, a, b, both) ? numel(both) : Count::undefined();
}

InferFn infer_product(DType dtype) {
  return [dtype](const Call& c, Outputs& out) -> Status {
    Shape y;
    if (Status s = matmul_shape(c, kA, kB, y); !s) return s;
    out.set(0, dtype, y);
    return {};
  };
}
/// The result has the element type of another slot.
InferFn infer_product_like(std::size_t slot) {
  return [slot](const Call& c, Outputs& out) -> Status {
    Shape y;
    if (Status s = matmul_shape(c, kA, kB, y); !s) return s;
    out.set(0, c.dtype(slot), y);
    return {};
  };
}

Status cost_matmul_integer(const Call& c, Cost& cost) {
  integer_product(c, macs_of(c), cost);
  cost.compute = DType::i32;
  return {};
}

Status cost_qlinear_matmul(const Call& c, Cost& cost) {
  integer_product(c, macs_of(c), cost);
  const Count n = factors(c);
  cost[Work::mul] += n;
  cost[Work::div] += n;
  work::requantize(cost, numel(c.out_shape()), c.has(kYZero));
  cost.compute = c.dtype(kAScale);
  return {};
}

Status infer_qgemm(const Call& c, Outputs& out) {
  const Shape& a = c.shape(kA);
  const Shape& b = c.shape(kB);
  if ((c.ranked(kA) && a.size() != 2) || (c.ranked(kB) && b.size() != 2)) {
    return bad("QGemm multiplies two matrices; the shapes are " + text(a) + " and " + text(b));
  }
  const bool turn_a = c.integer("transA", 0) != 0, turn_b = c.integer("transB", 0) != 0;
  if (c.ranked(kA) && c.ranked(kB)) unify(c, a[turn_a ? 0 : 1], b[turn_b ? 1 : 0], "inner sizes");
  out.set(0, c.has(kYScale) ? c.dtype(kYZero) : c.dtype(kAScale), Shape{a[turn_a ? 1 : 0], b[turn_b ? 0 : 1]});
  return {};
}

Status cost_qgemm(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  const Dim& a_inner = c.shape(kA)[c.integer("transA", 0) != 0 ? 0 : 1];
  const Dim& b_inner = c.shape(kB)[c.integer("transB", 0) != 0 ? 1 : 0];
  integer_product(c, y * better_known(a_inner, b_inner), cost);
  if (c.has(kC)) cost[Work::add] += y;
  const Count n = factors(c);
  cost[Work::mul] += c.real("alpha", 1) != 1 ? 2 * n : n;
  if (c.has(kYScale)) {
    cost[Work::div] += n;
    work::requantize(cost, y, c.has(kYZero));
  } else {
    work::dequantize(cost, y, false);
  }
  cost.compute = c.dtype(kAScale);
  return {};
}

/// Y = A * B + bias + C, all in 8 bits without zero points.
Status cost_ordered(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  integer_product(c, macs_of(c), cost);
  const Count n = factors(c);
  cost[Work::mul] += n;
  cost[Work::div] += n;
  if (c.has(kBias)) cost[Work::add] += y;
  if (c.has(kC)) {
    cost[Work::mul] += numel(c.shape(kC));
    cost[Work::add] += y;
  }
  work::requantize(cost, y, false);
  cost.compute = c.dtype(kAScale);
  return {};
}

Status cost_scaled(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  integer_product(c, macs_of(c), cost);
  cost[Work::mul] += factors(c);
  work::dequantize(cost, y, false);
  if (c.has(kBias)) cost[Work::add] += y;
  cost.compute = c.dtype(kAScale);
  return {};
}

void dynamic(const Call& c, const Count& macs, Cost& cost) {
  const Count y = numel(c.out_shape());
  const Count a = numel(c.shape(kA));
  work::dynamic_quantize(cost, a);
  cost[Work::add] += a;  // its zero point
  integer_product(c, macs, cost);
  cost[Work::mul] += numel(c.shape(kBScale));
  work::dequantize(cost, y, false);
  if (c.has(kBias)) cost[Work::add] += y;
  cost.lhs = DType::u8;
}

Status cost_dynamic(const Call& c, Cost& cost) {
  dynamic(c, macs_of(c), cost);
  return {};
}

// As torch calls them: a quantised tensor carries its scale and its zero point, weights are [out, in]. ---------------

Status torch_linear(const Call& c, Outputs& out) {
  const Shape &x = c.shape(kA), &w = c.shape(kB);
  if (!c.ranked(kA) || !c.ranked(kB) || x.empty() || w.size() != 2) return {};
  unify(c, x.back(), w[1], "inner sizes");
  Shape y = x;
  y.back() = w[0];
  out.set(0, c.dtype(kA), std::move(y));
  return {};
}

Count torch_macs(const Call& c) { return c.op() == "matmul" ? macs_of(c) : numel(c.out_shape()) * c.shape(kB).back(); }

/// A rectifier is the lower of the two bounds that every result is kept in.
Status cost_torch_static(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  integer_product(c, torch_macs(c), cost);
  cost[Work::add] += numel(c.shape(kA));
  if (c.op() == "matmul") cost[Work::add] += numel(c.shape(kB));
  if (c.has(kBias)) cost[Work::add] += y;
  const Count scales = numel(c.shape(kBScale));
  cost[Work::mul] += scales;
  cost[Work::div] += scales;
  if (c.op() == "linear_leaky_relu") work::activation(cost, "LeakyRelu", y);
  if (c.op() == "linear_tanh") work::activation(cost, "Tanh", y);
  work::requantize(cost, y, true);
  cost.compute = DType::f32;
  return {};
}

Status cost_torch_dynamic(const Call& c, Cost& cost) {
  dynamic(c, torch_macs(c), cost);
  if (c.op() == "linear_relu_dynamic") cost[Work::compare] += numel(c.out_shape());
  return {};
}

}  // namespace

std::vector<Rule> quantized_matmul_rules() {
  const Text qlinear = "a a_scale a_zero b b_scale b_zero y_scale y_zero";
  std::vector<Rule> rules = {
      {"matmul_integer",
       kSlots,
       "Matrix product of integers, 32-bit result",
       "mac = |y| * K; add = |a| and |b| for the zero points that are given",
       "https://onnx.ai/onnx/operators/onnx__MatMulInteger.html",
       infer_product(DType::i32),
       cost_matmul_integer,
       {{"onnx::MatMulInteger", "a b a_zero b_zero"}, {"com.microsoft::MatMulInteger16", "a b"}}},
      {"qlinear_matmul", kSlots, "Matrix product of quantised tensors, requantised",
       "mac = |y| * K; add = |a| + |b| + |y| for the zero points, |y| with a bias; mul = |y| + |scales|; div = "
       "|scales|; convert = |y|; compare = 2 |y|; the activation on |y|",
       "https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html", infer_product_like(kYZero), cost_qlinear_matmul,
       std::vector<Binding>{{"onnx::QLinearMatMul", qlinear}} +
           aten({"quantized::linear", "quantized::linear_relu", "quantized::linear_leaky_relu",
                 "quantized::linear_tanh", "_quantized::linear"},
                torch_linear, "a b b_scale b_zero bias", {}, cost_torch_static) +
           aten({"quantized::matmul"}, infer_product_like(kA), "a b", {}, cost_torch_static)},
      {"qgemm",
       kSlots,
       "Gemm of quantised matrices, float or requantised result",
       "mac = M * N * K; add = |a| + |b| for the zero points, |y| with C; mul = |y| + |scales| (twice with alpha); "
       "convert = |y|; with a scale of Y also div = |scales|, add = |y|, compare = 2 |y|",
       contrib_doc("QGemm"),
       infer_qgemm,
       cost_qgemm,
       {{"com.microsoft::QGemm", "a a_scale a_zero b b_scale b_zero c y_scale y_zero"}}},
      {"qordered_matmul",
       kSlots,
       "Matrix product of 8-bit tensors in cublasLt layouts",
       "mac = |y| * K; add = |y| with a bias, |y| with C; mul = |y| + |scales|, |c| with C; div = |scales|; "
       "convert = |y|; compare = 2 |y|",
       contrib_doc("QOrderedMatMul"),
       infer_product_like(kA),
       cost_ordered,
       {{"com.microsoft::QOrderedMatMul", "a a_scale b b_scale y_scale bias c c_scale"}}},
      {"matmul_integer_to_float",
       kSlots,
       "Matrix product of integers, scaled to floats",
       "mac = |y| * K; add = |a| and |b| for the zero points that are given, |y| with a bias; mul = |y| + |scales|; "
       "convert = |y|",
       contrib_doc("MatMulIntegerToFloat"),
       infer_product_like(kAScale),
       cost_scaled,
       {{"com.microsoft::MatMulIntegerToFloat", "a b a_scale b_scale a_zero b_zero bias"}}},
      {"dynamic_quantize_matmul", kSlots, "Matrix product of a float tensor, quantised on the fly, and integers",
       "mac = |y| * K; A is quantised: compare = 4 |a| + 2, add = |a| + 2, div = |a| + 2, convert = |a| + 1; "
       "then add = |a|, |b| with its zero point, |y| with a bias; mul = |y| + |b_scale|; convert = |y|; a "
       "rectifier: compare = |y|",
       contrib_doc("DynamicQuantizeMatMul"), infer_product_like(kA), cost_dynamic,
       std::vector<Binding>{{"com.microsoft::DynamicQuantizeMatMul", "a b b_scale b_zero bias"}} +
           aten({"quantized::linear_dynamic", "quantized::linear_relu_dynamic", "_quantized::linear_dynamic"},
                torch_linear, "a b b_scale b_zero bias", {}, cost_torch_dynamic)},
  };
  return without_gradients("of codes, which are rounded", std::move(rules));
}

}  // namespace macsim::rules
