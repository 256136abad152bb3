# The study as one HTML page, which needs nothing but itself.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The charts of the study as a self-contained, interactive HTML page."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

from macsim.errors import RequestError
from macsim.trends.charts import FEW, Axis, Chart, Series

__all__ = ["page"]

SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "X": "x",
    "*": "star",
}


def page(charts: Sequence[Chart], title: str = "Compute and energy of inference") -> str:
    """Return the page as text.

    plotly's program is within it, so that it opens from a disk without a network. Charts are chosen by tabs, lines and
    points by check boxes, and points are walked through with the arrow keys; each chart has its numbers as a table.

    Parameters
    ----------
    charts : sequence of Chart
    title : str

    Raises
    ------
    RequestError
        When plotly is not installed.

    Examples
    --------
    >>> from macsim import trends
    >>> from macsim.trends.charts import charts
    >>> text = page(charts(trends.load()))  # doctest: +SKIP
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise RequestError("the page needs plotly: pip install 'macsim[html]'") from None
    folder = resources.files("macsim.trends") / "data"
    template = (folder / "page.html").read_text(encoding="utf-8")
    given = json.dumps([_figure(chart) for chart in charts], ensure_ascii=False, allow_nan=False)
    template = template.replace("{{TITLE}}", html.escape(title))
    parts = {
        "PLOTLY": get_plotlyjs(),
        "CHARTS": given.replace("</", "<\\/"),
    }
    for name, part in parts.items():
        template = template.replace("{{" + name + "}}", part, 1)
    return template


def _figure(chart: Chart) -> dict[str, Any]:
    shades = [shade for series in chart.series for shade in series.shades]
    limits = (min(shades), max(shades)) if shades else (0.0, 1.0)
    traces = [_trace(series, limits, chart.shade) for series in chart.series if series.kind != "band"]
    bands = [_band(series) for series in chart.series if series.kind == "band"]
    xs, ys = ([one for series in chart.series for one in getattr(series, name)] for name in ("x", "y"))
    layout = {"xaxis": _axis(chart.x, xs), "yaxis": _axis(chart.y, ys)}
    return {
        "key": chart.key,
        "title": chart.title,
        "note": chart.note,
        "x": chart.x.label,
        "y": chart.y.label,
        "traces": bands + traces,
        "layout": layout,
    }


def _axis(axis: Axis, values: Sequence[float]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": {"text": axis.label},
        "gridcolor": "#e6e6e6",
        "zeroline": False,
        "linecolor": "#888",
    }
    if axis.log:
        found |= {"type": "log", "dtick": 1, "exponentformat": "power"}
        if max(values) <= FEW * min(values):
            powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
            found["tickvals"] = [float(f"{one}e{power}") for power in powers for one in (1, 2, 5)]
    return found


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [float(f"{value:.6g}") if value == value else None for value in values]


def _trace(series: Series, limits: tuple[float, float], shade: str) -> dict[str, Any]:
    base: dict[str, Any] = {"x": _numbers(series.x), "y": _numbers(series.y), "name": series.label, "type": "scatter"}
    if series.kind == "line":
        dash = "dash" if series.dashed else "solid"
        return base | {
            "mode": "lines",
            "line": {"color": series.colour, "dash": dash, "width": 2},
            "hoverinfo": "name+y",
        }
    if series.high:
        above = [high - y for high, y in zip(series.high, series.y, strict=True)]
        below = [y - low for low, y in zip(series.low, series.y, strict=True)]
        base["error_y"] = {"type": "data", "symmetric": False, "array": _numbers(above), "arrayminus": _numbers(below)}
        base["error_y"] |= {"color": series.colour, "thickness": 0.7, "width": 0}
    marker: dict[str, Any] = {"symbol": SYMBOLS[series.marker], "color": series.colour, "size": 9, "opacity": 0.85}
    marker["line"] = {"color": "white", "width": 0.6}
    if series.sizes:
        marker["size"] = [round(size**0.5 * 1.3, 1) for size in series.sizes]
    if series.shades:
        bar = {"title": {"text": shade}, "tickformat": "d", "thickness": 14}
        marker |= {"color": _numbers(series.shades), "colorscale": "Viridis", "cmin": limits[0], "cmax": limits[1]}
        marker |= {"colorbar": bar, "showscale": True}
    template = "%{text}<br>%{x:.6g}, %{y:.4g}<extra></extra>"
    return base | {"mode": "markers", "marker": marker, "text": list(series.names), "hovertemplate": template}


def _band(series: Series) -> dict[str, Any]:
    x, high, low = _numbers(series.x), _numbers(series.y), _numbers(series.low)
    return {
        "x": x + x[::-1],
        "y": high + low[::-1],
        "name": series.label,
        "type": "scatter",
        "mode": "lines",
        "fill": "toself",
        "fillcolor": "rgba(0,0,0,0.10)",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
