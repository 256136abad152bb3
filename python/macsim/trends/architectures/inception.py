# Networks of parallel paths: Inception, and the cells that searches found. Our own definitions.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Networks of parallel paths: Inception V1 to V4, Inception-ResNet V2, NASNet-A, PNASNet-5."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from macsim.trends.architectures.parts import Branches, chain, conv, head, unit


def _avg(ins: int, outs: int) -> nn.Sequential:
    return chain([nn.AvgPool2d(3, 1, 1), unit(ins, outs)])


def _path(ins: int, *steps: tuple[object, ...]) -> nn.Sequential:
    """Return units one after the other: (width, kernel, stride, padding) each."""
    layers = []
    for outs, *rest in steps:
        layers.append(unit(ins, outs, *rest))  # type: ignore[arg-type]
        ins = outs  # type: ignore[assignment]
    return chain(layers)


def inception_v1() -> nn.Module:
    """Return GoogLeNet, without its side classifiers."""

    def block(ins: int, *n: int) -> nn.Module:
        pool = chain([nn.MaxPool2d(3, 1, 1), unit(ins, n[5])])
        return Branches(unit(ins, n[0]), _path(ins, (n[1],), (n[2], 3)), _path(ins, (n[3],), (n[4], 5)), pool)

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    layers = [unit(3, 64, 7, 2), pool(), unit(64, 64), unit(64, 192, 3), pool()]
    layers += [block(192, 64, 96, 128, 16, 32, 32), block(256, 128, 128, 192, 32, 96, 64), pool()]
    layers += [block(480, 192, 96, 208, 16, 48, 64), block(512, 160, 112, 224, 24, 64, 64)]
    layers += [block(512, 128, 128, 256, 24, 64, 64), block(512, 112, 144, 288, 32, 64, 64)]
    layers += [block(528, 256, 160, 320, 32, 128, 128), pool(), block(832, 256, 160, 320, 32, 128, 128)]
    return chain([*layers, block(832, 384, 192, 384, 48, 128, 128), head(1024)])


def inception_v2() -> nn.Module:
    """Return BN-Inception."""

    def block(ins: int, a: int, b: Sequence[int], c: Sequence[int], pooled: int, *, most: bool = False) -> nn.Module:
        pool = chain([nn.MaxPool2d(3, 1, 1), unit(ins, pooled)]) if most else _avg(ins, pooled)
        return Branches(unit(ins, a), _path(ins, (b[0],), (b[1], 3)), _path(ins, (c[0],), (c[1], 3), (c[1], 3)), pool)

    def down(ins: int, b: Sequence[int], c: Sequence[int]) -> nn.Module:
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        deep = _path(ins, (c[0],), (c[1], 3), (c[1], 3, 2))
        return Branches(_path(ins, (b[0],), (b[1], 3, 2)), deep, pool)

    layers = [unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, ceil_mode=True), unit(64, 64), unit(64, 192, 3)]
    layers += [nn.MaxPool2d(3, 2, ceil_mode=True), block(192, 64, (64, 64), (64, 96), 32)]
    layers += [block(256, 64, (64, 96), (64, 96), 64), down(320, (128, 160), (64, 96))]
    layers += [block(576, 224, (64, 96), (96, 128), 128), block(576, 192, (96, 128), (96, 128), 128)]
    layers += [block(576, 160, (128, 160), (128, 160), 128), block(608, 96, (128, 192), (160, 192), 128)]
    layers += [down(608, (128, 192), (192, 256)), block(1056, 352, (192, 320), (160, 224), 128)]
    return chain([*layers, block(1024, 352, (192, 320), (192, 224), 128, most=True), head(1024)])


def _wide(ins: int, *shared: tuple[object, ...], width: int) -> nn.Module:
    """Return a path that ends in a 1 x 3 and a 3 x 1 convolution, side by side."""
    path = _path(ins, *shared)
    last: int = shared[-1][0]  # type: ignore[assignment]
    return chain([path, Branches(unit(last, width, (1, 3)), unit(last, width, (3, 1)))])


