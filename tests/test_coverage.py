"""No operator without a row: every schema of onnx and onnxruntime, its inputs against the row's slots."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx.defs
import pytest
from truth import Case, Program

import macsim
from macsim import _core


@dataclass(frozen=True)
class Schema:
    domain: str
    name: str
    version: int
    inputs: int
    repeated: bool

    @property
    def op(self) -> str:
        return f"{self.domain or 'onnx'}::{self.name}"

    def __str__(self) -> str:
        return f"{self.op}-{self.version}"


def onnx_schemas() -> Iterator[Schema]:
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    for schema in onnx.defs.get_all_schemas_with_history():
        repeated = any(given.option == variadic for given in schema.inputs)
        yield Schema(schema.domain, schema.name, schema.since_version, len(schema.inputs), repeated)


def runtime_schemas() -> Iterator[Schema]:
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    for schema in state.get_all_operator_schema():
        if schema.domain in ("", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"):
            repeated = any(str(given.option).endswith("Variadic") for given in schema.inputs)
            yield Schema(schema.domain, schema.name, schema.since_version, len(schema.inputs), repeated)


SOURCES = {"onnx": onnx_schemas, "onnxruntime": runtime_schemas}


@functools.cache
def table() -> Any:
    return macsim.rules.table


def spelled_for(schema: Schema) -> tuple[str, list[str]] | None:
    """The row that answers to a schema, and the slots of its spelling; None: there is none."""
    row = table().find(schema.op, schema.version)
    if row is None:
        return None
    for op, slots, since, until in row["spelled"]:
        if op == schema.op and since <= schema.version and (until is None or schema.version <= until):
            return row["name"], slots.split()
    return row["name"], row["slots"].split()


@pytest.mark.parametrize("source", SOURCES)
def test_every_operator_has_a_row(source: str) -> None:
    schemas = list(SOURCES[source]())
    assert len(schemas) >= {"onnx": 659, "onnxruntime": 400}[source]
    missing = sorted({str(schema) for schema in schemas if spelled_for(schema) is None})
    assert not missing, f"{len(missing)}: {missing}"


@pytest.mark.parametrize("source", SOURCES)
def test_slots_are_the_inputs(source: str) -> None:
    """Every input has a slot: one more, and a rule would take a number for a tensor."""
    wrong = []
    for schema in SOURCES[source]():
        found = spelled_for(schema)
        if found is None:
            continue
        rule, slots = found
        repeated = bool(slots) and slots[-1].endswith("...")
        if schema.repeated != repeated and not (repeated and schema.inputs == 0):
            wrong.append(
                f"{schema}: {rule} has {slots}, the schema's inputs are {'' if schema.repeated else 'not '}repeated"
            )
        elif not repeated and len(slots) < schema.inputs:
            wrong.append(f"{schema}: {rule} has {slots}, the schema has {schema.inputs} inputs")
        elif repeated and 1 < len(slots) < schema.inputs:
            wrong.append(f"{schema}: {rule} has {slots}, the schema has {schema.inputs} inputs, the last repeated")
    assert not wrong, "\n".join(wrong)


def test_slots_are_no_more_than_the_latest_inputs() -> None:
    """Some version of an operator has as many inputs as its spelling has slots."""
    most: dict[tuple[str, tuple[str, ...]], int] = {}
    for source in SOURCES.values():
        for schema in source():
            found = spelled_for(schema)
            if found is not None and not schema.repeated:
                key = schema.op, tuple(found[1])
                most[key] = max(most.get(key, 0), schema.inputs)
    wrong = [f"{op}: {slots}, at most {n} inputs" for (op, slots), n in most.items() if len(slots) > n]
    assert not wrong, "\n".join(wrong)


def test_every_row_is_described() -> None:
    names = set()
    for rule in _core.rules():
        assert rule["name"] not in names, f"two rows are named {rule['name']}"
        names.add(rule["name"])
        for part in ("summary", "formula", "reference"):
            assert rule[part], f"{rule['name']} has no {part}"
        assert rule["reference"].startswith("https://"), rule["name"]
        assert rule["spelled"], f"nothing is spelled {rule['name']}"


# Worked out in whole models by test_control.py, test_contrib.py and test_attention.py: they have bodies.
IN_MODELS = {"if", "loop", "scan", "sequence_map", "search", "flex_attention"}


def truth_rows() -> Iterator[Case | Program]:
    """Every case that a truth table of tests/rules is run with."""
    for path in sorted(Path(__file__).parent.glob("rules/test_*.py")):
        for test in vars(importlib.import_module(path.stem)).values():
            for mark in getattr(test, "pytestmark", []):
                if mark.name == "parametrize":
                    yield from (row for row in mark.args[1] if isinstance(row, Case | Program))


def test_every_row_has_a_truth() -> None:
    covered = set()
    for row in truth_rows():
        if isinstance(row, Program):
            found = table().find(row.spelled, 1)
        else:
            version = row.version or (1 if row.domain else onnx.defs.onnx_opset_version())
            found = table().find(row.spelled, version)
        assert found is not None, str(row)
        covered.add(found["name"])
    missing = sorted({rule["name"] for rule in _core.rules()} - covered - IN_MODELS)
    assert not missing, missing


# Torch cannot run it without storage, nor with: it is for backends, each of which brings its own.
OF_BACKENDS = {"aten::_copy_from"}


def is_there(op: str) -> bool:
    """Whether this build of torch has an operator of another library than ONNX's; a row may be for other builds."""
    library, _, name = op.partition("::")
    if "." in library or library == "onnx":
        return True
    torch = pytest.importorskip("torch")
    importlib.import_module("torch.ao.quantization.fx._decomposed")
    packets = getattr(torch.ops, library)
    return any(hasattr(packets, spelled) for spelled in (name, name + "_"))


def test_every_spelling_has_a_truth() -> None:
    named = {row.spelled for row in truth_rows()}
    assert not named & OF_BACKENDS
    spelled = {op for rule in _core.rules() if rule["name"] not in IN_MODELS for op, *_ in rule["spelled"]}
    missing = sorted(op for op in spelled - named - OF_BACKENDS if is_there(op))
    assert not missing, f"{len(missing)}: {missing}"
