# SPDX-License-Identifier: MIT
"""The bit contract: a run has the same bits however it is run.

Each case is a step whose value is all there is to see of it. The judge is `dt.loop`, one run at a time; its whole
trajectory, every iteration, is hashed. Equal hashes come from lanes of sweeps of 1 to 10,000 runs, blocks of any
width, one thread or two, an executor, a program that was saved and loaded, runs that were stopped and gone on with,
and every instruction set of this machine, each in a process of its own (this file run as a script prints the hashes).
The loop in plain Python gives the same where nothing is contracted.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from steps import backtracking, branching, descent, leaves, valley_and_slopes

import dualtape as dt
from dualtape import _core
from dualtape.loops._checkpoint import Checkpoint
from dualtape.loops._data import Data
from dualtape.loops._drive import Job
from dualtape.loops._remote import run_part
from dualtape.loops._step import Step
from dualtape.loops._sweep import starting_points

# ---- the steps; each returns the new state, and all that can be seen --------------------------------------------


def watched(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step with its new state beside what it returned, so that the history is the trajectory."""

    def seen(state: Any, rate: Any) -> Any:
        state, value = step(state, rate)
        return state, (state, value)

    return seen


def momentum(state: Any, rate: Any) -> Any:
    x, velocity = state
    loss, *slopes = dt.dlfeval(valley_and_slopes, *x)
    x, velocity = dt.sgdmupdate(x, tuple(slopes), velocity, rate, 0.9)
    return (x, velocity), (x, velocity, loss)


def adam(state: Any, rate: Any, iteration: Any) -> Any:
    x, g, g2 = state
    loss, *slopes = dt.dlfeval(valley_and_slopes, *x)
    x, g, g2 = dt.adamupdate(x, tuple(slopes), g, g2, iteration, rate)
    return (x, g, g2), (x, g, g2, loss)


def places(state: Any, rate: Any) -> Any:
    """States that change places, two of them and three of them."""
    a, b, c, d, e, x = state
    return (b, a, d, e, c, 0.5 * x + rate * a * c), x


def random_walk(state: Any, rate: Any) -> Any:
    noise = dt.random.normal(size=3)
    state = 0.9 * state + rate * noise if dt.random.uniform() > 0.3 else state - rate * dt.random.uniform(-1.0, 1.0)
    return state, (state, noise)


def network(params: Any, pixels: Any, targets: Any) -> Any:
    hidden = dt.numpy.tanh(pixels @ params["w1"] + params["b1"])
    loss = -(targets * dt.log_softmax(hidden @ params["w2"] + params["b2"], axis=1)).sum(axis=1).mean()
    return loss, dt.dlgradient(loss, params)


def digits(state: Any, rate: Any, iteration: Any, batch: Any) -> Any:
    """The step of examples/digits.py."""
    params, g, g2 = state
    loss, grads = dt.dlfeval(network, params, *batch)
    params, g, g2 = dt.adamupdate(params, grads, g, g2, iteration, rate)
    return (params, g, g2), (params, loss)


def weights(dtype: Any) -> Any:
    rng = np.random.default_rng(0)
    params = {
        "w1": rng.uniform(-0.25, 0.25, (64, 32)),
        "b1": np.zeros(32),
        "w2": rng.uniform(-0.4, 0.4, (32, 10)),
        "b2": np.zeros(10),
    }
    params = {name: value.astype(dtype) for name, value in params.items()}
    zeros = {name: value * 0 for name, value in params.items()}
    return params, zeros, zeros


def pictures(dtype: Any) -> Any:
    """As many numbers as the digits have, with as many zeros among them."""
    rng = np.random.default_rng(1)
    pixels = np.maximum(rng.integers(-16, 17, (200, 64)), 0) / 16
    return pixels.astype(dtype), np.eye(10, dtype=dtype)[rng.integers(0, 10, 200)]


