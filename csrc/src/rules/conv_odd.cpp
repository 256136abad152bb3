// The odd convolutions: deformable, causal with a carried state, words, and the moves around them (col2im, unfold).
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "aten.hpp"
#include "conv.hpp"
#include "families.hpp"
#include "rules/gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

// Deformable -----------------------------------------------------------------------------------------------------

namespace deform {
enum : std::size_t { kX, kW, kOffset, kB, kMask };
}

Status infer_deform(const Call& c, Outputs& out) {
  const Shape& x = c.shape(deform::kX);
  const Shape& w = c.shape(deform::kW);
  const Shape& offset = c.shape(deform::kOffset);
  Shape y{x[0], w[0]};
  if (c.ranked(deform::kX) && c.ranked(deform::kW)) {
    if (x.size() < 3 || w.size() != x.size()) {
      return bad("a deformable convolution needs weights of the input's rank; the shapes are " + text(x) + " and " +
                 text(w));
    }
    const std::size_t spatial = x.size() - 2;
    Window window;
    if (Status s = read_window(c, spatial, Shape(w.begin() + 2, w.end()), window); !s) return s;
    for (std::size_t i = 0; i < spatial; ++i)
      y.push_back(better_known(windowed(c, x[i + 2], window, i), offset[i + 2]));
  }
  out.set(0, c.dtype(deform::kX), y);
  return {};
}

/// As torch calls it: strides, padding and dilations by axis.
Status torch_deform(const Call& c, Outputs& out) {
  const Shape &x = c.shape(deform::kX), &w = c.shape(deform::kW);
  if (x.size() != 4 || w.size() != 4) return {};
  constexpr std::string_view kStride[] = {"stride_h", "stride_w"}, kPad[] = {"pad_h", "pad_w"},
                             kDilation[] = {"dilation_h", "dilation_w"};
  Shape y{x[0], w[0]};
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t stride = c.integer(kStride[i], 1);
    if (stride <= 0) return {};
    const Dim extent = c.integer(kDilation[i], 1) * (w[i + 2] - 1) + 1;
    y.push_back(floor_div(x[i + 2] + 2 * c.integer(kPad[i], 0) - extent, stride) + 1);
  }
  out.set(0, c.dtype(deform::kX), std::move(y));
  return {};
}

Status cost_deform(const Call& c, Cost& cost) {
  const Shape& x = c.shape(deform::kX);
  const Shape& y = c.out_shape();
  const std::size_t axes = x.size() < 3 ? 0 : x.size() - 2;
  const std::int64_t corners = std::int64_t{1} << std::min<std::size_t>(axes, 30);
  cost[Work::mac] = numel(y) * numel(c.shape(deform::kW), 1);
  if (c.has(deform::kB)) cost[Work::add] += numel(y);
  // Where to sample: one place for each offset group, tap and output position, with an offset along each axis.
  const Count taps = numel(c.shape(deform::kW), 2) * numel(y, 2) * x[0];
  const Count places = taps * c.integer("offset_group", 1);
  const auto n = static_cast<std::int64_t>(axes);
  cost[Work::add] += 3 * n * places;  // position, fraction, its complement
  cost[Work::convert] += n * places;
  cost[Work::mul] += corners * (n - 1) * places;
  // Linear interpolation in every channel between the corners around the place.
  const Count samples = taps * x[1];
  cost[Work::mul] += corners * samples;
  cost[Work::add] += (corners - 1) * samples;
  if (c.has(deform::kMask) && c.integer("use_mask", 1) != 0) cost[Work::mul] += samples;
  return {};
}

// Col2Im and UnfoldTensor ----------------------------------------------------------------------------------------

namespace col2im {
enum : std::size_t { kX, kImage, kBlock };
}

