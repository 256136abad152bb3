// Common gradients.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/gradient.hpp"

#include <algorithm>

#include "rules/work.hpp"

namespace macsim::rules {

Rule with_gradient(Rule rule, GradientFn gradient) {
  rule.gradient = std::move(gradient);
  return rule;
}

std::vector<Binding> with_gradient(std::vector<Binding> spelled, const GradientFn& gradient) {
  for (Binding& binding : spelled) binding.gradient = gradient;
  return spelled;
}

std::vector<Rule> with_gradients(const Gradients& gradients, std::vector<Rule> rules) {
  for (Rule& rule : rules) {
    const auto at =
        std::find_if(gradients.begin(), gradients.end(), [&](const auto& named) { return named.first == rule.name; });
    if (at != gradients.end()) rule.gradient = at->second;
  }
  return rules;
}

std::vector<Rule> without_gradients(std::string_view because, std::vector<Rule> rules) {
  for (Rule& rule : rules) {
    if (!rule.gradient) rule.gradient = NoGradient{because};
  }
  return rules;
}

void estimated(Gradient& g, std::string_view because) {
  if (g.cost.trust == Trust::unknown) return;
  g.cost.trust = Trust::estimate;
  g.cost.because = because;
}

GradientFn gradient_by_codes(std::size_t bias) {
  return [bias](const Call& c, Gradient& g) -> Status {
    if (g.needs(0)) {
      g[Work::mac] += g.run[Work::mac];
      for (const Work widened : {Work::convert, Work::mul}) g.again[widened] += g.run[widened];
      for (std::size_t i = 1; i < c.inputs(); ++i) g.keep_at(i);
    }
    if (g.needs(bias)) add_spread(g, c.out_shape(), c.shape(bias));
    const bool trained = g.needs(bias);
    for (std::size_t i = 1; i < c.inputs(); ++i) {
      if (!trained || !c.given(i) || !(c.at(i).shape == c.shape(bias)) || c.at(i).dtype != c.dtype(bias)) g.none_at(i);
    }
    return {};
  };
}

Status gradient_of_network(const Call& c, Gradient& g) {
  bool data = false, weights = false;
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    if (!c.given(i)) continue;
    g.keep_at(i);
    if (!g.needs_at(i)) continue;
    (i == 0 ? data : weights) = true;
  }
  g.keep_output();
  for (std::size_t w = 0; w < kWorks; ++w) g.cost.work[w] = 2 * g.run.work[w];
  g[Work::mac] = (data && weights ? 2 : 1) * g.run[Work::mac];
  estimated(g, "a product for each operand that needs one; other work as twice the operator's own");
  return {};
}

GradientFn gradient_of_coded_network(std::vector<std::size_t> codes) {
  return [codes = std::move(codes)](const Call& c, Gradient& g) -> Status {
    for (const std::size_t slot : codes) g.none(slot);
    if (Status status = gradient_of_network(c, g); !status) return status;
    g[Work::mac] = g.run[Work::mac];
    return {};
  };
}

void fused_activation_gradient(Gradient& g, std::string_view name, const Count& n) {
  Cost again;
  work::fused_activation(again, name, n);
  const bool none = std::all_of(again.work.begin(), again.work.end(), [](const Count& w) { return w.is(0); });
  if (none) return;
  g.keep_output();
  if (name == "Relu" || name == "relu") {
    g[Work::compare] += n;
    return;
  }
  for (std::size_t w = 0; w < kWorks; ++w) g.cost.work[w] += again.work[w];
  g[Work::mul] += n;
  estimated(g, "the derivative of the fused activation is taken to be the function and one product");
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
  return [work, keeps](const Call& c, Gradient& g) -> Status {
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
