// Contractions: matmul, gemm, and their fused kin. The quantised, low-bit and einsum parts lie beside this file.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "contraction.hpp"

#include <string>

#include "aten.hpp"

#include "families.hpp"
#include "gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {

Status matmul_shape(const Call& c, const Shape& a, const Shape& b, bool known, Shape& y) {
  if (!known) return {};
  if (a.empty() || b.empty())
    return bad("matmul needs at least a vector on both sides; the shapes are " + text(a) + " and " + text(b));
  const bool row = a.size() == 1, column = b.size() == 1;
  const Dim& inner = column ? b[0] : b[b.size() - 2];
  unify(c, a.back(), inner, "inner sizes");
  const Shape left(a.begin(), row ? a.begin() : a.end() - 2);
  const Shape right(b.begin(), column ? b.begin() : b.end() - 2);
  if (Status s = broadcast(c, left, right, y); !s) return s;
  if (!row) y.push_back(a[a.size() - 2]);
  if (!column) y.push_back(b.back());
  return {};
}

Status matmul_shape(const Call& c, std::size_t a, std::size_t b, Shape& y) {
  return matmul_shape(c, c.shape(a), c.shape(b), c.ranked(a) && c.ranked(b), y);
}

Count matmul_macs(const Shape& a, const Shape& b, const Shape& y) {
  const Dim& inner = b.size() == 1 ? b[0] : b[b.size() - 2];
  return numel(y) * better_known(a.back(), inner);
}

Shape with_last(const Shape& x, const Dim& columns) {
  Shape y = x;
  if (!y.empty()) y.back() = columns;
  return y;
}

namespace {

// MatMul ---------------------------------------------------------------------------------------------------------

enum : std::size_t { kA, kB, kC };

/// An operand of FusedMatMul as the product sees it: transBatch moves axis 0 to the rows, trans swaps the last two.
Shape turned(const Shape& x, bool trans, bool trans_batch) {
  if (x.size() < 2) return x;
  Shape y = x;
  if (trans_batch) {
    y.erase(0);
    y.insert(y.size() - 1, x[0]);
  }
  if (trans) std::swap(y[y.size() - 2], y[y.size() - 1]);
  return y;
}

Shape left_of(const Call& c) {
  return turned(c.shape(kA), c.integer("transA", 0) != 0, c.integer("transBatchA", 0) != 0);
}
Shape right_of(const Call& c) {
  return turned(c.shape(kB), c.integer("transB", 0) != 0, c.integer("transBatchB", 0) != 0);
}

Status infer_matmul(const Call& c, Outputs& out) {
  Shape y;
  if (Status s = matmul_shape(c, kA, kB, y); !s) return s;
  out.set(0, c.dtype(kA), y);
  return {};
}

Status cost_matmul(const Call& c, Cost& cost) {
  cost[Work::mac] = matmul_macs(c.shape(kA), c.shape(kB), c.out_shape());
  return {};
}

/// Of operands with batches of their own; what an operand was spread over is summed.
Status gradient_matmul(const Call& c, Gradient& g) {
  if (Status s = gradient_product(kA, kB, SIZE_MAX)(c, g); !s) return s;
  const Shape& y = c.out_shape();
  const Shape &a = c.shape(kA), &b = c.shape(kB);
  const std::size_t inner = (a.size() > 1 ? 1 : 0) + (b.size() > 1 ? 1 : 0);
  if (y.size() <= inner || c.op() == "inner" || c.op() == "linalg_vecdot") return {};
  const Count batches = numel(y, 0, y.size() - inner);
  for (const std::size_t slot : {kA, kB}) {
    const Shape& x = c.shape(slot);
    if (!g.needs(slot) || x.size() < 3) continue;  // a matrix is multiplied once: there is nothing to sum
    const Count own = numel(x, 0, x.size() - 2);
    if (own != batches) g[Work::add] += (batches - own) * numel(x, x.size() - 2);
  }
  return {};
}

Status infer_fused_matmul(const Call& c, Outputs& out) {
  Shape y;
  if (Status s = matmul_shape(c, left_of(c), right_of(c), c.ranked(kA) && c.ranked(kB), y); !s) return s;
  out.set(0, c.dtype(kA), y);
  return {};
}

Status cost_fused_matmul(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::mac] = matmul_macs(left_of(c), right_of(c), c.out_shape());
  if (c.real("alpha", 1) != 1) cost[Work::mul] += y;
  const std::string_view function = c.text("activation", "");
  if (function == "Softmax" || function == "LogSoftmax") {
    const auto axis = axis_in(c.integer("activation_axis", -1), c.out_shape().size());
    if (!axis) return bad("activation_axis is outside of the output " + text(c.out_shape()));
    const Dim& n = c.out_shape()[*axis];
    const Count rows = numel(c.out_shape(), 0, *axis) * numel(c.out_shape(), *axis + 1);
    work::softmax(cost, rows, n);
    if (function == "LogSoftmax") {  // subtract the logarithm of the sum in place of a division
      cost[Work::div] -= y;
      cost[Work::add] += y;
      cost[Work::log] += rows;
    }
    return {};
  }
  work::fused_activation(cost, function, y);
  return {};
}

