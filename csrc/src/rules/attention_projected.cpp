// Attention with the projections of queries, keys and values inside: com.microsoft's Attention and its kin.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "attention.hpp"
#include "families.hpp"
#include "rules/gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

// Attention, QAttention, DecoderMaskedSelfAttention, PackedAttention --------------------------------------------------

enum : std::size_t { kX, kW, kB, kMask, kPast, kBias, kPastLength, kBeams, kTokens, kXScale, kWScale, kXZero, kWZero };
constexpr char kSlots[] = "x w b mask past bias #past_length #beams #tokens x_scale w_scale x_zero w_zero";

struct Sizes {
  Dim batch, queries, heads, all, all_values;  // all: heads * size
  Dim size, value_size, past, keys;
  bool shared = false;  ///< past and present are one buffer of the longest length
};

Sizes sizes_of(const Call& c) {
  const Shape& x = c.shape(kX);
  const Shape& w = c.shape(kW);
  Sizes s;
  s.batch = x[0];
  s.queries = x[1];
  s.heads = stated(c, "num_heads");
  if (const auto stated = c.integers("qkv_hidden_sizes"); stated.size() == 3) {
    s.all = stated[0];
    s.all_values = stated[2];
  } else {
    s.all = s.all_values = quotient(c, better_known(w[1], c.shape(kB)[0]), 3);
  }
  s.size = head_size(c, s.all, s.heads);
  s.value_size = head_size(c, s.all_values, s.heads);
  s.shared = c.integer("past_present_share_buffer", 0) != 0;
  s.past = c.has(kPast) ? c.shape(kPast)[3] : Dim(0);
  if (s.shared && c.has(kPast)) {
    if (const auto told = told_length(c, kPastLength)) {
      s.past = *told;
      s.keys = s.past + s.queries;
    } else {
      s.keys = s.past;  // the whole buffer
    }
  } else {
    s.keys = s.past + s.queries;
  }
  return s;
}

Status check_ranks(const Call& c, std::size_t rank) {
  if (c.ranked(kX) && c.shape(kX).size() != rank) {
    return bad("this attention needs an input of " + std::to_string(rank) + " axes; the shape is " + text(c.shape(kX)));
  }
  if (c.ranked(kW) && c.shape(kW).size() != 2)
    return bad("the projection needs a matrix; the shape is " + text(c.shape(kW)));
  return {};
}

InferFn infer_projected(std::size_t like) {
  return [like](const Call& c, Outputs& out) -> Status {
    if (Status s = check_ranks(c, 3); !s) return s;
    const Sizes s = sizes_of(c);
    const DType dtype = c.dtype(like);
    out.set(0, dtype, Shape{s.batch, s.queries, s.all_values});
    const Dim present = s.shared && c.has(kPast) ? c.shape(kPast)[3] : s.keys;
    out.set(1, dtype, Shape{2, s.batch, s.heads, present, s.size});
    return {};
  };
}

Attend attend_of(const Call& c, const Sizes& s) {
  Attend a;
  a.batch = s.batch;
  a.heads = s.heads;
  a.queries = s.queries;
  a.keys = s.keys;
  a.size = s.size;
  a.value_size = s.value_size;
  a.masks = (c.has(kMask) ? 1 : 0) + (c.has(kBias) ? 1 : 0);
  a.selected = c.integer("unidirectional", 0) != 0;
  if (a.selected) a.visible = visible_pairs(s.queries, s.keys, s.keys - s.queries, std::nullopt, 0);
  return a;
}

void turn(const Call& c, const Sizes& s, Cost& cost) {
  if (c.integer("do_rotary", 0) == 0) return;
  const std::int64_t stated = c.integer("rotary_embedding_dim", 0);
  const Dim turned = stated > 0 ? Dim(stated) : s.size;
  work::rotate(cost, 2 * s.batch * s.queries * s.heads * turned);
}

/// What Attention and its quantised form share once the projections are done.
void attend_projected(const Call& c, const Sizes& s, Cost& cost) {
  attend(cost, attend_of(c, s));
  turn(c, s, cost);
  if (s.shared && c.has(kPast) && !told_length(c, kPastLength))
    bound(cost, "how much of the cache is filled is not known");
  if (!c.wants(1)) return;
  // The cache grows in place: only the new keys and values are written to it.
  cost.written = bytes(c.out(0)) + bytes(c.out(1).dtype, s.batch * s.queries * (s.all + s.all_values));
}

Status cost_projected(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  const Count out = s.batch * s.queries * (2 * s.all + s.all_values);
  cost[Work::mac] = out * better_known(c.shape(kX)[2], c.shape(kW)[0]);
  if (c.has(kB)) cost[Work::add] += out;
  attend_projected(c, s, cost);
  return {};
}

