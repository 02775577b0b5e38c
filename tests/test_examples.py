# SPDX-License-Identifier: MIT
"""The examples run as a person runs them, print what they promise and leave their figures."""

from __future__ import annotations

import math
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dualtape as dt

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PNG = b"\x89PNG\r\n\x1a\n"


def run(example: str, *arguments: str, hidden: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run an example in a process of its own, with some packages hidden from it."""
    script = str(EXAMPLES / example)
    command = [sys.executable, script, *arguments]
    if hidden:
        hide = f"import sys, runpy; sys.modules.update(dict.fromkeys({hidden!r})); "
        start = f"sys.argv = {[script, *arguments]!r}; runpy.run_path({script!r}, run_name='__main__')"
        command = [sys.executable, "-c", hide + start]
    environment = os.environ | {"MPLBACKEND": "Agg"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def pictures(folder: Path) -> list[str]:
    """Names of the pictures in a folder; each is one, and not an empty one."""
    files = sorted(folder.iterdir())
    assert all(file.read_bytes().startswith(PNG) and file.stat().st_size > 10_000 for file in files)
    return [file.name for file in files]


def percentage(text: str, what: str) -> float:
    found = re.search(rf"{what}: ([\d.]+)%", text)
    assert found, text
    return float(found[1])


def test_key_terms(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("key_terms.py", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for line in (
        r"y = \(x2 - x1\^2\)\^2 \+ \(1 - x1\)\^2 = 5",
        r"dy/dx1 = 18, dy/dx2 = -4",
        r"The loss is now 6.2096",
        r"rate 0.1 +1\.00883820263632\d+ +1\.02139191876014\d+ +9\.1344502e-05",
        r"rate 0.2 +0\.74077812798\d+ +0\.89232438153\d+ +1\.8523780e-01 +6\.0942703e-03 +23",
        r"0.2 with decay +0\.99768004293670\d+ +0\.99440287792450\d+ +6\.3087806e-06",
    ):
        assert re.search(line, done.stdout), line
    assert pictures(tmp_path) == ["gradient_field.png", "learning_rate.png", "loss.png", "training_path.png"]


def test_rates(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run("rates.py", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = re.findall(r"(converges|cycles|diverges) +(\d+) +(0\.\d+) +(0\.\d+)\n", done.stdout)
    counts = {kind: int(count) for kind, count, _, _ in found}
    limits = {kind: (float(low), float(high)) for kind, _, low, high in found}
    assert sum(counts.values()) == 1000
    limit, spacing = 2 / (6 + math.sqrt(32)), 0.24 / 999
    assert limits["converges"][0] == 0.01
    assert limit - spacing - 1e-5 <= limits["converges"][1] <= limit <= limits["cycles"][0] <= limit + spacing + 1e-5
    assert counts["converges"] == 673
    assert 0.21 < limits["diverges"][0] < 0.22
    assert limits["diverges"][1] == 0.25
    for line in (
        r"2 / 11\.656854 = 0\.171573",
        r"0\.10009   converges    \(1\.000000000, 1\.000000000\)  \(1\.000000000, 1\.000000000\)",
        r"0\.20003   cycles       \((1\.048050555, 0\.754698282|0\.740602400, 0\.892203598)\)",
        r"0\.21997   diverges     not finite in iteration 10",
        r"0\.25000   diverges     not finite in iteration 8",
        r"run 999, iteration 8: square\(.*\) = inf, at .*rates\.py:\d+",
    ):
        assert re.search(line, done.stdout), line
    assert pictures(tmp_path) == ["rates.png"]
    without = run("rates.py", "--out", str(tmp_path / "none"), hidden=("matplotlib", "matplotlib.pyplot"))
    assert without.returncode == 0, without.stderr
    assert "none drawn: pictures need matplotlib" in without.stdout


def test_rates_finds_the_limits() -> None:
    """At rates whose ends are known, the example's step, and its judgement."""
    example = runpy.run_path(str(EXAMPLES / "rates.py"))
    assert example["stability_limit"]() == pytest.approx(2 / (6 + 32**0.5), rel=1e-14)
    rates = [0.1, 0.1715, 0.172, 0.2, 0.21, 0.22, 0.25, 0.3]
    runs = dt.sweep(
        example["step"], example["START"], iterations=5000, over=dt.grid(learn_rate=rates), record_every=1000
    )
    assert example["kinds_of"](runs).tolist() == ["converges"] * 2 + ["cycles"] * 3 + ["diverges"] * 3
    assert runs.iterations[5:].tolist() == [10, 8, 7]
    (before, _), (after, _) = runs.value["before"], runs.state
    np.testing.assert_allclose(after[:2], 1, atol=1e-6)
    cycles = np.sort(np.stack([before[2:5], after[2:5]], axis=1))
    np.testing.assert_allclose(
        cycles, [[0.9792, 1.0173], [0.740782152844, 1.048072229156], [0.6841, 1.0398]], atol=5e-5
    )
    np.testing.assert_allclose(cycles[1], [0.740782152844, 1.048072229156], atol=1e-11)


def test_digits(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    done = run("digits.py", "--epochs", "12", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "1437 digits for training, 360 for the test" in done.stdout
    assert percentage(done.stdout, "Accuracy before") < 30
    assert percentage(done.stdout, "Accuracy in training") > 95
    assert percentage(done.stdout, "Accuracy in the test") > 94
    assert "after 276 iterations" in done.stdout
    assert pictures(tmp_path) == ["predictions.png", "training.png"]


def test_digits_in_full_reaches_its_accuracy_whatever_the_seed(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    for seed in ("0", "1"):
        done = run("digits.py", "--seed", seed, "--out", str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert percentage(done.stdout, "Accuracy in the test") > 96


def test_digits_is_the_same_every_time(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    first, second = (run("digits.py", "--epochs", "1", "--out", str(tmp_path)).stdout for _ in range(2))
    assert first == second


@pytest.mark.parametrize("seed", ["0", "1"])
def test_digits_with_batch_normalization_and_dropout(seed: str) -> None:
    pytest.importorskip("sklearn")
    done = run("digits_batchnorm.py", "--seed", seed)
    assert done.returncode == 0, done.stderr
    assert percentage(done.stdout, "Accuracy in the test") > 97


def test_digits_with_batch_normalization_are_the_step_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """What dropout and batch normalization do inside the core is what they do outside."""
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = runpy.run_path(str(EXAMPLES / "digits_batchnorm.py"))
    rng = np.random.default_rng(0)
    data = rng.uniform(size=(40, 64)), np.eye(10)[rng.integers(0, 10, 40)]
    options = {"iterations": 4, "learn_rate": 0.01, "data": data, "batch_size": 16, "shuffle": 1, "seed": 3}
    inside = dt.loop(example["step"], example["initial_state"](0), contract=False, **options)
    outside = dt.loop(example["step"], example["initial_state"](0), compiled=False, **options)
    for a, b in zip(dt.tree.flatten(inside.state)[0], dt.tree.flatten(outside.state)[0], strict=True):
        np.testing.assert_array_equal(dt.extractdata(a), dt.extractdata(b))


def test_digits_without_what_is_optional(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    out = tmp_path / "out"
    done = run("digits.py", "--epochs", "2", "--out", str(out), hidden=("tqdm", "matplotlib", "matplotlib.pyplot"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"epoch +1 of 2: loss \d", done.stdout)
    assert "No figures:" in done.stdout
    assert not out.exists()


def test_digits_says_what_it_needs(tmp_path: Path) -> None:
    done = run("digits.py", "--out", str(tmp_path), hidden=("sklearn", "sklearn.datasets"))
    assert done.returncode != 0
    assert "pip install scikit-learn" in done.stderr
    assert "Traceback" not in done.stderr
