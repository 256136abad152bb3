# Prints docs/ops.md, docs/codes.md and docs/hardware.md from the tables themselves, or checks that they are current.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""``python docs/generate.py`` writes the pages; with ``--check`` it only compares them and fails when one is stale."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from macsim import _core, hardware, hardware_names, hardware_rules, hardware_schema, hardware_show
from macsim.hardware_quantity import DTYPES, MEASURES, UNITS, WORKS
from macsim.hardware_tables import GROUP

HERE = Path(__file__).parent


def spelling(op: str, since: int, until: int | None) -> str:
    """An operator as the pages name it: ``Conv``, ``com.microsoft::FusedConv``, ``Pad (opset 2 to 10)``."""
    versions = ""
    if until is not None:
        versions = f" (opset {since} to {until})" if since > 1 else f" (to opset {until})"
    elif since > 1:
        versions = f" (from opset {since})"
    return f"`{op.removeprefix('onnx::')}`{versions}"


def gradient(said: dict[str, str]) -> str:
    """What a rule says of its gradient: stated, none, not known; where spellings differ, of each kind one."""
    kinds = list(dict.fromkeys(said.values())) or [""]
    return "; ".join(kind.replace("stated", "counted") if kind else "not known" for kind in kinds)


def ops() -> str:
    """The page of rules: what each computes, how it is counted, and which operators it answers to."""
    rules: list[dict[str, Any]] = _core.rules()
    names = {op for rule in rules for op, *_ in rule["spelled"]}
    parts = [
        "# Operators\n",
        f"{len(names)} operators, {len(rules)} rules. Printed by `docs/generate.py` from `csrc/src/rules`.\n",
        "In formulas, `|x|` is the number of elements of `x`. Inputs are in order; `#` marks a number for the host\n"
        "(axes, a shape), which is neither traffic nor a parameter. Work that is not named is zero.\n",
    ]
    for rule in rules:
        spelled = ", ".join(spelling(op, since, until) for op, _, since, until in rule["spelled"])
        parts.append(f"## {rule['name']}\n\n{rule['summary']}.\n")
        parts.append(f"- Operators: {spelled}")
        if rule["slots"]:
            parts.append(f"- Inputs: `{rule['slots']}`")
        parts.append(f"- Work: {rule['formula']}")
        parts.append(f"- Gradient: {gradient(rule['gradients'])}")
        if rule["reference"]:
            parts.append(f"- Reference: <{rule['reference']}>")
        parts.append("")
    return "\n".join(parts)


def codes() -> str:
    """The page of diagnostics."""
    parts = [
        "# Diagnostics\n",
        "Printed by `docs/generate.py` from `csrc/include/macsim/codes.def`; `macsim explain MS201` says the same.\n",
        "| code | severity | what it means | what to do |",
        "| --- | --- | --- | --- |",
    ]
    parts += [
        f"| **{one['code']}** `{one['name']}` | {one['severity']} | {one['meaning']} | {one['hint']} |"
        for one in _core.codes()
    ]
    return "\n".join([*parts, ""])


TABLE = """\
title = "My accelerator"
kind = "accelerator"
launch = "2026-03"
aliases = ["mine"]
inherits = ["tensor-4nm"]

[[peak]]
unit = "tensor"
dtype = "bf16"
sparse = false
rate = { typical = 200, unit = "TFLOP/s", source = "datasheet", confidence = "high" }

[[memory]]
name = "dram"
technology = "hbm3"
capacity = { typical = 64, unit = "GB", source = "datasheet", confidence = "high" }
bandwidth = { typical = 2, unit = "TB/s", source = "datasheet", confidence = "high" }

[power]
tdp = { typical = 300, unit = "W", source = "datasheet", confidence = "high" }
idle = { low = 20, typical = 25, high = 40, unit = "W", source = "meter", confidence = "medium", note = "warm" }

[sources]
datasheet = "Data sheet of March 2026, page 2"
meter = "Measured at the wall, host taken off"
"""


def listed(names: Iterable[str]) -> str:
    """Names of code, with commas."""
    return ", ".join(f"`{name}`" for name in names)


