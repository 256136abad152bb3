# Vision transformers and hybrids. Our own definitions.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Vision transformers and hybrids: ViT and DeiT, T2T-ViT, CaiT, Swin V1 and V2, CoAtNet, BoTNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from macsim.trends.architectures.parts import SqueezeExcite, Sum, attend, chain, conv, head, unit


def feed_forward(width: int, inner: int, *, gated: bool = False, norm: bool = False) -> nn.Module:
    """Return the feed-forward part, or a gated one, whose gate has the same inner width."""
    if gated:
        return _Gated(width, inner, norm=norm)
    return chain([nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width)])


class _Gated(nn.Module):
    def __init__(self, width: int, inner: int, *, norm: bool) -> None:
        super().__init__()
        self.up, self.gate, self.down = nn.Linear(width, inner), nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(inner) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.norm(F.silu(self.gate(x)) * self.up(x)))


class Attention(nn.Module):
    """Attention over all positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attend(q, k, v).transpose(1, 2).flatten(2))


class _TalkingHeads(nn.Module):
    """Attention whose heads are mixed before and after the softmax."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.before, self.after = nn.Linear(heads, heads), nn.Linear(heads, heads)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = self.before((q @ k.transpose(-2, -1)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        weights = self.after(scores.softmax(-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and feed-forward, each normalised before and added after."""

    def __init__(self, width: int, attention: nn.Module, forward: nn.Module, *, scaled: bool = False) -> None:
        super().__init__()
        self.attention, self.feed = attention, forward
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.scales = nn.ParameterList(torch.ones(width) for _ in range(2)) if scaled else None

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        for index, part in enumerate((self.attention, self.feed)):
            y = part(self.norms[index](x))
            x = x + (y if self.scales is None else y * self.scales[index])
        return x


class _Patches(nn.Module):
    """Patches of an image as rows, with their places, after `marks` rows that are learned."""

    def __init__(self, width: int, size: int, patch: int, *, marks: int) -> None:
        super().__init__()
        self.patches = conv(3, width, patch, patch, 0, bias=True)
        self.mark = nn.Parameter(torch.zeros(1, marks, width)) if marks else None
        self.places = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + marks, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.mark is not None:
            x = torch.cat([self.mark.expand(len(x), -1, -1), x], 1)
        return x + self.places


class _First(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


def vit(
    width: int,
    depth: int,
    heads: int,
    patch: int,
    size: int,
    inner: int = 0,
    *,
    gated: bool = False,
    norm: bool = False,
    registers: int = 0,
) -> nn.Module:
    """Return a vision transformer that reads its class off a token of its own; `registers` are tokens for its notes."""
    layers: list[nn.Module] = [_Patches(width, size, patch, marks=1 + registers)]
    for _ in range(depth):
        feed = feed_forward(width, inner or 4 * width, gated=gated, norm=norm)
        layers.append(Block(width, Attention(width, heads), feed))
    return chain([*layers, nn.LayerNorm(width), _First(), nn.Linear(width, 1000)])


class _Narrow(nn.Module):
    """T2T's transformer over many small tokens: one head of 64, around which nothing is added before the values."""

    def __init__(self, ins: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(ins), nn.LayerNorm(64)
        self.qkv, self.out, self.feed = nn.Linear(ins, 3 * 64), nn.Linear(64, 64), feed_forward(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.first(x)).unflatten(-1, (3, 1, 64)).permute(2, 0, 3, 1, 4)
        x = v[:, 0] + self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return x + self.feed(self.second(x))


class _TokensToTokens(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second, self.last = _Narrow(147), _Narrow(576), nn.Linear(576, width)
        self.mark, self.places = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, 197, width))

    def forward(self, x: Tensor) -> Tensor:
        x = F.unfold(x, 7, padding=2, stride=4).transpose(1, 2)
        for part, side in ((self.first, 56), (self.second, 28)):
            x = part(x).transpose(1, 2).unflatten(2, (side, side))
            x = F.unfold(x, 3, padding=1, stride=2).transpose(1, 2)
        return torch.cat([self.mark.expand(len(x), -1, -1), self.last(x)], 1) + self.places


def t2t_vit(width: int, depth: int, heads: int) -> nn.Module:
    """Return T2T-ViT with transformers over the small tokens, for 224 pixels."""
    blocks = [Block(width, Attention(width, heads), feed_forward(width, 3 * width)) for _ in range(depth)]
    return chain([_TokensToTokens(width), *blocks, nn.LayerNorm(width), _First(), nn.Linear(width, 1000)])


class _ClassAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.q, self.out = heads, nn.Linear(width, width), nn.Linear(width, width)
        self.k, self.v = nn.Linear(width, width), nn.Linear(width, width)
        self.norm, self.second, self.feed = nn.LayerNorm(width), nn.LayerNorm(width), feed_forward(width, 4 * width)

    def forward(self, mark: Tensor, x: Tensor) -> Tensor:
        y = self.norm(torch.cat([mark, x], 1))
        inputs = (self.q(y[:, :1]), self.k(y), self.v(y))
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in inputs)
        mark = mark + self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return mark + self.feed(self.second(mark))


