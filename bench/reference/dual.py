# SPDX-License-Identifier: MIT
"""Forward mode: dual numbers, and the derivatives that they give.

A dual number is a primal with a tangent beside it, a + b e with e * e = 0 (Wengert 1964; the algebra is
Clifford's).  Start with `jvp`: it gives every input its tangent, runs the function, and reads the tangent of
the result.  Both parts may be dual numbers or tape variables themselves, which is how second and higher
derivatives come about; the `level` of each keeps two derivatives of the same function apart (Siskind and
Pearlmutter 2005, "perturbation confusion").

The four operations are written out for speed; all other functions come from the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import rules
from .rules import Function, Number, level_of, new_level, primal


class Dual:
    """A primal and its tangent, both numbers of any kind of a lower level."""

    __slots__ = ("level", "primal", "tangent")

    def __init__(self, primal: Number, tangent: Number, level: int) -> None:
        self.primal = primal
        self.tangent = tangent
        self.level = level

    def __repr__(self) -> str:
        return f"Dual({self.primal!r}, {self.tangent!r})"

    def lift(self, call: Function, partials: Function, arguments: tuple[Number, ...]) -> Number:
        """Apply a function: its value on the primals, and the partials times the tangents."""
        level = self.level
        primals = tuple(split(x, level)[0] for x in arguments)
        y = call(*primals)
        tangent: Number = 0.0
        for x, partial in zip(arguments, partials(*primals, y), strict=True):
            step = split(x, level)[1]
            # A tangent that is exactly zero contributes exactly zero, whatever its partial is.
            if step.__class__ is not float or step != 0.0:
                tangent = tangent + partial * step
        return Dual(y, tangent, level)

    def __add__(self, other: Number) -> Number:
        if (both := meet(self, other)) is None:
            return NotImplemented
        a, da, b, db, level = both
        return Dual(a + b, da + db, level)

    __radd__ = __add__

    def __sub__(self, other: Number) -> Number:
        if (both := meet(self, other)) is None:
            return NotImplemented
        a, da, b, db, level = both
        return Dual(a - b, da - db, level)

    def __mul__(self, other: Number) -> Number:
        if (both := meet(self, other)) is None:
            return NotImplemented
        a, da, b, db, level = both
        return Dual(a * b, da * b + a * db, level)

    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> Number:
        if (both := meet(self, other)) is None:
            return NotImplemented
        a, da, b, db, level = both
        y = a / b
        return Dual(y, (da - y * db) / b, level)

    # A reflected call means that the other number is plain or a variable of a lower level: a constant here.
    def __rsub__(self, other: Number) -> Number:
        return Dual(other - self.primal, -self.tangent, self.level)

    def __rtruediv__(self, other: Number) -> Number:
        y = other / self.primal
        return Dual(y, -y * self.tangent / self.primal, self.level)

    def __pow__(self, other: Number) -> Number:
        if other.__class__ is int and other == 2:
            return Dual(self.primal * self.primal, 2.0 * self.primal * self.tangent, self.level)
        return rules.power(self, other)

    def __rpow__(self, other: Number) -> Number:
        return rules.power(other, self)

    def __neg__(self) -> Number:
        return Dual(-self.primal, -self.tangent, self.level)

    def __pos__(self) -> Number:
        return self

    def __abs__(self) -> Number:
        return rules.absolute(self)

    def __mod__(self, other: Number) -> Number:
        return rules.remainder(self, other)

    def __bool__(self) -> bool:
        return bool(self.primal) or bool(self.tangent)

    def __float__(self) -> float:
        return primal(self)

    # Branches follow the value alone, so that `if x < y` takes the path it takes on plain floats.
    def __lt__(self, other: Number) -> bool:
        return primal(self) < primal(other)

    def __le__(self, other: Number) -> bool:
        return primal(self) <= primal(other)

    def __gt__(self, other: Number) -> bool:
        return primal(self) > primal(other)

    def __ge__(self, other: Number) -> bool:
        return primal(self) >= primal(other)

    def __eq__(self, other: object) -> bool:
        return primal(self) == primal(other)

    __hash__ = None  # type: ignore[assignment]


def split(x: Number, level: int) -> tuple[Number, Number]:
    """Return primal and tangent of a number as a derivative of this level sees it: others are constants."""
    if x.__class__ is Dual and x.level == level:
        return x.primal, x.tangent
    return x, 0.0


def meet(x: Dual, other: Number) -> tuple[Number, Number, Number, Number, int] | None:
    """Return both numbers split at the higher of their levels, and that level.

    None says that the other is a tape variable of a higher level, whose own operation has to act.
    """
    level = level_of(other)
    if level <= x.level:
        level = x.level
    elif other.__class__ is not Dual:
        return None
    return *split(x, level), *split(other, level), level


def jvp(f: Callable[..., Number], primals: Sequence[Number], tangents: Sequence[Number]) -> tuple[Number, Number]:
    """Return f at the primals and its derivative in the direction of the tangents.

    Parameters
    ----------
    f
        A function of as many numbers as there are primals; it returns one number or a sequence of numbers.
    primals, tangents
        The point and the direction, of equal length.

    Returns
    -------
    tuple
        ``(value, derivative)``, each a number, or a list where f returns a sequence.
    """
    level = new_level()
    result = f(*(Dual(x, t, level) for x, t in zip(primals, tangents, strict=True)))
    if isinstance(result, (list, tuple)):
        parts = [split(y, level) for y in result]
        return [y for y, _ in parts], [dy for _, dy in parts]
    return split(result, level)


def derivative(f: Callable[[Number], Number], order: int = 1) -> Callable[[Number], Number]:
    """Return the derivative of a function of one number, of any order: jvp of jvp of ... f."""
    for _ in range(order):
        f = _derivative_once(f)
    return f


def _derivative_once(f: Callable[[Number], Number]) -> Callable[[Number], Number]:
    return lambda x: jvp(f, (x,), (1.0,))[1]
