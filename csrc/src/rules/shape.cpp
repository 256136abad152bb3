// Numbers about tensors, and tensors made of numbers: shapes, sizes, ranges, constants, positions of non-zeros.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "decode.hpp"
#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

constexpr auto kFew = static_cast<std::int64_t>(kMostItems);

// Shape and Size. --------------------------------------------------------------------------------------------------

Status infer_shape(const Call& c, Outputs& out) {
  const Type& x = c.in(0);
  if (!x.ranked) {
    out.set(0, DType::i64, {Dim::undefined()});
    return {};
  }
  const auto rank = static_cast<std::int64_t>(x.shape.size());
  const auto clamp = [rank](std::int64_t at) { return std::clamp<std::int64_t>(at < 0 ? at + rank : at, 0, rank); };
  const std::int64_t start = clamp(c.integer("start", 0));
  const std::int64_t end = std::max(start, clamp(c.integer("end", rank)));
  Contents sizes;
  for (std::int64_t i = start; i < end; ++i) {
    sizes.items.push_back(Scalar::integer(x.shape[static_cast<std::size_t>(i)]));
  }
  out.set(0, DType::i64, {end - start});
  out.know(0, std::move(sizes));
  return {};
}

Status infer_size(const Call& c, Outputs& out) {
  out.set(0, DType::i64, {});
  if (c.ranked(0)) {
    Contents size;
    size.items.push_back(Scalar::integer(numel(c.shape(0))));
    out.know(0, std::move(size));
  }
  return {};
}

// Constant: what the source did not turn into a stored tensor itself. ----------------------------------------------

Status infer_constant(const Call& c, Outputs& out) {
  if (const Stored* tensor = c.tensor("value")) {
    out.set(0, tensor->type);
  } else if (const Stored* sparse = c.tensor("sparse_value")) {
    out.set(0, sparse->type);
  } else if (c.has_attr("value_int")) {
    out.set(0, DType::i64, {});
    out.know(0, {{Scalar::integer(c.integer("value_int", 0))}, {}});
  } else if (c.has_attr("value_float")) {
    out.set(0, DType::f32, {});
    out.know(0, {{Scalar::real(c.real("value_float", 0))}, {}});
  } else if (c.has_attr("value_ints")) {
    Contents contents;
    for (const std::int64_t value : c.integers("value_ints")) contents.items.push_back(Scalar::integer(value));
    out.set(0, DType::i64, {contents.items.size()});
    out.know(0, std::move(contents));
  } else if (c.has_attr("value_floats")) {
    Contents contents;
    for (const double value : c.reals("value_floats")) contents.items.push_back(Scalar::real(value));
    out.set(0, DType::f32, {contents.items.size()});
    out.know(0, std::move(contents));
  } else if (c.has_attr("value_string")) {
    out.set(0, DType::string, {});
  } else if (c.has_attr("value_strings")) {
    out.set(0, DType::string, {c.texts("value_strings").size()});
  } else {
    return bad("Constant without a value");
  }
  return {};
}

// ConstantOfShape, EyeLike. ----------------------------------------------------------------------------------------

Status infer_constant_of_shape(const Call& c, Outputs& out) {
  DType dtype = DType::f32;
  Scalar fill = Scalar::real(0);
  if (const Stored* value = c.tensor("value")) {
    dtype = value->type.dtype;
    std::vector<std::int64_t> ints;
    std::vector<double> reals;
    fill = Scalar();
    if (decode(*value, 1, &ints, &reals)) {
      if (!ints.empty()) fill = Scalar::integer(ints.front());
      if (!reals.empty()) fill = Scalar::real(reals.front());
    }
  }
  const auto asked = asked_sizes(c, 0);
  if (!asked) {
    out.unranked(0, dtype);
    return {};
  }
  Shape y;
  for (const Dim& size : *asked) {
    if (size.constant().value_or(0) < 0) {
      out.unranked(0, dtype);
      return bad("a size is " + size.str());
    }
    y.push_back(size.defined()
                    ? size
                    : out.symbol("shape" + std::to_string(y.size()), "a size that ConstantOfShape takes from data"));
  }
  if (is_small(y)) {
    const auto size = static_cast<std::size_t>(numel(y).constant().value_or(0));
    out.know(0, {std::vector<Scalar>(size, held(dtype, fill)), {}});
  }
  out.set(0, dtype, std::move(y));
  return {};
}

