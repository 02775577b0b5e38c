# SPDX-License-Identifier: MIT
"""Arrays of other libraries: in and out by DLPack without a copy, columns of pandas and arrays of xarray as data."""

from __future__ import annotations

import gc
import operator as op
import weakref
from typing import Any

import numpy as np
import pytest

import dualtape as dt
from dualtape import array_api


def loss(w: Any, x: Any) -> Any:
    return ((x * w - 1.0) ** 2).sum()


# ---- DLPack ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_])
def test_memory_is_shared_both_ways(dtype: Any) -> None:
    x = np.arange(12).reshape(3, 4).astype(dtype)[::2, ::-1]
    inside = dt.from_dlpack(x)
    assert (inside.dtype, inside.shape) == (x.dtype, x.shape)
    np.testing.assert_array_equal(dt.extractdata(inside), x)
    if x.dtype.kind == "f":
        assert np.shares_memory(np.from_dlpack(inside[:, ::-1]), x)
        assert np.shares_memory(np.asarray(array_api.from_dlpack(x, copy=False)), x)
    assert not np.shares_memory(np.asarray(array_api.from_dlpack(x, copy=True)), x)


def test_axes_that_run_backwards_leave_as_copies() -> None:
    """PyTorch ends the process at negative strides; whoever says copy=False gets them all the same."""
    x = dt.dlarray(np.arange(6.0).reshape(2, 3))
    for view in (x[::-1], x[:, ::-1], x[::-1, ::-1]):
        out = np.from_dlpack(view)
        assert min(out.strides) > 0
        np.testing.assert_array_equal(out, np.asarray(view))
    out = np.asarray(array_api.from_dlpack(x[::-1], copy=False))
    assert out.tolist() == [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]


def test_what_comes_in_is_never_written_to() -> None:
    x = np.ones(4)
    inside = dt.from_dlpack(x)
    inside[1] = 5.0
    inside += 1.0
    np.testing.assert_array_equal(x, 1.0)
    assert inside.tolist() == [2.0, 6.0, 2.0, 2.0]
    x[0] = 7.0  # somebody else's memory
    assert dt.from_dlpack(x).tolist()[0] == 7.0


def test_memory_lives_as_long_as_it_is_needed() -> None:
    class Owner(np.ndarray):
        pass

    x = np.arange(1000.0).view(Owner)
    gone = weakref.ref(x)
    inside = dt.from_dlpack(x)
    del x
    gc.collect()
    assert gone() is not None
    assert float(inside.sum()) == 499500.0
    del inside
    gc.collect()
    assert gone() is None


def test_other_dtypes_are_converted() -> None:
    for dtype in (np.int32, np.uint8, np.float16):
        inside = dt.from_dlpack(np.arange(3).astype(dtype))
        assert inside.dtype in (np.int64, np.float64, np.float32)
        assert inside.tolist() == [0, 1, 2]


def test_what_cannot_come_in_or_go_out() -> None:
    with pytest.raises(dt.DTypeError, match="complex"):
        dt.from_dlpack(np.ones(2, complex))
    with pytest.raises(dt.DTypeError, match=r"pass an array that has __dlpack__, or use dlarray\(x\)"):
        dt.from_dlpack([1.0, 2.0])

    class Far:
        """As arrays on an accelerator are."""

        def __dlpack__(self, **_: Any) -> Any:
            raise AssertionError("the device says enough")

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

    with pytest.raises(BufferError, match=r"it is on the device \(2, 0\); copy the array there first"):
        dt.from_dlpack(Far())
    with pytest.raises((dt.TapeError, dt.TraceError), match="__dlpack__"):
        dt.grad(lambda w: float(np.from_dlpack(w).sum()))(np.ones(2))


def test_gradients_of_shared_memory() -> None:
    x = np.linspace(0.0, 1.0, 5)
    shared = dt.from_dlpack(x)
    np.testing.assert_array_equal(dt.grad(loss)(dt.dlarray(2.0), shared), dt.grad(loss)(dt.dlarray(2.0), x))
    np.testing.assert_array_equal(dt.grad(loss, 1)(2.0, shared), 4.0 * (2.0 * x - 1.0))


def test_pytorch() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    inside = dt.from_dlpack(tensor)
    assert inside.tolist() == tensor.tolist()
    assert np.asarray(inside).ctypes.data == tensor.data_ptr()
    out = torch.from_dlpack(inside)
    assert out.tolist() == tensor.tolist()
    assert out.data_ptr() == tensor.data_ptr()
    assert torch.from_dlpack(inside[::-1]).tolist() == tensor.flip(0).tolist()
    assert dt.dlarray(tensor).tolist() == tensor.tolist()
    with pytest.raises((BufferError, RuntimeError), match="gradient"):
        dt.from_dlpack(torch.ones(2, requires_grad=True))


