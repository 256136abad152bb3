// Resize and upsample: sizes from scales or sizes, and the weighted sums of each way of interpolating.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/resize.hpp"

#include <numeric>
#include <string>

#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"

namespace macsim::rules {

namespace sample {

Mode mode_of(std::string_view name) {
  if (name.find("linear") != std::string_view::npos) return Mode::linear;
  if (name.find("lanczos") != std::string_view::npos) return Mode::lanczos;
  return name.find("cubic") != std::string_view::npos ? Mode::cubic : Mode::nearest;
}

std::int64_t taps_of(Mode mode) {
  constexpr std::int64_t kTaps[] = {1, 2, 4, 6};
  return kTaps[static_cast<std::size_t>(mode)];
}

void weights(Cost& cost, Mode mode, const Count& n) {
  cost[Work::convert] += n;
  if (mode == Mode::linear) cost[Work::add] += 2 * n;  // f and 1 - f
  if (mode == Mode::cubic) {
    // Distances f, 1 + f, 1 - f, 2 - f; near ones ((a+2)d - (a+3))d^2 + 1, far ones ((ad - 5a)d + 8a)d - 4a.
    cost[Work::add] += 14 * n;
    cost[Work::mul] += 12 * n;
  }
}

void blend(Cost& cost, const std::vector<Count>& taps, const Count& positions, const Count& values) {
  Count all = 1;
  for (std::size_t axis = 0; axis < taps.size(); ++axis) {
    all *= taps[axis];
    if (axis != 0) cost[Work::mul] += positions * all;
  }
  cost[Work::mul] += values * all;
  cost[Work::add] += values * (all - 1);
}

}  // namespace sample

namespace {

enum : std::size_t { kX, kRoi, kScales, kSizes };

// Sizes. -----------------------------------------------------------------------------------------------------------

/// The axes that scales and sizes speak of.
std::optional<std::vector<std::size_t>> resized_axes(const Call& c, std::size_t rank) {
  if (c.has_attr("axes")) return axes_in(c.integers("axes"), rank);
  std::vector<std::size_t> all(rank);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// The scalar as a fraction: 0.7f is 7/10, so that a size of 10 becomes 7.
Scalar exact(const Scalar& item) {
  const auto value = item.constant();
  if (!value) return item;
  const auto simple = simplest_fraction(*value);
  return simple ? Scalar::fraction(simple->first, simple->second) : Scalar();
}

/// Scales by entry of `axes`; empty: there are none; unknown entries where they depend on data.
std::vector<Scalar> scales_of(const Call& c, std::size_t entries) {
  std::vector<Scalar> scales;
  if (c.has(kScales)) {
    if (c.ranked(kScales) && numel(c.shape(kScales)).is(0)) return scales;
    const Contents* known = c.contents(kScales);
    scales.assign(entries, Scalar());
    if (known == nullptr || known->items.size() != entries) return scales;
    for (std::size_t i = 0; i < entries; ++i) scales[i] = exact(known->items[i]);
  } else if (c.has_attr("height_scale")) {
    scales = {Scalar::integer(1), Scalar::integer(1), exact(Scalar::real(c.real("height_scale", 1))),
              exact(Scalar::real(c.real("width_scale", 1)))};
  } else if (const Span<double> stated = c.reals("scales"); !stated.empty()) {
    for (const double scale : stated) scales.push_back(exact(Scalar::real(scale)));
  } else {
    for (const std::int64_t scale : c.integers("scales")) scales.push_back(Scalar::integer(scale));
  }
  return scales;
}

/// The part of an axis that is resized: all of it, or what a region of interest says.
Scalar extent(const Call& c, const Dim& size, std::size_t entry, std::size_t entries) {
  Scalar whole = Scalar::integer(size);
  if (c.text("coordinate_transformation_mode", {}) != "tf_crop_and_resize") return whole;
  const Contents* roi = elements_of(c, kRoi);
  if (roi == nullptr || roi->items.size() != 2 * entries) return {};
  return whole * (exact(roi->items[entry + entries]) - exact(roi->items[entry]));
}

/// round(size * asked / of), halves up.
Dim scaled(const Dim& size, const Dim& asked, const Dim& of) { return floor_div(2 * asked * size + of, 2 * of); }

/// Sizes that keep the aspect ratio: of all the factors asked / size the least (not_larger) or the greatest.
void keep_aspect(const Call& c, const Shape& x, const std::vector<std::size_t>& axes, const std::vector<Dim>& asked,
                 bool least, Shape& y) {
  for (const std::size_t axis : axes) {
    Dim best;
    for (std::size_t i = 0; i < axes.size(); ++i) {
      const Dim size = axes[i] == axis ? asked[i] : scaled(x[axis], asked[i], x[axes[i]]);
      best = i == 0 ? size : least ? smaller(c, best, size) : larger(c, best, size);
    }
    y[axis] = best;
  }
}

Status read_modes(const Call& c) {
  if (Status status = one_of(c, "mode", {"nearest", "linear", "cubic", "bilinear"}); !status) return status;
  if (Status status = one_of(c, "keep_aspect_ratio_policy", {"stretch", "not_larger", "not_smaller"}); !status) {
    return status;
  }
  return one_of(c, "coordinate_transformation_mode",
                {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
                 "tf_crop_and_resize", "tf_half_pixel_for_nn"});
}

Status infer_resize(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  if (Status status = read_modes(c); !status) return status;
  const Shape& x = c.shape(kX);
  const auto axes = resized_axes(c, x.size());
  if (!axes) return bad("Resize: axes do not fit the shape " + text(x));
  Shape y = x;
  const auto from_data = [&](std::size_t axis) {
    return out.symbol("axis" + std::to_string(axis), "a size from data");
  };
  const bool by_sizes = c.has(kSizes) && !(c.ranked(kSizes) && numel(c.shape(kSizes)).is(0));
  if (by_sizes) {
    auto sizes = c.ints(kSizes).value_or(std::vector<Dim>(axes->size(), Dim::undefined()));
    if (sizes.size() != axes->size()) return bad("Resize: " + std::to_string(sizes.size()) + " sizes for " + text(x));
    const std::string_view policy = c.text("keep_aspect_ratio_policy", "stretch");
    for (std::size_t i = 0; i < axes->size(); ++i) {
      y[(*axes)[i]] = sizes[i].defined() ? sizes[i] : from_data((*axes)[i]);
      sizes[i] = static_cast<const Shape&>(y)[(*axes)[i]];
    }
    if (policy != "stretch") keep_aspect(c, x, *axes, sizes, policy == "not_larger", y);
    out.set(0, dtype, std::move(y));
    return {};
  }
  const std::vector<Scalar> scales = scales_of(c, axes->size());
  if (scales.size() != axes->size()) {
    return bad(std::string(c.op()) + ": " + std::to_string(scales.size()) + " scales for the shape " + text(x));
  }
  for (std::size_t i = 0; i < axes->size(); ++i) {
    const std::size_t axis = (*axes)[i];
    const Scalar part = extent(c, x[axis], i, axes->size());
    const bool known = scales[i].known() && (part.known() || !x[axis].defined());
    y[axis] = known ? (part * scales[i]).floor() : from_data(axis);
  }
  out.set(0, dtype, std::move(y));
  return {};
}

// Work. ------------------------------------------------------------------------------------------------------------

/// Where `n` coordinates of the result lie in the input.
void coordinates(const Call& c, Cost& cost, const Count& n) {
  const bool old = c.op() == "Upsample" || (c.dialect() == "onnx" && c.version() < 11);
  const std::string_view mode = c.text("coordinate_transformation_mode", old ? "asymmetric" : "half_pixel");
  cost[Work::mul] += n;
  // torch: "upsample_nearest2d" is asymmetric, "_upsample_nearest_exact2d" is not.
  const bool whole = c.op().starts_with("upsample_nearest") || c.integer("align_corners", 0) != 0;
  if (c.dialect() == "aten" && whole) return;
  if (mode.find("half_pixel") != std::string_view::npos) cost[Work::add] += 2 * n;
  if (mode == "half_pixel_symmetric" || mode == "tf_crop_and_resize") cost[Work::add] += n;
}

/// Pixels under an antialiasing filter: the filter is stretched where the image shrinks.
Count stretched(const Call& c, std::int64_t taps, const Dim& in, const Dim& out) {
  return larger(c, taps, ceil_div(Count(taps) * in, out));
}

/// What an antialiasing filter takes for each of `n` pixels under it: how far it is, its weight there, and the weight's
/// share of the sum. Lanczos: sin(pi d) / (pi d) of the distance and of a third of it.
void filter(Cost& cost, sample::Mode mode, const Count& n) {
  cost[Work::add] += 2 * n;
  cost[Work::mul] += n;
  cost[Work::div] += n;
  if (mode == sample::Mode::linear) cost[Work::add] += n;
  if (mode == sample::Mode::cubic) add_each(cost, {{Work::add, 3}, {Work::mul, 3}}, n);
  if (mode == sample::Mode::lanczos) add_each(cost, {{Work::trig, 2}, {Work::mul, 3}, {Work::div, 2}}, n);
}

void resize_work(const Call& c, Cost& cost, sample::Mode mode, const Shape& x, const Shape& y) {
  const bool smooth =
      (c.integer("antialias", 0) != 0 || c.op().find("_aa") != std::string_view::npos) && mode != sample::Mode::nearest;
  std::vector<Count> taps;
  Count positions = 1;
  for (std::size_t axis = 0; axis < y.size(); ++axis) {
    if (equal(x[axis], y[axis]) == Truth::yes) continue;
    coordinates(c, cost, y[axis]);
    positions *= y[axis];
    taps.emplace_back(sample::taps_of(mode));
    const Count plain = taps.back();
    if (smooth) taps.back() = stretched(c, sample::taps_of(mode), x[axis], y[axis]);
    if (taps.back() == plain && mode != sample::Mode::lanczos) {
      sample::weights(cost, mode, y[axis]);
    } else {
      cost[Work::convert] += y[axis];
      filter(cost, mode, taps.back() * y[axis]);
      cost[Work::add] -= y[axis];
      cost.trust = Trust::bound;
      cost.because = "the widest that an antialiasing filter can be";
    }
    if (c.integer("exclude_outside", 0) != 0 && taps.back() == plain && mode != sample::Mode::nearest) {
      cost[Work::add] += (plain - 1) * y[axis];
      cost[Work::div] += plain * y[axis];
    }
  }
  if (taps.empty()) {
    cost.moves("no size changes: moves data only");
  } else if (mode != sample::Mode::nearest) {
    sample::blend(cost, taps, positions, numel(y));
  }
}

Status cost_resize(const Call& c, Cost& cost) {
  resize_work(c, cost, sample::mode_of(c.text("mode", "nearest")), c.shape(kX), c.out_shape());
  return {};
}

/// torch has the mode in the name: "upsample_bilinear2d".
Status cost_upsample(const Call& c, Cost& cost) {
  resize_work(c, cost, sample::mode_of(c.op()), c.shape(kX), c.out_shape());
  return {};
}

/// Its gradient, of what comes for the larger image or the smaller: by the same weights to the pixels that it was made
/// of.
Status cost_upsample_backward(const Call& c, Cost& cost) {
  const Shape &dy = c.shape(kX), &dx = c.out_shape();
  resize_work(c, cost, sample::mode_of(c.op()), dx, dy);
  if (!(dx == dy)) cost[Work::add] += numel(dy);
  return {};
}

/// The same weights, by which each gradient is added to the pixels that it was made from.
Status gradient_resize(const Call& c, Gradient& g) {
  g.cost.read = bytes(c.out());
  if (Status status = gradient_like_run(c, g); !status) return status;
  if (!(c.shape(kX) == c.out_shape())) g[Work::add] += numel(c.out_shape());
  return {};
}

}  // namespace

std::vector<Rule> resize_family() {
  std::vector<Binding> spelled{
      {"onnx::Resize", "x #scales", 1, 10},   {"onnx::Resize", {}, 11},
      {"com.ms.internal.nhwc::Resize", {}},   {"onnx::Upsample", "x #scales"},
      {"com.microsoft.nchwc::Upsample", "x"},
  };
  std::vector<Rule> rules = {
      {"resize", "x #roi #scales #sizes", "An image resampled to another size",
       "by axis that changes, for each coordinate: mul 1, add 2 (half_pixel), convert 1; linear: add 2; cubic: mul 12, "
       "add 14; then k = product of 2 (linear) or 4 (cubic) pixels an axis: mul = k|y| and k a position, add = "
       "(k-1)|y|; "
       "nearest: no more; under an antialiasing filter by pixel and axis: linear: add 3, mul = div = 1; cubic: add 5, "
       "mul "
       "4, div 1; lanczos, of 6 pixels: add 2, mul 4, div 3, trig 2",
       "https://onnx.ai/onnx/operators/onnx__Resize.html", infer_resize, cost_resize,
       std::move(spelled) +
           aten({"upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
                 "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
                 "upsample_trilinear3d", "upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
                 "_upsample_lanczos2d_aa"},
                {}, "x", {}, cost_upsample),
       nullptr, gradient_resize},
  };
  rules.push_back(
      {"resize_backward",
       "dy",
       "The gradient of an image resampled to another size",
       "as of the image, and add = |dy|",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html",
       {},
       cost_upsample_backward,
       aten({"upsample_nearest1d_backward", "upsample_nearest2d_backward", "upsample_nearest3d_backward",
             "_upsample_nearest_exact1d_backward", "_upsample_nearest_exact2d_backward",
             "_upsample_nearest_exact3d_backward", "upsample_linear1d_backward", "upsample_bilinear2d_backward",
             "upsample_trilinear3d_backward", "upsample_bicubic2d_backward", "_upsample_bilinear2d_aa_backward",
             "_upsample_bicubic2d_aa_backward", "_upsample_lanczos2d_aa_backward"}),
       nullptr,
       gradient_like_run});
  for (Rule& rule : sample_rules()) rules.push_back(std::move(rule));
  return rules;
}

}  // namespace macsim::rules
