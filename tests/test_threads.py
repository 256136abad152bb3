# Many threads at once: the same numbers, from shared models and registries, while others change them.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import models
import pytest

import macsim

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def _switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_counts_do_not_depend_on_threads() -> None:
    def one(i: int) -> tuple:
        path = EXAMPLES / ("resnet50.onnx" if i % 2 else "gpt2.onnx")
        report = macsim.count(path)
        bound = report.bind(batch=2, height=224, width=224) if i % 2 else report.bind(batch=2, seq=64)
        return str(report.flops), bound.flops, tuple(group.macs for group in bound.by("op")), len(report.diagnostics)

    alone = {i: one(i) for i in range(2)}
    with ThreadPoolExecutor(8) as pool:
        for i, result in enumerate(pool.map(one, range(64))):
            assert result == alone[i % 2]


def test_one_model_and_one_report_in_many_threads() -> None:
    model = macsim.load(EXAMPLES / "resnet50.onnx")
    shared = macsim.analyze(model)

    def one(side: int) -> tuple[int, int]:
        sizes = {"batch": 1, "height": side, "width": side}
        return macsim.analyze(model, shapes=(1, 3, side, side)).macs, shared.bind(sizes).macs

    with ThreadPoolExecutor(8) as pool:
        for fresh, bound in pool.map(one, range(64, 128)):
            assert fresh == bound


def test_rules_of_python_run_in_many_threads_while_more_are_added() -> None:
    registry = macsim.Registry()

    @registry.op("mylib::Window", slots="q k v")
    class Window:
        @staticmethod
        def infer(call: macsim.Call) -> macsim.Tensor:
            return call.q

        @staticmethod
        def cost(call: macsim.Call) -> macsim.Cost:
            b, d = call.q.shape
            return macsim.Cost(mac=b * d * call.attr("window"))

    proto = models.custom(window=7).SerializeToString()
    stop = threading.Event()

    def extend() -> None:
        i = 0
        while not stop.is_set():
            registry.alias(f"other::Op{i % 50}", like="onnx::Relu")
            registry.op("mylib::Window", slots="q k v")(Window)
            i += 1
            time.sleep(0)

    worker = threading.Thread(target=extend)
    worker.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            macs = set(pool.map(lambda _: str(macsim.count(proto, registry=registry).macs), range(200)))
    finally:
        stop.set()
        worker.join()
    assert macs == {str(macsim.Expr("15*batch + 35*batch"))}


def test_others_run_while_a_model_is_counted() -> None:
    """The interpreter lock is released: another thread goes on counting while a large model is analysed."""
    nodes = 60_000
    proto = models.chain(nodes).SerializeToString()
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.0005)

    sys.setswitchinterval(10)  # nobody is made to give the lock away
    worker = threading.Thread(target=tick)
    worker.start()
    try:
        before, began = ticks, time.perf_counter()
        model = macsim.load(proto)
        report = macsim._core.analyze(model, macsim.rules.table, {}, {})
        during, took = ticks - before, time.perf_counter() - began
    finally:
        done.set()
        worker.join()
    assert len(report) == nodes
    if took > 0.01:
        assert during > 0
