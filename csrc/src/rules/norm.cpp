// Normalisation: batch, instance, layer, group, rms, local response, lp, mean-variance.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/norm.hpp"

#include <algorithm>
#include <string>

#include "rules/aten.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/quant.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {

namespace norm {

void moments(Cost& cost, const Count& rows, const Count& n) {
  const Count x = rows * n;
  cost[Work::add] += 3 * x - 2 * rows;  // the sum, centring, the sum of squares
  cost[Work::mul] += x;
  cost[Work::div] += 2 * rows;
}

void deviation(Cost& cost, const Count& rows) {
  cost[Work::add] += rows;
  cost[Work::sqrt] += rows;
  cost[Work::div] += rows;
}

void layer(Cost& cost, const Count& rows, const Count& n, bool scaled, bool biased) {
  const Count x = rows * n;
  moments(cost, rows, n);
  deviation(cost, rows);
  cost[Work::mul] += scaled ? 2 * x : x;
  if (biased) cost[Work::add] += x;
}

void of_rows(Gradient& g, const Count& rows, const Count& n, bool centred, bool scaled) {
  const Count x = rows * n;
  if (scaled) g[Work::mul] += x;
  g[Work::mul] += 3 * x;  // the product that is summed, its share of each element, the deviation
  g[Work::add] += x - rows + x;
  g[Work::div] += rows;
  if (centred) {
    g[Work::add] += x - rows + x;
    g[Work::div] += rows;
  }
}

void gradient(Gradient& g, const Count& rows, const Count& n, bool centred, bool scaled) {
  const Count x = rows * n;
  // The normalised elements are made again from x and what is kept of each row.
  g.again[Work::mul] += x;
  if (centred) g.again[Work::add] += x;
  if (g.needs(0)) of_rows(g, rows, n, centred, scaled);
  g.keep(0);
  g.keep(1);
  g.keep_bytes((centred ? 2 : 1) * bytes(DType::f32, rows));
}

void gradient_affine(Gradient& g, const Count& x, const Count& scales) {
  if (g.needs(1)) {
    g[Work::mul] += x;
    g[Work::add] += x - scales;
  }
  if (g.needs(2)) g[Work::add] += x - scales;
}

}  // namespace norm

