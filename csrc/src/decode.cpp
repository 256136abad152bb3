// Decoding stored elements: raw bytes, packed and unpacked numbers, sub-byte types, small floats, sparse tensors.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "decode.hpp"

#include <cmath>
#include <limits>
#include <optional>

#include "onnx_fields.hpp"
#include "wire.hpp"

namespace macsim {
namespace {

using wire::Field;
using wire::Flaw;
using wire::Wire;

/// How the bits of a small floating-point type are to be read.
struct FloatFormat {
  int exponent, mantissa, bias;
  enum Special : std::uint8_t {
    ieee,      ///< the largest exponent means infinity, or NaN
    one_nan,   ///< all ones is NaN, no infinity
    negative,  ///< minus zero is NaN, no infinity
    finite,    ///< neither
  } special;
};

std::optional<FloatFormat> float_format(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return FloatFormat{5, 10, 15, FloatFormat::ieee};
    case DType::bf16:
      return FloatFormat{8, 7, 127, FloatFormat::ieee};
    case DType::f8e4m3fn:
      return FloatFormat{4, 3, 7, FloatFormat::one_nan};
    case DType::f8e4m3fnuz:
      return FloatFormat{4, 3, 8, FloatFormat::negative};
    case DType::f8e5m2:
      return FloatFormat{5, 2, 15, FloatFormat::ieee};
    case DType::f8e5m2fnuz:
      return FloatFormat{5, 2, 16, FloatFormat::negative};
    case DType::f6e2m3:
      return FloatFormat{2, 3, 1, FloatFormat::finite};
    case DType::f6e3m2:
      return FloatFormat{3, 2, 3, FloatFormat::finite};
    case DType::f4e2m1:
      return FloatFormat{2, 1, 1, FloatFormat::finite};
    default:
      return std::nullopt;
  }
}

double real_of(std::uint64_t bits, const FloatFormat& format) {
  const auto field = [bits](int from, int width) {
    return static_cast<int>((bits >> static_cast<unsigned>(from)) & ((1U << static_cast<unsigned>(width)) - 1U));
  };
  const int mantissa = field(0, format.mantissa);
  const int exponent = field(format.mantissa, format.exponent);
  const bool minus = field(format.mantissa + format.exponent, 1) != 0;
  const int top_exponent = (1 << format.exponent) - 1, top_mantissa = (1 << format.mantissa) - 1;
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (format.special == FloatFormat::ieee && exponent == top_exponent) {
    return mantissa != 0 ? nan : minus ? -infinity : infinity;
  }
  if (format.special == FloatFormat::one_nan && exponent == top_exponent && mantissa == top_mantissa) return nan;
  if (format.special == FloatFormat::negative && minus && exponent == 0 && mantissa == 0) return nan;
  const int whole = exponent == 0 ? mantissa : mantissa + (1 << format.mantissa);
  const double size = std::ldexp(whole, (exponent == 0 ? 1 : exponent) - format.bias - format.mantissa);
  return minus ? -size : size;
}

/// One element from its bits.
class Element {
 public:
  explicit Element(DType dtype) : dtype_(dtype), bits_(bits_of(dtype)), format_(float_format(dtype)) {
    const DTypeClass kind = class_of(dtype);
    real_ = kind == DTypeClass::real;
    numeric_ = real_ || kind == DTypeClass::integer || kind == DTypeClass::boolean;
    switch (dtype) {
      case DType::i64:
      case DType::i32:
      case DType::i16:
      case DType::i8:
      case DType::i4:
      case DType::i2:
        is_signed_ = true;
        break;
      default:
        break;
    }
  }
  bool numeric() const { return numeric_; }
  bool is_real() const { return real_; }
  int bits() const { return bits_; }

  double real(std::uint64_t bits) const {
    if (format_) return real_of(bits, *format_);
    if (dtype_ == DType::f64) return wire::double_of(bits);
    if (dtype_ == DType::f32) return static_cast<double>(wire::float_of(bits));
    const auto scale = static_cast<int>(bits & 0xFFU);  // f8e8m0: a power of two, and one NaN
    return scale == 0xFF ? std::numeric_limits<double>::quiet_NaN() : std::ldexp(1.0, scale - 127);
  }
  /// False: above 2^63.
  bool integer(std::uint64_t bits, std::int64_t& value) const {
    if (dtype_ == DType::boolean) {
      value = (bits & 0xFFU) != 0 ? 1 : 0;
      return true;
    }
    const auto unused = static_cast<unsigned>(64 - bits_);
    const std::uint64_t up = bits << unused;
    value = is_signed_ ? static_cast<std::int64_t>(up) >> unused : static_cast<std::int64_t>(up >> unused);
    return is_signed_ || value >= 0;
  }

 private:
  DType dtype_;
  int bits_;
  std::optional<FloatFormat> format_;
  bool real_ = false, numeric_ = false, is_signed_ = false;
};

/// Collects exactly as many elements as the shape says.
class Sink {
 public:
  Sink(Element element, std::size_t wanted, std::vector<std::int64_t>* ints, std::vector<double>* reals)
      : element_(element), wanted_(wanted), ints_(ints), reals_(reals) {}
  std::size_t size() const { return element_.is_real() ? reals_->size() : ints_->size(); }
  bool full() const { return size() == wanted_; }
  const Element& element() const { return element_; }

