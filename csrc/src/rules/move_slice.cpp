// Parts of a tensor: slice, split, compress.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <string>

#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/move.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

constexpr std::size_t kX = 0;

// Slice. -----------------------------------------------------------------------------------------------------------

enum : std::size_t { kStarts = 1, kEnds, kAxes, kSteps };

/// Bounds from here on mean "to the end", whatever the size; exporters write both INT32_MAX and INT64_MAX.
constexpr std::int64_t kFar = std::numeric_limits<std::int32_t>::max();

/// A bound that may count from the end, as a distance from the start: the size is added when it is negative. Where the
/// sign depends on sizes, it is added as often as the bound is negative: min(1, max(-bound, 0)) times.
Dim from_start(const Call& c, const Dim& bound, const Dim& size) {
  if (at_least(bound, 0) == Truth::yes) return bound;
  if (at_least(-1, bound) == Truth::yes) return bound + size;
  for (const bool negative : {false, true}) {
    const Dim margin = negative ? -1 - bound : bound;
    if (at_least(margin, 0, 1) != Truth::yes) continue;
    if (!c.assume_not_negative(margin)) break;
    return negative ? bound + size : bound;
  }
  return bound + min(1, max(-bound, 0)) * size;
}

/// From here on a bound is taken to be meant as "to the end" of a free size; bind() refuses larger sizes.
constexpr std::int64_t kGenerous = 100'000'000;

bool far(const Dim& bound) {
  const auto value = bound.constant();
  return value && *value >= kFar;
}
bool far_before(const Dim& bound) {
  const auto value = bound.constant();
  return value && *value <= -kFar;
}
bool past_end(const Call& c, const Dim& bound, const Dim& size) {
  if (far(bound)) return true;
  if (size.is_constant() || bound.constant().value_or(0) < kGenerous) return false;
  c.assume_not_negative(bound - size);
  return true;
}

/// How many elements start:end:step keeps of `size`. Bounds are clamped only where they would otherwise add elements;
/// an empty slice is one whose length would come out negative.
Dim kept(const Call& c, const Dim& size, const Dim& start, const Dim& end, const Dim& step) {
  if (at_least(step, 1, 1) == Truth::yes) {
    const Dim from = far_before(start) ? Dim(0) : at_least_zero(c, from_start(c, start, size));
    const Dim to = past_end(c, end, size) ? size : smaller(c, from_start(c, end, size), size);
    const Dim length = at_least_zero(c, to - from);
    return step.is(1) ? length : ceil_div(length, step);
  }
  if (at_least(-1, step, 1) != Truth::yes) return Dim::undefined();
  const Dim last = size - 1;
  const Dim from = far_before(start)          ? Dim(0)
                   : past_end(c, start, size) ? last
                                              : smaller(c, at_least_zero(c, from_start(c, start, size)), last);
  const Dim to = far_before(end) ? Dim(-1) : larger(c, from_start(c, end, size), -1);
  return ceil_div(at_least_zero(c, from - to), -step);
}

/// Bounds by axis that is sliced; undefined where they depend on data.
struct Bounds {
  std::vector<std::size_t> axes;
  std::vector<Dim> starts, ends, steps;
};

/// A list that older versions state as an attribute. False: an input whose contents are not known.
bool listed(const Call& c, std::size_t slot, std::string_view attribute, std::vector<Dim>& out) {
  if (!c.has(slot)) {
    const Span<std::int64_t> values = c.integers(attribute);
    out.assign(values.begin(), values.end());
    return true;
  }
  auto known = c.ints(slot);
  if (known) out = std::move(*known);
  return known.has_value();
}

Status bounds_of(const Call& c, const Shape& x, Bounds& bounds) {
  const bool starts = listed(c, kStarts, "starts", bounds.starts);
  const bool ends = listed(c, kEnds, "ends", bounds.ends);
  const IntList given = int_list(c, kAxes, "axes");
  if (given.given && given.known) {
    const auto normal = axes_in(given.values, x.size());
    if (!normal) return bad("Slice: axes do not fit the shape " + text(x));
    bounds.axes = *normal;
  } else {  // the first axes; all, when it is not known which
    const bool counted = !given.given && (starts || ends);
    const std::size_t count = counted ? std::max(bounds.starts.size(), bounds.ends.size()) : x.size();
    if (count > x.size()) return bad("Slice: " + std::to_string(count) + " starts for the shape " + text(x));
    for (std::size_t i = 0; i < count; ++i) bounds.axes.push_back(i);
  }
  const std::size_t n = bounds.axes.size();
  const bool which = !given.given || given.known;
  if (!starts || !which) bounds.starts.assign(n, Dim::undefined());
  if (!ends || !which) bounds.ends.assign(n, Dim::undefined());
  const bool steps = listed(c, kSteps, "steps", bounds.steps) && which;
  if (!steps) bounds.steps.assign(n, Dim::undefined());
  if (bounds.steps.empty()) bounds.steps.assign(n, 1);
  if (bounds.starts.size() != n || bounds.ends.size() != n || bounds.steps.size() != n) {
    return bad("Slice: starts, ends, steps and axes are not of one length");
  }
  return {};
}

