# What the docs show is what happens: README's programs and commands print what is printed there; docstrings too.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import contextlib
import doctest
import importlib
import io
import os
import pkgutil
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

import macsim

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = ["macsim", *(module.name for module in pkgutil.walk_packages(macsim.__path__, "macsim."))]
MODULES.remove("macsim.__main__")  # importing it runs it


def blocks(language: str) -> list[tuple[str, str, str]]:
    """The fenced blocks of a language on all pages, each with the ``text`` block that follows it at once."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```\n(?:\s*^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
    return [
        (f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}", found[1], found[2] or "")
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for found in pattern.finditer(text)
    ]


@pytest.mark.parametrize(("place", "program", "output"), blocks("python"), ids=lambda value: str(value)[:24])
def test_program_prints_what_is_shown(place: str, program: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, place, "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == output


@pytest.mark.parametrize(("place", "session", "_"), blocks("console"), ids=lambda value: str(value)[:24])
def test_command_prints_what_is_shown(place: str, session: str, _: str) -> None:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "COLUMNS": "120"}
    for step in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, shown = step.partition("\n")
        done = subprocess.run(
            command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.stdout + done.stderr == shown, f"{place}: {command}"


@pytest.mark.parametrize(("place", "program", "_"), blocks("cpp"), ids=lambda value: str(value)[:24])
def test_cpp_program_compiles(place: str, program: str, _: str) -> None:
    command = [
        os.environ.get("CXX", "c++"),
        "-std=c++17",
        "-fsyntax-only",
        "-I",
        ROOT / "csrc/include",
        "-x",
        "c++",
        "-",
    ]
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{place}: {done.stderr}"


def test_readme_opens_with_the_two_commands() -> None:
    first, second = blocks("sh")[0][1].splitlines()
    assert "pip install . && macsim count examples/" in first
    assert "pip install '.[test]' && python -m pytest" in second


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_show_what_happens(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0
