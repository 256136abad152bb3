// Traced graphs, node by node.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "traced_walk.hpp"

#include <algorithm>

#include "graph_modules.hpp"
#include "items.hpp"

namespace macsim::bind {
namespace {

py::object borrowed(PyObject* one) { return py::reinterpret_borrow<py::object>(one); }

bool is_text(const py::object& text, const py::str& which) { return is_same_text(text.ptr(), which.ptr()); }

// What is called stands in a module while this lives.
class Within {
 public:
  Within(ModuleCalls& calls, const ModuleCalls::Place* around) : calls_(calls), around_(around) {}
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;
  ~Within() { calls_.leave(around_, !done_); }
  void done() { done_ = true; }

 private:
  ModuleCalls& calls_;
  const ModuleCalls::Place* around_;
  bool done_ = false;
};

}  // namespace

TracedWalk::TracedWalk(Tape& tape, ModuleCalls& calls, Dispatcher& dispatcher, const py::dict& from)
    : tape_(tape),
      calls_(calls),
      dispatcher_(dispatcher),
      node_(from["node"]),
      ways_of_(from["ways"]),
      run_(from["run"]),
      compare_(from["compare"]),
      looks_(from["looks"]),
      getattr_(from["getattr"]),
      op_("op", node_),
      target_("target", node_),
      meta_("meta", node_),
      node_args_(py::cast<std::string>(from["args"]).c_str(), node_),
      node_kwargs_(py::cast<std::string>(from["kwargs"]).c_str(), node_),
      inputs_of_("_input_nodes", node_) {}

py::object TracedWalk::walk(const py::object& module, const py::list& nodes, const py::list& inputs) {
  module_ = module;
  nodes_ = nodes;
  inputs_ = inputs;
  Within root(calls_, calls_.enter(module.ptr()));
  for (const py::handle node : nodes) {
    step(node.ptr());
    if (!dying_.empty()) let_go(node.ptr());
  }
  root.done();
  return results_;
}

void TracedWalk::step(PyObject* node) {
  const py::object op = op_.of(node);
  if (is_text(op, call_module_) || is_text(op, call_function_) || is_text(op, call_method_)) {
    call(node, op);
  } else if (is_text(op, get_attr_)) {
    attribute(node, target_.of(node));
  } else if (is_text(op, placeholder_)) {
    stand(node, borrowed(PyList_GET_ITEM(inputs_.ptr(), static_cast<Py_ssize_t>(next_input_++))));
  } else {  // the output
    ended_ = true;
    const py::object args = node_args_.of(node);
    results_ = given(PyTuple_GET_ITEM(args.ptr(), 0), true);
  }
}

void TracedWalk::call(PyObject* node, const py::object& op) {
  const py::object target = target_.of(node), args = node_args_.of(node), kwargs = node_kwargs_.of(node);
  args_.clear();
  used_.clear();
  const Py_ssize_t count = PyTuple_GET_SIZE(args.ptr());
  for (Py_ssize_t i = 0; i < count; ++i) args_.push_back(given(PyTuple_GET_ITEM(args.ptr(), i), false));
  kwargs_ = PyDict_GET_SIZE(kwargs.ptr()) == 0 ? no_kwargs_ : py::dict(given(kwargs.ptr(), false));
  const bool leaf = is_text(op, call_module_);
  const ModuleCalls::Place* const here = place(node, leaf ? &target : nullptr);
  Within within(calls_, here == nullptr ? calls_.now() : calls_.go(here));
  if (leaf) {
    module(node, target);
  } else {
    function(node, target, is_text(op, call_method_));
  }
  within.done();
}

const TracedWalk::Target& TracedWalk::looked_up(const py::object& target) {
  const auto [at, added] = targets_.try_emplace(target.ptr());
  if (!added) return at->second;
  const py::object found = ways_of_(target);
  at->second.plain = py::cast<bool>(py::object(found[py::int_(1)]));
  for (const py::handle said : py::object(found[py::int_(0)])) {
    Way& way = at->second.ways.emplace_back();
    way.held = borrowed(said.ptr());
    way.calling = py::cast<const Calling*>(py::object(said[py::int_(0)]));
    way.plan = py::cast<const Plan*>(py::object(said[py::int_(1)]));
    const py::object how = said[py::int_(2)];
    const auto kind = py::cast<std::string_view>(how);
    way.kind = kind == "call"      ? Way::Kind::call
               : kind == "turned"  ? Way::Kind::turned
               : kind == "changes" ? Way::Kind::changes
               : kind == "orders"  ? Way::Kind::orders
               : kind == "same"    ? Way::Kind::same
                                   : Way::Kind::view;
    way.operation = said[py::int_(3)];
    for (const py::handle rank : said[py::int_(4)]) way.ranks.push_back(py::cast<std::size_t>(rank));
  }
  return at->second;
}

void TracedWalk::function(PyObject* node, const py::object& target, bool method) {
  const auto tensors = [this](PyObject* one) { return is_tensor(one); };
  const Target& known = looked_up(target);
  if (!used_.empty()) {
    for (const Way& way : known.ways) {
      if (!way.calling->of_call(args_, kwargs_, tensors, taken_)) continue;
      if (take(node, way)) return;
      break;
    }
  }
  py::object callee = target;
  if (method) {
    callee = owned(PyObject_GetAttr(given(args_.at(0).ptr(), true).ptr(), target.ptr()));
    args_.erase(args_.begin());
  }
  if (used_.empty() ? !method && !known.plain : !is_look(target, method)) {
    run(node, callee);
    return;
  }
  const py::object kwargs = given(kwargs_.ptr(), true);
  keep(node, owned(PyObject_Call(callee.ptr(), all(args_, true).ptr(), kwargs.ptr())));
}

// Whether it only says something of a tensor, such as its shape.
bool TracedWalk::is_look(const py::object& target, bool method) const {
  const py::object& name = method || !target.is(getattr_) || args_.size() < 2 ? target : args_[1];
  const int found = PyUnicode_Check(name.ptr()) ? PySequence_Contains(looks_.ptr(), name.ptr()) : 0;
  if (found < 0) throw py::error_already_set();
  return found == 1;
}

void TracedWalk::module(PyObject* node, const py::object& target) {
  const auto tensors = [this](PyObject* one) { return is_tensor(one); };
  const py::object called = found(utf8(target.ptr()));
  if (args_.size() == 1 && kwargs_.empty() && is_tensor(args_[0].ptr()) && is_bare(called.ptr())) {
    for (const Way& way : looked_up(borrowed(reinterpret_cast<PyObject*>(Py_TYPE(called.ptr())))).ways) {
      if (!way.calling->of_module(called.ptr(), args_[0], tensors, taken_) || !fits(way)) continue;
      ModuleCalls::Place& here = calls_.at(called.ptr());
      Within within(calls_, calls_.go(&here));
      const bool taken = take(node, way);
      within.done();
      if (!taken) break;
      ++here.calls;
      return;
    }
  }
  run(node, called);
}

// Whether a module does what its class says, and nothing else.
bool TracedWalk::is_bare(PyObject* module) const {
  const py::object held = owned(PyObject_GetAttr(module, dict_.ptr()));
  if (!PyDict_Check(held.ptr()) || item(held.ptr(), forward_.ptr()) != nullptr) return false;
  for (const py::str* name : {&hooks_, &pre_hooks_}) {
    PyObject* hooks = item(held.ptr(), name->ptr());
    if (hooks == nullptr || !PyDict_Check(hooks) || PyDict_GET_SIZE(hooks) != 0) return false;
  }
  return true;
}

void TracedWalk::attribute(PyObject* node, const py::object& target) { stand(node, found(utf8(target.ptr()))); }

// What a dotted path leads to, from the module whose graph it is.
py::object TracedWalk::found(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  const std::string_view before = dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
  if (!owner_ || owner_path_ != before) {
    py::object owner = before.empty() ? module_ : found(before);
    owner_ = std::move(owner);
    owner_path_.assign(before);
  }
  const py::object owner = owner_;
  static const py::str* const kinds[] = {new py::str("_modules"), new py::str("_parameters"), new py::str("_buffers")};
  const py::str name = text(path.substr(dot + 1));  // npos + 1 is 0
  for (const py::str* kind : kinds) {
    const py::object held = owned(PyObject_GetAttr(owner.ptr(), kind->ptr()));
    PyObject* one = PyDict_Check(held.ptr()) ? item(held.ptr(), name.ptr()) : nullptr;
    if (one != nullptr) return borrowed(one);
  }
  return owned(PyObject_GetAttr(owner.ptr(), name.ptr()));
}

// The short ways. -----------------------------------------------------------------------------------------------------

bool TracedWalk::fits(const Way& way) const {
  return way.ranks.empty() ||
         std::find(way.ranks.begin(), way.ranks.end(), tape_.rank(args_[0].ptr())) != way.ranks.end();
}

bool TracedWalk::take(PyObject* node, const Way& way) {
  if (way.kind == Way::Kind::same) return same(node);
  if (way.kind == Way::Kind::view) return view(node, way);
  if (way.kind == Way::Kind::orders) return lies_in_order() ? same(node) : view(node, way);
  if (tape_.is_symbolic() && tape_.has_symbols(all(taken_, false).ptr())) return false;
  if (way.kind == Way::Kind::changes) return change(node, way);
  const ValueId id = tape_.told(*way.plan, all(taken_, false), calls_.scope());
  if (id == kNone) return false;
  tape_.name(borrowed(node), id);
  if (way.kind == Way::Kind::turned) turned_.insert(node);
  compare(way);
  return true;
}

// Rows take it on trust that sizes fit.
void TracedWalk::compare(const Way& way) {
  if (tape_.is_symbolic() && !tape_.repeated()) compare_(way.operation, all(taken_, true));
}

bool TracedWalk::view(PyObject* node, const Way& way) {
  if (taken_.size() > way.calling->positional()) return false;
  py::object out = dispatcher_.dispatch(way.operation, all(taken_, true), py::none());
  if (out.is_none() || out.ptr() == Py_NotImplemented) return false;
  keep(node, std::move(out));
  return true;
}

// Then torch calls nothing.
bool TracedWalk::lies_in_order() {
  if (tape_.is_symbolic() || taken_.size() != 1) return false;
  const py::object one = given(taken_.front().ptr(), true);
  return owned(PyObject_CallMethodNoArgs(one.ptr(), is_in_order_.ptr())).is(py::handle(Py_True));
}

// What goes in comes out.
bool TracedWalk::same(PyObject* node) {
  const py::object& given = taken_.front();
  if (!is_node(given.ptr())) {
    keep(node, given);
    return true;
  }
  tape_.same(borrowed(node), given);
  same_[node] = same_[given.ptr()] = given.ptr();
  return true;
}

bool TracedWalk::change(PyObject* node, const Way& way) {
  PyObject* const changed = taken_.front().ptr();
  if (!is_node(changed)) return false;
  tape_.quick_in_place(*way.plan, borrowed(node), all(taken_, false), py::none(), calls_.scope());
  same_[node] = same_[changed] = changed;
  const auto held = values_.find(changed);
  if (held != values_.end()) tape_.same(held->second, borrowed(changed));
  compare(way);
  return true;
}

void TracedWalk::run(PyObject* node, const py::object& function) {
  const py::object kwargs = given(kwargs_.ptr(), true);
  py::object out = run_(function, all(args_, true), kwargs);
  refresh();
  keep(node, std::move(out));
}

// Modules. ------------------------------------------------------------------------------------------------------------

// Where a node's stack says that it is; null: it says nothing. `leaf`: the module that it calls, which is called later.
ModuleCalls::Place* TracedWalk::place(PyObject* node, const py::object* leaf) {
  const py::object meta = meta_.of(node);
  PyObject* stack = PyDict_Check(meta.ptr()) ? item(meta.ptr(), stack_.ptr()) : nullptr;
  if (stack == nullptr || !PyDict_Check(stack)) return nullptr;
  ModuleCalls::Place* innermost = nullptr;
  std::size_t depth = 0;
  Py_ssize_t at = 0;
  PyObject *key = nullptr, *said = nullptr;
  for (; PyDict_Next(stack, &at, &key, &said) != 0; ++depth) {
    if (!PyUnicode_Check(key) || !PyTuple_Check(said) || PyTuple_GET_SIZE(said) != 2) continue;
    PyObject *where = PyTuple_GET_ITEM(said, 0), *kind = PyTuple_GET_ITEM(said, 1);
    if (!PyUnicode_Check(where) || (leaf != nullptr && is_same_text(where, leaf->ptr()))) continue;
    if (depth >= latest_.size()) latest_.resize(depth + 1);
    Level& level = latest_[depth];
    if (!level.key || !is_same_text(level.key.ptr(), key)) {
      const auto [met, added] = seen_.try_emplace(std::string(utf8(key)));
      if (added) met->second = &calls_.note(utf8(where), borrowed(kind));
      level = {borrowed(key), met->second};
    }
    innermost = level.place;
  }
  return innermost;
}

// Values. -------------------------------------------------------------------------------------------------------------

py::object TracedWalk::given(PyObject* one, bool tensors) {
  if (is_node(one)) return given_node(one, tensors);
  if (PyTuple_Check(one) || PyList_Check(one)) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(one);
    py::list out(count);
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyList_SET_ITEM(out.ptr(), i, given(PySequence_Fast_GET_ITEM(one, i), tensors).release().ptr());
    }
    if (PyList_Check(one)) return out;
    return PyTuple_CheckExact(one) ? py::object(py::tuple(out)) : borrowed(one);  // others hold no nodes
  }
  if (PyDict_Check(one)) {
    py::dict out;
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (PyDict_Next(one, &at, &key, &value) != 0) out[py::handle(key)] = given(value, tensors);
    return out;
  }
  if (PySlice_Check(one)) {
    const auto* slice = reinterpret_cast<PySliceObject*>(one);
    const py::object from = given(slice->start, tensors), to = given(slice->stop, tensors),
                     by = given(slice->step, tensors);
    return owned(PySlice_New(from.ptr(), to.ptr(), by.ptr()));
  }
  return borrowed(one);
}

