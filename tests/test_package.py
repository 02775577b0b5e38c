# SPDX-License-Identifier: MIT
"""What is installed is one thing: one version, typed, with a command line that says what it is made of."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import dualtape as dt
from dualtape import _core

ROOT = Path(__file__).resolve().parent.parent


def test_one_version_everywhere() -> None:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        declared = tomllib.load(stream)["project"]["version"]
    cmake = re.search(r"project\(dualtape VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    assert cmake is not None
    assert dt.__version__ == declared == cmake[1] == _core.build_info()["version"]
    assert importlib.metadata.version("dualtape") == declared
    assert declared in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_numpy_is_the_only_requirement() -> None:
    needed = [line for line in importlib.metadata.requires("dualtape") or [] if "extra ==" not in line]
    assert [re.split(r"[<>=!~ ]", line)[0] for line in needed] == ["numpy"]


def test_the_package_is_typed() -> None:
    folder = Path(dt.__file__).parent
    assert (folder / "py.typed").exists()
    assert (folder / "_core.pyi").exists()


def test_every_public_name_is_there_and_has_a_docstring() -> None:
    for name in dt.__all__:
        value = getattr(dt, name)
        if callable(value):
            assert value.__doc__, f"dualtape.{name} has no docstring"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dualtape", *arguments], capture_output=True, text=True)


def test_info_says_what_the_installation_is_made_of() -> None:
    done = run("info")
    assert done.returncode == 0
    for part in ("compiler", "instruction set", "SLEEF", "Eigen", "NumPy", "Python", dt.__version__):
        assert part in done.stdout


def test_another_command_line_gets_the_usage() -> None:
    for arguments in ((), ("information",), ("info", "all")):
        done = run(*arguments)
        assert done.returncode == 2
        assert "usage" in done.stderr


def test_import_brings_no_optional_package() -> None:
    optional = ("matplotlib", "tqdm", "scipy", "pandas")
    code = f"import sys, dualtape; print([m for m in {optional} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_import_brings_nothing_heavy() -> None:
    """What NumPy has not imported already and takes as long as half of this package; tools/import_time.py measures."""
    heavy = ("json", "zipfile", "pathlib", "hashlib", "random", "threading", "concurrent.futures", "numpy.typing")
    code = (
        f"import sys, numpy; before = set(sys.modules); import dualtape; "
        f"print([m for m in {heavy} if m in sys.modules and m not in before])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
