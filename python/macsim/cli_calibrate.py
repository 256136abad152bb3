# The command line: macsim calibrate.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""``macsim calibrate``: the constants of a chip from measurements, as a table of one's own."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

EXAMPLES = """\
examples:
  macsim calibrate measured.csv --base raspberry-pi-4 -o my-pi.toml
  macsim calibrate --measure cpu --base core-i9-13900k --save measured.csv -o mine.toml
  macsim calibrate --measure cuda --base rtx-4090 -o mine.toml
  macsim estimate model.onnx --on ./mine.toml

measured.csv has the columns model, seconds, and where they are needed shape, dims, dtype and joules:

  model,shape,dims,dtype,seconds,joules
  resnet50.onnx,"1,3,224,224",,,0.0123,0.71
  gpt2.onnx,,batch=1 seq=128,,0.051,
  matmul,1024x1024x1024,,f32,0.0021,0.12
  copy,100000000,,,0.02,
  idle,,,,10,31

A model is what macsim count takes. Energy is read from NVML (pip install nvidia-ml-py) or RAPL, where there is either.

exit status: 0 done; 2 when the measurements cannot be read or do not fit.
"""


def add_calibrate(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add ``macsim calibrate`` to the command line."""
    from macsim.cli_hardware import suggestions

    parser = command("calibrate", "fit a chip's constants to measurements, and write them as a table", EXAMPLES)
    parser.add_argument("file", metavar="FILE", nargs="?", help="measurements, as CSV")
    parser.add_argument("--measure", choices=("cpu", "cuda"), help="run microbenchmarks on this machine")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S", help="of each of them (default: 0.5)")
    parser.add_argument("--save", metavar="FILE", help="write what was measured there, as CSV")
    base = parser.add_argument("--base", required=True, metavar="CHIP", help="the chip, or one like it")
    base.suggestions = suggestions  # type: ignore[attr-defined]  # what completion offers
    parser.add_argument("--title", default="", metavar="TEXT", help="of the table")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the table there: a .toml file")
    parser.set_defaults(run=run_calibrate)


def run_calibrate(arguments: argparse.Namespace) -> int:
    """Calibrate, print what came of it, and return the exit status."""
    from macsim.calibrate import calibrate, cases_of, read_measurements
    from macsim.cli import UsageError, put

    if not arguments.file and not arguments.measure:
        raise UsageError("calibrate takes a FILE of measurements, or --measure cpu or cuda")
    if not 0 < arguments.seconds < 3600:
        raise UsageError(f"--seconds {arguments.seconds:g}: a measurement takes more than 0 and less than 3600 seconds")
    if arguments.output and not arguments.output.endswith(".toml"):
        raise UsageError(f"-o {arguments.output}: a table is a .toml file")
    cases = read_measurements(arguments.file) if arguments.file else []
    if arguments.measure:
        rows = list(measurements(arguments.measure, arguments.seconds))
        if arguments.save:
            with open(arguments.save, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, rows[0], lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        cases += cases_of(rows)
    found = calibrate(cases, arguments.base)
    put(found.table())
    if arguments.output:
        Path(arguments.output).write_text(found.to_toml(arguments.title), encoding="utf-8")
    return 0


def measurements(device: str, each: float) -> Iterator[dict[str, str]]:
    """Yield the microbenchmarks of this machine, and say what is not metered."""
    from macsim.calibrate_run import microbenchmarks
    from macsim.meters import find_meter

    meter, reason = find_meter(device)
    sys.stderr.write(f"macsim: {meter.name if meter is not None else f'only times are measured: {reason}'}\n")
    yield from microbenchmarks(device, meter, each=each)
