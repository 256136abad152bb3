// Reductions: sums, means, extremes, positions of extremes, running sums.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/reduce.hpp"

#include <algorithm>
#include <string>

#include "rules/elementwise.hpp"
#include "rules/families.hpp"

namespace macsim::rules {
namespace {

// Which axes go, and whether they stay as 1. ------------------------------------------------------------------------

struct Axes {
  bool known = true;
  bool none = false;               // an empty list that means: do nothing
  std::vector<std::size_t> gone;   // sorted
};

Status read_axes(const Call& c, const Shape& x, Axes& out) {
  const IntList list = int_list(c, 1, "axes");
  if (!list.known) {
    out.known = false;
    return {};
  }
  if (list.values.empty()) {
    if (c.integer("noop_with_empty_axes", 0) != 0) {
      out.none = true;
      return {};
    }
    for (std::size_t i = 0; i < x.size(); ++i) out.gone.push_back(i);
    return {};
  }
  auto axes = axes_in(list.values, x.size());
  if (!axes) {
    if (!c.ranked(0)) return {};
    return bad("axes do not fit " + text(x));
  }
  out.gone = std::move(*axes);
  std::sort(out.gone.begin(), out.gone.end());
  return {};
}

bool is_gone(const Axes& axes, std::size_t axis) {
  return std::binary_search(axes.gone.begin(), axes.gone.end(), axis);
}

Shape reduced(const Shape& x, const Axes& axes, bool keep) {
  Shape y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!is_gone(axes, i)) {
      y.push_back(x[i]);
    } else if (keep) {
      y.push_back(1);
    }
  }
  return y;
}

// Contents. --------------------------------------------------------------------------------------------------------

using Fold = Scalar (*)(const Scalar&, const Scalar&);

Scalar fold_sum(const Scalar& a, const Scalar& b) { return a + b; }
Scalar fold_product(const Scalar& a, const Scalar& b) { return a * b; }
Scalar fold_max(const Scalar& a, const Scalar& b) { return Scalar::max(a, b); }
Scalar fold_min(const Scalar& a, const Scalar& b) { return Scalar::min(a, b); }

void reduce_contents(const Call& c, Outputs& out, const Axes& axes, Fold fold, bool mean) {
  const Shape& x = c.shape(0);
  if (!is_small(x)) return;
  const Contents* known = c.contents(0);
  const auto size = static_cast<std::size_t>(numel(x).constant().value_or(0));
  if (known == nullptr || known->items.size() != size || size == 0) return;
  const Shape kept = reduced(x, axes, true);
  const Broadcaster to(kept, x);
  const auto rows = static_cast<std::size_t>(numel(kept).constant().value_or(0));
  std::vector<Scalar> made(rows);
  std::vector<bool> started(rows, false);
  for (std::size_t n = 0; n < size; ++n) {
    const std::size_t row = to(n);
    made[row] = started[row] ? fold(made[row], known->items[n]) : known->items[n];
    started[row] = true;
  }
  if (mean) {
    const bool whole = class_of(c.dtype(0)) == DTypeClass::integer;
    for (Scalar& item : made) {
      item = item / Scalar::integer(static_cast<std::int64_t>(size / rows));
      if (whole && item.known()) item = Scalar::integer(item.truncated());
    }
  }
  out.know(0, {std::move(made), {}});
}

// Rows. ------------------------------------------------------------------------------------------------------------

InferFn infer_reduce(Fold fold, bool mean, DType dtype = DType::unknown) {
  return [fold, mean, dtype](const Call& c, Outputs& out) -> Status {
    const DType to = dtype == DType::unknown ? c.dtype(0) : dtype;
    const Shape& x = c.shape(0);
    const bool keep = c.integer("keepdims", 1) != 0;
    Axes axes;
    if (Status status = read_axes(c, x, axes); !status) {
      out.unranked(0, to);
      return status;
    }
    if (!axes.known) {
      const Type& list = c.in(1);
      const auto count = list.ranked && list.shape.size() == 1 ? list.shape.begin()->constant() : std::nullopt;
      if (keep) {  // each size stays or becomes 1
        out.set(0, to, Shape(x.size(), Dim::undefined()));
      } else if (count && *count >= 0 && *count <= static_cast<std::int64_t>(x.size())) {
        out.set(0, to, Shape(x.size() - static_cast<std::size_t>(*count), Dim::undefined()));
      } else {
        out.unranked(0, to);
      }
      return {};
    }
    if (axes.none) {
      out.set(0, to, x);
      return {};
    }
    out.set(0, to, reduced(x, axes, keep));
    if (fold != nullptr && c.ranked(0)) reduce_contents(c, out, axes, fold, mean);
    return {};
  };
}

