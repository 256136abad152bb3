# Every row says what its gradient is, or why there is none; of those with products they are torch's, or by hand.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Gradients of all rows: that they are stated, and the multiply-accumulates of those that torch does not call often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from models import feed, model, weight
from onnx import TensorProto, helper

import macsim
from macsim import Training, _core

SERVES = "made to serve models: no runtime differentiates it, and nothing says how"
OPAQUE = "nobody knows what it computes"
UNKNOWN = {
    "compiled_part": OPAQUE,
    "gradient": "the gradient of a gradient: the backward pass is not expanded",
    "conv_backward": "the gradient of a gradient",
    "conv_state_replay": SERVES, "gated_delta_net_replay": SERVES, "paged_attention": SERVES,
    "block_sparse_attention": SERVES, "selected_attention": SERVES, "selected_paged_attention": SERVES,
    "sparse_indexer": SERVES, "packed_sparse_indexer": SERVES, "sparse_indexer_merge": SERVES,
}  # fmt: skip


def test_every_row_says_what_its_gradient_is() -> None:
    """Stated, none with a reason, or in the list above."""
    silent = {
        row["name"]: [op for op, said in row["gradients"].items() if not said]
        for row in _core.rules()
        if not all(row["gradients"].values())
    }
    assert set(silent) == set(UNKNOWN), silent
    reasons = [said for row in _core.rules() for said in row["gradients"].values() if said.startswith("none")]
    assert all(len(said) > len("none: ") for said in reasons)


# Torch's own. ---------------------------------------------------------------------------------------------------------


def of_torch(function: Callable[..., Any], given: list[Any]) -> int:
    """Multiply-accumulates of the real backward pass, from all results."""
    import torch
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import FlopCounterMode

    made = [one for one in tree_leaves(function(*given)) if isinstance(one, torch.Tensor) and one.requires_grad]
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(made, [torch.ones_like(one) for one in made])
    return counter.get_total_flops() // 2


def positive(a: Any) -> Any:
    import torch

    return a @ a.mT + 4 * torch.eye(a.shape[-1])


SQUARE, WIDE, SIDES = (2, 5, 5), (2, 5, 3), (2, 5, 3)
LINEAR_ALGEBRA: dict[str, tuple[str, list[tuple[int, ...]]]] = {
    "inverse": ("linalg.inv", [SQUARE]),
    "cholesky": ("linalg.cholesky", [SQUARE]),
    "solve": ("linalg.solve", [SQUARE, SIDES]),
    "solve a vector": ("linalg.solve", [(5, 5), (5,)]),
    "triangle": ("linalg.solve_triangular", [SQUARE, SIDES]),
    "qr": ("linalg.qr", [(2, 7, 4)]),
    "eigh": ("linalg.eigh", [SQUARE]),
    "eigvalsh": ("linalg.eigvalsh", [SQUARE]),
    "det": ("linalg.det", [SQUARE]),
    "slogdet": ("linalg.slogdet", [SQUARE]),
    "cholesky_inverse": ("cholesky_inverse", [SQUARE]),
    "lu": ("linalg.lu", [SQUARE]),
    "lu_factor": ("linalg.lu_factor", [SQUARE]),
    "svdvals": ("linalg.svdvals", [(2, 7, 4)]),
    "svd": ("linalg.svd", [SQUARE]),
    "svd, tall": ("svd", [(2, 7, 4)]),
    "svd, wide": ("svd", [(2, 4, 7)]),
    "pinv, tall": ("linalg.pinv", [(2, 7, 4)]),
    "pinv, wide": ("linalg.pinv", [(2, 4, 7)]),
    "eigvals": ("linalg.eigvals", [SQUARE]),
    "cond": ("linalg.cond", [SQUARE]),
    "cholesky_solve": ("cholesky_solve", [SIDES, SQUARE]),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "triangle": {"upper": False}, "svd": {"full_matrices": False}
}  # fmt: skip
ESTIMATED = ("svd", "svd, tall", "svd, wide", "eigvals", "cholesky_solve")  # of the work that is no product


