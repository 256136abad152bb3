// Rules written in Python, as the core sees them. The interpreter lock is taken here, and only here, during analysis.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bind.hpp"

namespace macsim::bind {

/// What a cost rule gives back. `because` is text of the rule's: it is copied into the rule's own store before use.
struct CostInfo {
  Cost cost;
  std::string because;
};

/// A registry in Python's hands: changes make a new table, so that an analysis under way keeps the one it started with.
class SharedRegistry {
 public:
  SharedRegistry() : held_(std::shared_ptr<const Registry>(), &Registry::builtin()) {}  // which nobody has to keep
  explicit SharedRegistry(std::shared_ptr<const Registry> from) : held_(std::move(from)) {}
  std::shared_ptr<const Registry> get() const {
    const std::lock_guard lock(mutex_);
    return held_;
  }
  template <class Change>
  void change(const Change& apply) {
    std::shared_ptr<const Registry> old;  // goes after the lock: its rules may be the last to hold Python objects
    const std::lock_guard lock(mutex_);
    auto next = std::make_shared<Registry>(*held_);
    if (const Status status = apply(*next); !status) raise(status);
    old = std::exchange(held_, std::move(next));
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Registry> held_;
};

/// What a gradient rule gives back; of slots by name.
struct GradientInfo {
  CostInfo own;
  Cost again;
  std::vector<std::string> kept, none;
  std::vector<std::size_t> kept_outputs;
  Count kept_bytes;
};

/// A row whose shape, cost and gradient rules are Python functions of a Call. `infer` may be None; `gradient` may be
/// None, which is unknown, or False: its results are constants to whoever differentiates.
Rule python_rule(Rule row, const py::object& infer, const py::object& cost, const py::object& gradient);

/// Around an analysis: a KeyboardInterrupt (or SystemExit) inside a rule stops the rules, and is raised when it is
/// over.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  void raise_if_interrupted();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
};

/// Binds Call and Cost.
void bind_call(py::module_& m);

}  // namespace macsim::bind
