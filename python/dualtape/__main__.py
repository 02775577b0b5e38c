# SPDX-License-Identifier: MIT
"""``python -m dualtape info``: what this installation is made of, for bug reports and for the curious."""

from __future__ import annotations

import platform
import sys

import numpy as np

from dualtape import _core

USAGE = "usage: python -m dualtape info"


def info() -> str:
    """The installation as text, one line for each part."""
    build = _core.build_info()
    rows = {
        "dualtape": build["version"],
        "compiler": build["compiler"],
        "instruction set": f"{build['isa_used']} (the best this machine has: {build['isa_best']})",
        "fused multiply-add": "yes" if build["fma"] else "no",
        "SLEEF": build["sleef"],
        "Eigen": build["eigen"] or "not used",
        "NumPy": np.__version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()}, {platform.machine()})",
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def main(arguments: list[str]) -> int:
    """Run the command line; the exit status."""
    if arguments != ["info"]:
        print(USAGE, file=sys.stderr)
        return 2
    print(info())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
