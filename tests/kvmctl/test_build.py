# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl build: one compiler line, its message when it fails."""

import time
from pathlib import Path
from typing import Any

import pytest

from kvmctl.errors import ExitCode
from support.paths import SOURCES

_HELLO = """\
#include "kvm_api.h"
static void on_get(const char *url, const char *arg)
{ (void)url; (void)arg; respond_text(200, "mine\\n"); }
int main(void) { set_backend_get(on_get); wait_for_requests(); }
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / "guest.toml").write_text('sources = ["mine.c"]\n')
    (directory / "mine.c").write_text(_HELLO)
    return directory


def test_build_and_rebuild(kvmctl: Any, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, = kvmctl.json("build", mine, "-o", out)
    assert first["fresh"] and Path(first["executable"]).exists()
    again, = kvmctl.json("build", mine, "-o", out)
    assert not again["fresh"] and again["sha256"] == first["sha256"]
    (mine / "mine.c").write_text(_HELLO.replace("mine\\n", "other\\n"))
    other, = kvmctl.json("build", mine, "-o", out)
    assert other["fresh"] and other["sha256"] != first["sha256"]


def test_builds_are_reproducible(kvmctl: Any, mine: Path,
                                 tmp_path: Path) -> None:
    one, = kvmctl.json("build", mine, "-o", tmp_path / "a")
    copy = tmp_path / "elsewhere" / "mine"
    copy.mkdir(parents=True)
    for path in mine.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    two, = kvmctl.json("build", copy, "-o", tmp_path / "b")
    assert one["sha256"] == two["sha256"]


def test_compiler_errors_are_shown(kvmctl: Any, mine: Path,
                                   tmp_path: Path) -> None:
    out = tmp_path / "out"
    before, = kvmctl.json("build", mine, "-o", out)
    (mine / "mine.c").write_text(_HELLO + "int oops = nonsense;\n")
    assert kvmctl("build", mine, "-o", out) == ExitCode.BUILD
    assert "mine.c:5" in kvmctl.err and "nonsense" in kvmctl.err
    # What was built before is still there.
    assert Path(before["executable"]).exists()


def test_missing_libraries_name_the_package(kvmctl: Any, mine: Path,
                                            tmp_path: Path) -> None:
    (mine / "guest.toml").write_text(
        'sources = ["mine.c"]\nlibraries = ["no-such-lib"]\n'
        'packages = ["libno-such-dev"]\n')
    assert kvmctl("build", mine, "-o", tmp_path) == ExitCode.BUILD
    assert "no-such-lib" in kvmctl.err
    assert "apt-get install libno-such-dev" in kvmctl.err


def test_missing_compiler_names_the_package(
        kvmctl: Any, mine: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kvmctl("build", mine, "-o", tmp_path) == ExitCode.BUILD
    assert "gcc is missing" in kvmctl.err
    assert "apt-get install gcc" in kvmctl.err


def test_writable_and_executable_is_refused(kvmctl: Any, mine: Path,
                                            tmp_path: Path) -> None:
    (mine / "mine.c").write_text(
        _HELLO + '__asm__(".section .both,\\"awx\\"\\n.quad 1\\n.text");\n')
    assert kvmctl("build", mine, "-o", tmp_path) == ExitCode.BUILD
    assert "writable and executable" in kvmctl.err
    assert not (tmp_path / "mine" / "mine").exists()


def test_all_guests_build_in_their_own_place(kvmctl: Any) -> None:
    started = time.time()
    for record in kvmctl.json("build", SOURCES / "hello", SOURCES / "echo"):
        assert Path(record["executable"]).stat().st_mtime <= started + 60
        assert record["abi_calls"]
