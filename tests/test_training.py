# Training: backward work against torch's own counter on real backward passes, and by hand; the optimiser and memory.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import json
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from architectures import ARCHITECTURES, SIZES, Words  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812 - its usual name
from torch.utils.checkpoint import checkpoint  # noqa: E402

import macsim  # noqa: E402
from macsim import Training  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own


def step(model: Any, *inputs: Any, training: bool | Training = True, **more: Any) -> Any:
    return macsim.count(model, *inputs, training=training, **more).training


# Torch's counter. -----------------------------------------------------------------------------------------------------


def conv_backward(
    dy: Any, x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, more: Any,
    groups: int, mask: Any, **_: Any,
) -> int:  # fmt: skip
    """Torch's own formula multiplies the products of dw by the groups, as if every filter met all channels.

    dw[o, i, k] sums x[n, g(o) i, p + k] dy[n, o, p] over n and p: for each element of dw, which has C/groups for i,
    as many products as there are positions. That is |dy| |w[1:]|, what the convolution itself takes; dx too.
    """
    positions = math.prod(x if transposed else dy)
    return 2 * (bool(mask[0]) + bool(mask[1])) * positions * math.prod(w[1:])


def counted_by_torch(model: nn.Module, inputs: dict[str, Tensor]) -> tuple[int, int]:
    """MACs of the forward and of the backward pass on meta, from all results that need a gradient."""
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import FlopCounterMode

    formulas = {torch.ops.aten.convolution_backward: conv_backward}
    given = {name: value.to("meta") for name, value in inputs.items()}
    model = model.to("meta")
    with torch.device("meta"), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        made = model(**given)
        forward = counter.get_total_flops()
        leaves = tree_leaves(made.to_tuple() if hasattr(made, "to_tuple") else made)
        ends = [one for one in leaves if isinstance(one, Tensor) and one.requires_grad]
        torch.autograd.backward(ends, [torch.empty_like(one) for one in ends])
    return forward // 2, (counter.get_total_flops() - forward) // 2


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_as_torch_counts(name: str) -> None:
    case = ARCHITECTURES[name]
    report = macsim.count(case.build(), kwargs=case.inputs, training=True)
    backward = report.training.backward
    assert backward.trust != "unknown"
    assert (report.macs, backward.macs) == counted_by_torch(case.build(), case.inputs)


