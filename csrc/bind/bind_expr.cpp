// Expr in Python: arithmetic, comparison, hashing, pickling, and evaluation over whole arrays.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>

#include <limits>
#include <vector>

#include "bind.hpp"

namespace macsim::bind {
namespace {

using Operation = Expr (*)(const Expr&, const Expr&);

py::object not_implemented() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

// One operator and its mirror image; what is neither Expr nor integer is left to the other operand.
template <class Class>
void binary(Class& expr, const char* name, const char* mirrored, Operation apply) {
  expr.def(
      name,
      [apply](const Expr& a, const py::object& b) {
        Expr other;
        return to_expr(b, other) ? py::cast(apply(a, other)) : not_implemented();
      },
      py::is_operator());
  expr.def(
      mirrored,
      [apply](const Expr& a, const py::object& b) {
        Expr other;
        return to_expr(b, other) ? py::cast(apply(other, a)) : not_implemented();
      },
      py::is_operator());
}

Expr make(const py::object& from) {
  if (from.is_none()) throw py::type_error("Expr takes an int, a text or an Expr, not NoneType");
  return dim_from(from, "Expr");
}

[[noreturn]] void raise_symbolic(const Expr& e, const char* what) {
  if (!e.defined()) throw py::value_error(std::string("an unknown size has no ") + what);
  std::string names;
  for (const std::string& name : e.symbols()) names += (names.empty() ? "" : ", ") + name;
  throw py::value_error(e.str() + " has no " + what + " until it is bound: bind(" + names + ")");
}

py::object whole(const Expr& e) {
  if (!e.is_constant()) raise_symbolic(e, "integer value");
  return number(e);
}

// No rewriting by how the sizes compare: True and False only where every size of 0 and more gives the same answer.
py::object ordered(const Expr& a, const py::object& b, bool strict, bool flip) {
  Expr other;
  if (!to_expr(b, other)) return not_implemented();
  const Expr difference = flip ? other - a : a - other;  // >= 0, or >= 1 when strict
  const Truth truth = at_least(difference, Expr(strict ? 1 : 0));
  if (truth == Truth::depends) raise_symbolic(difference, "sign");
  return py::bool_(truth == Truth::yes);
}

bool truth(const Expr& e) {
  const Truth zero = equal(e, Expr(0));
  if (zero == Truth::depends) raise_symbolic(e, "truth value");
  return zero == Truth::no;
}

py::object bind_sizes(const Expr& e, const py::object& sizes, const py::kwargs& more) {
  std::map<std::string, Expr, std::less<>> by;
  const auto take = [&](const py::dict& from) {
    for (const auto& [key, value] : from) {
      const auto name = py::str(key).cast<std::string>();
      by.insert_or_assign(name, dim_from(value, "the size of '" + name + "'"));
    }
  };
  if (!sizes.is_none()) take(py::dict(sizes));
  take(more);
  return number(e.substitute(by));
}

template <Operation apply>
Expr fold(const py::args& args) {
  if (args.empty()) throw py::type_error("expected at least one argument");
  Expr out = make(args[0]);
  for (std::size_t i = 1; i < args.size(); ++i) out = apply(out, make(args[i]));
  return out;
}

// (values, reals, ok), each outputs x bindings: see Program::evaluate.
py::tuple evaluate(const std::vector<py::object>& given, const std::vector<std::string>& names,
                   const py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>& sizes) {
  std::vector<Expr> expressions;
  expressions.reserve(given.size());
  for (const py::object& e : given) expressions.push_back(make(e));
  const std::size_t n = sizes.ndim() == 2 ? static_cast<std::size_t>(sizes.shape(1)) : 0;
  if (sizes.ndim() != 2 || static_cast<std::size_t>(sizes.shape(0)) != names.size()) {
    throw py::value_error("sizes must be an array of len(names) rows");
  }
  const Program program(expressions);
  std::vector<std::int64_t> ordered_sizes;
  ordered_sizes.reserve(program.symbols().size() * n);
  for (const std::string& symbol : program.symbols()) {
    const auto at = std::find(names.begin(), names.end(), symbol);
    if (at == names.end()) raise_request("no size is given for '" + symbol + "'");
    const std::int64_t* row = sizes.data() + static_cast<std::size_t>(at - names.begin()) * n;
    ordered_sizes.insert(ordered_sizes.end(), row, row + n);
  }
  const std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(given.size()), static_cast<py::ssize_t>(n)};
  py::array_t<std::int64_t> values(shape);
  py::array_t<double> reals(shape);
  py::array_t<bool> ok(shape);
  static_assert(sizeof(bool) == sizeof(std::uint8_t));
  ordered_sizes.reserve(1);  // so that data() is not null
  auto* const out = values.mutable_data();
  auto* const real = reals.mutable_data();
  auto* const good = reinterpret_cast<std::uint8_t*>(ok.mutable_data());
  if (n != 0 && !given.empty()) {
    const py::gil_scoped_release release;
    program.evaluate(ordered_sizes.data(), n, out, real, good);
  }
  return py::make_tuple(std::move(values), std::move(reals), std::move(ok));
}

}  // namespace

