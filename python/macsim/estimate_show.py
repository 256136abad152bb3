# Estimates as tables.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Tables of estimates and comparisons, for rich to print."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from macsim.calibrate import Calibration
    from macsim.compare import Comparison
    from macsim.estimate import Estimate
    from macsim.estimate_physics import Range
    from macsim.groups import Key

PREFIXES = {-12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}


def prefixed(value: float) -> tuple[float, str]:
    """Return the factor and the prefix in which a number has one to three digits before its point.

    Examples
    --------
    >>> prefixed(0.00123), prefixed(999.6)
    ((0.001, 'm'), (1000.0, 'k'))
    """
    if value == 0 or not math.isfinite(value):
        return 1.0, ""
    scale = min(15, max(-12, 3 * math.floor(math.log10(abs(value)) / 3)))
    if abs(value) / 10.0**scale >= 999.5 and scale < 15:
        scale += 3
    return 10.0**scale, PREFIXES[scale]


def si(value: float, unit: str) -> str:
    """Return a number in three digits, with a prefix before its unit.

    Examples
    --------
    >>> si(0.00123, "s"), si(4.2e6, "J"), si(0.0, "W"), si(999.6, "W"), si(1e-15, "J")
    ('1.23 ms', '4.2 MJ', '0 W', '1 kW', '0.001 pJ')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    factor, prefix = prefixed(value)
    return f"{value / factor:.3g} {prefix}{unit}"


def ranged(value: Range, unit: str) -> str:
    """Return a range in words: ``1.2 ms (1 ms to 1.5 ms)``."""
    if value.low == value.high:
        return si(value.typical, unit)
    return f"{si(value.typical, unit)} ({si(value.low, unit)} to {si(value.high, unit)})"


def missing_words(estimate: Estimate) -> str:
    """What is missing, in words; of a long list the beginning."""
    first, rest = estimate.missing[:4], estimate.missing[4:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")


def _table(*heads: tuple[str, str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for text, side in heads:
        table.add_column(text, justify="right" if side == "right" else "left", no_wrap=True)
    return table


def estimate_table(estimate: Estimate, by: Key, depth: int | None, top: int | None) -> RenderableType:
    """Return an estimate as a page: totals, what they are spent on, and the largest parts."""
    from rich.console import Group
    from rich.text import Text

    sign = f"{estimate.sign} " if estimate.sign else ""
    many = f", {estimate.devices} devices" if estimate.devices > 1 else ""
    title = Text(f"{estimate.report.model.name or 'model'} on {estimate.hardware.title}{many}", style="bold")
    lines = [
        f"  time    {sign}{ranged(estimate.seconds, 's')}, bound by {estimate.bound}",
        f"  energy  {sign}{ranged(estimate.joules, 'J')}, of the device",
        f"  power   {ranged(estimate.watts, 'W')}" + (", at its limit: time is stretched" if estimate.capped else ""),
    ]
    total = estimate.joules.typical or 1.0
    spent = [
        f"{name} {100 * value.typical / total:.0f} %" for name, value in estimate.energy.items() if value.typical > 0
    ]
    roof = estimate.roofline
    lines += [
        f"  spent   {', '.join(spent) or 'on nothing that is known'}",
        f"  roof    {roof.intensity:.3g} operations a byte (ridge {roof.ridge:.3g}); "
        f"{si(roof.reached, 'OP/s')}, {100 * roof.share:.0f} % of the roof",
    ][: None if estimate.seconds.typical else 1]
    table = _table(
        (by, "left"), ("time", "right"), ("", "right"), ("energy", "right"), ("", "right"), ("bound", "left")
    )
    groups = sorted(estimate.by(by, depth), key=lambda group: -group.joules.typical)
    for group in groups[:top]:
        if group.seconds.typical > 0:
            part = (group.seconds.typical / (estimate.seconds.typical or 1.0), group.joules.typical / total)
            cells = (si(group.seconds.typical, "s"), f"{100 * part[0]:.1f} %", si(group.joules.typical, "J"))
            table.add_row(group.name, *cells, f"{100 * part[1]:.1f} %", group.bound)
    notes = [f"without {missing_words(estimate)}: bounds from below"] if estimate.missing else []
    notes += [f"assumed: {words}" for words in estimate.assumed]
    notes.append("Ranges are 90 % intervals of what the table's constants leave open.")
    return Group(title, *map(Text, lines), table, *(Text(note, style="dim") for note in notes))


def comparison_table(comparison: Comparison) -> RenderableType:
    """Return a comparison as a table: a line for each chip and set of sizes."""
    from rich.console import Group
    from rich.text import Text

    names = list(comparison.sizes)
    heads = [("chip", "left"), *((name, "right") for name in names)]
    heads += [("time", "left"), ("energy", "left"), ("power", "right"), ("bound", "left")]
    table = _table(*heads)
    notes: dict[str, None] = {}
    for record in comparison.records():
        sign = f"{record['sign']} " if record["sign"] else ""
        cells: list[Any] = [record["hardware"], *(str(record[name]) for name in names)]
        cells += [sign + ranged(record["seconds"], "s"), sign + ranged(record["joules"], "J")]
        table.add_row(*cells, si(record["watts"].typical, "W"), record["bound"])
    for chip, estimate in comparison.estimates.items():
        if estimate.missing:
            notes[f"{chip}: without {missing_words(estimate)}: bounds from below"] = None
        notes.update(dict.fromkeys(f"{chip}: assumed: {words}" for words in estimate.assumed))
    return Group(table, *(Text(note, style="dim") for note in notes))


UNITS = {
    "efficiency.compute": (1.0, "of the peak"),
    "efficiency.memory": (1.0, "of the bandwidth"),
    "launch.overhead": (1e6, "us"),
    "memory.dram.path": (1e12, "pJ/B"),
    "power.static": (1.0, "W"),
}


def calibration_table(found: Calibration) -> RenderableType:
    """Return a calibration as a table: what was fitted, from where, and how good it is."""
    from rich.console import Group
    from rich.text import Text

    table = _table(("constant", "left"), ("fitted", "right"), ("90 % interval", "right"), ("unit", "left"))
    for name, spread in found.constants().items():
        scale, unit = UNITS.get(name, (1e12, "pJ/MAC"))
        low, typical, high = (f"{scale * value:.3g}" for value in (spread.low, spread.typical, spread.high))
        table.add_row(name, typical, f"{low} to {high}", unit)
    lines = [f"  seconds  {found.seconds.words()}"]
    if found.joules is not None:
        lines.append(f"  joules   {found.joules.words()}")
    title = f"{found.base.title}: {len(found.cases)} measurements of {len({case.group for case in found.cases})} models"
    return Group(Text(title, style="bold"), *map(Text, lines), table)
