# SPDX-License-Identifier: MIT
"""Loops that stay rolled: `scan`, `fori_loop` and `while_loop`.

The body is traced once, on the first state, whatever the number of steps, and the loop is one op in the core
(cpp/dualtape/loop/rolled.hpp), with derivatives of both modes and any order. It works on values, under differentiation,
in traced functions, and in the steps of `loop` and `sweep`, where each lane of a `while_loop` has its own count.

A decision on a value is traced both ways, and results are chosen among them. A body that cannot be traced (it takes a
number out of an array, draws random numbers or has a rule of `custom_vjp`) runs step by step in Python instead, with
the same results and derivatives; then every step is on the tape, or in the program, by itself. Start at `scan`.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import DTypeError, ShapeError, TraceError, dlarray
from dualtape.tree import Structure, check_same, flatten, paths, unflatten

__all__ = ["fori_loop", "scan", "while_loop"]


class _OtherDtype(BaseException):
    """A number in the state becomes an array of another dtype: begin again with that. No error of the body's."""

    def __init__(self, place: int, dtype: Any) -> None:
        super().__init__()
        self.place, self.dtype = place, dtype


class _State:
    """The state of a loop as leaves: dlarrays, and which of them are Python's numbers."""

    def __init__(self, where: str, init: Any) -> None:
        self.where = where
        leaves, self.structure = flatten(init)
        self.paths = paths(self.structure, "state")
        self.weak = [isinstance(leaf, (int, float)) and not isinstance(leaf, bool) for leaf in leaves]
        self.leaves = [
            dlarray(float(leaf)) if weak else leaf if isinstance(leaf, dlarray) else dlarray(np.asarray(leaf))
            for leaf, weak in zip(leaves, self.weak, strict=True)
        ]

    def tree(self, leaves: Sequence[Any]) -> Any:
        return unflatten(self.structure, list(leaves))

    def checked(self, new: Any) -> list[Any]:
        """The leaves of what the body returned, which must be like those of the state."""
        leaves, structure = flatten(new)
        if structure is not self.structure:
            try:
                check_same(self.structure, new, "init", "the new state")
            except ValueError as error:
                raise ValueError(
                    f"{self.where}: the state must keep its structure from step to step: {error}; return it as it came."
                ) from None
        out: list[Any] = []
        for place, (leaf, before) in enumerate(zip(leaves, self.leaves, strict=True)):
            after = leaf if isinstance(leaf, dlarray) else dlarray(np.asarray(leaf, dtype=before.dtype))
            if after.shape != before.shape:
                raise ShapeError(
                    f"{self.where}: {self.paths[place]} must keep its shape from step to step; it came as "
                    f"{before.shape} and the body returned {after.shape}; start with an array of the final shape."
                )
            if after.dtype != before.dtype:
                if _core.is_weak(after) and before.dtype.kind == "f":
                    after = after.astype(before.dtype)
                elif (self.weak[place] or before.dtype.kind == "i") and after.dtype.kind == "f":
                    raise _OtherDtype(place, after.dtype)
                else:
                    raise DTypeError(
                        f"{self.where}: {self.paths[place]} must keep its dtype from step to step; it came as "
                        f"{before.dtype} and the body returned {after.dtype}; start with the dtype of the result, or "
                        "use astype in the body."
                    )
            out.append(after)
        return out

    def promote(self, change: _OtherDtype) -> None:
        self.weak[change.place] = False
        self.leaves[change.place] = self.leaves[change.place].astype(change.dtype)


def _entries(xs: Any, length: int | None) -> tuple[list[dlarray], Structure, int]:
    """The leaves of what has an entry for each step, and the number of steps."""
    leaves, structure = flatten(xs)
    arrays = [leaf if isinstance(leaf, dlarray) else dlarray(np.asarray(leaf)) for leaf in leaves]
    names = paths(structure, "xs")
    for name, array in zip(names, arrays, strict=True):
        if array.ndim == 0:
            raise ShapeError(f"scan: {name} is a number; xs must have an entry for each step along its first axis.")
        if length is not None and array.shape[0] != length:
            raise ShapeError(
                f"scan: {name} has {array.shape[0]} entries, but there are {length} steps; all of xs and length must "
                "agree."
            )
        length = array.shape[0]
    if length is None:
        raise ShapeError("scan: the number of steps is unknown; give xs, or length=.")
    return arrays, structure, length


