# SPDX-License-Identifier: MIT
"""Functions with derivatives of their own: `custom_jvp`, `custom_vjp`, and `checkpoint`.

Each wraps a function of trees. Without differentiation the function just runs. Under reverse mode its outputs become
values on the tape that depend on its inputs by the given rule (`_core.custom_node`); under forward mode the pairs are
taken apart, and a custom_jvp puts them together again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dualtape import _core
from dualtape._core import GradientError, TraceError, dlarray, stop_gradient
from dualtape.tree import Structure, check_same, flatten, unflatten

__all__ = ["checkpoint", "custom_jvp", "custom_vjp"]


class _Arguments:
    """Arguments split into dlarrays, which can be differentiated, and the rest, which stays as it is."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self._leaves, self._structure = flatten(args)
        self._places = [
            k for k, leaf in enumerate(self._leaves) if isinstance(leaf, dlarray) and leaf.dtype.kind == "f"
        ]

    @property
    def arrays(self) -> list[dlarray]:
        return [self._leaves[k] for k in self._places]

    def with_arrays(self, arrays: list[Any]) -> Any:
        """The arguments with other values for the dlarrays; None for the rest where `arrays` are tangents."""
        leaves = list(self._leaves)
        for k, array in zip(self._places, arrays, strict=True):
            leaves[k] = array
        return unflatten(self._structure, leaves)

    def tangents(self, arrays: list[Any]) -> Any:
        """Tangents in the structure of the arguments; 0.0 for what cannot be differentiated."""
        leaves: list[Any] = [0.0] * len(self._leaves)
        for k, array in zip(self._places, arrays, strict=True):
            leaves[k] = array
        return unflatten(self._structure, leaves)

    def cotangents(self, tree: Any, name: str) -> list[Any]:
        """Cotangents of the dlarrays out of a tree for all arguments."""
        given = tree if isinstance(tree, tuple) else (tree,)
        result = []
        leaves, structure = flatten(tuple(0.0 if item is None else item for item in given))
        if structure != self._structure:
            check_same(self._structure, given, "arguments", f"{name}'s cotangents")
        for k in self._places:
            result.append(leaves[k])
        return result

    @property
    def level(self) -> int:
        return max((_core.level_of(array) for array in self.arrays), default=0)

    @property
    def tracked(self) -> bool:
        return any(_core.is_tracked(array) for array in self.arrays)


def _refuse_in_body(name: str) -> None:
    """The body of a rolled loop is differentiated by its ops, so a rule of its own keeps it from being traced."""
    if _core.is_rolling():
        raise TraceError(f"{name}: a loop whose body has a rule of its own runs step by step.")


def _wrap_outputs(inputs: list[dlarray], result: Any, callback: Callable[..., Any], *, rerun: bool = False) -> Any:
    leaves, structure = flatten(result)
    outputs = _core.custom_node(inputs, leaves, callback, rerun)
    return unflatten(structure, outputs)


class custom_vjp:
    """A function with a reverse-mode rule of its own.

    Parameters
    ----------
    fun : callable
        The function; its arguments and value may be trees.

    Notes
    -----
    `defvjp(forward, backward)` states the rule: ``forward(*args)`` returns ``(value, residuals)``, and
    ``backward(residuals, cotangent)`` returns a tuple with a cotangent (or None for zero) for each argument. Where
    the derivative is itself differentiated, `forward` runs again on traced arguments, so that second derivatives
    are those of `backward`. There is no forward-mode rule; use `custom_jvp` for both.

    Examples
    --------
    >>> import dualtape as dt
    >>> @dt.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda _, ct: (dt.numpy.clip(ct, -1.0, 1.0),))
    >>> dt.grad(lambda x: 10.0 * clipped(x))(3.0)
    dlarray(1.0)
    """

    def __init__(self, fun: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fun)
        self._fun = fun
        self._forward: Callable[..., Any] | None = None
        self._backward: Callable[..., Any] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """State the rule; see the class."""
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        if self._forward is None or self._backward is None:
            raise GradientError(
                f"custom_vjp: {self.__name__} has no rule yet; call {self.__name__}.defvjp(forward, backward)."  # type: ignore[attr-defined]
            )
        forward, backward = self._forward, self._backward
        _refuse_in_body("custom_vjp")
        arguments = _Arguments(args)
        if arguments.level:
            raise GradientError(
                f"custom_vjp: {self.__name__} has a reverse-mode rule only; "  # type: ignore[attr-defined]
                f"give it a custom_jvp to differentiate it in forward mode."
            )
        if not arguments.tracked:
            return self._fun(*args)
        result, residuals = forward(*arguments.with_arrays(stop_gradient(arguments.arrays)))
        structure = flatten(result)[1]

        def pull(inputs: list[dlarray], cotangents: list[dlarray]) -> list[Any]:
            saved = residuals
            if any(_core.is_tracked(x) for x in inputs):
                saved = forward(*arguments.with_arrays(inputs))[1]
            return arguments.cotangents(backward(saved, unflatten(structure, cotangents)), "custom_vjp")

        return _wrap_outputs(arguments.arrays, result, pull)


