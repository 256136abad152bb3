# Everything public is documented, and the examples of the compiled classes run (test_docs.py runs the others).
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import ast
import doctest
import inspect
from pathlib import Path

import pytest

import macsim

ROOT = Path(__file__).parents[1]
STUB = Path(macsim.__file__).with_name("_core.pyi")
PUBLIC = sorted(name for name in vars(macsim) if not name.startswith("_") and not inspect.ismodule(vars(macsim)[name]))
FLAGS = doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where examples/ is
    monkeypatch.setenv("COLUMNS", "120")


def test_examples_of_the_core() -> None:
    """The compiled classes are documented in the stub."""
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for node in ast.walk(ast.parse(STUB.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            runner.run(doctest.DocTestParser().get_doctest(text, {}, node.name, str(STUB), node.lineno))
    assert runner.failures == 0
    assert runner.tries > 10


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_documented(name: str) -> None:
    thing = getattr(macsim, name)
    assert inspect.getdoc(thing)
    if not isinstance(thing, type):
        return
    ours = [base for base in thing.__mro__ if base.__module__.startswith("macsim")]
    for member, value in [item for base in ours for item in vars(base).items()]:
        if not member.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


def test_the_public_names() -> None:
    """A name that goes or comes is a decision."""
    classes = {
        "Call",
        "Cost",
        "Diagnostic",
        "Expr",
        "Gradient",
        "Groups",
        "Memory",
        "Model",
        "Registry",
        "Report",
        "Row",
        "Tensor",
        "Total",
        "Traffic",
        "Training",
    }
    tables = {"hardware", "hardware_names"}
    errors = {
        "HardwareError",
        "MacsimError",
        "MeterError",
        "ReadError",
        "RequestError",
        "TraceError",
        "UnknownWorkError",
    }
    others = {"alias", "analyze", "ceil_div", "compare", "count", "load", "max", "min", "op", "rules"}
    assert set(PUBLIC) == classes | errors | others | tables
