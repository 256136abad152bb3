# The verbs: what may be given as a model, as shapes, sizes and values, and what is said when it does not fit.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import gc
import os
import subprocess
import sys
from pathlib import Path

import models
import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper

import macsim

RESNET = Path(__file__).parents[1] / "examples/resnet50.onnx"


# Sources --------------------------------------------------------------------------------------------------------------


def sources(path: Path):
    proto = onnx.load(path, load_external_data=False)
    content = path.read_bytes()
    yield "str", str(path)
    yield "Path", path
    yield "bytes", content
    yield "bytearray", bytearray(content)
    yield "memoryview", memoryview(content)
    yield "slice", memoryview(b"12" + content + b"34")[2:-2]
    yield "ModelProto", proto
    yield "onnx_ir.Model", onnx_ir.from_proto(proto)
    yield "Model", macsim.load(path)


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    path = tmp_path / "linear.onnx"
    onnx.save(models.linear(), path)
    for kind, source in sources(path):
        assert macsim.count(source).macs == macsim.Expr("15*batch"), kind
        assert macsim.analyze(macsim.load(source)).macs == macsim.Expr("15*batch"), kind


def test_large_tensors_of_an_onnx_ir_model_are_not_copied() -> None:
    class Large(onnx_ir.Tensor):
        def tobytes(self) -> bytes:
            raise AssertionError("contents of a weight were asked for")

    model = onnx_ir.from_proto(models.linear(into=300, out=300))
    contents = Large(np.zeros((300, 300), np.float32), name="w")
    model.graph.initializers["w"].const_value = contents
    report = macsim.count(model)
    assert report.macs == macsim.Expr("90000*batch")
    assert report.parameters == 90000
    assert model.graph.initializers["w"].const_value is contents  # and the model is as it was


def test_a_path_need_not_be_text(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/mod\xff\xe8le.onnx"
    with open(name, "wb") as file:
        file.write(models.linear().SerializeToString())
    assert macsim.count(os.fsdecode(name)).macs == macsim.Expr("15*batch")
    assert macsim.count(Path(os.fsdecode(name))).macs == macsim.Expr("15*batch")


def test_a_buffer_is_kept_as_long_as_it_is_needed() -> None:
    content = bytearray(models.linear().SerializeToString())
    report = macsim.count(content)
    with pytest.raises(BufferError):
        content.clear()  # still looked into
    assert report.rows[0].name == "/fc/MatMul"
    del report
    gc.collect()
    content.clear()


def test_a_file_may_go_once_it_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "linear.onnx"
    onnx.save(models.linear(), path)
    model = macsim.load(path)
    path.unlink()
    assert macsim.analyze(model).rows[0].name == "/fc/MatMul"


def test_what_a_model_says_of_itself() -> None:
    model = macsim.load(models.linear())
    assert (model.name, model.producer, model.ir_version, model.opsets) == ("tiny", "tests", 8, {"onnx": 17})
    assert [(t.name, t.dtype, t.shape) for t in model.inputs] == [("x", "f32", (macsim.Expr("batch"), 3))]
    assert [(t.name, t.dtype, t.shape) for t in model.outputs] == [("y", "f32", (macsim.Expr("batch"), 5))]
    assert (model.nodes, model.symbols, model.defaults) == (1, ["batch"], [])


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "MS102"), (b"no model at all", "MS102"), (b"PK\x03\x04" + bytes(100), "MS102")]
)
def test_what_is_no_model(content: bytes, code: str, tmp_path: Path) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(macsim.ReadError) as caught:
            macsim.load(source)
        assert caught.value.code == code
        assert caught.value.text
        assert str(caught.value).startswith(code)


def test_a_file_cut_short() -> None:
    content = models.linear().SerializeToString()
    with pytest.raises(macsim.ReadError) as caught:
        macsim.load(content[:-3])
    assert caught.value.code in ("MS103", "MS104")


@pytest.mark.parametrize("path", ["/no/such/file.onnx", "/"])
def test_what_cannot_be_opened(path: str) -> None:
    with pytest.raises(macsim.ReadError) as caught:
        macsim.load(path)
    assert caught.value.code == "MS101"
    assert caught.value.hint


