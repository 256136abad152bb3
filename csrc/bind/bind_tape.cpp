// The tape: calls of torch operators, as they happen, into a model. Knows tensors by their attributes alone; nothing
// of torch is linked.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <deque>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graph_walk.hpp"
#include "macsim/builder.hpp"
#include "rule_bridge.hpp"

namespace macsim::bind {
namespace {

/// What becomes of an argument of an operator.
enum class Use : std::uint8_t {
  tensor,   ///< an input; a number in its place is an attribute
  tensors,  ///< inputs, as many as there are
  host,     ///< sizes: an input whose elements are known
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

/// Which elements of an operator's result are stored, when a sparse tensor goes in.
enum class Stores : std::uint8_t { all, same, some };

/// How calls of one operator are read.
struct Plan {
  std::uint32_t op = 0;
  std::size_t outputs = 0;
  bool known = false, infers = false;
  Stores stores = Stores::all;
  std::vector<Parameter> parameters;
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
    if (from.contains("strided")) {
      nonzeros = from["nonzeros"];
      strided = from["strided"];
    }
  }
  py::object tensor;    ///< the class
  py::object make;      ///< (sizes, strides, dtype): a tensor without storage
  py::object nonzeros;  ///< of a sparse tensor: how many elements are stored
  py::object strided;   ///< the layout of a tensor that is not sparse
  py::object expr_of;   ///< of a symbolic size
  py::object size_of;   ///< of an expression
  py::object node;      ///< the class of graphs' nodes, which stand for the tensors that they make; or none
  std::unordered_map<PyObject*, DType> dtypes;
  std::array<py::object, static_cast<std::size_t>(DType::count_)> named;
  py::str layout = py::str("layout"), shape = py::str("shape"), dtype = py::str("dtype"), detach = py::str("detach"),
          requires_grad = py::str("requires_grad");
};

/// A tensor that others are made like.
struct Like {
  DType dtype = DType::unknown;
  Shape shape;
  py::object tensor;
};

class Tape {
 public:
  Tape(const SharedRegistry& rules, const std::string& name, const py::dict& torch)
      : builder_(rules.get(), name), torch_(torch), nonzeros_(builder_.keep("nonzeros")) {}

  /// `parameters`: (name, use, default) of each; names change as the row's spelling says. `stores`: "all", "same",
  /// "some".
  const Plan* plan(const std::string& dialect, const std::string& name, const py::list& parameters, std::size_t outputs,
                   const std::string& stores) {
    Plan& plan = plans_.emplace_back();
    plan.stores = stores == "same" ? Stores::same : stores == "some" ? Stores::some : Stores::all;
    plan.op = builder_.op(dialect, name);
    plan.outputs = outputs;
    const Match* match = builder_.match(plan.op);
    plan.known = match != nullptr;
    // A row made for another dialect does not know the arguments: its spelling here must bring a shape rule.
    plan.infers = match != nullptr && outputs != 0 && match->binding != nullptr &&
                  (match->binding->infer || (dialect != "aten" && match->rule->infer));
    std::size_t lists = 0;
    for (const py::handle one : parameters) lists += one[py::int_(1)].cast<std::string>() == "tensors" ? 1U : 0U;
    for (const py::handle one : parameters) {
      Parameter& p = plan.parameters.emplace_back();
      p.name = one[py::int_(0)].cast<py::str>();
      p.otherwise = one[py::int_(2)].cast<py::object>();
      const auto use = one[py::int_(1)].cast<std::string>();
      const std::string ours = canonical(match, p.name.cast<std::string>());
      p.canonical = builder_.keep(ours);
      p.use = use == "tensor"                          ? Use::tensor
              : use == "tensors"                       ? Use::tensors
              : use == "nothing"                       ? Use::nothing
              : use == "sizes" && is_host(match, ours) ? Use::host
                                                       : Use::value;
      if (p.use == Use::tensors && lists > 1) p.count = builder_.keep(ours + ".count");
    }
    return &plan;
  }