def _steps(length: Any) -> int | None:
    if length is None:
        return None
    steps = operator.index(length)
    if steps < 0:
        raise ShapeError(f"scan: length must be 0 or more; got {steps}.")
    return steps


def _rolled(
    state: _State, users: Sequence[Callable[..., Any]], body: Callable[..., list[Any]], *rest: Any
) -> list[dlarray] | None:
    """The loop as one op; None where the body cannot be traced.

    `users` are the functions in it that may do something else than compute. Where their code says so, they are not
    traced; where it turns out when they have run, that is an error, since they have done it already.
    """
    from dualtape._purity import purity  # here, since importing dualtape should stay quick

    with contextlib.ExitStack() as stack:
        try:
            for user in users:
                stack.enter_context(purity(user, state.where))
        except TraceError:
            return None
        while True:
            try:
                out: list[dlarray] | None = _core.roll(body, state.leaves, state.weak, *rest)
                return out
            except _OtherDtype as change:
                state.promote(change)
            except TraceError:
                return None


def scan(
    f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False
) -> tuple[Any, Any]:
    """Carry a state through the entries of arrays, and collect an output of each step.

    Parameters
    ----------
    f : callable
        ``f(carry, x) -> (carry, y)``. The carry keeps its structure, shapes and dtypes. What `f` takes from around it
        is differentiated like its arguments.
    init : tree
        The carry at the start: arrays and numbers.
    xs : tree of arrays, or None
        ``x`` is entry k of each along its first axis.
    length : int, optional
        The number of steps; needed where `xs` is None.
    reverse : bool
        Begin with the last entry. Outputs stay in the order of the entries.

    Returns
    -------
    carry : tree
        The carry at the end; numbers of Python are dlarrays then.
    ys : tree
        The outputs, stacked along a new first axis.

    Raises
    ------
    ShapeError, DTypeError
        Where the carry changes its shapes or dtypes, or the entries differ in number.

    Notes
    -----
    `f` is called once, to be traced, or once for each way through its decisions. Reverse mode keeps some states on the
    way and computes the others again (Griewank and Walther 2000): memory grows with the logarithm of the number of
    steps, and up to 1.2 million steps are computed at most twice each. Derivatives of any order go through forward and
    reverse mode alike.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.scan(lambda total, x: (total + x, total), 0.0, dt.dlarray([1.0, 2.0, 3.0]))
    (dlarray(6.0), dlarray([0., 1., 3.]))
    >>> dt.grad(lambda rate: dt.scan(lambda x, _: (x * rate, None), 1.0, length=10)[0])(2.0)
    dlarray(5120.0)
    """
    state = _State("scan", init)
    entries, of_entries, steps = _entries(xs, _steps(length))
    outputs: list[Structure] = []

    def body(carry: list[Any], entry: list[Any]) -> list[Any]:
        new, y = _pair(f(state.tree(carry), unflatten(of_entries, list(entry))))
        leaves, structure = flatten(y)
        outputs[:] = [structure]
        return [*state.checked(new), *(leaf if isinstance(leaf, dlarray) else dlarray(leaf) for leaf in leaves)]

    out = _rolled(state, [f], body, entries, steps, reverse, False)
    count = len(state.leaves)
    if out is not None:
        return state.tree(out[:count]), unflatten(outputs[0], out[count:])
    carry: list[Any] = state.leaves
    collected: list[list[Any]] = []
    for k in reversed(range(steps)) if reverse else range(steps):
        results = _again(state, body, carry, [x[k] for x in entries])
        carry = results[:count]
        collected.append(results[count:])
    if not collected:
        raise ShapeError("scan(0 steps): the body cannot be traced, so the shapes of its outputs are unknown.")
    stacked = [_core.stack(list(each)) for each in zip(*(collected[::-1] if reverse else collected), strict=True)]
    return state.tree(carry), unflatten(outputs[0], stacked)


def _pair(result: Any) -> tuple[Any, Any]:
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(
            f"scan: the body must return (carry, y); it returned {type(result).__name__}; "
            "return carry, None where there is no output."
        )
    return result


def _again(state: _State, step: Callable[..., list[Any]], *args: Any) -> list[Any]:
    """A step in Python; a number in the state that becomes an array stays one."""
    while True:
        try:
            return step(*args)
        except _OtherDtype as change:
            state.promote(change)


