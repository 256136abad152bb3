// Counts by number.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "amounts.hpp"

namespace macsim {

Amounts::Amounts() {
  (void)of(0);
  (void)of(1);
}

Amounts::Id Amounts::of(const Count& count) {
  const auto [at, added] = ids_.try_emplace(count, static_cast<Id>(counts_.size()));
  if (added) counts_.push_back(count);
  return at->second;
}

Amounts::Id Amounts::apply(Step step, Id a, Id b) {
  auto& known = known_[static_cast<std::size_t>(step)];
  const std::uint64_t key = std::uint64_t{a} << 32 | b;
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  const Count &x = counts_[a], &y = counts_[b];
  const Id made = of(step == Step::add        ? x + y
                     : step == Step::subtract ? x - y
                     : step == Step::multiply ? x * y
                     : step == Step::max      ? max(x, y)
                                              : min(x, y));
  known.emplace(key, made);
  return made;
}

}  // namespace macsim
