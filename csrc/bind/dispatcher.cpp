// The short way of torch operators to the tape.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "dispatcher.hpp"

#include "items.hpp"

namespace macsim::bind {
namespace {

py::object address_of(PyObject* one) { return owned(PyLong_FromVoidPtr(one)); }  // what id() says

// Named arguments, or none.
PyObject* given(const py::object& kwargs) {
  return kwargs.is_none() || PyDict_GET_SIZE(kwargs.ptr()) == 0 ? nullptr : kwargs.ptr();
}

struct Names {
  py::str shortly = "_short", otherwise = "_otherwise", look = "look", compare = "_compare";
};
const Names& names() {
  static const Names* const kept = new Names();  // never freed: Python may be gone before
  return *kept;
}

py::object dispatched(PyObject* const* arguments) {
  PyObject *recorder = arguments[0], *operation = arguments[1], *args = arguments[3], *kwargs = arguments[4];
  const py::object held = owned(PyObject_GetAttr(recorder, names().shortly.ptr()));
  auto& dispatcher = py::cast<Dispatcher&>(held);
  if (!dispatcher.follower.is_none()) {
    (void)owned(PyObject_CallMethodNoArgs(dispatcher.follower.ptr(), names().look.ptr()));
  }
  py::object out =
      dispatcher.dispatch(py::reinterpret_borrow<py::object>(operation), py::reinterpret_borrow<py::tuple>(args),
                          py::reinterpret_borrow<py::object>(kwargs));
  if (!out.is_none() && out.ptr() != Py_NotImplemented) {
    if (dispatcher.is_unchecked()) {
      PyObject* told[] = {recorder, operation, args};
      (void)owned(PyObject_VectorcallMethod(names().compare.ptr(), told, 3, nullptr));
    }
    return out;
  }
  PyObject* all[] = {recorder, operation, args, kwargs, out.ptr()};
  return owned(PyObject_VectorcallMethod(names().otherwise.ptr(), all, 5, nullptr));
}

// (recorder, operator, types, args, kwargs)
PyObject* dispatch(PyObject* /*self*/, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 5 || PyTuple_Check(arguments[3]) == 0) {
    PyErr_SetString(PyExc_TypeError, "__torch_dispatch__ takes an operator, types, args and kwargs");
    return nullptr;
  }
  try {
    return dispatched(arguments).release().ptr();
  } catch (...) {
    py::detail::try_translate_exceptions();
    return nullptr;
  }
}

}  // namespace

py::object dispatch_method() {
  static PyMethodDef method{
      "__torch_dispatch__",
      reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&dispatch)),  // NOLINT: how C Python takes it
      METH_FASTCALL, nullptr};
  const py::object function = owned(PyCFunction_NewEx(&method, nullptr, nullptr));
  return owned(PyInstanceMethod_New(function.ptr()));
}

void Dispatcher::add(py::object operation, const Plan* plan, std::string_view way, py::object method,
                     const Plan* copying, std::int64_t most) {
  Entry& entry = entries_[operation.ptr()];
  entry.operation = std::move(operation);
  entry.plan = plan;
  entry.copying = copying;
  entry.most = most;
  entry.strict = way == "view" && !method.is_none() && py::cast<std::string_view>(method.attr("__name__")) == "view";
  if (!method.is_none()) entry.method = std::move(method);
  entry.way = way == "call"      ? Way::call
              : way == "turned"  ? Way::turned
              : way == "changes" ? Way::changes
              : way == "view"    ? Way::view
              : way == "reshape" ? Way::reshape
              : way == "orders"  ? Way::orders
              : way == "makes"   ? Way::makes
                                 : Way::none;
}

