// Numbers about tensors, and tensors made of numbers: shapes, sizes, ranges, constants, positions of non-zeros.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <set>

#include "decode.hpp"
#include "rules/families.hpp"
#include "rules/support.hpp"

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
  const auto known = c.ints(0);
  if (!known) {
    const Type& shape = c.in(0);
    const auto rank = shape.ranked && shape.shape.size() == 1 ? shape.shape.begin()->constant() : std::nullopt;
    if (!rank || *rank < 0 || *rank > 64) {
      out.unranked(0, dtype);
      return {};
    }
    Shape y;
    for (std::int64_t i = 0; i < *rank; ++i) {
      y.push_back(out.symbol("shape" + std::to_string(i), "a size that ConstantOfShape takes from data"));
    }
    out.set(0, dtype, std::move(y));
    return {};
  }
  Shape y;
  for (const Dim& dim : *known) {
    if (dim.constant().value_or(0) < 0) return bad("a size is negative: " + dim.str());
    y.push_back(dim);
  }
  const auto size = numel(y).constant();
  out.set(0, dtype, std::move(y));
  if (size && *size <= kFew) out.know(0, {std::vector<Scalar>(static_cast<std::size_t>(*size), fill), {}});
  return {};
}

Status infer_eye_like(const Call& c, Outputs& out) {
  const std::int64_t number = c.integer("dtype", 0);
  const DType dtype = number != 0 ? dtype_from_onnx(number) : c.dtype(0);
  const Shape& x = c.shape(0);
  if (c.ranked(0) && x.size() != 2) return bad("EyeLike needs a matrix, not " + text(x));
  out.set(0, dtype, {x[0], x[1]});
  const auto rows = x[0].constant(), columns = x[1].constant();
  if (rows && columns && *rows >= 0 && *columns >= 0 && *rows <= kFew && *columns <= kFew && *rows * *columns <= kFew) {
    Contents eye;
    const std::int64_t k = c.integer("k", 0);
    for (std::int64_t i = 0; i < *rows; ++i) {
      for (std::int64_t j = 0; j < *columns; ++j) eye.items.push_back(Scalar::integer(j - i == k ? 1 : 0));
    }
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

Scalar only(const Contents* contents) {
  return contents != nullptr && contents->items.size() == 1 ? contents->items.front() : Scalar();
}

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
  const Scalar start = only(c.contents(kStart)), limit = only(c.contents(kLimit));
  const Scalar delta = c.has(kDelta) ? only(c.contents(kDelta)) : Scalar::integer(1);
  if (delta.nonzero() == Truth::no) return bad("Range with a step of 0");
  Dim length = range_length(c, start, limit, delta);
  if (!length.defined()) length = out.symbol("n", "length of a Range, which depends on data");
  const auto constant = length.constant();
  out.set(0, dtype, {length});
  if (constant && *constant <= kFew && start.known() && delta.known()) {
    Contents values;
    for (std::int64_t i = 0; i < *constant; ++i) {
      values.items.push_back(start + Scalar::integer(i) * delta);
    }
    out.know(0, std::move(values));
  }
  return {};
}

Status cost_range(const Call& c, Cost& cost) {
  cost.read = cost.weights = Count(0);
  cost[Work::add] = numel(c.out_shape());
  cost[Work::mul] = numel(c.out_shape());
  return {};
}

// NonZero, Unique. -------------------------------------------------------------------------------------------------

Status infer_nonzero(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  const std::size_t rank = x.size();
  const auto size = numel(x).constant();
  if (c.ranked(0) && size && *size <= kFew) {
    const Contents* known = c.contents(0);
    bool decided = known != nullptr && known->items.size() == static_cast<std::size_t>(*size);
    std::vector<std::size_t> found;
    for (std::size_t i = 0; decided && i < known->items.size(); ++i) {
      const Truth truth = known->items[i].nonzero();
      decided = truth != Truth::depends;
      if (truth == Truth::yes) found.push_back(i);
    }
    if (decided) {
      Contents positions;
      for (std::size_t axis = 0; axis < rank; ++axis) {
        const std::int64_t inner = numel(x, axis + 1).constant().value_or(1);
        const std::int64_t own = x[axis].constant().value_or(1);
        for (const std::size_t i : found) {
          positions.items.push_back(Scalar::integer(static_cast<std::int64_t>(i) / inner % own));
        }
      }
      out.set(0, DType::i64, {rank, found.size()});
      out.know(0, std::move(positions));
      return {};
    }
  }
  const Dim n = out.symbol("n", "number of elements that are not zero");
  // A scalar has one row of positions in the reference, none in the specification's shape: both say rank rows.
  out.set(0, DType::i64, {c.ranked(0) ? Dim(rank) : Dim::undefined(), n});
  return {};
}

Status cost_nonzero(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.shape(0));
  return {};
}

