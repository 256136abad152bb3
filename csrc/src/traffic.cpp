// The four levels of traffic.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/traffic.hpp"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "flow.hpp"

namespace macsim {

std::string_view name_of(Level level) noexcept {
  constexpr std::string_view kNames[] = {"unfused", "fused", "minimum", "cached"};
  return kNames[static_cast<std::size_t>(level)];
}
std::string_view name_of(Moved moved) noexcept {
  constexpr std::string_view kNames[] = {"read", "weights", "cache", "written"};
  return kNames[static_cast<std::size_t>(moved)];
}
std::string_view name_of(Duty duty) noexcept {
  constexpr std::string_view kNames[] = {"input", "weight", "cache", "activation", "output"};
  return kNames[static_cast<std::size_t>(duty)];
}

namespace {

Moved moved_as(Duty duty, bool written) noexcept {
  if (written) return Moved::written;
  return duty == Duty::weight ? Moved::weights : duty == Duty::cache ? Moved::cache : Moved::read;
}

}  // namespace

Bytes::Bytes(const Flow& flow, Amounts& amounts, Traffic& out) : flow_(flow), amounts_(amounts), out_(out) {
  for (auto& column : out.columns) column.assign(flow.rows(), Amounts::kZero);
}

void Bytes::add(std::uint32_t row, bool written, std::uint32_t tensor, Amounts::Id bytes) {
  if (bytes == Amounts::kZero) return;
  const Duty duty = flow_.duty(tensor);
  const Moved moved = moved_as(duty, written);
  Amounts::Id& held = out_.columns[static_cast<std::size_t>(moved)][row];
  held = amounts_.add(held, bytes);
  std::vector<std::int64_t>& times = times_[written][static_cast<std::size_t>(duty)];
  if (times.size() <= bytes) times.resize(amounts_.size());
  ++times[bytes];
}

void Bytes::finish() {
  for (const bool written : {false, true}) {
    for (std::size_t d = 0; d < kDuties; ++d) {
      const Count sum = total(times_[written][d]);
      out_.duties[d] += sum;
      out_.total[static_cast<std::size_t>(moved_as(static_cast<Duty>(d), written))] += sum;
    }
  }
  const auto is_known = [](const Count& count) { return count.defined(); };
  if (!std::all_of(out_.total.begin(), out_.total.end(), is_known)) out_.trust = Trust::unknown;
  out_.amounts = amounts_.all();
}

// What is not known is left out, and said.
Count Bytes::total(const std::vector<std::int64_t>& times) {
  Count sum;
  for (std::size_t id = 0; id < times.size(); ++id) {
    if (times[id] == 0) continue;
    const Count& amount = amounts_[static_cast<Amounts::Id>(id)];
    if (amount.defined()) {
      sum += times[id] * amount;
    } else {
      out_.trust = Trust::unknown;
    }
  }
  return sum;
}

// Parts that a tensor is split into are different ones, others may be the same.
Amounts::Id brought_after(const Flow& flow, Amounts& amounts, const Edges::Edge& edge, Amounts::Id before) {
  const Amounts::Id whole = flow.size(edge.touch.tensor);
  if (before == whole) return whole;
  const Amounts::Id one = amounts.smaller(edge.touch.bytes, whole);
  if (edge.part) return amounts.smaller(amounts.add(before, one), whole);
  return one == whole || before == Amounts::kZero ? one : amounts.larger(before, one);
}

namespace {

void put_unfused(const Flow& flow, Amounts& amounts, Traffic& out) {
  Bytes bytes(flow, amounts, out);
  out.group.assign(flow.rows(), kNone);
  for (std::uint32_t row = 0; row < flow.rows(); ++row) {
    if (flow.reads(row).empty() && flow.writes(row).empty()) continue;
    out.group[row] = out.groups++;
    for (const Touch& touch : flow.reads(row)) bytes.add(row, false, touch.tensor, touch.bytes);
    for (const Touch& touch : flow.writes(row)) bytes.add(row, true, touch.tensor, touch.bytes);
  }
  bytes.finish();
}

// Where tensors are put together and the result is written, those that are made by other kernels are made in their
// place there: they are neither read nor written again.
void put_fused(const Flow& flow, const Kernels& kernels, const Edges& edges, Amounts& amounts, Traffic& out) {
  Bytes bytes(flow, amounts, out);
  const std::vector<Placed> placed = placed_in(flow, kernels, edges);
  const auto is_placed = [&](std::uint32_t row, std::uint32_t tensor) {
    const auto at = std::lower_bound(placed.begin(), placed.end(), Placed{row, tensor, Amounts::kZero});
    return at != placed.end() && at->row == row && at->tensor == tensor;
  };
  for (const Edges::Edge& edge : edges.reads) {
    if (!placed.empty() && is_placed(edge.row, edge.touch.tensor)) continue;
    bytes.add(edge.row, false, edge.touch.tensor, edge.touch.bytes);
  }
  for (const Edges::Edge& edge : edges.writes) {
    Amounts::Id left = edge.touch.bytes;
    auto at = std::lower_bound(placed.begin(), placed.end(), Placed{edge.row, 0, Amounts::kZero});
    for (; at != placed.end() && at->row == edge.row; ++at) left = amounts.subtract(left, at->bytes);
    bytes.add(edge.row, true, edge.touch.tensor, left);
  }
  bytes.finish();
}

// Whatever comes from outside is read as far as the kernel needs that takes the most of it, or all parts that kernels
// take; outputs are written once.
void put_minimum(const Flow& flow, const Edges& edges, Amounts& amounts, Traffic& out) {
  Bytes bytes(flow, amounts, out);
  std::vector<std::uint32_t> first(flow.values(), kNone), given;
  std::vector<Amounts::Id> most(flow.values(), Amounts::kZero);
  for (const Edges::Edge& edge : edges.reads) {
    const std::uint32_t tensor = edge.touch.tensor;
    if (!flow.is_given(tensor)) continue;
    if (first[tensor] == kNone) {
      first[tensor] = edge.row;
      given.push_back(tensor);
    }
    most[tensor] = brought_after(flow, amounts, edge, most[tensor]);
  }
  for (const std::uint32_t tensor : given) bytes.add(first[tensor], false, tensor, most[tensor]);
  for (std::uint32_t row = 0; row < flow.rows(); ++row) {
    for (const Touch& touch : flow.writes(row)) {
      const Duty duty = flow.duty(touch.tensor);
      if (!flow.leaves(touch.tensor) || (duty != Duty::output && duty != Duty::cache)) continue;
      bytes.add(row, true, touch.tensor, amounts.smaller(touch.bytes, flow.size(touch.tensor)));
    }
  }
  bytes.finish();
}

}  // namespace

/// What is followed once; kernels when they are first asked for.
struct Flows::Data {
  Data(Report from, std::optional<std::vector<std::string>> cache)
      : report(std::move(from)), flow(*report.data(), std::move(cache)) {
    for (std::size_t row = 0; row < flow.rows(); ++row) trust = std::max(trust, report.trust(row));
  }
  void find_kernels() const {
    std::call_once(once, [this] {
      amounts = flow.amounts();
      kernels = kernels_of(flow);
      edges = edges_of(flow, kernels, amounts);
    });
  }

