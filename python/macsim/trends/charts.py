# What each chart of the study shows: axes, points, lines and what it rests on. Drawn by plots and by the page.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The charts of the study as data: axes, points, lines, and a note of rows, basis and R²."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from macsim.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY
from macsim.trends.fits import LogLine, fit, year_of
from macsim.trends.method import HUMAN_POWER, efficiencies, efficiency_line, energy_of, lines, theoretical_efficiency
from macsim.trends.place import short
from macsim.trends.recount import compare
from macsim.trends.rows import ModelRow
from macsim.trends.tables import Data

__all__ = ["Axis", "Chart", "Series", "charts"]

FEW = 300  # a logarithmic axis that does not span more has numbers between the powers of ten


@dataclass(frozen=True)
class Axis:
    """An axis: what it shows, with its unit."""

    label: str
    log: bool = False


@dataclass(frozen=True)
class Series:
    """Points or a line.

    Attributes
    ----------
    label : str
    x, y : tuple of float
    kind : {'points', 'line', 'band'}
        A band has its other edge in `low`.
    names : tuple of str
        Of the points, one each.
    colour, marker : str
        Markers are matplotlib's ``o``, ``s``, ``^``, ``D``, ``v``, ``X``, ``*``.
    sizes : tuple of float
        Areas of the points, relative; empty for equal ones.
    shades : tuple of float
        Numbers that colour the points, in place of `colour`.
    low, high : tuple of float
        Of a band, `low` alone; of points, the ends of their intervals, if they have any.
    dashed : bool
    told : tuple of int
        Which points have their names written beside them.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    kind: str = "points"
    names: tuple[str, ...] = ()
    colour: str = BLUE
    marker: str = "o"
    sizes: tuple[float, ...] = ()
    shades: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    dashed: bool = False
    told: tuple[int, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes
    ----------
    key, title : str
    x, y : Axis
    series : tuple of Series
    note : str
        Rows, basis and R².
    shade : str
        What the shades of points say.
    """

    key: str
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    note: str
    shade: str = ""


DATE = Axis("Release date")
GFLOPS = Axis("GFLOPs of one forward pass (batch 1)", log=True)
JOULES = Axis("Joules of one inference", log=True)
TOP1 = Axis("Top-1 accuracy on ImageNet (%)")
GLUE = Axis("GLUE score")
WATT = Axis("GFLOPS/W", log=True)

Value = Callable[[ModelRow], float]


def _told(line: LogLine) -> str:
    return f"x{line.per_year:.2f} a year, R² {line.r2:.2f}"


def _points(
    label: str, rows: Sequence[ModelRow], x: Value, y: Value, colour: str, marker: str, *, told: Sequence[str] = ()
) -> Series:
    names = tuple(f"{row.name} ({row.date:%Y-%m})" for row in rows)
    beside = tuple(index for index, row in enumerate(rows) if row.name in told)
    return Series(
        label,
        tuple(x(row) for row in rows),
        tuple(y(row) for row in rows),
        names=names,
        colour=colour,
        marker=marker,
        told=beside,
    )


def _when(row: ModelRow) -> float:
    return year_of(row.date)


def _gflops(row: ModelRow) -> float:
    return row.gflops


def _score(row: ModelRow) -> float:
    return row.score or math.nan


def _line(
    label: str, line: LogLine, colour: str, *, start: float = 0, end: float = 0, band: bool = False
) -> list[Series]:
    """Return the line over its rows, dashed beyond them, and the band of the line."""
    first, last = start or line.first, line.last
    found = []
    whole = np.linspace(first, max(last, end), 60)
    if band and line.points > 2:
        edges = [line.band(float(one)) for one in whole]
        low, high = tuple(edge[0] for edge in edges), tuple(edge[1] for edge in edges)
        xs = tuple(float(one) for one in whole)
        found.append(Series(f"{label}: 95 % band", xs, high, "band", colour=colour, low=low))
    xs = tuple(float(one) for one in np.linspace(first, last, 30))
    found.append(Series(f"{label}: {_told(line)}", xs, tuple(line.at(one) for one in xs), "line", colour=colour))
    if end > last:
        xs = tuple(float(one) for one in np.linspace(last, end, 20))
        ys = tuple(line.at(one) for one in xs)
        found.append(Series(f"{label}, extended", xs, ys, "line", colour=colour, dashed=True))
    return found


