// Pooling: max, average, lp, global, unpooling, regions of interest, non-maximum suppression.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> pool_family() { return {}; }

}  // namespace macsim::rules
