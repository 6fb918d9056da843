# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl build: one compiler line, its message when it fails."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kvmctl.errors import ExitCode
from support.paths import SOURCES
from support.small_disk import small_disk

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


@pytest.mark.parametrize("name", ["it.h", "it.hh", "a/it.inc", "it.tpp",
                                  "other.c", "it.def"])
def test_what_a_source_includes_is_a_source(kvmctl: Any, mine: Path,
                                            tmp_path: Path, name: str) -> None:
    (mine / "mine.c").write_text(f'#include "{name}"\n' + _HELLO)
    (mine / name).parent.mkdir(exist_ok=True)
    seen = set()
    for n in range(2):
        (mine / name).write_text(f"int number = {n + 1};\n")
        built, = kvmctl.json("build", mine, "-o", tmp_path / "out")
        seen.add(built["sha256"])
    assert len(seen) == 2


@pytest.mark.parametrize("name", ["work", "store", "lock", "inputs"])
def test_any_name_is_built_again(kvmctl: Any, mine: Path, tmp_path: Path,
                                 name: str) -> None:
    """None of them is that of a file of the build itself."""
    for text in ("one", "two"):
        (mine / "guest.toml").write_text(
            f'name = "{name}"\nsources = ["mine.c"]\n')
        (mine / "mine.c").write_text(_HELLO.replace("mine\\n", text))
        built, = kvmctl.json("build", mine, "-o", tmp_path / "out")
        assert built["fresh"]


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


def test_records_are_reproducible(kvmctl: Any, mine: Path,
                                  tmp_path: Path) -> None:
    (mine / "guest.toml").write_text(
        'sources = ["mine.c"]\n[limits]\nmax_memory = 32\n'
        '[permissions]\nallowed_paths = ["data", "/etc/hosts"]\n')
    kvmctl.json("build", mine, "-o", tmp_path / "a")
    copy = tmp_path / "else where" / "mine"
    shutil.copytree(mine, copy)
    kvmctl.json("build", copy, "-o", tmp_path / "b")
    one, two = ((tmp_path / d / "mine" / "mine.json").read_bytes()
                for d in "ab")
    assert one == two
    record = json.loads(one)
    assert record["limits"] == {"max_memory": 32}
    assert record["permissions"]["allowed_paths"][0] == {
        "real": "data", "virtual": "/data"}
    assert "wait_for_requests" in record["abi_calls"]
    assert record["language"] == "c" and record["sdk"]["version"]
    assert record["size"] == (tmp_path / "a" / "mine" / "mine").stat().st_size


def test_what_was_built_before_is_kept(kvmctl: Any, mine: Path,
                                       tmp_path: Path) -> None:
    def build(text: str) -> Any:
        (mine / "mine.c").write_text(text)
        built, = kvmctl.json("build", mine, "-o", tmp_path / "out")
        return built

    first = build(_HELLO)
    assert first["how"] == "built"
    other = _HELLO.replace("mine\\n", "other\\n")
    assert build(other)["how"] == "built"
    again = build(_HELLO)
    assert again["how"] == "kept" and again["sha256"] == first["sha256"]
    assert build(_HELLO)["how"] == "unchanged"
    # What is damaged is not taken from there.
    for path in (tmp_path / "out" / ".store" / "objects").iterdir():
        path.chmod(0o644)
        path.write_bytes(b"damaged")
    assert build(other)["how"] == "built"
    # Nor is what somebody changed by hand left as it is.
    Path(again["executable"]).write_bytes(b"other")
    assert build(other)["sha256"] != again["sha256"]
    assert kvmctl("inspect", again["executable"]) == ExitCode.OK
    # The store does not grow for ever.
    for n in range(12):
        build(_HELLO.replace("mine\\n", f"number {n}\\n"))
    assert len(list((tmp_path / "out" / ".store" / "inputs").iterdir())) == 8
    assert len(list((tmp_path / "out" / ".store" / "objects").iterdir())) == 8


