// Text: joining, splitting and matching strings, tokens, tf-idf, hashes. The lengths of texts are data: an operation on
// a text counts as one comparison, whatever its length. Copyright macsim contributors. SPDX-License-Identifier:
// Apache-2.0
#include <algorithm>

#include "rules/families.hpp"
#include "rules/gradient.hpp"
#include "rules/support.hpp"
#include "rules/work.hpp"

namespace macsim::rules {
namespace {

constexpr std::string_view kPerText = "a text counts as one operation; how long it is depends on data";

enum : std::size_t { kX, kY };

// StringConcat, RegexFullMatch. ------------------------------------------------------------------------------------

Status infer_concat(const Call& c, Outputs& out) {
  Shape z;
  if (!c.ranked(kX) || !c.ranked(kY)) {
    out.unranked(0, DType::string);
    return {};
  }
  const Status status = broadcast(c, c.shape(kX), c.shape(kY), z);
  if (!status) {
    out.unranked(0, DType::string);
    return bad(std::string(status.text()));
  }
  out.set(0, DType::string, std::move(z));
  return {};
}

Status cost_concat(const Call&, Cost& cost) {
  cost.trust = Trust::estimate;
  cost.moves("joins texts; their bytes are not counted");
  return {};
}

Status cost_a_text(const Call& c, Cost& cost) {
  cost[Work::compare] = numel(c.shape(kX));
  cost.compute = DType::u8;
  cost.trust = Trust::estimate;
  cost.because = kPerText;
  return {};
}

// StringSplit, Tokenizer. ------------------------------------------------------------------------------------------

Status infer_split(const Call& c, Outputs& out) {
  Shape y = c.shape(kX);
  out.set(1, DType::i64, y);
  std::string why = "most pieces that a text is split into";
  if (c.has_attr("maxsplit")) why += ", at most " + std::to_string(c.integer("maxsplit", 0) + 1);
  y.push_back(out.symbol("pieces", why));
  out.set(0, DType::string, std::move(y));
  return {};
}

Status infer_tokenizer(const Call& c, Outputs& out) {
  Shape y = c.shape(kX);
  if (c.ranked(kX) && (y.empty() || y.size() > 2))
    return bad("texts of shape [C] or [N, C] are needed, not " + text(y));
  if (c.ranked(kX) && y.back().is(0)) {  // nothing in: the same comes out
    out.set(0, DType::string, std::move(y));
    return {};
  }
  const bool marked = c.integer("mark", 0) != 0;
  y.push_back(out.symbol("tokens", marked ? "most tokens of a text, its two marks included" : "most tokens of a text"));
  out.set(0, DType::string, std::move(y));
  return {};
}

// StringNormalizer. ------------------------------------------------------------------------------------------------

Status infer_normalizer(const Call& c, Outputs& out) {
  Shape y = c.shape(kX);
  const bool row = y.size() == 2 && (y[0].is(1) || !y[0].is_constant());
  if (c.ranked(kX) && y.size() != 1 && !row) {
    out.unranked(0, DType::string);
    return bad("texts of shape [C] or [1, C] are needed, not " + text(y));
  }
  if (!y.empty() && !c.texts("stopwords").empty()) y.back() = out.symbol("kept", "texts that are not stop words");
  out.set(0, DType::string, std::move(y));
  return {};
}

Status cost_normalizer(const Call& c, Cost& cost) {
  const Count texts = numel(c.shape(kX));
  const std::string_view change = c.text("case_change_action", "NONE");
  cost[Work::compare] = texts * c.texts("stopwords").size();
  if (change == "LOWER" || change == "UPPER") cost[Work::convert] = numel(c.out_shape());
  cost.compute = DType::u8;
  cost.trust = Trust::estimate;
  cost.because = kPerText;
  return {};
}

// TfIdfVectorizer. -------------------------------------------------------------------------------------------------

Status infer_tfidf(const Call& c, Outputs& out) {
  const Span<std::int64_t> indexes = c.integers("ngram_indexes");
  if (indexes.empty()) return bad("ngram_indexes is missing");
  const std::int64_t width = *std::max_element(indexes.begin(), indexes.end()) + 1;
  const Shape& x = c.shape(kX);
  if (x.size() > 2) return bad("an input of shape [C] or [N, C] is needed, not " + text(x));
  Shape y;
  if (x.size() == 2) y.push_back(x[0]);
  y.push_back(width);
  out.set(0, DType::f32, std::move(y));
  return {};
}

// Every item starts an n-gram for each distance between its items; it takes at most max_gram_length look-ups.
Status cost_tfidf(const Call& c, Cost& cost) {
  const Count items = numel(c.shape(kX));
  const Count y = numel(c.out_shape());
  const std::int64_t longest = std::max<std::int64_t>(c.integer("max_gram_length", 1), 0);
  const std::int64_t shortest = std::max<std::int64_t>(c.integer("min_gram_length", 1), 1);
  const std::int64_t distances = longest <= 1 ? 1 : std::max<std::int64_t>(c.integer("max_skip_count", 0), 0) + 1;
  const std::string_view mode = c.text("mode", "TF");
  const bool weighted = c.has_attr("weights");
  cost[Work::compare] = items * (longest * distances);
  // Single items are counted once, whatever the distance.
  const std::int64_t once = shortest == 1 && longest >= 1 ? 1 : 0;
  cost[Work::add] =
      items * (once + std::max<std::int64_t>(longest - std::max<std::int64_t>(shortest, 2) + 1, 0) * distances);
  if (mode == "TFIDF" && weighted) cost[Work::mul] = y;
  if (mode == "IDF") cost[Work::compare] += y;
  cost.compute = DType::f32;
  cost.trust = Trust::bound;
  cost.because = "every n-gram is taken to be in the pool; a look-up counts as one comparison";
  return {};
}

// MurmurHash3. -----------------------------------------------------------------------------------------------------

Status infer_hash(const Call& c, Outputs& out) {
  out.set(0, c.integer("positive", 1) != 0 ? DType::u32 : DType::i32, c.shape(kX));
  return {};
}

// A block of 4 bytes: mul c1, rotate (3), mul c2, xor, rotate (3), mul 5, add. The end: xor of the length, then shift
// and xor (2) three times with a mul after the first and the second.
Status cost_hash(const Call& c, Cost& cost) {
  const Count elements = numel(c.shape(kX));
  const bool texts = c.dtype(kX) == DType::string;
  const std::int64_t blocks = texts ? 1 : std::max(bits_of(c.dtype(kX)) / 32, 1);
  cost[Work::mul] = elements * (3 * blocks + 2);
  cost[Work::add] = elements * blocks;
  cost[Work::logic] = elements * (7 * blocks + 7);
  cost.compute = DType::u32;
  if (texts) {
    cost.trust = Trust::estimate;
    cost.because = "a text counts as one block of 4 bytes; how long it is depends on data";
  }
  return {};
}

}  // namespace

std::vector<Rule> text_family() {
  std::vector<Rule> rules = {
      {"string_concat", "x y", "Texts joined pair by pair", "no work; the bytes of texts are not counted",
       onnx_page("StringConcat"), infer_concat, cost_concat, onnx({"StringConcat"})},
      {"string_split", "x", "Texts cut at a delimiter", "compare = |x|, one a text", onnx_page("StringSplit"),
       infer_split, cost_a_text, onnx({"StringSplit"})},
      {"string_normalizer", "x", "Stop words dropped, case changed",
       "compare = |x| * stop words; convert = |y| with a change of case", onnx_page("StringNormalizer"),
       infer_normalizer, cost_normalizer, onnx({"StringNormalizer"})},
      {"regex_full_match", "x", "Whether a pattern matches each whole text", "compare = |x|, one a text",
       onnx_page("RegexFullMatch"), infer_same_as(DType::boolean), cost_a_text, onnx({"RegexFullMatch"})},
      {"tfidf", "x", "Counts of n-grams, perhaps weighted",
       "at most: compare = |x| * max_gram_length * (max_skip_count + 1), + |y| for IDF; add = |x| for each n and "
       "distance, single items once; mul = |y| for TFIDF with weights",
       onnx_page("TfIdfVectorizer"), infer_tfidf, cost_tfidf, onnx({"TfIdfVectorizer"})},
      {"tokenizer", "x", "Texts cut into tokens", "compare = |x|, one a text", contrib_doc("Tokenizer"),
       infer_tokenizer, cost_a_text, microsoft({"Tokenizer"})},
      {"murmur_hash", "x", "MurmurHash3 of each element, 32 bits",
       "with b blocks of 4 bytes an element: mul = |x| * (3b + 2); add = |x| * b; logic = |x| * (7b + 7)",
       contrib_doc("MurmurHash3"), infer_hash, cost_hash, microsoft({"MurmurHash3"})},
  };
  return without_gradients("a function of texts, or of bits", std::move(rules));
}

}  // namespace macsim::rules
