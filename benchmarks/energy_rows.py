"""From rows of published energy measurements to cases: what ran, for how long, for how many joules.

What a row does not state is assumed here, and nowhere else: the lengths of prompts, the sizes of pictures, the batches
of servers.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import macsim
from macsim.calibrate_fit import Case
from macsim.estimate_loads import machine_of
from macsim.estimate_physics import Loads, Machine, Spread, joined
from macsim.report import evaluate

WORKLOADS = Path(__file__).resolve().parent / "data" / "energy_workloads.csv"
Row = dict[str, str]


GPUS = {"NVIDIA H100": "h100-sxm", "NVIDIA B200": "b200-sxm"}
COLUMNS = ("source", "task_model", "precision", "scenario_batch", "hardware", "n_devices", "throughput", "avg_watts")
COLUMNS += ("J_per_unit", "unit", "scope", "notes", "citation")


def read(path: Path) -> list[Row]:
    """Return the rows of a file of measurements, or end with what is wrong with it."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise SystemExit(f"{path}: there are no columns {', '.join(missing)}; a file has {', '.join(COLUMNS)}")
    for line, row in enumerate(rows, 2):
        for name in ("J_per_unit", "n_devices", "throughput", "avg_watts"):
            text = (row[name] or "").strip()
            optional = name in ("throughput", "avg_watts") and row["unit"] == "request"
            if not (optional and not text) and not is_positive(text):
                raise SystemExit(f"{path}, line {line}: {name} is {row[name]!r}, not a number above 0")
    return rows


def is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


