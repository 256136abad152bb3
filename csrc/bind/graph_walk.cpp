// Graphs of torch.fx, node by node.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "graph_walk.hpp"

#include <algorithm>

#include "items.hpp"

namespace macsim::bind {
namespace {

py::object get(PyObject* from, const py::str& name) {
  auto found = py::reinterpret_steal<py::object>(PyObject_GetAttr(from, name.ptr()));
  if (!found) throw py::error_already_set();
  return found;
}

bool is_text(const py::object& text, const py::str& which) { return is_same_text(text.ptr(), which.ptr()); }

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

bool is_graph(const py::list& nodes, const py::object& node_class, const py::object& sort) {
  const Field op("op", node_class), target("target", node_class), meta("meta", node_class);
  const py::str val = interned("val");
  std::unordered_map<PyObject*, py::object> sorts;
  bool called = false;
  for (const py::handle node : nodes) {
    const py::object does = op.of(node.ptr()), what = target.of(node.ptr());
    const std::string_view kind = utf8(does.ptr());
    if (kind == "get_attr" || kind == "output") continue;
    if (kind == "call_module" && py::isinstance<py::str>(what) && py::cast<std::string_view>(what) == "_guards_fn") {
      continue;  // it only checks the inputs of a program that was exported
    }
    if ((kind != "call_function" && kind != "placeholder") || item(meta.of(node.ptr()).ptr(), val.ptr()) == nullptr) {
      return false;
    }
    if (kind == "placeholder") continue;
    const auto [at, added] = sorts.try_emplace(what.ptr());
    if (added) at->second = sort(what);
    if (at->second.ptr() == Py_False) return false;
    called = called || at->second.ptr() == Py_True;
  }
  return called;
}

py::tuple placeholders(const py::list& nodes, const py::object& node_class) {
  const Field op("op", node_class);
  const py::str placeholder = interned("placeholder");  // what torch.fx calls an input
  py::list found;
  py::object first = py::none();
  for (const py::handle node : nodes) {
    if (is_text(op.of(node.ptr()), placeholder)) {
      found.append(node);
    } else if (first.is_none()) {
      first = py::reinterpret_borrow<py::object>(node);
    }
  }
  return py::make_tuple(std::move(found), std::move(first));
}

// What an exported program says of its inputs, which mostly stands in their order.
class GraphWalk::Specs {
 public:
  Specs(const GraphWalk& walk, const py::list& specs) : walk_(walk), specs_(specs) {}
  py::object of(const py::object& name, std::size_t at) const {
    const std::size_t count = specs_.size();
    for (std::size_t i = 0; i <= count; ++i) {
      if (i == 0 && at >= count) continue;
      PyObject* spec = PyList_GET_ITEM(specs_.ptr(), static_cast<Py_ssize_t>(i == 0 ? at : i - 1));
      if (is_same_text(get(get(spec, walk_.arg_name_).ptr(), walk_.name_name_).ptr(), name.ptr())) {
        return py::reinterpret_borrow<py::object>(spec);
      }
    }
    return py::none();
  }

 private:
  const GraphWalk& walk_;
  const py::list& specs_;
};

// Tensors by the place of their elements: views may share one.
class GraphWalk::Places {
 public:
  /// The first at the place for which this holds; null: there is none.
  template <class Is>
  PyObject* find(std::size_t place, const Is& is) const {
    for (std::uint32_t at = latest_.find(pointer(place)); at != kNone; at = held_[at].second) {
      if (is(held_[at].first)) return held_[at].first;
    }
    return nullptr;
  }
  void add(std::size_t place, PyObject* node) {
    std::uint32_t& latest = latest_[pointer(place)];
    held_.emplace_back(node, latest);
    latest = static_cast<std::uint32_t>(held_.size() - 1);
  }

