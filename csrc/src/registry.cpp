// Which rule answers to which operator: adding, replacing, aliases, and the nearest names to an unknown one.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/registry.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "rules/families.hpp"

namespace macsim {
namespace {

struct Slot {
  std::string_view name;
  bool host = false, repeated = false, absent = false;
};

std::vector<Slot> split_slots(std::string_view text) {
  std::vector<Slot> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    Slot slot;
    if (word.front() == '#') {
      slot.host = true;
      word.remove_prefix(1);
    }
    if (word.size() > 3 && word.substr(word.size() - 3) == "...") {
      slot.repeated = true;
      word.remove_suffix(3);
    }
    if (word.size() > 1 && word.back() == '?') {
      slot.absent = true;
      word.remove_suffix(1);
    }
    slot.name = word;
    out.push_back(slot);
  }
  return out;
}

Match match_for(std::shared_ptr<const Rule> rule, const Binding& binding, std::int64_t since, std::int64_t until) {
  Match match;
  match.since = since;
  match.until = until;
  const std::vector<Slot> canonical = split_slots(rule->slots);
  const std::vector<Slot> spelled = split_slots(binding.slots.empty() ? rule->slots : binding.slots);
  for (const Slot& slot : canonical) {
    const auto at = std::find_if(spelled.begin(), spelled.end(), [&](const Slot& s) { return s.name == slot.name; });
    match.position.push_back(at == spelled.end() ? -1 : static_cast<std::int32_t>(at - spelled.begin()));
  }
  for (const Slot& slot : spelled) {
    const auto at =
        std::find_if(canonical.begin(), canonical.end(), [&](const Slot& s) { return s.name == slot.name; });
    match.host.push_back(slot.host || (at != canonical.end() && at->host));
    match.names.emplace_back(slot.name);
  }
  match.needs_first = !spelled.empty() && !spelled.front().repeated && !spelled.front().absent && !match.host.front();
  match.host_rest = !spelled.empty() && spelled.back().repeated && match.host.back();
  match.binding = &binding;
  match.rule = std::move(rule);
  return match;
}

// Edits to turn one word into the other, capitals ignored; stops counting past `limit`.
std::size_t distance(std::string_view a, std::string_view b, std::size_t limit) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  if (a.size() > b.size() + limit || b.size() > a.size() + limit) return limit + 1;
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string_view bare(std::string_view op) {
  const std::size_t at = op.rfind("::");
  return at == std::string_view::npos ? op : op.substr(at + 2);
}

}  // namespace

const Registry& Registry::builtin() {
  static const Registry built = [] {
    Registry registry;
    std::vector<Rule> rows = rules::builtin();
    std::size_t spelled = 0;
    for (const Rule& rule : rows) spelled += rule.spelled.size();
    registry.rules_.reserve(rows.size());
    registry.owners_.reserve(spelled);
    for (Rule& rule : rows) {
      // A refused row would be a mistake in the table; tests/cpp/test_registry.cpp finds it.
      (void)static_cast<bool>(registry.add(std::move(rule)));
    }
    return registry;
  }();
  return built;
}

Status Registry::add(Rule rule) { return enter(std::make_shared<const Rule>(std::move(rule)), false); }

Status Registry::replace(Rule rule) { return enter(std::make_shared<const Rule>(std::move(rule)), true); }

Status Registry::enter(std::shared_ptr<const Rule> rule, bool take_over) {
  if (rule->name.empty()) return {Code::bad_request, "a rule needs a name"};
  for (const Binding& binding : rule->spelled) {
    if (binding.op.find("::") == std::string::npos || bare(binding.op).empty()) {
      return {Code::bad_request, "'" + binding.op + "' is not a spelling: write \"dialect::Name\""};
    }
    if (take_over) continue;
    const auto [first, last] = owners_.equal_range(binding.op);
    for (auto at = first; at != last; ++at) {
      const Owner& owner = at->second;
      if (binding.since <= owner.until && owner.since <= binding.until) {
        return {Code::bad_request,
                "'" + binding.op + "' already belongs to rule '" + owner.rule->name + "'; use replace"};
      }
    }
  }
  for (const Binding& binding : rule->spelled) {
    if (take_over) {
      const auto [first, last] = owners_.equal_range(binding.op);
      for (auto at = first; at != last;) {
        const bool meets = binding.since <= at->second.until && at->second.since <= binding.until;
        at = meets ? owners_.erase(at) : std::next(at);
      }
    }
    owners_.emplace(binding.op, Owner{rule, &binding, binding.since, binding.until});
  }
  rules_.push_back(std::move(rule));
  if (take_over) drop_idle();
  return {};
}

