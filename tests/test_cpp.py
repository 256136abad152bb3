# Builds the C++ tests with CMake and runs each; compiles every public header alone as C++17.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEADERS = sorted((ROOT / "csrc/include/macsim").glob("*.hpp"))
TESTS = sorted((ROOT / "tests/cpp").glob("test_*.cpp"))


def run(command: list[str | Path], **more: object) -> None:
    """Run a command; a failure shows everything it said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"


def tool(name: str) -> str:
    """A program of this environment (cmake and ninja come as wheels) or of the machine."""
    path = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    assert path, f"{name} is missing: pip install '.[test]'"
    return path


@pytest.fixture(scope="module")
def build(request: pytest.FixtureRequest) -> Path:
    """The folder of the built tests. It stays in pytest's cache, so that the next run compiles only what changed."""
    folder = request.config.cache.mkdir("cpp-build")
    settings = {
        "CMAKE_MAKE_PROGRAM": tool("ninja"),
        "CMAKE_BUILD_TYPE": "None",
        "CMAKE_CXX_FLAGS": "-O1",  # quick to build; assertions stay on
        "MACSIM_TESTS": "ON",
        "MACSIM_WERROR": os.environ.get("MACSIM_WERROR", "OFF"),
    }
    run([tool("cmake"), "-G", "Ninja", "-S", ROOT, "-B", folder, *(f"-D{k}={v}" for k, v in settings.items())])
    run([tool("cmake"), "--build", folder])
    return folder


@pytest.mark.parametrize("source", TESTS, ids=lambda path: path.stem)
def test_cpp(source: Path, build: Path) -> None:
    run([build / source.stem], timeout=300)


@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_header_compiles_alone_as_cpp17(header: Path) -> None:
    compiler = os.environ.get("CXX", "c++")
    flags = ["-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    run([compiler, *flags, "-x", "c++", "-I", ROOT / "csrc/include", "-include", header, "/dev/null"])
