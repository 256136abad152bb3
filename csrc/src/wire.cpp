// The long forms of the wire format: tags, lengths and numbers of more than one byte, and everything that is broken.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "wire.hpp"

namespace macsim::wire {

bool Wire::next_slow(Field& field) noexcept {
  std::uint64_t tag = 0;
  if (!varint(tag)) return false;
  field.number = static_cast<std::uint32_t>(tag >> 3);
  field.wiring = static_cast<Wiring>(tag & 7U);
  if (tag < 8 || tag > 0xFFFFFFFFU) return broken(Flaw::bad_tag);
  if (field.number < Message::kFields) {
    const unsigned allowed = message_->allowed[field.number];
    if (allowed != 0 && ((allowed >> field.wiring) & 1U) == 0) return broken(Flaw::misfit);
  }
  switch (field.wiring) {
    case kLength: {
      std::uint64_t size = 0;
      if (!varint(size)) return false;
      if (size > left()) {
        wanted_ = size;
        return broken(Flaw::overrun);
      }
      field.bytes = {at_, static_cast<std::size_t>(size)};
      at_ += size;
      return true;
    }
    case kVarint:
      return varint(field.bits);
    case kFixed32:
      return fixed(field.bits, 4);
    case kFixed64:
      return fixed(field.bits, 8);
    default:
      return broken(Flaw::bad_tag);
  }
}

bool Wire::long_varint(std::uint64_t& value) noexcept {
  std::uint64_t sum = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (at_ == end_) return broken(Flaw::cut);
    const auto byte = static_cast<unsigned char>(*at_++);
    sum |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;  // bits beyond 64 fall off, as in every reader
    if (byte < 0x80) {
      value = sum;
      return true;
    }
  }
  return broken(Flaw::long_varint);
}

}  // namespace macsim::wire
