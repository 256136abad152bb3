// The tape: calls of torch operators, as they happen, into a model. Knows tensors by their attributes alone; nothing
// of torch is linked.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "attributes.hpp"
#include "bind.hpp"
#include "id_map.hpp"
#include "macsim/builder.hpp"
#include "rule_bridge.hpp"

namespace macsim::bind {

/// What becomes of an argument of an operator.
enum class Use : std::uint8_t {
  tensor,   ///< an input; a number in its place is an attribute
  tensors,  ///< inputs, as many as there are
  host,     ///< sizes: an input whose elements are known
  number,   ///< an input like that where the row says so, otherwise an attribute
  value,    ///< an attribute
  nothing,  ///< says where, not what: a device, a layout
};

struct Parameter {
  Use use = Use::nothing;
  py::str name;
  std::string_view canonical,
      count;  ///< `count`: the attribute that says how many tensors there are, when it is needed
  py::object otherwise;
};

/// What a schema says of an operator's parameters: the same on every tape, which gives them the row's names.
struct Signature {
  /// `from`: (name, use, default) of each.
  explicit Signature(const py::list& from);
  std::vector<Parameter> parameters;
  std::size_t lists = 0;  ///< of tensors
};

/// Which elements of an operator's result are stored, when a sparse tensor goes in.
enum class Stores : std::uint8_t { all, same, some };

/// How calls of one operator are read.
struct Plan {
  std::uint32_t op = 0;
  std::size_t outputs = 0;
  bool known = false, infers = false;
  Stores stores = Stores::all;
  std::vector<Parameter> parameters;
  std::vector<py::str> hosts;  ///< parameters that may be symbols
};

/// What the tape needs of torch.
struct Torch {
  explicit Torch(const py::dict& from)
      : tensor(from["tensor"]), make(from["make"]), expr_of(from["expr_of"]), size_of(from["size_of"]) {
    const py::dict by_dtype = from["dtypes"];
    for (const auto& [theirs, name] : by_dtype) {
      const DType ours = dtype_named(name.cast<std::string>());
      dtypes[theirs.ptr()] = ours;
      py::object& first = named[static_cast<std::size_t>(ours)];
      if (!first) first = py::reinterpret_borrow<py::object>(theirs);
    }
    if (from.contains("node")) node = from["node"];
    if (from.contains("parameter")) parameter = from["parameter"];
    if (from.contains("symbols")) symbols = from["symbols"];
    if (from.contains("strided")) {
      nonzeros = from["nonzeros"];
      strided = from["strided"];
    }
  }
  py::object tensor;     ///< the class
  py::object parameter;  ///< the class of parameters, when modules are announced
  py::object make;       ///< (sizes, strides, dtype): a tensor without storage
  py::object nonzeros;   ///< of a sparse tensor: how many elements are stored
  py::object strided;    ///< the layout of a tensor that is not sparse
  py::object expr_of;    ///< of a symbolic size
  py::object size_of;    ///< of an expression
  py::tuple symbols;     ///< the classes of symbolic numbers, that of whole ones first; empty: there are none
  py::object node;       ///< the class of graphs' nodes, which stand for the tensors that they make; or none
  std::unordered_map<PyObject*, DType> dtypes;
  std::array<py::object, static_cast<std::size_t>(DType::count_)> named;
  py::str detach = py::str("detach");
  Getter shape{"shape"}, dtype{"dtype"}, layout{"layout"}, requires_grad{"requires_grad"};
};

/// How the elements of a tensor lie.
enum class Order : std::uint8_t {
  rows,
  turned,  ///< of rank 4: the second and the third axis the other way round, as kernels of attention lay them
};

/// A tensor that others are made like.
struct Like {
  DType dtype = DType::unknown;
  Order order = Order::rows;
  Shape shape;
  py::object tensor;
  bool fresh = false;  ///< the tensor knows what torch worked out of its sizes
  std::uint32_t number = 0;
  bool whole = true;  ///< it has all that its storage holds, each element once
};

std::size_t hash_of(const Type& type, Order order);

/// What a view gives of a tensor that was made like another one: the same of all that are.
struct View {
  enum class Form : std::uint8_t { one, tuple, list, itself };
  Like* from = nullptr;
  const Plan* plan = nullptr;
  std::vector<std::int64_t> arguments;
  std::vector<Expr> symbols;  ///< in their order
  std::vector<Like*> made;
  Form form = Form::one;
  bool copies = false;
  Expr times = 1;  ///< how often it is carried out: not for all sizes
  std::string because;
  bool bound = false;
};

class Tape {
 public:
  Tape(const SharedRegistry& rules, const std::string& name, const py::dict& torch)
      : builder_(rules.get(), name), torch_(torch), nonzeros_(builder_.keep("nonzeros")) {}

