# Networks for small devices, and those grown from them. Our own definitions.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Networks for small devices: MobileNet, ShuffleNet, MnasNet, EfficientNet V1 and V2."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from macsim.trends.architectures.parts import SqueezeExcite, Sum, chain, divisible, head, unit


def mobilenet_v1() -> nn.Module:
    """Return MobileNet: depthwise and pointwise convolutions, each normalised."""
    layers = [unit(3, 32, 3, 2)]
    ins = 32
    widths = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
    for outs, stride in widths:
        layers += [unit(ins, ins, 3, stride, groups=ins), unit(ins, outs)]
        ins = outs
    return chain([*layers, head(ins)])


def inverted(
    ins: int,
    outs: int,
    kernel: int,
    stride: int,
    expand: int,
    gate: float = 0.0,
    act: Callable[[], nn.Module] = nn.ReLU6,
    *,
    fused: bool = False,
) -> nn.Module:
    """Return an inverted bottleneck: expand, depthwise, gate by a part of the input's width, project.

    A fused one expands with a full convolution and has no depthwise one.
    """
    inner = ins * expand
    path = chain([])
    if fused and expand == 1:
        path.append(unit(ins, outs, kernel, stride, act=act))
    elif fused:
        path.extend([unit(ins, inner, kernel, stride, act=act), unit(inner, outs, act=None)])
    else:
        path.extend([unit(ins, inner, act=act)] if expand > 1 else [])
        path.append(unit(inner, inner, kernel, stride, groups=inner, act=act))
        path.extend([SqueezeExcite(inner, max(1, int(ins * gate)), act)] if gate else [])
        path.append(unit(inner, outs, act=None))
    return Sum(path, nn.Identity()) if stride == 1 and ins == outs else path


def mobilenet_v2(times: float = 1.0) -> nn.Module:
    """Return MobileNet V2, its widths multiplied."""
    ins = divisible(32 * times)
    layers = [unit(3, ins, 3, 2, act=nn.ReLU6)]
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expand, width, depth, stride in stages:
        outs = divisible(width * times)
        for index in range(depth):
            layers.append(inverted(ins, outs, 3, 1 if index else stride, expand))
            ins = outs
    last = divisible(1280 * max(1.0, times))
    return chain([*layers, unit(ins, last, act=nn.ReLU6), head(last)])


