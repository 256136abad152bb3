// ai.onnx.preview.training: one step of an optimiser over several tensors, and the gradient of a part of the graph.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"

namespace macsim::rules {
namespace {

// Inputs: a rate, a count of updates, then n tensors, their n gradients, and n of each state that the optimiser keeps.
constexpr std::size_t kFirst = 2;

// How many tensors there are; 0: the inputs do not divide into groups.
std::size_t tensors(const Call& c, std::size_t groups) {
  const std::size_t given = c.inputs() > kFirst ? c.inputs() - kFirst : 0;
  return given % groups == 0 ? given / groups : 0;
}

// Outputs: the n tensors, then their states; the gradients have none. `groups`: of inputs.
InferFn infer_step(std::size_t groups) {
  return [groups](const Call& c, Outputs& out) -> Status {
    const std::size_t n = tensors(c, groups);
    if (n == 0) {
      return bad(std::to_string(c.inputs()) + " inputs are not a rate, a count and " + std::to_string(groups) +
                 " groups of tensors");
    }
    for (std::size_t i = 0; i < n * (groups - 1); ++i) {
      const std::size_t from = kFirst + (i < n ? i : i + n);
      out.set(i, c.at(from).dtype, c.shape_at(from));
    }
    return {};
  };
}

Count elements(const Call& c, std::size_t groups) {
  Count sum;
  for (std::size_t i = 0; i < tensors(c, groups); ++i) sum += numel(c.shape_at(kFirst + i));
  return sum;
}

// norm * X + G, where there is a regularisation.
void regularise(const Call& c, Cost& cost, const Count& n) {
  if (c.real("norm_coefficient", 0) == 0) return;
  cost[Work::mul] += n;
  cost[Work::add] += n;
}

// r = R / (1 + T * decay); H' = H + G * G; X' = X - r * G / (sqrt(H') + epsilon).
Status cost_adagrad(const Call& c, Cost& cost) {
  const Count n = elements(c, 3);
  cost[Work::mul] = 2 * n + 1;
  cost[Work::add] = 3 * n + 1;
  cost[Work::sqrt] = n;
  cost[Work::div] = n + 1;
  regularise(c, cost, n);
  return {};
}

// V' = alpha * V + (1 - alpha) * G; H' = beta * H + (1 - beta) * G * G; X' = X - r * V' / (sqrt(H') + epsilon), times a
// constant where there is a post-regularisation. Once: r = T > 0 ? R * sqrt(1 - beta^T) / (1 - alpha^T) : R.
Status cost_adam(const Call& c, Cost& cost) {
  const Count n = elements(c, 4);
  cost[Work::mul] = 6 * n + 1 + 2;
  cost[Work::add] = 4 * n + 2;
  cost[Work::sqrt] = n + 1;
  cost[Work::div] = n + 1;
  cost[Work::log] = 2;
  cost[Work::exp] = 2;
  cost[Work::compare] = 1;
  regularise(c, cost, n);
  if (c.real("norm_coefficient_post", 0) != 0) cost[Work::mul] += n;
  return {};
}

// V' = alpha * V + beta * G; X' = X - R * V', or X - R * (G + alpha * V'). Once: T > 0 ? beta : 1.
Status cost_momentum(const Call& c, Cost& cost) {
  const Count n = elements(c, 3);
  if (Status status = one_of(c, "mode", {"standard", "nesterov"}); !status) return status;
  const bool nesterov = c.text("mode", "standard") == "nesterov";
  cost[Work::mul] = (nesterov ? 4 : 3) * n;
  cost[Work::add] = (nesterov ? 3 : 2) * n;
  cost[Work::compare] = 1;
  regularise(c, cost, n);
  return {};
}

// Output i is the gradient with respect to input i.
Status infer_gradient(const Call& c, Outputs& out) {
  for (std::size_t i = 0; i < c.texts("xs").size() && i < c.inputs(); ++i) {
    out.set(i, c.at(i).dtype, c.shape_at(i));
  }
  return {};
}

Status cost_gradient(const Call&, Cost& cost) {
  cost.trust = Trust::unknown;
  cost.because = "the derivative of a part of the graph: its backward pass is not expanded";
  return {};
}

Rule row(Text name, Text slots, Text summary, Text formula, std::string_view op, InferFn infer, CostFn cost) {
  return {std::move(name),
          std::move(slots),
          std::move(summary),
          std::move(formula),
          Text::joined({"https://onnx.ai/onnx/operators/onnx_aionnxpreviewtraining_", op, ".html"}),
          std::move(infer),
          std::move(cost),
          {{Text::joined({"ai.onnx.preview.training::", op}), ""}},
          nullptr};
}

}  // namespace

std::vector<Rule> train_family() {
  const Text norm = "; mul + n, add + n with a norm_coefficient";
  std::vector<Rule> rules = {
      row("adagrad", "rate updates tensors...", "A step of Adagrad over n elements",
          "mul = 2n + 1; add = 3n + 1; sqrt = n; div = n + 1" + norm, "Adagrad", infer_step(3), cost_adagrad),
      row("adam", "rate updates tensors...", "A step of Adam over n elements",
          "mul = 6n + 3; add = 4n + 2; sqrt = n + 1; div = n + 1; log = 2; exp = 2; compare = 1" + norm +
              "; mul + n with a norm_coefficient_post",
          "Adam", infer_step(4), cost_adam),
      row("momentum", "rate updates tensors...", "A step of gradient descent with momentum over n elements",
          "standard: mul = 3n, add = 2n; nesterov: mul = 4n, add = 3n; compare = 1" + norm, "Momentum", infer_step(3),
          cost_momentum),
      row("gradient", "xs...", "The gradient of a tensor of the graph with respect to others",
          "unknown: the backward pass is not expanded", "Gradient", infer_gradient, cost_gradient),
  };
  return with_gradients({{"gradient", GradientFn()}},
                        without_gradients("a step of an optimizer, which ends a graph", std::move(rules)));
}

}  // namespace macsim::rules
