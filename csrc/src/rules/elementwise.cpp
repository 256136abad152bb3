// Element-wise operators: what their parts share, and the unary ones.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/elementwise.hpp"

#include <cmath>
#include <string>

#include "rules/families.hpp"

namespace macsim::rules {

// Shared. ----------------------------------------------------------------------------------------------------------

void add_each(Cost& cost, const PerElement& work, const Count& elements) {
  for (const auto& [kind, times] : work) cost[kind] += elements * times;
}

CostFn cost_each(PerElement work) {
  return [work = std::move(work)](const Call& c, Cost& cost) -> Status {
    add_each(cost, work, numel(c.out_shape()));
    return {};
  };
}

bool is_small(const Shape& shape) {
  if (shape.size() > 8) return false;
  std::int64_t size = 1;
  for (const Dim& dim : shape) {
    const auto known = dim.constant();
    if (!known || *known < 0) return false;
    size *= *known;
    if (size > static_cast<std::int64_t>(kMostItems)) return false;
  }
  return true;
}

Broadcaster::Broadcaster(const Shape& from, const Shape& to) : strides_(to.size(), 0) {
  for (const Dim& dim : to) sizes_.push_back(static_cast<std::size_t>(dim.constant().value_or(1)));
  const std::size_t lead = to.size() - from.size();
  std::size_t stride = 1;
  for (std::size_t i = from.size(); i-- > 0;) {
    const auto own = static_cast<std::size_t>(from[i].constant().value_or(1));
    strides_[lead + i] = own == 1 ? 0 : stride;
    stride *= own;
  }
}

std::size_t Broadcaster::operator()(std::size_t n) const noexcept {
  std::size_t index = 0;
  for (std::size_t i = sizes_.size(); i-- > 0;) {
    index += n % sizes_[i] * strides_[i];
    n /= sizes_[i];
  }
  return index;
}

std::string onnx_page(std::string_view op) {
  return "https://onnx.ai/onnx/operators/onnx__" + std::string(op) + ".html";
}

Rule element_row(std::string name, std::string slots, std::string summary, std::string formula, std::string reference,
                 InferFn infer, CostFn cost, std::vector<Binding> spelled) {
  return {std::move(name),    std::move(slots),     std::move(summary),
          std::move(formula), std::move(reference), std::move(infer),
          std::move(cost),    std::move(spelled),   nullptr};
}

// Unary. -----------------------------------------------------------------------------------------------------------

namespace {

using Function = Scalar (*)(const Scalar&);

template <double (*F)(double)>
Scalar by_double(const Scalar& x) {
  const auto value = x.constant();
  return value ? Scalar::real(F(*value)) : Scalar();
}

Scalar negative(const Scalar& x) { return x * Scalar::integer(-1); }
Scalar absolute(const Scalar& x) {
  const Truth below = Scalar::less(x, Scalar::integer(0));
  if (below == Truth::depends) return {};
  return below == Truth::yes ? negative(x) : x;
}
Scalar sign_of(const Scalar& x) {
  const Truth below = Scalar::less(x, Scalar::integer(0)), above = Scalar::less(Scalar::integer(0), x);
  if (below == Truth::yes) return Scalar::integer(-1);
  if (above == Truth::yes) return Scalar::integer(1);
  return below == Truth::no && above == Truth::no ? Scalar::integer(0) : Scalar();
}
Scalar down(const Scalar& x) { return Scalar::integer(x.floor()); }
Scalar up(const Scalar& x) { return Scalar::integer(x.ceil()); }
Scalar nearest(const Scalar& x) { return Scalar::integer(x.rounded()); }
Scalar inverse(const Scalar& x) { return Scalar::integer(1) / x; }
Scalar positive_part(const Scalar& x) { return Scalar::max(x, Scalar::integer(0)); }
Scalar negated(const Scalar& x) {
  const Truth truth = x.nonzero();
  if (truth == Truth::depends) return {};
  return Scalar::integer(truth == Truth::yes ? 0 : 1);
}

InferFn infer_unary(Function f, DType dtype = DType::unknown) {
  return [f, dtype](const Call& c, Outputs& out) -> Status {
    const Type& x = c.in(0);
    const DType to = dtype == DType::unknown ? x.dtype : dtype;
    out.set(0, to, c.shape(0));
    if (f == nullptr || !x.ranked || !is_small(x.shape)) return {};
    if (const Contents* known = c.contents(0)) {
      Contents mapped;
      mapped.items.reserve(known->items.size());
      for (const Scalar& item : known->items) mapped.items.push_back(item.known() ? f(item) : Scalar());
      out.know(0, std::move(mapped));
    }
    return {};
  };
}

struct Unary {
  const char* name;
  const char* op;  // in the onnx dialect
  const char* summary;
  const char* formula;
  PerElement work;
  Function function = nullptr;
  DType dtype = DType::unknown;  // of the output; unknown: the input's
};

std::vector<Unary> unaries() {
  using enum Work;
  return {
      {"abs", "Abs", "Absolute value", "logic = |x|", {{logic, 1}}, absolute},
      {"neg", "Neg", "Negation", "logic = |x|", {{logic, 1}}, negative},
      {"sign", "Sign", "Sign", "logic = |x|", {{logic, 1}}, sign_of},
      {"not", "Not", "Logical negation", "logic = |x|", {{logic, 1}}, negated},
      {"bitwise_not", "BitwiseNot", "Bitwise negation", "logic = |x|", {{logic, 1}}},
      {"ceil", "Ceil", "Round up", "convert = |x|", {{convert, 1}}, up},
      {"floor", "Floor", "Round down", "convert = |x|", {{convert, 1}}, down},
      {"round", "Round", "Round to nearest, halves to even", "convert = |x|", {{convert, 1}}, nearest},
      {"reciprocal", "Reciprocal", "1/x", "div = |x|", {{div, 1}}, inverse},
      {"sqrt", "Sqrt", "Square root", "sqrt = |x|", {{sqrt, 1}}, by_double<std::sqrt>},
      {"exp", "Exp", "Exponential", "exp = |x|", {{exp, 1}}, by_double<std::exp>},
      {"log", "Log", "Natural logarithm", "log = |x|", {{log, 1}}, by_double<std::log>},
      {"erf", "Erf", "Error function", "exp = |x|", {{exp, 1}}},
      {"sin", "Sin", "Sine", "trig = |x|", {{trig, 1}}},
      {"cos", "Cos", "Cosine", "trig = |x|", {{trig, 1}}},
      {"tan", "Tan", "Tangent", "trig = |x|", {{trig, 1}}},
      {"asin", "Asin", "Inverse sine", "trig = |x|", {{trig, 1}}},
      {"acos", "Acos", "Inverse cosine", "trig = |x|", {{trig, 1}}},
      {"atan", "Atan", "Inverse tangent", "trig = |x|", {{trig, 1}}},
      {"sinh", "Sinh", "Hyperbolic sine", "exp = |x|", {{exp, 1}}},
      {"cosh", "Cosh", "Hyperbolic cosine", "exp = |x|", {{exp, 1}}},
      {"tanh", "Tanh", "Hyperbolic tangent", "exp = |x|", {{exp, 1}}, by_double<std::tanh>},
      {"asinh",
       "Asinh",
       "ln(x + sqrt(x^2 + 1))",
       "log, sqrt, mul = |x|; add = 2|x|",
       {{log, 1}, {sqrt, 1}, {mul, 1}, {add, 2}}},
      {"acosh",
       "Acosh",
       "ln(x + sqrt(x^2 - 1))",
       "log, sqrt, mul = |x|; add = 2|x|",
       {{log, 1}, {sqrt, 1}, {mul, 1}, {add, 2}}},
      {"atanh",
       "Atanh",
       "ln((1 + x)/(1 - x)) / 2",
       "log, div, mul = |x|; add = 2|x|",
       {{log, 1}, {div, 1}, {mul, 1}, {add, 2}}},
      {"isnan", "IsNaN", "Which elements are not a number", "compare = |x|", {{compare, 1}}, nullptr, DType::boolean},
      {"isinf", "IsInf", "Which elements are infinite", "compare = |x|", {{compare, 1}}, nullptr, DType::boolean},
      {"relu", "Relu", "max(x, 0)", "compare = |x|", {{compare, 1}}, positive_part},
      {"leaky_relu", "LeakyRelu", "x, or alpha*x below 0", "compare = |x|; mul = |x|", {{compare, 1}, {mul, 1}}},
      {"thresholded_relu", "ThresholdedRelu", "x, or 0 up to alpha", "compare = |x|", {{compare, 1}}},
      {"elu",
       "Elu",
       "x, or alpha*(exp(x) - 1) below 0",
       "compare, exp, add, mul = |x|",
       {{compare, 1}, {exp, 1}, {add, 1}, {mul, 1}}},
      {"selu",
       "Selu",
       "gamma * elu(x)",
       "compare, exp, add = |x|; mul = 2|x|",
       {{compare, 1}, {exp, 1}, {add, 1}, {mul, 2}}},
      {"celu",
       "Celu",
       "max(0, x) + min(0, alpha*(exp(x/alpha) - 1))",
       "compare = 2|x|; add = 2|x|; exp, mul, div = |x|",
       {{compare, 2}, {add, 2}, {exp, 1}, {mul, 1}, {div, 1}}},
      {"sigmoid", "Sigmoid", "1/(1 + exp(-x))", "exp, add, div = |x|", {{exp, 1}, {add, 1}, {div, 1}}},
      {"hard_sigmoid",
       "HardSigmoid",
       "alpha*x + beta, clipped to [0, 1]",
       "mul, add = |x|; compare = 2|x|",
       {{mul, 1}, {add, 1}, {compare, 2}}},
      {"hard_swish",
       "HardSwish",
       "x * hard_sigmoid(x)",
       "mul = 2|x|; add = |x|; compare = 2|x|",
       {{mul, 2}, {add, 1}, {compare, 2}}},
      {"softplus", "Softplus", "ln(1 + exp(x))", "exp, add, log = |x|", {{exp, 1}, {add, 1}, {log, 1}}},
      {"softsign", "Softsign", "x/(1 + |x|)", "logic, add, div = |x|", {{logic, 1}, {add, 1}, {div, 1}}},
      {"mish",
       "Mish",
       "x * tanh(softplus(x))",
       "exp = 2|x|; add, log, mul = |x|",
       {{exp, 2}, {add, 1}, {log, 1}, {mul, 1}}},
      {"shrink",
       "Shrink",
       "x moved toward 0 by bias, 0 within lambda",
       "compare = 2|x|; add = |x|",
       {{compare, 2}, {add, 1}}},
  };
}

// Gelu and Swish: their work depends on an attribute. --------------------------------------------------------------

const PerElement kGeluExact = {{Work::exp, 1}, {Work::mul, 3}, {Work::add, 1}};
const PerElement kGeluTanh = {{Work::exp, 1}, {Work::mul, 6}, {Work::add, 2}};

Status cost_gelu(const Call& c, Cost& cost) {
  add_each(cost, c.text("approximate", "none") == "tanh" ? kGeluTanh : kGeluExact, numel(c.out_shape()));
  return {};
}

Status cost_swish(const Call& c, Cost& cost) {
  using enum Work;
  add_each(cost, {{exp, 1}, {add, 1}, {div, 1}, {mul, c.real("alpha", 1) == 1 ? 1 : 2}}, numel(c.out_shape()));
  return {};
}

}  // namespace

void append_unary(std::vector<Rule>& rules) {
  for (Unary& u : unaries()) {
    rules.push_back(element_row(u.name, "x", u.summary, u.formula, onnx_page(u.op), infer_unary(u.function, u.dtype),
                                cost_each(std::move(u.work)), onnx({u.op})));
  }
  rules.push_back(element_row("gelu", "x", "x * Phi(x), or its tanh approximation",
                              "exp = |x|; exact (erf): mul = 3|x|, add = |x|; tanh: mul = 6|x|, add = 2|x|",
                              onnx_page("Gelu"), infer_same, cost_gelu, onnx({"Gelu"}) + microsoft({"Gelu"})));
  rules.push_back(element_row("swish", "x", "x * sigmoid(alpha*x)",
                              "exp, add, div, mul = |x|; mul = 2|x| with an alpha other than 1", onnx_page("Swish"),
                              infer_same, cost_swish, onnx({"Swish"})));
}

std::vector<Rule> elementwise_family() {
  std::vector<Rule> rules;
  append_unary(rules);
  append_binary(rules);
  append_casts(rules);
  append_fused(rules);
  return rules;
}

}  // namespace macsim::rules
