// Other shapes of the same elements: reshape, squeeze, flatten, identity (views), transpose and expand (copies).
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

constexpr std::string_view kView = "a view: no data moved";

enum : std::size_t { kX = 0, kShape = 1, kAxes = 1 };

// The same elements in the same order.
void pass_elements(const Call& c, Outputs& out) {
  if (elements_of(c, kX) != nullptr) out.pass(0, kX);
}

Status refused(const Call& c, Outputs& out, std::string why) {
  out.unranked(0, c.dtype(kX));
  return bad(std::move(why));
}

// Reshape. ---------------------------------------------------------------------------------------------------------

// The size that is not told: all elements over the other sizes. Equal sizes are cancelled first, so that
// [batch, seq, 768] to [batch, seq, 12, -1] divides constants only.
Dim rest_of(const Call& c, const Shape& from, const Shape& to, std::size_t hole) {
  std::vector<Dim> left(from.begin(), from.end());
  Dim divisor = 1;
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (i == hole) continue;
    const auto same = std::find(left.begin(), left.end(), to[i]);
    if (same != left.end() && !to[i].is(0)) {
      c.assume_positive(to[i]);
      left.erase(same);
    } else {
      divisor *= to[i];
    }
  }
  Dim product = 1;
  for (const Dim& dim : left) product *= dim;
  if (divisor.is(1)) return product;
  if (product.is_constant() && divisor.is_constant()) return floor_div(product, divisor);
  if (auto exact = divide_exact(product, divisor)) {
    if (!divisor.is_constant()) c.assume_positive(divisor);
    return std::move(*exact);
  }
  return floor_div(product, divisor);  // nothing is left: the elements are compared in the end
}

// The sizes asked for: attributes at first, an input since version 5. Unknown ones are undefined.
std::optional<std::vector<Dim>> reshape_sizes(const Call& c) {
  if (c.has(kShape)) return asked_sizes(c, kShape);
  const Span<std::int64_t> attribute = c.integers("shape");
  return std::vector<Dim>(attribute.begin(), attribute.end());
}

// Reads the sizes asked for into `y`: those that are not told stay undefined and are listed in `holes`, -1 first.
Status read_sizes(const Call& c, const std::vector<Dim>& asked, Shape& y, std::vector<std::size_t>& holes) {
  const Type& x = c.in(kX);
  const bool copies = c.integer("allowzero", 0) == 0;
  bool rest = false;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (asked[i].is(0) && copies) {
      if (x.ranked && i >= x.shape.size()) {
        return bad("a 0 at axis " + std::to_string(i) + " has no axis of " + text(x.shape) + " to copy");
      }
      y.push_back(x.shape[i]);
    } else if (asked[i].is(-1)) {
      if (rest) return bad("more than one size is -1");
      rest = true;
      holes.insert(holes.begin(), i);
      y.push_back(Dim::undefined());
    } else {
      if (asked[i].constant().value_or(0) < 0) return bad("a size is " + asked[i].str());
      if (!asked[i].defined()) holes.push_back(i);
      y.push_back(asked[i]);
    }
  }
  return {};
}

Status infer_reshape(const Call& c, Outputs& out) {
  const auto asked = reshape_sizes(c);
  if (!asked) {
    out.unranked(0, c.dtype(kX));
    return {};
  }
  Shape y;
  std::vector<std::size_t> holes;
  if (Status status = read_sizes(c, *asked, y, holes); !status) return refused(c, out, std::string(status.text()));
  if (!c.ranked(kX)) {
    out.set(0, c.dtype(kX), std::move(y));
    return {};
  }
  // One size follows from the others (but nothing follows from there being no elements); more are new symbols.
  const Shape& x = c.shape(kX);
  const bool follows = !holes.empty() && ((*asked)[holes.front()].is(-1) || !numel(x).is(0));
  for (std::size_t i = follows ? 1 : 0; i < holes.size(); ++i) {
    y[holes[i]] = out.symbol("shape" + std::to_string(holes[i]), "a size that Reshape takes from data");
  }
  if (follows) y[holes.front()] = rest_of(c, x, y, holes.front());
  if (x != y) {
    const Count before = numel(x), after = numel(y);
    if (equal(before, after) == Truth::no) {
      return refused(c, out, "the elements of " + text(x) + " do not fit " + text(y));
    }
    c.assume_equal(before, after, "the numbers of elements");
  }
  out.set(0, c.dtype(kX), std::move(y));
  pass_elements(c, out);
  return {};
}

