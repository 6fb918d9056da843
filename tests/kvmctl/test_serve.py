# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl serve: a change is live, an error is told, nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from kvmctl.dev.live import Live, directories, load_site
from kvmctl.errors import ExitCode
from kvmctl.varnish.private import PrivateVarnish
from support.paths import guest
from support.wait import until

_SOURCE = """\
#include "kvm_api.h"
static void on_request(const struct kvm_request *r)
{
	if (r->url[1] == 'x')
		*(volatile int *)0 = 1;
	sys_log("asked", 5);
	respond_text(200, "first");
}
int main(void) { kvm_serve(on_request); }
"""


class Serving:
    """A running `kvmctl serve --json`; its events."""

    def __init__(self, path: Path, out: Path, *more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kvmctl", "serve", path, "--port", "0",
             "--json", "-o", out, *more], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self.events: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def wait(self, kind: str, fits: Callable[[dict[str, Any]], bool]
             = lambda event: True, number: int = 1) -> dict[str, Any]:
        """The number-th event of the kind that fits."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [e for e in list(self.events)
                        if e["event"] == kind and fits(e)]
            return len(found) >= number

        until(there, 30)
        return found[number - 1]

    def ask(self, path: str = "/") -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.wait("serving")["url"] + path, timeout=20)

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


@pytest.fixture
def project(tmp_path: Path) -> Path:
    where = tmp_path / "it"
    where.mkdir()
    (where / "it.c").write_text(_SOURCE)
    (where / "guest.toml").write_text('sources = ["it.c"]\n')
    return where


@pytest.fixture
def serving(project: Path, tmp_path: Path) -> Iterator[Serving]:
    it = Serving(project, tmp_path / "out")
    yield it
    if it.process.poll() is None:
        it.stop(signal.SIGTERM)


@pytest.mark.kvm
def test_changes_are_live(serving: Serving, project: Path) -> None:
    started = serving.wait("live")
    assert started["after"] == "the start"
    assert serving.ask("/a?b").text == "first"
    asked = serving.wait("request")
    assert asked["url"] == "/a?b" and asked["status"] == 200
    assert asked["method"] == "GET" and asked["seconds"] > 0
    serving.wait("log", lambda e: "asked" in e["message"])

    # A change of the source.
    (project / "it.c").write_text(_SOURCE.replace("first", "second"))
    live = serving.wait("live", number=2)
    assert "it.c" in live["after"]
    assert 0 < live["seconds"] < 30 and live["build_seconds"] > 0
    assert serving.ask().text == "second"

    # What does not compile is told of, and the last one serves on.
    (project / "it.c").write_text("broken;\n")
    serving.wait("error", lambda e: "it.c:1" in e["message"])
    assert serving.ask().text == "second"
    (project / "guest.toml").write_text("sources = 3\n")
    serving.wait("error", lambda e: '"sources" is a list' in e["message"])

    # It does not boot.
    (project / "it.c").write_text("int main(void) { return 0; }\n")
    (project / "guest.toml").write_text('sources = ["it.c"]\n')
    serving.wait("error", lambda e: "does not load" in e["message"])
    assert serving.ask().text == "second"

    # A site of its own appears; a failure has the function's name.
    (project / "it.c").write_text(_SOURCE)
    (project / "edge.toml").write_text(
        '[programs.it]\nguest = "."\n[[routes]]\npath_prefix = "/only"\n'
        'program = "it"\n[[routes]]\npath = "/x"\nprogram = "it"\n')
    until(lambda: serving.ask("/only").text == "first", 30)
    assert serving.ask("/other").status_code == 404
    assert serving.ask("/x").status_code == 500
    serving.wait("failure", lambda e: "on_request" in e["message"])


@pytest.mark.kvm
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays(serving: Serving, number: int) -> None:
    serving.wait("live")
    directory = Path(serving.wait("serving")["varnish"])
    # varnishd, its logs: all know the directory.
    assert running(directory)
    assert serving.stop(number) == ExitCode.OK
    assert not directory.exists() and not directory.parent.exists()
    until(lambda: not running(directory))


@pytest.mark.kvm
def test_no_varnishd_stays_after_sigkill(serving: Serving) -> None:
    serving.wait("live")
    directory = Path(serving.wait("serving")["varnish"])
    assert running(directory)
    assert serving.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not running(directory), 30)


def running(directory: Path) -> list[int]:
    """Processes that have the directory among their words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(directory) in words:
            found.append(int(path.parent.name))
    return found


@pytest.mark.kvm
def test_varnishd_that_goes_is_missed(serving: Serving) -> None:
    serving.wait("live")
    varnishd = [pid for pid in running(Path(serving.wait("serving")["varnish"]))
                if b"varnishd" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(min(varnishd), signal.SIGTERM)
    _, error = serving.process.communicate(timeout=30)
    assert serving.process.returncode == ExitCode.VARNISH
    assert "varnishd has gone" in error and "Traceback" not in error


def test_what_cannot_be_served(kvmctl: Any, tmp_path: Path) -> None:
    assert kvmctl("serve", tmp_path) == ExitCode.MANIFEST
    (tmp_path / "edge.toml").write_text('[site]\nlisten = "0.0.0.0:80"\n')
    assert kvmctl("serve", tmp_path) == ExitCode.USAGE
    assert "127.0.0.1 only" in kvmctl.err


def test_a_port_that_is_taken(kvmctl: Any, project: Path) -> None:
    import socket
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert kvmctl("serve", project, "--port", port) == ExitCode.VARNISH
        assert port in kvmctl.err


def test_sites_without_edge_toml(project: Path, tmp_path: Path) -> None:
    (project / "guest.toml").write_text('name = "1.a"\nsources = ["it.c"]\n')
    site = load_site(project)
    assert site.programs[0].guest == project
    assert load_site(project / "guest.toml") == site
    assert directories(site) == [project]
    other = tmp_path / "edge.toml"
    other.write_text('[programs.it]\nguest = "it"\n[programs.other]\n'
                     'file = "/bin/true"\n')
    assert set(directories(load_site(other))) == {
        Path("/bin/true").resolve().parent, tmp_path}


def test_no_signature_is_asked_for(tmp_path: Path) -> None:
    """Who develops builds again all the time; deployments ask."""
    file = tmp_path / "edge.toml"
    file.write_text('[site]\nname = "it"\ntrusted = "nobody"\n'
                    f'[programs.it]\nfile = "{guest("hello")}"\n')
    site = load_site(file)
    varnish = PrivateVarnish()
    varnish.directory = tmp_path
    settings = Live(varnish, tmp_path)._program(site.programs[0])
    copy = Path(settings["filename"])
    assert copy.read_bytes() == guest("hello").read_bytes()
    assert copy.is_relative_to(tmp_path)
