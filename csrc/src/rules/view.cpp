// Other shapes of the same elements: reshape, squeeze, flatten, identity (views), transpose and expand (copies).
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "rules/families.hpp"
#include "rules/support.hpp"

namespace macsim::rules {
namespace {

constexpr std::string_view kView = "a view: no data moved";

// The same elements in the same order: contents pass through.
void pass_contents(const Call& c, Outputs& out) {
  const Type& x = c.in(0);
  if (!x.ranked || x.kind != Kind::tensor) return;
  const auto size = numel(x.shape).constant();
  if (!size || *size > static_cast<std::int64_t>(kMostItems)) return;
  if (const Contents* known = c.contents(0)) out.know(0, *known);
}

// Reshape. ---------------------------------------------------------------------------------------------------------

enum : std::size_t { kData, kShape };

// The size that -1 stands for: all elements over the other sizes. Equal sizes are cancelled first, so that
// [batch, seq, 768] to [batch, seq, 12, -1] divides constants only.
Dim rest_of(const Call& c, const Shape& from, const Shape& to, std::size_t hole) {
  std::vector<Dim> left(from.begin(), from.end());
  Dim divisor = 1;
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (i == hole) continue;
    const auto same = std::find(left.begin(), left.end(), to[i]);
    if (same != left.end() && !to[i].is(0)) {
      if (!to[i].is_constant()) c.assume_positive(to[i]);
      left.erase(same);
    } else {
      divisor *= to[i];
    }
  }
  Dim product = 1;
  for (const Dim& dim : left) product *= dim;
  return divisor.is(1) ? product : quotient(c, product, divisor);
}

// Sizes asked for, each perhaps unknown, put against the data's shape.
Status reshape_to(const Call& c, const std::vector<Dim>& asked, Shape& y) {
  const bool zero_is_zero = c.integer("allowzero", 0) != 0;
  const bool ranked = c.ranked(kData);
  const Shape none;
  const Shape& x = ranked ? c.shape(kData) : none;
  std::optional<std::size_t> hole;
  std::size_t unknown = asked.size();
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (asked[i].is(-1)) {
      if (hole) return bad("a shape may hold only one -1");
      hole = i;
      y.push_back(Dim::undefined());
    } else if (asked[i].is(0) && !zero_is_zero) {
      if (ranked && i >= x.size())
        return bad("a 0 at axis " + std::to_string(i) + " has no axis of " + text(x) + " to copy");
      y.push_back(ranked ? x[i] : Dim::undefined());
    } else {
      if (asked[i].constant().value_or(0) < 0) return bad("a size is below -1: " + asked[i].str());
      if (!asked[i].defined()) unknown = unknown == asked.size() ? i : asked.size() + 1;
      y.push_back(asked[i]);
    }
  }
  if (!ranked) return {};
  if (!hole && unknown < asked.size()) hole = unknown;  // a single unknown size follows from the others
  if (hole && unknown <= asked.size() && (unknown == asked.size() || unknown == *hole))
    y[*hole] = rest_of(c, x, y, *hole);
  const Count before = numel(x), after = numel(y);
  if (equal(before, after) == Truth::no) {
    return bad("the elements of " + text(x) + " do not fit " + text(y));
  }
  return {};
}

Status infer_reshape(const Call& c, Outputs& out) {
  std::vector<Dim> asked;
  if (c.has(kShape)) {
    if (auto known = c.ints(kShape)) {
      asked = std::move(*known);
    } else {
      const Type& shape = c.in(kShape);
      const auto rank = shape.ranked && shape.shape.size() == 1 ? shape.shape.begin()->constant() : std::nullopt;
      if (!rank || *rank < 0 || *rank > 64) {
        out.unranked(0, c.dtype(kData));
        return {};
      }
      Shape y;
      for (std::int64_t i = 0; i < *rank; ++i) {
        y.push_back(out.symbol("shape" + std::to_string(i), "a size that Reshape takes from data"));
      }
      out.set(0, c.dtype(kData), std::move(y));
      return {};
    }
  } else {
    const Span<std::int64_t> attribute = c.integers("shape");
    asked.assign(attribute.begin(), attribute.end());
  }
  Shape y;
  if (Status status = reshape_to(c, asked, y); !status) {
    out.unranked(0, c.dtype(kData));
    return status;
  }
  out.set(0, c.dtype(kData), std::move(y));
  pass_contents(c, out);
  return {};
}

// Squeeze, Unsqueeze, Flatten, Identity. ---------------------------------------------------------------------------

enum : std::size_t { kAxes = 1 };