@cache
def lines() -> dict[tuple[str, str], list[Row]]:
    """The counted operators, by workload and phase."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    with open(WORKLOADS, newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            found[line["workload"], line["phase"]].append(line)
    return found


@cache
def counted(workload: str, phase: str, **sizes: int) -> dict[str, Any]:
    """Return the operators of a workload as arrays, with sizes in the place of symbols."""
    rows = lines()[workload, phase]
    given = {name: np.array(size) for name, size in sizes.items()}
    found: dict[str, Any] = {}
    for what in ("macs", "other", "read", "weights", "written"):
        numbers = [int(row[what]) if row[what].isdecimal() else macsim.Expr(row[what]) for row in rows]
        found[what] = evaluate(numbers, given, (len(rows),)).astype(float)
    found["times"] = np.array([float(row["times"]) for row in rows])
    counted_in = np.array([32.0 if row["dtype"] == "f32" else 16.0 for row in rows])
    found["weights"] *= np.array([float(row["bits"]) for row in rows]) / counted_in
    found["sort"] = np.array([row["sort"] for row in rows])
    return found


def loads(
    rows: dict[str, Any],
    dtype: str,
    *,
    keep: Any = None,
    times: float = 1.0,
    share: float = 1.0,
    weight_share: float | None = None,
    moved: float = 1.0,
) -> Loads:
    """Return rows as loads: products in a dtype, bytes times ``moved``, run so many times.

    ``share`` is what one device does of the work, ``weight_share`` what it has of the weights.
    """
    pick = np.ones(len(rows["times"]), bool) if keep is None else keep
    often = (rows["times"][pick] * times)[:, None]
    weights = rows["weights"] * (share if weight_share is None else weight_share)
    bytes_ = ((rows["read"] + rows["written"]) * share + weights)[pick, None] * moved
    work = {("mac", dtype): rows["macs"][pick, None] * share * often}
    return Loads(work, {"path": bytes_ * often}, often)


# Language models ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompts:
    """What rows of language models do not say.

    A picture has so many megapixels; the tokens of a video are computed as far as they are not found in the cache of
    prefixes. Video prompts have 3,700 tokens in all, and prompts of text have 150 and 250: that is what the largest
    batches leave of the memory for each sequence.
    """

    megapixels: float = 0.6
    video: int = 1200


GRID = [Prompts(megapixels, video) for megapixels in (0.3, 0.6, 1.2) for video in (300, 1200, 3700)]
TEXT = {"lm-arena-chat": 150, "gpqa": 250, "sourcegraph-fim": 1000}
WORDS, VIDEO = 100, 3700
NAMES = [
    ("Qwen3-VL-8B", "Qwen3-8B", "Qwen3-VL"),
    ("Qwen3-VL-32B", "Qwen3-32B", "Qwen3-VL"),
    ("Qwen3-VL-30B", "Qwen3-30B-A3B", "Qwen3-VL"),
    ("Qwen3-VL-235B", "Qwen3-235B-A22B", "Qwen3-VL"),
    ("Qwen3-Coder-480B", "Qwen3-Coder-480B-A35B", ""),
    ("Qwen3-235B", "Qwen3-235B-A22B", ""),
    ("Nemotron.*VL", "Nemotron-Nano-12B-v2", "Nemotron-VL"),
    ("Nemotron", "Nemotron-Nano-12B-v2", ""),
    ("gemma-3-12b", "gemma-3-12b", "gemma-3"),
    ("gemma-3-27b", "gemma-3-27b", "gemma-3"),
    ("DeepSeek", "DeepSeek-V3", ""),
    ("Scout.*image", "Llama-4-Scout", "gemma-3"),
    ("Scout", "Llama-4-Scout", ""),
    ("Maverick.*image", "Llama-4-Maverick", "gemma-3"),
    ("405B", "Llama-3.1-405B", ""),
    ("gpt-oss-20b", "gpt-oss-20b", ""),
    ("Qwen3-8B", "Qwen3-8B", ""),
    ("Qwen3-14B", "Qwen3-14B", ""),
    ("Qwen3-32B", "Qwen3-32B", ""),
]
WINDOWS = {"gemma-3-12b": 1024, "gemma-3-27b": 1024, "gpt-oss-20b": 128}
EXPERTS = {
    "Qwen3-30B-A3B": (128, 8),
    "Qwen3-235B-A22B": (128, 8),
    "Qwen3-Coder-480B-A35B": (160, 8),
    "Llama-4-Scout": (16, 1),
    "Llama-4-Maverick": (128, 1),
    "gpt-oss-20b": (32, 4),
    "DeepSeek-V3": (256, 8),
}
PRECISIONS = {"fp8": "f8", "bfloat16": "bf16", "mxfp4": "bf16"}


def prompt_of(vision: str, task: str, assumed: Prompts) -> tuple[int, int, int, int]:
    """Return the tokens of a prompt that are computed, those found in a cache, pictures, and patches of each."""
    if not vision:
        return TEXT[task], 0, 0, 0
    if task == "video-chat":
        frames = max(1, assumed.video // 300)
        return assumed.video, VIDEO - assumed.video, frames, 4 * assumed.video // frames
    if vision == "gemma-3":  # 896 x 896, whatever the picture; 256 tokens of it
        return WORDS + 256, 0, 1, 4096
    if vision == "Nemotron-VL":  # tiles of 512 x 512 and a small copy, 256 tokens each
        tiles = math.ceil(assumed.megapixels / 0.262) + 1
        return WORDS + 256 * tiles, 0, tiles, 1024
    tokens = int(assumed.megapixels * 1e6 / 1024)  # 32 x 32 each, of 4 patches
    return WORDS + tokens, 0, 1, 4 * tokens


@cache
def step_of(lm: str, vision: str, dtype: str, sizes: tuple[float, ...], shards: int) -> Loads:
    """Return the loads of a decoding step and its share of prefills, on one of the devices that share the model."""
    batch, prompt, cached, output, pictures, patches = sizes
    context = int(prompt + cached + output / 2)
    tokens = max(1, round(batch))
    step = counted(lm, "decode", batch=tokens, context=context, window=min(WINDOWS.get(lm, 1), context))
    prefill = counted(lm, "prefill", batch=1, prompt=int(prompt))
    rate = batch / output  # prefills for each step
    both = {what: values.copy() for what, values in step.items()}
    weighty, into = prefill["weights"] > 0, np.flatnonzero(step["weights"] > 0)
    for what in ("macs", "other", "read", "written"):  # tokens of prompts go through the weights with those of the step
        both[what][into] += rate * prefill[what][weighty]
    expert = step["sort"] == "expert"
    if expert.any():
        count, active = EXPERTS[lm]
        for what in ("macs", "other", "read", "written"):
            both[what][expert] *= active
        both["weights"][expert] *= count * (1 - (1 - active / count) ** (tokens + rate * prompt))  # some token takes
    if dtype == "f8":
        both["weights"] = both["weights"] / 2
    share = 1 / shards
    pieces = [loads(both, dtype, share=share), loads(prefill, dtype, keep=~weighty, times=rate, share=share)]
    if vision:
        seen = counted(vision, "vision", images=int(pictures), patches=int(patches))
        pieces.append(loads(seen, "bf16", times=rate, share=share))
    return joined(pieces)


def model_of(row: Row) -> str:
    """Return what is left out together: a decoder with what sees for it, in whatever precision and training."""
    lm, vision = next((lm, vision) for pattern, lm, vision in NAMES if re.search(pattern, row["task_model"]))
    return f"{lm}, {vision}" if vision else lm


def serving(row: Row, machine: Machine, assumed: Prompts) -> Case:
    """Return the case of a row of language serving: one step of the engine, on one device."""
    lm, vision = next((lm, vision) for pattern, lm, vision in NAMES if re.search(pattern, row["task_model"]))
    task = row["task_model"].split(" / ")[1]
    batch = float(re.search(r"avg_batch=([\d.]+)", row["scenario_batch"])[1])
    output = float(re.search(r"avg_output_len=([\d.]+)", row["notes"])[1])
    devices = int(row["n_devices"])
    prompt, cached, pictures, patches = prompt_of(vision, task, assumed)
    sizes = (batch, prompt, cached, output, pictures, patches)
    waits = {"a sequence": batch, f"a step of {task}": 1.0}
    if devices > 1:
        layers = sum(float(line["times"]) for line in lines()[lm, "decode"] if line["rule"] == "torch_attention")
        waits["a collective"] = 2 * layers
        waits["a sequence sent"] = batch * layers / 100
    found = step_of(lm, vision, PRECISIONS[row["precision"]], sizes, devices)
    seconds = batch / float(row["throughput"])
    joules = float(row["J_per_unit"]) * batch / devices
    return Case(model_of(row), found, seconds, joules, waits, machine=machine)


# Diffusion ------------------------------------------------------------------------------------------------------------

PIPELINES = {  # passes of a step: two where guidance is a second one
    "stable-diffusion-3.5-medium": ("stable-diffusion-3.5-medium", 2, 24),
    "stable-diffusion-3.5-large": ("stable-diffusion-3.5-large", 2, 38),
    "HunyuanDiT": ("HunyuanDiT-v1.2", 2, 40),
    "SANA1.5": ("SANA1.5-1.6B", 2, 20),
    "CogVideoX-2b": ("CogVideoX-2b", 2, 30),
    "HunyuanVideo": ("HunyuanVideo", 1, 60),
}


def diffusing(row: Row, machine: Machine) -> Case:
    """Return the case of a row of pictures or videos: one batch of them, on one of the devices that share it."""
    workload, passes, layers = next(found for name, found in PIPELINES.items() if name in row["task_model"])
    batch = int(re.search(r"avg_batch=(\d+)", row["scenario_batch"])[1])
    steps = int(re.search(r"steps=(\d+)", row["notes"])[1])
    devices = int(row["n_devices"])
    share = 1 / devices
    pieces = [
        loads(counted(workload, "step", batch=passes * batch), "bf16", times=steps, share=share, weight_share=1.0)
    ]
    if (workload, "image") in lines():  # each device decodes its pictures
        pieces.append(
            loads(counted(workload, "image", batch=batch), "bf16", share=max(share, 1 / batch), weight_share=1.0)
        )
    task = row["task_model"].split(" / ")[1]
    waits = {f"a step of {task}": float(steps)}
    if devices > 1:
        waits["an exchange"] = 2.0 * layers * steps
    seconds = batch / float(row["throughput"])
    joules = float(row["J_per_unit"]) * batch / devices
    return Case(row["task_model"].split(" / ")[0], joined(pieces), seconds, joules, waits, machine=machine)


# MLPerf ---------------------------------------------------------------------------------------------------------------


def network(name: str) -> str:
    """Return the workload of a row of an MLPerf board.

    >>> network("mobilenet-v3-large-minimalistic_224_1.0_uint8"), network("efficientnet-fp32-lite0")
    ('mobilenet-v3-large-minimalistic-1.0-224', 'efficientnet-lite0')
    """
    text = re.sub(r"precision_(uint8|float)-|fp32-|int8-|(-non)?-quantized$", "", name)
    if found := re.fullmatch(r"mobilenet-v3-(.*)_224_([\d.]+)_(float|uint8)", text):
        return f"mobilenet-v3-{found[1]}-{found[2]}-224"
    if found := re.fullmatch(r"mobilenet-v3-(.*)-224", text):
        return f"mobilenet-v3-{found[1]}-1.0-224"
    return text


def is_int8(name: str) -> bool:
    """Whether a row of an MLPerf board ran a quantised network."""
    return bool(re.search(r"uint8|int8|(?<!non)-quantized", name))


BOARDS = {
    "rpi4": "raspberry-pi-4",
    "odroid": "odroid-n2",
    "firefly": "rk3588s",
    "xavier": "jetson-agx-xavier-cpu",
    "orin": "jetson-agx-orin-cpu",
    "nvidia_orin": "jetson-agx-orin-cpu",
}
WIDE = {  # of a board that nothing is known of
    "efficiency.compute": Spread(0.02, 0.3, 1.0),
    "efficiency.memory": Spread(0.02, 0.3, 1.0),
    "launch.overhead": Spread(1e-6, 2e-5, 4e-4),
    "memory.dram.path": Spread(1e-10, 1e-9, 1e-8),
}


def system(row: Row) -> str:
    """Return the system of a row: board, runtime and version."""
    return row["citation"].split("/results/")[1].split("/")[0]


@cache
def board(name: str, int8: bool) -> Machine:
    """Return a board whose constants are wide open, with peaks and bandwidth of its table."""
    kind = next(kind for prefix, kind in BOARDS.items() if name.startswith(prefix))
    machine, _ = machine_of(kind)
    values = {**machine.values, **WIDE}
    dtype = "i8" if int8 else "f32"
    for name_ in [name_ for name_ in values if name_.startswith(("power.", "energy."))]:
        del values[name_]
    values["energy.mac." + dtype] = Spread(2e-11, 2e-10, 2e-9)
    values["power.static"] = Spread(1.0, 5.0, 25.0)
    values.setdefault("peak.vector.i8", values["peak.vector.f32"])
    return replace(machine, values=values, package=False, overlap=False)


def on_board(row: Row) -> Case:
    """Return the case of a row of a board at its wall: one picture."""
    int8 = is_int8(row["task_model"])
    found = network(row["task_model"])
    part = loads(counted(found, "all", batch=1), "i8" if int8 else "f32", moved=0.25 if int8 else 1.0)
    joules = float(row["J_per_unit"])
    return Case(found, part, joules / float(row["avg_watts"]), joules, machine=board(system(row), int8))


SERVERS = {  # multi-GPU rows, and others
    "NVIDIA A100-PCIE-40GB": "a100-pcie-40gb",
    "NVIDIA A100-PCIe-40GB": "a100-pcie-40gb",
    "NVIDIA A100-PCIe": "a100-pcie-40gb",
    "NVIDIA A100-PCIe-80GB": "a100-pcie-80gb",
    "NVIDIA A100-SXM-80GB": "a100-sxm-80gb",
    "NVIDIA A100-SXM-80GB CTS": "a100-sxm-80gb",
    "NVIDIA A100-SXM4-40GB": "a100-sxm-40gb",
    "NVIDIA A10": "a10",
    "NVIDIA A2": "a2",
    "NVIDIA A30": "a30",
    "NVIDIA H100-PCIe-80GB": "h100-pcie",
    "NVIDIA L4": "l4",
    "NVIDIA GeForce RTX 4090 (Ada Lovelace)": "rtx-4090",
}
JETSONS = {
    "NVIDIA AGX Xavier": "jetson-agx-xavier",
    "NVIDIA Xavier NX": "jetson-xavier-nx",
    "NVIDIA Orin": "jetson-agx-orin",
    "NVIDIA Jetson AGX Orin": "jetson-agx-orin",
}
CLOUD = "QUALCOMM Cloud AI 100"
# Modules with the same chip, as they were announced: share of the card's peak, and watts.
MODULES = {"DM.2e": (70 / 400, 15.0), "DM.2": (200 / 400, 25.0)}
# Workload, batch, dtype: 99 % of the accuracy is reached in int8, 99.9 % of BERT's in fp16, on H100 in fp8.
TASKS = {
    "bert-99": ("bert-large", 64, "i8"),
    "bert-99.9": ("bert-large", 64, "f16"),
    "ssd-resnet34": ("ssd-resnet34", 16, "i8"),
    "ssd-mobilenet": ("ssd-mobilenet", 64, "i8"),
    "retinanet": ("retinanet", 16, "i8"),
    "dlrm-99": ("dlrm", 64, "i8"),
    "dlrm-99.9": ("dlrm", 64, "i8"),
}
SUPPLY = 0.92  # of what a server's power supplies take


SCENARIOS = {"singlestream": 1, "multistream": 8}  # samples of a query; one accelerator has it, the others are idle


@cache
def accelerator(hardware: str) -> Machine:
    """Return what a row of MLPerf ran on: a card in a server, or a whole board with its accelerator."""
    if hardware in SERVERS:
        return machine_of(SERVERS[hardware])[0]
    module = hardware.removeprefix(CLOUD).strip()
    chip = JETSONS.get(hardware) or ("cloud-ai-100-standard" if module.endswith("Standard") else "cloud-ai-100-pro")
    machine, _ = machine_of(chip)
    values = dict(machine.values)
    if module in MODULES:
        share, tdp = MODULES[module]
        values = {name: spread.scaled(share) if name.startswith("peak.") else spread for name, spread in values.items()}
        values["power.tdp"] = Spread.exact(tdp)
    if is_board(hardware):  # all that a board draws is behind one meter
        tdp = values["power.tdp"].typical
        values["power.static"] = Spread(0.05 * tdp, 0.25 * tdp, tdp)
        values["power.limit"] = Spread.exact(2.5 * tdp)
    return replace(machine, values=values)


def is_board(hardware: str) -> bool:
    """Whether a row of MLPerf is of a board that is its own host."""
    return hardware in JETSONS or hardware.removeprefix(CLOUD).strip() in MODULES


def on_server(row: Row) -> Case:
    """Return the case of a row at its wall: a batch on one accelerator, with its share of the host.

    Where queries come one at a time, one accelerator works, and the others idle with the host. In the server scenario
    queries come at random: how much of the time nothing is there to do is in proportion to the work.
    """
    workload, batch, dtype = TASKS[row["task_model"]]
    scenario = row["scenario_batch"].lower()
    batch, devices = SCENARIOS.get(scenario, batch), int(row["n_devices"])
    busy = 1 if scenario in SCENARIOS else devices
    machine = accelerator(row["hardware"])
    if dtype == "f16" and "H100" in row["hardware"]:
        dtype = "f8"
    part = loads(counted(workload, "fused", batch=batch), dtype, moved=0.5 if dtype == "f16" else 0.25)
    idle = machine.get("power.idle")
    if busy < devices and idle is not None:
        more = {
            name: machine.values[name].typical + (devices - 1) * idle.typical for name in ("power.static", "power.tdp")
        }
        static = machine.values["power.static"].scaled(more["power.static"] / machine.values["power.static"].typical)
        machine = replace(
            machine, values={**machine.values, "power.static": static, "power.tdp": Spread.exact(more["power.tdp"])}
        )
    waits = {}
    if scenario == "server":
        rate = machine.peak("mac", dtype)
        assert rate is not None
        waits["ten microseconds of work for a server"] = 1e5 * float(part.flops.sum()) / rate[1].typical
    seconds = batch * busy / float(row["throughput"])
    joules = float(row["J_per_unit"]) * batch * SUPPLY
    host = 0.0 if is_board(row["hardware"]) else 1 / busy
    return Case(workload, part, seconds, joules, waits, host=host, machine=machine)


# Small studies --------------------------------------------------------------------------------------------------------

STUDIED = {"RTX 5090": "rtx-5090", "RTX 4090D": "rtx-4090-d"}
ALONE = (1.0, 64, 0, 256.0, 0, 0)  # a batch of one, with a prompt and an answer that are not stated


def studied(row: Row) -> Case:
    """Return the case of a row of a study of one sequence on a consumer's GPU: one token."""
    machine, _ = machine_of(STUDIED[row["hardware"]])
    found = step_of(row["task_model"], "", "f16", ALONE, 1)
    if row["precision"] == "nf4":  # which weights are converted from as they are read
        read = counted(row["task_model"], "decode", batch=1, context=192, window=1)
        kept = 1 - 0.75 * (read["weights"] * read["times"]).sum() / found.bytes.sum()
        found = found.scaled(1.0, max(kept, 0.0))
    return Case(row["task_model"], found, 1 / float(row["throughput"]), float(row["J_per_unit"]), machine=machine)


