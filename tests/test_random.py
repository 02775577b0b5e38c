# SPDX-License-Identifier: MIT
"""`dualtape.random`: numbers are those of Philox4x32-10, distributed as they say, one stream for each run.

Philox is written here once more, in plain Python, checked against the vectors that its authors publish (kat_vectors of
Random123), and then says which numbers are to come. The known answers of the core's own Philox, and its kernels for
each instruction set, are in cpp/tests/test_random.cpp.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from steps import alone, assert_same_bits, assert_same_run, by_hand

import dualtape as dt
from dualtape import _core, random

# ---- Philox -----------------------------------------------------------------------------------------------------


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    (a, b, c, d), (k, j) = counter, key
    for _ in range(10):
        x, y = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = y >> 32 ^ b ^ k, y & 0xFFFFFFFF, x >> 32 ^ d ^ j, x & 0xFFFFFFFF
        k, j = k + 0x9E3779B9 & 0xFFFFFFFF, j + 0xBB67AE85 & 0xFFFFFFFF
    return a, b, c, d


def words(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    assert philox(words(counter), words(key)) == words(answer)


def expected(seed: int, stream: int, iteration: int, draw: int, element: int, dtype: Any = np.float64) -> Any:
    """The number as num/philox.hpp lays it out: an odd multiple of 2^-53, or of 2^-24."""
    high = seed >> 32
    counter = (element, draw | (high & 0xFFF) << 20, iteration & 0xFFFFFFFF, iteration >> 32 | high >> 12 << 21)
    first, second, *_ = philox(counter, (seed & 0xFFFFFFFF, stream))
    if dtype is np.float32:
        return np.float32(((first >> 9) + 0.5) * 2.0**-23)
    return ((first << 32 | second) >> 12) * 2.0**-52 + 2.0**-53


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "key",
    [
        (0, 0, 0, 0),
        (1, 2, 3, 4),
        (2**32 - 1, 2**32 - 1, 2**32 - 1, 2**20 - 1),
        (2**53 - 1, 12345, 2**53 - 1, 7),
        (0x1F_2345_6789_ABCD, 2**31, 0x12_3456_789A_BCDE, 0xABCDE),
    ],
)
def test_numbers_are_those_of_philox(key: tuple[int, int, int, int], dtype: Any) -> None:
    seed, stream, iteration, draw = key
    numbers = _core.random_uniform(float(seed), float(stream), float(iteration), draw, (3, 7), dtype)
    want = [expected(*key, element, dtype) for element in range(21)]
    np.testing.assert_array_equal(dt.extractdata(numbers).ravel(), np.array(want, dtype))
    assert numbers.dtype == dtype


def test_numbers_outside_of_loops_are_an_iteration_each() -> None:
    dt.random.seed(77)
    assert [float(dt.random.uniform()) for _ in range(3)] == [expected(77, 0, k, 0, 0) for k in (1, 2, 3)]
    with random.streams(5, 6, 7):
        assert [float(dt.random.uniform()) for _ in range(3)] == [expected(5, 6, 7, k, 0) for k in (0, 1, 2)]
        with random.streams(8, 9, 10):
            assert float(dt.random.uniform()) == expected(8, 9, 10, 0, 0)
        assert float(dt.random.uniform()) == expected(5, 6, 7, 3, 0)
    assert float(dt.random.uniform()) == expected(77, 0, 4, 0, 0)


def test_numbers_of_loops_are_draws_of_their_iteration() -> None:
    def step(x: Any) -> Any:
        return x, (dt.random.uniform(), dt.random.uniform(size=2))

    over = dt.grid(unused=[0.0] * 5)
    runs = dt.sweep(lambda x, unused: step(x), 0.0, over=over, iterations=4, record_every=1, seed=2**40 + 3)
    one, two = runs.history
    for run in range(5):
        for k in range(4):
            assert one[run, k] == expected(2**40 + 3, run, k + 1, 0, 0)
            assert two[run, k].tolist() == [expected(2**40 + 3, run, k + 1, 1, e) for e in (0, 1)]


# ---- distributions ----------------------------------------------------------------------------------------------

N = 200_000
DISTRIBUTIONS: dict[str, tuple[Callable[..., Any], float, float, float, Callable[[Any], Any]]] = {
    # name: draw, mean, variance, fourth central moment, distribution function
    "uniform": (dt.random.uniform, 1 / 2, 1 / 12, 1 / 80, lambda x: x),
    "uniform between bounds": (
        lambda **kwargs: dt.random.uniform(-1.0, 3.0, **kwargs), 1.0, 16 / 12, 256 / 80, lambda x: (x + 1) / 4,
    ),
    "normal": (dt.random.normal, 0.0, 1.0, 3.0, lambda x: (1 + np.vectorize(math.erf)(x / 2**0.5)) / 2),
    "normal elsewhere": (
        lambda **kwargs: dt.random.normal(5.0, 0.5, **kwargs), 5.0, 0.25, 3 / 16,
        lambda x: (1 + np.vectorize(math.erf)((x - 5) * 2**0.5)) / 2,
    ),
    "exponential": (
        lambda **kwargs: dt.random.exponential(2.0, **kwargs), 2.0, 4.0, 9 * 16.0, lambda x: -np.expm1(-x / 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_moments(name: str, dtype: Any) -> None:
    """Within 5 standard errors, and the whole distribution by Kolmogorov and Smirnov's distance."""
    draw, mean, variance, fourth, cdf = DISTRIBUTIONS[name]
    dt.random.seed(1)
    x = dt.extractdata(draw(size=N, dtype=dtype))
    assert (x.dtype, x.shape) == (dtype, (N,))
    x = x.astype(np.float64)
    assert abs(x.mean() - mean) < 5 * math.sqrt(variance / N)
    assert abs(x.var() - variance) < 5 * math.sqrt((fourth - variance**2) / N)
    steps = np.arange(N + 1) / N
    at = cdf(np.sort(x))
    assert max(abs(at - steps[:-1]).max(), abs(at - steps[1:]).max()) < 2.2 / math.sqrt(N)
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 5 / math.sqrt(N)


