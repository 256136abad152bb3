# Draws estimates and comparisons with matplotlib: rooflines, what energy goes to, sizes and chips beside each other.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Estimates and comparisons as matplotlib figures."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from macsim.errors import RequestError
from macsim.estimate_show import missing_words, prefixed, si
from macsim.figures import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    YELLOW,
    dress,
    new_figure,
    note,
    save,
    write_names,
)

if TYPE_CHECKING:
    from macsim.estimate import Estimate, RowEstimate
    from macsim.estimate_physics import Range
    from macsim.groups import Key

__all__ = ["chips", "energy", "page", "plotted", "roofline", "sizes"]

GREY = "0.65"
OPS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (RED, "D"), (PURPLE, "v"), (SKY, "P"))
CHIPS = ((BLUE, "o"), (RED, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"), (SKY, "P"), (BLACK, "X"), (GREY, "*"))
# What energy goes to, in the order of the bars.
PARTS = {
    "compute": ("arithmetic", BLUE),
    "memory.l1": ("L1", GREEN),
    "memory.l2": ("L2", YELLOW),
    "memory.l3": ("L3", RED),
    "memory.dram": ("main memory", ORANGE),
    "memory.path": ("memory, all levels", ORANGE),
    "memory.cache": ("caches", YELLOW),
    "link": ("link", PURPLE),
    "launch": ("static, while kernels start", SKY),
    "static": ("static", GREY),
}
LINES = 10  # bars of groups
NAMED = 6  # points of a roofline that have names
LEAST = 0.001  # share of the time of what is in the picture for certain
WIDE = 20.0  # what are further apart than this are compared on a logarithmic axis


KINDS = ("page", "roofline", "energy", "sizes", "chips")


def plotted(
    estimates: Sequence[Estimate],
    kind: str,
    *,
    by: Key = "op",
    depth: int | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Return the figure of a kind, and write it to ``path`` when given; see `Estimate.plot` and `Comparison.plot`."""
    if kind not in KINDS:
        raise RequestError(f"there is no plot {kind!r}; there are {', '.join(KINDS)}")
    empty = [estimate.hardware.title for estimate in estimates if not np.any(estimate.seconds.typical)]
    if empty:
        raise RequestError(
            f"there is nothing to draw: the table of {_and(empty)} has no number for what the model does"
        )
    several = [name for name, size in estimates[0].asked.sizes.items() if np.size(size) > 1]
    if kind == "sizes":
        if len(several) != 1:
            raise RequestError(f"the plot 'sizes' is over one size of which there are several, not {len(several)}")
        values = np.asarray(estimates[0].asked.sizes[several[0]]).reshape(-1).tolist()
        figure = sizes(estimates, several[0], values)
    elif several:
        raise RequestError(f"the plot {kind!r} is of one set of sizes: give one of {', '.join(several)}")
    elif kind == "chips":
        figure = chips(estimates)
    elif len(estimates) > 1:
        raise RequestError(f"the plot {kind!r} is of one chip, not of {len(estimates)}")
    elif kind == "roofline":
        figure = roofline(estimates[0])
    else:
        figure = (page if kind == "page" else energy)(estimates[0], by, depth)
    if path is not None:
        save(figure, path)
    return figure


# Roofline -------------------------------------------------------------------------------------------------------------


def roofline(estimate: Estimate) -> Any:
    """Return the roofline of a chip, with the kernels of a run as points."""
    figure = new_figure(9.6, 6.4)
    axes = figure.add_subplot()
    left_out = _roofline(figure, axes, estimate)
    note(figure, f"{caption([estimate])} {left_out}")
    return figure


def _roofline(figure: Any, axes: Any, estimate: Estimate) -> str:
    """Draw a roofline, and say what is not in it."""
    rows = estimate.rows
    seconds = sum(row.seconds.typical for row in rows) or 1.0
    shown = [row for row in rows if row.flops > 0 and row.bytes > 0 and row.seconds.typical > 0]
    dress(axes, f"Roofline: {title(estimate)}", "operations for each byte of the main memory", "operations a second")
    axes.set_xscale("log")
    axes.set_yscale("log")
    whole = estimate.roofline
    peaks, bandwidths = estimate.roofs
    within = [row for row in shown if row.seconds.typical >= LEAST * seconds]
    _limits(axes, within, whole, peaks, bandwidths)
    _roofs(figure, axes, estimate)
    by_op: dict[str, list[RowEstimate]] = {}
    for row in sorted(shown, key=lambda row: -row.seconds.typical):
        by_op.setdefault(row.op, []).append(row)
    order = sorted(by_op, key=lambda op: -sum(row.seconds.typical for row in by_op[op]))
    kinds = [(op, by_op[op], *look) for op, look in zip(order, OPS, strict=False)]
    rest = [row for op in order[len(OPS) :] for row in by_op[op]]
    if rest:
        kinds.append(("others", rest, GREY, "o"))
    for op, some, colour, marker in kinds:
        part = sum(row.seconds.typical for row in some) / seconds
        axes.scatter(
            [row.intensity for row in some],
            [row.reached for row in some],
            s=[16 + 1200 * row.seconds.typical / seconds for row in some],
            color=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0.5,
            edgecolors="white",
            label=f"{op}: {percent(part)} of the time",
            zorder=3,
        )
    if shown:
        flops = sum(row.flops for row in rows)
        low, high = flops / estimate.seconds.high, flops / estimate.seconds.low
        axes.plot([whole.intensity] * 2, [low, high], color=BLACK, linewidth=1.2, zorder=4)
        axes.plot(
            whole.intensity,
            whole.reached,
            "*",
            color=BLACK,
            markersize=13,
            markeredgecolor="white",
            linestyle="none",
            label="the whole run, with its 90 % interval",
            zorder=5,
        )
    legend = axes.legend(fontsize=8, loc="lower right", framealpha=0.85, edgecolor="none")
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([36])
    marks = [(row.intensity, row.reached, 6.0) for row in within]
    write_names(figure, axes, _told(shown, 0.01 * seconds), [*marks, (whole.intensity, whole.reached, 13.0)])
    return "Areas are shares of the time." + _left_out(axes, rows, shown, seconds)


def _left_out(axes: Any, rows: Sequence[RowEstimate], shown: Sequence[RowEstimate], seconds: float) -> str:
    """Say what has no place in the picture, and what lies outside of it."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    outside = [row for row in shown if not (left < row.intensity < right and bottom < row.reached < top)]
    text = ""
    for some, what in (
        ([row for row in rows if row.flops <= 0 or row.bytes <= 0], "without work or without bytes cannot be shown"),
        (outside, "outside of the picture"),
    ):
        if some:
            part = sum(row.seconds.typical for row in some) / seconds
            text += f" {len(some)} kernel{'s' if len(some) > 1 else ''}, {percent(part)} of the time, {what}."
    return text


def _told(rows: Sequence[RowEstimate], least: float) -> list[tuple[str, float, float]]:
    """The names of the points that take most of the time; those in the same place have one together."""
    places: dict[tuple[float, float], list[RowEstimate]] = {}
    for row in rows:
        places.setdefault((round(math.log10(row.intensity), 1), round(math.log10(row.reached), 1)), []).append(row)
    found = []
    for some in places.values():
        first = max(some, key=lambda row: row.seconds.typical)
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        seconds = sum(row.seconds.typical for row in some)
        found.append((seconds, f"{_short(first.name, first.op)}{more}", first.intensity, first.reached))
    found.sort(key=lambda one: -one[0])
    return [(name, x, y) for seconds, name, x, y in found[:NAMED] if seconds > least]


def _limits(
    axes: Any, rows: Sequence[RowEstimate], whole: Any, peaks: Mapping[str, Any], bandwidths: Mapping[str, float]
) -> None:
    """Set the limits: all points, and the ridges of the peaks that are used."""
    used = [peak.rate for peak in peaks.values() if peak.is_used] or [peak.rate for peak in peaks.values()]
    ridges = [rate / bandwidth for rate in used for bandwidth in bandwidths.values()]
    xs = [*(row.intensity for row in rows), *ridges]
    ys = [*(row.reached for row in rows), *used]
    if rows:
        xs.append(whole.intensity)
    axes.set_xlim(min(xs, default=0.1) / 2.5, max(xs, default=100.0) * 8)
    axes.set_ylim(min(ys, default=1e9) / 3, max(ys, default=1e12) * 4)


def _roofs(figure: Any, axes: Any, estimate: Estimate) -> None:
    """Draw the bandwidths and the peaks, and what good kernels reach of them."""
    peaks, bandwidths = estimate.roofs
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    highest = max((peak.rate for peak in peaks.values()), default=top)
    slope = max(bandwidths.values(), default=0.0)
    figure.draw_without_rendering()  # how steep a line is follows from the layout
    for level, bandwidth in bandwidths.items():
        end = min(right, highest / bandwidth)
        if end <= left:
            continue
        main = level == "dram"
        axes.plot([left, end], [left * bandwidth, end * bandwidth], color="0.25" if main else "0.6", linewidth=1.4)
        name = "main memory" if main else level.upper()
        _along(axes, f"{name}: {si(bandwidth, 'B/s')}", bandwidth, up=main)
    taken: list[float] = []
    for name, peak in sorted(peaks.items(), key=lambda item: (not item[1].is_used, -item[1].rate)):
        if not bottom < peak.rate < top:
            continue
        start = peak.rate / slope if slope else left
        look = {"color": "0.25", "linewidth": 1.4} if peak.is_used else {"color": "0.75", "linewidth": 0.8}
        axes.plot([start, right], [peak.rate] * 2, **look)
        height = math.log(peak.rate / bottom) / math.log(top / bottom)
        if any(abs(height - other) < 0.028 for other in taken):
            continue
        taken.append(height)
        axes.annotate(
            f"{name}: {si(peak.rate, 'OP/s')}",
            (right, peak.rate),
            xytext=(-3, 2),
            textcoords="offset points",
            ha="right",
            fontsize=7.5,
            color="0.15" if peak.is_used else "0.5",
        )
    compute, memory = estimate.efficiencies
    most = max(peaks.values(), key=lambda peak: peak.work, default=None)
    if most is None or not most.is_used or "dram" not in bandwidths:
        return
    peak_rate = most.rate
    ridge = compute * peak_rate / (memory * bandwidths["dram"])
    xs = [left, max(left, min(ridge, right)), right]
    axes.plot(
        xs,
        [min(compute * peak_rate, memory * bandwidths["dram"] * x) for x in xs],
        color="0.25",
        linestyle=(0, (4, 3)),
        linewidth=1,
        label=f"what good kernels reach: {compute:.2g} of the peak, {memory:.2g} of the bandwidth",
    )


def _along(axes: Any, text: str, bandwidth: float, *, up: bool) -> None:
    """Write along the line of a bandwidth, near its lower end in the picture."""
    (left, right), bottom = axes.get_xlim(), axes.get_ylim()[0]
    start = max(left, bottom / bandwidth) * (right / left) ** 0.02
    one, other = (axes.transData.transform((x, x * bandwidth)) for x in (start, start * 10))
    angle = math.degrees(math.atan2(other[1] - one[1], other[0] - one[0]))
    axes.annotate(
        text,
        (start, start * bandwidth),
        xytext=(0, 4) if up else (0, 3),
        textcoords="offset points",
        rotation=angle,
        rotation_mode="anchor",
        fontsize=7.5,
        color="0.15" if up else "0.5",
    )


def _short(name: str, op: str = "") -> str:
    """The end of a path, which is what tells nodes apart, without what says the same again."""
    parts = [part for part in name.replace("::", "/").split("/") if part]
    if len(parts) > 1 and parts[-1] == op:
        del parts[-1]
    text = parts[-1] if parts else name
    for part in reversed(parts[:-1]):
        if text.startswith(part):
            continue
        if len(part) + len(text) > 24:
            break
        text = f"{part}/{text}"
    return text if len(text) <= 32 else f"...{text[-29:]}"


# Energy ---------------------------------------------------------------------------------------------------------------


def energy(estimate: Estimate, by: Key = "op", depth: int | None = None) -> Any:
    """Return what the energy of a run goes to: of the whole, and of the largest groups of rows."""
    figure = new_figure(9.6, 5.6)
    _energy(figure, f"Energy: {title(estimate)}", estimate, by, depth)
    note(figure, caption([estimate]))
    return figure


def _energy(place: Any, head: str, estimate: Estimate, by: Key, depth: int | None) -> None:
    """Draw the bars of energy into a figure, or a part of one."""
    groups = sorted(estimate.by(by, depth), key=lambda group: -group.joules.typical)
    groups = [group for group in groups if group.joules.typical > 0]
    shown, rest = groups[:LINES], groups[LINES:]
    above, below = place.subplots(2, 1, height_ratios=(1.3, max(len(shown) + bool(rest), 1)))
    total = estimate.joules
    parts = {name: value.typical for name, value in estimate.energy.items()}
    seen = [name for name in PARTS if parts.get(name, 0) > 0]
    seen += [name for name in parts if name not in PARTS and parts[name] > 0]
    columns = 3
    dress(above, head, "", "")
    above.set_title(head, loc="left", fontsize=13 if len(head) < 60 else 11, pad=8 + 14 * -(-len(seen) // columns))
    _bars(above, ["the whole run"], [parts], [total], seen, total.typical, estimate)
    where = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "borderpad": 0.2}
    above.legend(fontsize=8, ncols=columns, frameon=False, **where)
    names = [_short(group.name) if by == "node" else group.name or "(outside of modules)" for group in shown]
    values: list[Mapping[str, float]] = [group.energy for group in shown]
    ranges: list[Range | None] = [group.joules for group in shown]
    if rest:
        names.append(f"{len(rest)} other{'s' if len(rest) > 1 else ''}")
        values.append({name: sum(group.energy.get(name, 0.0) for group in rest) for name in seen})
        ranges.append(None)
    dress(below, "", "", "")
    _bars(below, names, values, ranges, seen, total.typical, estimate)
    what = {"op": "operator", "node": "kernel", "scope": "module", "dtype": "dtype", "rule": "rule"}[by]
    below.set_ylabel(f"by {what}")


def _bars(
    axes: Any,
    names: Sequence[str],
    values: Sequence[Mapping[str, float]],
    ranges: Sequence[Range | None],
    seen: Sequence[str],
    total: float,
    estimate: Estimate,
) -> None:
    """Draw stacked bars, from above to below, with their intervals and what they come to."""
    top = max([sum(value.values()) for value in values] + [one.high for one in ranges if one is not None], default=1.0)
    factor, prefix = prefixed(top)
    places = np.arange(len(names))
    left = np.zeros(len(names))
    for name in seen:
        label, colour = PARTS.get(name, (name.removeprefix("memory."), RED))
        if name == "static" and estimate.is_package:
            label = "package at work"
        widths = np.array([value.get(name, 0.0) for value in values]) / factor
        axes.barh(places, widths, 0.68, left=left, color=colour, edgecolor="white", linewidth=0.5, label=label)
        left = left + widths
    for place, length, one in zip(places, left, ranges, strict=True):
        end = length
        if one is not None and one.high > one.low:
            axes.plot([one.low / factor, one.high / factor], [place] * 2, color=BLACK, linewidth=1.1, alpha=0.7)
            axes.plot([one.low / factor, one.high / factor], [place] * 2, "|", color=BLACK, markersize=7, alpha=0.7)
            end = max(end, one.high / factor)
        share = f"  {percent(length * factor / total)}" if total and len(names) > 1 else ""
        axes.annotate(
            f"{estimate.sign} {si(length * factor, 'J')}{share}".strip(),
            (end, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="0.2",
        )
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, top / factor * 1.2)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"energy of a run ({prefix}J)")


def page(estimate: Estimate, by: Key = "op", depth: int | None = None) -> Any:
    """Return the roofline and what the energy goes to, side by side."""
    figure = new_figure(15.5, 6.8)
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    _energy(right, "What the energy goes to", estimate, by, depth)
    left_out = _roofline(figure, left.subplots(), estimate)
    note(figure, f"{caption([estimate])} {left_out}", 250)
    return figure


# Several --------------------------------------------------------------------------------------------------------------


def sizes(estimates: Sequence[Estimate], name: str, values: Sequence[int]) -> Any:
    """Return the energy over one size, such as the batch: of a run, and of each one of the batch."""
    if len(estimates) > len(CHIPS):
        raise RequestError(f"{len(estimates)} lines cannot be told apart: at most {len(CHIPS)} chips at a time")
    figure = new_figure(11.6, 5.4)
    run, each = figure.subplots(1, 2)
    xs = np.asarray(values, float)
    order = np.argsort(xs)
    xs = xs[order]
    for axes, share in ((run, np.ones(len(xs))), (each, xs)):
        for estimate, (colour, marker) in zip(estimates, CHIPS, strict=False):
            low, typical, high = (np.asarray(one).reshape(-1)[order] / share for one in estimate.joules)
            axes.fill_between(xs, low, high, facecolor=(colour, 0.12), edgecolor=(colour, 0.6), linewidth=0.7)
            label = f"{estimate.sign} {estimate.hardware.title}".strip()
            look = {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": 1.6}
            axes.plot(xs, typical, markevery=-(-len(xs) // 16), label=label, **look)
    model = estimates[0].report.model.name or "model"
    dress(run, f"Energy of {model}", name, "joules for a run")
    dress(each, f"Energy divided by {name}", name, f"joules / {name}")
    for axes in (run, each):
        if xs[-1] >= 8 * xs[0]:
            axes.set_xscale("log", base=2)
        spread = [bound for line in axes.lines for bound in line.get_ydata()]
        if min(spread) > 0 and max(spread) / min(spread) > 8:
            axes.set_yscale("log")
        _ticks(axes, xs)
    run.legend(fontsize=8, loc="best", framealpha=0.85, edgecolor="none")
    note(figure, f"Bands are 90 % intervals. {caption(estimates)}", 200)
    return figure


def _ticks(axes: Any, xs: Any) -> None:
    """Put ticks where estimates are, if these are few, else at whole numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if len(xs) <= 12:
        axes.xaxis.set_major_locator(FixedLocator(xs))
        axes.xaxis.set_minor_locator(NullLocator())
    elif axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def chips(estimates: Sequence[Estimate]) -> Any:
    """Return chips beside each other: the energy and the time of a run."""
    height = 1.9 + 0.42 * len(estimates)
    figure = new_figure(11.6, max(height, 3.2))
    order = sorted(estimates, key=lambda estimate: float(np.sum(estimate.joules.typical)))
    left, right = figure.subplots(1, 2, sharey=True)
    model = estimates[0].report.model.name or "model"
    for axes, what, unit, colour in ((left, "joules", "J", BLUE), (right, "seconds", "s", ORANGE)):
        ranges = [_single(getattr(estimate, what)) for estimate in order]
        head = f"Energy of {model}" if unit == "J" else "Time"
        dress(axes, head, "energy of a run" if unit == "J" else "time of a run", "")
        _compared(axes, ranges, [estimate.sign for estimate in order], unit, colour)
    left.set_yticks(np.arange(len(order)), [estimate.hardware.title for estimate in order], fontsize=8)
    left.set_ylim(len(order) - 0.4, -0.6)
    note(figure, f"Lines are 90 % intervals. {caption(estimates)}", 190)
    return figure


def _single(value: Range) -> tuple[float, float, float]:
    low, typical, high = (float(np.asarray(one).reshape(-1)[0]) for one in value)
    return low, typical, high


def _compared(
    axes: Any, ranges: Sequence[tuple[float, float, float]], signs: Sequence[str], unit: str, colour: str
) -> None:
    """Draw bars with intervals; points where they are so far apart that an axis from 0 shows but the largest."""
    from matplotlib.ticker import FuncFormatter

    places = np.arange(len(ranges))
    typical = np.array([one[1] for one in ranges])
    some = typical[typical > 0]
    wide = len(some) > 0 and some.max() / some.min() > WIDE
    factor, prefix = (1.0, "") if wide else prefixed(float(typical.max(initial=0.0)))
    if wide:
        axes.plot(typical, places, "o", color=colour, markersize=7, zorder=3)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: si(value, unit)))
    else:
        axes.barh(places, typical / factor, 0.62, color=colour, alpha=0.85)
    top = bottom = None
    for place, (low, middle, high), sign in zip(places, ranges, signs, strict=True):
        if high > low:
            axes.plot([low / factor, high / factor], [place] * 2, color=BLACK, linewidth=1.2, zorder=4)
            axes.plot([low / factor, high / factor], [place] * 2, "|", color=BLACK, markersize=8, zorder=4)
        axes.annotate(
            f"{sign} {si(middle, unit)}".strip(),
            (max(high, middle) / factor, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="0.2",
        )
        top = max(top or 0.0, high, middle)
        bottom = min(bottom or math.inf, low or middle or math.inf)
    if top and wide:
        axes.set_xlim((bottom or top) / 2, top * (top / (bottom or top)) ** 0.22)
        axes.set_xlabel(f"{axes.get_xlabel()}, logarithmic")
    elif top:
        axes.set_xlim(0, top / factor * 1.22)
        axes.set_xlabel(f"{axes.get_xlabel()} ({prefix}{unit})")
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


# Words ----------------------------------------------------------------------------------------------------------------


def title(estimate: Estimate) -> str:
    """The model, the chip, and how many."""
    many = f"{estimate.devices} x " if estimate.devices > 1 else ""
    return f"{estimate.report.model.name or 'model'} on {many}{estimate.hardware.title}"


def percent(share: float) -> str:
    """A share in words.

    Examples
    --------
    >>> percent(0.123), percent(0.004), percent(0.0)
    ('12 %', '<1 %', '0 %')
    """
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def caption(estimates: Sequence[Estimate]) -> str:
    """What figures rest on: dtype, traffic, sizes, intervals, and what is missing."""
    first = estimates[0]
    words = [f"Products in {', '.join(first.dtypes) or 'no dtype: there are none'}"]
    asked = first.asked
    behind = f" behind {asked.capacity:,} bytes" if asked.capacity is not None and len(estimates) == 1 else ""
    words.append(f"traffic: {asked.traffic}{behind}")
    single = {name: size for name, size in asked.sizes.items() if np.size(size) == 1}
    if single:
        words.append(", ".join(f"{name} = {int(np.asarray(size).reshape(-1)[0])}" for name, size in single.items()))
    if first.devices > 1:
        words.append(f"{first.devices} devices, {asked.parallel}-parallel")
    text = f"{'; '.join(words)}. Energy is of the device alone. Intervals are 90 % of what the tables leave open."
    bounds: dict[str, list[str]] = {}
    for estimate in estimates:
        if estimate.missing:
            bounds.setdefault(missing_words(estimate), []).append(estimate.hardware.title)
    for missing, names in bounds.items():
        text += f" Without {missing}{f' of {_and(names)}' if len(estimates) > 1 else ''}: bounds from below."
    capped = [estimate.hardware.title for estimate in estimates if np.any(estimate.capped)]
    if capped:
        text += f" At its power limit{f': {_and(capped)}' if len(estimates) > 1 else ''}; time is stretched."
    return text


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
