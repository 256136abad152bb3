// Signal processing and small linear algebra: transforms, windows, mel weights, determinant, inverse, time warping.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <string>

#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/elementwise.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/signal.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

constexpr std::size_t kX = 0;

// Fourier transforms. ----------------------------------------------------------------------------------------------

/// `times` transforms of length `n` to `bins` results; real ones (in or out) take half the work of complex ones.
void transform(Cost& cost, const Count& times, const Dim& n, const Dim& bins, bool real) {
  if (const auto length = n.constant()) {
    const double steps = *length > 1 ? static_cast<double>(*length) * std::log2(static_cast<double>(*length)) : 0;
    const double share = real ? 0.5 : 1;
    cost[Work::mul] += times * std::llround(2 * share * steps);
    cost[Work::add] += times * std::llround(3 * share * steps);
    cost.trust = Trust::estimate;
    cost.because = "5 n log2 n operations for a complex transform of length n, half for a real one";
    return;
  }
  cost[Work::mul] += (real ? 2 : 4) * times * bins * n;
  cost[Work::add] += (real ? 2 : 4) * times * bins * n;
  cost.trust = Trust::bound;
  cost.because = "as if by the definition, n terms for each result; the length is a symbol";
}

/// The longest transform that has so many results.
Dim length_from(const Dim& bins, bool onesided) { return onesided ? 2 * bins - 1 : bins; }

enum : std::size_t { kLength = 1, kAxis };

struct Dft {
  std::optional<std::size_t> axis;  // nullopt: from data
  bool inverse = false, onesided = false;
  Dim length;  // undefined: from data
};

Status read_dft(const Call& c, Dft& dft) {
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad("DFT needs a signal and its parts, and has " + text(x));
  dft.inverse = c.integer("inverse", 0) != 0;
  dft.onesided = c.integer("onesided", 0) != 0;
  std::optional<std::int64_t> axis = c.version() < 20 ? c.integer("axis", 1) : -2;
  if (c.has(kAxis)) axis = single(c, kAxis).constant();
  if (axis) {
    dft.axis = axis_in(*axis, x.size());
    if (!dft.axis || *dft.axis + 1 == x.size()) return bad("DFT: the axis does not fit the shape " + text(x));
    const Dim& size = x[*dft.axis];
    dft.length = c.has(kLength) ? single(c, kLength) : dft.inverse && dft.onesided ? 2 * (size - 1) : size;
  } else {
    dft.length = Dim::undefined();
  }
  return {};
}

Status infer_dft(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  Dft dft;
  if (Status status = read_dft(c, dft); !status) return status;
  Shape y = c.shape(kX);
  y.back() = dft.inverse && dft.onesided ? 1 : 2;
  if (dft.axis) {
    if (!dft.length.defined() && c.has(kLength)) dft.length = out.symbol("length", "length of the transform");
    y[*dft.axis] = dft.onesided && !dft.inverse ? floor_div(dft.length, 2) + 1 : dft.length;
  } else if (dft.onesided || c.has(kLength)) {  // some axis changes, and it is data which
    for (std::size_t i = 0; i + 1 < y.size(); ++i) y[i] = Dim::undefined();
  }
  out.set(0, dtype, std::move(y));
  return {};
}

Status cost_dft(const Call& c, Cost& cost) {
  Dft dft;
  if (Status status = read_dft(c, dft); !status) return status;
  const Shape& x = c.shape(kX);
  const Shape& y = c.out_shape();
  const std::size_t axis = dft.axis.value_or(0);
  const Count times = dft.axis ? numel(x, 0, axis) * numel(x, axis + 1, x.size() - 1) : Count::undefined();
  const Dim length = dft.length.defined() ? dft.length : length_from(y[axis], dft.onesided && !dft.inverse);
  transform(cost, times, length, y[axis], dft.onesided || x.back().is(1));
  if (dft.inverse) cost[Work::mul] += numel(y);
  return {};
}

enum : std::size_t { kStep = 1, kWindow, kFrame };

/// Length of a frame; undefined when it is data.
Dim frame_of(const Call& c) {
  if (c.has(kFrame)) {
    const Dim stated = single(c, kFrame);
    if (stated.defined() || !c.has(kWindow)) return stated;
  }
  return c.has(kWindow) ? c.in(kWindow).shape[0] : c.in(kX).shape[1];
}

