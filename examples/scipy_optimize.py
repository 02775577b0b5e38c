# SPDX-License-Identifier: MIT
"""SciPy's optimizers with dualtape's derivatives: ten problems, and how often each function is evaluated.

    python examples/scipy_optimize.py

`value_and_grad(f)` goes into `minimize(..., jac=True)` as it is, `hessian(f)` and `hvp(f)` into `hess` and `hessp`,
`jacfwd(f)` into `least_squares` and `root`. Beside each run stands the same one with finite differences, which pays for
every derivative with an evaluation for each variable. Start reading at PROBLEMS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

import dualtape as dt


class Problem(NamedTuple):
    """A function, where to start, and the two ways to solve it: with our derivatives and without any."""

    name: str
    ours: Callable[[], Any]
    differences: Callable[[], Any]


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def beale(x: Any) -> Any:
    a, b = x
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def wood(x: Any) -> Any:
    a, b, c, d = x
    return (
        100 * (a**2 - b) ** 2 + (a - 1) ** 2 + (c - 1) ** 2 + 90 * (c**2 - d) ** 2
        + 10.1 * ((b - 1) ** 2 + (d - 1) ** 2) + 19.8 * (b - 1) * (d - 1)
    )  # fmt: skip


def powell(x: Any) -> Any:
    """Powell's function, whose Hessian is singular at the minimum."""
    a, b, c, d = x
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def styblinski(x: Any) -> Any:
    return 0.5 * np.sum(x**4 - 16 * x**2 + 5 * x)


def himmelblau(x: Any) -> Any:
    a, b = x
    return (a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2


def variably_dimensioned(x: Any) -> Any:
    """Function 25 of Moré, Garbow and Hillstrom (1981), of any number of variables."""
    weighted = np.sum(np.arange(1, x.size + 1) * (x - 1))
    return np.sum((x - 1) ** 2) + weighted**2 + weighted**4


RNG = np.random.default_rng(7)
FEATURES = RNG.standard_normal((80, 6))
LABELS = (FEATURES @ np.array([1.0, -2.0, 0.5, 0.0, 1.5, -1.0]) + RNG.logistic(size=80) > 0).astype(float)


def logistic(w: Any) -> Any:
    """Logistic regression with a penalty."""
    scores = FEATURES @ w
    return np.sum(np.logaddexp(0.0, scores) - LABELS * scores) + 0.5 * np.sum(w**2)


TIMES = np.linspace(0.0, 4.0, 40)
DECAY = 2.0 * np.exp(-1.3 * TIMES) + 0.7 * np.exp(-0.3 * TIMES) + 0.01 * RNG.standard_normal(40)


def decay(p: Any) -> Any:
    """Residuals of a sum of two exponentials."""
    return p[0] * np.exp(-p[1] * TIMES) + p[2] * np.exp(-p[3] * TIMES) - DECAY


def broyden(x: Any) -> Any:
    """Broyden's tridiagonal equations."""
    left = np.concatenate([np.zeros(1), x[:-1]])
    right = np.concatenate([x[1:], np.zeros(1)])
    return (3.0 - 2.0 * x) * x - left - 2.0 * right + 1.0


class Counted:
    """A function that counts its calls."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        self.count = 0

    def __call__(self, *args: Any) -> Any:
        self.count += 1
        return self.f(*args)


def minimized(name: str, f: Any, start: Any, method: str, **options: Any) -> Problem:
    """A problem for `minimize`; `options` are for both ways."""
    x = np.asarray(start, float)
    return Problem(
        f"{name} ({method})",
        lambda: optimize.minimize(dt.value_and_grad(f), x, jac=True, method=method, **options),
        lambda: optimize.minimize(f, x, method=method, **options),
    )


def with_second_order(name: str, f: Any, start: Any, keyword: str, second: Any) -> Problem:
    """Newton's method in a trust region; without derivatives, quasi-Newton with differences."""
    x = np.asarray(start, float)

    def ours() -> Any:
        derivative = Counted(second)
        more = {keyword: derivative}
        found = optimize.minimize(dt.value_and_grad(f), x, jac=True, method="trust-constr", **more)
        found.further = derivative.count
        return found

    return Problem(
        f"{name} (trust-constr, {keyword})",
        ours,
        lambda: optimize.minimize(f, x, method="trust-constr", jac="2-point", hess=optimize.BFGS()),
    )


def solved(name: str, solve: Any, f: Any, start: Any) -> Problem:
    """Equations or residuals, with the Jacobian."""
    x = np.asarray(start, float)

    def ours() -> Any:
        function, jacobian = Counted(f), Counted(dt.jacfwd(f))
        found = solve(function, x, jac=jacobian)
        found.nfev, found.further = function.count, jacobian.count
        return found

    def differences() -> Any:
        function = Counted(f)  # (least_squares leaves out the evaluations of its differences)
        found = solve(function, x)
        found.nfev = function.count
        return found

    return Problem(f"{name} ({solve.__name__})", ours, differences)


PROBLEMS = [
    minimized("Rosenbrock, 10 dimensions", rosenbrock, np.full(10, -1.0), "BFGS"),
    minimized("Beale", beale, [1.0, 1.0], "BFGS"),
    minimized("Wood", wood, [-3.0, -1.0, -3.0, -1.0], "BFGS"),
    minimized("Powell's singular function", powell, [3.0, -1.0, 0.0, 1.0], "CG"),
    minimized("Styblinski and Tang, in a box", styblinski, np.full(5, 0.5), "L-BFGS-B", bounds=[(-5, 5)] * 5),
    minimized("logistic regression", logistic, np.zeros(6), "L-BFGS-B"),
    with_second_order("Himmelblau", himmelblau, [0.0, 0.0], "hess", dt.hessian(himmelblau)),
    with_second_order(
        "variably dimensioned, 8 variables", variably_dimensioned, 1 - np.arange(1, 9) / 8,
        "hessp", dt.hvp(variably_dimensioned),
    ),
    solved("two exponentials", optimize.least_squares, decay, [1.0, 2.0, 1.0, 0.1]),
    solved("Broyden's equations, 12 unknowns", optimize.root, broyden, np.full(12, -1.0)),
]  # fmt: skip


def main() -> None:
    """Print the table."""
    print(f"{'evaluations of the function':58} {'with ours':>10} {'differences':>12} {'further':>12}")
    for name, ours, differences in PROBLEMS:
        mine, theirs = ours(), differences()
        print(f"{name:58} {mine.nfev:10} {theirs.nfev:12} {mine.get('further', 0):12}")


if __name__ == "__main__":
    main()
