# Prints docs/ops.md and docs/codes.md from the core's own tables, or checks that they are current.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""``python docs/generate.py`` writes the pages; with ``--check`` it only compares them and fails when one is stale."""

import argparse
import sys
from pathlib import Path
from typing import Any

from macsim import _core

HERE = Path(__file__).parent


def spelling(op: str, since: int, until: int | None) -> str:
    """An operator as the pages name it: ``Conv``, ``com.microsoft::FusedConv``, ``Pad (opset 2 to 10)``."""
    versions = ""
    if until is not None:
        versions = f" (opset {since} to {until})" if since > 1 else f" (to opset {until})"
    elif since > 1:
        versions = f" (from opset {since})"
    return f"`{op.removeprefix('onnx::')}`{versions}"


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


def main() -> int:
    """Write or check the pages; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is not current")
    check = parser.parse_args().check
    stale = []
    for name, page in (("ops.md", ops()), ("codes.md", codes())):
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
