# Operators of the user's own: rules written in Python, and aliases.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Operators of your own: rules written in Python, and aliases of operators that are known."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from macsim import _core
from macsim.errors import RequestError

__all__ = ["Registry", "alias", "op", "rules"]

_Class = TypeVar("_Class", bound=type)
_RESERVED = frozenset(name for name in dir(_core.Call) if not name.startswith("__"))


class Registry:
    """Which rule answers to which operator: the built-in rules, and those that are added.

    `macsim.rules` is the one that is used when none is given. A registry of one's own keeps its rules to itself.
    Registries may be used and extended from several threads; a count under way keeps the rules it started with.

    Examples
    --------
    >>> import macsim
    >>> mine = macsim.Registry()
    >>> mine.alias("com.acme::FusedConv", like="onnx::Conv")
    >>> "com.acme::FusedConv" in mine, "com.acme::FusedConv" in macsim.rules
    (True, False)
    """

    def __init__(self) -> None:
        self._table: _core.RuleTable | None = None
        self._own: set[str] = set()
        self._lock = threading.Lock()

    @property
    def table(self) -> _core.RuleTable:
        """The core's table; it is made on first use, so that importing costs nothing."""
        if self._table is None:
            with self._lock:
                if self._table is None:
                    self._table = _core.RuleTable()
        return self._table

    def op(
        self, *names: str, slots: str = "", since: int = 0, until: int | None = None, replace: bool = False
    ) -> Callable[[_Class], _Class]:
        """Register a class as the rule of operators: see `macsim.op`."""

        def register(rule: _Class) -> _Class:
            _add(self, rule, names, slots, since, until, replace)
            return rule

        return register

    def alias(self, op: str, *, like: str) -> None:
        """Let an operator behave as another: see `macsim.alias`."""
        self.table.alias(op, like)

    def copy(self) -> Registry:
        """Return a registry of the same rules, to be extended apart."""
        new = Registry()
        with self._lock:
            new._table = self._table.copy() if self._table is not None else None
            new._own = set(self._own)
        return new

    def __contains__(self, op: object) -> bool:
        return isinstance(op, str) and self.find(op) is not None

    def find(self, op: str, version: int | None = None) -> dict[str, Any] | None:
        """Return the rule that answers to an operator: its name, slots, summary, formula, reference and names.

        Parameters
        ----------
        op : str
            ``"onnx::Conv"``; the dialect may be left out for ONNX's own.
        version : int, optional
            The version of the operator set; by default the newest.

        Returns
        -------
        dict or None
            None when nobody answers to it.

        Examples
        --------
        >>> import macsim
        >>> macsim.rules.find("MatMul")["formula"]
        'mac = |y| * K, ...'
        """
        spelled = op if "::" in op else f"onnx::{op}"
        if version is not None:
            return self.table.find(spelled, version)
        return next((found for at in (10**6, 1) if (found := self.table.find(spelled, at)) is not None), None)

    def near(self, op: str, most: int = 5) -> list[str]:
        """Return the known operators whose names are nearest to ``op``."""
        return self.table.near(op, most)

    def __iter__(self) -> Any:
        return iter(self.table.rules())

    def __len__(self) -> int:
        return len(self.table.rules())

    def __repr__(self) -> str:
        return f"<macsim.Registry: {len(self)} rules, {len(self.table.spellings())} operators>"


rules = Registry()


