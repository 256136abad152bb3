// Quantisation: to and from elements of few bits, and look-ups in quantised tables; more in a file of its own.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <string>

#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/quant.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

enum : std::size_t { kX, kScale, kZero };

// To few bits. -----------------------------------------------------------------------------------------------------

DType quantised_dtype(const Call& c) {
  if (c.has(kZero)) return c.dtype(kZero);
  const DType stated = dtype_from_onnx(c.integer("output_dtype", 0));
  return stated != DType::unknown ? stated : DType::u8;
}

/// The least and greatest value of an integer type of up to 16 bits.
std::optional<std::pair<std::int64_t, std::int64_t>> range_of(DType dtype) {
  const int bits = bits_of(dtype);
  if (!is_integer(dtype) || bits > 16) return std::nullopt;
  const bool is_signed = name_of(dtype).front() == 'i';
  const std::int64_t size = std::int64_t{1} << bits;
  return is_signed ? std::pair(-size / 2, size / 2 - 1) : std::pair(std::int64_t{0}, size - 1);
}

/// The one scale and zero point of a whole tensor, when they are known.
struct Linear {
  Scalar scale, zero;
};
std::optional<Linear> linear(const Call& c) {
  const Contents* scale = elements_of(c, kScale);
  if (scale == nullptr || scale->items.size() != 1) return std::nullopt;
  if (!c.has(kZero)) return Linear{scale->items.front(), Scalar::integer(0)};
  const Contents* zero = elements_of(c, kZero);
  if (zero == nullptr || zero->items.size() != 1) return std::nullopt;
  return Linear{scale->items.front(), zero->items.front()};
}

Status infer_quantize(const Call& c, Outputs& out) {
  const DType dtype = quantised_dtype(c);
  out.set(0, Type{dtype, Kind::tensor, c.ranked(kX), c.in(kX).shape, {}});
  const Contents* known = c.ranked(kX) && c.role(kX) != Role::weight ? elements_of(c, kX) : nullptr;
  const auto range = range_of(dtype);
  const auto by = known != nullptr && range ? linear(c) : std::nullopt;
  if (!by) return {};
  Contents quantised;
  for (const Scalar& item : known->items) {
    const Scalar rounded = Scalar::integer(held(c.dtype(kX), item / by->scale).rounded()) + by->zero;
    quantised.items.push_back(
        Scalar::min(Scalar::max(rounded, Scalar::integer(range->first)), Scalar::integer(range->second)));
  }
  out.know(0, std::move(quantised));
  return {};
}

/// saturate(round(x / scale) + zero).
Status cost_quantize(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  cost[Work::div] = n;
  cost[Work::convert] = n;
  if (c.has(kZero) && is_integer(c.dtype(kZero))) cost[Work::add] = n;
  if (is_integer(c.out().dtype) || c.integer("saturate", 1) != 0) cost[Work::compare] = 2 * n;
  return {};
}

// Back. ------------------------------------------------------------------------------------------------------------

DType real_dtype(const Call& c) {
  const DType stated = dtype_from_onnx(c.integer("output_dtype", 0));
  return stated != DType::unknown ? stated : c.dtype(kScale);
}

Status infer_dequantize(const Call& c, Outputs& out) {
  out.set(0, Type{real_dtype(c), Kind::tensor, c.ranked(kX), c.in(kX).shape, {}});
  const Contents* known = c.ranked(kX) && c.role(kX) != Role::weight ? elements_of(c, kX) : nullptr;
  const auto by = known != nullptr ? linear(c) : std::nullopt;
  if (!by) return {};
  Contents real;
  for (const Scalar& item : known->items) real.items.push_back(held(c.dtype(kScale), (item - by->zero) * by->scale));
  out.know(0, std::move(real));
  return {};
}

Status cost_dequantize(const Call& c, Cost& cost) {
  work::dequantize(cost, numel(c.out_shape()), c.has(kZero) && is_integer(c.dtype(kZero)));
  cost.compute = c.out().dtype;
  return {};
}

// Dynamic. ---------------------------------------------------------------------------------------------------------

Status infer_dynamic(const Call& c, Outputs& out) {
  out.set(0, Type{DType::u8, Kind::tensor, c.ranked(kX), c.in(kX).shape, {}});
  out.set(1, DType::f32, {});
  out.set(2, DType::u8, {});
  return {};
}