def fori_loop(lower: Any, upper: Any, body: Callable[..., Any], init: Any) -> Any:
    """Repeat ``state = body(i, state)`` for i = lower, ..., upper - 1.

    Parameters
    ----------
    lower, upper : int or scalar dlarray
        Where both are known numbers this is a `scan`; otherwise a `while_loop`, whose derivatives are as good.
    body : callable
        Takes i, a scalar, and the state.
    init : tree
        The state at the start.

    Returns
    -------
    tree
        The state at the end; `init` where there is no step.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.fori_loop(1, 6, lambda i, product: product * i, 1.0)
    dlarray(120.0)
    """
    first, last = _bound(lower), _bound(upper)
    if isinstance(first, dlarray) or isinstance(last, dlarray):
        return while_loop(lambda pair: pair[0] < last, lambda pair: (pair[0] + 1, body(*pair)), (first, init))[1]
    state = _State("fori_loop", (float(first), init))

    def step(carry: list[Any], entry: list[Any]) -> list[Any]:
        i, inner = state.tree(carry)
        return state.checked((i + 1, body(i, inner)))

    out = _rolled(state, [body], step, [], max(last - first, 0), False, False)
    if out is not None:
        return state.tree(out)[1]
    carry: list[Any] = state.leaves

    def in_python(i: int, carry: list[Any]) -> list[Any]:
        return state.checked((float(i), body(i, state.tree(carry)[1])))

    for i in range(first, last):
        carry = _again(state, in_python, i, carry)
    return state.tree(carry)[1]


def _bound(bound: Any) -> Any:
    """A bound as an int; as it is where it must not be frozen."""
    if isinstance(bound, dlarray) and (bound.tracked or _core.is_traced(bound) or _core.level_of(bound)):
        return bound
    return operator.index(int(bound)) if float(bound) == int(bound) else _refuse_bound(bound)


def _refuse_bound(bound: Any) -> Any:
    raise TypeError(f"fori_loop: bounds must be whole numbers; got {bound!r}.")


def while_loop(cond: Callable[..., Any], body: Callable[..., Any], init: Any) -> Any:
    """Repeat ``state = body(state)`` as long as ``cond(state)`` is true.

    Parameters
    ----------
    cond : callable
        Takes the state and returns one truth value.
    body : callable
        Takes the state and returns the next one, of the same structure, shapes and dtypes.
    init : tree
        The state at the start.

    Returns
    -------
    tree
        The first state for which `cond` is false.

    Notes
    -----
    The number of steps may depend on the data, and differs from lane to lane in a sweep. Reverse mode works, in
    bounded memory: half of 1680 states are kept on the way, evenly spread, and the others are computed again. The
    derivative is that of the steps that were made; where a small change would make one more step, there is a kink.

    Examples
    --------
    >>> import dualtape as dt
    >>> def newton(a):
    ...     return dt.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: 0.5 * (x + a / x), 1.0)
    >>> dt.value_and_grad(newton)(4.0)
    (dlarray(2.0), dlarray(0.25))
    """
    state = _State("while_loop", init)

    def truth(carry: Sequence[Any]) -> Any:
        answer = cond(state.tree(carry))
        if isinstance(answer, (bool, np.bool_)):
            return dlarray(np.asarray(bool(answer)))
        if isinstance(answer, dlarray) and answer.size == 1:
            return _core.reshape(answer, ())
        raise TypeError(
            f"while_loop: cond must return one truth value; it returned "
            f"{f'an array of shape {answer.shape}' if isinstance(answer, dlarray) else type(answer).__name__}; "
            "compare, as in lambda x: x > 1e-9, and use .all() or .any()."
        )

    def step(carry: list[Any], entry: list[Any]) -> list[Any]:
        begin = truth(carry)
        new = state.checked(body(state.tree(carry)))
        return [*new, truth(new), begin]

    out = _rolled(state, [cond, body], step, [], 0, False, True)
    if out is not None:
        return state.tree(out)
    carry: list[Any] = state.leaves

    def in_python(carry: list[Any]) -> list[Any]:
        return state.checked(body(state.tree(carry)))

    while bool(cond(state.tree(carry))):
        carry = _again(state, in_python, carry)
    return state.tree(carry)
