# SPDX-License-Identifier: BSD-2-Clause
"""Manual pages, completion, and what a pipe or CI sees."""

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvmctl import cli, man
from kvmctl.commands import top
from kvmctl.environment import Environment, harmless
from kvmctl.errors import ExitCode
from kvmctl.observe.rates import Rate
from kvmctl.varnish.admin import Node
from support.paths import ROOT, guest

_KVMCTL = [sys.executable, "-m", "kvmctl"]


def test_every_command_has_a_page() -> None:
    found = man.pages()
    assert set(found) == {"kvmctl.1", *(f"kvmctl-{n}.1"
                                        for n in cli.cli.commands)}
    assert "\\-\\-junit" in found["kvmctl-test.1"]
    assert "9  a signature" in found["kvmctl-run.1"]
    assert "130  interrupted" in found["kvmctl-run.1"]


def test_pages_are_good_roff() -> None:
    for name, text in man.pages().items():
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-z"], input=text, text=True,
            capture_output=True, check=True)
        assert done.stderr == "", (name, done.stderr)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(kvmctl: Any, shell: str) -> None:
    assert kvmctl("completion", shell) == ExitCode.OK
    assert "_KVMCTL_COMPLETE" in kvmctl.out
    if shutil.which(shell) is not None and shell != "fish":
        subprocess.run([shell, "-n"], input=kvmctl.out, text=True, check=True)


def test_bash_completes(kvmctl: Any, tmp_path: Path) -> None:
    def words(line: str) -> list[str]:
        done = subprocess.run(
            _KVMCTL, capture_output=True, text=True, check=True,
            env=os.environ | {"_KVMCTL_COMPLETE": "bash_complete",
                              "COMP_WORDS": line,
                              "COMP_CWORD": str(len(line.split()))})
        return [w.split(",")[-1] for w in done.stdout.split()]

    assert "build" in words("kvmctl ") and "verify" in words("kvmctl ")
    assert words("kvmctl completion ") == ["bash", "zsh", "fish"]
    assert "luajit" in words("kvmctl init x --lang ")


