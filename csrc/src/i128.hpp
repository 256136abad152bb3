// Checked 128-bit integers, over the compiler's own type.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_I128_HPP
#define MACSIM_I128_HPP

#include <cstdint>
#include <optional>
#include <string>

#if !defined(__SIZEOF_INT128__)
#error "macsim needs a compiler with a 128-bit integer (GCC or Clang, 64-bit target; clang-cl on Windows)"
#endif

namespace macsim {

// __extension__ keeps -Wpedantic quiet, and cannot stand before `using`. NOLINTBEGIN(modernize-use-using)
__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;
// NOLINTEND(modernize-use-using)

/// The range is symmetric, |value| <= kMaxI128, so that negation and division cannot overflow.
inline constexpr i128 kMaxI128 = static_cast<i128>(~u128{0} >> 1);

/// *out = a + b; false when it cannot be held.
[[nodiscard]] inline bool checked_add(i128 a, i128 b, i128* out) noexcept {
  return !__builtin_add_overflow(a, b, out) && *out >= -kMaxI128;
}

/// *out = a * b; false when it cannot be held.
[[nodiscard]] inline bool checked_mul(i128 a, i128 b, i128* out) noexcept {
  // Two 64-bit factors always fit: one multiplication, where the checked 128-bit one is a call.
  if (a == static_cast<std::int64_t>(a) && b == static_cast<std::int64_t>(b)) {
    *out = a * b;
    return true;
  }
  return !__builtin_mul_overflow(a, b, out) && *out >= -kMaxI128;
}

/// floor(a / b) for any signs; b is not 0.
inline i128 floor_quotient(i128 a, i128 b) noexcept {
  const i128 quotient = a / b;
  return quotient * b != a && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

inline i128 magnitude(i128 a) noexcept { return a < 0 ? -a : a; }

/// The greatest common divisor, >= 0; gcd(0, b) = |b|.
inline i128 greatest_divisor(i128 a, i128 b) noexcept {
  a = magnitude(a);
  b = magnitude(b);
  while (b != 0) {
    const i128 rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

inline bool fits_int64(i128 a) noexcept { return a >= INT64_MIN && a <= INT64_MAX; }

/// Appends the decimal digits of `a`, with its sign.
inline void append_decimal(std::string& text, i128 a) {
  char digits[40];
  char* first = digits + sizeof digits;
  i128 rest = magnitude(a);
  do {
    *--first = static_cast<char>('0' + static_cast<int>(rest % 10));
    rest /= 10;
  } while (rest != 0);
  if (a < 0) *--first = '-';
  text.append(first, static_cast<std::size_t>(digits + sizeof digits - first));
}

}  // namespace macsim

#endif  // MACSIM_I128_HPP
