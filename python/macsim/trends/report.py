# The study as a folder: figures, a page, a Markdown report and its tables.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The study as a folder: Markdown, figures, a page, tables."""

from __future__ import annotations

import csv
import os
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from macsim.errors import RequestError
from macsim.estimate_show import si
from macsim.trends.charts import Chart, charts
from macsim.trends.fits import LogLine, bootstrap
from macsim.trends.method import efficiency_line, energy_of, forecast, lines
from macsim.trends.place import place, short
from macsim.trends.recount import compare
from macsim.trends.rows import ModelRow
from macsim.trends.tables import Data

__all__ = ["markdown", "write_report"]


def write_report(
    data: Data,
    folder: str | os.PathLike[str],
    progress: Callable[[str, int, int], None] | None = None,
    mine: ModelRow | None = None,
) -> list[str]:
    """Write the report: ``report.md``, ``index.html``, a figure for each chart and the tables.

    Parameters
    ----------
    data : Data
    folder : path
        Made when it is not there.
    progress : callable, optional
        Called before each file with its name, how many are done, and how many there are.
    mine : ModelRow, optional
        A model to put on the charts.

    Returns
    -------
    list of str
        What was left out, as what it needs is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from macsim import trends
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     missing = write_report(trends.load(), folder)  # doctest: +SKIP
    """
    room = Path(folder)
    room.mkdir(parents=True, exist_ok=True)
    drawn, missing = charts(data, mine), []
    files: dict[str, Callable[[Path], None]] = {"index.html": lambda path: _page(drawn, path)}
    files["models.csv"] = lambda path: _models(data, path)
    for chart in drawn:
        files[f"{chart.key}.svg"] = partial(_picture, chart)
    pictures = True
    for index, (name, write) in enumerate(files.items()):
        if progress is not None:
            progress(name, index, len(files))
        try:
            write(room / name)
        except RequestError as error:
            missing.append(str(error))
            pictures = pictures and not name.endswith(".svg")
    (room / "report.md").write_text(markdown(data, drawn, pictures=pictures, mine=mine), encoding="utf-8")
    if progress is not None:
        progress("", len(files), len(files))
    return list(dict.fromkeys(missing))


def _page(drawn: Sequence[Chart], path: Path) -> None:
    from macsim.trends.page import page

    path.write_text(page(drawn), encoding="utf-8")


def _picture(chart: Chart, path: Path) -> None:
    from macsim.trends.plots import save

    save(chart, path)


def _models(data: Data, path: Path) -> None:
    """Write every model with its basis and what is worked out for it."""
    head = ("model", "domain", "date", "gflops", "joules_by_line", "params_M", "score", "size", "macsim_gflops")
    estimate = ("joules_by_estimator", "joules_low", "joules_high", "estimated_on")
    joules = {domain: energy_of(data, domain) for domain in ("vision", "language")}
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*head, *estimate, "confidence", "basis", "note", "origin"))
        for row in data.models:
            count = data.count(row.name)
            values = (row.name, row.domain, row.date, f"{row.gflops:.6g}", f"{joules[row.domain](row):.4g}", row.params)
            counted = f"{count.gflops:.6g}" if count else ""
            estimated: tuple[object, ...] = ("",) * len(estimate)
            if count and (energy := count.energy):
                estimated = (f"{energy.joules:.4g}", f"{energy.low:.4g}", f"{energy.high:.4g}", energy)
            source = (row.confidence, row.basis, row.note, row.origin)
            writer.writerow((*values, row.score, row.size, counted, *estimated, *source))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows), ""]


def _fitted(name: str, line: LogLine, start: float, end: float) -> list[str]:
    low, high = line.slope_band()
    years = f"{line.doubling:.1f}" if line.doubling > 0 else "-"
    return [
        name,
        str(line.points),
        short(line.at(start)),
        short(line.at(end)),
        f"{line.per_year:.2f} ({low:.2f} to {high:,.2f})",
        years,
        f"{line.r2:.2f}",
    ]


def _fits(data: Data) -> list[str]:
    rows = []
    for domain, start, end in (("vision", 2012.415, 2021.5), ("language", 2017.5, 2020.5)):
        study = [row for row in data.of(domain) if not row.is_later]
        best = "best of the year" if domain == "vision" else "most of the year"
        for what, value in (("GFLOPs", None), ("joules", energy_of(data, domain))):
            three = lines(study, value)
            for name, line in (("all", three.all), (best, three.best), ("mean of the year", three.mean)):
                rows.append(_fitted(f"{domain}, {what}, {name}", line, start, end))
        rows.append(_fitted(f"GFLOPS/W adapted to {domain}", efficiency_line(data, domain), start, end))
    head = ("line", "rows", "at its start", "at its end", "a year x (95 %)", "doubles in years", "R²")
    text = (
        "Vision is read at 2012-06 and 2021-07, language at 2017-07 and 2020-07, inside the years of the rows. The "
        "paper's lines through the means of the years are not reproduced with confidence."
    )
    return ["## Lines", "", text, "", *_table(head, rows)]


