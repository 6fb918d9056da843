# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl is killed in the middle: the node serves, the next command goes on."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from kvmctl.errors import ExitCode
from kvmctl.varnish.private import PrivateVarnish
from support.node import Node
from support.paths import GUESTS
from support.wait import until

pytestmark = pytest.mark.kvm

PROGRAMS = ("hello", "echo")


@pytest.fixture
def node(kvmctl: Any, tmp_path: Path) -> Iterator[Node]:
    # A thread of a deployment starts it anew, and ends.
    with PrivateVarnish(mortal=False) as varnish:
        yield Node(varnish, kvmctl, tmp_path)
        assert varnish.admin.panics() is None


def started(node: Node, *words: str) -> "subprocess.Popen[bytes]":
    """A kvmctl of its own, in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "kvmctl", words[0], str(node.site),
         *node.where, *words[1:]], start_new_session=True,
        env=os.environ | {"KVMCTL_OUT": str(GUESTS)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Visitor(threading.Thread):
    """Asks all the time; what was answered wrong."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.wrong, self.asked = url, [], 0  # type: ignore[var-annotated]
        self._stop_it = threading.Event()

    def run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._stop_it.is_set():
                answer = session.get(self.url, timeout=20)
                self.asked += 1
                if answer.status_code != 200 or not (
                        answer.text == "Hello, World!\n"
                        or '"url":"/"' in answer.text):
                    self.wrong.append((answer.status_code, answer.text))

    def end(self) -> None:
        self._stop_it.set()
        self.join(30)


def killed_often(node: Node, times: int, seed: int) -> None:
    dice = random.Random(seed)
    node.write("hello")
    node.deploy()
    began = time.monotonic()
    node.write("echo")
    first = started(node, "deploy")
    assert first.wait(60) == 0
    whole = time.monotonic() - began
    visitor = Visitor(node.varnish.url + "/")
    visitor.start()
    ended = 0
    for i in range(times):
        node.write(PROGRAMS[i % 2], main_arguments=[str(i)])
        words = ("deploy",)
        if i % 5 == 3:
            words = ("deploy", "--canary", "50%")       # type: ignore[assignment]
        process = started(node, *words)
        try:
            process.wait(dice.uniform(0, whole * 1.1))
            ended += 1
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert node.ask() in ("Hello, World!\n",) or '"url"' in node.ask()
        # Whatever is said after a kill, no command stumbles over it.
        status = node.kvmctl.json("status", node.site, *node.where)
        assert status["child"] == "running" and status["active"]
        if status["canary"]:
            assert node("abort") == ExitCode.OK, node.kvmctl.err
    assert ended < times
    visitor.end()
    assert not visitor.wrong and visitor.asked > times
    # The next deployment goes on, and tidies up.
    node.write("hello", main_arguments=["last"])
    last = node.deploy()
    assert node.ask() == "Hello, World!\n"
    states = [r["state"] for r in node.kvmctl.json(
        "history", node.site, *node.where, "--limit", "1000")]
    assert states.count("serving") == 1 and "candidate" not in states
    loaded = [v.name for v in node.varnish.admin.vcls()
              if v.name.startswith("it-")]
    assert last in loaded and len(loaded) <= 5
    assert not [f for f in node.files() if ".partial" in f]


def test_half_a_history_goes(node: Node) -> None:
    """What was killed while it wrote the history leaves that beside it."""
    node.write("hello")
    node.deploy()
    (node.store / "it" / ".partial-x").write_text("[")
    node.write("hello", main_arguments=["x"])
    node.deploy()
    assert not [f for f in node.files() if ".partial" in f]


def test_killed_a_few_times(node: Node) -> None:
    killed_often(node, 8, 1)


@pytest.mark.long
def test_killed_fifty_times(node: Node) -> None:
    killed_often(node, 50, 2)


def test_the_first_deployment_is_killed(node: Node) -> None:
    """Its private varnishd, which answers the probes, ends with it."""
    node.varnish.admin.command("stop")      # so that it is a private one
    node.write("hello")
    for delay in (0.6, 0.9, 1.2):
        process = started(node, "deploy")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        children = [p for p in Path("/proc").glob("[0-9]*")
                    if parent(p) == process.pid]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        until(lambda: not any(p.exists() for p in children))
    node.varnish.admin.command("start")
    node.deploy()
    assert node.ask() == "Hello, World!\n"


