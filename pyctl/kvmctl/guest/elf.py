# SPDX-License-Identifier: BSD-2-Clause
"""ELF files of x86-64: header, segments, symbols. Facts: elf(5).

Anybody may have made the file: no offset in it is followed before it is known to
lie inside, no table is longer than the file, and what is there twice is looked
at once. So reading takes no longer than the file is long.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_MAGIC = b"\x7fELF\x02\x01"             # 64 bits, little-endian
LOAD, INTERPRETER = 1, 3                # p_type
EXECUTE, WRITE, READ = 1, 2, 4          # p_flags
_SYMTAB, _FUNCTION = 2, 2               # sh_type, the type in st_info
_LONGEST_NAME = 4096

_MACHINES = {3: "EM_386", 40: "EM_ARM", 62: "EM_X86_64", 183: "EM_AARCH64",
             243: "EM_RISCV"}
_TYPES = {1: "ET_REL", 2: "ET_EXEC", 3: "ET_DYN", 4: "ET_CORE"}


@dataclass(frozen=True)
class ProgramHeader:
    """A segment. Its bytes are inside the file."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


@dataclass(frozen=True)
class _Table:
    """Where symbols are, and their names."""

    offset: int
    count: int
    names: int
    names_end: int


class Elf:
    """The file's bytes, looked into. Raises ValueError, with words."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        if data[:4] != _MAGIC[:4]:
            raise ValueError("it does not begin as one")
        if data[:6] != _MAGIC:
            raise ValueError("it is not of 64 bits, little-endian")
        if len(data) < _HEADER.size:
            raise ValueError("its header is cut off")
        (_, kind, machine, _, self.entry, at, self._sections, _, _, size,
         number, self._section_size, self._section_number, _
         ) = _HEADER.unpack_from(data)
        self.type = _TYPES.get(kind, f"type {kind}")
        self.machine = _MACHINES.get(machine, f"machine {machine}")
        if number and size != _PROGRAM.size:
            raise ValueError(f"its program headers are of {size} bytes")
        if at + number * _PROGRAM.size > len(data):
            raise ValueError("its program headers lie outside the file: "
                             "truncated?")
        self.segments = tuple(map(self._segment, range(
            at, at + number * _PROGRAM.size, _PROGRAM.size)))

    def _segment(self, at: int) -> ProgramHeader:
        kind, flags, offset, address, _, file_size, memory_size, _ = \
            _PROGRAM.unpack_from(self._data, at)
        if offset + file_size > len(self._data):
            raise ValueError("a segment lies outside the file: truncated?")
        return ProgramHeader(kind, flags, offset, address, file_size,
                             memory_size)

    def interpreter(self) -> str | None:
        """Who is to load it; None for a static one."""
        found = None
        for it in self.segments:
            if it.type == INTERPRETER:
                text = self._data[it.offset:it.offset + it.file_size]
                found = text[:_LONGEST_NAME].partition(b"\0")[0].decode(
                    errors="replace")
        return found

    def code(self) -> Iterator[bytes]:
        """What is executable, each byte once."""
        end = 0
        for begin, stop in sorted(
                (it.offset, it.offset + it.file_size) for it in self.segments
                if it.type == LOAD and it.flags & EXECUTE):
            if stop > end:
                yield self._data[max(begin, end):stop]
                end = stop

    def _section(self, number: int) -> tuple[int, int, int, int] | None:
        """Type, offset, size, link; None when it is not in the file."""
        at = self._sections + number * _SECTION.size
        if number >= self._section_number or \
                at + _SECTION.size > len(self._data):
            return None
        _, kind, _, _, offset, size, link, _, _, _ = \
            _SECTION.unpack_from(self._data, at)
        return ((kind, offset, size, link)
                if offset + size <= len(self._data) else None)

    def _symbols(self) -> _Table | None:
        """None: it has none, or not where it says."""
        if self._section_size != _SECTION.size:
            return None
        for number in range(self._section_number):
            found = self._section(number)
            if found is None or found[0] != _SYMTAB:
                continue
            names = self._section(found[3])
            if names is not None:
                return _Table(found[1], found[2] // _SYMBOL.size, names[1],
                              names[1] + names[2])
        return None

    @property
    def symbols(self) -> int:
        """How many it has; nothing runs by them."""
        table = self._symbols()
        return 0 if table is None else table.count

    def functions(self) -> dict[str, int]:
        """Functions by name, and their sizes in bytes."""
        table, out = self._symbols(), {}
        for n in range(table.count if table is not None else 0):
            assert table is not None
            name, info, _, _, _, size = _SYMBOL.unpack_from(
                self._data, table.offset + n * _SYMBOL.size)
            if info & 15 != _FUNCTION or not size:
                continue
            begin = table.names + name
            text = self._data[begin:min(begin + _LONGEST_NAME,
                                        table.names_end)]
            out[text.partition(b"\0")[0].decode(errors="replace")] = size
        return out
