// A pull reader of the protobuf wire format: two pointers and a table that says how each field may be encoded.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_WIRE_HPP
#define MACSIM_WIRE_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string_view>

namespace macsim::wire {

/// The ways to encode a field, as protobuf numbers them.
enum Wiring : std::uint8_t { kVarint = 0, kFixed64 = 1, kLength = 2, kGroup = 3, kFixed32 = 5 };

/// How a field of a known message may be encoded. A repeated number may come one by one or packed.
enum Allowed : std::uint8_t {
  kAnything = 0,  ///< not a field of ours: skipped, as protobuf demands
  kInteger = 1U << kVarint,
  kBytes = 1U << kLength,
  kFloat = 1U << kFixed32,
  kIntegers = kInteger | kBytes,
  kFloats = kFloat | kBytes,
  kDoubles = (1U << kFixed64) | kBytes,
};

/// The fields of one message that we read, by number. Fields from 32 on are skipped unread.
struct Message {
  struct Line {
    std::uint8_t number;
    Allowed allowed;
    const char* name;
  };
  static constexpr std::size_t kFields = 32;

  constexpr Message(const char* called, std::initializer_list<Line> lines) : name(called) {
    for (const Line& line : lines) {
      allowed[line.number] = line.allowed;
      names[line.number] = line.name;
    }
    for (unsigned tag = 8; tag < 128; ++tag) {
      const unsigned how = allowed[tag >> 3], wiring = tag & 7U;
      const bool good = how == kAnything || ((how >> wiring) & 1U) != 0;
      quick[tag] = good && wiring == kLength ? kQuickBytes : good && wiring == kVarint ? kQuickNumber : kSlow;
    }
  }
  const char* name;
  /// By tag byte: what can be read without a second look.
  enum Quick : std::uint8_t { kSlow, kQuickBytes, kQuickNumber };
  std::uint8_t quick[128] = {};
  std::uint8_t allowed[kFields] = {};
  const char* names[kFields] = {};
};

/// One field as it stands in the bytes.
struct Field {
  std::uint32_t number = 0;
  Wiring wiring = kVarint;
  std::uint64_t bits = 0;  ///< the varint, or the fixed value
  std::string_view bytes;  ///< of a length-delimited field

  std::int64_t integer() const noexcept { return static_cast<std::int64_t>(bits); }
  bool packed() const noexcept { return wiring == kLength; }
};

/// What is wrong with the bytes.
enum class Flaw : std::uint8_t {
  none,
  cut,      ///< a tag, varint or fixed value runs past the end
  overrun,  ///< a length runs past the end
  long_varint,
  bad_tag,  ///< a field number of 0 or beyond 2^29, or a wiring that does not exist
  misfit,   ///< a field of ours, encoded in another way than the format says
};

/// From the low 32 bits.
inline float float_of(std::uint64_t bits) noexcept {
  const auto low = static_cast<std::uint32_t>(bits);
  float value;
  std::memcpy(&value, &low, sizeof value);
  return value;
}
inline double double_of(std::uint64_t bits) noexcept {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
/// A little-endian integer of `size` bytes (at most 8), on any machine.
inline std::uint64_t little_endian(const char* at, std::size_t size) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i)
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(at[i])) << (8 * i);
  return value;
}

/// Reads one message field by field. Never past its end, never a payload: a length-delimited field is a view.
class Wire {
 public:
  Wire(std::string_view bytes, const Message& message) noexcept
      : at_(bytes.data()), end_(bytes.data() + bytes.size()), field_at_(at_), message_(&message) {}

  /// The next field; false at the end, or where the bytes are broken: flaw() tells which.
  bool next(Field& field) noexcept {
    if (at_ == end_) return false;
    field_at_ = at_;
    // Nine fields of ten have a tag and a length, or a number, of one byte each.
    const auto tag = static_cast<unsigned char>(at_[0]);
    if (tag < 0x80 && left() > 1) {
      const auto second = static_cast<unsigned char>(at_[1]);
      const std::uint8_t quick = message_->quick[tag];
      if (quick == Message::kQuickBytes && second < 0x80 && second <= left() - 2) {
        field.number = tag >> 3U;
        field.wiring = kLength;
        field.bytes = {at_ + 2, second};
        at_ += 2 + second;
        return true;
      }
      if (quick == Message::kQuickNumber && second < 0x80) {
        field.number = tag >> 3U;
        field.wiring = kVarint;
        field.bits = second;
        at_ += 2;
        return true;
      }
    }
    return next_slow(field);
  }

  /// For the inside of packed fields.
  bool more() const noexcept { return at_ != end_; }
  bool varint(std::uint64_t& value) noexcept {
    if (at_ != end_ && static_cast<unsigned char>(*at_) < 0x80) {
      value = static_cast<unsigned char>(*at_++);
      return true;
    }
    return long_varint(value);
  }
  bool fixed(std::uint64_t& value, std::size_t size) noexcept {
    if (left() < size) return broken(Flaw::cut);
    value = little_endian(at_, size);
    at_ += size;
    return true;
  }

  Flaw flaw() const noexcept { return flaw_; }
  /// Where the latest field starts.
  const char* field_at() const noexcept { return field_at_; }
  /// Where reading stands: after the latest field.
  const char* at() const noexcept { return at_; }
  const char* end() const noexcept { return end_; }
  std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }
  /// The length that overran.
  std::uint64_t wanted() const noexcept { return wanted_; }
  const Message& message() const noexcept { return *message_; }

 private:
  bool broken(Flaw flaw) noexcept {
    flaw_ = flaw;
    return false;
  }
  // Kept apart so that what is above can be small enough to be part of every loop.
  bool next_slow(Field& field) noexcept;
  bool long_varint(std::uint64_t& value) noexcept;

  const char* at_;
  const char* end_;
  const char* field_at_;
  const Message* message_;
  std::uint64_t wanted_ = 0;
  Flaw flaw_ = Flaw::none;
};

}  // namespace macsim::wire

#endif  // MACSIM_WIRE_HPP
