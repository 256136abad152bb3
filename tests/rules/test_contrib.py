"""com.microsoft operators of no other family, and early operators that schemas still list, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from truth import Case, T, case, check, const, f32, t

import macsim

MS = "com.microsoft"
GRAMS = {"max_ngram_size": 3, "n_head_per_ngram": 4, "pad_id": 0}


def ms(op: str, inputs: list[Any], outputs: Any, **kw: Any) -> Case:
    return case(op, inputs, outputs, domain=MS, **kw)


CASES = [
    # What a compiled part does is not stated: unknown, and never 0.
    ms("EPContext", [f32(2, 3)], T("?", None), attrs={"ep_cache_context": "x"}, trust="unknown"),
    ms("Snpe", [f32(2, 3), f32(4)], T("?", None), attrs={"DLC": "x"}, trust="unknown"),
    # Known lengths give the number of tokens: 3 + 5. Their running sum is an add each, the longest a compare less.
    ms(
        "RemovePadding",
        [f32(2, 6, 8), const("i32", [3, 5])],
        [f32(8, 8), t("i32", 2, 6), t("i32", 3), t("i32", 1)],
        work={"add": 2, "compare": 1},
        read=8 * 8 * 4,
        weights=8,
        written=4 * (64 + 12 + 3 + 1),
    ),
    ms(
        "RemovePadding",
        [f32("b", "s", 8), t("i32", "b")],
        [f32("node.tokens", 8), t("i32", "b", "s"), t("i32", "b + 1"), t("i32", 1)],
        work={"add": "b", "compare": "b - 1"},
        read="32*node.tokens + 4*b",
    ),
    ms("RestorePadding", [f32("n", 8), t("i32", 2, 6)], f32(2, 6, 8), read="32*n + 48", written=384),
    # Suffixes of 1, 2 and 3 tokens, each searched for twice in 20: 20 * 2 * 6; and 20 to follow the prediction.
    ms(
        "BifurcationDetector",
        [t("i64", 20), t("i64", "n"), t("i64", 1), t("i64", "p")],
        [t("i64", "node.tokens"), t("i64", 1)],
        attrs={"min_ngram_size": 1, "max_ngram_size": 3},
        work={"compare": 260},
        trust="bound",
    ),
    ms(
        "BifurcationDetector",
        [t("i64", "s"), t("i64", "n"), t("i64", 1)],
        [t("i64", "n"), t("i64", 1)],
        attrs={"min_ngram_size": 2, "max_ngram_size": 2},
        work={"compare": "4*s"},
        trust="bound",
    ),
    # 10 - 3 + 1 places where a triple can end, two ids compared at each.
    ms("NGramRepeatBlock", [t("i64", "b", 10), f32("b", 50)], f32("b", 50), attrs={"ngram_size": 3},
       work={"compare": "16*b"}, trust="bound"),
    # Pairs and triples by 4 heads: 8 hashes a token. 3 mul and 2 xor a token, a modulo a hash.
    ms(
        "NGramHashMapping",
        [t("i64", 2, "s"), t("i64", 3), t("i64", 8)],
        [t("i64", 2, "s", 8), t("i64", 2, 2)],
        attrs=GRAMS,
        work={"mul": "6*s", "logic": "4*s", "div": "16*s"},
    ),
    # An offset added to each; EOS and segments are a comparison a token each, and choose 2 shifted ids a token.
    ms(
        "NGramHashMapping",
        [t("i32", 2, 5), t("i32", 3), t("i32", 8), t("i32", 2, 2), t("i32", 8), t("i32"), t("i32", 2, 5)],
        [t("i32", 2, 5, 8), t("i32", 2, 2)],
        attrs=GRAMS | {"reset_on_eos": 1},
        work={"mul": 30, "logic": 20 + 20, "div": 80, "add": 80, "compare": 20},
    ),
    ms(
        "VarlenNGramHashMapping",
        [t("i64", "n"), t("i64", 3), t("i64", 8), t("i32", "b + 1")],
        [t("i64", "n", 8), t("i64", "b", 2), t("i32", "b", 2), t("i64", "b", 4, 2)],
        attrs=GRAMS | {"state_update_capacity": 4},
        work={"mul": "3*n", "logic": "2*n", "div": "8*n"},
    ),
    # 2*3*4 = 24 rows of 8. Two norms: 3*8 mul, 8 add, 2 div, a root each. The dot product 8 macs; its scaling (div),
    # sign and size (logic), floor (compare), root, sign again (mul), sigmoid (exp, add, div); gate times value 8 mul.
    ms(
        "EngramGate",
        [f32(2, 3, 4, 8), f32(2, 3, 4, 8), f32(2, 3, 8), f32(4, 8), f32(4, 8)],
        [f32(2, 3, 4, 8)],
        work={
            "mac": 24 * 8,
            "mul": 24 * (2 * 24 + 1 + 8),
            "add": 24 * (2 * 8 + 1),
            "div": 24 * (2 * 2 + 1 + 1),
            "sqrt": 24 * (2 + 1),
            "logic": 48,
            "compare": 24,
            "exp": 24,
        },
    ),
    # A third norm where its result is asked for.
    ms(
        "EngramGate",
        [f32(1, 1, 1, 8), f32(1, 1, 1, 8), f32(1, 1, 8), f32(1, 8), f32(1, 8), f32(1, 8)],
        [f32(1, 1, 1, 8), f32(1, 1, 1, 8)],
        work={"mac": 8, "mul": 48 + 1 + 8 + 24, "add": 16 + 1 + 8, "div": 4 + 2 + 2, "sqrt": 3 + 1, "logic": 2,
              "compare": 1, "exp": 1},
    ),
    # 7 drafts a request against the prediction.
    ms(
        "SpeculativePrefixCommit",
        [t("i64", "b", 8), t("i64", "b", 8), t("i32", 4), t("i64", "b", 16), t("i64", "b", 2), t("i64", "b", 16),
         t("i64", 2)],
        [t("i32", "b"), t("i64", "b", 16), t("i64", "b", 2)],
        work={"compare": "7*b", "add": "2*b"},
        trust="bound",
    ),
    ms("SampleOp", [t("i32", 2, 3)], t("i32", 2, 3), read=24, written=24),
    # Early operators, under ONNX's own name.
    case("Affine", [f32("n")], f32("n"), attrs={"alpha": 2.0, "beta": 1.0}, work={"mul": "n", "add": "n"}),
    case("Scale", [f32(2, 3)], f32(2, 3), attrs={"scale": 2.0}, work={"mul": 6}),
    case("ImageScaler", [f32(1, 3, 4, 5)], f32(1, 3, 4, 5), attrs={"scale": 2.0, "bias": [1.0, 2.0, 3.0]},
         work={"mul": 60, "add": 60}),
    # alpha * log(exp(beta * x) + 1), and alpha * tanh(beta * x).
    case("ParametricSoftplus", [f32(10)], f32(10), attrs={"alpha": 2.0, "beta": 1.0},
         work={"mul": 20, "exp": 10, "add": 10, "log": 10}),
    case("ScaledTanh", [f32(10)], f32(10), attrs={"alpha": 2.0, "beta": 1.0}, work={"mul": 20, "exp": 10}),
    # Sigmoid of one gate, tanh of another, and z*h + (1 - z)*n: 2 mul, 2 add.
    case("GRUUnit", [f32(1, 2, 4), f32(1, 2, 12), f32(2), f32(1)], f32(1, 2, 4),
         work={"exp": 16, "add": 8 + 16, "div": 8, "mul": 16}),
    # Left 1, top 2, right 3, bottom 4 go; 10 - 6 rows and "w" - 4 columns are read.
    case("Crop", [f32(1, 3, 10, 20)], f32(1, 3, 4, 16), attrs={"border": [1, 2, 3, 4]}, read=768, written=768),
    case("Crop", [f32(1, 3, "h", 20)], f32(1, 3, 5, 6), attrs={"border": [1, 2, 0, 0], "scale": [5, 6]}),
    case("DynamicSlice", [f32(5, "n"), const("i64", [1]), const("i64", [4]), const("i64", [0])], f32(3, "n")),
    case("GivenTensorFill", [], f32(2, 3), attrs={"shape": [2, 3], "values": [0.0]}),
    case("GivenTensorFill", [const("f32", [2, 3])], f32(2, 3, 4),
         attrs={"input_as_shape": 1, "extra_shape": [4], "values": [0.0]}),
    case("GivenTensorFill", [f32("n")], f32("n", 4), attrs={"extra_shape": [4], "values": [0.0]}),
    case("MemcpyFromHost", [t("i64", "n")], t("i64", "n"), read="8*n", written="8*n"),
    case("MemcpyToHost", [f32(3)], f32(3), read=12, written=12),
    # TensorRT's plugins. Three scores joined and scaled.
    case("DisentangledAttention_TRT", [f32(2, 4, 4)] * 3, f32(2, 4, 4), attrs={"factor": 0.5, "span": 4},
         work={"add": 64, "mul": 32}),
    # 100 boxes of 4 classes against 10 that may be kept: 4000 pairs.
    case(
        "EfficientNMS_TRT",
        [f32(1, 100, 4), f32(1, 100, 4)],
        [t("i32", 1, 1), f32(1, 10, 4), f32(1, 10), t("i32", 1, 10)],
        attrs={"max_output_boxes": 10, "score_activation": 0, "score_threshold": 0.5, "iou_threshold": 0.5,
               "background_class": -1, "box_coding": 0, "plugin_version": "1"},
        work={"compare": 28000 + 400, "add": 16000, "mul": 4000, "div": 4000},
        trust="bound",
    ),
    # 2 boxes of 3 x 3 cells, 8 channels: 18 samples of 8.
    *[
        case(
            op,
            [f32(1, 2, 4), f32(1, 8, 64, 64), f32(1, 8, 32, 32), f32(1, 8, 16, 16), f32(1, 8, 8, 8)],
            f32(1, 2, 8, 3, 3),
            attrs={"pooled_size": 3, "plugin_version": "1"},
            work={"mul": 6 * 18 + 4 * 144 + 2, "add": 6 * 18 + 3 * 144, "compare": 72, "convert": 36 + 2, "sqrt": 2,
                  "div": 2, "log": 2},
            trust="estimate",
        )
        for op in ("MultilevelCropAndResize_TRT", "PyramidROIAlign_TRT")
    ],
]  # fmt: skip


@pytest.mark.parametrize("c", CASES, ids=str)
def test_truth(c: Case) -> None:
    check(c)


# Searches. ------------------------------------------------------------------------------------------------------------

VOCAB, HIDDEN = 50, 8


def tensor(name: str, kind: int, *shape: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def decoder(name: str, *, past: bool) -> onnx.GraphProto:
    """ids[b, s] -> logits[b, s, 50] by one matmul of 8 * 50 macs a token; its sizes are called as those outside."""
    inputs = [tensor("ids", TensorProto.INT32, "batch", "seq")]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("MatMul", ["x", "head"], ["logits"], name="head"),
    ]
    if past:
        inputs.append(tensor("past", TensorProto.FLOAT, "batch", "past_seq", HIDDEN))
        nodes.append(helper.make_node("Concat", ["past", "x"], ["present"], axis=1, name="append"))
    stored = [
        numpy_helper.from_array(np.zeros((VOCAB, HIDDEN), dtype=np.float32), "table"),
        numpy_helper.from_array(np.zeros((HIDDEN, VOCAB), dtype=np.float32), "head"),
    ]
    outputs = [onnx.ValueInfoProto(name="logits")] + [onnx.ValueInfoProto(name="present")] * past
    return helper.make_graph(nodes, name, inputs, outputs, stored)


def searching(op: str, numbers: dict[str, int | None], outputs: int, ids: Any = ("batch", "seq"), **attrs: Any) -> Any:
    """A model of one search; a number that is None is an input."""
    inputs = [tensor("input_ids", TensorProto.INT32, *ids)]
    stored = []
    for name, value in numbers.items():
        if value is None:
            inputs.append(tensor(name, TensorProto.INT32, 1))
        else:
            stored.append(numpy_helper.from_array(np.array([value], dtype=np.int32), name))
    names = [f"y{i}" for i in range(outputs)]
    given = ["input_ids", *numbers]
    given.insert(2, "")  # min_length
    attrs = {"pad_token_id": 0, "eos_token_id": 1, **attrs}
    node = helper.make_node(op, given, names, domain=MS, name="search", **attrs)
    graph = helper.make_graph([node], "g", inputs, [onnx.ValueInfoProto(name=name) for name in names], stored)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(MS, 1)]
    return macsim.count(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def test_greedy_search_runs_its_decoder_once_a_step() -> None:
    # A prompt of 4 goes through as a whole, then 10 - 4 - 1 tokens one by one, for 2 rows: 2 * 9 * 8 * 50.
    report = searching("GreedySearch", {"max_length": 10}, 1, (2, 4), decoder=decoder("d", past=False))
    assert report.outputs[0].shape == (2, 10)
    assert report.macs == 2 * 9 * HIDDEN * VOCAB
    assert report.total.trust == "estimate"


def test_beam_search_multiplies_the_rows() -> None:
    numbers: dict[str, int | None] = {"max_length": 10, "num_beams": 3, "num_return_sequences": 2}
    body = decoder("d", past=False)
    report = searching("BeamSearch", numbers, 3, decoder=body)
    batch = macsim.Expr("batch")
    assert report.outputs[0].shape == (batch, 2, 10)
    assert report.outputs[1].shape == (batch, 2)
    assert report.outputs[2].shape[1:] == (batch, 3, VOCAB)
    # 3 rows for each of the batch; the prompt, and the tokens after it but the last.
    assert report.at(batch=5, seq=4).macs == 5 * 3 * (4 + 10 - 4 - 1) * HIDDEN * VOCAB
    assert report.at(batch=1, seq=6).outputs[2].shape == (4, 1, 3, VOCAB)


def test_an_encoder_runs_once() -> None:
    # The encoder takes the prompt, 2 * 4 tokens; the decoder begins with one token: 10 - 1 steps of 2 * 3 rows.
    numbers: dict[str, int | None] = {"max_length": 10, "num_beams": 3, "num_return_sequences": 1}
    bodies = {"encoder": decoder("e", past=False), "decoder": decoder("d", past=False)}
    report = searching("BeamSearch", numbers, 1, (2, 4), model_type=1, **bodies)
    assert report.macs == (2 * 4 + 9 * 2 * 3) * HIDDEN * VOCAB


def test_a_first_decoder_takes_the_prompt() -> None:
    bodies = {"init_decoder": decoder("i", past=False), "decoder": decoder("d", past=True)}
    report = searching("Sampling", {"max_length": 10}, 2, (2, 4), **bodies)
    assert [tensor.shape for tensor in report.outputs] == [(2, 10), (2, VOCAB)]
    assert report.macs == 2 * 9 * HIDDEN * VOCAB
    # What is kept from step to step has the size that the body states: a symbol to bind.
    assert "past_seq" in {symbol.name for symbol in report.unbound}


def test_numbers_that_are_inputs_become_symbols() -> None:
    numbers: dict[str, int | None] = {"max_length": None, "num_beams": None, "num_return_sequences": None}
    report = searching("WhisperBeamSearch", numbers, 1, (2, 80, 300), encoder=decoder("e", past=False),
                       decoder=decoder("d", past=False))  # fmt: skip
    names = {symbol.name for symbol in report.unbound}
    assert {"search.max_length", "search.num_beams", "search.num_return_sequences"} <= names
