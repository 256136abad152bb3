# Counts graphs that torch already made: exported programs, and fx graphs whose nodes know their results.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Counts `torch.export.ExportedProgram` and `torch.fx.GraphModule` from their nodes; nothing is run."""

from __future__ import annotations

import operator as python_operators
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import fx
from torch._ops import HigherOrderOperator, OpOverload

from macsim import _core
from macsim.custom import Registry
from macsim.errors import TraceError
from macsim.sources.torch_graph_values import (
    STORED,
    Value,
    elements_of,
    facts,
    name_of,
    named_results,
    path_of,
    plain,
    user_inputs,
    values,
)
from macsim.sources.torch_ops import Operator, operator_of, plain_plan, tape_of
from macsim.sources.torch_sizes import Sizes

__all__ = ["is_graph", "walk"]


def is_graph(model: Any) -> bool:
    """Whether it is a graph of ATen calls whose nodes know the shapes of their results."""
    if isinstance(model, torch.export.ExportedProgram):
        return True
    if not isinstance(model, fx.GraphModule):
        return False
    return _core.is_graph(list(model.graph.nodes), fx.Node, _sort)


def _is_guard(node: fx.Node) -> bool:
    """Whether it only checks the inputs of a program that was exported."""
    return bool(node.op == "call_module" and node.target == "_guards_fn")


def _sort(target: Any) -> bool | None:
    """Whether it is an ATen call, or something like `torch.nn.functional.relu`, of which these are yet to be made."""
    if isinstance(target, OpOverload):
        return True
    if isinstance(target, HigherOrderOperator):
        return None
    module = str(getattr(target, "__module__", None) or "").partition(".")[0]
    return False if module == "torch" and not str(getattr(target, "__name__", "")).startswith("sym_") else None


def walk(
    model: Any,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    shapes: Mapping[str, Any] | Sequence[Any] | None,
    registry: Registry,
) -> tuple[_core.Ledger, _core.CalledModules, list[str]]:
    """Count a graph from its nodes. Given inputs and shapes take the place of the sizes that it leaves open.

    Returns what it calls, its modules by path, and its results' names.
    """
    exported = isinstance(model, torch.export.ExportedProgram)
    module = model.graph_module if exported else model
    nodes, first = _core.placeholders(list(model.graph.nodes), fx.Node)
    walker = Walker(model, registry, name_of(model, first))
    if exported:
        specs = model.graph_signature.input_specs
        with _plainly():
            nodes, kinds = walker.plain.stored(nodes, specs, list(STORED), model.state_dict)
        names = user_inputs(model, nodes, kinds)
    else:
        for path, elements in elements_of(module).items():
            walker.plain.own(path, elements)
        names = {node: str(node.target) for node in nodes}
    stated = {name: node.meta.get("val") for node, name in names.items()}
    walker.sizes.call([node.meta.get("val") for node in nodes])
    walker.sizes.fit(stated, inputs, kwargs, shapes)
    for node in nodes:
        walker.input(node, node.meta.get("val"), names.get(node, str(node.target)))
    results = walker.graph(module, None)
    for fact in walker.sizes.facts():
        walker.tape.assume_not_negative(fact)
    for name in sorted(walker.sizes.names):
        walker.tape.symbol(name, "a size of the graph that depends on data")
    made = named_results(model, results)
    outputs = [place for place, one in made if walker.tape.knows(one)]
    ledger = walker.tape.finish([one for _, one in made])
    return ledger, walker.plain.called(ledger), outputs


# Tensors say what they are without a look at who overrides functions of torch: attributes are no functions to override.
_plainly = torch._C.DisableTorchFunctionSubclass


# The walk. ------------------------------------------------------------------------------------------------------------


class Made(dict[fx.Node, Any]):
    """What nodes gave. Of those that went straight to the tape it is made up when it is asked for."""

    def __init__(self, walker: Walker) -> None:
        super().__init__()
        self.walker = walker

    def __missing__(self, node: fx.Node) -> Any:
        return super().setdefault(node, self.walker.value_at(node))

    def __setitem__(self, node: fx.Node, value: Any) -> None:
        super().__setitem__(node, value)
        if isinstance(value, Value):
            self.walker.tape.same(node, value)


