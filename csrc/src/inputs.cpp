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
    const bool given = options_.inputs.contains(value.name);
    if (value.stored != kNone && !given) continue;
    Type& type = frame.types[id];
    if (!given && value.claim != kNone) type = graph.claims[value.claim];
    type = resolved(type, graph, value.name);
  }
  return {};
}

// Takes a given shape or value for an input, and learns from it what the file's symbols are.
Status Walk::give(Frame& frame, ValueId id, const Given& given) {
  const Graph& graph = *frame.graph;
  const Value& value = graph.values[id];
  Type type = value.claim != kNone ? graph.claims[value.claim] : Type();
  const bool tensor = type.kind == Kind::tensor && given.type.kind == Kind::tensor;
  ContentsPtr contents = given.contents;
  if (Status status = tensor ? fit(value.name, given.type, type) : give_list(value.name, given, type, contents);
      !status) {
    return status;
  }
  frame.types[id] = std::move(type);
  if (contents != nullptr) {
    frame.known[id] = static_cast<std::uint32_t>(frame.contents.size());
    frame.contents.push_back(std::move(contents));
  }
  return {};
}

// Puts what is given of a tensor in the place of what the file states.
Status Walk::fit(std::string_view name, const Type& given, Type& type) {
  const Type stated = type;
  if (given.dtype != DType::unknown && stated.dtype == DType::unknown) type.dtype = given.dtype;
  if (!given.ranked) return {};
  if (stated.ranked && stated.shape.size() != given.shape.size()) {
    return {Code::bad_request, "input '" + std::string(name) + "' is given as " + rules::text(given.shape) +
                                   ", but the model states rank " + std::to_string(stated.shape.size()) + ": " +
                                   rules::text(stated.shape)};
  }
  type.ranked = true;
  type.shape = given.shape;
  bool contradicts = false;
  for (std::size_t axis = 0; axis < stated.shape.size(); ++axis) {
    const Dim& now = given.shape[axis];
    const Dim& said = stated.shape[axis];
    if (now.constant().value_or(0) < 0) {
      return {Code::bad_request,
              "input '" + std::string(name) + "' is given a negative size: " + rules::text(given.shape)};
    }
    if (!now.defined()) {
      type.shape[axis] = said;
      continue;
    }
    if (said.is_constant()) {
      contradicts = contradicts || now != said;
      continue;
    }
    if (!said.defined() || said == now) continue;
    const std::vector<std::string> symbols = said.symbols();
    if (symbols.size() == 1 && said == Expr::symbol(symbols.front())) {
      const auto [at, added] = sizes_.emplace(symbols.front(), now);
      if (!added && equal(at->second, now) == Truth::no) {
        return {Code::bad_request, "symbol '" + symbols.front() + "' is given two sizes: " + at->second.str() +
                                       " and " + now.str() + " (input '" + std::string(name) + "')"};
      }
    }
  }
  if (contradicts) {
    trust_claims_ = false;
    remark(Code::shape_conflict, "input '" + std::string(name) + "' is given as " + rules::text(given.shape) +
                                     ", the file says " + rules::text(stated.shape) +
                                     "; shapes that the file states inside are not used");
  }
  // What was given is final: a symbol of the file's name in it means itself.
  note_symbols(type, name);
  return {};
}

// A sequence or an optional: a shape is that of what it holds; values are its parts. The elements of a sequence differ
// in size, so that only an optional's teaches what the file's symbols are.
Status Walk::give_list(std::string_view name, const Given& given, Type& type, ContentsPtr& contents) {
  const auto refused = [&](const std::string& why) {
    return Status(Code::bad_request, "input '" + std::string(name) + "' " + why);
  };
  const bool list = type.kind == Kind::sequence || type.kind == Kind::optional;
  if (!list) return refused(given.type.kind == Kind::tensor ? "takes neither a shape nor a value" : "takes no list");
  Type element = type.element != nullptr ? *type.element : Type();
  if (given.type.kind == Kind::tensor) {
    if (contents != nullptr) return refused("is a list: give a list of values");
    if (Status status = fit(name, given.type, element); !status) return status;
    type.element = std::make_shared<const Type>(std::move(element));
    return {};
  }
  if (given.type.kind != type.kind || contents == nullptr) return refused("is a list of another kind");
  Contents known;
  for (const Part& from : contents->parts) {
    Part part = from;
    if (element.dtype != DType::unknown) part.type.dtype = element.dtype;
    if (type.kind == Kind::optional && part.type.kind == Kind::tensor && element.kind == Kind::tensor) {
      Type held = element;
      if (Status status = fit(name, part.type, held); !status) return status;
      part.type = std::move(held);
    } else if (part.type.ranked && element.ranked && part.type.shape.size() != element.shape.size()) {
      return refused("is given an element " + rules::text(part.type.shape) + ", but the model states " +
                     rules::text(element.shape));
    }
    note_symbols(part.type, name);
    known.parts.push_back(std::move(part));
  }
  if (!known.parts.empty()) {
    element = known.parts.front().type;
    for (const Part& part : known.parts) element = rules::common(element, part.type);
    type.element = std::make_shared<const Type>(element);
    type.dtype = element.dtype;
  }
  contents = std::make_shared<const Contents>(std::move(known));
  return {};
}

}  // namespace macsim
