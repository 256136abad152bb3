# Traffic and memory for people: tables of levels, kernels and tensors, and the timeline of a run.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Tables of traffic and memory for terminals."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from macsim.groups import rough
from macsim.show import cell, human, type_text

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from macsim.memory import Held, Memory
    from macsim.report import Report
    from macsim.rows import Number
    from macsim.traffic import Kernel, Traffic

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 72  # of a timeline
MOST_OPS = 48  # characters of a kernel's operators


def levels_table(report: Report, capacity: int | None) -> RenderableType:
    """Return the totals of all levels; of ``cached`` when a capacity is given."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="bytes that move", title_justify="left")
    table.add_column("level")
    for head in ("read", "weights", "cache", "written", "all", "FLOPs a byte"):
        table.add_column(head, justify="right")
    levels = [report.traffic("unfused"), report.traffic("fused"), report.traffic("minimum")]
    if capacity is not None:
        levels.insert(2, report.traffic("cached", capacity))
    for level in levels:
        name = level.level if level.capacity is None else f"cached ({human(level.capacity, 'B')})"
        sign = ">=" if level.trust == "unknown" else ""
        amounts = (level.read, level.weights, level.cache, level.written, level.bytes)
        table.add_row(name, *(cell(amount, sign, "B") for amount in amounts), _intensity(level.intensity))
    return table


def traffic_table(traffic: Traffic, top: int | None) -> RenderableType:
    """Return the kernels of a level, those first that move most."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    kernels = list(traffic.kernels)
    weight = rough(kernel.bytes for kernel in kernels)
    order = sorted(range(len(kernels)), key=lambda i: weight[i], reverse=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column("kernel", footer="total", overflow="fold")
    table.add_column("operators", footer=f"{len(kernels)} kernels", overflow="fold")
    sums = (traffic.bytes, traffic.read, traffic.weights, traffic.cache, traffic.written)
    for head, total in zip(("bytes", "read", "weights", "cache", "written"), sums, strict=True):
        table.add_column(head, justify="right", footer=cell(total, unit="B"))
    table.add_column("FLOPs", justify="right", footer=cell(traffic.report.flops))
    table.add_column("a byte", justify="right", footer=_intensity(traffic.intensity))
    for i in order[:top]:
        kernel = kernels[i]
        amounts = (kernel.bytes, kernel.read, kernel.weights, kernel.cache, kernel.written)
        table.add_row(
            Text(kernel.name),
            Text(_ops(kernel)),
            *(cell(amount, unit="B") for amount in amounts),
            cell(kernel.flops),
            _intensity(kernel.intensity),
        )
    return table


def _ops(kernel: Kernel) -> str:
    counted = Counter(kernel.ops)
    text = ", ".join(op if times == 1 else f"{times} {op}" for op, times in counted.items())
    return text if len(text) <= MOST_OPS else text[: MOST_OPS - 1] + "…"


def _intensity(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def memory_table(memory: Memory, top: int | None) -> RenderableType:
    """Return the peak, the timeline and the tensors that are there at the peak."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    sums = Table(box=None, show_header=False, pad_edge=False)
    sums.add_column()
    sums.add_column(justify="right")
    sums.add_column(justify="right")
    for label, number in (("weights", memory.weights), ("activations", memory.activations), ("peak", memory.peak)):
        sums.add_row(f"  {label}", cell(number, ">=" if memory.trust == "unknown" else "", "B"), digits(number))
    parts: list[RenderableType] = [sums]
    line = timeline(memory)
    if line:
        rows = len(memory.timeline)
        parts += [Text(), Text(f"  activations over {rows} rows, up to {human(memory.activations, 'B')}"), Text(line)]
    if memory.row is None:
        if len(memory.timeline):
            parts += [Text(), Text("  Where the peak is depends on sizes that are free: bind them to see it.")]
        return Group(*parts)
    row = memory.report.rows[memory.row]
    title = f"at the peak, row {memory.row}: {row.path} ({row.op})"
    return Group(*parts, Text(), *alive_parts(title, memory.alive, top, "rows"))


def alive_parts(title: str, alive: Sequence[Held], top: int | None, unit: str) -> list[RenderableType]:
    """Return the tensors that are there at a peak, and how many more there are."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for head in ("tensor", "what", "type", "bytes", unit):
        table.add_column(head, justify="right" if head in ("bytes", unit) else "left", overflow="fold")
    for held in alive[:top]:
        kind = "" if held.dtype == "unknown" else type_text(held.dtype, held.shape, "tensor")
        table.add_row(Text(held.name), held.role, kind, cell(held.bytes, unit="B"), f"{held.first}-{held.last}")
    parts: list[RenderableType] = [table]
    if top is not None and len(alive) > top:
        parts.append(Text(f"  ... {len(alive) - top} more"))
    return parts


def digits(number: Number) -> str:
    """Return a number in full, where `cell` shortens it."""
    return f"{number:,}" if isinstance(number, int) and number >= 1000 else ""


def timeline(memory: Memory) -> str:
    """Return what is held over the rows as a line of bars; empty when sizes are free.

    Examples
    --------
    >>> import macsim
    >>> memory = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).memory()
    >>> len(timeline(memory))
    74
    """
    return bars(memory.timeline, memory.activations)


def bars(values: NDArray[Any], most: Number) -> str:
    """Return numbers in a line of bars, of which the highest stands for ``most``; empty when they are none."""
    if not len(values) or values.dtype == object or not isinstance(most, int) or most == 0:
        return ""
    count = min(MOST_BARS, len(values))
    cuts = [i * len(values) // count for i in range(count + 1)]
    highest = [int(values[a:b].max()) for a, b in itertools.pairwise(cuts)]
    return "  " + "".join(BARS[min(len(BARS) - 1, height * len(BARS) // most)] for height in highest)
