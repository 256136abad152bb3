// Elements picked out and put in by index: gather, scatter and their kin.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <string>

#include "rules/aten.hpp"
#include "rules/elements.hpp"
#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/move.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

enum : std::size_t { kX, kIndices, kUpdates };

/// An index as a place in [0, size), counted from the end when negative; nullopt: unknown or outside.
std::optional<std::int64_t> index_in(const Scalar& item, std::int64_t size) {
  auto index = item.constant_integer();
  if (index && *index < 0) *index += size;
  return index && *index >= 0 && *index < size ? index : std::nullopt;
}

// Gather. ----------------------------------------------------------------------------------------------------------

Status infer_gather(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX) || !c.ranked(kIndices)) return {};
  const Shape& x = c.shape(kX);
  const Shape& indices = c.shape(kIndices);
  const auto axis = axis_in(c.integer("axis", 0), x.size());
  if (!axis) return bad("Gather: the axis does not fit the shape " + text(x));
  Shape shape(x.begin(), x.begin() + *axis);
  shape.append(indices.begin(), indices.end());
  shape.append(x.begin() + *axis + 1, x.end());
  out.set(0, dtype, shape);

  const auto sizes = small_sizes(shape);
  const Contents* picks = sizes ? elements_of(c, kIndices) : nullptr;
  const Contents* known = picks != nullptr ? elements_of(c, kX, 65536) : nullptr;
  if (known == nullptr) return {};
  const auto inner = static_cast<std::size_t>(*numel(x, *axis + 1).constant());
  const auto outer = static_cast<std::size_t>(*numel(x, 0, *axis).constant());
  const std::int64_t size = *x[*axis].constant();
  Contents gathered;
  for (std::size_t row = 0; row < outer; ++row) {
    for (const Scalar& pick : picks->items) {
      const auto index = index_in(pick, size);
      const std::size_t from =
          (row * static_cast<std::size_t>(size) + static_cast<std::size_t>(index.value_or(0))) * inner;
      for (std::size_t k = 0; k < inner; ++k) gathered.items.push_back(index ? known->items[from + k] : Scalar());
    }
  }
  out.know(0, std::move(gathered));
  return {};
}

/// Only what is picked is read.
Status cost_gather(const Call& c, Cost& cost) {
  work::Reads reads(c);
  reads.part(kX, numel(c.out_shape()));
  reads.all(kIndices);
  reads.into(cost);
  cost.moves("moves data only");
  return {};
}

Status infer_gather_elements(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kIndices)) return {};
  const Shape& shape = c.shape(kIndices);
  const auto axis = axis_in(c.integer("axis", 0), shape.size());
  if (!axis) return bad("GatherElements: the axis does not fit indices of the shape " + text(shape));
  if (c.ranked(kX) && c.shape(kX).size() != shape.size()) {
    return bad("GatherElements of the shapes " + text(c.shape(kX)) + " and " + text(shape));
  }
  out.set(0, dtype, shape);
  const auto sizes = small_sizes(shape);
  const Contents* picks = sizes ? elements_of(c, kIndices) : nullptr;
  const Contents* known = picks != nullptr ? elements_of(c, kX, 65536) : nullptr;
  if (known == nullptr) return {};
  const Sizes from = *small_sizes(c.shape(kX), 65536);
  const Sizes hops = steps_of(from);
  for (std::size_t k = 0; k < from.size(); ++k) {
    if (k != *axis && (*sizes)[k] > from[k]) return bad("GatherElements: the indices are larger than the data");
  }
  Contents gathered;
  each_position(*sizes, [&](Sizes at) {
    const auto index = index_in(picks->items[gathered.items.size()], from[*axis]);
    at[*axis] = index.value_or(0);
    gathered.items.push_back(index ? known->items[place_of(at, hops)] : Scalar());
  });
  out.know(0, std::move(gathered));
  return {};
}

// Gather by tuples. ------------------------------------------------------------------------------------------------

