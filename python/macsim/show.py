# What people look at: human numbers, the report as a table for terminals, pages and notebooks.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Tables of reports: for terminals (rich), notebooks (HTML) and pages (Markdown), all printed from one `View`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from macsim.errors import RequestError
from macsim.groups import quantity_of, rough
from macsim.rows import BYTES, NUMBERS, WORK

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

    from macsim._core import Diagnostic, Tensor, Total
    from macsim.groups import Groups, Key
    from macsim.report import Report
    from macsim.rows import Number, Row

CONVENTION = (
    "FLOPs: 2 for a MAC, 1 for every other scalar operation on floats; integer operations apart. "
    "Bytes: every node reads its inputs and writes its outputs once. 1 G = 1e9."
)
QUANTITIES = {
    "macs": "MACs", "macs_unmasked": "unmasked", "flops": "FLOPs", "int_ops": "int ops",
    "read": "read", "weights": "weights", "written": "written",
}  # fmt: skip
MOST_TEXT = 28  # characters of an expression in a cell
MOST_NAME = 36  # of a name that makes other columns go
GAP = 3  # between columns
MOST_INPUTS = 8
MOST_LINES = 50  # of groups that are looked at, not asked for
MOST_NOTES = 12
MOST_ALIKE = 4  # remarks of one code
_ASCII = str.maketrans({"─": "-", "━": "-", "│": "|", "…": "~", "·": "-"})


# Numbers. -------------------------------------------------------------------------------------------------------------


def human(number: Number, unit: str = "") -> str:
    """Return a number in four digits and a unit: ``4.089 G``; an expression as its text.

    Examples
    --------
    >>> human(4089184256), human(999), human(102_437_888, "B"), human(10**30)
    ('4.089 G', '999', '102.4 MB', '1.000e+30')
    """
    if not isinstance(number, int):
        return str(number)
    size = abs(number)
    if size < 1000:
        return f"{number} {unit}".rstrip()
    if size >= 10**21:
        return f"{number:.3e} {unit}".rstrip()
    scale = (len(str(size)) - 1) // 3
    value = number / 1000**scale
    if f"{abs(value):.4g}" in ("1000", "1e+03"):
        scale, value = scale + 1, value / 1000
    if scale > 6:
        return f"{number:.3e} {unit}".rstrip()
    digits = 3 - (len(str(int(abs(value)))) - 1)
    return f"{value:.{digits}f} {' kMGTPE'[scale].strip()}{unit}"


def exactly(number: Number) -> str:
    """Return every digit of a number, in groups of three; an expression as its text."""
    return f"{number:,}" if isinstance(number, int) else str(number)


def signed(sign: str, text: str) -> str:
    """Put the sign of a bound before a number."""
    return f"{sign} {text}" if sign else text


def cell(number: Number, sign: str = "", unit: str = "") -> str:
    """Return a number as a cell of a table: short, whatever it is."""
    text = human(number, unit)
    if not isinstance(number, int) and len(text) > MOST_TEXT:
        text = text[: MOST_TEXT - 1] + "…"
    return signed(sign, text)


def type_text(dtype: str, shape: tuple[Number, ...] | None, kind: str) -> str:
    """Return the type of a tensor: ``f32[1, 3, 224, 224]``."""
    sizes = "..." if shape is None else ", ".join(map(str, shape))
    return f"{'' if kind == 'tensor' else kind + ' of '}{dtype}[{sizes}]"


def tensor_text(tensor: Tensor) -> str:
    """Return the type of a tensor."""
    return type_text(tensor.dtype, tensor.shape, tensor.kind)


# The view. ------------------------------------------------------------------------------------------------------------


@dataclass
class View:
    """A report as texts, ready to be set."""

    title: str
    inputs: list[str] = field(default_factory=list)
    totals: list[tuple[str, str, str]] = field(default_factory=list)  # label, human, exact
    head: list[str] = field(default_factory=list)
    numeric: list[bool] = field(default_factory=list)  # which columns are numbers
    lines: list[list[str]] = field(default_factory=list)
    foot: list[str] = field(default_factory=list)
    rest: str = ""  # what the table leaves out
    notes: list[str] = field(default_factory=list)