def test_help_is_quick() -> None:
    """No module of a command is loaded for it, nor anything slow."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *_KVMCTL[1:], "--help"],
        capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip()
              for line in done.stderr.splitlines()}
    for name in ("jsonschema", "cffi", "jinja2", "requests", "elftools",
                 "cryptography", "watchfiles", "kvmctl.guest.toolchains",
                 "kvmctl.commands"):
        assert name not in loaded


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_word_of_a_program_is_an_order(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in an executable, a line of a log: a terminal would obey it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    words = "a\x1b]0;title\x07b\x9bc\x1b[2Jd\re\tf\x1b[31mg\n"
    env = Environment(_Terminal(), _Terminal(), io.BytesIO())
    env.result(words)
    for say in (env.note, env.warn, env.error, env.status):
        say(words)
    for stream in (env.stdout, env.stderr):
        said = stream.getvalue()        # type: ignore[attr-defined]
        assert "\ufffd]0;title\ufffdb\ufffdc\ufffd[2Jd\ufffde\tf" in said
        assert set(re.findall("\x1b(.[0-9;]*.)", said)) <= {
            "[31m", "[33m", "[2m", "[0m"}
    assert harmless("\u202egnp.exe\u202c \u2066\u2069") == \
        "\ufffdgnp.exe\ufffd \ufffd\ufffd"
    assert harmless("\u05e9\u05dc\u05d5\u05dd") == "\u05e9\u05dc\u05d5\u05dd"
    # A pipe has them as they were.
    env = Environment(io.StringIO(), io.StringIO(), io.BytesIO())
    env.result(words)
    assert env.stdout.getvalue() == words + "\n"   # type: ignore[attr-defined]


def test_nor_is_one_of_a_table_a_file_or_a_body(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = "a\x1b]0;title\x07b[/x]"
    sample = [Rate(words, "it", 1, 0, None, None, 1, 0, 0, None, None)]
    monkeypatch.setattr(top, "_samples", lambda *_: iter([sample]))
    monkeypatch.setenv("COLUMNS", "200")

    def told(use: Callable[[Environment], object]) -> str:
        env = Environment(_Terminal(), _Terminal(), io.BytesIO())
        use(env)
        said: str = env.stdout.getvalue()   # type: ignore[attr-defined]
        return said

    (tmp_path / "edge.toml").write_text(
        '[site]\nname = "it"\n[[errors]]\nstatus = 404\n'
        f'body = {json.dumps(words)}\n')
    uses: list[Callable[[Environment], object]] = [
        lambda env: top._live(env, Node(title="[/it]"), 1.0),
        lambda env: cli.invoke(["render", str(tmp_path / "edge.toml")], env),
        lambda env: env.result_bytes(words.encode())]
    for use in uses:
        said = told(use)
        assert "a\ufffd]0;title\ufffdb[/x]" in said and "\x1b]" not in said


@pytest.mark.parametrize("command, code", [
    ("inspect", ExitCode.OK), ("run", ExitCode.MANIFEST),
    ("verify", ExitCode.SIGNATURE), ("check", ExitCode.MANIFEST)])
def test_a_name_that_is_no_utf_8(tmp_path: Path, command: str,
                                 code: ExitCode) -> None:
    path = tmp_path / os.fsdecode(b"he\xff")
    path.write_bytes(guest("hello").read_bytes())
    done = subprocess.run(
        [*_KVMCTL, command, path], capture_output=True, check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"})
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.kvm
def test_a_terminal_and_a_pipe(tmp_path: Path) -> None:
    """Colour and progress are for a terminal, and not where NO_COLOR is."""
    line = [*_KVMCTL, "run", str(guest("hello")), "--trace"]
    piped = subprocess.run(line, capture_output=True, check=True)
    assert b"\x1b" not in piped.stdout + piped.stderr
    assert piped.stdout == b"Hello, World!\n"

    def on_terminal(**more: str) -> bytes:
        ours, theirs = pty.openpty()
        with subprocess.Popen(line, stdout=theirs, stderr=theirs,
                              stdin=subprocess.DEVNULL,
                              env=os.environ | more) as process:
            os.close(theirs)
            out = b""
            while True:
                try:
                    piece = os.read(ours, 65536)
                except OSError:         # the other end is closed
                    break
                if not piece:
                    break
                out += piece
        os.close(ours)
        assert process.returncode == 0
        return out

    assert b"\x1b[2m" in on_terminal()
    assert b"\x1b" not in on_terminal(NO_COLOR="1")


def test_a_reader_that_goes(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m kvmctl schema edge | head -c 10",
        shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("words", [
    ["inspect", "/dev/null"], ["inspect", "/"], ["run", "/dev/null"],
    ["run", "/"], ["build", "/"], ["check", "/"], ["diff", "/", "/"],
    ["diff", "/dev/null", "/bin/true"], ["test", "/dev/null"],
    ["render", "/"], ["sign", "/", "--key", "/"], ["key", "/dev/null/x"],
    ["verify", "/", "--trust", "/dev/null"], ["init", "/dev/null/x", "-l", "c"],
    ["bench", "/"], ["serve", "/"],
])
def test_nonsense_has_no_traceback(words: list[str]) -> None:
    """As a user sees it: bugs propagate out of cli.invoke()."""
    done = subprocess.run([*_KVMCTL, *words], capture_output=True, text=True,
                          cwd=ROOT, timeout=60)
    assert 1 <= done.returncode <= 9, done.stderr
    assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr
    assert "Traceback" not in done.stderr


def test_all_results_are_for_machines_too() -> None:
    """--json everywhere but where the result is a file of its own."""
    without = {name for name, command in cli.cli.commands.items()
               if "as_json" not in {p.name for p in command.params}}
    assert without <= {"completion", "schema"}
