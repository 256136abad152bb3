# Formulas of FLOPs that users registered with torch, for operators that have no row here.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Operators that only a formula registered with `torch.utils.flop_counter` knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

from macsim import _core
from macsim.custom import Registry

__all__ = ["FormulaTape"]

FROM = "half of the FLOPs of a formula registered with torch.utils.flop_counter"


class FormulaTape(_core.Tape):
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
        """Record a call with its results, which a formula may ask about."""
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
