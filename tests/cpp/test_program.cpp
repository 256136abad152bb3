// Program: many bindings at once give what bind() gives one by one.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "check.hpp"
#include "macsim/expr.hpp"

using macsim::Bindings;
using macsim::Expr;
using macsim::Program;

namespace {

const Expr n = Expr::symbol("n"), m = Expr::symbol("m"), h = Expr::symbol("h");

struct Values {
  std::vector<std::int64_t> out;
  std::vector<double> real;
  std::vector<std::uint8_t> ok;
};

// `sizes`: for each symbol of the program, its value in each binding.
Values run(const Program& program, const std::vector<std::vector<std::int64_t>>& sizes, std::size_t bindings) {
  std::vector<std::int64_t> flat;
  for (const auto& values : sizes) flat.insert(flat.end(), values.begin(), values.end());
  flat.resize(flat.size() + 1);  // never a null pointer
  const std::size_t total = program.outputs() * bindings + 1;
  Values found{std::vector<std::int64_t>(total), std::vector<double>(total), std::vector<std::uint8_t>(total)};
  program.evaluate(flat.data(), bindings, found.out.data(), found.real.data(), found.ok.data());
  return found;
}

}  // namespace

TEST("symbols are sorted, values are by expression and then by binding") {
  const Program program({n + 2 * h, Expr(7), n - h});
  CHECK_EQ(program.symbols(), (std::vector<std::string>{"h", "n"}));
  CHECK_EQ(program.outputs(), 3);
  const Values found = run(program, {{1, 2, 3, 0}, {10, 20, 30, 0}}, 4);
  CHECK_EQ(std::vector(found.out.begin(), found.out.end() - 1),
           (std::vector<std::int64_t>{12, 24, 36, 0, 7, 7, 7, 7, 9, 18, 27, 0}));
  for (std::size_t i = 0; i < 12; ++i) {
    CHECK_EQ(int{found.ok[i]}, 1);
    CHECK_EQ(found.real[i], static_cast<double>(found.out[i]));
  }
}

TEST("nothing to evaluate") {
  CHECK_EQ(Program({}).outputs(), 0);
  CHECK(Program({}).symbols().empty());
  run(Program({}), {}, 3);
  run(Program({n}), {{}}, 0);
  CHECK_EQ(run(Program({Expr(5)}), {}, 2).out[1], 5);
}

TEST("what does not fit 64 bits, 128 bits, or has no value") {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const Program program({n, n * n, n * n * n, floor_div(m, n), Expr::undefined(), -n - 1, -n - 2});
  const Values found = run(program, {{12, 12, 12}, {0, kMost, -1}}, 3);
  const auto ok = [&](std::size_t e, std::size_t i) { return found.ok[e * 3 + i] != 0; };
  const auto real = [&](std::size_t e, std::size_t i) { return found.real[e * 3 + i]; };
  CHECK(ok(0, 0) && ok(0, 1) && ok(1, 0) && ok(2, 0) && ok(3, 1));
  CHECK(!ok(1, 1) && real(1, 1) == 0x1p126);   // (2^63 - 1)^2, rounded
  CHECK(!ok(2, 1) && std::isnan(real(2, 1)));  // 2^189 is beyond what is held
  CHECK(!ok(3, 0) && std::isnan(real(3, 0)));  // 12 / 0
  CHECK_EQ(found.out[3 * 3 + 1], 0);           // 12 / (2^63 - 1)
  CHECK(!ok(4, 0) && std::isnan(real(4, 0)));
  CHECK(ok(5, 1) && found.out[5 * 3 + 1] == std::numeric_limits<std::int64_t>::min());
  CHECK(!ok(6, 1) && real(6, 1) == -0x1p63);
  for (std::size_t e = 0; e < 7; ++e) CHECK(!ok(e, 2) && std::isnan(real(e, 2)));  // n = -1 is no size
}

TEST("agrees with bind over random sizes") {
  const Expr side = floor_div(h + 31, 32), wide = Expr(std::int64_t{1} << 61) * 16 * n;
  const std::vector<Expr> all = {9408 * n * power(floor_div(h + 1, 2), 2) + 14417920 * n * power(side, 2),
                                 max(max(n, m), 3 * h - 7) - min(n, h),
                                 modulo(h * 5 + m, n),
                                 ceil_div(n * m, h),
                                 power(side - 2, 5) * power(m, 3),
                                 wide,
                                 wide - 15 * n * (std::int64_t{1} << 61)};
  const Program program(all);
  CHECK_EQ(program.symbols(), (std::vector<std::string>{"h", "m", "n"}));
  std::mt19937 random(1);
  constexpr std::size_t kCount = 3000;
  std::vector<std::vector<std::int64_t>> sizes(3);
  for (auto& values : sizes) {
    for (std::size_t i = 0; i < kCount; ++i) values.push_back(static_cast<std::int64_t>(random() % 600 / 2));
  }
  const Values found = run(program, sizes, kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    const Bindings at{{"h", sizes[0][i]}, {"m", sizes[1][i]}, {"n", sizes[2][i]}};
    for (std::size_t e = 0; e < all.size(); ++e) {
      const Expr expected = all[e].bind(at);
      const std::size_t k = e * kCount + i;
      CHECK_EQ(found.ok[k] != 0, expected.constant().has_value());
      if (found.ok[k] != 0) CHECK_EQ(found.out[k], *expected.constant());
      if (expected.defined())
        CHECK_EQ(found.real[k], *expected.real());
      else
        CHECK(std::isnan(found.real[k]));
    }
  }
}
