// Softmax and its kin, and the losses that take the logarithm of one.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "rules/aten.hpp"
#include "rules/gradient.hpp"
#include "rules/reduce.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

// Rows that are normalised together. -------------------------------------------------------------------------------

struct Rows {
  Count count, length;
};

// Before version 13, and in com.microsoft, all axes from `axis` on are one row.
Status rows_of(const Call& c, Rows& out) {
  const Shape& x = c.shape(0);
  if (!c.ranked(0)) return {};
  const bool joined = c.dialect() == "com.microsoft" || (c.dialect() == "onnx" && c.version() < 13);
  const std::int64_t given = c.integer("axis", joined ? 1 : -1);
  const bool scalar = c.dialect() == "aten" && x.empty();  // torch takes it for a row of one element
  const auto axis = axis_in(given, scalar ? 1 : x.size());
  if (scalar && axis) {
    out = {1, 1};
  } else if (joined && (axis || given == static_cast<std::int64_t>(x.size()))) {
    const std::size_t from = axis.value_or(x.size());
    out = {numel(x, 0, from), numel(x, from)};
  } else if (axis) {
    out = {numel(without(x, *axis)), x[*axis]};
  } else {
    return bad("axis " + std::to_string(given) + " does not fit " + text(x));
  }
  return {};
}

Status infer_rows(const Call& c, Outputs& out) {
  out.set(0, c.dtype(0), c.shape(0));
  Rows rows;
  return rows_of(c, rows);
}

// In the dtype that is asked for.
Status aten_stated(const Call& c, Outputs& out) {
  const DType stated = dtype_named(c.text("dtype", ""));
  out.set(0, stated != DType::unknown ? stated : real_of(c.dtype(0)), c.shape(0));
  return {};
}

Status cost_softmax(const Call& c, Cost& cost) {
  Rows rows;
  if (Status status = rows_of(c, rows); !status) return status;
  work::softmax(cost, rows.count, rows.length);
  if (c.dialect() == "com.microsoft") cost[Work::add] += numel(c.shape(0));  // BiasSoftmax
  return {};
}

// x - max - log(sum(exp(x - max))).
void log_softmax(Cost& cost, const Count& rows, const Count& length) {
  const Count n = rows * length;
  cost[Work::compare] += folding(n, rows);
  cost[Work::add] += n + folding(n, rows) + n;
  cost[Work::exp] += n;
  cost[Work::log] += rows;
}

/// What is hidden by a mask gets no share.
Status cost_masked_softmax(const Call& c, Cost& cost) {
  cost[Work::logic] = numel(c.shape(0));
  return cost_softmax(c, cost);
}

/// Of a sparse tensor the elements that are stored take part.
CostFn as_if_stored(const CostFn& plain) {
  return [plain](const Call& c, Cost& cost) {
    cost.trust = Trust::bound;
    cost.because = "as if all elements were stored";
    return plain(c, cost);
  };
}

Status cost_log_softmax(const Call& c, Cost& cost) {
  Rows rows;
  if (Status status = rows_of(c, rows); !status) return status;
  log_softmax(cost, rows.count, rows.length);
  return {};
}

Status cost_hardmax(const Call& c, Cost& cost) {
  Rows rows;
  if (Status status = rows_of(c, rows); !status) return status;
  cost[Work::compare] = folding(numel(c.shape(0)), rows.count);
  if (cost[Work::compare].is(0)) cost.moves("rows of one element at most");
  return {};
}

// Losses. ----------------------------------------------------------------------------------------------------------

enum : std::size_t { kScores, kTarget, kWeight };

Status infer_loss(const Call& c, Outputs& out) {
  const Shape& scores = c.shape(kScores);
  const DType dtype = c.dtype(kScores);
  if (c.ranked(kScores) && scores.size() < 2) {
    out.unranked(0, dtype);
    out.set(1, dtype, scores);
    return bad("the scores need an axis of classes: " + text(scores));
  }
  if (Status status = one_of(c, "reduction", {"mean", "sum", "none"}); !status) {
    out.unranked(0, dtype);
    out.set(1, dtype, scores);
    return status;
  }
  const bool each = c.text("reduction", "mean") == "none";
  out.set(0, dtype, each ? without(scores, 1) : Shape());
  out.set(1, dtype, scores);  // logarithms of probabilities, of SoftmaxCrossEntropyLoss
  return {};
}

// Of each target: the chosen score with its sign turned, times the weight of its class; then sum and mean. A class that
// is ignored is compared with, and left out of the mean as by a weight of 0.
void add_loss(const Call& c, Cost& cost) {
  const Count targets = numel(without(c.shape(kScores), 1));
  const bool weighted = c.has(kWeight), ignores = c.has_attr("ignore_index");
  const std::string_view reduction = c.text("reduction", "mean");
  cost[Work::logic] += ignores ? 2 * targets : targets;
  if (ignores) cost[Work::compare] += targets;
  if (weighted) cost[Work::mul] += targets;
  if (reduction == "none") return;
  cost[Work::add] += folding(targets, 1);
  if (reduction == "sum") return;
  cost[Work::div] += 1;
  if (weighted || ignores) cost[Work::add] += folding(targets, 1);
}

Status cost_nll(const Call& c, Cost& cost) {
  add_loss(c, cost);
  work::Reads reads(c);
  reads.part(kScores, numel(without(c.shape(kScores), 1))).all(kTarget).all(kWeight).into(cost);
  return {};
}

