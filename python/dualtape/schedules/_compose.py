# SPDX-License-Identifier: MIT
"""Schedules around schedules: warm_up before one, chain for one after another, per_epoch for epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ._base import STATIC, Scalar, Schedule, check


@dataclass(frozen=True, repr=False)
class warm_up(Schedule):
    """A straight ramp from a small rate to the full one, for the first iterations.

    ``base * (initial_factor + (final_factor - initial_factor) * (k - 1) / (num_steps - 1))``, as in MATLAB's
    warmupLearnRate; afterwards the rate stays, or :func:`chain` goes on.

    Parameters
    ----------
    base : float
        The rate that the factors multiply: the one that training goes on with.
    num_steps : int
        Iterations of the ramp, both ends included. With 1 there is only the first rate.
    initial_factor, final_factor : float
        Where the ramp begins and ends, as multiples of base.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> schedule = warm_up(0.1, 4)
    >>> [round(schedule(k), 10) for k in range(1, 6)]
    [0.01, 0.04, 0.07, 0.1, 0.1]
    """

    example: ClassVar[str] = "warm_up(0.1, 5)"

    base: Scalar
    num_steps: float = field(default=5, metadata=STATIC)
    initial_factor: Scalar = field(default=0.1, kw_only=True)
    final_factor: Scalar = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        check(self, base="rate", num_steps="count", initial_factor="rate", final_factor="rate")

    def rate_at(self, iteration: Scalar) -> Scalar:
        share = (iteration - 1) / max(self.num_steps - 1, 1)
        return self.base * (self.initial_factor + (self.final_factor - self.initial_factor) * share)


@dataclass(frozen=True, repr=False, init=False)
class chain(Schedule):
    """One schedule after another, each for its `num_steps`, each with its own count from 1.

    After a warm-up of 5 steps, iteration 15 is step 10 of the schedule that follows (MATLAB's rule for a cell
    array of schedules).

    Parameters
    ----------
    *schedules : Schedule
        All but the last must end. The last one may be any function of the iteration.

    Raises
    ------
    ValueError
        There is none, or one before the last is endless.
    TypeError
        One of them is not a schedule.

    Examples
    --------
    >>> from dualtape.schedules import cosine
    >>> schedule = chain(warm_up(0.1, 5), cosine(0.1, 95))
    >>> schedule(1), schedule(6)
    (0.010000000000000002, 0.1)
    """

    example: ClassVar[str] = "chain(warm_up(0.1, 5), cosine(0.1, 95))"

    schedules: tuple[Any, ...]

    def __init__(self, *schedules: Any) -> None:
        count = len(schedules)
        if count == 0:
            raise ValueError(f"chain(): there is no schedule; got nothing; {self.example} works.")
        for number, schedule in enumerate(schedules, start=1):
            where = f"schedule {number} of {count}, {schedule!r}"
            last = number == count
            if not (isinstance(schedule, Schedule) or (last and callable(schedule))):
                raise TypeError(
                    f"chain({count} schedules): each must be a schedule (the last may be any function of the "
                    f"iteration); got {where}; {self.example} works."
                )
            if not last and schedule.num_steps == math.inf:
                raise ValueError(
                    f"chain({count} schedules): all but the last must end; got {where}, which is endless; "
                    "give it num_steps=..., or put it last."
                )
        object.__setattr__(self, "schedules", schedules)

    @property
    def num_steps(self) -> float:  # type: ignore[override]  # computed here, stored elsewhere
        """The steps of all schedules together."""
        return sum(getattr(schedule, "num_steps", math.inf) for schedule in self.schedules)

    def rate_at(self, iteration: Scalar) -> Scalar:
        for schedule in self.schedules[:-1]:
            if iteration <= schedule.num_steps:
                return schedule(iteration)
            iteration = iteration - schedule.num_steps
        return self.schedules[-1](iteration)

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self.schedules))})"


@dataclass(frozen=True, repr=False)
class per_epoch(Schedule):
    """A schedule that moves once per epoch: all iterations of an epoch share one rate.

    Parameters
    ----------
    schedule : Schedule or callable
        Sees the epoch, from 1, as its iteration.
    iterations_per_epoch : int
        How many iterations, that is minibatches, make an epoch.

    Raises
    ------
    TypeError
        The schedule cannot be called.
    ValueError
        iterations_per_epoch is not a whole number from 1.

    Examples
    --------
    >>> from dualtape.schedules import piecewise
    >>> schedule = per_epoch(piecewise(0.1, 0.5, 2), 100)
    >>> schedule(200), schedule(201)
    (0.1, 0.05)
    """

    example: ClassVar[str] = "per_epoch(piecewise(0.1, 0.5, 10), 100)"

    schedule: Any
    iterations_per_epoch: float = field(metadata=STATIC)

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            raise TypeError(
                "per_epoch(schedule, iterations_per_epoch): the schedule must be a function of the epoch; "
                f"got {self.schedule!r}; {self.example} works."
            )
        check(self, iterations_per_epoch="count")

    @property
    def num_steps(self) -> float:  # type: ignore[override]  # computed here, stored elsewhere
        """The steps of the schedule, in iterations."""
        return float(getattr(self.schedule, "num_steps", math.inf) * self.iterations_per_epoch)

    def rate_at(self, iteration: Scalar) -> Scalar:
        return self.schedule(1 + (iteration - 1) // self.iterations_per_epoch)
