// Mixtures of experts: routing, and the experts that a token visits.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "families.hpp"

namespace macsim::rules {

std::vector<Rule> moe_family() { return {}; }

}  // namespace macsim::rules
