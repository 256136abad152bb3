# What rules of thumb tell of a chip whose table does not say: each derived number says from what, and on what grounds.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Derivations: numbers that follow, with wide ranges, from those that a table states or inherits.

A rule is asked only where a table says nothing, and tells nothing where what it needs is not known. What comes of it
has the status ``derived`` and a low confidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from macsim.hardware_quantity import WORKS, Quantity, tidy
from macsim.hardware_schema import Key

Numbers = dict[Key, Quantity]
Found = Iterator[tuple[Key, Quantity]]

# Share of the TDP: low, typical, high.
STATIC = (0.17, 0.24, 0.30)
IDLE = (0.03, tidy(round(math.sqrt(0.03 * 0.15), 3)), 0.15)  # two ends are known; between them the geometric mean
ACTIVE = (0.7, 0.85, 1.0)
# Of the peak, what the work that draws the whole TDP reaches; and how far the price may be from what comes of it.
UTILISATION = 0.7
DOUBT = (0.6, 1.0, 2.0)
# A multiply-accumulate of a dtype in those of bf16.
TENSOR_RATIOS = {"f8": 0.55, "i8": 0.5, "i4": 0.3, "tf32": 2.0}
VECTOR_RATIOS = {"f32": (4.0, 5.0, 6.0), "f64": (8.0, 10.0, 12.0)}
# Instructions of a vector unit for one scalar operation, in those that a fused multiply-add takes.
SIMPLE = ("add", "mul", "compare", "logic", "convert")
SPECIAL = ("div", "exp", "log", "sqrt", "trig")
SIMPLE_COST, SPECIAL_COST = (0.5, 1.0, 1.0), (2.0, 4.0, 8.0)

BOARDS = ("gpu", "tpu", "accelerator")


def derive(kind: str, stated: Numbers) -> Numbers:
    """Return the numbers of a chip with those that rules tell, in the order of the rules."""
    numbers = dict(stated)
    for rule in RULES:
        if kind in rule.kinds:
            for key, quantity in rule.tell(numbers):
                numbers.setdefault(key, quantity)
    return numbers


def _derived(quantity: Quantity, factor: tuple[float, float, float], rule: str, basis: str, unit: str = "") -> Quantity:
    """Scale a number by a rule's low, typical and high."""
    low, typical, high = factor
    return quantity.scaled(
        typical,
        low,
        high,
        unit=unit or quantity.unit,
        source=basis,
        confidence="low",
        status="derived",
        origin=rule,
        note="",
    )


def mac_of_parts(numbers: Numbers) -> Found:
    """A multiply-accumulate of bare units: a multiplication, and an addition at the width of the sum."""
    for kind, _, dtype in [key for key in numbers if key[0] == "energy" and key[1] == "mul"]:
        wide = "i32" if dtype == "i8" else dtype
        product, total = numbers[(kind, "mul", dtype)], numbers.get((kind, "add", wide))
        if total is not None:
            yield (
                (kind, "mac", dtype),
                Quantity(
                    tidy(product.low + total.low),
                    tidy(product.typical + total.typical),
                    tidy(product.high + total.high),
                    unit="pJ/MAC",
                    source=product.source if product.source == total.source else f"{product.source}; {total.source}",
                    confidence=min(product.confidence, total.confidence, key=("low", "medium", "high").index),
                    status="derived",
                    origin="mac-of-parts",
                    note=f"a multiplication of {dtype} and an addition of {wide}",
                ),
            )


def static_power(numbers: Numbers) -> Found:
    """A share of the TDP, as on the GPUs that were measured."""
    if (tdp := numbers.get(("power", "tdp"))) is not None:
        yield (
            ("power", "static"),
            _derived(
                tdp,
                STATIC,
                "static-power",
                "0.24 (0.17 to 0.30) of the TDP: 116 of 700 W measured on an H200, 238 of 1000 W on a B200, 60 of "
                "230 W on an RTX A5000, 65 of 400 W on an A800; 192 of 700 W fitted on an H100",
            ),
        )


