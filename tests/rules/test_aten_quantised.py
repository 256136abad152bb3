"""Torch's operators on quantised and on sparse tensors, torchvision's, and kernels: worked out by hand."""

from __future__ import annotations

import importlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from truth import Program, check_program, f32, program, t

import macsim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")
Q, A = torch.ops.quantized, torch.ops.aten
importlib.import_module("torch.ao.nn.quantized")


def op(name: str) -> Any:
    library, _, packet = name.partition("::")
    return getattr(getattr(torch.ops, library), packet)


def requantised(n: int, **more: int) -> dict[str, int]:
    """Scaled, rounded, moved by the zero point, kept in bounds: of n elements; and more."""
    each = {"mul": n, "convert": n, "add": n, "compare": 2 * n}
    return {kind: each.get(kind, 0) + more.get(kind, 0) for kind in each | more}


def through_floats(n: int, **more: int) -> dict[str, int]:
    """N elements to floats, less the zero point, and back; and more."""
    return requantised(n, **{k: more.get(k, 0) + (n if k in ("mul", "convert", "add") else 0) for k in
                             ("mul", "convert", "add", *more)})  # fmt: skip


X = t("u8", 4, 8)
SCALE = (0.1, 3)
ELEMENTS = [
    # Two operands to floats, one sum, and back.
    program("quantized::add", lambda a, b: Q.add(a, b, *SCALE), [X, X], X,
            **requantised(32, mul=64, convert=64, add=64 + 32)),
    program("quantized::add_relu", lambda a, b: Q.add_relu(a, b, *SCALE), [X, X], X,
            **requantised(32, mul=64, convert=64, add=64 + 32)),
    program("quantized::add_scalar", lambda a: Q.add_scalar(a, 2.0), [X], X, "bound", **through_floats(32, add=32)),
    # Whole numbers less their zero points, multiplied.
    program("quantized::mul", lambda a, b: Q.mul(a, b, *SCALE), [X, X], X, **requantised(32, add=64, mul=32)),
    program("quantized::cat", lambda a, b: Q.cat([a, b], 1, *SCALE), [X, X], t("u8", 4, 16), **through_floats(64)),
    program("quantized::sigmoid", lambda a: Q.sigmoid(a, *SCALE), [X], X, **through_floats(32, exp=32, add=32, div=32)),
    program("quantized::leaky_relu", lambda a: Q.leaky_relu(a, 0.1, False, *SCALE), [X], X,
            **through_floats(32, mul=32, compare=32)),
    program("quantized::elu", lambda a: Q.elu(a, *SCALE), [X], X,
            **through_floats(32, mul=32, compare=32, exp=32, add=32)),
    program("quantized::hardswish", lambda a: Q.hardswish(a, *SCALE), [X], X,
            **through_floats(32, add=32, mul=64, compare=64)),
    program("quantized::prelu", lambda a, w: Q.prelu(a, w, *SCALE), [X, f32(1)], X,
            **through_floats(32, mul=32, compare=32)),
    # Rows of 8: largest, subtract, exp, sum, divide.
    program("quantized::softmax", lambda a: Q.softmax(a, 1, *SCALE), [X], X,
            **through_floats(32, compare=28, add=32 + 28, exp=32, div=32)),
    program("quantized::clamp", lambda a: Q.clamp(a, 0.0, 6.0), [X], X, compare=64),
    program("quantized::relu6", lambda a: Q.relu6(a), [X], X, compare=64),
    program("quantized::max_pool2d", lambda a: Q.max_pool2d(a, [2, 2], [2, 2], [0, 0], [1, 1], False),
            [t("u8", 1, 2, 6, 6)], t("u8", 1, 2, 3, 3), compare=18 * 3),
]  # fmt: skip

