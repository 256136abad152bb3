// Follows gradients back: which values take part, and what each row's gradient costs.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "backward.hpp"

#include <algorithm>
#include <utility>

#include "flow.hpp"
#include "rules/support.hpp"

namespace macsim {
namespace {

constexpr std::string_view kUntold = "no rule states the gradient of this operator";

// What gradients are of. Numbers of fewer bits are codes, which somebody else takes care of.
bool is_smooth(const Type& type) {
  return type.kind == Kind::tensor && is_float(type.dtype) && bits_of(type.dtype) >= 16;
}
// What nobody knows may be smooth, and lists may hold what is.
bool may_be_smooth(const Type& type) {
  return type.kind != Kind::tensor || type.dtype == DType::unknown || is_smooth(type);
}

}  // namespace

// Slots. -----------------------------------------------------------------------------------------------------------

namespace {
std::size_t position_of(const std::vector<std::int32_t>* positions, std::size_t slot) {
  if (positions == nullptr || positions->empty()) return slot;
  const std::int32_t at = slot < positions->size() ? (*positions)[slot] : -1;
  return at < 0 ? SIZE_MAX : static_cast<std::size_t>(at);
}
}  // namespace

bool Gradient::needs(std::size_t slot) const noexcept { return needs_at(position_of(positions_, slot)); }
void Gradient::keep(std::size_t slot) {
  const std::size_t at = position_of(positions_, slot);
  if (at != SIZE_MAX) kept_inputs_.push_back(at);
}
void Gradient::none(std::size_t slot) { none_at(position_of(positions_, slot)); }

// Rows. ------------------------------------------------------------------------------------------------------------

void Ledger::add(std::size_t row, const Cost& cost, const Count& times) {
  const bool unknown = cost.trust == Trust::unknown;
  touched[row] = true;
  bool whole = true;
  const auto put = [&](std::size_t column, const Count& amount) {
    if (amount.is(0)) return;
    if (!amount.defined()) whole = false;
    if (amount.constant().value_or(0) < 0) return;  // a sum over nothing
    auto& values = columns[column];
    if (values.size() <= row) values.resize(trust.size());
    values[row] += times.is(1) ? amount : amount * times;
  };
  for (std::size_t w = 0; w < kWorks; ++w) put(w, unknown ? Count::undefined() : cost.work[w]);
  put(static_cast<std::size_t>(Column::read), cost.read.value_or(0));
  put(static_cast<std::size_t>(Column::weights), cost.weights.value_or(0));
  put(static_cast<std::size_t>(Column::written), cost.written.value_or(0));
  put(static_cast<std::size_t>(Column::masked), cost.masked);
  if (unknown || cost.trust != Trust::exact) {
    doubt(row, cost.trust, cost.because);
  } else if (!whole) {
    doubt(row, Trust::unknown, "a size is unknown");
  } else if (because[row].empty()) {
    because[row] = cost.because;
  }
}

void Ledger::doubt(std::size_t row, Trust worse, std::string_view why) {
  if (worse < trust[row]) return;
  trust[row] = worse;
  because[row] = why;
}

// The program as steps. --------------------------------------------------------------------------------------------

Backward::Backward(const Report& report, const Analysis& found, const TrainingOptions& options)
    : gradients(found.node.size()),
      again(found.node.size()),
      report_(report),
      found_(found),
      options_(options),
      walk_(std::make_shared<Analysis>(found)) {
  number_frames();
  lay_out(0);
  find_memories();
  link_rewritten();
}

void Backward::number_frames() {
  const std::size_t frames = found_.frames.size();
  Place next = 0;
  inner_.resize(frames);
  rows_.resize(frames);
  for (std::uint32_t f = 0; f < frames; ++f) {
    const Frame& frame = found_.frames[f];
    base_.push_back(next);
    next += static_cast<Place>(frame.graph->values.size());
    frame_of_.resize(next, f);
    rows_[f].assign(frame.graph->nodes.size(), kNone);
    if (frame.outer != kNone) inner_[frame.outer].push_back(f);
  }
  for (std::uint32_t row = 0; row < found_.node.size(); ++row) rows_[found_.frame[row]][found_.node[row]] = row;
  needs_.assign(next, false);
  reached_.assign(next, false);
  came_.assign(next, 0);
  gradient_.assign(next, kNone);
  arrived_.assign(next, 0);
  released_.assign(next, 0);
  memory_.resize(next);
  for (Place value = 0; value < next; ++value) memory_[value] = value;
}

void Backward::lay_out(std::uint32_t frame) {
  const Graph& graph = *found_.frames[frame].graph;
  std::size_t next = 0;
  const std::vector<std::uint32_t>& inner = inner_[frame];
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    const Node& node = graph.nodes[id];
    for (; next < inner.size() && found_.frames[inner[next]].caller == &node; ++next) {
      enter(inner[next], node);
      lay_out(inner[next]);
      leave(inner[next], node);
    }
    steps_.push_back({frame, id, 0, 0, false, false});
  }
}

