# SPDX-License-Identifier: MIT
"""How far a loop or sweep has come, told while it runs; and Ctrl-C, which gives what has been reached."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import Any

import numpy as np
import pytest
from steps import (
    assert_same_bits,
)

import dualtape as dt
from dualtape import _core

# ---- loops -----------------------------------------------------------------------------------------------------------


def slow(x: Any, iteration: Any) -> Any:
    """A step whose million iterations take longer than a slice."""
    for _ in range(20):
        x = dt.numpy.sin(x) + 1e-3
    return x, iteration


def test_progress_is_told() -> None:
    calls: list[tuple[int, int]] = []
    dt.loop(slow, 0.5, iterations=1_500_000, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) > 1
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (1_500_000, 1_500_000)
    calls.clear()
    dt.loop(slow, 0.5, iterations=3, progress=lambda done, total: calls.append((done, total)), compiled=False)
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    for compiled in (True, False):
        dt.loop(slow, 0.5, iterations=10, progress=True, compiled=compiled)
        assert "it" in capsys.readouterr().err


def test_no_progress_bar_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"loop: progress=True shows a bar of tqdm.*pip install dualtape\[progress\]"):
        dt.loop(slow, 0.5, iterations=10, progress=True)


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_gives_what_there_is() -> None:
    run = dt.loop(slow, 0.5, iterations=10**12, record_every=100_000_000, progress=interrupt)
    assert run.stopped == "interrupted"
    assert run.iterations > 1
    assert float(run.value) == run.iterations
    assert_same_bits(run.state, dt.loop(slow, 0.5, iterations=run.iterations).state)
    assert not _core.is_tracing()


def test_ctrl_c_in_python() -> None:
    def at_three(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    run = dt.loop(slow, 0.5, iterations=10, progress=at_three, compiled=False)
    assert (run.stopped, run.iterations) == ("interrupted", 3)
    np.testing.assert_array_equal(run.history, [1, 2, 3])


def test_other_errors_of_the_progress_are_errors() -> None:
    def broken(done: int, total: int) -> None:
        raise OSError("no terminal")

    for compiled in (True, False):
        with pytest.raises(OSError, match="no terminal"):
            dt.loop(slow, 0.5, iterations=10, progress=broken, compiled=compiled)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal of POSIX")
def test_a_real_ctrl_c() -> None:
    program = """
        import signal
        import numpy as np
        import dualtape as dt
        # A shell that starts the tests in the background has them ignore the signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def step(x, iteration):
            return dt.numpy.sin(x) + 1e-3, iteration
        print("ready", flush=True)
        run = dt.loop(step, 0.5, iterations=10**12, record_every=None)
        print(run.stopped, run.iterations == float(run.value), run.iterations > 0)
        runs = dt.sweep(step, lambda x: x, iterations=10**12, over=dt.grid(x=np.linspace(0, 1, 2000)))
        print(sorted(set(runs.stopped.tolist())), (runs.iterations == runs.value)[runs.iterations > 0].all())
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, env=environment
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        lines = []
        for _ in range(2):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.7)
            process.send_signal(signal.SIGINT)
            watchdog = threading.Timer(60, process.kill)  # a line that never comes must not hold up the others
            watchdog.start()
            lines.append(process.stdout.readline().strip())
            watchdog.cancel()
        assert process.wait(20) == 0
    assert lines == ["interrupted True True", "['interrupted'] True"]


# ---- sweeps ----------------------------------------------------------------------------------------------------------


def slow_run(x: Any, a: Any, iteration: Any) -> Any:
    for _ in range(20):
        x = dt.numpy.sin(x) + a
    return x, iteration


def test_progress_of_sweeps_counts_runs() -> None:
    calls: list[tuple[int, int]] = []
    over = dt.grid(a=np.linspace(0, 1, 2000))
    dt.sweep(slow_run, 0.5, iterations=3000, over=over, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (2000, 2000)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    calls.clear()
    over = dt.grid(a=[0.0, 1.0])
    dt.sweep(slow_run, 0.5, iterations=3, over=over, progress=lambda *call: calls.append(call), compiled=False)
    assert calls == [(1, 2), (2, 2)]


def test_progress_bar_of_sweeps(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    dt.sweep(slow_run, 0.5, iterations=10, over=dt.grid(a=[0.0, 1.0]), progress=True)
    assert "run" in capsys.readouterr().err


def test_ctrl_c_in_a_sweep_gives_what_there_is() -> None:
    calls = []

    def interrupt(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 3:
            raise KeyboardInterrupt

    def until(x: Any, value: Any, iteration: Any, a: Any) -> Any:
        return iteration > a * 1e6

    over = dt.grid(a=np.linspace(0, 1, 64))
    runs = dt.sweep(slow_run, 0.5, iterations=2_000_000, over=over, until=until, lanes=8, progress=interrupt)
    assert set(runs.stopped.tolist()) == {"until", "interrupted"}
    assert (runs.iterations[runs.stopped == "interrupted"] < 1e6).all()
    begun = runs.iterations > 0
    np.testing.assert_array_equal(runs.value[begun], runs.iterations[begun])  # the value belongs to the state
    assert np.isnan(runs.value[~begun]).all()
    for index in (0, int(np.flatnonzero(begun)[-1])):
        run = dt.loop(slow_run, 0.5, iterations=int(runs.iterations[index]), a=over.at(index)["a"])
        assert float(run.state) == runs.state[index]


def test_ctrl_c_in_a_sweep_in_python() -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    over = dt.grid(a=[0.0, 1.0, 2.0])
    runs = dt.sweep(slow_run, 0.5, iterations=4, over=over, record_every=2, progress=interrupt, compiled=False)
    assert runs.stopped.tolist() == ["iterations", "iterations", "interrupted"]
    assert runs.iterations.tolist() == [4, 4, 0]
    assert np.isnan(runs.history[2]).all()
