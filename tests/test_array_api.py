# SPDX-License-Identifier: MIT
"""The namespace of the array-API standard: its names, its defaults, and code that knows nothing but the namespace, with
derivatives through it. (docs/numpy.md says how the standard's own test suite fares.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, value

import dualtape as dt
from dualtape import array_api as xp


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


#: The standard's names, version 2024.12, without fft.
STANDARD = words(
    """
    e inf nan newaxis pi arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like
    tril triu zeros zeros_like astype can_cast finfo iinfo isdtype result_type __array_namespace_info__ abs acos acosh
    add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or bitwise_right_shift
    bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide greater greater_equal hypot
    imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not logical_or
    logical_xor maximum minimum multiply negative nextafter not_equal positive pow real reciprocal remainder round sign
    signbit sin sinh square sqrt subtract tan tanh trunc take take_along_axis matmul matrix_transpose tensordot vecdot
    broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile
    unstack argmax argmin count_nonzero nonzero searchsorted where unique_all unique_counts unique_inverse unique_values
    argsort sort cumulative_sum cumulative_prod max mean min prod std sum var all any diff
    """
)
LINALG = words(
    """
    cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank matrix_transpose outer
    pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
    """
)
METHODS = words(
    """
    __abs__ __add__ __and__ __array_namespace__ __bool__ __dlpack__ __dlpack_device__ __eq__ __float__ __floordiv__
    __ge__ __getitem__ __gt__ __index__ __int__ __invert__ __le__ __lshift__ __lt__ __matmul__ __mod__ __mul__ __ne__
    __neg__ __or__ __pos__ __pow__ __rshift__ __setitem__ __sub__ __truediv__ __xor__ to_device T mT device dtype ndim
    shape size
    """
)


def test_every_name_is_there() -> None:
    assert xp.__array_api_version__ == "2024.12"
    assert [name for name in STANDARD if not hasattr(xp, name)] == []
    assert [name for name in LINALG if not hasattr(xp.linalg, name)] == []
    assert [name for name in METHODS if not hasattr(dt.dlarray, name)] == []
    for name in ("fft", "complex128"):
        with pytest.raises(AttributeError, match="left out"):
            getattr(xp, name)
    with pytest.raises(AttributeError):
        xp.linalg.eig  # noqa: B018


def test_an_array_knows_its_namespace() -> None:
    x = dt.dlarray([[1.0, 2.0], [3.0, 4.0]])
    assert x.__array_namespace__() is xp
    assert x.__array_namespace__(api_version="2022.12") is xp
    with pytest.raises(ValueError, match=r"1999\.12.*2024\.12"):
        x.__array_namespace__(api_version="1999.12")
    assert x.device == "cpu"
    assert x.to_device("cpu") is x
    for device, stream in (("gpu", None), ("cpu", 1)):
        with pytest.raises(ValueError, match="cpu"):
            x.to_device(device, stream=stream)
    assert value(x.mT).tolist() == [[1.0, 3.0], [2.0, 4.0]]
    with pytest.raises(dt.ShapeError, match="no matrices"):
        x[0].mT  # noqa: B018


def test_defaults_and_dtypes() -> None:
    assert xp.asarray([1, 2]).dtype == xp.arange(3).dtype == xp.full(2, 1).dtype == xp.int64
    assert xp.asarray([1.0]).dtype == xp.zeros(2).dtype == xp.eye(2).dtype == xp.float64
    assert xp.asarray([True]).dtype == xp.bool
    info = xp.__array_namespace_info__()
    assert info.default_device() == "cpu"
    assert info.devices() == ["cpu"]
    assert info.capabilities()["boolean indexing"]
    assert set(info.dtypes()) == {"bool", "int64", "float32", "float64"}
    assert set(info.dtypes(kind=("real floating", "unsigned integer"))) == {"float32", "float64"}
    assert info.default_dtypes()["real floating"] == xp.float64
    with pytest.raises(ValueError, match="'real'"):
        info.dtypes(kind="real")
    with pytest.raises(ValueError, match="'gpu'"):
        xp.ones(2, device="gpu")
    assert type(xp.finfo(xp.float32).eps) is float
    assert xp.finfo(xp.ones(1)).bits == 64
    assert xp.iinfo(xp.int64).max == 2**63 - 1
    assert xp.isdtype(xp.float32, "real floating")
    assert xp.can_cast(xp.ones(1, dtype=xp.float32), xp.float64)
    assert not xp.can_cast(xp.float64, xp.float32)


def test_copies() -> None:
    x = xp.ones(3)
    assert xp.asarray(x) is xp.asarray(x, copy=False) is xp.from_dlpack(x) is xp.astype(x, x.dtype, copy=False) is x
    for twin in (xp.asarray(x, copy=True), xp.from_dlpack(x, copy=True), xp.astype(x, x.dtype)):
        twin[0] = 5.0
        assert float(x[0]) == 1.0
    for call in (lambda: xp.asarray([1.0], copy=False), lambda: xp.asarray(x, dtype=xp.float32, copy=False)):
        with pytest.raises(ValueError, match="copy=False"):
            call()
    assert np.shares_memory(np.asarray(xp.from_dlpack(data := np.ones(2), copy=False)), data)


def test_options_that_numpy_has_not() -> None:
    x = xp.asarray([2.0, 3.0, 2.0, 1.0])
    assert xp.argsort(x, descending=True).tolist() == [1, 0, 2, 3]
    assert xp.sort(x, descending=True).tolist() == [3.0, 2.0, 2.0, 1.0]
    assert float(xp.var(x, correction=1)) == np.var([2, 3, 2, 1], ddof=1)
    assert float(xp.std(x, correction=1)) == np.std([2, 3, 2, 1], ddof=1)
    assert xp.repeat(x, xp.asarray([0, 1, 0, 2])).tolist() == [3.0, 1.0, 1.0]
    assert xp.clip(xp.asarray([1, 5]), 2, 3).tolist() == [2, 3]
    assert xp.round(xp.asarray([1, 5])).dtype == xp.int64
    assert isinstance(xp.meshgrid(x, x), list)
    assert isinstance(xp.broadcast_arrays(x, x), list)
    a = xp.asarray([[4.0, 0.0], [0.0, 1e-3]])
    assert xp.linalg.matrix_rank(xp.stack([a, a]), rtol=xp.asarray([1e-6, 1e-2])).tolist() == [2, 1]
    assert xp.linalg.pinv(a, rtol=1e-2)[1, 1] == 0.0
    assert xp.linalg.cross(xp.asarray([1.0, 0.0, 0.0]), xp.asarray([0.0, 1.0, 0.0])).tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(IndexError, match="axis 3 does not exist"):
        xp.expand_dims(x, 3)
    assert x[xp.asarray([], dtype=xp.bool)].shape == (0,)
    with pytest.raises(dt.ShapeError, match="differ in length"):
        xp.vecdot(xp.ones(3), xp.ones(1))


def test_integers_are_exact() -> None:
    big = xp.asarray([2**53 + 1, -(2**62) - 1])
    assert (big == big - 1).tolist() == [False, False]
    assert (big > big - 1).tolist() == [True, True]
    assert xp.where(big > 0, big, 0).tolist() == [2**53 + 1, 0]
    assert xp.prod(big[:1]).tolist() == 2**53 + 1
    assert (big @ xp.asarray([1, 0])).tolist() == 2**53 + 1
    assert (xp.asarray([3]) << xp.asarray([2])).tolist() == [12]
    assert (xp.asarray([12]) >> 2).tolist() == [3]


def standardised(x: Any) -> Any:
    """Code that works for every library of the standard."""
    ns = x.__array_namespace__()
    centred = x - ns.mean(x, axis=0, keepdims=True)
    scaled = centred / ns.std(x, axis=0, correction=1, keepdims=True)
    _, s, vh = ns.linalg.svd(scaled, full_matrices=False)
    return ns.concat((ns.sort(ns.sum(scaled * scaled, axis=1), descending=True), s, ns.matmul(vh, vh.mT)[0]))


def test_code_for_any_library_has_derivatives() -> None:
    x = np.random.default_rng(0).normal(size=(5, 2))
    want = np.linalg.svd((x - x.mean(0)) / x.std(0, ddof=1))[1]
    np.testing.assert_allclose(value(standardised(dt.dlarray(x)))[5:7], want)
    check_derivatives(lambda x: standardised(xp.asarray(x)), x)
    slope = dt.grad(lambda x: (standardised(x) * np.arange(9.0)).sum())
    np.testing.assert_allclose(value(dt.trace(slope, x)(x[::-1])), value(slope(x[::-1])), atol=1e-12)
