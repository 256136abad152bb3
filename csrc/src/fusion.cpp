// Kernels: which rows today's compilers run as one. Point-wise chains, reductions and norms go with what makes their
// data; biases, activations and sums go with the product before them; a softmax between two products, whole or in its
// steps, makes one kernel of the three; products dequantise and turn their operands while they read, and everybody
// takes parts of tensors while reading. Tensors that are put together are points like others.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "flow.hpp"
#include "rules/support.hpp"

namespace macsim {
namespace {

constexpr int kMostSteps = 8;  // between a softmax and the product that takes it

Step step_named(std::string_view rule) noexcept {
  constexpr std::pair<std::string_view, Step> kSteps[] = {
      {"reduce_max", Step::largest}, {"sub", Step::less},         {"exp", Step::exponential},
      {"reduce_sum", Step::sum},     {"div", Step::quotient},     {"reciprocal", Step::inverse},
      {"mul", Step::times},          {"concat", Step::joined},    {"slice", Step::part},
      {"split", Step::part},         {"transpose", Step::turned},
  };
  for (const auto& [name, step] : kSteps) {
    if (name == rule) return step;
  }
  return Step::none;
}

class Fusion {
 public:
  explicit Fusion(const Flow& flow) : flow_(flow) {
    out_.group.assign(flow.rows(), kNone);
    out_.inlined.assign(flow.rows(), false);
    out_.step = steps_of(flow);
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
    bool by_point = true;          // no row of it needs a whole row of its data
    std::uint32_t merged = kNone;  // the kernel that it is a part of
  };

  Step step(std::uint32_t row) const { return out_.step_of(flow_, row); }
  bool follows(std::uint32_t row, Access access) const {
    if (flow_.is_custom(row)) return false;
    return access == Access::pointwise || access == Access::rows || access == Access::softmax ||
           access == Access::dequantize || step(row) == Step::joined;
  }

  void place(std::uint32_t row) {
    const Access access = flow_.access(row);
    if (is_done_while_reading(row, access)) {
      out_.inlined[row] = true;
      return;
    }
    sources_.clear();
    apart_.clear();
    add_sources(row, false);
    std::uint32_t into = kNone;
    if (follows(row, access)) into = joinable(row, access);
    if (access == Access::contraction) into = awaiting(row);
    if (into != kNone && access != Access::contraction) merge_others(row, into);
    if (into != kNone && !raise(into)) into = kNone;
    if (into == kNone) into = open(row, access);
    out_.group[row] = into;
    Kernel& kernel = kernels_[into];
    if (access == Access::softmax && kernel.form == Form::product) kernel.awaits = product_after(row);
    if (access == Access::contraction) {
      kernel.awaits = kNone;
      kernel.domain = domain_of(row);
    }
    if (access == Access::rows || access == Access::softmax) kernel.by_point = false;
    for (const std::uint32_t source : sources_) {
      if (source != into) kernels_[source].taken = true;
    }
  }

  // The kernels whose results a row takes, each once, also through rows that it does itself while it reads. Of which it
  // takes a part, from another place than where it goes on: those are apart.
  void add_sources(std::uint32_t row, bool part) {
    for (const Touch& touch : flow_.reads(row)) {
      const std::uint32_t maker = flow_.producer(touch.tensor);
      if (maker == kNone) continue;
      add_source(maker, part);
      for (const std::uint32_t earlier : flow_.earlier(touch.tensor)) add_source(earlier, part);
    }
  }
  std::uint32_t kernel_of(std::uint32_t row) const {
    std::uint32_t kernel = out_.group[row];
    while (kernel != kNone && kernels_[kernel].merged != kNone) kernel = kernels_[kernel].merged;
    return kernel;
  }
  void add_source(std::uint32_t maker, bool part) {
    if (out_.inlined[maker]) return add_sources(maker, part || step(maker) == Step::part);
    const std::uint32_t kernel = kernel_of(maker);
    if (kernel == kNone) return;
    if (std::find(sources_.begin(), sources_.end(), kernel) == sources_.end()) sources_.push_back(kernel);
    if (part) apart_.push_back(kernel);
  }

