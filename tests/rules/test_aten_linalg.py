"""ATen spellings of linear algebra and of transforms, against the textbook's loops."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from truth import Program, check_program, f32, program, t

torch = pytest.importorskip("torch")
L, A, P = torch.linalg, torch.ops.aten, torch.ops.prims


def elimination(m: int, n: int) -> Counter[str]:
    """Of step j: a factor for each row below, by which the rest of the row is changed."""
    work: Counter[str] = Counter()
    for j in range(min(m, n)):
        for _ in range(j + 1, m):
            work.update(compare=1, div=1)
            for _ in range(j + 1, n):
                work.update(mul=1, add=1)
    return work


def triangle(n: int, sides: int, unit: bool = False) -> Counter[str]:
    work: Counter[str] = Counter()
    for _ in range(sides):
        for i in range(n):
            work.update(mul=i, add=i, div=0 if unit else 1)
    return work


def cholesky(n: int) -> Counter[str]:
    """Of step j: a root, the column divided by it, and the lower triangle of what is left changed."""
    work: Counter[str] = Counter()
    for j in range(n):
        work.update(sqrt=1, div=n - 1 - j)
        for i in range(j + 1, n):
            for _ in range(j + 1, i + 1):
                work.update(mul=1, add=1)
    return work


def reflection(height: int, columns: int) -> Counter[str]:
    """A - tau v (v^T A), where the first of v is 1: a sum of h terms, times tau, then h changes."""
    each = 2 * (height - 1) + 1
    return Counter(mul=each * columns, add=(height - 1 + height) * columns)


def reflectors(m: int, n: int) -> Counter[str]:
    work: Counter[str] = Counter()
    for j in range(min(m, n)):
        h = m - j
        work.update(mul=h, add=h - 1, sqrt=1)  # the norm
        work.update(add=1)  # the first of v
        work.update(div=h - 1)  # the others by it
        work.update(add=1, div=1)  # tau
        work.update(reflection(h, n - 1 - j))
    return work


def q_of(m: int, n: int, columns: int) -> Counter[str]:
    work: Counter[str] = Counter()
    for j in range(min(m, n)):
        work.update(reflection(m - j, columns - j))
    return work


def row(
    op: str, call: Callable[..., Any], inputs: list[Any], outputs: Any, *parts: Any, trust: str = "exact"
) -> Program:
    work: Counter[str] = Counter()
    for part in parts:
        work.update(part)
    return program(op, call, inputs, outputs, trust, **{kind: n for kind, n in work.items() if n})


def times(count: int, work: Counter[str]) -> Counter[str]:
    return Counter({kind: count * n for kind, n in work.items()})


I32 = t("i32", 4)
FACTORS = [
    row("linalg_cholesky", L.cholesky, [f32(5, 5)], f32(5, 5), cholesky(5)),
    row("linalg_cholesky", L.cholesky, [f32(2, 3, 4, 4)], f32(2, 3, 4, 4), times(6, cholesky(4))),
    row("linalg_lu_factor", L.lu_factor, [f32(4, 4)], [f32(4, 4), I32], elimination(4, 4)),
    row("linalg_lu_factor", L.lu_factor, [f32(7, 4)], [f32(7, 4), I32], elimination(7, 4)),
    row("linalg_lu_factor", L.lu_factor, [f32(4, 6)], [f32(4, 6), I32], elimination(4, 6)),
    row("linalg_det", L.det, [f32(3, 4, 4)], f32(3), times(3, elimination(4, 4)), Counter(mul=3 * 3)),
    # Magnitudes, logarithms and signs of 4, 3 sums.
    row("linalg_slogdet", L.slogdet, [f32(4, 4)], [f32(), f32()], elimination(4, 4), Counter(logic=8, log=4, add=3)),
    row(
        "linalg_solve",
        L.solve,
        [f32(4, 4), f32(4, 3)],
        f32(4, 3),
        elimination(4, 4),
        triangle(4, 3, True),
        triangle(4, 3),
    ),
    # A vector for each of two matrices.
    row(
        "linalg_solve",
        L.solve,
        [f32(2, 4, 4), f32(2, 4)],
        f32(2, 4),
        times(2, elimination(4, 4)),
        triangle(4, 2, True),
        triangle(4, 2),
    ),
    row(
        "linalg_solve_triangular",
        lambda a, b: L.solve_triangular(a, b, upper=True),
        [f32(4, 4), f32(4, 3)],
        f32(4, 3),
        triangle(4, 3),
    ),
    row(
        "linalg_solve_triangular",
        lambda a, b: L.solve_triangular(a, b, upper=True, left=False, unitriangular=True),
        [f32(4, 4), f32(3, 4)],
        f32(3, 4),
        triangle(4, 3, True),
    ),
    row("cholesky_solve", torch.cholesky_solve, [f32(4, 3), f32(4, 4)], f32(4, 3), times(2, triangle(4, 3))),
    row(
        "linalg_lu_solve",
        L.lu_solve,
        [f32(4, 4), I32, f32(4, 3)],
        f32(4, 3),
        triangle(4, 3, True),
        triangle(4, 3),
    ),
    # n(n-1)(n+1) mul, n(n-1)^2 add, n div, n(n-1)/2 compare.
    row("linalg_inv", L.inv, [f32(4, 4)], f32(4, 4), Counter(mul=60, add=36, div=4, compare=6)),
    row("linalg_qr", L.qr, [f32(6, 4)], [f32(6, 4), f32(4, 4)], reflectors(6, 4), q_of(6, 4, 4)),
    row("linalg_qr", L.qr, [f32(3, 5)], [f32(3, 3), f32(3, 5)], reflectors(3, 5), q_of(3, 5, 3)),
    row(
        "linalg_qr",
        lambda a: L.qr(a, mode="complete"),
        [f32(6, 4)],
        [f32(6, 6), f32(6, 4)],
        reflectors(6, 4),
        q_of(6, 4, 6),
    ),
    row("geqrf", torch.geqrf, [f32(6, 4)], [f32(6, 4), f32(4)], reflectors(6, 4)),
    row("linalg_householder_product", L.householder_product, [f32(6, 4), f32(3)], f32(6, 4), q_of(6, 3, 4)),
    row(
        "ormqr",
        torch.ormqr,
        [f32(6, 3), f32(3), f32(6, 5)],
        f32(6, 5),
        *(reflection(6 - j, 5) for j in range(3)),
    ),
    # The triangle solved for the columns of the identity, from the diagonal on; then (i, j), j <= i: n - i products.
    row(
        "cholesky_inverse",
        torch.cholesky_inverse,
        [f32(4, 4)],
        f32(4, 4),
        *(triangle(4 - j, 1) for j in range(4)),
        *(Counter(mul=4 - i, add=3 - i) for i in range(4) for _ in range(i + 1)),
    ),
    row(
        "linalg_lstsq",
        lambda a, b: L.lstsq(a, b).solution,
        [f32(6, 4), f32(6, 3)],
        f32(4, 3),
        reflectors(6, 4),
        *(reflection(6 - j, 3) for j in range(4)),
        triangle(4, 3),
        trust="estimate",
    ),
    # The same loops as Cholesky's without roots; the search for a pivot looks at two columns.
    row(
        "linalg_ldl_factor",
        L.ldl_factor,
        [f32(4, 4)],
        [f32(4, 4), I32],
        Counter(mul=10, add=10, div=6, compare=12),
        trust="estimate",
    ),
    # 4 real products a complex one, and its 2 sums; 2 sums a complex sum; a quotient 6, 3 and 2.
    row(
        "linalg_solve_triangular",
        lambda a, b: L.solve_triangular(a, b, upper=True),
        [t("c64", 4, 4), t("c64", 4, 3)],
        t("c64", 4, 3),
        Counter(mul=4 * 18 + 6 * 12, add=2 * 18 + 2 * 18 + 3 * 12, div=2 * 12),
    ),
]


# Other names for the same, and those that say besides whether it went well.
INFO = t("i32")
INVERTED = Counter(mul=60, add=36, div=4, compare=6)
NAMES = [
    row("det", A.det, [f32(3, 4, 4)], f32(3), times(3, elimination(4, 4)), Counter(mul=3 * 3)),
    row("slogdet", A.slogdet, [f32(4, 4)], [f32(), f32()], elimination(4, 4), Counter(logic=8, log=4, add=3)),
    row("inverse", A.inverse, [f32(4, 4)], f32(4, 4), INVERTED),
    row("linalg_inv_ex", A.linalg_inv_ex, [f32(4, 4)], [f32(4, 4), INFO], INVERTED),
    row("cholesky", A.cholesky, [f32(5, 5)], f32(5, 5), cholesky(5)),
    row("linalg_cholesky_ex", A.linalg_cholesky_ex, [f32(5, 5)], [f32(5, 5), INFO], cholesky(5)),
    row(
        "lu_solve",
        A.lu_solve,
        [f32(4, 3), f32(4, 4), I32],
        f32(4, 3),
        triangle(4, 3, True),
        triangle(4, 3),
    ),
    row("qr", A.qr, [f32(6, 4)], [f32(6, 4), f32(4, 4)], reflectors(6, 4), q_of(6, 4, 4)),
    row("orgqr", A.orgqr, [f32(6, 4), f32(3)], f32(6, 4), q_of(6, 3, 4)),
    row(
        "linalg_ldl_factor_ex",
        A.linalg_ldl_factor_ex,
        [f32(4, 4)],
        [f32(4, 4), I32, INFO],
        Counter(mul=10, add=10, div=6, compare=12),
        trust="estimate",
    ),
]


def half(flops: float) -> dict[str, int]:
    return {"mul": int(flops / 2), "add": int(flops / 2)}


# Flops by Golub and Van Loan, Matrix Computations, sections 7.5, 8.3 and 8.6; for the vectors of a triangle 4/3 n^3.
SPECTRA = [
    row("_linalg_eigh", A._linalg_eigh, [f32(6, 6)], [f32(6), f32(6, 6)], half(9 * 216), trust="estimate"),
    row("linalg_eigvals", A.linalg_eigvals, [f32(6, 6)], t("c64", 6), half(10 * 216), trust="estimate"),
    row("_linalg_eigvals", A._linalg_eigvals, [f32(6, 6)], t("c64", 6), half(10 * 216), trust="estimate"),
    row(
        "_linalg_svd",
        A._linalg_svd,
        [f32(9, 6)],
        [f32(9, 6), f32(6), f32(6, 6)],
        half(14 * 9 * 36 + 8 * 216),
        trust="estimate",
    ),
    row(
        "prims::svd",
        lambda a: P.svd(a, full_matrices=False),
        [f32(9, 6)],
        [f32(9, 6), f32(6), f32(6, 6)],
        half(14 * 9 * 36 + 8 * 216),
        trust="estimate",
    ),
    row("matrix_exp", A.matrix_exp, [f32(2, 5, 5)], f32(2, 5, 5), Counter(mac=2 * 5 * 125), trust="estimate"),
    row("linalg_eigh", L.eigh, [f32(6, 6)], [f32(6), f32(6, 6)], half(9 * 216), trust="estimate"),
    row("linalg_eigvalsh", L.eigvalsh, [f32(6, 6)], f32(6), half(4 / 3 * 216), trust="estimate"),
    row(
        "linalg_eig", L.eig, [f32(6, 6)], [t("c64", 6), t("c64", 6, 6)], half(25 * 216 + 4 / 3 * 216), trust="estimate"
    ),
    row(
        "linalg_svd",
        lambda a: L.svd(a, full_matrices=False),
        [f32(9, 6)],
        [f32(9, 6), f32(6), f32(6, 6)],
        half(14 * 9 * 36 + 8 * 216),
        trust="estimate",
    ),
    row("linalg_svdvals", L.svdvals, [f32(6, 9)], f32(6), half(4 * 9 * 36 - 4 / 3 * 216), trust="estimate"),
    row(
        "linalg_svd",
        L.svd,
        [f32(9, 6)],
        [f32(9, 9), f32(6), f32(6, 6)],
        half(4 * 81 * 6 + 8 * 9 * 36 + 9 * 216),
        trust="estimate",
    ),
    # After the decomposition: 6 values each compared and inverted, 6 rows of 6 scaled, 9 x 6 results of 6 products.
    row(
        "linalg_pinv",
        L.pinv,
        [f32(9, 6)],
        f32(6, 9),
        half(14 * 9 * 36 + 8 * 216),
        Counter(div=6, compare=6, mul=36, mac=324),
        trust="estimate",
    ),
    row("linalg_matrix_exp", L.matrix_exp, [f32(2, 5, 5)], f32(2, 5, 5), Counter(mac=2 * 5 * 125), trust="estimate"),
]


def fourier(count: int, length: int, real: bool) -> dict[str, int]:
    """5 n log2 n operations, 2 of 5 products; half of them for a real signal."""
    steps = length * math.log2(length) * (0.5 if real else 1)
    return {"mul": count * round(2 * steps), "add": count * round(3 * steps)}


TRANSFORMS = [
    row(
        "prims::fft_r2c",
        lambda x: P.fft_r2c(x, dim=[1], onesided=True),
        [f32(3, 16)],
        t("c64", 3, 9),
        fourier(3, 16, True),
        trust="estimate",
    ),
    # Those of prims never scale.
    row(
        "prims::fft_c2r",
        lambda x: P.fft_c2r(x, dim=[1], last_dim_size=16),
        [t("c64", 3, 9)],
        f32(3, 16),
        fourier(3, 16, True),
        trust="estimate",
    ),
    row(
        "prims::fft_c2c",
        lambda x: P.fft_c2c(x, dim=[1], forward=False),
        [t("c64", 3, 16)],
        t("c64", 3, 16),
        fourier(3, 16, False),
        trust="estimate",
    ),
    row("_fft_r2c", torch.fft.rfft, [f32(3, 16)], t("c64", 3, 9), fourier(3, 16, True), trust="estimate"),
    # The inverse is scaled: 16 real results.
    row(
        "_fft_c2r",
        torch.fft.irfft,
        [t("c64", 3, 9)],
        f32(3, 16),
        fourier(3, 16, True),
        Counter(mul=48),
        trust="estimate",
    ),
    row("_fft_c2c", torch.fft.fft, [t("c64", 3, 16)], t("c64", 3, 16), fourier(3, 16, False), trust="estimate"),
    row(
        "_fft_c2c",
        lambda x: torch.fft.ifft(x, dim=0),
        [t("c64", 8, 3)],
        t("c64", 8, 3),
        fourier(3, 8, False),
        Counter(mul=48),
        trust="estimate",
    ),
    # Two axes: 8 transforms of 4 and 4 of 8 are 32 log2 32.
    row("_fft_c2c", torch.fft.fft2, [t("c64", 3, 4, 8)], t("c64", 3, 4, 8), fourier(3, 32, False), trust="estimate"),
]


@pytest.mark.parametrize("case", FACTORS + NAMES + SPECTRA, ids=str)
def test_linear_algebra(case: Program) -> None:
    check_program(case)


@pytest.mark.parametrize("case", TRANSFORMS, ids=str)
def test_transforms(case: Program) -> None:
    check_program(case)