Status cost_dynamic(const Call& c, Cost& cost) {
  work::dynamic_quantize(cost, numel(c.shape(kX)));
  return {};
}

// Block floating point. --------------------------------------------------------------------------------------------

Status infer_to_blocks(const Call& c, Outputs& out) {
  out.set(0, DType::u8, Shape{out.symbol("bytes", "bytes of the encoded tensor")});
  const Dim rank = c.ranked(kX) ? Dim(c.shape(kX).size()) : Dim::undefined();
  out.set(1, DType::i64, Shape{rank});
  out.set(2, DType::i64, Shape{rank});
  return {};
}

/// The largest exponent of each block; a shift and a rounding of each element.
Status cost_to_blocks(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  cost[Work::compare] = n;
  cost[Work::logic] = n;
  cost[Work::convert] = n;
  cost.trust = Trust::estimate;
  cost.because = "the encoding is the kernel's own";
  return {};
}

Status infer_from_blocks(const Call& c, Outputs& out) {
  enum : std::size_t { kShape = 1 };
  const DType dtype = dtype_from_onnx(c.integer("dtype", 1));
  auto sizes = c.ints(kShape);
  if (!sizes) {
    const auto rank = c.in(kShape).shape[0].constant();
    if (!rank || *rank < 0 || *rank > 64) {
      out.unranked(0, dtype);
      return {};
    }
    sizes.emplace(static_cast<std::size_t>(*rank), Dim::undefined());
  }
  Shape shape;
  for (std::size_t i = 0; i < sizes->size(); ++i) {
    const Dim& size = (*sizes)[i];
    shape.push_back(size.defined() ? size : out.symbol("axis" + std::to_string(i), "a size from data"));
  }
  out.set(0, dtype, std::move(shape));
  return {};
}

Status cost_from_blocks(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  cost[Work::logic] = n;
  cost[Work::convert] = n;
  cost.compute = c.out().dtype;
  cost.trust = Trust::estimate;
  cost.because = "the encoding is the kernel's own";
  return {};
}

// Tiled layouts. ---------------------------------------------------------------------------------------------------

Status infer_ordered(const Call& c, Outputs& out) {
  const DType dtype = c.op() == "QuantizeWithOrder" ? DType::i8 : dtype_from_onnx(c.integer("to", 1));
  out.set(0, Type{dtype, Kind::tensor, c.ranked(kX), c.in(kX).shape, {}});
  return {};
}

Status cost_to_order(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  cost[Work::div] = n;
  cost[Work::convert] = n;
  cost[Work::compare] = 2 * n;
  return {};
}

Status cost_from_order(const Call& c, Cost& cost) {
  work::dequantize(cost, numel(c.shape(kX)), false);
  cost.compute = c.out().dtype;
  return {};
}

// Tables. ----------------------------------------------------------------------------------------------------------

enum : std::size_t { kIndices = 1, kScales, kZeros };

/// Bits of an element of a table: bytes may hold several.
std::int64_t table_bits(const Call& c) {
  return c.dtype(kX) == DType::u8 ? c.integer("bits", 4) : bits_of(c.dtype(kX));
}

Status infer_gather_blocks(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kScales);
  out.unranked(0, dtype);
  if (!c.ranked(kX) || !c.ranked(kIndices)) return {};
  Shape x = c.shape(kX);
  const auto axis = axis_in(c.integer("gather_axis", 0), x.size());
  if (!axis) return bad("GatherBlockQuantized: gather_axis does not fit the shape " + text(x));
  const std::int64_t bits = table_bits(c);
  if (c.dtype(kX) == DType::u8 && bits > 0) x.back() *= std::max<std::int64_t>(8 / bits, 1);
  Shape shape(x.begin(), x.begin() + *axis);
  shape.append(c.shape(kIndices).begin(), c.shape(kIndices).end());
  shape.append(x.begin() + *axis + 1, x.end());
  out.set(0, dtype, std::move(shape));
  return {};
}

