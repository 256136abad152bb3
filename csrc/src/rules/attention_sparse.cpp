// Attention to selected keys, and the indexers that select them.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "attention.hpp"
#include "families.hpp"
#include "rules/gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

// DynamicSparseAttention, SparsePagedAttention --------------------------------------------------------------------

namespace selected {
enum : std::size_t {
  kQ,
  kK,
  kV,
  kKeyCache,
  kValueCache,
  kOtherKey,
  kOtherValue,
  kChosen,
  kTotal,
  kCos,
  kSin,
  kPositions,
  kQNorm,
  kKNorm,
  kSink,
  kKScale,
  kVScale,
  kPages
};
constexpr char kSlots[] =
    "q k v key_cache value_cache other_key other_value chosen #total cos sin positions q_norm k_norm sink k_scale "
    "v_scale #pages";

/// Keys of a query: the chosen ones, and with "local_plus_selected" those in a window.
Dim keys_of(const Call& c) {
  const Dim& chosen = c.shape(kChosen).back();
  if (c.text("attention_mode", "selected_only") != "local_plus_selected") return chosen;
  const std::int64_t window = c.integer("local_window_size", -1);
  if (window >= 0) return chosen + window;
  // Without a window all visible tokens are local: as many as the cache or its pages hold.
  if (c.has(kPages)) return chosen + c.shape(kPages)[1] * c.shape(kKeyCache)[1];
  return chosen + told_length(c, kTotal).value_or(c.shape(kKeyCache)[2]);
}

struct Sizes {
  Dim rows, heads, kv_heads, size;  ///< rows: tokens of all sequences
};

Sizes sizes_of(const Call& c) {
  const Shape& q = c.shape(kQ);
  Sizes s;
  s.rows = numel(q, 0, q.empty() ? 0 : q.size() - 1);
  s.heads = stated(c, "num_heads");
  s.kv_heads = stated(c, "kv_num_heads");
  s.size = head_size(c, q.back(), c.has(kK) ? s.heads : s.heads + 2 * s.kv_heads);
  return s;
}

Status infer_dynamic(const Call& c, Outputs& out) {
  const Shape& q = c.shape(kQ);
  if (c.ranked(kQ) && q.size() != 3) return bad("this attention needs queries of 3 axes; the shape is " + text(q));
  const Sizes s = sizes_of(c);
  const auto total = told_length(c, kTotal);
  const Dim past = c.has(kKeyCache) ? c.shape(kKeyCache)[2] : Dim(0);
  const Dim length = !total ? past + q[1] : c.has(kKeyCache) ? larger(c, past, *total) : *total;
  const DType dtype = c.integer("output_bf16", 0) != 0 ? DType::bf16 : c.dtype(kQ);
  const DType cache = c.has(kKeyCache) ? c.dtype(kKeyCache) : c.dtype(kQ);
  out.set(0, dtype, Shape{q[0], q[1], s.heads * s.size});
  out.set(1, cache, Shape{q[0], s.kv_heads, length, s.size});
  out.set(2, cache, Shape{q[0], s.kv_heads, length, s.size});
  out.set(3, DType::i32, Shape{1});
  return {};
}

Status infer_paged(const Call& c, Outputs& out) {
  const Shape& q = c.shape(kQ);
  if (c.ranked(kQ) && q.size() != 2) return bad("this attention needs queries of 2 axes; the shape is " + text(q));
  const Sizes s = sizes_of(c);
  out.set(0, c.dtype(kQ), Shape{q[0], s.heads * s.size});
  out.set(1, c.in(kKeyCache));
  out.set(2, c.in(kValueCache));
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  Attend a;
  a.heads = s.heads;
  a.queries = s.rows;
  a.keys = keys_of(c);
  a.size = a.value_size = s.size;
  a.softcap = c.real("softcap", 0) != 0;
  a.sink = c.has(kSink) || c.integer("smooth_softmax", 0) > 0;
  attend(cost, a);
  const Count q_rows = s.rows * s.heads, k_rows = s.rows * s.kv_heads;
  if (c.has(kQNorm)) work::rms_norm(cost, q_rows, s.size);
  if (c.has(kKNorm)) work::rms_norm(cost, k_rows, s.size);
  if (c.integer("do_rotary", 0) != 0 && c.has(kCos)) work::rotate(cost, (q_rows + k_rows) * 2 * c.shape(kCos).back());
  const Count met = k_rows * a.keys * s.size;
  for (const std::size_t scale : {kKScale, kVScale}) {
    if (!c.has(scale)) continue;
    work::requantize(cost, k_rows * s.size, false);
    work::dequantize(cost, met, false);
  }
  // Every query reads the keys and values that were chosen for it; new rows are written to the cache.
  const bool other = c.has(kOtherKey);
  work::Reads reads(c);
  for (const std::size_t slot : {kQ, kK, kV, kChosen, kPositions, kQNorm, kKNorm, kSink, kKScale, kVScale})
    reads.all(slot);
  reads.part(other ? kOtherKey : kKeyCache, met);
  reads.part(other ? (c.has(kOtherValue) ? kOtherValue : kOtherKey) : kValueCache, met);
  for (const std::size_t slot : {kCos, kSin}) reads.part(slot, s.rows * c.shape(slot).back());
  reads.into(cost);
  Count written = bytes(c.out(0));
  for (std::size_t i = 1; i < 3; ++i) {
    if (c.wants(i)) written += bytes(c.out(i).dtype, k_rows * s.size);
  }
  cost.written = written;
  bound(cost, "rows of chosen keys are counted as full");
  return {};
}
}  // namespace selected