Status infer_col2im(const Call& c, Outputs& out) {
  const Shape& x = c.shape(col2im::kX);
  if (c.ranked(col2im::kX) && x.size() != 3) return bad("Col2Im needs [N, C * block, L]; the shape is " + text(x));
  const auto image = c.ints(col2im::kImage);
  const auto block = c.ints(col2im::kBlock);
  std::optional<std::int64_t> axes;
  if (image) {
    axes = static_cast<std::int64_t>(image->size());
  } else if (c.ranked(col2im::kImage)) {
    axes = c.shape(col2im::kImage)[0].constant();
  }
  if (!axes || *axes < 0 || *axes > 64) {
    out.unranked(0, c.dtype(col2im::kX));
    return {};
  }
  Dim taps = block ? Dim(1) : Dim::undefined();
  for (std::size_t i = 0; block && i < block->size(); ++i) taps *= (*block)[i];
  Shape y{x[0], quotient(c, x[1], taps)};
  for (std::size_t i = 0; i < static_cast<std::size_t>(*axes); ++i) {
    Dim size = image ? (*image)[i] : Dim::undefined();
    y.push_back(size.defined() ? size : out.symbol("image" + std::to_string(i), "size of an axis of the image"));
  }
  out.set(0, c.dtype(col2im::kX), y);
  return {};
}

Status cost_col2im(const Call& c, Cost& cost) {
  cost[Work::add] = numel(c.shape(col2im::kX));
  return {};
}

Status infer_unfold(const Call& c, Outputs& out) {
  Shape y = c.shape(0);
  if (c.ranked(0)) {
    const auto axis = axis_in(c.integer("dim", -1), y.size());
    const std::int64_t size = c.integer("size", 1), step = c.integer("step", 1);
    if (!axis || step < 1) return bad("dim or step does not fit the shape " + text(y));
    y[*axis] = at_least_zero(c, floor_div(y[*axis] - size, step) + 1);
    y.push_back(size);
  }
  out.set(0, c.dtype(0), y);
  return {};
}

// Causal depthwise convolution with a carried state ---------------------------------------------------------------

namespace causal {
enum : std::size_t { kX, kW, kB, kPast };
}

/// The state's shape: the last inputs that the next call will need, along the causal axis.
Shape carried(const Call& c, const Shape& x, bool is_last) {
  const Shape& w = c.shape(causal::kW);
  Dim length = (w.back() - 1) * c.integer("dilation", 1);
  if (const std::int64_t stated = c.integer("state_length", 0); stated > 0) length = stated;
  Shape state = x;
  if (state.size() < 3) return state;
  const std::int64_t layout = c.integer("state_channels_last", -1);
  if (c.integer("input_channels", 0) > 0 && is_last) state.back() = w[0];
  if (is_last) {
    state[1] = length;
    if (layout == 0) std::swap(state[1], state.back());
  } else {
    state.back() = length;
    if (layout == 1) std::swap(state[1], state.back());
  }
  if (const std::int64_t window = c.integer("state_window", 0); window > 0) state.insert(0, window);
  return state;
}

Status infer_causal(const Call& c, Outputs& out) {
  const Shape& x = c.shape(causal::kX);
  if (c.ranked(causal::kX) && x.size() < 3) {
    return bad("a causal convolution needs a batch, channels and a length; the shape is " + text(x));
  }
  const bool is_last = channels_last(c);
  Shape y = x;
  if (const std::int64_t kept = c.integer("input_channels", 0); kept > 0 && is_last && !y.empty()) y.back() = kept;
  const Dim& channels = c.shape(causal::kW)[0];
  out.set(0, c.dtype(causal::kX), y);
  out.set(1, c.dtype(causal::kX), carried(c, x, is_last));
  out.set(2, c.dtype(causal::kX), Shape{x[0], c.integer("state_update_capacity", 0), channels});
  return {};
}

Status cost_causal(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  cost[Work::mac] = y * numel(c.shape(causal::kW), 1);
  if (c.has(causal::kB)) cost[Work::add] += y;
  work::fused_activation(cost, c.text("activation", "none"), y);
  return {};
}

namespace varlen {
enum : std::size_t { kX, kW, kLengths, kB, kState, kCount, kDelta, kMask };
}

Status infer_varlen(const Call& c, Outputs& out) {
  const Shape& x = c.shape(varlen::kX);
  const Shape& state = c.shape(varlen::kState);
  out.set(0, c.dtype(varlen::kX), x);
  out.set(1, c.dtype(varlen::kState), state);
  out.set(2, c.dtype(varlen::kX), Shape{state[0], c.integer("state_update_capacity", 0), better_known(x[1], state[1])});
  return {};
}