Status infer_eye_like(const Call& c, Outputs& out) {
  const std::int64_t number = c.integer("dtype", 0);
  const DType dtype = number != 0 ? dtype_from_onnx(number) : c.dtype(0);
  const Shape& x = c.shape(0);
  if (c.ranked(0) && x.size() != 2) return bad("EyeLike needs a matrix, not " + text(x));
  out.set(0, dtype, {x[0], x[1]});
  if (const auto sizes = c.ranked(0) ? small_sizes(x) : std::nullopt) {
    Contents eye;
    const std::int64_t k = c.integer("k", 0);
    each_position(*sizes, [&](const Sizes& at) { eye.items.push_back(Scalar::integer(at[1] - at[0] == k ? 1 : 0)); });
    out.know(0, std::move(eye));
  }
  return {};
}

Status cost_fill(const Call&, Cost& cost) {
  cost.read = cost.weights = Count(0);
  cost.moves("writes data only");
  return {};
}

// Range. -----------------------------------------------------------------------------------------------------------

enum : std::size_t { kStart, kLimit, kDelta };

// ceil((limit - start) / delta), never below 0.
Dim range_length(const Call& c, const Scalar& start, const Scalar& limit, const Scalar& delta) {
  if (const auto from = start.constant(), to = limit.constant(), by = delta.constant(); from && to && by) {
    if (*by == 0) return Dim::undefined();
    const double n = std::ceil((*to - *from) / *by);
    return n > 0 ? (n < 9e18 ? Dim(static_cast<std::int64_t>(n)) : Dim::undefined()) : Dim(0);
  }
  const Scalar steps = (limit - start) / delta;
  return steps.known() ? at_least_zero(c, steps.ceil()) : Dim::undefined();
}

Status infer_range(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kStart);
  const Scalar start = only(c, kStart), limit = only(c, kLimit);
  const Scalar delta = c.has(kDelta) ? only(c, kDelta) : Scalar::integer(1);
  if (delta.nonzero() == Truth::no) return bad("Range with a step of 0");
  Dim length = range_length(c, start, limit, delta);
  if (!length.defined()) length = out.symbol("n", "length of a Range, which depends on data");
  const auto constant = length.constant();
  out.set(0, dtype, {length});
  if (constant && *constant <= kFew && start.known() && delta.known()) {
    Contents values;
    for (std::int64_t i = 0; i < *constant; ++i) {
      values.items.push_back(held(dtype, start + Scalar::integer(i) * delta));
    }
    out.know(0, std::move(values));
  }
  return {};
}

/// Of whole numbers, up to an end, or from a start to it, by a step; of others torch tells how many there are, and
/// where the end may lie before the start.
Status aten_arange(const Call& c, Outputs& out) {
  const std::size_t given = c.inputs();
  const Dim start = given > 1 ? aten_number(c, 0) : Dim(0), end = aten_number(c, given > 1 ? 1 : 0);
  const auto step = (given > 2 ? aten_number(c, 2) : Dim(1)).constant();
  if (!start.defined() || !end.defined() || !step || *step == 0) return {};
  const Dim length = ceil_div(end - start, Dim(*step));
  if (at_least(length, 0) != Truth::yes) return {};
  out.set(0, c.text("dtype", "").empty() ? DType::i64 : stated(c), {length});
  return {};
}

Status evenly_spaced(const Call& c, Outputs& out, const Dim& length) {
  if (length.defined() && at_least(length, 0) != Truth::no) out.set(0, stated(c), {length});
  return {};
}

Status aten_linspace(const Call& c, Outputs& out) { return evenly_spaced(c, out, aten_number(c, 2)); }
Status aten_frequencies(const Call& c, Outputs& out) { return evenly_spaced(c, out, aten_number(c, 0)); }
Status aten_half_frequencies(const Call& c, Outputs& out) {
  return evenly_spaced(c, out, floor_div(aten_number(c, 0), 2) + 1);
}

