// Attention on projected queries, keys and values with a cache: multi-head, grouped, packed and paged.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "attention.hpp"
#include "families.hpp"
#include "rules/gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

// MultiHeadAttention, DecoderMaskedMultiHeadAttention ----------------------------------------------------------------

namespace multi {
enum : std::size_t { kQ, kK, kV, kB, kMask, kBias, kPastKey, kPastValue, kPastLength };
constexpr char kSlots[] = "q k v b mask bias past_key past_value #past_length #beams indirection";

struct Sizes {
  Dim batch, heads, queries, fresh, past, keys, present, size, value_size;
  bool ready = false;  ///< keys and values come as a cache of four axes: nothing is appended
};

Sizes sizes_of(const Call& c) {
  const Shape& q = c.shape(kQ);
  Sizes s;
  s.batch = q[0];
  s.queries = q[1];
  s.heads = stated(c, "num_heads");
  if (q.size() == 5) {  // queries, keys and values side by side
    s.fresh = q[1];
    s.size = s.value_size = q[4];
  } else if (!c.has(kK)) {  // one row holds all three
    s.fresh = q[1];
    s.size = s.value_size = head_size(c, quotient(c, q[2], 3), s.heads);
  } else {
    const Shape& k = c.shape(kK);
    const Shape& v = c.shape(kV);
    s.size = head_size(c, q[2], s.heads);
    s.ready = k.size() == 4;
    s.fresh = s.ready ? k[2] : k[1];
    s.value_size = k.size() == 5 ? k[4] : v.size() == 4 ? v[3] : head_size(c, v[2], s.heads);
  }
  s.past = 0;
  if (c.has(kPastKey) && !s.ready) s.past = c.shape(kPastKey)[2];
  s.present = s.keys = s.past + s.fresh;
  // One buffer of the longest length for past and present.
  const bool shared =
      c.integer("past_present_share_buffer", 0) != 0 || (c.has(kPastLength) && c.op() == "MultiHeadAttention");
  if (shared && c.has(kPastKey) && !s.ready) {
    s.present = s.past;
    const auto told = told_length(c, kPastLength);
    s.keys = told ? *told + s.fresh : s.past;
    s.past = told ? *told : s.past;
  }
  return s;
}

Status infer(const Call& c, Outputs& out) {
  const Shape& q = c.shape(kQ);
  if (c.ranked(kQ) && q.size() != 3 && q.size() != 5) {
    return bad("multi-head attention needs queries of 3 axes, or 5 when packed; the shape is " + text(q));
  }
  const Sizes s = sizes_of(c);
  const DType dtype = c.dtype(kQ);
  out.set(0, dtype, Shape{s.batch, s.queries, s.heads * s.value_size});
  out.set(1, dtype, Shape{s.batch, s.heads, s.present, s.size});
  out.set(2, dtype, Shape{s.batch, s.heads, s.present, s.value_size});
  out.set(3, dtype, Shape{s.batch, s.heads, s.queries, s.keys});
  return {};
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

Status count(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  if (c.has(kB)) {
    cost[Work::add] += s.batch * s.queries * s.heads * s.size;
    if (!s.ready) cost[Work::add] += s.batch * s.fresh * s.heads * (s.size + s.value_size);
  }
  attend(cost, attend_of(c, s));
  if (c.has(kPastKey) && s.present == s.past && !s.ready) bound(cost, "how much of the cache is filled is not known");
  // The cache grows in place: only the new keys and values are written to it.
  Count written = bytes(c.out(0));
  const Count fresh = s.ready ? Count(0) : s.batch * s.heads * s.fresh;
  if (c.wants(1)) written += bytes(c.out(1).dtype, fresh * s.size);
  if (c.wants(2)) written += bytes(c.out(2).dtype, fresh * s.value_size);
  if (c.wants(3)) written += bytes(c.out(3));
  cost.written = written;
  return {};
}

/// A cache is of another run. Queries, keys and values may lie in one tensor; a bias sums over all rows.
Status gradient(const Call& c, Gradient& g) {
  const Sizes s = sizes_of(c);
  for (const std::size_t slot : {kPastKey, kPastValue}) g.none(slot);
  const bool bias = g.needs(kB), q = g.needs(kQ), k = c.has(kK) ? g.needs(kK) : q, v = c.has(kV) ? g.needs(kV) : q;
  attend_gradient_work(g, attend_of(c, s), {q || bias, k || bias, v || bias, g.needs(kBias)});
  const Count rows = s.batch * s.queries;
  if (bias) g[Work::add] += (rows - 1) * numel(c.shape(kB));
  if (g.needs(kBias)) g[Work::add] += s.batch * s.heads * s.queries * s.keys - numel(c.shape(kBias));
  for (const std::size_t slot : {kQ, kK, kV, kB, kMask, kBias}) g.keep(slot);
  g.keep_output();
  g.keep_bytes(bytes(DType::f32, rows * s.heads));
  return {};
}
}  // namespace multi

// GroupQueryAttention, SparseAttention -------------------------------------------------------------------------------

namespace grouped {
enum : std::size_t {
  kQ,
  kK,
  kV,
  kPastKey,
  kPastValue,
  kLengths,
  kTotal,
  kCos,
  kSin,
  kPositions,
  kBias,
  kSink,
  kKScale,
  kVScale,
  kQNorm,
  kKNorm,
  kQueryLengths
};
constexpr char kSlots[] =
    "q k v past_key past_value #lengths #total cos sin positions bias sink k_scale v_scale q_norm k_norm "
    "#query_lengths";

struct Sizes {
  Dim batch, heads, kv_heads, queries, fresh, size;
  Dim keys;           ///< that queries meet
  Dim present;        ///< length of the cache afterwards
  Dim cached;         ///< elements of a head in the cache: packed ones count as bytes
  bool told = false;  ///< the total length is known
};

Sizes sizes_of(const Call& c) {
  const Shape& q = c.shape(kQ);
  Sizes s;
  s.batch = q[0];
  s.queries = q[1];
  s.heads = stated(c, "num_heads");
  s.kv_heads = stated(c, "kv_num_heads");
  s.size = head_size(c, q[2], c.has(kK) ? s.heads : s.heads + 2 * s.kv_heads);
  s.fresh = c.has(kK) ? c.shape(kK)[1] : q[1];
  s.cached = c.has(kPastKey) ? c.shape(kPastKey)[3] : s.size;
  const bool has_past = c.has(kPastKey);
  const Dim past = has_past ? c.shape(kPastKey)[2] : Dim(0);
  const auto total = told_length(c, kTotal);
  s.told = total.has_value();
  s.keys = total ? *total : past + s.fresh;
  s.present = !has_past ? s.keys : total ? larger(c, past, *total) : s.keys;
  if (c.integer("sliding_window_cache", 0) != 0 || c.op() == "SparseAttention") {
    s.present = past;
    if (!total && c.op() == "SparseAttention") s.keys = past;
  }
  return s;
}

DType cache_type(const Call& c) { return c.has(kPastKey) ? c.dtype(kPastKey) : c.dtype(kQ); }

Status infer(const Call& c, Outputs& out) {
  if (c.ranked(kQ) && c.shape(kQ).size() != 3) {
    return bad("grouped attention needs queries of 3 axes; the shape is " + text(c.shape(kQ)));
  }
  const Sizes s = sizes_of(c);
  const Shape cache{s.batch, s.kv_heads, s.present, s.cached};
  out.set(0, c.dtype(kQ), Shape{s.batch, s.queries, s.heads * s.size});
  out.set(1, cache_type(c), cache);
  out.set(2, cache_type(c), cache);
  out.set(3, c.dtype(kQ), Shape{s.batch, s.heads, s.queries, s.keys});
  return {};
}

/// Norms and rotation of queries and new keys, and the cache in fewer bits.
void prepare(const Call& c, const Sizes& s, const Dim& keys, Cost& cost) {
  const Count q_rows = s.batch * s.queries * s.heads, k_rows = s.batch * s.fresh * s.kv_heads;
  if (c.has(kQNorm)) work::rms_norm(cost, q_rows, s.size);
  if (c.has(kKNorm)) work::rms_norm(cost, k_rows, s.size);
  if (c.integer("do_rotary", 0) != 0 && c.has(kCos)) work::rotate(cost, (q_rows + k_rows) * 2 * c.shape(kCos).back());
  for (const std::size_t scale : {kKScale, kVScale}) {
    if (!c.has(scale)) continue;
    work::requantize(cost, k_rows * s.size, false);
    work::dequantize(cost, s.batch * s.kv_heads * keys * s.size, false);
  }
}

/// What is read of the cache are the filled rows before the new ones; what is written are the new ones.
void cache_traffic(const Call& c, const Sizes& s, std::int64_t window, Cost& cost) {
  work::Reads reads(c);
  for (const std::size_t slot : {kQ, kK, kV, kPositions, kBias, kSink, kKScale, kVScale, kQNorm, kKNorm})
    reads.all(slot);
  Dim before = s.told ? at_least_zero(c, s.keys - s.fresh) : c.has(kPastKey) ? c.shape(kPastKey)[2] : Dim(0);
  if (window > 0) before = smaller(c, before, window - 1);
  for (const std::size_t slot : {kPastKey, kPastValue}) reads.part(slot, s.batch * s.kv_heads * before * s.cached);
  if (c.integer("do_rotary", 0) != 0 && c.has(kCos)) {
    for (const std::size_t slot : {kCos, kSin}) reads.part(slot, s.batch * s.queries * c.shape(slot).back());
  }
  reads.into(cost);
  Count written = bytes(c.out(0));
  for (std::size_t i = 1; i < 3; ++i) {
    if (c.wants(i)) written += bytes(c.out(i).dtype, s.batch * s.kv_heads * s.fresh * s.cached);
  }
  if (c.wants(3)) written += bytes(c.out(3));
  cost.written = written;
}

Attend attend_of(const Call& c, const Sizes& s, Cost& cost) {
  const std::int64_t window = c.integer("local_window_size", -1);
  Attend a;
  a.batch = s.batch;
  a.heads = s.heads;
  a.key_heads = s.batch * s.kv_heads;
  a.queries = s.queries;
  a.keys = window > 0 ? keys_in_window(c, s.keys, window, cost) : s.keys;
  a.size = a.value_size = s.size;
  a.masks = c.has(kBias) ? 1 : 0;
  a.selected = c.integer("causal", 1) != 0;
  if (a.selected && !c.has(kQueryLengths)) {
    const auto left = window > 0 ? std::optional(window - 1) : std::nullopt;
    a.visible = visible_pairs(s.queries, s.keys, s.keys - s.queries, left, 0);
  }
  a.softcap = c.real("softcap", 0) != 0;
  a.sink = c.has(kSink) || c.integer("smooth_softmax", -1) > 0;
  return a;
}

Status count(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  const std::int64_t window = c.integer("local_window_size", -1);
  const Attend a = attend_of(c, s, cost);
  attend(cost, a);
  prepare(c, s, a.keys, cost);
  cache_traffic(c, s, window, cost);
  if (!s.told && c.has(kPastKey)) bound(cost, "the total length is not known: past and new keys are counted");
  if (c.has(kQueryLengths)) bound(cost, "padded queries are counted too");
  return {};
}

/// A cache is of another run. Rotation goes back the other way; norms as twice their own work, an estimate.
Status gradient(const Call& c, Gradient& g) {
  const Sizes s = sizes_of(c);
  for (std::size_t i = kPastKey; i <= kVScale; ++i) {
    if (i != kBias) g.none(i);
  }
  const bool q = g.needs(kQ), k = c.has(kK) ? g.needs(kK) : q, v = c.has(kV) ? g.needs(kV) : q;
  const Attend a = attend_of(c, s, g.cost);
  attend_gradient_work(g, a, {q, k, v, g.needs(kBias)});
  const Count q_rows = s.batch * s.queries * s.heads, k_rows = s.batch * s.fresh * s.kv_heads;
  if (c.integer("do_rotary", 0) != 0 && c.has(kCos)) {
    work::rotate(g.cost, (q_rows + k_rows) * 2 * c.shape(kCos).back());
  }
  const Count shared = s.batch * (s.heads - s.kv_heads) * a.keys * s.size;  // heads that share keys and values
  g[Work::add] += ((k ? 1 : 0) + (v ? 1 : 0)) * shared;
  if (g.needs(kBias)) g[Work::add] += a.scores() - numel(c.shape(kBias));
  if (c.has(kQNorm) || c.has(kKNorm)) {
    for (int times = 0; times < 2; ++times) {
      if (c.has(kQNorm)) work::rms_norm(g.cost, q_rows, s.size);
      if (c.has(kKNorm)) work::rms_norm(g.cost, k_rows, s.size);
    }
    estimated(g, "norms of queries and keys are taken for twice their own work");
  }
  for (const std::size_t slot : {kQ, kK, kV, kCos, kSin, kBias, kQNorm, kKNorm}) g.keep(slot);
  g.keep_output();
  g.keep_bytes(bytes(DType::f32, q_rows));
  return {};
}

Status count_sparse(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  Attend a;
  a.batch = s.batch;
  a.heads = s.heads;
  a.queries = s.queries;
  a.keys = s.keys;
  a.size = a.value_size = s.size;
  a.selected = true;
  attend(cost, a);
  prepare(c, s, s.keys, cost);
  cache_traffic(c, s, -1, cost);
  bound(cost, "all blocks of keys are counted; which are left out is data");
  return {};
}
}  // namespace grouped

// PackedMultiHeadAttention --------------------------------------------------------------------------------------------

namespace packed {
enum : std::size_t { kQ, kK, kV, kB, kTokens, kLengths, kBias };

struct Sizes {
  Dim tokens, heads, size, value_size;
};
Sizes sizes_of(const Call& c) {
  const Shape& q = c.shape(kQ);
  Sizes s;
  s.tokens = q[0];
  s.heads = stated(c, "num_heads");
  s.size = q.size() == 4 ? q[3] : head_size(c, q[1], s.heads);
  s.value_size = q.size() == 4 ? q[3] : head_size(c, c.shape(kV)[1], s.heads);
  return s;
}

Status infer(const Call& c, Outputs& out) {
  const Shape& q = c.shape(kQ);
  if (c.ranked(kQ) && q.size() != 2 && q.size() != 4) {
    return bad("packed attention needs queries of 2 axes, or 4 with keys and values inside; the shape is " + text(q));
  }
  const Sizes s = sizes_of(c);
  out.set(0, c.dtype(kQ), Shape{s.tokens, s.heads * s.value_size});
  return {};
}

Attend attend_of(const Call& c, const Sizes& s) {
  Attend a;
  a.heads = s.heads;
  a.queries = s.tokens;
  a.keys = c.shape(kTokens)[1];
  a.size = s.size;
  a.value_size = s.value_size;
  a.masks = c.has(kBias) ? 1 : 0;
  return a;
}

Status gradient(const Call& c, Gradient& g) {
  const Sizes s = sizes_of(c);
  const Attend a = attend_of(c, s);
  const bool bias = g.needs(kB), q = g.needs(kQ), k = c.has(kK) ? g.needs(kK) : q, v = c.has(kV) ? g.needs(kV) : q;
  attend_gradient_work(g, a, {q || bias, k || bias, v || bias, g.needs(kBias)});
  if (bias) g[Work::add] += (s.tokens - 1) * numel(c.shape(kB));
  for (const std::size_t slot : {kQ, kK, kV, kB, kBias}) g.keep(slot);
  g.keep_output();
  g.keep_bytes(bytes(DType::f32, s.tokens * s.heads));
  bound(g.cost, "every sequence is counted as long as the longest");
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  if (c.has(kB)) cost[Work::add] += s.tokens * s.heads * (2 * s.size + s.value_size);
  attend(cost, attend_of(c, s));
  bound(cost, "every sequence is counted as long as the longest");
  return {};
}
}  // namespace packed

// PagedAttention ------------------------------------------------------------------------------------------------------

namespace paged {
enum : std::size_t {
  kQ,
  kK,
  kV,
  kKeyCache,
  kValueCache,
  kStarts,
  kPast,
  kPages,
  kCos,
  kSin,
  kSlots,
  kSink,
  kQNorm,
  kKNorm,
  kKScale,
  kVScale,
  kBounds
};

struct Sizes {
  Dim tokens, heads, kv_heads, size, value_size, keys, cached;
};

Sizes sizes_of(const Call& c) {
  const Shape& q = c.shape(kQ);
  Sizes s;
  s.tokens = q[0];
  s.heads = stated(c, "num_heads");
  s.kv_heads = stated(c, "kv_num_heads");
  s.size = head_size(c, q[1], c.has(kK) ? s.heads : s.heads + 2 * s.kv_heads);
  const std::int64_t narrow = c.integer("v_head_size", 0);
  s.value_size = narrow > 0 ? Dim(narrow) : s.size;
  s.cached = c.shape(kKeyCache)[3];
  s.keys = c.shape(kPages)[1] * c.shape(kKeyCache)[1];
  // Bounds that the caller states: [queries, keys, ...]; 0 is unknown.
  if (const auto stated = c.constants(kBounds); stated && stated->size() >= 2 && (*stated)[1] > 0) {
    s.keys = smaller(c, s.keys, (*stated)[1]);
  }
  return s;
}

Status infer(const Call& c, Outputs& out) {
  if (c.ranked(kQ) && c.shape(kQ).size() != 2)
    return bad("paged attention needs queries of 2 axes; the shape is " + text(c.shape(kQ)));
  const Sizes s = sizes_of(c);
  out.set(0, c.dtype(kQ), Shape{s.tokens, s.heads * s.value_size});
  out.set(1, c.in(kKeyCache));
  out.set(2, c.in(kValueCache));
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  const std::int64_t window = c.integer("local_window_size", -1);
  Attend a;
  a.heads = s.heads;
  a.queries = s.tokens;
  a.keys = window > 0 ? smaller(c, s.keys, window) : s.keys;
  a.size = s.size;
  a.value_size = s.value_size;
  a.selected = c.integer("is_causal", 1) != 0;
  a.softcap = c.real("softcap", 0) != 0;
  a.sink = c.has(kSink);
  attend(cost, a);
  const Count q_rows = s.tokens * s.heads, k_rows = s.tokens * s.kv_heads;
  if (c.has(kQNorm)) work::rms_norm(cost, q_rows, s.size);
  if (c.has(kKNorm)) work::rms_norm(cost, k_rows, s.size);
  if (c.integer("do_rotary", 0) != 0 && c.has(kCos)) work::rotate(cost, (q_rows + k_rows) * 2 * c.shape(kCos).back());
  const Count held = c.shape(kPages)[0] * a.keys * s.kv_heads;
  for (const std::size_t scale : {kKScale, kVScale}) {
    if (!c.has(scale)) continue;
    work::requantize(cost, k_rows * s.size, false);
    work::dequantize(cost, held * s.size, false);
  }
  work::Reads reads(c);
  for (const std::size_t slot : {kQ, kK, kV, kSlots, kSink, kQNorm, kKNorm, kKScale, kVScale}) reads.all(slot);
  for (const std::size_t slot : {kKeyCache, kValueCache}) reads.part(slot, held * s.cached);
  for (const std::size_t slot : {kCos, kSin}) reads.part(slot, s.tokens * c.shape(slot).back());
  reads.into(cost);
  Count written = bytes(c.out(0));
  for (const std::size_t slot : {kKeyCache, kValueCache}) {
    if (c.has(slot)) written += bytes(c.dtype(slot), k_rows * s.cached);
  }
  cost.written = written;
  bound(cost, "every sequence is counted as long as its pages allow");
  return {};
}
}  // namespace paged

}  // namespace

