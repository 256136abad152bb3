// The list of families; it is the only list there is.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
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
  for (const Family family : kFamilies) {
    std::vector<Rule> more = family();
    rows.insert(rows.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return rows;
}

}  // namespace macsim::rules
