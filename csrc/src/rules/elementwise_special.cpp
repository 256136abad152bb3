// Functions that torch has and ONNX has not: of two numbers, of bits, and those that are series.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "rules/aten.hpp"
#include "rules/elementwise.hpp"
#include "rules/gradient.hpp"

namespace macsim::rules {
namespace {

Status aten_logspace(const Call& c, Outputs& out) {
  const Dim length = aten_number(c, 2);
  if (length.defined()) out.set(0, stated(c), {length});
  return {};
}

struct Exact {
  Text name;
  Text summary;
  Text formula;
  PerElement work;
  std::vector<Binding> spelled;
};

std::vector<Exact> exact_functions() {
  using enum Work;
  return {
      {"atan2",
       "Angle of a point",
       "trig = |y|",
       {{trig, 1}},
       aten({"atan2", "arctan2"}, aten_ratio) + aten({"prims::atan2"}, {}, "a b")},
      {"hypot",
       "sqrt(a^2 + b^2)",
       "mul = 2|y|; add = sqrt = |y|",
       {{mul, 2}, {add, 1}, {sqrt, 1}},
       aten({"hypot"}, aten_pair) + aten({"prims::hypot"}, {}, "a b")},
      {"bits_of_floats",
       "Signs and neighbours of floats",
       "logic = |y|",
       {{logic, 1}},
       aten({"copysign", "nextafter", "prims::nextafter"}, {}, "a b") +
           aten({"signbit", "prims::signbit", "frexp", "prims::frexp", "_conj_physical", "conj_physical", "_conj_copy",
                 "prims::conj_physical"},
                {}, "a")},
      {"lerp", "a + w (b - a)", "add = 2|y|; mul = |y|", {{add, 2}, {mul, 1}}, aten({"lerp"}, {}, "a b w")},
      {"log_add_exp",
       "log(exp(a) + exp(b))",
       "compare = exp = log = logic = |y|; add = 3|y|",
       {{compare, 1}, {exp, 1}, {log, 1}, {logic, 1}, {add, 3}},
       aten({"logaddexp", "logaddexp2"}, {}, "a b")},
      {"logspace",
       "Numbers evenly spaced by their logarithms",
       "mul = add = exp = |y|",
       {{mul, 1}, {add, 1}, {exp, 1}},
       aten({"logspace"}, aten_logspace, "#start #end #steps #base")},
      {"add_relu",
       "max(0, a + alpha b)",
       "add = compare = |y|",
       {{add, 1}, {compare, 1}},
       aten({"_add_relu"}, aten_pair)},
      {"shrink_backward",
       "A gradient where what it belongs to was not shrunk to 0",
       "compare = 2|y|; logic = |y|",
       {{compare, 2}, {logic, 1}},
       aten({"hardshrink_backward", "softshrink_backward"}, {}, "a b")},
      {"cbrt", "Cube root", "exp = |y|", {{exp, 1}}, aten({"prims::cbrt"}, {}, "a")},
  };
}

/// Of real numbers the sign says it.
Status cost_angle(const Call& c, Cost& cost) {
  const bool complex = class_of(c.dtype(0)) == DTypeClass::complex;
  cost[complex ? Work::trig : Work::compare] = numel(c.out_shape());
  return {};
}

/// Series, continued fractions and rational functions, whose lengths depend on the argument.
Status cost_special(const Call& c, Cost& cost) {
  cost[Work::exp] = numel(c.out_shape());
  cost.trust = Trust::estimate;
  cost.because = "a special function is taken for one exp";
  return {};
}

/// Euclid's algorithm takes 12 ln 2 / pi^2 ln n steps on the average: D. E. Knuth, The Art of Computer Programming,
/// volume 2, 4.5.3. Of b bits that is 12 (ln 2)^2 / pi^2 b, 0.584 b.
Status cost_divisor(const Call& c, Cost& cost) {
  const bool multiple = c.op() == "lcm";
  const int steps = bits_of(c.out().dtype);
  cost[Work::div] = numel(c.out_shape()) * (7 * steps / 12 + (multiple ? 1 : 0));
  if (multiple) cost[Work::mul] = numel(c.out_shape());
  cost.trust = Trust::estimate;
  cost.because = "what Euclid's algorithm takes on the average: Knuth, The Art of Computer Programming, 4.5.3";
  return {};
}

/// Sums what an input was spread over.
void spread_pair(const Call& c, Gradient& g) {
  for (std::size_t slot = 0; slot < 2; ++slot) {
    if (g.needs(slot)) add_spread(g, c.out_shape(), c.shape(slot));
  }
}

/// dy b / (a^2 + b^2) and -dy a / (a^2 + b^2).
Status gradient_atan2(const Call& c, Gradient& g) {
  const Count y = numel(c.out_shape());
  add_each(g.cost, {{Work::mul, 2}, {Work::add, 1}, {Work::div, 1}}, y);
  if (g.needs(0)) g[Work::mul] += y;
  if (g.needs(1)) add_each(g.cost, {{Work::mul, 1}, {Work::logic, 1}}, y);
  spread_pair(c, g);
  g.keep(0);
  g.keep(1);
  return {};
}

/// dy a / y and dy b / y.
Status gradient_hypot(const Call& c, Gradient& g) {
  const Count y = numel(c.out_shape());
  g[Work::div] += y;
  for (std::size_t slot = 0; slot < 2; ++slot) {
    if (!g.needs(slot)) continue;
    g[Work::mul] += y;
    g.keep(slot);
  }
  spread_pair(c, g);
  g.keep_output();
  return {};
}

/// dy (1 - w), dy w and dy (b - a).
Status gradient_lerp(const Call& c, Gradient& g) {
  constexpr std::size_t kWeight = 2;
  const Count y = numel(c.out_shape());
  if (g.needs_at(0)) add_each(g.cost, {{Work::add, 1}, {Work::mul, 1}}, y);
  if (g.needs_at(1)) g[Work::mul] += y;
  if (g.needs_at(kWeight)) {
    add_each(g.cost, {{Work::add, 1}, {Work::mul, 1}}, y);
    g.keep_at(0);
    g.keep_at(1);
  }
  if (g.needs_at(0) || g.needs_at(1)) g.keep_at(kWeight);
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    if (g.needs_at(i)) add_spread(g, c.out_shape(), c.shape_at(i));
  }
  return {};
}

/// dy exp(x - y) for each.
Status gradient_log_add_exp(const Call& c, Gradient& g) {
  for (std::size_t slot = 0; slot < 2; ++slot) {
    if (!g.needs(slot)) continue;
    add_each(g.cost, {{Work::add, 1}, {Work::exp, 1}, {Work::mul, 1}}, numel(c.out_shape()));
    g.keep(slot);
  }
  spread_pair(c, g);
  g.keep_output();
  return {};
}

/// copysign turns dy where it turned x; conjugation conjugates; others are constant between their steps.
Status gradient_bits(const Call& c, Gradient& g) {
  const std::string_view op = c.op();
  if (op == "copysign") {
    add_each(g.cost, {{Work::logic, 2}, {Work::mul, 1}}, numel(c.out_shape()));
    g.none(1);
    g.keep(0);
    g.keep(1);
    return {};
  }
  if (op.find("conj") != std::string_view::npos) return gradient_like_run(c, g);
  for (std::size_t i = 0; i < c.inputs(); ++i) g.none_at(i);
  return {};
}

/// Of complex numbers dy (-im, re) / |x|^2; of real ones 0.
Status gradient_angle(const Call& c, Gradient& g) {
  if (class_of(c.dtype(0)) != DTypeClass::complex) return gradient_zero()(c, g);
  add_each(g.cost, {{Work::mul, 4}, {Work::add, 1}, {Work::div, 1}, {Work::logic, 1}}, numel(c.shape(0)));
  g.keep(0);
  return {};
}

/// The derivative of a special function is taken for one, too.
Status gradient_special(const Call& c, Gradient& g) {
  const Count y = numel(c.out_shape());
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    g.keep_at(i);
    if (!g.needs_at(i)) continue;
    add_each(g.cost, {{Work::exp, 1}, {Work::mul, 1}}, y);
    add_spread(g, c.out_shape(), c.shape_at(i));
  }
  estimated(g, "the derivative of a special function is taken for one exp and a product");
  return {};
}

