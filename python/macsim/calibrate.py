# Calibration: from a user's measurements to a hardware table of the user's own, and how good it is.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Calibration of a chip's constants by measurements: what ``macsim calibrate`` does."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from macsim.calibrate_fit import LAUNCH, Case, Fitted, fit, leave_out, widening
from macsim.errors import MacsimError, RequestError
from macsim.estimate_loads import BITS, loads_of, machine_of
from macsim.estimate_physics import Loads, Machine, Range, Spread, simulate
from macsim.hardware_quantity import table_dtype
from macsim.hardware_rules import SIMPLE, SIMPLE_COST, SPECIAL, SPECIAL_COST
from macsim.hardware_tables import hardware

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from macsim.hardware_types import Hardware

__all__ = ["Calibration", "calibrate", "cases_of"]

LEAST = 3  # measurements that a fit takes
COLUMNS = ("model", "shape", "dims", "dtype", "seconds", "joules")
PLAIN = ("matmul", "copy", "idle")
# Of a CPU whose table has no price of arithmetic: measurements decide.
PRICE = Spread(1e-12, 2e-11, 4e-10)
TIMES = ("efficiency.", "launch.")
ENERGIES = ("energy.", "memory.dram.path", "power.static")
EVEN, MOST = 0.1, 2.3  # widths of ranges in logarithms: what doubt is measured in, and a factor of 10
DOUBT = 0.1  # of a constant that a table says is exact, when it is fitted


@dataclass(frozen=True)
class Errors:
    """Relative errors of estimates: of the fit to everything, and with each model left out of the fit."""

    fitted: NDArray[Any]
    left_out: NDArray[Any]

    def words(self) -> str:
        """Say the medians and means in percent."""
        parts = []
        for name, errors in (("fit", self.fitted), ("leave one model out", self.left_out)):
            sizes = 100 * np.abs(errors)
            parts.append(f"{name} {np.median(sizes):.1f} % median, {sizes.mean():.1f} % mean")
        return "; ".join(parts)


@dataclass(frozen=True)
class Calibration:
    """A chip's constants, fitted to measurements.

    Attributes
    ----------
    base : Hardware
        The chip whose table the fit started from.
    machine : Machine
        It with the constants that were fitted. 90 % of what was left out is in the intervals that their ranges give.
    cases : tuple of Case
    seconds, joules : Errors or None
        None for joules where none were measured.
    """

    base: Hardware
    machine: Machine
    cases: tuple[Case, ...]
    seconds: Errors
    joules: Errors | None

    def constants(self) -> dict[str, Spread]:
        """Return what was fitted, by the names of `Hardware.numbers`."""
        wanted = ["efficiency.compute", "efficiency.memory", "launch.overhead"]
        if self.joules is not None:
            wanted += [name for name in self.machine.values if name.startswith("energy.mac.")]
            wanted += ["memory.dram.path", "power.static"]
        return {name: self.machine.values[name] for name in wanted if name in self.machine.values}

    def to_toml(self, title: str = "") -> str:
        """Return a table that `macsim.hardware` reads; what was not fitted is inherited."""
        found = self.constants()

        def number(name: str, unit: str, scale: float) -> str:
            spread = found[name].scaled(scale)
            high = min(spread.high, 1.0) if unit == "1" else spread.high
            values = f"low = {spread.low:.4g}, typical = {spread.typical:.4g}, high = {max(high, spread.typical):.4g}"
            return f'{{ {values}, unit = "{unit}", source = "fit", confidence = "medium" }}'

        named = _quoted(title or self.base.title + ", calibrated")
        lines = [f"title = {named}", f'kind = "{self.base.kind}"']
        lines += [
            f"inherits = [{_quoted(_parent(self.base))}]",
            f"launch_overhead = {number('launch.overhead', 'us', 1e6)}",
        ]
        prices = [name for name in found if name.startswith("energy.mac.")]
        if prices:
            lines.append("energy = [")
            for name in prices:
                dtype = name.rpartition(".")[2]
                lines.append(f'  {{ kind = "mac", dtype = "{dtype}", price = {number(name, "pJ/MAC", 1e12)} }},')
            lines.append("]")
        if "memory.dram.path" in found:
            lines += ["", "[[memory]]", 'name = "dram"', f"path = {number('memory.dram.path', 'pJ/B', 1e12)}"]
        if "power.static" in found:
            lines += ["", "[power]", f"static = {number('power.static', 'W', 1.0)}"]
        lines += ["", "[efficiency]"]
        lines += [f"{what} = {number(f'efficiency.{what}', '1', 1.0)}" for what in ("compute", "memory")]
        models = len({case.group for case in self.cases})
        lines += [
            "",
            "[sources]",
            f'fit = "Calibration: {len(self.cases)} measurements of {models} models; {self.words()}"',
        ]
        return "\n".join(lines) + "\n"

    def words(self) -> str:
        """Say the errors."""
        said = f"seconds: {self.seconds.words()}"
        return said if self.joules is None else f"{said}; joules: {self.joules.words()}"

    def table(self) -> RenderableType:
        """Return the constants and the errors as a table that rich can print."""
        from macsim.estimate_show import calibration_table

        return calibration_table(self)


