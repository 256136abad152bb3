// Sampling at computed places: grid sample, affine grid, crops; and decoding of images.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <numeric>
#include <string>

#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/resize.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

constexpr std::size_t kX = 0;

// GridSample. ------------------------------------------------------------------------------------------------------

constexpr std::size_t kGrid = 1;

Status infer_grid_sample(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX) || !c.ranked(kGrid)) return {};
  const Shape& x = c.shape(kX);
  const Shape& grid = c.shape(kGrid);
  if (x.size() != grid.size() || x.size() < 3) return bad("GridSample of the shapes " + text(x) + " and " + text(grid));
  const bool last = c.dialect() == "com.ms.internal.nhwc";
  Shape y{unify(c, x[0], grid[0], "batch sizes")};
  if (!last) y.push_back(x[1]);
  y.append(grid.begin() + 1, grid.end() - 1);
  if (last) y.push_back(x.back());
  out.set(0, dtype, std::move(y));
  return {};
}

/// Torch numbers the modes.
sample::Mode grid_mode(const Call& c) {
  constexpr sample::Mode kModes[] = {sample::Mode::linear, sample::Mode::nearest, sample::Mode::cubic};
  const std::int64_t number = c.integer("interpolation_mode", -1);
  return number >= 0 && number < 3 ? kModes[number] : sample::mode_of(c.text("mode", "linear"));
}

/// The place of each coordinate takes a mul and an add; each pixel around it is compared with both edges.
void find_places(Cost& cost, sample::Mode mode, const Count& coordinates) {
  cost[Work::mul] = coordinates;
  cost[Work::add] = coordinates;
  cost[Work::compare] = 2 * sample::taps_of(mode) * coordinates;
  sample::weights(cost, mode, coordinates);
}

Status cost_grid_sample(const Call& c, Cost& cost) {
  const Shape& grid = c.shape(kGrid);
  if (grid.size() < 3) return bad("GridSample needs a grid, and has " + text(grid));
  if (Status status = one_of(c, "mode", {"linear", "bilinear", "nearest", "cubic", "bicubic"}); !status) return status;
  const sample::Mode mode = grid_mode(c);
  const std::size_t spatial = grid.size() - 2;
  const Count positions = numel(grid, 0, grid.size() - 1);
  find_places(cost, mode, positions * spatial);
  if (mode != sample::Mode::nearest) {
    sample::blend(cost, std::vector<Count>(spatial, sample::taps_of(mode)), positions, numel(c.out_shape()));
  }
  return {};
}

/// Of the image: each element times the products of its weights, to the pixels around it. Of the places: by each axis
/// the differences of pixels times the weights of the others, and by the size of the image.
Status cost_grid_sample_backward(const Call& c, Cost& cost) {
  enum : std::size_t { kDy = 0, kPlaces = 2 };
  const Shape& grid = c.shape(kPlaces);
  if (grid.size() < 3) return bad("a gradient of places needs a grid, and has " + text(grid));
  const sample::Mode mode = grid_mode(c);
  const std::size_t spatial = grid.size() - 2;
  const Count dy = numel(c.shape(kDy)), positions = numel(grid, 0, grid.size() - 1);
  const auto axes = static_cast<std::int64_t>(spatial);
  std::int64_t taps = 1;
  find_places(cost, mode, positions * spatial);
  for (std::size_t i = 0; i < spatial; ++i) {
    taps *= sample::taps_of(mode);
    if (i != 0 && mode != sample::Mode::nearest) cost[Work::mul] += positions * taps;
  }
  if (taps > 1) cost[Work::mul] += taps * dy;
  cost[Work::add] += taps * dy;
  if (mode == sample::Mode::nearest) return {};
  cost[Work::mul] += axes * (taps + 1) * dy + numel(grid);
  cost[Work::add] += axes * taps * dy;
  if (mode == sample::Mode::cubic) {
    cost.trust = Trust::estimate;
    cost.because = "cubic weights' derivatives are left out";
  }
  return {};
}

// AffineGrid. ------------------------------------------------------------------------------------------------------

Status infer_affine_grid(const Call& c, Outputs& out) {
  enum : std::size_t { kTheta, kSize };
  const DType dtype = c.dtype(kTheta);
  out.unranked(0, dtype);
  auto sizes = c.ints(kSize);
  if (!sizes) {  // the rank is known from either input
    const auto entries = c.in(kSize).shape[0].constant();
    const auto spatial = c.in(kTheta).shape[1].constant();
    const std::int64_t count = entries ? *entries : spatial.value_or(0) + 2;
    if (count != 4 && count != 5) return {};
    sizes.emplace(static_cast<std::size_t>(count), Dim::undefined());
    (*sizes)[0] = c.in(kTheta).shape[0];
  }
  if (sizes->size() < 4 || sizes->size() > 5) return bad("AffineGrid: size needs 4 or 5 entries");
  Shape grid{(*sizes)[0]};
  for (std::size_t i = 2; i < sizes->size(); ++i) {
    grid.push_back((*sizes)[i].defined() ? (*sizes)[i]
                                         : out.symbol("axis" + std::to_string(i - 1), "a size from data"));
  }
  grid.push_back(sizes->size() - 2);
  out.set(0, dtype, std::move(grid));
  return {};
}

