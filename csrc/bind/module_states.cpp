// What modules of torch hold: noted before a count, put back after it.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "module_states.hpp"

#include <algorithm>

#include "items.hpp"

namespace macsim::bind {
namespace {

std::vector<std::pair<py::object, py::object>> items_of(PyObject* dict) {
  std::vector<std::pair<py::object, py::object>> out;
  out.reserve(static_cast<std::size_t>(PyDict_GET_SIZE(dict)));
  Py_ssize_t at = 0;
  PyObject *key = nullptr, *value = nullptr;
  while (PyDict_Next(dict, &at, &key, &value) != 0) {
    out.emplace_back(py::reinterpret_borrow<py::object>(key), py::reinterpret_borrow<py::object>(value));
  }
  return out;
}

template <class Items>
bool is_same(PyObject* dict, const Items& items) {
  if (static_cast<std::size_t>(PyDict_GET_SIZE(dict)) != items.size()) return false;
  Py_ssize_t at = 0;
  PyObject *key = nullptr, *value = nullptr;
  for (const auto& [name, then] : items) {
    if (PyDict_Next(dict, &at, &key, &value) == 0 || key != name.ptr() || value != then.ptr()) return false;
  }
  return true;
}

std::unordered_set<PyObject*> members(const py::object& container) {
  std::unordered_set<PyObject*> out;
  for (const py::handle one : container) out.insert(one.ptr());
  return out;
}

bool is_same(PyObject* list, PyObject* then) {
  const Py_ssize_t size = PyList_GET_SIZE(list);
  if (size != PyList_GET_SIZE(then)) return false;
  for (Py_ssize_t i = 0; i < size; ++i) {
    if (PyList_GET_ITEM(list, i) != PyList_GET_ITEM(then, i)) return false;
  }
  return true;
}

py::dict attributes_of(const py::object& module) {
  auto dict = py::reinterpret_steal<py::dict>(PyObject_GenericGetDict(module.ptr(), nullptr));
  if (!dict) throw py::error_already_set();
  return dict;
}

}  // namespace

ModuleStates::ModuleStates(const py::dict& common)
    : common_(common.size()), ordered_(py::module_::import("collections").attr("OrderedDict")) {
  constexpr std::array<std::string_view, kInside> inside{"_parameters", "_buffers", "_modules"};
  std::size_t place = 0;
  for (const auto& [name, value] : common) {
    const std::string_view text = utf8(name.ptr());
    const Common one{py::reinterpret_borrow<py::str>(name), place++};
    const auto* at = std::find(inside.begin(), inside.end(), text);
    if (at != inside.end()) inside_[static_cast<std::size_t>(at - inside.begin())] = one;
    if (text.find("hooks") != std::string_view::npos && PyDict_Check(value.ptr())) hooks_.push_back(one);
  }
}

void ModuleStates::enter(const py::list& modules, bool evaluate) {
  std::unordered_map<PyTypeObject*, bool> torch;  // which classes are torch's own
  states_.reserve(states_.size() + modules.size());
  for (const py::handle module : modules) {
    State& state = states_[module.ptr()];
    if (state.counts++ != 0) continue;
    const auto [at, added] = torch.try_emplace(Py_TYPE(module.ptr()));
    if (added) at->second = is_of_torch(at->first);
    note(py::reinterpret_borrow<py::object>(module), state, evaluate, !at->second);
  }
}

void ModuleStates::leave(const py::list& modules) {
  for (const py::handle module : modules) {
    const auto at = states_.find(module.ptr());
    if (at == states_.end() || --at->second.counts != 0) continue;
    const State state = std::move(at->second);  // what goes when things are put back may count modules, too
    states_.erase(at);
    put_back(state);
  }
}

PyObject* ModuleStates::item(const py::dict& dict, const Items& items, const Common& of) const {
  const bool placed = of.place < items.size() && items[of.place].first.is(of.name);
  PyObject* found = placed ? items[of.place].second.ptr() : PyDict_GetItemWithError(dict.ptr(), of.name.ptr());
  if (found == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return found != nullptr && PyDict_Check(found) ? found : nullptr;
}

bool ModuleStates::is_container(PyObject* one) const {
  return PyDict_CheckExact(one) || PyList_CheckExact(one) || PyAnySet_CheckExact(one) ||
         reinterpret_cast<PyObject*>(Py_TYPE(one)) == ordered_.ptr();
}

// Torch's own modules keep nothing between calls.
bool ModuleStates::is_of_torch(PyTypeObject* kind) {
  const py::object from = py::handle(reinterpret_cast<PyObject*>(kind)).attr("__module__");
  return py::isinstance<py::str>(from) && utf8(from.ptr()).starts_with("torch.nn.modules.");
}

void ModuleStates::hold(PyObject* one, State& state) {
  auto container = py::reinterpret_borrow<py::object>(one);
  py::object copy = container.attr("copy")();
  state.held.push_back({std::move(container), std::move(copy)});
}

void ModuleStates::note(py::object module, State& state, bool evaluate, bool own) const {
  const py::dict attributes = attributes_of(module);
  state.module = std::move(module);
  state.before = items_of(attributes.ptr());
  for (std::size_t i = 0; i < kInside; ++i) {
    if (PyObject* dict = item(attributes, state.before, inside_[i])) state.inside[i] = items_of(dict);
  }
  for (const auto& [name, parameter] : state.inside[kParameters]) {
    state.trained.push_back(!parameter.is_none() && is_trained(parameter.ptr()));
  }
  for (std::size_t i = common_; own && i < state.before.size(); ++i) {
    PyObject* value = state.before[i].second.ptr();
    if (is_container(value)) hold(value, state);
  }
  for (const Common& one : hooks_) {
    PyObject* hooks = item(attributes, state.before, one);
    if (hooks != nullptr && PyDict_GET_SIZE(hooks) != 0) hold(hooks, state);
  }
  if (!evaluate) return;
  PyObject* training = PyDict_GetItemWithError(attributes.ptr(), training_.ptr());
  if (training == Py_False) return;
  if (training != nullptr) state.training = py::reinterpret_borrow<py::object>(training);
  attributes[training_] = false;
}

void ModuleStates::put_back(const State& state) const {
  const py::dict now = attributes_of(state.module);
  if (state.training) now[training_] = state.training;
  if (!is_same(now.ptr(), state.before)) {
    const py::object kept = py::dict();
    for (const auto& [key, value] : state.before) kept[key] = value;
    for (const auto& [key, value] : items_of(now.ptr())) {
      if (!kept.contains(key) && PyDict_DelItem(now.ptr(), key.ptr()) != 0) throw py::error_already_set();
    }
    now.attr("update")(kept);
  }
  for (std::size_t i = 0; i < kInside; ++i) {
    PyObject* held = item(now, state.before, inside_[i]);
    if (held == nullptr || is_same(held, state.inside[i])) continue;
    const auto dict = py::reinterpret_borrow<py::object>(held);
    dict.attr("clear")();
    for (const auto& [key, value] : state.inside[i]) dict[key] = value;
  }
  trained_back(state);
  hooks_back(now, state);
  for (const Held& held : state.held) fill_again(held);
}

bool ModuleStates::is_trained(PyObject* parameter) const {
  const py::object flag = trained_.of(parameter);
  if (!flag) throw py::error_already_set();
  return py::bool_(flag);
}

void ModuleStates::trained_back(const State& state) const {
  for (std::size_t i = 0; i < state.trained.size(); ++i) {
    const py::object& parameter = state.inside[kParameters][i].second;
    if (parameter.is_none() || is_trained(parameter.ptr()) == state.trained[i]) continue;
    parameter.attr(requires_grad_) = py::bool_(state.trained[i]);
  }
}

// Hooks where there were none are the count's own.
void ModuleStates::hooks_back(const py::dict& now, const State& state) const {
  for (const Common& one : hooks_) {
    PyObject* hooks = item(now, state.before, one);
    if (hooks == nullptr || PyDict_GET_SIZE(hooks) == 0) continue;
    const bool noted = std::any_of(state.held.begin(), state.held.end(),
                                   [&](const Held& held) { return held.container.ptr() == hooks; });
    if (!noted) py::reinterpret_borrow<py::object>(hooks).attr("clear")();
  }
}

// A container stays the same one, and holds what it held.
void ModuleStates::fill_again(const Held& held) {
  PyObject* now = held.container.ptr();
  if (PyDict_Check(now)) {
    if (is_same(now, items_of(held.copy.ptr()))) return;
  } else if (PyList_Check(now)) {
    if (!is_same(now, held.copy.ptr())) held.container[py::slice(py::none(), py::none(), py::none())] = held.copy;
    return;
  } else if (members(held.container) == members(held.copy)) {
    return;
  }
  held.container.attr("clear")();
  held.container.attr("update")(held.copy);
}

py::tuple module_paths(const py::object& root) {
  py::dict paths;
  py::set classes;
  const py::str inside = "_modules", parameters = "_parameters";
  const auto note = [&](PyObject* one) {
    if (one != Py_None) classes.add(py::handle(reinterpret_cast<PyObject*>(Py_TYPE(one))));
  };
  std::vector<std::pair<std::string, py::object>> waiting{{"", root}};
  while (!waiting.empty()) {
    const std::string path = std::move(waiting.back().first);
    const py::object module = std::move(waiting.back().second);
    waiting.pop_back();
    if (paths.contains(module)) continue;
    paths[module] = py::str(path);
    note(module.ptr());
    each_item(own_item(module.ptr(), parameters), [&](PyObject*, PyObject* one) { note(one); });
    const std::size_t first = waiting.size();
    each_item(own_item(module.ptr(), inside), [&](PyObject* name, PyObject* child) {
      if (child == Py_None) return;
      std::string at = path.empty() ? std::string() : path + ".";
      at += utf8(name);
      waiting.emplace_back(std::move(at), py::reinterpret_borrow<py::object>(child));
    });
    std::reverse(waiting.begin() + static_cast<std::ptrdiff_t>(first), waiting.end());
  }
  return py::make_tuple(std::move(paths), std::move(classes));
}

}  // namespace macsim::bind
