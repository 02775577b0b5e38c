# SPDX-License-Identifier: MIT
"""Values of the special functions that Python's `math` lacks, on plain floats: sinc, digamma, polygamma.

Start with `digamma_value`.  All follow the same path: the recurrence carries the argument to where the
asymptotic series has converged (DLMF 5.5.2, 5.11.2, 5.15.5, 5.15.8), accurate to a few units in the last
place relative to the largest term of the sum.  Their derivatives are in `rules`.
"""

from __future__ import annotations

import math

# Bernoulli numbers B_2, B_4, ... B_16 (DLMF 24.2, table 24.2.1).
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)

# From here on the eight terms above reach double precision, for polygamma up to the order or so of its use.
_ASYMPTOTIC = 20.0


def sinc_value(x: float) -> float:
    """Return sin(pi x) / (pi x), 1 at x = 0: NumPy's normalised sinc."""
    return math.sin(math.pi * x) / (math.pi * x) if x != 0.0 else 1.0


def digamma_value(x: float) -> float:
    """Return the logarithmic derivative of the gamma function.

    Raises
    ------
    ValueError
        At the poles x = 0, -1, -2, ..., as `math.lgamma` does.
    """
    if x <= 0.0:
        if x == math.floor(x):
            raise ValueError("math domain error")
        # Reflection (DLMF 5.5.4): one tangent instead of as many steps as |x|.
        return digamma_value(1.0 - x) - math.pi / math.tan(math.pi * x)
    shift = 0.0
    while x < _ASYMPTOTIC:
        shift -= 1.0 / x
        x += 1.0
    series = 0.0
    for k in range(len(_BERNOULLI), 0, -1):
        series = (series + _BERNOULLI[k - 1] / (2 * k)) / (x * x)
    return shift + math.log(x) - 0.5 / x - series


def polygamma_value(n: int, x: float) -> float:
    """Return the n-th derivative of digamma, n >= 1 (trigamma for n = 1).

    Raises
    ------
    ValueError
        At the poles x = 0, -1, -2, ...
    """
    if x <= 0.0 and x == math.floor(x):
        raise ValueError("math domain error")
    outer = -1.0 if n % 2 == 0 else 1.0
    start = _ASYMPTOTIC + n
    shift = 0.0
    while x < start:
        shift += math.factorial(n) / x ** (n + 1)
        x += 1.0
    total = math.factorial(n - 1) / x**n + math.factorial(n) / (2.0 * x ** (n + 1))
    for k, bernoulli in enumerate(_BERNOULLI, start=1):
        # perm is the ratio of factorials (2k + n - 1)! / (2k)!.
        total += bernoulli * math.perm(2 * k + n - 1, n - 1) / x ** (2 * k + n)
    return outer * (shift + total)