def _reach(line: LogLine, end: float) -> float:
    """Return how far a line is extended: by half of its length at most, as rows carry it no further."""
    return min(end, line.last + (line.last - line.first) / 2)


def _basis(rows: Sequence[ModelRow]) -> str:
    """Say how many rows there are and what they rest on."""
    given = sum(row.given for row in rows)
    transcribed = sum(row.is_of_paper for row in rows if not row.given)
    counted = sum(row.is_counted for row in rows if not row.given)
    parts = [f"{len(rows)} models of high or medium confidence"]
    if transcribed:
        parts.append(f"{transcribed} transcribed from the paper's table")
    if counted:
        parts.append(f"{counted} after the study, counted by macsim")
    rest = len(rows) - transcribed - counted - given
    if rest:
        parts.append(f"{rest} recalled or from their own publications, not re-read in the paper")
    if given:
        parts.append(f"{given} given in a table of the user's")
    return "; ".join(parts)


def _after(rows: Sequence[ModelRow], at: str = "") -> str:
    """Label the models after the study."""
    if any(row.given for row in rows):
        return "after the study (counted by macsim, or given)"
    return f"after the study{at} (counted by macsim)"


def _through(rows: Sequence[ModelRow]) -> str:
    """Say which rows a line goes through."""
    given = sum(row.given for row in rows)
    return f"the {len(rows) - given} of the study" + (f" and the {given} given" if given else "")


def _three(
    rows: Sequence[ModelRow], value: Value, kinds: Sequence[tuple[str, str, str]], best: str, *, band: bool
) -> tuple[list[Series], str]:
    """Return points by architecture and the three lines, and what is said of them."""
    study = [row for row in rows if not row.is_later]
    later = [row for row in rows if row.is_later]
    three = lines(study, value)
    told = [row.name for row in three.winners]
    series: list[Series] = []
    for kind, colour, marker in kinds:
        some = [row for row in study if row.architecture == kind]
        if some:
            series.append(_points(kind, some, _when, value, colour, marker, told=told))
    end = _reach(three.all, max((_when(row) for row in later), default=0.0))
    if later:
        top = {max(later, key=value).name, max(later, key=_when).name}
        series.append(_points(_after(later), later, _when, value, PURPLE, "D", told=tuple(top)))
    series += _line("all", three.all, BLACK, end=end, band=band)
    series += _line(best, three.best, RED, end=end)
    series += _line("mean of the year", three.mean, GREEN, end=end)
    note = f"{_basis(rows)}. Lines through {_through(study)}; R²: all {three.all.r2:.2f}, {best} "
    return series, note + f"{three.best.r2:.2f}, mean {three.mean.r2:.2f}.{DASHED if later else ''}{WEAK}{MEAN}"


ARCHITECTURES = (("CNN", BLUE, "o"), ("Transformer", ORANGE, "^"), ("Hybrid", SKY, "s"), ("Recurrent", BLUE, "v"))
TOKENS = ((128, BLUE, "o"), (512, ORANGE, "^"), (1024, SKY, "s"), (2048, PURPLE, "D"))
WEAK = " The line through all models hangs on which of them are in it"  # what is to be said beside every such line
MEAN = ", and the paper's line through the means is not reproduced with confidence."
DASHED = " Dashed: extended beyond their rows."
ASSUMED = " Joules by the efficiency line take thermal design power and full use of the chip."


