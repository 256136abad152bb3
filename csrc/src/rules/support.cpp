// The shared vocabulary of the families: sizes, broadcasting, windows, axes, and how common rows are written.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/support.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace macsim::rules {

Count numel(const Shape& shape, std::size_t from, std::size_t to) {
  const std::size_t end = std::min(to, shape.size());
  // Sizes are nearly always plain integers: those are multiplied without a Count on the way, and the rest with their
  // product, so that a symbol among them costs one symbolic product.
  std::int64_t plain = 1;
  Count rest = 1;
  const Dim* const sizes = shape.begin();
  for (std::size_t i = from; i < end; ++i) {
#if defined(__GNUC__) || defined(__clang__)
    const auto size = sizes[i].constant();
    std::int64_t product = 0;
    if (size && !__builtin_mul_overflow(plain, *size, &product)) {
      plain = product;
      continue;
    }
#endif
    rest *= sizes[i];
  }
  return rest.is(1) ? Count(plain) : plain == 1 ? rest : rest * plain;
}

Count bytes(DType dtype, const Count& count) {
  const int bits = bits_of(dtype);
  if (bits == 0) return Count::undefined();
  return bits % 8 == 0 ? count * (bits / 8) : ceil_div(count * bits, 8);
}

Count bytes(const Type& type) { return type.ranked ? bytes(type.dtype, numel(type.shape)) : Count::undefined(); }

// Axes. ------------------------------------------------------------------------------------------------------------

std::optional<std::size_t> axis_in(std::int64_t axis, std::size_t rank) noexcept {
  const auto size = static_cast<std::int64_t>(rank);
  if (axis < -size || axis >= size) return std::nullopt;
  return static_cast<std::size_t>(axis < 0 ? axis + size : axis);
}

std::optional<std::vector<std::size_t>> axes_in(Span<std::int64_t> axes, std::size_t rank) {
  std::vector<std::size_t> out;
  out.reserve(axes.size());
  for (const std::int64_t axis : axes) {
    const auto at = axis_in(axis, rank);
    if (!at || std::find(out.begin(), out.end(), *at) != out.end()) return std::nullopt;
    out.push_back(*at);
  }
  return out;
}

IntList int_list(const Call& c, std::size_t slot, std::string_view attribute) {
  IntList list;
  if (c.has(slot)) {
    list.given = true;
    auto values = c.constants(slot);
    list.known = values.has_value();
    if (values) list.values = std::move(*values);
    return list;
  }
  if (c.has_attr(attribute)) {
    list.given = true;
    const Span<std::int64_t> values = c.integers(attribute);
    list.values.assign(values.begin(), values.end());
  }
  return list;
}

std::optional<std::vector<Dim>> asked_sizes(const Call& c, std::size_t slot) {
  if (auto known = c.ints(slot)) return known;
  constexpr std::int64_t kMostAxes = 64;  // more is a mistake, and would be filled with unknown sizes
  const Type& list = c.in(slot);
  const auto count = list.ranked && list.shape.size() == 1 ? list.shape.begin()->constant() : std::nullopt;
  if (!count || *count < 0 || *count > kMostAxes) return std::nullopt;
  return std::vector<Dim>(static_cast<std::size_t>(*count), Dim::undefined());
}

// Sizes. -----------------------------------------------------------------------------------------------------------

namespace {

// One axis of a broadcast; false: the sizes cannot be broadcast.
bool broadcast_dim(const Call& c, const Dim& a, const Dim& b, Dim& out) {
  if (a == b || b.is(1)) {
    out = a;
  } else if (a.is(1)) {
    out = b;
  } else if (a.is_constant() && b.is_constant()) {
    return false;
  } else if (a.is_constant()) {
    out = a;  // a size other than 1 wins; the other is it, or 1
    if (b.defined()) c.assume_positive(b);
  } else if (b.is_constant()) {
    out = b;
    if (a.defined()) c.assume_positive(a);
  } else if (!a.defined() || !b.defined()) {
    out = Dim::undefined();
  } else {
    c.assume_positive(a);
    c.assume_positive(b);
    out = max(a, b);
  }
  return true;
}

}  // namespace

Status broadcast(const Call& c, const Shape& a, const Shape& b, Shape& out) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  const std::size_t lead = longer.size() - shorter.size();
  Shape result;
  result.reserve(longer.size());
  for (std::size_t i = 0; i < longer.size(); ++i) {
    if (i < lead) {
      result.push_back(longer[i]);
      continue;
    }
    Dim dim;
    if (!broadcast_dim(c, longer[i], shorter[i - lead], dim)) {
      return bad("shapes " + text(a) + " and " + text(b) + " cannot be broadcast");
    }
    result.push_back(std::move(dim));
  }
  out = std::move(result);
  return {};
}

