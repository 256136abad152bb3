# Formulas of FLOPs that users registered with torch, for operators that have no row here.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Operators that only a formula registered with `torch.utils.flop_counter` knows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

from macsim import _core
from macsim.custom import Registry

__all__ = ["tape_of"]

FROM = "half of the FLOPs of a formula registered with torch.utils.flop_counter"


def tape_of(registry: Registry, name: str, facts: dict[str, Any]) -> _core.Tape:
    """Return a tape that knows the rules, and the formulas of operators that have none."""
    formulas = _registered(registry)
    return _FormulaTape(registry, name, facts, formulas) if formulas else _core.Tape(registry.table, name, facts)


def _registered(registry: Registry) -> dict[str, Callable[..., Any]]:
    counter = sys.modules.get("torch.utils.flop_counter")
    found = {}
    for operator, formula in dict(getattr(counter, "flop_registry", {})).items():
        if id(operator) in _ATEN:
            continue
        name = getattr(operator, "_qualified_op_name", None)
        if isinstance(name, str) and name.startswith("aten::"):
            _ATEN[id(operator)] = operator
        elif isinstance(name, str) and registry.find(name) is None:
            found[name] = formula
    return found


_ATEN: dict[int, Any] = {}  # torch's own operators that have formulas, by identity: to hash one is work


class _FormulaTape(_core.Tape):
    """A tape whose rules for some operators ask a formula about the call that is being recorded."""

    def __init__(
        self, registry: Registry, name: str, facts: dict[str, Any], formulas: dict[str, Callable[..., Any]]
    ) -> None:
        extended = registry.copy()
        self._latest = latest = _Latest(facts)
        for operator, formula in formulas.items():
            extended.op(operator, slots="xs...")(latest.rule(formula))
        super().__init__(extended.table, name, facts)

    def record(self, plan: Any, args: Any, kwargs: Any, scope: int, results: Any) -> None:
        self._latest.call = (args, kwargs, results)
        super().record(plan, args, kwargs, scope, results)


class _Latest:
    """The latest call of a tape, which holds the rules that ask it: so it does not know the tape."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._tensor, self._expr_of = (facts["tensor"], torch.Tensor), facts["expr_of"]
        self.call: tuple[Any, Any, Any] = ((), {}, None)

    def rule(self, formula: Callable[..., Any]) -> type:
        """Return the row of an operator whose work a formula tells."""

        def cost(call: _core.Call) -> _core.Cost:
            return _core.Cost(mac=self._flops(formula) // 2, trust="estimate", because=FROM)

        return type("Formula", (), {"__doc__": FROM, "infer": None, "cost": staticmethod(cost)})

    def _flops(self, formula: Callable[..., Any]) -> Any:
        args, kwargs, results = self.call
        plain: Callable[..., Any] | None = getattr(formula, "__wrapped__", None)
        if plain is None:  # registered with get_raw=True: it takes tensors
            flops = formula(*args, **kwargs, out_val=results)
        else:
            args, kwargs, results = tree_map(self._shape, (args, kwargs, results))
            flops = plain(*args, **kwargs, out_shape=results)
        return self._expr_of(flops) if isinstance(flops, torch.SymInt) else flops

    def _shape(self, value: Any) -> Any:
        if not isinstance(value, self._tensor):
            return value
        return tuple(self._expr_of(size) if isinstance(size, torch.SymInt) else size for size in value.shape)
