# SPDX-License-Identifier: MIT
"""What runs say about how the core ran them: as machine code, with fused instructions, or interpreted."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import dualtape as dt
from dualtape import _core
from dualtape import numpy as dnp

MACHINE = _core.build_info()["isa_used"] in ("avx2", "avx512")
machine_only = pytest.mark.skipif(not MACHINE, reason="there is no machine code for this machine")


def numbers(x: Any, learn_rate: Any) -> Any:
    return x - learn_rate * x * x, x


def arrays(w: Any, learn_rate: Any) -> Any:
    slope = dnp.exp(-w) * (w - 1.0)
    return w - learn_rate * slope, dnp.sum(slope)


def looped(step: Any, state: Any) -> Any:
    return dt.loop(step, state, iterations=40, learn_rate=0.1)


@machine_only
def test_a_step_on_numbers_is_machine_code() -> None:
    execution = looped(numbers, 1.0).execution
    assert (execution.executor, execution.lanes, execution.paths) == ("machine", 1, 1)
    assert any(name.startswith("all iterations") for name in execution.machine_code)
    runs = dt.sweep(numbers, 1.0, over=dt.points(learn_rate=np.linspace(0.1, 0.2, 50)), iterations=40)
    assert (runs.execution.executor, runs.execution.lanes) == ("machine", 50)
    assert pickle.loads(pickle.dumps(runs)).execution == runs.execution


@machine_only
def test_a_step_on_arrays_has_fused_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looped(arrays, np.ones(200)).execution.executor == "interpreter"  # it does not pay
    monkeypatch.setenv("DUALTAPE_EXECUTOR", "machine")
    execution = looped(arrays, np.ones(200)).execution
    assert execution.executor == "fused"
    assert all("instructions" in name for name in execution.machine_code)


@machine_only
def test_programs_say_how_they_run() -> None:
    scalars = dt.trace(dt.value_and_grad(lambda x: x * x * x + dnp.sqrt(x)), 2.0)
    assert (scalars.executor, scalars.execution.lanes, scalars.execution.paths) == ("machine", 1, 1)
    assert scalars.execution.instructions >= 4
    assert float(scalars(4.0)[1]) == 48.25
    products = dt.trace(lambda a, b: dnp.exp(a @ b) * 2.0 - a, np.ones((8, 8)), np.ones((8, 8)))
    assert products.executor == "fused"
    if shutil.which("objdump"):
        assert "sqrtsd" in scalars.disassembly()
    alone = dt.trace(lambda a, b: a @ b, np.ones((8, 8)), np.ones((8, 8)))
    assert (alone.executor, alone.disassembly()) == ("interpreter", "")


@machine_only
def test_large_programs_are_compiled_when_it_pays() -> None:
    """Beyond 10,000 instructions not in the second call."""

    def chain(x: Any) -> Any:
        for _ in range(6000):
            x = x * 1.0001 + dnp.sqrt(x)
        return x

    program = dt.trace(chain, 1.5)
    assert program.memory["instructions"] > 10_000
    assert len({float(program(1.5)) for _ in range(400)}) == 1  # the same bits before and after
    assert program.executor == "machine"


def test_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUALTAPE_EXECUTOR", "interpreter")
    for step, state in ((numbers, 1.0), (arrays, np.ones(200))):
        execution = looped(step, state).execution
        assert (execution.executor, dict(execution.machine_code)) == ("interpreter", {})
        assert execution.disassembly() == ""
        assert dt.loop(step, state, iterations=3, learn_rate=0.1, compiled=False).execution is None


@machine_only
@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed")
def test_disassembly() -> None:
    text = looped(numbers, 1.0).execution.disassembly()
    assert text.startswith("all iterations")
    assert "ret" in text
    assert "vfnmadd" in text or "vfmadd" in text


@machine_only
def test_disassembly_without_a_disassembler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "capstone", None)
    with pytest.raises(RuntimeError, match="pip install capstone works"):
        looped(numbers, 1.0).execution.disassembly()


@machine_only
def test_without_executable_memory() -> None:
    """Linux can forbid a process to make memory executable (PR_SET_MDWE): steps are interpreted, with one warning."""
    code = """if True:
        import ctypes, warnings
        if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
            print("cannot")
            raise SystemExit
        import dualtape as dt
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            runs = [dt.loop(lambda x, rate: x - rate * x, 1.0, iterations=30, rate=0.5) for _ in range(2)]
        print([run.execution.executor for run in runs], float(runs[1].state), len(told), told[0].category.__name__)
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    if done.stdout.strip() == "cannot":
        pytest.skip("this system cannot forbid executable memory")
    assert done.stdout.strip() == f"['interpreter', 'interpreter'] {0.5**30} 1 RuntimeWarning"
