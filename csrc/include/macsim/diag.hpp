// What can go wrong, and how it is told: codes, diagnostics, Status and Result.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_DIAG_HPP
#define MACSIM_DIAG_HPP

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "macsim/span.hpp"

namespace macsim {

using NodeId = std::uint32_t;
using ValueId = std::uint32_t;
inline constexpr std::uint32_t kNone = 0xFFFFFFFFU;

enum class Severity : std::uint8_t { note, warning, error };

/// Stable numbers; `macsim explain MS201` prints a code's page. The table is codes.def.
enum class Code : std::uint16_t {
  ok = 0,
#define MACSIM_CODE(name, number, severity, meaning, hint) name = number,
#include "macsim/codes.def"
#undef MACSIM_CODE
};

/// One line of codes.def.
struct CodeInfo {
  Code code;
  Severity severity;
  std::string_view name;
  std::string_view meaning;  ///< what it means, one or two sentences
  std::string_view hint;     ///< what to do about it
};
/// All codes, by number.
Span<CodeInfo> all_codes() noexcept;
/// The line of a code; nullptr for ok and for numbers that are not codes.
const CodeInfo* explain(Code code) noexcept;
/// "MS201".
std::string code_text(Code code);

/// A remark about one place in a model. The rest of the report stands.
struct Diagnostic {
  Code code = Code::ok;
  Severity severity = Severity::note;
  NodeId node = kNone;  ///< of the top-level graph, when `where` is there
  std::string where;    ///< the node's path and operator, "" when it is about the whole model
  std::string text;     ///< what is wrong, with the shapes in it
  std::string hint;     ///< what to do about it
};

/// Success, or one reason why not. One word; success costs nothing. Ignoring it is a compile warning.
class [[nodiscard]] Status {
 public:
  Status() noexcept = default;
  Status(Code code, std::string text) : why_(new Why{code, std::move(text)}) {}
  explicit operator bool() const noexcept { return why_ == nullptr; }
  Code code() const noexcept { return why_ ? why_->code : Code::ok; }
  std::string_view text() const noexcept { return why_ ? std::string_view(why_->text) : std::string_view(); }

 private:
  struct Why {
    Code code;
    std::string text;
  };
  std::unique_ptr<Why> why_;
};

/// A value, or the reason why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // both implicit: `return value;`, `return Status(...);`
  Result(Status why) : status_(std::move(why)) {}
  explicit operator bool() const noexcept { return value_.has_value(); }
  T& operator*() & { return *value_; }
  T&& operator*() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  const Status& status() const noexcept { return status_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace macsim

#endif  // MACSIM_DIAG_HPP
