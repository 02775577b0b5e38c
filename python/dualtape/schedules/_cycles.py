# SPDX-License-Identifier: MIT
"""Schedules whose rate comes back up: cosine with warm restarts, cyclical, one_cycle.

Each class is its formula (`rate_at`), with k for the iteration counted from 1; the docstrings name the
papers and the library whose definition is followed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from ._base import STATIC, Scalar, Schedule, check, cos


@dataclass(frozen=True, repr=False)
class cosine(Schedule):
    """The rate falls along half a cosine, jumps back up, and falls again.

    ``base * (final_factor + (initial_factor - final_factor) * (1 + cos(pi * i / period)) / 2)``, where i
    counts from 0 in each cycle (Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", 2017). The last step of a cycle is just above the final rate; the next one is a restart.

    Parameters
    ----------
    base : float
        The rate that the factors multiply.
    period : int
        Iterations in the first cycle.
    initial_factor, final_factor : float
        Where each cycle begins and what it approaches, as multiples of base.
    period_growth : float
        Each cycle is this many times as long as the one before (PyTorch's T_mult). ``math.inf``: one cycle
        without restart, after which the rate stays at the final value.
    num_steps : int, optional
        Where :func:`chain` goes on; endless by default.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> schedule = cosine(0.1, 4, period_growth=2)
    >>> [round(schedule(k), 4) for k in (1, 3, 4, 5, 9, 12, 13)]
    [0.1, 0.05, 0.0146, 0.1, 0.05, 0.0038, 0.1]
    """

    example: ClassVar[str] = "cosine(0.1, 50, period_growth=2)"

    base: Scalar
    period: float = field(metadata=STATIC)
    initial_factor: Scalar = field(default=1.0, kw_only=True)
    final_factor: Scalar = field(default=0.0, kw_only=True)
    period_growth: float = field(default=1.0, kw_only=True, metadata=STATIC)
    num_steps: float = field(default=math.inf, kw_only=True, metadata=STATIC)

    def __post_init__(self) -> None:
        check(self, base="rate", period="count", initial_factor="rate", final_factor="rate")
        check(self, period_growth="growth", num_steps="steps")

    def rate_at(self, iteration: Scalar) -> Scalar:
        position = iteration - 1
        length = self.period
        if self.period_growth == 1:
            position = position % length
        elif self.period_growth == math.inf:
            position = position if position < length else length
        else:
            while position >= length:
                position = position - length
                length = length * self.period_growth
        share = 0.5 * (1 + cos(math.pi * (position / length)))
        return self.base * (self.final_factor + (self.initial_factor - self.final_factor) * share)


@dataclass(frozen=True, repr=False)
class cyclical(Schedule):
    """The rate climbs and falls along straight lines, over and over.

    With ``i = (k - 1) mod period`` and ``r = step_ratio * period``: up while i < r, ``base * (1 +
    (max_factor - 1) * i / r)``; then down, ``base * (max_factor - (max_factor - 1) * (i - r) / (period -
    r))`` (Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, policy "triangular").

    Parameters
    ----------
    base : float
        The lowest rate.
    max_factor : float
        The highest rate, as a multiple of base.
    period : int
        Iterations in one cycle, up and down together.
    step_ratio : float
        The share of the cycle that climbs, between 0 and 1.
    num_steps : int, optional
        Where :func:`chain` goes on; endless by default.

    Raises
    ------
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> schedule = cyclical(0.1, 3, 4)
    >>> [round(schedule(k), 10) for k in range(1, 7)]
    [0.1, 0.2, 0.3, 0.2, 0.1, 0.2]
    """

    example: ClassVar[str] = "cyclical(0.01, 10, 20)"

    base: Scalar
    max_factor: Scalar
    period: float = field(metadata=STATIC)
    step_ratio: Scalar = field(default=0.5, kw_only=True)
    num_steps: float = field(default=math.inf, kw_only=True, metadata=STATIC)

    def __post_init__(self) -> None:
        check(self, base="rate", max_factor="positive", period="count", step_ratio="fraction", num_steps="steps")

    def rate_at(self, iteration: Scalar) -> Scalar:
        position = (iteration - 1) % self.period
        peak = self.step_ratio * self.period
        climb = self.max_factor - 1
        if position < peak:
            return self.base * (1 + climb * position / peak)
        return self.base * (self.max_factor - climb * (position - peak) / (self.period - peak))


@dataclass(frozen=True, repr=False)
class one_cycle(Schedule):
    """One climb to the highest rate, then a long fall far below the first one.

    PyTorch's OneCycleLR, argument for argument (rates only: PyTorch also cycles the momentum); the idea is
    Smith and Topin's, "Super-Convergence", 2018. From ``max_rate / div_factor`` up to max_rate at step
    ``pct_start * num_steps``, then down to ``max_rate / div_factor / final_div_factor`` at the last step.
    PyTorch counts steps from 0 and raises an error after the last one; here iteration k is its step k - 1,
    and the last rate is kept.

    Parameters
    ----------
    max_rate : float
        The highest rate.
    num_steps : int
        Iterations in all, at least 2.
    pct_start : float
        The share of the steps that climb, between 0 and 1.
    anneal_strategy : {"cos", "linear"}
        The shape of the way between two rates.
    div_factor, final_div_factor : float
        The first rate is max_rate / div_factor, the last one the first / final_div_factor.
    three_phase : bool
        First back down to the first rate, as steeply as up, and then to the last one.

    Raises
    ------
    ValueError
        An argument is out of range, or the climb would end before it begins.

    Examples
    --------
    >>> schedule = one_cycle(0.1, 10)
    >>> [round(schedule(k), 6) for k in (1, 2, 3, 10)]
    [0.004, 0.052, 0.1, 0.0]
    """

    example: ClassVar[str] = "one_cycle(0.1, 100)"

    max_rate: Scalar
    num_steps: float = field(metadata=STATIC)
    pct_start: float = field(default=0.3, kw_only=True, metadata=STATIC)
    anneal_strategy: str = field(default="cos", kw_only=True, metadata=STATIC)
    div_factor: Scalar = field(default=25.0, kw_only=True)
    final_div_factor: Scalar = field(default=1e4, kw_only=True)
    three_phase: bool = field(default=False, kw_only=True, metadata=STATIC)

    def __post_init__(self) -> None:
        check(self, max_rate="rate", num_steps="count", pct_start="fraction")
        check(self, div_factor="positive", final_div_factor="positive")
        if self.anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"one_cycle(anneal_strategy={self.anneal_strategy!r}): there is no such way between two "
                f'rates; got {self.anneal_strategy!r}; "cos" and "linear" work.'
            )
        ends = [end for end, _ in self._phases()]
        if not all(a < b for a, b in zip([0.0, *ends], ends, strict=False)):
            raise ValueError(
                f"one_cycle(num_steps={self.num_steps}, pct_start={self.pct_start}): each phase must end "
                f"after the one before; got ends at steps {', '.join(f'{end:g}' for end in ends)} (from 0); "
                f"take more steps or another pct_start; {self.example} works."
            )

    def _phases(self) -> list[tuple[float, Scalar]]:
        """Where each phase ends (steps from 0), and at which rate."""
        first = self.max_rate / self.div_factor
        last = first / self.final_div_factor
        top = self.pct_start * self.num_steps - 1
        if self.three_phase:
            back = 2 * self.pct_start * self.num_steps - 2
            return [(top, self.max_rate), (back, first), (self.num_steps - 1, last)]
        return [(top, self.max_rate), (self.num_steps - 1, last)]

    def rate_at(self, iteration: Scalar) -> Scalar:
        position = iteration - 1
        start, from_rate = 0.0, self.max_rate / self.div_factor
        phases = self._phases()
        for end, to_rate in phases[:-1]:
            if position <= end:
                return self._between(from_rate, to_rate, (position - start) / (end - start))
            start, from_rate = end, to_rate
        end, to_rate = phases[-1]
        return self._between(from_rate, to_rate, (position - start) / (end - start))

    def _between(self, a: Scalar, b: Scalar, share: Scalar) -> Scalar:
        if self.anneal_strategy == "linear":
            return a + (b - a) * share
        return b + (a - b) / 2 * (cos(math.pi * share) + 1)
