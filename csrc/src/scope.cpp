// Where a row belongs: the modules around a node, read from the file's metadata or from the node's name.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "walk.hpp"

namespace macsim {
namespace {

// torch's exporter puts this in the place of the modules of a node that it made itself.
constexpr std::string_view kNobody = "_empty_nn_module_stack_from_metadata_hook";

void append(std::string& scope, std::string_view part) {
  if (part.empty()) return;
  if (!scope.empty()) scope += '.';
  scope += part;
}

// torch writes a Python list of qualified names, outermost first, the node's own last: ['', 'layers.0', 'linear_1'].
std::string from_name_scopes(std::string_view text) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char quote = text[i];
    if (quote != '\'' && quote != '"') continue;
    std::string name;
    for (++i; i < text.size() && text[i] != quote; ++i) {
      if (text[i] == '\\' && i + 1 < text.size()) ++i;
      name += text[i];
    }
    if (name != kNobody) names.push_back(std::move(name));
  }
  if (names.size() < 2) return {};
  return names[names.size() - 2];
}

// ": pkg.Model/layers.0: pkg.Block/linear_1: aten.linear.default"; the last part is the node's own.
std::string from_namespace(std::string_view text) {
  std::string scope;
  while (true) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) break;
    const std::string_view part = text.substr(0, slash);
    text.remove_prefix(slash + 1);
    const std::string_view name = part.substr(0, part.find(':'));
    if (!name.empty() && name != kNobody) scope = std::string(name);  // names are qualified: the innermost says it all
  }
  return scope;
}

// "/layers/layers.0/attn/MatMul" is in layers.0.attn: the last part is the node's own, and a part that the next one
// repeats with a dot is a container.
std::string from_path(std::string_view text) {
  std::string scope;
  if (!text.empty() && text.front() == '/') text.remove_prefix(1);
  std::size_t slash = text.find('/');
  while (slash != std::string_view::npos) {
    const std::string_view part = text.substr(0, slash);
    text.remove_prefix(slash + 1);
    slash = text.find('/');
    const std::string_view next = text.substr(0, slash);
    const bool repeated = slash != std::string_view::npos && next.size() > part.size() && next.starts_with(part) &&
                          next[part.size()] == '.';
    if (!repeated) append(scope, part);
  }
  return scope;
}

}  // namespace

std::string scope_of(const Analysis& found, std::size_t row) {
  std::uint32_t at = found.frame[row];
  const Node* node = &found.frames[at].graph->nodes[found.node[row]];
  std::string scope;
  while (true) {
    std::string here;
    if (node->scope != kNone) {
      const Model::Scope& stated = found.model->scopes[node->scope];
      switch (stated.form) {
        case Model::Scope::Form::name_scopes:
          here = from_name_scopes(stated.text);
          break;
        case Model::Scope::Form::onnx_namespace:
          here = from_namespace(stated.text);
          break;
        case Model::Scope::Form::path:
          here = std::string(stated.text);
          break;
      }
    }
    if (here.empty()) here = from_path(node->name);
    const Frame& frame = found.frames[at];
    if (!scope.empty()) append(here, scope);
    scope = std::move(here);
    if (frame.caller == nullptr) return scope;
    // A body is inside its node; a function is a module of its node's name.
    if (frame.function != nullptr) {
      const std::string_view name = frame.caller->name.empty() ? frame.function->name : frame.caller->name;
      std::string_view last = name.substr(name.rfind('/') == std::string_view::npos ? 0 : name.rfind('/') + 1);
      std::string inside(last);
      append(inside, scope);
      scope = std::move(inside);
    }
    node = frame.caller;
    at = frame.outer;
  }
}

std::string path_of(const std::deque<Frame>& frames, const Model& model, std::uint32_t frame, NodeId id) {
  const Graph& graph = *frames[frame].graph;
  const Node& node = graph.nodes[id];
  const auto name_of_node = [&](const Node& n, NodeId number) {
    if (!n.name.empty()) return std::string(n.name);
    std::string name = std::string(model.ops[n.op].name) + "_" + std::to_string(number);
    const bool stated = n.scope != kNone && model.scopes[n.scope].form == Model::Scope::Form::path;
    return stated && !model.scopes[n.scope].text.empty() ? std::string(model.scopes[n.scope].text) + "/" + name : name;
  };
  std::string path = name_of_node(node, id);
  std::uint32_t at = frame;
  while (frames[at].caller != nullptr) {
    const Frame& inner = frames[at];
    const Graph& around = *frames[inner.outer].graph;
    const auto number = static_cast<NodeId>(inner.caller - around.nodes.data());
    const std::string caller = name_of_node(*inner.caller, number);
    path = inner.function != nullptr ? caller + "/" + path : caller + "/" + inner.label + "/" + path;
    at = inner.outer;
  }
  return path;
}

}  // namespace macsim
