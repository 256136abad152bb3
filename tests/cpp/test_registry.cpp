// The table of rules: every row enters it, names have one owner, aliases and near names work.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/registry.hpp"

#include <set>

#include "check.hpp"
#include "rules/families.hpp"

using namespace macsim;

namespace {

Rule rule_of(std::string name, std::vector<Binding> spelled) {
  Rule rule;
  rule.name = std::move(name);
  rule.slots = "x w b";
  rule.spelled = std::move(spelled);
  return rule;
}

}  // namespace

TEST("no built-in row is refused, and no name comes twice") {
  Registry registry;
  std::set<std::string> names;
  for (Rule& rule : rules::builtin()) {
    CHECK(names.insert(rule.name).second);
    const std::string name = rule.name;
    const Status status = registry.add(std::move(rule));
    if (!status) check::fail(__FILE__, __LINE__, name + ": " + std::string(status.text()));
  }
  CHECK_EQ(registry.rules().size(), names.size());
  CHECK_EQ(Registry::builtin().rules().size(), names.size());
}

TEST("a spelling has one owner for each version") {
  Registry registry;
  CHECK(static_cast<bool>(registry.add(rule_of("old", {{"a::Op", "", 1, 5}}))));
  CHECK(static_cast<bool>(registry.add(rule_of("new", {{"a::Op", "", 6}}))));
  CHECK_EQ(registry.find("a::Op", 5)->rule->name, "old");
  CHECK_EQ(registry.find("a::Op", 6)->rule->name, "new");
  CHECK(registry.add(rule_of("third", {{"a::Op", "", 3, 4}})).code() == Code::bad_request);
  CHECK(static_cast<bool>(registry.replace(rule_of("third", {{"a::Op", ""}}))));
  CHECK_EQ(registry.find("a::Op", 5)->rule->name, "third");
}

TEST("slots of a spelling map to those of the row") {
  Registry registry;
  CHECK(static_cast<bool>(registry.add(rule_of("r", {{"a::Op", "w #n x"}}))));
  const auto match = registry.find("a::Op", 1);
  CHECK(match != nullptr);
  CHECK_EQ(match->position, (std::vector<std::int32_t>{2, 0, -1}));  // x, w, b
  CHECK_EQ(match->host, (std::vector<bool>{false, true, false}));
}

TEST("names that are no spellings are refused") {
  Registry registry;
  CHECK(registry.add(rule_of("r", {{"Op", ""}})).code() == Code::bad_request);
  CHECK(registry.add(rule_of("", {{"a::Op", ""}})).code() == Code::bad_request);
  CHECK(registry.alias("a::Other", "a::Op").code() == Code::bad_request);
  CHECK(registry.find("a::Op", 1) == nullptr);
}

TEST("an alias behaves as the newest meaning of what it is like") {
  Registry registry = Registry::builtin();
  CHECK(static_cast<bool>(registry.alias("acme::FusedConv", "onnx::Conv")));
  CHECK_EQ(registry.find("acme::FusedConv", 1)->rule->name, "conv");
  CHECK(Registry::builtin().find("acme::FusedConv", 1) == nullptr);
}

TEST("the nearest names come first") {
  const auto near = Registry::builtin().near("onnx::Cnov", 3);
  CHECK(!near.empty());
  CHECK_EQ(near.front(), "onnx::Conv");
}

TEST("a row keeps texts that are no literals, and its copies share them") {
  Registry registry;
  {
    std::string op = "acme::an_operator_whose_name_is_on_the_heap";
    char slots[] = "left right";
    Rule rule = rule_of("acme", {{op, slots}});
    rule.formula = std::string_view(op).substr(0, 4);
    const Rule copy = rule;
    CHECK_EQ(static_cast<const void*>(copy.spelled[0].op.view().data()),
             static_cast<const void*>(rule.spelled[0].op.view().data()));
    CHECK(static_cast<bool>(registry.add(copy)));
    op.assign(op.size(), '?');
    slots[0] = '?';
  }
  const auto match = registry.find("acme::an_operator_whose_name_is_on_the_heap", 1);
  CHECK(match != nullptr);
  CHECK_EQ(match->binding->slots, "left right");
  CHECK_EQ(match->rule->formula, "acme");
  CHECK_EQ(Text::joined({"a", "", "b"}), "ab");
  CHECK_EQ(std::string(Text("literal")) + Text().str(), "literal");
}

TEST("owners are found after others were taken over and many were added") {
  Registry registry;
  CHECK(static_cast<bool>(registry.add(rule_of("old", {{"a::Op", "", 1, 5}, {"a::Op", "", 6}, {"a::Kept", ""}}))));
  for (int i = 0; i < 100; ++i) {
    const std::string name = "op" + std::to_string(i);
    CHECK(static_cast<bool>(registry.add(rule_of(name, {{"b::" + name, ""}}))));
    if (i == 50) CHECK(static_cast<bool>(registry.replace(rule_of("new", {{"a::Op", "", 6}}))));
    if (i == 60) CHECK(static_cast<bool>(registry.replace(rule_of("op7", {{"b::op7", ""}}))));
    if (i == 70) CHECK(static_cast<bool>(registry.alias("b::op8", "a::Op")));
  }
  const Registry copy = registry;
  registry = Registry();
  CHECK_EQ(copy.find("a::Op", 5)->rule->name, "old");
  CHECK_EQ(copy.find("a::Op", 6)->rule->name, "new");
  CHECK_EQ(copy.find("a::Kept", 1)->rule->name, "old");
  CHECK_EQ(copy.find("b::op8", 1)->rule->name, "new");
  for (int i = 9; i < 100; ++i) {
    const std::string name = "op" + std::to_string(i);
    CHECK_EQ(copy.find("b::" + name, 1)->rule->name, name);
  }
  CHECK_EQ(copy.spellings().size(), 102U);
  CHECK_EQ(copy.rules().size(), 102U);  // the first op7 has no name left
}