Status cost_affine_grid(const Call& c, Cost& cost) {
  const Shape& grid = c.out_shape();
  cost[Work::mac] = numel(grid) * (grid.back() + 1);
  Count coordinates;
  for (std::size_t axis = 1; axis + 1 < grid.size(); ++axis) coordinates += grid[axis];
  cost[Work::mul] = coordinates;
  cost[Work::add] = coordinates;
  cost.rhs = c.dtype(kX);
  return {};
}

// Crops. -----------------------------------------------------------------------------------------------------------

Status infer_center(const Call& c, Outputs& out) {
  constexpr std::size_t kShape = 1;
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  Shape y = c.shape(kX);
  std::vector<std::size_t> axes(y.size());
  std::iota(axes.begin(), axes.end(), 0);
  if (c.has_attr("axes")) {
    const auto normal = axes_in(c.integers("axes"), y.size());
    if (!normal) return bad("CenterCropPad: axes do not fit the shape " + text(y));
    axes = *normal;
  }
  const auto sizes = c.ints(kShape);
  if (sizes && sizes->size() != axes.size()) return bad("CenterCropPad: as many sizes as axes are needed");
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const bool known = sizes && (*sizes)[i].defined();
    y[axes[i]] = known ? (*sizes)[i] : out.symbol("axis" + std::to_string(axes[i]), "a size from data");
  }
  out.set(0, dtype, std::move(y));
  return {};
}

Status cost_center(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Shape& y = c.out_shape();
  Count kept = 1;
  for (std::size_t axis = 0; axis < x.size(); ++axis) kept *= smaller(c, x[axis], y[axis]);
  work::Reads reads(c);
  reads.part(kX, kept);
  reads.into(cost);
  cost.moves("moves data only");
  return {};
}

Status infer_crop_resize(const Call& c, Outputs& out) {
  enum : std::size_t { kRois = 1, kBatch, kCrop };
  const DType dtype = c.dtype(kX);
  auto sizes = c.ints(kCrop);
  if (!sizes || sizes->size() != 2) sizes = std::vector<Dim>(2, Dim::undefined());
  for (std::size_t i = 0; i < 2; ++i) {
    if (!(*sizes)[i].defined()) (*sizes)[i] = out.symbol(i == 0 ? "height" : "width", "size of the crops");
  }
  out.set(0, dtype, Shape{c.in(kRois).shape[0], c.in(kX).shape[1], (*sizes)[0], (*sizes)[1]});
  return {};
}

Status cost_crop_resize(const Call& c, Cost& cost) {
  const Shape& y = c.out_shape();
  if (Status status = one_of(c, "mode", {"bilinear", "nearest"}); !status) return status;
  const sample::Mode mode = sample::mode_of(c.text("mode", "bilinear"));
  const Count coordinates = y[0] * (y[2] + y[3]);
  cost[Work::mul] = coordinates;
  cost[Work::add] = coordinates;
  cost[Work::compare] = 2 * coordinates;
  sample::weights(cost, mode, coordinates);
  if (mode != sample::Mode::nearest) sample::blend(cost, {2, 2}, y[0] * y[2] * y[3], numel(y));
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// Of the image: each sample's gradient times its weights, added to its pixels. Of the places: along each axis what the
/// pixels give, times the weights' derivative (of linear ones the other axes' weights), times dy. Places and weights
/// are made again.
Status gradient_sampled(const Call& c, Gradient& g, sample::Mode mode, std::size_t spatial, bool places) {
  const Count y = numel(c.out_shape());
  const auto axes = static_cast<std::int64_t>(spatial);
  std::int64_t taps = 1;
  for (std::size_t i = 0; i < spatial; ++i) taps *= sample::taps_of(mode);
  for (std::size_t w = 0; w < kWorks; ++w) g.again.work[w] += g.run.work[w];
  if (taps > 1) {  // the samples are not
    g.again[Work::mul] -= taps * y;
    g.again[Work::add] -= (taps - 1) * y;
  }
  if (g.needs(kX)) {
    if (taps > 1) g[Work::mul] += taps * y;
    g[Work::add] += taps * y;
  }
  if (places && mode != sample::Mode::nearest) {
    g[Work::mul] += axes * (taps + 1) * y + numel(c.shape(1));  // and by the size of the image
    g[Work::add] += axes * taps * y;
    g.keep(kX);
    if (mode == sample::Mode::cubic) estimated(g, "cubic weights' derivatives are left out");
  }
  g.keep(1);
  return {};
}

Status gradient_grid_sample(const Call& c, Gradient& g) {
  const Shape& grid = c.shape(kGrid);
  if (grid.size() < 3) return bad("GridSample needs a grid, and has " + text(grid));
  return gradient_sampled(c, g, grid_mode(c), grid.size() - 2, g.needs(kGrid));
}

/// Regions are data.
Status gradient_crop_resize(const Call& c, Gradient& g) {
  for (std::size_t i = 1; i < c.inputs(); ++i) g.none_at(i);
  return gradient_sampled(c, g, sample::mode_of(c.text("mode", "bilinear")), 2, false);
}

/// A product with the grid that the map was put to, which is made again.
Status gradient_affine_grid(const Call&, Gradient& g) {
  g[Work::mac] = g.run[Work::mac];
  g.again[Work::mul] += g.run[Work::mul];
  g.again[Work::add] += g.run[Work::add];
  return {};
}

// ImageDecoder. ----------------------------------------------------------------------------------------------------

Status infer_decode(const Call& c, Outputs& out) {
  if (Status status = one_of(c, "pixel_format", {"RGB", "BGR", "Grayscale"}); !status) return status;
  const Dim height = out.symbol("height", "height of the decoded image");
  const Dim width = out.symbol("width", "width of the decoded image");
  out.set(0, DType::u8, Shape{height, width, c.text("pixel_format", "RGB") == "Grayscale" ? 1 : 3});
  return {};
}

/// Each element: dequantised (mul), two cosine transforms of 8 terms (16 mul, 14 add), rounded and clipped; each pixel
/// then changes its colours (4 mul, 4 add).
Status cost_decode(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::mul] = 17 * y;
  cost[Work::add] = 14 * y;
  cost[Work::convert] = y;
  cost[Work::compare] = 2 * y;
  if (c.out_shape().back().is(3)) {
    const Count pixels = numel(c.out_shape(), 0, 2);
    cost[Work::mul] += 4 * pixels;
    cost[Work::add] += 4 * pixels;
  }
  cost.trust = Trust::estimate;
  cost.because = "as if a baseline JPEG image; its entropy code is not counted";
  return {};
}

}  // namespace

