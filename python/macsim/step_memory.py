# Memory over a step of training: what is held when, and what is there at the peak.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Memory that a step of training holds, from the first row of the run to the optimiser."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from macsim.memory import Held
from macsim.rows import Number, Trust, objects

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from macsim.training import TrainingReport

__all__ = ["Moment", "StepMemory"]

Pass: TypeAlias = Literal["forward", "backward", "recompute", "optimizer"]


class Moment(NamedTuple):
    """One row in one of the passes. The optimiser has a single moment, and no row."""

    part: Pass
    row: int | None


class StepMemory:
    """Bytes that a step of training holds over its moments: rows of the run, rows of the gradients, the optimiser.

    Weights and the optimiser's states are there all the time. An activation is there until the last row that reads it
    or the last gradient that needs it; the gradient of an activation until the row that made that has its own; the
    gradient of a parameter from when it is computed until the end. Inputs and outputs are held throughout.

    Examples
    --------
    >>> import macsim
    >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224), training=True)
    >>> timeline = report.training.timeline
    >>> timeline.peak, timeline.moment
    (472469280, Moment(part='backward', row=79))
    >>> report.rows[79].name, timeline.always - report.training.memory.weights
    ('/layer3/layer3.0/bn1/BatchNormalization', 204456256)
    """

    def __init__(self, step: TrainingReport) -> None:
        self.step = step
        self._facts: dict[str, Any] = step._step.memory

    @property
    def always(self) -> Number:
        """Bytes of weights and of the optimiser's states."""
        made: Number = self._facts["always"]
        return made

    @property
    def peak(self) -> Number:
        """The most that is held, with what is always there."""
        made: Number = self._facts["peak"]
        return made

    @cached_property
    def moments(self) -> list[Moment]:
        """The moments, in order."""
        return [Moment(*one) for one in self._facts["moments"]]

    @property
    def moment(self) -> Moment | None:
        """The first moment at which the peak is reached; None where free sizes decide: bind them."""
        at: int | None = self._facts["moment"]
        return None if at is None else self.moments[at]

    @property
    def at(self) -> int | None:
        """Its place among the moments."""
        made: int | None = self._facts["moment"]
        return made

    @property
    def alive(self) -> list[Held]:
        """The tensors that are there then, largest first, without what is always there.

        ``role`` is ``"input"``, ``"output"``, ``"activation"``, ``"saved"`` (an activation that a gradient needs),
        ``"recomputed"`` (one that was computed again), ``"gradient"`` or ``"parameter_gradient"``; ``first`` and
        ``last`` are moments. Without a dtype: what kernels keep that is no result, such as masks and statistics.
        """
        return [Held(*one) for one in self._facts["alive"]]

    @property
    def trust(self) -> Trust:
        """``"unknown"`` when the size of some tensor is not known, and left out."""
        made: Trust = self._facts["trust"]
        return made

    @cached_property
    def timeline(self) -> NDArray[Any]:
        """Bytes held at each moment, without what is always there."""
        made = self._facts["timeline"]
        return objects(made) if isinstance(made, list) else made

    def table(self, *, top: int | None = 10) -> RenderableType:
        """Return the timeline and the tensors at the peak, for rich to print."""
        from macsim.show_passes import step_memory_table

        return step_memory_table(self, top)

    def __rich__(self) -> RenderableType:
        return self.table()

    def __repr__(self) -> str:
        return f"<StepMemory {self.peak} bytes at the peak, {self.always} of them always>"
