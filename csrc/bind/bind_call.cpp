// Call and Cost in Python, and the bridge that runs Python functions as rules.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>
#include <utility>

#include "rule_bridge.hpp"

namespace macsim::bind {
namespace {

struct SlotName {
  std::string name;
  bool repeated = false;
};

// A rule's Python half. Whoever lets go of it last may be a thread without the interpreter lock: see python_rule().
struct PythonHalf {
  std::string name;
  py::object infer, cost, gradient;
  std::vector<SlotName> slots;
  std::mutex mutex;
  std::set<std::string, std::less<>> texts;  // what Cost::because points to; nodes of a set stay where they are

  std::string_view keep(std::string_view because) {
    const std::lock_guard lock(mutex);
    return *texts.emplace(because).first;
  }
};

// A node as a Python rule sees it. Valid while the rule runs.
struct CallView {
  const Call* call = nullptr;
  Outputs* outputs = nullptr;          // in a shape rule
  const Gradient* gradient = nullptr;  // in a gradient rule
  const PythonHalf* rule = nullptr;

  const Call& get() const {
    if (call == nullptr) throw py::value_error("a Call is valid only while the rule that it was given to runs");
    return *call;
  }
};

// Set while an analysis runs on this thread and something that is not an Exception was raised in a rule.
thread_local std::unique_ptr<py::error_already_set> interrupted;

std::vector<SlotName> slots_of(const std::string& slots) {
  std::vector<SlotName> out;
  for (std::size_t at = 0; at < slots.size();) {
    const std::size_t end = std::min(slots.find(' ', at), slots.size());
    std::string word = slots.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    if (word.front() == '#') word.erase(0, 1);
    const bool repeated = word.size() > 3 && word.compare(word.size() - 3, 3, "...") == 0;
    if (repeated) word.resize(word.size() - 3);
    out.push_back({std::move(word), repeated});
  }
  return out;
}

py::object tensor(const CallView& view, std::size_t position, const std::string& slot) {
  const Call& call = view.get();
  if (!call.given(position)) return py::none();
  return py::cast(TensorInfo{{}, slot, call.at(position), Role::activation});
}

py::object slot_of(const CallView& view, const std::string& name) {
  const auto& slots = view.rule->slots;
  const auto at = std::find_if(slots.begin(), slots.end(), [&](const SlotName& slot) { return slot.name == name; });
  if (at == slots.end()) {
    std::string known;
    for (const SlotName& slot : slots) known += (known.empty() ? "" : ", ") + slot.name;
    throw py::attribute_error("'" + name + "' is neither a slot of " + view.rule->name + " (" + known +
                              ") nor anything else that a Call has");
  }
  const auto first = static_cast<std::size_t>(at - slots.begin());
  if (!at->repeated) return tensor(view, first, name);
  py::list all;
  for (std::size_t i = first; i < view.get().inputs(); ++i) all.append(tensor(view, i, name));
  return all;
}

py::list inputs_of(const CallView& view) {
  py::list out;
  for (std::size_t i = 0; i < view.get().inputs(); ++i) {
    const auto& slots = view.rule->slots;
    out.append(tensor(view, i, slots.empty() ? "" : slots[std::min(i, slots.size() - 1)].name));
  }
  return out;
}

py::object output_of(const CallView& view, std::size_t i) {
  if (!view.get().wants(i)) return py::none();
  return py::cast(TensorInfo{{}, {}, view.get().out(i), Role::activation});
}

template <class T, class Convert>
py::list list_of(const Span<T>& span, const Convert& convert) {
  py::list out;
  for (const T& value : span) out.append(convert(value));
  return out;
}

py::object attr_of(const CallView& view, const std::string& name, const py::args& otherwise) {
  const Call& call = view.get();
  const Attr* attr = call.attr(name);
  if (otherwise.size() > 1) throw py::type_error("attr() takes a name and at most one default");
  if (attr == nullptr) {
    if (!otherwise.empty()) return otherwise[0];
    throw py::key_error("the node has no attribute '" + name + "' and attr() was given no default");
  }
  switch (attr->kind) {
    case Attr::Kind::integer:
      return py::int_(attr->integer);
    case Attr::Kind::real:
      return py::float_(attr->real);
    case Attr::Kind::text:
      return text(attr->text);
    case Attr::Kind::integers:
      return list_of(call.integers(name), [](std::int64_t v) { return py::int_(v); });
    case Attr::Kind::reals:
      return list_of(call.reals(name), [](double v) { return py::float_(v); });
    case Attr::Kind::texts:
      return list_of(call.texts(name), [](std::string_view v) { return text(v); });
    case Attr::Kind::tensor:
      return py::cast(TensorInfo{name, {}, call.tensor(name)->type, Role::weight});
    case Attr::Kind::type:
      return py::cast(TensorInfo{name, {}, *call.type(name), Role::activation});
    default:
      break;
  }
  throw py::type_error("attribute '" + name + "' is not a number, a text, a tensor, a type or a list of them");
}

py::object element(const Scalar& item) {
  if (!item.known()) return py::none();
  const Expr whole = item.whole();
  if (whole.defined() && !item.is_real()) return number(whole);
  if (const auto value = item.constant()) return py::float_(*value);
  return py::none();
}

py::object values_of(const CallView& view, const std::string& slot) {
  const auto& slots = view.rule->slots;
  const auto at = std::find_if(slots.begin(), slots.end(), [&](const SlotName& s) { return s.name == slot; });
  if (at == slots.end()) throw py::key_error("'" + slot + "' is not a slot of " + view.rule->name);
  const Contents* contents = view.get().contents_at(static_cast<std::size_t>(at - slots.begin()));
  if (contents == nullptr) return py::none();
  py::list out;
  for (const Scalar& item : contents->items) out.append(element(item));
  return out;
}

// Positions of the inputs in a slot of the rule's.
std::vector<std::size_t> positions_of(const PythonHalf& rule, const Call& call, const std::string& name) {
  const auto at = std::find_if(rule.slots.begin(), rule.slots.end(), [&](const SlotName& s) { return s.name == name; });
  if (at == rule.slots.end()) throw py::key_error("'" + name + "' is not a slot of " + rule.name);
  const auto first = static_cast<std::size_t>(at - rule.slots.begin());
  std::vector<std::size_t> out;
  for (std::size_t i = first; i < (at->repeated ? call.inputs() : first + 1); ++i) out.push_back(i);
  return out;
}

bool needs(const CallView& view, const std::string& slot) {
  if (view.gradient == nullptr) throw py::value_error("needs() is for gradient: others are asked about every input");
  const auto positions = positions_of(*view.rule, view.get(), slot);
  return std::any_of(positions.begin(), positions.end(), [&](std::size_t i) { return view.gradient->needs_at(i); });
}

py::object symbol_of(const CallView& view, const std::string& what, const std::string& why) {
  (void)view.get();
  if (view.outputs == nullptr) throw py::value_error("symbol() is for infer: a cost has the sizes that infer gave");
  return number(view.outputs->symbol(what, why));
}

// Cost. ------------------------------------------------------------------------------------------------------------

Count count_from(py::handle from, const std::string& what) {
  Expr out;
  if (py::isinstance<py::float_>(from)) {
    throw py::type_error("Cost(" + what + "=...) must be exact: an int or an Expr, not a float");
  }
  if (!to_expr(from, out)) {
    throw py::type_error("Cost(" + what + "=...) takes an int or an Expr, not " +
                         py::str(py::type::of(from).attr("__name__")).cast<std::string>());
  }
  if (at_least(out, 0) == Truth::no) throw py::value_error("Cost(" + what + "=...) is below 0: " + out.str());
  return out;
}

Trust trust_from(const std::string& name) {
  for (const Trust trust : {Trust::exact, Trust::bound, Trust::estimate, Trust::unknown}) {
    if (macsim::name_of(trust) == name) return trust;
  }
  throw py::value_error("trust is \"exact\", \"bound\", \"estimate\" or \"unknown\", not \"" + name + "\"");
}

CostInfo make_cost(const py::object& read, const py::object& weights, const py::object& written,
                   const py::object& masked, const std::string& trust, std::string because, const py::object& compute,
                   const py::object& lhs, const py::object& rhs, const py::object& accumulate, const py::kwargs& work) {
  CostInfo out;
  Cost& cost = out.cost;
  for (const auto& [key, amount] : work) {
    const auto name = key.cast<std::string>();
    std::size_t kind = 0;
    while (kind < kWorks && macsim::name_of(static_cast<Work>(kind)) != name) ++kind;
    if (kind == kWorks) {
      std::string kinds;
      for (std::size_t k = 0; k < kWorks; ++k) kinds += " " + std::string(macsim::name_of(static_cast<Work>(k)));
      throw py::type_error("Cost has no '" + name + "'; the kinds of work are" + kinds);
    }
    cost.work[kind] = count_from(amount, name);
  }
  if (!read.is_none()) cost.read = count_from(read, "read");
  if (!weights.is_none()) cost.weights = count_from(weights, "weights");
  if (!written.is_none()) cost.written = count_from(written, "written");
  if (!masked.is_none()) cost.masked = count_from(masked, "masked");
  cost.trust = trust_from(trust);
  cost.compute = dtype_from(compute);
  cost.lhs = dtype_from(lhs);
  cost.rhs = dtype_from(rhs);
  cost.accumulate = dtype_from(accumulate);
  const bool idle = std::all_of(cost.work.begin(), cost.work.end(), [](const Count& c) { return c.is(0); });
  if (because.empty() && (idle || cost.trust != Trust::exact)) {
    throw py::value_error(idle ? "a cost without work needs a reason: because=\"a view: no data moved\""
                               : "a cost that is not exact needs a reason: because=");
  }
  out.because = std::move(because);
  return out;
}

GradientInfo make_gradient(const std::vector<std::string>& keep, const std::vector<std::size_t>& keep_outputs,
                           const py::object& keep_bytes, const std::vector<std::string>& none, const py::object& again,
                           const py::object& read, const py::object& weights, const py::object& written,
                           const std::string& trust, const std::string& because, const py::kwargs& work) {
  GradientInfo out;
  const py::object unset = py::none();
  out.own = make_cost(read, weights, written, unset, trust, because, unset, unset, unset, unset, work);
  out.kept = keep;
  out.kept_outputs = keep_outputs;
  out.none = none;
  out.kept_bytes = count_from(keep_bytes, "keep_bytes");
  if (!again.is_none()) out.again = again.cast<const CostInfo&>().cost;
  return out;
}

// The bridge. ------------------------------------------------------------------------------------------------------

// What was raised becomes a status; what is not an Exception (an interrupt) is kept to be raised after the analysis.
Status failure(py::error_already_set& error, const Call& call, const PythonHalf& rule, const char* which) {
  if (!error.matches(PyExc_Exception)) {
    interrupted = std::make_unique<py::error_already_set>(error);
    return {Code::rule_failed, "interrupted"};
  }
  for (std::size_t i = 0; i < call.inputs(); ++i) {
    if (!call.given(i) || call.at(i).ranked) continue;
    (void)call.shape_at(i);  // marks the call: with a rank unknown, failing is no fault of the rule
    return {};
  }
  std::string why;
  try {
    if (error.trace()) PyException_SetTraceback(error.value().ptr(), error.trace().ptr());
    why = py::module_::import("macsim.custom").attr("describe_failure")(error.value()).cast<std::string>();
  } catch (const py::error_already_set&) {
    why = "an exception that cannot be printed";
  }
  return {Code::rule_failed, std::string(which) + " of " + rule.name + " raised " + why};
}

// Runs `body` with a view of the call, which dies with it.
template <class Body>
Status with_view(const Call& call, Outputs* outputs, const Gradient* gradient, PythonHalf& rule, const char* which,
                 const Body& body) {
  const py::gil_scoped_acquire acquire;
  if (interrupted != nullptr) return {Code::rule_failed, "interrupted"};
  try {
    py::object view = py::cast(CallView{&call, outputs, gradient, &rule});
    struct Ends {
      CallView& view;
      ~Ends() { view.call = nullptr; }
    } const ends{view.cast<CallView&>()};
    return body(view);
  } catch (py::error_already_set& error) {
    return failure(error, call, rule, which);
  } catch (const std::exception& error) {
    return {Code::rule_failed, std::string(which) + " of " + rule.name + ": " + error.what()};
  }
}

Status infer(const Call& call, Outputs& outputs, PythonHalf& rule) {
  return with_view(call, &outputs, nullptr, rule, "infer", [&](const py::object& view) -> Status {
    const py::object result = rule.infer(view);
    const bool several = py::isinstance<py::tuple>(result) || py::isinstance<py::list>(result);
    const py::sequence all = several ? py::sequence(result) : py::sequence(py::make_tuple(result));
    std::size_t i = 0;
    for (const py::handle one : all) {
      if (one.is_none() && several) {
        ++i;
        continue;
      }
      if (!py::isinstance<TensorInfo>(one)) {
        return {Code::rule_failed, "infer of " + rule.name + " must return a Tensor or a tuple of them, not " +
                                       py::str(py::type::of(one).attr("__name__")).cast<std::string>()};
      }
      outputs.set(i++, one.cast<const TensorInfo&>().type);
    }
    if (i > call.outputs()) {
      return {Code::rule_failed, "infer of " + rule.name + " gave " + std::to_string(i) + " outputs, the node has " +
                                     std::to_string(call.outputs())};
    }
    std::size_t wanted = call.outputs();
    while (wanted != 0 && !call.wants(wanted - 1)) --wanted;
    if (i < wanted) {
      return {Code::rule_failed, "infer of " + rule.name + " gave " + std::to_string(i) + " of the node's " +
                                     std::to_string(wanted) + " outputs"};
    }
    return {};
  });
}

Status cost(const Call& call, Cost& out, PythonHalf& rule) {
  return with_view(call, nullptr, nullptr, rule, "cost", [&](const py::object& view) -> Status {
    const py::object result = rule.cost(view);
    if (!py::isinstance<CostInfo>(result)) {
      return {Code::rule_failed, "cost of " + rule.name + " must return a Cost, not " +
                                     py::str(py::type::of(result).attr("__name__")).cast<std::string>()};
    }
    const auto& info = result.cast<const CostInfo&>();
    out = info.cost;
    out.because = rule.keep(info.because);
    return {};
  });
}

Status gradient(const Call& call, Gradient& out, PythonHalf& rule) {
  Status status = with_view(call, nullptr, &out, rule, "gradient", [&](const py::object& view) -> Status {
    const py::object result = rule.gradient(view);
    if (!py::isinstance<GradientInfo>(result)) {
      return {Code::rule_failed, "gradient of " + rule.name + " must return a Gradient, not " +
                                     py::str(py::type::of(result).attr("__name__")).cast<std::string>()};
    }
    const auto& info = result.cast<const GradientInfo&>();
    out.cost = info.own.cost;
    out.cost.because = rule.keep(info.own.because);
    out.again = info.again;
    for (const std::string& slot : info.kept) {
      for (const std::size_t i : positions_of(rule, call, slot)) out.keep_at(i);
    }
    for (const std::string& slot : info.none) {
      for (const std::size_t i : positions_of(rule, call, slot)) out.none_at(i);
    }
    for (const std::size_t i : info.kept_outputs) out.keep_output(i);
    out.keep_bytes(info.kept_bytes);
    return {};
  });
  if (!status && interrupted == nullptr) {  // unknown, and what comes before it is counted on
    out.cost = Cost();
    out.cost.trust = Trust::unknown;
    out.cost.because = rule.keep(status.text());
    return {};
  }
  return status;
}

}  // namespace

Rule python_rule(Rule row, const py::object& infer_function, const py::object& cost_function,
                 const py::object& gradient_function) {
  std::shared_ptr<PythonHalf> half(new PythonHalf, [](PythonHalf* last) {
    const py::gil_scoped_acquire acquire;
    delete last;
  });
  half->name = row.name;
  half->infer = infer_function;
  half->cost = cost_function;
  half->slots = slots_of(row.slots);
  if (!infer_function.is_none()) {
    row.infer = [half](const Call& call, Outputs& outputs) { return infer(call, outputs, *half); };
  }
  row.cost = [half](const Call& call, Cost& out) { return cost(call, out, *half); };
  if (PyCallable_Check(gradient_function.ptr()) != 0) {
    half->gradient = gradient_function;
    row.gradient = [half](const Call& call, Gradient& out) { return gradient(call, out, *half); };
  } else if (gradient_function.ptr() == Py_False) {
    row.gradient = NoGradient{"its rule says that it has no derivative"};
  }
  return row;
}

InterruptScope::InterruptScope() { interrupted.reset(); }
InterruptScope::~InterruptScope() { interrupted.reset(); }
void InterruptScope::raise_if_interrupted() {
  if (interrupted == nullptr) return;
  const std::unique_ptr<py::error_already_set> error = std::move(interrupted);
  throw py::error_already_set(*error);
}

void bind_call(py::module_& m) {
  py::class_<CostInfo>(m, "Cost", R"(The work and the traffic of one node, as a cost rule states it.

Work is given by kind (``mac add mul div compare exp log sqrt trig logic convert``), in scalar operations. ``read``,
``weights`` and ``written`` are bytes; what is left out is filled in: every data input is read and every output written
once. ``masked`` are those MACs that a kernel may skip, as a causal mask or a window hides them. A cost without work, or one that is not exact, needs a reason: ``because=``.)")
      .def(py::init(&make_cost), py::kw_only(), py::arg("read") = py::none(), py::arg("weights") = py::none(),
           py::arg("written") = py::none(), py::arg("masked") = py::none(), py::arg("trust") = "exact",
           py::arg("because") = "", py::arg("compute") = py::none(), py::arg("lhs") = py::none(),
           py::arg("rhs") = py::none(), py::arg("accumulate") = py::none());
  py::class_<GradientInfo>(m, "Gradient", R"(The work of one node's gradients, as a gradient rule states it.

Work is given by kind, as of a Cost. ``keep`` are the slots and ``keep_outputs`` the numbers of the outputs that are kept
from the run until then, ``keep_bytes`` the bytes of what is neither; ``none`` are slots that it is not differentiable
by; ``again`` is the Cost of what is computed once more for it.)")
      .def(py::init(&make_gradient), py::kw_only(), py::arg("keep") = std::vector<std::string>(),
           py::arg("keep_outputs") = std::vector<std::size_t>(), py::arg("keep_bytes") = 0,
           py::arg("none") = std::vector<std::string>(), py::arg("again") = py::none(), py::arg("read") = py::none(),
           py::arg("weights") = py::none(), py::arg("written") = py::none(), py::arg("trust") = "exact",
           py::arg("because") = "");
  py::class_<CallView>(
      m, "Call", R"(What a rule sees of a node: its inputs by slot, its attributes, and (in a cost rule) its outputs.

``call.q`` is the Tensor in slot ``q``, None when the node leaves it out, a list for a slot that repeats. Sizes are ints
or Exprs.)")
      .def("__getattr__", &slot_of, py::arg("slot"))
      .def_property_readonly("inputs", &inputs_of, "Every input in order; None where one is left out.")
      .def("output", &output_of, py::arg("i") = 0, "Output `i`, in a cost rule; None when the node leaves it out.")
      .def_property_readonly(
          "outputs", [](const CallView& v) { return v.get().outputs(); }, "How many outputs there are.")
      .def("attr", &attr_of, py::arg("name"),
           "An attribute of the node, or the default; KeyError when there is neither.")
      .def("values", &values_of, py::arg("slot"),
           "The elements of a small tensor in a slot, in order, when they are known: ints, floats, Exprs, None for an "
           "unknown one. None when nothing is known.")
      .def("needs", &needs, py::arg("slot"), "Whether the gradient of what is in a slot is wanted, in a gradient rule.")
      .def("symbol", &symbol_of, py::arg("what"), py::arg("why"),
           "A new named size, for what depends on data; listed in the report as one to bind.")
      .def_property_readonly(
          "op", [](const CallView& v) { return text(v.get().op()); }, "The operator's name.")
      .def_property_readonly(
          "domain", [](const CallView& v) { return text(v.get().dialect()); }, "Its domain.")
      .def_property_readonly(
          "version", [](const CallView& v) { return v.get().version(); }, "The domain's version.")
      .def_property_readonly("name", [](const CallView& v) { return text(v.get().node_name()); }, "The node's name.");
}

}  // namespace macsim::bind
