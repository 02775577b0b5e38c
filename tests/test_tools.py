# SPDX-License-Identifier: MIT
"""The tools that guard the house find what they are for, and find nothing in the house as it stands."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy_ways import A, Case

ROOT = Path(__file__).resolve().parent.parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


layers = load("layers")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house with a file on some floors and a Python package."""
    for path, text in {
        "cpp/dualtape/base/error.hpp": "#include <string>\n",
        "cpp/dualtape/array/array.hpp": '#include "dualtape/base/error.hpp"\n',
        "cpp/dualtape/dual/dual.hpp": '#pragma once\n#include "dualtape/base/error.hpp"\n',
        "cpp/dualtape/tape/tape.hpp": '#include "dualtape/array/array.hpp"\n',
        "cpp/bindings/module.cpp": '#include <Python.h>\n#include "dualtape/tape/tape.hpp"\n',
        "python/dualtape/__init__.py": "from . import tree\nfrom ._late import late\n",
        "python/dualtape/tree.py": "def f():\n    from . import _late\n",
        "python/dualtape/_late.py": "from .tree import f\n",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def test_this_house_stands() -> None:
    assert [*layers.check_cpp(ROOT), *layers.check_python(ROOT)] == []


def test_a_sound_house_passes(house: Path) -> None:
    assert [*layers.check_cpp(house), *layers.check_python(house)] == []


@pytest.mark.parametrize(
    ("path", "line", "message"),
    [
        ("base/error.hpp", '#include "dualtape/tape/tape.hpp"', "base includes .* of the higher floor tape"),
        ("dual/dual.hpp", '#include "dualtape/array/array.hpp"', "dual includes .* of its sibling array"),
        ("array/array.hpp", "#  include <Python.h>", "only bindings may know Python"),
        ("tape/tape.hpp", '#include "pybind11/pybind11.h"', "only bindings may know Python"),
        ("tape/tape.hpp", '#include "array.hpp"', "is not there; write the path from cpp/"),
    ],
)
def test_a_wrong_include_is_found(house: Path, path: str, line: str, message: str) -> None:
    file = house / "cpp/dualtape" / path
    number = len(file.read_text(encoding="utf-8").splitlines()) + 1
    with file.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    (problem,) = layers.check_cpp(house)
    where, text = problem.split(": ", 1)
    assert where == f"cpp/dualtape/{path}:{number}"
    assert re.search(message, text)


def test_a_folder_that_is_no_floor_is_found(house: Path) -> None:
    (house / "cpp/dualtape/attic").mkdir()
    (house / "cpp/dualtape/attic/old.hpp").write_text("", encoding="utf-8")
    (problem,) = layers.check_cpp(house)
    assert "attic is no floor" in problem


def test_an_import_cycle_is_found(house: Path) -> None:
    (house / "python/dualtape/tree.py").write_text("import os\nfrom . import _late\n", encoding="utf-8")
    problems = list(layers.check_python(house))
    assert problems == ["python/dualtape/_late.py:1: import cycle dualtape.tree -> dualtape._late -> dualtape.tree"]


def test_the_page_of_numpys_functions_tells_what_comes_of_calls() -> None:
    doc = load("numpy_doc")
    vector = (A((3,)),)
    lying = Case("sin", vector, made=lambda xp, x: xp.sin(x) if xp is np else xp.cos(x))
    with pytest.raises(AssertionError):
        doc.outcome(lying, "value")
    cases = [Case("sin", vector), Case("argmax", vector), Case("nonzero", vector, refused=("traced", "in lanes"))]
    refused = "`TraceError`: needs the numbers"
    assert dict(doc.rows(cases)) == {
        "sin": ("yes",) * 6,
        "argmax": ("yes", *("constant",) * 3, "yes", "yes"),
        "nonzero": ("yes", *("constant",) * 3, refused, refused),
    }
    assert "| `sin` | yes | yes | yes | yes | yes | yes |" in doc.table(cases)


def test_import_time_prints_a_figure() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/import_time.py", "1"], check=True, capture_output=True, text=True
    )
    assert "dualtape" in done.stdout
    assert "ms" in done.stdout
