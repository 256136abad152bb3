// Element-wise operators of two inputs and more: arithmetic, comparison, logic, selection. Also casts.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "rules/elementwise.hpp"

namespace macsim::rules {

Status broadcast_pair(const Call& c, std::size_t a, std::size_t b, Shape& out) {
  // Before version 7, b had to fit into a, from an axis on; the result is a's shape.
  if (c.dialect() == "onnx" && c.version() < 7 && c.op() != "Where") {
    (void)c.shape(b);
    out = c.shape(a);
    return {};
  }
  return broadcast(c, c.shape(a), c.shape(b), out);
}

namespace {

using Function = Scalar (*)(const Call&, const Scalar&, const Scalar&);

bool whole_numbers(const Call& c) { return class_of(c.dtype(0)) == DTypeClass::integer; }

Scalar sum(const Call&, const Scalar& a, const Scalar& b) { return a + b; }
Scalar difference(const Call&, const Scalar& a, const Scalar& b) { return a - b; }
Scalar product(const Call&, const Scalar& a, const Scalar& b) { return a * b; }
// Integer division truncates toward zero.
Scalar ratio(const Call& c, const Scalar& a, const Scalar& b) {
  if (!whole_numbers(c)) return a / b;
  const Expr x = a.whole(), y = b.whole();
  if (!x.defined() || !y.defined() || y.is(0)) return {};
  if (const Scalar exact = a / b; exact.known()) return Scalar::integer(exact.truncated());
  const bool same_sign = at_least(x, 0) == Truth::yes && at_least(y, 0) == Truth::yes;
  return same_sign ? Scalar::integer(floor_div(x, y)) : Scalar();
}
Scalar remainder(const Call& c, const Scalar& a, const Scalar& b) {
  const auto p = a.constant(), q = b.constant();
  if (p && q) {
    if (*q == 0) return {};
    if (c.integer("fmod", 0) != 0) return Scalar::real(std::fmod(*p, *q));
    return Scalar::real(*p - *q * std::floor(*p / *q));
  }
  const Expr x = a.whole(), y = b.whole();
  if (!x.defined() || !y.defined() || c.integer("fmod", 0) != 0) return {};
  return Scalar::integer(modulo(x, y));
}
Scalar raised(const Call&, const Scalar& a, const Scalar& b) {
  const auto exponent = b.constant();
  if (!exponent) return {};
  if (const auto base = a.constant()) return Scalar::real(std::pow(*base, *exponent));
  if (*exponent == 2) return a * a;
  if (*exponent == 1) return a;
  return {};
}
Scalar largest(const Call&, const Scalar& a, const Scalar& b) { return Scalar::max(a, b); }
Scalar smallest(const Call&, const Scalar& a, const Scalar& b) { return Scalar::min(a, b); }

Truth opposite(Truth truth) { return truth == Truth::depends ? truth : truth == Truth::yes ? Truth::no : Truth::yes; }
Scalar equals(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(Scalar::same(a, b)); }
Scalar below(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(Scalar::less(a, b)); }
Scalar above(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(Scalar::less(b, a)); }
Scalar at_most(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(opposite(Scalar::less(b, a))); }
Scalar not_below(const Call&, const Scalar& a, const Scalar& b) { return Scalar::of(opposite(Scalar::less(a, b))); }
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

// Contents of two inputs, when both are known and the result is small. Stored tensors are decoded last.
bool pair_contents(const Call& c, const Shape& y, const Contents*& a, const Contents*& b) {
  if (!is_small(y)) return false;
  const std::size_t first = c.role(0) == Role::weight ? 1 : 0;
  const Contents* one = c.contents(first);
  if (one == nullptr) return false;
  const Contents* other = c.contents(1 - first);
  if (other == nullptr) return false;
  a = first == 0 ? one : other;
  b = first == 0 ? other : one;
  return true;
}

InferFn infer_pair(Function f, DType dtype = DType::unknown) {
  return [f, dtype](const Call& c, Outputs& out) -> Status {
    const DType to = dtype == DType::unknown ? c.dtype(0) : dtype;
    Shape y;
    if (Status status = broadcast_pair(c, 0, 1, y); !status) {
      out.unranked(0, to);
      return status;
    }
    const Contents *a = nullptr, *b = nullptr;
    if (f != nullptr && c.ranked(0) && c.ranked(1) && pair_contents(c, y, a, b)) {
      const auto size = static_cast<std::size_t>(numel(y).constant().value_or(0));
      const Broadcaster from_a(c.shape(0), y), from_b(c.shape(1), y);
      Contents made;
      made.items.reserve(size);
      for (std::size_t n = 0; n < size; ++n) {
        const std::size_t i = from_a(n), j = from_b(n);
        if (i >= a->items.size() || j >= b->items.size()) break;
        made.items.push_back(f(c, a->items[i], b->items[j]));
      }
      if (made.items.size() == size) out.know(0, std::move(made));
    }
    out.set(0, to, std::move(y));
    return {};
  };
}

// Pow: a constant exponent decides what is done. -------------------------------------------------------------------

Status cost_pow(const Call& c, Cost& cost) {
  using enum Work;
  const Count n = numel(c.out_shape());
  std::optional<double> exponent;
  if (c.ranked(1) && numel(c.shape(1)).is(1)) {
    if (const Contents* known = c.contents(1); known != nullptr && known->items.size() == 1) {
      exponent = known->items.front().constant();
    }
  }
  if (exponent && *exponent == 2) {
    add_each(cost, {{mul, 1}}, n);
  } else if (exponent && *exponent == 3) {
    add_each(cost, {{mul, 2}}, n);
  } else if (exponent && *exponent == 0.5) {
    add_each(cost, {{sqrt, 1}}, n);
  } else if (exponent && *exponent == -1) {
    add_each(cost, {{div, 1}}, n);
  } else if (exponent && *exponent == 1) {
    cost.moves("x to the power of 1");
  } else {
    add_each(cost, {{log, 1}, {mul, 1}, {exp, 1}}, n);
  }
  return {};
}

// Any number of inputs: Max, Min, Sum, Mean. -----------------------------------------------------------------------

InferFn infer_all(Function f) {
  return [f](const Call& c, Outputs& out) -> Status {
    Shape y = c.shape_at(0);
    bool ranked = c.at(0).ranked;
    for (std::size_t i = 1; i < c.inputs(); ++i) {
      const Shape& x = c.shape_at(i);
      ranked = ranked && c.at(i).ranked;
      Shape wider;
      if (Status status = broadcast(c, y, x, wider); !status) {
        out.unranked(0, c.at(0).dtype);
        return status;
      }
      y = std::move(wider);
    }
    out.set(0, c.at(0).dtype, y);
    if (f == nullptr || !ranked || !is_small(y)) return {};
    const auto size = static_cast<std::size_t>(numel(y).constant().value_or(0));
    Contents made;
    for (std::size_t i = 0; i < c.inputs(); ++i) {
      const Contents* known = c.contents_at(i);
      if (known == nullptr) return {};
      const Broadcaster from(c.shape_at(i), y);
      for (std::size_t n = 0; n < size; ++n) {
        const std::size_t at = from(n);
        if (at >= known->items.size()) return {};
        if (i == 0) {
          made.items.push_back(known->items[at]);
        } else {
          made.items[n] = f(c, made.items[n], known->items[at]);
        }
      }
    }
    out.know(0, std::move(made));
    return {};
  };
}

CostFn cost_all(Work kind, bool mean) {
  return [kind, mean](const Call& c, Cost& cost) -> Status {
    const Count n = numel(c.out_shape());
    cost[kind] = n * (c.inputs() - 1);
    if (mean) {
      cost[Work::div] = n;
    } else if (c.inputs() == 1) {
      cost.moves("of one input: a copy");
    }
    return {};
  };
}

// Where, Clip, PRelu. ----------------------------------------------------------------------------------------------

Status infer_where(const Call& c, Outputs& out) {
  const Shape &condition = c.shape(0), &x = c.shape(1), &y = c.shape(2);
  Shape pair, all;
  Status status = broadcast(c, x, y, pair);
  if (status) status = broadcast(c, condition, pair, all);
  if (!status) {
    out.unranked(0, c.dtype(1));
    return status;
  }
  if (c.ranked(0) && c.ranked(1) && c.ranked(2) && is_small(all)) {
    const Contents* chosen = c.contents(0);
    const Contents* a = chosen == nullptr ? nullptr : c.contents(1);
    const Contents* b = chosen == nullptr ? nullptr : c.contents(2);
    if (chosen != nullptr && (a != nullptr || b != nullptr)) {
      const auto size = static_cast<std::size_t>(numel(all).constant().value_or(0));
      const Broadcaster from_c(condition, all), from_a(x, all), from_b(y, all);
      const auto item = [](const Contents* from, std::size_t i) {
        return from != nullptr && i < from->items.size() ? from->items[i] : Scalar();
      };
      Contents made;
      for (std::size_t n = 0; n < size; ++n) {
        const Scalar p = item(a, from_a(n)), q = item(b, from_b(n));
        switch (item(chosen, from_c(n)).nonzero()) {
          case Truth::yes:
            made.items.push_back(p);
            break;
          case Truth::no:
            made.items.push_back(q);
            break;
          case Truth::depends:
            made.items.push_back(p.known() && p == q ? p : Scalar());
            break;
        }
      }
      out.know(0, std::move(made));
    }
  }
  out.set(0, c.dtype(1), std::move(all));
  return {};
}

Scalar bound_of(const Call& c, std::size_t slot, std::string_view attribute) {
  if (c.has(slot)) {
    const Contents* known = c.contents(slot);
    return known != nullptr && known->items.size() == 1 ? known->items.front() : Scalar();
  }
  return c.has_attr(attribute) ? Scalar::real(c.real(attribute, 0)) : Scalar();
}

Status infer_clip(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  out.set(0, c.dtype(0), x);
  if (!c.ranked(0) || !is_small(x)) return {};
  if (const Contents* known = c.contents(0)) {
    const bool from_below = c.has(1) || c.has_attr("min"), from_above = c.has(2) || c.has_attr("max");
    const Scalar low = bound_of(c, 1, "min"), high = bound_of(c, 2, "max");
    Contents clipped = *known;
    for (Scalar& item : clipped.items) {
      if (from_below) item = Scalar::max(item, low);
      if (from_above) item = Scalar::min(item, high);
    }
    out.know(0, std::move(clipped));
  }
  return {};
}

Status cost_clip(const Call& c, Cost& cost) {
  const int bounds = (c.has(1) || c.has_attr("min") ? 1 : 0) + (c.has(2) || c.has_attr("max") ? 1 : 0);
  cost[Work::compare] = numel(c.out_shape()) * bounds;
  if (bounds == 0) cost.moves("no bound is given: a copy");
  return {};
}

struct Pair {
  const char* name;
  const char* op;
  const char* summary;
  const char* formula;
  Work work;
  Function function;
  DType dtype = DType::unknown;
};

std::vector<Pair> pairs() {
  using enum Work;
  constexpr DType kBool = DType::boolean;
  return {
      {"add", "Add", "Sum", "add = |y|", add, sum},
      {"sub", "Sub", "Difference", "add = |y|", add, difference},
      {"mul", "Mul", "Product", "mul = |y|", mul, product},
      {"div", "Div", "Quotient", "div = |y|", div, ratio},
      {"mod", "Mod", "Remainder", "div = |y|", div, remainder},
      {"equal", "Equal", "Which are equal", "compare = |y|", compare, equals, kBool},
      {"less", "Less", "Which are below", "compare = |y|", compare, below, kBool},
      {"greater", "Greater", "Which are above", "compare = |y|", compare, above, kBool},
      {"less_or_equal", "LessOrEqual", "Which are not above", "compare = |y|", compare, at_most, kBool},
      {"greater_or_equal", "GreaterOrEqual", "Which are not below", "compare = |y|", compare, not_below, kBool},
      {"and", "And", "Logical and", "logic = |y|", logic, both, kBool},
      {"or", "Or", "Logical or", "logic = |y|", logic, either, kBool},
      {"xor", "Xor", "Logical exclusive or", "logic = |y|", logic, one_of, kBool},
      {"bit_shift", "BitShift", "Shift of bits", "logic = |y|", logic, nullptr},
      {"bitwise_and", "BitwiseAnd", "Bitwise and", "logic = |y|", logic, nullptr},
      {"bitwise_or", "BitwiseOr", "Bitwise or", "logic = |y|", logic, nullptr},
      {"bitwise_xor", "BitwiseXor", "Bitwise exclusive or", "logic = |y|", logic, nullptr},
  };
}

Status infer_prelu(const Call& c, Outputs& out) {
  (void)c.shape(1);
  out.set(0, c.dtype(0), c.shape(0));
  return {};
}

}  // namespace

void append_binary(std::vector<Rule>& rules) {
  using enum Work;
  for (const Pair& p : pairs()) {
    rules.push_back(element_row(p.name, "a b", p.summary, p.formula, onnx_page(p.op), infer_pair(p.function, p.dtype),
                                cost_each({{p.work, 1}}), onnx({p.op})));
  }
  rules.push_back(element_row("pow", "x #exponent", "Power",
                              "log, mul, exp = |y|; constant exponents: 2: mul = |y|; 3: mul = 2|y|; 0.5: sqrt = |y|; "
                              "-1: div = |y|",
                              onnx_page("Pow"), infer_pair(raised), cost_pow, onnx({"Pow"})));
  rules.push_back(element_row("max", "xs...", "Largest of the inputs", "compare = (inputs - 1) * |y|", onnx_page("Max"),
                              infer_all(largest), cost_all(compare, false), onnx({"Max"})));
  rules.push_back(element_row("min", "xs...", "Smallest of the inputs", "compare = (inputs - 1) * |y|",
                              onnx_page("Min"), infer_all(smallest), cost_all(compare, false), onnx({"Min"})));
  rules.push_back(element_row("sum", "xs...", "Sum of the inputs", "add = (inputs - 1) * |y|", onnx_page("Sum"),
                              infer_all(sum), cost_all(add, false), onnx({"Sum"})));
  rules.push_back(element_row("mean", "xs...", "Mean of the inputs", "add = (inputs - 1) * |y|; div = |y|",
                              onnx_page("Mean"), infer_all(nullptr), cost_all(add, true), onnx({"Mean"})));
  rules.push_back(element_row("where", "condition x y", "One of two, element by element", "logic = |y|",
                              onnx_page("Where"), infer_where, cost_each({{logic, 1}}), onnx({"Where"})));
  rules.push_back(element_row("clip", "x #min #max", "Kept between two bounds", "compare = |x| for each bound",
                              onnx_page("Clip"), infer_clip, cost_clip, onnx({"Clip"})));
  rules.push_back(element_row("prelu", "x slope", "x, or slope*x below 0", "compare = |x|; mul = |x|",
                              onnx_page("PRelu"), infer_prelu, cost_each({{compare, 1}, {mul, 1}}), onnx({"PRelu"})));
}

// Casts. -----------------------------------------------------------------------------------------------------------

namespace {

DType dtype_asked(const Call& c) {
  if (c.op() == "CastLike") return c.dtype(1);
  const Attr* to = c.attr("to");
  if (to == nullptr) return DType::unknown;
  // Version 1 spelled it: "FLOAT".
  if (to->kind == Attr::Kind::text) {
    std::string name(to->text);
    for (char& letter : name) letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
    if (name == "float") return DType::f32;
    if (name == "double") return DType::f64;
    return dtype_named(name);
  }
  return dtype_from_onnx(to->integer);
}

Scalar cast_to(DType dtype, const Scalar& x) {
  switch (class_of(dtype)) {
    case DTypeClass::integer:
      return Scalar::integer(x.truncated());
    case DTypeClass::boolean:
      return Scalar::of(x.nonzero());
    case DTypeClass::real:
      return x;
    default:
      return {};
  }
}

Status infer_cast(const Call& c, Outputs& out) {
  const DType to = dtype_asked(c);
  const Shape& x = c.shape(0);
  out.set(0, to, x);
  if (!c.ranked(0) || !is_small(x)) return {};
  if (const Contents* known = c.contents(0)) {
    Contents cast;
    for (const Scalar& item : known->items) cast.items.push_back(item.known() ? cast_to(to, item) : Scalar());
    out.know(0, std::move(cast));
  }
  return {};
}

Status cost_cast(const Call& c, Cost& cost) {
  if (c.dtype(0) == c.out().dtype && c.dtype(0) != DType::unknown) {
    cost.free("a cast to the same type: no data moved");
    return {};
  }
  cost[Work::convert] = numel(c.out_shape());
  return {};
}

Status infer_bit_cast(const Call& c, Outputs& out) {
  out.set(0, dtype_from_onnx(c.integer("to", 0)), c.shape(0));
  return {};
}

}  // namespace

void append_casts(std::vector<Rule>& rules) {
  const std::string formula = "convert = |x|; nothing where the type stays";
  rules.push_back(element_row("cast", "x", "Another element type", formula, onnx_page("Cast"), infer_cast, cost_cast,
                              onnx({"Cast"})));
  rules.push_back(element_row("cast_like", "x #like", "The element type of another tensor", formula,
                              onnx_page("CastLike"), infer_cast, cost_cast, onnx({"CastLike"})));
  rules.push_back(element_row("bit_cast", "x", "The same bits, read as another type", "no work; a view: no data moved",
                              onnx_page("BitCast"), infer_bit_cast, cost_free("a view: no data moved"),
                              onnx({"BitCast"})));
}

}  // namespace macsim::rules
