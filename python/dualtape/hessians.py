# SPDX-License-Identifier: MIT
"""Second derivatives: `hessian` and `hvp`, forward over reverse.

Where nothing around asks for derivatives, the function runs once, tangents are pushed over its tape, and one reverse
pass pulls dual cotangents back (`second_order`). Otherwise forward mode is put over reverse mode as written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from dualtape import _core
from dualtape._arguments import (
    as_dlarray,
    as_given,
    check_argnums,
    is_nested,
    make_leaves,
    read_argnums,
    require_scalar,
    shape_of,
)
from dualtape._core import GradientError, ShapeError, dlarray
from dualtape.forward import basis, jacfwd, jvp, per_input
from dualtape.reverse import grad, jacrev, vjp
from dualtape.tree import check_same, flatten, unflatten

__all__ = ["hessian", "hvp"]


def hessian(fun: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that returns the Hessian of `fun`, by forward over reverse.

    Parameters
    ----------
    fun : callable
        A function with a scalar value.
    argnums : int
        The positional argument to differentiate with respect to; it may be a tree.

    Returns
    -------
    callable
        It returns an array of shape ``x.shape + x.shape``; for a tree, a tree of trees.

    Notes
    -----
    `fun` runs once. Tangents of all directions are pushed forward over the tape, and one reverse pass pulls dual
    cotangents back.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.hessian(lambda x: (x[1] - x[0]**2)**2 + (1 - x[0])**2)(dt.dlarray([2.0, 2.0]))
    dlarray([[42., -8.],
             [-8.,  2.]])
    """
    named = read_argnums("hessian", fun, argnums)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        (number,) = check_argnums("hessian", named, len(args))
        leaves, structure = flatten(args[number])
        tangents, total = basis(leaves)
        pairs = None
        if total and not is_nested(args):
            pairs = second_order(fun, args, kwargs, number, tangents, total)
        if pairs is None:
            gradient = grad(fun, number)
            try:
                return jacfwd(gradient, number)(*args, **kwargs)
            except GradientError:  # a custom_vjp has no forward rule; reverse over reverse needs none
                return jacrev(gradient, number)(*args, **kwargs)
        matrix = unflatten(structure, [per_input(leaves, structure, product) for _, product in pairs])
        return as_given(matrix, args[number])

    return wrapped


def second_order(
    fun: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    number: int,
    tangents: list[Any],
    directions: int,
) -> list[tuple[dlarray, dlarray]] | None:
    """(gradient, Hessian times tangents) for each leaf of one argument.

    None where the tape must not be used: inside another derivative that the function depends on, or where a custom
    rule has no second derivative on the tape.
    """
    scope = _core.Scope()
    try:
        if scope.nested:
            return None
        leaves, argument = make_leaves(scope, args[number])
        inputs = list(args)
        inputs[number] = argument
        y = require_scalar("hessian", fun(*inputs, **kwargs))
        if _core.level_of(y):
            return None
        try:
            pairs: list[tuple[dlarray, dlarray]] = scope.second_order(
                y, leaves, [as_dlarray(tangent) for tangent in tangents], directions
            )
        except GradientError:
            return None
        return pairs
    finally:
        scope.close()


def hvp(fun: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A function of ``(x, v)`` that returns the Hessian of `fun` at x times v, by forward over reverse.

    Parameters
    ----------
    fun : callable
        A function of one argument (a number, an array or a tree) with a scalar value.

    Returns
    -------
    callable
        ``product(x, v)`` has the structure and shapes of x. The Hessian itself is never formed; the cost is that of
        a few evaluations of `fun`.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.hvp(lambda x: (x**3).sum())(dt.dlarray([1.0, 2.0]), dt.dlarray([1.0, 1.0]))
    dlarray([ 6., 12.])
    """

    @functools.wraps(fun)
    def product(x: Any, v: Any) -> Any:
        leaves, structure = flatten(x)
        check_same(structure, v, "x", "v")
        tangents = flatten(v)[0]
        for leaf, tangent in zip(leaves, tangents, strict=True):
            if shape_of(leaf) != shape_of(tangent):
                raise ShapeError(f"hvp{shape_of(leaf)}: v has the shape {shape_of(tangent)}; it must have that of x.")
        pairs = None if is_nested((x, v)) else second_order(fun, (x,), {}, 0, tangents, 0)
        if pairs is None:
            try:
                return as_given(jvp(grad(fun), (x,), (v,))[1], x)
            except GradientError:  # as in hessian; the Hessian is symmetric
                return as_given(vjp(grad(fun), x)[1](v)[0], x)
        return as_given(unflatten(structure, [product for _, product in pairs]), x)

    return product