def view_of(report: Report, by: Key, depth: int | None, top: int | None, sort: str | None) -> View:
    """Return the whole of a report, with a table of its groups."""
    model = report.model
    title = f"{model.name or 'model'}: {len(report.rows):,} nodes"
    view = View(title, _inputs(report.inputs), _totals(report))
    if by == "node":
        _node_lines(view, report, top, sort)
    else:
        groups = report.by(by, depth)
        _group_lines(view, groups.sort(sort) if sort else groups, report.total, top)
    view.notes = _notes(report)
    return view


def _inputs(tensors: Sequence[Tensor]) -> list[str]:
    shown = [f"{tensor.name}: {tensor_text(tensor)}" for tensor in tensors[:MOST_INPUTS]]
    if len(tensors) > MOST_INPUTS:
        shown.append(f"and {len(tensors) - MOST_INPUTS} more inputs")
    return shown


def _totals(report: Report) -> list[tuple[str, str, str]]:
    total = report.total
    out = []
    for name, label in (
        ("macs", "MACs"),
        ("macs_unmasked", "MACs unmasked"),
        ("flops", "FLOPs"),
        ("int_ops", "int ops"),
    ):
        number, sign = getattr(total, name), total.sign(name)
        if name == "macs_unmasked" and number == total.macs:
            continue
        if name != "int_ops" or number != 0 or sign:
            out.append(_line(label, number, sign))
    out.append(_line("parameters", report.parameters))
    out.append(_line("weight bytes", report.weight_bytes, unit="B"))
    for name in BYTES:
        label = {"read": "activations read", "weights": "weights read", "written": "written"}[name]
        out.append(_line(label, getattr(total, name), total.sign(name), "B"))
    return out


def _line(label: str, number: Number, sign: str = "", unit: str = "") -> tuple[str, str, str]:
    if isinstance(number, int):
        return label, signed(sign, human(number, unit)), exactly(number) if abs(number) >= 1000 else ""
    return label, signed(sign, f"{number}{' ' + unit if unit else ''}"), ""


def _columns(total: Total, sort: str | None) -> list[str]:
    """Return the quantities that deserve a column: those that are there, and the one that is sorted by."""
    names = [name for name in QUANTITIES if getattr(total, name) != 0 or total.sign(name) or name == "macs"]
    if total.macs_unmasked == total.macs:
        names = [name for name in names if name != "macs_unmasked"]
    if sort in WORK[1:]:
        names.insert(1, sort)
    return names


def _unit(name: str) -> str:
    return "B" if name in BYTES else ""


def _share(part: Number, whole: Number) -> str:
    if not isinstance(part, int) or not isinstance(whole, int) or whole <= 0:
        return ""
    return f"{100 * part / whole:.1f} %"


def _head(view: View, first: list[str], names: list[str]) -> None:
    view.head = [*first, "MACs", "", *(QUANTITIES.get(name, name) for name in names[1:])]
    view.numeric = [False] * len(first) + [True] * (len(names) + 1)


def _group_lines(view: View, groups: Groups, total: Total, top: int | None) -> None:
    names = _columns(total, None)
    _head(view, [groups.key, "nodes"], names)
    view.numeric[1] = True

    def line(title: str, group: Total) -> list[str]:
        cells = [cell(quantity_of(group, name), group.sign(name), _unit(name)) for name in names]
        return [title, f"{group.rows:,}", cells[0], _share(group.macs, total.macs), *cells[1:]]

    shown = groups if top is None else groups[:top]
    view.lines = [line(group.name or "(none)", group) for group in shown]
    view.foot = line("total", total)
    _without_empty(view)
    if len(shown) < len(groups):
        view.rest = f"{len(groups) - len(shown):,} more"


def _node_lines(view: View, report: Report, top: int | None, sort: str | None) -> None:
    names = _columns(report.total, sort)
    _head(view, ["node", "op", "output"], names)
    rows = report.rows
    order: Sequence[int] = range(len(rows))
    if sort:
        weight, other = _row_weights(report, sort), _row_weights(report, "flops")
        order = sorted(order, key=lambda i: (weight[i], other[i]), reverse=True)
    shown = order if top is None else order[:top]
    for index in shown:
        row = rows[index]
        cells = [cell(_row_quantity(row, name), _row_sign(row, name), _unit(name)) for name in names]
        output = tensor_text(row.outputs[0]) if row.outputs else ""
        view.lines.append([row.path, row.op, output, cells[0], _share(row.macs, report.macs), *cells[1:]])
    total = report.total
    cells = [cell(quantity_of(total, name), total.sign(name), _unit(name)) for name in names]
    view.foot = ["total", "", "", cells[0], "", *cells[1:]]
    _without_empty(view)
    if len(shown) < len(rows):
        view.rest = f"{len(rows) - len(shown):,} more"


