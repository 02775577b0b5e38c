# SPDX-License-Identifier: MIT
"""The extension ``linalg`` of the array-API standard: `dualtape.numpy.linalg`, with what is spelled otherwise."""

from __future__ import annotations

from typing import Any

import dualtape.numpy.linalg as _linalg
from dualtape._core import dlarray

globals().update({name: getattr(_linalg, name) for name in _linalg.__all__})


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> dlarray:
    """Cross products of vectors of 3 elements along an axis."""
    return _linalg.cross(x1, x2, axis=axis)


def matrix_rank(x: Any, /, *, rtol: Any = None) -> dlarray:
    """The number of singular values above `rtol` times the largest."""
    return _linalg.matrix_rank(x, rtol=rtol)


def pinv(x: Any, /, *, rtol: Any = None) -> dlarray:
    """Pseudo-inverses, by singular values above `rtol` times the largest."""
    return _linalg.pinv(x, rtol=rtol)


__all__ = sorted(_linalg.__all__)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'dualtape.array_api.linalg' has no attribute {name!r}.")
