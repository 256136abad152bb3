# Expr in Python: arithmetic against plain integers, text, hashing, pickling, comparison.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import copy
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import macsim
from macsim import Expr

NAMES = ("a", "b", "c")
SIZES = st.fixed_dictionaries({name: st.integers(0, 40) for name in NAMES})
OPERATORS = [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[object, object]:
    """The same random formula twice: as a function of sizes on plain ints, and as an Expr."""

    def make(depth: int) -> tuple[object, object]:
        if depth == 0 or draw(st.integers(0, 3)) == 0:
            if draw(st.booleans()):
                name = draw(st.sampled_from(NAMES))
                return (lambda sizes: sizes[name]), Expr(name)
            number = draw(st.integers(-9, 9))
            return (lambda sizes: number), number
        (f, left), (g, right) = make(depth - 1), make(depth - 1)
        choice = draw(st.integers(0, 7))
        if choice == 5:
            return (lambda sizes: max(f(sizes), g(sizes))), macsim.max(left, right)
        if choice == 6:
            return (lambda sizes: min(f(sizes), g(sizes))), macsim.min(left, right)
        if choice == 7:
            divisor = draw(st.integers(1, 9))
            return (lambda sizes: -(-f(sizes) // divisor)), macsim.ceil_div(left, divisor)
        apply = OPERATORS[choice]
        if apply in (operator.floordiv, operator.mod):
            divisor = draw(st.sampled_from([-7, -2, 1, 2, 3, 8]))
            return (lambda sizes: apply(f(sizes), divisor)), apply(left, divisor)
        return (lambda sizes: apply(f(sizes), g(sizes))), apply(left, right)

    return make(3)


@given(pairs(), SIZES)
def test_equals_plain_integers(pair, sizes) -> None:
    plain, expr = pair
    value = Expr(expr).bind(sizes)
    assert isinstance(value, int)
    assert value == plain(sizes)


@given(pairs(), SIZES)
def test_text_reads_back(pair, sizes) -> None:
    expr = Expr(pair[1])
    assert Expr(str(expr)) == expr
    assert pickle.loads(pickle.dumps(expr)) == expr
    assert Expr(str(expr)).bind(sizes) == expr.bind(sizes)


@given(pairs(), SIZES, SIZES)
def test_binding_in_two_steps_is_binding_at_once(pair, sizes, other) -> None:
    expr = Expr(pair[1])
    first = Expr(expr.bind(a=sizes["a"]))
    assert first.bind(b=sizes["b"], c=sizes["c"]) == expr.bind(sizes)


def test_structure_not_history() -> None:
    n = Expr("n")
    assert (n + 1) * (n - 1) == n * n - 1
    assert hash((n + 1) * (n - 1)) == hash(n * n - 1)
    assert len({n + n, 2 * n, n * 2, Expr("n+n")}) == 1
    assert n != Expr("m")
    assert n != "n"
    assert n is not None


def test_an_integer_is_equal_to_its_expr() -> None:
    for value in (0, 7, -7, 2**62, 2**63, 2**100, -(2**100)):
        assert Expr(value) == value
        assert hash(Expr(value)) == hash(value)
        assert int(Expr(value)) == value
        assert Expr(str(value)) == value
    assert range(10)[Expr(3)] == 3


def test_numpy_integers_are_integers() -> None:
    assert Expr("n") * np.int64(3) == Expr("3*n")
    assert np.int64(3) * Expr("n") == Expr("3*n")
    column = np.array([1, 2], dtype=object) * Expr("n")
    assert list(column) == [Expr("n"), Expr("2*n")]
    assert list(Expr("n") + np.array([1, 2])) == [Expr("n + 1"), Expr("n + 2")]


def test_bind_gives_an_int_or_an_expr() -> None:
    e = Expr("2*batch*seq + 1")
    assert e.bind(batch=3, seq=4) == 25
    assert type(e.bind(batch=3, seq=4)) is int
    assert e.bind({"batch": 3}) == Expr("6*seq + 1")
    assert e.bind(batch=Expr("n"), seq="n") == Expr("2*n^2 + 1")
    assert e.bind() == e
    assert e.symbols == ("batch", "seq")


def test_wide_integers_are_exact() -> None:
    big = Expr("n") ** 3
    assert big.bind(n=10**12) == 10**36
    assert type(big.bind(n=10**12)) is int


def test_what_cannot_be_held_is_undefined_and_stays_so() -> None:
    wide = Expr(2) ** 127
    lost = wide * wide
    assert str(lost) == "?"
    assert not lost.defined
    assert str(lost * 0) == "?"
    assert str(lost + Expr("n")) == "?"
    with pytest.raises(ValueError, match="unknown"):
        int(lost)
    with pytest.raises(ValueError, match="unknown"):
        bool(lost)
    assert str(pickle.loads(pickle.dumps(lost))) == "?"
    assert str(Expr("n") // 0) == "?"


def test_a_symbol_is_no_number_yet() -> None:
    n = Expr("n")
    for convert in (int, float, operator.index):
        with pytest.raises(ValueError, match=r"n has no .* until it is bound: bind\(n\)"):
            convert(n)
    with pytest.raises(ValueError, match="n has no truth value"):
        bool(n)
    assert bool(n + 1)  # sizes are 0 or more
    assert not Expr(0)
    assert float(Expr(2**70)) == float(2**70)


def test_order_only_where_every_size_agrees() -> None:
    n = Expr("n")
    assert n + 1 > n
    assert n + 1 > 0
    assert n >= 0
    assert not n < 0
    assert n <= 2 * n
    assert 3 < n + 4  # noqa: SIM300 - the mirror image is what is tested
    with pytest.raises(ValueError, match="sign"):
        assert n > 3


def test_other_operands_are_refused() -> None:
    n = Expr("n")
    for other in ("m", 1.5, None, [1]):
        with pytest.raises(TypeError):
            n + other
        with pytest.raises(TypeError):
            other - n
    with pytest.raises(TypeError):
        Expr(None)
    with pytest.raises(macsim.RequestError, match="float"):
        Expr(1.5)
    with pytest.raises(macsim.RequestError, match="not an expression"):
        Expr("2*")


def test_names_of_other_characters() -> None:
    odd = Expr("`batch size` + 1")
    assert odd.symbols == ("batch size",)
    assert odd.bind({"batch size": 2}) == 3
    assert Expr(str(odd)) == odd


def test_copies() -> None:
    e = Expr("n + 1")
    assert copy.copy(e) == e
    assert copy.deepcopy({"e": [e]}) == {"e": [e]}


def test_largest_smallest_and_rounding_up() -> None:
    assert macsim.max(1, 2, Expr(3)) == 3
    assert macsim.min("n", "n + 1") == Expr("n")
    assert macsim.ceil_div("n", 4).bind(n=9) == 3
    with pytest.raises(TypeError):
        macsim.max()


def test_evaluation_over_arrays_agrees_with_binding() -> None:
    expressions = [Expr("2*a*b"), Expr("floor((a + 31)/32)"), macsim.max("a", "b", 3), Expr(7)]
    rng = np.random.default_rng(5)
    sizes = rng.integers(0, 1000, (2, 50))
    values, reals, exact = macsim._core.evaluate(expressions, ["a", "b"], sizes)
    assert exact.all()
    for e, line, real in zip(expressions, values, reals, strict=True):
        want = [int(Expr(e.bind(a=int(a), b=int(b)))) for a, b in sizes.T]
        assert line.tolist() == want
        assert real.tolist() == want
