// What the parts of the normalisation family share.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

std::vector<Rule> fused_norm_rules();  // with skip connections, embeddings, gates

namespace norm {

/// Mean and variance of `rows` rows of `n`, the elements left centred.
void moments(Cost& cost, const Count& rows, const Count& n);
/// 1 / sqrt(variance + eps), one a row.
void deviation(Cost& cost, const Count& rows);
/// (x - mean) / sqrt(variance + eps) * scale + bias on rows of `n`, scale and bias differing inside a row.
void layer(Cost& cost, const Count& rows, const Count& n, bool scaled, bool biased);

/// The gradient of x, normalised over `rows` rows of `n` (`centred`: the mean taken off), for inputs x, scale, bias.
void gradient(Gradient& g, const Count& rows, const Count& n, bool centred, bool scaled);
/// The same work alone, without what is made again and kept.
void of_rows(Gradient& g, const Count& rows, const Count& n, bool centred, bool scaled);
/// Those of as many scales and biases, for `x` elements.
void gradient_affine(Gradient& g, const Count& x, const Count& scales);

}  // namespace norm
}  // namespace macsim::rules
