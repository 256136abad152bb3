// Views on the tape: what torch once told of a view is so for all tensors that lie like the one that it was asked of.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "tape.hpp"

namespace macsim::bind {
namespace {

constexpr std::int64_t kNumber = -1, kFlag = -2, kNothing = -3, kList = -4, kDType = -5, kSymbol = -6;

bool is_complex(DType dtype) { return class_of(dtype) == DTypeClass::complex; }  // they may be conjugated, unseen

std::size_t hash_of(const View& asked) {
  std::size_t hash = std::hash<const void*>()(asked.from) * 31 + std::hash<const void*>()(asked.plan);
  for (const std::int64_t one : asked.arguments) hash = hash * 1'000'003 + static_cast<std::size_t>(one);
  for (const Expr& one : asked.symbols) hash = hash * 1'000'003 + one.hash();
  return hash;
}

std::optional<std::int64_t> elements_of(const Shape& shape) {
  std::int64_t elements = 1;
  for (const Dim& dim : shape) {
    const auto size = dim.constant();
    if (!size) return std::nullopt;
    elements *= *size;
  }
  return elements;
}

bool lies_in_rows(PyObject* tensor, const Shape& shape) {
  const py::tuple strides = py::handle(tensor).attr("stride")();
  std::int64_t stride = 1;
  for (std::size_t at = shape.size(); at-- > 0;) {
    if (PyLong_AsLongLong(PyTuple_GET_ITEM(strides.ptr(), static_cast<Py_ssize_t>(at))) != stride) return false;
    stride *= std::max<std::int64_t>(*shape[at].constant(), 1);
  }
  return true;
}

}  // namespace

bool Tape::has_symbols(PyObject* value) const {
  if (PyList_Check(value) != 0 || PyTuple_Check(value) != 0) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (has_symbols(PySequence_Fast_GET_ITEM(value, i))) return true;
    }
    return false;
  }
  const auto* kind = reinterpret_cast<PyObject*>(Py_TYPE(value));
  return std::any_of(torch_.symbols.begin(), torch_.symbols.end(), [&](py::handle one) { return one.ptr() == kind; });
}

bool Tape::is_plain(PyObject* one) const {
  const ValueId id = ids_.find(one);
  if (id == kNone) return false;
  const Shape& shape = builder_.type(id).shape;
  return std::all_of(shape.begin(), shape.end(), [](const Dim& dim) { return dim.is_constant(); });
}

bool Tape::ask_number(PyObject* value) {
  if (PyLong_Check(value) != 0) {
    int overflow = 0;
    asked_.arguments.push_back(kNumber);
    asked_.arguments.push_back(PyLong_AsLongLongAndOverflow(value, &overflow));
    return overflow == 0;
  }
  if (!is_symbolic() || reinterpret_cast<PyObject*>(Py_TYPE(value)) != PyTuple_GET_ITEM(torch_.symbols.ptr(), 0)) {
    return false;
  }
  asked_.arguments.push_back(kSymbol);
  asked_.symbols.push_back(dim_of(value));
  return true;
}

// Numbers, lists of numbers, dtypes and None, so that no two lists of arguments look alike.
bool Tape::ask(PyObject* value) {
  if (value == Py_None) {
    asked_.arguments.push_back(kNothing);
    return true;
  }
  if (PyBool_Check(value) != 0) asked_.arguments.push_back(kFlag);
  if (PyList_Check(value) != 0 || PyTuple_Check(value) != 0) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
    asked_.arguments.push_back(kList);
    asked_.arguments.push_back(count);
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (!ask_number(PySequence_Fast_GET_ITEM(value, i))) return false;
    }
    return true;
  }
  if (const auto dtype = torch_.dtypes.find(value); dtype != torch_.dtypes.end()) {
    asked_.arguments.push_back(kDType);
    asked_.arguments.push_back(static_cast<std::int64_t>(dtype->second));
    return true;
  }
  return ask_number(value);
}

const View* Tape::view_of(const Plan* plan, const py::tuple& args) {
  asked_.from = nullptr;
  if (!sparse_.empty()) return nullptr;
  Like* const from = liked(PyTuple_GET_ITEM(args.ptr(), 0));
  if (from == nullptr || is_complex(from->dtype)) return nullptr;
  asked_.arguments.clear();
  asked_.symbols.clear();
  const Py_ssize_t count = PyTuple_GET_SIZE(args.ptr());
  for (Py_ssize_t i = 1; i < count; ++i) {
    if (!ask(PyTuple_GET_ITEM(args.ptr(), i))) return nullptr;
  }
  asked_.from = from;
  asked_.plan = plan;
  for (auto [at, end] = views_.equal_range(hash_of(asked_)); at != end; ++at) {
    const View& view = at->second;
    if (view.from == asked_.from && view.plan == plan && view.arguments == asked_.arguments &&
        view.symbols == asked_.symbols) {
      return &view;
    }
  }
  return nullptr;
}

