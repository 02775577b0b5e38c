# SPDX-License-Identifier: MIT
"""Gradients through linear algebra, for matrices of 3, 30 and 300 rows.

Each loss depends on the factors in a way that does not depend on their signs, so that all libraries have the same
gradient. Start with `LOSSES`, which takes the namespace of a library; `GRADIENTS` has the formulas in NumPy that the
answers are checked against (M. Giles 2008; for functions of symmetric matrices, J. Daleckii and S. Krein 1965).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..model import Answer, Case, Competitor
from ..native import Array

SIZES = (3, 30, 300)


def inputs(n: int) -> tuple[Array, Array, Array, Array]:
    """Return a matrix, a symmetric positive definite one, and weights, a matrix and a vector."""
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, n)) / np.sqrt(n) + 2.0 * np.eye(n)
    return a, a @ a.T / 4.0 + np.eye(n), rng.standard_normal((n, n)), rng.standard_normal(n)


# Losses of (linalg, sin, x, W, w); x is the symmetric matrix for those of SYMMETRIC.
LOSSES: dict[str, Callable[[Any, Any, Any, Any, Any], Any]] = {
    "solve": lambda la, sin, x, W, w: (la.solve(x, W) * W).sum(),
    "inv": lambda la, sin, x, W, w: (la.inv(x) * W).sum(),
    "slogdet": lambda la, sin, x, W, w: la.slogdet(x)[1],
    "cholesky": lambda la, sin, x, W, w: (la.cholesky(x) * W).sum(),
    "eigh": lambda la, sin, x, W, w: _function_of_symmetric(la, sin, x, W),
    "svd": lambda la, sin, x, W, w: _singular(la, x, W, w),
    "pinv": lambda la, sin, x, W, w: (la.pinv(x) * W).sum(),
}
SYMMETRIC = ("cholesky", "eigh")


def _function_of_symmetric(la: Any, sin: Any, x: Any, weights: Any) -> Any:
    values, vectors = la.eigh(x)
    return (((vectors * sin(values)) @ vectors.T) * weights).sum()


def _singular(la: Any, x: Any, weights: Any, w: Any) -> Any:
    u, s, vh = la.svd(x)
    return (s * w).sum() + ((u @ vh) * weights).sum()


def gradient_by_hand(name: str, n: int) -> Array:
    """Return the gradient by NumPy and the textbooks' formulas."""
    a, spd, weights, w = inputs(n)
    if name == "slogdet":
        return np.linalg.inv(a).T
    if name in ("inv", "pinv"):
        inverse = np.linalg.inv(a).T
        return -inverse @ weights @ inverse
    if name == "solve":
        return -np.linalg.solve(a.T, weights) @ np.linalg.solve(a, weights).T
    if name == "cholesky":
        factor = np.linalg.cholesky(spd)
        inverse = np.linalg.inv(factor)
        core = np.tril(factor.T @ weights)
        core -= np.diag(np.diag(core)) / 2
        return _symmetric(inverse.T @ core @ inverse)
    if name == "eigh":
        values, vectors = np.linalg.eigh(spd)
        differences = values[:, None] - values
        middle = (values[:, None] + values) / 2
        # (sin a - sin b) / (a - b), without cancellation
        slopes = np.cos(middle) * np.sinc(differences / 2 / np.pi)
        return vectors @ (slopes * (vectors.T @ _symmetric(weights) @ vectors)) @ vectors.T
    u, s, vh = np.linalg.svd(a)
    # U V' is the orthogonal factor of the polar decomposition: its part is (B - B') / (s_i + s_j) for B = U' W V.
    core = u.T @ weights @ vh.T
    return u @ (np.diag(w) + (core - core.T) / (s[:, None] + s)) @ vh


def _symmetric(x: Array) -> Array:
    return (x + x.T) / 2


def _arguments(name: str, n: int) -> tuple[Array, Array, Array]:
    a, spd, weights, w = inputs(n)
    return (spd if name in SYMMETRIC else a), weights, w


def _answer(name: str, gradient: Any) -> Answer:
    """With respect to a symmetric matrix a gradient is known up to an antisymmetric part."""
    return _symmetric(np.asarray(gradient)) if name in SYMMETRIC else gradient


def dualtape(name: str, n: int) -> Callable[[], Answer]:
    import dualtape as dt

    x, weights, w = _arguments(name, n)
    gradient = dt.grad(lambda x: LOSSES[name](dt.numpy.linalg, np.sin, x, weights, w))
    point = dt.dlarray(x)
    return lambda: _answer(name, dt.extractdata(gradient(point)))


def torch(name: str, n: int) -> Callable[[], Answer]:
    import torch

    torch.set_num_threads(1)
    x, weights, w = (torch.tensor(a) for a in _arguments(name, n))

    def run() -> Answer:
        point = x.detach().requires_grad_()
        loss = LOSSES[name](torch.linalg, torch.sin, point, weights, w)
        return _answer(name, torch.autograd.grad(loss, point)[0].numpy())

    return run


def autograd(name: str, n: int) -> Callable[[], Answer]:
    import autograd
    import autograd.numpy as anp

    class Linalg:
        """NumPy's, with svd as it has a derivative."""

        solve, inv, slogdet, cholesky = anp.linalg.solve, anp.linalg.inv, anp.linalg.slogdet, anp.linalg.cholesky
        eigh, pinv = anp.linalg.eigh, anp.linalg.pinv

        @staticmethod
        def svd(x: Any) -> Any:
            return anp.linalg.svd(x, full_matrices=False)

    x, weights, w = _arguments(name, n)
    gradient = autograd.grad(lambda x: LOSSES[name](Linalg, anp.sin, x, weights, w))
    return lambda: _answer(name, gradient(x))


def jax(name: str, n: int) -> Callable[[], Answer]:
    import jax

    jax.config.update("jax_enable_x64", True)
    x, weights, w = (jax.numpy.asarray(a) for a in _arguments(name, n))
    compiled = jax.jit(jax.grad(lambda x: LOSSES[name](jax.numpy.linalg, jax.numpy.sin, x, weights, w)))
    return lambda: _answer(name, jax.block_until_ready(compiled(x)))


def cases(quick: bool) -> list[Case]:
    """A case for each function and size; a quick run leaves out the largest."""
    return [_case(name, n) for name in LOSSES for n in (SIZES[:-1] if quick else SIZES)]


def _case(name: str, n: int) -> Case:
    def competitor(who: str, build: Any, how: str = "eager", ours: bool = False) -> Competitor:
        return Competitor(who, lambda: build(name, n), how, ours)

    everyone = [
        competitor("dualtape", dualtape, ours=True),
        Competitor("NumPy", lambda: lambda: _answer(name, gradient_by_hand(name, n)), "by hand"),
        competitor("PyTorch", torch),
        competitor("autograd", autograd),
        competitor("JAX jit", jax, "compiled"),
    ]
    reference = lambda: gradient_by_hand(name, n)  # noqa: E731
    return Case(f"{name}, {n} rows", 1, "gradient", reference, everyone, rtol=1e-7, atol=1e-7)