class Case(NamedTuple):
    step: Callable[..., Any]
    state: Any
    rates: tuple[float, float]
    iterations: int
    counts: tuple[int, ...] = (1, 7, 64, 1000, 10_000)
    dtype: Any = None
    options: Callable[[], dict[str, Any]] = dict

    def over(self, count: int) -> Any:
        """Run k is the same in sweeps of any size."""
        low, high = self.rates
        rates = low + (high - low) * (np.arange(count) * 0.6180339887498949 % 1)
        return dt.points(rate=rates if self.dtype is None else rates.astype(self.dtype))

    def arguments(self) -> dict[str, Any]:
        return {"iterations": self.iterations, "record_every": 1, "seed": 5} | self.options()


def f32(x: Any) -> Any:
    return dt.tree.tree_map(np.float32, x)


ZERO, START = (0.0, 0.0), (2.0, 2.0)
# Two batches into the second shuffle. 10,000 lanes of this trajectory would be a gigabyte.
NETWORK = {"iterations": 5, "counts": (1, 7, 64, 1000)}
CASES = {
    "descent": Case(watched(descent), START, (0.01, 0.21), 40),
    "momentum": Case(momentum, (START, ZERO), (0.001, 0.05), 40),
    "adam": Case(adam, (START, ZERO, ZERO), (0.001, 0.3), 40),
    "branching": Case(watched(branching), (1.0, 0.0), (0.01, 1.2), 60),
    "backtracking": Case(watched(backtracking), START, (0.2, 0.8), 25),
    "places": Case(places, (1.0, 2.0, 3.0, 4.0, 5.0, 0.0), (0.1, 1.0), 40),
    "random": Case(random_walk, np.zeros(3), (0.1, 1.0), 30),
    "descent in float32": Case(watched(descent), f32(START), (0.01, 0.2), 40),
    "adam in float32": Case(adam, f32((START, ZERO, ZERO)), (0.001, 0.3), 40, (1, 7, 64, 1000)),
    "branching in float32": Case(watched(branching), f32((1.0, 0.0)), (0.01, 1.2), 60, (1, 7, 64, 1000), np.float32),
    "digits": Case(
        digits, weights(np.float64), (0.001, 0.02), **NETWORK,
        options=lambda: {"data": pictures(np.float64), "batch_size": 64, "shuffle": 3},
    ),
    "digits in float32": Case(
        digits, weights(np.float32), (0.001, 0.02), **NETWORK,
        options=lambda: {"data": pictures(np.float32), "batch_size": 64, "shuffle": 3},
    ),
}  # fmt: skip
cases = pytest.mark.parametrize("name", CASES)


# ---- hashes -----------------------------------------------------------------------------------------------------


def digest(iterations: Any, stopped: Any, *arrays: Any) -> str:
    """Of one run: how far it came, why it stopped, where it is and where it was."""
    sha = hashlib.sha256(f"{int(iterations)} {stopped}".encode())
    for array in arrays:
        array = np.ascontiguousarray(array)
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def of_run(run: Any) -> str:
    return digest(run.iterations, run.stopped, *leaves(run.state), *leaves(run.history))


def of_runs(runs: Any, which: Any = None) -> list[str]:
    """One for each run of a sweep."""
    states, histories = leaves(runs.state), leaves(runs.history)
    done, stopped = runs.iterations.tolist(), runs.stopped.tolist()
    which = range(len(done)) if which is None else which
    return [digest(done[k], stopped[k], *(x[k] for x in states), *(x[k][: done[k]] for x in histories)) for k in which]


def of_core(core: Any) -> list[str]:
    names = ["running", "iterations", "until", "nonfinite"]
    return [
        digest(done, names[why], *(x[k] for x in core.state), *(x[k][:done] for x in core.history))
        for k, (done, why) in enumerate(zip(core.iterations.tolist(), core.stopped.tolist(), strict=True))
    ]


def swept(case: Case, count: int, **options: Any) -> Any:
    return dt.sweep(case.step, case.state, over=case.over(count), **(case.arguments() | options))


