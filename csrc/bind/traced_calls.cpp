// Calls in a traced graph as calls of operators.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "traced_calls.hpp"

#include <string_view>

#include "items.hpp"

namespace macsim::bind {
namespace {

// A name that is compared by where it is.
py::str name_of(const py::handle& said) {
  PyObject* name = said.inc_ref().ptr();
  PyUnicode_InternInPlace(&name);
  return py::reinterpret_steal<py::str>(name);
}

py::object part(const py::handle& of, int at) { return py::reinterpret_borrow<py::object>(of[py::int_(at)]); }

// What a dict that may not be there holds under a name; null: nothing.
PyObject* found(PyObject* dict, const py::str& name) {
  return dict == nullptr || !PyDict_Check(dict) ? nullptr : item(dict, name.ptr());
}

}  // namespace

Calling::Calling(const py::list& takes, const py::object& own, const py::object& picks, const py::dict& when,
                 std::size_t positional, bool spread)
    : positional_(positional), spread_(spread) {
  for (const py::handle one : takes) {
    Parameter& p = parameters_.emplace_back();
    p.name = name_of(part(one, 0));
    const py::object kind = part(one, 1), otherwise = part(one, 4);
    const std::string_view said = py::isinstance<py::str>(kind) ? py::cast<std::string_view>(kind) : "";
    p.kind = said == "tensor"     ? Kind::tensor
             : said == "operand"  ? Kind::operand
             : said == "tensors"  ? Kind::tensors
             : said == "integer"  ? Kind::integer
             : said == "integers" ? Kind::integers
             : said == "number"   ? Kind::number
             : said == "flag"     ? Kind::flag
                                  : Kind::other;
    if (said.empty()) p.type = kind;
    p.optional = py::cast<bool>(part(one, 2));
    p.width = py::cast<Py_ssize_t>(part(one, 3));
    if (!otherwise.is_none()) p.otherwise = part(otherwise, 0);
  }
  if (!own.is_none()) {
    for (const py::handle one : own) {
      Own& made = own_.emplace_back();
      made.name = name_of(part(one, 0));
      const py::object otherwise = part(one, 1);
      if (!otherwise.is_none()) made.otherwise = part(otherwise, 0);
    }
  }
  if (!picks.is_none()) {
    for (const py::handle one : picks) {
      Pick& pick = picks_.emplace_back();
      if (py::isinstance<py::str>(one)) {
        pick.name = name_of(one);
      } else {
        pick.constant = part(one, 0);
      }
    }
  }
  for (const auto& [name, wanted] : when) {
    when_.push_back({name_of(name), py::reinterpret_borrow<py::object>(wanted)});
  }
}

bool Calling::as_given(const std::vector<py::object>& args, const py::dict& kwargs,
                       std::vector<py::object>& out) const {
  const bool spread = spread_ && args.size() > 1 && PyLong_CheckExact(args[1].ptr());
  const std::size_t count = spread ? 2 : args.size();
  if (count > parameters_.size()) return false;
  out.assign(args.begin(), args.begin() + static_cast<std::ptrdiff_t>(count));
  if (spread) {
    py::list sizes;
    for (std::size_t i = 1; i < args.size(); ++i) sizes.append(args[i]);
    out[1] = sizes;
  }
  std::size_t named = 0;
  for (std::size_t i = count; i < parameters_.size(); ++i) {
    PyObject* one = found(kwargs.ptr(), parameters_[i].name);
    if (one != nullptr) ++named;
    if (one == nullptr && !parameters_[i].otherwise) return false;
    out.push_back(one != nullptr ? py::reinterpret_borrow<py::object>(one) : parameters_[i].otherwise);
  }
  return named == kwargs.size();
}

template <class Find>
bool Calling::pick(const Find& find, std::vector<py::object>& out) const {
  for (const Condition& condition : when_) {
    const py::object value = find(condition.name);
    if (!value || !is(value, condition.wanted)) return false;
  }
  out.clear();
  for (const Pick& pick : picks_) {
    py::object value = pick.constant ? pick.constant : find(pick.name);
    if (!value) return false;
    out.push_back(std::move(value));
  }
  return true;
}

bool Calling::picked(const std::vector<py::object>& args, const py::dict& kwargs, std::vector<py::object>& out) const {
  if (args.size() > own_.size()) return false;
  std::size_t named = 0;
  for (std::size_t i = args.size(); i < own_.size(); ++i) {
    if (found(kwargs.ptr(), own_[i].name) != nullptr) ++named;
  }
  if (named != kwargs.size()) return false;
  return pick(
      [&](const py::str& name) -> py::object {
        for (std::size_t i = 0; i < own_.size(); ++i) {
          if (own_[i].name.ptr() != name.ptr()) continue;
          if (i < args.size()) return args[i];
          PyObject* given = found(kwargs.ptr(), name);
          return given != nullptr ? py::reinterpret_borrow<py::object>(given) : own_[i].otherwise;
        }
        return {};
      },
      out);
}

// What a module keeps is found where it keeps it, which is quicker than to ask it.
bool Calling::picked(PyObject* module, const py::object& input, std::vector<py::object>& out) const {
  const auto held = py::reinterpret_steal<py::object>(PyObject_GetAttr(module, dict_.ptr()));
  if (!held) throw py::error_already_set();
  PyObject* const parameters = found(held.ptr(), parameters_name_);
  PyObject* const buffers = found(held.ptr(), buffers_name_);
  return pick(
      [&](const py::str& name) -> py::object {
        if (name.ptr() == input_.ptr()) return input;
        for (PyObject* those : {held.ptr(), parameters, buffers}) {
          if (PyObject* one = found(those, name)) return py::reinterpret_borrow<py::object>(one);
        }
        auto told = py::reinterpret_steal<py::object>(PyObject_GetAttr(module, name.ptr()));
        if (!told) PyErr_Clear();
        return told;
      },
      out);
}

bool Calling::is(const py::object& value, const py::object& wanted) {
  if (PyType_Check(wanted.ptr())) return PyObject_IsInstance(value.ptr(), wanted.ptr()) == 1;
  if (value.is(wanted)) return true;
  if (Py_TYPE(value.ptr()) != Py_TYPE(wanted.ptr())) return false;
  return value.equal(wanted);
}

bool Calling::fit_integers(const Parameter& p, py::object& value) const {
  if (PyLong_CheckExact(value.ptr())) {
    if (p.width == 0) return false;
    py::list sizes;
    for (Py_ssize_t i = 0; i < p.width; ++i) sizes.append(value);
    value = std::move(sizes);
    return true;
  }
  if (!PyList_Check(value.ptr()) && !PyTuple_Check(value.ptr())) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(value.ptr());
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!PyLong_CheckExact(PySequence_Fast_GET_ITEM(value.ptr(), i))) return false;
  }
  return true;
}

}  // namespace macsim::bind