Status infer_unique(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  std::optional<std::size_t> axis;
  if (c.has_attr("axis")) {
    axis = axis_in(c.integer("axis", 0), x.size());
    if (!axis && c.ranked(0)) return bad("axis does not fit " + text(x));
  }
  std::optional<std::int64_t> distinct;
  const auto size = numel(x).constant();
  if (!c.has_attr("axis") && size && *size <= kFew) {
    if (const Contents* known = c.contents(0)) {
      std::set<double> values;
      bool all = true;
      for (const Scalar& item : known->items) {
        const auto value = item.constant();
        all = all && value.has_value();
        if (value) values.insert(*value);
      }
      if (all) distinct = static_cast<std::int64_t>(values.size());
    }
  }
  const Dim n = distinct ? Dim(*distinct) : out.symbol("n", "number of distinct elements");
  if (c.dialect() != "onnx") {  // com.microsoft: values, where each element went, counts
    out.set(0, c.dtype(0), {n});
    out.set(1, DType::i64, {numel(x)});
    out.set(2, DType::i64, {n});
    return {};
  }
  if (axis) {
    Shape y = x;
    y[*axis] = n;
    out.set(0, c.dtype(0), std::move(y));
    out.set(2, DType::i64, {x[*axis]});
  } else {
    out.set(0, c.dtype(0), {n});
    out.set(2, DType::i64, {numel(x)});
  }
  out.set(1, DType::i64, {n});
  out.set(3, DType::i64, {n});
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
  if (c.ranked(0) && x.size() < 2) return bad("Trilu needs a matrix or a batch of them, not " + text(x));
  out.set(0, c.dtype(0), x);
  const auto size = numel(x).constant();
  const auto rows = x[x.size() - 2].constant(), columns = x[x.size() - 1].constant();
  if (!c.ranked(0) || !size || *size > kFew || !rows || !columns) return {};
  const Scalar k = c.has(1) ? only(c.contents(1)) : Scalar::integer(0);
  const auto diagonal = k.constant_integer();
  const Contents* known = c.contents(0);
  if (known == nullptr || !diagonal || known->items.size() != static_cast<std::size_t>(*size)) return {};
  const bool upper = c.integer("upper", 1) != 0;
  Contents kept = *known;
  for (std::size_t i = 0; i < kept.items.size(); ++i) {
    const std::int64_t column = static_cast<std::int64_t>(i) % *columns;
    const std::int64_t row = static_cast<std::int64_t>(i) / *columns % *rows;
    const bool keep = upper ? column - row >= *diagonal : column - row <= *diagonal;
    if (!keep) kept.items[i] = Scalar::integer(0);
  }
  out.know(0, std::move(kept));
  return {};
}

Rule row(std::string name, std::string slots, std::string summary, std::string formula, std::string_view page,
         InferFn infer, CostFn cost, std::vector<Binding> spelled) {
  return {std::move(name),
          std::move(slots),
          std::move(summary),
          std::move(formula),
          "https://onnx.ai/onnx/operators/onnx__" + std::string(page) + ".html",
          std::move(infer),
          std::move(cost),
          std::move(spelled),
          nullptr};
}

}  // namespace

std::vector<Rule> shape_family() {
  return {
      row("shape", "#x", "The sizes of a tensor", "no work; a host-side number", "Shape", infer_shape,
          cost_free("a host-side number"), onnx({"Shape"})),
      row("size", "#x", "The number of elements", "no work; a host-side number", "Size", infer_size,
          cost_free("a host-side number"), onnx({"Size"})),
      row("constant", "", "A tensor of the model", "no work; stored in the model", "Constant", infer_constant,
          cost_free("a constant of the model"), onnx({"Constant"})),
      row("constant_of_shape", "#shape", "A tensor filled with one value", "no work; writes |y|", "ConstantOfShape",
          infer_constant_of_shape, cost_fill, onnx({"ConstantOfShape"})),
      row("eye_like", "#x", "Ones on a diagonal", "no work; writes |y|", "EyeLike", infer_eye_like, cost_fill,
          onnx({"EyeLike"})),
      row("range", "#start #limit #delta", "Evenly spaced numbers", "add = |y|; mul = |y|", "Range", infer_range,
          cost_range, onnx({"Range"}) + microsoft({"Range"})),
      row("nonzero", "x", "Positions of the elements that are not zero", "compare = |x|", "NonZero", infer_nonzero,
          cost_nonzero, onnx({"NonZero"})),
      row("unique", "x", "The distinct elements", "compare = |x| * ceil(log2 |x|), a bound", "Unique", infer_unique,
          cost_unique, onnx({"Unique"}) + microsoft({"Unique"})),
      row("trilu", "x #k", "The upper or lower triangle", "no work; reads |x|, writes |y|", "Trilu", infer_trilu,
          cost_moves("moves data only"), onnx({"Trilu"}) + microsoft({"Trilu"})),
  };
}

}  // namespace macsim::rules
