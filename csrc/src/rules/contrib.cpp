// com.microsoft operators that belong to no other family: padding, n-grams, gates, and opaque compiled parts.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/contrib.hpp"
#include "rules/gradient.hpp"

#include <algorithm>

#include "rules/families.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

// Compiled parts: their bytes belong to someone else. -------------------------------------------------------------

Status infer_nothing(const Call&, Outputs&) { return {}; }  // types are those that the file states

Status cost_opaque(const Call&, Cost& cost) {
  cost.trust = Trust::unknown;
  cost.because = "a part of the model that was compiled for one device: what it computes is not stated";
  return {};
}

// RemovePadding, RestorePadding. -----------------------------------------------------------------------------------

enum : std::size_t { kPadded, kLengths };

Status infer_remove_padding(const Call& c, Outputs& out) {
  const Shape& x = c.shape(kPadded);
  Dim tokens = Dim::undefined();
  if (const auto lengths = c.ints(kLengths)) {
    tokens = 0;
    for (const Dim& length : *lengths) tokens += length;
  }
  if (!tokens.defined()) tokens = out.symbol("tokens", "tokens that are not padding");
  out.set(0, c.dtype(kPadded), {tokens, x[2]});
  out.set(1, DType::i32, {x[0], x[1]});
  out.set(2, DType::i32, {x[0] + 1});
  out.set(3, DType::i32, {1});
  return {};
}

Status cost_remove_padding(const Call& c, Cost& cost) {
  const Count rows = numel(c.shape(kLengths));
  cost[Work::add] = rows;          // lengths, summed up
  cost[Work::compare] = rows - 1;  // the longest
  cost.compute = DType::i32;
  work::Reads(c).part(kPadded, numel(c.out_shape())).all(kLengths).into(cost);
  return {};
}

Status infer_restore_padding(const Call& c, Outputs& out) {
  const Shape& at = c.shape(1);
  out.set(0, c.dtype(kPadded), {at[0], at[1], c.shape(kPadded)[1]});
  return {};
}

// BifurcationDetector, NGramRepeatBlock. ---------------------------------------------------------------------------

enum : std::size_t { kSource, kCurrent, kMatched, kPredicted };

Status infer_bifurcation(const Call& c, Outputs& out) {
  Dim tokens = c.shape(kCurrent)[0];
  if (c.has(kPredicted)) tokens = out.symbol("tokens", "current tokens and those taken over from the prediction");
  out.set(0, DType::i64, {tokens});
  out.set(1, DType::i64, c.shape(kMatched));
  return {};
}

// The prediction is put against the source once; then each length of suffix is searched for in the source, once or
// twice over.
Status cost_bifurcation(const Call& c, Cost& cost) {
  const Count source = c.shape(kSource)[0];
  const std::int64_t first = c.integer("min_ngram_size", 1), last = c.integer("max_ngram_size", 3);
  const std::int64_t lengths = last >= first ? (first + last) * (last - first + 1) / 2 : 0;
  cost[Work::compare] = (c.has(kPredicted) ? source : Count(0)) + source * (2 * lengths);
  cost.trust = Trust::bound;
  cost.because = "searches stop at the first difference; all places are counted";
  return {};
}

enum : std::size_t { kIds, kScores };

Status infer_repeat_block(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kScores), c.shape(kScores));
  return {};
}

// The last n - 1 ids against those before each place where an n-gram can end.
Status cost_repeat_block(const Call& c, Cost& cost) {
  const Shape& ids = c.shape(kIds);
  const std::int64_t n = c.integer("ngram_size", 1);
  cost[Work::compare] = ids[0] * at_least_zero(c, ids[1] - n + 1) * std::max<std::int64_t>(n - 1, 0);
  cost.compute = DType::i64;
  cost.trust = Trust::bound;
  cost.because = "a comparison of n-grams stops at the first difference; all ids are counted";
  return {};
}

// NGramHashMapping: hashes of the 2-grams to M-grams that end at each token, a few heads each. ---------------------

