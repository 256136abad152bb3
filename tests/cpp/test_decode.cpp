// Stored elements to numbers: every type in every encoding, against values worked out by hand.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "decode.hpp"

#include <cmath>
#include <limits>

#include "check.hpp"
#include "macsim/onnx.hpp"
#include "onnx_writer.hpp"

using namespace macsim;
using namespace writer;

namespace {

constexpr std::size_t kLimit = 65536;

using Ints = std::vector<std::int64_t>;
using Reals = std::vector<double>;

template <class T>
std::string listed(const std::vector<T>& values) {
  std::string text;
  for (const T v : values) text += (text.empty() ? "" : ", ") + check::show(v);
  return text;
}

/// "1, 2" or "refused" of the initializer in a model: the reader chooses the encoding.
std::string decoded(const Bytes& tensor_bytes, std::size_t limit = kLimit, bool sparse = false) {
  const auto kept = std::make_shared<const Bytes>(model(node("A", {"t"}, {"y"}) +
                                                        (sparse ? bytes(15, tensor_bytes) : initializer(tensor_bytes)) +
                                                        output(floats("y", {}))));
  auto read = read_onnx(*kept, kept);
  if (!read) return std::string(read.status().text());
  Ints ints;
  Reals reals;
  if (!decode((*read)->bodies[0].stored[0], limit, &ints, &reals)) {
    return ints.empty() && reals.empty() ? "refused" : "refused, but not empty";
  }
  return listed(ints) + listed(reals);
}

template <class T>
Bytes packed(const std::vector<T>& values) {
  Bytes out;
  for (const T v : values) out += little_endian(v);
  return out;
}
Bytes varints(const std::vector<std::int64_t>& values) {
  Bytes out;
  for (const std::int64_t v : values) out += varint(static_cast<std::uint64_t>(v));
  return out;
}
Bytes octets(const std::vector<int>& values) {
  Bytes out;
  for (const int v : values) out += static_cast<char>(v);
  return out;
}
Bytes of(std::int64_t dtype, std::int64_t count, const Bytes& rest) { return tensor("t", dtype, {count}, rest); }

}  // namespace

TEST("integers, raw") {
  CHECK_EQ(decoded(of(7, 2, raw(packed<std::int64_t>({INT64_MIN, 5})))), "-9223372036854775808, 5");
  CHECK_EQ(decoded(of(6, 2, raw(packed<std::int32_t>({-3, 2147483647})))), "-3, 2147483647");
  CHECK_EQ(decoded(of(5, 2, raw(packed<std::int16_t>({-3, 32767})))), "-3, 32767");
  CHECK_EQ(decoded(of(3, 2, raw(octets({0xFD, 0x7F})))), "-3, 127");
  CHECK_EQ(decoded(of(2, 2, raw(octets({0xFD, 0x7F})))), "253, 127");
  CHECK_EQ(decoded(of(4, 1, raw(packed<std::uint16_t>({65535})))), "65535");
  CHECK_EQ(decoded(of(12, 1, raw(packed<std::uint32_t>({4294967295U})))), "4294967295");
  CHECK_EQ(decoded(of(13, 1, raw(packed<std::uint64_t>({INT64_MAX})))), "9223372036854775807");
  CHECK_EQ(decoded(of(13, 1, raw(packed<std::uint64_t>({std::uint64_t{1} << 63})))), "refused");
  CHECK_EQ(decoded(of(9, 3, raw(octets({0, 1, 2})))), "0, 1, 1");
}

TEST("less than a byte, raw: the first element in the lowest bits") {
  CHECK_EQ(decoded(of(22, 3, raw(octets({0x8F, 0x07})))), "-1, -8, 7");
  CHECK_EQ(decoded(of(21, 3, raw(octets({0x8F, 0x07})))), "15, 8, 7");
  CHECK_EQ(decoded(of(26, 5, raw(octets({0xE4, 0x03})))), "0, 1, -2, -1, -1");
  CHECK_EQ(decoded(of(25, 5, raw(octets({0xE4, 0x02})))), "0, 1, 2, 3, 2");
  CHECK_EQ(decoded(of(23, 4, raw(octets({0x21, 0xF7})))), "0.5, 1, 6, -6");
  // Four 6-bit elements 1, 8, 63, 32 in three bytes: x0 | x1 << 6 | x2 << 12 | x3 << 18.
  const int stream = 1 | 8 << 6 | 63 << 12 | 32 << 18;
  const Bytes six = raw(octets({stream & 255, stream >> 8 & 255, stream >> 16 & 255}));
  CHECK_EQ(decoded(of(27, 4, six)), "0.125, 1, -7.5, -0");    // e2m3: subnormals of 1/8, largest 7.5
  CHECK_EQ(decoded(of(28, 4, six)), "0.0625, 0.5, -28, -0");  // e3m2: subnormals of 1/16, largest 28
}