/// How many elements of a matrix are on or below a diagonal: rows that grow by one, and whole ones.
Count on_or_below(const Dim& rows, const Dim& columns, std::int64_t diagonal) {
  const Dim reached = rows + diagonal;
  const Dim first = diagonal > 0 ? min(columns, Dim(1 + diagonal)) : min(1, max(0, reached));
  const Dim last = max(0, min(columns, reached)), sloped = last - first + 1;
  const Dim whole = max(0, max(0, min(rows, reached)) - sloped);
  return floor_div((first + last) * sloped, 2) + whole * columns;
}

/// Rows and columns of the elements of a triangle.
Status aten_triangle(const Call& c, Outputs& out) {
  const Dim rows = aten_number(c, 0), columns = aten_number(c, 1);
  const auto diagonal = aten_number(c, 2).constant();
  if (!rows.defined() || !columns.defined() || !diagonal) return {};
  const bool lower = c.op() == "tril_indices";
  const Count count =
      lower ? on_or_below(rows, columns, *diagonal) : rows * columns - on_or_below(rows, columns, *diagonal - 1);
  out.set(0, c.text("dtype", "").empty() ? DType::i64 : stated(c), {Dim(2), count});
  return {};
}

Status cost_range(const Call& c, Cost& cost) {
  cost.read = cost.weights = Count(0);
  cost[Work::add] = numel(c.out_shape());
  cost[Work::mul] = numel(c.out_shape());
  if (cost[Work::mul].is(0)) cost.moves("a range of nothing");
  return {};
}

/// Zeros that nobody stores: what is computed from them is counted in full, and torch leaves some of it out.
Status cost_absent_zeros(const Call&, Cost& cost) {
  cost.free("");
  cost.trust = Trust::bound;
  cost.because = "zeros that are not stored: torch leaves out some of what is computed from them";
  return {};
}

// NonZero, Unique. -------------------------------------------------------------------------------------------------

// Positions of the non-zeros in known elements, one row an axis; nothing when zero-ness is open somewhere.
std::optional<Contents> nonzeros_of(const Contents& known, const Sizes& sizes) {
  std::vector<Sizes> found;
  std::size_t place = 0;
  bool decided = true;
  each_position(sizes, [&](const Sizes& at) {
    const Truth truth = known.items[place++].nonzero();
    decided = decided && truth != Truth::depends;
    if (truth == Truth::yes) found.push_back(at);
  });
  if (!decided) return std::nullopt;
  Contents positions;
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    for (const Sizes& at : found) positions.items.push_back(Scalar::integer(at[axis]));
  }
  return positions;
}

Status infer_nonzero(const Call& c, Outputs& out) {
  const Dim rank = c.ranked(0) ? Dim(c.shape(0).size()) : Dim::undefined();
  if (const Contents* known = elements_of(c, 0)) {
    if (auto positions = nonzeros_of(*known, *small_sizes(c.shape(0))); positions && !rank.is(0)) {
      out.set(0, DType::i64, {rank, positions->items.size() / c.shape(0).size()});
      out.know(0, std::move(*positions));
      return {};
    }
  }
  out.set(0, DType::i64, {rank, out.symbol("n", "number of elements that are not zero")});
  return {};
}

Status cost_nonzero(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.shape(0));
  return {};
}

/// The distinct slices of a tensor along an axis (the distinct elements of a flat one), as Unique finds them.
struct Distinct {
  std::vector<std::int64_t> first;  ///< where each was first seen
  std::vector<std::int64_t> which;  ///< for every slice, which of them it is
  std::vector<std::int64_t> counts;
};

// Nothing when an element has no number.
std::optional<Distinct> distinct_of(const Contents& known, const Runs& runs, bool sorted) {
  using Slice = std::vector<double>;
  std::vector<Slice> slices(runs.length);
  for (std::size_t i = 0; i < runs.length; ++i) {
    for (std::size_t run = 0; run < runs.count(); ++run) {
      const auto value = known.items[runs.place(run, i)].constant();
      if (!value) return std::nullopt;
      slices[i].push_back(*value);
    }
  }
  std::map<Slice, std::int64_t> seen;  // slice: where it was first seen
  for (std::size_t i = 0; i < slices.size(); ++i) seen.emplace(slices[i], static_cast<std::int64_t>(i));
  Distinct out;
  for (const auto& [slice, at] : seen) out.first.push_back(at);
  if (!sorted) std::sort(out.first.begin(), out.first.end());
  std::vector<std::int64_t> number(slices.size());  // by where it was first seen
  for (std::size_t i = 0; i < out.first.size(); ++i) {
    number[static_cast<std::size_t>(out.first[i])] = static_cast<std::int64_t>(i);
  }
  out.counts.assign(out.first.size(), 0);
  out.which.reserve(slices.size());
  for (const Slice& slice : slices) {
    out.which.push_back(number[static_cast<std::size_t>(seen.at(slice))]);
    ++out.counts[static_cast<std::size_t>(out.which.back())];
  }
  return out;
}

