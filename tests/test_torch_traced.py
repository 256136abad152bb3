# Traced graphs: walked call by call as the model itself would call operators, and run only where that is not possible.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Graphs of `torch.fx.symbolic_trace`, against the run of what they were traced from, which asks torch itself."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812 - as everybody calls it

import macsim  # noqa: E402
from macsim.sources import torch_program  # noqa: E402
from macsim.sources.torch_traced_calls import FUNCTIONS, MODULES, OPERATORS  # noqa: E402


class Program(nn.Module):
    """A program that is one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


class Two(Program):
    """The same of two inputs."""

    def forward(self, x: Any, y: Any) -> Any:
        return self.function(x, y)


def rows(report: macsim.Report) -> list[Any]:
    return [
        (
            row.op,
            row.work,
            row.read,
            row.weights,
            row.written,
            row.trust,
            [str(one) for one in row.inputs + row.outputs],
        )
        for row in report.rows
    ]


def walked(model: nn.Module, *shapes: tuple[int, ...], **options: Any) -> macsim.Report:
    """Count the graph of a model, which must be walked, and compare it with the model's run."""
    ran = macsim.count(model, *shapes, **options)
    graph = torch.fx.symbolic_trace(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_program, "_running", lambda *_: pytest.fail("it is run"))
        found = macsim.count(graph, *shapes, **options)
    assert rows(found) == rows(ran)
    assert [str(one) for one in found.outputs] == [str(one) for one in ran.outputs]
    return found


# What each module of the table is tried as: the module and the shape that goes in.
def modules() -> Iterator[tuple[nn.Module, tuple[int, ...]]]:
    image, line, volume = (2, 4, 8, 8), (2, 4, 8), (2, 4, 6, 6, 6)
    yield nn.Identity(), image
    yield nn.Linear(8, 3), image
    yield nn.Linear(8, 3, bias=False), line
    yield nn.LayerNorm((8, 8)), image
    yield nn.LayerNorm(8, elementwise_affine=False), line
    yield nn.GroupNorm(2, 4), image
    for kind in (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.SiLU, nn.Mish,
                 nn.Hardswish, nn.Hardsigmoid, nn.Dropout):  # fmt: skip
        yield kind(inplace=False), image
        yield kind(inplace=True), image
    yield nn.GELU(approximate="tanh"), image
    for kind in (nn.Sigmoid, nn.Tanh, nn.Softplus, nn.LogSigmoid, nn.GELU, nn.Flatten):
        yield kind(), image
    yield nn.PReLU(4), image
    yield nn.Softmax(-1), image
    yield nn.LogSoftmax(1), image
    yield nn.Dropout2d(), image
    yield nn.Flatten(0, 1), line
    for axes, shape in ((1, line), (2, image), (3, volume)):
        conv, turned = getattr(nn, f"Conv{axes}d"), getattr(nn, f"ConvTranspose{axes}d")
        yield conv(4, 6, 3), shape
        yield conv(4, 8, 3, 2, 1, 2, 2, bias=False), shape
        yield conv(4, 6, 3, padding="same"), shape
        yield turned(4, 6, 3, 2, 1, 1), shape
        yield getattr(nn, f"BatchNorm{axes}d")(4), shape
        yield getattr(nn, f"InstanceNorm{axes}d")(4), shape
        yield getattr(nn, f"MaxPool{axes}d")(3, 2, 1, ceil_mode=True), shape
        yield getattr(nn, f"AvgPool{axes}d")(2), shape
        yield getattr(nn, f"AdaptiveAvgPool{axes}d")(2), shape
        yield getattr(nn, f"AdaptiveAvgPool{axes}d")(1), shape
    yield nn.MaxPool2d((3, 2), dilation=(1, 2)), image


def test_modules() -> None:
    tried = {nn.Embedding}
    for module, shape in modules():
        found = walked(nn.Sequential(module), shape)
        assert {row.scope for row in found.rows} <= {"0"}, module
        tried.add(type(module))
    assert tried == set(MODULES)


@pytest.mark.parametrize("padding", [None, 3])
def test_an_embedding(padding: int | None) -> None:
    walked(nn.Sequential(nn.Embedding(10, 6, padding)), (2, 5), dtypes={"input": "i64"})


