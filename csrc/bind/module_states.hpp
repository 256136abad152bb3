// What modules of torch hold, so that they are left as they were found.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "attributes.hpp"
#include "bind.hpp"

namespace macsim::bind {

/// Attributes, parameters, buffers, children and hooks of modules, and what their own containers hold, as they were
/// before the first of the counts under way. Compared by identity: of tensors == is work. One thread at a time.
class ModuleStates {
 public:
  /// `common`: attributes that all modules have, and have first.
  explicit ModuleStates(const py::dict& common);
  /// Notes what modules hold that no other count has noted. `evaluate`: and puts them into evaluation mode.
  void enter(const py::list& modules, bool evaluate);
  /// Where no other count runs them, puts back what they held.
  void leave(const py::list& modules);

 private:
  using Items = std::vector<std::pair<py::object, py::object>>;
  struct Held {
    py::object container, copy;
  };
  struct State {
    py::object module;    ///< stays alive, so that its identity stays its own
    py::object training;  ///< none: it was not changed, or there is no such flag
    Items before;
    std::array<Items, 3> inside;
    std::vector<bool> trained;  ///< what parameters say of requires_grad, in their order
    std::vector<Held> held;
    std::size_t counts = 0;
  };

  void note(py::object module, State& state, bool evaluate, bool own) const;
  void put_back(const State& state) const;
  void trained_back(const State& state) const;
  void hooks_back(const py::dict& now, const State& state) const;
  /// An attribute that every module has, and all but always in the same place.
  struct Common {
    py::str name;
    std::size_t place = 0;
  };
  PyObject* item(const py::dict& dict, const Items& items, const Common& of) const;
  bool is_container(PyObject* one) const;
  static bool is_of_torch(PyTypeObject* kind);
  static void hold(PyObject* one, State& state);
  static void fill_again(const Held& held);

  static constexpr std::size_t kInside = 3, kParameters = 0;
  std::unordered_map<PyObject*, State> states_;
  std::array<Common, kInside> inside_;
  bool is_trained(PyObject* parameter) const;
  py::str training_ = "training", requires_grad_ = "requires_grad";
  Getter trained_{"requires_grad"};
  std::size_t common_;
  std::vector<Common> hooks_;
  py::object ordered_;  ///< the class of dicts that move their entries
};

/// The first path of every module, by which its calls are grouped, in the order of the tree; and the classes of modules
/// and of their parameters.
py::tuple module_paths(const py::object& root);

}  // namespace macsim::bind
