# SPDX-License-Identifier: BSD-2-Clause
"""The long story of a site: clients ask all the time, and none is turned away."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from kvmctl import cli
from kvmctl.environment import Environment
from kvmctl.errors import ExitCode
from kvmctl.varnish.private import PrivateVarnish
from support.paths import GUESTS, guest
from support.wait import until

pytestmark = pytest.mark.kvm

HELLO, ECHO = "Hello, World!\n", '"url":"/'


class Clients:
    """Ask two nodes, each with a cookie of its own; what they got."""

    def __init__(self, urls: list[str], count: int = 3) -> None:
        self._stop = threading.Event()
        self.wrong: list[str] = []
        self.hellos = self.echoes = 0
        self._guard = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(url, f"c{i}"))
            for url in urls for i in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, url: str, name: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            number = 0
            while not self._stop.is_set():
                number += 1
                try:
                    answer = session.get(
                        f"{url}/page?{name}{number % 7}", timeout=20,
                        headers={"Cookie": f"id={name}{number % 20}"})
                except requests.RequestException as e:
                    self.wrong.append(str(e))
                    continue
                with self._guard:
                    self.hellos += answer.text == HELLO
                    self.echoes += ECHO in answer.text
                    if answer.status_code != 200 or not (
                            answer.text == HELLO or ECHO in answer.text):
                        self.wrong.append(f"{answer.status_code} "
                                          f"{answer.text[:200]}")

    def reset(self) -> None:
        with self._guard:
            self.hellos = self.echoes = 0

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def nodes() -> Iterator[list[PrivateVarnish]]:
    with PrivateVarnish() as one, PrivateVarnish() as other:
        yield [one, other]
        assert one.admin.panics() is None and other.admin.panics() is None


def test_a_site_s_life(nodes: list[PrivateVarnish], tmp_path: Path,
                       monkeypatch: pytest.MonkeyPatch,
                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KVMCTL_OUT", str(GUESTS))
    edge = tmp_path / "edge.toml"

    def write(program: str, more: str = "") -> None:
        rows = "".join(f'[nodes.n{i}]\nname = "{n.node.name}"\n'
                       for i, n in enumerate(nodes))
        edge.write_text(
            f'[site]\nname = "life"\n{rows}[programs.{program}]\n'
            f'file = "{guest(program)}"\n[[routes]]\npath_prefix = "/"\n'
            f'program = "{program}"\ncache = false\n{more}')

    def kvmctl(*words: str) -> tuple[int, Any]:
        code = cli.invoke([words[0], str(edge), "--store",
                           str(tmp_path / "store"), *words[1:], "--json"],
                          Environment())
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, json.loads(said.out) if said.out else None

    def done(*words: str) -> Any:
        code, said = kvmctl(*words)
        assert code == ExitCode.OK, said
        return said

    write("hello")
    assert done("plan")["nodes"][0]["changes"]
    done("deploy")
    clients = Clients([n.url for n in nodes])
    try:
        until(lambda: clients.hellos > 20)
        assert clients.echoes == 0

        # A release that does not keep its promise never serves.
        write("echo", 'probe = { body = "Bonjour" }\n')
        assert kvmctl("deploy")[0] == ExitCode.DEPLOY
        assert clients.echoes == 0

        # Half of the cookies get the canary, the others do not.
        write("echo")
        done("deploy", "--canary", "50", "--canary-cookie", "id")
        clients.reset()
        until(lambda: clients.hellos > 150 and clients.echoes > 150)
        code, said = kvmctl("promote", "--min-requests", "20")
        if code != ExitCode.OK:
            # On a busy machine either may have been the slower one.
            assert "worse" in said["error"] or any(
                "worse" in n["error"] for n in said["nodes"])
            done("promote", "--force")
        clients.reset()
        until(lambda: clients.echoes > 50)
        assert clients.hellos <= len(clients._threads)
        assert not done("plan")["nodes"][1]["changes"]

        done("rollback")
        until(lambda: clients.hellos > 50)
        status = done("status")["nodes"]
        assert not any(n["drift"] for n in status)
        assert all(n["active"] == status[0]["active"] for n in status)
        states = [r["state"] for r in done("history")]
        assert states.count("serving") == 2 and "failed" in states
        assert len(done("metrics", "--once")["nodes"]) == 2
        for _ in range(5):
            for program in ("echo", "hello"):
                write(program)
                done("deploy", "--force")
    finally:
        clients.end()
    assert not clients.wrong, clients.wrong[:5]

    # One node restarts with nothing; a deployment brings it back.
    nodes[1].restart()
    drift = {n["node"]: n["drift"] for n in done("status")["nodes"]}
    assert not drift["n0"] and "boot serves" in drift["n1"].replace(
        "boot does", "boot serves")
    again = done("deploy")
    assert [n["state"] for n in again["nodes"]] == ["unchanged", "done"]
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(nodes[1].url + "/x", timeout=20).text == HELLO
