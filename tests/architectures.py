# Small models that are true to the structure of well-known architectures. Our own definitions; weights are random.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name


class Residual(nn.Module):
    """ResNet: two basic blocks of 3 x 3 convolutions, the second one with a strided shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.a = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
        self.b = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1))
        self.shortcut = nn.Conv2d(8, 16, 1, 2)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.stem(x), 3, 2, 1)
        x = F.relu(self.a(x) + x)
        x = F.relu(self.b(x) + self.shortcut(x))
        return self.head(x.mean((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, gate: nn.Module) -> None:
        super().__init__()
        self.down, self.up, self.gate = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1), gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class InvertedBottleneck(nn.Module):
    """MobileNetV3's block with hard swish, EfficientNet's with SiLU: expand, depthwise, squeeze, project."""

    def __init__(self, act: nn.Module, gate: nn.Module, kernel: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.expand, self.norm = nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24)
        self.depthwise = nn.Conv2d(24, 24, kernel, padding=kernel // 2, groups=24)
        self.excite, self.project, self.act = SqueezeExcite(24, gate), nn.Conv2d(24, 8, 1), act
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        y = self.act(self.norm(self.expand(x)))
        x = x + self.project(self.excite(self.act(self.depthwise(y))))
        return self.head(F.dropout(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1), 0.2, self.training))


def mobilenet() -> nn.Module:
    return InvertedBottleneck(nn.Hardswish(), nn.Hardsigmoid(), 5)


def efficientnet() -> nn.Module:
    return InvertedBottleneck(nn.SiLU(), nn.Sigmoid(), 3)


class Detector(nn.Module):
    """DETR: a backbone, an encoder over its positions, queries in a decoder, heads for a set of boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 16, 2, 2))
        self.transformer = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        self.queries = nn.Parameter(torch.rand(5, 16))
        self.rows, self.columns = nn.Parameter(torch.rand(8, 8)), nn.Parameter(torch.rand(8, 8))
        self.classes, self.boxes = nn.Linear(16, 4), nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.backbone(x)
        n, _, height, width = x.shape
        places = torch.cat([self.rows[:height, None].expand(-1, width, -1),
                            self.columns[None, :width].expand(height, -1, -1)], -1)  # fmt: skip
        x = x.flatten(2).transpose(1, 2) + places.flatten(0, 1)
        y = self.transformer(x, self.queries.expand(n, -1, -1))
        return self.classes(y), self.boxes(y).sigmoid()


class Words(nn.Module):
    """A recurrent language model."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.core = {
            "lstm": lambda: nn.LSTM(8, 12, 2, batch_first=True),
            "gru": lambda: nn.GRU(8, 6, bidirectional=True, batch_first=True),
            "projected": lambda: nn.LSTM(8, 16, proj_size=12, batch_first=True),
        }[kind]()
        self.head = nn.Linear(12, 20)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.core(self.embed(ids))[0])


class Packed(nn.Module):
    """An LSTM over sequences of 5, 3 and 2 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


class StateSpace(nn.Module):
    """Mamba: a gated selective scan, step by step or all steps by cumulative sums of logarithms."""

    def __init__(self, steps: bool) -> None:
        super().__init__()
        self.steps = steps
        self.into, self.out = nn.Linear(8, 32, bias=False), nn.Linear(16, 8, bias=False)
        self.conv = nn.Conv1d(16, 16, 4, padding=3, groups=16)
        self.select, self.delta = nn.Linear(16, 2 + 2 * 4), nn.Linear(2, 16)
        self.a, self.d = nn.Parameter(torch.rand(16, 4)), nn.Parameter(torch.ones(16))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        x, gate = self.into(x).chunk(2, -1)
        x = F.silu(self.conv(x.transpose(1, 2))[..., :length].transpose(1, 2))
        delta, b, c = self.select(x).split([2, 4, 4], -1)
        delta = F.softplus(self.delta(delta))
        decay = delta[..., None] * -torch.exp(self.a)
        new = (delta * x)[..., None] * b[:, :, None]
        if self.steps:
            state = new[:, 0]
            states = [state]
            for step in range(1, length):
                state = state * decay[:, step].exp() + new[:, step]
                states.append(state)
            y = torch.stack(states, 1)
        else:
            total = decay.cumsum(1)
            y = total.exp() * (new * (-total).exp()).cumsum(1)
        y = torch.einsum("blds,bls->bld", y, c) + self.d * x
        return self.out(y * F.silu(gate))


