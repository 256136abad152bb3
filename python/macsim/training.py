# Training: what is trained and how, and what a step of it takes.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""One step of training: forward, backward, what is computed again, the optimiser, and the memory of it all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from macsim import _core
from macsim.errors import RequestError
from macsim.groups import Key
from macsim.rows import BYTES, WORK, Number
from macsim.step_memory import StepMemory

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from macsim._core import Total
    from macsim.report import Report

__all__ = ["Amounts", "Memory", "Parameter", "Passes", "Training", "TrainingReport", "trained"]

Optimizer: TypeAlias = Literal["none", "sgd", "momentum", "adam", "adamw", "adam8bit"]
PASSES = ("forward", "backward", "recompute")


class Training(NamedTuple):
    """What is trained, and how: an argument of `macsim.count`.

    In names ``*`` stands for any text.

    Parameters
    ----------
    optimizer : {"adamw", "adam", "adam8bit", "momentum", "sgd", "none"}
        How parameters are changed by their gradients. Of ``adam8bit`` states take a byte an element and 4 for each
        block of 256; those of parameters with fewer than 4096 elements stay in 32 bits.
    frozen : sequence of str
        Parameters that are not trained, by name. Those of a torch module that need no gradient are not trained anyway.
    trained : sequence of str
        When there are any: no other parameters are trained.
    inputs : sequence of str
        Inputs of the model whose gradients are wanted; by default none.
    recompute : sequence of str
        Scopes of which nothing is kept for the backward pass but what goes in; they are run again when it gets there.
        Compared part by part: ``"layers.*"`` is each of the layers. What a program gives to
        ``torch.utils.checkpoint`` is treated so without being named.
    master : bool
        Whether the optimiser keeps a copy of the parameters, and its states, in 32 bits.
    loss : str, int, or sequence of these
        The outputs whose gradients are given, by name or by position; by default all of them. Those of a torch program
        are named by where they are in what it returns: ``"logits"``, ``"0"``, ``"hidden.1"``. What no such output
        hangs on gets no gradient.
    """

    optimizer: Optimizer = "adamw"
    frozen: Sequence[str] = ()
    trained: Sequence[str] = ()
    inputs: Sequence[str] = ()
    recompute: Sequence[str] = ()
    master: bool = False
    loss: str | int | Sequence[str | int] = ()


class Amounts(NamedTuple):
    """Work by kind, FLOPs, and bytes read and written."""

    work: dict[str, Number]
    flops: Number
    read: Number
    weights: Number
    written: Number

    @property
    def macs(self) -> Number:
        """Multiply-accumulates."""
        return self.work.get("mac", 0)

    @property
    def bytes(self) -> Number:
        """All bytes read and written."""
        return self.read + self.weights + self.written


class Memory(NamedTuple):
    """Bytes that a training step needs at once."""

    weights: Number  #: the parameters and buffers
    gradients: Number  #: of the parameters that are trained
    optimizer: Number  #: its states
    saved: Number  #: activations that are kept for the backward pass
    recomputed: Number  #: those of the largest segment that is computed again, while it is

    @property
    def total(self) -> Number:
        """The sum: more than is there at once, for activations go as gradients come; see `TrainingReport.timeline`."""
        return self.weights + self.gradients + self.optimizer + self.saved + self.recomputed


class Parameter(NamedTuple):
    """A tensor of the model that is trained."""

    name: str
    dtype: str
    elements: Number
    bytes: Number


class Passes(NamedTuple):
    """A group of rows in each of the passes."""

    name: str
    forward: Total
    backward: Total
    recompute: Total


def _losses(loss: str | int | Sequence[str | int], outputs: Sequence[str]) -> list[int]:
    """Return the positions of the outputs that are named.

    Examples
    --------
    >>> _losses(["loss", -1], ["loss", "hidden.0", "hidden.1"])
    [0, 2]
    >>> _losses("hidden*", ["loss", "hidden.0", "hidden.1"])
    [1, 2]
    """
    found: list[int] = []
    for one in [loss] if isinstance(loss, str | int) else loss:
        if isinstance(one, str):
            fitting = re.compile(".*".join(map(re.escape, one.split("*"))), re.DOTALL)
            met = [i for i, name in enumerate(outputs) if fitting.fullmatch(name)]
            place = int(one) if not met and one.removeprefix("-").isdecimal() else None
        else:
            met, place = [], one
        if place is not None:
            met = [i for i in range(len(outputs)) if place in (i, i - len(outputs))]
        if not met:
            known = ", ".join(repr(name) if name else str(i) for i, name in enumerate(outputs)) or "none"
            raise RequestError(f"loss={one!r}: there is no such output; there are: {known}")
        found += met
    return found


def trained(report: Report, options: Training, outputs: Sequence[str]) -> TrainingReport:
    """Follow gradients through a report with these outputs."""
    for name in ("frozen", "trained", "inputs", "recompute"):
        if isinstance(getattr(options, name), str):
            raise RequestError(f"{name} takes a list of names: [{getattr(options, name)!r}]")
    step = _core.training(
        report._ledger,
        list(options.frozen),
        list(options.trained),
        list(options.inputs),
        list(options.recompute),
        _losses(options.loss, outputs),
        options.optimizer,
        options.master,
    )
    if step.unmatched:
        places = [
            f"{name}={[one for one in step.unmatched if one in getattr(options, name)]}"
            for name in ("frozen", "trained", "inputs", "recompute")
            if set(step.unmatched) & set(getattr(options, name))
        ]
        raise RequestError(f"{', '.join(places)}: there is nothing of that name")
    return TrainingReport(step, report, options)


