// Operators that go along one axis: positions of extremes, running sums, the k largest.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <string>

#include "rules/aten.hpp"
#include "rules/gradient.hpp"
#include "rules/reduce.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

// Numbers without symbols; nullopt when any is not.
std::optional<std::vector<double>> numbers_of(const Contents& contents) {
  std::vector<double> numbers;
  numbers.reserve(contents.items.size());
  for (const Scalar& item : contents.items) {
    const auto value = item.constant();
    if (!value) return std::nullopt;
    numbers.push_back(*value);
  }
  return numbers;
}

Scalar position(std::size_t i) { return Scalar::integer(static_cast<std::int64_t>(i)); }

Status aten_folded(const Call& c, Cost& cost) {
  cost[Work::compare] = folding(numel(c.shape(0)), numel(c.out_shape()));
  if (cost[Work::compare].is(0)) cost.moves("rows of one element at most");
  return {};
}

Status aten_positions(const Call& c, Outputs& out) { return aten_reduced_to(c, out, DType::i64); }

template <Work W>
Status aten_running(const Call& c, Cost& cost) {
  const Shape& x = c.shape(0);
  const auto axis = axis_in(c.integer("dim", 0), x.size());
  if (axis) cost[W] = folding(numel(x), numel(without(x, *axis)));
  if (cost[W].is(0)) cost.moves("rows of one element at most");
  return {};
}

// ArgMax, ArgMin. --------------------------------------------------------------------------------------------------

void find_extremes(const Call& c, Outputs& out, std::size_t axis) {
  const Contents* known = elements_of(c, 0);
  const auto x = known != nullptr ? numbers_of(*known) : std::nullopt;
  if (!x || x->empty()) return;
  const bool largest = c.op() == "ArgMax", last = c.integer("select_last_index", 0) != 0;
  const Runs runs = runs_of(c.shape(0), axis);
  Contents found;
  for (std::size_t run = 0; run < runs.count(); ++run) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < runs.length; ++i) {
      const double one = (*x)[runs.place(run, i)], other = (*x)[runs.place(run, best)];
      if (one == other ? last : (one > other) == largest) best = i;
    }
    found.items.push_back(position(best));
  }
  out.know(0, std::move(found));
}

Status infer_arg(const Call& c, Outputs& out) {
  const Shape& x = c.shape(0);
  const auto axis = axis_in(c.integer("axis", 0), x.size());
  if (!axis) {
    out.unranked(0, DType::i64);
    return c.ranked(0) ? bad("the axis does not fit " + text(x)) : Status();
  }
  Shape y = x;
  if (c.integer("keepdims", 1) != 0) {
    y[*axis] = 1;
  } else {
    y.erase(*axis);
  }
  out.set(0, DType::i64, std::move(y));
  find_extremes(c, out, *axis);
  return {};
}

Status cost_arg(const Call& c, Cost& cost) {
  cost[Work::compare] = folding(numel(c.shape(0)), numel(c.out_shape()));
  if (cost[Work::compare].is(0)) cost.moves("rows of one element at most");
  return {};
}

// CumSum, CumProd. -------------------------------------------------------------------------------------------------

enum : std::size_t { kX, kAxis };

std::optional<std::size_t> running_axis(const Call& c) {
  const auto axis = single(c, kAxis).constant();
  return axis ? axis_in(*axis, c.shape(kX).size()) : std::nullopt;
}

Status infer_running(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kX), c.shape(kX));
  const Contents* known = elements_of(c, kX);
  const auto axis = known != nullptr ? running_axis(c) : std::nullopt;
  if (!axis) return {};
  const bool sums = c.op() == "CumSum", exclusive = c.integer("exclusive", 0) != 0;
  const bool backwards = c.integer("reverse", 0) != 0;
  const Runs runs = runs_of(c.shape(kX), *axis);
  Contents running = *known;
  for (std::size_t run = 0; run < runs.count(); ++run) {
    Scalar so_far = Scalar::integer(sums ? 0 : 1);
    for (std::size_t step = 0; step < runs.length; ++step) {
      const std::size_t place = runs.place(run, backwards ? runs.length - 1 - step : step);
      const Scalar& item = known->items[place];
      const Scalar next = sums ? so_far + item : so_far * item;
      running.items[place] = exclusive ? so_far : next;
      so_far = next;
    }
  }
  out.know(0, std::move(running));
  return {};
}

