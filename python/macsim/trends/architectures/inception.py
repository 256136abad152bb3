# Networks of parallel paths: Inception. Our own definitions.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Networks of parallel paths: Inception V1 to V4, Inception-ResNet V2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from macsim.trends.architectures.parts import Branches, chain, conv, head, unit


def _avg(ins: int, outs: int) -> nn.Sequential:
    return chain([nn.AvgPool2d(3, 1, 1), unit(ins, outs)])


def _path(ins: int, *steps: tuple[Any, ...]) -> nn.Sequential:
    """Return units one after the other: (width, kernel, stride, padding) each."""
    widths = [ins, *(step[0] for step in steps)]
    return chain(unit(before, *step) for before, step in zip(widths, steps, strict=False))


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


def _wide(ins: int, *shared: tuple[Any, ...], width: int) -> nn.Module:
    """Return a path that ends in a 1 x 3 and a 3 x 1 convolution, side by side."""
    path, last = _path(ins, *shared), shared[-1][0]
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
