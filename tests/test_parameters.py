# SPDX-License-Identifier: MIT
"""Parameters read off plain functions are those that inspect.signature finds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from dualtape._parameters import parameters_of


class Method:
    def __call__(self, x: Any, y: Any = 1) -> Any:
        return x


def plain(a: Any, b: Any = 1, /, c: Any = 2, *args: Any, d: Any, e: Any = 3, **others: Any) -> Any:
    local = a
    return local


def around(x: Any) -> Callable[..., Any]:
    return lambda y, z=1: x + y + z


@functools.wraps(plain)
def wrapper(*args: Any, **kwargs: Any) -> Any:
    return plain(*args, **kwargs)


FUNCTIONS = [
    plain, around, around(1), wrapper, lambda: None, lambda *, k: k, lambda *rest: rest, lambda **named: named,
    Method(), Method().__call__, functools.partial(plain, 1), functools.partial(plain, d=4), abs, max,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_parameters_are_those_of_inspect(function: Any) -> None:
    try:
        wanted = [(p.name, p.kind, p.default is p.empty) for p in inspect.signature(function).parameters.values()]
    except ValueError:
        assert parameters_of(function) is None
        return
    found = parameters_of(function)
    assert found is not None
    assert [tuple(p) for p in found] == wanted
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    assert [p.is_positional for p in found] == [kind in positional for _, kind, _ in wanted]
