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
  Optimizer optimizer = Optimizer::adamw;
  bool master = false;  ///< the optimiser keeps a copy of the parameters, and its states, in 32 bits
};

/// A tensor of the model that gets a gradient.
struct Trained {
  std::string name;
  Type type;
  Count elements, bytes;
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

  /// Puts sizes in the place of symbols, as Report::bind().
  Result<Training> bind(const Bindings& sizes) const;
};

/// Follows gradients from the outputs to the trained parameters.
Training training(const Report& report, const TrainingOptions& options = {});

}  // namespace macsim

#endif  // MACSIM_TRAINING_HPP
