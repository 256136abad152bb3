// Normalisation fused with skip connections, embeddings, gates and streams.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <array>
#include <string>

#include "rules/elements.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/norm.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

constexpr std::size_t kX = 0;

// Skip. ------------------------------------------------------------------------------------------------------------

enum : std::size_t { kSkip = 1, kGamma, kBeta, kBias };

Status infer_skip_norm(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  const Type x{dtype, Kind::tensor, c.ranked(kX), c.in(kX).shape, {}};
  out.set(0, x);
  if (c.outputs() < 2) return {};
  out.set(3, x);
  Type rows = x;
  rows.dtype = DType::f32;
  if (!rows.shape.empty()) rows.shape.back() = 1;
  out.set(1, rows);
  out.set(2, rows);
  return {};
}

Status cost_skip_norm(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  if (x.empty()) return bad(std::string(c.op()) + " needs a row to normalise");
  const Count all = numel(x), rows = numel(x, 0, x.size() - 1);
  cost[Work::add] = c.has(kBias) ? 2 * all : all;
  if (c.op() == "SkipSimplifiedLayerNormalization") {
    work::rms_norm(cost, rows, x.back(), true);
  } else {
    norm::layer(cost, rows, x.back(), true, c.has(kBeta));
  }
  return {};
}

Status infer_skip_group_norm(const Call& c, Outputs& out) {
  out.set(1, c.in(kX));
  return infer_same(c, out);
}

Status cost_skip_group_norm(const Call& c, Cost& cost) {
  enum : std::size_t { kOffset = 4 };
  const Shape& x = c.shape(kX);
  const std::int64_t groups = c.integer("groups", 0);
  if (x.size() < 2 || groups <= 0) return bad("SkipGroupNorm needs groups and channels, and has " + text(x));
  const Count all = numel(x);
  cost[Work::add] = c.has(kOffset) ? 2 * all : all;
  norm::layer(cost, x[0] * groups, quotient(c, numel(x, 1), groups), true, true);
  if (c.integer("activation", 0) == 1) work::activation(cost, "silu", all);
  return {};
}

/// As of a normalisation of the sum, which every addend gets; what was spread sums it. The sum is kept.
Status gradient_skipped(const Call& c, Gradient& g, const Count& rows, const Count& n, bool centred,
                        const std::array<std::size_t, 3>& addends, std::size_t gamma, std::size_t beta) {
  const Count x = rows * n;
  bool any = false;
  for (const std::size_t slot : addends) {
    if (!g.needs(slot)) continue;
    any = true;
    add_spread(g, c.out_shape(), c.shape(slot));
  }
  g.again[Work::mul] += x;
  if (centred) g.again[Work::add] += x;
  if (any) norm::of_rows(g, rows, n, centred, true);
  if (g.needs(gamma)) {
    g[Work::mul] += x;
    g[Work::add] += x - numel(c.shape(gamma));
  }
  if (g.needs(beta)) g[Work::add] += x - numel(c.shape(beta));
  g.keep(gamma);
  g.keep_bytes(bytes(c.out()) + (centred ? 2 : 1) * bytes(DType::f32, rows));
  return {};
}

Status gradient_skip_norm(const Call& c, Gradient& g) {
  const Shape& x = c.shape(kX);
  if (x.empty()) return bad(std::string(c.op()) + " needs a row to normalise");
  const bool centred = c.op() != "SkipSimplifiedLayerNormalization";
  return gradient_skipped(c, g, numel(x, 0, x.size() - 1), x.back(), centred, {kX, kSkip, kBias}, kGamma, kBeta);
}

Status gradient_skip_group_norm(const Call& c, Gradient& g) {
  enum : std::size_t { kScales = 1, kShifts, kAdded, kOffset };
  const Shape& x = c.shape(kX);
  const std::int64_t groups = c.integer("groups", 0);
  if (x.size() < 2 || groups <= 0) return bad("SkipGroupNorm needs groups and channels, and has " + text(x));
  if (c.integer("activation", 0) == 1) fused_activation_gradient(g, "silu", numel(x));
  return gradient_skipped(c, g, x[0] * groups, quotient(c, numel(x, 1), groups), true, {kX, kAdded, kOffset}, kScales,
                          kShifts);
}

// Embeddings. ------------------------------------------------------------------------------------------------------

/// Canonical slots of both kinds of embedding; the quantised one has scales and zero points behind them.
enum : std::size_t {
  kIds,
  kSegmentIds,
  kWords,
  kPositions,
  kSegments,
  kScale,
  kOffset,
  kMask,
  kPositionIds,
  kParameters
};

