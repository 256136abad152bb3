// Expr's canonical polynomials: how they are held, ordered, added, multiplied and rewritten.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <new>
#include <utility>

#include "expr_poly.hpp"

namespace macsim {
namespace detail {
namespace {

constexpr std::uint64_t kSeed = 0x9e3779b97f4a7c15U;

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) noexcept {
  hash = (hash ^ value) * 0xff51afd7ed558ccdU;
  return hash ^ (hash >> 32);
}

std::uint64_t mix(std::uint64_t hash, i128 value) noexcept {
  return mix(mix(hash, static_cast<std::uint64_t>(value)), static_cast<std::uint64_t>(value >> 64));
}

void retain(const Atom* atom) noexcept { atom->references.fetch_add(1, std::memory_order_relaxed); }

void release(const Atom* atom) noexcept {
  if (atom->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete atom;
}

std::uint32_t depth_of(const Expr& e) noexcept { return Poly::of(e) ? Poly::of(e)->depth : 0; }
std::uint32_t nodes_of(const Expr& e) noexcept { return Poly::of(e) ? Poly::of(e)->nodes : 1; }

// What a polynomial of these terms would be: the header, with its size and its hash.
struct Measure {
  std::uint64_t hash = kSeed;
  std::size_t factors = 0;
  std::size_t nodes = 0;
  std::uint32_t depth = 0;

  explicit Measure(std::span<const Term> terms) noexcept {
    for (const Term& term : terms) {
      hash = mix(hash, term.coefficient);
      factors += term.count;
      ++nodes;
      for (const Factor& factor : term.span()) {
        hash = mix(mix(hash, factor.atom->hash), std::uint64_t{factor.exponent});
        nodes += factor.atom->nodes;
        depth = std::max(depth, factor.atom->depth);
      }
    }
  }
};

bool same_monomial(const Term& a, const Term& b) noexcept {
  return a.degree == b.degree && a.count == b.count && compare_monomials(a, b) == 0;
}

}  // namespace

void retain(const Poly* poly) noexcept { poly->references.fetch_add(1, std::memory_order_relaxed); }

// Recursion through atoms within atoms is bounded by kMaxDepth.
void release(const Poly* poly) noexcept {
  if (poly->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  for (const Term& term : poly->span()) {
    for (const Factor& factor : term.span()) release(factor.atom);
  }
  poly->~Poly();
  ::operator delete(const_cast<Poly*>(poly));
}

// ---- order ----------------------------------------------------------------------------------------------------------

int compare(const Atom* a, const Atom* b) noexcept {
  if (a == b) return 0;
  if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
  if (a->args.empty()) return a->name.compare(b->name);
  if (a->args.size() != b->args.size()) return a->args.size() < b->args.size() ? -1 : 1;
  for (std::size_t i = a->args.size(); i-- > 0;) {  // the denominator first: it is quick, and reads well
    if (const int order = compare(a->args[i], b->args[i]); order != 0) return order;
  }
  return 0;
}

int compare(const Expr& a, const Expr& b) noexcept {
  if (a == b) return 0;
  if (!a.defined() || !b.defined()) return a.defined() ? 1 : -1;
  const View left(a), right(b);
  const std::size_t common = std::min(left.size(), right.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (const int order = compare_monomials(left[i], right[i]); order != 0) return order;
    if (left[i].coefficient != right[i].coefficient) return left[i].coefficient < right[i].coefficient ? -1 : 1;
  }
  return left.size() < right.size() ? -1 : 1;
}

// By degree, then lexicographic with the first atoms weighing most. Products keep this order, as division needs.
int compare_monomials(const Term& a, const Term& b) noexcept {
  if (a.degree != b.degree) return a.degree < b.degree ? -1 : 1;
  const std::uint32_t common = std::min(a.count, b.count);
  for (std::uint32_t i = 0; i < common; ++i) {
    const Factor &left = a.factors[i], &right = b.factors[i];
    if (const int order = compare(left.atom, right.atom); order != 0) return order < 0 ? 1 : -1;
    if (left.exponent != right.exponent) return left.exponent < right.exponent ? -1 : 1;
  }
  return 0;  // of one degree, so neither is longer
}

// ---- making ---------------------------------------------------------------------------------------------------------

Expr ordered_sum(std::span<const Term> terms) {
  if (terms.empty()) return Expr();
  if (terms.size() == 1 && terms[0].degree == 0 && Poly::fits_small(terms[0].coefficient)) {
    return Expr(static_cast<std::int64_t>(terms[0].coefficient));
  }
  const Measure size(terms);
  if (terms.size() > kMaxTerms || size.nodes > kMaxNodes || size.depth > kMaxDepth) return Expr::undefined();
  static_assert(sizeof(Poly) % alignof(Term) == 0 && sizeof(Term) % alignof(Factor) == 0);
  void* room = ::operator new(sizeof(Poly) + terms.size() * sizeof(Term) + size.factors * sizeof(Factor));
  Poly* poly = new (room) Poly;
  poly->terms = static_cast<std::uint32_t>(terms.size());
  poly->factors = static_cast<std::uint32_t>(size.factors);
  poly->depth = size.depth;
  poly->nodes = static_cast<std::uint32_t>(size.nodes);
  poly->hash = size.hash;
  auto* to = reinterpret_cast<Term*>(poly + 1);
  auto* factor_to = reinterpret_cast<Factor*>(to + terms.size());
  for (const Term& term : terms) {
    new (to++) Term{term.coefficient, factor_to, term.count, term.degree};
    for (const Factor& factor : term.span()) {
      retain(factor.atom);
      new (factor_to++) Factor(factor);
    }
  }
  return Poly::own(poly);
}

Expr sum(std::span<Term> terms) {
  const auto descending = [](const Term& a, const Term& b) { return compare_monomials(a, b) > 0; };
  if (!std::is_sorted(terms.begin(), terms.end(), descending)) std::sort(terms.begin(), terms.end(), descending);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < terms.size();) {
    Term total = terms[i];
    for (++i; i < terms.size() && same_monomial(terms[i], total); ++i) {
      if (!checked_add(total.coefficient, terms[i].coefficient, &total.coefficient)) return Expr::undefined();
    }
    if (total.coefficient != 0) terms[kept++] = total;
  }
  return ordered_sum(terms.first(kept));
}

Expr from_i128(i128 value) {
  const Term term{value, nullptr, 0, 0};
  return ordered_sum({&term, value == 0 ? std::size_t{0} : std::size_t{1}});
}

std::optional<i128> integer(const Expr& e) noexcept {
  if (Poly::is_small(e)) return Poly::small(e);
  const Poly* poly = Poly::of(e);
  if (poly == nullptr || poly->begin()->degree != 0) return std::nullopt;
  return poly->begin()->coefficient;
}

Expr borrow_atom(const Atom* atom) {
  const Factor factor{atom, 1};
  const Term term{1, &factor, 1, 1};
  return ordered_sum({&term, 1});
}

Expr from_atom(const Atom* atom) {
  Expr e = borrow_atom(atom);
  release(atom);
  return e;
}

Expr make_atom(Kind kind, std::string name, std::vector<Expr> args) {
  auto atom = std::make_unique<Atom>();
  atom->kind = kind;
  std::uint64_t hash = mix(kSeed, static_cast<std::uint64_t>(kind));
  for (const char c : name) hash = mix(hash, std::uint64_t{static_cast<unsigned char>(c)});
  std::uint32_t depth = 0;
  std::uint64_t nodes = 1;
  for (const Expr& arg : args) {
    hash = mix(hash, std::uint64_t{arg.hash()});
    depth = std::max(depth, depth_of(arg) + 1);
    nodes += nodes_of(arg);
  }
  if (nodes > kMaxNodes) return Expr::undefined();
  atom->depth = depth;
  atom->nodes = static_cast<std::uint32_t>(nodes);
  atom->hash = hash;
  atom->name = std::move(name);
  atom->args = std::move(args);
  return from_atom(atom.release());
}

const Atom* single_atom(const Expr& e) noexcept {
  const Poly* poly = Poly::of(e);
  if (poly == nullptr || poly->terms != 1) return nullptr;
  const Term& term = *poly->begin();
  return term.degree == 1 && term.coefficient == 1 ? term.factors->atom : nullptr;
}

// ---- arithmetic -----------------------------------------------------------------------------------------------------

bool multiply_monomials(const Term& a, const Term& b, Factors& factors, Term* out) noexcept {
  const Factor* first = factors.end();
  std::uint32_t i = 0, j = 0;
  while (i < a.count && j < b.count) {
    const Factor &left = a.factors[i], &right = b.factors[j];
    const int order = compare(left.atom, right.atom);
    if (order == 0) {
      factors.push_back({left.atom, left.exponent + right.exponent});
      ++i, ++j;
    } else {
      factors.push_back(order < 0 ? a.factors[i++] : b.factors[j++]);
    }
  }
  while (i < a.count) factors.push_back(a.factors[i++]);
  while (j < b.count) factors.push_back(b.factors[j++]);
  out->factors = first;
  out->count = static_cast<std::uint32_t>(factors.end() - first);
  out->degree = a.degree + b.degree;
  return out->degree <= kMaxDegree;
}

Expr scaled(const Expr& e, i128 coefficient, i128 constant) {
  if (!e.defined()) return e;
  const View view(e);
  Terms terms(view.size() + 1);
  for (const Term& term : view) {
    Term product = term;
    if (!checked_mul(term.coefficient, coefficient, &product.coefficient)) return Expr::undefined();
    if (product.degree == 0 && !checked_add(product.coefficient, constant, &product.coefficient)) {
      return Expr::undefined();
    }
    if (product.coefficient != 0) terms.push_back(product);
  }
  const bool had_constant = view.size() > 0 && view[view.size() - 1].degree == 0;
  if (!had_constant && constant != 0) terms.push_back({constant, nullptr, 0, 0});
  return ordered_sum(terms.span());
}

namespace {

// a + sign * b: two ordered lists, merged.
Expr merge(const Expr& a, const Expr& b, int sign) {
  if (!a.defined() || !b.defined()) return Expr::undefined();
  const View left(a), right(b);
  Terms terms(left.size() + right.size());
  const Term *i = left.begin(), *j = right.begin();
  while (i != left.end() || j != right.end()) {
    const int order = i == left.end() ? -1 : j == right.end() ? 1 : compare_monomials(*i, *j);
    if (order > 0) {
      terms.push_back(*i++);
      continue;
    }
    Term term = *j++;
    if (sign < 0) term.coefficient = -term.coefficient;
    if (order == 0 && !checked_add(term.coefficient, i++->coefficient, &term.coefficient)) return Expr::undefined();
    if (term.coefficient != 0) terms.push_back(term);
  }
  return ordered_sum(terms.span());
}

std::size_t factors_of(const Expr& e) noexcept { return Poly::of(e) ? Poly::of(e)->factors : 0; }

Expr product(const Expr& a, const Expr& b) {
  if (!a.defined() || !b.defined()) return Expr::undefined();
  if (const auto value = integer(a)) return scaled(b, *value, 0);
  if (const auto value = integer(b)) return scaled(a, *value, 0);
  const View left(a), right(b);
  if (left.size() * right.size() > kMaxProducts) return Expr::undefined();
  Terms terms(left.size() * right.size());
  Factors factors(left.size() * factors_of(b) + right.size() * factors_of(a));
  for (const Term& x : left) {
    for (const Term& y : right) {
      Term term;
      if (!checked_mul(x.coefficient, y.coefficient, &term.coefficient)) return Expr::undefined();
      if (!multiply_monomials(x, y, factors, &term)) return Expr::undefined();
      terms.push_back(term);
    }
  }
  // A single term keeps the order of the other side, and makes no two alike.
  return left.size() == 1 || right.size() == 1 ? ordered_sum(terms.span()) : sum(terms.span());
}

// ---- rewriting ------------------------------------------------------------------------------------------------------

// nullopt: nothing in it changes.
std::optional<Expr> rewrite_changed(const Expr& e, const Replacement& replace);

std::optional<Expr> rewrite_atom(const Atom& atom, const Replacement& replace) {
  if (auto put = replace(atom)) return put;
  if (atom.kind == Kind::floor_div) {
    const auto numerator = rewrite_changed(atom.numerator(), replace);
    const auto denominator = rewrite_changed(atom.denominator(), replace);
    if (!numerator && !denominator) return std::nullopt;
    return floor_div(numerator ? *numerator : atom.numerator(), denominator ? *denominator : atom.denominator());
  }
  bool changed = false;
  Expr largest;
  for (std::size_t i = 0; i < atom.args.size(); ++i) {
    const auto arg = rewrite_changed(atom.args[i], replace);
    changed = changed || arg;
    const Expr& value = arg ? *arg : atom.args[i];
    largest = i == 0 ? value : max(largest, value);
  }
  if (!changed) return std::nullopt;
  return largest;
}

std::optional<Expr> rewrite_changed(const Expr& e, const Replacement& replace) {
  const Poly* poly = Poly::of(e);
  if (poly == nullptr) return std::nullopt;
  Terms terms(poly->terms);
  Factors kept(poly->factors);
  std::vector<Expr> products;  // keeps alive what `terms` borrows
  bool changed = false;
  for (const Term& term : poly->span()) {
    Term rest{term.coefficient, kept.end(), 0, 0};
    Expr put(1);
    for (const Factor& factor : term.span()) {
      const auto value = rewrite_atom(*factor.atom, replace);
      if (!value) {
        kept.push_back(factor);
        ++rest.count;
        rest.degree += factor.exponent;
        continue;
      }
      changed = true;
      put *= power(*value, factor.exponent);
      if (!put.defined()) return put;
    }
    if (const auto value = integer(put)) {
      if (!checked_mul(rest.coefficient, *value, &rest.coefficient)) return Expr::undefined();
      if (rest.coefficient != 0) terms.push_back(rest);
      continue;
    }
    products.push_back(ordered_sum({&rest, 1}) * put);
    if (!products.back().defined()) return products.back();
    for (const Term& part : View(products.back())) terms.push_back(part);
  }
  if (!changed) return std::nullopt;
  return sum(terms.span());
}

}  // namespace

Expr rewrite(const Expr& e, const Replacement& replace) {
  auto changed = rewrite_changed(e, replace);
  return changed ? *std::move(changed) : e;
}

void collect_symbols(const Expr& e, std::set<std::string_view>& names) {
  const Poly* poly = Poly::of(e);
  if (poly == nullptr) return;
  for (const Term& term : poly->span()) {
    for (const Factor& factor : term.span()) {
      if (factor.atom->kind == Kind::symbol) names.insert(factor.atom->name);
      for (const Expr& arg : factor.atom->args) collect_symbols(arg, names);
    }
  }
}

}  // namespace detail

using detail::Poly;

// ---- Expr -----------------------------------------------------------------------------------------------------------

std::uint64_t Expr::big(std::int64_t value) noexcept {
  Expr held = detail::from_i128(value);
  return std::exchange(held.word_, 1);
}

std::optional<std::int64_t> Expr::wide_constant() const noexcept {
  const auto value = detail::integer(*this);
  if (!value || !fits_int64(*value)) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

bool Expr::is_constant() const noexcept { return detail::integer(*this).has_value(); }

std::optional<double> Expr::real() const noexcept {
  const auto value = detail::integer(*this);
  if (!value) return std::nullopt;
  return static_cast<double>(*value);
}

std::size_t Expr::hash() const noexcept {
  if (shared()) return static_cast<std::size_t>(poly()->hash);
  return static_cast<std::size_t>(detail::mix(detail::kSeed, word_));
}

bool Expr::same(const Expr& a, const Expr& b) noexcept {
  const Poly &left = *a.poly(), &right = *b.poly();
  if (left.hash != right.hash || left.terms != right.terms || left.factors != right.factors) return false;
  for (std::size_t i = 0; i < left.terms; ++i) {
    const detail::Term &x = left.begin()[i], &y = right.begin()[i];
    if (x.coefficient != y.coefficient || !detail::same_monomial(x, y)) return false;
  }
  return true;
}

Expr Expr::symbol(std::string_view name) { return detail::make_atom(detail::Kind::symbol, std::string(name), {}); }

std::vector<std::string> Expr::symbols() const {
  std::set<std::string_view> names;
  detail::collect_symbols(*this, names);
  return {names.begin(), names.end()};
}

Expr Expr::bind(const Bindings& sizes) const {
  return detail::rewrite(*this, [&sizes](const detail::Atom& atom) -> std::optional<Expr> {
    if (atom.kind != detail::Kind::symbol) return std::nullopt;
    const auto found = sizes.find(atom.name);
    if (found == sizes.end()) return std::nullopt;
    return found->second < 0 ? undefined() : Expr(found->second);
  });
}

Expr Expr::substitute(const std::map<std::string, Expr, std::less<>>& by) const {
  return detail::rewrite(*this, [&by](const detail::Atom& atom) -> std::optional<Expr> {
    if (atom.kind != detail::Kind::symbol) return std::nullopt;
    const auto found = by.find(atom.name);
    if (found == by.end()) return std::nullopt;
    return found->second;
  });
}

Expr Expr::operator-() const {
  if (small()) return Expr(-unpack());
  return detail::scaled(*this, -1, 0);
}

Expr Expr::add(const Expr& a, const Expr& b) { return detail::merge(a, b, 1); }
Expr Expr::subtract(const Expr& a, const Expr& b) { return detail::merge(a, b, -1); }
Expr Expr::multiply(const Expr& a, const Expr& b) { return detail::product(a, b); }

Expr power(const Expr& base, unsigned exponent) {
  if (!base.defined()) return base;
  if (exponent == 1) return base;
  Expr result(1), square(base);
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1U) != 0) result *= square;
    if (exponent > 1) square *= square;
    if (!square.defined()) return square;  // it is still to be multiplied in
  }
  return result;
}

}  // namespace macsim
