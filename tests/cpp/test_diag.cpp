// Diagnostics: the table of codes, Status and Result.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/diag.hpp"

#include "check.hpp"

using namespace macsim;

TEST("every code explains itself") {
  CHECK(all_codes().size() >= 20);
  for (const CodeInfo& info : all_codes()) {
    CHECK(explain(info.code) == &info);
    CHECK(!info.name.empty() && info.meaning.size() > 10 && info.hint.size() > 10);
    CHECK(info.meaning.back() == '.' && info.hint.back() == '.');
  }
  CHECK(explain(Code::ok) == nullptr);
  CHECK(explain(static_cast<Code>(9999)) == nullptr);
}

TEST("codes are stable numbers") {
  CHECK_EQ(code_text(Code::unreadable), "MS101");
  CHECK_EQ(code_text(Code::unknown_op), "MS201");
  CHECK_EQ(explain(Code::unknown_op)->name, "unknown_op");
}

TEST("a Status is good, or says why not") {
  Status good;
  CHECK(static_cast<bool>(good));
  CHECK(good.code() == Code::ok && good.text().empty());
  Status bad(Code::truncated, "cut");
  CHECK(!bad);
  CHECK(bad.code() == Code::truncated && bad.text() == "cut");
  Status moved = std::move(bad);
  CHECK(moved.code() == Code::truncated);
}

TEST("a Result holds a value or a Status") {
  Result<int> value(3);
  CHECK(static_cast<bool>(value));
  CHECK_EQ(*value, 3);
  Result<int> none(Status(Code::malformed, "no"));
  CHECK(!none);
  CHECK(none.status().code() == Code::malformed);
}
