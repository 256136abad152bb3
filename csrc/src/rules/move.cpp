// Data movement: concat, pad, tile, one-hot, blocks to and from depth; with slices and gathers in files of their own.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
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

// Concat. ----------------------------------------------------------------------------------------------------------

void know_concat(const Call& c, Outputs& out, const Shape& shape, std::size_t axis) {
  const auto sizes = small_sizes(shape);
  if (!sizes) return;
  std::vector<const Contents*> parts(c.inputs(), nullptr);
  bool any = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i] = elements_at(c, i);
    any = any || parts[i] != nullptr;
  }
  if (!any) return;
  std::int64_t outer = 1;
  for (std::size_t i = 0; i < axis; ++i) outer *= (*sizes)[i];
  Contents joined;
  for (std::int64_t row = 0; row < outer; ++row) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto run = static_cast<std::size_t>(numel(c.shape_at(i), axis).constant().value_or(0));
      for (std::size_t k = 0; k < run; ++k) {
        const std::size_t at = static_cast<std::size_t>(row) * run + k;
        joined.items.push_back(parts[i] != nullptr && at < parts[i]->items.size() ? parts[i]->items[at] : Scalar());
      }
    }
  }
  out.know(0, std::move(joined));
}

Status infer_concat(const Call& c, Outputs& out) {
  DType dtype = DType::unknown;
  const Shape* first = nullptr;
  bool ranked = true;
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    if (dtype == DType::unknown) dtype = c.at(i).dtype;
    ranked = ranked && c.at(i).ranked;
    if (first == nullptr && c.at(i).ranked) first = &c.at(i).shape;
  }
  out.unranked(0, dtype);
  if (first == nullptr) return {};
  const auto axis = axis_in(c.integer("axis", c.version() < 4 ? 1 : 0), first->size());
  if (!axis) return bad("Concat: the axis does not fit the shape " + text(*first));
  Shape shape = *first;
  Dim total = ranked ? Dim(0) : Dim::undefined();
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    if (!c.at(i).ranked) continue;
    const Shape& part = c.at(i).shape;
    if (part.size() != shape.size()) return bad("Concat of the shapes " + text(shape) + " and " + text(part));
    for (std::size_t k = 0; k < shape.size(); ++k) {
      if (k == *axis) {
        total += part[k];
      } else if (&part != first) {
        shape[k] = unify(c, shape[k], part[k], "sizes of what is concatenated");
      }
    }
  }
  shape[*axis] = total;
  out.set(0, dtype, shape);
  know_concat(c, out, shape, *axis);
  return {};
}

// Pad. -------------------------------------------------------------------------------------------------------------

enum : std::size_t { kPads = 1, kFill, kPadAxes };

/// Elements are followed through margins up to this; beyond it their positions could overflow.
constexpr std::int64_t kMostPadding = 1'000'000'000;

bool follows(const Dim& pad) {
  const auto size = pad.constant();
  return size && *size >= -kMostPadding && *size <= kMostPadding;
}

struct Padding {
  std::vector<Dim> begin, end;  // by axis; undefined where they depend on data
};

Status padding_of(const Call& c, std::size_t rank, Padding& padding) {
  padding.begin.assign(rank, 0);
  padding.end.assign(rank, 0);
  const IntList axes = int_list(c, kPadAxes, "axes");
  std::vector<std::size_t> at;
  if (axes.given && axes.known) {
    const auto normal = axes_in(axes.values, rank);
    if (!normal) return bad("Pad: axes do not fit rank " + std::to_string(rank));
    at = *normal;
  } else {
    for (std::size_t i = 0; i < rank; ++i) at.push_back(i);
  }
  std::vector<Dim> pads;
  if (c.has(kPads)) {
    auto known = axes.known ? c.ints(kPads) : std::nullopt;
    pads = known ? std::move(*known) : std::vector<Dim>(at.size() * 2, Dim::undefined());
  } else {
    const Span<std::int64_t> stated = c.integers(c.has_attr("pads") ? "pads" : "paddings");
    pads.assign(stated.begin(), stated.end());
  }
  if (pads.size() != at.size() * 2) {
    return bad("Pad: " + std::to_string(pads.size()) + " pads for " + std::to_string(at.size()) + " axes");
  }
  for (std::size_t i = 0; i < at.size(); ++i) {
    padding.begin[at[i]] = pads[i];
    padding.end[at[i]] = pads[i + at.size()];
  }
  return {};
}

