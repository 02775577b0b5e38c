# SPDX-License-Identifier: MIT
"""Results of loops and sweeps: single runs, the best one, reasons, text, tables, files. All data is made up here."""

from __future__ import annotations

import builtins
import dataclasses
import json
import math
import os
import pickle
import stat
import sys
import zipfile
from collections import OrderedDict, defaultdict, namedtuple
from typing import Any

import numpy as np
import pytest

import dualtape as dt
from dualtape import tree
from dualtape.loops import _store
from dualtape.loops._over import Over, grid, points
from dualtape.loops._results import Run, Runs

Pair = namedtuple("Pair", "loss norm")
RATES = [0.01, 0.1, 0.2]


@dataclasses.dataclass
class Layer:
    W: Any
    bias: Any
    kind: str = dataclasses.field(default="relu", metadata={"static": True})


def runs_of(over: Over | None = None, records: int = 4, **changes: Any) -> Runs:
    """A sweep of 3 rates and 2 momenta: 40 iterations, a record every 10, one run not finite, some stopped early."""
    over = over or grid(learn_rate=RATES, momentum=[0.0, 0.9])
    shape = over.shape
    flat = np.arange(over.size, dtype=np.float64).reshape(shape)
    iterations = 40 - 10 * (flat.astype(np.int64) % 2)
    stopped = np.where(flat % 2 == 1, "until", "iterations")
    stopped.flat[-1] = "nonfinite"
    loss = 10.0 - flat
    history = loss[..., None] + np.arange(records, 0, -1)
    history = np.where(np.arange(1, records + 1) * 10 > iterations[..., None], np.nan, history)
    parts: dict[str, Any] = {
        "over": over,
        "state": {"x1": flat, "W": flat[..., None, None] + np.ones((2, 3))},
        "value": {"loss": loss, "g": flat[..., None] + np.ones(3)},
        "history": {"loss": history, "g": history[..., None] + np.ones(3)},
        "iterations": iterations,
        "stopped": stopped,
        "record_every": 10,
        "seconds": 0.0123,
        "useful": 0.9,
    }
    return Runs(**(parts | changes))


def line(**changes: Any) -> Runs:
    """One axis, and a value that is a single number."""
    parts: dict[str, Any] = {
        "over": grid(learn_rate=RATES),
        "state": (np.array([1.0, 2.0, 3.0]),),
        "value": np.array([0.5, 0.25, np.nan]),
        "iterations": np.array([5, 4, 2]),
        "stopped": np.array(["iterations", "until", "nonfinite"]),
    }
    return Runs(**(parts | changes))


def same(a: Runs, b: Runs) -> None:
    assert a.over == b.over
    for name in ("state", "value", "history"):
        one, other = getattr(a, name), getattr(b, name)
        tree.check_same(tree.flatten(one)[1], other)
        for path, leaf in tree.leaves_with_paths(one, name):
            again = dict(tree.leaves_with_paths(other, name))[path]
            np.testing.assert_array_equal(again, leaf)
            assert again.dtype == leaf.dtype
    np.testing.assert_array_equal(a.iterations, b.iterations)
    np.testing.assert_array_equal(a.stopped, b.stopped)
    np.testing.assert_array_equal(
        [a.seconds, a.useful, a.record_every or 0], [b.seconds, b.useful, b.record_every or 0]
    )  # NaN is equal here


# ---- one run ----------------------------------------------------------------------------------------------


def test_run() -> None:
    run = Run(
        state={"x1": dt.dlarray(1.0)}, value=dt.dlarray(0.5), history=np.array([3.0, 2.0, 0.5]), iterations=61,
        stopped="until", record_every=20, seconds=0.00123,
    )  # fmt: skip
    assert run.recorded.tolist() == [20, 40, 60]
    assert run.recorded.dtype == np.int64
    assert repr(run).splitlines() == [
        "Run: stopped by until after 61 iterations, in 1.23 ms",
        "  state {'x1': 1}",
        "  value 0.5; history: 3 records, every 20 iterations",
    ]


