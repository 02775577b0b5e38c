# SPDX-License-Identifier: MIT
"""Programs that are kept: files and pickles give the same bits, and a damaged file is refused, never run."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import zlib
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from steps import assert_same_bits

import dualtape as dt
from dualtape import _core
from dualtape._program_files import MAGIC

Pair = namedtuple("Pair", ["first", "second"])


def rich(params: Any, x: Any, rate: Any, power: int, mode: str) -> Any:
    """Ops of many kinds, constants, labels, decisions, derivatives."""
    value, grads = dt.value_and_grad(lambda p: ((x @ p["w"] - p["b"]) ** power).mean())(params)
    grads = dt.threshold_global_l2norm(grads, 10.0)
    steps = 0
    while value > 1 and steps < 2:
        value, steps = value * 0.5, steps + 1
    new = {key: params[key] - rate * grads[key] for key in params}
    best = x[x[:, 0].argmax()]
    return {"new": new, "value": [value, None, (best.astype(np.float32),)], "probabilities": dt.softmax(
        dt.dlarray(x, "BC")), "mode": len(mode) * value}  # fmt: skip


def arguments(seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    params = {"w": dt.dlarray(rng.normal(size=3)), "b": dt.dlarray(rng.normal())}
    return params, dt.dlarray(rng.normal(size=(4, 3)) * (1 + seed % 3)), float(rng.uniform(0, 1)), 2, "fast"


@pytest.fixture(scope="module")
def program() -> dt.Program:
    made = dt.trace(rich, *arguments(0))
    for seed in range(12):
        made(*arguments(seed))
    assert made.memory["paths"] > 3
    return made


@pytest.fixture
def saved(program: dt.Program, tmp_path: Path) -> Path:
    path = tmp_path / "step.dualtape"
    program.save(path)
    return path


# ---- the same bits --------------------------------------------------------------------------------------------


def test_files_and_pickles_give_the_same_bits(program: dt.Program, saved: Path) -> None:
    loaded, unpickled = dt.Program.load(saved), pickle.loads(pickle.dumps(program))
    again = dt.Program.load(os.fspath(saved))
    again.save(saved)
    again = dt.Program.load(saved)
    for copy in (loaded, unpickled, again):
        assert str(copy) == str(program)
        assert copy.guards == program.guards
        assert copy.memory == program.memory
        assert copy.instructions == program.instructions
        assert copy.to_dot() == program.to_dot()
        for seed in range(12):
            got, want = copy(*arguments(seed)), program(*arguments(seed))
            assert_same_bits(got, want)
            assert got["probabilities"].dims == want["probabilities"].dims == "CB"


def test_another_process_gives_the_same_bits(saved: Path, program: dt.Program) -> None:
    code = (
        "import sys, numpy as np, dualtape as dt\n"
        "x = np.arange(12.0).reshape(4, 3) / 7\n"
        "p = dt.Program.load(sys.argv[1])\n"
        "out = p({'w': dt.dlarray(x[0]), 'b': dt.dlarray(0.5)}, dt.dlarray(x), 0.25, 2, 'fast')\n"
        "print(b''.join(dt.extractdata(leaf).tobytes() for leaf in dt.tree.flatten(out)[0]).hex())\n"
    )
    x = np.arange(12.0).reshape(4, 3) / 7
    want = program({"w": dt.dlarray(x[0]), "b": dt.dlarray(0.5)}, dt.dlarray(x), 0.25, 2, "fast")
    program.save(saved)  # with that path
    got = subprocess.run([sys.executable, "-P", "-c", code, saved], capture_output=True, text=True, check=True)
    data = b"".join(dt.extractdata(leaf).tobytes() for leaf in dt.tree.flatten(want)[0])
    assert got.stdout.strip() == data.hex()


def test_special_numbers_survive(tmp_path: Path) -> None:
    special = dt.dlarray([np.nan, np.inf, -np.inf, -0.0, 5e-324, np.pi])
    for value in (special, special.astype(np.float32), dt.dlarray(np.zeros((0, 3)))):
        kept = dt.trace(lambda x, v=value: (x + v, v), 0.0)
        kept.save(tmp_path / "p")
        assert_same_bits(dt.Program.load(tmp_path / "p")(-0.0), kept(-0.0))


def test_weak_numbers_stay_weak(tmp_path: Path) -> None:
    dt.trace(lambda x, r: x * r, np.ones(3, np.float32), 0.5).save(tmp_path / "p")
    assert dt.Program.load(tmp_path / "p")(np.ones(3, np.float32), 2.0).dtype == np.float32


def test_a_loaded_program_does_not_trace(saved: Path, tmp_path: Path) -> None:
    dt.trace(lambda x: x if x > 0 else -x, 1.0).save(tmp_path / "p")
    loaded = dt.Program.load(tmp_path / "p")
    with pytest.raises(dt.TraceError, match=rf"never traced.*{__file__}:\d+; trace the function on such"):
        loaded(-1.0)
    with pytest.raises(dt.TraceError, match=r"has no derivatives.*use the function it was made from"):
        dt.grad(loaded)(dt.dlarray(1.0))
    assert float(loaded(2.0)) == 2.0


# ---- what a file cannot hold ------------------------------------------------------------------------------------


def test_what_a_file_cannot_hold(tmp_path: Path) -> None:
    pair = dt.trace(lambda p: p.first * p.second, Pair(1.0, 2.0))
    with pytest.raises(ValueError, match="dicts with text as keys, lists, tuples and None; the program uses Pair"):
        pair.save(tmp_path / "p")
    assert float(pickle.loads(pickle.dumps(pair))(Pair(3.0, 4.0))) == 12.0
    with pytest.raises(ValueError, match="the program uses dict"):
        dt.trace(lambda p: p[1] * 2, {1: 1.0}).save(tmp_path / "p")
    with pytest.raises(ValueError, match="whole numbers, flags and text among the arguments; one is a type"):
        dt.trace(lambda x, t: x, 1.0, int).save(tmp_path / "p")
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_not_at_all(program: dt.Program, saved: Path, monkeypatch: Any) -> None:
    before = saved.read_bytes()

    def full(fd: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        program.save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


# ---- damaged files ----------------------------------------------------------------------------------------------


def refuse(path: Path, data: bytes, words: str = r"Program\.load") -> None:
    path.write_bytes(data)
    with pytest.raises(ValueError, match=words):
        dt.Program.load(path)


def test_files_that_are_cut_off(saved: Path) -> None:
    data = saved.read_bytes()
    for end in range(0, len(data), 50):
        refuse(saved, data[:end])
    refuse(saved, data[:-1], "cut off or has been altered")
    refuse(saved, data + b"\0", "cut off or has been altered")
    refuse(saved, b"", "no file of a program")


def test_files_that_are_altered(saved: Path) -> None:
    """Each byte of a small file, and some of a large one."""
    large = saved.read_bytes()
    dt.trace(lambda x: x * 2, 1.0).save(saved)
    small = saved.read_bytes()
    for data, step in ((small, 1), (large, 17)):
        for place in range(0, len(data), step):
            altered = bytearray(data)
            altered[place] ^= 1 << place % 8
            refuse(saved, bytes(altered))


def sealed(rest: bytes) -> bytes:
    """A file whose outer checksum is right."""
    return MAGIC + zlib.crc32(rest).to_bytes(4, "little") + rest


def resealed(core: bytes) -> bytes:
    """A core file whose checksum is right: FNV-1a over what follows the header."""
    body = core[36:]
    digest = 0xCBF29CE484222325
    for byte in body:
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return core[:20] + len(body).to_bytes(8, "little") + digest.to_bytes(8, "little") + body


def parts(data: bytes) -> tuple[bytes, bytes]:
    """The head and the core's part."""
    rest = data[len(MAGIC) + 4 :]
    size = int.from_bytes(rest[:8], "little")
    return rest[8 : 8 + size], rest[8 + size :]