// SparseAttentionIndexer, PackedSparseAttentionIndexer ----------------------------------------------------------------

namespace indexer {
enum : std::size_t {
  kQ,
  kK,
  kQNorm,
  kKNorm,
  kCos,
  kSin,
  kMask,
  kPastKey,
  kGate,
  kPositionBias,
  kHeadWeights,
  kPositions,
  kPastLength,
  kBuffer,
  kGateBuffer,
  kStateLengths,
  kStarts,
  kPast
};
constexpr char kSlots[] =
    "q k q_norm k_norm cos sin mask past_key gate position_bias head_weights positions #past_length buffer gate_buffer "
    "#state_lengths #starts #past";

bool by_token(const Call& c) { return c.text("policy_mode", "qsa") == "qsa"; }

struct Sizes {
  Dim rows, heads, size, ratio;
};
Sizes sizes_of(const Call& c) {
  const Shape& q = c.shape(kQ);
  Sizes s;
  s.rows = numel(q, 0, q.empty() ? 0 : q.size() - 1);
  s.size = c.shape(kQNorm)[0];
  s.heads = head_size(c, q.back(), s.size) - (c.has(kK) ? 0 : 1);
  s.ratio = c.integer("compress_ratio", 1);
  return s;
}

Dim capacity_of(const Call& c) {
  if (!by_token(c)) return c.integer("index_topk", 0);
  return Dim(c.integer("token_budget", 0)) + c.integer("compress_ratio", 1) - 1;
}

/// Entries that a call adds to the compressed keys, and what is left in the buffer.
struct Windows {
  Dim added = Dim::undefined(), left = Dim::undefined();
};
Windows windows_of(const Call& c, const Dim& fresh) {
  Windows windows;
  const std::int64_t ratio = c.integer("compress_ratio", 1);
  const auto held = c.has(kBuffer) ? c.shape(kBuffer)[2].constant() : std::optional<std::int64_t>(0);
  if (!held || ratio < 1) return windows;
  const std::int64_t before = *held >= ratio ? ratio : 0;  // the previous window, kept for its overlap
  const Dim open = fresh + (*held - before);
  windows.added = floor_div(open, ratio);
  const Dim rest = open - windows.added * ratio;
  const Truth any = at_least(open, ratio, 1);
  if (before > 0 || any == Truth::yes) {
    windows.left = rest + ratio;
  } else if (any == Truth::no) {
    windows.left = rest;
  }
  return windows;
}

Status infer(const Call& c, Outputs& out) {
  const Shape& q = c.shape(kQ);
  const Shape& past = c.shape(kPastKey);
  if (c.ranked(kQ) && q.size() != 3) return bad("the indexer needs queries of 3 axes; the shape is " + text(q));
  Shape key = past;
  Shape buffer = c.shape(kBuffer);
  const Windows windows = by_token(c) ? Windows{q[1], 0} : windows_of(c, q[1]);
  if (!c.has(kPastLength) && key.size() == 3) key[1] = past[1] + windows.added;
  if (buffer.size() == 4) {
    buffer[2] =
        windows.left.defined() ? windows.left : out.symbol("buffered", "projections that wait for a whole window");
  }
  out.set(0, DType::i32, Shape{q[0], q[1], capacity_of(c)});
  out.set(1, c.dtype(kPastKey), key);
  out.set(2, c.dtype(kBuffer), buffer);
  return {};
}

Status infer_packed(const Call& c, Outputs& out) {
  const Shape& q = c.shape(kQ);
  const std::int64_t stated = c.integer("max_output_entries", 0);
  const Dim capacity = stated > 0 ? Dim(stated) : capacity_of(c);
  out.set(0, DType::i32, Shape{q[0], capacity});
  out.set(1, DType::i32, Shape{q[0]});
  out.set(2, c.in(kPastKey));
  out.set(3, c.in(kBuffer));
  out.set(4, c.in(kGateBuffer));
  out.set(5, c.in(kStateLengths));
  out.set(6, c.dtype(kQ), Shape{c.shape(kPastKey)[0], c.integer("state_update_capacity", 0), sizes_of(c).size});
  out.set(7, DType::i32, Shape{q[0]});
  out.set(8, DType::i32, Shape{c.shape(kPastKey)[0]});
  return {};
}

/// Queries against all compressed entries, and the largest of the scores.
Status count(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  const bool packed = c.op() == "PackedSparseAttentionIndexer";
  const Dim tokens = packed ? c.shape(kPastKey)[1] : c.out_shape(1)[1];
  const Dim entries = by_token(c) && !packed ? floor_div(tokens, s.ratio) : tokens;
  const Count fresh = s.rows;
  work::rms_norm(cost, s.rows * s.heads, s.size);
  work::rotate(cost, s.rows * s.heads * 2 * c.shape(kCos).back());
  if (by_token(c)) {  // mean of each block of keys; without a prepared state, of all blocks again
    cost[Work::add] += packed ? fresh * s.size : numel(c.out_shape(1));
  } else {  // softmax over the slots of two windows, channel by channel
    const Count slots = 2 * fresh * s.size;
    cost[Work::add] += slots;
    work::softmax(cost, floor_div(fresh, s.ratio) * s.size, 2 * s.ratio);
    cost[Work::mac] += slots;
  }
  const Count pooled =
      by_token(c) && !packed ? floor_div(numel(c.out_shape(1), 0, 2), s.ratio) : ceil_div(fresh, s.ratio);
  work::rms_norm(cost, pooled, s.size);
  work::rotate(cost, pooled * 2 * c.shape(kCos).back());
  const Count scores = s.rows * s.heads * entries;
  cost[Work::mac] += scores * s.size;
  cost[Work::mul] += by_token(c) ? scores : 2 * scores;  // scale, and the weights of the heads
  cost[Work::compare] += scores;
  cost[Work::add] += scores - s.rows * entries;
  const Dim kept = by_token(c) ? floor_div(c.integer("token_budget", 0), s.ratio) : Dim(c.integer("index_topk", 0));
  work::top_k(cost, s.rows, entries, smaller(c, kept, entries));
  bound(cost, "all entries are scored; which are visible is data");
  return {};
}

Status infer_merge(const Call& c, Outputs& out) {
  const Dim& rows = c.shape(2)[0];
  out.set(0, c.dtype(0), Shape{rows, c.integer("max_output_entries", 0)});
  out.set(1, c.dtype(0), Shape{rows});
  out.set(2, c.dtype(0), Shape{rows});
  return {};
}

/// Every entry is compared with those that are there already.
Status count_merge(const Call& c, Cost& cost) {
  const Count width = c.integer("max_output_entries", 0);
  cost[Work::compare] = floor_div(c.shape(2)[0] * width * (width - 1), 2);
  bound(cost, "rows of entries are counted as full");
  return {};
}
}  // namespace indexer

}  // namespace

