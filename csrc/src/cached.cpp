// Traffic behind a memory of some capacity. Between kernels whole tensors stay, the least recently used going first:
// one is still there when no more than the capacity was touched since. Within a product whose operands do not fit, the
// loops are tiled, and operands are read again for every tile. Copyright macsim contributors. SPDX-License-Identifier:
// Apache-2.0
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "expr_poly.hpp"
#include "flow.hpp"
#include "products.hpp"

namespace macsim {
namespace {

/// Sizes as lists of coefficients: sums of them are quick, also of symbolic ones. What is not known, or has a
/// coefficient beyond 64 bits, is taken as 0.
class Vectors {
 public:
  using Row = const std::int64_t*;

  void learn(Amounts::Id id, const Count& count) {
    if (knows(id)) return;
    if (id >= place_.size()) place_.resize(id + 1, kNone);
    place_[id] = static_cast<std::uint32_t>(parts_.size());
    auto& parts = parts_.emplace_back();
    if (!count.defined()) return;
    for (const detail::Term& term : detail::View(count)) {
      if (term.coefficient > INT64_MAX || term.coefficient < INT64_MIN) continue;
      detail::Term one = term;
      one.coefficient = 1;
      const Count monomial = detail::ordered_sum({&one, 1});
      const auto [at, added] = basis_.try_emplace(monomial, monomials_.size());
      if (added) monomials_.push_back(monomial);
      parts.emplace_back(at->second, static_cast<std::int64_t>(term.coefficient));
    }
  }
  /// All are learnt.
  void finish() {
    width_ = std::max<std::size_t>(monomials_.size(), 1);
    table_.assign((parts_.size() + 1) * width_, 0);  // the last: of what nobody learnt
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      for (const auto& [at, coefficient] : parts_[i]) table_[i * width_ + at] = coefficient;
    }
  }
  std::size_t width() const noexcept { return width_; }
  Row of(Amounts::Id id) const { return table_.data() + (knows(id) ? place_[id] : parts_.size()) * width_; }
  bool knows(Amounts::Id id) const { return id < place_.size() && place_[id] != kNone; }
  Count count(Row row) const {
    Count sum;
    for (std::size_t i = 0; i < monomials_.size(); ++i) {
      if (row[i] != 0) sum += row[i] * monomials_[i];
    }
    return sum;
  }

 private:
  struct Hash {
    std::size_t operator()(const Count& count) const noexcept { return count.hash(); }
  };
  std::vector<std::uint32_t> place_;  // by amount
  std::vector<std::vector<std::pair<std::size_t, std::int64_t>>> parts_;
  std::unordered_map<Count, std::size_t, Hash> basis_;
  std::vector<Count> monomials_;
  std::vector<std::int64_t> table_;
  std::size_t width_ = 1;
};

/// What was touched since a kernel, each tensor once: all that kernels touched (running sums), less what was touched
/// again later (a Fenwick tree, from the end). Most tensors are touched by one kernel or by neighbours.
class Recent {
 public:
  Recent(std::size_t kernels, std::size_t width)
      : size_(kernels + 1), width_(width), all_(width), again_(size_ * width) {
    before_.reserve(size_ * width);
  }
  /// Kernels come one after another.
  void next_kernel() { before_.insert(before_.end(), all_.begin(), all_.end()); }
  void touch(Vectors::Row amount) {
    for (std::size_t k = 0; k < width_; ++k) all_[k] += amount[k];
  }
  /// What `kernel` touched is touched again.
  void move_on(std::size_t kernel, Vectors::Row amount) {
    for (std::size_t i = size_ - 1 - kernel; i < size_; i += i & (~i + 1)) {
      for (std::size_t k = 0; k < width_; ++k) again_[i * width_ + k] += amount[k];
    }
  }
  void since(std::size_t kernel, std::vector<std::int64_t>& sum) const {
    for (std::size_t k = 0; k < width_; ++k) sum[k] += all_[k] - before_[kernel * width_ + k];
    for (std::size_t i = size_ - 1 - kernel; i > 0; i -= i & (~i + 1)) {
      for (std::size_t k = 0; k < width_; ++k) sum[k] -= again_[i * width_ + k];
    }
  }

 private:
  std::size_t size_, width_;
  std::vector<std::int64_t> before_, all_, again_;  // before_, again_: by kernel
};

class Cached {
 public:
  Cached(const Flow& flow, const Kernels& kernels, const Edges& edges, Amounts& amounts, Traffic& out)
      : flow_(flow),
        edges_(edges),
        amounts_(amounts),
        out_(out),
        bytes_(flow, amounts, out),
        capacity_(out.capacity),
        kernels_(kernels.count),
        products_(flow, kernels, amounts, out.capacity),
        vectors_(learnt(flow, edges)),
        recent_(kernels.count, vectors_.width()),
        sum_(vectors_.width()),
        last_(flow.values(), kNone),
        paid_(flow.values(), Amounts::kZero),
        missed_(flow.values(), Amounts::kZero) {}

