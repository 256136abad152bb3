// Which rule answers to which operator: adding, replacing, aliases, and the nearest names to an unknown one.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/registry.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "name_table.hpp"
#include "rules/families.hpp"

namespace macsim {
namespace {

// The names are the program's own: nobody makes them collide.
constexpr std::uint64_t kHashKey = 0x9E3779B97F4A7C15U;

struct Slot {
  std::string_view name;
  bool host = false, repeated = false, absent = false;
};

std::vector<Slot> split_slots(std::string_view text) {
  std::vector<Slot> out;
  out.reserve(8);  // most have fewer
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
  const std::vector<Slot> others = binding.slots.empty() ? std::vector<Slot>() : split_slots(binding.slots);
  const std::vector<Slot>& spelled = binding.slots.empty() ? canonical : others;
  match.position.reserve(canonical.size());
  match.host.reserve(spelled.size());
  match.names.reserve(spelled.size());
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
    registry.reserve(rows.size(), spelled);
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

// The first owner of a spelling; kNone: it has none.
std::uint32_t Registry::first(std::string_view op) const noexcept {
  return heads_.empty() ? kNone : same(op, heads_[hash_name(op, kHashKey) & (heads_.size() - 1)]);
}

// The next owner of the same spelling.
std::uint32_t Registry::next(std::uint32_t at) const noexcept { return same(owners_[at].op, owners_[at].next); }

std::uint32_t Registry::same(std::string_view op, std::uint32_t at) const noexcept {
  while (at != kNone && (owners_[at].binding == nullptr || owners_[at].op != op)) at = owners_[at].next;
  return at;
}

void Registry::link(std::uint32_t at) {
  std::uint32_t& head = heads_[hash_name(owners_[at].op, kHashKey) & (heads_.size() - 1)];
  owners_[at].next = std::exchange(head, at);
}

void Registry::own(Owner owner) {
  owners_.push_back(owner);
  if (owners_.size() > heads_.size()) {
    reserve(0, 2 * owners_.size());
  } else {
    link(static_cast<std::uint32_t>(owners_.size() - 1));
  }
}

void Registry::reserve(std::size_t rules, std::size_t owners) {
  rules_.reserve(rules);
  owners_.reserve(owners);
  std::size_t heads = 16;
  while (heads < owners) heads *= 2;
  heads_.assign(heads, kNone);
  for (std::uint32_t at = 0; at < owners_.size(); ++at) {
    if (owners_[at].binding != nullptr) link(at);
  }
}

Status Registry::enter(std::shared_ptr<const Rule> rule, bool take_over) {
  if (rule->name.empty()) return {Code::bad_request, "a rule needs a name"};
  for (const Binding& binding : rule->spelled) {
    const std::string_view op = binding.op;
    if (op.find("::") == std::string_view::npos || bare(op).empty()) {
      return {Code::bad_request, "'" + binding.op.str() + "' is not a spelling: write \"dialect::Name\""};
    }
    if (take_over) continue;
    for (std::uint32_t at = first(op); at != kNone; at = next(at)) {
      const Owner& owner = owners_[at];
      if (binding.since <= owner.until && owner.since <= binding.until) {
        return {Code::bad_request, "'" + binding.op.str() + "' already belongs to rule '" +
                                       rules_[owner.rule]->name.str() + "'; use replace"};
      }
    }
  }
  const auto number = static_cast<std::uint32_t>(rules_.size());
  rules_.push_back(std::move(rule));
  for (const Binding& binding : rules_.back()->spelled) {
    for (std::uint32_t at = take_over ? first(binding.op) : kNone; at != kNone;) {
      Owner& other = owners_[std::exchange(at, next(at))];
      if (binding.since <= other.until && other.since <= binding.until) other.binding = nullptr;
    }
    own({binding.op, &binding, binding.since, binding.until, number});
  }
  if (take_over) drop_idle();
  return {};
}

// Takes those out that lost their spelling: the text of a row that goes may be gone.
void Registry::sweep() {
  owners_.erase(
      std::remove_if(owners_.begin(), owners_.end(), [](const Owner& owner) { return owner.binding == nullptr; }),
      owners_.end());
  reserve(0, owners_.size());
}

// A row that lost its last name to another is gone.
void Registry::drop_idle() {
  sweep();
  std::vector<bool> used(rules_.size());
  for (const Owner& owner : owners_) used[owner.rule] = true;
  std::vector<std::uint32_t> moved(rules_.size());
  std::uint32_t kept = 0;
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    moved[i] = kept;
    if (used[i]) rules_[kept++] = std::move(rules_[i]);
  }
  rules_.resize(kept);
  for (Owner& owner : owners_) owner.rule = moved[owner.rule];
}

Status Registry::alias(std::string_view op, std::string_view like) {
  if (op.find("::") == std::string_view::npos) {
    return {Code::bad_request, "'" + std::string(op) + "' is not a spelling: write \"dialect::Name\""};
  }
  std::uint32_t newest = first(like);
  if (newest == kNone) {
    std::string text = "no rule answers to '" + std::string(like) + "'";
    const auto names = near(like, 3);
    if (!names.empty()) text += "; the nearest:";
    for (const std::string& name : names) text += " " + name;
    return {Code::bad_request, std::move(text)};
  }
  for (std::uint32_t at = newest; at != kNone; at = next(at)) {
    if (owners_[at].until > owners_[newest].until) newest = at;
  }
  // The alias's dialect has versions of its own: the newest meaning answers to all of them.
  const Owner meant = owners_[newest];
  for (std::uint32_t at = first(op); at != kNone;) owners_[std::exchange(at, next(at))].binding = nullptr;
  sweep();
  own({aliases_.emplace_back(op), meant.binding, 0, INT64_MAX, meant.rule});
  return {};
}

const Registry::Owner* Registry::owner(std::string_view op, std::int64_t version) const noexcept {
  for (std::uint32_t at = first(op); at != kNone; at = next(at)) {
    if (version >= owners_[at].since && version <= owners_[at].until) return &owners_[at];
  }
  return nullptr;
}

std::shared_ptr<const Match> Registry::find(std::string_view op, std::int64_t version) const {
  const Owner* of = owner(op, version);
  return of == nullptr ? nullptr
                       : std::make_shared<const Match>(match_for(rules_[of->rule], *of->binding, of->since, of->until));
}

const Rule* Registry::rule(std::string_view op, std::int64_t version) const noexcept {
  const Owner* of = owner(op, version);
  return of == nullptr ? nullptr : rules_[of->rule].get();
}

std::vector<std::string> Registry::spellings() const {
  std::vector<std::string> out;
  out.reserve(owners_.size());
  for (const Owner& owner : owners_) out.emplace_back(owner.op);
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
  for (const Owner& owner : owners_) {
    const std::size_t apart = distance(name, bare(owner.op), limit);
    if (apart <= limit) found.emplace_back(apart, strange(owner.op), owner.op);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()),
              found.end());  // a spelling has an owner for each of its versions
  std::vector<std::string> out;
  for (std::size_t i = 0; i < found.size() && i < most; ++i) out.push_back(std::move(std::get<2>(found[i])));
  return out;
}

}  // namespace macsim
