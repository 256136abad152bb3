# The command line: macsim estimate.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""``macsim estimate``: time, energy and power of a model on one chip, or on several."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from macsim.estimate import Estimate, Wall

EXAMPLES = """\
examples:
  macsim estimate model.onnx --on h100-sxm --dim batch=8
  macsim estimate model.onnx --on a100 --on h100 --on pi4 --shape 1,3,224,224     one line for each
  macsim estimate model.onnx --on h100 --as bf16 --by scope --depth 2
  macsim estimate model.onnx --on a100 --devices 4 --parallel tensor
  macsim estimate model.onnx --on a100 --host-watts 300 --supply 0.92 --pue 1.2 --grams-per-kwh 380
  macsim estimate model.onnx --on my-chip.toml --format json
  macsim estimate model.onnx --on h100 --on a100 --dim batch=1,2,4,8,16     one line for each chip and size
  macsim estimate model.onnx --on h100 --dim batch=8 --plot page.svg        a roofline, and what the energy goes to

exit status: 0 done; 2 when the model cannot be read, or a chip, shape or size does not fit.
"""


def add_estimate(
    command: Callable[[str, str, str], argparse.ArgumentParser],
    add_inputs: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add ``macsim estimate`` to the command line."""
    from macsim.cli_hardware import suggestions
    from macsim.estimate_loads import LEVELS
    from macsim.estimate_plots import KINDS

    parser = command("estimate", "estimate a model's time, energy and power on chips", EXAMPLES)
    add_inputs(parser)
    chip = parser.add_argument_group("what it runs on")
    on = chip.add_argument(
        "--on", action="append", required=True, metavar="CHIP", help="a chip's name or a TOML file; may be repeated"
    )
    on.suggestions = suggestions  # type: ignore[attr-defined]  # what completion offers
    chip.add_argument("--as", dest="as_dtype", metavar="DTYPE", help="take floats as this dtype: bf16, f16, i8")
    chip.add_argument("--tf32", action="store_true", help="products of f32 go to tensor units")
    chip.add_argument("--traffic", choices=LEVELS, default=LEVELS[0], help="whose bytes count (default: fused)")
    chip.add_argument("--cores", type=int, metavar="N", help="of a CPU: how many are at work (default: all)")
    chip.add_argument("--devices", type=int, default=1, metavar="N", help="how many share the work (default: 1)")
    chip.add_argument("--parallel", choices=("data", "tensor"), default="data", help="how they do (default: data)")
    wall = parser.add_argument_group("at the wall: nothing is added that is not given")
    wall.add_argument("--host-watts", type=float, default=0.0, metavar="W", help="what the host draws")
    wall.add_argument("--supply", type=float, default=1.0, metavar="SHARE", help="efficiency of power supplies: 0.92")
    wall.add_argument("--pue", type=float, default=1.0, metavar="FACTOR", help="power usage effectiveness: 1.2")
    wall.add_argument("--grams-per-kwh", type=float, metavar="G", help="carbon intensity of the grid")
    wall.add_argument("--price-per-kwh", type=float, metavar="P", help="price of energy")
    shown = parser.add_argument_group("what is shown")
    shown.add_argument(
        "--by", choices=("op", "node", "scope", "dtype", "rule"), default="op", help="lines (default: op)"
    )
    shown.add_argument("--depth", type=int, metavar="N", help="of scopes: levels of modules to tell apart")
    shown.add_argument("--top", type=int, default=15, metavar="N", help="lines at most; 0 for all (default: 15)")
    shown.add_argument("--format", choices=("table", "json"), default="table", help="default: table")
    shown.add_argument(
        "--plot",
        metavar="FILE",
        help="draw it, with matplotlib: .png, .svg, .pdf; what is drawn follows from what is asked",
    )
    shown.add_argument("--plot-kind", choices=KINDS, help="draw this instead")
    parser.set_defaults(run=run_estimate)


def run_estimate(arguments: argparse.Namespace) -> int:
    """Estimate a model, print what it takes, and return the exit status."""
    from macsim.cli import UsageError, counted, put
    from macsim.compare import compare

    if arguments.plot_kind and not arguments.plot:
        raise UsageError("--plot-kind says what is drawn: it goes with --plot FILE")
    arguments.dim, sizes = apart(arguments.dim)
    found = compare(
        counted(arguments),
        arguments.on,
        sizes,
        dtype=arguments.as_dtype,
        tf32=arguments.tf32,
        traffic=arguments.traffic,
        cores=arguments.cores,
        devices=arguments.devices,
        parallel=arguments.parallel,
    )
    several = len(found.estimates) > 1
    if arguments.plot:
        depicted = found if several or sizes else next(iter(found.estimates.values()))
        depicted.plot(arguments.plot_kind, by=arguments.by, depth=arguments.depth, path=arguments.plot)
    if arguments.format == "json":
        data = [{**one.to_dict(), "wall": at_wall(one, arguments).to_dict()} for one in found.estimates.values()]
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        return 0
    if several or sizes:
        put(found.table())
    else:
        (one,) = found.estimates.values()
        put(one.table(arguments.by, depth=arguments.depth, top=arguments.top or None))
    for name, one in found.estimates.items():
        for words in wall_words(one, arguments):
            sys.stdout.write(f"At the wall{f', {name}' if several else ''}: {words}.\n")
    return 0


def apart(dims: list[str]) -> tuple[list[str], dict[str, list[int]]]:
    """Part sizes that are one from those that are several: ``batch=1,2,4``."""
    from macsim.cli import UsageError

    single, several = [], {}
    for text in dims:
        name, equals, sizes = text.rpartition("=")
        if "," not in sizes:
            single.append(text)
        elif not equals or not name or not all(size.strip().isdecimal() for size in sizes.split(",")):
            raise UsageError(f"--dim {text}: write NAME=SIZE, or NAME=SIZE,SIZE as in batch=1,8,64")
        else:
            several[name] = [int(size) for size in sizes.split(",")]
    return single, several


def at_wall(one: Estimate, arguments: argparse.Namespace) -> Wall:
    """Return the energy at the wall."""
    return one.wall(
        host_watts=arguments.host_watts,
        supply=arguments.supply,
        pue=arguments.pue,
        grams_per_kwh=arguments.grams_per_kwh,
        price_per_kwh=arguments.price_per_kwh,
    )


def wall_words(one: Estimate, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the energy at the wall in words, for each set of sizes; nothing when nothing was given for it."""
    import numpy as np

    from macsim.estimate_physics import Range
    from macsim.estimate_show import ranged

    given = (arguments.host_watts, arguments.supply, arguments.pue, arguments.grams_per_kwh, arguments.price_per_kwh)
    if given == (0.0, 1.0, 1.0, None, None):
        return
    wall = at_wall(one, arguments)
    sizes = one.asked.sizes
    grid = np.broadcast_arrays(*(np.asarray(size) for size in sizes.values())) if sizes else []

    def here(value: Range, at: tuple[int, ...]) -> Range:
        return Range(*(float(bound[at]) if at else float(bound) for bound in value))

    for at in np.ndindex(np.shape(wall.joules.typical)):
        words = [", ".join(f"{name} = {size[at]}" for name, size in zip(sizes, grid, strict=True))] if at else []
        words.append(f"{one.sign} {ranged(here(wall.joules, at), 'J')}".strip())
        if wall.grams is not None:
            words.append(f"{ranged(here(wall.grams, at), 'g')} of CO2")
        if wall.cost is not None:
            words.append(f"{here(wall.cost, at)} for the energy")
        yield ", ".join(words)
