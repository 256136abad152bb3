// Kernels: which rows today's compilers run as one. Point-wise chains, reductions and norms go with what makes their
// data; biases, activations and sums go with the product before them; a softmax between two products makes one kernel
// of the three; products dequantise while they read.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "flow.hpp"
#include "rules/support.hpp"

namespace macsim {
namespace {

constexpr int kMostSteps = 8;  // between a softmax and the product that takes it

bool follows(Access access) noexcept {
  return access == Access::pointwise || access == Access::rows || access == Access::softmax ||
         access == Access::dequantize;
}

class Fusion {
 public:
  explicit Fusion(const Flow& flow) : flow_(flow) {
    out_.group.assign(flow.rows(), kNone);
    out_.inlined.assign(flow.rows(), false);
  }

  Kernels run() {
    for (std::uint32_t row = 0; row < flow_.rows(); ++row) {
      if (!flow_.reads(row).empty() || !flow_.writes(row).empty()) place(row);
    }
    number();
    return std::move(out_);
  }

 private:
  enum class Form : std::uint8_t { closed, product, loop };
  struct Kernel {
    Form form = Form::closed;
    std::uint32_t level = 0;       // above that of every kernel whose results it takes: so there is no way back
    std::uint32_t head = 0;        // its first row
    std::uint32_t awaits = kNone;  // the product that takes the softmax of this one
    std::uint32_t domain = 0;      // a value: of all that it goes over, the largest
    bool taken = false;            // others take its results
  };

  void place(std::uint32_t row) {
    sources_.clear();
    add_sources(row);
    const Access access = flow_.access(row);
    if (access == Access::dequantize && only_products_read(row)) {
      out_.inlined[row] = true;
      return;
    }
    std::uint32_t into = kNone;
    if (!flow_.is_custom(row) && follows(access)) into = joinable(row, access);
    if (access == Access::contraction) into = awaiting(row);
    if (into != kNone && !raise(into)) into = kNone;
    if (into == kNone) into = open(row, access);
    out_.group[row] = into;
    Kernel& kernel = kernels_[into];
    if (access == Access::softmax && kernel.form == Form::product) kernel.awaits = product_after(row);
    if (access == Access::contraction) {
      kernel.awaits = kNone;
      kernel.domain = domain_of(row);
    }
    for (const std::uint32_t source : sources_) {
      if (source != into) kernels_[source].taken = true;
    }
  }

  // The kernels whose results a row takes, each once, also through rows that it does itself while it reads.
  void add_sources(std::uint32_t row) {
    for (const Touch& touch : flow_.reads(row)) {
      const std::uint32_t maker = flow_.producer(touch.tensor);
      if (maker == kNone) continue;
      if (out_.inlined[maker]) {
        add_sources(maker);
        continue;
      }
      const std::uint32_t kernel = out_.group[maker];
      if (kernel != kNone && std::find(sources_.begin(), sources_.end(), kernel) == sources_.end()) {
        sources_.push_back(kernel);
      }
    }
  }

  bool only_products_read(std::uint32_t row) const {
    for (const Touch& made : flow_.writes(row)) {
      if (flow_.escapes(made.tensor) || flow_.readers(made.tensor).empty()) return false;
      for (const std::uint32_t reader : flow_.readers(made.tensor)) {
        if (flow_.access(reader) != Access::contraction || !same_runs(reader, row)) return false;
      }
    }
    return !flow_.writes(row).empty();
  }

  bool same_runs(std::size_t a, std::size_t b) const {
    if (flow_.region(a) != flow_.region(b)) return false;
    if (flow_.found.times.empty()) return true;
    const auto of = [&](std::size_t row) {
      const auto at = flow_.found.times.find(row);
      return at == flow_.found.times.end() ? Count(1) : at->second;
    };
    return of(a) == of(b);
  }

  // The latest kernel that makes data of the row, when the row can go on where it is.
  std::uint32_t joinable(std::uint32_t row, Access access) {
    std::uint32_t best = kNone;
    for (const std::uint32_t source : sources_) {
      if (kernels_[source].form == Form::closed || !same_runs(kernels_[source].head, row)) continue;
      if (best == kNone || kernels_[source].level > kernels_[best].level) best = source;
    }
    if (best == kNone) return kNone;
    const Kernel& kernel = kernels_[best];
    if (kernel.form == Form::product) {
      if (access == Access::rows) return kNone;
      if (access == Access::softmax && (kernel.awaits != kNone || product_after(row) == kNone)) return kNone;
      return same_number(domain_of(row), kernel.domain) ? best : kNone;
    }
    return fits(row, best) ? best : kNone;
  }

  // The product whose scores' kernel has gone through their softmax waits for this row.
  std::uint32_t awaiting(std::uint32_t row) const {
    for (const std::uint32_t source : sources_) {
      if (kernels_[source].awaits == row && same_runs(kernels_[source].head, row)) return source;
    }
    return kNone;
  }

