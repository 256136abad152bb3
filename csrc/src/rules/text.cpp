// Text: strings, tokens, regular expressions, tf-idf.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> text_family() { return {}; }

}  // namespace macsim::rules
