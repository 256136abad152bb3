// Memory held while a model runs: tensors by when they are made and last read.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <utility>

#include "flow.hpp"

namespace macsim {
namespace {

/// When a tensor is there: rows from the first to the last, both included.
struct Life {
  std::uint32_t tensor = 0, from = 0, to = 0;
};

class Living {
 public:
  Living(const Flow& flow, const Report& report, const MemoryOptions& options)
      : flow_(flow),
        report_(report),
        options_(options),
        rows_(static_cast<std::uint32_t>(flow.rows())),
        place_(flow.values()) {
    for (std::uint32_t v = 0; v < place_.size(); ++v) place_[v] = v;
  }

  std::vector<Life> run() {
    find_ends();
    if (options_.by_module) hold_by_module();
    if (options_.by_program) hold_by_program();
    follow_writes();
    for (std::uint32_t row = 0; row < rows_; ++row) {
      for (const Touch& touch : flow_.writes(row)) reuse(row, touch);
    }
    // Tensors in one place live as one.
    std::vector<Life> all;
    std::vector<std::uint32_t> at(flow_.values(), kNone);
    const auto live = [&](std::uint32_t tensor, std::uint32_t from, std::uint32_t to) {
      const std::uint32_t place = place_of(tensor);
      if (at[place] == kNone) {
        at[place] = static_cast<std::uint32_t>(all.size());
        all.push_back({place, from, to});
      } else {
        Life& life = all[at[place]];
        life.from = std::min(life.from, from);
        life.to = std::max(life.to, to);
      }
    };
    for (std::uint32_t v = 0; v < flow_.values(); ++v) {
      const Duty duty = flow_.duty(v);
      const bool given = flow_.producer(v) == kNone;
      if (duty == Duty::weight || flow_.size(v) == Amounts::kZero) continue;
      if (given && (duty == Duty::input || duty == Duty::cache)) live(v, 0, rows_);
    }
    for (std::uint32_t row = 0; row < rows_; ++row) {
      for (const Touch& touch : flow_.writes(row)) {
        if (flow_.size(touch.tensor) != Amounts::kZero) live(touch.tensor, row, end_[touch.tensor]);
      }
    }
    return all;
  }

 private:
  // The last row that needs each tensor; outputs are needed to the end, what bodies take and give until they are done.
  void find_ends() {
    end_.assign(flow_.values(), 0);
    for (std::uint32_t row = 0; row < rows_; ++row) {
      for (const Touch& touch : flow_.writes(row)) end_[touch.tensor] = std::max(end_[touch.tensor], row);
      for (const Touch& touch : flow_.reads(row)) end_[touch.tensor] = std::max(end_[touch.tensor], row);
    }
    hold_for_bodies();
    for (std::uint32_t v = 0; v < flow_.values(); ++v) {
      if (flow_.leaves(v)) end_[v] = rows_;
    }
  }

  // What a body takes, sees and gives is there while it runs: there may be another round.
  void hold_for_bodies() {
    const auto& frames = flow_.found.frames;
    if (frames.size() == 1) return;
    std::vector<std::uint32_t> last(frames.size(), 0);
    for (std::uint32_t row = 0; row < rows_; ++row) last[flow_.found.frame[row]] = row;
    for (auto f = static_cast<std::uint32_t>(frames.size() - 1); f > 0; --f) {
      const Frame& frame = frames[f];
      last[frame.outer] = std::max(last[frame.outer], last[f]);
      if (frame.caller == nullptr || frame.function != nullptr) continue;
      const auto hold = [&](std::uint32_t in, ValueId id) {
        if (id == kNone) return;
        std::uint32_t& end = end_[flow_.tensor_of(in, id)];
        end = std::max(end, last[f]);
      };
      for (const ValueId id : frames[frame.outer].graph->inputs_of(*frame.caller)) hold(frame.outer, id);
      for (const Graph::Capture& capture : frame.graph->captures) hold(f, capture.inner);
      for (const ValueId id : frame.graph->outputs) hold(f, id);
    }
  }

  // What is made before a module is called and read in it is there until the module returns.
  void hold_by_module() {
    struct Called {
      std::string path;
      std::uint32_t first;
    };
    std::vector<Called> open;
    const auto close = [&](std::uint32_t end) {
      for (std::uint32_t row = open.back().first; row < end; ++row) {
        for (const Touch& touch : flow_.reads(row)) {
          const std::uint32_t maker = flow_.producer(touch.tensor);
          if (maker != kNone && maker < open.back().first) end_[touch.tensor] = std::max(end_[touch.tensor], end - 1);
        }
      }
      open.pop_back();
    };
    for (std::uint32_t row = 0; row < rows_; ++row) {
      const std::string path = report_.scope(row);
      const auto within = [&](const std::string& outer) {
        return path.starts_with(outer) && (path.size() == outer.size() || path[outer.size()] == '.');
      };
      while (!open.empty() && !within(open.back().path)) close(row);
      std::size_t dot = open.empty() ? 0 : open.back().path.size() + 1;
      while (dot <= path.size() && !path.empty() && (open.empty() || open.back().path.size() < path.size())) {
        const std::size_t next = std::min(path.find('.', dot), path.size());
        open.push_back({path.substr(0, next), row});
        dot = next + 1;
      }
    }
    while (!open.empty()) close(rows_);
  }

