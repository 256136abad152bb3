// Positions in attention: rotary embeddings and relative biases.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "attention.hpp"
#include "families.hpp"
#include "gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

// RotaryEmbedding, MRotaryEmbedding ---------------------------------------------------------------------------------

namespace rotary {
enum : std::size_t { kX, kCos, kSin, kPositions };

Status infer(const Call& c, Outputs& out) {
  if (c.ranked(kX) && c.shape(kX).size() != 3 && c.shape(kX).size() != 4) {
    return bad("a rotary embedding needs 3 or 4 axes; the shape is " + text(c.shape(kX)));
  }
  out.set(0, c.dtype(kX), c.shape(kX));
  return {};
}

/// Elements that are turned: all, or the first of every head.
Count turned(const Call& c) {
  const Shape& x = c.shape(kX);
  const std::int64_t part = c.integer("rotary_embedding_dim", 0);
  if (part <= 0) return numel(x);
  return x.size() == 4 ? numel(x, 0, 3) * part : numel(x, 0, 2) * c.integer("num_heads", 1) * part;
}

Status count(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  work::rotate(cost, turned(c));
  const double scale = c.real("scale", 1);
  if (scale != 1 && scale != 0) cost[Work::mul] += numel(x);
  work::Reads reads(c);
  reads.all(kX).all(kPositions);
  // A row of the tables for every token; three streams of positions share one row's width.
  const Count tokens = x[0] * (x.size() == 4 ? x[2] : x[1]);
  for (const std::size_t table : {kCos, kSin}) reads.part(table, tokens * c.shape(table).back());
  reads.into(cost);
  return {};
}
/// Turned back.
Status gradient(const Call& c, Gradient& g) {
  for (const std::size_t slot : {std::size_t{kCos}, std::size_t{kSin}, std::size_t{kPositions}}) {
    g.none(slot);
    g.keep(slot);
  }
  return gradient_like_run(c, g);
}
}  // namespace rotary

namespace gemma {
enum : std::size_t { kAngle, kQ, kQTurned, kK, kKTurned };

Status infer(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kQ), c.shape(kQ));
  out.set(1, c.dtype(kQ), c.shape(kK));
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Count angles = numel(c.shape(kAngle));
  cost[Work::trig] = 2 * angles;
  if (c.dtype(kAngle) != c.dtype(kQ)) cost[Work::convert] = 2 * angles;
  work::rotate(cost, numel(c.shape(kQ)) + numel(c.shape(kK)));
  cost.compute = c.dtype(kQ);
  return {};
}
}  // namespace gemma

namespace normed {
enum : std::size_t { kX, kScale, kPositions, kCos, kSin };

Dim width_of(const Call& c) {
  const std::int64_t stated = c.integer("input_width", 0);
  return stated > 0 ? Dim(stated) : c.shape(kX)[3] - c.integer("input_start", 0);
}

Status infer(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  if (c.ranked(kX) && x.size() != 4) return bad("RMSNormRotary needs four axes; the shape is " + text(x));
  const Dim width = width_of(c);
  const bool flat = c.integer("flatten_batch", 0) != 0;
  const DType dtype = c.integer("output_fp16", 0) != 0 ? DType::f16 : DType::bf16;
  out.set(0, dtype, flat ? Shape{1, x[0] * x[1], x[2] * width} : Shape{x[0], x[1], x[2] * width});
  out.set(1, DType::f32, Shape{x[0], x[1], x[2], width});
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Count rows = numel(x, 0, 3);
  work::rms_norm(cost, rows, width_of(c));
  work::rotate(cost, rows * c.integer("rotary_embedding_dim", 0));
  work::Reads reads(c);
  reads.part(kX, rows * width_of(c)).all(kScale).all(kPositions);
  for (const std::size_t table : {kCos, kSin}) reads.part(table, x[0] * x[1] * c.shape(table).back());
  reads.into(cost);
  cost.compute = c.dtype(kScale);
  return {};
}
}  // namespace normed

// Relative position biases ------------------------------------------------------------------------------------------

namespace relative {
enum : std::size_t { kTable, kQueries, kKeys };

Status infer(const Call& c, Outputs& out) {
  const auto queries = told_length(c, kQueries), keys = told_length(c, kKeys);
  const Dim q = queries ? *queries : out.symbol("queries", "number of queries");
  const Dim k = keys ? *keys : queries ? q : out.symbol("keys", "number of keys");
  out.set(0, c.dtype(kTable), Shape{1, c.shape(kTable)[1], q, k});
  return {};
}

/// Distance, its size and bucket: a logarithm for far ones, one addition, one multiplication.
Status count(const Call& c, Cost& cost) {
  const Count pairs = numel(c.out_shape(), 2);
  cost[Work::add] = 2 * pairs;
  cost[Work::logic] = 2 * pairs;
  cost[Work::compare] = 2 * pairs;
  cost[Work::log] = pairs;
  cost[Work::mul] = pairs;
  cost[Work::convert] = pairs;
  cost.trust = Trust::estimate;
  cost.because = "how far apart positions are decides how their bucket is found";
  return {};
}
}  // namespace relative

