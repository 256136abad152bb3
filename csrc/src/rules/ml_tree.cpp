// Ensembles of decision trees. How far a row goes down a tree depends on data: the deepest path is counted, and is
// exact where all paths of a tree are as deep. Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "rules/ml.hpp"

namespace macsim::rules {
namespace {

// Forests. ---------------------------------------------------------------------------------------------------------

// The least and the most of something, over the leaves of a tree or the trees of a forest.
struct Range {
  std::int64_t least = 0, most = 0;
  void add(const Range& other) {
    least += other.least;
    most += other.most;
  }
  void widen(const Range& other) {
    least = std::min(least, other.least);
    most = std::max(most, other.most);
  }
};

struct Forest {
  std::int64_t trees = 0;
  Range tests, votes;  ///< for one row, over all trees
};

constexpr std::size_t kNoNode = SIZE_MAX;

/// Nodes of all trees by position. A leaf has no branches, only votes.
struct Branch {
  std::size_t yes = kNoNode, no = kNoNode;
  std::int64_t votes = 0;
};

/// Paths from one node down to the leaves under it.
struct Paths {
  Range tests, votes;
  enum class Seen : std::uint8_t { no, open, done } seen = Seen::no;
};

// Fills in `paths` from `root` down; false: the nodes under it form a cycle.
bool descend(const std::vector<Branch>& nodes, std::size_t root, std::vector<Paths>& paths) {
  std::vector<std::size_t> stack{root};
  while (!stack.empty()) {
    const std::size_t at = stack.back();
    const Branch& node = nodes[at];
    Paths& here = paths[at];
    const bool leaf = node.yes == kNoNode;
    if (here.seen == Paths::Seen::no && !leaf) {
      here.seen = Paths::Seen::open;
      for (const std::size_t next : {node.yes, node.no}) {
        if (paths[next].seen == Paths::Seen::open) return false;
        if (paths[next].seen == Paths::Seen::no) stack.push_back(next);
      }
      continue;
    }
    stack.pop_back();
    if (here.seen == Paths::Seen::done) continue;
    here.seen = Paths::Seen::done;
    if (leaf) {
      here.votes = {node.votes, node.votes};
      continue;
    }
    here.tests = paths[node.yes].tests;
    here.tests.widen(paths[node.no].tests);
    here.tests.add({1, 1});
    here.votes = paths[node.yes].votes;
    here.votes.widen(paths[node.no].votes);
  }
  return true;
}

// `all`: every node must be under one of the roots.
Status measure(const std::vector<Branch>& nodes, const std::vector<std::size_t>& roots, bool all, Forest& forest) {
  std::vector<Paths> paths(nodes.size());
  bool sound = true;
  for (const std::size_t root : roots) sound = sound && descend(nodes, root, paths);
  for (const Paths& path : paths) sound = sound && (!all || path.seen == Paths::Seen::done);
  if (!sound) return bad("the nodes of a tree form a cycle");
  for (const std::size_t root : roots) {
    forest.tests.add(paths[root].tests);
    forest.votes.add(paths[root].votes);
  }
  forest.trees = static_cast<std::int64_t>(roots.size());
  return {};
}

// TreeEnsembleClassifier and TreeEnsembleRegressor: nodes named by tree and number, leaves among them. `votes`: the
// prefix of the attributes of the leaves.
Status read_named(const Call& c, const std::string& votes, Forest& forest) {
  const auto trees = c.integers("nodes_treeids"), ids = c.integers("nodes_nodeids");
  const auto yes = c.integers("nodes_truenodeids"), no = c.integers("nodes_falsenodeids");
  const auto modes = c.texts("nodes_modes");
  if (trees.size() != ids.size() || yes.size() != ids.size() || no.size() != ids.size() || modes.size() != ids.size()) {
    return bad("the lists of nodes differ in length");
  }
  using Name = std::pair<std::int64_t, std::int64_t>;
  std::map<Name, std::size_t> places;
  for (std::size_t i = 0; i < ids.size(); ++i) places.emplace(Name(trees[i], ids[i]), i);
  std::vector<Branch> nodes(ids.size());
  std::vector<bool> child(ids.size(), false);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (modes[i] == "LEAF") continue;
    const auto to_yes = places.find({trees[i], yes[i]}), to_no = places.find({trees[i], no[i]});
    if (to_yes == places.end() || to_no == places.end()) return bad("a branch leads to a node that is not there");
    nodes[i].yes = to_yes->second;
    nodes[i].no = to_no->second;
    child[nodes[i].yes] = child[nodes[i].no] = true;
  }
  const auto vote_trees = c.integers(votes + "_treeids"), vote_nodes = c.integers(votes + "_nodeids");
  for (std::size_t i = 0; i < std::min(vote_trees.size(), vote_nodes.size()); ++i) {
    const auto leaf = places.find({vote_trees[i], vote_nodes[i]});
    if (leaf != places.end()) ++nodes[leaf->second].votes;
  }
  std::vector<std::size_t> roots;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!child[i]) roots.push_back(i);
  }
  return measure(nodes, roots, true, forest);
}