def charts(data: Data, mine: ModelRow | None = None) -> list[Chart]:
    """Return the charts of the study, of high and medium rows.

    Parameters
    ----------
    data : Data
    mine : ModelRow, optional
        A model to put among the others, on the charts of its domain; it is in no line.

    Examples
    --------
    >>> from macsim import trends
    >>> [chart.key for chart in charts(trends.load())][:3]
    ['parameters', 'accuracy-date', 'gflops-date']
    """
    vision, language = data.of("vision"), data.of("language")
    joules = {"vision": energy_of(data, "vision"), "language": energy_of(data, "language")}
    found = [_parameters(vision), _accuracy_over_time(vision)]
    series, note = _three(vision, _gflops, ARCHITECTURES, "best of the year", band=True)
    found.append(Chart("gflops-date", "Vision: compute over the years", DATE, GFLOPS, tuple(series), note))
    found.append(_shaded("accuracy-gflops", "Vision: accuracy against compute", vision, _gflops, GFLOPS))
    found.append(_tokens("language-gflops-date", "Language: compute over the years", language, _gflops, GFLOPS))
    found.append(_glue("glue-gflops", "Language: GLUE against compute", language, _gflops, GFLOPS))
    found.append(_theoretical(data))
    found += [_adapted(data, domain) for domain in ("vision", "language")]
    series, note = _three(vision, joules["vision"], ARCHITECTURES, "best of the year", band=True)
    title = "Vision: energy of an inference over the years"
    found.append(Chart("joules-date", title, DATE, JOULES, tuple(series), note))
    title = "Language: energy of an inference over the years"
    found.append(_tokens("language-joules-date", title, language, joules["language"], JOULES))
    found.append(_shaded("accuracy-joules", "Vision: accuracy against energy", vision, joules["vision"], JOULES))
    found.append(_glue("glue-joules", "Language: GLUE against energy", language, joules["language"], JOULES))
    found += [_human(domain, data.of(domain), joules[domain]) for domain in ("vision", "language")]
    if any(count.energy for count in data.counts):
        found += [_two_methods(data, domain, joules[domain]) for domain in ("vision", "language")]
    if beside := _beside(data):
        found.append(beside)
    found = [replace(chart, note=chart.note + ASSUMED) if JOULES in (chart.x, chart.y) else chart for chart in found]
    return found if mine is None else [_with(chart, mine, joules[mine.domain]) for chart in found]


def _with(chart: Chart, mine: ModelRow, energy: Value) -> Chart:
    """Put a model on a chart of its domain, where the chart shows what is known of it."""
    dated, against = ("", "accuracy") if mine.domain == "vision" else ("language-", "glue")
    axes: dict[str, tuple[Value, Value]] = {
        f"{dated}gflops-date": (_when, _gflops),
        f"{dated}joules-date": (_when, energy),
        f"human-{mine.domain}": (_when, energy),
        f"two-methods-{mine.domain}": (_when, energy),
    }
    if mine.score:
        axes |= {f"{against}-gflops": (_gflops, _score), f"{against}-joules": (energy, _score)}
        axes |= {"accuracy-date": (_when, _score)} if mine.domain == "vision" else {}
    if mine.params and mine.domain == "vision":
        axes["parameters"] = (lambda row: row.params or 0.0, _gflops)
    if chart.key not in axes:
        return chart
    x, y = axes[chart.key]
    point = _points(mine.name, [mine], x, y, BLACK, "*", told=[mine.name])
    note = f"{chart.note} {mine.name}: {mine.basis}; it is in no line."
    return replace(chart, series=(*chart.series, replace(point, sizes=(160.0,))), note=note)


