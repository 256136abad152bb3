// Attributes that are asked for many times: where they are is found out once for a class.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bind.hpp"

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

/// An attribute that a function of C tells, as tensors' are: which function is found out again when the class changes.
/// For one thread at a time.
class Getter {
 public:
  explicit Getter(const char* name) : name_(interned(name)) {}
  /// Its value; nothing: it raised.
  py::object of(PyObject* from) const {
    if (reinterpret_cast<PyObject*>(Py_TYPE(from)) != kind_.ptr()) look(Py_TYPE(from));
    return py::reinterpret_steal<py::object>(tell_ != nullptr ? tell_(from, closure_)
                                                              : PyObject_GetAttr(from, name_.ptr()));
  }

 private:
  void look(PyTypeObject* kind) const;

  py::str name_;
  mutable py::object kind_;  ///< the latest class
  mutable getter tell_ = nullptr;
  mutable void* closure_ = nullptr;
};

}  // namespace macsim::bind
