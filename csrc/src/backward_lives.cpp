// How long each tensor of a training step is needed, and what is held when.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <utility>

#include "amounts.hpp"
#include "backward.hpp"
#include "rules/support.hpp"

namespace macsim {

std::string_view name_of(Pass pass) noexcept {
  constexpr std::string_view kNames[] = {"forward", "backward", "recompute", "optimizer"};
  return kNames[static_cast<std::size_t>(pass)];
}

std::string_view name_of(Holding holding) noexcept {
  constexpr std::string_view kNames[] = {"input",      "output",   "activation",        "saved",
                                         "recomputed", "gradient", "parameter_gradient"};
  return kNames[static_cast<std::size_t>(holding)];
}

/// Moments are the rows of the run, the rows with gradients in their order, before them those that are run again for
/// them, and the optimiser.
class Lives {
 public:
  explicit Lives(Backward& pass) : pass_(pass) {}

  void run() {
    find_segments();
    number_moments();
    find_readers();
    keep();
    hold_results();
    hold_gradients();
  }

 private:
  using Place = Backward::Place;
  using Step = Backward::Step;
  struct Segment {
    std::size_t first = SIZE_MAX, end = 0;  ///< steps that are run again
    std::uint32_t last = 0;                 ///< moment
  };

  // What is run again, as in Backward::measure().
  void find_segments() {
    for (const Backward::Kept& kept : pass_.kept_) {
      const std::uint32_t id = pass_.segment_[kept.step];
      if (id == kNone) continue;
      Segment& segment = segments_[id];
      segment.end = std::max(segment.end, kept.step + (kept.results ? 1 : 0));
    }
    for (std::size_t at = 0; at < pass_.steps_.size(); ++at) {
      const auto found = segments_.find(pass_.segment_[at]);
      if (found == segments_.end()) continue;
      found->second.first = std::min(found->second.first, at);
      if (pass_.whole_.contains(found->first)) found->second.end = at + 1;
    }
  }

  std::uint32_t moment(Pass part, std::uint32_t row) {
    pass_.moments.push_back({part, row});
    return static_cast<std::uint32_t>(pass_.moments.size() - 1);
  }

  void number_moments() {
    const std::size_t steps = pass_.steps_.size();
    run_.assign(steps, 0);
    again_.assign(steps, kNone);
    back_.assign(steps, kNone);
    std::uint32_t latest = 0;
    for (std::size_t at = 0; at < steps; ++at) {
      const Step& step = pass_.steps_[at];
      if (step.frame != kNone && pass_.row_of(step) != kNone) latest = moment(Pass::forward, pass_.row_of(step));
      run_[at] = latest;
    }
    turns_ = static_cast<std::uint32_t>(pass_.moments.size());
    std::set<std::uint32_t> done;
    for (const std::size_t at : pass_.turns_) {
      const auto found = segments_.find(pass_.segment_[at]);
      if (found != segments_.end() && done.insert(found->first).second) run_again(found->first, found->second);
      at_turn_.push_back(moment(Pass::backward, pass_.row_of(pass_.steps_[at])));
      back_[at] = at_turn_.back();
    }
    end_ = moment(Pass::optimizer, kNone);
  }

  void run_again(std::uint32_t id, Segment& segment) {
    segment.last = static_cast<std::uint32_t>(pass_.moments.size());
    for (std::size_t at = segment.first; at < segment.end; ++at) {
      const Step& step = pass_.steps_[at];
      if (step.frame == kNone || pass_.row_of(step) == kNone || pass_.segment_[at] != id) continue;
      again_[at] = segment.last = moment(Pass::recompute, pass_.row_of(step));
    }
  }

  // The last moments of the run, and of its repetition, that read what lies in a memory.
  void find_readers() {
    last_.assign(pass_.memory_.size(), 0);
    again_from_.assign(pass_.memory_.size(), kNone);
    again_to_.assign(pass_.memory_.size(), 0);
    saved_.assign(pass_.memory_.size(), false);
    for (std::size_t at = 0; at < pass_.steps_.size(); ++at) {
      const Step& step = pass_.steps_[at];
      if (step.frame == kNone) continue;
      const Graph& graph = *pass_.found_.frames[step.frame].graph;
      for (const ValueId id : graph.outputs_of(pass_.node_of(step))) {
        if (id == kNone) continue;
        const Place memory = pass_.memory_[pass_.place(step.frame, id)];
        last_[memory] = std::max(last_[memory], run_[at]);
        if (again_[at] == kNone) continue;
        again_from_[memory] = std::min(again_from_[memory], again_[at]);
        again_to_[memory] = std::max(again_to_[memory], again_[at]);
      }
      for (const ValueId id : graph.inputs_of(pass_.node_of(step))) {
        if (id == kNone) continue;
        const Place memory = pass_.memory_[pass_.place(step.frame, id)];
        last_[memory] = std::max(last_[memory], run_[at]);
        if (again_[at] == kNone) continue;
        if (again_from_[memory] == kNone) save(memory, segments_.at(pass_.segment_[at]).last);  // it goes in
        if (again_from_[memory] != kNone) again_to_[memory] = std::max(again_to_[memory], again_[at]);
      }
    }
  }