TRANSFORMERS = ("Bert", "GPT2", "Llama", "T5", "ViT", "Gemma2", "Mamba", "ConvNext", "Swin", "Wav2Vec2", "Mistral",
                "Qwen3")  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_as_torch_counts(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers_models import MODELS

    config = getattr(transformers, name + "Config")(**MODELS[name].config)
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    report = macsim.count(model, kwargs=MODELS[name].inputs(), training=True)
    assert report.training.backward.trust != "unknown"
    assert (report.macs, report.training.backward.macs) == counted_by_torch(model, MODELS[name].inputs())


# By hand. -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
def test_linear(bias: bool) -> None:
    """4 rows of 3, to 5, to 2. dW1 4*3*5, dW2 4*5*2, dh 4*2*5; the input's gradient is not computed."""
    got = step(nn.Sequential(nn.Linear(3, 5, bias=bias), nn.Linear(5, 2, bias=bias)), (4, 3))
    assert [row.macs for row in got.backward.rows] == [60, 80]
    # A bias gets the sum of 4 rows: 3 additions for each of 5 and 2.
    assert [row.work["add"] for row in got.backward.rows] == ([15, 6] if bias else [0, 0])
    # First: reads dy (4*5) and x (4*3), writes dW (3*5) and db. Second: reads dy (4*2), h (4*5) and W (5*2).
    assert [(row.read, row.weights) for row in got.backward.rows] == [(128, 0), (112, 40)]
    assert [row.written for row in got.backward.rows] == ([80, 128] if bias else [60, 120])


def test_gradient_of_the_input() -> None:
    got = step(nn.Linear(3, 5), (4, 3), training=Training(inputs=["*"]))
    assert got.backward.macs == 2 * 60


def test_frozen() -> None:
    """3 layers of 4 to 4 on 2 rows, 32 products each."""
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    want = {(): [32, 64, 64], (0,): [0, 32, 64], (1,): [32, 32, 64], (0, 1, 2): [0, 0, 0]}
    for frozen, macs in want.items():
        for at, layer in enumerate(model):
            layer.requires_grad_(at not in frozen)
        got = step(model, (2, 4))
        assert [row.macs for row in got.backward.rows] == macs
        assert sum(one.elements for one in got.parameters) == 20 * (3 - len(frozen))
    model.requires_grad_(True)
    assert [row.macs for row in step(model, (2, 4), training=Training(frozen=["1.*"])).backward.rows] == want[(1,)]
    only = step(model, (2, 4), training=Training(trained=["2.weight"]))
    assert ([row.macs for row in only.backward.rows], only.memory.gradients) == ([0, 0, 32], 64)


class Adapted(nn.Module):
    """LoRA: W is frozen, A and B are not."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)
        self.w.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w(x) + self.b(self.a(x))


def test_adapters() -> None:
    """Two layers on 3 rows: W takes 3*8*8, A and B 3*8*2 each.

    Of the first layer dA, dB and what is between; of the second these, and the gradient of x through W and A.
    """
    got = step(nn.Sequential(Adapted(), Adapted()), (3, 8))
    assert got.backward.by("scope")["0.w"].macs == 0
    assert [sum(group.macs for group in got.backward.by("scope", 1) if group.name == name) for name in "01"] == [
        3 * 48, 192 + 4 * 48
    ]  # fmt: skip
    assert got.memory.gradients == 4 * 2 * (16 + 16)
    assert got.memory.optimizer == 2 * got.memory.gradients


def test_embedding() -> None:
    """6 tokens: rows of 4 are added to the table's gradient, which is dense: 10 * 4."""
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3, bias=False))
    got = step(model, (2, 3), dtypes={"input": "i64"})
    picked, product = got.backward.rows
    assert (picked.macs, picked.work["add"], picked.read, picked.written) == (0, 24, 24 * 4 + 6 * 8, 40 * 4)
    assert product.macs == 2 * 6 * 4 * 3
    model[0].requires_grad_(False)
    assert [row.macs for row in step(model, (2, 3), dtypes={"input": "i64"}).backward.rows] == [0, 72]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x))


def test_shared_weights() -> None:
    """The second gradient of the weights to come is added to the first: 16 additions, 2 reads and a write of them."""
    got = step(Twice(), (2, 4))
    first, second = got.backward.rows
    assert (first.macs, second.macs) == (32, 64)
    assert (first.work["add"], second.work["add"]) == (16, 0)
    assert first.written == 2 * 64
    assert len(got.parameters) == 1


def test_used_twice() -> None:
    """x * x + x: three gradients meet, each but the first is added."""
    got = step(lambda x: x * x + x, (5,), training=Training(inputs=["x"]))
    assert got.backward.work["add"] == 2 * 5
    assert got.backward.work["mul"] == 2 * 5


CONVS = {
    # y is 2 x 6 x 4 x 4: 192 elements of 4 * 9 products
    "stride": (nn.Conv2d(4, 6, 3, 2, 1), (2, 4, 8, 8), 192 * 36),
    # y is 2 x 6 x 8 x 8, each of 2 channels
    "groups": (nn.Conv2d(4, 6, 3, 1, 1, groups=2), (2, 4, 8, 8), 768 * 18),
    "depthwise": (nn.Conv2d(4, 4, 3, 1, 1, groups=4), (2, 4, 8, 8), 512 * 9),
    "dilated": (nn.Conv1d(4, 6, 3, dilation=2), (2, 4, 8), 2 * 6 * 4 * 12),
    # every element of x meets 6 * 9 weights
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2), (2, 4, 8, 8), 512 * 54),
    "transposed groups": (nn.ConvTranspose2d(4, 6, 3, 2, groups=2), (2, 4, 8, 8), 512 * 27),
}


