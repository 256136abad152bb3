// The flow of tensors: values of all frames, views looked through, and what each row reads and writes of them.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "flow.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "rules/support.hpp"

namespace macsim {
namespace {

constexpr std::size_t kSized = 1024;  // types whose bytes are remembered: a power of 2

bool has_bytes(const Type& type) { return type.kind == Kind::tensor && type.dtype != DType::string; }

}  // namespace

Flow::Flow(const Report::Data& from, std::optional<std::vector<std::string>> cache)
    : data(from), found(*from.found), cache_(std::move(cache)) {
  number();
  classify();
  const std::size_t count = rows();
  read_first_.reserve(count + 1);
  write_first_.reserve(count + 1);
  reads_.reserve(2 * count);
  writes_.reserve(count);
  for (const ValueId id : found.frames.front().graph->inputs) (void)sized(0, id);
  for (std::size_t row = 0; row < count; ++row) go_through(row);
  read_first_.push_back(static_cast<std::uint32_t>(reads_.size()));
  write_first_.push_back(static_cast<std::uint32_t>(writes_.size()));
  join_stacks();
  find_escapes();
  find_readers();
}

// Names that exporters and runtimes give to the keys and values of earlier tokens: past_key_values.0.key,
// present.0.value, k_cache. Where names are given, these.
bool Flow::is_cache_name(std::string_view name) const {
  if (cache_) return std::find(cache_->begin(), cache_->end(), name) != cache_->end();
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lower.starts_with("past_") || lower.starts_with("present") || lower.find("past_key") != std::string::npos ||
         lower.find("cache") != std::string::npos || lower.find("past_value") != std::string::npos;
}

void Flow::number() {
  for (const Match* match : found.matches) {
    access_.push_back(match == nullptr ? Access::other : match->rule->access);
  }
  base_.reserve(found.frames.size() + 1);
  region_.reserve(found.frames.size());
  std::uint32_t values = 0;
  for (std::uint32_t f = 0; f < found.frames.size(); ++f) {
    const Frame& frame = found.frames[f];
    frames_.push_back(&frame);
    base_.push_back(values);
    values += static_cast<std::uint32_t>(frame.graph->values.size());
    region_.push_back(frame.function != nullptr ? region_[frame.outer] : f);
  }
  base_.push_back(values);
  alias_.resize(values);
  for (std::uint32_t v = 0; v < values; ++v) alias_[v] = v;
  producer_.assign(values, kNone);
  escapes_.assign(values, false);
  leaves_.assign(values, false);
  duty_.assign(values, Duty::activation);
  size_.assign(values, kNone);
  sized_.resize(kSized);
  for (std::uint32_t f = 0; f < found.frames.size(); ++f) {
    const Frame& frame = found.frames[f];
    if (frame.caller == nullptr) continue;
    for (const Graph::Capture& capture : frame.graph->captures) {
      alias_[base_[f] + capture.inner] = base_[frame.outer] + capture.outer;
    }
    const Graph& around = *found.frames[frame.outer].graph;
    const Span<ValueId> given = around.inputs_of(*frame.caller), results = around.outputs_of(*frame.caller);
    if (frame.function == nullptr) continue;
    for (std::size_t i = 0; i < given.size() && i < frame.graph->inputs.size(); ++i) {
      if (given[i] != kNone) alias_[base_[f] + frame.graph->inputs[i]] = base_[frame.outer] + given[i];
    }
    for (std::size_t i = 0; i < results.size() && i < frame.graph->outputs.size(); ++i) {
      if (results[i] != kNone) alias_[base_[frame.outer] + results[i]] = base_[f] + frame.graph->outputs[i];
    }
  }
  join_bodies();
}

void Flow::classify() {
  for (std::uint32_t f = 0; f < found.frames.size(); ++f) {
    const Graph& graph = *found.frames[f].graph;
    for (ValueId id = 0; id < graph.values.size(); ++id) {
      if (graph.values[id].stored != kNone) duty_[base_[f] + id] = Duty::weight;
    }
  }
  const Graph& top = *found.frames.front().graph;
  for (const ValueId id : top.inputs) {
    if (top.values[id].stored == kNone) duty_[id] = is_cache_name(top.values[id].name) ? Duty::cache : Duty::input;
  }
}

std::uint32_t Flow::tensor_of(std::uint32_t frame, ValueId id) const noexcept {
  std::uint32_t v = base_[frame] + id;
  while (alias_[v] != v) v = alias_[v];
  return v;
}

const Count& Flow::at(Column column, std::size_t row) const {
  static const Count none;
  const auto& values = data.columns[static_cast<std::size_t>(column)];
  return row < values.size() ? values[row] : none;
}

void Flow::go_through(std::size_t row) {
  read_first_.push_back(static_cast<std::uint32_t>(reads_.size()));
  write_first_.push_back(static_cast<std::uint32_t>(writes_.size()));
  const std::uint32_t f = found.frame[row];
  const Frame& frame = *frames_[f];
  const Graph& graph = *frame.graph;
  const Node& node = graph.nodes[found.node[row]];
  const Access how = access_[node.op];
  const auto own = static_cast<std::uint32_t>(row);
  const bool still = at(Column::read, row).is(0) && at(Column::weights, row).is(0) && at(Column::written, row).is(0);
  if (still) {
    const bool passes = how != Access::other && how != Access::contraction && how != Access::update;
    const ValueId from = node.inputs == 0 ? kNone : graph.inputs_of(node)[0];
    for (const ValueId id : graph.outputs_of(node)) {
      if (id == kNone || alias_[base_[f] + id] != base_[f] + id) continue;
      if (passes && from != kNone) {
        alias_[base_[f] + id] = tensor_of(f, from);
      } else {
        producer_[base_[f] + id] = own;
      }
    }
    return;
  }
  const Amounts::Id repeat = times(row);
  add_reads(row, node, f, repeat);
  const std::size_t first = writes_.size();
  for (const ValueId id : graph.outputs_of(node)) {
    if (id == kNone) continue;
    const std::uint32_t value = base_[f] + id, tensor = tensor_of(f, id);
    producer_[tensor] = own;
    if (!has_bytes(frame.types[id])) continue;
    if (how == Access::update && writes_.size() == first && reads_.size() > read_first_.back() &&
        duty_[reads_[read_first_.back()].tensor] == Duty::cache) {
      duty_[tensor] = Duty::cache;
    }
    writes_.push_back({tensor, value, amounts_.multiply(sized(f, id), repeat)});
  }
  if (!is_custom(row) || writes_.size() == first) return;
  // The first result has what the others leave; where that is nothing, it has all.
  const Amounts::Id written = amounts_.of(at(Column::written, row));
  Amounts::Id others = Amounts::kZero;
  for (std::size_t i = first + 1; i < writes_.size(); ++i) others = amounts_.add(others, writes_[i].bytes);
  Amounts::Id left = amounts_.subtract(written, others);
  if (amounts_[left].constant().value_or(0) < 0) {
    for (std::size_t i = first + 1; i < writes_.size(); ++i) writes_[i].bytes = Amounts::kZero;
    left = written;
  }
  writes_[first].bytes = left;
}

// How often a row runs.
Amounts::Id Flow::times(std::size_t row) {
  if (!found.times.empty()) {
    const auto own = found.times.find(row);
    if (own != found.times.end()) return amounts_.of(bound(own->second));
  }
  const Count& times = frame_at(row).times;
  return times.is(1) ? Amounts::kOne : amounts_.of(bound(times));
}

Amounts::Id Flow::sized(std::uint32_t frame, ValueId id) {
  Amounts::Id& size = size_[base_[frame] + id];
  if (size != kNone) return size;
  const Type& type = frames_[frame]->types[id];
  if (!has_bytes(type)) return size = Amounts::kZero;
  std::size_t hash = static_cast<std::size_t>(type.dtype) + 31 * type.shape.size();
  for (const Dim& dim : type.shape) hash = hash * 0x9e3779b97f4a7c15U + dim.hash();
  Sized& known = sized_[(hash ^ (hash >> 32)) % kSized];
  const bool same = known.type != nullptr && known.type->dtype == type.dtype && known.type->ranked == type.ranked &&
                    known.type->shape == type.shape;
  if (!same) known = {&type, amounts_.of(bound(rules::bytes(type)))};
  return size = known.id;
}

Amounts::Id Flow::sized(std::uint32_t value) {
  if (size_[value] != kNone) return size_[value];
  const std::uint32_t f = frame_of(value);
  return sized(f, value - base_[f]);
}

void Flow::add_reads(std::size_t row, const Node& node, std::uint32_t f, Amounts::Id repeat) {
  const Frame& frame = *frames_[f];
  const Match* match = found.matches[node.op];
  const std::size_t first = reads_.size();
  const Span<ValueId> inputs = frame.graph->inputs_of(node);
  const auto less = found.weight_times.find(row);
  const Amounts::Id of_weights = less == found.weight_times.end() ? repeat : amounts_.of(bound(less->second));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == kNone || !has_bytes(frame.types[inputs[i]])) continue;
    if (match != nullptr && (i < match->host.size() ? match->host[i] : match->host_rest)) continue;
    const std::uint32_t value = base_[f] + inputs[i], tensor = tensor_of(f, inputs[i]);
    (void)sized(f, inputs[i]);
    const Amounts::Id often = duty_[tensor] == Duty::weight ? of_weights : repeat;
    reads_.push_back({tensor, value, amounts_.multiply(narrow(value, tensor), often)});
  }
  if (!is_custom(row)) return;
  fit(first, amounts_.of(at(Column::read, row)), false, f);
  fit(first, amounts_.of(at(Column::weights, row)), true, f);
}