  /// Records a call whose results the row can tell; they, or None. `follow`: None also when everything is known.
  py::object call(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope, bool follow) {
    if (!fill(*plan, args, kwargs, scope, follow)) return py::none();
    const ValueId first = builder_.infer(plan->outputs);
    if (first == kNone) return py::none();
    if (plan->outputs == 1) {
      py::object result = made(first);
      if (plan->stores != Stores::all) keep_stored(*plan, args, result);
      return result;
    }
    py::tuple out(plan->outputs);
    for (std::size_t i = 0; i < plan->outputs; ++i) out[i] = made(first + static_cast<ValueId>(i));
    return out;
  }

  /// Records a call with the results that torch gave: a tensor, or a sequence in which other things are passed over.
  void record(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
              const py::object& results) {
    std::vector<py::object> tensors;
    collect(results, tensors);
    std::vector<Type> types;
    types.reserve(tensors.size());
    for (const py::object& tensor : tensors) types.push_back(type_of(tensor.ptr()));
    (void)fill(*plan, args, kwargs, scope, false);
    ValueId id = builder_.given(std::move(types));
    if (plan->stores != Stores::all && !tensors.empty()) keep_stored(*plan, args, tensors.front());
    for (py::object& tensor : tensors) rename(std::move(tensor), id++);
  }
  /// Of a tensor only so many elements are stored; None: nobody knows how many.
  void sparse(const py::object& tensor, const py::object& stored) {
    sparse_[tensor.ptr()] = stored.is_none() ? kUntold : stored.cast<std::int64_t>();
  }

  void input(const py::object& tensor, const std::string& as) {
    name(tensor, builder_.input(as, type_of(tensor.ptr())));
  }
  void stored(const py::object& tensor, std::string_view as, bool buffer, bool used) {
    const ValueId id = builder_.stored(as, type_of(tensor.ptr()), buffer, !is_trained(tensor.ptr()));
    note_stored(tensor);
    name(tensor, id);
    stored_.insert(id);
    if (used) builder_.use(id);
  }
  /// The model's tensors: (tensor, name, whether it is a buffer) of each.
  void announce(const py::list& tensors) {
    for (const py::handle one : tensors) {
      const auto [tensor, as, buffer] = one.cast<std::tuple<py::object, std::string_view, bool>>();
      stored(tensor, as, buffer, true);
    }
  }
  /// The tensor's contents are known, or not any more.
  void know(const py::object& tensor, bool known) {
    (void)id_of(tensor.ptr());
    if (known) {
      known_.insert(tensor.ptr());
    } else {
      known_.erase(tensor.ptr());
    }
  }
  std::uint32_t scope(const std::string& path) { return builder_.scope(path); }
  bool knows(const py::object& tensor) const { return ids_.contains(tensor.ptr()); }
  /// `to` is the same value as `from` from now on.
  void same(const py::object& to, const py::object& from) { rename(to, id_of(from.ptr())); }
  void symbol(const std::string& name, const std::string& why) { builder_.symbol(name, why); }
  void remark(std::uint16_t code, const std::string& text) { builder_.remark(static_cast<Code>(code), text); }
  void assume_not_negative(const Expr& e) { builder_.assume_not_negative(e); }
  void within(const py::object& times, const std::string& floor, const std::string& because) {
    Expr count;
    if (!to_expr(times, count)) throw py::type_error("times is neither an int nor an Expr");
    const bool bound = floor == "bound", estimate = floor == "estimate", unknown = floor == "unknown";
    builder_.within(count,
                    bound      ? Trust::bound
                    : estimate ? Trust::estimate
                    : unknown  ? Trust::unknown
                               : Trust::exact,
                    because);
  }
  void detach(bool on) { builder_.detach(on); }
  void checkpoint(bool on, bool whole) { builder_.checkpoint(on, whole); }
  std::size_t calls() const { return builder_.calls(); }