Dim unify(const Call& c, const Dim& a, const Dim& b, std::string_view what) {
  if (!a.defined()) return b;
  if (!b.defined() || a == b) return a;
  if (equal(a, b) == Truth::no) {
    c.remark(Code::bad_inputs, std::string(what) + " differ: " + a.str() + " and " + b.str());
    return a;
  }
  return b.is_constant() ? b : a;
}

Dim larger(const Call& c, const Dim& a, const Dim& b) {
  if (!a.defined() || !b.defined()) return Dim::undefined();
  if (a.is_constant() && b.is_constant()) return max(a, b);
  if (at_least(a, b) == Truth::yes) return a;
  if (at_least(b, a) == Truth::yes) return b;
  const bool first = at_least(a, b, 1) == Truth::yes;
  const bool decided = first || at_least(b, a, 1) == Truth::yes;
  if (decided && c.assume_not_negative(first ? a - b : b - a)) return first ? a : b;
  return max(a, b);
}

Dim smaller(const Call& c, const Dim& a, const Dim& b) { return -larger(c, -a, -b); }

Dim at_least_zero(const Call& c, const Dim& e) { return larger(c, e, 0); }

Dim quotient(const Call& c, const Dim& a, const Dim& b) {
  if (!a.defined() || !b.defined()) return Dim::undefined();
  if (a.is_constant() && b.is_constant()) return floor_div(a, b);
  if (auto exact = divide_exact(a, b)) {
    if (!b.is_constant()) c.assume_positive(b);
    return std::move(*exact);
  }
  Dim whole = floor_div(a, b);
  c.assume_equal(a, b * whole, "a size and what its equal parts hold");
  return whole;
}

// Windows. ---------------------------------------------------------------------------------------------------------

namespace {

Status read_list(const Call& c, std::string_view name, std::size_t n, std::vector<std::int64_t>& out) {
  const Span<std::int64_t> given = c.integers(name);
  if (given.empty()) {
    out.assign(n, 1);
    return {};
  }
  if (given.size() != n) {
    return bad(std::string(name) + " has " + std::to_string(given.size()) + " entries, " + std::to_string(n) +
               " spatial axes need " + std::to_string(n));
  }
  for (const std::int64_t value : given) {
    if (value <= 0) return bad(std::string(name) + " has an entry that is not positive: " + std::to_string(value));
  }
  out.assign(given.begin(), given.end());
  return {};
}

}  // namespace

