// Contents: exact arithmetic on known elements, against plain arithmetic on fractions.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/contents.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <utility>

#include "check.hpp"

using namespace macsim;

namespace {

using Fraction = std::pair<std::int64_t, std::int64_t>;

Expr sym(const char* name) { return Expr::symbol(name); }

/// The smallest denominator of a fraction that rounds to `target`, by trying them all.
std::optional<std::int64_t> smallest_denominator(float target, std::int64_t most) {
  for (std::int64_t q = 1; q <= most; ++q) {
    const double near = std::nearbyint(static_cast<double>(target) * static_cast<double>(q));
    if (static_cast<float>(near / static_cast<double>(q)) == target) return q;
  }
  return std::nullopt;
}

/// The value for given sizes, as numerator and denominator.
std::optional<Fraction> at(const Scalar& scalar, const Bindings& sizes) {
  const Scalar bound = scalar.bind(sizes);
  if (!bound.known() || bound.is_real()) return std::nullopt;
  const auto num = bound.numerator().constant();
  if (!num) return std::nullopt;
  return Fraction{*num, bound.denominator()};
}

}  // namespace

TEST("a real is the simplest fraction that rounds to it") {
  CHECK(simplest_fraction(0.7F) == Fraction(7, 10));
  CHECK(simplest_fraction(0.7) == Fraction(7, 10));
  CHECK(simplest_fraction(1.0F / 3) == Fraction(1, 3));
  CHECK(simplest_fraction(-2.5) == Fraction(-5, 2));
  CHECK(simplest_fraction(0) == Fraction(0, 1));
  CHECK(simplest_fraction(1e10) == Fraction(10000000000, 1));
  CHECK_EQ(simplest_fraction(3.14159265358979)->second, *smallest_denominator(3.14159265358979F, 50000));
  CHECK(!simplest_fraction(std::numeric_limits<double>::quiet_NaN()));
  CHECK(!simplest_fraction(std::numeric_limits<double>::infinity()));
  CHECK(!simplest_fraction(1e19));
  CHECK(!simplest_fraction(1e-40));  // its denominator needs more than 63 bits
}

TEST("no smaller denominator rounds to the same float") {
  std::mt19937 random(7);
  for (int i = 0; i < 400; ++i) {
    const auto q = static_cast<double>(random() % 600 + 1), p = static_cast<double>(random() % 5000);
    const auto target = static_cast<float>(p / q);
    const auto found = simplest_fraction(target);
    CHECK(found.has_value());
    if (!found) continue;
    CHECK(static_cast<float>(static_cast<double>(found->first) / static_cast<double>(found->second)) == target);
    CHECK_EQ(smallest_denominator(target, 600), found->second);
  }
}

TEST("fractions are in lowest terms") {
  const Expr h = sym("h");
  CHECK_EQ(Scalar::fraction(6, 4).numerator(), Expr(3));
  CHECK_EQ(Scalar::fraction(6, 4).denominator(), 2);
  CHECK_EQ(Scalar::fraction(6 * h, 12).numerator(), h);
  CHECK_EQ(Scalar::fraction(6 * h, 12).denominator(), 2);
  CHECK_EQ(Scalar::fraction(4 * h + 8, 4).whole(), h + 2);
  CHECK_EQ(Scalar::fraction(2 * h + 1, 4).denominator(), 4);
  CHECK_EQ(Scalar::fraction(1009 * 1013 * h, 1009).whole(), 1013 * h);
  CHECK(!Scalar::fraction(1, 0).known());
  CHECK(!Scalar::fraction(Expr::undefined(), 2).known());
}

TEST("a size scaled by a real stays exact") {
  const Expr h = sym("h");
  const Scalar scaled = Scalar::integer(h) * Scalar::real(0.7F);
  CHECK_EQ(scaled.floor(), floor_div(7 * h, 10));
  CHECK_EQ(scaled.ceil(), ceil_div(7 * h, 10));
  CHECK_EQ((Scalar::integer(h) * Scalar::real(2.0)).whole(), 2 * h);
  CHECK_EQ((Scalar::integer(h) / Scalar::real(0.5)).whole(), 2 * h);
  CHECK_EQ((Scalar::integer(4 * h) / Scalar::integer(2 * h)).whole(), Expr(2));
  CHECK(!(Scalar::integer(h) / Scalar::integer(sym("w"))).known());
  CHECK(!(Scalar::integer(h) / Scalar::integer(0)).known());
  CHECK(!(Scalar::real(1) / Scalar::real(0)).known());
}

