# SPDX-License-Identifier: MIT
"""Nothing is left behind: counts of live buffers and the memory of the process return to where they were, whatever
was created, dropped, raised or interrupted, in threads and forks and at the end of the interpreter."""

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import dualtape as dt
import dualtape.numpy as dnp
from dualtape import _core

HAS_STATM = os.path.exists("/proc/self/statm")


def resident():
    """Bytes of memory that the process occupies."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def counts():
    gc.collect()
    return _core.memory()


class Settled:
    """Fails at the end of the block where buffers, arrays, or more than a few megabytes are left by it."""

    def __enter__(self):
        _core.release_cached_memory()
        self.counts, self.resident = counts(), resident() if HAS_STATM else 0

    def __exit__(self, kind, *_):
        _core.release_cached_memory()
        if kind is None:
            assert counts() == self.counts
            assert not HAS_STATM or resident() - self.resident < 8e6


@pytest.fixture
def nothing_left():
    with Settled():
        yield


def loss(x, y):
    return (dnp.sin(x) * y - x / y).sum()


def gradient(x, y):
    return dt.dlgradient(loss(x, y), x, y)


class Stop(Exception):
    pass


def scalars():
    x = dt.dlarray(2.0)
    for _ in range(100):
        x = -((x * 0.5 + 1.0) ** 2) / 3.0


def small_arrays():
    x = dt.dlarray(np.ones(3))
    for _ in range(50):
        x = dnp.tanh(x * 0.5 + 1.0)
        x[1] = 0.25
        x = x + np.zeros(3)


def views():
    x = dt.dlarray(np.arange(24.0).reshape(2, 3, 4))
    for _ in range(10):
        v = x[1:, ::-1].T.reshape(4, -1)
        w = x[0].T[1:]
        w[0] = 1.0
        x[0, 0] = 2.0
        assert v.shape == (4, 3)
        assert next(iter(x[1, 1])).shape == ()


def labels():
    for _ in range(10):
        x = dt.dlarray(np.ones((2, 3)), "CB")
        y = dt.stripdims(x * 2.0 + x)
        assert x.sum(axis=0).dims == "B"
        assert y.dims == ""


def tracked():
    x, y = dt.dlarray(np.ones((3, 1))), dt.dlarray(np.full((1, 2), 2.0))
    for _ in range(10):
        dt.dlfeval(gradient, x, y)
        dt.dlfeval(gradient, dt.dlarray(1.0), dt.dlarray(2.0))


def trees():
    parameters = {"a": [dt.dlarray(np.ones(2)), dt.dlarray(1.0)], "b": (dt.dlarray(3.0),)}
    for _ in range(5):
        dt.dlfeval(lambda p: dt.dlgradient((p["a"][0] * p["b"][0]).sum() + p["a"][1], p), parameters)


def duals():
    x = dt.Dual(2.0, 1.0)
    for _ in range(50):
        x = dnp.sin(x * x) + dt.Dual(dt.dlarray(1.0), 0.5)


def transformations():
    x = dt.dlarray(np.ones(3))
    dt.jvp(lambda v: dnp.exp(v) * v, (x,), (x,))
    dt.grad(lambda v: dt.grad(lambda w: (w**3).sum())(v).sum())(x)
    dt.hessian(lambda v: (v**3).sum())(x)
    dt.jacfwd(dnp.sin)(x)
    dt.jacrev(dnp.sin)(x)


def dropped_closures():
    x = dt.dlarray(np.ones(100))
    for _ in range(5):
        dt.vjp(lambda v: dnp.exp(v) * v, x)
        dt.linearize(lambda v: dnp.exp(v) * v, x)
    _, pull = dt.vjp(dt.checkpoint(lambda v: dnp.exp(v) * v), x)
    pull(x)


def exceptions():
    x = dt.dlarray(np.ones(100))

    def fails(v):
        dnp.exp(v) * v
        raise Stop

    def fails_inside(v):
        return dt.dlfeval(lambda w: fails(w * v), v)

    for function in (fails, fails_inside):
        with pytest.raises(Stop):
            dt.dlfeval(function, x)
        with pytest.raises(Stop):
            dt.grad(function)(x)
        with pytest.raises(Stop):
            dt.vjp(function, x)
    for wrong in (
        lambda: x + dt.dlarray(np.ones(3)),
        lambda: x[200],
        lambda: x.__setitem__(0, np.ones(7)),
        lambda: dt.dlfeval(lambda v: dt.dlgradient(v, v), x),
        lambda: dt.dlarray("text"),
        lambda: dt.dlarray([1.0, [2.0]]),
        lambda: dt.dlfeval(lambda v: float(v), x),
        lambda: x.reshape(7, -1),
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - each has its own type
            wrong()


def interrupted():
    x = dt.dlarray(np.ones(10))

    def interrupt(v):
        dnp.exp(v)
        raise KeyboardInterrupt

    for run in (dt.dlfeval, lambda f, v: dt.grad(f)(v), lambda f, v: dt.jvp(f, (v,), (v,))):
        with pytest.raises(KeyboardInterrupt):
            run(interrupt, x)
    assert not x.tracked
    with pytest.raises(dt.TapeError):
        dt.dlgradient(x.sum(), x)


def conversions():
    x = dt.dlarray(np.ones((3, 4)))
    for _ in range(10):
        a, b = np.asarray(x), x.numpy()
        memoryview(x).tobytes()
        np.from_dlpack(x)
        dt.dlarray(pickle.loads(pickle.dumps(x)))
        dt.extractdata([x, (x,)])
        repr(x), str(x), x.tolist(), a + b, np.ones(4) @ x.T


WORK = [
    scalars,
    small_arrays,
    views,
    labels,
    tracked,
    trees,
    duals,
    transformations,
    dropped_closures,
    exceptions,
    interrupted,
    conversions,
]


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_repeated_work_leaves_nothing(work):
    for _ in range(30):
        work()
    with Settled():
        for _ in range(200):
            work()


@pytest.mark.parametrize("kind", ["scalars", "views"])
def test_a_million_arrays(kind):
    base = dt.dlarray(2.0) if kind == "scalars" else dt.dlarray(np.ones(2))

    def round_of_many():
        kept = [base * 0.5 if kind == "scalars" else base[::-1] for _ in range(50_000)]
        assert len(kept) == 50_000

    # The first rounds settle how the allocator of the system arranges its pages.
    round_of_many()
    round_of_many()
    with Settled():
        for _ in range(20):
            round_of_many()


def recurrence(x, steps):
    y = x
    for _ in range(steps):
        y = dnp.sin(y) * 0.999
    return y


@pytest.mark.skipif(not HAS_STATM, reason="reads /proc")
def test_a_long_recurrence_is_small_and_given_back():
    steps = 500_000

    def measured(x):
        before = resident()
        y = recurrence(x, steps)
        used = resident() - before
        return dt.dlgradient(y, x), used

    _core.release_cached_memory()
    before = resident()
    slope, used = dt.dlfeval(measured, dt.dlarray(0.5))
    assert used < 40 * 2 * steps
    assert 0.0 < float(slope) < 1.0
    assert resident() - before < 2e6


def test_chains_of_views_are_freed_without_a_deep_stack(nothing_left):
    x = dt.dlarray(np.arange(100_000.0))
    while x.size > 1:
        x = x[1:]
    assert float(x[0]) == 99_999.0
    y = dt.dlarray(np.ones((2, 3)))
    for _ in range(100_001):
        y = y.T
    assert y.shape == (3, 2)
    for i in range(3_000):
        y = y.T if i % 2 else y[::-1]
    y[0, 0] = 5.0
    assert float(y[0, 0]) == 5.0


def test_threads_have_tapes_of_their_own(nothing_left):
    failures = []

    def work(number):
        try:
            x = dt.dlarray(np.full(50, float(number)))
            for _ in range(100):
                value = dt.dlfeval(lambda v: dt.dlgradient((v**2).sum(), v), x)
                assert np.array_equal(np.asarray(value), np.full(50, 2.0 * number))
                assert float(dt.grad(lambda s: s * s * number)(1.0)) == 2.0 * number
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_pull_outlives_the_thread_it_was_made_in():
    pulls = []

    def work():
        pulls.append(dt.vjp(lambda v: v * v, 3.0)[1])
        dt.dlfeval(lambda x: pulls.append(dt.vjp(lambda v: v * x, x)[1]), dt.dlarray(2.0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert float(pulls[0](1.0)[0]) == 6.0
    with pytest.raises(dt.TapeError, match="has ended"):
        pulls[1](1.0)


def run_python(code):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_goes_on():
    result = run_python(
        """
        import os, numpy as np, dualtape as dt
        x = dt.dlarray(np.ones(1000))
        def f(v):
            y = (v * v).sum()
            child = os.fork()
            gradient = float(dt.dlgradient(y, v)[0])
            if child == 0:
                os._exit(0 if gradient == 2.0 else 1)
            assert os.waitpid(child, 0)[1] == 0
            return gradient
        print(dt.dlfeval(f, x))
        """
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "2.0\n", "")


def test_the_interpreter_ends_with_arrays_alive():
    result = run_python(
        """
        import sys, numpy as np, dualtape as dt
        sys.x = dt.dlarray(np.ones((3, 4)))
        sys.view = sys.x[1:].T
        sys.shared = np.asarray(sys.x), memoryview(sys.x)
        sys.out, sys.pull = dt.vjp(dt.checkpoint(lambda v: v * v), sys.x)
        sys.linear = dt.linearize(lambda v: v * np.ones(4), sys.x)
        sys.dual = dt.Dual(sys.x, 1.0)
        class Late:
            def __del__(self):
                self.y = dt.grad(lambda v: v * v)(3.0) if dt is not None else None
        sys.late = Late()
        dt.dlfeval(lambda v: sys.exit(3), dt.dlarray(1.0))
        """
    )
    assert (result.returncode, result.stdout, result.stderr) == (3, "", "")
