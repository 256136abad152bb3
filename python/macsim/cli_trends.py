# The command line: macsim trends.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""``macsim trends``: compute and energy of inference over the years, and where a model stands among them."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from macsim.trends import Count, Data, ModelRow

EXAMPLES = """\
examples:
  macsim trends                                       the lines: what a year multiplies by
  macsim trends --report DIR                          figures, a page to look into, Markdown, tables
  macsim trends --place my.onnx --top1 81.2           among its contemporaries
  macsim trends --place my.onnx --shape 1,3,224,224 --top1 81.2 --date 2024-05-01
  macsim trends --place my.onnx --top1 81.2 --report DIR    and on the charts
  macsim trends --report DIR --vision mine.csv        with rows of yours
  macsim trends --recount counts.csv                  count the models of the tables again: minutes
  macsim trends --recount counts.csv --report DIR     a report of the new counts, not of those that are stored

exit status: 0 done; 2 when a model or a table cannot be read.
"""


def add_trends(
    command: Callable[[str, str, str], argparse.ArgumentParser],
    add_inputs: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add ``macsim trends`` to the command line."""
    parser = command("trends", "show compute and energy of inference over the years", EXAMPLES)
    what = parser.add_argument_group("what is done (default: the lines)")
    what.add_argument("--report", metavar="DIR", help="write figures, a page, Markdown and tables there")
    what.add_argument(
        "--recount", metavar="FILE", help="count the models of the tables again, and write the counts there"
    )
    what.add_argument(
        "--place", dest="model", metavar="MODEL", help="put an .onnx, .pt2 or package.module:factory among them"
    )
    tables = parser.add_argument_group("the tables")
    for name in ("vision", "language", "chips"):
        tables.add_argument(f"--{name}", metavar="FILE", help=f"a CSV table of {name} of yours, added to the rows")
    tables.add_argument("--study", action="store_true", help="the study's rows alone, none after 2021")
    placed = parser.add_argument_group("of the model that is placed")
    placed.add_argument("--top1", type=float, metavar="PERCENT", help="its accuracy on ImageNet")
    placed.add_argument("--glue", type=float, metavar="SCORE", help="its GLUE score: a language model")
    placed.add_argument("--date", metavar="DATE", help="of its release: YYYY-MM-DD (default: today)")
    inputs = argparse.ArgumentParser(add_help=False)
    add_inputs(inputs)
    for group in inputs._action_groups:
        for action in group._group_actions:
            if action.option_strings:
                placed._add_action(action)
    parser.set_defaults(run=run_trends, training=False)  # of one inference


def run_trends(arguments: argparse.Namespace) -> int:
    """Write, place, or print the lines, and return the exit status."""
    from macsim import trends
    from macsim.cli import UsageError

    if arguments.model is None and (arguments.top1 is not None or arguments.glue is not None or arguments.date):
        raise UsageError("--top1, --glue and --date are of a model: they go with --place")
    added = {name: getattr(arguments, name) for name in ("vision", "language", "chips")}
    data = trends.load(later=not arguments.study).extended(**added)
    if arguments.recount:
        data = data.recounted(count_again(arguments.recount))
    mine, said = (None, "") if arguments.model is None else place_model(data, arguments)
    if arguments.report:
        write(data, arguments.report, mine)
    sys.stdout.write(said)
    if arguments.model is None and not arguments.report and not arguments.recount:
        give_lines(data)
    return 0


@contextmanager
def bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show how far something is, on a terminal's standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[now]}"), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None, now="")
        yield lambda now, done, total: progress.update(task, completed=done, total=total, now=now)


def count_again(path: str) -> list[Count]:
    """Count the models of the tables, write the counts and return them."""
    from macsim.trends.recount import everything, recount, write_counts

    with bar("counting") as progress:
        rows = everything()
        progress("torch is loaded", 0, len(rows))
        counts = list(recount(rows, progress))
    write_counts(counts, path)
    sys.stdout.write(f"{path}: {len(counts)} models\n")
    return counts


def write(data: Data, folder: str, mine: ModelRow | None) -> None:
    """Write the report, with a model of the user's on the charts if there is one."""
    from macsim.trends.report import write_report

    with bar("writing") as progress:
        missing = write_report(data, folder, progress, mine)
    for text in missing:
        sys.stderr.write(f"macsim: left out: {text}\n")
    sys.stdout.write(os.path.join(folder, "report.md" if missing else "index.html") + "\n")


def place_model(data: Data, arguments: argparse.Namespace) -> tuple[ModelRow, str]:
    """Count a model; return it as a row, and what is to be said: where it stands, and the estimator's energy."""
    from macsim.cli import UsageError, counted
    from macsim.trends import ModelRow
    from macsim.trends.fits import day_of
    from macsim.trends.place import place, short
    from macsim.trends.recount import chip_of, energy_on

    if arguments.top1 is not None and arguments.glue is not None:
        raise UsageError("--top1 is of a vision model, --glue of a language model: give one")
    for name in ("top1", "glue"):
        score = getattr(arguments, name)
        if score is not None and not 1 <= score <= 100:
            raise UsageError(f"--{name} {score:g}: it is in percent, from 1 to 100")
    report = counted(arguments)
    for given in report.inputs:
        shape = given.shape or ()
        if len(shape) > 1 and isinstance(first := shape[0], int) and first > 1:
            sys.stderr.write(f"macsim: {given.name} is {first} x ...: if that is a batch, give 1, as the tables have\n")
    macs = report.macs
    if not isinstance(macs, int):
        free = macs.symbols
        sizes = " ".join(f"--dim {name}={1 if 'batch' in name.lower() else 'SIZE'}" for name in free)
        raise UsageError(f"the model's compute depends on {', '.join(free)}: give {sizes}, or --shape; the batch is 1")
    try:
        date = day_of(arguments.date) if arguments.date else datetime.date.today()
    except ValueError as error:
        raise UsageError(f"--date {arguments.date}: {error}; write YYYY-MM-DD") from error
    said = ""
    if chip := chip_of(date):
        energy = energy_on(chip, report)
        ends = f"{short(energy.low, 2)} to {short(energy.high, 2)}"
        said = f"macsim's estimator: {short(energy.joules)} J ({ends}) on {energy}"
    mine = ModelRow(
        name=os.path.basename(arguments.model),
        domain="vision" if arguments.glue is None else "language",
        date=date,
        gflops=2 * macs / 1e9,
        params=int(report.parameters) / 1e6 or None,
        score=arguments.top1 if arguments.glue is None else arguments.glue,
        size=None,
        extra_data="",
        architecture="",
        independent=None,
        independent_source="",
        confidence="high",
        basis="counted by macsim",
        note=said,
        origin=arguments.model,
    )
    found = place(data, mine.gflops, score=mine.score, date=date, domain=mine.domain, name=mine.name).lines()
    if said:
        found.insert(3, said)
    return mine, "".join(f"{line}\n" for line in found)


def give_lines(data: Data) -> None:
    """Print the lines."""
    from rich import box
    from rich.table import Table

    from macsim import trends
    from macsim.cli import put
    from macsim.trends.place import short

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("line", "rows", "first", "last", "a year", "doubles in", "R²"):
        table.add_column(head, justify="left" if head == "line" else "right")

    def add(name: str, line: trends.LogLine, unit: str) -> None:
        ends = [f"{short(line.at(date))} {unit} ({date:.1f})" for date in (line.first, line.last)]
        years = f"{line.doubling:.1f} years" if 0 < line.doubling < 100 else "-"
        table.add_row(name, str(line.points), *ends, f"x{line.per_year:.2f}", years, f"{line.r2:.2f}")

    for domain in ("vision", "language"):
        rows = [row for row in data.of(domain) if not row.is_later]
        best = "best of the year" if domain == "vision" else "most of the year"
        for unit, value in (("GFLOPs", None), ("J", trends.energy_of(data, domain))):
            three = trends.lines(rows, value)
            add(f"{domain}, all", three.all, unit)
            add(f"{domain}, {best}", three.best, unit)
            add(f"{domain}, mean of the year", three.mean, unit)
        add(f"chips, adapted to {domain}", trends.efficiency_line(data, domain), "GFLOPS/W")
    put(table)