namespace {

enum : std::size_t { kX, kScale, kBias };

// Batch. -----------------------------------------------------------------------------------------------------------

enum : std::size_t { kMean = 3 };

bool trains(const Call& c) {
  if (c.version() >= 14) return c.integer("training_mode", 0) != 0;
  if (c.version() < 7) return c.integer("is_test", 0) == 0;
  return c.wants(1) || c.wants(2) || c.wants(3) || c.wants(4);
}

Status infer_batch_norm(const Call& c, Outputs& out) {
  out.set(0, c.in(kX));
  for (std::size_t i = 1; i < 5; ++i)
    out.set(i, Type{c.dtype(kMean), Kind::tensor, c.ranked(kMean), c.in(kMean).shape, {}});
  return {};
}

/// Inference: alpha = scale / sqrt(var + eps) and beta = b - mean * alpha once a channel, then alpha * x + beta.
Status cost_batch_norm(const Call& c, Cost& cost) {
  const Count x = numel(c.shape(kX)), channels = numel(c.shape(kScale));
  if (!trains(c)) {
    cost[Work::mul] = x + channels;
    cost[Work::add] = x + 2 * channels;
    cost[Work::sqrt] = channels;
    cost[Work::div] = channels;
    return {};
  }
  norm::moments(cost, channels, quotient(c, x, channels));
  norm::deviation(cost, channels);  // the reciprocal is scale / sqrt(var + eps)
  cost[Work::mul] += x + 4 * channels;
  cost[Work::add] += x + 2 * channels;
  return {};
}

bool by_batch(const Call& c) {
  if (c.dialect() == "aten") return !c.has(kMean) || c.integer("training", c.integer("train", 0)) != 0;
  return trains(c);
}

/// By the statistics of the batch they get their share; by known ones each element's gradient is scaled. They get none
/// themselves.
Status gradient_batch_norm(const Call& c, Gradient& g) {
  const Shape& shape = c.shape(kX);
  const Count x = numel(shape), channels = shape.size() > 1 ? Count(shape[1]) : Count(1);
  for (const std::size_t slot : {std::size_t{kMean}, std::size_t{kMean} + 1}) g.none(slot);
  if (by_batch(c)) {
    norm::gradient(g, channels, quotient(c, x, channels), true, false);
    norm::gradient_affine(g, x, channels);
    return {};
  }
  if (g.needs(kX)) g[Work::mul] += x + channels;
  if (g.needs(kScale)) {
    g.again[Work::add] += x;
    g.again[Work::mul] += channels;
    g.keep(kX);
    g.keep(kMean);
  }
  norm::gradient_affine(g, x, channels);
  g.keep(kScale);
  g.keep(kMean + 1);
  return {};
}

// Instance and group. ----------------------------------------------------------------------------------------------

/// Rows over which scale and bias do not change: one factor a row, scale / sqrt(variance + eps).
void even_rows(Cost& cost, const Count& rows, const Count& x, const Count& n) {
  norm::moments(cost, rows, n);
  norm::deviation(cost, rows);
  cost[Work::mul] += x;
  cost[Work::add] += x;
}

Status cost_instance_norm(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad("InstanceNormalization needs a batch and channels, and has " + text(x));
  const bool last = c.dialect() == "com.ms.internal.nhwc";
  const Count rows = x[0] * x[last ? x.size() - 1 : 1];
  const std::size_t first = last ? 1 : 2;
  even_rows(cost, rows, numel(x), numel(x, first, first + x.size() - 2));
  if (const std::string_view name = c.text("activation", {}); !name.empty())
    work::fused_activation(cost, name, numel(x));
  return {};
}

Status cost_group_norm(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const std::int64_t groups = c.integer("num_groups", c.integer("groups", 0));
  if (x.size() < 2 || groups <= 0) return bad("a group normalisation needs groups and channels, and has " + text(x));
  const Count rows = x[0] * groups;
  const Count n = quotient(c, numel(x, 1), groups);
  if (c.dialect() == "onnx" && c.version() < 21) {  // scale and bias of each group
    even_rows(cost, rows, numel(x), n);
  } else {
    norm::layer(cost, rows, n, true, true);
  }
  if (c.integer("activation", 0) == 1) work::activation(cost, "silu", numel(x));
  if (const std::int64_t stash = c.integer("stash_type", 0); stash != 0) cost.compute = dtype_from_onnx(stash);
  return {};
}

// Layer and rms. ---------------------------------------------------------------------------------------------------

DType stash_of(const Call& c) { return dtype_from_onnx(c.integer("stash_type", 1)); }

Status infer_rows(const Call& c, Outputs& out, DType dtype) {
  out.set(0, Type{dtype, Kind::tensor, c.ranked(kX), c.in(kX).shape, {}});
  out.unranked(1, stash_of(c));
  out.unranked(2, stash_of(c));
  if (!c.ranked(kX) || c.outputs() < 2) return {};
  Shape rows = c.shape(kX);
  const auto axis = axis_in(c.integer("axis", -1), rows.size());
  if (!axis) return bad(std::string(c.op()) + ": the axis does not fit the shape " + text(rows));
  for (std::size_t i = *axis; i < rows.size(); ++i) rows[i] = 1;
  out.set(1, stash_of(c), rows);
  out.set(2, stash_of(c), rows);
  return {};
}

Status infer_layer_norm(const Call& c, Outputs& out) { return infer_rows(c, out, c.dtype(kX)); }
Status infer_rms_norm(const Call& c, Outputs& out) {
  return infer_rows(c, out, c.dtype(kScale) != DType::unknown ? c.dtype(kScale) : c.dtype(kX));
}

Status cost_layer_norm(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const auto axis = axis_in(c.integer("axis", -1), x.size());
  if (!axis) return bad(std::string(c.op()) + ": the axis does not fit the shape " + text(x));
  norm::layer(cost, numel(x, 0, *axis), numel(x, *axis), c.has(kScale), c.has(kBias));
  cost.compute = stash_of(c);
  return {};
}

Status cost_rms_norm(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const auto axis = axis_in(c.integer("axis", -1), x.size());
  if (!axis) return bad(std::string(c.op()) + ": the axis does not fit the shape " + text(x));
  work::rms_norm(cost, numel(x, 0, *axis), numel(x, *axis), c.has(kScale));
  cost.compute = stash_of(c);
  return {};
}

// Local response, lp, mean-variance. -------------------------------------------------------------------------------

Status cost_lrn(const Call& c, Cost& cost) {
  const Count x = numel(c.shape(kX));
  const std::int64_t size = c.integer("size", 0);
  if (size <= 0) return bad("LRN: size must be positive");
  cost[Work::mul] = 2 * x;     // squares, alpha / size
  cost[Work::add] = size * x;  // the window's sum (size - 1), bias
  cost[Work::div] = x;
  const double beta = c.real("beta", 0.75);
  if (beta == 0.5) {
    cost[Work::sqrt] = x;
  } else if (beta != 1) {
    cost[Work::log] = cost[Work::exp] = x;
    cost[Work::mul] += x;
  }
  return {};
}

Status cost_lp_norm(const Call& c, Cost& cost) {
  const Shape& shape = c.shape(kX);
  const auto axis = axis_in(c.integer("axis", -1), shape.size());
  if (!axis) return bad("LpNormalization: the axis does not fit the shape " + text(shape));
  const Count x = numel(shape);
  const Count rows = numel(shape, 0, *axis) * numel(shape, *axis + 1);
  cost[Work::add] = x - rows;
  cost[Work::div] = x;
  if (c.integer("p", 2) == 1) {
    cost[Work::logic] = x;
  } else {
    cost[Work::mul] = x;
    cost[Work::sqrt] = rows;
  }
  return {};
}

Status cost_mean_variance(const Call& c, Cost& cost) {
  const Shape& shape = c.shape(kX);
  static constexpr std::int64_t kDefault[] = {0, 2, 3};
  const Span<std::int64_t> axes = c.has_attr("axes") ? c.integers("axes") : Span<std::int64_t>(kDefault, 3);
  const auto normal = axes_in(axes, shape.size());
  if (!normal) return bad("MeanVarianceNormalization: axes do not fit the shape " + text(shape));
  Count rows = 1, n = 1;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    (std::find(normal->begin(), normal->end(), axis) != normal->end() ? n : rows) *= shape[axis];
  }
  norm::layer(cost, rows, n, false, false);
  return {};
}