  /// Names of parameters change as the row's spelling says. `stores`: "all", "same", "some".
  const Plan* plan(std::string_view dialect, std::string_view name, const Signature& signature, std::size_t outputs,
                   std::string_view stores);

  /// Records a call whose results the row can tell; they, or None. `follow`: None also when a tensor is met for the
  /// first time, and NotImplemented when the contents of all are known: nothing is recorded.
  py::object call(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope, bool follow,
                  Order order = Order::rows);
  /// Records a call on known contents whose result the row can tell: what `run` makes of them, whose contents are then
  /// known, or where it has more than `most` elements a tensor without storage. Nothing: the row cannot tell.
  template <class Run>
  py::object at_hand(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
                     std::int64_t most, const Run& run) {
    note_released();
    (void)fill(*plan, args, kwargs, scope, false);
    const ValueId id = builder_.infer(plan->outputs);
    if (id == kNone) return {};
    std::int64_t elements = 1;
    for (const Dim& dim : builder_.type(id).shape) {
      elements = std::min(most + 1, elements * std::min(dim.constant().value_or(most + 1), most + 1));
    }
    if (elements > most) return made(id, Order::rows);
    py::object out = run();
    held_.emplace_back(out.ptr(), id);
    rename(out, id);
    known_.insert(out.ptr());
    return out;
  }
  /// Records a call whose result is like its first argument, but in order, and has no storage; nothing: torch must say
  /// what it is.
  py::object in_order(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope);
  /// What a view with these arguments gives, if that was noted; null: it was not. The next note_view() is of this call.
  const View* view_of(const Plan* plan, const py::tuple& args);
  /// Records a call that gives what was noted, and makes it.
  py::object viewed(const View& view, const Plan* plan, const py::tuple& args, const py::object& kwargs,
                    std::uint32_t scope);
  /// A call begins: what the one before asked is over.
  void ask_nothing() { asked_.from = nullptr; }
  /// Notes what the last view gave of `from`, which was recorded; null: it is not noted.
  View* note_view(const py::object& from, const py::object& results, bool copies);
  /// What is made like the tensor knows what torch worked out of its sizes.
  void refresh(PyObject* tensor);
  /// Whether sizes may be symbolic; whether there are symbolic numbers among arguments.
  bool is_symbolic() const { return !torch_.symbols.empty(); }
  bool has_symbols(PyObject* value) const;
  /// Whether the last call was like an earlier one.
  bool repeated() const { return builder_.repeated(); }
  /// Records a call that changes the elements of its first argument, and nothing else of it.
  void changed(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
               const py::object& tensor);
  /// Whether the tensor's contents are known.
  bool follows(PyObject* tensor) const { return !known_.empty() && known_.contains(tensor); }

  /// Records a call with the results that torch gave: a tensor, or a sequence in which other things are passed over.
  void record(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
              const py::object& results);
  /// Of a tensor only so many elements are stored; None: nobody knows how many.
  void sparse(const py::object& tensor, const py::object& stored) {
    sparse_[tensor.ptr()] = stored.is_none() ? kUntold : stored.cast<std::int64_t>();
  }

  void input(const py::object& tensor, const std::string& as) {
    name(tensor, builder_.input(as, type_of(tensor.ptr())));
  }
  ValueId stored(const py::object& tensor, std::string_view as, bool buffer, bool used) {
    return stored(tensor, as, scope(owner_of(as)), buffer, used);
  }
  /// The parameters and buffers of modules, each once. `modules`: paths by module; `unusual`: told the name and the
  /// tensor of those that are not of torch's two plain classes. The number of elements of each module's parameters, and
  /// the buffers that are not of real numbers, or are a single one.
  py::tuple announce(const py::dict& modules, const py::object& unusual);
  /// The tensor's contents are known, or not any more.
  void know(const py::object& tensor, bool known) {
    (void)id_of(tensor.ptr());
    if (known) {
      known_.insert(tensor.ptr());
    } else {
      known_.erase(tensor.ptr());
    }
  }
  /// The tensor is this value from now on.
  void name(py::object tensor, ValueId id, const Like* like = nullptr) {
    PyObject* const one = tensor.ptr();
    std::uint32_t& known = ids_[one];
    if (known == kNone) alive_.push_back(std::move(tensor));  // so that its address stays its own
    known = id;
    if (like != nullptr || liked_.contains(one)) liked_[one] = like == nullptr ? 0 : like->number;
  }
  /// The same of the last call's result, perhaps written to a tensor that was there.
  void rename(py::object tensor, ValueId id, const Like* like = nullptr) {
    const ValueId before = ids_.find(tensor.ptr());
    if (before != kNone && before != id) builder_.rewritten(before, id);
    name(std::move(tensor), id, like);
  }
  /// Whether it requires a gradient. What stands for a tensor in a graph does not say.
  bool is_trained(PyObject* tensor) const {
    const py::object flag = torch_.requires_grad.of(tensor);
    if (!flag) {
      if (PyErr_ExceptionMatches(PyExc_AttributeError) == 0) throw py::error_already_set();
      PyErr_Clear();
    }
    return flag.ptr() == Py_True;
  }
  std::uint32_t scope(std::string_view path) { return builder_.scope(path); }
  std::string_view path(std::uint32_t scope) const { return builder_.path(scope); }
  std::string_view keep(std::string_view text) { return builder_.keep(text); }
  bool knows(const py::object& tensor) const { return ids_.contains(tensor.ptr()); }
  /// `to` is the same value as `from` from now on.
  void same(const py::object& to, const py::object& from) { rename(to, id_of(from.ptr())); }
  void symbol(const std::string& name, const std::string& why) { builder_.symbol(name, why); }
  void remark(std::uint16_t code, const std::string& text) { builder_.remark(static_cast<Code>(code), text); }
  void assume_not_negative(const Expr& e) { builder_.assume_not_negative(e); }
  void within(const py::object& times, const std::string& floor, const std::string& because,
              const py::object& weight_times);
  void detach(bool on) { builder_.detach(on); }
  void checkpoint(bool on, bool whole) { builder_.checkpoint(on, whole); }
  std::size_t calls() const { return builder_.calls(); }

