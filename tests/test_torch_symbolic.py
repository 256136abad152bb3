# Torch programs whose sizes stay symbols: the formula, bound, is what a count at those sizes gives.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import math

import pytest

import macsim

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch import nn  # noqa: E402

QUANTITIES = ("macs", "flops", "int_ops", "read", "weights", "written", "parameters", "work", "trust")
BATCHES = [{"batch": size} for size in (1, 2, 7)]
SEQUENCES = [{"batch": b, "seq": s} for b, s in ((1, 1), (2, 5), (3, 128), (1, 61), (4, 2))]
LONGER = [sizes for sizes in SEQUENCES if sizes["seq"] > 1]
IMAGES = [{"batch": b, "h": h, "w": w} for b, h, w in ((1, 32, 32), (2, 33, 47), (3, 224, 224), (1, 61, 67))]


def at(shapes, sizes):
    """Shapes with numbers for their symbols."""
    if isinstance(shapes, dict):
        return {name: at(shape, sizes) for name, shape in shapes.items()}
    return tuple(size if isinstance(size, int) else int(macsim.Expr(size).bind(sizes)) for size in shapes)


def agrees(model, shapes, points, **more):
    """Compare a symbolic count, bound, with counts at those sizes; return it."""
    report = macsim.count(model, shapes=shapes, **more)
    for sizes in points:
        bound, counted = report.bind(sizes), macsim.count(model, shapes=at(shapes, sizes), **more)
        for quantity in QUANTITIES:
            assert getattr(bound, quantity) == getattr(counted, quantity), (sizes, quantity)
        assert [tensor.shape for tensor in bound.outputs] == [tensor.shape for tensor in counted.outputs], sizes
    return report


class Called(nn.Module):
    """A module made of a function that gets a Linear."""

    def __init__(self, function):
        super().__init__()
        self.linear = nn.Linear(32, 32)
        self.function = function

    def forward(self, x):
        return self.function(self.linear, x)


# Models. --------------------------------------------------------------------------------------------------------------


def test_linear():
    report = macsim.count(nn.Linear(10, 20), ("batch", 10))
    assert str(report.macs) == "200*batch"
    assert [symbol.name for symbol in report.unbound] == ["batch"]
    assert not report.diagnostics
    assert report.bind(batch=8).macs == 1600
    assert report.bind(batch=0).macs == 0


def test_mlp():
    agrees(nn.Sequential(nn.Linear(10, 20), nn.GELU(), nn.Linear(20, 5), nn.Softmax(-1)), ("batch", 10), BATCHES)


def test_expressions_for_sizes():
    model = nn.Linear(4, 5)
    assert str(macsim.count(model, ("batch", "2*seq", 4)).macs) == "40*batch*seq"
    assert str(macsim.count(model, ("batch", macsim.Expr("seq") + 1, 4)).macs) == "20*batch*seq + 20*batch"
    assert str(macsim.count(model, kwargs={"input": ("n", 4)}).macs) == "20*n"
    assert macsim.count(model, shapes=["n", 4]).macs == macsim.count(model, shapes={"input": ["n", 4]}).macs


def test_conv_net():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 8, 3, stride=2, groups=4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    report = agrees(model, ("batch", 3, "h", "w"), IMAGES)
    assert [symbol.name for symbol in report.unbound] == ["batch", "h", "w"]


def test_flatten_of_symbols():
    agrees(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Flatten()), ("batch", 3, "h", "w"), IMAGES)