def inception_v3() -> nn.Module:
    """Return Inception V3, without its side classifier, for 299 pixels."""

    def a(ins: int, pooled: int) -> nn.Module:
        five, three = _path(ins, (48,), (64, 5)), _path(ins, (64,), (96, 3), (96, 3))
        return Branches(unit(ins, 64), five, three, _avg(ins, pooled))

    def c(ins: int, w: int) -> nn.Module:
        one = _path(ins, (w,), (w, (1, 7)), (192, (7, 1)))
        two = _path(ins, (w,), (w, (7, 1)), (w, (1, 7)), (w, (7, 1)), (192, (1, 7)))
        return Branches(unit(ins, 192), one, two, _avg(ins, 192))

    def e(ins: int) -> nn.Module:
        one, two = _wide(ins, (384,), width=384), _wide(ins, (448,), (384, 3), width=384)
        return Branches(unit(ins, 320), one, two, _avg(ins, 192))

    b = Branches(unit(288, 384, 3, 2, 0), _path(288, (64,), (96, 3), (96, 3, 2, 0)), nn.MaxPool2d(3, 2))
    d = [_path(768, (192,), (320, 3, 2, 0)), _path(768, (192,), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, 0))]
    layers = [unit(3, 32, 3, 2, 0), unit(32, 32, 3, 1, 0), unit(32, 64, 3), nn.MaxPool2d(3, 2)]
    layers += [unit(64, 80), unit(80, 192, 3, 1, 0), nn.MaxPool2d(3, 2), a(192, 32), a(256, 64), a(288, 64), b]
    layers += [c(768, 128), c(768, 160), c(768, 160), c(768, 192), Branches(*d, nn.MaxPool2d(3, 2))]
    return chain([*layers, e(1280), e(2048), head(2048)])


def _start() -> list[nn.Module]:
    """Return how Inception V4 starts."""
    return [
        _path(3, (32, 3, 2, 0), (32, 3, 1, 0), (64, 3)),
        Branches(nn.MaxPool2d(3, 2), unit(64, 96, 3, 2, 0)),
        Branches(
            _path(160, (64,), (96, 3, 1, 0)),
            _path(160, (64,), (64, (1, 7)), (64, (7, 1)), (96, 3, 1, 0)),
        ),
        Branches(unit(192, 192, 3, 2, 0), nn.MaxPool2d(3, 2)),
    ]


def inception_v4() -> nn.Module:
    """Return Inception V4, for 299 pixels."""

    def a() -> nn.Module:
        three, deep = _path(384, (64,), (96, 3)), _path(384, (64,), (96, 3), (96, 3))
        return Branches(unit(384, 96), three, deep, _avg(384, 96))

    def b() -> nn.Module:
        one = _path(1024, (192,), (224, (1, 7)), (256, (7, 1)))
        two = _path(1024, (192,), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7)))
        return Branches(unit(1024, 384), one, two, _avg(1024, 128))

    def c() -> nn.Module:
        one = _wide(1536, (384,), width=256)
        two = _wide(1536, (384,), (448, (3, 1)), (512, (1, 3)), width=256)
        return Branches(unit(1536, 256), one, two, _avg(1536, 256))

    first = Branches(unit(384, 384, 3, 2, 0), _path(384, (192,), (224, 3), (256, 3, 2, 0)), nn.MaxPool2d(3, 2))
    second = Branches(
        _path(1024, (192,), (192, 3, 2, 0)),
        _path(1024, (256,), (256, (1, 7)), (320, (7, 1)), (320, 3, 2, 0)),
        nn.MaxPool2d(3, 2),
    )
    blocks = [*(a() for _ in range(4)), first, *(b() for _ in range(7)), second, *(c() for _ in range(3))]
    return chain([*_start(), *blocks, head(1536)])


class _Scaled(nn.Module):
    """What parallel paths give, brought back to the width, scaled and added."""

    def __init__(self, width: int, inner: int, *paths: nn.Module, act: bool = True) -> None:
        super().__init__()
        self.paths, self.back, self.act = Branches(*paths), conv(inner, width, bias=True), act

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.17 * self.back(self.paths(x))
        return F.relu(x) if self.act else x


def inception_resnet_v2() -> nn.Module:
    """Return Inception-ResNet V2, for 299 pixels."""

    def a() -> nn.Module:
        return _Scaled(320, 128, unit(320, 32), _path(320, (32,), (32, 3)), _path(320, (32,), (48, 3), (64, 3)))

    def b() -> nn.Module:
        return _Scaled(1088, 384, unit(1088, 192), _path(1088, (128,), (160, (1, 7)), (192, (7, 1))))

    def c(act: bool = True) -> nn.Module:
        return _Scaled(2080, 448, unit(2080, 192), _path(2080, (192,), (224, (1, 3)), (256, (3, 1))), act=act)

    five, three = _path(192, (48,), (64, 5)), _path(192, (64,), (96, 3), (96, 3))
    layers = [_path(3, (32, 3, 2, 0), (32, 3, 1, 0), (64, 3)), nn.MaxPool2d(3, 2), unit(64, 80)]
    layers += [unit(80, 192, 3, 1, 0), nn.MaxPool2d(3, 2), Branches(unit(192, 96), five, three, _avg(192, 64))]
    layers += [a() for _ in range(10)]
    deep = _path(320, (256,), (256, 3), (384, 3, 2, 0))
    layers += [Branches(unit(320, 384, 3, 2, 0), deep, nn.MaxPool2d(3, 2)), *(b() for _ in range(20))]
    last = [_path(1088, (256,), (384, 3, 2, 0)), _path(1088, (256,), (288, 3, 2, 0))]
    last += [_path(1088, (256,), (288, 3), (320, 3, 2, 0))]
    layers += [Branches(*last, nn.MaxPool2d(3, 2)), *(c() for _ in range(9)), c(False)]
    return chain([*layers, unit(2080, 1536), head(1536)])