class Mixture(nn.Module):
    """Two of four experts for each token, dispatched by one-hot contractions, each with room for 4 tokens of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(8, 4, bias=False)
        self.up, self.down = nn.Parameter(torch.rand(4, 8, 16)), nn.Parameter(torch.rand(4, 16, 8))

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(2, -1)
        chosen = F.one_hot(chosen, 4)
        place = (chosen.flatten(1, 2).cumsum(1) - 1).view(chosen.shape)
        seat = (place[..., None] == torch.arange(4, device=x.device)).to(x.dtype)
        combine = (weights[..., None, None] * chosen[..., None] * seat).sum(2)
        taken = torch.einsum("blec,bld->ebcd", (combine > 0).to(x.dtype), x)
        made = torch.einsum("ebch,ehd->ebcd", F.gelu(torch.einsum("ebcd,edh->ebch", taken, self.up)), self.down)
        return torch.einsum("blec,ebcd->bld", combine, made)


class CrossAttention(nn.Module):
    def __init__(self, width: int, context: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv = nn.Linear(width, width, bias=False), nn.Linear(context, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q, (k, v) = self.q(x), self.kv(context).chunk(2, -1)
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in (q, k, v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Denoiser(nn.Module):
    """A diffusion model's U-Net: the time goes into every level, the text into the middle by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8))
        self.stem, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, 2, 1)
        self.norm, self.middle = nn.GroupNorm(4, 8), nn.Conv2d(8, 8, 3, padding=1)
        self.own, self.text = CrossAttention(8, 8), CrossAttention(8, 12)
        self.up, self.out = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor, when: Tensor, text: Tensor) -> Tensor:
        angle = when[:, None] * torch.exp(-torch.arange(4, device=x.device, dtype=x.dtype))
        time = self.time(torch.cat([angle.sin(), angle.cos()], -1))[..., None, None]
        first = self.stem(x) + time
        y = self.middle(F.silu(self.norm(self.down(first)))) + time
        rows = y.flatten(2).transpose(1, 2)
        rows = rows + self.own(rows, rows)
        rows = rows + self.text(rows, text)
        y = self.up(F.interpolate(rows.transpose(1, 2).unflatten(-1, y.shape[2:]), scale_factor=2.0, mode="nearest"))
        return self.out(torch.cat([first, y], 1))


class Graph(nn.Module):
    """Message passing: a message for every edge from its two ends, summed at the target."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(16, 8), nn.GRUCell(8, 8)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        for _ in range(2):
            sent = F.relu(self.message(torch.cat([x[edges[0]], x[edges[1]]], -1)))
            x = self.update(torch.zeros_like(x).index_add(0, edges[1], sent), x)
        return torch.zeros_like(x).scatter_add(0, edges[1, :, None].expand(-1, 8), sent)


class Conformer(nn.Module):
    """Half a feed-forward, attention, a gated depthwise convolution, the other half."""

    def __init__(self) -> None:
        super().__init__()
        self.halves = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 16)) for _ in range(2)
        )
        self.attention, self.norm = nn.MultiheadAttention(16, 4, batch_first=True), nn.LayerNorm(16)
        self.wide, self.narrow = nn.Conv1d(16, 32, 1), nn.Conv1d(16, 16, 1)
        self.depthwise, self.batch = nn.Conv1d(16, 16, 7, padding=3, groups=16), nn.BatchNorm1d(16)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.halves[0](x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        y = self.depthwise(F.glu(self.wide(x.transpose(1, 2)), 1))
        x = x + self.narrow(F.silu(self.batch(y))).transpose(1, 2)
        return x + 0.5 * self.halves[1](x)


@dataclass(frozen=True)
class Architecture:
    """How to make a model, its inputs by name, and the same with symbols for the sizes that may vary."""

    make: Any
    inputs: dict[str, Tensor]
    symbols: dict[str, tuple[int | str, ...]]

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make()


IMAGE = {"x": torch.zeros(2, 3, 32, 32)}
IMAGES = {"x": ("batch", 3, 32, 32)}
ROWS = {"x": torch.zeros(2, 6, 8)}
WORDS = {"ids": torch.ones(2, 6, dtype=torch.int64)}
EDGES = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])
TEXTS = {"ids": ("batch", "seq")}
ARCHITECTURES = {
    "resnet": Architecture(Residual, IMAGE, {"x": ("batch", 3, "height", "width")}),
    "mobilenet": Architecture(mobilenet, IMAGE, {"x": ("batch", 3, "height", "width")}),
    "efficientnet": Architecture(efficientnet, IMAGE, {"x": ("batch", 3, "height", "width")}),
    "detr": Architecture(Detector, IMAGE, IMAGES),
    "lstm": Architecture(lambda: Words("lstm"), WORDS, TEXTS),
    "gru": Architecture(lambda: Words("gru"), WORDS, TEXTS),
    "projected": Architecture(lambda: Words("projected"), WORDS, TEXTS),
    "mamba_steps": Architecture(lambda: StateSpace(True), ROWS, {"x": ("batch", 6, 8)}),
    "mamba_sums": Architecture(lambda: StateSpace(False), ROWS, {"x": ("batch", "seq", 8)}),
    "mixture": Architecture(Mixture, ROWS, {"x": ("batch", "seq", 8)}),
    "denoiser": Architecture(
        Denoiser,
        {"x": torch.zeros(2, 3, 16, 16), "when": torch.zeros(2), "text": torch.zeros(2, 5, 12)},
        {"x": ("batch", 3, 16, 16), "when": ("batch",), "text": ("batch", "tokens", 12)},
    ),
    "graph": Architecture(Graph, {"x": torch.zeros(5, 8), "edges": EDGES}, {"x": ("nodes", 8), "edges": (2, "edges")}),
    "conformer": Architecture(Conformer, {"x": torch.zeros(2, 9, 16)}, {"x": ("batch", "frames", 16)}),
}
SIZES = {
    "batch": 2, "height": 32, "width": 32, "seq": 6, "tokens": 5, "nodes": 5, "edges": 6, "frames": 9
}  # fmt: skip
