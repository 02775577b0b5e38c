# SPDX-License-Identifier: MIT
"""Results of sweeps in tables (pandas, xarray) and in files. All data is made up."""

from __future__ import annotations

import builtins
import json
import os
import stat
import sys
import zipfile
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np
import pytest
from made_up import RATES, Layer, Pair, line, runs_of, same

from dualtape.loops import _store
from dualtape.loops._over import grid, points
from dualtape.loops._results import Runs

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
