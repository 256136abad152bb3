// Pooling: max, average and lp, over windows or whole images, in every layout; unpooling; blocked layouts.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/pool.hpp"

#include <algorithm>
#include <numeric>
#include <string>

#include "rules/aten.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

constexpr std::size_t kX = 0;

/// Whether channels are the last axis; otherwise they are axis 1.
bool channels_last(const Call& c) {
  return c.dialect() == "com.ms.internal.nhwc" || c.op() == "NhwcMaxPool" || c.integer("channels_last", 0) != 0;
}
std::size_t first_spatial(const Call& c) { return channels_last(c) ? 1 : 2; }

/// Elements of the window: of kernel_shape, or of the whole image.
Count window_size(const Call& c) {
  if (c.op().find("Global") != std::string_view::npos) {
    const Shape& x = c.shape(kX);
    const std::size_t first = first_spatial(c);
    return x.size() < 2 ? Count::undefined() : numel(x, first, first + x.size() - 2);
  }
  Count size = 1;
  for (const std::int64_t k : c.integers("kernel_shape")) size *= k;
  return size;
}

// Shapes. ----------------------------------------------------------------------------------------------------------

Status infer_pool(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  out.unranked(1, DType::i64);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad(std::string(c.op()) + " needs a batch and channels, and has " + text(x));
  Window window;
  if (Status status = read_window(c, x.size() - 2, {}, window); !status) return status;
  Shape y = x;
  const std::size_t first = first_spatial(c);
  for (std::size_t axis = 0; axis + 2 < x.size(); ++axis) {
    y[first + axis] = windowed(c, x[first + axis], window, axis);
  }
  out.set(0, dtype, y);
  out.set(1, DType::i64, y);
  return {};
}

Status infer_global_pool(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad(std::string(c.op()) + " needs a batch and channels, and has " + text(x));
  Shape y = x;
  const std::size_t first = first_spatial(c);
  for (std::size_t axis = 0; axis + 2 < x.size(); ++axis) y[first + axis] = 1;
  out.set(0, dtype, y);
  return {};
}

// Work. ------------------------------------------------------------------------------------------------------------
// Every window is counted whole, as in a convolution: padding is not taken off.

/// An activation that an optimiser put into the node.
void fused(const Call& c, Cost& cost) {
  if (const std::string_view name = c.text("activation", {}); !name.empty()) {
    work::fused_activation(cost, name, numel(c.out_shape()));
  }
}

Status cost_max(const Call& c, Cost& cost) {
  const Count window = window_size(c);
  cost[Work::compare] = numel(c.out_shape()) * (window - 1);
  if (window.is(1)) cost.moves("a window of one element: moves data only");
  fused(c, cost);
  return {};
}

Status cost_masked_max(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.out_shape()) * (window_size(c) - 1);
  cost[Work::logic] = numel(c.shape(kX));
  return {};
}

Status cost_average(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::add] = y * (window_size(c) - 1);
  cost[Work::div] = y;
  fused(c, cost);
  return {};
}

Status cost_lp(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  const Count terms = y * window_size(c);
  const double p = c.real("p", 2);
  cost[Work::add] = terms - y;
  if (p == 2) {
    cost[Work::mul] = terms;
    cost[Work::sqrt] = y;
  } else if (p == 1) {
    cost[Work::logic] = terms;  // absolute values
  } else {
    cost[Work::logic] = terms;
    for (const Work work : {Work::log, Work::mul, Work::exp}) cost[work] = terms + y;  // |x|^p, and the root
  }
  return {};
}

/// Sums of whole numbers; one requantisation a window, with 1/n folded into its factor.
Status cost_quantised_average(const Call& c, Cost& cost) {
  enum : std::size_t { kScale = 1, kZero, kOutScale, kOutZero };
  const Count y = numel(c.out_shape());
  cost[Work::add] = y * (window_size(c) - 1);
  if (c.has(kZero)) cost[Work::add] += y;
  if (c.has(kOutZero)) cost[Work::add] += y;
  cost[Work::mul] = y;
  cost[Work::convert] = y;
  cost[Work::compare] = 2 * y;
  cost.compute = DType::i32;
  return {};
}