def idle_power(numbers: Numbers) -> Found:
    """A share of the TDP, as on the GPUs that were measured."""
    if (tdp := numbers.get(("power", "tdp"))) is not None:
        yield (
            ("power", "idle"),
            _derived(
                tdp,
                IDLE,
                "idle-power",
                "0.03 to 0.15 of the TDP, with no program loaded: 22 of 575 W measured on an RTX 5090, 17 of 425 W on "
                "an RTX 4090D; a CUDA context adds 26 to 66 W (arXiv 2605.23918)",
            ),
        )


def package_power(numbers: Numbers) -> Found:
    """A CPU's package draws about the same whatever all its cores do."""
    if (tdp := numbers.get(("power", "tdp"))) is not None:
        yield (
            ("power", "active"),
            _derived(
                tdp,
                ACTIVE,
                "package-power",
                "0.7 to 1.0 of the TDP with all cores at work: a board's power varies by 1 to 8 % between networks "
                "(MLPerf Inference power logs of boards, TFLite)",
            ),
        )


def closure(numbers: Numbers) -> Found:
    """What is left of the TDP above static power is what the peak draws."""
    tdp, static = numbers.get(("power", "tdp")), numbers.get(("power", "static"))
    if tdp is None or static is None or any(key[:2] == ("energy", "mac") for key in numbers):
        return
    for unit, dtype in (("tensor", "bf16"), ("tensor", "f16"), ("tensor", "i8"), ("vector", "f32")):
        peak = numbers.get(("peak", unit, dtype, False))
        if peak is None:
            continue
        dynamic = tdp.si.typical - static.si.typical
        if dynamic <= 0:
            return
        price = dynamic / (UTILISATION * peak.si.typical) * 1e12 * 2
        one = Quantity(price, price, price, "pJ/MAC", "")
        basis = f"(TDP - static power) / (0.7 x dense peak of {dtype}), x 0.6 to x 2"
        yield ("energy", "mac", dtype), _derived(one, DOUBT, "closure", basis)
        return


def price_ratios(numbers: Numbers) -> Found:
    """Prices of other dtypes, in that of bf16 or f16."""
    base = next((dtype for dtype in ("bf16", "f16") if ("energy", "mac", dtype) in numbers), None)
    if base is None or not any(("peak", "tensor", dtype, False) in numbers for dtype in ("bf16", "f16")):
        return
    price = numbers[("energy", "mac", base)]
    basis = f"in that of {base}: {{}}; a rule of thumb of peaks that nobody has measured"
    reference = numbers.get(("peak", "tensor", base, False))
    for where, peak in list(numbers.items()):
        if where[:2] != ("peak", "tensor") or where[3]:
            continue
        dtype = str(where[2])
        if dtype in ("bf16", "f16"):
            ratio: float | None = 1.0
        elif dtype in TENSOR_RATIOS:
            ratio = TENSOR_RATIOS[dtype]
        else:  # by the ratio of peaks, which is what the others come to
            ratio = reference.si.typical / peak.si.typical if reference is not None and dtype != "f64" else None
        if ratio is not None:
            text = basis.format(f"x {ratio:.3g}")
            yield ("energy", "mac", dtype), _derived(price, (ratio, ratio, ratio), "price-ratios", text)
    for dtype, ratios in VECTOR_RATIOS.items():
        if ("peak", "vector", dtype, False) in numbers:
            text = basis.format(f"x {ratios[0]:g} to x {ratios[2]:g} on vector units")
            yield ("energy", "mac", dtype), _derived(price, ratios, "price-ratios", text)


