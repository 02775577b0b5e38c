# SPDX-License-Identifier: MIT
"""Reverse mode: `value_and_grad`, `grad`, `vjp` and `jacrev`.

Each opens a `Scope` of the core, makes leaves of the inputs, runs the function and pulls cotangents back. Scopes nest,
so the functions nest in each other and in forward mode. Start reading at `value_and_grad`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._arguments import (
    Argnums,
    as_given,
    check_argnums,
    flatten_result,
    make_leaves,
    read_argnums,
    rebuild,
    require_scalar,
    shape_of,
    value_and_aux,
)
from dualtape._core import ShapeError, dlarray
from dualtape.tree import check_same, flatten, unflatten

__all__ = ["grad", "jacrev", "value_and_grad", "vjp"]


def value_and_grad(
    fun: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns the value of `fun` together with its gradient, by reverse mode.

    Parameters
    ----------
    fun : callable
        A function with a scalar value (with `has_aux`, a pair of that and anything else).
    argnums : int or sequence of int
        The positional arguments to differentiate with respect to. They may be numbers, arrays or trees.
    has_aux : bool
        Whether `fun` returns ``(value, aux)``.

    Returns
    -------
    callable
        It returns ``(value, gradient)``, or ``((value, aux), gradient)``. The gradient has the structure, shapes and
        dtypes of the argument; for a sequence of argnums it is a tuple. Of one ndarray it is an ndarray, so that
        ``scipy.optimize.minimize(value_and_grad(f), x, jac=True)`` works.

    Raises
    ------
    GradientError
        When called, if the value is not a scalar.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.value_and_grad(lambda x: x**3)(2.0)
    (dlarray(8.0), dlarray(12.0))
    """
    named = read_argnums("grad", fun, argnums, several=True)
    single = not np.iterable(argnums)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        numbers = check_argnums("grad", named, len(args))
        scope = _core.Scope()
        try:
            inputs = list(args)
            groups: list[list[dlarray]] = []
            for number in numbers:
                leaves, inputs[number] = make_leaves(scope, args[number])
                groups.append(leaves)
            result = fun(*inputs, **kwargs)
            value, aux = value_and_aux(result) if has_aux else (result, None)
            y = require_scalar("grad", value)
            flat = [leaf for leaves in groups for leaf in leaves]
            pulled = scope.pull([y], [np.ones(y.shape)], flat)
            gradients: list[Any] = []
            start = 0
            for number, leaves in zip(numbers, groups, strict=True):
                gradients.append(rebuild(args[number], pulled[start : start + len(leaves)]))
                start += len(leaves)
            gradient = gradients[0] if single else tuple(gradients)
            value, gradient = scope.outcome((((y, aux) if has_aux else y), gradient))
            return value, as_given(gradient, args[numbers[0]]) if single else gradient
        finally:
            scope.close()

    return wrapped


def grad(fun: Callable[..., Any], argnums: Argnums = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of `fun`, by reverse mode.

    Parameters and errors are those of `value_and_grad`. With `has_aux` the result is ``(gradient, aux)``.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.grad(dt.grad(lambda x: x**3))(5.0)
    dlarray(30.0)
    """
    both = value_and_grad(fun, argnums, has_aux=has_aux)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(fun: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The value of a function, and a function that pulls cotangents back through it.

    Parameters
    ----------
    fun : callable
        Any function of the primals.
    *primals
        Inputs: numbers, arrays or trees.

    Returns
    -------
    out
        What `fun` returns.
    pull : callable
        ``pull(cotangent)`` takes a cotangent in the structure of `out` and returns a tuple with the cotangent of
        each primal. It may be called any number of times, also after an outer evaluation has begun.

    Examples
    --------
    >>> import dualtape as dt
    >>> out, pull = dt.vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> pull(1.0)
    (dlarray(3.0), dlarray(2.0))
    """
    scope = _core.Scope(persistent=True)
    try:
        groups: list[list[dlarray]] = []
        inputs = []
        for primal in primals:
            leaves, argument = make_leaves(scope, primal)
            groups.append(leaves)
            inputs.append(argument)
        ys, structure = flatten_result(fun(*inputs))
        out = scope.outcome(unflatten(structure, ys))
    finally:
        scope.close()
    flat = [leaf for leaves in groups for leaf in leaves]

    def pull(cotangent: Any) -> tuple[Any, ...]:
        check_same(structure, cotangent, "out", "cotangent")
        given = flatten(cotangent)[0]
        for y, ct in zip(ys, given, strict=True):
            if shape_of(y) != shape_of(ct):
                raise ShapeError(
                    f"pull({shape_of(ct)}): the cotangent does not have the shape of the function's value, "
                    f"{shape_of(y)}; they must be equal."
                )
        pulled = scope.pull(ys, given, flat)
        result, start = [], 0
        for primal, leaves in zip(primals, groups, strict=True):
            result.append(rebuild(primal, pulled[start : start + len(leaves)]))
            start += len(leaves)
        return tuple(result)

    return out, pull


def jacrev(fun: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that returns the Jacobian of `fun`, by reverse mode with one pull for each element of the value.

    Parameters and result are those of `jacfwd`; best where there are fewer outputs than inputs.
    """
    named = read_argnums("jacrev", fun, argnums)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        (number,) = check_argnums("jacrev", named, len(args))

        def of_argument(argument: Any) -> Any:
            inputs = list(args)
            inputs[number] = argument
            return fun(*inputs, **kwargs)

        out, pull = vjp(of_argument, args[number])
        outputs, out_structure = flatten(out)
        _, structure = flatten(args[number])
        zeros = [np.zeros(shape_of(output)) for output in outputs]
        jacobians = []
        for k, output in enumerate(outputs):
            rows: list[list[Any]] = []
            for place in np.ndindex(shape_of(output)):
                one = np.zeros(shape_of(output))
                one[place] = 1.0
                cotangents: list[Any] = [*zeros[:k], one, *zeros[k + 1 :]]
                rows.append(flatten(pull(unflatten(out_structure, cotangents))[0])[0])
            shape = tuple(shape_of(output))
            blocks = []
            for j, leaf in enumerate(flatten(args[number])[0]):
                inner = shape_of(leaf)
                if rows:
                    blocks.append(_core.stack([row[j] for row in rows]).reshape((*shape, *inner)).copy())
                else:
                    blocks.append(dlarray(np.zeros((*shape, *inner))))
            jacobians.append(unflatten(structure, blocks))
        return as_given(unflatten(out_structure, jacobians), args[number])

    return wrapped