  // For graphs: a node stands for the tensor that it makes, and `val` says what that is. -----------------------------

  /// What the graph states holds: it knows more of symbols, and of casts that no argument shows.
  void quick(const Plan& plan, const py::object& node, const py::tuple& args, const py::object& kwargs,
             std::uint32_t scope, PyObject* val) {
    std::vector<Type> types;
    types.push_back(type_of(val));
    (void)fill(plan, args, kwargs, scope, false);
    name(node, builder_.given(std::move(types)));
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
  /// How many elements it has; None: that is no number.
  py::object stored_node(const py::object& node, const py::object& val, const std::string& as, bool buffer,
                         bool frozen) {
    Type type = type_of(val.ptr());
    Dim elements = 1;
    for (const Dim& dim : type.shape) elements *= dim;
    const ValueId id = builder_.stored(as, std::move(type), buffer, frozen);
    name(node, id);
    builder_.use(id);
    stored_.insert(id);
    return elements.constant() ? py::object(py::int_(*elements.constant())) : py::none();
  }
  bool is_known(PyObject* one) const { return ids_.contains(one); }
  bool is_stored(PyObject* one) const {
    const auto at = ids_.find(one);
    return at != ids_.end() && stored_.contains(at->second);
  }

  Report finish(const py::object& results) {
    std::vector<py::object> tensors;
    collect(results, tensors);
    std::vector<ValueId> outputs;
    for (const py::object& tensor : tensors) {
      const auto at = ids_.find(tensor.ptr());
      if (at != ids_.end()) outputs.push_back(at->second);
    }
    return builder_.finish(outputs);
  }

 private:
  static std::string canonical(const Match* match, const std::string& name) {
    if (match == nullptr || match->binding == nullptr) return name;
    const std::string renames = " " + match->binding->attrs + " ";
    const std::size_t at = renames.find(" " + name + "=");
    if (at == std::string::npos) return name;
    const std::size_t from = at + name.size() + 2;
    return renames.substr(from, renames.find(' ', from) - from);
  }
  static bool is_host(const Match* match, const std::string& name) {
    if (match == nullptr) return false;
    for (std::size_t i = 0; i < match->names.size(); ++i) {
      if (match->host[i] && match->names[i] == name) return true;
    }
    return false;
  }

  bool is_tensor(PyObject* one) const {
    return PyObject_TypeCheck(one, reinterpret_cast<PyTypeObject*>(torch_.tensor.ptr())) != 0 ||
           reinterpret_cast<PyObject*>(Py_TYPE(one)) == torch_.node.ptr();
  }
  void collect(const py::object& from, std::vector<py::object>& out) const {
    if (is_tensor(from.ptr())) {
      out.push_back(from);
    } else if (py::isinstance<py::list>(from) || py::isinstance<py::tuple>(from)) {
      for (const py::handle one : from) collect(py::reinterpret_borrow<py::object>(one), out);
    } else if (py::isinstance<py::dict>(from)) {
      for (const auto& [key, one] : py::reinterpret_borrow<py::dict>(from)) {
        collect(py::reinterpret_borrow<py::object>(one), out);
      }
    }
  }

  Dim dim_of(PyObject* size) const {
    if (PyLong_Check(size)) {
      const long long value = PyLong_AsLongLong(size);
      if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
      return static_cast<std::int64_t>(value);
    }
    Expr out;
    if (!to_expr(torch_.expr_of(py::handle(size)), out)) throw py::type_error("a size is neither an int nor symbolic");
    return out;
  }

  Type type_of(PyObject* tensor) const {
    const auto shape = py::reinterpret_steal<py::object>(PyObject_GetAttr(tensor, torch_.shape.ptr()));
    if (!shape) throw py::error_already_set();
    const auto dtype = py::reinterpret_steal<py::object>(PyObject_GetAttr(tensor, torch_.dtype.ptr()));
    if (!dtype) throw py::error_already_set();
    Type type;
    type.ranked = true;
    const auto at = torch_.dtypes.find(dtype.ptr());
    if (at != torch_.dtypes.end()) type.dtype = at->second;
    const Py_ssize_t rank = PyTuple_Size(shape.ptr());
    if (rank < 0) throw py::error_already_set();
    for (Py_ssize_t i = 0; i < rank; ++i) type.shape.push_back(dim_of(PyTuple_GET_ITEM(shape.ptr(), i)));
    return type;
  }

  void name(py::object tensor, ValueId id) {
    const auto [at, added] = ids_.insert_or_assign(tensor.ptr(), id);
    if (added) alive_.push_back(std::move(tensor));  // so that its address stays its own
  }

  // The last call's result, perhaps written to a tensor that was there.
  void rename(py::object tensor, ValueId id) {
    const auto at = ids_.find(tensor.ptr());
    if (at != ids_.end() && at->second != id) builder_.rewritten(at->second, id);
    name(std::move(tensor), id);
  }

  // A tensor that nobody announced is a buffer, or a constant that the program made.
  ValueId id_of(PyObject* tensor) {
    const auto at = ids_.find(tensor);
    if (at != ids_.end()) return at->second;
    const ValueId id = builder_.stored({}, type_of(tensor), true, !is_trained(tensor));
    note_stored(py::reinterpret_borrow<py::object>(tensor));
    name(py::reinterpret_borrow<py::object>(tensor), id);
    return id;
  }

  bool is_trained(PyObject* tensor) const {
    if (reinterpret_cast<PyObject*>(Py_TYPE(tensor)) == torch_.node.ptr()) return false;
    const auto flag = py::reinterpret_steal<py::object>(PyObject_GetAttr(tensor, torch_.requires_grad.ptr()));
    if (!flag) throw py::error_already_set();
    return flag.ptr() == Py_True;
  }

  void note_stored(const py::object& tensor) {
    if (!torch_.strided || reinterpret_cast<PyObject*>(Py_TYPE(tensor.ptr())) == torch_.node.ptr()) return;
    const auto layout = py::reinterpret_steal<py::object>(PyObject_GetAttr(tensor.ptr(), torch_.layout.ptr()));
    if (!layout) throw py::error_already_set();
    if (!layout.is(torch_.strided)) sparse(tensor, torch_.nonzeros(tensor));
  }

  void keep_stored(const Plan& plan, const py::tuple& args, const py::object& result) {
    if (plan.stores == Stores::some) {
      sparse_[result.ptr()] = kUntold;
    } else if (!sparse_.empty() && !args.empty()) {
      const auto at = sparse_.find(PyTuple_GET_ITEM(args.ptr(), 0));
      if (at != sparse_.end()) sparse_[result.ptr()] = at->second;
    }
  }

  // How many elements of each input are stored, where one is sparse.
  void tell_stored(const Plan& plan) {
    integers_.clear();
    bool any = false;
    const auto tell = [&](PyObject* value) {
      const auto at = sparse_.find(value);
      any = any || at != sparse_.end();
      integers_.push_back(at == sparse_.end() ? kDense : at->second);
    };
    for (std::size_t i = 0; i < plan.parameters.size(); ++i) {
      if (plan.parameters[i].use == Use::tensor || plan.parameters[i].use == Use::host) tell(values_[i]);
      if (plan.parameters[i].use != Use::tensors || values_[i] == Py_None) continue;
      for (const py::handle one : py::handle(values_[i])) tell(one.ptr());
    }
    if (any) builder_.attribute(nonzeros_, Span<std::int64_t>(integers_.data(), integers_.size()));
  }

  py::object size_object(const Dim& dim) const {
    if (const auto plain = dim.constant()) return py::int_(*plain);
    return torch_.size_of(py::cast(dim));
  }

  // A tensor without storage for a value, its elements in row-major order. Layers repeat: a tensor like an earlier one
  // is a view of that one, which takes torch a quarter of the time.
  py::object made(ValueId id) {
    const Type& type = builder_.type(id);
    auto hash = static_cast<std::size_t>(type.dtype);
    for (const Dim& dim : type.shape) hash = hash * 1'000'003 + dim.hash();
    Like& like = like_[hash];
    if (!like.tensor || like.dtype != type.dtype || !(like.shape == type.shape)) {
      like = {type.dtype, type.shape, first_made(type)};
    }
    auto out = py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(like.tensor.ptr(), torch_.detach.ptr()));
    if (!out) throw py::error_already_set();
    name(out, id);
    return out;
  }

