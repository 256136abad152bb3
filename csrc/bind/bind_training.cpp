// Training in Python: the passes of a step, each as a ledger, and the memory that they need.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>
#include <vector>

#include "bind.hpp"
#include "macsim/training.hpp"

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
                 std::vector<std::string> inputs, std::vector<std::string> recompute, const std::string& optimizer,
                 bool master) {
  const TrainingOptions options{std::move(frozen),          std::move(only), std::move(inputs), std::move(recompute),
                                optimizer_named(optimizer), master};
  const py::gil_scoped_release release;
  return training(report, options);
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
      .def("bind", &bound, py::arg("sizes"));
  m.def("training", &trained, py::arg("report"), py::arg("frozen"), py::arg("trained"), py::arg("inputs"),
        py::arg("recompute"), py::arg("optimizer"), py::arg("master"),
        "Follow gradients from the outputs to the trained parameters.");
}

}  // namespace macsim::bind
