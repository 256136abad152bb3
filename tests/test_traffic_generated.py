"""What must hold of traffic and memory for every model, over graphs that are drawn."""

from __future__ import annotations

from typing import Any

import generated_graphs
import onnx
from hypothesis import given, settings

import macsim

CAPACITIES = (1, 64, 200, 500, 1_000, 3_000, 10_000, 100_000, 1 << 40)
LEVELS = ("unfused", "fused", "minimum")
WHILE_READING = ("DequantizeLinear", "Transpose", "Slice", "Split")  # kernels of others may do them while they read
MOVED = ("read", "weights", "cache", "written")


def check_levels(report: macsim.Report) -> None:
    unfused, fused, minimum = (report.traffic(level) for level in LEVELS)
    assert all(getattr(minimum, name) <= getattr(fused, name) for name in MOVED)
    # Of weights alone fused may have more: what is not dequantised or sliced beforehand, several kernels read.
    assert fused.bytes <= unfused.bytes
    assert fused.written <= unfused.written
    last = None
    for capacity in CAPACITIES:
        cached = report.traffic("cached", capacity)
        assert cached.bytes >= minimum.bytes, capacity
        assert last is None or cached.bytes <= last, f"rises with capacity at {capacity}"
        last = cached.bytes
    assert last == minimum.bytes
    for one in (unfused, fused, minimum):
        assert sum(one.roles.values()) == one.bytes == sum(int(column.sum()) for column in one.columns.values())


def check_kernels(report: macsim.Report) -> None:
    """Every row that moves something is in one kernel, and no kernel needs what hangs on it."""
    fused = report.traffic("fused")
    rows = [row for kernel in fused.kernels for row in kernel.rows]
    assert len(rows) == len(set(rows))
    moving = [i for i, row in enumerate(report.rows) if row.read or row.weights or row.written]
    assert set(moving) <= set(rows)
    assert sum(kernel.bytes for kernel in fused.kernels) == fused.bytes
    place = {row: number for number, kernel in enumerate(fused.kernels) for row in kernel.rows}
    makers: dict[str, frozenset[int]] = {}  # by value: the kernels that it comes from, views looked through
    for i, row in enumerate(report.rows):  # all shapes are known: nothing hangs on how they are worked out
        sources: frozenset[int] = frozenset().union(*(makers.get(tensor.name, frozenset()) for tensor in row.inputs))
        number = place.get(i)
        inlined = row.op in WHILE_READING
        if number is not None and not inlined:
            assert all(source <= number for source in sources), (row.op, number, sources)
        for tensor in row.outputs:
            makers[tensor.name] = sources if number is None or inlined else frozenset([number])


def plain(value: Any) -> int:
    if isinstance(value, int):
        return value
    bound = value.bind({name: generated_graphs.SIZES[name] for name in value.symbols})
    assert isinstance(bound, int)
    return bound


def check_binding(model: onnx.ModelProto) -> None:
    """Sizes that are bound later give what they give at once."""
    free, fixed = macsim.count(model), macsim.count(model, dims=generated_graphs.SIZES)
    bound = free.bind(generated_graphs.SIZES)
    for level in LEVELS:
        symbolic, later, now = (one.traffic(level) for one in (free, bound, fixed))
        for name in MOVED:
            assert plain(getattr(symbolic, name)) == getattr(later, name) == getattr(now, name), (level, name)
    for capacity in CAPACITIES:
        symbolic, later, now = (one.traffic("cached", capacity) for one in (free, bound, fixed))
        assert later.bytes == now.bytes
        assert plain(symbolic.bytes) >= now.bytes
        if symbolic.trust == "exact":
            assert plain(symbolic.bytes) == now.bytes
    memory = free.memory()
    assert plain(memory.activations) == bound.memory().activations == fixed.memory().activations


@given(generated_graphs.models())
@settings(max_examples=150)
def test_levels_and_kernels(model: onnx.ModelProto) -> None:
    report = macsim.count(model)
    assert report.trust == "exact"
    check_levels(report)
    check_kernels(report)


@given(generated_graphs.models(control=True))
@settings(max_examples=150)
def test_control_flow(model: onnx.ModelProto) -> None:
    report = macsim.count(model)
    check_levels(report)


@given(generated_graphs.models(symbolic=True))
@settings(max_examples=60)
def test_sizes_that_are_bound_later(model: onnx.ModelProto) -> None:
    check_binding(model)
