# Sizes of torch programs that stay symbols: torch.SymInt over our expressions.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Symbolic sizes for torch programs.

`torch.SymInt` takes a node object that does its arithmetic: here one that holds a `macsim.Expr`. Where the program, or
torch on its behalf, compares sizes, the expression decides, if it does so for all sizes. Otherwise the answer is the
one for a number that stands in for each symbol, its hint; what was decided so is noted in the report, and binding
sizes for which the answer would be another one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from macsim import _core
from macsim._core import Expr
from macsim.errors import RequestError, TraceError
from macsim.sources.torch_symbol_facts import at_least_0, plain, symbols_of
from macsim.sources.torch_symbol_nodes import Answer, Whole

if TYPE_CHECKING:
    from macsim.rows import Number

__all__ = ["NeedsNumberError", "Sizes", "is_symbolic"]

ASSUMED_SIZE = 206
# Hints: primes, so that sizes that are not the same for all symbols are not the same for them.
_PRIMES = (59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167)
# Where torch asks for the sake of strides only: counts do not depend on them.
_LAYOUT = ("EmptyTensor.cpp", "Contiguity.h", "SymbolicShapeMeta.cpp")


_SYMBOLIC = frozenset({torch.SymInt, torch.SymFloat, torch.SymBool})


class NeedsNumberError(TraceError):
    """The number that a size is was asked for."""


def is_symbolic(value: Any) -> bool:
    """Whether it is a size of torch's that is no number."""
    return type(value) in _SYMBOLIC