  /// Records a call whose results the row can tell, as call() does when it follows; the first of them, which has no
  /// tensor yet. kNone: the call is not taken.
  ValueId told(const Plan& plan, const py::tuple& args, std::uint32_t scope) {
    note_released();
    if (!sparse_.empty() || fill(plan, args, py::none(), scope, true) != Read::whole) return kNone;
    return builder_.infer(plan.outputs);
  }
  std::size_t rank(PyObject* tensor) const {
    const ValueId id = ids_.find(tensor);
    return id == kNone ? 0 : builder_.type(id).shape.size();
  }
  /// A tensor without storage for what a node stands for.
  py::object tensor(PyObject* node, Order order) { return made(id_of(node), order); }
  bool is_tensor(PyObject* one) const {
    return reinterpret_cast<PyObject*>(Py_TYPE(one)) == torch_.node.ptr() ||
           PyObject_TypeCheck(one, reinterpret_cast<PyTypeObject*>(torch_.tensor.ptr())) != 0;
  }

  // For graphs: a node stands for the tensor that it makes, and `val` says what that is. -----------------------------

  /// What the graph states holds: it knows more of symbols, and of casts that no argument shows.
  ValueId quick(const Plan& plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
                const std::vector<PyObject*>& vals) {
    if (vals.size() == 1) {
      Type type = type_of(vals.front());
      (void)fill(plan, args, kwargs, scope, false);
      return builder_.given(std::move(type));
    }
    std::vector<Type> types;
    types.reserve(vals.size());
    for (PyObject* val : vals) types.push_back(type_of(val));
    (void)fill(plan, args, kwargs, scope, false);
    return builder_.given(std::move(types));
  }
  /// A call that changes its first argument, which is a node too.
  void quick_in_place(const Plan& plan, const py::object& node, const py::tuple& args, const py::object& kwargs,
                      std::uint32_t scope) {
    auto changed = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(args.ptr(), 0));
    std::vector<Type> types{builder_.type(id_of(changed.ptr()))};
    (void)fill(plan, args, kwargs, scope, false);
    const ValueId id = builder_.given(std::move(types));
    rename(std::move(changed), id);
    name(node, id);
  }
  void input_node(const py::object& node, const py::object& val, const std::string& as) {
    name(node, builder_.input(as, type_of(val.ptr())));
  }
  /// A tensor of the model that a node stands for. How many elements it has, 0: nobody knows; and the scope of the
  /// module that it belongs to.
  std::pair<std::int64_t, std::uint32_t> stored_node(const py::object& node, PyObject* val, std::string_view as,
                                                     bool buffer, bool frozen);
  /// Whether a node stands for a tensor of this one's type.
  bool is_like(PyObject* node, PyObject* val) {
    const Type &ours = builder_.type(id_of(node)), theirs = type_of(val);
    return ours.dtype == theirs.dtype && ours.shape == theirs.shape;
  }
  /// The scope of the module that a tensor of the model's belongs to; kNone: it is none.
  std::uint32_t owner(PyObject* one) const {
    const ValueId id = ids_.find(one);
    return id == kNone || id >= owners_.size() ? kNone : owners_[id];
  }
  /// Whether a tensor is known, and its sizes are numbers.
  bool is_plain(PyObject* one) const;
  bool is_known(PyObject* one) const { return ids_.contains(one); }

  Report finish(const py::object& results);

