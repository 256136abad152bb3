// Reductions over any axes: sums, means, extremes, products, norms.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/reduce.hpp"

#include <algorithm>
#include <string>

#include "rules/aten.hpp"
#include "rules/elementwise.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/work.hpp"

namespace macsim::rules {

// Shared. ----------------------------------------------------------------------------------------------------------

Shape without(const Shape& shape, std::size_t axis) {
  Shape rest = shape;
  if (axis < rest.size()) rest.erase(axis);
  return rest;
}

Count folding(const Count& elements, const Count& rows) { return elements.is(0) ? Count(0) : elements - rows; }

namespace {

// Axes. ------------------------------------------------------------------------------------------------------------

enum : std::size_t { kX, kAxes };

/// Which axes go. An empty list means all of them, or none when noop_with_empty_axes says so.
struct Axes {
  bool known = true;
  std::vector<bool> gone;  // by axis of x
  bool none() const noexcept { return known && std::find(gone.begin(), gone.end(), true) == gone.end(); }
};

Status axes_of(const Call& c, Axes& out) {
  const Shape& x = c.shape(kX);
  const IntList list = int_list(c, kAxes, "axes");
  out.known = list.known;
  if (!c.ranked(kX) || !list.known) return {};
  if (list.values.empty()) {
    out.gone.assign(x.size(), c.integer("noop_with_empty_axes", 0) == 0);
    return {};
  }
  const auto axes = axes_in(list.values, x.size());
  if (!axes) return bad("axes do not fit " + text(x));
  out.gone.assign(x.size(), false);
  for (const std::size_t axis : *axes) out.gone[axis] = true;
  return {};
}

Shape reduced(const Shape& x, const Axes& axes, bool keep) {
  Shape y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!axes.gone[i]) {
      y.push_back(x[i]);
    } else if (keep) {
      y.push_back(1);
    }
  }
  return y;
}

// The shape when nobody knows which axes go, perhaps how many: a size that is kept may have become 1.
void set_by_number(const Call& c, Outputs& out, DType dtype, bool keep) {
  const Shape& x = c.shape(kX);
  const Type& list = c.in(kAxes);
  const std::int64_t given = list.ranked ? numel(list.shape).constant().value_or(-1) : -1;  // -1: unknown
  const auto rank = static_cast<std::int64_t>(x.size());
  if (given == 0) {
    const bool none = c.integer("noop_with_empty_axes", 0) != 0;
    out.set(0, dtype, none ? x : keep ? Shape(x.size(), 1) : Shape());
  } else if (keep) {
    out.set(0, dtype, Shape(x.size(), Dim::undefined()));
  } else if (given > 0 && given <= rank) {
    out.set(0, dtype, Shape(static_cast<std::size_t>(rank - given), Dim::undefined()));
  } else {
    out.unranked(0, dtype);
  }
}

// Values. ----------------------------------------------------------------------------------------------------------

using Each = Scalar (*)(const Scalar&);
using Fold = Scalar (*)(const Scalar&, const Scalar&);

Scalar sum(const Scalar& a, const Scalar& b) { return a + b; }
Scalar product(const Scalar& a, const Scalar& b) { return a * b; }
Scalar square(const Scalar& x) { return x * x; }
Scalar magnitude(const Scalar& x) { return Scalar::max(x, x * Scalar::integer(-1)); }

/// How a reduction goes: what is done to each element, how elements are folded, whether the sum is divided.
struct Recipe {
  Each each = nullptr;
  Fold fold = nullptr;
  bool mean = false;
};

void reduce_elements(const Call& c, Outputs& out, const Axes& axes, const Recipe& recipe) {
  const Contents* known = elements_of(c, kX);
  if (known == nullptr || known->items.empty()) return;
  const Shape& x = c.shape(kX);
  const Shape kept = reduced(x, axes, true);
  const Broadcaster row_of(kept, x);
  const auto rows = static_cast<std::size_t>(numel(kept).constant().value_or(0));
  if (rows == 0) return;  // too many to hold
  Contents made{std::vector<Scalar>(rows), {}};
  std::vector<bool> started(rows, false);
  for (std::size_t n = 0; n < known->items.size(); ++n) {
    const std::size_t row = row_of(n);
    const Scalar item = recipe.each != nullptr ? recipe.each(known->items[n]) : known->items[n];
    made.items[row] = started[row] ? recipe.fold(made.items[row], item) : item;
    started[row] = true;
  }
  const Scalar length = Scalar::integer(known->items.size() / rows);
  for (Scalar& item : made.items) {
    if (recipe.mean) item = is_integer(c.dtype(kX)) ? truncated_ratio(c, item, length) : item / length;
    item = held(c.dtype(kX), item);
  }
  out.know(0, std::move(made));
}

