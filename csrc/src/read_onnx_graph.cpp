// GraphProto and FunctionProto to Graph: nodes, names, inputs, initializers, claims.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "onnx_fields.hpp"
#include "onnx_reader.hpp"

namespace macsim {

using wire::Field;
using wire::Wire;

namespace {

constexpr std::size_t kMostIds = std::size_t{1} << 31;  // of values, nodes and edges in one body
constexpr std::string_view kNameScopes = "pkg.torch.onnx.name_scopes";
constexpr std::string_view kNamespace = "namespace";

}  // namespace

// Reads a body and, one after the other, all bodies inside it.
bool OnnxReader::read_bodies(std::string_view bytes, std::uint32_t body) {
  depth_ = 0;
  bool good = read_open(bytes, body, 0);
  while (good && depth_ != 0) {
    Open& open = top();
    if (open.next < open.inside.size()) {
      const Waiting waiting = open.inside[open.next++];
      good = read_open(waiting.bytes, waiting.body, waiting.owner);
    } else {
      good = finish_order();
      if (good && --depth_ != 0) graph_ = &model_.bodies[top().body];
    }
  }
  if (good) return true;
  for (; depth_ > 1; --depth_) {
    const Graph& around = model_.bodies[open_[depth_ - 2]->body];
    if (depth_ <= 4) place("in a body of " + node_text(around, top().owner));
  }
  return false;
}

bool OnnxReader::read_open(std::string_view bytes, std::uint32_t body, NodeId owner) {
  if (depth_ == kMostDepth) {
    return fail_at(bytes.data(), Code::too_deep,
                   "subgraphs are nested more than " + std::to_string(kMostDepth) + " deep");
  }
  if (open_.size() == depth_) open_.push_back(std::make_unique<Open>());
  ++depth_;
  Open& open = top();
  open.body = body;
  open.owner = owner;
  open.inside.clear();
  open.next = 0;
  open.check_order = open.unsorted = false;
  graph_ = &model_.bodies[body];
  const bool function = body != 0 && graph_->parent == kNone;
  return (function ? read_function_body(bytes) : read_graph(bytes)) && link_names();
}

// Counts before reading: vectors that grow by doubling would copy everything once more and hold it twice.
bool OnnxReader::make_room(Counts& counts, std::string_view bytes, const wire::Message& message,
                           std::uint32_t node_field, std::uint32_t info_field) {
  std::size_t nodes = 0, others = 0, infos = 0;
  Wire wire(bytes, message);
  Field f;
  while (wire.next(f)) {
    if (f.number == node_field) {
      ++nodes;
    } else if (f.number == info_field) {
      if (infos++ == 0) counts.first_info = wire.field_at();
    } else {
      ++others;
    }
  }
  if (!done(wire)) return false;
  if (nodes >= kMostIds || others >= kMostIds) return fail(Code::malformed, "a graph of more than 2^31 nodes");
  graph().nodes.reserve(nodes);
  graph().values.reserve(nodes + others);
  graph().claims.reserve(infos);
  top().names.reset(nodes + others);
  return true;
}

bool OnnxReader::read_graph(std::string_view bytes) {
  Counts counts;
  if (!make_room(counts, bytes, onnx::graph::kMessage, onnx::graph::kNode, onnx::graph::kValueInfo)) return false;
  Wire wire(bytes, onnx::graph::kMessage);
  Field f;
  while (wire.next(f)) {
    switch (f.number) {
      case onnx::graph::kNode:
        if (!read_node(f.bytes)) return false;
        break;
      case onnx::graph::kName:
        graph().name = f.bytes;
        break;
      case onnx::graph::kInitializer:
        if (!read_initializer(f.bytes, false)) return false;
        break;
      case onnx::graph::kSparseInitializer:
        if (!read_initializer(f.bytes, true)) return false;
        break;
      case onnx::graph::kInput:
        if (!read_input(f.bytes)) return false;
        break;
      case onnx::graph::kOutput:
        if (!read_output(f.bytes)) return false;
        break;
      default:
        break;
    }
  }
  return done(wire) && read_value_infos(counts, bytes, onnx::graph::kMessage, onnx::graph::kValueInfo);
}

bool OnnxReader::read_function_body(std::string_view bytes) {
  Counts counts;
  if (!make_room(counts, bytes, onnx::function::kMessage, onnx::function::kNode, onnx::function::kValueInfo))
    return false;
  Function& function = model_.functions[top().body - 1];  // their bodies come right after the model's graph
  Wire wire(bytes, onnx::function::kMessage);
  Field f;
  function.first_default = static_cast<std::uint32_t>(model_.attrs.size());
  while (wire.next(f)) {
    if (f.number != onnx::function::kAttributeProto) continue;
    if (!read_attribute(f.bytes, 0)) return false;
    ++function.defaults;
  }
  wire = Wire(bytes, onnx::function::kMessage);
  while (wire.next(f)) {
    switch (f.number) {
      case onnx::function::kNode:
        if (!read_node(f.bytes)) return false;
        break;
      case onnx::function::kInput:
        if (!add_input(f.bytes, wire.field_at())) return false;
        break;
      case onnx::function::kOutput:
        if (!add_output(f.bytes, wire.field_at())) return false;
        break;
      default:
        break;
    }
  }
  return done(wire) && read_value_infos(counts, bytes, onnx::function::kMessage, onnx::function::kValueInfo);
}

// Last, as only names that are in use get a claim.
bool OnnxReader::read_value_infos(const Counts& counts, std::string_view bytes, const wire::Message& message,
                                  std::uint32_t info_field) {
  if (counts.first_info == nullptr) return true;
  Wire wire(bytes.substr(static_cast<std::size_t>(counts.first_info - bytes.data())), message);
  Field f;
  while (wire.next(f)) {
    if (f.number == info_field && !read_value_info(f.bytes)) return false;
  }
  return done(wire);
}

bool OnnxReader::read_node(std::string_view bytes) {
  Graph& body = graph();
  if (body.edges.size() >= kMostIds || body.values.size() >= kMostIds) {
    return fail(Code::malformed, "a graph of more than 2^31 edges");
  }
  const auto id = static_cast<NodeId>(body.nodes.size());
  Node node;
  if (read_node_fields(bytes, node) && (node.outputs == 0 || store_constant(node, bytes))) {
    body.nodes.push_back(node);
    return true;
  }
  // The name may come after what is broken, or be broken itself.
  Wire wire(bytes, onnx::node::kMessage);
  Field f;
  while (node.name.empty() && wire.next(f)) {
    if (f.number == onnx::node::kName) node.name = f.bytes;
  }
  place("node " + std::to_string(id) + (node.name.empty() ? "" : " (" + quoted(node.name) + ")"));
  return false;
}

bool OnnxReader::read_node_fields(std::string_view bytes, Node& node) {
  Graph& body = graph();
  const auto id = static_cast<NodeId>(body.nodes.size());
  node.first_edge = static_cast<std::uint32_t>(body.edges.size());
  node.first_attr = static_cast<std::uint32_t>(model_.attrs.size());
  outputs_.clear();
  NodeTexts texts;
  Wire wire(bytes, onnx::node::kMessage);
  Field f;
  while (wire.next(f)) {
    switch (f.number) {
      case onnx::node::kInput:
        body.edges.push_back(f.bytes.empty() ? kNone : intern(f.bytes));
        break;
      case onnx::node::kOutput:
        outputs_.push_back(f.bytes);
        break;
      case onnx::node::kName:
        node.name = f.bytes;
        break;
      case onnx::node::kOpType:
        texts.op = f.bytes;
        break;
      case onnx::node::kAttribute:
        if (!read_attribute(f.bytes, id)) return false;
        break;
      case onnx::node::kDomain:
        texts.domain = f.bytes;
        break;
      case onnx::node::kOverload:
        texts.overload = f.bytes;
        break;
      case onnx::node::kMetadata:
        if (!read_metadata(f.bytes, texts)) return false;
        break;
      default:
        break;
    }
  }
  if (!done(wire)) return false;
  if (texts.op.empty()) return fail_at(bytes.data(), Code::malformed, "a node without an operator (op_type)");
  node.op = intern_op(texts.domain, texts.op, texts.overload);
  node.attrs = static_cast<std::uint32_t>(model_.attrs.size()) - node.first_attr;
  node.inputs = static_cast<std::uint32_t>(body.edges.size()) - node.first_edge;
  node.outputs = static_cast<std::uint32_t>(outputs_.size());
  if (!texts.scopes.empty()) {
    node.scope = intern_scope(texts.scopes, Model::Scope::Form::name_scopes);
  } else if (!texts.space.empty()) {
    node.scope = intern_scope(texts.space, Model::Scope::Form::onnx_namespace);
  }
  return add_outputs(id);
}

bool OnnxReader::add_outputs(NodeId id) {
  Graph& body = graph();
  for (const std::string_view name : outputs_) {
    if (name.empty()) {
      body.edges.push_back(kNone);
      continue;
    }
    const std::size_t before = body.values.size();
    const ValueId value = intern(name);
    Value& made = body.values[value];
    if (value != before) {
      if (made.producer != kNone || made.stored != kNone || made.role == Role::input) return twice(value);
      top().check_order = true;
    }
    made.producer = id;
    body.edges.push_back(value);
  }
  return true;
}

bool OnnxReader::twice(ValueId value) {
  const Value& made = graph().values[value];
  const std::string first = made.producer != kNone ? "node " + std::to_string(made.producer)
                            : made.stored != kNone ? std::string("an initializer")
                                                   : std::string("an input");
  return fail(Code::bad_graph, "the name " + quoted(made.name) + " is produced twice; the first time by " + first);
}

ValueId OnnxReader::intern(std::string_view name) {
  std::vector<Value>& values = graph_->values;
  const auto fresh = static_cast<ValueId>(values.size());
  const ValueId id = top().names.find_or_add(hash_name(name, hash_key_), fresh,
                                             [&](std::uint32_t other) { return values[other].name == name; });
  if (id == fresh) values.emplace_back().name = name;
  return id;
}

ValueId OnnxReader::find(const Open& open, std::string_view name, std::uint32_t hash) const {
  const std::vector<Value>& values = model_.bodies[open.body].values;
  return open.names.find(hash, [&](std::uint32_t other) { return values[other].name == name; });
}

std::uint32_t OnnxReader::intern_op(std::string_view domain, std::string_view name, std::string_view overload) {
  const std::string_view dialect = domain.empty() || domain == "ai.onnx" ? std::string_view("onnx") : domain;
  const bool usual = dialect.data() != domain.data() && in_force_->onnx >= 0;
  std::int64_t version = usual ? in_force_->onnx : version_of(dialect);
  const bool missing = version < 0;
  if (missing) version = dialect == "onnx" ? newest_opset(model_.ir_version) : 1;
  std::uint32_t hash = hash_name(name, hash_key_ + static_cast<std::uint64_t>(version));
  if (!domain.empty()) hash ^= hash_name(dialect, hash_key_) * 3U;
  const auto fresh = static_cast<std::uint32_t>(model_.ops.size());
  const std::uint32_t id = op_table_.find_or_add(hash, fresh, [&](std::uint32_t other) {
    const Op& op = model_.ops[other];
    return op.name == name && op.version == version && op.dialect == dialect && op.overload == overload;
  });
  if (id == fresh) {
    model_.ops.push_back({dialect, name, version, overload, kNone});
    if (missing && (dialect != "onnx" || model_.ir_version >= 3)) missing_.push_back(id);
  }
  return id;
}

std::uint32_t OnnxReader::intern_scope(std::string_view text, Model::Scope::Form form) {
  const auto fresh = static_cast<std::uint32_t>(model_.scopes.size());
  const auto same = [&](std::uint32_t other) {
    return model_.scopes[other].text == text && model_.scopes[other].form == form;
  };
  const std::uint32_t id = scope_table_.find_or_add(hash_name(text, hash_key_), fresh, same);
  if (id == fresh) model_.scopes.push_back({text, form});
  return id;
}

bool OnnxReader::read_metadata(std::string_view bytes, NodeTexts& texts) {
  std::string_view key, value;
  Wire wire(bytes, onnx::entry::kMessage);
  Field f;
  while (wire.next(f)) {
    if (f.number == onnx::entry::kKey) key = f.bytes;
    if (f.number == onnx::entry::kValue) value = f.bytes;
  }
  if (!done(wire)) return false;
  if (key == kNameScopes) texts.scopes = value;
  if (key == kNamespace) texts.space = value;
  return true;
}

// A Constant's output is a tensor stored in the model, whichever attribute holds it. One whose value refers to an
// attribute of the function around it has no contents here.
bool OnnxReader::store_constant(const Node& node, std::string_view bytes) {
  const Op& op = model_.ops[node.op];
  if (op.name != "Constant" || op.dialect != "onnx" || node.attrs == 0) return true;
  Graph& body = graph();
  const ValueId output = body.edges[node.first_edge + node.inputs];
  if (output == kNone) return true;
  const Attr& attr = model_.attrs[node.first_attr];
  Stored stored;
  switch (attr.kind) {
    case Attr::Kind::tensor:
      stored = model_.tensors[attr.first];
      break;
    case Attr::Kind::integer:
      stored.type = Type::of(DType::i64, {});
      break;
    case Attr::Kind::real:
      stored.type = Type::of(DType::f32, {});
      break;
    case Attr::Kind::text:
      stored.type = Type::of(DType::string, {});
      break;
    case Attr::Kind::integers:
      stored.type = Type::of(DType::i64, {Dim(attr.count)});
      break;
    case Attr::Kind::reals:
      stored.type = Type::of(DType::f32, {Dim(attr.count)});
      break;
    case Attr::Kind::texts:
      stored.type = Type::of(DType::string, {Dim(attr.count)});
      break;
    default:
      return true;
  }
  if (attr.kind != Attr::Kind::tensor && stored.type.dtype != DType::string) {
    stored.encoding = Encoding::attribute;
    Wire wire(bytes, onnx::node::kMessage);
    Field f;
    while (wire.next(f)) {
      if (f.number != onnx::node::kAttribute) continue;
      stored.bytes = f.bytes;
      break;
    }
  }
  body.values[output].stored = static_cast<std::uint32_t>(body.stored.size());
  body.values[output].role = Role::weight;
  body.stored.push_back(std::move(stored));
  return true;
}

bool OnnxReader::add_input(std::string_view name, const char* at) {
  Graph& body = graph();
  ValueId value;
  if (name.empty()) {
    value = static_cast<ValueId>(body.values.size());
    body.values.emplace_back();
  } else {
    value = intern(name);
    if (body.values[value].producer != kNone || body.values[value].role == Role::input) {
      return fail_at(at, Code::bad_graph, "the input " + quoted(name) + " is produced by a node, or listed twice");
    }
  }
  if (body.values[value].stored == kNone) body.values[value].role = Role::input;
  body.inputs.push_back(value);
  return true;
}

bool OnnxReader::add_output(std::string_view name, const char* at) {
  if (name.empty()) return fail_at(at, Code::bad_graph, "an output of a graph or function without a name");
  graph().outputs.push_back(intern(name));
  return true;
}

bool OnnxReader::read_named_type(std::string_view bytes, std::string_view& name, std::string_view& type) {
  Wire wire(bytes, onnx::value_info::kMessage);
  Field f;
  while (wire.next(f)) {
    if (f.number == onnx::value_info::kName) name = f.bytes;
    if (f.number == onnx::value_info::kType) type = f.bytes;
  }
  return done(wire);
}

bool OnnxReader::read_input(std::string_view bytes) {
  constexpr std::size_t long_name = 256;
  std::string_view name, type_bytes;
  if (!read_named_type(bytes, name, type_bytes) || !add_input(name, bytes.data())) return false;
  std::string number;
  std::string_view axes_of;  // sizes without a name are named after the input; only the model's inputs are free
  if (top().body == 0) {
    number = "input" + std::to_string(graph().inputs.size() - 1);
    axes_of = name.empty() || name.size() > long_name ? std::string_view(number) : name;
  }
  Type type;
  if (type_bytes.data() == nullptr) return true;
  if (!read_type(type_bytes, type, axes_of, 0)) {
    place("input " + quoted(name));
    return false;
  }
  claim(graph().inputs.back(), std::move(type));
  return true;
}

bool OnnxReader::read_output(std::string_view bytes) {
  std::string_view name, type_bytes;
  if (!read_named_type(bytes, name, type_bytes)) return false;
  return add_output(name, bytes.data()) && read_claim(graph().outputs.back(), name, type_bytes);
}

bool OnnxReader::read_value_info(std::string_view bytes) {
  std::string_view name, type_bytes;
  if (!read_named_type(bytes, name, type_bytes)) return false;
  const ValueId value = find(top(), name, hash_name(name, hash_key_));
  return value == NameTable::kEmpty || read_claim(value, name, type_bytes);
}

bool OnnxReader::read_claim(ValueId value, std::string_view name, std::string_view bytes) {
  if (bytes.data() == nullptr) return true;
  const std::uint32_t earlier = graph().values[value].claim;
  if (earlier != kNone && graph().claims[earlier].ranked) return true;
  Type type;
  if (!read_type(bytes, type, {}, 0)) {
    place("the type of " + quoted(name));
    return false;
  }
  claim(value, std::move(type));
  return true;
}

void OnnxReader::claim(ValueId value, Type type) {
  std::uint32_t& slot = graph().values[value].claim;
  if (slot == kNone) {
    slot = static_cast<std::uint32_t>(graph().claims.size());
    graph().claims.push_back(std::move(type));
  } else if (type.ranked || graph().claims[slot].dtype == DType::unknown) {
    graph().claims[slot] = std::move(type);
  }
}

bool OnnxReader::read_initializer(std::string_view bytes, bool sparse) {
  Graph& body = graph();
  Stored stored;
  std::string_view name;
  if (!(sparse ? read_sparse(bytes, stored, name) : read_tensor(bytes, stored, name))) {
    place("initializer " + (name.empty() ? std::to_string(body.stored.size()) : quoted(name)));
    return false;
  }
  if (name.empty()) return fail_at(bytes.data(), Code::malformed, "an initializer without a name");
  const ValueId value = intern(name);
  Value& held = body.values[value];
  if (held.producer != kNone) return twice(value);
  // Given twice: the last one counts, as in ONNX Runtime. An input with an initializer has it as its default.
  if (held.stored == kNone) {
    held.stored = static_cast<std::uint32_t>(body.stored.size());
    body.stored.push_back(std::move(stored));
  } else {
    body.stored[held.stored] = std::move(stored);
  }
  held.role = Role::weight;
  return true;
}

}  // namespace macsim
