// ai.onnx.preview.training: optimisers and gradients.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> train_family() { return {}; }

}  // namespace macsim::rules