@pytest.mark.parametrize("thing", [None, 3, ["model.onnx"], onnx_ir])
def test_what_is_not_a_source(thing: object) -> None:
    with pytest.raises(TypeError, match="a model is a path"):
        macsim.load(thing)


def test_a_proto_that_cannot_be_serialized() -> None:
    class TooLarge:
        def SerializeToString(self) -> bytes:  # noqa: N802
            raise ValueError("exceeds maximum protobuf size of 2GB")

    with pytest.raises(macsim.ReadError, match="give the path of the file"):
        macsim.load(TooLarge())


# Shapes, sizes, values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "macs"),
    [
        ({}, "15*batch"),
        ({"shapes": {"x": (7, 3)}}, 105),
        ({"shapes": (7, 3)}, 105),
        ({"shapes": [7, None]}, 105),
        ({"shapes": {"x": (np.int64(7), 3)}}, 105),
        ({"shapes": {"x": ("n", 3)}}, "15*n"),
        ({"shapes": {"x": ("2*n + 1", 3)}}, "30*n + 15"),
        ({"shapes": {"x": (macsim.Expr("n") * 4, None)}}, "60*n"),
        ({"shapes": {"x": (None, 3)}}, "15*batch"),
        ({"dims": {"batch": 7}}, 105),
        ({"dims": {"n": 7}, "shapes": {"x": ("n", 3)}}, 105),
        ({"dims": {"n": 7}, "shapes": {"x": ("2*n", 3)}}, 210),
        ({"dims": {"batch": 0}}, 0),
        ({"values": {"x": np.zeros((7, 3), np.float32)}}, 105),
        ({"values": {"x": [[1.0, 2.0, 3.0]]}}, 15),
    ],
)
def test_what_may_be_given(request_: dict, macs: object) -> None:
    want = macsim.Expr(macs) if isinstance(macs, str) else macs
    assert macsim.count(models.linear(), **request_).macs == want


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"shapes": {"X": (7, 3)}}, "no input 'X'; did you mean 'x'?"),
        ({"shapes": {"image": (7, 3)}}, "no input 'image'; its inputs are 'x'"),
        ({"values": {"w2": 1}}, "no input 'w2'"),
        ({"shapes": {"x": (7, 3, 1)}}, "rank"),
        ({"shapes": {"x": 7}}, "must be a tuple of sizes"),
        ({"shapes": {"x": "7,3"}}, "must be a tuple of sizes"),
        ({"shapes": {"x": (7, 3.0)}}, "float"),
        ({"shapes": {"x": ("2*", 3)}}, "not an expression"),
        ({"shapes": {"x": (-7, 3)}}, "negative"),
        ({"shapes": {"x": (2**200, 3)}}, "does not fit 128 bits"),
        ({"dims": {"batch": 2**70}}, "must be an integer"),
        ({"dims": {"batch": -1}}, "negative"),
        ({"dims": {"bacth": 1}}, "nothing is called 'bacth'; did you mean 'batch'?"),
        ({"dims": {"seq": 1}}, "nothing is called 'seq'; its sizes are 'batch'"),
        ({"dims": {"batch": "8"}}, "must be an integer"),
        ({"dims": {"batch": 2.0}}, "must be an integer"),
        ({"values": {"x": "text"}}, "rank"),
        ({"values": {"x": object()}}, "not an array of numbers"),
        ({"values": {"x": [[1], [2, 3]]}}, "not an array"),
        ({"values": {"x": 3}}, "single number"),
        ({"shapes": {"x": (7, 3)}, "values": {"x": [1.0]}}, "rank"),
    ],
)
def test_what_does_not_fit(request_: dict, says: str) -> None:
    with pytest.raises(macsim.RequestError, match=says.replace("(", r"\(").replace("?", r"\?")):
        macsim.count(models.linear(), **request_)


def test_a_bare_shape_needs_a_single_input() -> None:
    two = models.model(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [models.feed("a", "n"), models.feed("b", "n")],
        [models.feed("y", "n")],
    )
    with pytest.raises(macsim.RequestError, match=r"2 inputs \('a', 'b'\)"):
        macsim.count(two, shapes=(3,))