/// Work of each element before the reduction, of the reduction itself, and of each result.
struct Steps {
  PerElement before;
  Work fold;
  PerElement after;
};

CostFn cost_reduce(Steps steps) {
  return [steps = std::move(steps)](const Call& c, Cost& cost) -> Status {
    const Count n = numel(c.shape(0)), rows = numel(c.out_shape());
    const IntList list = int_list(c, 1, "axes");
    if (list.known && list.values.empty() && c.integer("noop_with_empty_axes", 0) != 0) {
      add_each(cost, steps.before, n);
      add_each(cost, steps.after, rows);
      if (steps.before.empty() && steps.after.empty()) cost.free("no axes: the input as it is");
      return {};
    }
    add_each(cost, steps.before, n);
    // The first element of a row needs no operation; an empty row has none.
    if (n.is(0)) {
      cost.because = "an empty tensor";
    } else {
      cost[steps.fold] += n - rows;
    }
    add_each(cost, steps.after, rows);
    if (n == rows && steps.before.empty() && steps.after.empty()) cost.because = "rows of one element";
    return {};
  };
}

struct Reduction {
  const char* name;
  const char* op;
  const char* summary;
  const char* formula;
  Steps steps;
  Fold fold = nullptr;
  bool mean = false;
};

std::vector<Reduction> reductions() {
  using enum Work;
  return {
      {"reduce_sum", "ReduceSum", "Sum over axes", "add = |x| - |y|", {{}, add, {}}, fold_sum},
      {"reduce_mean",
       "ReduceMean",
       "Mean over axes",
       "add = |x| - |y|; div = |y|",
       {{}, add, {{div, 1}}},
       fold_sum,
       true},
      {"reduce_max", "ReduceMax", "Largest over axes", "compare = |x| - |y|", {{}, compare, {}}, fold_max},
      {"reduce_min", "ReduceMin", "Smallest over axes", "compare = |x| - |y|", {{}, compare, {}}, fold_min},
      {"reduce_prod", "ReduceProd", "Product over axes", "mul = |x| - |y|", {{}, mul, {}}, fold_product},
      {"reduce_l1", "ReduceL1", "Sum of magnitudes", "logic = |x|; add = |x| - |y|", {{{logic, 1}}, add, {}}},
      {"reduce_l2",
       "ReduceL2",
       "Root of the sum of squares",
       "mul = |x|; add = |x| - |y|; sqrt = |y|",
       {{{mul, 1}}, add, {{sqrt, 1}}}},
      {"reduce_sum_square", "ReduceSumSquare", "Sum of squares", "mul = |x|; add = |x| - |y|", {{{mul, 1}}, add, {}}},
      {"reduce_log_sum", "ReduceLogSum", "Logarithm of the sum", "add = |x| - |y|; log = |y|", {{}, add, {{log, 1}}}},
  };
}

// log(sum(exp(x - max))) + max.
Status cost_log_sum_exp(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(0)), rows = numel(c.out_shape());
  cost[Work::compare] = n - rows;
  cost[Work::add] = n + (n - rows) + rows;
  cost[Work::exp] = n;
  cost[Work::log] = rows;
  return {};
}

// ArgMax, ArgMin. --------------------------------------------------------------------------------------------------

Status infer_arg(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  const auto axis = axis_in(c.integer("axis", 0), x.size());
  if (!axis) {
    out.unranked(0, DType::i64);
    return c.ranked(0) ? bad("axis does not fit " + text(x)) : Status();
  }
  Axes axes;
  axes.gone.push_back(*axis);
  out.set(0, DType::i64, reduced(x, axes, c.integer("keepdims", 1) != 0));
  return {};
}

Status cost_arg(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.shape(0)) - numel(c.out_shape());
  if (cost[Work::compare].is(0)) cost.because = "rows of one element";
  return {};
}

// CumSum, CumProd. -------------------------------------------------------------------------------------------------

InferFn infer_running(Fold fold) {
  return [fold](const Call& c, Outputs& out) -> Status {
    const Shape& x = c.shape(0);
    out.set(0, c.dtype(0), x);
    if (!c.ranked(0) || x.size() != 1 || !is_small(x)) return {};
    const Contents* known = c.contents(0);
    if (known == nullptr) return {};
    const bool exclusive = c.integer("exclusive", 0) != 0, reverse = c.integer("reverse", 0) != 0;
    Contents running = *known;
    const std::size_t n = running.items.size();
    Scalar so_far;
    for (std::size_t step = 0; step < n; ++step) {
      const std::size_t i = reverse ? n - 1 - step : step;
      const Scalar item = known->items[i];
      const Scalar next = step == 0 ? item : fold(so_far, item);
      running.items[i] = exclusive ? (step == 0 ? Scalar::integer(fold == fold_sum ? 0 : 1) : so_far) : next;
      so_far = next;
    }
    out.know(0, std::move(running));
    return {};
  };
}