Contents as_contents(const std::vector<std::int64_t>& values) {
  Contents contents;
  for (const std::int64_t value : values) contents.items.push_back(Scalar::integer(value));
  return contents;
}

// Values, where each was first seen, which one each element is, how often each occurs. com.microsoft leaves out the
// second and never sorts.
Status infer_unique(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  const bool of_onnx = c.dialect() == "onnx";
  const std::size_t first = of_onnx ? 1 : SIZE_MAX, which = of_onnx ? 2 : 1, counts = of_onnx ? 3 : 2;
  std::optional<std::size_t> axis;
  if (c.has_attr("axis")) {
    axis = axis_in(c.integer("axis", 0), x.size());
    if (!axis && c.ranked(0)) {
      out.unranked(0, c.dtype(0));
      return bad("the axis does not fit " + text(x));
    }
  }
  std::optional<Distinct> distinct;
  const Contents* known = elements_of(c, 0);
  const Runs runs = known == nullptr ? Runs() : axis ? runs_of(x, *axis) : Runs{1, known->items.size(), 1};
  if (known != nullptr) distinct = distinct_of(*known, runs, of_onnx && c.integer("sorted", 1) != 0);
  const Dim n = distinct ? Dim(distinct->first.size()) : out.symbol("n", "number of distinct elements");
  Shape y = axis ? x : Shape{n};
  if (axis) y[*axis] = n;
  out.set(0, c.dtype(0), std::move(y));
  out.set(first, DType::i64, {n});
  out.set(which, DType::i64, {axis ? x[*axis] : numel(x)});
  out.set(counts, DType::i64, {n});
  if (!distinct) return {};
  const Runs kept{runs.outer, distinct->first.size(), runs.inner};
  Contents values{std::vector<Scalar>(kept.count() * kept.length), {}};
  for (std::size_t run = 0; run < kept.count(); ++run) {
    for (std::size_t i = 0; i < kept.length; ++i) {
      values.items[kept.place(run, i)] = known->items[runs.place(run, static_cast<std::size_t>(distinct->first[i]))];
    }
  }
  out.know(0, std::move(values));
  out.know(first, as_contents(distinct->first));
  out.know(which, as_contents(distinct->which));
  out.know(counts, as_contents(distinct->counts));
  return {};
}

Status cost_unique(const Call& c, Cost& cost) {
  // Sorting by comparison: n * ceil(log2 n) compares at most, where n is known.
  const Count n = numel(c.shape(0));
  if (const auto size = n.constant()) {
    std::int64_t levels = 0;
    while (levels < 62 && (std::int64_t{1} << levels) < *size) ++levels;
    cost[Work::compare] = n * levels;
    cost.trust = Trust::bound;
    cost.because = "sorting: n * ceil(log2 n) compares at most";
  } else {
    cost[Work::compare] = n;
    cost.trust = Trust::estimate;
    cost.because = "one compare an element; a sort takes log2 n times as many";
  }
  return {};
}

// Trilu. -----------------------------------------------------------------------------------------------------------

Status infer_trilu(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  out.set(0, c.dtype(0), x);
  if (c.ranked(0) && x.size() < 2) return bad("Trilu needs a matrix or a batch of them, not " + text(x));
  const Contents* known = elements_of(c, 0);
  const auto diagonal = c.has(1) ? single(c, 1).constant() : std::int64_t{0};
  if (known == nullptr || !diagonal) return {};
  const bool upper = c.integer("upper", 1) != 0;
  Contents kept;
  kept.items.reserve(known->items.size());
  each_position(*small_sizes(x), [&](const Sizes& at) {
    const std::int64_t past = at[at.size() - 1] - at[at.size() - 2];
    const bool keep = upper ? past >= *diagonal : past <= *diagonal;
    kept.items.push_back(keep ? known->items[kept.items.size()] : Scalar::integer(0));
  });
  out.know(0, std::move(kept));
  return {};
}

}  // namespace

