# SPDX-License-Identifier: MIT
"""Check that no kernel object carries a function that the linker could use for another instruction set.

    python tools/merged.py build/run        # a CMake build tree; exit 1 with the symbols found

An inline function of the standard library, compiled into an AVX-512 kernel, is a weak symbol. The linker
keeps one copy of each weak symbol for the whole library; where it keeps the AVX-512 one, a machine without
AVX-512 dies of an illegal instruction far from any kernel. Functions in the kernel's own namespace
(dualtape::avx512) have names of their own and are safe. So: every weak symbol must be in that namespace.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TREE = re.compile(r"dualtape_kernels_(avx2|avx512)\.dir")


def merged(build: Path) -> tuple[int, list[str]]:
    """How many objects were read, and "object: symbol" for each weak symbol outside its ISA's namespace."""
    found = []
    objects = [(file, match[1]) for file in sorted(build.rglob("*.o")) if (match := TREE.search(str(file)))]
    for file, isa in objects:
        listing = subprocess.run(
            ["nm", "-C", "--defined-only", str(file)], check=True, capture_output=True, text=True
        ).stdout
        for line in listing.splitlines():
            _, kind, symbol = line.split(maxsplit=2)
            if kind in "WVwvu" and f"::{isa}::" not in symbol and "DW.ref." not in symbol:
                found.append(f"{file.name} ({isa}): {symbol}")
    return len(objects), found


def main() -> int:
    """Print what was found; 1 where something was, or where there was nothing to read."""
    objects, found = merged(Path(sys.argv[1]))
    for line in found:
        print(line)
    print(f"merged: {objects} kernel objects, {len(found)} symbols that the linker may merge")
    return 1 if found or not objects else 0


if __name__ == "__main__":
    sys.exit(main())
