# Shows hardware tables: the list of chips, and every number of one, for terminals, pages and programs.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""What ``macsim hardware`` and ``docs/hardware.md`` show of the tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from macsim.hardware_quantity import Quantity, number
from macsim.show import markdown_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from macsim.hardware_types import Hardware, Link, MemoryLevel

UNKNOWN = "N/A"
COLUMNS = ("name", "chip", "kind", "launch", "process", "16 bit", "fp32", "memory", "bandwidth", "TDP")
UNITS = {"16 bit": "TFLOP/s", "fp32": "TFLOP/s", "memory": "GB", "bandwidth": "GB/s", "TDP": "W", "process": "nm"}
KEYS = ("name", "typical", "low", "high", "unit", "confidence", "status", "origin", "source", "note")
# What a table says of every chip of a kind, or says that it is not known.
EXPECTED = {
    "gpu": ("power.tdp", "power.idle", "power.static", "memory.dram.bandwidth", "memory.dram.path"),
    "cpu": ("power.tdp", "power.idle", "power.active", "memory.dram.bandwidth", "memory.dram.path"),
}


# The list of chips ----------------------------------------------------------------------------------------------------


def summary(chip: Hardware) -> dict[str, Any]:
    """Return a chip's line in the list: numbers in the units of `UNITS`, None where they are not known.

    Examples
    --------
    >>> import macsim
    >>> line = summary(macsim.hardware("a100"))
    >>> line["16 bit"], line["bandwidth"], line["TDP"]
    (312.0, 2039.0, 400.0)
    """
    main = chip.memory("dram")
    numbers = {
        "process": chip.process,
        "16 bit": chip.peak("bf16") or chip.peak("f16"),
        "fp32": chip.peak("f32", "vector") or chip.peak("f32"),
        "memory": main.capacity if main else None,
        "bandwidth": main.bandwidth if main else None,
        "TDP": chip.power.tdp,
    }
    told = {name: None if value is None else value.to(UNITS[name]).typical for name, value in numbers.items()}
    return {"name": chip.name, "chip": chip.title, "kind": chip.kind, "launch": chip.launch or None, **told}


def _cells(line: dict[str, Any]) -> list[str]:
    def cell(value: object) -> str:
        return UNKNOWN if value is None else number(value) if isinstance(value, float) else str(value)

    return [cell(line[name]) for name in COLUMNS]


def heads() -> list[str]:
    """Return the heads of the list, with units."""
    return [f"{name} ({UNITS[name]})" if name in UNITS else name for name in COLUMNS]


