// What all spellings of attention share: its cost from its sizes, and the traffic of a cache of keys and values.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

/// softmax(Q K^T * scale + masks) V, for every head of every batch element.
struct Attend {
  Dim batch = 1, heads, queries, keys;
  Dim size;  ///< of a query and a key
  Dim value_size;
  int masks = 0;          ///< addends of every score: masks, biases
  bool selected = false;  ///< scores are picked by position: a causal mask or a window
  bool softcap = false;   ///< cap * tanh(score / cap)
  bool sink = false;      ///< one more term in the denominator of every softmax
  bool widened = false;   ///< scores are converted for the softmax, and back
  /// For one head, the pairs of a query and a key that a mask of the operator's own leaves; unset: not known, or all.
  std::optional<Count> visible;
  std::optional<Count> key_heads;  ///< heads of keys in all batches, where several heads share them

  Count scores() const { return batch * heads * queries * keys; }
};

/// Adds the work. All queries meet all keys, also under a causal mask; what it hides is told apart.
void attend(Cost& cost, const Attend& a);
/// The gradients of q, k, v (slots 0 to 2) and perhaps a mask: two products for q and k together and one each, one for
/// v. Fused kernels keep the logarithms of the denominators and make the probabilities again.
void attend_gradient(const Call& c, Gradient& g, const Attend& a);
/// The same work alone, for those of queries, keys, values and masks that need one.
struct Needed {
  bool q = false, k = false, v = false, mask = false;
};
void attend_gradient_work(Gradient& g, const Attend& a, const Needed& needed);
void attend_gradient_work(Cost& cost, Cost& again, const Attend& a, const Needed& needed);
inline constexpr char kAttendFormula[] =
    "with S = batch * heads * queries * keys, in full also under a causal mask: mac = S (size + value size), of which "
    "those of hidden pairs are masked; mul = S (scale); "
    "add = S for each mask or bias; logic = S for a causal mask or a window; softmax over the keys; softcap: div, exp "
    "and mul = S";

/// Keys that a query sees through a window of `width`; what the first ones miss is not taken off: a bound.
Dim keys_in_window(const Call& c, const Dim& keys, const Dim& width, Cost& cost);
/// Pairs of a query and a key that a mask by position leaves: query i of `queries` is at position i + before among
/// `keys`, and sees `left` keys before its own position and `right` after it, without a value all of them.
Count visible_pairs(const Dim& queries, const Dim& keys, const Dim& before, std::optional<std::int64_t> left,
                    std::optional<std::int64_t> right);
/// Marks a cost as an upper bound, unless something worse is known of it.
void bound(Cost& cost, std::string_view because);

/// A scalar input that states a length: its value, perhaps symbolic; nullopt when it is left out or not known.
std::optional<Dim> told_length(const Call& c, std::size_t slot);
/// The size of a head from the size of all.
Dim head_size(const Call& c, const Dim& all, const Dim& heads);

std::vector<Rule> projected_attention_rules();  // attention_projected.cpp: with the projections inside
std::vector<Rule> cached_attention_rules();     // attention_cached.cpp: multi-head, grouped, paged
std::vector<Rule> sparse_attention_rules();     // attention_sparse.cpp: selected keys, and what selects them
std::vector<Rule> linear_attention_rules();     // attention_linear.cpp: recurrent states
std::vector<Rule> position_rules();             // attention_position.cpp: rotary and relative positions

}  // namespace macsim::rules
