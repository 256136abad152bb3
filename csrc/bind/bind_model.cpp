// Reading models from Python: files, and buffers that stay where they are.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <set>
#include <utility>
#include <vector>

#include "bind.hpp"

namespace macsim::bind {
namespace {

LoadedModel finish(Result<ModelPtr> read) {
  if (!read) raise(read.status());
  return {*std::move(read)};
}

LoadedModel read_file(const py::bytes& path) {
  const auto name = static_cast<std::string>(path);
  return finish([&] {
    const py::gil_scoped_release release;
    return read_onnx_file(name);
  }());
}

// Holds a buffer of Python's while a model looks into it; the last owner may be a thread without the interpreter lock.
std::shared_ptr<const void> hold(const py::buffer& from, std::string_view& bytes) {
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(from.ptr(), view.get(), PyBUF_SIMPLE) != 0) throw py::error_already_set();
  bytes = {static_cast<const char*>(view->buf), static_cast<std::size_t>(view->len)};
  return {view.release(), [](Py_buffer* held) {
            const py::gil_scoped_acquire acquire;
            PyBuffer_Release(held);
            delete held;
          }};
}

LoadedModel read_buffer(const py::buffer& from) {
  std::string_view bytes;
  std::shared_ptr<const void> owner = hold(from, bytes);
  return finish([&] {
    const py::gil_scoped_release release;
    return read_onnx(bytes, std::move(owner));
  }());
}

const Graph& main_graph(const LoadedModel& m) { return m.model->bodies.front(); }

TensorInfo tensor_of(const Graph& graph, ValueId id, Role role) {
  const Value& value = graph.values[id];
  TensorInfo info{std::string(value.name), {}, {}, role};
  if (value.claim != kNone) {
    info.type = graph.claims[value.claim];
  } else if (value.stored != kNone) {
    info.type = graph.stored[value.stored].type;
  }
  return info;
}

// Inputs that have a default in the file need not be given: they are weights in the clothes of inputs.
std::vector<TensorInfo> inputs_of(const LoadedModel& m, bool with_default) {
  const Graph& graph = main_graph(m);
  std::vector<TensorInfo> out;
  for (const ValueId id : graph.inputs) {
    const bool stored = graph.values[id].stored != kNone;
    if (stored == with_default) out.push_back(tensor_of(graph, id, stored ? Role::weight : Role::input));
  }
  return out;
}

std::vector<TensorInfo> outputs_of(const LoadedModel& m) {
  const Graph& graph = main_graph(m);
  std::vector<TensorInfo> out;
  out.reserve(graph.outputs.size());
  for (const ValueId id : graph.outputs) out.push_back(tensor_of(graph, id, graph.values[id].role));
  return out;
}

py::list symbols_of(const LoadedModel& m) {
  const Graph& graph = main_graph(m);
  std::set<std::string> names;
  for (const ValueId id : graph.inputs) {
    if (graph.values[id].claim == kNone) continue;
    for (const Type* type = &graph.claims[graph.values[id].claim]; type != nullptr; type = type->element.get()) {
      for (const Dim& dim : type->shape) {
        for (std::string& name : dim.symbols()) names.insert(std::move(name));
      }
    }
  }
  py::list out;
  for (const std::string& name : names) out.append(text(name));
  return out;
}

py::dict opsets_of(const LoadedModel& m) {
  py::dict out;
  for (const Model::Opset& opset : m.model->opsets) out[text(opset.domain)] = opset.version;
  return out;
}

py::object count_of(const Type& type) {
  if (!type.ranked) return py::none();
  Count all = 1;
  for (const Dim& dim : type.shape) all *= dim;
  return number(all);
}

std::string said(const TensorInfo& t) {
  std::string out = t.type.kind == Kind::tensor ? "" : std::string(name_of(t.type.kind)) + " of ";
  out += name_of(t.type.dtype);
  if (!t.type.ranked) return out + "[...]";
  out += '[';
  for (std::size_t i = 0; i < t.type.shape.size(); ++i)
    out += (i != 0 ? ", " : "") + std::as_const(t.type.shape)[i].str();
  return out + ']';
}

void bind_tensor(py::module_& m) {
  py::class_<TensorInfo>(m, "Tensor", "A tensor at the edge of a node or of a model: its dtype and its shape.")
      .def(py::init([](const py::object& dtype, const py::object& shape, const std::string& name) {
             Type type = Type::unranked(dtype_from(dtype));
             if (!shape.is_none()) type = Type::of(type.dtype, shape_from(shape, "Tensor"));
             return TensorInfo{name, {}, std::move(type), Role::activation};
           }),
           py::arg("dtype"), py::arg("shape"), py::arg("name") = "")
      .def_property_readonly(
          "name", [](const TensorInfo& t) { return text(t.name); }, "Its name in the model.")
      .def_property_readonly(
          "slot", [](const TensorInfo& t) { return text(t.slot); },
          "What the operator calls it: \"x\", \"w\"; may be empty.")
      .def_property_readonly(
          "dtype", [](const TensorInfo& t) { return text(name_of(t.type.dtype)); },
          "\"f32\", \"i8\", \"bool\", ...; \"?\" when unknown.")
      .def_property_readonly(
          "shape", [](const TensorInfo& t) { return shape_tuple(t.type); },
          "Sizes, outermost first; None when even the rank is unknown.")
      .def_property_readonly(
          "kind", [](const TensorInfo& t) { return text(name_of(t.type.kind)); },
          "\"tensor\", \"sparse\", \"sequence\", \"optional\" or \"map\".")
      .def_property_readonly(
          "role", [](const TensorInfo& t) { return text(name_of(t.role)); },
          "\"activation\", \"input\", \"weight\" or \"capture\".")
      .def_property_readonly(
          "size", [](const TensorInfo& t) { return count_of(t.type); },
          "How many elements; None when the rank is unknown.")
      .def_property_readonly(
          "element",
          [](const TensorInfo& t) -> py::object {
            if (t.type.element == nullptr) return py::none();
            return py::cast(TensorInfo{t.name, t.slot, *t.type.element, t.role});
          },
          "What a sequence or an optional holds, when it is known.")
      .def(
          "__eq__",
          [](const TensorInfo& a, const py::object& b) -> py::object {
            if (!py::isinstance<TensorInfo>(b)) return py::reinterpret_borrow<py::object>(Py_NotImplemented);
            const auto& other = b.cast<const TensorInfo&>();
            return py::bool_(a.name == other.name && a.type.dtype == other.type.dtype &&
                             a.type.kind == other.type.kind && a.type.ranked == other.type.ranked &&
                             a.type.shape == other.type.shape);
          },
          py::is_operator())
      .def("__hash__", [](const TensorInfo& t) { return py::hash(text(t.name + said(t))); })
      .def("__repr__", [](const TensorInfo& t) {
        return py::str("Tensor({})").format(text((t.name.empty() ? "" : t.name + ": ") + said(t)));
      });
}

}  // namespace