// Where a body's inputs come from: by position, after what a loop puts in front of them.
namespace {
struct Ties {
  std::size_t inner_first = 0, outer_first = 0;  // of inputs
  std::size_t result_first = 0;                  // of the body's results
  bool repeats = false;
};
Ties ties_of(std::string_view op, std::int64_t version) {
  if (op == "Loop") return {2, 2, 1, true};
  if (op == "Scan") return {0, version < 9 ? std::size_t{1} : std::size_t{0}, 0, true};
  return {};
}
}  // namespace

void Backward::enter(std::uint32_t index, const Node& caller) {
  const Frame& frame = found_.frames[index];
  const Graph &graph = *frame.graph, &outer = *found_.frames[frame.outer].graph;
  for (const Graph::Capture& capture : graph.captures) {
    link(place(frame.outer, capture.outer), place(index, capture.inner));
  }
  const Op& op = found_.model->ops[caller.op];
  if (op.function == kNone && op.name == "If") return;
  const Ties ties = ties_of(op.name, op.version);
  const Span<ValueId> given = outer.inputs_of(caller);
  const auto element = [&](ValueId sequence) {  // that this round takes
    if (op.function != kNone || op.name != "SequenceMap" || frame.times != found_.frames[frame.outer].times)
      return sequence;
    std::size_t round = 0;
    for (std::uint32_t f = frame.outer + 1; f < index; ++f) {
      if (found_.frames[f].outer == frame.outer && found_.frames[f].caller == &caller) ++round;
    }
    const Span<ValueId> elements = elements_of(*found_.model, outer, sequence);
    return round < elements.size() ? elements[round] : sequence;
  };
  for (std::size_t i = ties.inner_first; i < graph.inputs.size(); ++i) {
    const std::size_t at = i - ties.inner_first + ties.outer_first;
    const ValueId from = at < given.size() && given[at] != kNone ? element(given[at]) : kNone;
    if (from != kNone) link(place(frame.outer, from), place(index, graph.inputs[i]));
  }
}

void Backward::leave(std::uint32_t index, const Node& caller) {
  const Frame& frame = found_.frames[index];
  const Graph &graph = *frame.graph, &outer = *found_.frames[frame.outer].graph;
  const Op& op = found_.model->ops[caller.op];
  const Ties ties = op.function != kNone ? Ties() : ties_of(op.name, op.version);
  const Span<ValueId> made = outer.outputs_of(caller);
  for (std::size_t i = ties.result_first; i < graph.outputs.size(); ++i) {
    const std::size_t at = i - ties.result_first, input = ties.inner_first + at;
    if (ties.repeats && input < graph.inputs.size()) {
      link(place(index, graph.outputs[i]), place(index, graph.inputs[input]), true);
      loops_ = true;
    }
    if (at < made.size() && made[at] != kNone) link(place(index, graph.outputs[i]), place(frame.outer, made[at]));
  }
}

// Whatever lies in memory that was written to, and is read later on, hangs on what was written.
void Backward::link_rewritten() {
  if (found_.rewritten.empty()) return;
  const Graph& graph = found_.model->bodies.front();
  std::vector<NodeId> last(graph.values.size(), 0);  // to read it
  std::vector<std::vector<ValueId>> sharing(graph.values.size());
  for (NodeId id = 0; id < graph.nodes.size(); ++id) {
    for (const ValueId value : graph.inputs_of(graph.nodes[id])) {
      if (value != kNone) last[value] = id;
    }
  }
  for (const ValueId value : graph.outputs) last[value] = static_cast<NodeId>(graph.nodes.size());
  for (ValueId value = 0; value < graph.values.size(); ++value) sharing[memory_[value]].push_back(value);
  std::vector<Step> steps;
  auto next = found_.rewritten.begin();
  for (const Step& step : steps_) {
    steps.push_back(step);
    if (step.frame != 0) continue;
    for (; next != found_.rewritten.end() && next->node == step.node; ++next) {
      for (const ValueId value : sharing[memory_[next->old]]) {
        const std::size_t made = made_[value];
        const bool before = made == SIZE_MAX || steps_[made].node < next->node;
        if (value != next->old && before && last[value] > next->node) {
          steps.push_back({kNone, 0, next->now, value, false, true});
        }
      }
    }
  }
  steps_ = std::move(steps);
  find_memories();
}

