# Operators of graphs that have no row: what torch says they are made of.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Expands operators of graphs into those that have rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from macsim.errors import TraceError
from macsim.sources.torch_graph_values import Value
from macsim.sources.torch_recipes import made_of

if TYPE_CHECKING:
    from macsim.sources.torch_graphs import Walker

__all__ = ["Expansion"]


class Expansion(TorchDispatchMode):
    """Records what an operator without a row is made of, on the graph's own stand-ins for tensors."""

    def __init__(self, walker: Walker, scope: str) -> None:
        super().__init__()
        self.walker = walker
        self.scope = walker.number(scope)
        self.values: dict[int, Value] = {}
        self.alive: list[torch.Tensor] = []
        self.inside: list[Any] = []

    def run(self, node: fx.Node, made: dict[fx.Node, Any]) -> Any:
        """Return the results of a node; NotImplemented when it is made of nothing that is known."""

        def example(one: fx.Node) -> Any:
            val = one.meta.get("val")
            if isinstance(val, torch.Tensor) and isinstance(made[one], Value):
                self._name(val, made[one])
            return val

        args, kwargs = fx.node.map_arg((node.args, node.kwargs), example)
        fakes = [one for one in tree_leaves((args, kwargs, node.meta.get("val"))) if hasattr(one, "fake_mode")]
        target: Any = node.target
        if not fakes:
            return NotImplemented
        before = self.walker.tape.calls
        try:
            with torch.inference_mode(), fakes[0].fake_mode, self:
                out = self._parts(target, args, kwargs)
        except Exception as error:
            if self.walker.tape.calls != before:
                raise TraceError(f"{target}: what it is made of cannot be followed ({error})") from error
            return NotImplemented
        if out is NotImplemented:
            return NotImplemented
        return self._seen(out)

    def _name(self, tensor: torch.Tensor, value: Value) -> None:
        self.values[id(tensor)] = value
        self.alive.append(tensor)

    def _seen(self, nest: Any) -> Any:
        if isinstance(nest, torch.Tensor):
            value = self.values.get(id(nest))
            if value is None:
                value = self.walker.value_of(nest)
                self._name(nest, value)
            return value
        if isinstance(nest, torch.SymInt):
            return self.walker.sizes.size(nest)
        if isinstance(nest, list | tuple):
            return (
                type(nest)(self._seen(one) for one in nest)
                if type(nest) in (list, tuple)
                else list(map(self._seen, nest))
            )
        return nest

    def _parts(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func in self.inside:
            return NotImplemented
        self.inside.append(func)
        try:
            return made_of(func, args, kwargs)
        finally:
            self.inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload) or func.namespace == "prim":  # where a tensor lies
            return func(*args, **kwargs)
        operator = self.walker.operator(func)
        if not operator.known and not operator.native:
            with self:
                out = self._parts(func, args, kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if not any(isinstance(one, torch.Tensor) for one in tree_leaves(out)):
            return out
        plain = (tuple(map(self._seen, args)), {key: self._seen(one) for key, one in kwargs.items()})
        results = self._seen(out)
        self.walker.record(operator.plan, *plain, self.scope, results)
        return out
