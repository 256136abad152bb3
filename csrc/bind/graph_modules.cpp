// The modules that a graph came from.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "graph_modules.hpp"

#include <algorithm>

namespace macsim::bind {
namespace {

// Whether a path is spelled as it is: names between dots, and nothing before them that is no part of it.
bool is_plain(std::string_view path) {
  bool name = false;  // there is one since the last dot
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!plain && (c != '.' || !name)) return false;
    name = plain;
  }
  const std::string_view first = path.substr(0, path.find('.'));
  return (name || path.empty()) && first != "L" && first != "self" && first != "_export_root" &&
         path.find("_modules.") == std::string_view::npos;
}

// A part of what a stack says, which is mostly a tuple.
py::object part_of(PyObject* said, Py_ssize_t at) {
  if (!PyTuple_Check(said) || at >= PyTuple_GET_SIZE(said)) return py::handle(said)[py::int_(at)];
  return py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(said, at));
}

}  // namespace

std::uint32_t GraphModules::around(PyObject* stack) {
  std::uint32_t scope = kNone;
  std::size_t depth = 0;
  Py_ssize_t at = 0;
  PyObject *key = nullptr, *said = nullptr;
  for (; PyDict_Next(stack, &at, &key, &said) != 0; ++depth) {
    if (depth == latest_.size()) latest_.emplace_back();
    Level& level = latest_[depth];
    if (!level.key || !is_same_text(level.key.ptr(), key)) {
      const std::uint32_t entered = enter(key, said);
      level = {py::reinterpret_borrow<py::object>(key), entered};
    }
    if (level.scope != kNone) scope = level.scope;
  }
  return scope;
}

std::uint32_t GraphModules::enter(PyObject* key, PyObject* said) {
  PyObject* seen = PyDict_GetItemWithError(seen_.ptr(), key);
  if (seen == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (seen == Py_None) return kNone;
  if (seen != nullptr) return static_cast<std::uint32_t>(PyLong_AsUnsignedLong(seen));
  const auto note = [&](const py::object& as) {
    if (PyDict_SetItem(seen_.ptr(), key, as.ptr()) != 0) throw py::error_already_set();
  };
  if (utf8(key).starts_with("_empty_nn_module_stack")) {
    note(py::none());
    return kNone;
  }
  const py::object where = part_of(said, 0), kind = part_of(said, 1);
  const std::uint32_t scope = scope_of(where.ptr());
  note(py::int_(scope));
  call(scope, kind.ptr(), !tape_.path(scope).empty());  // the whole model is called once
  return scope;
}

std::uint32_t GraphModules::scope_of(PyObject* where) {
  const std::string_view spelled = utf8(where);
  if (is_plain(spelled)) return tape_.scope(spelled);
  const py::object path = path_of_(py::handle(where));
  return tape_.scope(utf8(path.ptr()));
}

void GraphModules::call(std::uint32_t scope, PyObject* kind, bool again) {
  Module& module = at(scope);
  if (!module.met) {
    module.met = true;
    order_.push_back(scope);
  }
  if (module.kind.empty()) {
    const py::handle named(kind);
    const py::object name = PyUnicode_Check(kind) ? py::reinterpret_borrow<py::object>(named)
                            : PyType_Check(kind)  ? py::object(named.attr("__qualname__"))
                                                  : py::object(py::str(named));
    const std::string_view full = utf8(name.ptr());
    module.kind = tape_.keep(full.substr(full.rfind('.') + 1));  // npos + 1 is 0
  }
  if (module.calls == 0 || again) ++module.calls;
}

CalledModules GraphModules::found(const Report& report) const {
  CalledModules out{report.shared_model(), {}, {}};
  out.modules.reserve(modules_.size());
  const auto tell = [&](std::uint32_t scope) {
    const Module& module = modules_[scope];
    out.modules.push_back({tape_.path(scope), module.kind, module.calls, module.parameters});
  };
  for (const std::uint32_t scope : order_) tell(scope);
  for (std::uint32_t scope = 0; scope < modules_.size(); ++scope) {
    if (modules_[scope].owns && !modules_[scope].met) tell(scope);
  }
  return out;
}

}  // namespace macsim::bind