TEST("rounding to whole numbers") {
  const auto real = [](double value) { return Scalar::real(value); };
  CHECK_EQ(real(-2.5).floor(), Expr(-3));
  CHECK_EQ(real(-2.5).ceil(), Expr(-2));
  CHECK_EQ(real(-2.5).truncated(), Expr(-2));
  // Halves to even, as ONNX's Round.
  CHECK_EQ(real(0.5).rounded(), Expr(0));
  CHECK_EQ(real(1.5).rounded(), Expr(2));
  CHECK_EQ(real(2.5).rounded(), Expr(2));
  CHECK_EQ(real(-2.5).rounded(), Expr(-2));
  CHECK_EQ(real(-3.5).rounded(), Expr(-4));
  CHECK_EQ(real(2.4999).rounded(), Expr(2));
  CHECK_EQ(real(-0.6).rounded(), Expr(-1));
  CHECK_EQ(Scalar::fraction(7, 2).rounded(), Expr(4));
  CHECK_EQ(Scalar::fraction(-7, 2).truncated(), Expr(-3));
  CHECK_EQ(Scalar::fraction(sym("h"), 3).rounded(), floor_div(2 * sym("h") + 3, 6));
  CHECK(!real(1e300).floor().defined());
  CHECK(!real(std::numeric_limits<double>::quiet_NaN()).rounded().defined());
  // The sign of h - 3 is not known, and so neither is its cast to an integer.
  CHECK(!Scalar::fraction(sym("h") - 3, 2).truncated().defined());
  CHECK_EQ(Scalar::fraction(sym("h"), 2).truncated(), floor_div(sym("h"), 2));
}

TEST("what can be decided for all sizes") {
  const Scalar h = Scalar::integer(sym("h")), one = Scalar::integer(1);
  CHECK_EQ(Scalar::less(h, h + one), Truth::yes);
  CHECK_EQ(Scalar::less(h, Scalar::integer(0)), Truth::no);
  CHECK_EQ(Scalar::less(h, one), Truth::depends);
  CHECK_EQ(Scalar::same(h, Scalar::integer(-1)), Truth::no);
  CHECK_EQ(Scalar::same(h, one), Truth::depends);
  CHECK_EQ(Scalar::same(h + h, Scalar::integer(2) * h), Truth::yes);
  CHECK_EQ(Scalar::same(Scalar(), Scalar()), Truth::depends);
  CHECK_EQ((h + one).nonzero(), Truth::yes);
  CHECK_EQ(h.nonzero(), Truth::depends);
  CHECK_EQ(Scalar::max(h, h + one), h + one);
  CHECK_EQ(Scalar::min(h, h + one), h);
  CHECK_EQ(Scalar::max(h, Scalar::integer(sym("w"))).whole(), max(sym("h"), sym("w")));
  CHECK_EQ(Scalar::less(h, Scalar::real(-0.5)), Truth::no);
}

TEST("integers of 64 bits are compared exactly") {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  CHECK_EQ(Scalar::same(Scalar::integer(most), Scalar::integer(most - 1)), Truth::no);
  CHECK_EQ(Scalar::less(Scalar::integer(most - 1), Scalar::integer(most)), Truth::yes);
  CHECK_EQ(Scalar::integer(most).constant_integer(), std::optional<std::int64_t>(most));
}

TEST("nothing is said about NaN") {
  const Scalar nan = Scalar::real(std::numeric_limits<double>::quiet_NaN());
  CHECK_EQ(Scalar::less(nan, Scalar::real(1)), Truth::depends);
  CHECK_EQ(Scalar::same(nan, nan), Truth::depends);
}

TEST("unknown absorbs") {
  const Scalar unknown, one = Scalar::integer(1);
  CHECK(!(unknown + one).known());
  CHECK(!(one - unknown).known());
  CHECK(!(unknown * Scalar::integer(0)).known());
  CHECK(!(one / unknown).known());
  CHECK(!Scalar::max(unknown, one).known());
  CHECK(!Scalar::of(Truth::depends).known());
  CHECK_EQ(unknown.nonzero(), Truth::depends);
  CHECK(!unknown.whole().defined());
}

TEST("arithmetic agrees with plain fractions after binding") {
  std::mt19937 random(11);
  const auto number = [&](int most) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(most)); };
  for (int round = 0; round < 3000; ++round) {
    const Bindings sizes = {{"h", number(9)}, {"w", number(9)}};
    const std::int64_t h = sizes.at("h"), w = sizes.at("w");
    const std::int64_t a = number(7) - 3, b = number(7) - 3, c = number(7) - 3, d = number(5) + 1, e = number(5) + 1;
    const Scalar x = Scalar::fraction(a * sym("h") + b, d);
    const Scalar y = Scalar::fraction(c * sym("w") + b * sym("h"), e);
    const Fraction p(a * h + b, d), q(c * w + b * h, e);
    const auto same = [&](const Scalar& found, std::int64_t num, std::int64_t den) {
      const auto value = at(found, sizes);
      CHECK(value && value->first * den == num * value->second);
    };
    same(x + y, p.first * q.second + q.first * p.second, p.second * q.second);
    same(x - y, p.first * q.second - q.first * p.second, p.second * q.second);
    same(x * y, p.first * q.first, p.second * q.second);
    const bool larger = p.first * q.second >= q.first * p.second;
    same(Scalar::max(x, y), larger ? p.first : q.first, larger ? p.second : q.second);
    same(Scalar::min(x, y), larger ? q.first : p.first, larger ? q.second : p.second);
    const auto floor = x.floor().bind(sizes).constant(), ceil = x.ceil().bind(sizes).constant();
    const double real = static_cast<double>(p.first) / static_cast<double>(p.second);
    CHECK(floor && static_cast<double>(*floor) == std::floor(real));
    CHECK(ceil && static_cast<double>(*ceil) == std::ceil(real));
    const Truth less = Scalar::less(x, y);
    if (less != Truth::depends) CHECK_EQ(less == Truth::yes, p.first * q.second < q.first * p.second);
  }
}
