# SPDX-License-Identifier: MIT
"""A processor without AVX and FMA, emulated: nothing wider is executed, and results are those of this machine.

QEMU's user-mode emulator (Debian's qemu-user) ends a process that executes an instruction which the emulated processor
does not have. Without fused multiply-add a machine has bits of its own, so results are compared to rounding.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dualtape as dt

EMULATOR = shutil.which("qemu-x86_64")
pytestmark = pytest.mark.skipif(
    EMULATOR is None or platform.machine() != "x86_64" or sys.platform != "linux",
    reason="qemu-user is not installed, or this is no x86-64 Linux",
)

CODE = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from test_portable import results
print(json.dumps(results()))
"""


def results() -> dict[str, Any]:
    """A bit of everything that has kernels or becomes machine code."""
    from dualtape import _core
    from dualtape import numpy as dnp

    def numbers(state: Any, learn_rate: Any, iteration: Any) -> Any:
        x, avg_g, avg_sqg = state
        if x > 0.5:
            x = dnp.tanh(x)
        return dt.adamupdate(x, dt.numpy.exp(-x) - 0.3, avg_g, avg_sqg, iteration, learn_rate), x

    def arrays(w: Any, learn_rate: Any) -> Any:
        _, slope = dt.dlfeval(lambda w: (lambda y: (y, dt.dlgradient(y, w)))(dnp.sum(dnp.log1p(dnp.exp(w @ w)))), w)
        return w - learn_rate * slope, dnp.sum(slope)

    rates = dt.points(learn_rate=np.linspace(0.01, 0.1, 21))
    w = dnp.reshape(dnp.linspace(-1.0, 1.0, 81), (9, 9))
    values: dict[str, Any] = {
        "numbers": dt.sweep(numbers, (1.0, 0.0, 0.0), over=rates, iterations=40).state[0],
        "arrays": dt.sweep(arrays, dt.extractdata(w), over=rates, iterations=20).state,
        "single": dt.extractdata(dt.loop(arrays, dt.extractdata(w), iterations=20, learn_rate=0.05).state),
        "hessian": dt.extractdata(dt.hessian(lambda x: dnp.sum(dnp.sin(x) * dnp.cumsum(x) ** 2))(w[0])),
        "special": dt.extractdata(dnp.stack([f(0.5 + w * w) for f in (dnp.sin, dnp.log, dnp.sqrt, dnp.arctan)])),
    }
    build = _core.build_info()
    out = {name: np.asarray(value).tolist() for name, value in values.items()}
    return out | {"isa": build["isa_best"], "fma": build["fma"]}


def test_a_processor_without_avx() -> None:
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    python = str(Path(sys.executable).resolve())
    # NumPy's OpenBLAS goes by the model of some new processors, not by what they say they can do.
    environment = os.environ | {"OPENBLAS_CORETYPE": "Nehalem"}
    done = subprocess.run(
        [str(EMULATOR), "-cpu", "Nehalem", python, "-c", CODE, json.dumps(paths)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    emulated, here = json.loads(done.stdout), results()
    assert (emulated.pop("isa"), emulated.pop("fma")) == ("generic", False)
    for name, value in emulated.items():
        np.testing.assert_allclose(value, here[name], rtol=1e-9, atol=1e-12, err_msg=name)