  bool add(std::uint64_t bits) {
    if (full()) return false;
    if (element_.is_real()) {
      reals_->push_back(element_.real(bits));
      return true;
    }
    std::int64_t value = 0;
    if (!element_.integer(bits, value)) return false;
    ints_->push_back(value);
    return true;
  }
  /// A float or double as it is.
  bool add_real(double value) {
    if (full() || !element_.is_real()) return false;
    reals_->push_back(value);
    return true;
  }
  /// One entry of int32_data and kin, which holds several elements of a 4-bit or 2-bit type.
  bool add_entry(std::uint64_t bits) {
    const auto width = static_cast<unsigned>(element_.bits());
    if (width != 4 && width != 2) return add(bits);
    for (unsigned shift = 0; shift < 8 && !full(); shift += width) {
      if (!add((bits >> shift) & ((1U << width) - 1U))) return false;
    }
    return true;
  }

 private:
  Element element_;
  std::size_t wanted_;
  std::vector<std::int64_t>* ints_;
  std::vector<double>* reals_;
};

bool decode_raw(std::string_view bytes, std::size_t count, Sink& sink) {
  const auto width = static_cast<std::size_t>(sink.element().bits());
  if (bytes.size() != (count * width + 7) / 8) return false;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t first = i * width;
    std::uint64_t bits = 0;
    if (width >= 8) {
      bits = wire::little_endian(bytes.data() + first / 8, width / 8);
    } else {  // a stream of bits, least significant first; a 6-bit element may lie in two bytes
      const std::size_t last = (first + width - 1) / 8;
      bits = wire::little_endian(bytes.data() + first / 8, last - first / 8 + 1);
      bits = (bits >> (first % 8)) & ((1U << width) - 1U);
    }
    if (!sink.add(bits)) return false;
  }
  return true;
}

/// Numbers one after the other, without tags.
bool decode_packed(std::string_view bytes, Encoding encoding, Sink& sink) {
  Wire wire(bytes, onnx::tensor::kMessage);
  std::uint64_t bits = 0;
  while (wire.more()) {
    switch (encoding) {
      case Encoding::varints:
        if (!wire.varint(bits) || !sink.add_entry(bits)) return false;
        break;
      case Encoding::fixed32:
        if (!wire.fixed(bits, 4)) return false;
        if (!sink.add_real(static_cast<double>(wire::float_of(bits)))) return false;
        break;
      default:
        if (!wire.fixed(bits, 8) || !sink.add_real(wire::double_of(bits))) return false;
    }
  }
  return true;
}

/// Every number of the chosen fields of a message, one by one or packed.
bool decode_fields(std::string_view bytes, const wire::Message& message, std::uint32_t chosen, Sink& sink) {
  Wire wire(bytes, message);
  Field f;
  while (wire.next(f)) {
    if (f.number >= wire::Message::kFields || ((chosen >> f.number) & 1U) == 0) continue;
    const unsigned allowed = message.allowed[f.number];
    const Encoding encoding = (allowed & wire::kInteger) != 0 ? Encoding::varints
                              : (allowed & wire::kFloat) != 0 ? Encoding::fixed32
                                                              : Encoding::fixed64;
    bool good = false;
    if (f.packed()) {
      good = decode_packed(f.bytes, encoding, sink);
    } else if (encoding == Encoding::varints) {
      good = sink.add_entry(f.bits);
    } else if (encoding == Encoding::fixed32) {
      good = sink.add_real(static_cast<double>(wire::float_of(f.bits)));
    } else {
      good = sink.add_real(wire::double_of(f.bits));
    }
    if (!good) return false;
  }
  return wire.flaw() == Flaw::none;
}

/// The number of elements, when it is known and at most `limit`.
std::optional<std::size_t> elements(const Shape& shape, std::size_t limit) {
  std::size_t count = 1;
  bool none = false;
  for (const Dim& dim : shape) {
    const auto size = dim.constant();
    if (!size || *size < 0) return std::nullopt;
    none = none || *size == 0;
    if (none) continue;
    if (static_cast<std::uint64_t>(*size) > limit / count) return std::nullopt;
    count *= static_cast<std::size_t>(*size);
  }
  return none ? 0 : count;
}

