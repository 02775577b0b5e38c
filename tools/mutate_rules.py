# SPDX-License-Identifier: MIT
"""Break rules of the table on purpose, one at a time, and show that the generated tests notice.

    python tools/mutate_rules.py            # exit 1 if a mutation survives

Works on a copy of the sources in a temporary directory; the tree itself is not touched. Each mutation means a build of
the extension module (some minutes), so this is for a person who doubts the tests, not for every change. It needs what
the build and the tests need: CMake, pybind11, pytest, SciPy.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RULES = Path("cpp/dualtape/ops/ops.def")
#: What is broken, the text of the table, and what it becomes: mistakes that other libraries have made.
MUTATIONS = [
    (
        "the sign of a partial: cos' = sin",
        'DUALTAPE_UNARY_NATIVE(cos, "cos", in(-3, 3), -sin(x), "")',
        'DUALTAPE_UNARY_NATIVE(cos, "cos", in(-3, 3), sin(x), "")',
    ),
    (
        "a rule that is right for positive operands only: fmod with the quotient of remainder",
        "1, -trunc(a / b),",
        "1, -floor_divide(a, b),",
    ),
    (
        "another policy at a kink: maximum gives a tie to its first operand",
        'a, b), larger_share(a, b), larger_share(b, a), "1/2 each for a tie")\nDUALTAPE_BINARY(minimum',
        'a, b), select(a >= b, T(1), T(0)), select(a >= b, T(0), T(1)), "1/2 each for a tie")\nDUALTAPE_BINARY(minimum',
    ),
]


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


def test(copy: Path) -> tuple[bool, list[str]]:
    """Whether the generated tests pass, and the tests that don't."""
    # By the environment, since a test starts processes of its own.
    os.environ["PYTHONPATH"] = str(copy / "python")
    options = ["-q", "--tb=no", "-p", "no:cacheprovider"]
    done = run(sys.executable, "-m", "pytest", *options, "tests/test_ops.py", cwd=copy)
    return done.returncode == 0, re.findall(r"^FAILED tests/test_ops\.py::(\S+)", done.stdout, re.MULTILINE)


def main() -> int:
    """Build and test the sources as they are, then with each mutation."""
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "dualtape"
        leave = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache", "*.so")
        shutil.copytree(ROOT, copy, ignore=leave)
        rules = (copy / RULES).read_text(encoding="utf-8")
        for _, old, _ in MUTATIONS:
            if rules.count(old) != 1:
                sys.exit(f"{RULES} has {rules.count(old)} places with the text {old!r}; bring MUTATIONS up to date")
        for what, old, new in [("nothing", "", ""), *MUTATIONS]:
            (copy / RULES).write_text(rules.replace(old, new) if old else rules, encoding="utf-8")
            build(copy)
            passed, failures = test(copy)
            print(f"broken: {what}\n  {'all tests pass' if passed else f'{len(failures)} tests fail'}", flush=True)
            for failure in failures[:5]:
                print(f"    {failure}")
            survivors += passed == bool(old)
    print("each mutation is caught" if not survivors else f"{survivors} of the runs did not end as they should")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
