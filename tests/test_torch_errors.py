# What is refused of torch programs: where, why and what to do is said, and nothing is left changed.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Errors of torch programs, case by case."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import macsim

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Inside(nn.Module):
    """A module with another at `blocks.1`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity(), inner])
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.history: list[Any] = []

    def forward(self, x: Any) -> Any:
        self.seen += 1
        self.history.append(x)
        self.last = x
        handle = self.blocks[0].register_forward_hook(lambda module, args, out: out + 1)
        for block in self.blocks:
            x = block(x)
        handle.remove()
        return x


class Does(nn.Module):
    """A module that does this."""

    def __init__(self, what: Callable[[Any], Any]) -> None:
        super().__init__()
        self.what = what
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: Any) -> Any:
        return self.what(x * self.weight)


def raises(error: BaseException) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        raise error

    return run


class Two(nn.Module):
    def forward(self, x: Any, y: Any, *, z: Any = None) -> Any:
        return x @ y

    def encode(self, x: Any) -> Any:
        return x


def inside(inner: nn.Module) -> nn.Module:
    model = Inside(inner).train()
    inner.eval()
    return model


IN = "in module 'blocks.1'"
LOOKS = ("not known", "give such an input as a tensor", "torch.cond", IN)
SHAPES = [  # wrong shapes: a module, the shape of its input, what is said
    (lambda: nn.Linear(4, 5), (3, 6), ("x: float32 [3, 6]", "RuntimeError")),
    (lambda: nn.Conv2d(3, 5, 3), (1, 4, 8, 8), ("channel",)),
    (lambda: nn.Conv2d(3, 5, 3), (1, 3), ("conv2d", "[1, 3]")),
    (lambda: nn.Conv2d(3, 5, 9), (1, 3, 4, 4), ("Kernel size",)),
    (lambda: nn.BatchNorm2d(3), (1, 4, 8, 8), ("running_mean should contain 4",)),
    (lambda: nn.BatchNorm2d(3), (1, 3), ("expected 4D input",)),
    (lambda: nn.InstanceNorm2d(3, affine=True), (1, 4, 8, 8), ("num_features (3)",)),
    (lambda: nn.GroupNorm(3, 6), (1, 4, 8, 8), ("num_groups=3",)),
    (lambda: nn.GroupNorm(2, 6), (1, 4, 8, 8), ("number of channels",)),
    (lambda: nn.LayerNorm(3), (1, 4), ("normalized_shape=[3]",)),
    (lambda: nn.RMSNorm(3), (1, 4), ("normalized_shape=[3]",)),
    (lambda: nn.LSTM(3, 4), (1, 4, 8), ("Expected 3, got 8",)),
    (lambda: nn.Embedding(3, 4), (1, 4), ("indices", "float32")),
    (lambda: nn.MaxPool2d(9), (1, 3, 4, 4), ("Output size is too small",)),
    (lambda: nn.AvgPool2d(9), (1, 3, 4, 4), ("Output size is too small",)),
    (lambda: nn.PReLU(3), (1, 4, 4, 4), ("channel size = 4",)),
    (lambda: nn.MultiheadAttention(16, 4), (3, 2, 15), ("'key' and 'value'",)),
]


@cache
def program() -> Any:
    return torch.export.export(nn.Linear(4, 5), (torch.ones(3, 4),))


async def awaited(x: Any) -> Any:
    return x @ x


def refused() -> Iterator[Any]:
    """Yield what is done, the kind of error, and what its text says."""

    def case(name: str, do: Callable[[], Any], kind: type, *says: str) -> Any:
        return pytest.param(do, kind, says, id=name)

    trace, request = macsim.TraceError, macsim.RequestError
    for make, shape, says in SHAPES:
        name = f"shape-{type(make()).__name__}-{'x'.join(map(str, shape))}"
        yield case(name, lambda make=make, shape=shape: count(inside(make()), shape), trace, IN, "called with", *says)
    q, k = (1, 2, 3, 4), (1, 2, 3, 5)
    attention = F.scaled_dot_product_attention
    yield case("shape-query", lambda: count(lambda q, k, v: attention(q, k, v), q, k, k), trace, "[1, 2, 3, 5]")
    yield case("shape-mask", lambda: count(lambda q, m: attention(q, q, q, m), q, (3, 5)), trace, "m: float32 [3, 5]")
    yield case("shape-bias", lambda: count(lambda x, w, b: F.linear(x, w, b), (3, 4), (5, 4), (6,)), trace, "b: ")
    yield case("shape-add", lambda: count(lambda x, y: x + y, (3, 4), (3, 5)), trace, "y: float32 [3, 5]")
    yield case("shape-cat", lambda: count(lambda x, y: torch.cat([x, y]), (3, 4), (3, 5)), trace, "Sizes of tensors")
    yield case("shape-baddbmm", lambda: count(torch.baddbmm, (7, 3, 5), (2, 3, 4), (2, 4, 5)), trace, "[2, 3, 5]")
    yield case(
        "shape-script", lambda: count(torch.jit.script(nn.Linear(4, 5)), (3, 6)), trace, "linear.py, line", "[3,"
    )
    yield case("nested", lambda: count(lambda x: x["a"], {"b": (3, 4)}), trace, "KeyError", "x: {b: float32 [3, 4]}")

    later = "does its work only when it is gone through"
    yield case("generator", lambda: count(lambda x: (x @ one for one in [x]), (4, 4)), trace, "generator", later)
    yield case("map-inside", lambda: count(lambda x: {"all": [map(torch.relu, [x])]}, (4, 4)), trace, "a map", later)
    yield case("coroutine", lambda: count(awaited, (4, 4)), trace, "coroutine", later)
    for hint in (-1, "x", 2.0, True):
        yield case(
            f"hint-{hint}",
            lambda hint=hint: count(Inside(nn.Linear(4, 5)), ("n", 4), hints={"n": hint}),
            request,
            "'n'",
        )

    parts = [torch.ones(2, 4), torch.ones(3, 4)]
    yield case(
        "nested-tensor",
        lambda: count(nn.Linear(4, 5), torch.nested.nested_tensor(parts)),
        request,
        "'input' is a nested tensor",
        "padded",
    )
    yield case("float", lambda: count(lambda x: x * float(x.sum()), (3, 4)), trace, "read from a tensor", "keep it in")
    yield case(
        "name", lambda: count(nn.Linear(4, 5), shapes={"y": (3, 4)}), request, "there is no 'y'; it takes (input)"
    )

    takes = ("it takes (x, y, z=None)", "shapes={'x'")
    yield case("missing-all", lambda: count(nn.Linear(4, 5)), request, "'input'", "it takes (input)")
    yield case("missing-one", lambda: count(Two(), (3, 4)), request, "'y'", *takes)
    yield case("too-many", lambda: count(Two(), (3, 4), (4, 5), (5, 6)), request, "too many", *takes)
    yield case("no-such", lambda: count(Two(), (3, 4), (4, 5), kwargs={"w": 1}), request, "'w'", *takes)
    yield case("misspelled", lambda: count(nn.Linear(4, 5), shapes={"inptu": (3, 4)}), request, "did you mean 'input'?")
    twice = {"kwargs": {"x": (3, 4)}, "shapes": {"x": (3, 4)}}
    yield case("twice", lambda: count(Two(), **twice), request, "'x' is given twice")
    yield case("both", lambda: count(Two(), (3, 4), (4, 5), shapes={"x": (3, 4)}), request, "multiple values", "'x'")
    yield case("script-too-many", lambda: count(torch.jit.script(nn.ReLU()), (3,), (4,)), request, "it takes (input)")

    tensor = "a shape is a tuple of ints"
    yield case("list", lambda: count(nn.Linear(4, 5), [3, 4]), trace, "input: list [3, 4]", tensor)
    yield case("floats", lambda: count(nn.Linear(4, 5), (3, 4.0)), trace, "input: tuple (3, 4.0)", tensor)
    yield case("array", lambda: count(nn.Linear(4, 5), np.zeros((3, 4))), trace, "input: ndarray")
    yield case("size-none", lambda: count(nn.Linear(4, 5), shapes={"input": (None, 4)}), request, "'input'", "None")
    yield case("size-float", lambda: count(nn.Linear(4, 5), shapes=(3, 4.5)), request, "4.5", "a size is an int")
    yield case("size-text", lambda: count(nn.Linear(4, 5), ("b+*", 4)), request, "'input'", "'b+*'")
    yield case("size-negative", lambda: count(nn.Linear(4, 5), (-3, 4)), request, "'input'", "negative")
    yield case("lazy", lambda: count(nn.LazyLinear(5), (3, 4)), request, "weight", "run the model once")

    fc = nn.Linear(4, 5)
    yield case("dtype", lambda: count(fc, (3, 4), dtypes={"input": "f13"}), request, "'input'", "'f13'", "'f16'")
    yield case("dtype-name", lambda: count(fc, (3, 4), dtypes={"inptu": "f16"}), request, "dtypes", "mean input?")
    yield case("dtype-tensor", lambda: count(fc, torch.ones(3, 4), dtypes={"input": "f16"}), request, "shapes: none")
    yield case("dtypes", lambda: count(fc, (3, 4), dtypes="f16"), request, "dtypes is a dict")
    yield case("hint", lambda: count(fc, ("n", 4), hints={"m": 3}), request, "hints", "'m'", "n")
    yield case("dim", lambda: count(fc, ("n", 4), dims={"m": 3}), request, "'m'", "n")
    yield case("values", lambda: count(fc, (3, 4), values={"input": 1}), request, "values=", "tensors")
    yield case("kwargs", lambda: count(fc, kwargs=[3]), request, "kwargs is a dict")
    yield case("registry", lambda: count(fc, (3, 4), registry=3), request, "macsim.Registry")
    yield case("method", lambda: count(Two(), (3, 4), method="encoed"), request, "'encoed'", "did you mean encode?")
    yield case("method-none", lambda: count(Two(), (3, 4), method="zip"), request, "'zip'", "its own are encode")

    for name, look in {
        "branch": lambda x: x + 1 if x.sum() > 0 else x,
        "bool": lambda x: bool(x.any()),
        "list": lambda x: x.tolist(),
        "numpy": lambda x: x.numpy(),
        "equal": lambda x: torch.equal(x, x + 1),
    }.items():
        yield case(f"look-{name}", lambda look=look: count(inside(Does(look)), (3, 4)), trace, *LOOKS)
    for error in (
        ValueError("stop"),
        KeyError("a"),
        RuntimeError("stop"),
        StopIteration("stop"),
        RecursionError("deep"),
    ):
        named = type(error).__name__
        does = raises(error)
        yield case(f"raises-{named}", lambda does=does: count(inside(Does(does)), (3, 4)), trace, named, IN, "[3, 4]")
    for error in (KeyboardInterrupt(), SystemExit(3)):  # not ours to hold back
        does = raises(error)
        yield case(f"raises-{type(error).__name__}", lambda does=does: count(inside(Does(does)), (3, 4)), type(error))
    yield case("no-forward", lambda: count(nn.ModuleList([fc]), (3, 4)), trace, "forward")

    source = ("a model is a path, bytes", "a module, a function")
    for name, thing, says in (
        ("int", 3, "not int"),
        ("none", None, "not NoneType"),
        ("list", [fc], "not list"),
        ("object", object(), "not object"),
        ("dict", fc.state_dict(), "weights say nothing of the work"),
        ("class", nn.Linear, "the class Linear: give an instance"),
        ("tensor", torch.ones(3), "not Tensor"),
    ):
        yield case(f"object-{name}", lambda thing=thing: count(thing, (3, 4)), TypeError, *source, says)
        yield case(f"object-{name}-alone", lambda thing=thing: count(thing), TypeError, *source, says)
    yield case("object-path", lambda: count("model.onnx", (3, 4)), request, "torch programs")

    yield case("graph-method", lambda: count(program(), method="encode"), request, "method", "a graph")
    yield case("graph-name", lambda: count(program(), shapes={"inptu": (3, 4)}), request, "did you mean 'input'?")
    yield case("graph-size", lambda: count(program(), (4, 4)), request, "dimension 0 of 'input' is 3", "dynamic")
    yield case("graph-rank", lambda: count(program(), (3, 4, 4)), request, "2 dimensions")
    yield case("graph-many", lambda: count(program(), (3, 4), (3, 4)), request, "2 inputs are given", "has 1: input")
    yield case("graph-object", lambda: count(program(), 3), request, "3 is neither a tensor nor a shape")
    yield case("graph-kind", lambda: count(program(), kwargs={"input": 3}), request, "'input'", "neither")
    yield case("fx", lambda: count(torch.fx.symbolic_trace(nn.Sequential(fc)), (3, 6)), trace, "in module '0'")


def process() -> Any:
    """Return what a count may not change of the process, and of torch."""
    return (
        torch.get_rng_state().numpy().tobytes(),
        (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
        (torch.is_autocast_enabled("cpu"), torch.get_deterministic_debug_mode(), torch.get_default_device()),
        (nn.Module.__call__, nn.Module._call_impl, torch.compile, F.linear, F.relu, torch.matmul, torch.Tensor.add),
        torch.utils._python_dispatch._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(),
        list(vars(F)),
    )


def state_of(model: Any) -> Any:
    return (
        {name: (one.data_ptr(), one.numpy().tobytes()) for name, one in model.state_dict().items()},
        [(id(one), one.training, sorted(vars(one)), list(one._forward_hooks.items())) for one in model.modules()],
        [(name, id(one), one.requires_grad, one.grad) for name, one in model.named_parameters()],
        [(name, id(one)) for name, one in vars(model).items() if not name.startswith("_")],
        list(getattr(model, "history", ())),
    )


def count(model: Any, *inputs: Any, **how: Any) -> macsim.Report:
    """Count, and see that all is left as it was found."""
    watched = isinstance(model, nn.Module) and not isinstance(model, torch.jit.ScriptModule | nn.LazyLinear)
    before = process(), state_of(model) if watched else None
    try:
        return macsim.count(model, *inputs, **how)
    finally:
        assert (process(), state_of(model) if watched else None) == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("do", "kind", "says"), list(refused()))
def test_refused(do: Callable[[], Any], kind: type, says: tuple[str, ...]) -> None:
    with pytest.raises(kind) as caught:
        do()
    for text in says:
        assert text in str(caught.value)


def test_refused_in_threads() -> None:
    """Failing counts of the same modules at once, beside a thread that runs one."""
    models = [Inside(Does(raises(ValueError("stop")))), Inside(nn.Linear(4, 5)), Inside(Does(lambda x: x.tolist()))]
    sound = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train()
    before = process(), [state_of(model) for model in models]

    def fails(model: nn.Module) -> str:
        with pytest.raises(macsim.TraceError) as caught:
            macsim.count(model, (3, 6))
        return str(caught.value)

    x = torch.ones(3, 4)
    with torch.no_grad(), ThreadPoolExecutor(6) as pool:
        failed = [pool.submit(fails, model) for _ in range(8) for model in models]
        runs = [pool.submit(sound[0], x) for _ in range(16)]
        assert all(one.result().device.type == "cpu" for one in runs)
        assert all("blocks.1" in one.result() for one in failed)
    assert (process(), [state_of(model) for model in models]) == before
    assert count(sound, (3, 4)).macs == 48  # and counting goes on


# Operators that nobody knows. -----------------------------------------------------------------------------------------


@pytest.fixture
def unheard() -> Iterator[Any]:
    with torch.library._scoped_library("macsimunheard", "FRAGMENT") as held:
        held.define("of(Tensor x) -> Tensor")
        held.impl("of", torch.empty_like, "Meta")
        held.impl("of", torch.clone, "CPU")
        yield torch.ops.macsimunheard.of


def test_unknown_operators_are_listed_with_where_they_are_called(unheard: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Does(unheard), nn.Sequential(Does(unheard), nn.Linear(4, 4)))
    exported = torch.export.export(model, (torch.ones(3, 4),))
    for given in ((model, (3, 4)), (exported,)):
        report = count(*given)
        rows = [(row.op, row.scope) for row in report.rows if row.trust == "unknown"]
        assert rows == [("macsimunheard::of", "1"), ("macsimunheard::of", "2.0")]
        assert any("macsimunheard::of" in one.text for one in report.diagnostics)
        assert (report.trust, report.macs) == ("unknown", 2 * 48)
        with pytest.raises(macsim.UnknownWorkError) as caught:
            count(*given, strict=True)
        assert "macsimunheard::of (2 nodes in 1, 2.0: " in str(caught.value)
        assert caught.value.scopes == {"macsimunheard::of": ["1", "2.0"]}
        assert caught.value.report.macs == 2 * 48


# Without torch. -------------------------------------------------------------------------------------------------------

ALONE = """
    import sys

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "torch":
                raise ModuleNotFoundError(f"No module named {name!r}", name="torch")

    sys.meta_path.insert(0, Missing())
    import macsim
    from macsim.cli import main

    def says(do):
        try:
            do()
        except (macsim.MacsimError, TypeError) as error:
            print(type(error).__name__, str(error))

    class Module:
        def __call__(self, x):
            return x

    open("model.pt2", "wb").write(b"PK")
    open("model.py", "w").write("import torch")
    says(lambda: macsim.count(lambda x: x, (3, 4)))
    says(lambda: macsim.count(Module(), (3, 4)))
    says(lambda: macsim.count("model.pt2"))
    says(lambda: macsim.count(3, (3, 4)))
    sys.stderr = sys.stdout
    print(main(["count", "model:net", "--shape", "3,4"]))
"""


def test_without_torch(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ALONE)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = run.stdout.strip().splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["RequestError", "RequestError", "ReadError", "TypeError"]
    assert all("not installed: pip install 'macsim[torch]'" in line for line in [*lines[:3], " ".join(lines[4:])])
    assert lines[-1] == "2"
