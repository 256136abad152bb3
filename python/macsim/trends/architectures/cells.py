# Networks of cells that searches found. Our own definitions.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Networks of cells that searches found: NASNet-A, PNASNet-5, AmoebaNet-A."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from macsim.trends.architectures.parts import chain, conv, head, unit


def _sep(ins: int, outs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return two separable convolutions, each after an activation; the first has the stride."""
    layers: list[nn.Module] = []
    for before, after, step in ((ins, outs, stride), (outs, outs, 1)):
        layers += [nn.ReLU(), conv(before, before, kernel, step, groups=before), conv(before, after)]
        layers.append(nn.BatchNorm2d(after))
    return chain(layers)


def _fit(ins: int, outs: int, stride: int = 1) -> nn.Sequential:
    return chain([nn.ReLU(), conv(ins, outs, 1, stride), nn.BatchNorm2d(outs)])


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


class _NasStrided(_NasNormal):
    """A normal cell that halves the feature map: what it passes on as it is goes through pointwise convolutions."""

    def __init__(self, left: int, right: int, width: int, *, halve: bool = False) -> None:
        super().__init__(left, right, width, halve=halve)
        self.make(width, 2)
        self.passed, self.added = _Halved(width, width), nn.ModuleList(_fit(width, width, 2) for _ in range(2))

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        left, right, sep = self.left(older), self.right(newer), self.sep
        pooled = self.average(left)
        parts = [self.passed(left), sep["r5"](right) + sep["l3"](left), sep["l5"](left) + sep["l3b"](left)]
        parts += [self.average(right) + self.added[0](left), pooled + pooled, sep["r3"](right) + self.added[1](right)]
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


def nasnet(repeats: int, last: int, start: int, *, strided: bool = False) -> nn.Module:
    """Return NASNet-A with `repeats` normal cells a stage, `last` channels at the end and `start` at the beginning.

    Between stages stands a reduction cell, or, with `strided`, none: the first normal cell of a stage has the stride.
    """
    width = last // 24
    cells: list[nn.Module] = [_NasReduction(start, width, width // 2, halve=True)]
    left, right, halve = 4 * (width // 4), 2 * width, True
    for stage in range(3):
        wide = width * 2**stage
        if stage and strided:
            cells.append(_NasStrided(left, right, wide, halve=halve))
            left, right, halve = right, 6 * wide, True
        elif stage:
            cells.append(_NasReduction(left, right, wide, halve=halve))
            left, right, halve = right, 4 * wide, True
        for _ in range(repeats - int(strided and stage > 0)):
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


# Cells of AmoebaNet: for each new state two operations with the states that they take, where 0 is the newer input and 1
# the older one; then which states stand side by side in the result.
_AMOEBA_NORMAL = (
    (("average", 0), ("most", 0), ("sep3", 1), ("none", 1), ("none", 0), ("average", 1)),
    (("sep3", 0), ("sep5", 2), ("average", 5), ("sep3", 0)),
    (1, 3, 4, 6),
)
_AMOEBA_REDUCTION = (
    (("sep3", 1), ("average", 0), ("most", 0), ("sep7", 2), ("most", 1), ("most", 0)),
    (("sep3", 4), ("seven", 0), ("average", 1), ("sep7", 0)),
    (2, 3, 4, 5, 6),
)


def _operation(name: str, ins: int, width: int, step: int) -> nn.Module:
    """Return an operation of AmoebaNet's cells; ``seven`` is a bottleneck of a 1 x 7 and a 7 x 1 convolution."""
    if name.startswith("sep"):
        return _sep(ins, width, int(name[3:]), step)
    if name == "seven":
        inner = width // 4
        wide = nn.Conv2d(inner, inner, (1, 7), (1, step), (0, 3), bias=False)
        high = nn.Conv2d(inner, inner, (7, 1), (step, 1), (3, 0), bias=False)
        layers = [nn.ReLU(), unit(ins, inner), wide, nn.BatchNorm2d(inner), nn.ReLU(), high]
        return chain([*layers, nn.BatchNorm2d(inner), nn.ReLU(), conv(inner, width), nn.BatchNorm2d(width)])
    layers = []
    if name != "none":
        layers.append((nn.AvgPool2d if name == "average" else nn.MaxPool2d)(3, step, 1))
    return chain([*layers, conv(ins, width), nn.BatchNorm2d(width)] if ins != width else layers)


class _AmoebaCell(nn.Module):
    """A cell whose states are sums of two operations each."""

    def __init__(self, older: int, newer: int, width: int, *, step: int = 1, halve: bool = False) -> None:
        super().__init__()
        self.right = _fit(newer, width)
        self.left = _Halved(older, width) if halve else _fit(older, width)
        self.make(width, width, step)

    def make(self, left: int, width: int, step: int) -> None:
        self.given: tuple[int, ...]
        first, second, self.given = _AMOEBA_NORMAL if step == 1 else _AMOEBA_REDUCTION
        self.taken = [state for _, state in (*first, *second)]
        self.operations = nn.ModuleList(
            _operation(name, left if state == 1 else width, width, step if state < 2 else 1)
            for name, state in (*first, *second)
        )

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        states = [self.right(newer), self.left(older)]
        pairs = list(zip(self.operations, self.taken, strict=True))
        for (one, left), (two, right) in zip(pairs[::2], pairs[1::2], strict=True):
            states.append(one(states[left]) + two(states[right]))
        return torch.cat([states[state] for state in self.given], 1)


class _AmoebaFirst(nn.Module):
    """The first cell, which sees one input only: fitted as the newer one, as it is as the older one."""

    def __init__(self, ins: int, width: int) -> None:
        super().__init__()
        self.cell = _AmoebaCell(ins, ins, width, step=2)
        self.cell.left = nn.Identity()
        self.cell.make(ins, width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x, x)


def amoebanet(repeats: int, width: int, start: int = 32) -> nn.Module:
    """Return AmoebaNet-A with `repeats` normal cells a stage, the first of them `width` wide."""
    cells: list[nn.Module] = [_AmoebaCell(start, 5 * (width // 4), width // 2, step=2, halve=True)]
    left, right, halve = 5 * (width // 4), 5 * (width // 2), True
    for stage in range(3):
        wide = width * 2**stage
        if stage:
            cells.append(_AmoebaCell(left, right, wide, step=2))
            left, right, halve = right, 5 * wide, True
        for _ in range(repeats):
            cells.append(_AmoebaCell(left, right, wide, halve=halve))
            left, right, halve = right, 4 * wide, False
    return _Cells(unit(3, start, 3, 2, 0, act=None), _AmoebaFirst(start, width // 4), cells, right)
