// Kernels' edges: the tensors that they read from outside, and those that they write for others.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "flow.hpp"

namespace macsim {
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
    for (const Touch& touch : flow_.reads(row)) add_read(kernel, {reader, touch, false});
  }
  void add_read(std::uint32_t kernel, Edges::Edge edge) {
    const std::uint32_t maker = flow_.producer(edge.touch.tensor);
    if (maker != kNone && kernels_.inlined[maker]) {
      if (flow_.access(maker) == Access::dequantize) return add_reads(kernel, maker, edge.row);
      edge.part = edge.part || flow_.writes(maker).size() > 1;
      edge.touch.tensor = flow_.reads(maker)[0].tensor;
      return add_read(kernel, edge);
    }
    if (maker != kNone && kernels_.group[maker] == kernel) return;
    const Touch& touch = edge.touch;
    if (seen_[touch.tensor] != kernel) {
      seen_[touch.tensor] = kernel;
      place_[touch.tensor] = static_cast<std::uint32_t>(out_.reads.size());
      out_.reads.push_back(edge);
      return;
    }
    Edges::Edge& held = out_.reads[place_[touch.tensor]];
    Touch& already = held.touch;
    if (already.value == touch.value) {
      already.bytes = amounts_.larger(touch.bytes, already.bytes);
      return;
    }
    // Two views of a tensor: both, and no more than there is.
    held.part = held.part || edge.part;
    const Amounts::Id whole = flow_.size(touch.tensor);
    if (already.bytes == whole) return;
    const Amounts::Id both = amounts_.add(already.bytes, touch.bytes);
    already.bytes = flow_.runs_once(edge.row) ? amounts_.smaller(both, whole) : both;
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

// A tensor is made in its place when it is all that its kernel writes of it, whole and no view, and the row alone is
// its kernel's reason to read it.
std::vector<Placed> placed_in(const Flow& flow, const Kernels& kernels, const Edges& edges) {
  std::vector<Placed> out;
  std::vector<bool> has_place;
  for (const Edges::Edge& edge : edges.writes) {
    const std::uint32_t row = edge.row, kernel = kernels.group[row];
    if (kernels.step_of(flow, row) != Step::joined || flow.is_custom(row)) continue;
    const Span<std::uint32_t> readers = flow.readers(edge.touch.tensor);
    const auto is_here = [&](std::uint32_t reader) { return kernels.group[reader] == kernel; };
    if (std::any_of(readers.begin(), readers.end(), is_here)) continue;
    has_place.resize(flow.values(), false);
    for (const Touch& touch : flow.reads(row)) {
      const std::uint32_t maker = flow.producer(touch.tensor);
      if (maker == kNone || touch.value != touch.tensor || has_place[touch.tensor]) continue;
      const bool plain = kernels.group[maker] != kNone && kernels.group[maker] != kernel && !kernels.inlined[maker] &&
                         !flow.is_custom(maker) && flow.region(maker) == flow.region(row) && flow.runs_once(maker);
      const auto reads_it = [&](std::uint32_t reader) { return is_here(reader) && reader != row; };
      const Span<std::uint32_t> all = flow.readers(touch.tensor);
      if (std::count(all.begin(), all.end(), row) != 1 || std::any_of(all.begin(), all.end(), reads_it)) continue;
      if (!plain || flow.escapes(touch.tensor) || flow.duty(touch.tensor) != Duty::activation) continue;
      has_place[touch.tensor] = true;
      out.push_back({row, touch.tensor, touch.bytes});
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace macsim
