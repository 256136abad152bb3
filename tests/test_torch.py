"""Torch programs: numbers that users know, models against torch's own counter, and modules left as they were found."""

from __future__ import annotations

import copy
import math
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest

import macsim

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


# Numbers worked out by hand, or reported as wrong elsewhere. ----------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "shape", "macs"),
    [
        # 15 cells, 4 gates of 20, from 10 and 20.
        (nn.LSTM(10, 20), (5, 3, 10), 15 * 80 * 30),
        (nn.GRU(10, 20), (5, 3, 10), 15 * 60 * 30),
        (nn.RNN(10, 20, bidirectional=True), (5, 3, 10), 15 * 2 * 20 * 30),
        (nn.LSTMCell(10, 20), (3, 10), 3 * 80 * 30),
        (nn.GRUCell(10, 20), (3, 10), 3 * 60 * 30),
        # Every one of 12 elements is spread over 2 x 2.
        (nn.ConvTranspose2d(3, 1, 2, stride=2), (1, 3, 2, 2), 48),
        (nn.Linear(3, 8), (5, 10, 3), 1200),
        (nn.Linear(3, 8), (5, 100, 100, 3), 1200000),
        (nn.Bilinear(3, 4, 6), ((5, 3), (5, 4)), 5 * 6 * (12 + 4)),
        (nn.Conv1d(4, 8, 3, padding="same"), (2, 4, 10), 160 * 12),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_modules(module: nn.Module, shape: Any, macs: int) -> None:
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    assert macsim.count(module, *shapes).macs == macs


@pytest.mark.parametrize(
    ("shapes", "macs"),
    [([(8,), (8,)], 8), ([(4, 8), (8,)], 32), ([(2, 1, 4, 8), (3, 8, 5)], 960), ([(0, 8), (8, 3)], 0)],
)
def test_matmul(shapes: list[tuple[int, ...]], macs: int) -> None:
    for product in (torch.matmul, lambda a, b: a @ b, lambda a, b: a.matmul(b)):
        assert macsim.count(product, *shapes).macs == macs


def test_attention() -> None:
    q = (1, 12, 64, 64)
    assert macsim.count(F.scaled_dot_product_attention, q, q, q).macs == 6291456


def test_one_operator_however_it_is_written() -> None:
    ways = (lambda x: x + x, lambda x: torch.add(x, x), lambda x: x.add(x), lambda x: x.__radd__(x))
    works = [macsim.count(way, (3, 4)).work for way in ways]
    assert all(work == works[0] for work in works)
    assert works[0]["add"] == 12
    assert macsim.count(ways[0], (3, 4)).macs == 0


def test_in_place_work_is_work() -> None:
    def run(x: Any) -> Any:
        y = x.clone()
        y += x
        y[:, 0] *= 2
        return F.relu_(y)

    work = macsim.count(run, (3, 4)).work
    assert (work["add"], work["mul"], work["compare"]) == (12, 3, 12)


# Modules that share. --------------------------------------------------------------------------------------------------


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        fc = nn.Linear(100, 100)
        self.parents = nn.ModuleList([nn.Sequential(fc) for _ in range(3)])

    def forward(self, x: Any) -> Any:
        for parent in self.parents:
            x = parent(x)
        return x


def test_shared_modules_work_at_every_call_and_have_their_parameters_once() -> None:
    report = macsim.count(Shared(), (1, 100))
    assert report.macs == 30000
    assert report.parameters == 10100


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Any) -> Any:
        return self.head(self.embed(ids))


def test_tied_embeddings() -> None:
    report = macsim.count(Tied(), shapes={"ids": (2, 7)}, dtypes={"ids": "i64"})
    assert report.parameters == 400
    assert report.macs == 14 * 8 * 50


def test_weight_norm() -> None:
    """The weight is made anew at every call, and its parts are the parameters: 5 * 3 directions, 5 lengths, a bias."""
    for wrap in (nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm):
        report = macsim.count(wrap(nn.Linear(3, 5)), (2, 3))
        assert macs_of(report, "linear") == 30
    report = macsim.count(nn.utils.parametrizations.weight_norm(nn.Linear(3, 5)), (2, 3))
    assert report.parameters == 15 + 5 + 5


def macs_of(report: macsim.Report, op: str) -> Any:
    return sum(row.macs for row in report.rows if row.op == f"aten::{op}")


