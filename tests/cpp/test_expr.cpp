// Expr: rewrites by example, then random expressions against plain evaluation.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <limits>
#include <random>
#include <thread>

#include "check.hpp"
#include "i128.hpp"
#include "macsim/expr.hpp"

using macsim::at_least;
using macsim::Bindings;
using macsim::ceil_div;
using macsim::divide_exact;
using macsim::equal;
using macsim::Expr;
using macsim::floor_div;
using macsim::i128;
using macsim::lower_bound;
using macsim::max;
using macsim::min;
using macsim::modulo;
using macsim::power;
using macsim::Truth;

namespace {

const Expr n = Expr::symbol("n"), m = Expr::symbol("m"), h = Expr::symbol("h");
constexpr std::int64_t kMax64 = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin64 = std::numeric_limits<std::int64_t>::min();

// ---- random expressions: a tree of plain operations, which evaluates by itself, and builds the Expr -----------------

enum class Op { constant, symbol, add, subtract, multiply, floor, ceil, mod, larger, smaller, square };

struct Node {
  Op op;
  int value = 0;  // of a constant; the number of a symbol
  std::size_t a = 0, b = 0;
};

using Tree = std::vector<Node>;  // children before parents; the last is the root
constexpr std::array<const char*, 4> kNames = {"a", "b", "seq len", "x"};
using Sizes = std::array<std::int64_t, kNames.size()>;

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  int below(int count) { return static_cast<int>(random_() % static_cast<unsigned>(count)); }
  Tree tree(int depth) {
    Tree tree;
    grow(tree, depth);
    return tree;
  }
  Tree polynomial(int depth) {
    polynomials_only_ = true;
    Tree grown = tree(depth);
    polynomials_only_ = false;
    return grown;
  }
  Sizes sizes() {
    Sizes drawn{};
    const int range = std::array{2, 5, 40}[static_cast<std::size_t>(below(3))];
    for (auto& size : drawn) size = below(range);
    return drawn;
  }

 private:
  std::size_t leaf(Tree& tree) {
    if (below(3) == 0)
      tree.push_back({Op::constant, below(12) - 4});
    else
      tree.push_back({Op::symbol, below(static_cast<int>(kNames.size()))});
    return tree.size() - 1;
  }
  std::size_t grow(Tree& tree, int depth) {
    if (depth == 0 || below(6) == 0) return leaf(tree);
    const Op op = polynomials_only_ ? std::array{Op::add, Op::subtract, Op::multiply}[random_() % 3]
                                    : static_cast<Op>(2 + below(9));
    const std::size_t a = grow(tree, depth - 1);
    // Divisors are mostly constants, as strides are.
    const bool by_constant = (op == Op::floor || op == Op::ceil || op == Op::mod) && below(4) != 0;
    if (by_constant) tree.push_back({Op::constant, below(9) - 1});
    const std::size_t b = by_constant ? tree.size() - 1 : op == Op::square ? a : grow(tree, depth - 1);
    tree.push_back({op, 0, a, b});
    return tree.size() - 1;
  }

  std::mt19937 random_;
  bool polynomials_only_ = false;
};

i128 plain_floor(i128 a, i128 b) {  // by the definition: the largest q with q * b <= a, for b > 0
  if (b < 0) return plain_floor(-a, -b);
  i128 q = a / b;
  while (q * b > a) --q;
  return q;
}

// The value; nothing when it divides by 0 anywhere, or when any part is beyond what the test looks at.
std::optional<i128> evaluate(const Tree& tree, const Sizes& sizes) {
  std::vector<i128> values;
  for (const Node& node : tree) {
    const i128 a = values.empty() ? 0 : values[node.a], b = values.empty() ? 0 : values[node.b];
    const bool divides = node.op == Op::floor || node.op == Op::ceil || node.op == Op::mod;
    if (divides && b == 0) return std::nullopt;
    i128 value = 0;
    switch (node.op) {
      case Op::constant:
        value = node.value;
        break;
      case Op::symbol:
        value = sizes[static_cast<std::size_t>(node.value)];
        break;
      case Op::add:
        value = a + b;
        break;
      case Op::subtract:
        value = a - b;
        break;
      case Op::multiply:
        value = a * b;
        break;
      case Op::floor:
        value = plain_floor(a, b);
        break;
      case Op::ceil:
        value = -plain_floor(-a, b);
        break;
      case Op::mod:
        value = a - b * plain_floor(a, b);
        break;
      case Op::larger:
        value = a > b ? a : b;
        break;
      case Op::smaller:
        value = a < b ? a : b;
        break;
      case Op::square:
        value = a * a;
        break;
    }
    if (macsim::magnitude(value) > (i128{1} << 50)) return std::nullopt;
    values.push_back(value);
  }
  return values.back();
}

