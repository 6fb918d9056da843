# SPDX-License-Identifier: BSD-2-Clause
"""Ctrl-C: what was begun is ended, and what was done is taken back."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmctl import interrupt
from kvmctl.environment import Environment
from kvmctl.varnish.private import PrivateVarnish
from support.fake_varnish import State
from support.fleet import fleet_of
from support.node import Node
from support.paths import GUESTS
from support.wait import until

_INTERRUPTED = 130


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said beside results, as it is said."""
    said: list[str] = []
    monkeypatch.setattr(Environment, "note",
                        lambda self, text: said.append(text))
    return said


def press_twice(state: State, command: str, notes: list[str]) -> Callable[
        [], None]:
    """Ctrl-C while the node has not answered the command; and again.

    What is returned waits for all that.
    """
    gate = state.gates[command] = threading.Event()
    state.asked.clear()

    def press() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def run() -> None:
        until(lambda: command in state.asked)
        press()
        until(lambda: len(notes) == 1)
        press()
        until(lambda: len(notes) == 2)
        gate.set()

    thread = threading.Thread(target=run)
    thread.start()
    return thread.join


@pytest.mark.parametrize("words", [
    ("deploy", "vcl.load"), ("rollback", "vcl.use")])
def test_a_rollout_is_taken_back(kvmctl: Any, tmp_path: Path,
                                 notes: list[str],
                                 words: tuple[str, str]) -> None:
    with fleet_of(kvmctl, tmp_path, 4) as fleet:
        for arguments in "ab":
            fleet.write(arguments, "concurrency = 1")
            assert fleet("deploy") == 0, kvmctl.err
        serving = {f.state.active for f in fleet.fakes}
        fleet.write("c", "concurrency = 1")
        ended = press_twice(fleet.fakes[1].state, words[1], notes)
        assert fleet(words[0]) == _INTERRUPTED
        ended()
        rows = [row.split(maxsplit=1) for row in kvmctl.out.splitlines()]
        assert [state.split("  ")[0] for _, state in rows] == [
            "taken back", "taken back", "skipped", "skipped"]
        assert kvmctl.out.count(f"{serving.copy().pop()} serves again") == 2
        assert {f.state.active for f in fleet.fakes} == serving
        assert "then taking back" in notes[0] and "as long as" in notes[1]
        # Nothing is left of it, and the next one goes on.
        fleet.write("d")
        assert fleet("deploy") == 0, kvmctl.err


def test_one_node_alone(kvmctl: Any, tmp_path: Path,
                        notes: list[str]) -> None:
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        fleet.write("a")
        assert fleet("deploy") == 0, kvmctl.err
        state = fleet.fakes[0].state
        serving = state.active
        fleet.write("b")
        ended = press_twice(state, "vcl.load", notes)
        assert fleet("deploy", "--json") == _INTERRUPTED
        ended()
        assert fleet.states() == ["taken back"]
        assert state.active == serving
        # A step that fails then has failed.
        state.faults["vcl.load"] = (106, "no")
        notes.clear()
        ended = press_twice(state, "vcl.load", notes)
        assert fleet("deploy", "--json") == _INTERRUPTED
        ended()
        assert fleet.states() == ["failed"] and state.active == serving


def test_who_served_nothing_cannot_go_back(kvmctl: Any, tmp_path: Path,
                                           notes: list[str]) -> None:
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        state = fleet.fakes[0].state
        state.vcls, state.active = {}, ""
        fleet.write("a")
        ended = press_twice(state, "vcl.load", notes)
        assert fleet("deploy", "--json") == _INTERRUPTED
        ended()
        assert fleet.states() == ["not taken back"]
        assert "served nothing before" in kvmctl.out


def test_only_the_main_thread_hears_it() -> None:
    def look() -> None:
        with interrupt.heeded(print, "") as stop:
            seen.append((stop.is_set(), interrupt.is_heeded(),
                         signal.getsignal(signal.SIGINT)))

    seen: list[Any] = []
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    # Nor does anybody where it is ignored.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    look()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert seen == [(False, False, signal.default_int_handler),
                    (False, False, signal.SIG_IGN)]


@pytest.mark.kvm
def test_a_watch_ends_at_once(kvmctl: Any, tmp_path: Path) -> None:
    """Nobody is promoted by it, and nothing of the canary is left."""
    with PrivateVarnish() as varnish:
        node = Node(varnish, kvmctl, tmp_path)
        node.write("hello")
        first = node.deploy()
        node.write("echo")
        with subprocess.Popen(
                [sys.executable, "-m", "kvmctl", "deploy", str(node.site),
                 *node.where, "--canary", "50%", "--watch", "60",
                 "--min-requests", "1"],
                start_new_session=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
                env=os.environ | {"KVMCTL_OUT": str(GUESTS)}) as process:
            until(lambda: any(r["state"] == "canary" for r in kvmctl.json(
                "history", node.site, *node.where)))
            # As a terminal does it: the whole group.
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=20)
        assert process.returncode == _INTERRUPTED
        assert "taken back" in out and "then taking back" in err
        assert "Traceback" not in err
        assert varnish.admin.active() == first
        assert node.ask() == "Hello, World!\n"
        assert not any("canary" in v.name for v in varnish.admin.vcls())
        states = [r["state"] for r in kvmctl.json("history", node.site,
                                                  *node.where)]
        assert sorted(states) == ["aborted", "serving"]
