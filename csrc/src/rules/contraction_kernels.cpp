// Contractions that only kernels of torch's have names for: structured sparsity, packed weights, gradients of products.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "aten.hpp"
#include "contraction.hpp"
#include "families.hpp"
#include "gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

const char* const kNative = "https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/native_functions.yaml";

// Of every four weights two are stored. -----------------------------------------------------------------------------

namespace half {
enum : std::size_t { kX, kW, kMeta, kBias, kAlpha };
}

/// cuSPARSELt keeps the positions behind the weights, in one tensor with as many rows as the matrix.
bool in_one(const Call& c) { return c.op() == "_cslt_sparse_mm"; }

/// Rows of x by the weights' rows, or the weights by columns.
Status infer_structured(const Call& c, Outputs& out) {
  const Shape &x = c.shape(half::kX), &w = c.shape(half::kW);
  if (!c.ranked(half::kX) || !c.ranked(half::kW) || x.empty() || w.size() != 2) return {};
  const DType stated = dtype_named(c.text("out_dtype", "")),
              dtype = stated == DType::unknown ? c.dtype(half::kX) : stated;
  const bool rows = c.op().ends_with("_linear");
  const Dim& inner = rows ? x.back() : x[0];
  unify(c, inner, w[1] * 2, "inner sizes");
  out.set(0, dtype, rows ? with_last(x, w[0]) : Shape{w[0], x.back()});
  return {};
}

Status cost_structured(const Call& c, Cost& cost) {
  const Shape &x = c.shape(half::kX), &w = c.shape(half::kW);
  const Count y = numel(c.out_shape());
  if (x.empty() || w.empty()) return bad(std::string(c.op()) + " needs matrices");
  if (in_one(c)) {  // x is [K, columns]
    cost[Work::mac] = quotient(c, y * x[0], 2);
  } else {
    cost[Work::mac] = y * w.back();
  }
  if (c.has(half::kBias)) cost[Work::add] += y;
  if (c.has(half::kBias) && c.real("beta", 1) != 1) cost[Work::mul] += numel(c.shape(half::kBias));
  if (c.has(half::kAlpha) || c.real("alpha", 1) != 1) cost[Work::mul] += y;
  work::fused_activation(cost, c.text("activation", ""), y);
  return {};
}

/// [.., K] of pairs kept: the weights that are stored, and where they were, of 2 bits each in words of 16 or 32.
Status infer_halved(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  if (!c.ranked(0) || x.size() != 2) return {};
  const bool words = bits_of(c.dtype(0)) == 8;
  out.set(0, c.dtype(0), Shape{x[0], quotient(c, x[1], 2)});
  out.set(1, words ? DType::i32 : DType::i16, Shape{x[0], quotient(c, x[1], words ? 32 : 16)});
  return {};
}

/// cuSPARSELt's: 9 halves of what was there in 16 bits, 10 in 8.
Status infer_compressed(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  if (!c.ranked(0) || x.size() != 2) return {};
  const int parts = bits_of(c.dtype(0)) == 8 ? 10 : 9;
  out.set(0, c.dtype(0), Shape{x[0], quotient(c, x[1] * parts, 16)});
  return {};
}

// Weights of few bits. ----------------------------------------------------------------------------------------------

/// The result has as many columns as there are packed rows, of tiles eight times as many.
Status aten_few_bits(const Call& c, Outputs& out) {
  const Shape &a = c.shape(0), &b = c.shape(1);
  if (!c.ranked(0) || !c.ranked(1) || a.size() != 2 || b.empty()) return {};
  out.set(0, c.dtype(0), Shape{a[0], c.op() == "_weight_int4pack_mm" ? b[0] * 8 : b[0]});
  return {};
}

/// Weights in few bits, with a scale (and a zero point) for each output or for each group of its inputs.
Status cost_few_bits(const Call& c, Cost& cost) {
  const Shape& y = c.out_shape();
  const Shape& a = c.shape(0);
  if (y.size() < 2 || a.size() < 2) return bad(std::string(c.op()) + " multiplies matrices");
  const Count weights = y.back() * a.back();
  cost[Work::mac] = numel(y) * a.back();
  cost[Work::convert] = weights;
  if (c.op() == "_weight_int8pack_mm") {  // one scale an output
    cost[Work::mul] = numel(y);
  } else {
    cost[Work::mul] = weights;
    cost[Work::add] = weights;
  }
  return {};
}

