// Expr: exact integer expressions over named sizes. Sizes, counts and byte totals are all this one type.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_EXPR_HPP
#define MACSIM_EXPR_HPP

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace macsim {

/// Sizes to put in the place of symbols: {"batch": 8}.
using Bindings = std::map<std::string, std::int64_t, std::less<>>;

/// The answer to a question about sizes that may still be symbols.
enum class Truth : std::uint8_t { no, yes, depends };

namespace detail {
class Compiler;
struct Poly;  // a sum of coefficient * product of atoms; reference counted, immutable
void retain(const Poly* poly) noexcept;
void release(const Poly* poly) noexcept;
}  // namespace detail

/// An exact integer expression over named sizes. Immutable; one machine word; cheap to copy.
///
/// * A plain integer of up to 63 bits is held in the word itself: its arithmetic never allocates.
/// * Anything else (a symbol, a polynomial, an integer of up to 128 bits) is a shared, immutable polynomial
///   whose atoms are symbols, `floor_div(a, b)` and `max(a, b, ...)`.
/// * Canonical: expressions built in different ways that the rewrites below can prove equal are structurally equal.
/// * Checked: what cannot be held in 128 bits, and division by zero, become undefined(), which absorbs every
///   operation and prints as "?". It is never 0.
/// * Bounded: more than 4096 terms, 65536 atoms (counted as often as they appear), 100 atoms within one another, 64
///   arguments of one max, a degree of 65535, or a product of more than 16384 pairs of terms, is undefined() too.
/// * Equal where both have a value: cancelling, as in n - n, can give a value where a part had none.
/// * A symbol stands for a size: an integer >= 0. The rewrites never assume more than that.
///
/// Thread safe: distinct Expr objects may be used from distinct threads, also when they share a polynomial.
class Expr {
 public:
  Expr() noexcept : word_(1) {}
  /// Implicit on purpose: `2 * batch + 1` should read like that.
  template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
  Expr(Integer value) noexcept : word_(pack(static_cast<std::int64_t>(value))) {
    const auto held = static_cast<std::int64_t>(value);
    if (std::is_unsigned_v<Integer> && held < 0)
      word_ = 0;  // 2^63 and more: not a size anyone has
    else if (!fits(held))
      word_ = big(held);
  }
  Expr(const Expr& other) noexcept : word_(other.word_) {
    if (shared()) detail::retain(poly());
  }
  Expr(Expr&& other) noexcept : word_(other.word_) { other.word_ = 1; }
  Expr& operator=(const Expr& other) noexcept {
    Expr copy(other);
    std::swap(word_, copy.word_);
    return *this;
  }
  Expr& operator=(Expr&& other) noexcept {
    std::swap(word_, other.word_);
    return *this;
  }
  ~Expr() {
    if (shared()) detail::release(poly());
  }

  /// A named size, an integer >= 0. Names are any non-empty text without operators or blanks when it is to be
  /// parsed back; any text is allowed.
  static Expr symbol(std::string_view name);
  static Expr undefined() noexcept {
    Expr none;
    none.word_ = 0;
    return none;
  }
  /// Reads what str() prints: integers, names, + - *, ^ with a constant exponent, (…), floor(a/b), ceil(a/b), a//b,
  /// a%b, max(a, b, …), min(a, b, …). A name may also be quoted with backticks. nullopt: not an expression.
  static std::optional<Expr> parse(std::string_view text);

  bool defined() const noexcept { return word_ != 0; }
  /// True when the value is an integer without symbols, of whatever size.
  bool is_constant() const noexcept;
  /// The value, when it is a plain integer within 64 bits.
  std::optional<std::int64_t> constant() const noexcept {
    if (small()) return unpack();
    return wide_constant();
  }
  /// True when the value is exactly this integer.
  bool is(std::int64_t value) const noexcept { return fits(value) ? word_ == pack(value) : wide_constant() == value; }
  /// The value as a double (rounded to nearest), when it is an integer without symbols, of whatever size.
  std::optional<double> real() const noexcept;
  /// The names of the symbols in it, sorted, each once.
  std::vector<std::string> symbols() const;
  /// Puts sizes in the place of symbols; those not named stay. A size below 0 is no size: undefined().
  Expr bind(const Bindings& sizes) const;
  /// Puts expressions in the place of symbols, all at once; those not named stay. They must not be below 0, which
  /// is not checked.
  Expr substitute(const std::map<std::string, Expr, std::less<>>& by) const;
  /// "4089184256*batch", "floor((h + 31)/32)", "?" when undefined. parse() reads it back.
  std::string str() const;
  std::size_t hash() const noexcept;

  Expr operator-() const;
  Expr& operator+=(const Expr& other) { return *this = *this + other; }
  Expr& operator-=(const Expr& other) { return *this = *this - other; }
  Expr& operator*=(const Expr& other) { return *this = *this * other; }

  friend Expr operator+(const Expr& a, const Expr& b) {
    if (a.small() && b.small()) return Expr(a.unpack() + b.unpack());  // 63 bits each: the sum fits 64
    return add(a, b);
  }
  friend Expr operator-(const Expr& a, const Expr& b) {
    if (a.small() && b.small()) return Expr(a.unpack() - b.unpack());
    return subtract(a, b);
  }
  friend Expr operator*(const Expr& a, const Expr& b) {
#if defined(__GNUC__) || defined(__clang__)
    std::int64_t product;
    if (a.small() && b.small() && !__builtin_mul_overflow(a.unpack(), b.unpack(), &product)) return Expr(product);
#endif
    return multiply(a, b);
  }
  /// The same expression, structurally. Two undefined() are the same; see equal() for the question about values.
  friend bool operator==(const Expr& a, const Expr& b) noexcept {
    return a.word_ == b.word_ || (a.shared() && b.shared() && same(a, b));
  }
  friend bool operator!=(const Expr& a, const Expr& b) noexcept { return !(a == b); }

 private:
  friend struct detail::Poly;
  explicit Expr(const detail::Poly* poly) noexcept : word_(reinterpret_cast<std::uintptr_t>(poly)) {}  // takes over

  // The word: bit 0 set, an integer in the upper 63 bits; all zero, undefined; otherwise a Poly pointer.
  static constexpr std::uint64_t pack(std::int64_t v) noexcept { return (static_cast<std::uint64_t>(v) << 1) | 1U; }
  static constexpr bool fits(std::int64_t v) noexcept {
    return v >= -(std::int64_t{1} << 62) && v < (std::int64_t{1} << 62);
  }
  bool small() const noexcept { return (word_ & 1U) != 0; }
  bool shared() const noexcept { return word_ != 0 && (word_ & 1U) == 0; }
  std::int64_t unpack() const noexcept { return static_cast<std::int64_t>(word_) >> 1; }
  const detail::Poly* poly() const noexcept {
    return reinterpret_cast<const detail::Poly*>(static_cast<std::uintptr_t>(word_));
  }
  static std::uint64_t big(std::int64_t value) noexcept;
  std::optional<std::int64_t> wide_constant() const noexcept;
  static Expr add(const Expr& a, const Expr& b);
  static Expr subtract(const Expr& a, const Expr& b);
  static Expr multiply(const Expr& a, const Expr& b);
  static bool same(const Expr& a, const Expr& b) noexcept;

  std::uint64_t word_;
};

/// floor(a / b) for any signs. b == 0 is undefined(). Rewrites: exact division by a polynomial that is never 0;
/// multiples of the divisor taken out, floor((c*Q + R)/c) = Q + floor(R/c); nesting,
/// floor((floor(x/a) + y)/b) = floor((x + a*y)/(a*b)) for constants a, b > 0; common factors that are never 0
/// cancelled; signs, floor(-x/c) = -floor((x + c - 1)/c). A symbol could be 0, so it is not cancelled here: see
/// divide_exact.
Expr floor_div(const Expr& a, const Expr& b);
/// -floor_div(-a, b).
Expr ceil_div(const Expr& a, const Expr& b);
/// a - b * floor_div(a, b): the sign of b, as in Python and ONNX's Mod.
Expr modulo(const Expr& a, const Expr& b);
/// The larger. An argument that can be shown never to exceed another (symbols >= 0) is dropped.
Expr max(const Expr& a, const Expr& b);
/// The smaller: -max(-a, -b).
Expr min(const Expr& a, const Expr& b);
/// base * base * ... (exponent factors); 1 for exponent 0.
Expr power(const Expr& base, unsigned exponent);
/// The polynomial q with a == b * q, when there is one; symbols are cancelled, so it holds where b is not 0.
std::optional<Expr> divide_exact(const Expr& a, const Expr& b);

/// Whether a and b have the same value: yes or no for all sizes (symbols >= 0), otherwise depends. Undefined: depends.
Truth equal(const Expr& a, const Expr& b);
/// A number that a is never below when every symbol is at least `symbol_floor` (0 or 1); nullopt: none was found.
std::optional<std::int64_t> lower_bound(const Expr& a, std::int64_t symbol_floor);
/// Whether a >= b for all sizes with every symbol >= symbol_floor. `no` means a < b for all of them.
Truth at_least(const Expr& a, const Expr& b, std::int64_t symbol_floor = 0);

using Dim = Expr;
using Count = Expr;

/// Expressions compiled once to a flat program, evaluated for many bindings at once.
class Program {
 public:
  explicit Program(const std::vector<Expr>& expressions);
  /// The symbols that must be given, sorted: the order of evaluate()'s `sizes`.
  const std::vector<std::string>& symbols() const noexcept { return symbols_; }
  std::size_t outputs() const noexcept { return roots_.size(); }
  /// `sizes` holds outputs for n bindings: symbol s of binding i at sizes[s * n + i]. Writes expression e of binding
  /// i to out[e * n + i], rounded to a double to real[e * n + i], and 1 to ok[e * n + i]. Where the exact value does
  /// not fit 64 bits, out and ok are 0; where it is undefined (also by a size below 0, or beyond 128 bits), real is NaN
  /// too. No pointer may be null.
  void evaluate(const std::int64_t* sizes, std::size_t n, std::int64_t* out, double* real, std::uint8_t* ok) const;

 private:
  friend class detail::Compiler;
  struct Step {
    std::uint8_t op;
    std::uint32_t a, b;
  };
  std::vector<std::string> symbols_;
  std::vector<Step> steps_;
  std::vector<std::pair<std::uint64_t, std::int64_t>> constants_;  // low and high half of 128-bit constants
  std::vector<std::uint32_t> roots_;
};

}  // namespace macsim

#endif  // MACSIM_EXPR_HPP