// Unpooling. -------------------------------------------------------------------------------------------------------

Status infer_unpool(const Call& c, Outputs& out) {
  constexpr std::size_t kShape = 2;
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad("MaxUnpool needs a batch and channels, and has " + text(x));
  Shape y = x;
  const std::size_t first = first_spatial(c);
  if (c.has(kShape)) {
    const auto sizes = c.ints(kShape);
    if (sizes && sizes->size() != x.size()) return bad("MaxUnpool: output_shape does not have the rank of " + text(x));
    for (std::size_t axis = 0; axis < x.size(); ++axis) {
      const bool known = sizes && (*sizes)[axis].defined();
      if (known) y[axis] = (*sizes)[axis];
      const bool spatial = axis >= first && axis < first + x.size() - 2;
      if (!known && spatial) y[axis] = out.symbol("axis" + std::to_string(axis), "a size that output_shape states");
    }
  } else {
    Window window;
    if (Status status = read_window(c, x.size() - 2, {}, window); !status) return status;
    for (std::size_t axis = 0; axis + 2 < x.size(); ++axis) {
      y[first + axis] =
          (x[first + axis] - 1) * window.strides[axis] + window.kernel[axis] - window.begin[axis] - window.end[axis];
    }
  }
  out.set(0, dtype, y);
  return {};
}

// As torch calls them. ----------------------------------------------------------------------------------------------

/// How many axes a window has, by the operator's name: "max_pool2d".
std::size_t axes_of(const Call& c) {
  const std::size_t at = c.op().find('d', c.op().find("pool"));
  return at == std::string_view::npos || at == 0 ? 0 : static_cast<std::size_t>(c.op()[at - 1] - '0');
}

Status aten_pool(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const std::size_t axes = axes_of(c);
  if (!c.ranked(kX) || x.size() <= axes || axes > 3) return {};
  const auto kernel = each_axis(c.integers("kernel_size"), axes, 0),
             padding = each_axis(c.integers("padding"), axes, 0);
  const auto dilation = each_axis(c.integers("dilation"), axes, 1);
  const auto stride = c.integers("stride").empty() ? kernel : each_axis(c.integers("stride"), axes, 1);
  Shape y = x;
  for (std::size_t i = 0; i < axes; ++i) {
    Dim& size = y[x.size() - axes + i];
    if (kernel[i] <= 0 || stride[i] <= 0) return {};
    const Dim room = size + (2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1);
    if (c.integer("ceil_mode", 0) == 0) {
      if (const auto known = room.constant(); known && *known < 0) return {};  // no window fits: torch says so
      size = floor_div(room, stride[i]) + 1;
      continue;
    }
    const auto whole = size.constant();
    if (!whole) return {};
    Dim windows = ceil_div(room, stride[i]) + 1;  // the last must start inside the input or its left padding
    if (at_least((windows - 1) * stride[i], *whole + padding[i]) == Truth::yes) windows = windows - 1;
    size = windows;
  }
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

Count aten_window(const Call& c) {
  Count window = 1;
  for (const std::int64_t size : each_axis(c.integers("kernel_size"), axes_of(c), 1)) window *= size;
  return window;
}

Status cost_aten_max(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.out_shape()) * (aten_window(c) - 1);
  if (cost[Work::compare].is(0)) cost.moves("a window of one element: moves data only");
  return {};
}

Status cost_aten_average(const Call& c, Cost& cost) {
  cost[Work::add] = numel(c.out_shape()) * (aten_window(c) - 1);
  cost[Work::div] = numel(c.out_shape());
  return {};
}

