// The list of families; it is the only list there is.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "rules/families.hpp"

namespace macsim::rules {

std::vector<Rule> builtin() {
  using Family = std::vector<Rule> (*)();
  constexpr Family kFamilies[] = {
      contraction_family, conv_family,        attention_family, rnn_family,     moe_family,     norm_family,
      pool_family,        elementwise_family, reduce_family,    quant_family,   resize_family,  signal_family,
      view_family,        move_family,        shape_family,     random_family,  control_family, sequence_family,
      text_family,        ml_family,          train_family,     contrib_family,
  };
  std::vector<Rule> rows;
  rows.reserve(512);  // more than there are
  for (const Family family : kFamilies) {
    std::vector<Rule> more = family();
    rows.insert(rows.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return rows;
}

std::vector<Rule> with(Access access, std::vector<Rule> rules) {
  for (Rule& rule : rules) {
    if (rule.access == Access::other) rule.access = access;
  }
  return rules;
}

std::vector<Rule> with(Access access, std::initializer_list<std::string_view> names, std::vector<Rule> rules) {
  for (Rule& rule : rules) {
    if (std::find(names.begin(), names.end(), rule.name) != names.end()) rule.access = access;
  }
  return rules;
}

}  // namespace macsim::rules
