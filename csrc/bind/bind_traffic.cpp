// Traffic and memory in Python.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/traffic.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "columns.hpp"

namespace macsim::bind {
namespace {

Level level_named(const std::string& name) {
  for (const Level level : {Level::unfused, Level::fused, Level::minimum, Level::cached}) {
    if (macsim::name_of(level) == name) return level;
  }
  raise_request("the levels of traffic are \"unfused\", \"fused\", \"minimum\" and \"cached\", not \"" + name + "\"");
}

Moved moved_named(const std::string& name) {
  for (std::size_t m = 0; m < kMoved; ++m) {
    if (macsim::name_of(static_cast<Moved>(m)) == name) return static_cast<Moved>(m);
  }
  raise_request("bytes are \"read\", \"weights\", \"cache\" or \"written\", not \"" + name + "\"");
}

/// A report's rows, for columns as long as it.
struct Moving {
  Traffic traffic;
  std::size_t rows;
};

/// Tensors followed once, for all that is asked of them.
struct Followed {
  Followed(const Report& report, std::optional<std::vector<std::string>> cache)
      : flows(report, std::move(cache)), rows(report.rows()) {}
  Flows flows;
  std::size_t rows;
};

Moving moving(const Followed& followed, const std::string& level, std::int64_t capacity) {
  const Level wanted = level_named(level);
  auto found = [&] {
    const py::gil_scoped_release release;
    return followed.flows.traffic(wanted, capacity);
  }();
  if (!found) raise(found.status());
  return {*std::move(found), followed.rows};
}

template <class Name, std::size_t kSize>
py::dict named(const std::array<Count, kSize>& amounts) {
  py::dict out;
  for (std::size_t i = 0; i < kSize; ++i) out[text(macsim::name_of(static_cast<Name>(i)))] = number(amounts[i]);
  return out;
}

Memory held(const Followed& followed, bool by_module, bool by_program, bool in_place) {
  if (by_program && !followed.flows.saw_releases()) {
    raise_request("by_program is of torch programs that run: nobody saw how long the results of this one were held");
  }
  const py::gil_scoped_release release;
  return followed.flows.memory(MemoryOptions{by_module, by_program, in_place});
}

// (name, dtype, shape, what it is, bytes, first row, last row) of each tensor.
py::list alive(const Memory& m) {
  py::list out;
  for (const Held& one : m.alive) {
    out.append(py::make_tuple(text(one.name), text(macsim::name_of(one.type.dtype)), shape_tuple(one.type),
                              text(macsim::name_of(one.duty)), number(one.bytes), one.from, one.to));
  }
  return out;
}

}  // namespace

void bind_traffic(py::module_& m) {
  py::class_<Moving>(m, "Traffic", "Bytes that a report moves at one level: macsim.Traffic is its face.")
      .def(
          "column",
          [](const Moving& t, const std::string& name) {
            const Moved moved = moved_named(name);
            return numbers(t.rows, [&](std::size_t i) -> const Count& { return t.traffic.at(moved, i); });
          },
          py::arg("name"))
      .def_property_readonly("total", [](const Moving& t) { return named<Moved>(t.traffic.total); })
      .def_property_readonly("roles", [](const Moving& t) { return named<Duty>(t.traffic.duties); })
      .def_property_readonly("trust", [](const Moving& t) { return text(macsim::name_of(t.traffic.trust)); })
      .def_property_readonly("kernels", [](const Moving& t) { return t.traffic.groups; })
      .def_property_readonly("kernel",
                             [](const Moving& t) {
                               return py::array_t<std::uint32_t>(static_cast<py::ssize_t>(t.traffic.group.size()),
                                                                 t.traffic.group.data());
                             })
      .def_property_readonly("io_bound", [](const Moving& t) {
        return numbers(t.traffic.io_bound.size(), [&](std::size_t i) -> const Count& { return t.traffic.io_bound[i]; });
      });
  py::class_<Memory>(m, "Memory", "Bytes that a run holds, row by row: macsim.Memory is its face.")
      .def_property_readonly("weights", [](const Memory& held) { return number(held.weights); })
      .def_property_readonly("activations", [](const Memory& held) { return number(held.activations); })
      .def_property_readonly("peak", [](const Memory& held) { return number(held.peak_bytes); })
      .def_property_readonly("row",
                             [](const Memory& held) -> py::object {
                               return held.peak == kNone ? py::object(py::none()) : py::object(py::int_(held.peak));
                             })
      .def_property_readonly("alive", &alive)
      .def_property_readonly("trust", [](const Memory& held) { return text(macsim::name_of(held.trust)); })
      .def_property_readonly("timeline", [](const Memory& held) {
        return numbers(held.timeline.size(), [&](std::size_t i) -> const Count& { return held.timeline[i]; });
      });
  py::class_<Followed>(m, "Flows", "The tensors of a report, followed once.")
      .def(py::init<const Report&, std::optional<std::vector<std::string>>>(), py::arg("report"), py::arg("cache"),
           py::call_guard<py::gil_scoped_release>())
      .def("traffic", &moving, py::arg("level"), py::arg("capacity"), "Return the bytes that move at a level.")
      .def("memory", &held, py::arg("by_module"), py::arg("by_program"), py::arg("in_place"),
           "Return the bytes that a run holds.");
}

}  // namespace macsim::bind