Status cost_cross_entropy(const Call& c, Cost& cost) {
  const Shape& scores = c.shape(kScores);
  log_softmax(cost, numel(without(scores, 1)), scores[1]);
  add_loss(c, cost);
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// y (dy - sum(dy y)).
Status gradient_softmax(const Call& c, Gradient& g) {
  Rows rows;
  if (Status status = rows_of(c, rows); !status) return status;
  const Count n = rows.count * rows.length;
  g[Work::mul] = 2 * n;
  g[Work::add] = folding(n, rows.count) + n;
  g.keep_output();
  return {};
}

/// The same; a bias that was spread sums it.
Status gradient_bias_softmax(const Call& c, Gradient& g) {
  if (Status status = gradient_softmax(c, g); !status) return status;
  if (g.needs(1)) add_spread(g, c.out_shape(), c.shape(1));
  return {};
}

/// dy - exp(y) sum(dy).
Status gradient_log_softmax(const Call& c, Gradient& g) {
  Rows rows;
  if (Status status = rows_of(c, rows); !status) return status;
  const Count n = rows.count * rows.length;
  g[Work::exp] = g[Work::mul] = n;
  g[Work::add] = folding(n, rows.count) + n;
  g.keep_output();
  return {};
}

/// A share of the gradient at each target, 0 elsewhere.
Status gradient_nll(const Call& c, Gradient& g) {
  const Count targets = numel(without(c.shape(kScores), 1));
  g[Work::logic] = targets;
  g[c.text("reduction", "mean") == "mean" ? Work::div : Work::mul] += targets;
  if (c.has(kWeight)) g[Work::mul] += targets;
  g.none(kWeight);
  g.keep(kTarget);
  g.keep(kWeight);
  return {};
}

/// The probabilities, less 1 at each target, times its share of the gradient.
Status gradient_cross_entropy(const Call& c, Gradient& g) {
  const Count n = numel(c.shape(kScores)), targets = numel(without(c.shape(kScores), 1));
  g[Work::exp] = g[Work::mul] = n;
  g[Work::add] = targets;
  if (c.text("reduction", "mean") == "mean") g[Work::div] = 1;
  if (c.has(kWeight)) g[Work::mul] += targets;
  g.none(kWeight);
  g.keep(kWeight);
  g.keep(kTarget);
  if (c.wants(1)) {
    g.keep_output(1);
  } else {
    g.keep_bytes(bytes(c.in(kScores)));
  }
  return {};
}

}  // namespace

std::vector<Rule> softmax_rules() {
  const Text loss =
      "t targets: logic = t; weights: mul = t; ignore_index: compare = logic = t more; a sum: add = t - 1; a mean: "
      "div = 1, and with weights or ignore_index add = t - 1 more";
  const Text log_softmax_work = "r rows: compare = |x| - r; add = 3|x| - r; exp = |x|; log = r";
  std::vector<Rule> rules = {
      {"softmax", "x", "Exponentials that sum to 1 along an axis (before version 13, over all axes from there on)",
       "r rows: compare = |x| - r; add = 2|x| - r; exp = div = |x|", onnx_page("Softmax"), infer_rows, cost_softmax,
       onnx({"Softmax"}) + aten({"softmax", "_softmax", "_safe_softmax"}, aten_stated, {}, "dim=axis") +
           aten({"_sparse_softmax"}, aten_same, {}, "dim=axis", as_if_stored(cost_softmax)) +
           aten({"_masked_softmax"}, aten_same, {}, "dim=axis", cost_masked_softmax),
       nullptr, gradient_softmax},
      {"bias_softmax", "x bias", "Softmax after a bias, over all axes from one on",
       "r rows: compare = |x| - r; add = 3|x| - r; exp = div = |x|", contrib_doc("BiasSoftmax"), infer_rows,
       cost_softmax, microsoft({"BiasSoftmax"})},
      {"log_softmax", "x", "Logarithm of softmax", log_softmax_work, onnx_page("LogSoftmax"), infer_rows,
       cost_log_softmax,
       onnx({"LogSoftmax"}) + aten({"log_softmax", "_log_softmax"}, aten_stated, {}, "dim=axis") +
           aten({"_sparse_log_softmax"}, aten_same, {}, "dim=axis", as_if_stored(cost_log_softmax)),
       nullptr, gradient_log_softmax},
      {"hardmax", "x", "1 at the largest along an axis, 0 elsewhere", "r rows: compare = |x| - r", onnx_page("Hardmax"),
       infer_rows, cost_hardmax, onnx({"Hardmax"}), nullptr, gradient_zero()},
      {"nll_loss", "scores target weight", "Negative log likelihood", loss + "; reads t of the scores",
       onnx_page("NegativeLogLikelihoodLoss"), infer_loss, cost_nll, onnx({"NegativeLogLikelihoodLoss"}), nullptr,
       gradient_nll},
      {"cross_entropy_loss", "scores target weight", "Log softmax over axis 1, then negative log likelihood",
       log_softmax_work + "; " + loss, onnx_page("SoftmaxCrossEntropyLoss"), infer_loss, cost_cross_entropy,
       onnx({"SoftmaxCrossEntropyLoss"}), nullptr, gradient_cross_entropy},
  };
  return with_gradients({{"bias_softmax", gradient_bias_softmax}}, std::move(rules));
}

}  // namespace macsim::rules
