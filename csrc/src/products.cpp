// Products as loops: from the sizes of operands, or as rules state them, and how tiles of them are cut.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "products.hpp"

#include <algorithm>

#include "expr_poly.hpp"
#include "rules/support.hpp"

namespace macsim {
namespace {

// Of free sizes: where the choice of a way to cut takes an expression with more atoms, it is not made.
constexpr std::uint32_t kMostNodes = 1000;

// The largest integer whose square is not above `value`.
std::int64_t root(std::int64_t value) {
  std::int64_t low = 0, high = 3037000499;  // the root of 2^63 - 1
  while (low < high) {
    const std::int64_t middle = low + (high - low + 1) / 2;
    if (middle <= value / middle) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace

Count over(const Count& need, std::int64_t capacity) {
  if (const auto plain = need.constant()) return *plain > capacity ? 1 : 0;
  if (!need.defined()) return 1;
  return min(1, max(0, floor_div(need, Count(capacity) + 1)));
}

Products::Products(const Flow& flow, const Kernels& kernels, Amounts& amounts, std::int64_t capacity)
    : flow_(flow), kernels_(kernels), amounts_(amounts), capacity_(capacity), products_(kernels.count) {
  for (std::uint32_t row = 0; row < flow.rows(); ++row) {
    if (kernels.group[row] == kNone || flow.access(row) != Access::contraction) continue;
    const Product found = product_of(row);
    if (found.loops == kNone) continue;
    Product& held = products_[kernels.group[row]];
    if (held.loops == kNone) {
      held = found;
    } else {
      join(held, found);
    }
  }
  for (Shared& shared : shared_) finish(shared);
}

Product Products::product_of(std::uint32_t row) {
  const Span<Touch> read = flow_.reads(row), made = flow_.writes(row);
  const auto& column = flow_.data.columns[static_cast<std::size_t>(Column::mac)];
  Product product;
  if (read.size() < 2 || made.empty() || row >= column.size() || column[row].is(0)) return product;
  const auto dtype = [&](const Touch& touch) { return flow_.type(touch.value).dtype; };
  const Nest* stated = flow_.nest(row);
  product.left = behind(read[0].tensor);
  product.right = behind(read[1].tensor);
  if (stated != nullptr && !stated->v.is(0) && read.size() > 2) product.values = behind(read[2].tensor);
  const auto size = [&](std::uint32_t tensor, std::size_t operand) {  // of a part no more than it is
    if (tensor == kNone) return Amounts::kZero;
    return amounts_.smaller(flow_.size(tensor), flow_.size(read[operand].value));
  };
  const Key key{stated,
                {amounts_.of(column[row]), flow_.size(read[0].value), flow_.size(read[1].value),
                 flow_.size(made[0].value), size(product.left, 0), size(product.right, 1), size(product.values, 2)},
                {dtype(read[0]), dtype(read[1]), dtype(made[0])}};
  const auto [at, added] = known_.try_emplace(key, static_cast<std::uint32_t>(shared_.size()));
  if (added) {
    Shared shared;
    shared.loops = loops_of(row, stated, column[row]);
    shared.loops.left = amounts_[size(product.left, 0)];
    shared.loops.right = amounts_[size(product.right, 1)];
    shared.loops.values = amounts_[size(product.values, 2)];
    shared_.push_back(std::move(shared));
  }
  if (shared_[at->second].loops.known) product.loops = at->second;
  return product;
}

// batch * m * n * k, from the numbers of elements where these fit; else as the rule states it.
Loops Products::loops_of(std::uint32_t row, const Nest* stated, const Count& macs) const {
  const Touch &left = flow_.reads(row)[0], &right = flow_.reads(row)[1], &made = flow_.writes(row)[0];
  const auto bytes_of = [&](const Touch& touch) {
    return std::max<std::int64_t>(bits_of(flow_.type(touch.value).dtype) / 8, 1);
  };
  const auto elements = [&](const Touch& touch) { return flow_.bound(rules::numel(flow_.type(touch.value).shape)); };
  Loops loops;
  loops.left_bytes = bytes_of(left);
  loops.right_bytes = bytes_of(right);
  loops.out_bytes = bytes_of(made);
  loops.macs = macs;
  const Count a = elements(left), b = elements(right), c = elements(made);
  if (stated != nullptr) {
    Nest nest{flow_.bound(stated->batch), flow_.bound(stated->m), flow_.bound(stated->n),
              flow_.bound(stated->k),     flow_.bound(stated->v), stated->overlap};
    if (macs != nest.batch * nest.m * nest.n * (nest.k + nest.v)) return loops;
    loops.nest = std::move(nest);
    loops.known = true;
    return loops;
  }
  const auto m = divide_exact(macs, b), n = divide_exact(macs, a), k = divide_exact(macs, c);
  if (!m || !n || !k) return loops;
  const auto batch = divide_exact(a, *m * *k);
  if (!batch || *batch * *k * *n != b || *batch * *m * *n != c) return loops;
  loops.nest = Nest{*batch, *m, *n, *k, 0};
  loops.known = true;
  return loops;
}

// Scores, and their product with the values: one attention.
void Products::join(Product& scores, const Product& values) {
  const auto [at, added] =
      joined_.try_emplace({scores.loops, values.loops}, static_cast<std::uint32_t>(shared_.size()));
  if (added) {
    const Loops &first = shared_[scores.loops].loops, &second = shared_[values.loops].loops;
    Shared shared;
    shared.loops = first;
    const bool fits = first.nest.v.is(0) && first.nest.batch == second.nest.batch && first.nest.m == second.nest.m;
    if (fits) {
      shared.loops.nest.v = second.nest.n;
      shared.loops.values = second.right;
      shared.loops.macs += second.macs;
    }
    shared_.push_back(std::move(shared));
  }
  scores.loops = at->second;
  if (!shared_[at->second].loops.nest.v.is(0)) scores.values = values.right;
}

// What a kernel reads in the place of what it dequantises, turns or takes a part of meanwhile.
std::uint32_t Products::behind(std::uint32_t tensor) const {
  for (;;) {
    const std::uint32_t maker = flow_.producer(tensor);
    if (maker == kNone || !kernels_.inlined[maker] || flow_.reads(maker).empty()) return tensor;
    tensor = flow_.reads(maker)[0].tensor;
  }
}

void Products::finish(Shared& shared) {
  if (!shared.loops.known) return;
  shared.tiled = amounts_.of(over(need(shared.loops), capacity_));
  shared.io_bound = amounts_.of(io_bound(shared.loops));
  if (shared.tiled != Amounts::kZero) shared.ways = ways(shared.loops);
}

// 2 mnk / sqrt(S) - 2 S elements (Smith et al., arXiv:1702.02017). Of a convolution, whose patches overlap, an element
// under the filter R times: 2 mnk / sqrt(R S) (after Chen et al., HPCA 2020).
Count Products::io_bound(const Loops& loops) const {
  if (!loops.nest.v.is(0)) return 0;
  const std::int64_t each = std::min({loops.left_bytes, loops.right_bytes, loops.out_bytes});
  std::int64_t elements = capacity_ / each + 1;
  if (elements > INT64_MAX / loops.nest.overlap) return 0;
  elements *= loops.nest.overlap;
  return max(0, floor_div(2 * loops.macs * each, Count(root(elements) + 1)) - 2 * loops.nest.batch * elements * each);
}

std::vector<Products::Way> Products::ways(const Loops& loops) {
  const Nest& nest = loops.nest;
  const std::int64_t room = capacity_ / std::max({loops.left_bytes, loops.right_bytes, loops.out_bytes});
  if (!nest.v.is(0)) {  // rows of queries, their sums and one score each; a key and its value at a time
    const Count pair = nest.k + nest.v, rows = max(1, floor_div(Count(room) - pair, pair + 1));
    return {{1, ceil_div(nest.m, rows), rows}};
  }
  const std::int64_t side = std::max<std::int64_t>(root(room + 1) - 1, 1);
  std::vector<Way> out{with_edges({ceil_div(nest.n, side), ceil_div(nest.m, side), side}, loops)};
  // All of one side of the result, and as much of the other as there is room for.
  const auto beside = [&](const Count& whole) { return max(1, floor_div(Count(room) - whole, whole + 1)); };
  const auto fits = [&](const Count& whole) { return 1 - over(whole, std::max<std::int64_t>(room - 1, 0) / 2); };
  const Count by_m = fits(nest.m), by_n = fits(nest.n);
  if (!by_m.is(0)) out.push_back({ceil_div(nest.n, beside(nest.m)), 1, nest.m, by_m});
  if (!by_n.is(0) && !knows_edges(loops)) is_bound_ = true;
  if (!by_n.is(0) && knows_edges(loops)) {
    const Count rows = beside(nest.n);
    out.push_back(with_edges({1, ceil_div(nest.m, rows), rows, by_n}, loops));
  }
  return out;
}

// A square of q * q places needs (q + r - 1)^2 elements of each channel, where patches overlap r times each way.
Products::Way Products::with_edges(Way way, const Loops& loops) {
  const auto rows = way.rows.constant();
  if (loops.nest.overlap == 1 || !rows) return way;
  const std::int64_t q = root(*rows), r = root(loops.nest.overlap - 1) + 1, reach = std::min(q + r - 1, q * r);
  if (reach > 1 << 20) return way;  // places without number: their edges are nothing
  way.up = reach * reach;
  way.down = q * q;
  return way;
}

// What has to fit for each operand to be read once: one of them, and a little of the others.
Count Products::need(const Loops& loops) {
  const Nest& nest = loops.nest;
  const auto part = [&](const Count& bytes) { return ceil_div(bytes, max(nest.batch, 1)); };
  const Count a = part(loops.left), b = part(loops.right);
  const std::int64_t x = loops.left_bytes, y = loops.right_bytes, z = loops.out_bytes;
  if (!nest.v.is(0)) {  // all keys and values, or all queries
    const Count pair = nest.k + nest.v;
    return min(b + part(loops.values) + (pair + 1) * x, nest.m * (pair + 1) * x + pair * y);
  }
  const Count by_left = a + nest.k * y + nest.m * z, by_right = b + nest.k * x + nest.n * z;
  const Count by_result = nest.m * nest.n * z + nest.m * x + nest.n * y;
  return min(min(by_left, by_right), by_result);
}

std::pair<Amounts::Id, Amounts::Id> Products::again(const Product& product, Amounts::Id left, Amounts::Id right) {
  const auto [at, added] = again_.try_emplace({product.loops, left, right});
  if (!added) return at->second;
  const Shared& shared = shared_[product.loops];
  const Count a = amounts_[left], b = amounts_[right];
  Count square, chosen_left, chosen_times;
  for (const Way& way : shared.ways) {
    Count whole = a * way.left;
    if (way.up != way.down && left != Amounts::kZero) {
      const Count cut = over(shared.loops.nest.m - way.rows, 0);
      whole += cut * ceil_div(whole * (way.up - way.down), way.down);
    }
    if (&way == shared.ways.data()) {
      square = chosen_left = whole;
      chosen_times = way.right;
      continue;
    }
    const Count cheaper = way.fits * over(chosen_left + b * chosen_times - whole - b * way.right, 0);  // 1: this way is
    chosen_left += cheaper * (whole - chosen_left);
    chosen_times += cheaper * (way.right - chosen_times);
  }
  const auto nodes = [](const Count& count) {
    const detail::Poly* poly = count.defined() ? detail::Poly::of(count) : nullptr;
    return poly == nullptr ? 0U : poly->nodes;
  };
  if (!chosen_left.defined() || !chosen_times.defined() || nodes(chosen_left) + nodes(chosen_times) > kMostNodes) {
    chosen_left = square;
    chosen_times = shared.ways.front().right;
    is_bound_ = true;
  }
  return at->second = {amounts_.of(chosen_left), amounts_.of(chosen_times)};
}

}  // namespace macsim
