// What the parts of the convolution family share.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

/// Whether this spelling keeps channels on the last axis of activations (weights stay [M, C/group, k...]).
bool channels_last(const Call& c);
/// Channels moved to axis 1, and back to the end. Shapes of fewer than 3 axes stay.
Shape channels_second(const Shape& x, bool is_last);
Shape channels_back(const Shape& y, bool is_last);

std::vector<Rule> plain_conv_rules();  // conv.cpp
std::vector<Rule> transposed_rules();  // conv_transposed.cpp
std::vector<Rule> odd_conv_rules();    // conv_odd.cpp: deformable, col2im, causal, unfold, words

}  // namespace macsim::rules
