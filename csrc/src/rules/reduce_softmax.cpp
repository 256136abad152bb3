// Softmax and its kin, and the losses that contain one.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "rules/elementwise.hpp"
#include "rules/reduce.hpp"

namespace macsim::rules {
namespace {

// How many rows are normalised together. Before version 13 all axes from `axis` on are one row.
Count rows_of(const Call& c) {
  const Shape& x = c.shape(0);
  const bool coerced = c.dialect() == "onnx" ? c.version() < 13 : true;
  const auto axis = axis_in(c.integer("axis", coerced ? 1 : -1), x.size());
  if (!axis)
    return coerced && c.integer("axis", 1) == static_cast<std::int64_t>(x.size()) ? numel(x) : Count::undefined();
  if (coerced) return numel(x, 0, *axis);
  Count rows = 1;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i != *axis) rows *= x[i];
  }
  return rows;
}

// exp(x - max) / sum: the largest, the difference, the exponential, the sum, the quotient.
Status cost_softmax(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(0)), rows = rows_of(c);
  cost[Work::compare] = n - rows;
  cost[Work::add] = n + (n - rows);
  cost[Work::exp] = n;
  cost[Work::div] = n;
  return {};
}

// x - max - log(sum(exp(x - max))).
Status cost_log_softmax(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(0)), rows = rows_of(c);
  cost[Work::compare] = n - rows;
  cost[Work::add] = n + (n - rows) + n;
  cost[Work::exp] = n;
  cost[Work::log] = rows;
  return {};
}

Status cost_hardmax(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.shape(0)) - rows_of(c);
  if (cost[Work::compare].is(0)) cost.because = "rows of one element";
  return {};
}

Status cost_bias_softmax(const Call& c, Cost& cost) {
  if (Status status = cost_softmax(c, cost); !status) return status;
  cost[Work::add] += numel(c.shape(0));
  return {};
}

// Losses. ----------------------------------------------------------------------------------------------------------

enum : std::size_t { kScores, kTarget, kWeight };

Status infer_loss(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kScores);
  if (c.text("reduction", "mean") == "none") {
    Shape y;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (i != 1) y.push_back(x[i]);
    }
    out.set(0, c.dtype(kScores), std::move(y));
  } else {
    (void)c.shape(kTarget);
    out.set(0, c.dtype(kScores), {});
  }
  out.set(1, c.dtype(kScores), x);  // log probabilities, of SoftmaxCrossEntropyLoss
  return {};
}

// Of each target: the chosen score's sign turned, times its weight; then their sum, and the mean's quotient.
void add_loss(const Call& c, Cost& cost) {
  const Count targets = numel(c.shape(kTarget));
  cost[Work::logic] += targets;
  if (c.has(kWeight)) cost[Work::mul] += targets;
  const std::string_view reduction = c.text("reduction", "mean");
  if (reduction == "none") return;
  cost[Work::add] += targets - 1;
  if (reduction != "mean") return;
  cost[Work::div] += 1;
  if (c.has(kWeight)) cost[Work::add] += targets - 1;
}

Status cost_nll(const Call& c, Cost& cost) {
  add_loss(c, cost);
  return {};
}

Status cost_cross_entropy(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kScores);
  const Count n = numel(x);
  Shape rest = x;
  if (rest.size() > 1) rest.erase(1);
  const Count rows = numel(rest);
  cost[Work::compare] = n - rows;
  cost[Work::add] = n + (n - rows) + n;
  cost[Work::exp] = n;
  cost[Work::log] = rows;
  add_loss(c, cost);
  return {};
}

}  // namespace

void append_softmax(std::vector<Rule>& rules) {
  rules.push_back(element_row("softmax", "x", "Exponentials that sum to 1 along an axis",
                              "r rows: compare = |x| - r; add = 2|x| - r; exp = |x|; div = |x|", onnx_page("Softmax"),
                              infer_same, cost_softmax, onnx({"Softmax"})));
  rules.push_back(element_row("log_softmax", "x", "Logarithm of softmax",
                              "r rows: compare = |x| - r; add = 3|x| - r; exp = |x|; log = r", onnx_page("LogSoftmax"),
                              infer_same, cost_log_softmax, onnx({"LogSoftmax"})));
  rules.push_back(element_row("hardmax", "x", "1 at the largest along an axis", "r rows: compare = |x| - r",
                              onnx_page("Hardmax"), infer_same, cost_hardmax, onnx({"Hardmax"})));
  rules.push_back(element_row("bias_softmax", "x bias", "Softmax after a bias",
                              "r rows: compare = |x| - r; add = 3|x| - r; exp = |x|; div = |x|",
                              std::string(kContribPage), infer_same, cost_bias_softmax, microsoft({"BiasSoftmax"})));
  const std::string loss =
      "t targets: logic = t; with weights mul = t; a sum: add = t - 1 more; a mean: div = 1, with weights add = t - 1 "
      "more";
  rules.push_back(element_row("nll_loss", "scores target weight", "Negative log likelihood", loss,
                              onnx_page("NegativeLogLikelihoodLoss"), infer_loss, cost_nll,
                              onnx({"NegativeLogLikelihoodLoss"})));
  rules.push_back(element_row(
      "cross_entropy_loss", "scores target weight", "Log softmax and negative log likelihood",
      "log softmax over axis 1 (r rows: compare = |x| - r; add = 3|x| - r; exp = |x|; log = r); " + loss,
      onnx_page("SoftmaxCrossEntropyLoss"), infer_loss, cost_cross_entropy, onnx({"SoftmaxCrossEntropyLoss"})));
}

}  // namespace macsim::rules
