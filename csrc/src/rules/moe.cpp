// Mixtures of experts: routing, and the experts that a token visits.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "families.hpp"
#include "rules/gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

Count rows_of(const Shape& x) { return numel(x, 0, x.empty() ? 0 : x.size() - 1); }

// MoE, QMoE, MoEPacked ------------------------------------------------------------------------------------------------

enum : std::size_t {
  kX,
  kFirst,
  kSecond,
  kThird,
  kRouter,
  kMixing,
  kFirstBias,
  kSecondBias,
  kThirdBias,
  kFirstScales,
  kSecondScales,
  kThirdScales,
  kFirstZeros,
  kSecondZeros,
  kThirdZeros
};
constexpr char kSlots[] = "x w1 w2 w3 router mixing b1 b2 b3 scales1 scales2 scales3 zeros1 zeros2 zeros3";

/// The sizes of one layer, and of one expert's matrices.
struct Experts {
  Dim tokens, experts, hidden, inner, chosen;
  Dim first;           ///< rows of the first matrix: twice the inner size when gate and up lie together
  bool third = false;  ///< the other half of a gate has a matrix of its own
  Count visits() const { return tokens * chosen; }
  Count weights() const { return first * hidden + hidden * inner + (third ? inner * hidden : Count(0)); }
};

/// An inner size from the packed bytes of a row.
Dim unpacked(const Dim& row, std::int64_t bits) { return bits > 0 ? floor_div(row * 8, bits) : row; }

/// The size of an expert's matrix that is not the hidden one. Its rows are bytes of `bits` (0: they are not packed).
/// Both layouts are in use, [inner, hidden] and [hidden, inner], and the hidden size of the tokens tells which; where
/// it does not, because it is a symbol, the matrix is [rows, columns] as documented.
Dim beside_hidden(const Call& c, const Shape& w, const Dim& hidden, std::int64_t bits, bool hidden_rows) {
  const Dim& rows = w[1];
  const Dim& row = w[2];
  const Dim packed = bits > 0 ? ceil_div(hidden * bits, 8) : hidden;
  const bool as_rows = rows == hidden, as_columns = row == packed;
  if (as_columns && !(as_rows && hidden_rows)) return rows;
  if (as_rows) return unpacked(row, bits);
  if (hidden_rows) {
    c.assume_equal(rows, hidden, "the hidden sizes of the experts and the tokens");
    return unpacked(row, bits);
  }
  c.assume_equal(row, packed, "the hidden sizes of the experts and the tokens");
  return rows;
}

std::int64_t bits_of_first(const Call& c) {
  return c.integer("fc1_expert_weight_bits", c.integer("expert_weight_bits", 4));
}
std::int64_t bits_of_second(const Call& c) {
  return c.integer("fc2_expert_weight_bits", c.integer("expert_weight_bits", 4));
}

Experts experts_of(const Call& c) {
  const Shape& x = c.shape(kX);
  Experts e;
  e.tokens = rows_of(x);
  e.hidden = x.back();
  e.experts = better_known(c.shape(kFirst)[0], c.shape(kRouter).back());
  e.chosen = c.integer("k", 1);
  e.third = c.has(kThird);
  if (c.op() == "MoEPacked") {
    e.first = e.inner = c.shape(kFirst)[1];
    return e;
  }
  std::int64_t first = 0, second = 0;
  if (c.op() == "QMoE") {
    const std::string_view type = c.text("quant_type", "int");
    first = type == "int" ? bits_of_first(c) : type == "fp8" ? 8 : 4;
    second = type == "int" ? bits_of_second(c) : first;
  }
  e.first = beside_hidden(c, c.shape(kFirst), e.hidden, first, false);
  e.inner = beside_hidden(c, c.shape(kSecond), e.hidden, second, true);
  return e;
}

/// Which experts are read depends on data; as many as there are, or as there are visits.
Count experts_read(const Call& c, const Experts& e) { return smaller(c, e.experts, e.visits()); }

Status infer_experts(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kX), c.shape(kX));
  if (c.ranked(kX) && c.shape(kX).size() < 2)
    return bad("experts need tokens by hidden size; the shape is " + text(c.shape(kX)));
  if (c.op() == "MoE" && c.ranked(kX) && c.shape(kX).back().is_constant()) {
    for (const std::size_t slot : {kFirst, kSecond, kThird}) {
      const Shape& w = c.shape(slot);
      if (w.size() != 3 || !w[1].is_constant() || !w[2].is_constant()) continue;
      if (w[1] != c.shape(kX).back() && w[2] != c.shape(kX).back()) {
        return bad("experts of the shape " + text(w) + " do not fit tokens of the shape " + text(c.shape(kX)));
      }
    }
  }
  return {};
}

/// Softmax of the router's scores, the k largest, and their weights.
void route(const Call& c, const Experts& e, Cost& cost) {
  if (!c.has(kMixing)) work::softmax(cost, e.tokens, e.experts);
  work::top_k(cost, e.tokens, e.experts, e.chosen);
  if (c.integer("normalize_routing_weights", c.op() == "MoEPacked" ? 1 : 0) != 0) {
    cost[Work::add] += e.visits() - e.tokens;
    cost[Work::div] += e.visits();
  }
}

