# The command line: what it prints, what it refuses, its exit statuses, completion.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import macsim
from macsim.cli import main, parser

RESNET = str(Path(__file__).parents[1] / "examples/resnet50.onnx")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the command line; gives the status and what it said on either stream."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(arguments)
        except SystemExit as ended:  # argparse's own way out
            status = ended.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def linear(tmp_path: Path) -> str:
    path = tmp_path / "linear.onnx"
    onnx.save(models.linear(), path)
    return str(path)


@pytest.fixture
def unknown(tmp_path: Path) -> str:
    path = tmp_path / "unknown.onnx"
    onnx.save(models.custom("Nobody", "nowhere"), path)
    return str(path)


# count ----------------------------------------------------------------------------------------------------------------


def test_count_prints_a_table(run) -> None:
    status, out, err = run("count", RESNET, "--shape", "1,3,224,224")
    assert (status, err) == (0, "")
    assert "4,089,184,256" in out
    assert "Conv" in out
    assert "\x1b" not in out  # no colours where nobody looks
    assert not any(line != line.rstrip() for line in out.splitlines())


def test_count_takes_names_of_a_cache(run, linear: str) -> None:
    def cached(*arguments: str) -> str:
        status, out, _ = run("count", linear, "--dim", "batch=2", "--traffic", *arguments)
        assert status == 0
        (line,) = (line for line in out.splitlines() if line.strip().startswith("minimum"))
        return line

    assert cached() != cached("--cache", "x")
    status, _, err = run("count", linear, "--cache", "k")
    assert status != 0
    assert "neither input nor output" in err


@pytest.mark.parametrize(
    ("arguments", "macs"),
    [
        ((), "15*batch"),
        (("--shape", "x=7,3"), "105"),
        (("--shape", "7,3"), "105"),
        (("--shape", "x=2*n + 1, ?"), "30*n + 15"),
        (("--shape", "x=max(n,4),3"), "15*max(n, 4)"),
        (("--dim", "batch=7"), "105"),
        (("--value", "x=[[1, 2, 3]]"), "15"),
        (("--shape", "x=n,3", "--dim", "n=2"), "30"),
    ],
)
def test_what_may_be_given(run, linear: str, arguments: tuple, macs: str) -> None:
    status, out, _ = run("count", linear, *arguments, "--format", "json")
    assert status == 0
    found = json.loads(out)["total"]["macs"]
    assert macsim.Expr(found) == macsim.Expr(macs)


def test_values_from_a_file(run, tmp_path: Path) -> None:
    proto = models.model(
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [models.feed("x", 4, 6), models.feed("s", 2, kind=TensorProto.INT64)],
        [onnx.ValueInfoProto(name="y")],
    )
    onnx.save(proto, tmp_path / "reshape.onnx")
    np.save(tmp_path / "s.npy", np.array([8, 3]))
    status, out, _ = run("count", str(tmp_path / "reshape.onnx"), "--value", f"s=@{tmp_path}/s.npy", "--format", "json")
    assert status == 0
    assert json.loads(out)["outputs"][0]["shape"] == [8, 3]


def test_groups_and_their_order(run) -> None:
    status, out, _ = run("count", RESNET, "--shape", "1,3,224,224", "--by", "scope", "--depth", "1", "--format", "csv")
    assert status == 0
    lines = list(csv.DictReader(io.StringIO(out)))
    assert {line["scope"]: line["macs"] for line in lines}["layer1"] == "667942912"
    status, out, _ = run("count", RESNET, "--shape", "1,3,224,224", "--by", "node", "--top", "2", "--sort", "weights")
    assert "173 more" in out
    assert out.index("layer4") < out.index("173 more")
    status, out, _ = run("count", RESNET, "--by", "node", "--top", "0", "--sort", "none")
    assert "more" not in out.split("total")[1].splitlines()[1]
    assert out.index("/conv1/Conv") < out.index("/fc/Gemm")
    status, out, _ = run("count", RESNET, "--shape", "1,3,224,224", "--by", "op", "--format", "json")
    assert {group["op"]: group["macs"] for group in json.loads(out)["groups"]}["Gemm"] == 2048000


