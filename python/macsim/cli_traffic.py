# The command line: bytes that move and memory that is held.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""``macsim count --traffic --memory`` and ``macsim memory``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from macsim.cli_training import add_training, check_training

if TYPE_CHECKING:
    from rich.console import RenderableType

    from macsim.report import Report

EXAMPLES = """\
examples:
  macsim memory model.onnx --shape 1,3,224,224
  macsim memory model.onnx --dim batch=8 --in-place --top 20
  macsim memory models.resnet:build --shape 1,3,224,224 --by-module
  macsim memory model.onnx --shape 8,3,224,224 --training --optimizer sgd
"""


def add_bytes(count: argparse.ArgumentParser) -> None:
    """Add what `with_bytes` shows to ``macsim count``."""
    moved = count.add_argument_group("bytes and memory (after the table)")
    moved.add_argument("--traffic", action="store_true", help="bytes that move: unfused, fused, at least")
    moved.add_argument("--capacity", metavar="BYTES", help="with --traffic: also behind a memory of so many bytes")
    moved.add_argument("--memory", action="store_true", help="the memory that a run holds at its peak")


def check_bytes(arguments: argparse.Namespace) -> None:
    """Raise when what is asked for does not go together."""
    from macsim.cli import UsageError

    if arguments.capacity is not None and not arguments.traffic:
        raise UsageError("--capacity goes with --traffic")
    if (arguments.traffic or arguments.memory) and arguments.format not in (None, "table"):
        raise UsageError("--traffic and --memory are tables: they do not go with --format")
    capacity_of(arguments.capacity)


def with_bytes(what: RenderableType, report: Report, arguments: argparse.Namespace) -> RenderableType:
    """Add the levels of traffic and the memory to what is shown."""
    if not arguments.traffic and not arguments.memory:
        return what
    from rich.console import Group
    from rich.text import Text

    from macsim.show_traffic import levels_table

    parts: list[RenderableType] = [what]
    if arguments.traffic:
        parts += [Text(), levels_table(report, capacity_of(arguments.capacity))]
    if arguments.memory:
        parts += [Text(), Text("memory"), report.memory().table(top=5)]
    return Group(*parts)


def capacity_of(text: str | None) -> int | None:
    """Read ``50e6`` or ``52428800``.

    Examples
    --------
    >>> capacity_of("50e6"), capacity_of(None)
    (50000000, None)
    """
    from macsim.cli import UsageError

    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < 2**63 or value % 1 != 0:
        raise UsageError(f"--capacity {text}: write a whole number of bytes above 0, as in 50e6")
    return int(value)


def add_memory(
    command: Callable[[str, str, str], argparse.ArgumentParser],
    add_inputs: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add ``macsim memory`` to the command line."""
    parser = command("memory", "show the memory that a run of a model holds, and when", EXAMPLES)
    add_inputs(parser)
    parser.add_argument("--top", type=int, default=10, metavar="N", help="tensors at the peak to list; 0 for all")
    parser.add_argument("--by-module", action="store_true", help="inputs of a module are held until it returns")
    parser.add_argument("--by-program", action="store_true", help="results are held as long as a torch program does")
    parser.add_argument("--in-place", action="store_true", help="point-wise results take the place of their inputs")
    add_training(parser)
    parser.set_defaults(run=run_memory)


def run_memory(arguments: argparse.Namespace) -> int:
    """Print the memory that a run holds, and return the exit status."""
    from macsim.cli import UsageError, counted, put

    check_training(arguments)
    if arguments.training and (arguments.by_module or arguments.by_program or arguments.in_place):
        raise UsageError("--by-module, --by-program and --in-place are of a run: they do not go with --training")
    report = counted(arguments)
    if arguments.training:
        put(report.training.timeline.table(top=arguments.top or None))
        return 0
    held = report.memory(by_module=arguments.by_module, by_program=arguments.by_program, in_place=arguments.in_place)
    put(held.table(top=arguments.top or None))
    return 0