def looped(case: Case, k: int, **options: Any) -> Any:
    """Run k of the sweep, alone."""
    return dt.loop(case.step, case.state, **case.over(k + 1).at(k), **(case.arguments() | options))


def loop_hashes(name: str, count: int) -> dict[int, str]:
    """Of some runs, alone. Numbers of `dt.random` are those of run 0, whatever its hyperparameters."""
    which = [0] if name == "random" else [k for k in (0, 1, 6, 63, 400, 999, 7777, 9999) if k < count]
    return {k: of_run(looped(CASES[name], k)) for k in which}


found: dict[str, list[str]] = {}


def reference(name: str) -> list[str]:
    """The runs of the second largest sweep, made once."""
    if name not in found:
        found[name] = of_runs(swept(CASES[name], CASES[name].counts[-2], threads=1))
    return found[name]


# ---- loop, lanes, blocks, threads -------------------------------------------------------------------------------


@cases
def test_one_run_is_a_lane_of_any_sweep(name: str) -> None:
    case, known = CASES[name], dict(enumerate(reference(name)))
    alone = loop_hashes(name, case.counts[-1])
    for count in case.counts:
        runs = swept(case, count)
        assert (runs.stopped == "iterations").all()
        # Hashing takes longer than computing: of very many runs, some.
        which = [k for k in range(count) if count <= 1000 or k % 97 == 0 or k in alone]
        hashes = dict(zip(which, of_runs(runs, which), strict=True))
        assert len(set(hashes.values())) > 0.9 * len(which)
        for others in (known, alone):
            both = hashes.keys() & others.keys()
            assert both
            assert {k: hashes[k] for k in both} == {k: others[k] for k in both}


@cases
def test_blocks_and_threads_do_not_matter(name: str) -> None:
    want = reference(name)
    for lanes, threads in ((8, 1), (24, 2), (512, 1), (None, 2)):
        assert of_runs(swept(CASES[name], len(want), lanes=lanes, threads=threads)) == want


@pytest.mark.parametrize("name", ["descent", "adam", "branching", "backtracking", "random"])
def test_runs_that_stop_at_different_times(name: str) -> None:
    """Lanes are refilled, so that neighbours are at iterations of their own."""
    case, count = CASES[name], 300

    def until(state: Any) -> Any:
        first = dt.numpy.reshape(dt.tree.flatten(state)[0][0], -1)[0]
        return dt.numpy.sin(40.0 * first) > 0.8

    wide = of_runs(swept(case, count, until=until))
    runs = swept(case, count, until=until, lanes=8, threads=2)
    assert of_runs(runs) == wide
    assert of_runs(swept(case, count, until=until, lanes=24, threads=1)) == wide
    assert len(set(runs.iterations.tolist())) > 5
    for k in (0,) if name == "random" else (0, 1, 50, 299):
        assert of_run(looped(case, k, until=until)) == wide[k]


def test_runs_that_break_do_not_touch_their_neighbours() -> None:
    """Runs whose state becomes infinite leave with the last finite one."""
    case = CASES["descent"]._replace(rates=(0.01, 0.4))
    want = of_runs(swept(case, 300, threads=1))
    for lanes in (8, 24, 512):
        runs = swept(case, 300, lanes=lanes, threads=2)
        assert of_runs(runs) == want
    assert 30 < (runs.stopped == "nonfinite").sum() < 270
    for k in range(0, 300, 29):
        assert of_run(looped(case, k)) == want[k]


# ---- plain Python -----------------------------------------------------------------------------------------------


@cases
def test_the_loop_in_plain_python(name: str) -> None:
    """Equal bits where a product and a sum are rounded one by one."""
    case, few = CASES[name], 3
    plain = of_runs(swept(case, few, compiled=False))
    assert of_runs(swept(case, few, contract=False)) == plain
    assert of_runs(swept(case, 40 if len(case.counts) > 3 else few, contract=False, lanes=24))[:few] == plain
    for k in range(1 if name == "random" else few):
        assert of_run(looped(case, k, contract=False)) == plain[k]
        assert of_run(looped(case, k, compiled=False)) == plain[k]


