// Common gradients.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/gradient.hpp"

namespace macsim::rules {

Rule with_gradient(Rule rule, GradientFn gradient) {
  rule.gradient = std::move(gradient);
  return rule;
}

std::vector<Binding> with_gradient(std::vector<Binding> spelled, const GradientFn& gradient) {
  for (Binding& binding : spelled) binding.gradient = gradient;
  return spelled;
}

void add_spread(Gradient& g, const Shape& y, const Shape& x) {
  const Count all = numel(y), own = numel(x);
  if (all != own) g[Work::add] += all - own;
}

GradientFn gradient_product(std::size_t a, std::size_t b, std::size_t bias) {
  return [=](const Call& c, Gradient& g) -> Status {
    for (const auto& [one, other] : {std::pair(a, b), std::pair(b, a)}) {
      if (!g.needs(one)) continue;
      g[Work::mac] += g.run[Work::mac];
      g.keep(other);
    }
    if (g.needs(bias)) add_spread(g, c.out_shape(), c.shape(bias));
    return {};
  };
}

GradientFn gradient_each(PerElement work, Keeps keeps) {
  return [work = std::move(work), keeps](const Call& c, Gradient& g) -> Status {
    add_each(g.cost, work, numel(c.shape(0)));
    if (keeps == Keeps::input) g.keep(0);
    if (keeps == Keeps::output) g.keep_output();
    return {};
  };
}

GradientFn gradient_view() {
  return [](const Call&, Gradient& g) -> Status {
    g.cost.free("a view of the gradient");
    return {};
  };
}

GradientFn gradient_moves() {
  return [](const Call&, Gradient& g) -> Status {
    g.cost.moves("moves data only");
    return {};
  };
}

Status gradient_like_run(const Call&, Gradient& g) {
  g.cost.work = g.run.work;
  g.cost.trust = g.run.trust;
  g.cost.because = g.run.because;
  return {};
}

GradientFn gradient_zero() {
  return [](const Call&, Gradient& g) -> Status {
    g.cost.read = g.cost.weights = Count(0);
    g.cost.because = "its gradient is 0 everywhere: it is filled in";
    return {};
  };
}

}  // namespace macsim::rules
