// Factorisations of matrices, and what is solved with them. Counts are those of the textbook's loops, without blocking.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "rules/aten.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/signal.hpp"
#include "rules/support.hpp"

namespace macsim::rules {
namespace linalg {

Matrix matrix_of(const Shape& shape) {
  if (shape.size() < 2) return {1, shape.empty() ? Dim(1) : shape[0], 1};
  return {numel(shape, 0, shape.size() - 2), shape[shape.size() - 2], shape.back()};
}

void widen(Cost& cost, DType dtype) {
  if (class_of(dtype) != DTypeClass::complex) return;
  const Count mul = cost[Work::mul], add = cost[Work::add], div = cost[Work::div];
  cost[Work::mac] = 4 * cost[Work::mac];
  cost[Work::mul] = 4 * mul + 6 * div;
  cost[Work::add] = 2 * add + 2 * mul + 3 * div;
  cost[Work::div] = 2 * div;
}

Dim least(const Dim& a, const Dim& b) {
  if (a == b || at_least(b, a) == Truth::yes) return a;
  if (at_least(a, b) == Truth::yes) return b;
  return min(a, b);
}

namespace {

/// The sum of i over 0 <= i < k, and that of i^2.
Count sum_of(const Dim& k) { return floor_div(k * (k - 1), 2); }
Count squares_of(const Dim& k) { return floor_div(k * (k - 1) * (2 * k - 1), 6); }

}  // namespace

void apply_reflectors(Cost& cost, const Count& batch, const Dim& m, const Dim& k, const Dim& columns, bool fewer) {
  // Step j: h = m - j, c = columns (- j): the product with v is h - 1 mul and add, then 1 mul; the update h - 1 mul
  // and h add: c * (2 (m - j) - 1) of each.
  const Count whole = (2 * m - 1) * columns * k;
  const Count steps =
      fewer ? whole - (2 * m - 1 + 2 * columns) * sum_of(k) + 2 * squares_of(k) : whole - 2 * columns * sum_of(k);
  cost[Work::mul] += batch * steps;
  cost[Work::add] += batch * steps;
}

void reflect(Cost& cost, const Count& batch, const Dim& m, const Dim& n) {
  const Dim k = least(m, n);
  const Count lengths = m * k - sum_of(k);   // of all columns below the diagonal, it included
  cost[Work::mul] += batch * lengths;        // squares
  cost[Work::add] += batch * (lengths + k);  // their sum, the new first element, tau
  cost[Work::sqrt] += batch * k;
  cost[Work::div] += batch * lengths;  // v by its first element, tau
  apply_reflectors(cost, batch, m, k, n - 1, true);
}

void substitute(Cost& cost, const Count& batch, const Dim& n, const Dim& r, bool unit) {
  cost[Work::mul] += batch * r * sum_of(n);
  cost[Work::add] += batch * r * sum_of(n);
  if (!unit) cost[Work::div] += batch * r * n;
}

}  // namespace linalg

namespace {

using linalg::least;
using linalg::matrix_of;
using linalg::squares_of;
using linalg::substitute;
using linalg::sum_of;
using linalg::widen;

enum : std::size_t { kA = 0, kB = 1 };

/// Elimination with pivots: step j has m - 1 - j factors, each with n - 1 - j updates.
void eliminate(Cost& cost, const Count& batch, const Dim& m, const Dim& n) {
  const Dim k = least(m, n);
  const Count factors = batch * ((m - 1) * k - sum_of(k));
  const Count updates = batch * ((m - 1) * (n - 1) * k - (m + n - 2) * sum_of(k) + squares_of(k));
  cost[Work::mul] += updates;
  cost[Work::add] += updates;
  cost[Work::div] += factors;
  cost[Work::compare] += factors;
}

void done(Cost& cost, DType dtype) {
  widen(cost, dtype);
  const bool nothing = std::all_of(cost.work.begin(), cost.work.end(), [](const Count& n) { return n.is(0); });
  if (nothing) cost.moves("so small that nothing is computed");
}

Status cost_cholesky(const Call& c, Cost& cost) {
  const auto [batch, n, columns] = matrix_of(c.shape(kA));
  const Count updates = batch * floor_div(n * (n - 1) * (n + 1), 6);
  cost[Work::mul] = updates;
  cost[Work::add] = updates;
  cost[Work::div] = batch * sum_of(n);
  cost[Work::sqrt] = batch * n;
  done(cost, c.dtype(kA));
  return {};
}

Status cost_lu(const Call& c, Cost& cost) {
  const auto [batch, m, n] = matrix_of(c.shape(kA));
  eliminate(cost, batch, m, n);
  done(cost, c.dtype(kA));
  return {};
}

/// Of the right-hand sides of a solver: a vector for each matrix, or a matrix.
Dim sides_of(const Call& c, const Shape& matrix, const Shape& side) {
  const bool vectors =
      side.size() == 1 || (side.size() + 1 == matrix.size() && c.op().find("linalg_solve") != std::string_view::npos);
  return vectors || side.empty() ? Dim(1) : side.back();
}

Count batch_of(const Shape& a, const Shape& y) {
  if (y.size() + 1 == a.size()) return numel(y, 0, y.size() - 1);
  return y.size() >= a.size() && y.size() >= 2 ? numel(y, 0, y.size() - 2) : matrix_of(a).batch;
}

/// The matrices are factored once each, every right-hand side is solved for.
Status cost_solve(const Call& c, Cost& cost) {
  const Shape &a = c.shape(kA), &y = c.out_shape();
  const auto [batch, m, n] = matrix_of(a);
  const Dim sides = sides_of(c, a, c.shape(kB));
  eliminate(cost, batch, m, n);
  const Count systems = batch_of(a, y);
  substitute(cost, systems, n, sides, true);
  substitute(cost, systems, n, sides, false);
  done(cost, c.dtype(kA));
  return {};
}

/// With factors at hand: a triangle each way.
CostFn cost_substitute(int triangles, int unit) {
  return [triangles, unit](const Call& c, Cost& cost) -> Status {
    const Shape &a = c.shape(kA), &y = c.out_shape();
    const bool from_left = c.integer("left", 1) != 0;
    const Dim n = matrix_of(a).columns;
    const Dim sides = from_left ? matrix_of(y).columns : matrix_of(y).rows;
    const bool ones = c.integer("unitriangular", 0) != 0;
    for (int i = 0; i < triangles; ++i) substitute(cost, batch_of(a, y), n, sides, ones || i < unit);
    done(cost, c.dtype(kA));
    return {};
  };
}

/// From a Cholesky factor: the triangle inverted, then its product with itself, of which half is computed.
Status cost_cholesky_inverse(const Call& c, Cost& cost) {
  const auto [batch, n, columns] = matrix_of(c.shape(kA));
  const Count inverse = floor_div(n * (n - 1) * (n + 1), 6);
  cost[Work::mul] = batch * (inverse + floor_div(n * (n + 1) * (n + 2), 6));
  cost[Work::add] = batch * 2 * inverse;
  cost[Work::div] = batch * floor_div(n * (n + 1), 2);
  done(cost, c.dtype(kA));
  return {};
}

Status infer_reflectors(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kA);
  if (!c.ranked(kA) || x.size() < 2) return {};
  Shape tau(x.begin(), x.end() - 2);
  tau.push_back(least(x[x.size() - 2], x.back()));
  out.set(0, c.dtype(kA), x);
  out.set(1, c.dtype(kA), std::move(tau));
  return {};
}

Status cost_qr(const Call& c, Cost& cost) {
  const auto [batch, m, n] = matrix_of(c.shape(kA));
  linalg::reflect(cost, batch, m, n);
  const std::string_view mode = c.op() == "geqrf" ? "r" : c.text("mode", "reduced");
  const bool complete = mode == "complete" || (c.op() == "qr" && c.integer("some", 1) == 0);
  if (mode != "r") linalg::apply_reflectors(cost, batch, m, least(m, n), complete ? m : least(m, n), true);
  done(cost, c.dtype(kA));
  return {};
}

/// The first columns of a product of reflectors, from the identity.
Status cost_householder(const Call& c, Cost& cost) {
  const auto [batch, m, n] = matrix_of(c.shape(kA));
  const Shape& tau = c.shape(kB);
  linalg::apply_reflectors(cost, batch, m, tau.empty() ? Dim(0) : tau.back(), n, true);
  done(cost, c.dtype(kA));
  return {};
}

/// Reflectors put to a matrix, from either side.
Status cost_reflected(const Call& c, Cost& cost) {
  enum : std::size_t { kTau = 1, kOther = 2 };
  const auto [batch, m, n] = matrix_of(c.shape(kOther));
  const Shape& tau = c.shape(kTau);
  const bool from_left = c.integer("left", 1) != 0;
  const Dim k = tau.empty() ? Dim(0) : tau.back();
  linalg::apply_reflectors(cost, batch, from_left ? m : n, k, from_left ? n : m, false);
  done(cost, c.dtype(kA));
  return {};
}

/// Least squares: the solution, residuals, ranks, singular values, as torch's drivers give them.
Status infer_least(const Call& c, Outputs& out) {
  const Shape &a = c.shape(kA), &b = c.shape(kB);
  if (!c.ranked(kA) || !c.ranked(kB) || a.size() < 2 || b.empty()) return {};
  const bool vectors = b.size() + 1 == a.size();
  const Shape lead(a.begin(), a.end() - 2);
  const Dim &m = a[a.size() - 2], &n = a.back();
  Shape batch;
  const Shape others(b.begin(), b.end() - (vectors ? 1 : 2));
  if (Status status = broadcast(c, lead, others, batch); !status) return status;
  const DType dtype = c.dtype(kA);
  Shape x = batch, residuals = batch;
  x.push_back(n);
  if (!vectors) x.push_back(b.back());
  if (!vectors) residuals.push_back(b.back());
  const std::string_view driver = c.text("driver", "gelsy");
  const bool more = at_least(m, n + 1) == Truth::yes && driver != "gelsy";
  out.set(0, dtype, std::move(x));
  out.set(1, dtype, more ? std::move(residuals) : Shape{0});
  out.set(2, DType::i64, driver == "gels" ? Shape{0} : lead);
  Shape values = lead;
  values.push_back(least(m, n));
  out.set(3, dtype, driver == "gelsd" || driver == "gelss" ? std::move(values) : Shape{0});
  return {};
}

Status cost_least(const Call& c, Cost& cost) {
  const Shape &a = c.shape(kA), &y = c.out_shape();
  const auto [batch, m, n] = matrix_of(a);
  const bool vectors = c.shape(kB).size() + 1 == a.size();
  const Dim sides = vectors ? Dim(1) : c.shape(kB).back();
  const Count systems = numel(y, 0, y.size() - (vectors ? 1 : 2));
  linalg::reflect(cost, batch, m, n);
  linalg::apply_reflectors(cost, systems, m, least(m, n), sides, false);
  substitute(cost, systems, least(m, n), sides, false);
  widen(cost, c.dtype(kA));
  cost.trust = Trust::estimate;
  cost.because = "as if by Householder's QR, without the search for the rank";
  return {};
}

/// A = L D L^T with pivots of Bunch and Kaufman.
Status cost_ldl(const Call& c, Cost& cost) {
  const auto [batch, n, columns] = matrix_of(c.shape(kA));
  const Count updates = batch * floor_div(n * (n - 1) * (n + 1), 6);
  cost[Work::mul] = updates;
  cost[Work::add] = updates;
  cost[Work::div] = batch * sum_of(n);
  cost[Work::compare] = 2 * batch * sum_of(n);
  widen(cost, c.dtype(kA));
  cost.trust = Trust::estimate;
  cost.because = "as if every pivot were a single element, and found in two columns";
  return {};
}

/// The logarithm of a determinant, and its sign.
Status cost_slogdet(const Call& c, Cost& cost) {
  const auto [batch, m, n] = matrix_of(c.shape(kA));
  eliminate(cost, batch, m, n);
  cost[Work::logic] = 2 * batch * n;  // magnitudes and signs
  cost[Work::log] = batch * n;
  cost[Work::add] += batch * (n.is(0) ? Dim(0) : n - 1);
  done(cost, c.dtype(kA));
  return {};
}

// Gradients, as torch computes them (torch/csrc/autograd/FunctionsManual.cpp). ---------------------------------------

/// phi(L^T dL), phi the lower half with half of the diagonal; then two triangles of n sides, and its symmetric part.
Status gradient_cholesky(const Call& c, Gradient& g) {
  const auto [batch, n, columns] = matrix_of(c.shape(kA));
  g[Work::mac] += batch * n * n * n;
  for (int i = 0; i < 2; ++i) substitute(g.cost, batch, n, n, false);
  widen(g.cost, c.dtype(kA));
  g[Work::mul] += batch * (n * n + n);
  g[Work::add] += batch * n * n;
  g.keep_output();
  return {};
}

/// The lower half of L^T dL and the upper of dU U^T, between two triangles of n sides; P is multiplied as a matrix.
Status gradient_lu(const Call& c, Gradient& g) {
  const auto [batch, m, n] = matrix_of(c.shape(kA));
  const Dim k = least(m, n);
  g[Work::mac] += batch * (2 * m * n * k + m * m * n);
  substitute(g.cost, batch, k, n, true);
  substitute(g.cost, batch, k, m, false);
  g[Work::add] += batch * k * k;
  widen(g.cost, c.dtype(kA));
  for (std::size_t i = 0; i < c.outputs(); ++i) g.keep_output(i);
  if (!(m == n)) estimated(g, "what is not square is taken for square");
  return {};
}

/// dB solves A^T dB = dX by the factors that were kept; dA = -dB X^T.
Status gradient_solve(const Call& c, Gradient& g) {
  const Shape &a = c.shape(kA), &y = c.out_shape();
  const auto [batch, m, n] = matrix_of(a);
  const Dim sides = sides_of(c, a, c.shape(kB));
  const Count systems = batch_of(a, y);
  substitute(g.cost, systems, n, sides, true);
  substitute(g.cost, systems, n, sides, false);
  if (g.needs(kA)) {
    g[Work::mac] += systems * n * n * sides;
    if (systems != batch) g[Work::add] += (systems - batch) * n * n;
    g.keep_output();
  }
  widen(g.cost, c.dtype(kA));
  if (g.needs(kA)) g[Work::logic] += systems * n * n;
  g.keep_bytes(bytes(c.dtype(kA), batch * n * n) + bytes(DType::i32, batch * n));
  return {};
}

/// The same by a triangle, or by both of factors that were given; those of a factor are products with it again.
Status gradient_substituted(const Call& c, Gradient& g) {
  const Shape &a = c.shape(kA), &y = c.out_shape();
  const bool from_left = c.integer("left", 1) != 0;
  const Dim n = matrix_of(a).columns, sides = from_left ? matrix_of(y).columns : matrix_of(y).rows;
  const Count systems = batch_of(a, y);
  for (const Work kind : {Work::mul, Work::add, Work::div}) g[kind] = g.run[kind];
  if (g.needs(kA)) {
    const bool one = c.op() == "linalg_solve_triangular" || c.op() == "triangular_solve";
    Cost products;
    products[Work::mac] = systems * n * n * sides + (one ? Count(0) : matrix_of(a).batch * n * n * n);
    widen(products, c.dtype(kA));
    g[Work::mac] += products[Work::mac];
    g[Work::logic] += systems * n * n;
    if (!one) {
      g[Work::add] += systems * n * n;
      estimated(g, "of a factor, by one product with it more");
    }
    g.keep_output();
  }
  g.keep(kA);
  return {};
}

/// Of (L L^T)^-1 = X: -(X (dX + dX^T) X) L.
Status gradient_cholesky_inverse(const Call& c, Gradient& g) {
  const auto [batch, n, columns] = matrix_of(c.shape(kA));
  g[Work::mac] += 3 * batch * n * n * n;
  g[Work::add] += batch * n * n;
  widen(g.cost, c.dtype(kA));
  g[Work::logic] += batch * n * n;
  g.keep(kA);
  g.keep_output();
  return {};
}

/// (dQ + Q sym(triu(dR R^T - Q^T dQ))) R^-T, for m >= n.
Status gradient_qr(const Call& c, Gradient& g) {
  const auto [batch, m, n] = matrix_of(c.shape(kA));
  const Dim k = least(m, n);
  if (g.comes(1)) g[Work::mac] += batch * k * n * n;
  if (g.comes(0)) g[Work::mac] += batch * m * k * k;
  g[Work::mac] += batch * m * k * k;
  g[Work::add] += batch * (k * k + m * k);
  substitute(g.cost, batch, k, m, false);
  widen(g.cost, c.dtype(kA));
  g.keep_output(0);
  g.keep_output(1);
  if (at_least(m, n) != Truth::yes) estimated(g, "what is wider than high is taken for square");
  return {};
}

/// As twice the operator's own work.
Status gradient_twice(const Call& c, Gradient& g) {
  for (std::size_t w = 0; w < kWorks; ++w) g.cost.work[w] = 2 * g.run.work[w];
  for (std::size_t i = 0; i < c.inputs(); ++i) g.keep_at(i);
  g.keep_output();
  estimated(g, "taken for twice the operator's own work");
  return {};
}

/// A^-T times dy: the identity solved for with the factors that were kept.
Status gradient_slogdet(const Call& c, Gradient& g) {
  const auto [batch, n, columns] = matrix_of(c.shape(kA));
  substitute(g.cost, batch, n, n, true);
  substitute(g.cost, batch, n, n, false);
  g[Work::mul] += batch * n;
  widen(g.cost, c.dtype(kA));
  g.keep_bytes(bytes(c.dtype(kA), batch * n * n) + bytes(DType::i32, batch * n));
  return {};
}

Text page(std::string_view name) {
  return Text::joined({"https://docs.pytorch.org/docs/stable/generated/torch.", name, ".html"});
}

}  // namespace

