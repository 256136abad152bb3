// Texts of their own: the characters, shared by those that hold them.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/text.hpp"

#include <atomic>
#include <cstring>
#include <new>

namespace macsim {

struct Text::Own {
  std::atomic<std::size_t> holders{1};
};

void Text::retain(Own* own) noexcept { own->holders.fetch_add(1, std::memory_order_relaxed); }

void Text::release(Own* own) noexcept {
  if (own->holders.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  own->~Own();
  ::operator delete(own);
}

Text Text::joined(std::initializer_list<std::string_view> parts) {
  Text out;
  std::size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  if (size == 0) return out;
  void* const place = ::operator new(sizeof(Own) + size);
  char* at = static_cast<char*>(place) + sizeof(Own);
  out.own_ = new (place) Own;
  out.data_ = at;
  out.size_ = size;
  for (const std::string_view part : parts) {
    if (part.empty()) continue;
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  return out;
}

}  // namespace macsim
