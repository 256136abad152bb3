// Contractions with weights of few bits: packed blocks with scales, widened before the product.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "contraction.hpp"
#include "families.hpp"
#include "rules/gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

/// What weights of so many bits are called; odd widths by the next wider type.
DType weight_type(std::int64_t bits) { return bits <= 2 ? DType::i2 : bits <= 4 ? DType::i4 : DType::i8; }

/// All sizes but the last.
Count rows_of(const Shape& x) { return numel(x, 0, x.empty() ? 0 : x.size() - 1); }

/// [rows, k] times a matrix of k * n low-bit weights, each widened once: (q - zero point) * scale.
void project(Cost& cost, const Count& rows, const Dim& k, const Dim& n) {
  cost[Work::mac] += rows * k * n;
  work::dequantize(cost, k * n, true);
}

bool has_zero_size(const Shape& shape) {
  for (const Dim& dim : shape) {
    if (dim.is(0)) return true;
  }
  return false;
}

Status check_inner(const Call& c, std::size_t a, const Dim& k) {
  if (!c.ranked(a)) return {};
  if (c.shape(a).empty()) return bad("a low-bit matrix product needs at least a vector; the input is a scalar");
  unify(c, c.shape(a).back(), k, "inner sizes");
  return {};
}

// MatMulNBits and what is fused around it -----------------------------------------------------------------------

enum : std::size_t { kA, kB, kScales, kZeros, kGroup, kBias };

Status infer_nbits(const Call& c, Outputs& out) {
  if (Status s = check_inner(c, kA, stated(c, "K")); !s) return s;
  out.set(0, c.dtype(kA), with_last(c.shape(kA), stated(c, "N")));
  return {};
}

Status cost_nbits(const Call& c, Cost& cost) {
  if (c.has(kBias)) cost[Work::add] += numel(c.out_shape());
  if (has_zero_size(c.shape(kB))) {
    if (!c.has(kBias)) cost.moves("the weights are left out: the output is zeros");
    return {};
  }
  project(cost, rows_of(c.shape(kA)), stated(c, "K"), stated(c, "N"));
  cost.rhs = weight_type(c.integer("bits", 4));
  return {};
}

namespace fused {
enum : std::size_t { kA, kSkip, kNorm, kB0, kScales0, kBias0, kB1, kScales1, kBias1, kB2, kScales2, kBias2 };
}

/// The optional residual sum and RMS norm in front of the projections.
void normalize(const Call& c, const Count& rows, const Dim& k, Cost& cost) {
  if (c.has(fused::kSkip)) cost[Work::add] += rows * k;
  if (c.has(fused::kNorm)) work::rms_norm(cost, rows, k);
}

Status infer_mlp(const Call& c, Outputs& out) {
  if (Status s = check_inner(c, fused::kA, stated(c, "K")); !s) return s;
  out.set(0, c.dtype(fused::kA), with_last(c.shape(fused::kA), stated(c, "N")));
  out.set(1, c.dtype(fused::kA), c.shape(fused::kA));
  return {};
}

Status cost_mlp(const Call& c, Cost& cost) {
  const Count rows = rows_of(c.shape(fused::kA));
  const Dim k = stated(c, "K"), n = stated(c, "N");
  normalize(c, rows, k, cost);
  project(cost, rows, k, n);
  project(cost, rows, k, n);
  if (c.has(fused::kBias0)) cost[Work::add] += rows * n;
  if (c.has(fused::kBias1)) cost[Work::add] += rows * n;
  work::fused_activation(cost, c.text("activation", ""), rows * n);
  cost[Work::mul] += rows * n;  // activation(gate) * up
  cost.rhs = weight_type(c.integer("bits", 4));
  return {};
}

Status infer_qkv(const Call& c, Outputs& out) {
  if (Status s = check_inner(c, fused::kA, stated(c, "K")); !s) return s;
  const Shape& a = c.shape(fused::kA);
  const Dim q = stated(c, "Nq"), kv = stated(c, "Nkv");
  out.set(0, c.dtype(fused::kA), with_last(a, q));
  out.set(1, c.dtype(fused::kA), with_last(a, kv));
  out.set(2, c.dtype(fused::kA), with_last(a, kv));
  out.set(3, c.dtype(fused::kA), a);
  return {};
}

