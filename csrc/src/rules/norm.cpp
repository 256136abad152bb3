// Normalisation: batch, layer, group, instance, rms, lrn, lp, mean-variance, and the fused skip and embed kinds.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> norm_family() { return {}; }

}  // namespace macsim::rules