  // Makes sure that no other source of the row hangs on the kernel. False: one might.
  bool raise(std::uint32_t into) {
    Kernel& kernel = kernels_[into];
    std::uint32_t above = 0;
    for (const std::uint32_t source : sources_) {
      if (source != into) above = std::max(above, kernels_[source].level + 1);
    }
    if (above <= kernel.level) return true;
    if (kernel.taken) return false;
    kernel.level = above;
    return true;
  }

  std::uint32_t open(std::uint32_t row, Access access) {
    Kernel kernel;
    kernel.head = row;
    kernel.domain = domain_of(row);
    if (!flow_.is_custom(row)) {
      kernel.form = access == Access::contraction ? Form::product : follows(access) ? Form::loop : Form::closed;
    }
    for (const std::uint32_t source : sources_) kernel.level = std::max(kernel.level, kernels_[source].level + 1);
    kernels_.push_back(kernel);
    return static_cast<std::uint32_t>(kernels_.size() - 1);
  }

  // Where a softmax between two products goes: point by point into a product, and nowhere else.
  std::uint32_t product_after(std::uint32_t row) const {
    for (int step = 0; step < kMostSteps; ++step) {
      const Span<Touch> made = flow_.writes(row);
      if (made.size() != 1 || flow_.escapes(made[0].tensor)) return kNone;
      const Span<std::uint32_t> readers = flow_.readers(made[0].tensor);
      if (readers.size() != 1 || !same_runs(row, readers[0])) return kNone;
      const std::uint32_t next = readers[0];
      const Access access = flow_.access(next);
      if (access == Access::contraction) return next;
      if (access != Access::pointwise || flow_.is_custom(next)) return kNone;
      row = next;
    }
    return kNone;
  }

  // The value with the most elements among what the row reads first and what it makes.
  std::uint32_t domain_of(std::uint32_t row) const {
    const Span<Touch> read = flow_.reads(row), made = flow_.writes(row);
    if (made.empty()) return read[0].value;
    if (read.empty() || flow_.access(row) == Access::contraction) return made[0].value;
    return is_larger(read[0].value, made[0].value) ? read[0].value : made[0].value;
  }
  bool is_larger(std::uint32_t a, std::uint32_t b) const {
    const Type &x = flow_.type(a), &y = flow_.type(b);
    if (x.shape == y.shape) return false;
    const Count left = rules::numel(x.shape), right = rules::numel(y.shape);
    return left != right && at_least(left, right) == Truth::yes;
  }
  bool same_number(std::uint32_t a, std::uint32_t b) const {
    if (a == b) return true;
    const Type &x = flow_.type(a), &y = flow_.type(b);
    return x.ranked && y.ranked && (x.shape == y.shape || rules::numel(x.shape) == rules::numel(y.shape));
  }

  // Whether the row goes over the same elements as a loop, over parts of them that it reduced, or over more of them
  // than it, broadcast.
  bool fits(std::uint32_t row, std::uint32_t into) {
    Kernel& kernel = kernels_[into];
    const std::uint32_t domain = domain_of(row);
    if (same_number(domain, kernel.domain)) return true;
    const Type &mine = flow_.type(domain), &its = flow_.type(kernel.domain);
    if (!mine.ranked || !its.ranked) return false;
    if (broadcasts(mine.shape, its.shape)) return true;
    if (!broadcasts(its.shape, mine.shape)) return false;
    kernel.domain = domain;
    return true;
  }
  static bool broadcasts(const Shape& from, const Shape& to) {
    if (from.size() > to.size()) return false;
    for (std::size_t i = 0; i < from.size(); ++i) {
      const Dim &a = from[from.size() - 1 - i], &b = to[to.size() - 1 - i];
      if (a != b && !a.is(1)) return false;
    }
    return true;
  }

  // Kernels get numbers in an order in which they can run: each after those whose results it takes.
  void number() {
    std::vector<std::uint32_t> member_first(kernels_.size() + 1, 0), members, number(kernels_.size(), kNone);
    for (const std::uint32_t kernel : out_.group) {
      if (kernel != kNone) ++member_first[kernel + 1];
    }
    for (std::size_t k = 0; k < kernels_.size(); ++k) member_first[k + 1] += member_first[k];
    members.resize(member_first.back());
    std::vector<std::uint32_t> next(member_first.begin(), member_first.end() - 1);
    for (std::uint32_t row = 0; row < flow_.rows(); ++row) {
      if (out_.group[row] != kNone) members[next[out_.group[row]]++] = row;
    }
    struct Visit {
      std::uint32_t kernel;
      std::vector<std::uint32_t> sources;
    };
    std::vector<Visit> stack;
    const auto enter = [&](std::uint32_t kernel) {
      sources_.clear();
      for (std::uint32_t m = member_first[kernel]; m < member_first[kernel + 1]; ++m) add_sources(members[m]);
      std::erase_if(sources_, [&](std::uint32_t source) { return source == kernel || number[source] != kNone; });
      stack.push_back({kernel, sources_});
    };
    for (std::uint32_t row = 0; row < flow_.rows(); ++row) {
      if (out_.group[row] == kNone || number[out_.group[row]] != kNone) continue;
      enter(out_.group[row]);
      while (!stack.empty()) {
        auto& [kernel, sources] = stack.back();
        while (!sources.empty() && number[sources.back()] != kNone) sources.pop_back();
        if (!sources.empty()) {
          enter(sources.back());
          continue;
        }
        if (number[kernel] == kNone) number[kernel] = out_.count++;
        stack.pop_back();
      }
    }
    for (std::uint32_t& kernel : out_.group) {
      if (kernel != kNone) kernel = number[kernel];
    }
    // What products do while they read is in the first of them.
    for (std::uint32_t row = 0; row < flow_.rows(); ++row) {
      if (out_.inlined[row]) out_.group[row] = out_.group[flow_.readers(flow_.writes(row)[0].tensor)[0]];
    }
  }