/// Where tuples of indices point to in data of these sizes: the starts of runs, one a tuple; nullopt: unknown or
/// outside.
std::vector<std::optional<std::size_t>> runs_of(const Contents& tuples, std::size_t width, const Sizes& from,
                                                std::size_t first_axis, std::size_t tuples_a_batch) {
  const Sizes hops = steps_of(from);
  std::size_t batch_size = 1;
  for (std::size_t axis = first_axis; axis < from.size(); ++axis) batch_size *= static_cast<std::size_t>(from[axis]);
  std::vector<std::optional<std::size_t>> runs;
  for (std::size_t n = 0; n * width < tuples.items.size(); ++n) {
    std::optional<std::size_t> place = n / tuples_a_batch * batch_size;
    for (std::size_t k = 0; k < width && place; ++k) {
      const auto index = index_in(tuples.items[n * width + k], from[first_axis + k]);
      place = index ? std::optional(*place + static_cast<std::size_t>(*index * hops[first_axis + k])) : std::nullopt;
    }
    runs.push_back(place);
  }
  return runs;
}

void know_gather_nd(const Call& c, Outputs& out, const Shape& shape, std::size_t batch, std::size_t width) {
  const auto sizes = small_sizes(shape);
  const Contents* tuples = sizes && width != 0 ? elements_of(c, kIndices) : nullptr;
  const Contents* known = tuples != nullptr ? elements_of(c, kX, 65536) : nullptr;
  if (known == nullptr || known->items.empty() || tuples->items.empty()) return;
  const auto run = static_cast<std::size_t>(*numel(c.shape(kX), batch + width).constant());
  const auto batches = static_cast<std::size_t>(*numel(c.shape(kX), 0, batch).constant());
  const std::size_t count = tuples->items.size() / width;
  if (count % batches != 0) return;
  Contents gathered;
  for (const auto& from : runs_of(*tuples, width, *small_sizes(c.shape(kX), 65536), batch, count / batches)) {
    for (std::size_t k = 0; k < run; ++k) gathered.items.push_back(from ? known->items[*from + k] : Scalar());
  }
  out.know(0, std::move(gathered));
}

Status infer_gather_nd(const Call& c, Outputs& out) {
  const DType dtype = c.dtype(kX);
  out.unranked(0, dtype);
  if (!c.ranked(kX) || !c.ranked(kIndices)) return {};
  const Shape& x = c.shape(kX);
  const Shape& indices = c.shape(kIndices);
  const std::int64_t stated = c.integer("batch_dims", 0);
  if (indices.empty() || stated < 0 || static_cast<std::size_t>(stated) >= indices.size()) {
    return bad("GatherND with indices of the shape " + text(indices));
  }
  const auto width = indices.back().constant();
  if (!width) return {};
  const auto batch = static_cast<std::size_t>(stated);
  if (*width < 0 || batch + static_cast<std::size_t>(*width) > x.size()) {
    return bad("GatherND of the shape " + text(x) + " with indices of the shape " + text(indices));
  }
  Shape shape(indices.begin(), indices.end() - 1);
  for (std::size_t axis = 0; axis < batch; ++axis) shape[axis] = unify(c, x[axis], indices[axis], "batch sizes");
  shape.append(x.begin() + batch + static_cast<std::size_t>(*width), x.end());
  out.set(0, dtype, shape);
  know_gather_nd(c, out, shape, batch, static_cast<std::size_t>(*width));
  return {};
}

// Scatter. ---------------------------------------------------------------------------------------------------------

Scalar reduced(std::string_view reduction, const Scalar& now, const Scalar& update) {
  if (reduction == "add") return now + update;
  if (reduction == "mul") return now * update;
  if (reduction == "max") return Scalar::max(now, update);
  if (reduction == "min") return Scalar::min(now, update);
  return update;
}