Expr build(const Tree& tree) {
  std::vector<Expr> values;
  for (const Node& node : tree) {
    const Expr a = values.empty() ? Expr() : values[node.a], b = values.empty() ? Expr() : values[node.b];
    switch (node.op) {
      case Op::constant:
        values.emplace_back(node.value);
        break;
      case Op::symbol:
        values.push_back(Expr::symbol(kNames[static_cast<std::size_t>(node.value)]));
        break;
      case Op::add:
        values.push_back(a + b);
        break;
      case Op::subtract:
        values.push_back(a - b);
        break;
      case Op::multiply:
        values.push_back(a * b);
        break;
      case Op::floor:
        values.push_back(floor_div(a, b));
        break;
      case Op::ceil:
        values.push_back(ceil_div(a, b));
        break;
      case Op::mod:
        values.push_back(modulo(a, b));
        break;
      case Op::larger:
        values.push_back(max(a, b));
        break;
      case Op::smaller:
        values.push_back(min(a, b));
        break;
      case Op::square:
        values.push_back(power(a, 2));
        break;
    }
  }
  return values.back();
}

Bindings bindings(const Sizes& sizes) {
  Bindings named;
  for (std::size_t i = 0; i < kNames.size(); ++i) named[kNames[i]] = sizes[i];
  return named;
}

std::string show_case(const Expr& e, const Sizes& sizes) {
  std::string text = e.str() + " at";
  for (const auto& [name, size] : bindings(sizes)) text += " " + name + "=" + std::to_string(size);
  return text;
}

void check_value(const Expr& found, i128 expected, const Expr& e, const Sizes& sizes) {
  if (found == Expr(static_cast<std::int64_t>(expected))) return;
  check::fail(__FILE__, __LINE__,
              show_case(e, sizes) + "\n  found:    " + found.str() +
                  "\n  expected: " + std::to_string(static_cast<std::int64_t>(expected)));
}

// ---- ResNet-50 ------------------------------------------------------------------------------------------------------

// One convolution with k x k filters over a square map of side `in`, padded to keep it. Adds its MACs, gives its side.
Expr conv(Expr& macs, const Expr& in, int from, int to, int k, int stride) {
  const Expr side = floor_div(in + 2 * (k / 2) - k, stride) + 1;
  macs += n * side * side * from * to * k * k;
  return side;
}

Expr resnet50() {
  Expr macs;
  Expr side = conv(macs, h, 3, 64, 7, 2);
  side = floor_div(side + 2 - 3, 2) + 1;  // the pooling
  int from = 64;
  const int blocks[] = {3, 4, 6, 3};
  for (int stage = 0; stage < 4; ++stage) {
    const int width = 64 << stage;
    for (int block = 0; block < blocks[stage]; ++block) {
      const int stride = stage > 0 && block == 0 ? 2 : 1;
      const Expr in = side;
      side = conv(macs, in, from, width, 1, 1);
      side = conv(macs, side, width, width, 3, stride);
      side = conv(macs, side, width, 4 * width, 1, 1);
      if (block == 0) CHECK_EQ(conv(macs, in, from, 4 * width, 1, stride), side);  // the branches meet
      from = 4 * width;
    }
  }
  return macs + n * 2048 * 1000;
}

}  // namespace

TEST("ResNet-50 in batch and side is six terms") {
  const Expr macs = resnet50();
  CHECK_EQ(macs.str(),
           "9408*n*floor((h + 1)/2)^2 + 245760*n*floor((h + 3)/4)^2 + 1310720*n*floor((h + 7)/8)^2 + "
           "7471104*n*floor((h + 15)/16)^2 + 14417920*n*floor((h + 31)/32)^2 + 2048000*n");
  CHECK_EQ(macs.bind({{"n", 1}, {"h", 224}}), Expr(4089184256));  // the count the literature gives
  CHECK_EQ(macs.bind({{"h", 224}}), 4089184256 * n);
}