def test_jax() -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    array = jax.numpy.arange(6.0).reshape(2, 3)
    assert dt.from_dlpack(array).tolist() == array.tolist()
    assert np.asarray(dt.from_dlpack(array)).ctypes.data == array.unsafe_buffer_pointer()
    assert jax.numpy.from_dlpack(dt.dlarray([1.0, 2.0])).tolist() == [1.0, 2.0]


# ---- tables and labelled arrays -------------------------------------------------------------------------------------


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"x": [0.5, 1.5, 2.5], "y": [1.0, 2.0, 3.0], "name": ["a", "b", "c"]})
    column = table["x"]
    assert dt.dlarray(column).tolist() == column.tolist()
    assert dt.dlarray(table[["x", "y"]]).shape == (3, 2)
    want = float(np.sum(2 * (column * 2.0 - 1.0) * column))
    assert float(dt.grad(lambda w: ((w * column - 1.0) ** 2).sum())(2.0)) == pytest.approx(want)
    run = dt.loop(
        lambda w, batch: w - 0.1 * dt.grad(loss)(w, batch["x"]), 1.0, iterations=4, data={"x": column}, batch_size=2
    )
    by_hand = dt.loop(
        lambda w, batch: w - 0.1 * dt.grad(loss)(w, batch["x"]), 1.0, iterations=4,
        data={"x": column.to_numpy()}, batch_size=2,
    )  # fmt: skip
    assert float(run.state) == float(by_hand.state)
    with pytest.raises(dt.DTypeError):
        dt.dlarray(table["name"])
    with pytest.raises((dt.TapeError, dt.TraceError), match=r"numpy\.asarray"):  # pandas' own products take no others
        dt.grad(lambda w: (column @ w).sum())(np.ones(3))


@pytest.mark.parametrize("operator", [op.add, op.sub, op.mul, op.truediv, op.pow, np.multiply, np.hypot])
def test_pandas_on_the_left(operator: Any) -> None:
    """A Series or DataFrame leaves arithmetic to the dlarray on its right."""
    pandas = pytest.importorskip("pandas", minversion="2.1")
    table = pandas.DataFrame({"x": [0.5, 1.5, 2.5], "y": [1.0, 2.0, 3.0]})
    for data, w in ((table["x"], 2.0), (table["x"], np.array([1.0, 2.0, 3.0])), (table, np.array([2.0, 0.5]))):
        result = operator(data, dt.dlarray(w))
        assert type(result) is dt.dlarray
        np.testing.assert_allclose(dt.extractdata(result), operator(data.to_numpy(), w), rtol=1e-15)
        got = dt.grad(lambda w, data=data: operator(data, w).sum())(w)
        np.testing.assert_array_equal(got, dt.grad(lambda w, data=data: operator(data.to_numpy(), w).sum())(w))
        program = dt.trace(dt.grad(lambda w, data=data: operator(data, w).sum()), w)
        np.testing.assert_allclose(dt.extractdata(program(w)), got, rtol=1e-14)
    assert (table["x"] < dt.dlarray(1.0)).tolist() == [True, False, False]


def test_xarray() -> None:
    xarray = pytest.importorskip("xarray")
    field = xarray.DataArray(np.arange(6.0).reshape(2, 3), dims=("time", "place"))
    assert dt.dlarray(field).tolist() == field.values.tolist()
    assert float(dt.grad(lambda w: (w * field).sum())(2.0)) == 15.0


def test_xarray_around_dlarrays() -> None:
    """On xarray's left side the result keeps its labels, and the derivative, in every mode."""
    xarray = pytest.importorskip("xarray")
    field = xarray.DataArray(np.arange(6.0).reshape(2, 3), dims=("time", "place"))
    w = np.array([1.0, -2.0, 0.5])

    def labelled(w: Any) -> Any:
        return ((field * xarray.DataArray(w, dims="place")).sum("place") ** 2).isel(time=slice(None))

    def plain(w: Any) -> Any:
        return (field.values * w).sum(1) ** 2

    assert labelled(dt.dlarray(w)).dims == ("time",)
    assert float(dt.grad(lambda w: (field * w).sum())(2.0)) == 15.0
    np.testing.assert_allclose(dt.grad(lambda w: labelled(w).sum())(w), dt.grad(lambda w: plain(w).sum())(w))
    for jacobian in (dt.jacfwd, dt.jacrev):
        np.testing.assert_allclose(jacobian(labelled)(w), jacobian(plain)(w))
    np.testing.assert_allclose(*(dt.jvp(f, (w,), (np.ones(3),))[1] for f in (labelled, plain)))
    np.testing.assert_allclose(*(dt.vjp(f, w)[1](np.ones(2))[0] for f in (labelled, plain)))
    np.testing.assert_allclose(*(dt.linearize(f, w)[1](np.ones(3)) for f in (labelled, plain)))
    np.testing.assert_allclose(*(dt.hessian(lambda w, f=f: f(w).sum())(w) for f in (labelled, plain)))
    program = dt.trace(labelled, w)
    np.testing.assert_allclose(dt.extractdata(program(w)), plain(w))
