# Convolutional networks from AlexNet to DPN, as their publications describe them. Our own definitions.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Convolutional networks: AlexNet, ZFNet, VGG, ResNet and its kin, DenseNet, Xception, DPN, BiT, ResNeSt, NFNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from macsim.trends.architectures.parts import SqueezeExcite, Sum, chain, conv, head, separable, unit


def alexnet() -> nn.Module:
    """Return AlexNet of one tower."""
    wide = [conv(3, 64, 11, 4, 2, bias=True), nn.ReLU(), nn.MaxPool2d(3, 2)]
    wide += [conv(64, 192, 5, bias=True), nn.ReLU(), nn.MaxPool2d(3, 2)]
    for ins, outs in ((192, 384), (384, 256), (256, 256)):
        wide += [conv(ins, outs, 3, bias=True), nn.ReLU()]
    return chain([*wide, nn.MaxPool2d(3, 2), nn.Flatten(), *_three_linear(256 * 6 * 6)])


def _three_linear(ins: int) -> list[nn.Module]:
    wide = [nn.Linear(ins, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return [*wide, nn.Linear(4096, 1000)]


def zfnet(widths: Sequence[int] = (384, 384, 256)) -> nn.Module:
    """Return ZFNet; wider, as its publication has it too, with (512, 1024, 512)."""
    layers = [conv(3, 96, 7, 2, 1, bias=True), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
    layers += [conv(96, 256, 5, 2, 0, bias=True), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
    for ins, outs in zip((256, *widths[:2]), widths, strict=True):
        layers += [conv(ins, outs, 3, bias=True), nn.ReLU()]
    return chain([*layers, nn.MaxPool2d(3, 2), nn.Flatten(), *_three_linear(widths[-1] * 6 * 6)])


def vgg(depths: Sequence[int]) -> nn.Module:
    """Return VGG: five stages of 3 x 3 convolutions."""
    layers: list[nn.Module] = []
    ins = 3
    for depth, outs in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            layers += [conv(ins, outs, 3, bias=True), nn.ReLU()]
            ins = outs
        layers.append(nn.MaxPool2d(2))
    return chain([*layers, nn.Flatten(), *_three_linear(512 * 7 * 7)])


def resnet(depths: Sequence[int], groups: int = 1, width: int = 64, *, stride_first: bool = False) -> nn.Module:
    """Return ResNet of bottlenecks, or ResNeXt with groups; `width` is that of a group at the first stage.

    `stride_first` puts the stride on the first convolution of a bottleneck, as the first publication did.
    """
    layers = [unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    ins = 64
    for stage, depth in enumerate(depths):
        inner, outs = groups * width * 2**stage, 256 * 2**stage
        for block in range(depth):
            stride = 2 if stage and not block else 1
            first, second = (stride, 1) if stride_first else (1, stride)
            path = chain([unit(ins, inner, 1, first), unit(inner, inner, 3, second, groups=groups)])
            path.append(unit(inner, outs, act=None))
            short = nn.Identity() if block else unit(ins, outs, 1, stride, act=None)
            layers.append(Sum(path, short, after=nn.ReLU()))
            ins = outs
    return chain([*layers, head(ins)])


def senet154() -> nn.Module:
    """Return SENet-154: ResNeXt-152 with three convolutions at the start, halved first widths, and gates."""
    layers = [unit(3, 64, 3, 2), unit(64, 64, 3), unit(64, 128, 3), nn.MaxPool2d(3, 2, ceil_mode=True)]
    ins = 128
    for stage, depth in enumerate((3, 8, 36, 3)):
        first, outs = 128 * 2**stage, 256 * 2**stage
        for block in range(depth):
            stride = 2 if stage and not block else 1
            path = chain([unit(ins, first), unit(first, outs, 3, stride, groups=64), unit(outs, outs, act=None)])
            path.append(SqueezeExcite(outs, outs // 16))
            short = nn.Identity() if block else unit(ins, outs, 3 if stage else 1, stride, act=None)
            layers.append(Sum(path, short, after=nn.ReLU()))
            ins = outs
    return chain([*layers, head(ins)])


def _before(ins: int, outs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return normalisation and activation before the convolution."""
    return nn.Sequential(nn.BatchNorm2d(ins), nn.ReLU(), conv(ins, outs, kernel, stride, groups=groups))


class _Dense(nn.Module):
    def __init__(self, ins: int, growth: int) -> None:
        super().__init__()
        self.path = chain([_before(ins, 4 * growth), _before(4 * growth, growth, 3)])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.path(x)], 1)


def densenet(depths: Sequence[int], growth: int = 32, width: int = 64) -> nn.Module:
    """Return DenseNet: every layer sees all before it."""
    layers: list[nn.Module] = [unit(3, width, 7, 2), nn.MaxPool2d(3, 2, 1)]
    for stage, depth in enumerate(depths):
        for _ in range(depth):
            layers.append(_Dense(width, growth))
            width += growth
        if stage < len(depths) - 1:
            layers += [_before(width, width // 2), nn.AvgPool2d(2)]
            width //= 2
    return chain([*layers, nn.BatchNorm2d(width), nn.ReLU(), head(width)])


def xception() -> nn.Module:
    """Return Xception, for 299 pixels."""

    def block(ins: int, widths: Sequence[int], *, stride: int = 1, relu_first: bool = True) -> nn.Module:
        path: list[nn.Module] = []
        for index, (before, after) in enumerate(zip((ins, *widths[:-1]), widths, strict=True)):
            path += [nn.ReLU()] if index or relu_first else []
            path += [separable(before, after, 3), nn.BatchNorm2d(after)]
        if stride == 1:
            return Sum(chain(path), nn.Identity())
        return Sum(chain([*path, nn.MaxPool2d(3, 2, 1)]), unit(ins, widths[-1], 1, stride, act=None))

    layers = [unit(3, 32, 3, 2, 0), unit(32, 64, 3, padding=0), block(64, (128, 128), stride=2, relu_first=False)]
    layers += [block(128, (256, 256), stride=2), block(256, (728, 728), stride=2)]
    layers += [block(728, (728, 728, 728)) for _ in range(8)] + [block(728, (728, 1024), stride=2)]
    for ins, outs in ((1024, 1536), (1536, 2048)):
        layers += [separable(ins, outs, 3), nn.BatchNorm2d(outs), nn.ReLU()]
    return chain([*layers, head(2048)])


class _DualPath(nn.Module):
    """Some channels are added, as in ResNet, others are put beside, as in DenseNet."""

    def __init__(self, ins: int, inner: int, added: int, grown: int, groups: int, stride: int, *, first: bool) -> None:
        super().__init__()
        self.added = added
        self.short = _before(ins, added + 2 * grown, 1, stride) if first else None
        self.path = chain(
            [_before(ins, inner), _before(inner, inner, 3, stride, groups), _before(inner, added + grown)]
        )

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.short is None else self.short(x)
        new = self.path(x)
        total = short[:, : self.added] + new[:, : self.added]
        return torch.cat([total, short[:, self.added :], new[:, self.added :]], 1)


def dpn(start: int, inner: int, groups: int, depths: Sequence[int], growth: Sequence[int]) -> nn.Module:
    """Return a dual path network."""
    layers: list[nn.Module] = [unit(3, start, 7, 2), nn.MaxPool2d(3, 2, 1)]
    ins = start
    for stage, (depth, grown) in enumerate(zip(depths, growth, strict=True)):
        added = 256 * 2**stage
        for block in range(depth):
            stride = 2 if stage and not block else 1
            layers.append(_DualPath(ins, inner * 2**stage, added, grown, groups, stride, first=not block))
            ins = ins + grown if block else added + 3 * grown
    return chain([*layers, nn.BatchNorm2d(ins), nn.ReLU(), head(ins)])


def bit(depths: Sequence[int], factor: int) -> nn.Module:
    """Return Big Transfer's ResNet V2: group normalisation before each convolution, widened."""

    def before(ins: int, outs: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(nn.GroupNorm(32, ins), nn.ReLU(), conv(ins, outs, kernel, stride))

    class Block(nn.Module):
        def __init__(self, ins: int, inner: int, outs: int, stride: int, *, first: bool) -> None:
            super().__init__()
            self.norm = nn.Sequential(nn.GroupNorm(32, ins), nn.ReLU())
            self.path = chain([conv(ins, inner), before(inner, inner, 3, stride), before(inner, outs)])
            self.short = conv(ins, outs, 1, stride) if first else None

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(x)
            return self.path(y) + (x if self.short is None else self.short(y))

    layers: list[nn.Module] = [conv(3, 64 * factor, 7, 2), nn.MaxPool2d(3, 2, 1)]
    ins = 64 * factor
    for stage, depth in enumerate(depths):
        outs = 256 * factor * 2**stage
        for block in range(depth):
            layers.append(Block(ins, outs // 4, outs, 2 if stage and not block else 1, first=not block))
            ins = outs
    return chain([*layers, nn.GroupNorm(32, ins), nn.ReLU(), head(ins)])


class _SplitAttention(nn.Module):
    def __init__(self, width: int, radix: int = 2) -> None:
        super().__init__()
        self.radix = radix
        self.conv = unit(width, width * radix, 3, groups=radix)
        squeezed = max(width * radix // 4, 32)
        self.gate = chain([conv(width, squeezed, bias=True), nn.BatchNorm2d(squeezed), nn.ReLU()])
        self.gate.append(conv(squeezed, width * radix, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        splits = self.conv(x).unflatten(1, (self.radix, -1))
        gates = self.gate(splits.sum(1).mean((2, 3), keepdim=True)).unflatten(1, (self.radix, -1)).softmax(1)
        return (splits * gates).sum(1)


def resnest(depths: Sequence[int], start: int) -> nn.Module:
    """Return ResNeSt: radix 2, cardinality 1, pooling in place of strides."""
    layers = [unit(3, start, 3, 2), unit(start, start, 3), unit(start, 2 * start, 3), nn.MaxPool2d(3, 2, 1)]
    ins = 2 * start
    for stage, depth in enumerate(depths):
        inner, outs = 64 * 2**stage, 256 * 2**stage
        for block in range(depth):
            down = stage > 0 and not block
            path = chain([unit(ins, inner), _SplitAttention(inner)])
            path.extend([nn.AvgPool2d(3, 2, 1)] if down else [])
            path.append(unit(inner, outs, act=None))
            pool = [nn.AvgPool2d(2, ceil_mode=True)] if down else []
            short = nn.Identity() if block else chain([*pool, unit(ins, outs, act=None)])
            layers.append(Sum(path, short, after=nn.ReLU()))
            ins = outs
    return chain([*layers, head(ins)])


class _NormFree(nn.Module):
    def __init__(self, ins: int, outs: int, stride: int, *, first: bool) -> None:
        super().__init__()
        inner, self.first = outs // 2, first
        groups = inner // 128
        wide = [conv(ins, inner, bias=True), nn.GELU(), conv(inner, inner, 3, stride, groups=groups, bias=True)]
        wide += [nn.GELU(), conv(inner, inner, 3, groups=groups, bias=True), nn.GELU(), conv(inner, outs, bias=True)]
        self.path = chain([*wide, SqueezeExcite(outs, outs // 2)])
        pool = [nn.AvgPool2d(2, 2, ceil_mode=True)] if stride > 1 else []
        self.short = chain([*pool, conv(ins, outs, bias=True)]) if first else None

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.gelu(x)
        return self.path(y) * 0.2 + (x if self.short is None else self.short(y))


def nfnet(times: int, widths: Sequence[int] = (256, 512, 1536, 1536)) -> nn.Module:
    """Return NFNet-F(times - 1), or, with wider `widths`, NFNet-F+: no normalisation, groups of 128 channels."""
    ins = widths[0] // 2
    layers = [conv(3, 16, 3, 2, bias=True), nn.GELU(), conv(16, 32, 3, bias=True), nn.GELU()]
    layers += [conv(32, 64, 3, bias=True), nn.GELU(), conv(64, ins, 3, 2, bias=True)]
    for stage, (depth, outs) in enumerate(zip((1, 2, 6, 3), widths, strict=True)):
        for block in range(depth * times):
            layers.append(_NormFree(ins, outs, 2 if stage and not block else 1, first=not block))
            ins = outs
    return chain([*layers, conv(ins, 2 * ins, bias=True), nn.GELU(), head(2 * ins)])


class _ConvNeXtBlock(nn.Module):
    def __init__(self, width: int, *, response: bool) -> None:
        super().__init__()
        self.depthwise, self.norm = conv(width, width, 7, groups=width, bias=True), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = None if response else nn.Parameter(torch.ones(width))
        self.gamma = nn.Parameter(torch.ones(4 * width)) if response else None
        self.beta = nn.Parameter(torch.zeros(4 * width)) if response else None

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.gelu(self.up(self.norm(self.depthwise(x).permute(0, 2, 3, 1))))
        if self.gamma is not None:
            norm = y.norm(dim=(1, 2), keepdim=True)
            y = y + self.gamma * (y * (norm / (norm.mean(-1, keepdim=True) + 1e-6))) + self.beta
        y = self.down(y)
        return x + (y if self.scale is None else y * self.scale).permute(0, 3, 1, 2)


def convnext(depths: Sequence[int], widths: Sequence[int], *, response: bool = False) -> nn.Module:
    """Return ConvNeXt, or ConvNeXt V2 with `response` normalisation."""
    layers: list[nn.Module] = [conv(3, widths[0], 4, 4, 0, bias=True), nn.GroupNorm(1, widths[0])]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if stage:
            before = widths[stage - 1]
            layers += [nn.GroupNorm(1, before), conv(before, width, 2, 2, 0, bias=True)]
        layers += [_ConvNeXtBlock(width, response=response) for _ in range(depth)]
    return chain(
        [*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(widths[-1]), nn.Linear(widths[-1], 1000)]
    )