/// As of a plain product; alpha scales each, and what came of an activation goes back through it.
Status gradient_fused_matmul(const Call& c, Gradient& g) {
  const Count y = numel(c.out_shape());
  const std::string_view function = c.text("activation", "");
  if (function == "Softmax" || function == "LogSoftmax") {
    g[Work::mul] += 2 * y;
    g[Work::add] += 2 * y;
    g.keep_output();
    estimated(g, "a fused softmax: of rows as long as the result");
  } else {
    fused_activation_gradient(g, function, y);
  }
  if (c.real("alpha", 1) != 1) g[Work::mul] += y;
  return gradient_matmul(c, g);
}

/// Through the tanh form of Gelu, whose input is made again from the product.
Status gradient_matmul_gelu(const Call& c, Gradient& g) {
  const Count y = numel(c.out_shape());
  g[Work::exp] += y;
  g[Work::add] += 5 * y;
  g[Work::mul] += 12 * y;
  g.again[Work::mac] += g.run[Work::mac];
  return gradient_product(kA, kB, kC)(c, g);
}

Status cost_sparse_matmul(const Call& c, Cost& cost) {
  if (Status s = cost_fused_matmul(c, cost); !s) return s;
  cost.trust = Trust::bound;
  cost.because = "the sparse operand is counted as a dense one";
  return {};
}

Status cost_matmul_gelu(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::mac] = matmul_macs(c.shape(kA), c.shape(kB), c.out_shape());
  if (c.has(kC)) cost[Work::add] += y;
  work::activation(cost, "fastgelu", y);
  return {};
}

// As torch calls them. ----------------------------------------------------------------------------------------------

/// alpha and beta scale the gradients, too.
Status scaled_gradient(const Call& c, Gradient& g) {
  if (Status s = gradient_product()(c, g); !s) return s;
  const double alpha = c.real("alpha", 1), beta = c.real("beta", 1);
  if (alpha != 1 && (g.needs(kA) || g.needs(kB))) g[Work::mul] += numel(c.out_shape());
  if (beta != 1 && g.needs(kC)) g[Work::mul] += numel(c.shape(kC));
  return {};
}

/// A product of complex numbers is four of real ones.
void count_macs(Cost& cost, const Count& macs, DType dtype) {
  cost[Work::mac] += class_of(dtype) == DTypeClass::complex ? 4 * macs : macs;
}

/// Of an operand so many elements are stored, where it is sparse; kDense: all, less than that: nobody knows.
constexpr std::int64_t kDense = -1;
std::int64_t stored_of(const Call& c, std::size_t position) {
  const Span<std::int64_t> stored = c.integers("nonzeros");
  return position < stored.size() ? stored[position] : kDense;
}

