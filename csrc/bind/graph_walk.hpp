// Graphs of torch.fx: nodes that are plain calls go to the tape without a step of Python's each.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "bind.hpp"

namespace macsim::bind {

/// Walks the plain calls of a graph: those of operators with a row, on tensors that are known, to one tensor.
template <class Tape, class Plan>
class GraphWalk {
 public:
  /// `reading`: (target) -> (plan, whether it changes its first argument) of operators whose calls may be plain, or
  /// None; `scope_of`: (node) -> the number of the scope that its stack of modules says; `tensor`: torch's class.
  GraphWalk(Tape& tape, py::object reading, py::object scope_of, py::object tensor, py::object node)
      : tape_(tape),
        reading_(std::move(reading)),
        scope_of_(std::move(scope_of)),
        tensor_(std::move(tensor)),
        node_(std::move(node)) {}

  /// Records nodes from the given one on; the position of the first that is not plain.
  std::size_t walk(const py::list& nodes, std::size_t from, std::uint32_t outer) {
    const auto count = static_cast<std::size_t>(PyList_GET_SIZE(nodes.ptr()));
    for (; from < count; ++from) {
      if (!step(PyList_GET_ITEM(nodes.ptr(), static_cast<Py_ssize_t>(from)), outer)) break;
    }
    return from;
  }

 private:
  struct Reading {
    py::object target, held;  ///< keep what the others point to alive
    const Plan* plan = nullptr;
    bool in_place = false;
  };

  static py::object get(PyObject* from, const py::str& name) {
    auto found = py::reinterpret_steal<py::object>(PyObject_GetAttr(from, name.ptr()));
    if (!found) throw py::error_already_set();
    return found;
  }
  static PyObject* item(const py::object& dict, const py::str& name) {
    PyObject* found = PyDict_GetItemWithError(dict.ptr(), name.ptr());
    if (found == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
    return found;
  }

  const Reading& reading(const py::object& target) {
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
  bool known(PyObject* one, bool& stored) const {
    if (reinterpret_cast<PyObject*>(Py_TYPE(one)) == node_.ptr()) {
      if (!tape_.is_known(one)) return false;
      stored = stored || tape_.is_stored(one);
      return true;
    }
    if (PyTuple_Check(one) || PyList_Check(one)) {
      const Py_ssize_t count = PySequence_Fast_GET_SIZE(one);
      for (Py_ssize_t i = 0; i < count; ++i) {
        if (!known(PySequence_Fast_GET_ITEM(one, i), stored)) return false;
      }
      return true;
    }
    if (!PyDict_Check(one)) return true;
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (PyDict_Next(one, &at, &key, &value) != 0) {
      if (!known(value, stored)) return false;
    }
    return true;
  }

  // kNone: Python has to say it. Modules are told apart by the names on the way to them.
  std::uint32_t scope(PyObject* node, const py::object& meta, bool stored, std::uint32_t outer) {
    PyObject* stack = item(meta, stack_name_);
    const Py_ssize_t depth = stack == nullptr || !PyDict_Check(stack) ? 0 : PyDict_GET_SIZE(stack);
    if (depth == 0) return stored ? kNone : outer;
    py::tuple way(static_cast<std::size_t>(depth));
    Py_ssize_t at = 0, i = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (PyDict_Next(stack, &at, &key, &value) != 0) {
      Py_INCREF(key);
      PyTuple_SET_ITEM(way.ptr(), i++, key);
    }
    PyObject* found = PyDict_GetItemWithError(scopes_.ptr(), way.ptr());
    if (found != nullptr) return static_cast<std::uint32_t>(PyLong_AsUnsignedLong(found));
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    const py::object number = scope_of_(py::handle(node));
    if (number.is_none()) return kNone;
    scopes_[way] = number;
    return py::cast<std::uint32_t>(number);
  }

  bool step(PyObject* node, std::uint32_t outer) {
    const py::object op = get(node, op_name_);
    if (op.ptr() != call_function_.ptr() && PyUnicode_Compare(op.ptr(), call_function_.ptr()) != 0) return false;
    const Reading& how = reading(get(node, target_name_));
    if (how.plan == nullptr) return false;
    const py::object meta = get(node, meta_name_);
    if (!PyDict_Check(meta.ptr())) return false;
    PyObject* val = item(meta, val_name_);
    if (val == nullptr || PyObject_TypeCheck(val, reinterpret_cast<PyTypeObject*>(tensor_.ptr())) == 0) return false;
    const py::object args = get(node, args_name_), kwargs = get(node, kwargs_name_);
    bool stored = false;
    if (!PyTuple_Check(args.ptr()) || !PyDict_Check(kwargs.ptr())) return false;
    if (!known(args.ptr(), stored) || !known(kwargs.ptr(), stored)) return false;
    if (how.in_place && (PyTuple_GET_SIZE(args.ptr()) == 0 ||
                         reinterpret_cast<PyObject*>(Py_TYPE(PyTuple_GET_ITEM(args.ptr(), 0))) != node_.ptr())) {
      return false;
    }
    const std::uint32_t where = scope(node, meta, stored, outer);
    if (where == kNone) return false;
    const auto self = py::reinterpret_borrow<py::object>(node);
    const auto given = py::reinterpret_borrow<py::tuple>(args);
    if (how.in_place) {
      tape_.quick_in_place(*how.plan, self, given, kwargs, where);
    } else {
      tape_.quick(*how.plan, self, given, kwargs, where, val);
    }
    return true;
  }

  Tape& tape_;
  py::object reading_, scope_of_, tensor_, node_;
  std::unordered_map<PyObject*, Reading> readings_;
  py::dict scopes_;
  py::str op_name_ = interned("op"), target_name_ = interned("target"), meta_name_ = interned("meta"),
          val_name_ = interned("val"), args_name_ = interned("args"), kwargs_name_ = interned("kwargs"),
          stack_name_ = interned("nn_module_stack"), call_function_ = interned("call_function");

  static py::str interned(const char* text) { return py::reinterpret_steal<py::str>(PyUnicode_InternFromString(text)); }
};

}  // namespace macsim::bind
