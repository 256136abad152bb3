// The short way of torch operators to the tape.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "dispatcher.hpp"

namespace macsim::bind {
namespace {

py::object owned(PyObject* made) {
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

}  // namespace

void Dispatcher::add(py::object operation, const Plan* plan, std::string_view way, py::object method,
                     const Plan* copying) {
  Entry& entry = entries_[operation.ptr()];
  entry.operation = std::move(operation);
  entry.plan = plan;
  entry.copying = copying;
  if (!method.is_none()) entry.method = std::move(method);
  entry.way = way == "call"      ? Way::call
              : way == "turned"  ? Way::turned
              : way == "changes" ? Way::changes
              : way == "view"    ? Way::view
              : way == "reshape" ? Way::reshape
                                 : Way::none;
}

py::object Dispatcher::dispatch(const py::object& operation, const py::tuple& args, const py::object& kwargs,
                                std::uint32_t scope) {
  const auto at = entries_.find(operation.ptr());
  if (at == entries_.end()) return py::none();
  const Entry& entry = at->second;
  switch (entry.way) {
    case Way::call:
      return tape_.call(entry.plan, args, kwargs, scope, true);
    case Way::turned:
      return tape_.call(entry.plan, args, kwargs, scope, true, Order::turned);
    case Way::changes: {
      const auto changed = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(args.ptr(), 0));
      if (tape_.follows(changed.ptr())) return py::none();
      tape_.record(entry.plan, args, kwargs, scope, changed);
      return changed;
    }
    case Way::view:
    case Way::reshape:
      return view(entry, args, kwargs, scope);
    case Way::none:
      break;
  }
  return py::none();
}

py::object Dispatcher::view(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope) {
  const auto from = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(args.ptr(), 0));
  if (tape_.follows(from.ptr()) || !owned(PyObject_GetAttr(from.ptr(), is_meta_.ptr())).is(py::handle(Py_True))) {
    return py::none();
  }
  const bool named = !kwargs.is_none() && PyDict_GET_SIZE(kwargs.ptr()) != 0;
  const py::object& method = named || !entry.method ? entry.operation : entry.method;
  py::object out = owned(PyObject_Call(method.ptr(), args.ptr(), named ? kwargs.ptr() : nullptr));
  if (entry.way == Way::reshape && !storage_of(from).equal(storage_of(out))) {
    tape_.record(entry.copying, py::make_tuple(from), py::none(), scope, out);
  } else {
    tape_.record(entry.plan, args, kwargs, scope, out);
  }
  return out;
}

py::object Dispatcher::storage_of(const py::object& tensor) const {
  const py::object storage = owned(PyObject_CallMethodNoArgs(tensor.ptr(), storage_.ptr()));
  return owned(PyObject_GetAttr(storage.ptr(), address_.ptr()));
}

}  // namespace macsim::bind
