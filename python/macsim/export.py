# Reports as data for other programs: plain dicts, CSV, Markdown, data frames.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Reports as data for other programs: plain dicts (the schema of the docs), CSV, Markdown, data frames."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from macsim import _core
from macsim.rows import BYTES, NUMBERS, TEXTS, WORK
from macsim.show import groups_view, markdown_line, markdown_table, type_text, view_of

if TYPE_CHECKING:
    import pandas as pd

    from macsim._core import Ledger, Tensor, Total
    from macsim.groups import Groups, Key
    from macsim.report import Report
    from macsim.rows import Number

SCHEMA = "macsim.report/1"
CONVENTION = {"flops_per_mac": 2, "flops_per_other": 1, "integer": "int_ops", "traffic": "unfused"}


def plain(number: Number | None) -> int | str | None:
    """Return a number as data: an int, or the text of an expression; None when unknown."""
    if number is None or isinstance(number, int):
        return number
    return str(number) if number.defined else None


def tensor_dict(
    name: str, slot: str, dtype: str, shape: tuple[Number, ...] | None, kind: str, role: str
) -> dict[str, Any]:
    """Return a tensor as data; what says nothing is left out."""
    sizes = None if shape is None else [size if type(size) is int else plain(size) for size in shape]
    out: dict[str, Any] = {"name": name, "dtype": dtype, "shape": sizes}
    if slot:
        out["slot"] = slot
    if kind != "tensor":
        out["kind"] = kind
    if role != "activation":
        out["role"] = role
    return out


def edge_dict(tensor: Tensor) -> dict[str, Any]:
    """Return an input or an output of the model as data."""
    return tensor_dict(tensor.name, tensor.slot, tensor.dtype, tensor.shape, tensor.kind, tensor.role)


def total_dict(total: Total) -> dict[str, Any]:
    """Return a sum as data; ``signs`` has the quantities that are not exact."""
    quantities = ("macs", "macs_unmasked", "flops", "int_ops", *BYTES)
    out: dict[str, Any] = {name: plain(getattr(total, name)) for name in quantities}
    out["work"] = {kind: plain(amount) for kind, amount in total.work.items()}
    out |= {"trust": total.trust, "rows": total.rows, "unknown": total.unknown}
    signs = {name: total.sign(name) for name in (*quantities, *WORK) if total.sign(name)}
    if signs:
        out["signs"] = signs
    return out


def row_dict(ledger: Ledger, index: int) -> dict[str, Any]:
    """Return a row as data."""
    texts, numbers, mac_dtypes, inputs, outputs = ledger.facts(index)
    out: dict[str, Any] = dict(zip(TEXTS, texts, strict=True))
    data = {name: plain(value) for name, value in zip(NUMBERS, numbers, strict=True)}
    macs = data["mac"]
    out |= {"times": data["times"], "macs": macs, "macs_unmasked": data["macs_unmasked"]}
    out |= {"flops": data["flops"], "int_ops": data["int_ops"]}
    out["work"] = {kind: data[kind] for kind in WORK if data[kind] != 0}
    out |= {name: data[name] for name in BYTES}
    if macs != 0:
        out["mac_dtypes"] = list(mac_dtypes)
    out["inputs"] = [tensor_dict(*tensor) for tensor in inputs]
    out["outputs"] = [tensor_dict(*tensor) for tensor in outputs]
    return out


def report_dict(report: Report, rows: bool = True) -> dict[str, Any]:
    """Return a report as data: the schema of the docs."""
    model = report.model
    out: dict[str, Any] = {
        "schema": SCHEMA,
        "macsim": _core.__version__,
        "convention": CONVENTION,
        "model": {
            "name": model.name,
            "producer": model.producer,
            "producer_version": model.producer_version,
            "ir_version": model.ir_version,
            "opsets": model.opsets,
            "nodes": model.nodes,
        },
        "inputs": [edge_dict(tensor) for tensor in report.inputs],
        "outputs": [edge_dict(tensor) for tensor in report.outputs],
        "unbound": [{"name": symbol.name, "why": symbol.why} for symbol in report.unbound],
        "total": total_dict(report.total)
        | {"parameters": plain(report.parameters), "weight_bytes": plain(report.weight_bytes)},
        "diagnostics": [
            {"code": d.code, "severity": d.severity, "where": d.where, "text": d.text, "hint": d.hint}
            for d in report.diagnostics
        ],
    }
    if rows:
        out["rows"] = [row_dict(report._ledger, index) for index in range(len(report.rows))]
    return out


# CSV and Markdown. ----------------------------------------------------------------------------------------------------


def _csv(head: Iterable[str], lines: Iterable[Iterable[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(lines)
    return out.getvalue()


def rows_csv(report: Report) -> str:
    """Return the rows as CSV, one for each node."""
    columns = report.columns

    def lines() -> Iterator[list[Any]]:
        arrays = [columns[name] for name in (*TEXTS, *NUMBERS)]
        for index, values in enumerate(zip(*arrays, strict=True)):
            edges = report._ledger.facts(index)[3:]
            yield [*values, *("; ".join(type_text(*tensor[2:5]) for tensor in side) for side in edges)]

    return _csv((*TEXTS, *NUMBERS, "inputs", "outputs"), lines())


def groups_csv(groups: Groups) -> str:
    """Return groups as CSV."""
    names = ("macs", "macs_unmasked", "flops", "int_ops", *BYTES)
    head = (groups.key, "rows", "unknown", "trust", *names, *WORK[1:])
    lines = (
        [
            g.name,
            g.rows,
            g.unknown,
            g.trust,
            *(getattr(g, name) for name in names),
            *(g.work[kind] for kind in WORK[1:]),
        ]
        for g in groups
    )
    return _csv(head, lines)


def report_markdown(report: Report, by: Key, depth: int | None, top: int | None, sort: str | None) -> str:
    """Return totals, groups and notes as Markdown."""
    view = view_of(report, by, depth, top, sort)
    lines = [f"## {view.title}", "", *(f"- `{line}`" for line in view.inputs), ""]
    lines += ["| total | | exactly |", "| --- | --- | ---: |"]
    lines += [markdown_line(texts) for texts in view.totals]
    lines += ["", markdown_table(view)]
    lines += [f"- {note}" for note in view.notes]
    return "\n".join(lines) + "\n"


def groups_markdown(groups: Groups) -> str:
    """Return groups as a Markdown table."""
    return markdown_table(groups_view(groups, groups._report.total))


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    """Write a text to a file, when there is one, and give it back."""
    if path is not None:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return text


# Data frames. ---------------------------------------------------------------------------------------------------------


def rows_frame(report: Report) -> pd.DataFrame:
    """Return the rows as a data frame."""
    import pandas

    return pandas.DataFrame(dict(report.columns))


def groups_frame(groups: Groups) -> pd.DataFrame:
    """Return groups as a data frame, indexed by name."""
    import pandas

    names = ("rows", "unknown", "trust", "macs", "macs_unmasked", "flops", "int_ops", *BYTES)
    data: dict[str, list[Any]] = {name: [getattr(group, name) for group in groups] for name in names}
    data |= {kind: [group.work[kind] for group in groups] for kind in WORK[1:]}
    return pandas.DataFrame(data, index=pandas.Index([group.name for group in groups], name=groups.key))
