# Integers, fractions and answers over symbolic sizes, as torch asks for them.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The nodes of `torch.SymInt`, `torch.SymFloat` and `torch.SymBool`: arithmetic and comparisons over expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from macsim import _core
from macsim.errors import TraceError
from macsim.sources.torch_symbol_facts import at_least_0, plain

if TYPE_CHECKING:
    from macsim.rows import Number
    from macsim.sources.torch_symbols import Sizes

__all__: list[str] = []  # a protocol of torch: it names the methods and calls them

_MOST_HALVINGS = 1024  # a factor such as 0.5 or 1.25 is exact in a double; the product with 0.1 is rounded


def size_of(node: Node) -> Number:
    if isinstance(node, Whole):
        return node.size
    known = node.maybe_as_int()  # one of torch's own, a number
    assert known is not None
    return int(known)


class Node:
    """What every node answers: torch asks for these by name."""

    __slots__ = ("sizes",)
    pytype: type = int
    shape_env = None
    constant = None
    fx_node = None

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def is_int(self) -> bool:
        return self.pytype is int

    def is_float(self) -> bool:
        return self.pytype is float

    def is_bool(self) -> bool:
        return self.pytype is bool

    def is_symbolic(self) -> bool:
        return True

    def is_constant(self) -> bool:
        return False

    def is_nested_int(self) -> bool:
        return False

    def nested_int(self) -> None:
        return None

    def nested_int_coeff(self) -> None:
        return None

    def constant_int(self) -> int | None:
        return None

    def constant_bool(self) -> bool | None:
        return None

    def maybe_as_int(self) -> int | None:
        return None

    def maybe_as_float(self) -> float | None:
        return None

    def maybe_as_bool(self) -> bool | None:
        return None

    def has_hint(self) -> bool:
        return True

    @property
    def _hint(self) -> Any:
        return self.hint  # type: ignore[attr-defined]

    def require_hint(self, fallback: Any = None) -> Any:
        return self._hint

    def clone(self) -> Node:
        return self

    def wrap_int(self, number: int) -> Whole:
        return Whole(self.sizes, int(number))

    def wrap_float(self, number: float) -> Real:
        return Real.constant_of(self.sizes, number)

    def wrap_bool(self, value: bool) -> Answer:
        return Answer.constant_of(self.sizes, bool(value))

    def __repr__(self) -> str:
        return f"{self}"

    @property
    def expr(self) -> Any:
        """For torch's own functions, which look for their kinds of symbols in it: one of sympy's, of no such kind."""
        import sympy

        return sympy.Symbol(f"size {self}", integer=True)


def _text(node: Node) -> str:
    return f"{node}"


Node.str = Node._graph_repr = _text  # type: ignore[attr-defined]


def _compared(a: Node, b: Node, how: str) -> Answer:
    """Return whether a < b, a == b, and so on. Answers are yes where an expression is at least 0."""
    text = f"{a} {how} {b}"
    x, y = a._over(b), b._over(a)  # type: ignore[attr-defined]
    if x is None or y is None:
        raise TraceError(f"the program decides by {text!r}, a number computed from sizes", a.sizes.where)
    apart: Number = plain(x - y)
    if isinstance(apart, int):
        return Answer.constant_of(a.sizes, _COMPARE[how](apart))
    if how in ("==", "!="):
        try:
            if bool(apart):  # never 0
                return Answer.constant_of(a.sizes, how == "!=")
        except ValueError:
            pass
        low = _core.min(apart, -apart) if how == "==" else _core.max(apart, -apart) - 1
    else:
        low = {">=": apart, ">": apart - 1, "<=": -apart, "<": -apart - 1}[how]
    return Answer(a.sizes, low, text)


_COMPARE: dict[str, Callable[[int], bool]] = {
    "==": lambda apart: apart == 0,
    "!=": lambda apart: apart != 0,
    ">=": lambda apart: apart >= 0,
    ">": lambda apart: apart > 0,
    "<=": lambda apart: apart <= 0,
    "<": lambda apart: apart < 0,
}


class _Number(Node):
    __slots__ = ()

    def eq(self, other: Node) -> Answer:
        return _compared(self, other, "==")

    def ne(self, other: Node) -> Answer:
        return _compared(self, other, "!=")

    def lt(self, other: Node) -> Answer:
        return _compared(self, other, "<")

    def le(self, other: Node) -> Answer:
        return _compared(self, other, "<=")

    def gt(self, other: Node) -> Answer:
        return _compared(self, other, ">")

    def ge(self, other: Node) -> Answer:
        return _compared(self, other, ">=")


