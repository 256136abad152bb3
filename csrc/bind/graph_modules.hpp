// The modules that a graph came from, as its nodes' stacks name them.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "items.hpp"
#include "tape.hpp"

namespace macsim::bind {

/// What reports know of modules, in order: views into the model, or into texts of Python's.
struct CalledModules {
  struct Module {
    std::string_view path, kind;
    std::int64_t calls = 0, parameters = 0;
  };
  ModelPtr model;
  std::vector<Module> modules;
  std::vector<py::object> texts;
};

/// Notes which modules are called, and what they have.
class GraphModules {
 public:
  /// `path_of`: the path of a module from how a stack spells it.
  GraphModules(Tape& tape, py::object path_of) : tape_(tape), path_of_(std::move(path_of)) {}

  /// The scope of the innermost module of a stack; kNone: there is no module in it. Calls that are met for the first
  /// time are noted.
  std::uint32_t around(PyObject* stack);
  /// The same of one entry of a stack.
  std::uint32_t enter(PyObject* key, PyObject* said);
  /// Notes a call. `again`: also when it was called before.
  void call(std::uint32_t scope, PyObject* kind, bool again);
  /// Notes elements of parameters of its own.
  void own(std::uint32_t scope, std::int64_t elements) {
    Module& module = at(scope);
    module.owns = true;
    module.parameters += elements;
  }
  /// Those that were called, then those that only have parameters, for a report on the model.
  CalledModules found(const Report& report) const;

 private:
  struct Module {
    std::string_view kind;
    std::int64_t calls = 0, parameters = 0;
    bool owns = false, met = false;
  };
  struct Level {
    py::object key;
    std::uint32_t scope = kNone;
  };

  Module& at(std::uint32_t scope) {
    if (modules_.size() <= scope) modules_.resize(std::size_t{scope} + 1);
    return modules_[scope];
  }
  std::uint32_t scope_of(PyObject* where);

  Tape& tape_;
  py::object path_of_;
  py::dict seen_;                     ///< scopes by the names that stacks have for calls; None: that is no module
  std::vector<Module> modules_;       ///< by scope
  std::vector<std::uint32_t> order_;  ///< in which they were met
  std::vector<Level> latest_;         ///< the latest stack: the next one mostly differs at its end
};

}  // namespace macsim::bind
