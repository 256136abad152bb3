// The table of element types: names, bits, classes, ONNX's numbers.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/dtype.hpp"

#include <array>
#include <cstddef>

namespace macsim {
namespace {

struct Line {
  DType dtype;
  std::string_view name;
  std::string_view long_name;  // as numpy, ml_dtypes, ONNX and torch spell it
  std::uint8_t bits;
  DTypeClass kind;
  std::uint8_t onnx;
};

constexpr std::size_t kTypes = static_cast<std::size_t>(DType::count_);
constexpr std::array<Line, kTypes> kTable{{
    {DType::unknown, "?", "unknown", 0, DTypeClass::unknown, 0},
    {DType::f64, "f64", "float64", 64, DTypeClass::real, 11},
    {DType::f32, "f32", "float32", 32, DTypeClass::real, 1},
    {DType::f16, "f16", "float16", 16, DTypeClass::real, 10},
    {DType::bf16, "bf16", "bfloat16", 16, DTypeClass::real, 16},
    {DType::f8e4m3fn, "f8e4m3fn", "float8_e4m3fn", 8, DTypeClass::real, 17},
    {DType::f8e4m3fnuz, "f8e4m3fnuz", "float8_e4m3fnuz", 8, DTypeClass::real, 18},
    {DType::f8e5m2, "f8e5m2", "float8_e5m2", 8, DTypeClass::real, 19},
    {DType::f8e5m2fnuz, "f8e5m2fnuz", "float8_e5m2fnuz", 8, DTypeClass::real, 20},
    {DType::f8e8m0, "f8e8m0", "float8_e8m0fnu", 8, DTypeClass::real, 24},
    {DType::f6e2m3, "f6e2m3", "float6_e2m3fn", 6, DTypeClass::real, 27},
    {DType::f6e3m2, "f6e3m2", "float6_e3m2fn", 6, DTypeClass::real, 28},
    {DType::f4e2m1, "f4e2m1", "float4_e2m1fn", 4, DTypeClass::real, 23},
    {DType::i64, "i64", "int64", 64, DTypeClass::integer, 7},
    {DType::i32, "i32", "int32", 32, DTypeClass::integer, 6},
    {DType::i16, "i16", "int16", 16, DTypeClass::integer, 5},
    {DType::i8, "i8", "int8", 8, DTypeClass::integer, 3},
    {DType::i4, "i4", "int4", 4, DTypeClass::integer, 22},
    {DType::i2, "i2", "int2", 2, DTypeClass::integer, 26},
    {DType::u64, "u64", "uint64", 64, DTypeClass::integer, 13},
    {DType::u32, "u32", "uint32", 32, DTypeClass::integer, 12},
    {DType::u16, "u16", "uint16", 16, DTypeClass::integer, 4},
    {DType::u8, "u8", "uint8", 8, DTypeClass::integer, 2},
    {DType::u4, "u4", "uint4", 4, DTypeClass::integer, 21},
    {DType::u2, "u2", "uint2", 2, DTypeClass::integer, 25},
    {DType::boolean, "bool", "boolean", 8, DTypeClass::boolean, 9},
    {DType::c32, "c32", "complex32", 32, DTypeClass::complex, 0},
    {DType::c64, "c64", "complex64", 64, DTypeClass::complex, 14},
    {DType::c128, "c128", "complex128", 128, DTypeClass::complex, 15},
    {DType::string, "string", "str", 0, DTypeClass::string, 8},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kTypes; ++i) {
    if (kTable[i].dtype != static_cast<DType>(i)) return false;
  }
  return true;
}
static_assert(in_order(), "a line for each dtype, in the enum's order");

constexpr std::size_t kOnnxTypes = 29;
constexpr std::array<DType, kOnnxTypes> from_onnx() {
  std::array<DType, kOnnxTypes> table{};
  for (const Line& line : kTable) {
    if (line.onnx != 0) table[line.onnx] = line.dtype;
  }
  return table;
}
constexpr std::array<DType, kOnnxTypes> kFromOnnx = from_onnx();

// Other spellings in use: torch's, ONNX's own, C's.
constexpr struct {
  std::string_view name;
  DType dtype;
} kAlso[] = {
    {"double", DType::f64},
    {"float", DType::f32},
    {"half", DType::f16},
    {"long", DType::i64},
    {"int", DType::i32},
    {"short", DType::i16},
    {"bool_", DType::boolean},
    {"chalf", DType::c32},
    {"cfloat", DType::c64},
    {"cdouble", DType::c128},
    {"object", DType::string},
    {"float8e4m3fn", DType::f8e4m3fn},
    {"float8e4m3fnuz", DType::f8e4m3fnuz},
    {"float8e5m2", DType::f8e5m2},
    {"float8e5m2fnuz", DType::f8e5m2fnuz},
    {"float8e8m0", DType::f8e8m0},
    {"float6e2m3", DType::f6e2m3},
    {"float6e3m2", DType::f6e3m2},
    {"float4e2m1", DType::f4e2m1},
    {"float4_e2m1fn_x2", DType::f4e2m1},
};

const Line& line_of(DType dtype) noexcept {
  const auto i = static_cast<std::size_t>(dtype);
  return kTable[i < kTypes ? i : 0];
}

}  // namespace

std::string_view name_of(DType dtype) noexcept { return line_of(dtype).name; }

DType dtype_named(std::string_view name) noexcept {
  for (const Line& line : kTable) {
    if (line.name == name || line.long_name == name) return line.dtype;
  }
  for (const auto& also : kAlso) {
    if (also.name == name) return also.dtype;
  }
  return DType::unknown;
}

int bits_of(DType dtype) noexcept { return line_of(dtype).bits; }

DTypeClass class_of(DType dtype) noexcept { return line_of(dtype).kind; }

DType dtype_from_onnx(std::int64_t number) noexcept {
  const auto at = static_cast<std::uint64_t>(number);  // what is negative is far beyond the table
  return at < kOnnxTypes ? kFromOnnx[at] : DType::unknown;
}

std::int64_t onnx_number(DType dtype) noexcept { return line_of(dtype).onnx; }

}  // namespace macsim