class _Cait(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, size: int) -> None:
        super().__init__()
        self.patches = _Patches(width, size, 16, marks=0)
        parts = ((_TalkingHeads(width, heads), feed_forward(width, 4 * width)) for _ in range(depth))
        self.blocks = chain(Block(width, *both, scaled=True) for both in parts)
        self.mark = nn.Parameter(torch.zeros(1, 1, width))
        self.last = nn.ModuleList(_ClassAttention(width, heads) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.patches(x))
        mark = self.mark.expand(len(x), -1, -1)
        for block in self.last:
            mark = block(mark, x)
        return self.head(self.norm(mark[:, 0]))


def cait(width: int, depth: int, heads: int, size: int) -> nn.Module:
    """Return CaiT: talking heads, and two layers of attention for the class alone."""
    return _Cait(width, depth, heads, size)


class _WindowAttention(nn.Module):
    """Attention within windows; what does not fill a window is padded. Shifted ones are masked, which costs no MACs."""

    def __init__(self, width: int, heads: int, window: int, *, cosine: bool = False) -> None:
        super().__init__()
        self.heads, self.window, self.cosine = heads, window, cosine
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        if cosine:  # the bias of a place comes out of a small network over the places
            self.places = nn.Parameter(torch.zeros((2 * window - 1) ** 2, 2))
            self.bias = chain([nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, heads, bias=False)])
        else:
            self.places = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, _ = x.shape
        w = self.window = min(self.window, height, width)
        x = F.pad(x, (0, 0, 0, -width % w, 0, -height % w))
        rows, columns = x.shape[1] // w, x.shape[2] // w
        x = x.unflatten(1, (rows, w)).unflatten(3, (columns, w)).transpose(2, 3).flatten(0, 2).flatten(1, 2)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.cosine:
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        table = self.bias(self.places) if self.cosine else self.places
        bias = table[: w * w, :].T[:, None].expand(-1, w * w, -1)  # the pairs' places, by shape: a lookup
        weights = (q @ k.transpose(-2, -1) + bias).softmax(-1)
        x = self.out((weights @ v).transpose(1, 2).flatten(2)).unflatten(1, (w, w))
        x = x.unflatten(0, (n, rows, columns)).transpose(2, 3).flatten(1, 2).flatten(2, 3)
        return x[:, :height, :width]


class _After(nn.Module):
    """Attention and feed-forward, each normalised after: Swin V2."""

    def __init__(self, width: int, attention: nn.Module, forward: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(chain([part, nn.LayerNorm(width)]) for part in (attention, forward))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = x + part(x)
        return x


class _Merge(nn.Module):
    """Four neighbours become one position of twice the width."""

    def __init__(self, width: int, *, after: bool) -> None:
        super().__init__()
        self.before = nn.Identity() if after else nn.LayerNorm(4 * width)
        self.narrow = nn.Linear(4 * width, 2 * width, bias=False)
        self.after = nn.LayerNorm(2 * width) if after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).permute(0, 1, 3, 2, 4, 5).flatten(3)
        return self.after(self.narrow(self.before(x)))


