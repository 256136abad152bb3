// The registry in Python, and the tables that the docs are printed from.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rule_bridge.hpp"

namespace macsim::bind {
namespace {

// "stated", "none: why", "of its bodies", or empty: nobody knows it.
std::string gradient_of(const Rule& rule, const GradientFn& gradient) {
  if (!gradient) return rule.control != nullptr ? "of its bodies" : "";
  const auto* none = gradient.target<NoGradient>();
  return none == nullptr ? "stated" : "none: " + std::string(none->because);
}

py::dict facts_of(const Rule& rule) {
  py::list spelled;
  py::dict gradients;
  for (const Binding& binding : rule.spelled) {
    gradients[text(binding.op)] = gradient_of(rule, binding.gradient ? binding.gradient : rule.gradient);
  }
  for (const Binding& binding : rule.spelled) {
    spelled.append(
        py::make_tuple(text(binding.op), text(binding.slots.empty() ? rule.slots : binding.slots), binding.since,
                       binding.until == INT64_MAX ? py::object(py::none()) : py::object(py::int_(binding.until))));
  }
  py::dict out;
  out["name"] = text(rule.name);
  out["slots"] = text(rule.slots);
  out["summary"] = text(rule.summary);
  out["formula"] = text(rule.formula);
  out["reference"] = text(rule.reference);
  out["spelled"] = std::move(spelled);
  out["gradients"] = std::move(gradients);
  return out;
}

py::list rules_of(const Registry& registry) {
  py::list out;
  for (const auto& rule : registry.rules()) out.append(facts_of(*rule));
  return out;
}

py::list codes() {
  py::list out;
  for (const CodeInfo& info : all_codes()) {
    py::dict one;
    one["code"] = text(code_text(info.code));
    one["name"] = text(info.name);
    one["severity"] = text(name_of(info.severity));
    one["meaning"] = text(info.meaning);
    one["hint"] = text(info.hint);
    out.append(std::move(one));
  }
  return out;
}

void add_rule(SharedRegistry& registry, const std::vector<std::string>& spelled, const std::string& slots,
              const py::object& infer, const py::object& cost, const py::object& gradient, const py::dict& about,
              std::int64_t since, std::int64_t until, bool replace) {
  if (spelled.empty()) raise_request("a rule needs the name of an operator: \"mylib::window_attn\"");
  const auto said = [&](const char* key) {
    return about.contains(key) ? py::str(about[key]).cast<std::string>() : std::string();
  };
  Rule row{spelled.front(), slots, said("summary"), said("formula"), said("reference"), {}, {}, {}};
  for (const std::string& op : spelled) row.spelled.push_back({op, "", since, until});
  row = python_rule(std::move(row), infer, cost, gradient);
  registry.change([&](Registry& table) { return replace ? table.replace(std::move(row)) : table.add(std::move(row)); });
}

}  // namespace

void bind_rules(py::module_& m) {
  bind_call(m);
  py::class_<SharedRegistry>(m, "RuleTable", "Which rule answers to which operator: the built-in rows and the user's.")
      .def(py::init<>())
      .def(
          "copy", [](const SharedRegistry& r) { return std::make_unique<SharedRegistry>(r.get()); },
          "A table of the same rows, to be changed apart.")
      .def("add", &add_rule, py::arg("spelled"), py::arg("slots"), py::arg("infer"), py::arg("cost"),
           py::arg("gradient"), py::arg("about"), py::arg("since") = 0, py::arg("until") = INT64_MAX,
           py::arg("replace") = false, "Add a row.")
      .def(
          "alias",
          [](SharedRegistry& r, const std::string& op, const std::string& like) {
            r.change([&](Registry& table) { return table.alias(op, like); });
          },
          py::arg("op"), py::arg("like"), "Let an operator behave as another.")
      .def(
          "find",
          [](const SharedRegistry& r, const std::string& op, std::int64_t version) -> py::object {
            const auto table = r.get();
            const Rule* rule = table->rule(op, version);
            return rule == nullptr ? py::object(py::none()) : py::object(facts_of(*rule));
          },
          py::arg("op"), py::arg("version"), "The row that answers to an operator, or None.")
      .def(
          "near",
          [](const SharedRegistry& r, const std::string& op, std::size_t most) { return r.get()->near(op, most); },
          py::arg("op"), py::arg("most") = 5, "The known operators whose names are nearest.")
      .def(
          "spellings", [](const SharedRegistry& r) { return r.get()->spellings(); }, "Every operator, sorted.")
      .def("rules", [](const SharedRegistry& r) { return rules_of(*r.get()); }, "Every row.");
  m.def("rules", [] { return rules_of(Registry::builtin()); }, "The built-in rows, in order of families.");
  m.def("codes", &codes, "Every diagnostic code, by number.");
}

}  // namespace macsim::bind
