# SPDX-License-Identifier: MIT
"""Sweeps on executors: threads, processes, dask; workers that die. The bits are those of the sweep at home."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from steps import alone, assert_same_run, backtracking, branching, count_traces, descent, noisy, seeded

import dualtape as dt


def start_at(x1: Any, x2: Any) -> Any:
    return x1, x2


def start_high(x: Any) -> Any:
    return x, 0.0


def regress(w: Any, batch: Any, rate: Any, decay: Any) -> Any:
    error = batch[0] @ w - batch[1]
    return w - rate * decay * (batch[0] * error.reshape(-1, 1)).mean(axis=0), (error * error).mean()


RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3))

SWEEPS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "descent": (
        descent,
        (2.0, 2.0),
        {"over": dt.grid(learn_rate=np.linspace(0.01, 0.25, 50)), "iterations": 300, "record_every": 100},
    ),
    "branching": (
        branching,
        start_high,
        {"over": dt.grid(x=seeded(30), learn_rate=[0.05, 0.3]), "iterations": 200, "record_every": 50},
    ),
    "line search": (
        backtracking,
        start_at,
        {
            "over": dt.points(x1=seeded(40), x2=seeded(40, 1)),
            "shrink": 0.5,
            "iterations": 500,
            "until": lambda state, value: value["loss"] < 1e-10,
        },
    ),
    "random": (noisy, 0.0, {"over": dt.grid(scale=np.linspace(0, 1, 30)), "iterations": 300, "seed": 5}),
    "batches": (
        regress,
        np.zeros(3),
        {
            "over": dt.grid(rate=np.linspace(0.1, 0.5, 11)),
            "decay": dt.schedules.exponential(1.0, 0.99),
            "data": (X, X @ [1.0, -2.0, 3.0]),
            "batch_size": 6,
            "shuffle": 2,
            "iterations": 60,
            "record_every": 20,
        },
    ),
}


def at_home(name: str) -> Any:
    step, start, options = SWEEPS[name]
    return dt.sweep(step, start, threads=1, **options)


def through(name: str, executor: Any, **more: Any) -> Any:
    step, start, options = SWEEPS[name]
    return dt.sweep(step, start, executor=executor, **options, **more)


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Two workers that know nothing of this process but where packages are."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that parts come back in the middle."""
    monkeypatch.setattr("dualtape.loops._remote.SLICE", 1e-4)