Status infer_embed_norm(const Call& c, Outputs& out) {
  constexpr std::size_t kWordScale = kParameters;
  const DType dtype = c.has(kWordScale) ? c.dtype(kWordScale) : c.dtype(kWords);
  const Shape& ids = c.in(kIds).shape;
  if (c.ranked(kIds) && ids.size() != 2) {
    out.unranked(0, dtype);
    return bad("an embedding of ids of the shape " + text(ids));
  }
  const Shape y{ids[0], ids[1], c.in(kWords).shape.back()};
  out.set(0, dtype, y);
  out.set(1, DType::i32, Shape{ids[0]});
  out.set(2, dtype, y);
  return {};
}

Status cost_embed_norm(const Call& c, Cost& cost) {
  const Shape& y = c.out_shape();
  const Count all = numel(y), rows = y[0] * y[1];
  const bool segments = c.has(kSegments);
  cost[Work::add] = segments ? 2 * all : all;
  norm::layer(cost, rows, y[2], true, true);
  if (c.has(kMask)) cost[Work::add] += numel(c.shape(kMask)) - y[0];  // ones of each row
  work::Reads reads(c);
  reads.all(kIds);
  reads.all(kSegmentIds);
  reads.part(kWords, all);
  reads.part(kPositions, c.has(kPositionIds) ? all : y[1] * y[2]);
  if (segments) reads.part(kSegments, all);
  for (const std::size_t slot : {kScale, kOffset, kMask, kPositionIds}) reads.all(slot);
  if (c.has(kParameters)) {  // quantised: (q - zero) * scale of each row that is looked up, of gamma and of beta
    for (std::size_t slot = kParameters; slot < kParameters + 10; ++slot) reads.all(slot);
    const Count looked_up = (segments ? 3 : 2) * all + 2 * y[2];
    for (const Work work : {Work::convert, Work::add, Work::mul}) cost[work] += looked_up;
  }
  reads.into(cost);
  cost.compute = c.out().dtype;
  return {};
}

/// As of a normalisation; each table adds up the rows that were looked up.
Status gradient_embed_norm(const Call& c, Gradient& g) {
  const Shape& y = c.out_shape();
  const Count all = numel(y), rows = y[0] * y[1];
  bool any = false;
  for (const std::size_t table : {kWords, kPositions, kSegments}) {
    if (!g.needs(table)) continue;
    any = true;
    g[Work::add] += all;
  }
  if (any || g.needs(kScale)) {
    g.again[Work::mul] += all;
    g.again[Work::add] += all;
  }
  if (any) norm::of_rows(g, rows, y[2], true, true);
  if (g.needs(kScale)) {
    g[Work::mul] += all;
    g[Work::add] += all - y[2];
  }
  if (g.needs(kOffset)) g[Work::add] += all - y[2];
  for (const std::size_t slot : {kIds, kSegmentIds, kPositionIds, kScale}) g.keep(slot);
  g.keep_bytes(bytes(c.out()) + 2 * bytes(DType::f32, rows));
  return {};
}

// Quantised. -------------------------------------------------------------------------------------------------------

Status cost_ordered_norm(const Call& c, Cost& cost) {
  enum : std::size_t { kXScale = 1, kWeight, kShift };
  const Shape& x = c.shape(kX);
  const auto axis = axis_in(c.integer("axis", -1), x.size());
  if (!axis) return bad("QOrderedLayerNormalization: the axis does not fit the shape " + text(x));
  const Count all = numel(x);
  norm::layer(cost, numel(x, 0, *axis), numel(x, *axis), true, c.has(kShift));
  cost[Work::convert] += 2 * all;
  cost[Work::mul] += 2 * all;
  cost[Work::compare] += 2 * all;
  cost.compute = c.dtype(kWeight);
  return {};
}

/// Through the gate (dy n(x) gate', dy gate), then as of an RMS normalisation.
Status gradient_gated_rms(const Call& c, Gradient& g) {
  enum : std::size_t { kWeight = 1, kGate = 2 };
  const Count all = numel(c.shape(kX)), n = numel(c.shape(kWeight)), rows = quotient(c, all, n);
  work::activation(g.again, "sigmoid", all);
  g.again[Work::mul] += 2 * all;
  g[Work::mul] += all;  // dy gate
  if (g.needs(kGate)) {
    g.again[Work::mul] += all;  // n(x) with its scale
    g[Work::mul] += c.text("activation", "silu") == "sigmoid" ? 3 * all : 4 * all;
    g[Work::add] += c.text("activation", "silu") == "sigmoid" ? all : 2 * all;
  }
  if (g.needs(kX)) norm::of_rows(g, rows, n, false, true);
  if (g.needs(kWeight)) {
    g[Work::mul] += all;
    g[Work::add] += all - n;
  }
  for (const std::size_t slot : {std::size_t{kX}, std::size_t{kWeight}, std::size_t{kGate}}) g.keep(slot);
  g.keep_bytes(bytes(DType::f32, rows));
  return {};
}

// Gates and streams. -----------------------------------------------------------------------------------------------

