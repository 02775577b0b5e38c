# SPDX-License-Identifier: MIT
"""What a beginner tries, and what the library answers: each message says what is wrong and what would work.

The cases stand in tables, one for each topic: what is tried, the error, and words of its message.
"""

from __future__ import annotations

import decimal
import fractions
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import dualtape as dt
from dualtape import _core
from dualtape import numpy as dnp

Case = tuple[Callable[[], Any], type[BaseException], str]

X = dt.dlarray(np.arange(6.0).reshape(2, 3))
TWO = dt.dlarray([1.0, 2.0])


def evaluate(function: Callable[..., Any], *args: Any) -> Any:
    """The function inside dlfeval, at 2.0 where no arguments are given."""
    return dt.dlfeval(function, *(args or (dt.dlarray(2.0),)))


def expect(case: Case) -> None:
    attempt, error, words = case
    with pytest.raises(error, match=words):
        attempt()


# ---- errors are the built-in errors that people catch ---------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (dt.ShapeError, ValueError),
        (dt.DTypeError, TypeError),
        (dt.TraceError, TypeError),
        (dt.TapeError, RuntimeError),
        (dt.GradientError, ValueError),
        (dt.NumericError, ArithmeticError),
    ],
)
def test_kinds_of_errors(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)
    assert issubclass(error, dt.Error)


# ---- dlfeval and dlgradient ----------------------------------------------------------------------------------