# 4 channels of 25 elements: scale and shift once a channel (1 add for eps, a root, a quotient; mean times scale, less
# the bias), then a product and a sum an element.
NORMS = [
    program("quantized::batch_norm2d", lambda x, w, b, m, v: Q.batch_norm2d(x, w, b, m, v, 1e-5, *SCALE),
            [t("u8", 1, 4, 5, 5), f32(4), f32(4), f32(4), f32(4)], t("u8", 1, 4, 5, 5),
            **through_floats(100, mul=104, add=108, sqrt=4, div=4)),
    # 4 rows of 8: mean 7 adds and a quotient, 8 less it, 8 squares, 7 adds, a quotient, eps, a root, a quotient, 8
    # products; then 8 by the scale and 8 with the bias.
    program("quantized::layer_norm", lambda x, w, b: Q.layer_norm(x, [8], w, b, 1e-5, *SCALE),
            [X, f32(8), f32(8)], X, **through_floats(32, add=4 * (7 + 8 + 7 + 1 + 8), div=12, mul=4 * 24, sqrt=4)),
]  # fmt: skip

# One product of 8 numbers for each of 20 results.
PRODUCTS = [
    program("quantized::matmul", lambda a, b: Q.matmul(a, b, *SCALE), [X, t("u8", 8, 5)], t("u8", 4, 5),
            **requantised(20, mac=160, add=32 + 40, mul=1, div=1)),
]  # fmt: skip

# 8 rows of 8 elements, or 4 groups of 16 (2 channels): moments, then the scale by row or by element, and a bias.
OF_ROWS = {"add": 8 * (7 + 8 + 7 + 1) + 64, "div": 8 * 3, "sqrt": 8, "mul": 8 * 16}
OF_GROUPS = {"add": 4 * (15 + 16 + 15 + 1) + 64, "div": 4 * 3, "sqrt": 4, "mul": 4 * 48}
SCALED = [t("u8", 2, 4, 8), f32(4), f32(4)]
MORE = [
    program("_quantized::add", lambda a, b: torch.ops._quantized.add(a, b, *SCALE), [X, X], X,
            **requantised(32, mul=64, convert=64, add=64 + 32)),
    program("quantized::add_scalar_relu", lambda a: Q.add_scalar_relu(a, 2.0), [X], X, "bound",
            **through_floats(32, add=32)),
    # One whole number by the scalar's: the scale alone changes at best.
    *(program(f"quantized::{name}", lambda a, name=name: getattr(Q, name)(a, 2.0), [X], X, "bound",
              **requantised(32, add=32, mul=32)) for name in ("mul_scalar", "mul_scalar_relu")),
    program("quantized::threshold", lambda a: Q.threshold(a, 0.5, 0.0), [X], X, **through_floats(32, compare=32)),
    # As of floats: max(0, x) + min(0, alpha (exp(x / alpha) - 1)).
    program("quantized::celu", lambda a: Q.celu(a, *SCALE, 1.0), [X], X,
            **through_floats(32, compare=64, add=64, exp=32, mul=32, div=32)),
    program("quantized::dropout", lambda a: Q.dropout(a, *SCALE, 0.5, False), [X], X),
    program("quantized::max_pool1d", lambda a: Q.max_pool1d(a, [2], [2], [0], [1], False), [t("u8", 1, 2, 6)],
            t("u8", 1, 2, 3), compare=6),
    program("quantized::instance_norm", lambda x, w, b: Q.instance_norm(x, w, b, 1e-5, *SCALE), SCALED,
            t("u8", 2, 4, 8), **through_floats(64, **OF_ROWS)),
    program("quantized::group_norm", lambda x, w, b: Q.group_norm(x, 2, w, b, 1e-5, *SCALE), SCALED,
            t("u8", 2, 4, 8), **through_floats(64, **OF_GROUPS)),
]  # fmt: skip


def dynamically(n: int) -> Counter[str]:
    """The range of n elements and what follows from it, then each quantised."""
    return Counter(compare=4 * n + 2, add=n + 2, div=n + 2, convert=n + 1)


def whole(*shape: int) -> Any:
    """Weights, of one scale, that need no zero point."""
    return torch.quantize_per_tensor(torch.zeros(shape), 0.1, 0, torch.qint8)


def closed(name: str, *rest: Any) -> Callable[..., Any]:
    """A call of an operator whose last arguments are these."""
    return lambda *given: op(name)(*given, *rest)


