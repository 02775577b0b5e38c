# SPDX-License-Identifier: MIT
"""What once went wrong where Python meets the core: passes that run Python, memory that is shared, odd operands."""

import numpy as np
import pytest

import dualtape as dt
import dualtape.numpy as dnp


def segment(x):
    return dnp.sin(x) * x


@pytest.mark.parametrize("x", [1.3, np.array([1.3, 0.4]), np.float32([1.3, 0.4])], ids=["scalar", "array", "float32"])
@pytest.mark.parametrize("count", [2, 3])
def test_checkpoints_one_after_another(x, count):
    def through(step):
        def f(v):
            for _ in range(count):
                v = step(v)
            return v.sum()

        return f

    expected = dt.grad(through(segment))(dt.dlarray(x))
    checkpointed = dt.checkpoint(segment)
    np.testing.assert_allclose(dt.grad(through(checkpointed))(dt.dlarray(x)), expected, rtol=1e-6)
    nested = dt.checkpoint(lambda v: checkpointed(v))
    np.testing.assert_allclose(dt.grad(through(nested))(dt.dlarray(x)), expected, rtol=1e-6)
    twice = dt.grad(lambda v: dt.grad(through(checkpointed))(v).sum())(dt.dlarray(x))
    np.testing.assert_allclose(twice, dt.grad(lambda v: dt.grad(through(segment))(v).sum())(dt.dlarray(x)), rtol=1e-5)


def test_assignment_to_a_broadcast_array_changes_the_place_alone():
    x = dnp.broadcast_to(dt.dlarray([1.0, 2.0]) * 1.0, (3, 2))
    x[0] = 5.0
    assert x.tolist() == [[5.0, 5.0], [1.0, 2.0], [1.0, 2.0]]
    y = dnp.broadcast_to(dt.dlarray([1.0, 2.0]) * 1.0, (3, 2))
    y[[2, 1], [0, 0]] = 7.0
    assert y.tolist() == [[1.0, 2.0], [7.0, 2.0], [7.0, 2.0]]


@pytest.mark.parametrize(
    "view",
    [
        lambda a: dnp.reshape(a, (4,)),
        dnp.transpose,
        lambda a: dnp.broadcast_to(a, (3, 2, 2)),
        lambda a: dnp.squeeze(a[None]),
    ],
    ids=["reshape", "transpose", "broadcast_to", "squeeze"],
)
def test_results_do_not_change_with_the_memory_of_others(view):
    a = np.ones((2, 2))
    x = view(a)
    a[...] = 99.0
    assert np.all(np.asarray(x) == 1.0)


def test_dlgradient_in_a_backward_function_says_what_is_wrong():
    @dt.custom_vjp
    def square(x):
        return x * x

    square.defvjp(lambda x: (x * x, x), lambda x, cotangent: (dt.dlgradient(x, x),))
    _, pull = dt.vjp(square, 3.0)
    with pytest.raises(dt.TapeError, match="no function is being evaluated"):
        pull(1.0)


def test_tangents_do_not_vanish_at_an_opaque_derivative():
    def slope(x):
        return dt.dlgradient(x**3, x)

    with pytest.raises(dt.GradientError, match="enable_higher_derivatives"):
        dt.vjp(slope, 2.0)[1](1.0)
    with pytest.raises(dt.Error):
        dt.linearize(slope, 2.0)[1](1.0)


def test_linearize_a_function_of_nothing():
    out, push = dt.linearize(lambda: dt.dlarray(3.0))
    assert (float(out), float(push())) == (3.0, 0.0)


def test_bits_with_python_numbers():
    mask = dt.dlarray([1.0, -1.0]) > 0
    assert (mask & True).tolist() == [True, False]
    assert (True ^ mask).tolist() == [False, True]
    assert (dt.dlarray(np.arange(4)) & 2).tolist() == [0, 0, 2, 2]
    with pytest.raises(dt.DTypeError, match="bits of floating-point"):
        mask & 1.0


def test_derivatives_cannot_be_stored_in_integers():
    def f(x):
        counts = dt.dlarray(np.arange(3))
        counts[0] = x
        return counts.sum()

    with pytest.raises(dt.DTypeError, match="traced value cannot be stored"):
        dt.jvp(f, (2.5,), (1.0,))
    with pytest.raises(dt.DTypeError, match="traced value cannot be stored"):
        dt.dlfeval(f, dt.dlarray(2.5))


def test_take_with_an_index_beyond_all_bounds():
    with pytest.raises(OverflowError):
        dnp.take(dt.dlarray([1.0, 2.0]), 10**400)
    with pytest.raises(dt.ShapeError, match="out of bounds"):
        dnp.take(dt.dlarray([1.0, 2.0]), 2)


def test_views_of_views_follow_and_write_back():
    a = np.arange(12.0).reshape(3, 4)
    x = dt.dlarray(a)
    pairs = [(x, a)]
    for step in (
        lambda v: v[1:].T[::2][::-1],
        lambda v: v.T.T[0:1][:, ::-1],
        lambda v: v.T.T,
        lambda v: v.reshape(4, 3).reshape(2, 6)[1],
        lambda v: v[None, ::2][:, 1][..., 1:3],
    ):
        pairs.append((step(x), step(a)))
    for number, (view, same) in enumerate(pairs):
        first = (0,) * same.ndim
        view[first] = 100.0 * number
        same[first] = 100.0 * number
        for left, right in pairs:
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("shape", [(-1,), (2**40, 2**40), (2**32, 2**32), (2**62,)])
def test_shapes_that_no_array_has(shape):
    with pytest.raises(dt.ShapeError, match="no array has this shape"):
        dnp.broadcast_to(dt.dlarray(1.0), shape)
    with pytest.raises(dt.ShapeError):
        dt.dlarray(np.ones(0)).reshape(*shape, 1, -1)


def test_an_interrupt_while_data_is_read_stays_one():
    class Slow:
        def __array__(self, dtype=None, copy=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dt.dlarray(Slow())
    with pytest.raises(KeyboardInterrupt):
        dt.dlarray(1.0) + Slow()


def test_equality_with_what_is_no_number_is_that_of_identity():
    x = dt.dlarray(1.0)
    assert x in [None, "a", x]
    assert (x == None) is False  # noqa: E711
    assert (x != "a") is True


def test_an_index_array_out_of_range_is_an_index_error():
    with pytest.raises(IndexError, match="5"):
        dt.dlarray([1.0, 2.0])[[5]]


def test_the_function_matmul_refuses_what_the_operator_declines():
    with pytest.raises(dt.DTypeError):
        dnp.matmul(dt.dlarray([[1.0]]), object())
