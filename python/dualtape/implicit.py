# SPDX-License-Identifier: MIT
"""Values defined by equations: `root` and `fixed_point`, with the derivatives of the implicit function theorem.

The solution is found without any derivative being recorded. Then come two steps of Newton's method, which leave it
where it is but depend on the parameters: if a step starts at a point whose derivatives are right up to order k, those
of the result are right up to order 2 k + 1. From a constant (order 0), two steps give the derivatives up to the third
order, in both modes, and they are made of ops like everything else, so they trace and run in lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import NumericError, ShapeError, dlarray, stop_gradient
from dualtape.forward import jacfwd

__all__ = ["fixed_point", "root"]

Function = Callable[..., Any]


def _size(x: Any) -> dlarray:
    return _core.max(_core.elementwise.absolute(x))


def _newton_step(f: Function, x: dlarray) -> dlarray:
    """Minus what is to be subtracted from x."""
    value = f(x)
    if value.shape != x.shape:
        raise ShapeError(
            f"root({x.shape}): f(x) has the shape {value.shape}; there must be an equation for each unknown."
        )
    slopes = _core.reshape(jacfwd(f)(x), (x.size, x.size))
    step = _core.linalg.solve(slopes, _core.reshape(value, (x.size, 1)))
    return _core.reshape(step, x.shape)


def _newton(f: Function, x: dlarray, tolerance: float, max_iterations: int) -> dlarray:
    """Newton's method; steps are halved while they make things worse."""
    size = _size(f(x))
    for _ in range(max_iterations):
        if size <= tolerance:
            return x
        step = _newton_step(f, x)
        for _ in range(30):
            ahead = x - step
            ahead_size = _size(f(ahead))
            if ahead_size < size:
                break
            step = step * 0.5
        else:
            break  # as near as rounding lets it come, or stuck
        x, size = ahead, ahead_size
    if size <= max(tolerance, 1e-8):
        return x
    raise NumericError(
        f"root({x.shape}): no solution was found in {max_iterations} iterations; the largest residual is "
        f"{float(size):.3g}; start nearer to one, or give a solver of your own."
    )


def _iterate(f: Function, x: dlarray, tolerance: float, max_iterations: int) -> dlarray:
    for _ in range(max_iterations):
        following = f(x)
        if following.shape != x.shape:
            raise ShapeError(f"fixed_point({x.shape}): f(x) has the shape {following.shape}; it must be that of x.")
        done = _size(following - x) <= tolerance
        x = following
        if done:
            return x
    raise NumericError(
        f"fixed_point({x.shape}): x and f(x) still differ after {max_iterations} iterations; does f contract? root "
        "solves x - f(x) = 0 by Newton's method."
    )


def _solution(find: Function, equation: Function, x0: Any, args: tuple[Any, ...]) -> dlarray:
    """A solution found on constants, with its dependence on the arguments put back."""
    start = stop_gradient(x0 if isinstance(x0, dlarray) else dlarray(np.asarray(x0, dtype=float)))
    constants = stop_gradient(args)
    x = stop_gradient(find(constants, start))
    for _ in range(2):
        x = x - _newton_step(lambda x: equation(x, *args), x)
    return x


def root(
    f: Function,
    x0: Any,
    *args: Any,
    solver: Function | None = None,
    tolerance: float = 1e-12,
    max_iterations: int = 100,
) -> dlarray:
    """A solution x of f(x, *args) = 0, with derivatives with respect to the arguments.

    Parameters
    ----------
    f : callable
        Takes x and the arguments and returns an array of the shape of x. What it closes over is not differentiated.
    x0 : array
        Where to start; the solution does not depend on it.
    *args : tree of arrays
        Parameters.
    solver : callable, optional
        ``solver(g, x0)`` returns a solution of g(x) = 0; by default Newton's method with halved steps.
    tolerance : float
        The largest absolute value of f at a solution.
    max_iterations : int

    Returns
    -------
    dlarray, of the shape of x0
        Derivatives are right up to the third order; they need the matrix of slopes of f with respect to x, which must
        be regular.

    Raises
    ------
    NumericError
        No solution was found, or the slopes are singular there.
    ShapeError
        f(x) has another shape than x.

    Examples
    --------
    >>> import dualtape as dt
    >>> x = dt.root(lambda x, a: x**2 - a, 1.0, dt.dlarray(2.0))
    >>> slope = dt.grad(lambda a: dt.root(lambda x, a: x**2 - a, 1.0, a))(2.0)
    >>> print(f"{float(x):.6f} {float(slope):.6f}")
    1.414214 0.353553
    """

    def find(constants: tuple[Any, ...], start: dlarray) -> dlarray:
        def g(x: Any) -> Any:
            return f(x, *constants)

        return _newton(g, start, tolerance, max_iterations) if solver is None else solver(g, start)

    return _solution(find, f, x0, args)


def fixed_point(f: Function, x0: Any, *args: Any, tolerance: float = 1e-12, max_iterations: int = 10_000) -> dlarray:
    """The x that f(x, *args) leaves where it is, found by repetition, with derivatives with respect to the arguments.

    Parameters
    ----------
    f : callable
        Takes x and the arguments and returns the next x.
    x0 : array
        Where to start.
    *args : tree of arrays
        Parameters.
    tolerance : float
        The largest absolute value of f(x) - x at the end.
    max_iterations : int

    Returns
    -------
    dlarray, of the shape of x0
        Derivatives are right up to the third order, and cost nothing for each iteration.

    Raises
    ------
    NumericError
        It does not converge.
    ShapeError
        f(x) has another shape than x.

    Examples
    --------
    >>> import numpy as np
    >>> import dualtape as dt
    >>> slope = dt.grad(lambda a: dt.fixed_point(lambda x, a: np.cos(a * x), 0.5, a))(1.0)
    >>> print(f"{float(slope):.6f}")
    -0.297474
    """

    def find(constants: tuple[Any, ...], start: dlarray) -> dlarray:
        return _iterate(lambda x: f(x, *constants), start, tolerance, max_iterations)

    return _solution(find, lambda x, *more: x - f(x, *more), x0, args)
