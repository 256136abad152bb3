"""Attention under causal masks and windows: in full, and without what is hidden, against loops over all pairs."""

from __future__ import annotations

import json
from typing import Any

import onnx
import pytest
from models import feed
from onnx import helper

import macsim

MS = "com.microsoft"


def visible(queries: int, keys: int, before: int, left: int | None = None, right: int | None = 0) -> int:
    """Pairs of a query and a key: query i stands at i + before."""
    return sum(
        (left is None or key >= query + before - left) and (right is None or key <= query + before + right)
        for query in range(queries)
        for key in range(keys)
    )


def counted(op: str, inputs: list[Any], outputs: int, domain: str = "", version: int = 24, **attrs: Any) -> Any:
    names = [one.name if one is not None else "" for one in inputs]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], name="/attend", domain=domain, **attrs)
    graph = helper.make_graph([node], "g", [one for one in inputs if one is not None], [onnx.ValueInfoProto(name="y0")])
    opsets = [helper.make_opsetid("", version), helper.make_opsetid(MS, 1)]
    return macsim.count(helper.make_model(graph, opset_imports=opsets, ir_version=10))


@pytest.mark.parametrize(
    ("queries", "fresh", "past"), [(5, 5, 0), (1, 1, 9), (4, 4, 3), (3, 6, 0), (6, 3, 0), (6, 3, 2)]
)
@pytest.mark.parametrize(("causal", "left", "right"), [(1, -1, -1), (1, 2, -1), (0, 1, 2), (0, 2, -1), (0, -1, 0)])
def test_onnx_attention(queries: int, fresh: int, past: int, causal: int, left: int, right: int) -> None:
    inputs = [feed("q", 2, 4, queries, 8), feed("k", 2, 4, fresh, 8), feed("v", 2, 4, fresh, 6)]
    if past:
        inputs += [None, feed("pk", 2, 4, past, 8), feed("pv", 2, 4, past, 6)]
    windows = {"left_window_size": left, "right_window_size": right} if (left, right) != (-1, -1) else {}
    report = counted("Attention", inputs, 3, is_causal=causal, version=27, **windows)
    pairs = visible(
        queries, fresh + past, past, None if left < 0 else left, 0 if causal else None if right < 0 else right
    )
    assert report.macs_unmasked == 2 * 4 * (8 + 6) * pairs
    assert report.macs >= report.macs_unmasked
    if left < 0:
        keys = fresh + past if causal or right < 0 or left < 0 else min(fresh + past, left + 1 + right)
        assert report.macs == 2 * 4 * (8 + 6) * queries * keys


def test_lengths_that_are_data_hide_nothing() -> None:
    inputs = [feed("q", 2, 4, 3, 8), feed("k", 2, 4, 5, 8), feed("v", 2, 4, 5, 8), None, None, None]
    report = counted("Attention", [*inputs, feed("n", 2, kind=onnx.TensorProto.INT64)], 1, is_causal=1)
    assert report.macs_unmasked == report.macs == 2 * 4 * 16 * 15
    assert report.total.sign("macs_unmasked") == "<="


@pytest.mark.parametrize(("window", "left"), [(-1, None), (3, 2)])
def test_grouped_queries(window: int, left: int | None) -> None:
    cache = [feed(name, 2, 2, 6, 8) for name in ("pk", "pv")]
    inputs = [feed("q", 2, 4, 32), feed("k", 2, 4, 16), feed("v", 2, 4, 16), *cache]
    lengths = [feed(name, *dims, kind=onnx.TensorProto.INT32) for name, dims in (("len", (2,)), ("total", ()))]
    report = counted(
        "GroupQueryAttention", [*inputs, *lengths], 3, MS, num_heads=4, kv_num_heads=2, local_window_size=window
    )
    assert report.macs_unmasked == 2 * 4 * 16 * visible(4, 10, 6, left)
    assert report.macs == 2 * 4 * 16 * 4 * (10 if window < 0 else 3)


@pytest.mark.parametrize("unidirectional", [0, 1])
def test_projected_and_multi_head(unidirectional: int) -> None:
    inputs = [feed("x", 2, 5, 16), feed("w", 16, 48), feed("b", 48)]
    report = counted("Attention", inputs, 1, MS, num_heads=4, unidirectional=unidirectional)
    hidden = (25 - 15) * unidirectional
    assert report.macs - report.macs_unmasked == 2 * 4 * (4 + 4) * hidden
    inputs = [feed(name, 2, 5, 16) for name in "qkv"]
    report = counted("MultiHeadAttention", inputs, 1, MS, num_heads=4, unidirectional=unidirectional)
    assert (report.macs, report.macs_unmasked) == (2 * 16 * 2 * 25, 2 * 16 * 2 * (25 - hidden))