enum : std::size_t { kTokens, kMultipliers, kVocabs, kBounds, kPast, kOffsets, kEos, kSegments, kPastSegments };

struct Grams {
  std::int64_t longest = 2, heads = 1;
  std::int64_t past() const noexcept { return longest - 1; }
  std::int64_t hashes() const noexcept { return (longest - 1) * heads; }
};

Status read_grams(const Call& c, Grams& grams) {
  grams = {c.integer("max_ngram_size", 2), c.integer("n_head_per_ngram", 1)};
  return grams.longest < 2 ? bad("max_ngram_size must be 2 or more") : Status();
}

Status infer_hashes(const Call& c, Outputs& out) {
  Grams grams;
  if (Status status = read_grams(c, grams); !status) return status;
  Shape y = c.shape(kTokens);
  const Dim batch = c.has(kBounds) ? c.shape(kBounds)[0] - 1 : y.empty() ? Dim::undefined() : y[0];
  y.push_back(grams.hashes());
  const DType ids = c.dtype(kTokens);
  out.set(0, ids, std::move(y));
  out.set(1, ids, {batch, grams.past()});
  if (!c.has(kBounds)) return {};
  out.set(2, DType::i32, {batch, grams.past()});
  out.set(3, ids, {batch, c.integer("state_update_capacity", 0), grams.past()});
  return {};
}

// The hash of an n-gram goes on from that of the (n-1)-gram: a mul for each shift, a xor for each but the first.
Status cost_hashes(const Call& c, Cost& cost) {
  Grams grams;
  if (Status status = read_grams(c, grams); !status) return status;
  const Count tokens = numel(c.shape(kTokens));
  const Count y = numel(c.out_shape());
  cost[Work::mul] = tokens * grams.longest;
  cost[Work::logic] = tokens * grams.past();
  cost[Work::div] = y;  // modulo
  if (c.has(kOffsets)) cost[Work::add] = y;
  const bool resets = c.has(kEos) && c.integer("reset_on_eos", 0) != 0;
  cost[Work::compare] = tokens * ((resets ? 1 : 0) + (c.has(kSegments) ? 1 : 0));
  if (resets || c.has(kSegments)) cost[Work::logic] += tokens * grams.past();  // a shifted id or the filler
  return {};
}

// EngramGate. ------------------------------------------------------------------------------------------------------

enum : std::size_t { kKey, kQuery, kValue, kKeyScale, kQueryScale, kGatedScale };

Status infer_gate(const Call& c, Outputs& out) {
  out.set(0, c.dtype(kKey), c.shape(kKey));
  out.set(1, c.dtype(kKey), c.shape(kKey));
  return {};
}

// Key and query are normalised, their dot product over the root of the hidden size goes through a signed root and a
// sigmoid, and the gate scales the value.
Status cost_gate(const Call& c, Cost& cost) {
  const Shape& key = c.shape(kKey);
  const Count rows = numel(key, 0, 3);
  const Dim& hidden = key[3];
  work::rms_norm(cost, 2 * rows, hidden);
  cost[Work::mac] = rows * hidden;
  cost[Work::div] += rows;
  cost[Work::logic] += 2 * rows;  // sign, size
  cost[Work::compare] += rows;
  cost[Work::sqrt] += rows;
  cost[Work::mul] += rows;
  work::activation(cost, "sigmoid", rows);
  cost[Work::mul] += rows * hidden;
  if (c.wants(1)) work::rms_norm(cost, rows, hidden);
  return {};
}

// SpeculativePrefixCommit. -----------------------------------------------------------------------------------------

enum : std::size_t { kNext, kDraft, kStatus, kControl, kContext, kPrefixes, kRing };

Dim requests(const Call& c) {
  const Shape& next = c.shape(kNext);
  return next.size() == 2 ? next[0] : Dim(1);
}

Status infer_commit(const Call& c, Outputs& out) {
  out.set(0, DType::i32, {requests(c)});
  out.set(1, c.dtype(kControl), c.shape(kControl));
  out.set(2, c.dtype(kContext), c.shape(kContext));
  return {};
}

