# Which definition each row of the tables of models stands for.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Which definition each model of the tables has, and at which size it is counted where its row does not say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from macsim.trends.architectures import cells, inception, mobile
from macsim.trends.architectures import convolution as cnn
from macsim.trends.architectures import language as words
from macsim.trends.architectures import transformer as seen
from macsim.trends.architectures.language import Config

__all__ = ["DEFINITIONS", "Definition"]


@dataclass(frozen=True)
class Definition:
    """A function that returns a model, and what it is called with.

    Attributes
    ----------
    function : callable
    arguments : tuple
    options : dict
    size : int
        Pixels or tokens, where the row does not say.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    size: int

    def make(self) -> Any:
        """Return the model."""
        return self.function(*self.arguments, **self.options)

    @property
    def takes_tokens(self) -> bool:
        """Whether its input is token ids, not an image."""
        return self.function.__module__ == words.__name__

    def __str__(self) -> str:
        given = [repr(argument) for argument in self.arguments]
        given += [f"{name}={value!r}" for name, value in self.options.items()]
        return f"{self.function.__name__}({', '.join(given)})"


def _at(size: int, function: Callable[..., Any], *arguments: Any, **options: Any) -> Definition:
    return Definition(function, arguments, options, size)


def _config(**sizes: Any) -> Definition:
    """Return a decoder of today, at a prompt of 2048 tokens."""
    return _at(2048, words.modern, Config(**sizes))


R50, R101, R152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
EFFICIENT = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1))

CONVOLUTIONAL = {
    "AlexNet": _at(224, cnn.alexnet),
    "ZFNet": _at(224, cnn.zfnet),
    "ZFNet-b": _at(224, cnn.zfnet, (512, 1024, 512)),
    "VGG-16": _at(224, cnn.vgg, (2, 2, 3, 3, 3)),
    "VGG-19": _at(224, cnn.vgg, (2, 2, 4, 4, 4)),
    "Inception V1 / GoogLeNet": _at(224, inception.inception_v1),
    "Inception V2 / Inception BN": _at(224, inception.inception_v2),
    "Inception V3": _at(299, inception.inception_v3),
    "Inception V4": _at(299, inception.inception_v4),
    "Inception ResNet V2": _at(299, inception.inception_resnet_v2),
    "ResNet-50": _at(224, cnn.resnet, R50, stride_first=True),
    "ResNet-101": _at(224, cnn.resnet, R101, stride_first=True),
    "ResNet-152": _at(224, cnn.resnet, R152, stride_first=True),
    "DenseNet-121": _at(224, cnn.densenet, (6, 12, 24, 16)),
    "DenseNet-169": _at(224, cnn.densenet, (6, 12, 32, 32)),
    "DenseNet-201": _at(224, cnn.densenet, (6, 12, 48, 32)),
    "Xception": _at(299, cnn.xception),
    "ResNeXt-50 (32x4d)": _at(224, cnn.resnet, R50, 32, 4),
    "ResNeXt-101 (64x4d)": _at(224, cnn.resnet, R101, 64, 4),
    "ResNeXt-101 32x32d (WSL)": _at(224, cnn.resnet, R101, 32, 32),
    "ResNeXt-101 32x48d (WSL)": _at(224, cnn.resnet, R101, 32, 48),
    "ResNeXt-50 32x4d (SWSL)": _at(224, cnn.resnet, R50, 32, 4),
    "ResNeXt-101 32x8d (SWSL)": _at(224, cnn.resnet, R101, 32, 8),
    "ResNeXt-101 32x16d (SWSL)": _at(224, cnn.resnet, R101, 32, 16),
    "FixResNeXt-101 32x48d": _at(320, cnn.resnet, R101, 32, 48),
    "SENet-154": _at(224, cnn.senet154),
    "DPN-92": _at(224, cnn.dpn, 64, 96, 32, (3, 4, 20, 3), (16, 32, 24, 128)),
    "DPN-98": _at(224, cnn.dpn, 96, 160, 40, (3, 6, 20, 3), (16, 32, 32, 128)),
    "DPN-131 (40x4)": _at(224, cnn.dpn, 128, 160, 40, (4, 8, 28, 3), (16, 32, 32, 128)),
    "NASNet-A (7 @ 1920)": _at(299, cells.nasnet, 7, 1920, 32, strided=True),
    "NASNet-A (6 @ 4032)": _at(331, cells.nasnet, 6, 4032, 96),
    "PNASNet-5 (N=3, F=54)": _at(224, cells.pnasnet, 3, 54, 32),
    "PNASNet-5 (N=4, F=216)": _at(331, cells.pnasnet, 4, 216, 96),
    "AmoebaNet-A (N=6, F=190)": _at(331, cells.amoebanet, 6, 190),
    "AmoebaNet-A (N=6, F=448)": _at(331, cells.amoebanet, 6, 448),
    "BiT-L (ResNet-152x4)": _at(480, cnn.bit, R152, 4),
    "ResNeSt-50": _at(224, cnn.resnest, R50, 32),
    "ResNeSt-200": _at(320, cnn.resnest, (3, 24, 36, 3), 64),
    "ResNeSt-269": _at(416, cnn.resnest, (3, 30, 48, 8), 64),
    **{f"NFNet-F{n}{'+SAM' if n == 6 else ''}": _at(224, cnn.nfnet, n + 1) for n in range(7)},
    "NFNet-F4+": _at(512, cnn.nfnet, 5, (384, 768, 2048, 2048)),
    "MobileNet": _at(224, mobile.mobilenet_v1),
    "MobileNetV2": _at(224, mobile.mobilenet_v2),
    "MobileNetV2 1.4": _at(224, mobile.mobilenet_v2, 1.4),
    "ShuffleNet x1.0 (g=8)": _at(224, mobile.shufflenet_v1, (384, 768, 1536), 8),
    "ShuffleNetV2 x1.0": _at(224, mobile.shufflenet_v2),
    "MnasNet-A1": _at(224, mobile.mnasnet_a1),
    **{
        f"{family}-B{n}": _at(224, mobile.efficientnet, *factors)
        for family in ("EfficientNet", "NoisyStudent", "FixEfficientNet")
        for n, factors in enumerate(EFFICIENT)
    },
    "NoisyStudent-L2": _at(800, mobile.efficientnet, 4.3, 5.3),
    "FixEfficientNet-L2": _at(600, mobile.efficientnet, 4.3, 5.3),
    "Meta Pseudo Labels L2": _at(800, mobile.efficientnet, 4.3, 5.3),
    "EfficientNetV2-S": _at(384, mobile.efficientnet_v2, "s"),
    "EfficientNetV2-M": _at(480, mobile.efficientnet_v2, "m"),
    "EfficientNetV2-L": _at(480, mobile.efficientnet_v2, "l"),
    "EfficientNetV2-XL (21k)": _at(512, mobile.efficientnet_v2, "xl"),
}

WIDE = (192, 384, 768, 1536)
TRANSFORMERS = {
    "ViT-L/16 (I21k)": _at(384, seen.vit, 1024, 24, 16, 16, 384),
    "ViT-L/16 (JFT)": _at(384, seen.vit, 1024, 24, 16, 16, 384),
    "ViT-H/14 (JFT)": _at(518, seen.vit, 1280, 32, 16, 14, 518),
    "ViT-G/14": _at(518, seen.vit, 1664, 48, 16, 14, 518, 8192),
    "DeiT-Ti": _at(224, seen.vit, 192, 12, 3, 16, 224),
    "DeiT-S": _at(224, seen.vit, 384, 12, 6, 16, 224),
    "DeiT-B": _at(224, seen.vit, 768, 12, 12, 16, 224),
    "DeiT-B 384": _at(384, seen.vit, 768, 12, 12, 16, 384),
    "T2T-ViT_t-14": _at(224, seen.t2t_vit, 384, 14, 6),
    "T2T-ViT_t-19": _at(224, seen.t2t_vit, 448, 19, 7),
    "T2T-ViT_t-24": _at(224, seen.t2t_vit, 512, 24, 8),
    "CaiT-S24-224": _at(224, seen.cait, 384, 24, 8, 224),
    "CaiT-S36-384": _at(384, seen.cait, 384, 36, 8, 384),
    "CaiT-M36-384": _at(384, seen.cait, 768, 36, 16, 384),
    "CaiT-M48-448": _at(448, seen.cait, 768, 48, 16, 448),
    "Swin-T": _at(224, seen.swin, 96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "Swin-S": _at(224, seen.swin, 96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    "Swin-B 384": _at(384, seen.swin, 128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    "Swin-B (I22k) 384": _at(384, seen.swin, 128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    "Swin-L (I22k) 384": _at(384, seen.swin, 192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
    "CoAtNet-0": _at(224, seen.coatnet, (96, 192, 384, 768), (2, 3, 5, 2), (64, 64)),
    "CoAtNet-1": _at(224, seen.coatnet, (96, 192, 384, 768), (2, 6, 14, 2), (64, 64)),
    "CoAtNet-2": _at(224, seen.coatnet, (128, 256, 512, 1024), (2, 6, 14, 2), (128, 128)),
    "CoAtNet-3": _at(224, seen.coatnet, WIDE, (2, 6, 14, 2), (192, 192)),
    "CoAtNet-3 384": _at(384, seen.coatnet, WIDE, (2, 6, 14, 2), (192, 192)),
    "CoAtNet-4 512 (I21k)": _at(512, seen.coatnet, WIDE, (2, 12, 28, 2), (192, 192)),
    "CoAtNet-5 (JFT)": _at(512, seen.coatnet, (256, 512, 1280, 2048), (2, 12, 28, 2), (192, 192)),
    # its publication prints 2048 for the last width, but 1470 M parameters and 1521 GMACs, which are those of 3072:
    # twice the width before it, as in -0 to -4
    "CoAtNet-6 (JFT)": _at(512, seen.coatnet, (192, 384, 768, 1536, 3072), (2, 4, 8, 42, 2), (192, 192)),
    "CoAtNet-7 (JFT)": _at(512, seen.coatnet, (256, 512, 1024, 2048, 3072), (2, 4, 8, 42, 2), (192, 192)),
    "BoTNet-T5": _at(256, seen.botnet, (3, 4, 23, 12), 256),
    "BoTNet-T7": _at(384, seen.botnet, (3, 4, 23, 12), 384),
}

LANGUAGE = {
    "Transformer (Vaswani 2017)": _at(512, words.translator, 512, 6, 8, 2048),
    "ELMo": _at(128, words.elmo),
    "GPT-1": _at(128, words.decoder, 768, 12, 12, vocabulary=40478, positions=512),
    "BERT-Large": _at(128, words.encoder, 1024, 24, 16),
    "BERT-Base": _at(128, words.encoder, 768, 12, 12),
    "BERT-Small": _at(128, words.encoder, 256, 12, 4, embedded=128),
    "GPT-2": _at(1024, words.decoder, 1600, 48, 25, positions=1024),
    "Megatron": _at(1024, words.decoder, 3072, 72, 32, vocabulary=51200, positions=1024),
    "ALBERT-xxl": _at(512, words.encoder, 4096, 12, 64, vocabulary=30000, embedded=128, shared=True),
    "ALBERT-base": _at(128, words.encoder, 768, 12, 12, vocabulary=30000, embedded=128, shared=True),
    "Theseus 6/768": _at(128, words.encoder, 768, 6, 12),
    "Microsoft T-NLG": _at(1024, words.decoder, 4256, 78, 28, positions=1024),
    "ELECTRA-Large": _at(128, words.encoder, 1024, 24, 16),
    "ELECTRA-Base": _at(128, words.encoder, 768, 12, 12),
    "ELECTRA-Small": _at(128, words.encoder, 256, 12, 4, embedded=128),
    "MobileBERT": _at(128, words.mobilebert),
    "MobileBERT tiny": _at(128, words.mobilebert, stacks=2, shared=False),
    "GPT-3": _at(2048, words.decoder, 12288, 96, 96),
    "SqueezeBERT": _at(128, words.encoder, 768, 12, 12, groups=4),
}

T, B, L, XL = (96, 192, 384, 768), (128, 256, 512, 1024), WIDE, (256, 512, 1024, 2048)
LATER_VISION = {
    "ConvNeXt-T": _at(224, cnn.convnext, (3, 3, 9, 3), T),
    "ConvNeXt-B": _at(224, cnn.convnext, (3, 3, 27, 3), B),
    "ConvNeXt-L (I22k) 384": _at(384, cnn.convnext, (3, 3, 27, 3), L),
    "ConvNeXt-XL (I22k) 384": _at(384, cnn.convnext, (3, 3, 27, 3), XL),
    "ConvNeXt V2-A": _at(224, cnn.convnext, (2, 2, 6, 2), (40, 80, 160, 320), response=True),
    "ConvNeXt V2-H (I22k) 512": _at(512, cnn.convnext, (3, 3, 27, 3), (352, 704, 1408, 2816), response=True),
    "Swin V2-T 256": _at(256, seen.swin, 96, (2, 2, 6, 2), (3, 6, 12, 24), 8, second=True),
    "Swin V2-B (I22k) 384": _at(384, seen.swin, 128, (2, 2, 18, 2), (4, 8, 16, 32), 24, second=True),
    "Swin V2-L (I22k) 384": _at(384, seen.swin, 192, (2, 2, 18, 2), (6, 12, 24, 48), 24, second=True),
    "DeiT III-L (I21k) 384": _at(384, seen.vit, 1024, 24, 16, 16, 384),
    "Model soup of ViT-G/14": _at(518, seen.vit, 1664, 48, 16, 14, 518, 8192),
    "CoCa (encoder)": _at(576, seen.vit, 1408, 40, 16, 18, 576, 6144),
    "EVA": _at(560, seen.vit, 1408, 40, 16, 14, 560, 6144),
    "EVA-02-L": _at(448, seen.vit, 1024, 24, 16, 14, 448, 2730, gated=True, norm=True),
    "ViT-22B": _at(224, seen.vit, 6144, 48, 48, 14, 224, 24576),
    "DINOv2 ViT-L/14": _at(224, seen.vit, 1024, 24, 16, 14, 224),
    "DINOv2 ViT-g/14": _at(224, seen.vit, 1536, 40, 24, 14, 224, 4096, gated=True),
    "AIM-7B": _at(224, seen.vit, 4096, 32, 32, 14, 224),
    "AIMv2-3B 448": _at(448, seen.vit, 3072, 24, 24, 14, 448, 8192, gated=True),
    "DINOv3 ViT-7B/16": _at(512, seen.vit, 4096, 40, 32, 16, 512, 8192, gated=True, registers=4),
}

_LLAMA_3 = {"keys": 8, "vocabulary": 128256}
_DEEPSEEK = {
    "size": 128,
    "chosen": 8,
    "expert": 2048,
    "shared": 2048,
    "latent": 512,
    "query": 1536,
    "rope": 64,
    "value": 128,
}
LATER_LANGUAGE = {
    "MT-NLG 530B": _at(2048, words.decoder, 20480, 105, 128),
    "PaLM 540B": _config(width=18432, depth=118, heads=48, keys=1, size=256, inner=73728, vocabulary=256000, tied=True),
    "OPT-175B": _at(2048, words.decoder, 12288, 96, 96, vocabulary=50272),
    "BLOOM 176B": _at(2048, words.decoder, 14336, 70, 112, vocabulary=250880),
    "LLaMA 7B": _config(width=4096, depth=32, heads=32, keys=32, inner=11008, vocabulary=32000),
    "LLaMA 65B": _config(width=8192, depth=80, heads=64, keys=64, inner=22016, vocabulary=32000),
    "Llama 2 70B": _config(width=8192, depth=80, heads=64, keys=8, inner=28672, vocabulary=32000),
    "Mistral 7B": _config(width=4096, depth=32, heads=32, keys=8, inner=14336, vocabulary=32000),
    "Mixtral 8x7B": _config(
        width=4096, depth=32, heads=32, keys=8, inner=0, vocabulary=32000, experts=8, chosen=2, expert=14336
    ),
    "Mixtral 8x22B": _config(
        width=6144, depth=56, heads=48, keys=8, inner=0, vocabulary=32768, experts=8, chosen=2, expert=16384
    ),
    "Llama 3 8B": _config(width=4096, depth=32, heads=32, inner=14336, **_LLAMA_3),
    "Llama 3 70B": _config(width=8192, depth=80, heads=64, inner=28672, **_LLAMA_3),
    "Llama 3.1 405B": _config(width=16384, depth=126, heads=128, inner=53248, **_LLAMA_3),
    "Gemma 2 27B": _config(
        width=4608, depth=46, heads=32, keys=16, size=128, inner=36864, vocabulary=256000, tied=True
    ),
    "Qwen2.5 7B": _config(width=3584, depth=28, heads=28, keys=4, inner=18944, vocabulary=152064),
    "Qwen2.5 72B": _config(width=8192, depth=80, heads=64, keys=8, inner=29568, vocabulary=152064),
    "DeepSeek-V3": _config(
        width=7168, depth=61, heads=128, keys=128, inner=18432, vocabulary=129280, experts=256, dense=3, **_DEEPSEEK
    ),
    "Qwen3 8B": _config(width=4096, depth=36, heads=32, keys=8, size=128, inner=12288, vocabulary=151936),
    "Qwen3 235B-A22B": _config(
        width=4096, depth=94, heads=64, keys=4, size=128, inner=0, vocabulary=151936, experts=128, chosen=8, expert=1536
    ),
    "Kimi K2": _config(
        width=7168, depth=61, heads=64, keys=64, inner=18432, vocabulary=163840, experts=384, dense=1, **_DEEPSEEK
    ),
    "gpt-oss-20b": _config(
        width=2880, depth=24, heads=64, keys=8, size=64, inner=0, vocabulary=201088, experts=32, chosen=4, expert=2880
    ),
    "gpt-oss-120b": _config(
        width=2880, depth=36, heads=64, keys=8, size=64, inner=0, vocabulary=201088, experts=128, chosen=4, expert=2880
    ),
}

DEFINITIONS = {**CONVOLUTIONAL, **TRANSFORMERS, **LANGUAGE, **LATER_VISION, **LATER_LANGUAGE}