# ---- elsewhere, loaded, resumed ---------------------------------------------------------------------------------


def job(case: Case, count: int, lanes: int = 0) -> Job:
    """What `sweep` makes, before it runs."""
    options = case.arguments()
    columns = case.over(count).columns()
    start, starts, _ = starting_points("sweep", case.state, columns, count)
    data = Data("sweep", *(options.get(name) for name in ("data", "batch_size", "shuffle")))
    step = Step("sweep", case.step, start, {}, columns, None, data, options["seed"], case.iterations)
    return Job(step, starts, count, 1, True, lanes, Checkpoint("sweep", None, 1))


@pytest.fixture(scope="module")
def pool() -> Any:
    # A fresh interpreter each: a fork of a process with threads may hang.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.mark.parametrize("name", ["adam", "branching", "random", "digits", "digits in float32"])
def test_another_process_gives_the_same_bits(name: str, pool: Any) -> None:
    want = reference(name)
    assert of_runs(swept(CASES[name], len(want), executor=pool, threads=1)) == want


@cases
def test_a_program_that_was_loaded(name: str) -> None:
    """The program as bytes, run by code that knows nothing of the step."""
    case = CASES[name]
    want = reference(name)[:50]
    maker = job(case, len(want))
    while (missing := maker.core.run(60.0, 1)) is not None:
        assert maker.grow(missing, maker.core.state)
    assert of_core(maker.core) == want
    saved = maker.program.save()
    loaded = _core.load_program(saved)
    assert loaded.save() == saved
    assert loaded.text() == maker.program.text()
    core = _core.Sweep(
        program=loaded, count=len(want), state=maker.starts, first_stream=0, **maker.settings | {"lanes": 8}
    )
    assert core.run(60.0, 2) is None
    assert of_core(core) == want


