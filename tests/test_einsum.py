# SPDX-License-Identifier: MIT
"""einsum against NumPy's: every kind of subscripts, every number of operands, derivatives, and what is
refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numeric import check_derivatives, value

import dualtape as dt
import dualtape.numpy as dnp

EXTENTS = {"i": 2, "j": 3, "k": 4, "l": 2, "m": 3, "a": 2, "b": 3, "c": 2, "Z": 3}

CASES = [
    # one operand: transposes, sums, diagonals, traces
    "i",
    "i->",
    "ij",
    "ji",
    "ij->ji",
    "ij->i",
    "ij->j",
    "ij->",
    "kji",
    "ijk->ki",
    "ii",
    "ii->i",
    "ii->",
    "iij->j",
    "iij->ij",
    "iji->ij",
    "iii->i",
    "ijij->ij",
    "ijji->",
    "iijj->ij",
    # two
    "i,i",
    "i,i->i",
    "i,j",
    "i,j->ji",
    "ij,j",
    "ij,jk",
    "ij,jk->ki",
    "ij,kj->ik",
    "ji,jk->ik",
    "ij,ij",
    "ij,ij->ij",
    "ij,ij->i",
    "ij,ji->",
    "aij,ajk->aik",
    "aij,ajk->ika",
    "aij,bjk->abik",
    "aijk,jk->ai",
    "abij,bjk->abik",
    "ii,ij->j",
    "ii,jj->ij",
    "ij,k->",
    ",ij->ij",
    "ij,->",
    "jZ,Zb->jb",
    " i j , j k -> i k ",
    # more
    "i,i,i",
    "i,j,k->kji",
    "ij,jk,kl->il",
    "ij,jk,kl,lm->im",
    "aij,ajk,ak->ai",
    "ab,bc,ca->",
    "ii,ij,jj->i",
    "i,ij,j->",
]


def operands(subscripts: str, dtype: Any = np.float64) -> list[Any]:
    rng = np.random.default_rng(len(subscripts))
    terms = subscripts.replace(" ", "").split("->")[0].split(",")
    return [np.asarray(rng.normal(size=[EXTENTS[c] for c in term])).astype(dtype) for term in terms]


def assert_close(got: Any, want: Any) -> None:
    got = value(got)
    assert np.shape(got) == want.shape
    assert got.dtype == want.dtype
    tolerance = 64 * np.finfo(want.dtype).eps
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("subscripts", CASES)
def test_values(subscripts: str, dtype: Any) -> None:
    arrays = operands(subscripts, dtype)
    want = np.asarray(np.einsum(subscripts, *arrays))
    assert_close(dnp.einsum(subscripts, *arrays), want)
    assert_close(np.einsum(subscripts, dt.dlarray(arrays[0]), *arrays[1:]), want)
    for optimize in (False, True, "greedy", "optimal"):
        assert_close(dnp.einsum(subscripts, *arrays, optimize=optimize), want)


@pytest.mark.parametrize("subscripts", CASES)
def test_derivatives(subscripts: str) -> None:
    arrays = operands(subscripts)
    check_derivatives(lambda *xs: dnp.einsum(subscripts, *xs), *arrays, second=len(arrays) > 1)


ELLIPSES: list[tuple[str, list[tuple[int, ...]]]] = [
    ("...", [(2, 3)]),
    ("...->...", [()]),
    ("i...->...i", [(2, 3, 4)]),
    ("...i->...", [(2, 3)]),
    ("...ii->...i", [(2, 3, 3)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
    ("...ij,...jk->...ik", [(6, 1, 2, 3), (5, 3, 4)]),
    ("...ij,jk", [(5, 2, 3), (3, 4)]),
    ("ij...,jk...->ik...", [(2, 3, 4), (3, 2, 4)]),
    ("i...j,j->...i", [(2, 4, 5, 3), (3,)]),
    ("...,...", [(3, 1), (4,)]),
    ("...,...,...->...", [(3, 1), (4,), ()]),
    ("a...b,b...->...a", [(2, 3, 4), (4, 3)]),
    # extents of 1 broadcast
    ("ij,ij->ij", [(1, 3), (2, 3)]),
    ("ij,ij->", [(1, 3), (2, 1)]),
    ("ij,jk->ik", [(2, 1), (3, 4)]),
    ("i,i,i->i", [(1,), (3,), (1,)]),
    # nothing in it
    ("ij,jk->ik", [(2, 0), (0, 3)]),
    ("ij,jk->ik", [(0, 2), (2, 3)]),
    ("i->", [(0,)]),
]


@pytest.mark.parametrize(("subscripts", "shapes"), ELLIPSES, ids=lambda x: str(x).replace(" ", ""))
def test_ellipses_and_broadcasting(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in shapes]
    assert_close(dnp.einsum(subscripts, *arrays), np.asarray(np.einsum(subscripts, *arrays)))
    if all(a.size for a in map(np.asarray, arrays)):
        check_derivatives(lambda *xs: dnp.einsum(subscripts, *xs), *arrays, second=False)


def test_lists_of_axes() -> None:
    a, b = np.ones((2, 3)), np.arange(12.0).reshape(3, 4)
    assert_close(dnp.einsum(a, [0, 1], b, [1, 2]), np.einsum(a, [0, 1], b, [1, 2]))
    assert_close(dnp.einsum(a, [0, 1], b, [1, 2], [2, 0]), np.einsum(a, [0, 1], b, [1, 2], [2, 0]))
    assert_close(dnp.einsum(b, [..., 0], [0, ...]), np.einsum(b, [..., 0], [0, ...]))
    assert_close(np.einsum(dt.dlarray(a), [30, 1], [1, 30]), np.einsum(a, [30, 1], [1, 30]))


def test_a_path_that_was_found_before() -> None:
    arrays = operands("ij,jk,kl->il")
    path, _ = np.einsum_path("ij,jk,kl->il", *arrays, optimize="optimal")
    assert_close(dnp.einsum("ij,jk,kl->il", *arrays, optimize=path), np.einsum("ij,jk,kl->il", *arrays))
    assert_close(
        dnp.einsum("ij,jk,kl->il", *arrays, optimize=["einsum_path", (0, 1, 2)]),
        np.einsum("ij,jk,kl->il", *arrays),
    )


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        ("ij,jk", [(2, 3)], "2 terms do not fit 1 operands"),
        ("ij", [(2, 3, 4)], "does not fit an operand of 3 axes"),
        ("...ij", [(2,)], "does not fit an operand of 1 axes"),
        ("ij->k", [(2, 3)], "no operand has"),
        ("ij->ii", [(2, 3)], "twice in the output"),
        ("ij,jk", [(2, 3), (4, 5)], "the extents 3 and 4 of 'j' differ"),
        ("ii", [(2, 3)], "the extents 2 and 3 of 'i' differ"),
        ("ii", [(1, 3)], "the extents 1 and 3 of 'i' differ"),
        ("i1", [(2, 3)], "only letters"),
        ("i..", [(2, 3)], "only letters"),
        ("......i", [(2, 3)], "only letters"),
        ("i...->i", [(2, 3)], "the output must have '...' too"),
        ("...i,...i", [(2, 3), (4, 3)], "the extents 2 and 4 of '...' differ"),
        ("ij->ji->ij", [(2, 3)], "only letters"),
    ],
)
def test_errors_say_what_does_not_fit(subscripts: str, shapes: list[tuple[int, ...]], message: str) -> None:
    arrays = [np.zeros(shape) for shape in shapes]
    with pytest.raises(dt.ShapeError, match=r"^einsum\(") as caught:
        dnp.einsum(subscripts, *arrays)
    assert message in str(caught.value)
    assert repr(subscripts) in str(caught.value)


def test_out_is_refused_and_labels_are_left_out() -> None:
    with pytest.raises(TypeError, match="out="):
        dnp.einsum("i->", np.ones(2), out=np.zeros(()))
    labelled = dt.dlarray(np.arange(6.0).reshape(2, 3), "CB")
    result = dnp.einsum("ij,ij->j", labelled, labelled)
    assert dt.dims(result) == ""
    np.testing.assert_array_equal(value(result), [9.0, 17.0, 29.0])