/// Products of operands of which one may be sparse: an element stored in A meets a row of B, one in B a column of A.
Count stored_macs(const Call& c, std::size_t a, std::size_t b, const Count& dense, Cost& cost) {
  const std::int64_t of_a = stored_of(c, a), of_b = stored_of(c, b);
  if (of_a == kDense && of_b == kDense) return dense;
  const Shape &x = c.shape_at(a), &w = c.shape_at(b);
  const Count columns = w.size() < 2 ? Count(1) : Count(c.out_shape().back());
  const Count rows = numel(x, 0, x.empty() ? 0 : x.size() - 1);
  if (of_b == kDense && of_a >= 0) return of_a * columns;
  if (of_a == kDense && of_b >= 0) return of_b * rows;
  cost.trust = Trust::bound;
  cost.because = "which elements a sparse tensor stores depends on data";
  if (of_a < 0 || of_b < 0) return dense;
  return min(of_a * columns, of_b * rows);
}

/// What the call asks for, or as the operand.
DType asked_dtype(const Call& c, DType otherwise) {
  const DType stated = dtype_named(c.text("out_dtype", ""));
  return stated != DType::unknown ? stated : otherwise;
}

Status aten_matmul(const Call& c, Outputs& out) {
  if (c.op() == "inner" || c.op() == "linalg_vecdot") return {};
  Shape y;
  if (Status s = matmul_shape(c, kA, kB, y); !s) return s;
  out.set(0, c.op() == "_int_mm" ? DType::i32 : asked_dtype(c, c.dtype(kA)), y);
  return {};
}

Status cost_aten_matmul(const Call& c, Cost& cost) {
  const bool along = c.op() == "inner" || c.op() == "linalg_vecdot";  // both by their last axis
  const Shape& a = c.shape(kA);
  const Count macs =
      along ? numel(c.out_shape()) * (a.empty() ? Dim(1) : a.back()) : matmul_macs(a, c.shape(kB), c.out_shape());
  count_macs(cost, along ? macs : stored_macs(c, 0, 1, macs, cost), c.dtype(kA));
  return {};
}

Status cost_outer(const Call& c, Cost& cost) {
  count_macs(cost, numel(c.out_shape()), c.dtype(kA));
  return {};
}

/// What is added to a product broadcasts to it.
void fits(const Call& c, const Shape& part, const Shape& y, std::string_view what) {
  for (std::size_t i = 1; i <= part.size() && i <= y.size(); ++i)
    if (!part[part.size() - i].is(1)) unify(c, y[y.size() - i], part[part.size() - i], what);
}

/// x * w^T + b, w [out, in] or [in].
Status aten_linear(const Call& c, Outputs& out) {
  const Shape &x = c.shape(kA), &w = c.shape(kB);
  if (!c.ranked(kA) || !c.ranked(kB) || x.empty() || w.empty() || w.size() > 2) return {};
  unify(c, x.back(), w.back(), "inner sizes");
  Shape y = x;
  y.pop_back();
  if (w.size() == 2) y.push_back(w[0]);
  if (c.has(kC)) fits(c, c.shape(kC), y, "the bias and the outputs");
  out.set(0, c.dtype(kA), std::move(y));
  return {};
}

Status cost_aten_linear(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  const Shape& w = c.shape(kB);
  count_macs(cost, stored_macs(c, 0, 1, y * (w.empty() ? Dim(1) : w.back()), cost), c.dtype(kA));
  if (c.has(kC)) cost[Work::add] = y;
  if (c.op() == "linear_relu_dynamic_fp16") cost[Work::compare] = y;
  if (c.op() == "_linear_pointwise") work::fused_activation(cost, c.text("attr", ""), y);
  if (c.op() == "_linear_pointwise.binary") cost[c.text("attr", "") == "mul" ? Work::mul : Work::add] += y;
  return {};
}

/// beta * self + alpha * a * b: self comes first. baddbmm and addbmm multiply batches, addbmm sums over them.
namespace plus {
enum : std::size_t { kA = 0, kB = 1, kC = 2 };
}

Status aten_addmm(const Call& c, Outputs& out) {
  const Shape &a = c.shape(plus::kA), &b = c.shape(plus::kB);
  if (!c.ranked(plus::kA) || !c.ranked(plus::kB)) return {};
  Shape y;
  if (Status s = matmul_shape(c, a, b, true, y); !s) return s;
  if (c.op() == "addbmm") y.erase(0);
  if (c.has(plus::kC)) fits(c, c.shape(plus::kC), y, "C and the product");
  out.set(0, asked_dtype(c, c.dtype(plus::kA)), std::move(y));
  return {};
}

