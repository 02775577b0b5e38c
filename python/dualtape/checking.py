# SPDX-License-Identifier: MIT
"""`check_grads`: derivatives of a function against central differences, in both modes and to any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dualtape._arguments import shape_of
from dualtape._core import GradientError, dlarray, extractdata
from dualtape.forward import jvp
from dualtape.reverse import vjp
from dualtape.tree import flatten, paths, unflatten

__all__ = ["check_grads"]


def _numbers(tree: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(extractdata(leaf), float) for leaf in flatten(tree)[0]]


def _inner(a: Sequence[Any], b: Sequence[Any]) -> float:
    return float(sum(np.sum(x * y) for x, y in zip(a, b, strict=True)))


def check_grads(
    fun: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    *,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    seed: int = 0,
) -> None:
    """Compare a function's derivatives with central differences along random directions.

    Parameters
    ----------
    fun : callable
        A function whose arguments and value may be trees of numbers and arrays.
    args : sequence
        The point at which to check, as float64 data.
    order : int
        How many times to differentiate.
    modes : 'fwd', 'rev' or a sequence of them
        Which modes to check.
    eps : float
        Step of the differences, relative to 1.
    rtol, atol : float
        Agreement asked for.
    seed : int
        Seed of the directions.

    Raises
    ------
    GradientError
        Naming the mode, the order and the output that disagrees.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.check_grads(lambda x: x**3, (2.0,), order=2)
    """
    if not isinstance(args, (tuple, list)):
        raise TypeError("check_grads: args must be a tuple with one entry for each argument: check_grads(fun, (x,)).")
    modes = (modes,) if isinstance(modes, str) else modes
    unknown = set(modes) - {"fwd", "rev"}
    if unknown:
        raise ValueError(f"check_grads: modes are 'fwd' and 'rev'; {sorted(unknown)} were given.")
    _check(fun, tuple(args), order, tuple(modes), eps, rtol, atol, np.random.default_rng(seed), 1)


def _check(
    fun: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    eps: float,
    rtol: float,
    atol: float,
    rng: np.random.Generator,
    depth: int,
) -> None:
    leaves, structure = flatten(args)
    points = [np.asarray(extractdata(leaf), float) for leaf in leaves]
    directions = [rng.standard_normal(shape_of(point)) for point in points]

    def at(sign: float) -> list[np.ndarray[Any, Any]]:
        moved = [dlarray(p + sign * eps * d) for p, d in zip(points, directions, strict=True)]
        return _numbers(fun(*unflatten(structure, moved)))

    numeric = [(up - down) / (2 * eps) for up, down in zip(at(1.0), at(-1.0), strict=True)]
    tangents = unflatten(structure, [dlarray(d) for d in directions])
    primals = unflatten(structure, [dlarray(p) for p in points])

    def compare(mode: str, name: str, found: Any, expected: Any) -> None:
        if not np.allclose(found, expected, rtol=rtol, atol=atol, equal_nan=True):
            worst = float(np.max(np.abs(np.asarray(found) - np.asarray(expected))))
            raise GradientError(
                f"check_grads: {mode} derivative of order {depth} of {name} differs from central differences by "
                f"{worst:.3g}; the rule may be wrong, or the function is not smooth at this point."
            )

    if "fwd" in modes:
        out, tangent = jvp(fun, primals, tangents)
        for name, found, expected in zip(paths(out, "out"), _numbers(tangent), numeric, strict=True):
            compare("forward-mode", name, found, expected)
    if "rev" in modes:
        out, pull = vjp(fun, *primals)
        outputs, out_structure = flatten(out)
        cotangents = [rng.standard_normal(shape_of(output)) for output in outputs]
        pulled = _numbers(pull(unflatten(out_structure, [dlarray(c) for c in cotangents])))
        compare("reverse-mode", "the value", _inner(pulled, directions), _inner(cotangents, numeric))
    if order > 1:
        if "fwd" in modes:
            _check(lambda *a: jvp(fun, a, tangents)[1], args, order - 1, modes, eps, rtol, atol, rng, depth + 1)
        if "rev" in modes:
            outputs, out_structure = flatten(fun(*primals))
            fixed = unflatten(out_structure, [dlarray(rng.standard_normal(shape_of(o))) for o in outputs])
            _check(lambda *a: vjp(fun, *a)[1](fixed), args, order - 1, modes, eps, rtol, atol, rng, depth + 1)