const Type& Backward::type_of(Place value) const {
  const std::uint32_t frame = frame_of_[value];
  return found_.frames[frame].types[value - base_[frame]];
}

const Stored* Backward::stored_of(Place value) const {
  const std::uint32_t frame = frame_of_[value];
  const Graph& graph = *found_.frames[frame].graph;
  const Value& held = graph.values[value - base_[frame]];
  return held.stored == kNone ? nullptr : &graph.stored[held.stored];
}

// Which values take part. ------------------------------------------------------------------------------------------

bool Backward::trains(const Stored& stored, const Value& value) const {
  if (stored.frozen || value.producer != kNone || !is_smooth(stored.type)) return false;
  const auto named = [&](const std::vector<std::string>& patterns) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const auto& one) { return fits(one, value.name); });
  };
  return !named(options_.frozen) && (options_.trained.empty() || named(options_.trained));
}

void Backward::seed() {
  for (std::uint32_t f = 0; f < found_.frames.size(); ++f) {
    const Graph& graph = *found_.frames[f].graph;
    for (ValueId id = 0; id < graph.values.size(); ++id) {
      const Value& value = graph.values[id];
      if (value.stored != kNone && trains(graph.stored[value.stored], value)) needs_[place(f, id)] = true;
    }
  }
  const Frame& top = found_.frames.front();
  for (const ValueId id : top.graph->inputs) {
    const std::string_view name = top.graph->values[id].name;
    const bool wanted = std::any_of(options_.inputs.begin(), options_.inputs.end(),
                                    [&](const std::string& one) { return fits(one, name); });
    if (wanted && is_smooth(top.types[id])) needs_[place(0, id)] = true;
  }
}

bool Backward::is_detached(const Step& step) const {
  if (step.frame != 0) return false;
  return std::any_of(found_.detached.begin(), found_.detached.end(),
                     [&](const Stretch& s) { return step.node >= s.first && step.node < s.end; });
}

bool Backward::is_data(const Step& step, std::size_t position) const {
  const Match* match = found_.matches[node_of(step).op];
  if (match == nullptr) return true;
  return !(position < match->host.size() ? match->host[position] : match->host_rest);
}

bool Backward::is_constant(const Step& step) const {
  const Match* match = found_.matches[node_of(step).op];
  return match != nullptr && match->gradient().target<NoGradient>() != nullptr;
}

// Whether its results hang on something trained. Of stored tensors the row itself says whether they do on all of them:
// a normalisation has scales that are trained and statistics that are not.
bool Backward::hangs(const Step& step) {
  const Graph& graph = *found_.frames[step.frame].graph;
  const Span<ValueId> inputs = graph.inputs_of(node_of(step));
  bool any = false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == kNone || !needs_[place(step.frame, inputs[i])] || !is_data(step, i)) continue;
    if (stored_of(place(step.frame, inputs[i])) == nullptr) return true;
    any = true;
  }
  const Match* match = found_.matches[node_of(step).op];
  if (!any || match == nullptr || !match->gradient()) return any;
  const Cost none;
  Gradient g(none);
  prepare(step, g);
  const Status status = match->gradient()(walk_.look(step.frame, step.node), g);
  return !status || std::find(g.needed_.begin(), g.needed_.end(), true) != g.needed_.end();
}

// What the row is told: the inputs that need a gradient, and the outputs that have one.
void Backward::prepare(const Step& step, Gradient& g) const {
  const Graph& graph = *found_.frames[step.frame].graph;
  const Node& node = node_of(step);
  const Span<ValueId> inputs = graph.inputs_of(node), outputs = graph.outputs_of(node);
  g.positions_ = &found_.matches[node.op]->position;
  g.needed_.resize(inputs.size());
  g.coming_.resize(outputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    g.needed_[i] = inputs[i] != kNone && is_data(step, i) && needs_[place(step.frame, inputs[i])];
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    g.coming_[i] = outputs[i] != kNone && came_[place(step.frame, outputs[i])] != 0;
  }
}