def schema() -> list[str]:
    """What a table may hold, from the schema's own lists."""
    units = {measure: listed(units) for measure, units in MEASURES.items()}
    where = [
        *((key, measure) for key, measure in hardware_schema.TOP.items()),
        ("peak.rate", "rate"),
        ("energy.price", "mac or operation"),
        *((f"memory.{key}", measure) for key, measure in hardware_schema.MEMORY.items()),
        *((f"link.{key}", measure) for key, measure in hardware_schema.LINK.items()),
        *((f"power.{key}", measure) for key, measure in hardware_schema.POWER.items()),
        ("power.package.power", "power"),
        *((f"efficiency.{key}", measure) for key, measure in hardware_schema.EFFICIENCY.items()),
        *((f"fit.{key}", measure) for key, measure in hardware_schema.FIT.items()),
    ]
    return [
        "## A table of your own\n",
        'A table is a TOML file; `macsim hardware FILE.toml` checks it, and `macsim.hardware("FILE.toml")` uses it.\n'
        f"A package brings tables by entry points of the group `{GROUP}`: the entry point's name is the\n"
        "table's, and what it points to is the path of the file, or a function that gives it. A table inherits from\n"
        "what `technology` and `inherits` name, other chips and files (`./base.toml`) included: what it states itself\n"
        "wins.\n",
        f"```toml\n{TABLE}```\n",
        "Every number has `typical`, `unit`, `source` (a key of `[sources]`) and `confidence`\n"
        f"({listed(hardware_schema.CONFIDENCES)}); `low`, `high` and `note` where they are known. A peak of a\n"
        "`tensor` unit says whether it is `sparse`. Unknown keys, units, dtypes and technologies, negative numbers,\n"
        "ranges that are none and circles of inheritance are errors that name the file and the key.\n",
        f"- `kind`: {listed(hardware_schema.KINDS)}",
        f"- `peak.unit`: {listed(UNITS)}",
        f"- `dtype`: {listed(DTYPES)}",
        f"- `energy.kind`: {listed(WORKS)}",
        "- `memory.name`: `dram` is the main memory, whatever its kind; then `l3`, `l2`, `l1` and the like. `energy`\n"
        "  is of a byte that crosses this level alone, `path` of one that goes from it to the arithmetic through all\n"
        "  the others.\n",
        "| number | measures | units |",
        "| --- | --- | --- |",
        *(
            f"| `{key}` | {measure} | {units.get(measure) or units['mac'] + '; ' + units['operation']} |"
            for key, measure in where
        ),
        "",
    ]


def hardware_page() -> str:
    """The page of hardware: the chips, what they inherit from, what rules derive, and how to write a table."""
    chips = [hardware(name) for name in hardware_names()]
    chips.sort(key=lambda chip: (hardware_schema.KINDS.index(chip.kind), chip.vendor, chip.launch, chip.name))
    parts = [
        "# Hardware\n",
        f"{len(chips)} chips. Printed by `docs/generate.py` from `python/macsim/hardware`; `macsim hardware NAME`\n"
        "prints every number of one, with its range, confidence and source.\n",
        "Peaks are dense: sparse ones, which are often twice as high, stand apart. A multiply-accumulate is two\n"
        "operations. *16 bit* is bf16, or fp16 where there is none, on tensor units where there are any; *fp32* is\n"
        "that of the vector units. `N/A` is not known: there are no defaults.\n",
        hardware_show.list_markdown(chips),
        "## Technologies\n",
        "What chips inherit where their own table says nothing; each number keeps its source. `45nm` and `7nm` are\n"
        "bare arithmetic and memory: no chip inherits from them, but a model can be priced with them.\n",
    ]
    for name in hardware_names(technologies=True):
        chip = hardware(name)
        parts += [f"### {name}\n", f"{chip.title}.\n", *(f"{note}\n" for note in chip.notes)]
        if lines := hardware_show.lines_of(chip):
            parts.append(hardware_show.number_table(lines))
    parts += [
        "## Derivations\n",
        "What rules of thumb tell where neither a chip's table nor those it inherits from do, in this order. Such\n"
        "numbers have the status `derived` and, but for sums, a low confidence; their source says on what grounds.\n",
    ]
    for rule in hardware_rules.RULES:
        what = (rule.tell.__doc__ or "").strip()
        parts.append(f"- **{rule.name}** ({', '.join(rule.kinds)}): {what}\n  {rule.formula}.")
    return "\n".join([*parts, "", *schema()])


def main() -> int:
    """Write or check the pages; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is not current")
    check = parser.parse_args().check
    stale = []
    for name, page in (("ops.md", ops()), ("codes.md", codes()), ("hardware.md", hardware_page())):
        path = HERE / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != page):
            stale.append(name)
        elif not check:
            path.write_text(page, encoding="utf-8")
    if stale:
        print(f"docs: {', '.join(stale)} not current: python docs/generate.py", file=sys.stderr)
    return len(stale)


if __name__ == "__main__":
    sys.exit(main())
