// The ONNX source: bytes of a ModelProto to a Model.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_ONNX_HPP
#define MACSIM_ONNX_HPP

#include <memory>
#include <string>
#include <string_view>

#include "macsim/diag.hpp"
#include "macsim/graph.hpp"

namespace macsim {

using ModelPtr = std::shared_ptr<const Model>;

/// Reads the file at `path` (UTF-8). It is mapped, not loaded; weight payloads are never touched, external data files
/// are never opened. Fails with unreadable, not_onnx, truncated, malformed, too_deep, bad_graph or recursion; the text
/// says where (byte offset or node) and what to do.
Result<ModelPtr> read_onnx_file(const std::string& path);

/// The same from bytes in memory, which `owner` keeps alive (null: they outlive the model).
Result<ModelPtr> read_onnx(std::string_view bytes, std::shared_ptr<const void> owner = nullptr);

}  // namespace macsim

#endif  // MACSIM_ONNX_HPP
