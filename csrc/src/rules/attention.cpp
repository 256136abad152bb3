// Attention: the cost that all spellings share, ONNX's Attention, and the one with bodies inside.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "attention.hpp"

#include "aten.hpp"
#include "families.hpp"
#include "gradient.hpp"
#include "support.hpp"
#include "walk.hpp"
#include "work.hpp"

namespace macsim::rules {

void attend(Cost& cost, const Attend& a) {
  const Count scores = a.scores();
  cost[Work::mac] += scores * (a.size + a.value_size);
  // Queries of all heads that share a key meet it at once.
  Count heads = a.batch * a.heads, key_heads = a.key_heads.value_or(heads);
  const std::optional<Count> sharing = divide_exact(heads, key_heads);
  cost.nest = std::make_shared<const Nest>(
      sharing ? Nest{std::move(key_heads), *sharing * a.queries, a.keys, a.size, a.value_size}
              : Nest{std::move(heads), a.queries, a.keys, a.size, a.value_size});
  if (a.visible) cost.masked += a.batch * a.heads * (a.queries * a.keys - *a.visible) * (a.size + a.value_size);
  cost[Work::mul] += scores;
  if (a.masks > 0) cost[Work::add] += a.masks * scores;
  if (a.selected) cost[Work::logic] += scores;
  if (a.softcap) {
    cost[Work::div] += scores;
    cost[Work::exp] += scores;
    cost[Work::mul] += scores;
  }
  if (a.widened) cost[Work::convert] += 2 * scores;
  work::softmax(cost, a.batch * a.heads * a.queries, a.keys, a.sink);
}

void attend_gradient_work(Gradient& g, const Attend& a, const Needed& needed) {
  attend_gradient_work(g.cost, g.again, a, needed);
}

void attend_gradient_work(Cost& cost, Cost& again, const Attend& a, const Needed& needed) {
  const Count scores = a.scores(), rows = a.batch * a.heads * a.queries;
  const Count hidden = a.visible ? a.batch * a.heads * (a.queries * a.keys - *a.visible) : Count(0);
  const auto products = [&](Cost& to, const Dim& width) {
    to[Work::mac] += scores * width;
    to.masked += hidden * width;
  };
  products(again, a.size);  // the scores, and from them the probabilities
  again[Work::mul] += scores;
  again[Work::add] += (1 + a.masks) * scores;
  again[Work::exp] += scores;
  if (a.selected) again[Work::logic] += scores;
  if (needed.v) products(cost, a.value_size);
  if (needed.q || needed.k || needed.mask) {
    products(cost, a.value_size);                         // of the probabilities
    cost[Work::mul] += rows * a.value_size + 2 * scores;  // y dy, p (dp - its sum), the scale
    cost[Work::add] += rows * a.value_size - rows + scores;
    if (a.softcap) {
      cost[Work::mul] += 2 * scores;
      cost[Work::add] += scores;
    }
  }
  if (needed.q) products(cost, a.size);
  if (needed.k) products(cost, a.size);
}

void attend_gradient(const Call& c, Gradient& g, const Attend& a) {
  enum : std::size_t { kQuery, kKey, kValue, kBias };
  const Count scores = a.scores(), rows = a.batch * a.heads * a.queries;
  const bool mask = a.masks > 0 && g.needs(kBias);
  attend_gradient_work(g, a, {g.needs(kQuery), g.needs(kKey), g.needs(kValue), mask});
  if (mask) {
    const Count own = numel(c.shape(kBias));
    if (scores != own) g[Work::add] += scores - own;
  }
  for (const auto& [slot, width] : {std::pair<std::size_t, Dim>(kKey, a.size), {kValue, a.value_size}}) {
    const Count all = a.batch * a.heads * a.keys * width, own = numel(c.shape(slot));
    if (g.needs(slot) && all != own) g[Work::add] += all - own;  // heads that share it
  }
  for (const std::size_t slot : {kQuery, kKey, kValue, kBias}) g.keep(slot);
  g.keep_output();
  g.keep_bytes(bytes(DType::f32, rows));
}

namespace {

// The sum of min(j, keys) over j = 1 .. n; nothing for n < 1.
Count first_rows(const Count& n, const Dim& keys) {
  const Count rows = max(n, 0), ramp = min(rows, keys);
  return floor_div(ramp * (ramp + 1), 2) + (rows - ramp) * keys;
}

}  // namespace

// Query i sees min(i + before + right + 1, keys) keys from the left, less the min(i + before - left, keys) that are out
// of its window.
Count visible_pairs(const Dim& queries, const Dim& keys, const Dim& before, std::optional<std::int64_t> left,
                    std::optional<std::int64_t> right) {
  Count pairs = queries * keys;
  if (right) pairs = first_rows(queries + before + *right, keys) - first_rows(before + *right, keys);
  if (left) pairs -= first_rows(queries + before - *left - 1, keys) - first_rows(before - *left - 1, keys);
  return pairs;
}

void bound(Cost& cost, std::string_view because) {
  if (cost.trust != Trust::exact) return;
  cost.trust = Trust::bound;
  cost.because = because;
}

Dim keys_in_window(const Call& c, const Dim& keys, const Dim& width, Cost& cost) {
  bound(cost, "the first queries see less than a whole window");
  return smaller(c, keys, width);
}

std::optional<Dim> told_length(const Call& c, std::size_t slot) {
  const auto told = c.ints(slot);
  if (!told || told->size() != 1 || !told->front().defined()) return std::nullopt;
  return told->front();
}

Dim head_size(const Call& c, const Dim& all, const Dim& heads) { return quotient(c, all, heads); }

namespace {

enum : std::size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kValid };

/// The sizes behind queries, keys and values of three axes (heads side by side) or four.
struct Sizes {
  Dim batch, heads, kv_heads, queries, fresh, past, keys, size, value_size;
  bool flat = false;
};

Status sizes_of(const Call& c, Sizes& s) {
  const Shape& q = c.shape(kQ);
  const Shape& k = c.shape(kK);
  const Shape& v = c.shape(kV);
  const bool ranked = c.ranked(kQ) && c.ranked(kK) && c.ranked(kV);
  if (ranked && ((q.size() != 3 && q.size() != 4) || k.size() != q.size() || v.size() != q.size())) {
    return bad("attention needs queries, keys and values of 3 or 4 axes alike; the shapes are " + text(q) + ", " +
               text(k) + " and " + text(v));
  }
  s.flat = q.size() == 3;
  s.batch = q[0];
  s.past = c.has(kPastKey) ? c.shape(kPastKey)[2] : Dim(0);
  if (s.flat) {
    s.heads = stated(c, "q_num_heads");
    s.kv_heads = stated(c, "kv_num_heads");
    s.queries = q[1];
    s.fresh = k[1];
    s.size = head_size(c, q[2], s.heads);
    s.value_size = head_size(c, v[2], s.kv_heads);
  } else {
    s.heads = q[1];
    s.kv_heads = better_known(k[1], v[1]);
    s.queries = q[2];
    s.fresh = better_known(k[2], v[2]);
    s.size = better_known(q[3], k[3]);
    s.value_size = v[3];
  }
  s.keys = s.past + s.fresh;
  return {};
}

Status infer_attention(const Call& c, Outputs& out) {
  Sizes s;
  if (Status status = sizes_of(c, s); !status) return status;
  const DType dtype = c.dtype(kQ);
  out.set(
      0, dtype,
      s.flat ? Shape{s.batch, s.queries, s.heads * s.value_size} : Shape{s.batch, s.heads, s.queries, s.value_size});
  out.set(1, c.dtype(kK), Shape{s.batch, s.kv_heads, s.keys, s.size});
  out.set(2, c.dtype(kV), Shape{s.batch, s.kv_heads, s.keys, s.value_size});
  out.set(3, dtype, Shape{s.batch, s.heads, s.queries, s.keys});
  return {};
}

/// How many keys a query can see through left_window_size and right_window_size.
Dim seen(const Call& c, const Dim& keys, bool causal, Cost& cost) {
  const std::int64_t left = c.integer("left_window_size", -1);
  const std::int64_t right = causal ? 0 : c.integer("right_window_size", -1);
  if (left < 0) return keys;
  if (right < 0) {
    bound(cost, "a window hides keys on the left of late queries");
    return keys;
  }
  return keys_in_window(c, keys, Dim(left) + 1 + right, cost);
}

/// What is attended to what. Windows make a bound.
Status read_attention(const Call& c, Sizes& s, Attend& a, Cost& cost) {
  if (Status status = sizes_of(c, s); !status) return status;
  const bool causal = c.integer("is_causal", 0) != 0;
  a.batch = s.batch;
  a.heads = s.heads;
  a.key_heads = s.batch * s.kv_heads;
  a.queries = s.queries;
  a.keys = seen(c, s.keys, causal, cost);
  a.size = s.size;
  a.value_size = s.value_size;
  a.masks = c.has(kMask) ? 1 : 0;
  a.selected =
      causal || c.has(kValid) || c.integer("left_window_size", -1) >= 0 || c.integer("right_window_size", -1) >= 0;
  if (a.selected && !c.has(kValid)) {  // lengths of their own put every sequence elsewhere
    const auto width = [&](std::string_view name) -> std::optional<std::int64_t> {
      const std::int64_t stated = c.integer(name, -1);
      return stated < 0 ? std::nullopt : std::optional(stated);
    };
    a.visible = visible_pairs(s.queries, s.keys, s.past, width("left_window_size"),
                              causal ? std::optional<std::int64_t>(0) : width("right_window_size"));
  }
  a.softcap = c.real("softcap", 0) != 0;
  const DType precision = dtype_from_onnx(c.integer("softmax_precision", 0));
  a.widened = precision != DType::unknown && precision != c.dtype(kQ);
  return {};
}

Status cost_attention(const Call& c, Cost& cost) {
  Sizes s;
  Attend a;
  if (Status status = read_attention(c, s, a, cost); !status) return status;
  attend(cost, a);
  if (c.has(kValid)) bound(cost, "padded keys are counted too");
  // The cache grows in place: only the new keys and values are written to it.
  Count written = bytes(c.out(0));
  if (c.wants(1)) written += bytes(c.out(1).dtype, s.batch * s.kv_heads * s.fresh * s.size);
  if (c.wants(2)) written += bytes(c.out(2).dtype, s.batch * s.kv_heads * s.fresh * s.value_size);
  if (c.wants(3)) written += bytes(c.out(3));
  cost.written = written;
  return {};
}

Status gradient_attention(const Call& c, Gradient& g) {
  Sizes s;
  Attend a;
  if (Status status = read_attention(c, s, a, g.cost); !status) return status;
  for (const std::size_t slot : {kPastKey, kPastValue}) g.none(slot);
  attend_gradient(c, g, a);
  return {};
}

// FlexAttention: bodies change the scores and the probabilities; they have rows of their own. -----------------------

Status run_flex(Walk& walk, const Call& c, Outputs& out) {
  Sizes s;
  if (Status status = sizes_of(c, s); !status) return status;
  out.set(0, c.dtype(kQ), Shape{s.batch, s.heads, s.queries, s.value_size});
  DType precision = dtype_from_onnx(c.integer("softmax_precision", 0));
  if (precision == DType::unknown) precision = c.dtype(kQ) == DType::f64 ? DType::f64 : DType::f32;
  for (const std::string_view which : {"score_mod", "prob_mod"}) {
    const std::uint32_t body = walk.body_of(which);
    if (body == kNone) continue;
    const Type scores = Type::of(precision, Shape{s.batch, s.heads, s.queries, s.keys});
    (void)walk.run_body({body, std::string(which), {{scores, nullptr}}, 1, Trust::exact, {}});
  }
  return {};
}

Status cost_flex(const Call& c, Cost& cost) {
  Sizes s;
  if (Status status = sizes_of(c, s); !status) return status;
  Attend a;
  a.batch = s.batch;
  a.heads = s.heads;
  a.key_heads = s.batch * s.kv_heads;
  a.queries = s.queries;
  a.keys = s.keys;
  a.size = s.size;
  a.value_size = s.value_size;
  DType precision = dtype_from_onnx(c.integer("softmax_precision", 0));
  if (precision == DType::unknown) precision = c.dtype(kQ) == DType::f64 ? DType::f64 : DType::f32;
  a.widened = precision != c.dtype(kQ);
  attend(cost, a);
  return {};
}

// As torch calls it: q [.., heads, queries, size], k and v likewise; fewer heads of keys than of queries are shared.
// ------

enum : std::size_t { kTorchMask = 3, kBegins, kKeyBegins, kUsed };

Status aten_attention(const Call& c, Outputs& out) {
  const Shape &q = c.shape(kQ), &v = c.shape(kV);
  const Shape& k = c.shape(kK);
  if (!c.ranked(kQ) || !c.ranked(kK) || !c.ranked(kV) || c.outputs() != 1) return {};
  if (q.size() < 2 || k.size() < 2 || v.size() < 2) return {};
  Shape y(q.begin(), q.end() - 2), with_keys;
  if (c.integer("enable_gqa", 0) == 0) {  // batches that differ are repeated
    if (Status s = broadcast(c, y, Shape(k.begin(), k.end() - 2), with_keys); !s) return s;
    if (Status s = broadcast(c, with_keys, Shape(v.begin(), v.end() - 2), y); !s) return s;
  }
  unify(c, q.back(), k.back(), "the sizes of queries and keys");
  unify(c, k[k.size() - 2], v[v.size() - 2], "the numbers of keys and values");
  if (c.has(kTorchMask) && c.ranked(kTorchMask)) {
    const Shape& mask = c.shape(kTorchMask);
    if (!mask.empty() && !mask.back().is(1)) unify(c, k[k.size() - 2], mask.back(), "the keys and those of the mask");
    if (mask.size() > 1 && !mask[mask.size() - 2].is(1))
      unify(c, q[q.size() - 2], mask[mask.size() - 2], "the queries and those of the mask");
  }
  y.push_back(q[q.size() - 2]);
  y.push_back(v.back());
  out.set(0, c.dtype(kQ), std::move(y));
  return {};
}

Status read_aten_attention(const Call& c, Attend& a) {
  const Shape &q = c.shape(kQ), &k = c.shape(kK), &v = c.shape(kV);
  if (q.size() < 2 || k.size() < 2 || v.empty()) return bad("attention needs queries and keys of 2 axes or more");
  a.batch = numel(q, 0, q.size() - 2);  // heads are among the batches
  if (const Shape& y = c.out_shape(); c.outputs() == 1 && y.size() >= 2) a.batch = numel(y, 0, y.size() - 2);
  a.key_heads = numel(k, 0, k.size() - 2);
  a.heads = 1;
  a.queries = q[q.size() - 2];
  a.keys = k[k.size() - 2];
  a.size = q.back();
  a.value_size = v.back();
  a.masks = c.has(kTorchMask) ? 1 : 0;
  a.selected = c.integer("is_causal", 0) != 0;
  if (a.selected) a.visible = visible_pairs(a.queries, a.keys, 0, std::nullopt, 0);  // aligned at the top left
  return {};
}

Status cost_aten_attention(const Call& c, Cost& cost) {
  Attend a;
  if (Status status = read_aten_attention(c, a); !status) return status;
  attend(cost, a);
  return {};
}

/// What a causal mask and a window leave; the last query is at the last key.
void see_flash(const Call& c, Attend& a) {
  const bool causal = c.integer("is_causal", 0) != 0;
  std::optional<std::int64_t> left, right;
  if (const std::int64_t stated = c.integer("window_size_left", -1); stated >= 0) left = stated;
  if (const std::int64_t stated = c.integer("window_size_right", -1); stated >= 0) right = stated;
  if (const Span<std::int64_t> both = c.integers("window_size"); both.size() == 2) {
    if (both[0] >= 0) left = both[0];
    if (both[1] >= 0) right = both[1];
  }
  if (causal) right = 0;
  a.selected = left || right;
  if (a.selected) a.visible = visible_pairs(a.queries, a.keys, a.keys - a.queries, left, right);
}

/// What a kernel is given: queries, keys and values as [batch, steps, heads, size].
Status read_kernel(const Call& c, Attend& a) {
  const Shape &q = c.shape(kQ), &k = c.shape(kK), &v = c.shape(kV);
  if (q.size() != 4 || k.size() != 4 || v.size() != 4) return bad("the kernel needs four axes; has " + text(q));
  a.batch = q[0];
  a.heads = q[2];
  a.queries = q[1];
  a.keys = k[1];
  a.size = q[3];
  a.value_size = v[3];
  a.masks = c.has(kTorchMask) ? 1 : 0;
  return {};
}

/// The same with masks by their number: 1 hides what lies right of the diagonal from the top left, 2 from the bottom
/// right; the window is around the diagonal.
void see_efficient(const Call& c, Attend& a) {
  const std::int64_t hides = c.integer("custom_mask_type", 0);
  std::optional<std::int64_t> left;
  if (const std::int64_t window = c.integer("window_size", 0); window > 0) left = window - 1;
  a.selected = hides != 0;
  if (a.selected) a.visible = visible_pairs(a.queries, a.keys, hides == 2 ? a.keys - a.queries : Dim(0), left, 0);
}

/// Which queries see which keys, by the kernel that it is.
void see_kernel(const Call& c, Attend& a) {
  if (c.op().starts_with("_efficient")) {
    see_efficient(c, a);
  } else {
    see_flash(c, a);
  }
}

bool is_kernel(const Call& c) {
  return c.op().starts_with("_flash") || c.op().starts_with("_efficient") || c.op().starts_with("_varlen");
}

/// Whether the call has a tensor, or what is in it.
bool tells(const Call& c, std::size_t slot, std::string_view name) { return c.has(slot) || c.has_attr(name); }
bool in_a_row(const Call& c) { return is_kernel(c) && tells(c, kBegins, "begins"); }

/// Sequences of a batch one after the other, and where each begins: [steps, heads, size], or with a batch of 1 before.
/// Where the beginnings are not known, every query meets as many keys as the longest sequence has.
Status read_sequences(const Call& c, Cost& cost, std::vector<Attend>& sequences) {
  const Shape &q = c.shape(kQ), &k = c.shape(kK), &v = c.shape(kV);
  if (q.size() < 3 || k.size() < 3 || v.size() < 3)
    return bad("the kernel needs steps, heads and sizes; has " + text(q));
  Attend a;
  a.heads = q[q.size() - 2];
  a.key_heads = k[k.size() - 2];
  a.size = q.back();
  a.value_size = v.back();
  a.masks = c.has(kTorchMask) ? 1 : 0;
  const Span<std::int64_t> begins = c.integers("begins");
  const Span<std::int64_t> key_begins = tells(c, kKeyBegins, "key_begins") ? c.integers("key_begins") : begins;
  if (!begins.empty() && begins.size() == key_begins.size() && !tells(c, kUsed, "used")) {
    for (std::size_t i = 0; i + 1 < begins.size(); ++i) {
      a.queries = begins[i + 1] - begins[i];
      a.keys = key_begins[i + 1] - key_begins[i];
      a.visible.reset();
      see_kernel(c, a);
      sequences.push_back(a);
    }
    return {};
  }
  const std::int64_t longest = c.integer("max_k", c.integer("max_seqlen_k", -1));
  a.queries = q[q.size() - 3];
  a.keys = longest >= 0 ? Dim(longest) : k[k.size() - 3];
  see_kernel(c, a);
  a.visible.reset();  // it hangs on the lengths
  sequences.push_back(a);
  bound(cost, "lengths of sequences are not known: each query meets as many keys as the longest has");
  return {};
}

/// Batches of sequences that are alike, or of which it is told where each begins.
Status read_kernels(const Call& c, Cost& cost, std::vector<Attend>& sequences) {
  if (in_a_row(c) && (c.shape(kQ).size() == 3 || c.shape(kQ)[0].is(1))) return read_sequences(c, cost, sequences);
  Attend a;
  if (Status s = read_kernel(c, a); !s) return s;
  see_kernel(c, a);
  sequences.push_back(std::move(a));
  return {};
}

/// The kernels of fused encoder layers and of flash attention.
Status gradient_torch_attention(const Call& c, Gradient& g) {
  std::vector<Attend> sequences(1);
  if (is_kernel(c)) {
    sequences.clear();
    if (Status s = read_kernels(c, g.cost, sequences); !s) return s;
  } else if (Status s = read_aten_attention(c, sequences.front()); !s) {
    return s;
  }
  if (!in_a_row(c)) {
    attend_gradient(c, g, sequences.front());
    return {};
  }
  const Shape& q = c.shape(kQ);
  const bool mask = c.has(kTorchMask) && g.needs(kTorchMask);
  for (const Attend& a : sequences) attend_gradient_work(g, a, {g.needs(kQ), g.needs(kK), g.needs(kV), mask});
  for (const std::size_t slot : {kK, kV}) {
    const Shape& x = c.shape(slot);
    const Dim &heads = q[q.size() - 2], &own = x[x.size() - 2];
    if (g.needs(slot) && heads != own) g[Work::add] += (heads - own) * quotient(c, numel(x), own);  // that share it
  }
  for (const std::size_t slot : {kQ, kK, kV, kMask}) g.keep(slot);
  g.keep_output();
  g.keep_bytes(bytes(DType::f32, numel(q, 0, q.size() - 1)));
  return {};
}

Status cost_kernel(const Call& c, Cost& cost) {
  std::vector<Attend> sequences;
  if (Status s = read_kernels(c, cost, sequences); !s) return s;
  for (const Attend& a : sequences) attend(cost, a);
  if (sequences.size() != 1) cost.nest = nullptr;  // each has loops of its own
  if (sequences.empty()) cost.moves("no sequence at all");
  return {};
}

/// The gradients of queries, keys and values, the probabilities made again.
Status cost_attention_backward(const Call& c, Cost& cost) {
  std::vector<Attend> sequences(1);
  if (is_kernel(c)) {
    sequences.clear();
    if (Status s = read_kernels(c, cost, sequences); !s) return s;
  } else if (Status s = read_aten_attention(c, sequences.front()); !s) {
    return s;
  }
  for (const Attend& a : sequences) attend_gradient_work(cost, cost, a, {true, true, true, false});
  return {};
}

}  // namespace