  py::object first_made(const Type& type) const {
    const std::size_t rank = type.shape.size();
    py::tuple sizes(rank), strides(rank);
    Dim stride = 1;
    for (std::size_t i = rank; i-- > 0;) {
      const Dim& size = type.shape[i];
      sizes[i] = size_object(size);
      strides[i] = size_object(stride);
      if (!size.is(0)) stride *= size;
    }
    const py::object& dtype = torch_.named[static_cast<std::size_t>(type.dtype)];
    PyObject* arguments[] = {sizes.ptr(), strides.ptr(), dtype.ptr()};
    auto out = py::reinterpret_steal<py::object>(PyObject_Vectorcall(torch_.make.ptr(), arguments, 3, nullptr));
    if (!out) throw py::error_already_set();
    return out;
  }

  // False, when `follow`: there is nothing but tensors whose contents are known, so that torch may tell the results'.
  bool fill(const Plan& plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope, bool follow) {
    const auto given = static_cast<std::size_t>(PyTuple_GET_SIZE(args.ptr()));
    // Whatever raises while arguments are read comes before the call is started.
    values_.clear();
    constants_.clear();
    bool any_known = false, any_unknown = false;
    const auto meet = [&](PyObject* tensor) {
      (void)id_of(tensor);
      (known_.contains(tensor) ? any_known : any_unknown) = true;
    };
    for (std::size_t i = 0; i < plan.parameters.size(); ++i) {
      const Parameter& p = plan.parameters[i];
      PyObject* value = p.otherwise.ptr();
      if (i < given) {
        value = PyTuple_GET_ITEM(args.ptr(), static_cast<Py_ssize_t>(i));
      } else if (kwargs.ptr() != Py_None) {
        PyObject* named = PyDict_GetItemWithError(kwargs.ptr(), p.name.ptr());
        if (named != nullptr) value = named;
      }
      values_.push_back(value);
      if (p.use == Use::host) constants_.push_back(value == Py_None ? kNone : builder_.constant(dims_of(value)));
      if (p.use == Use::tensor && is_tensor(value)) meet(value);
      if (p.use == Use::tensors && value != Py_None) {
        for (const py::handle one : py::handle(value)) {
          if (is_tensor(one.ptr())) meet(one.ptr());
        }
      }
    }
    if (follow && any_known && !any_unknown) return false;
    builder_.start(plan.op, scope);
    std::size_t constant = 0;
    for (std::size_t i = 0; i < plan.parameters.size(); ++i) {
      const Parameter& p = plan.parameters[i];
      PyObject* value = values_[i];
      switch (p.use) {
        case Use::tensor:
          if (is_tensor(value)) {
            builder_.add(id_of(value));
          } else {
            builder_.add(kNone);
            attribute(p, value);
          }
          break;
        case Use::tensors: {
          std::int64_t count = 0;
          if (value != Py_None) {
            for (const py::handle one : py::handle(value)) {
              builder_.add(is_tensor(one.ptr()) ? id_of(one.ptr()) : kNone);
              ++count;
            }
          }
          if (!p.count.empty()) builder_.attribute(p.count, count);
          break;
        }
        case Use::host:
          builder_.add(constants_[constant++]);
          break;
        case Use::value:
          attribute(p, value);
          break;
        case Use::nothing:
          break;
      }
    }
    if (!sparse_.empty()) tell_stored(plan);
    return true;
  }