class Tagger(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn, self.head = rnn, nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrence(kind):
    rnn = kind(8, 16, 2, batch_first=True, bidirectional=True)
    report = agrees(Tagger(rnn), {"x": ("batch", "seq", 8)}, SEQUENCES)
    gates = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[kind]
    per_step = 2 * gates * (8 * 16 + 16 * 16) + 2 * gates * (32 * 16 + 16 * 16)
    assert report.macs == macsim.Expr(f"{per_step}*batch*seq + 128*batch")


class SelfAttention(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=batch_first)

    def forward(self, x):
        return self.attention(x, x, x)[0]


@pytest.mark.parametrize("batch_first", [True, False])
def test_multihead_attention(batch_first):
    shape = ("batch", "seq", 32) if batch_first else ("seq", "batch", 32)
    report = agrees(SelfAttention(batch_first), {"x": shape}, SEQUENCES)
    assert str(report.macs) == "64*batch*seq^2 + 4096*batch*seq"


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("batch_first", [True, False])
def test_transformer_encoder(batch_first):
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=batch_first)
    shape = ("batch", "seq", 32) if batch_first else ("seq", "batch", 32)
    agrees(nn.TransformerEncoder(layer, 2), {"src": shape}, SEQUENCES)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_transformer_of_two_lengths():
    points = [{"batch": 2, "seq": 5, "to": 7}, {"batch": 1, "seq": 5, "to": 1}]
    shapes = {"src": ("batch", "seq", 32), "tgt": ("batch", "to", 32)}
    agrees(nn.Transformer(32, 4, 1, 1, 64, batch_first=True), shapes, points)


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        self.position = nn.Parameter(torch.zeros(1, 226, 32))
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        batch, count, _ = x.shape
        x = torch.cat([self.token.expand(batch, -1, -1), x], 1) + self.position[:, : count + 1]
        return self.head(self.encoder(x)[:, 0])


def test_vision_transformer():
    agrees(Vision(), {"x": ("batch", 3, 224, 224)}, BATCHES)


def test_vision_transformer_of_any_size():
    points = [{"batch": 2, "h": h, "w": w} for h, w in ((14, 14), (1, 1), (3, 7))]
    report = agrees(Vision(), {"x": ("batch", 3, "16*h", "16*w")}, points, hints={"h": 7, "w": 5})
    with pytest.raises(macsim.RequestError, match="225"):
        report.bind(batch=1, h=15, w=16)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.low = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(32, 4, 1)

    def forward(self, x):
        high = F.relu(self.down(x))
        low = F.relu(self.low(F.max_pool2d(high, 2)))
        resized = F.interpolate(low, size=high.shape[2:], mode="bilinear")
        return self.out(torch.cat([self.up(low), high, resized], 1)), F.interpolate(low, scale_factor=1.5)


def test_u_net():
    points = [{"batch": b, "h": h, "w": w} for b, h, w in ((1, 4, 8), (2, 1, 3), (59, 61, 1))]
    agrees(UNet(), {"x": ("batch", 3, "4*h", "4*w")}, points)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(macsim.TraceError, match=r"cat: the sizes .*h.* differ"):
        macsim.count(UNet(), shapes={"x": ("batch", 3, "h", "w")}, hints={"h": 61, "w": 67})
    report = macsim.count(UNet(), shapes={"x": ("batch", 3, "h", "w")}, hints={"h": 64, "w": 32})
    assert report.bind(batch=1, h=8, w=6).macs == macsim.count(UNet(), (1, 3, 8, 6)).macs
    with pytest.raises(macsim.RequestError):
        report.bind(batch=1, h=7, w=6)


class Generative(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(100, 32), nn.Embedding(512, 32)
        self.qkv, self.project = nn.Linear(32, 96), nn.Linear(32, 32)
        self.head = nn.Linear(32, 100, bias=False)
        self.register_buffer("mask", torch.tril(torch.ones(512, 512, dtype=torch.bool)).view(1, 1, 512, 512))

    def forward(self, ids):
        batch, seq = ids.shape
        if seq > 512:
            raise ValueError("too long")
        x = self.tokens(ids) + self.positions(torch.arange(seq))
        q, k, v = (y.view(batch, seq, 4, 8).transpose(1, 2) for y in self.qkv(x).split(32, 2))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.size(-1))
        scores = scores.masked_fill(torch.tril(torch.ones(seq, seq)) == 0, float("-inf"))
        scores = scores.masked_fill(~self.mask[:, :, :seq, :seq], -1e9).softmax(-1)
        x = x + self.project((scores @ v).transpose(1, 2).contiguous().view(batch, seq, 32))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, seq, -1)
        return self.head(x + y)


