// ai.onnx.ml: linear models, scalers, encoders, maps. Trees are in ml_tree.cpp, support vector machines in ml_svm.cpp.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/ml.hpp"
#include "rules/gradient.hpp"

#include <algorithm>

#include "rules/families.hpp"

namespace macsim::rules {

// Shared by the models. --------------------------------------------------------------------------------------------

Rows rows_of(const Call& c) {
  const Shape& x = c.shape(0);
  if (x.size() == 1) return {1, x[0]};
  return {x[0], x.back()};
}

Status needs_rows(const Call& c) {
  if (!c.ranked(0) || c.shape(0).size() == 1 || c.shape(0).size() == 2) return {};
  return bad("rows of features, [N, F] or [F], are needed, not " + text(c.shape(0)));
}

std::size_t labels(const Call& c, std::string_view ints, std::string_view texts) {
  return std::max(c.integers(ints).size(), c.texts(texts).size());
}

DType label_dtype(const Call& c, std::string_view texts) { return c.texts(texts).empty() ? DType::i64 : DType::string; }

Transform transform_of(const Call& c) {
  constexpr std::string_view names[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  if (const Attr* attr = c.attr("post_transform"); attr != nullptr && attr->kind == Attr::Kind::integer) {
    return attr->integer >= 0 && attr->integer < 5 ? static_cast<Transform>(attr->integer) : Transform::none;
  }
  const auto* at = std::find(std::begin(names), std::end(names), c.text("post_transform", "NONE"));
  return at == std::end(names) ? Transform::none : static_cast<Transform>(at - std::begin(names));
}

void add_transform(Cost& cost, Transform transform, const Count& rows, const Count& scores) {
  const Count all = rows * scores;
  switch (transform) {
    case Transform::none:
      return;
    case Transform::softmax_zero:  // scores of zero are told apart
      cost[Work::compare] += all;
      [[fallthrough]];
    case Transform::softmax:
      cost[Work::compare] += all - rows;
      cost[Work::add] += 2 * all - rows;
      cost[Work::exp] += all;
      cost[Work::div] += all;
      return;
    case Transform::logistic:
      cost[Work::exp] += all;
      cost[Work::add] += all;
      cost[Work::div] += all;
      return;
    case Transform::probit:  // the inverse error function by one logarithm and two square roots
      cost[Work::mul] += 7 * all;
      cost[Work::add] += 6 * all;
      cost[Work::log] += all;
      cost[Work::sqrt] += 2 * all;
      cost[Work::compare] += all;
      return;
  }
}

void add_choice(Cost& cost, const Count& rows, const Count& scores) {
  cost[Work::compare] += scores.is(1) ? rows : rows * (scores - 1);
}

void read_model(const Call& c, Cost& cost, std::initializer_list<std::string_view> attributes) {
  Count model;
  for (const std::string_view name : attributes) {
    model += 4 * static_cast<std::int64_t>(c.reals(name).size());
    if (const Stored* tensor = c.tensor(name)) model += bytes(tensor->type);
  }
  const Count x = bytes(c.in(0));
  const bool stored = c.role(0) == Role::weight;
  cost.read = stored ? Count(0) : x;
  cost.weights = stored ? model + x : model;
}

Rule ml_row(Text name, Text slots, Text summary, Text formula, std::initializer_list<std::string_view> ops,
            InferFn infer, CostFn cost) {
  Rule rule;
  rule.name = std::move(name);
  rule.slots = std::move(slots);
  rule.summary = std::move(summary);
  rule.formula = std::move(formula);
  rule.reference = Text::joined({"https://onnx.ai/onnx/operators/onnx_aionnxml_", *ops.begin(), ".html"});
  rule.infer = std::move(infer);
  rule.cost = std::move(cost);
  for (const std::string_view op : ops) rule.spelled.push_back({Text::joined({"ai.onnx.ml::", op}), ""});
  return rule;
}

namespace {

constexpr std::string_view kLookUp = "a look-up in a table counts as one comparison";

enum : std::size_t { kX, kIndices };

void look_up(Cost& cost, const Count& times) {
  cost[Work::compare] += times;
  cost.trust = Trust::estimate;
  cost.because = kLookUp;
}

// Linear models. ---------------------------------------------------------------------------------------------------

// Scores a row: coefficients over features, or as many as there are intercepts or labels.
Dim linear_scores(const Call& c) {
  const auto coefficients = c.integers("coefficients").size() + c.reals("coefficients").size();
  const Dim features = rows_of(c).features;
  if (const auto f = features.constant(); f && *f > 0) return static_cast<std::int64_t>(coefficients) / *f;
  if (const auto n = c.reals("intercepts").size(); n != 0) return n;
  const std::size_t classes = labels(c, "classlabels_ints", "classlabels_strings");
  return classes == 2 ? Dim::undefined() : Dim(classes);  // two classes may share one score
}

// One score for two classes is turned into two.
bool adds_second(const Call& c, const Dim& scores) {
  return scores.is(1) && labels(c, "classlabels_ints", "classlabels_strings") == 2;
}

Status infer_linear_classifier(const Call& c, Outputs& out) {
  const Rows rows = rows_of(c);
  const Dim scores = linear_scores(c);
  const bool two = labels(c, "classlabels_ints", "classlabels_strings") == 2;
  out.set(0, label_dtype(c, "classlabels_strings"), {rows.count});
  out.set(1, DType::f32, {rows.count, two ? Dim(2) : scores});
  return needs_rows(c);
}

Status cost_linear_classifier(const Call& c, Cost& cost) {
  const Rows rows = rows_of(c);
  const Dim scores = linear_scores(c);
  const bool second = adds_second(c, scores);
  const Count shown = second ? Count(2) : scores;
  cost[Work::mac] = rows.count * rows.features * scores;
  if (!c.reals("intercepts").empty()) cost[Work::add] = rows.count * scores;
  if (second) cost[Work::logic] = rows.count;  // the sign turned
  add_transform(cost, transform_of(c), rows.count, shown);
  add_choice(cost, rows.count, shown);
  cost.compute = cost.rhs = cost.accumulate = DType::f32;
  read_model(c, cost, {"coefficients", "intercepts"});
  return {};
}

Status infer_linear_regressor(const Call& c, Outputs& out) {
  out.set(0, DType::f32, {rows_of(c).count, c.integer("targets", 1)});
  return needs_rows(c);
}

Status cost_linear_regressor(const Call& c, Cost& cost) {
  const Rows rows = rows_of(c);
  const Count targets = c.integer("targets", 1);
  cost[Work::mac] = rows.count * rows.features * targets;
  if (!c.reals("intercepts").empty()) cost[Work::add] = rows.count * targets;
  add_transform(cost, transform_of(c), rows.count, targets);
  cost.compute = cost.rhs = cost.accumulate = DType::f32;
  read_model(c, cost, {"coefficients", "intercepts"});
  return {};
}

// Scaler, Normalizer, Binarizer, Imputer. --------------------------------------------------------------------------

Status cost_scaler(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  if (!c.reals("offset").empty()) cost[Work::add] = n;
  if (!c.reals("scale").empty()) cost[Work::mul] = n;
  if (c.dtype(kX) != DType::f32) cost[Work::convert] = n;
  cost.compute = DType::f32;
  if (c.reals("offset").empty() && c.reals("scale").empty()) cost.because = "neither scale nor offset is given";
  return {};
}

// Rows of n: the sum or maximum of sizes, or the root of the sum of squares; a test for 0; a division each.
Status cost_normalizer(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  const Count rows = rows_of(c).count;
  if (Status status = one_of(c, "norm", {"MAX", "L1", "L2"}); !status) return status;
  const std::string_view norm = c.text("norm", "MAX");
  if (norm == "L2") {
    cost[Work::mul] = n;
    cost[Work::sqrt] = rows;
  } else {
    cost[Work::logic] = n;  // the sign dropped
  }
  cost[norm == "MAX" ? Work::compare : Work::add] = n - rows;
  cost[Work::compare] += rows;
  cost[Work::div] = n;
  if (c.dtype(kX) != DType::f32) cost[Work::convert] = n;
  cost.compute = DType::f32;
  return {};
}

Status infer_normalizer(const Call& c, Outputs& out) {
  out.set(0, DType::f32, c.shape(kX));
  return needs_rows(c);
}

Status cost_binarizer(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.shape(kX));
  return {};
}

Status cost_imputer(const Call& c, Cost& cost) {
  cost[Work::compare] = cost[Work::logic] = numel(c.shape(kX));
  return {};
}

// Selection, joining. ----------------------------------------------------------------------------------------------

Status infer_extractor(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  Shape z;
  if (x.size() == 1) z.push_back(1);
  for (std::size_t i = 0; i + 1 < x.size(); ++i) z.push_back(x[i]);
  z.push_back(numel(c.shape(kIndices)));
  out.set(0, c.dtype(kX), std::move(z));
  return {};
}

Status cost_extractor(const Call& c, Cost& cost) {
  if (c.dtype(kX) != DType::string) {
    const Count taken = bytes(c.out()), indices = bytes(c.in(kIndices));
    const bool stored = c.role(kX) == Role::weight, listed = c.role(kIndices) == Role::weight;
    cost.read = (stored ? Count(0) : taken) + (listed ? Count(0) : indices);
    cost.weights = (stored ? taken : Count(0)) + (listed ? indices : Count(0));
  }
  cost.moves("moves data only");
  return {};
}

Status infer_feature_vectorizer(const Call& c, Outputs& out) {
  const Span<std::int64_t> sizes = c.integers("inputdimensions");
  Dim width = 0, count = 1;
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    const Shape& x = c.shape_at(i);
    width += i < sizes.size() ? Dim(sizes[i]) : x.back();
    const Dim rows = x.size() > 1 ? x[0] : Dim(1);
    count = i == 0 ? rows : unify(c, count, rows, "numbers of rows");
  }
  out.set(0, DType::f32, {count, width});
  return {};
}

Status cost_feature_vectorizer(const Call& c, Cost& cost) {
  if (c.inputs() != 0 && c.at(0).dtype != DType::f32) cost[Work::convert] = numel(c.out_shape());
  cost.moves("moves data only");
  return {};
}

// Encoders. --------------------------------------------------------------------------------------------------------

Status infer_one_hot(const Call& c, Outputs& out) {
  Shape y = c.shape(kX);
  y.push_back(labels(c, "cats_int64s", "cats_strings"));
  out.set(0, DType::f32, std::move(y));
  return {};
}

Status cost_look_up(const Call& c, Cost& cost) {
  look_up(cost, numel(c.shape(kX)));
  return {};
}

Status infer_category_mapper(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kX) == DType::string ? DType::i64 : DType::string, c.shape(kX));
  return {};
}