// TreeEnsemble: branches by position, leaves in lists of their own, one vote each.
Status read_placed(const Call& c, Forest& forest) {
  const auto yes = c.integers("nodes_truenodeids"), no = c.integers("nodes_falsenodeids");
  const auto yes_leaf = c.integers("nodes_trueleafs"), no_leaf = c.integers("nodes_falseleafs");
  const auto roots = c.integers("tree_roots");
  const std::size_t n = yes.size();
  if (no.size() != n || yes_leaf.size() != n || no_leaf.size() != n) return bad("the lists of nodes differ in length");
  std::vector<Branch> nodes(n + 1);  // the last stands for every leaf
  nodes[n].votes = 1;
  const auto within = [&](std::int64_t at) { return at >= 0 && static_cast<std::size_t>(at) < n; };
  for (std::size_t i = 0; i < n; ++i) {
    if ((yes_leaf[i] == 0 && !within(yes[i])) || (no_leaf[i] == 0 && !within(no[i]))) {
      return bad("a branch leads to a node that is not there");
    }
    nodes[i].yes = yes_leaf[i] != 0 ? n : static_cast<std::size_t>(yes[i]);
    nodes[i].no = no_leaf[i] != 0 ? n : static_cast<std::size_t>(no[i]);
  }
  std::vector<std::size_t> starts;
  for (const std::int64_t root : roots) {
    if (!within(root)) return bad("a root is not among the nodes");
    const auto at = static_cast<std::size_t>(root);
    const bool single = yes_leaf[at] != 0 && no_leaf[at] != 0 && yes[at] == no[at];  // a tree that is one leaf
    starts.push_back(single ? n : at);
  }
  return measure(nodes, starts, false, forest);
}

// Work. ------------------------------------------------------------------------------------------------------------

// Votes summed (or the least or largest found) into so many targets; the first vote for each is no work.
void add_forest(Cost& cost, const Forest& forest, const Count& rows, std::int64_t targets, bool by_size) {
  cost[Work::compare] += rows * forest.tests.most;
  cost[by_size ? Work::compare : Work::add] += rows * std::max<std::int64_t>(forest.votes.most - targets, 0);
  const bool exact = forest.tests.least == forest.tests.most && forest.votes.least == forest.votes.most;
  if (exact) return;
  cost.trust = Trust::bound;
  cost.because = "the deepest path of each tree; which one a row takes depends on data";
}

bool has_base(const Call& c) { return !c.reals("base_values").empty() || c.tensor("base_values_as_tensor") != nullptr; }

std::size_t distinct(Span<std::int64_t> ids) { return std::set<std::int64_t>(ids.begin(), ids.end()).size(); }

// Classifier. ------------------------------------------------------------------------------------------------------

std::int64_t class_scores(const Call& c) {
  const std::size_t classes = labels(c, "classlabels_int64s", "classlabels_strings");
  return static_cast<std::int64_t>(std::max<std::size_t>(classes, 2));  // one label: yes or no
}

Status infer_classifier(const Call& c, Outputs& out) {
  const Rows rows = rows_of(c);
  out.set(0, label_dtype(c, "classlabels_strings"), {rows.count});
  out.set(1, DType::f32, {rows.count, class_scores(c)});
  return needs_rows(c);
}

