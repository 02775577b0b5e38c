# SPDX-License-Identifier: MIT
"""Functional transformations: a function goes in, its derivative comes out.

Reverse mode opens a `Scope` of the core, makes leaves of the inputs, runs the function and pulls a cotangent
back (`value_and_grad`, `vjp`, `jacrev`). Forward mode pairs each input with a tangent at a level of its own and
runs the function on the pairs (`jvp`, `jacfwd`). `hessian` and `hvp` do forward over reverse. Everything nests in
everything, and inputs and outputs may be trees (see `dualtape.tree`). Start reading at `value_and_grad` and `jvp`.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import GradientError, ShapeError, dlarray
from dualtape.tree import Structure, check_same, flatten, unflatten

__all__ = ["grad", "hessian", "hvp", "jacfwd", "jacrev", "jvp", "linearize", "value_and_grad", "vjp"]

Argnums = int | Sequence[int]


def _as_dlarray(value: Any) -> dlarray:
    return value if isinstance(value, dlarray) else dlarray(value)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a dlarray or of anything NumPy understands, without converting the former."""
    return value.shape if isinstance(value, dlarray) else np.shape(value)


def _leaves(scope: _core.Scope, argument: Any) -> tuple[list[dlarray], Any]:
    """The leaves of an argument as things to differentiate with respect to, and the argument made of them.

    The function gets copies, so that an assignment to its argument does not change what the leaf is.
    """
    if isinstance(argument, (dlarray, float)):
        leaf = scope.leaf(argument)
        return [leaf], leaf.copy()
    values, structure = flatten(argument)
    leaves = [scope.leaf(value) for value in values]
    return leaves, unflatten(structure, [leaf.copy() for leaf in leaves])


def _rebuild(argument: Any, leaves: list[Any]) -> Any:
    """`leaves` in the structure of `argument`."""
    if isinstance(argument, (dlarray, float)):
        return leaves[0]
    return unflatten(flatten(argument)[1], leaves)


def _read_argnums(name: str, fun: Any, argnums: Any, *, several: bool = False) -> tuple[int, ...]:
    """The argnums as a tuple, and a look at what is to be transformed: both are known before any call."""
    if not callable(fun):
        raise TypeError(
            f"{name}: the first argument must be the function to differentiate; a {type(fun).__name__} was given; "
            f"write {name}(fun)(x), not {name}(fun(x))."
        )
    try:
        return tuple(map(operator.index, argnums)) if several and np.iterable(argnums) else (operator.index(argnums),)
    except TypeError:
        raise TypeError(
            f"{name}: argnums must be a whole number{' or several' if several else ''}; {argnums!r} was given; "
            f"the point comes in a call of its own: {name}(fun)(x)."
        ) from None


def _check_argnums(name: str, numbers: tuple[int, ...], count: int) -> tuple[int, ...]:
    for number in numbers:
        if not -count <= number < count:
            raise ValueError(
                f"{name}: argnums names argument {number}; the function was called with {count} positional "
                f"arguments; "
                + (f"name one of 0 to {count - 1}." if count else "pass what to differentiate by position.")
            )
    positive = tuple(number % count for number in numbers)
    if len(set(positive)) < len(positive):
        raise ValueError(f"{name}: argnums names an argument twice; {numbers} was given; name each once.")
    return positive


def _scalar(name: str, value: Any) -> dlarray:
    if value is None or isinstance(value, (tuple, list, dict)):
        remedy = "return the loss" if value is None else "return one scalar, or (value, aux) with has_aux=True"
        raise GradientError(
            f"{name}: the function must return a scalar; it returned {'' if value is None else 'a '}"
            f"{'None' if value is None else type(value).__name__}; {remedy}."
        )
    y = _as_dlarray(value)
    if y.size != 1:
        raise GradientError(
            f"{name}{y.shape}: the function's value is not a scalar; reduce it, for instance with .sum(), "
            f"or use jacrev or jacfwd."
        )
    return y