# Transforms. ----------------------------------------------------------------------------------------------------------


def test_vmap() -> None:
    """7 products of 4 x 8 by 8."""
    weight = torch.zeros(4, 8)
    report = macsim.count(lambda x: torch.vmap(lambda one: weight @ one)(x), (7, 8))
    assert report.macs == 7 * 32
    assert report.outputs[0].shape == (7, 4)


def test_checkpoint() -> None:
    from torch.utils.checkpoint import checkpoint

    fc = nn.Linear(8, 8)
    assert macsim.count(lambda x: checkpoint(fc, x, use_reentrant=False), (2, 8)).macs == 128


def test_unfold() -> None:
    """A convolution by hand: 27 numbers under each of 36 windows, times 6 filters."""
    weight = torch.zeros(6, 27)
    report = macsim.count(lambda x: weight @ F.unfold(x, 3), (1, 3, 8, 8))
    assert report.macs == 6 * 27 * 36
    assert report.outputs[0].shape == (1, 6, 36)


# Models against torch's own counter. ----------------------------------------------------------------------------------


def counted_by_torch(model: Any, *shapes: tuple[int, ...]) -> int:
    """Half of the FLOPs that torch counts: on meta, where every kernel is one that it knows."""
    from torch.utils.flop_counter import FlopCounterMode

    model = copy.deepcopy(model).to("meta").train()  # no fused encoder layers, which torch does not count
    with FlopCounterMode(display=False) as counter:
        model(*(torch.empty(shape, device="meta") for shape in shapes))
    return int(counter.get_total_flops()) // 2


class Bottleneck(nn.Module):
    def __init__(self, into: int = 16, width: int = 8, stride: int = 2) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=2, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.down = nn.Sequential(nn.Conv2d(into, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.down(x))


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Any) -> Any:
        n, length, dim = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, dim))


class VisionBlock(nn.Module):
    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 4, 4)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(torch.zeros(1, 17, dim))
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(dim), Attention(dim, 4), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * dim, dim))
        self.head = nn.Linear(dim, 10)

    def forward(self, x: Any) -> Any:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return self.head(x[:, 0])


class ConvNeXt(nn.Module):
    def __init__(self, dim: int = 12) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Any) -> Any:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)


class Swin(nn.Module):
    """Windows of 4 x 4, shifted by 2, with a table of relative positions and a mask."""

    def __init__(self, dim: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.table = nn.Parameter(torch.zeros(49, heads))
        place = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")).flatten(1)
        index = (place[:, :, None] - place[:, None, :] + 3).permute(1, 2, 0)
        self.register_buffer("index", index[..., 0] * 7 + index[..., 1])

    def forward(self, x: Any) -> Any:
        n, height, width, dim = x.shape
        y = torch.roll(x, (-2, -2), (1, 2)).view(n, height // 4, 4, width // 4, 4, dim)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, dim)
        q, k, v = self.qkv(y).view(-1, 16, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)
        scores = scores + self.table[self.index.view(-1)].view(16, 16, -1).permute(2, 0, 1)
        region = torch.zeros(1, height, width, 1, device=x.device)
        for i, rows in enumerate((slice(0, -4), slice(-4, -2), slice(-2, None))):
            region[:, rows] = i
        region = region.view(1, height // 4, 4, width // 4, 4).permute(0, 1, 3, 2, 4).reshape(-1, 16)
        mask = (region[:, None] - region[:, :, None]).ne(0).to(x.dtype) * -100.0
        scores = scores.view(n, -1, self.heads, 16, 16) + mask[None, :, None]
        y = (scores.view(-1, self.heads, 16, 16).softmax(-1) @ v).transpose(1, 2).reshape(-1, 16, dim)
        y = self.proj(y).view(n, height // 4, width // 4, 4, 4, dim).permute(0, 1, 3, 2, 4, 5).reshape(x.shape)
        return x + torch.roll(y, (2, 2), (1, 2))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU())
        self.down2 = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.InstanceNorm2d(16), nn.SiLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.out = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x: Any) -> Any:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2, ceil_mode=True))
        up = self.up(b)[..., : a.shape[-2], : a.shape[-1]]
        return F.interpolate(torch.sigmoid(self.out(torch.cat([a, up], 1))), scale_factor=2, mode="bilinear")


