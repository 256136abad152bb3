// Element-wise operators of one input, and what the parts of the family share.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/elementwise.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>

#include "rules/aten.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/work.hpp"

namespace macsim::rules {

// Shared. ----------------------------------------------------------------------------------------------------------

void add_each(Cost& cost, const PerElement& work, const Count& elements) {
  for (std::size_t kind = 0; kind < kWorks; ++kind) {
    if (work.times_[kind] != 0) cost.work[kind] += elements * int{work.times_[kind]};
  }
}

CostFn cost_each(PerElement work) {
  return [work](const Call& c, Cost& cost) -> Status {
    add_each(cost, work, numel(c.out_shape()));
    return {};
  };
}

Truth negated(Truth truth) noexcept {
  return truth == Truth::depends ? truth : truth == Truth::yes ? Truth::no : Truth::yes;
}

Scalar truncated(const Call& c, const Scalar& x) {
  if (const Expr decided = x.truncated(); decided.defined() || x.is_real()) return Scalar::integer(decided);
  c.assume_not_negative(x.numerator());
  return Scalar::integer(x.floor());
}

Scalar truncated_ratio(const Call& c, const Scalar& x, const Scalar& y) {
  if (const Scalar exact = x / y; exact.known()) return truncated(c, exact);
  const Expr a = x.whole(), b = y.whole();
  if (!a.defined() || !b.defined() || b.is_constant()) return {};  // a constant that got here is 0
  if (at_least(0, a) == Truth::yes) return Scalar::integer(ceil_div(a, b));
  c.assume_not_negative(a);
  return Scalar::integer(floor_div(a, b));
}

// Values. ----------------------------------------------------------------------------------------------------------

namespace {

using Function = Scalar (*)(const Call&, const Scalar&);

template <double (*F)(double)>
Scalar by_double(const Call&, const Scalar& x) {
  const auto value = x.constant();
  return value ? Scalar::real(F(*value)) : Scalar();
}

Scalar negative(const Call&, const Scalar& x) { return x * Scalar::integer(-1); }
Scalar magnitude(const Call& c, const Scalar& x) {
  const Truth below = Scalar::less(x, Scalar::integer(0));
  if (below == Truth::depends) return {};
  return below == Truth::yes ? negative(c, x) : x;
}
Scalar sign_of(const Call&, const Scalar& x) {
  const Truth below = Scalar::less(x, Scalar::integer(0)), above = Scalar::less(Scalar::integer(0), x);
  if (below == Truth::yes) return Scalar::integer(-1);
  if (above == Truth::yes) return Scalar::integer(1);
  return below == Truth::no && above == Truth::no ? Scalar::integer(0) : Scalar();
}
Scalar down(const Call&, const Scalar& x) { return Scalar::integer(x.floor()); }
Scalar up(const Call&, const Scalar& x) { return Scalar::integer(x.ceil()); }
Scalar nearest(const Call&, const Scalar& x) { return Scalar::integer(x.rounded()); }
Scalar inverse(const Call&, const Scalar& x) { return Scalar::integer(1) / x; }
Scalar positive_part(const Call&, const Scalar& x) { return Scalar::max(x, Scalar::integer(0)); }
Scalar opposite(const Call&, const Scalar& x) { return Scalar::of(negated(x.nonzero())); }
Scalar flipped(const Call& c, const Scalar& x) {  // of an unsigned integer it depends on the bits
  const DTypeClass kind = class_of(c.dtype(0));
  if (kind != DTypeClass::integer || name_of(c.dtype(0)).front() == 'u') return {};
  return Scalar::integer(-1) - x;
}
Scalar not_a_number(const Call&, const Scalar& x) {
  return Scalar::integer(x.is_real() && std::isnan(*x.constant()) ? 1 : 0);
}
Scalar infinite(const Call& c, const Scalar& x) {
  if (!x.is_real() || !std::isinf(*x.constant())) return Scalar::integer(0);
  return Scalar::integer(c.integer(*x.constant() > 0 ? "detect_positive" : "detect_negative", 1) != 0 ? 1 : 0);
}

InferFn infer_unary(Function f, DType dtype) {
  return [f, dtype](const Call& c, Outputs& out) -> Status {
    const DType to = dtype == DType::unknown ? c.dtype(0) : dtype;
    out.set(0, to, c.shape(0));
    if (f == nullptr) return {};
    if (const Contents* known = elements_of(c, 0)) {
      Contents mapped;
      mapped.items.reserve(known->items.size());
      for (const Scalar& item : known->items) mapped.items.push_back(item.known() ? held(to, f(c, item)) : Scalar());
      out.know(0, std::move(mapped));
    }
    return {};
  };
}

// Rows. ------------------------------------------------------------------------------------------------------------

struct Unary {
  Text name;
  const char* op;  // in the onnx dialect; null: torch's only
  Text summary;
  Text formula;
  PerElement work;
  GradientFn gradient;
  Function function = nullptr;
  DType dtype = DType::unknown;  // of the output; unknown: the input's
  const char* torch = nullptr;   // its name in torch, when that is another one; "": none
};

// Gradients, by what is kept for them.
GradientFn by_input(PerElement work) { return gradient_each(work, Keeps::input); }
GradientFn by_output(PerElement work) { return gradient_each(work, Keeps::output); }
GradientFn by_none(PerElement work) { return gradient_each(work, Keeps::nothing); }

std::vector<Unary> plain_functions() {
  using enum Work;
  const GradientFn no_slope = gradient_zero();
  constexpr DType kBool = DType::boolean;
  return {
      {"abs",
       "Abs",
       "Absolute value",
       "logic = |x|; complex: mul = 2|x|, add = sqrt = |x|",
       {{logic, 1}},
       by_input({{logic, 1}, {mul, 1}}),
       magnitude},
      {"neg", "Neg", "Negation", "logic = |x|", {{logic, 1}}, by_none({{logic, 1}}), negative},
      {"sign", "Sign", "Sign", "logic = |x|", {{logic, 1}}, no_slope, sign_of},
      {"not", "Not", "Logical negation", "logic = |x|", {{logic, 1}}, {}, opposite, kBool, "logical_not"},
      {"bitwise_not", "BitwiseNot", "Bitwise negation", "logic = |x|", {{logic, 1}}, {}, flipped},
      {"isnan", "IsNaN", "Which are not a number", "compare = |x|", {{compare, 1}}, {}, not_a_number, kBool},
      {"isinf", "IsInf", "Which are infinite", "compare = |x|", {{compare, 1}}, {}, infinite, kBool},
      {"ceil", "Ceil", "Round up", "convert = |x|", {{convert, 1}}, no_slope, up},
      {"floor", "Floor", "Round down", "convert = |x|", {{convert, 1}}, no_slope, down},
      {"round", "Round", "Round to nearest, halves to even", "convert = |x|", {{convert, 1}}, no_slope, nearest},
      {"reciprocal", "Reciprocal", "1/x", "div = |x|", {{div, 1}}, by_output({{logic, 1}, {mul, 2}}), inverse},
      {"sqrt", "Sqrt", "Square root", "sqrt = |x|", {{sqrt, 1}}, by_output({{mul, 1}, {div, 1}}), by_double<std::sqrt>},
      {"exp", "Exp", "Exponential", "exp = |x|", {{exp, 1}}, by_output({{mul, 1}}), by_double<std::exp>},
      {"log", "Log", "Natural logarithm", "log = |x|", {{log, 1}}, by_input({{div, 1}}), by_double<std::log>},
      {"erf",
       "Erf",
       "Error function",
       "exp = |x|",
       {{exp, 1}},
       by_input({{exp, 1}, {mul, 3}, {logic, 1}}),
       by_double<std::erf>},
      {"sin", "Sin", "Sine", "trig = |x|", {{trig, 1}}, by_input({{trig, 1}, {mul, 1}}), by_double<std::sin>},
      {"cos",
       "Cos",
       "Cosine",
       "trig = |x|",
       {{trig, 1}},
       by_input({{trig, 1}, {mul, 1}, {logic, 1}}),
       by_double<std::cos>},
      {"tan", "Tan", "Tangent", "trig = |x|", {{trig, 1}}, by_output({{mul, 2}, {add, 1}}), by_double<std::tan>},
      {"asin",
       "Asin",
       "Inverse sine",
       "trig = |x|",
       {{trig, 1}},
       by_input({{mul, 2}, {add, 1}, {sqrt, 1}, {div, 1}}),
       by_double<std::asin>},
      {"acos",
       "Acos",
       "Inverse cosine",
       "trig = |x|",
       {{trig, 1}},
       by_input({{mul, 2}, {add, 1}, {sqrt, 1}, {div, 1}, {logic, 1}}),
       by_double<std::acos>},
      {"atan",
       "Atan",
       "Inverse tangent",
       "trig = |x|",
       {{trig, 1}},
       by_input({{mul, 1}, {add, 1}, {div, 1}}),
       by_double<std::atan>},
      {"sinh",
       "Sinh",
       "Hyperbolic sine",
       "exp = |x|",
       {{exp, 1}},
       by_input({{exp, 1}, {mul, 1}}),
       by_double<std::sinh>},
      {"cosh",
       "Cosh",
       "Hyperbolic cosine",
       "exp = |x|",
       {{exp, 1}},
       by_input({{exp, 1}, {mul, 1}}),
       by_double<std::cosh>},
      {"tanh",
       "Tanh",
       "Hyperbolic tangent",
       "exp = |x|",
       {{exp, 1}},
       by_output({{mul, 2}, {add, 1}}),
       by_double<std::tanh>},
      {"asinh",
       "Asinh",
       "Inverse hyperbolic sine",
       "log = |x|",
       {{log, 1}},
       by_input({{mul, 2}, {add, 1}, {sqrt, 1}, {div, 1}}),
       by_double<std::asinh>},
      {"acosh",
       "Acosh",
       "Inverse hyperbolic cosine",
       "log = |x|",
       {{log, 1}},
       by_input({{mul, 2}, {add, 1}, {sqrt, 1}, {div, 1}}),
       by_double<std::acosh>},
      {"atanh",
       "Atanh",
       "Inverse hyperbolic tangent",
       "log = |x|",
       {{log, 1}},
       by_input({{mul, 1}, {add, 1}, {div, 1}}),
       by_double<std::atanh>},
  };
}

std::vector<Unary> activations() {
  using enum Work;
  const PerElement elu = {{compare, 1}, {exp, 1}, {add, 1}, {mul, 1}},
                   selu = {{compare, 1}, {exp, 1}, {add, 1}, {mul, 2}};
  const PerElement celu = {{compare, 2}, {add, 2}, {exp, 1}, {mul, 1}, {div, 1}};
  const PerElement hard = {{mul, 1}, {add, 1}, {compare, 2}}, hard_swish = {{mul, 2}, {add, 1}, {compare, 2}};
  const PerElement mish = {{exp, 2}, {add, 1}, {log, 1}, {mul, 1}};
  return {
      {"relu", "Relu", "max(x, 0)", "compare = |x|", {{compare, 1}}, by_output({{compare, 1}}), positive_part},
      {"leaky_relu",
       "LeakyRelu",
       "x, or alpha*x below 0",
       "compare = |x|; mul = |x|",
       {{compare, 1}, {mul, 1}},
       by_input({{compare, 1}, {mul, 1}})},
      {"thresholded_relu",
       "ThresholdedRelu",
       "x, or 0 up to alpha",
       "compare = |x|",
       {{compare, 1}},
       by_input({{compare, 1}}),
       nullptr,
       DType::unknown,
       "threshold"},
      {"elu", "Elu", "x, or alpha*(exp(x) - 1) below 0", "compare = exp = add = mul = |x|", elu,
       by_input({{compare, 1}, {exp, 1}, {mul, 2}})},
      {"selu", "Selu", "gamma * elu(x)", "compare = exp = add = |x|; mul = 2|x|", selu,
       by_input({{compare, 1}, {exp, 1}, {mul, 2}})},
      {"celu", "Celu", "max(0, x) + min(0, alpha*(exp(x/alpha) - 1))",
       "compare = 2|x|; add = 2|x|; exp = mul = div = |x|", celu,
       by_input({{compare, 1}, {exp, 1}, {mul, 1}, {div, 1}})},
      {"sigmoid",
       "Sigmoid",
       "1/(1 + exp(-x))",
       "exp = add = div = |x|",
       {{exp, 1}, {add, 1}, {div, 1}},
       by_output({{add, 1}, {mul, 2}})},
      {"hard_sigmoid", "HardSigmoid", "alpha*x + beta, kept in [0, 1]", "mul = add = |x|; compare = 2|x|", hard,
       by_input({{compare, 2}, {mul, 1}}), nullptr, DType::unknown, "hardsigmoid"},
      {"hard_swish", "HardSwish", "x * hard_sigmoid(x)", "mul = 2|x|; add = |x|; compare = 2|x|", hard_swish,
       by_input({{compare, 2}, {mul, 2}, {add, 1}}), nullptr, DType::unknown, "hardswish"},
      {"softplus",
       "Softplus",
       "ln(1 + exp(x))",
       "exp = add = log = |x|",
       {{exp, 1}, {add, 1}, {log, 1}},
       by_input({{exp, 1}, {add, 1}, {mul, 1}, {div, 1}})},
      {"softsign",
       "Softsign",
       "x/(1 + abs(x))",
       "logic = add = div = |x|",
       {{logic, 1}, {add, 1}, {div, 1}},
       by_input({{logic, 1}, {add, 1}, {mul, 1}, {div, 1}})},
      {"mish", "Mish", "x * tanh(softplus(x))", "exp = 2|x|; add = log = mul = |x|", mish,
       by_input({{exp, 3}, {log, 1}, {add, 4}, {div, 1}, {mul, 4}})},
      {"shrink",
       "Shrink",
       "x moved toward 0 by bias, 0 within lambd",
       "compare = 2|x|; add = |x|",
       {{compare, 2}, {add, 1}},
       by_input({{compare, 2}}),
       nullptr,
       DType::unknown,
       "softshrink"},
  };
}

// Functions that torch has and ONNX has not.
std::vector<Unary> of_torch() {
  using enum Work;
  const GradientFn no_slope = gradient_zero(), passed = gradient_view();
  return {
      {"rsqrt", nullptr, "1/sqrt(x)", "sqrt = div = |x|", {{sqrt, 1}, {div, 1}}, by_output({{mul, 4}})},
      {"square", nullptr, "x * x", "mul = |x|", {{mul, 1}}, by_input({{mul, 2}})},
      {"log2", nullptr, "Logarithm to base 2", "log = |x|", {{log, 1}}, by_input({{mul, 1}, {div, 1}})},
      {"log10", nullptr, "Logarithm to base 10", "log = |x|", {{log, 1}}, by_input({{mul, 1}, {div, 1}})},
      {"log1p", nullptr, "ln(1 + x)", "log = add = |x|", {{log, 1}, {add, 1}}, by_input({{add, 1}, {div, 1}})},
      {"exp2", nullptr, "2 to the power of x", "exp = |x|", {{exp, 1}}, by_output({{mul, 2}})},
      {"expm1", nullptr, "exp(x) - 1", "exp = add = |x|", {{exp, 1}, {add, 1}}, by_output({{add, 1}, {mul, 1}})},
      {"erfc",
       nullptr,
       "1 - erf(x)",
       "exp = add = |x|",
       {{exp, 1}, {add, 1}},
       by_input({{exp, 1}, {mul, 3}, {logic, 1}})},
      {"trunc", nullptr, "Toward zero", "convert = |x|", {{convert, 1}}, no_slope},
      {"frac", nullptr, "What is behind the point", "convert = add = |x|", {{convert, 1}, {add, 1}}, passed},
      {"log_sigmoid",
       nullptr,
       "-ln(1 + exp(-x))",
       "exp = add = log = logic = |x|",
       {{exp, 1}, {add, 1}, {log, 1}, {logic, 1}},
       by_input({{exp, 1}, {add, 1}, {div, 1}, {mul, 1}, {logic, 1}})},
      {"hardtanh", nullptr, "Kept between two bounds", "compare = 2|x|", {{compare, 2}}, by_input({{compare, 2}})},
      {"relu6", nullptr, "Kept in [0, 6]", "compare = 2|x|", {{compare, 2}}, by_input({{compare, 2}})},
      {"hardshrink", nullptr, "x, or 0 near 0", "compare = 2|x|", {{compare, 2}}, by_input({{compare, 2}})},
  };
}

// Whole numbers stay whole under these.
bool keeps_integers(std::string_view name) {
  constexpr std::string_view kNames[] = {"abs",      "neg",   "sign", "bitwise_not", "ceil",
                                         "floor",    "round", "relu", "trunc",       "square",
                                         "hardtanh", "relu6", "frac", "leaky_relu",  "thresholded_relu"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// What torch's decompositions end in.
bool is_primitive(std::string_view name) {
  constexpr std::string_view kNames[] = {"abs",   "acos", "acosh", "asin",  "asinh", "atan", "atanh", "bitwise_not",
                                         "ceil",  "cos",  "cosh",  "erf",   "erfc",  "exp",  "exp2",  "expm1",
                                         "floor", "log",  "log10", "log1p", "log2",  "neg",  "round", "reciprocal",
                                         "rsqrt", "sign", "sin",   "sinh",  "sqrt",  "tan",  "tanh",  "trunc"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Status aten_boolean(const Call& c, Outputs& out) {
  out.set(0, DType::boolean, c.shape(0));
  return {};
}

/// Of complex numbers the root of the sum of two squares, which is real.
Status aten_magnitude(const Call& c, Outputs& out) {
  const DType x = c.dtype(0);
  const DType real = x == DType::c32 ? DType::f16 : x == DType::c64 ? DType::f32 : x == DType::c128 ? DType::f64 : x;
  out.set(0, real, c.shape(0));
  return {};
}

Status cost_magnitude(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(0));
  if (class_of(c.dtype(0)) != DTypeClass::complex) {
    cost[Work::logic] = n;
  } else {
    add_each(cost, {{Work::mul, 2}, {Work::add, 1}, {Work::sqrt, 1}}, n);
  }
  return {};
}

Text torch_page(std::string_view name) {
  return Text::joined({"https://docs.pytorch.org/docs/stable/generated/torch.", name, ".html"});
}

Rule unary_rule(const Unary& u) {
  const std::string_view torch = u.torch != nullptr ? std::string_view(u.torch) : u.name.view();
  const InferFn infer = u.dtype == DType::boolean ? aten_boolean : keeps_integers(u.name) ? aten_same : aten_real;
  std::vector<Binding> spelled = u.op != nullptr ? onnx({u.op}) : std::vector<Binding>();
  if (torch == "abs") {
    spelled = std::move(spelled) + aten({torch}, aten_magnitude, {}, {}, cost_magnitude);
  } else if (!torch.empty()) {
    spelled = std::move(spelled) + aten({torch}, infer);
  }
  if (is_primitive(torch)) spelled = std::move(spelled) + aten({Text::joined({"prims::", torch})});
  const Text page = u.op != nullptr ? onnx_page(u.op) : torch_page(torch);
  if (torch == "isinf") spelled = std::move(spelled) + aten({"prims::isfinite"});
  if (torch == "neg") spelled = std::move(spelled) + aten({"_neg_view_copy"}, aten_same);
  if (torch == "relu6") spelled = std::move(spelled) + aten({"quantized::relu6"}, aten_same);
  if (torch == "leaky_relu") spelled = std::move(spelled) + aten({"rrelu", "rrelu_with_noise"}, aten_same);
  return {u.name,
          "x",
          u.summary,
          u.formula,
          page,
          infer_unary(u.function, u.dtype),
          cost_each(u.work),
          std::move(spelled),
          nullptr,
          u.gradient};
}

Status cost_gelu(const Call& c, Cost& cost) {
  work::activation(cost, c.text("approximate", "none") == "tanh" ? "FastGelu" : "Gelu", numel(c.out_shape()));
  return {};
}

Status cost_swish(const Call& c, Cost& cost) {
  work::activation(cost, c.real("alpha", 1) == 1 ? "Swish" : "QuickGelu", numel(c.out_shape()));
  return {};
}

/// Exact: dy (cdf + x pdf); by tanh: the derivative of its polynomial besides.
Status gradient_gelu(const Call& c, Gradient& g) {
  using enum Work;
  const bool by_tanh = c.text("approximate", "none") == "tanh" || c.op() == "FastGelu";
  const PerElement exact = {{exp, 2}, {add, 2}, {mul, 7}}, approximate = {{exp, 1}, {add, 5}, {mul, 12}};
  add_each(g.cost, by_tanh ? approximate : exact, numel(c.shape(0)));
  g.keep(0);
  return {};
}

/// dy s (1 + z (1 - s)), s = sigmoid(z), z = alpha x.
Status gradient_swish(const Call& c, Gradient& g) {
  using enum Work;
  add_each(g.cost, {{exp, 1}, {add, 3}, {div, 1}, {mul, c.real("alpha", 1) == 1 ? 3 : 4}}, numel(c.shape(0)));
  g.keep(0);
  return {};
}

}  // namespace

std::vector<Rule> unary_rules() {
  std::vector<Rule> rules;
  for (const auto& table : {plain_functions(), activations(), of_torch()}) {
    for (const Unary& u : table) rules.push_back(unary_rule(u));
  }
  rules.push_back({"gelu", "x", "x * Phi(x), or its tanh approximation",
                   "exp = |x|; exact (erf): mul = 3|x|, add = |x|; tanh: mul = 6|x|, add = 2|x|", onnx_page("Gelu"),
                   infer_same, cost_gelu, onnx({"Gelu"}) + microsoft({"Gelu"}) + aten({"gelu"}, aten_same), nullptr,
                   gradient_gelu});
  rules.push_back({"swish", "x", "x * sigmoid(alpha*x)",
                   "exp = add = div = mul = |x|; mul = 2|x| with an alpha other than 1", onnx_page("Swish"), infer_same,
                   cost_swish, onnx({"Swish"}) + aten({"silu"}, aten_same), nullptr, gradient_swish});
  return without_gradients("its results are no real numbers", std::move(rules));
}

std::vector<Rule> elementwise_family() {
  return with(Access::pointwise,
              joined(unary_rules(), binary_rules(), several_rules(), special_rules(), fused_rules()));
}

}  // namespace macsim::rules
