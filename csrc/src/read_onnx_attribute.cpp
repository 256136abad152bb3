// AttributeProto to Attr: numbers and texts into the model's pools, tensors, types, and bodies to read later.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "onnx_fields.hpp"
#include "onnx_reader.hpp"

namespace macsim {

using wire::Field;
using wire::Flaw;
using wire::Wire;

/// What an attribute says, field by field: `type`, which tells the ones that count, comes last.
struct OnnxReader::AttributeFields {
  /// A run in one of the model's pools.
  struct Run {
    std::uint32_t first = 0, count = 0;
    void add(std::size_t index) {
      if (count++ == 0) first = static_cast<std::uint32_t>(index);
    }
  };
  std::string_view name, refers, text;
  std::int64_t integer = 0;
  double real = 0;
  std::uint64_t type = onnx::attribute::kIsUndefined;
  std::uint32_t seen = 0;  // bit n: field n was there
  std::uint32_t body = kNone;
  Run integers, reals, texts, tensors, types, bodies;

  std::uint64_t kind() const noexcept;
};

// The type; files of the first IR versions leave it out, and the field that is there tells.
std::uint64_t OnnxReader::AttributeFields::kind() const noexcept {
  using namespace onnx::attribute;
  if (type != kIsUndefined) return type;
  constexpr struct {
    std::uint32_t field;
    Is is;
  } table[] = {{kF, kIsFloat},
               {kI, kIsInt},
               {kS, kIsString},
               {kT, kIsTensor},
               {kG, kIsGraph},
               {kFloats, kIsFloats},
               {kInts, kIsInts},
               {kStrings, kIsStrings},
               {kTensors, kIsTensors},
               {kGraphs, kIsGraphs},
               {kTp, kIsTypeProto},
               {kTypeProtos, kIsTypeProtos},
               {kSparseTensor, kIsSparseTensor},
               {kSparseTensors, kIsSparseTensors}};
  for (const auto& line : table) {
    if ((seen >> line.field) & 1U) return line.is;
  }
  return kIsUndefined;
}

bool OnnxReader::read_attribute(std::string_view bytes, NodeId owner) {
  AttributeFields fields;
  Wire wire(bytes, onnx::attribute::kMessage);
  Field f;
  while (wire.next(f)) {
    if (!read_attribute_field(f, fields, owner)) {
      flawed_inside(wire);
      place("attribute " + quoted(fields.name));
      return false;
    }
    if (f.number < wire::Message::kFields) fields.seen |= 1U << f.number;
  }
  if (!done(wire)) return false;
  if (fields.name.empty()) return fail_at(bytes.data(), Code::malformed, "an attribute without a name");

  const auto run = [](Attr& attr, Attr::Kind kind, const AttributeFields::Run& from) {
    attr.kind = kind;
    attr.first = from.first;
    attr.count = from.count;
  };
  using namespace onnx::attribute;
  Attr& attr = model_.attrs.emplace_back();
  attr.name = fields.name;
  if (!fields.refers.empty()) {
    attr.kind = Attr::Kind::refers;
    attr.text = fields.refers;
    return true;
  }
  switch (fields.kind()) {
    case kIsInt:
      attr.kind = Attr::Kind::integer;
      attr.integer = fields.integer;
      break;
    case kIsFloat:
      attr.kind = Attr::Kind::real;
      attr.real = fields.real;
      break;
    case kIsString:
      attr.kind = Attr::Kind::text;
      attr.text = fields.text;
      break;
    case kIsInts:
      run(attr, Attr::Kind::integers, fields.integers);
      break;
    case kIsFloats:
      run(attr, Attr::Kind::reals, fields.reals);
      break;
    case kIsStrings:
      run(attr, Attr::Kind::texts, fields.texts);
      break;
    case kIsTensor:
    case kIsTensors:
    case kIsSparseTensor:
    case kIsSparseTensors:
      if (fields.tensors.count != 0) run(attr, Attr::Kind::tensor, fields.tensors);
      break;
    case kIsTypeProto:
    case kIsTypeProtos:
      if (fields.types.count != 0) run(attr, Attr::Kind::type, fields.types);
      break;
    case kIsGraph:
      if (fields.body != kNone) run(attr, Attr::Kind::body, {fields.body, 1});
      break;
    case kIsGraphs:
      run(attr, Attr::Kind::bodies, fields.bodies);
      break;
    default:
      break;
  }
  return true;
}

bool OnnxReader::read_attribute_field(const Field& f, AttributeFields& fields, NodeId owner) {
  switch (f.number) {
    case onnx::attribute::kName:
      fields.name = f.bytes;
      return true;
    case onnx::attribute::kRefAttrName:
      fields.refers = f.bytes;
      return true;
    case onnx::attribute::kType:
      fields.type = f.bits;
      return true;
    case onnx::attribute::kI:
      fields.integer = f.integer();
      return true;
    case onnx::attribute::kF:
      fields.real = static_cast<double>(wire::float_of(static_cast<std::uint32_t>(f.bits)));
      return true;
    case onnx::attribute::kS:
      fields.text = f.bytes;
      return true;
    case onnx::attribute::kStrings:
      fields.texts.add(model_.texts.size());
      model_.texts.push_back(f.bytes);
      return true;
    case onnx::attribute::kInts:
    case onnx::attribute::kFloats:
      return read_attribute_number(f, fields);
    case onnx::attribute::kT:
    case onnx::attribute::kTensors:
    case onnx::attribute::kSparseTensor:
    case onnx::attribute::kSparseTensors:
      return read_attribute_tensor(f, fields);
    case onnx::attribute::kTp:
    case onnx::attribute::kTypeProtos:
      return read_attribute_type(f, fields);
    case onnx::attribute::kG:
      if (fields.body != kNone) return fail_at(f.bytes.data(), Code::malformed, "a second body in one attribute");
      fields.body = put_aside(f.bytes, owner);
      return true;
    case onnx::attribute::kGraphs: {
      const std::uint32_t body = put_aside(f.bytes, owner);
      fields.bodies.add(model_.body_lists.size());
      model_.body_lists.push_back(body);
      return true;
    }
    default:
      return true;
  }
}

// A number of a list, or a packed run of them.
bool OnnxReader::read_attribute_number(const Field& f, AttributeFields& fields) {
  const bool whole = f.number == onnx::attribute::kInts;
  const auto add = [&](std::uint64_t bits) {
    if (whole) {
      fields.integers.add(model_.integers.size());
      model_.integers.push_back(static_cast<std::int64_t>(bits));
    } else {
      fields.reals.add(model_.reals.size());
      model_.reals.push_back(static_cast<double>(wire::float_of(static_cast<std::uint32_t>(bits))));
    }
  };
  if (!f.packed()) {
    add(f.bits);
    return true;
  }
  Wire packed(f.bytes, onnx::attribute::kMessage);
  std::uint64_t bits = 0;
  while (packed.more()) {
    if (!(whole ? packed.varint(bits) : packed.fixed(bits, 4))) return false;
    add(bits);
  }
  return true;
}

bool OnnxReader::read_attribute_tensor(const Field& f, AttributeFields& fields) {
  const bool sparse = f.number == onnx::attribute::kSparseTensor || f.number == onnx::attribute::kSparseTensors;
  Stored stored;
  std::string_view unused;
  if (!(sparse ? read_sparse(f.bytes, stored, unused) : read_tensor(f.bytes, stored, unused))) return false;
  fields.tensors.add(model_.tensors.size());
  model_.tensors.push_back(std::move(stored));
  return true;
}

bool OnnxReader::read_attribute_type(const Field& f, AttributeFields& fields) {
  Type type;
  if (!read_type(f.bytes, type, {}, 0)) return false;
  fields.types.add(model_.types.size());
  model_.types.push_back(std::move(type));
  return true;
}

// A body gets its number now, and is read when the body around it is complete.
std::uint32_t OnnxReader::put_aside(std::string_view bytes, NodeId owner) {
  const auto body = static_cast<std::uint32_t>(model_.bodies.size());
  model_.bodies.emplace_back().parent = top().body;
  top().inside.push_back({bytes, body, owner});
  return body;
}

}  // namespace macsim
