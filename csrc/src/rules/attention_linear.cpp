// Linear attention: recurrences over a state of keys by values, their gates, and state-space relatives.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "attention.hpp"
#include "families.hpp"
#include "rules/gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

/// One recurrence, token by token: decay the state, take back what it holds for the key, add the outer product of key
/// and value, read it with the query.
struct Recurrence {
  Dim tokens, heads, readers;  ///< of the state; that read it
  Dim size, value_size;
  Count decays;  ///< exponentials of the decay
  bool gated = false, delta = false;
};

void recur(Cost& cost, const Recurrence& r) {
  const Count steps = r.tokens * r.heads;
  const Count state = steps * r.size * r.value_size;
  if (r.gated) {
    cost[Work::exp] += r.decays;
    cost[Work::mul] += state;
  }
  if (r.delta) {
    cost[Work::mac] += state;                 // what the state holds for the key
    cost[Work::add] += steps * r.value_size;  // the value less that
    cost[Work::mul] += steps * r.value_size;  // times beta
  }
  cost[Work::mac] += state;
  cost[Work::mac] += r.tokens * r.readers * r.size * r.value_size;
  cost[Work::mul] += r.tokens * r.readers * r.value_size;  // the scale
}
const char* const kRecurFormula =
    "N tokens, H heads of the state of size D x V, Q heads that read: mac = N (H + Q) D V, N H D V more with a delta "
    "rule; "
    "mul = N Q V; a gate: exp = |decay|, mul = N H D V; a delta rule: add and mul = N H V";

bool is_gated(const Call& c) { return c.text("update_rule", "gated_delta").starts_with("gated"); }
bool is_delta(const Call& c) {
  const std::string_view rule = c.text("update_rule", "gated_delta");
  return rule == "delta" || rule == "gated_delta";
}

// LinearAttention -------------------------------------------------------------------------------------------------

namespace packed {
enum : std::size_t { kQ, kK, kV, kPast, kDecay, kBeta };

Recurrence sizes_of(const Call& c) {
  const Shape& q = c.shape(kQ);
  Recurrence r;
  const Dim readers = stated(c, "q_num_heads");
  r.heads = stated(c, "kv_num_heads");
  r.readers = max(readers, r.heads);
  r.tokens = q[0] * q[1];
  r.size = head_size(c, q[2], readers);
  r.value_size = head_size(c, c.shape(kV)[2], r.heads);
  r.gated = is_gated(c);
  r.delta = is_delta(c);
  if (r.gated) r.decays = numel(c.shape(kDecay));
  return r;
}

Status infer(const Call& c, Outputs& out) {
  const Shape& q = c.shape(kQ);
  if (c.ranked(kQ) && q.size() != 3) return bad("linear attention needs queries of 3 axes; the shape is " + text(q));
  const Recurrence r = sizes_of(c);
  Shape state{q[0], r.heads, r.size, r.value_size};
  if (const std::int64_t window = c.integer("state_window", 0); window > 0) state.insert(0, window);
  out.set(0, c.dtype(kQ), Shape{q[0], q[1], r.readers * r.value_size});
  out.set(1, c.has(kPast) ? c.dtype(kPast) : c.dtype(kQ), state);
  return {};
}

Status count(const Call& c, Cost& cost) {
  recur(cost, sizes_of(c));
  return {};
}
}  // namespace packed

// LinearAttentionGate -----------------------------------------------------------------------------------------------

namespace gate {
enum : std::size_t { kA, kBias, kScale, kB };

Status infer(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kA), c.shape(kA));
  out.set(1, c.dtype(kA), c.has(kB) ? c.shape(kB) : c.shape(kA));
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Count a = numel(c.shape(kA));
  cost[Work::add] += a;
  work::activation(cost, "softplus", a);
  cost[Work::mul] += a;
  if (c.wants(1)) work::activation(cost, "sigmoid", numel(c.out_shape(1)));
  cost.compute = c.dtype(kScale);
  return {};
}
}  // namespace gate

// GatedDeltaNet -----------------------------------------------------------------------------------------------------

