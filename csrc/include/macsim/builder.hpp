// Builder: a model put together call by call; every node is inferred and counted as it comes.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_BUILDER_HPP
#define MACSIM_BUILDER_HPP

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "macsim/report.hpp"

namespace macsim {

/// For sources that run while they are read, such as a Python program: a call's result types are wanted at once. Give
/// inputs and stored tensors, then calls in the order of execution, then finish(). One thread at a time. Texts are
/// copied once and shared.
class Builder {
 public:
  Builder(std::shared_ptr<const Registry> registry, std::string_view name);
  ~Builder();
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  /// A text that lives as long as the model; equal texts are one.
  std::string_view keep(std::string_view text);
  /// An operator, for start(); the same number for the same name.
  std::uint32_t op(std::string_view dialect, std::string_view name, std::int64_t version = 1);
  /// Who answers to it; null: nobody.
  const Match* match(std::uint32_t op) const;
  /// The modules around a call, "encoder.layers.0", for start().
  std::uint32_t scope(std::string_view path);
  /// The path of a scope.
  std::string_view path(std::uint32_t scope) const;

  ValueId input(std::string_view name, Type type, ContentsPtr contents = nullptr);
  /// A tensor of the model: a parameter, or a buffer, which is bytes but no parameter.
  ValueId stored(std::string_view name, Type type, bool buffer, bool frozen = false);
  /// It belongs to the model, whether a call reads it or not.
  void use(ValueId stored);
  /// A list of sizes, or a number, that goes to a host-side slot: its elements are known.
  ValueId constant(const std::vector<Dim>& elements);

  // One call: start, its inputs and attributes in any order, then one of the ends.
  void start(std::uint32_t op, std::uint32_t scope = kNone, std::string_view name = {});
  void add(ValueId input);  ///< the next input; kNone: left out
  // Names of attributes must come from keep().
  void attribute(std::string_view name, std::int64_t value);
  void attribute(std::string_view name, double value);
  void attribute(std::string_view name, std::string_view value);
  void attribute(std::string_view name, Span<std::int64_t> values);
  void attribute(std::string_view name, Span<double> values);
  /// Infers and counts the node; its outputs are numbered from the returned one on. kNone when the shape rule cannot
  /// tell every output's shape and dtype: then the call is forgotten.
  ValueId infer(std::size_t outputs);
  /// Counts the node, whose outputs have these types.
  ValueId given(std::vector<Type> outputs);
  ValueId given(Type output);
  /// Calls from now on run so many times each, and are not better than this, for this reason: those of a loop's body,
  /// or of a branch that may not run. `weight_times`: how often weights are read for it, where many
  /// runs are one over more data; 0: every time.
  void within(const Count& times, Trust floor, std::string_view because, const Count& weight_times = 0);
  /// Calls from now on are kept out of differentiation, or are not any more. Such stretches do not overlap.
  void detach(bool on);
  /// What calls from now on compute is not kept for the gradient but computed again, up to the end of the stretch.
  /// `whole`: also what nothing was kept after.
  void checkpoint(bool on, bool whole = false);
  /// The last call wrote to `old`, which is known as `now` from here on; so is a part of what shares memory with it.
  void rewritten(ValueId old, ValueId now);
  /// The program has let go of a value before the next call.
  void released(ValueId value);
  /// Throws away what was started.
  void drop();

  const Type& type(ValueId value) const;
  ContentsPtr contents(ValueId value) const;
  /// Says what a symbol stands for that is in no input's shape.
  void symbol(std::string_view name, std::string_view why);
  /// Puts a remark about the whole model in the report.
  void remark(Code code, std::string text);
  /// The program went on as if this were at least 0: binding refuses sizes for which it is not.
  void assume_not_negative(const Expr& e);
  std::size_t calls() const noexcept;
  /// Whether the last call was like an earlier one: of the same types, with the same attributes.
  bool repeated() const noexcept;

  /// The report; the builder is then of no more use.
  Report finish(const std::vector<ValueId>& outputs);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace macsim

#endif  // MACSIM_BUILDER_HPP
