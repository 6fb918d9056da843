# SPDX-License-Identifier: BSD-2-Clause
"""What an executable contains, without running it."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kvmctl import files
from kvmctl.errors import GuestError
from kvmctl.guest import abi, elf
from kvmctl.guest.elf import Elf

_OUT = b"\xe7\x00"              # out %eax, $0
_MOV_EAX = b"\xb8"              # mov $imm32, %eax
_LOOK_BACK = 64                 # bytes from the mov to its out


@dataclass(frozen=True)
class Segment:
    """A loadable segment; sizes in bytes."""

    address: int
    memory_size: int
    file_size: int
    flags: str


@dataclass(frozen=True)
class Inspection:
    """All that `kvmctl inspect` tells."""

    file: str
    sha256: str
    size: int
    kind: str                   # static, static-pie, dynamic, shared library
    interpreter: str | None
    machine: str
    entry: int
    segments: tuple[Segment, ...]
    write_xor_execute: bool
    symbols: int
    abi_calls: tuple[str, ...]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _flags(flags: int) -> str:
    return "".join(c if flags & bit else "-" for c, bit in (
        ("r", elf.READ), ("w", elf.WRITE), ("x", elf.EXECUTE)))


def host_calls(code: bytes) -> set[int]:
    """Numbers loaded into EAX shortly before each `out %eax, $0`."""
    found: set[int] = set()
    at = code.find(_OUT)
    while at >= 0:
        begin, back = max(0, at - _LOOK_BACK + 1), at - 4
        while (back := code.rfind(_MOV_EAX, begin, back)) >= 0:
            number = int.from_bytes(code[back + 1:back + 5], "little")
            if number in abi.CALLS:
                found.add(number)
                break
        at = code.find(_OUT, at + 1)
    return found


def _kind(it: Elf, interpreter: str | None) -> str:
    if interpreter is not None:
        return "dynamic"
    if it.type == "ET_EXEC":
        return "static"
    if it.type == "ET_DYN":
        return "static-pie" if it.entry else "shared library"
    return it.type


def _problems(it: Elf, kind: str, interpreter: str | None, wx: bool,
              has_files: bool) -> list[str]:
    problems = []
    if it.machine != "EM_X86_64":
        problems.append(f"compiled for {it.machine}, not x86-64")
    if kind == "dynamic":
        if not has_files:
            problems.append(f"dynamically linked, wants {interpreter}: link "
                            "with -static, or allow the interpreter and its "
                            "libraries ([permissions] allowed_paths)")
    elif kind not in ("static", "static-pie"):
        problems.append(f"no executable: {kind}")
    if not wx:
        problems.append("a segment is writable and executable")
    return problems


def _read(path: Path) -> tuple[bytes, Elf]:
    try:
        data = files.read(path, files.DATA)
    except OSError as e:
        raise GuestError(f"cannot read {path}: {e.strerror}") from None
    try:
        return data, Elf(data)
    except ValueError as e:
        raise GuestError(f"{path} is no ELF executable: {e}") from None


def inspect(path: Path, has_files: bool = False) -> Inspection:
    """Looks into a file. Raises GuestError when it is no ELF file.

    has_files: its settings allow it some, so that it may be dynamic.
    """
    data, it = _read(path)
    loaded = [s for s in it.segments if s.type == elf.LOAD]
    wx = not any(s.flags & elf.WRITE and s.flags & elf.EXECUTE for s in loaded)
    interpreter = it.interpreter()
    kind = _kind(it, interpreter)
    calls = {n for code in it.code() for n in host_calls(code)}
    return Inspection(
        file=str(path), sha256=hashlib.sha256(data).hexdigest(),
        size=len(data), kind=kind, interpreter=interpreter,
        machine=it.machine, entry=it.entry,
        segments=tuple(Segment(s.address, s.memory_size, s.file_size,
                               _flags(s.flags)) for s in loaded),
        write_xor_execute=wx, symbols=it.symbols,
        abi_calls=tuple(abi.CALLS[n] for n in sorted(calls)),
        problems=tuple(_problems(it, kind, interpreter, wx, has_files)))


def symbol_sizes(path: Path) -> dict[str, int]:
    """Functions of an ELF file and their sizes in bytes."""
    return _read(path)[1].functions()