def test_another_compiler_is_a_change(kvmctl: Any, mine: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    assert kvmctl("build", mine, "-o", tmp_path / "out") == 0
    wrapper = tmp_path / "bin" / "gcc"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("gcc")} -DX "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    built, = kvmctl.json("build", mine, "-o", tmp_path / "out")
    assert built["how"] == "built"


def test_many_at_once(kvmctl: Any, mine: Path, tmp_path: Path) -> None:
    names = [f"p{n}" for n in range(6)]
    for name in names:
        shutil.copytree(mine, tmp_path / name)
        (tmp_path / name / "guest.toml").write_text(
            f'name = "{name}"\nsources = ["mine.c"]\n')
    (tmp_path / "p1" / "mine.c").write_text("broken one;\n")
    (tmp_path / "p4" / "mine.c").write_text("broken two;\n")
    paths = [tmp_path / n for n in names]
    assert kvmctl("build", *paths, "-j", "3", "-o",
                  tmp_path / "out") == ExitCode.BUILD
    # Both are told of, and the others are there.
    assert "broken one" in kvmctl.err and "broken two" in kvmctl.err
    assert "2 of 6" in kvmctl.err
    assert len(kvmctl.out.splitlines()) == 4


def test_names_that_are_no_utf8(kvmctl: Any, mine: Path,
                                tmp_path: Path) -> None:
    """Of the directory, a header, and what a workspace of Go names."""
    directory = tmp_path / os.fsdecode(b"g\xff")
    mine.rename(directory)
    (directory / os.fsdecode(b"\xfe.h")).touch()
    (directory / "guest.toml").write_text('name = "it"\nsources = ["mine.c"]\n')
    assert kvmctl("build", directory, "-o",
                  tmp_path / "out") == ExitCode.OK, kvmctl.err
    if shutil.which("go"):
        (directory / "it.go").write_text("package main\nfunc main() {}\n")
        (directory / "guest.toml").write_text(
            'name = "it"\nlanguage = "go"\nsources = ["it.go"]\n')
        assert kvmctl("build", directory, "-o", tmp_path / "out") in (
            ExitCode.OK, ExitCode.BUILD)


def test_names_that_clash(kvmctl: Any, mine: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "mine"
    shutil.copytree(mine, other)
    assert kvmctl("build", mine, other, "-o", tmp_path) == ExitCode.MANIFEST
    assert str(mine) in kvmctl.err and str(other) in kvmctl.err
    # Nor can both be deployed, where each is built when its turn comes.
    site = tmp_path / "edge.toml"
    site.write_text('[site]\nname = "it"\n[programs.a]\nguest = "mine"\n'
                    '[programs.b]\nguest = "other/mine"\n')
    assert kvmctl("plan", site, "-o", tmp_path / "out", "--store",
                  tmp_path / "store") == ExitCode.MANIFEST
    assert str(mine) in kvmctl.err and str(other) in kvmctl.err
    assert '"mine"' in kvmctl.err
    assert kvmctl("check", site) == ExitCode.MANIFEST
    assert kvmctl.out.count("both called") == 1


def test_warnings_are_shown(kvmctl: Any, mine: Path, tmp_path: Path) -> None:
    (mine / "mine.c").write_text(_HELLO + "static int unused;\n")
    assert kvmctl("build", mine, "-o", tmp_path / "out") == ExitCode.OK
    assert "unused" in kvmctl.err and "unused" not in kvmctl.out


def test_the_compilers_own_words(kvmctl: Any, mine: Path,
                                 tmp_path: Path) -> None:
    (mine / "mine.c").write_text("int main(void) { return x; }\n")
    assert kvmctl("build", mine, "-o", tmp_path / "out") == ExitCode.BUILD
    # All of it: the source's line and the mark below it are part of it.
    assert "return x;" in kvmctl.err and "^" in kvmctl.err


def test_unreadable(kvmctl: Any, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert kvmctl("build", mine, "-o", tmp_path / "file") == ExitCode.BUILD
    assert str(tmp_path / "file") in kvmctl.err
    (mine / "mine.c").unlink()
    (mine / "mine.c").mkdir()
    assert kvmctl("build", mine, "-o", tmp_path / "out") == ExitCode.MANIFEST
    assert "there is no source" in kvmctl.err
    (mine / "guest.toml").unlink()
    (mine / "guest.toml").mkdir()
    assert kvmctl("build", mine, "-o", tmp_path / "out") == ExitCode.MANIFEST
    assert "Traceback" not in kvmctl.err


def test_older_files_are_noticed(kvmctl: Any, mine: Path,
                                 tmp_path: Path) -> None:
    """Even one that is put there with a time from before."""
    built, = kvmctl.json("build", mine, "-o", tmp_path / "out")
    program = Path(built["executable"])
    good = program.read_bytes()
    program.write_bytes(bytes(len(good)))
    os.utime(program, (1, 1))
    again, = kvmctl.json("build", mine, "-o", tmp_path / "out")
    assert again["how"] == "kept" and program.read_bytes() == good


def test_two_at_the_same_time(mine: Path, tmp_path: Path) -> None:
    """One builds, the other waits and finds it."""
    line = [sys.executable, "-m", "kvmctl", "build", mine, "--json", "-o",
            tmp_path / "out"]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE) for _ in range(2)]
    hows = [json.loads(p.communicate(timeout=60)[0])[0]["how"] for p in both]
    assert sorted(hows) == ["built", "unchanged"]


