# SPDX-License-Identifier: MIT
"""Linear algebra: values against NumPy, derivatives in every mode against differences, batches, float32,
programs, lanes of a sweep, and what has no answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numeric import check_derivatives, close, value

import dualtape as dt
import dualtape.numpy as dnp

LA = dnp.linalg
RNG = np.random.default_rng


def spread(n: int, m: int | None = None, seed: int = 0) -> Any:
    """A matrix whose singular values are far from each other and from zero."""
    rng = RNG(seed)
    m = n if m is None else m
    u, v = np.linalg.qr(rng.normal(size=(n, n)))[0], np.linalg.qr(rng.normal(size=(m, m)))[0]
    k = min(n, m)
    return (u[:, :k] * np.linspace(1, 2, k)) @ v[:, :k].T


def symmetric(x: Any) -> Any:
    return (x + dnp.swapaxes(x, -1, -2)) / 2


def positive(x: Any) -> Any:
    return x @ dnp.swapaxes(x, -1, -2) + dnp.eye(x.shape[-1])


def parts(results: Any) -> Any:
    """Several results as one vector; factors with arbitrary signs go in as what does not depend on them."""
    return dnp.concatenate([dnp.ravel(x) for x in results])


def eigh_parts(x: Any) -> Any:
    w, v = LA.eigh(symmetric(x))
    return parts((w, (v * dnp.sin(w)[..., None, :]) @ dnp.swapaxes(v, -1, -2), v))


#: Functions of one matrix, and the shapes they take.
FUNCTIONS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "solve": (lambda a: LA.solve(a, a[..., ::-1] ** 2), [(4, 4), (2, 3, 3)]),
    "solve a vector": (lambda a: LA.solve(a, np.arange(1.0, 1 + a.shape[-1])), [(3, 3), (2, 3, 3)]),
    "solve_triangular upper": (lambda a: LA.solve_triangular(a, a**2), [(4, 4), (2, 3, 3)]),
    "solve_triangular lower": (lambda a: LA.solve_triangular(a, a[..., 0], lower=True), [(4, 4)]),
    "solve_triangular transposed": (lambda a: LA.solve_triangular(a, a**2, trans="T"), [(4, 4)]),
    "solve_triangular unit": (lambda a: LA.solve_triangular(a, a**2, unit_diagonal=True), [(4, 4)]),
    "inv": (LA.inv, [(1, 1), (4, 4), (2, 3, 3)]),
    "det": (LA.det, [(1, 1), (2, 2), (4, 4), (2, 3, 3)]),
    "slogdet": (lambda a: LA.slogdet(a)[1], [(4, 4), (2, 3, 3)]),
    "cholesky": (lambda a: LA.cholesky(positive(a)), [(1, 1), (4, 4), (2, 3, 3)]),
    "cholesky upper": (lambda a: LA.cholesky(positive(a), upper=True), [(3, 3)]),
    "qr": (lambda a: parts(LA.qr(a)), [(1, 1), (4, 4), (5, 3), (3, 5), (2, 4, 3)]),
    "qr complete": (lambda a: parts(LA.qr(a, "complete")), [(3, 3), (3, 5)]),
    "r": (lambda a: LA.qr(a, "r"), [(5, 3)]),
    "eigh": (eigh_parts, [(1, 1), (4, 4), (2, 3, 3)]),
    "eigh of the upper half": (lambda a: LA.eigh(symmetric(a), "U")[1], [(3, 3)]),
    "eigvalsh": (lambda a: LA.eigvalsh(symmetric(a)), [(4, 4), (2, 3, 3)]),
    "svd": (lambda a: parts(LA.svd(a, full_matrices=False)), [(1, 1), (4, 4), (5, 3), (3, 5), (2, 4, 3)]),
    "svd of a square matrix": (lambda a: parts(LA.svd(a)), [(3, 3)]),
    "svdvals": (LA.svdvals, [(4, 4), (5, 3), (2, 3, 4)]),
    "pinv": (LA.pinv, [(3, 3), (5, 3), (3, 5), (2, 4, 3)]),
    "lstsq": (lambda a: parts(LA.lstsq(a, a[:, :2] ** 2)[:2]), [(5, 3), (3, 5)]),
    "matrix_power": (lambda a: LA.matrix_power(a, 5), [(3, 3), (2, 3, 3)]),
    "matrix_power of the inverse": (lambda a: LA.matrix_power(a, -2), [(3, 3)]),
    "multi_dot": (lambda a: LA.multi_dot([a[0], a.T, a, a.T]), [(3, 5)]),
    "trace": (LA.trace, [(3, 4), (2, 3, 3)]),
    "expm": (LA.expm, [(1, 1), (4, 4), (2, 3, 3)]),
    "expm of a small matrix": (lambda a: LA.expm(a * 1e-3), [(3, 3)]),
    "expm of a large matrix": (lambda a: LA.expm(a * 10) * 1e-6, [(3, 3)]),
    **{
        f"norm {order}": (lambda a, order=order: LA.norm(a, order, (-2, -1)), [(4, 3), (2, 3, 3)])
        for order in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)
    },
    **{
        f"vector norm {order}": (lambda a, order=order: LA.norm(a, order, -1), [(4, 3)])
        for order in (None, 1, 2, 3, -2, 0.5, np.inf, -np.inf)
    },
    "matrix_norm": (lambda a: LA.matrix_norm(a, ord=2, keepdims=True), [(2, 3, 4)]),
    "vector_norm": (lambda a: LA.vector_norm(a, axis=(0, 2)), [(2, 3, 4)]),
    **{f"cond {p}": (lambda a, p=p: LA.cond(a, p), [(3, 3), (2, 3, 3)]) for p in (None, 2, -2, 1, np.inf, "fro")},
}
CASES = [(name, shape) for name, (_, shapes) in FUNCTIONS.items() for shape in shapes]
SPREAD_OUT = {"svd", "svd of a square matrix", "svdvals"}  # (differences are far from the truth elsewhere)


def argument(name: str, shape: tuple[int, ...]) -> Any:
    batch, (n, m) = shape[:-2], shape[-2:]
    count = int(np.prod(batch))
    made = np.stack([spread(n, m, seed) for seed in range(1, count + 1)]).reshape(shape)
    if "triangular" in name:
        made = made / 4 + np.eye(n)
    return made


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_derivatives_in_every_mode(name: str, shape: tuple[int, ...]) -> None:
    check_derivatives(FUNCTIONS[name][0], argument(name, shape), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_programs_and_lanes_have_the_bits_of_the_function(name: str, shape: tuple[int, ...]) -> None:
    f, x = FUNCTIONS[name][0], argument(name, shape)

    def value_and_slopes(x: Any) -> Any:
        y, gradient = dt.value_and_grad(lambda x: (f(x) * weights).sum())(x)
        return y, gradient, dt.jvp(f, (x,), (weights_of_x,))[1]

    weights = RNG(3).normal(size=value(f(x)).shape)
    weights_of_x = RNG(4).normal(size=shape)
    want = value_and_slopes(x)
    program = dt.trace(value_and_slopes, x, contract=False)
    for got, expected in zip(program(x), want, strict=True):
        np.testing.assert_array_equal(value(got), value(expected))
    scales = [1.0, 0.75, 0.5]

    def step(state: Any, scale: Any) -> Any:
        return state, value_and_slopes(state * scale)

    runs = dt.sweep(step, x, iterations=1, over=dt.grid(scale=scales), contract=False)
    for lane, scale in enumerate(scales):
        alone = dt.loop(step, x, iterations=1, scale=scale, contract=False)
        for k, expected in enumerate(value_and_slopes(x * scale)):
            np.testing.assert_array_equal(value(runs.value[k])[lane], value(alone.value[k]))
            np.testing.assert_array_equal(value(alone.value[k]), value(expected))


LIKE_NUMPY: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "inv": (np.linalg.inv, lambda n: spread(n)),
    "det": (np.linalg.det, lambda n: spread(n)),
    "slogdet": (np.linalg.slogdet, lambda n: spread(n)),
    "cholesky": (np.linalg.cholesky, lambda n: spread(n) @ spread(n).T),
    "qr": (np.linalg.qr, lambda n: spread(n)),
    "qr tall": (np.linalg.qr, lambda n: spread(2 * n + 1, n)),
    "qr wide": (np.linalg.qr, lambda n: spread(n, 2 * n + 1)),
    "qr complete": (lambda a: np.linalg.qr(a, "complete"), lambda n: spread(2 * n + 1, n)),
    "eigvalsh": (np.linalg.eigvalsh, lambda n: spread(n) + spread(n).T),
    "svdvals": (np.linalg.svdvals, lambda n: spread(n, n + 1)),
    "pinv": (np.linalg.pinv, lambda n: spread(n, n + 2)),
    "matrix_power": (lambda a: np.linalg.matrix_power(a, 7), lambda n: spread(n)),
    "matrix_rank": (np.linalg.matrix_rank, lambda n: spread(n) @ np.diag(np.arange(n) % 2)),
    "cond": (np.linalg.cond, lambda n: spread(n)),
    "trace": (np.linalg.trace, lambda n: spread(n)),
    "norm nuc": (lambda a: np.linalg.norm(a, "nuc"), lambda n: spread(n)),
    "norm 2": (lambda a: np.linalg.norm(a, 2), lambda n: spread(n)),
}


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 16, 17, 31, 32, 33, 65, 100, 150])
@pytest.mark.parametrize("name", LIKE_NUMPY)
def test_values_are_those_of_numpy(name: str, n: int) -> None:
    f, make = LIKE_NUMPY[name]
    x = make(n)
    got, want = f(dt.dlarray(x)), f(x)
    for a, b in zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]:
        assert isinstance(a, dt.dlarray)
        assert a.dtype == np.asarray(b).dtype
        close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 13, 32, 40, 75, 129])
def test_factors_give_the_matrix(n: int) -> None:
    for m in (n, n + 3, max(n - 3, 1)):
        a = spread(n, m, seed=n)
        u, s, vh = (value(x) for x in np.linalg.svd(dt.dlarray(a), full_matrices=True))
        assert u.shape == (n, n)
        assert vh.shape == (m, m)
        k = min(n, m)
        close((u[:, :k] * s) @ vh[:k], a, atol=1e-12)
        close(u.T @ u, np.eye(n), atol=1e-12)
        close(vh @ vh.T, np.eye(m), atol=1e-12)
        assert np.all(np.diff(s) <= 0)
    a = spread(n) + spread(n).T
    w, v = (value(x) for x in np.linalg.eigh(dt.dlarray(a)))
    close((v * w) @ v.T, a, atol=1e-12)
    close(v.T @ v, np.eye(n), atol=1e-12)


def test_hard_spectra() -> None:
    """Clusters, zeros, graded and tiny matrices: what iterations for eigenvalues and singular values meet."""
    rng = RNG(0)
    q = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    spectra = {
        "identity": np.ones(40),
        "two clusters": np.repeat([1.0, 2.0], 20),
        "rank 3": np.r_[3.0, 2.0, 1.0, np.zeros(37)],
        "graded": 10.0 ** -np.arange(40) / 3,
        "tiny": np.linspace(1, 2, 40) * 1e-300,
        "large": np.linspace(1, 2, 40) * 1e150,
        "both signs": np.linspace(-1, 1, 40),
    }
    for name, spectrum in spectra.items():
        a = (q * spectrum) @ q.T
        a = (a + a.T) / 2
        scale = np.abs(spectrum).max()
        w, v = (value(x) for x in LA.eigh(a))
        assert np.abs((v * w) @ v.T - a).max() <= 1e-13 * scale, name
        assert np.abs(v.T @ v - np.eye(40)).max() <= 1e-13, name
        assert np.abs(w - np.sort(spectrum)).max() <= 1e-13 * scale, name
        u, s, vh = (value(x) for x in LA.svd(a))
        assert np.abs((u * s) @ vh - a).max() <= 1e-13 * scale, name
        assert np.abs(u.T @ u - np.eye(40)).max() <= 1e-13, name
        assert np.abs(vh @ vh.T - np.eye(40)).max() <= 1e-13, name
        assert np.abs(s - np.sort(np.abs(spectrum))[::-1]).max() <= 1e-13 * scale, name
    for special in (np.zeros((5, 5)), np.diag([3.0, -1.0, 2.0]), np.ones((4, 4)), np.eye(6)[::-1]):
        w, v = (value(x) for x in LA.eigh(special))
        close((v * w) @ v.T, special, atol=1e-14)
        u, s, vh = (value(x) for x in LA.svd(special))
        close((u * s) @ vh, special, atol=1e-14)


def test_numpy_functions_come_here() -> None:
    x = dt.dlarray(spread(3))
    for f in (np.linalg.inv, np.linalg.det, np.linalg.pinv, np.linalg.svdvals, np.linalg.cond, np.linalg.norm):
        assert dt.grad(lambda x, f=f: f(x).sum())(x).shape == (3, 3)
    assert np.linalg.eigh(x @ x.T).eigenvalues.shape == (3,)
    assert np.linalg.qr(x).R.shape == (3, 3)
    assert np.linalg.slogdet(x).logabsdet.shape == ()
    assert np.linalg.svd(x).Vh.shape == (3, 3)
    assert np.linalg.svd(x, compute_uv=False).shape == (3,)
    assert np.linalg.lstsq(x, np.ones(3))[0].shape == (3,)
    assert np.linalg.multi_dot([x, x, x]).shape == (3, 3)
    assert np.linalg.matrix_power(x, 0).shape == (3, 3)


def test_solve_triangular_and_expm_are_scipys() -> None:
    a, b = spread(40) / 4 + np.eye(40), RNG(0).normal(size=(40, 7))
    for lower in (False, True):
        for trans in (0, 1):
            for unit in (False, True):
                options = {"lower": lower, "trans": trans, "unit_diagonal": unit}
                got = LA.solve_triangular(a, b, **options)
                want = scipy.linalg.solve_triangular(a, b, **options)
                close(got, want, rtol=1e-8, atol=1e-8 * np.abs(want).max())
    for size in (1e-3, 0.1, 0.7, 1.7, 5.0, 40.0):
        for n in (1, 2, 5, 20):
            x = spread(n, seed=n) * size
            want = scipy.linalg.expm(x)
            close(LA.expm(x), want, atol=1e-11 * np.abs(want).max(), rtol=0)
    close(LA.expm(np.array([[0.0, 1.0], [0.0, 0.0]])), np.array([[1.0, 1.0], [0.0, 1.0]]))


def test_lstsq_returns_what_numpy_returns() -> None:
    for m, n in ((6, 3), (3, 6), (4, 4)):
        a, b = spread(m, n), RNG(0).normal(size=(m, 2))
        for right in (b, b[:, 0]):
            for got, want in zip(LA.lstsq(a, right), np.linalg.lstsq(a, right), strict=True):
                close(got, np.asarray(want), atol=1e-13)
    with pytest.raises(dt.ShapeError, match="pinv"):
        LA.lstsq(np.ones((2, 3, 3)), np.ones(3))


def test_float32_is_computed_in_double() -> None:
    x = spread(6).astype(np.float32)
    for f in (
        LA.inv,
        LA.det,
        LA.svdvals,
        LA.pinv,
        LA.expm,
        lambda x: LA.solve(x, x[0]),
        lambda x: LA.eigh(x).eigenvalues,
    ):
        got, exact = f(dt.dlarray(x)), value(f(dt.dlarray(x.astype(np.float64))))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(value(got), exact.astype(np.float32))
        gradient = dt.grad(lambda x, f=f: f(x).sum())(dt.dlarray(x))
        assert gradient.dtype == np.float32
        exact = value(dt.grad(lambda x, f=f: f(x).sum())(x.astype(np.float64)))
        np.testing.assert_allclose(value(gradient), exact, rtol=1e-4, atol=1e-5)


def test_empty_matrices_and_batches() -> None:
    none = np.zeros((0, 0))
    assert float(LA.det(none)) == 1.0
    assert [float(x) for x in LA.slogdet(none)] == [1.0, 0.0]
    assert LA.inv(none).shape == (0, 0)
    assert LA.cholesky(none).shape == (0, 0)
    assert LA.solve(np.eye(3), np.zeros((3, 0))).shape == (3, 0)
    assert [x.shape for x in LA.eigh(none)] == [(0,), (0, 0)]
    assert [x.shape for x in LA.svd(np.zeros((3, 0)))] == [(3, 3), (0,), (0, 0)]
    assert [x.shape for x in LA.svd(np.zeros((0, 3)), full_matrices=False)] == [(0, 0), (0,), (0, 3)]
    assert [x.shape for x in LA.qr(np.zeros((3, 0)))] == [(3, 0), (0, 0)]
    assert LA.inv(np.zeros((0, 3, 3))).shape == (0, 3, 3)
    assert LA.expm(none).shape == (0, 0)
    assert dt.grad(lambda x: LA.inv(x).sum())(np.zeros((0, 3, 3))).shape == (0, 3, 3)


def test_batches_broadcast() -> None:
    a, b = np.stack([spread(3, seed=k) for k in range(4)]), RNG(0).normal(size=(5, 1, 3, 2))
    got = LA.solve(a, b)
    assert got.shape == (5, 4, 3, 2)
    close(got, np.linalg.solve(a, b))
    check_derivatives(LA.solve, a[:2], b[:2], second=False)
    check_derivatives(lambda a, b: LA.solve_triangular(a + 2 * np.eye(3), b), a[:2], b[:2], second=False)


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (LA.inv, np.ones((2, 2))),
        (lambda x: LA.solve(x, np.ones(2)), np.zeros((2, 2))),
        (lambda x: LA.solve_triangular(x, np.ones(2)), np.array([[1.0, 2.0], [0.0, 0.0]])),
        (LA.cholesky, -np.eye(2)),
        (LA.cholesky, np.array([[1.0, 2.0], [2.0, 1.0]])),
        (lambda x: LA.cond(x, 1), np.ones((2, 2))),
        (dt.grad(lambda x: LA.slogdet(x)[1]), np.ones((2, 2))),
        (dt.hessian(LA.det), np.ones((2, 2))),
        (dt.grad(lambda x: LA.qr(x)[1].sum()), np.eye(3, 2)[:, ::-1] * [0.0, 1.0]),
    ],
)
def test_no_answer_is_an_error(f: Callable[..., Any], x: Any) -> None:
    with pytest.raises(dt.NumericError, match=r"singular|not positive definite"):
        f(dt.dlarray(x))
    # One such matrix in a batch is enough, and NaN given is NaN received.
    if x.shape == (2, 2) and f is LA.inv:
        with pytest.raises(dt.NumericError, match="singular"):
            f(np.stack([np.eye(2), x]))
    assert np.isnan(value(LA.inv(np.full((2, 2), np.nan)))).all()
    assert np.isnan(value(LA.eigh(np.full((2, 2), np.nan))[0])).all()
    assert np.isnan(value(LA.svdvals(np.full((2, 3), np.inf)))).all()


def test_a_run_whose_matrix_is_singular_ends_as_nonfinite() -> None:
    def step(x: Any, shift: Any) -> Any:
        y = LA.solve(np.array([[1.0, 1.0], [1.0, 1.0]]) + shift * np.eye(2), x)
        return y, (y * y).sum()

    runs = dt.sweep(step, np.ones(2), iterations=3, over=dt.grid(shift=[1.0, 0.0, 2.0]))
    assert runs.stopped.tolist() == ["iterations", "nonfinite", "iterations"]


def test_singular_matrices_have_a_determinant_and_its_slope() -> None:
    def cofactors(a: Any) -> Any:
        n = len(a)
        minor = lambda i, j: np.delete(np.delete(a, i, 0), j, 1)  # noqa: E731
        return np.array([[(-1.0) ** (i + j) * np.linalg.det(minor(i, j)) for j in range(n)] for i in range(n)])

    rank_2 = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [5.0, 7.0, 9.0]])
    for a in (np.zeros((2, 2)), np.ones((2, 2)), rank_2, np.diag([1.0, 0.0, 3.0]), np.diag([0.0, 0.0, 3.0])):
        assert abs(float(LA.det(a))) < 1e-14
        close(dt.grad(LA.det)(a), cofactors(a), atol=1e-12)
        direction = RNG(0).normal(size=a.shape)
        close(dt.jvp(LA.det, (a,), (direction,))[1], (cofactors(a) * direction).sum(), atol=1e-12)
    sign, logarithm = LA.slogdet(np.ones((2, 2)))
    assert (float(sign), float(logarithm)) == (0.0, -np.inf)


def test_equal_eigenvalues_have_finite_derivatives() -> None:
    a = np.eye(4)

    def symmetric_function(a: Any) -> Any:
        w, v = LA.eigh(a)
        return (w**3).sum() + ((v * w[..., None, :]) @ dnp.swapaxes(v, -1, -2)).sum()

    gradient = value(dt.grad(symmetric_function)(a))
    assert np.isfinite(gradient).all()
    assert np.isfinite(value(dt.grad(lambda a: LA.svd(a)[0].sum())(a))).all()
    close(dt.grad(lambda a: LA.svdvals(a).sum())(a), np.eye(4), atol=1e-14)
    close(dt.grad(lambda a: (LA.eigvalsh(a) ** 3).sum())(a), 3 * np.eye(4), atol=1e-14)
    q = np.linalg.qr(RNG(0).normal(size=(4, 4)))[0]
    twice = (q * [1.0, 1.0, 2.0, 3.0]) @ q.T
    twice = (twice + twice.T) / 2
    close(dt.grad(lambda a: (LA.eigvalsh(a) ** 3).sum())(twice), 3 * twice @ twice, atol=1e-12)
    # A pseudo-inverse has a derivative of its own, which does not mind.
    check_derivatives(LA.pinv, np.eye(3), rtol=1e-5)


def test_what_is_arbitrary_has_no_derivative() -> None:
    x = spread(4, 3)
    with pytest.raises(dt.GradientError, match="reduced"):
        dt.grad(lambda x: LA.qr(x, "complete")[1].sum())(x)
    with pytest.raises(dt.GradientError, match="full_matrices=False"):
        dt.grad(lambda x: LA.svd(x)[0].sum())(x)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: LA.inv(np.ones((2, 3))), "square matrix"),
        (lambda: LA.det(np.ones(3)), "square matrix"),
        (lambda: LA.svd(np.ones(3)), "must be a matrix"),
        (lambda: LA.solve(np.eye(3), np.ones(2)), "3 rows and the right-hand sides have 2"),
        (lambda: LA.solve(np.ones((2, 3, 3)) + np.eye(3), np.ones((4, 3, 3))), "broadcast"),
        (lambda: LA.norm(np.ones((2, 2)), "unknown"), "name the axes"),
        (lambda: LA.qr(np.eye(2), "raw"), "reduced"),
        (lambda: LA.multi_dot([np.eye(2)]), "two arrays"),
        (lambda: LA.matrix_power(np.ones((2, 3)), 2), "square"),
        (lambda: LA.expm(np.ones((2, 3))), "square"),
    ],
)
def test_errors_say_what_would_work(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(dt.ShapeError, match=words):
        call()


def test_one_factorisation_serves_value_and_gradient() -> None:
    program = dt.trace(dt.value_and_grad(lambda a: LA.solve(a, np.ones(3)).sum() + LA.slogdet(a)[1]), spread(3))
    assert str(program).count(" lu ") + str(program).count("= lu(") == 1, str(program)


def test_programs_with_linear_algebra_are_saved_and_loaded(tmp_path: Any) -> None:
    x = spread(4)
    program = dt.trace(dt.value_and_grad(lambda a: LA.inv(a).sum() + LA.eigvalsh(a @ a.T).sum()), x)
    program.save(tmp_path / "program")
    again = dt.Program.load(tmp_path / "program")
    for got, want in zip(again(x), program(x), strict=True):
        np.testing.assert_array_equal(value(got), value(want))


BITS = """
import hashlib, numpy as np, dualtape as dt
LA = dt.numpy.linalg
digest = hashlib.sha256()
rng = np.random.default_rng(0)
for n in (3, 17, 70):
    a = rng.normal(size=(n, n))
    s = a @ a.T + np.eye(n)
    for f in (LA.inv, LA.expm, LA.pinv, LA.det, LA.svdvals, lambda x: LA.qr(x)[0], lambda x: LA.svd(x)[0],
              lambda x: LA.cholesky(x @ x.T + np.eye(n)), lambda x: LA.eigh(x @ x.T)[1]):
        y, g = dt.value_and_grad(lambda x: f(x).sum())(a / n)
        digest.update(np.asarray(f(a / n)).tobytes() + np.asarray(g).tobytes())
print(digest.hexdigest())
"""


@pytest.mark.skipif(not dt._core.build_info()["fma"], reason="without FMA bits are those of the machine")
def test_bits_do_not_depend_on_the_instruction_set() -> None:
    digests = set()
    for isa in ("generic", "avx2", "avx512"):
        if isa == "avx512" and dt._core.build_info()["isa_best"] != "avx512":
            continue
        run = subprocess.run(
            [sys.executable, "-c", BITS],
            env=os.environ | {"DUALTAPE_ISA": isa},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(run.stdout)
    assert len(digests) == 1
