# SPDX-License-Identifier: MIT
"""Random weights to start from. All draw from `dualtape.random`, so `dualtape.random.seed` makes them reproducible, and
in a sweep each run has its own.

A matrix of weights has the shape (outputs, inputs), as `fullyconnect` takes it; further axes belong to the inputs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dualtape import _core, random
from dualtape._core import ShapeError, dlarray

__all__ = ["glorot", "he", "orthogonal"]


def _fans(name: str, shape: tuple[int, ...], fan_out: int | None, fan_in: int | None) -> tuple[int, int]:
    if len(shape) < 2 and (fan_in is None or fan_out is None):
        raise ShapeError(f"{name}{shape}: weights have the shape (outputs, inputs); give that, or fan_out and fan_in.")
    return fan_out or shape[0], fan_in or math.prod(shape[1:])


def glorot(
    shape: tuple[int, ...], fan_out: int | None = None, fan_in: int | None = None, *, dtype: Any = np.float64
) -> dlarray:
    """Uniform numbers between -b and b, b = sqrt(6 / (fan_in + fan_out)), for layers before tanh or softmax.

    Parameters
    ----------
    shape : tuple of int
        (outputs, inputs, ...)
    fan_out, fan_in : int, optional
        How many outputs a unit reaches, and how many inputs reach it; by default from the shape.
    dtype : dtype

    Returns
    -------
    dlarray

    References
    ----------
    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010).
    """
    outputs, inputs = _fans("glorot", shape, fan_out, fan_in)
    bound = math.sqrt(6 / (inputs + outputs))
    return random.uniform(-bound, bound, size=shape, dtype=dtype)


def he(shape: tuple[int, ...], fan_in: int | None = None, *, dtype: Any = np.float64) -> dlarray:
    """Normal numbers of variance 2 / fan_in, for layers before relu; parameters as in `glorot`.

    References
    ----------
    K. He and others, "Delving deep into rectifiers" (2015).
    """
    _, inputs = _fans("he", shape, 1, fan_in)
    return random.normal(0.0, math.sqrt(2 / inputs), size=shape, dtype=dtype)


def orthogonal(shape: tuple[int, int], gain: float = 1.0, *, dtype: Any = np.float64) -> dlarray:
    """A matrix with orthonormal rows or columns, whichever are fewer, times a gain: the Q of a random matrix.

    References
    ----------
    A. Saxe and others, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks" (2014).
    """
    if len(shape) != 2:
        raise ShapeError(f"orthogonal{shape}: the shape must be (outputs, inputs).")
    rows, columns = shape
    numbers = random.normal(size=(max(rows, columns), min(rows, columns)), dtype=dtype)
    q, r = _core.linalg.qr(numbers, False)
    # With the signs of R's diagonal every orthogonal matrix is equally likely.
    diagonal = _core.sum(r * np.eye(r.shape[0], dtype=r.dtype), 0)
    y = q * _core.elementwise.copysign(gain, diagonal)
    return y if rows >= columns else _core.transpose(y)
