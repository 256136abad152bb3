// Resampling: resize, upsample, grid sample, affine grid, crops.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> resize_family() { return {}; }

}  // namespace macsim::rules
