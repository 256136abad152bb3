// The wire reader: fields of each kind, and every way in which they can be broken.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "wire.hpp"

#include "check.hpp"
#include "onnx_writer.hpp"

using namespace macsim::wire;
using std::string_view_literals::operator""sv;

namespace {

constexpr Message kSample("Sample", {{1, kInteger, "number"}, {2, kBytes, "text"}, {3, kFloats, "floats"}});

/// The flaw of a message that has no good first field.
Flaw first_flaw(std::string_view bytes) {
  Wire wire(bytes, kSample);
  Field f;
  CHECK(!wire.next(f));
  return wire.flaw();
}

}  // namespace

TEST("fields come one after the other") {
  const std::string bytes = writer::number(1, 5) + writer::number(1, -1) + writer::bytes(2, "abc") +
                            writer::bytes(2, "") + writer::real(3, 1.5F) + writer::number(40, 300) + writer::tag(5, 1) +
                            writer::little_endian(2.5);
  Wire wire(bytes, kSample);
  Field f;
  CHECK(wire.next(f) && f.number == 1 && f.wiring == kVarint && f.integer() == 5);
  CHECK(wire.next(f) && f.number == 1 && f.integer() == -1);
  CHECK(wire.next(f) && f.number == 2 && f.packed() && f.bytes == "abc");
  CHECK(wire.next(f) && f.number == 2 && f.bytes.empty() && f.bytes.data() != nullptr);
  CHECK(wire.next(f) && f.number == 3 && !f.packed() && float_of(f.bits) == 1.5F);
  CHECK(wire.next(f) && f.number == 40 && f.integer() == 300);
  CHECK(wire.next(f) && f.number == 5 && double_of(f.bits) == 2.5);
  CHECK(!wire.next(f));
  CHECK(wire.flaw() == Flaw::none);
}

TEST("numbers of every length") {
  for (unsigned shift = 0; shift < 64; ++shift) {
    for (const std::uint64_t value :
         {std::uint64_t{1} << shift, (std::uint64_t{1} << shift) - 1, ~(std::uint64_t{1} << shift)}) {
      const std::string bytes = writer::number(1, static_cast<std::int64_t>(value));
      Wire wire(bytes, kSample);
      Field f;
      CHECK(wire.next(f));
      CHECK_EQ(f.bits, value);
      CHECK(!wire.next(f) && wire.flaw() == Flaw::none);
    }
  }
}

TEST("texts of every length around the one-byte lengths") {
  for (const std::size_t size : {0U, 1U, 126U, 127U, 128U, 129U, 16383U, 16384U, 70000U}) {
    const std::string text(size, 'x');
    const std::string bytes = writer::bytes(2, text);
    Wire wire(bytes, kSample);
    Field f;
    CHECK(wire.next(f) && f.bytes == text);
    CHECK(!wire.next(f) && wire.flaw() == Flaw::none);
  }
}

TEST("flaws are told apart") {
  CHECK_EQ(first_flaw("\x08"sv), Flaw::cut);              // a number without its bytes
  CHECK_EQ(first_flaw("\x08\x80"sv), Flaw::cut);          // ... without its last byte
  CHECK_EQ(first_flaw("\x88"sv), Flaw::cut);              // half a tag
  CHECK_EQ(first_flaw("\x12"sv), Flaw::cut);              // no length
  CHECK_EQ(first_flaw("\x12\x05sour"sv), Flaw::overrun);  // a byte short
  CHECK_EQ(first_flaw("\x12\xFF\xFF\xFF\xFF\x0F"
                      "abc"sv),
           Flaw::overrun);
  CHECK_EQ(first_flaw("\x12\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"sv), Flaw::overrun);  // 2^64 - 1
  CHECK_EQ(first_flaw("\x1D\x01\x02\x03"sv), Flaw::cut);                                  // three bytes of four
  CHECK_EQ(first_flaw("\x29\x01\x02\x03\x04\x05\x06\x07"sv), Flaw::cut);                  // seven of eight
  CHECK_EQ(first_flaw("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"sv), Flaw::long_varint);
  CHECK_EQ(first_flaw("\x02\x00"sv), Flaw::bad_tag);                      // field 0
  CHECK_EQ(first_flaw("\x0B"sv), Flaw::misfit);                           // field 1 as a group
  CHECK_EQ(first_flaw("\x2B\x2C"sv), Flaw::bad_tag);                      // a group
  CHECK_EQ(first_flaw("\x2E"sv), Flaw::bad_tag);                          // wire type 6
  CHECK_EQ(first_flaw("\xF8\xFF\xFF\xFF\xFF\x01\x00"sv), Flaw::bad_tag);  // beyond 32 bits
  CHECK_EQ(first_flaw("\x0A\x01x"sv), Flaw::misfit);                      // field 1 is no text
  CHECK_EQ(first_flaw("\x10\x01"sv), Flaw::misfit);                       // field 2 is no number
  CHECK_EQ(first_flaw("\x19\x01\x02\x03\x04\x05\x06\x07\x08"sv), Flaw::misfit);
}

TEST("after a flaw nothing more is read, and its place is known") {
  const std::string bytes = writer::number(1, 7) + "\x12\x7F" + "abc";
  Wire wire(bytes, kSample);
  Field f;
  CHECK(wire.next(f));
  CHECK(!wire.next(f));
  CHECK_EQ(wire.field_at() - bytes.data(), 2);
  CHECK_EQ(wire.wanted(), 127U);
}