  void run() {
    sum_regions();
    std::vector<Amounts::Id> io(kernels_);
    for (std::uint32_t kernel = 0; kernel < kernels_; ++kernel) io[kernel] = go_through(kernel);
    for (const Edges::Edge& edge : edges_.writes) {
      bytes_.add(edge.row, true, edge.touch.tensor, written(edge));
    }
    bytes_.finish();
    if (products_.is_bound()) out_.trust = std::max(out_.trust, Trust::bound);
    out_.io_bound.reserve(kernels_);
    for (const Amounts::Id id : io) out_.io_bound.push_back(amounts_[id]);
  }

 private:
  static Vectors learnt(const Flow& flow, const Edges& edges) {
    Vectors out;
    const auto learn = [&](const Edges::Edge& edge) {
      const Amounts::Id id = flow.size(edge.touch.tensor);
      out.learn(id, flow.count(id));
    };
    for (const Edges::Edge& edge : edges.reads) learn(edge);
    for (const Edges::Edge& edge : edges.writes) learn(edge);
    out.finish();
    return out;
  }
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
        region_bytes_[region] += amounts_[flow_.size(edge.touch.tensor)];
      }
    };
    for (const Edges::Edge& edge : edges_.reads) touch(edge);
    for (const Edges::Edge& edge : edges_.writes) touch(edge);
  }

  // The bytes of a kernel; what they cannot go below.
  Amounts::Id go_through(std::uint32_t kernel) {
    recent_.next_kernel();
    gather(kernel);
    const Span<Edges::Edge> read = reads(kernel);
    fresh_.clear();
    for (const Edges::Edge& edge : read) fresh_.push_back(brought(edge));
    const Product& product = products_.of(kernel);
    Amounts::Id io = Amounts::kZero;
    if (product.loops != kNone) {
      for (const Edges::Edge& edge : read) io = amounts_.add(io, edge.touch.bytes);
      for (const Edges::Edge& edge : writes(kernel)) io = amounts_.add(io, edge.touch.bytes);
      io = amounts_.larger(io, products_.io_bound(product));
      again(product, read);
    }
    for (std::size_t i = 0; i < read.size(); ++i) bytes_.add(read[i].row, false, read[i].touch.tensor, fresh_[i]);
    for (const Edges::Edge& edge : read) note(edge.touch.tensor, kernel);
    for (const Edges::Edge& edge : writes(kernel)) note(edge.touch.tensor, kernel);
    return io;
  }

  // What the kernel touches, by when it was touched last; 0: never.
  void gather(std::uint32_t kernel) {
    touched_.clear();
    const auto add = [&](const Edges::Edge& edge) {
      touched_.emplace_back(last_[edge.touch.tensor] + 1U, flow_.size(edge.touch.tensor));
    };
    for (const Edges::Edge& edge : reads(kernel)) add(edge);
    for (const Edges::Edge& edge : writes(kernel)) add(edge);
    std::sort(touched_.begin(), touched_.end());
    older_.assign((touched_.size() + 1) * vectors_.width(), 0);
    const std::size_t width = vectors_.width();
    for (std::size_t i = 0; i < touched_.size(); ++i) {
      const Vectors::Row size = vectors_.of(touched_[i].second);
      for (std::size_t k = 0; k < width; ++k) older_[(i + 1) * width + k] = older_[i * width + k] + size[k];
    }
  }

  // 1 where more than the capacity was touched since the tensor was.
  Amounts::Id is_gone(std::uint32_t tensor) {
    const std::size_t width = vectors_.width();
    const auto older = static_cast<std::size_t>(
        std::lower_bound(touched_.begin(), touched_.end(), std::pair(last_[tensor] + 1U, Amounts::kZero)) -
        touched_.begin());
    for (std::size_t k = 0; k < width; ++k) sum_[k] = older_[older * width + k];
    recent_.since(last_[tensor], sum_);
    const auto [at, added] = gone_.try_emplace(sum_, Amounts::kZero);
    if (added) at->second = amounts_.of(over(vectors_.count(sum_.data()), capacity_));
    return at->second;
  }

  // Bytes of a tensor that are not there.
  Amounts::Id brought(const Edges::Edge& edge) {
    const std::uint32_t tensor = edge.touch.tensor;
    const Amounts::Id amount = edge.touch.bytes, whole = flow_.size(tensor);
    const Amounts::Id one = amounts_.smaller(amount, whole);
    const Amounts::Id paid = brought_after(flow_, amounts_, edge, paid_[tensor]);
    Amounts::Id fresh = one;
    if (last_[tensor] == kNone) {
      missed_[tensor] = Amounts::kOne;
    } else {
      const Amounts::Id gone = is_gone(tensor);
      const Amounts::Id more = flow_.is_given(tensor) ? amounts_.subtract(paid, paid_[tensor]) : Amounts::kZero;
      fresh = amounts_.add(more, amounts_.multiply(gone, amounts_.subtract(one, more)));
      missed_[tensor] = amounts_.larger(missed_[tensor], gone);
    }
    paid_[tensor] = paid;
    if (amount == one) return fresh;
    return amounts_.add(fresh, amounts_.multiply(amounts_.subtract(amount, one), comes_again(edge)));
  }

  // 1 where what comes more than once does not stay: in a loop's later rounds, or because a selection repeats.
  Amounts::Id comes_again(const Edges::Edge& edge) {
    const std::uint32_t region = flow_.region(edge.row);
    const bool looped = region != 0 && !flow_.runs_once(edge.row);
    const Count& needed = looped ? region_bytes_[region] : amounts_[flow_.size(edge.touch.tensor)];
    return amounts_.of(over(needed, capacity_));
  }

  // Outputs of the model are written in any case, others where somebody misses them.
  Amounts::Id written(const Edges::Edge& edge) {
    const std::uint32_t tensor = edge.touch.tensor;
    const Amounts::Id all = edge.touch.bytes, missed = missed_[tensor];
    if (!flow_.escapes(tensor)) return amounts_.multiply(all, missed);
    const Amounts::Id one = amounts_.smaller(all, flow_.size(tensor));
    const Amounts::Id last = flow_.leaves(tensor) ? one : amounts_.multiply(one, missed);
    if (all == one) return last;
    const Amounts::Id rounds = amounts_.subtract(all, one);
    return amounts_.add(last, amounts_.multiply(rounds, amounts_.larger(missed, comes_again(edge))));
  }

  // Operands of a product that come again for every tile. What was on the chip stays there.
  void again(const Product& product, Span<Edges::Edge> read) {
    const Amounts::Id tiled = products_.tiled(product);
    if (tiled == Amounts::kZero) return;
    std::size_t left = read.size(), right = read.size(), values = read.size();
    for (std::size_t i = 0; i < read.size(); ++i) {
      if (read[i].touch.tensor == product.left) left = i;
      if (read[i].touch.tensor == product.right) right = i;
      if (read[i].touch.tensor == product.values) values = i;
    }
    const auto of = [&](std::size_t i) { return i < read.size() ? fresh_[i] : Amounts::kZero; };
    const Amounts::Id a = of(left);
    const Amounts::Id b = values == right ? of(right) : amounts_.add(of(right), of(values));
    if (a == Amounts::kZero && b == Amounts::kZero) return;
    const auto [a_again, b_times] = products_.again(product, a, b);
    const auto put = [&](std::size_t i, Amounts::Id all) {
      if (i < read.size())
        fresh_[i] = amounts_.add(fresh_[i], amounts_.multiply(tiled, amounts_.subtract(all, fresh_[i])));
    };
    put(left, a_again);
    if (right != left) put(right, amounts_.multiply(of(right), b_times));
    if (values != right && values != left) put(values, amounts_.multiply(of(values), b_times));
  }

  void note(std::uint32_t tensor, std::uint32_t kernel) {
    if (last_[tensor] == kernel) return;
    const Vectors::Row size = vectors_.of(flow_.size(tensor));
    if (last_[tensor] != kNone) recent_.move_on(last_[tensor], size);
    recent_.touch(size);
    last_[tensor] = kernel;
  }

  struct Hash {
    std::size_t operator()(const std::vector<std::int64_t>& sum) const noexcept {
      std::uint64_t hash = 0;
      for (const std::int64_t one : sum) hash = (hash ^ static_cast<std::uint64_t>(one)) * 0x9e3779b97f4a7c15U;
      return static_cast<std::size_t>(hash ^ (hash >> 32));
    }
  };

  const Flow& flow_;
  const Edges& edges_;
  Amounts& amounts_;
  Traffic& out_;
  Bytes bytes_;
  std::int64_t capacity_;
  std::uint32_t kernels_;
  Products products_;
  std::vector<Count> region_bytes_;
  Vectors vectors_;
  Recent recent_;
  std::vector<std::int64_t> sum_, older_;
  std::unordered_map<std::vector<std::int64_t>, Amounts::Id, Hash> gone_;
  std::vector<std::uint32_t> last_;
  std::vector<Amounts::Id> paid_, missed_, fresh_;
  std::vector<std::pair<std::uint32_t, Amounts::Id>> touched_;
};

}  // namespace

void put_cached(const Flow& flow, const Kernels& kernels, const Edges& edges, Amounts& amounts, Traffic& out) {
  Cached(flow, kernels, edges, amounts, out).run();
}

}  // namespace macsim