# cells that searches found --------------------------------------------------------------------------------------------


def _sep(ins: int, outs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return two separable convolutions, each after an activation; the first has the stride."""
    layers: list[nn.Module] = []
    for before, after, step in ((ins, outs, stride), (outs, outs, 1)):
        layers += [nn.ReLU(), conv(before, before, kernel, step, groups=before), conv(before, after)]
        layers.append(nn.BatchNorm2d(after))
    return chain(layers)


def _fit(ins: int, outs: int) -> nn.Sequential:
    return chain([nn.ReLU(), conv(ins, outs), nn.BatchNorm2d(outs)])


class _Halved(nn.Module):
    """A feature map at half the size: two pointwise convolutions over shifted grids."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.one, self.two = conv(ins, outs // 2), conv(ins, outs - outs // 2)
        self.norm = nn.BatchNorm2d(outs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        other = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.one(x[:, :, ::2, ::2]), self.two(other[:, :, ::2, ::2])], 1))


class _Cell(nn.Module):
    """A cell sees the two results before it: `left` the older one, `right` the newer one."""

    def __init__(
        self, left: int, right: int, width: int, *, halve: bool, separables: dict[str, tuple[str, int]]
    ) -> None:
        super().__init__()
        self.left = _Halved(left, width) if halve else _fit(left, width)
        self.right = _fit(right, width)
        self.step = 1
        self.names = separables

    def make(self, width: int, step: int) -> None:
        self.step = step
        self.sep = nn.ModuleDict(
            {
                name: _sep(width, width, kernel, 1 if source == "inner" else step)
                for name, (source, kernel) in self.names.items()
            }
        )

    def most(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, self.step, 1)

    def average(self, x: Tensor, step: int = 0) -> Tensor:
        return F.avg_pool2d(x, 3, step or self.step, 1)


class _NasNormal(_Cell):
    def __init__(self, left: int, right: int, width: int, *, halve: bool = False) -> None:
        paths = {"r5": ("right", 5), "l3": ("left", 3), "l5": ("left", 5), "l3b": ("left", 3), "r3": ("right", 3)}
        super().__init__(left, right, width, halve=halve, separables=paths)
        self.make(width, 1)

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        left, right, sep = self.left(older), self.right(newer), self.sep
        pooled = self.average(left)
        parts = [left, sep["r5"](right) + sep["l3"](left), sep["l5"](left) + sep["l3b"](left)]
        parts += [self.average(right) + left, pooled + pooled, sep["r3"](right) + right]
        return torch.cat(parts, 1)


class _NasReduction(_Cell):
    def __init__(self, left: int, right: int, width: int, *, halve: bool = False) -> None:
        paths = {"r5": ("right", 5), "l7": ("left", 7), "l7b": ("left", 7), "l5": ("left", 5), "i3": ("inner", 3)}
        super().__init__(left, right, width, halve=halve, separables=paths)
        self.make(width, 2)

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        left, right, sep = self.left(older), self.right(newer), self.sep
        first = sep["r5"](right) + sep["l7"](left)
        second = self.most(right) + sep["l7b"](left)
        third = self.average(right) + sep["l5"](left)
        return torch.cat([second, third, self.average(first, 1) + second, sep["i3"](first) + self.most(right)], 1)


class _NasFirst(nn.Module):
    """The first reduction cell, which sees one input only: as it is on the left, fitted on the right."""

    def __init__(self, ins: int, width: int) -> None:
        super().__init__()
        self.right = _fit(ins, width)
        self.sep = nn.ModuleDict({"r5": _sep(width, width, 5, 2), "i3": _sep(width, width, 3)})
        for name, kernel in (("l7", 7), ("l7b", 7), ("l5", 5)):
            self.sep[name] = _sep(ins, width, kernel, 2)

    def forward(self, x: Tensor) -> Tensor:
        right, sep = self.right(x), self.sep
        first = sep["r5"](right) + sep["l7"](x)
        most = F.max_pool2d(right, 3, 2, 1)
        second = most + sep["l7b"](x)
        third = F.avg_pool2d(right, 3, 2, 1) + sep["l5"](x)
        return torch.cat([second, third, F.avg_pool2d(first, 3, 1, 1) + second, sep["i3"](first) + most], 1)


