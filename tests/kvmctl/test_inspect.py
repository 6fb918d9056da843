# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl inspect: what executables contain, and why some cannot run."""

import hashlib
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvmctl.errors import ExitCode, GuestError
from kvmctl.guest.inspect import inspect, symbol_sizes
from support.odd import damaged
from support.paths import guest


def test_a_guest(kvmctl: Any) -> None:
    path = guest("hello")
    seen = kvmctl.json("inspect", path)
    assert seen["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert seen["kind"] == "static" and seen["machine"] == "EM_X86_64"
    assert seen["write_xor_execute"] and not seen["problems"]
    assert seen["size"] == path.stat().st_size
    flags = [s["flags"] for s in seen["segments"]]
    assert "r-x" in flags and "rw-" in flags and "rwx" not in flags
    assert any(s["address"] <= seen["entry"] < s["address"] + s["memory_size"]
               and s["flags"] == "r-x" for s in seen["segments"])
    assert {"wait_for_requests", "register_func"} <= {
        n.removeprefix("kvm_") for n in seen["abi_calls"]}


def test_words_for_people(kvmctl: Any) -> None:
    assert kvmctl("inspect", guest("hello")) == ExitCode.OK
    assert "W^X" in kvmctl.out and "entry" in kvmctl.out


@pytest.mark.parametrize("path, words", [
    ("/bin/true", ["dynamically linked", "ld-linux", "-static"]),
    ("/etc/passwd", ["no ELF"]),
    ("/no/such", ["No such file"]),
    ("/etc", ["directory"]),
])
def test_what_cannot_run(kvmctl: Any, path: str, words: list[str]) -> None:
    assert kvmctl("inspect", path) == ExitCode.GUEST
    for word in words:
        assert word in kvmctl.err


@pytest.mark.parametrize("name", ["hello", "thumbnail", "streamtest"])
def test_a_whole_walk_sees_the_same(name: str) -> None:
    from elftools.elf.elffile import ELFFile
    with guest(name).open("rb") as file:
        theirs = ELFFile(file)
        table = theirs.get_section_by_name(".symtab")
        ours = inspect(guest(name))
        assert ours.entry == theirs.header.e_entry
        assert ours.symbols == table.num_symbols() > 100
        assert symbol_sizes(guest(name)) == {
            s.name: s["st_size"] for s in table.iter_symbols()
            if s["st_info"]["type"] == "STT_FUNC" and s["st_size"]}
        assert [(s.address, s.memory_size) for s in ours.segments] == [
            (s["p_vaddr"], s["p_memsz"]) for s in theirs.iter_segments()
            if s["p_type"] == "PT_LOAD"]


_ODD = [0, 1, 24, 56, 63, 64, 120, 0xffff, 2**31, 2**32 - 1, 2**63, 2**64 - 1]


@st.composite
def executables(draw: st.DrawFn) -> bytes:
    """A small one, with a number in it now and then that is odd."""
    def maybe(value: int, limit: int) -> int:
        return draw(st.sampled_from([n for n in _ODD if n < limit])) \
            if draw(st.integers(0, 19)) == 19 else value

    wide, word, half = 2**64, 2**32, 2**16
    segments = draw(st.integers(0, 3))
    sections = 64 + 56 * segments
    symbols = sections + 3 * 64
    end = symbols + 48 + 16
    out = struct.pack(
        "<4s12sHHIQQQIHHHHHH", b"\x7fELF", b"\x02\x01\x01",
        maybe(2, half), maybe(62, half), 1, maybe(0x400000, wide),
        maybe(64, wide), maybe(sections, wide), 0, 64, maybe(56, half),
        maybe(segments, half), maybe(64, half), maybe(3, half), 0)
    for _ in range(segments):
        out += struct.pack(
            "<IIQQQQQQ", draw(st.sampled_from([1, 1, 2, 3])),
            draw(st.integers(0, 7)), maybe(0, wide), maybe(0x400000, wide), 0,
            maybe(end, wide), maybe(end, wide), 4096)
    for kind, offset, size in ((0, 0, 0), (2, symbols, 48), (3, end - 16, 16)):
        out += struct.pack(
            "<IIQQQQIIQQ", 0, maybe(kind, word), 0, 0, maybe(offset, wide),
            maybe(size, wide), maybe(2, word), 0, 0, maybe(24, wide))
    for name in (1, 9):
        out += struct.pack("<IBBHQQ", maybe(name, word), 2, 0, 0, 0x400000,
                           maybe(5, wide))
    out += b"\0call\xb8\x01\x00\x01\x00\xe7\x00it\0\0"
    return draw(damaged(out)) if draw(st.booleans()) else out


@given(executables())
def test_any_executable_has_an_answer(
        tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-executable"
    path.write_bytes(data)
    try:
        seen = inspect(path)
        assert seen.size == len(data) and seen.symbols <= len(data)
        assert all(s.file_size <= len(data) for s in seen.segments)
        assert len(symbol_sizes(path)) <= seen.symbols
    except GuestError as e:
        assert str(path) in str(e)


_HEADER = struct.Struct("<4s12sHHIQQQIHHHHHH")


def _header(**changes: int) -> bytes:
    it = {"kind": 2, "machine": 62, "entry": 0x400000, "segments_at": 64,
          "sections_at": 0, "size": 56, "number": 0, "section_size": 64,
          "sections": 0} | changes
    return _HEADER.pack(
        b"\x7fELF", b"\x02\x01\x01", it["kind"], it["machine"], 1,
        it["entry"], it["segments_at"], it["sections_at"], 0, 64, it["size"],
        it["number"], it["section_size"], it["sections"], 0)


def _segment(size: int) -> bytes:
    return struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0, size, size, 4096)


_SIZE = 1 << 20
HUGE = {
    "one header, 65534 times": _header(size=0, number=65535) + _segment(_SIZE),
    "the code, a thousand times": _header(number=1000)
    + _segment(_SIZE) * 1000,
    "sections without end": _header(sections_at=64)
    + struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 2**60, 0, 0, 0, 0),
    "segments in a section": _header(sections_at=64, number=65534)
    + struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 2**31, 0, 0),
    "symbols of no size": _header(sections_at=64, sections=1)
    + struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, 0, 2**20, 0, 0, 0, 0),
}


@pytest.mark.parametrize("data", HUGE.values(), ids=HUGE)
def test_none_takes_longer_than_it_is_long(kvmctl: Any, tmp_path: Path,
                                           data: bytes) -> None:
    path = tmp_path / "it"
    path.write_bytes(data + b"\xe7\x00" * ((_SIZE - len(data)) // 2))
    began = time.monotonic()
    assert kvmctl("inspect", path) in (ExitCode.OK, ExitCode.GUEST)
    assert kvmctl("diff", path, path) in (ExitCode.OK, ExitCode.GUEST)
    assert time.monotonic() - began < 20


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)),
                min_size=1, max_size=6))
@example([(37, 16)])                    # segments at 16 TiB
def test_damaged_files_have_an_answer(
        tmp_path_factory: pytest.TempPathFactory,
        changes: list[tuple[int, int]]) -> None:
    data = bytearray(guest("hello").read_bytes())
    for at, value in changes:
        data[at] = value
    path: Path = tmp_path_factory.mktemp("elf") / "it"
    path.write_bytes(data)
    try:
        assert inspect(path).size == len(data)
    except GuestError as e:
        assert str(path) in str(e)
    path.unlink()