TEST("integers, of every size") {
  CHECK(Expr().is(0));
  CHECK_EQ(Expr(7).constant(), std::optional<std::int64_t>(7));
  for (const std::int64_t value : {kMin64, kMin64 + 1, -(std::int64_t{1} << 62) - 1, -(std::int64_t{1} << 62),
                                   std::int64_t{-1}, std::int64_t{1} << 62, kMax64}) {
    CHECK(Expr(value).is(value));
    CHECK(!Expr(value).is(value / 2 + 1));
    CHECK_EQ(Expr(value).constant(), std::optional(value));
    CHECK_EQ(Expr(value).str(), std::to_string(value));
    CHECK_EQ(-(-Expr(value)), Expr(value));
    CHECK_EQ(Expr(value) - 1 + 1, Expr(value));
    CHECK_EQ(Expr::parse(std::to_string(value)), std::optional(Expr(value)));
  }
  CHECK(Expr(std::uint32_t{4294967295U}).is(4294967295));
  CHECK(!Expr(std::numeric_limits<std::uint64_t>::max()).defined());

  const Expr wide = Expr(kMax64) * kMax64;  // 2^126 - 2^64 + 1
  CHECK_EQ(wide.str(), "85070591730234615847396907784232501249");
  CHECK(wide.is_constant() && !wide.constant());
  CHECK_EQ(wide.real(), std::optional(85070591730234615847396907784232501249.0));
  CHECK_EQ(floor_div(wide, kMax64), Expr(kMax64));
  CHECK_EQ(wide - wide, Expr(0));
  CHECK_EQ(Expr::parse(wide.str()), std::optional(wide));
  CHECK((2 * wide).defined() && !(3 * wide).defined());  // 2^127 is not reached; is passed
  CHECK(!power(10, 39).defined() && power(10, 38).defined());
}

TEST("undefined absorbs, and is not zero") {
  const Expr none = Expr::undefined();
  CHECK_EQ(none.str(), "?");
  CHECK(!none.is(0) && !none.constant() && !none.is_constant() && !none.real());
  for (const Expr& e : {none + 1, none * 0, 0 * none, n - none, -none, floor_div(none, 2), floor_div(n, none),
                        max(n, none), max(none, 3), min(none, n), ceil_div(none, n), modulo(none, 2), power(none, 0),
                        floor_div(n, 0), floor_div(0, 0), modulo(5, 0), n.bind({{"n", -1}})}) {
    CHECK_EQ(e, none);
  }
  CHECK(equal(none, none) == Truth::depends);
  CHECK(at_least(none, none) == Truth::depends);
  CHECK(!lower_bound(none, 1));
  CHECK(!divide_exact(none, 2) && !divide_exact(n, none) && !divide_exact(n, 0));
  CHECK_EQ(floor_div(n, m).bind({{"m", 0}}), none);
}

TEST("polynomials collect like terms") {
  CHECK_EQ((n + m) * (n - m), n * n - m * m);
  CHECK_EQ(power(n + 1, 3), n * n * n + 3 * n * n + 3 * n + 1);
  CHECK_EQ((n + m - m).str(), "n");
  CHECK_EQ(n - n, Expr(0));
  CHECK_EQ((3 + 2 * n * m - n * n).str(), "2*m*n - n^2 + 3");
  CHECK_EQ(Expr::symbol("n"), n);
  CHECK_EQ(Expr::symbol("n").hash(), n.hash());
  CHECK_EQ((n * m + h).symbols(), (std::vector<std::string>{"h", "m", "n"}));
  CHECK_EQ((n * m).substitute({{"n", m + 1}}), m * m + m);
  CHECK_EQ((n * m).substitute({{"n", m}, {"m", n}}), n * m);  // at once, not one after the other
}

