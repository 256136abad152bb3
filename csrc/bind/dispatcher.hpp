// Calls of torch operators as a dispatch mode meets them: those that need nothing else are recorded here.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <unordered_map>

#include "tape.hpp"

namespace macsim::bind {

/// The short way of calls to the tape. What it does not take is for the recorder to look at.
class Dispatcher {
 public:
  /// `known`: by address, the tensors whose contents are known; more are added. `copies`: those whose contents are in
  /// another one, which is for the recorder to use.
  Dispatcher(Tape& tape, py::dict known, py::dict copies)
      : tape_(tape), known_(std::move(known)), copies_(std::move(copies)) {}

  /// How calls of an operator are taken. `way`: "call", the row tells the results; "turned", so, and the second and
  /// third axis of the result lie the other way round; "changes", the first argument is changed and given back; "view",
  /// `method` makes the result out of no storage; "reshape", so, or copies, which is recorded as a call of `copying`;
  /// "orders", it is the first argument itself where that is in order. `most`: of known contents it is run where the
  /// result has no more elements.
  void add(py::object operation, const Plan* plan, std::string_view way, py::object method, const Plan* copying,
           std::int64_t most);

  /// The results; None: the call is not taken; NotImplemented: nor is it, and the contents of all tensors are known.
  py::object dispatch(const py::object& operation, const py::tuple& args, const py::object& kwargs,
                      std::uint32_t scope);

 private:
  enum class Way : std::uint8_t { none, call, turned, changes, view, reshape, orders };
  struct Entry {
    py::object operation;  ///< stays alive, so that its address stays its own
    const Plan* plan = nullptr;
    const Plan* copying = nullptr;
    py::object method;
    std::int64_t most = 0;
    Way way = Way::none;
  };

  py::object at_hand(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope);
  py::object view(const Entry& entry, const py::tuple& args, const py::object& kwargs, std::uint32_t scope);
  py::object storage_of(const py::object& tensor) const;
  bool is_copied(PyObject* value) const;
  void know(const py::object& result);

  Tape& tape_;
  py::dict known_, copies_;
  std::unordered_map<PyObject*, Entry> entries_;
  py::str storage_ = "untyped_storage", address_ = "_cdata", is_meta_ = "is_meta", is_in_order_ = "is_contiguous";
};

}  // namespace macsim::bind