std::vector<Rule> attention_family() {
  const Text begins =
      "cum_seq_q=begins cum_seq_k=key_begins cu_seq_q=begins cu_seq_k=key_begins cu_seqlens_q=begins "
      "cu_seqlens_k=key_begins seqused_k=used seqlen_k=used";
  std::vector<Rule> rules = joined(
      std::vector<Rule>{
          {"attention", "q k v mask past_key past_value #valid", "Scaled dot-product attention in heads, with a cache",
           Text(kAttendFormula) + "; written: the cache grows in place; windows and padded keys: a bound",
           "https://onnx.ai/onnx/operators/onnx__Attention.html", infer_attention, cost_attention, onnx({"Attention"}),
           nullptr, gradient_attention},
          {"torch_attention", "q k v mask #begins #key_begins #used",
           "Scaled dot-product attention as torch calls it, by every kernel",
           Text(kAttendFormula) +
               "; sequences one after the other: the sum over them, a bound where their lengths are not known",
           "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html",
           aten_attention, cost_aten_attention,
           aten({"scaled_dot_product_attention"}, aten_attention, "q k v mask") +
               aten({"_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu",
                     "_scaled_dot_product_attention_math", "_scaled_dot_product_attention_math_for_mps",
                     "_scaled_dot_product_fused_attention_overrideable"},
                    {}, "q k v mask") +
               aten({"_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention"}, {},
                    "q k v mask") +
               aten({"_flash_attention_forward", "torch_attn::_varlen_attn"}, {}, "q k v begins key_begins used",
                    begins, cost_kernel) +
               aten({"_flash_attention_forward_no_dropout_inplace", "torch_attn::_varlen_attn_out"}, {},
                    "y q k v begins key_begins used", begins, cost_kernel) +
               aten({"_efficient_attention_forward"}, {}, "q k v mask begins key_begins used", begins, cost_kernel),
           nullptr, gradient_torch_attention},
          {"attention_backward",
           "q k v mask #begins #key_begins #used dy",
           "The gradients of scaled dot-product attention, by the kernels that make its probabilities again",
           "with S = batch * heads * queries * keys, r rows of v values: mac = S (3 size + 2 value size); mul = 3S + r "
           "v; "
           "add "
           "= 2S, and S for a mask, + r (v - 1); exp = S; logic = S for a causal mask",
           "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html",
           {},
           cost_attention_backward,
           aten({"_scaled_dot_product_flash_attention_backward"}, {}, "dy q k v") +
               aten({"_flash_attention_backward", "torch_attn::_varlen_attn_backward"}, {},
                    "dy q k v y sums begins key_begins", begins) +
               aten({"_scaled_dot_product_efficient_attention_backward",
                     "_scaled_dot_product_fused_attention_overrideable_backward"},
                    {}, "dy q k v mask") +
               aten({"_efficient_attention_backward"}, {}, "dy q k v mask y begins key_begins", begins) +
               aten({"_scaled_dot_product_flash_attention_for_cpu_backward"}, {}, "dy q k v y sums mask") +
               aten({"_scaled_dot_product_cudnn_attention_backward"}, {}, "dy q k v y sums seed offset mask"),
           nullptr,
           NoGradient{"torch has none of it"}},
          {"flex_attention",
           "q k v",
           "Scaled dot-product attention with bodies that change scores and probabilities",
           Text(kAttendFormula) + "; the bodies are counted in rows of their own",
           "https://github.com/onnx/onnx/blob/main/docs/Operators.md#ai.onnx.preview.FlexAttention",
           nullptr,
           cost_flex,
           {{"ai.onnx.preview::FlexAttention", ""}},
           run_flex}},
      projected_attention_rules(), cached_attention_rules(), sparse_attention_rules(), linear_attention_rules(),
      position_rules());
  return with(Access::contraction,
              with(Access::pointwise,
                   {"rotary_embedding", "gemma_rotary", "relative_position_bias", "gated_relative_position_bias"},
                   std::move(rules)));
}

}  // namespace macsim::rules
