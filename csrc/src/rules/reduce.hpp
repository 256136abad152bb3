// What the parts of the reduce family share.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "rules/elements.hpp"
#include "rules/support.hpp"

namespace macsim::rules {

/// The sizes without one axis.
Shape without(const Shape& shape, std::size_t axis);
/// Operations that fold rows into one element each: all elements but the first of each row; none in empty tensors.
Count folding(const Count& elements, const Count& rows);
/// ceil(log2 n); nullopt for a symbol.
std::optional<std::int64_t> levels_of(const Dim& n);

std::vector<Rule> reduction_rules();  // reduce.cpp
std::vector<Rule> running_rules();    // reduce_along.cpp: arg, cumulative, top-k
std::vector<Rule> selection_rules();  // reduce_select.cpp: medians, modes, places in order, running extremes
std::vector<Rule> softmax_rules();    // reduce_softmax.cpp: softmax and its kin, losses

}  // namespace macsim::rules
