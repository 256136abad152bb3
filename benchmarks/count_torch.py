"""Counting PyTorch models: macsim beside the tools that people use today, in one run, on the same models.

    python benchmarks/count_torch.py                      # every model and every tool that is installed
    python benchmarks/count_torch.py --models ResNet-50 --tools macsim fvcore

Figures are CPU time of one thread, in a process of its own for each: of the first call, and the median of those that
follow. Models come from transformers with random weights, on the CPU or, Llama-7B and where a column says so, on the
meta device. What a tool cannot do within the time limit, or at all, is said so. macsim's MACs are checked against the
known truth in every run; what the others call MACs, some with other work in the sum, stands beside.

Wants: pip install torch transformers rich fvcore thop ptflops calflops deepspeed torchprofile
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

TIMED = """
import contextlib, io, json, statistics, sys, time, warnings, logging
warnings.simplefilter("ignore"); logging.disable(logging.ERROR)
import torch
torch.set_num_threads(1)
runs, sizes, names = {runs}, {sizes}, {names}
with torch.device("{device}"):
{model}
    x = torch.zeros(sizes, dtype=torch.int64) if names else torch.zeros(sizes)
model = model.eval() if isinstance(model, torch.nn.Module) else model
named = {{names: x}} if names else {{}}
{setup}
def once():
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        macs = work()
    return time.process_time() - start, macs
