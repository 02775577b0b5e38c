# SPDX-License-Identifier: MIT
"""Program: what it shows of itself, how it is called and bound, what it leaves behind.

Decisions are in test_decisions.py, files and pickles in test_program_files.py.
"""

from __future__ import annotations

import gc
import re
import textwrap
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from steps import assert_same_bits, seeded
from test_decisions import zigzag

import dualtape as dt
from dualtape import _core
from dualtape import numpy as dnp

F32 = np.float32
Pair = namedtuple("Pair", ["first", "second"])


@pytest.fixture(autouse=True)
def _clean_ending() -> Any:
    yield
    assert not _core.is_tracing()


# ---- what a program shows --------------------------------------------------------------------------------------


def valley(x1: Any, x2: Any) -> Any:
    y = (x2 - x1**2) ** 2 + (1 - x1) ** 2
    return y, *dt.dlgradient(y, x1, x2)


def valley_and_slopes(x1: Any, x2: Any) -> Any:
    return dt.dlfeval(valley, x1, x2)


PLAIN = """
program(%0 x1: float64, %1 x2: float64)
  %2 = square %0
  %3 = subtract %1, %2
  %4 = square %3
  %5 = constant 1
  %6 = subtract %5, %0
  %7 = square %6
  %8 = add %4, %7
  %9 = constant 2
  %10 = constant -2
  %11 = multiply %10, %6
  %12 = multiply %9, %3
  %13 = multiply %10, %3
  %14 = multiply %9, %0
  %15 = strong_multiply %13, %14
  %16 = add %11, %15
  return %8, %16, %12
"""
FUSED = """
program(%0 x1: float64, %1 x2: float64)
  %2 = subtract_product %0, %0, %1
  %3 = constant 1
  %4 = subtract %3, %0
  %5 = square %4
  %6 = multiply_add %2, %2, %5
  %7 = constant 2
  %8 = constant -2
  %9 = multiply %7, %2
  %10 = multiply %7, %0
  %11 = strong_multiply_add %2, %10, %4
  %12 = multiply %8, %11
  return %6, %12, %9
"""


@pytest.mark.parametrize(("contract", "golden"), [(False, PLAIN), (True, FUSED)])
def test_the_text(contract: bool, golden: str) -> None:
    program = dt.trace(valley_and_slopes, 2.0, 2.0, contract=contract)
    lines = str(program).strip().splitlines()
    assert "\n".join(re.split(r" {2,}(?=float64)", line)[0] for line in lines) == golden.strip()
    start = valley.__code__.co_firstlineno
    assert {line.rsplit(maxsplit=1)[1] for line in lines[1:-1]} == {
        f"test_programs.py:{start + 1}",
        f"test_programs.py:{start + 2}",
    }
    assert repr(program) == f"<program(x1, x2): {golden.count('=') - golden.count('constant')} instructions, 1 paths>"


def test_the_text_of_decisions() -> None:
    program = dt.trace(lambda x: x * 2 if x > 1 else -x, 3.0)
    assert "not" not in str(program)
    program(0.0)
    text = textwrap.dedent(str(program))
    assert re.search(r"\n  if %2:  # test_programs\.py:\d+\n    .*\n    .*\n    return %4\n  if not %2:", text)


def test_instructions_and_constants() -> None:
    outside = dt.dlarray([1.0, 2.0, 4.0])
    program = dt.trace(lambda x: (x * outside).sum() + 0.5, np.ones(3), contract=False)
    assert [(i.op, i.shape) for i in program.instructions if i.op != "constant"] == [
        ("input", (3,)),
        ("multiply", (3,)),
        ("sum", ()),
        ("add", ()),
    ]
    numbers = {i.number for i in program.instructions}
    assert all(set(i.operands) <= numbers for i in program.instructions)
    assert all(i.line is not None and i.line[0] == __file__ for i in program.instructions[1:])
    values = [dt.extractdata(constant.value) for constant in program.constants]
    assert any(np.array_equal(value, [1.0, 2.0, 4.0]) for value in values)
    assert any(np.array_equal(value, 0.5) for value in values)
    outside[0] = 9.0  # the program keeps what it has seen
    assert float(program(np.ones(3))) == 7.5


def test_memory() -> None:
    memory = dt.trace(valley_and_slopes, 2.0, 2.0).memory
    assert memory["instructions"] == 8
    assert memory["paths"] == 1
    assert memory["bytes_per_lane"] > 0
    assert dt.trace(lambda x: x, 1.0).memory["instructions"] == 0


def test_dot() -> None:
    """Graphviz's language, by its grammar of nodes, edges and subgraphs."""
    program = dt.trace(zigzag, 1.5)
    for x in seeded(10):
        program(x)
    dot = program.to_dot()
    assert dot.count("{") == dot.count("}")
    statement = re.compile(
        r"digraph program \{|\s*subgraph cluster\d+ \{|\s*\}|\s*rankdir=TB;.*|\s*style=dotted;|"
        r'\s*(n|end)\d+ \[label="[^"]*"(, shape=\w+)?\];|'
        r'\s*(n|end)\d+ -> (n|end)\d+( \[style=dashed, label="-?\d+"\])?;'
    )
    for line in dot.strip().splitlines():
        assert statement.fullmatch(line), line
    defined = set(re.findall(r"^\s*(\w+) \[label", dot, re.M))
    assert {end for edge in re.findall(r"(\w+) -> (\w+)", dot) for end in edge} <= defined


