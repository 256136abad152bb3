// Expr as text: printing, and reading it back.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <utility>

#include "expr_poly.hpp"

namespace macsim {

using detail::Atom;
using detail::Kind;
using detail::Term;
using detail::View;

namespace {

constexpr std::string_view kOperators = "+-*/%^(),`?";
constexpr std::array<std::string_view, 4> kFunctions = {"floor", "ceil", "max", "min"};

bool is_blank(char c) noexcept { return static_cast<unsigned char>(c) <= ' ' || c == '\x7f'; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_name_part(char c) noexcept { return !is_blank(c) && kOperators.find(c) == std::string_view::npos; }

bool is_plain_name(std::string_view name) noexcept {
  if (name.empty() || is_digit(name[0])) return false;
  for (const char c : name) {
    if (!is_name_part(c)) return false;
  }
  for (const std::string_view function : kFunctions) {
    if (name == function) return false;
  }
  return true;
}

// ---- printing -------------------------------------------------------------------------------------------------------

void print(std::string& text, const Expr& e);

void print_name(std::string& text, std::string_view name) {
  if (is_plain_name(name)) {
    text += name;
    return;
  }
  text += '`';
  for (const char c : name) text.append(c == '`' ? 2 : 1, c);
  text += '`';
}

// In brackets, unless it binds as tightly as a product (before "/") or a single factor (after it).
void print_operand(std::string& text, const Expr& e, bool product_is_fine) {
  const View view(e);
  bool bare = view.size() == 0;
  if (view.size() == 1) {
    const Term& term = view[0];
    bare = product_is_fine || (term.count == 0 && term.coefficient >= 0) || (term.count == 1 && term.coefficient == 1);
  }
  if (!bare) text += '(';
  print(text, e);
  if (!bare) text += ')';
}

// max(-a, -b) is shown as -min(a, b).
bool shown_as_min(const Atom& atom) {
  return atom.kind == Kind::max && std::all_of(atom.args.begin(), atom.args.end(), [](const Expr& arg) {
           const View view(arg);
           return view.size() > 0 && view[0].coefficient < 0;
         });
}

void print_atom(std::string& text, const Atom& atom) {
  if (atom.kind == Kind::floor_div) {
    text += "floor(";
    print_operand(text, atom.numerator(), true);
    text += '/';
    print_operand(text, atom.denominator(), false);
    text += ')';
  } else if (atom.kind == Kind::max) {
    const bool smaller = shown_as_min(atom);
    text += smaller ? "min(" : "max(";
    for (std::size_t i = 0; i < atom.args.size(); ++i) {
      if (i > 0) text += ", ";
      print(text, smaller ? -atom.args[i] : atom.args[i]);
    }
    text += ')';
  } else {
    print_name(text, atom.name);
  }
}

bool shown_negative(const Term& term) {
  bool negative = term.coefficient < 0;
  for (const detail::Factor& factor : term.span()) {
    if (factor.exponent % 2 == 1 && shown_as_min(*factor.atom)) negative = !negative;
  }
  return negative;
}

void print_term(std::string& text, const Term& term) {  // without its sign
  const i128 size = magnitude(term.coefficient);
  bool first = true;
  if (size != 1 || term.count == 0) {
    append_decimal(text, size);
    first = false;
  }
  for (const detail::Factor& factor : term.span()) {
    if (!first) text += '*';
    first = false;
    print_atom(text, *factor.atom);
    if (factor.exponent > 1) {
      text += '^';
      append_decimal(text, factor.exponent);
    }
  }
}

void print(std::string& text, const Expr& e) {
  if (!e.defined()) {
    text += '?';
    return;
  }
  const View view(e);
  if (view.size() == 0) text += '0';
  for (std::size_t i = 0; i < view.size(); ++i) {
    const bool negative = shown_negative(view[i]);
    if (i > 0)
      text += negative ? " - " : " + ";
    else if (negative)
      text += '-';
    print_term(text, view[i]);
  }
}

// ---- reading --------------------------------------------------------------------------------------------------------

/// Recursive descent, one function per level of binding. Failure is nullopt, all the way up.
class Reader {
 public:
  explicit Reader(std::string_view text) noexcept : text_(text) {}

  std::optional<Expr> whole() {
    auto e = sum();
    skip_blanks();
    return e && at_ == text_.size() ? e : std::nullopt;
  }

 private:
  // sum: product {("+" | "-") product}
  std::optional<Expr> sum() {
    auto left = product();
    std::vector<Expr> parts;  // added up at once: a long sum takes no quadratic time
    while (left) {
      const bool plus = accept("+");
      if (!plus && !accept("-")) break;
      auto right = product();
      if (!right) return std::nullopt;
      parts.push_back(plus ? *std::move(right) : -*right);
    }
    if (!left || parts.empty()) return left;
    parts.push_back(*std::move(left));
    std::vector<Term> terms;  // not on the stack, which recursion needs
    for (const Expr& e : parts) {
      if (!e.defined()) return e;
      for (const Term& term : View(e)) terms.push_back(term);
    }
    return detail::sum(terms);
  }

  // product: signed {("*" | "//" | "%") signed}
  std::optional<Expr> product() {
    auto left = with_sign();
    while (left) {
      const char op = accept("*") ? '*' : accept("//") ? '/' : accept("%") ? '%' : '\0';
      if (op == '\0') break;
      const auto right = with_sign();
      if (!right) return std::nullopt;
      if (!spend(op == '*' || right->is_constant() ? size(*left) * size(*right) : kProof))
        left = Expr::undefined();
      else if (op == '*')
        left = *left * *right;
      else
        left = op == '/' ? floor_div(*left, *right) : modulo(*left, *right);
    }
    return left;
  }

  // signed: {"-" | "+"} power
  std::optional<Expr> with_sign() {
    bool negative = false;
    for (;;) {
      if (accept("-"))
        negative = !negative;
      else if (!accept("+"))
        break;
    }
    auto e = power_level();
    if (e && negative) e = -*e;
    return e;
  }

  // power: primary ["^" digits]
  std::optional<Expr> power_level() {
    auto base = primary();
    if (!base || !accept("^")) return base;
    skip_blanks();
    const auto exponent = digits();
    if (!exponent) return std::nullopt;
    const auto value = exponent->constant();
    if (!value || *value > std::int64_t{detail::kMaxDegree}) return Expr::undefined();
    if (!spend(size(*base) > 1 ? detail::kMaxProducts : 1)) return Expr::undefined();
    return power(*base, static_cast<unsigned>(*value));
  }

  // primary: digits | "?" | "(" sum ")" | name | function
  std::optional<Expr> primary() {
    if (depth_ == kMaxNesting) return std::nullopt;
    ++depth_;
    auto e = primary_unbounded();
    --depth_;
    return e;
  }

  std::optional<Expr> primary_unbounded() {
    skip_blanks();
    if (at_ == text_.size()) return std::nullopt;
    if (is_digit(text_[at_])) return digits();
    if (accept("?")) return Expr::undefined();
    if (accept("(")) {
      auto e = sum();
      return e && accept(")") ? e : std::nullopt;
    }
    if (accept("`")) return quoted();
    const std::size_t start = at_;
    while (at_ < text_.size() && is_name_part(text_[at_])) ++at_;
    const std::string_view name = text_.substr(start, at_ - start);
    if (name.empty()) return std::nullopt;
    if (accept("(")) return function(name);
    return Expr::symbol(name);
  }

  std::optional<Expr> digits() {
    const std::size_t start = at_;
    i128 value = 0;
    bool fits = true;
    for (; at_ < text_.size() && is_digit(text_[at_]); ++at_) {
      fits = fits && checked_mul(value, 10, &value) && checked_add(value, text_[at_] - '0', &value);
    }
    if (at_ == start) return std::nullopt;
    if (at_ < text_.size() && is_name_part(text_[at_])) return std::nullopt;  // "2x" and "1.5" are neither
    return fits ? detail::from_i128(value) : Expr::undefined();
  }

  // After the first backtick; two of them stand for one.
  std::optional<Expr> quoted() {
    std::string name;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '`') {
        ++at_;
        if (at_ == text_.size() || text_[at_] != '`') return Expr::symbol(name);
      }
      name += text_[at_];
    }
    return std::nullopt;
  }

