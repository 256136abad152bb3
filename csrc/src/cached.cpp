// Traffic behind a memory of some capacity. Between kernels whole tensors stay, the least recently used going first:
// one is still there when no more than the capacity was touched since. Within a product whose operands do not fit, the
// loops are tiled, and operands are read again for every tile. Copyright macsim contributors. SPDX-License-Identifier:
// Apache-2.0
#include <algorithm>
#include <optional>
#include <utility>

#include "flow.hpp"
#include "rules/support.hpp"

namespace macsim {
namespace {

// 1 where `need` exceeds the capacity, else 0.
Count over(const Count& need, std::int64_t capacity) {
  if (const auto plain = need.constant()) return *plain > capacity ? 1 : 0;
  if (!need.defined()) return 1;
  return min(1, max(0, floor_div(need, Count(capacity) + 1)));
}

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

/// Sums of what stands at positions and later ones, changed one by one (a Fenwick tree, from the end).
class Suffix {
 public:
  explicit Suffix(std::size_t size) : tree_(size + 1) {}
  void add(std::size_t position, const Count& amount) {
    for (std::size_t i = tree_.size() - 1 - position; i < tree_.size(); i += i & (~i + 1)) tree_[i] += amount;
  }
  Count from(std::size_t position) const {
    Count sum;
    for (std::size_t i = tree_.size() - 1 - position; i > 0; i -= i & (~i + 1)) sum += tree_[i];
    return sum;
  }

 private:
  std::vector<Count> tree_;
};

/// The loops of a product, and the bytes of an element of its operands and its result.
struct Product {
  Nest nest;
  std::uint32_t left = kNone, right = kNone, values = kNone;  ///< tensors; `values`: of attention
  std::int64_t left_bytes = 1, right_bytes = 1, out_bytes = 1;
  bool patches = false;  ///< a convolution: what is under the filter overlaps
  Count macs;
};

class Cached {
 public:
  Cached(const Flow& flow, const Kernels& kernels, const Edges& edges, Traffic& out)
      : flow_(flow),
        kernels_(kernels),
        edges_(edges),
        out_(out),
        bytes_(flow, out),
        capacity_(out.capacity),
        recent_(kernels.count),
        last_(flow.values(), kNone),
        paid_(flow.values()),
        missed_(flow.values()) {}

  void run() {
    sum_regions();
    find_products();
    for (std::uint32_t kernel = 0; kernel < kernels_.count; ++kernel) go_through(kernel);
    for (const Edges::Edge& edge : edges_.writes) {
      const bool kept = flow_.escapes(edge.touch.tensor);
      if (kept) {
        bytes_.add(edge.row, true, edge.touch, edge.touch.bytes);
      } else {
        bytes_.add(edge.row, true, edge.touch, edge.touch.bytes * missed_[edge.touch.tensor]);
      }
    }
    bytes_.finish();
  }

 private:
  Span<Edges::Edge> reads(std::uint32_t kernel) const {
    return {edges_.reads.data() + edges_.first_read[kernel], edges_.first_read[kernel + 1] - edges_.first_read[kernel]};
  }
  Span<Edges::Edge> writes(std::uint32_t kernel) const {
    return {edges_.writes.data() + edges_.first_write[kernel],
            edges_.first_write[kernel + 1] - edges_.first_write[kernel]};
  }

  // What the body of a loop touches: when it fits, later rounds find it there.
  void sum_regions() {
    region_bytes_.resize(flow_.found.frames.size());
    if (flow_.found.frames.size() == 1) return;
    std::vector<std::uint32_t> seen(flow_.values(), kNone);
    const auto touch = [&](const Edges::Edge& edge) {
      const std::uint32_t region = flow_.region(edge.row);
      if (std::exchange(seen[edge.touch.tensor], region) != region) {
        region_bytes_[region] += flow_.size(edge.touch.tensor);
      }
    };
    for (const Edges::Edge& edge : edges_.reads) touch(edge);
    for (const Edges::Edge& edge : edges_.writes) touch(edge);
  }

  // Products by kernel. --------------------------------------------------------------------------------------------

