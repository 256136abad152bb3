// What can be said of an expression for all sizes: bounds, comparisons, equality.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "expr_poly.hpp"

namespace macsim {
namespace detail {

namespace {

bool has_atom(const Term& term, const Atom& atom) noexcept {
  return std::any_of(term.factors, term.factors + term.count,
                     [&](const Factor& factor) { return compare(factor.atom, &atom) == 0; });
}

// A term as coefficient * others * atom^exponent.
struct Parted {
  Expr others;  // with the coefficient
  std::uint32_t exponent = 0;
};

Parted part(const Term& term, const Atom& atom) {
  Factors kept(term.count);
  Term others{term.coefficient, kept.data(), 0, term.degree};
  std::uint32_t exponent = 0;
  for (const Factor& factor : term.span()) {
    if (compare(factor.atom, &atom) == 0) {
      exponent = factor.exponent;
      others.degree -= exponent;
    } else {
      kept.push_back(factor);
      ++others.count;
    }
  }
  return {ordered_sum({&others, 1}), exponent};
}

// Puts a value in the place of an atom, in the products of e; not within other atoms.
Expr replaced(const Expr& e, const Atom& atom, const Expr& value) {
  Expr total;
  for (const Term& term : View(e)) {
    const Parted parted = part(term, atom);
    total += parted.others * power(value, parted.exponent);
  }
  return total;
}

// Looks for a lower bound where all symbols are >= 0. First term by term, which is enough when nothing is
// subtracted; otherwise atoms are replaced, one after the other, by what they cannot be below (where they are added)
// or above (where they are subtracted), until only symbols are left. What it finds is always true; it need not find.
class Prover {
 public:
  std::optional<i128> below(const Expr& e) {
    if (!e.defined() || depth_ == kMaxProofDepth) return std::nullopt;
    ++depth_;
    const auto low = attempt(e);
    --depth_;
    return low;
  }

 private:
  static constexpr int kMaxProofTerms = 256;
  static constexpr int kMaxProofDepth = kMaxDepth + 20;  // to go all the way down, or to replace some

  std::optional<i128> attempt(const Expr& e) {
    const auto terms = static_cast<int>(View(e).size());
    fuel_ -= 1 + terms;
    if (fuel_ < 0) return std::nullopt;
    if (const auto low = term_by_term(e)) return low;
    if (terms > kMaxProofTerms) return std::nullopt;
    const Atom* atom = chosen(e);
    if (atom == nullptr) return std::nullopt;
    const Expr alive = borrow_atom(atom);
    if (const auto low = above_their_minima(e)) return low;
    return atom->kind == Kind::max ? without_max(e, *atom) : without_floor(e, *atom);
  }

  std::optional<i128> term_by_term(const Expr& e) {
    i128 total = 0;
    for (const Term& term : View(e)) {
      i128 low = term.coefficient;
      if (term.degree > 0 && (low < 0 || !multiply_by_minima(term, &low))) return std::nullopt;
      if (!checked_add(total, low, &total)) return std::nullopt;
    }
    return total;
  }

  // *low times the least that the factors can be together.
  bool multiply_by_minima(const Term& term, i128* low) {
    for (const Factor& factor : term.span()) {
      auto least = atom_below(*factor.atom);
      if (factor.exponent % 2 == 0 && (!least || *least < 0)) least = 0;
      if (!least || (*least < 0 && term.count > 1)) return false;
      if (*least == 0) *low = 0;
      if (*least == 0 || *least == 1) continue;
      for (std::uint32_t i = 0; i < factor.exponent && *low != 0; ++i) {
        if (!checked_mul(*low, *least, low)) return false;
      }
    }
    return true;
  }

  std::optional<i128> atom_below(const Atom& atom) {
    if (atom.args.empty()) return 0;  // symbol or slack
    if (atom.kind == Kind::max) {
      std::optional<i128> best;
      for (const Expr& arg : atom.args) {
        const auto low = below(arg);
        if (low && (!best || *low > *best)) best = low;
      }
      return best;
    }
    const auto low = below(atom.numerator());
    if (!low) return std::nullopt;
    if (const auto divisor = integer(atom.denominator())) return floor_quotient(*low, *divisor);
    // The divisor is at least 1: where it is 0, there is no value.
    if (!never_negative(atom.denominator())) return std::nullopt;
    return std::min<i128>(*low, 0);
  }

  bool never_negative(const Expr& e) {
    const auto low = below(e);
    return low && *low >= 0;
  }

