// The parts of the quantisation family.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

/// The cost of a function of floats where torch's tensors are quantised: they carry their scales and zero points, are
/// taken to floats, and the result is quantised.
CostFn on_quantised(CostFn of_floats);

std::vector<Rule> quantised_elementwise_rules();  // add, mul, activations, concat, where, mean on quantised tensors

}  // namespace macsim::rules
