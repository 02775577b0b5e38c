# SPDX-License-Identifier: MIT
"""NIST's problems of nonlinear regression (StRD), fitted with our derivatives and compared with the certified values.

The files of tests/data/nist are those of the Statistical Reference Datasets of the National Institute of Standards and
Technology, a work of the government of the United States and in the public domain:
https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from numeric import value

import dualtape as dt

FOLDER = Path(__file__).parent / "data" / "nist"


def lanczos(b: Any, x: Any) -> Any:
    return b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x)


def gauss(b: Any, x: Any) -> Any:
    first = b[2] * np.exp(-((x - b[3]) ** 2) / b[4] ** 2)
    return b[0] * np.exp(-b[1] * x) + first + b[5] * np.exp(-((x - b[6]) ** 2) / b[7] ** 2)


def cubics(b: Any, x: Any) -> Any:
    return (b[0] + x * (b[1] + x * (b[2] + x * b[3]))) / (1 + x * (b[4] + x * (b[5] + x * b[6])))


def enso(b: Any, x: Any) -> Any:
    year = b[1] * np.cos(2 * np.pi * x / 12) + b[2] * np.sin(2 * np.pi * x / 12)
    slow = b[4] * np.cos(2 * np.pi * x / b[3]) + b[5] * np.sin(2 * np.pi * x / b[3])
    return b[0] + year + slow + b[7] * np.cos(2 * np.pi * x / b[6]) + b[8] * np.sin(2 * np.pi * x / b[6])


def rise(b: Any, x: Any) -> Any:
    return b[0] * (1 - np.exp(-b[1] * x))


def chwirut(b: Any, x: Any) -> Any:
    return np.exp(-b[0] * x) / (b[1] + b[2] * x)


MODELS: dict[str, Callable[[Any, Any], Any]] = {
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "BoxBOD": rise,
    "Chwirut1": chwirut,
    "Chwirut2": chwirut,
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "ENSO": enso,
    "Eckerle4": lambda b, x: b[0] / b[1] * np.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Gauss1": gauss,
    "Gauss2": gauss,
    "Gauss3": gauss,
    "Hahn1": cubics,
    "Kirby2": lambda b, x: (b[0] + x * (b[1] + x * b[2])) / (1 + x * (b[3] + x * b[4])),
    "Lanczos1": lanczos,
    "Lanczos2": lanczos,
    "Lanczos3": lanczos,
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * np.exp(b[1] / (x + b[2])),
    "MGH17": lambda b, x: b[0] + b[1] * np.exp(-x * b[3]) + b[2] * np.exp(-x * b[4]),
    "Misra1a": rise,
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** -2),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    "Nelson": lambda b, x: b[0] - b[1] * x[0] * np.exp(-b[2] * x[1]),  # of log(y)
    "Rat42": lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + np.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Roszman1": lambda b, x: b[0] - b[1] * x - np.arctan(b[2] / (x - b[3])) / np.pi,
    "Thurber": cubics,
}


class Problem:
    """A file: the data, two starting points, certified parameters and sum of squares."""

    def __init__(self, name: str) -> None:
        text = (FOLDER / f"{name}.dat").read_text(encoding="ascii")
        lines = text.splitlines()
        rows = [re.split(r"=\s*", line)[1].split() for line in lines if re.match(r"\s*b\d+ =", line)]
        table = np.array(rows, dtype=float)
        self.starts, self.certified = (table[:, 0], table[:, 1]), table[:, 2]
        (first,) = (i for i, line in enumerate(lines) if line.startswith("Data:") and line.split()[1] == "y")
        data = np.array([line.split() for line in lines[first + 1 :] if line.strip()], dtype=float).T
        self.y, self.x = data[0], data[1] if len(data) == 2 else data[1:]
        if name == "Nelson":
            self.y = np.log(self.y)
        found = re.search(r"Residual Sum of Squares:\s*(\S+)", text)
        assert found is not None
        self.sum_of_squares = float(found[1])


def digits(got: Any, certified: Any) -> float:
    """The number of correct digits of the worst parameter."""
    error = np.max(np.abs(got - certified) / np.abs(certified))
    return 16.0 if error == 0 else -float(np.log10(error))


def test_there_are_all_problems() -> None:
    assert {file.stem for file in FOLDER.glob("*.dat")} == set(MODELS)
    assert len(MODELS) == 27


@pytest.mark.parametrize("name", MODELS)
def test_certified_parameters_are_where_our_gradient_vanishes(name: str) -> None:
    problem, model = Problem(name), MODELS[name]

    def loss(b: Any) -> Any:
        return ((problem.y - model(b, problem.x)) ** 2).sum()

    b = problem.certified
    assert float(loss(b)) == pytest.approx(problem.sum_of_squares, rel=1e-6, abs=1e-19)
    # A step of Newton's method from there changes nothing that is certified.
    scale = np.abs(b)
    slope = value(dt.grad(lambda c: loss(c * scale))(b / scale))
    curvature = value(dt.hessian(lambda c: loss(c * scale))(b / scale))
    if problem.sum_of_squares > 1e-15:
        assert np.abs(np.linalg.solve(curvature, slope)).max() < 1e-6


@pytest.mark.parametrize("start", [0, 1], ids=["far", "near"])
@pytest.mark.parametrize("name", MODELS)
def test_fits_have_six_certified_digits(name: str, start: int) -> None:
    problem, model = Problem(name), MODELS[name]

    def residuals(b: Any) -> Any:
        return model(b, problem.x) - problem.y

    slopes = dt.jacfwd(residuals)
    with np.errstate(all="ignore"):
        fit = scipy.optimize.least_squares(
            residuals,
            problem.starts[start],
            jac=lambda b: value(slopes(b)),
            x_scale="jac",
            ftol=1e-15,
            xtol=1e-15,
            gtol=1e-15,
            max_nfev=20_000,
        )
    assert digits(fit.x, problem.certified) > 6, (fit.message, fit.x, problem.certified)