Status cost_aten_addmm(const Call& c, Cost& cost) {
  const Shape& a = c.shape(plus::kA);
  const Count y = numel(c.out_shape());
  const Count batches = c.op() == "addbmm" && !a.empty() ? Count(a[0]) : Count(1);
  const Count macs = c.op() == "addr" ? y : batches * y * (a.empty() ? Dim(1) : a.back());
  count_macs(cost, stored_macs(c, 1, 2, macs, cost), c.dtype(plus::kA));
  if (c.real("alpha", 1) != 1) cost[Work::mul] += y;
  const double beta = c.real("beta", 1);
  if (beta != 0) {
    cost[Work::add] += y;
    if (beta != 1) cost[Work::mul] += numel(c.shape(plus::kC));
  }
  return {};
}

/// The same where C stores an element.
Status aten_sampled(const Call& c, Outputs& out) {
  out.set(0, c.dtype(plus::kC), c.shape(plus::kC));
  return {};
}

Status cost_sampled(const Call& c, Cost& cost) {
  const std::int64_t stored = stored_of(c, 0);
  const Count n = stored < 0 ? numel(c.shape(plus::kC)) : Count(stored);
  const Shape& a = c.shape(plus::kA);
  count_macs(cost, n * (a.empty() ? Dim(1) : a.back()), c.dtype(plus::kA));
  cost[Work::add] = n;
  if (c.real("alpha", 1) != 1) cost[Work::mul] += n;
  if (c.real("beta", 1) != 1) cost[Work::mul] += n;
  if (stored >= 0) return {};
  cost.trust = Trust::bound;
  cost.because = "which elements a sparse tensor stores depends on data";
  return {};
}

/// How many inputs come before those that follow two lists of scales.
std::size_t after_scales(const Call& c) {
  return 2 + static_cast<std::size_t>(c.integer("scale_a.count", 1) + c.integer("scale_b.count", 1));
}

/// Rows in groups, each group times a matrix of its own: experts, of which every row has met its own. Offsets say which
/// rows are whose; how many there are in all does not depend on them. Of two matrices, the inner axis is in groups.
Status aten_grouped(const Call& c, Outputs& out) {
  const Shape &a = c.shape(kA), &b = c.shape(kB);
  if (!c.ranked(kA) || !c.ranked(kB) || a.size() < 2 || b.size() < 2 || a.size() > 3 || b.size() > 3) return {};
  Shape y;
  if (a.size() == 2 && b.size() == 2)
    y.push_back(c.op() == "_scaled_grouped_mm_v2" ? c.shape_at(after_scales(c))[0] : c.shape(kC)[0]);
  if (a.size() == 3 && b.size() == 3) y.push_back(a[0]);
  y.push_back(a[a.size() - 2]);
  y.push_back(b.back());
  out.set(0, asked_dtype(c, c.dtype(kA)), std::move(y));
  return {};
}

Status cost_grouped(const Call& c, Cost& cost) {
  const Shape &a = c.shape(kA), &b = c.shape(kB);
  if (a.size() < 2 || b.size() < 2) return bad("a grouped product needs matrices");
  if (a.size() == 2 && b.size() == 2) {
    cost[Work::mac] = a[0] * b[1] * better_known(a[1], b[0]);
  } else {
    cost[Work::mac] = numel(c.out_shape()) * better_known(a.back(), b[b.size() - 2]);
  }
  const bool second = c.op() == "_scaled_grouped_mm_v2";
  if (second || c.op() == "_scaled_grouped_mm") cost[Work::mul] = 2 * numel(c.out_shape());  // of rows and of columns
  if (second && c.given(after_scales(c) + 1)) cost[Work::add] = numel(c.out_shape());
  return {};
}

/// 8-bit operands and their scales: one of each, or one a row and one a column (blocks of either are taken for these).
namespace scaled {
enum : std::size_t { kA = 0, kB = 1, kScaleA = 2, kScaleB = 3, kBias = 4, kScaleY = 5 };
}

