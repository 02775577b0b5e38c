# SPDX-License-Identifier: MIT
"""Break rules of the table, or the emitter of machine code, one place at a time, and show that the tests notice.

    python tools/mutate.py rules            # exit 1 if a mutation survives
    python tools/mutate.py emitter

Works on a copy of the sources in a temporary directory; the tree itself is not touched. Each mutation means a build of
the extension module (of the rules some minutes), so this is for a person who doubts the tests, not for every change.
It needs what the build and the tests need: CMake, pybind11, pytest, SciPy.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RULES = "cpp/dualtape/ops/ops.def"
X86 = "cpp/dualtape/machine/x86.cpp"
LINES = "cpp/dualtape/machine/x86_lines.hpp"
VALUES = "cpp/dualtape/machine/x86_values.hpp"
ALLOCATION = "cpp/dualtape/machine/allocation.hpp"


class Mutation(NamedTuple):
    """What is broken, where, the text that stands there, and what it becomes."""

    what: str
    file: str
    old: str
    new: str


class Group(NamedTuple):
    """Mutations, and the tests that are to notice them."""

    tests: list[str]
    mutations: list[Mutation]


GROUPS = {
    # Mistakes that other libraries have made.
    "rules": Group(
        ["tests/test_ops.py"],
        [
            Mutation(
                "the sign of a partial: cos' = sin",
                RULES,
                'DUALTAPE_UNARY_NATIVE(cos, "cos", in(-3, 3), -sin(x), "")',
                'DUALTAPE_UNARY_NATIVE(cos, "cos", in(-3, 3), sin(x), "")',
            ),
            Mutation(
                "a rule that is right for positive operands only: fmod with the quotient of remainder",
                RULES,
                "1, -trunc(a / b),",
                "1, -floor_divide(a, b),",
            ),
            Mutation(
                "another policy at a kink: maximum gives a tie to its first operand",
                RULES,
                'a, b), larger_share(a, b), larger_share(b, a), "1/2 each for a tie")\nDUALTAPE_BINARY(minimum',
                'a, b), select(a >= b, T(1), T(0)), select(a >= b, T(0), T(1)), "1/2 each for a tie")\n'
                "DUALTAPE_BINARY(minimum",
            ),
        ],
    ),
    "emitter": Group(
        ["tests/test_bits.py", "tests/test_random_steps.py", "tests/test_random_programs.py", "tests/test_fused.py"],
        [
            Mutation(
                "a swapped operand: select takes the other one",
                LINES,
                "body_.single ? vblendmps(d | k, z, y) : vblendmpd(d | k, z, y);",
                "body_.single ? vblendmps(d | k, z, z) : vblendmpd(d | k, z, z);",
            ),
            Mutation(
                "a wrong register: circles of states are cut in the other scratch register",
                X86,
                "if (other.second == from) other.second = scratch(0);",
                "if (other.second == from) other.second = scratch(1);",
            ),
            Mutation(
                "a wrong offset: rows of operands are one place apart",
                X86,
                "add(rbx, 8 * row_places());",
                "add(rbx, 8);",
            ),
            Mutation(
                "a wrong offset: vectors that are spilled overlap",
                VALUES,
                "return ptr[rsp + (slot + 1) * vector_bytes()];",
                "return ptr[rsp + vector_bytes() + slot * item()];",
            ),
            Mutation(
                "a register reused too early: a value is thought to end one line sooner",
                ALLOCATION,
                "return uses_from(id, at + 1) == 0;",
                "return uses_from(id, at + 2) == 0;",
            ),
            Mutation(
                "a slot reused too early: the one of a value that is still read goes to the next",
                ALLOCATION,
                "      slot_[index(id)] = slot_count_++;",
                "      slot_[index(id)] = slot_count_ > 1 ? 0 : slot_count_++;",
            ),
            Mutation(
                "a register that is in use: the strong product's repair in rows",
                LINES,
                "        for (const Xmm& factor : {x, y}) {",
                "        mov(rbx, 0);\n        for (const Xmm& factor : {x, y}) {",
            ),
        ],
    ),
}


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command whose output is wanted only if it fails."""
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)


def build(copy: Path) -> None:
    """The extension module of the copied sources, beside its Python files."""
    tree = copy / "build" / "mutate"
    if not tree.exists():
        pybind = run(sys.executable, "-m", "pybind11", "--cmakedir", cwd=copy).stdout.strip()
        options = [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind}"]
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        configured = run("cmake", "-S", copy, "-B", tree, *generator, *options, cwd=copy)
        if configured.returncode:
            sys.exit(configured.stdout + configured.stderr)
    built = run("cmake", "--build", tree, "--target", "_core", "--parallel", "2", cwd=copy)
    if built.returncode:
        sys.exit(built.stdout + built.stderr)
    for module in tree.glob("_core*.so"):
        shutil.copy2(module, copy / "python" / "dualtape")


def test(copy: Path, files: list[str]) -> tuple[bool, list[str]]:
    """Whether tests pass, and those that don't, or how the process ended."""
    # By the environment, since a test starts processes of its own.
    os.environ["PYTHONPATH"] = str(copy / "python")
    options = ["-q", "--tb=no", "--maxfail=20", "-p", "no:cacheprovider"]
    done = run(sys.executable, "-m", "pytest", *options, *files, cwd=copy)
    failures = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", done.stdout, re.MULTILINE)
    if done.returncode < 0:
        failures.append(f"the process was ended by signal {-done.returncode}")
    return done.returncode == 0, failures


def main() -> int:
    """Build and test the sources as they are, then with each mutation."""
    parser = argparse.ArgumentParser(description="break the sources, and see whether the tests notice")
    parser.add_argument("group", choices=GROUPS)
    tests, mutations = GROUPS[parser.parse_args().group]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "dualtape"
        leave = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache", "*.so")
        shutil.copytree(ROOT, copy, ignore=leave)
        for _, file, old, _ in mutations:
            if (count := (copy / file).read_text(encoding="utf-8").count(old)) != 1:
                sys.exit(f"{file} has {count} places with the text {old!r}; bring GROUPS up to date")
        for what, file, old, new in [Mutation("nothing", mutations[0].file, "", ""), *mutations]:
            intact = (copy / file).read_text(encoding="utf-8")
            (copy / file).write_text(intact.replace(old, new) if old else intact, encoding="utf-8")
            build(copy)
            passed, failures = test(copy, tests)
            print(f"broken: {what}\n  {'all tests pass' if passed else f'{len(failures)} tests fail'}", flush=True)
            for failure in failures[:5]:
                print(f"    {failure}")
            survivors += passed == bool(old)
            (copy / file).write_text(intact, encoding="utf-8")
    print("each mutation is caught" if not survivors else f"{survivors} of the runs did not end as they should")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
