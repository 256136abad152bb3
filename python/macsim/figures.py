# What figures have in common: colours, axes, names beside points, notes, files. matplotlib is loaded when one is drawn.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The look of figures, for matplotlib."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable
from typing import Any

from macsim.errors import RequestError

# Okabe and Ito's colours, which can be told apart with every kind of colour vision.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#000000",
)
FONT, WIDTH = 7, 0.56  # of names: points, and how wide a letter is in these
PLACES = ((4, 5, "left"), (4, -11, "left"), (-4, 5, "right"), (-4, -11, "right"), (4, 14, "left"), (-4, 14, "right"))


def new_figure(width: float, height: float, layout: Any = "constrained") -> Any:
    """Return a figure of so many inches that no window shows and pyplot does not know of."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise RequestError("figures need matplotlib: pip install 'macsim[plot]'") from None
    return Figure(figsize=(width, height), dpi=120, layout=layout)


def dress(axes: Any, title: str, x: str, y: str, size: float = 13) -> None:
    """Give axes their title, their labels and the look of all axes."""
    axes.set_title(title, loc="left", fontsize=size, y=1.0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(True, which="major", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def note(figure: Any, text: str, width: int = 160) -> None:
    """Write below everything what the figure rests on."""
    figure.supxlabel("\n".join(textwrap.wrap(text, width)), fontsize=8, color="0.3", x=0.01, ha="left")


def write_names(
    figure: Any, axes: Any, points: Iterable[tuple[str, float, float]], marks: Iterable[tuple[float, float, float]] = ()
) -> None:
    """Write the names of points beside them, where no other name stands and no mark, given with its size in points.

    How wide a name is follows from its letters: asking matplotlib takes longer than drawing all the rest.
    """
    from matplotlib.patheffects import withStroke

    unit = figure.dpi / 72  # pixels in a point
    axes.autoscale_view()
    inside = axes.get_window_extent()
    taken: list[Any] = [text.get_window_extent().extents for text in axes.texts if not text.get_rotation()]
    for at_x, at_y, size in marks:
        (x, y), half = axes.transData.transform((at_x, at_y)), size / 2 * unit
        taken.append((x - half, y - half, x + half, y + half))
    for name, at_x, at_y in points:
        x, y = axes.transData.transform((at_x, at_y))
        width, height = WIDTH * FONT * len(name) * unit, FONT * unit
        for right, up, side in PLACES:
            left = x + right * unit - (width if side == "right" else 0)
            bottom = y + up * unit
            box = (left, bottom, left + width, bottom + height)
            free = all(box[2] < o[0] or o[2] < box[0] or box[3] < o[1] or o[3] < box[1] for o in taken)
            if free and box[0] > inside.x0 and box[2] < inside.x1 + 30:
                taken.append(box)
                axes.annotate(
                    name,
                    (at_x, at_y),
                    xytext=(right, up),
                    textcoords="offset points",
                    fontsize=FONT,
                    color="0.15",
                    ha=side,
                    zorder=6,
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                )
                break


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure into a file: what its name ends in says the format."""
    known = figure.canvas.get_supported_filetypes()
    ending = os.path.splitext(os.fspath(path))[1].lstrip(".").lower()
    if ending not in known:
        raise RequestError(f"{os.fspath(path)!r}: a figure's file ends in {', '.join(f'.{one}' for one in known)}")
    figure.savefig(path)
