# The rows of a report: one by one, and as columns.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The rows of a report: one by one, and as columns."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from macsim._core import Expr, Ledger, Tensor

__all__ = ["Columns", "Row", "Rows"]

Number: TypeAlias = "int | Expr"
Trust: TypeAlias = Literal["exact", "bound", "estimate", "unknown"]

WORK = ("mac", "add", "mul", "div", "compare", "exp", "log", "sqrt", "trig", "logic", "convert")
BYTES = ("read", "weights", "written")
TEXTS = ("name", "op", "rule", "scope", "path", "trust", "because", "compute")
NUMBERS = (*WORK, *BYTES, "macs_unmasked", "flops", "int_ops", "times")


class Row:
    """One node: its shapes, its work, its traffic, and how far they can be trusted.

    Examples
    --------
    >>> import macsim
    >>> row = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).rows[0]
    >>> row.op, row.macs, row.outputs[0].shape
    ('Conv', 118013952, (1, 64, 112, 112))
    """

    __slots__ = ("_index", "_ledger")

    def __init__(self, ledger: Ledger, index: int) -> None:
        self._ledger = ledger
        self._index = index

    @property
    def name(self) -> str:
        """The node's name in the model; may be empty."""
        return self._ledger.name(self._index)

    @property
    def op(self) -> str:
        """The operator: ``"Conv"``, or ``"com.microsoft::FusedConv"`` outside ONNX's own domain."""
        return self._ledger.op(self._index)

    @property
    def rule(self) -> str:
        """The rule that counted it (``macsim ops RULE`` describes it); empty when unknown."""
        return self._ledger.rule(self._index)

    @property
    def scope(self) -> str:
        """The modules around it: ``"encoder.layers.0.attn"``; may be empty."""
        return self._ledger.scope(self._index)

    @property
    def path(self) -> str:
        """The bodies and functions around it, then its name: enough to find it."""
        return self._ledger.path(self._index)

    @property
    def trust(self) -> Trust:
        """How far its numbers can be trusted: ``"exact"``, ``"bound"``, ``"estimate"`` or ``"unknown"``."""
        return self._ledger.trust(self._index)

    @property
    def because(self) -> str:
        """The reason for a zero, or for a trust below exact."""
        return self._ledger.because(self._index)

    @property
    def inputs(self) -> list[Tensor]:
        """What it takes; absent inputs are left out."""
        return self._ledger.row_inputs(self._index)

    @property
    def outputs(self) -> list[Tensor]:
        """What it gives; absent outputs are left out."""
        return self._ledger.row_outputs(self._index)

    @property
    def work(self) -> dict[str, Number]:
        """The work by kind, in scalar operations."""
        return self._ledger.work(self._index)

    @property
    def macs(self) -> Number:
        """Multiply-accumulates."""
        return self._ledger.at("mac", self._index)

    @property
    def macs_unmasked(self) -> Number:
        """Those of a kernel that skips the positions which a causal mask or a window of the operator's own hides."""
        return self._ledger.macs_unmasked(self._index)

    @property
    def flops(self) -> Number:
        """Floating-point operations: 2 for a mac, 1 for any other."""
        return self._ledger.flops(self._index)

    @property
    def int_ops(self) -> Number:
        """The same on integers."""
        return self._ledger.int_ops(self._index)

    @property
    def read(self) -> Number:
        """Bytes of activations read."""
        return self._ledger.at("read", self._index)

    @property
    def weights(self) -> Number:
        """Bytes read of tensors that are stored in the model."""
        return self._ledger.at("weights", self._index)

    @property
    def written(self) -> Number:
        """Bytes written."""
        return self._ledger.at("written", self._index)

    @property
    def times(self) -> Number:
        """How often it runs, in loops."""
        return self._ledger.times(self._index)

    @property
    def compute(self) -> str:
        """The dtype of the work other than macs."""
        return self._ledger.compute(self._index)

    @property
    def mac_dtypes(self) -> tuple[str, str, str]:
        """The dtypes of the macs: left, right, accumulator."""
        return self._ledger.mac_dtypes(self._index)

    def to_dict(self) -> dict[str, Any]:
        """Return everything about it as plain data; expressions are texts."""
        from macsim.export import row_dict

        return row_dict(self._ledger, self._index)

    def __repr__(self) -> str:
        macs = f", {self.macs} macs" if self.macs != 0 else ""
        doubt = "" if self.trust == "exact" else f", {self.trust}: {self.because}"
        return f"<Row {self.path or self.name!s} ({self.op}){macs}{doubt}>"


class Rows(Sequence[Row]):
    """The rows of a report, in the order of execution. They are made when asked for."""

    __slots__ = ("_ledger", "_range")

    def __init__(self, ledger: Ledger, indices: range) -> None:
        self._ledger = ledger
        self._range = indices

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        if isinstance(index, slice):
            return Rows(self._ledger, self._range[index])
        return Row(self._ledger, self._range[operator.index(index)])

    def __iter__(self) -> Iterator[Row]:
        return (Row(self._ledger, index) for index in self._range)

    def __repr__(self) -> str:
        return f"<{len(self)} rows>"


class Columns(Mapping[str, "NDArray[Any]"]):
    """The rows as numpy arrays, one for each quantity or text, made when first asked for.

    Quantities are int64 where every value fits, otherwise objects: ints and Exprs.

    Examples
    --------
    >>> import macsim
    >>> columns = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).columns
    >>> int(columns["mac"].max()), columns["op"][columns["mac"].argmax()]
    (118013952, 'Conv')
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._made: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._made:
            if name not in NUMBERS and name not in TEXTS:
                raise KeyError(name)
            made = self._ledger.column(name) if name in NUMBERS else self._ledger.texts(name)
            self._made[name] = made if not isinstance(made, list) else objects(made)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*TEXTS, *NUMBERS))

    def __len__(self) -> int:
        return len(TEXTS) + len(NUMBERS)

    def __repr__(self) -> str:
        return f"<columns of {len(self._ledger)} rows: {', '.join(self)}>"


def objects(values: Sequence[Any]) -> NDArray[Any]:
    """Return an array of objects, whatever they are."""
    import numpy as np

    out = np.empty(len(values), object)
    out[:] = values
    return out
