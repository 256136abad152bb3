// The walker: goes through a model once, in order, infers every type and counts every node. Private.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "macsim/report.hpp"

namespace macsim {

/// One execution of a graph or body: the types of its values, and what is known of their contents.
struct Frame {
  const Graph* graph = nullptr;
  std::uint32_t outer = kNone;           ///< the frame that runs this one, into Analysis::frames
  const Node* caller = nullptr;          ///< the node of `outer` that runs it
  const Function* function = nullptr;    ///< when this is a function's body
  std::uint32_t function_frame = kNone;  ///< the nearest enclosing frame of a function (itself, perhaps)
  std::string label;                     ///< "then_branch", "body[3]": its part of a path; empty for the model's graph
  Count times = 1;                       ///< how often it runs
  Count weight_times = 1;      ///< how often weights are read: where many runs are one over more data, less often
  Trust floor = Trust::exact;  ///< rows in it are not better than this
  std::string_view because;    ///< why not

  std::vector<Type> types;           ///< by value
  std::vector<std::uint32_t> known;  ///< by value: into `contents`; kNone
  std::vector<ContentsPtr> contents;
  std::vector<const Stored*> origins;           ///< by value: the stored tensor behind it; empty for the model's graph
  std::unordered_map<ValueId, ValueId> spread;  ///< values that show the elements of another one more than once
  std::unordered_map<ValueId, ValueId> shown;   ///< views of stored tensors, and these

