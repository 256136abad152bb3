# Language models. Our own definitions.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Language models: encoders, decoders with shared heads, latent attention and experts, encoder-decoders, ELMo."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from macsim.trends.architectures.parts import attend, chain


class _Grouped(nn.Module):
    """A linear map over each of some groups of channels."""

    def __init__(self, ins: int, outs: int, groups: int) -> None:
        super().__init__()
        self.map = nn.Conv1d(ins, outs, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x.transpose(1, 2)).transpose(1, 2)


def _linear(ins: int, outs: int, groups: int = 1) -> nn.Module:
    return nn.Linear(ins, outs) if groups == 1 else _Grouped(ins, outs, groups)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, *, causal: bool = False, groups: int = 1, source: int = 0) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.q, self.out = _linear(width, width, groups), nn.Linear(width, width)
        self.k, self.v = (_linear(source or width, width, groups) for _ in range(2))

    def forward(self, x: Tensor, other: Tensor | None = None, values: Tensor | None = None) -> Tensor:
        other = x if other is None else other
        inputs = (self.q(x), self.k(other), self.v(other if values is None else values))
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in inputs)
        return self.out(attend(q, k, v, causal=self.causal).transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    """A layer of an encoder, a decoder, or a decoder that looks at an encoder."""

    def __init__(
        self, width: int, heads: int, inner: int, *, causal: bool = False, crossed: bool = False, groups: int = 1
    ) -> None:
        super().__init__()
        self.own = _Attention(width, heads, causal=causal, groups=groups)
        self.cross = _Attention(width, heads) if crossed else None
        self.up, self.down = _linear(width, inner, groups), _linear(inner, width, groups)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if crossed else 2))

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        x = self.norms[0](x + self.own(x))
        if self.cross is not None:
            x = self.norms[2](x + self.cross(x, source))
        return self.norms[1](x + self.down(F.gelu(self.up(x))))


class _Encoder(nn.Module):
    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        inner: int,
        vocabulary: int,
        *,
        embedded: int = 0,
        groups: int = 1,
        shared: bool = False,
    ) -> None:
        super().__init__()
        embedded = embedded or width
        self.words, self.places = nn.Embedding(vocabulary, embedded), nn.Embedding(512, embedded)
        self.norm = nn.LayerNorm(embedded)
        self.widen = nn.Linear(embedded, width) if embedded != width else nn.Identity()
        layers = [_Layer(width, heads, inner, groups=groups) for _ in range(1 if shared else depth)]
        self.layers, self.times = nn.ModuleList(layers), depth if shared else 1
        self.pool = nn.Linear(width, width)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device)))
        x = self.widen(x)
        for _ in range(self.times):
            for layer in self.layers:
                x = layer(x)
        return torch.tanh(self.pool(x[:, 0]))


def encoder(
    width: int,
    depth: int,
    heads: int,
    *,
    inner: int = 0,
    vocabulary: int = 30522,
    embedded: int = 0,
    groups: int = 1,
    shared: bool = False,
) -> nn.Module:
    """Return an encoder, up to the pooled first token: BERT, ELECTRA, ALBERT (`shared`), SqueezeBERT (`groups`)."""
    inner = inner or 4 * width
    return _Encoder(width, depth, heads, inner, vocabulary, embedded=embedded, groups=groups, shared=shared)