Status cost_gather_blocks(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  const Shape& x = c.shape(kX);
  const auto axis = axis_in(c.integer("quantize_axis", 1), x.size());
  if (!axis) return bad("GatherBlockQuantized: quantize_axis does not fit the shape " + text(x));
  const std::int64_t bits = table_bits(c);
  const bool packed = c.dtype(kX) == DType::u8;
  const std::int64_t in_a_byte = packed && bits > 0 ? std::max<std::int64_t>(8 / bits, 1) : 1;
  const std::int64_t block = c.integer("block_size", 128);
  const Dim row = x[*axis] * (packed && *axis + 1 == x.size() ? in_a_byte : 1);
  const Count blocks = block > 0 ? ceil_div(n, block) : quotient(c, n, row);
  work::dequantize(cost, n, packed || is_integer(c.dtype(kX)));
  cost.compute = c.dtype(kScales);
  work::Reads reads(c);
  reads.part(kX, ceil_div(n, in_a_byte)).all(kIndices).part(kScales, blocks).part(kZeros, ceil_div(blocks, in_a_byte));
  reads.into(cost);
  return {};
}

Status infer_gather_packed(const Call& c, Outputs& out) {
  const DType dtype = dtype_from_onnx(c.integer("output_dtype", 1));
  out.unranked(0, dtype);
  if (!c.ranked(kIndices)) return {};
  const std::int64_t width = c.integer("K", 0);
  if (width <= 0) return bad("GatherPacked: K must be positive");
  Shape shape = c.shape(kIndices);
  shape.push_back(width);
  out.set(0, dtype, std::move(shape));
  return {};
}

Status cost_gather_packed(const Call& c, Cost& cost) {
  work::dequantize(cost, numel(c.out_shape()), false);
  cost.compute = c.out().dtype;
  work::Reads reads(c);
  reads.part(kX, numel(c.shape(kIndices)) * c.shape(kX).back()).all(kIndices);
  reads.into(cost);
  cost.trust = Trust::estimate;
  cost.because = "the packed formats differ in what an element takes";
  return {};
}

// As torch calls them: scales and zero points are numbers of the call, or tensors. -----------------------------------

Status aten_quantized(const Call& c, Outputs& out) {
  const DType stated = dtype_named(c.text("dtype", ""));
  if (!c.ranked(kX) || stated == DType::unknown) return {};
  out.set(0, stated, c.shape(kX));
  return {};
}

Status aten_dequantized(const Call& c, Outputs& out) {
  if (c.inputs() != 1) return {};
  out.set(0, DType::f32, c.shape(kX));
  return {};
}

/// Rows of a quantised table, each row with a scale and a zero point.
Status torch_embedded(const Call& c, Outputs& out) {
  if (!c.ranked(kX) || !c.ranked(kIndices) || c.shape(kX).size() != 2) return {};
  Shape y = c.shape(kIndices);
  y.push_back(c.shape(kX)[1]);
  out.set(0, DType::f32, std::move(y));
  return {};
}

Status cost_torch_embedded(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape()), rows = numel(c.shape(kIndices));
  work::dequantize(cost, n, true);
  cost.compute = DType::f32;
  work::Reads reads(c);
  reads.part(kX, n).all(kIndices).part(kScales, rows).part(kZeros, rows);
  reads.into(cost);
  return {};
}

Status cost_aten_quantize(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  cost[Work::div] = n;
  cost[Work::convert] = n;
  cost[Work::add] = n;
  cost[Work::compare] = 2 * n;
  return {};
}

Status cost_aten_dequantize(const Call& c, Cost& cost) {
  work::dequantize(cost, numel(c.shape(kX)), true);
  cost.compute = c.out().dtype;
  return {};
}

/// There and back; the second result says where nothing was cut off.
Status aten_fake(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kX), c.shape(kX));
  out.set(1, DType::boolean, c.shape(kX));
  return {};
}

Status cost_fake(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX));
  cost[Work::div] = n;
  cost[Work::convert] = n;
  cost[Work::compare] = 2 * n;
  cost[Work::add] = 2 * n;
  cost[Work::mul] = n;
  return {};
}