py::object Dispatcher::dispatch(const py::object& operation, const py::tuple& args, const py::object& kwargs) {
  const std::uint32_t scope = calls_.scope();
  tape_.ask_nothing();
  const auto at = entries_.find(operation.ptr());
  if (at == entries_.end()) return py::none();
  const Entry& entry = at->second;
  if (tape_.is_symbolic()) return symbolic(entry, args, kwargs, scope);
  switch (entry.way) {
    case Way::call: {
      py::object out = tape_.call(entry.plan, args, kwargs, scope, true);
      return out.ptr() == Py_NotImplemented ? at_hand(entry, args, kwargs, scope) : out;
    }
    case Way::turned:
      return tape_.call(entry.plan, args, kwargs, scope, true, Order::turned);
    case Way::changes: {
      const auto changed = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(args.ptr(), 0));
      if (tape_.follows(changed.ptr())) return py::none();
      tape_.changed(entry.plan, args, kwargs, scope, changed);
      return changed;
    }
    case Way::view:
    case Way::reshape:
    case Way::orders:
      return view(entry, args, kwargs, scope);
    case Way::makes:
      if (expanding) return py::none();
      return maker(entry, args, kwargs, scope);
    case Way::none:
      break;
  }
  return py::none();
}

// What needs no look at sizes: rows work on expressions as they are, and views that were looked at once.
py::object Dispatcher::symbolic(const Entry& entry, const py::tuple& args, const py::object& kwargs,
                                std::uint32_t scope) {
  viewed_ = false;
  if (entry.way == Way::orders) tape_.refresh(PyTuple_GET_ITEM(args.ptr(), 0));  // torch asked whether it is in order
  if (entry.way == Way::view || entry.way == Way::reshape || entry.way == Way::orders) {
    py::object out = given(kwargs) != nullptr ? py::object() : seen(entry, args, kwargs, scope);
    if (!out && given(kwargs) == nullptr && tape_.is_plain(PyTuple_GET_ITEM(args.ptr(), 0)) &&
        !tape_.has_symbols(args.ptr())) {
      out = view(entry, args, kwargs, scope);
    }
    viewed_ = bool(out);
    return out ? out : py::object(py::none());
  }
  const bool makes = entry.way == Way::makes && !expanding;
  if (entry.way != Way::call && entry.way != Way::turned && !makes) return py::none();
  if (tape_.has_symbols(args.ptr())) return py::none();
  if (PyObject* named = given(kwargs)) {
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (PyDict_Next(named, &at, &key, &value) != 0) {
      if (tape_.has_symbols(value)) return py::none();
    }
  }
  if (makes) return maker(entry, args, kwargs, scope);
  py::object out =
      tape_.call(entry.plan, args, kwargs, scope, true, entry.way == Way::turned ? Order::turned : Order::rows);
  return out.ptr() == Py_NotImplemented ? at_hand(entry, args, kwargs, scope) : out;
}

void Dispatcher::note_view(const py::object& from, const py::object& results, bool copies, const py::object& times,
                           bool bound, const std::string& because) {
  Expr count;
  if (!to_expr(times, count)) throw py::type_error("times is neither an int nor an Expr");
  View* const view = tape_.note_view(from, results, copies);
  if (view == nullptr) return;
  view->times = std::move(count);
  view->bound = bound;
  view->because = because;
}

// What a view of a tensor like this one gave; nothing: nobody asked.
py::object Dispatcher::seen(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope) {
  const View* view = tape_.view_of(entry.plan, args);
  if (view == nullptr) return {};
  if (!view->copies) return tape_.viewed(*view, entry.plan, args, kwargs, scope);
  const auto from = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(args.ptr(), 0));
  return tape_.viewed(*view, entry.copying, py::make_tuple(from), py::none(), scope);
}

// Known contents make known contents.
py::object Dispatcher::at_hand(const Entry& entry, const py::tuple& args, const py::object& kwargs,
                               std::uint32_t scope) {
  const py::object refused = py::reinterpret_borrow<py::object>(Py_NotImplemented);
  if (entry.most == 0 || is_copied(args.ptr())) return refused;
  PyObject* named = given(kwargs);
  const py::object& method = named != nullptr || !entry.method ? entry.operation : entry.method;
  const auto made = [&] { return owned(PyObject_Call(method.ptr(), args.ptr(), named)); };
  py::object out = tape_.at_hand(entry.plan, args, kwargs, scope, entry.most, made);
  if (!out) return refused;
  if (tape_.follows(out.ptr())) known_[address_of(out.ptr())] = out;
  return out;
}