def test_bernoulli_and_integers() -> None:
    dt.random.seed(2)
    for p in (0.0, 0.1, 0.5, 1.0):
        x = dt.extractdata(dt.random.bernoulli(p, size=N))
        assert set(x.tolist()) <= {0.0, 1.0}
        assert abs(x.mean() - p) <= 5 * math.sqrt(p * (1 - p) / N)
    for low, high in ((0, 6), (-2, 3), (7, 8), (2**53 - 5, 2**53)):
        x = dt.extractdata(dt.random.integers(low, high, size=N))
        counts = np.unique(x, return_counts=True)
        assert counts[0].tolist() == list(range(low, high))
        assert (abs(counts[1] - N / (high - low)) < 5 * math.sqrt(N / (high - low))).all()
    assert dt.extractdata(dt.random.integers(3, size=N)).max() == 2
    wide = dt.extractdata(dt.random.integers(-(2**51), 2**51, size=1000))
    assert len(set(wide.tolist())) == 1000
    np.testing.assert_array_equal(wide, np.floor(wide))


def test_the_open_interval_is_never_left() -> None:
    """The least and the greatest word give numbers inside; so logarithms are finite."""
    for dtype, step in ((np.float64, 2.0**-53), (np.float32, 2.0**-24)):
        assert 0 < np.dtype(dtype).type(step) < np.dtype(dtype).type(1 - step) < 1
        x = dt.extractdata(dt.random.uniform(size=2_000_000, dtype=dtype))
        assert step <= x.min() < 1e-5
        assert 1 - 1e-5 < x.max() <= 1 - step


def test_permutations_are_equally_likely() -> None:
    dt.random.seed(3)
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        order = tuple(dt.random.permutation(3).tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 6
    assert all(abs(count - 1000) < 5 * math.sqrt(1000) for count in seen.values())
    assert sorted(dt.random.permutation(100).tolist()) == list(range(100))
    assert dt.random.permutation(0).shape == (0,)


# ---- seeds and streams ------------------------------------------------------------------------------------------


def draws() -> list[np.ndarray[Any, Any]]:
    return [dt.extractdata(dt.random.normal(size=3)), dt.random.permutation(20)]


def test_seeds() -> None:
    dt.random.seed(4)
    first, second = draws(), draws()
    dt.random.seed(4)
    assert_same_bits([first, second], [draws(), draws()])
    dt.random.seed(5)
    assert not np.array_equal(first[0], draws()[0])
    assert not np.array_equal(first[0], second[0])
    dt.random.seed(2**53 - 1)  # the greatest
    draws()
    dt.random.seed(np.int64(0))
    draws()


def test_threads_have_numbers_of_their_own() -> None:
    """The seed of one thread is not that of another, which begins with 0."""
    dt.random.seed(0)
    want = draws()
    dt.random.seed(9)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(draws()))
    thread.start()
    thread.join()
    assert_same_bits(found[0], want)