def _sensitivity(data: Data) -> list[str]:
    rows = []
    for domain in ("vision", "language"):
        study = [row for row in data.of(domain) if not row.is_later]
        dates = [row.date for row in study]
        for what, value in (
            ("GFLOPs", [row.gflops for row in study]),
            ("joules", [*map(energy_of(data, domain), study)]),
        ):
            for name, families in (("models", None), ("dates, as families share one", dates)):
                drawn = bootstrap(dates, value, families, draws=400)
                low, middle, high = drawn.per_year
                ends = [f"{one:.2f}" for one in drawn.r2]
                rows.append(
                    [
                        f"{domain}, {what}",
                        name,
                        f"{middle:.2f} ({low:.2f} to {high:.2f})",
                        f"{ends[1]} ({ends[0]} to {ends[2]})",
                    ]
                )
    head = ("line through all", "what is drawn", "a year x (95 %)", "R² (95 %)")
    text = "Rows drawn again with replacement, 400 times: how much a line hangs on which models are in it."
    return ["## How sure the lines through all models are", "", text, "", *_table(head, rows)]


def _use(data: Data) -> list[str]:
    rows = []
    for domain in ("vision", "language"):
        study = [row for row in data.of(domain) if not row.is_later]
        three = lines(study, energy_of(data, domain))
        for name, line in (("all", three.all), ("best" if domain == "vision" else "most", three.best)):
            for each in (10, 1000, 86_400):
                found = forecast(line, line.last, inferences=each)
                rows.append(
                    [
                        f"{domain}, {name}",
                        f"{found.date:.1f}",
                        f"{each:,}",
                        f"{short(found.joules)} ({short(found.low, 2)} to {short(found.high, 2)})",
                        si(found.per_person, "W"),
                        f"{short(found.of_internal, 2)} x" if found.of_internal >= 1e-4 else "less than 0.0001 x",
                    ]
                )
    head = (
        "line",
        "date",
        "inferences of a person in a day",
        "J each (95 % of models)",
        "power for a person",
        "a body's 100 W",
    )
    text = "One inference says little: what it is multiplied by decides. 86,400 in a day are one each second."
    return ["## What use multiplies", "", text, "", *_table(head, rows)]


def _recounted(data: Data) -> list[str]:
    found = compare(data)
    near = sum(abs(one.independent - 1) <= 0.03 for one in found if one.independent)
    both = sum(one.independent is not None for one in found)
    same = sum(abs(one.ratio - 1) <= 0.03 for one in found)
    rows = []
    for one in sorted(found, key=lambda one: (one.row.domain != "vision", one.row.date)):
        second = short(one.row.independent, 4) if one.row.independent else ""
        ratio = f"{one.independent:.3f}" if one.independent else ""
        size = f"{one.count.size} {'px' if one.row.domain == 'vision' else 'tokens'}"
        rows.append(
            [
                one.row.name,
                size,
                short(one.count.gflops, 4),
                short(one.row.gflops, 4),
                f"{one.ratio:.3f}",
                second,
                ratio,
                one.cause,
            ]
        )
    head = ("model", "at", "macsim", "published", "ratio", "second source", "ratio", "cause, where more than 3 %")
    text = (
        f"GFLOPs, a multiply-accumulate being 2. {same} of {len(found)} models agree with the published value within "
        f"3 %, {near} of {both} models agree with a second public source. GMACs in causes are half as many. "
        "`macsim trends --recount counts.csv` counts them again."
    )
    return ["## Counted again by macsim", "", text, "", *_table(head, rows)]


def _uncounted(data: Data) -> list[str]:
    rows = [row for row in data.models if data.count(row.name) is None]
    if not rows:
        return []
    cells = [[row.name, short(row.gflops, 4), data.causes.get(row.name, f"a row of {row.origin}")] for row in rows]
    return ["## Not counted", "", *_table(("model", "published GFLOPs", "cause"), cells)]