def _without_empty(view: View) -> None:
    """Take out the columns in which nothing stands: there are no shares of an expression."""
    kept = [at for at in range(len(view.head)) if view.head[at] or any(line[at] for line in view.lines)]
    view.head = [view.head[at] for at in kept]
    view.numeric = [view.numeric[at] for at in kept]
    view.lines = [[line[at] for at in kept] for line in view.lines]
    view.foot = [view.foot[at] for at in kept]


def _row_weights(report: Report, sort: str) -> list[float]:
    name = "mac" if sort == "macs" else sort
    if name not in NUMBERS:
        raise RequestError(f"there is no quantity {sort!r}; there are {', '.join(NUMBERS)}")
    column = report.columns[name]
    return [float(value) for value in column] if column.dtype != object else rough(column)


def _row_quantity(row: Row, name: str) -> Number:
    return row.work[name] if name in WORK else getattr(row, name)


def _row_sign(row: Row, name: str) -> str:
    number = _row_quantity(row, name)
    if row.trust == "exact" or number == 0 or str(number) == "?":
        return ""
    return {"bound": "<=", "estimate": "~", "unknown": ""}[row.trust]


def _notes(report: Report) -> list[str]:
    notes = [CONVENTION]
    total = report.total
    if total.unknown:
        notes.append(f"{total.unknown:,} of {total.rows:,} nodes are unknown: sums with >= are at least that.")
    elif total.trust == "unknown":
        notes.append("A sum does not fit 128 bits: ? is unknown.")
    signs = {total.sign(name) for name in QUANTITIES}
    if "<=" in signs:
        notes.append("Sums with <= are at most that.")
    if "~" in signs:
        notes.append("Sums with ~ hold estimates.")
    free = report.unbound
    if free:
        shown = "; ".join(
            f"{symbol.name} ({symbol.why})" if symbol.why else symbol.name for symbol in free[:MOST_NOTES]
        )
        more = f"; and {len(free) - MOST_NOTES} more" if len(free) > MOST_NOTES else ""
        notes.append(f"To bind: {shown}{more}.")
    return notes + _remarks(report.diagnostics)


def _remarks(diagnostics: Sequence[Diagnostic]) -> list[str]:
    """Return the worst remarks first, a few of each code: one unknown operator may leave a hundred shapes unknown."""
    worst = sorted(diagnostics, key=lambda d: ("error", "warning", "note").index(d.severity))
    seen: dict[str, int] = {}
    shown: list[str] = []
    for remark in worst:
        seen[remark.code] = seen.get(remark.code, 0) + 1
        if seen[remark.code] <= MOST_ALIKE and len(shown) < MOST_NOTES:
            shown.append(str(remark))
    if len(shown) < len(worst):
        codes = ", ".join(f"{count} {code}" for code, count in seen.items())
        shown.append(f"{len(worst) - len(shown)} more remarks ({codes} in all): see diagnostics.")
    return shown


# Terminals. -----------------------------------------------------------------------------------------------------------


class _Grid:
    """The table of a view. Where it is too wide, the last quantities are left out, and named below it."""

    def __init__(self, view: View) -> None:
        self.view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        view = self.view
        lines = [view.head, *view.lines, *([view.foot] if view.foot else [])]
        widths = [max(len(line[at]) for line in lines) for at in range(len(view.head))]
        wide = [width if number else min(width, MOST_NAME) for width, number in zip(widths, view.numeric, strict=True)]
        least = view.numeric.index(True) + 2
        shown = len(wide)
        while shown > least and sum(wide[:shown]) + GAP * shown > options.max_width:
            shown -= 1
        yield self._table(shown)
        if shown < len(wide):
            yield Text(f"  no room for: {', '.join(view.head[shown:])}\n", style="dim")

    def _table(self, shown: int) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        view = self.view
        table = Table(box=box.SIMPLE_HEAD, show_footer=bool(view.foot), pad_edge=False)
        feet = view.foot or [""] * len(view.head)
        for head, number, foot in list(zip(view.head, view.numeric, feet, strict=True))[:shown]:
            table.add_column(
                Text(head),
                Text(foot),
                justify="right" if number else "left",
                style="" if number else "bold",
                footer_style="bold",
                no_wrap=number,
                overflow="ellipsis" if number else "fold",
            )
        for line in view.lines:
            table.add_row(*(Text(text) for text in line[:shown]))
        return table


