// Graphs of torch.fx, node by node.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "graph_walk.hpp"

#include <algorithm>

namespace macsim::bind {
namespace {

py::object get(PyObject* from, const py::str& name) {
  auto found = py::reinterpret_steal<py::object>(PyObject_GetAttr(from, name.ptr()));
  if (!found) throw py::error_already_set();
  return found;
}

PyObject* item(PyObject* dict, PyObject* name) {
  PyObject* found = PyDict_GetItemWithError(dict, name);
  if (found == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return found;
}

bool is_text(const py::object& text, const py::str& which) {
  return text.ptr() == which.ptr() || PyUnicode_Compare(text.ptr(), which.ptr()) == 0;
}

// Calls `act` on everything in tuples, lists and dicts, until it says no.
template <class Do>
bool each(PyObject* one, const Do& act) {
  if (PyTuple_Check(one) || PyList_Check(one)) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(one);
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (!each(PySequence_Fast_GET_ITEM(one, i), act)) return false;
    }
    return true;
  }
  if (!PyDict_Check(one)) return act(one);
  Py_ssize_t at = 0;
  PyObject *key = nullptr, *value = nullptr;
  while (PyDict_Next(one, &at, &key, &value) != 0) {
    if (!each(value, act)) return false;
  }
  return true;
}

}  // namespace

// Where the elements of a tensor are, or the tensor itself.
std::size_t GraphWalk::place_of(PyObject* tensor) const {
  const auto address = py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(tensor, data_ptr_name_.ptr()));
  if (!address) {
    if (PyErr_ExceptionMatches(PyExc_RuntimeError) == 0) throw py::error_already_set();  // NotImplementedError is one
    PyErr_Clear();
  }
  const std::size_t place = address ? PyLong_AsSize_t(address.ptr()) : 0;
  return place != 0 ? place : reinterpret_cast<std::size_t>(tensor);
}

py::tuple GraphWalk::stored(const py::list& inputs, const py::list& specs, const py::list& kinds,
                            const py::dict& state) {
  py::dict spec_of;
  for (const py::handle spec : specs) spec_of[get(get(spec.ptr(), arg_name_).ptr(), name_name_)] = spec;
  py::list others;
  std::unordered_map<std::string_view, std::int64_t> parameters;
  std::unordered_multimap<std::size_t, PyObject*> placed;
  for (const py::handle node : inputs) {
    PyObject* spec = item(spec_of.ptr(), get(node.ptr(), name_name_).ptr());
    PyObject* val = item(get(node.ptr(), meta_name_).ptr(), val_name_.ptr());
    const py::object kind = spec == nullptr ? py::none() : get(spec, kind_name_);
    const auto number = std::find_if(kinds.begin(), kinds.end(), [&](py::handle one) { return one.is(kind); });
    if (number == kinds.end() || val == nullptr || !is_tensor(val)) {
      others.append(node);
      continue;
    }
    const py::object name = get(spec, target_name_), self = py::reinterpret_borrow<py::object>(node);
    PyObject* held = item(state.ptr(), name.ptr());
    const std::size_t place = held == nullptr ? 0 : place_of(held);
    const auto [from, to] = placed.equal_range(place);
    const auto tied = std::find_if(from, to, [&](const auto& one) { return tape_.is_like(one.second, val); });
    if (tied != to) {
      tape_.same(self, py::reinterpret_borrow<py::object>(tied->second));
      continue;
    }
    const bool buffer = number != kinds.begin();
    const bool frozen = buffer || (held != nullptr && !tape_.is_trained(held));
    const std::int64_t elements = tape_.stored_node(self, val, py::cast<std::string_view>(name), buffer, frozen);
    if (held != nullptr) placed.emplace(place, node.ptr());
    if (!buffer) parameters[*tape_.owner(node.ptr())] += elements;
  }
  py::dict elements;
  for (const auto& [path, own] : parameters) elements[py::str(path.data(), path.size())] = own;
  return py::make_tuple(std::move(elements), std::move(others));
}

std::size_t GraphWalk::walk(const py::list& nodes, std::size_t from, const std::string& outer, bool announced) {
  const Outer around{outer, tape_.scope(outer)};
  const auto count = static_cast<std::size_t>(PyList_GET_SIZE(nodes.ptr()));
  for (; from < count; ++from) {
    if (!step(PyList_GET_ITEM(nodes.ptr(), static_cast<Py_ssize_t>(from)), around, announced)) break;
  }
  return from;
}

void GraphWalk::part(const py::object& to, const py::object& node, std::size_t number) {
  const auto at = several_.find(node.ptr());
  if (at != several_.end() && number < at->second.size()) tape_.name(to, at->second[number]);
}

const GraphWalk::Reading& GraphWalk::reading(const py::object& target) {
  const auto [at, added] = readings_.try_emplace(target.ptr());
  if (added) {
    at->second.target = target;
    at->second.held = reading_(target);
    const py::object& held = at->second.held;
    if (!held.is_none()) {
      at->second.plan = py::cast<const Plan*>(py::object(held[py::int_(0)]));
      at->second.in_place = py::cast<bool>(py::object(held[py::int_(1)]));
    }
  }
  return at->second;
}

