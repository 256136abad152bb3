// Division of expressions: floor, ceiling, remainder, exact division; and the larger of two.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "expr_poly.hpp"

namespace macsim {

using detail::Atom;
using detail::Factor;
using detail::Factors;
using detail::Kind;
using detail::Poly;
using detail::Term;
using detail::Terms;
using detail::View;

namespace {

Expr floor_atom(const Expr& a, const Expr& b) {
  if (!a.defined() || !b.defined()) return Expr::undefined();
  return detail::make_atom(Kind::floor_div, {}, {a, b});
}

i128 content(const View& view) noexcept {
  i128 divisor = 0;
  for (const Term& term : view) {
    divisor = greatest_divisor(divisor, term.coefficient);
    if (divisor == 1) break;
  }
  return divisor;
}

struct Split {
  Expr quotient, rest;
};

// a = c * quotient + rest. Coefficients of the rest keep their sign and are smaller than c; its constant is in [0, c).
Split split_constant(const Expr& a, i128 c) {
  const View view(a);
  Terms quotient(view.size()), rest(view.size());
  for (const Term& term : view) {
    const i128 q = term.degree == 0 ? floor_quotient(term.coefficient, c) : term.coefficient / c;
    const i128 r = term.coefficient - q * c;
    if (q != 0) quotient.push_back({q, term.factors, term.count, term.degree});
    if (r != 0) rest.push_back({r, term.factors, term.count, term.degree});
  }
  return {detail::ordered_sum(quotient.span()), detail::ordered_sum(rest.span())};
}

// The one floor(x/c) in it that counts once (or minus once), c a constant; nullptr when there is none, or several.
const Term* nested_floor(const View& view) noexcept {
  const Term* found = nullptr;
  for (const Term& term : view) {
    if (term.degree != 1 || magnitude(term.coefficient) != 1) continue;
    const Atom& atom = *term.factors->atom;
    if (atom.kind != Kind::floor_div || !atom.denominator().is_constant()) continue;
    if (found != nullptr) return nullptr;
    found = &term;
  }
  return found;
}

Expr floor_by_constant(const Expr& a, i128 c);

// floor((A + P)/c) with A = floor(x/d): floor((x + d*P)/(d*c)). nullopt: no such A.
std::optional<Expr> unnested(const Expr& a, i128 c) {
  const View view(a);
  const Term* term = nested_floor(view);
  if (term == nullptr) return std::nullopt;
  const Atom& atom = *term->factors->atom;
  const i128 d = *detail::integer(atom.denominator());
  i128 product;
  if (!checked_mul(d, c, &product)) return std::nullopt;
  const Expr others = a - (term->coefficient > 0 ? detail::borrow_atom(&atom) : -detail::borrow_atom(&atom));
  // -floor(x/d) = floor((d - 1 - x)/d)
  const Expr inner = term->coefficient > 0 ? atom.numerator() : detail::scaled(atom.numerator(), -1, d - 1);
  const Expr whole = inner + detail::scaled(others, d, 0);
  if (!whole.defined()) return std::nullopt;
  return floor_by_constant(whole, product);
}

// c > 0
Expr floor_by_constant(const Expr& a, i128 c) {
  if (c == 1) return a;
  Split split = split_constant(a, c);
  if (split.rest.is_constant()) return split.quotient;  // in [0, c)

  i128 common = c;
  for (const Term& term : View(split.rest)) {
    if (term.degree != 0) common = greatest_divisor(common, term.coefficient);
  }
  if (common != 1) {  // floor((g*R + k)/(g*c)) = floor((R + floor(k/g))/c)
    split.rest = split_constant(split.rest, common).quotient;
    c /= common;
  }
  if (View(split.rest)[0].coefficient < 0) {  // floor(-N/c) = -floor((N + c - 1)/c)
    return split.quotient - floor_by_constant(detail::scaled(split.rest, -1, c - 1), c);
  }
  if (auto flat = unnested(split.rest, c)) return split.quotient + *flat;
  return split.quotient + floor_atom(split.rest, detail::from_i128(c));
}

// a / b of monomials with their coefficients; the factors are appended. False: it leaves a rest.
bool divide_term(const Term& a, const Term& b, Factors& factors, Term* out) {
  if (a.degree < b.degree || a.coefficient % b.coefficient != 0) return false;
  *out = {a.coefficient / b.coefficient, factors.end(), 0, a.degree - b.degree};
  std::uint32_t matched = 0;
  for (const Factor& factor : a.span()) {
    std::uint32_t exponent = factor.exponent;
    if (matched < b.count && detail::compare(b.factors[matched].atom, factor.atom) == 0) {
      if (exponent < b.factors[matched].exponent) return false;
      exponent -= b.factors[matched++].exponent;
    }
    if (exponent == 0) continue;
    factors.push_back({factor.atom, exponent});
    ++out->count;
  }
  return matched == b.count;
}

constexpr std::size_t kMaxSteps = 1024;  // of a long division, each a term of the quotient

// a = b * quotient + rest, where the rest is an integer; nullopt: not so.
std::optional<Split> divide(const Expr& a, const Expr& b) {
  if (!a.defined() || !b.defined() || b.is(0)) return std::nullopt;
  const View divisor(b);
  Split split{Expr(), a};
  for (std::size_t steps = 0; !split.rest.is(0); ++steps) {
    if (steps == kMaxSteps || !split.rest.defined()) return std::nullopt;
    const View rest(split.rest);
    // The leading terms must divide. By a single term, all of them must, and are divided at once.
    const std::size_t count = divisor.size() == 1 ? rest.size() : 1;
    Terms terms(count);
    std::size_t room = 0;
    for (std::size_t i = 0; i < count; ++i) room += rest[i].count;
    Factors factors(room);
    for (std::size_t i = 0; i < count; ++i) {
      Term term;
      if (divide_term(rest[i], divisor[0], factors, &term))
        terms.push_back(term);
      else if (rest[i].degree > 0)
        return std::nullopt;
    }
    if (terms.size() == 0) break;  // only the integer is left
    const Expr found = detail::ordered_sum(terms.span());
    split.quotient += found;
    split.rest -= found * b;
  }
  if (!split.quotient.defined()) return std::nullopt;
  return split;
}

bool never_zero(const Expr& b) {
  const auto low = detail::bound_below(b);
  if (low && *low > 0) return true;
  const auto high = detail::bound_below(-b);
  return high && *high > 0;
}

// Atoms that divide every term of both and are at least 1, taken out of both.
void cancel_positive_atoms(Expr& a, Expr& b) {
  const Term first = *View(b).begin();
  const Expr keep = b;  // `first` borrows from it
  for (const Factor& factor : first.span()) {
    const Expr atom = detail::borrow_atom(factor.atom);
    if (!never_zero(atom)) continue;
    for (std::uint32_t i = 0; i < factor.exponent; ++i) {
      const auto smaller_a = divide_exact(a, atom), smaller_b = divide_exact(b, atom);
      if (!smaller_a || !smaller_b) break;
      a = *smaller_a;
      b = *smaller_b;
    }
  }
}

// a = b * quotient + rest for an integer quotient: b's leading monomial is in the rest less often than in b.
Split split_lead(const Expr& a, const Expr& b) {
  const View divisor(b);
  for (const Term& term : View(a)) {
    if (detail::compare_monomials(term, divisor[0]) != 0) continue;
    const Expr quotient = detail::from_i128(floor_quotient(term.coefficient, divisor[0].coefficient));
    return {quotient, a - quotient * b};
  }
  return {Expr(), a};
}

// The sign of the first term apart from b's leading monomial (which split_lead sees to).
bool is_positive_beside_lead(const Expr& e, const Expr& b) {
  const View divisor(b);
  for (const Term& term : View(e)) {
    if (detail::compare_monomials(term, divisor[0]) != 0) return term.coefficient > 0;
  }
  return false;
}

Expr floor_by_symbols(Expr a, Expr b) {
  if (View(b)[0].coefficient < 0) {
    a = -a;
    b = -b;
  }
  const auto low = detail::bound_below(b);
  const bool never_negative = low && *low >= 0;  // where it is 0, there is no value either way
  i128 common = content(View(b));
  for (const Term& term : View(a)) {
    // floor((g*A + k)/(g*B)) = floor((A + floor(k/g))/B) for B > 0
    if (term.degree != 0 || !never_negative) common = greatest_divisor(common, term.coefficient);
  }
  if (common > 1) {
    a = split_constant(a, common).quotient;
    b = split_constant(b, common).quotient;
  }
  if (never_zero(b)) {
    if (const auto split = divide(a, b)) {
      if (split->rest.is(0)) return split->quotient;
      if (!split->quotient.is(0)) return split->quotient + floor_by_symbols(split->rest, b);
    }
  }
  cancel_positive_atoms(a, b);
  if (b.is_constant()) return floor_div(a, b);
  const Split split = split_lead(a, b);
  if (!split.rest.defined()) return split.rest;
  if (never_negative) {
    // floor(N/b) = -1 - floor((-N - 1)/b): there are two ways to write it; take the one with the larger terms.
    const Expr opposite = -split.rest - Expr(1);
    if (is_positive_beside_lead(split_lead(opposite, b).rest - split.rest, b)) {
      return split.quotient - Expr(1) - floor_by_symbols(opposite, b);
    }
  }
  return split.quotient + floor_atom(split.rest, b);
}

}  // namespace

Expr floor_div(const Expr& a, const Expr& b) {
  if (Poly::is_small(a) && Poly::is_small(b) && !b.is(0)) {  // the common case, in 64 bits
    const std::int64_t x = Poly::small(a), y = Poly::small(b), quotient = x / y;
    return Expr(quotient * y != x && (x < 0) != (y < 0) ? quotient - 1 : quotient);
  }
  if (!a.defined() || !b.defined() || b.is(0)) return Expr::undefined();
  const auto divisor = detail::integer(b);
  if (!divisor) return floor_by_symbols(a, b);
  if (const auto value = detail::integer(a)) return detail::from_i128(floor_quotient(*value, *divisor));
  return *divisor > 0 ? floor_by_constant(a, *divisor) : floor_by_constant(-a, -*divisor);
}

Expr ceil_div(const Expr& a, const Expr& b) { return -floor_div(-a, b); }

Expr modulo(const Expr& a, const Expr& b) { return a - b * floor_div(a, b); }

std::optional<Expr> divide_exact(const Expr& a, const Expr& b) {
  auto split = divide(a, b);
  if (!split || !split->rest.is(0)) return std::nullopt;
  return std::move(split->quotient);
}

// ---- max ------------------------------------------------------------------------------------------------------------

namespace {

bool never_below(const Expr& a, const Expr& b) {
  const auto low = detail::bound_below(a - b);
  return low && *low >= 0;
}

// Adds an argument, unless it is never above one that is there; drops those that are never above it.
void add_argument(std::vector<Expr>& args, const Expr& arg) {
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (!never_below(args[i], arg)) continue;
    // Equal in value, though not in form: one of the two forms, whatever the order they came in.
    if (never_below(arg, args[i]) && detail::compare(arg, args[i]) < 0) {
      args.erase(args.begin() + static_cast<std::ptrdiff_t>(i));
      add_argument(args, arg);
    }
    return;
  }
  std::erase_if(args, [&](const Expr& held) { return never_below(arg, held); });
  args.push_back(arg);
}

std::vector<Expr> arguments(const Expr& e) {
  const Atom* atom = detail::single_atom(e);
  return atom != nullptr && atom->kind == Kind::max ? atom->args : std::vector<Expr>{e};
}

}  // namespace

Expr max(const Expr& a, const Expr& b) {
  if (Poly::is_small(a) && Poly::is_small(b)) return Poly::small(a) < Poly::small(b) ? b : a;
  if (!a.defined() || !b.defined()) return Expr::undefined();
  if (a == b) return a;
  const auto left = detail::integer(a), right = detail::integer(b);
  if (left && right) return *left < *right ? b : a;
  std::vector<Expr> args = arguments(a);
  for (const Expr& arg : arguments(b)) add_argument(args, arg);
  if (args.size() > detail::kMaxArguments) return Expr::undefined();
  if (args.size() == 1) return args[0];
  std::sort(args.begin(), args.end(), [](const Expr& x, const Expr& y) { return detail::compare(x, y) > 0; });
  return detail::make_atom(Kind::max, {}, std::move(args));
}

Expr min(const Expr& a, const Expr& b) { return -max(-a, -b); }

}  // namespace macsim