Status aten_running_shape(const Call& c, Outputs& out) {
  out.set(0, sum_of(c), c.shape(kX));
  return {};
}

CostFn cost_running(Work kind) {
  return [kind](const Call& c, Cost& cost) -> Status {
    const Shape& x = c.shape(kX);
    const auto axis = running_axis(c);
    if (!axis) {
      cost[kind] = numel(x);
      cost.trust = Trust::bound;
      cost.because = "the axis is not known: at most one operation an element";
      return {};
    }
    // Of a row of n, the first result is the first element; an exclusive row starts with a 0 or 1 before it.
    const Dim& n = x[*axis];
    const std::int64_t given = c.integer("exclusive", 0) != 0 ? 2 : 1;
    cost[kind] = numel(without(x, *axis)) * (n.is_constant() || given == 2 ? max(n - given, 0) : n - given);
    if (cost[kind].is(0)) cost.moves("rows so short that nothing is computed");
    return {};
  };
}

// TopK. ------------------------------------------------------------------------------------------------------------

enum : std::size_t { kK = 1 };

void pick_best(const Call& c, Outputs& out, std::size_t axis, const Dim& k) {
  const Contents* known = elements_of(c, kX);
  const auto x = known != nullptr ? numbers_of(*known) : std::nullopt;
  const auto best = k.constant();
  if (!x || !best) return;
  const bool largest = c.integer("largest", 1) != 0;
  const Runs runs = runs_of(c.shape(kX), axis);
  const Runs kept{runs.outer, static_cast<std::size_t>(*best), runs.inner};
  Contents values{std::vector<Scalar>(kept.count() * kept.length), {}}, positions = values;
  std::vector<std::size_t> order(runs.length);
  for (std::size_t run = 0; run < runs.count(); ++run) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
      const double a = (*x)[runs.place(run, i)], b = (*x)[runs.place(run, j)];
      return largest ? a > b : a < b;
    });
    for (std::size_t i = 0; i < kept.length; ++i) {
      values.items[kept.place(run, i)] = known->items[runs.place(run, order[i])];
      positions.items[kept.place(run, i)] = position(order[i]);
    }
  }
  out.know(0, std::move(values));
  out.know(1, std::move(positions));
}

Status infer_top_k(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const auto axis = axis_in(c.integer("axis", -1), x.size());
  Dim k = c.has(kK) ? single(c, kK) : Dim(c.integer("k", -1));
  if (!k.defined()) k = out.symbol("k", "how many elements TopK keeps");
  const bool fits = axis && at_least(k, 0) != Truth::no && at_least(x[*axis], k) != Truth::no;
  if (!fits) {
    out.unranked(0, c.dtype(kX));
    out.unranked(1, DType::i64);
    if (!c.ranked(kX)) return {};
    return axis ? bad("there are no " + k.str() + " elements along axis " + std::to_string(*axis) + " of " + text(x))
                : bad("the axis does not fit " + text(x));
  }
  Shape y = x;
  y[*axis] = k;
  out.set(0, c.dtype(kX), y);
  out.set(1, DType::i64, std::move(y));
  pick_best(c, out, *axis, k);
  return {};
}

Status cost_top_k(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const auto axis = axis_in(c.integer("axis", -1), x.size());
  if (!axis) {
    cost.moves("one element: moves data only");
    return {};
  }
  const Dim& k = c.out_shape()[*axis];
  cost.trust = Trust::bound;
  cost.because = "the k found one after the other, or by a heap of k, at worst";
  // A heap of k: every element is compared with its root and may sink, and k are taken out, by 2 compares a level.
  const std::int64_t most = k.constant().value_or(0);
  std::int64_t levels = 0;
  while (levels < 62 && (std::int64_t{1} << levels) <= most) ++levels;
  if (most > 2 + 2 * levels) {
    cost[Work::compare] = numel(x) * (2 + 2 * levels);
  } else {
    work::top_k(cost, numel(without(x, *axis)), x[*axis], k);
  }
  return {};
}