TEST("floor: the rewrites") {
  CHECK_EQ(floor_div(6 * n + 3 * m, 3), 2 * n + m);
  CHECK_EQ(floor_div(7 * n + 9, 3).str(), "2*n + floor(n/3) + 3");
  CHECK_EQ(floor_div(2 * n + 3, 4), floor_div(n + 1, 2));
  CHECK_EQ(floor_div(floor_div(h - 1, 2) + 1, 3), floor_div(h + 1, 6));
  CHECK_EQ(floor_div(floor_div(h, 2) + n, 4), floor_div(h + 2 * n, 8));
  CHECK_EQ(ceil_div(n, 2), floor_div(n + 1, 2));
  CHECK_EQ(ceil_div(n, 2).str(), "floor((n + 1)/2)");
  CHECK_EQ(floor_div(-n, 3).str(), "-floor((n + 2)/3)");
  CHECK_EQ(floor_div(n, -3), floor_div(-n, 3));
  CHECK_EQ(floor_div(-7, 2), Expr(-4));
  CHECK_EQ(modulo(-7, 2), Expr(1));
  CHECK_EQ(modulo(7, -2), Expr(-1));
  CHECK_EQ(modulo(4 * n + 6, 4), Expr(2));

  // By symbols, which could be 0: nothing is cancelled that could be.
  CHECK_EQ(floor_div(n * m, n).str(), "floor(m*n/n)");
  CHECK_EQ(floor_div(4 * n, 2 * m), floor_div(2 * n, m));
  CHECK_EQ(floor_div(n * m + n, m + 1), n);
  CHECK_EQ(floor_div(n * max(m, 1), max(m, 1)), n);
  CHECK_EQ(floor_div(n * max(m, 1), h * max(m, 1)), floor_div(n, h));
  CHECK_EQ(ceil_div(n, m).str(), "floor((n - 1)/m) + 1");
  CHECK_EQ(ceil_div(2 * n, 2 * m), ceil_div(n, m));
  CHECK_EQ(floor_div(2 * n + 3, 2 * m), floor_div(n + 1, m));
  CHECK_EQ(floor_div(n, -m), floor_div(-n, m));
}

TEST("exact division cancels symbols") {
  CHECK_EQ(divide_exact(12 * n * m * 64, n * 64), std::optional(12 * m));
  CHECK_EQ(divide_exact(n * n - m * m, n + m), std::optional(n - m));
  CHECK_EQ(divide_exact(0, n), std::optional(Expr(0)));
  CHECK_EQ(divide_exact(power(n + m + 1, 4), power(n + m + 1, 2)), std::optional(power(n + m + 1, 2)));
  CHECK_EQ(divide_exact(n * floor_div(h + 1, 2), floor_div(h + 1, 2)), std::optional(n));
  CHECK(!divide_exact(3 * n, 2));
  CHECK(!divide_exact(n, m));
  CHECK(!divide_exact(n + 1, n));
  CHECK(!divide_exact(power(n, 60000) - 1, n - 1));  // 60,000 terms: there is one, but too large
}

TEST("max keeps what can be the largest") {
  CHECK_EQ(max(3, 7), Expr(7));
  CHECK_EQ(max(n, n + 1), n + 1);
  CHECK_EQ(max(n, 0), n);
  CHECK_EQ(max(n, -3), n);
  CHECK_EQ(max(n, 1).str(), "max(n, 1)");
  CHECK_EQ(max(n, m), max(m, n));
  CHECK_EQ(max(max(n, m), h), max(h, max(m, n)));
  CHECK_EQ(max(max(n, 3), max(5, m)).str(), "max(m, n, 5)");
  CHECK_EQ(max(n, floor_div(n, 2)), n);
  CHECK_EQ(max(max(n, m), n), max(n, m));
  CHECK_EQ(max(n * m, n * floor_div(m, 3)), n * m);
  CHECK_EQ(min(n, 2 * n), n);
  CHECK_EQ(min(n, 256).str(), "min(n, 256)");
  CHECK_EQ((m * 5 - 2 * m * min(n, 256)).str(), "-2*m*min(n, 256) + 5*m");
  CHECK_EQ(min(n, 0), Expr(0));
  CHECK_EQ(max(n, m).bind({{"n", 4}}).str(), "max(m, 4)");
  CHECK_EQ(max(n, m).bind({{"n", 4}, {"m", 9}}), Expr(9));
}

