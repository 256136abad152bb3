// Operators on quantised tensors: dequantise, do it, quantise again. Factors of whole tensors are made once.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "rules/aten.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/quant.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {

CostFn on_quantised(CostFn of_floats) {
  return [of_floats = std::move(of_floats)](const Call& c, Cost& cost) -> Status {
    if (Status status = of_floats(c, cost); !status) return status;
    work::dequantize(cost, numel(c.shape(0)), true);
    work::requantize(cost, numel(c.out_shape()), true);
    cost.compute = DType::f32;
    return {};
  };
}

namespace {

/// Torch's quantised tensors carry their zero points.
bool centred(const Call& c, std::size_t zero) { return c.has(zero) || c.dialect().ends_with("quantized"); }

// Two operands. ----------------------------------------------------------------------------------------------------

enum : std::size_t { kA, kAScale, kAZero, kB, kBScale, kBZero, kYScale, kYZero };

Status infer_two(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kA);
  out.unranked(0, dtype);
  if (!c.ranked(kA) || !c.ranked(kB)) return {};
  Shape y;
  if (Status status = broadcast(c, c.shape(kA), c.shape(kB), y); !status) return status;
  out.set(0, dtype, std::move(y));
  return {};
}

/// A number in place of the second operand leaves the shape as it is.
Status infer_two_or_number(const Call& c, Outputs& out) { return c.has(kB) ? infer_two(c, out) : aten_same(c, out); }

/// With a number often nothing but the scale and the zero point changes.
void may_change_scales(const Call& c, Cost& cost) {
  if (c.has(kB) && !c.shape(kB).empty()) return;
  cost.trust = Trust::bound;
  cost.because = "perhaps only the scale and the zero point change";
}

Status cost_add(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  work::dequantize(cost, numel(c.shape(kA)), centred(c, kAZero));
  if (c.has(kB)) work::dequantize(cost, numel(c.shape(kB)), centred(c, kBZero));
  cost[Work::add] += y;
  work::requantize(cost, y, centred(c, kYZero));
  if (c.dialect() == "quantized") may_change_scales(c, cost);
  cost.compute = DType::f32;
  return {};
}

/// Whole numbers are multiplied; their product is requantised.
Status cost_mul(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  if (centred(c, kAZero)) cost[Work::add] += numel(c.shape(kA));
  if (c.has(kB) && centred(c, kBZero)) cost[Work::add] += numel(c.shape(kB));
  cost[Work::mul] += y;
  work::requantize(cost, y, centred(c, kYZero));
  if (c.dialect() == "quantized") may_change_scales(c, cost);
  cost.compute = DType::i32;
  return {};
}

// One operand. -----------------------------------------------------------------------------------------------------

enum : std::size_t { kX, kXScale, kXZero, kOutScale, kOutZero };

Status cost_unary(const Call& c, Cost& cost, std::string_view function) {
  const Count n = numel(c.shape(kX));
  work::dequantize(cost, n, centred(c, kXZero));
  work::activation(cost, function, n);
  work::requantize(cost, n, centred(c, kOutZero));
  cost.compute = DType::f32;
  return {};
}
CostFn unary(std::string_view function) {
  return [function](const Call& c, Cost& cost) { return cost_unary(c, cost, function); };
}

Status cost_softmax(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const bool flat = c.integer("opset", 13) < 13;  // rows were all axes from `axis` on
  const auto axis = axis_in(c.integer("axis", flat ? 1 : -1), x.size());
  if (!axis) return bad("QLinearSoftmax: the axis does not fit the shape " + text(x));
  const Count all = numel(x);
  const Count n = flat ? numel(x, *axis) : x[*axis];
  const Count rows = flat ? numel(x, 0, *axis) : numel(x, 0, *axis) * numel(x, *axis + 1);
  work::dequantize(cost, all, centred(c, kXZero));
  work::softmax(cost, rows, n);
  work::requantize(cost, all, centred(c, kOutZero));
  cost.compute = DType::f32;
  return {};
}

