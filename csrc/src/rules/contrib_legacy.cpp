// Operators of ONNX's early days, and the runtime's own copies and plugins, that its schemas still list under ONNX's
// name. Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/contrib.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

enum : std::size_t { kX };

// Scales and activations. ------------------------------------------------------------------------------------------

Status cost_scale(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  cost[Work::mul] = n;
  if (c.op() == "Affine" || !c.reals("bias").empty()) cost[Work::add] = n;
  return {};
}

Status cost_activation(const Call& c, Cost& cost) {
  work::fused_activation(cost, c.op(), numel(c.shape(kX)));
  return {};
}

// GRUUnit: an update gate (sigmoid) between the new state (tanh) and the old one. ----------------------------------

Status cost_gru_unit(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  work::activation(cost, "sigmoid", n);
  work::activation(cost, "tanh", n);
  cost[Work::mul] += 2 * n;
  cost[Work::add] += 2 * n;
  return {};
}

// Crop, GivenTensorFill, copies. -----------------------------------------------------------------------------------

Status infer_crop(const Call& c, Outputs& out) {
  const auto border = c.integers("border"), scale = c.integers("scale");
  Shape y = c.shape(kX);
  if (c.ranked(kX) && (y.size() != 4 || (border.size() != 4 && scale.size() != 2))) {
    return bad("an image of shape [N, C, H, W] and a border of 4 sizes are needed, not " + text(y));
  }
  if (y.size() == 4) {
    y[2] = scale.size() == 2 ? Dim(scale[0]) : at_least_zero(c, y[2] - border[1] - border[3]);
    y[3] = scale.size() == 2 ? Dim(scale[1]) : at_least_zero(c, y[3] - border[0] - border[2]);
  }
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

Status cost_crop(const Call& c, Cost& cost) {
  work::Reads(c).part(kX, numel(c.out_shape())).into(cost);
  cost.moves("moves data only");
  return {};
}

Status infer_fill(const Call& c, Outputs& out) {
  const DType dtype = c.has(kX) ? c.dtype(kX) : DType::f32;
  Shape y;
  if (!c.has(kX)) {
    for (const std::int64_t size : c.integers("shape")) y.push_back(size);
  } else if (c.integer("input_as_shape", 0) != 0) {
    const auto sizes = c.ints(kX);
    if (!sizes) {
      out.unranked(0, dtype);
      return {};
    }
    for (const Dim& size : *sizes) y.push_back(size);
  } else {
    y = c.shape(kX);
  }
  for (const std::int64_t size : c.integers("extra_shape")) y.push_back(size);
  out.set(0, dtype, std::move(y));
  return {};
}

Status infer_copy(const Call& c, Outputs& out) {
  const Type& x = c.in(kX);
  out.set(0, x);
  const auto size = x.ranked ? numel(x.shape).constant() : std::nullopt;
  if (x.kind == Kind::tensor && (!size || *size > static_cast<std::int64_t>(kMostItems))) return {};
  if (const Contents* known = c.contents(kX)) out.know(0, *known);
  return {};
}

// Plugins of TensorRT. ---------------------------------------------------------------------------------------------

enum : std::size_t { kBoxes, kScores, kAnchors };
enum : std::size_t { kRois, kFeatures };

Status cost_disentangled(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  cost[Work::add] = 2 * n;
  cost[Work::mul] = n;
  return {};
}

Status infer_plugin_nms(const Call& c, Outputs& out) {
  const Dim batch = c.shape(kScores)[0];
  const Dim most = c.integer("max_output_boxes", 0);
  out.set(0, DType::i32, {batch, 1});
  out.set(1, c.dtype(kBoxes), {batch, most, 4});
  out.set(2, c.dtype(kBoxes), {batch, most});
  out.set(3, DType::i32, {batch, most});
  return {};
}

// A pair of boxes: overlap (4 compare, 2 add), not negative (2 compare), its area (1 mul) over the union's (2 add,
// 1 div), against the threshold (1 compare).
Status cost_plugin_nms(const Call& c, Cost& cost) {
  const Count scores = numel(c.shape(kScores));
  const Count pairs = scores * c.integer("max_output_boxes", 0);
  cost[Work::compare] = scores + 7 * pairs;
  cost[Work::add] = 4 * pairs;
  cost[Work::mul] = pairs;
  cost[Work::div] = pairs;
  if (c.integer("score_activation", 0) != 0) work::activation(cost, "sigmoid", scores);
  cost.trust = Trust::bound;
  cost.because = "every score is put against every box that may be kept";
  return {};
}

Status infer_patches(const Call& c, Outputs& out) {
  const Shape& rois = c.shape(kRois);
  const Dim cells = c.integer("pooled_size", 1);
  out.set(0, c.dtype(kFeatures), {rois[0], rois[1], c.shape(kFeatures)[1], cells, cells});
  return {};
}

// A cell is one bilinear sample of every channel: its place (6 mul, 6 add, 4 compare, 2 convert), then 4 mul and 3 add
// a channel. A box finds its level by its size: mul, sqrt, div, log, convert.
Status cost_patches(const Call& c, Cost& cost) {
  const Shape& y = c.out_shape();
  const Count boxes = y[0] * y[1], samples = boxes * y[3] * y[4], n = samples * y[2];
  cost[Work::mul] = 6 * samples + 4 * n + boxes;
  cost[Work::add] = 6 * samples + 3 * n;
  cost[Work::compare] = 4 * samples;
  cost[Work::convert] = 2 * samples + boxes;
  cost[Work::sqrt] = cost[Work::div] = cost[Work::log] = boxes;
  cost.trust = Trust::estimate;
  cost.because = "one sample a cell; which level a box is read from depends on its size";
  return {};
}

Rule row(Text name, Text slots, Text summary, Text formula, std::initializer_list<std::string_view> ops, InferFn infer,
         CostFn cost) {
  return {std::move(name),
          std::move(slots),
          std::move(summary),
          std::move(formula),
          "https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/graph/contrib_ops/contrib_defs.cc",
          std::move(infer),
          std::move(cost),
          onnx(ops),
          nullptr};
}

}  // namespace