// The rule states the bytes of all activations, or of all weights, that a row reads: the first of them has what the
// others leave; where that is nothing, it has all.
void Flow::fit(std::size_t first, Amounts::Id stated, bool weights, std::uint32_t f) {
  const Frame& frame = found.frames[f];
  const auto counts = [&](const Touch& touch) {
    const ValueId id = touch.value - base_[f];
    return (frame.weight(id) != nullptr) == weights;
  };
  Touch* head = nullptr;
  Amounts::Id others = Amounts::kZero;
  for (std::size_t i = first; i < reads_.size(); ++i) {
    if (!counts(reads_[i])) continue;
    if (head == nullptr) {
      head = &reads_[i];
    } else {
      others = amounts_.add(others, reads_[i].bytes);
    }
  }
  if (head == nullptr) return;
  head->bytes = amounts_.subtract(stated, others);
  if (amounts_[head->bytes].constant().value_or(0) >= 0) return;
  for (std::size_t i = first; i < reads_.size(); ++i) {
    if (counts(reads_[i])) reads_[i].bytes = Amounts::kZero;
  }
  head->bytes = stated;
}

// Of a view no more than what it shows, nor than what is there.
Amounts::Id Flow::narrow(std::uint32_t value, std::uint32_t tensor) {
  const Amounts::Id shown = size_[value], there = value == tensor ? shown : sized(tensor);
  if (shown == there) return shown;
  if (at_least(amounts_[shown], amounts_[there], 1) == Truth::yes) return there;  // broadcast
  if (at_least(amounts_[there], amounts_[shown], 1) == Truth::yes) return shown;
  return amounts_.smaller(shown, there);
}

