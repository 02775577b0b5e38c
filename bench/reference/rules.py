# SPDX-License-Identifier: MIT
"""The scalar functions of the reference and, beside each, its partial derivatives: once.

Start with `unary`: a function is made from its value on floats and one formula for its slope.  The formula
may use the result ``y`` and is written with the functions of this very file, so that it works on floats, on
dual numbers and on tape variables alike; derivatives of any order follow without a second rule.

Numbers that carry derivatives announce themselves by two names, and nothing here knows more about them:

* ``level``: the serial number of the derivative they belong to.  Where two levels meet, the higher one (the
  derivative that was started last, hence the inner one) acts, and the other is a constant to it.
* ``lift(call, partials, arguments)``: apply a function to arguments of which at least one has this level.

Values are those of Python's `math`; at the edge of a domain (``log(0.0)``) `math` raises, and so does the
reference, because an oracle should not guess.  Formulas: DLMF (https://dlmf.nist.gov), chapters 4, 5 and 7.
Kinks follow the package's table: abs'(0) = 0, relu'(0) = 0, ties of a maximum split evenly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from .special import digamma_value, polygamma_value, sinc_value

# A number of the reference: float, Dual or Variable, nested as deep as the derivative's order asks.
Number = Any
Function = Callable[..., Number]

_levels = itertools.count(1)


def new_level() -> int:
    """Return the level of a derivative that starts now; it is higher than that of all that are under way."""
    return next(_levels)


def level_of(x: Number) -> int:
    """Return the level of a number; plain numbers have level 0."""
    return 0 if isinstance(x, (float, int)) else x.level


def primal(x: Number) -> float:
    """Return the plain float beneath all derivatives; every decision (kinks, branches) is taken on it."""
    while not isinstance(x, (float, int)):
        x = x.primal
    return float(x)


def apply(call: Function, value: Callable[..., float], partials: Function, arguments: tuple[Number, ...]) -> Number:
    """Apply a function to numbers of any kind: the number of the highest level decides what that means."""
    top = max(arguments, key=level_of)
    if isinstance(top, (float, int)):
        return value(*arguments)
    return top.lift(call, partials, arguments)


def unary(value: Callable[[float], float], slope: Callable[[Number, Number], Number], name: str) -> Function:
    """Make a function of one argument from its value and its slope; ``slope(x, y)`` may use y = f(x)."""

    def partials(x: Number, y: Number) -> tuple[Number]:
        return (slope(x, y),)

    def call(x: Number) -> Number:
        return value(x) if x.__class__ is float else apply(call, value, partials, (x,))

    call.__name__ = call.__qualname__ = name
    return call


def binary(
    value: Callable[[float, float], float],
    partials: Callable[[Number, Number, Number], tuple[Number, Number]],
    name: str,
) -> Function:
    """Make a function of two arguments; ``partials(a, b, y)`` gives both partials, y = f(a, b)."""

    def call(a: Number, b: Number) -> Number:
        return apply(call, value, partials, (a, b))

    call.__name__ = call.__qualname__ = name
    return call


def _zero(*_: Number) -> float:
    return 0.0


def _zeros(*_: Number) -> tuple[float, float]:
    return 0.0, 0.0


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0)) if x == x else x


# Roots and powers.
sqrt = unary(math.sqrt, lambda x, y: 0.5 / y, "sqrt")
cbrt = unary(math.cbrt, lambda x, y: 1.0 / (3.0 * y * y), "cbrt")
square = unary(lambda x: x * x, lambda x, y: 2.0 * x, "square")
reciprocal = unary(lambda x: 1.0 / x, lambda x, y: -y * y, "reciprocal")


def _power_partials(a: Number, b: Number, y: Number) -> tuple[Number, Number]:
    # d(a**0)/da is 0 and not 0 * a**-1, which is NaN at a = 0; a negative base has no slope along b.
    along_a = b * power(a, b - 1.0) if primal(b) != 0.0 else 0.0
    along_b = y * log(a) if primal(a) > 0.0 else 0.0
    return along_a, along_b


power = binary(math.pow, _power_partials, "power")

# Exponentials and logarithms (DLMF 4.2, 4.10).
exp = unary(math.exp, lambda x, y: y, "exp")
exp2 = unary(math.exp2, lambda x, y: y * math.log(2.0), "exp2")
expm1 = unary(math.expm1, lambda x, y: y + 1.0, "expm1")
log = unary(math.log, lambda x, y: 1.0 / x, "log")
log2 = unary(math.log2, lambda x, y: 1.0 / (x * math.log(2.0)), "log2")
log10 = unary(math.log10, lambda x, y: 1.0 / (x * math.log(10.0)), "log10")
log1p = unary(math.log1p, lambda x, y: 1.0 / (1.0 + x), "log1p")

# Trigonometric functions and their inverses (DLMF 4.20, 4.24).
sin = unary(math.sin, lambda x, y: cos(x), "sin")
cos: Function = unary(math.cos, lambda x, y: -sin(x), "cos")
tan = unary(math.tan, lambda x, y: 1.0 + y * y, "tan")
arcsin = unary(math.asin, lambda x, y: 1.0 / sqrt((1.0 - x) * (1.0 + x)), "arcsin")
arccos = unary(math.acos, lambda x, y: -1.0 / sqrt((1.0 - x) * (1.0 + x)), "arccos")
arctan = unary(math.atan, lambda x, y: 1.0 / (1.0 + x * x), "arctan")
arctan2 = binary(math.atan2, lambda a, b, y: (b / (a * a + b * b), -a / (a * a + b * b)), "arctan2")
deg2rad = unary(math.radians, lambda x, y: math.pi / 180.0, "deg2rad")
rad2deg = unary(math.degrees, lambda x, y: 180.0 / math.pi, "rad2deg")

# Hyperbolic functions and their inverses (DLMF 4.34, 4.40); products keep the accuracy near |y| = 1.
sinh = unary(math.sinh, lambda x, y: cosh(x), "sinh")
cosh: Function = unary(math.cosh, lambda x, y: sinh(x), "cosh")
tanh = unary(math.tanh, lambda x, y: (1.0 - y) * (1.0 + y), "tanh")
arcsinh = unary(math.asinh, lambda x, y: 1.0 / sqrt(1.0 + x * x), "arcsinh")
arccosh = unary(math.acosh, lambda x, y: 1.0 / sqrt((x - 1.0) * (x + 1.0)), "arccosh")
arctanh = unary(math.atanh, lambda x, y: 1.0 / ((1.0 - x) * (1.0 + x)), "arctanh")


def _hypot_partials(a: Number, b: Number, y: Number) -> tuple[Number, Number]:
    return (a / y, b / y) if primal(y) != 0.0 else (0.0, 0.0)


hypot = binary(math.hypot, _hypot_partials, "hypot")


def _sinc_slope(x: Number, y: Number) -> Number:
    if abs(primal(x)) > 0.1:
        return (cos(math.pi * x) - y) / x
    # Near 0 the quotient cancels; the Taylor series of sin(pi x) / (pi x), term by term, does not.
    total: Number = 0.0
    for k in range(8, 0, -1):
        total = total * (x * x) + (-1) ** k * 2 * k * math.pi ** (2 * k) / math.factorial(2 * k + 1)
    return total * x


sinc = unary(sinc_value, _sinc_slope, "sinc")

# Special functions (DLMF 5.2, 5.15, 7.2).
erf = unary(math.erf, lambda x, y: 2.0 / math.sqrt(math.pi) * exp(-x * x), "erf")
erfc = unary(math.erfc, lambda x, y: -2.0 / math.sqrt(math.pi) * exp(-x * x), "erfc")
gammaln = unary(math.lgamma, lambda x, y: digamma(x), "gammaln")
digamma: Function = unary(digamma_value, lambda x, y: polygamma(1, x), "digamma")


def polygamma(n: int, x: Number) -> Number:
    """Return the n-th derivative of digamma, n >= 1; its own slope is the next one, so any order works."""
    return unary(lambda v: polygamma_value(n, v), lambda v, y: polygamma(n + 1, v), f"polygamma{n}")(x)


def _logistic_value(x: float) -> float:
    # exp of a negative number only: neither branch overflows.
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0.0 else math.exp(x) / (1.0 + math.exp(x))


def _logaddexp_value(a: float, b: float) -> float:
    return max(a, b) + math.log1p(math.exp(-abs(a - b))) if math.isfinite(a - b) else max(a, b)


def _logaddexp2_value(a: float, b: float) -> float:
    return _logaddexp_value(a * math.log(2.0), b * math.log(2.0)) / math.log(2.0)


logistic: Function = unary(_logistic_value, lambda x, y: y * logistic(-x), "logistic")
softplus = unary(lambda x: _logaddexp_value(x, 0.0), lambda x, y: logistic(x), "softplus")
logaddexp = binary(_logaddexp_value, lambda a, b, y: (exp(a - y), exp(b - y)), "logaddexp")
logaddexp2 = binary(_logaddexp2_value, lambda a, b, y: (exp2(a - y), exp2(b - y)), "logaddexp2")


def xlogy(a: Number, b: Number) -> Number:
    """Return a * log(b), and 0 where a is 0 whatever b is."""
    return a * log(b) if primal(a) != 0.0 else 0.0 * a


# Kinks and steps.
absolute = unary(abs, lambda x, y: _sign(primal(x)), "absolute")
sign = unary(_sign, _zero, "sign")
floor = unary(lambda x: float(math.floor(x)), _zero, "floor")
ceil = unary(lambda x: float(math.ceil(x)), _zero, "ceil")
trunc = unary(lambda x: float(math.trunc(x)), _zero, "trunc")
rint = unary(lambda x: float(round(x)), _zero, "rint")
relu = unary(lambda x: x if x > 0.0 else 0.0, lambda x, y: float(primal(x) > 0.0), "relu")
heaviside = binary(lambda a, b: b if a == 0.0 else float(a > 0.0), _zeros, "heaviside")
copysign = binary(
    math.copysign,
    lambda a, b, y: (math.copysign(1.0, primal(a)) * math.copysign(1.0, primal(b)), 0.0),
    "copysign",
)
floor_divide = binary(lambda a, b: a // b, _zeros, "floor_divide")
remainder = binary(lambda a, b: a % b, lambda a, b, y: (1.0, -(primal(a) // primal(b))), "remainder")
fmod = binary(math.fmod, lambda a, b, y: (1.0, -float(math.trunc(primal(a) / primal(b)))), "fmod")


def _share(a: Number, b: Number) -> float:
    """Return a's share of max(a, b): all, nothing, or half of a tie."""
    return 0.5 * (1.0 + _sign(primal(a) - primal(b)))


maximum = binary(max, lambda a, b, y: (_share(a, b), _share(b, a)), "maximum")
minimum = binary(min, lambda a, b, y: (_share(b, a), _share(a, b)), "minimum")


def leakyrelu(x: Number, scale: float = 0.01) -> Number:
    """Return x where it is positive, scale * x elsewhere."""
    return x if primal(x) > 0.0 else scale * x


def gelu(x: Number) -> Number:
    """Return x * Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016, the exact form)."""
    return 0.5 * x * erfc(x * -math.sqrt(0.5))


def clip(x: Number, low: Number, high: Number) -> Number:
    """Return x limited to [low, high], as NumPy defines it: min(max(x, low), high)."""
    return minimum(maximum(x, low), high)


def where(condition: bool, a: Number, b: Number) -> Number:
    """Return a or b; the branch that was not taken contributes nothing, not even a NaN."""
    return a if condition else b
