// Attributes that are asked for many times.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "attributes.hpp"

#include <structmember.h>

namespace macsim::bind {
namespace {

// What a class itself says of an attribute; nothing: nothing.
py::object said_by(PyObject* kind, const py::str& name) {
  auto found = py::reinterpret_steal<py::object>(PyObject_GetAttr(kind, name.ptr()));
  if (!found) PyErr_Clear();
  return found;
}

}  // namespace

Field::Field(const char* name, py::handle kind) : name_(interned(name)) {
#ifndef Py_GIL_DISABLED
  if (!kind || !PyType_Check(kind.ptr())) return;
  const py::object found = said_by(kind.ptr(), name_);
  if (!found || !Py_IS_TYPE(found.ptr(), &PyMemberDescr_Type)) return;
  const PyMemberDef* member = reinterpret_cast<PyMemberDescrObject*>(found.ptr())->d_member;
  if (member->type == T_OBJECT || member->type == T_OBJECT_EX) offset_ = member->offset;
#endif
}

py::object Field::of(PyObject* from) const {
  auto* const held = offset_ == 0 ? nullptr : *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(from) + offset_);
  if (held != nullptr) return py::reinterpret_borrow<py::object>(held);
  auto found = py::reinterpret_steal<py::object>(PyObject_GetAttr(from, name_.ptr()));
  if (!found) throw py::error_already_set();
  return found;
}

void Getter::look(PyTypeObject* kind) const {
  kind_ = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(kind));
  tell_ = nullptr;
  if (kind->tp_getattro != PyObject_GenericGetAttr) return;  // it has a say of its own
  const py::object found = said_by(kind_.ptr(), name_);
  if (!found || !Py_IS_TYPE(found.ptr(), &PyGetSetDescr_Type)) return;
  auto* const said = reinterpret_cast<PyGetSetDescrObject*>(found.ptr());
  if (PyType_IsSubtype(kind, PyDescr_TYPE(said)) == 0) return;
  tell_ = said->d_getset->get;
  closure_ = said->d_getset->closure;
}

}  // namespace macsim::bind
