# SPDX-License-Identifier: MIT
"""NumPy's functions on dlarrays, in every way that there is: the table of numpy_cases.py."""

from __future__ import annotations

import pytest
from numpy_cases import CASES, ELSEWHERE, Case, has_second_order, has_values, names, runs_in_lanes, traces


def test_every_function_is_tried() -> None:
    assert {case.name for case in CASES} | ELSEWHERE == set(names())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case: Case) -> None:
    has_values(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_derivatives(case: Case) -> None:
    if case.constant():
        pytest.skip("places, truths and counts are constants")
    has_second_order(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_traced(case: Case) -> None:
    traces(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_in_lanes(case: Case) -> None:
    runs_in_lanes(case)