  /// The stored tensor that a value has its contents from; null: none.
  const Stored* stored(ValueId id) const {
    if (!origins.empty()) return origins[id];
    const std::uint32_t at = graph->values[id].stored;
    return at == kNone ? nullptr : &graph->stored[at];
  }
  /// The same, or the one that it is a view of: its bytes are a weight's.
  const Stored* weight(ValueId id) const {
    if (shown.empty()) return stored(id);
    const auto behind = shown.find(id);
    return stored(behind == shown.end() ? id : behind->second);
  }
};

/// The rows, one array a quantity. A column that is shorter than the rows ends in zeros.
struct Rows {
  std::vector<std::uint32_t> node, frame;
  std::vector<Trust> trust;
  std::vector<std::string_view> because;
  std::vector<std::array<DType, 4>> dtypes;  ///< compute, lhs, rhs, accumulate
  std::vector<std::uint8_t> own_bytes;       ///< 1: its rule says what moves; else its inputs and outputs do, once
  std::array<std::vector<Count>, kColumns> columns;
  std::vector<std::pair<std::uint32_t, std::shared_ptr<const Nest>>> nests;  ///< of rows that have one
  std::size_t size() const noexcept { return node.size(); }
};

/// A row but for its place.
struct Row {
  std::vector<std::pair<Column, Count>> amounts;  ///< those that are not 0
  Trust trust = Trust::exact;
  std::string_view because;
  std::array<DType, 4> dtypes{};
  std::shared_ptr<const Nest> nest;
  bool own_bytes = false;  ///< the rule says what moves, not the edges
};

/// A node that was counted, and all that its results hang on: layers repeat, and a node like it gets the same.
struct Repeat {
  /// By input: see Walk::source_of. Nodes with more inputs do not repeat.
  using Sources = std::array<std::uint8_t, 16>;
  Node node;
  Sources sources;
  std::size_t hash;         ///< of what is compared
  bool typed;               ///< its source said what its outputs are
  std::vector<Type> types;  ///< of its inputs, then of its outputs
  Row row;
  bool view;  ///< its outputs are its first input
};
/// Those of one operator.
struct Repeats {
  bool on = false;
  std::size_t hits = 0, misses = 0, oldest = 0, next = 0;
  std::vector<Repeat> known;
};

/// Two amounts that an operator needs to be the same, and that are not for all sizes.
struct Equality {
  Expr a, b;
  std::string_view what;  ///< "the numbers of elements"
  std::uint32_t frame;
  NodeId node;
};

/// Nodes of the model's graph that come one after the other, [first, end).
struct Stretch {
  NodeId first = 0, end = 0;
  bool whole = false;  ///< of what is computed again: also what nothing is kept after
};

/// A node of the model's graph that writes to one of its inputs: what was `old` before is `now` its result.
struct Rewrite {
  NodeId node = 0;
  ValueId old = 0, now = 0;
};

/// A value that the program let go of before a node of the model's graph.
struct Release {
  NodeId node = 0;
  ValueId value = 0;
};

/// Everything that analysis found and that binding does not change.
struct Analysis {
  ModelPtr model;
  std::vector<const Match*> matches;                       ///< by Model::ops; null: unknown
  std::vector<std::shared_ptr<const Match>> kept_matches;  ///< keeps them, and their rules, alive
  std::deque<Frame> frames;                                ///< [0] is the model's graph
  std::vector<std::uint32_t> node, frame;                  ///< by row
  std::vector<Trust> trust;
  std::vector<std::string_view> because;
  std::vector<std::array<DType, 4>> dtypes;
  std::vector<std::uint8_t> own_bytes;
  std::vector<std::pair<std::uint32_t, std::shared_ptr<const Nest>>> nests;  ///< of rows that have one, in order
  std::map<std::size_t, Count> times;         ///< of rows of the builder's that run more than once
  std::map<std::size_t, Count> weight_times;  ///< of those of them that read weights less often
  std::deque<std::string> kept;               ///< texts of rules that are not literals
  std::vector<Stretch> detached;              ///< what the program kept out of differentiation
  std::vector<Stretch> checkpointed;          ///< what the program wants computed again rather than kept
  std::vector<Rewrite> rewritten;             ///< in order
  std::vector<Release> released;              ///< in order; empty: nobody looked
  Count parameters, weight_bytes;
  std::map<std::string, std::string, std::less<>> symbols;  ///< every symbol and what it stands for
  std::vector<Expr> not_negative;                           ///< what simplifications took to be at least 0
  std::vector<Equality> equal;                              ///< what rules took to be the same
  std::vector<Diagnostic> diagnostics;
};

struct Report::Data {
  std::shared_ptr<const Analysis> found;
  std::array<std::vector<Count>, kColumns> columns;
  Bindings bound;
  /// Of rows that have no count with the sizes that were bound; empty when there are none: then `found` says it all.
  std::vector<Trust> trust;
  std::vector<std::string_view> because;
  std::vector<Diagnostic> diagnostics;

  const std::vector<Trust>& trusts() const noexcept { return trust.empty() ? found->trust : trust; }
};

/// A part of a body's result or argument.
using Part = Contents::Part;

/// Which node is being looked at.
struct Place {
  std::uint32_t frame = 0;
  Frame* in = nullptr;             ///< that frame
  const ValueId* edges = nullptr;  ///< the node's inputs, then its outputs
  const Node* node = nullptr;
  NodeId id = 0;
  const Match* match = nullptr;
  bool missed = false;    ///< a rule asked for a shape whose rank nobody knows
  bool refused = false;   ///< the inputs do not fit: a rule failed on them, or remarked so
  bool told = false;      ///< a remark says why its work is unknown
  bool fresh = false;     ///< a rule made a symbol
  bool cut = false;       ///< a body of its was not run: the limits are reached
  bool typed = false;     ///< its outputs' types are there already
  bool view = false;      ///< its outputs are its first input: nothing moves
  bool repeated = false;  ///< an earlier node was like it
  std::size_t hash = 0;   ///< of what tells it from others, when it may repeat
  bool single = false;    ///< its results hang on more than its inputs' types and attributes, or are not only types
};

class Walk {
 public:
  Walk(ModelPtr model, const Registry& registry, const Options& options);
  /// Goes back to what was found: rules may be asked about nodes again.
  explicit Walk(std::shared_ptr<Analysis> found);
  const Call& look(std::uint32_t frame, NodeId id) {
    go_to(frame, id);
    return call_;
  }
  bool missed() const noexcept { return here_.missed; }  ///< of the node that is looked at: a rank is unknown
  Status run();
  std::shared_ptr<Analysis> take(Rows& rows);

