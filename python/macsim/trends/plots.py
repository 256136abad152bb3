# Draws the charts with matplotlib.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The charts of the study as matplotlib figures."""

from __future__ import annotations

import os
import textwrap
from typing import Any

from macsim.errors import RequestError
from macsim.trends.charts import Chart, Series

__all__ = ["draw", "save"]


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise RequestError("figures need matplotlib: pip install 'macsim[plot]'") from None
    return matplotlib


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
    _matplotlib()
    from matplotlib.figure import Figure

    figure = figure or Figure(figsize=(9.6, 6.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(chart.title, loc="left", fontsize=13)
    axes.set_xlabel(chart.x.label)
    axes.set_ylabel(chart.y.label)
    axes.set_xscale("log" if chart.x.log else "linear")
    axes.set_yscale("log" if chart.y.log else "linear")
    axes.grid(True, which="major", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    shades = [shade for series in chart.series for shade in series.shades]
    limits = (min(shades), max(shades)) if shades else None
    mapped = None
    for series in chart.series:
        drawn = _series(axes, series, limits)
        mapped = drawn if series.shades else mapped
    if mapped is not None:
        figure.colorbar(mapped, ax=axes, label=chart.shade, format="%.0f", fraction=0.04, pad=0.02)
    if not chart.x.log:
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    legend = axes.legend(fontsize=8, loc="best", framealpha=0.85, edgecolor="none")
    if shades:
        for handle in legend.legend_handles:
            handle.set_color("0.4")
    _names(figure, axes, chart)
    figure.supxlabel("\n".join(textwrap.wrap(chart.note, 160)), fontsize=8, color="0.3", x=0.01, ha="left")
    return figure


def _series(axes: Any, series: Series, limits: tuple[float, float] | None) -> Any:
    if series.kind == "band":
        axes.fill_between(series.x, series.low, series.y, color=series.colour, alpha=0.12, linewidth=0)
        return None
    if series.kind == "line":
        style = "--" if series.dashed else "-"
        label = "" if series.label.endswith("extended") else series.label
        return axes.plot(series.x, series.y, style, color=series.colour, linewidth=1.6, label=label or None)
    area: Any = series.sizes or 34
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
        linewidths=0.4,
        edgecolors="white",
        label=series.label,
        **look,
    )


PLACES = ((4, 5, "left"), (4, -11, "left"), (-4, 5, "right"), (-4, -11, "right"), (4, 14, "left"), (-4, 14, "right"))


def _names(figure: Any, axes: Any, chart: Chart) -> None:
    """Write the names of points beside them, where no other name stands."""
    from matplotlib.patheffects import withStroke

    figure.draw_without_rendering()
    inside = axes.get_window_extent()
    taken: list[Any] = []
    for series in chart.series:
        for index in series.told:
            name = series.names[index].rpartition(" (")[0] or series.names[index]
            for x, y, side in PLACES:
                text = axes.annotate(
                    name,
                    (series.x[index], series.y[index]),
                    xytext=(x, y),
                    textcoords="offset points",
                    fontsize=7,
                    color="0.15",
                    ha=side,
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                )
                box = text.get_window_extent()
                free = not any(box.overlaps(other) for other in taken)
                if free and box.x1 < inside.x1 + 30 and box.x0 > inside.x0:
                    taken.append(box)
                    break
                text.remove()


def save(chart: Chart, path: str | os.PathLike[str]) -> None:
    """Draw a chart into a file: what its name ends in says the format."""
    draw(chart).savefig(path)
