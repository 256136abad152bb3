# Draws the charts with matplotlib.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The charts of the study as matplotlib figures."""

from __future__ import annotations

import math
import os
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from macsim.figures import dress, new_figure, write_names
from macsim.figures import save as save_figure
from macsim.trends.charts import FEW, Chart, Series

__all__ = ["draw", "save"]

SIZE = (9.6, 7.0)  # inches
LINE, ENTRY = 0.020, 0.0265  # of the height, that a line of the note and one of the legend take
LETTERS = 150  # of the legend beside each other
AREA = 34.0  # of a point
TENS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(chart: Chart, figure: Any = None) -> Any:
    """Draw a chart, and return the matplotlib figure.

    Parameters
    ----------
    chart : Chart
    figure : matplotlib.figure.Figure, optional
        What to draw on; a new one, which no window shows, when left out.

    Examples
    --------
    >>> from macsim import trends
    >>> from macsim.trends.charts import charts
    >>> from macsim.trends.plots import draw
    >>> figure = draw(charts(trends.load())[0])  # doctest: +SKIP
    """
    figure = figure or new_figure(*SIZE, layout=None)
    note = textwrap.wrap(chart.note, 150)
    shades = [shade for series in chart.series for shade in series.shades]
    labels = [series.label for series in chart.series if _is_named(series)]
    columns = max(1, min(4, LETTERS // (8 + max(map(len, labels), default=0))))
    columns = math.ceil(len(labels) / max(1, math.ceil(len(labels) / columns)))  # as even as they can be
    under = 0.03 + LINE * len(note)
    # Places are given, as working them out takes matplotlib several times as long as the drawing.
    bottom = under + 0.09 + ENTRY * math.ceil(len(labels) / max(1, columns))
    axes = figure.add_axes((0.125, bottom, 0.76 if shades else 0.835, 0.95 - bottom))
    dress(axes, chart.title, chart.x.label, chart.y.label)
    limits = (min(shades), max(shades)) if shades else None
    mapped = None
    for series in chart.series:
        drawn = _series(axes, series, limits)
        mapped = drawn if series.shades else mapped
    for axis, log, name in ((axes.xaxis, chart.x.log, "x"), (axes.yaxis, chart.y.log, "y")):
        _scale(axes, axis, log=log, name=name)
    if mapped is not None:
        beside = figure.add_axes((0.90, bottom, 0.016, 0.95 - bottom))
        figure.colorbar(mapped, cax=beside, label=chart.shade, format="%.0f")
    legend = figure.legend(
        *axes.get_legend_handles_labels(),
        fontsize=8,
        loc="lower left",  # under the axes: it hides no point
        bbox_to_anchor=(0.115, under),
        borderaxespad=0,
        frameon=False,
        ncols=columns,
    )
    if shades:
        for handle in legend.legend_handles:
            handle.set_color("0.4")
    write_names(figure, axes, _told(chart), _marks(chart))
    figure.text(0.01, 0.012, "\n".join(note), fontsize=8, color="0.3", ha="left", va="bottom", linespacing=1.25)
    return figure


def _is_named(series: Series) -> bool:
    """Whether it stands in the legend: what is extended is so beside the line that it extends."""
    return not series.label.endswith("extended")


def _marks(chart: Chart) -> Iterator[tuple[float, float, float]]:
    """Yield where points are and how large, so that no name is written over them."""
    for series in chart.series:
        if series.kind == "points":
            areas = series.sizes or (AREA,) * len(series.x)
            yield from ((x, y, area**0.5) for x, y, area in zip(series.x, series.y, areas, strict=True) if y == y)


def power_of_ten(value: float, _position: int | None = None) -> str:
    """Write a tick of a logarithmic axis in plain letters: as formulas, ticks take half of the time of a figure.

    Examples
    --------
    >>> [power_of_ten(value) for value in (0.001, 0.1, 1, 1000, 1e6)]
    ['0.001', '0.1', '1', '1,000', '1,000,000']
    >>> power_of_ten(1e9)
    '10⁹'
    """
    if 0.0001 < value < 20_000_000:
        return f"{value:,.0f}" if value >= 1 else f"{value:g}"
    power = math.log10(value)
    return f"10{str(round(power)).translate(TENS)}" if abs(power - round(power)) < 1e-9 else ""


def _scale(axes: Any, axis: Any, *, log: bool, name: str) -> None:
    """Set a logarithmic scale with its ticks, or whole numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if log:
        (axes.set_xscale if name == "x" else axes.set_yscale)("log")
        axis.set_major_locator(LogLocator(numticks=12))
        axis.set_major_formatter(FuncFormatter(power_of_ten))
        axis.set_minor_locator(LogLocator(subs=(2, 5), numticks=12))
        low, high = axis.get_view_interval()
        wide = high > FEW * low
        axis.set_minor_formatter(NullFormatter() if wide else FuncFormatter(power_of_ten))
    else:
        axis.set_major_locator(MaxNLocator(integer=name == "x", nbins=12))


def _series(axes: Any, series: Series, limits: tuple[float, float] | None) -> Any:
    if series.kind == "band":
        axes.fill_between(
            series.x, series.low, series.y, color=series.colour, alpha=0.12, linewidth=0, label=series.label
        )
        return None
    if series.kind == "line":
        style = "--" if series.dashed else "-"
        label = series.label if _is_named(series) else None
        return axes.plot(series.x, series.y, style, color=series.colour, linewidth=1.6, label=label)
    if series.high:
        axes.vlines(series.x, series.low, series.high, color=series.colour, alpha=0.35, linewidth=1)
    area: Any = series.sizes or AREA
    look: dict[str, Any] = {"color": series.colour}
    if series.shades:
        low, high = limits or (0.0, 1.0)
        look = {"c": series.shades, "cmap": "viridis", "vmin": low, "vmax": high}
    return axes.scatter(
        series.x,
        series.y,
        s=area,
        marker=series.marker,
        alpha=0.8,
        zorder=4,  # above names, which must hide no point
        linewidths=0.4,
        edgecolors="white",
        label=series.label,
        **look,
    )


def _told(chart: Chart) -> Iterator[tuple[str, float, float]]:
    """Yield the points that have their names written beside them: a model of one's own first, then the latest."""
    for series in reversed(chart.series):
        for index in series.told:
            name, _, _ = series.names[index].partition(": ")
            yield re.sub(r" \(\d{4}-\d{2}\)$", "", name), series.x[index], series.y[index]


def save(chart: Chart, path: str | os.PathLike[str]) -> None:
    """Draw a chart into a file: what its name ends in says the format."""
    save_figure(draw(chart), path)
