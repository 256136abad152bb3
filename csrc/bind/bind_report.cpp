// Reports in Python: analysis, rows by number, totals, columns as arrays.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "columns.hpp"
#include "rule_bridge.hpp"

namespace macsim::bind {
namespace {

// Which way a sum may be wrong, by what went into it.
enum Mark : std::uint8_t { kBound = 1, kEstimate = 2, kUnknown = 4 };
constexpr std::size_t kFlops = kColumns, kIntOps = kColumns + 1, kUnmasked = kColumns + 2, kMarked = kColumns + 3;
// What is masked shows as the MACs that are not.
constexpr std::size_t kShown = static_cast<std::size_t>(Column::masked);
using Marks = std::array<std::uint8_t, kMarked>;

/// A sum with a name, and a mark for each of its quantities.
struct NamedTotal {
  std::string name;
  Total total;
  Marks marks{};
};

Column column_named(const std::string& name) {
  for (std::size_t c = 0; c < kShown; ++c) {
    if (macsim::name_of(static_cast<Column>(c)) == name) return static_cast<Column>(c);
  }
  std::string known;
  for (std::size_t c = 0; c < kShown; ++c) known += " " + std::string(macsim::name_of(static_cast<Column>(c)));
  throw py::key_error("there is no column '" + name + "'; there are" + known + " macs_unmasked flops int_ops times");
}

Key key_named(const std::string& name) {
  if (name == "op") return Key::op;
  if (name == "node") return Key::node;
  if (name == "scope") return Key::scope;
  if (name == "dtype") return Key::dtype;
  if (name == "rule") return Key::rule;
  raise_request("rows are grouped by \"op\", \"node\", \"scope\", \"dtype\" or \"rule\", not \"" + name + "\"");
}

// A row of less than full trust marks only what it adds to: a bound on compares leaves the macs exact.
void mark_row(Marks& marks, const Report& report, std::size_t i) {
  const Trust trust = report.trust(i);
  if (trust == Trust::exact) return;
  const std::uint8_t own = trust == Trust::bound ? kBound : trust == Trust::estimate ? kEstimate : 0;
  const auto mark = [&](std::size_t at, const Count& amount) {
    if (!amount.defined()) {
      marks[at] |= kUnknown;
    } else if (!amount.is(0)) {
      marks[at] |= own;
    }
  };
  for (std::size_t c = 0; c < kColumns; ++c) mark(c, report.at(static_cast<Column>(c), i));
  mark(kUnmasked, report.macs_unmasked(i));
  mark(kFlops, report.flops(i));
  mark(kIntOps, report.int_ops(i));
}

NamedTotal total_of(const Report& report) {
  NamedTotal out{"", report.total(), {}};
  if (out.total.trust == Trust::exact) return out;
  for (std::size_t i = 0; i < report.rows(); ++i) mark_row(out.marks, report, i);
  return out;
}

std::vector<NamedTotal> groups_of(const Report& report, const std::string& key, int depth) {
  std::vector<NamedTotal> out;
  const Key by = key_named(key);
  const py::gil_scoped_release release;
  bool exact = true;
  for (auto& [name, total] : report.by(by, depth)) {
    exact = exact && total.trust == Trust::exact;
    out.push_back({std::move(name), std::move(total), {}});
  }
  if (exact) return out;
  const std::vector<std::uint32_t> group = report.groups(by, depth);
  for (std::size_t i = 0; i < group.size(); ++i) mark_row(out[group[i]].marks, report, i);
  return out;
}

std::string_view sign_of(const NamedTotal& t, const std::string& quantity) {
  std::size_t at = 0;
  if (quantity == "flops" || quantity == "int_ops") {
    at = quantity == "flops" ? kFlops : kIntOps;
  } else if (quantity == "macs_unmasked") {
    at = kUnmasked;
  } else {
    at = static_cast<std::size_t>(column_named(quantity == "macs" ? "mac" : quantity));
  }
  switch (t.marks[at]) {
    case 0:
      return "";
    case kBound:
      return "<=";
    case kUnknown:
      return ">=";
    default:
      return "~";
  }
}

py::dict work_of(const std::array<Count, kColumns>& sum) {
  py::dict out;
  for (std::size_t w = 0; w < kWorks; ++w) out[text(macsim::name_of(static_cast<Work>(w)))] = number(sum[w]);
  return out;
}

py::dict row_work(const Report& report, std::size_t i) {
  py::dict out;
  for (std::size_t w = 0; w < kWorks; ++w) {
    out[text(macsim::name_of(static_cast<Work>(w)))] = number(report.at(static_cast<Column>(w), i));
  }
  return out;
}

py::tuple mac_dtypes(const Report& r, std::size_t i) {
  const auto d = r.mac_dtypes(i);
  return py::make_tuple(text(macsim::name_of(d[0])), text(macsim::name_of(d[1])), text(macsim::name_of(d[2])));
}

// Columns. ---------------------------------------------------------------------------------------------------------

py::object column(const Report& report, const std::string& name) {
  const std::size_t rows = report.rows();
  if (name == "flops") return numbers(rows, [&](std::size_t i) { return report.flops(i); });
  if (name == "int_ops") return numbers(rows, [&](std::size_t i) { return report.int_ops(i); });
  if (name == "macs_unmasked") return numbers(rows, [&](std::size_t i) { return report.macs_unmasked(i); });
  if (name == "times") return numbers(rows, [&](std::size_t i) { return report.times(i); });
  const Column c = column_named(name);
  return numbers(rows, [&](std::size_t i) -> const Count& { return report.at(c, i); });
}

// Few texts are on many rows: each is made once.
template <class At>
py::list texts(std::size_t rows, const At& at) {
  py::list out(rows);
  std::unordered_map<std::string, py::str> made;
  for (std::size_t i = 0; i < rows; ++i) {
    const std::string one(at(i));
    auto known = made.find(one);
    if (known == made.end()) known = made.emplace(one, text(one)).first;
    out[i] = known->second;
  }
  return out;
}

py::list text_column(const Report& r, const std::string& name) {
  const std::size_t rows = r.rows();
  if (name == "name") return texts(rows, [&](std::size_t i) { return r.name(i); });
  if (name == "op") return texts(rows, [&](std::size_t i) { return r.op(i); });
  if (name == "rule") return texts(rows, [&](std::size_t i) { return r.rule(i); });
  if (name == "scope") return texts(rows, [&](std::size_t i) { return r.scope(i); });
  if (name == "path") return texts(rows, [&](std::size_t i) { return r.path(i); });
  if (name == "trust") return texts(rows, [&](std::size_t i) { return macsim::name_of(r.trust(i)); });
  if (name == "because") return texts(rows, [&](std::size_t i) { return r.because(i); });
  if (name == "compute") return texts(rows, [&](std::size_t i) { return macsim::name_of(r.compute(i)); });
  throw py::key_error("there is no column '" + name + "'");
}

// Everything about a row at once, in the order of rows.py's TEXTS and NUMBERS: for those who write it all out.
py::tuple facts(const Report& r, std::size_t i) {
  const auto tensors = [](const std::vector<Tensor>& all) {
    py::list out;
    for (const Tensor& t : all) {
      out.append(py::make_tuple(text(t.name), text(t.slot), text(macsim::name_of(t.type.dtype)), shape_tuple(t.type),
                                text(name_of(t.type.kind)), text(name_of(t.role))));
    }
    return out;
  };
  py::list texts;
  for (const std::string& one : {std::string(r.name(i)), r.op(i), r.rule(i), r.scope(i), r.path(i)})
    texts.append(text(one));
  for (const std::string_view one : {macsim::name_of(r.trust(i)), r.because(i), macsim::name_of(r.compute(i))}) {
    texts.append(text(one));
  }
  py::list numbers;
  for (std::size_t c = 0; c < kShown; ++c) numbers.append(number(r.at(static_cast<Column>(c), i)));
  for (const Count& one : {r.macs_unmasked(i), r.flops(i), r.int_ops(i), r.times(i)}) numbers.append(number(one));
  return py::make_tuple(std::move(texts), std::move(numbers), mac_dtypes(r, i), tensors(r.inputs(i)),
                        tensors(r.outputs(i)));
}

// Analysis. --------------------------------------------------------------------------------------------------------

Scalar scalar_from(py::handle from, const std::string& what) {
  if (from.is_none()) return Scalar::unknown();
  if (py::isinstance<py::float_>(from)) return Scalar::real(from.cast<double>());
  Expr whole;
  if (to_expr(from, whole)) return Scalar::integer(std::move(whole));
  raise_request("values of '" + what + "' must be numbers, not " +
                py::str(py::type::of(from).attr("__name__")).cast<std::string>());
}

// (dtype or None, shape or None, elements or None), or ("sequence" or "optional", what it holds), as api.py makes them
// of what the user gave.
Given given_from(const py::tuple& from, const std::string& name) {
  Given out;
  if (from.size() == 2) {
    out.type.kind = py::str(from[0]).cast<std::string>() == "sequence" ? Kind::sequence : Kind::optional;
    auto list = std::make_shared<Contents>();
    for (const py::handle part : py::reinterpret_borrow<py::sequence>(from[1])) {
      Given held = given_from(py::reinterpret_borrow<py::tuple>(part), name);
      list->parts.push_back({std::move(held.type), std::move(held.contents)});
    }
    out.contents = std::move(list);
    return out;
  }
  const DType dtype = dtype_from(from[0]);
  out.type = from[1].is_none() ? Type::unranked(dtype) : Type::of(dtype, shape_from(from[1], "input '" + name + "'"));
  if (from[2].is_none()) return out;
  auto contents = std::make_shared<Contents>();
  for (const py::handle item : py::reinterpret_borrow<py::sequence>(from[2])) {
    contents->items.push_back(scalar_from(item, name));
  }
  out.contents = std::move(contents);
  return out;
}

Report run(const LoadedModel& model, const SharedRegistry& registry, const py::dict& inputs, const py::dict& dims) {
  Options options;
  for (const auto& [key, value] : inputs) {
    const auto name = py::str(key).cast<std::string>();
    options.inputs.emplace(name, given_from(py::reinterpret_borrow<py::tuple>(value), name));
  }
  options.dims = bindings_from(dims);
  const std::shared_ptr<const Registry> table = registry.get();
  InterruptScope interrupts;
  auto found = [&] {
    const py::gil_scoped_release release;
    return analyze(model.model, *table, options);
  }();
  interrupts.raise_if_interrupted();
  if (!found) raise(found.status());
  return *std::move(found);
}

Report bind_report_sizes(const Report& report, const py::dict& sizes) {
  const Bindings bindings = bindings_from(sizes);
  auto found = [&] {
    const py::gil_scoped_release release;
    return report.bind(bindings);
  }();
  if (!found) raise(found.status());
  return *std::move(found);
}

std::vector<TensorInfo> infos(const std::vector<Tensor>& tensors) {
  std::vector<TensorInfo> out;
  out.reserve(tensors.size());
  for (const Tensor& tensor : tensors) out.push_back(info_of(tensor));
  return out;
}

std::size_t checked(const Report& report, std::size_t i) {
  if (i >= report.rows()) throw py::index_error("the report has " + std::to_string(report.rows()) + " rows");
  return i;
}

void bind_total(py::module_& m) {
  const auto count = [](Column column) { return [column](const NamedTotal& t) { return number(t.total[column]); }; };
  py::class_<NamedTotal>(m, "Total", "A sum of rows. What is unknown is left out of it, and `sign` says so.")
      .def_property_readonly(
          "name", [](const NamedTotal& t) { return text(t.name); }, "The group's name.")
      .def_property_readonly("macs", count(Column::mac), "Multiply-accumulates.")
      .def_property_readonly(
          "macs_unmasked", [](const NamedTotal& t) { return number(t.total.macs_unmasked()); },
          "Those of kernels that skip what a causal mask or a window hides.")
      .def_property_readonly(
          "flops", [](const NamedTotal& t) { return number(t.total.flops); },
          "Floating-point operations: 2 for a mac, 1 for any other.")
      .def_property_readonly(
          "int_ops", [](const NamedTotal& t) { return number(t.total.int_ops); }, "The same on integers.")
      .def_property_readonly(
          "work", [](const NamedTotal& t) { return work_of(t.total.sum); }, "The work by kind.")
      .def_property_readonly("read", count(Column::read), "Bytes of activations read.")
      .def_property_readonly("weights", count(Column::weights), "Bytes of stored tensors read.")
      .def_property_readonly("written", count(Column::written), "Bytes written.")
      .def_property_readonly(
          "trust", [](const NamedTotal& t) { return text(macsim::name_of(t.total.trust)); },
          "The worst of its rows: \"exact\", \"bound\", \"estimate\" or \"unknown\".")
      .def_property_readonly(
          "rows", [](const NamedTotal& t) { return t.total.rows; }, "How many rows.")
      .def_property_readonly(
          "unknown", [](const NamedTotal& t) { return t.total.unknown; }, "How many of them are unknown.")
      .def(
          "sign", [](const NamedTotal& t, const std::string& quantity) { return text(sign_of(t, quantity)); },
          py::arg("quantity"),
          "How a quantity of it is to be read: \"\" exactly, \"<=\" at most, \">=\" at least, \"~\" roughly.")
      .def("__repr__", [](const NamedTotal& t) {
        return py::str("<Total {!r}: {} rows, {}{} macs, {}>")
            .format(text(t.name), t.total.rows, text(sign_of(t, "mac")), number(t.total[Column::mac]),
                    text(macsim::name_of(t.total.trust)));
      });
}

void bind_notes(py::module_& m) {
  py::class_<Diagnostic>(m, "Diagnostic", "A remark about one place in a model.")
      .def_property_readonly(
          "code", [](const Diagnostic& d) { return text(code_text(d.code)); }, "\"MS201\".")
      .def_property_readonly(
          "severity", [](const Diagnostic& d) { return text(name_of(d.severity)); },
          "\"note\", \"warning\" or \"error\".")
      .def_property_readonly(
          "where", [](const Diagnostic& d) { return text(d.where); },
          "The node and its operator; empty when it is about the whole model.")
      .def_property_readonly(
          "text", [](const Diagnostic& d) { return text(d.text); }, "What is wrong.")
      .def_property_readonly(
          "hint", [](const Diagnostic& d) { return text(d.hint); }, "What to do about it.")
      .def("__str__",
           [](const Diagnostic& d) {
             return text(code_text(d.code) + " " + std::string(name_of(d.severity)) +
                         (d.where.empty() ? "" : " at " + d.where) + ": " + d.text);
           })
      .def("__repr__", [](const Diagnostic& d) {
        return py::str("<{} at {!r}: {}>").format(text(code_text(d.code)), text(d.where), text(d.text));
      });
  py::class_<Unbound>(m, "Unbound", "A symbol that is still free, and what it stands for.")
      .def_property_readonly(
          "name", [](const Unbound& u) { return text(u.name); }, "Its name.")
      .def_property_readonly(
          "why", [](const Unbound& u) { return text(u.why); }, "What it stands for.")
      .def("__repr__",
           [](const Unbound& u) { return py::str("<Unbound {!r}: {}>").format(text(u.name), text(u.why)); });
}

}  // namespace

void bind_report(py::module_& m) {
  bind_total(m);
  bind_notes(m);
  const auto row = [](auto get) { return [get](const Report& r, std::size_t i) { return get(r, checked(r, i)); }; };
  py::class_<Report>(m, "Ledger", "What analysis found, by row number: macsim.Report is its face.")
      .def("__len__", &Report::rows)
      .def("name", row([](const Report& r, std::size_t i) { return text(r.name(i)); }), py::arg("row"))
      .def("op", row([](const Report& r, std::size_t i) { return text(r.op(i)); }), py::arg("row"))
      .def("rule", row([](const Report& r, std::size_t i) { return text(r.rule(i)); }), py::arg("row"))
      .def("scope", row([](const Report& r, std::size_t i) { return text(r.scope(i)); }), py::arg("row"))
      .def("path", row([](const Report& r, std::size_t i) { return text(r.path(i)); }), py::arg("row"))
      .def("trust", row([](const Report& r, std::size_t i) { return text(macsim::name_of(r.trust(i))); }),
           py::arg("row"))
      .def("because", row([](const Report& r, std::size_t i) { return text(r.because(i)); }), py::arg("row"))
      .def("compute", row([](const Report& r, std::size_t i) { return text(macsim::name_of(r.compute(i))); }),
           py::arg("row"))
      .def("mac_dtypes", row(&mac_dtypes), py::arg("row"))
      .def("facts", row(&facts), py::arg("row"))
      .def("times", row([](const Report& r, std::size_t i) { return number(r.times(i)); }), py::arg("row"))
      .def("macs_unmasked", row([](const Report& r, std::size_t i) { return number(r.macs_unmasked(i)); }),
           py::arg("row"))
      .def("flops", row([](const Report& r, std::size_t i) { return number(r.flops(i)); }), py::arg("row"))
      .def("int_ops", row([](const Report& r, std::size_t i) { return number(r.int_ops(i)); }), py::arg("row"))
      .def("work", row(&row_work), py::arg("row"))
      .def(
          "at",
          [](const Report& r, const std::string& name, std::size_t i) {
            return number(r.at(column_named(name), checked(r, i)));
          },
          py::arg("column"), py::arg("row"))
      .def("row_inputs", row([](const Report& r, std::size_t i) { return infos(r.inputs(i)); }), py::arg("row"))
      .def("row_outputs", row([](const Report& r, std::size_t i) { return infos(r.outputs(i)); }), py::arg("row"))
      .def("total", &total_of, py::call_guard<py::gil_scoped_release>())
      .def("by", &groups_of, py::arg("key"), py::arg("depth") = -1)
      .def(
          "groups",
          [](const Report& r, const std::string& key, int depth) {
            const auto groups = r.groups(key_named(key), depth);
            return py::array_t<std::uint32_t>(static_cast<py::ssize_t>(groups.size()), groups.data());
          },
          py::arg("key"), py::arg("depth") = -1)
      .def("column", &column, py::arg("name"))
      .def("texts", &text_column, py::arg("name"))
      .def_property_readonly("inputs", [](const Report& r) { return infos(r.graph_inputs()); })
      .def_property_readonly("outputs", [](const Report& r) { return infos(r.graph_outputs()); })
      .def_property_readonly("model", [](const Report& r) { return LoadedModel{r.shared_model()}; })
      .def_property_readonly("parameters", [](const Report& r) { return number(r.parameters()); })
      .def_property_readonly("weight_bytes", [](const Report& r) { return number(r.weight_bytes()); })
      .def_property_readonly("unbound", &Report::unbound)
      .def_property_readonly("assumptions", &Report::assumptions)
      .def_property_readonly("diagnostics", [](const Report& r) { return r.diagnostics(); })
      .def("bind", &bind_report_sizes, py::arg("sizes"));
  m.def("analyze", &run, py::arg("model"), py::arg("rules"), py::arg("inputs"), py::arg("dims"),
        "Infer every type and count every node. `inputs`: name to (dtype, shape, elements), each perhaps None.");
}

}  // namespace macsim::bind
