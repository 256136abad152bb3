// Program: expressions flattened to steps, each distinct part once, run for many bindings.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <unordered_map>

#include "expr_poly.hpp"

namespace macsim {

using detail::Atom;
using detail::Kind;
using detail::Term;
using detail::View;

namespace {

enum Op : std::uint8_t { kConstant, kSymbol, kAdd, kMultiply, kFloorDiv, kMax, kUndefined };

}  // namespace

namespace detail {

/// Builds a Program's steps; equal steps get one number.
class Compiler {
 public:
  explicit Compiler(Program& program) : program_(program) {}

  std::uint32_t expression(const Expr& e) {
    if (!e.defined()) return step(kUndefined, 0, 0);
    const View view(e);
    if (view.size() == 0) return constant(0);
    std::uint32_t total = term(view[0]);
    for (std::size_t i = 1; i < view.size(); ++i) total = step(kAdd, total, term(view[i]));
    return total;
  }

 private:
  struct Key {
    Op op;
    std::uint32_t a, b;
    bool operator==(const Key&) const = default;
  };
  struct HashKey {
    std::size_t operator()(const Key& key) const noexcept {
      const std::uint64_t parts = (std::uint64_t{key.a} << 32 | key.b) * 8 + key.op;
      return static_cast<std::size_t>((parts ^ parts >> 29) * 0x9e3779b97f4a7c15U >> 3);
    }
  };

  std::uint32_t term(const Term& term) {
    if (term.count == 0) return constant(term.coefficient);
    std::uint32_t product = power(atom(*term.factors[0].atom), term.factors[0].exponent);
    for (std::uint32_t i = 1; i < term.count; ++i) {
      product = step(kMultiply, product, power(atom(*term.factors[i].atom), term.factors[i].exponent));
    }
    return term.coefficient == 1 ? product : step(kMultiply, product, constant(term.coefficient));
  }

  std::uint32_t power(std::uint32_t base, std::uint32_t exponent) {
    if (exponent == 1) return base;
    const std::uint32_t half = power(base, exponent / 2);
    const std::uint32_t square = step(kMultiply, half, half);
    return exponent % 2 == 0 ? square : step(kMultiply, square, base);
  }

  std::uint32_t atom(const Atom& atom) {
    if (atom.kind == Kind::symbol) {
      const auto found = std::lower_bound(program_.symbols_.begin(), program_.symbols_.end(), atom.name);
      return step(kSymbol, static_cast<std::uint32_t>(found - program_.symbols_.begin()), 0);
    }
    std::uint32_t value = expression(atom.args[0]);
    for (std::size_t i = 1; i < atom.args.size(); ++i) {
      value = step(atom.kind == Kind::max ? kMax : kFloorDiv, value, expression(atom.args[i]));
    }
    return value;
  }

  std::uint32_t constant(i128 value) {
    const std::pair<std::uint64_t, std::int64_t> halves(static_cast<std::uint64_t>(value),
                                                        static_cast<std::int64_t>(value >> 64));
    const auto [found, fresh] = constants_.try_emplace(halves, static_cast<std::uint32_t>(program_.constants_.size()));
    if (fresh) program_.constants_.push_back(halves);
    return step(kConstant, found->second, 0);
  }

  std::uint32_t step(Op op, std::uint32_t a, std::uint32_t b) {
    if ((op == kAdd || op == kMultiply || op == kMax) && b < a) std::swap(a, b);
    const auto [found, fresh] = steps_.try_emplace(Key{op, a, b}, static_cast<std::uint32_t>(program_.steps_.size()));
    if (fresh) program_.steps_.push_back({op, a, b});
    return found->second;
  }

  Program& program_;
  std::unordered_map<Key, std::uint32_t, HashKey> steps_;
  std::map<std::pair<std::uint64_t, std::int64_t>, std::uint32_t> constants_;
};

}  // namespace detail

Program::Program(const std::vector<Expr>& expressions) {
  std::set<std::string_view> names;
  for (const Expr& e : expressions) detail::collect_symbols(e, names);
  symbols_.assign(names.begin(), names.end());
  detail::Compiler compiler(*this);
  roots_.reserve(expressions.size());
  for (const Expr& e : expressions) roots_.push_back(compiler.expression(e));
}

void Program::evaluate(const std::int64_t* sizes, std::size_t n, std::int64_t* out, double* real,
                       std::uint8_t* ok) const {
  constexpr i128 kUndefinedValue = -kMaxI128 - 1;  // outside the checked range
  std::vector<i128> values(steps_.size());
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      const Step& step = steps_[s];
      i128& value = values[s];
      if (step.op == kConstant) {
        const auto& [low, high] = constants_[step.a];
        value = static_cast<i128>(static_cast<u128>(static_cast<std::uint64_t>(high)) << 64 | low);
        continue;
      }
      if (step.op == kSymbol) {
        value = sizes[step.a * n + i];
        if (value < 0) value = kUndefinedValue;
        continue;
      }
      const i128 a = values[step.a], b = values[step.b];
      bool fine = step.op != kUndefined && a != kUndefinedValue && b != kUndefinedValue;
      if (fine && step.op == kAdd) fine = checked_add(a, b, &value);
      if (fine && step.op == kMultiply) fine = checked_mul(a, b, &value);
      if (fine && step.op == kMax) value = std::max(a, b);
      if (fine && step.op == kFloorDiv) {
        fine = b != 0;
        if (fine) value = floor_quotient(a, b);
      }
      if (!fine) value = kUndefinedValue;
    }
    for (std::size_t e = 0; e < roots_.size(); ++e) {
      const i128 value = values[roots_[e]];
      const bool defined = value != kUndefinedValue, exact = defined && fits_int64(value);
      out[e * n + i] = exact ? static_cast<std::int64_t>(value) : 0;
      real[e * n + i] = defined ? static_cast<double>(value) : std::numeric_limits<double>::quiet_NaN();
      ok[e * n + i] = exact ? 1 : 0;
    }
  }
}

}  // namespace macsim
