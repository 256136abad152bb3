// Goes through a model once: for every node, the types of its outputs, then its cost, then its row.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "walk.hpp"

#include <algorithm>
#include <utility>

#include "room.hpp"
#include "rules/support.hpp"

namespace macsim {
namespace {

constexpr std::string_view kRefused = "the rule failed on these inputs";
constexpr std::string_view kCut = "its body was not run: the limit of expansion was reached";
constexpr std::size_t kStepsPerNode = 64;    // expansion: a small multiple of the file...
constexpr std::size_t kFreeSteps = 200'000;  // ...above what any real model of loops and functions takes

const Options& no_options() {
  static const Options none;
  return none;
}

}  // namespace

Walk::Walk(ModelPtr model, const Registry& registry, const Options& options)
    : model_(std::move(model)),
      registry_(registry),
      options_(options),
      found_(std::make_shared<Analysis>()),
      frames_(found_->frames),
      call_(*this),
      outputs_(*this) {
  found_->model = model_;
  for (const auto& [name, size] : options.dims) sizes_.emplace(name, Expr(size));
  most_steps_ = std::min(options.most_rows, kFreeSteps + kStepsPerNode * model_->node_total);
}

Walk::Walk(std::shared_ptr<Analysis> found)
    : model_(found->model),
      registry_(Registry::builtin()),
      options_(no_options()),
      found_(std::move(found)),
      frames_(found_->frames),
      call_(*this),
      outputs_(*this) {}

Status Walk::run() {
  found_->diagnostics = model_->notes;
  found_->matches.reserve(model_->ops.size());
  for (const Op& op : model_->ops) match(op);
  Frame& top = begin();
  if (Status status = prepare_inputs(top); !status) return status;
  const std::size_t nodes = top.graph->nodes.size();
  make_room(rows_.node, nodes);
  make_room(rows_.frame, nodes);
  make_room(rows_.trust, nodes);
  make_room(rows_.because, nodes);
  make_room(rows_.dtypes, nodes);
  make_room(rows_.own_bytes, nodes);
  used_.assign(top.graph->stored.size(), false);
  walk(0);
  finish_diagnostics();
  return {};
}

void Walk::match(const Op& op) {
  const std::string name = op.full();
  std::shared_ptr<const Match> match = registry_.find(name, op.version);
  // Rows of the user's may look at more than a call shows.
  const bool own = match != nullptr && Registry::builtin().rule(name, op.version) == match->rule.get();
  // A function of the model's says better than a built-in row what its name means there; a row of the user's, not.
  if (own && op.function != kNone) match = nullptr;
  found_->matches.push_back(match.get());
  repeats_.emplace_back().on = own && match != nullptr && match->rule->control == nullptr;
  if (match != nullptr) found_->kept_matches.push_back(std::move(match));
}

Frame& Walk::begin() {
  Frame& top = frames_.emplace_back();
  top.graph = &model_->bodies.front();
  open(top);
  return top;
}

void Walk::grow() {
  Frame& top = frames_.front();
  const std::size_t values = top.graph->values.size();
  top.types.resize(values);
  top.known.resize(values, kNone);
  used_.resize(top.graph->stored.size());
}

std::shared_ptr<Analysis> Walk::take(Rows& rows) {
  Count elements, bytes;
  const auto add = [&](const Stored& stored) {
    const Count size = rules::numel(stored.type.shape);
    if (!stored.buffer) elements += size;
    bytes += rules::bytes(stored.type.dtype, size);
  };
  for (std::size_t i = 0; i < used_.size(); ++i) {
    if (used_[i]) add(frames_.front().graph->stored[i]);
  }
  for (const Stored* stored : used_inside_) add(*stored);
  found_->parameters = elements;
  found_->weight_bytes = bytes;
  found_->node = std::move(rows_.node);
  found_->frame = std::move(rows_.frame);
  found_->trust = std::move(rows_.trust);
  found_->because = std::move(rows_.because);
  found_->dtypes = std::move(rows_.dtypes);
  found_->own_bytes = std::move(rows_.own_bytes);
  found_->nests = std::move(rows_.nests);
  rows.columns = std::move(rows_.columns);
  return std::move(found_);
}

// Frames. ----------------------------------------------------------------------------------------------------------

void Walk::open(Frame& frame) {
  const Graph& graph = *frame.graph;
  make_room(frame.types, graph.values.size());
  make_room(frame.known, graph.values.size());
  frame.types.resize(graph.values.size());
  frame.known.assign(graph.values.size(), kNone);
  for (ValueId id = 0; id < graph.values.size(); ++id) {
    if (graph.values[id].stored != kNone) frame.types[id] = graph.stored[graph.values[id].stored].type;
  }
}

void Walk::walk(std::uint32_t frame) {
  const std::size_t nodes = frames_[frame].graph->nodes.size();
  for (NodeId id = 0; id < nodes; ++id) {
    if (++steps_ > most_steps_ && frame != 0) {
      go_to(frame, id);
      here_.match = nullptr;
      give_up();
      return unknown_node("the limit of expansion was reached before this node");
    }
    step(frame, id);
  }
}

void Walk::go_to(std::uint32_t frame, NodeId id) {
  Frame& in = frames_[frame];
  const Node& node = in.graph->nodes[id];
  here_ = Place{frame, &in, in.graph->edges.data() + node.first_edge, &node, id, found_->matches[node.op]};
}

void Walk::step(std::uint32_t frame, NodeId id, bool typed) {
  go_to(frame, id);
  const Op& op = model_->ops[here_.node->op];
  if (here_.match == nullptr) return op.function != kNone ? expand(op) : unknown_op();
  here_.typed = typed;
  here_.single = !may_repeat();
  if (!here_.single && repeat()) return;
  if (lacks_inputs()) {
    remark(Code::bad_inputs, "it has no inputs, and its operator takes some");
    return unknown_node(kRefused);
  }
  if (!typed) infer();
  if (here_.cut) {
    give_up();  // what a trial said of it was taken back
    return unknown_node(kCut);
  }
  const Rule& rule = *here_.match->rule;
  if (rule.control != nullptr && !rule.cost && !here_.refused)
    return;  // its bodies have the work, in rows of their own
  count();
}

void Walk::expand(const Op& op) {
  const Function& function = model_->functions[op.function];
  Body body{function.body, std::string(here_.node->name.empty() ? op.name : here_.node->name), {}, 1, Trust::exact, {}};
  for (std::size_t i = 0; i < here_.node->inputs; ++i) body.arguments.push_back(part_at(i));
  auto results = run_body(body);
  if (!results) return unknown_node(kCut);
  for (std::size_t i = 0; i < results->size(); ++i) set_output(i, std::move((*results)[i]));
  merge_claims();
}

// One node. --------------------------------------------------------------------------------------------------------

void Walk::infer() {
  const Node& node = *here_.node;
  Frame& in = frame();
  bool stored = node.outputs != 0;
  for (const ValueId id : in.graph->outputs_of(node)) {
    stored = stored && id != kNone && in.graph->values[id].stored != kNone;
  }
  if (stored) return;  // a Constant: the source gave its type and contents
  const Rule& rule = *here_.match->rule;
  const Status status = rule.control != nullptr ? rule.control(*this, call_, outputs_)
                        : here_.match->infer()  ? here_.match->infer()(call_, outputs_)
                                                : Status();
  if (!status) {
    remark(status.code(), std::string(status.text()));
    here_.refused = true;
  }
  if (here_.missed) {
    for (const ValueId id : in.graph->outputs_of(node)) {
      if (id == kNone) continue;
      in.types[id].ranked = false;
      in.types[id].shape.clear();
      in.known[id] = kNone;
    }
  }
  merge_claims();
}

void Walk::merge_claims() {
  const Node& node = *here_.node;
  Frame& in = frame();
  const Graph& graph = *in.graph;
  if (graph.claims.empty()) return;
  for (const ValueId id : graph.outputs_of(node)) {
    if (id == kNone || graph.values[id].claim == kNone) continue;
    const Type& stated = graph.claims[graph.values[id].claim];
    Type& type = in.types[id];
    if (type.kind != stated.kind) {
      if (type.kind == Kind::tensor && type.dtype == DType::unknown) type = stated;
      continue;
    }
    if (type.dtype == DType::unknown) type.dtype = stated.dtype;
    if (type.kind != Kind::tensor || !stated.ranked || !trust_claims_) continue;
    if (stated.dtype != DType::unknown && type.dtype != stated.dtype) {
      remark(Code::shape_conflict, "output '" + std::string(graph.values[id].name) + "' is " +
                                       std::string(name_of(type.dtype)) + ", the file says " +
                                       std::string(name_of(stated.dtype)));
    }
    if (!type.ranked) {
      type = resolved(stated, graph, graph.values[id].name);
      continue;
    }
    bool differs = type.shape.size() != stated.shape.size();
    for (std::size_t axis = 0; axis < type.shape.size() && !differs; ++axis) {
      Dim& dim = type.shape[axis];
      const Dim& says = stated.shape[axis];
      if (says.is_constant()) {
        if (dim.is_constant()) {
          differs = dim != says;
        } else if (!dim.defined() || here_.fresh) {
          dim = says;
        }
      } else if (!dim.defined() && says.defined()) {
        dim = sizes_.empty() ? says : says.substitute(sizes_);
        for (const std::string& symbol : dim.symbols()) {
          found_->symbols.emplace(symbol,
                                  "a size that the file states for '" + std::string(graph.values[id].name) + "'");
        }
      }
    }
    if (differs) {
      remark(Code::shape_conflict, "output '" + std::string(graph.values[id].name) + "' is " + rules::text(type.shape) +
                                       ", the file says " + rules::text(stated.shape));
    }
  }
}

void Walk::count() {
  Cost cost;
  here_.missed = false;
  bool unknown = false;
  const CostFn& rule = here_.match->cost();
  if (!here_.refused && !rule) {
    unknown = true;
    cost.because = "the rule has no cost";
  } else if (!here_.refused) {
    if (const Status status = rule(call_, cost); !status) {
      remark(status.code(), std::string(status.text()));
      here_.refused = true;
    }
    unknown = cost.trust == Trust::unknown;  // the rule says why
  }
  if (here_.refused) {
    unknown = true;
    cost.because = kRefused;
  }
  if (here_.missed) {
    unknown = true;
    cost.because = "a rank is unknown";
    remark(Code::needs_shape, "the rank of an input is unknown");
  }
  const auto is_zero = [](const Count& amount) { return amount.is(0); };
  if (!unknown && cost.because.empty() && std::all_of(cost.work.begin(), cost.work.end(), is_zero)) {
    const auto has_zero = [&](ValueId id) {
      return id != kNone && std::any_of(frame().types[id].shape.begin(), frame().types[id].shape.end(), is_zero);
    };
    const Span<ValueId> inputs = frame().graph->inputs_of(*here_.node);
    const Span<ValueId> results = frame().graph->outputs_of(*here_.node);
    // Other zeros are explained by their rules.
    if (std::any_of(inputs.begin(), inputs.end(), has_zero) || std::any_of(results.begin(), results.end(), has_zero)) {
      cost.because = "nothing to compute: a size is 0";
    }
  }
  row_.own_bytes = cost.read || cost.weights || cost.written;
  here_.view = is_view(cost);
  if (here_.view) {
    note_spread();
    note_shown();
  }
  fill_traffic(cost);
  push(cost, unknown);
  if (!here_.single) remember();
}

// Whether the results are the first input, looked at in another way.
bool Walk::is_view(const Cost& cost) const {
  const Access access = here_.match->rule->access;
  if (access == Access::other || access == Access::contraction || access == Access::update) return false;
  const auto is_zero = [](const std::optional<Count>& amount) { return amount && amount->is(0); };
  return is_zero(cost.read) && is_zero(cost.weights) && is_zero(cost.written) && input_id(0) != kNone;
}

// A view of a stored tensor is weights for who reads it.
void Walk::note_shown() {
  Frame& in = frame();
  ValueId from = input_id(0);
  if (in.weight(from) == nullptr) return;
  const auto behind = in.shown.find(from);
  if (behind != in.shown.end()) from = behind->second;
  for (const ValueId id : in.graph->outputs_of(*here_.node)) {
    if (id != kNone) in.shown[id] = from;
  }
}

// A view that repeats elements: who reads it reads what is there once.
void Walk::note_spread() {
  ValueId from = input_id(0);
  Frame& in = frame();
  const auto behind = in.spread.find(from);
  if (behind != in.spread.end()) {
    from = behind->second;
    here_.single = true;
  }
  const Type& base = in.types[from];
  for (const ValueId id : in.graph->outputs_of(*here_.node)) {
    if (id == kNone || in.types[id].shape == base.shape || !base.ranked || !in.types[id].ranked) continue;
    if (at_least(rules::bytes(base), rules::bytes(in.types[id]), 1) == Truth::yes) continue;
    in.spread[id] = from;
    here_.single = true;
  }
}

Count Walk::bytes_read(ValueId id) {
  Frame& in = frame();
  Count shown = rules::bytes(in.types[id]);
  if (in.spread.empty()) return shown;
  const auto behind = in.spread.find(id);
  if (behind == in.spread.end()) return shown;
  here_.single = true;
  Count there = rules::bytes(in.types[behind->second]);
  if (at_least(shown, there, 1) == Truth::yes) return there;
  return min(shown, there);
}

// All data inputs are read once and all outputs written once, at the outermost level of memory.
void Walk::fill_traffic(Cost& cost) {
  const Node& node = *here_.node;
  Frame& in = frame();
  const Graph& graph = *in.graph;
  const bool fill = !cost.read || !cost.weights;
  Count read, weights, written;
  bool text = false;
  for (std::size_t i = 0; i < node.inputs; ++i) {
    const ValueId id = graph.edges[node.first_edge + i];
    if (id == kNone) continue;
    if (here_.match != nullptr) {
      const bool host = i < here_.match->host.size() ? here_.match->host[i] : here_.match->host_rest;
      if (host) continue;
    }
    const Stored* from = in.weight(id);
    if (from != nullptr) use(from);
    if (!fill) continue;
    const Type& type = in.types[id];
    if (type.kind != Kind::tensor || type.dtype == DType::string) {
      text = true;
      continue;
    }
    (from != nullptr ? weights : read) += bytes_read(id);
  }
  if (!cost.read) cost.read = std::move(read);
  if (!cost.weights) cost.weights = std::move(weights);
  if (!cost.written) {
    for (const ValueId id : graph.outputs_of(node)) {
      if (id == kNone) continue;
      const Type& type = in.types[id];
      if (type.kind != Kind::tensor || type.dtype == DType::string) {
        text = true;
        continue;
      }
      written += rules::bytes(in.types[id]);
    }
    cost.written = std::move(written);
  }
  if (text && cost.trust == Trust::exact && (fill || !cost.written->is(0))) {
    cost.trust = Trust::estimate;
    cost.because = "the bytes of texts, sequences and maps are not counted";
  }
}

void Walk::use(const Stored* stored) {
  const auto& top = frames_.front().graph->stored;
  if (!top.empty() && stored >= top.data() && stored < top.data() + top.size()) {
    used_[static_cast<std::size_t>(stored - top.data())] = true;
  } else {
    used_inside_.insert(stored);
  }
}

void Walk::note_times() {
  const Frame& top = frames_.front();
  if (top.times.is(1) || rows_.size() == 0) return;
  found_->times.emplace(rows_.size() - 1, top.times);
  if (top.weight_times != top.times) found_->weight_times.emplace(rows_.size() - 1, top.weight_times);
}

void Walk::push(Cost& cost, bool unknown) {
  const Frame& in = frame();
  if (unknown) {
    cost.work.fill(Count::undefined());
    cost.masked = 0;
  }
  Row& row = row_;
  row.amounts.clear();
  bool whole = true, fits = true;
  const auto put = [&](std::size_t column, Count& amount) {
    if (amount.is(0)) return;
    if (!amount.defined()) whole = false;
    if (amount.constant().value_or(0) < 0) return;  // a sum over nothing: n - 1 adds of 0 terms are none
    const Count& times = column == static_cast<std::size_t>(Column::weights) ? in.weight_times : in.times;
    if (!times.is(1)) {
      const bool defined = amount.defined();
      amount *= times;
      fits = fits && amount.defined() == defined;
    }
    row.amounts.emplace_back(static_cast<Column>(column), std::move(amount));
  };
  for (std::size_t w = 0; w < kWorks; ++w) put(w, cost.work[w]);
  put(static_cast<std::size_t>(Column::read), *cost.read);
  put(static_cast<std::size_t>(Column::weights), *cost.weights);
  put(static_cast<std::size_t>(Column::written), *cost.written);
  put(static_cast<std::size_t>(Column::masked), cost.masked);
  Trust trust = unknown || !whole || !fits ? Trust::unknown : cost.trust;
  if (in.floor > trust) {
    trust = in.floor;
    cost.because = in.because;
  }
  if (trust == Trust::unknown && !unknown) {
    const bool overflow = !fits || past_counting();
    cost.because = overflow ? "a count does not fit 128 bits" : "a size is unknown";
    remark(overflow ? Code::overflow : Code::needs_shape,
           overflow ? "a count does not fit 128 bits" : "a size or type that the count needs is unknown");
  }
  if (trust == Trust::unknown && !here_.told) remark(Code::not_counted, std::string(cost.because));
  const Type& y = call_.out(0);
  const DType first = call_.dtype(0);
  const DType fallback = first != DType::unknown ? first : y.dtype;
  const auto or_else = [](DType a, DType b) { return a != DType::unknown ? a : b; };
  row.trust = trust;
  row.because = cost.because;
  row.dtypes = {or_else(cost.compute, fallback), or_else(cost.lhs, fallback),
                or_else(cost.rhs, here_.match != nullptr ? call_.in(1).dtype : DType::unknown),
                or_else(cost.accumulate, y.dtype)};
  row.nest = std::move(cost.nest);
  append(row);
}

void Walk::append(const Row& row) {
  const std::size_t at = rows_.size();
  for (const auto& [column, amount] : row.amounts) {
    auto& values = rows_.columns[static_cast<std::size_t>(column)];
    if (values.size() != at) {
      if (values.empty()) make_room(values, rows_.node.capacity());
      values.resize(at);
    }
    values.push_back(amount);
  }
  rows_.node.push_back(here_.id);
  rows_.frame.push_back(here_.frame);
  rows_.trust.push_back(row.trust);
  rows_.because.push_back(row.because);
  rows_.dtypes.push_back(row.dtypes);
  rows_.own_bytes.push_back(row.own_bytes ? 1 : 0);
  if (row.nest != nullptr) rows_.nests.emplace_back(static_cast<std::uint32_t>(at), row.nest);
}

// Whether a count may be past 128 bits where every size at the node's edges is known: not even their product has a
// value.
bool Walk::past_counting() const {
  const Frame& in = frame();
  Count product = 1;
  for (std::size_t i = 0; i < std::size_t{here_.node->inputs} + here_.node->outputs; ++i) {
    if (here_.edges[i] == kNone) continue;
    const Type& type = in.types[here_.edges[i]];
    if (type.kind != Kind::tensor || !type.ranked) return false;
    for (const Dim& dim : type.shape) {
      if (!dim.defined()) return false;
      product *= dim;
    }
  }
  return !product.defined();
}

// Whether it has no input at all, though its first one is data and may not be left out.
bool Walk::lacks_inputs() const {
  if (!here_.match->needs_first) return false;
  return std::all_of(here_.edges, here_.edges + here_.node->inputs, [](ValueId id) { return id == kNone; });
}

void Walk::unknown_op() {
  here_.told = true;
  const auto [at, added] = told_.unknown.try_emplace(here_.node->op, here_.id, 0);
  ++at->second.second;
  if (added) {
    const Op& op = model_->ops[here_.node->op];
    std::string text = "operator " + op.full() + " (version " + std::to_string(op.version) + ") is not known";
    const auto near = registry_.near(op.full(), 3);
    if (!near.empty()) {
      text += "; the nearest known:";
      for (const std::string& name : near) text += " " + name;
    }
    remark(Code::unknown_op, std::move(text));
  }
  unknown_node("no rule is known for this operator");
}

// Its outputs are what the file says; its work is unknown.
void Walk::unknown_node(std::string_view because) {
  Frame& in = frame();
  for (const ValueId id : in.graph->outputs_of(*here_.node)) {
    if (id == kNone) continue;
    const std::uint32_t claim = in.graph->values[id].claim;
    if (claim != kNone) in.types[id] = resolved(in.graph->claims[claim], *in.graph, in.graph->values[id].name);
  }
  Cost cost;
  cost.because = because;
  row_.own_bytes = false;
  fill_traffic(cost);
  push(cost, true);
}

// Symbols. ---------------------------------------------------------------------------------------------------------

Type Walk::resolved(const Type& claim, const Graph& graph, std::string_view name) {
  (void)graph;
  Type type = claim;
  for (Dim& dim : type.shape) {
    if (dim.is_constant() || !dim.defined()) continue;
    if (!sizes_.empty()) dim = dim.substitute(sizes_);
  }
  if (type.element != nullptr) type.element = std::make_shared<const Type>(resolved(*type.element, graph, name));
  note_symbols(type, name);
  return type;
}

void Walk::note_symbols(const Type& type, std::string_view value) {
  for (std::size_t axis = 0; axis < type.shape.size(); ++axis) {
    const Type& fixed = type;
    if (fixed.shape[axis].is_constant()) continue;
    for (const std::string& symbol : fixed.shape[axis].symbols()) {
      found_->symbols.emplace(symbol, "size of '" + std::string(value) + "', axis " + std::to_string(axis));
    }
  }
}

Dim Walk::symbol(std::string_view what, std::string_view why) {
  here_.fresh = here_.single = true;
  std::string name = path_of(frames_, *model_, here_.frame, here_.id);
  name += '.';
  name += what;
  ++symbols_made_;
  const auto size = sizes_.find(name);
  if (size != sizes_.end()) return size->second;
  found_->symbols.emplace(name, std::string(why));
  return Expr::symbol(name);
}

}  // namespace macsim
