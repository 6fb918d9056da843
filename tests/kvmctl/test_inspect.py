# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl inspect: what executables contain, and why some cannot run."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kvmctl.errors import ExitCode, GuestError
from kvmctl.guest.inspect import inspect
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
