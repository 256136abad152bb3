// Reductions: sums, means, extremes, their positions, running sums, softmax, ordering, losses.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> reduce_family() { return {}; }

}  // namespace macsim::rules
