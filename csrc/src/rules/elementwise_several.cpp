// Element-wise operators of any number of inputs (max, min, sum, mean), of selection (where, clip, prelu), and casts.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>

#include "rules/aten.hpp"
#include "rules/elementwise.hpp"
#include "rules/gradient.hpp"

namespace macsim::rules {
namespace {

// Any number of inputs. --------------------------------------------------------------------------------------------

using Fold = Scalar (*)(const Scalar&, const Scalar&);

Scalar sum(const Scalar& a, const Scalar& b) { return a + b; }

// Element by element over all inputs; nothing when any is unknown.
std::optional<Contents> folded(const Call& c, const Shape& y, Fold f) {
  const auto size = static_cast<std::size_t>(numel(y).constant().value_or(0));
  Contents made;
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    const Contents* known = elements_at(c, i);
    if (known == nullptr) return std::nullopt;
    const Broadcaster from(c.shape_at(i), y);
    for (std::size_t n = 0; n < size; ++n) {
      const Scalar& item = known->items[from(n)];
      if (i == 0) {
        made.items.push_back(item);
      } else {
        made.items[n] = f(made.items[n], item);
      }
    }
  }
  return made;
}

InferFn infer_all(Fold f, bool mean) {
  return [f, mean](const Call& c, Outputs& out) -> Status {
    const DType dtype = c.at(0).dtype;
    Shape y = c.shape_at(0);
    bool ranked = c.at(0).ranked;
    for (std::size_t i = 1; i < c.inputs(); ++i) {
      Shape wider;
      if (Status status = broadcast(c, y, c.shape_at(i), wider); !status) {
        out.unranked(0, dtype);
        return status;
      }
      ranked = ranked && c.at(i).ranked;
      y = std::move(wider);
    }
    if (ranked && is_small(y)) {
      if (auto made = folded(c, y, f)) {
        const Scalar inputs = Scalar::integer(c.inputs());
        for (Scalar& item : made->items) item = held(dtype, mean ? item / inputs : item);
        out.know(0, std::move(*made));
      }
    }
    out.set(0, dtype, std::move(y));
    return {};
  };
}

Status aten_both(const Call& c, Outputs& out) {
  if (c.inputs() != 2 || !c.at(0).ranked || !c.at(1).ranked) return {};
  Shape y;
  if (Status status = broadcast(c, c.shape_at(0), c.shape_at(1), y); !status) return status;
  out.set(0, promoted(c.at(0), c.at(1)), std::move(y));
  return {};
}

CostFn cost_all(Work kind, bool mean) {
  return [kind, mean](const Call& c, Cost& cost) -> Status {
    const Count n = numel(c.out_shape());
    cost[kind] = n * (c.inputs() - 1);
    if (mean) cost[Work::div] = n;
    if (c.inputs() == 1 && !mean) cost.moves("of one input: a copy");
    return {};
  };
}

// Where. -----------------------------------------------------------------------------------------------------------

enum : std::size_t { kCondition, kYes, kNo };

// What is known of the choice: an unknown condition does not matter where both sides are the same.
void choose(const Call& c, Outputs& out, const Shape& y) {
  const Contents* condition = elements_of(c, kCondition);
  if (condition == nullptr) return;
  const Contents *yes = elements_of(c, kYes), *no = elements_of(c, kNo);
  if (yes == nullptr && no == nullptr) return;
  const Broadcaster of_condition(c.shape(kCondition), y), of_yes(c.shape(kYes), y), of_no(c.shape(kNo), y);
  const auto size = static_cast<std::size_t>(numel(y).constant().value_or(0));
  Contents made;
  made.items.reserve(size);
  for (std::size_t n = 0; n < size; ++n) {
    const Scalar p = yes != nullptr ? yes->items[of_yes(n)] : Scalar(),
                 q = no != nullptr ? no->items[of_no(n)] : Scalar();
    switch (condition->items[of_condition(n)].nonzero()) {
      case Truth::yes:
        made.items.push_back(p);
        break;
      case Truth::no:
        made.items.push_back(q);
        break;
      case Truth::depends:
        made.items.push_back(Scalar::same(p, q) == Truth::yes ? p : Scalar());
        break;
    }
  }
  out.know(0, std::move(made));
}

Status infer_where(const Call& c, Outputs& out) {
  const Shape &condition = c.shape(kCondition), &yes = c.shape(kYes), &no = c.shape(kNo);
  Shape sides, y;
  Status status = broadcast(c, yes, no, sides);
  if (status) status = broadcast(c, condition, sides, y);
  if (!status) {
    out.unranked(0, c.dtype(kYes));
    return status;
  }
  if (c.ranked(kCondition) && c.ranked(kYes) && c.ranked(kNo) && is_small(y)) choose(c, out, y);
  out.set(0, c.dtype(kYes), std::move(y));
  return {};
}

// Clip, PRelu. -----------------------------------------------------------------------------------------------------

enum : std::size_t { kX, kMin, kMax };

/// A bound: an input since version 11, an attribute before.
struct Bound {
  bool given = false;
  Scalar value;
};
Bound bound_of(const Call& c, std::size_t slot, std::string_view attribute) {
  if (c.has(slot)) return {true, only(c, slot)};
  if (c.has_attr(attribute)) return {true, Scalar::real(c.real(attribute, 0))};
  return {};
}

Status infer_clip(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kX), c.shape(kX));
  const Contents* known = elements_of(c, kX);
  if (known == nullptr) return {};
  const Bound least = bound_of(c, kMin, "min"), most = bound_of(c, kMax, "max");
  Contents clipped = *known;
  for (Scalar& item : clipped.items) {
    if (least.given) item = Scalar::max(item, least.value);
    if (most.given) item = Scalar::min(item, most.value);
    item = held(c.dtype(kX), item);
  }
  out.know(0, std::move(clipped));
  return {};
}

