# SPDX-License-Identifier: MIT
"""Check two things in the built code that no test sees on the machine that built it.

    python tools/binary.py build/run        # a CMake build tree; exit 1 with what was found

Merged symbols. An inline function of the standard library, compiled into an AVX-512 kernel, is a weak symbol.
The linker keeps one copy of each weak symbol for the whole library; where it keeps the AVX-512 one, a machine
without AVX-512 dies of an illegal instruction far from any kernel. Functions in the kernel's own namespace
(dualtape::avx512) have names of their own and are safe. So: every weak function must be in that namespace.

Thread-local memory. A module that is loaded late and wants its thread-local variables the fast way (the
initial-exec model) shares some hundred spare bytes with every other such module; with more, "cannot allocate
memory in static TLS block" ends the import on some machines and not on others. So: at most 128 bytes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TREE = re.compile(r"dualtape_kernels_(avx2|avx512)\.dir")
MAX_THREAD_LOCAL = 128


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def merged(file: Path, isa: str) -> Iterator[str]:
    """Weak functions of a kernel object outside of its own namespace (tables of constants are the same in all)."""
    for line in output("nm", "-C", "--defined-only", str(file)).splitlines():
        _, kind, symbol = line.split(maxsplit=2)
        if kind in "Ww" and f"::{isa}::" not in symbol and "DW.ref." not in symbol:
            yield f"{file.name} ({isa}): the linker may merge {symbol}"


def thread_local(module: Path) -> Iterator[str]:
    """The size of a module's thread-local segment, where it is too large."""
    for line in output("readelf", "-lW", str(module)).splitlines():
        fields = line.split()
        if fields and fields[0] == "TLS" and (size := int(fields[5], 16)) > MAX_THREAD_LOCAL:
            yield f"{module.name}: {size} thread-local bytes, at most {MAX_THREAD_LOCAL}; keep large ones on the heap"


def main() -> int:
    """Print what was found; 1 where something was, or where there was nothing to read."""
    build = Path(sys.argv[1])
    kernels = [(file, match[1]) for file in sorted(build.rglob("*.o")) if (match := TREE.search(str(file)))]
    modules = sorted(build.rglob("_core.*.so"))
    problems = [problem for file, isa in kernels for problem in merged(file, isa)]
    problems += [problem for module in modules for problem in thread_local(module)]
    for problem in problems:
        print(problem)
    print(f"binary: {len(kernels)} kernel objects, {len(modules)} modules, {len(problems)} problems")
    return 1 if problems or not kernels or not modules else 0


if __name__ == "__main__":
    sys.exit(main())