// Whether all nodes among arguments are tensors that are known; notes whether one is the model's.
bool GraphWalk::known(PyObject* one, bool& stored) const {
  return each(one, [&](PyObject* argument) {
    if (reinterpret_cast<PyObject*>(Py_TYPE(argument)) != node_.ptr()) return true;
    if (!tape_.is_known(argument)) return false;
    stored = stored || tape_.is_stored(argument);
    return true;
  });
}

void GraphWalk::owners(PyObject* one, std::vector<std::string_view>& found) const {
  (void)each(one, [&](PyObject* argument) {
    const auto owner = tape_.owner(argument);
    if (owner && std::find(found.begin(), found.end(), *owner) == found.end()) found.push_back(*owner);
    return true;
  });
}

// Where torch forgot the modules around a call, it is of the one whose own tensors it reads.
std::uint32_t GraphWalk::scope(PyObject* meta, bool stored, PyObject* args, const Outer& outer) {
  PyObject* stack = item(meta, stack_name_.ptr());
  if (stack == nullptr || !PyDict_Check(stack) || PyDict_GET_SIZE(stack) == 0) {
    if (!stored) return outer.number;
    std::vector<std::string_view> found;
    owners(args, found);
    const bool inside = found.size() == 1 && (outer.path.empty() || found.front().starts_with(outer.path + "."));
    return inside ? tape_.scope(std::string(found.front())) : outer.number;
  }
  PyObject* path = nullptr;
  Py_ssize_t at = 0;
  PyObject *key = nullptr, *value = nullptr;
  while (PyDict_Next(stack, &at, &key, &value) != 0) {
    PyObject* seen = item(paths_.ptr(), key);
    if (seen == nullptr) {
      paths_[py::handle(key)] = enter_(py::handle(key), py::handle(value));
      seen = item(paths_.ptr(), key);
    }
    if (seen != Py_None) path = seen;
  }
  if (path == nullptr) return outer.number;
  const auto [number, added] = numbers_.try_emplace(path, 0);
  if (added) number->second = tape_.scope(py::cast<std::string>(py::handle(path)));
  return number->second;
}

bool GraphWalk::step(PyObject* node, const Outer& outer, bool announced) {
  const py::object op = get(node, op_name_);
  if (is_text(op, call_function_)) return call(node, outer);
  return is_text(op, placeholder_) && announced;
}

// A part of what a call gave that went straight to the tape.
bool GraphWalk::take(PyObject* node) {
  const py::object args = get(node, args_name_);
  if (!PyTuple_Check(args.ptr()) || PyTuple_GET_SIZE(args.ptr()) != 2) return false;
  const auto from = several_.find(PyTuple_GET_ITEM(args.ptr(), 0));
  if (from == several_.end()) return false;
  const Py_ssize_t number = PyNumber_AsSsize_t(PyTuple_GET_ITEM(args.ptr(), 1), nullptr);
  if (number < 0 || static_cast<std::size_t>(number) >= from->second.size()) {
    PyErr_Clear();
    return false;
  }
  const ValueId id = from->second[static_cast<std::size_t>(number)];
  if (id == kNone) return false;
  tape_.name(py::reinterpret_borrow<py::object>(node), id);
  return true;
}

bool GraphWalk::call(PyObject* node, const Outer& outer) {
  const py::object target = get(node, target_name_);
  if (target.is(getitem_)) return take(node);
  const Reading& how = reading(target);
  if (how.plan == nullptr) return false;
  const py::object meta = get(node, meta_name_);
  if (!PyDict_Check(meta.ptr())) return false;
  PyObject* val = item(meta.ptr(), val_name_.ptr());
  if (val == nullptr) return false;
  const bool several = PyTuple_Check(val) || PyList_Check(val);
  if (several ? how.in_place : !is_tensor(val)) return false;
  const py::object args = get(node, args_name_), kwargs = get(node, kwargs_name_);
  bool stored = false;
  if (!PyTuple_Check(args.ptr()) || !PyDict_Check(kwargs.ptr())) return false;
  if (!known(args.ptr(), stored) || !known(kwargs.ptr(), stored)) return false;
  if (how.in_place && (PyTuple_GET_SIZE(args.ptr()) == 0 ||
                       reinterpret_cast<PyObject*>(Py_TYPE(PyTuple_GET_ITEM(args.ptr(), 0))) != node_.ptr())) {
    return false;
  }
  const std::uint32_t where = scope(meta.ptr(), stored, args.ptr(), outer);
  const auto given = py::reinterpret_borrow<py::tuple>(args);
  auto self = py::reinterpret_borrow<py::object>(node);
  if (how.in_place) {
    tape_.quick_in_place(*how.plan, self, given, kwargs, where);
    return true;
  }
  std::vector<PyObject*> tensors;
  if (!several) tensors.push_back(val);
  const Py_ssize_t count = several ? PySequence_Fast_GET_SIZE(val) : 0;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (is_tensor(PySequence_Fast_GET_ITEM(val, i))) tensors.push_back(PySequence_Fast_GET_ITEM(val, i));
  }
  ValueId id = tape_.quick(*how.plan, given, kwargs, where, tensors);
  if (!several) {
    tape_.name(std::move(self), id);
    return true;
  }
  std::vector<ValueId>& parts = several_[node];
  for (Py_ssize_t i = 0; i < count; ++i) {
    parts.push_back(is_tensor(PySequence_Fast_GET_ITEM(val, i)) ? id++ : kNone);
  }
  return true;
}

}  // namespace macsim::bind