@cases
def test_stopped_and_gone_on_with_anywhere(name: str) -> None:
    """Slices of no time at all; between some of them everything moves to another sweep, of another width."""
    case = CASES[name]
    want = reference(name)[:33]
    maker = job(case, len(want), 8)
    core, slices = maker.core, 0
    while core.counters()["running"]:
        missing = core.run(0.0, 1 + slices % 2)
        slices += 1
        if missing is not None:
            assert maker.grow(missing, core.state)
            core.extend(maker.program)
        if slices % 5 == 0:
            fresh = _core.Sweep(
                program=_core.load_program(maker.program.save()), count=len(want), state=maker.starts, first_stream=0,
                **maker.settings | {"lanes": (8, 16, 3, 512)[slices // 5 % 4]},
            )  # fmt: skip
            fresh.resume(core.state, core.value, core.history, core.iterations, core.stopped)
            core = maker.core = fresh
    assert slices >= case.iterations
    assert of_core(core) == want


@cases
def test_a_part_of_the_runs_elsewhere(name: str) -> None:
    """As `executor=` does it: the middle of a sweep, as a sweep of its own."""
    case = CASES[name]
    want = reference(name)
    maker = job(case, len(want))
    while (missing := maker.core.run(60.0, 1)) is not None:
        assert maker.grow(missing, maker.core.state)
    first, last = len(want) // 3, len(want) // 3 + 3
    fresh = job(case, len(want)).core
    sources = [
        (kind, value[first:last] if kind == "swept" else value, leaf) for kind, value, leaf in maker.settings["sources"]
    ]
    part = {
        "settings": {
            **maker.settings, "sources": sources, "count": last - first, "first_stream": first,
            "state": [leaf[first:last] for leaf in maker.starts],
        },
        "threads": 2,
        **{key: [leaf[first:last] for leaf in getattr(fresh, key)] for key in ("state", "value", "history")},
        **{key: getattr(fresh, key)[first:last] for key in ("iterations", "stopped")},
    }  # fmt: skip
    result = run_part(maker.program.save(), part, 60.0)
    assert result["missing"] is None
    for key in ("state", "history"):
        for got, all_runs in zip(result[key], getattr(maker.core, key), strict=True):
            assert got.tobytes() == all_runs[first:last].tobytes()


@cases
def test_checkpoints(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    want, options = reference(name), {"checkpoint_every": 1}
    for iterations in (case.iterations // 3, case.iterations // 2, case.iterations):
        run = looped(case, 0, iterations=iterations, checkpoint=tmp_path / "loop", **options)
        runs = swept(case, 7, iterations=iterations, checkpoint=tmp_path / "sweep", lanes=3, **options)
    assert of_run(run) == want[0]
    assert of_runs(runs) == want[:7]


@cases
def test_recording_less_changes_nothing(name: str) -> None:
    """Stretches between records are longer; what lies between them is left out."""
    case = CASES[name]
    every = swept(case, 7)
    for apart in (2, 3, case.iterations):
        rare = swept(case, 7, record_every=apart)
        for whole, part in zip(leaves(every.history), leaves(rare.history), strict=True):
            assert np.ascontiguousarray(whole[:, apart - 1 :: apart]).tobytes() == part.tobytes()
        for a, b in zip(leaves(every.state), leaves(rare.state), strict=True):
            assert a.tobytes() == b.tobytes()
    none = swept(case, 7, record_every=None)
    assert [x.tobytes() for x in leaves(none.state)] == [x.tobytes() for x in leaves(every.state)]


# ---- instruction sets and executors ------------------------------------------------------------------------------


def summary() -> dict[str, Any]:
    """Hashes of every case as one run, as lanes, and in plain Python."""
    out: dict[str, Any] = {
        "isa": _core.build_info()["isa_used"],
        "executors": {name: swept(case, 2, threads=1).execution.executor for name, case in CASES.items()},
    }
    for name, case in CASES.items():
        few = 3 if case.iterations < 10 else 60
        out[name] = [
            of_run(looped(case, 0)),
            of_runs(swept(case, few, threads=1)),
            of_runs(swept(case, 2, compiled=False)),
        ]
    out["calls"] = calls()
    return out


def calls() -> list[str]:
    """Hashes of programs that are called again and again: the first call is interpreted in any case."""

    def valley(x: Any) -> Any:
        return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()

    out = []
    for function, n in ((dt.value_and_grad(valley), 3), (dt.hessian(valley), 20), (dt.grad(valley), 1000)):
        program = dt.trace(function, np.zeros(n))
        results = [program(np.linspace(-1.5, k, n)) for k in range(4)]
        out.append(digest(0, "", *map(np.asarray, leaves(results))))
    return out


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    return summary()


@pytest.mark.parametrize("executor", ["machine", "interpreter"])
@pytest.mark.parametrize("isa", ["avx512", "avx2", "generic"])
def test_instruction_sets_and_executors(isa: str, executor: str, here: dict[str, Any]) -> None:
    build = _core.build_info()
    order = ["generic", "avx2", "avx512"]
    if order.index(isa) > order.index(build["isa_best"]):
        pytest.skip(f"this machine has no {isa}")
    if not build["fma"]:
        pytest.skip("without fused multiply-add there is one instruction set, with bits of its own")
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    chosen = {"DUALTAPE_ISA": isa, "DUALTAPE_EXECUTOR": executor, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, __file__], env=os.environ | chosen,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert there.pop("isa") == isa
    used = there.pop("executors")
    if executor == "machine" and isa != "generic":
        assert {"descent", "momentum", "adam", "backtracking", "descent in float32"} <= {
            name for name in used if used[name] == "machine"
        }
    else:
        assert set(used.values()) == {"interpreter"}
    assert there == {name: here[name] for name in [*CASES, "calls"]}


if __name__ == "__main__":
    print(json.dumps(summary()))