  std::vector<Dim> dims_of(PyObject* value) const {
    std::vector<Dim> out;
    if (PyList_Check(value) == 0 && PyTuple_Check(value) == 0) {
      out.push_back(dim_of(value));
    } else {
      const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
      for (Py_ssize_t i = 0; i < count; ++i) out.push_back(dim_of(PySequence_Fast_GET_ITEM(value, i)));
    }
    return out;
  }

  // What is no number, text or dtype, and what is left out, is no attribute. A symbolic number is none either: rows
  // that need it take it as a host-side input.
  void attribute(const Parameter& p, PyObject* value) {
    if (value == Py_None) return;
    if (PyLong_Check(value)) {  // True and False too
      int overflow = 0;
      const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
      if (overflow == 0) builder_.attribute(p.canonical, static_cast<std::int64_t>(number));
    } else if (PyFloat_Check(value)) {
      builder_.attribute(p.canonical, PyFloat_AS_DOUBLE(value));
    } else if (PyUnicode_Check(value)) {
      Py_ssize_t size = 0;
      const char* utf8 = PyUnicode_AsUTF8AndSize(value, &size);
      if (utf8 == nullptr) throw py::error_already_set();
      builder_.attribute(p.canonical, std::string_view(utf8, static_cast<std::size_t>(size)));
    } else if (PyList_Check(value) || PyTuple_Check(value)) {
      list_attribute(p, value);
    } else if (const auto dtype = torch_.dtypes.find(value); dtype != torch_.dtypes.end()) {
      builder_.attribute(p.canonical, name_of(dtype->second));
    }
  }