// As torch calls them. ----------------------------------------------------------------------------------------------

/// Scale, bias and statistics have an element for each channel.
Status by_channel(const Call& c, Outputs& out, std::size_t slots) {
  const Shape& x = c.shape(kX);
  for (std::size_t slot = kScale; x.size() > 1 && slot < slots; ++slot)
    if (c.has(slot) && c.ranked(slot)) unify(c, x[1], numel(c.shape(slot)), "the channels and what is kept of each");
  return aten_same(c, out);
}

Status aten_batch_norm(const Call& c, Outputs& out) {
  if (c.outputs() != 1) return {};  // with statistics: torch tells their sizes
  return by_channel(c, out, 5);
}

Status aten_instance_norm(const Call& c, Outputs& out) { return by_channel(c, out, 5); }

Status aten_group_norm(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const std::int64_t groups = c.integer("num_groups", 1);
  if (groups <= 0 || (x.size() > 1 && x[1].is_constant() && !modulo(x[1], groups).is(0))) return {};  // torch says why
  return by_channel(c, out, 3);
}

Status aten_layer_norm(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const auto stated = c.integers("normalized_shape");
  if (stated.size() > x.size()) return {};  // torch says what is wrong
  for (std::size_t i = 0; i < stated.size(); ++i)
    unify(c, x[x.size() - stated.size() + i], stated[i], "the last sizes and those that are normalised");
  return aten_same(c, out);
}

