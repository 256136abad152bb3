// The tape: reads the arguments of calls, has them counted, and makes their results.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "tape.hpp"

#include "items.hpp"

namespace macsim::bind {

Signature::Signature(const py::list& from) {
  parameters.reserve(from.size());
  for (const py::handle given : from) {
    const auto one = py::reinterpret_borrow<py::tuple>(given);
    Parameter& p = parameters.emplace_back();
    p.name = one[0].cast<py::str>();
    const auto use = one[1].cast<std::string_view>();
    p.use = use == "tensor"    ? Use::tensor
            : use == "tensors" ? Use::tensors
            : use == "nothing" ? Use::nothing
            : use == "sizes"   ? Use::host
            : use == "number"  ? Use::number
                               : Use::value;
    if (p.use == Use::tensors) ++lists;
    p.otherwise = one[2].cast<py::object>();
  }
}

const Plan* Tape::plan(std::string_view dialect, std::string_view name, const Signature& signature, std::size_t outputs,
                       std::string_view stores) {
  Plan& plan = plans_.emplace_back();
  plan.stores = stores == "same" ? Stores::same : stores == "some" ? Stores::some : Stores::all;
  plan.op = builder_.op(dialect, name);
  plan.outputs = outputs;
  const Match* match = builder_.match(plan.op);
  plan.known = match != nullptr;
  // A row made for another dialect does not know the arguments: its spelling here must bring a shape rule.
  plan.infers = match != nullptr && outputs != 0 && match->binding != nullptr &&
                (match->binding->infer || (dialect != "aten" && match->rule->infer));
  plan.parameters = signature.parameters;
  for (Parameter& p : plan.parameters) {
    p.canonical = builder_.keep(canonical(match, py::cast<std::string_view>(p.name)));
    if (p.use == Use::host && !is_host(match, p.canonical)) p.use = Use::value;
    if (p.use == Use::number) p.use = takes_number(match, p.canonical) ? Use::host : Use::value;
    if (p.use == Use::host) plan.hosts.push_back(p.name);
    if (p.use == Use::tensors && signature.lists > 1) p.count = builder_.keep(std::string(p.canonical) + ".count");
  }
  return &plan;
}

py::object Tape::call(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
                      bool follow, Order order) {
  note_released();
  const Read read = fill(*plan, args, kwargs, scope, follow);
  if (read == Read::all_known) return py::reinterpret_borrow<py::object>(Py_NotImplemented);
  if (read == Read::first_met) return py::none();
  const ValueId first = builder_.infer(plan->outputs);
  if (first == kNone) return py::none();
  if (plan->outputs == 1) {
    py::object result = made(first, order);
    if (plan->stores != Stores::all) keep_stored(*plan, args, result);
    return result;
  }
  py::tuple out(plan->outputs);
  for (std::size_t i = 0; i < plan->outputs; ++i) out[i] = made(first + static_cast<ValueId>(i), order);
  return out;
}

void Tape::record(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
                  const py::object& results) {
  note_released();
  std::vector<py::object> tensors;
  collect(results, tensors);
  std::vector<Type> types;
  types.reserve(tensors.size());
  for (const py::object& tensor : tensors) types.push_back(type_of(tensor.ptr()));
  (void)fill(*plan, args, kwargs, scope, false);
  ValueId id = builder_.given(std::move(types));
  if (plan->stores != Stores::all && !tensors.empty()) keep_stored(*plan, args, tensors.front());
  for (py::object& tensor : tensors) {
    held_.emplace_back(tensor.ptr(), id);
    rename(std::move(tensor), id++);
  }
}

py::object Tape::in_order(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope) {
  PyObject* from = PyTuple_GET_ITEM(args.ptr(), 0);
  const py::object layout = torch_.layout.of(from);
  const py::object dtype = torch_.dtype.of(from);
  if (!layout || !dtype) throw py::error_already_set();
  note_released();
  Type type = builder_.type(id_of(from));
  const bool plain = class_of(type.dtype) != DTypeClass::complex;  // which may be conjugated, or not any more
  if (!plain || !layout.is(torch_.strided) || !dtype.is(torch_.named[static_cast<std::size_t>(type.dtype)])) return {};
  (void)fill(*plan, args, kwargs, scope, false);
  return made(builder_.given({std::move(type)}), Order::rows);
}

void Tape::note_released(bool all) {
  if (held_.empty() || (torch_.node && !torch_.strided)) return;  // what only nodes stand for holds nothing
  constexpr std::size_t kNewest = 64, kOlder = 8;
  const auto look = [&](std::size_t at) {
    const Py_ssize_t ours = follows(held_[at].first) ? 2 : 1;  // those with known contents are in the recorder's, too
    if (Py_REFCNT(held_[at].first) > ours) return false;
    builder_.released(held_[at].second);
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(at));
    return true;
  };
  const std::size_t newest = all || held_.size() < kNewest ? 0 : held_.size() - kNewest;
  for (std::size_t at = held_.size(); at-- > newest;) (void)look(at);
  for (std::size_t i = 0; i < kOlder && newest > 0 && !held_.empty(); ++i) {
    turn_ = turn_ >= held_.size() ? 0 : turn_;
    if (!look(turn_)) ++turn_;
  }
}

