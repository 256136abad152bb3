// Convolutions: plain, quantised, fused, channels last. The transposed and the odd kinds lie beside this file.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "conv.hpp"

#include <algorithm>

#include "aten.hpp"
#include "families.hpp"
#include "gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {

bool channels_last(const Call& c) {
  const std::string_view dialect = c.dialect();
  if (dialect == "onnx") return false;
  return dialect == "com.ms.internal.nhwc" || c.op().starts_with("Nhwc") || c.integer("channels_last", 0) != 0;
}

Shape channels_second(const Shape& x, bool is_last) {
  if (!is_last || x.size() < 3) return x;
  Shape y = x;
  y.pop_back();
  y.insert(1, x.back());
  return y;
}

Shape channels_back(const Shape& y, bool is_last) {
  if (!is_last || y.size() < 3) return y;
  Shape x = y;
  x.erase(1);
  x.push_back(y[1]);
  return x;
}

namespace {

enum : std::size_t { kX, kW, kB, kZ, kXScale, kWScale, kYScale, kXZero, kWZero, kYZero };
constexpr char kSlots[] = "x w b z x_scale w_scale y_scale x_zero w_zero y_zero";

Status conv_shape(const Call& c, Shape& y) {
  if (!c.ranked(kX)) {
    (void)c.shape(kX);  // marks the call
    return {};
  }
  const bool last = channels_last(c);
  const Shape x = channels_second(c.shape(kX), last);
  const Shape& w = c.shape(kW);
  if (x.size() < 3 || (c.ranked(kW) && w.size() != x.size())) {
    return bad(
        "a convolution needs a batch, channels and at least one spatial axis, and weights of the same rank; the shapes "
        "are " +
        text(c.shape(kX)) + " and " + text(w));
  }
  const std::size_t spatial = x.size() - 2;
  Shape kernel(spatial, Dim::undefined());
  for (std::size_t i = 0; i < spatial; ++i) kernel[i] = w[i + 2];
  Window window;
  if (Status s = read_window(c, spatial, kernel, window); !s) return s;
  if (c.ranked(kW)) unify(c, x[1], w[1] * c.integer("group", 1), "input channels");
  y = Shape{x[0], w[0]};
  for (std::size_t i = 0; i < spatial; ++i) y.push_back(windowed(c, x[i + 2], window, i));
  y = channels_back(y, last);
  return {};
}

InferFn infer_conv(DType dtype) {
  return [dtype](const Call& c, Outputs& out) -> Status {
    Shape y;
    if (Status s = conv_shape(c, y); !s) return s;
    out.set(0, dtype, y);
    return {};
  };
}
/// The result has the element type of another slot.
InferFn infer_conv_like(std::size_t slot) {
  return [slot](const Call& c, Outputs& out) -> Status {
    Shape y;
    if (Status s = conv_shape(c, y); !s) return s;
    out.set(0, c.dtype(slot), y);
    return {};
  };
}

/// Every output element is a dot product with one filter; taps that fall on padding are counted too.
Count conv_macs(const Call& c) { return numel(c.out_shape()) * numel(c.shape(kW), 1); }

/// For each group of channels, a product of the patches under the filter, one for each place, and the filters.
std::shared_ptr<const Nest> conv_nest(const Call& c, std::int64_t groups, std::string_view strides) {
  const Shape& w = c.shape(kW);
  if (w.empty() || groups < 1) return nullptr;
  const auto places = divide_exact(numel(c.out_shape()), w[0]), filters = divide_exact(w[0], groups);
  if (!places || !filters) return nullptr;
  const Span<std::int64_t> stride = c.integers(strides);
  std::int64_t overlap = 1;
  for (std::size_t i = 2; i < w.size(); ++i) {
    const std::int64_t step = stride.empty() ? 1 : stride[std::min(i - 2, stride.size() - 1)];
    const auto extent = w[i].constant();
    if (extent && step > 0) overlap *= std::clamp<std::int64_t>((*extent + step - 1) / step, 1, 1 << 16);
  }
  return std::make_shared<const Nest>(Nest{groups, *places, *filters, numel(w, 1), 0, overlap});
}

Status cost_conv(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::mac] = conv_macs(c);
  cost.nest = conv_nest(c, c.integer("group", 1), "strides");
  if (c.has(kB)) cost[Work::add] += y;
  if (c.has(kZ)) cost[Work::add] += y;
  if (c.dialect() != "onnx") work::fused_activation(cost, c.text("activation", ""), y);
  return {};
}