TEST("what holds for all sizes") {
  CHECK(equal(n, n) == Truth::yes);
  CHECK(equal(n, n + 1) == Truth::no);
  CHECK(equal(n, m) == Truth::depends);
  CHECK(equal(n, -1) == Truth::no);
  CHECK(equal(floor_div(n, 2) + floor_div(n + 1, 2), n) == Truth::yes);
  CHECK(equal(max(n + 1, m + 1), max(n, m) + 1) == Truth::yes);
  CHECK(equal(max(n, m) + min(n, m), n + m) != Truth::no);
  CHECK_EQ(lower_bound(n * m + 3, 0), std::optional<std::int64_t>(3));
  CHECK_EQ(lower_bound(n * m + 3, 1), std::optional<std::int64_t>(4));
  CHECK_EQ(lower_bound(n - 5, 1), std::optional<std::int64_t>(-4));
  CHECK_EQ(lower_bound(floor_div(h - 7, 2) + 1, 1), std::optional<std::int64_t>(-2));
  CHECK_EQ(lower_bound(max(n, 3) * max(m, 2), 0), std::optional<std::int64_t>(6));
  CHECK_EQ(lower_bound(modulo(n, 3), 0), std::optional<std::int64_t>(0));
  CHECK_EQ(lower_bound(modulo(n, m), 0), std::optional<std::int64_t>(0));
  CHECK_EQ(lower_bound(power(n - m, 2), 0), std::nullopt);  // 0, but it takes more than this
  CHECK(!lower_bound(n - m, 1));
  const Expr larger = max(n, h), sometimes_negative = floor_div(h - 2 * m, 3);
  CHECK(!lower_bound(modulo(larger, 2) * sometimes_negative, 0));  // -1 at n = m = 1, h = 0
  CHECK(!lower_bound(-n, 1));
  CHECK(at_least(n, 1) == Truth::depends);
  CHECK(at_least(n, 1, 1) == Truth::yes);
  CHECK(at_least(0, n, 1) == Truth::no);
  CHECK(at_least(floor_div(n + 1, 2), floor_div(n, 2)) == Truth::yes);
  CHECK(at_least(ceil_div(n, m), 0) == Truth::yes);
  CHECK(at_least(n, floor_div(n, 3) * 3) == Truth::yes);
  CHECK(at_least(n * max(m, 3), 3 * n) == Truth::yes);
  CHECK(at_least(h * max(m, n), h * n) == Truth::yes);
  CHECK(at_least(max(n, m), max(n, floor_div(m, 2))) == Truth::yes);
}

TEST("text: names that need quotes, and what is not an expression") {
  for (const char* name : {"n", "past_sequence_length", "nonzero_17.n", "a b", "batch-size", "/conv/out", "floor",
                           "max", "2d", "`", "``", "", "?", "x^2", "ünï", "a,b", "(", "\n"}) {
    const Expr e = 3 * Expr::symbol(name) * Expr::symbol(name) + n;
    CHECK_EQ(Expr::parse(e.str()), std::optional(e));
    CHECK_EQ((e - n).symbols(), std::vector<std::string>{name});
  }
  CHECK_EQ(Expr::symbol("a b").str(), "`a b`");
  CHECK_EQ(Expr::parse("past_sequence_length + 1"), std::optional(Expr::symbol("past_sequence_length") + 1));
  CHECK_EQ(Expr::parse(" ( n+2 )*-m ^ 2 "), std::optional(-(n + 2) * m * m));
  CHECK_EQ(Expr::parse("-n^2"), std::optional(-n * n));
  CHECK_EQ(Expr::parse("n - m - 1"), std::optional(n - m - 1));
  CHECK_EQ(Expr::parse("ceil(n/2)"), std::optional(ceil_div(n, 2)));
  CHECK_EQ(Expr::parse("floor(2*n/(m + 1))"), std::optional(floor_div(2 * n, m + 1)));
  CHECK_EQ(Expr::parse("n//2%3"), std::optional(modulo(floor_div(n, 2), 3)));
  CHECK_EQ(Expr::parse("min(n, m, 4)"), std::optional(min(min(n, m), 4)));
  CHECK_EQ(Expr::parse("?"), std::optional(Expr::undefined()));
  CHECK_EQ(Expr::parse("n//0"), std::optional(Expr::undefined()));
  CHECK_EQ(Expr::parse("1" + std::string(50, '0')), std::optional(Expr::undefined()));
  for (const char* text :
       {"",      " ",  "n +", "* n", "n m", "2n",   "1.5", "n/2",  "floor(n + 1/2)", "floor(n)", "max()",
        "max(n", "(n", "n)",  "n^",  "n^m", "n^-1", "`n",  "n**2", "sqrt(n)",        "n,m",      "max(n,)"}) {
    CHECK_EQ(Expr::parse(text), std::nullopt);
  }
  CHECK_EQ(Expr::parse(std::string(100000, '(')), std::nullopt);
  CHECK_EQ(Expr::parse(std::string(150, '(') + "n" + std::string(150, ')')), std::optional(n));
  CHECK(Expr::parse(std::string(100001, '-') + "n") == -n);
}

