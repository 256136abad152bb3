# As which operators torch's modules, functions and methods call what they compute.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""What torch's modules and functions hand to which operator, in evaluation mode: read from their `forward`."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

__all__ = ["FUNCTIONS", "MODULES", "OPERATORS", "SPELLINGS"]

# Of each way: the operator (empty: what goes in comes out), what it is given in order (a name: the module's attribute
# or the function's argument; in a tuple: this), what has to be so (a class: of that class), and, where torch looks at
# it, how many axes the input may have.
Way = tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]


def _way(name: str, gives: str = "input", ranks: tuple[int, ...] = (), /, **when: Any) -> Way:
    constants = {"=False": (False,), "=True": (True,), "=-1": (-1,), "=constant": ("constant",)}
    return (name, tuple(constants.get(one, one) for one in gives.split()), when, ranks)


def _in_place(name: str, gives: str = "input") -> tuple[Way, Way]:
    """Return a way that makes a new tensor, and one that changes the one that is given, as the flag says."""
    packet, _, overload = name.partition(".")
    changing = f"{packet}_.{overload}" if overload else f"{packet}_"
    return _way(name, gives, inplace=False), _way(changing, gives, inplace=True)


_CONV = "input weight bias stride padding dilation groups"
_TURNED_CONV = "input weight bias stride padding output_padding groups dilation"
_BATCH = "input weight bias running_mean running_var =False momentum eps =True"
_INSTANCE = "input weight bias running_mean running_var =True momentum eps =True"
_POOL = "input kernel_size stride padding dilation ceil_mode"
_MEANS = "input kernel_size stride padding ceil_mode count_include_pad"

MODULES: dict[type[nn.Module], tuple[Way, ...]] = {
    nn.Identity: (_way(""),),
    nn.Linear: (_way("linear", "input weight bias"),),
    nn.LayerNorm: (_way("layer_norm", "input normalized_shape weight bias eps =True"),),
    nn.GroupNorm: (_way("group_norm", "input num_groups weight bias eps =True"),),
    nn.Embedding: (
        _way("embedding", "weight input =-1 =False =False", padding_idx=None, max_norm=None),
        _way("embedding", "weight input padding_idx =False =False", padding_idx=int, max_norm=None),
    ),
    nn.ReLU: _in_place("relu"),
    nn.ReLU6: _in_place("hardtanh", "input min_val max_val"),
    nn.Hardtanh: _in_place("hardtanh", "input min_val max_val"),
    nn.LeakyReLU: _in_place("leaky_relu", "input negative_slope"),
    nn.ELU: _in_place("elu", "input alpha"),
    nn.CELU: _in_place("celu", "input alpha"),
    nn.SELU: _in_place("selu"),
    nn.SiLU: _in_place("silu"),
    nn.Mish: _in_place("mish"),
    nn.Hardswish: _in_place("hardswish"),
    nn.Hardsigmoid: _in_place("hardsigmoid"),
    nn.GELU: (_way("gelu", "input approximate"),),
    nn.Sigmoid: (_way("sigmoid"),),
    nn.Tanh: (_way("tanh"),),
    nn.Softplus: (_way("softplus", "input beta threshold"),),
    nn.LogSigmoid: (_way("log_sigmoid"),),
    nn.PReLU: (_way("prelu", "input weight"),),
    nn.Softmax: (_way("softmax.int", "input dim", dim=int),),
    nn.LogSoftmax: (_way("log_softmax.int", "input dim", dim=int),),
    nn.Dropout: (_way("dropout", "input p =False", inplace=False), _way("dropout_", "input p =False", inplace=True)),
    nn.Dropout2d: (_way("feature_dropout", "input p =False", (4,), inplace=False),),
    nn.Flatten: (_way("flatten.using_ints", "input start_dim end_dim"),),
}
for _axes, _conv, _turned, _batch, _instance, _pool, _mean, _adaptive in (
    (1, nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.MaxPool1d, nn.AvgPool1d,
     nn.AdaptiveAvgPool1d),
    (2, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.MaxPool2d, nn.AvgPool2d,
     nn.AdaptiveAvgPool2d),
    (3, nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.InstanceNorm3d, nn.MaxPool3d, nn.AvgPool3d,
     nn.AdaptiveAvgPool3d),
):  # fmt: skip
    _rank = (_axes + 2,)
    MODULES[_conv] = (
        _way(f"conv{_axes}d", _CONV, padding_mode="zeros", padding=tuple),
        _way(f"conv{_axes}d.padding", _CONV, padding_mode="zeros", padding=str),
    )
    MODULES[_turned] = (_way(f"conv_transpose{_axes}d{'.input' if _axes > 1 else ''}", _TURNED_CONV),)
    MODULES[_batch] = (
        _way("batch_norm", _BATCH, (2, 3) if _axes == 1 else _rank, running_mean=torch.Tensor, momentum=float),
    )
    MODULES[_instance] = (_way("instance_norm", _INSTANCE, _rank, track_running_stats=False),)
    MODULES[_pool] = (_way(f"max_pool{_axes}d", _POOL, return_indices=False),)
    MODULES[_mean] = (_way(f"avg_pool{_axes}d", _MEANS + (" divisor_override" if _axes > 1 else "")),)
    MODULES[_adaptive] = (_way(f"adaptive_avg_pool{_axes}d", "input output_size"),)

