"""Unfused bytes of single operators and small graphs against XLA's cost analysis.

The numbers are what `jax.jit(f).lower(...).compile().cost_analysis()["bytes accessed"]` says on a CPU, and it is asked
again. What XLA joins (chains of point-wise operators) is one operator here. Convolutions are left out: for one on a CPU
XLA says three times its operands and result, as it stands in two computations that are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import onnx
import onnx.parser
import pytest

import macsim

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
A, B, C = "float[6,8] a", "float[8,5] b", "float[6,8] c"

# (model, the same in jax, bytes that XLA says, of these a scalar: the first value of a reduction, or what pads)
CASES: dict[str, tuple[str, str, int, int]] = {
    "product": (f"g ({A}, {B}) => (float[6,5] y) {{ y = MatMul(a, b) }}", "a @ b", 472, 0),
    "batched product": (
        "g (float[3,6,8] a, float[3,8,5] b) => (float[3,6,5] y) { y = MatMul(a, b) }", "jnp.matmul(a, b)", 1416, 0
    ),
    "sum of two": (f"g ({A}, {C}) => (float[6,8] y) {{ y = Add(a, c) }}", "a + c", 576, 0),
    "rectifier": (f"g ({A}) => (float[6,8] y) {{ y = Relu(a) }}", "jnp.maximum(a, 0.0)", 384, 0),
    "exponential": (f"g ({A}) => (float[6,8] y) {{ y = Exp(a) }}", "jnp.exp(a)", 384, 0),
    "sum of rows": (
        f"g ({A}) => (float[6] y) {{ s = Constant <value_ints=[1]> ()\n y = ReduceSum <keepdims=0> (a, s) }}",
        "jnp.sum(a, axis=1)", 220, 4,
    ),
    "largest of columns": (
        f"g ({A}) => (float[8] y) {{ s = Constant <value_ints=[0]> ()\n y = ReduceMax <keepdims=0> (a, s) }}",
        "jnp.max(a, axis=0)", 228, 4,
    ),
    "transpose": (f"g ({A}) => (float[8,6] y) {{ y = Transpose <perm=[1,0]> (a) }}", "a.T", 384, 0),
    "slice": (
        f"g ({A}) => (float[2,8] y) {{ s = Constant <value_ints=[1]> ()\n e = Constant <value_ints=[3]> ()\n"
        " y = Slice(a, s, e) }", "a[1:3]", 128, 0,
    ),
    "concatenation": (
        f"g ({A}, float[2,8] c) => (float[8,8] y) {{ y = Concat <axis=0> (a, c) }}", "jnp.concatenate([a, c])", 512, 0
    ),
    "selection": (
        f"g (bool[6,8] b, {A}, {C}) => (float[6,8] y) {{ y = Where(b, a, c) }}", "jnp.where(b, a, c)", 624, 0
    ),
    "conversion": (
        f"g ({A}) => (bfloat16[6,8] y) {{ y = Cast <to=16> (a) }}", "a.astype(jnp.bfloat16)", 288, 0
    ),
    "product and rectifier": (
        f"g ({A}, {B}) => (float[6,5] y) {{ t = MatMul(a, b)\n y = Relu(t) }}", "jnp.maximum(a @ b, 0.0)", 712, 0
    ),
    "product of a product": (
        f"g ({A}, {B}, float[5,4] c) => (float[6,4] y) {{ t = MatMul(a, b)\n y = MatMul(t, c) }}", "a @ b @ c", 768, 0
    ),
    "bias": (f"g ({A}, float[8] b) => (float[6,8] y) {{ y = Add(a, b) }}", "a + b", 416, 0),
    "scale of rows": (f"g ({A}, float[6,1] b) => (float[6,8] y) {{ y = Mul(a, b) }}", "a * b", 408, 0),
    "comparison": (f"g ({A}, {C}) => (bool[6,8] y) {{ y = Less(a, c) }}", "a < c", 432, 0),
    "expansion": (
        "g (float[1,8] a) => (float[6,8] y) { s = Constant <value_ints=[6,8]> ()\n y = Expand(a, s) }",
        "jnp.broadcast_to(a, (6, 8))", 224, 0,
    ),
    "tiles": (
        f"g ({A}) => (float[12,8] y) {{ s = Constant <value_ints=[2,1]> ()\n y = Tile(a, s) }}",
        "jnp.tile(a, (2, 1))", 576, 0,
    ),
    "padding": (
        f"g ({A}) => (float[8,8] y) {{ s = Constant <value_ints=[1,0,1,0]> ()\n y = Pad(a, s) }}",
        "jnp.pad(a, ((1, 1), (0, 0)))", 452, 4,
    ),
    "pooling": (
        "g (float[2,3,8,8] a) => (float[2,3,4,4] y) { y = MaxPool <kernel_shape=[2,2], strides=[2,2]> (a) }",
        "jax.lax.reduce_window(a, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), 'VALID')", 1924, 4,
    ),
    "running sums": (
        f"g ({A}) => (float[6,8] y) {{ s = Constant <value_int=0> ()\n y = CumSum(a, s) }}", "jnp.cumsum(a, 0)", 388, 4
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bytes(name: str) -> None:
    text, _, said, start = CASES[name]
    report = macsim.count(onnx.parser.parse_model(HEAD + text))
    assert report.traffic("unfused").bytes == said - start


@pytest.mark.parametrize("name", CASES)
def test_xla_still_says_so(name: str) -> None:
    text, code, said, _ = CASES[name]
    model = onnx.parser.parse_model(HEAD + text)
    dtypes = {onnx.TensorProto.FLOAT: jax.numpy.float32, onnx.TensorProto.BOOL: jax.numpy.bool_}
    given = {
        one.name: jax.ShapeDtypeStruct(
            tuple(dim.dim_value for dim in one.type.tensor_type.shape.dim), dtypes[one.type.tensor_type.elem_type]
        )
        for one in model.graph.input
    }
    run: Callable[..., Any] = eval(f"lambda {', '.join(given)}: {code}", {"jax": jax, "jnp": jax.numpy})
    analysis = jax.jit(run).lower(*given.values()).compile().cost_analysis()
    assert analysis["bytes accessed"] == said