Status infer_stft(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad("STFT needs a batch of signals, and has " + text(x));
  Dim frame = frame_of(c);
  const Dim step = single(c, kStep);
  if (!frame.defined() && c.has(kFrame)) frame = out.symbol("frame", "length of a frame");
  Dim frames = step.defined() ? floor_div(x[1] - frame, step) + 1 : out.symbol("frames", "frames of the signal");
  // A frame longer than the signal would be a mistake in the model.
  if (frames.is_constant() || !c.assume_not_negative(frames)) frames = max(frames, 0);
  const Dim bins = c.integer("onesided", 1) != 0 ? floor_div(frame, 2) + 1 : frame;
  out.set(0, dtype, Shape{x[0], frames, bins, 2});
  return {};
}

Status cost_stft(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Shape& y = c.out_shape();
  const Dim stated = frame_of(c);
  const bool onesided = c.integer("onesided", 1) != 0;
  const Dim frame = stated.defined() ? stated : length_from(y[2], onesided);
  const Count frames = y[0] * y[1];
  const bool real = x.size() < 3 || x[2].is(1);
  transform(cost, frames, frame, y[2], real || onesided);
  if (c.has(kWindow)) cost[Work::mul] += frames * frame * (real ? 1 : 2);
  return {};
}

/// The contributed transforms: over the last axes, real on one side.
Status infer_rfft(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  Shape y = c.shape(kX);
  const bool inverse = c.op() == "Irfft", onesided = c.integer("onesided", 1) != 0;
  if (y.size() < (inverse ? 2U : 1U)) return bad(std::string(c.op()) + " of the shape " + text(y));
  if (inverse) {
    y.pop_back();
    if (onesided) y.back() = 2 * (y.back() - 1);
  } else {
    if (onesided) y.back() = floor_div(y.back(), 2) + 1;
    y.push_back(2);
  }
  out.set(0, dtype, std::move(y));
  return {};
}

Status cost_rfft(const Call& c, Cost& cost) {
  const bool inverse = c.op() == "Irfft";
  const Shape& real = inverse ? c.out_shape() : c.shape(kX);
  const Shape& spectrum = inverse ? c.shape(kX) : c.out_shape();
  const auto axes = static_cast<std::size_t>(c.integer("signal_ndim", 1));
  if (axes == 0 || axes > real.size()) return bad(std::string(c.op()) + ": signal_ndim does not fit " + text(real));
  const std::size_t first = real.size() - axes;
  transform(cost, numel(real, 0, first), numel(real, first), numel(spectrum, first, first + axes), true);
  if (inverse || c.integer("normalized", 0) != 0) cost[Work::mul] += numel(c.out_shape());
  return {};
}

/// As torch calls them: over the axes `dim`, complex numbers as one element; a normalisation scales the results.
CostFn cost_aten_transform(bool real) {
  return [real](const Call& c, Cost& cost) -> Status {
    const bool back = c.op().ends_with("c2r");
    const Shape& x = c.shape(kX);
    const Shape& y = c.out_shape();
    const Shape& signal = back ? y : x;
    std::optional<std::vector<std::size_t>> axes = axes_in(c.integers("dim"), signal.size());
    if (!axes) return bad(std::string(c.op()) + ": the axes do not fit the shape " + text(signal));
    Count length = 1, bins = 1, times = 1;
    for (std::size_t i = 0; i < signal.size(); ++i) {
      const bool along = std::find(axes->begin(), axes->end(), i) != axes->end();
      (along ? length : times) *= signal[i];
      if (along) bins *= y[i];
    }
    transform(cost, times, length, bins, real);
    if (c.integer("normalization", 0) != 0) cost[Work::mul] += numel(y) * (back ? 1 : 2);
    return {};
  };
}

// Windows. ---------------------------------------------------------------------------------------------------------

DType stated_dtype(const Call& c) { return dtype_from_onnx(c.integer("output_datatype", 1)); }

Status infer_window(const Call& c, Outputs& out) {
  const Dim size = single(c, kX);
  out.set(0, stated_dtype(c), Shape{size.defined() ? size : out.symbol("size", "length of the window")});
  return {};
}

Status aten_window(const Call& c, Outputs& out) {
  const Dim size = single(c, kX);
  if (size.defined()) out.set(0, stated(c), {size});
  return {};
}

Status cost_window(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  const bool blackman = c.op() == "BlackmanWindow" || c.op() == "blackman_window";
  const int terms = blackman ? 2 : 1;
  cost[Work::trig] = terms * n;
  cost[Work::mul] = 2 * terms * n;
  cost[Work::add] = terms * n;
  cost.compute = c.out().dtype;
  return {};
}