ValueId Tape::stored(const py::object& tensor, std::string_view as, std::uint32_t owner, bool buffer, bool used) {
  const ValueId id = builder_.stored(as, type_of(tensor.ptr()), buffer, !is_trained(tensor.ptr()));
  note_stored(tensor);
  name(tensor, id);
  own(id, owner);
  if (used) builder_.use(id);
  return id;
}

py::tuple Tape::announce(const py::dict& modules, const py::object& unusual) {
  py::list elements, odd;
  std::string as;
  for (const auto& [module, path] : modules) {
    const auto prefix = utf8(path.ptr());
    const std::uint32_t owner = scope(prefix);
    std::int64_t own = 0;
    for (const bool buffer : {false, true}) {
      each_item(own_item(module.ptr(), buffer ? buffers_name_ : parameters_name_), [&](PyObject* key, PyObject* value) {
        if (value == Py_None || ids_.contains(value)) return;
        as.assign(prefix).append(prefix.empty() ? "" : ".").append(utf8(key));
        const auto* kind = reinterpret_cast<PyObject*>(Py_TYPE(value));
        if (kind != torch_.parameter.ptr() && kind != torch_.tensor.ptr()) unusual(as, py::handle(value));
        const auto tensor = py::reinterpret_borrow<py::object>(value);
        const ValueId id = stored(tensor, as, owner, buffer, true);
        const Type& type = builder_.type(id);
        std::int64_t count = 1;
        for (const Dim& dim : type.shape) count *= dim.constant().value_or(0);
        if (!buffer) {
          own += count;
        } else if (count == 1 || class_of(type.dtype) != DTypeClass::real) {
          odd.append(tensor);
        }
      });
    }
    elements.append(own);
  }
  return py::make_tuple(std::move(elements), std::move(odd));
}

void Tape::within(const py::object& times, const std::string& floor, const std::string& because,
                  const py::object& weight_times) {
  Expr count, of_weights;
  if (!to_expr(times, count) || !to_expr(weight_times, of_weights)) {
    throw py::type_error("times is neither an int nor an Expr");
  }
  const bool bound = floor == "bound", estimate = floor == "estimate", unknown = floor == "unknown";
  builder_.within(count,
                  bound      ? Trust::bound
                  : estimate ? Trust::estimate
                  : unknown  ? Trust::unknown
                             : Trust::exact,
                  because, of_weights);
}

std::pair<std::int64_t, std::uint32_t> Tape::stored_node(const py::object& node, PyObject* val, std::string_view as,
                                                         bool buffer, bool frozen) {
  Type type = type_of(val);
  Dim elements = 1;
  for (const Dim& dim : type.shape) elements *= dim;
  const ValueId id = builder_.stored(as, std::move(type), buffer, frozen);
  name(node, id);
  builder_.use(id);
  const std::string_view owner = owner_of(as);  // mostly that of the one before
  if (owner_ == kNone || builder_.path(owner_) != owner) owner_ = scope(owner);
  own(id, owner_);
  return {elements.constant().value_or(0), owner_};
}