def joined(head: bytes, core: bytes) -> bytes:
    return sealed(len(head).to_bytes(8, "little") + head + core)


def test_files_that_are_altered_with_care(saved: Path) -> None:
    """With right checksums: either refused, or a program that computes something and is still sound."""
    head, core = parts(saved.read_bytes())
    assert joined(head, core) == saved.read_bytes()
    assert resealed(core) == core
    rng, loaded = np.random.default_rng(0), 0
    for place in [*range(36, min(len(core), 400)), *rng.integers(36, len(core), 700)]:
        altered = bytearray(core)
        altered[place] = rng.integers(256)
        saved.write_bytes(joined(head, resealed(bytes(altered))))
        try:
            program = dt.Program.load(saved)
        except ValueError as error:
            assert "Program.load" in str(error)  # noqa: PT017
            continue
        loaded += 1
        str(program), program.to_dot(), program.instructions, program.guards
        with contextlib.suppress(ValueError, TypeError, ArithmeticError):
            program(*arguments(0))
    assert loaded  # the numbers of constants, names of files


def test_heads_that_are_altered_with_care(saved: Path) -> None:
    head, core = parts(saved.read_bytes())
    rng = np.random.default_rng(1)
    for place in range(len(head)):
        altered = bytearray(head)
        altered[place] = rng.integers(32, 127)
        saved.write_bytes(joined(bytes(altered), core))
        try:
            program = dt.Program.load(saved)
        except ValueError as error:
            assert "Program.load" in str(error)  # noqa: PT017
            continue
        with contextlib.suppress(ValueError, TypeError):
            program(*arguments(0))
    for nested in (b"[" * 100_000, b'{"arguments":' + b"[" * 5000 + b"]" * 5000 + b"}", b"null", b"[]", b"\xff"):
        refuse(saved, joined(nested, core), "head of the file")


