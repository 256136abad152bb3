// Eigenvalues, singular values and functions of matrices. They are found by iterations: what these take is estimated
// with the counts of Golub and Van Loan, Matrix Computations, 4th edition, half of the flops mul and half add.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "rules/aten.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/signal.hpp"
#include "rules/support.hpp"

namespace macsim::rules {
namespace {

enum : std::size_t { kA = 0 };

constexpr std::string_view kSymmetric =
    "the symmetric QR algorithm takes that on the average: Golub and Van Loan, Matrix Computations, 8.3";
constexpr std::string_view kSingular = "the SVD of Golub and Reinsch: Golub and Van Loan, Matrix Computations, 8.6";

void flops(Cost& cost, const Count& batch, const Count& twice, std::int64_t divisor) {
  const Count half = batch * floor_div(twice, 2 * divisor);
  cost[Work::mul] += half;
  cost[Work::add] += half;
}

void estimated(const Call& c, Cost& cost, std::string_view because) {
  linalg::widen(cost, c.dtype(kA));
  cost.trust = Trust::estimate;
  cost.because = because;
}

/// Section 8.3: 4/3 n^3 flops for the eigenvalues of a symmetric matrix, 9 n^3 with its vectors.
void symmetric(Cost& cost, const linalg::Matrix& a, bool vectors) {
  const Dim& n = a.columns;
  flops(cost, a.batch, (vectors ? 27 : 4) * n * n * n, 3);
}

Status cost_symmetric(const Call& c, Cost& cost) {
  symmetric(cost, linalg::matrix_of(c.shape(kA)), c.op() != "linalg_eigvalsh" && c.integer("compute_v", 1) != 0);
  estimated(c, cost, kSymmetric);
  return {};
}

/// Section 7.5: 10 n^3 flops for eigenvalues, 25 n^3 with the Schur form T and its vectors Q. Eigenvector k of T then
/// is a triangle of k - 1 rows solved, (k - 1)^2 flops, and put to k columns of Q, 2nk flops: 4/3 n^3 for all of them.
Status cost_eigen(const Call& c, Cost& cost) {
  const linalg::Matrix a = linalg::matrix_of(c.shape(kA));
  const Dim& n = a.columns;
  const bool vectors = c.op() != "linalg_eigvals" && c.op() != "_linalg_eigvals";
  flops(cost, a.batch, (vectors ? 79 : 30) * n * n * n, 3);
  estimated(c, cost, "the QR algorithm takes that on the average: Golub and Van Loan, Matrix Computations, 7.5");
  return {};
}

/// Section 8.6, Golub and Reinsch, m >= n: values 4mn^2 - 4/3 n^3; with U and V thin 14mn^2 + 8n^3, with all of U 4m^2n
/// + 8mn^2 + 9n^3.
void singular(Cost& cost, const linalg::Matrix& a, bool vectors, bool full) {
  const Dim n = linalg::least(a.rows, a.columns);
  const Dim m = a.rows + a.columns - n;
  if (!vectors) {
    flops(cost, a.batch, 12 * m * n * n - 4 * n * n * n, 3);
  } else if (full) {
    flops(cost, a.batch, 4 * m * m * n + 8 * m * n * n + 9 * n * n * n, 1);
  } else {
    flops(cost, a.batch, 14 * m * n * n + 8 * n * n * n, 1);
  }
}

Status cost_singular(const Call& c, Cost& cost) {
  const bool vectors = c.op() != "linalg_svdvals" && c.integer("compute_uv", 1) != 0;
  singular(cost, linalg::matrix_of(c.shape(kA)), vectors, c.integer("full_matrices", 0) != 0);
  estimated(c, cost, kSingular);
  return {};
}

/// V S^-1 U^H, after a decomposition: k reciprocals, a row scaled for each, and a product.
Status cost_pseudoinverse(const Call& c, Cost& cost) {
  const linalg::Matrix a = linalg::matrix_of(c.shape(kA));
  const Dim k = linalg::least(a.rows, a.columns);
  const bool hermitian = c.integer("hermitian", 0) != 0;
  if (hermitian) {
    symmetric(cost, a, true);
  } else {
    singular(cost, a, true, false);
  }
  cost[Work::div] += a.batch * k;
  cost[Work::compare] += a.batch * k;
  cost[Work::mul] += a.batch * k * a.columns;
  cost[Work::mac] += a.batch * a.rows * a.columns * k;
  estimated(c, cost, hermitian ? kSymmetric : kSingular);
  return {};
}

/// Bader, Blanes and Casas, Computing the matrix exponential with an optimized Taylor polynomial approximation,
/// Mathematics 7 (2019) 1174: 5 products for the polynomial of degree 18, and a squaring for each halving.
Status cost_exponential(const Call& c, Cost& cost) {
  const linalg::Matrix a = linalg::matrix_of(c.shape(kA));
  const Dim& n = a.columns;
  cost[Work::mac] = 5 * a.batch * n * n * n;
  linalg::widen(cost, c.dtype(kA));
  cost.trust = Trust::estimate;
  cost.because =
      "the Taylor polynomial of degree 18 of Bader, Blanes and Casas (2019), without squarings, which the norm tells";
  return {};
}

// Gradients, as torch computes them (torch/csrc/autograd/FunctionsManual.cpp). ---------------------------------------

/// V (diag(dl) + V^T dV / (lj - li)) V^T; of the values alone the columns of V are scaled.
Status gradient_symmetric(const Call& c, Gradient& g) {
  const linalg::Matrix a = linalg::matrix_of(c.shape(kA));
  const Dim& n = a.columns;
  const Count square = a.batch * n * n;
  g[Work::mac] = square * n;
  if (g.comes(1)) {
    g[Work::mac] += 2 * square * n;
    g[Work::add] += square + a.batch * n;
    g[Work::div] += square;
  } else {
    g[Work::mul] += square;
  }
  linalg::widen(g.cost, c.dtype(kA));
  g.keep_output(0);
  g.keep_output(1);
  return {};
}

/// V^-T (diag(dl) + (V^T dV - V^T V diag(Re(V^T dV))) / (lj - li)) V^T, of complex numbers: a system is solved. Of the
/// values alone the rows of V^T are scaled.
Status gradient_eigen(const Call& c, Gradient& g) {
  const linalg::Matrix a = linalg::matrix_of(c.shape(kA));
  const Dim& n = a.columns;
  const Count square = a.batch * n * n;
  if (g.comes(1)) {
    g[Work::mac] = 3 * square * n;
    g[Work::add] += 2 * square;
    g[Work::div] += square;
  } else {
    g[Work::mul] += square;
  }
  flops(g.cost, a.batch, 4 * n * n * n, 3);  // factors
  linalg::substitute(g.cost, a.batch, n, n, true);
  linalg::substitute(g.cost, a.batch, n, n, false);
  linalg::widen(g.cost, c.out().dtype);
  g.keep_output(0);
  g.keep_output(1);
  rules::estimated(g, "the factors of V are taken for 2/3 n^3 products");
  return {};
}

/// U (diag(dS) + (skew(U^T dU) / E S + S skew(V^T dV) / E)) V^T, and what lies outside of the spaces of U and V.
Status gradient_singular(const Call& c, Gradient& g) {
  const linalg::Matrix a = linalg::matrix_of(c.shape(kA));
  const Dim &m = a.rows, &n = a.columns, k = linalg::least(m, n);
  const bool u = g.comes(0) && c.outputs() > 1, v = g.comes(2);
  const bool tall = u && !(m == k), wide = v && !(n == k);  // what lies outside of the spaces
  g[Work::mac] = a.batch * m * n * k;
  if (u) g[Work::mac] += a.batch * m * k * k;
  if (v) g[Work::mac] += a.batch * n * k * k;
  if (u || v) {
    g[Work::mac] += a.batch * (wide || m == k ? n : m) * k * k;
    if (tall) g[Work::mac] += 2 * a.batch * m * k * k;
    if (wide) g[Work::mac] += 2 * a.batch * n * k * k;
    g[Work::add] += 4 * a.batch * k * k;
    g[Work::mul] += 3 * a.batch * k * k;
    g[Work::div] += 2 * a.batch * k * k;
    rules::estimated(g, "the products that torch makes of factors that are not square");
  } else {
    g[Work::mul] += a.batch * m * k;
  }
  linalg::widen(g.cost, c.dtype(kA));
  for (std::size_t i = 0; i < 3; ++i) g.keep_output(i);
  if (c.outputs() == 1) g.keep_bytes(bytes(c.dtype(kA), a.batch * k * (m + n)));
  return {};
}

/// -P^T dP P^T and two projections outside of the spaces of rows and columns: eight products, the order of two of them
/// by the shape.
Status gradient_pseudoinverse(const Call& c, Gradient& g) {
  const linalg::Matrix a = linalg::matrix_of(c.shape(kA));
  const Dim &m = a.rows, &n = a.columns;
  const Truth wide = at_least(n, m);
  g[Work::mac] = 4 * a.batch * m * n * (wide == Truth::yes ? 2 * m : m + n);
  g[Work::add] = 4 * a.batch * m * n;
  linalg::widen(g.cost, c.dtype(kA));
  g.keep(kA);
  g.keep_output();
  if (wide == Truth::depends) rules::estimated(g, "as if there were more rows than columns");
  return {};
}

/// The exponential of [A^T dy; 0 A^T], which is twice as large: N. J. Higham, Functions of Matrices (2008), 3.2.
Status gradient_exponential(const Call&, Gradient& g) {
  g[Work::mac] = 8 * g.run[Work::mac];
  g.cost.trust = g.run.trust;
  g.cost.because = g.run.because;
  g.keep(kA);
  return {};
}

Text page(std::string_view name) {
  return Text::joined({"https://docs.pytorch.org/docs/stable/generated/torch.", name, ".html"});
}

}  // namespace

std::vector<Rule> spectrum_rules() {
  const Text half = ", half of them mul, half add: an estimate";
  std::vector<Rule> rules = {
      {"eigen_symmetric",
       "a",
       "Eigenvalues and vectors of symmetric matrices",
       "flops 4/3 n^3, with vectors 9 n^3" + half,
       page("linalg.eigh"),
       {},
       cost_symmetric,
       aten({"_linalg_eigh", "linalg_eigh", "linalg_eigvalsh"}, {}, "a")},
      {"eigen",
       "a",
       "Eigenvalues and vectors",
       "flops 10 n^3, with vectors 25 n^3 + 4/3 n^3" + half,
       page("linalg.eig"),
       {},
       cost_eigen,
       aten({"linalg_eig", "linalg_eigvals", "_linalg_eigvals"}, {}, "a")},
      {"singular",
       "a",
       "Singular values and vectors",
       "m >= n: flops 4mn^2 - 4/3 n^3; with vectors 14mn^2 + 8n^3, square ones 4m^2n + 8mn^2 + 9n^3" + half,
       page("linalg.svd"),
       {},
       cost_singular,
       aten({"_linalg_svd", "linalg_svd", "linalg_svdvals", "prims::svd"}, {}, "a")},
      {"pseudoinverse",
       "a",
       "Pseudoinverses",
       "a decomposition (singular, eigen_symmetric); mac = m n k; mul = k n; "
       "div = compare = k: an estimate",
       page("linalg.pinv"),
       {},
       cost_pseudoinverse,
       aten({"linalg_pinv"}, {}, "a")},
      {"matrix_exponential",
       "a",
       "Exponentials of matrices",
       "mac = 5 n^3, without squarings: an estimate",
       page("linalg.matrix_exp"),
       {},
       cost_exponential,
       aten({"linalg_matrix_exp", "matrix_exp"}, {}, "a")},
  };
  return with_gradients({{"eigen_symmetric", gradient_symmetric},
                         {"eigen", gradient_eigen},
                         {"singular", gradient_singular},
                         {"pseudoinverse", gradient_pseudoinverse},
                         {"matrix_exponential", gradient_exponential}},
                        std::move(rules));
}

}  // namespace macsim::rules
