"""Memory that a run holds: by hand, against an allocator that is simulated, and against torch's own storages."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from onnx_text import count

import macsim


def test_by_hand() -> None:
    """x and y of 400 bytes, a of 400, b of 40; x is held by the caller, y to the end."""
    report = count(
        "g (float[10,10] x) => (float[10,10] y) { a = Relu(x)\n b = ReduceSum(a, axis)\n c = Exp(a)\n y = Add(c, b) }",
        axis=np.array([0]),
    )
    memory = report.memory()
    # x a | x a b | x a b c | x b c y
    assert memory.timeline.tolist() == [800, 840, 1240, 1240]
    assert (memory.activations, memory.row) == (1240, 2)
    assert [(held.name, held.role, held.bytes, held.first, held.last) for held in memory.alive] == [
        ("x", "input", 400, 0, 4), ("a", "activation", 400, 0, 2), ("c", "activation", 400, 2, 3),
        ("b", "activation", 40, 1, 3),
    ]  # fmt: skip
    assert memory.peak == memory.weights + 1240


def test_in_place() -> None:
    """A chain of point-wise operators lives in one place; the input is the caller's and stays."""
    report = count("g (float[100] x) => (float[100] y) { a = Relu(x)\n b = Exp(a)\n y = Sqrt(b) }")
    assert report.memory().timeline.tolist() == [800, 1200, 1200]
    assert report.memory(in_place=True).timeline.tolist() == [800, 800, 800]


def test_what_is_needed_later_is_not_written_over() -> None:
    report = count("g (float[100] x) => (float[100] y) { a = Relu(x)\n b = Exp(a)\n y = Add(a, b) }")
    assert report.memory(in_place=True).timeline.tolist() == [800, 1200, 1200]


def test_views_hold_what_they_show() -> None:
    report = count(
        "g (float[10,10] x) => (float[10] y) { a = Relu(x)\n v = Reshape(a, flat)\n b = Exp(x)\n w = Reshape(b, flat)\n"
        " c = Add(v, w)\n y = ReduceSum <keepdims=0> (c, axis) }",
        flat=np.array([100]), axis=np.array([0]),
    )  # fmt: skip
    assert report.memory().activations == 4 * 400  # x, a, b and c


def test_a_loop_holds_what_its_rounds_need() -> None:
    """x, b and the state, m while it is needed. What the loop was given is free after it, but for x."""
    report = count(
        """g (float[100] x) => (float[100] y) {
            a = Relu(x)
            b = Exp(x)
            s = Loop <body = body (int64 i, bool c, float[100] h) => (bool d, float[100] o) {
                d = Identity(c)
                m = Mul(h, b)
                o = Add(m, m)
            }> (four, yes, a)
            t = Exp(s)
            y = Tanh(t)
        }""",
        four=np.array(4), yes=np.array(True),
    )  # fmt: skip
    # x a | x a b | x a b (d is a view) | x a b m | x a b m o | x s t | x t y
    assert report.memory().timeline.tolist() == [800, 1200, 1200, 1600, 2000, 1200, 1200]


def test_symbolic() -> None:
    report = macsim.count("examples/gpt2.onnx")
    memory = report.memory()
    assert "batch" in str(memory.activations)
    for sizes in ({"batch": 1, "seq": 1}, {"batch": 2, "seq": 7}, {"batch": 1, "seq": 1024}):
        bound = report.bind(sizes).memory()
        value = memory.activations
        assert not isinstance(value, int)
        assert value.bind(**sizes) == bound.activations == bound.timeline.max()


def allocated(report: macsim.Report) -> int:
    """The most that an allocator holds that walks the rows: made when written, freed after the last use."""
    uses: dict[str, int] = {}
    rows = list(report.rows)
    free = {i for i, row in enumerate(rows) if row.read == 0 and row.weights == 0 and row.written == 0}
    root: dict[str, str] = {}

    def of(name: str) -> str:
        while name in root:
            name = root[name]
        return name

    for i, row in enumerate(rows):
        if i in free and row.inputs:
            root.update({tensor.name: of(row.inputs[0].name) for tensor in row.outputs})
        for tensor in row.inputs if i not in free else []:
            uses[of(tensor.name)] = i
    outputs = {of(tensor.name) for tensor in report.outputs}
    held = {tensor.name: size_of(tensor) for tensor in report.inputs}
    inputs, most = set(held), 0
    for i, row in enumerate(rows):
        if i in free:
            continue
        held.update({tensor.name: size_of(tensor) for tensor in row.outputs})
        most = max(most, sum(held.values()))
        for name in [name for name in held if uses.get(name, i) <= i and name not in outputs | inputs]:
            del held[name]
    return most


def size_of(tensor: macsim.Tensor) -> int:
    size = tensor.size
    assert isinstance(size, int)
    return size * {"f32": 4, "i64": 8, "bool": 1}[tensor.dtype]


@pytest.mark.parametrize(("name", "sizes"), [("resnet50", {"batch": 2, "height": 64, "width": 64})])
def test_a_simulated_allocator(name: str, sizes: dict[str, int]) -> None:
    report = macsim.count(f"examples/{name}.onnx", dims=sizes)
    assert report.memory().activations == allocated(report)


# What torch allocates. ------------------------------------------------------------------------------------------------


def tracked(run: Any, given: list[Any], known: set[int]) -> int:
    """The most bytes of storages that are alive at once while torch runs, without those that are there before."""
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Tracker(TorchDispatchMode):
        held: dict[int, int]
        now = most = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for one in tree_leaves(out):
                if isinstance(one, torch.Tensor):
                    self.take(one.untyped_storage())
            return out

        def take(self, storage: Any) -> None:
            key = storage._cdata
            if key in self.held or key in known:
                return
            self.held[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.free, key)

        def free(self, key: int) -> None:
            self.now -= self.held.pop(key, 0)

    tracker = Tracker()
    tracker.held = {}
    gc.collect()
    with torch.no_grad(), tracker:
        run(*given)
    return tracker.most


