# SPDX-License-Identifier: MIT
"""NumPy's functions on dlarrays, in every way that there is: the table of numpy_cases.py."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import pytest
from numpy_cases import CASES, ELSEWHERE, names
from numpy_ways import WAYS, Case

import dualtape as dt
import dualtape.numpy as dnp


def test_every_function_is_tried() -> None:
    assert {case.name for case in CASES if hasattr(dnp, case.name)} | ELSEWHERE == set(names())
    # (SciPy's two are tried in test_linalg.py.)
    assert {name for name in dnp.linalg.__all__ if hasattr(np.linalg, name)} <= {
        case.name.removeprefix("linalg.") for case in CASES
    }


def takes_out(name: str) -> bool:
    """Whether NumPy's function takes ``out=``."""
    function = getattr(np, name)
    try:
        return isinstance(function, np.ufunc) or "out" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # r_, c_, and some functions in C, up to NumPy 2.3
        return False


@pytest.mark.parametrize("name", [*filter(takes_out, names())])
def test_out_is_refused_with_a_reason(name: str) -> None:
    function, out = getattr(dnp, name), np.zeros(2)
    case = next((case for case in CASES if case.name == name and not case.made), None)
    arrays = case.draw() if case else [np.ones(2, int)] * getattr(np, name).nin
    call = case.call if case else lambda function, arrays: function(*arrays)
    with pytest.raises(TypeError, match=r"out=.*(tape|write)"):
        call(partial(function, out=out), arrays)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_ways(case: Case, way: str) -> None:
    if way in case.refused:
        with pytest.raises(dt.TraceError):
            WAYS[way](case)
    elif way in ("forward", "reverse", "second order") and case.constant():
        pytest.skip("places, truths and counts are constants")
    else:
        WAYS[way](case)