def test_functions() -> None:
    weight, bias = torch.ones(8), torch.zeros(8)
    for function in (F.relu, F.relu6, F.hardtanh, F.leaky_relu, F.elu, F.silu, F.mish, F.hardswish, F.hardsigmoid):
        assert function in FUNCTIONS
        walked(Program(function), (2, 8))
        walked(Program(lambda x, function=function: function(x * 2, inplace=True)), (2, 8))
    walked(Program(F.sigmoid), (2, 8))
    walked(Program(F.tanh), (2, 8))
    walked(Program(lambda x: F.softmax(x, dim=1)), (2, 8))
    walked(Program(lambda x: F.log_softmax(x, 1)), (2, 8))
    walked(Program(lambda x: F.dropout(x, 0.5, False)), (2, 8))
    walked(Program(lambda x: F.layer_norm(x, (8,))), (2, 8))
    walked(Program(lambda x: F.group_norm(x, 2)), (2, 8, 4))
    walked(Program(lambda x: F.adaptive_avg_pool2d(x, (1, 1))), (2, 8, 4, 4))
    walked(Program(lambda x: F.max_pool2d(x, 2, stride=2)), (2, 8, 4, 4))
    walked(Program(lambda x: F.max_pool2d(x, kernel_size=(3, 3), padding=1)), (2, 8, 4, 4))
    walked(Program(lambda x: F.pad(x, (1, 1))), (2, 8))
    walked(Norm(weight, bias), (2, 8))


