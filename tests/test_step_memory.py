# Memory over a step of training: by hand, and against tensors that torch holds while it takes one.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import weakref
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from architectures import ARCHITECTURES  # noqa: E402
from models import linear  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import macsim  # noqa: E402
from macsim import Training, cli  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own


def timeline(model: Any, *inputs: Any, training: bool | Training = True, **more: Any) -> Any:
    return macsim.count(model, *inputs, training=training, **more).training.timeline


def test_by_hand() -> None:
    """Two products, 2 rows of 4 to 4 to 3, with Relu between; without biases, by gradient descent.

    x and y are held throughout: 32 and 24 bytes. h goes into Relu, r (32 bytes) comes out, and is kept for Relu and
    for the second product. Backward: dy 24, then dr 32 and dW2 48 (dy goes), then dh 32 (dr and r go), then dW1 64.
    """
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))
    got = timeline(model, (2, 4), training=Training(optimizer="sgd"))
    assert got.always == 4 * (16 + 12)
    assert [(part, row) for part, row in got.moments] == [
        ("forward", 0), ("forward", 1), ("forward", 2), ("backward", 2), ("backward", 1), ("backward", 0),
        ("optimizer", None),
    ]  # fmt: skip
    assert list(got.timeline) == [
        32 + 32,  # x h
        32 + 32 + 32,  # x h r
        32 + 32 + 24,  # x r y
        32 + 24 + 32 + 24 + 32 + 48,  # x y r dy dr dW2
        32 + 24 + 32 + 32 + 32 + 48,  # x y r dr dh dW2
        32 + 24 + 48 + 32 + 64,  # x y dW2 dh dW1
        32 + 24 + 48 + 64,
    ]
    assert (got.moment, got.peak) == (("backward", 1), 112 + 200)
    assert [(held.role, held.bytes) for held in got.alive] == [
        ("parameter_gradient", 48), ("input", 32), ("saved", 32), ("gradient", 32), ("gradient", 32), ("output", 24)
    ]  # fmt: skip
    assert got.trust == "exact"


def test_a_gradient_that_is_passed_on() -> None:
    """x + f(x): the sum's gradient is that of both addends; what comes through f is added to it in a new tensor."""

    def residual(x: Any) -> Any:
        return x + torch.sin(x)

    got = timeline(residual, (4,), training=Training(inputs=["x"]))
    # Forward: x, sin(x), y; x is kept. Backward: dy is the first gradient of x, too; then what comes through sin, and
    # the sum of both, while they are still there.
    assert list(got.timeline) == [32, 48, 48, 80, 48]


def test_loops_and_optimizers() -> None:
    adam = timeline(nn.Linear(4, 4, bias=False), (2, 4))
    assert adam.always == 64 + 2 * 64
    # x and y 32 each; dy 32 and dW 64
    assert list(adam.timeline) == [64, 160, 128]


class Checkpointed(nn.Module):
    def __init__(self, on: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 8)) for _ in range(3))
        self.on = on

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False) if self.on else layer(x)
        return x


def test_checkpoints() -> None:
    """Of 64 rows each layer keeps a tensor of 64 * 32 * 4 bytes, or makes it again before its gradients."""
    plain, again = (timeline(Checkpointed(on), (64, 8)) for on in (False, True))
    parts = [moment.part for moment in again.moments]
    assert parts.count("recompute") == 3 * 2  # the second product is not needed
    first = parts.index("recompute")
    assert [moment.row for moment in again.moments[first : first + 3]] == [6, 7, 8]
    # When the run is over: x, y and what lies between layers, 2048 each; the tensors inside.
    assert (plain.timeline[8], again.timeline[8]) == (4 * 2048 + 3 * 8192, 4 * 2048 + 8192)
    assert again.peak < plain.peak - 8192
    assert {held.role for held in again.alive} >= {"recomputed", "parameter_gradient"}


def test_symbols() -> None:
    """Either the product on top is the peak, with all gradients of rows, or that below, with those of all weights."""
    report = macsim.count(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), ("b", 4), training=True)
    free = report.training.timeline
    # x 16, y 8, h 32, dy 8 and dh 32 a row, dW2 72; x, y and dh, dW2 and dW1 160
    assert str(free.peak) == "max(96*b + 72, 56*b + 232) + 696"
    assert (free.moment, free.alive) == (None, [])
    for rows, where in ((2, ("backward", 0)), (64, ("backward", 1))):
        bound = report.bind(b=rows).training.timeline
        assert (bound.peak, bound.moment) == (free.peak.bind(b=rows), where)
        assert list(bound.timeline) == [size.bind(b=rows) for size in free.timeline]
    assert macsim.count(linear(), training=True).training.timeline.peak == macsim.Expr("52*batch + 240")


# What torch holds. ----------------------------------------------------------------------------------------------------


class Held(TorchDispatchMode):
    """Counts the bytes of all storages that are there, from when an operator makes them until they go."""

    def __init__(self, known: list[Any]) -> None:
        super().__init__()
        self.known: set[int] = set()
        self.now = self.peak = 0
        for tensor in known:
            self.note(tensor)

    def note(self, tensor: Any) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size

        def gone() -> None:
            self.known.discard(key)
            self.now -= size

        weakref.finalize(storage, gone)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor):
                self.note(one)
        self.peak = max(self.peak, self.now)
        return out


def peak_of_torch(model: nn.Module, inputs: dict[str, Any]) -> int:
    """Bytes at the peak of the second step of AdamW: its states are there."""
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)

    def step() -> None:
        made = model(**inputs)
        ends = [one for one in tree_leaves(made) if isinstance(one, torch.Tensor) and one.requires_grad]
        torch.autograd.backward(ends, [torch.ones_like(one) for one in ends])
        optimizer.step()

    step()
    optimizer.zero_grad()
    states = [one for kept in optimizer.state.values() for one in kept.values() if torch.is_tensor(one)]
    held = Held([*model.parameters(), *model.buffers(), *states, *inputs.values()])
    del states
    with held:
        step()
    return held.peak


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_peak_of_torch(name: str) -> None:
    """Without oneDNN, whose LSTM keeps 2.5 times what its gradient needs, in whole pages."""
    case = ARCHITECTURES[name]
    got = timeline(case.build().eval(), kwargs=case.inputs)
    with torch.backends.mkldnn.flags(enabled=False):
        want = peak_of_torch(case.build().eval(), case.inputs)
    assert abs(got.peak - want) <= 0.1 * want, (got.peak, want)


def test_windows(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(linear(batch=4).SerializeToString())
    assert cli.main(["memory", str(path), "--training", "--optimizer", "sgd"]) == 0
    shown = capsys.readouterr().out
    assert "optimizer states (sgd)" in shown
    assert "at the peak, moment 1: backward" in shown
    assert cli.main(["memory", str(path), "--optimizer", "sgd"]) == 2
    assert cli.main(["memory", str(path), "--training", "--in-place"]) == 2
    report = macsim.count(linear(batch=4), training=True)
    assert json.loads(json.dumps(report.training.to_dict()))["peak"] == report.training.timeline.peak
    assert "bytes at the peak" in repr(report.training.timeline)
