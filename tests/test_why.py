# SPDX-License-Identifier: MIT
"""Runs of a sweep that are no longer finite stop alone, and say which operation of the step it was."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from steps import (
    START,
    assert_same_bits,
    descent,
    valley,
)

import dualtape as dt
from dualtape import _core


def test_diverging_runs_stop_alone_and_say_why() -> None:
    rates = [0.1, 0.22, 0.25, 0.2, 0.30]
    runs = dt.sweep(descent, START, iterations=5000, over=dt.grid(learn_rate=rates))
    plain = dt.sweep(descent, START, iterations=20, over=dt.grid(learn_rate=rates), compiled=False)
    assert runs.stopped.tolist() == ["iterations", "nonfinite", "nonfinite", "iterations", "nonfinite"]
    assert runs.iterations.tolist() == [5000, 10, 8, 5000, 7]
    assert np.isfinite(np.stack(runs.state)).all()
    for run in np.flatnonzero(runs.stopped == "nonfinite"):
        # the last finite state is that of the iteration before
        one = dt.loop(descent, START, iterations=int(runs.iterations[run]) - 1, learn_rate=rates[run])
        assert_same_bits([leaf[run] for leaf in runs.state], [np.asarray(leaf) for leaf in one.state])
        line = valley.__code__.co_firstlineno + 2
        for found in (runs, plain):
            text = found.why(int(run))
            assert f"run {run}, iteration {runs.iterations[run]}: " in text
            assert f"{valley.__code__.co_filename}:{line}" in text
            assert "inf" in text
    assert "square" in runs.why(1)
    assert not _core.is_tracing()


def test_why_sees_the_operation_that_breaks_first() -> None:
    def step(x: Any, a: Any) -> Any:
        y = dt.numpy.log(x - a)  # breaks for a = 3 in the fourth iteration
        return x - 1 + 0 * y

    runs = dt.sweep(step, 7.0, iterations=6, over=dt.grid(a=[-5.0, 3.0, 0.5]))
    assert runs.stopped.tolist() == ["iterations", "nonfinite", "iterations"]
    assert runs.iterations.tolist() == [6, 5, 6]
    line = step.__code__.co_firstlineno + 1
    assert runs.why(1).startswith("run 1, iteration 5: log(0) = -inf, at ")
    assert runs.why(1).endswith(f"test_why.py:{line}")


def test_why_with_paths_tables_and_batches() -> None:
    def step(x: Any, rate: Any, batch: Any, scale: Any) -> Any:
        x = x * scale if rate > 1 else x / rate
        return x + 0 * batch.sum()

    runs = dt.sweep(
        step,
        1.0,
        iterations=50,
        over=dt.grid(rate=[0.5, 1e-80, 2.0]),
        scale=lambda k: math.exp(-float(k)),
        data=np.arange(6.0),
        batch_size=2,
        shuffle=1,
    )
    assert runs.stopped.tolist() == ["iterations", "nonfinite", "iterations"]
    line = step.__code__.co_firstlineno + 1
    assert f"iteration {runs.iterations[1]}: true_divide(1e+240" in runs.why(1)
    assert runs.why(1).endswith(f":{line}")