Status infer_mean(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  const auto axes = axes_in(c.integers("axes"), x.size());
  if (!axes) return bad("QLinearReduceMean: axes do not fit the shape " + text(x));
  const bool keep = c.integer("keepdims", 1) != 0;
  Shape y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const bool reduced = axes->empty() || std::find(axes->begin(), axes->end(), i) != axes->end();
    if (!reduced) {
      y.push_back(x[i]);
    } else if (keep) {
      y.push_back(1);
    }
  }
  out.set(0, dtype, std::move(y));
  return {};
}

Status cost_mean(const Call& c, Cost& cost) {
  const Count x = numel(c.shape(kX)), y = numel(c.out_shape());
  work::dequantize(cost, x, c.has(kXZero));
  cost[Work::add] += x - y;
  cost[Work::div] += y;
  work::requantize(cost, y, c.has(kOutZero));
  cost.compute = DType::f32;
  return {};
}

Status cost_gelu(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  work::dequantize(cost, n, false);
  work::activation(cost, "gelu", n);
  work::requantize(cost, n, false);
  cost.compute = DType::f32;
  return {};
}

// Several. ---------------------------------------------------------------------------------------------------------

enum : std::size_t { kChoice, kYes, kYesScale, kYesZero, kNo, kNoScale, kNoZero };

Status infer_where(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kYes);
  out.unranked(0, dtype);
  if (!c.ranked(kChoice) || !c.ranked(kYes) || !c.ranked(kNo)) return {};
  Shape y;
  if (Status status = broadcast(c, c.shape(kYes), c.shape(kNo), y); !status) return status;
  if (Status status = broadcast(c, c.shape(kChoice), Shape(y), y); !status) return status;
  out.set(0, dtype, std::move(y));
  return {};
}

Status cost_where(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  work::dequantize(cost, numel(c.shape(kYes)) + numel(c.shape(kNo)), true);
  cost[Work::logic] = y;
  work::requantize(cost, y, true);
  cost.compute = DType::f32;
  return {};
}

/// Inputs: the scale and zero point of the result, then a tensor, its scale and its zero point, again and again.
constexpr std::size_t kFirst = 2, kEach = 3;

Status infer_concat(const Call& c, Outputs& out) {
  const DType dtype = c.at(1).dtype;
  out.unranked(0, dtype);
  if (c.inputs() <= kFirst || !c.at(kFirst).ranked) return {};
  Shape y = c.at(kFirst).shape;
  const auto axis = axis_in(c.integer("axis", 0), y.size());
  if (!axis) return bad("QLinearConcat: the axis does not fit the shape " + text(y));
  for (std::size_t i = kFirst + kEach; i < c.inputs(); i += kEach) {
    const Type& part = c.at(i);
    if (part.ranked && part.shape.size() != y.size()) {
      return bad("QLinearConcat of the shapes " + text(y) + " and " + text(part.shape));
    }
    for (std::size_t k = 0; k < y.size(); ++k) {
      const Dim& size = part.shape[k];
      y[k] = k == *axis ? y[k] + size : unify(c, y[k], size, "sizes of what is concatenated");
    }
  }
  out.set(0, dtype, std::move(y));
  return {};
}

Status cost_concat(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  work::dequantize(cost, y, true);
  work::requantize(cost, y, true);
  cost.compute = DType::f32;
  return {};
}

Status torch_concat(const Call& c, Outputs& out) {
  if (c.inputs() == 0 || !c.at(0).ranked) return {};
  Shape y = c.at(0).shape;
  const auto axis = axis_in(c.integer("dim", 0), y.size());
  if (!axis) return {};
  for (std::size_t i = 1; i < c.inputs(); ++i) {
    if (!c.at(i).ranked || c.at(i).shape.size() != y.size()) return {};
    y[*axis] = y[*axis] + c.at(i).shape[*axis];
  }
  out.set(0, c.at(0).dtype, std::move(y));
  return {};
}

/// Functions that ONNX has of floats alone.
Status cost_function(const Call& c, Cost& cost) {
  const std::string_view op = c.op();
  return cost_unary(c, cost, op == "prelu" ? "leakyrelu" : op == "threshold" ? "thresholdedrelu" : op);
}

