// Text generation as one operator: BeamSearch, GreedySearch, Sampling, WhisperBeamSearch. Their bodies are run and
// counted: the encoder once, the decoder once a step.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "rules/contrib.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"
#include "walk.hpp"

namespace macsim::rules {
namespace {

constexpr std::string_view kWhy =
    "the longest search; sizes that grow from step to step are those that the decoder's body states, and the choice "
    "among tokens is not counted";

enum : std::size_t { kIds, kMostLength, kBeams, kReturns, kPenalty };

/// Sizes of a search.
struct Search {
  Shape ids;
  Dim batch, prompt, longest, beams = 1, returns = 1, vocab = Dim::undefined();
  bool greedy = false, encodes = false;
};

// A number that an input holds; a symbol when it is not known.
Dim number(Walk& walk, const Call& c, std::size_t slot, std::string_view what, std::string_view why) {
  if (const auto known = c.ints(slot); known && known->size() == 1 && known->front().defined()) return known->front();
  return walk.symbol(what, why);
}

Search search_of(Walk& walk, const Call& c) {
  Search s;
  s.ids = c.shape(kIds);
  const Shape& ids = s.ids;
  s.greedy = c.op() == "GreedySearch" || c.op() == "Sampling";
  s.encodes = walk.body_of("encoder") != kNone;
  s.batch = ids[0];
  s.prompt = s.encodes ? Dim(1) : ids[1];  // a decoder behind an encoder begins with its start token
  s.longest = number(walk, c, kMostLength, "max_length", "longest sequence to be generated");
  if (!s.greedy) {
    s.beams = number(walk, c, kBeams, "num_beams", "beams of a search");
    s.returns = number(walk, c, kReturns, "num_return_sequences", "sequences that a search returns");
  }
  if (c.integer("vocab_size", 0) > 0) s.vocab = c.integer("vocab_size", 0);
  return s;
}

// Runs a body once for each of `times`, with ids of this shape first. The last size of its first output (the logits) is
// the vocabulary's, when that is not yet known.
void run(Walk& walk, std::string_view attribute, const Shape& ids, const Count& times, Dim* vocab) {
  const std::uint32_t body = walk.body_of(attribute);
  if (body == kNone) return;
  const auto results =
      walk.run_body({body, std::string(attribute), walk.arguments_of(body, ids), times, Trust::estimate, kWhy});
  if (!results || results->empty() || vocab == nullptr || vocab->defined()) return;
  const Shape& logits = results->front().type.shape;
  if (logits.size() == 3) *vocab = logits.back();
}

Status run_search(Walk& walk, const Call& c, Outputs& out) {
  if (walk.body_of("decoder") == kNone) return bad("a search needs a decoder");
  Search s = search_of(walk, c);
  const Dim rows = s.batch * s.beams;
  const Dim steps = at_least_zero(c, s.longest - s.prompt);
  run(walk, "encoder", s.ids, 1, nullptr);
  if (s.encodes) {
    run(walk, "decoder", {rows, 1}, steps, &s.vocab);
  } else {  // the prompt goes first, as a whole
    const bool own = walk.body_of("init_decoder") != kNone;
    run(walk, own ? "init_decoder" : "decoder", {rows, s.prompt}, 1, &s.vocab);
    run(walk, "decoder", {rows, 1}, at_least_zero(c, steps - 1), &s.vocab);
  }
  if (s.greedy) {
    out.set(0, DType::i32, {s.batch, s.longest});
    out.set(1, DType::f32, {s.batch, s.vocab});
    return {};
  }
  const DType scores = c.has(kPenalty) ? c.dtype(kPenalty) : DType::f32;
  out.set(0, DType::i32, {s.batch, s.returns, s.longest});
  out.set(1, scores, {s.batch, s.returns});
  out.set(2, scores, {steps, s.batch, s.beams, s.vocab});
  const Dim unknown = Dim::undefined();
  out.set(3, DType::f32, {s.batch, s.returns, unknown, unknown, unknown});
  out.set(4, scores, {s.batch});
  return {};
}

}  // namespace

std::vector<Rule> search_rules() {
  const Text masks = " vocab_mask prefix_mask mask";
  const Text greedy = "ids #max_length #min_length #repetition" + masks;
  const Text beams =
      "ids #max_length #min_length #beams #returns #penalty #repetition" + masks + " decoder_ids #processor";
  Rule search;
  search.name = "search";
  search.slots = "ids #max_length #beams #returns #penalty";
  search.summary = "Text generated step by step, greedily, by sampling or with beams";
  search.formula = "the encoder once, the decoder for the prompt and then once a step, at most max_length in all";
  search.reference = contrib_doc("BeamSearch");
  search.spelled = {{"com.microsoft::BeamSearch", beams},
                    {"com.microsoft::WhisperBeamSearch", beams + " #layer_heads extra_ids #temperature"},
                    {"com.microsoft::GreedySearch", greedy},
                    {"com.microsoft::Sampling", greedy + " presence_mask #seed"}};
  search.control = run_search;
  search.gradient = NoGradient{"its results are no real numbers"};
  return {search};
}

}  // namespace macsim::rules
