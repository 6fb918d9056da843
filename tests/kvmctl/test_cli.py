# SPDX-License-Identifier: BSD-2-Clause
"""The command line: exit codes, streams, JSON."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kvmctl import cli
from kvmctl.commands import doctor
from kvmctl.errors import ExitCode
from kvmctl.varnish.private import system_vmods
from support.paths import PHOTOS, ROOT, guest


def test_every_exit_code_is_told(kvmctl: Any,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    """In the help, which the manual pages are made of, and in the manual."""
    assert kvmctl("--help") == ExitCode.OK
    said = capsys.readouterr().out
    table = (ROOT / "pyctl" / "README.md").read_text()
    for code in (*ExitCode, 130, 141):
        assert re.search(rf"^ +{int(code)}  [a-zA-Z]", said, re.M)
        assert f"\n| {int(code)} | " in table


@pytest.mark.parametrize("words, code", [
    (["--help"], ExitCode.OK),
    (["--version"], ExitCode.OK),
    ([], ExitCode.USAGE),
    (["no-such-command"], ExitCode.USAGE),
    (["deploy", "--no-such-option"], ExitCode.USAGE),
    (["run"], ExitCode.USAGE),
    (["build"], ExitCode.USAGE),
    (["init", "x"], ExitCode.USAGE),
    (["init", "x", "--lang", "cobol"], ExitCode.USAGE),
    (["init", "/tmp/1x", "--lang", "c"], ExitCode.USAGE),
    (["render", "/no/such.toml"], ExitCode.MANIFEST),
    (["build", "/no/such"], ExitCode.MANIFEST),
    (["run", "/no/such"], ExitCode.MANIFEST),
    (["run", "/bin/true", "-H", "nonsense"], ExitCode.USAGE),
    (["run", "/bin/true", "-d", "@/no/such"], ExitCode.USAGE),
    (["deploy", "--canary", "1%", "--watch", "nan"], ExitCode.USAGE),
    (["top", "--interval", "nan"], ExitCode.USAGE),
])
def test_exit_codes(kvmctl: Any, words: list[str], code: int) -> None:
    assert kvmctl(*words) == code
    assert "Traceback" not in kvmctl.err
    if code != ExitCode.OK:
        assert kvmctl.err and not kvmctl.out


@pytest.mark.parametrize("words", [
    ["history", "--limit", "x", "--json"], ["history", "--json", "--nope"],
    ["init", "x", "--json"], ["render", "/no/such.toml", "--json"]])
def test_failures_for_machines(kvmctl: Any, words: list[str]) -> None:
    code = kvmctl(*words)
    found = json.loads(kvmctl.out)
    assert found["exit_code"] == code != ExitCode.OK
    assert found["error"] in kvmctl.err


def test_every_command_explains_itself(
        kvmctl: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "syscalls" in cli.cli.commands
    for name in cli.cli.commands:
        assert kvmctl(name, "--help") == ExitCode.OK
        assert "Usage: kvmctl " + name in capsys.readouterr().out


def test_no_varnish_there(kvmctl: Any, tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text("")
    for name in ("deploy", "status", "rollback"):
        assert kvmctl(name, tmp_path / "edge.toml", "-n", tmp_path / "none",
                      "--store", tmp_path / "store") == ExitCode.VARNISH
        assert kvmctl.err.startswith("error: ")


def test_doctor(kvmctl: Any) -> None:
    kvmctl("doctor", "--json")
    found = {f["check"]: f for f in json.loads(kvmctl.out)}
    assert found["varnish"]["state"] == "ok"
    assert found["vmod"]["state"] == "ok"
    for finding in found.values():
        assert finding["state"] in ("ok", "warn", "fail")
        assert finding["state"] == "ok" or finding["mend"]


def test_doctor_fails_where_something_is_missing(
        kvmctl: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = tmp_path / "vmods"
    empty.mkdir()
    monkeypatch.setenv("KVMCTL_VMODS", str(empty))
    monkeypatch.setattr(doctor, "system_vmods", lambda: str(empty))
    assert kvmctl("doctor") == ExitCode.HOST
    assert "vmod" in kvmctl.err and "make install" in kvmctl.out


def test_without_pkg_config(monkeypatch: pytest.MonkeyPatch,
                            tmp_path: Path) -> None:
    """As on a node, where nothing is compiled."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system_vmods().endswith("/varnish/vmods")
    (tmp_path / "pkg-config").write_text("no program\n")
    assert system_vmods().endswith("/varnish/vmods")


@pytest.mark.kvm
def test_run(kvmctl: Any) -> None:
    assert kvmctl("run", guest("hello")) == ExitCode.OK
    assert kvmctl.out == "Hello, World!\n"
    assert "1 KVM exit," in kvmctl.err and "pages written" in kvmctl.err


@pytest.mark.kvm
def test_run_sends_what_it_is_told(kvmctl: Any) -> None:
    kvmctl.stdin = b"from stdin"
    said = json.loads(kvmctl.json(
        "run", guest("echo"), "/u?q", "-X", "PATCH", "-H", "X-A: b",
        "-H", "Content-Type: text/x-y", "-d", "@-", "--arg", "argument",
        "--repeat", "3")["body"])
    assert said["method"] == "PATCH" and said["url"] == "/u?q"
    assert said["arg"] == "argument" and said["body"] == "from stdin"
    assert said["content_type"] == "text/x-y" and "X-A: b" in said["headers"]


@pytest.mark.kvm
def test_run_writes_binary_bodies(kvmctl: Any, tmp_path: Path) -> None:
    out = tmp_path / "small.webp"
    photo = next(PHOTOS.glob("*.jpg"))
    assert kvmctl("run", guest("thumbnail"), "/?w=100", "-d", f"@{photo}",
                  "-H", "Content-Type: image/jpeg",
                  "--output", out) == ExitCode.OK
    assert out.read_bytes()[8:12] == b"WEBP"


@pytest.mark.kvm
def test_run_says_why_a_guest_failed(kvmctl: Any) -> None:
    assert kvmctl("run", guest("hostile"), "/null-write") == ExitCode.GUEST
    assert "null pointer" in kvmctl.err and not kvmctl.out