// Version 1 turns texts into their places in a list, or back; later ones state keys and values.
Status infer_label_encoder(const Call& c, Outputs& out) {
  DType dtype = c.dtype(kX) == DType::string ? DType::i64 : DType::string;
  if (const Stored* values = c.tensor("values_tensor")) {
    dtype = values->type.dtype;
  } else if (!c.integers("values_int64s").empty()) {
    dtype = DType::i64;
  } else if (!c.reals("values_floats").empty()) {
    dtype = DType::f32;
  } else if (!c.texts("values_strings").empty()) {
    dtype = DType::string;
  }
  out.set(0, dtype, c.shape(kX));
  return {};
}

// Maps. ------------------------------------------------------------------------------------------------------------

Status infer_cast_map(const Call& c, Outputs& out) {
  const std::string_view to = c.text("cast_to", "TO_FLOAT");
  const DType dtype = to == "TO_STRING" ? DType::string : to == "TO_INT64" ? DType::i64 : DType::f32;
  const bool sparse = c.text("map_form", "DENSE") == "SPARSE";
  out.set(0, dtype, {1, sparse ? Dim(c.integer("max_map", 1)) : out.symbol("keys", "keys of a map")});
  return {};
}

Status cost_cast_map(const Call& c, Cost& cost) {
  cost[Work::convert] = numel(c.out_shape());
  cost.trust = Trust::bound;
  cost.because = "every key is taken to be in the map";
  return {};
}