class Experts(nn.Module):
    """Every expert sees all rows, weighed by a router."""

    def __init__(self, dim: int = 8, experts: int = 4) -> None:
        super().__init__()
        self.router = nn.Linear(dim, experts)
        self.experts = nn.ModuleList(nn.Linear(dim, dim) for _ in range(experts))

    def forward(self, x: Any) -> Any:
        weights = self.router(x).softmax(-1)
        return sum(weights[..., i : i + 1] * expert(x) for i, expert in enumerate(self.experts))


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(16, 12, 2, bidirectional=True, batch_first=True)
        self.conv = nn.Conv1d(24, 8, 3, padding=1, dilation=1)

    def forward(self, x: Any) -> Any:
        out, _ = self.lstm(x)
        return torch.einsum("bct,btd->bcd", self.conv(out.transpose(1, 2)), out)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Bottleneck(), (2, 16, 9, 9)),
        (VisionBlock(), (2, 3, 16, 16)),
        (ConvNeXt(), (1, 12, 10, 10)),
        (Swin(), (2, 8, 8, 16)),
        (UNet(), (1, 3, 15, 13)),
        (Experts(), (3, 5, 8)),
        (Text(), (2, 5, 16)),
        (nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2), (2, 7, 16)),
        (nn.TransformerDecoderLayer(16, 4, 32), ((7, 2, 16), (5, 2, 16))),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_models_against_torch(model: nn.Module, shape: Any) -> None:
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    report = macsim.count(model, *shapes)
    assert report.macs == counted_by_torch(model, *shapes)
    assert report.trust != "unknown"
    assert report.parameters == sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        out = model.eval()(*(torch.zeros(one) for one in shapes))
    assert [tensor.shape for tensor in report.outputs] == [tuple(out.shape)]


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_multihead_attention(weights: bool, training: bool) -> None:
    """Projections 4 * 14 * 16 * 16, then scores and values 2 * 2 * 4 * 7 * 7 * 4: whichever way torch takes."""
    attention = nn.MultiheadAttention(16, 4, batch_first=True).train(training)
    report = macsim.count(lambda x: attention(x, x, x, need_weights=weights)[0], (2, 7, 16))
    assert report.macs == 4 * 14 * 256 + 2 * 2 * 4 * 49 * 4


def test_training_flags_do_not_matter() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2)
    train, evaluation = (macsim.count(encoder.train(mode), (2, 7, 16)) for mode in (True, False))
    assert train.work == evaluation.work
    assert train.macs == 2 * (4 * 14 * 256 + 2 * 2 * 4 * 49 * 4 + 2 * 14 * 16 * 32)


def test_grouped_experts() -> None:
    """Each of 16 rows meets one of 4 matrices of 16 x 32."""

    def run(x: Any, weight: Any, offsets: Any) -> Any:
        return torch._grouped_mm(x, weight, offsets)

    dtypes = {"x": torch.bfloat16, "weight": "bf16", "offsets": "i32"}
    report = macsim.count(run, (16, 16), (4, 16, 32), (4,), dtypes=dtypes)
    assert report.macs == 16 * 16 * 32


# Left as found. -------------------------------------------------------------------------------------------------------


class Restless(nn.Module):
    """Does all that a module should not do in a forward."""

    def __init__(self, raises: bool) -> None:
        super().__init__()
        self.fc, self.bn, self.drop = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(4))
        self.bn.eval()
        self.raises, self.cache = raises, None

    def forward(self, x: Any) -> Any:
        self.seen += 1
        self.mean.mul_(0.9).add_(x.mean(0))
        self.mean = self.mean + 1
        self.cache = x
        self.late = nn.Linear(4, 4)
        self.fc.marked = True
        self.fc.requires_grad_(False)
        torch.manual_seed(0)
        random.seed(0)
        numpy.random.seed(0)  # noqa: NPY002 - programs share this one
        numpy.random.standard_normal()  # noqa: NPY002
        y = self.drop(self.bn(self.fc(x))) + torch.rand(4)
        if self.raises:
            raise ValueError("stop")
        return y


