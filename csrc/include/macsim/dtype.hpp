// DType: what one element of a tensor is, and how many bits it takes.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_DTYPE_HPP
#define MACSIM_DTYPE_HPP

#include <cstdint>
#include <string_view>

namespace macsim {

/// Element types: ONNX's, and torch's complex32, which ONNX lacks. The numbers are ours, not ONNX's.
enum class DType : std::uint8_t {
  unknown,
  // clang-format off: a line for each kind
  f64, f32, f16, bf16, f8e4m3fn, f8e4m3fnuz, f8e5m2, f8e5m2fnuz, f8e8m0, f6e2m3, f6e3m2, f4e2m1,
  i64, i32, i16, i8, i4, i2,
  u64, u32, u16, u8, u4, u2,
  boolean, c32, c64, c128, string,
  // clang-format on
  count_,
};

/// What kind of arithmetic an element takes part in.
enum class DTypeClass : std::uint8_t { unknown, real, integer, boolean, complex, string };

/// "f32", "i8", "bool", "string"; "?" when unknown.
std::string_view name_of(DType dtype) noexcept;
/// The inverse of name_of, also accepting "float32", "int8", "bfloat16" and the like; unknown when not a dtype.
DType dtype_named(std::string_view name) noexcept;
/// Bits an element takes in memory, packed: 4 for i4, 6 for f6e2m3. 0 for unknown and for string, whose size is data.
int bits_of(DType dtype) noexcept;
DTypeClass class_of(DType dtype) noexcept;
inline bool is_float(DType dtype) noexcept {
  return class_of(dtype) == DTypeClass::real || class_of(dtype) == DTypeClass::complex;
}
inline bool is_integer(DType dtype) noexcept { return class_of(dtype) == DTypeClass::integer; }

/// ONNX's TensorProto.DataType number to ours and back; unknown <-> 0, which is also what ONNX lacks.
DType dtype_from_onnx(std::int64_t number) noexcept;
std::int64_t onnx_number(DType dtype) noexcept;

}  // namespace macsim

#endif  // MACSIM_DTYPE_HPP
