"""Convolutional networks of published energy measurements, and a recommender, as deployed runtimes execute them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


def divisible(channels: float) -> int:
    """Round to a multiple of 8, by at most a tenth down, as the MobileNet family does."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class Conv(nn.Conv2d):
    """A convolution with the padding of 'same', as these networks use throughout; bias and ReLU are folded in."""

    def __init__(self, a: int, b: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(a, b, kernel, stride, (kernel - 1) // 2, groups=groups)


class HardSwish(nn.Module):
    """An operator of its own in TFLite."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.hardswish(x)


class Excite(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = divisible(channels / 4)
        self.a, self.b = Conv(channels, inner), Conv(inner, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * functional.hardsigmoid(self.b(self.a(x.mean((2, 3), keepdim=True))))


class Residual(nn.Sequential):
    """A chain whose input is added to its output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


def head(a: int, classes: int = 1001) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(a, classes), nn.Softmax(-1)]


def mobilenet_v1(alpha: float, classes: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [Conv(3, a := int(32 * alpha), 3, 2)]
    for channels, stride in [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ]:
        b = int(channels * alpha)
        layers += [Conv(a, a, 3, stride, a), Conv(a, b)]
        a = b
    return nn.Sequential(*layers, *(head(a) if classes else []))


def inverted(
    a: int, b: int, expand: int, kernel: int, stride: int, excite: bool = False, swish: bool = False
) -> nn.Module:
    act: list[nn.Module] = [HardSwish()] if swish else []
    layers = [Conv(a, expand), *act] if expand != a else []
    layers += [
        Conv(expand, expand, kernel, stride, expand),
        *act,
        *([Excite(expand)] if excite else []),
        Conv(expand, b),
    ]
    return Residual(*layers) if stride == 1 and a == b else nn.Sequential(*layers)


def mobilenet_v2(alpha: float) -> nn.Sequential:
    layers: list[nn.Module] = [Conv(3, a := divisible(32 * alpha), 3, 2)]
    for t, channels, repeats, stride in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ]:  # fmt: skip
        for i in range(repeats):
            b = divisible(channels * alpha)
            layers.append(inverted(a, b, a * t, 3, stride if i == 0 else 1))
            a = b
    last = divisible(1280 * max(1.0, alpha))
    return nn.Sequential(*layers, Conv(a, last), *head(last))


V3 = {  # kernel, inner width, width, squeeze, hard-swish, stride
    "large": [
        (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
        (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
        (3, 184, 80, 0, 1, 1), (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2),
        (5, 960, 160, 1, 1, 1), (5, 960, 160, 1, 1, 1),
    ],
    "small": [
        (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
        (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2),
        (5, 576, 96, 1, 1, 1), (5, 576, 96, 1, 1, 1),
    ],
}  # fmt: skip


def mobilenet_v3(size: str, alpha: float, minimal: bool) -> nn.Sequential:
    swish: list[nn.Module] = [] if minimal else [HardSwish()]
    layers: list[nn.Module] = [Conv(3, a := 16, 3, 2), *swish]
    expand = 0
    for kernel, inner, channels, excite, is_swish, stride in V3[size]:
        b, expand = divisible(channels * alpha), divisible(inner * alpha)
        layers.append(
            inverted(
                a,
                b,
                expand,
                3 if minimal else kernel,
                stride,
                bool(excite) and not minimal,
                bool(is_swish) and not minimal,
            )
        )
        a = b
    wide = divisible({"large": 960, "small": 576}[size] * alpha)
    hidden = {"large": 1280, "small": 1024}[size]
    return nn.Sequential(
        *layers,
        Conv(a, wide),
        *swish,
        nn.AdaptiveAvgPool2d(1),
        Conv(wide, hidden),
        *swish,
        nn.Flatten(),
        nn.Linear(hidden, 1001),
    )


LITE = {0: (1.0, 1.0, 224), 1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260), 3: (1.2, 1.4, 280), 4: (1.4, 1.8, 300)}


def efficientnet_lite(variant: int) -> nn.Sequential:
    width, depth, _ = LITE[variant]
    layers: list[nn.Module] = [Conv(3, a := 32, 3, 2)]
    stages = [
        (3, 1, 16, 1, 1),
        (3, 6, 24, 2, 2),
        (5, 6, 40, 2, 2),
        (3, 6, 80, 3, 2),
        (5, 6, 112, 3, 1),
        (5, 6, 192, 4, 2),
        (3, 6, 320, 1, 1),
    ]
    for at, (kernel, t, channels, repeats, stride) in enumerate(stages):
        b = divisible(channels * width)
        for i in range(repeats if at in (0, 6) else -int(-repeats * depth // 1)):
            layers.append(inverted(a, b, a * t, kernel, stride if i == 0 else 1))
            a = b
    return nn.Sequential(*layers, Conv(a, 1280), *head(1280, 1000))


class Detector(nn.Module):
    """A backbone in parts, further layers, and a head at each of the levels."""

    def __init__(self, parts: list[nn.Module], heads: list[nn.Module], levels: list[int]) -> None:
        super().__init__()
        self.parts, self.heads, self.levels = nn.ModuleList(parts), nn.ModuleList(heads), levels

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for at, part in enumerate(self.parts):
            x = part(x)
            if at in self.levels:
                found.append(self.heads[len(found)](x))
        return found


def basic(a: int, b: int, stride: int = 1) -> nn.Module:
    chain = [Conv(a, b, 3, stride), Conv(b, b, 3)]
    return Residual(*chain) if a == b and stride == 1 else Sum(nn.Sequential(*chain), Conv(a, b, 1, stride))


class Sum(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.parts[0](x) + self.parts[1](x)


def ssd_resnet34() -> nn.Module:
    layers: list[nn.Module] = [Conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), *[basic(64, 64) for _ in range(3)]]
    layers += [
        basic(64, 128, 2),
        *[basic(128, 128) for _ in range(3)],
        basic(128, 256),
        *[basic(256, 256) for _ in range(5)],
    ]
    extra = [
        nn.Sequential(Conv(a, m), Conv(m, b, 3, s))
        for a, m, b, s in [
            (256, 256, 512, 2),
            (512, 256, 512, 2),
            (512, 128, 256, 2),
            (256, 128, 256, 2),
            (256, 128, 256, 1),
        ]
    ]
    heads = [Conv(a, n * 85, 3, 3) for a, n in [(256, 4), (512, 6), (512, 6), (256, 6), (256, 4), (256, 4)]]
    return Detector([nn.Sequential(*layers), *extra], heads, list(range(6)))


def ssd_mobilenet() -> nn.Module:
    body = mobilenet_v1(1.0, classes=False)
    extra = [
        nn.Sequential(Conv(a, m), Conv(m, b, 3, 2))
        for a, m, b in [(1024, 256, 512), (512, 128, 256), (256, 128, 256), (256, 64, 128)]
    ]
    heads = [Conv(a, n * 95) for a, n in [(512, 3), (1024, 6), (512, 6), (256, 6), (256, 6), (128, 6)]]
    return Detector([body[:23], body[23:], *extra], heads, list(range(6)))


class Pyramid(nn.Module):
    """RetinaNet: ResNeXt-50 32x4d, a feature pyramid, and two towers shared by the five levels."""

    def __init__(self, classes: int = 264) -> None:
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))
        stages, a = [], 64
        for width, b, repeats, stride in [(128, 256, 3, 1), (256, 512, 4, 2), (512, 1024, 6, 2), (1024, 2048, 3, 2)]:
            blocks: list[nn.Module] = []
            for i in range(repeats):
                chain = [Conv(a, width), Conv(width, width, 3, stride if i == 0 else 1, 32), Conv(width, b)]
                blocks.append(Sum(nn.Sequential(*chain), Conv(a, b, 1, stride)) if i == 0 else Residual(*chain))
                a = b
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(Conv(c, 256) for c in (512, 1024, 2048))
        self.smooth = nn.ModuleList(Conv(256, 256, 3) for _ in range(3))
        self.p6, self.p7 = Conv(2048, 256, 3, 2), Conv(256, 256, 3, 2)
        self.towers = nn.ModuleList(
            nn.Sequential(*[Conv(256, 256, 3) for _ in range(4)], Conv(256, 9 * n, 3)) for n in (classes, 4)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.stages[0](self.stem(x))
        found = [x := stage(x) for stage in self.stages[1:]]
        down = [lateral(c) for lateral, c in zip(self.lateral, found, strict=True)]
        for i in (1, 0):
            down[i] = down[i] + functional.interpolate(down[i + 1], size=down[i].shape[-2:])
        levels = [smooth(p) for smooth, p in zip(self.smooth, down, strict=True)]
        levels.append(self.p6(found[-1]))
        levels.append(self.p7(levels[-1]))
        return [tower(level) for level in levels for tower in self.towers]


class Recommender(nn.Module):
    """DLRM of MLPerf: 26 embeddings of 128, interactions, two chains of layers. A sample is 270 pairs on average.

    One kernel gathers the embeddings, pairs them with each other and with the lower chain's result, and writes the
    products and that result side by side: it takes 27 vectors and gives 479 numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(*chain(13, 512, 256, 128))
        self.top = nn.Sequential(*chain(479, 1024, 1024, 512, 256, 1))

    def forward(self, dense: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        self.low(dense)
        return self.top(torch.bmm(embedded, embedded.transpose(1, 2)).flatten(1)[:, :479])


def chain(*sizes: int) -> list[nn.Module]:
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
