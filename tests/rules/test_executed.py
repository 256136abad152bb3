"""Every truth that ONNX Runtime can execute: the dtypes and shapes that came out against those that the row states.

Symbols are given small sizes and the models run in a child process, since some of these odd inputs crash the runtime.
"""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime")

HERE = Path(__file__).parent
FILES = sorted(path.stem for path in HERE.glob("test_*.py") if path.stem not in ("test_executed", "test_control"))
SIZE = 4  # of every symbol
# The runtime's own choice, not the operator's: channels are padded to the vector length of the machine; a crop's share
# of the input is left out of the output's size.
ODD = {"ReorderInput", "Resize-crop", "NonZero-scalar"}
DTYPES = {
    "float64": "f64", "float32": "f32", "float16": "f16", "int64": "i64", "int32": "i32", "int16": "i16", "int8": "i8",
    "uint64": "u64", "uint32": "u32", "uint16": "u16", "uint8": "u8", "bool": "bool", "object": "string",
}  # fmt: skip


def truths(stem: str) -> list[Any]:
    module = importlib.import_module(stem)
    lists = [value for value in vars(module).values() if isinstance(value, list)]
    return [case for cases in lists for case in cases if type(case).__name__ == "Case"]


# In the child. --------------------------------------------------------------------------------------------------------


def feed(value: Any, sizes: dict[str, int]) -> Any:
    """Contents for an input, whose stated sizes become numbers."""
    import numpy as np
    from onnx import TensorProto, helper

    import macsim

    stated = value.type.tensor_type
    shape = []
    for dim in stated.shape.dim:
        size = dim.dim_value
        if dim.HasField("dim_param"):
            expr = macsim.Expr(dim.dim_param)
            for name in expr.symbols:
                sizes[name] = SIZE
            size = int(expr.bind(sizes))
            dim.dim_value = size
        shape.append(size)
    if stated.elem_type == TensorProto.STRING:
        return np.full(shape, "ab", dtype=object)
    dtype = helper.tensor_dtype_to_np_dtype(stated.elem_type)
    random = np.random.default_rng(0).random(shape)
    return random.astype(dtype) if np.dtype(dtype).kind == "f" else np.ones(shape, dtype=dtype)


def execute(case: Any) -> list[Any]:
    """The dtypes and shapes of the outputs as they come out, and as the row states them."""
    import numpy as np
    import onnxruntime as ort
    from onnx import TensorProto, helper
    from truth import model_of

    import macsim

    model = model_of(case)
    for stored in list(model.graph.initializer):
        if stored.data_location == TensorProto.EXTERNAL:
            model.graph.initializer.remove(stored)
            model.graph.input.append(helper.make_tensor_value_info(stored.name, stored.data_type, list(stored.dims)))
    sizes: dict[str, int] = {}
    feeds = {value.name: feed(value, sizes) for value in model.graph.input}
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = []
    for got, want in zip(session.run(None, feeds), [o for o in case.outputs if o is not None], strict=True):
        if isinstance(got, np.ndarray) and want.kind == "tensor" and want.shape is not None:
            stated = [str(macsim.Expr(str(size)).bind(sizes)) for size in want.shape]
            found.append([DTYPES.get(str(got.dtype), want.dtype), list(got.shape), want.dtype, stated])
    return found


def child(stem: str, first: int) -> None:
    """Executes the truths of a file from the `first` on. Says which one comes before it starts it."""
    for index, case in enumerate(truths(stem)[first:], first):
        print(json.dumps({"next": index}), flush=True)  # noqa: T201 - to the parent
        try:
            print(json.dumps({"found": execute(case)}), flush=True)  # noqa: T201
        except Exception as error:  # the runtime has no kernel for it, or refuses the contents
            print(json.dumps({"refused": str(error)[:200]}), flush=True)  # noqa: T201


# In the parent. -------------------------------------------------------------------------------------------------------


def executed(stem: str) -> Iterator[tuple[int, list[Any]]]:
    first, total = 0, len(truths(stem))
    while first < total:
        command = [sys.executable, __file__, stem, str(first)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        at = first - 1
        for line in run.stdout.splitlines():
            said = json.loads(line)
            at = said.get("next", at)
            if "found" in said:
                yield at, said["found"]
        assert at >= first, run.stderr[-2000:]
        first = at + 1


@functools.cache
def mistakes(stem: str) -> tuple[int, tuple[str, ...]]:
    cases, run, wrong = truths(stem), 0, []
    for index, outputs in executed(stem):
        run += 1
        name = str(cases[index])
        if any(odd in name for odd in ODD):
            continue
        for dtype, shape, stated_dtype, stated in outputs:
            sizes_fit = len(shape) == len(stated) and all(
                not size.isdigit() or int(size) == got for got, size in zip(shape, stated, strict=True)
            )
            if dtype != stated_dtype or not sizes_fit:
                wrong.append(f"{stem} {name}: {dtype}{shape} came out, {stated_dtype}{stated} is stated")
    return run, tuple(wrong)


@pytest.mark.parametrize("stem", FILES)
def test_what_came_out_is_what_is_stated(stem: str) -> None:
    assert not mistakes(stem)[1], "\n".join(mistakes(stem)[1])


def test_most_truths_are_executed() -> None:
    total = sum(len(truths(stem)) for stem in FILES)
    run = sum(mistakes(stem)[0] for stem in FILES)
    assert run >= total // 2, f"{run} of {total}"


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]))