class Walker:
    """Records the calls of a graph on a tape, and those of the graphs inside it."""

    def __init__(self, model: Any, registry: Registry, name: str, like: Walker | None = None) -> None:
        exported = isinstance(model, torch.export.ExportedProgram)
        self.model = model
        self.registry = registry
        self.name = name
        self.sizes: Sizes = like.sizes if like else Sizes(model.range_constraints if exported else {})
        self.tape = tape_of(registry, name, facts(self.sizes))
        self._seen: dict[Any, str | None] = {}  # paths of modules that graphs run for, by these and the calls' names
        self._operators: dict[Any, Operator] = {}
        self.plain = _core.GraphWalk(
            self.tape,
            {
                "reading": partial(plain_plan, self.tape),  # the core holds it: not the walker
                "path_of": path_of,
                "tensor": torch.Tensor,
                "parameter": torch.nn.Parameter,
                "node": fx.Node,
                "getitem": python_operators.getitem,
                "args": "_args" if hasattr(fx.Node, "_args") else "args",  # the others are Python's properties
                "kwargs": "_kwargs" if hasattr(fx.Node, "_kwargs") else "kwargs",
            },
        )
        self._homes: dict[Any, str] = {}  # the modules that repeated graphs were made from, by the graphs' names
        self._moved = ("", "")  # such a module, and the one that its graph runs for
        self.plans: dict[str, _core.Plan] = {}
        self._times: Any = 1
        self._floor = ("exact", "")
        self._widths: list[Any] = []  # of the maps that were met, by their numbers
        self._maps: list[int] = []  # those that are open
        self._differentiated = True

    def another(self) -> Walker:
        """Return a walker with a tape of its own, over the same sizes."""
        return Walker(self.model, self.registry, self.name, like=self)

    # Values. ----------------------------------------------------------------------------------------------------------

    def value_of(self, val: Any) -> Any:
        """Return what stands for what a node says of its result: tensors by their types, sizes by expressions."""
        if isinstance(val, torch.Tensor):
            return Value(val.dtype, tuple(self.sizes.size(size) for size in val.shape))
        if isinstance(val, torch.SymInt):
            return self.sizes.size(val)
        if isinstance(val, torch.SymFloat | torch.SymBool):
            return None
        if isinstance(val, list | tuple):
            return [self.value_of(one) for one in val]
        if isinstance(val, dict):
            return {key: self.value_of(one) for key, one in val.items()}
        return val

    # Graphs. ----------------------------------------------------------------------------------------------------------

    def input(self, node: fx.Node, val: Any, name: str) -> None:
        """Announce an input of the whole graph."""
        for one in [val] if isinstance(val, torch.Tensor) else []:
            self.tape.input_node(node, one, name)

    def graph(self, module: fx.GraphModule, arguments: Sequence[Any] | None, scope: str = "") -> Any:
        """Record the calls of a graph on these arguments, and return its results; None: its inputs are announced."""
        made = Made(self)
        given = iter(arguments or ())
        nodes = list(module.graph.nodes)
        at = 0
        while at < len(nodes):
            if not self._widths and not self._moved[0]:  # plain calls, which are most
                with _plainly():
                    at = self.plain.walk(module, nodes, at, scope, arguments is None)
                if at == len(nodes):
                    break
            node = nodes[at]
            at += 1
            if node.op == "placeholder":
                if arguments is not None:
                    made[node] = next(given)
            elif node.op == "get_attr":
                if not self.plain.attribute(module, node):
                    made[node] = attribute_of(module, str(node.target))
            elif node.op == "output":
                return self._filled(node.args[0], made)
            elif node.op == "call_function":
                made[node] = self._call(node, made, scope)
            elif not _is_guard(node):
                raise TraceError(f"{node.op} {node.target}: the graph calls something that is no operator", scope)
        return ()

    def value_at(self, node: fx.Node) -> Any:
        """Return what stands for the result of a node that went straight to the tape."""
        held = self.plain.tensor(node)
        value = self.value_of(node.meta.get("val") if held is None else held)
        if isinstance(value, Value):
            self.tape.same(value, node)
        elif isinstance(value, list):
            for number, one in enumerate(value):
                if isinstance(one, Value):
                    self.plain.part(one, node, number)
        return value

    def _filled(self, nest: Any, made: dict[fx.Node, Any]) -> Any:
        return fx.node.map_arg(nest, lambda node: made[node])

    def _call(self, node: fx.Node, made: dict[fx.Node, Any], outer: str) -> Any:
        target: Any = node.target
        scope = self._scope(node, outer)
        if isinstance(target, HigherOrderOperator):
            return self._higher(node, target, self._filled(node.args, made), self._filled(node.kwargs, made), scope)
        if target is python_operators.getitem:
            held, at = self._filled(node.args, made)
            return held[at] if isinstance(held, list | tuple | dict) else self.value_of(node.meta.get("val"))
        args, kwargs = plain(self._filled(node.args, made)), plain(self._filled(node.kwargs, made))
        result = self.value_of(node.meta.get("val"))
        if not isinstance(target, OpOverload):
            return self._function(node, target, args, kwargs, result, scope)
        if not values(result) and not target._schema.is_mutable and target.namespace in _QUIET:
            return result  # arithmetic of sizes, assertions
        scope = self._owner(node, scope, args, kwargs)
        operator = self.operator(target)
        if operator.writes is not None and not operator.reshapes:
            changed = kwargs[operator.writes] if isinstance(operator.writes, str) else args[operator.writes]
            self.record(operator.plan, args, kwargs, self.number(scope), changed)
            return changed
        if not operator.known and not operator.native:
            from macsim.sources.torch_expansion import Expansion

            results = Expansion(self, scope).run(node, made)
            if results is not NotImplemented:
                return results
        self.record(operator.plan, args, kwargs, self.number(scope), result)
        return result

    def record(self, plan: Any, args: Any, kwargs: Any, scope: int, results: Any) -> None:
        """Record a call: once, or inside a `vmap` as often as there are different inputs."""
        if not self._widths:
            self.tape.record(plan, args, kwargs, scope, results)
            return
        given = list(values((args, kwargs)))
        lanes = self._lanes(given)
        of_weights = frozenset[int]().union(*(one.weight_lanes for one in given))
        for one in values(results):
            one.lanes = lanes
            one.weight_lanes = of_weights if len(given) == 1 else frozenset()
        times = self._times * self._width(lanes)  # weights are read once for all lanes that share them
        self.tape.within(times, *self._floor, self._times * self._width(of_weights))
        self.tape.record(plan, args, kwargs, scope, results)
        self.tape.within(self._times, *self._floor)

    # Functions that torch.func leaves in graphs.
    def _function(self, node: fx.Node, target: Any, args: Any, kwargs: Any, result: Any, scope: str) -> Any:
        name = getattr(target, "__name__", str(target))
        if getattr(target, "__module__", None) == "torch._functorch.predispatch":
            if name == "_vmap_increment_nesting":
                self._maps.append(len(self._widths))
                self._widths.append(args[0])
            elif name == "_vmap_decrement_nesting":
                self._maps.pop()
            elif name == "_add_batch_dim":
                plan = self.operator(torch.ops.aten.select.int).plan
                self.record(plan, (args[0], args[1], 0), {}, self.number(scope), result)
                result.lanes = args[0].lanes | {self._maps[-1]}
                if self.tape.owner(args[0]) is not None:
                    result.weight_lanes = args[0].weight_lanes | {self._maps[-1]}
            elif name == "_remove_batch_dim":
                lanes = args[0].lanes - {self._maps[-1]}
                result = self.seen_as(args[0], result, scope)
                result.lanes = lanes
            elif name == "_unwrap_for_grad":
                return args[0]
            elif values(result):
                self._unknown(f"{target.__module__}.{name}", node, args, kwargs, scope)
            return result
        if values(result):
            return self._unknown(name, node, args, kwargs, scope, "python")
        if name == "_set_grad_enabled":
            self.differentiate(bool(args[0]))
        return result  # arithmetic of sizes

    def _lanes(self, nest: Any) -> frozenset[int]:
        return frozenset().union(*(one.lanes for one in values(nest)))

    def _width(self, lanes: frozenset[int]) -> Any:
        width: Any = 1
        for lane in lanes:
            width = width * self._widths[lane]
        return width

    def operator(self, target: OpOverload) -> Operator:
        """Return how calls of an operator are read."""
        found = self._operators.get(target)
        if found is None:
            found = self._operators[target] = operator_of(target, self.tape)
        return found

    # Scopes. ----------------------------------------------------------------------------------------------------------

    def number(self, scope: str) -> int:
        """Return the number of a scope on the tape."""
        return self.tape.scope(scope)

    def _owner(self, node: fx.Node, scope: str, args: Any, kwargs: Any) -> str:
        """Return the module that a call belongs to: where torch forgot it, the one whose own tensors it reads."""
        if node.meta.get("nn_module_stack"):
            return scope
        found = {self.tape.owner(one) for one in values((args, kwargs))} - {None}
        if len(found) != 1:
            return scope
        path = str(found.pop())
        return path if not scope or path.startswith(scope + ".") else scope

    def _scope(self, node: fx.Node, outer: str) -> str:
        path = outer
        home, here = self._moved
        for key, said in (node.meta.get("nn_module_stack") or {}).items():
            seen = self._enter(key, said, home, here) if here else self.plain.enter(key, said)
            if seen is not None:
                path = seen
        return path

    def _enter(self, key: str, said: tuple[str, Any], home: str, here: str) -> str | None:
        """Note a call of a module, and return its path; None: that is no module.

        It is in a graph that was made from the module ``home`` and runs for the module ``here``: a part of that one.
        """
        if (here, key) in self._seen:
            return self._seen[here, key]
        path = None
        if not key.startswith("_empty_nn_module_stack"):
            path = path_of(said[0])
            within = path == home or path.startswith(home + ".")
            path = here + path[len(home) :] if within else None
        if path is not None:
            self.plain.call(path, said[1], path != here)  # its own call is noted where the graph is called
        self._seen[here, key] = path
        return path

    # Operators that run graphs. ---------------------------------------------------------------------------------------

    def _higher(self, node: fx.Node, target: Any, args: Any, kwargs: Any, scope: str) -> Any:
        from macsim.sources.torch_higher import HigherOrder  # most graphs hold none

        name = target.name() if callable(getattr(target, "name", None)) else str(target)
        do: Callable[..., Any] | None = getattr(HigherOrder(self), f"run_{name.rpartition('::')[2]}", None)
        if do is not None:
            return self._as_stated(do(scope, node, *args, **kwargs), node, scope)
        if name.endswith("wrap_with_set_grad_enabled"):
            return self._with_gradients(bool(args[0]), node, args[1], args[2:], scope)
        if name in _WRAPS:
            at = next((i for i, one in enumerate(args) if isinstance(one, fx.GraphModule)), None)
            if at is not None:
                inner = args[at]
                places = sum(1 for one in inner.graph.nodes if one.op == "placeholder")
                with self._for_module(args[1] if name.endswith("invoke_subgraph") else None, scope):
                    given = args[-1] if args and isinstance(args[-1], list | tuple) else args[len(args) - places :]
                    return self._as_stated(self.graph(inner, given, scope), node, scope)
        return self._unknown(name, node, args, kwargs, scope)

    def _with_gradients(self, on: bool, node: fx.Node, inner: fx.GraphModule, given: Any, scope: str) -> Any:
        """Count a graph in which gradients are on or off."""
        before = self._differentiated
        self.differentiate(on)
        try:
            return self._as_stated(self.graph(inner, given, scope), node, scope)
        finally:
            self.differentiate(before)

    def differentiate(self, on: bool) -> None:
        """Say whether calls from now on take part in differentiation."""
        if on != self._differentiated:
            self._differentiated = on
            self.tape.detach(not on)

    @contextmanager
    def _for_module(self, graph: Any, scope: str) -> Iterator[None]:
        """Let calls of a graph that is run for several modules be in the one that it runs for."""
        before = self._moved
        home = self._homes.setdefault(graph, scope) if graph is not None else scope
        if home and home != scope:
            self._moved = (home, scope)
        try:
            yield
        finally:
            self._moved = before

    def _unknown(
        self, name: str, node: fx.Node, args: Any, kwargs: Any, scope: str, dialect: str = "higher_order"
    ) -> Any:
        plan = self.plans.get(name)
        if plan is None:
            plan = self.plans[name] = self.tape.plan(dialect, name, _INPUTS, 0)
        result = self.value_of(node.meta.get("val"))
        self.record(plan, (values((args, kwargs)),), {}, self.number(scope), result)
        return result

    def _as_stated(self, results: Any, node: fx.Node, scope: str) -> Any:
        """Give results the types that the node states, where they are others: those of all iterations, of a branch."""
        stated = self.value_of(node.meta.get("val"))
        if isinstance(results, dict):
            return results
        flat = list(results) if isinstance(results, list | tuple) else [results]
        wanted = list(stated) if isinstance(stated, list) else [stated]
        for i, (has, wants) in enumerate(zip(flat, wanted, strict=False)):
            if isinstance(has, Value) and isinstance(wants, Value) and has.shape != wants.shape:
                flat[i] = self.seen_as(has, wants, scope)
        return flat if isinstance(stated, list) else flat[0] if flat else None

    def seen_as(self, value: Value, wanted: Value, scope: str) -> Value:
        """Record a view of a value, of a type that is stated."""
        plan = self.operator(torch.ops.aten.view.default).plan
        self.record(plan, (value, list(wanted.shape)), {}, self.number(scope), wanted)
        return wanted

    @contextmanager
    def within(self, times: Any, trust: str = "exact", because: str = "") -> Iterator[None]:
        """Let calls be made so many times, and be trusted no more than this."""
        before = (self._times, self._floor)
        self._times = self._times * times
        if _TRUSTS.index(trust) > _TRUSTS.index(self._floor[0]):
            self._floor = (trust, because)
        self.tape.within(self._times, *self._floor)
        try:
            yield
        finally:
            self._times, self._floor = before
            self.tape.within(self._times, *self._floor)


def attribute_of(module: Any, path: str) -> Any:
    """Return what a dotted path leads to."""
    for part in path.split("."):
        module = getattr(module, part)
    return module


_INPUTS = _core.Signature([("inputs", "tensors", None)])
_QUIET = frozenset({"aten", "prim", "prims", "profiler"})  # operators without tensors among their results do no work
_TRUSTS = ("exact", "bound", "estimate")
_WRAPS = frozenset({
    "wrap", "wrap_with_autocast", "wrap_activation_checkpoint", "strict_mode",
    "tag_activation_checkpoint", "invoke_subgraph", "dynamo_bypassing_wrapper",
})  # fmt: skip