  void find_products() {
    products_.resize(kernels_.count);
    out_.io_bound.resize(kernels_.count);
    for (std::uint32_t row = 0; row < flow_.rows(); ++row) {
      if (kernels_.group[row] == kNone || flow_.access(row) != Access::contraction) continue;
      std::optional<Product> found = product_of(row);
      std::optional<Product>& held = products_[kernels_.group[row]];
      if (!found) continue;
      if (held) {  // scores, then their product with the values
        if (held->nest.v.is(0) && found->nest.batch == held->nest.batch && found->nest.m == held->nest.m) {
          held->nest.v = found->nest.n;
          held->values = found->right;
          held->macs += found->macs;
        }
      } else {
        held = std::move(found);
      }
    }
    for (std::uint32_t kernel = 0; kernel < kernels_.count; ++kernel) {
      if (products_[kernel]) out_.io_bound[kernel] = io_bound(kernel, *products_[kernel]);
    }
  }

  std::optional<Product> product_of(std::uint32_t row) const {
    const Span<Touch> read = flow_.reads(row), made = flow_.writes(row);
    if (read.size() < 2 || made.empty()) return std::nullopt;
    const auto bytes_of = [&](const Touch& touch) {
      return std::max<std::int64_t>(bits_of(flow_.type(touch.value).dtype) / 8, 1);
    };
    Product product;
    product.left = behind(read[0].tensor);
    product.right = behind(read[1].tensor);
    product.left_bytes = bytes_of(read[0]);
    product.right_bytes = bytes_of(read[1]);
    product.out_bytes = bytes_of(made[0]);
    const auto& column = flow_.data.columns[static_cast<std::size_t>(Column::mac)];
    if (row >= column.size()) return std::nullopt;
    product.macs = column[row];
    if (const Nest* stated = flow_.nest(row)) {
      Nest nest{flow_.bound(stated->batch), flow_.bound(stated->m), flow_.bound(stated->n), flow_.bound(stated->k),
                flow_.bound(stated->v)};
      const bool attends = !nest.v.is(0);
      if (product.macs != nest.batch * nest.m * nest.n * (nest.k + nest.v)) return std::nullopt;
      product.nest = std::move(nest);
      product.patches = !attends;
      if (attends && read.size() > 2) product.values = behind(read[2].tensor);
      return product;
    }
    const Count a = elements(read[0]), b = elements(read[1]), c = elements(made[0]);
    const auto m = divide_exact(product.macs, b), n = divide_exact(product.macs, a), k = divide_exact(product.macs, c);
    if (!m || !n || !k) return std::nullopt;
    const auto batch = divide_exact(a, *m * *k);
    if (!batch || *batch * *k * *n != b || *batch * *m * *n != c) return std::nullopt;
    product.nest = Nest{*batch, *m, *n, *k, 0};
    return product;
  }
  Count elements(const Touch& touch) const { return flow_.bound(rules::numel(flow_.type(touch.value).shape)); }
  // What a kernel reads in the place of what it dequantises meanwhile.
  std::uint32_t behind(std::uint32_t tensor) const {
    const std::uint32_t maker = flow_.producer(tensor);
    if (maker == kNone || !kernels_.inlined[maker] || flow_.reads(maker).empty()) return tensor;
    return flow_.reads(maker)[0].tensor;
  }

  // Operands once, and for products 2 mnk / sqrt(S) - 2 S elements (Smith et al., arXiv:1702.02017); of a convolution,
  // whose patches overlap, each element under the filter R times, 2 mnk / sqrt(R S) (after Chen et al., HPCA 2020).
  Count io_bound(std::uint32_t kernel, const Product& product) const {
    Count once;
    for (const Edges::Edge& edge : reads(kernel)) once += edge.touch.bytes;
    for (const Edges::Edge& edge : writes(kernel)) once += edge.touch.bytes;
    const Nest& nest = product.nest;
    if (!nest.v.is(0)) return once;
    const std::int64_t each = std::min({product.left_bytes, product.right_bytes, product.out_bytes});
    std::int64_t elements = capacity_ / each + 1;
    if (product.patches) {
      const auto under = (nest.batch * nest.m * nest.k).constant();
      const auto there = flow_.bound(rules::numel(flow_.type(product.left).shape)).constant();
      if (!under || !there || *there == 0) return once;
      const std::int64_t overlap = std::max<std::int64_t>(*under / *there + 1, 1);
      if (elements > INT64_MAX / overlap) return once;
      elements *= overlap;
    }
    const Count by_tiles =
        floor_div(2 * product.macs * each, Count(root(elements) + 1)) - 2 * nest.batch * elements * each;
    return max(once, by_tiles);
  }

