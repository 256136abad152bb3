// Sequences and optionals: lists of tensors, kept part by part as long as their parts are known.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"

namespace macsim::rules {
namespace {

using Part = Contents::Part;

constexpr std::string_view kList = "a list of references: no data moved";

enum : std::size_t { kSeq, kPosition };
enum : std::size_t { kInto, kTensor, kInsertAt };
enum : std::size_t { kInput, kSplit };

// Types of lists. --------------------------------------------------------------------------------------------------

Type holding(Kind kind, const Type& element) {
  Type out;
  out.kind = kind;
  out.dtype = element.dtype;
  out.element = std::make_shared<const Type>(element);
  return out;
}

Type sequence_of(const Type& element) { return holding(Kind::sequence, element); }

// What all parts have in common.
Type common(const std::vector<Part>& parts, const Type& when_empty) {
  if (parts.empty()) return when_empty;
  Type out = parts.front().type;
  for (std::size_t i = 1; i < parts.size(); ++i) out = rules::common(out, parts[i].type);
  return out;
}

// The type of a list's elements, of which perhaps only the dtype is known.
Type element_of(const Type& list) { return list.element != nullptr ? *list.element : Type::unranked(list.dtype); }

// Parts. -----------------------------------------------------------------------------------------------------------

bool is_small(const Type& type) {
  if (type.kind != Kind::tensor || !type.ranked) return false;
  const auto size = numel(type.shape).constant();
  return size && *size <= static_cast<std::int64_t>(kMostItems);
}

// An input as a part of a list, with its contents where they are small and known.
Part part_at(const Call& c, std::size_t position) {
  Part part{c.at(position), nullptr};
  if (part.type.kind == Kind::tensor && !is_small(part.type)) return part;
  if (const Contents* known = c.contents_at(position)) part.contents = std::make_shared<const Contents>(*known);
  return part;
}

// The parts of the list in a slot; nullptr when they are not known.
const std::vector<Part>* parts_of(const Call& c, std::size_t slot) {
  if (c.in(slot).kind != Kind::sequence) return nullptr;
  const Contents* known = c.contents(slot);
  return known != nullptr ? &known->parts : nullptr;
}

void give_list(Outputs& out, std::vector<Part> parts, const Type& when_empty) {
  out.set(0, sequence_of(common(parts, when_empty)));
  Contents known;
  known.parts = std::move(parts);
  out.know(0, std::move(known));
}

// A position as an index below `size` (or equal to it, where `past_end`). nullopt: not known, or outside.
struct Position {
  bool known = false;
  std::optional<std::size_t> index;
};
Position position(const Call& c, std::size_t slot, std::size_t size, bool past_end) {
  const auto given = c.constants(slot);
  if (!given || given->size() != 1) return {};
  const auto end = static_cast<std::int64_t>(size);
  const std::int64_t at = given->front() < 0 ? given->front() + end : given->front();
  if (at < 0 || at > end || (at == end && !past_end)) return {true, std::nullopt};
  return {true, static_cast<std::size_t>(at)};
}

Status outside(std::size_t size) {
  return bad("the position is outside a sequence of " + std::to_string(size) + " elements");
}

// Construct, empty, at, insert, erase, length. ---------------------------------------------------------------------

Status infer_construct(const Call& c, Outputs& out) {
  std::vector<Part> parts;
  parts.reserve(c.inputs());
  for (std::size_t i = 0; i < c.inputs(); ++i) parts.push_back(part_at(c, i));
  give_list(out, std::move(parts), Type());
  return {};
}

Status infer_empty(const Call& c, Outputs& out) {
  const auto dtype = c.has_attr("dtype") ? dtype_from_onnx(c.integer("dtype", 0)) : DType::f32;
  give_list(out, {}, Type::unranked(dtype));
  return {};
}

Status infer_at(const Call& c, Outputs& out) {
  const auto* parts = parts_of(c, kSeq);
  if (parts != nullptr) {
    const Position at = position(c, kPosition, parts->size(), false);
    if (at.known && !at.index) {
      out.set(0, element_of(c.in(kSeq)));
      return outside(parts->size());
    }
    if (at.known) {
      const Part& part = (*parts)[*at.index];
      out.set(0, part.type);
      out.know(0, part.contents);
      return {};
    }
  }
  out.set(0, element_of(c.in(kSeq)));
  return {};
}

// Where a position is not known, any of the parts may have moved by one: all get the common type.
void give_blurred(Outputs& out, std::size_t size, const Type& type) {
  give_list(out, std::vector<Part>(size, Part{type, nullptr}), type);
}

Status infer_insert(const Call& c, Outputs& out) {
  const auto* parts = parts_of(c, kInto);
  if (parts == nullptr) {
    out.set(0, sequence_of(rules::common(element_of(c.in(kInto)), c.in(kTensor))));
    return {};
  }
  const Part added = part_at(c, 1);
  const Position at = c.has(kInsertAt) ? position(c, kInsertAt, parts->size(), true) : Position{true, parts->size()};
  if (!at.known) {
    give_blurred(out, parts->size() + 1, parts->empty() ? added.type : rules::common(common(*parts, {}), added.type));
    return {};
  }
  std::vector<Part> longer = *parts;
  const std::size_t index = at.index.value_or(parts->size());
  longer.insert(longer.begin() + static_cast<std::ptrdiff_t>(index), added);
  give_list(out, std::move(longer), {});
  return at.index ? Status() : outside(parts->size());
}

Status infer_erase(const Call& c, Outputs& out) {
  const auto* parts = parts_of(c, kSeq);
  const Type element = element_of(c.in(kSeq));
  if (parts == nullptr || parts->empty()) {
    out.set(0, sequence_of(element));
    return parts == nullptr ? Status() : outside(0);
  }
  const Position at =
      c.has(kPosition) ? position(c, kPosition, parts->size(), false) : Position{true, parts->size() - 1};
  if (!at.known) {
    give_blurred(out, parts->size() - 1, common(*parts, element));
    return {};
  }
  if (!at.index) {
    out.set(0, sequence_of(element));
    return outside(parts->size());
  }
  std::vector<Part> shorter = *parts;
  shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(*at.index));
  give_list(out, std::move(shorter), element);
  return {};
}

void give_scalar(Outputs& out, DType dtype, const Scalar& value) {
  out.set(0, dtype, {});
  if (!value.known()) return;
  Contents known;
  known.items.push_back(value);
  out.know(0, std::move(known));
}

Status infer_length(const Call& c, Outputs& out) {
  const auto* parts = parts_of(c, kSeq);
  give_scalar(out, DType::i64, parts != nullptr ? Scalar::integer(parts->size()) : Scalar());
  return {};
}

// Elements of small tensors along an axis. -------------------------------------------------------------------------

// A tensor's elements seen as [outer, axis, inner].
struct Blocks {
  std::size_t outer = 1, inner = 1;
};
std::optional<Blocks> blocks(const Shape& shape, std::size_t axis) {
  const auto outer = numel(shape, 0, axis).constant();
  const auto inner = numel(shape, axis + 1).constant();
  if (!outer || !inner) return std::nullopt;
  return Blocks{static_cast<std::size_t>(*outer), static_cast<std::size_t>(*inner)};
}

ContentsPtr slice(const Contents& from, const Blocks& in, std::size_t size, std::size_t first, std::size_t count) {
  auto out = std::make_shared<Contents>();
  for (std::size_t o = 0; o < in.outer; ++o) {
    const std::size_t start = (o * size + first) * in.inner;
    for (std::size_t i = 0; i < count * in.inner; ++i) out->items.push_back(from.items[start + i]);
  }
  return out;
}

// SplitToSequence. -------------------------------------------------------------------------------------------------

// The lengths of the parts; nullopt: not even their number is known. `every` is then the length of each but perhaps
// the last, where that is known.
struct Lengths {
  std::optional<std::vector<Dim>> each;
  Dim every = Dim::undefined();
};

Lengths equal_lengths(const Dim& size, const Dim& length) {
  Lengths out;
  const auto total = size.constant();
  const auto step = length.constant();
  if (step.value_or(1) <= 0) return out;
  if (total && step && (*total + *step - 1) / *step <= static_cast<std::int64_t>(kMostItems)) {
    out.each.emplace();
    for (std::int64_t at = 0; at < *total; at += *step) out.each->emplace_back(std::min(*step, *total - at));
  } else if (length.defined() && modulo(size, length).is(0)) {
    out.every = length;
  }
  return out;
}

Lengths lengths_of(const Call& c, Outputs& out, const Dim& size) {
  if (!c.has(kSplit)) return equal_lengths(size, 1);
  const auto given = c.ints(kSplit);
  const Type& split = c.in(kSplit);
  if (split.ranked && split.shape.empty()) return equal_lengths(size, given ? given->front() : Dim::undefined());
  Lengths lengths;
  const Shape& shape = split.shape;
  const std::int64_t count = shape.size() == 1 ? shape[0].constant().value_or(-1) : -1;
  if (!given && (count < 0 || count > 64)) return lengths;
  lengths.each.emplace();
  const std::size_t parts = given ? given->size() : static_cast<std::size_t>(count);
  for (std::size_t i = 0; i < parts; ++i) {
    const bool known = given && (*given)[i].defined();
    lengths.each->push_back(known ? (*given)[i] : out.symbol("split" + std::to_string(i), "length of a part"));
  }
  return lengths;
}

std::vector<Part> split_parts(const Call& c, const Type& x, std::size_t axis, const std::vector<Dim>& each, bool keep) {
  const Contents* known = is_small(x) ? c.contents(kInput) : nullptr;
  const auto in = blocks(x.shape, axis);
  const auto size = x.shape[axis].constant();
  std::vector<Part> parts;
  std::size_t first = 0;
  for (const Dim& length : each) {
    Part part{x, nullptr};
    part.type.shape[axis] = length;
    if (!keep) part.type.shape.erase(axis);
    const auto count = length.constant();
    if (!count || *count < 0) known = nullptr;
    if (known != nullptr && in && size) {
      const auto n = static_cast<std::size_t>(*count);
      if (first + n > static_cast<std::size_t>(*size)) break;
      part.contents = slice(*known, *in, static_cast<std::size_t>(*size), first, n);
      first += n;
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

Status infer_split(const Call& c, Outputs& out) {
  const Type& x = c.in(kInput);
  if (!x.ranked) {
    out.set(0, sequence_of(Type::unranked(x.dtype)));
    return {};
  }
  const auto axis = axis_in(c.integer("axis", 0), x.shape.size());
  if (!axis) return bad("axis " + std::to_string(c.integer("axis", 0)) + " does not fit " + text(x.shape));
  const bool keep = c.has(kSplit) || c.integer("keepdims", 1) != 0;
  const Lengths lengths = lengths_of(c, out, x.shape[*axis]);
  Type element = x;
  element.shape[*axis] = lengths.every;
  if (!keep) element.shape.erase(*axis);
  if (lengths.each) {
    give_list(out, split_parts(c, x, *axis, *lengths.each, keep), element);
  } else {
    out.set(0, sequence_of(element));
  }
  return {};
}

Status cost_split(const Call& c, Cost& cost) {
  const Count moved = bytes(Type::of(c.dtype(kInput), c.shape(kInput)));
  const bool stored = c.role(kInput) == Role::weight;
  cost.read = stored ? Count(0) : moved;
  cost.weights = stored ? moved : Count(0);
  cost.written = moved;
  cost.moves("moves data only");
  return {};
}

// ConcatFromSequence. ----------------------------------------------------------------------------------------------

void concat_contents(Outputs& out, const std::vector<Part>& parts, std::size_t axis, const Shape& y) {
  if (!is_small(Type::of(DType::i64, y))) return;
  for (const Part& part : parts) {
    if (part.contents == nullptr || !is_small(part.type)) return;
  }
  const auto outer = static_cast<std::size_t>(numel(y, 0, axis).constant().value_or(0));
  Contents known;
  for (std::size_t o = 0; o < outer; ++o) {
    for (const Part& part : parts) {
      const auto run = static_cast<std::size_t>(numel(part.type.shape, axis).constant().value_or(0));
      for (std::size_t i = o * run; i < (o + 1) * run && i < part.contents->items.size(); ++i) {
        known.items.push_back(part.contents->items[i]);
      }
    }
  }
  if (numel(y).is(static_cast<std::int64_t>(known.items.size()))) out.know(0, std::move(known));
}

Status infer_concat(const Call& c, Outputs& out) {
  const auto* parts = parts_of(c, kSeq);
  const bool stack = c.integer("new_axis", 0) != 0;
  const Type element = parts != nullptr ? common(*parts, element_of(c.in(kSeq))) : element_of(c.in(kSeq));
  if (parts != nullptr && parts->empty()) {
    out.unranked(0, element.dtype);
    return bad("a sequence without elements cannot be joined");
  }
  if (!element.ranked) {
    out.unranked(0, element.dtype);
    return {};
  }
  const std::size_t rank = element.shape.size() + (stack ? 1 : 0);
  const auto axis = axis_in(c.integer("axis", 0), rank);
  if (!axis) return bad("axis " + std::to_string(c.integer("axis", 0)) + " does not fit " + text(element.shape));
  Dim size = 0;
  if (parts == nullptr) {
    size = out.symbol("n", stack ? "elements of a sequence" : "sizes of a sequence's elements along the axis, in sum");
  } else if (stack) {
    size = parts->size();
  } else {
    for (const Part& part : *parts) size += part.type.shape[*axis];
  }
  Shape y = element.shape;
  if (stack) {
    y.insert(*axis, size);
  } else {
    y[*axis] = size;
  }
  // Off the axis the parts agree: a size known of one is known of all.
  if (parts != nullptr) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (i == *axis) continue;
      const std::size_t from = stack && i > *axis ? i - 1 : i;
      for (const Part& part : *parts) y[i] = unify(c, y[i], part.type.shape[from], "sizes");
    }
  }
  out.set(0, element.dtype, y);
  if (parts != nullptr) concat_contents(out, *parts, *axis, y);
  return {};
}

Status cost_concat(const Call& c, Cost& cost) {
  const Count moved = bytes(Type::of(c.out().dtype, c.out_shape()));
  cost.read = moved;
  cost.weights = Count(0);
  cost.written = moved;
  cost.moves("moves data only");
  return {};
}

// Optionals. -------------------------------------------------------------------------------------------------------

Status infer_optional(const Call& c, Outputs& out) {
  Contents known;
  if (c.has(kInput)) {
    known.parts.push_back(part_at(c, 0));
    out.set(0, holding(Kind::optional, c.in(kInput)));
  } else {
    const Type* stated = c.type("type");
    out.set(0, holding(Kind::optional, stated != nullptr ? *stated : Type()));
  }
  out.know(0, std::move(known));
  return {};
}

Status infer_get(const Call& c, Outputs& out) {
  const Type& x = c.in(kInput);
  const Contents* known = x.kind != Kind::tensor || is_small(x) ? c.contents(kInput) : nullptr;
  if (x.kind != Kind::optional) {
    out.set(0, x);
    if (known != nullptr) out.know(0, *known);
    return {};
  }
  if (known != nullptr && !known->parts.empty()) {
    out.set(0, known->parts.front().type);
    out.know(0, known->parts.front().contents);
    return {};
  }
  out.set(0, element_of(x));
  return known != nullptr ? bad("the optional is empty") : Status();
}

Status infer_has(const Call& c, Outputs& out) {
  Scalar answer = Scalar::integer(c.has(kInput) ? 1 : 0);
  if (c.in(kInput).kind == Kind::optional) {
    const Contents* known = c.contents(kInput);
    answer = known != nullptr ? Scalar::integer(known->parts.empty() ? 0 : 1) : Scalar();
  }
  give_scalar(out, DType::boolean, answer);
  return {};
}

Rule row(Text name, Text slots, Text summary, Text formula, std::string_view op, InferFn infer, CostFn cost) {
  return {std::move(name),    std::move(slots), std::move(summary),
          std::move(formula), onnx_page(op),    std::move(infer),
          std::move(cost),    onnx({op}),       nullptr};
}

Rule list_row(Text name, Text slots, Text summary, std::string_view op, InferFn infer) {
  return row(std::move(name), std::move(slots), std::move(summary), Text::joined({"no work; ", kList}), op,
             std::move(infer), cost_free(kList));
}

/// Parts of a tensor are put together, or cut apart again: as many bytes as the tensor has.
GradientFn gradient_parts(bool joined) {
  return [joined](const Call& c, Gradient& g) -> Status {
    g.cost.moves("moves data only");
    g.cost.read = g.cost.written = bytes(joined ? c.out() : c.in(0));
    g.cost.weights = Count(0);
    return {};
  };
}

}  // namespace

std::vector<Rule> sequence_family() {
  std::vector<Rule> rules = {
      list_row("sequence_construct", "xs...", "A sequence of the inputs", "SequenceConstruct", infer_construct),
      list_row("sequence_empty", "", "A sequence without elements", "SequenceEmpty", infer_empty),
      list_row("sequence_at", "xs #position", "One element of a sequence", "SequenceAt", infer_at),
      list_row("sequence_insert", "xs x #position", "A sequence with one element more", "SequenceInsert", infer_insert),
      list_row("sequence_erase", "xs #position", "A sequence with one element less", "SequenceErase", infer_erase),
      list_row("sequence_length", "xs", "The number of elements of a sequence", "SequenceLength", infer_length),
      row("split_to_sequence", "x #split", "A tensor cut along an axis into a sequence",
          "no work; reads |x|, writes |x|", "SplitToSequence", infer_split, cost_split),
      row("concat_from_sequence", "xs", "The elements of a sequence joined along an axis",
          "no work; reads |y|, writes |y|", "ConcatFromSequence", infer_concat, cost_concat),
      list_row("optional", "x?", "A value that may be missing", "Optional", infer_optional),
      list_row("optional_get", "x", "The value of an optional", "OptionalGetElement", infer_get),
      list_row("optional_has", "x?", "Whether an optional holds a value", "OptionalHasElement", infer_has),
  };
  return with_gradients({{"sequence_length", NoGradient{"its results are no real numbers"}},
                         {"optional_has", NoGradient{"its results are no real numbers"}},
                         {"sequence_empty", NoGradient{"it has no inputs"}},
                         {"split_to_sequence", gradient_parts(false)},
                         {"concat_from_sequence", gradient_parts(true)},
                         {"sequence_construct", gradient_view()},
                         {"sequence_at", gradient_view()},
                         {"sequence_insert", gradient_view()},
                         {"sequence_erase", gradient_view()},
                         {"optional", gradient_view()},
                         {"optional_get", gradient_view()}},
                        std::move(rules));
}

}  // namespace macsim::rules