void bind_model(py::module_& m) {
  bind_tensor(m);
  py::class_<LoadedModel>(m, "Model",
                          "A model that was read: its graph and the types of its tensors, never their contents.")
      .def_property_readonly(
          "producer", [](const LoadedModel& x) { return text(x.model->producer); }, "The program that wrote the file.")
      .def_property_readonly(
          "producer_version", [](const LoadedModel& x) { return text(x.model->producer_version); }, "Its version.")
      .def_property_readonly(
          "ir_version", [](const LoadedModel& x) { return x.model->ir_version; }, "The version of the file format.")
      .def_property_readonly("opsets", &opsets_of, "The versions of the operator sets, by domain.")
      .def_property_readonly(
          "name", [](const LoadedModel& x) { return text(main_graph(x).name); }, "The graph's name.")
      .def_property_readonly(
          "nodes", [](const LoadedModel& x) { return x.model->node_total; },
          "How many nodes there are, in bodies and functions too.")
      .def_property_readonly(
          "inputs", [](const LoadedModel& x) { return inputs_of(x, false); },
          "The inputs that must be fed, as the file states them.")
      .def_property_readonly(
          "defaults", [](const LoadedModel& x) { return inputs_of(x, true); },
          "The inputs that have a default in the file.")
      .def_property_readonly("outputs", &outputs_of, "The outputs, as the file states them.")
      .def_property_readonly("symbols", &symbols_of, "The names of the inputs' symbolic sizes, sorted.")
      .def("__repr__", [](const LoadedModel& x) {
        std::string inputs;
        for (const TensorInfo& t : inputs_of(x, false))
          inputs += (inputs.empty() ? "" : ", ") + t.name + ": " + said(t);
        return py::str("<macsim.Model {!r}: {} nodes, inputs {}>")
            .format(text(main_graph(x).name), x.model->node_total, text(inputs));
      });
  m.def("read_file", &read_file, py::arg("path"), "Read a file; the path is in the file system's encoding.");
  m.def("read_buffer", &read_buffer, py::arg("buffer"), "Read from bytes in memory, which are kept and not copied.");
}

}  // namespace macsim::bind
