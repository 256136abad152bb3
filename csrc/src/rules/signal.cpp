// Signal processing and small linear algebra: dft, stft, windows, mel weights, determinant, inverse, warping.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> signal_family() { return {}; }

}  // namespace macsim::rules