def layers() -> Iterator[Program]:
    """Weights are in packs: 20 results of 8 products."""
    x, y = f32(4, 8), t("u8", 4, 5)
    packed = Q.linear_prepack(whole(5, 8), torch.zeros(5))
    # Less the zero point of 32 elements; a bias; the scales over that of the results. What keeps them positive is
    # the lower bound.
    static = Counter(mac=160, add=32 + 20, mul=1, div=1)
    for name, rest, more in (
        ("quantized::linear", (), {}),
        ("_quantized::linear", (), {}),
        ("quantized::linear_relu", (), {}),
        ("quantized::linear_tanh", (), {"exp": 20}),
        ("quantized::linear_leaky_relu", (0.1,), {"mul": 20, "compare": 20}),
    ):
        yield program(name, closed(name, packed, *SCALE, *rest), [X], y, **requantised(20, **(static + Counter(more))))
    # Results are only scaled, by the product of two scales.
    dynamic = dynamically(32) + Counter(mac=160, mul=1 + 20, add=32 + 20, convert=20)
    for name, more in (
        ("quantized::linear_dynamic", {}),
        ("_quantized::linear_dynamic", {}),
        ("quantized::linear_relu_dynamic", {"compare": 20}),
    ):
        yield program(name, closed(name, packed), [x], f32(4, 5), **(dynamic + Counter(more)))
    half = Q.linear_prepack_fp16(torch.zeros(5, 8), torch.zeros(5))
    for name, more in (
        ("quantized::linear_dynamic_fp16", {}),
        ("quantized::linear_relu_dynamic_fp16", {"compare": 20}),
    ):
        yield program(name, closed(name, half), [x], f32(4, 5), **{"mac": 160, "add": 20, **more})


def convolutions(n: int) -> Iterator[Program]:
    """2 channels of 4 elements along each of n axes, to 3 by filters 2 long: 3 elements, or 5 where they are spread."""
    window = [[1] * n, [0] * n]
    given, taps, x = (1, 2, *[4] * n), 2**n, 2 * 4**n
    pack = getattr(Q, f"conv{n}d_prepack")(whole(3, 2, *[2] * n), torch.zeros(3), *window, [1] * n, 1)
    spread = getattr(Q, f"conv_transpose{n}d_prepack")(
        whole(2, 3, *[2] * n), torch.zeros(3), *window, [0] * n, [1] * n, 1
    )
    for name, packed, size in ((f"quantized::conv{n}d", pack, 3), (f"quantized::conv_transpose{n}d", spread, 5)):
        made, y = (1, 3, *[size] * n), 3 * size**n
        # Each result takes 2 channels of taps, or each element goes to 3.
        macs = y * 2 * taps if packed is pack else x * 3 * taps
        static = Counter(mac=macs, add=x + y, mul=1, div=1)
        for spelled in [name, f"{name}_relu"] if packed is pack else [name]:
            call = closed(spelled, packed, *SCALE)
            yield program(spelled, call, [t("u8", *given)], t("u8", *made), **requantised(y, **static))
        if name == "quantized::conv2d":  # what is added goes to floats, less its zero point
            work = requantised(y, **(static + Counter(add=2 * y, mul=y, convert=y)))
            for spelled in (f"{name}_add", f"{name}_add_relu"):
                both = [t("u8", *given), t("u8", *made)]
                yield program(spelled, closed(spelled, pack, *SCALE), both, both[1], **work)
        work = dynamically(x) + Counter(mac=macs, add=x + y, mul=1 + y, convert=y)
        yield program(f"{name}_dynamic", closed(f"{name}_dynamic", packed), [f32(*given)], f32(*made), **work)


def tables() -> Iterator[Program]:
    """3 rows of 12, each to floats."""
    for name, kind in (("quantized::embedding_byte", torch.quint8), ("quantized::embedding_4bit", torch.quint4x2)):
        packed = torch.ao.nn.quantized.Embedding(10, 12, dtype=kind)._packed_params._packed_weight
        call = lambda rows, name=name, packed=packed: op(name)(packed, rows)  # noqa: E731
        yield program(name, call, [t("i64", 3)], f32(3, 12), add=36, mul=36, convert=36)


