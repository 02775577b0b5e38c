# SPDX-License-Identifier: MIT
"""Code that was written for NumPy runs with nothing but its arrays replaced.

Seven kinds of script that people publish, in the shape in which they publish them: `np.` everywhere, loops over lists
and dicts, in-place updates, masks, `np.linalg`. Each is called on ndarrays, for the value, and on dlarrays; its
derivatives are compared with the script's own, where it has them, or else with finite differences.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import dualtape as dt


def check_gradient(f: Callable[[Any], Any], x: np.ndarray, rtol: float = 1e-7, traced: bool = True) -> np.ndarray:
    """The gradient, compared with central differences; the value with that of ndarrays. Traced, it is the same."""
    value, gradient = dt.value_and_grad(f)(x)
    np.testing.assert_allclose(float(value), float(np.squeeze(f(x))), rtol=1e-13)
    step = 1e-6 * np.maximum(np.abs(x), 1e-2)
    differences = np.empty(x.size)
    for i in range(x.size):
        e = np.zeros(x.size)
        e[i] = step.ravel()[i]
        e = e.reshape(x.shape)
        differences[i] = (float(np.squeeze(f(x + e))) - float(np.squeeze(f(x - e)))) / (2 * step.ravel()[i])
    gradient = np.asarray(dt.extractdata(gradient))
    scale = np.abs(differences).max()
    np.testing.assert_allclose(gradient.ravel(), differences, rtol=rtol, atol=rtol * scale)
    if not traced:
        return gradient
    program = dt.trace(dt.value_and_grad(f), x)
    np.testing.assert_allclose(np.asarray(dt.extractdata(program(x)[1])), gradient, rtol=1e-9, atol=1e-12 * scale)
    return gradient


# ---- a Gaussian process (Rasmussen and Williams 2006, algorithm 2.1) -------------------------------------------


def squared_distances(a: Any, b: Any) -> Any:
    return np.sum(a**2, 1).reshape(-1, 1) + np.sum(b**2, 1) - 2 * np.dot(a, b.T)


def kernel(a: Any, b: Any, length: Any, sigma_f: Any) -> Any:
    return sigma_f**2 * np.exp(-0.5 / length**2 * squared_distances(a, b))


def negative_log_likelihood(theta: Any, x: Any, y: Any) -> Any:
    k = kernel(x, x, length=theta[0], sigma_f=theta[1]) + theta[2] ** 2 * np.eye(len(x))
    lower = np.linalg.cholesky(k)
    alpha = np.linalg.solve(lower.T, np.linalg.solve(lower, y))
    return np.sum(np.log(np.diagonal(lower))) + 0.5 * y.dot(alpha) + 0.5 * len(x) * np.log(2 * np.pi)


def test_gaussian_process() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (25, 2))
    y = np.sin(x[:, 0]) * x[:, 1] + 0.1 * rng.standard_normal(25)
    theta = np.array([1.3, 0.9, 0.2])
    data = dt.dlarray(x), dt.dlarray(y)  # (an ndarray's own method, as in y.dot(alpha), takes ndarrays only)
    gradient = check_gradient(lambda t: negative_log_likelihood(t, *data), theta)
    # the formula of the book: -1/2 tr((alpha alpha' - K^-1) dK)
    k = kernel(x, x, theta[0], theta[1])
    inverse = np.linalg.inv(k + theta[2] ** 2 * np.eye(25))
    alpha = inverse @ y
    slopes = [k * squared_distances(x, x) / theta[0] ** 3, 2 * k / theta[1], 2 * theta[2] * np.eye(25)]
    by_hand = [-0.5 * np.trace((np.outer(alpha, alpha) - inverse) @ slope) for slope in slopes]
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-8)
    fitted = scipy.optimize.minimize(
        dt.value_and_grad(lambda t: negative_log_likelihood(t, *data)), theta, jac=True, method="L-BFGS-B",
        bounds=[(1e-2, 10)] * 3,
    )  # fmt: skip
    assert fitted.success
    assert fitted.fun < negative_log_likelihood(theta, x, y)


# ---- a Kalman filter -------------------------------------------------------------------------------------------


def kalman_log_likelihood(parameters: Any, zs: Any, dt_: float = 0.5) -> Any:
    """A point of constant velocity, seen with noise; parameters are the logs of both variances."""
    q, r = np.exp(parameters[0]), np.exp(parameters[1])
    f = np.array([[1.0, dt_], [0.0, 1.0]])
    h = np.array([[1.0, 0.0]])
    noise = q * np.array([[dt_**3 / 3, dt_**2 / 2], [dt_**2 / 2, dt_]])
    x, p = np.zeros((2, 1)), 10.0 * np.eye(2)
    total = 0.0
    for z in zs:
        x = np.dot(f, x)
        p = np.dot(f, np.dot(p, f.T)) + noise
        s = np.dot(h, np.dot(p, h.T)) + r
        y = z - np.dot(h, x)
        gain = np.dot(np.dot(p, h.T), np.linalg.inv(s))
        x = x + np.dot(gain, y)
        i_kh = np.eye(2) - np.dot(gain, h)
        p = np.dot(np.dot(i_kh, p), i_kh.T) + np.dot(np.dot(gain, r * np.eye(1)), gain.T)
        total += -0.5 * (np.dot(y.T, np.linalg.solve(s, y))[0, 0] + np.log(np.linalg.det(s)) + np.log(2 * np.pi))
    return total


def test_kalman_filter() -> None:
    rng = np.random.default_rng(1)
    zs = np.cumsum(np.cumsum(0.3 * rng.standard_normal(40))) + 0.5 * rng.standard_normal(40)
    start = np.log([0.3, 0.4])
    check_gradient(lambda p: -kalman_log_likelihood(p, zs), start, rtol=1e-6)


# ---- bundle adjustment (the residuals of SciPy's cookbook) -------------------------------------------------------


def rotate(points: Any, rotations: Any) -> Any:
    """Points turned by rotation vectors, by Rodrigues' formula."""
    theta = np.linalg.norm(rotations, axis=1)[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        v = rotations / theta
        v = np.nan_to_num(v)
    dot = np.sum(points * v, axis=1)[:, np.newaxis]
    cos_theta, sin_theta = np.cos(theta), np.sin(theta)
    return cos_theta * points + sin_theta * np.cross(v, points) + dot * (1 - cos_theta) * v


def project(points: Any, cameras: Any) -> Any:
    image = rotate(points, cameras[:, :3])
    image += cameras[:, 3:6]
    image = -image[:, :2] / image[:, 2, np.newaxis]
    focal, k1, k2 = cameras[:, 6], cameras[:, 7], cameras[:, 8]
    n = np.sum(image**2, axis=1)
    image *= ((1 + k1 * n + k2 * n**2) * focal)[:, np.newaxis]
    return image


def residuals(params: Any, n_cameras: int, n_points: int, camera: Any, point: Any, seen: Any) -> Any:
    cameras = params[: n_cameras * 9].reshape((n_cameras, 9))
    points = params[n_cameras * 9 :].reshape((n_points, 3))
    return (project(points[point], cameras[camera]) - seen).ravel()


def test_bundle_adjustment() -> None:
    rng = np.random.default_rng(2)
    n_cameras, n_points = 3, 8
    cameras = np.column_stack([
        0.2 * rng.standard_normal((n_cameras, 3)), 0.1 * rng.standard_normal((n_cameras, 2)), np.full(n_cameras, -6.0),
        np.full(n_cameras, 400.0), np.full(n_cameras, 1e-2), np.full(n_cameras, 1e-3),
    ])  # fmt: skip
    points = rng.standard_normal((n_points, 3))
    camera, point = (a.ravel() for a in np.meshgrid(np.arange(n_cameras), np.arange(n_points), indexing="ij"))
    truth = np.concatenate([cameras.ravel(), points.ravel()])
    seen = residuals(truth, n_cameras, n_points, camera, point, 0.0).reshape(-1, 2)
    others = (n_cameras, n_points, camera, point, seen)
    start = truth + 0.01 * rng.standard_normal(truth.size)

    def function(params: Any) -> Any:
        return residuals(params, *others)

    jacobian = dt.jacrev(function)
    matrix = np.asarray(dt.extractdata(jacobian(start)))
    np.testing.assert_allclose(np.asarray(dt.extractdata(dt.jacfwd(function)(start))), matrix, rtol=1e-9, atol=1e-9)
    differences = np.empty_like(matrix)
    for i in range(start.size):
        e = np.zeros(start.size)
        e[i] = 1e-6
        differences[:, i] = (function(start + e) - function(start - e)) / 2e-6
    np.testing.assert_allclose(matrix, differences, rtol=1e-5, atol=1e-4)
    fitted = scipy.optimize.least_squares(function, start, jac=jacobian, x_scale="jac")
    assert fitted.cost < 1e-12


# ---- a recurrent network over characters -----------------------------------------------------------------------


def recurrent_loss(inputs: Any, targets: Any, parameters: Any, size: int) -> Any:
    w_xh, w_hh, w_hy, b_h, b_y = parameters
    xs, hs, ys, ps = {}, {}, {}, {}
    hs[-1] = np.zeros((b_h.shape[0], 1))
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((size, 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(w_xh, xs[t]) + np.dot(w_hh, hs[t - 1]) + b_h)
        ys[t] = np.dot(w_hy, hs[t]) + b_y
        ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        loss += -np.log(ps[t][targets[t], 0])
    return loss, (xs, hs, ps)


def recurrent_slopes(targets: Any, parameters: Any, found: Any) -> Any:
    """Backpropagation through time, by hand as such scripts have it."""
    _, w_hh, w_hy, _, _ = parameters
    xs, hs, ps = found
    slopes = [np.zeros_like(p) for p in parameters]
    later = np.zeros_like(hs[0])
    for t in reversed(range(len(targets))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        slopes[2] += np.dot(dy, hs[t].T)
        slopes[4] += dy
        raw = (1 - hs[t] * hs[t]) * (np.dot(w_hy.T, dy) + later)
        slopes[3] += raw
        slopes[0] += np.dot(raw, xs[t].T)
        slopes[1] += np.dot(raw, hs[t - 1].T)
        later = np.dot(w_hh.T, raw)
    return slopes


def test_recurrent_network() -> None:
    text = "a tape of duals"
    letters = sorted(set(text))
    numbers = [letters.index(c) for c in text]
    rng = np.random.default_rng(3)
    hidden, size = 6, len(letters)
    shapes = [(hidden, size), (hidden, hidden), (size, hidden), (hidden, 1), (size, 1)]
    parameters = [0.3 * rng.standard_normal(shape) for shape in shapes]
    inputs, targets = numbers[:-1], numbers[1:]

    def loss(parameters: Any) -> Any:
        return recurrent_loss(inputs, targets, parameters, size)[0]

    value, slopes = dt.value_and_grad(loss)(parameters)
    plain, found = recurrent_loss(inputs, targets, parameters, size)
    assert float(value) == pytest.approx(plain, rel=1e-13)
    for ours, theirs in zip(slopes, recurrent_slopes(targets, parameters, found), strict=True):
        np.testing.assert_allclose(np.asarray(dt.extractdata(ours)), theirs, rtol=1e-10, atol=1e-13)


# ---- a hidden Markov model, by the scaled forward algorithm ----------------------------------------------------


def markov_log_likelihood(scores: Any, seen: Any) -> Any:
    """`scores` are those of the transitions, in the first columns, and of the symbols that each state emits."""
    n = scores.shape[0]
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    transitions, emissions = weights[:, :n], weights[:, n:]
    transitions = transitions / transitions.sum(axis=1, keepdims=True)
    emissions /= emissions.sum(axis=1)[:, None]
    alpha = np.full(n, 1 / n) * emissions[:, seen[0]]
    total = 0.0
    for symbol in seen[1:]:
        scale = alpha.sum()
        total += np.log(scale)
        alpha = (alpha / scale) @ transitions * emissions[:, symbol]
    return total + np.log(alpha.sum())


def test_hidden_markov_model() -> None:
    rng = np.random.default_rng(4)
    seen = rng.integers(0, 4, 30)
    check_gradient(lambda scores: markov_log_likelihood(scores, seen), rng.standard_normal((3, 7)), rtol=1e-6)


# ---- bodies that attract each other ----------------------------------------------------------------------------


def accelerations(positions: Any, masses: Any, softening: float) -> Any:
    x, y = positions[:, 0:1], positions[:, 1:2]
    dx, dy = x.T - x, y.T - y
    inverse = dx**2 + dy**2 + softening**2
    inverse[inverse > 0] = inverse[inverse > 0] ** (-1.5)
    return np.hstack((np.matmul(dx * inverse, masses), np.matmul(dy * inverse, masses)))


def energy_after(positions: Any, velocities: Any, masses: Any, steps: int, width: float = 0.02) -> Any:
    """Leapfrog steps, and the energy of the motion at their end."""
    velocities = velocities - np.mean(masses * velocities, 0) / np.mean(masses)
    acceleration = accelerations(positions, masses, 0.1)
    for _ in range(steps):
        velocities = velocities + acceleration * width / 2
        positions = positions + velocities * width
        acceleration = accelerations(positions, masses, 0.1)
        velocities = velocities + acceleration * width / 2
    return 0.5 * np.sum(masses * velocities**2)


def test_bodies() -> None:
    rng = np.random.default_rng(5)
    positions, velocities = rng.standard_normal((2, 5, 2))
    masses = rng.uniform(0.5, 1.5, (5, 1))
    for function, x in (
        (lambda p: energy_after(p, velocities, masses, 12), positions),
        (lambda v: energy_after(positions, v, masses, 12), velocities),
        (lambda m: energy_after(positions, velocities, m, 12), masses),
    ):
        check_gradient(function, x, rtol=1e-6, traced=False)
    # A program cannot have arrays as large as a mask has hits; it says so, and what to write.
    with pytest.raises(dt.TraceError, match=r"numpy\.where"):
        dt.trace(lambda p: energy_after(p, velocities, masses, 12), positions)


# ---- Rosenbrock's function, called from SciPy --------------------------------------------------------------------

ROSEN = """
import numpy as np
from scipy.optimize import rosen, rosen_der, rosen_hess, rosen_hess_prod
import dualtape as dt

for n in (2, 5, 40):
    x, p = np.linspace(-1.2, 1.7, n), np.cos(np.arange(n))
    np.testing.assert_allclose(float(rosen(dt.dlarray(x))), rosen(x), rtol=1e-14)
    for derivative in (dt.grad(rosen), dt.trace(dt.grad(rosen), x)):
        np.testing.assert_allclose(dt.extractdata(derivative(x)), rosen_der(x), rtol=1e-12)
    np.testing.assert_allclose(dt.extractdata(dt.hessian(rosen)(x)), rosen_hess(x), rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(dt.extractdata(dt.hvp(rosen)(x, p)), rosen_hess_prod(x, p), rtol=1e-12, atol=1e-10)
"""


def test_scipys_own_rosen() -> None:
    """SciPy takes arrays of other libraries where the environment says so before it is imported."""
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", ROSEN], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