  bool is_convolution(std::uint32_t row) const {  // its data have an order
    const Nest* nest = flow_.nest(row);
    return nest != nullptr && nest->v.is(0);
  }
  bool is_done_while_reading(std::uint32_t row, Access access) const {
    const bool turned = step(row) == Step::turned && !flow_.is_custom(row);
    if (access != Access::dequantize && !turned && step(row) != Step::part) return false;
    if (flow_.writes(row).empty()) return false;
    for (const Touch& made : flow_.writes(row)) {
      if (flow_.escapes(made.tensor) || flow_.readers(made.tensor).empty()) return false;
      for (const std::uint32_t reader : flow_.readers(made.tensor)) {
        if (!same_runs(reader, row)) return false;
        if (step(row) == Step::part) {
          if (flow_.is_custom(reader)) return false;  // it takes less than all of the part
        } else if (flow_.access(reader) != Access::contraction || (turned && is_convolution(reader))) {
          return false;
        }
      }
    }
    return true;
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
    if (!steps_.empty()) {
      const auto at = steps_.find(row);
      if (at != steps_.end()) return at->second;
    }
    std::uint32_t best = kNone;
    for (const std::uint32_t source : sources_) {
      if (kernels_[source].form == Form::closed || !same_runs(kernels_[source].head, row)) continue;
      if (!apart_.empty() && std::find(apart_.begin(), apart_.end(), source) != apart_.end()) continue;
      if (best == kNone || kernels_[source].level > kernels_[best].level) best = source;
    }
    if (best == kNone) return kNone;
    const Kernel& kernel = kernels_[best];
    if (kernel.form == Form::product) {
      if (takes_softmax_in_steps(row, best)) return best;
      if (access == Access::rows || step(row) == Step::joined) return kNone;
      if (access == Access::softmax && (kernel.awaits != kNone || product_after(row) == kNone)) return kNone;
      return same_number(domain_of(row), kernel.domain) ? best : kNone;
    }
    if (step(row) == Step::joined) return joins(row, best) ? best : kNone;
    return fits(row, best) ? best : kNone;
  }

  // What a loop works out point by point may be put into its place among others, when nobody else wants it.
  bool joins(std::uint32_t row, std::uint32_t into) {
    Kernel& kernel = kernels_[into];
    if (kernel.taken || !kernel.by_point) return false;
    const bool found = has_part(row, into);
    if (found) kernel.domain = domain_of(row);
    return found;
  }
  bool has_part(std::uint32_t row, std::uint32_t of) const {
    const Span<Touch> read = flow_.reads(row);
    return std::any_of(read.begin(), read.end(), [&](const Touch& touch) {
      const std::uint32_t maker = flow_.producer(touch.tensor);
      return maker != kNone && kernel_of(maker) == of && same_number(touch.value, kernels_[of].domain);
    });
  }

  // Loops beside the kernel that a row joins become a part of it, when they are of its elements and nothing has taken
  // anything of both: so there is no way from one to the other.
  void merge_others(std::uint32_t row, std::uint32_t into) {
    if (sources_.size() == 1 || kernels_[into].taken) return;
    std::erase_if(sources_, [&](std::uint32_t source) {
      if (source == into || !is_mergeable(row, source, into)) return false;
      Kernel &from = kernels_[source], &to = kernels_[into];
      from.merged = into;
      to.level = std::max(to.level, from.level);
      to.head = std::min(to.head, from.head);
      to.by_point = to.by_point && from.by_point;
      return true;
    });
  }
  bool is_mergeable(std::uint32_t row, std::uint32_t source, std::uint32_t into) const {
    const Kernel &from = kernels_[source], &to = kernels_[into];
    if (from.form != Form::loop || from.taken || !same_runs(from.head, row)) return false;
    if (to.form == Form::product && !from.by_point) return false;
    if (std::find(apart_.begin(), apart_.end(), source) != apart_.end()) return false;
    if (step(row) == Step::joined) return from.by_point && has_part(row, source);
    if (same_number(from.domain, to.domain)) return true;
    const Type &its = flow_.type(from.domain), &mine = flow_.type(to.domain);
    return its.ranked && mine.ranked && broadcasts(its.shape, mine.shape);
  }

