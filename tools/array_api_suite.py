# SPDX-License-Identifier: MIT
"""Run the public test suite of the array-API standard on dualtape, and print what passes.

    python tools/array_api_suite.py <checkout of data-apis/array-api-tests, with its submodule> [examples]

The checkout is copied first, since the suite takes for granted what the standard leaves open: that there are a complex
dtype, int32 and uint8. The copy does without the first, and has int64 for the others. The suite needs pytest,
hypothesis and ndindex. docs/numpy.md has the results.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

#: File, what it says, and what it should say.
EDITS = (
    (
        "dtype_helpers.py",
        "[(dt, dtype_nbits[dt]) for dt in complex_dtypes], key=lambda x: x[1]\n",
        "[(dt, dtype_nbits[dt]) for dt in complex_dtypes], key=lambda x: x[1], default=(None, 0)\n",
    ),
    (
        "test_signatures.py",
        "cmplx_name = dh.dtype_to_name[dh.widest_complex_dtype]",
        "cmplx_name = 'complex128'",
    ),
)
ABSENT = "uint8,uint16,uint32,uint64,int8,int16,int32,complex64,complex128"
#: Parts of the names of tests that are left out, with the reason.
LEFT_OUT = {
    "imag(x_i)": "special values of complex numbers",
    "[fft-": "the extension fft",
    "__complex__": "conversion to complex numbers",
    "test_vecdot_conj": "products of complex vectors",
}


def prepare(checkout: Path, to: Path) -> None:
    """Copy the suite and edit the copy."""
    shutil.copytree(checkout, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git", ".hypothesis"))
    tests = to / "array_api_tests"
    for name, before, after in EDITS:
        text = (tests / name).read_text(encoding="utf-8")
        if before not in text:
            raise SystemExit(f"{name} of the suite has changed; look at EDITS")
        (tests / name).write_text(text.replace(before, after), encoding="utf-8")
    for file in (*tests.glob("test_*.py"), tests / "hypothesis_helpers.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"\bxp\.(int32|uint8)\b", "xp.int64", text), encoding="utf-8")


def run(suite: Path, *arguments: str) -> str:
    """The output of pytest on the copy."""
    environment = os.environ | {
        "ARRAY_API_TESTS_MODULE": "dualtape.array_api",
        "ARRAY_API_TESTS_VERSION": "2024.12",
        "ARRAY_API_TESTS_SKIP_DTYPES": ABSENT,
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, "array_api_tests"]
    return subprocess.run(
        command, cwd=suite, env=environment, capture_output=True, encoding="utf-8", check=False
    ).stdout


def main() -> int:
    """Run the suite, and print counts and failures."""
    checkout, examples = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "100"
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder)
        prepare(checkout, suite)
        names = [line for line in run(suite, "--collect-only").splitlines() if "::" in line]
        left_out = Counter(reason for name in names for part, reason in LEFT_OUT.items() if part in name)
        skips = [name for name in names if any(part in name for part in LEFT_OUT)]
        (suite / "skips.txt").write_text("\n".join(skips), encoding="utf-8")
        said = run(suite, "--max-examples", examples, "--disable-deadline", "--derandomize", "-rfE")
    print(f"{len(names)} tests; left out: {', '.join(f'{n} of {reason}' for reason, n in left_out.items())}")
    print("\n".join(line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))))
    print(said.splitlines()[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