@pytest.mark.parametrize(
    ("stopped", "iterations", "first"),
    [
        ("iterations", 1234, "Run: ran all of its 1,234 iterations"),
        ("iterations", 1, "Run: ran all of its 1 iteration"),
        ("nonfinite", 7, "Run: stopped: not finite in iteration 7"),
        ("interrupted", 0, "Run: interrupted after 0 iterations"),
    ],
)
def test_run_without_extras(stopped: str, iterations: int, first: str) -> None:
    run = Run(state=(1.0, np.ones((2, 3))), iterations=iterations, stopped=stopped)
    assert repr(run).splitlines() == [first, "  state (1, <2 x 3>)", "  value None; history: nothing"]
    assert run.recorded.size == 0
    assert math.isnan(run.seconds)


def test_a_long_state_is_cut() -> None:
    lines = repr(Run(state=[1.0] * 1000, iterations=1, stopped="until")).splitlines()
    assert len(lines) == 3
    assert lines[1].endswith(" ...")
    assert max(map(len, lines)) < 120


def test_reasons_are_checked() -> None:
    with pytest.raises(ValueError, match=r"Run\(stopped='done'\): there is no such reason"):
        Run(state=1.0, iterations=1, stopped="done")


# ---- many runs --------------------------------------------------------------------------------------------


def test_runs_have_the_axes_of_the_sweep() -> None:
    runs = runs_of()
    assert (runs.shape, runs.size, len(runs)) == ((3, 2), 6, 6)
    assert runs.recorded.tolist() == [10, 20, 30, 40]
    assert runs.iterations.dtype == np.int64
    assert runs.stopped.dtype.kind == "U"
    assert runs.state["W"].shape == (3, 2, 2, 3)


def test_one_of_the_runs() -> None:
    runs = runs_of()
    run = runs[1, 1]
    assert (run.iterations, run.stopped, run.record_every) == (30, "until", 10)
    assert isinstance(run.state["x1"], dt.dlarray)
    assert float(run.state["x1"]) == 3.0
    np.testing.assert_array_equal(dt.extractdata(run.state["W"]), 3.0 + np.ones((2, 3)))
    assert float(run.value["loss"]) == 7.0
    assert run.history["loss"].tolist() == [11.0, 10.0, 9.0]
    assert run.history["g"].shape == (3, 3)
    assert run.recorded.tolist() == [10, 20, 30]
    run.history["loss"][0] = 0  # its own
    assert runs.history["loss"][1, 1, 0] == 11.0
    assert runs[-2, -1].iterations == 30
    assert [r.iterations for r in runs] == runs.iterations.ravel().tolist()


def test_one_axis() -> None:
    runs = line()
    assert runs[1].stopped == runs[(1,)].stopped == runs[np.int64(-2)].stopped == "until"
    assert runs[0].history is None
    assert len(list(runs)) == 3
    assert runs.recorded.size == 0
    single = line(state={"x": np.zeros(3, np.float32)}, value=None)[0]
    assert single.value is None
    assert dt.extractdata(single.state["x"]).dtype == np.float32


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (0, IndexError, r"runs\[0\]: there must be one index per axis; got 1 for axes of \(3, 2\); runs\[0, 0\] is"),
        ((0,), IndexError, r"one index per axis; got 1 for axes of \(3, 2\)"),
        ((3, 0), IndexError, r"no such run; got 3 for 3 of them"),
        ((0, slice(None)), TypeError, r"found by integers; got slice"),
    ],
)
def test_bad_indices(index, error, message) -> None:
    with pytest.raises(error, match=message):
        runs_of()[index]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"iterations": np.ones(6)},
            dt.ShapeError,
            r"Runs\(iterations\): there must be one entry per run; got shape \(6,",
        ),
        ({"stopped": np.array(["until"])}, dt.ShapeError, r"Runs\(stopped\): .*the sweep's axes are \(3, 2\)"),
        (
            {"state": {"x1": np.ones(6)}},
            dt.ShapeError,
            r"Runs\(state\['x1'\]\): results have the sweep's axes in front",
        ),
        ({"value": np.ones(())}, dt.ShapeError, r"Runs\(value\)"),
        ({"record_every": None}, ValueError, r"a history needs to know its iterations"),
        (
            {"history": [np.ones((3, 2, 4)), np.ones((3, 2, 5))]},
            dt.ShapeError,
            r"Runs\(history\[1\]\): .*the first axes must be \(3, 2, 4\)",
        ),
    ],
)
def test_results_that_do_not_fit(changes, error, message) -> None:
    with pytest.raises(error, match=message):
        runs_of(**changes)


