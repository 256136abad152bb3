// Regions of interest: pooling and aligning them, and choosing among overlapping boxes.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/pool.hpp"
#include "rules/support.hpp"

namespace macsim::rules {
namespace {

enum : std::size_t { kX, kRois };

// Pooling of regions. ----------------------------------------------------------------------------------------------

Status set_regions(const Call& c, Outputs& out, const Dim& height, const Dim& width) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if ((c.ranked(kX) && c.shape(kX).size() != 4) || (c.ranked(kRois) && c.shape(kRois).size() != 2)) {
    return bad(std::string(c.op()) + " of the shapes " + text(c.shape(kX)) + " and " + text(c.shape(kRois)));
  }
  out.set(0, dtype, Shape{c.in(kRois).shape[0], c.in(kX).shape[1], height, width});
  return {};
}

Status infer_max_roi(const Call& c, Outputs& out) {
  const Span<std::int64_t> pooled = c.integers("pooled_shape");
  if (pooled.size() != 2) return bad("MaxRoiPool: pooled_shape needs two sizes");
  return set_regions(c, out, pooled[0], pooled[1]);
}

/// Cells of a region share at most the row and the column on their border, so all of them together hold at most
/// (height + rows of cells) * (width + columns of cells) elements.
Status cost_max_roi(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Shape& y = c.out_shape();
  cost[Work::compare] = y[0] * y[1] * (x[2] + y[2]) * (x[3] + y[3]);
  cost.trust = Trust::bound;
  cost.because = "every region is taken to be the whole image";
  return {};
}

/// As torch calls them the second result says where each came from. Where every cell has channels of its own, `spread`,
/// there are as many fewer of the result.
template <bool Spread>
Status torch_regions(const Call& c, Outputs& out) {
  const Dim height = c.integer("output_height", 1), width = c.integer("output_width", 1);
  if (Status status = set_regions(c, out, height, width); !status) return status;
  if (!c.ranked(kX) || !c.ranked(kRois)) return {};
  const Dim& channels = c.shape(kX)[1];
  const Shape y{c.shape(kRois)[0], Spread ? quotient(c, channels, height * width) : channels, height, width};
  out.set(0, c.dtype(kX), y);
  out.set(1, DType::i32, y);
  return {};
}

Status infer_roi_align(const Call& c, Outputs& out) {
  return set_regions(c, out, c.integer("output_height", 1), c.integer("output_width", 1));
}

/// A sample: its place (2 mul, 2 add), kept inside (4 compare), the pixels around it (2 convert), distances to them
/// (4 add) and their products (4 mul) are one for all channels; each channel then takes 4 mul and 3 add.
Status cost_roi_align(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Shape& y = c.out_shape();
  const std::int64_t ratio = c.integer("sampling_ratio", 0);
  const Count samples_a_cell = ratio > 0 ? Count(ratio) * ratio : ceil_div(x[2], y[2]) * ceil_div(x[3], y[3]);
  const Count samples = y[0] * y[2] * y[3] * samples_a_cell;
  const Count blends = samples * y[1];
  cost[Work::mul] = 6 * samples + 4 * blends;
  cost[Work::add] = 6 * samples + 3 * blends;
  cost[Work::compare] = 4 * samples;
  cost[Work::convert] = 2 * samples;
  if (Status status = one_of(c, "mode", {"avg", "max"}); !status) return status;
  const bool average = c.text("mode", "avg") == "avg";
  cost[average ? Work::add : Work::compare] += blends - numel(y);
  if (average) cost[Work::div] = numel(y);
  if (ratio <= 0) {
    cost.trust = Trust::bound;
    cost.because = "every region is taken to be the whole image";
  }
  return {};
}

/// Regions are data. Each sample's gradient times its four weights is added to its pixels; the weights are made again.
Status gradient_roi_align(const Call& c, Gradient& g) {
  const Count samples = floor_div(g.run[Work::convert], 2), y = numel(c.out_shape());
  const bool average = c.text("mode", "avg") == "avg";
  const Count moved = average ? floor_div(g.run[Work::mul] - 6 * samples, 4) : y;  // samples that have a gradient
  for (const Work kind : {Work::compare, Work::convert}) g.again[kind] += g.run[kind];
  for (const Work kind : {Work::mul, Work::add}) g.again[kind] += 6 * samples;
  if (average) g[Work::div] += y;
  g[Work::mul] += 4 * moved;
  g[Work::add] += 4 * moved;
  for (std::size_t i = 1; i < c.inputs(); ++i) g.none_at(i);
  g.keep(1);
  estimated(g, "four pixels for each sample");
  return {};
}

/// Added where the largest was.
Status gradient_region_max(const Call& c, Gradient& g) {
  g[Work::add] += numel(c.out_shape());
  for (std::size_t i = 1; i < c.inputs(); ++i) g.none_at(i);
  g.keep_bytes(bytes(DType::i64, numel(c.out_shape())));
  return {};
}

// Non-maximum suppression. -----------------------------------------------------------------------------------------

enum : std::size_t { kBoxes, kScores, kMost, kOverlap, kThreshold };

/// Boxes that one class of one image can keep at most.
Dim most_boxes(const Call& c) {
  const Dim boxes = unify(c, c.shape(kBoxes)[1], c.shape(kScores)[2], "numbers of boxes");
  if (!c.has(kMost)) return 0;
  const Dim most = single(c, kMost);
  return most.defined() ? smaller(c, at_least_zero(c, most), boxes) : boxes;
}

Status infer_nms(const Call& c, Outputs& out) {
  Dim most = Dim::undefined();
  if (c.ranked(kBoxes) && c.ranked(kScores)) {
    if (c.shape(kBoxes).size() != 3 || c.shape(kScores).size() != 3) {
      out.unranked(0, DType::i64);
      return bad("NonMaxSuppression of the shapes " + text(c.shape(kBoxes)) + " and " + text(c.shape(kScores)));
    }
    most = most_boxes(c) * c.shape(kScores)[0] * c.shape(kScores)[1];
  }
  if (most.is(0)) {
    out.set(0, DType::i64, Shape{0, 3});
    return {};
  }
  const std::string limit = most.defined() ? ", at most " + most.str() : "";
  out.set(0, DType::i64, Shape{out.symbol("n", "boxes that are kept" + limit), 3});
  return {};
}

/// The best box is looked for as often as one may be kept, and compared with all others: overlap (4 compare, 2 add),
/// not negative (2 compare), its area (1 mul) over the union's (2 add, 1 div), against the threshold (1 compare).
Status cost_nms(const Call& c, Cost& cost) {
  const Shape& scores = c.shape(kScores);
  const Dim& boxes = scores[2];
  const Count rounds = scores[0] * scores[1] * most_boxes(c);
  const Count pairs = rounds * boxes;
  cost[Work::compare] = 8 * pairs;
  cost[Work::add] = 4 * pairs + 2 * scores[0] * boxes;
  cost[Work::mul] = pairs + scores[0] * boxes;
  cost[Work::div] = pairs;
  if (c.has(kThreshold)) cost[Work::compare] += numel(scores);
  cost.trust = Trust::bound;
  cost.because = "as if every box that is looked at stayed until the end";
  if (c.integer("center_point_box", 0) != 0) {  // corners first
    cost[Work::mul] += 2 * scores[0] * boxes;
    cost[Work::add] += 4 * scores[0] * boxes;
  }
  return {};
}

/// Of one class of one image; all boxes may stay.
Status cost_torch_nms(const Call& c, Cost& cost) {
  const Count boxes = numel(c.shape(kScores));
  const Count pairs = boxes * boxes;
  cost[Work::compare] = 8 * pairs;
  cost[Work::add] = 4 * pairs + 2 * boxes;
  cost[Work::mul] = pairs + boxes;
  cost[Work::div] = pairs;
  cost.trust = Trust::bound;
  cost.because = "as if every box that is looked at stayed until the end";
  return {};
}

}  // namespace

