// Control flow: If, Loop, Scan, SequenceMap. They have no work of their own; their bodies are run and counted.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "rules/families.hpp"
#include "rules/support.hpp"
#include "walk.hpp"

namespace macsim::rules {
namespace {

constexpr std::int64_t kMostUnrolled = 1024;  // iterations that are run one by one when they differ
constexpr int kMostWidenings = 4;

Truth truth_of(const Contents* contents) {
  if (contents == nullptr || contents->items.size() != 1) return Truth::depends;
  return contents->items.front().nonzero();
}
Truth truth_of(const Part& part) { return truth_of(part.contents.get()); }

bool same_type(const Type& a, const Type& b) {
  if (a.dtype != b.dtype || a.kind != b.kind || a.ranked != b.ranked || a.shape != b.shape) return false;
  if (a.element == nullptr || b.element == nullptr) return a.element == b.element;
  return same_type(*a.element, *b.element);
}

/// Whether nothing that follows can tell one from the other.
bool same_results(const std::vector<Part>& a, const std::vector<Part>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Part& x, const Part& y) {
    return same_type(x.type, y.type) && x.contents == nullptr && y.contents == nullptr;
  });
}

// If. --------------------------------------------------------------------------------------------------------------

void give_outputs(Walk& walk, std::vector<Part> results) {
  for (std::size_t i = 0; i < results.size(); ++i) walk.set_output(i, std::move(results[i]));
}

Status run_branch(Walk& walk, std::string_view which, Trust floor, std::string_view because) {
  auto results = walk.run_body({walk.body_of(which), std::string(which), {}, 1, floor, because});
  if (results) give_outputs(walk, std::move(*results));
  return {};
}

// Whether the first of two amounts of work is the larger one. Where that depends on sizes, it is asked for all sizes
// at 64, and the answer is an estimate.
bool first_is_larger(const Count& a, const Count& b, bool& sure) {
  sure = true;
  if (at_least(a, b, 1) == Truth::yes) return true;
  if (at_least(b, a, 1) == Truth::yes) return false;
  sure = false;
  const auto value = [](const Count& count) {
    Bindings all;
    for (const std::string& symbol : count.symbols()) all.emplace(symbol, 64);
    return count.bind(all).real().value_or(0);
  };
  return value(a) >= value(b);
}

Status run_if(Walk& walk, const Call& c, Outputs&) {
  if (walk.body_of("then_branch") == kNone || walk.body_of("else_branch") == kNone) {
    return bad("If needs a then_branch and an else_branch");
  }
  switch (truth_of(c.contents(0))) {
    case Truth::yes:
      return run_branch(walk, "then_branch", Trust::exact, {});
    case Truth::no:
      return run_branch(walk, "else_branch", Trust::exact, {});
    case Truth::depends:
      break;
  }
  // Both are tried; the larger stays.
  const auto before = walk.mark();
  auto then_results = walk.run_body({walk.body_of("then_branch"), "then_branch", {}, 1, Trust::exact, {}});
  const Count then_work = walk.macs_since(before);
  const std::size_t then_rows = walk.mark().rows - before.rows;
  walk.undo(before);
  auto else_results = walk.run_body({walk.body_of("else_branch"), "else_branch", {}, 1, Trust::exact, {}});
  const Count else_work = walk.macs_since(before);
  const std::size_t else_rows = walk.mark().rows - before.rows;
  walk.undo(before);
  if (!then_results || !else_results) return {};
  bool sure = true;
  const bool then_larger = then_work == else_work ? then_rows > else_rows : first_is_larger(then_work, else_work, sure);
  const std::string_view which = then_larger ? "then_branch" : "else_branch";
  walk.remark(Code::larger_branch, "the condition is not known; " + std::string(which) + " is counted (" +
                                       (then_larger ? then_work : else_work).str() + " MACs against " +
                                       (then_larger ? else_work : then_work).str() + ")");
  // Where both give the same, what follows does not depend on which of them runs: then sizes that only the counted one
  // refuses are not refused.
  std::optional<Walk::Unsure> unsure;
  if (same_results(*then_results, *else_results)) unsure.emplace(walk);
  return run_branch(walk, which, sure ? Trust::bound : Trust::estimate,
                    "the larger branch of an If whose condition is not known");
}