def recurrences() -> Iterator[Program]:
    """5 steps of 2, of 8 to 6: E = 60. Inputs are quantised once and states at each step, products made floats."""
    x, state = f32(5, 2, 8), f32(1, 2, 6)
    # Biases of both sides together once, but for a gate that resets between them; two sums for the new state, or one.
    gates = {
        "lstm": (4, {"add": 240 + 24 + 240 + 60 + 180, "mul": 180, "exp": 300, "div": 180}),
        "gru": (3, {"add": 180 + 12 + 240 + 120 + 120, "mul": 180, "exp": 180, "div": 120}),
    }
    for kind, (count, plain) in gates.items():
        layer = getattr(torch.ao.nn.quantized.dynamic, kind.upper())(8, 6)
        weights = [one.param for one in layer._all_weight_values]
        products = 10 * 2 * count * 6
        work = Counter(plain) + dynamically(80)
        for _ in range(5):
            work += dynamically(12)
        work += Counter(mac=10 * count * 6 * (8 + 6), add=10 * (8 + 6), mul=1 + 5 + products, convert=products)

        def call(x: Any, *states: Any, kind: str = kind, weights: Any = weights) -> Any:
            hx = list(states) if kind == "lstm" else states[0]
            return getattr(A, f"quantized_{kind}")(x, hx, weights, True, 1, 0.0, False, False, False)

        states = [state] * (2 if kind == "lstm" else 1)
        yield program(f"quantized_{kind}", call, [x, *states], [f32(5, 2, 6), *states], **work)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch means to take quantised tensors away
    PACKED = [*layers(), *(row for n in (1, 2, 3) for row in convolutions(n)), *tables(), *recurrences()]


@pytest.mark.parametrize("row", ELEMENTS + NORMS + PRODUCTS + MORE + PACKED, ids=str)
def test_rows(row: Program) -> None:
    check_program(row)


def counted(op: str, program: Callable[..., Any], *inputs: Any) -> tuple[dict[str, int], Any]:
    report = macsim.count(program, *inputs)
    rows = [row for row in report.rows if row.op == op]
    assert len(rows) == 1, [row.op for row in report.rows]
    assert {row.trust for row in report.rows} == {"exact"}
    return {kind: n for kind, n in rows[0].work.items() if n}, report


def u8(*shape: int) -> Any:
    return torch.empty(shape, dtype=torch.uint8, device="meta")


def test_a_quantised_linear_layer() -> None:
    layer = torch.ao.nn.quantized.Linear(8, 5)
    got, report = counted("quantized::linear", layer, u8(4, 8))
    assert got == requantised(20, mac=160, add=32 + 20, mul=1, div=1)
    assert report.outputs[0].shape == (4, 5)
    assert report.outputs[0].dtype == "u8"


def test_weights_of_a_quantised_layer_are_parameters() -> None:
    layer = torch.ao.nn.quantized.Linear(8, 5)
    twice = macsim.count(lambda x: (layer(x), layer(x)), u8(4, 8))
    assert [row.work["mac"] for row in twice.rows] == [160, 160]
    report = macsim.count(layer, u8(4, 8))
    assert report.parameters == 45  # what quantises them is none
    assert report.weight_bytes == 40 + 4 + 4 * 5  # weights of a byte, their scale, the biases


def test_real_quantised_inputs() -> None:
    layer = torch.ao.nn.quantized.Linear(8, 5)
    x = torch.quantize_per_tensor(torch.zeros(4, 8), 0.1, 3, torch.quint8)
    assert macsim.count(layer, x).macs == 160


