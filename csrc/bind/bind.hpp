// What the files of the binding share: conversions between the core's types and Python's, and the rooms' doors.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <string_view>

#include "macsim/report.hpp"

namespace macsim::bind {

namespace py = pybind11;

/// A model as Python holds it.
struct LoadedModel {
  ModelPtr model;
};

/// A tensor's face in Python: at a row's edge, at a model's, or in a rule of the user's.
struct TensorInfo {
  std::string name, slot;
  Type type;
  Role role = Role::activation;
};
TensorInfo info_of(const Tensor& tensor);

// Conversions. -----------------------------------------------------------------------------------------------------

/// A str. Names in files need not be UTF-8: other bytes show as \xNN.
py::str text(std::string_view bytes);
/// An int when the expression is one (of up to 128 bits), otherwise an Expr.
py::object number(const Expr& expr);
/// From an Expr or anything with __index__; integers past 128 bits are undefined. False: neither.
bool to_expr(py::handle from, Expr& out);
/// The same, with text read as an expression and None as unknown; raises RequestError. `what` is named in the message.
Expr dim_from(py::handle from, const std::string& what);
/// A tuple of ints and Exprs; None when the rank is unknown.
py::object shape_tuple(const Type& type);
/// From a sequence of what dim_from() takes.
Shape shape_from(py::handle from, const std::string& what);
DType dtype_from(py::handle from);
std::string_view name_of(Kind kind) noexcept;
std::string_view name_of(Role role) noexcept;
std::string_view name_of(Severity severity) noexcept;
Bindings bindings_from(const py::dict& sizes);

/// Raises macsim.RequestError or, for what went wrong with a file, macsim.ReadError.
[[noreturn]] void raise(const Status& status);
[[noreturn]] void raise_request(const std::string& text);

// The rooms. -------------------------------------------------------------------------------------------------------

void bind_expr(py::module_& m);
void bind_model(py::module_& m);
void bind_rules(py::module_& m);  ///< Registry, Call, Cost: before bind_report
void bind_report(py::module_& m);
void bind_tape(py::module_& m);     ///< after bind_report
void bind_traffic(py::module_& m);  ///< after bind_report
void bind_training(py::module_& m);

}  // namespace macsim::bind
