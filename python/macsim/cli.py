# The command line: macsim count, memory, ops, hardware, explain, completion.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The command line: ``macsim count``, ``memory``, ``ops``, ``hardware``, ``explain`` and ``completion``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from macsim import _core
from macsim.cli_calibrate import add_calibrate
from macsim.cli_estimate import add_estimate
from macsim.cli_hardware import add_hardware
from macsim.cli_traffic import add_bytes, add_memory, check_bytes, with_bytes
from macsim.cli_training import add_training, check_training, training_of
from macsim.cli_trends import add_trends

if TYPE_CHECKING:
    from rich.console import RenderableType

    from macsim.groups import Key
    from macsim.report import Report

PIPE_WIDTH = 160  # of a table that does not go to a terminal
GOOD, INCOMPLETE, WRONG, PIPE = 0, 1, 2, 141  # exit statuses; 141 is what the shell gives a closed pipe's writer

KEYS = ("op", "node", "scope", "dtype", "rule")


COUNT_EXAMPLES = """\
examples:
  macsim count model.onnx                             symbolic where the model is
  macsim count model.onnx --shape 1,3,224,224         the shape of its only input
  macsim count model.onnx --shape ids=1,seq --dim seq=128
  macsim count model.onnx --value sr=16000            where branches or sizes depend on values
  macsim count model.onnx --by scope --depth 2        by module
  macsim count model.onnx --by node --top 20 --sort written
  macsim count model.onnx --tree --depth 2            its modules as a tree
  macsim count model.onnx --training --by scope       a step of training: forward, backward, optimizer, memory
  macsim count models.resnet:build --shape 1,3,224,224    what a function of yours returns
  macsim count exported.pt2                           what torch.export.save wrote
  macsim count model.onnx --traffic --capacity 50e6   bytes that move, also behind 50 MB of cache
  macsim count model.onnx --format json -o report.json

exit status: 0 done; 1 with --strict, when the work of some node is unknown; 2 when the model cannot be read or
a shape, size or value does not fit it.
"""
OPS_EXAMPLES = """\
examples:
  macsim ops                  every rule, with its formula
  macsim ops Conv             the rule that answers to an operator
  macsim ops com.microsoft::FusedConv
"""
COMPLETION_EXAMPLES = """\
examples:
  eval "$(macsim completion bash)"                                 in ~/.bashrc
  macsim completion zsh > ~/.zfunc/_macsim                         with ~/.zfunc in fpath
  macsim completion fish > ~/.config/fish/completions/macsim.fish
"""


