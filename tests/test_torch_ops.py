"""Torch's database of operators as an oracle: what they give when they run, against what counting says they give."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

import macsim

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

DTYPES = importlib.import_module("macsim.sources.torch_values").DTYPES
MOST_SAMPLES = 3

LOOKS = "it looks at the data to check it, or to decide what to do"
# Operators that cannot be counted without contents: some or all of their samples.
REFUSED = {
    "allclose": LOOKS,
    "equal": LOOKS,
}
# As many results as the data says: a symbol stands for their number.
BY_DATA = {"argwhere", "combinations", "masked_select", "nonzero", "unique", "unique_consecutive"}
# Without storage torch gives statistics of another size than on the CPU, which leaves them empty in evaluation.
DIFFER = {"native_batch_norm", "_native_batch_norm_legit"}
# What nobody has worked out.
UNKNOWN = {
    "chalf": {"aten::to"},
}
OPS = [op for op in op_db if op.supported_dtypes("cpu") and not op.name.startswith("jiterator")]


def samples_of(op: Any) -> Iterator[Any]:
    dtypes = op.supported_dtypes("cpu")
    dtype = torch.float32 if torch.float32 in dtypes else min(dtypes, key=str)
    return islice(op.sample_inputs_func(op, "cpu", dtype, requires_grad=False), MOST_SAMPLES)


def types_of(results: Any) -> list[tuple[str, tuple[int, ...]]]:
    tensors = [one for one in tree_leaves(results) if isinstance(one, torch.Tensor)]
    return [(DTYPES.get(one.dtype, "?"), tuple(one.shape)) for one in tensors]


def at_sizes(dtype: str, shape: Any, sizes: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Put numbers in the place of symbols that stand for themselves."""
    bound = [
        one.bind({one.symbols[0]: size}) if isinstance(one, macsim.Expr) else one
        for one, size in zip(shape, sizes, strict=True)
    ]
    return dtype, tuple(bound)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.formatted_name)
def test_shapes_and_dtypes(op: Any) -> None:
    refused = 0
    for sample in samples_of(op):
        call = (sample.input, *sample.args), sample.kwargs
        try:
            want = types_of(op.op(*call[0], **call[1]))
        except RuntimeError:  # not on this machine: a library that torch was built without
            continue
        leaves, spec = tree_flatten(call)

        def run(*tensors: Any, leaves: list[Any] = leaves, spec: Any = spec) -> Any:
            given = iter(tensors)
            args, kwargs = tree_unflatten([next(given) if isinstance(x, torch.Tensor) else x for x in leaves], spec)
            return op.op(*args, **kwargs)

        try:
            report = macsim.count(run, *(one for one in leaves if isinstance(one, torch.Tensor)))
        except macsim.TraceError:
            if op.name not in REFUSED:
                raise
            refused += 1
            continue
        unknown = {row.op for row in report.rows if row.trust == "unknown"}
        assert unknown <= UNKNOWN.get(op.name, set())
        got = [(tensor.dtype, tensor.shape) for tensor in report.outputs]
        if op.name in BY_DATA:
            got = [one if one == two else at_sizes(*one, two[1]) for one, two in zip(got, want, strict=True)]
        if op.name not in DIFFER:
            assert got == want, [row.op for row in report.rows]
    assert refused or op.name not in REFUSED, "it is counted now"


def core_operators() -> list[Any]:
    """Every overload of ATen's core set."""
    found = []
    for name in torch._C._dispatch_get_all_op_names():
        namespace, _, rest = name.partition("::")
        packet, _, overload = rest.partition(".")
        if namespace == "aten":
            func = getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)
            if func is not None and torch.Tag.core in func.tags:
                found.append(func)
    return found


def test_core_operators_are_known() -> None:
    """Each has a row, is made of others, or gives no tensor."""
    from torch._decomp import decomposition_table

    missing, core = [], core_operators()
    assert len(core) > 150
    for func in core:
        packet = func._schema.name.removesuffix("_")
        gives = any("Tensor" in str(one.type) for one in func._schema.returns)
        made = func._can_decompose() or func in decomposition_table
        if gives and not made and macsim.rules.table.find(packet, 1) is None:
            missing.append(str(func))
    assert not missing
