// com.microsoft operators that belong to no other family.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> contrib_family() { return {}; }

}  // namespace macsim::rules
