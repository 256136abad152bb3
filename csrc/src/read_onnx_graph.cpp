// GraphProto and FunctionProto to Graph: nodes, names, inputs, initializers, claims.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "mapped_file.hpp"
#include "onnx_fields.hpp"
#include "onnx_reader.hpp"
#include "room.hpp"

namespace macsim {

using wire::Field;
using wire::Wire;

namespace {

constexpr std::size_t kMostIds = std::size_t{1} << 31;  // of values, nodes and edges in one body
constexpr std::size_t kBatch = 64;                      // mentions that are on their way
constexpr std::string_view kNameScopes = "pkg.torch.onnx.name_scopes";
constexpr std::string_view kNamespace = "namespace";

/// A text of a message that is broken elsewhere; empty where it cannot be read.
std::string_view text_field(std::string_view bytes, const wire::Message& message, std::uint32_t number) {
  Wire wire(bytes, message);
  Field f;
  while (wire.next(f)) {
    if (f.number == number) return f.bytes;
  }
  return {};
}

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
    return fail_at(bytes, Code::too_deep, "subgraphs are nested more than " + std::to_string(kMostDepth) + " deep");
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
bool OnnxReader::count_fields(Counts& counts, std::string_view bytes, const wire::Message& message,
                              std::uint32_t node_field, std::uint32_t info_field) {
  std::size_t others = 0, infos = 0;
  Wire wire(bytes, message);
  Field f;
  while (wire.next(f)) {
    look_ahead(f.bytes);
    if (f.number == node_field) {
      ++counts.nodes;
    } else if (f.number == info_field) {
      if (infos++ == 0) counts.first_info = wire.field_at();
    } else {
      ++others;
    }
  }
  if (!done(wire)) return false;
  if (counts.nodes >= kMostIds || others >= kMostIds) return fail(Code::malformed, "a graph of more than 2^31 nodes");
  Graph& body = graph();
  make_room(body.nodes, counts.nodes);
  make_room(body.values, counts.nodes + others);
  make_room(body.stored, others);
  make_room(body.claims, infos + kBatch);
  top().names.reset(counts.nodes + others);
  return true;
}

// Where fields are small, the next ones will be read too: fetch as much again as was read so far, and not a page at a
// time. Where they are large, they are stepped over and nothing is fetched.
void OnnxReader::look_ahead(std::string_view field) {
  constexpr std::size_t small = std::size_t{1} << 14, least = std::size_t{1} << 16, most = std::size_t{1} << 21;
  if (field.data() == nullptr) return;
  const auto at = static_cast<std::size_t>(field.data() - bytes_.data());
  if (field.size() > small || run_start_ == 0) run_start_ = fetched_ = at + field.size();
  if (at < fetched_) return;
  const std::size_t read = at - run_start_;
  if (read < least) {
    fetched_ = run_start_ + least;
    return;
  }
  const std::size_t size = std::min({read, most, bytes_.size() - at});
  fetch_ahead(bytes_.substr(at, size));
  fetched_ = at + size;
}

bool OnnxReader::read_next_node(std::string_view bytes, const Counts& counts) {
  constexpr std::size_t sample = 1024;
  if (graph().nodes.size() == sample) extrapolate(counts.nodes);
  return read_node(bytes);
}

// From what the nodes so far needed to what all will; not more than the file can hold in the usual way.
void OnnxReader::extrapolate(std::size_t nodes) {
  Graph& body = graph();
  const double scale = 1.1 * static_cast<double>(nodes) / static_cast<double>(body.nodes.size());
  const auto whole = [&](std::size_t part) {
    return static_cast<std::size_t>(
        std::min(static_cast<double>(part) * scale, static_cast<double>(bytes_.size()) / 16));
  };
  make_room(body.edges, whole(body.edges.size()));
  make_room(model_.attrs, whole(model_.attrs.size()));
  make_room(model_.integers, whole(model_.integers.size()));
  make_room(model_.tensors, whole(model_.tensors.size()));
  make_room(model_.scopes, whole(model_.scopes.size()));
}

bool OnnxReader::read_graph(std::string_view bytes) {
  Counts counts;
  if (!count_fields(counts, bytes, onnx::graph::kMessage, onnx::graph::kNode, onnx::graph::kValueInfo)) return false;
  Wire wire(bytes, onnx::graph::kMessage);
  Field f;
  while (wire.next(f)) {
    switch (f.number) {
      case onnx::graph::kNode:
        if (!read_next_node(f.bytes, counts)) return false;
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
  return done(wire) && settle_mentions() && settle_initializers() &&
         read_value_infos(counts, bytes, onnx::graph::kMessage, onnx::graph::kValueInfo);
}

bool OnnxReader::read_function_body(std::string_view bytes) {
  Counts counts;
  if (!count_fields(counts, bytes, onnx::function::kMessage, onnx::function::kNode, onnx::function::kValueInfo))
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
        if (!read_next_node(f.bytes, counts)) return false;
        break;
      case onnx::function::kInput:
        if (!add_input(f.bytes, f.bytes)) return false;
        break;
      case onnx::function::kOutput:
        if (!add_output(f.bytes, f.bytes)) return false;
        break;
      default:
        break;
    }
  }
  return done(wire) && settle_mentions() &&
         read_value_infos(counts, bytes, onnx::function::kMessage, onnx::function::kValueInfo);
}

// Last, as only names that are in use get a claim.
bool OnnxReader::read_value_infos(const Counts& counts, std::string_view bytes, const wire::Message& message,
                                  std::uint32_t info_field) {
  if (counts.first_info == nullptr) return true;
  Wire wire(bytes.substr(static_cast<std::size_t>(counts.first_info - bytes.data())), message);
  Field f;
  while (wire.next(f)) {
    if (f.number != info_field) continue;
    Info info{};
    if (!read_named_type(f.bytes, info.name, info.type)) return false;
    info.hash = hash_name(info.name, hash_key_);
    top().names.prefetch(info.hash);
    infos_.push_back(info);
    if (infos_.size() == kBatch && !settle_infos()) return false;
  }
  return done(wire) && settle_infos();
}

// Looks the names up in steps, so that what each needs of memory far away is fetched for all of them at once.
template <class Pending>
void OnnxReader::warm(const std::vector<Pending>& pending) const {
  const std::vector<Value>& values = graph_->values;
  const NameTable& names = open_[depth_ - 1]->names;
  for (const Pending& p : pending) {
    const std::uint32_t id = names.likely(p.hash);
    if (id != NameTable::kEmpty) prefetch(&values[id]);
  }
  for (const Pending& p : pending) {
    const std::uint32_t id = names.likely(p.hash);
    if (id != NameTable::kEmpty) prefetch(values[id].name.data());
  }
}

bool OnnxReader::settle_infos() {
  warm(infos_);
  for (const Info& info : infos_) {
    const ValueId value = find(top(), info.name, info.hash);
    if (value != NameTable::kEmpty && !read_claim(value, info.name, info.type, {})) return false;
  }
  infos_.clear();
  return true;
}

bool OnnxReader::read_node(std::string_view bytes) {
  Graph& body = graph();
  if (body.edges.size() >= kMostIds || body.values.size() >= kMostIds) {
    return fail(Code::malformed, "a graph of more than 2^31 edges");
  }
  const auto id = static_cast<NodeId>(body.nodes.size());
  Node node;
  if (read_node_fields(bytes, node)) {
    body.nodes.push_back(node);
    if (node.outputs == 0 || !is_constant(node)) return mentions_.size() < kBatch || settle_mentions();
    if (!settle_mentions()) return false;
    store_constant(node, bytes);
    return true;
  }
  if (node.name.empty()) node.name = text_field(bytes, onnx::node::kMessage, onnx::node::kName);
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
        mention(f.bytes, kNone);
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
  if (texts.op.empty()) return fail_at(bytes, Code::malformed, "a node without an operator (op_type)");
  node.op = op_of(texts);
  node.attrs = static_cast<std::uint32_t>(model_.attrs.size()) - node.first_attr;
  node.inputs = static_cast<std::uint32_t>(body.edges.size()) - node.first_edge;
  node.outputs = static_cast<std::uint32_t>(outputs_.size());
  if (!texts.scopes.empty()) {
    node.scope = intern_scope(texts.scopes, Model::Scope::Form::name_scopes);
  } else if (!texts.space.empty()) {
    node.scope = intern_scope(texts.space, Model::Scope::Form::onnx_namespace);
  }
  for (const std::string_view name : outputs_) mention(name, id);
  return true;
}

// A model has few operators, and the latest come again: those of the default domain are found without a look-up.
std::uint32_t OnnxReader::op_of(const NodeTexts& texts) {
  if (!texts.domain.empty() || !texts.overload.empty()) return intern_op(texts.domain, texts.op, texts.overload);
  if (recent_in_ != in_force_) {
    recent_ops_.fill(kNone);
    recent_in_ = in_force_;
  }
  const auto part = static_cast<unsigned char>(texts.op.front()) * 3U + static_cast<unsigned char>(texts.op.back()) +
                    static_cast<std::uint32_t>(texts.op.size());
  std::uint32_t& recent = recent_ops_[part % recent_ops_.size()];
  if (recent == kNone || model_.ops[recent].name != texts.op) recent = intern_op({}, texts.op, {});
  return recent;
}

std::uint32_t OnnxReader::intern_op(std::string_view domain, std::string_view name, std::string_view overload) {
  const std::string_view dialect = domain.empty() || domain == "ai.onnx" ? std::string_view("onnx") : domain;
  const bool foreign = dialect.data() == domain.data();
  std::int64_t version = !foreign && in_force_->onnx >= 0 ? in_force_->onnx : version_of(dialect);
  const bool missing = version < 0;
  if (missing) version = dialect == "onnx" ? newest_opset(model_.ir_version) : 1;
  std::uint32_t hash = hash_name(name, hash_key_ + static_cast<std::uint64_t>(version));
  if (foreign) hash ^= hash_name(dialect, hash_key_) * 3U;
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

bool OnnxReader::is_constant(const Node& node) const {
  const Op& op = model_.ops[node.op];
  return op.name == "Constant" && op.dialect == "onnx" && node.attrs != 0;
}

// A Constant's output is a tensor stored in the model, whichever attribute holds it. One whose value refers to an
// attribute of the function around it has no contents here.
void OnnxReader::store_constant(const Node& node, std::string_view bytes) {
  Graph& body = graph();
  const ValueId output = body.edges[node.first_edge + node.inputs];
  if (output == kNone) return;
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
      return;
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
}

bool OnnxReader::add_input(std::string_view name, std::string_view message) {
  Graph& body = graph();
  ValueId value;
  if (name.empty()) {
    value = static_cast<ValueId>(body.values.size());
    body.values.emplace_back();
  } else {
    value = intern(name);
    if (body.values[value].producer != kNone || body.values[value].role == Role::input) {
      return fail_at(message, Code::bad_graph, "the input " + quoted(name) + " is produced by a node, or listed twice");
    }
  }
  if (body.values[value].stored == kNone) body.values[value].role = Role::input;
  body.inputs.push_back(value);
  return true;
}

bool OnnxReader::add_output(std::string_view name, std::string_view message) {
  if (name.empty()) return fail_at(message, Code::bad_graph, "an output of a graph or function without a name");
  if (!settle_mentions()) return false;  // or the name seems to be used before it is made
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
  if (!read_named_type(bytes, name, type_bytes) || !add_input(name, bytes)) return false;
  std::string number;
  std::string_view axes_of;  // sizes without a name are named after the input; only the model's inputs are free
  if (top().body == 0) {
    number = "input" + std::to_string(graph().inputs.size() - 1);
    axes_of = name.empty() || name.size() > long_name ? std::string_view(number) : name;
  }
  return read_claim(graph().inputs.back(), name, type_bytes, axes_of);
}

bool OnnxReader::read_output(std::string_view bytes) {
  std::string_view name, type_bytes;
  if (!read_named_type(bytes, name, type_bytes)) return false;
  return add_output(name, bytes) && read_claim(graph().outputs.back(), name, type_bytes, {});
}

// Of two claims the first that states a rank stays: inputs and outputs come before value_info.
bool OnnxReader::read_claim(ValueId value, std::string_view name, std::string_view bytes, std::string_view axes_of) {
  if (bytes.data() == nullptr) return true;
  std::uint32_t& claim = graph().values[value].claim;
  std::vector<Type>& claims = graph().claims;
  if (claim != kNone && claims[claim].ranked) return true;
  claim = static_cast<std::uint32_t>(claims.size());
  if (read_type(bytes, claims.emplace_back(), axes_of, 0)) return true;
  place("the type of " + quoted(name));
  return false;
}

bool OnnxReader::read_initializer(std::string_view bytes, bool sparse) {
  Graph& body = graph();
  const std::size_t index = body.stored.size();
  Stored& stored = body.stored.emplace_back();
  std::string_view name;
  if (!(sparse ? read_sparse(bytes, stored, name) : read_tensor(bytes, stored, name))) {
    if (name.empty() && !sparse) name = text_field(bytes, onnx::tensor::kMessage, onnx::tensor::kName);
    place("initializer " + (name.empty() ? std::to_string(index) : quoted(name)));
    return false;
  }
  if (name.empty()) return fail_at(bytes, Code::malformed, "an initializer without a name");
  const std::uint32_t hash = hash_name(name, hash_key_);
  top().names.prefetch(hash);
  initializers_.push_back({name, hash, static_cast<std::uint32_t>(index)});
  return initializers_.size() < kBatch || settle_initializers();
}

// Given twice: the last one counts, as in ONNX Runtime. An input with an initializer has it as its default.
bool OnnxReader::settle_initializers() {
  Graph& body = graph();
  warm(initializers_);
  for (const Initializer& initializer : initializers_) {
    const ValueId value = intern(initializer.name, initializer.hash);
    Value& held = body.values[value];
    if (held.producer != kNone) return twice(value, "an initializer");
    held.stored = initializer.stored;
    held.role = Role::weight;
  }
  initializers_.clear();
  return true;
}

}  // namespace macsim