/// By known means and variances: alpha and beta once a channel, as in cost_batch_norm; without a bias beta is a
/// product.
void by_statistics(Cost& cost, const Count& x, const Count& channels, bool biased) {
  cost[Work::mul] = x + channels;
  cost[Work::add] = x + channels;
  if (biased) cost[Work::add] += channels;
  cost[Work::sqrt] = cost[Work::div] = channels;
}

// Evaluation, whatever the module's flag, unless it keeps no means. Scale and bias may be left out.
Status cost_aten_batch_norm(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Count channels = x.size() > 1 ? Count(x[1]) : Count(1);
  if (c.has(kMean)) {
    by_statistics(cost, numel(x), channels, c.has(kBias));
    return {};
  }
  even_rows(cost, channels, numel(x), quotient(c, numel(x), channels));
  if (!c.has(kBias)) cost[Work::add] -= numel(x);
  return {};
}

Status cost_aten_instance_norm(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad("an instance normalisation needs a batch and channels, and has " + text(x));
  const Count rows = x[0] * x[1];
  if (c.integer("use_input_stats", 1) == 0) {
    by_statistics(cost, numel(x), rows, c.has(kBias));
    return {};
  }
  even_rows(cost, rows, numel(x), numel(x, 2));
  if (!c.has(kBias)) cost[Work::add] -= numel(x);
  return {};
}

// Elements of the last axes that are normalised together.
Count row_length(const Call& c) {
  const Shape& x = c.shape(kX);
  const std::size_t axes = c.integers("normalized_shape").size();
  return numel(x, axes < x.size() ? x.size() - axes : 0);
}

Status cost_aten_layer_norm(const Call& c, Cost& cost) {
  const Count n = row_length(c);
  norm::layer(cost, quotient(c, numel(c.shape(kX)), n), n, c.has(kScale), c.has(kBias));
  return {};
}

Status cost_aten_rms_norm(const Call& c, Cost& cost) {
  const Count n = row_length(c);
  work::rms_norm(cost, quotient(c, numel(c.shape(kX)), n), n, c.has(kScale));
  return {};
}

