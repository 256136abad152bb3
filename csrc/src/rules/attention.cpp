// Attention in all its spellings, rotary embedding, and linear attention.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "families.hpp"

namespace macsim::rules {

std::vector<Rule> attention_family() { return {}; }

}  // namespace macsim::rules