  void save(Place memory, std::uint32_t until) {
    last_[memory] = std::max(last_[memory], until);
    saved_[memory] = true;
  }

  // What gradients need is there until they are computed.
  void keep() {
    for (const Backward::Kept& kept : pass_.kept_) {
      const std::uint32_t until = back_[kept.step], repeated = again_[kept.step];
      const Step& step = pass_.steps_[kept.step];
      if (!kept.bytes.is(0)) {
        const bool again = repeated != kNone;
        add({{},
             Type::unranked(DType::unknown),
             again ? Holding::recomputed : Holding::saved,
             kept.bytes * pass_.found_.frames[step.frame].times,
             again ? repeated : run_[kept.step],
             until,
             pass_.row_of(step)});
      }
      for (const Place value : kept.values) {
        const Place memory = pass_.memory_[value];
        if (pass_.stored_of(memory) != nullptr) continue;
        if (again_from_[memory] != kNone && pass_.segment_[pass_.made_[memory]] == pass_.segment_[kept.step]) {
          again_to_[memory] = std::max(again_to_[memory], until);
        } else {
          save(memory, until);
        }
      }
    }
  }

  void add(HeldInStep held) {
    if (!held.bytes.is(0)) pass_.lives.push_back(std::move(held));
  }

  HeldInStep tensor(Place value, Holding what, std::uint32_t from, std::uint32_t to) const {
    HeldInStep held;
    const std::uint32_t frame = pass_.frame_of_[value];
    held.name = pass_.found_.frames[frame].graph->values[value - pass_.base_[frame]].name;
    held.type = pass_.type_of(value);
    held.what = what;
    const bool kept = what == Holding::saved || what == Holding::recomputed;
    held.bytes = kept ? pass_.bytes_of(value) : rules::bytes(held.type);
    held.from = from;
    held.to = to;
    const std::size_t made = pass_.made_[value];
    if (made != SIZE_MAX) held.row = pass_.row_of(pass_.steps_[made]);
    return held;
  }

  void hold_results() {
    const Graph& graph = *pass_.found_.frames.front().graph;
    std::vector<Holding> what(pass_.memory_.size(), Holding::activation);
    for (const ValueId id : graph.outputs) what[pass_.memory_[pass_.place(0, id)]] = Holding::output;
    for (const ValueId id : graph.inputs) what[pass_.memory_[pass_.place(0, id)]] = Holding::input;
    for (Place memory = 0; memory < pass_.memory_.size(); ++memory) {
      if (pass_.memory_[memory] != memory || pass_.stored_of(memory) != nullptr) continue;
      const std::size_t made = pass_.made_[memory];
      const bool all_along = what[memory] != Holding::activation;
      if (made == SIZE_MAX && what[memory] != Holding::input) continue;
      const Holding as = !all_along && saved_[memory] ? Holding::saved : what[memory];
      add(tensor(memory, as, made == SIZE_MAX ? 0 : run_[made], all_along ? end_ : last_[memory]));
      if (again_from_[memory] != kNone) {
        add(tensor(memory, Holding::recomputed, again_from_[memory], again_to_[memory]));
      }
    }
  }

  std::uint32_t at_turn(std::size_t turn) const { return turn < at_turn_.size() ? at_turn_[turn] : end_; }

  // A gradient is there from when it is computed until the row takes it that made what it is of; those of parameters
  // and of inputs stay.
  void hold_gradients() {
    std::vector<std::uint32_t> to(pass_.came_.size(), 0);
    std::vector<bool> stays(pass_.came_.size(), false);
    for (Place value = 0; value < pass_.came_.size(); ++value) {
      const Place tensor = pass_.gradient_[value];
      if (tensor == kNone) continue;
      const std::size_t made = pass_.made_[value];
      const bool last = made == SIZE_MAX && pass_.frame_of_[value] == 0;
      const std::uint32_t until = last ? end_ : made == SIZE_MAX || back_[made] == kNone ? 0 : back_[made];
      to[tensor] = std::max({to[tensor], until, at_turn(pass_.arrived_[tensor])});
      if (last && pass_.stored_of(value) != nullptr) stays[tensor] = true;
    }
    for (Place value = 0; value < pass_.came_.size(); ++value) {
      if (pass_.gradient_[value] != value && to[value] == 0) continue;
      if (pass_.came_[value] == 0) continue;
      const std::uint32_t until =
          std::max(to[value], pass_.released_[value] == 0 ? 0 : at_turn(pass_.released_[value]));
      const Holding what = stays[value] ? Holding::parameter_gradient : Holding::gradient;
      add(tensor(value, what, at_turn(pass_.arrived_[value]), until));
    }
    for (const Backward::Spare& spare : pass_.spares_) {
      add(tensor(spare.value, Holding::gradient, at_turn(spare.turn), at_turn(spare.turn)));
    }
  }