def parent(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2]
                   .split()[1])
    except OSError:
        return None


def test_two_at_once(node: Node) -> None:
    """One wins, the other says so; whoever wins is whole."""
    node.write("hello")
    node.deploy()
    node.write("echo", main_arguments=["x"])
    both = [subprocess.Popen(
        [sys.executable, "-m", "kvmctl", "deploy", str(node.site),
         *node.where], env=os.environ | {"KVMCTL_OUT": str(GUESTS)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)]
    said = [p.communicate(timeout=60) for p in both]
    codes = sorted(p.returncode for p in both)
    assert codes in ([0, 0], [0, ExitCode.DEPLOY])
    if codes != [0, 0]:
        assert any("another deployment" in err for _, err in said)
    else:
        assert any("nothing changed" in out for out, _ in said)
    assert '"url"' in node.ask()


def test_somebody_else_switches_meanwhile(node: Node,
                                          monkeypatch: pytest.MonkeyPatch
                                          ) -> None:
    """Another store, on another machine: no lock is shared."""
    from kvmctl.deploy.deployer import Deployer
    node.write("hello")
    first = node.deploy()
    node.write("echo")
    load = Deployer.load

    def and_somebody_else(self: Deployer, vcl: str) -> None:
        load(self, vcl)
        node.varnish.admin.use("boot")

    monkeypatch.setattr(Deployer, "load", and_somebody_else)
    assert node("deploy") == ExitCode.DEPLOY
    assert "somebody else" in node.kvmctl.err
    assert node.varnish.admin.active() == "boot"
    monkeypatch.undo()
    monkeypatch.setenv("KVMCTL_OUT", str(GUESTS))
    status = node.kvmctl.json("status", node.site, *node.where)
    assert first in status["drift"]
    assert node("deploy") == ExitCode.OK


def test_varnishd_is_restarted_between_load_and_use(
        node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    from kvmctl.deploy.deployer import Deployer
    node.write("hello")
    node.deploy()
    node.write("echo")
    switch = Deployer.switch

    def and_restart(self: Deployer, *args: Any) -> None:
        node.varnish.restart()
        switch(self, *args)

    monkeypatch.setattr(Deployer, "switch", and_restart)
    code = node("deploy")
    assert code in (ExitCode.DEPLOY, ExitCode.VARNISH)
    assert "restarted" in node.kvmctl.err
    monkeypatch.undo()
    monkeypatch.setenv("KVMCTL_OUT", str(GUESTS))
    until(lambda: node("status") == ExitCode.OK)
    assert "drift" in node.kvmctl.out
    node.deploy()
    assert '"url"' in node.ask()


def test_the_child_restarts_with_what_serves(node: Node) -> None:
    node.write("hello")
    name = node.deploy()
    node.varnish.admin.command("stop")
    status = node.kvmctl.json("status", node.site, *node.where)
    assert "stopped" in status["drift"]
    node.write("echo")
    assert node("deploy") == ExitCode.DEPLOY
    assert node.varnish.admin.active() == name
    node.varnish.admin.command("start")
    until(lambda: node.ask() == "Hello, World!\n")


def test_a_full_disk(node: Node, tmp_path: Path,
                     monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from kvmctl import files
    node.write("hello")
    first = node.deploy()
    whole = files.write_whole

    def full(path: Path, data: bytes, mode: int = 0o644,
             synced: bool = False) -> None:
        if path.suffix == ".vcl":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(path, data, mode, synced)

    monkeypatch.setattr(files, "write_whole", full)
    node.write("echo")
    assert node("deploy") == ExitCode.DEPLOY
    assert "No space left" in node.kvmctl.err and "--store" in node.kvmctl.err
    assert node.varnish.admin.active() == first
    monkeypatch.setattr(files, "write_whole", whole)
    node.deploy()
    # And a store that cannot be written at all.
    (tmp_path / "file").write_text("")
    for command in ("deploy", "rollback", "abort", "promote"):
        assert node.kvmctl(command, node.site, "-n", node.varnish.node.name,
                           "--store", tmp_path / "file") == ExitCode.DEPLOY
        assert "--store" in node.kvmctl.err