// Loop. ------------------------------------------------------------------------------------------------------------

struct LoopShape {
  std::uint32_t body = kNone;
  std::size_t carried = 0, scanned = 0;
};

Part scalar_part(DType dtype, const Scalar& value) {
  Part part{Type::of(dtype, {}), nullptr};
  if (value.known()) {
    Contents contents;
    contents.items.push_back(value);
    part.contents = std::make_shared<const Contents>(std::move(contents));
  }
  return part;
}

Part stacked(const Part& element, const Dim& trips) {
  Part out{element.type, nullptr};
  if (out.type.ranked) out.type.shape.insert(0, trips);
  return out;
}

std::vector<Part> loop_arguments(const Scalar& iteration, const Part& condition, const std::vector<Part>& state) {
  std::vector<Part> out{scalar_part(DType::i64, iteration), condition};
  out.insert(out.end(), state.begin(), state.end());
  return out;
}

// Runs a loop iteration by iteration, while its condition and trip count are known. false: they were not; everything
// is undone.
bool unroll(Walk& walk, const LoopShape& loop, std::optional<std::int64_t> trips, std::vector<Part> state,
            Part condition, std::vector<Part>& results) {
  const auto before = walk.mark();
  std::vector<Part> scanned(loop.scanned);
  std::int64_t done = 0;
  for (; !trips || done < *trips; ++done) {
    const Truth go = truth_of(condition);
    if (go == Truth::no) break;
    if (go == Truth::depends || done == kMostUnrolled) {
      walk.undo(before);
      return false;
    }
    auto out = walk.run_body({loop.body,
                              "body[" + std::to_string(done) + "]",
                              loop_arguments(Scalar::integer(done), condition, state),
                              1,
                              Trust::exact,
                              {}});
    if (!out || out->size() != 1 + loop.carried + loop.scanned) {
      walk.undo(before);
      return false;
    }
    condition = std::move((*out)[0]);
    for (std::size_t i = 0; i < loop.carried; ++i) state[i] = std::move((*out)[1 + i]);
    for (std::size_t i = 0; i < loop.scanned; ++i) {
      Part& part = (*out)[1 + loop.carried + i];
      if (done == 0) {
        scanned[i] = std::move(part);
      } else {
        scanned[i].type = common(scanned[i].type, part.type);
      }
    }
  }
  results = std::move(state);
  for (Part& part : scanned) results.push_back(stacked(part, done));
  return true;
}

// Makes the state's types such that one iteration does not change them: sizes that vary become symbols.
bool widen(Walk& walk, std::vector<Part>& state, const std::vector<Part>& after) {
  bool stable = true;
  for (std::size_t i = 0; i < state.size(); ++i) {
    Type& now = state[i].type;
    const Type& next = after[1 + i].type;
    if (same_type(now, next)) continue;
    stable = false;
    if (now.kind != next.kind || !now.ranked || !next.ranked || now.shape.size() != next.shape.size()) {
      now = common(now, next);
      continue;
    }
    if (now.dtype != next.dtype) now.dtype = DType::unknown;
    for (std::size_t axis = 0; axis < now.shape.size(); ++axis) {
      const Type& fixed = now;
      if (fixed.shape[axis] == next.shape[axis]) continue;
      now.shape[axis] = walk.symbol("carried" + std::to_string(i) + "." + std::to_string(axis),
                                    "a size that changes from iteration to iteration");
    }
  }
  return stable;
}