GRADIENTS: dict[str, Case] = {
    "outside dlfeval": (
        lambda: dt.dlgradient(dt.dlarray(1.0), dt.dlarray(1.0)),
        dt.TapeError,
        r"no function is being evaluated.*call dlgradient inside a function that is passed to dlfeval",
    ),
    "of a vector": (
        lambda: evaluate(lambda x: dt.dlgradient(x * x, x), TWO),
        dt.GradientError,
        r"dlgradient\(2,\): the value to differentiate is not a scalar; use y\.sum\(\).*or dljacobian",
    ),
    "of a matrix": (
        lambda: evaluate(lambda x: dt.dlgradient(x * x, x), X),
        dt.GradientError,
        r"dlgradient\(2, 3\): .*not a scalar",
    ),
    "of a float": (
        lambda: evaluate(lambda x: dt.dlgradient(float(x) ** 2, x)),
        dt.GradientError,
        r"must be a traced dlarray; a float was given",
    ),
    "of math.sin": (
        lambda: evaluate(lambda x: dt.dlgradient(math.sin(x), x)),
        dt.TraceError,
        r"math\.sin: a value that is being differentiated was given.*use numpy\.sin",
    ),
    "of extracted data": (
        lambda: evaluate(lambda x: dt.dlgradient(dt.extractdata(x) ** 2, x)),
        dt.GradientError,
        r"a numpy\.float64 was given; compute it from arguments of the function given to dlfeval that are dlarrays",
    ),
    "of a wrapped number": (
        lambda: evaluate(lambda x: dt.dlgradient(dt.dlarray(float(x) ** 2), x)),
        dt.GradientError,
        r"is not traced, it depends on no argument .*extractdata and float cut the trace",
    ),
    "of None": (lambda: evaluate(lambda x: dt.dlgradient(None, x)), dt.GradientError, r"a NoneType was given"),
    "by a float": (
        lambda: evaluate(lambda x: dt.dlgradient(x * x, 2.0)),
        dt.GradientError,
        r"not traced: it is a float",
    ),
    "by an ndarray": (
        lambda: evaluate(lambda x: dt.dlgradient(x * x, {"w": np.ones(2)})),
        dt.GradientError,
        r"not traced: it is a numpy\.ndarray",
    ),
    "by a constant": (
        lambda: evaluate(lambda x: dt.dlgradient(x * x, dt.dlarray([1.0]))),
        dt.GradientError,
        r"the input of shape \(1,\) is not traced.*differentiate with respect to an argument",
    ),
    "by nothing": (lambda: evaluate(lambda x: dt.dlgradient(x)), TypeError, r"at least one input: dlgradient\(y, x1"),
    "ndarrays as arguments": (
        lambda: evaluate(lambda x: dt.dlgradient((x * x).sum(), x), np.ones(2)),
        dt.GradientError,
        r"a numpy\.float64 was given; .* dlfeval that are dlarrays",
    ),
    "an option in MATLAB's spelling": (
        lambda: evaluate(lambda x: dt.dlgradient(x, x, RetainData=True)),
        TypeError,
        r"unexpected keyword argument 'RetainData'",
    ),
    "a wrong word for unconnected": (
        lambda: evaluate(lambda x: dt.dlgradient(x, x, unconnected="none")),
        dt.GradientError,
        r'unconnected must be "zero" or "error"',
    ),
    "an unconnected input": (
        lambda: evaluate(lambda x, z: dt.dlgradient(x, x, {"z": z}, unconnected="error"), dt.dlarray(1.0), X),
        dt.GradientError,
        r'does not depend on input 2 of 2, of shape \(2, 3\); leave out unconnected="error"',
    ),
    "dlfeval of no function": (lambda: dt.dlfeval(3.0, TWO), TypeError, r"give dlfeval\(function, \*arguments\)"),
    "dlfeval of the value": (
        lambda: dt.dlfeval((TWO * 2).sum(), TWO),
        TypeError,
        r"first argument must be the function",
    ),
    "dlfeval of nothing": (lambda: dt.dlfeval(), TypeError, r"first argument must be the function"),
    "dljacobian outside": (lambda: dt.dljacobian(TWO, TWO), dt.TapeError, r"passed to dlfeval"),
    "dljacobian of labels": (
        lambda: evaluate(lambda x: dt.dljacobian(x * 2, x), dt.dlarray(np.ones((2, 3)), "CB")),
        dt.ShapeError,
        r"labels 'CB'; call stripdims",
    ),
    "dljacobian along no axis": (
        lambda: evaluate(lambda x: dt.dljacobian(x * 2, x, 2), X),
        dt.ShapeError,
        r"no axis 2",
    ),
    "dljacobian of a list": (lambda: evaluate(lambda x: dt.dljacobian([x], x), X), dt.DTypeError, r"a list was given"),
    "dldivergence of shapes": (
        lambda: evaluate(lambda x: dt.dldivergence(x[:1] * 2, x), X),
        dt.ShapeError,
        r"\(1, 3\), \(2, 3\).*same shape",
    ),
    "dllaplacian of components": (
        lambda: evaluate(lambda x: dt.dllaplacian(x * 2, x), X),
        dt.ShapeError,
        r"extent 1 along axis 0",
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    expect(GRADIENTS[name])


# ---- data that cannot be computed with -----------------------------------------------------------------------

DATA: dict[str, tuple[Any, str]] = {
    "a string": ("1.5", r"text \(str\) cannot be computed with; convert it to numbers first, .*float\(\)"),
    "bytes": (b"1.5", r"text \(bytes\)"),
    "strings": (["1.5", "2"], r"an array of text"),
    "an array of strings": (np.array(["a"]), r"an array of text.*astype\(float\)"),
    "None": (None, r"a NoneType cannot be computed with; pass numbers, sequences of numbers, or arrays"),
    "a dict": ({"a": 1.0}, r"a dict cannot be"),
    "a set": ({1.0, 2.0}, r"a set cannot be"),
    "a function": (lambda: 1, r"an object of type function cannot be"),
    "a generator": ((i for i in range(3)), r"an object of type generator"),
    "an object": (object(), r"an object of type object"),
    "an array of objects": (np.array([1, None]), r"an array of Python objects.*astype\(float\)"),
    "a decimal": (decimal.Decimal("1.5"), r"an object of type decimal\.Decimal"),
    "a fraction": (fractions.Fraction(1, 2), r"an object of type Fraction"),
    "a complex number": (1j, r"a complex number cannot be computed with; pass its real and imaginary parts"),
    "a complex array": (np.ones(2) * 1j, r"a complex array"),
    "complex numbers": ([1.0, 1j], r"a complex array"),
    "a sparse matrix": (scipy.sparse.eye(3), r"a sparse array \(dia_matrix\).*pass x\.toarray\(\)"),
    "a sparse array": (scipy.sparse.csr_array(np.eye(3)), r"a sparse array \(csr_array\)"),
    "a ragged list": ([[1.0, 2.0], [3.0]], r"no regular array of numbers; NumPy says"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), r"an array of datetime64\[D\]"),
    "records": (np.zeros(2, [("a", float), ("b", int)]), r"cannot be computed with"),
    "long doubles": (np.zeros(2, np.longdouble), r"cannot be computed with; convert it with x\.astype\(float\)"),
}


@pytest.mark.parametrize("name", DATA)
def test_data(name: str) -> None:
    data, words = DATA[name]
    if name == "long doubles" and np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("a long double is a double here")
    with pytest.raises(dt.DTypeError, match=words):
        dt.dlarray(data)


@pytest.mark.parametrize(
    "name", ["a string", "a complex number", "a complex array", "a sparse array", "None", "a dict"]
)
def test_data_as_operands(name: str) -> None:
    data, words = DATA[name]
    for attempt in (lambda: TWO * data, lambda: dnp.add(data, TWO), lambda: dnp.tanh(data), lambda: TWO - data):
        with pytest.raises(dt.DTypeError, match=words):
            attempt()


OTHER_DATA: dict[str, Case] = {
    "nothing at all": (lambda: dt.dlarray(), TypeError, r"missing required argument 'data'"),
    "an integer dtype": (lambda: dt.dlarray([1], dtype="int8"), dt.DTypeError, r"'int8' is not supported; use float64"),
    "half precision": (lambda: X.astype("float16"), dt.DTypeError, r"'float16' is not supported"),
    "a complex dtype": (lambda: dt.dlarray([1], dtype=complex), dt.DTypeError, r"not supported"),
    "a number beyond float": (lambda: TWO * 10**400, OverflowError, r"too large"),
    "two channels": (lambda: dt.dlarray(np.ones((2, 2)), "CC"), dt.ShapeError, r"only one axis can have the label C"),
    "unknown labels": (
        lambda: dt.dlarray(np.ones((2, 2)), "XY"),
        dt.ShapeError,
        r"'X' is no label; .*use S \(spatial\)",
    ),
    "labels that are no text": (lambda: dt.dlarray(X, 3), dt.DTypeError, r"a format is a str such as 'SCB'"),
    "a list of Duals": (lambda: dt.dlarray([dt.Dual(1.0)]), dt.DTypeError, r"an array of Python objects"),
    "Dual of text": (lambda: dt.Dual("a"), dt.DTypeError, r"must be real numbers, dlarrays or Duals; a str was given"),
    "math of a Dual": (lambda: math.sin(dt.Dual(1.0)), TypeError, r"must be real number"),
}


@pytest.mark.parametrize("name", OTHER_DATA)
def test_other_data(name: str) -> None:
    expect(OTHER_DATA[name])


# ---- shapes and indices --------------------------------------------------------------------------------------


def assign(value: Any, index: Any = 0) -> None:
    x = X * 1
    x[index] = value


SHAPES: dict[str, Case] = {
    "broadcast": (
        lambda: TWO + dt.dlarray([1.0, 2.0, 3.0]),
        dt.ShapeError,
        r"add\(\(2,\), \(3,\)\): the shapes do not broadcast; axis -1 has extents 2 and 3; extents must be equal or 1",
    ),
    "broadcast with NumPy": (lambda: np.ones((4, 3)) * TWO, dt.ShapeError, r"multiply\(\(4, 3\), \(2,\)\)"),
    "broadcast inside dlfeval": (
        lambda: evaluate(lambda x: x - np.ones(3), TWO),
        dt.ShapeError,
        r"subtract\(\(2,\), \(3,\)\)",
    ),
    "matmul": (lambda: X @ X, dt.ShapeError, r"matmul\(\(2, 3\), \(2, 3\)\): the inner extents differ, 3 and 2"),
    "matmul by a number": (lambda: X @ 2.0, dt.ShapeError, r"a scalar is no matrix; use \*"),
    "reshape": (lambda: X.reshape(4), dt.ShapeError, r"numbers of elements differ; 6 are there"),
    "an axis": (
        lambda: X.sum(axis=2),
        dt.ShapeError,
        r"axis 2 does not exist; the array has 2 axes; use one from -2 to 1",
    ),
    "an axis twice": (lambda: X.sum(axis=(0, 0)), dt.ShapeError, r"named twice"),
    "an axis that is text": (lambda: X.sum(axis="rows"), dt.DTypeError, r"axis must be an integer; a str was given"),
    "concatenate": (lambda: dnp.concatenate([X, TWO]), dt.ShapeError, r"do not line up"),
    "stack": (lambda: dnp.stack([X, TWO]), dt.ShapeError, r"the shapes differ"),
    "stack of nothing": (lambda: dnp.stack([]), dt.ShapeError, r"give at least one array"),
    "an index": (lambda: X[2], IndexError, r"2 is out of range for axis 0 of extent 2"),
    "many indices": (lambda: X[0, 0, 0], IndexError, r"too many indices for an array of shape \(2, 3\)"),
    "a float index": (lambda: X[1.0], IndexError, r"only integers, slices"),
    "a text index": (lambda: X["a"], (IndexError, dt.DTypeError), r"index: "),
    "a float array as index": (lambda: X[np.array([0.0])], IndexError, r"only integers, slices"),
    "a float in range": (lambda: range(dt.dlarray(2.0)), TypeError, r"use int\(x\)"),
    "assign a shape": (lambda: assign(np.ones(4)), dt.ShapeError, r"assignment\(\(3,\), \(4,\)\)"),
    "assign text": (lambda: assign("a"), dt.DTypeError, r"assignment: text"),
    "assign beyond": (lambda: assign(1.0, 7), IndexError, r"7 is out of range"),
    "delete an element": (lambda: X.__delitem__(0), dt.DTypeError, r"cannot be deleted; use slices or a boolean mask"),
    "the truth of an array": (
        lambda: bool(X > 2),
        dt.ShapeError,
        r"truth of an array of 6 elements.*\.any\(\) or \.all\(\)",
    ),
    "an if inside dlfeval": (lambda: evaluate(lambda x: 1 if x > 0 else 2, TWO), dt.ShapeError, r"ambiguous"),
    "float of an array": (lambda: float(X), dt.ShapeError, r"only an array of one element is a number"),
    "item of an array": (lambda: X.item(), dt.ShapeError, r"reduce it first, or index it"),
    "len of a scalar": (lambda: len(dt.dlarray(1.0)), TypeError, r"a scalar dlarray has no length"),
    "unpack a scalar": (lambda: list(dt.dlarray(1.0)), TypeError, r"scalar dlarray"),
    "a modulus": (lambda: pow(TWO, 2, 3), TypeError, r"use remainder"),
    "a misspelt name": (lambda: dt.dlgrad, AttributeError, r"module 'dualtape' has no attribute 'dlgrad'"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    expect(SHAPES[name])


# ---- numbers that leave the graph ----------------------------------------------------------------------------


def test_float_bool_and_int_of_a_traced_value_are_plain_python() -> None:
    def f(x: Any) -> Any:
        assert float(x) == 2.0
        assert int(x) == 2
        assert f"{x:.2f}" == "2.00"
        return dt.dlgradient(float(x) * x if x > 1 else x, x)

    assert float(evaluate(f)) == 2  # the float is a constant


LEAVING: dict[str, Case] = {
    "asarray of a scalar": (lambda: evaluate(np.asarray), dt.TraceError, r"extractdata\(x\) to cut it off on purpose"),
    "asarray of an array": (lambda: evaluate(np.asarray, X), dt.TraceError, r"numpy\.asarray\(2, 3\): .*extractdata"),
    "asarray of a dual": (lambda: dt.jvp(np.asarray, (1.0,), (1.0,)), dt.TraceError, r"would lose the derivative"),
    "np.array of a list": (lambda: evaluate(lambda x: np.array([x, x])), dt.TraceError, r"dualtape\.numpy\.array"),
    "dlarray of a list": (
        lambda: evaluate(lambda x: dt.dlarray([x, x])),
        dt.TraceError,
        r"a list of arrays that are being differentiated.*dualtape\.numpy\.array\(\.\.\.\) or stack",
    ),
    "an operand that is a list": (lambda: evaluate(lambda x: [x, x] * dt.dlarray(TWO)), dt.TraceError, r"stack"),
    "out=": (lambda: evaluate(lambda x: np.exp(x, out=np.ones(2)), TWO), TypeError, r"would pass by the tape"),
    "add into an ndarray": (lambda: np.ones(2).__iadd__(TWO), TypeError, r"assign it with y\[\.\.\.\] = result"),
    "write into an ndarray": (
        lambda: evaluate(lambda x: np.ones(2).__setitem__(slice(None), x), TWO),
        dt.TraceError,
        r"would lose the derivative",
    ),
    "a function without a rule": (
        lambda: evaluate(lambda x: np.linalg.eig(x), dt.dlarray(np.eye(2))),
        dt.TraceError,
        r"numpy\.linalg\.eig\(2, 2\): its results are complex.*custom_vjp",
    ),
}


@pytest.mark.parametrize("name", LEAVING)
def test_leaving_the_graph(name: str) -> None:
    expect(LEAVING[name])


# ---- transformations -----------------------------------------------------------------------------------------


def identity(x: Any) -> Any:
    return x


TRANSFORMATIONS: dict[str, Case] = {
    "grad of a value": (lambda: dt.grad(3.0), TypeError, r"write grad\(fun\)\(x\), not grad\(fun\(x\)\)"),
    "grad with its point": (lambda: dt.grad(identity, 2.0), TypeError, r"2\.0 was given; the point comes in a call"),
    "argnums of text": (lambda: dt.grad(identity, argnums="x"), TypeError, r"must be a whole number or several"),
    "argnums too high": (
        lambda: dt.grad(identity, argnums=1)(1.0),
        ValueError,
        r"argnums names argument 1; the function was called with 1 positional",
    ),
    "argnums too low": (lambda: dt.jacfwd(identity, argnums=-2)(1.0), ValueError, r"jacfwd: argnums names argument -2"),
    "argnums twice": (
        lambda: dt.grad(lambda x, y: x, argnums=(0, -2))(1.0, 2.0),
        ValueError,
        r"names an argument twice",
    ),
    "several argnums for a Hessian": (
        lambda: dt.hessian(identity, argnums=(0, 1)),
        TypeError,
        r"hessian: argnums must be",
    ),
    "keywords only": (lambda: dt.grad(identity)(x=1.0), ValueError, r"pass what to differentiate by position"),
    "a vector value": (
        lambda: dt.grad(identity)(TWO),
        dt.GradientError,
        r"grad\(2,\).*\.sum\(\), or use jacrev or jacfwd",
    ),
    "a value that is forgotten": (
        lambda: dt.grad(lambda x: None)(1.0),
        dt.GradientError,
        r"it returned None; return the",
    ),
    "two values": (lambda: dt.grad(lambda x: (x, x))(1.0), dt.GradientError, r"returned a tuple; .*has_aux=True"),
    "no aux": (
        lambda: dt.grad(identity, has_aux=True)(1.0),
        dt.GradientError,
        r"must return \(value, aux\); it returned a",
    ),
    "aux too many": (
        lambda: dt.grad(lambda x: (x, 1, 2), has_aux=True)(1.0),
        dt.GradientError,
        r"it returned 3 values",
    ),
    "a text value": (lambda: dt.grad(lambda x: "loss")(1.0), dt.DTypeError, r"text \(str\)"),
    "an integer array": (
        lambda: dt.grad(lambda x: (x * x).sum())(np.arange(3)),
        dt.DTypeError,
        r"an array of int64 has no derivatives; convert it with x\.astype\(float\)",
    ),
    "an integer dlarray": (lambda: dt.vjp(identity, dt.dlarray(np.arange(3))), dt.DTypeError, r"astype\(float\)"),
    "a bool array": (
        lambda: dt.hessian(lambda x: x.sum())(np.array([True])),
        dt.DTypeError,
        r"an array of bool has no",
    ),
    "a text argument": (lambda: dt.grad(identity)("x"), dt.DTypeError, r"derivative: text \(str\)"),
    "a vector Hessian": (lambda: dt.hessian(identity)(TWO), dt.GradientError, r"hessian\(2,\): .*not a scalar"),
    "jvp of numbers": (lambda: dt.jvp(identity, 1.0, 1.0), TypeError, r"jvp\(fun, \(x,\), \(v,\)\)"),
    "jvp counts": (lambda: dt.jvp(identity, (1.0,), ()), dt.ShapeError, r"1 primals and 0 tangents"),
    "jvp shapes": (
        lambda: dt.jvp(identity, (1.0,), (TWO,)),
        dt.ShapeError,
        r"jvp\(\(\), \(2,\)\): the tangent must have",
    ),
    "jvp structure": (
        lambda: dt.jvp(lambda p: p["a"], ({"a": 1.0},), ({"b": 1.0},)),
        ValueError,
        r"tangents\[0\] has no 'a', which primals\[0\] has",
    ),
    "jvp of complex tangents": (lambda: dt.jvp(identity, (1.0,), (1j,)), dt.DTypeError, r"complex"),
    "pull shape": (
        lambda: dt.vjp(identity, TWO)[1](1.0),
        dt.ShapeError,
        r"pull\(\(\)\): .*the function's value, \(2,\)",
    ),
    "pull structure": (
        lambda: dt.vjp(lambda x: (x, x), 1.0)[1](1.0),
        ValueError,
        r"cotangent is a leaf, but out is a tuple",
    ),
    "pull list for tuple": (lambda: dt.vjp(lambda x: (x, x), 1.0)[1]([1.0, 1.0]), ValueError, r"cotangent is a list"),
    "push shape": (lambda: dt.linearize(identity, TWO)[1](1.0), dt.ShapeError, r"linearize\(2,\): the tangent has"),
    "push count": (
        lambda: dt.linearize(identity, TWO)[1](),
        ValueError,
        r"tangents has length 0, but primals has length 1",
    ),
    "hvp shape": (lambda: dt.hvp(lambda x: x.sum())(TWO, 1.0), dt.ShapeError, r"hvp\(2,\): v has the shape \(\)"),
    "hvp structure": (lambda: dt.hvp(lambda p: p["a"])({"a": 1.0}, {"a": [1.0]}), ValueError, r"v\['a'\] is a list"),
    "a custom_vjp without a rule": (
        lambda: dt.custom_vjp(identity)(1.0),
        dt.GradientError,
        r"identity\.defvjp\(forward, back",
    ),
    "a custom_jvp without a rule": (
        lambda: dt.custom_jvp(identity)(1.0),
        dt.GradientError,
        r"call identity\.defjvp\(rule\)",
    ),
    "modes of check_grads": (
        lambda: dt.check_grads(identity, (1.0,), modes="both"),
        ValueError,
        r"modes are 'fwd' and 'rev'",
    ),
    "args of check_grads": (lambda: dt.check_grads(identity, 1.0), TypeError, r"check_grads\(fun, \(x,\)\)"),
    "an exact stop": (
        lambda: dt.check_grads(lambda x: dt.stop_gradient(x) * x, (1.0,)),
        dt.GradientError,
        r"forward-mode derivative of order 1 of out differs from central differences",
    ),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_transformations(name: str) -> None:
    expect(TRANSFORMATIONS[name])


def custom(backward: Callable[..., Any]) -> Callable[..., Any]:
    f = dt.custom_vjp(lambda x: x * 2)
    f.defvjp(lambda x: (x * 2, None), backward)
    return f


CUSTOM: dict[str, Case] = {
    "a cotangent of another shape": (
        lambda: dt.grad(lambda x: custom(lambda _, ct: (ct.sum(),))(x).sum())(TWO),
        dt.GradientError,
        r"the cotangent of input 0 has the shape \(\), the input \(2,\)",
    ),
    "too many cotangents": (
        lambda: dt.grad(custom(lambda _, ct: (ct, ct)))(1.0),
        ValueError,
        r"custom_vjp's cotangents has length 2, but arguments has length 1",
    ),
    "forward mode": (
        lambda: dt.jvp(custom(lambda _, ct: (ct,)), (1.0,), (1.0,)),
        dt.GradientError,
        r"has a reverse-mode rule only; give it a custom_jvp",
    ),
}


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_rules(name: str) -> None:
    expect(CUSTOM[name])


# ---- updates -------------------------------------------------------------------------------------------------

PARAMS = {"fc1": {"W": dt.dlarray(np.ones((2, 2))), "b": dt.dlarray(0.0)}}
UPDATES: dict[str, Callable[..., Any]] = {
    "sgdmupdate": lambda grads, params=PARAMS, **options: dt.sgdmupdate(params, grads, **options),
    "rmspropupdate": lambda grads, params=PARAMS, **options: dt.rmspropupdate(params, grads, **options),
    "adamupdate": lambda grads, params=PARAMS, **options: dt.adamupdate(params, grads, None, None, 1, **options),
}


def grads_with(**changes: Any) -> Any:
    return {"fc1": PARAMS["fc1"] | changes}


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize(
    ("grads", "error", "words"),
    [
        ({"fc1": {"W": 1.0, "bias": 0.0}}, ValueError, r"grads\['fc1'\] has no 'b', which params\['fc1'\] has"),
        ({"fc1": {"W": 1.0}}, ValueError, r"grads\['fc1'\] has no 'b'"),
        (grads_with(extra=1.0), ValueError, r"grads\['fc1'\] has .*'extra'"),
        (grads_with(b=None), ValueError, r"grads\['fc1'\]\['b'\] is None"),
        (grads_with(b=[1.0]), ValueError, r"grads\['fc1'\]\['b'\] is a list"),
        ([PARAMS["fc1"]], ValueError, r"grads is a list of 1 child"),
        (grads_with(W=np.ones((2, 3))), dt.ShapeError, r"grads\['fc1'\]\['W'\] \(2, 3\)\): the shapes must be equal"),
        (grads_with(W="text"), dt.DTypeError, r"grads\['fc1'\]\['W'\]"),
    ],
)
def test_mismatched_trees(update: str, grads: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        UPDATES[update](grads)


def test_mismatched_trees_by_hand() -> None:
    with pytest.raises(ValueError, match=r"\['fc1'\] has no 'b', which params\['fc1'\] has"):
        dt.dlupdate(lambda p, g: p - g, PARAMS, {"fc1": {"W": 1.0, "bias": 0.0}})


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, -math.inf])
def test_learning_rates(update: str, rate: float) -> None:
    with pytest.raises(ValueError, match=rf"{update}.*learn_rate must be a finite number of at least 0; got {rate}"):
        UPDATES[update](PARAMS, learn_rate=rate)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("rate", ["0.1", None, 1j, [0.1, 0.2], TWO])
def test_learning_rates_that_are_no_number(update: str, rate: Any) -> None:
    with pytest.raises(TypeError, match=r"learn_rate must be (a|one) number; got"):
        UPDATES[update](PARAMS, learn_rate=rate)


@pytest.mark.parametrize("iteration", [0, -1, 1.5, math.nan])
def test_iterations(iteration: Any) -> None:
    with pytest.raises(
        ValueError, match=r"iteration must be a whole number of at least 1; got .*count the first update as 1"
    ):
        dt.adamupdate(PARAMS, PARAMS, None, None, iteration)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_check_finite(update: str, bad: float) -> None:
    grads = grads_with(W=dt.dlarray([[1.0, bad], [0.0, 1.0]]))
    with pytest.raises(dt.NumericError, match=r"grads\['fc1'\]\['W'\].*must be finite.*Nothing was updated"):
        UPDATES[update](grads, check_finite=True)
    new, *_ = UPDATES[update](grads)  # unless asked for, they go through, as in MATLAB
    assert np.isnan(dt.extractdata(new["fc1"]["W"])).any() or np.isinf(dt.extractdata(new["fc1"]["W"])).any()
    UPDATES[update](PARAMS, check_finite=True)


OTHER_UPDATES: dict[str, Case] = {
    "momentum of 1": (
        lambda: dt.sgdmupdate(1.0, 1.0, momentum=1.0),
        ValueError,
        r"momentum must be .*not including, 1",
    ),
    "negative decay": (
        lambda: dt.adamupdate(1.0, 1.0, None, None, 1, grad_decay=-1),
        ValueError,
        r"grad_decay must be",
    ),
    "text as parameters": (lambda: dt.sgdmupdate("w", 1.0), dt.DTypeError, r"a leaf must be a float.*got str 'w'"),
    "integers as parameters": (lambda: dt.sgdmupdate(np.arange(2), np.ones(2)), dt.DTypeError, r"floating-point"),
    "a list for a tuple": (lambda: dt.sgdmupdate([1.0], (1.0,)), ValueError, r"grads is a tuple .*params is a list"),
    "a negative threshold": (
        lambda: dt.threshold_l2norm(PARAMS, -1),
        ValueError,
        r"at least 0.*math\.inf for no clipping",
    ),
    "a state of another shape": (
        lambda: dt.sgdmupdate(np.ones(2), np.ones(2), np.ones(3)),
        dt.ShapeError,
        r"the shapes must be equal",
    ),
    "a loss without gradients": (lambda: dt.lbfgsupdate(PARAMS, lambda p: 3.0), TypeError, r"must return 2 values"),
}


@pytest.mark.parametrize("name", OTHER_UPDATES)
def test_other_updates(name: str) -> None:
    expect(OTHER_UPDATES[name])


# ---- nothing of it leaves a trace ----------------------------------------------------------------------------

EVERYTHING = {
    f"{topic}: {name}": case
    for topic, table in {"gradients": GRADIENTS, "leaving": LEAVING, "transformations": TRANSFORMATIONS}.items()
    for name, case in table.items()
}


def test_errors_leave_no_tape_open() -> None:
    for case in EVERYTHING.values():
        expect(case)
        scope = _core.Scope()
        assert not scope.nested
        scope.close()
    assert float(evaluate(lambda x: dt.dlgradient(x * x, x))) == 4


def test_messages_are_sentences() -> None:
    """What is wrong, and after a semicolon or colon what would work; no names from the inside of the library."""
    for case in EVERYTHING.values():
        with pytest.raises(case[1]) as caught:
            case[0]()
        text = str(caught.value)
        assert len(text) > 20
        assert not any(word in text for word in ("std::", "pybind", "nullptr", "kNoNode", "PyObject"))