CONVS = [
    # 3 x 3 filters of 3 channels: 27 products for each of 2 * 8 * 64 results.
    ("conv2d", lambda nn: nn.Conv2d(3, 8, 3, padding=1), (2, 3, 8, 8), (2, 8, 8, 8), 27 * 1024),
    ("conv1d", lambda nn: nn.Conv1d(4, 6, 3, stride=2, groups=2), (1, 4, 9), (1, 6, 4), 6 * 24),
    ("conv3d", lambda nn: nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4), (1, 3, 3, 3, 3), 16 * 81),
    # Each of 4 * 25 elements meets 6 * 9 weights.
    ("conv_transpose2d", lambda nn: nn.ConvTranspose2d(4, 6, 3, stride=2), (1, 4, 5, 5), (1, 6, 11, 11), 100 * 54),
]


@pytest.mark.parametrize(
    ("op", "make", "given", "made", "macs"), CONVS, ids=lambda one: one if type(one) is str else ""
)
def test_quantised_convolutions(op: str, make: Any, given: Any, made: Any, macs: int) -> None:
    layer = make(torch.ao.nn.quantized)
    got, report = counted(f"quantized::{op}", layer, u8(*given))
    n, x = torch.Size(made).numel(), torch.Size(given).numel()
    assert got == requantised(n, mac=macs, add=x + n, mul=1, div=1)
    assert report.outputs[0].shape == made


def quantised(model: Any, *kinds: Any, dtype: Any = torch.qint8) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, set(kinds), dtype=dtype)


def test_dynamic_linear() -> None:
    model = quantised(torch.nn.Sequential(torch.nn.Linear(8, 5)), torch.nn.Linear)
    got, _ = counted("quantized::linear_dynamic", model, (4, 8))
    want = dynamically(32)
    # Less the zero point of 32 elements; 20 results with a bias, scaled by the product of two scales.
    want |= {"mac": 160, "mul": 1 + 20, "add": want["add"] + 32 + 20, "convert": want["convert"] + 20}
    assert got == want


def test_half_precision_weights_are_a_plain_product() -> None:
    model = quantised(torch.nn.Sequential(torch.nn.Linear(8, 5)), torch.nn.Linear, dtype=torch.float16)
    got, _ = counted("quantized::linear_dynamic_fp16", model, (4, 8))
    assert got == {"mac": 160, "add": 20}


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_dynamic_recurrence(kind: str, gates: int) -> None:
    """5 steps of 2: what the plain layer takes, and the quantisation of the inputs and of the state at each step."""
    plain = getattr(torch.nn, kind)(8, 6)
    model = quantised(torch.nn.Sequential(plain), type(plain))
    got, report = counted(f"aten::quantized_{kind.lower()}", model[0], (5, 2, 8))
    want = dict(counted(f"aten::{kind.lower()}", plain, (5, 2, 8))[0])
    assert want["mac"] == 10 * gates * 6 * (8 + 6)
    for part, times in ((dynamically(80), 1), (dynamically(12), 5)):
        for name, n in part.items():
            want[name] = want.get(name, 0) + times * n
    products = 10 * 2 * gates * 6
    want["add"] += 10 * (8 + 6)
    want["mul"] += 6 + products
    want["convert"] += products
    assert got == want
    assert report.outputs[0].shape == (5, 2, 6)


def test_quantised_embedding() -> None:
    layer = torch.ao.nn.quantized.Embedding(10, 12)
    got, report = counted("quantized::embedding_byte", layer, torch.tensor([1, 2, 3]))
    assert got == {"add": 36, "mul": 36, "convert": 36}
    assert report.outputs[0].shape == (3, 12)