# ---- calling --------------------------------------------------------------------------------------------------


def test_structures_go_in_and_come_out() -> None:
    def f(tree: Any, *rest: Any, flag: bool, **named: Any) -> Any:
        a, (b, c) = tree["a"], tree["bc"]
        return {"sum": [a + b + sum(rest), Pair(c, named["k"])], "none": None, "flag": a * flag}

    def call(g: Any, x: float, flag: bool = True) -> Any:
        tree = {"a": dt.dlarray([x, 1.0]), "bc": [dt.dlarray(x), Pair(x, x * 2).second]}
        return g(tree, dt.dlarray(x), dt.dlarray(2.0), flag=flag, k=np.full(2, x))

    traced = [call(lambda *args, **kwargs: dt.trace(f, *args, contract=False, **kwargs), 1.5)][0]
    for x in (0.5, -2.0):
        assert_same_bits(call(traced, x), call(f, x))
    names = [name for name, *_ in traced._core.inputs()]
    assert names == ["tree['a']", "tree['bc'][0]", "tree['bc'][1]", "args[1]", "args[2]", "k"]
    with pytest.raises(ValueError, match=r"laid out as they were.*same integers, strings and flags"):
        call(traced, 1.0, flag=False)


MISFITS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "shape": (
        lambda: dt.trace(lambda x: x * 2, np.ones(3))(np.ones(4)),
        dt.ShapeError,
        r"program\(x\): x must have the shape \(3,\); got \(4,\).*dlaccelerate",
    ),
    "dtype": (
        lambda: dt.trace(lambda x: x * 2, np.ones(3))(np.ones(3, F32)),
        dt.DTypeError,
        r"program\(x\): x must be float64; got float32.*astype",
    ),
    "labels": (
        lambda: dt.trace(lambda x: dt.softmax(x), dt.dlarray(np.ones((2, 2)), "CB"))(np.ones((2, 2))),
        dt.ShapeError,
        r"x must have the labels 'CB'; got ''",
    ),
    "too many": (lambda: dt.trace(lambda x: x, 1.0)(1.0, 2.0), ValueError, "laid out"),
    "too few": (lambda: dt.trace(lambda x, y: x, 1.0, 2.0)(1.0), ValueError, "laid out"),
    "another structure": (lambda: dt.trace(lambda x: x[0], [1.0])((1.0,)), ValueError, "laid out"),
    "an array for a tree": (lambda: dt.trace(lambda x: x[0], [1.0, 2.0])(np.ones(2)), ValueError, "laid out"),
    "a list for an array": (lambda: dt.trace(lambda x: x, np.ones(2))([1.0, 2.0]), ValueError, "laid out"),
    "another integer": (lambda: dt.trace(lambda x, n: x * n, 1.0, 3)(1.0, 4), ValueError, "same integers"),
    "a flag for an integer": (lambda: dt.trace(lambda x, n: x * n, 1.0, 1)(1.0, True), ValueError, "same integers"),
    "another text": (lambda: dt.trace(lambda x, s: x * len(s), 1.0, "a")(1.0, "b"), ValueError, "strings"),
    "text for a number": (lambda: dt.trace(lambda x: x, 1.0)("a"), dt.DTypeError, "text"),
    "None for a number": (lambda: dt.trace(lambda x: x, 1.0)(None), ValueError, "laid out"),
    "text among results": (lambda: dt.trace(lambda x: {"a": "b"}, 1.0), dt.DTypeError, r"result\['a'\].*returned 'b'"),
    "an object as a result": (lambda: dt.trace(lambda x: object(), 1.0), dt.DTypeError, "type object"),
    "no function": (lambda: dt.trace(3.0), TypeError, "must be the function to trace; a float was given"),  # type: ignore[arg-type]
    "a complex argument": (lambda: dt.trace(lambda x: x, 1j), dt.DTypeError, "complex"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit(name: str) -> None:
    attempt, error, words = MISFITS[name]
    with pytest.raises(error, match=words):
        attempt()


def test_numbers_and_scalar_arrays_stand_for_each_other() -> None:
    of_float, of_array = dt.trace(lambda x: x * 2, 1.0), dt.trace(lambda x: x * 2, dt.dlarray(1.0))
    for program in (of_float, of_array):
        for three in (3, 3.0, np.float64(3), np.int64(3), np.array(3.0), dt.dlarray(3.0)):
            assert float(program(three)) == 6.0
    assert dt.trace(lambda x, r: x * r, np.ones(2, F32), 0.5)(np.ones(2, F32), dt.dlarray(0.25)).dtype == F32
    strided = np.arange(6.0)[::2]
    assert_same_bits(dt.trace(lambda x: x * 2, strided)(strided[::-1]), dt.dlarray([8.0, 4.0, 0.0]))


def test_results_that_are_arguments_or_constants() -> None:
    x = np.arange(3.0)
    program = dt.trace(lambda x: (x, x, 2.5, np.arange(2), None, x.T), x)
    first, second, number, integers, nothing, turned = program(x)
    assert float(number) == 2.5
    assert nothing is None
    np.testing.assert_array_equal(dt.extractdata(integers), [0, 1])
    first[0] = 7.0  # nobody else's memory
    assert float(second[0]) == float(turned[0]) == x[0] == 0.0
    assert float(program(x)[0][0]) == 0.0
    assert float(dt.trace(lambda: 2.0)()) == 2.0


def test_bound_buffers() -> None:
    program = dt.trace(lambda w, r: (w * r, w.sum()), np.ones(3), 0.1)
    w, r, out, total = np.arange(3.0), np.array(2.0), np.empty(3), np.array(0.0)
    call = program.bind((w, r), (out, total))
    for factor in (1.0, -3.0):
        w[:] = np.arange(3.0) * factor
        call()
        np.testing.assert_array_equal(out, w * 2)
        assert total == w.sum()
    with pytest.raises(dt.ShapeError, match=r"input 0 must be an array of float64 and shape \(3,\)"):
        program.bind((np.ones(4), r), (out, total))
    with pytest.raises(dt.ShapeError, match="input 1 must be an array of float64"):
        program.bind((w, np.array(1, F32)), (out, total))
    with pytest.raises(dt.ShapeError, match="2 inputs and 2 results; 1 and 2"):
        program.bind(w, (out, total))
    with pytest.raises((ValueError, BufferError)):
        program.bind((w[::-1], r), (out, total))
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        program.bind((w, r), (out, total))
    with pytest.raises(TypeError, match="takes no arguments"):
        call(1.0)
    decide = dt.trace(lambda x: x if x > 0 else -x, 1.0).bind(r, total)
    r[...] = -1.0
    with pytest.raises(dt.TraceError, match="never traced"):
        decide()


# ---- inside other things ---------------------------------------------------------------------------------------


def test_inside_derivatives_and_traces() -> None:
    program = dt.trace(lambda x: x**3 if x > 0 else -x, 2.0)
    three = dt.dlarray(3.0)
    assert float(dt.grad(program)(three)) == 27.0
    assert float(dt.hessian(program)(three)) == 18.0
    assert float(dt.jacfwd(program)(three)) == 27.0
    assert float(dt.dlfeval(lambda x: dt.dlgradient(program(x), x), three)) == 27.0
    assert float(dt.grad(program)(-three)) == -1.0
    outer = dt.trace(lambda x: program(x) + program(2.0) + program(-4.0), 3.0)
    assert float(outer(1.0)) == 13.0
    assert float(outer(-1.0)) == 13.0
    assert float(dt.dlaccelerate(lambda x: program(x) * 2)(2.0)) == 16.0


def test_traces_do_not_nest() -> None:
    def outer(x: Any) -> Any:
        return dt.trace(lambda y: y * x, 2.0)(3.0)

    with pytest.raises(dt.TraceError, match=f"traces do not nest.*{__file__}"):
        dt.trace(outer, 5.0)


@pytest.mark.parametrize("how", [dt.grad, lambda f: lambda x: dt.jvp(f, (x,), (x,))], ids=["grad", "jvp"])
def test_a_captured_value_that_is_being_differentiated(how: Any) -> None:
    def outer(x: Any) -> Any:
        return dt.trace(lambda y: y * x, 2.0)(3.0)

    with pytest.raises(dt.TraceError, match="from outside that is being differentiated"):
        how(outer)(dt.dlarray(5.0))


# ---- ends -----------------------------------------------------------------------------------------------------


def test_exceptions_leave_nothing_open() -> None:
    def fail(x: Any) -> Any:
        y = dnp.sin(x) * np.ones(100)
        if float(dt.extractdata(dt.dlarray(1.0))) > 0:
            raise KeyError("no")
        return y

    def interrupt(x: Any) -> Any:
        raise KeyboardInterrupt

    gc.collect()
    before = _core.memory()
    for _ in range(20):
        with pytest.raises(KeyError):
            dt.trace(fail, np.ones(100))
        with pytest.raises(KeyboardInterrupt):
            dt.trace(interrupt, 1.0)
        with pytest.raises(dt.TraceError):
            dt.trace(lambda x: float(x), 1.0)
        with pytest.raises(dt.ShapeError):
            dt.trace(lambda x: dt.dlfeval(lambda x: x @ np.ones(7), x), np.ones(3))
        assert not _core.is_tracing()
    gc.collect()
    assert _core.memory() == before


def test_programs_leave_no_memory_behind() -> None:
    def make() -> None:
        program = dt.trace(lambda x: (x * np.ones(50)).sum() if x > 0 else x * 2, 1.0)
        program(-1.0)
        program(2.0)

    make()
    gc.collect()
    before = _core.memory()
    for _ in range(20):
        make()
    gc.collect()
    assert _core.memory() == before