namespace delta_net {
enum : std::size_t { kQ, kK, kV, kStarts, kDecay, kBeta, kState, kALog, kDtBias, kCount, kActive };

struct Sizes {
  Shape lead;  ///< the token axes
  Dim q_heads, heads, size, value_size, batch;
};

Sizes sizes_of(const Call& c) {
  const Shape& q = c.shape(kQ);
  const Shape& state = c.shape(kState);
  Sizes s;
  if (c.has(kK)) {
    const std::size_t axes = q.size() < 2 ? 0 : q.size() - 2;
    s.lead = Shape(q.begin(), q.begin() + axes);
    s.q_heads = q[axes];
    s.size = q.back();
    const Shape& v = c.shape(kV);
    s.heads = v[v.size() < 2 ? 0 : v.size() - 2];
    s.value_size = v.back();
  } else {  // 2 * q_heads * size + heads * value_size in a row; the state tells the sizes
    s.lead = Shape(q.begin(), q.empty() ? q.begin() : q.end() - 1);
    s.heads = state[1];
    s.value_size = state[2];
    s.size = state[3];
    s.q_heads = quotient(c, q.back() - s.heads * s.value_size, 2 * s.size);
  }
  s.batch = c.has(kState)        ? state[0]
            : c.has(kStarts)     ? c.shape(kStarts)[0] - 1
            : s.lead.size() == 2 ? s.lead[0]
                                 : Dim::undefined();
  return s;
}

Status infer(const Call& c, Outputs& out) {
  const Sizes s = sizes_of(c);
  Shape y = s.lead;
  y.push_back(max(s.q_heads, s.heads));
  y.push_back(s.value_size);
  out.set(0, c.dtype(kQ), y);
  out.set(1, DType::f32, Shape{s.batch, s.heads, s.value_size, s.size});
  const Shape& decay = c.shape(kDecay);
  const bool wide = c.has(kDecay) && decay.size() == s.lead.size() + 2;
  const Dim width = s.heads * (wide ? s.size : Dim(1)) + s.q_heads * s.size + s.heads * s.value_size;
  out.set(2, DType::f32, Shape{s.batch, c.integer("state_update_capacity", 0) * width});
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  Recurrence r;
  r.tokens = numel(s.lead);
  r.heads = s.heads;
  r.readers = max(s.q_heads, s.heads);
  r.size = s.size;
  r.value_size = s.value_size;
  r.gated = is_gated(c);
  r.delta = is_delta(c);
  const Count decays = c.has(kDecay) ? numel(c.shape(kDecay)) : Count(0);
  if (r.gated) r.decays = decays;
  recur(cost, r);
  const std::string_view gate = c.text("gate_activation", "none");
  if (gate != "none") {
    cost[Work::exp] += numel(c.shape(kALog));
    cost[Work::add] += decays;
    if (gate == "softplus" || gate == "qwen") {
      work::activation(cost, "softplus", decays);
      cost[Work::mul] += decays;
      cost[Work::logic] += numel(c.shape(kALog));  // the sign
    } else {
      work::activation(cost, "sigmoid", decays);
      cost[Work::mul] += 2 * decays;
    }
  }
  if (c.text("beta_activation", "none") == "sigmoid") work::activation(cost, "sigmoid", numel(c.shape(kBeta)));
  if (c.integer("qk_l2_norm", 0) != 0) work::l2_norm(cost, 2 * r.tokens * s.q_heads, s.size);
  cost.accumulate = DType::f32;
  return {};
}

Status infer_replay(const Call& c, Outputs& out) {
  out.set(0, c.in(2));
  return {};
}

/// Offsets, then Hv Dv Dk Hk capacity kept: what is replayed is told by a vector of eleven numbers.
Status count_replay(const Call& c, Cost& cost) {
  const auto told = c.ints(3);
  if (!told || told->size() != 11) {
    cost.trust = Trust::unknown;
    cost.because = "how much is replayed is told at run time";
    return {};
  }
  const std::vector<Dim>& m = *told;
  const Count& kept = m[10];
  const Count state = m[5] * m[6] * m[7];
  cost[Work::mac] = kept * state;
  cost[Work::mul] = kept * state;
  const bool wide = equal(m[3] - m[2], m[9] * m[5] * m[7]) == Truth::yes;
  const Count capsule = kept * (m[5] * (wide ? m[7] : Dim(1)) + m[8] * m[7] + m[5] * m[6]);
  work::Reads(c).part(0, state).part(1, capsule).into(cost);
  cost.written = bytes(c.dtype(2), state);
  return {};
}
}  // namespace delta_net

// Mamba2Verify --------------------------------------------------------------------------------------------------------

