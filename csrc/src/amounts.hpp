// Counts by number: equal ones have the same, and what was worked out of two of them is not worked out again. Layers
// repeat, and so do their bytes. Private.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "macsim/expr.hpp"

namespace macsim {

class Amounts {
 public:
  using Id = std::uint32_t;
  static constexpr Id kZero = 0, kOne = 1;

  Amounts();
  Id of(const Count& count);
  const Count& operator[](Id id) const { return counts_[id]; }
  std::size_t size() const noexcept { return counts_.size(); }
  const std::vector<Count>& all() const noexcept { return counts_; }

  Id add(Id a, Id b) { return a == kZero ? b : b == kZero ? a : apply(Step::add, a < b ? a : b, a < b ? b : a); }
  Id subtract(Id a, Id b) {
    return b == kZero ? a : a == b && counts_[a].defined() ? kZero : apply(Step::subtract, a, b);
  }
  Id multiply(Id a, Id b) {
    if (a == kOne || b == kOne) return a == kOne ? b : a;
    return apply(Step::multiply, a < b ? a : b, a < b ? b : a);
  }
  Id larger(Id a, Id b) { return a == b ? a : apply(Step::max, a, b); }
  Id smaller(Id a, Id b) { return a == b ? a : apply(Step::min, a, b); }

 private:
  enum class Step : std::uint8_t { add, subtract, multiply, max, min, count_ };
  Id apply(Step step, Id a, Id b);

  struct Hash {
    std::size_t operator()(const Count& count) const noexcept { return count.hash(); }
  };
  struct Mix {
    std::size_t operator()(std::uint64_t key) const noexcept {
      key *= 0x9e3779b97f4a7c15U;
      return static_cast<std::size_t>(key ^ (key >> 29));
    }
  };
  std::vector<Count> counts_;
  std::unordered_map<Count, Id, Hash> ids_;
  std::unordered_map<std::uint64_t, Id, Mix> known_[static_cast<std::size_t>(Step::count_)];
};

}  // namespace macsim
