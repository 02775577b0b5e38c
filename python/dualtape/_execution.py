# SPDX-License-Identifier: MIT
"""How the core runs a step or a program: `Execution`, for those who must know, and what its machine code looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Execution:
    """How the core ran the step of a loop or a sweep, or runs a program from its second call on.

    Attributes
    ----------
    executor : str
        "machine": all of it is machine code, in a loop whole stretches of iterations. "fused": instruction by
        instruction, with stretches of elementwise ones as machine code. "interpreter": instruction by instruction.
    lanes : int
        Runs that were computed side by side.
    instructions : int
        Instructions, all paths together.
    paths : int
        The ways through its decisions.
    bytes_per_lane : int
        The memory of a run's or a call's values.
    machine_code : mapping of str to bytes
        The kernels; see `disassembly`.
    """

    executor: str
    lanes: int
    instructions: int
    paths: int
    bytes_per_lane: int
    machine_code: Mapping[str, bytes] = field(repr=False)

    def disassembly(self) -> str:
        """The machine code in assembly language.

        Needs the package capstone, or the program objdump (Debian's binutils).

        Raises
        ------
        RuntimeError
            If neither is there.
        """
        return "\n".join(f"{name}:\n{_disassembled(code)}" for name, code in self.machine_code.items())


def execution_of(found: dict[str, Any] | None) -> Execution | None:
    """What the core says of a sweep or a replay; None where it did not run it."""
    return None if found is None else Execution(**found)


def _disassembled(code: bytes) -> str:
    try:
        import capstone  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return _by_objdump(code)
    lines = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64).disasm_lite(code, 0)
    return "".join(f"  {address:4x}  {name} {operands}\n" for address, _, name, operands in lines)


def _by_objdump(code: bytes) -> str:
    import os
    import shutil
    import subprocess
    import tempfile

    tool = shutil.which("objdump")
    if tool is None:
        raise RuntimeError(
            "disassembly: there is no disassembler; got neither the package capstone nor the program objdump; "
            "pip install capstone works."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "code")
        with open(path, "wb") as file:
            file.write(code)
        command = [tool, "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn", path]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return "".join(f"  {line.strip()}\n" for line in text.splitlines() if ":\t" in line)
