// Training: what the backward pass, recomputation and the optimiser add to a run, from a finished report.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_TRAINING_HPP
#define MACSIM_TRAINING_HPP

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "macsim/report.hpp"

namespace macsim {

/// How parameters are changed by their gradients.
enum class Optimizer : std::uint8_t { none, sgd, momentum, adam, adamw, adam8bit };
std::string_view name_of(Optimizer optimizer) noexcept;

/// What is trained, and how. In patterns `*` stands for any text.
struct TrainingOptions {
  std::vector<std::string> frozen;     ///< parameters that are not trained, by name
  std::vector<std::string> trained;    ///< when there are any: no others are
  std::vector<std::string> inputs;     ///< inputs of the model whose gradients are wanted
  std::vector<std::string> recompute;  ///< scopes, part by part ("layers.*"): nothing inside is kept, all is run again
  std::vector<std::size_t> losses;     ///< outputs of the model whose gradients are given; when there are none: all
  Optimizer optimizer = Optimizer::adamw;
  bool master = false;  ///< the optimiser keeps a copy of the parameters, and its states, in 32 bits
};

/// A tensor of the model that gets a gradient.
struct Trained {
  std::string name;
  Type type;
  Count elements, bytes;
};

/// The parts of a step, in the order that they begin in.
enum class Pass : std::uint8_t { forward, backward, recompute, optimizer };
std::string_view name_of(Pass pass) noexcept;

/// One row in one of the passes; the optimiser has a single moment and no row (kNone).
struct Moment {
  Pass pass = Pass::forward;
  std::uint32_t row = kNone;
};

/// What a tensor is to a step. `saved`: an activation that the backward pass needs; `parameter_gradient`: of what is
/// trained; `gradient`: of anything else.
enum class Holding : std::uint8_t { input, output, activation, saved, recomputed, gradient, parameter_gradient };
std::string_view name_of(Holding holding) noexcept;

/// A tensor while a step holds it.
struct HeldInStep {
  std::string name;  ///< of the value, or of what it is the gradient of; else of the node that makes that
  Type type;
  Holding what = Holding::activation;
  Count bytes;
  std::uint32_t from = 0, to = 0;  ///< moments: the first and the last that need it
  std::uint32_t row = kNone;       ///< that makes it, or what it is the gradient of
};

/// What a step holds, moment by moment.
struct StepMemory {
  Count always;                   ///< weights and the optimiser's states
  std::vector<Count> timeline;    ///< by moment: everything else
  Count peak;                     ///< the largest of them, with what is always there
  std::uint32_t moment = kNone;   ///< the first where it is reached; kNone: sizes that are free decide
  std::vector<HeldInStep> alive;  ///< then, largest first; empty when sizes that are free decide
  Trust trust = Trust::exact;     ///< unknown: a size is not known, and left out
};

/// One step of training. Its reports have the rows of the run, in the same order.
struct Training {
  Report forward;
  Report backward;   ///< the gradients
  Report recompute;  ///< what is computed again, as it was not kept
  std::vector<Trained> parameters;
  Total optimizer;  ///< one step of it; `read` and `written` are its bytes
  // Bytes.
  Count weights;     ///< all stored tensors, trained or not
  Count gradients;   ///< of the trained ones
  Count states;      ///< the optimiser's
  Count saved;       ///< activations that are kept for the backward pass
  Count recomputed;  ///< those of the largest segment, which are there only while it is computed again
  std::vector<std::string> unmatched;  ///< patterns of the options that fit nothing
  std::vector<Moment> moments;
  std::vector<HeldInStep> held;  ///< all tensors but stored ones, each for as long as it is needed

  /// Memory over the whole step. Gradients of parameters are not there before they are computed.
  StepMemory memory() const;
  /// Puts sizes in the place of symbols, as Report::bind().
  Result<Training> bind(const Bindings& sizes) const;
};

/// Follows gradients from the outputs to the trained parameters.
Training training(const Report& report, const TrainingOptions& options = {});

}  // namespace macsim

#endif  // MACSIM_TRAINING_HPP