Report Tape::finish(const py::object& results) {
  std::vector<py::object> tensors;
  collect(results, tensors);
  note_released(true);
  std::vector<ValueId> outputs;
  for (const py::object& tensor : tensors) {
    const ValueId id = ids_.find(tensor.ptr());
    if (id != kNone) outputs.push_back(id);
  }
  return builder_.finish(outputs);
}

std::string_view Tape::canonical(const Match* match, std::string_view name) {
  if (match == nullptr || match->binding == nullptr) return name;
  const std::string_view renames = match->binding->attrs;  // "dim=axis keepdim=keepdims"
  for (std::size_t at = renames.find(name); at != std::string_view::npos; at = renames.find(name, at + 1)) {
    const std::size_t from = at + name.size() + 1;
    if ((at != 0 && renames[at - 1] != ' ') || from > renames.size() || renames[from - 1] != '=') continue;
    return renames.substr(from, renames.find(' ', from) - from);
  }
  return name;
}

bool Tape::is_host(const Match* match, std::string_view name) {
  if (match == nullptr) return false;
  for (std::size_t i = 0; i < match->names.size(); ++i) {
    if (match->host[i] && match->names[i] == name) return true;
  }
  return false;
}

// A number that may be a fraction is an input where a spelling of the row says so.
bool Tape::takes_number(const Match* match, std::string_view name) {
  if (match == nullptr || match->binding == nullptr) return false;
  const std::string word = "#" + std::string(name), slots = " " + match->binding->slots.str() + " ";
  return slots.find(" " + word + " ") != std::string::npos;
}

