# SPDX-License-Identifier: BSD-2-Clause
"""ELF files of x86-64: header, segments, symbols, by pyelftools' structures.

Anybody may have made the file: no offset in it is followed before it is known to
lie inside, no table is longer than the file, and what is there twice is looked
at once. So reading takes no longer than the file is long, which pyelftools' own
walk (ELFFile) does not promise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from elftools.elf.constants import P_FLAGS
from elftools.elf.structs import ELFStructs

LOAD, INTERPRETER = "PT_LOAD", "PT_INTERP"
EXECUTE, WRITE, READ = P_FLAGS.PF_X, P_FLAGS.PF_W, P_FLAGS.PF_R
_MAGIC = b"\x7fELF\x02\x01"             # 64 bits, little-endian
_LONGEST_NAME = 4096


def _structures() -> Any:
    it = ELFStructs(little_endian=True, elfclass=64)
    it.create_basic_structs()
    it.create_advanced_structs("ET_EXEC", "EM_X86_64", "ELFOSABI_LINUX")
    return it


_ELF = _structures()
_HEADER, _PROGRAM = _ELF.Elf_Ehdr.sizeof(), _ELF.Elf_Phdr.sizeof()
_SECTION, _SYMBOL = _ELF.Elf_Shdr.sizeof(), _ELF.Elf_Sym.sizeof()


@dataclass(frozen=True)
class ProgramHeader:
    """A segment. Its bytes are inside the file."""

    type: str | int                     # a number that has no name
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
        if len(data) < _HEADER:
            raise ValueError("its header is cut off")
        it = _ELF.Elf_Ehdr.parse(data[:_HEADER])
        self.type, self.machine = str(it.e_type), str(it.e_machine)
        self.entry: int = it.e_entry
        self._header = it
        if it.e_phnum and it.e_phentsize != _PROGRAM:
            raise ValueError(f"its program headers are of {it.e_phentsize} "
                             "bytes")
        if it.e_phoff + it.e_phnum * _PROGRAM > len(data):
            raise ValueError("its program headers lie outside the file: "
                             "truncated?")
        self.segments = tuple(
            self._segment(it.e_phoff + n * _PROGRAM)
            for n in range(it.e_phnum))

    def _segment(self, at: int) -> ProgramHeader:
        it = _ELF.Elf_Phdr.parse(self._data[at:at + _PROGRAM])
        if it.p_offset + it.p_filesz > len(self._data):
            raise ValueError("a segment lies outside the file: truncated?")
        return ProgramHeader(it.p_type, it.p_flags, it.p_offset, it.p_vaddr,
                             it.p_filesz, it.p_memsz)

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

    def _section(self, number: int) -> Any:
        """Its header; None when it is not in the file."""
        at = self._header.e_shoff + number * _SECTION
        if number >= self._header.e_shnum or at + _SECTION > len(self._data):
            return None
        it = _ELF.Elf_Shdr.parse(self._data[at:at + _SECTION])
        return it if it.sh_offset + it.sh_size <= len(self._data) else None

    def _symbols(self) -> _Table | None:
        """None: it has none, or not where it says."""
        if self._header.e_shentsize != _SECTION:
            return None
        for number in range(self._header.e_shnum):
            found = self._section(number)
            if found is None or found.sh_type != "SHT_SYMTAB":
                continue
            names = self._section(found.sh_link)
            if names is not None:
                return _Table(found.sh_offset, found.sh_size // _SYMBOL,
                              names.sh_offset, names.sh_offset + names.sh_size)
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
            at = table.offset + n * _SYMBOL
            it = _ELF.Elf_Sym.parse(self._data[at:at + _SYMBOL])
            if it.st_info.type != "STT_FUNC" or not it.st_size:
                continue
            begin = table.names + it.st_name
            text = self._data[begin:min(begin + _LONGEST_NAME,
                                        table.names_end)]
            out[text.partition(b"\0")[0].decode(errors="replace")] = it.st_size
        return out
