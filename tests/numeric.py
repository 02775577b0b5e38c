# SPDX-License-Identifier: MIT
"""What tests of derivatives share: central differences, and a check of a function against them in every
mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import dualtape as dt

RNG = np.random.default_rng


def value(x: Any) -> Any:
    """Plain numbers, whatever the library handed out."""
    return dt.extractdata(x)


def close(got: Any, want: Any, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    """Equality of two trees up to rounding."""
    got_leaves, got_structure = dt.tree.flatten(got)
    want_leaves, want_structure = dt.tree.flatten(want)
    assert got_structure == want_structure
    for a, b in zip(got_leaves, want_leaves, strict=True):
        assert np.shape(value(a)) == np.shape(value(b))
        np.testing.assert_allclose(value(a), value(b), rtol=rtol, atol=atol)


def central_difference(f: Callable[..., Any], args: tuple[Any, ...], tangents: tuple[Any, ...], h: float = 1e-6) -> Any:
    """The derivative of f along the tangents, from its values at two places."""
    ahead = value(f(*(a + h * t for a, t in zip(args, tangents, strict=True))))
    behind = value(f(*(a - h * t for a, t in zip(args, tangents, strict=True))))
    return (ahead - behind) / (2 * h)


def _drawn(args: tuple[Any, ...], seed: int) -> tuple[Any, Any, Any]:
    """The arguments, random tangents, and where further numbers come from."""
    rng = RNG(seed)
    args = tuple(np.asarray(a, dtype=float) for a in args)
    return args, tuple(rng.normal(size=a.shape) for a in args), rng


def check_forward(f: Callable[..., Any], *args: Any, rtol: float = 1e-6, atol: float = 1e-8, seed: int = 0) -> None:
    """f forwards against central differences."""
    args, tangents, _ = _drawn(args, seed)
    tangent = dt.jvp(f, args, tangents)[1]
    np.testing.assert_allclose(value(tangent), central_difference(f, args, tangents), rtol=rtol, atol=atol)


def check_reverse(f: Callable[..., Any], *args: Any, seed: int = 0) -> None:
    """f backwards against forwards."""
    args, tangents, rng = _drawn(args, seed)
    out, tangent = dt.jvp(f, args, tangents)
    weights = rng.normal(size=out.shape)
    out_backwards, pull = dt.vjp(f, *args)
    np.testing.assert_array_equal(value(out_backwards), value(out))
    cotangents = [value(c) for c in pull(weights)]
    assert [c.shape for c in cotangents] == [a.shape for a in args]
    inner = sum((c * t).sum() for c, t in zip(cotangents, tangents, strict=True))
    np.testing.assert_allclose(inner, (weights * value(tangent)).sum(), rtol=1e-10, atol=1e-12)


def check_second_order(
    f: Callable[..., Any], *args: Any, rtol: float = 1e-6, atol: float = 1e-8, seed: int = 0
) -> None:
    """A Hessian product against differences of gradients, and both orders of passes against each other."""
    args, tangents, rng = _drawn(args, seed)
    weights = rng.normal(size=dt.vjp(f, *args)[0].shape)

    def loss(*xs: Any) -> Any:
        return (f(*xs) * weights).sum()

    numbers = tuple(range(len(args)))
    gradient = dt.grad(loss, argnums=numbers)
    over_tape = dt.jvp(gradient, args, tangents)[1]
    h = 1e-6
    ahead = gradient(*(a + h * t for a, t in zip(args, tangents, strict=True)))
    behind = gradient(*(a - h * t for a, t in zip(args, tangents, strict=True)))
    for product, right, left in zip(over_tape, ahead, behind, strict=True):
        np.testing.assert_allclose(
            value(product), (value(right) - value(left)) / (2 * h), rtol=10 * rtol, atol=10 * atol
        )

    def slope(*xs: Any) -> Any:
        return sum((g * t).sum() for g, t in zip(gradient(*xs), tangents, strict=True))

    for product, twice in zip(over_tape, dt.grad(slope, argnums=numbers)(*args), strict=True):
        np.testing.assert_allclose(value(product), value(twice), rtol=1e-9, atol=1e-10)


def check_derivatives(
    f: Callable[..., Any],
    *args: Any,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    second: bool = True,
    seed: int = 0,
) -> None:
    """f forwards against central differences, backwards against forwards, and a Hessian product against
    differences.
    """
    check_forward(f, *args, rtol=rtol, atol=atol, seed=seed)
    check_reverse(f, *args, seed=seed)
    if second:
        check_second_order(f, *args, rtol=rtol, atol=atol, seed=seed)
