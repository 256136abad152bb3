// Transposed convolutions: plain, quantised, channels last, with padding told by an input.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "conv.hpp"
#include "families.hpp"
#include "gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

enum : std::size_t { kX, kW, kB, kPads, kXScale, kWScale, kYScale, kXZero, kWZero, kYZero };
constexpr char kSlots[] = "x w b #pads x_scale w_scale y_scale x_zero w_zero y_zero";

/// The padding of both sides together, where it is stated: by an input or by the attribute.
std::vector<Dim> total_padding(const Call& c, std::size_t spatial, const Window& window, Outputs& out) {
  std::vector<Dim> total(spatial, 0);
  if (!c.has(kPads)) {
    for (std::size_t i = 0; i < spatial; ++i) total[i] = window.begin[i] + window.end[i];
    return total;
  }
  const auto told = c.ints(kPads);
  for (std::size_t i = 0; i < spatial; ++i) {
    const Dim sum = told && told->size() == 2 * spatial ? (*told)[i] + (*told)[i + spatial] : Dim::undefined();
    total[i] = sum.defined() ? sum : out.symbol("padding" + std::to_string(i), "padding of an axis, both sides");
  }
  return total;
}

/// Output size of one axis without padding taken off, and with it where auto_pad asks for the input's size times the
/// stride: no more is taken off than the overlap of neighbouring windows.
Dim stretched(const Dim& in, const Dim& extent, std::int64_t stride, bool same) {
  const Dim full = (in - 1) * stride + extent;
  return same ? (in - 1) * stride + min(extent, stride) : full;
}

Status transposed_shape(const Call& c, Outputs& out, Shape& y) {
  if (!c.ranked(kX)) {
    (void)c.shape(kX);  // marks the call
    return {};
  }
  const bool last = channels_last(c);
  const Shape x = channels_second(c.shape(kX), last);
  const Shape& w = c.shape(kW);
  if (x.size() < 3 || (c.ranked(kW) && w.size() != x.size())) {
    return bad(
        "a transposed convolution needs a batch, channels and at least one spatial axis, and weights of the same rank; "
        "the shapes are " +
        text(c.shape(kX)) + " and " + text(w));
  }
  const std::size_t spatial = x.size() - 2;
  Shape kernel(spatial, Dim::undefined());
  for (std::size_t i = 0; i < spatial; ++i) kernel[i] = w[i + 2];
  Window window;
  if (Status s = read_window(c, spatial, kernel, window); !s) return s;
  if (c.ranked(kW)) unify(c, x[1], w[0], "input channels");
  const auto stated = c.integers("output_shape");
  const auto extra = c.integers("output_padding");
  if ((!stated.empty() && stated.size() < spatial) || (!extra.empty() && extra.size() < spatial)) {
    return bad("output_shape and output_padding need a number for each of " + std::to_string(spatial) + " axes");
  }
  const bool same = window.auto_pad == "SAME_UPPER" || window.auto_pad == "SAME_LOWER";
  const bool no_padding = same || window.auto_pad == "VALID" || !stated.empty();
  const std::vector<Dim> padding = no_padding ? std::vector<Dim>(spatial, 0) : total_padding(c, spatial, window, out);
  y = Shape{x[0], w[1] * c.integer("group", 1)};
  for (std::size_t i = 0; i < spatial; ++i) {
    if (!stated.empty()) {  // old models state the batch and channels too
      y.push_back(stated[stated.size() - spatial + i]);
      continue;
    }
    const Dim extent = (window.kernel[i] - 1) * window.dilations[i] + 1 + (!extra.empty() ? extra[i] : 0);
    y.push_back(at_least_zero(c, stretched(x[i + 2], extent, window.strides[i], same) - padding[i]));
  }
  y = channels_back(y, last);
  return {};
}

InferFn infer_transposed(std::size_t slot) {
  return [slot](const Call& c, Outputs& out) -> Status {
    Shape y;
    if (Status s = transposed_shape(c, out, y); !s) return s;
    out.set(0, c.dtype(slot), y);
    return {};
  };
}

/// Every input element is spread by one filter; results that padding cuts away are counted too.
Count transposed_macs(const Call& c) { return numel(c.shape(kX)) * numel(c.shape(kW), 1); }

Status cost_transposed(const Call& c, Cost& cost) {
  cost[Work::mac] = transposed_macs(c);
  if (c.has(kB)) cost[Work::add] = numel(c.out_shape());
  return {};
}

Status cost_qlinear_transposed(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::mac] = transposed_macs(c);
  if (c.has(kXZero)) cost[Work::add] += numel(c.shape(kX));
  if (c.has(kWZero)) cost[Work::add] += numel(c.shape(kW));
  if (c.has(kB)) cost[Work::add] += y;
  const Count scales = numel(c.shape(kWScale));
  cost[Work::mul] += scales;
  cost[Work::div] += scales;
  work::requantize(cost, y, c.has(kYZero));
  cost.compute = c.dtype(kXScale);
  cost.accumulate = DType::i32;
  return {};
}

}  // namespace

std::vector<Rule> transposed_rules() {
  return {
      {"conv_transposed",
       kSlots,
       "N-d transposed convolution, grouped and dilated",
       "mac = |x| * |w[1:]|, what padding cuts away included; add = |y| with a bias",
       "https://onnx.ai/onnx/operators/onnx__ConvTranspose.html",
       infer_transposed(kX),
       cost_transposed,
       {{"onnx::ConvTranspose", "x w b"},
        {"com.microsoft::ConvTransposeWithDynamicPads", "x w pads b"},
        {"com.ms.internal.nhwc::ConvTranspose", "x w b"}},
       nullptr,
       gradient_product(kX, kW, kB)},
      {"qlinear_conv_transposed",
       kSlots,
       "Transposed convolution of quantised tensors, requantised",
       "mac = |x| * |w[1:]|; add = |x| + |w| + |y| for the zero points, |y| with a bias; mul = |y| + |w_scale|; "
       "div = |w_scale|; convert = |y|; compare = 2 |y|",
       "https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/graph/contrib_ops/nhwc_schema_defs.cc",
       infer_transposed(kYZero),
       cost_qlinear_transposed,
       {{"com.ms.internal.nhwc::QLinearConvTranspose", "x x_scale x_zero w w_scale w_zero y_scale y_zero b"}}},
  };
}

}  // namespace macsim::rules