class UsageError(Exception):
    """What the user asked for cannot be done; the message says why."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="macsim",
        description="Count the work of neural networks: exactly, symbolically, without running them.",
        epilog="macsim COMMAND --help says more, with examples.",
    )
    top.add_argument("--version", action="version", version=f"macsim {_core.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    def command(name: str, does: str, examples: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=does,
            description=f"{does[0].upper()}{does[1:]}.",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    count = command("count", "count a model's MACs, other work, parameters and memory traffic", COUNT_EXAMPLES)
    add_inputs(count)
    shown = count.add_argument_group("what is shown")
    shown.add_argument("--by", choices=KEYS, help="lines of the table (default: op)")
    shown.add_argument("--tree", action="store_true", help="the modules as a tree, in place of the table")
    shown.add_argument("--depth", type=int, metavar="N", help="of scopes and the tree: levels of modules to tell apart")
    shown.add_argument("--top", type=int, metavar="N", help="lines at most; 0 for all (default: 15)")
    shown.add_argument(
        "--sort",
        default="macs",
        metavar="QUANTITY",
        help="largest first (default: macs); none for the order of execution",
    )
    shown.add_argument("--format", choices=("table", "json", "csv", "md"), help="default: table, or what -o ends in")
    shown.add_argument("-o", "--output", metavar="FILE", help="write there, not to the standard output")
    add_bytes(count)
    add_training(count)
    count.add_argument("--strict", action="store_true", help="fail (status 1) when the work of any node is unknown")
    count.set_defaults(run=run_count)

    add_memory(command, add_inputs)
    ops = command("ops", "list the rules of operators, with their formulas", OPS_EXAMPLES)
    ops.add_argument("name", metavar="NAME", nargs="?", help="an operator or a rule; all when left out")
    ops.add_argument("--format", choices=("table", "md", "json"), default="table", help="default: table")
    ops.set_defaults(run=run_ops)

    add_hardware(command)
    add_estimate(command, add_inputs)
    add_calibrate(command)
    add_trends(command, add_inputs)

    explain = command("explain", "explain a diagnostic's code", "example:\n  macsim explain MS201\n")
    explain.add_argument("code", metavar="CODE", help="MS201, 201 or unknown_op")
    explain.set_defaults(run=run_explain)

    completion = command("completion", "print a script that completes macsim in a shell", COMPLETION_EXAMPLES)
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    completion.set_defaults(run=run_completion)
    return top


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add what `counted` takes: a model, and what is given with it."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx or .pt2 file, or package.module:factory")
    parser.set_defaults(training=False)
    given = parser.add_argument_group("what is given with the model (each may be repeated)")
    given.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="[INPUT=]SIZES",
        help="shape of an input: numbers, names, expressions, ? for what the model says",
    )
    given.add_argument("--dim", action="append", default=[], metavar="NAME=SIZE", help="size of one of its symbols")
    given.add_argument(
        "--cache",
        action="append",
        metavar="NAME",
        help="an input or output that is keys or values of earlier tokens; default: past, present, cache in its name",
    )
    given.add_argument(
        "--value",
        action="append",
        default=[],
        metavar="INPUT=VALUE",
        help="contents of an input: a number, a JSON list, @file.npy",
    )
    given.add_argument(
        "--dtype", action="append", default=[], metavar="INPUT=DTYPE", help="of a torch program: dtype of an input"
    )
    given.add_argument(
        "--hint",
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="of a torch program: what stands in for a symbol where the program decides by its size",
    )
    given.add_argument("--method", metavar="NAME", help="of a torch module: the method to call; default: the module")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Examples
    --------
    >>> main(["explain", "201"])  # doctest: +ELLIPSIS
    MS201 unknown_op (warning)
    ...
    0
    """
    from macsim.errors import MacsimError

    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        return PIPE
    except KeyboardInterrupt:
        return 130
    except (MacsimError, UsageError, OSError) as error:
        hint = getattr(error, "hint", "")
        print(f"macsim: {error}" + (f"\n{hint}" if hint else ""), file=sys.stderr)
        return WRONG
    return status


# count ----------------------------------------------------------------------------------------------------------------


def run_count(arguments: argparse.Namespace) -> int:
    """Count a model, print or write the report, and return the exit status."""
    check_bytes(arguments)
    if arguments.tree and (arguments.by or arguments.format not in (None, "table")):
        raise UsageError("--tree is text: it goes with neither --by nor --format")
    check_training(arguments)
    if arguments.training and (arguments.tree or arguments.format not in (None, "table", "json")):
        raise UsageError("--training is a table or json")
    report = counted(arguments)
    give(report, arguments)
    if arguments.strict and arguments.training and report.training.unknown:
        print(f"macsim: nobody knows the gradient of {', '.join(report.training.unknown)}", file=sys.stderr)
        return INCOMPLETE
    if arguments.strict and report.trust == "unknown":
        unknown = ", ".join(sorted({row.op for row in report.rows if row.trust == "unknown"}))
        nodes = f"the work of {report.total.unknown} of {report.total.rows} nodes is unknown: {unknown}"
        print(f"macsim: {nodes if unknown else 'a sum does not fit 128 bits'}", file=sys.stderr)
        return INCOMPLETE
    return GOOD


def counted(arguments: argparse.Namespace) -> Report:
    """Count what the arguments name: a file or a program."""
    from macsim.api import analyze, count, load
    from macsim.programs import is_program_name, made
    from macsim.sources.torch_files import is_torch_file, read_program

    training = training_of(arguments)
    dims = dict(dim_of(text) for text in arguments.dim)
    values = dict(value_of(text) for text in arguments.value)
    named = is_program_name(arguments.model)
    if named or is_torch_file(arguments.model):
        program = made(arguments.model) if named else read_program(arguments.model)
        given = [shape_of(text, [""]) for text in arguments.shape]
        if named and any(None in shape for _, shape in given):
            raise UsageError("--shape: ? is what a file says; a program says nothing: give a number or a name")
        return count(
            program,
            *(shape for name, shape in given if not name),
            shapes={name: shape for name, shape in given if name} or None,
            dims=dims,
            values=values,
            dtypes=dict(dtype_of(text) for text in arguments.dtype),
            hints=dict(dim_of(text, "--hint") for text in arguments.hint),
            method=arguments.method,
            cache=arguments.cache,
            training=training,
        )
    for option in ("dtype", "hint", "method"):
        if getattr(arguments, option):
            raise UsageError(f"--{option} is for torch programs, and {arguments.model} is an ONNX model")
    model = load(arguments.model)
    shapes = dict(shape_of(text, [tensor.name for tensor in model.inputs]) for text in arguments.shape)
    return analyze(model, shapes=shapes, dims=dims, values=values, cache=arguments.cache, training=training)


