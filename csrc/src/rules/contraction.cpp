// Contractions: matmul, gemm, einsum, and their fused, quantised and low-bit kin.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "families.hpp"

namespace macsim::rules {

std::vector<Rule> contraction_family() { return {}; }

}  // namespace macsim::rules