// Lists that grow: an empty one says nothing of its elements, so one iteration is run to see what it puts in.
bool learn_elements(Walk& walk, const LoopShape& loop, const Part& condition, std::vector<Part>& state) {
  const auto before = walk.mark();
  for (Part& part : state) {
    if (part.type.kind == Kind::tensor) part.contents = nullptr;
  }
  const auto trial =
      walk.run_body({loop.body, "body", loop_arguments(Scalar(), condition, state), 1, Trust::exact, {}});
  walk.undo(before);
  if (!trial) return false;
  for (std::size_t i = 0; i < loop.carried; ++i) {
    Part& part = state[i];
    if (part.type.kind != Kind::sequence) continue;
    const Type& next = (*trial)[1 + i].type;
    const bool empty = part.contents != nullptr && part.contents->parts.empty();
    part.type = empty && next.kind == Kind::sequence ? next : common(part.type, next);
  }
  return true;
}

Status run_loop(Walk& walk, const Call& c, Outputs&) {
  LoopShape loop;
  loop.body = walk.body_of("body");
  if (loop.body == kNone) return bad("Loop needs a body");
  loop.carried = c.inputs() > 2 ? c.inputs() - 2 : 0;
  std::vector<Part> initial;
  initial.reserve(loop.carried);
  for (std::size_t i = 0; i < loop.carried; ++i) initial.push_back(walk.part_at(2 + i));
  if (walk.results_of(loop.body) < 1 + loop.carried) {
    return bad("the body of a Loop gives a condition and what is carried, " + std::to_string(1 + loop.carried) +
               " values in all; this one gives " + std::to_string(walk.results_of(loop.body)));
  }
  const std::size_t outputs = c.outputs();
  loop.scanned = outputs > loop.carried ? outputs - loop.carried : 0;

  const Contents* count = c.contents_at(0);
  Dim most = Dim::undefined();  // the trip count input
  if (count != nullptr && count->items.size() == 1) most = count->items.front().whole();
  Part condition = c.given(1) ? walk.part_at(1) : scalar_part(DType::boolean, Scalar::integer(1));
  const auto constant_trips = most.constant();
  const Truth starts = truth_of(condition);

  // A trial: what does one iteration, of which nothing is known, do to the state?
  std::vector<Part> state = initial;
  const auto before = walk.mark();
  const Part unknown_condition = scalar_part(DType::boolean, Scalar());
  const Part true_condition = scalar_part(DType::boolean, Scalar::integer(1));
  const bool lists = std::any_of(state.begin(), state.end(), [](const Part& p) { return p.type.kind != Kind::tensor; });
  if (lists && !learn_elements(walk, loop, true_condition, state)) return {};
  for (Part& part : state) part.contents = nullptr;
  auto trial = walk.run_body({loop.body, "body", loop_arguments(Scalar(), true_condition, state), 1, Trust::exact, {}});
  if (!trial) return {};
  loop.scanned = trial->size() - 1 - loop.carried;
  const bool uneven = walk.unknown_since(before) || walk.fresh_since(before);
  bool stable = true;
  for (std::size_t i = 0; i < loop.carried; ++i) stable = stable && same_type(state[i].type, (*trial)[1 + i].type);
  const Truth goes_on = truth_of((*trial)[0]);
  const bool counted = goes_on == Truth::yes && starts == Truth::yes && most.defined();
  walk.undo(before);

  const bool none = starts == Truth::no || constant_trips.value_or(1) <= 0;
  const bool try_unroll = !none && (!counted || !stable || uneven || lists) &&
                          (!constant_trips || *constant_trips <= kMostUnrolled || goes_on != Truth::yes);
  std::vector<Part> results;
  if (try_unroll && (constant_trips || !most.defined() || c.given(1)) &&
      unroll(walk, loop, constant_trips, initial, condition, results)) {
    give_outputs(walk, std::move(results));
    return {};
  }

  bool widened = false;
  for (int round = 0; !none && !stable && round < kMostWidenings; ++round) {
    widened = true;
    stable = widen(walk, state, *trial);
    if (stable) break;
    const auto again = walk.mark();
    trial = walk.run_body({loop.body, "body", loop_arguments(Scalar(), true_condition, state), 1, Trust::exact, {}});
    walk.undo(again);
    if (!trial) return {};
  }
  if (widened) {
    for (std::size_t i = 0; i < state.size(); ++i) {
      if (!same_type(state[i].type, (*trial)[1 + i].type)) state[i].type = common(state[i].type, (*trial)[1 + i].type);
    }
  }
  Dim trips = none ? Dim(0) : counted ? at_least_zero(c, most) : Dim::undefined();
  if (!trips.defined()) {
    const std::string why = most.defined() ? "trips of a Loop, at most " + most.str() : "trips of a Loop";
    trips = walk.symbol("trips", why);
    walk.remark(Code::unknown_trips, "how often the loop runs depends on data; it is " + trips.str());
  }
  auto last = walk.run_body(
      {loop.body, "body", loop_arguments(Scalar(), none ? unknown_condition : true_condition, state), trips,
       widened ? Trust::estimate : Trust::exact, "sizes change from iteration to iteration; a symbol stands for each"});
  if (!last) return {};
  for (std::size_t i = 0; i < loop.carried; ++i) {
    Part& part = (*last)[1 + i];
    part.contents = nullptr;
    walk.set_output(i, none ? std::move(initial[i]) : std::move(part));
  }
  for (std::size_t i = 0; i < loop.scanned; ++i) {
    walk.set_output(loop.carried + i, stacked((*last)[1 + loop.carried + i], trips));
  }
  return {};
}

