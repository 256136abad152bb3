# A number of a hardware table: its unit, its doubt and its source; the units and dtypes that tables know.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""`Quantity`, and the units in which hardware tables are written."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

from macsim.errors import HardwareError

Confidence = Literal["high", "medium", "low"]
Status = Literal["stated", "inherited", "derived"]

WORKS = ("mac", "add", "mul", "div", "compare", "exp", "log", "sqrt", "trig", "logic", "convert")
UNITS = ("tensor", "vector")
# Of each width and kind there is one: tables do not tell f8e4m3 from f8e5m2, or i8 from u8. tf32 is how tensor units
# take f32 at less precision; it is a dtype of tables alone.
DTYPES = ("f64", "f32", "tf32", "f16", "bf16", "f8", "f6", "f4", "i64", "i32", "i16", "i8", "i4", "i2", "i1", "bool")

# A unit: what it measures, and how many of the base unit it is. Work is counted in scalar operations: a
# multiply-accumulate is two of them in a rate, and one of its own kind in a price.
MEASURES = MappingProxyType(
    {
        "rate": {
            f"{prefix}{what}/s": factor
            for what in ("FLOP", "OP")
            for prefix, factor in (("", 1.0), ("M", 1e6), ("G", 1e9), ("T", 1e12), ("P", 1e15))
        },
        "bandwidth": {"B/s": 1.0, "MB/s": 1e6, "GB/s": 1e9, "TB/s": 1e12, "Gbit/s": 1e9 / 8},
        "capacity": {
            **{f"{prefix}B": 10.0**power for prefix, power in (("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12))},
            **{f"{prefix}iB": 2.0**power for prefix, power in (("K", 10), ("M", 20), ("G", 30))},
        },
        "power": {"W": 1.0, "mW": 1e-3, "kW": 1e3},
        "operation": {"J/op": 1.0, "pJ/op": 1e-12, "nJ/op": 1e-9},
        "mac": {
            "J/MAC": 1.0,
            "pJ/MAC": 1e-12,
            "nJ/MAC": 1e-9,
            "pJ/FLOP": 2e-12,  # of the two operations in it
            "pJ/OP": 2e-12,
        },
        "byte": {"J/B": 1.0, "pJ/B": 1e-12, "nJ/B": 1e-9, "pJ/bit": 8e-12, "pJ/64bit": 1e-12 / 8},
        "energy": {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6},
        "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
        "frequency": {"Hz": 1.0, "MHz": 1e6, "GHz": 1e9},
        "length": {"m": 1.0, "nm": 1e-9},
        "ratio": {"1": 1.0},
    }
)
BASES = MappingProxyType({measure: next(iter(units)) for measure, units in MEASURES.items()})


def measure_of(unit: str) -> str:
    """What a unit measures: a key of `MEASURES`."""
    for measure, units in MEASURES.items():
        if unit in units:
            return measure
    raise HardwareError(f"there is no unit {unit!r}")


@lru_cache(maxsize=256)
def table_dtype(dtype: str) -> str:
    """Return the name by which tables know a dtype.

    Examples
    --------
    >>> table_dtype("float8_e4m3fn"), table_dtype("uint8"), table_dtype("tf32")
    ('f8', 'i8', 'tf32')
    """
    from macsim import _core

    if dtype in DTYPES:
        return dtype
    try:
        ours = str(_core.Tensor(dtype, None).dtype)
    except ValueError:
        ours = "?"
    name = ours if ours[0] not in "fu" else {"u": f"i{ours[1:]}"}.get(ours[0], ours.partition("e")[0])
    if name not in DTYPES:
        raise HardwareError(f"no hardware table has a dtype {dtype!r}; there are {', '.join(DTYPES)}")
    return name


def number(value: float) -> str:
    """Print a number with the digits that mean something.

    Examples
    --------
    >>> number(989.4), number(2.0), number(0.00325), number(3350.0), number(12345678.0)
    ('989.4', '2', '0.00325', '3350', '12345678')
    """
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


@dataclass(frozen=True)
class Quantity:
    """A number of a hardware table: with its unit, its doubt, and where it comes from.

    Parameters
    ----------
    low, typical, high : float
        The value, and the range in which it is believed to be.
    unit : str
        As the source has it: ``TFLOP/s``, ``GB/s``, ``pJ/MAC``, ``W``; see `si`.
    source : str
        The document or the measurement.
    confidence : {"high", "medium", "low"}
        ``high`` is a vendor's document or a measurement that was seen; ``low`` is second-hand, or a rule of thumb.
    status : {"stated", "inherited", "derived"}
        Whether the chip's own table states it, a table that it inherits from, or a rule made it of other numbers.
    origin : str
        The table that states it, or the rule.
    note : str
        What to know about it.

    Examples
    --------
    >>> import macsim
    >>> tdp = macsim.hardware("h100-sxm").power.tdp
    >>> print(tdp)
    700 W
    >>> tdp.confidence, tdp.status, tdp.origin
    ('high', 'stated', 'h100-sxm')
    """

    low: float
    typical: float
    high: float
    unit: str
    source: str
    confidence: Confidence = "low"
    status: Status = "stated"
    origin: str = ""
    note: str = ""

    @property
    def si(self) -> Quantity:
        """The same in the base unit: FLOP/s or OP/s, B/s, B, W, J, J/MAC, J/op, J/B, s, Hz, m.

        Examples
        --------
        >>> import macsim
        >>> macsim.hardware("h100-sxm").memory("dram").bandwidth.si.typical
        3350000000000.0
        """
        if "OP/s" in self.unit:  # floats and integers are told apart
            return self.to("FLOP/s" if "FLOP/s" in self.unit else "OP/s")
        return self.to(BASES[measure_of(self.unit)])

    def to(self, unit: str) -> Quantity:
        """Return the same in another unit of its kind.

        Examples
        --------
        >>> Quantity(0.6, 1.0, 1.8, "pJ/FLOP", "example").to("pJ/MAC").typical
        2.0
        """
        measure = measure_of(self.unit)
        units = MEASURES[measure]
        if unit not in units:
            raise HardwareError(f"{self.unit} cannot be told in {unit!r}; {', '.join(units)} can")
        if unit == self.unit:
            return self
        return self.scaled(units[self.unit] / units[unit], unit=unit)

    def scaled(self, factor: float, low: float | None = None, high: float | None = None, **changes: Any) -> Quantity:
        """Return it times a factor, which may have a low and a high of its own."""
        return replace(
            self,
            low=tidy(self.low * (factor if low is None else low)),
            typical=tidy(self.typical * factor),
            high=tidy(self.high * (factor if high is None else high)),
            **changes,
        )

    @property
    def is_exact(self) -> bool:
        """Whether low and high are one number."""
        return self.low == self.high

    @property
    def range(self) -> str:
        """Low and high in words: ``0.6 to 1.8``; empty when they are one number."""
        return "" if self.is_exact else f"{number(self.low)} to {number(self.high)}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dict(vars(self))

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        return f"{number(self.typical)}{f' ({self.range})' if self.range else ''}{unit}"


def tidy(value: float) -> float:
    """Without the dust of conversions: 0.1 * 3 is 0.3."""
    return float(f"{value:.12g}") if math.isfinite(value) else value
