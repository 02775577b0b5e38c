# SPDX-License-Identifier: MIT
"""The workloads, a module each; every one defines ``cases(quick) -> list[Case]``.

`seed` is the one to read first, and the pattern for a new one; add its name to `NAMES`.
"""

from __future__ import annotations

import importlib
from typing import Any

NAMES = (
    *("seed", "rosenbrock", "recurrence", "arrays", "optimizers", "digits"),
    *(
        "descent",
        "first",
        "rates",
        "stopping",
        "branches",
        "training",
        "calls",
        "logistic",
        "growth",
        "linalg",
        "rolled",
    ),
)


def load(name: str) -> Any:
    """Import one workload module."""
    return importlib.import_module(f"{__name__}.{name}")