def test_formats(run, linear: str, tmp_path: Path) -> None:
    (line,) = csv.DictReader(io.StringIO(run("count", linear, "--dim", "batch=1", "--format", "csv")[1]))
    assert line["mac"] == "15"
    assert run("count", linear, "--format", "md")[1].startswith("## tiny: 1 nodes")
    for suffix, start in (("json", "{"), ("csv", "name,"), ("md", "## "), ("txt", "tiny: 1 nodes")):
        path = tmp_path / f"report.{suffix}"
        assert run("count", linear, "-o", str(path)) == (0, "", "")
        assert path.read_text(encoding="utf-8").startswith(start)
    path = tmp_path / "report.txt"
    run("count", linear, "-o", str(path), "--format", "json")
    assert json.loads(path.read_text(encoding="utf-8"))["schema"] == "macsim.report/1"


def test_strict(run, unknown: str, linear: str) -> None:
    status, out, err = run("count", unknown)
    assert (status, err) == (0, "")
    assert ">=" in out
    assert "MS201" in out
    status, out, err = run("count", unknown, "--strict")
    assert status == 1
    assert "1 of 2 nodes is unknown: nowhere::Nobody" in err
    assert ">=" in out  # the report is there all the same
    assert run("count", linear, "--strict")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("count", "/no/such/file.onnx"), "MS101"),
        (("count", "/"), "MS101"),
        (("count", __file__), "MS102"),
        (("count", "LINEAR", "--shape", "y=1,3"), "no input 'y'; its inputs are 'x'"),
        (("count", "LINEAR", "--shape", "x=1,,3"), "a size is missing"),
        (("count", "LINEAR", "--shape", "x=1,3*"), "not an expression"),
        (("count", "LINEAR", "--shape", "x=1,2,3"), "rank"),
        (("count", "LINEAR", "--dim", "batch"), "write NAME=SIZE"),
        (("count", "LINEAR", "--dim", "batch=many"), "write NAME=SIZE"),
        (("count", "LINEAR", "--value", "x"), "write INPUT=VALUE"),
        (("count", "LINEAR", "--value", "x=one"), "write a number"),
        (("count", "LINEAR", "--value", "x=@/no/such.npy"), "No such file"),
        (("count", "LINEAR", "--value", f"x=@{__file__}"), "not a .npy file"),
        (("count", "LINEAR", "--sort", "speed"), "no quantity 'speed'"),
        (("count", "LINEAR", "--by", "node", "--sort", "speed"), "no quantity 'speed'"),
        (("count", "LINEAR", "--by", "module"), "invalid choice"),
        (("count", "LINEAR", "-o", "/no/such/folder/file"), "No such file"),
        (("count",), "required: MODEL"),
        ((), "required: COMMAND"),
        (("explain", "MS999"), "there is no code 'MS999'"),
        (("ops", "Cnov"), "the nearest: Conv"),
    ],
)
def test_what_is_refused(run, linear: str, arguments: tuple, says: str) -> None:
    status, out, err = run(*(linear if one == "LINEAR" else one for one in arguments))
    assert status == 2
    assert says in err
    assert out == ""
    assert "Traceback" not in err


# ops, explain ---------------------------------------------------------------------------------------------------------


def test_every_rule_is_listed(run) -> None:
    rules = macsim._core.rules()
    status, out, _ = run("ops", "--format", "json")
    assert status == 0
    listed = json.loads(out)
    assert [rule["name"] for rule in listed] == [rule["name"] for rule in rules]
    assert {"operator", "slots", "since", "until"} == set(listed[0]["spelled"][0])
    status, out, _ = run("ops", "--format", "md")
    assert out.count("\n") == len(rules) + 2
    status, out, _ = run("ops")
    assert all(name in out for name in ("conv", "matmul", "FusedConv"))


@pytest.mark.parametrize("name", ["Conv", "conv", "onnx::Conv", "CONV"])
def test_one_rule(run, name: str) -> None:
    status, out, _ = run("ops", name)
    assert status == 0
    assert out.startswith("conv: ")
    assert "mac = " in out
    assert "https://onnx.ai/onnx/operators/onnx__Conv.html" in out
    assert "com.microsoft::FusedConv" in out


def test_operators_of_other_domains_need_no_domain(run) -> None:
    status, out, _ = run("ops", "FusedConv")
    assert (status, out.partition(":")[0]) == (0, "conv")