Status aten_adaptive(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const auto sizes = c.integers("output_size");
  const std::size_t axes = axes_of(c);
  if (!c.ranked(kX) || sizes.size() != axes || x.size() <= axes) return {};
  Shape y = x;
  for (std::size_t i = 0; i < axes; ++i) y[x.size() - axes + i] = sizes[i];
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

/// Windows share edges where the sizes do not divide: from floor(i in/out) to ceil((i + 1) in/out), together in + out -
/// gcd(in, out). Of sizes that are not known, each is floor(in/out) + 2 at most.
Count adaptive_terms(const Call& c, Cost& cost) {
  const Shape &x = c.shape(kX), &y = c.out_shape();
  Count terms = 1;
  for (std::size_t i = 0; i < y.size() && i < x.size(); ++i) {
    const Dim rest = modulo(x[i], y[i]);
    if (rest.is(0) || x[i] == y[i]) {
      terms *= x[i];
      continue;
    }
    const auto in = x[i].constant(), windows = y[i].constant();
    if (in && windows) {
      terms *= *in + *windows - std::gcd(*in, *windows);
      continue;
    }
    terms *= y[i] * (floor_div(x[i], y[i]) + 2);
    cost.trust = Trust::bound;
    cost.because = "windows of different sizes: each is counted as the largest";
  }
  return terms;
}

Status cost_adaptive_average(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::add] = adaptive_terms(c, cost) - y;
  cost[Work::div] = y;
  return {};
}

Status cost_adaptive_max(const Call& c, Cost& cost) {
  cost[Work::compare] = adaptive_terms(c, cost) - numel(c.out_shape());
  if (cost[Work::compare].is(0) && cost.because.empty()) cost.moves("windows of one element: moves data only");
  return {};
}

// Blocked layouts. -------------------------------------------------------------------------------------------------

/// Channels in blocks of 8 or of 16, as the machine has it. The optimiser that writes these operators only does so
/// where the channels are whole blocks.
constexpr std::int64_t kBlock = 8;

Status infer_reorder(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad(std::string(c.op()) + " needs a batch and channels, and has " + text(x));
  const bool last = c.integer("channels_last", 0) != 0;
  Shape y = x;
  if (c.op() == "ReorderInput") {
    if (last) {
      y.pop_back();
      y.insert(1, x.back());
    }
    y[1] = ceil_div(y[1], kBlock) * kBlock;
  } else {
    const std::int64_t channels = c.integer("channels", 0);
    if (channels <= 0) return bad("ReorderOutput: channels must be positive");
    y.erase(1);
    y.insert(last ? y.size() : 1, channels);
  }
  out.set(0, dtype, std::move(y));
  return {};
}

/// Every gradient goes back to all elements of its window, its share first. Windows of adaptive pools cover all of x,
/// or more where they overlap.
Status cost_average_backward(const Call& c, Cost& cost) {
  const Count dy = numel(c.shape(kX));
  cost[Work::div] = dy;
  if (c.op().starts_with("avg_pool")) {
    cost[Work::add] = dy * aten_window(c);
    return {};
  }
  cost[Work::add] = numel(c.out_shape());
  cost.trust = Trust::estimate;
  cost.because = "as if the windows did not overlap";
  return {};
}

/// The result is like slot 1, the input of the operator whose gradient it is.
Status infer_like_x(const Call& c, Outputs& out) {
  out.set(0, c.in(1));
  return {};
}

