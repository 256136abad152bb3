# A step of training as a table: the passes side by side.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The passes of a step of training side by side, as a table that rich can print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from macsim.groups import rough
from macsim.show import View, cell, exactly, human, signed

if TYPE_CHECKING:
    from rich.console import RenderableType

    from macsim.groups import Key
    from macsim.rows import Number
    from macsim.step_memory import StepMemory
    from macsim.training import Passes, TrainingReport

HEAD = ("forward", "backward", "recompute")


def training_view(step: TrainingReport, by: Key, depth: int | None, top: int | None) -> View:
    """Return a step of training as texts."""
    rows = len(step.forward.rows)
    view = View(f"{step.forward.model.name or 'model'}: a training step, {rows:,} nodes")
    for name in HEAD:
        total = getattr(step, name).total
        view.totals.append(_line(f"{name} MACs", total.macs, total.sign("mac")))
    view.totals += [
        _line("model FLOPs", step.model_flops),
        _line("hardware FLOPs", step.hardware_flops),
        _line(f"optimizer FLOPs ({step.options.optimizer})", step.optimizer.flops),
        _line("optimizer bytes", step.optimizer.bytes, unit="B"),
    ]
    memory = step.memory
    view.totals += [
        _line("trained parameters", sum(one.elements for one in step.parameters)),
        *(
            _line(f"memory: {label}", getattr(memory, name), unit="B")
            for name, label in (
                ("weights", "weights"),
                ("gradients", "gradients"),
                ("optimizer", "optimizer states"),
                ("saved", "saved activations"),
                ("recomputed", "recomputed segment"),
                ("total", "in all"),
            )
        ),
        _line("memory: peak", step.timeline.peak, unit="B"),
    ]
    for op, rows in step.unknown.items():
        view.totals.append(("gradient unknown", op, f"{rows:,} nodes"))
    _group_lines(view, step, by, depth, top)
    return view


def _line(label: str, number: Number, sign: str = "", unit: str = "") -> tuple[str, str, str]:
    full = exactly(number) if isinstance(number, int) and abs(number) >= 1000 else ""
    text = human(number, unit) if isinstance(number, int) else f"{number}{' ' + unit if unit else ''}"
    return label, signed(sign, text), full


def _group_lines(view: View, step: TrainingReport, by: Key, depth: int | None, top: int | None) -> None:
    view.head = [by, "nodes", *(f"{name} MACs" for name in HEAD), *(f"{name} bytes" for name in HEAD)]
    view.numeric = [False] + [True] * 7
    groups = step.by(by, depth)
    weight = rough(group.forward.macs + group.backward.macs for group in groups)
    other = rough(group.forward.flops + group.backward.flops for group in groups)
    order = sorted(range(len(groups)), key=lambda i: (weight[i], other[i]), reverse=True)
    shown = order if top is None else order[:top]
    view.lines = [_group_line(groups[i]) for i in shown]
    view.foot = _group_line(step.whole)
    if len(shown) < len(groups):
        view.rest = f"{len(groups) - len(shown):,} more"


def _group_line(group: Passes) -> list[str]:
    parts = (group.forward, group.backward, group.recompute)
    return [
        group.name or "(none)",
        f"{group.forward.rows:,}",
        *(cell(part.macs, part.sign("mac")) for part in parts),
        *(cell(part.read + part.weights + part.written, part.sign("written"), "B") for part in parts),
    ]


def training_table(step: TrainingReport, by: Key, depth: int | None, top: int | None) -> RenderableType:
    """Return a step of training as something that rich prints."""
    from macsim.show import set_view

    return set_view(training_view(step, by, depth, top))


def step_memory_table(memory: StepMemory, top: int | None) -> RenderableType:
    """Return the peak of a step, its timeline, and the tensors that are there at the peak."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from macsim.show_traffic import alive_parts, bars, digits

    parts = memory.step.memory
    sums = Table(box=None, show_header=False, pad_edge=False)
    sums.add_column()
    sums.add_column(justify="right")
    sums.add_column(justify="right")
    sign = ">=" if memory.trust == "unknown" else ""
    for label, number in (
        ("weights", parts.weights),
        (f"optimizer states ({memory.step.options.optimizer})", parts.optimizer),
        ("gradients and activations", memory.peak - memory.always),
        ("peak", memory.peak),
    ):
        sums.add_row(f"  {label}", cell(number, sign, "B"), digits(number))
    shown: list[RenderableType] = [sums]
    most = memory.peak - memory.always
    line = bars(memory.timeline, most)
    if line:
        about = f"  gradients and activations over {len(memory.moments):,} moments, up to {cell(most, unit='B')}"
        shown += [Text(), Text(about), Text(line), Text(_ruler(memory, len(line) - 2))]
    if memory.moment is None:
        shown += [Text(), Text("  Where the peak is depends on sizes that are free: bind them to see it.")]
        return Group(*shown)
    part, at = memory.moment
    title = f"at the peak, moment {memory.at}: {part}"
    if at is not None:
        row = memory.step.forward.rows[at]
        title += f" of {row.path} ({row.op})"
    return Group(*shown, Text(), *alive_parts(title, memory.alive, top, "moments"))


def _ruler(memory: StepMemory, width: int) -> str:
    """Return the names of the first two passes, where they begin."""
    first = next((i for i, one in enumerate(memory.moments) if one.part != "forward"), len(memory.moments))
    place = first * width // len(memory.moments)
    return "  " + "forward".ljust(place)[: max(place, 8)].ljust(max(place, 8)) + "backward"
