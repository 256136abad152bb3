// What can be said of an expression for all sizes: bounds, comparisons, equality.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "expr_poly.hpp"

namespace macsim {
namespace detail {

namespace {

std::optional<i128> atom_below(const Atom& atom) {
  if (atom.kind == Kind::symbol || atom.kind == Kind::slack) return 0;
  if (atom.kind == Kind::max) {
    std::optional<i128> best;
    for (const Expr& arg : atom.args) {
      const auto low = bound_below(arg);
      if (low && (!best || *low > *best)) best = low;
    }
    return best;
  }
  const auto low = bound_below(atom.numerator());
  if (!low) return std::nullopt;
  if (const auto divisor = integer(atom.denominator())) return floor_quotient(*low, *divisor);
  const auto divisor_low = bound_below(atom.denominator());
  if (*low >= 0 && divisor_low && *divisor_low >= 0) return 0;  // where it is 0, there is no value at all
  return std::nullopt;
}

}  // namespace

std::optional<i128> bound_below(const Expr& e) {
  if (!e.defined()) return std::nullopt;
  i128 total = 0;
  for (const Term& term : View(e)) {
    if (term.degree > 0 && term.coefficient < 0) return std::nullopt;
    i128 low = term.coefficient;
    for (const Factor& factor : term.span()) {
      const auto below = atom_below(*factor.atom);
      if (!below || *below < 0) return std::nullopt;
      for (std::uint32_t i = 0; i < factor.exponent && low != 0 && *below != 1; ++i) {
        if (!checked_mul(low, *below, &low)) return std::nullopt;
      }
    }
    if (!checked_add(total, low, &total)) return std::nullopt;
  }
  return total;
}

}  // namespace detail

std::optional<std::int64_t> lower_bound(const Expr& a, std::int64_t symbol_floor) {
  Expr shifted = a;
  if (symbol_floor > 0) {
    shifted = detail::rewrite(a, [symbol_floor](const detail::Atom& atom) -> std::optional<Expr> {
      if (atom.kind != detail::Kind::symbol) return std::nullopt;
      return detail::borrow_atom(&atom) + symbol_floor;
    });
  }
  const auto low = detail::bound_below(shifted);
  if (!low || *low < INT64_MIN) return std::nullopt;
  return static_cast<std::int64_t>(std::min<i128>(*low, INT64_MAX));
}

Truth equal(const Expr& a, const Expr& b) {
  const Expr difference = a - b;
  if (!difference.defined()) return Truth::depends;
  if (difference.is(0)) return Truth::yes;
  const auto low = detail::bound_below(difference), high = detail::bound_below(-difference);
  if ((low && *low > 0) || (high && *high > 0)) return Truth::no;
  return low && high ? Truth::yes : Truth::depends;  // both are 0 here
}

Truth at_least(const Expr& a, const Expr& b, std::int64_t symbol_floor) {
  const Expr difference = a - b;
  if (const auto low = lower_bound(difference, symbol_floor); low && *low >= 0) return Truth::yes;
  if (const auto high = lower_bound(-difference, symbol_floor); high && *high > 0) return Truth::no;
  return Truth::depends;
}

}  // namespace macsim
