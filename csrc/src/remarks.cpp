// What is said on the way: remarks about nodes, each with its place, and not too many of a kind.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "walk.hpp"

namespace macsim {
namespace {

// Remarks of these codes are reason enough for a row that is unknown.
bool says_unknown(Code code) noexcept {
  switch (code) {
    case Code::unknown_op:
    case Code::bad_inputs:
    case Code::needs_shape:
    case Code::not_counted:
    case Code::overflow:
    case Code::too_large:
    case Code::rule_failed:
      return true;
    default:
      return false;
  }
}

Diagnostic remark_of(Code code, std::string text) {
  const CodeInfo* info = explain(code);
  Diagnostic note;
  note.code = code;
  note.severity = info != nullptr ? info->severity : Severity::warning;
  note.text = std::move(text);
  note.hint = info != nullptr ? std::string(info->hint) : std::string();
  return note;
}

}  // namespace

Diagnostic remark_at(const std::deque<Frame>& frames, const Model& model, std::uint32_t frame, NodeId id, Code code,
                     std::string text) {
  Diagnostic note = remark_of(code, std::move(text));
  if (frame == 0) note.node = id;
  note.where =
      path_of(frames, model, frame, id) + " (" + std::string(model.ops[frames[frame].graph->nodes[id].op].name) + ")";
  return note;
}

Diagnostic more_of(Code code, std::size_t times) {
  Diagnostic more;
  more.code = code;
  more.text = std::to_string(times - kMostTold) + " more of " + code_text(code) + " are not listed";
  return more;
}

void Walk::remark(Code code, std::string text) {
  here_.refused = here_.refused || code == Code::bad_inputs;
  here_.told = here_.told || says_unknown(code);
  here_.single = true;
  if (++told_.times[static_cast<std::uint16_t>(code)] > kMostTold) return;
  found_->diagnostics.push_back(here_.node == nullptr
                                    ? remark_of(code, std::move(text))
                                    : remark_at(frames_, *model_, here_.frame, here_.id, code, std::move(text)));
}

void Walk::finish_diagnostics() {
  for (Diagnostic& note : found_->diagnostics) {
    if (note.code != Code::unknown_op || note.node == kNone) continue;
    const auto at = told_.unknown.find(frames_.front().graph->nodes[note.node].op);
    if (at != told_.unknown.end() && at->second.second > 1) {
      note.text += " (" + std::to_string(at->second.second) + " nodes)";
    }
  }
  for (const auto& [number, times] : told_.times) {
    if (times > kMostTold) found_->diagnostics.push_back(more_of(static_cast<Code>(number), times));
  }
}

}  // namespace macsim