Status cost_qkv(const Call& c, Cost& cost) {
  const Count rows = rows_of(c.shape(fused::kA));
  const Dim k = stated(c, "K"), q = stated(c, "Nq"), kv = stated(c, "Nkv");
  normalize(c, rows, k, cost);
  for (const Dim& n : {q, kv, kv}) project(cost, rows, k, n);
  if (c.has(fused::kBias0)) cost[Work::add] += rows * q;
  if (c.has(fused::kBias1)) cost[Work::add] += rows * kv;
  if (c.has(fused::kBias2)) cost[Work::add] += rows * kv;
  cost.rhs = weight_type(c.integer("bits", 4));
  return {};
}

namespace lora {
enum : std::size_t { kX, kW, kScales, kDown, kDownScales, kUp, kUpScales };
}

Status cost_lora(const Call& c, Cost& cost) {
  const Count rows = rows_of(c.shape(lora::kX));
  const Dim k = stated(c, "K"), n = stated(c, "N");
  project(cost, rows, k, n);
  cost.rhs = weight_type(c.integer("bits", 4));
  if (has_zero_size(c.shape(lora::kUp))) return {};
  const Dim& rank = c.shape(lora::kDown)[0];
  project(cost, rows, k, rank);
  // The rank from the scales of the way up: an empty way down still has an up projection.
  if (rank.is(0)) {
    const Dim blocks = c.shape(lora::kUpScales)[1];
    cost.trust = Trust::bound;
    cost.because = "the adapter's rank is known only in whole blocks";
    project(cost, rows, blocks * c.integer("lora_block_size", 32), n);
  } else {
    project(cost, rows, rank, n);
  }
  cost[Work::add] += rows * n;
  return {};
}

// Other packings -------------------------------------------------------------------------------------------------

Status infer_bnb4(const Call& c, Outputs& out) {
  const Dim n = stated(c, "N"), k = stated(c, "K");
  const bool turned = c.integer("transB", 1) != 0;
  if (Status s = check_inner(c, kA, turned ? k : n); !s) return s;
  out.set(0, c.dtype(kA), with_last(c.shape(kA), turned ? n : k));
  return {};
}

Status cost_bnb4(const Call& c, Cost& cost) {
  const Count weights = stated(c, "N") * stated(c, "K");
  cost[Work::mac] = rows_of(c.shape(kA)) * weights;
  work::dequantize(cost, weights, false);
  cost.rhs = DType::f4e2m1;
  return {};
}

/// The sizes [K, N] that MatMulFpQ4 is told by an input.
std::optional<std::pair<Dim, Dim>> told_matrix(const Call& c) {
  const auto sizes = c.ints(2);
  if (!sizes || sizes->size() != 2) return std::nullopt;
  return std::pair{(*sizes)[0], (*sizes)[1]};
}

Status infer_fpq4(const Call& c, Outputs& out) {
  const auto told = told_matrix(c);
  if (told) {
    if (Status s = check_inner(c, kA, told->first); !s) return s;
  }
  const Dim n = told && told->second.defined() ? told->second : out.symbol("columns", "columns of the packed matrix");
  out.set(0, c.dtype(kA), with_last(c.shape(kA), n));
  return {};
}

Status cost_fpq4(const Call& c, Cost& cost) {
  const Dim& k = c.shape(kA).back();
  const Dim& n = c.out_shape().back();
  cost[Work::mac] = rows_of(c.shape(kA)) * k * n;
  work::dequantize(cost, k * n, c.integer("blk_quant_type", 1) == 1);
  cost.rhs = DType::i4;
  return {};
}

namespace fp4 {
enum : std::size_t { kA, kB, kScale, kGlobal, kInputScale, kBias };
}
namespace fp8 {
enum : std::size_t { kA, kB, kScale, kAScale, kBias };
}

