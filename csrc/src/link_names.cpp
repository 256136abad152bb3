// Names and what they stand for: their ids, values captured from the bodies around, and the order of nodes.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "onnx_reader.hpp"

namespace macsim {

// Names get their ids some nodes later: until then the table's slots are on their way into the cache.
void OnnxReader::mention(std::string_view name, NodeId producer) {
  const auto edge = static_cast<std::uint32_t>(graph_->edges.size());
  graph_->edges.push_back(kNone);
  if (name.empty()) return;  // an optional that is left out
  const std::uint32_t hash = hash_name(name, hash_key_);
  top().names.prefetch(hash);
  mentions_.push_back({name, hash, edge, producer});
}

bool OnnxReader::settle_mentions() {
  Graph& body = graph();
  for (const Mention& mention : mentions_) {
    const std::size_t before = body.values.size();
    const ValueId value = intern(mention.name, mention.hash);
    body.edges[mention.edge] = value;
    if (mention.producer != kNone && !produce(value, value == before, mention.producer)) return false;
  }
  mentions_.clear();
  return true;
}

bool OnnxReader::produce(ValueId value, bool fresh, NodeId producer) {
  Value& made = graph().values[value];
  if (!fresh) {
    if (made.producer != kNone || made.stored != kNone || made.role == Role::input) {
      return twice(value, node_text(graph(), producer));
    }
    top().check_order = true;
  }
  made.producer = producer;
  return true;
}

bool OnnxReader::twice(ValueId value, const std::string& again) {
  const Value& made = graph().values[value];
  const std::string first = made.producer != kNone ? node_text(graph(), made.producer)
                            : made.stored != kNone ? std::string("an initializer")
                                                   : std::string("an input");
  return fail(Code::bad_graph,
              "the name " + quoted(made.name) + " is produced twice: by " + first + " and by " + again);
}

ValueId OnnxReader::intern(std::string_view name, std::uint32_t hash) {
  std::vector<Value>& values = graph_->values;
  const auto fresh = static_cast<ValueId>(values.size());
  const ValueId id =
      top().names.find_or_add(hash, fresh, [&](std::uint32_t other) { return values[other].name == name; });
  if (id == fresh) {
    Value made;
    made.name = name;
    values.push_back(made);
  }
  return id;
}

ValueId OnnxReader::find(const Open& open, std::string_view name, std::uint32_t hash) const {
  const std::vector<Value>& values = model_.bodies[open.body].values;
  return open.names.find(hash, [&](std::uint32_t other) { return values[other].name == name; });
}

// Every name that is used has to be made by something, here or in a body around.
bool OnnxReader::link_names() {
  for (std::size_t i = 0; i < graph().values.size(); ++i) {
    const Value& value = graph().values[i];
    if (value.producer != kNone || value.role != Role::activation) continue;
    if (!capture(static_cast<ValueId>(i))) return false;
  }
  return true;
}

// Takes a value from the nearest body around that has it, through all bodies between.
bool OnnxReader::capture(ValueId value) {
  const std::string_view name = graph().values[value].name;
  const std::uint32_t hash = hash_name(name, hash_key_);
  std::size_t level = depth_ - 1;
  ValueId outer = NameTable::kEmpty;
  while (level != 0 && outer == NameTable::kEmpty) outer = find(*open_[--level], name, hash);
  if (outer == NameTable::kEmpty) return dangling(value);

  passed_on_ += depth_ - 2 - level;
  if (passed_on_ > (std::size_t{1} << 20) + bytes_.size() / 16) {
    return fail(Code::too_deep, "too many names are passed on through nested subgraphs");
  }
  for (++level; level < depth_; ++level) {
    Open& around = *open_[level - 1];
    Open& here = *open_[level];
    Graph& body = model_.bodies[here.body];
    const NodeId producer = model_.bodies[around.body].values[outer].producer;
    around.unsorted = around.unsorted || (producer != kNone && producer >= here.owner);
    ValueId inner = value;
    if (level + 1 != depth_) {
      inner = static_cast<ValueId>(body.values.size());
      body.values.emplace_back().name = name;
      here.names.find_or_add(hash, inner, [](std::uint32_t) { return false; });
    }
    body.values[inner].role = Role::capture;
    body.captures.push_back({inner, outer});
    outer = inner;
  }
  return true;
}

bool OnnxReader::dangling(ValueId value) {
  const Graph& body = graph();
  const std::string name = quoted(body.values[value].name);
  const std::string reason = ", which no node, input or initializer provides";
  for (std::size_t n = 0; n < body.nodes.size(); ++n) {
    const Span<ValueId> inputs = body.inputs_of(body.nodes[n]);
    const auto* const at = std::find(inputs.begin(), inputs.end(), value);
    if (at == inputs.end()) continue;
    return fail(Code::bad_graph, node_text(body, static_cast<NodeId>(n)) + ": input " +
                                     std::to_string(at - inputs.begin()) + " is " + name + reason);
  }
  return fail(Code::bad_graph, "an output of the graph is " + name + reason);
}

std::string OnnxReader::node_text(const Graph& graph, NodeId id) const {
  if (id >= graph.nodes.size()) return "node " + std::to_string(id);
  const Node& node = graph.nodes[id];
  const std::string op(model_.ops[node.op].name);
  return "node " + std::to_string(id) + " (" + (node.name.empty() ? op : quoted(node.name) + ", " + op) + ")";
}

bool OnnxReader::finish_order() {
  const Open& open = top();
  if (!open.unsorted && (!open.check_order || in_order())) return true;
  return sort_nodes();
}

// Captures are not looked at: they were when they were made.
bool OnnxReader::in_order() const {
  for (std::size_t n = 0; n < graph_->nodes.size(); ++n) {
    for (const ValueId input : graph_->inputs_of(graph_->nodes[n])) {
      if (input == kNone) continue;
      const NodeId producer = graph_->values[input].producer;
      if (producer != kNone && producer >= n) return false;
    }
  }
  return true;
}

/// Calls visit(producer) for each node that must run before this one: of its inputs, and of what its bodies capture.
template <class Visit>
void OnnxReader::visit_producers(NodeId id, Visit visit) const {
  const auto value = [&](ValueId v) {
    if (v != kNone && graph_->values[v].producer != kNone) visit(graph_->values[v].producer);
  };
  for (const ValueId input : graph_->inputs_of(graph_->nodes[id])) value(input);
  const std::vector<Waiting>& inside = open_[depth_ - 1]->inside;
  auto body = std::lower_bound(inside.begin(), inside.end(), id,
                               [](const Waiting& waiting, NodeId owner) { return waiting.owner < owner; });
  for (; body != inside.end() && body->owner == id; ++body) {
    for (const Graph::Capture& captured : model_.bodies[body->body].captures) value(captured.outer);
  }
}

// Depth first, in the file's order: every node comes right after what it needs, and stays where it is if it can.
bool OnnxReader::sort_nodes() {
  Graph& body = graph();
  const std::size_t count = body.nodes.size();
  enum : std::uint8_t { unseen, open, closed };
  std::vector<std::uint8_t> state(count, unseen);
  std::vector<NodeId> order, todo;
  order.reserve(count);
  for (std::size_t root = 0; root < count; ++root) {
    todo.push_back(static_cast<NodeId>(root));
    while (!todo.empty()) {
      const NodeId id = todo.back();
      if (state[id] == unseen) {
        state[id] = open;  // it stays on the stack, below what it needs
        const std::size_t mark = todo.size();
        NodeId looped = kNone;
        visit_producers(id, [&](NodeId needed) {
          if (state[needed] == open) looped = needed;
          if (state[needed] == unseen) todo.push_back(needed);
        });
        if (looped != kNone) {
          std::vector<NodeId> path;
          for (std::size_t i = mark; path.empty() || path.back() != looped;) {
            const NodeId at = todo[--i];
            if (state[at] != open) continue;
            state[at] = closed;  // a node may lie on the stack more than once
            path.push_back(at);
          }
          return cycle(path);
        }
        std::reverse(todo.begin() + static_cast<std::ptrdiff_t>(mark), todo.end());
        continue;
      }
      todo.pop_back();
      if (state[id] == open) {
        state[id] = closed;
        order.push_back(id);
      }
    }
  }
  put_in_order(order);
  return true;
}

void OnnxReader::put_in_order(const std::vector<NodeId>& order) {
  Graph& body = graph();
  for (std::size_t n = 0; n < order.size(); ++n) {
    bool early = false;
    visit_producers(static_cast<NodeId>(n), [&](NodeId needed) { early = early || needed > n; });
    if (early && unsorted_nodes_++ == 0) first_unsorted_ = node_text(body, static_cast<NodeId>(n));
  }
  std::vector<NodeId> now_at(order.size());
  std::vector<Node> sorted;
  sorted.reserve(order.size());
  for (const NodeId old : order) {
    now_at[old] = static_cast<NodeId>(sorted.size());
    sorted.push_back(body.nodes[old]);
  }
  body.nodes.swap(sorted);
  for (Value& value : body.values) {
    if (value.producer != kNone) value.producer = now_at[value.producer];
  }
}

// `path`: each node is needed by the next one, and the last by the first.
bool OnnxReader::cycle(const std::vector<NodeId>& path) {
  constexpr std::size_t most = 6;  // nodes that are told
  std::string text = "the nodes form a cycle: " + node_text(graph(), path.back());
  for (std::size_t i = 1; i < path.size() && i < most; ++i) {
    text += " needs " + node_text(graph(), path[path.size() - 1 - i]) + ", which";
  }
  text += path.size() > most ? " needs others, which need" : " needs";
  return fail(Code::bad_graph, text + " node " + std::to_string(path.back()));
}

}  // namespace macsim