def op(
    *names: str,
    slots: str = "",
    since: int = 0,
    until: int | None = None,
    replace: bool = False,
    registry: Registry | None = None,
) -> Callable[[_Class], _Class]:
    """Register a class as the rule of one or more operators.

    The class has two static functions. ``infer(call)`` gives the outputs as a `Tensor`, or a tuple of them; it may be
    None where the files state the outputs' shapes. ``cost(call)`` gives the `Cost` of one node. Both see the node's
    inputs by slot, with sizes that are ints or Exprs: compute with them, and do not ask for numbers, so that the
    counts stay symbolic. An exception in either becomes a diagnostic (MS501) on that node.

    A third, ``gradient(call)``, gives the `Gradient` of one node, for training: the work of those inputs of which
    ``call.needs(slot)`` says that their gradients are wanted, and what is kept from the run for it. ``gradient = None``
    says that there is none: the results are constants to whoever differentiates. Without either its gradient is
    unknown, and `TrainingReport.unknown` lists it.

    The first line of the class's docstring is the rule's summary, the text after ``Formula:`` its formula, that after
    ``Reference:`` its reference; ``macsim ops`` prints them.

    Parameters
    ----------
    *names : str
        The operators that it answers to: ``"mylib::window_attn"``.
    slots : str
        The names of the inputs, in order: ``"q k v"``. A leading ``#`` marks a number that is no traffic (a shape,
        axes); a trailing ``...`` an input that repeats.
    since, until : int, optional
        The first and the last version of the operator set that it answers to.
    replace : bool, default False
        Take over from a built-in rule. A rule of one's own is always replaced, so that a notebook's cell can be run
        again.
    registry : Registry, optional
        Where to register it; by default `macsim.rules`, which every count uses.

    Returns
    -------
    callable
        The decorator; it gives the class back as it is.

    Examples
    --------
    >>> import macsim
    >>> mine = macsim.Registry()
    >>> @macsim.op("mylib::window_attn", slots="q k v", registry=mine)
    ... class WindowAttention:
    ...     '''Attention over a sliding window.
    ...
    ...     Shapes: q, k, v are [batch, heads, seq, dim]. Attribute: window (positions).
    ...     Formula: mac = 2 * batch*heads*seq*dim*window; exp = batch*heads*seq*window
    ...     '''
    ...
    ...     @staticmethod
    ...     def infer(call: macsim.Call) -> macsim.Tensor:
    ...         return call.q
    ...
    ...     @staticmethod
    ...     def cost(call: macsim.Call) -> macsim.Cost:
    ...         b, h, s, d = call.q.shape
    ...         w = call.attr("window")
    ...         return macsim.Cost(mac=2 * b * h * s * d * w, exp=b * h * s * w)
    ...
    ...     @staticmethod
    ...     def gradient(call: macsim.Call) -> macsim.Gradient:
    ...         b, h, s, d = call.q.shape
    ...         products = b * h * s * d * call.attr("window")
    ...         wanted = 2 * (call.needs("q") or call.needs("k")) + call.needs("q") + call.needs("k") + call.needs("v")
    ...         return macsim.Gradient(mac=wanted * products, keep=["q", "k", "v"])
    >>> mine.find("mylib::window_attn")["formula"]
    'mac = 2 * batch*heads*seq*dim*window; exp = batch*heads*seq*window'
    """
    return (rules if registry is None else registry).op(*names, slots=slots, since=since, until=until, replace=replace)


def alias(op: str, *, like: str, registry: Registry | None = None) -> None:
    """Let an operator behave as another: same inputs, attributes, shapes and work.

    Parameters
    ----------
    op : str
        The new name: ``"com.acme::FusedConv"``.
    like : str
        The operator whose rule answers: ``"onnx::Conv"``.
    registry : Registry, optional
        Where to register it; by default `macsim.rules`, which every count uses.

    Examples
    --------
    >>> import macsim
    >>> mine = macsim.Registry()
    >>> macsim.alias("com.acme::FusedConv", like="onnx::Conv", registry=mine)
    >>> mine.find("com.acme::FusedConv")["name"]
    'conv'
    """
    (rules if registry is None else registry).alias(op, like=like)


def _add(
    registry: Registry, rule: type, names: tuple[str, ...], slots: str, since: int, until: int | None, replace: bool
) -> None:
    if not names:
        raise RequestError('op() needs the name of an operator: "mylib::window_attn"')
    if not isinstance(rule, type):
        raise TypeError("op() decorates a class with static functions infer and cost")
    infer, cost = getattr(rule, "infer", None), getattr(rule, "cost", None)
    if not callable(cost) or not (infer is None or callable(infer)):
        raise RequestError(f"{rule.__name__} needs a static function cost(call), and infer(call) or infer = None")
    stated = hasattr(rule, "gradient")
    gradient = getattr(rule, "gradient", None)
    if stated and gradient is not None and not callable(gradient):
        raise RequestError(f"{rule.__name__}.gradient is a static function gradient(call), or None: it has none")
    if stated and gradient is None:
        gradient = False  # as the table spells it
    for slot in slots.split():
        plain = slot.removeprefix("#").removesuffix("...")
        if not plain.isidentifier() or plain in _RESERVED:
            raise RequestError(f"{plain!r} cannot be a slot: it is {'taken' if plain in _RESERVED else 'not a name'}")
    about = _about(rule)
    with registry._lock:
        own = all(name in registry._own for name in names)
    registry.table.add(
        list(names),
        slots,
        infer,
        cost,
        gradient,
        about,
        since,
        until if until is not None else 2**63 - 1,
        replace or own,
    )
    with registry._lock:
        registry._own.update(names)


def _about(rule: type) -> dict[str, str]:
    """Return what the docstring says: its first line, and what follows ``Formula:`` and ``Reference:``."""
    import inspect

    lines = (inspect.getdoc(rule) or "").splitlines() if rule.__doc__ else []
    about = {"summary": lines[0].strip() if lines else rule.__name__}
    for key in ("Formula", "Reference"):
        for start, line in enumerate(lines):
            if line.strip().startswith(f"{key}:"):
                said = [line.strip().removeprefix(f"{key}:").strip()]
                for more in lines[start + 1 :]:
                    if not more.strip() or ":" in more.split("=")[0]:
                        break
                    said.append(more.strip())
                about[key.lower()] = " ".join(said)
                break
    return about


def describe_failure(error: BaseException) -> str:
    """Return an exception in a rule in one line: what it says, and the line of the rule that raised it."""
    import traceback

    said = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return said
    last = frames[-1]
    line = f": `{last.line}`" if last.line else ""
    return f"{said} ({last.filename}, line {last.lineno}, in {last.name}{line})"