Status cost_scaled_product(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  const Shape& a = c.shape(scaled::kA);
  cost[Work::mac] = y * better_known(a.empty() ? Dim(1) : a.back(), c.shape(scaled::kB)[0]);
  const Count factors = numel(c.shape(scaled::kScaleA)) * numel(c.shape(scaled::kScaleB));
  cost[Work::mul] = factors.is(1) ? y + 1 : 2 * y;
  if (c.op() == "_scaled_mm_v2" ? c.given(after_scales(c)) : c.has(scaled::kBias)) cost[Work::add] = y;
  if (c.has(scaled::kScaleY)) cost[Work::mul] += y;
  if (is_float(c.out().dtype) && bits_of(c.out().dtype) == 8) cost[Work::convert] = y;
  cost.compute = cost.accumulate = DType::f32;
  return {};
}

/// y[.., k] = sum over i, j of x1[.., i] w[k, i, j] x2[.., j].
Status cost_bilinear(const Call& c, Cost& cost) {
  enum : std::size_t { kX1 = 0, kX2 = 1, kW = 2, kBias = 3 };
  const Shape& w = c.shape(kW);
  const Shape& y = c.out_shape();
  const Count rows = numel(y, 0, y.empty() ? 0 : y.size() - 1);
  cost[Work::mac] = rows * w[0] * w[1] * w[2] + rows * w[0] * w[2];  // the first product, then the second
  if (c.has(kBias)) cost[Work::add] = numel(y);
  return {};
}

/// Each of the three gradients is two products, too; x1, x2 and w are needed for the others'.
Status gradient_bilinear(const Call& c, Gradient& g) {
  enum : std::size_t { kX1 = 0, kX2 = 1, kW = 2, kBias = 3 };
  const Shape& w = c.shape(kW);
  const Shape& y = c.out_shape();
  const Count rows = numel(y, 0, y.empty() ? 0 : y.size() - 1);
  if (g.needs(kX1)) g[Work::mac] += rows * (numel(w) + w[0] * w[1]);
  if (g.needs(kX2)) g[Work::mac] += rows * (numel(w) + w[0] * w[2]);
  if (g.needs(kW)) g[Work::mac] += rows * (numel(w) + w[0] * w[1]);
  if (g.needs(kBias)) add_spread(g, y, c.shape(kBias));
  for (const std::size_t slot : {kX1, kX2, kW}) g.keep(slot);
  return {};
}

std::vector<Rule> aten_rules() {
  const GradientFn product = gradient_product();
  return {
      {"linear", "a b c", "x W^T + b, over the last axis",
       "mac = |y| * K, of complex numbers 4; add = |y| with a bias; what is fused on |y|",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear.html", aten_linear, cost_aten_linear,
       aten({"linear", "mkldnn_linear", "mkldnn::_linear_pointwise"}, aten_linear) +
           aten({"mkldnn::_linear_pointwise.binary"}, aten_linear, "a other b c") +
           aten({"quantized::linear_dynamic_fp16", "quantized::linear_relu_dynamic_fp16"}, aten_linear,
                "a b scale zero c", {}, cost_aten_linear),
       nullptr, product},
      {"addmm", "a b c", "beta * C + alpha * A B, of matrices, vectors and batches",
       "mac = |y| * K, times the batches that are summed; add = |y|; mul = |y| with alpha, |c| with beta; a sparse "
       "operand: as matmul",
       "https://docs.pytorch.org/docs/stable/generated/torch.addmm.html", aten_addmm, cost_aten_addmm,
       aten({"addmm", "addmv", "baddbmm", "addbmm", "_sparse_addmm", "sspaddmm"}, aten_addmm, "c a b") +
           aten({"addr"}, {}, "c a b"),
       nullptr, scaled_gradient},
      {"sampled_addmm", "a b c", "beta * C + alpha * A B where C stores an element",
       "n stored elements: mac = n * K; add = n; mul = n with alpha, n with beta",
       "https://docs.pytorch.org/docs/stable/generated/torch.sparse.sampled_addmm.html", aten_sampled, cost_sampled,
       aten({"sparse_sampled_addmm"}, aten_sampled, "c a b")},
      {"grouped_matmul", "a b #offsets", "Groups of rows, each times a matrix of its own",
       "mac = |y| * K; of two matrices with the inner axis in groups: M * N * K; mul = 2|y| with scales; add = |y| "
       "with a bias",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grouped_mm.html", aten_grouped, cost_grouped,
       aten({"_grouped_mm"}, aten_grouped, "a b #offsets") +
           aten({"_scaled_grouped_mm"}, aten_grouped, "a b scale_a scale_b #offsets") +
           aten({"_scaled_grouped_mm_v2"}, aten_grouped, "a b scales..."),
       nullptr, gradient_product(kA, kB, SIZE_MAX)},
      {"scaled_matmul",
       "a b scale_a scale_b bias scale_y",
       "Matrix product of 8-bit floats with scales",
       "mac = M * N * K; mul = |y| + 1, with scales of rows and columns 2|y|, |y| for the scale of Y; add = |y| with a "
       "bias; convert = |y| to 8 bits",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_mm.html",
       {},
       cost_scaled_product,
       aten({"_scaled_mm"}) + aten({"_scaled_mm_v2"}, {}, "a b scale_a scale_b")},
      {"bilinear",
       "x1 x2 w bias",
       "x1 W x2 + b, for every output",
       "rows r: mac = r * |w| + r * outputs * |x2 row|",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.bilinear.html",
       {},
       cost_bilinear,
       aten({"bilinear"}),
       nullptr,
       gradient_bilinear},
  };
}

