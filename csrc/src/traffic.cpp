// The four levels of traffic.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/traffic.hpp"

#include <algorithm>
#include <utility>

#include "flow.hpp"
#include "sum.hpp"

namespace macsim {

std::string_view name_of(Level level) noexcept {
  constexpr std::string_view kNames[] = {"unfused", "fused", "minimum", "cached"};
  return kNames[static_cast<std::size_t>(level)];
}
std::string_view name_of(Moved moved) noexcept {
  constexpr std::string_view kNames[] = {"read", "weights", "cache", "written"};
  return kNames[static_cast<std::size_t>(moved)];
}
std::string_view name_of(Duty part) noexcept {
  constexpr std::string_view kNames[] = {"input", "weight", "cache", "activation", "output"};
  return kNames[static_cast<std::size_t>(part)];
}

void Bytes::add(std::uint32_t row, bool written, const Touch& touch, const Count& bytes) {
  if (bytes.is(0)) return;
  const Duty part = flow_.duty(touch.tensor);
  const Moved moved = written                ? Moved::written
                      : part == Duty::weight ? Moved::weights
                      : part == Duty::cache  ? Moved::cache
                                             : Moved::read;
  auto& values = out_.columns[static_cast<std::size_t>(moved)];
  if (values.size() <= row) values.resize(row + 1);
  values[row] += bytes;
  if (!bytes.defined()) {
    out_.trust = Trust::unknown;
    return;
  }
  duties_[static_cast<std::size_t>(part)].add(bytes);
  totals_[static_cast<std::size_t>(moved)].add(bytes);
}

void Bytes::finish() {
  for (std::size_t m = 0; m < kMoved; ++m) out_.total[m] = totals_[m].take();
  for (std::size_t p = 0; p < kDuties; ++p) out_.duties[p] = duties_[p].take();
  const auto known = [](const Count& count) { return count.defined(); };
  if (!std::all_of(out_.total.begin(), out_.total.end(), known)) out_.trust = Trust::unknown;
}

namespace {

void put_unfused(const Flow& flow, Traffic& out) {
  Bytes bytes(flow, out);
  out.group.assign(flow.rows(), kNone);
  for (std::uint32_t row = 0; row < flow.rows(); ++row) {
    if (flow.reads(row).empty() && flow.writes(row).empty()) continue;
    out.group[row] = out.groups++;
    for (const Touch& touch : flow.reads(row)) bytes.add(row, false, touch, touch.bytes);
    for (const Touch& touch : flow.writes(row)) bytes.add(row, true, touch, touch.bytes);
  }
  bytes.finish();
}

void put_fused(const Flow& flow, const Edges& edges, Traffic& out) {
  Bytes bytes(flow, out);
  for (const Edges::Edge& edge : edges.reads) bytes.add(edge.row, false, edge.touch, edge.touch.bytes);
  for (const Edges::Edge& edge : edges.writes) bytes.add(edge.row, true, edge.touch, edge.touch.bytes);
  bytes.finish();
}

// Whatever comes from outside is read as far as the row needs that takes the most of it; outputs are written once.
void put_minimum(const Flow& flow, Traffic& out) {
  Bytes bytes(flow, out);
  out.group.assign(flow.rows(), kNone);
  struct Most {
    std::uint32_t row = kNone;
    Touch touch;
  };
  std::vector<Most> most(flow.values());
  for (std::uint32_t row = 0; row < flow.rows(); ++row) {
    for (const Touch& touch : flow.reads(row)) {
      if (!flow.is_given(touch.tensor)) continue;
      Most& held = most[touch.tensor];
      const Count& whole = flow.size(touch.tensor);
      if (held.row == kNone) {
        held = {row, touch};
      } else if (held.touch.bytes != whole) {
        held.touch.bytes = touch.bytes == whole ? whole : max(held.touch.bytes, touch.bytes);
      }
    }
  }
  for (const Most& one : most) {
    if (one.row != kNone) bytes.add(one.row, false, one.touch, min(one.touch.bytes, flow.size(one.touch.tensor)));
  }
  for (std::uint32_t row = 0; row < flow.rows(); ++row) {
    for (const Touch& touch : flow.writes(row)) {
      const Duty duty = flow.duty(touch.tensor);
      if (!flow.escapes(touch.tensor) || (duty != Duty::output && duty != Duty::cache)) continue;
      bytes.add(row, true, touch, min(touch.bytes, flow.size(touch.tensor)));
    }
  }
  bytes.finish();
}

}  // namespace

Result<Traffic> traffic(const Report& report, Level level, std::int64_t capacity) {
  if (level == Level::cached && capacity <= 0) {
    return Status(Code::bad_request,
                  "the capacity of a memory is a number of bytes above 0, not " + std::to_string(capacity));
  }
  const Flow flow(report.data());
  Traffic out;
  out.level = level;
  for (std::size_t row = 0; row < flow.rows(); ++row) out.trust = std::max(out.trust, report.trust(row));
  if (level == Level::unfused) {
    put_unfused(flow, out);
  } else if (level == Level::minimum) {
    put_minimum(flow, out);
  } else {
    Kernels kernels = kernels_of(flow);
    const Edges edges = edges_of(flow, kernels);
    if (level == Level::fused) {
      put_fused(flow, edges, out);
    } else {
      out.capacity = capacity;
      put_cached(flow, kernels, edges, out);
    }
    out.group = std::move(kernels.group);
    out.groups = kernels.count;
  }
  return out;
}

}  // namespace macsim
