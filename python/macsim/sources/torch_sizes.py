# Sizes of torch's graphs, sympy expressions over its own symbols, as expressions of ours.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""From torch's symbolic sizes to expressions of the core."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from macsim import _core
from macsim.errors import RequestError

__all__ = ["Sizes"]


MOST = 2**62  # bounds beyond that say nothing
LEAST = 2  # which torch states of sizes that it traced as no special ones, and does not hold programs to


class Sizes:
    """What torch's symbols are called here, or which sizes take their place."""

    def __init__(self, ranges: Mapping[Any, Any]) -> None:
        self.given: dict[str, Any] = {}
        self.ranges = {str(symbol): bounds for symbol, bounds in ranges.items()}
        self.names: set[str] = set()  # symbols that were met
        self.called: dict[str, str] = {}  # what the user called torch's symbols
        self._known: dict[Any, Any] = {}

    def size(self, size: Any) -> Any:
        """Return a size as an int or an expression."""
        if not isinstance(size, torch.SymInt):
            return int(size)
        inside = size.node.expr
        found = self._known.get(inside)
        if found is None:
            found = self._known[inside] = _number(self.expr(inside))
        return found

    def expr(self, e: Any) -> Any:
        """Return a sympy expression over integers as one of ours; what has no counterpart is a symbol of its own."""
        if e.is_Integer:
            return int(e)
        if e.is_Symbol:
            return self.given[e.name] if e.name in self.given else self._symbol(self.called.get(e.name, e.name))
        parts = list(e.args)
        name = type(e).__name__
        if name == "Add" and not any(one.is_Rational and not one.is_Integer for one in e.atoms()):
            return sum(map(self.expr, parts[1:]), self.expr(parts[0]))
        if name in ("Add", "Mul"):
            top, bottom = e.as_numer_denom()
            if not bottom.is_Integer or int(bottom) != 1:
                return self.expr(top) // self.expr(bottom)
            product = self.expr(parts[0])
            for one in parts[1:]:
                product = product * self.expr(one)
            return product
        if name in ("Pow", "PowByNatural") and parts[1].is_Integer and int(parts[1]) >= 0:
            return self.expr(parts[0]) ** int(parts[1])
        if name in ("FloorDiv", "CleanDiv"):
            return self.expr(parts[0]) // self.expr(parts[1])
        if name in ("Mod", "PythonMod"):
            return self.expr(parts[0]) % self.expr(parts[1])
        if name == "ModularIndexing":
            return (self.expr(parts[0]) // self.expr(parts[1])) % self.expr(parts[2])
        if name in ("Max", "Min"):
            return (_core.max if name == "Max" else _core.min)(*map(self.expr, parts))
        if name in ("FloorToInt", "TruncToInt", "CeilToInt") and type(parts[0]).__name__ == "IntTrueDiv":
            above, below = map(self.expr, parts[0].args)
            return _core.ceil_div(above, below) if name == "CeilToInt" else above // below
        if name in ("Identity", "ToFloat"):
            return self.expr(parts[0])
        return self._symbol(str(e).replace(" ", ""))

    def _symbol(self, name: str) -> _core.Expr:
        self.names.add(name)
        return _core.Expr(f"`{name}`")

    def facts(self) -> Iterator[_core.Expr]:
        """Yield what is at least 0 for all sizes that the graph holds for."""
        for symbol, bounds in self.ranges.items():
            called = self.called.get(symbol, symbol)
            if symbol not in self.given and called not in self.names:
                continue
            size = _core.Expr(self.given.get(symbol, f"`{called}`"))
            least, most = _bounds(bounds)
            if size.symbols and least > 0:
                yield size - least
            if size.symbols and most is not None:
                yield most - size

    def call(self, stated: Sequence[Any]) -> None:
        """Take over the names of `torch.export.Dim`, which a program that was not loaded from a file still knows."""
        sizes = [size for one in stated if isinstance(one, torch.Tensor) for size in one.shape]
        for size in sizes:
            if not isinstance(size, torch.SymInt) or not size.node.expr.is_Symbol:
                continue
            shape_env, symbol = size.node.shape_env, size.node.expr
            names = getattr(shape_env, "source_name_to_debug_name", None) or {}
            for source in (getattr(shape_env, "var_to_sources", None) or {}).get(symbol, ()):
                where = source.name() if callable(source.name) else source.name
                name = names.get(where)
                if name is not None and name not in self.called.values():
                    self.called.setdefault(symbol.name, name)

    # Sizes that the user gives. ---------------------------------------------------------------------------------------

    def fit(
        self,
        stated: Mapping[str, Any],
        inputs: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        shapes: Mapping[str, Any] | Sequence[Any] | None,
    ) -> None:
        """Take over what is given for the inputs of a graph: each size must be open, or what the graph says."""
        tensors = {name: val for name, val in stated.items() if isinstance(val, torch.Tensor)}
        given = dict(_leaves(inputs, list(tensors), len(stated) - len(tensors)))
        named = dict(kwargs or {})
        if shapes is not None:
            if isinstance(shapes, Mapping):
                named.update(shapes)
            elif len(tensors) == 1:
                named[next(iter(tensors))] = shapes
            else:
                raise RequestError(f"the graph has {len(tensors)} inputs ({', '.join(tensors)}): name the shape")
        for name, one in named.items():
            if name not in tensors:
                near = difflib.get_close_matches(name, tensors, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(tensors) or 'none'}"
                raise RequestError(f"the graph has no input {name!r}; {hint}")
            given[name] = one
        compound = []
        for name, one in given.items():
            val, shape = tensors[name], one.shape if isinstance(one, torch.Tensor) else one
            if not isinstance(shape, list | tuple):
                raise RequestError(f"{name!r} is given {one!r}, which is neither a tensor nor a shape")
            shape = tuple(shape)
            if len(shape) != val.dim():
                raise RequestError(f"{name!r} has {val.dim()} dimensions in the graph, not {len(shape)}: {shape}")
            for axis, (has, wants) in enumerate(zip(val.shape, shape, strict=True)):
                if wants is None:
                    continue
                size = _core.Expr(wants) if isinstance(wants, str) else wants
                inside = has.node.expr if isinstance(has, torch.SymInt) else None
                if inside is not None and inside.is_Symbol:
                    self._take(inside.name, size, f"dimension {axis} of {name!r}")
                else:
                    compound.append((name, axis, has, size))
        self._known.clear()
        for name, axis, has, size in compound:
            is_ = self.size(has)
            if _core.Expr(is_) != _core.Expr(size):
                raise RequestError(
                    f"dimension {axis} of {name!r} is {is_} in the graph, not {size}; export it with that dimension "
                    "dynamic, or count the module itself"
                )

    def _take(self, symbol: str, size: Any, where: str) -> None:
        before = self.given.get(symbol)
        if before is not None and _core.Expr(before) != _core.Expr(size):
            raise RequestError(
                f"{where} is given as {size}, but the graph has it equal to one that is given as {before}"
            )
        least, most = _bounds(self.ranges.get(symbol))
        if isinstance(size, int) and not least <= size <= (MOST if most is None else most):
            until = "" if most is None else f" to {most}"
            raise RequestError(f"{where} is given as {size}, but the graph holds from {least}{until}")
        self.given[symbol] = size


def _bounds(stated: Any) -> tuple[int, int | None]:
    """Return what a size is at least and at most, as far as programs are held to it."""
    least = 0 if stated is None or stated.lower <= LEAST else int(stated.lower)
    return least, None if stated is None or stated.upper >= MOST else int(stated.upper)


def _number(size: Any) -> Any:
    if isinstance(size, int):
        return size
    try:
        return int(size)
    except (TypeError, ValueError):
        return size


def _leaves(inputs: Sequence[Any], names: list[str], constants: int) -> list[tuple[str, Any]]:
    """Return tensors and shapes out of a nest of them, each with the name of the input that it is for."""
    found: list[Any] = []
    others: list[Any] = []
    waiting = list(reversed(inputs))
    while waiting:
        one = waiting.pop()
        if isinstance(one, torch.Tensor) or _is_shape(one):
            found.append(one)
        elif isinstance(one, Mapping):
            waiting += reversed(list(one.values()))
        elif isinstance(one, list | tuple):
            waiting += reversed(one)
        else:
            others.append(one)
    if len(others) > constants:
        one = next((one for one in others if one is not None), None)
        raise RequestError(
            f"{one!r} is neither a tensor nor a shape; the graph's inputs are {', '.join(names) or 'none'}"
        )
    if len(found) > len(names):
        raise RequestError(
            f"{len(found)} inputs are given, but the graph has {len(names)}: {', '.join(names) or 'none'}"
        )
    return list(zip(names, found, strict=False))


def _is_shape(one: Any) -> bool:
    return isinstance(one, tuple) and all(
        size is None or isinstance(size, str | _core.Expr) or (isinstance(size, int) and not isinstance(size, bool))
        for size in one
    )