TEST("growth is bounded") {
  Expr sum, nested = n, product = 1, widest = n;
  for (int i = 0; i < 5000; ++i) {
    const Expr fresh = Expr::symbol("s" + std::to_string(i));
    sum += fresh;
    nested = floor_div(3 * nested + 1, 2 * fresh + 1);
    product *= fresh + 1;
    if (i < 200) widest = max(widest, fresh);
    if (i == 4000) CHECK(sum.defined());
  }
  CHECK(!sum.defined() && !nested.defined() && !product.defined() && !widest.defined());
  CHECK(!power(n, 70000).defined());
  CHECK_EQ(power(n, 60000).bind({{"n", 1}}), Expr(1));
  CHECK(!power(n, 60000).bind({{"n", 2}}).defined());

  Expr deep = n;  // as deep as it gets: made, printed, bound, read back and let go without trouble
  for (Expr next = deep; next.defined(); next = max(floor_div(3 * next + m, 2), h)) deep = next;
  CHECK_EQ(Expr::parse(deep.str()), std::optional(deep));
  CHECK(deep.bind({{"n", 0}, {"m", 0}, {"h", 0}}).is(0));
}

TEST("random expressions evaluate as their operations do") {
  Generator generate(1);
  int compared = 0;
  for (int i = 0; i < 25000; ++i) {
    const Tree tree = generate.tree(2 + generate.below(3));
    const Expr e = build(tree);
    for (int draw = 0; draw < 10; ++draw) {
      const Sizes sizes = generate.sizes();
      const auto expected = evaluate(tree, sizes);
      if (!expected) continue;
      ++compared;
      Bindings all = bindings(sizes);
      check_value(e.bind(all), *expected, e, sizes);
      if (draw != 0) continue;
      const auto first = all.extract(kNames[static_cast<std::size_t>(generate.below(4))]);  // in two steps
      check_value(e.bind(all).bind({{first.key(), first.mapped()}}), *expected, e, sizes);
    }
  }
  CHECK(compared > 150000);
}

TEST("random expressions: text reads back, and bounds hold") {
  Generator generate(2);
  int bounded = 0, compared = 0, proved = 0;
  for (int i = 0; i < 8000; ++i) {
    const Tree tree = generate.tree(3), other_tree = generate.tree(1 + generate.below(2));
    const Expr e = build(tree), other = build(other_tree);
    if (!e.defined() || !other.defined()) continue;
    CHECK_EQ(Expr::parse(e.str()), std::optional(e));
    const auto low0 = lower_bound(e, 0), low1 = lower_bound(e, 1);
    const Truth same = equal(e, other), least = at_least(e, other), least1 = at_least(e, other, 1);
    bounded += low0.has_value();
    proved += (same != Truth::depends) + (least != Truth::depends);
    for (int draw = 0; draw < 12; ++draw) {
      const Sizes sizes = generate.sizes();
      const auto value = evaluate(tree, sizes), other_value = evaluate(other_tree, sizes);
      const bool positive = *std::min_element(sizes.begin(), sizes.end()) > 0;
      if (!value) continue;
      ++compared;
      if ((low0 && *value < *low0) || (positive && low1 && *value < *low1)) {
        check::fail(__FILE__, __LINE__,
                    "bound " + check::show(low0) + ", " + check::show(low1) + ": " + show_case(e, sizes));
      }
      if (!other_value) continue;
      if ((same == Truth::yes && *value != *other_value) || (same == Truth::no && *value == *other_value) ||
          (least == Truth::yes && *value < *other_value) || (least == Truth::no && *value >= *other_value) ||
          (positive && least1 == Truth::yes && *value < *other_value) ||
          (positive && least1 == Truth::no && *value >= *other_value)) {
        check::fail(__FILE__, __LINE__, "compared with " + other.str() + ": " + show_case(e, sizes));
      }
    }
  }
  CHECK(bounded > 1000 && compared > 50000 && proved > 1000);
}