std::vector<Rule> plain_rules() {
  return {
      {"matmul", "a b", "Matrix product with broadcast batches",
       "mac = |y| * K, of complex numbers 4; a sparse A of n stored elements: n * columns of B; a sparse B: n * rows "
       "of "
       "A; both: the smaller, a bound",
       "https://onnx.ai/onnx/operators/onnx__MatMul.html", infer_matmul, cost_matmul,
       onnx({"MatMul"}) +
           aten({"matmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "linalg_vecdot", "_int_mm", "_sparse_mm", "hspmm",
                 "smm"},
                aten_matmul, {}, {}, cost_aten_matmul) +
           aten({"outer", "ger"}, {}, {}, {}, cost_outer),
       nullptr, gradient_matmul},
      {"fused_matmul", "a b", "Matrix product of perhaps transposed operands, scaled, with an activation",
       "mac = |y| * K; mul = |y| with alpha; the activation on |y|", contrib_doc("FusedMatMul"), infer_fused_matmul,
       cost_fused_matmul, microsoft({"FusedMatMul", "TransposeMatMul", "FusedMatMulActivation"})},
      {"sparse_matmul", "a b", "Matrix product of a sparse and a dense operand", "mac <= |y| * K; mul = |y| with alpha",
       contrib_doc("SparseToDenseMatMul"), infer_fused_matmul, cost_sparse_matmul, microsoft({"SparseToDenseMatMul"})},
      {"matmul_gelu", "a b bias", "Matrix product, bias and tanh GELU",
       "mac = |y| * K; add = |y| with a bias; gelu on |y|: 2 add, 6 mul, 1 exp", contrib_doc("GemmFastGelu"),
       infer_matmul, cost_matmul_gelu, microsoft({"GemmFastGelu"})},
  };
}

// Gemm -----------------------------------------------------------------------------------------------------------

Dim gemm_inner(const Call& c) {
  const Dim& a = c.shape(kA)[c.integer("transA", 0) != 0 ? 0 : 1];
  const Dim& b = c.shape(kB)[c.integer("transB", 0) != 0 ? 1 : 0];
  return better_known(a, b);
}

Status gemm_shape(const Call& c, Shape& y) {
  const Shape& a = c.shape(kA);
  const Shape& b = c.shape(kB);
  const bool turn_a = c.integer("transA", 0) != 0, turn_b = c.integer("transB", 0) != 0;
  if ((c.ranked(kA) && a.size() != 2) || (c.ranked(kB) && b.size() != 2)) {
    return bad("Gemm multiplies two matrices; the shapes are " + text(a) + " and " + text(b));
  }
  if (c.ranked(kA) && c.ranked(kB)) unify(c, a[turn_a ? 0 : 1], b[turn_b ? 1 : 0], "inner sizes");
  y = Shape{a[turn_a ? 1 : 0], b[turn_b ? 0 : 1]};
  return {};
}