std::vector<Rule> region_rules() {
  const Text pooled = "pooled_height=output_height pooled_width=output_width";
  std::vector<Rule> rules = {
      {"max_roi_pool", "x rois", "Largest element of each cell of regions",
       "compare <= rois * channels * (h + cells_y) * (w + cells_x)", onnx_page("MaxRoiPool"), infer_max_roi,
       cost_max_roi, onnx({"MaxRoiPool"}) + aten({"torchvision::roi_pool"}, torch_regions<false>, "x rois", pooled)},
      {"roi_align", "x rois batch", "Regions sampled bilinearly on a grid",
       "s samples, one for sampling_ratio^2 in each cell: mul = 6s + 4*channels*s; add = 6s + 3*channels*s; compare = "
       "4s; "
       "convert = 2s; average: add channels*s - |y|, div |y|; max: compare channels*s - |y|",
       onnx_page("RoiAlign"), infer_roi_align, cost_roi_align,
       onnx({"RoiAlign"}) + aten({"torchvision::roi_align"}, infer_roi_align, "x rois", pooled) +
           aten({"torchvision::ps_roi_align"}, torch_regions<true>, "x rois", pooled)},
      {"non_max_suppression", "boxes scores #most #overlap #threshold", "Boxes that do not overlap a better one",
       "p = batches * classes * boxes_kept * boxes pairs: compare <= 8p; add <= 4p; mul = div <= p; areas once a box; "
       "the "
       "scores' threshold one compare each",
       onnx_page("NonMaxSuppression"), infer_nms, cost_nms,
       onnx({"NonMaxSuppression"}) + aten(
                                         {"torchvision::nms"}, [](const Call&, Outputs&) { return Status(); },
                                         "boxes scores", {}, cost_torch_nms)},
  };
  return with_gradients({{"max_roi_pool", gradient_region_max},
                         {"roi_align", gradient_roi_align},
                         {"non_max_suppression", NoGradient{"its results are no real numbers"}}},
                        std::move(rules));
}

}  // namespace macsim::rules
