// Registry: which rule answers to which operator.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_REGISTRY_HPP
#define MACSIM_REGISTRY_HPP

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "macsim/diag.hpp"
#include "macsim/rule.hpp"

namespace macsim {

/// A rule as found for one spelling: positions of the canonical slots in the node's inputs.
struct Match {
  std::shared_ptr<const Rule> rule;
  const Binding* binding = nullptr;  ///< the spelling, one of the rule's
  std::int64_t since = 1, until = INT64_MAX;
  std::vector<std::int32_t> position;  ///< input position of each canonical slot; -1: this spelling has none
  std::vector<bool> host;              ///< by input position: a host-side number
  bool host_rest = false;              ///< the same for repeated inputs past the end of `host`
  bool needs_first = false;            ///< the first input is data and does not repeat: a node cannot do without any
  std::vector<std::string> names;      ///< by input position, for messages
  /// The shape rule: the spelling's own, else the rule's.
  const InferFn& infer() const noexcept { return binding != nullptr && binding->infer ? binding->infer : rule->infer; }
  /// The cost rule, likewise.
  const CostFn& cost() const noexcept { return binding != nullptr && binding->cost ? binding->cost : rule->cost; }
  /// The gradient's rule, likewise.
  const GradientFn& gradient() const noexcept {
    return binding != nullptr && binding->gradient ? binding->gradient : rule->gradient;
  }
};

/// A table of rules. A value: copy it, extend it, pass it. Reading from several threads is safe.
class Registry {
 public:
  /// Every built-in row. Immutable; built once, on first use.
  static const Registry& builtin();
  Registry() = default;

  /// Adds a row; bad_request when a spelling already has an owner for some version, or the row is malformed.
  Status add(Rule rule);
  /// Adds a row, taking over its spellings from their owners.
  Status replace(Rule rule);
  /// `op` ("acme::Conv") behaves as `like` ("onnx::Conv").
  Status alias(std::string_view op, std::string_view like);
  /// nullptr: nobody answers to it. `op` is "dialect::Name". How a spelling fits its row is worked out here: of most it
  /// is never asked.
  std::shared_ptr<const Match> find(std::string_view op, std::int64_t version) const;
  /// The row alone; the registry keeps it.
  const Rule* rule(std::string_view op, std::int64_t version) const noexcept;
  /// All rows, in order of families.
  const std::vector<std::shared_ptr<const Rule>>& rules() const noexcept { return rules_; }
  /// Every spelling, sorted.
  std::vector<std::string> spellings() const;
  /// Up to `most` spellings close to `op`, nearest first.
  std::vector<std::string> near(std::string_view op, std::size_t most) const;

 private:
  /// Who answers to a spelling for some versions.
  struct Owner {
    std::string_view op;               ///< the text of a binding or of an alias
    const Binding* binding = nullptr;  ///< null: another took it over, until sweep()
    std::int64_t since = 1, until = INT64_MAX;
    std::uint32_t rule = 0;      ///< in rules_
    std::uint32_t next = kNone;  ///< in owners_, of those whose hashes meet
  };
  static constexpr std::uint32_t kNone = UINT32_MAX;
  Status enter(std::shared_ptr<const Rule> rule, bool take_over);
  const Owner* owner(std::string_view op, std::int64_t version) const noexcept;
  std::uint32_t first(std::string_view op) const noexcept;
  std::uint32_t next(std::uint32_t at) const noexcept;
  std::uint32_t same(std::string_view op, std::uint32_t at) const noexcept;
  void own(Owner owner);
  void link(std::uint32_t at);
  void reserve(std::size_t rules, std::size_t owners);
  void sweep();
  void drop_idle();
  std::vector<std::shared_ptr<const Rule>> rules_;
  std::vector<Owner> owners_;
  std::vector<std::uint32_t> heads_;  ///< by hash, the latest of owners_; as many as a power of 2
  std::vector<Text> aliases_;         ///< shared by copies, as rules are
};

}  // namespace macsim

#endif  // MACSIM_REGISTRY_HPP