def test_runs_pickle_without_their_reasons() -> None:
    runs = runs_of(why=lambda index: "because")
    again = pickle.loads(pickle.dumps(runs))
    same(again, runs)
    with pytest.raises(ValueError, match="needs the step itself"):
        again.why((2, 1))


# ---- the best ---------------------------------------------------------------------------------------------


def test_the_best_run_is_finite() -> None:
    runs = runs_of()
    assert runs.value["loss"].min() == runs.value["loss"][2, 1]  # which is not finite, and does not count
    assert runs.best() == (2, 0)
    assert runs.best("value['loss']") == runs.best("value.loss") == (2, 0)
    assert runs.best("state['x1']") == runs.best("state.x1") == (0, 0)
    assert runs.best(lambda runs: runs.iterations) == (0, 1)
    assert runs.over.at(runs.best()) == {"learn_rate": 0.2, "momentum": 0.0}
    assert type(line().best()) is int
    assert line().best() == 1
    assert line(value=np.array([np.nan, -np.inf, 0.0])[::-1], stopped=["until"] * 3).best() == 0


@pytest.mark.parametrize(
    "value",
    [
        Pair(np.array([2.0, 1.0, 3.0]), np.zeros(3)),
        {"loss": np.array([2.0, 1.0, 3.0]), "a": np.zeros(3)},
        [np.array([2.0, 1.0, 3.0])],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_run_is_judged_by(value: Any) -> None:
    assert line(value=value, stopped=["until"] * 3).best() == 1


def test_the_first_of_equals() -> None:
    assert line(value=np.array([1.0, 0.5, 0.5]), stopped=["until"] * 3).best() == 1


def test_the_best_on_the_way() -> None:
    history = {"loss": np.array([[9.0, 1.0], [5.0, np.nan], [np.inf, np.nan]])}
    runs = line(value={"loss": np.array([3.0, 2.0, np.nan])}, history=history, record_every=2)
    assert runs.best() == 1
    assert runs.best(last=False) == 0
    assert runs.best("value.loss", last=False) == 0


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda: line(stopped=["nonfinite"] * 3).best(),
            ValueError,
            r"there is no best run; got 3 runs of which none is f",
        ),
        (
            lambda: line(value=(np.ones(3), np.ones((3, 2)))).best(),
            ValueError,
            r"best\(by=None\): it is not clear which value is meant.*value\[0\] of shape \(\), "
            r'value\[1\] of shape \(2,\); pass by="value\[0\]" \(or state\[0\]\)',
        ),
        (lambda: line(value=None).best(), ValueError, r'got no value from the step; pass by="state\[0\]"'),
        (
            lambda: line(value=None, state=np.ones((3, 2))).best(),
            ValueError,
            r"not clear.*pass by=a function of the runs",
        ),
        (lambda: line().best("value.loss"), ValueError, r"got 'value\.loss'; these runs have value, state\[0\]\."),
        (lambda: line().best(3), ValueError, r"got 3; these runs have"),
        (
            lambda: runs_of().best("state['W']"),
            dt.ShapeError,
            r"one number each; got \"state\['W'\]\", which has shape \(2, 3",
        ),
        (
            lambda: runs_of().best(lambda runs: runs.state["W"]),
            dt.ShapeError,
            r"got shape \(3, 2, 2, 3\); the shape wanted",
        ),
        (lambda: line().best(last=False), ValueError, r"recorded nothing; .*record_every=100"),
        (
            lambda: runs_of().best("state.x1", last=False),
            ValueError,
            r"the history has history\['g'\], history\['loss'\]",
        ),
        (lambda: runs_of().best(len, last=False), ValueError, "a function of the runs says itself what counts"),
    ],
)
def test_no_best(act, error, message) -> None:
    with pytest.raises(error, match=message):
        act()


