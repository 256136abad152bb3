// TensorProto to Stored, TypeProto to Type. Payloads are stepped over, never looked at.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "onnx_fields.hpp"
#include "onnx_reader.hpp"

namespace macsim {

using wire::Field;
using wire::Wire;

namespace {

/// How a packed field of numbers is laid out.
Encoding packed_encoding(std::uint32_t number) {
  switch (number) {
    case onnx::tensor::kFloatData:
      return Encoding::fixed32;
    case onnx::tensor::kDoubleData:
      return Encoding::fixed64;
    default:
      return Encoding::varints;
  }
}

/// Whether a dim_param with a '-' is a name that a person wrote ("seq-len"), not a difference ("s0 - 1").
bool hyphenated(std::string_view text) {
  return text.find_first_of(" +*/%^(),") == std::string_view::npos && text.find('-') != std::string_view::npos;
}

}  // namespace

bool OnnxReader::read_tensor(std::string_view bytes, Stored& stored, std::string_view& name) {
  stored.type.ranked = true;
  bool raw = false;
  Wire wire(bytes, onnx::tensor::kMessage);
  Field f;
  while (wire.next(f)) {
    switch (f.number) {
      case onnx::tensor::kDims:
        if (!read_dims(f, stored.type.shape, wire.field_at())) return flawed_inside(wire);
        break;
      case onnx::tensor::kDataType:
        stored.type.dtype = dtype_from_onnx(f.integer());
        break;
      case onnx::tensor::kName:
        name = f.bytes;
        break;
      case onnx::tensor::kRawData:
        raw = true;
        stored.encoding = Encoding::raw;
        stored.bytes = f.bytes;
        break;
      case onnx::tensor::kFloatData:
      case onnx::tensor::kInt32Data:
      case onnx::tensor::kInt64Data:
      case onnx::tensor::kDoubleData:
      case onnx::tensor::kUint64Data:
        if (raw) break;
        if (f.packed() && stored.encoding == Encoding::none) {
          stored.encoding = packed_encoding(f.number);
          stored.bytes = f.bytes;
        } else {
          stored.encoding = Encoding::unpacked;
          stored.bytes = bytes;
        }
        break;
      case onnx::tensor::kDataLocation:
        stored.external = f.bits == onnx::tensor::kExternal;
        break;
      default:
        break;
    }
  }
  if (stored.external) {
    stored.encoding = Encoding::none;
    stored.bytes = {};
  }
  return done(wire);
}

// The dense tensor that it stands for, as the operators see it.
bool OnnxReader::read_sparse(std::string_view bytes, Stored& stored, std::string_view& name) {
  Stored values;
  values.type.ranked = true;
  Shape shape;
  Wire wire(bytes, onnx::sparse::kMessage);
  Field f;
  while (wire.next(f)) {
    if (f.number == onnx::sparse::kValues && !read_tensor(f.bytes, values, name)) return false;
    if (f.number == onnx::sparse::kDims && !read_dims(f, shape, wire.field_at())) return flawed_inside(wire);
  }
  if (!done(wire)) return false;
  stored.type = Type::of(values.type.dtype, std::move(shape));
  stored.encoding = values.external ? Encoding::none : Encoding::sparse;
  stored.bytes = values.external ? std::string_view() : bytes;
  stored.external = values.external;
  stored.nonzeros = values.type.shape.empty() ? 0 : values.type.shape[0].constant().value_or(0);
  return true;
}

bool OnnxReader::read_dims(const Field& f, Shape& shape, const char* at) {
  const auto add = [&](std::int64_t dim) {
    if (dim < 0) return fail_at(at, Code::malformed, "a stored tensor has a dimension of " + std::to_string(dim));
    if (shape.size() == kMostRank) return too_many_dims(at);
    shape.push_back(Dim(dim));
    return true;
  };
  if (!f.packed()) return add(f.integer());
  Wire packed(f.bytes, onnx::tensor::kMessage);
  std::uint64_t dim = 0;
  while (packed.more()) {
    if (!packed.varint(dim) || !add(static_cast<std::int64_t>(dim))) return false;
  }
  return true;
}

bool OnnxReader::too_many_dims(const char* at) {
  return fail_at(at, Code::malformed, "a shape of more than " + std::to_string(kMostRank) + " dimensions");
}

// `axes_of`: after which input its nameless sizes are named; empty: they are unknown.
bool OnnxReader::read_type(std::string_view bytes, Type& type, std::string_view axes_of, std::size_t depth) {
  if (depth == kMostDepth) {
    return fail_at(bytes, Code::too_deep, "types are nested more than " + std::to_string(kMostDepth) + " deep");
  }
  Wire wire(bytes, onnx::type::kMessage);
  Field f;
  bool good = true;
  while (good && wire.next(f)) {
    switch (f.number) {
      case onnx::type::kTensor:
        type.kind = Kind::tensor;
        good = read_tensor_type(f.bytes, type, axes_of);
        break;
      case onnx::type::kSparse:
        type.kind = Kind::sparse;
        good = read_tensor_type(f.bytes, type, axes_of);
        break;
      case onnx::type::kSequence:
        type.kind = Kind::sequence;
        good = read_element_type(f, onnx::holder_type::kElemType, onnx::holder_type::kMessage, type, depth);
        break;
      case onnx::type::kOptional:
        type.kind = Kind::optional;
        good = read_element_type(f, onnx::holder_type::kElemType, onnx::holder_type::kMessage, type, depth);
        break;
      case onnx::type::kMap:
        type.kind = Kind::map;
        good = read_element_type(f, onnx::map_type::kValueType, onnx::map_type::kMessage, type, depth);
        break;
      default:
        break;
    }
  }
  return good && done(wire);
}

bool OnnxReader::read_element_type(const Field& field, std::uint32_t number, const wire::Message& message, Type& type,
                                   std::size_t depth) {
  Wire wire(field.bytes, message);
  Field f;
  while (wire.next(f)) {
    if (f.number != number) continue;
    auto element = std::make_shared<Type>();
    if (!read_type(f.bytes, *element, {}, depth + 1)) return false;
    type.dtype = element->dtype;
    type.element = std::move(element);
  }
  return done(wire);
}

bool OnnxReader::read_tensor_type(std::string_view bytes, Type& type, std::string_view axes_of) {
  Wire wire(bytes, onnx::tensor_type::kMessage);
  Field f;
  while (wire.next(f)) {
    if (f.number == onnx::tensor_type::kElemType) type.dtype = dtype_from_onnx(f.integer());
    if (f.number == onnx::tensor_type::kShape) {
      type.ranked = true;
      type.shape.clear();
      if (!read_shape(f.bytes, type.shape, axes_of)) return false;
    }
  }
  return done(wire);
}

bool OnnxReader::read_shape(std::string_view bytes, Shape& shape, std::string_view axes_of) {
  Wire wire(bytes, onnx::shape::kMessage);
  Field f;
  while (wire.next(f)) {
    if (f.number != onnx::shape::kDim) continue;
    if (shape.size() == kMostRank) return too_many_dims(wire.field_at());
    Dim dim = Dim::undefined();
    if (!read_dim(f.bytes, dim)) return false;
    if (!dim.defined() && !axes_of.empty()) {
      dim = Dim::symbol(std::string(axes_of) + "." + std::to_string(shape.size()));
    }
    shape.push_back(std::move(dim));
  }
  return done(wire);
}

// Undefined where the file names no size. Of a number and a name, the later one counts, as protobuf has it.
bool OnnxReader::read_dim(std::string_view bytes, Dim& dim) {
  const auto number = [](std::int64_t size) { return size >= 0 ? Dim(size) : Dim::undefined(); };
  constexpr char value_tag = onnx::dimension::kValue << 3U | wire::kVarint;
  if (bytes.size() > 1 && bytes[0] == value_tag) {  // a number and nothing else, as nearly always
    Wire rest(bytes.substr(1), onnx::dimension::kMessage);
    std::uint64_t size = 0;
    if (rest.varint(size) && !rest.more()) {
      dim = number(static_cast<std::int64_t>(size));
      return true;
    }
  }
  Wire wire(bytes, onnx::dimension::kMessage);
  Field f;
  while (wire.next(f)) {
    if (f.number == onnx::dimension::kValue) dim = number(f.integer());
    if (f.number == onnx::dimension::kParam) dim = dim_named(f.bytes);
  }
  return done(wire);
}

// A dim_param: an expression of sizes where it reads as one, otherwise a name. The same text is one shared Dim.
Dim OnnxReader::dim_named(std::string_view text) {
  constexpr std::size_t longest = 1000;  // what is longer is no expression that anyone wrote
  constexpr std::string_view nameless[] = {"", "?", "-1", "None"};
  if (std::find(std::begin(nameless), std::end(nameless), text) != std::end(nameless)) return Dim::undefined();
  const auto fresh = static_cast<std::uint32_t>(symbols_.size());
  const std::uint32_t id = symbol_table_.find_or_add(
      hash_name(text, hash_key_), fresh, [&](std::uint32_t other) { return symbols_[other].first == text; });
  if (id == fresh) {
    std::optional<Dim> dim;
    if (text.size() <= longest && !hyphenated(text)) dim = Dim::parse(text);
    if (!dim || !dim->defined()) dim = Dim::symbol(text);
    symbols_.emplace_back(text, *std::move(dim));
  }
  return symbols_[id].second;
}

}  // namespace macsim