Status cost_varlen(const Call& c, Cost& cost) {
  const Count y = numel(c.out_shape());
  const Count macs = y * c.shape(varlen::kW).back();
  cost[Work::mac] = macs;
  if (c.has(varlen::kDelta)) cost[Work::add] += macs;  // every coefficient has its own correction
  if (c.has(varlen::kMask)) cost[Work::mul] += y;
  if (c.has(varlen::kB)) cost[Work::add] += y;
  work::fused_activation(cost, c.text("activation", "none"), y);
  return {};
}

Status infer_replay(const Call& c, Outputs& out) {
  out.set(0, c.in(2));
  return {};
}

/// Batch, channels and width of the history are told by a vector of eight numbers.
Status cost_conv_replay(const Call& c, Cost& cost) {
  cost.moves("moves data only");
  if (const auto told = c.ints(3); told && told->size() == 8) {
    const Count moved = bytes(c.dtype(0), (*told)[3] * (*told)[4] * (*told)[5]);
    cost.read = cost.written = moved;
    cost.weights = Count(0);
  } else {
    cost.trust = Trust::bound;
    cost.because = "moves data only; at most all of it, how much is told at run time";
  }
  return {};
}

// Gradients ------------------------------------------------------------------------------------------------------

/// The samples are made again. Those of w: dy with the samples; those of the samples: dy with the weights, from where
/// they go to the pixels around each place, to the place along each axis, and to the mask.
Status gradient_deform(const Call& c, Gradient& g) {
  const Shape &x = c.shape(deform::kX), &y = c.out_shape();
  const std::size_t axes = x.size() < 3 ? 0 : x.size() - 2;
  const auto n = static_cast<std::int64_t>(axes);
  const std::int64_t corners = std::int64_t{1} << std::min<std::size_t>(axes, 30);
  const Count taps = numel(c.shape(deform::kW), 2) * numel(y, 2) * x[0], samples = taps * x[1];
  const bool moved = g.needs(deform::kOffset), masked = g.needs(deform::kMask);
  for (std::size_t w = 1; w < kWorks; ++w) g.again.work[w] += g.run.work[w];
  if (c.has(deform::kB)) g.again[Work::add] -= numel(y);
  if (g.needs(deform::kW)) g[Work::mac] += g.run[Work::mac];
  if (g.needs(deform::kX) || moved || masked) g[Work::mac] += g.run[Work::mac];
  if (g.needs(deform::kX)) {
    g[Work::mul] += corners * samples;
    g[Work::add] += corners * samples;
  }
  if (moved) {  // along each axis what the corners say, times dy
    g[Work::mul] += n * (corners + 1) * samples;
    g[Work::add] += n * corners * samples;
  }
  const bool weighed = c.has(deform::kMask) && c.integer("use_mask", 1) != 0;
  if (weighed && (g.needs(deform::kX) || moved)) g[Work::mul] += samples;  // by the mask, as they were
  if (masked) {
    g[Work::mul] += samples;
    g[Work::add] += samples;
  }
  if (g.needs(deform::kB)) add_spread(g, y, c.shape(deform::kB));
  for (const std::size_t slot : {deform::kX, deform::kW, deform::kOffset, deform::kMask}) g.keep(slot);
  return {};
}

/// Every element of a slice adds to where it was taken from.
Status gradient_unfold(const Call& c, Gradient& g) {
  g[Work::add] = numel(c.out_shape());
  return {};
}

/// The last inputs are those of another run; its activation goes first.
Status gradient_causal(const Call& c, Gradient& g) {
  g.none(causal::kPast);
  fused_activation_gradient(g, c.text("activation", "none"), numel(c.out_shape()));
  return gradient_product(causal::kX, causal::kW, causal::kB)(c, g);
}

// Words ----------------------------------------------------------------------------------------------------------

namespace words {
enum : std::size_t { kSequence, kW, kB, kTable };
}

Status infer_words(const Call& c, Outputs& out) {
  Shape y = c.shape(words::kSequence);
  if (!y.empty()) y.back() = c.shape(words::kW)[0];
  out.set(0, c.dtype(words::kW), y);
  return {};
}

