"""Transformers of published energy measurements: language models a layer of each sort at a time, encoders, diffusion.

What has convolutions among its layers takes them from energy_networks.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from energy_networks import Conv, basic
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class LM:
    """The public configuration of a decoder."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocabulary: int
    experts: int = 0  # of how many
    active: int = 0  # how many a token takes
    expert_inner: int = 0
    shared_inner: int = 0
    dense_layers: int = -1  # layers without experts, of a mixture
    window: int = 0  # of local attention
    local: float = 0.0  # share of layers that are local
    gated: bool = True
    state_layers: int = 0  # Mamba2 layers
    lone_layers: int = 0  # layers that are only a feed-forward part
    latent: int = 0  # of latent attention: what is cached of a token
    weight_bits: float = 16.0
    expert_bits: float = 16.0


QWEN = {"vocabulary": 151936, "head_width": 128}
LLAMA = {"vocabulary": 128256, "head_width": 128, "kv_heads": 8}
LMS = {
    "Qwen3-8B": LM(36, 4096, 32, 8, inner=12288, **QWEN),
    "Qwen3-14B": LM(40, 5120, 40, 8, inner=17408, **QWEN),
    "Qwen3-32B": LM(64, 5120, 64, 8, inner=25600, **QWEN),
    "Qwen3-30B-A3B": LM(48, 2048, 32, 4, inner=0, experts=128, active=8, expert_inner=768, dense_layers=0, **QWEN),
    "Qwen3-235B-A22B": LM(94, 4096, 64, 4, inner=0, experts=128, active=8, expert_inner=1536, dense_layers=0, **QWEN),
    "Qwen3-Coder-480B-A35B": LM(
        62, 6144, 96, 8, inner=0, experts=160, active=8, expert_inner=2560, dense_layers=0, **QWEN
    ),
    "gemma-3-12b": LM(48, 3840, 16, 8, 256, 15360, 262208, window=1024, local=5 / 6),
    "gemma-3-27b": LM(62, 5376, 32, 16, 128, 21504, 262208, window=1024, local=5 / 6),
    "Llama-3.1-8B": LM(32, 4096, 32, inner=14336, **LLAMA),
    "Llama-3.1-70B": LM(80, 8192, 64, inner=28672, **LLAMA),
    "Llama-3.1-405B": LM(126, 16384, 128, inner=53248, **LLAMA),
    "Llama-4-Scout": LM(48, 5120, 40, 8, 128, 0, 202048, 16, 1, 8192, 8192, 0),
    "Llama-4-Maverick": LM(48, 5120, 40, 8, 128, 16384, 202048, 128, 1, 8192, 8192, 24),
    "gpt-oss-20b": LM(24, 2880, 64, 8, 64, 0, 201088, 32, 4, 2880, 0, 0, window=128, local=0.5, expert_bits=4.25),
    "DeepSeek-V3": LM(61, 7168, 128, 128, 128, 18432, 129280, 256, 8, 2048, 2048, 3, latent=576),
    "Nemotron-Nano-12B-v2": LM(62, 5120, 40, 8, 128, 20480, 131072, gated=False, state_layers=28, lone_layers=28),
    "TinyLlama-1.1B": LM(22, 2048, 32, 4, 64, 5632, 32000),
    "Qwen2-7B": LM(28, 3584, 28, 4, 128, 18944, 152064),
    "Qwen2-72B": LM(80, 8192, 64, 8, 128, 29568, 152064),
    "Yi-1.5-6B": LM(32, 4096, 32, 4, 128, 11008, 64000),
    "Mistral-7B": LM(32, 4096, 32, 8, 128, 14336, 32768),
}


class Attention(nn.Module):
    """Grouped-query attention of one layer; `past` is the cache that a decoding step finds."""

    def __init__(self, lm: LM) -> None:
        super().__init__()
        self.lm = lm
        self.norm = nn.RMSNorm(lm.width)
        self.qkv = nn.Linear(lm.width, (lm.heads + 2 * lm.kv_heads) * lm.head_width, bias=False)
        self.out = nn.Linear(lm.heads * lm.head_width, lm.width, bias=False)

    def forward(self, x: torch.Tensor, *past: torch.Tensor) -> torch.Tensor:
        lm, (batch, tokens, _) = self.lm, x.shape
        joined = self.qkv(self.norm(x)).view(batch, tokens, lm.heads + 2 * lm.kv_heads, lm.head_width).transpose(1, 2)
        q, k, v = joined.split([lm.heads, lm.kv_heads, lm.kv_heads], 1)
        k, v = past if past else (k, v)  # the step's own key and value are written into the cache in place
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=not past, enable_gqa=True)
        return x + self.out(y.transpose(1, 2).reshape(batch, tokens, lm.heads * lm.head_width))