def state_of(model: nn.Module) -> Any:
    return (
        {name: (tensor.data_ptr(), tensor.numpy().tobytes()) for name, tensor in model.state_dict().items()},
        [(id(one), one.training, sorted(vars(one)), list(one._forward_hooks.items())) for one in model.modules()],
        [(name, id(p), p.requires_grad, p.grad) for name, p in model.named_parameters()],
        [(name, id(value)) for name, value in vars(model).items() if not name.startswith("_")],
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        [str(one) for one in numpy.random.get_state()],  # noqa: NPY002
        (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()),
        nn.Module.__call__,
        torch.utils._python_dispatch._len_torch_dispatch_stack(),
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_empty_tensors_of_the_model_that_are_written_to_stay_empty(device: str) -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 4, bias=False)
            self.register_buffer("kept", torch.empty(0))
            self.other = torch.empty(0, device=device)

        def forward(self, x: Any) -> Any:
            torch.mm(x, self.fc.weight.t(), out=self.kept)
            torch.mm(self.kept, self.fc.weight, out=self.other)
            return torch.mm(self.other, self.fc.weight.t(), out=torch.empty(0)) + self.kept

    model = Writes().to(device)
    report = macsim.count(model, (2, 3))
    assert (report.macs, report.work["add"], report.trust) == (3 * 24, 8, "exact")
    for tensor in (model.kept, model.other):
        assert (tuple(tensor.shape), tensor.untyped_storage().nbytes()) == ((0,), 0)


@pytest.mark.parametrize("raises", [False, True])
def test_left_as_found(raises: bool) -> None:
    model = Restless(raises)
    calls: list[Any] = []
    model.fc.register_forward_hook(lambda *given: calls.append(1))
    torch.manual_seed(0)
    torch.rand(1)
    before = state_of(model)
    if raises:
        with pytest.raises(macsim.TraceError, match="ValueError: stop"):
            macsim.count(model, (3, 4))
    else:
        assert macsim.count(model, (3, 4)).macs == 48
    assert state_of(model) == before
    model.raises = False
    assert all(one.requires_grad for one in model.parameters())
    model.fc.requires_grad_ = lambda on: model.fc  # it trains as before
    out = model(torch.ones(3, 4))
    out.sum().backward()
    assert model.fc.weight.grad is not None
    assert model.seen == 1


def test_hooks_run() -> None:
    """What a hook does is work too: 12 more adds."""
    fc = nn.Linear(4, 4)
    fc.register_forward_hook(lambda module, args, out: out + 1)
    assert macsim.count(fc, (3, 4)).work["add"] == 24


def test_a_reshape_that_copies() -> None:
    """Bytes read and written by hand: what strides allow is a view, else elements move, spread ones from one source."""

    def program(x: Any) -> Any:
        n = x.shape[0]
        turned = x.transpose(1, 2)
        spread = x[:, :, None].expand(n, 3, 5, 4)
        return turned.reshape(n, 12), turned.flatten(1), x.reshape(-1, 4), x.flatten(), spread.reshape(n, 15, 4)

    def moved(report: macsim.Report) -> list[Any]:
        assert report.trust == "exact"
        return [
            (row.read, row.written)
            for row in report.rows
            if row.op in ("aten::clone", "aten::reshape", "aten::flatten")
        ]

    assert moved(macsim.count(program, (2, 3, 4))) == [(96, 96), (96, 96), (0, 0), (0, 0), (96, 480)]
    n = macsim.Expr("n")
    assert moved(macsim.count(program, shapes={"x": ("n", 3, 4)})) == [
        (48 * n, 48 * n), (48 * n, 48 * n), (0, 0), (0, 0), (48 * n, 240 * n)
    ]  # fmt: skip
    halved = macsim.count(lambda x: x[:, ::2].transpose(1, 2).reshape(-1), shapes={"x": (2, "n", 4)})
    assert halved.trust == "bound"  # of n = 1 and n = 2 there is one row, and nothing moves


@pytest.mark.parametrize("given", [(2, 3, 5, 4), ("b", 3, "n", 4)])
def test_attention_lies_as_kernels_leave_it(given: tuple[Any, ...]) -> None:
    """A token's heads side by side: joining them moves nothing. Torch's own: the CPU's as the query lies."""
    attend = nn.functional.scaled_dot_product_attention
    x = torch.zeros(2, 5, 3, 4).transpose(1, 2)
    assert attend(x, x, x).transpose(1, 2).is_contiguous()
    x = torch.empty(2, 3, 5, 4, device="meta")
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention(x, x, x, None, False)
    assert efficient[0].transpose(1, 2).is_contiguous()

    def program(x: Any) -> Any:
        y = attend(x, x, x)
        joined = y.transpose(1, 2)
        return joined.contiguous(), joined.reshape(x.shape[0], x.shape[2], 12), y.contiguous()

    report = macsim.count(program, shapes={"x": given}).bind({} if given[0] == 2 else {"b": 2, "n": 5})
    moved = [(row.op, row.written) for row in report.rows if row.written != 0]
    assert moved == [("aten::scaled_dot_product_attention", 480), ("aten::contiguous", 480)]


