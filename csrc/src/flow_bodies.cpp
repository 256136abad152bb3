// Control flow: what goes into a body and comes out of it is the same tensor inside and outside.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "flow.hpp"

namespace macsim {
namespace {

enum class Control : std::uint8_t { other, branch, loop, scan, map };

Control control_of(const Op& op) noexcept {
  if (op.dialect != "onnx") return Control::other;
  return op.name == "If"            ? Control::branch
         : op.name == "Loop"        ? Control::loop
         : op.name == "Scan"        ? Control::scan
         : op.name == "SequenceMap" ? Control::map
                                    : Control::other;
}

std::size_t scans_of(const Model& model, const Node& node) {
  for (std::uint32_t i = 0; i < node.attrs; ++i) {
    const Attr& attr = model.attrs[node.first_attr + i];
    if (attr.name == "num_scan_inputs" && attr.kind == Attr::Kind::integer) {
      return static_cast<std::size_t>(std::max<std::int64_t>(attr.integer, 0));
    }
  }
  return 0;
}

}  // namespace

Span<ValueId> elements_of(const Model& model, const Graph& graph, ValueId sequence) {
  for (const Node& node : graph.nodes) {
    if (model.ops[node.op].name != "SequenceConstruct" || model.ops[node.op].dialect != "onnx") continue;
    const Span<ValueId> made = graph.outputs_of(node);
    if (made.size() == 1 && made[0] == sequence) return graph.inputs_of(node);
  }
  return {};
}

// A value is another one, where nothing says otherwise: of the same size, unless it is a part of it.
void Flow::join(std::uint32_t value, std::uint32_t to, bool part) {
  if (alias_[value] != value) return;
  const Type &one = type(value), &other = type(to);
  if (!part && (one.kind != other.kind || one.dtype != other.dtype || one.shape != other.shape)) return;
  std::uint32_t behind = to;
  while (alias_[behind] != behind) behind = alias_[behind];
  if (behind != value) alias_[value] = to;
}

void Flow::join_bodies() {
  std::map<std::pair<std::uint32_t, const Node*>, std::uint32_t> latest;  // frame of a control node's last round
  std::map<std::pair<std::uint32_t, const Node*>, std::size_t> rounds;
  for (std::uint32_t f = 1; f < found.frames.size(); ++f) {
    const Frame& frame = found.frames[f];
    if (frame.caller == nullptr || frame.function != nullptr) continue;
    const auto [at, first] = latest.try_emplace({frame.outer, frame.caller}, f);
    if (control_of(found.model->ops[frame.caller->op]) == Control::map) {
      std::size_t& round = rounds[{frame.outer, frame.caller}];
      round = first ? 0 : round + 1;
      join_elements(f, round);
    }
    join_arguments(f, first ? kNone : at->second);
    at->second = f;
  }
  for (const auto& [node, f] : latest) join_results(f);
}

// A round of SequenceMap takes an element of each sequence, and other tensors as they are.
void Flow::join_elements(std::uint32_t f, std::size_t round) {
  const Frame& frame = found.frames[f];
  const Graph& around = *found.frames[frame.outer].graph;
  const Span<ValueId> given = around.inputs_of(*frame.caller);
  for (std::size_t i = 0; i < given.size() && i < frame.graph->inputs.size(); ++i) {
    if (given[i] == kNone) continue;
    const std::uint32_t argument = base_[f] + frame.graph->inputs[i];
    if (found.frames[frame.outer].types[given[i]].kind == Kind::tensor) {
      join(argument, base_[frame.outer] + given[i], false);
      continue;
    }
    const Span<ValueId> elements = elements_of(*found.model, around, given[i]);
    if (frame.times == found.frames[frame.outer].times && round < elements.size() && elements[round] != kNone) {
      join(argument, base_[frame.outer] + elements[round], false);
    }
  }
}

// `before`: the frame of the round before; kNone: none, or not in a frame of its own.
void Flow::join_arguments(std::uint32_t f, std::uint32_t before) {
  const Frame& frame = found.frames[f];
  const Control control = control_of(found.model->ops[frame.caller->op]);
  const Span<ValueId> given = found.frames[frame.outer].graph->inputs_of(*frame.caller);
  const auto take = [&](std::size_t argument, std::size_t from, bool part) {
    if (argument >= frame.graph->inputs.size() || from >= given.size() || given[from] == kNone) return;
    join(base_[f] + frame.graph->inputs[argument], base_[frame.outer] + given[from], part);
  };
  if (control == Control::loop) {
    for (std::size_t i = 2; i < given.size(); ++i) {
      if (before == kNone) {
        take(i, i, false);
      } else if (i < frame.graph->inputs.size() && i - 1 < found.frames[before].graph->outputs.size()) {
        join(base_[f] + frame.graph->inputs[i], base_[before] + found.frames[before].graph->outputs[i - 1], false);
      }
    }
  } else if (control == Control::scan) {
    const std::size_t skipped = found.model->ops[frame.caller->op].version < 9 ? 1 : 0;
    const std::size_t states =
        frame.graph->inputs.size() - std::min(scans_of(*found.model, *frame.caller), frame.graph->inputs.size());
    for (std::size_t i = 0; i < frame.graph->inputs.size(); ++i) take(i, skipped + i, i >= states);
  }
}

// What a control node gives is what its last round gave. What all rounds gave, stacked, waits for join_stacks().
void Flow::join_results(std::uint32_t f) {
  const Frame& frame = found.frames[f];
  const Control control = control_of(found.model->ops[frame.caller->op]);
  if (control == Control::other || control == Control::map) return;
  const Graph& around = *found.frames[frame.outer].graph;
  const Span<ValueId> results = around.outputs_of(*frame.caller);
  const std::vector<ValueId>& made = frame.graph->outputs;
  const std::size_t skipped = control == Control::loop ? 1 : 0;  // the condition
  std::size_t states = made.size();
  if (control == Control::loop) states = frame.caller->inputs > 2 ? frame.caller->inputs - 2 : 0;
  if (control == Control::scan) {
    states = frame.graph->inputs.size() - std::min(scans_of(*found.model, *frame.caller), frame.graph->inputs.size());
  }
  for (std::size_t i = 0; i < results.size() && skipped + i < made.size(); ++i) {
    if (results[i] == kNone || i >= states) continue;
    join(base_[frame.outer] + results[i], base_[f] + made[skipped + i], false);
  }
  for (std::size_t i = states; i < results.size() && skipped + i < made.size(); ++i) {
    if (results[i] == kNone) continue;
    for (std::uint32_t round = frame.outer + 1; round <= f; ++round) {
      const Frame& one = found.frames[round];
      if (one.outer != frame.outer || one.caller != frame.caller) continue;
      stacks_.push_back({round, base_[round] + one.graph->outputs[skipped + i], base_[frame.outer] + results[i]});
    }
  }
}

// What the rounds of a loop make is written to where the stack of it is, when nothing else is to be there.
void Flow::join_stacks() {
  if (stacks_.empty()) return;
  std::stable_sort(stacks_.begin(), stacks_.end(), [&](const Stack& a, const Stack& b) {
    return found.frames[a.frame].outer > found.frames[b.frame].outer;  // inner loops first, their rounds in order
  });
  for (const Stack& stack : stacks_) {
    std::uint32_t made = stack.made;
    while (alias_[made] != made) made = alias_[made];
    const std::uint32_t row = producer_[made];
    if (row == kNone || made == stack.whole || alias_[stack.whole] != stack.whole) continue;
    if (write_first_[row] == write_first_[row + 1]) continue;
    std::uint32_t inside = frame_of(made);
    while (inside > stack.frame) inside = found.frames[inside].outer;
    if (inside != stack.frame) continue;  // it is there before the loop
    const std::uint32_t f = frame_of(stack.whole);
    (void)sized(f, stack.whole - base_[f]);
    alias_[made] = stack.whole;
    if (producer_[stack.whole] != kNone) earlier_[stack.whole].push_back(producer_[stack.whole]);
    producer_[stack.whole] = row;
    const auto also = earlier_.find(made);
    if (also != earlier_.end()) {
      const std::vector<std::uint32_t> rows = also->second;
      earlier_[stack.whole].insert(earlier_[stack.whole].end(), rows.begin(), rows.end());
    }
  }
  const auto follow = [&](std::vector<Touch>& touches) {
    for (Touch& touch : touches) {
      while (alias_[touch.tensor] != touch.tensor) touch.tensor = alias_[touch.tensor];
    }
  };
  follow(reads_);
  follow(writes_);
}

// Outputs of the model leave it; what bodies take and give is needed by more than rows.
void Flow::find_escapes() {
  for (std::uint32_t f = 0; f < found.frames.size(); ++f) {
    const Frame& frame = found.frames[f];
    if (frame.caller == nullptr || frame.function != nullptr) continue;
    for (const ValueId id : found.frames[frame.outer].graph->inputs_of(*frame.caller)) {
      if (id != kNone) escapes_[tensor_of(frame.outer, id)] = true;
    }
    for (const ValueId id : frame.graph->outputs) escapes_[tensor_of(f, id)] = true;
  }
  for (const ValueId id : found.frames.front().graph->outputs) {
    const std::uint32_t tensor = tensor_of(0, id);
    escapes_[tensor] = leaves_[tensor] = true;
    if (duty_[tensor] != Duty::activation) continue;
    duty_[tensor] = is_cache_name(found.frames.front().graph->values[id].name) ? Duty::cache : Duty::output;
  }
}

}  // namespace macsim
