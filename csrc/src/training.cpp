// One step of training: the backward pass, recomputation, the optimiser, and the memory that they need.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/training.hpp"

#include <utility>

#include "backward.hpp"
#include "rules/support.hpp"

namespace macsim {

bool fits(std::string_view pattern, std::string_view text) noexcept {
  std::size_t p = 0, t = 0, star = std::string_view::npos, from = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string_view name_of(Optimizer optimizer) noexcept {
  constexpr std::string_view kNames[] = {"none", "sgd", "momentum", "adam", "adamw", "adam8bit"};
  return kNames[static_cast<std::size_t>(optimizer)];
}

namespace {

// States of fewer elements than this stay in 32 bits, and larger ones have a scale for each block: bitsandbytes.
constexpr std::int64_t kLeastQuantised = 4096, kBlock = 256;

struct Step {
  Cost cost;
  Count states;  // bytes
};

/// m += (1 - b1)(g - m); v = b2 v + (1 - b2) g g; p -= step m / (sqrt(v) / correction + eps), with decay p *= 1 - rate.
void adam_work(Cost& cost, const Count& n, bool decays) {
  cost[Work::add] = 5 * n;
  cost[Work::mul] = (decays ? 6 : 5) * n;
  cost[Work::div] = 2 * n;
  cost[Work::sqrt] = n;
}

Step step_of(const Trained& p, const TrainingOptions& options) {
  Step out;
  const Count& n = p.elements;
  const DType kept = options.master ? DType::f32 : p.type.dtype;
  const Count state = rules::bytes(kept, n);
  Count copies = 0;  // states that are read and written
  switch (options.optimizer) {
    case Optimizer::none:
      return out;
    case Optimizer::sgd:  // p -= rate g
      out.cost[Work::mul] = out.cost[Work::add] = n;
      break;
    case Optimizer::momentum:  // v = m v + g; p -= rate v
      out.cost[Work::mul] = out.cost[Work::add] = 2 * n;
      copies = state;
      break;
    case Optimizer::adam:
    case Optimizer::adamw:
      adam_work(out.cost, n, options.optimizer == Optimizer::adamw);
      copies = 2 * state;
      break;
    case Optimizer::adam8bit:
      adam_work(out.cost, n, false);
      if (n.constant() && *n.constant() < kLeastQuantised) {
        copies = 2 * rules::bytes(DType::f32, n);
        break;
      }
      // Each state is looked up and scaled; its blocks' largest magnitudes are found, and it is divided and rounded.
      out.cost[Work::convert] = 4 * n;
      out.cost[Work::mul] += 2 * n;
      out.cost[Work::logic] = 2 * n;
      out.cost[Work::compare] = 2 * n;
      out.cost[Work::div] += 2 * n;
      copies = 2 * n + 2 * rules::bytes(DType::f32, ceil_div(n, kBlock));
      break;
  }
  out.states = copies;
  out.cost.read = p.bytes + copies;  // the gradient
  out.cost.written = copies;
  if (options.master && kept != p.type.dtype) {
    out.states += state;
    out.cost[Work::convert] += 2 * n;  // the gradient to 32 bits, the parameter back
    out.cost.weights = state;
    *out.cost.written += state + p.bytes;
  } else {
    out.cost.weights = p.bytes;
    *out.cost.written += p.bytes;
  }
  return out;
}

void add(Total& total, const Cost& cost) {
  for (std::size_t w = 0; w < kWorks; ++w) {
    total.sum[w] += cost.work[w];
    const auto kind = static_cast<Work>(w);
    if (kind != Work::logic && kind != Work::convert) total.flops += cost.work[w];
  }
  const auto put = [&](Column column, const std::optional<Count>& bytes) {
    total.sum[static_cast<std::size_t>(column)] += bytes.value_or(0);
  };
  put(Column::read, cost.read);
  put(Column::weights, cost.weights);
  put(Column::written, cost.written);
}

// A report with the rows of another, and other numbers.
Report with(const Report& report, Ledger& ledger) {
  auto data = std::make_shared<Report::Data>(*report.data());
  data->columns = std::move(ledger.columns);
  data->trust = std::move(ledger.trust);
  data->because = std::move(ledger.because);
  if (!data->bound.empty()) {
    for (auto& column : data->columns) {
      for (Count& count : column) count = count.bind(data->bound);
    }
  }
  return Report(std::move(data));
}

void put_sizes(std::vector<HeldInStep>& held, const Bindings& sizes) {
  for (HeldInStep& one : held) {
    one.bytes = one.bytes.bind(sizes);
    for (Dim& dim : one.type.shape) dim = dim.bind(sizes);
  }
}

}  // namespace

Training training(const Report& report, const TrainingOptions& options) {
  Backward pass(report, *report.data()->found, options);
  pass.run();
  const Bindings& bound = report.data()->bound;
  Training out{report, with(report, pass.gradients), with(report, pass.again), {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
  out.weights = report.weight_bytes().bind(bound);
  out.saved = pass.saved.bind(bound);
  out.recomputed = pass.recomputed.bind(bound);
  for (Trained& one : pass.trained) {
    one.elements = one.elements.bind(bound);
    one.bytes = one.bytes.bind(bound);
    const Step step = step_of(one, options);
    add(out.optimizer, step.cost);
    ++out.optimizer.rows;
    out.gradients += one.bytes;
    out.states += step.states;
    out.parameters.push_back(std::move(one));
  }
  out.unmatched = std::move(pass.unmatched);
  out.moments = std::move(pass.moments);
  out.held = std::move(pass.lives);
  if (!bound.empty()) put_sizes(out.held, bound);
  return out;
}

Result<Training> Training::bind(const Bindings& sizes) const {
  auto run = forward.bind(sizes), back = backward.bind(sizes), again = recompute.bind(sizes);
  for (const auto* one : {&run, &back, &again}) {
    if (!*one) return Status(one->status().code(), std::string(one->status().text()));
  }
  Training out{*run, *back, *again, parameters, optimizer, {}, {}, {}, {}, {}, unmatched, moments, held};
  for (Trained& one : out.parameters) {
    one.elements = one.elements.bind(sizes);
    one.bytes = one.bytes.bind(sizes);
  }
  for (Count& count : out.optimizer.sum) count = count.bind(sizes);
  out.optimizer.flops = optimizer.flops.bind(sizes);
  out.weights = weights.bind(sizes);
  out.gradients = gradients.bind(sizes);
  out.states = states.bind(sizes);
  out.saved = saved.bind(sizes);
  out.recomputed = recomputed.bind(sizes);
  put_sizes(out.held, sizes);
  return out;
}

}  // namespace macsim