void bind_expr(py::module_& m) {
  py::class_<Expr> expr(m, "Expr", R"(An exact integer expression over named sizes.

``Expr("batch")`` is a symbol, ``Expr("2*batch + 1")`` an expression, ``Expr(3)`` a number. A symbol stands for a size: an
integer of 0 or more. Expressions are immutable and canonical: ``==`` asks for the same expression, in whatever way it was
built. What cannot be held in 128 bits is undefined: it prints as ``?``, absorbs every operation, and is never 0.)");
  expr.def(py::init(&make), py::arg("value"));
  binary(expr, "__add__", "__radd__", [](const Expr& a, const Expr& b) { return a + b; });
  binary(expr, "__sub__", "__rsub__", [](const Expr& a, const Expr& b) { return a - b; });
  binary(expr, "__mul__", "__rmul__", [](const Expr& a, const Expr& b) { return a * b; });
  binary(expr, "__floordiv__", "__rfloordiv__", [](const Expr& a, const Expr& b) { return floor_div(a, b); });
  binary(expr, "__mod__", "__rmod__", [](const Expr& a, const Expr& b) { return modulo(a, b); });
  expr.def("__neg__", [](const Expr& e) { return -e; });
  expr.def("__pos__", [](const Expr& e) { return e; });
  expr.def("__pow__", [](const Expr& e, unsigned exponent) { return power(e, exponent); }, py::is_operator());
  expr.def("__lt__", [](const Expr& a, const py::object& b) { return ordered(a, b, true, true); }, py::is_operator());
  expr.def("__le__", [](const Expr& a, const py::object& b) { return ordered(a, b, false, true); }, py::is_operator());
  expr.def("__gt__", [](const Expr& a, const py::object& b) { return ordered(a, b, true, false); }, py::is_operator());
  expr.def("__ge__", [](const Expr& a, const py::object& b) { return ordered(a, b, false, false); }, py::is_operator());
  const auto same = [](const Expr& a, const py::object& b, bool yes) -> py::object {
    Expr other;
    if (!to_expr(b, other)) return not_implemented();
    return py::bool_((a == other) == yes);
  };
  expr.def("__eq__", [same](const Expr& a, const py::object& b) { return same(a, b, true); }, py::is_operator());
  expr.def("__ne__", [same](const Expr& a, const py::object& b) { return same(a, b, false); }, py::is_operator());
  expr.def("__hash__", [](const Expr& e) -> py::ssize_t {  // an integer's hash is Python's: they are equal
    return e.is_constant() ? py::hash(number(e)) : static_cast<py::ssize_t>(e.hash() >> 1);
  });
  expr.def("__bool__", &truth);
  expr.def("__int__", &whole);
  expr.def("__index__", &whole);
  expr.def("__float__", [](const Expr& e) {
    if (!e.is_constant()) raise_symbolic(e, "value");
    return e.real().value_or(std::numeric_limits<double>::quiet_NaN());
  });
  expr.def("__str__", [](const Expr& e) { return text(e.str()); });
  expr.def("__repr__", [](const Expr& e) { return py::str("Expr({!r})").format(text(e.str())); });
  expr.def_property_readonly(
      "symbols",
      [](const Expr& e) {
        py::list names;
        for (const std::string& name : e.symbols()) names.append(text(name));
        return py::tuple(names);
      },
      "The names of the symbols in it, sorted.");
  expr.def_property_readonly("defined", &Expr::defined, "False when it is unknown or does not fit 128 bits.");
  expr.def(
      "bind", &bind_sizes, py::arg("sizes") = py::none(), py::pos_only(),
      "Put sizes (or expressions) in the place of symbols; those not named stay. An int when nothing is left to bind.");
  expr.def(py::pickle([](const Expr& e) { return py::make_tuple(text(e.str())); },
                      [](const py::tuple& state) { return make(state[0]); }));
  m.def("max", &fold<static_cast<Operation>(&max)>, "The largest of its arguments: ints, Exprs or texts.");
  m.def("min", &fold<static_cast<Operation>(&min)>, "The smallest of its arguments: ints, Exprs or texts.");
  m.def(
      "ceil_div", [](const py::object& a, const py::object& b) { return ceil_div(make(a), make(b)); }, py::arg("a"),
      py::arg("b"), py::pos_only(), "a / b, rounded up.");
  m.def("evaluate", &evaluate, py::arg("expressions"), py::arg("names"), py::arg("sizes"),
        "Evaluate expressions for many bindings at once: (int64 values, float64 values, whether the int64 is exact).");
}

}  // namespace macsim::bind