def test_a_program_sees_what_torch_shows() -> None:
    """Layouts, dtypes and known contents are those of the same program over tensors with storage."""
    seen: list[Any] = []

    def program(x: Any, z: Any, table: Any) -> Any:
        turned = x.transpose(0, 1)
        results = [turned, turned.contiguous(), x.contiguous(), x.double().t().contiguous(), z.conj().t().contiguous()]
        results += [*x.unbind(1), *x.chunk(2, 1), x.view(6, 2).permute(1, 0), x.reshape(-1), turned.reshape(-1)]
        seen.extend((one.shape, one.stride(), one.dtype, one.is_conj()) for one in results)
        numbers = torch.arange(6).view(2, 3).t()
        known = [numbers, numbers.contiguous(), numbers + table, (numbers >= 3).long(), table.view(-1)[1:]]
        known += [numbers.masked_fill(table > 1, -1), table.unsqueeze(0)]
        seen.extend((one.stride(), one.dtype, one.tolist()) for one in known)
        return results

    given = torch.zeros(3, 4), torch.zeros(2, 3, dtype=torch.complex64), torch.arange(6).view(3, 2)
    program(*given)
    truth = list(seen)
    seen.clear()
    macsim.count(program, *given)
    assert seen == truth
    assert given[2].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_inputs_are_left_as_found() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    ids = torch.arange(3)
    macsim.count(lambda x, ids: (x.relu_(), ids.add_(1)), x, ids)
    assert x.detach().equal(torch.ones(3, 4))
    assert ids.equal(torch.arange(3))