// A node stands for its tensor, except for one whose contents are known.
py::object TracedWalk::given_node(PyObject* node, bool tensors) {
  PyObject* const one = root(node);
  if (!tape_.is_known(one)) {
    const auto held = values_.find(one);
    if (held == values_.end()) throw py::value_error("a node of the graph is used before it is made");
    if (tape_.is_tensor(held->second.ptr())) used_.push_back(one);
    return held->second;
  }
  used_.push_back(one);
  if (tensors) return tensor(one);
  const auto held = values_.find(one);
  return held != values_.end() && tape_.follows(held->second.ptr()) ? held->second : borrowed(one);
}

py::tuple TracedWalk::all(const std::vector<py::object>& values, bool tensors) {
  py::tuple out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    py::object one = tensors ? given(values[i].ptr(), true) : values[i];
    PyTuple_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i), one.release().ptr());
  }
  return out;
}

py::object TracedWalk::tensor(PyObject* node) {
  if (dying_.empty() && !ended_) find_last_uses();
  py::object& held = values_[node];
  if (!held) held = tape_.tensor(node, turned_.count(node) != 0 ? Order::turned : Order::rows);
  return held;
}

// Keeps what a node gave.
void TracedWalk::keep(PyObject* node, py::object result) {
  if (dying_.empty() && tape_.is_tensor(result.ptr())) find_last_uses();
  stand(node, std::move(result));
}