/// torch's Bartlett, 1 - |2 i / (n - 1) - 1|, and Kaiser, I0(beta sqrt(1 - (2 i / (n - 1) - 1)^2)) / I0(beta).
Status cost_window_of_lines(const Call& c, Cost& cost) {
  const Count n = numel(c.out_shape());
  const bool kaiser = c.op() == "kaiser_window";
  add_each(cost, {{Work::mul, kaiser ? 3 : 1}, {Work::add, 2}}, n);
  if (kaiser) {
    add_each(cost, {{Work::sqrt, 1}, {Work::exp, 1}, {Work::div, 1}}, n);
    cost.trust = Trust::estimate;
    cost.because = "a special function is taken for one exp";
  } else {
    cost[Work::logic] = n;
  }
  cost.compute = c.out().dtype;
  return {};
}

Status infer_mel(const Call& c, Outputs& out) {
  enum : std::size_t { kMels, kDft };
  const Dim mels = single(c, kMels), dft = single(c, kDft);
  out.set(0, stated_dtype(c),
          Shape{dft.defined() ? floor_div(dft, 2) + 1 : out.symbol("bins", "bins of the spectrum"),
                mels.defined() ? mels : out.symbol("mels", "bands of the mel spectrum")});
  return {};
}

/// The edges of the bands, mel to hertz (add, mul, div, exp, mul, add) and to bins (mul, div, convert), of which there
/// are bands + 2; then every bin lies on at most two slopes (add, div).
Status cost_mel(const Call& c, Cost& cost) {
  const Shape& y = c.out_shape();
  const Count edges = y[1] + 2;
  cost[Work::log] = 2;
  cost[Work::exp] = edges;
  cost[Work::mul] = 3 * edges;
  cost[Work::convert] = edges;
  cost[Work::div] = 2 * edges + 2 * y[0];
  cost[Work::add] = 2 * edges + 2 * y[0];
  cost.compute = stated_dtype(c);
  cost.trust = Trust::bound;
  cost.because = "as if every bin lay on two slopes";
  return {};
}

// Linear algebra. --------------------------------------------------------------------------------------------------

Status infer_det(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX)) return {};
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad("Det needs matrices, and has " + text(x));
  out.set(0, dtype, Shape(x.begin(), x.end() - 2));
  return {};
}

/// Elimination with pivots: in step k, n - k factors and (n - k)^2 updates; then the product of the diagonal.
Status cost_det(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  const Dim& n = x.back();
  const Count matrices = numel(c.out_shape());
  const Count updates = matrices * floor_div(n * (n - 1) * (2 * n - 1), 6);
  const Count factors = matrices * floor_div(n * (n - 1), 2);
  cost[Work::mul] = updates + matrices * (n.is(0) ? Dim(0) : n - 1);
  cost[Work::add] = updates;
  cost[Work::div] = factors;
  cost[Work::compare] = factors;
  if (n.is(1)) cost.moves("one element: moves data only");
  linalg::widen(cost, c.dtype(kX));
  return {};
}

/// Gauss and Jordan in place: in each of n steps one reciprocal, n - 1 products in its row, and n products and n - 1
/// sums in each of the other n - 1 rows.
Status cost_inverse(const Call& c, Cost& cost) {
  const Shape& x = c.shape(kX);
  if (x.size() < 2) return bad("Inverse needs matrices, and has " + text(x));
  const Dim& n = x.back();
  const Count matrices = numel(x, 0, x.size() - 2);
  cost[Work::mul] = matrices * n * (n - 1) * (n + 1);
  cost[Work::add] = matrices * n * (n - 1) * (n - 1);
  cost[Work::div] = matrices * n;
  cost[Work::compare] = matrices * floor_div(n * (n - 1), 2);
  linalg::widen(cost, c.dtype(kX));
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// Each frame's transform back, its elements times the window, added where the frames lie. A window gets the sums of
/// the frames times that.
Status gradient_stft(const Call& c, Gradient& g) {
  if (Status status = gradient_like_run(c, g); !status) return status;
  const Shape &x = c.shape(kX), &y = c.out_shape();
  const Dim stated = frame_of(c);
  const Dim frame = stated.defined() ? stated : length_from(y[2], c.integer("onesided", 1) != 0);
  const Count elements = y[0] * y[1] * frame * (x.size() < 3 || x[2].is(1) ? 1 : 2);
  g[Work::add] += elements;
  if (g.needs(kWindow)) {
    g[Work::mul] += elements;
    g[Work::add] += elements - numel(c.shape(kWindow));
  }
  g.keep(kX);
  g.keep(kWindow);
  return {};
}

/// dy det A^-T: the identity solved for with the factors that were kept, and scaled.
Status gradient_det(const Call& c, Gradient& g) {
  const auto [batch, n, columns] = linalg::matrix_of(c.shape(kX));
  linalg::substitute(g.cost, batch, n, n, true);
  linalg::substitute(g.cost, batch, n, n, false);
  g[Work::mul] += batch * (n + 1);
  linalg::widen(g.cost, c.dtype(kX));
  g.keep_output();
  g.keep_bytes(bytes(c.dtype(kX), batch * n * n) + bytes(DType::i32, batch * n));
  return {};
}

/// -A^-T dy A^-T, by what was computed.
Status gradient_inverse(const Call& c, Gradient& g) {
  const auto [batch, n, columns] = linalg::matrix_of(c.shape(kX));
  g[Work::mac] = 2 * batch * n * n * n;
  linalg::widen(g.cost, c.dtype(kX));
  g[Work::logic] = batch * n * n;
  g.keep_output();
  return {};
}

Status infer_warping(const Call&, Outputs& out) {
  out.set(0, DType::i32, Shape{2, out.symbol("steps", "steps of the cheapest path")});
  return {};
}

Status cost_warping(const Call& c, Cost& cost) {
  const Count cells = numel(c.shape(kX));
  cost[Work::compare] = 2 * cells;
  cost[Work::add] = cells;
  return {};
}

}  // namespace

