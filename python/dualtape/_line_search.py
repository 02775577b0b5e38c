# SPDX-License-Identifier: MIT
"""Line searches: along a direction, from a point with a downward slope, to a point with less loss.

A search gets the function along the line, where it starts, the first step to try, how often it may evaluate,
and the largest component of the direction. It returns the point that it settled on, whether that meets its
conditions, and the number of evaluations. Where the conditions cannot be met it settles on the lowest point
that it has seen.

Start reading at :func:`backtracking`, which is the simplest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

DECREASE, CURVATURE = 1e-4, 0.9  # c1 and c2 of the Wolfe conditions


class Point(NamedTuple):
    """The function at step t: its value, its slope along the line, its gradient."""

    t: float
    value: float
    slope: float
    gradient: np.ndarray[Any, np.dtype[np.float64]]


Along = Callable[[float], Point]
Outcome = tuple[Point, bool, int]


def _decreases(point: Point, start: Point) -> bool:
    return point.value <= start.value + DECREASE * point.t * start.slope  # False for NaN


def backtracking(along: Along, start: Point, t: float, most: int, size: float) -> Outcome:
    """Halve the step until the loss decreases enough (Armijo's condition)."""
    for evaluations in range(1, most + 1):
        point = along(t)
        if _decreases(point, start):
            return point, True, evaluations
        t *= 0.5
    return start, False, most


def weak_wolfe(along: Along, start: Point, t: float, most: int, size: float) -> Outcome:
    """Bisection and doubling until the loss decreases and the slope has risen (Lewis and Overton 2013)."""
    low, high, best = 0.0, math.inf, start
    for evaluations in range(1, most + 1):
        point = along(t)
        if not _decreases(point, start):
            high = t
        elif point.slope < CURVATURE * start.slope:
            low, best = t, point
        else:
            return point, True, evaluations
        t = 0.5 * (low + high) if high < math.inf else 2.0 * low
    return best, False, most


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points with slopes is least, within bounds (their interval if None)."""
    low, high = bounds if bounds is not None else (min(a.t, b.t), max(a.t, b.t))
    with np.errstate(all="ignore"):
        d1 = a.slope + b.slope - 3.0 * np.float64(a.value - b.value) / np.float64(a.t - b.t)
        square = d1 * d1 - a.slope * b.slope
        if not square >= 0.0:
            return (low + high) / 2.0
        d2 = np.sqrt(square)
        if a.t <= b.t:
            t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2))
        else:
            t = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2.0 * d2))
    return float(min(max(t, low), high))


def strong_wolfe(along: Along, start: Point, t: float, most: int, size: float, tolerance: float = 1e-9) -> Outcome:
    """Bracket and zoom with cubic interpolation (Nocedal and Wright, algorithms 3.5 and 3.6, with safeguards).

    The steps are those of PyTorch's ``strong_wolfe``, evaluation by evaluation; as there, `most` does not
    count the first one.
    """
    previous, point, count = start, along(t), 0
    bracket: list[Point] | None = None
    while count < most:
        if not _decreases(point, start) or (count > 1 and point.value >= previous.value):
            bracket = [previous, point]
            break
        if abs(point.slope) <= -CURVATURE * start.slope:
            return point, True, count + 1
        if point.slope >= 0.0:
            bracket = [previous, point]
            break
        bounds = (point.t + 0.01 * (point.t - previous.t), point.t * 10.0)
        t = cubic_minimum(previous, point, bounds)
        previous, point = point, along(t)
        count += 1
    if bracket is None:
        bracket = [start, point]

    low, high = (0, 1) if bracket[0].value <= bracket[1].value else (1, 0)
    stuck = False
    while count < most:
        left, right = sorted((bracket[0].t, bracket[1].t))
        if (right - left) * size < tolerance:
            break
        t = cubic_minimum(bracket[0], bracket[1])
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # too near an end: allowed once, then moved inwards
            if stuck or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        point = along(t)
        count += 1
        if not _decreases(point, start) or point.value >= bracket[low].value:
            bracket[high] = point
            low, high = (0, 1) if bracket[0].value <= bracket[1].value else (1, 0)
        else:
            if abs(point.slope) <= -CURVATURE * start.slope:
                return point, True, count + 1
            if point.slope * (bracket[high].t - bracket[low].t) >= 0.0:
                bracket[high] = bracket[low]
            bracket[low] = point
    best = bracket[low]
    completed = best.t > 0.0 and _decreases(best, start) and abs(best.slope) <= -CURVATURE * start.slope
    return best, completed, count + 1


def _strong_wolfe_evaluations(along: Along, start: Point, t: float, most: int, size: float) -> Outcome:
    return strong_wolfe(along, start, t, most - 1, size)


METHODS: dict[str, Callable[[Along, Point, float, int, float], Outcome]] = {
    "weak-wolfe": weak_wolfe,
    "strong-wolfe": _strong_wolfe_evaluations,
    "backtracking": backtracking,
}
