"""Every public function of torch.nn.functional and every module of torch.nn is counted, contractions by hand."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import macsim

torch = pytest.importorskip("torch")
tree_flatten, tree_unflatten = torch.utils._pytree.tree_flatten, torch.utils._pytree.tree_unflatten
F, nn = torch.nn.functional, torch.nn
pytestmark = pytest.mark.filterwarnings("ignore")


def x(*shape: int, dtype: Any = None) -> Any:
    return torch.empty(shape, dtype=dtype, device="meta")


def words(text: str) -> list[str]:
    return text.split()


def whole(*shape: int) -> Any:
    return x(*shape, dtype=torch.int64)


V, M, S, C, D = x(3, 8), x(2, 4, 9), x(2, 4, 8, 8), x(2, 4, 6, 8, 8), (x(3, 8), x(3, 8))
ONE = (V,)

# By name: the arguments, the keyword arguments and, for contractions, the macs.
PLAIN = words("""alpha_dropout celu celu_ dropout elu elu_ gelu hardshrink hardsigmoid hardswish hardtanh
       hardtanh_ leaky_relu leaky_relu_ logsigmoid mish normalize relu relu_ relu6 rrelu rrelu_ selu
       selu_ sigmoid silu softplus softshrink softsign tanh tanhshrink""")
ALONG = ["glu", "log_softmax", "softmax", "softmin", "gumbel_softmax"]
PAIRS = words("""huber_loss kl_div l1_loss mse_loss smooth_l1_loss soft_margin_loss binary_cross_entropy
       binary_cross_entropy_with_logits poisson_nll_loss cosine_similarity pairwise_distance
       multilabel_soft_margin_loss hinge_embedding_loss""")
POOLS = ["avg_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool"]
GIVEN: dict[str, tuple[tuple[Any, ...], dict[str, Any], int]] = {
    **{name: (ONE, {}, 0) for name in PLAIN},
    **{name: (ONE, {"dim": 1}, 0) for name in ALONG},
    **{name: (D, {}, 0) for name in PAIRS},
    **{f"{pool}{n}d": ((t, 2), {}, 0) for pool in POOLS for n, t in ((1, M), (2, S), (3, C))},
    **{f"{pool}{n}d_with_indices": ((t, 2), {}, 0) for pool in ("max_pool", "adaptive_max_pool")
       for n, t in ((1, M), (2, S), (3, C))},
    **{f"max_unpool{n}d": ((t, torch.empty_like(t, dtype=torch.int64), 2), {}, 0) for n, t in ((1, M), (2, S), (3, C))},
    **{f"fractional_max_pool{n}d{more}": ((t, 2), {"output_size": 3}, 0) for n, t in ((2, S), (3, C))
       for more in ("", "_with_indices")},
    **{f"lp_pool{n}d": ((t, 2, 2), {}, 0) for n, t in ((1, M), (2, S), (3, C))},
    **{f"dropout{n}d": ((t,), {}, 0) for n, t in ((1, M), (2, S), (3, C))},
    "feature_alpha_dropout": ((S,), {}, 0),
    # Filters of 3 on each axis from 4 channels to 5.
    "conv1d": ((M, x(5, 4, 3)), {}, 2 * 5 * 7 * 12),
    "conv2d": ((S, x(5, 4, 3, 3)), {}, 2 * 5 * 36 * 36),
    "conv3d": ((C, x(5, 4, 3, 3, 3)), {}, 2 * 5 * 4 * 36 * 108),
    "conv_transpose1d": ((M, x(4, 5, 3)), {}, 2 * 4 * 9 * 15),
    "conv_transpose2d": ((S, x(4, 5, 3, 3)), {}, 2 * 4 * 64 * 45),
    "conv_transpose3d": ((C, x(4, 5, 3, 3, 3)), {}, 2 * 4 * 384 * 135),
    "conv_tbc": ((x(9, 2, 4), x(3, 4, 5), x(5)), {}, 7 * 2 * 5 * 12),
    "linear": ((V, x(5, 8)), {}, 3 * 5 * 8),
    # 3 rows: x1 W for 8 x 6 numbers of each of 5 outputs, then their products with x2.
    "bilinear": ((V, x(3, 6), x(5, 8, 6)), {}, 3 * 5 * 8 * 6 + 3 * 5 * 6),
    # 6 queries and keys of 2 x 3 heads: scores of 8 products each and as many for the values.
    "scaled_dot_product_attention": ((x(2, 3, 6, 8),) * 3, {}, 2 * 2 * 3 * 36 * 8),
    "grouped_mm": ((x(2, 6, 8, dtype=torch.bfloat16), x(2, 8, 16, dtype=torch.bfloat16)), {}, 2 * 6 * 16 * 8),
    "batch_norm": ((S, x(4), x(4)), {}, 0),
    "group_norm": ((S, 2), {}, 0),
    "instance_norm": ((S,), {}, 0),
    "layer_norm": ((V, (8,)), {}, 0),
    "rms_norm": ((V, (8,)), {}, 0),
    "local_response_norm": ((S, 2), {}, 0),
    "affine_grid": ((x(2, 2, 3), (2, 4, 5, 6)), {}, 2 * 30 * 3 * 2),
    "grid_sample": ((S, x(2, 3, 3, 2)), {}, 0),
    "channel_shuffle": ((S, 2), {}, 0),
    "native_channel_shuffle": ((S, 2), {}, 0),
    "pixel_shuffle": ((S, 2), {}, 0),
    "pixel_unshuffle": ((S, 2), {}, 0),
    "pad": ((S, (1, 1)), {}, 0),
    "fold": ((x(2, 16, 9), (4, 4), (2, 2)), {}, 0),
    "unfold": ((S, (3, 3)), {}, 0),
    "interpolate": ((S, (16, 16)), {}, 0),
    "upsample": ((S, (16, 16)), {}, 0),
    "upsample_bilinear": ((S, (16, 16)), {}, 0),
    "upsample_nearest": ((S, (16, 16)), {}, 0),
    "embedding": ((whole(2, 3), x(10, 4)), {}, 0),
    "embedding_bag": ((whole(2, 3), x(10, 4)), {}, 0),
    "one_hot": ((whole(2, 3), 5), {}, 0),
    "pdist": (ONE, {}, 0),
    "prelu": ((V, x(1)), {}, 0),
    "threshold": ((V, 0.1, 0.0), {}, 0),
    "threshold_": ((V, 0.1, 0.0), {}, 0),
    "cosine_embedding_loss": ((V, V, x(3)), {}, 0),
    "cross_entropy": ((V, whole(3)), {}, 0),
    "nll_loss": ((V, whole(3)), {}, 0),
    "multi_margin_loss": ((V, whole(3)), {}, 0),
    "multilabel_margin_loss": ((V, whole(3, 8)), {}, 0),
    "margin_ranking_loss": ((V, V, V), {}, 0),
    "triplet_margin_loss": ((V, V, V), {}, 0),
    "triplet_margin_with_distance_loss": ((V, V, V), {}, 0),
    "ctc_loss": ((x(9, 2, 5), whole(2, 3), [9, 9], [3, 3]), {}, 0),
    "multi_head_attention_forward": (
        (x(6, 2, 8), x(6, 2, 8), x(6, 2, 8), 8, 2, x(24, 8), x(24), None, None, False, 0.0, x(8, 8), x(8)), {},
        4 * 12 * 64 + 2 * 2 * 36 * 8),
}  # fmt: skip
NOT_COUNTED = {
    "gaussian_nll_loss": "it looks at the variances to check them",
    "scaled_mm": "its scales are described by enumerations; tests/rules has its operator",
    "scaled_grouped_mm": "its scales are described by enumerations; tests/rules has its operator",
    "linear_cross_entropy": "it is made of operators of its own that torch does not describe",
    "adaptive_max_pool1d_with_indices": "the same as adaptive_max_pool1d, which tells its indices when asked",
    "assert_int_or_pair": "no function of tensors",
    "boolean_dispatch": "no function of tensors",
    "handle_torch_function": "no function of tensors",
    "has_torch_function": "no function of tensors",
    "has_torch_function_unary": "no function of tensors",
    "has_torch_function_variadic": "no function of tensors",
    "sym_int": "no function of tensors",
}


def functions() -> list[str]:
    found = []
    for name in dir(F):
        one = getattr(F, name)
        public = not name.startswith("_") and callable(one) and not isinstance(one, type) and not inspect.ismodule(one)
        if public and getattr(one, "__module__", "") != "typing":
            found.append(name)
    return found


def test_every_function_is_here() -> None:
    missing = sorted(set(functions()) - set(GIVEN) - set(NOT_COUNTED))
    assert not missing, missing


@pytest.mark.parametrize("name", [name for name in GIVEN if hasattr(F, name)])
def test_functions(name: str) -> None:
    args, kwargs, macs = GIVEN[name]
    leaves, spec = tree_flatten(args)
    tensors = [one for one in leaves if isinstance(one, torch.Tensor)]

    def call(*given: Any) -> Any:
        left = iter(given)
        values = [next(left) if isinstance(one, torch.Tensor) else one for one in leaves]
        return getattr(F, name)(*tree_unflatten(values, spec), **kwargs)

    report = macsim.count(call, *tensors)
    assert report.outputs
    assert "unknown" not in {row.trust for row in report.rows}, [row.op for row in report.rows]
    assert report.macs == macs, [(row.op, row.work["mac"]) for row in report.rows]


# Modules: what they are made with, what they are called with, and their macs.
LIKE = {
    1: (M, ("AvgPool1d", "MaxPool1d", "AdaptiveAvgPool1d", "AdaptiveMaxPool1d")),
    2: (S, ("AvgPool2d", "MaxPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d")),
    3: (C, ("AvgPool3d", "MaxPool3d", "AdaptiveAvgPool3d", "AdaptiveMaxPool3d")),
}
BY_NUMBER = {1: M, 2: S, 3: C}
ACTIVATIONS = words("""AlphaDropout CELU Dropout ELU Flatten GELU Hardshrink Hardsigmoid Hardswish Hardtanh Identity
LeakyReLU LogSigmoid Mish PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh
Tanhshrink GLU LogSoftmax Softmax Softmin""")
LOSSES = words("""BCELoss BCEWithLogitsLoss CosineSimilarity HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss MSELoss
MultiLabelSoftMarginLoss PairwiseDistance PoissonNLLLoss SmoothL1Loss SoftMarginLoss""")
MODULES: dict[str, tuple[tuple[Any, ...], tuple[Any, ...], int]] = {
    **dict.fromkeys(ACTIVATIONS, ((), ONE, 0)),
    **{name: ((2,), (given,), 0) for given, names in LIKE.values() for name in names},
    **{f"LPPool{n}d": ((2, 2), (given,), 0) for n, given in BY_NUMBER.items()},
    **{f"{kind}{n}d": ((4,), (given,), 0) for n, given in BY_NUMBER.items() for kind in ("BatchNorm", "InstanceNorm")},
    **{f"{kind}{n}d": ((1,), (given,), 0) for n, given in BY_NUMBER.items()
       for kind in ("ReflectionPad", "ReplicationPad", "ZeroPad", "CircularPad")},
    **{f"ConstantPad{n}d": ((1, 0.0), (given,), 0) for n, given in BY_NUMBER.items()},
    **{f"Dropout{n}d": ((), (given,), 0) for n, given in BY_NUMBER.items()},
    **{f"MaxUnpool{n}d": ((2,), (given, torch.empty_like(given, dtype=torch.int64)), 0)
       for n, given in BY_NUMBER.items()},
    **dict.fromkeys(LOSSES, ((), D, 0)),
    **{name: ((), (V, whole(3)), 0) for name in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")},
    "MultiLabelMarginLoss": ((), (V, whole(3, 8)), 0),
    "CosineEmbeddingLoss": ((), (V, V, x(3)), 0),
    "MarginRankingLoss": ((), (V, V, V), 0),
    "TripletMarginLoss": ((), (V, V, V), 0),
    "TripletMarginWithDistanceLoss": ((), (V, V, V), 0),
    "Linear": ((8, 5), ONE, 3 * 5 * 8),
    "Bilinear": ((8, 6, 5), (V, x(3, 6)), 3 * 5 * 8 * 6 + 3 * 5 * 6),
    "Conv1d": ((4, 5, 3), (M,), 2 * 5 * 7 * 12),
    "Conv2d": ((4, 5, 3), (S,), 2 * 5 * 36 * 36),
    "Conv3d": ((4, 5, 3), (C,), 2 * 5 * 4 * 36 * 108),
    "ConvTranspose1d": ((4, 5, 3), (M,), 2 * 4 * 9 * 15),
    "ConvTranspose2d": ((4, 5, 3), (S,), 2 * 4 * 64 * 45),
    "ConvTranspose3d": ((4, 5, 3), (C,), 2 * 4 * 384 * 135),
    # 5 steps of 2: gates of 6 from 8 inputs and 6 of the state.
    "LSTM": ((8, 6), (x(5, 2, 8),), 10 * 4 * 6 * 14),
    "GRU": ((8, 6), (x(5, 2, 8),), 10 * 3 * 6 * 14),
    "RNN": ((8, 6), (x(5, 2, 8),), 10 * 6 * 14),
    "LSTMCell": ((8, 6), (V,), 3 * 4 * 6 * 14),
    "GRUCell": ((8, 6), (V,), 3 * 3 * 6 * 14),
    "RNNCell": ((8, 6), (V,), 3 * 6 * 14),
    # 12 rows by 4 matrices of 64; 2 batches: 36 pairs of 8 products, twice.
    "MultiheadAttention": ((8, 2), (x(6, 2, 8),) * 3, 4 * 12 * 64 + 2 * 2 * 36 * 8),
    # And 12 rows by two matrices of 8 x 16.
    "TransformerEncoderLayer": ((8, 2, 16), (x(6, 2, 8),), 4 * 12 * 64 + 2 * 2 * 36 * 8 + 2 * 12 * 128),
    "TransformerDecoderLayer": ((8, 2, 16), (x(6, 2, 8),) * 2, 2 * (4 * 12 * 64 + 2 * 2 * 36 * 8) + 2 * 12 * 128),
    "GroupNorm": ((2, 4), (S,), 0),
    "LayerNorm": ((8,), ONE, 0),
    "RMSNorm": ((8,), ONE, 0),
    "LocalResponseNorm": ((2,), (S,), 0),
    "Embedding": ((10, 4), (whole(2, 3),), 0),
    "EmbeddingBag": ((10, 4), (whole(2, 3),), 0),
    "ChannelShuffle": ((2,), (S,), 0),
    "PixelShuffle": ((2,), (S,), 0),
    "PixelUnshuffle": ((2,), (S,), 0),
    "Fold": (((4, 4), (2, 2)), (x(2, 16, 9),), 0),
    "Unfold": (((3, 3),), (S,), 0),
    "Upsample": (((16, 16),), (S,), 0),
    "UpsamplingBilinear2d": (((16, 16),), (S,), 0),
    "UpsamplingNearest2d": (((16, 16),), (S,), 0),
    "FractionalMaxPool2d": ((2, 3), (S,), 0),
    "FractionalMaxPool3d": ((2, 3), (C,), 0),
    "FeatureAlphaDropout": ((), (S,), 0),
    "Softmax2d": ((), (S,), 0),
    "Threshold": ((0.1, 0.0), ONE, 0),
    "Unflatten": ((1, (2, 4)), ONE, 0),
}  # fmt: skip
BASES = "it has no forward of its own, or holds other modules"
LEFT_OUT = {
    **dict.fromkeys(("Module", "Container", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "RNNBase",
                     "RNNCellBase", "Sequential"), BASES),
    **dict.fromkeys(("Transformer", "TransformerDecoder", "TransformerEncoder"), "made of layers that are here"),
    **dict.fromkeys(("AdaptiveLogSoftmaxWithLoss", "GaussianNLLLoss"), "it looks at data to decide what to do"),
    **dict.fromkeys(("DataParallel", "SyncBatchNorm"), "of several devices"),
    **dict.fromkeys(("NLLLoss2d",), "NLLLoss by an old name"),
    **dict.fromkeys(("CrossMapLRN2d",), "a function in Python that writes into storage"),
    **dict.fromkeys(("CTCLoss",), "it wants lengths; ctc_loss is here"),
    **dict.fromkeys(("LinearCrossEntropyLoss",), "made of operators that torch does not describe"),
}  # fmt: skip


def modules() -> list[str]:
    kinds = [name for name in dir(nn) if isinstance(getattr(nn, name), type)]
    return [name for name in kinds if issubclass(getattr(nn, name), nn.Module) and not name.startswith("Lazy")]


def test_every_module_is_here() -> None:
    missing = sorted(set(modules()) - set(MODULES) - set(LEFT_OUT))
    assert not missing, missing


@pytest.mark.parametrize("name", [name for name in MODULES if hasattr(nn, name)])
def test_modules(name: str) -> None:
    made, given, macs = MODULES[name]
    report = macsim.count(getattr(nn, name)(*made), *given)
    assert "unknown" not in {row.trust for row in report.rows}, [row.op for row in report.rows]
    assert report.macs == macs, [(row.op, row.work["mac"]) for row in report.rows]