@pytest.mark.parametrize("code", ["MS201", "ms201", "201", "unknown_op"])
def test_explain(run, code: str) -> None:
    status, out, _ = run("explain", code)
    assert status == 0
    assert out.startswith("MS201 unknown_op (warning)")
    assert "What to do:" in out


def test_every_code_is_explained(run) -> None:
    for one in macsim._core.codes():
        status, out, _ = run("explain", one["code"])
        assert status == 0
        assert one["meaning"] in out
        assert one["hint"] in out


# The process ----------------------------------------------------------------------------------------------------------


def test_version_and_help(run) -> None:
    assert run("--version") == (0, f"macsim {macsim.__version__}\n", "")
    assert "COMMAND" in run("--help")[1]
    for command in ("count", "ops", "explain", "completion"):
        status, out, _ = run(command, "--help")
        assert status == 0
        assert "example" in out


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of a shell; PROGRAM in it is macsim of this interpreter."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command.replace('PROGRAM', f'{sys.executable} -m macsim')}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_closed_pipe_is_quiet(linear: str) -> None:
    done = shell(f"PROGRAM count {RESNET} --format json | head -c 10")
    assert done.stdout == '{\n  "schem'
    assert done.stderr == ""
    for command in (f"PROGRAM count {linear}", "PROGRAM ops"):
        assert shell(f"{command} | true").stderr == ""


def test_colours_are_for_terminals() -> None:
    if shutil.which("script") is None:
        pytest.skip("no program to pretend a terminal with")
    command = f"script -qec 'PROGRAM count {RESNET}' /dev/null"
    assert "\x1b[1;36m" in shell(command, TERM="xterm-256color").stdout
    plain = shell(command, TERM="xterm-256color", NO_COLOR="1").stdout
    assert "\x1b[1;36m" not in plain
    assert "Conv" in plain


def test_status_of_the_process(unknown: str) -> None:
    assert shell(f"PROGRAM count {unknown} --strict").returncode == 1
    done = shell("PROGRAM count nowhere.onnx")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("macsim: ") or "MS101" in done.stderr


# Completion -----------------------------------------------------------------------------------------------------------


def test_bash_completes(run, tmp_path: Path) -> None:
    script = run("completion", "bash")[1]
    (tmp_path / "model.onnx").touch()
    (tmp_path / "script").write_text(script)

    def complete(*words: str) -> set[str]:
        listed = " ".join(f"'{word}'" for word in words)
        code = (
            f"source ./script; COMP_WORDS=(macsim {listed}); COMP_CWORD={len(words)}; _macsim; echo ${{COMPREPLY[@]}}"
        )
        done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return set(done.stdout.split())

    assert complete("") >= {"count", "ops", "explain", "completion", "--version"}
    assert complete("co") == {"count", "completion"}
    assert complete("count", "mod") == {"model.onnx"}
    assert complete("count", "--s") == {"--shape", "--sort", "--strict"}
    assert complete("count", "model.onnx", "--by", "") == {"op", "node", "scope", "dtype", "rule"}
    assert complete("count", "model.onnx", "-o", "mod") == {"model.onnx"}
    assert complete("completion", "z") == {"zsh"}


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_the_other_shells_take_their_scripts(run, tmp_path: Path, name: str) -> None:
    script = run("completion", name)[1]
    for action in parser()._subparsers._group_actions[0].choices["count"]._actions:
        for flag in action.option_strings:
            assert flag.lstrip("-") in script
    if shutil.which(name):
        (tmp_path / "script").write_text(script)
        subprocess.run([name, "-n", tmp_path / "script"], check=True)


# Programs. ------------------------------------------------------------------------------------------------------------

PROGRAMS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(3, width)

    def forward(self, x):
        return self.fc(x)

    def twice_if_many(self, x):
        return self.fc(x) + self.fc(x) if x.shape[0] > 4 else self.fc(x)

def build():
    return Net()

def needs(width):
    return Net(width)

def wrong():
    return 3

def fails():
    raise KeyError("w")

net = Net()
number = 3
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("torch")
    name = f"programs_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(PROGRAMS, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize("attribute", ["build", "Net", "net"])