def _parent(base: Hardware) -> str:
    shipped = not base.path.endswith(".toml") or base.path.startswith("macsim/")
    return base.name if shipped else os.path.abspath(base.path)


def _quoted(text: str) -> str:
    """Return a text as TOML has it: its basic strings are those of JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def calibrate(cases: Sequence[Case], base: str | Hardware) -> Calibration:
    r"""Fit the constants of a chip to measurements.

    Parameters
    ----------
    cases : sequence of Case
        See `cases_of`. At least three.
    base : str or Hardware
        The chip, or one like it: its peaks and bandwidths are taken, its other constants are where the fit starts.

    Returns
    -------
    Calibration

    Examples
    --------
    >>> text = "model,shape,seconds\nmatmul,1024x1024x1024,1.1e-3\nmatmul,512x512x512,1.5e-4\ncopy,1e8,0.02\n"
    >>> import csv, io
    >>> found = calibrate(cases_of(csv.DictReader(io.StringIO(text))), "core-i9-13900k")
    >>> 0 < found.constants()["efficiency.compute"].typical <= 1
    True
    """
    idle = [case for case in cases if not case.loads.work and not np.any(case.loads.bytes)]
    cases = [case for case in cases if case not in idle]
    if len(cases) < LEAST:
        raise RequestError(f"a calibration takes {LEAST} measurements of work at least, not {len(cases)}")
    chip = hardware(base)
    machine = _open(machine_of(chip)[0], cases, [c.joules / c.seconds for c in idle if c.joules is not None])
    found = fit(machine, cases)
    apart = leave_out(machine, cases) if len({case.group for case in cases}) > 1 else [found] * len(cases)
    known = [at for at, case in enumerate(cases) if case.joules is not None]
    times = [_range(one, case, "seconds") for one, case in zip(apart, cases, strict=True)]
    energies = [_range(apart[at], cases[at], "joules") for at in known]
    seconds = np.array([case.seconds for case in cases])
    joules = np.array([cases[at].joules for at in known], float)
    groups = [case.group for case in cases]
    machine = _even(found.on(), TIMES, min(EVEN * widening(seconds, times, groups), MOST))
    if known:
        wide = widening(joules, energies, [groups[at] for at in known])
        machine = _with_other_work(_even(machine, ENERGIES, min(EVEN * wide, MOST)))
    return Calibration(
        chip,
        machine,
        tuple(cases),
        Errors(_errors(seconds, [found.seconds(case) for case in cases]), _errors(seconds, times)),
        Errors(_errors(joules, [found.joules(cases[at]) for at in known]), _errors(joules, energies))
        if known
        else None,
    )


def _with_other_work(machine: Machine) -> Machine:
    """Return it with the prices of other work that a table of it has: in that of a multiply-accumulate."""
    price = machine.values.get("energy.mac.f32")
    if price is None:
        return machine
    values = {}
    for kinds, (low, typical, high) in ((SIMPLE, SIMPLE_COST), (SPECIAL, SPECIAL_COST)):
        one = Spread(low * price.low, typical * price.typical, high * price.high)
        values.update({f"energy.{kind}.*": one for kind in kinds})
    return replace(machine, values={**values, **machine.values})


def _even(machine: Machine, names: tuple[str, ...], width: float) -> Machine:
    """Give constants ranges that are so wide on either side, in logarithms: that of shares up to 1."""
    factor = math.exp(width)
    values = dict(machine.values)
    for name, spread in machine.values.items():
        if name.startswith(names):
            high = spread.typical * factor
            values[name] = Spread(
                spread.typical / factor, spread.typical, min(high, 1) if "efficiency" in name else high
            )
    return replace(machine, values=values)


def _range(found: Fitted, case: Case, what: str) -> Range:
    """Return what a case should take, when each constant has a small range of its own."""
    machine = _even(found.machine_for(case), TIMES if what == "seconds" else TIMES + ENERGIES, EVEN)
    outcome = simulate(case.loads, machine)
    return Range(*(float(value[0]) for value in outcome.range(getattr(outcome, what))))


def _errors(truths: NDArray[Any], ranges: Iterable[Range]) -> NDArray[Any]:
    errors: NDArray[Any] = np.array([found.typical for found in ranges]) / truths - 1
    return errors


def _open(machine: Machine, cases: Sequence[Case], idle: Sequence[float]) -> Machine:
    """Make a machine ready to be fitted: every constant has a value and a range. ``idle`` are measured watts."""
    values = dict(machine.values)
    if idle:  # ready to work is some more than idle
        watts = float(np.median(idle))
        values["power.static"] = Spread(0.8 * watts, 1.1 * watts, 1.6 * watts)
    values.setdefault("launch.overhead", LAUNCH)
    for dtype in dict.fromkeys(dtype for case in cases for kind, dtype in case.loads.work if kind == "mac"):
        values.setdefault(f"energy.mac.{dtype}", PRICE)
    if "power.static" not in values:
        active = values.get("power.active") or values.get("power.tdp")
        if active is None:
            raise RequestError(f"{machine.name}: its table says nothing of its power: give it a TDP")
        values["power.static"] = Spread(0.1 * active.low, 0.5 * active.typical, active.high)
    for name in ("efficiency.compute", "efficiency.memory", "power.static", "memory.dram.path"):
        if name in values and values[name].low == values[name].high:
            typical = values[name].typical
            values[name] = Spread(typical * (1 - DOUBT), typical, typical * (1 + DOUBT))
    return replace(machine, values=values, package=False)


# Measurements ---------------------------------------------------------------------------------------------------------


def cases_of(rows: Iterable[Mapping[str, str]], where: str = "measurements") -> list[Case]:
    """Return the cases of measurements.

    Parameters
    ----------
    rows : iterable of mapping
        Each has ``model`` and ``seconds``, and may have ``shape``, ``dims`` (``batch=8 seq=128``), ``dtype`` and
        ``joules``. A model is what ``macsim count`` takes; or ``matmul`` with a shape ``MxKxN``, ``copy`` with a number
        of bytes, ``idle``.
    where : str
        What to call them in errors.

    Returns
    -------
    list of Case
    """
    cases = []
    for line, row in enumerate(rows, 2):
        at = f"{where}, line {line}"
        missing = [name for name in ("model", "seconds") if not row.get(name)]
        if missing:
            raise RequestError(f"{at}: there is no {' and no '.join(missing)}; columns are {', '.join(COLUMNS)}")
        seconds, joules = (_positive(row.get(name), f"{at}: {name}") for name in ("seconds", "joules"))
        assert seconds is not None
        shape, dtype = (row.get("shape") or "").strip(), (row.get("dtype") or "").strip() or None
        if row["model"] in PLAIN:
            loads = _plain(row["model"], shape, dtype or "f32", at)
        else:
            loads = _counted(row["model"], shape, (row.get("dims") or "").split(), dtype, at)
        cases.append(Case(f"{row['model']} {shape}" if row["model"] in PLAIN else row["model"], loads, seconds, joules))
    return cases


def read_measurements(path: str | os.PathLike[str]) -> list[Case]:
    """Return the cases of a CSV file; see `cases_of`."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            return cases_of(csv.DictReader(file), str(path))
        except (UnicodeDecodeError, csv.Error) as error:
            raise RequestError(f"{path} is no CSV file in UTF-8: {error}") from error