@pytest.mark.parametrize("name", SWEEPS)
def test_processes(name: str, processes: ProcessPoolExecutor) -> None:
    runs = through(name, processes)
    assert_same_run(runs, at_home(name))
    assert 0 < runs.useful <= 1


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.usefixtures("short_slices")
def test_threads(name: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert_same_run(through(name, pool), at_home(name))


def test_paths_that_workers_miss_are_traced_at_home(
    processes: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = count_traces(monkeypatch)
    runs = through("line search", processes)
    assert len(traces) > 3
    assert_same_run(runs[7], alone(backtracking, start_at, runs, 7, **{
        name: value for name, value in SWEEPS["line search"][2].items() if name != "over"
    }))  # fmt: skip


def test_functions_that_cannot_be_traced_become_tables(processes: ProcessPoolExecutor) -> None:
    def rate(k: Any) -> Any:
        return 0.1 if k < 20 else 0.1 / np.sqrt(float(k))

    def sweep(**more: Any) -> Any:
        return dt.sweep(descent, start_at, iterations=60, over=over, learn_rate=rate, record_every=10, **more)

    over = dt.points(x1=seeded(20), x2=seeded(20, 1))
    assert_same_run(sweep(executor=processes), sweep())


def test_why_and_progress(processes: ProcessPoolExecutor) -> None:
    calls: list[tuple[int, int]] = []
    runs = through("descent", processes, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (50, 50)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    last = at_home("descent")
    assert runs.stopped[-1] == "nonfinite"
    assert runs.why(49) == last.why(49)


@pytest.mark.usefixtures("short_slices")
def test_ctrl_c_gives_what_there_is() -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 3:
            raise KeyboardInterrupt

    step, start, options = SWEEPS["descent"]
    with ThreadPoolExecutor(2) as pool:
        runs = dt.sweep(step, start, **options | {"iterations": 300_000}, executor=pool, progress=interrupt)
    assert "interrupted" in runs.stopped
    assert (runs.stopped != "interrupted").sum() > 3
    index = int(np.flatnonzero(runs.stopped != "interrupted")[0])
    assert runs.iterations[index] in (300_000, 10, 9, 8)
    unfinished = [i for i in np.flatnonzero(runs.stopped == "interrupted") if runs.iterations[i]]
    for i in unfinished[:3]:
        one = dt.loop(step, start, iterations=int(runs.iterations[i]), **options["over"].at(int(i)))
        assert float(one.state[0]) == runs.state[0][i]


@pytest.mark.usefixtures("short_slices")
def test_checkpoints(tmp_path: Path) -> None:
    step, start, options = SWEEPS["branching"]
    options = options | {"iterations": 20_000, "record_every": 5000}
    whole = dt.sweep(step, start, **options)

    def interrupt(done: int, total: int) -> None:
        if file.exists():
            raise KeyboardInterrupt

    file = tmp_path / "sweep.npz"
    more: dict[str, Any] = {"checkpoint": file, "checkpoint_every": 10_000}
    with ThreadPoolExecutor(2) as pool:
        part = dt.sweep(step, start, executor=pool, progress=interrupt, **options, **more)
        assert "interrupted" in part.stopped
        assert_same_run(dt.sweep(step, start, executor=pool, **options, **more), whole)
    assert_same_run(dt.sweep(step, start, **options, **more), whole)  # at home, from the same file


# ---- workers that die -----------------------------------------------------------------------------------------------


def expect_rescue(name: str, executor: Any, words: str, **more: Any) -> None:
    """The sweep says that the executor broke, and loses nothing."""
    with pytest.warns(RuntimeWarning, match=rf"sweep: the executor broke \({words}.*go on in this process"):
        runs = through(name, executor, **more)
    assert_same_run(runs, at_home(name))


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("how", ["exit", "kill"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_processes_that_die(how: str) -> None:
    if how == "kill" and sys.platform == "win32":
        pytest.skip("kills by a signal of POSIX")
    begun = []

    def strike(done: int, total: int) -> None:
        if not begun:
            begun.append(done)
            if how == "exit":
                pool.submit(os._exit, 1)
            else:
                os.kill(next(iter(pool._processes)), signal.SIGKILL)

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        expect_rescue("line search", pool, "BrokenProcessPool", progress=strike)
    assert begun


class Failing(Executor):
    """Runs things at once, but for those with some numbers."""

    def __init__(self, fails: Callable[[int], BaseException | None], submit_fails: bool = False) -> None:
        self.fails, self.submit_fails, self.number = fails, submit_fails, 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.number += 1
        error = self.fails(self.number)
        if error is not None and self.submit_fails:
            raise error
        future: Future[Any] = Future()
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("name", ["branching", "descent"])
@pytest.mark.parametrize("number", [1, 2, 30])
@pytest.mark.parametrize("submit_fails", [True, False])
def test_whatever_an_executor_raises(submit_fails: bool, number: int, name: str) -> None:
    executor = Failing(lambda n: OSError("lost the wire") if n >= number else None, submit_fails)
    expect_rescue(name, executor, "OSError: lost the wire")


def test_an_executor_that_is_shut_down() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    expect_rescue("descent", pool, "RuntimeError: cannot schedule new futures after shutdown")


@pytest.mark.usefixtures("short_slices")
def test_futures_that_are_cancelled() -> None:
    """As when somebody shuts the pool down with cancel_futures=True."""
    calls = []

    def cancel(done: int, total: int) -> None:
        if not calls:
            pool.shutdown(wait=False, cancel_futures=True)
        calls.append(done)

    with ThreadPoolExecutor(1) as pool:
        expect_rescue("line search", pool, "(CancelledError|RuntimeError)", progress=cancel)


def test_the_step_does_not_travel(processes: ProcessPoolExecutor) -> None:
    """A step that nobody could pickle."""
    lock = threading.Lock()

    def step(x: Any, a: Any) -> Any:
        with lock:
            return x * a, x

    over = dt.grid(a=[0.5, 0.9])
    runs = dt.sweep(step, 1.0, iterations=10, over=over, executor=processes)
    assert_same_run(runs, dt.sweep(step, 1.0, iterations=10, over=over))


# ---- dask ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    distributed = pytest.importorskip("dask.distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["branching", "line search", "random"])
def test_dask(name: str, client: Any) -> None:
    with client.get_executor() as executor:
        assert_same_run(through(name, executor), at_home(name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal of POSIX")
@pytest.mark.usefixtures("short_slices")
def test_a_worker_of_dask_that_is_killed(client: Any) -> None:
    """Another one takes over what it had."""
    victims = list(client.run(os.getpid).values())
    assert len(victims) == 2
    killed = []

    def strike(done: int, total: int) -> None:
        if not killed:
            os.kill(victims[0], signal.SIGKILL)
            killed.append(done)

    with client.get_executor() as executor:
        runs = through("line search", executor, progress=strike)
    assert killed
    assert_same_run(runs, at_home("line search"))