def give(report: Report, arguments: argparse.Namespace) -> None:
    """Print or write a report, as it was asked for."""
    sort = None if arguments.sort == "none" else arguments.sort
    top = 15 if arguments.top is None else arguments.top or None
    by: Key = arguments.by or "op"
    suffix = os.path.splitext(arguments.output or "")[1].lower()
    form = arguments.format or {".json": "json", ".csv": "csv", ".md": "md"}.get(suffix, "table")
    if form == "table" or arguments.tree:
        what = (
            report.tree(arguments.depth)
            if arguments.tree
            else report.training.table(by, depth=arguments.depth, top=top)
            if arguments.training
            else report.table(by, depth=arguments.depth, top=top, sort=sort)
        )
        what = with_bytes(what, report, arguments)
        if not arguments.output:
            put(what)
            return
        from macsim.show import plain

        text = plain(what, PIPE_WIDTH) + "\n"
    elif form == "json":
        import json

        data = report.to_dict()
        if arguments.training:
            data["training"] = report.training.to_dict()
        if arguments.by not in (None, "node"):
            data["groups"] = report.by(by, arguments.depth).to_dict()
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    elif form == "csv":
        text = report.to_csv() if arguments.by in (None, "node") else report.by(by, arguments.depth).to_csv()
    else:
        text = report.to_markdown(by=by, depth=arguments.depth, top=top, sort=sort)
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    else:
        sys.stdout.write(text)


def put(what: RenderableType) -> None:
    """Print a table: coloured on a terminal, wide and plain elsewhere."""
    from rich.console import Console

    class Quiet(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Quiet()
    if console.is_terminal:
        console.print(what)
        return
    from macsim.show import plain

    print(plain(what, int(os.environ.get("COLUMNS") or PIPE_WIDTH)))


def shape_of(text: str, inputs: list[str]) -> tuple[str, tuple[int | str | None, ...]]:
    """Read ``input=1,3,h,?``; without a name, of the only input.

    Examples
    --------
    >>> shape_of("x=1,2*seq,max(a,b),?", [])
    ('x', (1, '2*seq', 'max(a,b)', None))
    """
    name, equals, sizes = text.rpartition("=")
    if not equals:
        if len(inputs) != 1:
            raise UsageError(
                f"--shape {text}: the model has {len(inputs)} inputs, name one: {', '.join(inputs) or 'none'}"
            )
        name = inputs[0]
    parts = [part.strip() for part in _split(sizes)] if sizes.strip() else []
    if any(not part for part in parts):
        raise UsageError(f"--shape {text}: a size is missing; write INPUT=1,3,224,224")
    return name, tuple(None if part == "?" else int(part) if part.isdecimal() else part for part in parts)


def _split(text: str) -> list[str]:
    """Split at the commas that are not in parentheses."""
    parts, depth = [""], 0
    for char in text:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def dim_of(text: str, option: str = "--dim") -> tuple[str, int]:
    """Read ``batch=8``."""
    name, equals, size = text.rpartition("=")
    if not equals or not name or not size.strip().lstrip("-").isdecimal():
        raise UsageError(f"{option} {text}: write NAME=SIZE, as in batch=8")
    return name, int(size)


def dtype_of(text: str) -> tuple[str, str]:
    """Read ``ids=i64``."""
    name, equals, dtype = text.partition("=")
    if not equals or not name or not dtype:
        raise UsageError(f"--dtype {text}: write INPUT=DTYPE, as in ids=i64")
    return name, dtype


def value_of(text: str) -> tuple[str, Any]:
    """Read ``sr=16000``, ``axes=[0, 1]`` or ``mask=@mask.npy``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--value {text}: write INPUT=VALUE, as in sr=16000")
    if value.startswith("@"):
        import numpy as np

        try:
            return name, np.load(value[1:], allow_pickle=False)
        except ValueError as error:
            raise UsageError(f"--value {text}: {value[1:]} is not a .npy file of numbers: {error}") from error
    import json

    try:
        return name, json.loads(value)
    except json.JSONDecodeError as error:
        raise UsageError(f"--value {text}: write a number, a list such as [0, 1], true, false, or @file.npy") from error


# ops ------------------------------------------------------------------------------------------------------------------


def run_ops(arguments: argparse.Namespace) -> int:
    """Print rules, and return the exit status."""
    rules = _core.rules()
    if arguments.name is not None:
        rules = matching(rules, arguments.name)
        if not rules:
            near = _core.RuleTable().near(arguments.name) or _near_rules(arguments.name)
            hint = f"; the nearest: {', '.join(name.removeprefix('onnx::') for name in near)}" if near else ""
            raise UsageError(f"no operator and no rule is called {arguments.name!r}{hint}")
    if arguments.format == "json":
        import json

        print(json.dumps([_listed(rule) for rule in rules], indent=2, ensure_ascii=False))
    elif arguments.format == "md":
        print("| rule | what it is | work | operators |\n| --- | --- | --- | --- |")
        for rule in rules:
            line = (rule["name"], rule["summary"], rule["formula"], ", ".join(_spelled(rule)))
            print("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |")
    elif arguments.name is not None:
        print("\n\n".join(_page(rule) for rule in rules))
    else:
        put(_rules_table(rules))
    return GOOD


def matching(rules: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the rules that are called so, or that answer to an operator that is; capitals do not matter."""
    wanted = name.lower()
    spelled = wanted if "::" in wanted else f"onnx::{wanted}"
    exact = [rule for rule in rules if any(op.lower() == spelled for op, *_ in rule["spelled"])]
    exact += [rule for rule in rules if rule["name"].lower() == wanted and rule not in exact]
    if exact or "::" in wanted:
        return exact
    return [rule for rule in rules if any(op.lower().endswith(f"::{wanted}") for op, *_ in rule["spelled"])]


def _near_rules(name: str) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, [rule["name"] for rule in _core.rules()], n=5)


