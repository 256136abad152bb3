// Which module a torch program is in.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "graph_modules.hpp"
#include "tape.hpp"

namespace macsim::bind {

/// Follows the calls of modules: what they call is in their scope. One thread at a time.
class ModuleCalls {
 public:
  /// A module, by its path.
  struct Place {
    py::str path;
    py::object kind;  ///< its class, or the name of that
    std::uint32_t scope = kNone;
    std::int64_t calls = 0, parameters = 0;
  };

  /// `paths`: the modules with their paths, in the order of the tree; it keeps them alive.
  ModuleCalls(Tape& tape, py::dict paths);

  /// Enters a module; what was around it, for leave().
  const Place* enter(PyObject* module);
  /// The place of a module, and that of a path, which a call of a module of this class is noted of.
  Place& at(PyObject* module);
  Place& note(std::string_view path, py::object kind);
  /// Goes to a place; what was around it, for leave(). Where the program is.
  const Place* go(const Place* to) { return std::exchange(now_, to); }
  const Place* now() const { return now_; }
  void leave(const Place* around, bool failed) {
    if (!failed) {
      failed_ = nullptr;
    } else if (failed_ == nullptr) {
      failed_ = now_;
    }
    now_ = around;
  }
  /// The path of the module that the program is in, and the number of its scope.
  const py::str& path() const { return now_->path; }
  std::uint32_t scope() const { return now_->scope; }
  /// The innermost module that raised.
  py::str failed_in() const { return failed_ == nullptr ? py::str() : failed_->path; }
  const py::dict& paths() const { return paths_; }
  /// Tells the tape of the parameters and buffers of the modules: what Tape::announce() gives back of the buffers.
  py::list announce(const py::object& unusual);
  /// Every module: its class, its calls, and the elements of its parameters.
  CalledModules called() const;

 private:
  Place& place_of(PyObject* module);
  Place*& place_of(const std::string& path);

  Tape& tape_;
  py::dict paths_;
  std::deque<Place> places_;
  std::unordered_map<PyObject*, Place*> by_module_;
  std::unordered_map<std::string, Place*> by_path_;  ///< filled when a module is called that has no path
  Place outside_;
  const Place* now_ = &outside_;
  const Place* failed_ = nullptr;
};

/// Tells `calls`, or nobody, of the modules that this thread calls from now on; who was told until now.
ModuleCalls* exchange_calls(ModuleCalls* calls);

/// Stands in for `nn.Module._call_impl`: tells of the call, and goes on with the original.
py::object watched_call(const py::object& original);

}  // namespace macsim::bind