@pytest.mark.parametrize("name", CONVS)
def test_convolution(name: str) -> None:
    model, shape, macs = CONVS[name]
    alone = step(model, shape)
    assert (alone.forward.macs, alone.backward.macs) == (macs, macs)
    both = step(model, shape, training=Training(inputs=["*"]))
    assert both.backward.macs == 2 * macs
    bias = alone.backward.rows[0].work["add"]
    y = alone.forward.rows[0].outputs[0].shape
    assert bias == math.prod(y) - y[1]


def test_recurrence() -> None:
    """3 steps of 2 rows, 4 in, 5 hidden. Weights 4*5 x 4 and 4*5 x 5.

    dW 6*80, dR 6*100, and back through time from steps 3 and 2: 4*100. The first state needs no gradient.
    """
    got = step(nn.LSTM(4, 5), (3, 2, 4))
    assert got.forward.macs == 6 * 180
    assert got.backward.macs == 480 + 600 + 400
    # With the gradients of x and of the first state: 6*80 and 2*100 more.
    given = step(nn.LSTM(4, 5), (3, 2, 4), ((1, 2, 5), (1, 2, 5)), training=Training(inputs=["*"]))
    assert given.backward.macs == 480 + 600 + 600 + 480
    assert step(Words("gru"), (2, 3), dtypes={"ids": "i64"}).backward.trust == "exact"


class Attention(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8, bias=False) for _ in range(3))
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(-1, (2, 4)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal: bool) -> None:
    """Batch 3, 2 heads of 4, 5 positions: 3*2*25 scores of 4 products each.

    dV, dP, dQ and dK; the scores are made again, as torch counts it of a fused kernel: 5 products in all.
    """
    from torch.utils.flop_counter import sdpa_backward_flop_count

    got = step(Attention(causal), (3, 5, 8))
    products = 3 * 2 * 25 * 4
    attend = next(row for row in got.backward.rows if "attention" in row.op)
    assert attend.macs == 4 * products
    assert got.recompute.macs == products
    heads = (3, 2, 5, 4)
    assert 2 * (attend.macs + got.recompute.macs) == sdpa_backward_flop_count(heads, heads, heads, heads)
    visible = 15 if causal else 25  # 1 + 2 + 3 + 4 + 5 of 25 pairs
    assert attend.macs_unmasked == 4 * 3 * 2 * visible * 4
    assert got.model_flops == got.forward.flops + got.backward.flops
    assert got.hardware_flops == got.model_flops + got.recompute.flops
    got.forward.model  # noqa: B018 - it is still there
    q = Attention(causal)
    q.v.requires_grad_(False)
    assert next(row for row in step(q, (3, 5, 8)).backward.rows if "attention" in row.op).macs == 3 * products


