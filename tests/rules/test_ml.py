"""ai.onnx.ml: linear models, trees, support vectors and encoders, worked out by hand; N rows of F features."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from truth import Case, case, check, f32, mapping, sequence, t

import macsim

ML = "ai.onnx.ml"


def ml(op: str, inputs: list[Any], outputs: Any, version: int = 1, **kw: Any) -> Case:
    return case(op, inputs, outputs, domain=ML, version=version, **kw)


# A tree of depth 2 on one side and 1 on the other: 0 -> (1 -> (3, 4), 2).
UNEVEN = {
    "nodes_treeids": [0] * 5,
    "nodes_nodeids": [0, 1, 2, 3, 4],
    "nodes_featureids": [0] * 5,
    "nodes_modes": ["BRANCH_LEQ", "BRANCH_LT", "LEAF", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 3, 0, 0, 0],
    "nodes_falsenodeids": [2, 4, 0, 0, 0],
    "nodes_values": [0.5] * 5,
}
# Two trees of one test and two leaves each; node numbers begin again.
STUMPS = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1],
    "nodes_nodeids": [0, 1, 2, 0, 1, 2],
    "nodes_featureids": [0] * 6,
    "nodes_modes": ["BRANCH_GT", "LEAF", "LEAF"] * 2,
    "nodes_truenodeids": [1, 0, 0] * 2,
    "nodes_falsenodeids": [2, 0, 0] * 2,
    "nodes_values": [0.5] * 6,
}


def leaves(prefix: str, at: list[tuple[int, int]], ids: list[int]) -> dict[str, Any]:
    return {
        f"{prefix}_treeids": [tree for tree, _ in at],
        f"{prefix}_nodeids": [node for _, node in at],
        f"{prefix}_ids": ids,
        f"{prefix}_weights": [1.0] * len(at),
    }


STUMP_LEAVES = [(0, 1), (0, 2), (1, 1), (1, 2)]


def u8(*values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.uint8))


def floats(*values: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.float32))


# TreeEnsemble: node 0 has node 1 and a leaf under it, node 1 two leaves; node 2 is a tree of its own, with two leaves.
PLACED = {
    "tree_roots": [0, 2],
    "nodes_modes": u8(0, 0, 0),
    "nodes_featureids": [0, 0, 0],
    "nodes_splits": floats(1.0, 2.0, 3.0),
    "nodes_truenodeids": [1, 0, 3],
    "nodes_trueleafs": [0, 1, 1],
    "nodes_falsenodeids": [2, 1, 4],
    "nodes_falseleafs": [1, 1, 1],
    "leaf_targetids": [0, 1, 0, 1, 1],
    "leaf_weights": floats(1, 2, 3, 4, 5),
}

# 3 + 2 + 1 support vectors of 4 features for three classes.
VECTORS = {
    "classlabels_ints": [0, 1, 2],
    "vectors_per_class": [3, 2, 1],
    "support_vectors": [0.5] * 24,
    "coefficients": [0.5] * 12,
    "rho": [0.1] * 3,
    "kernel_params": [0.1, 0.2, 3.0],
}

CASES = [
    # Linear models: N*F*E macs. Softmax of N rows of 3: 2N compare, 3N + 2N add, 3N exp, 3N div; the choice 2N more.
    ml(
        "LinearClassifier",
        [f32("N", 4)],
        [t("i64", "N"), f32("N", 3)],
        attrs={"coefficients": [1.0] * 12, "intercepts": [0.0] * 3, "classlabels_ints": [0, 1, 2],
               "post_transform": "SOFTMAX"},
        work={"mac": "12*N", "add": "3*N + 5*N", "compare": "4*N", "exp": "3*N", "div": "3*N"},
        read="16*N", weights=4 * 15, written="8*N + 12*N",
    ),
    # One score for two classes becomes two: its sign turned. A sigmoid of each: exp, add, div.
    ml(
        "LinearClassifier",
        [t("i64", 5, 4)],
        [t("string", 5), f32(5, 2)],
        attrs={"coefficients": [1.0] * 4, "intercepts": [0.0], "classlabels_strings": ["no", "yes"],
               "post_transform": "LOGISTIC"},
        work={"mac": 20, "add": 5 + 10, "exp": 10, "div": 10, "logic": 5, "compare": 5},
        trust="estimate",
    ),
    # A single row; the inverse error function: 7 mul, 6 add, a log, 2 sqrt, a compare.
    ml(
        "LinearRegressor",
        [f32(4)],
        f32(1, 2),
        attrs={"coefficients": [1.0] * 8, "targets": 2, "post_transform": "PROBIT"},
        work={"mac": 8, "mul": 14, "add": 12, "log": 2, "sqrt": 4, "compare": 2},
    ),
    ml("LinearRegressor", [f32("N", "F")], f32("N", 1), attrs={"coefficients": [1.0] * 3, "intercepts": [1.0]},
       work={"mac": "N*F", "add": "N"}),
    ml("Scaler", [f32("N", 4)], f32("N", 4), attrs={"offset": [1.0], "scale": [2.0]},
       work={"add": "4*N", "mul": "4*N"}),
    ml("Scaler", [t("i32", 3, 4)], f32(3, 4), attrs={"scale": [2.0] * 4}, work={"mul": 12, "convert": 12}),
    # Rows of 4: 3 compare (or add) and a test for zero; 4 divisions.
    ml("Normalizer", [f32("N", 4)], f32("N", 4), attrs={"norm": "MAX"},
       work={"logic": "4*N", "compare": "4*N", "div": "4*N"}),
    ml("Normalizer", [f32(3, 4)], f32(3, 4), attrs={"norm": "L1"},
       work={"logic": 12, "add": 9, "compare": 3, "div": 12}),
    ml("Normalizer", [t("f64", 4)], f32(4), attrs={"norm": "L2"},
       work={"mul": 4, "add": 3, "sqrt": 1, "compare": 1, "div": 4, "convert": 4}),
    ml("Binarizer", [t("f64", "N", 4)], t("f64", "N", 4), attrs={"threshold": 0.5}, work={"compare": "4*N"}),
    ml("Imputer", [f32("N", 4)], f32("N", 4), attrs={"imputed_value_floats": [0.0]},
       work={"compare": "4*N", "logic": "4*N"}),
    # Three columns of ten are read, and the indices.
    ml("ArrayFeatureExtractor", [f32("N", 10), t("i64", 3)], f32("N", 3), read="12*N + 24", written="12*N"),
    ml("ArrayFeatureExtractor", [f32(10), t("i64", 1, 3)], f32(1, 3)),
    ml("FeatureVectorizer", [t("i64", "N", 2), t("i64", "N", 3)], f32("N", 5), attrs={"inputdimensions": [2, 3]},
       work={"convert": "5*N"}),
    ml("FeatureVectorizer", [f32(2), f32(3)], f32(1, 5), attrs={"inputdimensions": [2, 3]}),
    ml("OneHotEncoder", [t("i64", "N", 2)], f32("N", 2, 3), attrs={"cats_int64s": [1, 2, 3]},
       work={"compare": "2*N"}, trust="estimate"),
    ml("CategoryMapper", [t("i64", 4)], t("string", 4), attrs={"cats_int64s": [1], "cats_strings": ["a"]},
       work={"compare": 4}, trust="estimate"),
    ml("CategoryMapper", [t("string", 4)], t("i64", 4), attrs={"cats_int64s": [1], "cats_strings": ["a"]},
       work={"compare": 4}, trust="estimate"),
    ml("LabelEncoder", [t("string", 4)], t("i64", 4), version=1, attrs={"classes_strings": ["a"]},
       work={"compare": 4}, trust="estimate"),
    ml("LabelEncoder", [t("i64", "N")], t("string", "N"), version=1, attrs={"classes_strings": ["a"]},
       work={"compare": "N"}, trust="estimate"),
    ml("LabelEncoder", [t("i64", "N")], f32("N"), version=2, attrs={"keys_int64s": [1], "values_floats": [1.0]},
       work={"compare": "N"}, trust="estimate"),
    ml("LabelEncoder", [t("f64", 2, 3)], t("i16", 2, 3), version=4,
       attrs={"keys_tensor": numpy_helper.from_array(np.zeros(1)),
              "values_tensor": numpy_helper.from_array(np.zeros(1, dtype=np.int16))},
       work={"compare": 6}, trust="estimate"),
    ml("CastMap", [mapping("i64", "f32")], t("i64", 1, 7),
       attrs={"map_form": "SPARSE", "max_map": 7, "cast_to": "TO_INT64"}, work={"convert": 7}, trust="bound"),
    ml("CastMap", [mapping("i64", "f32")], f32(1, "node.keys"), work={"convert": "node.keys"}, trust="bound"),
    ml("DictVectorizer", [mapping("string", "f64")], t("f64", 1, 3), attrs={"string_vocabulary": ["a", "b", "c"]},
       work={"compare": 3}, trust="estimate"),
    ml("ZipMap", [f32("N", 3)], sequence("f32"), attrs={"classlabels_int64s": [0, 1, 2]}, trust="estimate"),
    # Trees: at most 2 tests of 1 or 2; one vote for one of two targets, none to be summed.
    ml(
        "TreeEnsembleRegressor",
        [f32("N", 4)],
        f32("N", 1),
        version=3,
        attrs=UNEVEN | leaves("target", [(0, 2), (0, 3), (0, 4)], [0, 0, 0]) | {"n_targets": 1},
        work={"compare": "2*N"},
        trust="bound",
        weights=4 * (5 + 3),
    ),
    # Two stumps: 2 tests and 2 votes, of which one is added; exact, as all paths are as deep. Averaged: a division.
    ml(
        "TreeEnsembleRegressor",
        [f32("N", 4)],
        f32("N", 1),
        attrs=STUMPS | leaves("target", STUMP_LEAVES, [0] * 4)
        | {"n_targets": 1, "base_values": [0.5], "aggregate_function": "AVERAGE"},
        work={"compare": "2*N", "add": "N + N", "div": "N"},
    ),
    # The largest is looked for instead of the sum.
    ml(
        "TreeEnsembleRegressor",
        [t("i64", 3, 4)],
        f32(3, 1),
        attrs=STUMPS | leaves("target", STUMP_LEAVES, [0] * 4) | {"n_targets": 1, "aggregate_function": "MAX"},
        work={"compare": 6 + 3, "convert": 12},
    ),
    # Each leaf votes for one of 3 classes: two votes, perhaps for two classes. A softmax of 3, a choice.
    ml(
        "TreeEnsembleClassifier",
        [f32("N", 4)],
        [t("i64", "N"), f32("N", 3)],
        version=3,
        attrs=STUMPS | leaves("class", STUMP_LEAVES, [0, 1, 1, 2])
        | {"classlabels_int64s": [0, 1, 2], "post_transform": "SOFTMAX"},
        work={"compare": "2*N + 2*N + 2*N", "add": "5*N", "exp": "3*N", "div": "3*N"},
    ),
    # All votes are for one class of two: they are summed, and the other class gets 1 - p.
    ml(
        "TreeEnsembleClassifier",
        [f32("N", 4)],
        [t("string", "N"), f32("N", 2)],
        attrs=STUMPS | leaves("class", STUMP_LEAVES, [0] * 4) | {"classlabels_strings": ["no", "yes"]},
        work={"compare": "2*N + N", "add": "N + N"},
        trust="estimate",
    ),
    # Roots 0 and 2: at most 2 + 1 tests and 2 votes, for 2 targets.
    ml("TreeEnsemble", [t("f64", "N", 4)], t("f64", "N", 2), version=5, attrs=PLACED | {"n_targets": 2},
       work={"compare": "3*N"}, trust="bound"),
    # The tree of one test alone: exact. The smallest of one leaf is no work.
    ml("TreeEnsemble", [f32(7, 4)], f32(7, 2), version=5,
       attrs=PLACED | {"tree_roots": [2], "n_targets": 2, "aggregate_function": 2}, work={"compare": 7}),
    # A tree that is a single leaf has nothing to test.
    ml("TreeEnsemble", [f32(7, 4)], f32(7, 1), version=5,
       attrs={**PLACED, "tree_roots": [0, 1], "nodes_truenodeids": [0, 1, 3], "nodes_falsenodeids": [0, 1, 4],
              "nodes_trueleafs": [1, 1, 1], "leaf_targetids": [0] * 5, "n_targets": 1},
       work={"add": 7}),
    # 6 kernels a row of 4 features: 24 macs, and gamma, constant and a power of 3: 3 mul, 1 add each. Then 6 * (3 - 1)
    # macs; 3 pairs of 3 add and a vote; the choice of 3.
    ml(
        "SVMClassifier",
        [f32("N", 4)],
        [t("i64", "N"), f32("N", 3)],
        attrs=VECTORS | {"kernel_type": "POLY"},
        work={"mac": "24*N + 12*N", "mul": "18*N", "add": "6*N + 9*N", "compare": "3*N + 2*N"},
        weights=4 * (24 + 12 + 3),
    ),
    # exp(-gamma * |x - v|^2): a difference and a mac a feature, a mul and an exp a kernel. Two classes: one pair, whose
    # score is shown with both signs.
    ml(
        "SVMClassifier",
        [t("f64", 5, 4)],
        [t("i64", 5), f32(5, 2)],
        attrs={"classlabels_ints": [0, 1], "vectors_per_class": [1, 2], "support_vectors": [0.5] * 12,
               "coefficients": [0.5] * 3, "rho": [0.1], "kernel_type": "RBF", "kernel_params": [0.1, 0.0, 0.0]},
        work={"mac": 5 * (12 + 3), "add": 5 * (12 + 3), "mul": 15, "exp": 15, "compare": 10, "logic": 5,
              "convert": 20},
    ),
    # Without support vectors: a linear model.
    ml(
        "SVMClassifier",
        [f32("N", 4)],
        [t("i64", "N"), f32("N", 3)],
        attrs={"classlabels_ints": [0, 1, 2], "coefficients": [0.5] * 12, "rho": [0.1]},
        work={"mac": "12*N", "add": "3*N", "compare": "2*N"},
    ),
    # One pair: its sigmoid (mul, 2 add, exp, div), 1 - p and its like (2 add), kept inside (2 compare). k = 2, 100
    # rounds: the matrix 3 mul; a round 6 mac, 2 + 2*7 add, 3 compare, 2 logic, 2*6 mul, 2*6 div.
    ml(
        "SVMClassifier",
        [f32(1, 4)],
        [t("i64", 1), f32(1, 2)],
        attrs={"classlabels_ints": [0, 1], "vectors_per_class": [1, 1], "support_vectors": [0.5] * 8,
               "coefficients": [0.5] * 2, "rho": [0.1], "prob_a": [0.5], "prob_b": [0.5]},
        work={"mac": 8 + 2 + 600, "add": 3 + 4 + 1600, "compare": 2 + 2 + 300, "mul": 1 + 3 + 1200, "exp": 1,
              "div": 1 + 1200, "logic": 200},
        trust="bound",
    ),
    # 3 kernels with a tanh: 12 macs, mul, add and exp each; 3 more macs, and a constant.
    ml(
        "SVMRegressor",
        [f32("N", 4)],
        f32("N", 1),
        attrs={"n_supports": 3, "support_vectors": [0.5] * 12, "coefficients": [0.5] * 3, "rho": [0.1],
               "kernel_type": "SIGMOID", "kernel_params": [0.1, 0.2, 0.0]},
        work={"mac": "15*N", "mul": "3*N", "add": "3*N + N", "exp": "3*N"},
    ),
    ml("SVMRegressor", [f32("N", 4)], f32("N", 1), attrs={"coefficients": [0.5] * 4, "rho": [0.1], "one_class": 1},
       work={"mac": "4*N", "add": "N", "compare": "N"}),
]  # fmt: skip


@pytest.mark.parametrize("c", CASES, ids=str)
def test_truth(c: Case) -> None:
    check(c)


def test_a_tree_that_runs_in_circles_is_refused() -> None:
    attrs = UNEVEN | leaves("target", [(0, 2)], [0]) | {"nodes_truenodeids": [1, 0, 0, 0, 0], "n_targets": 1}
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain=ML, **attrs)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 4))
    graph = helper.make_graph([node], "g", [x], [onnx.ValueInfoProto(name="y")])
    report = macsim.count(helper.make_model(graph, opset_imports=[helper.make_opsetid(ML, 3)], ir_version=10))
    assert [note.code for note in report.diagnostics if note.severity == "warning"] == ["MS202"]
    assert report.rows[0].trust == "unknown"


def test_a_long_tree_needs_no_deep_stack() -> None:
    deep = 20_000
    nodes = range(2 * deep + 1)
    attrs = {
        "nodes_treeids": [0] * len(nodes),
        "nodes_nodeids": list(nodes),
        "nodes_featureids": [0] * len(nodes),
        "nodes_modes": ["BRANCH_LEQ" if n < deep else "LEAF" for n in nodes],
        "nodes_truenodeids": [n + 1 if n < deep else 0 for n in nodes],
        "nodes_falsenodeids": [deep + 1 + n if n < deep else 0 for n in nodes],
        "nodes_values": [0.0] * len(nodes),
        "n_targets": 1,
    }
    attrs |= leaves("target", [(0, n) for n in nodes if n >= deep], [0] * (deep + 1))
    check(ml("TreeEnsembleRegressor", [f32(1, 4)], f32(1, 1), attrs=attrs, work={"compare": deep}, trust="bound"))