class _Shuffle(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


class _ShuffleUnit(nn.Module):
    """ShuffleNet's unit: grouped pointwise convolutions, with channels shuffled between."""

    def __init__(self, ins: int, outs: int, groups: int, stride: int, *, grouped: bool) -> None:
        super().__init__()
        self.stride, inner = stride, outs // 4
        new = outs - ins if stride > 1 else outs
        self.path = chain([unit(ins, inner, groups=groups if grouped else 1), _Shuffle(groups)])
        self.path.append(unit(inner, inner, 3, stride, groups=inner, act=None))
        self.path.append(unit(inner, new, groups=groups, act=None))
        self.pool = nn.AvgPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.path(x)
        return torch.relu(torch.cat([self.pool(x), y], 1) if self.stride > 1 else x + y)


def shufflenet_v1(widths: Sequence[int], groups: int) -> nn.Module:
    """Return ShuffleNet."""
    layers: list[nn.Module] = [unit(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)]
    ins = 24
    for stage, (outs, depth) in enumerate(zip(widths, (4, 8, 4), strict=True)):
        for index in range(depth):
            layers.append(_ShuffleUnit(ins, outs, groups, 1 if index else 2, grouped=stage > 0 or index > 0))
            ins = outs
    return chain([*layers, head(ins)])


class _SplitUnit(nn.Module):
    """ShuffleNet V2's unit: half of the channels pass."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        half = outs // 2
        self.half = None if stride > 1 else half
        start = ins if stride > 1 else half
        self.path = chain([unit(start, half), unit(half, half, 3, stride, groups=half, act=None), unit(half, half)])
        self.short = chain([unit(ins, ins, 3, stride, groups=ins, act=None), unit(ins, half)]) if stride > 1 else None
        self.shuffle = _Shuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        if self.short is not None:
            return self.shuffle(torch.cat([self.short(x), self.path(x)], 1))
        return self.shuffle(torch.cat([x[:, : self.half], self.path(x[:, self.half :])], 1))


def shufflenet_v2(widths: Sequence[int] = (116, 232, 464), last: int = 1024) -> nn.Module:
    """Return ShuffleNet V2."""
    layers: list[nn.Module] = [unit(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)]
    ins = 24
    for outs, depth in zip(widths, (4, 8, 4), strict=True):
        for index in range(depth):
            layers.append(_SplitUnit(ins, outs, 1 if index else 2))
            ins = outs
    return chain([*layers, unit(ins, last), head(last)])


def mnasnet_a1() -> nn.Module:
    """Return MnasNet-A1."""
    layers = [unit(3, 32, 3, 2), unit(32, 32, 3, groups=32), unit(32, 16, act=None)]
    ins = 16
    stages = ((6, 24, 2, 3, 2, 0.0), (3, 40, 3, 5, 2, 0.25), (6, 80, 4, 3, 2, 0.0), (6, 112, 2, 3, 1, 0.25))
    for expand, outs, depth, kernel, stride, gate in (*stages, (6, 160, 3, 5, 2, 0.25), (6, 320, 1, 3, 1, 0.0)):
        for index in range(depth):
            layers.append(inverted(ins, outs, kernel, 1 if index else stride, expand, gate, nn.ReLU))
            ins = outs
    return chain([*layers, unit(ins, 1280), head(1280)])


def efficientnet(wider: float = 1.0, deeper: float = 1.0) -> nn.Module:
    """Return EfficientNet, its widths and depths multiplied."""
    ins = divisible(32 * wider)
    layers = [unit(3, ins, 3, 2, act=nn.SiLU)]
    stages = ((1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2))
    for expand, width, depth, kernel, stride in (*stages, (6, 112, 3, 5, 1), (6, 192, 4, 5, 2), (6, 320, 1, 3, 1)):
        outs = divisible(width * wider)
        for index in range(math.ceil(depth * deeper)):
            layers.append(inverted(ins, outs, kernel, 1 if index else stride, expand, 0.25, nn.SiLU))
            ins = outs
    last = divisible(1280 * wider)
    return chain([*layers, unit(ins, last, act=nn.SiLU), head(last)])


# Depth, width and expansion of the three fused and the three or four gated stages.
EFFICIENTNET_V2 = {
    "s": ((2, 24, 1), (4, 48, 4), (4, 64, 4), (6, 128, 4), (9, 160, 6), (15, 272, 6)),
    "m": ((3, 24, 1), (5, 48, 4), (5, 80, 4), (7, 160, 4), (14, 176, 6), (18, 304, 6), (5, 512, 6)),
    "l": ((4, 32, 1), (7, 64, 4), (7, 96, 4), (10, 192, 4), (19, 224, 6), (25, 384, 6), (7, 640, 6)),
    "xl": ((4, 32, 1), (8, 64, 4), (8, 96, 4), (16, 192, 4), (24, 256, 6), (32, 512, 6), (8, 640, 6)),
}


def efficientnet_v2(size: str) -> nn.Module:
    """Return EfficientNet V2 of size s, m, l or xl.

    Size s is that of the first publication; the network that its authors released later is narrower at the end: 256
    and 1280 channels for 272 and 1792.
    """
    stages = EFFICIENTNET_V2[size]
    ins = stages[0][1]
    layers = [unit(3, ins, 3, 2, act=nn.SiLU)]
    for stage, ((depth, outs, expand), stride) in enumerate(zip(stages, (1, 2, 2, 2, 1, 2, 1), strict=False)):
        for index in range(depth):
            step, gate, fused = 1 if index else stride, 0.25 if stage > 2 else 0.0, stage < 3
            layers.append(inverted(ins, outs, 3, step, expand, gate, nn.SiLU, fused=fused))
            ins = outs
    last = 1792 if size == "s" else 1280
    return chain([*layers, unit(ins, last, act=nn.SiLU), head(last)])