class Sizes:
    """The symbols of one run: the numbers that stand in for them, and what was decided by these.

    Attributes
    ----------
    calls : _core.ModuleCalls
        Which module is running.
    lenient : bool
        A size whose hint the user gave may be taken as that number.
    """

    def __init__(self, hints: Mapping[str, int] | None = None) -> None:
        self.tape: _core.Tape | None = None
        self.given = dict(hints or {})
        self.calls: _core.ModuleCalls | None = None
        self.lenient = True
        self.usual: dict[str, int] = {}  # hints of which no two are alike and none is special, whatever is given
        self._primes = iter(_PRIMES)
        self._made: dict[Expr, torch.SymInt] = {}
        self._taken: set[Expr] = set()
        self._counted: dict[str, int] = {}
        self._told: set[str] = set()  # symbols that are contents: nothing is decided by what stands in for them
        self._waiting: list[tuple[Expr, str]] | None = None

    @property
    def where(self) -> str:
        """The path of the module that is running."""
        return self.calls.path if self.calls is not None else ""

    # Sizes ------------------------------------------------------------------------------------------------------------

    def of(self, given: Any, name: str) -> int | torch.SymInt:
        """Return a size for what a user writes: a number, a name, an expression."""
        if isinstance(given, int) and not isinstance(given, bool):
            return given
        if not isinstance(given, str | Expr):
            raise RequestError(f"the shape of {name!r} has {given!r}: a size is an int, a name or an expression")
        try:
            expr = Expr(given)
        except ValueError as error:
            raise RequestError(f"the shape of {name!r} has {given!r}, which is no expression ({error})") from error
        return self.size(expr)

    def counted(self, name: str, most: Any, why: str) -> int | torch.SymInt:
        """Return a new symbol for a size from 0 to ``most`` that depends on data; its hint is the most."""
        name = self._another(name)
        number = Expr(name_quoted(name))
        self.usual[name] = self.hint(expr_of(most))
        if self.tape is not None:
            self.tape.symbol(name, why)
            self.tape.assume_not_negative(expr_of(most) - number)
        return self.size(number)

    def told(self, name: str, why: str) -> int | torch.SymInt:
        """Return a new symbol for a number that is the contents of a tensor, to be used as a size."""
        name = self._another(name)
        self._told.add(name)
        self.usual[name] = 2  # no more than there is of anything, and not special
        if self.tape is not None:
            self.tape.symbol(name, why)
        return self.size(Expr(name_quoted(name)))

    def _another(self, name: str) -> str:
        self._counted[name] = times = self._counted.get(name, 0) + 1
        return name if times == 1 else f"{name}_{times}"

    def size(self, expr: Number) -> int | torch.SymInt:
        """Return an expression as a size of torch's."""
        if isinstance(expr, int):
            return expr
        found = self._made.get(expr)
        if found is None:
            whole = Whole(self, expr)
            if isinstance(whole.size, int):
                return whole.size
            found = self._made[expr] = torch.SymInt(whole)
        return found

    def hint(self, expr: Number, instead: Mapping[str, int] | None = None) -> int:
        """Return what an expression is for the hints, or for others in place of some of them."""
        if isinstance(expr, int):
            return expr
        for name in expr.symbols:
            if name not in self.usual:
                self.usual[name] = next(self._primes, 0) or 2 * len(self.usual) + 173
        value = expr.bind({**self.usual, **(self.given if instead is not self.usual else {}), **(instead or {})})
        if not isinstance(value, int):
            raise TraceError(f"the size {expr} does not fit 128 bits, or divides by 0", self.where)
        return value

    # Decisions --------------------------------------------------------------------------------------------------------

    def decide(self, answer: Answer, file: str = "") -> bool:
        """Say yes or no; what is so for the hints only is noted. ``file`` is where torch asks."""
        if answer.always is not None:
            return answer.always
        if file.endswith(_LAYOUT) or (self._waiting is None and file):
            return self.hint(answer.low, self.usual) >= 0
        unknown = self._unknown(answer.low) if self._waiting is None else ()
        if unknown:
            raise TraceError(
                f"the program decides by {answer.text!r}, the contents of a tensor which is not known: give "
                f"that tensor as an input, or hints={{{unknown[0]!r}: ...}} for the number to go on with",
                self.where,
            )
        need = answer.low if answer.hint else -answer.low - 1
        assert not isinstance(need, int)
        if need in self._taken:
            return answer.hint
        hints = ", ".join(f"{name} = {self.given.get(name, self.usual[name])}" for name in need.symbols)
        text = f"a branch took {answer.text!r} to be {str(answer.hint).lower()}, as it is for {hints}"
        if self._waiting is not None:
            self._waiting.append((need, text))
        else:
            self.take(need, text)
        return answer.hint

    def _unknown(self, expr: Number) -> list[str]:
        return [name for name in symbols_of(expr) if name in self._told and name not in self.given]

    def expect(self, answer: Answer, file: str) -> bool:
        """Say whether what the program states is so; of contents it is taken to be."""
        if answer.always is not None or not self._unknown(answer.low):
            return self.decide(answer, file)
        self.take(answer.low, f"the program states that {answer.text}")
        return True

    def take(self, need: Number, text: str) -> None:
        """Go on as if ``need`` were at least 0."""
        if isinstance(need, int) or need in self._taken or self.tape is None:
            return
        self._taken.add(need)
        if at_least_0(need) is None:
            self.tape.remark(ASSUMED_SIZE, text)
            self.tape.assume_not_negative(need)

    def equal(self, a: Any, b: Any, what: str) -> None:
        """Go on as if two sizes were the same; raise when they are not, for the hints."""
        x, y = expr_of(a), expr_of(b)
        apart = x - y
        if isinstance(apart, int) or not apart.symbols:
            same = apart == 0
        else:
            same = self.hint(apart) == 0
            if same:
                self.take(_core.min(apart, -apart), f"{what}: {x} and {y} were taken to be the same")
        if not same:
            raise TraceError(
                f"{what}: the sizes {x} and {y} differ ({self.hint(x)} and {self.hint(y)}, by hints); write the same "
                "name or number for both, or give hints= for which the program runs",
                self.where,
            )

    @contextmanager
    def waiting(self) -> Iterator[list[tuple[Expr, str]]]:
        """While torch tells the shape of a result: decisions are gathered, to be looked at when it is there."""
        outer = self._waiting
        inner: list[tuple[Expr, str]] = []
        self._waiting = inner
        try:
            yield inner
        finally:
            self._waiting = outer

    def settle(self, decisions: Iterable[tuple[Expr, str]], alike: Callable[[Mapping[str, int]], bool]) -> None:
        """Note the decisions of torch's own, save those that make no difference.

        Torch asks whether a size is 1 or 0, to choose strides and the like. ``alike`` says whether the results are
        those expected when it is.
        """
        for need, text in dict(decisions).items():
            if need not in self._taken and not self._same_below_2(need, alike):
                self.take(need, text)

    def _same_below_2(self, need: Expr, alike: Callable[[Mapping[str, int]], bool]) -> bool:
        larger = need.bind({name: Expr(name_quoted(name)) + 2 for name in need.symbols})
        if at_least_0(larger) is not True:
            return False
        points = [{name: size} for name in need.symbols for size in (1, 0)]
        points += [dict.fromkeys(need.symbols, size) for size in (1, 0)] if len(need.symbols) > 1 else []
        try:
            return all(alike(point) for point in points if self.hint(need, point) < 0)
        except TraceError:  # it divides by such a size
            return False

    def number(self, expr: Number) -> int:
        """Return the number that a size is, for a program that cannot do with less."""
        if isinstance(expr, int):
            return expr
        value = self.hint(expr)
        if self.lenient and all(name in self.given for name in expr.symbols):
            apart = expr - value
            self.take(_core.min(apart, -apart), f"the program takes {expr} as a number: counts are for {value}")
            return value
        unknown = self._unknown(expr)
        if unknown:
            raise NeedsNumberError(
                f"the program takes {str(expr)!r}, the contents of a tensor which is not known, as a plain number (a "
                "loop over it, int(), or a call that knows no symbols): give that tensor as an input, or "
                f"hints={{{unknown[0]!r}: ...}} for the number to go on with",
                self.where,
            )
        by_data = [
            name for name in symbols_of(expr) if name.rpartition("_")[0] in self._counted or name in self._counted
        ]
        if by_data:
            raise NeedsNumberError(
                f"the program takes {str(expr)!r}, which depends on data, as a plain number, as a loop over what is "
                f"found does: give the tensor it comes from as an input, or hints={{{by_data[0]!r}: ...}} for the "
                "number to go on with. A mixture that loops over the experts that were hit has another way in most "
                "libraries: in transformers, experts_implementation='grouped_mm'",
                self.where,
            )
        names = ", ".join(expr.symbols)
        raise NeedsNumberError(
            f"the program takes the size {str(expr)!r} as a plain number (a loop over it, int(), or a call that knows "
            f"no symbols); give numbers in the place of {names} in the shapes, or dims= or hints= for that one size",
            self.where,
        )

    def divide(self, a: Number, b: Number) -> Number:
        """Return floor(a / b). By a size of 0 the program would stop: b is then taken to be no such size."""
        if isinstance(b, int):
            if b == 0:
                raise ZeroDivisionError("integer division or modulo by zero")
            return plain(a // b)
        value = self.hint(b)
        if value == 0:
            raise ZeroDivisionError("integer division or modulo by zero")
        if at_least_0(b - 1) is not True and at_least_0(-b - 1) is not True:
            least = b - 1 if value > 0 else -b - 1
            self.take(least, f"the program divides by {b}, which was taken to be {'above' if value > 0 else 'below'} 0")
        up = {name: Expr(name_quoted(name)) + 1 for name in {*symbols_of(a), *b.symbols}}
        down = {name: Expr(name_quoted(name)) - 1 for name in up}
        whole, part = Expr(a).bind(up), b.bind(up)
        quotient = whole // part
        if isinstance(quotient, int) or quotient * part == whole:  # exact where no symbol is 0
            exact = quotient if isinstance(quotient, int) else quotient.bind(down)
            if exact * b == a:
                return plain(exact)
        return plain(Expr(a) // b)


def name_quoted(name: str) -> str:
    """Return a symbol's name as an expression's text."""
    return name if name.isidentifier() else f"`{name}`"


def expr_of(size: Any) -> Number:
    """Return the expression of a size of torch's."""
    if type(size) is int:  # nearly always
        return size
    if isinstance(size, int | Expr):
        return size
    node = size.node
    if isinstance(node, Whole):
        return node.size
    known = node.maybe_as_int()
    if known is None:
        raise TraceError(f"a size is neither a number nor a symbol of ours: {size!r}")
    return int(known)


def _constants_are_taken() -> bool:
    """Whether torch makes a number of a size that is constant. That of 2.6 raises."""
    try:
        return type(torch.SymInt(Whole(Sizes(), 1)) + 1) is int
    except AssertionError:
        return False


Whole.may_be_constant = _constants_are_taken()