/// The place in [0, size) that a padded position shows; -1: the fill value.
std::int64_t source_of(std::int64_t at, std::int64_t size, std::string_view mode) {
  if (at >= 0 && at < size) return at;
  if (mode == "constant" || size <= 0) return -1;
  if (mode == "edge") return std::clamp<std::int64_t>(at, 0, size - 1);
  const std::int64_t period = mode == "wrap" ? size : std::max<std::int64_t>(2 * (size - 1), 1);
  const std::int64_t place = ((at % period) + period) % period;
  return mode == "wrap" || place < size ? place : period - place;
}

void know_pad(const Call& c, Outputs& out, const Shape& shape, const Padding& padding) {
  const auto sizes = small_sizes(shape);
  const Contents* known = sizes ? elements_of(c, kX) : nullptr;
  if (known == nullptr) return;
  Scalar fill = Scalar::real(c.real("value", 0));
  if (c.has(kFill)) {
    const Contents* value = elements_of(c, kFill);
    fill = value != nullptr && value->items.size() == 1 ? value->items.front() : Scalar();
  }
  const std::string_view mode = c.text("mode", "constant");
  const Sizes from = *small_sizes(c.shape(kX));
  const Sizes hops = steps_of(from);
  Contents padded;
  each_position(*sizes, [&](const Sizes& at) {
    std::int64_t place = 0;
    for (std::size_t axis = 0; axis < at.size() && place >= 0; ++axis) {
      const std::int64_t source = source_of(at[axis] - *padding.begin[axis].constant(), from[axis], mode);
      place = source < 0 ? -1 : place + source * hops[axis];
    }
    padded.items.push_back(place < 0 ? fill : known->items[static_cast<std::size_t>(place)]);
  });
  out.know(0, std::move(padded));
}

Status infer_pad(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  if (Status status = one_of(c, "mode", {"constant", "reflect", "edge", "wrap"}); !status) return status;
  const Shape& x = c.shape(kX);
  Padding padding;
  if (Status status = padding_of(c, x.size(), padding); !status) return status;
  Shape shape = x;
  bool all_known = true;
  for (std::size_t axis = 0; axis < x.size(); ++axis) {
    const Dim pads = padding.begin[axis] + padding.end[axis];
    for (const Dim* pad : {&padding.begin[axis], &padding.end[axis]}) {
      all_known = all_known && follows(*pad);
    }
    if (pads.defined()) {
      shape[axis] = at_least_zero(c, x[axis] + pads);
    } else {
      shape[axis] = out.symbol("axis" + std::to_string(axis), "a size whose padding is data");
    }
  }
  out.set(0, dtype, shape);
  if (all_known) know_pad(c, out, shape, padding);
  return {};
}

Status cost_pad_backward(const Call& c, Cost& cost) {
  cost[Work::add] = at_least_zero(c, numel(c.shape(0)) - numel(c.out_shape()));
  if (cost[Work::add].is(0)) cost.moves("moves data only");
  return {};
}

Status cost_pad(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  Padding padding;
  if (Status status = padding_of(c, x.size(), padding); !status) return status;
  Count kept = 1;  // negative pads crop: what is cropped is not read
  for (std::size_t axis = 0; axis < x.size(); ++axis) {
    Dim size = x[axis];
    for (const Dim* pad : {&padding.begin[axis], &padding.end[axis]}) {
      if (pad->constant().value_or(0) < 0) size += *pad;
    }
    kept *= at_least_zero(c, size);
  }
  work::Reads reads(c);
  reads.part(kX, kept);
  reads.into(cost);
  cost.moves("moves data only");
  return {};
}

// Tile. ------------------------------------------------------------------------------------------------------------

enum : std::size_t { kRepeats = 1, kTileAxis };