class Whole(_Number):
    """An integer: an expression over sizes."""

    __slots__ = ("size",)
    pytype = int
    may_be_constant = True  # of some torch; others take only a yes or no for a constant

    def __init__(self, sizes: Sizes, size: Number) -> None:
        super().__init__(sizes)
        self.size = size if isinstance(size, int) else plain(size)
        if not isinstance(self.size, int) and not self.size.defined:
            raise TraceError("a size does not fit 128 bits", sizes.where)

    def __str__(self) -> str:
        return str(self.size)

    def _like(self, size: Number) -> Whole:
        return Whole(self.sizes, size)

    def _over(self, other: Node) -> Number | None:
        if isinstance(other, Real):
            return None if other.above is None else self.size * other.below
        return self.size

    @property
    def hint(self) -> int:
        return self.sizes.hint(self.size)

    def is_constant(self) -> bool:
        return self.may_be_constant and isinstance(self.size, int)

    def maybe_as_int(self) -> int | None:
        return self.size if isinstance(self.size, int) else None

    constant_int = maybe_as_int

    def add(self, other: Whole) -> Whole:
        return self._like(self.size + other.size)

    def sub(self, other: Whole) -> Whole:
        return self._like(self.size - other.size)

    def mul(self, other: Whole) -> Whole:
        return self._like(self.size * other.size)

    def int_floordiv(self, other: Whole) -> Whole:
        return self._like(self.sizes.divide(self.size, other.size))

    floordiv = int_floordiv

    def mod(self, other: Whole) -> Whole:
        return self._like(self.size - other.size * self.sizes.divide(self.size, other.size))

    def int_truediv(self, other: Whole) -> Real:
        return Real(self.sizes, self.size, 1).float_truediv(Real(self.sizes, other.size, 1))

    truediv = int_truediv
    float_truediv = int_truediv

    def pow_by_natural(self, other: Whole) -> Whole:
        return self._like(self.size ** other.sizes.number(other.size))

    pow = pow_by_natural

    def float_pow(self, other: Node) -> Real:
        return self.sym_float().float_pow(other)

    def lshift(self, other: Whole) -> Whole:
        return self._like(self.size * 2 ** self.sizes.number(other.size))

    def rshift(self, other: Whole) -> Whole:
        return self._like(self.size // 2 ** self.sizes.number(other.size))

    def bitwise_and(self, other: Whole) -> Whole:
        return self._like(self.sizes.number(self.size) & self.sizes.number(other.size))

    def bitwise_or(self, other: Whole) -> Whole:
        return self._like(self.sizes.number(self.size) | self.sizes.number(other.size))

    def bitwise_xor(self, other: Whole) -> Whole:
        return self._like(self.sizes.number(self.size) ^ self.sizes.number(other.size))

    def neg(self) -> Whole:
        return self._like(-self.size)

    def pos(self) -> Whole:
        return self

    floor = ceil = trunc = sym_int = pos

    def round(self, ndigits: int | None = None) -> Whole:
        return self

    def abs(self) -> Whole:
        return self._like(_core.max(self.size, -self.size))

    def sym_min(self, other: Whole) -> Whole:
        return self._like(_core.min(self.size, other.size))

    def sym_max(self, other: Whole) -> Whole:
        return self._like(_core.max(self.size, other.size))

    def sym_sum(self, several: Sequence[Whole]) -> Whole:
        total: Number = 0
        for one in several:
            total = total + one.size
        return self._like(total)

    def sym_float(self) -> Real:
        return Real(self.sizes, self.size, 1)

    def is_integer(self) -> Answer:
        return Answer.constant_of(self.sizes, True)

    def guard_int(self, file: str, line: int) -> int:
        return self.sizes.number(self.size)

    def int_(self) -> int:
        return self.sizes.number(self.size)

    def expect_size(self, file: str, line: int) -> bool:  # of torch's until 2.7
        return self.ge(self.wrap_int(0)).expect_true(file, line)

    def guard_float(self, file: str, line: int) -> float:
        return float(self.sizes.number(self.size))

    # Strides, for sizes that are neither alike nor special.

    def is_contiguous(self, sizes: Sequence[Node], strides: Sequence[Node]) -> Answer:
        return self._packed(sizes, strides, range(len(sizes) - 1, -1, -1))

    def is_channels_last_contiguous_2d(self, sizes: Sequence[Node], strides: Sequence[Node]) -> Answer:
        return self._packed(sizes, strides, (1, 3, 2, 0) if len(sizes) == 4 else None)

    def is_channels_last_contiguous_3d(self, sizes: Sequence[Node], strides: Sequence[Node]) -> Answer:
        return self._packed(sizes, strides, (1, 4, 3, 2, 0) if len(sizes) == 5 else None)

    is_channels_last_strides_2d = is_channels_last_contiguous_2d
    is_channels_last_strides_3d = is_channels_last_contiguous_3d

    def is_non_overlapping_and_dense(self, sizes: Sequence[Node], strides: Sequence[Node]) -> Answer:
        order = sorted(range(len(sizes)), key=lambda i: (strides[i]._hint, sizes[i]._hint))
        return self._packed(sizes, strides, order)

    def is_non_overlapping_and_dense_indicator(self, sizes: Sequence[Node], strides: Sequence[Node]) -> Whole:
        return self._like(int(self.is_non_overlapping_and_dense(sizes, strides).always or False))

    def _packed(self, sizes: Sequence[Node], strides: Sequence[Node], order: Iterable[int] | None) -> Answer:
        expected: Number = 1
        packed = order is not None
        for axis in order or ():
            size = size_of(sizes[axis])
            packed = packed and (size == 1 or size_of(strides[axis]) == expected)
            expected = expected * size
        return Answer.constant_of(self.sizes, packed)


class Real(_Number):
    """A float: a fraction of expressions, where it is one, and otherwise only known for the hints."""

    __slots__ = ("above", "below", "rounded", "value")
    pytype = float

    def __init__(
        self, sizes: Sizes, above: Number | None, below: Number = 1, rounded: bool = False, value: float = math.nan
    ) -> None:
        super().__init__(sizes)
        self.above, self.below, self.rounded = above, below, rounded
        self.value = value

    @classmethod
    def constant_of(cls, sizes: Sizes, number: float) -> Real:
        if math.isfinite(number):
            above, below = float(number).as_integer_ratio()
            if below <= _MOST_HALVINGS:
                return cls(sizes, above, below)
        return cls(sizes, None, value=float(number))

    def __str__(self) -> str:
        if self.above is None:
            return f"{self.value:g}"
        if isinstance(self.above, int) and isinstance(self.below, int):
            return f"{self.above / self.below:g}"
        return f"({self.above})/({self.below})" if self.below != 1 else str(self.above)

    def _over(self, other: Node) -> Number | None:
        if self.above is None or not isinstance(other, Real):
            return self.above
        return None if other.above is None else self.above * other.below

    @property
    def hint(self) -> float:
        if self.above is None:
            return self.value
        return self.sizes.hint(self.above) / self.sizes.hint(self.below)

    def maybe_as_float(self) -> float | None:
        return self.hint if isinstance(self.above, int) and isinstance(self.below, int) else None

    def _unknown(self, value: float) -> Real:
        return Real(self.sizes, None, value=value)

    def _exact(self, other: Real) -> bool:
        return self.above is not None and other.above is not None and not self.rounded and not other.rounded

    def _real(self, other: Node) -> Real:
        return other if isinstance(other, Real) else other.sym_float()  # type: ignore[attr-defined]

    def add(self, given: Node) -> Real:
        other = self._real(given)
        if not self._exact(other):
            return self._unknown(self.hint + other.hint)
        assert self.above is not None
        assert other.above is not None
        return Real(self.sizes, self.above * other.below + other.above * self.below, self.below * other.below)

    def sub(self, given: Node) -> Real:
        return self.add(self._real(given).neg())

    def mul(self, given: Node) -> Real:
        other = self._real(given)
        if not self._exact(other):
            return self._unknown(self.hint * other.hint)
        assert self.above is not None
        assert other.above is not None
        return Real(self.sizes, self.above * other.above, self.below * other.below)

    def float_truediv(self, given: Node) -> Real:
        other = self._real(given)
        if not self._exact(other) or other.above is None or self.above is None:
            return self._unknown(self.hint / other.hint)
        above, below = self.above * other.below, self.below * other.above
        if isinstance(below, int):
            if below == 0:
                raise ZeroDivisionError("float division by zero")
            if below < 0:
                above, below = -above, -below
            return Real(self.sizes, above, below, rounded=below & (below - 1) != 0 or below > _MOST_HALVINGS)
        if at_least_0(below) is not True:
            return self._unknown(self.hint / other.hint)
        if at_least_0(below - 1) is not True:
            self.sizes.take(below - 1, f"the program divides by {below}, which was taken to be at least 1")
        return Real(self.sizes, above, below, rounded=True)

    truediv = float_truediv

    def int_floordiv(self, other: Node) -> Real:
        return self.float_truediv(other).floor().sym_float()

    floordiv = int_floordiv

    def mod(self, other: Node) -> Real:
        return self._unknown(self.hint % other._hint)

    def float_pow(self, other: Node) -> Real:
        return self._unknown(self.hint**other._hint)

    pow = float_pow

    def neg(self) -> Real:
        if self.above is None:
            return self._unknown(-self.value)
        return Real(self.sizes, -self.above, self.below, self.rounded)

    def pos(self) -> Real:
        return self

    def sym_float(self) -> Real:
        return self

    def abs(self) -> Real:
        if self.above is None:
            return self._unknown(abs(self.value))
        return Real(self.sizes, _core.max(self.above, -self.above), self.below, self.rounded)

    def sym_min(self, other: Node) -> Real:
        return self if self.sizes.decide(_compared(self, other, "<=")) else self._real(other)

    def sym_max(self, other: Node) -> Real:
        return self if self.sizes.decide(_compared(self, other, ">=")) else self._real(other)

    def is_integer(self) -> Answer:
        above, below = self._fraction("asks whether a number is whole")
        left = above - below * self.sizes.divide(above, below)
        return _compared(Whole(self.sizes, left), Whole(self.sizes, 0), "==")

    def _fraction(self, what: str) -> tuple[Number, Number]:
        if self.above is None:
            raise TraceError(
                f"the program {what}, which it computed from sizes in floating point; give numbers in the shapes",
                self.sizes.where,
            )
        return self.above, self.below

    def floor(self) -> Whole:
        above, below = self._fraction("rounds a number down to a size")
        return Whole(self.sizes, self.sizes.divide(above, below))

    def ceil(self) -> Whole:
        above, below = self._fraction("rounds a number up to a size")
        return Whole(self.sizes, -self.sizes.divide(-above, below))

    def trunc(self) -> Whole:
        self._fraction("makes a size of a number")
        return self.floor() if self.sizes.decide(_compared(self, Whole(self.sizes, 0), ">=")) else self.ceil()

    sym_int = trunc

    def round(self, ndigits: int | None = None) -> Node:
        above, below = self._fraction("rounds a number to a size")
        if ndigits is None and below == 1:
            return Whole(self.sizes, above)
        if ndigits is None and isinstance(below, int) and below % 2 == 1 and not self.rounded:  # no ties
            return Whole(self.sizes, self.sizes.divide(2 * above + below, 2 * below))
        raise TraceError("the program rounds a number that depends on sizes; give numbers instead", self.sizes.where)

    def guard_float(self, file: str, line: int) -> float:
        if isinstance(self.above, int) and isinstance(self.below, int):
            return self.above / self.below
        if self.above is not None:
            self.sizes.number(self.above)
            self.sizes.number(self.below)
            return self.hint
        raise TraceError(
            "a float read from a tensor or computed from sizes is taken as a plain number: keep it in a tensor",
            self.sizes.where,
        )

    def bool_(self) -> bool:
        return self.ne(Real.constant_of(self.sizes, 0.0)).bool_()


class Answer(Node):
    """Yes or no: yes where an expression is at least 0."""

    __slots__ = ("always", "low", "text")
    pytype = bool

    def __init__(self, sizes: Sizes, low: Number, text: str) -> None:
        super().__init__(sizes)
        self.low, self.text = low, text
        self.always = at_least_0(low)
        if self.always is None and not isinstance(low, int) and not low.defined:
            raise TraceError(f"whether {text} cannot be said: the numbers do not fit 128 bits", sizes.where)

    @classmethod
    def constant_of(cls, sizes: Sizes, value: bool) -> Answer:
        return cls(sizes, 0 if value else -1, str(value).lower())

    def __str__(self) -> str:
        return self.text

    @property
    def hint(self) -> bool:
        return self.sizes.hint(self.low) >= 0

    def is_constant(self) -> bool:
        return self.always is not None

    def constant_bool(self) -> bool | None:
        return self.always

    maybe_as_bool = constant_bool

    def and_(self, other: Answer) -> Answer:
        if self.always is True or other.always is False:
            return other
        if other.always is True or self.always is False:
            return self
        return Answer(self.sizes, _core.min(self.low, other.low), f"{self} and {other}")

    def or_(self, other: Answer) -> Answer:
        if self.always is False or other.always is True:
            return other
        if other.always is False or self.always is True:
            return self
        return Answer(self.sizes, _core.max(self.low, other.low), f"{self} or {other}")

    sym_and, sym_or = and_, or_

    def sym_not(self) -> Answer:
        return Answer(self.sizes, -self.low - 1, f"not {self}")

    def eq(self, other: Answer) -> Answer:
        return self.and_(other).or_(self.sym_not().and_(other.sym_not()))

    def ne(self, other: Answer) -> Answer:
        return self.eq(other).sym_not()

    def sym_ite(self, then: Node, otherwise: Node) -> Node:
        return then if self.sizes.decide(self) else otherwise

    def bool_(self) -> bool:
        return self.sizes.decide(self)

    def guard_bool(self, file: str, line: int) -> bool:
        return self.sizes.decide(self, file)

    guard_size_oblivious = guard_or_false = guard_or_true = guard_bool

    def expect_true(self, file: str, line: int) -> bool:
        return self.sizes.expect(self, file)

    def statically_known_true(self, file: str, line: int) -> bool:
        return self.always is True

    def guard_int(self, file: str, line: int) -> int:
        return int(self.sizes.decide(self))

    int_ = bool_