Status cost_aten_group_norm(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const std::int64_t groups = c.integer("num_groups", c.integer("group", 0));
  if (x.size() < 2 || groups <= 0) return bad("a group normalisation needs groups and channels, and has " + text(x));
  norm::layer(cost, x[0] * groups, quotient(c, numel(x, 1), groups), c.has(kScale), c.has(kBias));
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

Status gradient_of_rows(const Call& c, Gradient& g, const Count& rows, const Count& n, bool centred) {
  norm::gradient(g, rows, n, centred, c.has(kScale));
  norm::gradient_affine(g, rows * n, c.has(kScale) ? numel(c.shape(kScale)) : n);
  return {};
}

template <bool Centred>
Status gradient_last_axes(const Call& c, Gradient& g) {
  const Shape& x = c.shape(kX);
  Count n;
  if (c.dialect() == "aten") {
    n = row_length(c);
  } else {
    const auto axis = axis_in(c.integer("axis", -1), x.size());
    if (!axis) return bad("the axis does not fit the shape " + text(x));
    n = numel(x, *axis);
  }
  return gradient_of_rows(c, g, quotient(c, numel(x), n), n, Centred);
}

Status gradient_group_norm(const Call& c, Gradient& g) {
  const Shape& x = c.shape(kX);
  const std::int64_t groups = c.integer("num_groups", c.integer("group", 0));
  if (x.size() < 2 || groups <= 0) return bad("a group normalisation needs groups");
  if (c.integer("activation", 0) != 0) fused_activation_gradient(g, "silu", numel(x));
  return gradient_of_rows(c, g, x[0] * groups, quotient(c, numel(x, 1), groups), true);
}

Status gradient_instance_norm(const Call& c, Gradient& g) {
  const Shape& x = c.shape(kX);
  if (x.size() < 2 || c.dialect() == "com.ms.internal.nhwc" || c.integer("use_input_stats", 1) == 0) {
    return bad("an instance normalisation by statistics of its own");
  }
  return gradient_of_rows(c, g, x[0] * x[1], numel(x, 2), true);
}

/// y = x b^-beta, b = bias + alpha / size * the window's sum of squares: dy b^-beta - x times the window's sum of dy y
/// / b times a constant. b is made again.
Status gradient_lrn(const Call& c, Gradient& g) {
  const Count x = numel(c.shape(kX));
  for (const Work kind : {Work::mul, Work::add, Work::log, Work::exp, Work::sqrt}) g.again[kind] += g.run[kind];
  g[Work::mul] += 3 * x;
  g[Work::div] += 2 * x;
  g[Work::add] += c.integer("size", 1) * x;  // the window's sum (size - 1), the difference
  g.keep(kX);
  g.keep_output();
  return {};
}

/// (dy - y sum(dy y)) / the norm; p = 1: (dy - sign(x) sum(dy y)) / the norm. The norm is made again.
Status gradient_lp_norm(const Call& c, Gradient& g) {
  const Count x = numel(c.shape(kX)), rows = x - g.run[Work::add];
  for (const Work kind : {Work::mul, Work::add, Work::logic, Work::sqrt}) g.again[kind] += g.run[kind];
  g[Work::mul] += 2 * x;
  g[Work::add] += 2 * x - rows;
  g[Work::div] += x;
  if (c.integer("p", 2) == 1) g[Work::logic] += x;
  g.keep(kX);
  g.keep_output();
  return {};
}

/// As a layer normalisation without scale and bias, over the axes that are named.
Status gradient_mean_variance(const Call& c, Gradient& g) {
  const Count x = numel(c.shape(kX)), rows = g.run[Work::sqrt];
  norm::gradient(g, rows, quotient(c, x, rows), true, false);
  return {};
}

std::vector<Binding> with_nhwc(std::string_view op) {
  Binding nhwc;
  nhwc.op = Text::joined({"com.ms.internal.nhwc::", op});
  return onnx({op}) + std::vector<Binding>{nhwc};
}

/// The norm of each row, compared with the greatest that it may have, and the row scaled.
Status cost_renorm_rows(const Call& c, Cost& cost) {
  enum : std::size_t { kTable = 0, kIndices };
  const Shape& table = c.shape(kTable);
  const Count rows = numel(c.shape(kIndices)), n = numel(table, 1);
  const double order = c.real("norm_type", 2);
  cost[Work::add] = rows * (n - 1);
  cost[Work::mul] = rows * n * (order == 2 ? 2 : 1);
  cost[Work::compare] = cost[Work::div] = rows;
  if (order == 2) {
    cost[Work::sqrt] = rows;
  } else {
    cost[Work::logic] = rows * n;
    if (order != 1) cost[Work::exp] = cost[Work::log] = rows * (n + 1);
  }
  cost.trust = Trust::bound;
  cost.because = "as if each index were another row, and each row too long";
  return {};
}

}  // namespace

