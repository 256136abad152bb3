// What the parts of the ai.onnx.ml family share. Private to it.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include "rules/support.hpp"

namespace macsim::rules {

/// Slot 0 as rows of features: [N, F], or [F] for a single row.
struct Rows {
  Dim count, features;
};
Rows rows_of(const Call& c);
/// bad_inputs when slot 0 is neither.
Status needs_rows(const Call& c);

/// How many labels there are, as numbers or texts.
std::size_t labels(const Call& c, std::string_view ints, std::string_view texts);
DType label_dtype(const Call& c, std::string_view texts);

/// What is done to the scores in the end; the numbers are TreeEnsemble's.
enum class Transform : std::uint8_t { none, softmax, logistic, softmax_zero, probit };
Transform transform_of(const Call& c);
void add_transform(Cost& cost, Transform transform, const Count& rows, const Count& scores);
/// The largest of the scores of each row; a single one is put against a threshold.
void add_choice(Cost& cost, const Count& rows, const Count& scores);

/// Traffic: slot 0, and the model, which is kept in attributes: lists of floats, or tensors.
void read_model(const Call& c, Cost& cost, std::initializer_list<std::string_view> attributes);

Rule ml_row(Text name, Text slots, Text summary, Text formula, std::initializer_list<std::string_view> ops,
            InferFn infer, CostFn cost);

std::vector<Rule> tree_rules();  // ml_tree.cpp
std::vector<Rule> svm_rules();   // ml_svm.cpp

}  // namespace macsim::rules
