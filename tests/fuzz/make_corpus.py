# Writes the seeds of the fuzz target: one small model for each construct that the reader must understand.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""``python tests/fuzz/make_corpus.py [folder]``; the output is the same bytes every time."""

import sys
from pathlib import Path

from onnx import ModelProto, TensorProto, helper, parser

# In ONNX's own text form: https://onnx.ai/onnx/repo-docs/Syntax.html
TEXTS = {
    "arithmetic": """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[batch, 3, h, w] x, float[4, 3, 3, 3] k) => (float[batch, 4, p, q] y) {
          c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x, k)
          y = Relu (c)
        }""",
    "constants": """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[n, 12] x) => (float[a, b, c] y)
        <int64[1] one = {1}, float[2] half = {0.5, 0.25}> {
          n = Constant <value_ints: ints = [2, -1]> ()
          s = Constant <value_int: int = 3> ()
          t = Constant <value = int64[1] {3}> ()
          u = Constant <value_floats: floats = [1.0, 2.0]> ()
          v = Constant <value_string: string = "text"> ()
          z = Shape (x)
          g = Gather <axis = 0> (z, one)
          shape = Concat <axis = 0> (n, t)
          y = Reshape (x, shape)
        }""",
    "function": """
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        net (float[n, 8] x) => (float[n, 8] y) { y = local.outer <alpha = 0.5> (x) }
        <opset_import: ["" : 17, "local" : 1], domain: "local">
        outer <alpha> (a) => (c) { b = local.inner (a)  c = LeakyRelu <alpha: float = @alpha> (b) }
        <opset_import: ["" : 17], domain: "local">
        inner (a) => (b) { b = Tanh (a) }""",
    "if": """
        <ir_version: 8, opset_import: ["" : 17]>
        net (bool c, float[n] x) => (float[m] y) {
          y = If (c) <
            then_branch = g () => (float[a] p) { p = Add (x, x) },
            else_branch = h () => (float[b] q) { q = Mul (x, x) }>
        }""",
    "loop": """
        <ir_version: 8, opset_import: ["" : 17]>
        net (int64 trips, bool go, float[n] x) => (float[n] last, float[t, n] all) {
          last, all = Loop (trips, go, x) <body = b (int64 i, bool c, float[n] v) =>
            (bool d, float[n] w, float[n] out) { d = Identity (c)  w = Add (v, x)  out = Identity (w) }>
        }""",
    "scan": """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[n] x, float[t, n] xs) => (float[n] last, float[t, n] all) {
          last, all = Scan <num_scan_inputs = 1, body = b (float[n] s, float[n] e) =>
            (float[n] w, float[n] out) { w = Add (s, e)  out = Identity (w) }> (x, xs)
        }""",
    "sequence": """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[n] x, int64 i, optional(float[n]) o, seq(float[n]) s) => (float[n] y, float[m] z) {
          t = SequenceInsert (s, x)
          y = SequenceAt (t, i)
          z = ConcatFromSequence <axis = 0> (t)
        }""",
}


def odd_parts() -> ModelProto:
    """What the text form cannot say: stored tensors of every encoding, sparse and external ones, metadata."""
    tensors = [
        helper.make_tensor("packed", TensorProto.INT64, [2], [3, 4]),
        helper.make_tensor("raw", TensorProto.FLOAT, [1], b"\0\0\x80\x3f", raw=True),
        helper.make_tensor("half", TensorProto.FLOAT16, [1], [1.0]),
        helper.make_tensor("nibbles", TensorProto.INT4, [3], [1, 2, 3]),
        helper.make_tensor("double", TensorProto.DOUBLE, [1], [0.5]),
        helper.make_tensor("text", TensorProto.STRING, [1], [b"word"]),
    ]
    far = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    far.external_data.add(key="location", value="weights.bin")
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [2.0])
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [5])
    node = helper.make_node("Reshape", ["far", "packed"], ["y"], name="r", doc_string="a remark")
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'layer', 'layer.0']")
    graph = helper.make_graph(
        [node, helper.make_node("Clip", ["y", "", "raw"], ["z", ""])],
        "odd",
        [helper.make_tensor_value_info("packed", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [-1, None, "n"])],
        [*tensors, far],
        sparse_initializer=[helper.make_sparse_tensor(values, indices, [9])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("unused", 7)])


def main(folder: Path) -> None:
    models = {name: parser.parse_model(text) for name, text in TEXTS.items()} | {"odd": odd_parts()}
    for name, model in models.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "corpus")
