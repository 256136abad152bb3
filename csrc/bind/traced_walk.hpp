// Graphs of torch.fx whose nodes say nothing of their results: calls of torch's functions, methods and modules.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "dispatcher.hpp"
#include "module_calls.hpp"
#include "tape.hpp"
#include "traced_calls.hpp"

namespace macsim::bind {

/// Walks a traced graph. A call that is one of an operator with a row goes to the tape, and the node stands for its
/// result, whose shape the row tells; a view is asked of torch, over tensors without storage; everything else is run.
class TracedWalk {
 public:
  /// What Python says. `node`: the class; `args`, `kwargs`: the names of its attributes with the arguments;
  /// `ways`: (function, name of a method, or class of a module) -> (list of (calling, plan,
  /// way, operator, ranks), whether it is Python's own); `run`: (function, args, kwargs) -> its results, recorded;
  /// `compare`: (operator, args), of a call that was taken, over sizes that are symbolic; `looks`: names of attributes
  /// and methods that only say something about a tensor.
  TracedWalk(Tape& tape, ModuleCalls& calls, Dispatcher& dispatcher, const py::dict& from);

  /// Walks the graph of a module on inputs, one for each placeholder; what it gives back.
  py::object walk(const py::object& module, const py::list& nodes, const py::list& inputs);

 private:
  struct Way {
    py::object held, operation;  ///< `held` keeps what the others point to alive
    const Calling* calling = nullptr;
    const Plan* plan = nullptr;
    enum class Kind : std::uint8_t { call, turned, changes, view, orders, same } kind = Kind::call;
    std::vector<std::size_t> ranks;  ///< how many axes the first input may have; empty: any number
  };
  struct Target {
    std::vector<Way> ways;
    bool plain = false;  ///< a function of Python's own
  };
  struct Level {
    py::object key;
    ModuleCalls::Place* place = nullptr;
  };

  const Target& looked_up(const py::object& target);
  void step(PyObject* node);
  void call(PyObject* node, const py::object& op);
  void function(PyObject* node, const py::object& target, bool method);
  void module(PyObject* node, const py::object& target);
  bool is_bare(PyObject* module) const;
  void attribute(PyObject* node, const py::object& target);
  py::object found(std::string_view path);

  bool take(PyObject* node, const Way& way);
  bool view(PyObject* node, const Way& way);
  bool change(PyObject* node, const Way& way);
  bool same(PyObject* node);
  bool lies_in_order();
  bool fits(const Way& way) const;
  void compare(const Way& way);
  bool is_look(const py::object& target, bool method) const;
  void run(PyObject* node, const py::object& function);
  ModuleCalls::Place* place(PyObject* node, const py::object* leaf);

  PyObject* root(PyObject* node) const {
    const auto at = same_.find(node);
    return at == same_.end() ? node : at->second;
  }
  bool is_node(PyObject* one) const { return reinterpret_cast<PyObject*>(Py_TYPE(one)) == node_.ptr(); }
  bool is_tensor(PyObject* one) const { return is_node(one) || tape_.is_tensor(one); }
  /// What stands for an argument, as the tape knows it, or as torch does.
  py::object given(PyObject* one, bool tensors);
  py::object given_node(PyObject* node, bool tensors);
  py::tuple all(const std::vector<py::object>& values, bool tensors);
  py::object tensor(PyObject* node);
  void keep(PyObject* node, py::object result);
  void stand(PyObject* node, py::object result);
  void refresh();
  void let_go(PyObject* node);
  void find_last_uses();

  Tape& tape_;
  ModuleCalls& calls_;
  Dispatcher& dispatcher_;
  py::object node_, ways_of_, run_, compare_, looks_, getattr_, module_;
  py::list nodes_, inputs_;
  std::size_t next_input_ = 0;
  py::object results_ = py::none();
  bool ended_ = false;                                ///< the output was met
  std::unordered_map<PyObject*, Target> targets_;     ///< by function, class, or name of a method
  std::unordered_map<PyObject*, py::object> values_;  ///< of nodes: tensors where there are any, other things
  std::unordered_map<PyObject*, PyObject*> same_;     ///< nodes that are what others are, changed in place
  std::unordered_set<PyObject*> turned_;              ///< whose axes lie the other way round
  std::unordered_map<PyObject*, std::vector<PyObject*>> dying_;  ///< by the last that uses them
  py::object owner_;  ///< the module in which something was found last, and its path
  std::string owner_path_;
  std::vector<Level> latest_;                                  ///< the latest stack of modules
  std::unordered_map<std::string, ModuleCalls::Place*> seen_;  ///< calls of modules, by how stacks name them
  std::vector<py::object> args_, taken_;                       // of the call that is read
  std::vector<PyObject*> used_;                                ///< the nodes among them
  py::dict kwargs_, no_kwargs_;
  Field op_, target_, meta_, node_args_, node_kwargs_, inputs_of_;
  py::str call_function_ = interned("call_function"), call_method_ = interned("call_method"),
          call_module_ = interned("call_module"), placeholder_ = interned("placeholder"),
          get_attr_ = interned("get_attr"), stack_ = interned("nn_module_stack"), dict_ = interned("__dict__"),
          forward_ = interned("forward"), hooks_ = interned("_forward_hooks"),
          pre_hooks_ = interned("_forward_pre_hooks"), is_in_order_ = interned("is_contiguous");
};

}  // namespace macsim::bind