class Latent(nn.Module):
    """Multi-head latent attention of DeepSeek, absorbed form: heads share one key and value of 576."""

    def __init__(self, lm: LM) -> None:
        super().__init__()
        self.lm = lm
        self.norm = nn.RMSNorm(lm.width)
        self.down = nn.Linear(lm.width, 1536 + lm.latent, bias=False)
        self.up = nn.Linear(1536, lm.heads * 192, bias=False)
        self.absorb = nn.Parameter(torch.empty(lm.heads, 128, 512))
        self.lift = nn.Parameter(torch.empty(lm.heads, 512, 128))
        self.out = nn.Linear(lm.heads * 128, lm.width, bias=False)

    def forward(self, x: torch.Tensor, *past: torch.Tensor) -> torch.Tensor:
        lm, (batch, tokens, _) = self.lm, x.shape
        q, kv = self.down(self.norm(x)).split([1536, lm.latent], -1)
        q = self.up(q).view(batch, tokens, lm.heads, 192)
        inner = torch.einsum("bthd,hdl->bhtl", q[..., :128], self.absorb)
        q = torch.cat([inner, q[..., 128:].transpose(1, 2)], -1)
        k = past[0] if past else kv[:, None]
        y = functional.scaled_dot_product_attention(q, k, k, is_causal=not past, enable_gqa=True)[..., :512]
        return x + self.out(torch.einsum("bhtl,hld->bthd", y, self.lift).reshape(batch, tokens, lm.heads * 128))


class FeedForward(nn.Module):
    def __init__(self, width: int, inner: int, gated: bool = True) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.up = nn.Linear(width, inner * (1 + gated), bias=False)
        self.down = nn.Linear(inner, width, bias=False)
        self.gated = gated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(self.norm(x))
        if self.gated:
            gate, y = y.chunk(2, -1)
            y = functional.silu(gate) * y
        else:
            y = functional.relu(y).square()
        return x + self.down(y)


class State(nn.Module):
    """A Mamba2 layer of Nemotron: 128 heads of 80, states of 128, 8 groups. Without a state it is a prefill.

    A prefill goes in chunks, whose states are two matrix products: the same arithmetic, with the state moved once.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.into = nn.Linear(width, 2 * 10240 + 2 * 1024 + 128, bias=False)
        self.out = nn.Linear(10240, width, bias=False)

    def forward(self, x: torch.Tensor, *past: torch.Tensor) -> torch.Tensor:
        if not past:
            z, hidden, b, c, _ = self.into(self.norm(x)).split([10240, 10240, 1024, 1024, 128], -1)
            y = torch.matmul(c[..., :128], torch.matmul(b[..., :128].transpose(1, 2), hidden))
            return x + self.out(y * functional.silu(z))
        (state,) = past
        z, hidden, b, _, _ = self.into(self.norm(x))[:, 0].split([10240, 10240, 1024, 1024, 128], -1)
        batch = x.shape[0]
        b = b.view(batch, 8, 1, 128).expand(batch, 8, 16, 128).reshape(batch, 128, 128)
        new = torch.baddbmm(state.flatten(0, 1), hidden.view(-1, 80, 1), b.flatten(0, 1)[:, None])
        y = new[..., :1]  # the result is made on the way, of the state that is in registers then
        return x + self.out(y.reshape(batch, 1, 10240) * functional.silu(z[:, None]))


class Expert(nn.Module):
    def __init__(self, lm: LM) -> None:
        super().__init__()
        self.body = FeedForward(lm.width, lm.expert_inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Logits(nn.Module):
    def __init__(self, lm: LM) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(lm.width)
        self.head = nn.Linear(lm.width, lm.vocabulary, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(x))


def language_model(lm: LM, prefill: bool) -> Iterator[tuple[nn.Module, list[tuple[Any, ...]], float, str, float]]:
    """Yield the parts of a decoder: a module, its inputs' shapes, how often it runs, its sort, bits of its weights."""
    token = (1, "prompt", lm.width) if prefill else ("batch", 1, lm.width)
    attending = lm.layers - lm.state_layers - lm.lone_layers

    def cached(length: str | int) -> list[tuple[Any, ...]]:
        if prefill:
            return []
        if lm.latent:
            return [("batch", 1, length, lm.latent)]
        return [("batch", lm.kv_heads, length, lm.head_width)] * 2

    make = Latent if lm.latent else Attention
    yield make(lm), [token, *cached("context")], attending * (1 - lm.local), "", lm.weight_bits
    if lm.local:
        yield make(lm), [token, *cached("window")], attending * lm.local, "", lm.weight_bits
    if lm.state_layers:
        state = [] if prefill else [("batch", 128, 80, 128)]
        yield State(lm.width), [token, *state], lm.state_layers, "", lm.weight_bits
    if lm.experts:
        sparse = lm.layers - lm.dense_layers
        if lm.dense_layers:
            yield FeedForward(lm.width, lm.inner), [token], lm.dense_layers, "", lm.weight_bits
        if lm.shared_inner:
            yield FeedForward(lm.width, lm.shared_inner), [token], sparse, "", lm.weight_bits
        yield Expert(lm), [token], sparse, "expert", lm.expert_bits
    else:
        yield FeedForward(lm.width, lm.inner, lm.gated), [token], lm.lone_layers or lm.layers, "", lm.weight_bits
    yield Logits(lm), [("batch", 1, lm.width)], 1, "", 16.0


