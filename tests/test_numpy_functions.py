# SPDX-License-Identifier: MIT
"""NumPy's functions on dlarrays, in every way that there is: the table of numpy_cases.py."""

from __future__ import annotations

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