Status cost_classifier(const Call& c, Cost& cost) {
  Forest forest;
  if (Status status = read_named(c, "class", forest); !status) return status;
  const Rows rows = rows_of(c);
  const std::int64_t scores = class_scores(c);
  const auto voted = static_cast<std::int64_t>(distinct(c.integers("class_ids")));
  add_forest(cost, forest, rows.count, voted, false);
  if (has_base(c)) cost[Work::add] += rows.count * voted;
  const Transform transform = transform_of(c);
  if (voted == 1) {  // the other class's score is 1 - p, or -p before a transform
    cost[transform == Transform::none || transform == Transform::probit ? Work::add : Work::logic] += rows.count;
  }
  add_transform(cost, transform, rows.count, scores);
  add_choice(cost, rows.count, scores);
  if (is_integer(c.dtype(0))) cost[Work::convert] = numel(c.shape(0));
  cost.compute = DType::f32;
  read_model(c, cost, {"nodes_values", "nodes_values_as_tensor", "class_weights", "class_weights_as_tensor"});
  return {};
}

// Regressors. ------------------------------------------------------------------------------------------------------

std::int64_t targets_of(const Call& c, std::string_view ids) {
  if (c.has_attr("n_targets")) return c.integer("n_targets", 1);
  const auto given = c.integers(ids);
  return given.empty() ? 1 : *std::max_element(given.begin(), given.end()) + 1;
}

Status infer_regressor(const Call& c, Outputs& out) {
  out.set(0, DType::f32, {rows_of(c).count, targets_of(c, "target_ids")});
  return needs_rows(c);
}

Status infer_ensemble(const Call& c, Outputs& out) {
  out.set(0, c.dtype(0), {rows_of(c).count, targets_of(c, "leaf_targetids")});
  return needs_rows(c);
}

enum class Join : std::uint8_t { average, sum, min, max };  // TreeEnsemble's numbers

Join join_of(const Call& c) {
  if (const Attr* attr = c.attr("aggregate_function"); attr != nullptr && attr->kind == Attr::Kind::integer) {
    return attr->integer >= 0 && attr->integer < 4 ? static_cast<Join>(attr->integer) : Join::sum;
  }
  const std::string_view name = c.text("aggregate_function", "SUM");
  return name == "AVERAGE" ? Join::average : name == "MIN" ? Join::min : name == "MAX" ? Join::max : Join::sum;
}

void add_regression(const Call& c, Cost& cost, const Forest& forest, std::int64_t targets) {
  const Count rows = rows_of(c).count;
  const Join join = join_of(c);
  add_forest(cost, forest, rows, targets, join == Join::min || join == Join::max);
  if (join == Join::average) cost[Work::div] += rows * targets;
  if (has_base(c)) cost[Work::add] += rows * targets;
  add_transform(cost, transform_of(c), rows, targets);
}

Status cost_regressor(const Call& c, Cost& cost) {
  Forest forest;
  if (Status status = read_named(c, "target", forest); !status) return status;
  add_regression(c, cost, forest, targets_of(c, "target_ids"));
  if (is_integer(c.dtype(0))) cost[Work::convert] = numel(c.shape(0));
  cost.compute = DType::f32;
  read_model(c, cost, {"nodes_values", "nodes_values_as_tensor", "target_weights", "target_weights_as_tensor"});
  return {};
}

Status cost_ensemble(const Call& c, Cost& cost) {
  Forest forest;
  if (Status status = read_placed(c, forest); !status) return status;
  add_regression(c, cost, forest, targets_of(c, "leaf_targetids"));
  read_model(c, cost, {"nodes_splits", "leaf_weights"});
  return {};
}

}  // namespace

std::vector<Rule> tree_rules() {
  const Text paths = "compare = N * depth, add = N * (votes - targets), over all trees and their deepest paths";
  return {
      ml_row("tree_classifier", "x", "Trees that vote for classes",
             paths + "; add N * classes with base values; then the transform of the scores and the choice of the "
                     "largest: compare = N * (classes - 1)",
             {"TreeEnsembleClassifier"}, infer_classifier, cost_classifier),
      ml_row("tree_regressor", "x", "Trees whose leaves are summed",
             paths + " (MIN, MAX: compare instead of add); div N * targets for AVERAGE; add N * targets with base "
                     "values",
             {"TreeEnsembleRegressor"}, infer_regressor, cost_regressor),
      ml_row("tree_ensemble", "x", "Trees whose leaves are summed",
             paths + " (MIN, MAX: compare instead of add; a test of membership is one comparison); div N * targets "
                     "for AVERAGE",
             {"TreeEnsemble"}, infer_ensemble, cost_ensemble),
  };
}

}  // namespace macsim::rules