def _parameters(rows: Sequence[ModelRow]) -> Chart:
    series, said = [], []
    for kind, colour, marker in ARCHITECTURES[:3]:
        some = [row for row in rows if row.architecture == kind and row.params]
        if not some:
            continue
        edge = {
            min(some, key=_gflops).name,
            max(some, key=_gflops).name,
            max(some, key=lambda row: row.params or 0).name,
        }
        named = edge | ({"AlexNet", "VGG-16", "ResNet-50"} if kind == "CNN" else set())
        series.append(_points(kind, some, lambda row: row.params or 0.0, _gflops, colour, marker, told=tuple(named)))
        some = [row for row in some if not row.is_later]
        if kind == "Hybrid" or len(some) < 5:
            continue
        line = fit([math.log10(row.params or 1.0) for row in some], [row.gflops for row in some])
        ends = [row.params or 0.0 for row in some]
        xs = tuple(float(x) for x in np.geomspace(min(ends), max(ends), 30))
        ys = tuple(line.at(math.log10(x)) for x in xs)
        series.append(
            Series(f"{kind}: GFLOPs ~ parameters^{line.slope:.2f}, R² {line.r2:.2f}", xs, ys, "line", colour=colour)
        )
        said.append(f"{kind} {line.r2:.2f}")
    study = [row for row in rows if not row.is_later]
    note = f"{_basis(rows)}. Lines through those of {_through(study)}; R²: {', '.join(said)}."
    x = Axis("Parameters (millions)", log=True)
    return Chart("parameters", "Vision: parameters against compute", x, GFLOPS, tuple(series), note)


def _accuracy_over_time(rows: Sequence[ModelRow]) -> Chart:
    series = []
    best: dict[int, ModelRow] = {}
    for row in rows:
        year = row.date.year
        best[year] = max(best.get(year, row), row, key=_score)
    told = [row.name for row in best.values()]
    for label, colour, marker, some in (
        ("ImageNet alone", BLUE, "o", [row for row in rows if not row.extra_data]),
        ("with further data", ORANGE, "s", [row for row in rows if row.extra_data]),
    ):
        points = _points(label, some, _when, _score, colour, marker, told=told)
        sizes = tuple(12 + 14 * max(0.0, math.log10(row.gflops) + 1) ** 1.6 for row in some)
        names = tuple(f"{name}: {row.gflops:.3g} GFLOPs" for name, row in zip(points.names, some, strict=True))
        series.append(replace(points, names=names, sizes=sizes))
    least, most = (short(end(map(_gflops, rows))) for end in (min, max))
    note = (
        f"{_basis(rows)}. The area of a point grows with the logarithm of its GFLOPs, {least} to {most}. Named, where "
        "there is room: the best of each year. No line is fitted."
    )
    return Chart("accuracy-date", "Vision: accuracy over the years", DATE, TOP1, tuple(series), note)


def _shaded(key: str, title: str, rows: Sequence[ModelRow], value: Value, x: Axis) -> Chart:
    series, most, told = [], 0.0, []
    for row in sorted(rows, key=lambda row: (value(row), -_score(row))):
        if _score(row) > most:
            most = _score(row)
            told.append(row.name)
    for label, marker, some in (
        ("ImageNet alone", "o", [row for row in rows if not row.extra_data]),
        ("with further data", "s", [row for row in rows if row.extra_data]),
    ):
        points = _points(label, some, value, _score, BLUE, marker, told=["AlexNet", "VGG-16", "ResNet-50", *told])
        series.append(replace(points, shades=tuple(_when(row) for row in some)))
    note = (
        f"{_basis(rows)}. Named, where there is room: those that none does better with less, and "
        "three that are known well. No line is fitted."
    )
    return Chart(key, title, x, TOP1, tuple(series), note, shade="Release date")


def _tokens(key: str, title: str, rows: Sequence[ModelRow], value: Value, y: Axis) -> Chart:
    study = [row for row in rows if not row.is_later]
    later = [row for row in rows if row.is_later]
    named = ("ELMo", "BERT-Large", "GPT-2", "Megatron", "GPT-3", "ELECTRA-Small", "Transformer (Vaswani 2017)")
    series = []
    for tokens, colour, marker in TOKENS:
        some = [row for row in study if row.size == tokens]
        if some:
            series.append(_points(f"{tokens} tokens", some, _when, value, colour, marker, told=named))
    end = 0.0
    if later:
        end = max(map(_when, later))
        told = (max(later, key=value).name, "LLaMA 7B", "Llama 3.1 405B", "DeepSeek-V3", "gpt-oss-20b")
        series.append(_points(_after(later, ", 2048 tokens"), later, _when, value, GREEN, "X", told=told))
    three = lines(study, value)
    end = _reach(three.all, end)
    series += _line("all", three.all, BLACK, end=end, band=True)
    series += _line("most of the year", three.best, RED, end=end)
    note = f"{_basis(rows)}. Lines through {_through(study)}; R²: all {three.all.r2:.2f}, most of the year "
    note += f"{three.best.r2:.2f}.{DASHED if later else ''} Compute grows with the tokens given.{WEAK}."
    return Chart(key, title, DATE, y, tuple(series), note)


