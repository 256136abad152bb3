// Graphs of torch.fx: nodes that are plain calls go to the tape without a step of Python's each.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tape.hpp"

namespace macsim::bind {

/// A text that attributes are asked for by, many times.
inline py::str interned(const char* text) { return py::reinterpret_steal<py::str>(PyUnicode_InternFromString(text)); }

/// An attribute of the objects of one class; of a member of their structure it is known where that is.
class Field {
 public:
  Field(const char* name, py::handle kind = {});
  /// Its value in an object of the class or a derived one.
  py::object of(PyObject* from) const;

 private:
  py::str name_;
  Py_ssize_t offset_ = 0;  ///< 0: nobody knows
};

/// Whether nodes are operators' calls, and what goes with these, and say what their results are. `sort`: (target) ->
/// True of an operator, False of what such calls are yet to be made of, None of anything else.
bool is_graph(const py::list& nodes, const py::object& node, const py::object& sort);

/// Walks the plain calls of a graph: those of operators with a row, on tensors that are known, to tensors.
class GraphWalk {
 public:
  /// What Python says of graphs. `reading`: (target) -> (plan, whether it changes its first argument) of operators
  /// whose calls may be plain, or None; `paths`: of modules, by the names that stacks have for their calls; `modules`:
  /// what is known of them by path, objects of the class `called`; `path_of` and `class_name` read what a stack says of
  /// a module; `tensor`, `parameter` and `node`: the classes; `getitem`: the function that takes a part of a result.
  GraphWalk(Tape& tape, const py::dict& from)
      : tape_(tape),
        reading_(from["reading"]),
        paths_(from["paths"]),
        modules_(from["modules"]),
        called_(from["called"]),
        path_of_(from["path_of"]),
        class_name_(from["class_name"]),
        tensor_(from["tensor"]),
        parameter_(from["parameter"]),
        node_(from["node"]),
        getitem_(from["getitem"]),
        op_("op", node_),
        target_("target", node_),
        name_("name", node_),
        meta_("meta", node_),
        args_(py::cast<std::string>(from["args"]).c_str(), node_),
        kwargs_(py::cast<std::string>(from["kwargs"]).c_str(), node_) {}

  /// Announces the tensors of an exported program's model. `inputs`: its placeholders; `specs`: what it says of them;
  /// `kinds`: those that are tensors, first the one of parameters; `state`: the tensors by name. Tied weights, the same
  /// object or two of one type at the same place, are one. The number of elements of parameters by the path of their
  /// module, the other placeholders, and what is said of each of these.
  py::tuple stored(const py::list& inputs, const py::list& specs, const py::list& kinds, const py::dict& state);
  /// Records nodes of `module`'s graph from the given one on, inside the module `outer`; the position of the first that
  /// is not plain. `announced`: so are the graph's inputs.
  std::size_t walk(const py::object& module, const py::list& nodes, std::size_t from, const std::string& outer,
                   bool announced);
  /// Lets a node stand for the tensor of a module's that it names, each of them once; false: it names something else.
  bool attribute(const py::object& module, const py::object& node);
  /// That tensor, or None.
  py::object tensor(const py::object& node) const;
  /// The given thing is a part of what a node gave: of several tensors that with this number.
  void part(const py::object& to, const py::object& node, std::size_t number);

 private:
  class Specs;
  struct Reading {
    py::object target, held;  ///< keep what the others point to alive
    const Plan* plan = nullptr;
    bool in_place = false;
  };
  struct Outer {
    py::object module;
    std::string path;
    std::uint32_t number;
    bool announced;
  };

  const Reading& reading(const py::object& target);
  bool known(PyObject* one) const;
  std::uint32_t scope(PyObject* meta, PyObject* args, const Outer& outer);
  std::uint32_t scope_of_stack(PyObject* stack, const Outer& outer);
  PyObject* enter(PyObject* key, PyObject* said);
  py::object called_at(const py::object& path);
  bool is_latest(PyObject* stack) const;
  void owners(PyObject* one, std::vector<std::string_view>& found) const;
  bool step(PyObject* node, const Outer& outer);
  py::object found(const py::object& module, std::string_view path);
  bool call(PyObject* node, const Outer& outer);
  bool take(PyObject* node);
  std::size_t place_of(PyObject* tensor) const;
  bool is_tensor(PyObject* one) const {
    return PyObject_TypeCheck(one, reinterpret_cast<PyTypeObject*>(tensor_.ptr())) != 0;
  }

  Tape& tape_;
  py::object reading_;
  py::dict paths_, modules_;
  py::object called_, path_of_, class_name_, tensor_, parameter_, node_, getitem_;
  std::unordered_map<PyObject*, Reading> readings_;
  std::unordered_map<PyObject*, std::uint32_t> numbers_;  ///< of paths, which `paths` keeps alive
  std::unordered_map<PyObject*, std::vector<ValueId>> several_;
  std::map<std::pair<PyObject*, std::string>, py::object> inside_;  ///< modules by where they are in which
  std::unordered_map<PyObject*, py::object> attributes_;            ///< tensors of modules, by their nodes
  std::unordered_map<PyObject*, py::object> first_;                 ///< their first nodes, by them
  std::vector<PyObject*> latest_;  ///< the names in the last stack, which `paths` keeps alive
  std::uint32_t latest_scope_ = kNone;
  std::vector<PyObject*> vals_;                      // of the call that is read
  Field op_, target_, name_, meta_, args_, kwargs_;  ///< of nodes
  py::str val_name_ = interned("val"), stack_name_ = interned("nn_module_stack"), target_name_ = interned("target"),
          call_function_ = interned("call_function"), placeholder_ = interned("placeholder"),
          get_attr_ = interned("get_attr"), name_name_ = interned("name"), kind_name_ = interned("kind"),
          arg_name_ = interned("arg"), data_ptr_name_ = interned("data_ptr"), calls_name_ = interned("calls"),
          elements_name_ = interned("parameters"), dict_name_ = interned("__dict__"),
          parameters_name_ = interned("_parameters"), buffers_name_ = interned("_buffers"),
          modules_name_ = interned("_modules");
};

}  // namespace macsim::bind