Status cost_gated_rms(const Call& c, Cost& cost) {
  enum : std::size_t { kWeight = 1 };
  const Count all = numel(c.shape(kX)), n = numel(c.shape(kWeight));
  work::rms_norm(cost, quotient(c, all, n), n, true);
  work::activation(cost, "sigmoid", all);
  cost[Work::mul] += c.text("activation", "silu") == "sigmoid" ? all : 2 * all;
  cost.compute = DType::f32;
  return {};
}

/// Width of a branch: the last axis, or its part where branches are kept flattened.
Dim branch_width(const Call& c, const Shape& x) {
  const std::int64_t branches = c.integer("num_branches", 0);
  return branches > 0 ? quotient(c, x.back(), branches) : x.back();
}

Status cost_branch_rms(const Call& c, Cost& cost) {
  enum : std::size_t { kWeight = 1 };
  const Shape& x = c.shape(kX);
  const Dim width = branch_width(c, x);
  work::rms_norm(cost, quotient(c, numel(x), width), width, c.has(kWeight));
  cost.compute = DType::f32;
  return {};
}

Status gradient_branch_rms(const Call& c, Gradient& g) {
  const Count all = numel(c.shape(kX)), width = branch_width(c, c.shape(kX)), rows = quotient(c, all, width);
  norm::gradient(g, rows, width, false, c.has(1));
  norm::gradient_affine(g, all, c.has(1) ? numel(c.shape(1)) : width);
  return {};
}

/// Every stream gets its gate's share; every gate a sum over the stream.
Status gradient_pre_mix(const Call& c, Gradient& g) {
  if (c.real("reduction_scale", 1) != 1) g[Work::mul] += numel(c.out_shape());
  return gradient_product(kX, 1, SIZE_MAX)(c, g);
}

Status infer_pre_mix(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const bool flat = c.integer("num_branches", 0) > 0;
  Shape y = c.shape(kX);
  if (y.size() < (flat ? 1U : 2U)) return bad("HyperConnectionPreMix of the shape " + text(y));
  const Dim width = branch_width(c, y);
  if (!flat) y.pop_back();
  y.back() = width;
  out.set(0, dtype, std::move(y));
  return {};
}

Status cost_pre_mix(const Call& c, Cost& cost) {
  cost[Work::mac] = numel(c.shape(kX));
  if (c.real("reduction_scale", 1) != 1) cost[Work::mul] = numel(c.out_shape());
  cost.accumulate = DType::f32;
  return {};
}

Status cost_post_mix(const Call& c, Cost& cost) {
  enum : std::size_t { kBlock = 1, kPostMix, kStreamMix };
  const Count all = numel(c.shape(kX));
  if (c.has(kStreamMix)) cost[Work::mac] = all * c.shape(kStreamMix).back();
  cost[Work::mul] = all;
  cost[Work::add] = all;
  cost.rhs = c.dtype(kStreamMix);
  cost.accumulate = DType::f32;
  return {};
}

enum : std::size_t { kNormScale = 1, kDown, kUp, kInject, kBlockOutput };

Status infer_low_rank_mix(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  out.unranked(1, dtype);
  out.set(2, c.in(kX));
  const std::int64_t branches = c.integer("num_branches", 0);
  if (!c.ranked(kX)) return {};
  Shape y = c.shape(kX);
  if (y.empty() || branches <= 0) return bad("HyperConnectionLowRankMix needs num_branches, and has " + text(y));
  y.back() = branch_width(c, y);
  out.set(0, dtype, y);
  y.back() = branches;
  out.set(1, dtype, std::move(y));
  return {};
}

Status cost_low_rank_mix(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const std::int64_t branches = c.integer("num_branches", 1);
  const Count all = numel(x), tokens = numel(x, 0, x.size() - 1);
  const Dim width = branch_width(c, x);
  const Count rank = tokens * c.shape(kDown).back();
  const Count gates = tokens * branches;
  if (c.has(kBlockOutput)) cost[Work::mul] = cost[Work::add] = all;
  work::rms_norm(cost, gates, width, true);
  cost[Work::mac] = 2 * rank * x.back() + all * branches + all;  // down, up, inject, sum over branches
  cost[Work::mul] += rank;
  work::activation(cost, "silu", rank);
  work::activation(cost, "sigmoid", all);
  work::activation(cost, "sigmoid", gates);
  cost[Work::mul] += tokens * width + gates;
  cost[Work::div] += gates;
  cost.rhs = c.dtype(kDown);
  cost.accumulate = DType::f32;
  return {};
}

}  // namespace

