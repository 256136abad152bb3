// Which module a torch program is in: the calls of modules, as nn.Module makes them.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "module_calls.hpp"

namespace macsim::bind {
namespace {

thread_local ModuleCalls* told = nullptr;  // of this thread

py::object class_name(const py::object& kind) {
  return py::isinstance<py::str>(kind) ? kind : py::object(kind.attr("__name__"));
}

// The original is what the function is bound to; the module is the first argument.
PyObject* call_module(PyObject* original, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
  ModuleCalls* const calls = count == 0 ? nullptr : told;
  if (calls == nullptr) return PyObject_Vectorcall(original, arguments, static_cast<std::size_t>(count), names);
  const ModuleCalls::Place* around = nullptr;
  try {
    around = calls->enter(arguments[0]);
  } catch (...) {
    py::detail::try_translate_exceptions();
    return nullptr;
  }
  PyObject* const results = PyObject_Vectorcall(original, arguments, static_cast<std::size_t>(count), names);
  calls->leave(around, results == nullptr);
  return results;
}

}  // namespace

ModuleCalls::ModuleCalls(Tape& tape, py::dict paths) : tape_(tape), paths_(std::move(paths)) {
  by_module_.reserve(paths_.size());
  for (const auto& [module, path] : paths_) {
    Place& place = places_.emplace_back();
    place.path = py::reinterpret_borrow<py::str>(path);
    place.kind = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(Py_TYPE(module.ptr())));
    by_module_.emplace(module.ptr(), &place);
  }
  outside_.scope = tape_.scope("");
}

// A module that the tree does not have is called by its class, inside of who calls it.
ModuleCalls::Place& ModuleCalls::place_of(PyObject* module) {
  const auto known = by_module_.find(module);
  if (known != by_module_.end()) return *known->second;
  auto kind = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(Py_TYPE(module)));
  std::string path = py::cast<std::string>(now_->path);
  path.append(path.empty() ? "" : ".").append(py::cast<std::string>(class_name(kind)));
  Place*& place = place_of(path);
  if (place == nullptr) {
    place = &places_.emplace_back();
    place->path = py::str(path);
    place->kind = std::move(kind);
  }
  return *place;
}

ModuleCalls::Place*& ModuleCalls::place_of(const std::string& path) {
  if (by_path_.empty()) {
    for (Place& place : places_) by_path_.emplace(py::cast<std::string>(place.path), &place);
  }
  return by_path_[path];
}

ModuleCalls::Place& ModuleCalls::at(PyObject* module) {
  Place& place = place_of(module);
  if (place.scope == kNone) place.scope = tape_.scope(utf8(place.path.ptr()));
  return place;
}

ModuleCalls::Place& ModuleCalls::note(std::string_view path, py::object kind) {
  Place*& place = place_of(std::string(path));
  if (place == nullptr) {
    place = &places_.emplace_back();
    place->path = py::str(std::string(path));
  }
  if (place->scope == kNone) place->scope = tape_.scope(path);
  place->kind = std::move(kind);
  ++place->calls;
  return *place;
}

const ModuleCalls::Place* ModuleCalls::enter(PyObject* module) {
  Place& place = at(module);
  ++place.calls;
  return go(&place);
}

py::list ModuleCalls::announce(const py::object& unusual) {
  const py::tuple told_of = tape_.announce(paths_, unusual);
  const py::list elements = told_of[0];
  for (std::size_t i = 0; i < elements.size(); ++i) places_[i].parameters = elements[i].cast<std::int64_t>();
  return told_of[1];
}

CalledModules ModuleCalls::called() const {
  CalledModules out;
  out.modules.reserve(places_.size());
  out.texts.reserve(places_.size());
  std::unordered_map<PyObject*, std::string_view> names;
  for (const Place& place : places_) {
    std::string_view& name = names[place.kind.ptr()];
    if (name.empty()) name = utf8(out.texts.emplace_back(class_name(place.kind)).ptr());
    const std::string_view path = utf8(out.texts.emplace_back(place.path).ptr());
    out.modules.push_back({path, name, place.calls, place.parameters});
  }
  return out;
}

ModuleCalls* exchange_calls(ModuleCalls* calls) { return std::exchange(told, calls); }

py::object watched_call(const py::object& original) {
  static PyMethodDef method{
      "_call_impl",
      reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_module)),  // NOLINT: how C Python takes it
      METH_FASTCALL | METH_KEYWORDS, nullptr};
  const auto function = py::reinterpret_steal<py::object>(PyCFunction_NewEx(&method, original.ptr(), nullptr));
  if (!function) throw py::error_already_set();
  auto out = py::reinterpret_steal<py::object>(PyInstanceMethod_New(function.ptr()));
  if (!out) throw py::error_already_set();
  return out;
}

}  // namespace macsim::bind
