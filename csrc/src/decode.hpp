// The elements of a stored tensor as numbers, whatever way the model encodes them.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_DECODE_HPP
#define MACSIM_DECODE_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

#include "macsim/graph.hpp"

namespace macsim {

/// Fills `ints` for integers and booleans, `reals` for floating point, the other stays empty. False, and both empty:
/// more than `limit` elements, contents that are not at hand, of a type that is not a number line (complex, string) or
/// above 2^63, or not as many as the shape says.
bool decode(const Stored& stored, std::size_t limit, std::vector<std::int64_t>* ints, std::vector<double>* reals);

}  // namespace macsim

#endif  // MACSIM_DECODE_HPP
