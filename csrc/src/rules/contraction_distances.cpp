// Distances between rows: of Euclid, and of other norms.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "aten.hpp"
#include "contraction.hpp"
#include "gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

enum : std::size_t { kA, kB };

Status infer_distances(const Call& c, Outputs& out) {
  const Shape& a = c.shape(kA);
  const Shape& b = c.shape(kB);
  if (c.ranked(kA) && c.ranked(kB)) {
    if (a.size() != 2 || b.size() != 2)
      return bad("CDist compares rows of two matrices; the shapes are " + text(a) + " and " + text(b));
    unify(c, a[1], b[1], "lengths of the rows");
  }
  out.set(0, c.dtype(kA), Shape{a[0], b[0]});
  return {};
}

Status cost_distances(const Call& c, Cost& cost) {
  const std::string_view metric = c.text("metric", "sqeuclidean");
  const Count y = numel(c.out_shape());
  const Count each = y * better_known(c.shape(kA)[1], c.shape(kB)[1]);
  if (metric != "euclidean" && metric != "sqeuclidean") {
    cost.trust = Trust::unknown;
    cost.because = "only the Euclidean metrics are known";
    return {};
  }
  cost[Work::add] = 2 * each - y;
  cost[Work::mul] = each;
  if (metric == "euclidean") cost[Work::sqrt] = y;
  return {};
}

/// By the norm `p`, of which torch's default is the Euclidean one.
Status cost_aten_distances(const Call& c, Cost& cost) {
  const Shape& a = c.shape(kA);
  const double p = c.real("p", 2);
  const Count y = numel(c.out_shape());
  const Count each = y * (a.empty() ? Dim(1) : a.back());
  cost[Work::add] = 2 * each - y;  // differences, and the sum
  if (p == 2) {
    cost[Work::mul] = each;
    cost[Work::sqrt] = y;
    return {};
  }
  if (p == 0) {  // how many differ
    cost[Work::add] = each - y;
    cost[Work::compare] = each;
    return {};
  }
  cost[Work::logic] = each;
  if (std::isinf(p)) {  // the largest
    cost[Work::add] = each;
    cost[Work::compare] = each - y;
  } else if (p != 1) {  // |d|^p each, then the root
    for (const Work kind : {Work::log, Work::mul, Work::exp}) cost[kind] = each + y;
  }
  return {};
}

/// Each pair of rows has a factor, dy over the distance, and pulls each of the two along their difference, which is
/// taken again: a product for each element of either, summed over the pairs of a row.
Status gradient_distances(const Call& c, Gradient& g) {
  const Shape& a = c.shape(kA);
  const bool one = c.op() == "pdist" || c.op() == "_pdist_forward";  // all pairs of one matrix's rows
  const double p = c.dialect() == "aten" ? c.real("p", 2) : 2;
  const Count y = numel(c.out_shape()), each = y * (a.empty() ? Dim(1) : a.back());
  g[c.text("metric", "sqeuclidean") == "sqeuclidean" && c.dialect() != "aten" ? Work::mul : Work::div] += y;
  g.again[Work::add] += each;
  if (p != 2) {
    for (const Work kind : {Work::log, Work::mul, Work::exp}) g[kind] += each;
    estimated(g, "a power of every difference");
  }
  for (const std::size_t slot : {kA, kB}) {
    if (!g.needs(slot)) continue;
    g[Work::mul] += each;
    g[Work::add] += (one ? 2 : 1) * each - numel(c.shape(slot));
    g.keep(slot);
  }
  g.keep(kA);
  g.keep(kB);
  g.keep_output();
  return {};
}

/// Of the rows of one matrix: a factor for each pair, dy over the distance, times their difference, summed by row;
/// where all pairs are of that matrix both rows of a pair get it.
Status cost_distances_backward(const Call& c, Cost& cost) {
  enum : std::size_t { kDy = 0, kRows };
  const Shape& x = c.shape(kRows);
  const double p = c.real("p", 2);
  const Count pairs = numel(c.shape(kDy)), each = pairs * (x.empty() ? Dim(1) : x.back());
  cost[Work::div] = pairs;
  cost[Work::mul] = each;
  cost[Work::add] = (c.op() == "_pdist_backward" ? 3 : 2) * each - numel(x);
  if (p == 2) return {};
  for (const Work kind : {Work::log, Work::mul, Work::exp}) cost[kind] += each;
  cost.trust = Trust::estimate;
  cost.because = "a power of every difference";
  return {};
}

}  // namespace

std::vector<Rule> distance_rules() {
  return {{"distances_backward",
           "dy a b",
           "The gradient of distances, of the rows of one matrix",
           "pairs of rows of N: div = |dy|; mul = |dy| * N; add = 2|dy| * N - |a|, of one matrix' own 3|dy| * N - |a|; "
           "norms other than 2: log, mul, exp = |dy| * N more, an estimate",
           "https://docs.pytorch.org/docs/stable/generated/torch.cdist.html",
           {},
           cost_distances_backward,
           aten({"_cdist_backward", "_pdist_backward"}),
           nullptr,
           gradient_like_run},
          {"distances", "a b", "Distances between all rows of one matrix and all rows of another",
           "over rows of N: mul = |y| * N; add = |y| * (2 N - 1); sqrt = |y| for the Euclidean metric; norm 1: logic "
           "in place of mul; p: log, mul, exp = |y| * (N + 1) more",
           contrib_doc("CDist"), infer_distances, cost_distances,
           microsoft({"CDist"}) +
               aten({"cdist", "_cdist_forward", "pdist", "_pdist_forward"}, {}, {}, {}, cost_aten_distances),
           nullptr, gradient_distances}};
}

}  // namespace macsim::rules