// Scan. ------------------------------------------------------------------------------------------------------------

std::size_t scan_axis(Span<std::int64_t> axes, std::size_t i, std::size_t rank) {
  return i < axes.size() ? axis_in(axes[i], rank).value_or(0) : 0;
}

Status run_scan(Walk& walk, const Call& c, Outputs&) {
  // Version 8 has a sequence_lens input first and a batch axis before the scanned one.
  const bool batched = c.version() < 9;
  const std::size_t first = batched ? 1 : 0;
  const std::uint32_t body = walk.body_of("body");
  const auto scans = static_cast<std::size_t>(std::max<std::int64_t>(c.integer("num_scan_inputs", 0), 0));
  if (body == kNone || c.inputs() < first + scans) return bad("Scan needs a body and num_scan_inputs inputs");
  const std::size_t states = c.inputs() - first - scans;
  Dim trips = Dim::undefined();
  Dim batch = 1;
  std::vector<Part> arguments;
  for (std::size_t i = 0; i < states; ++i) {
    Part part = walk.part_at(first + i);
    part.contents = nullptr;
    if (batched && part.type.ranked && !part.type.shape.empty()) {
      batch = static_cast<const Type&>(part.type).shape[0];
      part.type.shape.erase(0);
    }
    arguments.push_back(std::move(part));
  }
  for (std::size_t i = 0; i < scans; ++i) {
    Part part = walk.part_at(first + states + i);
    part.contents = nullptr;
    Type& type = part.type;
    const std::size_t needed = batched ? 2 : 1;
    if (type.ranked && type.shape.size() >= needed) {
      if (batched) {
        batch = static_cast<const Type&>(type).shape[0];
        type.shape.erase(0);
      }
      const std::size_t axis = batched ? 0 : scan_axis(c.integers("scan_input_axes"), i, type.shape.size());
      const Dim size = static_cast<const Type&>(type).shape[axis];
      trips = trips.defined() ? unify(c, trips, size, "scanned sizes") : size;
      type.shape.erase(axis);
    }
    arguments.push_back(std::move(part));
  }
  if (!trips.defined()) trips = walk.symbol("trips", "trips of a Scan");
  if (!batch.defined()) batch = walk.symbol("batch", "batch of a Scan");
  auto results = walk.run_body({body, "body", std::move(arguments), trips * batch, Trust::exact, {}});
  if (!results) return {};
  for (std::size_t i = 0; i < results->size(); ++i) {
    Part part = std::move((*results)[i]);
    part.contents = nullptr;
    if (part.type.ranked) {
      if (i >= states) {
        const std::size_t rank = part.type.shape.size() + 1;
        part.type.shape.insert(batched ? 0 : scan_axis(c.integers("scan_output_axes"), i - states, rank), trips);
      }
      if (batched) part.type.shape.insert(0, batch);
    }
    walk.set_output(i, std::move(part));
  }
  return {};
}

