// Sequences and optionals.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> sequence_family() { return {}; }

}  // namespace macsim::rules