  const Flow& flow_;
  Kernels out_;
  std::vector<Kernel> kernels_;
  std::vector<std::uint32_t> sources_;
};

}  // namespace

Kernels kernels_of(const Flow& flow) { return Fusion(flow).run(); }

namespace {

/// Gathers the edges of one kernel after another.
class Gathering {
 public:
  Gathering(const Flow& flow, const Kernels& kernels, Amounts& amounts)
      : flow_(flow), kernels_(kernels), amounts_(amounts), seen_(flow.values(), kNone), place_(flow.values(), 0) {}

  Edges run() {
    std::vector<std::uint32_t> first(kernels_.count + 1, 0);
    for (std::uint32_t row = 0; row < flow_.rows(); ++row) {
      if (kernels_.group[row] != kNone && !kernels_.inlined[row]) ++first[kernels_.group[row] + 1];
    }
    for (std::size_t k = 0; k < kernels_.count; ++k) first[k + 1] += first[k];
    std::vector<std::uint32_t> members(first.back()), next(first.begin(), first.end() - 1);
    for (std::uint32_t row = 0; row < flow_.rows(); ++row) {
      if (kernels_.group[row] != kNone && !kernels_.inlined[row]) members[next[kernels_.group[row]]++] = row;
    }
    for (std::uint32_t kernel = 0; kernel < kernels_.count; ++kernel) {
      out_.first_read.push_back(static_cast<std::uint32_t>(out_.reads.size()));
      out_.first_write.push_back(static_cast<std::uint32_t>(out_.writes.size()));
      for (std::uint32_t m = first[kernel]; m < first[kernel + 1]; ++m) {
        add_reads(kernel, members[m], members[m]);
        add_writes(kernel, members[m]);
      }
    }
    out_.first_read.push_back(static_cast<std::uint32_t>(out_.reads.size()));
    out_.first_write.push_back(static_cast<std::uint32_t>(out_.writes.size()));
    return std::move(out_);
  }

 private:
  // `row` reads for `reader`, which is in the kernel.
  void add_reads(std::uint32_t kernel, std::uint32_t row, std::uint32_t reader) {
    for (const Touch& touch : flow_.reads(row)) {
      const std::uint32_t maker = flow_.producer(touch.tensor);
      if (maker != kNone && kernels_.inlined[maker]) {
        add_reads(kernel, maker, reader);
        continue;
      }
      if (maker != kNone && kernels_.group[maker] == kernel) continue;
      if (seen_[touch.tensor] != kernel) {
        seen_[touch.tensor] = kernel;
        place_[touch.tensor] = static_cast<std::uint32_t>(out_.reads.size());
        out_.reads.push_back({reader, touch});
        continue;
      }
      Touch& already = out_.reads[place_[touch.tensor]].touch;
      if (already.value == touch.value) {
        already.bytes = amounts_.larger(touch.bytes, already.bytes);
        continue;
      }
      // Two views of a tensor: both, and no more than there is.
      const Amounts::Id whole = flow_.size(touch.tensor);
      if (already.bytes == whole) continue;
      const Amounts::Id both = amounts_.add(already.bytes, touch.bytes);
      already.bytes = flow_.runs_once(row) ? amounts_.smaller(both, whole) : both;
    }
  }
  void add_writes(std::uint32_t kernel, std::uint32_t row) {
    for (const Touch& touch : flow_.writes(row)) {
      const Span<std::uint32_t> readers = flow_.readers(touch.tensor);
      const bool inside = !flow_.escapes(touch.tensor) && !readers.empty() &&
                          std::all_of(readers.begin(), readers.end(), [&](std::uint32_t reader) {
                            return !kernels_.inlined[reader] && kernels_.group[reader] == kernel;
                          });
      if (!inside) out_.writes.push_back({row, touch});
    }
  }

  const Flow& flow_;
  const Kernels& kernels_;
  Amounts& amounts_;
  std::vector<std::uint32_t> seen_, place_;
  Edges out_;
};

}  // namespace

Edges edges_of(const Flow& flow, const Kernels& kernels, Amounts& amounts) {
  return Gathering(flow, kernels, amounts).run();
}

}  // namespace macsim
