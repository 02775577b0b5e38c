# SPDX-License-Identifier: MIT
"""Whether runs of a sweep have the bits that they have alone: what the workloads of sweeps check before they time.

Start with `check`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def check(
    runs: Any,
    step: Callable[..., Any],
    start: Callable[[int], Any],
    samples: int,
    swept: Callable[[int], dict[str, Any]] | None = None,
    **options: Any,
) -> None:
    """Repeat some runs of a sweep as loops and compare.

    Parameters
    ----------
    runs
        What the sweep, over one axis, gave.
    step, options
        The step and what else the sweep was called with (`iterations`, `until`, hyperparameters).
    start
        Gives the state that a run starts from.
    samples
        How many runs to take, from all over the sweep.
    swept
        Gives the hyperparameters that differ from run to run.

    Raises
    ------
    AssertionError
        A run differs in its state, how many iterations it took, or why it stopped; the bench calls that a failure.
    """
    import dualtape as dt

    for i in range(0, runs.size, max(1, runs.size // samples)):
        alone = dt.loop(step, start(i), **options, **(swept(i) if swept else {}))
        pairs = zip(dt.tree.flatten(alone.state)[0], dt.tree.flatten(runs.state)[0], strict=True)
        same = all(np.asarray(one).tobytes() == many[i].tobytes() for one, many in pairs)
        if not same or (alone.iterations, alone.stopped) != (runs.iterations[i], runs.stopped[i]):
            raise AssertionError(f"run {i} of the sweep differs from the same run alone")