def test_disk_full(kvmctl: Any, mine: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path, 256) as disk:
        assert kvmctl("build", mine, "-o", disk / "out") == ExitCode.BUILD
        assert "No space left on device" in kvmctl.err
        left = [p.name for p in disk.rglob("*") if p.is_file()]
        assert left == [".lock"]


#: kvmctl, and on its last line what it started and imported.
_WATCHED = """\
import atexit, json, sys
started = []
sys.addaudithook(lambda event, args: event in ("subprocess.Popen", "os.exec")
                 and started.append(str(args[0])))
atexit.register(lambda: print(json.dumps([started, sorted(sys.modules)])))
from kvmctl.cli import main
main()
"""


def test_no_change_is_quick(mine: Path, tmp_path: Path) -> None:
    """Nothing is started, and no library that takes its time is read. Four
    times the CPU's time that it takes, with Python's start, is too much."""
    line = [sys.executable, "-c", _WATCHED, "build", mine, "-o",
            tmp_path / "out"]

    def build() -> tuple[list[str], set[str], float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(line, check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        started, modules = json.loads(done.stdout.splitlines()[-1])
        return started, set(modules), (after.ru_utime + after.ru_stime
                                       - before.ru_utime - before.ru_stime)

    started, modules, _ = build()
    assert started and "elftools" in modules
    started, modules, first = build()
    assert min(first, build()[2], build()[2]) < 0.6
    assert not started
    assert not modules & {"elftools", "jinja2", "requests", "cffi", "ssl",
                          "multiprocessing", "asyncio"}


def test_diff(kvmctl: Any, mine: Path, tmp_path: Path) -> None:
    def build(out: str) -> Path:
        built, = kvmctl.json("build", mine, "-o", tmp_path / out)
        return Path(built["executable"])

    one = build("a")
    assert kvmctl("diff", one, one) == 0 and kvmctl.out == ""
    (mine / "mine.c").write_text(_HELLO.replace(
        "respond_text", 'sys_log("x", 1); respond_text'))
    (mine / "guest.toml").write_text(
        'sources = ["mine.c"]\n[limits]\nmax_memory = 32\n')
    two = build("b")
    assert kvmctl("diff", one, two) == ExitCode.OK
    assert "abi_calls                +sys_log" in kvmctl.out
    assert "limits.max_memory        - -> 32" in kvmctl.out
    assert "on_get" in kvmctl.out and "sha256" in kvmctl.out
    found = kvmctl.json("diff", one, two)
    assert found["changes"]["limits.max_memory"] == {
        "before": None, "after": 32}
    assert kvmctl("diff", one, tmp_path / "none") == ExitCode.GUEST
    assert kvmctl("diff", one, mine / "mine.c") == ExitCode.GUEST
