"""Opening and counting ONNX files: macsim beside the tools that people use today, in one run, on the same files.

    python benchmarks/count_onnx.py            # up to 100,000 nodes
    python benchmarks/count_onnx.py --all      # also a million nodes and a file of 1.9 GB

Each figure is the median of several runs in a process of its own, after one run to warm up. What a tool cannot do
within the time limit, or at all, is said so. macsim's MACs are checked against the known truth in every run; what the
others call MACs, with biases and activations in the sum, stands beside.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import large_models
from rich.console import Console
from rich.table import Table

TIMED = """
import json, statistics, sys, time
path, runs = sys.argv[1], int(sys.argv[2])
{setup}
def once():
    start = time.perf_counter()
    macs = work(path)
    return time.perf_counter() - start, macs
took, macs = once()
runs = 1 if took > 2 else runs
times = [once()[0] for _ in range(runs)] if took <= 20 else [took]
peak = next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')) / 1024
print(json.dumps({{"seconds": statistics.median(times), "macs": macs, "peak_mb": peak}}))
"""
SETUPS = {
    "macsim.count": "import macsim\ndef work(p): return int(macsim.count(p, shapes={NAME: SHAPE}).macs)",
    "onnx.load": "import onnx\ndef work(p):\n    onnx.load(p, load_external_data=False)",
    "onnx.load + infer_shapes": (
        "import onnx\ndef work(p):\n    onnx.shape_inference.infer_shapes(onnx.load(p, load_external_data=False))"
    ),
    "onnx-tool": (
        "import contextlib, io, numpy, onnx, onnx_tool\n"
        "def work(p):\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        m = onnx_tool.Model(p)\n"
        "        m.graph.shape_infer({NAME: numpy.zeros(SHAPE, numpy.float32)})\n"
        "        m.graph.profile()\n"
        "    return int(m.graph.macs[0])"
    ),
    "onnx-opcounter": (
        "import contextlib, io, onnx, onnx_opcounter\n"
        "def work(p):\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        m = onnx.load(p, load_external_data=False)\n"
        "        for d, s in zip(m.graph.input[0].type.tensor_type.shape.dim, SHAPE):\n"
        "            d.dim_value = s\n"
        "        return int(onnx_opcounter.calculate_macs(m))"
    ),
}


@dataclass(frozen=True)
class File:
    """A file to measure with, and the truth about it."""

    label: str
    path: Path
    nodes: int
    macs: int
    input: str = "x"
    shape: tuple[int, ...] = (1, large_models.WIDTH)


def make_files(folder: Path, all_of_them: bool) -> list[File]:
    """Chains of growing length, ResNet-50 with its weights inline, and two matrices of 1.9 GB in all."""
    files = []
    for nodes in [1_000, 10_000, 100_000] + ([1_000_000] if all_of_them else []):
        path = folder / f"chain_{nodes}.onnx"
        files.append(File(f"{nodes:,} nodes", path, nodes, large_models.write_chain(path, nodes)))
    path = folder / "resnet50.onnx"
    macs = large_models.write_resnet50(path)
    files.append(File("ResNet-50, 102 MB", path, 175, macs, "input", (1, 3, 224, 224)))
    if all_of_them:
        path = folder / "inline.onnx"
        macs, rows = large_models.write_inline(path, 1.9)
        files.append(File("1.9 GB inline", path, 2, macs, "x", (1, rows)))
    return files


def measure(tool: str, file: File, runs: int, limit: float) -> dict[str, float | int | str | None]:
    """Runs one tool on one file in a fresh interpreter."""
    setup = SETUPS[tool].replace("NAME", repr(file.input)).replace("SHAPE", repr(file.shape))
    script = TIMED.format(setup=setup)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(file.path), str(runs)],
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"said": f"over {limit:.0f} s"}
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["failed"]
        return {"said": last[0][:60]}
    figure: dict[str, float | int | str | None] = json.loads(done.stdout.splitlines()[-1])
    if tool == "macsim.count":
        assert figure["macs"] == file.macs, (file.label, figure["macs"], file.macs)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also a million nodes, and 1.9 GB of inline weights")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a tool may take on one file")
    options = parser.parse_args()

    table = Table(title="open to totals: seconds, and peak memory of the process")
    for column in ("file", "tool", "seconds", "ns a node", "peak MB", "MACs, as it says"):
        table.add_column(column, justify="left" if column in ("file", "tool") else "right")
    with tempfile.TemporaryDirectory() as folder:
        for file in make_files(Path(folder), options.all):
            for tool in SETUPS:
                figure = measure(tool, file, options.runs, options.limit)
                if "said" in figure:
                    table.add_row(file.label, tool, str(figure["said"]))
                    continue
                seconds = float(figure["seconds"] or 0)
                macs = "" if figure["macs"] is None else f"{figure['macs']:,}"
                each = f"{seconds / file.nodes * 1e9:,.0f}"
                table.add_row(file.label, tool, f"{seconds:.6f}", each, f"{figure['peak_mb']:,.0f}", macs)
            table.add_section()
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
