// Recurrent networks: rnn, gru, lstm, and their quantised and attentive kin.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "families.hpp"

namespace macsim::rules {

std::vector<Rule> rnn_family() { return {}; }

}  // namespace macsim::rules
