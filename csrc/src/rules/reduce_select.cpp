// Looking for elements: medians, modes, places in order, running extremes.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "rules/aten.hpp"
#include "rules/gradient.hpp"
#include "rules/reduce.hpp"

namespace macsim::rules {

std::optional<std::int64_t> levels_of(const Dim& n) {
  const auto length = n.constant();
  if (!length) return std::nullopt;
  std::int64_t levels = 0;
  while (levels < 62 && (std::int64_t{1} << levels) < *length) ++levels;
  return levels;
}

namespace {

/// Hoare's FIND takes 2 (1 + ln 2) n = 3.39 n comparisons for a median, on the average, and fewer for other places:
/// D. E. Knuth, Mathematical analysis of algorithms, Proceedings of the IFIP Congress 1971.
Status cost_selection(const Call& c, Cost& cost) {
  cost[Work::compare] = floor_div(339 * numel(c.shape(0)), 100);
  cost.trust = Trust::estimate;
  cost.because =
      "what Hoare's FIND takes for a median on the average: Knuth, Mathematical analysis of algorithms, 1971";
  return {};
}

/// Sorted, then every element against the one before.
Status cost_runs(const Call& c, Cost& cost) {
  const Shape& x = c.shape(0);
  const bool along = c.has_attr("dim");
  const auto axis = axis_in(c.integer("dim", -1), std::max<std::size_t>(x.size(), 1));
  const Count n = along && axis && *axis < x.size() ? Count(x[*axis]) : numel(x);
  const bool sorted = !c.op().ends_with("_consecutive");
  const auto levels = sorted ? levels_of(n) : std::optional<std::int64_t>(0);
  cost.trust = Trust::bound;
  cost[Work::compare] = numel(x) * (levels ? Count(*levels + 1) : n);
  cost.because = !sorted  ? "a comparison each, with what is before it"
                 : levels ? "the most that a merge sort takes, and a comparison each"
                          : "each with each: n is a symbol";
  return {};
}

/// Halves of a row of n until one place is left.
Status cost_search(const Call& c, Cost& cost) {
  enum : std::size_t { kSorted = 0 };
  const Shape& sorted = c.shape(kSorted);
  const Dim n = sorted.empty() ? Dim(1) : sorted.back();
  const auto levels = levels_of(n + 1);
  cost[Work::compare] = numel(c.out_shape()) * (levels ? Count(*levels) : n);
  cost.trust = levels ? Trust::exact : Trust::bound;
  if (!levels) cost.because = "as if each place were looked at: their number is a symbol";
  return {};
}

template <bool Logarithms>
Status cost_running(const Call& c, Cost& cost) {
  const Shape& x = c.shape(0);
  const auto axis = axis_in(c.integer("dim", 0), x.size());
  const Count steps = axis ? folding(numel(x), numel(without(x, *axis))) : Count(0);
  cost[Work::compare] = steps;
  if (Logarithms) {
    cost[Work::exp] = cost[Work::log] = cost[Work::logic] = steps;
    cost[Work::add] = 3 * steps;
  }
  if (steps.is(0)) cost.moves("rows of one element at most");
  return {};
}

Status aten_found(const Call& c, Outputs& out) {
  out.set(0, c.dtype(0), c.shape(0));
  out.set(1, DType::i64, c.shape(0));
  return {};
}

Status cost_segments(const Call& c, Cost& cost) {
  const std::string_view how = c.text("reduce", "sum");
  const bool extreme = how == "max" || how == "min";
  cost[extreme ? Work::compare : how == "prod" ? Work::mul : Work::add] = numel(c.shape(0));
  if (how == "mean") cost[Work::div] = numel(c.out_shape());
  cost.trust = Trust::bound;
  cost.because = "how many segments are empty depends on data";
  return {};
}

/// The sums over all ways that a path can take: three terms at each step for each label and each blank between.
Status infer_paths(const Call& c, Outputs& out) {
  enum : std::size_t { kScores = 0, kTargets = 1 };
  const Shape &x = c.shape(kScores), &targets = c.shape(kTargets);
  if (!c.ranked(kScores) || x.size() < 2 || x.size() > 3) return {};
  Dim longest = targets.size() == 2 ? targets[1] : Dim::undefined();
  const Span<std::int64_t> lengths = c.integers("target_lengths");
  if (!lengths.empty()) longest = *std::max_element(lengths.begin(), lengths.end());
  if (!longest.defined()) longest = out.symbol("labels", "labels of the longest target");
  const Dim states = 2 * longest + 1;
  const bool batched = x.size() == 3;
  out.set(0, c.dtype(kScores), batched ? Shape{x[1]} : Shape());
  out.set(1, c.dtype(kScores), batched ? Shape{x[1], x[0], states} : Shape{x[0], states});
  return {};
}

Status cost_paths(const Call& c, Cost& cost) {
  const Count cells = numel(c.out_shape(1));
  cost[Work::compare] = 2 * cells;
  cost[Work::exp] = 3 * cells;
  cost[Work::log] = cells;
  cost[Work::add] = 7 * cells;  // less the largest 3, their sum 2, the largest and the score
  cost.trust = Trust::bound;
  cost.because = "as if every signal and every target were as long as the longest";
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// To the place of each result's element, added up where one is the result of several.
Status gradient_placed(const Call& c, Gradient& g) {
  if (c.op().find("cum") != std::string_view::npos) g[Work::add] = numel(c.out_shape());
  if (c.wants(1)) g.keep_output(1);
  if (g[Work::add].is(0)) g.cost.moves("moves data only");
  return {};
}

/// exp(x) times the running sum, from the other end, of dy exp(-y).
Status gradient_running_log(const Call& c, Gradient& g) {
  const Count n = numel(c.shape(0));
  add_each(g.cost, {{Work::exp, 2}, {Work::mul, 2}, {Work::logic, 1}}, n);
  g[Work::add] += g.run[Work::compare];
  estimated(g, "torch takes positive and negative gradients apart, by their logarithms, for small numbers' sake");
  g.keep(0);
  g.keep_output();
  return {};
}

/// A segment's gradient goes to all of it: of a mean its share, of an extreme to where it is.
Status gradient_segments(const Call& c, Gradient& g) {
  const std::string_view how = c.text("reduce", "sum");
  const Count n = numel(c.shape(0));
  if (how == "mean") g[Work::div] = numel(c.out_shape());
  if (how == "max" || how == "min") g[Work::compare] = g[Work::mul] = n;
  if (how == "prod") g[Work::mul] = g[Work::div] = n;
  if (how != "sum" && how != "mean") {
    g.keep(0);
    g.keep_output();
  }
  for (std::size_t i = 1; i < c.inputs(); ++i) g.none_at(i);
  if (how == "sum") g.cost.moves("moves data only");
  return {};
}

/// The same sums from the other end, and from both exp(x) - exp(alpha + beta - loss), summed at each label: A. Graves
/// et al. (2006), equation 16.
Status gradient_paths(const Call& c, Gradient& g) {
  enum : std::size_t { kScores = 0 };
  const Count cells = numel(c.out_shape(1)), n = numel(c.shape(kScores));
  g[Work::compare] = 2 * cells;
  g[Work::exp] = 4 * cells + n;
  g[Work::log] = cells;
  g[Work::add] = 9 * cells + n;
  g[Work::mul] = n;
  g.cost.trust = Trust::bound;
  g.cost.because = "as if every signal and every target were as long as the longest";
  g.keep(kScores);
  g.keep_output(0);
  g.keep_output(1);
  return {};
}

Status cost_segments_backward(const Call& c, Cost& cost) {
  enum : std::size_t { kDy = 0, kData = 2 };
  const std::string_view how = c.text("reduce", "sum");
  const Count n = numel(c.shape(kData));
  if (how == "mean") cost[Work::div] = numel(c.shape(kDy));
  if (how == "max" || how == "min") cost[Work::compare] = cost[Work::mul] = n;
  if (how == "prod") cost[Work::mul] = cost[Work::div] = n;
  if (how == "sum") cost.moves("moves data only");
  return {};
}

Status infer_like_scores(const Call& c, Outputs& out) {
  out.set(0, c.in(1));
  return {};
}

/// As `gradient_paths`, of a run's sums.
Status cost_paths_backward(const Call& c, Cost& cost) {
  enum : std::size_t { kScores = 1, kPaths = 4 };
  const Count cells = numel(c.shape(kPaths)), n = numel(c.shape(kScores));
  cost[Work::compare] = 2 * cells;
  cost[Work::exp] = 4 * cells + n;
  cost[Work::log] = cells;
  cost[Work::add] = 9 * cells + n;
  cost[Work::mul] = n;
  cost.trust = Trust::bound;
  cost.because = "as if every signal and every target were as long as the longest";
  return {};
}

Text page(std::string_view name) {
  return Text::joined({"https://docs.pytorch.org/docs/stable/generated/torch.", name, ".html"});
}

}  // namespace

std::vector<Rule> selection_rules() {
  std::vector<Rule> rules = {
      {"selection",
       "x",
       "The median, or the k-th element in order",
       "compare = 2(1 + ln 2)|x| = 3.39|x| (Knuth 1971, of Hoare's FIND): an estimate",
       page("median"),
       {},
       cost_selection,
       aten({"median", "nanmedian", "kthvalue"})},
      {"runs",
       "x",
       "The most frequent elements, or each of them once",
       "rows of n: compare = |x| (ceil(log2 n) + 1), where neighbours are compared |x|: a bound",
       page("mode"),
       {},
       cost_runs,
       aten({"mode", "_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"})},
      {"sorted_search",
       "sorted x",
       "Places in order",
       "n in order: compare = |y| ceil(log2(n + 1)); a symbol: n|y|, a bound",
       page("searchsorted"),
       {},
       cost_search,
       aten({"searchsorted"}) + aten({"bucketize"}, {}, "x sorted")},
      {"running_extreme",
       "x",
       "Running largest or smallest, and where it is",
       "r rows of n: compare = r(n - 1)",
       page("cummax"),
       {},
       cost_running<false>,
       aten({"cummax", "cummin"}, aten_found) + aten({"_cummax_helper", "_cummin_helper"})},
      {"running_log_sum",
       "x",
       "Running log(sum(exp(x)))",
       "r rows of n: compare = exp = log = logic = r(n - 1); add = 3r(n - 1)",
       page("logcumsumexp"),
       {},
       cost_running<true>,
       aten({"logcumsumexp", "_logcumsumexp"}, aten_same)},
      {"segments",
       "x",
       "Rows folded in segments",
       "add, mul or compare <= |x|; a mean: div = |y|",
       page("segment_reduce"),
       {},
       cost_segments,
       aten({"segment_reduce"}, {}, "x")},
      {"segments_backward",
       "dy y x",
       "The gradient of rows that were folded in segments",
       "mean: div = |dy|; extremes: compare = mul = |x|; products: mul = div = |x|",
       page("segment_reduce"),
       {},
       cost_segments_backward,
       aten({"_segment_reduce_backward"}),
       nullptr,
       gradient_like_run},
      {"ctc_loss_backward", "dy scores targets loss paths", "The gradient of the connectionist temporal classification",
       "cells of batch, steps and 2 labels + 1: compare 2, exp 4, log 1, add 9; exp = add = mul = |x|: a bound",
       page("nn.functional.ctc_loss"), infer_like_scores, cost_paths_backward,
       aten({"_ctc_loss_backward"}, infer_like_scores), nullptr, NoGradient{"torch has none of it"}},
      {"ctc_loss", "scores targets", "Connectionist temporal classification",
       "cells of batch, steps and 2 labels + 1: compare 2, exp 3, log 1, add 7: a bound",
       page("nn.functional.ctc_loss"), infer_paths, cost_paths, aten({"_ctc_loss"}, infer_paths, "scores targets")},
  };
  return with_gradients({{"selection", gradient_placed},
                         {"runs", gradient_placed},
                         {"sorted_search", NoGradient{"its results are no real numbers"}},
                         {"running_extreme", gradient_placed},
                         {"running_log_sum", gradient_running_log},
                         {"segments", gradient_segments},
                         {"ctc_loss", gradient_paths}},
                        std::move(rules));
}

}  // namespace macsim::rules
