# SPDX-License-Identifier: MIT
"""Shaped ops take all directions of a tangent in one application; each must have the bits it has alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dualtape as dt

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: np.reshape(x * x, (4, 3)),
    "reshape to fewer axes": lambda x: np.reshape(x * x, 12),
    "transpose": lambda x: (x * x).T,
    "transpose of three axes": lambda x: np.transpose(np.reshape(x * x, (2, 2, 3)), (2, 0, 1)),
    "broadcast": lambda x: np.broadcast_to(x[:1] * x[:1], (5, 4)),
    "broadcast to more axes": lambda x: np.broadcast_to(x * x, (2, 3, 4)),
    "sum": lambda x: (x * x).sum(),
    "sum over an axis": lambda x: (x * x).sum(axis=0),
    "sum over the last axis": lambda x: (x * x).sum(axis=-1, keepdims=True),
    "sum of a number": lambda x: (x[0, 0] * x[0, 0]).sum(),
    "cumsum": lambda x: np.cumsum(x * x, axis=1),
    "cast": lambda x: (x * x).astype(np.float32),
    "slice": lambda x: (x * x)[1:, ::-2],
    "an item": lambda x: (x * x)[1, 2],
    "a new axis": lambda x: (x * x)[:, None, 1:],
    "take": lambda x: (x * x)[np.array([2, 0, 2])],
    "take along the last axis": lambda x: np.take(x * x, np.array([[3, 0], [1, 1]]), axis=1),
    "max": lambda x: (x * x).max(axis=1),
    "matmul": lambda x: x @ x.T,
    "concatenate": lambda x: np.concatenate([x * x, x], axis=0),
}


def point() -> Any:
    return dt.dlarray(np.random.default_rng(3).standard_normal((3, 4)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_directions_have_the_bits_of_one(name: str) -> None:
    f, x = FUNCTIONS[name], point()
    together = np.asarray(dt.jacfwd(f)(x))
    for place in np.ndindex(3, 4):
        direction = np.zeros((3, 4))
        direction[place] = 1.0
        _, alone = dt.jvp(f, (x,), (direction,))
        assert together[(..., *place)].tobytes() == np.asarray(alone).tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives_have_the_bits_of_single_products(name: str) -> None:
    def loss(x: Any) -> Any:
        return (FUNCTIONS[name](x).astype(np.float64) ** 3).sum()

    x = point()
    together = np.asarray(dt.hessian(loss)(x))
    for place in np.ndindex(3, 4):
        direction = np.zeros((3, 4))
        direction[place] = 1.0
        alone = np.asarray(dt.hvp(loss)(x, direction))
        assert np.array_equal(together[(..., *place)].reshape(3, 4), alone.reshape(3, 4))


def test_a_hessian_takes_as_many_instructions_in_every_dimension() -> None:
    def valley(x: Any) -> Any:
        return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()

    lengths = [len(dt.trace(dt.hessian(valley), np.linspace(-1.0, 1.0, n)).instructions) for n in (5, 40)]
    assert lengths[0] == lengths[1]