Status cost_clip(const Call& c, Cost& cost) {
  const bool least = c.has(kMin) || c.has_attr("min"), most = c.has(kMax) || c.has_attr("max");
  cost[Work::compare] = numel(c.out_shape()) * ((least ? 1 : 0) + (most ? 1 : 0));
  if (!least && !most) cost.moves("no bound is given: a copy");
  return {};
}

// With a condition that broadcasts too, and a number in the place of a tensor; of two numbers torch tells, and of one
// beside booleans, which may be a yes or no.
Status aten_where(const Call& c, Outputs& out) {
  if (!c.has(kYes) || !c.ranked(kCondition) || !c.ranked(kYes)) return {};
  Shape both = c.shape(kYes), y;
  if (c.has(kNo)) {
    if (!c.ranked(kNo)) return {};
    if (Status status = broadcast(c, c.shape(kYes), c.shape(kNo), both); !status) return status;
  } else if (c.dtype(kYes) == DType::boolean) {
    return {};
  }
  if (Status status = broadcast(c, c.shape(kCondition), both, y); !status) return status;
  out.set(0, aten_meeting(c, kYes, kNo), std::move(y));
  return {};
}

Status aten_filled(const Call& c, Outputs& out) {
  if (!c.ranked(0) || !c.ranked(1)) return {};
  Shape y;
  if (Status status = broadcast(c, c.shape(0), c.shape(1), y); !status) return status;
  out.set(0, c.dtype(1), std::move(y));
  return {};
}

// Bounds that are tensors broadcast x too; bounds of another kind of numbers: torch tells.
Status aten_clamped(const Call& c, Outputs& out) {
  Type y = c.in(kX);
  if (!y.ranked) return {};
  for (const std::size_t bound : {kMin, kMax}) {
    if (!c.has(bound)) continue;
    if (!c.ranked(bound)) return {};
    Shape wider;
    if (Status status = broadcast(c, y.shape, c.shape(bound), wider); !status) return status;
    y = Type::of(promoted(y, c.in(bound)), std::move(wider));
  }
  const bool whole = !is_float(y.dtype);
  for (const std::string_view bound : {"min", "max"}) {
    const Attr* given = c.attr(bound);
    if (whole && given != nullptr && given->kind == Attr::Kind::real) return {};
  }
  out.set(0, y.dtype, std::move(y.shape));
  return {};
}

Status infer_prelu(const Call& c, Outputs& out) {
  out.set(0, c.dtype(0), c.shape(0));
  return {};
}

