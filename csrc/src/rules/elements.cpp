// Walking over the elements of small tensors.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/elements.hpp"

#include <algorithm>
#include <cmath>

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
  for (const Dim& dim : shape) sizes.push_back(dim.constant().value_or(0));
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

Broadcaster::Broadcaster(const Shape& from, const Shape& to, std::optional<std::size_t> axis) : steps_(to.size(), 0) {
  sizes_.reserve(to.size());
  for (const Dim& dim : to) sizes_.push_back(static_cast<std::size_t>(dim.constant().value_or(1)));
  const std::size_t lead = axis.value_or(to.size() - std::min(from.size(), to.size()));
  std::size_t step = 1;
  for (std::size_t i = from.size(); i-- > 0;) {
    const auto own = static_cast<std::size_t>(from[i].constant().value_or(1));
    if (own != 1 && lead + i < to.size()) steps_[lead + i] = step;
    step *= own;
  }
}

std::size_t Broadcaster::operator()(std::size_t n) const noexcept {
  std::size_t place = 0;
  for (std::size_t i = sizes_.size(); i-- > 0;) {
    place += n % sizes_[i] * steps_[i];
    n /= sizes_[i];
  }
  return place;
}

Runs runs_of(const Shape& shape, std::size_t axis) {
  const auto product = [&](std::size_t from, std::size_t to) {
    return static_cast<std::size_t>(numel(shape, from, to).constant().value_or(0));
  };
  return {product(0, axis), product(axis, axis + 1), product(axis + 1, shape.size())};
}

namespace {

// 0: of a type so narrow that only a table would tell.
int significant_bits(DType dtype) noexcept {
  switch (dtype) {
    case DType::f64:
      return 53;
    case DType::f32:
      return 24;
    case DType::f16:
      return 11;
    case DType::bf16:
      return 8;
    default:
      return 0;
  }
}

double rounded_to(int bits, double value) {
  if (bits == 24) return static_cast<double>(static_cast<float>(value));
  if (bits == 53 || !std::isfinite(value)) return value;
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, bits)), exponent - bits);
}

}  // namespace

Scalar held(DType dtype, const Scalar& x) {
  switch (class_of(dtype)) {
    case DTypeClass::real:
      // Numbers are rounded as they are at run time; symbolic ones stay exact.
      if (const auto value = x.constant()) {
        const int bits = significant_bits(dtype);
        return bits == 0 ? Scalar() : Scalar::real(rounded_to(bits, *value));
      }
      return x;
    case DTypeClass::integer:
    case DTypeClass::boolean:
      return x.is_real() ? Scalar::integer(x.whole()) : x;
    default:
      return x;
  }
}

Scalar only(const Call& c, std::size_t slot) {
  const Contents* known = elements_of(c, slot, 1);
  return known != nullptr && known->items.size() == 1 ? known->items.front() : Scalar();
}

Dim single(const Call& c, std::size_t slot) { return only(c, slot).whole(); }

}  // namespace macsim::rules
