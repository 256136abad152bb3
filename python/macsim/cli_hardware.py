# The command line: macsim hardware.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""``macsim hardware``: the chips that have a table, and every number of one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from macsim.hardware_types import Hardware

EXAMPLES = """\
examples:
  macsim hardware                        the chips that have a table
  macsim hardware --kind cpu
  macsim hardware h100-sxm               every number of one: its range, confidence and source
  macsim hardware my-chip.toml           of a table of yours; it is checked
  macsim hardware --kind technology      process nodes, kinds of memory, families
  macsim hardware a100 --format csv
"""


def add_hardware(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add ``macsim hardware`` to the command line."""
    from macsim.hardware_schema import KINDS

    parser = command("hardware", "list chips, what they can do and what it takes, with sources", EXAMPLES)
    name = parser.add_argument("name", metavar="NAME", nargs="?", help="a chip's name or alias, or a TOML file")
    name.suggestions = suggestions  # type: ignore[attr-defined]  # what completion offers
    parser.add_argument("--kind", choices=KINDS, help="of the list: only these; technologies are in no other list")
    parser.add_argument("--format", choices=("table", "json", "csv", "md"), default="table", help="default: table")
    parser.set_defaults(run=run_hardware)


def suggestions() -> list[str]:
    """Return the names that completion offers."""
    from macsim.hardware_tables import hardware_names

    return [*hardware_names(), *hardware_names(technologies=True)]


def run_hardware(arguments: argparse.Namespace) -> int:
    """Print the list of chips or one of them, and return the exit status."""
    from macsim.cli import UsageError
    from macsim.hardware_tables import hardware, hardware_names

    if arguments.name is not None:
        if arguments.kind:
            raise UsageError("--kind is for the list of chips: it goes without a name")
        give_one(hardware(arguments.name), arguments.format)
        return 0
    names = hardware_names(technologies=arguments.kind == "technology")
    chips = [chip for chip in map(hardware, names) if arguments.kind in (None, chip.kind)]
    give_list(chips, arguments.format)
    return 0


def give_one(chip: Hardware, form: str) -> None:
    """Print one chip."""
    from macsim import hardware_show as show
    from macsim.cli import put

    if form == "table":
        put(show.page(chip))
    elif form == "json":
        _json(chip.to_dict())
    elif form == "csv":
        sys.stdout.write(show.to_csv(show.records(chip), show.KEYS))
    else:
        sys.stdout.write(show.page_markdown(chip))


def give_list(chips: list[Hardware], form: str) -> None:
    """Print the list of chips."""
    from macsim import hardware_show as show
    from macsim.cli import put

    lines = [show.summary(chip) for chip in chips]
    if form == "table":
        put(show.list_table(chips))
    elif form == "json":
        _json(lines)
    elif form == "csv":
        names = dict(zip(show.COLUMNS, show.heads(), strict=True))
        rows = [{names[key]: value for key, value in line.items()} for line in lines]
        sys.stdout.write(show.to_csv(rows, show.heads()))
    else:
        sys.stdout.write(show.list_markdown(chips))


def _json(data: object) -> None:
    import json

    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
