// Exact arithmetic on the known elements of small tensors: fractions with symbols, or constant reals.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/contents.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

namespace macsim {
namespace {

constexpr double kWholeLimit = 9.0e18;                      // below 2^63
constexpr double kDigitLimit = 4.0e9;                       // a larger digit is rounding noise
constexpr std::int64_t kTermLimit = std::int64_t{1} << 52;  // terms that a double holds exactly

bool is_whole(double value) noexcept { return std::floor(value) == value && std::fabs(value) < kWholeLimit; }

Truth negated(Truth truth) noexcept {
  return truth == Truth::depends ? truth : truth == Truth::yes ? Truth::no : Truth::yes;
}

// Halves to even, whatever rounding the process has set.
double nearest(double value) noexcept {
  const double down = std::floor(value);
  const double past = value - down;
  if (past != 0.5) return past < 0.5 ? down : down + 1;
  return std::fmod(down, 2) == 0 ? down : down + 1;
}

// Takes `divisor` out of a fraction as often as it divides both.
void cancel(Expr& num, std::int64_t& den, std::int64_t divisor) {
  while (den % divisor == 0) {
    Expr less = floor_div(num, divisor);
    if (less * divisor != num) return;
    num = std::move(less);
    den /= divisor;
  }
}

// Lowest terms: every prime of the denominator that divides the numerator for all sizes goes.
void reduce(Expr& num, std::int64_t& den) {
  constexpr std::int64_t kMostTried = 1000;  // a large prime in common is left; only looks suffer
  std::int64_t rest = den;
  for (std::int64_t prime = 2; prime <= kMostTried && prime <= rest / prime; ++prime) {
    if (rest % prime != 0) continue;
    while (rest % prime == 0) rest /= prime;
    cancel(num, den, prime);
  }
  if (rest > 1) cancel(num, den, rest);
}

}  // namespace

// The way down the Stern-Brocot tree to a real passes its continued fraction's convergents and what lies between them.
// The first node that rounds to the same 32-bit float is the simplest fraction that does: once a convergent rounds to
// it, the smallest multiple of its last step that still does is found by halving.
std::optional<std::pair<std::int64_t, std::int64_t>> simplest_fraction(double value) {
  if (!std::isfinite(value) || std::fabs(value) >= kWholeLimit) return std::nullopt;
  const auto target = static_cast<float>(value);
  if (!std::isfinite(target)) return std::nullopt;
  const bool negative = value < 0;
  double rest = std::fabs(value);
  const float wanted = std::fabs(target);
  const auto rounds = [&](std::int64_t p, std::int64_t q) {
    return static_cast<float>(static_cast<double>(p) / static_cast<double>(q)) == wanted;
  };
  std::int64_t p0 = 0, q0 = 1, p1 = 1, q1 = 0;
  for (int step = 0; step < 64; ++step) {
    const double floor = std::floor(rest);
    if (step != 0 && floor >= kDigitLimit) break;
    const auto digit = static_cast<std::int64_t>(floor);
    if (step != 0 && digit != 0 && (p1 > kTermLimit / digit || q1 > kTermLimit / digit)) break;
    const std::int64_t p2 = digit * p1 + p0;
    const std::int64_t q2 = digit * q1 + q0;
    if (rounds(p2, q2)) {
      std::int64_t low = q1 == 0 ? digit : 1;
      std::int64_t high = digit;
      while (low < high) {
        const std::int64_t middle = low + (high - low) / 2;
        if (rounds(middle * p1 + p0, middle * q1 + q0)) {
          high = middle;
        } else {
          low = middle + 1;
        }
      }
      const std::int64_t p = high * p1 + p0;
      return std::make_pair(negative ? -p : p, high * q1 + q0);
    }
    if (rest == floor) break;
    rest = 1.0 / (rest - floor);
    p0 = std::exchange(p1, p2);
    q0 = std::exchange(q1, q2);
  }
  return std::nullopt;
}

Scalar Scalar::fraction(Expr num, std::int64_t den) {
  Scalar out;
  if (den <= 0 || !num.defined()) return out;
  if (den != 1) reduce(num, den);
  out.num_ = std::move(num);
  out.den_ = den;
  return out;
}

Scalar Scalar::real(double value) {
  Scalar out;
  out.real_ = value;
  out.is_real_ = true;
  return out;
}

Expr Scalar::whole() const {
  if (is_real_) return is_whole(real_) ? Expr(static_cast<std::int64_t>(real_)) : Expr::undefined();
  return den_ == 1 ? num_ : Expr::undefined();
}

std::optional<double> Scalar::constant() const {
  if (is_real_) return real_;
  const auto num = num_.real();
  if (!num) return std::nullopt;
  return *num / static_cast<double>(den_);
}

std::optional<std::int64_t> Scalar::constant_integer() const { return whole().constant(); }

Truth Scalar::nonzero() const {
  if (is_real_) return real_ != 0 ? Truth::yes : Truth::no;
  return negated(equal(num_, 0));
}

Expr Scalar::floor() const {
  if (is_real_)
    return is_whole(std::floor(real_)) ? Expr(static_cast<std::int64_t>(std::floor(real_))) : Expr::undefined();
  return den_ == 1 ? num_ : floor_div(num_, den_);
}

Expr Scalar::ceil() const {
  if (is_real_)
    return is_whole(std::ceil(real_)) ? Expr(static_cast<std::int64_t>(std::ceil(real_))) : Expr::undefined();
  return den_ == 1 ? num_ : ceil_div(num_, den_);
}

Expr Scalar::truncated() const {
  if (is_real_)
    return is_whole(std::trunc(real_)) ? Expr(static_cast<std::int64_t>(std::trunc(real_))) : Expr::undefined();
  if (den_ == 1) return num_;
  if (at_least(num_, 0) == Truth::yes) return floor_div(num_, den_);
  if (at_least(0, num_) == Truth::yes) return ceil_div(num_, den_);
  return Expr::undefined();
}

Expr Scalar::rounded() const {
  if (const auto value = constant()) {
    const double near = nearest(*value);
    return is_whole(near) ? Expr(static_cast<std::int64_t>(near)) : Expr::undefined();
  }
  return den_ == 1 ? num_ : floor_div(2 * num_ + den_, Expr(den_) * 2);
}

Scalar Scalar::as_fraction() const {
  if (!is_real_) return *this;
  const auto simple = simplest_fraction(real_);
  return simple ? fraction(simple->first, simple->second) : Scalar();
}

namespace {

// Two fractions over the product of their denominators, when that fits.
std::optional<std::int64_t> product_of(std::int64_t a, std::int64_t b) {
  if (a != 0 && b > std::numeric_limits<std::int64_t>::max() / a) return std::nullopt;
  return a * b;
}

}  // namespace

Scalar operator+(const Scalar& a, const Scalar& b) {
  if (!a.known() || !b.known()) return {};
  if (a.is_real_ || b.is_real_) {
    const auto x = a.constant(), y = b.constant();
    if (x && y) return Scalar::real(*x + *y);
    return a.as_fraction() + b.as_fraction();
  }
  const auto den = product_of(a.den_, b.den_);
  if (!den) return {};
  return Scalar::fraction(a.num_ * b.den_ + b.num_ * a.den_, *den);
}

Scalar operator-(const Scalar& a, const Scalar& b) { return a + b * Scalar::integer(-1); }

Scalar operator*(const Scalar& a, const Scalar& b) {
  if (!a.known() || !b.known()) return {};
  if (a.is_real_ || b.is_real_) {
    const auto x = a.constant(), y = b.constant();
    if (x && y) return Scalar::real(*x * *y);
    const Scalar p = a.as_fraction(), q = b.as_fraction();
    return p.known() && q.known() ? p * q : Scalar();
  }
  const auto den = product_of(a.den_, b.den_);
  if (!den) return {};
  return Scalar::fraction(a.num_ * b.num_, *den);
}

Scalar operator/(const Scalar& a, const Scalar& b) {
  if (!a.known() || !b.known()) return {};
  if (a.is_real_ || b.is_real_) {
    const auto x = a.constant(), y = b.constant();
    if (x && y) return *y == 0 ? Scalar() : Scalar::real(*x / *y);
    const Scalar p = a.as_fraction(), q = b.as_fraction();
    return p.known() && q.known() ? p / q : Scalar();
  }
  if (b.num_.is(0)) return {};
  if (const auto by = b.num_.constant()) {
    if (*by == std::numeric_limits<std::int64_t>::min()) return {};
    const auto den = product_of(a.den_, *by < 0 ? -*by : *by);
    if (!den) return {};
    return Scalar::fraction((*by < 0 ? -a.num_ : a.num_) * b.den_, *den);
  }
  // By a symbolic number: only where it divides exactly.
  if (const auto exact = divide_exact(a.num_ * b.den_, b.num_)) return Scalar::fraction(*exact, a.den_);
  return {};
}

bool operator==(const Scalar& a, const Scalar& b) {
  if (a.is_real_ != b.is_real_) return false;
  return a.is_real_ ? a.real_ == b.real_ : a.num_ == b.num_ && a.den_ == b.den_;
}

namespace {

// Where a NaN is in it nothing is said: what follows from "not less" would be wrong.
Truth decided(bool yes, double a, double b) noexcept {
  if (std::isnan(a) || std::isnan(b)) return Truth::depends;
  return yes ? Truth::yes : Truth::no;
}

}  // namespace

Truth Scalar::less(const Scalar& a, const Scalar& b) {
  if (!a.known() || !b.known()) return Truth::depends;
  if (a.is_real_ || b.is_real_) {
    const auto x = a.constant(), y = b.constant();
    if (x && y) return decided(*x < *y, *x, *y);
  }
  const Scalar p = a.as_fraction(), q = b.as_fraction();
  if (!p.known() || !q.known()) return Truth::depends;
  return negated(at_least(p.num_ * q.den_, q.num_ * p.den_));
}

Truth Scalar::same(const Scalar& a, const Scalar& b) {
  if (!a.known() || !b.known()) return Truth::depends;
  if (a.is_real_ || b.is_real_) {
    const auto x = a.constant(), y = b.constant();
    if (x && y) return decided(*x == *y, *x, *y);
  }
  const Scalar p = a.as_fraction(), q = b.as_fraction();
  if (!p.known() || !q.known()) return Truth::depends;
  return equal(p.num_ * q.den_, q.num_ * p.den_);
}

Scalar Scalar::max(const Scalar& a, const Scalar& b) {
  if (!a.known() || !b.known()) return {};
  switch (less(a, b)) {
    case Truth::yes:
      return b;
    case Truth::no:
      return a;
    case Truth::depends:
      break;
  }
  const Scalar p = a.as_fraction(), q = b.as_fraction();
  const auto den = product_of(p.den_, q.den_);
  if (!p.known() || !q.known() || !den) return {};
  return fraction(macsim::max(p.num_ * q.den_, q.num_ * p.den_), *den);
}

Scalar Scalar::min(const Scalar& a, const Scalar& b) {
  const Scalar minus = integer(-1);
  return max(a * minus, b * minus) * minus;
}

Scalar Scalar::bind(const Bindings& sizes) const {
  if (is_real_ || !num_.defined()) return *this;
  return fraction(num_.bind(sizes), den_);
}

}  // namespace macsim