  // The row that alone reads what `row` makes, when it is of that kind.
  std::uint32_t only_reader(std::uint32_t row, Step wanted) const {
    const Span<Touch> made = flow_.writes(row);
    if (made.size() != 1 || flow_.escapes(made[0].tensor)) return kNone;
    const Span<std::uint32_t> readers = flow_.readers(made[0].tensor);
    return readers.size() == 1 && step(readers[0]) == wanted && same_runs(row, readers[0]) ? readers[0] : kNone;
  }
  // Whether a row reads `first`, then what `maker` makes.
  bool reads_in_order(std::uint32_t reader, std::uint32_t first, std::uint32_t maker) const {
    const Span<Touch> read = flow_.reads(reader);
    return read.size() == 2 && read[0].tensor == first && read[1].tensor == flow_.writes(maker)[0].tensor;
  }

  // A softmax in steps goes on from a row: the largest score is taken off, or not; exponentials, their sums, the
  // quotient. Where a product takes that, and nothing else of it, the steps belong to the product of the scores.
  bool takes_softmax_in_steps(std::uint32_t row, std::uint32_t into) {
    Kernel& kernel = kernels_[into];
    const Step kind = step(row);
    if ((kind != Step::largest && kind != Step::exponential) || kernel.awaits != kNone) return false;
    if (!same_number(domain_of(row), kernel.domain) || flow_.reads(row).empty()) return false;
    std::vector<std::uint32_t> found{row};
    std::uint32_t exponential = row;
    if (kind == Step::largest) {
      const std::uint32_t shifted = only_reader(row, Step::less);
      if (shifted == kNone || !reads_in_order(shifted, flow_.reads(row)[0].tensor, row)) return false;
      exponential = only_reader(shifted, Step::exponential);
      if (exponential == kNone) return false;
      found.insert(found.end(), {shifted, exponential});
    }
    const std::uint32_t last = quotient_of(exponential, found);
    if (last == kNone) return false;
    kernel.awaits = product_after(last);
    if (kernel.awaits == kNone) return false;
    for (const std::uint32_t one : found) steps_.emplace(one, into);
    return true;
  }

  // What divides exponentials by their sums; kNone: nothing, or others read them, too.
  std::uint32_t quotient_of(std::uint32_t exponential, std::vector<std::uint32_t>& found) const {
    const Span<Touch> made = flow_.writes(exponential);
    if (made.size() != 1 || flow_.escapes(made[0].tensor)) return kNone;
    const Span<std::uint32_t> readers = flow_.readers(made[0].tensor);
    if (readers.size() != 2 || step(readers[0]) != Step::sum || !same_runs(readers[0], exponential)) return kNone;
    const std::uint32_t sum = readers[0];
    std::uint32_t last = only_reader(sum, Step::quotient), divisor = sum;
    if (last == kNone) {
      divisor = only_reader(sum, Step::inverse);
      if (divisor == kNone) return kNone;
      found.push_back(divisor);
      last = only_reader(divisor, Step::times);
    }
    if (last == kNone || last != readers[1]) return kNone;
    const bool in_order =
        reads_in_order(last, made[0].tensor, divisor) || (step(last) == Step::times && flow_.reads(last).size() == 2);
    if (!in_order) return kNone;
    found.insert(found.end(), {sum, last});
    return last;
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
    if (follows(row, access)) {
      kernel.form = Form::loop;
    } else if (access == Access::contraction && !flow_.is_custom(row)) {
      kernel.form = Form::product;
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
    return left != right && at_least(left, right, 1) == Truth::yes;
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
    for (std::uint32_t row = 0; row < flow_.rows(); ++row) out_.group[row] = kernel_of(row);
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
      for (std::uint32_t m = member_first[kernel]; m < member_first[kernel + 1]; ++m) add_sources(members[m], false);
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
    for (auto row = static_cast<std::uint32_t>(flow_.rows()); row-- > 0;) {
      if (out_.inlined[row]) out_.group[row] = out_.group[flow_.readers(flow_.writes(row)[0].tensor)[0]];
    }
  }

  const Flow& flow_;
  Kernels out_;
  std::vector<Kernel> kernels_;
  std::vector<std::uint32_t> sources_, apart_;
  std::unordered_map<std::uint32_t, std::uint32_t> steps_;  // rows of softmaxes in steps: their kernel
};

}  // namespace

std::vector<Step> steps_of(const Flow& flow) {
  std::vector<Step> out;
  out.reserve(flow.found.matches.size());
  for (const Match* match : flow.found.matches) {
    out.push_back(match == nullptr ? Step::none : step_named(match->rule->name));
  }
  return out;
}

Kernels kernels_of(const Flow& flow) { return Fusion(flow).run(); }

}  // namespace macsim