Status infer_tile(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  std::vector<Dim> repeats(x.size(), Dim::undefined());
  if (c.version() < 6) {  // along one axis
    if (const auto axis = single(c, kTileAxis).constant()) {
      const auto normal = axis_in(*axis, x.size());
      if (!normal) return bad("Tile: the axis does not fit the shape " + text(x));
      repeats.assign(x.size(), 1);
      repeats[*normal] = single(c, kRepeats);
    }
  } else if (auto known = c.ints(kRepeats)) {
    repeats = std::move(*known);
  }
  if (repeats.size() != x.size()) {
    return bad("Tile: " + std::to_string(repeats.size()) + " repeats for the shape " + text(x));
  }
  Shape shape = x;
  for (std::size_t axis = 0; axis < x.size(); ++axis) {
    shape[axis] = repeats[axis].defined() ? x[axis] * repeats[axis]
                                          : out.symbol("axis" + std::to_string(axis), "a size whose repeats are data");
  }
  out.set(0, dtype, shape);
  const auto sizes = small_sizes(shape);
  const Contents* known = sizes ? elements_of(c, kX) : nullptr;
  if (known == nullptr || known->items.empty()) return {};
  const Sizes from = *small_sizes(x);
  const Sizes hops = steps_of(from);
  Contents tiled;
  each_position(*sizes, [&](const Sizes& at) {
    std::int64_t place = 0;
    for (std::size_t axis = 0; axis < at.size(); ++axis) place += at[axis] % from[axis] * hops[axis];
    tiled.items.push_back(known->items[static_cast<std::size_t>(place)]);
  });
  out.know(0, std::move(tiled));
  return {};
}

// OneHot. ----------------------------------------------------------------------------------------------------------

enum : std::size_t { kDepth = 1, kValues };

Status infer_one_hot(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kValues);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  Shape shape = c.shape(kX);
  const auto axis = axis_in(c.integer("axis", -1), shape.size() + 1);
  if (!axis) return bad("OneHot: the axis does not fit indices of the shape " + text(shape));
  Dim depth = single(c, kDepth);
  if (!depth.defined()) depth = out.symbol("depth", "number of classes");
  shape.insert(*axis, depth);
  out.set(0, dtype, shape);
  const auto sizes = small_sizes(shape);
  const Contents* indices = sizes ? elements_of(c, kX) : nullptr;
  const Contents* values = indices != nullptr ? elements_of(c, kValues) : nullptr;
  if (values == nullptr || values->items.size() != 2) return {};
  Sizes hops = steps_of(*small_sizes(c.shape(kX)));
  hops.insert(hops.begin() + static_cast<std::ptrdiff_t>(*axis), 0);
  Contents hot;
  each_position(*sizes, [&](const Sizes& at) {
    auto index = indices->items[place_of(at, hops)].constant_integer();
    if (index && *index < 0) *index += (*sizes)[*axis];
    hot.items.push_back(!index ? Scalar() : values->items[*index == at[*axis] ? 1 : 0]);
  });
  out.know(0, std::move(hot));
  return {};
}

/// Of as many classes as the data has torch tells, or nobody.
Status aten_one_hot(const Call& c, Outputs& out) {
  const Dim depth = c.has(kDepth) ? single(c, kDepth) : Dim::undefined();
  if (!c.ranked(kX) || !depth.defined() || at_least(depth, 0) == Truth::no) return {};
  Shape y = c.shape(kX);
  y.push_back(depth);
  out.set(0, DType::i64, std::move(y));
  return {};
}

Status cost_one_hot(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.out_shape());
  return {};
}

// Blocks to and from depth. ----------------------------------------------------------------------------------------

Status infer_blocks(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  const std::int64_t block = c.integer("blocksize", 0);
  if (x.size() != 4 || block <= 0)
    return bad(std::string(c.op()) + " needs rank 4 and a blocksize, and has " + text(x));
  const bool last = c.dialect() == "com.ms.internal.nhwc";
  const std::size_t channel = last ? 3 : 1, height = last ? 1 : 2;
  const bool to_space = c.op() == "DepthToSpace";
  Shape shape = x;
  const auto scale = [&](std::size_t axis, const Dim& by, bool up) {
    shape[axis] = up ? x[axis] * by : quotient(c, x[axis], by);
  };
  scale(channel, Dim(block) * block, !to_space);
  scale(height, block, to_space);
  scale(height + 1, block, to_space);
  out.set(0, dtype, shape);
  return {};
}

