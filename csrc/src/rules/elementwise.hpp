// What the parts of the element-wise family share.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "rules/elements.hpp"
#include "rules/support.hpp"

namespace macsim::rules {

/// Scalar operations that one element takes, by kind.
class PerElement {
 public:
  PerElement() = default;
  PerElement(std::initializer_list<std::pair<Work, std::uint8_t>> work) {
    for (const auto& [kind, times] : work) times_[static_cast<std::size_t>(kind)] = times;
  }
  bool empty() const noexcept { return times_ == std::array<std::uint8_t, kWorks>(); }

 private:
  friend void add_each(Cost& cost, const PerElement& work, const Count& elements);
  std::array<std::uint8_t, kWorks> times_{};  // so small that rules hold them in themselves
};

void add_each(Cost& cost, const PerElement& work, const Count& elements);
/// A cost of so many operations for each element of output 0.
CostFn cost_each(PerElement work);

/// A number cast to an integer. A size whose sign is not known is taken to be at least 0, and that is recorded.
Scalar truncated(const Call& c, const Scalar& x);
/// x / y of integers, toward zero; the same assumption.
Scalar truncated_ratio(const Call& c, const Scalar& x, const Scalar& y);
Truth negated(Truth truth) noexcept;

std::vector<Rule> unary_rules();    // elementwise.cpp
std::vector<Rule> binary_rules();   // elementwise_binary.cpp: arithmetic, comparison, logic, bits, powers
std::vector<Rule> several_rules();  // elementwise_several.cpp: any number of inputs, selection, casts
std::vector<Rule> special_rules();  // elementwise_special.cpp: torch's own
std::vector<Rule> fused_rules();    // elementwise_fused.cpp: gated activations, com.microsoft

}  // namespace macsim::rules
