// Schemas of torch's operators, read from their text.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bind.hpp"

namespace macsim::bind {

/// What a schema says, "aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor": the name, the
/// overload's, (name, type, use, written, keyword only, default) of each argument, and (type, alias) of each result.
/// Types are spelled as there, without aliases and lengths of lists. A default that is none of Python's plain values is
/// NotImplemented.
py::tuple read_schema(std::string_view text);

}  // namespace macsim::bind