std::vector<Rule> fused_norm_rules() {
  const Text layer = "rows of n as layer_norm: add 3n-1, mul 2n, div 3, sqrt 1; gamma mul n; beta add n; ";
  const Text rms = "rows of n as rms_norm: mul 3n, add n, div 2, sqrt 1; ";
  const Text dequantise = "convert, add and mul for each element that is looked up, of gamma and of beta";
  std::vector<Rule> rules = {
      {"skip_layer_norm", "x skip gamma beta bias", "Sum with a skip connection, then layer normalisation",
       layer + "skip add n; bias add n", contrib_doc("SkipLayerNormalization"), infer_skip_norm, cost_skip_norm,
       microsoft({"SkipLayerNormalization"})},
      {"skip_rms_norm",
       "x skip gamma beta bias",
       "Sum with a skip connection, then rms normalisation",
       rms + "skip add n; bias add n",
       contrib_doc("SkipSimplifiedLayerNormalization"),
       infer_skip_norm,
       cost_skip_norm,
       {{"com.microsoft::SkipSimplifiedLayerNormalization", "x skip gamma bias"}}},
      {"skip_group_norm", "x gamma beta skip bias", "Sum with a skip connection, then group normalisation",
       layer + "skip add n; bias add n; silu: exp, add, div, mul n", contrib_doc("SkipGroupNorm"),
       infer_skip_group_norm, cost_skip_group_norm, microsoft({"SkipGroupNorm"})},
      {"embed_layer_norm",
       "ids segment_ids words positions segments gamma beta mask position_ids word_scale position_scale segment_scale "
       "gamma_scale beta_scale word_zero position_zero segment_zero gamma_zero beta_zero",
       "Embeddings looked up and added, then layer normalisation",
       layer + "add n for each table after the first; the mask's ones add; quantised: " + dequantise,
       contrib_doc("EmbedLayerNormalization"),
       infer_embed_norm,
       cost_embed_norm,
       {{"com.microsoft::EmbedLayerNormalization",
         "ids segment_ids words positions segments gamma beta mask position_ids"},
        {"com.microsoft::QEmbedLayerNormalization",
         "ids segment_ids words positions segments gamma beta mask word_scale position_scale segment_scale gamma_scale "
         "beta_scale word_zero position_zero segment_zero gamma_zero beta_zero"}}},
      {"ordered_layer_norm", "x x_scale gamma beta y_scale", "Layer normalisation of quantised elements",
       layer + "in and out: mul 2n, convert 2n, compare 2n", contrib_doc("QOrderedLayerNormalization"), infer_same,
       cost_ordered_norm, microsoft({"QOrderedLayerNormalization"})},
      {"gated_rms_norm", "x scale gate", "Rms normalisation times an activated gate",
       rms + "gate: exp, add, div, mul n, and mul n for silu", contrib_doc("GatedRMSNorm"), infer_same, cost_gated_rms,
       microsoft({"GatedRMSNorm"})},
      {"branch_rms_norm", "x scale", "Rms normalisation of each of several streams", rms,
       contrib_doc("BranchwiseRMSNorm"), infer_same, cost_branch_rms, microsoft({"BranchwiseRMSNorm"})},
      {"hyper_pre_mix", "x gates", "Weighted sum of streams", "mac = |x|; mul = |y| with a scale",
       contrib_doc("HyperConnectionPreMix"), infer_pre_mix, cost_pre_mix, microsoft({"HyperConnectionPreMix"})},
      {"hyper_post_mix", "x block post_mix stream_mix", "Streams mixed, and a block's output added to each",
       "mac = |x| * streams with a mix; mul = add = |x|", contrib_doc("HyperConnectionPostMix"), infer_same,
       cost_post_mix, microsoft({"HyperConnectionPostMix"})},
      {"hyper_low_rank_mix", "x norm_scale down up inject block_output post_gate",
       "Streams normalised, gated through a low-rank network, and summed",
       "t tokens, width w of all streams, rank r, c streams: mac = t*w*(2r + c + 1); " + rms +
           "sigmoid of t*(r + w + c); scales mul t*(2r + w/c + c), div t*c; prologue mul = add = |x|",
       contrib_doc("HyperConnectionLowRankMix"), infer_low_rank_mix, cost_low_rank_mix,
       microsoft({"HyperConnectionLowRankMix"})},
  };
  return with_gradients({{"skip_layer_norm", gradient_skip_norm},
                         {"skip_rms_norm", gradient_skip_norm},
                         {"skip_group_norm", gradient_skip_group_norm},
                         {"embed_layer_norm", gradient_embed_norm},
                         {"ordered_layer_norm", NoGradient{"of codes, which are rounded"}},
                         {"gated_rms_norm", gradient_gated_rms},
                         {"branch_rms_norm", gradient_branch_rms},
                         {"hyper_pre_mix", gradient_pre_mix},
                         {"hyper_post_mix", gradient_of_network},
                         {"hyper_low_rank_mix", gradient_of_network}},
                        std::move(rules));
}

}  // namespace macsim::rules
