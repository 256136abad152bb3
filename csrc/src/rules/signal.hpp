// The parts of the signal family.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

std::vector<Rule> factor_rules();    // linalg.cpp: factorisations and what is solved with them
std::vector<Rule> spectrum_rules();  // linalg_spectrum.cpp: eigenvalues, singular values, functions of matrices

namespace linalg {

/// The last two sizes of a slot, and how many such matrices there are.
struct Matrix {
  Count batch;
  Dim rows, columns;
};
Matrix matrix_of(const Shape& shape);
/// A slot's dtype; of complex numbers a product is 4 products and 2 sums, a sum 2 sums, and a quotient 6 products, 3
/// sums and 2 quotients of real ones. To be called last.
void widen(Cost& cost, DType dtype);
/// The Householder reflectors of an m x n matrix.
void reflect(Cost& cost, const Count& batch, const Dim& m, const Dim& n);
/// Reflectors of lengths m, m - 1, ..., k of them, each put to `columns`, or to one column less than the one before.
void apply_reflectors(Cost& cost, const Count& batch, const Dim& m, const Dim& k, const Dim& columns, bool fewer);
/// A triangle of n rows solved for r right-hand sides; `unit`: of ones on its diagonal.
void substitute(Cost& cost, const Count& batch, const Dim& n, const Dim& r, bool unit);
/// The smaller of two sizes.
Dim least(const Dim& a, const Dim& b);

}  // namespace linalg
}  // namespace macsim::rules