/// Of the attention, whatever is needed hangs on all three; then those of the projection. Q, K and V are kept.
Status gradient_projected(const Call& c, Gradient& g, const Attend& a, const Count& rows, const Count& width) {
  for (const std::size_t slot : {kPast, kMask}) g.none(slot);
  const bool projected = g.needs(kX) || g.needs(kW) || g.needs(kB);
  attend_gradient_work(g, a, {projected, projected, projected, g.needs(kBias)});
  const Count products = rows * width * c.shape(kW)[0];
  g[Work::mac] += ((g.needs(kX) ? 1 : 0) + (g.needs(kW) ? 1 : 0)) * products;
  if (g.needs(kB)) g[Work::add] += (rows - 1) * width;
  if (g.needs(kBias)) g[Work::add] += a.scores() - numel(c.shape(kBias));
  for (const std::size_t slot : {kX, kW, kMask, kBias}) g.keep(slot);
  g.keep_output();
  g.keep_bytes(bytes(c.dtype(kX), rows * width) + bytes(DType::f32, a.batch * a.heads * a.queries));
  return {};
}

Status gradient_plain(const Call& c, Gradient& g) {
  const Sizes s = sizes_of(c);
  turn(c, s, g.cost);
  return gradient_projected(c, g, attend_of(c, s), s.batch * s.queries, 2 * s.all + s.all_values);
}

Status gradient_packed(const Call& c, Gradient& g) {
  const Sizes s = sizes_of(c);
  Attend a;
  a.heads = s.heads;
  a.queries = c.shape(kX)[0];
  a.keys = c.shape(kTokens)[1];
  a.size = s.size;
  a.value_size = s.value_size;
  a.masks = c.has(kBias) ? 1 : 0;
  bound(g.cost, "every sequence is counted as long as the longest");
  return gradient_projected(c, g, a, c.shape(kX)[0], 2 * s.all + s.all_values);
}

Status cost_qattention(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  const Count out = s.batch * s.queries * (2 * s.all + s.all_values);
  cost[Work::mac] = out * better_known(c.shape(kX)[2], c.shape(kW)[0]);
  if (c.has(kXZero)) cost[Work::add] += numel(c.shape(kX));
  if (c.has(kWZero)) cost[Work::add] += numel(c.shape(kW));
  cost[Work::mul] += numel(c.shape(kWScale));
  work::dequantize(cost, out, false);
  cost[Work::add] += out;
  attend_projected(c, s, cost);
  cost.compute = c.dtype(kXScale);
  return {};
}

Status infer_packed(const Call& c, Outputs& out) {
  if (Status s = check_ranks(c, 2); !s) return s;
  out.set(0, c.dtype(kX), Shape{c.shape(kX)[0], sizes_of(c).all_values});
  return {};
}

/// Tokens of all sequences lie one after the other; none meets more keys than the longest sequence has.
Status cost_packed(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  const Dim& tokens = c.shape(kX)[0];
  const Count out = tokens * (2 * s.all + s.all_values);
  cost[Work::mac] = out * better_known(c.shape(kX)[1], c.shape(kW)[0]);
  if (c.has(kB)) cost[Work::add] += out;
  Attend a;
  a.heads = s.heads;
  a.queries = tokens;
  a.keys = c.shape(kTokens)[1];
  a.size = s.size;
  a.value_size = s.value_size;
  a.masks = c.has(kBias) ? 1 : 0;
  attend(cost, a);
  bound(cost, "every sequence is counted as long as the longest");
  return {};
}

// DecoderAttention ------------------------------------------------------------------------------------------------