class _Bottleneck(nn.Module):
    """MobileBERT's layer: 512 wide between layers, 128 within; `shared` lets keys and queries alone be narrow."""

    def __init__(self, stacks: int, *, shared: bool) -> None:
        super().__init__()
        self.shared, self.narrow = shared, nn.Linear(512, 128)
        self.keys = nn.Linear(512, 128) if shared else None
        self.q, self.k, self.v = nn.Linear(128, 128), nn.Linear(128, 128), nn.Linear(512 if shared else 128, 128)
        self.out, self.wide = nn.Linear(128, 128), nn.Linear(128, 512)
        self.feeds = nn.ModuleList(chain([nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 128)]) for _ in range(stacks))
        self.scales = nn.ParameterList(torch.ones(128) for _ in range(stacks + 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(x)
        keyed = y if self.keys is None else self.keys(x)
        inputs = (self.q(keyed), self.k(keyed), self.v(x if self.shared else y))
        q, k, v = (one.unflatten(-1, (4, -1)).transpose(1, 2) for one in inputs)
        y = (y + self.out(attend(q, k, v).transpose(1, 2).flatten(2))) * self.scales[0]
        for feed, scale in zip(self.feeds, list(self.scales)[1:], strict=True):
            y = (y + feed(y)) * scale
        return x + self.wide(y)


class _MobileBert(nn.Module):
    def __init__(self, stacks: int, *, shared: bool) -> None:
        super().__init__()
        self.words, self.places, self.widen = nn.Embedding(30522, 128), nn.Embedding(512, 512), nn.Linear(384, 512)
        self.layers = chain(_Bottleneck(stacks, shared=shared) for _ in range(24))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        x = torch.cat([F.pad(x[:, 1:], (0, 0, 0, 1)), x, F.pad(x[:, :-1], (0, 0, 1, 0))], -1)
        return self.layers(self.widen(x) + self.places.weight[: ids.shape[1]])[:, 0]


def mobilebert(*, stacks: int = 4, shared: bool = True) -> nn.Module:
    """Return MobileBERT, or its tiny version: two feed-forward parts and narrow values."""
    return _MobileBert(stacks, shared=shared)


class _Decoder(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, vocabulary: int, positions: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.layers = chain(_Layer(width, heads, 4 * width, causal=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.layers(self.words(ids) + self.places.weight[: ids.shape[1]])
        return self.norm(x[:, -1]) @ self.words.weight.T


def decoder(width: int, depth: int, heads: int, *, vocabulary: int = 50257, positions: int = 2048) -> nn.Module:
    """Return a decoder of GPT's kind: the whole prompt, and what comes after its last token."""
    return _Decoder(width, depth, heads, vocabulary, positions)


class _Translator(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, inner: int, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.encoder = chain(_Layer(width, heads, inner) for _ in range(depth))
        layers = [_Layer(width, heads, inner, causal=True, crossed=True) for _ in range(depth)]
        self.decoder = nn.ModuleList(layers)

    def forward(self, ids: Tensor) -> Tensor:
        source, x = self.encoder(self.words(ids)), self.words(ids)
        for layer in self.decoder:
            x = layer(x, source)
        return x[:, -1] @ self.words.weight.T


def translator(width: int, depth: int, heads: int, inner: int, vocabulary: int = 37000) -> nn.Module:
    """Return an encoder and a decoder over as many tokens each: the Transformer, T5."""
    return _Translator(width, depth, heads, inner, vocabulary)


class _Elmo(nn.Module):
    """Characters to words by convolutions and two highways, then two layers of projected LSTMs in each direction."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(262, 16)
        filters = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))
        self.filters = nn.ModuleList(nn.Conv1d(16, outs, width) for width, outs in filters)
        self.highways = nn.ModuleList(nn.Linear(2048, 4096) for _ in range(2))
        self.narrow = nn.Linear(2048, 512)
        self.ways = nn.ModuleList(nn.LSTM(512, 4096, 2, batch_first=True, proj_size=512) for _ in range(2))

    def forward(self, ids: Tensor) -> Tensor:
        words = self.characters(ids.flatten(0, 1)[:, None].expand(-1, 50)).transpose(1, 2)
        x = torch.cat([F.relu(one(words)).amax(-1) for one in self.filters], -1)
        for highway in self.highways:
            new, gate = highway(x).chunk(2, -1)
            x = x + torch.sigmoid(gate) * (F.relu(new) - x)
        x = self.narrow(x).unflatten(0, ids.shape)
        return torch.cat([self.ways[0](x)[0], self.ways[1](x.flip(1))[0].flip(1)], -1)


def elmo() -> nn.Module:
    """Return ELMo, words of 50 characters."""
    return _Elmo()


# today's decoders ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Config:
    """A decoder of today: rotated positions, gated feed-forward, shared key and value heads, experts.

    Attributes
    ----------
    width, depth, heads, keys, inner, vocabulary : int
        `keys` is the number of key and value heads.
    size : int
        Of a head; width over heads when 0.
    experts, chosen, expert, shared, dense : int
        How many experts there are and each token takes, their inner width, that of what every token takes besides, and
        how many first layers have none.
    latent, query, rope, value : int
        Latent attention: widths of what keys and values and what queries are made from, of the rotated part, of values.
    tied : bool
        Whether the words' table is the last layer, too.
    gated : bool
        Whether the feed-forward part has a gate.
    """

    width: int
    depth: int
    heads: int
    keys: int
    inner: int
    vocabulary: int
    size: int = 0
    experts: int = 0
    chosen: int = 0
    expert: int = 0
    shared: int = 0
    dense: int = 0
    latent: int = 0
    query: int = 0
    rope: int = 0
    value: int = 0
    tied: bool = False
    gated: bool = True

    def __repr__(self) -> str:
        """Name what is not as it is by default."""
        told = (f"{one.name}={value!r}" for one in fields(self) if (value := getattr(self, one.name)) != one.default)
        return f"Config({', '.join(told)})"


class _Feed(nn.Module):
    def __init__(self, width: int, inner: int, *, gated: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(width, inner, bias=False) if gated else None
        self.up, self.down = nn.Linear(width, inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)) if self.gate is None else F.silu(self.gate(x)) * self.up(x))


class _Experts(nn.Module):
    """Every token takes some experts. Each expert gets its even share of the tokens, whichever they are."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.count, self.chosen = config.experts, config.chosen
        self.router = nn.Linear(config.width, config.experts, bias=False)
        self.up = nn.Parameter(torch.empty(config.experts, config.width, 2 * config.expert))
        self.down = nn.Parameter(torch.empty(config.experts, config.expert, config.width))
        self.shared = _Feed(config.width, config.shared, gated=True) if config.shared else None

    def forward(self, x: Tensor) -> Tensor:
        weights = self.router(x).softmax(-1).topk(self.chosen, -1)[0]
        taken = x.repeat_interleave(self.chosen, 1).flatten(0, 1)
        rows = -(-len(taken) // self.count)
        taken = F.pad(taken, (0, 0, 0, rows * self.count - len(taken))).unflatten(0, (self.count, rows))
        gate, up = torch.bmm(taken, self.up).chunk(2, -1)
        made = torch.bmm(F.silu(gate) * up, self.down).flatten(0, 1)[: x.shape[1] * self.chosen]
        y = (made.unflatten(0, (x.shape[1], self.chosen)) * weights[0, ..., None]).sum(1)[None]
        return y if self.shared is None else y + self.shared(x)


class _SharedHeads(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.size or config.width // config.heads
        self.heads, self.keys = config.heads, config.keys
        self.q = nn.Linear(config.width, config.heads * size, bias=False)
        self.kv = nn.Linear(config.width, 2 * config.keys * size, bias=False)
        self.out = nn.Linear(config.heads * size, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(x).unflatten(-1, (2, self.keys, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attend(q, k, v, causal=True, shared=True).transpose(1, 2).flatten(2))


class _Latent(nn.Module):
    """Multi-head latent attention."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        size, heads = config.size, config.heads
        self.query = chain([nn.Linear(config.width, config.query, bias=False), nn.RMSNorm(config.query)])
        self.q = nn.Linear(config.query, heads * (size + config.rope), bias=False)
        self.latent = nn.Linear(config.width, config.latent + config.rope, bias=False)
        self.norm = nn.RMSNorm(config.latent)
        self.kv = nn.Linear(config.latent, heads * (size + config.value), bias=False)
        self.out = nn.Linear(heads * config.value, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        c = self.config
        q = self.q(self.query(x)).unflatten(-1, (c.heads, -1)).transpose(1, 2)
        latent, turned = self.latent(x).split([c.latent, c.rope], -1)
        k, v = self.kv(self.norm(latent)).unflatten(-1, (c.heads, -1)).transpose(1, 2).split([c.size, c.value], -1)
        k = torch.cat([k, turned[:, None].expand(-1, c.heads, -1, -1)], -1)
        return self.out(attend(q, k, v, causal=True).transpose(1, 2).flatten(2))


class _Modern(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.attentions, self.feeds, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for layer in range(config.depth):
            self.attentions.append(_Latent(config) if config.latent else _SharedHeads(config))
            mixed = config.experts and layer >= config.dense
            self.feeds.append(_Experts(config) if mixed else _Feed(config.width, config.inner, gated=config.gated))
            self.norms.extend(nn.RMSNorm(config.width) for _ in range(2))
        self.norm = nn.RMSNorm(config.width)
        self.last = None if config.tied else nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        for layer, (attention, feed) in enumerate(zip(self.attentions, self.feeds, strict=True)):
            x = x + attention(self.norms[2 * layer](x))
            x = x + feed(self.norms[2 * layer + 1](x))
        x = self.norm(x[:, -1])
        return x @ self.words.weight.T if self.last is None else self.last(x)


def modern(config: Config) -> nn.Module:
    """Return a decoder of today: the whole prompt, and what comes after its last token."""
    return _Modern(config)