std::vector<Rule> shape_family() {
  const NoGradient filled{"it does not hang on what its inputs hold"};
  std::vector<Rule> rules = {
      {"shape", "#x", "The sizes of a tensor", "no work; a host-side number", onnx_page("Shape"), infer_shape,
       cost_free("a host-side number"), onnx({"Shape"})},
      {"size", "#x", "The number of elements", "no work; a host-side number", onnx_page("Size"), infer_size,
       cost_free("a host-side number"), onnx({"Size"})},
      {"constant", "", "A tensor of the model", "no work; stored in the model", onnx_page("Constant"), infer_constant,
       cost_free("a constant of the model"), onnx({"Constant"})},
      {"constant_of_shape", "#shape", "A tensor filled with one value", "no work; writes |y|",
       onnx_page("ConstantOfShape"), infer_constant_of_shape, cost_fill,
       onnx({"ConstantOfShape"}) + aten({"zeros",
                                         "ones",
                                         "full",
                                         "empty",
                                         "new_zeros",
                                         "new_ones",
                                         "new_full",
                                         "new_empty",
                                         "zeros_like",
                                         "ones_like",
                                         "full_like",
                                         "empty_like",
                                         "fill",
                                         "zero",
                                         "scalar_tensor",
                                         "empty_strided",
                                         "new_empty_strided",
                                         "empty_permuted",
                                         "fill_diagonal",
                                         "prims::fill",
                                         "prims::full",
                                         "prims::full_like",
                                         "prims::empty_strided",
                                         "prims::empty_permuted",
                                         "prims::scalar_tensor"},
                                        {}, {}, {}, cost_fill),
       nullptr, filled},
      {"absent_zeros",
       "#x",
       "Zeros that are not stored",
       "no work; what is computed from them is a bound",
       "https://docs.pytorch.org/docs/stable/func.html",
       {},
       cost_absent_zeros,
       aten({"_efficientzerotensor"}),
       nullptr,
       filled},
      {"eye_like", "#x", "Ones on a diagonal", "no work; writes |y|", onnx_page("EyeLike"), infer_eye_like, cost_fill,
       onnx({"EyeLike"}) + aten({"eye"}, {}, {}, {}, cost_fill) +
           aten({"tril_indices", "triu_indices"}, aten_triangle, "#row #col #offset", {}, cost_fill),
       nullptr, filled},
      {"range", "#start #limit #delta", "Evenly spaced numbers", "add = |y|; mul = |y|", onnx_page("Range"),
       infer_range, cost_range,
       onnx({"Range"}) + microsoft({"Range"}) + aten({"arange"}, aten_arange, "#start #end #step", {}, cost_range) +
           aten({"linspace"}, aten_linspace, "#start #end #steps", {}, cost_range) +
           aten({"fft_fftfreq"}, aten_frequencies, "#n", {}, cost_range) +
           aten({"fft_rfftfreq"}, aten_half_frequencies, "#n", {}, cost_range) +
           aten({"range", "prims::iota"}, {}, {}, {}, cost_range),
       nullptr, filled},
      {"nonzero", "x", "Positions of the elements that are not zero", "compare = |x|", onnx_page("NonZero"),
       infer_nonzero, cost_nonzero, onnx({"NonZero"}) + aten({"nonzero", "argwhere", "nonzero_static"}, {}, "x")},
      {"unique", "x", "The distinct elements", "compare = |x| * ceil(log2 |x|), a bound", onnx_page("Unique"),
       infer_unique, cost_unique, onnx({"Unique"}) + microsoft({"Unique"})},
      {"trilu", "x #k", "The upper or lower triangle", "no work; reads |x|, writes |y|", onnx_page("Trilu"),
       infer_trilu, cost_moves("moves data only"),
       onnx({"Trilu"}) + microsoft({"Trilu"}) + aten({"triu", "tril"}, aten_same, "x"), nullptr, gradient_moves()},
  };
  return with(Access::pointwise, {"trilu", "constant_of_shape"},
              without_gradients("it does not hang on what its inputs hold, or is no real number", std::move(rules)));
}

}  // namespace macsim::rules
