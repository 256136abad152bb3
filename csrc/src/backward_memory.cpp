// What is kept from the run for the backward pass, and what is computed again instead.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "backward.hpp"
#include "rules/support.hpp"

namespace macsim {
namespace {

std::vector<std::string_view> parts_of(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    const std::size_t dot = path.find('.');
    parts.push_back(path.substr(0, dot));
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  }
  return parts;
}

// The first parts of a scope, where each fits the pattern's; empty: they do not.
std::string_view fitting(std::string_view pattern, std::string_view scope) {
  const auto wanted = parts_of(pattern), there = parts_of(scope);
  if (wanted.empty() || there.size() < wanted.size()) return {};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!fits(wanted[i], there[i])) return {};
  }
  const std::string_view last = there[wanted.size() - 1];
  return scope.substr(0, static_cast<std::size_t>(last.data() + last.size() - scope.data()));
}

}  // namespace

// Of what a run in evaluation passes on as it is, such as a dropout, training may make something new.
bool Backward::draws(const Step& step) {
  const Match* match = found_.matches[node_of(step).op];
  if (match == nullptr || !match->gradient()) return false;
  const Cost none;
  Gradient g(none);
  prepare(step, g);
  return match->gradient()(walk_.look(step.frame, step.node), g) && !g.kept_.is(0);
}

// A row without work and traffic whose result has its input's dtype is a view of it.
void Backward::find_memories() {
  made_.assign(memory_.size(), SIZE_MAX);
  auto rewrite = found_.rewritten.begin();
  for (std::size_t at = 0; at < steps_.size(); ++at) {
    const Step& step = steps_[at];
    if (step.frame == kNone) {
      if (!step.back && !step.inside) memory_[step.to] = memory_[step.from];
      continue;
    }
    const Frame& frame = found_.frames[step.frame];
    const Node& node = node_of(step);
    const std::uint32_t row = row_of(step);
    const Span<ValueId> inputs = frame.graph->inputs_of(node), outputs = frame.graph->outputs_of(node);
    bool idle = row != kNone && report_.trust(row) == Trust::exact && !inputs.empty() && inputs[0] != kNone;
    for (std::size_t c = 0; c < kColumns && idle; ++c) idle = report_.at(static_cast<Column>(c), row).is(0);
    idle = idle && !draws(step);
    for (const ValueId id : outputs) {
      if (id == kNone) continue;
      made_[place(step.frame, id)] = at;
      const bool view = idle && is_data(step, 0) && frame.types[id].dtype == frame.types[inputs[0]].dtype;
      if (view) memory_[place(step.frame, id)] = memory_[place(step.frame, inputs[0])];
    }
    if (step.frame != 0) continue;
    for (; rewrite != found_.rewritten.end() && rewrite->node == step.node; ++rewrite) {
      memory_[rewrite->now] = memory_[rewrite->old];
    }
  }
}

std::string Backward::segment_of(const Step& step) const {
  const std::string scope = scope_of(found_, row_of(step));
  for (const std::string& pattern : options_.recompute) {
    const std::string_view found = fitting(pattern, scope);
    if (!found.empty()) return std::string(found);
  }
  return {};
}

// A pattern that fits nothing is a slip of the pen: the numbers would be of something else.
void Backward::find_unmatched() {
  std::set<std::string_view> stored, given;
  for (const Frame& frame : found_.frames) {
    for (const Value& value : frame.graph->values) {
      if (value.stored != kNone) stored.insert(value.name);
    }
  }
  const Graph& top = *found_.frames.front().graph;
  for (const ValueId id : top.inputs) given.insert(top.values[id].name);
  std::vector<std::string> paths;
  if (!options_.recompute.empty()) {
    for (std::uint32_t row = 0; row < found_.node.size(); ++row) {
      std::string scope = scope_of(found_, row);
      if (paths.empty() || paths.back() != scope) paths.push_back(std::move(scope));
    }
  }
  const auto check = [&](const std::vector<std::string>& patterns, const auto& names, const auto& matches) {
    for (const std::string& pattern : patterns) {
      if (pattern == "*" || std::any_of(names.begin(), names.end(), [&](const auto& n) { return matches(pattern, n); }))
        continue;
      unmatched.push_back(pattern);
    }
  };
  const auto whole = [](std::string_view pattern, std::string_view name) { return fits(pattern, name); };
  check(options_.frozen, stored, whole);
  check(options_.trained, stored, whole);
  check(options_.inputs, given, whole);
  check(options_.recompute, paths,
        [](std::string_view pattern, std::string_view scope) { return !fitting(pattern, scope).empty(); });
}

