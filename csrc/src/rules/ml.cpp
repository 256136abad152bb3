// ai.onnx.ml: trees, linear models, support vector machines, encoders.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> ml_family() { return {}; }

}  // namespace macsim::rules
