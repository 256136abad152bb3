// Element-wise operators of two inputs: arithmetic, comparison, logic, bits, powers.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>

#include "rules/aten.hpp"
#include "rules/elementwise.hpp"
#include "rules/gradient.hpp"

namespace macsim::rules {
namespace {

enum : std::size_t { kA, kB };

// Values. ----------------------------------------------------------------------------------------------------------

using Function = Scalar (*)(const Call&, const Scalar&, const Scalar&);

bool of_integers(const Call& c) { return is_integer(c.dtype(kA)); }

Scalar sum(const Call&, const Scalar& a, const Scalar& b) { return a + b; }
Scalar difference(const Call&, const Scalar& a, const Scalar& b) { return a - b; }
Scalar product(const Call&, const Scalar& a, const Scalar& b) { return a * b; }
Scalar ratio(const Call& c, const Scalar& a, const Scalar& b) {
  return of_integers(c) ? truncated_ratio(c, a, b) : a / b;
}

Scalar remainder(const Call& c, const Scalar& a, const Scalar& b) {
  const bool sign_of_a = c.integer("fmod", 0) != 0;
  if (!a.is_real() && !b.is_real()) {
    const Expr x = a.whole(), y = b.whole();
    if (!x.defined() || !y.defined()) return {};
    if (!sign_of_a || (at_least(x, 0) == Truth::yes && at_least(y, 0) == Truth::yes))
      return Scalar::integer(modulo(x, y));
    return a - b * truncated_ratio(c, a, b);
  }
  const auto x = a.constant(), y = b.constant();
  if (!x || !y || *y == 0) return {};
  double rest = std::fmod(*x, *y);
  if (!sign_of_a && rest != 0 && (rest < 0) != (*y < 0)) rest += *y;
  return Scalar::real(rest);
}

Scalar raised(const Call&, const Scalar& a, const Scalar& b) {
  const double most_factors = a.constant() ? 64 : 8;
  const auto exponent = b.constant();
  if (!exponent) return {};
  if (const auto base = a.constant(); base && (a.is_real() || b.is_real() || *exponent < 0)) {
    return Scalar::real(std::pow(*base, *exponent));
  }
  if (*exponent < 0 || *exponent > most_factors || std::floor(*exponent) != *exponent) return {};
  Scalar power = Scalar::integer(1);
  for (int i = 0; i < static_cast<int>(*exponent); ++i) power = power * a;
  return power;
}

Scalar equals(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(Scalar::same(a, b)); }
Scalar below(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(Scalar::less(a, b)); }
Scalar above(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(Scalar::less(b, a)); }
Scalar at_most(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(negated(Scalar::less(b, a))); }
Scalar not_below(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(negated(Scalar::less(a, b))); }

Scalar both(const Call&, const Scalar& a, const Scalar& b) {
  const Truth x = a.nonzero(), y = b.nonzero();
  if (x == Truth::no || y == Truth::no) return Scalar::integer(0);
  return x == Truth::yes && y == Truth::yes ? Scalar::integer(1) : Scalar();
}
Scalar either(const Call&, const Scalar& a, const Scalar& b) {
  const Truth x = a.nonzero(), y = b.nonzero();
  if (x == Truth::yes || y == Truth::yes) return Scalar::integer(1);
  return x == Truth::no && y == Truth::no ? Scalar::integer(0) : Scalar();
}
Scalar one_of(const Call&, const Scalar& a, const Scalar& b) {
  const Truth x = a.nonzero(), y = b.nonzero();
  if (x == Truth::depends || y == Truth::depends) return {};
  return Scalar::integer(x != y ? 1 : 0);
}

template <class Operation>
Scalar by_bits(const Scalar& a, const Scalar& b, Operation operation) {
  const auto x = a.constant_integer(), y = b.constant_integer();
  return x && y ? Scalar::integer(operation(*x, *y)) : Scalar();
}
Scalar bits_and(const Call&, const Scalar& a, const Scalar& b) {
  return by_bits(a, b, [](std::int64_t x, std::int64_t y) { return x & y; });
}
Scalar bits_or(const Call&, const Scalar& a, const Scalar& b) {
  return by_bits(a, b, [](std::int64_t x, std::int64_t y) { return x | y; });
}
Scalar bits_xor(const Call&, const Scalar& a, const Scalar& b) {
  return by_bits(a, b, [](std::int64_t x, std::int64_t y) { return x ^ y; });
}
Scalar shifted(const Call& c, const Scalar& a, const Scalar& b) {
  const auto by = b.constant_integer();
  const int width = bits_of(c.dtype(kA));
  if (!by || *by < 0 || *by >= width || *by >= 62) return {};
  const std::int64_t factor = std::int64_t{1} << *by;
  if (c.text("direction", "LEFT") == "RIGHT") return Scalar::integer(floor_div(a.whole(), factor));
  const auto x = a.constant_integer();  // bits that leave the type are lost
  const bool fits = x && *x >= 0 && *x < (std::int64_t{1} << (std::min(width, 63) - 1)) / factor;
  return fits ? Scalar::integer(*x * factor) : Scalar();
}

// Types. -----------------------------------------------------------------------------------------------------------

/// How b lies along a. Before version 7 b had to fit into a, from an axis on, and the result has a's shape.
struct Lie {
  Shape shape;
  std::optional<std::size_t> axis;
};

Status lie_of(const Call& c, Lie& out) {
  const Shape &a = c.shape(kA), &b = c.shape(kB);
  if (c.version() >= 7 || c.dialect() != "onnx") return broadcast(c, a, b, out.shape);
  out.shape = a;
  if (c.integer("broadcast", 0) == 0 || !c.ranked(kA) || !c.ranked(kB)) return {};
  const auto last = static_cast<std::int64_t>(a.size()) - static_cast<std::int64_t>(b.size());
  const std::int64_t given = c.integer("axis", -1);
  const std::int64_t axis = given == -1 ? last : given;
  if (axis < 0 || axis > last) return bad("shape " + text(b) + " does not fit into " + text(a));
  out.axis = static_cast<std::size_t>(axis);
  return {};
}

// The elements of both inputs, when both are known. The stored one is decoded last, when the other is known.
struct Known {
  const Contents *a = nullptr, *b = nullptr;
  explicit operator bool() const noexcept { return a != nullptr && b != nullptr; }
};
Known known_pair(const Call& c) {
  Known pair;
  if (c.role(kA) == Role::weight) {
    pair.b = elements_of(c, kB);
    if (pair.b != nullptr) pair.a = elements_of(c, kA);
  } else {
    pair.a = elements_of(c, kA);
    if (pair.a != nullptr) pair.b = elements_of(c, kB);
  }
  return pair;
}

InferFn infer_pair(Function f, DType dtype = DType::unknown) {
  return [f, dtype](const Call& c, Outputs& out) -> Status {
    const DType to = dtype == DType::unknown ? c.dtype(kA) : dtype;
    Lie lie;
    if (Status status = lie_of(c, lie); !status) {
      out.unranked(0, to);
      return status;
    }
    if (is_small(lie.shape)) {
      if (const Known known = known_pair(c)) {
        const auto size = static_cast<std::size_t>(numel(lie.shape).constant().value_or(0));
        const Broadcaster from_a(c.shape(kA), lie.shape), from_b(c.shape(kB), lie.shape, lie.axis);
        Contents made;
        made.items.reserve(size);
        for (std::size_t n = 0; n < size; ++n) {
          const std::size_t i = from_a(n), j = from_b(n);
          if (i >= known.a->items.size() || j >= known.b->items.size()) break;
          made.items.push_back(held(to, f(c, known.a->items[i], known.b->items[j])));
        }
        if (made.items.size() == size) out.know(0, std::move(made));
      }
    }
    out.set(0, to, std::move(lie.shape));
    return {};
  };
}

// Pow: a constant exponent decides what is done. -------------------------------------------------------------------

void power_work(const Call& c, Cost& cost, std::optional<double> exponent) {
  using enum Work;
  const Count n = numel(c.out_shape());
  const auto is = [&](double value) { return exponent && *exponent == value; };
  if (is(2)) {
    cost[mul] = n;
  } else if (is(3)) {
    cost[mul] = 2 * n;
  } else if (is(0.5)) {
    cost[sqrt] = n;
  } else if (is(-1)) {
    cost[div] = n;
  } else if (is(1)) {
    cost.moves("to the power of 1: a copy");
  } else {
    add_each(cost, {{log, 1}, {mul, 1}, {exp, 1}}, n);
  }
}

Status cost_pow(const Call& c, Cost& cost) {
  power_work(c, cost, only(c, kB).constant());
  return {};
}

/// a + alpha * b.
Status cost_scaled(const Call& c, Cost& cost) {
  cost[Work::add] = numel(c.out_shape());
  if (c.real("alpha", 1) != 1) cost[Work::mul] = numel(c.out_shape());
  return {};
}

/// The exponent is mostly a number of the call.
Status cost_aten_pow(const Call& c, Cost& cost) {
  const Attr* given = c.attr("exponent");
  if (given == nullptr) return cost_pow(c, cost);
  power_work(c, cost, c.real("exponent", 0));
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

// That of a sum is the sum's own; a difference and an alpha change it, and what was spread is summed.
Status gradient_sum(const Call& c, Gradient& g) {
  Count read, written;
  const Count y = numel(c.out_shape());
  const std::string_view op = c.op();
  const bool scaled = c.real("alpha", 1) != 1;
  for (const std::size_t slot : {kA, kB}) {
    if (!g.needs(slot)) continue;
    const bool second = (slot == kB) != (op == "rsub");
    const bool turned = second && (op == "Sub" || op == "sub" || op == "rsub");
    const bool spread = y != numel(c.shape(slot));
    if (second && scaled) {
      g[Work::mul] += y;
    } else if (turned) {
      g[Work::logic] += y;
    } else if (!spread) {
      continue;
    }
    add_spread(g, c.out_shape(), c.shape(slot));
    read += bytes(c.out());
    written += bytes(c.in(slot));
  }
  g.cost.read = read;
  g.cost.weights = Count(0);
  g.cost.written = written;
  if (written.is(0)) g.cost.because = "the gradient as it is";
  return {};
}

Status gradient_times(const Call& c, Gradient& g) {
  for (const auto& [one, other] : {std::pair(kA, kB), std::pair(kB, kA)}) {
    if (!g.needs(one)) continue;
    g[Work::mul] += numel(c.out_shape());
    add_spread(g, c.out_shape(), c.shape(one));
    g.keep(other);
  }
  return {};
}

// dy / b, and -dy (a / b) / b. Rounded quotients have none.
Status gradient_ratio(const Call& c, Gradient& g) {
  if (c.op() == "floor_divide" || !c.text("rounding_mode", "").empty()) return gradient_zero()(c, g);
  const Count y = numel(c.out_shape());
  if (g.needs(kA)) {
    g[Work::div] += y;
    add_spread(g, c.out_shape(), c.shape(kA));
  }
  if (g.needs(kB)) {
    add_each(g.cost, {{Work::div, 2}, {Work::mul, 1}, {Work::logic, 1}}, y);
    add_spread(g, c.out_shape(), c.shape(kB));
    g.keep(kA);
  }
  g.keep(kB);
  return {};
}

// dy, and -dy floor(a / b).
Status gradient_rest(const Call& c, Gradient& g) {
  const Count y = numel(c.out_shape());
  if (g.needs(kA)) add_spread(g, c.out_shape(), c.shape(kA));
  if (g.needs(kB)) {
    add_each(g.cost, {{Work::div, 1}, {Work::convert, 1}, {Work::mul, 1}, {Work::logic, 1}}, y);
    add_spread(g, c.out_shape(), c.shape(kB));
    g.keep(kA);
    g.keep(kB);
  }
  return {};
}

// dy n x^(n - 1), and dy y log(x). An exponent that is one number of the model's is a constant of it.
Status gradient_power(const Call& c, Gradient& g) {
  const Count y = numel(c.out_shape());
  if (numel(c.shape(kB)).is(1) && c.role(kB) == Role::weight) g.none(kB);
  if (g.needs(kA)) {
    const Attr* given = c.attr("exponent");
    const auto exponent = given != nullptr ? std::optional(c.real("exponent", 0)) : only(c, kB).constant();
    Cost power;
    if (!exponent) g[Work::add] += numel(c.shape(kB));  // n - 1
    if (exponent != 2) power_work(c, power, exponent ? std::optional(*exponent - 1) : std::nullopt);
    for (std::size_t w = 0; w < kWorks; ++w) g.cost.work[w] += power.work[w];
    g[Work::mul] += 2 * y;
    add_spread(g, c.out_shape(), c.shape(kA));
    g.keep(kA);
    g.keep(kB);
  }
  if (g.needs(kB)) {
    add_each(g.cost, {{Work::log, 1}, {Work::mul, 2}}, y);
    add_spread(g, c.out_shape(), c.shape(kB));
    g.keep(kA);
    g.keep_output();
  }
  return {};
}

// Rows. ------------------------------------------------------------------------------------------------------------

struct Pair {
  Text name;
  const char* op;
  Text summary;
  Work work;
  Function function;
  DType dtype = DType::unknown;  // of the output; unknown: the inputs'
  std::vector<std::string_view> torch{};
  GradientFn gradient{};
};

std::vector<Pair> pairs() {
  using enum Work;
  constexpr DType kBool = DType::boolean;
  return {
      {"add", "Add", "Sum", add, sum, DType::unknown, {"add"}, gradient_sum},
      {"sub", "Sub", "Difference", add, difference, DType::unknown, {"sub", "rsub"}, gradient_sum},
      {"mul", "Mul", "Product", mul, product, DType::unknown, {"mul"}, gradient_times},
      {"div", "Div", "Quotient", div, ratio, DType::unknown, {"div", "floor_divide"}, gradient_ratio},
      {"mod", "Mod", "Remainder", div, remainder, DType::unknown, {"remainder", "fmod"}, gradient_rest},
      {"equal", "Equal", "Which are equal", compare, equals, kBool, {"eq", "ne"}},
      {"less", "Less", "Which are below", compare, below, kBool, {"lt"}},
      {"greater", "Greater", "Which are above", compare, above, kBool, {"gt"}},
      {"less_or_equal", "LessOrEqual", "Which are not above", compare, at_most, kBool, {"le"}},
      {"greater_or_equal", "GreaterOrEqual", "Which are not below", compare, not_below, kBool, {"ge"}},
      {"and", "And", "Logical and", logic, both, kBool, {"logical_and"}},
      {"or", "Or", "Logical or", logic, either, kBool, {"logical_or"}},
      {"xor", "Xor", "Logical exclusive or", logic, one_of, kBool, {"logical_xor"}},
      {"bitwise_and",
       "BitwiseAnd",
       "Bitwise and",
       logic,
       bits_and,
       DType::unknown,
       {"bitwise_and", "__and__", "__iand__"}},
      {"bitwise_or", "BitwiseOr", "Bitwise or", logic, bits_or, DType::unknown, {"bitwise_or", "__or__", "__ior__"}},
      {"bitwise_xor",
       "BitwiseXor",
       "Bitwise exclusive or",
       logic,
       bits_xor,
       DType::unknown,
       {"bitwise_xor", "__xor__", "__ixor__"}},
      {"bit_shift",
       "BitShift",
       "Shift of bits",
       logic,
       shifted,
       DType::unknown,
       {"bitwise_left_shift", "bitwise_right_shift", "__lshift__", "__rshift__", "__ilshift__", "__irshift__"}},
  };
}

}  // namespace

std::vector<Rule> binary_rules() {
  // What torch's decompositions end in.
  constexpr std::string_view kPrimitives[] = {"add",  "sub", "mul",         "div",        "remainder",
                                              "fmod", "eq",  "ne",          "lt",         "gt",
                                              "le",   "ge",  "bitwise_and", "bitwise_or", "bitwise_xor"};
  std::vector<Rule> rules;
  for (const Pair& p : pairs()) {
    std::vector<Binding> spelled = onnx({p.op});
    for (const std::string_view name : p.torch) {
      const InferFn infer = p.dtype == DType::boolean ? aten_compare : name == "div" ? aten_ratio : aten_pair;
      spelled = std::move(spelled) +
                aten({name}, infer, {}, {}, name == "add" || name == "sub" ? CostFn(cost_scaled) : CostFn());
      if (std::find(std::begin(kPrimitives), std::end(kPrimitives), name) != std::end(kPrimitives)) {
        spelled = std::move(spelled) + aten({Text::joined({"prims::", name})});
      }
    }
    if (std::string_view(p.op) == "BitShift")
      spelled = std::move(spelled) + aten({"prims::shift_left", "prims::shift_right_arithmetic"});
    rules.push_back({p.name, "a b", p.summary,
                     Text::joined({name_of(p.work), " = |y|", p.work == Work::add ? "; an alpha: mul = |y|" : ""}),
                     onnx_page(p.op), infer_pair(p.function, p.dtype), cost_each({{p.work, 1}}), std::move(spelled),
                     nullptr, p.gradient});
  }
  rules.push_back({"pow", "x exponent", "Power",
                   "log = mul = exp = |y|; with the one exponent 2: mul = |y|; 3: mul = 2|y|; 0.5: sqrt = |y|; -1: "
                   "div = |y|",
                   onnx_page("Pow"), infer_pair(raised), cost_pow,
                   onnx({"Pow"}) + aten({"pow"}, aten_pair, {}, {}, cost_aten_pow) + aten({"prims::pow"}), nullptr,
                   gradient_power});
  return without_gradients("its results are no real numbers", std::move(rules));
}

}  // namespace macsim::rules