def vector_ratios(numbers: Numbers) -> Found:
    """Prices of other dtypes on vector units, in that of f32: narrower ones as their peaks are, f64 twice as much."""
    price, reference = numbers.get(("energy", "mac", "f32")), numbers.get(("peak", "vector", "f32", False))
    if price is None or reference is None:
        return
    for dtype in ("f16", "bf16", "i8", "f64"):
        peak = numbers.get(("peak", "vector", dtype, False))
        if peak is None:
            continue
        single, double = VECTOR_RATIOS["f32"], VECTOR_RATIOS["f64"]
        share = min(1.0, reference.si.typical / peak.si.typical)
        ratios = (share, share, share)
        if dtype == "f64":
            ratios = (double[0] / single[2], double[1] / single[1], double[2] / single[0])
        text = f"of an f32 multiply-accumulate: x {ratios[1]:.3g}, as peaks are; nobody has measured it"
        yield ("energy", "mac", dtype), _derived(price, ratios, "vector-ratios", text)


def vector_work(numbers: Numbers) -> Found:
    """Scalar operations of vector units cost what their instructions do, of which arithmetic is a small part."""
    for of, dtype in (("f32", "*"), ("f64", "f64")):
        price = numbers.get(("energy", "mac", of))
        if price is None or ("peak", "vector", of, False) not in numbers:
            continue
        for kinds, factor, what in (
            (SIMPLE, SIMPLE_COST, "an instruction, as a fused multiply-add is, or half of one that does two"),
            (SPECIAL, SPECIAL_COST, "2 to 8 instructions, as special functions run at 1/4 to 1/8 of the rate"),
        ):
            basis = f"of an {of} multiply-accumulate on vector units: {what}"
            for kind in kinds:
                yield ("energy", kind, dtype), _derived(price, factor, "vector-work", basis, "pJ/op")


def _span(factor: tuple[float, float, float], of: str) -> str:
    low, typical, high = factor
    return f"{typical:g} ({low:g} to {high:g}) {of}"


@dataclass(frozen=True)
class Rule:
    """A rule: what it tells, of which kinds of chips, and by which formula."""

    tell: Callable[[Numbers], Found]
    kinds: tuple[str, ...]
    formula: str

    @property
    def name(self) -> str:
        """Its name, which is the `origin` of what it tells."""
        return self.tell.__name__.replace("_", "-")


RULES = (
    Rule(mac_of_parts, ("technology", *BOARDS), "mac = mul + add; of i8, the addition is of i32"),
    Rule(static_power, BOARDS, f"power.static = {_span(STATIC, 'x TDP')}"),
    Rule(idle_power, BOARDS, f"power.idle = {_span(IDLE, 'x TDP')}"),
    Rule(package_power, ("cpu",), f"power.active = {_span(ACTIVE, 'x TDP')}, all cores at work"),
    Rule(
        closure,
        (*BOARDS, "soc"),
        f"energy per operation = {_span((DOUBT[0], DOUBT[1], DOUBT[2]), 'x (TDP - static power)')} "
        f"/ ({UTILISATION:g} x dense peak), where no table prices a mac",
    ),
    Rule(
        price_ratios,
        (*BOARDS, "soc"),
        "in that of bf16: "
        + ", ".join(f"{dtype} x {ratio:g}" for dtype, ratio in TENSOR_RATIOS.items())
        + ", others as peaks are; on vector units "
        + ", ".join(f"{dtype} x {_span(ratios, '').strip()}" for dtype, ratios in VECTOR_RATIOS.items()),
    ),
    Rule(vector_ratios, (*BOARDS, "soc", "cpu"), "in that of f32: narrower ones as peaks are, f64 twice as much"),
    Rule(
        vector_work,
        ("gpu", "soc", "cpu"),
        f"an operation in an f32 mac: {', '.join(SIMPLE)} {_span(SIMPLE_COST, '').strip()}; "
        f"{', '.join(SPECIAL)} {_span(SPECIAL_COST, '').strip()}",
    ),
)

assert {*SIMPLE, *SPECIAL, "mac"} == set(WORKS)