std::vector<Rule> torch_functions() {
  return {
      {"quantised_function", "x w", "Functions of quantised tensors",
       "dequantise, the function, requantise: mul = convert = 2|x|, add = 2|x|, compare = 2|x|, and the function's",
       "https://docs.pytorch.org/docs/stable/quantization-support.html", aten_same, cost_function,
       aten({"quantized::celu", "quantized::elu", "quantized::hardswish", "quantized::prelu", "quantized::threshold"},
            aten_same)}};
}

}  // namespace

std::vector<Rule> quantised_elementwise_rules() {
  const Text one = "x x_scale x_zero y_scale y_zero";
  const Text two = "a a_scale a_zero b b_scale b_zero y_scale y_zero";
  const Text in = "dequantise: convert, mul and (with a zero point) add for each element; ";
  const Text out = "requantise: mul, convert, 2 compare and (with a zero point) add for each element";
  std::vector<Rule> rules = {
      {"quantised_add", two, "Sum of quantised tensors", in + "add = |y|; " + out, contrib_doc("QLinearAdd"), infer_two,
       cost_add,
       microsoft({"QLinearAdd"}) + aten({"quantized::add", "quantized::add_relu", "quantized::add_scalar",
                                         "quantized::add_scalar_relu", "_quantized::add"},
                                        infer_two_or_number, "a b")},
      {"quantised_mul", two, "Product of quantised tensors", "add for each zero point; mul = |y|; " + out,
       contrib_doc("QLinearMul"), infer_two, cost_mul,
       microsoft({"QLinearMul"}) +
           aten({"quantized::mul", "quantized::mul_relu", "quantized::mul_scalar", "quantized::mul_scalar_relu"},
                infer_two_or_number, "a b")},
      {"quantised_sigmoid", one, "Sigmoid of a quantised tensor", in + "exp = add = div = |x|; " + out,
       contrib_doc("QLinearSigmoid"), infer_same, unary("sigmoid"),
       microsoft({"QLinearSigmoid"}) + aten({"quantized::sigmoid"}, aten_same, "x")},
      {"quantised_leaky_relu", one, "Leaky rectifier of a quantised tensor", in + "compare = mul = |x|; " + out,
       contrib_doc("QLinearLeakyRelu"), infer_same, unary("leakyrelu"),
       microsoft({"QLinearLeakyRelu"}) + aten({"quantized::leaky_relu"}, aten_same, "x")},
      {"quantised_gelu", "x x_scale y_scale", "Gelu of a quantised tensor", in + "exp = add = |x|, mul = 3|x|; " + out,
       contrib_doc("QOrderedGelu"), infer_same, cost_gelu, microsoft({"QOrderedGelu"})},
      {"quantised_softmax", one, "Softmax of a quantised tensor",
       in + "compare = |x| - rows, add = 2|x| - rows, exp = div = |x|; " + out, contrib_doc("QLinearSoftmax"),
       infer_same, cost_softmax,
       microsoft({"QLinearSoftmax"}) + aten({"quantized::softmax"}, aten_same, "x", "dim=axis")},
      {"quantised_mean", one, "Mean of a quantised tensor over axes", in + "add = |x| - |y|, div = |y|; " + out,
       contrib_doc("QLinearReduceMean"), infer_mean, cost_mean, microsoft({"QLinearReduceMean"})},
      {"quantised_where", "choice a a_scale a_zero b b_scale b_zero y_scale y_zero",
       "Elements of one of two quantised tensors", in + "logic = |y|; " + out, contrib_doc("QLinearWhere"), infer_where,
       cost_where, microsoft({"QLinearWhere"})},
      {"quantised_concat", "y_scale y_zero xs...", "Quantised tensors joined along one axis, in one scale", in + out,
       contrib_doc("QLinearConcat"), infer_concat, cost_concat,
       microsoft({"QLinearConcat"}) + aten({"quantized::cat", "quantized::cat_relu"}, torch_concat, "xs...")},
  };
  for (Rule& rule : torch_functions()) rules.push_back(std::move(rule));
  return rules;
}

}  // namespace macsim::rules
