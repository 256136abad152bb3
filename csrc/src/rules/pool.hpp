// The parts of the pooling family.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

std::vector<Rule> region_rules();  // regions of interest, non-maximum suppression

}  // namespace macsim::rules