Status infer_gemm(const Call& c, Outputs& out) {
  Shape y;
  if (Status s = gemm_shape(c, y); !s) return s;
  out.set(0, c.dtype(kA), y);
  return {};
}

Status cost_gemm(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::mac] = y * gemm_inner(c);
  if (c.real("alpha", 1) != 1) cost[Work::mul] += y;
  const double beta = c.real("beta", 1);
  if (c.has(kC) && beta != 0) {
    cost[Work::add] += y;
    if (beta != 1) cost[Work::mul] += numel(c.shape(kC));
  }
  if (c.dialect() != "onnx") work::fused_activation(cost, c.text("activation", ""), y);
  return {};
}

Status gradient_gemm(const Call& c, Gradient& g) {
  if (c.dialect() != "onnx") fused_activation_gradient(g, c.text("activation", ""), numel(c.out_shape()));
  return scaled_gradient(c, g);
}

enum : std::size_t { kScaleA = 3, kScaleB, kScaleY };

Status infer_gemm_float8(const Call& c, Outputs& out) {
  Shape y;
  if (Status s = gemm_shape(c, y); !s) return s;
  out.set(0, dtype_from_onnx(c.integer("dtype", 1)), y);
  return {};
}

Status cost_gemm_float8(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::mac] = y * gemm_inner(c);
  // alpha * scaleA * scaleB is one factor for all elements.
  const int factors = (c.real("alpha", 1) != 1 ? 1 : 0) + (c.has(kScaleA) ? 1 : 0) + (c.has(kScaleB) ? 1 : 0);
  if (factors > 0) cost[Work::mul] += y + (factors - 1);
  const double beta = c.real("beta", 0);
  if (c.has(kC) && beta != 0) {
    cost[Work::add] += y;
    if (beta != 1) cost[Work::mul] += numel(c.shape(kC));
  }
  work::fused_activation(cost, c.text("activation", ""), y);
  if (c.has(kScaleY)) cost[Work::mul] += y;
  if (is_float(c.out().dtype) && bits_of(c.out().dtype) == 8) cost[Work::convert] += y;
  cost.compute = cost.accumulate = DType::f32;
  return {};
}

std::vector<Rule> gemm_rules() {
  return {
      {"gemm", "a b c", "alpha * A * B + beta * C, with an activation where one is fused",
       "mac = M * N * K; add = |y| with C; mul = |y| with alpha, |c| with beta",
       "https://onnx.ai/onnx/operators/onnx__Gemm.html", infer_gemm, cost_gemm,
       onnx({"Gemm"}) + microsoft({"FusedGemm"}), nullptr, gradient_gemm},
      {"gemm_float8", "a b c scale_a scale_b scale_y", "Gemm of 8-bit floats with scales",
       "mac = M * N * K; mul = |y| for alpha and the scales of A and B, |y| for the scale of Y, |c| with beta; "
       "add = |y| with C; convert = |y| to 8 bits; the activation on |y|",
       contrib_doc("GemmFloat8"), infer_gemm_float8, cost_gemm_float8, microsoft({"GemmFloat8"})},
  };
}

}  // namespace

std::vector<Rule> matmul_rules() {
  const NoGradient codes{"8-bit floats are codes"};
  return with_gradients({{"fused_matmul", gradient_fused_matmul},
                         {"sparse_matmul", gradient_fused_matmul},
                         {"matmul_gelu", gradient_matmul_gelu},
                         {"gemm_float8", codes},
                         {"scaled_matmul", codes},
                         {"sampled_addmm", scaled_gradient}},
                        joined(plain_rules(), gemm_rules(), distance_rules(), aten_rules()));
}

std::vector<Rule> contraction_family() {
  return with(Access::contraction, joined(matmul_rules(), quantized_matmul_rules(), low_bit_matmul_rules(),
                                          kernel_matmul_rules(), einsum_rules()));
}

}  // namespace macsim::rules
