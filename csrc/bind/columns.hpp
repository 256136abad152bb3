// Columns of counts in Python: arrays where every value is a plain integer, lists otherwise.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/numpy.h>

#include "bind.hpp"

namespace macsim::bind {

template <class At>
py::object numbers(std::size_t rows, const At& at) {
  py::array_t<std::int64_t> out(static_cast<py::ssize_t>(rows));
  std::int64_t* values = out.mutable_data();
  for (std::size_t i = 0; i < rows; ++i) {
    const Count& amount = at(i);
    const auto value = amount.constant();
    if (!value) {
      py::list all(rows);
      for (std::size_t r = 0; r < rows; ++r) all[r] = number(at(r));
      return all;
    }
    values[i] = *value;
  }
  return out;
}

}  // namespace macsim::bind