Status cost_words(const Call& c, Cost& cost) {
  const Shape& letters = c.shape(words::kSequence);  // [words..., letters of the longest]
  const Shape& w = c.shape(words::kW);               // [filters, 1, width, size of a letter's vector]
  const Count places = at_least_zero(c, letters.back() - w[2] + 1);
  const Count hits = numel(c.out_shape()) * places;
  cost[Work::mac] = hits * numel(w, 1);
  cost[Work::add] = hits;
  cost[Work::exp] = hits;
  if (!places.is(0)) cost[Work::compare] = hits - numel(c.out_shape());
  const Count looked_up = numel(letters) * c.shape(words::kTable).back();
  work::Reads(c).all(words::kSequence).all(words::kW).all(words::kB).part(words::kTable, looked_up).into(cost);
  cost.compute = c.dtype(words::kW);
  cost.lhs = c.dtype(words::kTable);
  cost.rhs = c.dtype(words::kW);
  cost.trust = Trust::bound;
  cost.because = "words may be shorter than the longest";
  return {};
}

std::vector<Rule> state_rules() {
  return {
      {"causal_conv", "x w b past", "Causal depthwise convolution that carries the last inputs on",
       "mac = |y| * |w[1:]|; add = |y| with a bias; the activation on |y|",
       "https://onnx.ai/onnx/operators/onnx__CausalConvWithState.html", infer_causal, cost_causal,
       onnx({"CausalConvWithState"}) + microsoft({"CausalConvWithState"})},
      {"varlen_causal_conv", "x w #lengths b state #count delta mask",
       "The same over packed sequences of different lengths",
       "mac = |y| * k; add = |y| with a bias, |y| * k with corrections of the weights; mul = |y| with a mask; the "
       "activation on |y|",
       contrib_doc("VarlenCausalConvWithState"), infer_varlen, cost_varlen, microsoft({"VarlenCausalConvWithState"})},
      {"conv_state_replay", "source capture destination #told",
       "Convolution history after a part of the captured inputs", "moves data only", contrib_doc("ConvStateReplay"),
       infer_replay, cost_conv_replay, microsoft({"ConvStateReplay"})},
  };
}

/// As of a network, whose data are the letters' vectors.
Status gradient_words(const Call& c, Gradient& g) {
  if (Status status = gradient_of_network(c, g); !status) return status;
  g[Work::mac] = ((g.needs(words::kW) ? 1 : 0) + (g.needs(words::kTable) ? 1 : 0)) * g.run[Work::mac];
  return {};
}

}  // namespace

std::vector<Rule> odd_conv_rules() {
  const Gradients gradients = {{"conv_deformable", gradient_deform}, {"col2im", gradient_moves()},
                               {"unfold", gradient_unfold},          {"word_conv_embedding", gradient_words},
                               {"causal_conv", gradient_causal},     {"varlen_causal_conv", gradient_of_network}};
  return with_gradients(
      gradients,
      joined(
          std::vector<Rule>{
              {"conv_deformable", "x w offset b mask", "Convolution that samples at places moved by offsets",
               "mac = |y| * |w[1:]|; d axes, P = N * offset_group * taps * positions, S = N * C * taps * positions: "
               "add = 3 d P + (2^d - 1) S; mul = 2^d (d - 1) P + 2^d S, S more with a mask; convert = d P; add = |y| "
               "with "
               "a "
               "bias",
               "https://onnx.ai/onnx/operators/onnx__DeformConv.html", infer_deform, cost_deform,
               onnx({"DeformConv"}) + aten({"torchvision::deform_conv2d"}, torch_deform, "x w offset mask b",
                                           "offset_groups=offset_group")},
              {"col2im", "x #image #block", "Columns of blocks added up into an image", "add = |x|",
               "https://onnx.ai/onnx/operators/onnx__Col2Im.html", infer_col2im, cost_col2im, onnx({"Col2Im"})},
              {"unfold", "x", "All slices of a size along an axis, on a new last axis", "moves data only",
               contrib_doc("UnfoldTensor"), infer_unfold, cost_moves("moves data only"), microsoft({"UnfoldTensor"})},
              {"word_conv_embedding", "sequence w b table",
               "Letters looked up, convolved, and pooled to a vector for each word",
               "P positions of the window in the longest word: mac = |y| * P * |w[1:]|; add and exp = |y| * P; compare "
               "= "
               "|y| "
               "(P - 1)",
               contrib_doc("WordConvEmbedding"), infer_words, cost_words, microsoft({"WordConvEmbedding"})}},
          state_rules()));
}

}  // namespace macsim::rules