namespace mamba {
enum : std::size_t { kProjection, kConvState, kState, kConvW, kConvB, kDtBias, kA, kD, kNorm };

struct Sizes {
  Dim rows, heads, head, groups, state, wide, channels;
};
Sizes sizes_of(const Call& c) {
  Sizes s;
  s.rows = c.shape(kProjection)[0];
  s.heads = stated(c, "heads");
  s.head = c.integer("head_dim", 64);
  s.groups = c.integer("n_groups", 1);
  s.state = c.integer("d_state", 128);
  s.wide = s.heads * s.head;
  s.channels = s.wide + 2 * s.groups * s.state;
  return s;
}

Status infer(const Call& c, Outputs& out) {
  const Sizes s = sizes_of(c);
  out.set(0, c.dtype(kProjection), Shape{s.rows, s.wide});
  out.set(1, c.in(kConvState));
  out.set(2, c.in(kState));
  out.set(3, c.dtype(kProjection), Shape{s.rows, s.channels});
  out.set(4, c.dtype(kState), Shape{s.rows, s.wide});
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  const Count convolved = s.rows * s.channels, steps = s.rows * s.heads, y = s.rows * s.wide;
  cost[Work::mac] += 4 * convolved;
  cost[Work::add] += convolved;
  work::activation(cost, "silu", convolved);
  // dt = max(softplus(raw + bias), least); decay = exp(A * dt)
  cost[Work::add] += steps;
  work::activation(cost, "softplus", steps);
  cost[Work::compare] += steps;
  cost[Work::mul] += steps;
  cost[Work::exp] += steps;
  // S = decay * S + (dt * x) B; readout = D * x + S C
  cost[Work::mul] += y * s.state + y;
  cost[Work::mac] += 2 * y * s.state;
  cost[Work::mul] += y;
  cost[Work::add] += y;
  work::activation(cost, "silu", y);
  cost[Work::mul] += y;
  work::rms_norm(cost, s.rows * s.groups, quotient(c, s.wide, s.groups));
  cost.rhs = c.dtype(kState);
  cost.accumulate = DType::f32;
  return {};
}
}  // namespace mamba

}  // namespace

std::vector<Rule> linear_attention_rules() {
  const Text recur_text = kRecurFormula;
  std::vector<Rule> rules = {
      {"linear_attention", "q k v past decay beta", "Attention as a recurrence over a state, heads side by side",
       recur_text, "https://onnx.ai/onnx/operators/onnx__LinearAttention.html", packed::infer, packed::count,
       onnx({"LinearAttention"}) + microsoft({"LinearAttention"})},
      {"linear_attention_gate", "a dt_bias scale b", "Decay and update rate of a linear attention",
       "add = 2 |a|, exp, log and mul = |a|; sigmoid on |b|", contrib_doc("LinearAttentionGate"), gate::infer,
       gate::count, microsoft({"LinearAttentionGate"})},
      {"gated_delta_net", "q k v #starts decay beta state a_log dt_bias #count #active",
       "Attention as a recurrence over a state, on packed tokens",
       recur_text + "; gates: softplus or sigmoid on |decay|, sigmoid on |beta|; norms of queries and keys",
       contrib_doc("GatedDeltaNet"), delta_net::infer, delta_net::count, microsoft({"GatedDeltaNet"})},
      {"gated_delta_net_replay", "source capsule destination #told", "A state after the first captured transitions",
       "k transitions of H states of D x V: mac = mul = k H D V", contrib_doc("GatedDeltaNetStateReplay"),
       delta_net::infer_replay, delta_net::count_replay, microsoft({"GatedDeltaNetStateReplay"})},
      {"mamba2", "projection conv_state state conv_w conv_b dt_bias a d norm #row",
       "Causal convolution, selective state-space recurrence, gate and norm",
       "R rows, C channels, D = heads * head size, N state size: mac = 4 R C + 2 R D N; mul = R D N + 3 R D + R heads; "
       "silu on "
       "R C and R D; softplus, exp, add and compare on R heads; add = R C + R D; RMS norm of groups",
       contrib_doc("Mamba2Verify"), mamba::infer, mamba::count, microsoft({"Mamba2Verify"})},
  };
  return with_gradients({{"linear_attention", gradient_of_network},
                         {"linear_attention_gate", gradient_of_network},
                         {"gated_delta_net", gradient_of_network},
                         {"mamba2", gradient_of_network}},
                        std::move(rules));
}

}  // namespace macsim::rules
