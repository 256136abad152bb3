"""The workloads of published energy measurements, written compactly and counted by macsim.

    python benchmarks/energy_workloads.py            # counts them all and writes benchmarks/data/energy_workloads.csv

Each network (energy_networks.py, energy_transformers.py) is written as what a deployed runtime executes: batch
normalisation and ReLU are folded into convolutions, attention is one kernel. Language models and what servers run is
counted as fused kernels, boards' networks and pipelines of diffusion operator by operator. Configurations are those
that authors published. Sizes that a measurement chooses stay symbols: `batch`; `context`, the tokens that a decoding
step finds in its cache; `prompt`, the tokens of a prefill.

Language models are counted as one layer of each sort, with how often it occurs. Every line of the CSV is one kernel:
workload, phase, rule, sort (dense, depthwise, attention, other), dtype, bits of its weights, times, MACs, other
operations, bytes read, bytes of weights, bytes written. Experts of mixtures are sort `expert`: what a token takes of
one of them, and the bytes of one.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from energy_networks import (
    LITE,
    Pyramid,
    Recommender,
    efficientnet_lite,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    ssd_mobilenet,
    ssd_resnet34,
)
from energy_transformers import DIFFUSION, LMS, VISION, Encoder, Part, diffusion, language_model
from torch import nn

import macsim

HERE = Path(__file__).resolve().parent
CACHE = HERE / "data" / "energy_workloads.csv"
SERVED = ("ssd-resnet34", "ssd-mobilenet", "retinanet", "dlrm")  # by engines that fuse
QUESTION = 177  # tokens of a question of SQuAD with its text, on average: padding is not computed
FIELDS = ("workload", "phase", "rule", "sort", "dtype", "bits", "times", "macs", "other", "read", "weights", "written")


def sort_of(row: macsim.Row, given: str) -> str:
    """Tell the sorts of operators apart that hardware runs differently well."""
    if given:
        return given
    if row.rule == "conv" and len(row.inputs) > 1 and row.inputs[1].shape[1] == 1 and row.inputs[1].shape[0] > 1:
        return "depthwise"
    if "attention" in row.rule:
        return "attention"
    return "dense" if row.macs != 0 else "other"


def kernels(report: macsim.Report, fused: bool) -> Iterator[tuple[macsim.Row, list[Any]]]:
    """Yield the kernels of a run: a row to name each after; MACs, other work, bytes read, weights and written."""
    rows = report.rows

    def other(row: macsim.Row) -> Any:
        return row.flops - 2 * row.macs + row.int_ops

    if not fused:
        for row in rows:
            yield row, [row.macs_unmasked, other(row), row.read, row.weights, row.written]
        return
    for kernel in report.traffic("fused").kernels:
        members = [rows[at] for at in kernel.rows]
        head = next((row for row in members if row.macs != 0), members[0])
        work = [sum((row.macs_unmasked for row in members), 0), sum((other(row) for row in members), 0)]
        yield head, [*work, kernel.read + kernel.cache, kernel.weights, kernel.written]


def counted(workload: str, phase: str, part: Part, fused: bool = False) -> Iterator[dict[str, Any]]:
    """Count a part and yield a line for each of its kernels that works or moves; alike ones are one line."""
    module, shapes, times, given, bits = part
    module = module.to(torch.float32 if given == "f32" else torch.bfloat16)
    report = macsim.count(module, *shapes)
    found: dict[tuple[str, ...], float] = {}
    for row, numbers in kernels(report, fused):
        if all(number == 0 for number in numbers):
            continue
        kind = row.mac_dtypes[0] if row.macs != 0 else row.compute
        key = (row.rule, sort_of(row, "" if given == "f32" else given), kind, *map(str, numbers))
        found[key] = found.get(key, 0) + times
    for (rule, sort, kind, *texts), often in found.items():
        line = {"workload": workload, "phase": phase, "rule": rule, "sort": sort, "dtype": kind, "bits": f"{bits:g}"}
        yield {**line, "times": f"{often:g}", **dict(zip(FIELDS[7:], texts, strict=True))}


def networks() -> dict[str, tuple[Callable[[], nn.Module], list[tuple[Any, ...]]]]:
    """Return the networks of the MLPerf rows: how each is made, and its inputs' shapes."""
    found: dict[str, tuple[Callable[[], nn.Module], list[tuple[Any, ...]]]] = {}

    def image(name: str, make: Callable[[], nn.Module], side: int) -> None:
        found[name] = make, [("batch", 3, side, side)]

    for alpha in (0.25, 0.5, 0.75, 1.0):
        for side in (128, 160, 192, 224):
            image(f"mobilenet-v1-{alpha}-{side}", lambda alpha=alpha: mobilenet_v1(alpha), side)
    for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4):
        for side in (96, 128, 160, 192, 224):
            image(f"mobilenet-v2-{alpha}-{side}", lambda alpha=alpha: mobilenet_v2(alpha), side)
    for size in ("small", "large"):
        for alpha in (0.75, 1.0):
            for minimal in (False, True):
                name = f"mobilenet-v3-{size}{'-minimalistic' if minimal else ''}-{alpha}-224"
                image(name, lambda s=size, a=alpha, m=minimal: mobilenet_v3(s, a, m), 224)
    for variant, (_, _, side) in LITE.items():
        image(f"efficientnet-lite{variant}", lambda variant=variant: efficientnet_lite(variant), side)
    image("ssd-resnet34", ssd_resnet34, 1200)
    image("ssd-mobilenet", ssd_mobilenet, 300)
    image("retinanet", Pyramid, 800)
    found["dlrm"] = Recommender, [("270*batch", 13), ("270*batch", 27, 128)]
    return found


def lines() -> Iterator[dict[str, Any]]:
    """Count everything."""
    with torch.device("meta"):
        for name, (make, shapes) in networks().items():
            fused = name in SERVED
            yield from counted(name, "fused" if fused else "all", (make(), shapes, 1, "f32", 32.0), fused)
            if name == "ssd-resnet34":  # which runs on boards, too
                yield from counted(name, "all", (make(), shapes, 1, "f32", 32.0))
        layer = Encoder(1024, 16, 4096)
        yield from counted("bert-large", "fused", (layer, [("batch", QUESTION, 1024)], 24, "f32", 32.0), fused=True)
        for name, lm in LMS.items():
            for phase in ("decode", "prefill"):
                for part in language_model(lm, phase == "prefill"):
                    yield from counted(name, phase, part, fused=True)
        for name, (layers, width, heads, inner) in VISION.items():
            part = (Encoder(width, heads, inner), [("images", "patches", width)], layers, "", 16.0)
            yield from counted(name, "vision", part, fused=True)
        for name in DIFFUSION:
            for phase, part in diffusion(name):
                yield from counted(name, phase, part)


def write(path: Path, found: Iterable[dict[str, Any]]) -> int:
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="\n", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        count = 0
        for line in found:
            writer.writerow({name: re.sub(r"\s+", "", str(value)) for name, value in line.items()})
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=CACHE, help="default: %(default)s")
    output = parser.parse_args().output
    print(f"{write(output, lines())} lines in {output}")


if __name__ == "__main__":
    main()