void Backward::find_segments() {
  segment_.assign(steps_.size(), kNone);
  std::uint32_t next = 0;
  std::string before;
  for (std::size_t at = 0; at < steps_.size(); ++at) {
    const Step& step = steps_[at];
    if (step.frame == kNone || row_of(step) == kNone) continue;
    const auto& marked = found_.checkpointed;
    const auto stretch =
        step.frame != 0 ? marked.end() : std::find_if(marked.begin(), marked.end(), [&](const Stretch& s) {
          return step.node >= s.first && step.node < s.end;
        });
    std::string now;
    const bool whole = stretch != marked.end() && stretch->whole;
    if (stretch != marked.end()) {
      now = "\n" + std::to_string(stretch - marked.begin());  // no scope has a name like it
    } else if (!options_.recompute.empty()) {
      now = segment_of(step);
    }
    if (now != before) ++next;
    if (!now.empty()) segment_[at] = next;
    if (!now.empty() && whole) whole_.insert(next);
    before = std::move(now);
  }
}

Count Backward::bytes_of(Place memory) const {
  return rules::bytes(type_of(memory)) * found_.frames[frame_of_[memory]].times;
}

void Backward::run_again(std::size_t first, std::size_t end) {
  for (std::size_t at = first; at < end; ++at) {
    const std::uint32_t row = steps_[at].frame == kNone ? kNone : row_of(steps_[at]);
    if (row == kNone || segment_[at] != segment_[first]) continue;
    Cost cost;
    for (std::size_t w = 0; w < kWorks; ++w) cost.work[w] = report_.at(static_cast<Column>(w), row);
    cost.read = report_.at(Column::read, row);
    cost.weights = report_.at(Column::weights, row);
    cost.written = report_.at(Column::written, row);
    cost.masked = report_.at(Column::masked, row);
    cost.trust = report_.trust(row);
    cost.because = report_.because(row);
    again.add(row, cost, 1);
  }
}

// Outside of segments everything is kept until it is needed, of a segment what goes in. All of a segment is run again
// up to the last of what is kept inside: that is where torch stops.
void Backward::measure() {
  struct Segment {
    std::size_t first = SIZE_MAX, end = 0;
    std::set<Place> inside;
    Count bytes;
  };
  std::map<std::uint32_t, Segment> segments;
  std::set<Place> outside;
  for (const Kept& kept : kept_) {
    const std::uint32_t id = segment_[kept.step];
    const Count times = found_.frames[steps_[kept.step].frame].times;
    Segment* segment = id == kNone ? nullptr : &segments[id];
    if (segment != nullptr) segment->end = std::max(segment->end, kept.step + (kept.results ? 1 : 0));
    (segment != nullptr ? segment->bytes : saved) += kept.bytes * times;
    for (const Place value : kept.values) {
      if (stored_of(memory_[value]) == nullptr) (segment != nullptr ? segment->inside : outside).insert(memory_[value]);
    }
  }
  for (std::size_t at = 0; at < steps_.size(); ++at) {
    const auto segment = segments.find(segment_[at]);
    if (segment == segments.end()) continue;
    segment->second.first = std::min(segment->second.first, at);
    if (whole_.contains(segment->first)) segment->second.end = at + 1;
    const Step& step = steps_[at];
    for (const ValueId id : found_.frames[step.frame].graph->inputs_of(node_of(step))) {
      if (id == kNone) continue;
      const Place memory = memory_[place(step.frame, id)];
      const bool from_outside = made_[memory] == SIZE_MAX || segment_[made_[memory]] != segment_[at];
      if (!from_outside || stored_of(memory) != nullptr) continue;
      outside.insert(memory);
      segment->second.inside.erase(memory);
    }
  }
  for (const Place memory : outside) saved += bytes_of(memory);
  for (auto& [id, segment] : segments) {
    for (const Place memory : segment.inside) segment.bytes += bytes_of(memory);
    run_again(segment.first, segment.end);
    if (!(recomputed == segment.bytes)) recomputed = max(recomputed, segment.bytes);
  }
}

}  // namespace macsim