class Norm(nn.Module):
    """Normalises by buffers of its own, by functions."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.row = nn.Parameter(weight[None])
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("variance", torch.ones(8))

    def forward(self, x: Any) -> Any:
        x = F.batch_norm(x, self.mean, self.variance, self.weight, self.bias)
        return F.layer_norm(F.linear(x, self.row), (1,))


ONE: list[Callable[[Any], Any]] = [
    *[lambda x, name=name: getattr(torch, name)(x) for name in [
        "relu", "sigmoid", "tanh", "exp", "log", "log2", "log1p", "sqrt", "rsqrt", "square", "abs", "neg",
        "sin", "cos", "erf", "reciprocal", "floor", "ceil", "round", "sign", "logical_not", "sum", "mean",
        "flatten", "detach", "selu", "squeeze", "celu",
    ]],
    *[lambda x, name=name: getattr(x, name)() for name in [
        "relu", "sigmoid", "tanh", "exp", "abs", "neg", "sum", "mean", "contiguous", "detach", "squeeze",
        "flatten", "relu_", "sigmoid_",
    ]],
    lambda x: x.view(2, -1), lambda x: x.view(-1), lambda x: x.view((8, 6)), lambda x: x.reshape(2, 24),
    lambda x: x.reshape((2, 24)), lambda x: torch.reshape(x, (-1, 4)), lambda x: x.permute(0, 2, 3, 1),
    lambda x: torch.permute(x, (0, 2, 3, 1)), lambda x: x.transpose(1, 2), lambda x: torch.transpose(x, 1, 2),
    lambda x: x.transpose(1, 2).reshape(2, -1), lambda x: x.transpose(1, 2).contiguous().view(2, -1),
    lambda x: x.unsqueeze(0), lambda x: x.squeeze(1), lambda x: x.unsqueeze(1).expand(2, 5, 3, 2, 4),
    lambda x: x.flatten(1), lambda x: torch.flatten(x, start_dim=2),
    lambda x: x.mean([2, 3]), lambda x: x.mean((2, 3), keepdim=True), lambda x: x.mean(1), lambda x: torch.mean(x, -1),
    lambda x: x.sum(1), lambda x: x.sum(dim=(1, 2), keepdim=True), lambda x: torch.softmax(x, -1),
    lambda x: x.softmax(dim=1), lambda x: torch.log_softmax(x, 1),
    lambda x: torch.clamp(x, 0, 1), lambda x: x.clamp(min=0), lambda x: 2 * x, lambda x: 1 - x,
    lambda x: torch.cat((x, x), 1), lambda x: torch.cat([x, x, x], dim=-1), lambda x: torch.stack([x, x]),
    lambda x: torch.tril(x), lambda x: x.triu(1), lambda x: torch.roll(x, 1, 2), lambda x: torch.flip(x, [1]),
    lambda x: x.flip(1, 2), lambda x: x.masked_fill(x > 0, 0.0), lambda x: torch.where(x > 0, x, x * 2),
    lambda x: x.select(1, 0), lambda x: x.narrow(1, 0, 2), lambda x: sum(x.unbind(1)[i] for i in range(3)),
    lambda x: x.chunk(2, 3)[0] * x.chunk(2, 3)[1], lambda x: F.gelu(x), lambda x: F.gelu(x, approximate="tanh"),
    lambda x: F.softplus(x), lambda x: F.avg_pool2d(x, 2), lambda x: F.avg_pool2d(x, (1, 2), stride=1),
    lambda x: torch.max_pool2d(x, 2),
    lambda x: x + 1, lambda x: x - 0.5, lambda x: x * 2, lambda x: x / 3, lambda x: -x, lambda x: x**2, lambda x: x**x,
    lambda x: x == 0, lambda x: x > x, lambda x: x <= 1.5, lambda x: x.add(1, alpha=2), lambda x: torch.div(x, 2),
    lambda x: torch.div(x, x, rounding_mode="floor"), lambda x: x.mul_(2), lambda x: x.add_(x), lambda x: x.pow(2),
    lambda x: x.view(x.size(0), -1), lambda x: x.reshape(x.shape[0], x.shape[1] * x.shape[2], -1),
    lambda x: x.permute(0, 2, 1, 3).flatten(2), lambda x: x.transpose(-1, -2) @ x,
    lambda x: torch.dropout(x, 0.1, False), lambda x: F.silu(x) * x, lambda x: x.view(6, 8).t() @ x.view(6, 8),
    lambda x: F.scaled_dot_product_attention(x, x, x),
    lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    lambda x: F.scaled_dot_product_attention(x, x, x).transpose(1, 2).reshape(2, 2, 12), lambda x: x.dim() * x,
]  # fmt: skip

TWO: list[tuple[Callable[[Any, Any], Any], tuple[int, ...], tuple[int, ...]]] = [
    *[(lambda x, y, does=does: does(x, y), (4, 6), (6,)) for does in OPERATORS
      if does not in (operator.neg, operator.matmul)],
    (torch.matmul, (4, 6), (6, 5)), (torch.matmul, (2, 4, 6), (6,)), (operator.matmul, (4, 6), (3, 6, 5)),
    (torch.bmm, (2, 4, 6), (2, 6, 5)), (torch.mm, (4, 6), (6, 5)), (torch.mv, (4, 6), (6,)), (torch.dot, (6,), (6,)),
    (lambda x, y: torch.addmm(x, y, y), (4, 4), (4, 4)), (lambda x, y: torch.baddbmm(x, y, y), (2, 4, 4), (2, 4, 4)),
    (F.linear, (4, 6), (5, 6)), (lambda x, y: F.conv1d(x, y, stride=2), (2, 4, 9), (6, 4, 3)),
    (lambda x, y: F.conv2d(x, y, padding=1), (2, 4, 9, 9), (6, 4, 3, 3)),
    (lambda x, y: torch.conv2d(x, y, None, (2, 1), groups=2), (2, 4, 9, 9), (6, 2, 3, 3)),
    (lambda x, y: F.conv_transpose2d(x, y, stride=2), (2, 4, 5, 5), (4, 6, 3, 3)),
    (torch.atan2, (4, 6), (6,)),
    (lambda x, y: F.prelu(x, y), (4, 6), (6,)), (lambda x, y: F.layer_norm(x, (6,), y), (4, 6), (6,)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ONE)))
def test_of_one(number: int) -> None:
    walked(Program(ONE[number]), (2, 3, 2, 4))


@pytest.mark.parametrize("number", range(len(TWO)))
def test_of_two(number: int) -> None:
    function, *shapes = TWO[number]
    walked(Two(function), *shapes)