/// The multiply-adds on integers; the zero points are taken off first, where given.
void integer_conv(const Call& c, Cost& cost) {
  cost[Work::mac] = conv_macs(c);
  cost.nest = conv_nest(c, c.integer("group", 1), "strides");
  if (c.has(kXZero)) cost[Work::add] += numel(c.shape(kX));
  if (c.has(kWZero)) cost[Work::add] += numel(c.shape(kW));
  cost.accumulate = DType::i32;
}

Status cost_conv_integer(const Call& c, Cost& cost) {
  integer_conv(c, cost);
  cost.compute = DType::i32;
  return {};
}

Status cost_qlinear_conv(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  integer_conv(c, cost);
  if (c.has(kB)) cost[Work::add] += y;
  const Count scales = numel(c.shape(kWScale));  // x_scale * w_scale / y_scale: one for all, or one a channel
  cost[Work::mul] += scales;
  cost[Work::div] += scales;
  work::requantize(cost, y, c.has(kYZero));
  cost.compute = c.dtype(kXScale);
  return {};
}

// As torch calls them. ----------------------------------------------------------------------------------------------

bool transposes(const Call& c) {
  return c.integer("transposed", 0) != 0 || c.op().find("transpose") != std::string_view::npos;
}

/// x [N, C, spatial] or without N; padding by numbers, "same" or "valid".
Status aten_conv(const Call& c, Outputs& out) {
  const Shape &x = c.shape(kX), &w = c.shape(kW);
  if (!c.ranked(kX) || !c.ranked(kW) || w.size() < 3) return {};
  const std::size_t spatial = w.size() - 2;
  const bool batched = x.size() == w.size();
  if (!batched && x.size() + 1 != w.size()) return {};
  const std::size_t first = batched ? 2 : 1;
  const auto stride = each_axis(c.integers("stride"), spatial, 1),
             dilation = each_axis(c.integers("dilation"), spatial, 1);
  const auto padding = each_axis(c.integers("padding"), spatial, 0),
             more = each_axis(c.integers("output_padding"), spatial, 0);
  const std::string_view named = c.text("padding", "");
  const bool transposed = transposes(c);
  const std::int64_t groups = c.integer("groups", 1);
  if (c.op().find("depthwise") == std::string_view::npos)  // else each channel has filters of its own
    unify(c, x[first - 1], transposed ? w[0] : w[1] * groups, "input channels");
  Shape y;
  if (batched) y.push_back(x[0]);
  y.push_back(transposed ? w[1] * groups : w[0]);
  for (std::size_t i = 0; i < spatial; ++i) {
    const Dim& in = x[first + i];
    const Dim extent = dilation[i] * (w[i + 2] - 1) + 1;
    if (stride[i] <= 0) return {};
    if (transposed) {
      y.push_back((in - 1) * stride[i] - 2 * padding[i] + extent + more[i]);
    } else if (named == "same") {
      y.push_back(in);
    } else {
      y.push_back(floor_div(in + (named == "valid" ? 0 : 2 * padding[i]) - extent, stride[i]) + 1);
    }
  }
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

Status cost_aten_conv(const Call& c, Cost& cost) {
  const Count macs = transposes(c) ? numel(c.shape(kX)) * numel(c.shape(kW), 1) : conv_macs(c);
  cost[Work::mac] = class_of(c.dtype(kX)) == DTypeClass::complex ? 4 * macs : macs;
  if (!transposes(c)) cost.nest = conv_nest(c, c.integer("groups", 1), "stride");
  if (c.has(kB)) cost[Work::add] += numel(c.out_shape());
  if (c.op() == "_convolution_pointwise") work::fused_activation(cost, c.text("attr", ""), numel(c.out_shape()));
  return {};
}

/// With a tensor that is added or multiplied, and a function of the result.
Status cost_conv_and_tensor(const Call& c, Cost& cost) {
  if (Status s = cost_aten_conv(c, cost); !s) return s;
  const Count y = numel(c.out_shape());
  cost[c.text("binary_attr", "").starts_with("mul") ? Work::mul : Work::add] += y;
  if (c.real("alpha", 1) != 1) cost[Work::mul] += y;
  work::fused_activation(cost, c.text("unary_attr", ""), y);
  return {};
}

/// Of vendors' kernels that add a tensor, perhaps scaled, and rectify.
Status cost_rectified_conv(const Call& c, Cost& cost) {
  if (Status s = cost_aten_conv(c, cost); !s) return s;
  const Count y = numel(c.out_shape());
  if (c.has(kZ)) cost[Work::add] += y;
  if (c.has(kZ) && c.real("alpha", 1) != 1) cost[Work::mul] += y;
  cost[Work::compare] += y;
  return {};
}

/// x [steps, batch, in], w [taps, in, out].
Status cost_steps_first(const Call& c, Cost& cost) {
  const Shape& w = c.shape(kW);
  if (w.size() != 3) return bad("conv_tbc needs weights of 3 axes; has " + text(w));
  cost[Work::mac] = numel(c.out_shape()) * w[0] * w[1];
  cost[Work::add] = numel(c.out_shape());
  return {};
}

/// Of quantised tensors, which carry their scales and zero points. A rectifier is the lower of the two bounds that
/// every result is kept in.
Status cost_torch_quantized(const Call& c, Cost& cost) {
  const Count x = numel(c.shape(kX)), y = numel(c.out_shape()), scales = numel(c.shape(kWScale));
  const bool dynamic = c.op().ends_with("_dynamic");
  if (dynamic) work::dynamic_quantize(cost, x);
  cost[Work::mac] = transposes(c) ? x * numel(c.shape(kW), 1) : conv_macs(c);
  if (!transposes(c)) cost.nest = conv_nest(c, c.integer("groups", 1), "stride");
  cost[Work::add] += x;
  if (c.has(kWZero)) cost[Work::add] += numel(c.shape(kW));
  if (c.has(kB)) cost[Work::add] += y;
  cost[Work::mul] += scales;
  cost.accumulate = DType::i32;
  if (dynamic) {
    work::dequantize(cost, y, false);
    cost.lhs = DType::u8;
    return {};
  }
  cost[Work::div] += scales;
  if (c.has(kZ)) {
    work::dequantize(cost, y, true);
    cost[Work::add] += y;
  }
  work::requantize(cost, y, true);
  cost.compute = DType::f32;
  return {};
}

/// Those of x and of w are convolutions, too, each of as many products. An addend gets the gradient as it is.
Status gradient_conv(const Call& c, Gradient& g) {
  if (c.dialect() != "onnx") fused_activation_gradient(g, c.text("activation", ""), numel(c.out_shape()));
  return gradient_product(kX, kW, kB)(c, g);
}

enum : std::size_t { kDy, kInput, kWeight };

/// As the tensors that they are gradients of; a bias has an element for each channel of the result.
Status infer_conv_backward(const Call& c, Outputs& out) {
  if (!c.ranked(kDy) || c.shape(kDy).size() < 3) return {};
  out.set(0, c.in(kInput));
  out.set(1, c.in(kWeight));
  out.set(2, c.dtype(kDy), Shape{c.shape(kDy)[1]});
  return {};
}

/// The gradient of x is the other kind of convolution with the same weights, that of w a convolution of x with dy: each
/// has as many products as the convolution itself.
Status cost_conv_backward(const Call& c, Cost& cost) {
  const Span<std::int64_t> wanted = c.integers("output_mask");
  const auto wants = [&](std::size_t i) { return i >= wanted.size() || wanted[i] != 0; };
  const Shape& dy = c.shape(kDy);
  const Count macs = numel(transposes(c) ? c.shape(kInput) : dy) * numel(c.shape(kWeight), 1);
  cost[Work::mac] = macs * ((wants(0) ? 1 : 0) + (wants(1) ? 1 : 0));
  if (wants(2) && dy.size() > 1) cost[Work::add] = numel(dy) - dy[1];
  if (cost[Work::mac].is(0) && cost[Work::add].is(0)) cost.moves("no gradient is wanted");
  return {};
}

}  // namespace