/// cat joins along an axis that there is, stack along a new one.
Status aten_cat(const Call& c, Outputs& out) {
  if (c.op() != "cat" && c.op() != "concat" && c.op() != "stack") return {};
  const bool fresh = c.op() == "stack";
  std::optional<Shape> y;
  Type met = Type::unranked(DType::unknown);
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    if (!c.given(i) || !c.at(i).ranked) return {};
    const Shape& x = c.shape_at(i);
    met.dtype = promoted(met, c.at(i));
    met.ranked = true;
    met.shape = x;
    if (!fresh && x.size() == 1 && x[0].is(0)) continue;  // torch passes over an empty list
    const auto axis = axis_in(c.integer("dim", 0), x.size() + (fresh ? 1 : 0));
    if (!axis) return {};
    if (!y) {
      y = x;
      if (fresh) y->insert(*axis, 0);
      if (!fresh) (*y)[*axis] = 0;
    }
    if (y->size() != x.size() + (fresh ? 1 : 0)) return {};
    for (std::size_t k = 0; k < x.size(); ++k) {
      if (!fresh && k == *axis) continue;
      Dim& other = (*y)[fresh && k >= *axis ? k + 1 : k];
      other = unify(c, other, x[k], "sizes of what is joined");
    }
    (*y)[*axis] += fresh ? Dim(1) : x[*axis];
  }
  if (y) out.set(0, met.dtype, *std::move(y));
  return {};
}

/// Margins that repeat elements are added to them.
Status gradient_pad(const Call& c, Gradient& g) {
  const bool repeats = c.op().starts_with("re") || c.op() == "_pad_circular" ||
                       (c.text("mode", "constant") != "constant" && c.op() != "constant_pad_nd");
  if (repeats) add_spread(g, c.out_shape(), c.shape(0));
  g.cost.moves("moves data only");
  return {};
}

Status gradient_tile(const Call& c, Gradient& g) {
  add_spread(g, c.out_shape(), c.shape(0));
  g.cost.moves("moves data only");
  return {};
}