Status infer_squeeze(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kData);
  const IntList list = int_list(c, kAxes, "axes");
  if (!list.known) {
    out.unranked(0, c.dtype(kData));
    return {};
  }
  Shape y;
  if (!list.given) {
    for (const Dim& dim : x) {
      if (!dim.is_constant()) {  // whether it is 1 decides the rank
        if (at_least(dim, 2, 1) != Truth::yes) {
          out.unranked(0, c.dtype(kData));
          return {};
        }
        y.push_back(dim);
      } else if (!dim.is(1)) {
        y.push_back(dim);
      }
    }
  } else {
    const auto axes = axes_in(list.values, x.size());
    if (!axes && c.ranked(kData)) return bad("axes do not fit " + text(x));
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (axes && std::find(axes->begin(), axes->end(), i) != axes->end()) {
        if (x[i].is_constant() && !x[i].is(1)) return bad("axis " + std::to_string(i) + " of " + text(x) + " is not 1");
        continue;
      }
      y.push_back(x[i]);
    }
  }
  out.set(0, c.dtype(kData), std::move(y));
  pass_contents(c, out);
  return {};
}

Status infer_unsqueeze(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kData);
  const IntList list = int_list(c, kAxes, "axes");
  if (!list.known) {
    out.unranked(0, c.dtype(kData));
    return {};
  }
  const auto axes = axes_in(list.values, x.size() + list.values.size());
  if (!axes || !c.ranked(kData)) {
    out.unranked(0, c.dtype(kData));
    if (!c.ranked(kData)) return {};
    return bad("axes do not fit " + text(x) + " with " + std::to_string(list.values.size()) + " axes more");
  }
  Shape y;
  std::size_t next = 0;
  for (std::size_t i = 0; i < x.size() + axes->size(); ++i) {
    const bool added = std::find(axes->begin(), axes->end(), i) != axes->end();
    y.push_back(added ? Dim(1) : x[next++]);
  }
  out.set(0, c.dtype(kData), std::move(y));
  pass_contents(c, out);
  return {};
}

Status infer_flatten(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kData);
  const std::int64_t axis = c.integer("axis", 1);
  const auto rank = static_cast<std::int64_t>(x.size());
  if (c.ranked(kData) && (axis < -rank || axis > rank))
    return bad("axis " + std::to_string(axis) + " does not fit " + text(x));
  const auto at = static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
  out.set(0, c.dtype(kData), {numel(x, 0, at), numel(x, at)});
  pass_contents(c, out);
  return {};
}

Status infer_identity(const Call& c, Outputs& out) {
  out.set(0, c.in(kData));
  if (c.in(kData).kind == Kind::tensor) {
    pass_contents(c, out);
  } else if (const Contents* known = c.contents(kData)) {
    out.know(0, *known);
  }
  return {};
}

// Transpose. -------------------------------------------------------------------------------------------------------

// Elements of a small constant tensor in a new order of axes.
void transpose_contents(const Call& c, Outputs& out, const Shape& x, const std::vector<std::size_t>& perm) {
  const auto size = numel(x).constant();
  if (!size || *size > static_cast<std::int64_t>(kMostItems)) return;
  const Contents* known = c.contents(kData);
  if (known == nullptr || known->items.size() != static_cast<std::size_t>(*size)) return;
  std::vector<std::size_t> sizes, strides(x.size(), 1);
  for (const Dim& dim : x) sizes.push_back(static_cast<std::size_t>(dim.constant().value_or(0)));
  for (std::size_t i = x.size(); i-- > 1;) strides[i - 1] = strides[i] * sizes[i];
  Contents moved;
  moved.items.reserve(known->items.size());
  std::vector<std::size_t> at(x.size(), 0);
  for (std::size_t n = 0; n < known->items.size(); ++n) {
    std::size_t from = 0;
    for (std::size_t i = 0; i < perm.size(); ++i) from += at[i] * strides[perm[i]];
    moved.items.push_back(known->items[from]);
    for (std::size_t i = perm.size(); i-- > 0;) {
      if (++at[i] < sizes[perm[i]]) break;
      at[i] = 0;
    }
  }
  out.know(0, std::move(moved));
}

Status infer_transpose(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kData);
  const Span<std::int64_t> given = c.integers("perm");
  std::vector<std::size_t> perm;
  if (given.empty()) {
    for (std::size_t i = x.size(); i-- > 0;) perm.push_back(i);
  } else {
    auto axes = axes_in(given, c.ranked(kData) ? x.size() : given.size());
    if (!axes || axes->size() != given.size() || (c.ranked(kData) && axes->size() != x.size())) {
      return bad("perm is not a permutation of the axes of " + text(x));
    }
    perm = std::move(*axes);
  }
  out.set(0, c.dtype(kData), permuted(x, perm));
  if (c.ranked(kData)) transpose_contents(c, out, x, perm);
  return {};
}

