// Graphs of torch.fx: nodes that are plain calls go to the tape without a step of Python's each.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph_modules.hpp"
#include "tape.hpp"

namespace macsim::bind {

/// Whether nodes are operators' calls, and what goes with these, and say what their results are. `sort`: (target) ->
/// True of an operator, False of what such calls are yet to be made of, None of anything else.
bool is_graph(const py::list& nodes, const py::object& node, const py::object& sort);

/// The placeholders among nodes, which is what torch.fx calls the inputs of a graph, and the first node that is none,
/// or None.
py::tuple placeholders(const py::list& nodes, const py::object& node);

/// Walks the plain calls of a graph: those of operators with a row, on tensors that are known, to tensors.
class GraphWalk {
 public:
  /// What Python says of graphs. `reading`: (target) -> (plan, whether it changes its first argument) of operators
  /// whose calls may be plain, or None; `path_of` reads what a stack says of where a module is; `tensor`, `parameter`
  /// and `node`: the classes; `getitem`: the function that takes a part of a result.
  GraphWalk(Tape& tape, const py::dict& from)
      : tape_(tape),
        reading_(from["reading"]),
        modules_(tape, from["path_of"]),
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
  /// object or two of one type at the same place, are one. The other placeholders, and what is said of each of these.
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
  /// The modules that the graph came from.
  GraphModules& modules() { return modules_; }
  std::uint32_t scope(std::string_view path) { return tape_.scope(path); }
  std::optional<std::string_view> path(std::uint32_t scope) const {
    return scope == kNone ? std::nullopt : std::optional(tape_.path(scope));
  }

 private:
  class Specs;
  class Places;
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
  void owners(PyObject* one, std::vector<std::uint32_t>& found) const;
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
  GraphModules modules_;
  py::object tensor_, parameter_, node_, getitem_;
  std::unordered_map<PyObject*, Reading> readings_;
  std::unordered_map<PyObject*, std::vector<ValueId>> several_;
  std::map<std::pair<PyObject*, std::string>, py::object> inside_;  ///< modules by where they are in which
  std::unordered_map<PyObject*, py::object> attributes_;            ///< tensors of modules, by their nodes
  std::unordered_map<PyObject*, py::object> first_;                 ///< their first nodes, by them
  std::vector<PyObject*> vals_;                                     // of the call that is read
  Field op_, target_, name_, meta_, args_, kwargs_;                 ///< of nodes
  py::str val_name_ = interned("val"), stack_name_ = interned("nn_module_stack"), target_name_ = interned("target"),
          call_function_ = interned("call_function"), placeholder_ = interned("placeholder"),
          get_attr_ = interned("get_attr"), name_name_ = interned("name"), kind_name_ = interned("kind"),
          arg_name_ = interned("arg"), data_ptr_name_ = interned("data_ptr"), dict_name_ = interned("__dict__"),
          parameters_name_ = interned("_parameters"), buffers_name_ = interned("_buffers"),
          modules_name_ = interned("_modules");
};

}  // namespace macsim::bind