def _glue(key: str, title: str, rows: Sequence[ModelRow], value: Value, x: Axis) -> Chart:
    some = [row for row in rows if row.score]
    points = _points("GLUE test", some, value, _score, BLUE, "o", told=[row.name for row in some])
    return Chart(key, title, x, GLUE, (points,), f"{_basis(some)}; those with a score. No line is fitted.")


PRECISIONS = (("FP32", BLUE, "o"), ("FP16", ORANGE, "^"), ("FP16/FP32 Tensor", GREEN, "s"), ("FP8", PURPLE, "D"))


def _theoretical(data: Data) -> Chart:
    series, said = [], []
    for precision, colour, marker in PRECISIONS:
        some = [chip for chip in data.chips if chip.precision == precision]
        if not some:
            continue
        x, y = tuple(year_of(chip.date) for chip in some), tuple(theoretical_efficiency(chip) for chip in some)
        names = tuple(f"{chip.name} ({chip.date:%Y-%m})" for chip in some)
        series.append(Series(precision, x, y, names=names, colour=colour, marker=marker))
        if len(some) > 5:
            line = fit(x, y)
            series += _line(precision, line, colour)
            said.append(f"{precision} {line.r2:.2f}")
    later = sum(chip.is_later for chip in data.chips)
    more = f", {later} of them from macsim's hardware tables" if later else ""
    note = (
        f"{len(data.chips)} rows{more}: peak rate of dense operands over thermal design power. "
        f"Lines through all of a precision; R²: {', '.join(said)}."
    )
    return Chart("efficiency", "Chips: theoretical efficiency", Axis("Launch date"), WATT, tuple(series), note)


def _adapted(data: Data, domain: str) -> Chart:
    chips, line = efficiencies(data, domain), efficiency_line(data, domain)
    series = []
    for label, colour, marker, own in (("FP32 peak", BLUE, "o", False), ("adapted by throughput", ORANGE, "s", True)):
        some = [chip for chip in chips if (chip.precision != "FP32") is own]
        names = tuple(f"{chip.chip}, {chip.precision}: {chip.basis}" for chip in some)
        x, y = tuple(year_of(chip.date) for chip in some), tuple(chip.gflops_per_watt for chip in some)
        written = tuple(
            f"{chip.chip} {chip.precision}" if own else name for chip, name in zip(some, names, strict=True)
        )
        told = tuple(range(len(some))) if own else ()
        series.append(Series(label, x, y, names=written, colour=colour, marker=marker, told=told))
    series += _line("all", line, BLACK, band=True)
    low, high = line.slope_band()
    note = (
        f"{len(chips)} chips: FP32 peak over thermal design power, with tensor units times the mean "
        f"speed-up in published throughputs. R² {line.r2:.2f}; doubling in {line.doubling:.1f} years; "
        f"x{low:.2f} to x{high:.2f} a year (95 %)."
    )
    title = f"Chips: efficiency adapted to {domain}"
    return Chart(f"efficiency-{domain}", title, Axis("Launch date"), WATT, tuple(series), note)


def _human(domain: str, rows: Sequence[ModelRow], value: Value) -> Chart:
    best = "best of the year" if domain == "vision" else "most of the year"
    series, note = _three(rows, value, ARCHITECTURES, best, band=False)
    ends = (min(map(_when, rows)), max(map(_when, rows)))
    for name, label in (
        ("internal", "a human body, 100 J in a second"),
        ("external", "what a person uses, 10,000 J in a second"),
    ):
        colour, watts = (SKY, ORANGE)[name == "external"], HUMAN_POWER[name]
        series.append(Series(label, ends, (watts, watts), "line", colour=colour, dashed=True))
    title = f"{domain.capitalize()}: energy of an inference against a second of a human being"
    note += " One inference each second would draw as many watts."
    return Chart(f"human-{domain}", title, DATE, JOULES, tuple(series), note)