  // For the builder: the model grows while it is walked. --------------------------------------------------------------
  Frame& begin();
  void match(const Op& op);  ///< finds the row of an operator, the next of Model::ops
  void grow();               ///< as many values and stored tensors as the model's graph has now
  void step(std::uint32_t frame, NodeId id, bool typed = false);  ///< typed: its outputs' types are there already
  void use(std::uint32_t stored) { used_[stored] = true; }
  /// Whether the inputs of the last node do not fit.
  bool refused() const noexcept { return here_.refused; }
  bool repeated() const noexcept { return here_.repeated; }  ///< an earlier node was like the latest
  void note_times();                                         ///< of the last row: the outermost frame's may change
  void finish_diagnostics();
  void note_symbols(const Type& type, std::string_view value);
  void note_symbol(std::string_view name, std::string_view why) { found_->symbols.emplace(name, why); }
  void leave() noexcept { here_ = Place(); }  ///< what follows is about the whole model
  Frame& top() noexcept { return frames_.front(); }
  Analysis& found() noexcept { return *found_; }
  const Match* match_of(std::uint32_t op) const { return found_->matches[op]; }

  // For control rules. --------------------------------------------------------------------------------------------
  /// What was remarked, so that it is not said again.
  struct Told {
    std::unordered_map<std::uint32_t, std::pair<NodeId, std::size_t>> unknown;  ///< by op: first node, how many
    std::unordered_map<std::uint16_t, std::size_t> times;                       ///< by code
    bool too_large = false;
  };
  /// Everything that a trial run of a body may have added, to be undone.
  struct Mark {
    std::size_t rows, frames, diagnostics, steps, not_negative, equal;
    std::uint64_t symbols;
    Told told;
  };
  Mark mark() const;
  void undo(const Mark& mark);
  struct Body {
    std::uint32_t body;
    std::string label;
    std::vector<Part> arguments;
    Count times = 1;
    Trust floor = Trust::exact;
    std::string_view because;
  };
  /// While there is one, bodies that are run may never run: what they need of sizes does not bind the caller.
  class Unsure {
   public:
    explicit Unsure(Walk& walk) noexcept : walk_(walk) { ++walk_.unsure_; }
    Unsure(const Unsure&) = delete;
    Unsure& operator=(const Unsure&) = delete;
    ~Unsure() { --walk_.unsure_; }

   private:
    Walk& walk_;
  };
  /// Runs a body as seen from the current node; its results are the body's outputs. nullopt: the limits are reached.
  std::optional<std::vector<Part>> run_body(const Body& body);
  std::uint32_t body_of(std::string_view attribute) const;  ///< kNone: there is no such attribute
  std::size_t results_of(std::uint32_t body) const noexcept { return model_->bodies[body].outputs.size(); }
  /// Arguments as the body states its inputs, the first of them with this shape: a symbol of its sizes is the same in
  /// the others.
  std::vector<Part> arguments_of(std::uint32_t body, const Shape& first);
  Part part_at(std::size_t position) const;  ///< an input of the current node
  Count macs_since(const Mark& mark) const;
  bool unknown_since(const Mark& mark) const;
  bool fresh_since(const Mark& mark) const { return symbols_made_ != mark.symbols; }
  void set_output(std::size_t i, Part part);
  Dim symbol(std::string_view what, std::string_view why);
  void remark(Code code, std::string text);
  const Call& call() const noexcept { return call_; }

 private:
  friend class Call;
  friend class Outputs;