def test_lanes_are_independent() -> None:
    """No two streams, iterations or draws have numbers in common, or move together."""

    def step(x: Any, unused: Any) -> Any:
        return x, (dt.random.uniform(), dt.random.uniform(), dt.random.uniform(size=2))

    over = dt.grid(unused=np.zeros(300))
    runs = dt.sweep(step, 0.0, over=over, iterations=200, record_every=1, seed=11)
    one, two, pair = runs.history
    columns = np.stack([one, two, pair[..., 0], pair[..., 1]])  # (draw, run, iteration)
    assert len(np.unique(columns)) == columns.size
    for axis in range(3):
        apart = np.moveaxis(columns, axis, 0).reshape(columns.shape[axis], -1) - 0.5
        for a, b in ((0, 1), (0, -1), (1, 2)):
            assert abs((apart[a] * apart[b]).mean() * 12) < 5 / math.sqrt(apart.shape[1])
    # The mean of each run is as far from 1/2 as chance would have it, run by run and over all runs.
    z = (columns.mean(axis=(0, 2)) - 0.5) * math.sqrt(12 * 800)
    assert abs(z).max() < 5
    assert 0.8 < z.std() < 1.2


# ---- traced -----------------------------------------------------------------------------------------------------


def every_draw(x: Any, scale: Any) -> Any:
    noise = dt.random.normal(0.0, scale, size=3)
    drawn = {
        "uniform": dt.random.uniform(-scale, scale),
        "exponential": dt.random.exponential(scale),
        "bernoulli": dt.random.bernoulli(0.3, size=(2, 2)),
        "integers": dt.random.integers(5),
        "float32": dt.random.normal(size=2, dtype=np.float32),
    }
    if drawn["integers"] > 2:
        noise = noise * dt.random.uniform()
    return 0.9 * x + noise, drawn


def test_loops_lanes_and_plain_python_draw_the_same() -> None:
    start, options = np.zeros(3), {"iterations": 40, "record_every": 1, "seed": 6}
    assert_same_run(*by_hand(every_draw, start, scale=0.5, **options))
    over = dt.grid(scale=np.linspace(0.1, 1.0, 11))
    runs = dt.sweep(every_draw, start, over=over, **options)
    assert_same_run(runs, dt.sweep(every_draw, start, over=over, lanes=3, threads=1, **options))
    assert_same_run(runs[0], alone(every_draw, start, runs, 0, iterations=40, seed=6))
    plain = dt.sweep(every_draw, start, over=over, compiled=False, **options)
    assert_same_run(dt.sweep(every_draw, start, over=over, contract=False, **options), plain)


def test_the_shape_is_that_of_the_parameters() -> None:
    """As NumPy has it: an array of means has a number for each."""
    for draw in (
        lambda: dt.random.normal(np.zeros((2, 1)), np.ones(3)),
        lambda: dt.random.uniform(np.zeros((2, 3)), 1.0),
        lambda: dt.random.exponential(np.ones((2, 3))),
        lambda: dt.random.bernoulli(np.full((2, 3), 0.5)) + dt.random.uniform(size=(2, 3)),
    ):
        x = dt.extractdata(draw())
        assert x.shape == (2, 3)
        assert len(np.unique(x)) == 6
    run = dt.loop(lambda x: (x, dt.random.normal(x, 1.0)), np.zeros(4), iterations=1)
    assert len(set(run.value.tolist())) == 4
    assert dt.random.normal(size=[2, 3]).shape == (2, 3)
    assert dt.random.normal().shape == dt.random.normal(size=()).shape == ()


def test_derivatives_go_through_the_parameters() -> None:
    def value(loc: Any, scale: Any) -> Any:
        dt.random.seed(8)
        return dt.random.normal(loc, scale) + dt.random.uniform(loc, scale) + dt.random.exponential(scale)

    dt.random.seed(8)
    noise, unit, wait = (float(draw()) for draw in (dt.random.normal, dt.random.uniform, dt.random.exponential))
    slopes = dt.grad(value, argnums=(0, 1))(0.5, 2.0)
    assert [float(x) for x in slopes] == pytest.approx([1 + 1 - unit, noise + unit + wait], rel=1e-14)