def _two_methods(data: Data, domain: str, value: Value) -> Chart:
    """Set the study's energy beside that of macsim's estimator, for the models that have both."""
    estimated = {count.name: count.energy for count in data.counts if count.energy}
    rows = [row for row in data.of(domain) if row.name in estimated]
    study, later = [row for row in rows if not row.is_later], [row for row in rows if row.is_later]
    series = []
    for label, some, colour, marker in (
        ("efficiency line, models of the study", study, BLUE, "o"),
        ("efficiency line extended, models after it", later, SKY, "D"),
    ):
        if some:
            series.append(_points(label, some, _when, value, colour, marker))
    told = {max(rows, key=value).name, min(rows, key=value).name, "ResNet-50", "BERT-Large", "GPT-3", "DeepSeek-V3"}
    points = _points(
        "macsim's estimator, with 90 % intervals",
        rows,
        _when,
        lambda row: estimated[row.name].joules,
        RED,
        "^",
        told=tuple(told),
    )
    energies = [estimated[row.name] for row in rows]
    names = tuple(f"{name}: on {energy}" for name, energy in zip(points.names, energies, strict=True))
    low, high = tuple(energy.low for energy in energies), tuple(energy.high for energy in energies)
    series.append(replace(points, names=names, low=low, high=high))
    lines = [fit(list(map(_when, rows)), values) for values in ([*map(value, rows)], points.y)]
    series += _line("efficiency line, all", lines[0], BLUE) + _line("estimator, all", lines[1], RED)
    chips = ", ".join(dict.fromkeys(energy.chip for energy in energies))
    note = (
        f"{_basis(rows)}; those that are counted. The estimator has each at batch 1 on the newest of {chips} at its "
        f"release, with launches, memory and static power; the line has chips fully used. R²: line {lines[0].r2:.2f}, "
        f"estimator {lines[1].r2:.2f}."
    )
    title = f"{domain.capitalize()}: energy of an inference by two methods"
    return Chart(f"two-methods-{domain}", title, DATE, JOULES, tuple(series), note)


def _beside(data: Data) -> Chart | None:
    found = compare(data)
    if not found:
        return None
    series = []
    for label, colour, marker, pairs in (
        ("against the published value", BLUE, "o", [(one, one.ratio) for one in found]),
        ("against the second source", ORANGE, "^", [(one, one.independent) for one in found if one.independent]),
    ):
        x, y = tuple(one.row.gflops for one, _ in pairs), tuple(ratio or math.nan for _, ratio in pairs)
        names = tuple(f"{one.row.name}{': ' + one.cause if one.cause else ''}" for one, _ in pairs)
        told = tuple(index for index, ratio in enumerate(y) if abs(ratio - 1) > 0.08) if colour == BLUE else ()
        series.append(Series(label, x, y, names=names, colour=colour, marker=marker, told=told))
    ends = (min(one.row.gflops for one in found), max(one.row.gflops for one in found))
    series.append(Series("within 3 %", ends, (1.03, 1.03), "band", colour=BLACK, low=(0.97, 0.97)))
    near = sum(abs(one.independent - 1) <= 0.03 for one in found if one.independent)
    both = sum(one.independent is not None for one in found)
    same = sum(abs(one.ratio - 1) <= 0.03 for one in found)
    note = f"{len(found)} models; {same} agree with the published value within 3 %, {near} of {both} with the second "
    note += "source. The report has the causes of the others."
    axes = Axis("Published GFLOPs", log=True), Axis("macsim's count / the other")
    return Chart("recomputed", "Counted by macsim, beside what is published", *axes, tuple(series), note)
