// The Python module macsim._core: names the rooms.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "bind.hpp"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "The C++ core of macsim.";
  m.attr("__version__") = MACSIM_VERSION;
  macsim::bind::bind_expr(m);
  macsim::bind::bind_model(m);
  macsim::bind::bind_rules(m);
  macsim::bind::bind_report(m);
  macsim::bind::bind_tape(m);
  macsim::bind::bind_traffic(m);
  macsim::bind::bind_training(m);
}
