# Memory: the face of what a run holds, row by row.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Memory that a run holds: weights, and activations while somebody needs them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from macsim.rows import Number, Trust, objects

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from macsim.report import Report

__all__ = ["Held", "Memory"]


class Held(NamedTuple):
    """A tensor that is there at the peak."""

    name: str
    dtype: str
    shape: tuple[Number, ...] | None
    role: str  #: ``"input"``, ``"cache"``, ``"activation"`` or ``"output"``
    bytes: Number
    first: int  #: the first row that has it
    last: int  #: the last row that needs it; the number of rows: it is needed afterwards


class Memory:
    """Bytes that a run holds when every tensor is freed after the last row that reads it.

    Weights, inputs and KV caches are held all the time, outputs to the end; views hold what they are views of; results
    of operators that change their input are where that was.

    Examples
    --------
    >>> import macsim
    >>> memory = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).memory()
    >>> memory.weights, memory.activations
    (102440608, 10235904)
    >>> [(held.role, held.bytes) for held in memory.alive]  # where the first shortcut is added
    [('activation', 3211264), ('activation', 3211264), ('activation', 3211264), ('input', 602112)]
    """

    def __init__(self, report: Report, by_module: bool, by_program: bool, in_place: bool) -> None:
        self.report = report
        self.by_module = by_module
        self.by_program = by_program
        self.in_place = in_place
        self._core = report._flows.memory(by_module, by_program, in_place)

    @property
    def weights(self) -> Number:
        """Bytes of the stored tensors that are read."""
        return self._core.weights

    @property
    def activations(self) -> Number:
        """Bytes of everything else, at the peak."""
        return self._core.activations

    @property
    def peak(self) -> Number:
        """Both together."""
        return self._core.peak

    @property
    def row(self) -> int | None:
        """The first row at which the peak is reached; None where free sizes decide: bind them."""
        return self._core.row

    @property
    def alive(self) -> list[Held]:
        """The tensors that are there then, largest first, without weights."""
        return [Held(*one) for one in self._core.alive]

    @property
    def trust(self) -> Trust:
        """``"unknown"`` when the size of some tensor is not known, and left out."""
        return self._core.trust

    @cached_property
    def timeline(self) -> NDArray[Any]:
        """Bytes held while each row runs, without weights."""
        made = self._core.timeline
        return objects(made) if isinstance(made, list) else made

    def table(self, *, top: int | None = 10) -> RenderableType:
        """Return the timeline and the tensors at the peak, for rich to print."""
        from macsim.show_traffic import memory_table

        return memory_table(self, top)

    def __rich__(self) -> RenderableType:
        return self.table()

    def __repr__(self) -> str:
        return f"<Memory {self.peak} bytes at the peak: weights {self.weights}, activations {self.activations}>"