std::vector<Rule> sample_rules() {
  std::vector<Rule> rules = {
      {"grid_sample", "x grid", "An image sampled at given places",
       "d coordinates a place, t = 1 (nearest), 2 (linear) or 4 (cubic) pixels each: by coordinate mul 1, add 1, "
       "compare 2t, "
       "convert 1; linear: add 2; cubic: mul 12, add 14; then k = t^d: mul = k|y| and k a place, add = (k-1)|y|",
       onnx_page("GridSample"), infer_grid_sample, cost_grid_sample,
       onnx({"GridSample"}) + microsoft({"GridSample"}) +
           aten({"grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "_grid_sampler_2d_cpu_fallback",
                 "cudnn_grid_sampler"},
                infer_grid_sample) +
           std::vector<Binding>{{"com.ms.internal.nhwc::GridSample", {}}}},
      {"grid_sample_backward",
       "dy x grid",
       "The gradients of an image that was sampled and of the places",
       "places and weights as of the samples; t^d = k pixels: mul = add = k|dy|, and for the places mul = d(k + 1)|dy| "
       "+ "
       "|grid|, add = dk|dy|; nearest: add = |dy|",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html",
       {},
       cost_grid_sample_backward,
       aten({"grid_sampler_2d_backward", "grid_sampler_3d_backward"}),
       nullptr,
       gradient_like_run},
      {"affine_grid", "theta #size", "Places on a grid under an affine map",
       "mac = |y| * (d + 1) in d dimensions; mul = add = one for each coordinate of each axis", onnx_page("AffineGrid"),
       infer_affine_grid, cost_affine_grid, onnx({"AffineGrid"}) + aten({"affine_grid_generator"}, {}, "x")},
      {"center_crop_pad", "x #shape", "The middle of a tensor, or a margin around it", "none: moves data only",
       onnx_page("CenterCropPad"), infer_center, cost_center, onnx({"CenterCropPad"})},
      {"crop_and_resize", "x rois batch #crop", "Regions of an image, resampled to one size",
       "by row and column of each region: mul 1, add 1, compare 2, convert 1, bilinear: add 2; bilinear: mul = 4|y| "
       "and 4 a "
       "position, add = 3|y|",
       contrib_doc("CropAndResize"), infer_crop_resize, cost_crop_resize, microsoft({"CropAndResize"})},
      {"image_decoder", "stream", "An image from its file",
       "as a baseline JPEG: mul = 17|y|, add = 14|y|, convert = |y|, compare = 2|y|; colours: mul = add = 4 a pixel",
       onnx_page("ImageDecoder"), infer_decode, cost_decode, onnx({"ImageDecoder"})},
  };
  return with_gradients({{"grid_sample", gradient_grid_sample},
                         {"affine_grid", gradient_affine_grid},
                         {"center_crop_pad", gradient_moves()},
                         {"crop_and_resize", gradient_crop_resize},
                         {"image_decoder", NoGradient{"of the bytes of a file"}}},
                        std::move(rules));
}

}  // namespace macsim::rules