void Tape::collect(const py::object& from, std::vector<py::object>& out) const {
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

Dim Tape::dim_of(PyObject* size) const {
  if (PyLong_Check(size)) {
    const long long value = PyLong_AsLongLong(size);
    if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    return static_cast<std::int64_t>(value);
  }
  Expr out;
  if (!to_expr(torch_.expr_of(py::handle(size)), out)) throw py::type_error("a size is neither an int nor symbolic");
  return out;
}

Type Tape::type_of(PyObject* tensor) const {
  const py::object shape = torch_.shape.of(tensor);
  if (!shape) throw py::error_already_set();
  const py::object dtype = torch_.dtype.of(tensor);
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

void Tape::keep_stored(const Plan& plan, const py::tuple& args, const py::object& result) {
  if (plan.stores == Stores::some) {
    sparse_[result.ptr()] = kUntold;
  } else if (!sparse_.empty() && !args.empty()) {
    const auto at = sparse_.find(PyTuple_GET_ITEM(args.ptr(), 0));
    if (at != sparse_.end()) sparse_[result.ptr()] = at->second;
  }
}

void Tape::note_stored(const py::object& tensor) {
  if (!torch_.strided || reinterpret_cast<PyObject*>(Py_TYPE(tensor.ptr())) == torch_.node.ptr()) return;
  const py::object layout = torch_.layout.of(tensor.ptr());
  if (!layout) throw py::error_already_set();
  if (!layout.is(torch_.strided)) sparse(tensor, torch_.nonzeros(tensor));
}

void Tape::tell_stored(const Plan& plan) {
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

std::size_t hash_of(const Type& type, Order order) {
  auto hash = static_cast<std::size_t>(type.dtype) * 2 + static_cast<std::size_t>(order);
  for (const Dim& dim : type.shape) hash = hash * 1'000'003 + dim.hash();
  return hash;
}

Like* Tape::like(const Type& type, Order order, std::size_t hash) {
  for (auto [at, end] = like_.equal_range(hash); at != end; ++at) {
    Like& one = at->second;
    if (one.dtype == type.dtype && one.order == order && one.shape == type.shape) return &one;
  }
  return nullptr;
}

py::object Tape::made(ValueId id, Order order) {
  const Type& type = builder_.type(id);
  if (type.shape.size() != 4) order = Order::rows;
  const std::size_t hash = hash_of(type, order);
  Like* found = like(type, order, hash);
  if (found == nullptr) {
    Like made_first{type.dtype, order, type.shape, first_made(type, order)};
    found = &added(like_.emplace(hash, std::move(made_first))->second);
  }
  return made(id, *found);
}

py::object Tape::made(ValueId id, Like& like) {
  auto out = py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(like.tensor.ptr(), torch_.detach.ptr()));
  if (!out) throw py::error_already_set();
  held_.emplace_back(out.ptr(), id);
  name(out, id, &like);
  return out;
}

py::object Tape::first_made(const Type& type, Order order) const {
  const std::size_t rank = type.shape.size();
  py::tuple sizes(rank), strides(rank);
  Dim stride = 1;
  for (std::size_t at = rank; at-- > 0;) {
    const std::size_t i = order == Order::turned && (at == 1 || at == 2) ? 3 - at : at;
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

Tape::Read Tape::fill(const Plan& plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
                      bool follow) {
  const auto given = static_cast<std::size_t>(PyTuple_GET_SIZE(args.ptr()));
  // Whatever raises while arguments are read comes before the call is started.
  values_.clear();
  constants_.clear();
  met_.clear();
  bool any_known = false, any_unknown = false, any_first = false;
  const auto meet = [&](PyObject* tensor) {
    if (follow && !ids_.contains(tensor)) {
      any_first = true;
      return;
    }
    met_.push_back(id_of(tensor));
    (!known_.empty() && known_.contains(tensor) ? any_known : any_unknown) = true;
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
    if (p.use == Use::host) constants_.push_back(is_whole(value) ? builder_.constant(dims_of(value)) : kNone);
    if (p.use == Use::tensor && is_tensor(value)) meet(value);
    if (p.use == Use::tensors && value != Py_None) {
      for (const py::handle one : py::handle(value)) {
        if (is_tensor(one.ptr())) meet(one.ptr());
      }
    }
  }
  if (any_first) return Read::first_met;
  if (follow && any_known && !any_unknown) return Read::all_known;
  builder_.start(plan.op, scope);
  std::size_t constant = 0, met = 0;
  for (std::size_t i = 0; i < plan.parameters.size(); ++i) {
    const Parameter& p = plan.parameters[i];
    PyObject* value = values_[i];
    switch (p.use) {
      case Use::tensor:
        if (is_tensor(value)) {
          builder_.add(met_[met++]);
        } else {
          builder_.add(kNone);
          attribute(p, value);
        }
        break;
      case Use::tensors: {
        std::int64_t count = 0;
        if (value != Py_None) {
          for (const py::handle one : py::handle(value)) {
            builder_.add(is_tensor(one.ptr()) ? met_[met++] : kNone);
            ++count;
          }
        }
        if (!p.count.empty()) builder_.attribute(p.count, count);
        break;
      }
      case Use::host:
        if (constants_[constant] == kNone) attribute(p, value);
        builder_.add(constants_[constant++]);
        break;
      case Use::value:
        attribute(p, value);
        break;
      case Use::number:  // in no plan
      case Use::nothing:
        break;
    }
  }
  if (!sparse_.empty()) tell_stored(plan);
  return Read::whole;
}

// Fractions are not, in whatever form.
bool Tape::is_whole(PyObject* value) {
  return PyIndex_Check(value) != 0 || PyList_Check(value) != 0 || PyTuple_Check(value) != 0;
}

std::vector<Dim> Tape::dims_of(PyObject* value) const {
  std::vector<Dim> out;
  if (PyList_Check(value) == 0 && PyTuple_Check(value) == 0) {
    out.push_back(dim_of(value));
  } else {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
    for (Py_ssize_t i = 0; i < count; ++i) out.push_back(dim_of(PySequence_Fast_GET_ITEM(value, i)));
  }
  return out;
}

void Tape::attribute(const Parameter& p, PyObject* value) {
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

void Tape::list_attribute(const Parameter& p, PyObject* value) {
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

}  // namespace macsim::bind