  // How often the operands are read, by how the loops are cut into tiles: (left, right) of each way.
  std::vector<std::pair<Count, Count>> ways(const Product& product) const {
    const Nest& nest = product.nest;
    const std::int64_t each = std::max({product.left_bytes, product.right_bytes, product.out_bytes});
    const std::int64_t room = capacity_ / each;
    if (!nest.v.is(0)) {  // rows of queries, their sums and one score each; a key and its value at a time
      const Count pair = nest.k + nest.v, rows = max(1, floor_div(Count(room) - pair, pair + 1));
      return {{1, ceil_div(nest.m, rows)}};
    }
    const std::int64_t side = std::max<std::int64_t>(root(room + 1) - 1, 1);
    const auto beside = [&](const Count& whole) { return max(1, floor_div(Count(room) - whole, whole + 1)); };
    // Square tiles; all of one side of the result, and as much of the other as there is room for.
    return {{ceil_div(nest.n, side), ceil_div(nest.m, side)},
            {ceil_div(nest.n, beside(nest.m)), 1},
            {1, ceil_div(nest.m, beside(nest.n))}};
  }

  // What has to fit for each operand to be read once.
  Count need(const Product& product) const {
    const Nest& nest = product.nest;
    const auto part = [&](std::uint32_t tensor) {
      return tensor == kNone ? Count(0) : ceil_div(flow_.size(tensor), max(nest.batch, 1));
    };
    const Count a = part(product.left), b = part(product.right);
    const std::int64_t x = product.left_bytes, y = product.right_bytes, z = product.out_bytes;
    if (!nest.v.is(0)) {  // all keys and values, or all queries
      const Count pair = nest.k + nest.v;
      return min(b + part(product.values) + (pair + 1) * x, nest.m * (pair + 1) * x + pair * y);
    }
    const Count by_left = a + nest.k * y + nest.m * z, by_right = b + nest.k * x + nest.n * z;
    const Count by_result = nest.m * nest.n * z + nest.m * x + nest.n * y;
    return min(min(by_left, by_right), by_result);
  }

  // Kernels one after another. -------------------------------------------------------------------------------------

  void go_through(std::uint32_t kernel) {
    gather(kernel);
    const Span<Edges::Edge> read = reads(kernel);
    std::vector<Count> fresh(read.size());  // bytes that come from outside, each once
    for (std::size_t i = 0; i < read.size(); ++i) fresh[i] = brought(read[i]);
    again(kernel, read, fresh);
    for (std::size_t i = 0; i < read.size(); ++i) bytes_.add(read[i].row, false, read[i].touch, fresh[i]);
    for (const Edges::Edge& edge : read) note(edge.touch.tensor, kernel);
    for (const Edges::Edge& edge : writes(kernel)) note(edge.touch.tensor, kernel);
  }

  // What the kernel touches, by when it was touched last.
  void gather(std::uint32_t kernel) {
    touched_.clear();
    const auto add = [&](const Edges::Edge& edge) {
      touched_.emplace_back(last_[edge.touch.tensor] + 1U, flow_.size(edge.touch.tensor));  // never: 0
    };
    for (const Edges::Edge& edge : reads(kernel)) add(edge);
    for (const Edges::Edge& edge : writes(kernel)) add(edge);
    std::sort(touched_.begin(), touched_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 1; i < touched_.size(); ++i) touched_[i].second += touched_[i - 1].second;
  }