@pytest.mark.parametrize("name", LINEAR_ALGEBRA)
def test_linear_algebra(name: str) -> None:
    torch = pytest.importorskip("torch")
    path, shapes = LINEAR_ALGEBRA[name]
    function: Any = torch
    for part in path.split("."):
        function = getattr(function, part)

    def call(*tensors: Any) -> Any:
        return function(*tensors, **OPTIONS.get(name, {}))

    torch.manual_seed(0)
    given = [torch.randn(shape) for shape in shapes]
    given[0] = positive(given[0]) if shapes[0][-1] == shapes[0][-2] else given[0]
    given = [one.requires_grad_() for one in given]
    got = macsim.count(call, *shapes, training=Training(inputs=["*"])).training.backward
    assert got.trust == ("estimate" if name in ESTIMATED else "exact")
    assert got.macs == of_torch(call, given)


# By hand. -------------------------------------------------------------------------------------------------------------

# By name: the function, its shapes, and the work of its gradients. x and y have 6 elements unless it is said otherwise.
X = (2, 3)


def functions() -> dict[str, tuple[Any, list[Any], dict[str, int]]]:
    import torch
    from torch.nn import functional as F  # noqa: N812 - its usual name

    return {
        # a^2 + b^2: 2 mul and add, a quotient of dy by it; times b, times -a
        "atan2": (torch.atan2, [X, X], {"mul": 12 + 12, "add": 6, "div": 6, "logic": 6}),
        "hypot": (torch.hypot, [X, X], {"div": 6, "mul": 12}),
        # dy (1 - w), dy w, dy (b - a)
        "lerp": (torch.lerp, [X, X, X], {"add": 12, "mul": 18}),
        "logaddexp": (torch.logaddexp, [X, (3,)], {"add": 12 + 3, "exp": 12, "mul": 12}),
        "fake quantize": (
            lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127), [X], {"mul": 6}
        ),
        # 4 pairs of rows of 3: dy over the distance; the differences, again; for each of a and b a product of each,
        # and what comes to one row is summed: 12 - 6
        "cdist": (torch.cdist, [X, X], {"div": 4, "mul": 24, "add": 12}),
        # 3 pairs of 3 rows, which pull both
        "pdist": (F.pdist, [(3, 3)], {"div": 3, "mul": 9, "add": 18 - 9}),
        # 2 x 2 places of 2 coordinates, 4 pixels each, 2 channels: 8 samples of 4 pixels; along 2 axes of the places
        # the pixels once more, and times dy; by the size of the image
        "grid_sample": (
            lambda x, at: F.grid_sample(x, at, align_corners=False),
            [(1, 2, 4, 4), (1, 2, 2, 2)],
            {"mul": 32 + 64 + 16 + 8, "add": 32 + 64},
        ),
        # dtheta sums 6 places times (x, y, 1) for each of two coordinates
        "affine_grid": (lambda t: F.affine_grid(t, [1, 1, 2, 3], align_corners=False), [(1, 2, 3)], {"mac": 36}),
        "cummax": (lambda x: torch.cummax(x, 1)[0], [X], {"add": 6}),
        "median": (lambda x: torch.median(x, 1)[0], [X], {}),
    }  # fmt: skip


FUNCTIONS = ("atan2", "hypot", "lerp", "logaddexp", "fake quantize", "cdist", "pdist", "grid_sample", "affine_grid",
             "cummax", "median")  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    pytest.importorskip("torch")
    function, shapes, want = functions()[name]
    got = macsim.count(function, *shapes, training=Training(inputs=["*"])).training.backward
    assert {kind: n for kind, n in got.work.items() if n} == want
    assert got.trust == "exact"


def test_packed_sequences() -> None:
    """Lengths 3, 2 and 1 of 4 in, 5 hidden: 6 cells. dW 6*80, dR 6*100, back through time from all but the first 3."""
    torch = pytest.importorskip("torch")
    from torch.nn.utils.rnn import pack_padded_sequence

    class Packed(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.cells = torch.nn.LSTM(4, 5)

        def forward(self, x: Any) -> Any:
            return self.cells(pack_padded_sequence(x, torch.tensor([3, 2, 1])))[0].data

    got = macsim.count(Packed(), (3, 3, 4), training=True).training.backward
    assert (got.macs, got.trust) == (480 + 600 + 300, "exact")


# Of onnxruntime's. ----------------------------------------------------------------------------------------------------


def step(
    op: str, inputs: list[Any], weights: list[Any], outputs: int = 1, training: Any = True, **attributes: Any
) -> Any:
    """Count a step of one operator over inputs that need gradients and weights that are trained."""
    names = [one.name if one is not None else "" for one in (*inputs, *weights)]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, made, domain="com.microsoft", **attributes)
    proto = model([node], [one for one in inputs if one is not None], [feed("y0")], weights, ["com.microsoft"])
    return macsim.count(proto, training=Training(inputs=["*"]) if training is True else training).training.backward