  // A variable holds a tensor until it goes, or the function that it is in returns; views hold what they are views of.
  void hold_by_program() {
    const auto& nodes = flow_.found.node;
    std::vector<bool> gone(flow_.values(), false);
    for (const Release& release : flow_.found.released) {
      const auto next =
          static_cast<std::uint32_t>(std::lower_bound(nodes.begin(), nodes.end(), release.node) - nodes.begin());
      const std::uint32_t tensor = flow_.tensor_of(0, release.value);
      gone[flow_.value_of(0, release.value)] = true;
      if (next > 0 && end_[tensor] < next - 1) end_[tensor] = next - 1;
    }
    for (std::uint32_t row = 0; row < rows_; ++row) {
      for (const Touch& touch : flow_.writes(row)) {
        if (!gone[touch.value]) end_[touch.tensor] = rows_;
      }
    }
  }

  std::uint32_t place_of(std::uint32_t tensor) const {
    while (place_[tensor] != tensor) tensor = place_[tensor];
    return tensor;
  }

  // The result of a call that writes to what is there is where that was.
  void follow_writes() {
    for (const auto& [node, old, now] : flow_.found.rewritten) {
      const std::uint32_t before = flow_.tensor_of(0, old), after = flow_.tensor_of(0, now);
      if (before == after || flow_.duty(before) == Duty::weight) continue;
      if (place_[after] == after) place_[after] = place_of(before);
    }
  }

  // The result of an operator that works point by point may be where an input was, when it is of the same size and
  // nobody needs the input later.
  void reuse(std::uint32_t row, const Touch& made) {
    const Span<Touch> read = flow_.reads(row);
    if (read.empty() || flow_.writes(row)[0].tensor != made.tensor || place_[made.tensor] != made.tensor) return;
    const bool cache_grows = flow_.access(row) == Access::update && flow_.duty(read[0].tensor) == Duty::cache &&
                             flow_.size(made.tensor) == flow_.size(read[0].tensor);
    const bool by_point = options_.in_place && flow_.access(row) == Access::pointwise;
    if (!by_point && !(cache_grows && options_.in_place)) return;
    for (const Touch& touch : read) {
      const Duty duty = flow_.duty(touch.tensor);
      if (duty == Duty::weight || duty == Duty::input || flow_.producer(touch.tensor) == kNone) continue;
      const std::uint32_t place = place_of(touch.tensor);
      if (end_[touch.tensor] != row || ends_later(place, row)) continue;
      if (flow_.size(place) != flow_.size(made.tensor) ||
          flow_.region(row) != flow_.region(flow_.producer(touch.tensor))) {
        continue;
      }
      place_[made.tensor] = place;
      return;
    }
  }
  bool ends_later(std::uint32_t place, std::uint32_t row) const { return end_[place] > row; }

  const Flow& flow_;
  const Report& report_;
  const MemoryOptions& options_;
  std::uint32_t rows_;
  std::vector<std::uint32_t> place_, end_;
};

}  // namespace

Memory memory_of(const Flow& flow, const Report& report, const MemoryOptions& options) {
  const auto rows = static_cast<std::uint32_t>(flow.rows());
  Memory out;
  out.weights = flow.bound(report.weight_bytes());
  const std::vector<Life> lives = Living(flow, report, options).run();
  Amounts amounts = flow.amounts();
  std::vector<std::vector<Amounts::Id>> born(rows + 1), dead(rows + 2);
  for (const Life& life : lives) {
    const Amounts::Id size = flow.size(life.tensor);
    if (!amounts[size].defined()) {
      out.trust = Trust::unknown;
      continue;
    }
    born[life.from].push_back(size);
    dead[life.to + 1].push_back(size);
  }
  std::vector<Amounts::Id> held_at;
  held_at.reserve(rows);
  Amounts::Id held = Amounts::kZero, most = Amounts::kZero;
  for (std::uint32_t row = 0; row < rows; ++row) {
    const Amounts::Id before = held;
    for (const Amounts::Id size : dead[row]) held = amounts.subtract(held, size);
    for (const Amounts::Id size : born[row]) held = amounts.add(held, size);
    held_at.push_back(held);
    if (held != before) most = amounts.larger(most, held);
  }
  out.timeline.reserve(rows);
  for (const Amounts::Id at : held_at) out.timeline.push_back(amounts[at]);
  out.activations = amounts[most];
  out.peak_bytes = out.weights + out.activations;
  if (!out.activations.defined()) out.trust = Trust::unknown;
  const auto found = std::find(out.timeline.begin(), out.timeline.end(), out.activations);
  if (found == out.timeline.end()) return out;
  out.peak = static_cast<std::uint32_t>(found - out.timeline.begin());
  for (const Life& life : lives) {
    const Count& size = flow.count(flow.size(life.tensor));
    if (life.from > out.peak || life.to < out.peak || !size.defined()) continue;
    const std::uint32_t maker = flow.producer(life.tensor);
    std::string name(flow.name(life.tensor));
    if (name.empty() && maker != kNone) name = report.path(maker);
    out.alive.push_back({std::move(name), flow.type(life.tensor), flow.duty(life.tensor), size, life.from, life.to});
  }
  std::stable_sort(out.alive.begin(), out.alive.end(), [](const Held& a, const Held& b) {
    return at_least(a.bytes, b.bytes) == Truth::yes && a.bytes != b.bytes;
  });
  return out;
}

}  // namespace macsim