def set_view(view: View) -> RenderableType:
    """Return a view as something that rich prints."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(view.title, style="bold")]
    parts += [Text(f"  {line}") for line in view.inputs]
    if view.totals:
        sums = Table(box=None, show_header=False, pad_edge=False)
        sums.add_column()
        sums.add_column(justify="left", style="bold cyan", overflow="fold")
        sums.add_column(justify="right", style="dim")
        for label, short, full in view.totals:
            sums.add_row(Text(label), Text(short), Text(full))
        parts.append(Padding(sums, (1, 0, 0, 2)))
    parts.append(_Grid(view))
    if view.rest:
        parts.append(Text(f"  ... {view.rest}\n", style="dim"))
    for note in view.notes:
        known = note[:2] == "MS" and note[2:5].isdigit()
        style = ("yellow" if " warning" in note[:14] else "red" if " error" in note[:12] else "dim") if known else "dim"
        parts.append(Text(note, style=style))
    return Group(*parts)


def report_table(report: Report, by: Key, depth: int | None, top: int | None, sort: str | None) -> RenderableType:
    """Return a report as something that rich prints."""
    return set_view(view_of(report, by, depth, top, sort))


def groups_view(groups: Groups, total: Total, top: int | None = None) -> View:
    """Return groups as texts."""
    view = View("")
    _group_lines(view, groups, total, top)
    return view


def groups_table(groups: Groups, total: Total, top: int | None = None) -> RenderableType:
    """Return groups as a table that rich prints."""
    from rich.console import Group
    from rich.text import Text

    view = groups_view(groups, total, top)
    return Group(_Grid(view), Text(f"... {view.rest}")) if view.rest else _Grid(view)


def plain(what: RenderableType, width: int = 0) -> str:
    """Return what rich would print, as text without colours; by default as wide as the terminal."""
    import io

    from rich.console import Console

    out = io.StringIO()
    width = width or max(shutil.get_terminal_size((120, 24)).columns, 60)
    Console(file=out, width=width, color_system=None, force_terminal=False, legacy_windows=False).print(what)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = text.translate(_ASCII)
    return text


# Notebooks and pages. -------------------------------------------------------------------------------------------------


def _html_table(view: View) -> str:
    from html import escape

    def cells(line: Sequence[str], tag: str) -> str:
        out = []
        for text, number in zip(line, view.numeric, strict=True):
            out.append(f'<{tag} style="text-align:{"right" if number else "left"}">{escape(text)}</{tag}>')
        return f"<tr>{''.join(out)}</tr>"

    body = "".join(cells(line, "td") for line in view.lines)
    foot = f"<tfoot>{cells(view.foot, 'th')}</tfoot>" if view.foot else ""
    rest = f"<div>... {escape(view.rest)}</div>" if view.rest else ""
    return f"<table><thead>{cells(view.head, 'th')}</thead><tbody>{body}</tbody>{foot}</table>{rest}"


def report_html(report: Report) -> str:
    """Return a report as HTML for a notebook."""
    from html import escape

    view = view_of(report, "op", None, 15, "macs")
    inputs = "".join(f"<li><code>{escape(line)}</code></li>" for line in view.inputs)
    sums = "".join(
        f'<tr><td style="text-align:left">{escape(label)}</td><td style="text-align:left"><b>{escape(short)}</b></td>'
        f'<td style="text-align:right">{escape(full)}</td></tr>'
        for label, short, full in view.totals
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in view.notes)
    return (
        f"<div><b>{escape(view.title)}</b><ul>{inputs}</ul><table><tbody>{sums}</tbody></table>"
        f"{_html_table(view)}<ul>{notes}</ul></div>"
    )


def groups_html(groups: Groups, total: Total) -> str:
    """Return groups as an HTML table for a notebook."""
    return _html_table(groups_view(groups, total, MOST_LINES))


def markdown_line(texts: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in texts) + " |"


def markdown_table(view: View) -> str:
    """Return the table of a view as Markdown."""
    rule = "| " + " | ".join("---:" if number else "---" for number in view.numeric) + " |"
    lines = [markdown_line(view.head), rule, *(markdown_line(texts) for texts in view.lines)]
    if view.foot:
        lines.append(markdown_line([f"**{text}**" if text else "" for text in view.foot]))
    if view.rest:
        lines += ["", f"... {view.rest}"]
    return "\n".join(lines) + "\n"
