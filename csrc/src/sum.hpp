// Sums of many counts, most of them plain integers or the same expression again and again. Private.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "macsim/expr.hpp"

namespace macsim {

/// A running sum that stays a plain integer for as long as it can. Undefined amounts are left out: their rows are
/// marked unknown.
class Sum {
 public:
  static constexpr std::int64_t kLimit = std::int64_t{1} << 61;
  void add(const Count& amount) {
    if (const auto plain = amount.constant()) {
      if (*plain < kLimit && *plain > -kLimit) {
        plain_ += *plain;
        if (plain_ >= kLimit || plain_ <= -kLimit) flush();
        return;
      }
    }
    if (amount.defined()) ++repeated_[amount];  // layers repeat: the same expression comes again and again
  }
  Count take() {
    flush();
    for (const auto& [amount, times] : repeated_) rest_ += times * amount;
    repeated_.clear();
    return std::move(rest_);
  }

 private:
  void flush() {
    rest_ += plain_;
    plain_ = 0;
  }
  struct Hash {
    std::size_t operator()(const Count& amount) const noexcept { return amount.hash(); }
  };
  std::int64_t plain_ = 0;
  Count rest_;
  std::unordered_map<Count, std::int64_t, Hash> repeated_;
};

}  // namespace macsim