// A row that lost its last name to another is gone.
void Registry::drop_idle() {
  std::unordered_set<const Rule*> used;
  for (const auto& [op, owner] : owners_) used.insert(owner.rule.get());
  rules_.erase(
      std::remove_if(rules_.begin(), rules_.end(), [&](const auto& rule) { return used.count(rule.get()) == 0; }),
      rules_.end());
}

Status Registry::alias(std::string_view op, std::string_view like) {
  if (op.find("::") == std::string_view::npos) {
    return {Code::bad_request, "'" + std::string(op) + "' is not a spelling: write \"dialect::Name\""};
  }
  const auto [first, last] = owners_.equal_range(like);
  if (first == last) {
    std::string text = "no rule answers to '" + std::string(like) + "'";
    const auto names = near(like, 3);
    if (!names.empty()) text += "; the nearest:";
    for (const std::string& name : names) text += " " + name;
    return {Code::bad_request, std::move(text)};
  }
  // The alias's dialect has versions of its own: the newest meaning answers to all of them.
  Owner newest = std::max_element(first, last, [](const auto& a, const auto& b) {
                   return a.second.until < b.second.until;
                 })->second;
  newest.since = 0;
  newest.until = INT64_MAX;
  aliases_.push_back(std::make_shared<const std::string>(op));
  owners_.erase(*aliases_.back());
  owners_.emplace(*aliases_.back(), std::move(newest));
  return {};
}

const Registry::Owner* Registry::owner(std::string_view op, std::int64_t version) const noexcept {
  const auto [first, last] = owners_.equal_range(op);
  for (auto at = first; at != last; ++at) {
    if (version >= at->second.since && version <= at->second.until) return &at->second;
  }
  return nullptr;
}

std::shared_ptr<const Match> Registry::find(std::string_view op, std::int64_t version) const {
  const Owner* of = owner(op, version);
  return of == nullptr ? nullptr
                       : std::make_shared<const Match>(match_for(of->rule, *of->binding, of->since, of->until));
}

const Rule* Registry::rule(std::string_view op, std::int64_t version) const noexcept {
  const Owner* of = owner(op, version);
  return of == nullptr ? nullptr : of->rule.get();
}

std::vector<std::string> Registry::spellings() const {
  std::vector<std::string> out;
  out.reserve(owners_.size());
  for (const auto& [op, owner] : owners_) out.emplace_back(op);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<std::string> Registry::near(std::string_view op, std::size_t most) const {
  const std::string_view name = bare(op);
  const std::size_t limit = std::max<std::size_t>(2, name.size() / 3);
  // Of names equally near, those of the same dialect come first, then ONNX's own.
  const auto strange = [&](std::string_view spelled) {
    const std::string_view asked = op.substr(0, op.size() - name.size());
    const std::string_view dialect = spelled.substr(0, spelled.size() - bare(spelled).size());
    return dialect == asked ? 0 : dialect == "onnx::" ? 1 : 2;
  };
  std::vector<std::tuple<std::size_t, int, std::string>> found;
  for (const auto& [spelled, owner] : owners_) {
    const std::size_t apart = distance(name, bare(spelled), limit);
    if (apart <= limit) found.emplace_back(apart, strange(spelled), spelled);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()),
              found.end());  // a spelling has an owner for each of its versions
  std::vector<std::string> out;
  for (std::size_t i = 0; i < found.size() && i < most; ++i) out.push_back(std::move(std::get<2>(found[i])));
  return out;
}

}  // namespace macsim