/// One axis of a slice, in numbers.
struct Run {
  std::int64_t start = 0, step = 1;
};

/// Where a slice of a constant size starts.
Run run_of(std::int64_t size, std::int64_t start, std::int64_t step) {
  if (start < 0) start = std::max<std::int64_t>(start, -size) + size;
  return {std::clamp<std::int64_t>(start, 0, step > 0 ? size : std::max<std::int64_t>(size - 1, 0)), step};
}

void know_slice(const Call& c, Outputs& out, const Shape& shape, const Bounds& bounds) {
  const auto sizes = small_sizes(shape);
  const Contents* known = sizes ? elements_of(c, kX, 65536) : nullptr;
  if (known == nullptr) return;
  const Sizes from = *small_sizes(c.shape(kX), 65536);
  std::vector<Run> runs(from.size());
  for (std::size_t i = 0; i < bounds.axes.size(); ++i) {
    const auto start = bounds.starts[i].constant(), step = bounds.steps[i].constant();
    if (!start || !step) return;
    runs[bounds.axes[i]] = run_of(from[bounds.axes[i]], *start, *step);
  }
  const Sizes hops = steps_of(from);
  Contents part;
  each_position(*sizes, [&](const Sizes& at) {
    std::int64_t place = 0;
    for (std::size_t axis = 0; axis < at.size(); ++axis) {
      place += (runs[axis].start + at[axis] * runs[axis].step) * hops[axis];
    }
    part.items.push_back(known->items[static_cast<std::size_t>(place)]);
  });
  out.know(0, std::move(part));
}

Status infer_slice(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  Bounds bounds;
  if (Status status = bounds_of(c, x, bounds); !status) return status;
  Shape shape = x;
  for (std::size_t i = 0; i < bounds.axes.size(); ++i) {
    const std::size_t axis = bounds.axes[i];
    const Dim &start = bounds.starts[i], &end = bounds.ends[i], &step = bounds.steps[i];
    if (step.is(0)) return bad("Slice: a step of 0");
    if (start.is(0) && far(end) && step.is(1)) continue;
    shape[axis] = start.defined() && end.defined() && step.defined()
                      ? kept(c, x[axis], start, end, step)
                      : out.symbol("axis" + std::to_string(axis), "elements that a slice with bounds from data keeps");
  }
  out.set(0, dtype, shape);
  know_slice(c, out, shape, bounds);
  return {};
}

/// Only what is kept is read.
Status cost_part(const Call& c, Cost& cost) {
  work::Reads reads(c);
  for (std::size_t i = 0; i < c.outputs(); ++i) {
    if (c.wants(i)) reads.part(kX, numel(c.out_shape(i)));
  }
  reads.into(cost);
  cost.moves("moves data only");
  return {};
}

// Split. -----------------------------------------------------------------------------------------------------------

constexpr std::size_t kSplit = 1;

/// Sizes of the parts; undefined where they depend on data.
std::vector<Dim> part_sizes(const Call& c, const Dim& size, std::size_t parts) {
  std::vector<Dim> sizes;
  if (c.has(kSplit)) {
    if (auto given = c.ints(kSplit)) sizes = std::move(*given);
    sizes.resize(parts, Dim::undefined());
    return sizes;
  }
  if (const Span<std::int64_t> given = c.integers("split"); !given.empty()) {
    sizes.assign(given.begin(), given.end());
    sizes.resize(parts, Dim::undefined());
    return sizes;
  }
  const std::int64_t count = c.integer("num_outputs", static_cast<std::int64_t>(parts));
  const Dim each = c.version() < 18 ? quotient(c, size, count) : ceil_div(size, count);
  sizes.assign(parts, each);
  if (c.version() < 18 || equal(each * count, size) == Truth::yes) return sizes;
  for (std::size_t i = 0; i < parts; ++i) {  // the last is smaller
    const Dim rest = at_least_zero(c, size - each * i);
    sizes[i] = i + 1 == parts ? rest : smaller(c, each, rest);
  }
  return sizes;
}

void know_part(const Call& c, Outputs& out, std::size_t i, const Shape& shape, std::size_t axis, const Dim& start) {
  const auto sizes = start.constant() ? small_sizes(shape) : std::nullopt;
  const Contents* known = sizes ? elements_of(c, kX, 65536) : nullptr;
  if (known == nullptr) return;
  const Sizes from = *small_sizes(c.shape(kX), 65536);
  const std::int64_t first = *start.constant();
  if (first < 0 || first > from[axis] - (*sizes)[axis]) return;  // as a difference: a sum could overflow
  const Sizes hops = steps_of(from);
  Contents part;
  each_position(*sizes, [&](const Sizes& at) {
    part.items.push_back(known->items[place_of(at, hops) + static_cast<std::size_t>(first * hops[axis])]);
  });
  out.know(i, std::move(part));
}