/// B is [N, K], or [N, K/2] with two weights in a byte.
Status infer_rows(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kA), with_last(c.shape(kA), c.shape(kB)[0]));
  return {};
}

Status cost_fp4(const Call& c, Cost& cost) {
  const Shape& b = c.shape(fp4::kB);
  const Dim k = better_known(c.shape(fp4::kA).back(), 2 * b[1]);
  const Count scales = numel(c.shape(fp4::kScale));
  cost[Work::mac] = numel(c.out_shape()) * k;
  work::dequantize(cost, b[0] * k, false);
  work::dequantize(cost, scales, false);  // the block's scale by the global one, once a block
  if (c.has(fp4::kBias)) cost[Work::add] += numel(c.out_shape());
  cost.rhs = DType::f4e2m1;
  return {};
}

Status cost_fp8(const Call& c, Cost& cost) {
  const Shape& b = c.shape(fp8::kB);
  const Count a = numel(c.shape(fp8::kA));
  cost[Work::mac] = numel(c.out_shape()) * better_known(c.shape(fp8::kA).back(), b[1]);
  work::dequantize(cost, numel(b), false);
  if (c.has(fp8::kAScale)) {  // to 8 bits and back
    cost[Work::div] += a;
    cost[Work::convert] += a;
    work::dequantize(cost, a, false);
    cost.lhs = DType::f8e4m3fn;
  }
  if (c.has(fp8::kBias)) cost[Work::add] += numel(c.out_shape());
  return {};
}

/// Weights of a packed format by its number; where that says nothing, by the bytes of a row.
DType packed_type(const Call& c) {
  switch (c.integer("packed_type", -1)) {
    case 10:
    case 16:
    case 17:
    case 19:
    case 22:
    case 29:
      return DType::i2;  // 1 to 2 bits
    case 2:
    case 3:
    case 11:
    case 12:
    case 18:
    case 20:
    case 21:
    case 23:
      return DType::i4;
    case 6:
    case 7:
    case 8:
    case 13:
    case 14:
      return DType::i8;
    case 39:
    case 40:
      return DType::f4e2m1;
    default:
      break;
  }
  const auto bits = floor_div(c.shape(kB).back() * 8, stated(c, "K")).constant();
  return bits ? weight_type(*bits) : DType::i8;
}

Status cost_packed(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::mac] = y * stated(c, "K");
  work::dequantize(cost, stated(c, "N") * stated(c, "K"), false);
  if (c.has(kScales)) cost[Work::mul] += y;
  work::fused_activation(cost, c.text("activation_type", "none"), y);
  cost.rhs = packed_type(c);
  if (cost.trust == Trust::exact) {
    cost.trust = Trust::estimate;
    cost.because = "the multiply-adds are exact; unpacking is counted as one conversion and one scale a weight";
  }
  return {};
}

/// Back through the activation, and by the codes.
Status gradient_packed(const Call& c, Gradient& g) {
  fused_activation_gradient(g, c.text("activation_type", "none"), numel(c.out_shape()));
  return gradient_by_codes()(c, g);
}