void Flow::find_readers() {
  reader_first_.assign(values() + 1, 0);
  for (const Touch& touch : reads_) ++reader_first_[touch.tensor + 1];
  for (std::size_t t = 0; t < values(); ++t) reader_first_[t + 1] += reader_first_[t];
  readers_.resize(reads_.size());
  std::vector<std::uint32_t> next(reader_first_.begin(), reader_first_.end() - 1);
  for (std::size_t row = 0; row < rows(); ++row) {
    for (const Touch& touch : reads(row)) readers_[next[touch.tensor]++] = static_cast<std::uint32_t>(row);
  }
}

std::uint32_t Flow::frame_of(std::uint32_t value) const {
  return static_cast<std::uint32_t>(std::upper_bound(base_.begin(), base_.end(), value) - base_.begin() - 1);
}

const Type& Flow::type(std::uint32_t value) const {
  const std::uint32_t f = base_.size() == 2 ? 0 : frame_of(value);
  return frames_[f]->types[value - base_[f]];
}

std::string_view Flow::name(std::uint32_t value) const {
  const std::uint32_t f = frame_of(value);
  return found.frames[f].graph->values[value - base_[f]].name;
}

const Nest* Flow::nest(std::size_t row) const {
  const auto at = std::lower_bound(found.nests.begin(), found.nests.end(), row,
                                   [](const auto& one, std::size_t wanted) { return one.first < wanted; });
  return at != found.nests.end() && at->first == row ? at->second.get() : nullptr;
}

}  // namespace macsim