/// Contents of data, indices and updates, when all are known; what scatters starts from a copy of the data.
struct Scattering {
  Contents result;
  const Contents* indices = nullptr;
  const Contents* updates = nullptr;
};
std::optional<Scattering> scattering(const Call& c) {
  const Contents* indices = c.ranked(kIndices) ? elements_of(c, kIndices) : nullptr;
  const Contents* updates = indices != nullptr ? elements_of(c, kUpdates) : nullptr;
  const Contents* data = updates != nullptr ? elements_of(c, kX) : nullptr;
  if (data == nullptr) return std::nullopt;
  return Scattering{*data, indices, updates};
}

Status infer_scatter_elements(const Call& c, Outputs& out) {
  out.set(0, c.in(kX));
  if (!c.ranked(kX) || !c.ranked(kIndices)) return {};
  const Shape& x = c.shape(kX);
  const Shape& shape = c.shape(kIndices);
  const auto axis = axis_in(c.integer("axis", 0), x.size());
  if (!axis || shape.size() != x.size()) {
    return bad(std::string(c.op()) + " into the shape " + text(x) + " with indices of the shape " + text(shape));
  }
  auto work = scattering(c);
  if (!work || work->indices->items.size() != work->updates->items.size()) return {};
  const Sizes into = *small_sizes(x);
  const Sizes hops = steps_of(into);
  const Sizes sizes = *small_sizes(shape);
  for (std::size_t k = 0; k < into.size(); ++k) {
    if (k != *axis && sizes[k] > into[k]) return bad("the indices are larger than the data");
  }
  const std::string_view reduction = c.text("reduction", "none");
  std::size_t n = 0;
  bool sure = true;
  each_position(sizes, [&](Sizes at) {
    const auto index = index_in(work->indices->items[n], into[*axis]);
    const Scalar& update = work->updates->items[n++];
    if (!index) {  // unknown or outside: nothing is known then, and there may be no place to put it
      sure = false;
      return;
    }
    at[*axis] = *index;
    Scalar& item = work->result.items[place_of(at, hops)];
    item = reduced(reduction, item, update);
  });
  if (sure) out.know(0, std::move(work->result));
  return {};
}

Status infer_scatter_nd(const Call& c, Outputs& out) {
  out.set(0, c.in(kX));
  if (!c.ranked(kX) || !c.ranked(kIndices)) return {};
  const Shape& x = c.shape(kX);
  const Shape& indices = c.shape(kIndices);
  const auto width = indices.back().constant();
  if (indices.empty() || (width && (*width < 0 || static_cast<std::size_t>(*width) > x.size()))) {
    return bad("ScatterND into the shape " + text(x) + " with indices of the shape " + text(indices));
  }
  auto work = width && *width > 0 ? scattering(c) : std::nullopt;
  if (!work) return {};
  const auto run = static_cast<std::size_t>(*numel(x, static_cast<std::size_t>(*width)).constant());
  const std::size_t tuples = work->indices->items.size() / static_cast<std::size_t>(*width);
  if (work->updates->items.size() != tuples * run || tuples == 0) return {};
  const std::string_view reduction = c.text("reduction", "none");
  std::size_t n = 0;
  for (const auto& to : runs_of(*work->indices, static_cast<std::size_t>(*width), *small_sizes(x), 0, tuples)) {
    if (!to) return {};
    for (std::size_t k = 0; k < run; ++k) {
      Scalar& item = work->result.items[*to + k];
      item = reduced(reduction, item, work->updates->items[n++]);
    }
  }
  out.know(0, std::move(work->result));
  return {};
}

Status cost_scatter(const Call& c, Cost& cost) {
  if (Status status = one_of(c, "reduction", {"none", "add", "mul", "max", "min"}); !status) return status;
  const std::string_view reduction = c.text("reduction", "none");
  const Count n = numel(c.shape(kUpdates));
  if (reduction == "add") {
    cost[Work::add] = n;
  } else if (reduction == "mul") {
    cost[Work::mul] = n;
  } else if (reduction == "max" || reduction == "min") {
    cost[Work::compare] = n;
  } else {
    cost.moves("moves data only");
  }
  return {};
}