/// To both where the sum was above 0.
Status gradient_add_relu(const Call& c, Gradient& g) {
  g[Work::logic] += numel(c.out_shape());
  spread_pair(c, g);
  g.keep_output();
  return {};
}

std::vector<Rule> with_their_gradients(std::vector<Rule> rules) {
  return with_gradients({{"atan2", gradient_atan2},
                         {"hypot", gradient_hypot},
                         {"bits_of_floats", gradient_bits},
                         {"lerp", gradient_lerp},
                         {"log_add_exp", gradient_log_add_exp},
                         {"logspace", NoGradient{"of numbers that are given on the host"}},
                         {"cbrt", gradient_each({{Work::mul, 2}, {Work::div, 1}}, Keeps::output)},  // dy / (3 y^2)
                         {"shrink_backward", gradient_each({{Work::compare, 2}, {Work::logic, 1}}, Keeps::input)},
                         {"add_relu", gradient_add_relu},
                         {"angle", gradient_angle},
                         {"divisor", NoGradient{"its results are no real numbers"}},
                         {"special_function", gradient_special}},
                        std::move(rules));
}

}  // namespace

std::vector<Rule> special_rules() {
  const Text docs = "https://docs.pytorch.org/docs/stable/generated/torch.";
  std::vector<Rule> rules;
  for (Exact& e : exact_functions()) {
    const std::string_view op = e.spelled.front().op;
    rules.push_back({e.name,
                     "a b",
                     e.summary,
                     e.formula,
                     Text::joined({docs, op.substr(op.find("::") + 2), ".html"}),
                     {},
                     cost_each(e.work),
                     std::move(e.spelled)});
  }
  rules.push_back({"angle",
                   "x",
                   "Angles of complex numbers",
                   "trig = |x|; of real ones compare = |x|",
                   docs + "angle.html",
                   {},
                   cost_angle,
                   aten({"angle"})});
  rules.push_back({"divisor",
                   "a b",
                   "Greatest common divisor, least common multiple",
                   "b bits: div = 7b/12 |y|; the multiple: div and mul |y| more; an estimate",
                   docs + "gcd.html",
                   {},
                   cost_divisor,
                   aten({"gcd", "lcm", "prims::gcd"})});
  rules.push_back({"special_function",
                   "a b",
                   "Gamma, Bessel and other functions that are series; orthogonal polynomials",
                   "exp = |y|, an estimate",
                   "https://docs.pytorch.org/docs/stable/special.html",
                   {},
                   cost_special,
                   aten({"lgamma",
                         "digamma",
                         "polygamma",
                         "special_polygamma",
                         "erfinv",
                         "special_erfcx",
                         "i0",
                         "special_i0",
                         "special_i0e",
                         "special_i1",
                         "special_i1e",
                         "special_ndtri",
                         "special_zeta",
                         "igamma",
                         "igammac",
                         "special_gammainc",
                         "special_gammaincc",
                         "special_airy_ai",
                         "special_bessel_j0",
                         "special_bessel_j1",
                         "special_bessel_y0",
                         "special_bessel_y1",
                         "special_modified_bessel_i0",
                         "special_modified_bessel_i1",
                         "special_modified_bessel_k0",
                         "special_modified_bessel_k1",
                         "special_scaled_modified_bessel_k0",
                         "special_scaled_modified_bessel_k1",
                         "special_spherical_bessel_j0",
                         "special_chebyshev_polynomial_t",
                         "special_chebyshev_polynomial_u",
                         "special_chebyshev_polynomial_v",
                         "special_chebyshev_polynomial_w",
                         "special_shifted_chebyshev_polynomial_t",
                         "special_shifted_chebyshev_polynomial_u",
                         "special_shifted_chebyshev_polynomial_v",
                         "special_shifted_chebyshev_polynomial_w",
                         "special_hermite_polynomial_h",
                         "special_hermite_polynomial_he",
                         "special_laguerre_polynomial_l",
                         "special_legendre_polynomial_p",
                         "prims::lgamma",
                         "prims::digamma",
                         "prims::erf_inv",
                         "prims::erfcx",
                         "prims::bessel_i0",
                         "prims::bessel_i0e",
                         "prims::bessel_i1",
                         "prims::bessel_i1e",
                         "prims::bessel_j0",
                         "prims::bessel_j1",
                         "prims::ndtri",
                         "prims::zeta",
                         "prims::igamma",
                         "prims::igammac",
                         "prims::spherical_bessel_j0"})});
  return with_their_gradients(std::move(rules));
}

}  // namespace macsim::rules
