# SPDX-License-Identifier: MIT
"""Making arrays, as the array-API standard has it: Python's integers make int64 (in `dualtape.numpy` float64), dtypes
and devices are keywords. There is one device, "cpu".
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dualtape.numpy as dnp
from dualtape import _core
from dualtape._core import dlarray


def check_device(device: Any) -> None:
    """Raise where a device is asked for that is not there."""
    if device not in (None, "cpu"):
        raise ValueError(f"device: arrays are on 'cpu'; {device!r} was given.")


def _holds_dlarrays(obj: Any) -> bool:
    return any(map(_holds_dlarrays, obj)) if isinstance(obj, (list, tuple)) else isinstance(obj, dlarray)


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> dlarray:
    """An array of numbers, arrays, or nested sequences of them; what is tracked in them stays so.

    Raises
    ------
    ValueError
        For ``copy=False`` where the numbers must be copied: for anything but a dlarray of the wanted dtype.
    """
    check_device(device)
    if copy is False and not (isinstance(obj, dlarray) and dtype in (None, obj.dtype)):
        raise ValueError("asarray: copy=False is possible for a dlarray of the wanted dtype only; give copy=None.")
    if isinstance(obj, dlarray) or _holds_dlarrays(obj):
        return dnp.array(obj, dtype, copy=copy)
    return dlarray(np.asarray(obj, dtype))


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> dlarray:
    """An array by DLPack, which shares the memory unless a copy is wanted or the dtype is not one of ours."""
    check_device(device)
    if isinstance(x, dlarray) and not copy:
        return x
    return dlarray(np.from_dlpack(x)) if copy else _core.from_dlpack(x)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> dlarray:
    """Zeros."""
    check_device(device)
    return dnp.zeros(shape, np.float64 if dtype is None else dtype)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> dlarray:
    """Ones."""
    check_device(device)
    return dnp.ones(shape, np.float64 if dtype is None else dtype)


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> dlarray:
    """An array to be assigned to."""
    return zeros(shape, dtype=dtype, device=device)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> dlarray:
    """An array of one value."""
    check_device(device)
    return dnp.full(shape, fill_value, dtype)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> dlarray:
    """Zeros of the shape of `x`."""
    check_device(device)
    return dnp.zeros_like(x, dtype)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> dlarray:
    """Ones of the shape of `x`."""
    check_device(device)
    return dnp.ones_like(x, dtype)


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> dlarray:
    """An array to be assigned to, of the shape of `x`."""
    return zeros_like(x, dtype=dtype, device=device)


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> dlarray:
    """An array of one value, of the shape of `x`."""
    check_device(device)
    return dnp.full_like(x, fill_value, dtype)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> dlarray:
    """Ones on a diagonal."""
    check_device(device)
    return dnp.eye(n_rows, n_cols, k, np.float64 if dtype is None else dtype)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> dlarray:
    """Evenly spaced numbers in a half-open interval."""
    check_device(device)
    return dnp.arange(start, stop, step, dtype)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> dlarray:
    """Evenly spaced numbers in an interval."""
    check_device(device)
    return dnp.linspace(start, stop, num, endpoint, dtype=dtype)


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[dlarray]:
    """Coordinates of a grid from those of its axes."""
    return list(dnp.meshgrid(*arrays, indexing=indexing))