namespace decoder {
enum : std::size_t {
  kQuery,
  kKey,
  kQW,
  kKVW,
  kB,
  kMask,
  kKeyCache,
  kValueCache,
  kStatic,
  kUsePast,
  kHasState,
  kHasMask
};

/// What the flags say: whether keys come from the other sequence, and whether the cache is used.
struct Mode {
  bool known = false, cross = false, cached = false, masked = true;
};
Mode mode_of(const Call& c) {
  const auto crossing = c.constants(kStatic), past = c.constants(kUsePast), state = c.constants(kHasState);
  const auto mask = c.constants(kHasMask);
  Mode mode;
  if (mask && mask->size() == 1) mode.masked = mask->front() != 0;
  if (!crossing || !past || !state || crossing->size() != 1 || past->size() != 1 || state->size() != 1) return mode;
  mode.known = true;
  mode.cross = crossing->front() != 0;
  mode.cached = past->front() != 0 && state->front() != 0;
  return mode;
}

Dim keys_of(const Call& c, const Mode& mode) {
  const Dim& queries = c.shape(kQuery)[0];
  const Dim& others = c.shape(kKey)[0];
  const Dim past = c.has(kKeyCache) ? c.shape(kKeyCache)[2] : Dim(0);
  if (mode.cross) return mode.cached ? past : others;
  return mode.cached ? past + queries : queries;
}

Status infer(const Call& c, Outputs& out) {
  const Shape& q = c.shape(kQuery);
  const Mode mode = mode_of(c);
  const Dim keys =
      mode.known ? keys_of(c, mode) : out.symbol("keys", "length of the cache, which depends on the node's flags");
  const Dim heads = stated(c, "num_heads");
  const Shape cache{q[1], heads, keys, head_size(c, q[2], heads)};
  out.set(0, c.dtype(kQuery), q);
  out.set(1, c.dtype(kQuery), cache);
  out.set(2, c.dtype(kQuery), cache);
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Shape& q = c.shape(kQuery);
  const Mode mode = mode_of(c);
  const Dim heads = stated(c, "num_heads");
  const Count tokens = q[0] * q[1];
  cost[Work::mac] = tokens * q[2] * q[2];
  cost[Work::add] = tokens * q[2];
  Attend a;
  a.batch = q[1];
  a.heads = heads;
  a.queries = q[0];
  a.size = a.value_size = head_size(c, q[2], heads);
  a.masks = c.has(kMask) && mode.masked ? 1 : 0;
  Count projected;
  if (mode.known) {
    a.keys = keys_of(c, mode);
    projected = mode.cross ? (mode.cached ? Count(0) : numel(c.shape(kKey), 0, 2)) : tokens;
  } else {
    const Dim past = c.has(kKeyCache) ? c.shape(kKeyCache)[2] : Dim(0);
    a.keys = larger(c, past + q[0], c.shape(kKey)[0]);
    projected = larger(c, q[0], c.shape(kKey)[0]) * q[1];
    bound(cost, "the flags are not known: the longer keys are counted");
  }
  cost[Work::mac] += projected * q[2] * 2 * q[2];
  cost[Work::add] += projected * 2 * q[2];
  attend(cost, a);
  return {};
}
}  // namespace decoder

// LongformerAttention ---------------------------------------------------------------------------------------------

namespace longformer {
enum : std::size_t { kX, kW, kB, kMask, kGlobalW, kGlobalB, kGlobal, kXScale, kWScale, kGlobalScale };
constexpr char kSlots[] =
    "x w b mask global_w global_b global x_scale w_scale global_scale b_scale qkv_scale global_gemm_scale y_scale";

Status infer(const Call& c, Outputs& out) {
  if (c.ranked(kX) && c.shape(kX).size() != 3)
    return bad("LongformerAttention needs three axes; the shape is " + text(c.shape(kX)));
  out.set(0, c.dtype(kX), c.shape(kX));
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Count tokens = x[0] * x[1];
  const Dim heads = stated(c, "num_heads");
  const Count projected = tokens * 3 * x[2];
  cost[Work::mac] = 2 * projected * x[2];
  cost[Work::add] = 2 * projected;
  Attend a;
  a.batch = x[0];
  a.heads = heads;
  a.queries = x[1];
  a.keys = smaller(c, x[1], 2 * Dim(c.integer("window", 1)) + 1);
  a.size = a.value_size = head_size(c, x[2], heads);
  a.masks = 1;
  attend(cost, a);
  if (c.has(kXScale)) {  // 8-bit projections, back to floats; the result to 8 bits
    work::dequantize(cost, 2 * projected, false);
    work::requantize(cost, numel(x), false);
    cost.compute = c.dtype(kXScale);
  }
  cost.trust = Trust::estimate;
  cost.because = "tokens that attend to all others depend on data and are left out";
  return {};
}
}  // namespace longformer

// QOrderedAttention -----------------------------------------------------------------------------------------------

namespace ordered {
enum : std::size_t { kX, kQW, kKW, kVW, kQB, kKB, kVB, kMask, kPast, kBias, kXScale, kQScale, kKScale, kVScale };
constexpr char kSlots[] =
    "x q_w k_w v_w q_b k_b v_b mask past bias x_scale q_w_scale k_w_scale v_w_scale q_scale k_scale v_scale "
    "scores_scale "
    "softmax_scale y_scale";

Status infer(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  if (c.ranked(kX) && x.size() != 3) return bad("QOrderedAttention needs three axes; the shape is " + text(x));
  out.set(0, c.dtype(kX), Shape{x[0], x[1], c.shape(kVW)[1]});
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Dim heads = stated(c, "num_heads");
  Count all = 0;
  for (const std::size_t w : {kQW, kKW, kVW}) all += c.shape(w)[1];
  const Count projected = x[0] * x[1] * all;
  cost[Work::mac] = projected * x[2];
  cost[Work::add] = projected;
  for (const std::size_t scale : {kQScale, kKScale, kVScale}) {  // x_scale * w_scale / gemm_scale
    cost[Work::mul] += numel(c.shape(scale));
    cost[Work::div] += numel(c.shape(scale));
  }
  work::requantize(cost, projected, false);
  Attend a;
  a.batch = x[0];
  a.heads = heads;
  a.queries = a.keys = x[1];
  a.size = head_size(c, c.shape(kQW)[1], heads);
  a.value_size = head_size(c, c.shape(kVW)[1], heads);
  a.masks = (c.has(kMask) ? 1 : 0) + (c.has(kBias) ? 1 : 0);
  a.selected = c.integer("unidirectional", 0) != 0;
  if (a.selected) a.visible = visible_pairs(a.queries, a.keys, 0, std::nullopt, 0);
  attend(cost, a);
  work::dequantize(cost, a.scores(), false);  // scores to floats
  work::requantize(cost, a.scores(), false);  // probabilities to 8 bits
  work::requantize(cost, numel(c.out_shape()), false);
  cost.compute = c.dtype(kXScale);
  cost.accumulate = DType::i32;
  return {};
}
}  // namespace ordered