Status cost_commit(const Call& c, Cost& cost) {
  const Dim rows = c.shape(kNext).back();
  cost[Work::compare] = requests(c) * (rows - 1);
  cost[Work::add] = 2 * requests(c);  // the length and the place in the ring move on
  cost.compute = DType::i64;
  cost.trust = Trust::bound;
  cost.because = "drafts are compared until the first that differs; all are counted";
  return {};
}

Rule row(Text name, Text slots, Text summary, Text formula, std::initializer_list<std::string_view> ops, InferFn infer,
         CostFn cost) {
  return {std::move(name),
          std::move(slots),
          std::move(summary),
          std::move(formula),
          contrib_doc(*ops.begin()),
          std::move(infer),
          std::move(cost),
          microsoft(ops),
          nullptr};
}

std::vector<Rule> small_rules() {
  Rule hashes =
      row("ngram_hashes", "tokens multipliers vocabs bounds past offsets #eos segments past_segments #captures",
          "Hashes of the n-grams that end at each token",
          "mul = tokens * M; logic = tokens * (M - 1); div = |y|; add = |y| with offsets; compare = tokens for "
          "each kind of boundary",
          {"NGramHashMapping", "VarlenNGramHashMapping"}, infer_hashes, cost_hashes);
  hashes.spelled[0].slots = "tokens multipliers vocabs past offsets #eos segments";
  std::vector<Rule> rules = {
      row("compiled_part", "xs...", "A part of the model, compiled for a device",
          "unknown: what it computes is not stated", {"EPContext", "Snpe"}, infer_nothing, cost_opaque),
      row("remove_padding", "x lengths", "Tokens that are not padding, packed", "add = batch; compare = batch - 1",
          {"RemovePadding"}, infer_remove_padding, cost_remove_padding),
      row("restore_padding", "x offsets", "Packed tokens, put back between padding", "no work; reads |x|, writes |y|",
          {"RestorePadding"}, infer_restore_padding, cost_moves("moves data only")),
      row("bifurcation", "source current matched predicted", "Predicted tokens joined to the current ones",
          "at most: compare = |source| * (1 + 2 * the sum of the suffix lengths)", {"BifurcationDetector"},
          infer_bifurcation, cost_bifurcation),
      row("ngram_repeat_block", "ids scores", "Scores of tokens that would repeat an n-gram",
          "at most: compare = batch * (S - n + 1) * (n - 1)", {"NGramRepeatBlock"}, infer_repeat_block,
          cost_repeat_block),
      std::move(hashes),
      row("engram_gate", "key query value key_scale query_scale gated_scale",
          "A gate from a key and a query on a value",
          "two RMS norms of |key|, a third for the normed output; mac = |key|; mul = |key|; on each row sign, size, "
          "root and sigmoid",
          {"EngramGate"}, infer_gate, cost_gate),
      row("speculative_commit", "next draft #status control context prefixes #ring",
          "Accepts the drafts that agree with the prediction", "at most: compare = batch * (rows - 1); add = 2 * batch",
          {"SpeculativePrefixCommit"}, infer_commit, cost_commit),
      row("echo", "x", "A copy", "no work; reads |x|, writes |y|", {"SampleOp"}, infer_same,
          cost_moves("moves data only")),
  };
  return with_gradients({{"remove_padding", gradient_moves()},
                         {"restore_padding", gradient_moves()},
                         {"bifurcation", NoGradient{"its results are no real numbers"}},
                         {"ngram_repeat_block", gradient_moves()},
                         {"ngram_hashes", NoGradient{"its results are no real numbers"}},
                         {"engram_gate", gradient_of_network},
                         {"speculative_commit", NoGradient{"its results are no real numbers"}},
                         {"echo", gradient_view()}},
                        std::move(rules));
}

}  // namespace

std::vector<Rule> contrib_family() { return joined(small_rules(), search_rules(), legacy_rules()); }

}  // namespace macsim::rules
