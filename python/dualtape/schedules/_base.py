# SPDX-License-Identifier: MIT
"""What all schedules share: the call, the curve, the repr, and the checks of their arguments.

A concrete schedule is a frozen dataclass with a method `rate_at(iteration)`; `Schedule.__call__` checks
the iteration and stops the clock after the last step. Formulas use plain arithmetic and ordinary `if`, so
that floats, ints and traced scalars all pass through the same text.

Being dataclasses, schedules are trees (see dualtape.tree): their rates and factors are leaves, which a
compiled loop may treat as hyperparameters, and their counts and modes (declared `metadata=STATIC`) belong
to the structure.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualtape import _core

Scalar: TypeAlias = Any  # a float, an int, or a scalar dlarray, traced or not

STATIC = {"static": True}


def cos(x: Scalar) -> Scalar:
    """The cosine of a number or of a traced scalar: the core's for both, so that both have the same bits."""
    y = _core.elementwise.cos(x)
    return float(y) if isinstance(x, (float, int)) else y


def _is_count(value: Scalar) -> bool:
    return bool(value >= 1 and value % 1 == 0)


# What an argument must be, in words for the message, and as a test that NaN fails.
_RULES: dict[str, tuple[str, Callable[[Scalar], bool]]] = {
    "rate": ("finite and not negative", lambda v: bool(0 <= v < math.inf)),
    "positive": ("finite and greater than 0", lambda v: bool(0 < v < math.inf)),
    "drop": ("greater than 0 and at most 1", lambda v: bool(0 < v <= 1)),
    "fraction": ("between 0 and 1, both excluded", lambda v: bool(0 < v < 1)),
    "growth": ("at least 1 (math.inf for a single cycle)", lambda v: bool(v >= 1)),
    "offset": ("0 (the rate sees k) or 1 (it sees k - 1)", lambda v: bool(v == 0 or v == 1)),
    "count": ("a whole number from 1", _is_count),
    "steps": ("a whole number from 1, or math.inf", lambda v: bool(v == math.inf) or _is_count(v)),
    "whole": ("a whole number from 0", lambda v: bool(v >= 0 and v % 1 == 0)),
}


def check(schedule: Any, **rules: str) -> None:
    """Check attributes of a schedule against named rules; `schedule.example` says what would work.

    Raises
    ------
    ValueError
        A value breaks its rule.
    TypeError
        A value is not a number.
    """
    for name, rule in rules.items():
        need, holds = _RULES[rule]
        value = getattr(schedule, name)
        kind: type[Exception] = ValueError
        try:
            if holds(value):
                continue
        except (TypeError, ValueError) as error:
            if type(error) not in (TypeError, ValueError):
                raise  # dualtape's own errors (a traced value that may not be read) say more than we can
            kind = TypeError
        raise kind(
            f"{type(schedule).__name__}({name}={value!r}): {name} must be {need}; got {value!r}; "
            f"for example, {schedule.example} works."
        )


def _is_iteration(iteration: Scalar) -> bool:
    try:
        return bool(iteration >= 1)
    except (TypeError, ValueError) as error:
        if type(error) not in (TypeError, ValueError):
            raise  # see check
        return False


class Schedule(ABC):
    """A learning rate as a function of the iteration; the base class of all schedules.

    To write one of your own, subclass it and define `rate_at`; set `num_steps` if it ends.

    Attributes
    ----------
    num_steps : float
        How many iterations the schedule is made for; ``math.inf`` if it never ends.

    Examples
    --------
    >>> class halving(Schedule):
    ...     def rate_at(self, iteration):
    ...         return 0.1 * 0.5 ** (iteration - 1)
    >>> halving()(3)
    0.025
    """

    example: ClassVar[str] = ""
    num_steps: float = math.inf

    @abstractmethod
    def rate_at(self, iteration: Scalar) -> Scalar:
        """Return the rate of one iteration, known to lie in 1 ... num_steps."""

    def __call__(self, iteration: Scalar) -> Scalar:
        """Return the learning rate of one iteration.

        Parameters
        ----------
        iteration : float, int or scalar dlarray
            Counted from 1. After `num_steps` the schedule keeps its last rate.

        Returns
        -------
        float, or a traced scalar if the iteration is one

        Raises
        ------
        ValueError
            The iteration is below 1, NaN or not a number.
        """
        if not _is_iteration(iteration):
            if isinstance(iteration, (np.ndarray, list, tuple, range)):
                given, remedy = f"{type(iteration).__name__} of several", "use .curve(iterations) for several"
            else:
                given, remedy = repr(iteration), "the first iteration is schedule(1)"
            raise ValueError(
                f"{type(self).__name__}(iteration): the iteration must be one number from 1; got {given}; {remedy}."
            )
        if self.num_steps != math.inf and iteration > self.num_steps:
            iteration = self.num_steps
        return self.rate_at(iteration)

    def curve(self, iterations: ArrayLike) -> NDArray[np.float64]:
        """Return the rates of many iterations, for instance to plot them.

        Parameters
        ----------
        iterations : int or array of numbers
            The iterations, in any shape; a single number n stands for 1, 2, ..., n.

        Returns
        -------
        ndarray of float64
            The rates, in the shape of `iterations`; exactly the values that calling gives.

        Raises
        ------
        ValueError
            An iteration is below 1 or NaN.
        """
        numbers = np.asarray(iterations)
        if numbers.ndim == 0:
            numbers = np.arange(1, int(numbers) + 1)
        rates = [float(self(iteration)) for iteration in numbers.ravel().tolist()]
        return np.array(rates, dtype=np.float64).reshape(numbers.shape)

    def __repr__(self) -> str:
        """Return the call that makes this schedule, without the arguments left at their defaults."""
        if not dataclasses.is_dataclass(self):
            return f"{type(self).__name__}()"
        parts = []
        by_name = False
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            default = f.default is not dataclasses.MISSING and value == f.default
            if default:
                by_name = True  # what follows a default that is left out must be named
            else:
                parts.append(f"{f.name}={value!r}" if f.kw_only or by_name else repr(value))
        return f"{type(self).__name__}({', '.join(parts)})"