def _two_methods(data: Data) -> list[str]:
    """Say by chip how far the estimator is from the efficiency line."""
    joules = {domain: energy_of(data, domain) for domain in ("vision", "language")}
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row in sorted(data.models, key=lambda row: (row.domain != "vision", row.date)):
        count = data.count(row.name)
        if count and count.energy:
            key = (row.domain, count.energy.chip, count.energy.dtype)
            groups.setdefault(key, []).append(count.energy.joules / joules[row.domain](row))
    rows = [
        [*key, str(len(ratios)), f"{statistics.median(ratios):.2g}", f"{min(ratios):.2g} to {max(ratios):.2g}"]
        for key, ratios in groups.items()
    ]
    if not rows:
        return []
    text = (
        "The study divides compute by the efficiency line at the release date: a chip that is fully used. "
        "`Report.estimate` has one inference, batch 1, on the newest of these chips at the release, on as many as hold "
        "the weights: what is computed, bytes that move, launches of kernels and static power. `models.csv` has both "
        "for each model, with a 90 % interval and the chip."
    )
    head = ("domain", "chip", "floats", "models", "estimator / line, median", "range")
    return ["## Energy by two methods", "", text, "", *_table(head, rows)]


def _later(data: Data) -> list[str]:
    rows = [row for row in data.models if row.is_counted]
    if not rows:
        return []
    joules = {domain: energy_of(data, domain) for domain in ("vision", "language")}
    cells = []
    for row in sorted(rows, key=lambda row: (row.domain != "vision", row.date)):
        score = f"{row.score:g}" if row.score else ""
        size = f"{row.size} {'px' if row.domain == 'vision' else 'tokens'}"
        count = data.count(row.name)
        energy = count.energy if count else None
        cells.append(
            [
                row.name,
                f"{row.date:%Y-%m}",
                size,
                short(row.params or 0, 4),
                short(row.gflops, 4),
                short(joules[row.domain](row)),
                f"{short(energy.joules)} ({short(energy.low, 2)} to {short(energy.high, 2)})" if energy else "",
                str(energy) if energy else "",
                score,
                row.confidence,
                f"{row.basis}{'; ' + row.note if row.note else ''}",
            ]
        )
    energies = ("J, line extended", "J, estimator (90 %)", "on")
    head = ("model", "date", "at", "parameters (M)", "GFLOPs", *energies, "top-1", "confidence", "basis")
    text = (
        "Their compute is macsim's count. Joules are those of the study's efficiency line, extended beyond its chips "
        "of 2021, and of macsim's estimator."
    )
    return ["## After the study", "", text, "", *_table(head, cells)]


def _mine(data: Data, mine: ModelRow) -> list[str]:
    found = place(data, mine.gflops, score=mine.score, date=mine.date, domain=mine.domain, name=mine.name)
    said = found.lines()
    said[3:3] = [mine.note] if mine.note else []
    return [f"## {mine.name}", "", *(f"- {line}" for line in said), ""]


def markdown(data: Data, drawn: Sequence[Chart] = (), *, pictures: bool = False, mine: ModelRow | None = None) -> str:
    """Return the report as Markdown.

    Parameters
    ----------
    data : Data
    drawn : sequence of Chart
        Whose notes are in it.
    pictures : bool
        Whether their figures are beside it.
    mine : ModelRow, optional
        A model, of which it says where it stands.

    Examples
    --------
    >>> from macsim import trends
    >>> markdown(trends.load()).splitlines()[0]
    '# Compute and energy of inference over the years'
    """
    transcribed = [row for row in data.models if row.is_of_paper and not row.given]
    given = sum(row.given for row in data.models)
    others = f"{'given by the user, ' if given else ''}recalled, from their own publications or counted"
    text = [
        "# Compute and energy of inference over the years",
        "",
        "After R. Desislavov, F. Martínez-Plumed, J. Hernández-Orallo, *Compute and Energy Consumption Trends in Deep "
        "Learning Inference*, arXiv 2109.05472: one forward pass at batch 1, energy as compute over the efficiency of "
        "chips at the release date. Thermal design power and full use of the chip are assumed.",
        "",
        f"Of {len(data.models)} models, {len(transcribed)} rows are transcribed from the paper's table. The others are "
        f"{others}, and no figure of the paper: `models.csv` has the basis of "
        "each. Lines and charts have rows of high and medium confidence.",
        "",
        *([] if mine is None else _mine(data, mine)),
        *_fits(data),
        *_sensitivity(data),
        *_use(data),
    ]
    if drawn:
        text += ["## Figures", ""]
        for chart in drawn:
            text += [f"### {chart.title}", ""]
            text += [f"![{chart.title}]({chart.key}.svg)", ""] if pictures else []
            text += [chart.note, ""]
    text += [*_recounted(data), *_uncounted(data), *_two_methods(data), *_later(data)]
    return "\n".join(text)