// Lets a node stand for this: for a tensor that the tape knows.
void TracedWalk::stand(PyObject* node, py::object result) {
  if (tape_.is_tensor(result.ptr()) && tape_.knows(result)) tape_.same(borrowed(node), result);
  values_[node] = std::move(result);
}

// What ran may have changed what it was given.
void TracedWalk::refresh() {
  for (PyObject* node : used_) {
    const auto held = values_.find(node);
    if (held != values_.end() && tape_.knows(held->second)) tape_.same(borrowed(node), held->second);
  }
}

// A program holds its tensors until it has used them for the last time.
void TracedWalk::find_last_uses() {
  std::unordered_set<PyObject*> used;
  for (std::size_t at = nodes_.size(); at-- > 0;) {
    PyObject* const node = PyList_GET_ITEM(nodes_.ptr(), static_cast<Py_ssize_t>(at));
    const py::object inputs = inputs_of_.of(node);
    Py_ssize_t place = 0;
    PyObject *one = nullptr, *nothing = nullptr;
    while (PyDict_Next(inputs.ptr(), &place, &one, &nothing) != 0) {
      if (used.insert(one).second) dying_[node].push_back(one);
    }
  }
}

void TracedWalk::let_go(PyObject* node) {
  const auto at = dying_.find(node);
  if (at == dying_.end()) return;
  for (PyObject* one : at->second) {
    if (tape_.is_known(one) && same_.count(one) == 0) values_.erase(one);
  }
}

}  // namespace macsim::bind