  bool factors_never_negative(const Term& term) {
    return std::all_of(term.factors, term.factors + term.count, [&](const Factor& factor) {
      const auto low = atom_below(*factor.atom);
      return low && *low >= 0;
    });
  }

  // The atom to do away with next: a max that is subtracted, before a floor, before any other max; of each kind the
  // deepest first, as it may bring up the others.
  static const Atom* chosen(const Expr& e) {
    const Atom* best = nullptr;
    int best_rank = 0;
    for (const Term& term : View(e)) {
      for (const Factor& factor : term.span()) {
        const Atom& atom = *factor.atom;
        if (atom.args.empty()) continue;
        const int rank = atom.kind == Kind::floor_div ? 2 : term.coefficient < 0 ? 3 : 1;
        if (rank < best_rank || (rank == best_rank && atom.depth <= best->depth)) continue;
        best = &atom;
        best_rank = rank;
      }
    }
    return best;
  }

  Expr slack() { return make_atom(Kind::slack, std::to_string(slacks_++), {}); }

  // Atoms that are at least 1 or more written as that and an unknown rest.
  std::optional<i128> above_their_minima(const Expr& e) {
    Expr shifted = e;
    for (const Term& term : View(e)) {
      for (const Factor& factor : term.span()) {
        const auto low = factor.atom->args.empty() ? 0 : atom_below(*factor.atom);
        if (low && *low > 0) shifted = replaced(shifted, *factor.atom, from_i128(*low) + slack());
      }
    }
    if (shifted == e || !shifted.defined()) return std::nullopt;
    return term_by_term(shifted);
  }

  std::optional<i128> without_max(const Expr& e, const Atom& atom) {
    std::optional<i128> best;
    for (const Expr& arg : atom.args) {  // it is that argument, or more
      const auto low = below(replaced(e, atom, arg + slack()));
      if (low && (!best || *low > *best)) best = low;
    }
    if (best) return best;
    for (const Expr& arg : atom.args) {  // it is one of them
      const auto low = below(replaced(e, atom, arg));
      if (!low) return std::nullopt;
      if (!best || *low < *best) best = low;
    }
    return best;
  }

  // With A = floor(N/D) and D > 0: N - D + 1 <= D * A <= N. Everything is multiplied by the constant part of D.
  std::optional<i128> without_floor(const Expr& e, const Atom& atom) {
    const Expr &n = atom.numerator(), &d = atom.denominator();
    const View divisor(d);
    const bool single = divisor.size() == 1 && divisor[0].coefficient > 0;
    if (!integer(d) && !never_negative(d)) return std::nullopt;
    const i128 scale = single ? divisor[0].coefficient : 1;
    const Expr symbols = single ? *divide_exact(d, from_i128(scale)) : d;  // 1 when D is a constant
    const Expr rest = slack();
    Expr total;
    for (const Term& term : View(e)) {
      if (!has_atom(term, atom)) {
        total += scaled(ordered_sum({&term, 1}), scale, 0);
        continue;
      }
      const bool alone = term.degree == 1;
      if (!alone && !factors_never_negative(term)) return std::nullopt;
      const Parted parted = part(term, atom);
      const Expr others = parted.others * power(borrow_atom(&atom), parted.exponent - 1);
      if (const auto share = single ? divide_exact(others, symbols) : std::nullopt) {
        total += *share * (term.coefficient < 0 ? n : n - d + Expr(1));
      } else if (!never_negative(n)) {
        return std::nullopt;
      } else {
        total += others * (term.coefficient < 0 ? n : scaled(rest, scale, 0));  // 0 <= A <= N / scale
      }
    }
    const auto low = below(total);
    if (!low) return std::nullopt;
    return -floor_quotient(-*low, scale);
  }

  int fuel_ = 2000;  // terms to look at: some 100 microseconds
  int depth_ = 0;
  int slacks_ = 0;
};

}  // namespace

std::optional<i128> bound_below(const Expr& e) { return Prover().below(e); }

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
  return low && high && *low == 0 && *high == 0 ? Truth::yes : Truth::depends;
}

Truth at_least(const Expr& a, const Expr& b, std::int64_t symbol_floor) {
  const Expr difference = a - b;
  if (const auto low = lower_bound(difference, symbol_floor); low && *low >= 0) return Truth::yes;
  if (const auto high = lower_bound(-difference, symbol_floor); high && *high > 0) return Truth::no;
  return Truth::depends;
}

}  // namespace macsim