/// Each row of x is quantised to 8 bits as it comes; sums of products of a block are scaled.
Status cost_dynamic_few_bits(const Call& c, Cost& cost) {
  const Shape& x = c.shape(0);
  const Shape& y = c.out_shape();
  if (x.size() != 2 || y.size() != 2) return bad(std::string(c.op()) + " multiplies matrices");
  const std::int64_t block = c.integer("block_size", 0);
  if (block <= 0) return bad(std::string(c.op()) + " needs a block's size");
  cost[Work::mac] = numel(y) * x[1];
  Cost row;
  work::dynamic_quantize(row, x[1]);
  for (std::size_t i = 0; i < kWorks; ++i) cost.work[i] += x[0] * row.work[i];
  const Count sums = numel(y) * quotient(c, x[1], block);
  work::dequantize(cost, sums, false);
  cost[Work::add] += sums - numel(y);
  cost[Work::mul] += numel(y);  // the row's scale
  cost.lhs = DType::i8;
  cost.rhs = DType::i4;
  cost.accumulate = DType::i32;
  cost.trust = Trust::estimate;
  cost.because = "the multiply-adds are exact; how a kernel quantises and scales is its own";
  return {};
}

namespace mixed {
enum : std::size_t { kX, kW, kScale, kBias };
}

/// x [.., K] by weights of 8 bits [K, N], or two of 4 in a byte, with a scale for each column.
Status infer_mixed(const Call& c, Outputs& out) {
  if (!c.ranked(mixed::kX) || !c.ranked(mixed::kScale)) return {};
  out.set(0, c.dtype(mixed::kX), with_last(c.shape(mixed::kX), numel(c.shape(mixed::kScale))));
  return {};
}

Status cost_mixed(const Call& c, Cost& cost) {
  const Shape& x = c.shape(mixed::kX);
  const Count y = numel(c.out_shape());
  if (x.empty()) return bad("a product needs at least a vector");
  cost[Work::mac] = y * x.back();
  work::dequantize(cost, x.back() * numel(c.shape(mixed::kScale)), false);
  if (c.has(mixed::kBias)) cost[Work::add] += y;
  work::fused_activation(cost, c.text("activation", ""), y);
  return {};
}

// Gradients of products that are operators of their own. ------------------------------------------------------------

namespace back {
enum : std::size_t { kX, kDy, kW };
}

bool wants(const Call& c, std::size_t which) {
  if (c.op().ends_with("_input")) return which == 0;
  if (c.op().ends_with("_weights")) return which == 1 || (which == 2 && c.integer("bias_defined", 1) != 0);
  const std::string_view name = c.op() == "matmul_backward" ? "mask" : "output_mask";
  const Span<std::int64_t> wanted = c.integers(name);
  return which < wanted.size() ? wanted[which] != 0 : c.op() != "matmul_backward";
}

Status infer_linear_backward(const Call& c, Outputs& out) {
  if (!c.ranked(back::kDy) || !c.ranked(back::kW) || c.shape(back::kDy).empty()) return {};
  const DType dtype = c.dtype(back::kDy);
  const Type& w = c.in(back::kW);
  const Type bias = Type::of(dtype, Shape{c.shape(back::kDy).back()});
  if (c.op().ends_with("_weights")) {
    out.set(0, w);
    out.set(1, bias);
    return {};
  }
  out.set(0, dtype, with_last(c.shape(back::kDy), c.shape(back::kW).back()));
  out.set(1, w);
  out.set(2, bias);
  return {};
}

Status infer_matmul_backward(const Call& c, Outputs& out) {
  out.set(0, c.in(back::kX));
  out.set(1, c.in(back::kW));
  return {};
}

Status cost_product_backward(const Call& c, Cost& cost) {
  const Shape &dy = c.shape(back::kDy), &w = c.shape(back::kW);
  if (w.empty()) return bad("a product needs at least a vector");
  const bool turned = c.op() == "matmul_backward";
  const Count each = numel(dy) * (!turned ? w.back() : w.size() == 1 ? w[0] : w[w.size() - 2]);
  cost[Work::mac] = each * ((wants(c, 0) ? 1 : 0) + (wants(c, 1) ? 1 : 0));
  if (wants(c, 2) && !dy.empty()) cost[Work::add] = numel(dy) - dy.back();
  for (const std::size_t slot : {back::kX, back::kW}) {
    const Shape& x = c.shape(slot);
    if (!turned || !wants(c, slot == back::kX ? 0 : 1) || x.size() < 3 || dy.size() < 2) continue;
    const Count own = numel(x, 0, x.size() - 2), batches = numel(dy, 0, dy.size() - 2);
    if (own != batches) cost[Work::add] += (batches - own) * numel(x, x.size() - 2);
  }
  if (cost[Work::mac].is(0) && cost[Work::add].is(0)) cost.moves("no gradient is wanted");
  return {};
}

}  // namespace