def _versions(since: int, until: int | None) -> str:
    if until is None:
        return f" (from version {since})" if since > 1 else ""
    return f" (version {since})" if since == until else f" (versions {max(since, 1)} to {until})"


def _spelled(rule: dict[str, Any]) -> list[str]:
    return [op.removeprefix("onnx::") + _versions(since, until) for op, _, since, until in rule["spelled"]]


def _listed(rule: dict[str, Any]) -> dict[str, Any]:
    keys = ("operator", "slots", "since", "until")
    return {**rule, "spelled": [dict(zip(keys, one, strict=True)) for one in rule["spelled"]]}


def _page(rule: dict[str, Any]) -> str:
    lines = [f"{rule['name']}: {rule['summary']}"]
    facts = {
        "operators": ", ".join(_spelled(rule)),
        "inputs": rule["slots"],
        "work": rule["formula"],
        "reference": rule["reference"],
    }
    lines += [f"  {name:<10} {text}" for name, text in facts.items() if text]
    return "\n".join(lines)


def _rules_table(rules: Iterable[dict[str, Any]]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head, ratio in (("rule", 2), ("operators", 4), ("work", 5)):
        table.add_column(head, ratio=ratio, overflow="fold")
    for rule in rules:
        names = ", ".join(dict.fromkeys(op.removeprefix("onnx::") for op, *_ in rule["spelled"]))
        table.add_row(Text(rule["name"], style="bold"), Text(names), Text(rule["formula"]))
    return table


# explain --------------------------------------------------------------------------------------------------------------


def run_explain(arguments: argparse.Namespace) -> int:
    """Print what a code means, and return the exit status."""
    codes = _core.codes()
    wanted = arguments.code.strip().lower()
    number = wanted.removeprefix("ms")
    for one in codes:
        if one["code"].lower() == f"ms{number}" or one["name"] == wanted:
            print(f"{one['code']} {one['name']} ({one['severity']})\n\n{one['meaning']}\n\nWhat to do: {one['hint']}")
            return GOOD
    listed = "\n".join(f"  {one['code']}  {one['name']}" for one in codes)
    raise UsageError(f"there is no code {arguments.code!r}; there are\n{listed}")


# completion -----------------------------------------------------------------------------------------------------------


def run_completion(arguments: argparse.Namespace) -> int:
    """Print a completion script, and return the exit status."""
    from macsim.completion import script

    print(script(parser(), arguments.shell), end="")
    return GOOD