  void list_attribute(const Parameter& p, PyObject* value) {
    integers_.clear();
    reals_.clear();
    bool whole = true;
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* item = PySequence_Fast_GET_ITEM(value, i);
      if (PyLong_Check(item)) {
        integers_.push_back(PyLong_AsLongLong(item));
        reals_.push_back(static_cast<double>(integers_.back()));
        if (PyErr_Occurred() != nullptr) PyErr_Clear();
      } else if (PyFloat_Check(item)) {
        whole = false;
        reals_.push_back(PyFloat_AS_DOUBLE(item));
      } else {
        return;
      }
    }
    if (whole) {
      builder_.attribute(p.canonical, Span<std::int64_t>(integers_.data(), integers_.size()));
    } else {
      builder_.attribute(p.canonical, Span<double>(reals_.data(), reals_.size()));
    }
  }

  static constexpr std::int64_t kDense = -1, kUntold = -2;

  Builder builder_;
  Torch torch_;
  std::string_view nonzeros_;
  std::unordered_map<PyObject*, std::int64_t> sparse_;  ///< how many elements are stored
  std::deque<Plan> plans_;
  std::unordered_map<PyObject*, ValueId> ids_;
  std::vector<py::object> alive_;
  std::unordered_map<std::size_t, Like> like_;  ///< by a hash of shape and dtype
  std::unordered_set<PyObject*> known_;         ///< tensors whose contents are known
  std::unordered_set<ValueId> stored_;          ///< tensors of the model
  std::vector<PyObject*> values_;               // of the call that is read
  std::vector<ValueId> constants_;
  std::vector<std::int64_t> integers_;
  std::vector<double> reals_;
};

}  // namespace