/// The experts on the tokens that visit them, and the weighted sum of what they say.
void visit(const Call& c, const Experts& e, std::string_view activation, Cost& cost) {
  const Count visits = e.visits();
  cost[Work::mac] += visits * e.weights();
  const std::pair<std::size_t, Dim> biases[] = {{kFirstBias, e.first}, {kSecondBias, e.hidden}, {kThirdBias, e.inner}};
  for (const auto& [slot, size] : biases) {
    if (c.has(slot)) cost[Work::add] += visits * size;
  }
  const Count inner = visits * e.inner;
  if (activation == "swiglu") {
    const bool alpha = c.real("activation_alpha", 1) != 1, beta = c.real("activation_beta", 0) != 0;
    work::swiglu(cost, inner, alpha, beta, c.has_attr("swiglu_limit"));
  } else if (activation == "geglu") {
    work::activation(cost, "fastgelu", inner);
    cost[Work::mul] += inner;
  } else {
    work::fused_activation(cost, activation, inner);
    if (e.third) cost[Work::mul] += inner;  // times the other half of the gate
  }
  cost[Work::mul] += visits * e.hidden;
  cost[Work::add] += visits * e.hidden - e.tokens * e.hidden;
}

/// Every expert's matrices once, and all of the rest.
void read_experts(const Call& c, const Experts& e, Cost& cost) {
  const Count read = experts_read(c, e);
  work::Reads reads(c);
  for (const std::size_t slot : {kX, kRouter, kMixing}) reads.all(slot);
  for (std::size_t slot = kFirst; slot <= kThirdZeros; ++slot) {
    if (slot == kRouter || slot == kMixing || !c.has(slot)) continue;
    reads.part(slot, read * numel(c.shape(slot), 1));
  }
  reads.into(cost);
}

Status cost_moe(const Call& c, Cost& cost) {
  const Experts e = experts_of(c);
  route(c, e, cost);
  visit(c, e, c.text("activation_type", "relu"), cost);
  read_experts(c, e, cost);
  return {};
}

DType packed_type(std::int64_t bits) { return bits <= 2 ? DType::i2 : bits <= 4 ? DType::i4 : DType::i8; }

Status cost_qmoe(const Call& c, Cost& cost) {
  const Experts e = experts_of(c);
  route(c, e, cost);
  visit(c, e, c.text("activation_type", "relu"), cost);
  read_experts(c, e, cost);
  const std::string_view type = c.text("quant_type", "int");
  work::dequantize(cost, experts_read(c, e) * e.weights(), type == "int");
  if (type == "int") {
    cost.rhs = packed_type(bits_of_first(c));
  } else {
    cost.rhs = type == "fp8" ? DType::f8e4m3fn : DType::f4e2m1;
  }
  if (type == "wfp4afp8") cost.lhs = DType::f8e4m3fn;
  return {};
}

Status cost_packed_moe(const Call& c, Cost& cost) {
  const Experts e = experts_of(c);
  route(c, e, cost);
  if (c.real("routed_scaling_factor", 1) != 1) cost[Work::mul] += e.visits();
  visit(c, e, c.text("activation_type", "swiglu"), cost);
  read_experts(c, e, cost);
  work::dequantize(cost, experts_read(c, e) * e.weights(), false);
  const auto bits = floor_div(c.shape(kFirst)[2] * 8, e.hidden).constant();
  cost.rhs = bits ? packed_type(*bits) : DType::i8;
  if (cost.trust == Trust::exact) {
    cost.trust = Trust::estimate;
    cost.because = "the multiply-adds are exact; unpacking is counted as one conversion and one scale a weight";
  }
  return {};
}

// MoEGroupRouter ------------------------------------------------------------------------------------------------------

namespace router {
enum : std::size_t { kScores, kBias, kProjection };

Status infer(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kScores);
  const Dim experts = c.has(kProjection) ? c.shape(kProjection)[0] : better_known(c.shape(kBias)[0], x.back());
  const Shape y{rows_of(x), experts};
  out.set(0, c.dtype(kScores), y);
  out.set(1, DType::f32, y);
  out.set(2, DType::f32, y);
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kScores);
  const Count rows = rows_of(x);
  const Dim experts = c.has(kProjection) ? c.shape(kProjection)[0] : better_known(c.shape(kBias)[0], x.back());
  const Count scores = rows * experts;
  if (c.has(kProjection)) {
    cost[Work::mac] = scores * x.back();
    cost.rhs = c.dtype(kProjection);
    cost.accumulate = DType::f32;
  }
  work::activation(cost, "sigmoid", scores);
  cost[Work::add] += scores;
  cost.compute = DType::f32;
  if (!c.wants(0)) return {};
  // Groups by the sum of their best, then experts of the best groups, then the logarithms of the chosen.
  const std::int64_t groups = c.integer("n_group", 1), active = c.integer("topk_group", 1),
                     best = c.integer("top_k", 1);
  const Dim size = quotient(c, experts, groups);
  const Dim summed = smaller(c, size, c.integer("group_topk", 2));
  if (groups > 1) {
    work::top_k(cost, rows * groups, size, summed);
    cost[Work::add] += rows * groups * (summed - 1);
    work::top_k(cost, rows, groups, active);
  }
  work::top_k(cost, rows, size * active, best);
  cost[Work::compare] += rows * best;
  cost[Work::log] += rows * best;
  return {};
}
}  // namespace router