std::vector<Rule> nbits_rules() {
  return {
      {"matmul_nbits", "a b scales zeros #group bias", "Product with a matrix of 2 to 8-bit weights in blocks",
       "R rows of a: mac = R * N * K; each weight widened once: add, convert and mul = N * K; add = |y| with a bias",
       contrib_doc("MatMulNBits"), infer_nbits, cost_nbits, microsoft({"MatMulNBits"})},
      {"matmul_nbits_mlp", "a skip norm gate_b gate_scales gate_bias up_b up_scales up_bias",
       "Gated pair of low-bit products, with the norm in front",
       "R rows of a: mac = 2 R * N * K; weights widened: add, convert and mul = 2 N * K; add = |y| for each bias, |a| "
       "for "
       "the skip; RMS norm of a; the activation and mul = |y|",
       contrib_doc("MatMulNBitsMlp"), infer_mlp, cost_mlp, microsoft({"MatMulNBitsMlp"})},
      {"matmul_nbits_qkv", "a skip norm q_b q_scales q_bias k_b k_scales k_bias v_b v_scales v_bias",
       "Three low-bit products of one normalised input",
       "R rows of a, N = Nq + 2 Nkv: mac = R * N * K; weights widened: add, convert and mul = N * K; add for each "
       "bias, "
       "|a| for the skip; RMS norm of a",
       contrib_doc("MatMulNBitsQkv"), infer_qkv, cost_qkv, microsoft({"MatMulNBitsQkv"})},
      {"matmul_nbits_lora", "a b scales down down_scales up up_scales", "Low-bit product plus a low-rank adapter",
       "R rows of a, rank r: mac = R * (N * K + r * (K + N)); weights widened: add, convert and mul = N * K + r * (K + "
       "N); "
       "add = |y|",
       contrib_doc("MatMulNBitsQLoRA"), infer_nbits, cost_lora, microsoft({"MatMulNBitsQLoRA"})},
  };
}

std::vector<Rule> packed_rules() {
  return {
      {"matmul_bnb4", "a b absmax", "Product with 4-bit float weights in blocks",
       "R rows of a: mac = R * N * K; each weight widened once: convert and mul = N * K", contrib_doc("MatMulBnb4"),
       infer_bnb4, cost_bnb4, microsoft({"MatMulBnb4"})},
      {"matmul_fpq4", "a b #b_shape", "Product with a blob of 4-bit weights",
       "R rows of a: mac = R * N * K; each weight widened once: convert and mul = N * K, add with offsets",
       contrib_doc("MatMulFpQ4"), infer_fpq4, cost_fpq4, microsoft({"MatMulFpQ4"})},
      {"matmul_fp4_weight", "a b scale global input_scale bias", "Product with 4-bit float weights in scaled blocks",
       "mac = |y| * K; weights and block scales widened once: convert and mul = N * K + |scale|; add = |y| with a bias",
       contrib_doc("MatMulBlockQuantizedFp4Weight"), infer_rows, cost_fp4,
       microsoft({"MatMulBlockQuantizedFp4Weight"})},
      {"matmul_fp8_weight", "a b scale a_scale bias", "Product with 8-bit float weights in scaled blocks",
       "mac = |y| * K; weights widened once: convert and mul = |b|; with a scale of A: div = |a|, convert = 2 |a|, "
       "mul = |a|; add = |y| with a bias",
       contrib_doc("MatMulBlockQuantizedFp8Weight"), infer_rows, cost_fp8,
       microsoft({"MatMulBlockQuantizedFp8Weight"})},
      {"matmul_packed", "a b global_scale", "Product with a matrix in a block-packed format",
       "mac = |y| * K; weights widened once: convert and mul = N * K (an estimate); mul = |y| with a global scale; the "
       "activation on |y|",
       contrib_doc("MatMulPacked"), infer_nbits, cost_packed, microsoft({"MatMulPacked"})},
  };
}

}  // namespace

std::vector<Rule> low_bit_matmul_rules() {
  enum : std::size_t { kFourth = 4, kFifth = 5 };  // where a bias is
  const GradientFn plain = gradient_by_codes();
  return with_gradients({{"matmul_nbits", gradient_by_codes(kFifth)},
                         {"matmul_nbits_mlp", gradient_of_coded_network({3, 4, 6, 7})},
                         {"matmul_nbits_qkv", gradient_of_coded_network({3, 4, 6, 7, 9, 10})},
                         {"matmul_nbits_lora", gradient_of_coded_network({1, 2, 3, 4, 5, 6})},
                         {"matmul_bnb4", plain},
                         {"matmul_fpq4", plain},
                         {"matmul_fp4_weight", gradient_by_codes(kFifth)},
                         {"matmul_fp8_weight", gradient_by_codes(kFourth)},
                         {"matmul_packed", gradient_packed}},
                        joined(nbits_rules(), packed_rules()));
}

}  // namespace macsim::rules