py::object Tape::viewed(const View& view, const Plan* plan, const py::tuple& args, const py::object& kwargs,
                        std::uint32_t scope) {
  note_released();
  std::vector<Type> types;
  types.reserve(view.made.size());
  for (Like* like : view.made) types.push_back(Type::of(like->dtype, like->shape));
  (void)fill(*plan, args, kwargs, scope, false);
  const bool sometimes = !view.because.empty();
  if (sometimes) builder_.within(view.times, view.bound ? Trust::bound : Trust::exact, view.because);
  ValueId id = builder_.given(std::move(types));
  if (sometimes) builder_.within(1, Trust::exact, {});
  if (view.form == View::Form::itself) {
    auto from = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(args.ptr(), 0));
    held_.emplace_back(from.ptr(), id);
    rename(from, id, view.from);
    return from;
  }
  if (view.form == View::Form::one) return made(id, *view.made.front());
  py::list out(view.made.size());
  for (std::size_t i = 0; i < view.made.size(); ++i) out[i] = made(id++, *view.made[i]);
  return view.form == View::Form::list ? py::object(std::move(out)) : py::object(py::tuple(out));
}

View* Tape::note_view(const py::object& from, const py::object& results, bool copies) {
  if (asked_.from == nullptr || !sparse_.empty()) return nullptr;
  if (!results.is(from) && liked(from.ptr()) != asked_.from) return nullptr;
  View view = std::move(asked_);
  asked_ = View();
  view.copies = copies;
  std::vector<py::object> tensors;
  collect(results, tensors);
  if (results.is(from)) {
    view.form = View::Form::itself;
    liked_[from.ptr()] = view.from->number;
  } else if (is_tensor(results.ptr())) {
    view.form = View::Form::one;
  } else {
    view.form = py::isinstance<py::tuple>(results) ? View::Form::tuple : View::Form::list;
    if (static_cast<std::size_t>(PySequence_Size(results.ptr())) != tensors.size()) return nullptr;
  }
  for (const py::object& tensor : tensors) {
    Like* like = liked(tensor.ptr());
    if (like == nullptr) like = like_of(tensor.ptr(), view);
    if (like == nullptr) return nullptr;
    liked_[tensor.ptr()] = like->number;
    view.made.push_back(like);
  }
  const std::size_t hash = hash_of(view);
  return &views_.emplace(hash, std::move(view))->second;
}

void Tape::refresh(PyObject* tensor) {
  Like* const like = liked(tensor);
  if (like == nullptr || like->fresh) return;
  auto alone = py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(tensor, torch_.detach.ptr()));
  if (!alone) throw py::error_already_set();
  like->tensor = std::move(alone);
  like->fresh = true;
}

// Of what a view gave; null: it is of another kind than its shape and dtype say.
Like* Tape::like_of(PyObject* tensor, const View& view) {
  const Type& type = builder_.type(id_of(tensor));
  if (is_complex(type.dtype)) return nullptr;
  const bool same = type.dtype == view.from->dtype;
  if (!same) {
    const py::object dtype = torch_.dtype.of(tensor);
    if (!dtype) throw py::error_already_set();
    if (!dtype.is(torch_.named[static_cast<std::size_t>(type.dtype)])) return nullptr;
  }
  const auto elements = elements_of(type.shape);
  const bool whole = view.from->whole && same && elements && elements == elements_of(view.from->shape);
  const std::size_t hash = hash_of(type, Order::rows);
  const bool in_rows = whole && lies_in_rows(tensor, type.shape);
  if (in_rows) {
    if (Like* known = like(type, Order::rows, hash)) return known;
  }
  auto alone = py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(tensor, torch_.detach.ptr()));
  if (!alone) throw py::error_already_set();
  Like one{type.dtype, Order::rows, type.shape, std::move(alone), false, 0, whole};
  return &added(in_rows ? like_.emplace(hash, std::move(one))->second : other_likes_.emplace_back(std::move(one)));
}

void Tape::changed(const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
                   const py::object& tensor) {
  const Like* const like = liked(tensor.ptr());
  record(plan, args, kwargs, scope, tensor);
  if (like != nullptr) liked_[tensor.ptr()] = like->number;
}

}  // namespace macsim::bind
