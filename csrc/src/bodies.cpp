// Bodies of control flow and of functions: frames inside frames, and trial runs that are taken back.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "rules/support.hpp"
#include "walk.hpp"

namespace macsim {
namespace {

constexpr std::size_t kMostDepth = 400;  // bodies and functions inside each other

}  // namespace

void Walk::give_up() {
  here_.told = true;
  if (std::exchange(told_.too_large, true)) return;
  remark(Code::too_large, exhausted()
                              ? "the limit of " + std::to_string(most_steps_) + " nodes is reached"
                              : "bodies and functions are nested more than " + std::to_string(kMostDepth) + " deep");
}

std::optional<std::vector<Part>> Walk::run_body(const Body& body) {
  if (depth_ >= kMostDepth || exhausted()) {
    give_up();
    here_.cut = true;
    return std::nullopt;
  }
  const Place saved = here_;
  const auto index = static_cast<std::uint32_t>(frames_.size());
  Frame& inner = frames_.emplace_back();
  Frame& outer = frames_[saved.frame];
  inner.graph = &model_->bodies[body.body];
  inner.outer = saved.frame;
  inner.caller = saved.node;
  inner.label = body.label;
  inner.times = outer.times * body.times;
  inner.weight_times = inner.times;
  inner.floor = std::max(outer.floor, body.floor);
  inner.because = body.floor == Trust::exact ? outer.because : body.because;
  const Op& op = model_->ops[saved.node->op];
  inner.function = op.function == kNone ? nullptr : &model_->functions[op.function];
  inner.function_frame = inner.function != nullptr ? index : outer.function_frame;
  open(inner);
  const Graph& graph = *inner.graph;
  inner.origins.assign(graph.values.size(), nullptr);
  for (ValueId id = 0; id < graph.values.size(); ++id) {
    if (graph.values[id].stored != kNone) inner.origins[id] = &graph.stored[graph.values[id].stored];
  }
  const auto know = [&](ValueId id, ContentsPtr contents) {
    if (contents == nullptr) return;
    inner.known[id] = static_cast<std::uint32_t>(inner.contents.size());
    inner.contents.push_back(std::move(contents));
  };
  for (const Graph::Capture& capture : graph.captures) {
    inner.types[capture.inner] = outer.types[capture.outer];
    inner.origins[capture.inner] = stored(saved.frame, capture.outer);
    if (outer.known[capture.outer] != kNone) know(capture.inner, outer.contents[outer.known[capture.outer]]);
  }
  for (std::size_t i = 0; i < graph.inputs.size() && i < body.arguments.size(); ++i) {
    const ValueId id = graph.inputs[i];
    Type type = body.arguments[i].type;
    const std::uint32_t claim = graph.values[id].claim;
    if (type.dtype == DType::unknown && !type.ranked && type.kind == Kind::tensor && claim != kNone) {
      type = resolved(graph.claims[claim], graph, graph.values[id].name);
    }
    inner.types[id] = std::move(type);
    know(id, body.arguments[i].contents);
    if (i < saved.node->inputs && inner.function != nullptr) {
      const ValueId from = input_id(i);
      if (from != kNone) inner.origins[id] = stored(saved.frame, from);
    }
  }
  ++depth_;
  walk(index);
  --depth_;
  std::vector<Part> results;
  results.reserve(graph.outputs.size());
  for (const ValueId id : graph.outputs) {
    contents(index, id);  // decodes a stored result, so that it is known outside
    const Frame& done = frames_[index];
    results.push_back({done.types[id], done.known[id] == kNone ? nullptr : done.contents[done.known[id]]});
  }
  here_ = saved;
  return results;
}

std::uint32_t Walk::body_of(std::string_view attribute) const {
  const Attr* found = attr(attribute);
  return found != nullptr && found->kind == Attr::Kind::body ? found->first : kNone;
}

std::vector<Part> Walk::arguments_of(std::uint32_t body, const Shape& first) {
  const Graph& graph = model_->bodies[body];
  std::map<std::string, Expr, std::less<>> same = sizes_;
  std::vector<Part> out;
  for (const ValueId id : graph.inputs) {
    const Value& value = graph.values[id];
    Part part;
    if (value.claim != kNone) part.type = graph.claims[value.claim];
    Shape& shape = part.type.shape;
    if (out.empty() && shape.size() == first.size()) {
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        const std::vector<std::string> symbols = shape[axis].symbols();
        if (symbols.size() == 1 && shape[axis] == Expr::symbol(symbols.front())) same[symbols.front()] = first[axis];
      }
      shape = first;
    } else {
      for (Dim& dim : shape) dim = dim.substitute(same);
    }
    note_symbols(part.type, value.name);
    out.push_back(std::move(part));
  }
  return out;
}

Part Walk::part_at(std::size_t position) const {
  const ValueId id = input_id(position);
  if (id == kNone) return {};
  const_cast<Walk*>(this)->contents(here_.frame, id);
  const Frame& in = frame();
  return {in.types[id], in.known[id] == kNone ? nullptr : in.contents[in.known[id]]};
}

void Walk::set_output(std::size_t i, Part part) {
  outputs_.set(i, std::move(part.type));
  outputs_.know(i, std::move(part.contents));
}

Walk::Mark Walk::mark() const {
  return {rows_.size(),
          frames_.size(),
          found_->diagnostics.size(),
          steps_,
          found_->not_negative.size(),
          found_->equal.size(),
          symbols_made_,
          told_};
}

void Walk::undo(const Mark& mark) {
  rows_.node.resize(mark.rows);
  rows_.frame.resize(mark.rows);
  rows_.trust.resize(mark.rows);
  rows_.because.resize(mark.rows);
  rows_.dtypes.resize(mark.rows);
  rows_.own_bytes.resize(mark.rows);
  while (!rows_.nests.empty() && rows_.nests.back().first >= mark.rows) rows_.nests.pop_back();
  for (auto& column : rows_.columns) {
    if (column.size() > mark.rows) column.resize(mark.rows);
  }
  while (frames_.size() > mark.frames) frames_.pop_back();
  found_->diagnostics.resize(mark.diagnostics);
  told_ = mark.told;
  if (found_->not_negative.size() > mark.not_negative || found_->equal.size() > mark.equal) {
    for (Repeats& repeats : repeats_) repeats.known.clear();  // what nodes like them assume has to be noted again
  }
  for (; found_->not_negative.size() > mark.not_negative; found_->not_negative.pop_back()) {
    assumed_.erase(found_->not_negative.back());
  }
  for (; found_->equal.size() > mark.equal; found_->equal.pop_back()) {
    equated_.erase(found_->equal.back().a - found_->equal.back().b);
  }
}

Count Walk::macs_since(const Mark& mark) const {
  Count sum;
  const auto& macs = rows_.columns[static_cast<std::size_t>(Column::mac)];
  for (std::size_t i = mark.rows; i < macs.size(); ++i) {
    if (macs[i].defined()) sum += macs[i];
  }
  return sum;
}

bool Walk::unknown_since(const Mark& mark) const {
  return std::any_of(rows_.trust.begin() + static_cast<std::ptrdiff_t>(mark.rows), rows_.trust.end(),
                     [](Trust trust) { return trust == Trust::unknown; });
}

}  // namespace macsim