  Report report;
  Flow flow;
  Trust trust = Trust::exact;
  mutable std::once_flag once;
  mutable Amounts amounts;  ///< those of edges, too
  mutable Kernels kernels;
  mutable Edges edges;
};

Flows::Flows(Report report, std::optional<std::vector<std::string>> cache)
    : data_(std::make_shared<const Data>(std::move(report), std::move(cache))) {}

Result<Traffic> Flows::traffic(Level level, std::int64_t capacity) const {
  if (level == Level::cached && capacity <= 0) {
    return Status(Code::bad_request,
                  "the capacity of a memory is a number of bytes above 0, not " + std::to_string(capacity));
  }
  Traffic out;
  out.level = level;
  out.trust = data_->trust;
  if (level == Level::unfused) {
    Amounts amounts = data_->flow.amounts();
    put_unfused(data_->flow, amounts, out);
    return out;
  }
  data_->find_kernels();
  Amounts amounts = data_->amounts;
  if (level == Level::minimum) {
    put_minimum(data_->flow, data_->edges, amounts, out);
    out.group.assign(data_->flow.rows(), kNone);
    return out;
  }
  if (level == Level::fused) {
    put_fused(data_->flow, data_->kernels, data_->edges, amounts, out);
  } else {
    out.capacity = capacity;
    put_cached(data_->flow, data_->kernels, data_->edges, amounts, out);
  }
  out.group = data_->kernels.group;
  out.groups = data_->kernels.count;
  return out;
}

Memory Flows::memory(const MemoryOptions& options) const { return memory_of(data_->flow, data_->report, options); }

bool Flows::saw_releases() const noexcept { return !data_->flow.found.released.empty(); }

}  // namespace macsim