TEST("floats, raw") {
  CHECK_EQ(decoded(of(1, 2, raw(packed<float>({0.5F, -1e30F})))), "0.5, -1e+30");
  CHECK_EQ(decoded(of(11, 1, raw(packed<double>({0.1})))), "0.1");
  // Half: 1, -2, the largest (65504), the smallest (2^-24), infinity, NaN.
  CHECK_EQ(decoded(of(10, 6, raw(packed<std::uint16_t>({0x3C00, 0xC000, 0x7BFF, 0x0001, 0x7C00, 0x7E00})))),
           "1, -2, 65504, 5.96046e-08, inf, nan");
  CHECK_EQ(decoded(of(16, 4, raw(packed<std::uint16_t>({0x3F80, 0xC040, 0x7F80, 0x0000})))), "1, -3, inf, 0");
}

TEST("eight-bit floats") {
  // e4m3fn: 0x38 is 1, 0x7E the largest, 448; 0x7F NaN; 0x01 2^-9; 0x80 minus zero.
  CHECK_EQ(decoded(of(17, 5, raw(octets({0x38, 0x7E, 0x7F, 0x01, 0x80})))), "1, 448, nan, 0.00195312, -0");
  // e4m3fnuz: bias 8, so 0x40 is 1 and 0x7F 240; 0x80 is NaN.
  CHECK_EQ(decoded(of(18, 4, raw(octets({0x40, 0x7F, 0x80, 0xC0})))), "1, 240, nan, -1");
  // e5m2: 0x3C is 1, 0x7B the largest, 57344; 0x7C infinity; 0x7D NaN.
  CHECK_EQ(decoded(of(19, 4, raw(octets({0x3C, 0x7B, 0xFC, 0x7D})))), "1, 57344, -inf, nan");
  // e5m2fnuz: bias 16: 0x40 is 1, 0x7F 57344.
  CHECK_EQ(decoded(of(20, 3, raw(octets({0x40, 0x7F, 0x80})))), "1, 57344, nan");
  // e8m0: powers of two around 127.
  CHECK_EQ(decoded(of(24, 4, raw(octets({127, 128, 124, 255})))), "1, 2, 0.125, nan");
}

TEST("typed fields, packed") {
  CHECK_EQ(decoded(of(7, 3, bytes(7, varints({1, -2, 300})))), "1, -2, 300");
  CHECK_EQ(decoded(of(6, 2, bytes(5, varints({-2, 7})))), "-2, 7");
  CHECK_EQ(decoded(of(3, 2, bytes(5, varints({-2, 7})))), "-2, 7");
  CHECK_EQ(decoded(of(2, 2, bytes(5, varints({255, 7})))), "255, 7");
  CHECK_EQ(decoded(of(9, 2, bytes(5, varints({1, 0})))), "1, 0");
  CHECK_EQ(decoded(of(12, 1, bytes(11, varints({4294967295})))), "4294967295");
  CHECK_EQ(decoded(of(13, 1, bytes(11, varints({7})))), "7");
  CHECK_EQ(decoded(of(1, 2, bytes(4, packed<float>({0.5F, 2})))), "0.5, 2");
  CHECK_EQ(decoded(of(11, 1, bytes(10, packed<double>({0.25})))), "0.25");
  CHECK_EQ(decoded(of(10, 2, bytes(5, varints({0x3C00, 0xC000})))), "1, -2");
  CHECK_EQ(decoded(of(16, 1, bytes(5, varints({0x3F80})))), "1");
  CHECK_EQ(decoded(of(17, 1, bytes(5, varints({0x38})))), "1");
  CHECK_EQ(decoded(of(22, 3, bytes(5, varints({0x8F, 0x07})))), "-1, -8, 7");  // two in each number
  CHECK_EQ(decoded(of(26, 5, bytes(5, varints({0xE4, 0x03})))), "0, 1, -2, -1, -1");
  CHECK_EQ(decoded(of(27, 2, bytes(5, varints({8, 63})))), "1, -7.5");  // one in each
}

TEST("typed fields, one by one, or in several pieces") {
  CHECK_EQ(decoded(of(7, 2, number(7, 5) + number(7, -6))), "5, -6");
  CHECK_EQ(decoded(of(7, 3, bytes(7, varints({5, 6})) + number(7, 7))), "5, 6, 7");
  CHECK_EQ(decoded(of(1, 2, real(4, 0.5F) + real(4, 2))), "0.5, 2");
  CHECK_EQ(decoded(of(11, 1, tag(10, 1) + little_endian(0.25))), "0.25");
  CHECK_EQ(decoded(of(6, 2, number(5, 1) + number(5, -1))), "1, -1");
}

TEST("scalars and empty tensors") {
  CHECK_EQ(decoded(tensor("t", 7, {}, raw(packed<std::int64_t>({9})))), "9");
  CHECK_EQ(decoded(tensor("t", 7, {0}, {})), "");
  CHECK_EQ(decoded(tensor("t", 7, {0, INT64_MAX}, raw(""))), "");
  CHECK_EQ(decoded(tensor("t", 7, {2, 2}, raw(packed<std::int64_t>({1, 2, 3, 4})))), "1, 2, 3, 4");
}