def test_a_converted_network() -> None:
    """Statically quantised, with a fused rectifier: 8 filters of 27 at 36 places."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ao = torch.ao.quantization
        model = torch.nn.Sequential(ao.QuantStub(), torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), ao.DeQuantStub()).eval()
        model.qconfig = ao.get_default_qconfig("x86")
        model = ao.prepare(ao.fuse_modules(model, [["1", "2"]]))
        model(torch.zeros(1, 3, 8, 8))
        model = ao.convert(model)
    report = macsim.count(model, (1, 3, 8, 8))
    assert report.macs == 8 * 27 * 36
    assert {row.trust for row in report.rows} == {"exact"}
    assert report.outputs[0].dtype == "f32"


# Sparse. --------------------------------------------------------------------------------------------------------------


def sparse(layout: str = "coo") -> Any:
    """6 x 5 with 4 elements stored."""
    dense = torch.zeros(6, 5)
    for row, column in ((0, 0), (1, 3), (4, 2), (5, 4)):
        dense[row, column] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dense.to_sparse() if layout == "coo" else dense.to_sparse_csr()


SPARSE = [
    # Each of 4 elements meets a row of 3, or a column of 2.
    ("aten::_sparse_mm", lambda s, x: torch.sparse.mm(s, x), (5, 3), (6, 3), {"mac": 12}),
    ("aten::matmul", lambda s, x: s @ x, (5, 3), (6, 3), {"mac": 12}),
    ("aten::matmul", lambda s, x: x @ s, (2, 6), (2, 5), {"mac": 8}),
    ("aten::mv", lambda s, x: torch.mv(s, x), (5,), (6,), {"mac": 4}),
    ("aten::linear", lambda s, x: torch.nn.functional.linear(x, s), (2, 5), (2, 6), {"mac": 8}),
    ("aten::_sparse_addmm", lambda s, x: torch.sparse.addmm(x[:1], s, x), (5, 3), (6, 3), {"mac": 12, "add": 18}),
    ("aten::addmm", lambda s, x: torch.addmm(x[:1], s, x), (5, 3), (6, 3), {"mac": 12, "add": 18}),
    ("aten::matmul", lambda s, x: s.t() @ x, (6, 3), (5, 3), {"mac": 12}),
    # Where 4 elements are stored: products of 3.
    ("aten::sparse_sampled_addmm", lambda s, x: torch.sparse.sampled_addmm(s, x, x[:5].t()), (6, 3), (6, 5),
     {"mac": 12, "add": 4}),
    ("aten::matmul", lambda s, x: s.to_dense() @ x, (5, 3), (6, 3), {"mac": 90}),
]  # fmt: skip


@pytest.mark.parametrize("given", ["input", "buffer", "constant"])
@pytest.mark.parametrize("layout", ["coo", "csr"])
@pytest.mark.parametrize(("op", "call", "shape", "made", "work"), SPARSE)
def test_sparse_products(
    op: str, call: Any, shape: Any, made: Any, work: dict[str, int], layout: str, given: str
) -> None:
    matrix = sparse(layout)

    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("matrix", matrix)

        def forward(self, x: Any) -> Any:
            return call(self.matrix, x)

    x = torch.empty(shape, device="meta")
    program = {"input": call, "buffer": Holder(), "constant": lambda x: call(matrix, x)}[given]
    got, report = counted(op, program, *((matrix, x) if given == "input" else (x,)))
    assert got == work
    assert report.outputs[0].shape == made


def test_what_is_stored_may_depend_on_data() -> None:
    """All elements are a bound then."""
    report = macsim.count(lambda x, y: torch.sparse.mm(x.to_sparse(), y), (6, 5), (5, 3))
    assert [(row.op, row.trust) for row in report.rows] == [("aten::to_sparse", "exact"), ("aten::_sparse_mm", "bound")]
    assert (report.macs, report.rows[0].work["compare"]) == (90, 30)


def test_the_product_of_two_sparse_matrices_is_a_bound() -> None:
    """4 elements of each: at most one for each pair of an element and a column of 6 of the other."""
    report = macsim.count(lambda a, b: torch.sparse.mm(a, b.t()), sparse(), sparse())
    assert (report.macs, [row.trust for row in report.rows][-1]) == (24, "bound")


SPARSE_ROWS = [
    program("to_sparse", lambda x: x.to_sparse(), [f32(4, 8)], f32(4, 8), compare=32),
    program("sparse_sampled_addmm", A.sparse_sampled_addmm, [f32(4, 8), f32(4, 3), f32(3, 8)], f32(4, 8), "bound",
            mac=96, add=32),
]  # fmt: skip


@pytest.mark.parametrize("row", SPARSE_ROWS, ids=str)
def test_sparse_rows(row: Program) -> None:
    check_program(row)
