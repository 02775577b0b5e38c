# SPDX-License-Identifier: MIT
"""Forward mode: `jvp`, `jacfwd` and `linearize`.

`jvp` and `jacfwd` pair each input with tangents at a level of its own and run the function on the pairs; levels keep
nested perturbations apart. `linearize` records the function once and pushes tangents over the tape. Start reading at
`jvp`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._arguments import (
    as_dlarray,
    as_given,
    check_argnums,
    flatten_result,
    is_nested,
    make_leaves,
    read_argnums,
    shape_of,
)
from dualtape._core import GradientError, ShapeError, dlarray
from dualtape.reverse import jacrev
from dualtape.tree import Structure, check_same, flatten, unflatten

__all__ = ["jacfwd", "jvp", "linearize"]


def push_pairs(fun: Callable[..., Any], pairs: Sequence[Any], level: int, directions: int) -> tuple[Any, Any]:
    """The value of `fun` on inputs paired at `level`, and its tangents, as trees."""
    leaves, structure = flatten_result(fun(*pairs))
    values, tangents = [], []
    for leaf in leaves:
        value, tangent = _core.dual_parts(leaf, level)
        if tangent is None:
            shape = shape_of(value)
            dtype = value.dtype if isinstance(value, dlarray) and value.dtype.kind == "f" else np.float64
            tangent = dlarray(np.zeros((directions, *shape) if directions else shape, dtype))
        values.append(value)
        tangents.append(tangent)
    return unflatten(structure, values), unflatten(structure, tangents)


def jvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The value of a function and its derivative along tangents, by forward mode with dual numbers.

    Parameters
    ----------
    fun : callable
        A function of as many positional arguments as there are primals.
    primals, tangents : sequence
        Inputs and their tangents: numbers, arrays or trees, equal in structure and shapes.

    Returns
    -------
    out, tangent
        What `fun` returns, and its derivative along the tangents, in the same structure.

    Raises
    ------
    ShapeError
        If a tangent has not the shape of its primal.
    ValueError
        If the structures differ.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    (dlarray(6.0), dlarray(3.0))
    """
    if not (isinstance(primals, (tuple, list)) and isinstance(tangents, (tuple, list))):
        raise TypeError(
            "jvp: primals and tangents must be tuples with one entry for each argument: jvp(fun, (x,), (v,))."
        )
    primals, tangents = tuple(primals), tuple(tangents)
    if len(primals) != len(tangents):
        raise ShapeError(
            f"jvp: {len(primals)} primals and {len(tangents)} tangents were given; each primal needs one tangent."
        )
    values, structure = flatten(primals)
    check_same(structure, tangents, "primals", "tangents")
    directions = flatten(tangents)[0]
    level = _core.new_level()
    pairs = [_core.make_dual(x, t, level) for x, t in zip(values, directions, strict=True)]
    return push_pairs(fun, unflatten(structure, pairs), level, 0)


def linearize(fun: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of a function, and its derivative there as a linear function of tangents.

    Parameters
    ----------
    fun : callable
        Any function of the primals. It runs once, unless there are custom rules or checkpoints in it.
    *primals
        Inputs: numbers, arrays or trees.

    Returns
    -------
    out
        What `fun` returns.
    push : callable
        ``push(*tangents)`` is the tangent of `out`, by a forward pass over the recorded tape.

    Examples
    --------
    >>> import dualtape as dt
    >>> out, push = dt.linearize(lambda x: x**2, 3.0)
    >>> push(1.0), push(10.0)
    (dlarray(6.0), dlarray(60.0))
    """
    scope = _core.Scope(persistent=True)
    try:
        if scope.nested or is_nested(primals):
            # Inside another derivative the tangents must stay connected to it, also where the function closes
            # over its variables; so each push is a run of its own.
            ys = None
            out = fun(*primals)
        else:
            leaves, inputs = make_leaves(scope, primals)
            ys, structure = flatten_result(fun(*inputs))
            out = scope.outcome(unflatten(structure, ys))
    finally:
        scope.close()
    if ys is None or any(_core.level_of(y) for y in ys):
        return out, lambda *tangents: jvp(fun, primals, tangents)[1]
    primal_structure = flatten(primals)[1]

    def push(*tangents: Any) -> Any:
        check_same(primal_structure, tangents, "primals", "tangents")
        given = [as_dlarray(tangent) for tangent in flatten(tangents)[0]]
        for leaf, tangent in zip(leaves, given, strict=True):
            if leaf.shape != tangent.shape:
                raise ShapeError(
                    f"linearize{leaf.shape}: the tangent has the shape {tangent.shape}; they must be equal."
                )
        try:
            pushed = scope.push_forward(leaves, given, [as_dlarray(y) for y in ys])
        except GradientError:  # a custom rule or a checkpoint, which cannot be pushed through but run again
            return jvp(fun, primals, tangents)[1]
        return unflatten(structure, pushed)

    return out, push


def basis(leaves: Sequence[Any]) -> tuple[list[Any], int]:
    """For each leaf the tangents that run through all elements of all leaves, with the directions first."""
    sizes = [math.prod(shape_of(leaf)) for leaf in leaves]
    total = sum(sizes)
    tangents, start = [], 0
    for leaf, size in zip(leaves, sizes, strict=True):
        shape = shape_of(leaf)
        dtype = np.float32 if getattr(leaf, "dtype", None) == np.float32 else np.float64
        tangent = np.zeros((total, size), dtype)
        tangent[start : start + size] = np.eye(size)
        tangents.append(tangent.reshape(total, *shape))
        start += size
    return tangents, total


def per_input(leaves: Sequence[Any], structure: Structure, stacked: dlarray) -> Any:
    """Tangents of one output, directions first, as a tree of Jacobians of shape out.shape + in.shape."""
    blocks, start = [], 0
    outer = stacked.shape[1:]
    for leaf in leaves:
        shape = shape_of(leaf)
        size = math.prod(shape)
        block = stacked[start : start + size].moveaxis(0, -1)
        blocks.append(block.reshape((*outer, *shape)).copy())
        start += size
    return unflatten(structure, blocks)


def jacfwd(fun: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that returns the Jacobian of `fun`, by forward mode in one pass with all directions.

    Parameters
    ----------
    fun : callable
        Any function; its value may be a tree.
    argnums : int
        The positional argument to differentiate with respect to; it may be a tree.

    Returns
    -------
    callable
        It returns, for each output and each input, an array of shape ``out.shape + in.shape``. Best where there are
        fewer inputs than outputs.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.jacfwd(lambda x: x**2)(dt.dlarray([1.0, 2.0]))
    dlarray([[2., 0.],
             [0., 4.]])
    """
    named = read_argnums("jacfwd", fun, argnums)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        (number,) = check_argnums("jacfwd", named, len(args))
        leaves, structure = flatten(args[number])
        tangents, total = basis(leaves)
        if not total:  # no direction to push
            return jacrev(fun, number)(*args, **kwargs)
        level = _core.new_level()
        pairs = [_core.make_dual(x, t, level, total) for x, t in zip(leaves, tangents, strict=True)]
        inputs = list(args)
        inputs[number] = unflatten(structure, pairs)
        _, stacked = push_pairs(lambda *a: fun(*a, **kwargs), inputs, level, total)
        outputs, out_structure = flatten(stacked)
        jacobian = unflatten(out_structure, [per_input(leaves, structure, output) for output in outputs])
        return as_given(jacobian, args[number])

    return wrapped
