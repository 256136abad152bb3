// What mappings of Python hold.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bind.hpp"

namespace macsim::bind {

// What a mapping holds, as (key, value): of a dict without making pairs.
template <class Do>
void each_item(const py::object& mapping, const Do& act) {
  if (PyDict_CheckExact(mapping.ptr())) {
    Py_ssize_t at = 0;
    PyObject *key = nullptr, *value = nullptr;
    while (PyDict_Next(mapping.ptr(), &at, &key, &value) != 0) act(key, value);
    return;
  }
  for (const py::handle pair : mapping.attr("items")()) {
    const auto both = py::reinterpret_borrow<py::tuple>(pair);
    act(both[0].ptr(), both[1].ptr());
  }
}

}  // namespace macsim::bind
