// What mappings of Python hold.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "bind.hpp"

namespace macsim::bind {

// What C Python made, which is ours from now on.
inline py::object owned(PyObject* made) {
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

// What a mapping holds, as (key, value): of a dict without making pairs.
template <class Do>
void each_item(const py::object& mapping, const Do& act) {
  if (PyDict_CheckExact(mapping.ptr())) {
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (PyDict_Next(mapping.ptr(), &at, &key, &value) != 0) act(key, value);
    return;
  }
  for (const py::handle pair : mapping.attr("items")()) {
    const auto both = py::reinterpret_borrow<py::tuple>(pair);
    act(both[0].ptr(), both[1].ptr());
  }
}

// A text of Python's; it lives as long as the object.
inline std::string_view utf8(PyObject* text) {
  Py_ssize_t size = 0;
  const char* bytes = PyUnicode_AsUTF8AndSize(text, &size);
  if (bytes == nullptr) throw py::error_already_set();
  return {bytes, static_cast<std::size_t>(size)};
}

// Whether two of them are the same.
inline bool is_same_text(PyObject* a, PyObject* b) {
  const bool same = a == b || PyUnicode_Compare(a, b) == 0;
  if (!same && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return same;
}

// What a dict holds under a key; null: nothing.
inline PyObject* item(PyObject* dict, PyObject* key) {
  PyObject* found = PyDict_GetItemWithError(dict, key);
  if (found == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return found;
}

// What a module keeps under a name: of an object with attributes of its own without the search through its classes.
inline py::object own_item(PyObject* module, const py::str& name) {
  const auto dict = py::reinterpret_steal<py::object>(PyObject_GenericGetDict(module, nullptr));
  PyObject* const found = dict ? PyDict_GetItemWithError(dict.ptr(), name.ptr()) : nullptr;
  if (found != nullptr) return py::reinterpret_borrow<py::object>(found);
  PyErr_Clear();
  return py::handle(module).attr(name);
}

}  // namespace macsim::bind
