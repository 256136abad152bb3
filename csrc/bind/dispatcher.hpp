// Calls of torch operators as a dispatch mode meets them: those that need nothing else are recorded here.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <unordered_map>

#include "module_calls.hpp"
#include "tape.hpp"

namespace macsim::bind {

/// The short way of calls to the tape. What it does not take is for the recorder to look at.
class Dispatcher {
 public:
  /// `known`: by address, the tensors whose contents are known; more are added. `copies`: those whose contents are in
  /// another one, which is for the recorder to use.
  Dispatcher(Tape& tape, const ModuleCalls& calls, py::dict known, py::dict copies, py::object cpu)
      : tape_(tape), calls_(calls), known_(std::move(known)), copies_(std::move(copies)), cpu_(std::move(cpu)) {}

  /// How calls of an operator are taken. `way`: "call", the row tells the results; "turned", so, and the second and
  /// third axis of the result lie the other way round; "changes", the first argument is changed and given back; "view",
  /// `method` makes the result out of no storage; "reshape", so, or copies, which is recorded as a call of `copying`;
  /// "orders", it is the first argument itself where that is in order; "makes", the row tells the result, which follows
  /// from numbers. `method`: makes what the operator makes, sooner. `most`: of known contents it is run where the
  /// result has no more elements.
  void add(py::object operation, const Plan* plan, std::string_view way, py::object method, const Plan* copying,
           std::int64_t most);

  /// The results; None: the call is not taken; NotImplemented: nor is it, and the contents of all tensors are known.
  py::object dispatch(const py::object& operation, const py::tuple& args, const py::object& kwargs);

  /// Notes what a view gave that was not taken. `times`: how often it is carried out; `because`: why, if not always.
  void note_view(const py::object& from, const py::object& results, bool copies, const py::object& times, bool bound,
                 const std::string& because);
  /// Whether sizes are symbolic, and the last call was the first of its kind: then they have not been compared.
  bool is_unchecked() const { return tape_.is_symbolic() && !tape_.repeated() && !viewed_; }

  /// Its `look` is called before each call; or none.
  py::object follower = py::none();
  /// Calls are what an operator without a row is made of: those that make a tensor of numbers are not taken.
  bool expanding = false;

 private:
  enum class Way : std::uint8_t { none, call, turned, changes, view, reshape, orders, makes };
  struct Entry {
    py::object operation;  ///< stays alive, so that its address stays its own
    const Plan* plan = nullptr;
    const Plan* copying = nullptr;
    py::object method;
    std::int64_t most = 0;
    Way way = Way::none;
    bool strict = false;  ///< a view that torch refuses where strides do not allow it
  };

  py::object at_hand(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope);
  py::object maker(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope);
  py::object symbolic(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope);
  py::object seen(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope);
  py::object view(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope);
  py::object laid(const py::object& method, const py::tuple& args) const;
  py::object storage_of(const py::object& tensor) const;
  bool is_copied(PyObject* value) const;
  void know(const py::object& result);

  bool viewed_ = false;  ///< the last call was a view that gave what one before gave
  Tape& tape_;
  const ModuleCalls& calls_;
  py::dict known_, copies_;
  py::object cpu_;  ///< where contents are
  std::unordered_map<PyObject*, Entry> entries_;
  py::str storage_ = "untyped_storage", address_ = "_cdata", is_meta_ = "is_meta", is_in_order_ = "is_contiguous",
          device_ = "device", reshape_ = "reshape";
};

/// The method `__torch_dispatch__` of a recorder, whose `_short` is a Dispatcher: what that does not take is for the
/// recorder's `_otherwise`, and sizes that are symbolic for its `_compare`.
py::object dispatch_method();

}  // namespace macsim::bind