# What is not rebuilt --------------------------------------------------------------------------------------------------


def on_a_board(row: Row) -> bool:
    """Whether a row is of a network on the CPU or the small GPU of a board."""
    if "open power" not in row["source"] or "/results/" not in row["citation"]:
        return False
    return system(row).startswith(tuple(BOARDS)) and "max15" not in system(row)  # which is the GPU of an Orin


def why_not(row: Row) -> str:
    """Return why a row is not rebuilt, or nothing.

    >>> why_not(dict.fromkeys(COLUMNS, "") | {"task_model": "bert-99", "hardware": "NVIDIA Thor"})
    'NVIDIA Thor: there is no table of it'
    """
    name, no_table = row["task_model"], f"{row['hardware']}: there is no table of it"
    no_network = f"{name}: there is no such workload"
    if row["source"].startswith("ML.ENERGY"):
        return no_table if row["hardware"] not in GPUS else _not_served(row)
    if row["hardware"] in STUDIED:
        return "" if (name, "decode") in lines() else no_network
    if row["unit"] == "request":
        return "requests whose numbers of tokens are not stated"
    if on_a_board(row):
        if row["scenario_batch"].lower() == "multistream":
            return "MultiStream of boards: copies of SingleStream, with a query taken for 8 pictures"
        return "" if (network(name), "all") in lines() else no_network
    if "pruned" in name or "distil" in name:
        return "pruned and distilled BERTs of mixed precision, which are not published"
    if "Ryzen" in row["hardware"]:
        return "BERT on a Ryzen 9 7950X: of a precision that is not stated, and maybe of sparse weights"
    if row["hardware"] not in {*SERVERS, *JETSONS} and not row["hardware"].startswith(CLOUD):
        return no_table
    return "" if name in TASKS else no_network


def _not_served(row: Row) -> str:
    """Return why a row of a model that is served is not rebuilt, or nothing."""
    name = row["task_model"]
    if row["unit"] in ("image", "video"):
        known = any(one in name for one in PIPELINES) and " / " in name
        wanted = {"scenario_batch": "avg_batch", "notes": "steps"}
    else:
        _, vision = next(((lm, vision) for pattern, lm, vision in NAMES if re.search(pattern, name)), ("", None))
        known = vision is not None and " / " in name and (bool(vision) or name.split(" / ")[1] in TEXT)
        wanted = {"scenario_batch": "avg_batch", "notes": "avg_output_len"}
        if row["precision"] not in PRECISIONS:
            return f"there is no precision {row['precision']!r}"
    if not known:
        return f"{name}: there is no such workload"
    missing = [f"{key} in {column}" for column, key in wanted.items() if not re.search(key + r"=[\d.]", row[column])]
    return f"there is no {' and no '.join(missing)}" if missing else ""