Status infer_split(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  const std::size_t parts = c.outputs();
  for (std::size_t i = 0; i < parts; ++i) out.unranked(i, dtype);
  if (!c.ranked(kX) || parts == 0) return {};
  const Shape& x = c.shape(kX);
  const auto axis = axis_in(c.integer("axis", 0), x.size());
  if (!axis) return bad("Split: the axis does not fit the shape " + text(x));
  if (c.integer("num_outputs", 1) < 1) return bad("Split: num_outputs must be positive");
  const auto size = x[*axis].constant();
  if (c.version() < 18 && !c.has(kSplit) && !c.has_attr("split") && size &&
      *size % static_cast<std::int64_t>(parts) != 0) {
    return bad("Split: " + text(x) + " is not cut into " + std::to_string(parts) + " equal parts along that axis");
  }
  const std::vector<Dim> sizes = part_sizes(c, x[*axis], parts);
  Dim start = 0;
  for (std::size_t i = 0; i < parts; ++i) {
    Shape shape = x;
    shape[*axis] = sizes[i].defined() || !c.has(kSplit)
                       ? sizes[i]
                       : out.symbol("part" + std::to_string(i), "size of a part whose length is data");
    out.set(i, dtype, shape);
    know_part(c, out, i, shape, *axis, start);
    start += static_cast<const Shape&>(shape)[*axis];
  }
  return {};
}

// Compress. --------------------------------------------------------------------------------------------------------

constexpr std::size_t kCondition = 1;

/// Which positions along the axis are kept; nullopt when that depends on data.
std::optional<Sizes> kept_positions(const Call& c) {
  const Contents* known = c.ranked(kCondition) ? elements_of(c, kCondition, 65536) : nullptr;
  if (known == nullptr) return std::nullopt;
  Sizes kept_at;
  for (std::size_t i = 0; i < known->items.size(); ++i) {
    const Truth keep = known->items[i].nonzero();
    if (keep == Truth::depends) return std::nullopt;
    if (keep == Truth::yes) kept_at.push_back(static_cast<std::int64_t>(i));
  }
  return kept_at;
}

Status infer_compress(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  const bool flat = !c.has_attr("axis");
  out.unranked(0, dtype);
  if (!flat && !c.ranked(kX)) return {};
  const auto axis = flat ? std::optional<std::size_t>(0) : axis_in(c.integer("axis", 0), c.shape(kX).size());
  if (!axis) return bad("Compress: the axis does not fit the shape " + text(c.shape(kX)));
  const auto positions = kept_positions(c);
  const Dim n = positions ? Dim(positions->size()) : out.symbol("n", "elements that the condition keeps");
  Shape shape = flat ? Shape{n} : c.shape(kX);
  shape[*axis] = n;
  out.set(0, dtype, shape);
  const auto sizes = positions ? small_sizes(shape) : std::nullopt;
  const Contents* known = sizes ? elements_of(c, kX, 65536) : nullptr;
  if (known == nullptr) return {};
  const Sizes from = flat ? Sizes{static_cast<std::int64_t>(known->items.size())} : *small_sizes(c.shape(kX), 65536);
  if (!positions->empty() && positions->back() >= from[*axis]) return bad("Compress: the condition is too long");
  const Sizes hops = steps_of(from);
  Contents items;
  each_position(*sizes, [&](Sizes at) {
    at[*axis] = (*positions)[static_cast<std::size_t>(at[*axis])];
    items.items.push_back(known->items[place_of(at, hops)]);
  });
  out.know(0, std::move(items));
  return {};
}

Status cost_compress(const Call& c, Cost& cost) {
  work::Reads reads(c);
  reads.part(kX, numel(c.out_shape()));
  reads.all(kCondition);
  reads.into(cost);
  cost[Work::compare] = numel(c.shape(kCondition));
  return {};
}

}  // namespace

std::vector<Rule> slice_rules() {
  return {
      {"slice", "x #starts #ends #axes #steps", "A strided part of a tensor", "none: moves data only",
       "https://onnx.ai/onnx/operators/onnx__Slice.html", infer_slice, cost_part,
       onnx({"Slice"}) + aten({"slice", "select", "narrow"}, {}, "x", {}, cost_free("a view: no data moved")) +
           std::vector<Binding>{{"onnx::DynamicSlice", "x #starts #ends #axes"}},
       nullptr, gradient_moves()},
      {"split", "x #split", "A tensor cut into parts along one axis", "none: moves data only",
       "https://onnx.ai/onnx/operators/onnx__Split.html", infer_split, cost_part,
       onnx({"Split"}) + aten({"split", "split_with_sizes", "chunk", "unbind", "tensor_split", "hsplit", "vsplit",
                               "unsafe_chunk", "unsafe_split"},
                              {}, "x", {}, cost_free("views: no data moved")),
       nullptr, gradient_moves()},
      {"compress", "x condition", "The slices that a condition keeps", "compare = |condition|",
       "https://onnx.ai/onnx/operators/onnx__Compress.html", infer_compress, cost_compress, onnx({"Compress"}), nullptr,
       gradient_moves()},
  };
}

}  // namespace macsim::rules