class _Cells(nn.Module):
    """A start, then cells, each of which sees the two before it."""

    def __init__(self, start: nn.Module, first: nn.Module, cells: list[nn.Module], width: int) -> None:
        super().__init__()
        self.start, self.first, self.cells = start, first, nn.ModuleList(cells)
        self.head = chain([nn.ReLU(), head(width)])

    def forward(self, x: Tensor) -> Tensor:
        older = self.start(x)
        newer = self.first(older)
        for cell in self.cells:
            older, newer = newer, cell(older, newer)
        return self.head(newer)


def nasnet(repeats: int, last: int, start: int) -> nn.Module:
    """Return NASNet-A with `repeats` normal cells a stage, `last` channels at the end and `start` at the beginning."""
    width = last // 24
    cells: list[nn.Module] = [_NasReduction(start, width, width // 2, halve=True)]
    left, right, halve = 4 * (width // 4), 2 * width, True
    for stage in range(3):
        wide = width * 2**stage
        if stage:
            cells.append(_NasReduction(left, right, wide, halve=halve))
            left, right, halve = right, 4 * wide, True
        for _ in range(repeats):
            cells.append(_NasNormal(left, right, wide, halve=halve))
            left, right, halve = right, 6 * wide, False
    return _Cells(unit(3, start, 3, 2, 0, act=None), _NasFirst(start, width // 4), cells, last)


class _ProgressiveCell(nn.Module):
    def __init__(self, left: int, right: int, width: int, step: int = 1, *, halve: bool = False) -> None:
        super().__init__()
        self.left = _Halved(left, width) if halve else _fit(left, width)
        self.right = _fit(right, width)
        self.step = step
        kernels = {"l5": 5, "r7": 7, "r5": 5, "r3": 3, "l3": 3}
        self.sep = nn.ModuleDict({name: _sep(width, width, kernel, step) for name, kernel in kernels.items()})
        self.sep["i3"] = _sep(width, width, 3)
        self.short = (
            chain([nn.ReLU(), conv(width, width, 1, step), nn.BatchNorm2d(width)]) if step > 1 else nn.Identity()
        )

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        left, right, sep = self.left(older), self.right(newer), self.sep
        most = F.max_pool2d(right, 3, self.step, 1)
        third = sep["r5"](right) + sep["r3"](right)
        parts = [sep["l5"](left) + F.max_pool2d(left, 3, self.step, 1), sep["r7"](right) + most, third]
        parts += [sep["i3"](third) + most, sep["l3"](left) + self.short(right)]
        return torch.cat(parts, 1)


class _ProgressiveFirst(nn.Module):
    """The first cell: its left is the input as it is, its right the input fitted."""

    def __init__(self, ins: int, width: int) -> None:
        super().__init__()
        self.right = _fit(ins, width)
        kernels = {"r7": 7, "r5": 5, "r3": 3}
        self.sep = nn.ModuleDict({name: _sep(width, width, kernel, 2) for name, kernel in kernels.items()})
        self.sep["l5"], self.sep["l3"] = _sep(ins, width, 5, 2), _sep(ins, width, 3, 2)
        self.sep["i3"] = _sep(width, width, 3)
        self.pooled = chain([nn.MaxPool2d(3, 2, 1), conv(ins, width), nn.BatchNorm2d(width)])
        self.short = chain([nn.ReLU(), conv(width, width, 1, 2), nn.BatchNorm2d(width)])

    def forward(self, x: Tensor) -> Tensor:
        right, sep = self.right(x), self.sep
        most = F.max_pool2d(right, 3, 2, 1)
        third = sep["r5"](right) + sep["r3"](right)
        parts = [sep["l5"](x) + self.pooled(x), sep["r7"](right) + most, third]
        return torch.cat([*parts, sep["i3"](third) + most, sep["l3"](x) + self.short(right)], 1)


def pnasnet(repeats: int, width: int, start: int) -> nn.Module:
    """Return PNASNet-5 with `repeats` cells a stage, the first of them `width` wide."""
    quarter = width // 4
    cells: list[nn.Module] = [_ProgressiveCell(start, 5 * quarter, width // 2, 2, halve=True)]
    left, right, halve = 5 * quarter, 5 * (width // 2), True
    for stage in range(3):
        wide = width * 2**stage
        for index in range(repeats):
            step = 2 if stage and not index else 1
            cells.append(_ProgressiveCell(left, right, wide, step, halve=halve))
            left, right, halve = right, 5 * wide, step == 2
    return _Cells(unit(3, start, 3, 2, 0, act=None), _ProgressiveFirst(start, quarter), cells, right)
