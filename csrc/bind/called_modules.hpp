// What reports know of the modules that a program or a graph called.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "bind.hpp"

namespace macsim::bind {

/// A text of Python's; it lives as long as the object.
std::string_view utf8(PyObject* text);

/// Modules in order: views of a model's texts, or of Python's.
struct CalledModules {
  struct Module {
    std::string_view path, kind;
    std::int64_t calls = 0, parameters = 0;
  };
  ModelPtr model{};
  py::list texts{};
  std::vector<Module> modules{};
};

}  // namespace macsim::bind