def test_generative_transformer():
    report = agrees(Generative(), {"ids": ("batch", "seq")}, SEQUENCES)
    assert [symbol.name for symbol in report.unbound] == ["batch", "seq"]
    assert any("'seq > 512' to be false" in str(remark) for remark in report.diagnostics)
    with pytest.raises(macsim.RequestError, match="512"):
        report.bind(seq=513)


class Cached(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(32, 96)

    def forward(self, x, keys, values):
        q, k, v = (t.view(x.size(0), x.size(1), 4, 8).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        keys, values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        return F.scaled_dot_product_attention(q, keys, values), keys, values


def test_cache_of_any_length():
    cache = ("batch", 4, "past", 8)
    points = [{"batch": 1, "past": 0}, {"batch": 2, "past": 100}, {"batch": 1, "past": 1}]
    report = agrees(Cached(), {"x": ("batch", 1, 32), "keys": cache, "values": cache}, points)
    assert report.macs == macsim.Expr("64*batch*(past + 1) + 3072*batch")


OPERATIONS = {
    "chunk": lambda f, x: x.chunk(2, -1)[0] @ x.chunk(2, -1)[1].transpose(1, 2),
    "einsum": lambda f, x: torch.einsum("bsd,btd->bst", x, x).softmax(-1),
    "reductions": lambda f, x: x.cumsum(1) + x.mean(1, keepdim=True) + x.std(-1, keepdim=True),
    "argmax": lambda f, x: x.argmax(-1),
    "topk": lambda f, x: x.topk(3, -1)[0],
    "repeat": lambda f, x: torch.cat([x, x[:, :1]], 1).repeat(1, 2, 1),
    "windows": lambda f, x: (
        F.pad(x, (0, 0, 0, -x.shape[1] % 8)).view(x.shape[0], -1, 8, 32).transpose(1, 2).contiguous()
    ),
    "roll": lambda f, x: x.roll(3, 1)[:, torch.arange(x.shape[1])],
    "by size": lambda f, x: f(x.reshape(-1, 32)).view(x.size(0), x.size(1), -1) / x.size(1) * x.shape[1] ** -0.5,
    "new tensors": lambda f, x: (
        x.new_zeros(x.shape[0], 4).add_(1).unsqueeze(-1).expand(-1, -1, x.shape[1]).contiguous()
    ),
    "steps": lambda f, x: f(x[:, ::2]),
    "last": lambda f, x: f(x[:, -1]),
    "mask": lambda f, x: torch.triu(torch.full((x.shape[1], x.shape[1]), float("-inf")), 1) + x @ x.transpose(1, 2),
    "stack": lambda f, x: torch.stack([x, x], 1).flatten(0, 1).split(1, -1)[0].squeeze(-1),
    "transposed": lambda f, x: x.transpose(0, 1).reshape(-1, 32).contiguous(),
    "copied": lambda f, x: x.transpose(1, 2).contiguous().clone(),
    "pooled": lambda f, x: F.avg_pool1d(F.pad(x.transpose(1, 2), (1, 1)), 3, 2),
    "resized": lambda f, x: F.interpolate(x.transpose(1, 2), size=(x.shape[1] * 2,)),
    "norms": lambda f, x: F.layer_norm(x, (32,)) + F.rms_norm(x, (32,)),
    "filled": lambda f, x: x.masked_fill(torch.arange(x.shape[1])[None, :, None] > 3, 0).sum((1, 2)),
    "chosen": lambda f, x: torch.where(x > 0, x, 0.0) * torch.sigmoid(x).pow(2) ** 0.5,
    "gather": lambda f, x: x.gather(1, torch.zeros(x.shape[0], 1, 32, dtype=torch.long)),
    "scatter": lambda f, x: torch.zeros(x.shape[0], 8).scatter(1, torch.zeros(x.shape[0], 2, dtype=torch.long), 1.0),
    "diagonal": lambda f, x: torch.bmm(x, x.transpose(1, 2)).diagonal(dim1=1, dim2=2),
    "cast": lambda f, x: x.half().to(torch.float64).type_as(x),
    "smaller": lambda f, x: f(x[:, : (x.shape[1] + 1) // 2]),
    "rounded up": lambda f, x: f(x.new_zeros(math.ceil(x.shape[1] / 4), 32)),
    "larger": lambda f, x: f(x.new_zeros(torch.sym_max(x.shape[1], 3), 32)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name):
    agrees(Called(OPERATIONS[name]), {"x": ("batch", "seq", 32)}, SEQUENCES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_transformers(family):
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 100, "bos_token_id": 0, "eos_token_id": 0}
    if family == "gpt2":
        config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, **small)
        model = transformers.GPT2LMHeadModel(config)
    else:
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, **small}
        if family == "bert":
            model = transformers.BertModel(transformers.BertConfig(**sizes))
        else:
            model = transformers.LlamaForCausalLM(transformers.LlamaConfig(num_key_value_heads=2, **sizes))
    report = agrees(model, {"input_ids": ("batch", "seq")}, LONGER)
    assert [symbol.name for symbol in report.unbound] == ["batch", "seq"]
    one = macsim.count(model, shapes={"input_ids": ("batch", "seq")}, dims={"seq": 1})
    assert one.bind(batch=3).macs == macsim.count(model, shapes={"input_ids": (3, 1)}).macs


# Branches. ------------------------------------------------------------------------------------------------------------


def test_a_branch_is_noted_and_checked():
    model = Called(lambda f, x: f(x) if x.shape[1] > 64 else f(f(x)))
    shapes = {"x": ("batch", "seq", 32)}
    report = macsim.count(model, shapes=shapes)
    (remark,) = report.diagnostics
    assert "a branch took 'seq > 64' to be false" in str(remark)
    assert str(report.macs) == "2048*batch*seq"
    assert report.bind(batch=1, seq=64).macs == 2048 * 64
    with pytest.raises(macsim.RequestError, match="seq"):
        report.bind(batch=1, seq=65)
    other = macsim.count(model, shapes=shapes, hints={"seq": 100})
    assert str(other.macs) == "1024*batch*seq"
    with pytest.raises(macsim.RequestError, match="seq"):
        other.bind(seq=64)


@pytest.mark.parametrize(
    ("condition", "yes", "no"),
    [
        (lambda n: n == 8, 8, 9),
        (lambda n: n != 8, 7, 8),
        (lambda n: n % 4 == 0, 12, 13),
        (lambda n: 2 < n <= 9, 9, 10),
        (lambda n: n < 5 or n > 100, 101, 50),
        (lambda n: n / 2 > 3.5, 8, 7),
        (lambda n: not n >= 3, 2, 3),
        (lambda n: max(n, 10) == 10, 10, 11),
        (lambda n: bool(n), 1, 0),
    ],
)
def test_conditions(condition, yes, no):
    model = Called(lambda f, x: f(x) if condition(x.shape[0]) else f(f(x)))
    for hint, other, times in ((yes, no, 1), (no, yes, 2)):
        report = macsim.count(model, ("n", 32), hints={"n": hint})
        assert report.bind(n=hint).macs == times * 1024 * hint
        with pytest.raises(macsim.RequestError, match="n"):
            report.bind(n=other)


def test_rows_take_symbols_where_torch_takes_numbers():
    def program(x):
        n = x.shape[0]
        positions = torch.arange(n, device=x.device)
        ranks = positions.repeat_interleave(3).view(n, 3)
        return x.repeat(2, n), torch.cumsum(x, 0), x.sort(0).values, ranks, F.one_hot(positions, n), F.pad(x, (0, n))

    report = macsim.count(program, ("n", 4))
    for size in (2, 5):
        found = [tuple(int(one.bind({"n": size})) if isinstance(one, macsim.Expr) else one for one in output.shape)
                 for output in report.outputs]  # fmt: skip
        assert found == [tuple(one.shape) for one in program(torch.zeros(size, 4))]


def test_what_holds_for_all_sizes_is_not_noted():
    model = Called(lambda f, x: f(x) if x.shape[0] >= 0 and 2 * x.shape[0] % 2 == 0 else f(f(x)))
    report = macsim.count(model, ("n", 32))
    assert not report.diagnostics
    assert report.bind(n=0).macs == 0


def test_a_squeezed_size():
    report = macsim.count(Called(lambda f, x: f(x.squeeze(1))), ("batch", "seq", 32))
    with pytest.raises(macsim.RequestError, match="seq"):
        report.bind(seq=1)


def test_a_shorter_slice():
    report = macsim.count(Called(lambda f, x: f(x[:, :10])), ("batch", "seq", 32))
    assert report.bind(batch=1, seq=10).macs == 10240
    with pytest.raises(macsim.RequestError, match="seq"):
        report.bind(seq=9)


def test_sizes_that_must_agree():
    add = Called(lambda f, x: f(x + torch.zeros(x.shape[0], 50, 32)))
    with pytest.raises(macsim.TraceError, match="seq"):
        macsim.count(add, ("batch", "seq", 32))
    report = macsim.count(add, ("batch", "seq", 32), hints={"seq": 50})
    assert report.bind(batch=1, seq=50).macs == 51200
    with pytest.raises(macsim.RequestError):
        report.bind(seq=49)
    with pytest.raises(macsim.TraceError, match="linear"):
        macsim.count(nn.Linear(32, 8), ("batch", "width"))
    report = macsim.count(nn.Linear(32, 8), ("batch", "width"), hints={"width": 32})
    assert report.bind(width=32).macs == macsim.Expr("256*batch")
    with pytest.raises(macsim.RequestError):
        report.bind(width=31)


def test_parts_of_a_size():
    halves = Called(lambda f, x: [f(part) for part in x.chunk(2, 1)])
    report = agrees(halves, {"x": ("batch", "seq", 32)}, LONGER)
    assert report.macs == macsim.Expr("1024*batch*seq")
    with pytest.raises(macsim.RequestError):  # there is but one
        report.bind(seq=1)
    rest = Called(lambda f, x: f(x.split(x.shape[1] - 1, 1)[1]))
    report = agrees(rest, {"x": ("batch", "seq", 32)}, [{"batch": 2, "seq": 5}])
    with pytest.raises(macsim.RequestError):
        report.bind(seq=1)


def test_a_factor_of_1():
    model = Called(lambda f, x: torch.add(x, x, alpha=x.shape[1]))
    report = agrees(model, {"x": ("batch", "seq", 32)}, LONGER)
    with pytest.raises(macsim.RequestError):
        report.bind(seq=1)


@pytest.mark.parametrize(
    ("model", "shape", "fits"),
    [
        (nn.Linear(32, 8), ("batch", "width"), 32),
        (nn.LayerNorm(32), ("batch", "width"), 32),
        (nn.BatchNorm1d(32), ("batch", "width", 5), 32),
        (nn.Conv1d(32, 8, 3, groups=4), ("batch", "width", 50), 32),
        (nn.ConvTranspose2d(32, 8, 3), ("batch", "width", 5, 5), 32),
        (Called(lambda f, x: x @ f.weight), ("batch", "width"), 32),
        (Called(lambda f, x: torch.cat([x, f.weight], 1)), ("width", 3), 32),
        (Called(lambda f, x: F.scaled_dot_product_attention(x, f.weight[None], f.weight[None])), (1, 5, "width"), 32),
        (Called(lambda f, x: torch.einsum("bi,ij->bj", x, f.weight)), ("batch", "width"), 32),
        (nn.LSTM(32, 8), (5, "batch", "width"), 32),
    ],
)
def test_widths_that_must_fit(model, shape, fits):
    report = macsim.count(model, shape, hints={"width": fits})
    report.bind(width=fits)
    with pytest.raises(macsim.RequestError):
        report.bind(width=fits + 4)


# What takes a number. -------------------------------------------------------------------------------------------------


def test_a_loop_over_a_size():
    model = Called(lambda f, x: [f(x[:, i]) for i in range(x.shape[1])])
    with pytest.raises(macsim.TraceError, match="seq"):
        macsim.count(model, ("batch", "seq", 32))
    report = macsim.count(model, ("batch", "seq", 32), hints={"seq": 5})
    assert report.bind(seq=5).macs == macsim.Expr("5120*batch")
    with pytest.raises(macsim.RequestError):
        report.bind(seq=6)
    assert macsim.count(model, ("batch", "seq", 32), dims={"seq": 3}).macs == macsim.Expr("3072*batch")


@pytest.mark.parametrize(
    "function",
    [
        lambda f, x: F.interpolate(x.transpose(1, 2), scale_factor=0.3),  # rounded in floating point
        lambda f, x: x.new_zeros(int(x.shape[1] ** 0.5), 32),
        lambda f, x: F.avg_pool2d(x.unsqueeze(1), (x.shape[1], 1)),
        lambda f, x: x.view(x.shape[0], x.shape[1] // 2, 2, 32),
        lambda f, x: f(x) if x.sum() > 0 else x,
    ],
)
def test_what_cannot_be_told_is_refused(function):
    with pytest.raises(macsim.TraceError):
        macsim.count(Called(function), ("batch", "seq", 32))


def test_dims_bind_at_once():
    model = Called(lambda f, x: f(x) if x.shape[1] > 64 else f(f(x)))
    assert macsim.count(model, ("batch", "seq", 32), dims={"batch": 2, "seq": 100}).macs == 2 * 100 * 1024
    assert macsim.count(model, ("batch", "seq", 32), dims={"seq": 10}).macs == macsim.Expr("20480*batch")
    with pytest.raises(macsim.RequestError, match="other"):
        macsim.count(model, ("batch", "seq", 32), dims={"other": 1})


@pytest.mark.parametrize("shape", [("2*", 32), ("", 32), (None, 32), (1.5, "n")])
def test_what_is_no_size(shape):
    with pytest.raises((macsim.RequestError, macsim.TraceError)):
        macsim.count(nn.Linear(32, 8), shapes={"input": shape})


def test_hints_are_for_programs():
    with pytest.raises(macsim.RequestError, match="hints"):
        macsim.count("examples/gpt2.onnx", hints={"seq": 3})


# State. ---------------------------------------------------------------------------------------------------------------


def state():
    return (
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch._C._dispatch_tls_local_exclude_set().raw_repr(),
        torch._C._dispatch_tls_local_include_set().raw_repr(),
        torch._C._len_torch_dispatch_stack(),
        torch.get_default_dtype(),
        nn.Module.__call__,
    )


def test_everything_is_left_as_it_was():
    model = Generative().train()
    model.cache = {}
    before, parameters = state(), {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    known = {name: value.clone() for name, value in model.state_dict().items()}
    first = macsim.count(model, (2, 8))
    macsim.count(model, ("batch", "seq"), dtypes={"ids": "i64"})
    with pytest.raises(macsim.TraceError):
        macsim.count(Called(lambda f, x: [x for _ in range(x.shape[0])]), ("n", 32))
    assert state() == before
    assert model.training
    assert parameters == {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    assert all(torch.equal(value, known[name]) for name, value in model.state_dict().items())
    assert macsim.count(model, (2, 8)).macs == first.macs
    assert model(torch.zeros(2, 8, dtype=torch.long)).shape == (2, 8, 100)


def test_what_repeats_is_told_once():
    """Layers whose views and copies are those of the layer before count the same at every size, also at 1."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

        def forward(self, x):
            batch, length, width = x.shape
            q, k, v = self.qkv(x).view(batch, length, 3, 2, 4).permute(2, 0, 3, 1, 4)
            scores = torch.softmax(q @ k.transpose(-2, -1) / 2, -1)
            return x + self.out((scores @ v).transpose(1, 2).contiguous().view(batch, length, width))

    one, three = (agrees(nn.Sequential(*(Layer() for _ in range(n))), ("batch", "seq", 8), SEQUENCES) for n in (1, 3))
    assert three.macs == 3 * one.macs
    assert three.written == 3 * one.written
    assert len(three.rows) == 3 * len(one.rows)