namespace gated {
enum : std::size_t { kQuery, kQueryBias, kRelative, kW, kB, kEco, kTokens };

struct Sizes {
  Dim batch, heads, length;
};
Sizes sizes_of(const Call& c) {
  const Shape& q = c.shape(kQuery);
  Sizes s;
  s.heads = stated(c, "num_heads");
  const bool packed = c.has(kTokens);
  s.batch = packed ? c.shape(kTokens)[0] : q[0];
  s.length = packed ? c.shape(kTokens)[1] : q[1];
  return s;
}

Status infer(const Call& c, Outputs& out) {
  const Sizes s = sizes_of(c);
  out.set(0, c.dtype(kQuery), Shape{s.batch, s.heads, s.length, s.length});
  return {};
}

Status count(const Call& c, Cost& cost) {
  const Sizes s = sizes_of(c);
  const Count q = numel(c.shape(kQuery));
  const Shape& w = c.shape(kW);  // [head size, D]
  cost[Work::add] += q;
  cost[Work::mac] += q * w[1];
  // As many rows as heads of tokens: bias, then two sums over half of D, two sigmoids, and u * (r * eco - 1) + 2.
  const Count rows = quotient(c, q, w[0]);
  cost[Work::add] += rows * w[1] + rows * (w[1] - 2);
  work::activation(cost, "sigmoid", 2 * rows);
  cost[Work::mul] += 2 * rows;
  cost[Work::add] += 2 * rows;
  cost[Work::mul] += numel(c.out_shape());
  cost.rhs = c.dtype(kW);
  return {};
}
}  // namespace gated

}  // namespace

std::vector<Rule> position_rules() {
  std::vector<Rule> rules = {
      {"rotary_embedding",
       "x cos sin positions",
       "Pairs of channels turned by an angle for each position",
       "n turned elements (all, or the first rotary_embedding_dim of every head): mul = 2 n; add = n; mul = |x| with a "
       "scale; of "
       "the tables a row for each token is read",
       "https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html",
       rotary::infer,
       rotary::count,
       {{"onnx::RotaryEmbedding", "x cos sin positions"},
        {"com.microsoft::RotaryEmbedding", "x positions cos sin"},
        {"com.microsoft::MRotaryEmbedding", "x positions cos sin"}},
       nullptr,
       rotary::gradient},
      {"gemma_rotary", "angle q q_turned k k_turned", "Queries and keys turned by angles",
       "trig = 2 |angle|; convert = 2 |angle| to another dtype; mul = 2 (|q| + |k|); add = |q| + |k|",
       contrib_doc("GemmaRotaryEmbedding"), gemma::infer, gemma::count, microsoft({"GemmaRotaryEmbedding"})},
      {"rms_norm_rotary", "x scale positions cos sin #prefill", "RMS norm of heads, then a rotary embedding",
       "R heads of width W, r of it turned: mul = 3 R W + 2 R r; add = R W + R r; div = 2 R; sqrt = R",
       contrib_doc("RMSNormRotary"), normed::infer, normed::count, microsoft({"RMSNormRotary"})},
      {"relative_position_bias", "table #queries #keys", "Biases looked up by the bucket of each distance",
       "for each pair of positions: add, logic and compare = 2, log, mul and convert = 1; an estimate",
       contrib_doc("RelativePositionBias"), relative::infer, relative::count, microsoft({"RelativePositionBias"})},
      {"gated_relative_position_bias", "query query_bias relative w b eco #tokens",
       "A relative bias scaled by a gate of the query",
       "R = heads of all tokens, w of h x D: mac = |q| D; add = |q| + R (2 D - 2) + 4 R; sigmoid on 2 R; mul = 2 R + "
       "|y|",
       contrib_doc("GatedRelativePositionBias"), gated::infer, gated::count, microsoft({"GatedRelativePositionBias"})},
  };
  return with_gradients({{"gemma_rotary", gradient_of_network},
                         {"rms_norm_rotary", gradient_of_network},
                         {"relative_position_bias", gradient_of_network},
                         {"gated_relative_position_bias", gradient_of_network}},
                        std::move(rules));
}

}  // namespace macsim::rules
