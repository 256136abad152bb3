"""Opening and counting ONNX files: macsim beside the tools that people use today, in one run, on the same files.

    python benchmarks/count_onnx.py            # up to 100,000 nodes
    python benchmarks/count_onnx.py --all      # also a million nodes and a file of 1.9 GB

Each figure is the median of several runs in a process of its own, after one run to warm up. What a tool cannot do
within the time limit, or at all, is said so. The MACs of every run that gives them are checked against the truth.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import large_models
from rich.console import Console
from rich.table import Table

TIMED = """
import json, resource, statistics, sys, time
path, runs, truth = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
{setup}
def once():
    start = time.perf_counter()
    macs = work(path)
    return time.perf_counter() - start, macs
took, macs = once()
runs = 1 if took > 2 else runs
times = [once()[0] for _ in range(runs)] if took <= 20 else [took]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"seconds": statistics.median(times), "macs": macs, "peak_mb": peak}}))
"""
SETUPS = {
    "macsim.count": "import macsim\ndef work(p): return int(macsim.count(p, dims={'batch': 1}).macs)",
    "onnx.load": "import onnx\ndef work(p):\n    onnx.load(p, load_external_data=False)",
    "onnx.load + infer_shapes": (
        "import onnx\ndef work(p):\n    onnx.shape_inference.infer_shapes(onnx.load(p, load_external_data=False))"
    ),
    "onnx-tool": (
        "import contextlib, io, numpy, onnx_tool\n"
        "def work(p):\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        m = onnx_tool.Model(p)\n"
        "        m.graph.shape_infer({'x': numpy.zeros((1, 64), numpy.float32)})\n"
        "        m.graph.profile()\n"
        "    return None"
    ),
    "onnx-opcounter": (
        "import contextlib, io, onnx, onnx_opcounter\n"
        "def work(p):\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        onnx_opcounter.calculate_macs(onnx.load(p, load_external_data=False))\n"
        "    return None"
    ),
}


def measure(tool: str, path: Path, truth: int, runs: int, limit: float) -> dict[str, float | int | str | None]:
    """Runs one tool on one file in a fresh interpreter."""
    script = TIMED.format(setup=SETUPS[tool])
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(path), str(runs), str(truth)],
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
        assert figure["macs"] == truth, (path, figure["macs"], truth)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="also a million nodes, and 1.9 GB of inline weights")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a tool may take on one file")
    options = parser.parse_args()

    table = Table(title="open to totals: seconds, and peak memory of the process")
    for column in ("file", "tool", "seconds", "ns a node", "peak MB"):
        table.add_column(column, justify="left" if column in ("file", "tool") else "right")
    with tempfile.TemporaryDirectory() as folder:
        sizes = [1_000, 10_000, 100_000] + ([1_000_000] if options.all else [])
        files: list[tuple[str, Path, int, int]] = []
        for nodes in sizes:
            path = Path(folder) / f"chain_{nodes}.onnx"
            files.append((f"{nodes:,} nodes", path, nodes, large_models.write_chain(path, nodes)))
        if options.all:
            path = Path(folder) / "inline.onnx"
            files.append(("1.9 GB of weights inline", path, 2, large_models.write_inline(path, 1.9)))
        path = Path(folder) / "weights_102mb.onnx"
        files.append(("102 MB of weights inline", path, 2, large_models.write_inline(path, 0.102)))
        for label, path, nodes, truth in files:
            for tool in SETUPS:
                figure = measure(tool, path, truth, options.runs, options.limit)
                if "said" in figure:
                    table.add_row(label, tool, str(figure["said"]), "", "")
                    continue
                seconds = float(figure["seconds"] or 0)
                table.add_row(
                    label, tool, f"{seconds:.6f}", f"{seconds / nodes * 1e9:,.0f}", f"{figure['peak_mb']:,.0f}"
                )
            table.add_section()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