first, macs = once()
times = [once()[0] for _ in range(runs if first < 5 else 1)]
print(json.dumps({{"first": first, "seconds": statistics.median(times), "macs": None if macs is None else int(macs)}}))
"""
FLOP_COUNTER = (
    "from torch.utils.flop_counter import FlopCounterMode\n"
    "entry = model if isinstance(model, torch.nn.Module) else model.module()\n"
    "def work():\n"
    "    with torch.no_grad(), FlopCounterMode(display=False) as mode:\n"
    "        entry(x)\n"
    "    return mode.get_total_flops() // 2"
)
# Tracers take tensors alone as results. The others leave the cache: without it a language model looks into its
# positions, which cannot be done on meta.
NO_CACHE = "getattr(model, 'config', model).use_cache = False\n"
SETUPS = {
    "macsim": "import macsim\ndef work(): return macsim.count(model, sizes).macs",
    "FlopCounterMode, meta": FLOP_COUNTER,
    "FlopCounterMode, CPU": FLOP_COUNTER,
    "fvcore": (
        f"from fvcore.nn import FlopCountAnalysis\n{NO_CACHE}def work():\n"
        "    with torch.no_grad():\n"
        "        found = FlopCountAnalysis(model, x)\n"
        "        found.unsupported_ops_warnings(False).uncalled_modules_warnings(False)\n"
        "        return found.total()"
    ),
    "thop": "import thop\ndef work(): return thop.profile(model, (x,), verbose=False)[0]",
    "ptflops": (
        "from ptflops import get_model_complexity_info\n"
        "def work():\n"
        "    given = (lambda _: named) if names else (lambda _: {'pixel_values': x})\n"
        "    return get_model_complexity_info(model, tuple(sizes[1:]), input_constructor=given, as_strings=False,\n"
        "                                     print_per_layer_stat=False, verbose=False)[0]"
    ),
    "calflops": (
        "from calflops import calculate_flops\n"
        "def work():\n"
        "    given = {'kwargs': named} if names else {'args': [x]}\n"
        "    return calculate_flops(model, print_results=False, output_as_string=False, **given)[1]"
    ),
    "deepspeed": (
        "from deepspeed.profiling.flops_profiler import get_model_profile\n"
        "def work():\n"
        "    return get_model_profile(model, args=[x], print_profile=False, detailed=False, as_string=False,\n"
        "                             warm_up=0)[1]"
    ),
    "torchprofile": (
        f"import torchprofile\n{NO_CACHE}"
        "def work():\n"
        "    with torch.no_grad():\n"
        "        return torchprofile.profile_macs(model, x)"
    ),
}
CHAIN = 500  # pairs of two nodes


@dataclass(frozen=True)
class Model:
    """A model to measure with, and the truth about it."""

    label: str
    source: str  # statements that make `model`
    sizes: tuple[int, ...]
    macs: int
    names: str = ""  # of the input, where it is token ids
    device: str = "cpu"
    tools: tuple[str, ...] = tuple(SETUPS)


def _from_transformers(name: str, config: str, settings: str = "") -> str:
    return f"    import transformers as t\n    model = t.{name}(t.{config}({settings}))"


def _transformer(tokens: int, width: int, inner: int, layers: int) -> int:
    """MACs of encoder layers: four projections, an MLP of two, attention of all pairs."""
    return layers * (4 * tokens * width**2 + 2 * tokens * width * inner + 2 * tokens**2 * width)


def _resnet50() -> int:
    macs, size, channels = 112**2 * 64 * 3 * 49, 56, 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            before = size
            size //= 2 if block == 0 and stage else 1
            macs += before**2 * channels * width + size**2 * width**2 * 9 + size**2 * width * 4 * width
            macs += size**2 * channels * 4 * width if block == 0 else 0
            channels = 4 * width
    return macs + 2048 * 1000


def _swin_tiny() -> int:
    side, width, window = 56, 96, 49
    macs = side**2 * width * 3 * 16
    for stage, layers in enumerate((2, 2, 6, 2)):
        if stage:
            side, width = side // 2, width * 2
            macs += side**2 * (2 * width) * width
        macs += layers * (12 * side**2 * width**2 + 2 * side**2 * window * width)
    return macs + width * 1000


def _llama_7b() -> int:
    tokens, width, inner, layers, words = 2048, 4096, 11008, 32, 32000
    each = 4 * tokens * width**2 + 3 * tokens * width * inner + 2 * tokens**2 * width
    return layers * each + tokens * width * words


MODELS = (
    Model(
        "ResNet-50",
        _from_transformers("ResNetForImageClassification", "ResNetConfig", "num_labels=1000"),
        (1, 3, 224, 224),
        _resnet50(),
    ),
    Model(
        "ViT-B/16",
        _from_transformers("ViTForImageClassification", "ViTConfig", "num_labels=1000"),
        (1, 3, 224, 224),
        196 * 768 * 3 * 256 + _transformer(197, 768, 3072, 12) + 768 * 1000,
    ),
    Model(
        "Swin-T",
        _from_transformers("SwinForImageClassification", "SwinConfig", "num_labels=1000"),
        (1, 3, 224, 224),
        _swin_tiny(),
    ),
    Model(
        "BERT-base, 128 tokens",
        _from_transformers("BertModel", "BertConfig"),
        (1, 128),
        _transformer(128, 768, 3072, 12) + 768**2,
        names="input_ids",
    ),
    Model(
        "Llama-7B, meta, 2048 tokens",
        _from_transformers("LlamaForCausalLM", "LlamaConfig"),
        (1, 2048),
        _llama_7b(),
        names="input_ids",
        device="meta",
        tools=tuple(tool for tool in SETUPS if tool != "FlopCounterMode, CPU"),
    ),
    Model(
        f"ExportedProgram, {2 * CHAIN:,} nodes",
        f"    layers = [part for _ in range({CHAIN}) for part in (torch.nn.Linear(64, 64), torch.nn.ReLU())]\n"
        "    model = torch.export.export(torch.nn.Sequential(*layers), (torch.zeros(1, 64),))",
        (1, 64),
        CHAIN * 64 * 64,
        tools=("macsim", "FlopCounterMode, CPU"),
    ),
)


def measure(tool: str, model: Model, runs: int, limit: float) -> dict[str, float | int | str | None]:
    """Runs one tool on one model in a fresh interpreter."""
    device = "meta" if tool.endswith("meta") else model.device
    script = TIMED.format(
        runs=runs, sizes=model.sizes, names=repr(model.names), device=device, model=model.source, setup=SETUPS[tool]
    )
    if "Exported" in model.label and tool == "macsim":  # the graph knows its shapes
        script = script.replace("count(model, sizes)", "count(model)")
    try:
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        return {"said": f"over {limit:.0f} s"}
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["failed"]
        return {"said": last[0][:70]}
    figure: dict[str, float | int | str | None] = json.loads(done.stdout.splitlines()[-1])
    if tool == "macsim":
        assert figure["macs"] == model.macs, (model.label, figure["macs"], model.macs)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", help="the first words of their names")
    parser.add_argument("--tools", nargs="*", choices=list(SETUPS), default=list(SETUPS))
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a tool may take on one model")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()

    table = Table(title="CPU time of one thread, ms")
    for column in ("model", "tool", "first call", "later calls", "MACs, as it says", "of the truth"):
        table.add_column(column, justify="left" if column in ("model", "tool") else "right")
    figures = []
    for model in MODELS:
        if options.models and not any(model.label.startswith(name) for name in options.models):
            continue
        for tool in options.tools:
            if tool not in model.tools:
                figure: dict[str, float | int | str | None] = {"said": "takes no such model"}
            else:
                figure = measure(tool, model, options.runs, options.limit)
            figures.append({"model": model.label, "tool": tool, **figure})
            print(json.dumps(figures[-1]), file=sys.stderr, flush=True)
            if "said" in figure:
                table.add_row(model.label, tool, str(figure["said"]))
                continue
            first, seconds = float(figure["first"] or 0), float(figure["seconds"] or 0)
            macs = int(figure["macs"] or 0)
            share = "exact" if macs == model.macs else f"{macs / model.macs:.4f}"
            table.add_row(model.label, tool, f"{first * 1e3:,.1f}", f"{seconds * 1e3:,.2f}", f"{macs:,}", share)
        table.add_section()
    Console(width=140).print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), "utf-8")


if __name__ == "__main__":
    main()
