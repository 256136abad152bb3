// What the user gives with a model: shapes, sizes and contents of inputs, checked against what the file states.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/support.hpp"
#include "walk.hpp"

namespace macsim {
namespace {

std::string quoted_names(const Graph& graph) {
  std::string out;
  std::size_t told = 0;
  for (const ValueId id : graph.inputs) {
    if (graph.values[id].stored != kNone) continue;
    out += out.empty() ? "'" : ", '";
    out += std::string(graph.values[id].name) + "'";
    if (++told == 20) return out + ", ...";
  }
  return out.empty() ? "none" : out;
}

}  // namespace

Status Walk::prepare_inputs(Frame& frame) {
  const Graph& graph = *frame.graph;
  std::map<std::string_view, ValueId> by_name;
  if (!options_.inputs.empty()) {
    for (const ValueId id : graph.inputs) by_name.emplace(graph.values[id].name, id);
    for (const auto& [name, given] : options_.inputs) {
      const auto at = by_name.find(name);
      if (at == by_name.end()) {
        return {Code::bad_request, "the model has no input '" + name + "'; its inputs are " + quoted_names(graph)};
      }
      if (Status status = give(frame, at->second, given); !status) return status;
    }
  }
  for (const auto& [name, size] : options_.dims) {
    if (size < 0) return {Code::bad_request, "the size of '" + name + "' is negative: " + std::to_string(size)};
  }
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.values[id];
    const bool given = options_.inputs.find(value.name) != options_.inputs.end();
    if (value.stored != kNone && !given) continue;
    Type& type = frame.types[id];
    if (!(given && type.ranked) && value.claim != kNone) type = graph.claims[value.claim];
    type = resolved(type, graph, value.name);
    const auto with = options_.inputs.find(value.name);
    if (with != options_.inputs.end() && with->second.contents != nullptr) {
      frame.known[id] = static_cast<std::uint32_t>(frame.contents.size());
      frame.contents.push_back(with->second.contents);
    }
  }
  return {};
}

// Takes a given shape or value for an input, and learns from it what the file's symbols are.
Status Walk::give(Frame& frame, ValueId id, const Given& given) {
  const Graph& graph = *frame.graph;
  const Value& value = graph.values[id];
  const Type none;
  const Type& stated = value.claim != kNone ? graph.claims[value.claim] : none;
  Type type = stated;
  if (given.type.dtype != DType::unknown && stated.dtype == DType::unknown) type.dtype = given.type.dtype;
  if (given.type.kind != Kind::tensor) type = given.type;
  if (given.type.ranked && stated.kind == Kind::tensor) {
    if (stated.ranked && stated.shape.size() != given.type.shape.size()) {
      return {Code::bad_request, "input '" + std::string(value.name) + "' is given as " +
                                     rules::text(given.type.shape) + ", but the model states rank " +
                                     std::to_string(stated.shape.size()) + ": " + rules::text(stated.shape)};
    }
    type.ranked = true;
    type.shape = given.type.shape;
    for (std::size_t axis = 0; axis < stated.shape.size(); ++axis) {
      const Dim& now = given.type.shape[axis];
      const Dim& said = stated.shape[axis];
      if (now.constant().value_or(0) < 0) {
        return {Code::bad_request,
                "input '" + std::string(value.name) + "' is given a negative size: " + rules::text(given.type.shape)};
      }
      if (!now.defined()) {
        type.shape[axis] = said;
        continue;
      }
      if (said.is_constant()) {
        if (now != said) {
          trust_claims_ = false;
          remark(Code::shape_conflict, "input '" + std::string(value.name) + "' is given as " +
                                           rules::text(given.type.shape) + ", the file says " +
                                           rules::text(stated.shape) +
                                           "; shapes that the file states inside are not used");
        }
        continue;
      }
      if (!said.defined() || said == now) continue;
      const std::vector<std::string> symbols = said.symbols();
      if (symbols.size() == 1 && said == Expr::symbol(symbols.front())) {
        const auto [at, added] = sizes_.emplace(symbols.front(), now);
        if (!added && equal(at->second, now) == Truth::no) {
          return {Code::bad_request, "symbol '" + symbols.front() + "' is given two sizes: " + at->second.str() +
                                         " and " + now.str() + " (input '" + std::string(value.name) + "')"};
        }
      }
    }
    // What was given is final: a symbol of the file's name in it means itself.
    note_symbols(type, value.name);
  }
  frame.types[id] = std::move(type);
  return {};
}

}  // namespace macsim
