# Tests of a program that do nothing but raise: what they have to give for the program to go on.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Checks of contents that are not known: an assert, and an `if` that ends in a raise.

A program that is counted is one that runs, so such a check passes. Which way it does is told by the source of the code
that asks.
"""

from __future__ import annotations

import ast
import dis
import linecache
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FrameType

__all__ = ["passing"]

_OURS = __name__.partition(".")[0]


def passing() -> bool | None:
    """Return the truth value with which the check passes that the program makes now; None: it makes none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == _OURS:
        frame = frame.f_back
    return None if frame is None else _wanted(frame.f_code, frame.f_lasti)


@lru_cache(maxsize=256)
def _wanted(code: CodeType, instruction: int) -> bool | None:
    places = [(one, *_place(one)) for one in dis.get_instructions(code)]
    asked = next(((begin, end) for one, begin, end in places if one.offset == instruction), None)
    if asked is None or asked[0] == _NOWHERE:
        return None
    for statement, leaves in _checks(code.co_filename):
        for leaf, wanted in leaves:
            if _begin(leaf) <= asked[0] and asked[1] <= _end(leaf):
                return wanted
        if asked == (_begin(statement), _end(statement)):  # Python 3.11 gives its jumps no place of their own
            jumps = [one.offset for one, *place in places if "JUMP" in one.opname and tuple(place) == asked]
            wants = {wanted for _, wanted in leaves}
            if instruction in jumps and len(jumps) == len(leaves):
                return leaves[jumps.index(instruction)][1]
            return wants.pop() if len(wants) == 1 else None
    return None


_NOWHERE = (-1, -1)


def _place(one: dis.Instruction) -> tuple[tuple[int, int], tuple[int, int]]:
    at = one.positions
    if at is None or at.lineno is None or at.end_lineno is None or at.col_offset is None or at.end_col_offset is None:
        return _NOWHERE, _NOWHERE
    return (at.lineno, at.col_offset), (at.end_lineno, at.end_col_offset)


def _begin(node: ast.expr | ast.stmt) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _end(node: ast.expr | ast.stmt) -> tuple[int, int]:
    return node.end_lineno or node.lineno, node.end_col_offset or node.col_offset


@lru_cache(maxsize=64)
def _checks(file: str) -> list[tuple[ast.stmt, list[tuple[ast.expr, bool]]]]:
    """Return the checks in a file, and the expressions that each is made of with the value with which it passes."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return []
    found: list[tuple[ast.stmt, list[tuple[ast.expr, bool]]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found.append((node, list(_leaves(node.test, True))))
        elif isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise):
            found.append((node, list(_leaves(node.test, False))))
    return found


def _leaves(test: ast.expr, wanted: bool) -> Iterator[tuple[ast.expr, bool]]:
    if isinstance(test, ast.BoolOp):
        for one in test.values:
            yield from _leaves(one, wanted)
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _leaves(test.operand, not wanted)
    else:
        yield test, wanted
