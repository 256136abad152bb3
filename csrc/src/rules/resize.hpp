// What the parts of the resampling family share.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

std::vector<Rule> sample_rules();  // grid sample, affine grid, crops, image decoding

namespace sample {

/// How a value between pixels is made.
enum class Mode { nearest, linear, cubic, lanczos };
Mode mode_of(std::string_view name);

/// Pixels on an axis that take part in one value.
std::int64_t taps_of(Mode mode);
/// The pixels around `n` coordinates, and their weights along that axis.
void weights(Cost& cost, Mode mode, const Count& n);
/// `values` values at `positions` positions, each a weighted sum over taps[0] * taps[1] * ... pixels. The products of
/// the weights of the axes are made once a position.
void blend(Cost& cost, const std::vector<Count>& taps, const Count& positions, const Count& values);

}  // namespace sample
}  // namespace macsim::rules