def test_an_input_with_a_default_need_not_be_given() -> None:
    """Files of the first years list every weight as an input too."""
    proto = models.linear()
    proto.graph.input.append(models.feed("w", 3, 5))
    model = macsim.load(proto)
    assert [t.name for t in model.inputs] == ["x"]
    assert [t.name for t in model.defaults] == ["w"]
    assert macsim.analyze(model, shapes=(7, 3)).macs == 105


def test_contents_decide_sizes() -> None:
    """y = x reshaped as s says: the contents of s are the shape of y."""
    proto = models.model(
        [helper.make_node("Reshape", ["x", "s"], ["y"]), helper.make_node("MatMul", ["y", "w"], ["z"])],
        [models.feed("x", 4, 6), models.feed("s", 2, kind=TensorProto.INT64)],
        [onnx.ValueInfoProto(name="z")],
        [models.weight("w", 3, 5)],
    )
    for value in ([8, 3], np.array([8, 3]), (-1, 3), memoryview(np.array([8, 3]))):
        report = macsim.count(proto, values={"s": value})
        assert report.outputs[0].shape == (8, 5)
        assert report.macs == 8 * 3 * 5


def test_a_lone_number_fills_the_stated_shape() -> None:
    """Files state a scalar such as a sampling rate as [] or as [1]: 16000 will do for both."""
    for dims in ((), (1,)):
        proto = models.model(
            [helper.make_node("Range", ["zero", "n", "one"], ["y"])]
            if not dims
            else [
                helper.make_node("Squeeze", ["n"], ["n0"]),
                helper.make_node("Range", ["zero", "n0", "one"], ["y"]),
            ],
            [models.feed("n", *dims, kind=TensorProto.INT64)],
            [onnx.ValueInfoProto(name="y")],
            [helper.make_tensor(name, TensorProto.INT64, [], [value]) for name, value in (("zero", 0), ("one", 1))],
        )
        assert macsim.count(proto, values={"n": 12}).outputs[0].shape == (12,)


def test_values_of_low_precision_keep_their_dtype() -> None:
    import ml_dtypes

    proto = models.model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [onnx.ValueInfoProto(name="x")],
        [onnx.ValueInfoProto(name="y")],
    )
    for dtype, name in ((np.float16, "f16"), (ml_dtypes.bfloat16, "bf16"), (np.uint8, "u8"), (np.bool_, "bool")):
        report = macsim.count(proto, values={"x": np.ones((2, 3), dtype)})
        assert [(t.dtype, t.shape) for t in report.outputs] == [(name, (2, 3))]


# Strictness -----------------------------------------------------------------------------------------------------------


def test_unknown_work_is_marked_or_refused() -> None:
    proto = models.custom("Nobody", "nowhere")
    report = macsim.count(proto)
    assert report.trust == "unknown"
    assert report.total.unknown == 1
    assert [d.code for d in report.diagnostics if d.code == "MS201"] == ["MS201"]
    with pytest.raises(macsim.UnknownWorkError) as caught:
        macsim.count(proto, strict=True)
    assert caught.value.ops == {"nowhere::Nobody": 1}
    assert "nowhere::Nobody" in str(caught.value)
    assert caught.value.report.macs == report.macs == macsim.Expr("15*batch")
    assert isinstance(caught.value, macsim.MacsimError)
    assert macsim.count(models.linear(), strict=True).macs == macsim.Expr("15*batch")


# The process ----------------------------------------------------------------------------------------------------------


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_pulls_nothing_in_that_takes_long() -> None:
    loaded = python(
        "import sys; before = set(sys.modules); import macsim; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    ).split()
    heavy = {"torch", "onnx", "onnx_ir", "pandas", "numpy", "rich", "matplotlib", "plotly"}
    slow = {"argparse", "asyncio", "dataclasses", "inspect", "pathlib", "tomllib", "typing_extensions", "unittest"}
    assert "macsim" in loaded
    assert not {*loaded} & (heavy | slow)


def test_counting_needs_neither_onnx_nor_numpy() -> None:
    count = f"macsim.count({str(RESNET)!r}, shapes=(1, 3, 224, 224)).macs"
    code = f"import sys, macsim; print({count}, 'numpy' in sys.modules)"
    assert python(code).split() == ["4089184256", "False"]


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    macsim.count(models.custom("Nobody", "nowhere"))
    with pytest.raises(macsim.ReadError):
        macsim.load(b"no model")
    assert capfd.readouterr() == ("", "")
