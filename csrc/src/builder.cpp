// A model put together call by call, walked as it grows.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/builder.hpp"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "walk.hpp"

namespace macsim {

struct Builder::Parts {
  explicit Parts(std::shared_ptr<const Registry> table)
      : registry(std::move(table)), model(std::make_shared<Model>()), walk(model, *registry, options) {}

  std::shared_ptr<const Registry> registry;
  Options options;
  std::shared_ptr<Model> model;
  Walk walk;
  std::unordered_map<std::string_view, std::string_view> texts;
  std::unordered_map<std::string, std::uint32_t> ops;
  std::unordered_map<std::string_view, std::uint32_t> scopes;
  Node node;  ///< the call that is put together

  Graph& graph() { return model->bodies.front(); }

  ValueId value(std::string_view name, Type type, Role role) {
    Graph& g = graph();
    const auto id = static_cast<ValueId>(g.values.size());
    Value value;
    value.name = name;
    value.role = role;
    if (role == Role::weight) value.stored = static_cast<std::uint32_t>(g.stored.size() - 1);
    g.values.push_back(value);
    walk.grow();
    walk.top().types[id] = std::move(type);
    return id;
  }
  void know(ValueId id, ContentsPtr contents) {
    if (contents == nullptr) return;
    Frame& top = walk.top();
    top.known[id] = static_cast<std::uint32_t>(top.contents.size());
    top.contents.push_back(std::move(contents));
  }
  Attr& attribute(std::string_view name, Attr::Kind kind) {
    Attr& attr = model->attrs.emplace_back();
    attr.name = name;
    attr.kind = kind;
    ++node.attrs;
    return attr;
  }
  // Puts the started node into the graph with so many outputs; the first of them.
  ValueId place(std::size_t outputs) {
    Graph& g = graph();
    const auto first = static_cast<ValueId>(g.values.size());
    const auto id = static_cast<NodeId>(g.nodes.size());
    node.outputs = static_cast<std::uint32_t>(outputs);
    for (std::size_t i = 0; i < outputs; ++i) {
      Value value;
      value.producer = id;
      g.edges.push_back(static_cast<ValueId>(g.values.size()));
      g.values.push_back(value);
    }
    g.nodes.push_back(node);
    ++model->node_total;
    walk.grow();
    return first;
  }
};

Builder::Builder(std::shared_ptr<const Registry> registry, std::string_view name)
    : parts_(std::make_unique<Parts>(std::move(registry))) {
  Graph& graph = parts_->model->bodies.emplace_back();
  graph.name = keep(name);
  parts_->walk.begin();
}

Builder::~Builder() = default;

std::string_view Builder::keep(std::string_view text) {
  if (text.empty()) return {};
  const auto found = parts_->texts.find(text);
  if (found != parts_->texts.end()) return found->second;
  const std::string_view kept = parts_->model->keep(std::string(text));
  parts_->texts.emplace(kept, kept);
  return kept;
}

std::uint32_t Builder::op(std::string_view dialect, std::string_view name, std::int64_t version) {
  std::string full = std::string(dialect) + "::" + std::string(name) + "@" + std::to_string(version);
  const auto [at, added] = parts_->ops.try_emplace(std::move(full), static_cast<std::uint32_t>(parts_->ops.size()));
  if (added) {
    Op op;
    op.dialect = keep(dialect);
    op.name = keep(name);
    op.version = version;
    parts_->model->ops.push_back(op);
    parts_->walk.match(op);
  }
  return at->second;
}

const Match* Builder::match(std::uint32_t op) const { return parts_->walk.match_of(op); }

std::uint32_t Builder::scope(std::string_view path) {
  const auto found = parts_->scopes.find(path);
  if (found != parts_->scopes.end()) return found->second;
  const std::string_view kept = path.empty() ? std::string_view() : parts_->model->keep(std::string(path));
  const auto number = static_cast<std::uint32_t>(parts_->scopes.size());
  parts_->scopes.emplace(kept, number);
  parts_->model->scopes.push_back({kept, Model::Scope::Form::path});
  return number;
}

std::string_view Builder::path(std::uint32_t scope) const { return parts_->model->scopes[scope].text; }

ValueId Builder::input(std::string_view name, Type type, ContentsPtr contents) {
  const std::string_view kept = keep(name);
  parts_->walk.note_symbols(type, kept);
  const ValueId id = parts_->value(kept, std::move(type), Role::input);
  parts_->graph().inputs.push_back(id);
  parts_->know(id, std::move(contents));
  return id;
}

ValueId Builder::stored(std::string_view name, Type type, bool buffer, bool frozen) {
  Stored& stored = parts_->graph().stored.emplace_back();
  stored.type = type;
  stored.buffer = buffer;
  stored.frozen = frozen;
  // Its name is its own: to look whether there is such a text already would take longer than to keep it.
  const std::string_view kept = name.empty() ? std::string_view() : parts_->model->keep(std::string(name));
  return parts_->value(kept, std::move(type), Role::weight);
}

void Builder::use(ValueId stored) { parts_->walk.use(parts_->graph().values[stored].stored); }

ValueId Builder::constant(const std::vector<Dim>& elements) {
  Contents contents;
  contents.items.reserve(elements.size());
  for (const Dim& element : elements) contents.items.push_back(Scalar::integer(element));
  const ValueId id = parts_->value({}, Type::of(DType::i64, Shape{Dim(elements.size())}), Role::activation);
  parts_->know(id, std::make_shared<const Contents>(std::move(contents)));
  return id;
}

void Builder::start(std::uint32_t op, std::uint32_t scope, std::string_view name) {
  Node& node = parts_->node;
  node = Node();
  node.op = op;
  node.scope = scope;
  node.name = keep(name);
  node.first_edge = static_cast<std::uint32_t>(parts_->graph().edges.size());
  node.first_attr = static_cast<std::uint32_t>(parts_->model->attrs.size());
}

void Builder::add(ValueId input) {
  parts_->graph().edges.push_back(input);
  ++parts_->node.inputs;
}

void Builder::attribute(std::string_view name, std::int64_t value) {
  parts_->attribute(name, Attr::Kind::integer).integer = value;
}
void Builder::attribute(std::string_view name, double value) { parts_->attribute(name, Attr::Kind::real).real = value; }
void Builder::attribute(std::string_view name, std::string_view value) {
  const std::string_view kept = keep(value);
  parts_->attribute(name, Attr::Kind::text).text = kept;
}
void Builder::attribute(std::string_view name, Span<std::int64_t> values) {
  auto& pool = parts_->model->integers;
  Attr& attr = parts_->attribute(name, Attr::Kind::integers);
  attr.first = static_cast<std::uint32_t>(pool.size());
  attr.count = static_cast<std::uint32_t>(values.size());
  pool.insert(pool.end(), values.begin(), values.end());
}
void Builder::attribute(std::string_view name, Span<double> values) {
  auto& pool = parts_->model->reals;
  Attr& attr = parts_->attribute(name, Attr::Kind::reals);
  attr.first = static_cast<std::uint32_t>(pool.size());
  attr.count = static_cast<std::uint32_t>(values.size());
  pool.insert(pool.end(), values.begin(), values.end());
}

ValueId Builder::infer(std::size_t outputs) {
  const Walk::Mark mark = parts_->walk.mark();
  const ValueId first = parts_->place(outputs);
  parts_->walk.step(0, static_cast<NodeId>(parts_->graph().nodes.size() - 1));
  const bool refused = parts_->walk.refused();  // who called it can say better what is wrong
  for (std::size_t i = 0; i < outputs; ++i) {
    const Type& type = parts_->walk.top().types[first + i];
    const bool told = !refused && type.kind == Kind::tensor && type.ranked && type.dtype != DType::unknown &&
                      std::all_of(type.shape.begin(), type.shape.end(), [](const Dim& dim) { return dim.defined(); });
    if (told) continue;
    parts_->walk.undo(mark);
    Graph& graph = parts_->graph();
    graph.nodes.pop_back();
    graph.values.resize(first);
    --parts_->model->node_total;
    parts_->walk.grow();
    drop();
    return kNone;
  }
  parts_->walk.note_times();
  return first;
}

ValueId Builder::given(std::vector<Type> outputs) {
  const ValueId first = parts_->place(outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) parts_->walk.top().types[first + i] = std::move(outputs[i]);
  parts_->walk.step(0, static_cast<NodeId>(parts_->graph().nodes.size() - 1), true);
  parts_->walk.note_times();
  return first;
}

ValueId Builder::given(Type output) {
  const ValueId id = parts_->place(1);
  parts_->walk.top().types[id] = std::move(output);
  parts_->walk.step(0, static_cast<NodeId>(parts_->graph().nodes.size() - 1), true);
  parts_->walk.note_times();
  return id;
}

void Builder::within(const Count& times, Trust floor, std::string_view because, const Count& weight_times) {
  Frame& top = parts_->walk.top();
  top.times = times;
  top.weight_times = weight_times.is(0) ? times : weight_times;
  top.floor = floor;
  top.because = keep(because);
}

namespace {
void mark(std::vector<Stretch>& stretches, NodeId here, bool on, bool whole) {
  if (on) {
    stretches.push_back({here, kNone, whole});
  } else if (!stretches.empty()) {
    stretches.back().end = here;
  }
}
}  // namespace

void Builder::detach(bool on) { mark(parts_->walk.found().detached, static_cast<NodeId>(calls()), on, false); }
void Builder::checkpoint(bool on, bool whole) {
  mark(parts_->walk.found().checkpointed, static_cast<NodeId>(calls()), on, whole);
}

void Builder::rewritten(ValueId old, ValueId now) {
  parts_->walk.found().rewritten.push_back({static_cast<NodeId>(calls() - 1), old, now});
}

void Builder::released(ValueId value) {
  parts_->walk.found().released.push_back({static_cast<NodeId>(calls()), value});
}

void Builder::drop() {
  parts_->graph().edges.resize(parts_->node.first_edge);
  parts_->model->attrs.resize(parts_->node.first_attr);
}

const Type& Builder::type(ValueId value) const { return parts_->walk.top().types[value]; }

ContentsPtr Builder::contents(ValueId value) const {
  const Frame& top = parts_->walk.top();
  return top.known[value] == kNone ? nullptr : top.contents[top.known[value]];
}

void Builder::symbol(std::string_view name, std::string_view why) { parts_->walk.note_symbol(name, why); }

void Builder::remark(Code code, std::string text) {
  parts_->walk.leave();
  parts_->walk.remark(code, std::move(text));
}

void Builder::assume_not_negative(const Expr& e) { (void)parts_->walk.call().assume_not_negative(e); }

bool Builder::repeated() const noexcept { return parts_->walk.repeated(); }

std::size_t Builder::calls() const noexcept { return parts_->graph().nodes.size(); }

Report Builder::finish(const std::vector<ValueId>& outputs) {
  within(1, Trust::exact, {});
  parts_->graph().outputs = outputs;
  parts_->walk.finish_diagnostics();
  return report_of(parts_->walk);
}

}  // namespace macsim