  Backward& pass_;
  std::map<std::uint32_t, Segment> segments_;
  std::vector<std::uint32_t> run_, again_, back_;  // by step: its moments
  std::vector<std::uint32_t> at_turn_;             // by turn: its moment
  std::uint32_t turns_ = 0, end_ = 0;
  std::vector<std::uint32_t> last_, again_from_, again_to_;  // by memory
  std::vector<bool> saved_;
};

void put_lives(Backward& pass) { Lives(pass).run(); }

// Of an input that was spread, a product with the gradient is there in full before it is summed.
void Backward::note_sum(const Step& step, const Gradient& g) {
  const Node& node = node_of(step);
  const Frame& frame = found_.frames[step.frame];
  const Span<ValueId> inputs = frame.graph->inputs_of(node), outputs = frame.graph->outputs_of(node);
  if (found_.matches[node.op]->rule->access != Access::pointwise || !g.comes() || inputs.size() < 2) return;
  if (g.cost[Work::mul].is(0) && g.cost[Work::div].is(0)) return;
  const Count size = rules::bytes(frame.types[outputs[0]]);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!g.needs_at(i) || rules::bytes(frame.types[inputs[i]]) == size) continue;
    spares_.push_back({turn(), place(step.frame, outputs[0])});
    return;
  }
}

// Rows whose result is the gradient as it came, or a view of it, write nothing; others write all that is new.
std::vector<bool> Backward::passed_on(const Step& step, const Gradient& g) const {
  const Frame& frame = found_.frames[step.frame];
  const Span<ValueId> inputs = frame.graph->inputs_of(node_of(step)), outputs = frame.graph->outputs_of(node_of(step));
  std::vector<bool> passed(inputs.size(), false);
  if (!g.comes() || !g.cost.written) return passed;
  Count rest = -*g.cost.written;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (g.needs_at(i)) rest += rules::bytes(frame.types[inputs[i]]);
  }
  const Count size = rules::bytes(frame.types[outputs[0]]);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!g.needs_at(i)) continue;
    if (g.cost.written->is(0)) {
      passed[i] = true;
    } else if (rules::bytes(frame.types[inputs[i]]) == size && at_least(rest, size) == Truth::yes) {
      passed[i] = true;
      rest -= size;
    }
  }
  return passed;
}

StepMemory Training::memory() const {
  StepMemory out;
  out.always = weights + states;
  Amounts amounts;
  std::vector<std::vector<Amounts::Id>> born(moments.size() + 1), dead(moments.size() + 2);
  for (const HeldInStep& one : held) {
    if (!one.bytes.defined()) {
      out.trust = Trust::unknown;
      continue;
    }
    const Amounts::Id size = amounts.of(one.bytes);
    born[one.from].push_back(size);
    dead[one.to + 1].push_back(size);
  }
  std::vector<Amounts::Id> line;
  Amounts::Id now = Amounts::kZero, most = Amounts::kZero;
  for (std::size_t at = 0; at < moments.size(); ++at) {
    const Amounts::Id before = now;
    for (const Amounts::Id size : dead[at]) now = amounts.subtract(now, size);
    for (const Amounts::Id size : born[at]) now = amounts.add(now, size);
    line.push_back(now);
    if (now != before) most = amounts.larger(most, now);
  }
  for (const Amounts::Id at : line) out.timeline.push_back(amounts[at]);
  out.peak = out.always + amounts[most];
  if (!out.peak.defined()) out.trust = Trust::unknown;
  const auto found = std::find(line.begin(), line.end(), most);
  if (found == line.end() || line.empty()) return out;
  out.moment = static_cast<std::uint32_t>(found - line.begin());
  for (const HeldInStep& one : held) {
    if (one.from > out.moment || one.to < out.moment || !one.bytes.defined()) continue;
    out.alive.push_back(one);
    if (one.name.empty() && one.row != kNone) out.alive.back().name = forward.path(one.row);
  }
  std::stable_sort(out.alive.begin(), out.alive.end(), [](const HeldInStep& a, const HeldInStep& b) {
    return at_least(a.bytes, b.bytes) == Truth::yes && a.bytes != b.bytes;
  });
  return out;
}

}  // namespace macsim
