"""Small torch modules that between them use what real models use. Our own definitions; weights are random."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNet(nn.Module):
    """Strided, grouped, dilated and depthwise convolutions, a residual, batch norm, pooling, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.a = nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=4)
        self.shortcut = nn.Conv2d(8, 16, 1, stride=2)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.bn(self.stem(x))))
        x = functional.silu(self.a(x)) + self.shortcut(x)
        x = functional.gelu(self.depthwise(x))
        return self.head(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


class UNet(nn.Module):
    """Down, up by transposed convolution and by interpolation, a skip connection, group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.out = nn.Conv2d(7, 2, 3, padding=1)
        self.last = nn.Conv2d(2, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(functional.relu(self.norm(self.down(x))))
        y = self.out(torch.cat([x, y], 1))
        return self.last(functional.interpolate(y, scale_factor=2.0, mode="bilinear"))


class Attention(nn.Module):
    """Causal self-attention with a head split by view."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, s, w = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(b, s, w))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class LanguageModel(nn.Module):
    """Token and position embeddings, two blocks, a tied head."""

    def __init__(self, width: int = 32, vocabulary: int = 50) -> None:
        super().__init__()
        self.tok = nn.Embedding(vocabulary, width)
        self.pos = nn.Embedding(64, width)
        self.layers = nn.ModuleList([Block(width) for _ in range(2)])
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1], device=ids.device))
        for layer in self.layers:
            x = layer(x)
        return self.norm(x) @ self.tok.weight.T


class CachedDecoder(nn.Module):
    """One decoding step over a cache of past keys and values."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.o = nn.Linear(width, width)

    def forward(self, x: Tensor, past_k: Tensor, past_v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, s, w = x.shape
        q, k, v = (f(x).view(b, s, self.heads, self.size).transpose(1, 2) for f in (self.q, self.k, self.v))
        k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
        scores = torch.softmax(q @ k.transpose(-1, -2) / self.size**0.5, -1)
        return self.o((scores @ v).transpose(1, 2).reshape(b, s, w)), k, v


class Recurrent(nn.Module):
    """A two-layer bidirectional LSTM, then a GRU, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(10, 12, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(24, 8, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x)
        y, _ = self.gru(y)
        return self.out(y)


class Einsums(nn.Module):
    """Contractions of two operands in einsum and in broadcast matmul."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a = torch.einsum("bik,bjk->bij", x, y)
        return torch.matmul(a.unsqueeze(1), y.unsqueeze(1)).sum(1)


class Windows(nn.Module):
    """Reshapes, rolls and a window partition, as in windowed vision transformers."""

    def __init__(self, width: int = 16, window: int = 4) -> None:
        super().__init__()
        self.window = window
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        n = self.window
        x = torch.roll(x, (1, 1), (1, 2)).view(b, h // n, n, w // n, n, c)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, n * n, c)
        q, k, v = self.qkv(x).chunk(3, -1)
        x = torch.softmax(q @ k.transpose(1, 2), -1) @ v
        return x.view(b, h // n, w // n, n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)


class MultiHead(nn.Module):
    """torch's own encoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(24, 3, 48, batch_first=True, dropout=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Audio(nn.Module):
    """One-dimensional convolutions and a transposed one over a waveform."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(1, 8, 9, stride=4, padding=4)
        self.b = nn.Conv1d(8, 8, 5, padding="same")
        self.c = nn.ConvTranspose1d(8, 1, 8, stride=4, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(functional.leaky_relu(self.b(torch.tanh(self.a(x)))))


class Volume(nn.Module):
    """Three-dimensional convolution and pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv3d(2, 4, 3, padding=1)
        self.b = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(functional.avg_pool3d(self.a(x), 2).mean((2, 3, 4)))


@dataclass(frozen=True)
class Exhibit:
    """A module, its inputs, and which of their axes are free."""

    name: str
    module: type[nn.Module]
    inputs: dict[str, Tensor]
    axes: dict[str, dict[int, str]]
    sizes: dict[str, int]  # to execute with, other than those of `inputs`
    skip: dict[str, str] = field(default_factory=dict)  # exporter: why it cannot

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return self.module().eval()

    def feeds(self) -> dict[str, Any]:
        """Arrays at `sizes`."""
        out = {}
        generator = torch.Generator().manual_seed(1)
        for name, example in self.inputs.items():
            shape = [
                self.sizes[self.axes[name][i]] if i in self.axes.get(name, {}) else d
                for i, d in enumerate(example.shape)
            ]
            if example.dtype == torch.long:
                out[name] = torch.randint(0, 40, shape, generator=generator).numpy()
            else:
                out[name] = torch.rand(shape, generator=generator).to(example.dtype).numpy()
        return out


IMAGE = {0: "batch", 2: "height", 3: "width"}
ZOO = [
    Exhibit(
        "convnet", ConvNet, {"x": torch.zeros(2, 3, 32, 40)}, {"x": IMAGE}, {"batch": 3, "height": 65, "width": 50}
    ),
    Exhibit("unet", UNet, {"x": torch.zeros(2, 3, 16, 24)}, {"x": IMAGE}, {"batch": 3, "height": 20, "width": 12}),
    Exhibit(
        "language_model",
        LanguageModel,
        {"ids": torch.zeros(2, 6, dtype=torch.long)},
        {"ids": {0: "batch", 1: "seq"}},
        {"batch": 3, "seq": 11},
    ),
    Exhibit(
        "cached_decoder",
        CachedDecoder,
        {"x": torch.zeros(2, 3, 32), "past_k": torch.zeros(2, 4, 5, 8), "past_v": torch.zeros(2, 4, 5, 8)},
        {"x": {0: "batch", 1: "seq"}, "past_k": {0: "batch", 2: "past"}, "past_v": {0: "batch", 2: "past"}},
        {"batch": 3, "seq": 2, "past": 9},
    ),
    Exhibit(
        "recurrent",
        Recurrent,
        {"x": torch.zeros(2, 5, 10)},
        {"x": {0: "batch", 1: "seq"}},
        {"batch": 3, "seq": 7},
        skip={"dynamo": "the exporter unrolls no LSTM of symbolic length"},
    ),
    Exhibit(
        "einsums",
        Einsums,
        {"x": torch.zeros(2, 3, 4), "y": torch.zeros(2, 5, 4)},
        {"x": {0: "batch", 1: "rows"}, "y": {0: "batch", 1: "columns"}},
        {"batch": 3, "rows": 6, "columns": 7},
    ),
    Exhibit("windows", Windows, {"x": torch.zeros(2, 8, 8, 16)}, {"x": {0: "batch"}}, {"batch": 3}),
    # The scripting exporter writes the example's sizes into this module's reshapes: it runs at those only.
    Exhibit(
        "encoder_layer", MultiHead, {"x": torch.zeros(2, 6, 24)}, {"x": {0: "batch", 1: "seq"}}, {"batch": 2, "seq": 6}
    ),
    Exhibit(
        "audio", Audio, {"x": torch.zeros(2, 1, 64)}, {"x": {0: "batch", 2: "samples"}}, {"batch": 3, "samples": 160}
    ),
    Exhibit(
        "volume", Volume, {"x": torch.zeros(2, 2, 4, 6, 8)}, {"x": {0: "batch", 2: "depth"}}, {"batch": 3, "depth": 10}
    ),
]