// Squeeze, Unsqueeze, ExpandDims, Flatten, Identity. ---------------------------------------------------------------

// Without axes every size of 1 goes; a symbol that may be 1 leaves the rank open.
Status squeeze_all(const Call& c, Outputs& out) {
  Shape y;
  for (const Dim& dim : c.shape(kX)) {
    if (dim.is(1)) continue;
    if (equal(dim, 1) != Truth::no) {
      out.unranked(0, c.dtype(kX));
      c.remark(Code::needs_shape, "whether " + dim.str() + " is 1 decides the rank: give its size, or axes to squeeze");
      return {};
    }
    y.push_back(dim);
  }
  out.set(0, c.dtype(kX), std::move(y));
  pass_elements(c, out);
  return {};
}

Status infer_squeeze(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const IntList list = int_list(c, kAxes, "axes");
  if (!list.known || !c.ranked(kX)) {
    out.unranked(0, c.dtype(kX));
    return {};
  }
  if (!list.given) return squeeze_all(c, out);
  const auto axes = axes_in(list.values, x.size());
  if (!axes) return refused(c, out, "axes do not fit " + text(x));
  Shape y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::find(axes->begin(), axes->end(), i) == axes->end()) {
      y.push_back(x[i]);
    } else if (equal(x[i], 1) == Truth::no) {
      return refused(c, out, "axis " + std::to_string(i) + " of " + text(x) + " is not 1");
    } else {
      c.assume_not_negative(1 - x[i]);
    }
  }
  out.set(0, c.dtype(kX), std::move(y));
  pass_elements(c, out);
  return {};
}

Status infer_unsqueeze(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const IntList list = int_list(c, kAxes, "axes");
  if (!list.known || !c.ranked(kX)) {
    out.unranked(0, c.dtype(kX));
    return {};
  }
  const auto axes = axes_in(list.values, x.size() + list.values.size());
  if (!axes) {
    return refused(c, out, "axes do not fit " + text(x) + " and " + std::to_string(list.values.size()) + " more");
  }
  Shape y;
  std::size_t next = 0;
  for (std::size_t i = 0; i < x.size() + axes->size(); ++i) {
    const bool added = std::find(axes->begin(), axes->end(), i) != axes->end();
    y.push_back(added ? Dim(1) : x[next++]);
  }
  out.set(0, c.dtype(kX), std::move(y));
  pass_elements(c, out);
  return {};
}

Status infer_flatten(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const std::int64_t axis = c.integer("axis", 1);
  const auto rank = static_cast<std::int64_t>(x.size());
  if (c.ranked(kX) && (axis < -rank || axis > rank)) {
    return refused(c, out, "axis " + std::to_string(axis) + " does not fit " + text(x));
  }
  const auto at = static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
  out.set(0, c.dtype(kX), {numel(x, 0, at), numel(x, at)});
  pass_elements(c, out);
  return {};
}

Status infer_identity(const Call& c, Outputs& out) {
  out.set(0, c.in(kX));
  if (c.in(kX).kind == Kind::tensor) {
    pass_elements(c, out);
  } else if (const Contents* known = c.contents(kX)) {
    out.know(0, *known);
  }
  return {};
}

// Transpose. -------------------------------------------------------------------------------------------------------