# ---- errors -----------------------------------------------------------------------------------------------------


def inside(seed: Any = 0, stream: Any = 0, iteration: Any = 1, draw: Callable[[], Any] = dt.random.uniform) -> Any:
    with random.streams(seed, stream, iteration):
        return draw()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dt.random.seed(2**53), ValueError, r"random.seed\(9007199254740992\): .* from 0 to 2\*\*53 - 1"),
        (lambda: dt.random.seed(-1), ValueError, r"random.seed\(-1\): the seed must be a whole number"),
        (lambda: dt.random.seed(0.5), ValueError, r"random.seed\(0.5\): the seed must be a whole number"),
        (lambda: dt.random.seed(True), ValueError, r"random.seed\(True\): the seed must be a whole number"),
        (lambda: dt.random.uniform(size=-1), dt.ShapeError, r"random\(size=-1\): the size must be None, a whole"),
        (lambda: dt.random.uniform(size=2.5), dt.ShapeError, r"random\(size=2.5\): the size must be"),
        (lambda: dt.random.uniform(size=(2, True)), dt.ShapeError, r"random\(size=\(2, True\)\): the size must be"),
        (lambda: dt.random.uniform(size="ab"), dt.ShapeError, r"random\(size='ab'\): the size must be"),
        (lambda: dt.random.normal(size=(2**16, 2**17)), dt.ShapeError, "at most 4,294,967,296 numbers come from one"),
        (lambda: dt.random.uniform(dtype=int), dt.DTypeError, "must be float64 or float32; got int64"),
        (lambda: dt.random.normal(np.zeros(3), size=4), dt.ShapeError, "do not broadcast"),
        (lambda: dt.random.bernoulli(1.5), ValueError, r"random.bernoulli\(1.5\): a probability is a number from 0"),
        (lambda: dt.random.bernoulli(math.nan), ValueError, r"random.bernoulli\(nan\): a probability"),
        (lambda: dt.random.integers(0), ValueError, r"random.integers\(0\): the range is empty; high must be above"),
        (lambda: dt.random.integers(5, 3), ValueError, r"random.integers\(5, 3\): the range is empty"),
        (lambda: dt.random.integers(2.5), ValueError, r"random.integers\(2.5\): bounds must be whole numbers"),
        (lambda: dt.random.integers("a"), ValueError, r"random.integers\('a'\): bounds must be whole numbers"),
        (lambda: dt.random.integers(0, 2**53), ValueError, r"at most 2\*\*52 apart"),
        (lambda: dt.random.integers(2**60, 2**60 + 2), ValueError, r"numbers up to 2\*\*53"),
        (lambda: dt.random.permutation(-1), ValueError, r"random.permutation\(-1\): n must be a whole number from 0"),
        (lambda: dt.random.permutation([1, 2]), ValueError, r"random.permutation\(\[1, 2\]\): n must be a whole"),
        (lambda: inside(draw=lambda: dt.random.permutation(3)), ValueError, "inside a step the order would be frozen"),
        (lambda: inside(seed=0.5), dt.ShapeError, r"seed must be a whole number from 0 to 2\*\*53 - 1; got 0.5"),
        (lambda: inside(stream=2**32), dt.ShapeError, r"stream must be a whole number from 0 to 2\*\*32 - 1"),
        (lambda: inside(iteration=-1), dt.ShapeError, "iteration must be a whole number"),
        (lambda: _core.random_uniform(0.0, 0.0, 0.0, 2**20, (), float), dt.ShapeError, r"the draws 0 to 2\*\*20 - 1"),
        (lambda: dt.loop(lambda x: (x, x), 0.0, iterations=1, seed=2**53), ValueError, r"from 0 to 2\*\*53 - 1; got"),
        (lambda: dt.trace(lambda x: x + dt.random.normal(), 1.0), dt.TraceError, "outside of a loop"),
    ],
)  # fmt: skip
def test_errors(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_draw_that_is_refused_counts_for_nothing() -> None:
    dt.random.seed(3)
    want = draws()
    dt.random.seed(3)
    with pytest.raises(dt.ShapeError):
        dt.random.normal(size=-1)
    with pytest.raises(ValueError, match="n must be"):
        dt.random.permutation(-1)
    assert_same_bits(draws(), want)
