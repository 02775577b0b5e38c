# SPDX-License-Identifier: MIT
"""Reverse mode: a compact scalar tape, as fast as plain Python allows.

Start with `value_and_grad`.  Every operation on a `Variable` makes a new one that remembers its one or two
operands and the partial derivatives with respect to them, and pushes itself on the tape.  The pass backward
walks the tape once from its end (Speelpenning 1980; Griewank and Walther, "Evaluating Derivatives", section
3.2); there is no recursion and no sorting, so the length of the tape is limited by memory alone.

Why it looks as it does: an attribute of an object with slots is read faster than an entry of a list, and one
constructor call per operation is the price of everything, hence the constructor that does all.  Only one tape
is open at a time.  Second derivatives are forward over reverse, dual numbers through the tape (`hessian`), or
the tape inside a dual number's derivative: a variable's value may be any number of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import rules
from .dual import jvp
from .rules import Function, Number, level_of, new_level, primal


class Variable:
    """A number on the tape: its value, and its operands with the partials with respect to them."""

    __slots__ = ("_a", "_b", "_da", "_db", "adjoint", "primal")

    def __init__(
        self,
        value: Number,
        a: Variable | None = None,
        da: Number = 0.0,
        b: Variable | None = None,
        db: Number = 0.0,
    ) -> None:
        self.primal = value
        self.adjoint: Number = 0.0
        self._a = a
        self._da = da
        self._b = b
        self._db = db
        _push(self)

    def __repr__(self) -> str:
        return f"Variable({self.primal!r})"

    @property
    def level(self) -> int:
        """The level of the open tape."""
        return _open_level

    def lift(self, call: Function, partials: Function, arguments: tuple[Number, ...]) -> Number:
        """Apply a function of one or two numbers: its value, and one node with its partials."""
        values = tuple(x.primal if x.__class__ is Variable else x for x in arguments)
        y = call(*values)
        operands = [
            part
            for x, partial in zip(arguments, partials(*values, y), strict=True)
            if x.__class__ is Variable
            for part in (x, partial)
        ]
        return Variable(y, *operands)

    def __add__(self, other: Number) -> Number:
        if other.__class__ is Variable:
            return Variable(self.primal + other.primal, self, 1.0, other, 1.0)
        if level_of(other) > _open_level:
            return NotImplemented
        return Variable(self.primal + other, self, 1.0)

    __radd__ = __add__

    def __sub__(self, other: Number) -> Number:
        if other.__class__ is Variable:
            return Variable(self.primal - other.primal, self, 1.0, other, -1.0)
        if level_of(other) > _open_level:
            return NotImplemented
        return Variable(self.primal - other, self, 1.0)

    def __rsub__(self, other: Number) -> Number:
        return Variable(other - self.primal, self, -1.0)

    def __mul__(self, other: Number) -> Number:
        value = self.primal
        if other.__class__ is Variable:
            factor = other.primal
            return Variable(value * factor, self, factor, other, value)
        if level_of(other) > _open_level:
            return NotImplemented
        return Variable(value * other, self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> Number:
        if other.__class__ is Variable:
            divisor = other.primal
            y = self.primal / divisor
            return Variable(y, self, 1.0 / divisor, other, -y / divisor)
        if level_of(other) > _open_level:
            return NotImplemented
        return Variable(self.primal / other, self, 1.0 / other)

    def __rtruediv__(self, other: Number) -> Number:
        value = self.primal
        y = other / value
        return Variable(y, self, -y / value)

    def __pow__(self, other: Number) -> Number:
        if other.__class__ is int and other == 2:
            value = self.primal
            return Variable(value * value, self, value + value)
        return rules.power(self, other)

    def __rpow__(self, other: Number) -> Number:
        return rules.power(other, self)

    def __neg__(self) -> Number:
        return Variable(-self.primal, self, -1.0)

    def __pos__(self) -> Number:
        return self

    def __abs__(self) -> Number:
        return rules.absolute(self)

    def __mod__(self, other: Number) -> Number:
        return rules.remainder(self, other)

    def __bool__(self) -> bool:
        return bool(self.primal)

    def __float__(self) -> float:
        return primal(self)

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


_tape: list[Variable] = []
_push = _tape.append
# The level of the open tape, 0 when none is open.  Not an attribute of the class: to set one would throw away
# what the interpreter has learned about the class, at twice the price of everything else.
_open_level = 0


def _backward(y: Variable) -> None:
    """Walk the open tape from its end and leave in every variable the derivative of y with respect to it."""
    y.adjoint = 1.0
    for node in reversed(_tape):
        adjoint = node.adjoint
        a = node._a
        # A variable without operands is an input; an adjoint of zero contributes exactly zero.
        if a is not None and adjoint:
            a.adjoint += adjoint * node._da
            b = node._b
            if b is not None:
                b.adjoint += adjoint * node._db


def value_and_grad(f: Callable[..., Number]) -> Callable[..., tuple[Number, tuple[Number, ...]]]:
    """Return a function that gives f and its partial derivatives.

    Parameters
    ----------
    f
        A function of numbers that returns one number.

    Returns
    -------
    callable
        ``(value, (df/dx1, df/dx2, ...))`` of the arguments; the derivative along an argument that f does not
        depend on is 0.

    Raises
    ------
    RuntimeError
        If it is called while another tape is open; take the outer derivative with dual numbers instead.
    """

    def transformed(*inputs: Number) -> tuple[Number, tuple[Number, ...]]:
        global _open_level
        if _open_level:
            raise RuntimeError("tapes do not nest; take the outer derivative forwards, with dual.jvp")
        _open_level = new_level()
        try:
            variables = [Variable(x) for x in inputs]
            y = f(*variables)
            if y.__class__ is not Variable:
                return y, (0.0,) * len(inputs)
            _backward(y)
            return y.primal, tuple([x.adjoint for x in variables])
        finally:
            _tape.clear()
            _open_level = 0

    return transformed


def grad(f: Callable[..., Number]) -> Callable[..., tuple[Number, ...]]:
    """Return a function that gives the partial derivatives of f, one for each argument."""
    both = value_and_grad(f)
    return lambda *inputs: both(*inputs)[1]


def hessian(f: Callable[..., Number]) -> Callable[..., list[list[Any]]]:
    """Return a function that gives the matrix of second derivatives: forward over reverse, row by row."""
    slope = grad(f)

    def transformed(*inputs: Number) -> list[list[Any]]:
        return [jvp(slope, inputs, _unit(len(inputs), i))[1] for i in range(len(inputs))]

    return transformed


def _unit(n: int, i: int) -> Sequence[float]:
    return [float(i == j) for j in range(n)]