std::vector<Rule> legacy_rules() {
  const Text plugin_reference = "https://github.com/NVIDIA/TensorRT/tree/main/plugin";
  std::vector<Rule> rules = {
      row("early_scale", "x", "Scaled and shifted by constants", "mul = |x|; add = |x| with a shift",
          {"Affine", "ImageScaler", "Scale"}, infer_same, cost_scale),
      row("early_activation", "x", "Activations that are no longer in ONNX",
          "ParametricSoftplus: mul = 2|x|, exp = add = log = |x|; ScaledTanh: mul = 2|x|, exp = |x|",
          {"ParametricSoftplus", "ScaledTanh"}, infer_same, cost_activation),
      row("gru_unit", "hidden gates lengths #t", "The new state of a GRU from its gates",
          "mul = add = |hidden| * 2; and a sigmoid and a tanh of |hidden|", {"GRUUnit"}, infer_same, cost_gru_unit),
      row("crop", "x", "An image without its border", "no work; reads |y|, writes |y|", {"Crop"}, infer_crop,
          cost_crop),
      row("given_tensor_fill", "#shape", "A constant tensor", "no work; writes |y|", {"GivenTensorFill"}, infer_fill,
          cost_moves("moves data only")),
      row("memory_copy", "x", "A copy from one memory to another", "no work; reads |x|, writes |x|",
          {"MemcpyFromHost", "MemcpyToHost"}, infer_copy, cost_moves("moves data only")),
      row("disentangled_attention", "c2c c2p p2c", "Three kinds of attention scores joined", "add = 2|y|; mul = |y|",
          {"DisentangledAttention_TRT"}, infer_same, cost_disentangled),
      row("plugin_nms", "boxes scores anchors", "Boxes that do not overlap",
          "p = scores * boxes_kept pairs: compare <= 7p + scores; add <= 4p; mul = div <= p", {"EfficientNMS_TRT"},
          infer_plugin_nms, cost_plugin_nms),
      row("plugin_patches", "rois p0 p1 p2 p3", "Boxes cut out of the level of a pyramid that fits them",
          "s cells, n = s * channels: mul = 6s + 4n + boxes; add = 6s + 3n; compare = 4s; convert = 2s + boxes; sqrt = "
          "div = log = boxes",
          {"MultilevelCropAndResize_TRT", "PyramidROIAlign_TRT"}, infer_patches, cost_patches),
  };
  for (std::size_t i = rules.size() - 3; i < rules.size(); ++i) rules[i].reference = plugin_reference;
  return with_gradients({{"early_scale", gradient_each({{Work::mul, 1}}, Keeps::nothing)},
                         {"early_activation", gradient_of_network},
                         {"gru_unit", gradient_of_network},
                         {"crop", gradient_moves()},
                         {"given_tensor_fill", NoGradient{"it has no inputs"}},
                         {"memory_copy", gradient_moves()},
                         {"disentangled_attention", gradient_of_network},
                         {"plugin_nms", NoGradient{"boxes are chosen, not computed"}},
                         {"plugin_patches", gradient_of_network}},
                        std::move(rules));
}

}  // namespace macsim::rules