std::vector<Rule> signal_family() {
  const Text fast = "n log2 n: mul 2, add 3 (half for real signals), an estimate; symbolic n: n^2, a bound";
  std::vector<Rule> rows = {
      {"dft", "x #length #axis", "Discrete Fourier transform along one axis", fast + "; inverse: mul = |y|",
       onnx_page("DFT"), infer_dft, cost_dft,
       onnx({"DFT"}) +
           aten({"_fft_r2c", "_fft_c2r", "prims::fft_r2c", "prims::fft_c2r"}, {}, "x", {}, cost_aten_transform(true)) +
           aten({"_fft_c2c", "prims::fft_c2c"}, {}, "x", {}, cost_aten_transform(false)),
       nullptr, gradient_like_run},
      {"stft", "x #step window #frame", "Fourier transforms of overlapping frames", fast + "; window: mul = frames * n",
       onnx_page("STFT"), infer_stft, cost_stft, onnx({"STFT"})},
      {"rfft", "x", "Fourier transform of a real signal, and back", fast, contrib_doc("Rfft"), infer_rfft, cost_rfft,
       microsoft({"Rfft", "Irfft"}), nullptr, gradient_like_run},
      {"window", "#size", "A window of cosines, or of torch's others",
       "t terms (Hann and Hamming 1, Blackman 2): trig = add = t*n; mul = 2t*n; Bartlett: mul = logic = n, add = 2n; "
       "Kaiser: mul = 3n, add = 2n, sqrt = exp = div = n, an estimate",
       onnx_page("HannWindow"), infer_window, cost_window,
       onnx({"HannWindow", "HammingWindow", "BlackmanWindow"}) +
           aten({"hann_window", "hamming_window", "blackman_window"}, aten_window, {}, "window_length=size") +
           aten({"bartlett_window", "kaiser_window"}, aten_window, {}, "window_length=size", cost_window_of_lines)},
      {"mel_weights", "#mels #dft #rate #low #high", "Weights from a spectrum to mel bands",
       "e = bands + 2 edges: log 2; exp = convert = e; mul = 3e; add = div <= 2e + 2*bins",
       onnx_page("MelWeightMatrix"), infer_mel, cost_mel, onnx({"MelWeightMatrix"})},
      {"det", "x", "Determinants of square matrices",
       "for each: add = n(n-1)(2n-1)/6; mul as many and n-1; div = compare = n(n-1)/2", onnx_page("Det"), infer_det,
       cost_det, onnx({"Det"}) + aten({"_linalg_det", "linalg_det", "det"}, {}, "x")},
      {"inverse", "x", "Inverses of square matrices",
       "for each: mul = n(n-1)(n+1); add = n(n-1)^2; div = n; compare = n(n-1)/2", contrib_doc("Inverse"), infer_same,
       cost_inverse, microsoft({"Inverse"}) + aten({"linalg_inv", "linalg_inv_ex", "inverse"}, {}, "x")},
      {"time_warping", "x", "The cheapest path through a matrix of costs", "add = |x|; compare = 2|x|",
       contrib_doc("DynamicTimeWarping"), infer_warping, cost_warping, microsoft({"DynamicTimeWarping"})},
  };
  rows = with_gradients({{"stft", gradient_stft},
                         {"window", NoGradient{"it has no inputs but sizes"}},
                         {"mel_weights", NoGradient{"it has no inputs but sizes"}},
                         {"det", gradient_det},
                         {"inverse", gradient_inverse},
                         {"time_warping", NoGradient{"its results are no real numbers"}}},
                        std::move(rows));
  return joined(std::move(rows), factor_rules(), spectrum_rules());
}

}  // namespace macsim::rules
