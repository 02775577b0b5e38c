# SPDX-License-Identifier: MIT
"""Report what `import dualtape` costs on top of `import numpy`.

    python tools/import_time.py [rounds]

Each round starts two fresh interpreters in turn, one for each figure; medians are printed. A report, not a
test: on a busy machine the figures move.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

NUMPY = "import time; t = time.perf_counter(); import numpy; print(time.perf_counter() - t)"
DUALTAPE = "import time, numpy; t = time.perf_counter(); import dualtape; print(time.perf_counter() - t)"


def seconds(code: str) -> float:
    """What a fresh interpreter prints for this code."""
    # -P: a dualtape folder in the working directory is not what is to be measured
    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> int:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    seconds(DUALTAPE)  # writes the bytecode files, which an installed package has
    pairs = [(seconds(NUMPY), seconds(DUALTAPE)) for _ in range(rounds)]
    numpy, dualtape = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
    best = 1e3 * min(pair[1] for pair in pairs)
    print(f"import: numpy {numpy:.1f} ms, dualtape {dualtape:.1f} ms more (best {best:.1f}, {rounds} rounds)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