  // Bytes of a tensor that are not there.
  Count brought(const Edges::Edge& edge) {
    const std::uint32_t tensor = edge.touch.tensor;
    const Count& amount = edge.touch.bytes;
    Count& paid = paid_[tensor];
    const Count& whole = flow_.size(tensor);
    const Count one = amount == whole ? whole : min(amount, whole);
    Count fresh;
    if (last_[tensor] == kNone) {
      fresh = one;
      missed_[tensor] = 1;
    } else {
      Count distance = recent_.from(last_[tensor]);
      const auto older = std::lower_bound(touched_.begin(), touched_.end(), last_[tensor] + 1U,
                                          [](const auto& a, std::uint32_t b) { return a.first < b; });
      if (older != touched_.begin()) distance += std::prev(older)->second;
      const Count missing = over(distance, capacity_);
      const Count more = flow_.is_given(tensor) && one != paid ? max(one - paid, 0) : Count(0);
      fresh = more + missing * (one - more);
      missed_[tensor] = max(missed_[tensor], missing);
    }
    if (paid != whole) paid = one == whole ? whole : max(paid, one);
    if (amount != one) {  // a loop's later rounds
      const std::uint32_t region = flow_.region(edge.row);
      const bool inside = region < region_bytes_.size() && region != 0;
      fresh += (amount - one) * (inside ? over(region_bytes_[region], capacity_) : Count(1));
    }
    return fresh;
  }

  // Operands of a product that are read again and again.
  void again(std::uint32_t kernel, Span<Edges::Edge> read, std::vector<Count>& fresh) {
    if (!products_[kernel]) return;
    const Product& product = *products_[kernel];
    const Count tiled = over(need(product), capacity_);
    if (tiled.is(0)) return;
    std::size_t left = read.size(), right = read.size(), values = read.size();
    for (std::size_t i = 0; i < read.size(); ++i) {
      if (read[i].touch.tensor == product.left) left = i;
      if (read[i].touch.tensor == product.right) right = i;
      if (read[i].touch.tensor == product.values) values = i;
    }
    // What came from elsewhere on the chip stays there; the rest comes once more for every tile.
    const auto of = [&](std::size_t i) { return i < read.size() ? fresh[i] : Count(0); };
    const Count a = of(left), b = of(right), v = values != right ? of(values) : Count(0);
    if (a.is(0) && b.is(0) && v.is(0)) return;
    const std::vector<std::pair<Count, Count>> all = ways(product);
    std::pair<Count, Count> chosen = all.front();
    const auto cost = [&](const std::pair<Count, Count>& way) { return a * way.first + (b + v) * way.second; };
    for (std::size_t i = 1; i < all.size(); ++i) {
      const Count cheaper = over(cost(chosen) - cost(all[i]), 0);  // 1: this way is
      chosen.first += cheaper * (all[i].first - chosen.first);
      chosen.second += cheaper * (all[i].second - chosen.second);
    }
    const auto put = [&](std::size_t i, const Count& times) {
      if (i < read.size()) fresh[i] += tiled * (fresh[i] * times - fresh[i]);
    };
    put(left, chosen.first);
    if (right != left) put(right, chosen.second);
    if (values != right && values != left) put(values, chosen.second);
  }

  void note(std::uint32_t tensor, std::uint32_t kernel) {
    if (last_[tensor] == kernel) return;
    const Count& size = flow_.size(tensor);
    if (last_[tensor] != kNone) recent_.add(last_[tensor], -size);
    recent_.add(kernel, size);
    last_[tensor] = kernel;
  }

  const Flow& flow_;
  const Kernels& kernels_;
  const Edges& edges_;
  Traffic& out_;
  Bytes bytes_;
  std::int64_t capacity_;
  std::vector<std::optional<Product>> products_;
  std::vector<Count> region_bytes_;
  Suffix recent_;
  std::vector<std::uint32_t> last_;
  std::vector<Count> paid_, missed_;
  std::vector<std::pair<std::uint32_t, Count>> touched_;
};

}  // namespace

void put_cached(const Flow& flow, const Kernels& kernels, const Edges& edges, Traffic& out) {
  Cached(flow, kernels, edges, out).run();
}

}  // namespace macsim
