# SPDX-License-Identifier: MIT
"""Random numbers that a program draws anew: counter-based, traceable, one stream for each run.

A number is a function of a seed, a stream, an iteration, and which draw of the iteration it is; there is no hidden
state. In :func:`dualtape.loop` and :func:`dualtape.sweep` the iteration counts, every run of a sweep has a stream of
its own, and ``seed=`` chooses the rest, so a run draws the same numbers alone, as a lane among thousands, interrupted
and resumed, and on every machine. Outside of loops each call counts as an iteration of its own.

Derivatives go through the parameters of a distribution (``loc``, ``scale``, ``low``, ``high``), not through its draws.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, TraceError, dlarray

__all__ = ["bernoulli", "exponential", "integers", "normal", "permutation", "seed", "streams", "uniform"]

MOST_ELEMENTS = 2**32

Size = int | tuple[int, ...] | None


class _Keys(threading.local):
    """What the next draw is a function of."""

    def __init__(self) -> None:
        self.seed: Any = 0.0
        self.stream: Any = 0.0
        self.iteration: Any = 0.0
        self.draws = 0
        self.inside = False  # of `streams`: the iteration is given, and draws are counted within it


_keys = _Keys()


def seed(number: int) -> None:
    """Start the numbers outside of loops anew.

    Parameters
    ----------
    number : int
        From 0 to 2**53 - 1.

    Raises
    ------
    ValueError
        For another number.
    """
    if not _is_whole(number) or not 0 <= number < 2**53:
        raise ValueError(f"random.seed({number!r}): the seed must be a whole number from 0 to 2**53 - 1; 0 works.")
    _keys.seed, _keys.iteration, _keys.draws = float(number), 0.0, 0


@contextlib.contextmanager
def streams(seed: Any, stream: Any, iteration: Any) -> Iterator[None]:
    """Draw from a stream, in an iteration; what loops do around each step.

    Parameters
    ----------
    seed, stream, iteration : number or scalar dlarray
        Whole numbers, traced or not.

    Yields
    ------
    None
        Inside, the k-th draw is draw number k, whenever it comes. Contexts nest.
    """
    before = (_keys.seed, _keys.stream, _keys.iteration, _keys.draws, _keys.inside)
    _keys.seed, _keys.stream, _keys.iteration, _keys.draws, _keys.inside = seed, stream, iteration, 0, True
    try:
        yield
    finally:
        _keys.seed, _keys.stream, _keys.iteration, _keys.draws, _keys.inside = before


def _is_whole(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def _shape(size: Size, parameters: tuple[Any, ...]) -> tuple[int, ...]:
    if size is None:
        return np.broadcast_shapes(*(np.shape(p) if getattr(p, "shape", None) is None else p.shape for p in parameters))
    shape = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    if not all(_is_whole(n) and n >= 0 for n in shape):
        raise ShapeError(f"random(size={size!r}): the size must be None, a whole number from 0, or a tuple of such.")
    if math.prod(shape) > MOST_ELEMENTS:
        raise ShapeError(f"random(size={size!r}): at most {MOST_ELEMENTS:,} numbers come from one draw; draw in parts.")
    return tuple(map(int, shape))


def _unit(size: Size, dtype: Any, *parameters: Any) -> dlarray:
    """Uniform numbers in (0, 1), the next draw; without a size, as many as the parameters of the distribution."""
    shape = _shape(size, parameters)
    if _core.is_rolling():
        raise TraceError("random: a loop whose body draws random numbers runs step by step.")
    if _keys.inside:
        draw = _keys.draws
        _keys.draws += 1
    else:
        draw = 0
        _keys.iteration += 1.0
    return _core.random_uniform(
        _keys.seed, _keys.stream, _keys.iteration, draw, shape, np.float64 if dtype is None else dtype
    )


def uniform(low: Any = 0.0, high: Any = 1.0, size: Size = None, dtype: Any = None) -> dlarray:
    """Numbers that are equally likely everywhere between two bounds.

    Parameters
    ----------
    low, high : number or dlarray
        The bounds; neither is ever reached where they are 0 and 1.
    size : int or tuple of int, optional
        The shape; by default that of the bounds, so that scalar bounds give a scalar.
    dtype : dtype, optional
        float64, by default, or float32.

    Returns
    -------
    dlarray
    """
    unit = _unit(size, dtype, low, high)
    if _is(low, 0.0) and _is(high, 1.0):
        return unit
    return low + (high - low) * unit


def normal(loc: Any = 0.0, scale: Any = 1.0, size: Size = None, dtype: Any = None) -> dlarray:
    """Normally distributed numbers, by the method of Box and Muller (1958).

    Parameters
    ----------
    loc, scale : number or dlarray
        Mean and standard deviation; derivatives go through them.
    size, dtype
        As in :func:`uniform`.

    Returns
    -------
    dlarray
    """
    ops = _core.elementwise
    radius = ops.sqrt(-2.0 * ops.log(_unit(size, dtype, loc, scale)))
    standard = radius * ops.cos((2.0 * math.pi) * _unit(size, dtype, loc, scale))
    if _is(scale, 1.0) and _is(loc, 0.0):
        return standard
    return loc + scale * standard


def exponential(scale: Any = 1.0, size: Size = None, dtype: Any = None) -> dlarray:
    """Exponentially distributed numbers with mean `scale`; size and dtype as in :func:`uniform`."""
    return scale * -_core.elementwise.log(_unit(size, dtype, scale))


def bernoulli(p: Any = 0.5, size: Size = None, dtype: Any = None) -> dlarray:
    """1.0 with probability `p`, else 0.0: a mask for dropout, say. Size and dtype as in :func:`uniform`."""
    if isinstance(p, (int, float)) and not 0 <= p <= 1:
        raise ValueError(f"random.bernoulli({p!r}): a probability is a number from 0 to 1; 0.5 works.")
    unit = _unit(size, dtype, p)
    return (unit < p).astype(unit.dtype)


def integers(low: int, high: int | None = None, size: Size = None) -> dlarray:
    """Whole numbers from `low` (0 where only one bound is given) up to, but not including, `high`.

    They are float64, since integers take no part in programs; ``int(x)`` decides on one.
    """
    first, last = (0, low) if high is None else (low, high)
    given = f"random.integers({low!r})" if high is None else f"random.integers({low!r}, {high!r})"
    if not _is_whole(first) or not _is_whole(last):
        raise ValueError(f"{given}: bounds must be whole numbers; integers(10) works.")
    if first >= last:
        raise ValueError(f"{given}: the range is empty; high must be above low.")
    if max(abs(first), abs(last)) > 2**53 or last - first > 2**52:
        raise ValueError(f"{given}: bounds must be numbers up to 2**53 that lie at most 2**52 apart.")
    return int(first) + _core.elementwise.floor(_unit(size, None) * float(last - first))


def permutation(n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The numbers 0 to n - 1 in a random order, as an ndarray; outside of loops, since an order is no number."""
    if not _is_whole(n) or n < 0:
        raise ValueError(f"random.permutation({n!r}): n must be a whole number from 0; permutation(10) works.")
    if _keys.inside:
        raise ValueError("random.permutation: inside a step the order would be frozen; use data=... and shuffle=...")
    _keys.iteration += 1.0
    return _core.random_permutation(int(n), int(_keys.seed), int(_keys.iteration))


def _is(value: Any, number: float) -> bool:
    return isinstance(value, (int, float)) and value == number
