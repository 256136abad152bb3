// NameTable: names to small numbers. Open addressing over eight-byte slots; the names themselves live elsewhere.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_NAME_TABLE_HPP
#define MACSIM_NAME_TABLE_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "room.hpp"

namespace macsim {

/// Both halves of a product, folded into one: each bit of the result depends on all of `a` and `b`.
inline std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
#else
  const std::uint64_t low = (a & 0xFFFFFFFFU) * (b & 0xFFFFFFFFU);
  const std::uint64_t middle = (a >> 32) * (b & 0xFFFFFFFFU) + (low >> 32);
  const std::uint64_t other = (a & 0xFFFFFFFFU) * (b >> 32) + (middle & 0xFFFFFFFFU);
  return (a * b) ^ ((a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32));
#endif
}

/// A hash of short names, eight bytes a step. Keyed by any number of many bits, so that nobody can write a file whose
/// names all collide.
inline std::uint32_t hash_name(std::string_view name, std::uint64_t key) noexcept {
  const std::uint64_t factor = key | 1U;
  const char* at = name.data();
  std::size_t left = name.size();
  std::uint64_t sum = 0x9E3779B97F4A7C15U;
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    sum = fold(sum ^ word, factor);
  }
  if (left != 0) {
    std::uint64_t word = 0;
    if (name.size() >= 8) {
      std::memcpy(&word, at + left - 8, 8);  // overlaps what was read: cheaper than a loop
    } else if (left >= 4) {
      std::uint32_t low, high;
      std::memcpy(&low, at, 4);
      std::memcpy(&high, at + left - 4, 4);
      word = (std::uint64_t{high} << 32) | low;
    } else {
      word = static_cast<unsigned char>(at[0]) | (std::uint64_t{static_cast<unsigned char>(at[left / 2])} << 8) |
             (std::uint64_t{static_cast<unsigned char>(at[left - 1])} << 16);
    }
    sum = fold(sum ^ word, factor);
  }
  sum = fold(sum ^ (key >> 7), 0xD6E8FEB86659FD93U ^ name.size());
  return static_cast<std::uint32_t>(sum >> 32);
}

/// Brings what is at this address into the cache.
inline void prefetch(const void* at) noexcept {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(at);
#else
  (void)at;
#endif
}

/// A set of ids, found by the name that the caller says each has. No deletion.
class NameTable {
 public:
  static constexpr std::uint32_t kEmpty = 0xFFFFFFFFU;

  /// Forgets everything and makes room. What a smaller set needs is all that is touched of a big table.
  void reset(std::size_t expected) {
    std::size_t capacity = 16;
    while (capacity < expected + expected / 2) capacity *= 2;
    slots_.clear();
    make_room(slots_, capacity);
    slots_.resize(capacity);
    mask_ = capacity - 1;
    used_ = 0;
  }
  std::size_t size() const noexcept { return used_; }

  /// Brings the slot of a hash into the cache, for a look-up soon.
  void prefetch(std::uint32_t hash) const noexcept { macsim::prefetch(slots_.data() + (hash & mask_)); }

  /// The first id with this hash: nearly always the one that find() will give. kEmpty: none.
  std::uint32_t likely(std::uint32_t hash) const noexcept {
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
      if (slots_[i].id == kEmpty || slots_[i].hash == hash) return slots_[i].id;
    }
  }

  /// The id with this hash for which same(id) holds; kEmpty: none.
  template <class Same>
  std::uint32_t find(std::uint32_t hash, Same same) const {
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Slot slot = slots_[i];
      if (slot.id == kEmpty) return kEmpty;
      if (slot.hash == hash && same(slot.id)) return slot.id;
    }
  }
  /// The same; where there is none, `fresh` is put in and returned.
  template <class Same>
  std::uint32_t find_or_add(std::uint32_t hash, std::uint32_t fresh, Same same) {
    std::size_t i = hash & mask_;
    for (;; i = (i + 1) & mask_) {
      const Slot slot = slots_[i];
      if (slot.id == kEmpty) break;
      if (slot.hash == hash && same(slot.id)) return slot.id;
    }
    slots_[i] = {hash, fresh};
    if (++used_ > mask_ - mask_ / 4) grow();
    return fresh;
  }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t id = kEmpty;
  };
  void grow() {
    std::vector<Slot> wider((mask_ + 1) * 2);
    const std::size_t mask = wider.size() - 1;
    for (const Slot& slot : slots_) {
      if (slot.id == kEmpty) continue;
      std::size_t i = slot.hash & mask;
      while (wider[i].id != kEmpty) i = (i + 1) & mask;
      wider[i] = slot;
    }
    slots_.swap(wider);
    mask_ = mask;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(16);
  std::size_t mask_ = 15;
  std::size_t used_ = 0;
};

}  // namespace macsim

#endif  // MACSIM_NAME_TABLE_HPP