// SequenceMap. -----------------------------------------------------------------------------------------------------

Part element_of(const Part& sequence) {
  Part out;
  if (sequence.type.kind != Kind::sequence) return sequence;
  if (sequence.type.element != nullptr) out.type = *sequence.type.element;
  return out;
}

Type sequence_of(const Type& element) {
  Type out;
  out.kind = Kind::sequence;
  out.dtype = element.dtype;
  out.element = std::make_shared<const Type>(element);
  return out;
}

Status run_sequence_map(Walk& walk, const Call& c, Outputs&) {
  const std::uint32_t body = walk.body_of("body");
  if (body == kNone || c.inputs() == 0) return bad("SequenceMap needs a body and a sequence");
  std::vector<Part> given;
  given.reserve(c.inputs());
  for (std::size_t i = 0; i < c.inputs(); ++i) given.push_back(walk.part_at(i));
  const ContentsPtr known = given.front().contents;
  if (known == nullptr || given.front().type.kind != Kind::sequence) {
    std::vector<Part> arguments;
    arguments.reserve(given.size());
    for (const Part& part : given) arguments.push_back(element_of(part));
    const Dim trips = walk.symbol("trips", "elements of a sequence");
    walk.remark(Code::unknown_trips, "how many elements the sequence has is not known; it is " + trips.str());
    auto results = walk.run_body({body, "body", std::move(arguments), trips, Trust::exact, {}});
    if (!results) return {};
    for (std::size_t i = 0; i < results->size(); ++i) walk.set_output(i, {sequence_of((*results)[i].type), nullptr});
    return {};
  }
  std::vector<Contents> sequences(c.outputs());
  for (std::size_t n = 0; n < known->parts.size(); ++n) {
    std::vector<Part> arguments;
    arguments.reserve(given.size());
    for (const Part& part : given) {
      const bool has = part.type.kind == Kind::sequence && part.contents != nullptr && n < part.contents->parts.size();
      arguments.push_back(has ? part.contents->parts[n] : element_of(part));
    }
    auto results = walk.run_body({body, "body[" + std::to_string(n) + "]", std::move(arguments), 1, Trust::exact, {}});
    if (!results) return {};
    for (std::size_t i = 0; i < results->size() && i < sequences.size(); ++i) {
      sequences[i].parts.push_back(std::move((*results)[i]));
    }
  }
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    Type element;
    for (std::size_t n = 0; n < sequences[i].parts.size(); ++n) {
      element = n == 0 ? sequences[i].parts[n].type : common(element, sequences[i].parts[n].type);
    }
    walk.set_output(i, {sequence_of(element), std::make_shared<const Contents>(std::move(sequences[i]))});
  }
  return {};
}

Rule control(Text name, Text slots, Text summary, Text formula, std::string_view op, ControlFn run) {
  Rule rule;
  rule.name = std::move(name);
  rule.slots = std::move(slots);
  rule.summary = std::move(summary);
  rule.formula = std::move(formula);
  rule.reference = onnx_page(op);
  rule.spelled = onnx({op});
  rule.control = run;
  return rule;
}

}  // namespace

std::vector<Rule> control_family() {
  return {
      control("if", "#cond", "One of two bodies",
              "the branch that runs; when the condition is not known, the one with more MACs, as a bound", "If",
              run_if),
      control("loop", "#trips #cond state...", "A body, repeated",
              "trips * body; iterations that differ are counted one by one; trips is a symbol when it depends on data",
              "Loop", run_loop),
      control("scan", "inputs...", "A body over the slices of its inputs", "length of the scanned axis * body", "Scan",
              run_scan),
      control("sequence_map", "inputs...", "A body over the elements of a sequence",
              "sum of the body over the elements", "SequenceMap", run_sequence_map),
  };
}

}  // namespace macsim::rules
