# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl check: every problem, with file, line and what was meant."""

from pathlib import Path
from typing import Any

import pytest

from kvmctl.errors import ExitCode
from support.paths import ROOT, SOURCES, guest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A program, its tests and its site, without a mistake."""
    (tmp_path / "it.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "guest.toml").write_text('name = "it"\nsources = ["it.c"]\n')
    (tmp_path / "edge.toml").write_text(
        '[programs.it]\nguest = "."\n[[routes]]\nprogram = "it"\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "it.toml").write_text('[[tests]]\nname = "x"\n')
    return tmp_path


def test_right(kvmctl: Any, project: Path) -> None:
    assert kvmctl("check", project) == ExitCode.OK, kvmctl.out
    assert kvmctl.out == "" and kvmctl.err == "3 files are right\n"
    found = kvmctl.json("check", project)
    assert [Path(f).name for f in found["files"]] == [
        "guest.toml", "it.toml", "edge.toml"]
    assert found["problems"] == found["missing"] == []


def test_ours_are_right(kvmctl: Any) -> None:
    guests = [p.parent for p in SOURCES.rglob("guest.toml")]
    kvmctl("check", *guests, *(ROOT / "vcl" / "examples").glob("*.toml"))
    assert [line for line in kvmctl.out.splitlines()
            if " is missing: " not in line] == []


@pytest.mark.parametrize("file, text, problems", [
    ("guest.toml", 'nmae = "it"\nsources = ["it.c", "none.c"]\n',
     ['1: there is no key "nmae"; did you mean "name"?']),
    ("guest.toml", 'sources = [\n  "it.c",\n  "none.c",\n]\n',
     ["3: there is no source "]),
    ("guest.toml", 'sources = ["it.c"]\nlanguage = "pyhton"\n[limits]\n'
     "max_memory = 0\n\nmax_request_tiem = 2\n",
     ['2: "language" is one of c, c++, ', 'did you mean "python"?',
      '4: [limits]: "max_memory" is a number from 1 to 1048576 (MiB)',
      '6: [limits]: there is no key "max_request_tiem"; did you mean '
      '"max_request_time"?']),
    ("guest.toml", 'sources = ["it.c"]\nname = "it\n',
     ["2: Illegal character"]),
    ("guest.toml", 'sources = ["it.c"]\n[permissions]\n'
     'allowed_fetch = ["ftp://x"]\n', ["only http and https"]),
    ("edge.toml", '[programs.it]\nguest = "no-such"\n'
     '[programs.other]\nfile = "/no/such"\n\n[[routes]]\nprogram = "it"\n',
     ["2: [programs.it]: there is no ", "4: [programs.other]: there is no "]),
    ("edge.toml", '[programs.it]\nguest = "/"\n[programs.other]\nfile = ""\n',
     ["2: [programs.it]: there is no ", "4: [programs.other]: there is no "]),
    ("edge.toml", '[programs.item]\nguest = "."\n\n[[routes]]\n'
     'path = "/"\nprogram = "itme"\n',
     ['6: [[routes]] number 1: there is no program "itme"; did you mean '
      '"item"?']),
    ("edge.toml", '[programs.it]\nguest = "."\n[[routes]]\nprogram = "it"\n'
     '[[routes]]\nsynth = { program = "it", status = 42 }\n',
     ['6: [[routes]] number 2.synth: "status" is 200 to 599']),
    ("edge.toml", '[origins.api]\nhost = "h"\n[directors.d]\n'
     'origins = [\n"api",\n]\n\nweights = [1]\n',
     ['8: [directors.d]: "weights" is nothing to round_robin']),
    ("edge.toml", '[acls.ours]\nallow = ["::1"]\n[purge]\n\nacl = "our"\n',
     ['5: [purge]: there is no acl "our"; did you mean "ours"?']),
    ("edge.toml", '[nodes.a]\n\nstore = "/x"\n',
     ['3: [nodes.a]: "store" is a directory of the other machine']),
    ("tests/it.toml", '[[tests]]\nname = "x"\nexpect = { staus = 200 }\n',
     ['3: [[tests]] number 1.expect: there is no key "staus"; did you mean '
      '"status"?']),
    ("tests/it.toml", "", ['"tests" is missing']),
])
def test_wrong(kvmctl: Any, project: Path, file: str, text: str,
               problems: list[str]) -> None:
    (project / file).write_text(text)
    assert kvmctl("check", project) == ExitCode.MANIFEST
    for problem in problems:
        assert problem in kvmctl.out
    assert f"{project / file}:" in kvmctl.out
    assert "Traceback" not in kvmctl.err
    kvmctl("check", project, "--json")
    assert '"message":' in kvmctl.out and '"line":' in kvmctl.out


def test_missing_toolchain(kvmctl: Any, project: Path,
                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert kvmctl("check", project) == ExitCode.HOST
    assert "gcc is missing: apt-get install gcc" in kvmctl.out


def test_nothing_there(kvmctl: Any, tmp_path: Path) -> None:
    assert kvmctl("check", tmp_path) == ExitCode.MANIFEST
    assert "kvmctl init" in kvmctl.out
    assert kvmctl("check", tmp_path / "none") == ExitCode.MANIFEST


def for_another_machine(path: Path) -> None:
    """A copy of an executable that says AArch64."""
    data = bytearray(guest("hello").read_bytes())
    data[18:20] = (183).to_bytes(2, "little")       # e_machine: EM_AARCH64
    path.write_bytes(data)


def test_executables_that_cannot_run(kvmctl: Any, tmp_path: Path) -> None:
    for_another_machine(tmp_path / "arm")
    (tmp_path / "text").write_text("no program")
    (tmp_path / "edge.toml").write_text(
        '[programs.arm]\nfile = "arm"\n[programs.text]\nfile = "text"\n'
        '[programs.dynamic]\nfile = "/bin/true"\n')
    assert kvmctl("check", tmp_path) == ExitCode.MANIFEST
    assert "edge.toml:2: [programs.arm]: arm: compiled for EM_AARCH64, not " \
        "x86-64" in kvmctl.out
    assert "edge.toml:4: " in kvmctl.out and "no ELF" in kvmctl.out
    assert "edge.toml:6: " in kvmctl.out and "-static" in kvmctl.out
    # Nor are they built, or run.
    (tmp_path / "guest.toml").write_text(
        'name = "arm"\nlanguage = "executable"\nsources = ["arm"]\n')
    assert kvmctl("build", tmp_path, "-o", tmp_path / "out") == ExitCode.BUILD
    assert "EM_AARCH64" in kvmctl.err
    assert not (tmp_path / "out" / "arm" / "arm").exists()
    assert kvmctl("run", tmp_path / "arm") in (ExitCode.MANIFEST,
                                               ExitCode.GUEST)
    assert kvmctl.err.startswith("error: ")