class Stopped(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Linear(4, 4), nn.Linear(4, 4), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                x = self.a(x)
        elif self.how == "detach":
            x = self.a(x).detach()
        else:
            x = self.a(x).argmax(-1)[:, None].float().expand(-1, 4)
        return self.b(x)


@pytest.mark.parametrize("how", ["no_grad", "detach", "integers"])
def test_where_gradients_stop(how: str) -> None:
    got = step(Stopped(how), (2, 4))
    assert got.backward.macs == 32
    assert [one.name for one in got.parameters] == ["b.weight", "b.bias"]
    assert torch.is_grad_enabled()


class Written(nn.Module):
    """Results are written into a buffer, place by place."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros(2, 3, 4, device=x.device)
        for at in range(3):
            y[:, at] = self.a(x[:, at])
        return self.b(y)


def test_written_in_place() -> None:
    """The gradient of b's input goes on to the 3 products of a, 2*4*4 each."""
    got = step(Written(), (2, 3, 4))
    assert got.backward.macs == 2 * 6 * 16 + 6 * 16
    assert got.backward.macs == counted_by_torch(Written(), {"x": torch.zeros(2, 3, 4)})[1]


@functools.cache
def own_op() -> Any:
    """An operator of torch.library's whose gradient torch knows, too."""

    @torch.library.custom_op("mylib::odd", mutates_args=())
    def odd(x: Tensor) -> Tensor:
        return x * 2

    odd.register_fake(lambda x: torch.empty_like(x))
    odd.register_autograd(lambda ctx, dy: dy * 2)
    return torch.ops.mylib.odd


def own_rule(**more: Any) -> macsim.Registry:
    """Return the operator's rule, with what else it states."""
    registry = macsim.Registry()

    def twice(call: macsim.Call) -> macsim.Cost:
        return macsim.Cost(mul=call.x.size)

    parts = {"infer": lambda call: call.x, "cost": twice, **more}
    stated = {name: staticmethod(part) for name, part in parts.items()}
    registry.op("mylib::odd", slots="x")(type("Odd", (), {"__doc__": "Twice x.", **stated}))
    return registry


def test_own_operators_say_their_gradient() -> None:
    def gradient(call: macsim.Call) -> macsim.Gradient:
        return macsim.Gradient(mul=call.x.size, keep_bytes=call.x.size)

    model, mine = nn.Linear(3, 4, bias=False), own_rule(gradient=gradient)
    got = step(lambda x: own_op()(model(x)), (2, 3), training=Training(inputs=["x"]), registry=mine)
    assert ([row.work["mul"] for row in got.backward.rows], got.backward.trust, got.unknown) == ([0, 8], "exact", {})
    assert got.memory.saved == 24 + 8  # x, and what the rule says


def test_unknown() -> None:
    """What no row states is unknown, and marked; what comes before it is counted on."""
    got = step(
        lambda x, w: own_op()(x @ w), (2, 3), (3, 4), training=Training(inputs=["w"]), registry=own_rule()
    )  # fmt: skip
    assert got.backward.trust == "unknown"
    assert got.unknown == {"mylib::odd": 1}
    assert "mylib::odd" in repr(got)
    assert got.backward.macs == 24
    assert got.backward.total.sign("mac") == ">="


# Computed again. ------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(x)))


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.stem, self.layers, self.reentrant = nn.Linear(8, 8), nn.ModuleList(Block() for _ in range(3)), reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x) if self.reentrant is None else checkpoint(layer, x, use_reentrant=self.reentrant)
        return x


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(reentrant: bool) -> None:
    """Torch stops when all that was kept is there again: the product of `down` is not computed twice, but when it
    goes through its older function."""
    x = {"x": torch.zeros(4, 8)}
    got = step(Checkpointed(reentrant), kwargs=x)
    forward, more = counted_by_torch(Checkpointed(reentrant), x)
    assert got.forward.macs == forward
    assert got.backward.macs + got.recompute.macs == more
    assert got.recompute.macs == 3 * 4 * 8 * 16 * (2 if reentrant else 1)
    plain = step(Checkpointed(None), kwargs=x)
    assert plain.recompute.macs == 0
    assert plain.backward.macs == got.backward.macs
    # Kept: the input of stem, and of each layer; inside one x, two of the width 16: what gelu and down take.
    assert got.memory.saved == 4 * (4 * 8 + 3 * 4 * 8)
    assert got.memory.recomputed == 4 * 2 * 4 * 16
    assert plain.memory.saved == got.memory.saved + 3 * got.memory.recomputed
    named = step(Checkpointed(None), kwargs=x, training=Training(recompute=["layers.*"]))
    assert named.memory == step(Checkpointed(False), kwargs=x).memory
    assert named.recompute.macs == 3 * 4 * 8 * 16


def saved_by_torch(model: nn.Module, inputs: dict[str, Tensor]) -> int:
    """Bytes of the memories that autograd keeps from a run on the CPU, but for the model's own.

    (Of recurrent layers that is the workspace of a kernel, which other devices do not have.)
    """
    memories: dict[int, Any] = {}

    def pack(one: Tensor) -> Tensor:
        memories[one.untyped_storage().data_ptr()] = one.untyped_storage()
        return one

    own = {one.untyped_storage().data_ptr() for one in [*model.parameters(), *model.buffers()]}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one):
        made = model(**inputs)
    del made
    return sum(memory.nbytes() for at, memory in memories.items() if at not in own)


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "efficientnet", "mixture", "conformer", "denoiser"])
def test_saved_as_torch_saves(name: str) -> None:
    case = ARCHITECTURES[name]
    got = step(case.build().eval(), kwargs=case.inputs).memory.saved
    want = saved_by_torch(case.build().eval(), case.inputs)
    assert abs(got - want) <= 0.1 * want, (got, want)