const char* const kProjectionText =
    "R tokens, N = all sizes of Q, K and V: mac = R * N * input size; add = R * N with a bias; ";

}  // namespace

std::vector<Rule> projected_attention_rules() {
  const Text projection = kProjectionText;
  std::vector<Rule> rules = {
      {"projected_attention",
       kSlots,
       "Attention with one matrix that projects to queries, keys and values",
       projection + kAttendFormula + "; rotation of Q and K with do_rotary; written: the cache grows in place",
       contrib_doc("Attention"),
       infer_projected(kX),
       cost_projected,
       {{"com.microsoft::Attention", "x w b mask past bias past_length"},
        {"com.microsoft::DecoderMaskedSelfAttention", "x w b mask past bias past_length beams indirection"}}},
      {"qattention",
       kSlots,
       "The same with 8-bit input and weights",
       projection + "add = |x| and |w| for the zero points that are given; convert and mul = R * N, mul = |w_scale|; " +
           kAttendFormula,
       contrib_doc("QAttention"),
       infer_projected(kXScale),
       cost_qattention,
       {{"com.microsoft::QAttention", "x w b x_scale w_scale mask x_zero w_zero past"}}},
      {"packed_attention",
       kSlots,
       "The same on packed sequences of different lengths",
       projection + kAttendFormula + ", queries = tokens and keys = the longest sequence, a bound",
       contrib_doc("PackedAttention"),
       infer_packed,
       cost_packed,
       {{"com.microsoft::PackedAttention", "x w b tokens #lengths bias"}}},
      {"decoder_attention",
       "query key q_w kv_w b mask key_cache value_cache #static_kv #use_past #has_layer_state #has_key_padding_mask",
       "Self or cross attention with projections and a cache, as flags say",
       projection + kAttendFormula + "; flags that are not known: a bound", contrib_doc("DecoderAttention"),
       decoder::infer, decoder::count, microsoft({"DecoderAttention"})},
      {"longformer_attention",
       longformer::kSlots,
       "Attention through a window, with a few global tokens",
       Text::joined({"two projections of all tokens: mac = 2 R * 3 D * D; add = 6 R * D; keys = 2 * window + 1 (global "
                     "tokens are left out: an estimate); ",
                     kAttendFormula}),
       contrib_doc("LongformerAttention"),
       longformer::infer,
       longformer::count,
       {{"com.microsoft::LongformerAttention", "x w b mask global_w global_b global"},
        {"com.microsoft::QOrderedLongformerAttention",
         "x x_scale w w_scale b b_scale qkv_scale mask global_w global_scale global_b global_gemm_scale global "
         "y_scale"}}},
      {"qordered_attention",
       ordered::kSlots,
       "Attention on 8-bit tensors in cublasLt layouts",
       projection + "requantised: mul = convert = R * N, compare = 2 R * N; " + kAttendFormula +
           "; scores to floats and probabilities to 8 bits; the result requantised",
       contrib_doc("QOrderedAttention"),
       ordered::infer,
       ordered::count,
       {{"com.microsoft::QOrderedAttention",
         "x x_scale q_scale k_scale v_scale q_w k_w v_w q_w_scale k_w_scale v_w_scale q_b k_b v_b scores_scale "
         "softmax_scale "
         "y_scale mask past bias"}}},
  };
  return with_gradients({{"projected_attention", gradient_plain},
                         {"qattention", NoGradient{"of codes, which are rounded"}},
                         {"packed_attention", gradient_packed},
                         {"decoder_attention", gradient_of_network},
                         {"longformer_attention", gradient_of_network},
                         {"qordered_attention", NoGradient{"of codes, which are rounded"}}},
                        std::move(rules));
}

}  // namespace macsim::rules
