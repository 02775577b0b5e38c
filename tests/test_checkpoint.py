# SPDX-License-Identifier: MIT
"""Checkpoints: a loop that is stopped anywhere, by Ctrl-C or kill -9, goes on with the same bits; what is damaged or
belongs to another loop is refused."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from steps import assert_same_run, backtracking, branching, descent, noisy, seeded

import dualtape as dt

START = (2.0, 2.0)


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that short loops are interrupted in the middle."""
    monkeypatch.setattr("dualtape.loops._drive.SLICE", 1e-4)


class InterruptAfter:
    """Progress that presses Ctrl-C after some slices."""

    def __init__(self, slices: int) -> None:
        self.left = slices

    def __call__(self, done: int, total: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def in_pieces(run: Callable[..., Any], file: Path, pieces: int = 3, **options: Any) -> Any:
    """Interrupt a loop or sweep some times, and let it go on to its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dualtape.loops._drive.SLICE", 0.0)  # as little as can be, on machines of any speed
        for piece in range(pieces):
            got = run(checkpoint=file, progress=InterruptAfter(1 + 3 * piece), **options)
            assert file.exists()
    assert np.any(np.asarray(got.stopped) == "interrupted"), "it was over before it could be interrupted"
    return run(checkpoint=file, **options)


# ---- interrupted and gone on with -----------------------------------------------------------------------------------

LOOPS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "descent": (descent, START, {"learn_rate": 0.1}),
    "schedule": (descent, START, {"learn_rate": dt.schedules.cosine(0.1, 100)}),
    "table": (descent, START, {"learn_rate": lambda k: 0.1 * math.exp(-1e-5 * k)}),
    "table later on": (descent, START, {"learn_rate": lambda k: 0.1 if k < 20_000 else 0.1 * math.exp(-1e-5 * k)}),
    "branching": (branching, (2.9, 0.0), {"learn_rate": 0.2}),
    "line search": (backtracking, START, {"shrink": 0.5}),
    "random": (noisy, 0.0, {"scale": 0.5, "seed": 7}),
    "batches": (
        lambda w, batch, rate: (w - rate * (batch[0] * w - batch[1]).mean(), w),
        0.0,
        {"rate": 0.1, "data": (np.arange(12.0) / 12, np.arange(12.0)), "batch_size": 5, "shuffle": 3},
    ),
    "without a value": (lambda x, a: {"x": x["x"] * a + 1}, {"x": np.ones((2, 3))}, {"a": 0.5}),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_go_on_where_they_were(name: str, tmp_path: Path) -> None:
    step, start, options = LOOPS[name]
    options = {"iterations": 50_000, "record_every": 1000} | options
    whole = dt.loop(step, start, **options)
    got = in_pieces(lambda **more: dt.loop(step, start, **more), tmp_path / "loop.npz", **options)
    assert_same_run(got, whole)
    # what is done is not done again, and still there
    again = dt.loop(step, start, checkpoint=tmp_path / "loop.npz", **options)
    assert_same_run(again, whole)
    assert [file.name for file in tmp_path.iterdir()] == ["loop.npz"]


def test_sweeps_go_on_where_they_were(tmp_path: Path) -> None:
    over = dt.points(x1=seeded(40), x2=seeded(40, 1)) * dt.grid(shrink=[0.5, 0.8])
    options: dict[str, Any] = {
        "over": over,
        "iterations": 20_000,
        "record_every": 5000,
        "until": lambda state, value: value["loss"] < 1e-26,
        "lanes": 8,
    }
    start = lambda x1, x2: (x1, x2)  # noqa: E731
    whole = dt.sweep(backtracking, start, **options)
    got = in_pieces(lambda **more: dt.sweep(backtracking, start, **more), tmp_path / "sweep.npz", **options)
    assert_same_run(got, whole)


def test_sweeps_with_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    options: dict[str, Any] = {"over": dt.grid(scale=np.linspace(0, 1, 30)), "iterations": 20_000, "seed": 3}
    whole = dt.sweep(noisy, 0.0, **options)
    got = in_pieces(lambda **more: dt.sweep(noisy, 0.0, **more), tmp_path / "sweep.npz", **options)
    assert_same_run(got, whole)


def test_more_iterations_go_on(tmp_path: Path) -> None:
    file = tmp_path / "loop.npz"
    for learn_rate in (0.1, dt.schedules.time_based_decay(0.1, 0.01), lambda k: 0.1 * math.exp(-0.01 * k)):
        options: dict[str, Any] = {"learn_rate": learn_rate, "record_every": 10}
        dt.loop(descent, START, iterations=30, checkpoint=file, **options)
        got = dt.loop(descent, START, iterations=75, checkpoint=file, **options)
        assert_same_run(got, dt.loop(descent, START, iterations=75, **options))
        assert got.history.shape == (7,)
        file.unlink()
    over = dt.grid(learn_rate=[0.1, 0.2, 0.25])
    dt.sweep(descent, START, iterations=30, over=over, checkpoint=file, record_every=10)
    got_runs = dt.sweep(descent, START, iterations=75, over=over, checkpoint=file, record_every=10)
    assert_same_run(got_runs, dt.sweep(descent, START, iterations=75, over=over, record_every=10))
    assert got_runs.stopped.tolist() == ["iterations", "iterations", "nonfinite"]


def test_fewer_iterations_do_not(tmp_path: Path) -> None:
    file = tmp_path / "loop.npz"
    dt.loop(descent, START, iterations=30, learn_rate=0.1, checkpoint=file)
    with pytest.raises(
        ValueError, match=r"has done 30 iterations already; got iterations=20; ask for at least as many"
    ):
        dt.loop(descent, START, iterations=20, learn_rate=0.1, checkpoint=file)


def test_runs_that_have_stopped_stay_stopped(tmp_path: Path) -> None:
    file = tmp_path / "loop.npz"
    options: dict[str, Any] = {"learn_rate": 0.1, "until": lambda state, loss: loss < 1e-6, "checkpoint": file}
    first = dt.loop(descent, START, iterations=1000, record_every=1, **options)
    again = dt.loop(descent, START, iterations=2000, record_every=1, **options)
    assert_same_run(again, first)
    assert first.stopped == "until"


def test_a_step_may_move_in_its_file(tmp_path: Path) -> None:
    """Lines are no part of what a step computes."""
    source = "def step(x, a):\n    if x > 5:\n        return x * a\n    return x + a\n"
    steps = []
    for text in (source, "\n\n# more\n" + source):
        names: dict[str, Any] = {}
        exec(compile(text, str(tmp_path / "train.py"), "exec"), names)
        steps.append(names["step"])
    dt.loop(steps[0], 0.0, iterations=30, a=0.5, checkpoint=tmp_path / "loop.npz")
    got = dt.loop(steps[1], 0.0, iterations=50, a=0.5, checkpoint=tmp_path / "loop.npz")
    assert_same_run(got, dt.loop(steps[0], 0.0, iterations=50, a=0.5))


def test_checkpoint_every_counts_iterations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr("dualtape.loops._checkpoint.write_atomically", lambda path, arrays: written.append(arrays))
    dt.loop(descent, START, iterations=200_000, learn_rate=0.1, checkpoint=tmp_path / "x.npz", checkpoint_every=50_000)
    counts = [int(arrays["iterations"][0]) for arrays in written]
    assert counts[-1] == 200_000
    assert 2 <= len(counts) <= 5
    assert all(b - a >= 50_000 for a, b in itertools.pairwise(counts[:-1]))


# ---- killed ---------------------------------------------------------------------------------------------------------

PROGRAM = """
    import sys
    import numpy as np
    import dualtape as dt
    from dualtape.loops import _drive
    _drive.SLICE = 0.01
    def loss(w):
        return ((w * w - 2.0) ** 2).sum()
    def step(state, rate, iteration):
        w, count = state
        g = dt.dlfeval(lambda w: dt.dlgradient(loss(w), w), w)
        w = w - rate * g + 1e-3 * dt.random.normal(size=3)
        if count > 6:
            return (w * 0.5, count * 0.0), loss(w)
        return (w, count + 1.0), loss(w)
    file, kind = sys.argv[1:]
    options = dict(iterations=2_000_000, record_every=1000, checkpoint=file or None, checkpoint_every=1)
    print("begun", flush=True)
    if kind == "loop":
        out = dt.loop(step, (np.ones(3), 0.0), rate=0.01, **options)
    else:
        options["iterations"] = 150_000
        out = dt.sweep(step, (np.ones(3), 0.0), over=dt.grid(rate=np.linspace(0.001, 0.05, 40)), lanes=8, **options)
    np.savez(sys.stdout.buffer, *out.state, out.value, out.history, out.iterations, out.stopped)
"""


def start_program(file: Path | str, kind: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(file), kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal of POSIX")
@pytest.mark.parametrize("kind", ["loop", "sweep"])
def test_kill_9(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "run.npz"
    whole = start_program("", kind).communicate()[0]
    kills = 0
    for attempt in range(4):
        with start_program(file, kind) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            before = file.stat().st_mtime_ns if file.exists() else 0
            while process.poll() is None and (not file.exists() or file.stat().st_mtime_ns == before):
                time.sleep(0.001)  # until it has written again
            time.sleep(0.013 * attempt)  # and to another place between two writes
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
        kills += process.returncode == -signal.SIGKILL
        with np.load(file) as arrays:  # whole, whenever it was
            assert int(arrays["iterations"].max()) > 0
    assert kills >= 3
    with np.load(file) as arrays:
        assert (arrays["stopped"] == 0).any(), "it was over before it could be killed"
    assert start_program(file, kind).communicate()[0] == whole


# ---- damaged, foreign -----------------------------------------------------------------------------------------------


def expect_refused(file: Path, words: str, **options: Any) -> None:
    content = file.read_bytes()
    with pytest.raises(ValueError, match=words):
        dt.loop(descent, START, **{"iterations": 30, "learn_rate": 0.1, "checkpoint": file} | options)
    assert file.read_bytes() == content  # it is left alone


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "loop.npz"
    dt.loop(descent, START, iterations=30, learn_rate=0.1, checkpoint=file)
    whole = file.read_bytes()
    for bad in (b"", b"nonsense", whole[:-1], whole[: len(whole) // 2], whole[:100]):
        file.write_bytes(bad)
        expect_refused(file, r"loop: .*loop\.npz is no checkpoint, or is damaged \(.*delete it to start anew")
    # a flipped bit in any array is found
    rng = np.random.default_rng(0)
    file.write_bytes(whole)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    assert len(members) > 8
    for i, member in enumerate(members):
        end = members[i + 1].header_offset if i + 1 < len(members) else whole.index(b"PK\x01\x02")
        assert end - member.file_size > member.header_offset
        changed = bytearray(whole)
        changed[end - 1 - int(rng.integers(min(member.file_size - 128, 8)))] ^= 4  # the data behind NumPy's header
        file.write_bytes(bytes(changed))
        expect_refused(file, r"no checkpoint, or is damaged|has format")


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.npz"
    np.savez(file, x=np.ones(3))
    expect_refused(file, r"is no checkpoint, or is damaged \(KeyError")
    dt.sweep(descent, START, iterations=3, over=dt.grid(learn_rate=[0.1, 0.2])).save(file)
    expect_refused(file, r"is no checkpoint")
    np.save(tmp_path / "x.npy", np.ones(3))
    expect_refused(tmp_path / "x.npy", r"is no checkpoint")
    file.write_bytes(b"\x80\x04]\x94.")  # a pickle
    expect_refused(file, r"is no checkpoint")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="is no checkpoint"):
        dt.loop(descent, START, iterations=3, learn_rate=0.1, checkpoint=tmp_path / "folder")


def test_newer_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "loop.npz"
    dt.loop(descent, START, iterations=30, learn_rate=0.1, checkpoint=file)
    with np.load(file) as stored:
        arrays = dict(stored)
    np.savez(file, **arrays | {"version": np.array(2)})
    expect_refused(file, r"has format 2, this dualtape reads 1")


def other_step(state: Any, learn_rate: Any) -> Any:
    (x1, x2), loss = descent(state, learn_rate)
    return (x1, x2 + 0.0 * x1), loss + 1


OTHERS: dict[str, dict[str, Any]] = {
    "step": {"step": other_step},
    "start": {"state": (2.0, 2.5)},
    "rate": {"learn_rate": 0.2},
    "schedule": {"learn_rate": dt.schedules.constant(0.1)},
    "table": {"learn_rate": lambda k: math.exp(-float(k))},
    "until": {"until": lambda state, loss: loss < 0},
    "records": {"record_every": 7},
    "seed": {"seed": 1},
    "contract": {"contract": False},
    "another hyperparameter": {"step": lambda s, learn_rate, m: (s[0] * m, s[1]), "m": 0.5},
}


@pytest.mark.parametrize("name", OTHERS)
def test_checkpoints_of_other_loops_are_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "loop.npz"
    options: dict[str, Any] = {"step": descent, "state": START, "iterations": 30, "learn_rate": 0.1, "checkpoint": file}

    def run(**changes: Any) -> Any:
        given = options | changes
        return dt.loop(given.pop("step"), given.pop("state"), **given)

    run()
    run()
    with pytest.raises(
        ValueError, match=r"belongs to another loop: its step, start, hyperparameters.*give another path"
    ):
        run(**OTHERS[name])


def test_tables_and_data_are_compared(tmp_path: Path) -> None:
    file = tmp_path / "loop.npz"

    def run(rate: float = 0.1, **changes: Any) -> Any:
        options: dict[str, Any] = {"data": np.arange(6.0), "batch_size": 2, "shuffle": 1, "iterations": 9} | changes
        return dt.loop(
            lambda x, batch, table: x + table * batch.sum(),
            0.0,
            table=lambda k: math.exp(-float(k) * rate),
            checkpoint=file,
            **options,
        )

    run()
    for changes in ({"rate": 0.2}, {"data": np.arange(6.0) + 1}, {"batch_size": 3}, {"shuffle": 2}, {"shuffle": None}):
        with pytest.raises(ValueError, match="belongs to another loop"):
            run(**changes)
    run(iterations=12)


def test_checkpoints_of_other_sweeps_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "sweep.npz"
    dt.sweep(descent, START, iterations=30, over=dt.grid(learn_rate=[0.1, 0.2]), checkpoint=file)
    for over in (dt.grid(learn_rate=[0.1, 0.3]), dt.grid(learn_rate=[0.1, 0.2, 0.3])):
        with pytest.raises(ValueError, match=r"sweep: the checkpoint .* belongs to another loop"):
            dt.sweep(descent, START, iterations=30, over=over, checkpoint=file)
    with pytest.raises(ValueError, match="belongs to another loop"):
        dt.loop(descent, START, iterations=30, learn_rate=0.1, checkpoint=file, record_every=None)


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "loop.npz"
    dt.loop(descent, START, iterations=30, learn_rate=0.1, checkpoint=file)
    before = file.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        dt.loop(descent, START, iterations=60, learn_rate=0.1, checkpoint=file)
    assert file.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["loop.npz"]
