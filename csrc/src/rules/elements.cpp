// Walking over the elements of small tensors.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/elements.hpp"

#include "rules/support.hpp"

namespace macsim::rules {

bool is_small(const Shape& shape, std::int64_t most) noexcept {
  std::int64_t total = 1;
  for (const Dim& dim : shape) {
    const auto size = dim.constant();
    if (!size || *size < 0 || *size > most) return false;
    if (*size != 0 && total > most / *size) return false;
    total *= *size;
  }
  return true;
}

std::optional<Sizes> small_sizes(const Shape& shape, std::int64_t most) {
  if (!is_small(shape, most)) return std::nullopt;
  Sizes sizes;
  sizes.reserve(shape.size());
  for (const Dim& dim : shape) sizes.push_back(*dim.constant());
  return sizes;
}

Sizes steps_of(const Sizes& sizes) {
  Sizes steps(sizes.size(), 1);
  for (std::size_t axis = sizes.size(); axis-- > 1;) steps[axis - 1] = steps[axis] * sizes[axis];
  return steps;
}

namespace {

const Contents* whole(const Contents* known, const Shape& shape) {
  if (known == nullptr) return nullptr;
  return numel(shape).is(static_cast<std::int64_t>(known->items.size())) ? known : nullptr;
}

}  // namespace

const Contents* elements_of(const Call& c, std::size_t slot, std::int64_t most) {
  if (!c.ranked(slot) || !is_small(c.shape(slot), most)) return nullptr;
  return whole(c.contents(slot), c.shape(slot));
}

const Contents* elements_at(const Call& c, std::size_t position) {
  if (!c.at(position).ranked || !is_small(c.shape_at(position))) return nullptr;
  return whole(c.contents_at(position), c.shape_at(position));
}

std::size_t place_of(const Sizes& position, const Sizes& steps) {
  std::int64_t place = 0;
  for (std::size_t axis = 0; axis < position.size(); ++axis) place += position[axis] * steps[axis];
  return static_cast<std::size_t>(place);
}

Dim single(const Call& c, std::size_t slot) {
  const Contents* known = elements_of(c, slot);
  return known != nullptr && known->items.size() == 1 ? known->items.front().whole() : Dim::undefined();
}

}  // namespace macsim::rules
