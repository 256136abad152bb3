// Random numbers, and dropout in all its spellings.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/elementwise.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"

namespace macsim::rules {
namespace {

constexpr std::size_t kX = 0;
constexpr std::string_view kGenerator = "as if by the generator Philox 4x32-10";

// Generators. ------------------------------------------------------------------------------------------------------

/// `n` numbers evenly spread over [0, 1): ten rounds make four of them, a round has 2 mul, 2 add and 4 xor; then one
/// conversion each.
void uniform(Cost& cost, const Count& n) {
  cost[Work::mul] += 5 * n;
  cost[Work::add] += 5 * n;
  cost[Work::logic] += 10 * n;
  cost[Work::convert] += n;
  cost.trust = Trust::estimate;
  cost.because = kGenerator;
}

/// Box and Muller: two numbers become two, r = sqrt(-2 log u) times cos and sin of 2 pi v.
void normal(Cost& cost, const Count& n) {
  uniform(cost, n);
  const Count pairs = ceil_div(n, 2);
  cost[Work::log] += pairs;
  cost[Work::sqrt] += pairs;
  cost[Work::trig] += 2 * pairs;
  cost[Work::mul] += 4 * pairs;
}

/// a + b * u.
void spread(Cost& cost, const Count& n, bool scaled, bool moved) {
  if (scaled) cost[Work::mul] += n;
  if (moved) cost[Work::add] += n;
}

DType stated_dtype(const Call& c, DType otherwise) {
  return c.has_attr("dtype") ? dtype_from_onnx(c.integer("dtype", 0)) : otherwise;
}

Status infer_random(const Call& c, Outputs& out) {
  Shape shape;
  for (const std::int64_t size : c.integers("shape")) shape.push_back(size);
  out.set(0, stated_dtype(c, DType::f32), std::move(shape));
  return {};
}

Status infer_random_like(const Call& c, Outputs& out) {
  Type y = c.in(kX);
  y.dtype = stated_dtype(c, y.dtype);
  out.set(0, std::move(y));
  return {};
}

Status cost_normal(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  const bool tensors =
      c.op().starts_with("normal");  // torch's means and deviations: those without a number are tensors
  normal(cost, n);
  spread(cost, n, c.real("scale", tensors ? 0 : 1) != 1, c.real("mean", tensors ? 1 : 0) != 0);
  cost.compute = c.out().dtype;
  cost.read = cost.weights = 0;
  return {};
}

Status cost_uniform(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  const double low = c.real("low", 0), high = c.real("high", 1);
  uniform(cost, n);
  spread(cost, n, high - low != 1, low != 0);
  cost.compute = c.out().dtype;
  cost.read = cost.weights = 0;
  return {};
}

Status cost_bernoulli(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  uniform(cost, n);
  cost[Work::compare] = n;
  return {};
}

Status infer_multinomial(const Call& c, Outputs& out) {
  const DType dtype = stated_dtype(c, DType::i32);
  out.set(0, dtype, Shape{c.in(kX).shape[0], c.integer("sample_size", 1)});
  return {};
}

/// Of an even spread u: -log(u) / rate, log(u) / log(1 - p) rounded up, median + width * tan(pi (u - 1/2)).
Status cost_drawn(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  const std::string_view op = c.op();
  if (op == "log_normal") {
    normal(cost, n);
    cost[Work::exp] += n;
    spread(cost, n, true, true);
  } else {
    uniform(cost, n);
    cost[op == "cauchy" ? Work::trig : Work::log] += n;
    if (op == "geometric") cost[Work::convert] += n;
    if (op == "cauchy") spread(cost, n, true, true);
    if (op != "cauchy") cost[Work::div] += n;
  }
  cost.compute = c.out().dtype;
  cost.read = cost.weights = 0;
  return {};
}

/// Of a distribution whose numbers come by rejection: what the first try takes, as if it were never rejected.
/// Poisson and binomial: W. Hoermann (1993), from two even numbers, after what hangs on the rate alone. Gamma: G.
/// Marsaglia and W. Tsang (2000), from a normal and an even number. A Dirichlet distribution: gammas over their sum.
Status cost_rejected(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  const std::string_view op = c.op();
  if (op == "poisson" || op == "binomial") {
    uniform(cost, 2 * n);
    add_each(cost, {{Work::mul, 4}, {Work::add, 10}, {Work::div, 3}, {Work::sqrt, 1}, {Work::logic, 1}}, n);
    add_each(cost, {{Work::convert, 1}, {Work::compare, 2}}, n);
    if (op == "poisson") cost[Work::log] += n;
    if (op == "binomial") add_each(cost, {{Work::mul, 3}, {Work::add, 1}}, n);
  } else {
    normal(cost, n);
    uniform(cost, n);
    add_each(cost, {{Work::add, 6}, {Work::mul, 7}, {Work::div, 1}, {Work::sqrt, 1}, {Work::log, 2}}, n);
    add_each(cost, {{Work::compare, 2}}, n);
  }
  if (op == "_sample_dirichlet") {
    const Shape& y = c.out_shape();
    cost[Work::add] += n - numel(y, 0, y.empty() ? 0 : y.size() - 1);
    cost[Work::div] += n;
  }
  cost.because = "as if the first try were taken, with the generator Philox 4x32-10";
  cost.compute = c.out().dtype;
  return {};
}

/// Each number in its turn changes places with one behind it.
Status cost_shuffled(const Call& c, Cost& cost) {
  uniform(cost, numel(c.out_shape()));
  return {};
}

/// Probabilities become running sums once a row, and each sample goes through them.
Status cost_aten_multinomial(const Call& c, Cost& cost) {
  const Shape &x = c.shape(kX), &y = c.out_shape();
  const Count all = numel(x), samples = numel(y), rows = numel(x, 0, x.empty() ? 0 : x.size() - 1);
  uniform(cost, samples);
  cost[Work::add] += all - rows;
  cost[Work::mul] += samples;
  cost[Work::compare] = samples * (x.empty() ? Dim(1) : x.back());
  return {};
}

/// Log-probabilities become running sums once a row; each sample goes through them.
Status cost_multinomial(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Count all = numel(x), samples = numel(c.out_shape());
  uniform(cost, samples);
  cost[Work::compare] = all - x[0] + samples * x[1];
  cost[Work::add] += 2 * all - x[0];
  cost[Work::exp] = all;
  cost[Work::mul] += samples;
  return {};
}

// Dropout. ---------------------------------------------------------------------------------------------------------

/// Slots of all kinds: the plain ones have neither bias nor residual.
enum : std::size_t { kBias = 1, kResidual, kRatio, kTraining };

Truth trains(const Call& c) {
  if (c.dialect() == "onnx" && c.version() < 7) return c.integer("is_test", 0) == 0 ? Truth::yes : Truth::no;
  if (!c.has(kTraining)) return Truth::no;
  const Contents* ratio = c.has(kRatio) ? elements_of(c, kRatio) : nullptr;
  if (ratio != nullptr && ratio->items.size() == 1 && ratio->items.front().nonzero() == Truth::no) return Truth::no;
  const Contents* training = elements_of(c, kTraining);
  return training != nullptr && training->items.size() == 1 ? training->items.front().nonzero() : Truth::depends;
}

bool bit_mask(const Call& c) { return c.op().starts_with("Bitmask"); }

Status infer_dropout(const Call& c, Outputs& out) {
  const Type& x = c.in(kX);
  out.set(0, x);
  Type mask = x;
  if (bit_mask(c)) {
    mask.dtype = DType::u32;
    if (mask.ranked) mask.shape = Shape{ceil_div(numel(x.shape), 32)};
  } else if (c.dialect() != "onnx" || c.version() >= 10) {
    mask.dtype = DType::boolean;
  }
  out.set(1, std::move(mask));
  if (c.has(kBias) || c.has(kResidual) || trains(c) != Truth::no) return {};
  if (elements_of(c, kX) != nullptr) out.pass(0, kX);
  return {};
}

Status cost_dropout(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  const Truth training = trains(c);
  if (training != Truth::no) {
    uniform(cost, n);
    cost[Work::compare] = n;
    cost[Work::mul] += 2 * n;  // by the mask, by 1 / (1 - ratio)
    if (training == Truth::depends) {
      cost.trust = Trust::bound;
      cost.because = "as if in training, with the generator Philox 4x32-10";
    }
  }
  if (c.has(kBias)) cost[Work::add] += n;
  if (c.has(kResidual)) cost[Work::add] += n;
  if (training == Truth::no && !c.has(kBias) && !c.has(kResidual)) {
    cost.free("the identity at inference: no data moved");
    if (c.wants(1)) cost.written = bytes(c.out(1));
  }
  return {};
}

/// By the mask that was drawn, and the scale.
Status gradient_dropout(const Call& c, Gradient& g) {
  const Count n = numel(c.shape(kX));
  const bool torch = c.dialect() == "aten" || c.dialect() == "quantized";
  const bool drops = torch ? c.integer("train", 0) != 0 && c.real("p", 0.5) != 0 : trains(c) != Truth::no;
  if (!drops) return gradient_view()(c, g);
  g[Work::mul] = 2 * n;
  if (c.wants(1)) {
    g.keep_output(1);
  } else {
    g.keep_bytes(bytes(DType::boolean, n));
  }
  for (const std::size_t slot : {kBias, kResidual}) {
    if (g.needs(slot)) add_spread(g, c.out_shape(), c.shape(slot));
  }
  return {};
}

}  // namespace

std::vector<Rule> random_family() {
  const NoGradient drawn{"random numbers"};
  const Text philox = "each number mul 5, add 5, logic 10, convert 1 (an estimate)";
  const Text pair = "; each pair log 1, sqrt 1, trig 2, mul 4; scale mul, mean add";
  const Text range = "; range mul, low end add";
  std::vector<Rule> rules = {
      {"random_normal", "", "Random numbers from a normal distribution", philox + pair, onnx_page("RandomNormal"),
       infer_random, cost_normal,
       onnx({"RandomNormal"}) +
           aten({"randn", "normal", "randn_like", "normal_functional", "prims::normal"}, {}, {}, "std=scale"),
       nullptr, drawn},
      {"random_normal_like", "#x", "Random numbers from a normal distribution, in the shape of a tensor", philox + pair,
       onnx_page("RandomNormalLike"), infer_random_like, cost_normal, onnx({"RandomNormalLike"}), nullptr, drawn},
      {"random_uniform", "", "Random numbers evenly spread", philox + range, onnx_page("RandomUniform"), infer_random,
       cost_uniform,
       onnx({"RandomUniform"}) +
           aten({"rand", "rand_like", "uniform", "randint", "randint_like", "random", "prims::uniform"}, {}, {},
                "from=low to=high"),
       nullptr, drawn},
      {"random_uniform_like", "#x", "Random numbers evenly spread, in the shape of a tensor", philox + range,
       onnx_page("RandomUniformLike"), infer_random_like, cost_uniform, onnx({"RandomUniformLike"}), nullptr, drawn},
      {"bernoulli", "x", "Zeros and ones with given probabilities", philox + "; compare = |y|", onnx_page("Bernoulli"),
       infer_random_like, cost_bernoulli, onnx({"Bernoulli"}) + aten({"bernoulli"}), nullptr, drawn},
      {"multinomial", "x", "Classes drawn by their log-probabilities",
       philox + "; compare = |x| - rows + |y| * classes; add = 2|x| - rows; exp = |x|; mul = |y|",
       onnx_page("Multinomial"), infer_multinomial, cost_multinomial,
       onnx({"Multinomial"}) + aten({"multinomial"}, {}, "x", {}, cost_aten_multinomial), nullptr, drawn},
      {"random_drawn",
       "",
       "Random numbers from other distributions",
       philox +
           "; exponential log 1, div 1; geometric convert 1 more; Cauchy trig 1, mul 1, add 1; log-normal those of "
           "a normal distribution, exp 1, mul 1, add 1",
       "https://docs.pytorch.org/docs/stable/generated/torch.Tensor.exponential_.html",
       {},
       cost_drawn,
       aten({"exponential", "geometric", "cauchy", "log_normal"}),
       nullptr,
       drawn},
      {"random_rejected",
       "x p",
       "Random numbers from distributions that are drawn by rejection",
       "each number as if the first try were taken: Poisson and binomial 2 even numbers, sqrt 1, div 3, mul 4 "
       "(binomial "
       "7), add 10 (11), logic 1, convert 1, compare 2, Poisson log 1; gamma a normal and an even number, add 6, mul "
       "7, "
       "div 1, sqrt 1, log 2, compare 2; Dirichlet the sum and a div more",
       "https://docs.pytorch.org/docs/stable/generated/torch.poisson.html",
       {},
       cost_rejected,
       aten({"poisson", "_standard_gamma", "_sample_dirichlet"}, aten_same, "x") + aten({"binomial"}, aten_pair),
       nullptr,
       drawn},
      {"random_order",
       "",
       "Numbers in random order",
       philox,
       "https://docs.pytorch.org/docs/stable/generated/torch.randperm.html",
       {},
       cost_shuffled,
       aten({"randperm"}),
       nullptr,
       drawn},
      {"dropout", "x bias residual #ratio #training", "Elements dropped at random in training; nothing at inference",
       "bias and residual: add = |x| each; training: " + philox + ", compare = |x|, mul = 2|x|", onnx_page("Dropout"),
       infer_dropout, cost_dropout,
       aten({"dropout", "feature_dropout", "alpha_dropout", "native_dropout", "quantized::dropout"}, aten_same, "x", {},
            cost_free("the identity at inference: no data moved")) +
           std::vector<Binding>{{"onnx::Dropout", "x #ratio #training"},
                                {"com.microsoft::BitmaskDropout", "x #ratio #training"},
                                {"com.microsoft::BiasDropout", {}},
                                {"com.microsoft::BitmaskBiasDropout", {}}},
       nullptr, gradient_dropout},
  };
  return with(Access::pointwise, {"dropout"}, std::move(rules));
}

}  // namespace macsim::rules