@pytest.mark.parametrize("shape", ["2,3", "x=2,3"])
def test_programs_by_name(run, programs: str, attribute: str, shape: str) -> None:
    status, out, err = run("count", f"{programs}:{attribute}", "--shape", shape, "--dtype", "x=f16", "--format", "json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["total"]["macs"] == 24
    assert found["inputs"][0]["dtype"] == "f16"


def test_methods_and_hints_of_programs(run, programs: str) -> None:
    given = ("count", f"{programs}:net", "--shape", "n,3", "--format", "json")
    status, out, err = run(*given, "--method", "twice_if_many", "--hint", "n=9")
    assert (status, err) == (0, "")
    assert json.loads(out)["total"]["macs"] == "24*n"
    assert json.loads(run(*given, "--method", "twice_if_many", "--hint", "n=2")[1])["total"]["macs"] == "12*n"
    assert "did you mean twice_if_many?" in run(*given, "--method", "twice_if_man")[2]


def test_the_tree(run, programs: str, tmp_path: Path) -> None:
    lines = ["Net  24 MACs  16 parameters", "└── fc  Linear  24 MACs  100.0 %  16 parameters"]
    given = ("count", f"{programs}:build", "--shape", "2,3", "--tree")
    assert run(*given) == (0, "\n".join(lines) + "\n", "")
    assert run(*given, "--depth", "0")[1] == lines[0] + "\n"
    assert run(*given, "-o", str(tmp_path / "tree.txt"))[0] == 0
    assert (tmp_path / "tree.txt").read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    status, out, _ = run("count", RESNET, "--shape", "1,3,224,224", "--tree", "--depth", "1")
    assert status == 0
    assert out.startswith("resnet50  4.089 G MACs  25.61 M parameters\n├── conv1  118.0 M MACs  2.9 %\n")
    assert run(*given, "--by", "op")[0] == 2
    assert run(*given, "--format", "json")[0] == 2


def test_exported_programs(run, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(torch.nn.Linear(3, 4), (torch.randn(2, 3),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "linear.pt2")
    for given, macs in (((), None), (("--shape", "n,3"), "12*n"), (("--shape", "input=8,3"), 96)):
        status, out, err = run("count", str(tmp_path / "linear.pt2"), *given, "--format", "json")
        assert (status, err) == (0, "")
        found = json.loads(out)["total"]["macs"]
        assert found == macs or macs is None


@pytest.mark.parametrize(
    ("model", "arguments", "says"),
    [
        ("PROGRAMS:net", (), "missing a required argument: 'x'; it takes (x)"),
        ("PROGRAMS:net", ("--shape", "2,?"), "a program says nothing: give a number or a name"),
        ("PROGRAMS:net", ("--shape", "2,3", "--dtype", "f16"), "write INPUT=DTYPE"),
        ("PROGRAMS:net", ("--shape", "2,3", "--value", "x=1"), "give a torch program tensors"),
        ("PROGRAMS:buildx", (), "has no attribute 'buildx'; did you mean build?"),
        ("PROGRAMS:needs", (), "needs arguments (width): name a function without any"),
        ("PROGRAMS:wrong", (), "returned int, which is no torch.nn.Module"),
        ("PROGRAMS:fails", (), "raised KeyError: 'w'"),
        ("PROGRAMS:number", (), "is of type int: name a module"),
        ("nowhere_at_all:net", (), "there is no module 'nowhere_at_all', neither installed nor in"),
        ("broken:net", (), "importing broken failed: No module named 'nothing_of_that_name'"),
        ("missing.pt2", (), "missing.pt2: there is no such file"),
        ("PROGRAMS:net", ("--shape", "n,3", "--hint", "n"), "--hint n: write NAME=SIZE"),
        (RESNET, ("--dtype", "x=f16"), "--dtype is for torch programs"),
        (RESNET, ("--method", "encode"), "--method is for torch programs"),
    ],
)
def test_programs_that_cannot_be_counted(run, programs: str, model: str, arguments: tuple, says: str) -> None:
    status, _, err = run("count", model.replace("PROGRAMS", programs), *arguments)
    assert status == 2
    assert says in err


@pytest.mark.parametrize("model", ["PROGRAMS:net", "some.pt2"])
def test_torch_that_is_not_installed(programs: str, tmp_path: Path, model: str) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')\n", "utf-8")
    (tmp_path / "some.pt2").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "macsim", "count", model.replace("PROGRAMS", programs), "--shape", "2,3"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "not installed: pip install 'macsim[torch]'" in done.stderr
    assert "Traceback" not in done.stderr