void Backward::forward() {
  bool changed = true;
  while (changed) {
    changed = false;
    const auto mark = [&](Place value) {
      if (needs_[value]) return;
      needs_[value] = true;
      changed = true;
    };
    for (const Step& step : steps_) {
      if (step.frame == kNone) {
        if (needs_[step.from]) mark(step.to);
        continue;
      }
      const Graph& graph = *found_.frames[step.frame].graph;
      if (row_of(step) == kNone || is_constant(step) || is_detached(step) || !hangs(step)) continue;
      for (const ValueId id : graph.outputs_of(node_of(step))) {
        if (id != kNone && may_be_smooth(found_.frames[step.frame].types[id])) mark(place(step.frame, id));
      }
    }
    if (!loops_) return;
  }
}

void Backward::backward_reach() {
  const Frame& top = found_.frames.front();
  for (std::size_t i = 0; i < top.graph->outputs.size(); ++i) {
    const Place value = place(0, top.graph->outputs[i]);
    if (needs_[value] && is_given(i)) reached_[value] = true;
  }
  bool changed = true;
  while (changed) {
    changed = false;
    const auto mark = [&](Place value) {
      if (!needs_[value] || reached_[value]) return;
      reached_[value] = true;
      changed = true;
    };
    for (std::size_t at = steps_.size(); at-- > 0;) {
      const Step& step = steps_[at];
      if (step.frame == kNone) {
        if (reached_[step.to]) mark(step.from);
        continue;
      }
      const Graph& graph = *found_.frames[step.frame].graph;
      const Node& node = node_of(step);
      const Span<ValueId> made = graph.outputs_of(node);
      const bool any = std::any_of(made.begin(), made.end(),
                                   [&](ValueId id) { return id != kNone && reached_[place(step.frame, id)]; });
      if (!any || row_of(step) == kNone) continue;
      const Span<ValueId> inputs = graph.inputs_of(node);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (inputs[i] != kNone && is_data(step, i)) mark(place(step.frame, inputs[i]));
      }
    }
    if (!loops_) return;
  }
}

// Gradients. -------------------------------------------------------------------------------------------------------

bool Backward::is_given(std::size_t output) const {
  const auto& given = options_.losses;
  return given.empty() || std::find(given.begin(), given.end(), output) != given.end();
}

bool Backward::give(Place value, Place as) {
  Place& mine = gradient_[value];
  if (as != kNone) as = gradient_[as];
  if (came_[value]++ == 0) {
    mine = as == kNone ? value : as;
    if (mine == value) arrived_[value] = turn();
    return false;
  }
  if (as == kNone) spares_.push_back({turn(), value});
  if (mine != value) {  // others have that tensor, too: the sum is a new one
    released_[mine] = std::max(released_[mine], turn());
    mine = value;
    arrived_[value] = turn();
  }
  return true;
}

Count Backward::times_of(const Step& step, std::size_t row) const {
  const auto at = found_.times.find(row);
  return at != found_.times.end() ? at->second : found_.frames[step.frame].times;
}

// One gradient is added to another.
void Backward::accumulate(Cost& cost, const Type& type) {
  const Count size = rules::bytes(type);
  cost[Work::add] += rules::numel(type.shape);
  cost.read = *cost.read + 2 * size;
  cost.written = *cost.written + size;
}

void Backward::unknown(std::size_t at, std::size_t row, std::string_view why) {
  const Step& step = steps_[at];
  Cost cost;
  cost.trust = Trust::unknown;
  cost.because = why;
  gradients.add(row, cost, 1);
  turns_.push_back(at);
  const Graph& graph = *found_.frames[step.frame].graph;
  const Span<ValueId> inputs = graph.inputs_of(node_of(step));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] != kNone && is_data(step, i) && needs_[place(step.frame, inputs[i])]) {
      give(place(step.frame, inputs[i]));
    }
  }
}

// Reads the gradients of the outputs and what was kept, writes those of the inputs, but for what the rule states.
void Backward::traffic(const Step& step, Gradient& g) const {
  const Graph& graph = *found_.frames[step.frame].graph;
  const Frame& frame = found_.frames[step.frame];
  const Span<ValueId> inputs = graph.inputs_of(node_of(step)), outputs = graph.outputs_of(node_of(step));
  if (!g.cost.read || !g.cost.weights) {
    Count read = g.kept_, weights;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (g.comes(i)) read += rules::bytes(frame.types[outputs[i]]);
    }
    std::set<ValueId> seen;
    for (const std::size_t i : g.kept_inputs_) {
      if (i >= inputs.size() || inputs[i] == kNone || !seen.insert(inputs[i]).second) continue;
      (frame.weight(inputs[i]) != nullptr ? weights : read) += rules::bytes(frame.types[inputs[i]]);
    }
    for (const std::size_t i : g.kept_outputs_) {
      if (i < outputs.size() && outputs[i] != kNone) read += rules::bytes(frame.types[outputs[i]]);
    }
    if (!g.cost.read) g.cost.read = read;
    if (!g.cost.weights) g.cost.weights = weights;
  }
  if (!g.cost.written) {
    Count written;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (g.needs_at(i)) written += rules::bytes(frame.types[inputs[i]]);
    }
    g.cost.written = written;
  }
  for (auto* bytes : {&g.again.read, &g.again.weights, &g.again.written}) {
    if (!*bytes) *bytes = Count(0);  // in the same kernel
  }
}

