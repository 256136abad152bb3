// Recurrent networks: rnn, gru, lstm, the dynamically quantised lstm, and the lstm that attends to a memory.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <array>
#include <string>

#include "aten.hpp"
#include "families.hpp"
#include "gradient.hpp"
#include "support.hpp"
#include "work.hpp"

namespace macsim::rules {
namespace {

// Inputs of every kind; each row and spelling lists those that it has.
enum : std::size_t { kX, kW, kR, kB, kLengths, kH0, kC0, kP, kWScale, kWZero, kRScale, kRZero };
constexpr char kSlots[] = "x w r b #lengths h0 c0 p w_scale w_zero r_scale r_zero";

enum class Cell : std::uint8_t { rnn, gru, lstm };
constexpr int gates_of(Cell cell) { return cell == Cell::rnn ? 1 : cell == Cell::gru ? 3 : 4; }

/// The sizes of one layer.
struct Layer {
  Dim steps, batch, input, hidden;
  std::int64_t directions = 1;
  bool batch_first = false;
  Count cells;  ///< batch elements times steps that are computed, in one direction
};

std::int64_t directions_of(const Call& c) { return c.text("direction", "forward") == "bidirectional" ? 2 : 1; }

Layer layer_of(const Call& c) {
  const Shape& x = c.shape(kX);
  Layer layer;
  layer.batch_first = c.integer("layout", 0) != 0;
  layer.steps = x[layer.batch_first ? 1 : 0];
  layer.batch = x[layer.batch_first ? 0 : 1];
  layer.input = x[2];
  layer.directions = directions_of(c);
  const std::int64_t stated = c.integer("hidden_size", 0);
  const std::size_t rows = c.op() == "DynamicQuantizeLSTM" ? 1 : 2;  // its matrices are turned
  layer.hidden = stated > 0 ? Dim(stated) : c.shape(kR)[rows];
  layer.cells = layer.steps * layer.batch;
  return layer;
}

Status infer_recurrent(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  if (c.ranked(kX) && x.size() != 3)
    return bad("a recurrent network needs [steps, batch, input]; the shape is " + text(x));
  for (std::size_t i = 0; i < 3; ++i) out.unranked(i, c.dtype(kX));
  if (Status status = one_of(c, "direction", {"forward", "reverse", "bidirectional"}); !status) return status;
  Layer layer = layer_of(c);
  if (c.ranked(kW) && c.shape(kW).size() != 3) return bad("W needs three axes; the shape is " + text(c.shape(kW)));
  const DType dtype = c.dtype(kX);
  const Dim d = layer.directions;
  const Shape last = layer.batch_first ? Shape{layer.batch, d, layer.hidden} : Shape{d, layer.batch, layer.hidden};
  out.set(0, dtype,
          layer.batch_first ? Shape{layer.batch, layer.steps, d, layer.hidden}
                            : Shape{layer.steps, d, layer.batch, layer.hidden});
  out.set(1, dtype, last);
  out.set(2, dtype, last);
  return {};
}

/// Lengths of the sequences: exact when they are known, otherwise all steps are a bound.
void count_lengths(const Call& c, Layer& layer, Cost& cost) {
  if (!c.has(kLengths)) return;
  if (const auto told = c.ints(kLengths)) {
    Count sum = 0;
    for (const Dim& length : *told) sum += length;
    if (sum.defined()) {
      layer.cells = sum;
      return;
    }
  }
  cost.trust = Trust::bound;
  cost.because = "sequences may be shorter than all steps";
}

/// The names of the functions of one direction, f g h.
std::array<std::string_view, 3> functions_of(const Call& c, Cell cell, std::size_t direction) {
  std::array<std::string_view, 3> names{"Sigmoid", "Tanh", "Tanh"};
  if (cell == Cell::rnn) names[0] = "Tanh";
  const std::size_t each = cell == Cell::rnn ? 1 : cell == Cell::gru ? 2 : 3;
  const auto stated = c.texts("activations");
  for (std::size_t i = 0; i < each; ++i) {
    if (direction * each + i < stated.size()) names[i] = stated[direction * each + i];
  }
  return names;
}

/// What happens to the gates after the products, for `e` elements of the hidden state in one direction.
void gate_work(const Call& c, Cell cell, const Count& e, const Dim& hidden, std::size_t direction, Cost& cost) {
  const int gates = gates_of(cell);
  const bool late_bias = cell == Cell::gru && c.integer("linear_before_reset", 0) != 0;
  cost[Work::add] += gates * e;  // X * W + H * R
  if (c.has(kB)) {
    // Wb + Rb once for all steps; a GRU that resets after the product adds its hidden gate's two biases apart.
    const int once = late_bias ? gates - 1 : gates;
    cost[Work::add] += (late_bias ? gates + 1 : gates) * e + once * hidden;
  }
  if (c.has_attr("clip")) cost[Work::compare] += 2 * gates * e;
  const auto [f, g, h] = functions_of(c, cell, direction);
  switch (cell) {
    case Cell::rnn:
      work::fused_activation(cost, f, e);
      return;
    case Cell::gru:  // r * H; (1 - z) * h + z * H
      work::fused_activation(cost, f, 2 * e);
      work::fused_activation(cost, g, e);
      cost[Work::mul] += 3 * e;
      cost[Work::add] += 2 * e;
      return;
    case Cell::lstm:                                           // f * C + i * c; o * h(C)
      const bool coupled = c.integer("input_forget", 0) != 0;  // f = 1 - i
      work::fused_activation(cost, f, coupled ? 2 * e : 3 * e);
      work::fused_activation(cost, g, e);
      work::fused_activation(cost, h, e);
      cost[Work::mul] += 3 * e;
      cost[Work::add] += coupled ? 2 * e : e;
      if (c.has(kP)) {
        cost[Work::mul] += 3 * e;
        cost[Work::add] += 3 * e;
      }
      return;
  }
}

CostFn cost_recurrent(Cell cell) {
  return [cell](const Call& c, Cost& cost) -> Status {
    Layer layer = layer_of(c);
    count_lengths(c, layer, cost);
    const Count e = layer.cells * layer.hidden;
    cost[Work::mac] = layer.directions * gates_of(cell) * e * (layer.input + layer.hidden);
    for (std::size_t d = 0; d < static_cast<std::size_t>(layer.directions); ++d) {
      gate_work(c, cell, e, layer.hidden, d, cost);
    }
    return {};
  };
}

/// The products on 8-bit integers: X is quantised once for each direction, H at every step.
Status cost_dynamic(const Call& c, Cost& cost) {
  Layer layer = layer_of(c);
  count_lengths(c, layer, cost);
  const Count e = layer.cells * layer.hidden;
  const Count d = layer.directions;
  cost[Work::mac] = d * 4 * e * (layer.input + layer.hidden);
  Cost once, every;
  work::dynamic_quantize(once, layer.steps * layer.batch * layer.input);
  work::dynamic_quantize(every, layer.batch * layer.hidden);
  for (std::size_t w = 0; w < kWorks; ++w) cost.work[w] += d * (once.work[w] + layer.steps * every.work[w]);
  cost[Work::add] += d * (layer.cells * (layer.input + layer.hidden)) + numel(c.shape(kW)) + numel(c.shape(kR));
  cost[Work::mul] += numel(c.shape(kWScale)) + layer.steps * numel(c.shape(kRScale));
  work::dequantize(cost, d * 8 * e, false);
  for (std::size_t i = 0; i < static_cast<std::size_t>(layer.directions); ++i) {
    gate_work(c, Cell::lstm, e, layer.hidden, i, cost);
  }
  cost.lhs = DType::u8;
  cost.accumulate = DType::i32;
  return {};
}

// An LSTM that attends to a memory (Bahdanau) -----------------------------------------------------------------------

namespace memory {
enum : std::size_t { kQueryW = 8, kMemoryW, kV, kMemory, kLengths, kLayerW };
}

Status cost_attentive(const Call& c, Cost& cost) {
  Layer layer = layer_of(c);
  count_lengths(c, layer, cost);
  const Count e = layer.cells * layer.hidden;
  const Count d = layer.directions;
  // W is applied to the input and the attention's state together.
  const Dim& wide = c.shape(kW)[2];
  cost[Work::mac] = d * 4 * e * (wide + layer.hidden);
  for (std::size_t i = 0; i < static_cast<std::size_t>(layer.directions); ++i) {
    gate_work(c, Cell::lstm, e, layer.hidden, i, cost);
  }
  const Shape& m = c.shape(memory::kMemory);  // [batch, places, depth]
  const Dim& places = m[1];
  const Dim& depth = m[2];
  const Dim& width = c.shape(memory::kV)[1];
  const Count looks = d * layer.cells;
  const Count scores = looks * places;
  cost[Work::mac] += d * numel(m) * width;          // keys = memory * MW, once
  cost[Work::mac] += looks * layer.hidden * width;  // query = H * QW
  cost[Work::add] += scores * width;                // keys + query
  cost[Work::exp] += scores * width;                // tanh
  cost[Work::mac] += scores * width;                // times V
  work::softmax(cost, looks, places);
  cost[Work::mac] += scores * depth;  // context
  if (c.has(memory::kLayerW)) cost[Work::mac] += looks * (layer.hidden + depth) * c.shape(memory::kLayerW)[2];
  if (c.has(memory::kLengths)) {
    cost.trust = Trust::bound;
    cost.because = "sequences may be shorter than all steps";
  }
  return {};
}

// As torch calls them: x, the first states, then the weights of every layer and direction in one list.
// -----------------

/// The weights of the call, by position from the first.
struct Weights {
  std::size_t first = 0, count = 0, each = 0;  ///< `each`: of one layer and direction
  std::int64_t layers = 1, directions = 1;
  bool biased = false, projected = false;
};

/// Sequences of a batch one after the other, and how many there are at every step.
bool packed(const Call& c) { return c.at(1).dtype == DType::i64; }

Weights weights_of(const Call& c) {
  Weights w;
  w.layers = c.integer("num_layers", 1);
  w.directions = c.integer("bidirectional", 0) != 0 ? 2 : 1;
  w.biased = c.integer("has_biases", 1) != 0;
  // The first state is a list of an lstm's, one tensor of the others'; packed sequences have their sizes before.
  const auto params = static_cast<std::size_t>(c.integer("params.count", 0));
  const std::size_t before = packed(c) ? 3 : 2;
  w.count = params != 0 ? params : c.inputs() > before ? c.inputs() - before : 0;
  w.first = c.inputs() - w.count;
  const auto parts = static_cast<std::size_t>(w.layers * w.directions);
  w.each = parts != 0 ? w.count / parts : 0;
  w.projected = w.each == (w.biased ? 5U : 3U);
  return w;
}

Status aten_recurrent(const Call& c, Outputs& out) {
  const Weights w = weights_of(c);
  const Shape& x = c.shape(0);
  if (w.each < 2 || packed(c) || !c.ranked(0) || (x.size() != 3 && x.size() != 2)) return {};
  const Shape& last = c.shape_at(w.first + w.each - 1);  // a bias, w_hh or w_hr: [H..], [gates H, H], [P, H]
  const Shape& hidden = c.shape_at(w.first + 1);         // w_hh: its last axis is what goes round
  if (last.empty() || hidden.size() != 2) return {};
  const Dim& state = hidden[1];
  const Cell cell = c.op().ends_with("lstm") ? Cell::lstm : c.op().ends_with("gru") ? Cell::gru : Cell::rnn;
  const Dim cells = quotient(c, hidden[0], gates_of(cell));
  Shape y = x;
  y.back() = state * w.directions;
  out.set(0, c.dtype(0), y);
  const bool batched = x.size() == 3;
  const Dim batch = batched ? x[c.integer("batch_first", 0) != 0 ? 0 : 1] : Dim(1);
  const Dim layers = w.layers * w.directions;
  out.set(1, c.dtype(0), batched ? Shape{layers, batch, state} : Shape{layers, state});
  out.set(2, c.dtype(0), batched ? Shape{layers, batch, cells} : Shape{layers, cells});
  return {};
}

CostFn cost_aten_recurrent(Cell cell) {
  return [cell](const Call& c, Cost& cost) -> Status {
    const Weights w = weights_of(c);
    if (w.each < 2) return bad(std::string(c.op()) + " needs the weights of every layer");
    const Shape& x = c.shape(0);
    const Count rows = numel(x, 0, x.empty() ? 0 : x.size() - 1);  // batch elements times steps
    for (std::size_t part = 0; part * w.each < w.count; ++part) {
      const std::size_t at = w.first + part * w.each;
      const Shape& in = c.shape_at(at);
      const Shape& round = c.shape_at(at + 1);
      if (in.size() != 2 || round.size() != 2) return bad(std::string(c.op()) + ": weights are matrices");
      cost[Work::mac] += rows * (numel(in) + numel(round));
      if (w.projected) cost[Work::mac] += rows * numel(c.shape_at(at + w.each - 1));
      const int gates = gates_of(cell);
      const Dim hidden = quotient(c, round[0], gates);
      const Count e = rows * hidden;
      cost[Work::add] += gates * e;  // x W + h R
      // The two biases are added up once for all steps, but for the hidden gate of a GRU: it resets between them.
      const bool late = cell == Cell::gru;
      if (w.biased) cost[Work::add] += (late ? gates + 1 : gates) * e + (late ? gates - 1 : gates) * hidden;
      switch (cell) {
        case Cell::rnn:
          work::activation(cost, c.op() == "rnn_relu" ? "Relu" : "Tanh", e);
          break;
        case Cell::gru:
          work::activation(cost, "Sigmoid", 2 * e);
          work::activation(cost, "Tanh", e);
          cost[Work::mul] += 3 * e;
          cost[Work::add] += 2 * e;
          break;
        case Cell::lstm:
          work::activation(cost, "Sigmoid", 3 * e);
          work::activation(cost, "Tanh", 2 * e);
          cost[Work::mul] += 3 * e;
          cost[Work::add] += e;
          break;
      }
    }
    return {};
  };
}

/// The products on 8-bit weights, where they are of 8 bits: of every layer and direction, X is quantised once and H at
/// every step, less their zero points, and the products are scaled to floats.
CostFn cost_torch_dynamic(Cell cell) {
  return [cell](const Call& c, Cost& cost) -> Status {
    if (Status status = cost_aten_recurrent(cell)(c, cost); !status) return status;
    const Weights w = weights_of(c);
    if (bits_of(c.at(w.first).dtype) != 8) return {};
    const Shape& x = c.shape(0);
    const Count rows = numel(x, 0, x.size() - 1);
    const Dim steps = packed(c) ? Dim(c.at(1).shape[0]) : x[x.size() == 3 && c.integer("batch_first", 0) != 0 ? 1 : 0];
    for (std::size_t part = 0; part * w.each < w.count; ++part) {
      const Shape &in = c.shape_at(w.first + part * w.each), &round = c.shape_at(w.first + part * w.each + 1);
      Cost every;
      work::dynamic_quantize(cost, rows * in[1]);
      work::dynamic_quantize(every, quotient(c, rows, steps) * round[1]);
      for (std::size_t i = 0; i < kWorks; ++i) cost.work[i] += steps * every.work[i];
      cost[Work::add] += rows * (in[1] + round[1]);
      cost[Work::mul] += steps + 1;
      work::dequantize(cost, rows * (in[0] + round[0]), false);
    }
    cost.lhs = DType::u8;
    cost.accumulate = DType::i32;
    return {};
  };
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// Element by element, of `e` cells: the functions' derivatives by what they gave, and the products around them. Gates
/// and cell states are kept.
void gate_gradient(Gradient& g, Cell cell, const Count& e, DType dtype) {
  constexpr int kKept[] = {0, 4, 6};  // of a cell: gates and what goes into them, states and their functions
  switch (cell) {
    case Cell::rnn:
      add_each(g.cost, {{Work::mul, 2}, {Work::add, 1}}, e);
      break;
    case Cell::gru:
      add_each(g.cost, {{Work::mul, 11}, {Work::add, 6}}, e);
      break;
    case Cell::lstm:
      add_each(g.cost, {{Work::mul, 16}, {Work::add, 6}}, e);
      break;
  }
  g.keep_bytes(kKept[static_cast<std::size_t>(cell)] * bytes(dtype, e));
}

/// Products with the weights' transposes back to x and through time, and with x and h for the weights. Nothing goes
/// back through the first step but to a first state that needs it.
GradientFn gradient_aten_recurrent(Cell cell) {
  return [cell](const Call& c, Gradient& g) -> Status {
    const Weights w = weights_of(c);
    if (w.each < 2) return bad("weights are missing");
    const Shape& x = c.shape(0);
    const Count rows = numel(x, 0, x.empty() ? 0 : x.size() - 1);
    // Packed, all sequences are there at the first step: as many as there are first states.
    const bool states = packed(c) && w.first > 2 && c.shape_at(2).size() == 3;
    const Dim batch = states          ? Dim(c.shape_at(2)[1])
                      : x.size() == 3 ? Dim(x[c.integer("batch_first", 0) != 0 ? 0 : 1])
                                      : Dim(1);
    bool state = false;
    for (std::size_t i = 1; i < w.first; ++i) state = state || g.needs_at(i);
    bool below = g.needs_at(0);
    bool here = false;
    const auto directions = static_cast<std::size_t>(w.directions);
    for (std::size_t part = 0; part * w.each < w.count; ++part) {
      if (part % directions == 0) {
        below = below || here;
        here = below;
      }
      const std::size_t at = w.first + part * w.each;
      const Shape &in = c.shape_at(at), &round = c.shape_at(at + 1);
      if (in.size() != 2 || round.size() != 2) return bad("weights are matrices");
      const Count back = state ? rows : rows - batch;
      if (below) g[Work::mac] += rows * numel(in);
      if (g.needs_at(at)) g[Work::mac] += rows * numel(in);
      g[Work::mac] += back * numel(round);
      if (g.needs_at(at + 1)) g[Work::mac] += rows * numel(round);
      if (w.projected)
        g[Work::mac] += (g.needs_at(at + w.each - 1) ? 2 : 1) * rows * numel(c.shape_at(at + w.each - 1));
      const Dim hidden = quotient(c, round[0], gates_of(cell));
      gate_gradient(g, cell, rows * hidden, c.dtype(0));
      if (w.biased && (g.needs_at(at + 2) || g.needs_at(at + 3))) g[Work::add] += in[0] * (rows - 1);
      const bool late = cell == Cell::gru && w.biased && g.needs_at(at + 2) && g.needs_at(at + 3);
      if (late) g[Work::add] += hidden * (rows - 1);  // the hidden gate's other bias has a gradient of its own
      for (std::size_t i = 0; i < w.each; ++i) here = here || g.needs_at(at + i);
      g.keep_at(at);
      g.keep_at(at + 1);
      if (part / directions + 1 < static_cast<std::size_t>(w.layers)) g.keep_bytes(bytes(c.dtype(0), rows * round[1]));
    }
    for (std::size_t i = 0; i < w.first; ++i) g.keep_at(i);  // and the first states
    g.keep_output();
    return {};
  };
}

GradientFn gradient_recurrent(Cell cell) {
  return [cell](const Call& c, Gradient& g) -> Status {
    Layer layer = layer_of(c);
    count_lengths(c, layer, g.cost);
    const bool state = g.needs(kH0) || g.needs(kC0);
    const Count rows = layer.cells, wide = layer.directions * gates_of(cell) * layer.hidden;
    if (g.needs(kX)) g[Work::mac] += rows * wide * layer.input;
    if (g.needs(kW)) g[Work::mac] += rows * wide * layer.input;
    g[Work::mac] += (state ? rows : rows - layer.batch) * wide * layer.hidden;
    if (g.needs(kR)) g[Work::mac] += rows * wide * layer.hidden;
    gate_gradient(g, cell, layer.directions * rows * layer.hidden, c.dtype(kX));
    if (g.needs(kB)) g[Work::add] += wide * (rows - 1);
    const bool late = cell == Cell::gru && c.integer("linear_before_reset", 0) != 0;
    if (g.needs(kB) && late) g[Work::add] += layer.directions * layer.hidden * (rows - 1);
    if (c.has(kP)) {  // each of three gates, from its cell state
      const Count e = layer.directions * rows * layer.hidden;
      add_each(g.cost, {{Work::mul, 3}, {Work::add, 3}}, e);
      if (g.needs(kP)) add_each(g.cost, {{Work::mul, 3}, {Work::add, 3}}, e);
      if (g.needs(kP)) g[Work::add] -= numel(c.shape(kP));
      g.keep(kP);
    }
    for (const std::size_t slot : {kX, kW, kR, kH0, kC0}) g.keep(slot);
    g.keep_output();
    return {};
  };
}

const char* const kLstmFormula =
    "T steps of batch B, D directions, E = D T B H: mac = T B (|W| + |R|); add = 4 E + 4 E with a bias (and 4 D H "
    "once) "
    "+ E; mul = 3 E; peepholes: mul = add = 3 E; sigmoid on 3 E, tanh on 2 E, or the stated functions; clip: compare = "
    "8 E; "
    "lengths that are not known: a bound";

}  // namespace

std::vector<Rule> rnn_family() {
  std::vector<Rule> rules = {
      {"rnn", kSlots, "Simple recurrent layer",
       "T steps of batch B, D directions, E = D T B H: mac = T B (|W| + |R|); add = E + E with a bias (and D H once); "
       "tanh on "
       "E, or the stated function; clip: compare = 2 E; lengths that are not known: a bound",
       "https://onnx.ai/onnx/operators/onnx__RNN.html", infer_recurrent, cost_recurrent(Cell::rnn),
       std::vector<Binding>{{"onnx::RNN", "x w r b lengths h0"}} +
           with_gradient(aten({"rnn_tanh", "rnn_relu"}, aten_recurrent, "x", {}, cost_aten_recurrent(Cell::rnn)),
                         gradient_aten_recurrent(Cell::rnn)),
       nullptr, gradient_recurrent(Cell::rnn)},
      {"gru", kSlots, "Gated recurrent layer",
       "T steps of batch B, D directions, E = D T B H: mac = T B (|W| + |R|); add = 3 E + 3 E with a bias (and 3 D H "
       "once; with "
       "linear_before_reset 4 E and 2 D H) + 2 E; mul = 3 E; sigmoid on 2 E, tanh on E, or the stated functions; clip: "
       "compare = 6 E; lengths that are not known: a bound; 8 bits: as dynamic_quantize_lstm",
       "https://onnx.ai/onnx/operators/onnx__GRU.html", infer_recurrent, cost_recurrent(Cell::gru),
       std::vector<Binding>{{"onnx::GRU", "x w r b lengths h0"}} +
           with_gradient(aten({"gru"}, aten_recurrent, "x", {}, cost_aten_recurrent(Cell::gru)),
                         gradient_aten_recurrent(Cell::gru)) +
           aten({"quantized_gru"}, aten_recurrent, "x", {}, cost_torch_dynamic(Cell::gru)),
       nullptr, gradient_recurrent(Cell::gru)},
      {"lstm", kSlots, "Long short-term memory layer", kLstmFormula, "https://onnx.ai/onnx/operators/onnx__LSTM.html",
       infer_recurrent, cost_recurrent(Cell::lstm),
       std::vector<Binding>{{"onnx::LSTM", "x w r b lengths h0 c0 p"}} +
           with_gradient(aten({"lstm"}, aten_recurrent, "x", {}, cost_aten_recurrent(Cell::lstm)),
                         gradient_aten_recurrent(Cell::lstm)),
       nullptr, gradient_recurrent(Cell::lstm)},
      {"dynamic_quantize_lstm", kSlots, "LSTM with 8-bit weights and inputs quantised on the fly",
       Text(kLstmFormula) + "; X quantised once a direction and H at each step (compare = 4 n + 2, add = div = "
                            "n + 2, convert = n + 1 for n "
                            "elements); zero points: add = D T B (I + H) + |W| + |R|; products to floats: "
                            "convert and mul = 8 E; mul = |w_scale| "
                            "+ T |r_scale|",
       contrib_doc("DynamicQuantizeLSTM"), infer_recurrent, cost_dynamic,
       std::vector<Binding>{
           {"com.microsoft::DynamicQuantizeLSTM", "x w r b lengths h0 c0 p w_scale w_zero r_scale r_zero"}} +
           aten({"quantized_lstm"}, aten_recurrent, "x", {}, cost_torch_dynamic(Cell::lstm))},
      {"attentive_lstm", "x w r b #lengths h0 c0 p query_w memory_w v memory #memory_lengths layer_w",
       "LSTM with Bahdanau attention to a memory",
       Text(kLstmFormula) + "; with a memory of S places and depth M, width A: mac = D |memory| A + D T B (H A "
                            "+ S A + S M + (H + M) |AW[2]|); "
                            "add and exp = D T B S A; softmax over S",
       contrib_doc("AttnLSTM"), infer_recurrent, cost_attentive, microsoft({"AttnLSTM"})},
  };
  return with_gradients(
      {{"dynamic_quantize_lstm", NoGradient{"of codes, which are rounded"}}, {"attentive_lstm", gradient_of_network}},
      with(Access::contraction, std::move(rules)));
}

}  // namespace macsim::rules