def models() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Models in which nothing but calls holds tensors: a function's variables that outlive their use are its own."""
    torch = pytest.importorskip("torch")
    from architectures import ARCHITECTURES
    from torch import nn

    class Skip(nn.Module):
        def __init__(self, *inner: nn.Module) -> None:
            super().__init__()
            self.inner = nn.Sequential(*inner)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.inner(x)

    class Mix(nn.Module):
        def __init__(self, *inner: nn.Module) -> None:
            super().__init__()
            self.inner = nn.Sequential(*inner)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.transpose(1, 2)).transpose(1, 2)

    def conv(a: int, b: int, **more: Any) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1, **more), nn.BatchNorm2d(b), nn.ReLU()]

    image, rows, signal = torch.zeros(2, 3, 32, 32), torch.zeros(2, 16, 24), torch.zeros(2, 1, 256)
    plain = {
        "vgg": (nn.Sequential(*conv(3, 16), *conv(16, 16), nn.MaxPool2d(2), *conv(16, 32), nn.MaxPool2d(2),
                              nn.Flatten(), nn.Linear(2048, 64), nn.ReLU(), nn.Linear(64, 10)), image),
        "perceptron": (nn.Sequential(nn.Linear(24, 96), nn.GELU(), nn.Linear(96, 24), nn.Tanh()), rows),
        "in place": (
            nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(True), nn.Conv2d(16, 8, 3), nn.Hardswish(True)), image
        ),
        "residual": (nn.Sequential(*conv(3, 16), Skip(*conv(16, 16), *conv(16, 16)), Skip(*conv(16, 16)),
                                   nn.AdaptiveAvgPool2d(1)), image),
        "bottlenecks": (nn.Sequential(*conv(3, 16), Skip(nn.Conv2d(16, 96, 1), nn.Hardswish(),
                                      nn.Conv2d(96, 96, 3, padding=1, groups=96), nn.Hardswish(),
                                      nn.Conv2d(96, 16, 1))), image),
        "autoencoder": (nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.SiLU(),
                                      nn.ConvTranspose2d(16, 8, 2, 2), nn.SiLU(), nn.ConvTranspose2d(8, 3, 2, 2),
                                      nn.Sigmoid()), image),
        "mixer": (nn.Sequential(Skip(nn.LayerNorm(24), Mix(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))),
                                Skip(nn.LayerNorm(24), nn.Linear(24, 96), nn.GELU(), nn.Linear(96, 24))), rows),
        "sound": (nn.Sequential(nn.Conv1d(1, 16, 9, 2), nn.ELU(), nn.Conv1d(16, 32, 9, 2), nn.GroupNorm(4, 32),
                                nn.GLU(1), nn.AvgPool1d(4)), signal),
        "upsampling": (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(), nn.Upsample(scale_factor=2),
                                     nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)), image),
    }  # fmt: skip
    out = {name: (model.eval(), {"input": given}) for name, (model, given) in plain.items()}
    for name in ("resnet", "detr"):
        out[name] = (ARCHITECTURES[name].build().eval(), dict(ARCHITECTURES[name].inputs))
    return out


@pytest.mark.parametrize("name", ["vgg", "perceptron", "in place", "residual", "bottlenecks", "autoencoder", "mixer",
                                  "sound", "upsampling", "resnet", "detr"])  # fmt: skip
def test_what_torch_allocates(name: str) -> None:
    model, given = models()[name]
    before = [*model.parameters(), *model.buffers(), *given.values()]
    held = tracked(lambda: model(**given), [], {one.untyped_storage()._cdata for one in before})
    held += sum(one.numel() * one.element_size() for one in given.values())
    report = macsim.count(model, kwargs=given)
    assert report.memory(by_module=True).activations == pytest.approx(held, rel=0.1)
    assert report.memory(by_program=True).activations == pytest.approx(held, rel=0.03)


@pytest.mark.parametrize(
    "name", ["mobilenet", "efficientnet", "mamba_steps", "mamba_sums", "mixture", "denoiser", "graph", "conformer"]
)
def test_what_variables_hold(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions' variables hold tensors until they return: up to twice of what rows need.

    On a real device, for inference, torch gives a whole attention layer to one operator, which lets go of them earlier.
    """
    torch = pytest.importorskip("torch")
    from architectures import ARCHITECTURES

    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)

    case = ARCHITECTURES[name]
    model, given = case.build().eval(), dict(case.inputs)
    before = [*model.parameters(), *model.buffers(), *given.values()]
    held = tracked(lambda: model(**given), [], {one.untyped_storage()._cdata for one in before})
    held += sum(one.numel() * one.element_size() for one in given.values())
    report = macsim.count(model, kwargs=given)
    assert report.memory().activations < 0.9 * held
    assert report.memory(by_program=True).activations == held


def test_variables_by_hand() -> None:
    """a is a variable to the end, though no row reads it after the second; what is overwritten goes."""
    torch = pytest.importorskip("torch")

    def held(x: Any) -> Any:
        a = x * 2
        b = a + 1
        b = b * 3
        return b - 1

    report = macsim.count(held, (4,))
    # x, and: a; a b; a b b'; b' y with a, for which b' is no more needed
    assert list(report.memory().timeline) == [32, 48, 48, 48]
    assert list(report.memory(by_program=True).timeline) == [32, 48, 64, 64]
    with pytest.raises(macsim.RequestError, match="programs that run"):
        macsim.count(torch.export.export(torch.nn.ReLU(), (torch.zeros(4),))).memory(by_program=True)
