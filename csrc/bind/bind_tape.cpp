// The door of the tape, and of what walks graphs on it.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "dispatcher.hpp"
#include "graph_walk.hpp"
#include "module_calls.hpp"
#include "module_states.hpp"
#include "schema.hpp"
#include "tape.hpp"
#include "traced_walk.hpp"

namespace macsim::bind {
namespace {

void bind_graph_walk(py::module_& m) {
  py::class_<CalledModules>(m, "CalledModules", "What a report knows of modules.")
      .def("__len__", [](const CalledModules& of) { return of.modules.size(); })
      .def(
          "told",
          [](const CalledModules& of) {
            py::list out;
            for (const auto& [path, kind, calls, parameters] : of.modules) {
              out.append(py::make_tuple(text(path), text(kind), calls, parameters));
            }
            return out;
          },
          "Of each its path, the name of its class, how often it is called, and elements of its own parameters.");
  py::class_<GraphWalk>(m, "GraphWalk", "Records the plain calls of a graph of torch.fx.")
      .def(py::init<Tape&, const py::dict&>(), py::arg("tape"), py::arg("torch"), py::keep_alive<1, 2>())
      .def("stored", &GraphWalk::stored, py::arg("inputs"), py::arg("specs"), py::arg("kinds"), py::arg("state"),
           "Announce the tensors of an exported program's model.")
      .def("walk", &GraphWalk::walk, py::arg("module"), py::arg("nodes"), py::arg("start"), py::arg("outer"),
           py::arg("announced"), "Record nodes from ``start`` on; the position of the first that is no plain call.")
      .def("attribute", &GraphWalk::attribute, py::arg("module"), py::arg("node"),
           "Let a node stand for the tensor of a module's that it names; whether it is one.")
      .def("tensor", &GraphWalk::tensor, py::arg("node"), "That tensor, or None.")
      .def("part", &GraphWalk::part, py::arg("to"), py::arg("node"), py::arg("number"),
           "Let a tensor be the value that is a part of a node's results.")
      .def(
          "enter",
          [](GraphWalk& walk, const py::object& key, const py::object& said) {
            return walk.path(walk.modules().enter(key.ptr(), said.ptr()));
          },
          py::arg("key"), py::arg("said"), "Note a call of a module as a stack says it; its path, or None.")
      .def(
          "call",
          [](GraphWalk& walk, std::string_view path, const py::object& kind, bool again) {
            walk.modules().call(walk.scope(path), kind.ptr(), again);
          },
          py::arg("path"), py::arg("kind"), py::arg("again"), "Note a call of a module.")
      .def(
          "own",
          [](GraphWalk& walk, std::string_view path, std::int64_t elements) {
            walk.modules().own(walk.scope(path), elements);
          },
          py::arg("path"), py::arg("elements"), "Note elements of a module's own parameters.")
      .def(
          "called", [](GraphWalk& walk, const Report& ledger) { return walk.modules().found(ledger); },
          py::arg("ledger"), "What was noted of modules, for the ledger.");
}

void bind_traced_walk(py::module_& m) {
  py::class_<Calling>(m, "Calling", "How calls in a traced graph are calls of an operator.")
      .def(py::init<const py::list&, const py::object&, const py::object&, const py::dict&, std::size_t, bool>(),
           py::arg("takes"), py::arg("own"), py::arg("picks"), py::arg("when"), py::arg("positional"),
           py::arg("spread"));
  py::class_<TracedWalk>(m, "TracedWalk", "Walks a graph of torch.fx whose nodes say nothing of their results.")
      .def(py::init<Tape&, ModuleCalls&, Dispatcher&, const py::dict&>(), py::arg("tape"), py::arg("calls"),
           py::arg("dispatcher"), py::arg("torch"), py::keep_alive<1, 2>(), py::keep_alive<1, 3>(),
           py::keep_alive<1, 4>())
      .def("walk", &TracedWalk::walk, py::arg("module"), py::arg("nodes"), py::arg("inputs"),
           "Walk the graph of a module; what it gives back.");
}

}  // namespace

void bind_tape(py::module_& m) {
  m.def(
      "read_schema", &read_schema, py::arg("text"),
      "What a schema of torch's says: the operator's name and its overload's, (name, type, use, written, keyword only, "
      "default) of each argument, (type, alias) of each result.");
  py::class_<Signature>(m, "Signature", "What a schema says of an operator's parameters.")
      .def(py::init<const py::list&>(), py::arg("parameters"));
  py::class_<Plan>(m, "Plan", "How calls of one operator are read.")
      .def_readonly("known", &Plan::known, "A row answers to it.")
      .def_readonly("infers", &Plan::infers, "The row tells the results' shapes.")
      .def_readonly("hosts", &Plan::hosts, "Parameters that may be symbols.");
  py::class_<Tape>(m, "Tape", "Calls of operators as they happen, counted as they come.")
      .def(py::init<const SharedRegistry&, const std::string&, const py::dict&>(), py::arg("rules"), py::arg("name"),
           py::arg("torch"))
      .def("plan", &Tape::plan, py::arg("dialect"), py::arg("name"), py::arg("signature"), py::arg("outputs"),
           py::arg("stores") = "all", py::return_value_policy::reference_internal,
           "How calls of an operator are to be read.")
      .def(
          "call",
          [](Tape& tape, const Plan* plan, const py::tuple& args, const py::object& kwargs, std::uint32_t scope,
             bool follow, bool turned) {
            return tape.call(plan, args, kwargs, scope, follow, turned ? Order::turned : Order::rows);
          },
          py::arg("plan"), py::arg("args"), py::arg("kwargs"), py::arg("scope"), py::arg("follow") = true,
          py::arg("turned") = false,
          "Record a call whose results the row can tell; they, or None. follow: None also when a tensor is met for the "
          "first time, and NotImplemented when the contents of all are known: nothing is recorded.")
      .def("record", &Tape::record, py::arg("plan"), py::arg("args"), py::arg("kwargs"), py::arg("scope"),
           py::arg("results"), "Record a call with its results.")
      .def("input_node", &Tape::input_node, py::arg("node"), py::arg("val"), py::arg("name"),
           "Announce an input of a graph.")
      .def("input", &Tape::input, py::arg("tensor"), py::arg("name"), "Announce an input.")
      .def(
          "stored",
          [](Tape& tape, const py::object& tensor, std::string_view name, bool buffer, bool used) {
            (void)tape.stored(tensor, name, buffer, used);
          },
          py::arg("tensor"), py::arg("name"), py::arg("buffer"), py::arg("used"), "Announce a tensor of the model.")
      .def("announce", &Tape::announce, py::arg("modules"), py::arg("unusual"),
           "Announce the parameters and buffers of modules, each once.")
      .def("sparse", &Tape::sparse, py::arg("tensor"), py::arg("stored"),
           "Say how many elements of a tensor are stored; None: nobody knows.")
      .def("know", &Tape::know, py::arg("tensor"), py::arg("known"), "Say whether a tensor's contents are known.")
      .def("scope", &Tape::scope, py::arg("path"), "The number of a scope.")
      .def("knows", &Tape::knows, py::arg("tensor"), "Whether the tensor is a value of the model.")
      .def(
          "owner",
          [](const Tape& tape, const py::object& tensor) {
            const std::uint32_t owner = tape.owner(tensor.ptr());
            return owner == kNone ? std::nullopt : std::optional(tape.path(owner));
          },
          py::arg("tensor"), "The path of the module that a tensor of the model belongs to, or None.")
      .def("same", &Tape::same, py::arg("to"), py::arg("from_"), "Let a tensor be the value that another is.")
      .def("symbol", &Tape::symbol, py::arg("name"), py::arg("why"),
           "Say what a symbol stands for that is in no input's shape.")
      .def("remark", &Tape::remark, py::arg("code"), py::arg("text"), "Put a remark in the report.")
      .def("assume_not_negative", &Tape::assume_not_negative, py::arg("expr"),
           "Let bind() refuse sizes for which it is below 0: the program would go another way.")
      .def("within", &Tape::within, py::arg("times"), py::arg("floor"), py::arg("because"), py::arg("weight_times") = 0,
           "Say how often calls from now on run, how far they can be trusted at best, and how often weights are read "
           "for it (0: every time).")
      .def("detach", &Tape::detach, py::arg("on"), "Say whether calls from now on are kept out of differentiation.")
      .def("checkpoint", &Tape::checkpoint, py::arg("on"), py::arg("whole") = false,
           "Say whether what calls from now on compute is computed again for the gradient.")
      .def_property_readonly("calls", &Tape::calls, "How many calls were recorded.")
      .def("finish", &Tape::finish, py::arg("results"), "The ledger; the tape is then of no more use.");
  py::class_<ModuleCalls>(m, "ModuleCalls", "Which module a torch program is in.")
      .def(py::init<Tape&, py::dict>(), py::arg("tape"), py::arg("paths"), py::keep_alive<1, 2>())
      .def_property_readonly("paths", &ModuleCalls::paths, "The modules with their paths.")
      .def_property_readonly("path", &ModuleCalls::path, "The path of the module that the program is in.")
      .def_property_readonly("scope", &ModuleCalls::scope, "The number of its scope.")
      .def_property_readonly("failed_in", &ModuleCalls::failed_in, "The path of the innermost module that raised.")
      .def("announce", &ModuleCalls::announce, py::arg("unusual"),
           "Tell the tape of the parameters and buffers; buffers of whole numbers or of one.")
      .def("called", &ModuleCalls::called, "Every module: its class, its calls, and elements of its own parameters.");
  m.def("exchange_calls", &exchange_calls, py::arg("calls").none(true), py::return_value_policy::reference,
        "Tell these, or nobody, of the modules that this thread calls; who was told until now.");
  m.def("watched_call", &watched_call, py::arg("original"), "A method that tells of the call, and calls the original.");
  m.attr("torch_dispatch") = dispatch_method();
  py::class_<Dispatcher>(m, "Dispatcher", "The short way of operators to a tape.")
      .def(py::init<Tape&, const ModuleCalls&, py::dict, py::dict, py::object>(), py::arg("tape"), py::arg("calls"),
           py::arg("known"), py::arg("copies"), py::arg("cpu"), py::keep_alive<1, 2>(), py::keep_alive<1, 3>())
      .def("add", &Dispatcher::add, py::arg("operation"), py::arg("plan"), py::arg("way"), py::arg("method"),
           py::arg("copying"), py::arg("most"), "Say how calls of an operator are taken.")
      .def_readwrite("follower", &Dispatcher::follower, "Whose look() is called before each call; or None.")
      .def("note_view", &Dispatcher::note_view, py::arg("from_"), py::arg("results"), py::arg("copies"),
           py::arg("times"), py::arg("bound"), py::arg("because"),
           "Note what the last view gave, which was not taken, for others of tensors like this one.")
      .def_readwrite("expanding", &Dispatcher::expanding, "Calls are what an operator without a row is made of.")
      .def(
          "dispatch", &Dispatcher::dispatch, py::arg("operation"), py::arg("args"), py::arg("kwargs"),
          "Record a call and return its results; None: it is not taken; NotImplemented: nor is it, and the contents of "
          "all tensors are known.");
  py::class_<ModuleStates>(m, "ModuleStates", "What modules hold, noted before a count and put back after it.")
      .def(py::init<const py::dict&>(), py::arg("common"))
      .def("enter", &ModuleStates::enter, py::arg("modules"), py::arg("evaluate"), "Note what modules hold.")
      .def("leave", &ModuleStates::leave, py::arg("modules"),
           "Put back what they held, where no other count runs them.");
  m.def("module_paths", &module_paths, py::arg("root"),
        "The first path of every module, in the order of the tree, and the classes of modules and of parameters.");
  m.def("is_graph", &is_graph, py::arg("nodes"), py::arg("node"), py::arg("sort"),
        "Whether nodes are calls of operators that say what their results are.");
  m.def("placeholders", &placeholders, py::arg("nodes"), py::arg("node"),
        "The inputs among nodes, which torch.fx calls placeholders, and the first node that is none, or None.");
  bind_graph_walk(m);
  bind_traced_walk(m);
}

}  // namespace macsim::bind