TEST("random expressions: the laws of arithmetic hold in form") {
  Generator generate(3);
  for (int i = 0; i < 6000; ++i) {
    const Expr x = build(generate.tree(2)), y = build(generate.tree(2)), z = build(generate.tree(2));
    if (!x.defined() || !y.defined() || !z.defined()) continue;
    CHECK_EQ(x + y, y + x);
    CHECK_EQ(x * y, y * x);
    CHECK_EQ((x + y) + z, x + (y + z));
    CHECK_EQ((x * y) * z, x * (y * z));
    CHECK_EQ(x * (y + z), x * y + x * z);
    CHECK_EQ(x - y, -(y - x));
    CHECK_EQ((x - x), Expr(0));
    CHECK_EQ((x + y).hash(), (y + x).hash());
    CHECK_EQ(max(x, y), max(y, x));
    CHECK_EQ(min(x, y), -max(-x, -y));
    if (!y.is(0) && !x.is(0)) CHECK_EQ(divide_exact(x * y, y), std::optional(x));
  }
}

TEST("random polynomials: different ways to one division have one form") {
  Generator generate(4);
  for (int i = 0; i < 6000; ++i) {
    const Expr x = build(generate.polynomial(3)), y = build(generate.polynomial(1));
    const int a = 1 + generate.below(8), b = 1 + generate.below(8), k = generate.below(20) - 10;
    CHECK_EQ(ceil_div(x, a), floor_div(x + a - 1, a));
    CHECK_EQ(floor_div(floor_div(x, a), b), floor_div(x, a * b));
    CHECK_EQ(ceil_div(ceil_div(x, a), b), ceil_div(x, a * b));
    CHECK_EQ(floor_div(floor_div(x, a) + k, b), floor_div(x + a * k, a * b));
    CHECK_EQ(floor_div(x * b, a * b), floor_div(x, a));
    CHECK_EQ(floor_div(x + a * k, a), floor_div(x, a) + k);
    CHECK_EQ(modulo(x, a), x - a * floor_div(x, a));
    if (lower_bound(y, 0) >= 0 && !y.is(0)) CHECK_EQ(ceil_div(x, y), floor_div(x + y - 1, y));
  }
}

TEST("random text is read or refused, never more") {
  Generator generate(5);
  const std::string alphabet = "nm12()+-*/%^,`? floormaxcei\x80";
  int read = 0;
  for (int i = 0; i < 60000; ++i) {
    std::string text;
    for (int length = generate.below(i % 2 == 0 ? 8 : 30); length > 0; --length) {
      text += i % 10 == 0 ? static_cast<char>(generate.below(256))
                          : alphabet[static_cast<std::size_t>(generate.below(static_cast<int>(alphabet.size())))];
    }
    const auto e = Expr::parse(text);
    if (!e) continue;
    ++read;
    CHECK_EQ(Expr::parse(e->str()), e);
  }
  CHECK(read > 1000);
  for (int i = 0; i < 2000; ++i) {  // an expression with one character changed
    std::string text = build(generate.tree(3)).str();
    text[static_cast<std::size_t>(generate.below(static_cast<int>(text.size())))] =
        alphabet[static_cast<std::size_t>(generate.below(static_cast<int>(alphabet.size())))];
    if (const auto e = Expr::parse(text)) CHECK_EQ(Expr::parse(e->str()), e);
  }
}

TEST("threads share expressions") {
  const Expr macs = resnet50();
  std::array<std::thread, 4> threads;
  std::array<Expr, 4> found;
  for (std::size_t t = 0; t < threads.size(); ++t) {
    threads[t] = std::thread([&macs, &found, t] {
      for (int i = 0; i < 500; ++i) {
        const Expr copy = macs * 2 - macs;
        found[t] = copy.bind({{"n", 1}, {"h", 224}});
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const Expr& e : found) CHECK_EQ(e, Expr(4089184256));
}
