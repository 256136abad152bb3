// Shape rules of calls by torch's conventions.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "aten.hpp"

#include <algorithm>
#include <utility>

#include "support.hpp"

namespace macsim::rules {

std::vector<Binding> aten(std::initializer_list<std::string_view> names, const InferFn& infer, const Text& slots,
                          const Text& attrs, const CostFn& cost) {
  std::vector<Binding> out;
  out.reserve(names.size());
  for (const std::string_view name : names) {
    Binding& binding = out.emplace_back();
    const bool whole = name.find("::") != std::string_view::npos;
    binding.op = Text::joined({whole ? "" : "aten::", name});
    binding.slots = slots;
    binding.attrs = attrs;
    binding.infer = infer;
    if (whole && !infer) binding.infer = [](const Call&, Outputs&) { return Status(); };  // not the row's: torch tells
    binding.cost = cost;
  }
  return out;
}

// Dtypes. ----------------------------------------------------------------------------------------------------------

namespace {

int kind_of(DType dtype) {
  switch (class_of(dtype)) {
    case DTypeClass::boolean:
      return 1;
    case DTypeClass::integer:
      return 2;
    case DTypeClass::real:
      return 3;
    case DTypeClass::complex:
      return 4;
    default:
      return 0;
  }
}

DType wider(DType a, DType b) {
  if (a == b) return a;
  if ((a == DType::f16 && b == DType::bf16) || (a == DType::bf16 && b == DType::f16)) return DType::f32;
  const int x = bits_of(a), y = bits_of(b);
  if (kind_of(a) == 2 && x == y) return x == 8 ? DType::i16 : a;  // u8 with i8
  return x >= y ? a : b;
}

/// Of pairs of real numbers that hold these.
DType complex_over(DType real) {
  return real == DType::f64 ? DType::c128 : real == DType::f16 ? DType::c32 : DType::c64;
}

}  // namespace

DType promoted(const Type& a, const Type& b) {
  if (a.dtype == DType::unknown) return b.dtype;
  if (b.dtype == DType::unknown) return a.dtype;
  const int x = kind_of(a.dtype), y = kind_of(b.dtype);
  if (x == 0 || y == 0) return DType::unknown;
  const bool a_yields = a.ranked && a.shape.empty() && !(b.ranked && b.shape.empty());
  const bool b_yields = b.ranked && b.shape.empty() && !(a.ranked && a.shape.empty());
  if (x == 4 && y == 3) return b_yields ? a.dtype : wider(a.dtype, complex_over(b.dtype));
  if (y == 4 && x == 3) return a_yields ? b.dtype : wider(b.dtype, complex_over(a.dtype));
  if (x != y) return x > y ? a.dtype : b.dtype;
  if (a_yields) return b.dtype;
  if (b_yields) return a.dtype;
  return wider(a.dtype, b.dtype);
}

DType real_of(DType x) { return kind_of(x) == 1 || kind_of(x) == 2 ? DType::f32 : x; }

DType stated(const Call& c) { return dtype_named(c.text("dtype", "")); }

// Numbers. ---------------------------------------------------------------------------------------------------------

std::vector<Dim> aten_numbers(const Call& c, std::size_t position) {
  std::vector<Dim> out;
  const Contents* known = c.contents_at(position);
  if (known == nullptr) return out;
  for (const Scalar& item : known->items) out.push_back(item.whole());
  return out;
}

Dim aten_number(const Call& c, std::size_t position) {
  const std::vector<Dim> known = aten_numbers(c, position);
  return known.size() == 1 ? known.front() : Dim::undefined();
}

// Shapes. ----------------------------------------------------------------------------------------------------------

Status aten_same(const Call& c, Outputs& out) {
  out.set(0, c.dtype(0), c.shape(0));
  return {};
}

Status aten_real(const Call& c, Outputs& out) {
  out.set(0, real_of(c.dtype(0)), c.shape(0));
  return {};
}

namespace {

enum : std::size_t { kA = 0, kB = 1 };

// An operand, or the number in its place.
Type operand(const Call& c, std::size_t slot) {
  if (c.has(slot)) return c.in(slot);
  for (const std::string_view name : {"other", "exponent", "self"}) {
    const Attr* given = c.attr(name);
    if (given == nullptr) continue;
    // A number has its kind only: the smallest dtype of it says that.
    const DType dtype = given->kind == Attr::Kind::real      ? DType::f32
                        : given->kind == Attr::Kind::integer ? DType::i64
                                                             : DType::unknown;
    return Type::of(dtype, Shape());
  }
  return Type::unranked(DType::unknown);
}

// A number never widens: of its kind, the tensor's dtype stays.
DType meeting(bool a_is_number, const Type& a, bool b_is_number, const Type& b) {
  if (b_is_number && kind_of(a.dtype) >= kind_of(b.dtype)) return a.dtype;
  if (a_is_number && kind_of(b.dtype) >= kind_of(a.dtype)) return b.dtype;
  return promoted(a, b);
}

Status pair(const Call& c, Outputs& out, DType (*result)(DType)) {
  const Type a = operand(c, kA), b = operand(c, kB);
  if (!a.ranked || !b.ranked) return {};
  Shape y;
  if (Status status = broadcast(c, a.shape, b.shape, y); !status) return status;
  out.set(0, result(aten_meeting(c, kA, kB)), std::move(y));
  return {};
}

}  // namespace

DType aten_meeting(const Call& c, std::size_t a, std::size_t b) {
  return meeting(!c.has(a), operand(c, a), !c.has(b), operand(c, b));
}

Status aten_pair(const Call& c, Outputs& out) {
  return pair(c, out, [](DType dtype) { return dtype; });
}
Status aten_ratio(const Call& c, Outputs& out) {
  if (!c.text("rounding_mode", "").empty()) return aten_pair(c, out);
  return pair(c, out, real_of);
}
Status aten_compare(const Call& c, Outputs& out) {
  return pair(c, out, [](DType) { return DType::boolean; });
}

Status aten_reduced_to(const Call& c, Outputs& out, DType dtype, std::size_t output) {
  const Shape& x = c.shape(0);
  if (!c.ranked(0)) return {};
  std::vector<std::int64_t> dims;
  const Attr* given = c.attr("dim");
  if (given != nullptr && given->kind == Attr::Kind::integer) dims.push_back(given->integer);
  for (const std::int64_t dim : c.integers("dim")) dims.push_back(dim);
  const bool keep = c.integer("keepdim", 0) != 0;
  std::vector<bool> gone(x.size(), dims.empty());
  for (const std::int64_t dim : dims) {
    const auto axis = axis_in(dim, std::max<std::size_t>(x.size(), 1));
    if (!axis) return {};  // torch says what is wrong
    if (*axis < gone.size()) gone[*axis] = true;
  }
  Shape y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!gone[i]) y.push_back(x[i]);
    if (gone[i] && keep) y.push_back(1);
  }
  out.set(output, dtype, std::move(y));
  return {};
}

DType sum_of(const Call& c) {
  const DType asked = stated(c), x = c.dtype(0);
  const bool whole = kind_of(x) == 1 || kind_of(x) == 2;
  return asked != DType::unknown ? asked : whole ? DType::i64 : x;
}

Status aten_reduced(const Call& c, Outputs& out) { return aten_reduced_to(c, out, sum_of(c)); }

Status aten_reduced_same(const Call& c, Outputs& out) {
  const DType asked = stated(c);
  return aten_reduced_to(c, out, asked != DType::unknown ? asked : c.dtype(0));
}

std::vector<std::int64_t> each_axis(Span<std::int64_t> given, std::size_t axes, std::int64_t otherwise) {
  std::vector<std::int64_t> out(axes, given.size() == 1 ? given[0] : otherwise);
  if (given.size() == axes) std::copy(given.begin(), given.end(), out.begin());
  return out;
}

}  // namespace macsim::rules
