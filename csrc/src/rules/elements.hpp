// Elements: walking over the elements of small tensors.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

/// Sizes, positions or steps, one an axis.
using Sizes = std::vector<std::int64_t>;

/// Whether all sizes are constants and there are at most `most` elements: contents are worth looking for.
bool is_small(const Shape& shape, std::int64_t most = static_cast<std::int64_t>(kMostItems)) noexcept;
/// The sizes, when is_small().
std::optional<Sizes> small_sizes(const Shape& shape, std::int64_t most = static_cast<std::int64_t>(kMostItems));
/// How far apart neighbours along each axis lie, row-major.
Sizes steps_of(const Sizes& sizes);
/// The elements of a slot when they are known and are as many as its shape says; nullptr otherwise. Looks at the shape
/// first, so that nothing big is decoded.
const Contents* elements_of(const Call& c, std::size_t slot, std::int64_t most = static_cast<std::int64_t>(kMostItems));
/// The same for an input by position.
const Contents* elements_at(const Call& c, std::size_t position);

/// Goes through the positions of a tensor in row-major order: `visit(position)` for each.
template <class Visit>
void each_position(const Sizes& sizes, Visit&& visit) {
  for (const std::int64_t size : sizes) {
    if (size <= 0) return;
  }
  Sizes at(sizes.size(), 0);
  for (;;) {
    visit(static_cast<const Sizes&>(at));
    std::size_t axis = sizes.size();
    while (axis != 0 && ++at[axis - 1] == sizes[axis - 1]) at[--axis] = 0;
    if (axis == 0) return;
  }
}
/// The place of a position in row-major order.
std::size_t place_of(const Sizes& position, const Sizes& steps);

/// Where the elements of a broadcast tensor come from.
class Broadcaster {
 public:
  /// `from` lies along the last axes of `to`, or along those from `axis` on. Both must be small.
  Broadcaster(const Shape& from, const Shape& to, std::optional<std::size_t> axis = std::nullopt);
  /// The place in `from` of the element at place `n` of `to`.
  std::size_t operator()(std::size_t n) const noexcept;

 private:
  std::vector<std::size_t> sizes_, steps_;
};

/// A small tensor as runs of elements along one axis: element i of run (outer, inner) lies at
/// (outer * length + i) * inner_size + inner.
struct Runs {
  std::size_t outer = 1, length = 1, inner = 1;
  std::size_t place(std::size_t run, std::size_t i) const noexcept {
    return (run / inner * length + i) * inner + run % inner;
  }
  std::size_t count() const noexcept { return outer * inner; }
};
Runs runs_of(const Shape& shape, std::size_t axis);

/// A number as an element of this type holds it: floating point rounded, integers whole.
Scalar held(DType dtype, const Scalar& x);

/// The only element of a slot; unknown when it is not known, or not the only one.
Scalar only(const Call& c, std::size_t slot);
/// The only element of a host-side slot, when it is a whole number; undefined() otherwise.
Dim single(const Call& c, std::size_t slot);

}  // namespace macsim::rules