class _Last(nn.Module):
    """Channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2))


def swin(width: int, depths: Sequence[int], heads: Sequence[int], window: int, *, second: bool = False) -> nn.Module:
    """Return Swin, or its second version: cosine attention, normalisation after."""
    layers: list[nn.Module] = [conv(3, width, 4, 4, 0, bias=True), _Last(), nn.LayerNorm(width)]
    for stage, (depth, number) in enumerate(zip(depths, heads, strict=True)):
        if stage:
            layers.append(_Merge(width, after=second))
            width *= 2
        for _ in range(depth):
            attention = _WindowAttention(width, number, window, cosine=second)
            layers.append((_After if second else Block)(width, attention, feed_forward(width, 4 * width)))
    return chain([*layers, nn.LayerNorm(width), _Mean(), nn.Linear(width, 1000)])


class _Inverted(nn.Module):
    """CoAtNet's inverted bottleneck, normalised before: a stride is that of its first convolution, or the depthwise.

    Its gate squeezes to a quarter of the block's width, as in the code of the same authors' MaxViT (google-research):
    with a quarter of the inner width, -4, -5 and -7 would have 2 to 4 % more parameters than are published.
    """

    def __init__(self, ins: int, outs: int, stride: int, *, depthwise_stride: bool = False) -> None:
        super().__init__()
        inner = 4 * outs
        first, second = (1, stride) if depthwise_stride else (stride, 1)
        self.path = chain([nn.BatchNorm2d(ins), unit(ins, inner, 1, first, act=nn.GELU)])
        self.path.append(unit(inner, inner, 3, second, groups=inner, act=nn.GELU))
        self.path.extend([SqueezeExcite(inner, outs // 4, nn.SiLU), conv(inner, outs, bias=True)])
        pool = [nn.AvgPool2d(2)] if stride > 1 else []
        self.short = chain([*pool, *([conv(ins, outs, bias=True)] if ins != outs else [])])

    def forward(self, x: Tensor) -> Tensor:
        return self.short(x) + self.path(x)


class _Relative(nn.Module):
    """CoAtNet's attention: heads of 32, over the positions of a feature map, halved before where there is a stride."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.heads = outs // 32
        self.pool = nn.AvgPool2d(2) if stride > 1 else nn.Identity()
        self.short = conv(ins, outs, bias=True) if ins != outs else nn.Identity()
        self.norm, self.second = nn.LayerNorm(ins), nn.LayerNorm(outs)
        self.qkv, self.out, self.feed = nn.Linear(ins, 3 * outs), nn.Linear(outs, outs), feed_forward(outs, 4 * outs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(x)
        rows = self.norm(y.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(rows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        short = self.short(y)
        x = short.flatten(2).transpose(1, 2) + self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        return (x + self.feed(self.second(x))).transpose(1, 2).unflatten(2, short.shape[2:])


def coatnet(
    widths: Sequence[int],
    depths: Sequence[int],
    stem: Sequence[int],
    *,
    depthwise_stride: bool = False,
) -> nn.Module:
    """Return CoAtNet: two stages of inverted bottlenecks, or three, and two of attention.

    The third of three is as large as the stage of attention after it. Bottlenecks halve the feature map with their
    first convolution, as the publication's fifth equation says, or, with `depthwise_stride`, where others do.
    """
    layers: list[nn.Module] = [unit(3, stem[0], 3, 2, act=nn.GELU), conv(stem[0], stem[1], 3, bias=True)]
    ins, attention = stem[1], len(widths) - 2
    for stage, (outs, depth) in enumerate(zip(widths, depths, strict=True)):
        for index in range(depth):
            stride = 1 if index or (attention == 3 and stage == 3) else 2
            if stage < attention:
                layers.append(_Inverted(ins, outs, stride, depthwise_stride=depthwise_stride))
            else:
                layers.append(_Relative(ins, outs, stride))
            ins = outs
    return chain([*layers, head(ins)])


class _AllToAll(nn.Module):
    """BoTNet's attention over a feature map: 4 heads, and the places of rows and of columns in the scores."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.qkv = conv(width, 3 * width)
        self.rows, self.columns = (nn.Parameter(torch.zeros(2 * size - 1, width // 4)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(1, (3, 4, -1)).flatten(4).transpose(-2, -1).unbind(1)
        size = x.shape[2]
        down, across = (q @ places.T for places in (self.rows, self.columns))
        # each pair of positions looks its two places up: by shape, the first of them
        places = down[..., :size, None] + across[..., None, :size]
        weights = (q @ k.transpose(-2, -1) + places.flatten(3)).softmax(-1)
        return (weights @ v).transpose(-2, -1).flatten(1, 2).unflatten(2, (size, size))


def botnet(depths: Sequence[int], size: int) -> nn.Module:
    """Return BoTNet-S1: ResNet with gates; the last stage has no stride, and attention for 3 x 3 convolutions."""
    layers = [unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    ins = 64
    for stage, depth in enumerate(depths):
        inner, outs = 64 * 2**stage, 256 * 2**stage
        for block in range(depth):
            stride = 2 if stage in (1, 2) and not block else 1
            path = chain([unit(ins, inner, act=nn.SiLU)])
            if stage == 3:
                path.extend([_AllToAll(inner, size // 16), nn.BatchNorm2d(inner), nn.SiLU()])
            else:
                path.append(unit(inner, inner, 3, stride, act=nn.SiLU))
            path.extend([unit(inner, outs, act=None), SqueezeExcite(outs, outs // 16)])
            short = nn.Identity() if block else unit(ins, outs, 1, stride, act=None)
            layers.append(Sum(path, short, after=nn.SiLU()))
            ins = outs
    return chain([*layers, head(ins)])