std::vector<Rule> cached_attention_rules() {
  const Text attend_text = kAttendFormula;
  const Text cache_text = "; the cache grows in place: its filled part is read, the new rows are written";
  std::vector<Rule> rules = {
      {"multi_head_attention",
       multi::kSlots,
       "Attention in heads on projected inputs, self or cross, with a cache",
       attend_text + "; add = |q| + |k| + |v| with a bias" + cache_text,
       contrib_doc("MultiHeadAttention"),
       multi::infer,
       multi::count,
       {{"com.microsoft::MultiHeadAttention", "q k v b mask bias past_key past_value past_length indirection"},
        {"com.microsoft::DecoderMaskedMultiHeadAttention",
         "q k v mask bias past_key past_value past_length beams indirection b"}}},
      {"group_query_attention", grouped::kSlots,
       "Attention where groups of queries share keys and values, with a cache",
       attend_text +
           "; RMS norms and rotation of queries and new keys; a quantised cache: new rows requantised, all keys "
           "widened" +
           cache_text + "; windows, and a total length that is not known: a bound",
       contrib_doc("GroupQueryAttention"), grouped::infer, grouped::count, microsoft({"GroupQueryAttention"})},
      {"block_sparse_attention",
       Text(grouped::kSlots) + " #rows #columns",
       "Grouped attention to chosen blocks of keys",
       attend_text + "; all blocks are counted, a bound" + cache_text,
       contrib_doc("SparseAttention"),
       grouped::infer,
       grouped::count_sparse,
       {{"com.microsoft::SparseAttention", "q k v past_key past_value rows columns total lengths cos sin"}}},
      {"packed_multi_head_attention", "q k v b #tokens #lengths bias", "Attention in heads on packed sequences",
       attend_text + ", queries = tokens and keys = the longest sequence, a bound; add = |q| + |k| + |v| with a bias",
       contrib_doc("PackedMultiHeadAttention"), packed::infer, packed::count, microsoft({"PackedMultiHeadAttention"})},
      {"paged_attention",
       "q k v key_cache value_cache #starts #past #pages cos sin slots sink q_norm k_norm k_scale v_scale #bounds",
       "Grouped attention on packed tokens with a cache in pages",
       attend_text +
           ", queries = tokens and keys = what a row of the page table holds, a bound; RMS norms and rotation; a "
           "quantised cache: new rows requantised, all keys widened" +
           cache_text,
       contrib_doc("PagedAttention"), paged::infer, paged::count, microsoft({"PagedAttention"})},
  };
  return with_gradients({{"multi_head_attention", multi::gradient},
                         {"group_query_attention", grouped::gradient},
                         {"packed_multi_head_attention", packed::gradient}},
                        std::move(rules));
}

}  // namespace macsim::rules