Status cost_transpose(const Call& c, Cost& cost) {
  // Axes of size 1 may go anywhere: what counts is the order of the others.
  const Shape& x = c.shape(kData);
  const Span<std::int64_t> given = c.integers("perm");
  std::int64_t last = -1;
  bool ordered = !given.empty() || x.size() < 2;
  for (const std::int64_t axis : given) {
    const auto at = axis_in(axis, x.size());
    if (!at || x[*at].is(1)) continue;
    ordered = ordered && static_cast<std::int64_t>(*at) > last;
    last = static_cast<std::int64_t>(*at);
  }
  if (ordered) {
    cost.free("a transpose that leaves the order of elements: a view");
  } else {
    cost.moves("moves data only");
  }
  return {};
}

// Expand. ----------------------------------------------------------------------------------------------------------

void expand_contents(const Call& c, Outputs& out, const Shape& y) {
  const auto size = numel(y).constant();
  if (!size || *size > static_cast<std::int64_t>(kMostItems)) return;
  const Type& x = c.in(kData);
  const auto from = numel(x.shape).constant();
  if (!from || *from > static_cast<std::int64_t>(kMostItems)) return;
  const Contents* known = c.contents(kData);
  if (known == nullptr || known->items.size() != static_cast<std::size_t>(*from)) return;
  const std::size_t lead = y.size() - x.shape.size();
  std::vector<std::size_t> sizes, strides(y.size(), 0);
  for (const Dim& dim : y) sizes.push_back(static_cast<std::size_t>(dim.constant().value_or(0)));
  std::size_t stride = 1;
  for (std::size_t i = x.shape.size(); i-- > 0;) {
    const auto own = static_cast<std::size_t>(x.shape[i].constant().value_or(1));
    strides[lead + i] = own == 1 ? 0 : stride;
    stride *= own;
  }
  Contents spread;
  std::vector<std::size_t> at(y.size(), 0);
  for (std::int64_t n = 0; n < *size; ++n) {
    std::size_t index = 0;
    for (std::size_t i = 0; i < y.size(); ++i) index += at[i] * strides[i];
    spread.items.push_back(known->items[index]);
    for (std::size_t i = y.size(); i-- > 0;) {
      if (++at[i] < sizes[i]) break;
      at[i] = 0;
    }
  }
  out.know(0, std::move(spread));
}

Status infer_expand(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kData);
  Shape asked;
  if (const auto known = c.ints(kShape)) {
    for (const Dim& dim : *known) asked.push_back(dim);
  } else {
    const Type& shape = c.in(kShape);
    const auto rank = shape.ranked && shape.shape.size() == 1 ? shape.shape.begin()->constant() : std::nullopt;
    if (!rank || *rank < 0 || *rank > 64) {
      out.unranked(0, c.dtype(kData));
      return {};
    }
    for (std::int64_t i = 0; i < *rank; ++i) {
      asked.push_back(out.symbol("shape" + std::to_string(i), "a size that Expand takes from data"));
    }
  }
  Shape y;
  if (Status status = broadcast(c, x, asked, y); !status) {
    out.unranked(0, c.dtype(kData));
    return status;
  }
  if (c.ranked(kData)) {
    out.set(0, c.dtype(kData), y);
    expand_contents(c, out, y);
  } else {
    out.unranked(0, c.dtype(kData));
  }
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

std::vector<Rule> view_family() {
  const std::string none = "no work; a view: no data moved";
  const std::string moves = "no work; reads |x|, writes |y|";
  return {
      row("reshape", "x #shape", "The same elements in another shape", none, "Reshape", infer_reshape, cost_free(kView),
          onnx({"Reshape"})),
      row("squeeze", "x #axes", "Axes of size 1 dropped", none, "Squeeze", infer_squeeze, cost_free(kView),
          onnx({"Squeeze"})),
      row("unsqueeze", "x #axes", "Axes of size 1 added", none, "Unsqueeze", infer_unsqueeze, cost_free(kView),
          onnx({"Unsqueeze"}) + microsoft({"ExpandDims"})),
      row("flatten", "x", "Two axes made of all", none, "Flatten", infer_flatten, cost_free(kView), onnx({"Flatten"})),
      row("identity", "x", "The same value", none, "Identity", infer_identity, cost_free(kView), onnx({"Identity"})),
      row("transpose", "x", "Axes in another order", moves + "; a view where the order of elements stays", "Transpose",
          infer_transpose, cost_transpose, onnx({"Transpose"})),
      row("expand", "x #shape", "Broadcast to a shape", moves, "Expand", infer_expand, cost_moves("moves data only"),
          onnx({"Expand"})),
  };
}

}  // namespace macsim::rules
