"""Numbers that count what is done to them, in arrays of numpy, for gradients written out as formulas.

Nothing here knows what an operator's gradient takes. A formula in these numbers gives the gradient as well, so that a
test can compare that with what torch's autograd says of the operator: what gives the right numbers is the gradient.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Counted:
    """A real number. A negation, a magnitude and a sign are logic, a rounded number is a conversion."""

    __slots__ = ("value",)
    work: ClassVar[Counter[str]] = Counter()
    repeated: ClassVar[Counter[str]] = Counter()

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __float__(self) -> float:
        return self.value

    def __add__(self, other: Any) -> Counted:
        return made("add", self.value + float(other))

    def __sub__(self, other: Any) -> Counted:
        return made("add", self.value - float(other))

    def __rsub__(self, other: Any) -> Counted:
        return made("add", float(other) - self.value)

    def __mul__(self, other: Any) -> Counted:
        return made("mul", self.value * float(other))

    def __truediv__(self, other: Any) -> Counted:
        return made("div", self.value / float(other))

    def __rtruediv__(self, other: Any) -> Counted:
        return made("div", float(other) / self.value)

    def __neg__(self) -> Counted:
        return made("logic", -self.value)

    def __abs__(self) -> Counted:
        return made("logic", abs(self.value))

    def __int__(self) -> int:
        """Round down."""
        Counted.work["convert"] += 1
        return math.floor(self.value)

    def __lt__(self, other: Any) -> bool:
        Counted.work["compare"] += 1
        return self.value < float(other)

    def __gt__(self, other: Any) -> bool:
        Counted.work["compare"] += 1
        return self.value > float(other)

    __radd__, __rmul__ = __add__, __mul__


def made(kind: str, value: float) -> Counted:
    Counted.work[kind] += 1
    return Counted(value)


def _each(kind: str, function: Callable[[float], float]) -> Callable[[Array], Array]:
    return np.vectorize(lambda x: made(kind, function(float(x))), otypes=[object])


exp, log, sqrt = _each("exp", math.exp), _each("log", math.log), _each("sqrt", math.sqrt)
sin, cos = _each("trig", math.sin), _each("trig", math.cos)
# By the exponential function, which they cost.
tanh, sinh, cosh, erf = (_each("exp", f) for f in (math.tanh, math.sinh, math.cosh, math.erf))
sign = _each("logic", lambda x: math.copysign(1, x))
floor = _each("convert", math.floor)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), with the sign in the exponential function."""
    return 1 / (1 + _each("exp", lambda value: math.exp(-value))(x))


def counted(values: Any) -> Array:
    """The array, of counted numbers."""
    return np.vectorize(Counted, otypes=[object])(np.asarray(values))


def zeros(*shape: int) -> Array:
    return counted(np.zeros(shape))


def numbers(x: Any) -> npt.NDArray[np.float64]:
    """The values alone."""
    return np.vectorize(float, otypes=[float])(x)


def where(condition: Array, yes: Any, no: Any) -> Array:
    """What one of both gives; both are worked out for every element."""
    return np.where(condition.astype(bool), yes, no)


def product(equation: str, *operands: Array) -> Array:
    """An einsum of two operands: a multiply-accumulate for all values of all letters."""
    sides = equation.split("->")[0].split(",")
    sizes = {letter: size for side, x in zip(sides, operands, strict=True)
             for letter, size in zip(side, x.shape, strict=True)}  # fmt: skip
    Counted.work["mac"] += math.prod(sizes.values())
    return counted(np.einsum(equation, *(numbers(x) for x in operands)))


def spread(dy: Array, shape: tuple[int, ...]) -> Array:
    """The gradient summed over what an input of this shape was spread over."""
    while dy.ndim > len(shape):
        dy = dy.sum(0)
    for axis, size in enumerate(shape):
        if size == 1 and dy.shape[axis] != 1:
            dy = dy.sum(axis, keepdims=True)
    return dy


@contextlib.contextmanager
def tally() -> Iterator[tuple[Counter[str], Counter[str]]]:
    """The work inside, and what is done once more for it, inside of `again`."""
    kept = Counted.work, Counted.repeated
    Counted.work, Counted.repeated = Counter(), Counter()
    try:
        yield Counted.work, Counted.repeated
    finally:
        Counted.work, Counted.repeated = kept


@contextlib.contextmanager
def again() -> Iterator[None]:
    """What the run did not keep is worked out once more inside."""
    kept, Counted.work = Counted.work, Counted.repeated
    try:
        yield
    finally:
        Counted.work = kept
