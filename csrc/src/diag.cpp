// The table of diagnostics, from codes.def.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/diag.hpp"

#include <algorithm>
#include <iterator>

namespace macsim {
namespace {

constexpr CodeInfo kCodes[] = {
#define MACSIM_CODE(name, number, severity, meaning, hint) {Code::name, Severity::severity, #name, meaning, hint},
#include "macsim/codes.def"
#undef MACSIM_CODE
};

constexpr bool sorted() {
  for (std::size_t i = 1; i < std::size(kCodes); ++i) {
    if (kCodes[i - 1].code >= kCodes[i].code) return false;
  }
  return true;
}
static_assert(sorted(), "codes.def is sorted by number, each number once");

}  // namespace

Span<CodeInfo> all_codes() noexcept { return {kCodes, std::size(kCodes)}; }

const CodeInfo* explain(Code code) noexcept {
  const auto* found = std::lower_bound(std::begin(kCodes), std::end(kCodes), code,
                                       [](const CodeInfo& info, Code wanted) { return info.code < wanted; });
  return found != std::end(kCodes) && found->code == code ? found : nullptr;
}

std::string code_text(Code code) { return "MS" + std::to_string(static_cast<unsigned>(code)); }

}  // namespace macsim