std::vector<Rule> sparse_attention_rules() {
  const Text attend_text = kAttendFormula;
  return {
      {"selected_attention",
       selected::kSlots,
       "Grouped attention to keys that were chosen before, with a cache",
       attend_text +
           ", keys = a row of chosen ones and the window, a bound; RMS norms and rotation; a quantised cache: new rows "
           "requantised, met keys widened; read: the keys met; written: the new rows",
       contrib_doc("DynamicSparseAttention"),
       selected::infer_dynamic,
       selected::count,
       {{"com.microsoft::DynamicSparseAttention",
         "q k v key_cache value_cache other_key other_value chosen #counts #lengths total cos sin positions q_norm "
         "k_norm sink "
         "#committed k_scale v_scale"}}},
      {"selected_paged_attention",
       selected::kSlots,
       "The same with a cache in pages",
       attend_text +
           ", keys = a row of chosen ones and the window, a bound; RMS norms and rotation; a quantised cache: new rows "
           "requantised, met keys widened; read: the keys met; written: the new rows",
       contrib_doc("SparsePagedAttention"),
       selected::infer_paged,
       selected::count,
       {{"com.microsoft::SparsePagedAttention",
         "q k v key_cache value_cache #starts #past pages #slots chosen #counts other_key other_value #other_lengths "
         "cos sin sink "
         "q_norm k_norm k_scale v_scale #bounds"}}},
      {"sparse_indexer",
       indexer::kSlots,
       "Chooses for every query the keys that a sparse attention reads",
       "R queries of H heads and size D against E entries: mac = R * H * E * D; mul and compare = R * H * E (twice mul "
       "with head "
       "weights); add = R * (H - 1) * E; norms, rotation and pooling of keys; k largest: compare = R (k E - k (k + 1) "
       "/ 2); a bound",
       contrib_doc("SparseAttentionIndexer"),
       indexer::infer,
       indexer::count,
       {{"com.microsoft::SparseAttentionIndexer",
         "q k q_norm k_norm cos sin mask past_key gate position_bias head_weights positions past_length buffer"}}},
      {"packed_sparse_indexer",
       indexer::kSlots,
       "The same on packed sequences, with a state of fixed size",
       "as sparse_indexer, with all entries of the state",
       contrib_doc("PackedSparseAttentionIndexer"),
       indexer::infer_packed,
       indexer::count,
       {{"com.microsoft::PackedSparseAttentionIndexer",
         "q k q_norm k_norm cos sin starts past gate position_bias head_weights positions past_key buffer gate_buffer "
         "state_lengths "
         "#capture_count #active #mode merged merged_counts merged_status"}}},
      {"sparse_indexer_merge", "base #base_counts rows #starts #ends more #more_counts",
       "Union of two selections of keys", "N rows of width W: compare = N W (W - 1) / 2, a bound",
       contrib_doc("PackedSparseAttentionIndexerMerge"), indexer::infer_merge, indexer::count_merge,
       microsoft({"PackedSparseAttentionIndexerMerge"})},
  };
}

}  // namespace macsim::rules
