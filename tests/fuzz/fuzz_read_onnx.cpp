// The fuzz target: any bytes are read, analysed, printed and bound without a crash, a hang or runaway memory.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "macsim/onnx.hpp"
#include "macsim/registry.hpp"
#include "macsim/report.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace macsim;
  auto model = read_onnx({reinterpret_cast<const char*>(data), size});
  if (!model) return 0;
  Options options;
  options.most_rows = 10'000;  // a few bytes can ask for many calls of one function
  auto report = analyze(*model, Registry::builtin(), options);
  if (!report) return 0;

  const Total total = report->total();
  for (const Count& sum : total.sum) (void)sum.str();
  for (std::size_t i = 0; i < report->rows(); ++i) {
    (void)report->path(i);
    (void)report->inputs(i);
    (void)report->outputs(i);
  }
  for (const Key key : {Key::op, Key::node, Key::scope, Key::dtype, Key::rule}) (void)report->by(key, 2);
  Bindings sizes;
  for (const Unbound& symbol : report->unbound()) sizes[symbol.name] = 3;
  if (auto bound = report->bind(sizes)) (void)bound->total();
  return 0;
}