/// Comparisons of a merge sort.
Status cost_sort(const Call& c, Cost& cost) {
  const Shape& x = c.shape(0);
  const auto axis = axis_in(c.integer("dim", c.op() == "msort" ? 0 : -1), std::max<std::size_t>(x.size(), 1));
  const auto levels = levels_of(axis && *axis < x.size() ? x[*axis] : Dim(1));
  if (!levels) {
    const Dim& n = x[*axis];
    cost[Work::compare] = numel(without(x, *axis)) * floor_div(n * (n - 1), 2);
    cost.trust = Trust::bound;
    cost.because = "as if every element met every other; the length is a symbol";
    return {};
  }
  cost[Work::compare] = numel(x) * *levels;
  if (*levels == 0) {
    cost.moves("rows of one element at most");
  } else {
    cost.trust = Trust::bound;
    cost.because = "the most that a merge sort takes";
  }
  return {};
}

Status aten_places(const Call& c, Outputs& out) {
  out.set(0, DType::i64, c.shape(0));
  return {};
}

Status aten_ordered(const Call& c, Outputs& out) {
  out.set(0, c.dtype(0), c.shape(0));
  out.set(1, DType::i64, c.shape(0));
  return {};
}

Status aten_histc(const Call& c, Outputs& out) {
  out.set(0, c.dtype(0), {Dim(c.integer("bins", 100))});
  return {};
}

Status cost_histogram(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(0));
  cost[Work::add] = n;
  if (c.op() == "histc") cost[Work::div] = cost[Work::convert] = n;
  return {};
}

/// Bins between edges, given as a tensor, or so many of one width: of points with as many numbers as there are axes.
enum : std::size_t { kPoints = 0, kEdges };

Status infer_histogram(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kPoints);
  Dim bins = c.integer("bins", -1);
  if (c.has(kEdges)) {
    if (c.shape(kEdges).size() != 1) return {};
    bins = c.shape(kEdges)[0] - 1;
  }
  out.set(0, dtype, {bins});
  out.set(1, dtype, {bins + 1});
  return {};
}

Status infer_histogram_of_points(const Call& c, Outputs& out) {
  Shape y;
  for (const std::int64_t bins : c.integers("bins")) y.push_back(bins);
  for (std::size_t i = kEdges; c.integers("bins").empty() && i < c.inputs(); ++i) {
    if (c.given(i) && c.shape_at(i).size() == 1) y.push_back(c.shape_at(i)[0] - 1);
  }
  out.set(0, c.dtype(kPoints), std::move(y));
  return {};
}

Status cost_bins(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kPoints);
  const bool points = c.op() != "histogram";
  const Count numbers = numel(x), bins = numel(c.out_shape());
  cost[Work::add] = points ? numel(x, 0, x.empty() ? 0 : x.size() - 1) : numbers;
  const bool even = c.has_attr("bins");
  if (even) {
    cost[Work::div] = cost[Work::convert] = numbers;
  } else {
    const Count rows = points ? cost[Work::add] : numbers;
    for (const Dim& size : c.out_shape()) {
      const auto levels = levels_of(size + 2);  // of its edges, and where beyond them
      cost[Work::compare] += rows * (levels ? Count(*levels) : size + 1);
      if (levels) continue;
      cost.trust = Trust::bound;
      cost.because = "as if each edge were looked at: their number is a symbol";
    }
  }
  if (c.integer("density", 0) != 0) {  // by the sum, and by the widths
    cost[Work::add] += bins - 1;
    cost[Work::div] += 2 * bins;
  }
  return {};
}