InferFn infer_reduce(Recipe recipe) {
  return [recipe](const Call& c, Outputs& out) -> Status {
    // com.microsoft's sum of small integers is of 32 bits.
    const DType x = c.dtype(kX);
    const DType dtype = c.op() != "ReduceSumInteger" ? x : x == DType::u8 ? DType::u32 : DType::i32;
    const bool keep = c.integer("keepdims", 1) != 0;
    Axes axes;
    if (Status status = axes_of(c, axes); !status) {
      out.unranked(0, dtype);
      return status;
    }
    if (!c.ranked(kX)) {
      (void)c.shape(kX);
      out.unranked(0, dtype);
    } else if (!axes.known) {
      set_by_number(c, out, dtype, keep);
    } else {
      out.set(0, dtype, reduced(c.shape(kX), axes, keep));
      if (recipe.fold != nullptr) reduce_elements(c, out, axes, recipe);
    }
    return {};
  };
}

// Work. ------------------------------------------------------------------------------------------------------------

/// Work of each element before it is folded, of folding, and of each result.
struct Steps {
  PerElement before;
  Work fold;
  PerElement after;
};

CostFn cost_reduce(Steps steps, bool mean) {
  return [steps, mean](const Call& c, Cost& cost) -> Status {
    const Count n = numel(c.shape(kX)), rows = numel(c.out_shape());
    Axes axes;
    if (Status status = axes_of(c, axes); !status) return status;
    if (c.op() == "ReduceSumInteger") cost.compute = c.out().dtype;
    add_each(cost, steps.before, n);
    cost[steps.fold] += folding(n, rows);
    add_each(cost, steps.after, rows);
    const bool nothing = c.ranked(kX) && axes.none();
    if (mean && !nothing) cost[Work::div] += rows;
    if (steps.before.empty() && steps.after.empty()) {
      if (nothing) {
        cost.free("no axes are reduced: the input as it is");
      } else if (n == rows || n.is(0)) {
        cost.moves("rows of one element at most");
      }
    }
    return {};
  };
}

// As torch calls it: which axes go shows in the sizes.
CostFn cost_aten(Steps steps, bool mean) {
  return [steps, mean](const Call& c, Cost& cost) -> Status {
    const Count n = numel(c.shape(kX)), rows = numel(c.out_shape());
    add_each(cost, steps.before, n);
    cost[steps.fold] += folding(n, rows);
    add_each(cost, steps.after, rows);
    if (mean) cost[Work::div] += rows;
    if (n == rows || n.is(0)) cost.moves("rows of one element at most");
    return {};
  };
}

/// Which elements are stored decides how many of them meet: at most all but the first.
Status cost_sparse_sum(const Call& c, Cost& cost) {
  const Span<std::int64_t> stored = c.integers("nonzeros");
  const bool told = !stored.empty() && stored[0] >= 0;
  const Count n = told ? Count(stored[0]) : numel(c.shape(kX));
  const bool all = c.out_shape().empty();
  cost[Work::add] = all ? folding(n, 1) : n;
  if (told && all) return {};
  cost.trust = Trust::bound;
  cost.because = "which elements a sparse tensor stores depends on data";
  return {};
}

// log(sum(exp(x - max))) + max.
Status cost_log_sum_exp(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX)), rows = numel(c.out_shape());
  cost[Work::compare] = folding(n, rows);
  cost[Work::add] = n + folding(n, rows) + rows;
  cost[Work::exp] = n;
  cost[Work::log] = rows;
  return {};
}

struct Reduction {
  Text name;
  const char* op;
  Text summary;
  Text formula;
  Recipe recipe;
  Steps steps;
  std::vector<Binding> torch{};
  GradientFn gradient{};
};

/// The largest or smallest; along one axis also where it is.
Status aten_extreme(const Call& c, Outputs& out) {
  if (c.outputs() > 1) {
    if (Status status = aten_reduced_to(c, out, DType::i64, 1); !status) return status;
  }
  return aten_reduced_to(c, out, c.dtype(kX));
}

/// Of an empty list of axes torch tells.
Status aten_test(const Call& c, Outputs& out) {
  const Attr* axes = c.attr("dim");
  if (axes != nullptr && axes->kind != Attr::Kind::integer && c.integers("dim").empty()) return {};
  return aten_reduced_to(c, out, c.dtype(kX) == DType::u8 ? DType::u8 : DType::boolean);
}