std::vector<Rule> norm_family() {
  const Text layer =
      "rows of n: mean add n-1, div 1; centre add n; variance mul n, add n-1, div 1; eps add 1, sqrt 1, div 1; "
      "normalise "
      "mul n; ";
  const Text root_mean = "rows of n: squares mul n, add n-1, div 1; eps add 1, sqrt 1, div 1; normalise mul n; ";
  std::vector<Rule> rules = {
      {"batch_norm", "x scale bias mean var", "Normalisation by channel, with stored statistics or those of the batch",
       "C channels: mul = |x| + C; add = |x| + 2C; sqrt = div = C; training: mul = 2|x| + 4C; add = 4|x| + C; div = "
       "3C; "
       "sqrt = C",
       onnx_page("BatchNormalization"), infer_batch_norm, cost_batch_norm,
       with_nhwc("BatchNormalization") +
           aten({"batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
                 "miopen_batch_norm", "_batch_norm_no_update"},
                aten_batch_norm, {}, {}, cost_aten_batch_norm) +
           aten({"quantized::batch_norm", "quantized::batch_norm_relu", "quantized::batch_norm1d",
                 "quantized::batch_norm1d_relu", "quantized::batch_norm2d", "quantized::batch_norm2d_relu",
                 "quantized::batch_norm3d", "quantized::batch_norm3d_relu"},
                aten_same, {}, {}, on_quantised(cost_aten_batch_norm)),
       nullptr, gradient_batch_norm},
      {"instance_norm", "x scale bias", "Normalisation of each channel of each image", layer + "bias add n",
       onnx_page("InstanceNormalization"), infer_same, cost_instance_norm,
       with_nhwc("InstanceNormalization") +
           aten({"instance_norm"}, aten_instance_norm, {}, {}, cost_aten_instance_norm) +
           aten({"quantized::instance_norm"}, aten_same, {}, {}, on_quantised(cost_aten_instance_norm)),
       nullptr, gradient_instance_norm},
      {"group_norm", "x scale bias", "Normalisation of groups of channels",
       layer + "scale by channel mul n (by group: none), bias add n; silu: exp, add, div, mul n",
       onnx_page("GroupNormalization"), infer_same, cost_group_norm,
       onnx({"GroupNormalization"}) + microsoft({"GroupNorm"}) +
           aten({"group_norm"}, aten_group_norm, {}, {}, cost_aten_group_norm) +
           aten({"native_group_norm"}, {}, {}, {}, cost_aten_group_norm) +
           aten({"quantized::group_norm"}, aten_same, {}, {}, on_quantised(cost_aten_group_norm)),
       nullptr, gradient_group_norm},
      {"layer_norm", "x scale bias", "Normalisation over the last axes", layer + "scale mul n; bias add n",
       onnx_page("LayerNormalization"), infer_layer_norm, cost_layer_norm,
       onnx({"LayerNormalization"}) + aten({"layer_norm"}, aten_layer_norm, {}, {}, cost_aten_layer_norm) +
           aten({"native_layer_norm"}, {}, {}, {}, cost_aten_layer_norm) +
           aten({"quantized::layer_norm"}, aten_same, {}, {}, on_quantised(cost_aten_layer_norm)),
       nullptr, gradient_last_axes<true>},
      {"rms_norm", "x scale", "Normalisation by the root of the mean square over the last axes",
       root_mean + "scale mul n", onnx_page("RMSNormalization"), infer_rms_norm, cost_rms_norm,
       onnx({"RMSNormalization", "SimplifiedLayerNormalization"}) +
           aten({"rms_norm", "_fused_rms_norm"}, {}, {}, {}, cost_aten_rms_norm),
       nullptr, gradient_last_axes<false>},
      {"lrn", "x", "Normalisation by the squares of neighbouring channels",
       "mul = 3|x|, add = size*|x|, div = log = exp = |x|; beta = 0.5: sqrt in place of log, mul, exp",
       onnx_page("LRN"), infer_same, cost_lrn, with_nhwc("LRN")},
      {"renorm_rows",
       "table indices",
       "Rows of a table that are looked up made no longer than a given norm",
       "|i| rows of n: mul = 2n|i|, add = (n - 1)|i|, sqrt = compare = div = |i|; norms other than 2: log = exp more: "
       "a "
       "bound",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding.html",
       {},
       cost_renorm_rows,
       aten({"embedding_renorm"}),
       nullptr,
       gradient_view()},
      {"lp_norm", "x", "Division by the norm of each row",
       "add = |x| - rows; div = |x|; p = 2: mul = |x|, sqrt = rows; p = 1: logic = |x|", onnx_page("LpNormalization"),
       infer_same, cost_lp_norm, onnx({"LpNormalization"})},
      {"mean_variance_norm", "x", "Normalisation over chosen axes", layer, onnx_page("MeanVarianceNormalization"),
       infer_same, cost_mean_variance, onnx({"MeanVarianceNormalization"})},
  };
  rules = with_gradients(
      {{"lrn", gradient_lrn}, {"lp_norm", gradient_lp_norm}, {"mean_variance_norm", gradient_mean_variance}},
      std::move(rules));
  for (Rule& rule : fused_norm_rules()) rules.push_back(std::move(rule));
  return with(Access::rows, with(Access::pointwise, {"batch_norm"}, std::move(rules)));
}

}  // namespace macsim::rules