TEST("refused: too many, too few, not numbers, not at hand") {
  const Bytes four = raw(packed<std::int64_t>({1, 2, 3, 4}));
  CHECK_EQ(decoded(of(7, 4, four), 4), "1, 2, 3, 4");
  CHECK_EQ(decoded(of(7, 4, four), 3), "refused");
  CHECK_EQ(decoded(of(7, 5, four)), "refused");
  CHECK_EQ(decoded(of(7, 3, four)), "refused");
  CHECK_EQ(decoded(of(7, 3, bytes(7, varints({1, 2})))), "refused");
  CHECK_EQ(decoded(of(7, 1, bytes(7, varints({1, 2})))), "refused");
  CHECK_EQ(decoded(of(7, 1, bytes(7, "\x80"))), "refused");
  CHECK_EQ(decoded(of(1, 1, bytes(4, "abc"))), "refused");
  CHECK_EQ(decoded(of(22, 5, bytes(5, varints({0x8F, 0x07})))), "refused");
  CHECK_EQ(decoded(of(14, 1, raw(Bytes(8, '\0')))), "refused");
  CHECK_EQ(decoded(of(8, 1, bytes(6, "text"))), "refused");
  CHECK_EQ(decoded(of(0, 1, raw("a"))), "refused");
  CHECK_EQ(decoded(of(7, 1, {})), "refused");
  CHECK_EQ(decoded(of(7, 1, bytes(13, bytes(1, "location") + bytes(2, "f")) + number(14, 1))), "refused");
  CHECK_EQ(decoded(tensor("t", 7, {INT64_MAX, INT64_MAX}, four)), "refused");
  CHECK_EQ(decoded(of(7, 1, bytes(4, packed<float>({1})))), "refused");  // floats are no integers
}

TEST("sparse tensors are zeros and what they state") {
  const auto sparse = [](const Bytes& values, const Bytes& indices, const std::vector<std::int64_t>& dims) {
    Bytes out = bytes(1, values) + bytes(2, indices);
    for (const std::int64_t d : dims) out += number(3, d);
    return out;
  };
  const Bytes values = tensor("t", 1, {2}, raw(packed<float>({1.5F, -2})));
  const auto flat = [](std::int64_t a, std::int64_t b) {
    return tensor("", 7, {2}, raw(packed<std::int64_t>({a, b})));
  };
  CHECK_EQ(decoded(sparse(values, flat(1, 5), {2, 3}), kLimit, true), "0, 1.5, 0, 0, 0, -2");
  const Bytes pairs = tensor("", 7, {2, 2}, bytes(7, varints({0, 1, 1, 2})));
  CHECK_EQ(decoded(sparse(values, pairs, {2, 3}), kLimit, true), "0, 1.5, 0, 0, 0, -2");
  CHECK_EQ(decoded(sparse(tensor("t", 7, {2}, bytes(7, varints({4, 5}))), flat(0, 2), {3}), kLimit, true), "4, 0, 5");
  CHECK_EQ(decoded(sparse(values, flat(1, 6), {2, 3}), kLimit, true), "refused");
  CHECK_EQ(decoded(sparse(values, flat(1, -1), {2, 3}), kLimit, true), "refused");
  CHECK_EQ(decoded(sparse(values, flat(1, 5), {300, 300}), kLimit, true), "refused");
}

TEST("constants in attributes") {
  const auto constant = [](const Bytes& a) {
    const auto kept =
        std::make_shared<const Bytes>(model(node("Constant", {}, {"y"}, bytes(5, a)) + output(floats("y", {}))));
    auto read = read_onnx(*kept, kept);
    Ints ints;
    Reals reals;
    if (!read || !decode((*read)->bodies[0].stored[0], kLimit, &ints, &reals)) return std::string("refused");
    return "[" + listed(ints) + "][" + listed(reals) + "]";
  };
  CHECK_EQ(constant(bytes(1, "value_int") + number(3, -5) + number(20, 2)), "[-5][]");
  CHECK_EQ(constant(bytes(1, "value_int") + number(20, 2)), "[0][]");  // a zero may be left out
  CHECK_EQ(constant(bytes(1, "value_ints") + number(8, 5) + number(8, 6) + number(20, 7)), "[5, 6][]");
  CHECK_EQ(constant(bytes(1, "value_ints") + bytes(8, varints({5, 6})) + number(20, 7)), "[5, 6][]");
  CHECK_EQ(constant(bytes(1, "value_ints") + number(20, 7)), "[][]");
  CHECK_EQ(constant(bytes(1, "value_float") + real(2, 0.5F) + number(20, 1)), "[][0.5]");
  CHECK_EQ(constant(bytes(1, "value_floats") + real(7, 0.5F) + real(7, 1) + number(20, 6)), "[][0.5, 1]");
  CHECK_EQ(constant(bytes(1, "value_string") + bytes(4, "t") + number(20, 3)), "refused");
}
