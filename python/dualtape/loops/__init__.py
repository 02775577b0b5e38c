# SPDX-License-Identifier: MIT
"""Loops that run inside the core, and sweeps of them.

`loop` runs a step over and over, `sweep` does so for many hyperparameters at once (`grid`, `points`). Start reading at
``_step.py``: what a step is, and how it becomes a program. ``_calls.py`` holds the two functions, ``_loop.py`` and
``_sweep.py`` what they do,
``_drive.py`` what happens between slices of time, ``_eager.py`` the same loop in Python, ``_data.py`` minibatches,
``_function_tables.py`` functions of the iteration that cannot be traced, ``_checkpoint.py`` and ``_remote.py`` files
and other machines, ``_results.py`` what comes back.
"""

from ._calls import loop, sweep
from ._over import Over, grid, points
from ._results import Run, Runs

__all__ = ["Over", "Run", "Runs", "grid", "loop", "points", "sweep"]