Status cost_max_backward(const Call& c, Cost& cost) {
  cost[Work::add] = numel(c.shape(0));
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// Each element's goes to where it was taken from; windows may overlap. Torch keeps x for its shape.
Status gradient_max(const Call& c, Gradient& g) {
  fused_activation_gradient(g, c.text("activation", {}), numel(c.out_shape()));
  const Count y = numel(c.out_shape()), places = bytes(DType::i64, y);
  g[Work::add] = y;
  g.keep(kX);
  if (c.wants(1)) {
    g.keep_output(1);
  } else {
    g.keep_bytes(places);
  }
  g.cost.read = bytes(c.out()) + places;
  g.cost.weights = Count(0);
  return {};
}

/// A share of each goes to every element of its window: as many additions as there are products of a window and y.
Status gradient_average(const Call& c, Gradient& g) {
  fused_activation_gradient(g, c.text("activation", {}), numel(c.out_shape()));
  const Count y = numel(c.out_shape());
  g[Work::div] = y;
  g[Work::add] = g.run[Work::add] + y;
  if (!numel(c.out_shape(), c.out_shape().size() < 2 ? 0 : 2).is(1)) g.keep(kX);
  g.cost.read = bytes(c.out());
  g.cost.weights = Count(0);
  g.cost.trust = g.run.trust;
  g.cost.because = g.run.because;
  return {};
}

/// Of the norm p: dy sign(x) |x / y|^(p - 1) for every element of every window, added up; p = 2: dy x / y.
Status gradient_norms(const Call& c, Gradient& g) {
  const Count elements = g.run[Work::add] + numel(c.out_shape());  // of all windows
  const std::int64_t p = c.integer("p", 2);
  g[Work::div] += numel(c.out_shape());
  g[Work::mul] += elements;
  g[Work::add] += elements;
  if (p != 2) {
    g[Work::exp] += elements;
    g[Work::log] += elements;
    estimated(g, "a power of every element");
  }
  g.keep(0);
  g.keep_output();
  return {};
}

Status gradient_unpool(const Call&, Gradient& g) {
  g.keep(1);
  g.cost.moves("moves data only");
  return {};
}

std::vector<Binding> layouts(std::string_view op, std::initializer_list<std::string_view> dialects) {
  std::vector<Binding> names = onnx({op});
  for (const std::string_view dialect : dialects) names.emplace_back().op = Text::joined({dialect, "::", op});
  return names;
}

}  // namespace

