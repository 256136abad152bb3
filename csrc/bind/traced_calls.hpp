// How calls in a traced graph, of functions, methods and modules of torch, are calls of operators.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "attributes.hpp"
#include "bind.hpp"

namespace macsim::bind {

/// How what a call is given becomes the arguments of an operator: the same in every count.
class Calling {
 public:
  /// `takes`: of each parameter of the operator (name, kind, optional, width, default), `positional` of them by
  /// position; `kind` one of "tensor",
  /// "operand" (a tensor or a number), "tensors", "integer", "integers", "number", "flag" or a class; `width`: how many
  /// integers one stands for; the default a tuple of one, or None. `own`: (name, default) of what the function itself
  /// takes, in order; None: the same as the operator. `picks`: by parameter of the operator, the name of an own one, or
  /// of a module's attribute, or a constant in a tuple; None: as they are given. `when`: what such a one has to be, or
  /// its class. `spread`: integers may stand one by one in the place of a list.
  Calling(const py::list& takes, const py::object& own, const py::object& picks, const py::dict& when,
          std::size_t positional, bool spread);

  /// How many arguments the operator takes by position.
  std::size_t positional() const { return positional_; }
  /// The arguments of the operator, from those of a call; false: it is not such a call. `is_tensor`: (object) -> bool.
  template <class IsTensor>
  bool of_call(const std::vector<py::object>& args, const py::dict& kwargs, const IsTensor& is_tensor,
               std::vector<py::object>& out) const {
    return (picks_.empty() ? as_given(args, kwargs, out) : picked(args, kwargs, out)) && fits(is_tensor, out);
  }
  /// The same of a module that is called with one input.
  template <class IsTensor>
  bool of_module(PyObject* module, const py::object& input, const IsTensor& is_tensor,
                 std::vector<py::object>& out) const {
    return picked(module, input, out) && fits(is_tensor, out);
  }

 private:
  enum class Kind : std::uint8_t { tensor, operand, tensors, integer, integers, number, flag, other };
  struct Parameter {
    py::str name;
    Kind kind = Kind::other;
    bool optional = false;
    Py_ssize_t width = 0;
    py::object otherwise, type;
  };
  struct Own {
    py::str name;
    py::object otherwise;
  };
  struct Pick {
    py::str name;
    py::object constant;
  };
  struct Condition {
    py::str name;
    py::object wanted;
  };

  bool as_given(const std::vector<py::object>& args, const py::dict& kwargs, std::vector<py::object>& out) const;
  bool picked(const std::vector<py::object>& args, const py::dict& kwargs, std::vector<py::object>& out) const;
  bool picked(PyObject* module, const py::object& input, std::vector<py::object>& out) const;
  template <class Find>
  bool pick(const Find& find, std::vector<py::object>& out) const;
  static bool is(const py::object& value, const py::object& wanted);
  bool fit_integers(const Parameter& p, py::object& value) const;
  template <class IsTensor>
  bool fits(const IsTensor& is_tensor, std::vector<py::object>& values) const {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!fits(parameters_[i], is_tensor, values[i])) return false;
    }
    while (!values.empty() && values.back().ptr() == parameters_[values.size() - 1].otherwise.ptr()) values.pop_back();
    return true;
  }
  template <class IsTensor>
  bool fits(const Parameter& p, const IsTensor& is_tensor, py::object& value) const {
    if (value.is_none()) {
      if (!p.optional && !p.otherwise) return false;
      if (!p.optional) value = p.otherwise;
      return true;
    }
    PyObject* one = value.ptr();
    const bool flag = PyBool_Check(one), whole = PyLong_CheckExact(one), real = PyFloat_CheckExact(one);
    switch (p.kind) {
      case Kind::tensor:
        return is_tensor(one);
      case Kind::operand:
        return whole || real || is_tensor(one);
      case Kind::tensors: {
        if (!PyList_Check(one) && !PyTuple_Check(one)) return false;
        const Py_ssize_t count = PySequence_Fast_GET_SIZE(one);
        for (Py_ssize_t i = 0; i < count; ++i) {
          if (!is_tensor(PySequence_Fast_GET_ITEM(one, i))) return false;
        }
        return true;
      }
      case Kind::integer:
        return whole;
      case Kind::integers:
        return fit_integers(p, value);
      case Kind::number:
        return whole || real;
      case Kind::flag:
        return flag;
      case Kind::other:
        return p.type && PyObject_IsInstance(one, p.type.ptr()) == 1;
    }
    return false;
  }

  std::vector<Parameter> parameters_;
  std::vector<Own> own_;
  std::vector<Pick> picks_;
  std::vector<Condition> when_;
  std::size_t positional_;
  bool spread_;
  py::str dict_ = interned("__dict__"), parameters_name_ = interned("_parameters"),
          buffers_name_ = interned("_buffers"), input_ = interned("input");
};

}  // namespace macsim::bind