/// The cache stays where it is: only the update is read and written.
Status cost_tensor_scatter(const Call& c, Cost& cost) {
  enum : std::size_t { kCache, kUpdate, kWhere };
  work::Reads reads(c);
  reads.all(kUpdate);
  reads.all(kWhere);
  reads.into(cost);
  cost.written = bytes(c.in(kUpdate));
  cost.moves("moves data only, into the cache in place");
  return {};
}

// As torch calls them. ----------------------------------------------------------------------------------------------

Status aten_embedding(const Call& c, Outputs& out) {
  const Shape &x = c.shape(kX), &indices = c.shape(kIndices);
  if (!c.ranked(kX) || !c.ranked(kIndices) || x.size() != 2) return {};
  if (class_of(c.dtype(kIndices)) != DTypeClass::integer) return {};  // torch says what is wrong
  Shape y = indices;
  y.push_back(x[1]);
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

Status aten_select(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kX);
  const auto axis = axis_in(c.integer("dim", 0), x.size());
  if (!axis || !c.ranked(kIndices)) return {};
  Shape y = x;
  y[*axis] = numel(c.shape(kIndices));
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

Status aten_gather(const Call& c, Outputs& out) {
  if (c.ranked(kX) && c.ranked(kIndices)) out.set(0, c.dtype(kX), c.shape(kIndices));
  return {};
}

/// Indices, where there are some, meet by broadcasting. What they make takes the place of the axes that they index, or
/// comes first when other axes lie between these. Of a mask only the data say how many elements it picks.
Status aten_index(const Call& c, Outputs& out) {
  if (!c.ranked(kX) || c.inputs() > c.shape(kX).size() + 1) return {};
  const Shape& x = c.shape(kX);
  Shape met, others;
  std::size_t first = 0, last = 0, count = 0;
  for (std::size_t axis = 0; axis < x.size(); ++axis) {
    if (axis + 1 >= c.inputs() || !c.given(axis + 1)) {
      others.push_back(x[axis]);
      continue;
    }
    const Type& index = c.at(axis + 1);
    if (!index.ranked || (index.dtype != DType::i64 && index.dtype != DType::i32)) return {};
    Shape both;
    if (Status status = broadcast(c, met, index.shape, both); !status) return status;
    met = std::move(both);
    if (count++ == 0) first = axis;
    last = axis;
  }
  const std::size_t place = last - first < count ? first : 0;
  Shape y(others.begin(), others.begin() + place);
  y.append(met.begin(), met.end());
  y.append(others.begin() + place, others.end());
  out.set(0, c.dtype(kX), std::move(y));
  return {};
}

/// Rows that are picked and folded, bag by bag; no bag is taken to be empty.
Status cost_embedding_bag(const Call& c, Cost& cost) {
  enum : std::size_t { kOffsets = 2, kWeights };
  enum : std::int64_t { kMean = 1, kLargest };
  const Shape& x = c.shape(kX);
  if (x.size() != 2) return bad("an embedding bag picks from a matrix, and has " + text(x));
  const Count y = numel(c.out_shape()), picked = numel(c.shape(kIndices)) * x[1];
  const std::int64_t mode = c.integer("mode", 0);
  cost[mode == kLargest ? Work::compare : Work::add] = picked - y;
  if (mode == kMean) cost[Work::div] = y;
  if (c.has(kWeights)) cost[Work::mul] = picked;
  work::Reads reads(c);
  reads.part(kX, picked).all(kIndices).all(kOffsets).all(kWeights).into(cost);
  return {};
}

Status cost_put(const Call& c, Cost& cost) {
  const bool adds = c.op() == "scatter_add" || c.op() == "index_add" || c.op() == "scatter_reduce" ||
                    c.op() == "index_reduce" || (c.op() == "put" && c.integer("accumulate", 0) != 0) ||
                    (c.op().ends_with("index_put") && c.integer("accumulate", 0) != 0);
  if (!adds) {
    cost.moves("moves data only");
    return {};
  }
  // What is put in comes last among the tensors.
  const std::string_view how = c.text("reduce", "sum");
  const Work kind = how == "prod" ? Work::mul : how == "amax" || how == "amin" ? Work::compare : Work::add;
  cost[kind] = numel(c.shape_at(c.inputs() - 1));
  if (how == "mean") cost[Work::div] = numel(c.out_shape());
  return {};
}

// Gradients. -------------------------------------------------------------------------------------------------------

/// Each is added to what it was picked from, the rest is 0.
Status gradient_gather(const Call& c, Gradient& g) {
  g[Work::add] = numel(c.out_shape());
  for (std::size_t i = 1; i < c.inputs(); ++i) g.keep_at(i);
  return {};
}

/// Each bag's gradient is added to the rows that it picked.
Status cost_embedding_bag_backward(const Call& c, Cost& cost) {
  enum : std::size_t { kDy = 0, kPicked };
  enum : std::int64_t { kMean = 1, kLargest };
  const Shape& dy = c.shape(kDy);
  if (dy.size() != 2) return bad("an embedding bag of another kind");
  const std::int64_t mode = c.integer("mode", 0);
  const Count picked = numel(c.shape(kPicked)) * dy[1];
  cost[Work::add] = mode == kLargest ? numel(dy) : picked;
  if (mode == kMean) cost[Work::div] = numel(dy);
  const std::size_t weights = c.op() == "_embedding_bag_backward" ? 6 : 5;  // by position
  if (c.inputs() > weights && c.given(weights)) cost[Work::mul] = picked;
  return {};
}

Status cost_bag_weights_backward(const Call& c, Cost& cost) {
  enum : std::size_t { kTable = 1, kPicked };  // by position
  const Shape& table = c.shape_at(kTable);
  cost[Work::mac] = numel(c.shape_at(kPicked)) * (table.empty() ? Dim(1) : table.back());
  return {};
}

/// Of a sum each picked row gets its bag's, times its weight; of a mean its share; of the largest each element goes to
/// where it is. A weight gets the product of its row with its bag's.
Status gradient_embedding_bag(const Call& c, Gradient& g) {
  enum : std::size_t { kOffsets = 2, kWeights };
  const Shape& x = c.shape(kX);
  const std::int64_t mode = c.integer("mode", 0);
  if (x.size() != 2) return bad("an embedding bag of another kind");
  const Count picked = numel(c.shape(kIndices)) * x[1], y = numel(c.out_shape());
  if (g.needs(kX)) {
    g[Work::add] = mode == 2 ? y : picked;
    if (mode == 1) g[Work::div] = y;
    if (c.has(kWeights)) g[Work::mul] = picked;
  }
  if (g.needs(kWeights)) {
    g[Work::mac] = picked;
    g.keep(kX);
  }
  if (mode == 2) g.keep_bytes(bytes(c.dtype(kIndices), y));
  for (const std::size_t slot : {std::size_t{kIndices}, std::size_t{kOffsets}, std::size_t{kWeights}}) g.keep(slot);
  return {};
}

/// What is put in gets the gradients from there, what was overwritten 0. What comes last is put in.
Status gradient_scatter(const Call& c, Gradient& g) {
  const std::string_view how = c.text("reduction", c.text("reduce", "none"));
  for (std::size_t i = 1; i + 1 < c.inputs(); ++i) g.keep_at(i);
  if (how != "none" && how != "add" && how != "sum") {  // by what each gave to the result, of which others have a share
    const std::size_t last = c.inputs() - 1;
    const Count updates = numel(c.shape_at(last));
    for (std::size_t i : {std::size_t{0}, last}) g.keep_at(i);
    g.keep_output();
    add_each(g.cost, {{Work::mul, 2}, {Work::div, 1}, {Work::compare, 1}}, updates);
    estimated(g, "what comes together in one place is data");
    return {};
  }
  g.cost.moves("moves data only");
  return {};
}

}  // namespace

