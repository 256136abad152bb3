# What macsim raises.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The exceptions of macsim. Remarks that leave a report standing are diagnostics instead: ``Report.diagnostics``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from macsim.report import Report

__all__ = ["MacsimError", "ReadError", "RequestError", "UnknownWorkError"]


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


class UnknownWorkError(MacsimError):
    """``strict=True`` was asked for, and the work of some operators is unknown.

    Attributes
    ----------
    ops : dict of str to int
        The operators, and how many nodes of each are unknown.
    report : Report
        The report, in which everything else stands.

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

    def __init__(self, ops: dict[str, int], report: Report, reasons: dict[str, str] | None = None) -> None:
        self.ops = ops
        self.report = report
        self.reasons = reasons or {}
        super().__init__(ops)

    def __str__(self) -> str:
        nodes = sum(self.ops.values())
        listed = "; ".join(
            f"{op} ({count} node{'s' if count != 1 else ''}{': ' + self.reasons[op] if self.reasons.get(op) else ''})"
            for op, count in self.ops.items()
        )
        return f"the work of {nodes} node{' is' if nodes == 1 else 's are'} unknown: {listed}"

    def __reduce__(self) -> tuple[Any, ...]:
        return MacsimError, (str(self),)
        if nodes == 0:
            return "the work is unknown: a sum does not fit 128 bits"