/// One slope for all, or one for each channel.
Status aten_prelu(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  const Count slopes = numel(c.shape(1));
  if (c.ranked(0) && c.ranked(1) && !slopes.is(1) && x.size() > 1)
    unify(c, x[1], slopes, "the channels and the slopes");
  return aten_same(c, out);
}

// Casts. -----------------------------------------------------------------------------------------------------------

DType asked_dtype(const Call& c) {
  if (c.op() == "CastLike") return c.dtype(1);
  const Attr* to = c.attr("to");
  if (to == nullptr) return DType::unknown;
  if (to->kind != Attr::Kind::text) return dtype_from_onnx(c.integer("to", 0));
  std::string name(to->text);  // version 1 wrote "FLOAT", "DOUBLE", "INT64"
  for (char& letter : name) letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  return name == "float" ? DType::f32 : name == "double" ? DType::f64 : dtype_named(name);
}

// Whether an integer fits its type; one that does not would come out as another number.
bool fits(DType dtype, const Scalar& x) {
  const auto value = x.constant_integer();
  if (!value) return true;
  const int bits = bits_of(dtype);
  if (name_of(dtype).front() == 'u') return *value >= 0 && (bits >= 63 || *value < (std::int64_t{1} << bits));
  return bits > 63 || (*value >= -(std::int64_t{1} << (bits - 1)) && *value < (std::int64_t{1} << (bits - 1)));
}

Scalar cast_to(const Call& c, DType dtype, const Scalar& x) {
  switch (class_of(dtype)) {
    case DTypeClass::integer: {
      const Scalar whole = truncated(c, x);
      return fits(dtype, whole) ? whole : Scalar();
    }
    case DTypeClass::boolean:
      return Scalar::of(x.nonzero());
    case DTypeClass::real:
      return held(dtype, x);
    default:
      return {};
  }
}

Status infer_cast(const Call& c, Outputs& out) {
  const DType to = asked_dtype(c);
  out.set(0, to, c.shape(0));
  if (const Contents* known = elements_of(c, 0)) {
    Contents cast;
    cast.items.reserve(known->items.size());
    for (const Scalar& item : known->items) cast.items.push_back(item.known() ? cast_to(c, to, item) : Scalar());
    out.know(0, std::move(cast));
  }
  return {};
}

Status cost_cast(const Call& c, Cost& cost) {
  if (c.dtype(0) == c.out().dtype && c.dtype(0) != DType::unknown) {
    cost.free("a cast to the same type: no data moved");
  } else {
    cost[Work::convert] = numel(c.out_shape());
  }
  return {};
}

Status infer_bit_cast(const Call& c, Outputs& out) {
  out.set(0, dtype_from_onnx(c.integer("to", 0)), c.shape(0));
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// Where an input is the largest it gets the gradient, or its share of it.
Status gradient_extreme(const Call& c, Gradient& g) {
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    g.keep_at(i);
    if (!g.needs_at(i)) continue;
    add_each(g.cost, {{Work::compare, 1}, {Work::mul, 1}}, numel(c.out_shape()));
    add_spread(g, c.out_shape(), c.shape_at(i));
  }
  return {};
}

GradientFn gradient_all(bool mean) {
  return [mean](const Call& c, Gradient& g) -> Status {
    Count read, written;
    if (mean) g[Work::div] += numel(c.out_shape());
    for (std::size_t i = 0; i < c.inputs(); ++i) {
      if (!g.needs_at(i) || (!mean && numel(c.shape_at(i)) == numel(c.out_shape()))) continue;
      add_spread(g, c.out_shape(), c.shape_at(i));
      read += bytes(c.out());
      written += bytes(c.at(i));
    }
    g.cost.read = read;
    g.cost.written = written;
    if (written.is(0)) g.cost.because = "the gradient as it is";
    return {};
  };
}

Status gradient_where(const Call& c, Gradient& g) {
  for (const std::size_t slot : {kYes, kNo}) {
    if (!g.needs(slot)) continue;
    g[Work::logic] += numel(c.out_shape());
    add_spread(g, c.out_shape(), c.shape(slot));
  }
  g.keep(kCondition);
  return {};
}