std::vector<Rule> gather_rules() {
  const Text moves = "none: moves data only";
  const Text reduces = "one add, mul or compare for each update, as the reduction says; otherwise none";
  std::vector<Rule> rules = {
      {"gather", "x indices", "Slices picked by index along one axis", moves, onnx_page("Gather"), infer_gather,
       cost_gather,
       onnx({"Gather"}) + aten({"embedding"}, aten_embedding) + aten({"index_select"}, aten_select) +
           std::vector<Binding>{{"com.microsoft::TorchEmbedding", "x indices #padding_idx #scale_grad"}},
       nullptr, gradient_gather},
      {"embedding_bag",
       "x indices offsets weights",
       "Rows picked by index, folded bag by bag",
       "of i indices and rows of D: add = i*D - |y|, and div = |y| for a mean; the largest: compare in place of add; "
       "weights: mul = i*D; no bag is taken to be empty",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html",
       {},
       cost_embedding_bag,
       aten({"embedding_bag", "_embedding_bag", "_embedding_bag_forward_only"}),
       nullptr,
       gradient_embedding_bag},
      {"embedding_bag_backward",
       "dy indices",
       "The gradient of rows that were folded bag by bag, or of their weights",
       "of i indices and rows of D: add = i*D; mean: div = |dy|; weights: mul = i*D; their own: mac = i*D",
       "https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html",
       {},
       cost_embedding_bag_backward,
       aten({"_embedding_bag_backward", "_embedding_bag_dense_backward"}, {}, "dy indices") +
           aten({"_embedding_bag_per_sample_weights_backward"}, {}, {}, {}, cost_bag_weights_backward),
       nullptr,
       gradient_like_run},
      {"gather_elements", "x indices", "Elements picked by index along one axis", moves, onnx_page("GatherElements"),
       infer_gather_elements, cost_gather,
       onnx({"GatherElements"}) + aten({"gather"}, aten_gather) + aten({"take_along_dim", "take"}), nullptr,
       gradient_gather},
      {"gather_nd", "x indices", "Slices picked by tuples of indices", moves, onnx_page("GatherND"), infer_gather_nd,
       cost_gather,
       onnx({"GatherND"}) + microsoft({"GatherND"}) + aten({"index", "_unsafe_index"}, aten_index, "x indices...") +
           aten({"masked_select"}, {}, "x indices..."),
       nullptr, gradient_gather},
      {"scatter_elements", "x indices updates", "Elements put in by index along one axis", reduces,
       onnx_page("ScatterElements"), infer_scatter_elements, cost_scatter,
       onnx({"ScatterElements", "Scatter"}) +
           aten({"scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy", "index_fill", "put",
                 "index_reduce"},
                aten_same, "x indices updates", {}, cost_put) +
           aten({"masked_scatter", "masked_scatter_backward"}, {}, "x indices updates", {}, cost_put),
       nullptr, gradient_scatter},
      {"scatter_nd", "x indices updates", "Slices put in by tuples of indices", reduces, onnx_page("ScatterND"),
       infer_scatter_nd, cost_scatter,
       onnx({"ScatterND"}) + aten({"index_put", "_index_put_impl", "select_scatter", "slice_scatter"}, aten_same,
                                  "x indices...", {}, cost_put),
       nullptr, gradient_scatter},
      {"tensor_scatter", "cache update where", "A run of positions written into a cache",
       "none: moves data only, in place", onnx_page("TensorScatter"), infer_same, cost_tensor_scatter,
       onnx({"TensorScatter"})},
  };
  return with_gradients({{"tensor_scatter", gradient_moves()}}, std::move(rules));
}

}  // namespace macsim::rules
