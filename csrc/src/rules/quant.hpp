// The parts of the quantisation family.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

std::vector<Rule> quantised_elementwise_rules();  // add, mul, activations, concat, where, mean on quantised tensors

}  // namespace macsim::rules
