// The parts of the contrib family. Private to it.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

std::vector<Rule> search_rules();  // contrib_search.cpp
std::vector<Rule> legacy_rules();  // contrib_legacy.cpp

}  // namespace macsim::rules
