// Training in Python: the passes of a step, each as a ledger, and the memory that they need.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "columns.hpp"
#include "macsim/training.hpp"
#include "rule_bridge.hpp"

namespace macsim::bind {
namespace {

Optimizer optimizer_named(const std::string& name) {
  std::string known;
  for (int i = 0; i <= static_cast<int>(Optimizer::adam8bit); ++i) {
    const auto one = static_cast<Optimizer>(i);
    if (name_of(one) == name) return one;
    known += (known.empty() ? "" : ", ") + std::string(name_of(one));
  }
  raise_request("there is no optimizer '" + name + "'; there are " + known);
}

Training trained(const Report& report, std::vector<std::string> frozen, std::vector<std::string> only,
                 std::vector<std::string> inputs, std::vector<std::string> recompute, std::vector<std::size_t> losses,
                 const std::string& optimizer, bool master) {
  const TrainingOptions options{
      std::move(frozen),          std::move(only), std::move(inputs), std::move(recompute), std::move(losses),
      optimizer_named(optimizer), master};
  InterruptScope interrupts;
  std::optional<Training> made;
  {
    const py::gil_scoped_release release;
    made = training(report, options);
  }
  interrupts.raise_if_interrupted();
  return *std::move(made);
}

// (name, dtype, shape, what it is, bytes, first moment, last moment) of each tensor.
py::list alive(const StepMemory& memory) {
  py::list out;
  for (const HeldInStep& one : memory.alive) {
    out.append(py::make_tuple(text(one.name), text(macsim::name_of(one.type.dtype)), shape_tuple(one.type),
                              text(macsim::name_of(one.what)), number(one.bytes), one.from, one.to));
  }
  return out;
}

// (pass, row) of a moment; the optimiser has no row.
py::tuple moment(const Moment& one) {
  return py::make_tuple(text(macsim::name_of(one.pass)),
                        one.row == kNone ? py::object(py::none()) : py::object(py::int_(one.row)));
}

// A step's memory, worked out when it is asked for.
py::dict memory_of(const Training& t) {
  const StepMemory memory = t.memory();
  py::list moments;
  for (const Moment& one : t.moments) moments.append(moment(one));
  py::dict out;
  out["always"] = number(memory.always);
  out["timeline"] = numbers(memory.timeline.size(), [&](std::size_t i) -> const Count& { return memory.timeline[i]; });
  out["moments"] = std::move(moments);
  out["peak"] = number(memory.peak);
  out["moment"] = memory.moment == kNone ? py::object(py::none()) : py::object(py::int_(memory.moment));
  out["alive"] = alive(memory);
  out["trust"] = text(macsim::name_of(memory.trust));
  return out;
}

Training bound(const Training& t, const py::dict& sizes) {
  auto found = t.bind(bindings_from(sizes));
  if (!found) raise(found.status());
  return *std::move(found);
}

// The optimiser's work by kind and its bytes: (work, flops, read, weights, written).
py::tuple step_of(const Training& t) {
  py::dict work;
  for (std::size_t w = 0; w < kWorks; ++w) {
    work[text(name_of(static_cast<Work>(w)))] = number(t.optimizer[static_cast<Column>(w)]);
  }
  return py::make_tuple(std::move(work), number(t.optimizer.flops), number(t.optimizer[Column::read]),
                        number(t.optimizer[Column::weights]), number(t.optimizer[Column::written]));
}

}  // namespace

void bind_training(py::module_& m) {
  const auto count = [](Count Training::* which) { return [which](const Training& t) { return number(t.*which); }; };
  py::class_<Training>(m, "Step", "One step of training, in numbers: macsim.training has its face.")
      .def_property_readonly("backward", [](const Training& t) { return t.backward; })
      .def_property_readonly("recompute", [](const Training& t) { return t.recompute; })
      .def_property_readonly("optimizer", &step_of)
      .def_property_readonly("parameters",
                             [](const Training& t) {
                               py::list out;
                               for (const Trained& p : t.parameters) {
                                 out.append(py::make_tuple(text(p.name), text(macsim::name_of(p.type.dtype)),
                                                           number(p.elements), number(p.bytes)));
                               }
                               return out;
                             })
      .def_property_readonly("weights", count(&Training::weights))
      .def_property_readonly("gradients", count(&Training::gradients))
      .def_property_readonly("states", count(&Training::states))
      .def_property_readonly("saved", count(&Training::saved))
      .def_property_readonly("recomputed", count(&Training::recomputed))
      .def_property_readonly("unmatched", [](const Training& t) { return t.unmatched; })
      .def_property_readonly("memory", &memory_of)
      .def("bind", &bound, py::arg("sizes"));
  m.def("training", &trained, py::arg("report"), py::arg("frozen"), py::arg("trained"), py::arg("inputs"),
        py::arg("recompute"), py::arg("losses"), py::arg("optimizer"), py::arg("master"),
        "Follow gradients from the outputs to the trained parameters.");
}

}  // namespace macsim::bind