class Encoder(nn.Module):
    """A layer of BERT or of a vision transformer."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.a, self.b = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, self.width // self.heads).permute(2, 0, 3, 1, 4)
        x = self.a(
            x
            + self.out(
                functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, self.width)
            )
        )
        return self.b(x + self.down(functional.gelu(self.up(x))))


class Joint(nn.Module):
    """A block of a diffusion transformer: streams of tokens with weights of their own attend to each other jointly."""

    def __init__(self, width: int, heads: int, streams: int, inner: int = 0, twice: bool = False) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        inner = inner or 4 * width
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(streams))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(streams))
        self.up = nn.ModuleList(nn.Linear(width, inner) for _ in range(streams))
        self.down = nn.ModuleList(nn.Linear(inner, width) for _ in range(streams))
        self.modulate = nn.ModuleList(nn.Linear(width, (9 if twice else 6) * width) for _ in range(streams))
        self.again = nn.ModuleList([nn.Linear(width, 3 * width), nn.Linear(width, width)]) if twice else None

    def attend(self, parts: list[torch.Tensor]) -> list[torch.Tensor]:
        joined = torch.cat(parts, 1)
        batch, tokens, _ = joined.shape
        q, k, v = joined.view(batch, tokens, 3, self.heads, self.width // self.heads).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, self.width)
        return list(y.split([part.shape[1] for part in parts], 1))

    def forward(self, time: torch.Tensor, *streams: torch.Tensor) -> list[torch.Tensor]:
        made = [m(time)[:, None].chunk(m.out_features // self.width, -1) for m in self.modulate]
        normal = [
            functional.layer_norm(x, (self.width,)) * (1 + m[0]) + m[1] for x, m in zip(streams, made, strict=True)
        ]
        attended = self.attend([qkv(x) for qkv, x in zip(self.qkv, normal, strict=True)])
        results = [x + m[2] * out(y) for x, m, out, y in zip(streams, made, self.out, attended, strict=True)]
        if self.again is not None:
            results[0] = results[0] + self.again[1](self.attend([self.again[0](normal[0])])[0])
        found = []
        for x, m, up, down in zip(results, made, self.up, self.down, strict=True):
            y = functional.layer_norm(x, (self.width,)) * (1 + m[3]) + m[4]
            found.append(x + m[5] * down(functional.gelu(up(y), approximate="tanh")))
        return found


class Cross(nn.Module):
    """A block of HunyuanDiT: attention, attention to the text, feed-forward; half of them join an earlier result."""

    def __init__(self, width: int, heads: int, inner: int, text: int, skip: bool) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.q, self.kv, self.mix = nn.Linear(width, width), nn.Linear(text, 2 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.skip = nn.Linear(2 * width, width) if skip else None

    def forward(self, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        head = width // self.heads
        if self.skip is not None:
            x = self.skip(torch.cat([x, x], -1))
        q, k, v = (
            self.qkv(functional.layer_norm(x, (width,))).view(batch, tokens, 3, self.heads, head).permute(2, 0, 3, 1, 4)
        )
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))
        q = self.q(functional.layer_norm(x, (width,))).view(batch, tokens, self.heads, head).transpose(1, 2)
        k, v = self.kv(text).view(batch, -1, 2, self.heads, head).permute(2, 0, 3, 1, 4)
        x = x + self.mix(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(functional.gelu(self.up(functional.layer_norm(x, (width,)))))


class Linear(nn.Module):
    """A block of SANA: linear attention, attention to the text, and a gated convolution as the feed-forward part."""

    def __init__(self, width: int = 2240, heads: int = 70, side: int = 32) -> None:
        super().__init__()
        self.width, self.heads, self.side = width, heads, side
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.q, self.kv, self.mix = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        inner = int(2.5 * width)
        self.up, self.deep, self.down = (
            Conv(width, 2 * inner),
            Conv(2 * inner, 2 * inner, 3, 1, 2 * inner),
            Conv(inner, width),
        )

    def forward(self, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        q, k, v = (
            self.qkv(functional.layer_norm(x, (width,))).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        y = torch.matmul(functional.relu(q), torch.matmul(functional.relu(k).transpose(2, 3), v))
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, width))
        q = self.q(x).view(batch, tokens, 20, width // 20).transpose(1, 2)
        k, v = self.kv(text).view(batch, -1, 2, 20, width // 20).permute(2, 0, 3, 1, 4)
        x = x + self.mix(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))
        image = functional.layer_norm(x, (width,)).transpose(1, 2).view(batch, width, self.side, self.side)
        y, gate = self.deep(functional.silu(self.up(image))).chunk(2, 1)
        return x + self.down(y * functional.silu(gate)).flatten(2).transpose(1, 2)


class Decoded(nn.Module):
    """The decoder of an image autoencoder: residual convolutions at growing sizes (channels, blocks at each)."""

    def __init__(self, latent: int, levels: list[tuple[int, int]], side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv(latent, a := levels[0][0], 3)]
        for at, (b, blocks) in enumerate(levels):
            for _ in range(blocks):
                layers.append(nn.Sequential(nn.GroupNorm(32, a), nn.SiLU(), basic(a, b)))
                a = b
            if at + 1 < len(levels):
                layers += [nn.Upsample(scale_factor=2), Conv(a, a, 3)]
        self.body = nn.Sequential(*layers, Conv(a, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


VAE = [(512, 3), (512, 3), (256, 3), (128, 3)]
Part = tuple[nn.Module, list[tuple[Any, ...]], float, str, float]


def diffusion(name: str) -> Iterator[tuple[str, Part]]:
    """Yield the parts of a pipeline; a step takes twice the batch where guidance is a second pass."""
    b = "batch"

    def step(module: nn.Module, shapes: list[tuple[Any, ...]], times: float) -> tuple[str, Part]:
        return "step", (module, shapes, times, "", 16.0)

    if name in ("stable-diffusion-3.5-medium", "stable-diffusion-3.5-large"):
        width, layers, heads, twice = (1536, 24, 24, 13) if "medium" in name else (2432, 38, 38, 0)
        shapes = [(b, width), (b, 4096, width), (b, 333, width)]
        yield step(Joint(width, heads, 2), shapes, layers - twice)
        if twice:
            yield step(Joint(width, heads, 2, twice=True), shapes, twice)
        yield "image", (Decoded(16, VAE, 128), [(b, 16, 128, 128)], 1, "", 16.0)
    elif name == "HunyuanDiT-v1.2":
        for skip in (False, True):
            yield step(Cross(1408, 16, 6144, 1024, skip), [(b, 4096, 1408), (b, 333, 1024)], 20)
        yield "image", (Decoded(4, VAE, 128), [(b, 4, 128, 128)], 1, "", 16.0)
    elif name == "SANA1.5-1.6B":
        yield step(Linear(), [(b, 1024, 2240), (b, 300, 2240)], 20)
        levels = [(1024, 3), (1024, 3), (512, 3), (512, 3), (256, 3), (128, 3)]
        yield "image", (Decoded(32, levels, 32), [(b, 32, 32, 32)], 1, "", 16.0)
    elif name == "CogVideoX-2b":
        tokens = 13 * 30 * 45
        yield step(Joint(1920, 30, 2), [(b, 1920), (b, tokens, 1920), (b, 226, 1920)], 30)
    elif name == "HunyuanVideo":
        tokens = 33 * 45 * 80
        yield step(Joint(3072, 24, 2), [(b, 3072), (b, tokens, 3072), (b, 256, 3072)], 20)
        yield step(Joint(3072, 24, 1), [(b, 3072), (b, tokens + 256, 3072)], 40)


DIFFUSION = (
    "stable-diffusion-3.5-medium",
    "stable-diffusion-3.5-large",
    "HunyuanDiT-v1.2",
    "SANA1.5-1.6B",
    "CogVideoX-2b",
    "HunyuanVideo",
)
VISION = {"Qwen3-VL": (27, 1152, 16, 4304), "gemma-3": (27, 1152, 16, 4304), "Nemotron-VL": (32, 1280, 16, 5120)}