 private:
  static const void* pointer(std::size_t place) { return reinterpret_cast<const void*>(place); }
  IdMap latest_;
  std::vector<std::pair<PyObject*, std::uint32_t>> held_;  ///< and the one before at the same place
};

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
  const Specs said(*this, specs);
  Places places;
  py::list others, of_others;
  std::size_t at = 0;
  for (const py::handle node : inputs) {
    const py::object spec = said.of(name_.of(node.ptr()), at++);
    PyObject* val = item(meta_.of(node.ptr()).ptr(), val_name_.ptr());
    const py::object kind = spec.is_none() ? py::none() : get(spec.ptr(), kind_name_);
    const auto number = std::find_if(kinds.begin(), kinds.end(), [&](py::handle one) { return one.is(kind); });
    if (number == kinds.end() || val == nullptr || !is_tensor(val)) {
      others.append(node);
      of_others.append(kind);
      continue;
    }
    const py::object name = get(spec.ptr(), target_name_), self = py::reinterpret_borrow<py::object>(node);
    PyObject* held = item(state.ptr(), name.ptr());
    const std::size_t place = held == nullptr ? 0 : place_of(held);
    PyObject* tied = place == 0 ? nullptr : places.find(place, [&](PyObject* one) { return tape_.is_like(one, val); });
    if (tied != nullptr) {
      tape_.same(self, py::reinterpret_borrow<py::object>(tied));
      continue;
    }
    const bool buffer = number != kinds.begin();
    const bool frozen = buffer || (held != nullptr && !tape_.is_trained(held));
    PyObject* like = held != nullptr && is_tensor(held) ? held : val;  // what stands for it is slow to say its shape
    const auto [elements, owner] = tape_.stored_node(self, like, utf8(name.ptr()), buffer, frozen);
    if (held != nullptr) places.add(place, node.ptr());
    if (!buffer) modules_.own(owner, elements);
  }
  return py::make_tuple(std::move(others), std::move(of_others));
}

std::size_t GraphWalk::walk(const py::object& module, const py::list& nodes, std::size_t from, const std::string& outer,
                            bool announced) {
  const Outer around{module, outer, tape_.scope(outer), announced};
  const auto count = static_cast<std::size_t>(PyList_GET_SIZE(nodes.ptr()));
  for (; from < count; ++from) {
    if (!step(PyList_GET_ITEM(nodes.ptr(), static_cast<Py_ssize_t>(from)), around)) break;
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

// Whether all nodes among arguments are tensors that are known.
bool GraphWalk::known(PyObject* one) const {
  return each(one, [&](PyObject* argument) {
    return reinterpret_cast<PyObject*>(Py_TYPE(argument)) != node_.ptr() || tape_.is_known(argument);
  });
}

void GraphWalk::owners(PyObject* one, std::vector<std::uint32_t>& found) const {
  (void)each(one, [&](PyObject* argument) {
    const std::uint32_t owner = tape_.owner(argument);
    if (owner != kNone && std::find(found.begin(), found.end(), owner) == found.end()) found.push_back(owner);
    return true;
  });
}

// Where torch forgot the modules around a call, it is of the one whose own tensors it reads.
std::uint32_t GraphWalk::scope(PyObject* meta, PyObject* args, const Outer& outer) {
  PyObject* stack = item(meta, stack_name_.ptr());
  if (stack != nullptr && PyDict_Check(stack) && PyDict_GET_SIZE(stack) != 0) {
    const std::uint32_t around = modules_.around(stack);
    return around == kNone ? outer.number : around;
  }
  std::vector<std::uint32_t> found;
  owners(args, found);
  if (found.size() != 1) return outer.number;
  return outer.path.empty() || tape_.path(found.front()).starts_with(outer.path + ".") ? found.front() : outer.number;
}

bool GraphWalk::step(PyObject* node, const Outer& outer) {
  const py::object op = op_.of(node);
  if (op.is(placeholder_)) return outer.announced;
  if (is_text(op, call_function_)) return call(node, outer);
  if (is_text(op, get_attr_)) return attribute(outer.module, py::reinterpret_borrow<py::object>(node));
  return is_text(op, placeholder_) && outer.announced;
}

// What a dotted path leads to. What torch keeps in a module is found there, which is quicker than to ask the module.
py::object GraphWalk::found(const py::object& module, std::string_view path) {
  const std::size_t dot = path.rfind('.');
  py::object owner = module;
  if (dot != std::string_view::npos) {
    const auto [at, added] = inside_.try_emplace({module.ptr(), std::string(path.substr(0, dot))});
    if (added) at->second = found(module, at->first.second);
    owner = at->second;
  }
  const py::str name = text(path.substr(dot + 1));  // npos + 1 is 0
  const auto held = py::reinterpret_steal<py::object>(PyObject_GetAttr(owner.ptr(), dict_name_.ptr()));
  if (!held) PyErr_Clear();
  for (const py::str* kind : {&parameters_name_, &buffers_name_, &modules_name_}) {
    PyObject* those = held && PyDict_Check(held.ptr()) ? item(held.ptr(), kind->ptr()) : nullptr;
    PyObject* found = those != nullptr && PyDict_Check(those) ? item(those, name.ptr()) : nullptr;
    if (found != nullptr) return py::reinterpret_borrow<py::object>(found);
  }
  return get(owner.ptr(), name);
}

bool GraphWalk::attribute(const py::object& module, const py::object& node) {
  const py::object target = target_.of(node.ptr());
  const std::string_view path = utf8(target.ptr());
  const py::object tensor = found(module, path);
  if (!is_tensor(tensor.ptr())) return false;
  attributes_[node.ptr()] = tensor;
  const auto [at, added] = first_.try_emplace(tensor.ptr(), node);
  if (added) {
    (void)tape_.stored_node(node, tensor.ptr(), path, !py::isinstance(tensor, parameter_), false);
  } else {
    tape_.same(node, at->second);
  }
  return true;
}

py::object GraphWalk::tensor(const py::object& node) const {
  const auto at = attributes_.find(node.ptr());
  return at == attributes_.end() ? py::none() : at->second;
}

// A part of what a call gave that went straight to the tape.
bool GraphWalk::take(PyObject* node) {
  const py::object args = args_.of(node);
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
  const py::object target = target_.of(node);
  if (target.is(getitem_)) return take(node);
  const Reading& how = reading(target);
  if (how.plan == nullptr) return false;
  const py::object meta = meta_.of(node);
  if (!PyDict_Check(meta.ptr())) return false;
  PyObject* val = item(meta.ptr(), val_name_.ptr());
  if (val == nullptr) return false;
  const bool several = PyTuple_Check(val) || PyList_Check(val);
  if (several ? how.in_place : !is_tensor(val)) return false;
  const py::object args = args_.of(node), kwargs = kwargs_.of(node);
  if (!PyTuple_Check(args.ptr()) || !PyDict_Check(kwargs.ptr())) return false;
  if (!known(args.ptr()) || !known(kwargs.ptr())) return false;
  if (how.in_place && (PyTuple_GET_SIZE(args.ptr()) == 0 ||
                       reinterpret_cast<PyObject*>(Py_TYPE(PyTuple_GET_ITEM(args.ptr(), 0))) != node_.ptr())) {
    return false;
  }
  const std::uint32_t where = scope(meta.ptr(), args.ptr(), outer);
  const auto given = py::reinterpret_borrow<py::tuple>(args);
  auto self = py::reinterpret_borrow<py::object>(node);
  if (how.in_place) {
    tape_.quick_in_place(*how.plan, self, given, kwargs, where);
    return true;
  }
  vals_.clear();
  if (!several) vals_.push_back(val);
  const Py_ssize_t count = several ? PySequence_Fast_GET_SIZE(val) : 0;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (is_tensor(PySequence_Fast_GET_ITEM(val, i))) vals_.push_back(PySequence_Fast_GET_ITEM(val, i));
  }
  ValueId id = tape_.quick(*how.plan, given, kwargs, where, vals_);
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
