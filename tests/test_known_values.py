"""What is known of the contents of tensors, against the values that ONNX's own node tests expect.

Every output of a node test is looked at by an operator of our own; an element may be unknown, but never wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from test_node_tests import Prepared, array_of, cases

import macsim

CHUNKS = 8
seen: dict[str, list[Any] | None] = {}  # by name of the probe: the elements
registry = macsim.rules.copy()


@registry.op("probe::Look", slots="x")
class Look:
    """Note what is known of x, under the name that the attribute gives."""

    @staticmethod
    def infer(call: macsim.Call) -> tuple[macsim.Tensor, ...]:
        seen[call.attr("what")] = call.values("x")
        return (macsim.Tensor("f32", ()),)

    @staticmethod
    def cost(call: macsim.Call) -> macsim.Cost:
        return macsim.Cost(add=1)


def known_values(case: Any) -> dict[str, list[Any] | None]:
    """The elements of each tensor that the test expects, as far as they are known."""
    prepared = Prepared(case, with_values=True)
    tensors = [
        name for name, kind in ((o.name, o.type) for o in case.model.graph.output) if kind.HasField("tensor_type")
    ]
    for name in tensors:
        prepared.graph.node.append(helper.make_node("Look", [name], [f"{name}.seen"], domain="probe", what=name))
        prepared.graph.output.add(name=f"{name}.seen")
    prepared.model.opset_import.append(helper.make_opsetid("probe", 1))
    seen.clear()
    macsim.count(prepared.model, values=prepared.values, registry=registry)
    return dict(seen)


def differs(known: list[Any], expected: np.ndarray) -> bool:
    wanted = expected.astype(np.float64).ravel()
    if len(known) != len(wanted):
        return True
    pairs = [
        (float(int(k)) if isinstance(k, int | bool) else k, w)
        for k, w in zip(known, wanted, strict=True)
        if k is not None
    ]
    return not np.allclose([k for k, _ in pairs], [w for _, w in pairs], rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_what_is_known_is_right(chunk: int) -> None:
    mistakes, found = [], 0
    for case in cases()[chunk::CHUNKS]:
        wanted = dict(zip((o.name for o in case.model.graph.output), case.data_sets[0][1], strict=True))
        for name, known in known_values(case).items():
            if known is None or (
                array_of(wanted[name]).dtype.kind not in "biuf" and not isinstance(wanted[name], TensorProto)
            ):
                continue
            found += any(item is not None for item in known)
            if differs(known, array_of(wanted[name])):
                mistakes.append(f"{case.name}: {name} is taken to be {known[:8]}")
    assert not mistakes, "\n".join(mistakes)
    assert found >= 100  # of the 235 tests of a chunk; the others have outputs that no shape is computed from
