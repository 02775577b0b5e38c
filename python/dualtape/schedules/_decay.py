# SPDX-License-Identifier: MIT
"""Schedules that fall, or stay: constant, time_based_decay, piecewise, exponential, polynomial.

Each class is its formula (`rate_at`), with k for the iteration counted from 1. Sources: the formulas of
MATLAB's R2024b schedule objects, and the post "Advanced Deep Learning: Key Terms" for time_based_decay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from ._base import STATIC, Scalar, Schedule, check


@dataclass(frozen=True, repr=False)
class constant(Schedule):
    """The same rate in every iteration.

    Parameters
    ----------
    rate : float
        The learning rate.
    num_steps : int, optional
        Where :func:`chain` goes on; endless by default. ``chain(constant(0.1, num_steps=30),
        constant(0.01))`` is a rate with boundaries of your own.

    Raises
    ------
    ValueError
        The rate is negative or not finite, or num_steps is not a whole number from 1.

    Examples
    --------
    >>> constant(0.1)(7)
    0.1
    """

    example: ClassVar[str] = "constant(0.1)"

    rate: Scalar
    num_steps: float = field(default=math.inf, kw_only=True, metadata=STATIC)

    def __post_init__(self) -> None:
        check(self, rate="rate", num_steps="steps")

    def rate_at(self, iteration: Scalar) -> Scalar:
        return self.rate


@dataclass(frozen=True, repr=False)
class time_based_decay(Schedule):
    """The rate falls like one over the iteration: ``initial / (1 + decay * (k - offset))``.

    Parameters
    ----------
    initial : float
        The rate that is divided.
    decay : float
        How fast it falls, per iteration.
    offset : {0, 1}
        The two conventions in use. 0, the default: iteration 1 is already decayed, as in the post "Advanced
        Deep Learning: Key Terms". 1: iteration 1 has the initial rate, as in MATLAB's R2024b template
        class for custom schedules.
    num_steps : int, optional
        Where :func:`chain` goes on; endless by default.

    Raises
    ------
    ValueError
        A negative or not finite rate or decay, or another offset.

    Examples
    --------
    >>> schedule = time_based_decay(0.2, 0.01)
    >>> schedule(1), schedule(100)
    (0.19801980198019803, 0.1)
    >>> time_based_decay(0.2, 0.01, offset=1)(1)
    0.2
    """

    example: ClassVar[str] = "time_based_decay(0.2, 0.01)"

    initial: Scalar
    decay: Scalar
    offset: int = field(default=0, kw_only=True, metadata=STATIC)
    num_steps: float = field(default=math.inf, kw_only=True, metadata=STATIC)

    def __post_init__(self) -> None:
        check(self, initial="rate", decay="rate", offset="offset", num_steps="steps")

    def rate_at(self, iteration: Scalar) -> Scalar:
        return self.initial / (1 + self.decay * (iteration - self.offset))


@dataclass(frozen=True, repr=False)
class piecewise(Schedule):
    """The rate drops every so many iterations: ``initial * drop_factor**floor((k - 1) / period)``.

    Parameters
    ----------
    initial : float
        The rate of the first `period` iterations.
    drop_factor : float
        What the rate is multiplied by, greater than 0 and at most 1.
    period : int
        Iterations between drops. MATLAB counts epochs here by default: see :func:`per_epoch`.
    num_steps : int, optional
        Where :func:`chain` goes on; endless by default.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> schedule = piecewise(0.1, 0.5, 2)
    >>> [schedule(k) for k in range(1, 6)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """

    example: ClassVar[str] = "piecewise(0.1, 0.5, 10)"

    initial: Scalar
    drop_factor: Scalar = 0.1
    period: float = field(default=10, metadata=STATIC)
    num_steps: float = field(default=math.inf, kw_only=True, metadata=STATIC)

    def __post_init__(self) -> None:
        check(self, initial="rate", drop_factor="drop", period="count", num_steps="steps")

    def rate_at(self, iteration: Scalar) -> Scalar:
        return self.initial * self.drop_factor ** ((iteration - 1) // self.period)


@dataclass(frozen=True, repr=False)
class exponential(Schedule):
    """The rate falls by the same ratio in each iteration: ``initial * drop_factor**((k - 1) / period)``.

    Parameters
    ----------
    initial : float
        The rate of iteration 1.
    drop_factor : float
        The ratio over one period, greater than 0 and at most 1.
    period : int
        Iterations in which the rate falls by drop_factor. 1 gives the form ``initial * factor**(k - 1)``.
    num_steps : int, optional
        Where :func:`chain` goes on; endless by default.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> exponential(0.01, 0.1, 10)(2)
    0.007943282347242816
    """

    example: ClassVar[str] = "exponential(0.01, 0.1, 10)"

    initial: Scalar
    drop_factor: Scalar = 0.1
    period: float = field(default=10, metadata=STATIC)
    num_steps: float = field(default=math.inf, kw_only=True, metadata=STATIC)

    def __post_init__(self) -> None:
        check(self, initial="rate", drop_factor="drop", period="count", num_steps="steps")

    def rate_at(self, iteration: Scalar) -> Scalar:
        return self.initial * self.drop_factor ** ((iteration - 1) / self.period)


@dataclass(frozen=True, repr=False)
class polynomial(Schedule):
    """The rate follows a power law from its first to its last value.

    ``base * (final_factor + (initial_factor - final_factor) * (1 - t)**power)``, ``t = (k - 1) /
    (num_steps - 1)``: the last step has the final rate exactly. (Libraries that divide by num_steps reach it
    one step later.)

    Parameters
    ----------
    base : float
        The rate that the factors multiply.
    num_steps : int
        The number of iterations from the first rate to the last. With 1 there is only the first.
    power : float
        1, the default, is a straight line; 2 falls fast at first.
    initial_factor, final_factor : float
        Where it begins and ends, as multiples of base.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> schedule = polynomial(0.1, 5)
    >>> [schedule(k) for k in (1, 3, 5, 6)]
    [0.1, 0.05, 0.0, 0.0]
    """

    example: ClassVar[str] = "polynomial(0.1, 100, power=2.0)"

    base: Scalar
    num_steps: float = field(metadata=STATIC)
    power: Scalar = field(default=1.0, kw_only=True)
    initial_factor: Scalar = field(default=1.0, kw_only=True)
    final_factor: Scalar = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        check(self, base="rate", num_steps="count", power="positive", initial_factor="rate", final_factor="rate")

    def rate_at(self, iteration: Scalar) -> Scalar:
        rest = 1 - (iteration - 1) / max(self.num_steps - 1, 1)
        return self.base * (self.final_factor + (self.initial_factor - self.final_factor) * rest**self.power)