/// Back to where the elements were.
Status gradient_ordered(const Call& c, Gradient& g) {
  if (c.outputs() > 1) g.keep_output(1);
  g.cost.moves("moves data only");
  return {};
}

/// A running sum from the other end.
Status gradient_running(const Call&, Gradient& g) {
  g[Work::add] = g.run[Work::add];
  return {};
}

/// Where nothing is 0: the running sum, from the other end, of dy y, over x.
Status gradient_running_product(const Call& c, Gradient& g) {
  const Count n = numel(c.shape(0));
  g[Work::mul] = g[Work::div] = n;
  g[Work::add] = g.run[Work::mul];
  g.keep(0);
  g.keep_output();
  estimated(g, "as if no element were 0: those after one take another way");
  return {};
}

}  // namespace

std::vector<Rule> running_rules() {
  std::vector<Rule> rules = {
      {"sort",
       "x",
       "Elements in order along an axis, and where they were",
       "compare = |x| * ceil(log2 n) for rows of n, a bound",
       "https://docs.pytorch.org/docs/stable/generated/torch.sort.html",
       {},
       cost_sort,
       aten({"sort"}, aten_ordered, "x") + aten({"argsort"}, aten_places, "x") + aten({"msort"}, aten_same, "x"),
       nullptr,
       gradient_ordered},
      {"histogram",
       "x edges weights",
       "How many elements fall where",
       "add = one an element or point; bins of one width: div = convert = |x|; between n edges: compare = |x| "
       "ceil(log2(n + 1)); density: add = bins - 1, div = 2 bins",
       "https://docs.pytorch.org/docs/stable/generated/torch.bincount.html",
       {},
       cost_histogram,
       aten({"bincount"}, {}, "x weights") + aten({"histc"}, aten_histc, "x") +
           aten({"histogram"}, infer_histogram, "x edges weights", {}, cost_bins) +
           aten({"_histogramdd_from_bin_cts"}, infer_histogram_of_points, "x weights", {}, cost_bins) +
           aten({"_histogramdd_from_bin_tensors"}, infer_histogram_of_points, "x bins...", {}, cost_bins)},
      {"arg_max", "x", "Position of the largest along an axis", "compare = |x| - |y|", onnx_page("ArgMax"), infer_arg,
       cost_arg, onnx({"ArgMax"}) + aten({"argmax"}, aten_positions, {}, {}, aten_folded)},
      {"arg_min", "x", "Position of the smallest along an axis", "compare = |x| - |y|", onnx_page("ArgMin"), infer_arg,
       cost_arg, onnx({"ArgMin"}) + aten({"argmin"}, aten_positions, {}, {}, aten_folded)},
      {"cum_sum", "x #axis", "Running sum along an axis", "r rows of n: add = r*(n - 1); exclusive: r*(n - 2)",
       onnx_page("CumSum"), infer_running, cost_running(Work::add),
       onnx({"CumSum"}) + aten({"cumsum"}, aten_running_shape, "x", {}, aten_running<Work::add>), nullptr,
       gradient_running},
      {"cum_prod", "x #axis", "Running product along an axis", "r rows of n: mul = r*(n - 1); exclusive: r*(n - 2)",
       onnx_page("CumProd"), infer_running, cost_running(Work::mul),
       onnx({"CumProd"}) + aten({"cumprod"}, aten_running_shape, "x", {}, aten_running<Work::mul>)},
      {"top_k", "x #k", "The k largest or smallest along an axis, and where they are",
       "r rows of n: compare = r*(k*n - k*(k + 1)/2), of many (a constant k): |x| * (2 + 2*ceil(log2(k + 1))); a bound",
       onnx_page("TopK"), infer_top_k, cost_top_k, onnx({"TopK"}) + aten({"topk"}, infer_top_k, {}, "dim=axis"),
       nullptr, gradient_ordered},
  };
  return with_gradients({{"cum_prod", gradient_running_product}},
                        without_gradients("its results are no real numbers", std::move(rules)));
}

}  // namespace macsim::rules
