// Quantisation: to and from low-bit elements, and element-wise operators on quantised tensors.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> quant_family() { return {}; }

}  // namespace macsim::rules