std::vector<Rule> factor_rules() {
  const Text lu = "k = min(m, n) steps: div = compare = the sum of m - 1 - j, mul = add = that of (m-1-j)(n-1-j)";
  const Text loops = "; complex: mul 4, add 2 (and 2 a mul)";
  const Text reflectors =
      "k = min(m, n) steps of h = m - j: squares h, div h, sqrt 1, add h + 1, then mul = "
      "add = (2h - 1) for each column after";
  std::vector<Rule> rules = {
      {"cholesky",
       "a",
       "A = L L^T of positive matrices",
       "for each: mul = add = n(n-1)(n+1)/6; div = n(n-1)/2; sqrt = n" + loops,
       page("linalg.cholesky"),
       {},
       cost_cholesky,
       aten({"cholesky", "linalg_cholesky", "linalg_cholesky_ex"}, {}, "a")},
      {"lu",
       "a",
       "A = P L U",
       lu + loops,
       page("linalg.lu_factor"),
       {},
       cost_lu,
       aten({"linalg_lu", "linalg_lu_factor", "linalg_lu_factor_ex", "_lu_with_info"}, {}, "a")},
      {"solve",
       "a b",
       "Linear systems",
       lu + "; for r sides mul = add = r n(n-1), div = r n" + loops,
       page("linalg.solve"),
       {},
       cost_solve,
       aten({"linalg_solve", "linalg_solve_ex", "_linalg_solve_ex"})},
      {"solve_triangular",
       "a b",
       "Linear systems of triangles",
       "n rows, r sides: mul = add = r n(n-1)/2; div = r n unless the diagonal is 1; two triangles where factors are "
       "given" +
           loops,
       page("linalg.solve_triangular"),
       {},
       cost_substitute(1, 0),
       aten({"linalg_solve_triangular"}, {}, "a b") + aten({"triangular_solve"}, {}, "b a") +
           aten({"cholesky_solve", "_cholesky_solve_helper"}, {}, "b a", {}, cost_substitute(2, 0)) +
           aten({"linalg_lu_solve"}, {}, "a pivots b", {}, cost_substitute(2, 1)) +
           aten({"lu_solve"}, {}, "b a pivots", {}, cost_substitute(2, 1)) +
           aten({"linalg_ldl_solve"}, {}, "a pivots b", {}, cost_substitute(2, 1))},
      {"cholesky_inverse",
       "a",
       "An inverse from a Cholesky factor",
       "for each: mul = n(n-1)(n+1)/6 + n(n+1)(n+2)/6; add = n(n-1)(n+1)/3; div = n(n+1)/2" + loops,
       page("cholesky_inverse"),
       {},
       cost_cholesky_inverse,
       aten({"cholesky_inverse"}, {}, "a")},
      {"qr",
       "a",
       "A = Q R, by Householder's reflectors",
       reflectors + "; Q of q columns: (2h - 1)(q - j) more" + loops,
       page("linalg.qr"),
       {},
       cost_qr,
       aten({"linalg_qr", "qr"}, {}, "a") + aten({"geqrf"}, infer_reflectors, "a")},
      {"householder_product",
       "a tau",
       "The first columns of a product of reflectors",
       "k reflectors: mul = add = the sum of (2(m - j) - 1)(n - j)" + loops,
       page("linalg.householder_product"),
       {},
       cost_householder,
       aten({"linalg_householder_product", "orgqr"}, {}, "a tau")},
      {"apply_reflectors",
       "a tau other",
       "Reflectors put to a matrix",
       "k reflectors: mul = add = the sum of (2(m - j) - 1) n" + loops,
       page("ormqr"),
       {},
       cost_reflected,
       aten({"ormqr"}, {}, "a tau other")},
      {"least_squares", "a b", "Least squares",
       reflectors + "; on r sides (2h - 1) r, then a triangle of n rows: an estimate", page("linalg.lstsq"),
       infer_least, cost_least, aten({"linalg_lstsq"}, infer_least, "a b")},
      {"ldl",
       "a",
       "A = L D L^T of symmetric matrices",
       "for each: mul = add = n(n-1)(n+1)/6; div = n(n-1)/2; compare = n(n-1), an estimate",
       page("linalg.ldl_factor"),
       {},
       cost_ldl,
       aten({"linalg_ldl_factor", "linalg_ldl_factor_ex"}, {}, "a")},
      {"log_determinant",
       "a",
       "Logarithms of determinants, and their signs",
       lu + "; logic = 2n; log = n; add n - 1 more" + loops,
       page("linalg.slogdet"),
       {},
       cost_slogdet,
       aten({"_linalg_slogdet", "linalg_slogdet", "slogdet"}, {}, "a")},
  };
  return with_gradients({{"cholesky", gradient_cholesky},
                         {"lu", gradient_lu},
                         {"solve", gradient_solve},
                         {"solve_triangular", gradient_substituted},
                         {"cholesky_inverse", gradient_cholesky_inverse},
                         {"qr", gradient_qr},
                         {"householder_product", gradient_twice},
                         {"apply_reflectors", gradient_twice},
                         {"least_squares", gradient_twice},
                         {"ldl", NoGradient{"torch does not differentiate it"}},
                         {"log_determinant", gradient_slogdet}},
                        std::move(rules));
}

}  // namespace macsim::rules
