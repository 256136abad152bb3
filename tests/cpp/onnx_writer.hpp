// Writes ONNX messages by hand, byte by byte, for tests.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_TESTS_ONNX_WRITER_HPP
#define MACSIM_TESTS_ONNX_WRITER_HPP

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace writer {

using Bytes = std::string;

inline Bytes varint(std::uint64_t value) {
  Bytes out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80U);
  return out += static_cast<char>(value);
}
inline Bytes tag(unsigned field, unsigned wiring) { return varint(field << 3U | wiring); }
inline Bytes number(unsigned field, std::int64_t value) {
  return tag(field, 0) + varint(static_cast<std::uint64_t>(value));
}
inline Bytes bytes(unsigned field, std::string_view content) {
  return tag(field, 2) + varint(content.size()) + Bytes(content);
}
template <class T>
Bytes little_endian(T value) {  // on the machines that tests run on
  Bytes out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}
inline Bytes real(unsigned field, float value) { return tag(field, 5) + little_endian(value); }

// Field numbers are onnx.proto's, written out here once more on purpose: the reader's own table is under test.
inline Bytes dim(std::int64_t size) { return bytes(1, number(1, size)); }
inline Bytes dim(std::string_view name) { return bytes(1, bytes(2, name)); }
inline Bytes no_dim() { return bytes(1, {}); }
inline Bytes tensor_type(std::int64_t dtype, const Bytes& dims) { return bytes(1, number(1, dtype) + bytes(2, dims)); }
inline Bytes value_info(std::string_view name, const Bytes& type) { return bytes(1, name) + bytes(2, type); }

inline Bytes input(const Bytes& info) { return bytes(11, info); }
inline Bytes output(const Bytes& info) { return bytes(12, info); }
inline Bytes info(const Bytes& value) { return bytes(13, value); }
inline Bytes floats(std::string_view name, const Bytes& dims) { return value_info(name, tensor_type(1, dims)); }

inline Bytes integer_attr(std::string_view name, std::int64_t value) {
  return bytes(5, bytes(1, name) + number(3, value) + number(20, 2));
}
inline Bytes integers_attr(std::string_view name, const std::vector<std::int64_t>& values) {
  Bytes out = bytes(1, name);
  for (const std::int64_t value : values) out += number(8, value);
  return bytes(5, out + number(20, 7));
}
inline Bytes body_attr(std::string_view name, const Bytes& graph) {
  return bytes(5, bytes(1, name) + bytes(6, graph) + number(20, 5));
}

inline Bytes node(std::string_view op, const std::vector<std::string_view>& inputs,
                  const std::vector<std::string_view>& outputs, const Bytes& rest = {}) {
  Bytes out;
  for (const std::string_view name : inputs) out += bytes(1, name);
  for (const std::string_view name : outputs) out += bytes(2, name);
  return bytes(1, out + bytes(4, op) + rest);
}
inline Bytes node_name(std::string_view name) { return bytes(3, name); }
inline Bytes node_domain(std::string_view domain) { return bytes(7, domain); }

inline Bytes tensor(std::string_view name, std::int64_t dtype, const std::vector<std::int64_t>& dims,
                    const Bytes& rest) {
  Bytes out;
  for (const std::int64_t size : dims) out += number(1, size);
  return out + number(2, dtype) + bytes(8, name) + rest;
}
inline Bytes raw(std::string_view data) { return bytes(9, data); }
inline Bytes initializer(const Bytes& tensor_bytes) { return bytes(5, tensor_bytes); }

inline Bytes opset(std::string_view domain, std::int64_t version) {
  return bytes(8, bytes(1, domain) + number(2, version));
}
inline Bytes model(const Bytes& graph, const Bytes& rest = opset("", 17), std::int64_t ir_version = 8) {
  return number(1, ir_version) + bytes(7, graph) + rest;
}

}  // namespace writer

#endif  // MACSIM_TESTS_ONNX_WRITER_HPP
