// Element types against ONNX's numbers and the widths that their names say.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/dtype.hpp"

#include <set>
#include <string>

#include "check.hpp"

using namespace macsim;

namespace {

struct Line {
  int onnx;
  std::string_view ours, long_name;
  int bits;
  DTypeClass kind;
};

// TensorProto.DataType of onnx.proto.
constexpr Line kLines[] = {
    {1, "f32", "float32", 32, DTypeClass::real},
    {2, "u8", "uint8", 8, DTypeClass::integer},
    {3, "i8", "int8", 8, DTypeClass::integer},
    {4, "u16", "uint16", 16, DTypeClass::integer},
    {5, "i16", "int16", 16, DTypeClass::integer},
    {6, "i32", "int32", 32, DTypeClass::integer},
    {7, "i64", "int64", 64, DTypeClass::integer},
    {8, "string", "str", 0, DTypeClass::string},
    {9, "bool", "boolean", 8, DTypeClass::boolean},
    {10, "f16", "float16", 16, DTypeClass::real},
    {11, "f64", "float64", 64, DTypeClass::real},
    {12, "u32", "uint32", 32, DTypeClass::integer},
    {13, "u64", "uint64", 64, DTypeClass::integer},
    {14, "c64", "complex64", 64, DTypeClass::complex},
    {15, "c128", "complex128", 128, DTypeClass::complex},
    {16, "bf16", "bfloat16", 16, DTypeClass::real},
    {17, "f8e4m3fn", "float8_e4m3fn", 8, DTypeClass::real},
    {18, "f8e4m3fnuz", "float8_e4m3fnuz", 8, DTypeClass::real},
    {19, "f8e5m2", "float8_e5m2", 8, DTypeClass::real},
    {20, "f8e5m2fnuz", "float8_e5m2fnuz", 8, DTypeClass::real},
    {21, "u4", "uint4", 4, DTypeClass::integer},
    {22, "i4", "int4", 4, DTypeClass::integer},
    {23, "f4e2m1", "float4_e2m1fn", 4, DTypeClass::real},
    {24, "f8e8m0", "float8_e8m0fnu", 8, DTypeClass::real},
    {25, "u2", "uint2", 2, DTypeClass::integer},
    {26, "i2", "int2", 2, DTypeClass::integer},
    {27, "f6e2m3", "float6_e2m3fn", 6, DTypeClass::real},
    {28, "f6e3m2", "float6_e3m2fn", 6, DTypeClass::real},
};

}  // namespace

TEST("each of ONNX's types has its name, width and class") {
  std::set<DType> seen;
  for (const Line& line : kLines) {
    const DType dtype = dtype_from_onnx(line.onnx);
    CHECK(seen.insert(dtype).second);
    CHECK_EQ(name_of(dtype), line.ours);
    CHECK_EQ(bits_of(dtype), line.bits);
    CHECK(class_of(dtype) == line.kind);
    CHECK_EQ(onnx_number(dtype), line.onnx);
    CHECK(dtype_named(line.ours) == dtype);
    CHECK(dtype_named(line.long_name) == dtype);
  }
  CHECK_EQ(seen.size(), static_cast<std::size_t>(DType::count_) - 2);  // all but unknown and complex32
}

TEST("what is not a type is unknown") {
  for (const int number : {0, 29, -1, 1000}) CHECK(dtype_from_onnx(number) == DType::unknown);
  for (const std::string_view name : {"", "?", "f33", "Float32", "tensor"}) CHECK(dtype_named(name) == DType::unknown);
  CHECK_EQ(bits_of(DType::unknown), 0);
  CHECK_EQ(name_of(static_cast<DType>(200)), "?");
  CHECK_EQ(onnx_number(DType::unknown), 0);
}

TEST("a type that ONNX lacks") {
  CHECK_EQ(bits_of(DType::c32), 32);
  CHECK(class_of(DType::c32) == DTypeClass::complex);
  CHECK_EQ(onnx_number(DType::c32), 0);
  for (const std::string_view name : {"c32", "complex32", "chalf"}) CHECK(dtype_named(name) == DType::c32);
}

TEST("spellings of torch and of C") {
  CHECK(dtype_named("half") == DType::f16);
  CHECK(dtype_named("double") == DType::f64);
  CHECK(dtype_named("long") == DType::i64);
  CHECK(dtype_named("bool") == DType::boolean);
}