def test_reasons() -> None:
    asked: list[int] = []

    def why(index: int) -> str:
        asked.append(index)
        return "division by zero in my_loss"

    runs = runs_of(why=why)
    assert runs.why((2, 1)) == runs.why(5) == runs.why((-1, -1)) == "division by zero in my_loss"
    assert asked == [5, 5, 5]
    with pytest.raises(ValueError, match=r"why\(0\): only a run that is not finite .*stopped as 'iterations'"):
        runs.why(0)
    with pytest.raises(IndexError, match="no such run"):
        runs.why(6)


# ---- text -------------------------------------------------------------------------------------------------


def test_repr() -> None:
    assert repr(runs_of()).splitlines() == [
        "Runs: 6 runs over learn_rate (3) x momentum (2) in 12.3 ms",
        "  3 ran all iterations, 2 stopped by until, 1 not finite",
        "  best: loss 6 at learn_rate = 0.2, momentum = 0: runs[2, 0]",
    ]
    assert repr(line(value=None)).endswith('best: say by what: runs.best(by="...")')
    assert repr(line(stopped=["nonfinite"] * 3)).endswith("best: none: no run is finite")
    arrays = line(over=grid(w=np.arange(6.0).reshape(3, 2)))
    assert repr(arrays).endswith("best: value 0.25 at w = [2. 3.]: runs[1]")


