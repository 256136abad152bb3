// Room for big vectors: reserved at once, and on big pages where the system offers them.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_ROOM_HPP
#define MACSIM_ROOM_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace macsim {

/// Asks for big pages under memory that is about to be filled. The first touch of a 4 KiB page costs more than filling
/// it: for the arrays of a large model that is a third of the time to read it. Only advice; small blocks are left
/// alone.
inline void prefer_big_pages(const void* at, std::size_t size) noexcept {
#ifdef __linux__
  constexpr std::uintptr_t page = std::uintptr_t{1} << 21;
  const auto first = (reinterpret_cast<std::uintptr_t>(at) + page - 1) / page * page;
  const auto last = (reinterpret_cast<std::uintptr_t>(at) + size) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)at;
  (void)size;
#endif
}

/// reserve(), on big pages.
template <class T>
void make_room(std::vector<T>& vector, std::size_t count) {
  if (count <= vector.capacity()) return;
  vector.reserve(count);
  prefer_big_pages(vector.data(), count * sizeof(T));
}

}  // namespace macsim

#endif  // MACSIM_ROOM_HPP