def _value_and_aux(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise GradientError(
            f"grad: with has_aux=True the function must return (value, aux); it returned "
            f"{f'{len(result)} values' if isinstance(result, tuple) else f'a {type(result).__name__}'}; "
            f"put everything but the value into aux."
        )
    return result


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
        dtypes of the argument; for a sequence of argnums it is a tuple.

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
    named = _read_argnums("grad", fun, argnums, several=True)
    single = not np.iterable(argnums)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        numbers = _check_argnums("grad", named, len(args))
        scope = _core.Scope()
        try:
            inputs = list(args)
            groups: list[list[dlarray]] = []
            for number in numbers:
                leaves, inputs[number] = _leaves(scope, args[number])
                groups.append(leaves)
            result = fun(*inputs, **kwargs)
            value, aux = _value_and_aux(result) if has_aux else (result, None)
            y = _scalar("grad", value)
            flat = [leaf for leaves in groups for leaf in leaves]
            pulled = scope.pull([y], [np.ones(y.shape)], flat)
            gradients: list[Any] = []
            start = 0
            for number, leaves in zip(numbers, groups, strict=True):
                gradients.append(_rebuild(args[number], pulled[start : start + len(leaves)]))
                start += len(leaves)
            gradient = gradients[0] if single else tuple(gradients)
            outcome: tuple[Any, Any] = scope.outcome((((y, aux) if has_aux else y), gradient))
            return outcome
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


def _push(fun: Callable[..., Any], pairs: Sequence[Any], level: int, directions: int) -> tuple[Any, Any]:
    """The value of `fun` on inputs paired at `level`, and its tangents, as trees."""
    leaves, structure = flatten(fun(*pairs))
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
    return _push(fun, unflatten(structure, pairs), level, 0)


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
            leaves, argument = _leaves(scope, primal)
            groups.append(leaves)
            inputs.append(argument)
        result = fun(*inputs)
        ys, structure = flatten(result)
        out = scope.outcome(result)
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
            result.append(_rebuild(primal, pulled[start : start + len(leaves)]))
            start += len(leaves)
        return tuple(result)

    return out, pull


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
        if scope.nested or _is_nested(primals):
            # Inside another derivative the tangents must stay connected to it, also where the function closes
            # over its variables; so each push is a run of its own.
            ys = None
            out = fun(*primals)
        else:
            leaves, inputs = _leaves(scope, primals)
            result = fun(*inputs)
            ys, structure = flatten(result)
            out = scope.outcome(result)
    finally:
        scope.close()
    if ys is None or any(_core.level_of(y) for y in ys):
        return out, lambda *tangents: jvp(fun, primals, tangents)[1]
    primal_structure = flatten(primals)[1]

    def push(*tangents: Any) -> Any:
        check_same(primal_structure, tangents, "primals", "tangents")
        given = [_as_dlarray(tangent) for tangent in flatten(tangents)[0]]
        for leaf, tangent in zip(leaves, given, strict=True):
            if leaf.shape != tangent.shape:
                raise ShapeError(
                    f"linearize{leaf.shape}: the tangent has the shape {tangent.shape}; they must be equal."
                )
        try:
            pushed = scope.push_forward(leaves, given, [_as_dlarray(y) for y in ys])
        except GradientError:  # a custom rule or a checkpoint, which cannot be pushed through but run again
            return jvp(fun, primals, tangents)[1]
        return unflatten(structure, pushed)

    return out, push


def _basis(leaves: Sequence[Any]) -> tuple[list[Any], int]:
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


def _per_input(leaves: Sequence[Any], structure: Structure, stacked: dlarray) -> Any:
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
    named = _read_argnums("jacfwd", fun, argnums)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        (number,) = _check_argnums("jacfwd", named, len(args))
        leaves, structure = flatten(args[number])
        tangents, total = _basis(leaves)
        if not total:  # no direction to push
            return jacrev(fun, number)(*args, **kwargs)
        level = _core.new_level()
        pairs = [_core.make_dual(x, t, level, total) for x, t in zip(leaves, tangents, strict=True)]
        inputs = list(args)
        inputs[number] = unflatten(structure, pairs)
        _, stacked = _push(lambda *a: fun(*a, **kwargs), inputs, level, total)
        outputs, out_structure = flatten(stacked)
        return unflatten(out_structure, [_per_input(leaves, structure, output) for output in outputs])

    return wrapped


def jacrev(fun: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """A function that returns the Jacobian of `fun`, by reverse mode with one pull for each element of the value.

    Parameters and result are those of `jacfwd`; best where there are fewer outputs than inputs.
    """
    named = _read_argnums("jacrev", fun, argnums)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        (number,) = _check_argnums("jacrev", named, len(args))

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
        return unflatten(out_structure, jacobians)

    return wrapped


def _is_nested(args: Any) -> bool:
    return any(_core.level_of(leaf) or _core.is_tracked(leaf) for leaf in flatten(args)[0])


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
    named = _read_argnums("hessian", fun, argnums)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        (number,) = _check_argnums("hessian", named, len(args))
        leaves, structure = flatten(args[number])
        tangents, total = _basis(leaves)
        pairs = None
        if total and not _is_nested(args):
            pairs = second_order(fun, args, kwargs, number, tangents, total)
        if pairs is None:
            gradient = grad(fun, number)
            try:
                return jacfwd(gradient, number)(*args, **kwargs)
            except GradientError:  # a custom_vjp has no forward rule; reverse over reverse needs none
                return jacrev(gradient, number)(*args, **kwargs)
        return unflatten(structure, [_per_input(leaves, structure, product) for _, product in pairs])

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
        leaves, argument = _leaves(scope, args[number])
        inputs = list(args)
        inputs[number] = argument
        y = _scalar("hessian", fun(*inputs, **kwargs))
        if _core.level_of(y):
            return None
        try:
            pairs: list[tuple[dlarray, dlarray]] = scope.second_order(
                y, leaves, [_as_dlarray(tangent) for tangent in tangents], directions
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
        pairs = None if _is_nested((x, v)) else second_order(fun, (x,), {}, 0, tangents, 0)
        if pairs is None:
            try:
                return jvp(grad(fun), (x,), (v,))[1]
            except GradientError:  # as in hessian; the Hessian is symmetric
                return vjp(grad(fun), x)[1](v)[0]
        return unflatten(structure, [product for _, product in pairs])

    return product
