// The inside of Expr: polynomials over atoms, and what the sources of Expr share.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_EXPR_POLY_HPP
#define MACSIM_EXPR_POLY_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "i128.hpp"
#include "macsim/expr.hpp"

namespace macsim::detail {

// How large an expression may grow; beyond it is undefined(). Stated in expr.hpp.
inline constexpr std::size_t kMaxTerms = 4096;
inline constexpr std::size_t kMaxProducts = 16384;  // pairs of terms in one multiplication
inline constexpr std::uint32_t kMaxNodes = 65536;   // atoms, counted as often as they appear
inline constexpr std::uint32_t kMaxDepth = 100;     // atoms within atoms; bounds every recursion
inline constexpr std::size_t kMaxArguments = 64;    // of one max
inline constexpr std::uint32_t kMaxDegree = 65535;

enum class Kind : std::uint8_t { symbol, floor_div, max, slack };

/// What a polynomial is over. Immutable and reference counted; two atoms may be equal without being one object.
struct Atom {
  mutable std::atomic<std::uint32_t> references{1};
  Kind kind = Kind::symbol;
  std::uint32_t depth = 0;  // 0 for a symbol
  std::uint32_t nodes = 1;
  std::uint64_t hash = 0;
  std::string name;        // of a symbol; slack (an unnamed size >= 0, only within a proof) has a number
  std::vector<Expr> args;  // floor_div: numerator, denominator. max: two or more, sorted

  const Expr& numerator() const noexcept { return args[0]; }
  const Expr& denominator() const noexcept { return args[1]; }
};

struct Factor {
  const Atom* atom;
  std::uint32_t exponent;  // >= 1
};

/// coefficient * product of factors, which are sorted by atom, each atom once. Borrows its factors.
struct Term {
  i128 coefficient;
  const Factor* factors;
  std::uint32_t count;
  std::uint32_t degree;  // the sum of the exponents

  std::span<const Factor> span() const noexcept { return {factors, count}; }
};

/// A sum of terms in descending monomial order (so a constant comes last), none of them zero, never a plain small
/// integer or empty: those have no Poly. One allocation: the terms and their factors follow the header.
struct alignas(16) Poly {
  mutable std::atomic<std::uint32_t> references{1};
  std::uint32_t terms = 0;
  std::uint32_t factors = 0;
  std::uint32_t depth = 0;
  std::uint32_t nodes = 0;
  std::uint64_t hash = 0;

  const Term* begin() const noexcept { return reinterpret_cast<const Term*>(this + 1); }
  std::span<const Term> span() const noexcept { return {begin(), terms}; }

  // Access to the word of an Expr.
  static const Poly* of(const Expr& e) noexcept { return e.shared() ? e.poly() : nullptr; }
  static Expr own(const Poly* poly) noexcept { return Expr(poly); }
  static bool is_small(const Expr& e) noexcept { return e.small(); }
  static std::int64_t small(const Expr& e) noexcept { return e.unpack(); }
  static bool fits_small(i128 value) noexcept {
    return fits_int64(value) && Expr::fits(static_cast<std::int64_t>(value));
  }
  static const void* address(const Expr& e) noexcept { return reinterpret_cast<const void*>(e.word_); }
};

/// The terms of a defined expression, also of a plain integer. Borrows from the expression; not to be moved.
class View {
 public:
  explicit View(const Expr& e) noexcept {
    if (const Poly* poly = Poly::of(e)) {
      terms_ = poly->span();
    } else {
      local_ = Term{Poly::small(e), nullptr, 0, 0};
      terms_ = {&local_, local_.coefficient == 0 ? std::size_t{0} : std::size_t{1}};
    }
  }
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  const Term* begin() const noexcept { return terms_.data(); }
  const Term* end() const noexcept { return terms_.data() + terms_.size(); }
  std::size_t size() const noexcept { return terms_.size(); }
  const Term& operator[](std::size_t i) const noexcept { return terms_[i]; }

 private:
  Term local_;
  std::span<const Term> terms_;
};

/// A growing array of plain data: the first N on the stack.
template <class T, std::size_t N>
class Scratch {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Scratch() noexcept {}  // the room stays uninitialised
  explicit Scratch(std::size_t capacity) { reserve(capacity); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /// Moves what is held when it has to grow; within the reserved room, addresses stay.
  void reserve(std::size_t capacity) {
    if (capacity <= capacity_) return;
    std::unique_ptr<T[]> larger(new T[capacity]);
    for (std::size_t i = 0; i < size_; ++i) larger[i] = data_[i];
    heap_ = std::move(larger);
    data_ = heap_.get();
    capacity_ = capacity;
  }
  void push_back(const T& value) {
    const T copy = value;
    if (size_ == capacity_) reserve(2 * capacity_);
    data_[size_++] = copy;
  }
  T* data() noexcept { return data_; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  T& back() noexcept { return data_[size_ - 1]; }
  T* end() noexcept { return data_ + size_; }
  std::size_t size() const noexcept { return size_; }
  std::span<T> span() noexcept { return {data_, size_}; }

 private:
  union {
    T room_[N];
  };
  std::unique_ptr<T[]> heap_;
  T* data_ = room_;
  std::size_t size_ = 0;
  std::size_t capacity_ = N;
};

using Terms = Scratch<Term, 16>;
using Factors = Scratch<Factor, 32>;

// ---- expr.cpp -------------------------------------------------------------------------------------------------------

/// The canonical order of atoms, expressions and monomials: < 0, 0 or > 0. It depends on nothing but what they say.
int compare(const Atom* a, const Atom* b) noexcept;
int compare(const Expr& a, const Expr& b) noexcept;
int compare_monomials(const Term& a, const Term& b) noexcept;

Expr from_i128(i128 value);
/// The value, when it is an integer without symbols.
std::optional<i128> integer(const Expr& e) noexcept;
/// The sum of the terms, in any order, also with equal monomials. Reorders `terms`.
Expr sum(std::span<Term> terms);
/// The same, for terms that are in order, with distinct monomials and without zeros already.
Expr ordered_sum(std::span<const Term> terms);
/// The product of two monomials, its factors appended to `factors` (which must have room); false: the degree is too
/// high.
bool multiply_monomials(const Term& a, const Term& b, Factors& factors, Term* out) noexcept;

/// An atom as an expression; takes over the reference.
Expr from_atom(const Atom* atom);
Expr borrow_atom(const Atom* atom);
/// The atom itself, without any rewriting; undefined() when it would be too deep.
Expr make_atom(Kind kind, std::string name, std::vector<Expr> args);
/// The atom, when the expression is just one.
const Atom* single_atom(const Expr& e) noexcept;

/// What is to be put in the place of an atom; nullopt: look into it (or leave it, when it has no parts).
using Replacement = std::function<std::optional<Expr>(const Atom& atom)>;
Expr rewrite(const Expr& e, const Replacement& replace);

/// Adds the names of its symbols, which it keeps alive.
void collect_symbols(const Expr& e, std::set<std::string_view>& names);

/// coefficient * e + constant, without the detour of products.
Expr scaled(const Expr& e, i128 coefficient, i128 constant);

// ---- expr_bounds.cpp ------------------------------------------------------------------------------------------------

/// A number that e is never below where every symbol is >= 0.
std::optional<i128> bound_below(const Expr& e);

}  // namespace macsim::detail

#endif  // MACSIM_EXPR_POLY_HPP
