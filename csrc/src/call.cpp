// What rules see of a node, and where they put their results.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "decode.hpp"
#include "walk.hpp"

namespace macsim {
namespace {

const Type& no_type() noexcept {
  static const Type none;
  return none;
}
const Shape& no_shape() noexcept {
  static const Shape none;
  return none;
}
constexpr std::size_t kMostDecoded = 65536;

Scalar scalar_of(double value) { return Scalar::real(value); }

}  // namespace

// Inputs by position. ----------------------------------------------------------------------------------------------

ValueId Walk::input_id(std::size_t position) const {
  return position < here_.node->inputs ? here_.edges[position] : kNone;
}

std::int32_t Walk::position(std::size_t slot) const {
  if (here_.match == nullptr) return static_cast<std::int32_t>(slot);  // an unknown operator has no slots
  const auto& positions = here_.match->position;
  if (slot < positions.size()) return positions[slot];
  if (positions.empty()) return static_cast<std::int32_t>(slot);
  return -1;
}

std::size_t Call::inputs() const noexcept { return walk_.here_.node->inputs; }

bool Call::given(std::size_t position) const noexcept { return walk_.input_id(position) != kNone; }

const Type& Call::at(std::size_t position) const noexcept {
  const ValueId id = walk_.input_id(position);
  return id == kNone ? no_type() : walk_.frame().types[id];
}

const Shape& Call::shape_at(std::size_t position) const noexcept {
  const ValueId id = walk_.input_id(position);
  if (id == kNone) return no_shape();
  const Type& type = walk_.frame().types[id];
  if (!type.ranked) {
    walk_.here_.missed = true;
    return no_shape();
  }
  return type.shape;
}

const Contents* Call::contents_at(std::size_t position) const {
  const ValueId id = walk_.input_id(position);
  return id == kNone ? nullptr : walk_.contents(walk_.here_.frame, id);
}

// Inputs by slot. --------------------------------------------------------------------------------------------------

bool Call::has(std::size_t slot) const noexcept {
  const std::int32_t at = walk_.position(slot);
  return at >= 0 && given(static_cast<std::size_t>(at));
}
const Type& Call::in(std::size_t slot) const noexcept {
  const std::int32_t position = walk_.position(slot);
  return position < 0 ? no_type() : at(static_cast<std::size_t>(position));
}
const Shape& Call::shape(std::size_t slot) const noexcept {
  const std::int32_t position = walk_.position(slot);
  return position < 0 ? no_shape() : shape_at(static_cast<std::size_t>(position));
}
const Contents* Call::contents(std::size_t slot) const {
  const std::int32_t position = walk_.position(slot);
  return position < 0 ? nullptr : contents_at(static_cast<std::size_t>(position));
}
std::optional<std::vector<Dim>> Call::ints(std::size_t slot) const {
  const Contents* known = contents(slot);
  if (known == nullptr) return std::nullopt;
  std::vector<Dim> out;
  out.reserve(known->items.size());
  for (const Scalar& item : known->items) out.push_back(item.whole());
  return out;
}
std::optional<std::vector<std::int64_t>> Call::constants(std::size_t slot) const {
  const Contents* known = contents(slot);
  if (known == nullptr) return std::nullopt;
  std::vector<std::int64_t> out;
  out.reserve(known->items.size());
  for (const Scalar& item : known->items) {
    const auto value = item.constant_integer();
    if (!value) return std::nullopt;
    out.push_back(*value);
  }
  return out;
}
Role Call::role(std::size_t slot) const noexcept {
  const std::int32_t at = walk_.position(slot);
  const ValueId id = at < 0 ? kNone : walk_.input_id(static_cast<std::size_t>(at));
  if (id == kNone) return Role::activation;
  if (walk_.frame().weight(id) != nullptr) return Role::weight;
  return walk_.frame().graph->values[id].role;
}

// Outputs. ---------------------------------------------------------------------------------------------------------

std::size_t Call::outputs() const noexcept { return walk_.here_.node->outputs; }
bool Call::wants(std::size_t i) const noexcept {
  const Node& node = *walk_.here_.node;
  return i < node.outputs && walk_.here_.edges[node.inputs + i] != kNone;
}
const Type& Call::out(std::size_t i) const noexcept {
  if (!wants(i)) return no_type();
  const Node& node = *walk_.here_.node;
  return walk_.frame().types[walk_.here_.edges[node.inputs + i]];
}
const Shape& Call::out_shape(std::size_t i) const noexcept {
  if (!wants(i)) return no_shape();
  const Type& type = out(i);
  if (!type.ranked) {
    walk_.here_.missed = true;
    return no_shape();
  }
  return type.shape;
}

// Attributes. ------------------------------------------------------------------------------------------------------

const Attr* Call::attr(std::string_view name) const noexcept { return walk_.attr(name); }
bool Call::has_attr(std::string_view name) const noexcept { return attr(name) != nullptr; }
std::int64_t Call::integer(std::string_view name, std::int64_t otherwise) const noexcept {
  const Attr* found = attr(name);
  return found != nullptr && found->kind == Attr::Kind::integer ? found->integer : otherwise;
}
double Call::real(std::string_view name, double otherwise) const noexcept {
  const Attr* found = attr(name);
  if (found == nullptr) return otherwise;
  if (found->kind == Attr::Kind::integer) return static_cast<double>(found->integer);
  return found->kind == Attr::Kind::real ? found->real : otherwise;
}
std::string_view Call::text(std::string_view name, std::string_view otherwise) const noexcept {
  const Attr* found = attr(name);
  return found != nullptr && found->kind == Attr::Kind::text ? found->text : otherwise;
}
Span<std::int64_t> Call::integers(std::string_view name) const noexcept {
  const Attr* found = attr(name);
  if (found == nullptr || found->kind != Attr::Kind::integers) return {};
  return {walk_.model_->integers.data() + found->first, found->count};
}
Span<double> Call::reals(std::string_view name) const noexcept {
  const Attr* found = attr(name);
  if (found == nullptr || found->kind != Attr::Kind::reals) return {};
  return {walk_.model_->reals.data() + found->first, found->count};
}
Span<std::string_view> Call::texts(std::string_view name) const noexcept {
  const Attr* found = attr(name);
  if (found == nullptr || found->kind != Attr::Kind::texts) return {};
  return {walk_.model_->texts.data() + found->first, found->count};
}
const Stored* Call::tensor(std::string_view name) const noexcept {
  const Attr* found = attr(name);
  return found != nullptr && found->kind == Attr::Kind::tensor ? &walk_.model_->tensors[found->first] : nullptr;
}
const Type* Call::type(std::string_view name) const noexcept {
  const Attr* found = attr(name);
  return found != nullptr && found->kind == Attr::Kind::type ? &walk_.model_->types[found->first] : nullptr;
}

const Attr* Walk::attr(std::string_view name) const { return attr_in(here_.frame, *here_.node, name); }

const Attr* Walk::attr_in(std::uint32_t frame, const Node& node, std::string_view name) const {
  for (std::uint32_t i = 0; i < node.attrs; ++i) {
    const Attr& attr = model_->attrs[node.first_attr + i];
    if (attr.name != name) continue;
    if (attr.kind != Attr::Kind::refers) return &attr;
    const std::uint32_t inside = frames_[frame].function_frame;
    if (inside == kNone) return nullptr;
    const Frame& function = frames_[inside];
    if (const Attr* given = attr_in(function.outer, *function.caller, attr.text)) return given;
    for (std::uint32_t d = 0; d < function.function->defaults; ++d) {
      const Attr& fallback = model_->attrs[function.function->first_default + d];
      if (fallback.name == attr.text) return &fallback;
    }
    return nullptr;
  }
  return nullptr;
}

// The rest. --------------------------------------------------------------------------------------------------------

std::string_view Call::op() const noexcept { return walk_.model_->ops[walk_.here_.node->op].name; }
std::string_view Call::dialect() const noexcept { return walk_.model_->ops[walk_.here_.node->op].dialect; }
std::int64_t Call::version() const noexcept { return walk_.model_->ops[walk_.here_.node->op].version; }
std::string_view Call::node_name() const noexcept {
  walk_.here_.single = true;
  return walk_.here_.node->name;
}
bool Call::assume_not_negative(const Expr& e) const {
  if (walk_.unsure_ != 0) return at_least(e, 0) == Truth::yes;
  if (!e.defined() || e.is_constant() || !walk_.assumed_.insert(e).second) return true;
  walk_.here_.single = true;
  if (at_least(e, 0) != Truth::yes) walk_.found_->not_negative.push_back(e);
  return true;
}
void Call::assume_equal(const Expr& a, const Expr& b, std::string_view what) const {
  if (walk_.unsure_ != 0 || !a.defined() || !b.defined()) return;
  const Expr difference = a - b;
  if (!difference.defined() || difference.is_constant() || !walk_.equated_.insert(difference).second) return;
  walk_.here_.single = true;
  if (equal(a, b) == Truth::yes) return;
  walk_.found_->equal.push_back({a, b, what, walk_.here_.frame, walk_.here_.id});
}
void Call::remark(Code code, std::string text) const { walk_.remark(code, std::move(text)); }

const Stored* Walk::stored(std::uint32_t frame, ValueId id) const {
  return (frame == here_.frame && here_.in != nullptr ? *here_.in : frames_[frame]).stored(id);
}

const Contents* Walk::contents(std::uint32_t frame, ValueId id) {
  Frame& in = frames_[frame];
  if (in.known[id] != kNone) {
    here_.single = true;
    return in.contents[in.known[id]].get();
  }
  const Stored* from = stored(frame, id);
  if (from == nullptr || from->encoding == Encoding::none) return nullptr;
  here_.single = true;
  if (model_->unchanged != nullptr && !unchanged_) unchanged_ = model_->unchanged(model_->bytes.get());
  if (unchanged_ == false) {
    remark(Code::changed_file,
           "the contents of '" + std::string(in.graph->values[id].name) + "' are not read any more");
    return nullptr;
  }
  std::vector<std::int64_t> ints;
  std::vector<double> reals;
  auto found = std::make_shared<Contents>();
  if (decode(*from, kMostDecoded, &ints, &reals)) {
    found->items.reserve(ints.size() + reals.size());
    for (const std::int64_t value : ints) found->items.push_back(Scalar::integer(value));
    for (const double value : reals) found->items.push_back(scalar_of(value));
  } else {
    found = nullptr;
  }
  in.known[id] = static_cast<std::uint32_t>(in.contents.size());
  in.contents.push_back(found);  // also when it cannot be decoded, so that nobody tries again
  return found.get();
}

// A size below 0 comes of a wrong attribute or input: then it is not known.
void Walk::refuse_negative(Shape& shape) {
  for (Dim& dim : shape) {
    if (dim.constant().value_or(0) >= 0) continue;
    remark(Code::bad_inputs, "a size of an output comes out negative: " + dim.str());
    dim = Dim::undefined();
  }
}

void Outputs::set(std::size_t i, DType dtype, Shape shape) {
  const Node& node = *walk_.here_.node;
  if (i >= node.outputs) return;
  Frame& frame = walk_.frame();
  const ValueId id = walk_.here_.edges[node.inputs + i];
  if (id == kNone) return;
  walk_.refuse_negative(shape);
  Type& type = frame.types[id];
  type.dtype = dtype;
  type.kind = Kind::tensor;
  type.ranked = true;
  type.shape = std::move(shape);
  type.element.reset();
}

void Outputs::set(std::size_t i, Type type) {
  const Node& node = *walk_.here_.node;
  if (i >= node.outputs) return;
  Frame& frame = walk_.frame();
  const ValueId id = walk_.here_.edges[node.inputs + i];
  if (id == kNone) return;
  walk_.refuse_negative(type.shape);
  frame.types[id] = std::move(type);
}

void Outputs::know(std::size_t i, Contents contents) {
  if (contents.items.size() > kMostItems || contents.parts.size() > kMostItems) return;
  know(i, std::make_shared<const Contents>(std::move(contents)));
}

void Outputs::know(std::size_t i, ContentsPtr contents) {
  const Node& node = *walk_.here_.node;
  if (i >= node.outputs || contents == nullptr || contents->items.size() > kMostItems) return;
  Frame& frame = walk_.frame();
  const ValueId id = walk_.here_.edges[node.inputs + i];
  if (id == kNone) return;
  walk_.here_.single = true;
  frame.known[id] = static_cast<std::uint32_t>(frame.contents.size());
  frame.contents.push_back(std::move(contents));
}

void Outputs::pass(std::size_t i, std::size_t slot) {
  const std::int32_t at = walk_.position(slot);
  const ValueId from = at < 0 ? kNone : walk_.input_id(static_cast<std::size_t>(at));
  if (from == kNone || i >= walk_.here_.node->outputs) return;
  const Contents* known = walk_.contents(walk_.here_.frame, from);
  const ValueId to = walk_.here_.edges[walk_.here_.node->inputs + i];
  if (known == nullptr || known->items.size() > kMostItems || to == kNone) return;
  walk_.frame().known[to] = walk_.frame().known[from];
}

Dim Outputs::symbol(std::string_view what, std::string_view why) { return walk_.symbol(what, why); }

}  // namespace macsim
