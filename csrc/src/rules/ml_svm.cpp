// Support vector machines: a kernel between each row and each support vector, then sums of them.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "rules/gradient.hpp"
#include "rules/ml.hpp"

namespace macsim::rules {
namespace {

// Kernels. ---------------------------------------------------------------------------------------------------------

// So many kernels over F features each. LINEAR: a dot product. POLY: that times gamma, plus a constant, to a power.
// SIGMOID: the same, and a tanh. RBF: exp(-gamma * |x - v|^2).
void add_kernels(const Call& c, Cost& cost, const Count& kernels, const Dim& features) {
  const std::string_view type = c.text("kernel_type", "LINEAR");
  cost[Work::mac] += kernels * features;
  if (type == "RBF") {
    cost[Work::add] += kernels * features;
    cost[Work::mul] += kernels;
    cost[Work::exp] += kernels;
    return;
  }
  if (type == "LINEAR") return;
  cost[Work::mul] += kernels;
  cost[Work::add] += kernels;
  if (type == "SIGMOID") {
    cost[Work::exp] += kernels;
    return;
  }
  const auto params = c.reals("kernel_params");
  const auto degree = params.size() > 2 ? static_cast<std::int64_t>(params[2]) : 0;
  cost[Work::mul] += kernels * std::max<std::int64_t>(degree - 1, 0);
}

void finish(const Call& c, Cost& cost) {
  if (c.dtype(0) != DType::f32) cost[Work::convert] += numel(c.shape(0));
  cost.compute = cost.rhs = cost.accumulate = DType::f32;
  read_model(c, cost, {"coefficients", "support_vectors", "rho", "prob_a", "prob_b"});
}

// Classifier. ------------------------------------------------------------------------------------------------------

struct Machine {
  std::int64_t classes = 1, pairs = 0, vectors = 0;
  bool probabilities = false;
  /// Scores that are given out, and those that are worked out.
  std::int64_t shown = 1, scores = 1;
};

Machine machine_of(const Call& c) {
  Machine m;
  m.classes = static_cast<std::int64_t>(std::max<std::size_t>(labels(c, "classlabels_ints", "classlabels_strings"), 1));
  for (const std::int64_t vectors : c.integers("vectors_per_class")) m.vectors += vectors;
  m.pairs = m.classes * (m.classes - 1) / 2;
  m.probabilities = m.vectors > 0 && !c.reals("prob_a").empty();
  m.scores = m.vectors > 0 ? m.pairs : m.classes;
  m.shown = m.vectors == 0 || m.probabilities ? m.classes : std::max<std::int64_t>(m.pairs, 2);
  return m;
}

Status infer_classifier(const Call& c, Outputs& out) {
  const Dim rows = rows_of(c).count;
  out.set(0, label_dtype(c, "classlabels_strings"), {rows});
  out.set(1, DType::f32, {rows, machine_of(c).shown});
  return needs_rows(c);
}

// A sigmoid for each pair of classes, kept away from 0 and 1; then probabilities of k classes that agree with those of
// the pairs, by at most max(100, k) rounds of relaxation.
void add_probabilities(Cost& cost, const Machine& m, const Count& rows) {
  const std::int64_t k = m.classes, rounds = std::max<std::int64_t>(100, k);
  const Count pairs = rows * m.pairs;
  cost[Work::mul] += pairs;
  cost[Work::add] += 4 * pairs;
  cost[Work::exp] += pairs;
  cost[Work::div] += pairs;
  cost[Work::compare] += 2 * pairs;
  cost[Work::mul] += 2 * pairs + pairs;  // the matrix: squares on its diagonal, products off it
  cost[Work::add] += rows * (k * std::max<std::int64_t>(k - 2, 0));
  const Count each = rows * rounds;
  cost[Work::mac] += each * (k * k + k);        // Q * p, p * Q * p
  cost[Work::add] += each * (k + k * (5 + k));  // errors; the step, its effect on p * Q * p and on Q * p
  cost[Work::compare] += each * (k + 1);
  cost[Work::logic] += each * k;
  cost[Work::mul] += each * (k * (4 + k));
  cost[Work::div] += each * (k * (2 + 2 * k));
  cost.trust = Trust::bound;
  cost.because = "the relaxation of the probabilities stops when it has converged; its limit of rounds is counted";
}

Status cost_classifier(const Call& c, Cost& cost) {
  const Rows rows = rows_of(c);
  const Machine m = machine_of(c);
  if (m.vectors == 0) {
    cost[Work::mac] = rows.count * rows.features * m.classes;
    cost[Work::add] = rows.count * m.classes;
    add_choice(cost, rows.count, m.classes);
  } else {
    add_kernels(c, cost, rows.count * m.vectors, rows.features);
    // Each class meets the k - 1 others with all its vectors; each pair adds two sums and a constant, and votes.
    cost[Work::mac] += rows.count * (m.vectors * (m.classes - 1));
    cost[Work::add] += rows.count * (3 * m.pairs);
    cost[Work::compare] += rows.count * (m.pairs + m.classes - 1);
  }
  if (m.probabilities) {
    add_probabilities(cost, m, rows.count);
  } else if (m.shown > m.scores) {
    cost[Work::logic] += rows.count;  // the second class's score: the sign turned
  }
  add_transform(cost, transform_of(c), rows.count, m.shown);
  finish(c, cost);
  return {};
}

// Regressor. -------------------------------------------------------------------------------------------------------

Status infer_regressor(const Call& c, Outputs& out) {
  out.set(0, DType::f32, {rows_of(c).count, 1});
  return needs_rows(c);
}

Status cost_regressor(const Call& c, Cost& cost) {
  const Rows rows = rows_of(c);
  const std::int64_t vectors = c.integer("n_supports", 0);
  if (vectors > 0) {
    add_kernels(c, cost, rows.count * vectors, rows.features);
    cost[Work::mac] += rows.count * vectors;
  } else {
    cost[Work::mac] = rows.count * rows.features;
  }
  cost[Work::add] += rows.count;
  if (c.integer("one_class", 0) != 0) cost[Work::compare] = rows.count;
  add_transform(cost, transform_of(c), rows.count, 1);
  finish(c, cost);
  return {};
}

}  // namespace

std::vector<Rule> svm_rules() {
  const Text kernels =
      "V kernels a row over F features: mac = F, and for POLY mul = degree, add = 1; SIGMOID mul = add = exp = 1; RBF "
      "add = F, mul = exp = 1; ";
  return {
      ml_row("svm_classifier", "x", "Support vectors that vote, class against class",
             kernels + "with k classes and p pairs a row: mac = V * (k - 1), add = 3p, compare = p + k - 1; "
                       "probabilities: at most max(100, k) rounds of relaxation; without vectors: mac = N * F * k, "
                       "add = N * k",
             {"SVMClassifier"}, infer_classifier, cost_classifier),
      ml_row("svm_regressor", "x", "Support vectors summed",
             kernels + "mac = N * V, add = N; without vectors: mac = N * F, add = N", {"SVMRegressor"}, infer_regressor,
             cost_regressor),
  };
}

}  // namespace macsim::rules