std::vector<Rule> kernel_matmul_rules() {
  const NoGradient none{"torch has none of it"};
  std::vector<Rule> rules = {
      {"structured_matmul", "x w meta bias alpha", "Matrix product with weights of which two of every four are stored",
       "mac = |y| * K / 2; add = |y| with a bias; mul = |y| with alpha; the activation on |y|", kNative,
       infer_structured, cost_structured,
       aten({"_sparse_semi_structured_linear"}, infer_structured) +
           aten({"_sparse_semi_structured_mm"}, infer_structured, "w meta x") +
           aten({"_sparse_semi_structured_addmm"}, infer_structured, "bias w meta x") +
           aten({"_cslt_sparse_mm"}, {}, "w x bias alpha"),
       nullptr, gradient_product(0, 1, 3)},
      {"structured_weights", "x", "Weights of which two of every four are kept, packed with their positions",
       "none: moves data only", kNative, infer_halved, cost_moves("moves data only"),
       aten({"_to_sparse_semi_structured"}, infer_halved) + aten({"_cslt_compress"}, infer_compressed), nullptr, none},
      {"packed_weights",
       "x scales bias",
       "Weights of few bits in the order of a kernel",
       "none: moves data only",
       kNative,
       {},
       cost_moves("moves data only"),
       aten({"_convert_weight_to_int4pack", "_convert_weight_to_int4pack_for_cpu", "_dyn_quant_pack_4bit_weight"}),
       nullptr,
       none},
      {"few_bit_matmul", "a b scales", "Matrix product with weights of 4 or 8 bits",
       "mac = |y| * K; convert = N * K; 8 bits: mul = |y|; 4 bits: mul = add = N * K",
       "https://github.com/pytorch/pytorch/blob/main/aten/src/ATen/native/native_functions.yaml", aten_few_bits,
       cost_few_bits,
       aten({"_weight_int4pack_mm", "_weight_int8pack_mm", "_weight_int4pack_mm_for_cpu",
             "_weight_int4pack_mm_with_scales_and_zeros"},
            aten_few_bits),
       nullptr, gradient_by_codes()},
      {"dynamic_few_bit_matmul",
       "x w",
       "Matrix product of rows quantised as they come with packed weights of 4 bits in blocks",
       "mac = |y| * K; each row of K: compare 4K + 2, add = div = K + 2, convert K + 1; sums of blocks b: mul = "
       "convert = "
       "|y| K / b, add = |y| (K / b - 1), mul = |y|: an estimate but for mac",
       kNative,
       {},
       cost_dynamic_few_bits,
       aten({"_dyn_quant_matmul_4bit"}),
       nullptr,
       NoGradient{"of codes, which are rounded"}},
      {"mixed_matmul", "x w scale bias",
       "Matrix product of floats with weights of 4 or 8 bits and a scale for each column",
       "mac = |y| * K; convert = mul = N * K; add = |y| with a bias; the activation on |y|", kNative, infer_mixed,
       cost_mixed, aten({"_mixed_dtypes_linear"}, infer_mixed), nullptr, gradient_by_codes(mixed::kBias)},
      {"matmul_backward", "x dy w", "The gradients of a matrix product",
       "mac = |dy| * K for each that is wanted; that of a bias: add = |dy| - N", kNative, infer_linear_backward,
       cost_product_backward,
       aten({"linear_backward", "mkldnn_linear_backward"}, infer_linear_backward) +
           aten({"mkldnn_linear_backward_input"}, infer_linear_backward, "dy w") +
           aten({"mkldnn_linear_backward_weights"}, infer_linear_backward, "dy x w") +
           aten({"matmul_backward"}, infer_matmul_backward, "dy x w"),
       nullptr, gradient_like_run},
  };
  return rules;
}

}  // namespace macsim::rules