Status read_window(const Call& c, std::size_t spatial, const Shape& kernel_if_absent, Window& out) {
  const Span<std::int64_t> kernel = c.integers("kernel_shape");
  if (!kernel.empty()) {
    if (kernel.size() != spatial) {
      return bad("kernel_shape has " + std::to_string(kernel.size()) + " entries for " + std::to_string(spatial) +
                 " spatial axes");
    }
    for (const std::int64_t size : kernel) {
      if (size <= 0) return bad("kernel_shape has an entry that is not positive: " + std::to_string(size));
      const std::size_t axis = out.kernel.size();
      const Dim stated = axis < kernel_if_absent.size() ? kernel_if_absent[axis] : Dim::undefined();
      unify(c, size, stated, "kernel_shape and the kernel's sizes");
      out.kernel.emplace_back(size);
    }
  } else {
    out.kernel.assign(kernel_if_absent.begin(), kernel_if_absent.end());
    if (out.kernel.size() != spatial)
      return bad("the kernel's rank does not fit " + std::to_string(spatial) + " spatial axes");
  }
  if (Status status = read_list(c, "strides", spatial, out.strides); !status) return status;
  if (Status status = read_list(c, "dilations", spatial, out.dilations); !status) return status;
  const Span<std::int64_t> pads = c.integers("pads");
  if (!pads.empty() && pads.size() != 2 * spatial) {
    return bad("pads has " + std::to_string(pads.size()) + " entries for " + std::to_string(spatial) + " spatial axes");
  }
  for (std::size_t i = 0; i < spatial; ++i) {
    out.begin.emplace_back(pads.empty() ? 0 : pads[i]);
    out.end.emplace_back(pads.empty() ? 0 : pads[spatial + i]);
  }
  if (Status status = one_of(c, "auto_pad", {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", ""}); !status)
    return status;
  out.auto_pad = c.text("auto_pad", "NOTSET");
  out.ceil_mode = c.integer("ceil_mode", 0) != 0;
  return {};
}

namespace {

// A window that does not fit its input once is a mistake in the model: sizes for which it happens are not what is
// meant. Only nothing gives nothing.
Dim fitting(const Call& c, const Dim& in, const Dim& size) {
  if (at_least(size, 1) == Truth::no) {
    if (in.is(0)) return 0;
    c.remark(Code::bad_inputs, "the window is larger than its input with padding: the size is " + size.str());
    return Dim::undefined();
  }
  return c.assume_positive(size) ? size : max(size, 0);
}

}  // namespace

Dim windowed(const Call& c, const Dim& in, const Window& w, std::size_t axis) {
  const std::int64_t stride = w.strides[axis];
  const Dim reach = (w.kernel[axis] - 1) * w.dilations[axis] + 1;
  if (w.auto_pad == "SAME_UPPER" || w.auto_pad == "SAME_LOWER") return ceil_div(in, stride);
  const bool valid = w.auto_pad == "VALID";
  const Dim begin = valid ? Dim(0) : w.begin[axis];
  const Dim room = in + begin + (valid ? Dim(0) : w.end[axis]) - reach;
  if (!w.ceil_mode) return fitting(c, in, floor_div(room, stride) + 1);
  Dim size = ceil_div(room, stride) + 1;
  // The last window must start inside the input or its left padding.
  const Dim last = (size - 1) * stride - in - begin;  // >= 0: it starts past the end
  const Truth outside = at_least(last, 0);
  if (outside == Truth::yes) {
    size -= 1;
  } else if (outside == Truth::depends && last.defined()) {
    size = min(size, floor_div(in + begin - 1, stride) + 1);
  }
  return fitting(c, in, size);
}

Status one_of(const Call& c, std::string_view attribute, std::initializer_list<std::string_view> words) {
  const std::string_view given = c.text(attribute, *words.begin());
  if (std::find(words.begin(), words.end(), given) != words.end()) return {};
  std::string text = std::string(attribute) + " is '" + std::string(given) + "', and can be";
  for (const std::string_view word : words) (text += word == *words.begin() ? " " : ", ") += word;
  return bad(std::move(text));
}

Type common(const Type& a, const Type& b) {
  const DType dtype = a.dtype == b.dtype ? a.dtype : DType::unknown;
  if (a.kind != b.kind) return Type::unranked(dtype);
  Type out = a;
  out.dtype = dtype;
  if (a.element == nullptr || b.element == nullptr) {
    out.element = nullptr;
  } else if (a.element != b.element) {
    out.element = std::make_shared<const Type>(common(*a.element, *b.element));
  }
  if (!a.ranked || !b.ranked || a.shape.size() != b.shape.size()) {
    out.ranked = false;
    out.shape.clear();
    return out;
  }
  for (std::size_t i = 0; i < out.shape.size(); ++i) {
    if (a.shape[i] != b.shape[i]) out.shape[i] = Dim::undefined();
  }
  return out;
}

// Texts. -----------------------------------------------------------------------------------------------------------

std::string text(const Shape& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) out += ", ";
    out += shape[i].str();
  }
  return out + "]";
}

Status bad(std::string text) { return {Code::bad_inputs, std::move(text)}; }

Shape permuted(const Shape& shape, const std::vector<std::size_t>& perm) {
  Shape out;
  out.reserve(perm.size());
  for (const std::size_t axis : perm) out.push_back(shape[axis]);
  return out;
}

// Common rows. -----------------------------------------------------------------------------------------------------

Status infer_same(const Call& c, Outputs& out) {
  const Type& x = c.in(0);
  if (x.kind != Kind::tensor || !x.ranked) {
    out.set(0, x);
  } else {
    out.set(0, x.dtype, x.shape);
  }
  return {};
}

InferFn infer_same_as(DType dtype) {
  return [dtype](const Call& c, Outputs& out) -> Status {
    out.set(0, dtype, c.shape(0));
    return {};
  };
}

CostFn cost_moves(std::string_view why) {
  return [why](const Call&, Cost& cost) -> Status {
    cost.moves(why);
    return {};
  };
}

CostFn cost_free(std::string_view why) {
  return [why](const Call&, Cost& cost) -> Status {
    cost.free(why);
    return {};
  };
}

namespace {

std::vector<Binding> in_dialect(std::string_view dialect, std::initializer_list<std::string_view> names) {
  std::vector<Binding> out;
  out.reserve(names.size());
  for (const std::string_view name : names) {
    out.emplace_back().op = Text::joined({dialect, "::", name});
  }
  return out;
}

}  // namespace

std::vector<Binding> onnx(std::initializer_list<std::string_view> names) { return in_dialect("onnx", names); }

std::vector<Binding> microsoft(std::initializer_list<std::string_view> names) {
  return in_dialect("com.microsoft", names);
}

Text onnx_page(std::string_view op) { return Text::joined({"https://onnx.ai/onnx/operators/onnx__", op, ".html"}); }

std::vector<Binding> operator+(std::vector<Binding> a, std::vector<Binding> b) {
  a.insert(a.end(), std::make_move_iterator(b.begin()), std::make_move_iterator(b.end()));
  return a;
}

}  // namespace macsim::rules