class Tables(nn.Module):
    """Writes to its own small tables, also through views of them, and goes by what they then hold."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.arange(4))
        self.order = torch.arange(6)

    def forward(self, x: Any) -> Any:
        self.steps[1:3].add_(2)  # 0 3 4 3
        self.steps.detach()[0] = 5  # 5 3 4 3
        self.order.view(2, 3)[1].mul_(3)  # 0 1 2 9 12 15
        x = x[: int(self.steps.sum())] @ torch.ones(4, 2)  # 15 rows
        return x[: self.order[-1].item()] @ torch.ones(2, int(self.steps[0]))  # 15 rows, 5 columns


def test_tables_are_left_as_found() -> None:
    model = Tables()
    for _ in range(2):
        assert macsim.count(model, (20, 4)).macs == 15 * 4 * 2 + 15 * 2 * 5
    assert model.steps.tolist() == [0, 1, 2, 3]
    assert model.order.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("through", ["view", "itself"])
def test_what_shares_contents_is_not_known_either(through: str) -> None:
    """What is not known is written to a part, and the whole is looked at; and the other way round."""

    def program(x: Any) -> Any:
        whole = torch.zeros(4, dtype=torch.int64)
        part = whole[:]
        (part if through == "view" else whole).copy_(x.argmax(0))
        return x if (whole if through == "view" else part).sum() > 0 else x + 1

    with pytest.raises(macsim.TraceError, match="looks at the contents"):
        macsim.count(program, (7, 4))


def test_threads() -> None:
    """Eight counts at a time, next to a thread that only runs the model."""
    model = VisionBlock().train()
    want = macsim.count(model, (1, 3, 16, 16))
    image = torch.zeros(1, 3, 16, 16)
    with torch.no_grad(), ThreadPoolExecutor(8) as pool:
        counts = [pool.submit(macsim.count, model, (1, 3, 16, 16)) for _ in range(24)]
        runs = [pool.submit(model, image) for _ in range(8)]
        assert {tuple(one.result().work.items()) for one in counts} == {tuple(want.work.items())}
        assert all(one.result().shape == (1, 10) for one in runs)
    assert nn.Module._call_impl.__module__ == nn.Module.__module__
    assert all(module.training for module in model.modules())
    assert torch._dynamo.eval_frame._stance.stance == "default"


# Where work is. -------------------------------------------------------------------------------------------------------


def test_scopes() -> None:
    report = macsim.count(VisionBlock(), (1, 3, 16, 16))
    groups = {group.name: group.macs for group in report.by("scope", depth=1)}
    assert groups["patch"] == 16 * 32 * 48
    assert groups["attn"] == 17 * 32 * 96 + 17 * 32 * 32 + 2 * 17 * 17 * 32
    assert groups["mlp"] == 2 * 17 * 32 * 128
    assert groups["head"] == 320
    assert sum(groups.values()) == report.macs
    deep = {group.name: group.macs for group in report.by("scope", depth=2)}
    assert deep["mlp.3"] == 17 * 128 * 32
    assert deep["attn.qkv"] == 17 * 32 * 96


# What is given. -------------------------------------------------------------------------------------------------------


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, input_ids: Any, attention_mask: Any = None, *, scale: float = 1.0) -> Any:
        x = F.one_hot(input_ids, 4).float() * scale if not input_ids.is_floating_point() else input_ids
        return {"logits": self.fc(x), "mask": attention_mask}

    def encode(self, x: Any) -> Any:
        return self.fc(x) + self.fc(x)


def test_ways_to_give_inputs() -> None:
    fc = nn.Linear(4, 5)
    for report in (
        macsim.count(fc, torch.zeros(3, 4)),
        macsim.count(fc, torch.zeros(3, 4, device="meta")),
        macsim.count(fc, (3, 4)),
        macsim.count(fc, torch.Size([3, 4])),
        macsim.count(fc, kwargs={"input": (3, 4)}),
        macsim.count(fc, kwargs={"input": torch.zeros(3, 4)}),
        macsim.count(fc, shapes={"input": (3, 4)}),
        macsim.count(fc, shapes=(3, 4)),
        macsim.count(lambda pair: fc(pair[0]) * pair[1]["scale"], ((3, 4), {"scale": (5,)})),
        macsim.count(lambda given: fc(given["x"]), {"x": (3, 4)}),
        macsim.count(fc.to("meta"), (3, 4)),
    ):
        assert report.macs == 60


def test_names_say_dtypes() -> None:
    model = Named()
    report = macsim.count(model, {"input_ids": torch.zeros(2, 3, dtype=torch.int64)})
    assert report.macs == 6 * 20
    assert [tensor.dtype for tensor in report.inputs] == ["i64"]
    half = macsim.count(model.half(), shapes={"input_ids": (2, 4)}, dtypes={"input_ids": "f16"})
    assert [tensor.dtype for tensor in half.inputs] == ["f16"]
    assert [tensor.dtype for tensor in macsim.count(nn.Linear(4, 5).bfloat16(), (3, 4)).outputs] == ["bf16"]


def test_methods() -> None:
    assert macsim.count(Named(), (2, 4), method="encode").macs == 2 * 40
    assert macsim.count(Named().encode, (2, 4)).macs == 2 * 40
    with pytest.raises(macsim.RequestError, match="no method 'decode'"):
        macsim.count(Named(), (2, 4), method="decode")


# What is refused. -----------------------------------------------------------------------------------------------------


class Branching(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + 1 if x.sum() > 0 else x


def test_errors_say_where() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Sequential(nn.ReLU(), nn.Linear(6, 7)))
    with pytest.raises(macsim.TraceError, match=r"1\.1"):
        macsim.count(model, (3, 4))
    with pytest.raises(macsim.TraceError, match=r"contents .* not known") as caught:
        macsim.count(nn.Sequential(nn.ReLU(), Branching()), (3, 4))
    assert caught.value.module == "1"
    assert macsim.count(Branching(), torch.ones(3, dtype=torch.int64)).work["add"] == 5  # 2 for the sum, 3 more
    with pytest.raises(macsim.MacsimError, match="input"):
        macsim.count(nn.Linear(4, 5))
    with pytest.raises(macsim.RequestError, match="weight has no size yet"):
        macsim.count(nn.LazyLinear(5), (3, 4))
    with pytest.raises(macsim.RequestError, match="twice"):
        macsim.count(nn.Linear(4, 5), kwargs={"input": (3, 4)}, shapes={"input": (3, 4)})
    with pytest.raises(macsim.RequestError, match="negative"):
        macsim.count(nn.Linear(4, 5), (-3, 4))
    with pytest.raises(macsim.RequestError, match="dtype"):
        macsim.count(nn.Linear(4, 5), (3, 4), dtypes={"input": "f13"})
    with pytest.raises(macsim.RequestError, match="values="):
        macsim.count(nn.Linear(4, 5), (3, 4), values={"input": 1})


def test_not_a_program() -> None:
    assert macsim.count(lambda: 3).macs == 0  # nothing of torch's is called
    with pytest.raises((TypeError, macsim.MacsimError)):
        macsim.count(3, (3, 4))
    with pytest.raises(macsim.MacsimError, match="torch programs"):
        macsim.count("model.onnx", (3, 4))


def test_strict() -> None:
    """What has no row is unknown, never zero."""
    library = torch.library.Library("unheard", "DEF")
    library.define("of(Tensor x) -> Tensor")
    library.impl("of", torch.empty_like, "Meta")
    unheard = torch.ops.unheard.of.default
    report = macsim.count(lambda x: unheard(x) @ x, (4, 4))
    assert report.trust == "unknown"
    assert macs_of(report, "matmul") == 64
    with pytest.raises(macsim.UnknownWorkError, match="unheard"):
        macsim.count(unheard, (4, 4), strict=True)


def test_scaling() -> None:
    """A convolution follows the pixels, attention the square of the length."""
    conv = nn.Conv2d(3, 8, 3, padding=1)
    assert [macsim.count(conv, (1, 3, side, side)).macs // (64 * 216) for side in (8, 16, 32)] == [1, 4, 16]
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    one, two = (macsim.count(layer, (1, n, 16)).macs for n in (64, 128))
    assert two - 2 * one == 2 * 16 * (128**2 - 2 * 64**2)
    assert math.isclose(two / one, 2.5, abs_tol=0.5)


def test_an_encoder_that_is_told_of_padding() -> None:
    """In evaluation torch may cut it off; counts are those of training, whatever the mask says and where it is."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)
    x, mask = torch.zeros(3, 7, 16), torch.zeros(3, 7, dtype=torch.bool)
    mask[1, 4:] = True
    wanted = 2 * (21 * 16 * (4 * 16 + 2 * 32) + 2 * 3 * 49 * 16)
    for mode in (True, False):
        encoder.train(mode)
        for given in (mask, mask.to("meta")):
            report = macsim.count(encoder, x, kwargs={"src_key_padding_mask": given})
            assert (report.macs, report.outputs[0].shape) == (wanted, (3, 7, 16))