@pytest.mark.parametrize("train", [False, True])
def test_dropout(train: bool) -> None:
    """4 x 8 of 4 bytes: what goes into either layer, and of a dropout its mask and its result."""
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2)).train(train)
    got = step(model, (4, 8))
    assert got.memory.saved == 128 + 128 + (32 + 128 if train else 0)
    assert got.backward.by("op")["aten::dropout"].work["mul"] == (64 if train else 0)


# The optimiser. -------------------------------------------------------------------------------------------------------

# Of n parameters in 32 bits: operations by kind, states, bytes read and written for each. Adam: both averages
# 2 add 1 mul and 1 add 3 mul, root 1, correction 1 div, eps 1 add, ratio 1 div, step 1 mul and 1 add; the decay of
# AdamW: 1 mul.
OPTIMIZERS = {
    "none": ({}, 0, 0),
    "sgd": ({"mul": 1, "add": 1}, 0, 12),
    "momentum": ({"mul": 2, "add": 2}, 4, 20),
    "adam": ({"add": 5, "mul": 5, "div": 2, "sqrt": 1}, 8, 28),
    "adamw": ({"add": 5, "mul": 6, "div": 2, "sqrt": 1}, 8, 28),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: Any) -> None:
    work, states, moved = OPTIMIZERS[name]
    got = step(nn.Linear(32, 16, bias=False), (1, 32), training=Training(optimizer=name))
    assert {kind: n for kind, n in got.optimizer.work.items() if n} == {kind: 512 * n for kind, n in work.items()}
    assert got.memory.optimizer == 512 * states
    assert got.optimizer.bytes == 512 * moved
    assert got.memory.gradients == 512 * 4
    if name != "none":
        real: dict[str, Any] = {"sgd": torch.optim.SGD, "momentum": lambda p: torch.optim.SGD(p, momentum=0.9),
                                "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}  # fmt: skip
        layer = nn.Linear(32, 16, bias=False)
        optimizer = real[name](layer.parameters())
        layer(torch.zeros(1, 32)).sum().backward()
        optimizer.step()
        kept = [one for state in optimizer.state.values() for one in state.values() if torch.is_tensor(one)]
        assert sum(one.nbytes for one in kept if one.dim()) == got.memory.optimizer


def test_states_in_8_bits() -> None:
    """64 * 128 elements in 32 blocks of 256: 2 bytes an element, 8 a block. 128 biases stay in 32 bits."""
    got = step(nn.Linear(64, 128), (1, 64), training=Training(optimizer="adam8bit"))
    assert got.memory.optimizer == 2 * 8192 + 8 * 32 + 8 * 128


def test_master_weights() -> None:
    """In 16 bits, with a copy and both states in 32: 2 + 2 + 12 bytes a parameter."""
    model = nn.Linear(32, 16, bias=False).to(torch.bfloat16)
    memory = step(model, (1, 32), training=Training(master=True)).memory
    assert (memory.weights, memory.gradients, memory.optimizer) == (1024, 1024, 512 * 12)
    assert step(model, (1, 32)).memory.optimizer == 512 * 4


# Sizes, entrances, windows. -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet", "lstm", "conformer", "mixture"])
def test_symbols(name: str) -> None:
    case = ARCHITECTURES[name]
    dtypes = {name: "i64" for name in ("ids", "edges") if name in case.symbols}
    report = macsim.count(case.build().eval(), shapes=case.symbols, dtypes=dtypes, training=True)
    names = {size for shape in case.symbols.values() for size in shape if isinstance(size, str)}
    bound = report.bind({name: SIZES[name] for name in names}).training
    want = step(case.build().eval(), kwargs=case.inputs)
    assert bound.backward.macs == want.backward.macs
    assert bound.total.macs == want.total.macs
    assert bound.memory.saved == want.memory.saved
    assert set(report.training.backward.macs.symbols) <= names


def test_exported() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    x = torch.zeros(3, 4)
    program = torch.export.export(model, (x,))
    want = step(model, (3, 4))
    got = step(program)
    assert (got.backward.macs, got.memory) == (want.backward.macs, want.memory)


class Partly(nn.Module):
    """h = a(x), once more without gradients; the loss is of their sum through b."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False)

    def forward(self, x: Tensor) -> dict[str, Any]:
        h = self.a(x)
        with torch.no_grad():
            z = self.a(h)
        return {"loss": self.b(h + z).sum(), "hidden": (h, z)}


def test_stretches_without_gradients_in_graphs() -> None:
    """2 rows: dWa 32, and through b dWb and its input's, 24 each. What is under no_grad gets none."""
    x = torch.zeros(2, 4)
    exported = torch.export.export(Partly(), (x,))
    assert any("set_grad_enabled" in str(node.target) for node in exported.graph.nodes)
    want = step(Partly(), (2, 4))
    got = step(exported)
    assert [row.macs for row in want.backward.rows] == [32, 0, 0, 48, 0]
    assert [row.macs for row in got.backward.rows] == [row.macs for row in want.backward.rows]
    assert got.memory == want.memory


@pytest.mark.parametrize(
    ("loss", "macs"),
    [((), 80), ("loss", 80), (0, 80), ("hidden.0", 32), ("1", 32), ("hidden*", 32), (["hidden.1"], 0), (-1, 0)],
)
def test_loss(loss: Any, macs: int) -> None:
    """Only what that output hangs on is counted backward."""
    x = torch.zeros(2, 4)
    for model in (Partly(), torch.export.export(Partly(), (x,))):
        got = step(
            model, *([] if isinstance(model, torch.export.ExportedProgram) else [x]), training=Training(loss=loss)
        )
        assert got.backward.macs == macs
    assert [one.name for one in got.parameters] == {80: ["a.weight", "b.weight"], 32: ["a.weight"], 0: []}[macs]


def test_loss_that_is_not_there() -> None:
    with pytest.raises(macsim.RequestError, match=r"no such output; there are: 'loss', 'hidden\.0', 'hidden\.1'"):
        step(Partly(), (2, 4), training=Training(loss="logits"))
    with pytest.raises(macsim.RequestError, match="there are: 0"):
        step(nn.Linear(4, 4), (2, 4), training=Training(loss=1))
    with pytest.raises(macsim.RequestError, match="frozen takes a list"):
        step(nn.Linear(4, 4), (2, 4), training=Training(frozen="weight"))


@pytest.mark.parametrize("option", ["frozen", "trained", "inputs", "recompute"])
def test_names_that_fit_nothing(option: str) -> None:
    with pytest.raises(macsim.RequestError, match=rf"{option}=\['nothing\*'\]: there is nothing of that name"):
        step(nn.Sequential(nn.Linear(4, 4)), (2, 4), training=Training(**{option: ["*", "nothing*"]}))


def test_off_by_default() -> None:
    report = macsim.count(nn.Linear(2, 2), (1, 2))
    with pytest.raises(macsim.RequestError, match="training=True"):
        _ = report.training
    with pytest.raises(macsim.RequestError, match="adamw"):
        macsim.count(nn.Linear(2, 2), (1, 2), training=Training(optimizer="lion"))  # type: ignore[arg-type]


def test_left_as_found() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.BatchNorm1d(4)).train()
    model[0].requires_grad_(False)
    before = [(one.requires_grad, one.grad) for one in model.parameters()]
    apply = vars(torch.autograd.Function)["apply"]
    step(model, (2, 4))
    assert [(one.requires_grad, one.grad) for one in model.parameters()] == before
    assert all(module.training for module in model.modules())
    assert vars(torch.autograd.Function)["apply"] is apply


def test_windows() -> None:
    report = macsim.count(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), (3, 4), training=True)
    got = report.training
    data = json.loads(json.dumps(got.to_dict()))
    assert data["backward"]["macs"] == got.backward.macs == 48 + 2 * 24
    assert data["memory"]["total"] == got.memory.total
    assert "backward MACs" in repr(got)
    assert [(one.name, one.backward.macs) for one in got.by("scope")] == [("0", 48), ("1", 48)]
    pytest.importorskip("pandas")
    frame = got.to_pandas()
    assert list(frame["backward.mac"]) == [48, 48]