CostFn cost_running(Work kind) {
  return [kind](const Call& c, Cost& cost) -> Status {
    const Shape& x = c.shape(0);
    const auto axis = c.constants(1);
    const auto at = axis && axis->size() == 1 ? axis_in(axis->front(), x.size()) : std::nullopt;
    if (!at) {
      cost[kind] = numel(x);
      cost.trust = Trust::bound;
      cost.because = "the axis is not known: at most one operation an element";
      return {};
    }
    Shape rest = x;
    if (!rest.empty()) rest.erase(*at);
    cost[kind] = numel(x) - numel(rest);
    if (cost[kind].is(0)) cost.because = "rows of one element";
    return {};
  };
}

// TopK. ------------------------------------------------------------------------------------------------------------

Status infer_top_k(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  const auto axis = axis_in(c.integer("axis", -1), x.size());
  if (!axis && c.ranked(0)) return bad("axis does not fit " + text(x));
  Dim k = Dim::undefined();
  if (c.has(1)) {
    const auto known = c.ints(1);
    if (known && known->size() == 1) k = known->front();
  } else {
    k = c.integer("k", -1);
  }
  if (!k.defined()) k = out.symbol("k", "how many TopK keeps");
  Shape y = x;
  if (axis) y[*axis] = k;
  out.set(0, c.dtype(0), y);
  out.set(1, DType::i64, std::move(y));
  return {};
}

Status cost_top_k(const Call& c, Cost& cost) {
  // A heap of k: every element is compared with its root, and may sink ceil(log2(k + 1)) levels of two compares.
  const Shape& x = c.shape(0);
  const auto axis = axis_in(c.integer("axis", -1), x.size());
  const Dim k = axis ? c.out_shape()[*axis] : Dim::undefined();
  std::int64_t levels = 1;
  if (const auto known = k.constant()) {
    while (levels < 62 && (std::int64_t{1} << levels) < *known + 1) ++levels;
    cost.trust = Trust::bound;
    cost.because = "a heap of k elements: |x| * (1 + 2*ceil(log2(k + 1))) compares at most";
  } else {
    cost.trust = Trust::estimate;
    cost.because = "k is not known: taken as 1";
  }
  cost[Work::compare] = numel(x) * (1 + 2 * levels);
  return {};
}

Rule row(std::string name, std::string slots, std::string summary, std::string formula, std::string_view op,
         InferFn infer, CostFn cost) {
  return element_row(std::move(name), std::move(slots), std::move(summary), std::move(formula), onnx_page(op),
                     std::move(infer), std::move(cost), onnx({op}));
}

}  // namespace

std::vector<Rule> reduce_family() {
  std::vector<Rule> rules;
  for (Reduction& r : reductions()) {
    rules.push_back(row(r.name, "x #axes", r.summary, r.formula, r.op, infer_reduce(r.fold, r.mean),
                        cost_reduce(std::move(r.steps))));
  }
  rules.push_back(row("reduce_log_sum_exp", "x #axes", "Logarithm of the sum of exponentials",
                      "compare = |x| - |y|; add = 2|x|; exp = |x|; log = |y|", "ReduceLogSumExp",
                      infer_reduce(nullptr, false), cost_log_sum_exp));
  rules.push_back(element_row("reduce_sum_integer", "x", "Sum of small integers over axes", "add = |x| - |y|",
                              std::string(kContribPage), infer_reduce(nullptr, false, DType::i32),
                              cost_reduce({{}, Work::add, {}}), microsoft({"ReduceSumInteger"})));
  rules.push_back(row("arg_max", "x", "Position of the largest", "compare = |x| - |y|", "ArgMax", infer_arg, cost_arg));
  rules.push_back(
      row("arg_min", "x", "Position of the smallest", "compare = |x| - |y|", "ArgMin", infer_arg, cost_arg));
  rules.push_back(row("cum_sum", "x #axis", "Running sum", "add = |x| - |x|/n, n the axis", "CumSum",
                      infer_running(fold_sum), cost_running(Work::add)));
  rules.push_back(row("cum_prod", "x #axis", "Running product", "mul = |x| - |x|/n, n the axis", "CumProd",
                      infer_running(fold_product), cost_running(Work::mul)));
  rules.push_back(row("top_k", "x #k", "The k largest or smallest, and where they are",
                      "compare = |x| * (1 + 2*ceil(log2(k + 1))), a bound", "TopK", infer_top_k, cost_top_k));
  append_softmax(rules);
  return rules;
}

}  // namespace macsim::rules
