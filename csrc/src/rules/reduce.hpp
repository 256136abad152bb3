// What the parts of the reduce family share.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "rules/support.hpp"

namespace macsim::rules {

void append_softmax(std::vector<Rule>& rules);  ///< softmax and its kin, losses

}  // namespace macsim::rules
