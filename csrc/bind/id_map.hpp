// Numbers of objects, by where they are.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "macsim/diag.hpp"

namespace macsim::bind {

/// Numbers of objects, by their addresses: a flat table without a node of memory for each. Nothing is ever taken out,
/// so that objects must be kept alive; kNone: it has none.
class IdMap {
 public:
  std::uint32_t find(const void* key) const noexcept { return slots_.empty() ? kNone : slots_[place(key)].number; }
  bool contains(const void* key) const noexcept { return find(key) != kNone; }
  /// To be set at once, to something else than kNone.
  std::uint32_t& operator[](const void* key) {
    if (slots_.size() < used_ * 2 + 2) grow();
    Slot& slot = slots_[place(key)];
    if (slot.key == nullptr) {
      slot.key = key;
      ++used_;
    }
    return slot.number;
  }

 private:
  struct Slot {
    const void* key = nullptr;
    std::uint32_t number = kNone;
  };
  static constexpr int kLeast = 8;

  // Where it is, or where it would be.
  std::size_t place(const void* key) const noexcept {
    const auto mixed = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(key)) * 0x9E3779B97F4A7C15U;
    auto at = static_cast<std::size_t>(mixed >> (64 - bits_));
    while (slots_[at].key != key && slots_[at].key != nullptr) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void grow() {
    bits_ = slots_.empty() ? kLeast : bits_ + 1;
    std::vector<Slot> before(std::size_t{1} << bits_);
    before.swap(slots_);
    for (const Slot& slot : before) {
      if (slot.key != nullptr) slots_[place(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  std::size_t used_ = 0;
  int bits_ = 0;
};

}  // namespace macsim::bind