def test_foreign_and_newer_files(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    head, core = parts(data)
    refuse(saved, b"PK\x03\x04 a zip file, say", "this is no file of a program")
    refuse(saved, os.urandom(3000), "this is no file of a program")
    refuse(saved, pickle.dumps(3), "this is no file of a program")
    refuse(saved, MAGIC.replace(b"1", b"2") + data[len(MAGIC) :], "has the format 2, this version of dualtape reads 1")
    refuse(saved, joined(head, core[:16] + (2).to_bytes(4, "little") + core[20:]), "has version 2")
    refuse(saved, joined(head, b"something else"), "no file of a program")
    refuse(saved, joined(head.replace(b'"fast"', b'"fast", 3'), core), "head of the file")
    with pytest.raises(FileNotFoundError):
        dt.Program.load(tmp_path / "nowhere")


def test_ops_that_are_not_known(saved: Path) -> None:
    head, core = parts(saved.read_bytes())
    assert b"subtract" in core
    refuse(saved, joined(head, resealed(core.replace(b"subtract", b"subtrakt"))), "subtrakt")
    assert b"reshape" in core or b"slice" in core
    name = b"reshape" if b"reshape" in core else b"slice"
    renamed = name[:-1] + b"X"
    refuse(saved, joined(head, resealed(core.replace(name, renamed))), renamed.decode())


def test_another_programs_core(saved: Path, tmp_path: Path) -> None:
    head, _ = parts(saved.read_bytes())
    dt.trace(lambda x: x, 1.0).save(tmp_path / "other")
    refuse(saved, joined(head, parts((tmp_path / "other").read_bytes())[1]), "does not fit the program")


def test_core_files_of_random_bytes() -> None:
    rng = np.random.default_rng(2)
    for size in (0, 10, 36, 37, 100, 1000):
        for _ in range(20):
            core = b"dualtape program" + (1).to_bytes(4, "little") + bytes(16) + rng.bytes(size)
            with pytest.raises(ValueError, match=r"Program\.load"):
                _core.load_program(resealed(core))