def list_table(chips: Iterable[Hardware]) -> RenderableType:
    """Return the list for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in COLUMNS:
        head = f"{name}\n{UNITS[name]}" if name in UNITS else name
        table.add_column(head, justify="right" if name in UNITS else "left", no_wrap=name not in ("chip",))
    kind = ""
    for chip in sorted(chips, key=lambda chip: (chip.kind, chip.vendor, chip.launch, chip.name)):
        if kind and chip.kind != kind:
            table.add_section()
        kind = chip.kind
        texts = [Text(text, style="dim" if text == UNKNOWN else "") for text in _cells(summary(chip))]
        texts[0].stylize("bold")
        table.add_row(*texts)
    return table


def list_markdown(chips: Iterable[Hardware]) -> str:
    """Return the list as a table of Markdown."""
    lines = [markdown_line(heads()), markdown_line(["---:" if name in UNITS else "---" for name in COLUMNS])]
    return "\n".join([*lines, *(markdown_line(_cells(summary(chip))) for chip in chips)]) + "\n"


# One chip -------------------------------------------------------------------------------------------------------------


def lines_of(chip: Hardware) -> list[tuple[str, Quantity | None]]:
    """Return the numbers of a chip by name: prices that are one number share a line, and what is not known has one.

    Examples
    --------
    >>> import macsim
    >>> lines = dict(lines_of(macsim.hardware("h100")))
    >>> [name for name in lines if "div" in name]
    ['energy.{div,exp,log,sqrt,trig}.*', 'energy.{div,exp,log,sqrt,trig}.f64']
    """
    numbers = dict(chip.numbers())
    shared: dict[tuple[str, Quantity], list[str]] = {}
    for name, quantity in numbers.items():
        if name.startswith("energy."):
            _, kind, dtype = name.split(".")
            shared.setdefault((dtype, quantity), []).append(kind)
    lines: dict[str, Quantity | None] = {}
    for name, quantity in numbers.items():
        if not name.startswith("energy."):
            lines[name] = quantity
            continue
        _, kind, dtype = name.split(".")
        kinds = shared[dtype, quantity]
        lines.setdefault(f"energy.{'{' + ','.join(kinds) + '}' if len(kinds) > 1 else kind}.{dtype}", quantity)
    expected = EXPECTED.get("cpu" if chip.kind == "cpu" else "gpu" if chip.kind != "technology" else "", ())
    lines.update({name: None for name in expected if name not in numbers})
    if chip.kind not in ("cpu", "technology") and not any(name.startswith("energy.mac") for name in numbers):
        lines["energy.mac"] = None
    return list(lines.items())


def origin(quantity: Quantity) -> str:
    """Say where a number stands: in the table itself, in another, or in none, and then what rule made it."""
    return "its table" if quantity.status == "stated" else f"{quantity.status}: {quantity.origin}"


def facts(chip: Hardware) -> list[tuple[str, str]]:
    """Return what a table says in words."""
    parts: list[MemoryLevel | Link] = [*chip.levels, *chip.links]
    technologies = [part.technology for part in parts if part.technology]
    told = {
        "kind": chip.kind,
        "vendor": chip.vendor,
        "launch": chip.launch,
        "cores": str(chip.cores or ""),
        "aliases": ", ".join(chip.aliases),
        "inherits": ", ".join(dict.fromkeys([*technologies, *chip.inherits])),
    }
    return [*((name, text) for name, text in told.items() if text), *(("note", note) for note in chip.notes)]


def page(chip: Hardware) -> RenderableType:
    """Return everything that is known of a chip, for a terminal."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    words = Table.grid(padding=(0, 2))
    for name, text in facts(chip):
        words.add_row(Text(name, style="dim"), Text(text))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name, right in (("", False), ("typical", True), ("low to high", True), ("unit", False)):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    table.add_column("confidence")
    table.add_column("from", overflow="fold")
    table.add_column("source", justify="right")
    sources: dict[str, int] = {}
    notes: list[tuple[str, str]] = []
    section = ""
    for name, quantity in lines_of(chip):
        if section and name.partition(".")[0] != section:
            table.add_section()
        section = name.partition(".")[0]
        if quantity is None:
            table.add_row(Text(name), Text(UNKNOWN, style="dim"), "", "", "", "", "")
            continue
        index = sources.setdefault(quantity.source, len(sources) + 1)
        if quantity.note:
            notes.append((name, quantity.note))
        style = {"high": "", "medium": "", "low": "yellow"}[quantity.confidence]
        table.add_row(
            Text(name),
            Text(number(quantity.typical), style="bold"),
            Text(quantity.range),
            Text("" if quantity.unit == "1" else quantity.unit),
            Text(quantity.confidence, style=style),
            Text(origin(quantity), style="" if quantity.status == "stated" else "dim"),
            Text(f"[{index}]"),
        )
    listed = Table.grid(padding=(0, 1))
    for source, index in sources.items():
        listed.add_row(Text(f"[{index}]"), Text(source))
    remarks = Table.grid(padding=(0, 2))
    for name, note in notes:
        remarks.add_row(Text(name, style="dim"), Text(note))
    title = Text.assemble((chip.name, "bold"), f": {chip.title}")
    parts: list[RenderableType] = [title, words, Text(""), table]
    if notes:
        parts += [remarks, Text("")]
    return Group(*parts, listed)


def records(chip: Hardware) -> list[dict[str, Any]]:
    """Return every number of a chip as plain data."""
    return [{"name": name, **quantity.to_dict()} for name, quantity in chip.numbers()]


def page_markdown(chip: Hardware) -> str:
    """Return everything that is known of a chip as Markdown."""
    lines = [f"## {chip.name}", "", f"{chip.title}.", ""]
    lines += [f"- {name}: {text}" for name, text in facts(chip)]
    lines += ["", number_table(lines_of(chip))]
    return "\n".join(lines)


def number_table(lines: Iterable[tuple[str, Quantity | None]]) -> str:
    """Return numbers with all that is known of them, as a table of Markdown."""
    names = ("number", "typical", "low to high", "unit", "confidence", "from", "source")
    rows = [markdown_line(names), markdown_line(["---", "---:", "---:", "---", "---", "---", "---"])]
    for name, one in lines:
        if one is None:
            rows.append(markdown_line([f"`{name}`", UNKNOWN, "", "", "", "", ""]))
            continue
        source = f"{one.source} ({one.note})" if one.note else one.source
        unit = "" if one.unit == "1" else one.unit
        texts = [f"`{name}`", number(one.typical), one.range, unit, one.confidence, origin(one), source]
        rows.append(markdown_line(texts))
    return "\n".join(rows) + "\n"


def to_csv(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Return rows as CSV; what is not known is an empty cell."""
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
