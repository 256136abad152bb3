# What macsim raises.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The exceptions of macsim. Remarks that leave a report standing are diagnostics instead: ``Report.diagnostics``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from macsim.report import Report

__all__ = ["HardwareError", "MacsimError", "MeterError", "ReadError", "RequestError", "TraceError", "UnknownWorkError"]


class MacsimError(Exception):
    """The common base of everything that macsim raises."""


class ReadError(MacsimError):
    """A model cannot be read.

    Attributes
    ----------
    code : str
        The diagnostic's code: ``macsim explain MS102`` describes it.
    text : str
        What is wrong, and where.
    hint : str
        What to do about it.

    Examples
    --------
    >>> import macsim
    >>> try:
    ...     macsim.load(b"not a model")
    ... except macsim.ReadError as error:
    ...     print(error.code)
    MS102
    """

    def __init__(self, text: str, code: str = "MS102", hint: str = "") -> None:
        super().__init__(text, code, hint)
        self.text = text
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class RequestError(MacsimError, ValueError):
    """A shape, size, value or name that was given does not fit the model.

    Examples
    --------
    >>> import macsim
    >>> try:
    ...     macsim.count("examples/resnet50.onnx", shapes={"inptu": (1, 3, 224, 224)})
    ... except macsim.RequestError as error:
    ...     print(error)
    the model has no input 'inptu'; did you mean 'input'?
    """


class HardwareError(MacsimError, ValueError):
    """A hardware table is not known, cannot be read, or is not what a table must be.

    Examples
    --------
    >>> import macsim
    >>> try:
    ...     macsim.hardware("h100-smx")
    ... except macsim.HardwareError as error:
    ...     print(error)  # doctest: +ELLIPSIS
    there is no hardware table 'h100-smx'; the nearest: h100-sxm...
    """


class MeterError(MacsimError):
    """A meter of energy cannot be read: there is none, it is not installed, or it is not for this user."""


class TraceError(MacsimError):
    """A program could not be followed to its end.

    Attributes
    ----------
    module : str
        The path of the module that was running; empty for the outermost one.

    Examples
    --------
    >>> import macsim, torch
    >>> class Picky(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x + 1 if x.sum() > 0 else x
    >>> try:
    ...     macsim.count(Picky(), (2, 3))
    ... except macsim.TraceError as error:
    ...     print(str(error).partition(",")[0])
    the program looks at the contents of a tensor that is not known
    """

    def __init__(self, text: str, module: str = "") -> None:
        super().__init__(text, module)
        self.text = text
        self.module = module

    def __str__(self) -> str:
        return self.text + (f" (in module {self.module!r})" if self.module else "")


class UnknownWorkError(MacsimError):
    """``strict=True`` was asked for, and the work of some operators is unknown.

    Attributes
    ----------
    ops : dict of str to int
        The operators, and how many nodes of each are unknown.
    report : Report
        The report, in which everything else stands.
    reasons : dict of str to str
        Why the work of each is unknown.
    scopes : dict of str to list of str
        The modules that call each.

    Examples
    --------
    >>> import macsim
    >>> from onnx import ValueInfoProto, helper
    >>> node = helper.make_node("Secret", ["x"], ["y"], domain="com.acme")
    >>> graph = helper.make_graph([node], "g", [ValueInfoProto(name="x")], [ValueInfoProto(name="y")])
    >>> try:
    ...     macsim.count(helper.make_model(graph), strict=True)
    ... except macsim.UnknownWorkError as error:
    ...     print(error.ops)
    {'com.acme::Secret': 1}
    """

    def __init__(
        self,
        ops: dict[str, int],
        report: Report,
        reasons: dict[str, str] | None = None,
        scopes: dict[str, list[str]] | None = None,
    ) -> None:
        self.ops = ops
        self.report = report
        self.reasons = reasons or {}
        self.scopes = scopes or {}
        super().__init__(ops)

    def __str__(self) -> str:
        nodes = sum(self.ops.values())
        if nodes == 0:
            return "the work is unknown: a sum does not fit 128 bits"
        listed = "; ".join(f"{op} ({self._said(op, count)})" for op, count in self.ops.items())
        return f"the work of {nodes} node{' is' if nodes == 1 else 's are'} unknown: {listed}"

    def _said(self, op: str, count: int) -> str:
        scopes = self.scopes.get(op, [])
        where = f" in {', '.join(scopes[:3])}{', ...' if len(scopes) > 3 else ''}" if scopes else ""
        why = f": {self.reasons[op]}" if self.reasons.get(op) else ""
        return f"{count} node{'s' if count != 1 else ''}{where}{why}"

    def __reduce__(self) -> tuple[Any, ...]:
        return MacsimError, (str(self),)