def test_views_of_tensors_that_lie_alike() -> None:
    """What was said of one is so for the next, unless it was changed in between."""

    def program(x: Any) -> Any:
        first, second, third = x + 1, x + 2, x + 3
        second.t_()
        third.mul_(2)
        parts = [one.reshape(24) for one in (first, second, third)]  # only the second is copied
        halves = [half.contiguous() for one in (first, third) for half in one.chunk(2, 1)]  # all four are
        return parts, halves, first.t().t().reshape(24), first.contiguous()

    report = macsim.count(program, (4, 6))
    assert [row.op for row in report.rows].count("aten::clone") == 1
    moved = [row for row in report.rows if row.written > 0 and row.op in ("aten::clone", "aten::contiguous")]
    assert [int(row.written) for row in moved] == [4 * 24, *[4 * 12] * 4]
    assert [tensor.shape for tensor in report.outputs] == [(24,)] * 3 + [(4, 3)] * 4 + [(24,), (4, 6)]


def test_a_view_of_what_torch_lays_as_its_input_lies() -> None:
    def program(x: Any) -> Any:
        return (x.transpose(1, 2) + 1).transpose(1, 2).view(2, -1)  # torch adds in the order of the input

    assert program(torch.zeros(2, 3, 4)).shape == (2, 12)
    report = macsim.count(program, (2, 3, 4))
    assert [row.op for row in report.rows if row.written > 0] == ["aten::add"]
    assert report.outputs[0].shape == (2, 12)


def test_modules_made_on_the_way() -> None:
    """They are called by their class, inside of who calls them; others by the first path that they have."""

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4)
            self.same = self.one

        def forward(self, x: Any) -> Any:
            return nn.Sequential(nn.ReLU(), self.same)(self.one(x))

    report = macsim.count(nn.Sequential(Outer()), (2, 4))
    assert [row.scope for row in report.rows] == ["0.one", "0.Sequential.ReLU", "0.one"]
    assert [group.name for group in report.by("scope")] == ["0.one", "0.Sequential.ReLU"]