std::vector<Rule> plain_conv_rules() {
  const Text qlinear = "x x_scale x_zero w w_scale w_zero y_scale y_zero b";
  return {
      {"conv", kSlots, "N-d convolution, grouped and dilated, with an addend and an activation where they are fused",
       "mac = |y| * |w[1:]|, taps on padding included (transposed: |x| * |w[1:]|; complex: 4 times); add = |y| with a "
       "bias, |y| with an addend; the activation on "
       "|y|",
       "https://onnx.ai/onnx/operators/onnx__Conv.html", infer_conv_like(kX), cost_conv,
       aten({"conv1d",
             "conv2d",
             "conv3d",
             "convolution",
             "_convolution",
             "conv_transpose1d",
             "conv_transpose2d",
             "conv_transpose3d",
             "convolution_overrideable",
             "cudnn_convolution",
             "cudnn_convolution_transpose",
             "miopen_convolution",
             "miopen_depthwise_convolution",
             "miopen_convolution_transpose",
             "mkldnn_convolution",
             "mkldnn::_convolution_pointwise",
             "_slow_conv2d_forward",
             "slow_conv3d_forward",
             "_conv_depthwise2d",
             "conv_depthwise3d",
             "slow_conv_transpose2d",
             "slow_conv_transpose3d",
             "slow_conv_dilated2d",
             "slow_conv_dilated3d",
             "thnn_conv2d",
             "slow_conv3d",
             "_mps_convolution",
             "_nnpack_spatial_convolution"},
            aten_conv, {}, {}, cost_aten_conv) +
           aten({"_mps_convolution_transpose"}, aten_conv, "x w", {}, cost_aten_conv) +
           aten({"cudnn_convolution_relu", "miopen_convolution_relu"}, aten_conv, "x w b", {}, cost_rectified_conv) +
           aten({"cudnn_convolution_add_relu", "miopen_convolution_add_relu"}, aten_conv, "x w z b", {},
                cost_rectified_conv) +
           aten({"mkldnn::_convolution_pointwise.binary"}, aten_conv, "x z w b", {}, cost_conv_and_tensor) +
           aten({"conv_tbc"}, {}, {}, {}, cost_steps_first) +
           std::vector<Binding>{{"onnx::Conv", "x w b"},
                                {"com.microsoft::FusedConv", "x w b z"},
                                {"com.microsoft::NhwcConv", "x w b"},
                                {"com.microsoft::NhwcFusedConv", "x w b z"},
                                {"com.microsoft.nchwc::Conv", "x w b z"},
                                {"com.ms.internal.nhwc::Conv", "x w b"}},
       nullptr, gradient_conv},
      {"conv_backward",
       "dy x w",
       "The gradients of a convolution",
       "mac = those of the convolution for each of the gradients of x and w that are wanted; that of a bias: add = "
       "|dy| - channels",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html",
       {},
       cost_conv_backward,
       aten({"convolution_backward"}) +
           aten({"convolution_backward_overrideable", "_slow_conv2d_backward"}, infer_conv_backward) +
           aten({"mps_convolution_backward", "mps_convolution_transpose_backward"}, infer_conv_backward, "x dy w")},
      {"conv_integer",
       kSlots,
       "Convolution of integers, 32-bit result",
       "mac = |y| * |w[1:]|; add = |x| and |w| for the zero points that are given",
       "https://onnx.ai/onnx/operators/onnx__ConvInteger.html",
       infer_conv(DType::i32),
       cost_conv_integer,
       {{"onnx::ConvInteger", "x w x_zero w_zero"}}},
      {"qlinear_conv", kSlots, "Convolution of quantised tensors, requantised",
       "mac = |y| * |w[1:]|; add = |x| + |w| + |y| for the zero points, |y| with a bias; mul = |y| + |w_scale|; "
       "div = |w_scale|; convert = |y|; compare = 2 |y|; an addend is dequantised: add = 2 |y|, mul = convert = |y|; "
       "dynamic: x is quantised first, and y only scaled",
       "https://onnx.ai/onnx/operators/onnx__QLinearConv.html", infer_conv_like(kYZero), cost_qlinear_conv,
       std::vector<Binding>{{"onnx::QLinearConv", qlinear},
                            {"com.microsoft::QLinearConv", qlinear},
                            {"com.ms.internal.nhwc::QLinearConv", qlinear}} +
           aten({"quantized::conv1d", "quantized::conv1d_relu", "quantized::conv2d", "quantized::conv2d_relu",
                 "quantized::conv3d", "quantized::conv3d_relu", "quantized::conv_transpose1d",
                 "quantized::conv_transpose2d", "quantized::conv_transpose3d", "quantized::conv1d_dynamic",
                 "quantized::conv2d_dynamic", "quantized::conv3d_dynamic", "quantized::conv_transpose1d_dynamic",
                 "quantized::conv_transpose2d_dynamic", "quantized::conv_transpose3d_dynamic"},
                aten_conv, "x w w_scale w_zero b", {}, cost_torch_quantized) +
           aten({"quantized::conv2d_add", "quantized::conv2d_add_relu"}, aten_conv, "x z w w_scale w_zero b", {},
                cost_torch_quantized)},
  };
}

std::vector<Rule> conv_family() {
  const NoGradient codes{"of codes, which are rounded"};
  return with_gradients({{"conv_integer", codes}, {"qlinear_conv", codes}, {"qlinear_conv_transposed", codes}},
                        joined(with(Access::contraction, joined(plain_conv_rules(), transposed_rules())),
                               with(Access::contraction, {"conv_deformable", "causal_conv"}, odd_conv_rules())));
}

}  // namespace macsim::rules