// Axes reversed when no permutation is given; nullopt when it is none of x's axes.
std::optional<std::vector<std::size_t>> permutation(const Call& c) {
  const std::size_t rank = c.shape(kX).size();
  const Span<std::int64_t> given = c.integers("perm");
  if (!given.empty()) return given.size() == rank ? axes_in(given, rank) : std::nullopt;
  std::vector<std::size_t> reversed;
  for (std::size_t i = rank; i-- > 0;) reversed.push_back(i);
  return reversed;
}

Status infer_transpose(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  if (!c.ranked(kX)) {
    out.unranked(0, c.dtype(kX));
    return {};
  }
  const auto perm = permutation(c);
  if (!perm) return refused(c, out, "perm is not a permutation of the axes of " + text(x));
  const Shape y = permuted(x, *perm);
  out.set(0, c.dtype(kX), y);
  if (const Contents* known = elements_of(c, kX)) {
    const Sizes from = steps_of(*small_sizes(x));
    Sizes steps;
    for (const std::size_t axis : *perm) steps.push_back(from[axis]);
    Contents moved;
    moved.items.reserve(known->items.size());
    each_position(*small_sizes(y), [&](const Sizes& at) { moved.items.push_back(known->items[place_of(at, steps)]); });
    out.know(0, std::move(moved));
  }
  return {};
}

Status cost_transpose(const Call& c, Cost& cost) {
  // Axes of size 1 may go anywhere: what counts is the order of the others.
  const Shape& x = c.shape(kX);
  const auto perm = permutation(c);
  if (!perm) return {};
  std::vector<std::size_t> order;
  for (const std::size_t axis : *perm) {
    if (!x[axis].is(1)) order.push_back(axis);
  }
  if (std::is_sorted(order.begin(), order.end())) {
    cost.free("a transpose that leaves the order of elements: a view");
  } else {
    cost.moves("moves data only");
  }
  return {};
}

// Expand. ----------------------------------------------------------------------------------------------------------

Status infer_expand(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const auto sizes = asked_sizes(c, kShape);
  if (!sizes || !c.ranked(kX)) {
    out.unranked(0, c.dtype(kX));
    return {};
  }
  Shape asked;
  for (std::size_t i = 0; i < sizes->size(); ++i) {
    const std::size_t from_end = sizes->size() - i;
    const Dim own = from_end <= x.size() ? x[x.size() - from_end] : Dim(1);
    Dim size = (*sizes)[i];
    if (!size.defined() && own.constant().value_or(1) == 1) {  // otherwise it is the data's own size
      size = out.symbol("shape" + std::to_string(i), "a size that Expand takes from data");
    }
    asked.push_back(std::move(size));
  }
  Shape y;
  if (Status status = broadcast(c, x, asked, y); !status) return refused(c, out, std::string(status.text()));
  if (const Contents* known = is_small(y) ? elements_of(c, kX) : nullptr) {
    const Broadcaster from(x, y);
    const auto size = static_cast<std::size_t>(numel(y).constant().value_or(0));
    Contents spread;
    spread.items.reserve(size);
    for (std::size_t n = 0; n < size; ++n) spread.items.push_back(known->items[from(n)]);
    out.know(0, std::move(spread));
  }
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

// A view where the operator is one.
Status gradient_transpose(const Call&, Gradient& g) {
  if (g.run.read && g.run.read->is(0)) g.cost.free("a view of the gradient");
  g.cost.because = g.run.because;
  return {};
}

Status gradient_expand(const Call& c, Gradient& g) {
  add_spread(g, c.out_shape(), c.shape(kX));
  if (g[Work::add].is(0)) g.cost.free("a view of the gradient");
  return {};
}

// What is overwritten gets none. A copy of the same type gets the gradient as it is.
Status gradient_copy(const Call& c, Gradient& g) {
  enum : std::size_t { kTo = 0, kFrom = 1 };
  const bool writes = c.has(kFrom);
  if (writes) g.none(kTo);
  const Type& from = c.in(writes ? kFrom : kTo);
  if (from.dtype != c.out().dtype) {
    g[Work::convert] += numel(from.shape);
  } else {
    add_spread(g, c.out_shape(), from.shape);
    if (g[Work::add].is(0)) g.cost.free("the gradient as it is");
  }
  return {};
}

Status cost_to_sparse(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.shape(0));
  return {};
}

