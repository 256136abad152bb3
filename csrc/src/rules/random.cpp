// Random numbers, and dropout in all its spellings.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> random_family() { return {}; }

}  // namespace macsim::rules