Status gradient_clip(const Call&, Gradient& g) {
  g[Work::compare] = g.run[Work::compare];
  g.keep(kX);
  return {};
}

Status gradient_prelu(const Call& c, Gradient& g) {
  enum : std::size_t { kSlope = 1 };
  const Count n = numel(c.shape(kX));
  add_each(g.cost, {{Work::compare, 1}}, n);
  if (g.needs(kX)) g[Work::mul] += n;
  if (g.needs(kSlope)) {
    g[Work::mul] += n;
    add_spread(g, c.out_shape(), c.shape(kSlope));
  }
  g.keep(kX);
  g.keep(kSlope);
  return {};
}

Status gradient_cast(const Call& c, Gradient& g) {
  if (c.dtype(0) == c.out().dtype) return gradient_view()(c, g);
  g[Work::convert] = numel(c.shape(0));
  return {};
}

}  // namespace

std::vector<Rule> several_rules() {
  using enum Work;
  const Text cast = "convert = |x|; nothing where the type stays";
  return {
      {"max", "xs...", "Largest of the inputs", "compare = (inputs - 1) * |y|", onnx_page("Max"),
       infer_all(Scalar::max, false), cost_all(compare, false),
       onnx({"Max"}) + aten({"maximum", "fmax"}, aten_both) +
           aten({"prims::maximum", "prims::fmax"}, {}, "a b", {}, cost_each({{compare, 1}})),
       nullptr, gradient_extreme},
      {"min", "xs...", "Smallest of the inputs", "compare = (inputs - 1) * |y|", onnx_page("Min"),
       infer_all(Scalar::min, false), cost_all(compare, false),
       onnx({"Min"}) + aten({"minimum", "fmin"}, aten_both) +
           aten({"prims::minimum", "prims::fmin"}, {}, "a b", {}, cost_each({{compare, 1}})),
       nullptr, gradient_extreme},
      {"sum", "xs...", "Sum of the inputs", "add = (inputs - 1) * |y|", onnx_page("Sum"), infer_all(sum, false),
       cost_all(add, false), onnx({"Sum"}), nullptr, gradient_all(false)},
      {"mean", "xs...", "Mean of the inputs", "add = (inputs - 1) * |y|; div = |y|", onnx_page("Mean"),
       infer_all(sum, true), cost_all(add, true), onnx({"Mean"}), nullptr, gradient_all(true)},
      {"where", "condition x y", "One of two, element by element", "logic = |y|", onnx_page("Where"), infer_where,
       cost_each({{logic, 1}}),
       onnx({"Where"}) + aten({"where"}, aten_where) + aten({"prims::where"}) +
           aten({"masked_fill"}, aten_filled, "x condition"),
       nullptr, gradient_where},
      {"clip", "x #min #max", "Kept between two bounds", "compare = |y| for each bound that is given",
       onnx_page("Clip"), infer_clip, cost_clip,
       onnx({"Clip"}) + aten({"clamp", "clip", "clamp_min", "clamp_max"}, aten_clamped, "x min max") +
           aten({"quantized::clamp"}, aten_same, "x min max"),
       nullptr, gradient_clip},
      {"prelu", "x slope", "x, or slope*x below 0", "compare = mul = |x|", onnx_page("PRelu"), infer_prelu,
       cost_each({{compare, 1}, {mul, 1}}), onnx({"PRelu"}) + aten({"prelu"}, aten_prelu), nullptr, gradient_prelu},
      {"cast", "x", "Another element type", cast, onnx_page("Cast"), infer_cast, cost_cast,
       onnx({"Cast"}) + aten({"to", "_to_copy", "type_as", "prims::convert_element_type"}, {}, "x like"), nullptr,
       gradient_cast},
      {"cast_like", "x #like", "The element type of another tensor", cast, onnx_page("CastLike"), infer_cast, cost_cast,
       onnx({"CastLike"}), nullptr, gradient_cast},
      {"bit_cast", "x", "The same bits, read as another type", "no work; a view: no data moved", onnx_page("BitCast"),
       infer_bit_cast, cost_free("a view: no data moved"), onnx({"BitCast"}), nullptr,
       NoGradient{"the bits of a number"}},
  };
}

}  // namespace macsim::rules