/// Runs of the observer and of the quantisation are told apart by data: as if both did.
Status cost_observed(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const auto axis = axis_in(c.integer("ch_axis", 0), x.size());
  const bool rows = c.integer("per_row_fake_quant", 0) != 0 && axis;
  const Count channels = rows ? Count(x[*axis]) : Count(1);
  if (Status status = cost_fake(c, cost); !status) return status;
  cost[Work::compare] += 2 * (numel(x) - channels) + 2 * channels;
  cost[Work::add] += 6 * channels;
  cost[Work::mul] += 2 * channels;
  cost[Work::div] += 2 * channels;
  cost[Work::convert] += channels;
  cost.trust = Trust::bound;
  cost.because = "as if both the observer and the quantisation were on, which is data";
  return {};
}

Status gradient_observed(const Call& c, Gradient& g) {
  g[Work::mul] = numel(c.shape(kX));
  g.keep_output(1);
  return {};
}

/// Straight through where nothing was cut off, 0 elsewhere: a mask of a byte an element is kept. A scale that is
/// learned sums its share of every element, (q - x / scale) dy or a bound's code times dy; a zero point -scale dy where
/// it was cut off: S. K. Esser et al., Learned Step Size Quantization (2020).
Status gradient_fake(const Call& c, Gradient& g) {
  const Count n = numel(c.shape(kX));
  if (g.needs_at(0)) g[Work::mul] += n;
  const bool scale = g.needs_at(1), zero = g.needs_at(2);
  if (scale) add_each(g.cost, {{Work::div, 1}, {Work::convert, 1}, {Work::add, 2}, {Work::mul, 1}}, n);
  if (zero) add_each(g.cost, {{Work::mul, 1}, {Work::add, 1}}, n);
  for (std::size_t i = 3; i < c.inputs(); ++i) g.none_at(i);
  if (scale) g.keep_at(0);
  g.keep_bytes(bytes(DType::boolean, n));
  return {};
}

/// The range of a tensor or of each of its rows, and from it a scale and a zero point.
Status cost_range(const Call& c, Cost& cost) {
  const Count n = numel(c.shape(kX)), scales = numel(c.out_shape());
  if (c.op() == "choose_qparams_symmetric" || c.op() == "choose_qparams_per_token") {
    cost[Work::logic] = n;
    cost[Work::compare] = n;  // the largest magnitude of each row, which is no less than a least one
    cost[Work::div] = scales;
    return {};
  }
  cost[Work::compare] = 2 * n + 2 * scales;
  cost[Work::add] = 2 * scales;
  cost[Work::div] = 2 * scales;
  cost[Work::convert] = scales;
  return {};
}

}  // namespace

