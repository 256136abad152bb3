// The pass that follows gradients back through what was found. Private.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "macsim/training.hpp"
#include "walk.hpp"

namespace macsim {

/// Whether the pattern, in which `*` stands for any text, fits all of the text.
bool fits(std::string_view pattern, std::string_view text) noexcept;

/// Columns of rows that were made one after the other, in any order.
struct Ledger {
  std::array<std::vector<Count>, kColumns> columns;
  std::vector<Trust> trust;
  std::vector<std::string_view> because;
  std::vector<bool> touched;  ///< whether anything was added to the row
  explicit Ledger(std::size_t rows) : trust(rows, Trust::exact), because(rows), touched(rows) {}
  /// Adds to a row what happens `times` over. Of unknown work every kind is unknown.
  void add(std::size_t row, const Cost& cost, const Count& times);
  void doubt(std::size_t row, Trust worse, std::string_view why);
};

/// Values of all frames have one numbering here. What a program does is a list of steps: nodes, and links by which a
/// value is known inside a body, or the other way round.
class Backward {
 public:
  Backward(const Report& report, const Analysis& found, const TrainingOptions& options);
  void run();

  Ledger gradients, again;
  std::vector<Trained> trained;
  Count saved, recomputed;
  std::vector<std::string> unmatched;
  std::vector<Moment> moments;
  std::vector<HeldInStep> lives;

 private:
  using Place = std::uint32_t;  // of a value
  struct Step {
    std::uint32_t frame = kNone;  // kNone: a link
    NodeId node = 0;
    Place from = 0, to = 0;
    bool back = false;    // a link to what comes earlier: from one iteration to the next
    bool inside = false;  // a link between values in the same memory
  };
  /// What a row keeps, for the memory of a run.
  struct Kept {
    std::size_t step;
    std::vector<Place> values;
    bool results = false;  // some of it is there only when the node has run
    Count bytes;
  };

  // The program as steps.
  void number_frames();
  void lay_out(std::uint32_t frame);
  void link_rewritten();
  void enter(std::uint32_t index, const Node& caller);
  void leave(std::uint32_t index, const Node& caller);
  void link(Place from, Place to, bool back = false) { steps_.push_back({kNone, 0, from, to, back, false}); }
  Place place(std::uint32_t frame, ValueId value) const { return base_[frame] + value; }
  std::uint32_t row_of(const Step& step) const { return rows_[step.frame][step.node]; }
  const Node& node_of(const Step& step) const { return found_.frames[step.frame].graph->nodes[step.node]; }
  const Type& type_of(Place value) const;
  const Stored* stored_of(Place value) const;

  // Which values take part.
  void seed();
  void find_unmatched();
  bool trains(const Stored& stored, const Value& value) const;
  bool is_detached(const Step& step) const;
  bool is_data(const Step& step, std::size_t position) const;
  bool is_constant(const Step& step) const;
  bool hangs(const Step& step);
  void prepare(const Step& step, Gradient& g) const;
  void forward();
  void backward_reach();

  // Gradients.
  void gradient(const Step& step, std::size_t at);
  void unknown(std::size_t at, std::size_t row, std::string_view why);
  void traffic(const Step& step, Gradient& g) const;
  bool is_given(std::size_t output) const;  // the gradient of this output of the model
  // A gradient comes to the value; whether one was there already. `as`: it is the tensor that is this value's gradient.
  bool give(Place value, Place as = kNone);
  std::vector<bool> passed_on(const Step& step, const Gradient& g) const;
  static void accumulate(Cost& cost, const Type& type);
  Count times_of(const Step& step, std::size_t row) const;
  void collect();

  // Memory.
  bool draws(const Step& step);
  void find_memories();
  void find_segments();
  std::string segment_of(const Step& step) const;
  void measure();
  void run_again(std::size_t first, std::size_t end);
  Count bytes_of(Place memory) const;

  // Memory over a step.
  friend class Lives;
  struct Spare {  // what is there in one turn only: a gradient that is added to another, or a product that is summed
    std::size_t turn;
    Place value;
  };
  void note_sum(const Step& step, const Gradient& g);
  std::size_t turn() const { return turns_.empty() ? 0 : turns_.size() - 1; }

  const Report& report_;
  const Analysis& found_;  ///< as it was found
  const TrainingOptions& options_;
  Walk walk_;                                      ///< over a copy, which rules may look at
  std::vector<Place> base_;                        // by frame
  std::vector<std::vector<std::uint32_t>> rows_;   // by frame, by node: its row; kNone
  std::vector<std::vector<std::uint32_t>> inner_;  // by frame: those that it runs
  std::vector<std::uint32_t> frame_of_;            // by value
  std::vector<Step> steps_;
  bool loops_ = false;
  std::vector<bool> needs_, reached_;   // by value: it depends on something trained; the outputs depend on it, too
  std::vector<std::uint32_t> came_;     // by value: how many gradients came
  std::vector<Place> memory_;           // by value: the value in whose memory it lies
  std::vector<std::size_t> made_;       // by value: the step that makes it; SIZE_MAX
  std::vector<std::uint32_t> segment_;  // by step: which one it is in; kNone
  std::set<std::uint32_t> whole_;       // segments that are run again to the end
  std::vector<Kept> kept_;
  std::vector<std::size_t> turns_;     // steps in the order of their gradients
  std::vector<Place> gradient_;        // by value: the value whose gradient is the same tensor; kNone: it has none
  std::vector<std::size_t> arrived_;   // by value: the turn in which its gradient was made
  std::vector<std::size_t> released_;  // by value: the turn until which its gradient is held at least
  std::vector<Spare> spares_;
};

/// Works out how long each tensor of a step is needed.
void put_lives(Backward& pass);

}  // namespace macsim