def test_symbolic() -> None:
    """n (n + 1) / 2 pairs; with p keys before them p n more."""
    inputs = [feed(name, "b", 4, "n", 8) for name in "qkv"]
    report = counted("Attention", inputs, 1, is_causal=1)
    b, n = macsim.Expr("b"), macsim.Expr("n")
    assert report.macs == 64 * b * n * n
    assert report.macs_unmasked == 64 * b * (n * (n + 1) // 2)
    for size in (0, 1, 2, 7, 1024):
        assert report.bind(b=3, n=size).macs_unmasked == 64 * 3 * size * (size + 1) // 2
        assert report.evaluate("macs_unmasked", b=3, n=[size]).tolist() == [64 * 3 * size * (size + 1) // 2]
    past = [feed(name, "b", 4, "p", 8) for name in ("pk", "pv")]
    report = counted("Attention", [*inputs, None, *past], 3, is_causal=1)
    for n_, p in ((1, 0), (1, 9), (5, 3)):
        assert report.bind(b=2, n=n_, p=p).macs_unmasked == 64 * 2 * visible(n_, n_ + p, p)


def test_in_every_form_of_the_report() -> None:
    report = counted("Attention", [feed(name, 2, 4, 5, 8) for name in "qkv"], 1, is_causal=1)
    assert (report.macs, report.macs_unmasked) == (2 * 4 * 16 * 25, 2 * 4 * 16 * 15)
    row = report.rows[0]
    assert row.macs_unmasked == report.columns["macs_unmasked"][0] == report.by("op")[0].macs_unmasked == 1920
    data = json.loads(report.to_json())
    assert data["total"]["macs_unmasked"] == data["rows"][0]["macs_unmasked"] == 1920
    assert "masked" not in data["total"]["work"]
    assert report.to_pandas()["macs_unmasked"].tolist() == [1920]
    head, line = report.to_csv().splitlines()
    assert line.split(",")[head.split(",").index("macs_unmasked")] == "1920"
    assert "MACs unmasked" in report.to_markdown()
    assert "MACs unmasked" not in macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).to_markdown()
    assert report.by("op").sort("macs_unmasked")[0].macs == 3200


# torch. ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (3, 6), (6, 3), (1, 4)])
def test_torch_aligns_at_the_top_left(queries: int, keys: int) -> None:
    torch = pytest.importorskip("torch")
    attend = torch.nn.functional.scaled_dot_product_attention
    shapes = [(2, 4, queries, 8), (2, 4, keys, 8), (2, 4, keys, 6)]
    report = macsim.count(attend, *shapes, kwargs={"is_causal": True})
    assert report.macs == 2 * 4 * 14 * queries * keys
    assert report.macs_unmasked == 2 * 4 * 14 * visible(queries, keys, 0)
    assert macsim.count(attend, *shapes).macs_unmasked == report.macs


@pytest.mark.parametrize(("left", "right", "causal"), [(None, None, True), (2, None, True), (1, 1, False)])
def test_flash_aligns_at_the_bottom_right(left: int | None, right: int | None, causal: bool) -> None:
    torch = pytest.importorskip("torch")

    def attend(q: Any, k: Any, v: Any) -> Any:
        return torch.ops.aten._flash_attention_forward(
            q, k, v, None, None, 4, 7, 0.0, causal, False, window_size_left=left, window_size_right=right
        )[0]

    report = macsim.count(attend, (2, 4, 3, 8), (2, 7, 3, 8), (2, 7, 3, 8))
    assert report.macs == 2 * 3 * 16 * 28
    assert report.macs_unmasked == 2 * 3 * 16 * visible(4, 7, 3, left, 0 if causal else right)


def test_a_module_and_its_program() -> None:
    torch = pytest.importorskip("torch")

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = torch.nn.Linear(16, 48)

        def forward(self, x: Any) -> Any:
            q, k, v = (part.unflatten(-1, (4, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    model = Decoder()
    full, shown = 2 * 6 * 16 * 48 + 2 * 4 * 8 * 36, 2 * 6 * 16 * 48 + 2 * 4 * 8 * 21
    for report in (
        macsim.count(model, (2, 6, 16)),
        macsim.count(torch.export.export(model, (torch.zeros(2, 6, 16),))),
        macsim.count(model, shapes={"x": ("b", "n", 16)}).bind(b=2, n=6),
    ):
        assert (report.macs, report.macs_unmasked) == (full, shown)