/// One TensorProto of the two in a SparseTensorProto.
bool read_part(std::string_view bytes, Stored& part) {
  constexpr std::uint32_t numbers = (1U << onnx::tensor::kFloatData) | (1U << onnx::tensor::kInt32Data) |
                                    (1U << onnx::tensor::kInt64Data) | (1U << onnx::tensor::kDoubleData) |
                                    (1U << onnx::tensor::kUint64Data);
  part.type.ranked = true;
  Wire wire(bytes, onnx::tensor::kMessage);
  Field f;
  while (wire.next(f)) {
    if (f.number == onnx::tensor::kDims) {
      Wire packed(f.bytes, onnx::tensor::kMessage);
      if (!f.packed()) part.type.shape.push_back(Dim(f.integer()));
      std::uint64_t dim = 0;
      while (f.packed() && packed.more()) {
        if (!packed.varint(dim)) return false;
        part.type.shape.push_back(Dim(static_cast<std::int64_t>(dim)));
      }
    } else if (f.number == onnx::tensor::kDataType) {
      part.type.dtype = dtype_from_onnx(f.integer());
    } else if (f.number == onnx::tensor::kRawData) {
      part.encoding = Encoding::raw;
      part.bytes = f.bytes;
    } else if (f.number < wire::Message::kFields && ((numbers >> f.number) & 1U) != 0 &&
               part.encoding != Encoding::raw) {
      part.encoding = Encoding::unpacked;
      part.bytes = bytes;
    } else if (f.number == onnx::tensor::kDataLocation && f.bits == onnx::tensor::kExternal) {
      return false;
    }
  }
  return wire.flaw() == Flaw::none;
}

/// Zeros, and the stored elements at their indices: one flat index each, or one for each axis.
bool decode_sparse(const Stored& stored, std::size_t count, std::size_t limit, std::vector<std::int64_t>* ints,
                   std::vector<double>* reals) {
  Stored values, indices;
  Wire wire(stored.bytes, onnx::sparse::kMessage);
  Field f;
  while (wire.next(f)) {
    if (f.number == onnx::sparse::kValues && !read_part(f.bytes, values)) return false;
    if (f.number == onnx::sparse::kIndices && !read_part(f.bytes, indices)) return false;
  }
  std::vector<std::int64_t> some_ints, at;
  std::vector<double> some_reals, unused;
  const std::size_t rank = stored.type.shape.size();
  if (wire.flaw() != Flaw::none || indices.type.dtype != DType::i64) return false;
  if (!decode(values, limit, &some_ints, &some_reals) || !decode(indices, limit * (rank + 1), &at, &unused))
    return false;
  const std::size_t given = some_ints.size() + some_reals.size();
  const bool flat = indices.type.shape.size() == 1;
  if (given > count || at.size() != (flat ? given : given * rank)) return false;
  const bool real = class_of(stored.type.dtype) == DTypeClass::real;
  if (real)
    reals->assign(count, 0.0);
  else
    ints->assign(count, 0);
  for (std::size_t i = 0; i < given; ++i) {
    std::uint64_t position = 0;
    if (flat) {
      position = static_cast<std::uint64_t>(at[i]);
    } else {
      for (std::size_t axis = 0; axis < rank; ++axis) {
        const auto size = static_cast<std::uint64_t>(stored.type.shape[axis].constant().value_or(0));
        const auto along = static_cast<std::uint64_t>(at[i * rank + axis]);
        if (along >= size) return false;
        position = position * size + along;
      }
    }
    if (position >= count) return false;
    if (real)
      (*reals)[position] = some_reals[i];
    else
      (*ints)[position] = some_ints[i];
  }
  return true;
}

bool decode_dense(const Stored& stored, std::size_t count, Sink& sink) {
  using namespace onnx;
  constexpr std::uint32_t of_tensor = (1U << tensor::kFloatData) | (1U << tensor::kInt32Data) |
                                      (1U << tensor::kInt64Data) | (1U << tensor::kDoubleData) |
                                      (1U << tensor::kUint64Data);
  switch (stored.encoding) {
    case Encoding::raw:
      return decode_raw(stored.bytes, count, sink);
    case Encoding::varints:
    case Encoding::fixed32:
    case Encoding::fixed64:
      return decode_packed(stored.bytes, stored.encoding, sink);
    case Encoding::unpacked:
      return decode_fields(stored.bytes, tensor::kMessage, of_tensor, sink);
    case Encoding::attribute: {
      const bool real = sink.element().is_real();
      const bool list = !stored.type.shape.empty();
      const unsigned field =
          real ? (list ? attribute::kFloats : attribute::kF) : (list ? attribute::kInts : attribute::kI);
      if (!decode_fields(stored.bytes, attribute::kMessage, 1U << field, sink)) return false;
      return sink.full() || list || sink.add(0);  // a writer may leave out a zero
    }
    default:
      return false;
  }
}

}  // namespace

bool decode(const Stored& stored, std::size_t limit, std::vector<std::int64_t>* ints, std::vector<double>* reals) {
  ints->clear();
  reals->clear();
  const Element element(stored.type.dtype);
  if (!element.numeric() || !stored.type.ranked || stored.external) return false;
  const auto count = elements(stored.type.shape, limit);
  if (!count) return false;
  bool good = false;
  if (stored.encoding == Encoding::sparse) {
    good = decode_sparse(stored, *count, limit, ints, reals);
  } else if (stored.encoding == Encoding::none) {
    good = *count == 0;  // an empty tensor has no payload
  } else {
    Sink sink(element, *count, ints, reals);
    good = decode_dense(stored, *count, sink) && sink.full();
  }
  if (!good) {
    ints->clear();
    reals->clear();
  }
  return good;
}

}  // namespace macsim