def work(got: macsim.Report) -> dict[str, Any]:
    return {kind: n for kind, n in got.work.items() if n}


def test_fused_matmul() -> None:
    got = step("FusedMatMul", [feed("a", 4, 2)], [weight("b", 3, 4)], transA=1, transB=1, alpha=0.5)
    # a is turned to 2 x 4, b to 4 x 3: y is 2 x 3 of 4 products; alpha scales dy
    assert (work(got), got.trust) == ({"mac": 2 * 24, "mul": 6}, "exact")


def test_skip_layer_norm() -> None:
    """4 rows of 8: as layer_norm of the sum. dz: 4 mul, 4 additions less 2 a row, 2 quotients a row."""
    rows = [feed("x", 1, 4, 8), feed("skip", 1, 4, 8)]
    got = step("SkipLayerNormalization", rows, [weight("gamma", 8), weight("beta", 8)])
    assert work(got) == {"mul": 4 * 32 + 32, "add": 2 * (2 * 32 - 4) + 24 + 24, "div": 8}
    rms = step("SkipSimplifiedLayerNormalization", rows, [weight("gamma", 8)])
    assert work(rms) == {"mul": 4 * 32 + 32, "add": 2 * 32 - 4 + 24, "div": 4}
    assert {got.trust, rms.trust} == {"exact"}


def test_multi_head_attention() -> None:
    """Batch 2, 3 positions, 2 heads of 4: 2*2*9 scores of 4 products each for dV, dP, dQ and dK."""
    heads = [feed(name, 2, 3, 8) for name in "qkv"]
    got = step("MultiHeadAttention", heads, [weight("b", 24)], num_heads=2)
    assert (got.macs, got.trust) == (4 * 36 * 4, "exact")
    only = step("MultiHeadAttention", heads, [], num_heads=2, training=Training(inputs=["v"]))
    assert only.macs == 36 * 4


def test_attention_with_its_projection() -> None:
    """As above; the projection of 6 rows of 8 to 24: dx and dW."""
    got = step("Attention", [feed("x", 2, 3, 8)], [weight("w", 8, 24), weight("b", 24)], num_heads=2)
    assert (got.macs, got.trust) == (4 * 36 * 4 + 2 * 6 * 8 * 24, "exact")


def test_group_query_attention() -> None:
    """4 heads of 4 share 2 of keys, 3 positions: 4*9 scores; the gradients of keys and values of 2 heads are summed."""
    stored = [helper.make_tensor("lengths", TensorProto.INT32, [1], [2]),
              helper.make_tensor("total", TensorProto.INT32, [], [3])]  # fmt: skip
    proto = model(
        [helper.make_node("GroupQueryAttention", ["q", "k", "v", "", "", "lengths", "total"], ["y"],
                          domain="com.microsoft", num_heads=4, kv_num_heads=2)],
        [feed("q", 1, 3, 16), feed("k", 1, 3, 8), feed("v", 1, 3, 8)], [feed("y")], stored, ["com.microsoft"],
    )  # fmt: skip
    got = macsim.count(proto, training=Training(inputs=["*"])).training.backward
    assert (got.macs, got.trust) == (4 * 36 * 4, "exact")
    softmax = 36 + 12 * 4 - 12  # p (dp - sum(y dy))
    assert got.work["add"] == softmax + 2 * 2 * 3 * 4


def test_weights_of_few_bits() -> None:
    """As a frozen model is trained with adapters: the gradient goes through, the codes have none."""
    node = helper.make_node(
        "MatMulNBits", ["x", "b", "s"], ["y"], domain="com.microsoft", K=32, N=4, bits=4, block_size=32
    )
    codes = helper.make_tensor("b", TensorProto.UINT8, [4, 1, 16], bytes(64), raw=True)
    proto = model([node], [feed("x", 3, 32)], [feed("y")], [codes, weight("s", 4)], ["com.microsoft"])
    report = macsim.count(proto, training=Training(inputs=["x"])).training
    assert (report.backward.macs, report.parameters) == (3 * 4 * 32, [])
    assert report.recompute.work["convert"] == 4 * 32
