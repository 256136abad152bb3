// What modules of torch hold, so that they are left as they were found.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bind.hpp"

namespace macsim::bind {

/// Attributes, parameters, buffers and children of modules, as they were before the first of the counts under way.
/// Compared by identity: of tensors == is work. One thread at a time.
class ModuleStates {
 public:
  /// Notes what modules hold that no other count has noted, and has them evaluate.
  void enter(const py::list& modules) {
    for (const py::handle module : modules) {
      State& state = states_[module.ptr()];
      if (state.counts++ == 0) note(py::reinterpret_borrow<py::object>(module), state);
    }
  }
  /// Where no other count runs them, puts back what they held.
  void leave(const py::list& modules) {
    for (const py::handle module : modules) {
      const auto at = states_.find(module.ptr());
      if (at == states_.end() || --at->second.counts != 0) continue;
      const State state = std::move(at->second);  // what goes when things are put back may count modules, too
      states_.erase(at);
      put_back(state);
    }
  }

 private:
  using Items = std::vector<std::pair<py::object, py::object>>;
  struct State {
    py::object module;    ///< stays alive, so that its identity stays its own
    py::object training;  ///< none: it has no such flag
    Items before;
    std::array<Items, 3> inside;
    std::size_t counts = 0;
  };

  static Items items_of(PyObject* dict) {
    Items out;
    if (dict == nullptr) return out;
    out.reserve(static_cast<std::size_t>(PyDict_GET_SIZE(dict)));
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (PyDict_Next(dict, &at, &key, &value) != 0) {
      out.emplace_back(py::reinterpret_borrow<py::object>(key), py::reinterpret_borrow<py::object>(value));
    }
    return out;
  }
  PyObject* item(const py::dict& dict, const py::str& name) const {
    PyObject* found = PyDict_GetItemWithError(dict.ptr(), name.ptr());
    if (found == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
    return found != nullptr && PyDict_Check(found) ? found : nullptr;
  }
  static void set(const py::object& dict, const Items& items) {
    for (const auto& [key, value] : items) dict[key] = value;
  }
  static bool is_same(PyObject* dict, const Items& items) {
    if (static_cast<std::size_t>(PyDict_GET_SIZE(dict)) != items.size()) return false;
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *value = nullptr;
    for (const auto& [name, then] : items) {
      if (PyDict_Next(dict, &at, &key, &value) == 0 || key != name.ptr() || value != then.ptr()) return false;
    }
    return true;
  }

  static py::dict attributes_of(const py::object& module) {
    auto dict = py::reinterpret_steal<py::dict>(PyObject_GenericGetDict(module.ptr(), nullptr));
    if (!dict) throw py::error_already_set();
    return dict;
  }

  void note(py::object module, State& state) const {
    const py::dict attributes = attributes_of(module);
    state.module = std::move(module);
    state.before = items_of(attributes.ptr());
    for (std::size_t i = 0; i < kInside; ++i) state.inside[i] = items_of(item(attributes, inside_[i]));
    if (attributes.contains(training_)) state.training = attributes[training_];
    attributes[training_] = false;
  }

  void put_back(const State& state) const {
    const py::dict now = attributes_of(state.module);
    if (state.training) now[training_] = state.training;
    if (!is_same(now.ptr(), state.before)) {
      std::vector<py::object> added;
      for (const auto& [key, value] : now) added.push_back(py::reinterpret_borrow<py::object>(key));
      for (const auto& [key, value] : state.before) std::erase_if(added, [&](const auto& one) { return one.is(key); });
      for (const py::object& key : added) {
        if (PyDict_DelItem(now.ptr(), key.ptr()) != 0) throw py::error_already_set();
      }
      set(now, state.before);
    }
    for (std::size_t i = 0; i < kInside; ++i) {
      PyObject* held = item(now, inside_[i]);
      if (held == nullptr || is_same(held, state.inside[i])) continue;
      const auto dict = py::reinterpret_borrow<py::object>(held);
      dict.attr("clear")();
      set(dict, state.inside[i]);
    }
  }

  static constexpr std::size_t kInside = 3;
  std::unordered_map<PyObject*, State> states_;
  std::array<py::str, kInside> inside_{py::str("_parameters"), py::str("_buffers"), py::str("_modules")};
  py::str training_ = "training";
};

}  // namespace macsim::bind