// Numbers make known contents.
py::object Dispatcher::maker(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope) {
  const auto made = [&] {
    const py::object named = owned(kwargs.is_none() ? PyDict_New() : PyDict_Copy(kwargs.ptr()));
    named[device_] = cpu_;
    return owned(PyObject_Call(entry.operation.ptr(), args.ptr(), named.ptr()));
  };
  py::object out = tape_.at_hand(entry.plan, args, kwargs, scope, entry.most, made);
  if (!out) return py::none();
  if (tape_.follows(out.ptr())) known_[address_of(out.ptr())] = out;
  return out;
}

py::object Dispatcher::view(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope) {
  const auto from = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(args.ptr(), 0));
  PyObject* named = given(kwargs);
  const bool known = tape_.follows(from.ptr());
  if (!known && named == nullptr) {
    py::object out = seen(entry, args, kwargs, scope);
    if (out) return out;
  }
  if (known ? is_copied(args.ptr()) : !owned(PyObject_GetAttr(from.ptr(), is_meta_.ptr())).is(py::handle(Py_True))) {
    return py::none();
  }
  if (entry.way == Way::orders && !known && PyTuple_GET_SIZE(args.ptr()) == 1 && named == nullptr &&
      owned(PyObject_CallMethodNoArgs(from.ptr(), is_in_order_.ptr())).is(py::handle(Py_False))) {
    py::object out = tape_.in_order(entry.plan, args, kwargs, scope);
    if (out) {
      (void)tape_.note_view(from, out, false);
      return out;
    }
  }
  const py::object& method = named != nullptr || !entry.method ? entry.operation : entry.method;
  py::object out =
      named == nullptr && entry.strict ? laid(method, args) : owned(PyObject_Call(method.ptr(), args.ptr(), named));
  const bool copies = entry.way == Way::reshape && !storage_of(from).equal(storage_of(out));
  if (copies) {
    tape_.record(entry.copying, py::make_tuple(from), py::none(), scope, out);
  } else {
    tape_.record(entry.plan, args, kwargs, scope, out);
  }
  if (known) {
    know(out);
  } else if (named == nullptr) {
    (void)tape_.note_view(from, out, copies);
  }
  return out;
}

// Results lie in rows here, where torch may keep the order of what they are made of: what it takes for a view is one.
py::object Dispatcher::laid(const py::object& method, const py::tuple& args) const {
  PyObject* made = PyObject_Call(method.ptr(), args.ptr(), nullptr);
  if (made == nullptr && PyErr_ExceptionMatches(PyExc_RuntimeError) != 0) {
    PyErr_Clear();
    made = PyObject_CallMethodObjArgs(PyTuple_GET_ITEM(args.ptr(), 0), reshape_.ptr(), PyTuple_GET_ITEM(args.ptr(), 1),
                                      nullptr);
  }
  return owned(made);
}

bool Dispatcher::is_copied(PyObject* value) const {
  if (copies_.empty()) return false;
  if (PyTuple_Check(value) == 0 && PyList_Check(value) == 0) return copies_.contains(address_of(value));
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(value);
  for (Py_ssize_t i = 0; i < size; ++i) {
    if (is_copied(PySequence_Fast_GET_ITEM(value, i))) return true;
  }
  return false;
}

void Dispatcher::know(const py::object& result) {
  if (PyTuple_Check(result.ptr()) != 0 || PyList_Check(result.ptr()) != 0) {
    for (const py::handle one : result) know(py::reinterpret_borrow<py::object>(one));
    return;
  }
  tape_.know(result, true);
  known_[address_of(result.ptr())] = result;
}

py::object Dispatcher::storage_of(const py::object& tensor) const {
  const py::object storage = owned(PyObject_CallMethodNoArgs(tensor.ptr(), storage_.ptr()));
  return owned(PyObject_GetAttr(storage.ptr(), address_.ptr()));
}

}  // namespace macsim::bind
