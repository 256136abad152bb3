// AttributeProto to Attr: numbers and texts into the model's pools, tensors, types, and bodies to read later.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "onnx_fields.hpp"
#include "onnx_reader.hpp"

namespace macsim {

using wire::Field;
using wire::Wire;

/// What an attribute says, field by field: `type`, which tells the one that counts, comes last.
struct OnnxReader::AttributeFields {
  std::string_view name, refers, text;
  std::int64_t integer = 0;
  double real = 0;
  std::uint64_t type = onnx::attribute::kIsUndefined;
  std::uint32_t seen = 0;              // bit n: field n was there
  std::uint32_t list = 0;              // the field that fills the run
  std::uint32_t first = 0, count = 0;  // a run in the model's pool of that list; a body: its number

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
    if (f.number < wire::Message::kFields) fields.seen |= 1U << f.number;
    switch (f.number) {
      case onnx::attribute::kName:
        fields.name = f.bytes;
        break;
      case onnx::attribute::kRefAttrName:
        fields.refers = f.bytes;
        break;
      case onnx::attribute::kType:
        fields.type = f.bits;
        break;
      case onnx::attribute::kI:
        fields.integer = f.integer();
        break;
      case onnx::attribute::kF:
        fields.real = static_cast<double>(wire::float_of(f.bits));
        break;
      case onnx::attribute::kS:
        fields.text = f.bytes;
        break;
      default:
        if (read_attribute_list(f, fields, owner)) break;
        flawed_inside(wire);
        place("attribute " + quoted(fields.name));
        return false;
    }
  }
  if (!done(wire)) {
    place("attribute " + quoted(fields.name));
    return false;
  }
  if (fields.name.empty()) return fail_at(bytes, Code::malformed, "an attribute without a name");
  add_attribute(fields);
  return true;
}

void OnnxReader::add_attribute(const AttributeFields& fields) {
  using namespace onnx::attribute;
  Attr attr;
  attr.name = fields.name;
  // `from`: a bit for each field that may fill it. A list may be empty; a tensor, type or body has to be there.
  const auto run = [&](Attr::Kind kind, std::uint32_t from, bool may_be_empty) {
    const bool there = fields.count != 0 && ((from >> fields.list) & 1U) != 0;
    if (there || may_be_empty) attr.kind = kind;
    if (!there) return;
    attr.first = fields.first;
    attr.count = fields.count;
  };
  if (!fields.refers.empty()) {
    attr.kind = Attr::Kind::refers;
    attr.text = fields.refers;
    model_.attrs.push_back(attr);
    return;
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
      run(Attr::Kind::integers, 1U << kInts, true);
      break;
    case kIsFloats:
      run(Attr::Kind::reals, 1U << kFloats, true);
      break;
    case kIsStrings:
      run(Attr::Kind::texts, 1U << kStrings, true);
      break;
    case kIsTensor:
    case kIsTensors:
    case kIsSparseTensor:
    case kIsSparseTensors:
      run(Attr::Kind::tensor, 1U << kT | 1U << kTensors | 1U << kSparseTensor | 1U << kSparseTensors, false);
      break;
    case kIsTypeProto:
    case kIsTypeProtos:
      run(Attr::Kind::type, 1U << kTp | 1U << kTypeProtos, false);
      break;
    case kIsGraph:
      run(Attr::Kind::body, 1U << kG, false);
      break;
    case kIsGraphs:
      run(Attr::Kind::bodies, 1U << kGraphs, true);
      break;
    default:
      break;
  }
  model_.attrs.push_back(attr);
}

// What comes as a list, or is kept in a list of the model.
bool OnnxReader::read_attribute_list(const Field& f, AttributeFields& fields, NodeId owner) {
  using namespace onnx::attribute;
  if (f.number == kDocString || f.number >= wire::Message::kFields ||
      onnx::attribute::kMessage.names[f.number] == nullptr) {
    return true;
  }
  if (fields.list == 0) fields.list = f.number;
  if (fields.list != f.number || (f.number == kG && fields.count != 0)) {
    return fail_at(f.packed() ? f.bytes : fields.name, Code::malformed, "an attribute with two values");
  }
  const auto add = [&](std::size_t index) {
    if (fields.count++ == 0) fields.first = static_cast<std::uint32_t>(index);
  };
  switch (f.number) {
    case kInts:
      if (f.packed()) return read_packed(f.bytes, fields);
      add(model_.integers.size());
      model_.integers.push_back(f.integer());
      return true;
    case kFloats:
      if (f.packed()) return read_packed(f.bytes, fields);
      add(model_.reals.size());
      model_.reals.push_back(static_cast<double>(wire::float_of(f.bits)));
      return true;
    case kStrings:
      add(model_.texts.size());
      model_.texts.push_back(f.bytes);
      return true;
    case kT:
    case kTensors:
    case kSparseTensor:
    case kSparseTensors:
      add(model_.tensors.size());
      return read_attribute_tensor(f);
    case kTp:
    case kTypeProtos:
      add(model_.types.size());
      return read_type(f.bytes, model_.types.emplace_back(), {}, 0);
    case kG:
      add(put_aside(f.bytes, owner));
      return true;
    default:
      add(model_.body_lists.size());
      model_.body_lists.push_back(put_aside(f.bytes, owner));
      return true;
  }
}

// A packed run of numbers.
bool OnnxReader::read_packed(std::string_view bytes, AttributeFields& fields) {
  const bool whole = fields.list == onnx::attribute::kInts;
  if (fields.count == 0)
    fields.first = static_cast<std::uint32_t>(whole ? model_.integers.size() : model_.reals.size());
  Wire packed(bytes, onnx::attribute::kMessage);
  std::uint64_t bits = 0;
  for (; packed.more(); ++fields.count) {
    if (!(whole ? packed.varint(bits) : packed.fixed(bits, 4))) return false;
    if (whole)
      model_.integers.push_back(static_cast<std::int64_t>(bits));
    else
      model_.reals.push_back(static_cast<double>(wire::float_of(bits)));
  }
  return true;
}

bool OnnxReader::read_attribute_tensor(const Field& f) {
  const bool sparse = f.number == onnx::attribute::kSparseTensor || f.number == onnx::attribute::kSparseTensors;
  Stored& stored = model_.tensors.emplace_back();
  std::string_view unused;
  return sparse ? read_sparse(f.bytes, stored, unused) : read_tensor(f.bytes, stored, unused);
}

// A body gets its number now, and is read when the body around it is complete.
std::uint32_t OnnxReader::put_aside(std::string_view bytes, NodeId owner) {
  const auto body = static_cast<std::uint32_t>(model_.bodies.size());
  model_.bodies.emplace_back().parent = top().body;
  top().inside.push_back({bytes, body, owner});
  return body;
}

}  // namespace macsim
