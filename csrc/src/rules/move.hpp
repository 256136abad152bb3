// The parts of the data-movement family.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

std::vector<Rule> slice_rules();   // slice, split, compress
std::vector<Rule> gather_rules();  // gather, scatter and their kin

}  // namespace macsim::rules