  Status prepare_inputs(Frame& frame);
  Status give(Frame& frame, ValueId id, const Given& given);
  Status fit(std::string_view name, const Type& given, Type& type);
  Status give_list(std::string_view name, const Given& given, Type& type, ContentsPtr& contents);
  static void open(Frame& frame);
  void walk(std::uint32_t frame);
  void go_to(std::uint32_t frame, NodeId id);
  void expand(const Op& op);
  void infer();
  void merge_claims();
  void count();
  void fill_traffic(Cost& cost);
  bool is_view(const Cost& cost) const;
  void note_spread();
  void note_shown();
  Count bytes_read(ValueId id);
  void push(Cost& cost, bool unknown);
  void append(const Row& row);
  // Nodes like earlier ones: repeats.cpp.
  bool may_repeat() const;
  bool repeat();
  std::size_t hash_of_here() const;
  void remember();
  std::uint8_t source_of(std::size_t position) const;
  bool is_like(const Repeat& known) const;
  bool past_counting() const;
  bool lacks_inputs() const;
  void unknown_op();
  void unknown_node(std::string_view because);
  void give_up();
  Type resolved(const Type& claim, const Graph& graph, std::string_view name);
  const Stored* stored(std::uint32_t frame, ValueId id) const;
  const Contents* contents(std::uint32_t frame, ValueId id);
  const Attr* attr(std::string_view name) const;
  const Attr* attr_in(std::uint32_t frame, const Node& node, std::string_view name) const;
  void refuse_negative(Shape& shape);
  bool exhausted() const noexcept { return steps_ > most_steps_; }
  void use(const Stored* stored);

  Frame& frame() const { return *here_.in; }
  ValueId input_id(std::size_t position) const;
  std::int32_t position(std::size_t slot) const;

  ModelPtr model_;
  const Registry& registry_;
  const Options& options_;
  std::shared_ptr<Analysis> found_;
  std::deque<Frame>& frames_;
  Rows rows_;
  Row row_;                       ///< the latest
  std::vector<Repeats> repeats_;  ///< by Model::ops
  Repeat::Sources sources_{};     ///< of the node that repeat() looked at last
  Place here_;
  Call call_;
  Outputs outputs_;
  std::map<std::string, Expr, std::less<>> sizes_;  ///< what symbols of the file stand for now
  bool trust_claims_ = true;                        ///< false: a given shape contradicts the file
  std::size_t steps_ = 0, most_steps_ = 0, depth_ = 0;
  std::uint64_t symbols_made_ = 0;
  std::optional<bool> unchanged_;  ///< what the file said when contents were first wanted
  Told told_;
  struct Hash {
    std::size_t operator()(const Expr& e) const noexcept { return e.hash(); }
  };
  std::unordered_set<Expr, Hash> assumed_;         ///< looked at already by assume_not_negative()
  std::unordered_set<Expr, Hash> equated_;         ///< differences looked at already by assume_equal()
  std::size_t unsure_ = 0;                         ///< branches around that may never run: nothing is assumed in them
  std::vector<bool> used_;                         ///< stored tensors of the model's graph that were read as data
  std::unordered_set<const Stored*> used_inside_;  ///< the same for those of bodies
};

/// What a walk found, as a report; the walk is then of no more use.
Report report_of(Walk& walk);
/// "encoder.layers.0": the modules around a row, from what its node says or from its name.
std::string scope_of(const Analysis& found, std::size_t row);
/// Bodies and functions around a node, then its name (or its operator and number).
std::string path_of(const std::deque<Frame>& frames, const Model& model, std::uint32_t frame, NodeId id);
/// A remark about a node: its place, and what codes.def says of the code.
Diagnostic remark_at(const std::deque<Frame>& frames, const Model& model, std::uint32_t frame, NodeId id, Code code,
                     std::string text);
/// Remarks of one code that are listed; of the others it is said how many there are.
inline constexpr std::size_t kMostTold = 50;
Diagnostic more_of(Code code, std::size_t times);

}  // namespace macsim