/// Of real numbers; of others torch tells.
Status aten_norm(const Call& c, Outputs& out) {
  return class_of(c.dtype(kX)) == DTypeClass::real ? aten_reduced_same(c, out) : Status();
}

Status aten_log_sum_exp(const Call& c, Outputs& out) { return aten_reduced_to(c, out, real_of(c.dtype(kX))); }

std::vector<Binding> of_torch(const Reduction& r) {
  std::vector<Binding> spelled = r.torch;
  for (Binding& binding : spelled) binding.cost = cost_aten(r.steps, r.recipe.mean);
  return spelled;
}

// Variance, or its root: centring and squares.
Status cost_variance(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX)), rows = numel(c.out_shape());
  cost[Work::add] = 3 * n - 2 * rows;
  cost[Work::mul] = n;
  cost[Work::div] = 2 * rows;
  if (c.op().starts_with("std")) cost[Work::sqrt] = rows;
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// Where x is the largest it gets its share of the gradient, by a mask; by a position it is put there.
Status gradient_extreme(const Call& c, Gradient& g) {
  if (c.outputs() > 1) {
    g.keep_output(1);
    g.cost.moves("moves data only");
    return {};
  }
  const Count n = numel(c.shape(kX)), rows = numel(c.out_shape());
  g[Work::compare] = n;
  g[Work::add] = folding(n, rows);
  g[Work::div] = rows;
  g[Work::mul] = n;
  g.keep(kX);
  g.keep_output();
  return {};
}

/// dy y / x.
Status gradient_product_of_all(const Call& c, Gradient& g) {
  g[Work::mul] = numel(c.out_shape());
  g[Work::div] = numel(c.shape(kX));
  g.keep(kX);
  g.keep_output();
  return {};
}

/// dy / y, times each element.
Status gradient_norm(const Call& c, Gradient& g) {
  if (c.real("ord", c.real("p", 2)) != 2) return bad("a norm other than the Euclidean one");
  g[Work::div] = numel(c.out_shape());
  g[Work::mul] = numel(c.shape(kX));
  g.keep(kX);
  g.keep_output();
  return {};
}

/// dy / exp(y).
Status gradient_log_sum(const Call& c, Gradient& g) {
  g[Work::exp] = g[Work::div] = numel(c.out_shape());
  g.keep_output();
  return {};
}

/// dy exp(x - y).
Status gradient_log_sum_exp(const Call& c, Gradient& g) {
  g[Work::add] = g[Work::exp] = g[Work::mul] = numel(c.shape(kX));
  g.keep(kX);
  g.keep_output();
  return {};
}

/// 2 dy / (n - 1), times what x is off the mean by; of the deviation dy / (2 y) first.
Status gradient_variance(const Call& c, Gradient& g) {
  const Count n = numel(c.shape(kX)), rows = numel(c.out_shape());
  g[Work::add] = n + folding(n, rows);
  g[Work::div] = rows;
  g[Work::mul] = n + rows;
  g.keep(kX);
  if (c.op().starts_with("std")) {
    g[Work::div] += rows;
    g[Work::mul] += rows;
    g.keep_output();
  }
  return {};
}