class TrainingReport:
    """What a step of training takes, pass by pass.

    Examples
    --------
    >>> import macsim
    >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224), training=True)
    >>> step = report.training
    >>> step.forward.macs, step.backward.macs  # the gradient of the image is not computed
    (4089184256, 8060354560)
    """

    def __init__(self, step: _core.Step, report: Report, options: Training) -> None:
        self._step = step
        self.options = options
        self.forward = report

    def _pass(self, ledger: _core.Ledger) -> Report:
        from macsim.report import Report

        return Report(ledger, self.forward.model, self.forward._sizes, self.forward._found_modules)

    @cached_property
    def backward(self) -> Report:
        """The gradients: a report with the same rows, of the work of their gradients."""
        return self._pass(self._step.backward)

    @cached_property
    def recompute(self) -> Report:
        """What is computed again, because it was not kept: segments, and the scores of fused attention."""
        return self._pass(self._step.recompute)

    @cached_property
    def optimizer(self) -> Amounts:
        """One step of the optimiser; its ``weights`` are the bytes of the parameters that it reads."""
        return Amounts(*self._step.optimizer)

    @cached_property
    def total(self) -> Amounts:
        """All passes and the optimiser."""
        parts: list[Any] = [self.forward.total, self.backward.total, self.recompute.total, self.optimizer]
        return Amounts(
            {kind: sum(part.work[kind] for part in parts) for kind in WORK},
            *(sum(getattr(part, name) for part in parts) for name in ("flops", *BYTES)),
        )

    @property
    def macs(self) -> Number:
        """Multiply-accumulates of all passes."""
        return self.total.macs

    @property
    def flops(self) -> Number:
        """Floating-point operations of all passes and the optimiser."""
        return self.total.flops

    @property
    def model_flops(self) -> Number:
        """Those that the model asks for: forward and backward, with nothing computed twice."""
        return self.forward.flops + self.backward.flops

    @property
    def hardware_flops(self) -> Number:
        """Those that are performed: forward, backward and what is computed again."""
        return self.model_flops + self.recompute.flops

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The tensors that are trained."""
        return [Parameter(*one) for one in self._step.parameters]

    @cached_property
    def memory(self) -> Memory:
        """The bytes that a step needs at once."""
        step = self._step
        return Memory(step.weights, step.gradients, step.states, step.saved, step.recomputed)

    @cached_property
    def timeline(self) -> StepMemory:
        """The memory over the step: its peak, when that is, and which tensors are there then."""
        return StepMemory(self)

    @cached_property
    def unknown(self) -> dict[str, int]:
        """Operators whose gradients nobody knows, and how many rows each has: their work is missing from the sums.

        `macsim.op` takes a gradient of your own.
        """
        found: dict[str, int] = {}
        for row in self.backward.rows:
            if row.trust == "unknown":
                found[row.op] = found.get(row.op, 0) + 1
        return found

    def by(self, key: Key, depth: int | None = None) -> list[Passes]:
        """Return the sums of groups of rows, pass by pass: see `Report.by`."""
        parts = [getattr(self, name).by(key, depth) for name in PASSES]
        return [Passes(group[0].name, *group) for group in zip(*parts, strict=True)]

    @property
    def whole(self) -> Passes:
        """The sums of all rows, pass by pass."""
        return Passes("total", *(getattr(self, name).total for name in PASSES))

    def bind(self, report: Report, sizes: Mapping[str, int]) -> TrainingReport:
        """Return the same of a report that was bound."""
        return TrainingReport(self._step.bind(dict(sizes)), report, self.options)

    # Windows ----------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the totals of the passes, the parameters and the memory as plain data; expressions are texts."""
        from macsim.export import plain

        def amounts(part: Any) -> dict[str, Any]:
            names = ("flops", *BYTES)
            return {
                "macs": plain(part.macs),
                **{name: plain(getattr(part, name)) for name in names},
                "work": {kind: plain(part.work[kind]) for kind in WORK},
            }

        memory = {name: plain(getattr(self.memory, name)) for name in (*Memory._fields, "total")}
        return {
            "optimizer_name": self.options.optimizer,
            **{name: amounts(getattr(self, name).total) for name in PASSES},
            "optimizer": amounts(self.optimizer),
            "memory": memory,
            "peak": plain(self.timeline.peak),
            "unknown": self.unknown,
            "parameters": [
                {"name": p.name, "dtype": p.dtype, "elements": plain(p.elements), "bytes": plain(p.bytes)}
                for p in self.parameters
            ],
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows, with each quantity of each pass: ``forward.mac``, ``backward.mac``, ..."""
        import pandas as pd

        frames = {name: getattr(self, name).to_pandas() for name in PASSES}
        texts = ["name", "op", "rule", "scope", "path"]
        out = frames["forward"][texts].copy()
        for name, frame in frames.items():
            for column in frame.columns:
                if column not in texts:
                    out[f"{name}.{column}"] = frame[column]
        return pd.DataFrame(out)

    def table(self, by: Key = "op", *, depth: int | None = None, top: int | None = 15) -> RenderableType:
        """Return the passes as a table that rich can print: MACs of each, by groups of rows."""
        from macsim.show_passes import training_table

        return training_table(self, by, depth, top)

    def __rich__(self) -> RenderableType:
        return self.table()

    def __repr__(self) -> str:
        from macsim.show import plain

        return plain(self.table())