FUNCTIONS: dict[Any, tuple[Way, ...]] = {
    F.relu: _in_place("relu"),
    F.relu6: _in_place("relu6"),
    F.hardtanh: _in_place("hardtanh", "input min_val max_val"),
    F.leaky_relu: _in_place("leaky_relu", "input negative_slope"),
    F.elu: _in_place("elu", "input alpha"),
    F.silu: _in_place("silu"),
    F.mish: _in_place("mish"),
    F.hardswish: _in_place("hardswish"),
    F.hardsigmoid: _in_place("hardsigmoid"),
    F.sigmoid: (_way("sigmoid"),),
    F.tanh: (_way("tanh"),),
    F.softmax: (_way("softmax.int", "input dim", dim=int, dtype=None),),
    F.log_softmax: (_way("log_softmax.int", "input dim", dim=int, dtype=None),),
    F.dropout: (_way("dropout", "input p training", inplace=False),),
    F.layer_norm: (_way("layer_norm", "input normalized_shape weight bias eps =True"),),
    F.group_norm: (_way("group_norm", "input num_groups weight bias eps =True"),),
    F.batch_norm: (_way("batch_norm", _BATCH, training=False),),
    F.adaptive_avg_pool2d: (_way("adaptive_avg_pool2d", "input output_size"),),
    F.max_pool2d: (_way("max_pool2d", _POOL, return_indices=False),),
    F.pad: (_way("pad", "input pad mode value"),),
}

# Functions of C++ and methods, which take what the operator takes: the first overload that takes it is the one.
_SAME = [
    "relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "exp", "log", "log2", "log1p", "sqrt", "rsqrt",
    "square", "abs", "neg", "sin", "cos", "erf", "reciprocal", "floor", "ceil", "round", "sign", "logical_not",
    "matmul", "bmm", "mm", "mv", "dot", "addmm", "baddbmm", "linear", "conv1d", "conv2d", "conv3d", "gelu",
    "silu", "layer_norm", "group_norm", "dropout", "batch_norm", "instance_norm", "softplus", "prelu", "cat",
    "stack", "view", "reshape", "permute", "unsqueeze", "expand", "contiguous", "chunk", "detach", "t",
    "gather", "index_select", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d",
    "max_pool3d", "scaled_dot_product_attention", "roll", "flip", "tril", "triu", "clamp", "channel_shuffle",
    "log_sigmoid", "hardtanh", "leaky_relu", "hardswish", "hardsigmoid", "atan2", "narrow", "celu", "selu",
    "mish",
]  # fmt: skip
SPELLINGS: dict[str, tuple[str, ...]] = (
    {name: (name,) for name in _SAME}
    | {
        "add": ("add.Tensor",),
        "add_": ("add_.Tensor",),
        "sub": ("sub.Tensor",),
        "sub_": ("sub_.Tensor",),
        "mul": ("mul.Tensor",),
        "mul_": ("mul_.Tensor",),
        "div": ("div.Tensor", "div.Tensor_mode"),
        "div_": ("div_.Tensor",),
        "pow": ("pow.Tensor_Scalar", "pow.Tensor_Tensor"),
        "softmax": ("softmax.int",),
        "log_softmax": ("log_softmax.int",),
        "mean": ("mean", "mean.dim"),
        "sum": ("sum", "sum.dim_IntList"),
        "flatten": ("flatten.using_ints",),
        "transpose": ("transpose.int",),
        "squeeze": ("squeeze", "squeeze.dim"),
        "select": ("select.int",),
        "unbind": ("unbind.int",),
        "masked_fill": ("masked_fill.Scalar", "masked_fill.Tensor"),
        "where": ("where.self",),
        "conv_transpose1d": ("conv_transpose1d",),
        "conv_transpose2d": ("conv_transpose2d.input",),
        "conv_transpose3d": ("conv_transpose3d.input",),
    }
    | {name: (f"{name}.Tensor", f"{name}.Scalar") for name in ("eq", "ne", "lt", "le", "gt", "ge")}
)

# Of Python's operators, which take what is on their left and on their right.
OPERATORS: dict[Any, tuple[Way, ...]] = {
    operator.add: (_way("add.Tensor", "a b"), _way("add.Tensor", "b a")),
    operator.sub: (_way("sub.Tensor", "a b"), _way("rsub.Scalar", "b a")),
    operator.mul: (_way("mul.Tensor", "a b"), _way("mul.Tensor", "b a")),
    operator.truediv: (_way("div.Tensor", "a b"),),
    operator.matmul: (_way("matmul", "a b"),),
    operator.pow: (_way("pow.Tensor_Scalar", "a b"), _way("pow.Tensor_Tensor", "a b")),
    operator.neg: (_way("neg", "a"),),
    operator.iadd: (_way("add_.Tensor", "a b"),),
    operator.isub: (_way("sub_.Tensor", "a b"),),
    operator.imul: (_way("mul_.Tensor", "a b"),),
    operator.itruediv: (_way("div_.Tensor", "a b"),),
} | {
    getattr(operator, name): (_way(f"{name}.Tensor", "a b"), _way(f"{name}.Scalar", "a b"))
    for name in ("eq", "ne", "lt", "le", "gt", "ge")
}
