# SPDX-License-Identifier: BSD-2-Clause
"""What an executable contains, without running it."""

import hashlib
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import InterpSegment

from kvmctl.errors import GuestError
from kvmctl.guest import abi

_OUT = b"\xe7\x00"              # out %eax, $0
_MOV_EAX = 0xB8                 # mov $imm32, %eax
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


def _flags(p_flags: int) -> str:
    return "".join(c if p_flags & bit else "-"
                   for c, bit in (("r", 4), ("w", 2), ("x", 1)))


def host_calls(code: bytes) -> set[int]:
    """Numbers loaded into EAX shortly before each `out %eax, $0`."""
    found: set[int] = set()
    at = code.find(_OUT)
    while at >= 0:
        for back in range(at - 5, max(-1, at - _LOOK_BACK), -1):
            if code[back] == _MOV_EAX:
                number = int.from_bytes(code[back + 1:back + 5], "little")
                if number in abi.CALLS:
                    found.add(number)
                    break
        at = code.find(_OUT, at + 1)
    return found


def _kind(elf: ELFFile, interpreter: str | None) -> str:
    if interpreter is not None:
        return "dynamic"
    if elf.header.e_type == "ET_EXEC":
        return "static"
    if elf.header.e_type == "ET_DYN":
        return "static-pie" if elf.header.e_entry else "shared library"
    return str(elf.header.e_type)


def _problems(elf: ELFFile, kind: str, interpreter: str | None,
              wx: bool, has_files: bool) -> list[str]:
    problems = []
    if elf.header.e_machine != "EM_X86_64":
        problems.append(f"compiled for {elf.header.e_machine}, not x86-64")
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


def inspect(path: Path, has_files: bool = False) -> Inspection:
    """Looks into a file. Raises GuestError when it is no ELF file.

    has_files: its settings allow it some, so that it may be dynamic.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise GuestError(f"cannot read {path}: {e.strerror}") from None
    try:
        # Of the bytes: to seek far beyond a file's end may be an OSError.
        return _inspect(path, data, ELFFile(io.BytesIO(data)), has_files)
    except (ELFError, ValueError, KeyError, AttributeError, UnicodeDecodeError,
            OverflowError, TypeError) as e:
        raise GuestError(f"{path} is no ELF executable: {e}") from None


def _inspect(path: Path, data: bytes, elf: ELFFile,
             has_files: bool) -> Inspection:
    segments = []
    interpreter = None
    calls: set[int] = set()
    wx = True
    for segment in elf.iter_segments():
        if segment["p_offset"] + segment["p_filesz"] > len(data):
            raise GuestError(f"{path}: a segment lies outside the file: "
                             "truncated?")
        if segment["p_type"] == "PT_INTERP":
            assert isinstance(segment, InterpSegment)
            interpreter = segment.get_interp_name()
        if segment["p_type"] != "PT_LOAD":
            continue
        flags = segment["p_flags"]
        segments.append(Segment(segment["p_vaddr"], segment["p_memsz"],
                                segment["p_filesz"], _flags(flags)))
        if flags & 1:
            calls |= host_calls(segment.data())
            wx = wx and not flags & 2
    kind = _kind(elf, interpreter)
    table = elf.get_section_by_name(".symtab")
    return Inspection(
        file=str(path), sha256=hashlib.sha256(data).hexdigest(),
        size=len(data), kind=kind, interpreter=interpreter,
        machine=str(elf.header.e_machine), entry=elf.header.e_entry,
        segments=tuple(segments), write_xor_execute=wx,
        symbols=(table.num_symbols()
                 if isinstance(table, SymbolTableSection) else 0),
        abi_calls=tuple(abi.CALLS[n] for n in sorted(calls)),
        problems=tuple(_problems(elf, kind, interpreter, wx, has_files)),
    )


def symbol_sizes(path: Path) -> dict[str, int]:
    """Functions of an ELF file and their sizes in bytes."""
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            return {}
        return {s.name: s["st_size"] for s in table.iter_symbols()
                if s["st_info"]["type"] == "STT_FUNC" and s["st_size"]}