class custom_jvp:
    """A function with a forward-mode rule of its own, which serves reverse mode as well.

    Parameters
    ----------
    fun : callable
        The function; its arguments and value may be trees.

    Notes
    -----
    `defjvp(rule)` states the rule: ``rule(primals, tangents)`` returns ``(value, tangent)``, where the tangent is
    linear in the tangents. Reverse mode transposes it: the rule runs on a tape of its own, and the cotangent is
    pulled back from its tangent to the tangents it was given.

    Examples
    --------
    >>> import dualtape as dt
    >>> @dt.custom_jvp
    ... def cube(x):
    ...     return x**3
    >>> cube.defjvp(lambda primals, tangents: (cube(*primals), 3 * primals[0]**2 * tangents[0]))
    >>> dt.grad(cube)(2.0)
    dlarray(12.0)
    """

    def __init__(self, fun: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fun)
        self._fun = fun
        self._rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> None:
        """State the rule; see the class."""
        self._rule = rule

    def __call__(self, *args: Any) -> Any:
        if self._rule is None:
            raise GradientError(
                f"custom_jvp: {self.__name__} has no rule yet; call {self.__name__}.defjvp(rule)."  # type: ignore[attr-defined]
            )
        _refuse_in_body("custom_jvp")
        rule = self._rule
        arguments = _Arguments(args)
        if arguments.level:
            return _apply_rule(rule, arguments)
        if not arguments.tracked:
            return self._fun(*args)
        result = self._fun(*arguments.with_arrays(stop_gradient(arguments.arrays)))

        def pull(inputs: list[dlarray], cotangents: list[dlarray]) -> list[Any]:
            scope = _core.Scope()
            try:
                tangents = [scope.leaf(stop_gradient(x) * 0.0) for x in inputs]
                _, tangent = rule(arguments.with_arrays(inputs), arguments.tangents(tangents))
                pulled: list[Any] = scope.pull(flatten(tangent)[0], cotangents, tangents)
                return pulled
            finally:
                scope.close()

        return _wrap_outputs(arguments.arrays, result, pull)


def _apply_rule(rule: Callable[..., Any], arguments: _Arguments) -> Any:
    """The rule at the outermost level of the arguments, direction by direction."""
    level = arguments.level
    pairs = [_core.dual_parts(array, level) for array in arguments.arrays]
    directions = max(_core.directions_of(x) for x in arguments.arrays if _core.level_of(x) == level)
    primals = arguments.with_arrays([primal for primal, _ in pairs])

    def run(k: int | None) -> tuple[Any, Any]:
        tangents = []
        for primal, tangent in pairs:
            if tangent is None:
                tangents.append(stop_gradient(primal) * 0.0)
            else:
                tangents.append(tangent if k is None else tangent[k])
        return rule(primals, arguments.tangents(tangents))

    if not directions:
        value, tangent = run(None)
        values, structure = flatten(value)
        return _paired(values, flatten(tangent)[0], structure, level, 0)
    runs = [run(k) for k in range(directions)]
    values, structure = flatten(runs[0][0])
    each = [flatten(tangent)[0] for _, tangent in runs]
    stacked = [_core.stack([tangents[j] for tangents in each]) for j in range(len(values))]
    return _paired(values, stacked, structure, level, directions)


def _paired(values: list[Any], tangents: list[Any], structure: Structure, level: int, directions: int) -> Any:
    return unflatten(
        structure, [_core.make_dual(v, t, level, directions) for v, t in zip(values, tangents, strict=True)]
    )


def checkpoint(fun: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the same value and derivatives that keeps nothing of its inside on the tape.

    Parameters
    ----------
    fun : callable
        The function; its arguments and value may be trees. It must give the same value when it runs again.

    Returns
    -------
    callable
        Its outputs cost one node each. When a reverse pass comes by, `fun` runs again, and what it then records is
        used at once and forgotten: memory is traded for one more evaluation. A value that `fun` stores outside itself
    is therefore good for nothing after the pass; return what is needed.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.grad(dt.checkpoint(lambda x: x**3))(2.0)
    dlarray(12.0)
    """

    @functools.wraps(fun)
    def wrapped(*args: Any) -> Any:
        arguments = _Arguments(args)
        if arguments.level or not arguments.tracked:
            return fun(*args)
        result = fun(*arguments.with_arrays(stop_gradient(arguments.arrays)))

        def again(inputs: list[dlarray]) -> list[Any]:
            return flatten(fun(*arguments.with_arrays(inputs)))[0]

        return _wrap_outputs(arguments.arrays, result, again, rerun=True)

    return wrapped
