# Higher-order operators of graphs: branches, loops, and calls that hold graphs of their own.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Counts the graphs inside `cond`, `scan`, `flex_attention` and their kin, as often as they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch.utils._pytree import tree_map

from macsim import _core
from macsim.groups import rough
from macsim.sources.torch_graph_values import Value, plain, values

if TYPE_CHECKING:
    from macsim.sources.torch_graphs import Walker

__all__ = ["HigherOrder"]

LARGER_BRANCH, UNKNOWN_TRIPS = 401, 402  # codes of diagnostics


class HigherOrder:
    """What each higher-order operator does with its graphs: ``run_<its name>(scope, node, *its arguments)``."""

    def __init__(self, walker: Walker) -> None:
        self.walker = walker

    def run_cond(self, scope: str, node: fx.Node, condition: Any, then: Any, other: Any, operands: Any = ()) -> Any:
        """Count the branch that is taken, or the larger one where nobody knows which that is."""
        if isinstance(condition, bool):
            return self.walker.graph(then if condition else other, operands, scope)
        then_macs, then_flops, then_sure = self._tried(then, operands)
        other_macs, other_flops, other_sure = self._tried(other, operands)
        first, sure = _first_is_larger(then_macs, other_macs)
        if then_macs == other_macs:
            first, sure = _first_is_larger(then_flops, other_flops)
        sure = sure and then_sure and other_sure
        which, larger, smaller = ("true", then_macs, other_macs) if first else ("false", other_macs, then_macs)
        self.walker.tape.remark(
            LARGER_BRANCH,
            f"{node.name}: the condition is not known; the {which} branch is counted ({larger} MACs against {smaller})",
        )
        because = "the larger branch of a cond whose condition is not known"
        with self.walker.within(1, "bound" if sure else "estimate", because):
            return self.walker.graph(then if first else other, operands, scope)

    def _tried(self, branch: fx.GraphModule, operands: Any) -> tuple[Any, Any, bool]:
        """Count a branch on a tape of its own; whether all of it is known."""
        trial = self.walker.another()
        twins: dict[int, Value] = {}

        def announced(one: Any) -> Any:
            if not isinstance(one, Value):
                return one
            twin = twins.get(id(one))
            if twin is None:
                twin = twins[id(one)] = Value(one.dtype, one.shape)
                trial.tape.input(twin, "")
            return twin

        results = trial.graph(branch, tree_map(announced, list(operands)))
        total = trial.tape.finish(values(results)).total()
        return total.macs, total.flops, total.trust in ("exact", "bound")

    def run_flex_attention(
        self, scope: str, node: fx.Node, query: Any, key: Any, value: Any, score_mod: Any, block_mask: Any,
        scale: Any = None, options: Any = None, score_rest: Any = (), mask_rest: Any = (),
    ) -> Any:  # fmt: skip
        """Count all pairs of a query and a key, and for each what changes its score and what may mask it."""
        stated = self.walker.value_of(node.meta.get("val"))
        plan = self.walker.operator(torch.ops.aten.scaled_dot_product_attention.default).plan
        with self._pairs(scope, query, key, block_mask[-1], mask_rest) as (places, pairs):
            self.walker.record(plan, (query, key, value), {"enable_gqa": True}, self.walker.number(scope), stated[0])
            with self.walker.within(pairs):
                self.walker.graph(score_mod, [Value(query.dtype, ()), *places, *score_rest], scope)
        return stated

    def run_flex_attention_backward(
        self, scope: str, node: fx.Node, query: Any, key: Any, value: Any, out: Any, logs: Any, gradient: Any, _: Any,
        score_mod: Any, joint: Any, block_mask: Any, scale: Any = None, options: Any = None, score_rest: Any = (),
        mask_rest: Any = (),
    ) -> Any:  # fmt: skip
        """Count the gradients of queries, keys and values; for each pair its score again, and that score's gradient."""
        stated = self.walker.value_of(node.meta.get("val"))
        plan = self.walker.operator(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default).plan
        with self._pairs(scope, query, key, block_mask[-1], mask_rest) as (places, pairs):
            given = (gradient, query, key, value, out, logs, 0.0, False)
            self.walker.record(plan, given, {}, self.walker.number(scope), stated[:3])
            with self.walker.within(pairs):
                score = Value(query.dtype, ())
                self.walker.graph(score_mod, [score, *places, *score_rest], scope)
                self.walker.graph(joint, [score, *places, Value(query.dtype, ()), *score_rest], scope)
        return stated

    @contextmanager
    def _pairs(self, scope: str, query: Any, key: Any, mask_mod: Any, mask_rest: Any) -> Iterator[Any]:
        """Count what may mask each pair of a query and a key; give where a pair is, and how many there are."""
        batch, heads, queries, _ = query.shape
        pairs = batch * heads * queries * key.shape[2]
        whole = all(  # the mask that torch makes up where none is given: true for every pair
            one.target is torch.ops.aten.new_ones.default for one in mask_mod.graph.nodes if one.op == "call_function"
        )
        places = [Value(torch.int32, ()) for _ in range(4)]
        trust, because = ("exact", "") if whole else ("bound", "all pairs are counted; those in masked blocks are data")
        with self.walker.within(1, trust, because):
            yield places, pairs
            if not whole:
                with self.walker.within(pairs):
                    self.walker.graph(mask_mod, [*places, *mask_rest], scope)

    def run_while_loop(
        self, scope: str, node: fx.Node, condition: Any, body: Any, carried: Any, additional: Any = ()
    ) -> Any:
        """Count a loop whose trips depend on data: a symbol stands for them."""
        trips = self._trips(node, scope)
        arguments = [*carried, *additional]
        with self.walker.within(trips + 1):
            self.walker.graph(condition, arguments, scope)
        with self.walker.within(trips):
            return self.walker.graph(body, arguments, scope)

    def _trips(self, node: fx.Node, scope: str) -> Any:
        name = f"{scope}.{node.name}.trips" if scope else f"{node.name}.trips"
        self.walker.tape.remark(
            UNKNOWN_TRIPS, f"{node.name}: how often the loop runs is not known; the symbol {name} stands for it"
        )
        self.walker.tape.symbol(name, "how often the loop runs")
        return _core.Expr(f"`{name}`")

    def run_scan(self, scope: str, node: fx.Node, body: Any, init: Any, xs: Any, *rest: Any) -> Any:
        """Count a body for every element, with what it carries on. The first scans of torch's say along which axis."""
        dim = rest[0] if rest and isinstance(rest[0], int) else 0
        additional = rest[-1] if rest and isinstance(rest[-1], list | tuple) else ()
        return self._each(scope, node, body, list(init), list(xs), list(additional), dim)

    def run_map_impl(self, scope: str, node: fx.Node, body: Any, xs: Any, additional: Any = ()) -> Any:
        """Count a body for every element."""
        return self._each(scope, node, body, [], list(xs), list(additional))

    def _each(
        self, scope: str, node: fx.Node, body: Any, carried: list[Any], xs: list[Any], rest: list[Any], dim: int = 0
    ) -> Any:
        trips = next((x.shape[dim] for x in xs if isinstance(x, Value) and x.shape), None)
        if trips is None:
            trips = self._trips(node, scope)
        select = self.walker.operator(torch.ops.aten.select.int).plan
        with self.walker.within(trips):
            parts = []
            for x in xs:
                part = Value(x.dtype, _without(x.shape, dim))
                self.walker.record(select, (x, dim, 0), {}, self.walker.number(scope), part)
                parts.append(part)
            return self.walker.graph(body, [*carried, *parts, *rest], scope)

    def run_associative_scan(self, scope: str, node: fx.Node, combine: Any, xs: Any, additional: Any = ()) -> Any:
        """Count a combination for every element after the first; what runs in parallel combines more often."""
        dim = additional if isinstance(additional, int) else 0  # torch's first one said along which axis
        additional = () if isinstance(additional, int) else additional
        parts = [Value(x.dtype, _without(x.shape, dim), x.lanes) for x in xs]
        select = self.walker.operator(torch.ops.aten.select.int).plan
        because = "every element but the first is combined once; in parallel there are up to twice as many combinations"
        with self.walker.within(_core.max(_core.Expr(xs[0].shape[dim]) - 1, 0), "estimate", because):
            for x, part in zip(xs, parts, strict=True):
                self.walker.record(select, (x, dim, 0), {}, self.walker.number(scope), part)
            return self.walker.graph(combine, [*parts, *parts, *additional], scope)

    def run_hints_wrapper(
        self, scope: str, node: fx.Node, body: Any, operands: Any, kwargs: Any = None, hints: Any = None
    ) -> Any:
        """Count a graph that hints for compilers are given with."""
        return self.walker.graph(body, list(operands), scope)

    def run_run_const_graph(self, scope: str, node: fx.Node, body: Any, operands: Any = ()) -> Any:
        """Count a graph over constants."""
        return self.walker.graph(body, list(operands), scope)

    def run_auto_functionalized(self, scope: str, node: fx.Node, target: Any, **kwargs: Any) -> Any:
        """Count an operator that writes, made to write into copies: the work is its own."""
        changed = [kwargs[name] for name in _written(target)]
        return self._functionalized(scope, node, target, kwargs, changed)

    def run_auto_functionalized_v2(self, scope: str, node: fx.Node, target: Any, **kwargs: Any) -> Any:
        """Count the same, where what is written to is said as views of whole tensors."""
        bases = kwargs.pop("_all_bases")
        for name in _written(target):
            length = kwargs.pop(f"_{name}_length", None)
            if length is None:
                kwargs[name] = self._view_of(bases, name, kwargs, scope)
            else:
                kwargs[name] = [self._view_of(bases, f"{name}_{i}", kwargs, scope) for i in range(length)]
        plain = {name: one for name, one in kwargs.items() if not name.startswith("_")}
        return self._functionalized(scope, node, target, plain, list(bases))

    def _view_of(self, bases: Any, name: str, views: dict[str, Any], scope: str) -> Any:
        index, size = views.get(f"_{name}_base_index"), views.get(f"_{name}_size")
        if index is None:
            return None
        base = bases[index]
        return base if size is None else self.walker.seen_as(base, Value(base.dtype, tuple(size)), scope)

    def _functionalized(self, scope: str, node: fx.Node, target: Any, kwargs: Any, changed: list[Any]) -> Any:
        stated = self.walker.value_of(node.meta.get("val"))
        flat = list(stated) if isinstance(stated, list | tuple) else [stated]
        made = len(flat) - len(changed)
        self.walker.record(self.walker.operator(target).plan, (), plain(kwargs), self.walker.number(scope), flat[:made])
        return [*flat[:made], *changed]

    def run_triton_kernel_wrapper_functional(self, scope: str, node: fx.Node, **said: Any) -> Any:
        """Count a kernel written in Triton, a row of the user's: `triton::name`."""
        self._triton(scope, node, said)
        return self.walker.value_of(node.meta.get("val"))

    def run_triton_kernel_wrapper_mutation(self, scope: str, node: fx.Node, **said: Any) -> Any:
        """Count the same, writing to its arguments."""
        self._triton(scope, node, said)
        return None

    def _triton(self, scope: str, node: fx.Node, said: dict[str, Any]) -> None:
        from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

        kernel: Any = kernel_side_table.get_kernel(said["kernel_idx"])
        while hasattr(kernel, "fn"):  # what tunes it, what compiles it, the function itself
            kernel = kernel.fn
        name = kernel.__name__
        constants = kernel_side_table.get_constant_args(said["constant_args_idx"])
        given = {**constants, **plain(dict(said["kwargs"]))}
        key = f"triton::{name}({','.join(given)})"
        if key not in self.walker.plans:
            parameters = [(one, "tensor" if isinstance(given[one], Value) else "value", None) for one in given]
            self.walker.plans[key] = self.walker.tape.plan("triton", name, _core.Signature(parameters), 0)
        results = self.walker.value_of(node.meta.get("val"))
        self.walker.record(self.walker.plans[key], (), given, self.walker.number(scope), results)


def _without(shape: tuple[Any, ...], dim: int) -> tuple[Any, ...]:
    return tuple(size for axis, size in enumerate(shape) if axis != dim % len(shape))


def _written(target: OpOverload) -> list[str]:
    """Return the names of the arguments that an operator writes to."""
    return [one.name for one in target._schema.arguments if one.alias_info is not None and one.alias_info.is_write]


def _first_is_larger(a: Any, b: Any) -> tuple[bool, bool]:
    """Whether the first of two amounts is the larger one, and whether that holds for all sizes."""
    if isinstance(a, int) and isinstance(b, int):
        return a >= b, True
    larger = _core.max(a, b)
    if larger in (a, b):
        return larger == a, True
    first, second = rough([a, b])
    return first >= second, False
