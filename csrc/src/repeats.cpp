// Layers repeat: a node like an earlier one gets the same types and the same row, without asking its rule again.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "walk.hpp"

namespace macsim {
namespace {

constexpr std::size_t kMostKnown = 32;  // of an operator: more than a model has kinds of layers
constexpr std::size_t kTries = 128;     // where fewer than half of so many nodes are like others, it is given up
constexpr std::uint8_t kThere = 1, kWeight = 2, kHost = 4, kContents = 8;  // of a source
constexpr std::uint8_t kSpread = 128;                                      // it shows elements more than once
constexpr int kRole = 4;                                                   // from this bit on: its role

// What a rule may see of an attribute is the same. Tensors, bodies and a function's attributes are not compared.
bool same_attr(const Model& model, const Attr& a, const Attr& b) {
  if (a.kind != b.kind || a.count != b.count || a.name != b.name) return false;
  const auto same_run = [&](const auto& pool) {
    return std::equal(pool.begin() + a.first, pool.begin() + a.first + a.count, pool.begin() + b.first);
  };
  switch (a.kind) {
    case Attr::Kind::integer:
      return a.integer == b.integer;
    case Attr::Kind::real:
      return a.real == b.real;
    case Attr::Kind::text:
      return a.text == b.text;
    case Attr::Kind::integers:
      return same_run(model.integers);
    case Attr::Kind::reals:
      return same_run(model.reals);
    case Attr::Kind::texts:
      return same_run(model.texts);
    default:
      return false;
  }
}

bool is_whole(const Type& type) {
  return type.kind == Kind::tensor && type.ranked && type.dtype != DType::unknown &&
         std::all_of(type.shape.begin(), type.shape.end(), [](const Dim& dim) { return dim.defined(); });
}

bool same_type(const Type& a, const Type& b) {
  return a.dtype == b.dtype && a.kind == b.kind && a.ranked == b.ranked && a.shape == b.shape;
}

}  // namespace

// Rows inside loops and uncertain branches are not only their node's.
bool Walk::may_repeat() const {
  const Node& node = *here_.node;
  return repeats_[node.op].on && unsure_ == 0 && node.inputs != 0 && node.inputs <= sources_.size() &&
         frame().times.is(1) && frame().floor == Trust::exact;
}

std::uint8_t Walk::source_of(std::size_t position) const {
  const ValueId id = here_.edges[position];
  if (id == kNone) return 0;
  std::uint8_t source = kThere;
  if (frame().weight(id) != nullptr) source |= kWeight;
  const Stored* from = stored(here_.frame, id);
  const auto& host = here_.match->host;
  if (position < host.size() ? host[position] : here_.match->host_rest) source |= kHost;
  if (frame().known[id] != kNone || (from != nullptr && from->encoding != Encoding::none)) source |= kContents;
  if (!frame().spread.empty() && frame().spread.contains(id)) source |= kSpread;
  return static_cast<std::uint8_t>(source | static_cast<unsigned>(frame().graph->values[id].role) << kRole);
}

bool Walk::is_like(const Repeat& known) const {
  const Node& node = *here_.node;
  const std::vector<Type>& types = frame().types;
  if (known.hash != here_.hash || known.node.inputs != node.inputs || known.node.outputs != node.outputs ||
      known.node.attrs != node.attrs || known.typed != here_.typed || known.sources != sources_) {
    return false;
  }
  for (std::size_t i = 0; i < node.inputs; ++i) {
    if (here_.edges[i] != kNone && !same_type(known.types[i], types[here_.edges[i]])) return false;
  }
  for (std::size_t i = node.inputs; i < known.types.size(); ++i) {
    if ((here_.edges[i] == kNone) == known.types[i].ranked) return false;  // an output that nobody named
    if (here_.typed && !same_type(known.types[i], types[here_.edges[i]])) return false;
  }
  for (std::uint32_t i = 0; i < node.attrs; ++i) {
    if (!same_attr(*model_, model_->attrs[known.node.first_attr + i], model_->attrs[node.first_attr + i])) return false;
  }
  return true;
}

// Of the inputs' types, and of the outputs' where its source said them.
std::size_t Walk::hash_of_here() const {
  const Node& node = *here_.node;
  std::size_t hash = std::size_t{node.inputs} * 31 + node.attrs;
  const std::size_t count = std::size_t{node.inputs} + (here_.typed ? node.outputs : 0);
  for (std::size_t i = 0; i < count; ++i) {
    if (here_.edges[i] == kNone) continue;
    const Type& type = frame().types[here_.edges[i]];
    hash = hash * 1'000'003 + static_cast<std::size_t>(type.dtype) + i;
    for (const Dim& dim : type.shape) hash = hash * 1'000'003 + dim.hash();
  }
  return hash;
}

bool Walk::repeat() {
  const Node& node = *here_.node;
  Repeats& repeats = repeats_[node.op];
  sources_.fill(0);
  for (std::size_t i = 0; i < node.inputs; ++i) sources_[i] = source_of(i);
  here_.hash = hash_of_here();
  // Layers repeat in one order: the one after the latest is tried first.
  const auto like = [this](const Repeat& known) { return is_like(known); };
  const auto next = repeats.known.begin() + static_cast<std::ptrdiff_t>(std::min(repeats.next, repeats.known.size()));
  auto found = std::find_if(next, repeats.known.end(), like);
  if (found == repeats.known.end()) {
    found = std::find_if(repeats.known.begin(), next, like);
    if (found == next) found = repeats.known.end();
  }
  if (found == repeats.known.end()) {
    ++repeats.misses;
    repeats.on = repeats.misses < kTries || repeats.hits > repeats.misses;
    return false;
  }
  ++repeats.hits;
  here_.repeated = true;
  repeats.next = static_cast<std::size_t>(found - repeats.known.begin()) + 1;
  Frame& in = frame();
  for (std::size_t i = node.inputs; i < found->types.size() && !here_.typed; ++i) {
    if (here_.edges[i] != kNone) in.types[here_.edges[i]] = found->types[i];
  }
  merge_claims();
  for (std::size_t i = 0; i < node.inputs; ++i) {
    if ((sources_[i] & (kWeight | kHost)) == kWeight) use(in.weight(here_.edges[i]));
  }
  if (found->view) note_shown();
  append(found->row);
  return true;
}

// The node that was just counted, when there is nothing to it that another one like it would not have.
void Walk::remember() {
  const Node& node = *here_.node;
  const Frame& in = frame();
  if (row_.trust == Trust::unknown || here_.refused || here_.missed) return;
  Repeat known{node, sources_, here_.hash, here_.typed, {}, row_, here_.view};
  known.types.reserve(std::size_t{node.inputs} + node.outputs);
  for (std::size_t i = 0; i < std::size_t{node.inputs} + node.outputs; ++i) {
    const ValueId id = here_.edges[i];
    known.types.push_back(id == kNone ? Type() : in.types[id]);
    if (id != kNone && (!is_whole(in.types[id]) || (i >= node.inputs && in.graph->values[id].stored != kNone))) return;
  }
  Repeats& repeats = repeats_[node.op];
  if (repeats.known.size() < kMostKnown) return repeats.known.push_back(std::move(known));
  repeats.known[repeats.oldest++ % kMostKnown] = std::move(known);
}

}  // namespace macsim
