// The table of names: what is put in is found, also when hashes collide and the table grows.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "name_table.hpp"

#include <set>
#include <string>

#include "check.hpp"

using macsim::hash_name;
using macsim::NameTable;

namespace {

constexpr std::uint64_t kKey = 0x0123456789ABCDEFU;

/// Puts the names in twice with a hash function, and looks all of them up.
template <class Hash>
void fill_and_find(std::size_t expected, int count, Hash hash) {
  std::vector<std::string> names;
  NameTable table;
  table.reset(expected);
  const auto same = [&names](const std::string& name) {
    return [&names, &name](std::uint32_t id) { return names[id] == name; };
  };
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < count; ++i) {
      const std::string name = "layer." + std::to_string(i) + ".weight";
      const auto fresh = static_cast<std::uint32_t>(names.size());
      const std::uint32_t id = table.find_or_add(hash(name), fresh, same(name));
      CHECK_EQ(id, static_cast<std::uint32_t>(i));
      if (id == fresh) names.push_back(name);
    }
  }
  CHECK_EQ(table.size(), static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const std::string name = "layer." + std::to_string(i) + ".weight";
    CHECK_EQ(table.find(hash(name), same(name)), static_cast<std::uint32_t>(i));
  }
  const std::string other = "layer.weight";
  CHECK_EQ(table.find(hash(other), same(other)), NameTable::kEmpty);
}

}  // namespace

TEST("what is put in is found") {
  const auto hash = [](const std::string& name) { return hash_name(name, kKey); };
  fill_and_find(0, 5000, hash);
  fill_and_find(5000, 5000, hash);
  fill_and_find(5000, 10, hash);
}

TEST("names with the same hash are told apart") {
  fill_and_find(0, 200, [](const std::string&) { return 7U; });
  fill_and_find(0, 200, [](const std::string& name) { return 0xFFFFFFFFU - static_cast<std::uint32_t>(name.size()); });
}

TEST("a table starts anew") {
  NameTable table;
  const auto any = [](std::uint32_t) { return true; };
  CHECK_EQ(table.find_or_add(1, 10, any), 10U);
  CHECK_EQ(table.likely(1), 10U);
  table.reset(1000);
  CHECK_EQ(table.size(), 0U);
  CHECK_EQ(table.find(1, any), NameTable::kEmpty);
  CHECK_EQ(table.likely(1), NameTable::kEmpty);
  CHECK_EQ(table.find_or_add(1, 11, any), 11U);
  table.reset(0);
  CHECK_EQ(table.find(1, any), NameTable::kEmpty);
}

TEST("hashes differ where names differ, and by key") {
  std::set<std::uint32_t> seen;
  std::size_t names = 0;
  for (std::size_t size = 0; size < 40; ++size) {
    const std::string base(size, 'a');
    seen.insert(hash_name(base, kKey));
    ++names;
    for (std::size_t at = 0; at < size; ++at) {
      for (const char c : {'b', 'A', '\0'}) {
        std::string name = base;
        name[at] = c;
        seen.insert(hash_name(name, kKey));
        ++names;
      }
    }
  }
  CHECK(names - seen.size() <= 1);  // 2,381 names of 2^32 hashes: a collision is a chance of 1 in 1,500
  CHECK(hash_name("a name", kKey) != hash_name("a name", kKey + 2));
}