/// Margins by axis, from the last on: before it and after it. Where torch has more to check it tells the shape.
Status aten_pad(const Call& c, Outputs& out) {
  const std::vector<Dim> pads = aten_numbers(c, 1);
  if (!c.ranked(kX) || !c.given(1) || c.text("mode", "constant") != "constant") return {};
  Shape y = c.shape(kX);
  if (pads.size() % 2 != 0 || pads.size() > 2 * y.size()) return {};
  for (std::size_t i = 0; i < pads.size(); i += 2) {
    if (at_least(pads[i], 0) != Truth::yes || at_least(pads[i + 1], 0) != Truth::yes) return {};
    y[y.size() - 1 - i / 2] += pads[i] + pads[i + 1];
  }
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

/// The whole as often as is asked for along each axis, new ones first.
Status aten_repeat(const Call& c, Outputs& out) {
  const std::vector<Dim> repeats = aten_numbers(c, 1);
  const Shape& x = c.shape(kX);
  const bool tiled = c.op() == "tile";  // which may be told of the last axes only
  if (!c.ranked(kX) || !c.given(1) || (repeats.size() < x.size() && !tiled)) return {};
  const std::size_t rank = std::max(repeats.size(), x.size());
  Shape y;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    const std::size_t before_x = rank - x.size(), before_repeats = rank - repeats.size();
    const Dim times = axis < before_repeats ? Dim(1) : repeats[axis - before_repeats];
    if (at_least(times, 0) != Truth::yes) return {};
    y.push_back(axis < before_x ? times : x[axis - before_x] * times);
  }
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

/// Each element as often; where they differ torch tells.
Status aten_repeat_each(const Call& c, Outputs& out) {
  const Dim times = c.inputs() == 2 ? aten_number(c, 1) : Dim::undefined();
  if (!c.ranked(kX) || !times.defined() || at_least(times, 0) != Truth::yes) return {};
  Shape y = c.shape(kX);
  if (c.has_attr("dim")) {
    const auto axis = axis_in(c.integer("dim", 0), y.size());
    if (!axis) return {};
    y[*axis] *= times;
  } else {
    y = Shape{numel(y) * times};
  }
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

}  // namespace

std::vector<Rule> move_family() {
  const CostFn moves = cost_moves("moves data only");
  std::vector<Rule> rules = {
      {"concat", "xs...", "Tensors joined along one axis", "none: moves data only", onnx_page("Concat"), infer_concat,
       moves,
       onnx({"Concat"}) + aten({"cat", "concat", "stack", "hstack", "vstack", "dstack"}, aten_cat) + aten({"_stack"}),
       nullptr, gradient_view()},
      {"pad", "x #pads #value #axes", "A tensor with margins added, or cropped", "none: moves data only",
       onnx_page("Pad"), infer_pad, cost_pad,
       onnx({"Pad"}) + aten({"pad", "constant_pad_nd"}, aten_pad, "x #pad", {}, moves) +
           aten({"reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d",
                 "replication_pad3d", "_pad_circular"},
                {}, "x", {}, moves) +
           std::vector<Binding>{{"com.microsoft::Pad", "x #pads #value"}},
       nullptr, gradient_pad},
      {"pad_backward",
       "dy",
       "The gradient of a tensor whose edges were repeated",
       "add = |dy| - |y|",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html",
       {},
       cost_pad_backward,
       aten({"replication_pad1d_backward", "replication_pad2d_backward", "replication_pad3d_backward"}),
       nullptr,
       gradient_moves()},
      {"tile", "x #repeats #axis", "A tensor repeated along its axes", "none: moves data only", onnx_page("Tile"),
       infer_tile, moves,
       onnx({"Tile"}) + aten({"repeat", "tile"}, aten_repeat, "x #repeats", "dims=repeats", moves) +
           aten({"repeat_interleave"}, aten_repeat_each, "x #repeats", {}, moves),
       nullptr, gradient_tile},
      {"one_hot", "indices #depth values", "Indices as rows with one element on", "compare = |y|", onnx_page("OneHot"),
       infer_one_hot, cost_one_hot, onnx({"OneHot"}) + aten({"one_hot"}, aten_one_hot, {}, "num_classes=depth"),
       nullptr, NoGradient{"it picks by index"}},
      {"blocks", "x", "Blocks of pixels to channels, and back", "none: moves data only", onnx_page("DepthToSpace"),
       infer_blocks, moves,
       onnx({"DepthToSpace", "SpaceToDepth"}) + aten({"pixel_shuffle", "pixel_unshuffle", "channel_shuffle"}) +
           std::vector<Binding>{{"com.ms.internal.nhwc::DepthToSpace", {}}, {"com.ms.internal.nhwc::SpaceToDepth", {}}},
       nullptr, gradient_moves()},
      {"reverse_sequence", "x lengths", "Sequences of a batch, each reversed up to its length", "none: moves data only",
       onnx_page("ReverseSequence"), infer_same, moves, onnx({"ReverseSequence"}), nullptr, gradient_moves()},
      {"roll",
       "x",
       "Elements moved along axes, or turned around",
       "none: moves data only",
       "https://docs.pytorch.org/docs/stable/generated/torch.roll.html",
       {},
       moves,
       aten({"roll", "flip", "fliplr", "flipud"}, aten_same) + aten({"rot90"}),
       nullptr,
       gradient_moves()},
  };
  for (auto part : {slice_rules, gather_rules}) {
    for (Rule& rule : part()) rules.push_back(std::move(rule));
  }
  return with(Access::view, {"slice", "split"},
              with(Access::update, {"concat", "scatter_elements", "scatter_nd", "tensor_scatter"}, std::move(rules)));
}

}  // namespace macsim::rules
