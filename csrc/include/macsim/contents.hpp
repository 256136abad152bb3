// Contents: what is known of the elements of a small tensor, exactly, symbols included.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_CONTENTS_HPP
#define MACSIM_CONTENTS_HPP

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "macsim/expr.hpp"
#include "macsim/graph.hpp"

namespace macsim {

/// One element: unknown, an exact (perhaps symbolic) fraction num/den, or a constant real number.
/// Integers and booleans are fractions over 1. A symbolic size times a constant real stays exact: the real is taken as
/// the simplest fraction that rounds to it in 32 bits, so that 0.7f is 7/10.
class Scalar {
 public:
  Scalar() noexcept : num_(Expr::undefined()) {}
  static Scalar unknown() noexcept { return {}; }
  static Scalar integer(Expr value) { return fraction(std::move(value), 1); }
  /// `den` > 0.
  static Scalar fraction(Expr num, std::int64_t den);
  static Scalar real(double value);

  bool known() const noexcept { return is_real_ || num_.defined(); }
  /// The value when it is a whole number (a real one too); undefined() otherwise.
  Expr whole() const;
  /// The value when it has no symbols.
  std::optional<double> constant() const;
  /// No symbols, whole, and within 64 bits.
  std::optional<std::int64_t> constant_integer() const;
  /// yes or no when zero-ness is decided for all sizes; depends otherwise or when unknown.
  Truth nonzero() const;
  Expr floor() const;
  Expr ceil() const;
  /// Toward zero, as a cast to integer does.
  Expr truncated() const;
  /// To nearest, halves to even (ONNX Round) for constants; symbolic fractions: floor(x + 1/2).
  Expr rounded() const;

  friend Scalar operator+(const Scalar& a, const Scalar& b);
  friend Scalar operator-(const Scalar& a, const Scalar& b);
  friend Scalar operator*(const Scalar& a, const Scalar& b);
  /// True division; division by zero is unknown.
  friend Scalar operator/(const Scalar& a, const Scalar& b);
  friend bool operator==(const Scalar& a, const Scalar& b);

  static Scalar max(const Scalar& a, const Scalar& b);
  static Scalar min(const Scalar& a, const Scalar& b);
  /// a < b and a == b, for all sizes (symbols >= 0).
  static Truth less(const Scalar& a, const Scalar& b);
  static Truth same(const Scalar& a, const Scalar& b);
  static Scalar of(Truth truth) { return truth == Truth::depends ? Scalar() : integer(truth == Truth::yes ? 1 : 0); }
  Scalar bind(const Bindings& sizes) const;

  bool is_real() const noexcept { return is_real_; }
  const Expr& numerator() const noexcept { return num_; }
  std::int64_t denominator() const noexcept { return den_; }

 private:
  Scalar as_fraction() const;
  Expr num_;
  std::int64_t den_ = 1;
  double real_ = 0;
  bool is_real_ = false;
};

/// The simplest fraction (smallest denominator) that rounds to the same 32-bit float; nullopt for NaN, infinities and
/// what needs more than 63 bits.
std::optional<std::pair<std::int64_t, std::int64_t>> simplest_fraction(double value);

struct Contents;
using ContentsPtr = std::shared_ptr<const Contents>;

/// What is known of a value. A tensor: its elements in row-major order, as many as its shape says. A sequence: its
/// parts in order. An optional: one part, or none when it is known to be empty.
struct Contents {
  struct Part {
    Type type;
    ContentsPtr contents;
  };
  std::vector<Scalar> items;
  std::vector<Part> parts;
};

/// Tensors of more elements than this have no known contents, except stored ones that a rule asks for.
inline constexpr std::size_t kMostItems = 1024;

}  // namespace macsim

#endif  // MACSIM_CONTENTS_HPP