 private:
  /// Notes which results nobody but the tape holds any more: the newest, and some of those before them in turn.
  void note_released(bool all = false);
  static std::string_view canonical(const Match* match, std::string_view name);
  static bool is_host(const Match* match, std::string_view name);
  static bool takes_number(const Match* match, std::string_view name);
  static bool is_whole(PyObject* value);

  void collect(const py::object& from, std::vector<py::object>& out) const;

  Dim dim_of(PyObject* size) const;

  Type type_of(PyObject* tensor) const;

  // The path of the module that a tensor of the model's belongs to, by its name.
  static std::string_view owner_of(std::string_view name) {
    const std::size_t dot = name.rfind('.');
    return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
  }
  ValueId stored(const py::object& tensor, std::string_view as, std::uint32_t owner, bool buffer, bool used);
  void own(ValueId id, std::uint32_t owner) {
    if (owners_.size() <= id) owners_.resize(std::size_t{id} + 1, kNone);
    owners_[id] = owner;
  }

  // A tensor that nobody announced is a buffer, or a constant that the program made.
  ValueId id_of(PyObject* tensor) {
    const ValueId known = ids_.find(tensor);
    if (known != kNone) return known;
    const ValueId id = builder_.stored({}, type_of(tensor), true, !is_trained(tensor));
    note_stored(py::reinterpret_borrow<py::object>(tensor));
    name(py::reinterpret_borrow<py::object>(tensor), id);
    return id;
  }

  void note_stored(const py::object& tensor);

  void keep_stored(const Plan& plan, const py::tuple& args, const py::object& result);

  // How many elements of each input are stored, where one is sparse.
  void tell_stored(const Plan& plan);

  py::object size_object(const Dim& dim) const {
    if (const auto plain = dim.constant()) return py::int_(*plain);
    return torch_.size_of(py::cast(dim));
  }

  // A tensor without storage for a value. Layers repeat: a tensor like an earlier one is a view of that one, which
  // takes torch a quarter of the time.
  py::object made(ValueId id, Order order);
  py::object made(ValueId id, Like& like);
  py::object first_made(const Type& type, Order order) const;
  Like* like(const Type& type, Order order, std::size_t hash);
  Like* like_of(PyObject* tensor, const View& view);
  Like& added(Like& one) {
    one.number = static_cast<std::uint32_t>(likes_.size());
    return *likes_.emplace_back(&one);
  }
  /// What the tensor was made like; null: it was not, or it may have changed.
  Like* liked(PyObject* tensor) const {
    const std::uint32_t number = liked_.find(tensor);
    return number == kNone ? nullptr : likes_[number];
  }
  bool ask(PyObject* value);
  bool ask_number(PyObject* value);

  /// How a call is read.
  enum class Read : std::uint8_t { whole, first_met, all_known };
  // When `follow`, a call is not read to its end that meets a tensor for the first time, or known contents alone.
  Read fill(const Plan& plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope, bool follow);

  std::vector<Dim> dims_of(PyObject* value) const;

  // What is no number, text or dtype, and what is left out, is no attribute. A symbolic number is none either: rows
  // that need it take it as a host-side input.
  void attribute(const Parameter& p, PyObject* value);

  void list_attribute(const Parameter& p, PyObject* value);

  static constexpr std::int64_t kDense = -1, kUntold = -2;

  Builder builder_;
  Torch torch_;
  py::str parameters_name_ = "_parameters", buffers_name_ = "_buffers";
  std::string_view nonzeros_;
  std::unordered_map<PyObject*, std::int64_t> sparse_;  ///< how many elements are stored
  std::deque<Plan> plans_;
  IdMap ids_;
  IdMap liked_;  ///< tensors that were made like others, and may have changed since in nothing but their elements
  std::vector<py::object> alive_;
  std::vector<std::pair<PyObject*, ValueId>> held_;   ///< results that the program had when it was looked last
  std::size_t turn_ = 0;                              ///< of the older ones
  std::unordered_multimap<std::size_t, Like> like_;   ///< by a hash of shape, dtype and order
  std::deque<Like> other_likes_;                      ///< whose elements lie in another way
  std::vector<Like*> likes_{nullptr};                 ///< all of them, by number
  std::unordered_multimap<std::size_t, View> views_;  ///< by a hash of what they are asked
  View asked_;                                        ///< what the last view was asked
  std::unordered_set<PyObject*> known_;               ///< tensors whose contents are known
  std::vector<std::uint32_t> owners_;  ///< by value: the scope of the module that a tensor of the model's belongs to
  std::uint32_t owner_ = kNone;        ///< that of the latest
  std::vector<PyObject*> values_;      // of the call that is read
  std::vector<ValueId> constants_, met_;
  std::vector<std::int64_t> integers_;
  std::vector<double> reals_;
};

}  // namespace macsim::bind
