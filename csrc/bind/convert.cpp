// Conversions between the core's types and Python's.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "bind.hpp"

namespace macsim::bind {

py::str text(std::string_view bytes) {
  PyObject* made = PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "backslashreplace");
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(made);
}

py::object number(const Expr& expr) {
  if (const auto small = expr.constant()) return py::int_(*small);
  if (!expr.is_constant()) return py::cast(expr);
  PyObject* made = PyLong_FromString(expr.str().c_str(), nullptr, 10);
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

bool to_expr(py::handle from, Expr& out) {
  if (py::isinstance<Expr>(from)) {
    out = from.cast<const Expr&>();
    return true;
  }
  if (PyIndex_Check(from.ptr()) == 0) return false;
  const auto whole = py::reinterpret_steal<py::object>(PyNumber_Index(from.ptr()));
  if (!whole) {  // an array has __index__ too, and then refuses
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    return false;
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(whole.ptr(), &overflow);
  if (overflow == 0) {
    out = Expr(static_cast<std::int64_t>(value));
  } else {
    out = Expr::parse(py::str(whole).cast<std::string>()).value_or(Expr::undefined());
  }
  return true;
}

Expr dim_from(py::handle from, const std::string& what) {
  Expr out;
  if (from.is_none()) return Expr::undefined();
  if (py::isinstance<py::str>(from)) {
    const auto given = from.cast<std::string>();
    if (given == "?") return Expr::undefined();
    if (auto parsed = Expr::parse(given)) return *std::move(parsed);
    raise_request(what + ": '" + given +
                  "' is not an expression; write a number, a name, \"2*seq + 1\", or a name of " +
                  "other characters between backticks");
  }
  if (to_expr(from, out)) {
    if (out.defined() || py::isinstance<Expr>(from)) return out;
    raise_request(what + ": " + py::str(from).cast<std::string>() + " does not fit 128 bits");
  }
  raise_request(what + ": a size is an int, a name, an expression or None, not " +
                py::str(py::type::of(from).attr("__name__")).cast<std::string>());
}

py::object shape_tuple(const Type& type) {
  if (!type.ranked) return py::none();
  py::tuple out(type.shape.size());
  for (std::size_t i = 0; i < type.shape.size(); ++i) out[i] = number(type.shape[i]);
  return out;
}

Shape shape_from(py::handle from, const std::string& what) {
  if (py::isinstance<py::str>(from) || PySequence_Check(from.ptr()) == 0) {
    raise_request(what + ": a shape is a tuple of sizes, not " +
                  py::str(py::type::of(from).attr("__name__")).cast<std::string>());
  }
  Shape out;
  for (const py::handle size : py::reinterpret_borrow<py::sequence>(from)) out.push_back(dim_from(size, what));
  return out;
}

DType dtype_from(py::handle from) {
  if (from.is_none()) return DType::unknown;
  const auto name = py::str(from).cast<std::string>();
  const DType found = dtype_named(name);
  if (found == DType::unknown && name != "?") raise_request("'" + name + "' is not a dtype; write f32, i8, bool, ...");
  return found;
}

std::string_view name_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::tensor:
      return "tensor";
    case Kind::sparse:
      return "sparse";
    case Kind::sequence:
      return "sequence";
    case Kind::optional:
      return "optional";
    case Kind::map:
      return "map";
  }
  return "?";
}

std::string_view name_of(Role role) noexcept {
  switch (role) {
    case Role::activation:
      return "activation";
    case Role::input:
      return "input";
    case Role::weight:
      return "weight";
    case Role::capture:
      return "capture";
  }
  return "?";
}

std::string_view name_of(Severity severity) noexcept {
  switch (severity) {
    case Severity::note:
      return "note";
    case Severity::warning:
      return "warning";
    case Severity::error:
      return "error";
  }
  return "?";
}

Bindings bindings_from(const py::dict& sizes) {
  Bindings out;
  for (const auto& [key, value] : sizes) {
    const auto name = py::str(key).cast<std::string>();
    Expr size;
    if (!to_expr(value, size) || !size.constant()) {
      raise_request("the size of '" + name + "' must be an integer, not " + py::repr(value).cast<std::string>());
    }
    out.emplace(name, *size.constant());
  }
  return out;
}

TensorInfo info_of(const Tensor& tensor) {
  return {std::string(tensor.name), std::string(tensor.slot), tensor.type, tensor.role};
}

void raise(const Status& status) {
  const bool request = status.code() == Code::bad_request;
  const auto errors = py::module_::import("macsim.errors");
  const CodeInfo* info = explain(status.code());
  const auto raised = request ? errors.attr("RequestError")(text(status.text()))
                              : errors.attr("ReadError")(text(status.text()), code_text(status.code()),
                                                         info != nullptr ? text(info->hint) : py::str());
  PyErr_SetObject(py::type::handle_of(raised).ptr(), raised.ptr());
  throw py::error_already_set();
}

void raise_request(const std::string& why) { raise(Status(Code::bad_request, why)); }

}  // namespace macsim::bind