void bind_tape(py::module_& m) {
  py::class_<Plan>(m, "Plan", "How calls of one operator are read.")
      .def_readonly("known", &Plan::known, "A row answers to it.")
      .def_readonly("infers", &Plan::infers, "The row tells the results' shapes.");
  py::class_<Tape>(m, "Tape", "Calls of operators as they happen, counted as they come.")
      .def(py::init<const SharedRegistry&, const std::string&, const py::dict&>(), py::arg("rules"), py::arg("name"),
           py::arg("torch"))
      .def("plan", &Tape::plan, py::arg("dialect"), py::arg("name"), py::arg("parameters"), py::arg("outputs"),
           py::arg("stores") = "all", py::return_value_policy::reference_internal,
           "How calls of an operator are to be read.")
      .def("call", &Tape::call, py::arg("plan"), py::arg("args"), py::arg("kwargs"), py::arg("scope"),
           py::arg("follow") = true,
           "Record a call whose results the row can tell; they, or None. follow: None also when everything is known.")
      .def("record", &Tape::record, py::arg("plan"), py::arg("args"), py::arg("kwargs"), py::arg("scope"),
           py::arg("results"), "Record a call with its results.")
      .def("input_node", &Tape::input_node, py::arg("node"), py::arg("val"), py::arg("name"),
           "Announce an input of a graph.")
      .def("stored_node", &Tape::stored_node, py::arg("node"), py::arg("val"), py::arg("name"), py::arg("buffer"),
           py::arg("frozen") = false,
           "Announce a tensor of the model that is an input of a graph; how many elements it has.")
      .def("input", &Tape::input, py::arg("tensor"), py::arg("name"), "Announce an input.")
      .def("stored", &Tape::stored, py::arg("tensor"), py::arg("name"), py::arg("buffer"), py::arg("used"),
           "Announce a tensor of the model.")
      .def("announce", &Tape::announce, py::arg("tensors"),
           "Announce the model's tensors: (tensor, name, whether it is a buffer) of each.")
      .def("sparse", &Tape::sparse, py::arg("tensor"), py::arg("stored"),
           "Say how many elements of a tensor are stored; None: nobody knows.")
      .def("know", &Tape::know, py::arg("tensor"), py::arg("known"), "Say whether a tensor's contents are known.")
      .def("scope", &Tape::scope, py::arg("path"), "The number of a scope.")
      .def("knows", &Tape::knows, py::arg("tensor"), "Whether the tensor is a value of the model.")
      .def("same", &Tape::same, py::arg("to"), py::arg("from_"), "Let a tensor be the value that another is.")
      .def("symbol", &Tape::symbol, py::arg("name"), py::arg("why"),
           "Say what a symbol stands for that is in no input's shape.")
      .def("remark", &Tape::remark, py::arg("code"), py::arg("text"), "Put a remark in the report.")
      .def("assume_not_negative", &Tape::assume_not_negative, py::arg("expr"),
           "Let bind() refuse sizes for which it is below 0: the program would go another way.")
      .def("within", &Tape::within, py::arg("times"), py::arg("floor"), py::arg("because"),
           "Say how often calls from now on run, and how far they can be trusted at best.")
      .def("detach", &Tape::detach, py::arg("on"), "Say whether calls from now on are kept out of differentiation.")
      .def("checkpoint", &Tape::checkpoint, py::arg("on"), py::arg("whole") = false,
           "Say whether what calls from now on compute is computed again for the gradient.")
      .def_property_readonly("calls", &Tape::calls, "How many calls were recorded.")
      .def("finish", &Tape::finish, py::arg("results"), "The ledger; the tape is then of no more use.");
  using Walk = GraphWalk<Tape, Plan>;
  py::class_<Walk>(m, "GraphWalk", "Records the plain calls of a graph of torch.fx.")
      .def(py::init<Tape&, py::object, py::object, py::object, py::object>(), py::arg("tape"), py::arg("reading"),
           py::arg("scope_of"), py::arg("tensor"), py::arg("node"), py::keep_alive<1, 2>())
      .def("walk", &Walk::walk, py::arg("nodes"), py::arg("start"), py::arg("outer"),
           "Record nodes from ``start`` on; the position of the first that is no plain call.");
}

}  // namespace macsim::bind