void Backward::gradient(const Step& step, std::size_t at) {
  const Graph& graph = *found_.frames[step.frame].graph;
  const Node& node = node_of(step);
  const std::uint32_t row = row_of(step);
  const Span<ValueId> inputs = graph.inputs_of(node), outputs = graph.outputs_of(node);
  const bool any = std::any_of(outputs.begin(), outputs.end(),
                               [&](ValueId id) { return id != kNone && came_[place(step.frame, id)] != 0; });
  if (!any || row == kNone) return;
  const Match* match = found_.matches[node.op];
  if (match == nullptr || !match->gradient()) return unknown(at, row, kUntold);
  const Call& call = walk_.look(step.frame, step.node);
  Cost run;
  if (match->cost()) (void)match->cost()(call, run);
  Gradient g(run);
  prepare(step, g);
  const Status status = match->gradient()(call, g);
  if (!status || walk_.missed()) return unknown(at, row, "the rule of its gradient failed on these inputs");
  traffic(step, g);
  turns_.push_back(at);
  const std::vector<bool> passed = passed_on(step, g);
  note_sum(step, g);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!g.needs_at(i)) continue;
    const Place value = place(step.frame, inputs[i]);
    if (give(value, passed[i] ? place(step.frame, outputs[0]) : kNone)) accumulate(g.cost, type_of(value));
  }
  const Count times = times_of(step, row);
  if (loops_ && !times.is(1) && g.cost.trust == Trust::exact) {
    g.cost.trust = Trust::bound;
    g.cost.because = "of a loop's first iteration less may be needed";
  }
  gradients.add(row, g.cost, times);
  again.add(row, g.again, times);
  Kept kept{at, {}, !g.kept_outputs_.empty() || !g.kept_.is(0), g.kept_};
  for (const std::size_t i : g.kept_inputs_) {
    if (i < inputs.size() && inputs[i] != kNone) kept.values.push_back(place(step.frame, inputs[i]));
  }
  for (const std::size_t i : g.kept_outputs_) {
    if (i < outputs.size() && outputs[i] != kNone) kept.values.push_back(place(step.frame, outputs[i]));
  }
  if (!kept.values.empty() || !kept.bytes.is(0)) kept_.push_back(std::move(kept));
}

void Backward::collect() {
  std::set<const Stored*> seen;
  for (Place value = 0; value < came_.size(); ++value) {
    const Stored* stored = came_[value] == 0 ? nullptr : stored_of(value);
    const std::uint32_t frame = frame_of_[value];
    const Value& held = found_.frames[frame].graph->values[value - base_[frame]];
    if (stored == nullptr || !trains(*stored, held) || !seen.insert(stored).second) continue;
    trained.push_back(
        {std::string(held.name), stored->type, rules::numel(stored->type.shape), rules::bytes(stored->type)});
  }
}

void Backward::run() {
  find_unmatched();
  seed();
  forward();
  backward_reach();
  const Frame& top = found_.frames.front();
  for (std::size_t i = 0; i < top.graph->outputs.size(); ++i) {
    const Place value = place(0, top.graph->outputs[i]);
    if (reached_[value] && is_given(i) && came_[value] == 0) give(value);
  }
  for (std::size_t at = steps_.size(); at-- > 0;) {
    const Step& step = steps_[at];
    if (step.frame != kNone) {
      gradient(step, at);
    } else if (needs_[step.from] && (step.back ? reached_[step.to] : came_[step.to] != 0)) {
      give(step.from, step.to);
    }
  }
  collect();
  find_segments();
  measure();
  put_lives(*this);
  for (std::uint32_t row = 0; row < found_.node.size(); ++row) {
    if (!gradients.touched[row]) gradients.because[row] = "no gradient goes through it";
    if (!again.touched[row]) again.because[row] = "nothing is computed again";
  }
}

}  // namespace macsim