std::vector<Reduction> reductions() {
  using enum Work;
  const GradientFn spread = gradient_view();
  return {
      {"reduce_sum",
       "ReduceSum",
       "Sum",
       "add = |x| - |y|",
       {nullptr, sum},
       {{}, add, {}},
       aten({"sum", "nansum"}, aten_reduced) + aten({"prims::sum"}),
       spread},
      {"reduce_mean",
       "ReduceMean",
       "Mean",
       "add = |x| - |y|; div = |y|",
       {nullptr, sum, true},
       {{}, add, {}},
       aten({"mean"}, aten_reduced_same),
       gradient_each({{div, 1}}, Keeps::nothing)},
      {"reduce_max",
       "ReduceMax",
       "Largest",
       "compare = |x| - |y|",
       {nullptr, Scalar::max},
       {{}, compare, {}},
       aten({"amax", "max"}, aten_extreme) + aten({"any", "_is_any_true"}, aten_test) + aten({"prims::amax"}),
       gradient_extreme},
      {"reduce_min",
       "ReduceMin",
       "Smallest",
       "compare = |x| - |y|",
       {nullptr, Scalar::min},
       {{}, compare, {}},
       aten({"amin", "min"}, aten_extreme) + aten({"all", "_is_all_true"}, aten_test) + aten({"prims::amin"}),
       gradient_extreme},
      {"reduce_prod",
       "ReduceProd",
       "Product",
       "mul = |x| - |y|",
       {nullptr, product},
       {{}, mul, {}},
       aten({"prod"}, aten_reduced) + aten({"prims::prod"}),
       gradient_product_of_all},
      {"reduce_l1",
       "ReduceL1",
       "Sum of magnitudes",
       "logic = |x|; add = |x| - |y|",
       {magnitude, sum},
       {{{logic, 1}}, add, {}},
       {},
       gradient_each({{logic, 1}, {mul, 1}}, Keeps::input)},
      {"reduce_l2",
       "ReduceL2",
       "Root of the sum of squares",
       "mul = |x|; add = |x| - |y|; sqrt = |y|",
       {},
       {{{mul, 1}}, add, {{sqrt, 1}}},
       aten({"linalg_vector_norm", "norm", "frobenius_norm"}, aten_norm),
       gradient_norm},
      {"reduce_sum_square",
       "ReduceSumSquare",
       "Sum of squares",
       "mul = |x|; add = |x| - |y|",
       {square, sum},
       {{{mul, 1}}, add, {}},
       {},
       gradient_each({{mul, 2}}, Keeps::input)},
      {"reduce_log_sum",
       "ReduceLogSum",
       "Logarithm of the sum",
       "add = |x| - |y|; log = |y|",
       {},
       {{}, add, {{log, 1}}},
       {},
       gradient_log_sum},
  };
}

}  // namespace

std::vector<Rule> reduction_rules() {
  std::vector<Rule> rules;
  for (const Reduction& r : reductions()) {
    rules.push_back({r.name, "x #axes", r.summary + " over axes", r.formula, onnx_page(r.op), infer_reduce(r.recipe),
                     cost_reduce(r.steps, r.recipe.mean), onnx({r.op}) + of_torch(r), nullptr, r.gradient});
  }
  rules.push_back({"reduce_log_sum_exp", "x #axes", "Logarithm of the sum of exponentials over axes",
                   "compare = |x| - |y|; add = 2|x|; exp = |x|; log = |y|", onnx_page("ReduceLogSumExp"),
                   infer_reduce({}), cost_log_sum_exp,
                   onnx({"ReduceLogSumExp"}) + aten({"logsumexp"}, aten_log_sum_exp), nullptr, gradient_log_sum_exp});
  rules.push_back({"variance",
                   "x",
                   "Variance, or standard deviation, over axes",
                   "mul = |x|; add = 3|x| - 2|y|; div = 2|y|; the deviation: sqrt = |y|",
                   "https://docs.pytorch.org/docs/stable/generated/torch.var.html",
                   {},
                   cost_variance,
                   aten({"var", "std", "var_mean", "std_mean", "prims::var"}),
                   nullptr,
                   gradient_variance});
  rules.push_back({"reduce_hash",
                   "x",
                   "The bits of all elements, or of those along axes, folded by xor",
                   "logic = |x| - |y|",
                   "https://docs.pytorch.org/docs/stable/generated/torch.hash_tensor.html",
                   {},
                   cost_aten({{}, Work::logic, {}}, false),
                   aten({"hash_tensor", "prims::xor_sum"})});
  rules.push_back({"sparse_sum", "x", "Sum of the elements that a sparse tensor stores, over axes",
                   "n stored elements: add = n - 1 over all axes, n over some: a bound",
                   "https://docs.pytorch.org/docs/stable/generated/torch.sparse.sum.html", aten_reduced,
                   cost_sparse_sum, aten({"_sparse_sum", "_sparse_csr_sum"}, aten_reduced), nullptr, gradient_view()});
  rules.push_back({"reduce_sum_integer", "x", "Sum of small integers over axes", "add = |x| - |y|",
                   contrib_doc("ReduceSumInteger"), infer_reduce({}), cost_reduce({{}, Work::add, {}}, false),
                   microsoft({"ReduceSumInteger"})});
  return rules;
}

std::vector<Rule> reduce_family() {
  return joined(
      with(Access::rows,
           {"reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_l1", "reduce_l2",
            "reduce_sum_square", "reduce_log_sum", "reduce_log_sum_exp", "variance", "reduce_sum_integer"},
           without_gradients("its results are no real numbers", reduction_rules())),
      running_rules(), selection_rules(),
      with(Access::softmax, {"softmax", "bias_softmax"}, with(Access::rows, {"log_softmax"}, softmax_rules())));
}

}  // namespace macsim::rules