  // After the name and the bracket.
  std::optional<Expr> function(std::string_view name) {
    if (name == "floor" || name == "ceil") return quotient(name == "ceil");
    if (name != "max" && name != "min") return std::nullopt;
    auto e = sum();
    for (std::size_t count = 1; e && accept(","); ++count) {
      const auto next = sum();
      if (!next) return std::nullopt;
      if (!spend(count * kProof))
        e = Expr::undefined();
      else
        e = name == "max" ? max(*e, *next) : min(*e, *next);
    }
    return e && accept(")") ? e : std::nullopt;
  }

  // a/b with a single division: a is a product, b a power.
  std::optional<Expr> quotient(bool up) {
    const auto a = product();
    if (!a || !accept("/")) return std::nullopt;
    const auto b = with_sign();
    if (!b || !accept(")")) return std::nullopt;
    if (!spend(b->is_constant() ? size(*a) : kProof)) return Expr::undefined();
    return up ? ceil_div(*a, *b) : floor_div(*a, *b);
  }

  // The work so far, in products of terms. Hostile text must not keep us busy: beyond the limit is undefined().
  static constexpr std::size_t kMaxWork = std::size_t{1} << 22;
  static constexpr std::size_t kProof = 1000;  // a division by symbols, or a comparison
  static std::size_t size(const Expr& e) noexcept { return e.defined() ? View(e).size() : 0; }
  bool spend(std::size_t work) noexcept {
    work_ += work;
    return work_ <= kMaxWork;
  }

  // An atom within an atom can be two brackets deeper in the text.
  static constexpr std::uint32_t kMaxNesting = 2 * detail::kMaxDepth + 4;

  void skip_blanks() noexcept {
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
  }

  bool accept(std::string_view token) noexcept {
    skip_blanks();
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t work_ = 0;
  std::uint32_t depth_ = 0;
};

}  // namespace

std::string Expr::str() const {
  std::string text;
  print(text, *this);
  return text;
}

std::optional<Expr> Expr::parse(std::string_view text) { return Reader(text).whole(); }

}  // namespace macsim