// RouterGateUpProj ----------------------------------------------------------------------------------------------------

namespace gate_up {
enum : std::size_t { kIn, kW };

Status infer(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kIn);
  const std::int64_t routed = c.integer("router_size", 0);
  if (c.ranked(kIn) && x.empty()) return bad("RouterGateUpProj needs at least a vector; the input is a scalar");
  if (c.ranked(kIn) && c.ranked(kW)) unify(c, x.back(), c.shape(kW)[0], "inner sizes");
  Shape scores = x, gated = x;
  if (!x.empty()) {
    scores.back() = routed;
    gated.back() = quotient(c, c.shape(kW)[1] - routed, 2);
  }
  out.set(0, c.dtype(kIn), scores);
  out.set(1, c.dtype(kIn), gated);
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kIn);
  const Shape& w = c.shape(kW);
  cost[Work::mac] = rows_of(x) * better_known(x.back(), w[0]) * w[1];
  const Count gated = rows_of(x) * quotient(c, w[1] - c.integer("router_size", 0), 2);
  work::swiglu(cost, gated, c.real("activation_alpha", 1) != 1, c.real("activation_beta", 0) != 0,
               c.real("limit", 0) > 0);
  return {};
}
}  // namespace gate_up

const char* const kVisitFormula =
    "T tokens, k of E experts each: mac = T k (|w1| + |w2| + |w3|) / E; add for each bias; the activation on T k "
    "inner; weighted "
    "sum: mul = T k hidden, add = T (k - 1) hidden; router: softmax of T rows of E, k largest: compare = T (k E - k (k "
    "+ 1) / 2); "
    "weights: of min(E, T k) experts";

}  // namespace

std::vector<Rule> moe_family() {
  const Text visit_text = kVisitFormula;
  std::vector<Rule> rules = {
      {"moe",
       kSlots,
       "Experts on the tokens that choose them",
       visit_text,
       contrib_doc("MoE"),
       infer_experts,
       cost_moe,
       {{"com.microsoft::MoE", "x router w1 b1 w2 b2 w3 b3"}}},
      {"qmoe",
       kSlots,
       "The same with weights of few bits",
       visit_text + "; those widened once: convert and mul = their elements, add with zero points",
       contrib_doc("QMoE"),
       infer_experts,
       cost_qmoe,
       {{"com.microsoft::QMoE",
         "x router w1 scales1 b1 w2 scales2 b2 w3 scales3 b3 zeros1 zeros2 zeros3 mixing global1 global2 act1 act2 "
         "block1 block2"}}},
      {"moe_packed",
       kSlots,
       "The same with weights in a block-packed format",
       visit_text + "; those widened once: convert and mul = their elements (an estimate)",
       contrib_doc("MoEPacked"),
       infer_experts,
       cost_packed_moe,
       {{"com.microsoft::MoEPacked", "x router w1 w3 w2 mixing"}}},
      {"moe_group_router", "scores bias projection", "Chooses experts within the best groups",
       "S = scores of all experts for T tokens: sigmoid on S, add = S; G groups of n, m summed, g kept, k experts: "
       "compare = T G (m "
       "n - m (m + 1) / 2) + T (g G - g (g + 1) / 2) + T (k g n - k (k + 1) / 2) + T k; add = T G (m - 1); log = T k; "
       "with a "
       "projection mac = S * width",
       contrib_doc("MoEGroupRouter"), router::infer, router::count, microsoft({"MoEGroupRouter"})},
      {"router_gate_up", "x w", "Router scores and a gated shared expert from one product",
       "mac = rows * K * N; gate: silu and mul on rows * inner", contrib_doc("RouterGateUpProj"), gate_up::infer,
       gate_up::count, microsoft({"RouterGateUpProj"})},
  };
  const std::vector<std::size_t> codes = {kFirst,       kSecond,     kThird,       kFirstScales, kSecondScales,
                                          kThirdScales, kFirstZeros, kSecondZeros, kThirdZeros};
  return with_gradients({{"moe", gradient_of_network},
                         {"qmoe", gradient_of_coded_network(codes)},
                         {"moe_packed", gradient_of_coded_network(codes)},
                         {"moe_group_router", gradient_of_network},
                         {"router_gate_up", gradient_of_network}},
                        with(Access::contraction, std::move(rules)));
}

}  // namespace macsim::rules