std::vector<Rule> quant_family() {
  const Text back = "convert = mul = |y|; add = |y| with a zero point";
  std::vector<Rule> rules = {
      {"quantize", "x scale zero", "saturate(round(x / scale) + zero)",
       "div = convert = |y|; compare = 2|y|; add = |y| with a zero point that is an integer",
       onnx_page("QuantizeLinear"), infer_quantize, cost_quantize,
       onnx({"QuantizeLinear"}) + microsoft({"QuantizeLinear"}) +
           aten({"quantize_per_tensor", "quantize_per_channel"}, aten_quantized, "x", {}, cost_aten_quantize) +
           aten({"quantized_decomposed::quantize_per_tensor", "quantized_decomposed::quantize_per_channel",
                 "quantized_decomposed::quantize_per_channel_group", "quantized_decomposed::quantize_per_token"},
                {}, "x", {}, cost_aten_quantize)},
      {"dequantize", "x scale zero", "(x - zero) * scale", back, onnx_page("DequantizeLinear"), infer_dequantize,
       cost_dequantize,
       onnx({"DequantizeLinear"}) + microsoft({"DequantizeLinear"}) +
           aten({"dequantize"}, aten_dequantized, "x", {}, cost_aten_dequantize) +
           aten({"quantized_decomposed::dequantize_per_tensor", "quantized_decomposed::dequantize_per_channel",
                 "quantized_decomposed::dequantize_per_channel_group", "quantized_decomposed::dequantize_per_token"},
                {}, "x", {}, cost_aten_dequantize)},
      {"observed_fake_quantize",
       "x",
       "Range of a tensor followed by a running mean, and quantised by it and back",
       "compare = 2(|x| - 1) for the range, of r channels 2(|x| - r); of each channel its means add 4, mul 2, and "
       "scale "
       "add 2, div 2, compare 2, convert 1; div = convert = mul = |x|; add = compare = 2|x|",
       "https://docs.pytorch.org/docs/stable/generated/"
       "torch.ao.quantization.fake_quantize.FusedMovingAvgObsFakeQuantize.html",
       {},
       cost_observed,
       aten({"_fused_moving_avg_obs_fq_helper"}),
       nullptr,
       gradient_observed},
      {"fake_quantize", "x", "Quantised and back, as floats", "div = convert = mul = |x|; add = compare = 2|x|",
       "https://docs.pytorch.org/docs/stable/generated/torch.fake_quantize_per_tensor_affine.html", aten_fake,
       cost_fake,
       aten({"fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine",
             "fake_quantize_per_tensor_affine_cachemask", "fake_quantize_per_channel_affine_cachemask",
             "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams", "_fake_quantize_learnable_per_tensor_affine",
             "_fake_quantize_learnable_per_channel_affine"},
            aten_fake) +
           aten({"quantized_decomposed::fake_quant_per_channel"}, aten_fake)},
      {"quantization_range",
       "x",
       "Scales and zero points for the range of a tensor",
       "s scales: compare = 2|x| + 2s; add = div = 2s; convert = s; symmetric, without zero points: logic = compare = "
       "|x|, div = s",
       "https://docs.pytorch.org/docs/stable/quantization.html",
       {},
       cost_range,
       aten({"quantized_decomposed::choose_qparams", "quantized_decomposed::choose_qparams_symmetric",
             "quantized_decomposed::choose_qparams_per_token",
             "quantized_decomposed::choose_qparams_per_token_asymmetric"})},
      {"dynamic_quantize", "x", "Quantisation over the range that a tensor has",
       "compare = 4|x| + 2; div = |x| + 2; add = |x| + 2; convert = |x| + 1", onnx_page("DynamicQuantizeLinear"),
       infer_dynamic, cost_dynamic,
       onnx({"DynamicQuantizeLinear"}) + aten({"quantize_per_tensor_dynamic"}, aten_quantized)},
      {"to_block_floats", "x", "Numbers that share their exponents in blocks",
       "compare = logic = convert = |x|, an estimate", contrib_doc("QuantizeBFP"), infer_to_blocks, cost_to_blocks,
       microsoft({"QuantizeBFP"})},
      {"from_block_floats", "x #shape #strides", "Numbers that shared their exponents in blocks",
       "logic = convert = |y|, an estimate", contrib_doc("DequantizeBFP"), infer_from_blocks, cost_from_blocks,
       microsoft({"DequantizeBFP"})},
      {"to_order", "x scale", "Quantisation to a tiled layout", "div = convert = |x|; compare = 2|x|",
       contrib_doc("QuantizeWithOrder"), infer_ordered, cost_to_order, microsoft({"QuantizeWithOrder"})},
      {"from_order", "x scale", "Dequantisation from a tiled layout", "mul = convert = |x|",
       contrib_doc("DequantizeWithOrder"), infer_ordered, cost_from_order, microsoft({"DequantizeWithOrder"})},
      {"gather_block_quantised", "table indices scales zeros", "Rows of a quantised table, dequantised",
       "convert = mul = |y|; add = |y| for integers", contrib_doc("GatherBlockQuantized"), infer_gather_blocks,
       cost_gather_blocks,
       microsoft({"GatherBlockQuantized"}) + aten({"quantized::embedding_byte", "quantized::embedding_4bit"},
                                                  torch_embedded, "table scales zeros indices", {},
                                                  cost_torch_embedded)},
      {"gather_packed", "table indices", "Rows of a packed table, dequantised", "convert = mul = |y|, an estimate",
       contrib_doc("GatherPacked"), infer_gather_packed, cost_gather_packed, microsoft({"GatherPacked"})},
  };
  for (Rule& rule : quantised_elementwise_rules()) rules.push_back(std::move(rule));
  rules = with_gradients({{"fake_quantize", gradient_fake}},
                         without_gradients("rounded to codes, or made of them", std::move(rules)));
  return with(Access::dequantize, {"dequantize"},
              with(Access::pointwise,
                   {"quantize", "fake_quantize", "quantised_add", "quantised_mul", "quantised_sigmoid",
                    "quantised_leaky_relu", "quantised_gelu", "quantised_where"},
                   std::move(rules)));
}

}  // namespace macsim::rules