Status infer_dict_vectorizer(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kX), {1, labels(c, "int64_vocabulary", "string_vocabulary")});
  return {};
}

Status cost_dict_vectorizer(const Call& c, Cost& cost) {
  look_up(cost, numel(c.out_shape()));
  return {};
}

Status infer_zip_map(const Call& c, Outputs& out) {
  auto value = std::make_shared<Type>(Type::of(c.dtype(kX), {}));
  auto map = std::make_shared<Type>();
  map->kind = Kind::map;
  map->dtype = value->dtype;
  map->element = std::move(value);
  Type list;
  list.kind = Kind::sequence;
  list.dtype = map->dtype;
  list.element = std::move(map);
  out.set(0, std::move(list));
  return needs_rows(c);
}

}  // namespace

std::vector<Rule> ml_family() {
  std::vector<Rule> rules = {
      ml_row("linear_classifier", "x", "Scores and labels of a linear model",
             "mac = N * F * scores; add = N * scores with intercepts; then the transform of the scores and the choice "
             "of the largest: compare = N * (scores - 1)",
             {"LinearClassifier"}, infer_linear_classifier, cost_linear_classifier),
      ml_row("linear_regressor", "x", "A linear model", "mac = N * F * targets; add = N * targets with intercepts",
             {"LinearRegressor"}, infer_linear_regressor, cost_linear_regressor),
      ml_row("scaler", "x", "Shift and scale of features", "add = |x| with an offset; mul = |x| with a scale",
             {"Scaler"}, infer_same_as(DType::f32), cost_scaler),
      ml_row("normalizer", "x", "Rows divided by their norm",
             "MAX: logic = |x|, compare = |x|; L1: logic = |x|, add = |x| - N, compare = N; L2: mul = |x|, "
             "add = |x| - N, sqrt = N, compare = N; div = |x|",
             {"Normalizer"}, infer_normalizer, cost_normalizer),
      ml_row("binarizer", "x", "0 or 1 by a threshold", "compare = |x|", {"Binarizer"}, infer_same, cost_binarizer),
      ml_row("imputer", "x", "Missing values replaced", "compare = |x|; logic = |x|", {"Imputer"}, infer_same,
             cost_imputer),
      ml_row("array_feature_extractor", "x indices", "Columns of the last axis by index",
             "no work; reads |z| and the indices, writes |z|", {"ArrayFeatureExtractor"}, infer_extractor,
             cost_extractor),
      ml_row("feature_vectorizer", "xs...", "Features joined into rows", "convert = |y| unless the inputs are f32",
             {"FeatureVectorizer"}, infer_feature_vectorizer, cost_feature_vectorizer),
      ml_row("one_hot_encoder", "x", "A one in the place of each element's category", "compare = |x|, one a look-up",
             {"OneHotEncoder"}, infer_one_hot, cost_look_up),
      ml_row("category_mapper", "x", "Texts to numbers and back by a table", "compare = |x|, one a look-up",
             {"CategoryMapper"}, infer_category_mapper, cost_look_up),
      ml_row("label_encoder", "x", "Elements replaced by a table", "compare = |x|, one a look-up", {"LabelEncoder"},
             infer_label_encoder, cost_look_up),
      ml_row("cast_map", "x", "The values of a map as a tensor", "convert = |y|", {"CastMap"}, infer_cast_map,
             cost_cast_map),
      ml_row("dict_vectorizer", "x", "The values of a map in the order of a vocabulary", "compare = |y|, one a look-up",
             {"DictVectorizer"}, infer_dict_vectorizer, cost_dict_vectorizer),
      ml_row("zip_map", "x", "A map of labels to scores for each row", "no work", {"ZipMap"}, infer_zip_map,
             cost_moves("moves data only")),
  };
  for (Rule& rule : tree_rules()) rules.push_back(std::move(rule));
  for (Rule& rule : svm_rules()) rules.push_back(std::move(rule));
  return with_gradients({{"linear_regressor", gradient_of_network},
                         {"linear_classifier", gradient_of_network},
                         {"svm_regressor", gradient_of_network},
                         {"svm_classifier", gradient_of_network},
                         {"scaler", gradient_like_run},
                         {"normalizer", gradient_of_network},
                         {"imputer", gradient_each({{Work::logic, 1}}, Keeps::input)},
                         {"array_feature_extractor", gradient_moves()},
                         {"feature_vectorizer", gradient_moves()},
                         {"zip_map", gradient_moves()},
                         {"cast_map", gradient_moves()},
                         {"dict_vectorizer", gradient_moves()}},
                        without_gradients("constant between its steps", std::move(rules)));
}

}  // namespace macsim::rules