/// Slices of a size along an axis, a step apart, on a new last axis.
Status aten_unfold(const Call& c, Outputs& out) {
  const Dim size = aten_number(c, 1);
  const std::int64_t step = c.integer("step", 0);
  Shape y = c.shape(0);
  const auto axis = axis_in(c.integer("dimension", 0), y.size());
  if (!c.ranked(0) || !axis || !size.defined() || step < 1) return {};
  y[*axis] = floor_div(at_least_zero(c, y[*axis] - size), Dim(step)) + 1;
  y.push_back(size);
  out.set(0, c.dtype(0), std::move(y));
  return {};
}

/// Rows of different lengths one after the other: as many in all as the call states.
Status infer_jagged(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  const std::int64_t told = c.integer("total_L", -1);
  if (!c.ranked(0) || x.size() < 2 || told < 0) return {};
  Shape y(x.begin() + 1, x.end());
  y[0] = told;
  out.set(0, c.dtype(0), std::move(y));
  return {};
}

/// Of the shape that the call states.
Status infer_stated(const Call& c, Outputs& out) {
  Shape y;
  for (const std::int64_t size : c.integers("shape")) y.push_back(size);
  out.set(0, c.dtype(0), std::move(y));
  return {};
}

}  // namespace

std::vector<Rule> view_family() {
  const GradientFn same = gradient_view();
  const Text none = "no work; a view: no data moved";
  const Text moves = "no work; reads |x|, writes |y|";
  std::vector<Rule> rules = {
      {"reshape", "x #shape", "The same elements in another shape", none, onnx_page("Reshape"), infer_reshape,
       cost_free(kView),
       onnx({"Reshape"}) + aten({"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "_unsafe_view",
                                 "ravel", "_reshape_alias", "resize", "prims::reshape", "prims::collapse",
                                 "prims::collapse_view", "prims::split_dim", "prims::resize"},
                                {}, "x like"),
       nullptr, same},
      {"squeeze", "x #axes", "Axes of size 1 dropped", none, onnx_page("Squeeze"), infer_squeeze, cost_free(kView),
       onnx({"Squeeze"}) + aten({"squeeze", "prims::squeeze"}, {}, "x"), nullptr, same},
      {"unsqueeze", "x #axes", "Axes of size 1 added", none, onnx_page("Unsqueeze"), infer_unsqueeze, cost_free(kView),
       onnx({"Unsqueeze"}) + microsoft({"ExpandDims"}) +
           aten({"unsqueeze", "atleast_1d", "atleast_2d", "atleast_3d"}, {}, "x"),
       nullptr, same},
      {"flatten", "x", "Two axes made of all", none, onnx_page("Flatten"), infer_flatten, cost_free(kView),
       onnx({"Flatten"}), nullptr, same},
      {"identity", "x", "The same value", none, onnx_page("Identity"), infer_identity, cost_free(kView),
       onnx({"Identity"}) + with_gradient(aten({"detach"}), NoGradient{"detached"}) +
           with_gradient(aten({"unfold"}, aten_unfold, "x #size"), gradient_moves()) +
           with_gradient(aten({"as_strided", "diagonal", "prims::as_strided"}), gradient_moves()) +
           aten({"alias",
                 "_linalg_check_errors",
                 "prims::view_of",
                 "prims::conj",
                 "prims::real",
                 "prims::imag",
                 "prims::view_of_dtype",
                 "lift_fresh",
                 "lift",
                 "real",
                 "imag",
                 "view_as_real",
                 "view_as_complex",
                 "positive",
                 "resolve_conj",
                 "resolve_neg",
                 "conj",
                 "set",
                 "requires_grad",
                 "_conj",
                 "_neg_view",
                 "slice_inverse",
                 "_fw_primal",
                 "_make_dual",
                 "values",
                 "_values",
                 "indices",
                 "_indices",
                 "crow_indices",
                 "col_indices",
                 "ccol_indices",
                 "row_indices",
                 "_coalesced"}),
       nullptr, same},
      {"transpose", "x", "Axes in another order", moves + "; a view where the order of elements stays",
       onnx_page("Transpose"), infer_transpose, cost_transpose,
       onnx({"Transpose"}) + aten({"transpose", "permute", "t", "movedim", "moveaxis", "swapaxes", "swapdims", "mT",
                                   "mH", "numpy_T", "matrix_H", "adjoint", "prims::transpose"},
                                  {}, {}, {}, cost_free(kView)),
       nullptr, gradient_transpose},
      {"expand", "x #shape", "Broadcast to a shape", moves, onnx_page("Expand"), infer_expand,
       cost_moves("moves data only"),
       onnx({"Expand"}) +
           aten({"expand", "expand_as", "broadcast_to", "prims::broadcast_in_dim"}, {}, "x like", {}, cost_free(kView)),
       nullptr, gradient_expand},
      {"copy",
       "x from",
       "The same elements in memory of their own",
       "none: moves data only",
       "https://docs.pytorch.org/docs/stable/generated/torch.clone.html",
       {},
       cost_moves("moves data only"),
       aten({"clone",
             "contiguous",
             "copy",
             "_copy_from",
             "resize_as",
             "lu_unpack",
             "prims::copy_to",
             "prims::clone",
             "prims::copy_strided",
             "prims::as_strided_scatter",
             "as_strided_scatter",
             "diagonal_scatter",
             "prims::rev",
             "prims::cat",
             "prims::device_put",
             "select_copy",
             "slice_copy",
             "split_copy",
             "detach_copy",
             "_pack_padded_sequence",
             "view_as_real_copy",
             "view_as_complex_copy",
             "_reshape_copy",
             "_reshape_alias_copy",
             "values_copy",
             "crow_indices_copy",
             "col_indices_copy",
             "ccol_indices_copy",
             "row_indices_copy",
             "_fw_primal_copy",
             "_lazy_clone",
             "copy_sparse_to_sparse",
             "resize_as_sparse",
             "_sparse_coo_tensor_with_dims_and_tensors",
             "sparse_compressed_tensor",
             "_jagged_to_padded_dense_forward"}) +
           aten({"_padded_dense_to_jagged_forward"}, infer_jagged, "x offsets") + aten({"_spdiags"}, infer_stated) +
           aten({"sparse_coo_tensor", "_sparse_coo_tensor_with_dims"}, {}, "x? from") +
           aten({"to_dense", "_to_dense", "coalesce", "_coalesce", "to_mkldnn", "sparse_mask", "int_repr",
                 "_make_per_tensor_quantized_tensor", "_make_per_channel_quantized_tensor"},
                aten_same),
       nullptr,
       gradient_copy},
      {"to_sparse", "x", "The elements other than 0 and their places", "compare = |x|",
       "https://docs.pytorch.org/docs/stable/generated/torch.Tensor.to_sparse.html", aten_same, cost_to_sparse,
       aten({"to_sparse", "to_sparse_csr", "to_sparse_csc", "to_sparse_bsr", "to_sparse_bsc", "_to_sparse",
             "_to_sparse_csr", "_to_sparse_csc", "_to_sparse_bsr", "_to_sparse_bsc"},
            aten_same),
       nullptr, gradient_moves()},
  };
  return with(Access::view, {"reshape", "squeeze", "unsqueeze", "flatten", "identity"},
              with(Access::pointwise, {"transpose", "expand", "copy"}, std::move(rules)));
}

}  // namespace macsim::rules
