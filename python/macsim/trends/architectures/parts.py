# What the definitions of networks share.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Convolutions with their normalisation, pooling, squeeze-and-excitation: what the definitions share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name


def conv(
    ins: int,
    outs: int,
    kernel: int | tuple[int, int] = 1,
    stride: int = 1,
    padding: int | tuple[int, int] | None = None,
    groups: int = 1,
    *,
    bias: bool = False,
) -> nn.Conv2d:
    """Return a convolution that keeps the size, up to its stride, when no padding is given."""
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(ins, outs, kernel, stride, padding, groups=groups, bias=bias)


def unit(*sizes: Any, act: Callable[[], nn.Module] | None = nn.ReLU, **options: Any) -> nn.Sequential:
    """Return the convolution that `conv` makes of the rest, normalisation and, unless there is none, activation."""
    layer = conv(*sizes, **options)
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels), *([act()] if act else []))


def head(width: int, classes: int = 1000) -> nn.Sequential:
    """Return the mean over positions and the classifier."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class SqueezeExcite(nn.Module):
    """A gate for each channel, from the mean over positions."""

    def __init__(
        self,
        width: int,
        squeezed: int,
        act: Callable[[], nn.Module] = nn.ReLU,
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        down, up = conv(width, squeezed, bias=True), conv(squeezed, width, bias=True)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), down, act(), up, gate())

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return x * self.gate(x)


class Branches(nn.Module):
    """Paths from one input, whose results stand side by side as channels."""

    def __init__(self, *paths: nn.Module) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        return torch.cat([path(x) for path in self.paths], 1)


class Sum(nn.Module):
    """Paths from one input, whose results are added."""

    def __init__(self, *paths: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.paths, self.after = nn.ModuleList(paths), after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Run it."""
        total = self.paths[0](x)
        for path in list(self.paths)[1:]:
            total = total + path(x)
        return self.after(total)


def separable(ins: int, outs: int, kernel: int, stride: int = 1, padding: int | None = None) -> nn.Sequential:
    """Return a depthwise convolution and a pointwise one."""
    return nn.Sequential(conv(ins, ins, kernel, stride, padding, groups=ins), conv(ins, outs))


def divisible(value: float, by: int = 8) -> int:
    """Round to a multiple, down by a tenth at most: how mobile networks scale their widths."""
    rounded = max(by, int(value + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * value else rounded


def chain(layers: Iterable[nn.Module]) -> nn.Sequential:
    """Return modules one after the other."""
    return nn.Sequential(*layers)


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, shared: bool = False) -> Tensor:
    """Return attention over heads: inputs are batch, heads, positions, width."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=shared)