def test_summary() -> None:
    assert runs_of().summary().splitlines() == [
        "6 runs over learn_rate (3) x momentum (2) in 12.3 ms",
        "  ran all iterations             3   50.0 %",
        "  stopped by until               2   33.3 %",
        "  not finite                     1   16.7 %",
        "  iterations: least 30, 5 % 30, median 30, 95 % 40, most 40",
        "  work: 210 iterations, 58.6 us each; 90.0 % of what the lanes did was useful",
        "  best: loss 6 at learn_rate = 0.2, momentum = 0: runs[2, 0]",
    ]
    assert runs_of().summary("state.x1").endswith("best: state.x1 0 at learn_rate = 0.01, momentum = 0: runs[0, 0]")
    assert "work" not in line().summary()
    with pytest.raises(ValueError, match="got 'loss'"):
        line().summary("loss")


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.5e-8, "15 ns"), (2.5e-5, "25 us"), (0.5, "500 ms"), (61.2, "61.2 s"), (600, "10.0 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert repr(line(seconds=seconds)).splitlines()[0].endswith(f"in {text}")


# ---- tables -----------------------------------------------------------------------------------------------


def test_xarray() -> None:
    pytest.importorskip("xarray")
    runs = runs_of()
    data = runs.to_xarray()
    assert dict(data.sizes) == {
        "learn_rate": 3, "momentum": 2, "record": 4, "state.W.axis0": 2, "state.W.axis1": 3, "value.g.axis0": 3,
    }  # fmt: skip
    assert set(data.data_vars) == {
        "state.x1", "state.W", "value.loss", "value.g", "history.loss", "history.g", "iterations", "stopped",
    }  # fmt: skip
    assert data["history.g"].dims == ("learn_rate", "momentum", "record", "value.g.axis0")
    assert float(data["history.loss"].sel(learn_rate=0.1, momentum=0.9, record=30)) == 9.0
    assert data["record"].attrs == {"long_name": "iteration"}
    assert data.attrs["record_every"] == 10
    np.testing.assert_array_equal(data["state.W"], runs.state["W"])
    np.testing.assert_array_equal(data["stopped"], runs.stopped)


def test_xarray_of_points_arrays_and_names_that_are_taken() -> None:
    pytest.importorskip("xarray")
    over = points(x1=[1.0, 2.0], value=[3.0, 4.0]) * grid(w=np.ones((1, 2)), iterations=[5.0])
    shape = over.shape
    data = Runs(
        over=over,
        state=[np.zeros(shape)],
        value=np.zeros(shape),
        iterations=np.ones(shape),
        stopped=np.full(shape, "until"),
    ).to_xarray()
    assert data["x1"].dims == data["over.value"].dims == ("point",)
    assert data["w"].dims == ("w", "w.axis0")
    assert data["over.iterations"].dims == ("over.iterations",)
    assert data["value"].dims == data["state.0"].dims == data["iterations"].dims == ("point", "w", "over.iterations")
    assert "record" not in data.sizes
    assert "record_every" not in data.attrs


def test_names_that_would_be_the_same_are_paths() -> None:
    pytest.importorskip("xarray")
    state = {"a.b": np.zeros(3), "a": {"b": np.ones(3)}}
    data = line(state=state).to_xarray()
    assert {"state['a.b']", "state['a']['b']"} <= set(data.data_vars)
    assert line(state=state, stopped=["until"] * 3).best("state['a.b']") == 0


def test_pandas() -> None:
    pytest.importorskip("pandas")
    runs = runs_of()
    frame = runs.to_pandas()
    assert list(frame.columns) == ["learn_rate", "momentum", "state.x1", "value.loss", "iterations", "stopped"]
    assert frame["learn_rate"].tolist() == [0.01, 0.01, 0.1, 0.1, 0.2, 0.2]
    assert frame["value.loss"].tolist() == runs.value["loss"].ravel().tolist()
    assert frame["stopped"].tolist() == runs.stopped.ravel().tolist()
    assert frame["iterations"].dtype == np.int64
    over = grid(value=RATES) * points(w=np.ones((1, 2)))
    taken = line(over=over, **{n: getattr(line(), n)[:, None] for n in ("value", "iterations", "stopped")}, state=())
    assert list(taken.to_pandas().columns) == ["over.value", "value", "iterations", "stopped"]


@pytest.mark.parametrize(("method", "package"), [("to_xarray", "xarray"), ("to_pandas", "pandas")])
def test_a_table_without_its_package(monkeypatch: pytest.MonkeyPatch, method: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{method}\(\): tables need {package}.*pip install dualtape\[results\]"):
        getattr(runs_of(), method)()


# ---- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "runs",
    [
        runs_of(),
        line(),
        line(state=None, value=None, seconds=1.5),
        line(
            state=[
                (np.ones((3, 2), np.float32), None),
                [],
                {},
                {"a": {1: np.zeros((3, 0)), 2.5: np.ones(3), False: ()}},
            ]
        ),
        line(over=points(a=np.float32([1, 2, 3]), w=np.ones((3, 2, 2)))),
        line(state={"ключ": np.ones(3), "a/b\0\n": np.ones(3), "": np.ones(3), None: np.ones(3, bool)}),
        runs_of(over=points(a=RATES) * grid(b=[1.0]) * points(c=[1.0, 2.0])),
        runs_of(records=0),
    ],
    ids=lambda runs: f"{runs.shape}",
)
def test_files_bring_everything_back(runs: Runs, tmp_path: Any) -> None:
    path = tmp_path / "runs.npz"
    runs.save(path)
    again = Runs.load(str(path))
    same(again, runs)
    assert again.over.dims == runs.over.dims
    assert repr(again) == repr(runs)
    again.save(path)
    same(Runs.load(path), runs)
    with np.load(path, allow_pickle=False) as archive:  # an ordinary .npz
        np.testing.assert_array_equal(archive["iterations"], runs.iterations)


def test_other_containers_come_back_as_dicts(tmp_path: Any) -> None:
    state = [Layer(np.ones(3), np.zeros(3)), OrderedDict(b=np.ones(3), a=np.zeros(3)), defaultdict(list, x=np.ones(3))]
    line(state=state, value=Pair(np.ones(3), np.zeros(3))).save(tmp_path / "runs")
    again = Runs.load(tmp_path / "runs")
    assert [type(item) for item in again.state] == [dict] * 3
    assert {k: v.tolist() for k, v in again.state[0].items()} == {"W": [1.0] * 3, "bias": [0.0] * 3}
    assert again.state[1]["b"].tolist() == [1.0] * 3
    assert again.value["norm"].tolist() == [0.0] * 3
    assert again.best() == 0


def test_files_appear_when_they_are_complete(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.npz"
    line().save(path)
    before = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    for module, name in ((_store.np, "savez"), (os, "fsync"), (os, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with pytest.raises(OSError, match="the disk is full"):
                runs_of().save(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["runs.npz"]


def test_files_have_the_permissions_of_new_files(tmp_path: Any) -> None:
    (tmp_path / "plain").write_text("")
    line().save(tmp_path / "runs")
    assert stat.S_IMODE((tmp_path / "runs").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_link_stays_a_link(tmp_path: Any) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    line().save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    same(Runs.load(tmp_path / "real"), line())


def rewrite(path: Any, change: Any) -> None:
    """Change the header or the members of a saved file."""
    with np.load(path) as archive:
        members = dict(archive)
    header = json.loads(str(members["header"]))
    change(header, members)
    members["header"] = np.array(json.dumps(header))
    with open(path, "wb") as stream:
        np.savez(stream, **members)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda h, m: h.update(version=2, dualtape="9.0"),
            r"newer than this dualtape; got format 2, written by dualtape 9",
        ),
        (lambda h, m: h.update(format="other"), r"this is no file of runs; got an \.npz of another program"),
        (lambda h, m: h.pop("over"), r"the file is damaged; got KeyError"),
        (lambda h, m: h.update(state=["set", ["*"]]), r"damaged; got ValueError: unknown container 'set'"),
        (lambda h, m: h.update(state=["list", ["*", "*"]]), r"the file is damaged"),
        (lambda h, m: h.update(version="x"), r"the file is damaged"),
        (lambda h, m: m.pop("state.0"), r"the file is damaged"),
        (lambda h, m: m.pop("iterations"), r"the file is damaged"),
        (lambda h, m: m.update(iterations=np.ones(2)), r"damaged; got ShapeError: Runs\(iterations\)"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Any, change: Any, message: str) -> None:
    path = tmp_path / "runs.npz"
    line().save(path)
    rewrite(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        Runs.load(path)
    assert str(caught.value).startswith(f"load({str(path)!r}): ")


def test_foreign_files(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"this is no file of runs; got something else; Runs\.load reads what"):
        Runs.load(path)
    np.save(path.with_suffix(".npy"), np.ones(3))
    with pytest.raises(ValueError, match="this is no file of runs"):
        Runs.load(path.with_suffix(".npy"))
    np.savez(path.with_suffix(".npz"), a=np.ones(3))
    with pytest.raises(ValueError, match=r"got another kind of \.npz or \.zip"):
        Runs.load(path.with_suffix(".npz"))
    np.savez(path.with_suffix(".npz"), header=np.array({"format": "dualtape.runs"}, dtype=object))
    with pytest.raises(ValueError, match=r"damaged.*Object arrays cannot be loaded"):
        Runs.load(path.with_suffix(".npz"))
    with pytest.raises(FileNotFoundError):
        Runs.load(tmp_path / "nowhere")


def test_broken_files(tmp_path: Any) -> None:
    path = tmp_path / "runs.npz"
    runs_of().save(path)
    whole = path.read_bytes()
    for length in (1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="no file of runs"):
            Runs.load(path)
    with zipfile.ZipFile(tmp_path / "runs.npz", "w") as archive:
        archive.writestr("header.npy", b"nonsense")
    with pytest.raises(ValueError, match="damaged"):
        Runs.load(path)
    position = whole.index(np.float64(10.0).tobytes())
    path.write_bytes(whole[:position] + b"\1" + whole[position + 1 :])
    with pytest.raises(ValueError, match="damaged; got BadZipFile: Bad CRC-32"):
        Runs.load(path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({(1, 2): np.ones(3)}, r"keys of a saved tree are strings, numbers, bools or None; got \(1, 2\) of type tuple"),
        ({np.int64(3): np.ones(3)}, r"of type int64"),
        ([np.array([None, 1, 2])], r"save\(state\.0\): arrays of objects cannot be saved"),
    ],
)
def test_what_cannot_be_saved(tmp_path: Any, state: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        line(state=state).save(tmp_path / "runs")
    assert not os.listdir(tmp_path)


def test_nothing_optional_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in ("xarray", "pandas", "matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    runs = runs_of()
    runs.save(tmp_path / "runs")
    assert Runs.load(tmp_path / "runs").summary() == runs.summary()
