// Data movement: concat, split, slice, pad, gather, scatter, tile, one-hot, and their kin.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> move_family() { return {}; }

}  // namespace macsim::rules