def _positive(text: str | None, what: str) -> float | None:
    if not (text or "").strip():
        return None
    try:
        value = float(text or "")
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise RequestError(f"{what}: {text!r} is not a number above 0")
    return value


def _plain(model: str, shape: str, dtype: str, where: str) -> Loads:
    """A product of matrices, a copy, or nothing."""
    name = table_dtype(dtype)
    try:
        sizes = [float(size) for size in shape.lower().split("x")] if shape else []
    except ValueError:
        raise RequestError(f"{where}: {shape!r} is not a shape: write 1024x1024x1024, or a number of bytes") from None
    if len(sizes) != {"matmul": 3, "copy": 1, "idle": 0}[model] or not all(0 < size < math.inf for size in sizes):
        raise RequestError(
            f"{where}: the shape of {model} is not {shape!r}: write 1024x1024x1024, or a number of bytes"
        )
    one = np.ones((1, 1))
    if model == "idle":
        return Loads({}, {"path": 0 * one}, 0 * one)
    if model == "copy":
        return Loads({}, {"path": 2 * sizes[0] * one}, one)
    m, k, n = sizes
    moved = (m * k + k * n + m * n) * BITS[name] / 8
    return Loads({("mac", name): m * k * n * one}, {"path": moved * one}, one)


def _counted(model: str, shape: str, dims: Sequence[str], dtype: str | None, where: str) -> Loads:
    """The loads of a model that ``macsim count`` takes."""
    import argparse

    from macsim.cli import UsageError, add_inputs, counted

    shapes = [part for part in shape.replace("x", ",").split(";") if part] if "=" not in shape else shape.split(";")
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_inputs(parser)
    given = parser.parse_args([*(f"--shape={one}" for one in shapes), *(f"--dim={one}" for one in dims), "--", model])
    try:
        return loads_of(counted(given), dtype=dtype).loads
    except (MacsimError, UsageError, OSError) as error:
        raise RequestError(f"{where}: {model}: {error}") from error
