// Graphs of torch.fx: nodes that are plain calls go to the tape without a step of Python's each.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tape.hpp"

namespace macsim::bind {

/// Walks the plain calls of a graph: those of operators with a row, on tensors that are known, to tensors.
class GraphWalk {
 public:
  /// What Python says of graphs. `reading`: (target) -> (plan, whether it changes its first argument) of operators
  /// whose calls may be plain, or None; `paths`: of modules, by the names that stacks have for their calls, and
  /// `enter`: (name, what the stack says) -> the path of one that is not among them, or None; `tensor` and `node`: the
  /// classes; `getitem`: the function that takes a part of a result.
  GraphWalk(Tape& tape, const py::dict& from)
      : tape_(tape),
        reading_(from["reading"]),
        paths_(from["paths"]),
        enter_(from["enter"]),
        tensor_(from["tensor"]),
        node_(from["node"]),
        getitem_(from["getitem"]),
        args_name_(from["args"]),
        kwargs_name_(from["kwargs"]) {}

  /// Announces the tensors of an exported program's model. `inputs`: its placeholders; `specs`: what it says of them;
  /// `kinds`: those that are tensors, first the one of parameters; `state`: the tensors by name. Tied weights, the same
  /// object or two of one type at the same place, are one. The number of elements of parameters by the path of their
  /// module, and the other placeholders.
  py::tuple stored(const py::list& inputs, const py::list& specs, const py::list& kinds, const py::dict& state);
  /// Records nodes from the given one on, inside the module `outer`; the position of the first that is not plain.
  /// `announced`: so are the graph's inputs.
  std::size_t walk(const py::list& nodes, std::size_t from, const std::string& outer, bool announced);
  /// The given thing is a part of what a node gave: of several tensors that with this number.
  void part(const py::object& to, const py::object& node, std::size_t number);

 private:
  struct Reading {
    py::object target, held;  ///< keep what the others point to alive
    const Plan* plan = nullptr;
    bool in_place = false;
  };
  struct Outer {
    std::string path;
    std::uint32_t number;
  };

  const Reading& reading(const py::object& target);
  bool known(PyObject* one, bool& stored) const;
  std::uint32_t scope(PyObject* meta, bool stored, PyObject* args, const Outer& outer);
  void owners(PyObject* one, std::vector<std::string_view>& found) const;
  bool step(PyObject* node, const Outer& outer, bool announced);
  bool call(PyObject* node, const Outer& outer);
  bool take(PyObject* node);
  std::size_t place_of(PyObject* tensor) const;
  bool is_tensor(PyObject* one) const {
    return PyObject_TypeCheck(one, reinterpret_cast<PyTypeObject*>(tensor_.ptr())) != 0;
  }

  Tape& tape_;
  py::object reading_;
  py::dict paths_;
  py::object enter_, tensor_, node_, getitem_;
  std::unordered_map<PyObject*, Reading> readings_;
  std::unordered_map<PyObject*, std::uint32_t> numbers_;  ///< of paths, which `paths` keeps alive
  std::unordered_map<PyObject*, std::vector<ValueId>> several_;
  py::str op_name_ = interned("op"), target_name_ = interned("target"), meta_name_ = interned("meta"),
          val_name_ = interned("val"), args_name_, kwargs_name_, stack_name_ = interned("nn_module_stack"),
          call_function_ = interned("call_function"), placeholder_ = interned("placeholder"),
          name_name_ = interned("name"), kind_name_ = interned("kind"), arg_name_ = interned("arg"),
          data_ptr_name_ = interned("data_ptr");

  static py::str interned(const char* text) { return py::reinterpret_steal<py::str>(PyUnicode_InternFromString(text)); }
};

}  // namespace macsim::bind
