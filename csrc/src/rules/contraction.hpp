// What the parts of the contraction family share: the shape and the multiply-adds of a matrix product.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

/// numpy's matmul of inputs `a` and `b` by slot: vectors, matrices, and batches that broadcast against each other.
Status matmul_shape(const Call& c, std::size_t a, std::size_t b, Shape& y);
/// The same for shapes at hand; `known` false: one of the ranks is unknown and nothing can be said.
Status matmul_shape(const Call& c, const Shape& a, const Shape& b, bool known, Shape& y);
/// |y| * the length of each dot product.
Count matmul_macs(const Shape& a, const Shape& b, const Shape& y);
/// x[..., K] times a matrix of `columns`: x's shape with the last size replaced.
Shape with_last(const Shape& x, const Dim& columns);

std::vector<Rule> matmul_rules();            // contraction.cpp
std::vector<Rule> quantized_matmul_rules();  // contraction_quantized.cpp
std::vector<Rule> low_bit_matmul_rules();    // contraction_low_bit.cpp
std::vector<Rule> einsum_rules();            // contraction_einsum.cpp
std::vector<Rule> distance_rules();          // contraction_distances.cpp
std::vector<Rule> kernel_matmul_rules();     // contraction_kernels.cpp

}  // namespace macsim::rules