std::vector<Rule> pool_family() {
  constexpr std::string_view kNhwc = "com.ms.internal.nhwc", kNchwc = "com.microsoft.nchwc";
  const Text quantised = "x x_scale x_zero y_scale y_zero";
  std::vector<Rule> rules = {
      {"max_pool", "x", "Largest element of each window", "compare = |y| * (|k| - 1), padding counted",
       onnx_page("MaxPool"), infer_pool, cost_max,
       layouts("MaxPool", {kNhwc, kNchwc}) + microsoft({"NhwcMaxPool"}) +
           aten({"max_pool1d", "max_pool2d", "max_pool3d", "quantized::max_pool1d", "quantized::max_pool2d",
                 "quantized_max_pool1d", "quantized_max_pool2d", "quantized_max_pool3d", "mkldnn_max_pool2d",
                 "mkldnn_max_pool3d"},
                aten_pool, {}, {}, cost_aten_max) +
           aten({"max_pool1d_with_indices", "max_pool2d_with_indices", "max_pool3d_with_indices",
                 "fractional_max_pool2d", "fractional_max_pool3d"},
                {}, "x", {}, cost_aten_max),
       nullptr, gradient_max},
      {"masked_max_pool", "x mask", "Largest element of each window where a mask allows it",
       "compare = |y| * (|k| - 1); logic = |x|", contrib_doc("MaxpoolWithMask"), infer_pool, cost_masked_max,
       microsoft({"MaxpoolWithMask"})},
      {"average_pool", "x", "Mean of each window", "add = |y| * (|k| - 1), padding counted; div = |y|",
       onnx_page("AveragePool"), infer_pool, cost_average,
       layouts("AveragePool", {kNhwc, kNchwc}) +
           aten({"avg_pool1d", "avg_pool2d", "avg_pool3d"}, aten_pool, {}, {}, cost_aten_average),
       nullptr, gradient_average},
      {"average_pool_backward",
       "dy x",
       "The gradient of means of windows",
       "div = |dy|; add = |dy| * |k|, of adaptive ones |x|, an estimate",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html",
       {},
       cost_average_backward,
       aten({"avg_pool2d_backward", "avg_pool3d_backward", "_adaptive_avg_pool2d_backward",
             "_adaptive_avg_pool3d_backward"}) +
           aten({"mkldnn_adaptive_avg_pool2d_backward"}, infer_like_x)},
      {"max_pool_backward", "dy x indices", "The gradient of the largest elements of windows, put where they were",
       "add = |dy|", "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html", infer_like_x,
       cost_max_backward,
       aten({"max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward", "adaptive_max_pool2d_backward",
             "adaptive_max_pool3d_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward"},
            infer_like_x) +
           aten({"max_pool2d_backward"}, infer_like_x, "dy x") +
           aten({"mkldnn_max_pool2d_backward", "mkldnn_max_pool3d_backward"}, infer_like_x, "dy y x")},
      {"lp_pool", "x", "Lp norm of each window",
       "add = |y| * (|k| - 1); p = 2: mul = |y|*|k|, sqrt = |y|; p = 1: logic = |y|*|k|; other: logic = |y|*|k| and "
       "log, mul, exp = |y| * (|k| + 1)",
       onnx_page("LpPool"), infer_pool, cost_lp, layouts("LpPool", {kNhwc})},
      {"global_max_pool", "x", "Largest element of each channel", "compare = |x| - |y|", onnx_page("GlobalMaxPool"),
       infer_global_pool, cost_max,
       layouts("GlobalMaxPool", {kNhwc, kNchwc}) +
           aten({"adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"}, {}, {}, {}, cost_adaptive_max),
       nullptr, gradient_max},
      {"global_average_pool", "x", "Mean of each channel", "add = |x| - |y|; div = |y|", onnx_page("GlobalAveragePool"),
       infer_global_pool, cost_average,
       layouts("GlobalAveragePool", {kNhwc, kNchwc}) +
           aten({"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d",
                 "_adaptive_avg_pool3d", "mkldnn_adaptive_avg_pool2d"},
                aten_adaptive, {}, {}, cost_adaptive_average),
       nullptr, gradient_average},
      {"global_lp_pool", "x", "Lp norm of each channel",
       "add = |x| - |y|; p = 2: mul = |x|, sqrt = |y|; p = 1: logic = |x|; other: logic = |x| and log, mul, exp = |x| "
       "+ |y|",
       onnx_page("GlobalLpPool"), infer_global_pool, cost_lp, layouts("GlobalLpPool", {kNhwc})},
      {"quantised_average_pool", quantised, "Mean of each window of quantised elements",
       "add = |y| * (|k| - 1), and |y| for each zero point; mul = convert = |y|; compare = 2|y|",
       contrib_doc("QLinearAveragePool"), infer_pool, cost_quantised_average,
       microsoft({"QLinearAveragePool"}) + std::vector<Binding>{{Text(kNhwc) + "::QLinearAveragePool", {}}}},
      {"quantised_global_average_pool", quantised, "Mean of each channel of quantised elements",
       "add = |x| - |y|, and |y| for each zero point; mul = convert = |y|; compare = 2|y|",
       contrib_doc("QLinearGlobalAveragePool"), infer_global_pool, cost_quantised_average,
       microsoft({"QLinearGlobalAveragePool"})},
      {"max_unpool", "x indices #shape", "Elements put back to where a max pool took them from",
       "none: moves data only", onnx_page("MaxUnpool"), infer_unpool, cost_moves("moves data only"),
       layouts("MaxUnpool", {kNhwc}), nullptr, gradient_unpool},
      {"reorder_channels",
       "x",
       "Channels to blocks of a vector's width, and back",
       "none: moves data only",
       "https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/graph/contrib_ops/nchwc_schema_defs.cc",
       infer_reorder,
       cost_moves("moves data only"),
       {{Text(kNchwc) + "::ReorderInput", {}}, {Text(kNchwc) + "::ReorderOutput", {}}}},
  };
  for (Rule& rule : region_rules()) rules.push_back(std::move(rule));
  const NoGradient codes{"of codes, which are rounded"};
  return with_gradients({{"masked_max_pool", gradient_max},
                         {"average_pool_backward", gradient_like_run},
                         {"max_pool_backward", gradient_moves()},
                         {"lp_pool", gradient_norms},
                         {"global_lp_pool", gradient_norms},
                         {"quantised_average_pool", codes},
                         {"quantised_global_average_pool", codes},
                         {"reorder_channels", gradient_moves()}},
                        std::move(rules));
}

}  // namespace macsim::rules
