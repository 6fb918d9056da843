# SPDX-License-Identifier: BSD-2-Clause
"""Many nodes: the budget of failures, taking back, drift, time."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from kvmctl import files
from kvmctl import site as sites
from kvmctl.commands import status
from kvmctl.deploy import store
from kvmctl.deploy.prepare import Prepared
from kvmctl.deploy.ship import Depot
from kvmctl.errors import ExitCode, ManifestError
from kvmctl.vcl.render import mark_of
from support.fleet import fleet_of
from support.paths import ROOT

_REAL = 2


def test_fifty_nodes(kvmctl: Any, tmp_path: Path) -> None:
    with fleet_of(kvmctl, tmp_path, 50) as fleet:
        fleet.write("a", "concurrency = 8")
        began = time.monotonic()
        result = fleet.json("deploy")
        assert time.monotonic() - began < 30
        assert [n["state"] for n in result["nodes"]] == ["done"] * 50
        name = result["nodes"][0]["outcome"]["release"]["name"]
        assert {f.state.active for f in fleet.fakes} == {name}
        assert set(fleet.json("status")["nodes"][7]) >= {"drift", "active"}
        assert not any(n["drift"] for n in fleet.json("status")["nodes"])
        assert len(fleet.json("history", "--limit", "1000")) == 50

        again = fleet.json("deploy")
        assert {n["state"] for n in again["nodes"]} == {"unchanged"}
        fleet.write("b")
        second = fleet.json("deploy")["nodes"][0]["outcome"]["release"]["name"]
        assert {f.state.active for f in fleet.fakes} == {second}
        assert fleet("rollback") == ExitCode.OK
        assert {f.state.active for f in fleet.fakes} == {name}

        # One was restarted: it serves what is in its own file again.
        fleet.fakes[3].state.vcls = {"boot": ""}
        fleet.fakes[3].state.labels = {}
        fleet.fakes[3].state.active = "boot"
        drift = {n["node"]: n["drift"] for n in fleet.json("status")["nodes"]}
        assert name in drift.pop("fake3") and not any(drift.values())
        fleet.write("a")
        mended = fleet.json("deploy")
        assert [n["state"] for n in mended["nodes"]].count("done") == 1
        assert fleet.fakes[3].state.active not in ("boot", second)


def test_beyond_the_budget_all_is_taken_back(kvmctl: Any,
                                             tmp_path: Path) -> None:
    with fleet_of(kvmctl, tmp_path, 12) as fleet:
        fleet.write("a")
        first = fleet.json("deploy")["nodes"][0]["outcome"]["release"]["name"]
        for i in (5, 7):
            fleet.fakes[i].state.faults["vcl.load"] = (106, "VCL compilation "
                                                       "failed")
        fleet.write("b", "concurrency = 3\nfailures = 1")
        assert fleet("deploy", "--json") == ExitCode.DEPLOY
        assert "fake5, fake7" in fleet.kvmctl.err
        states = fleet.states()
        assert states[5] == states[7] == "failed"
        assert states[0] == "taken back" and states[11] == "skipped"
        assert {f.state.active for f in fleet.fakes} == {first}
        # Two may fail: the others go on, and the command says who did not.
        assert fleet("deploy", "--failures", "2") == ExitCode.FAILED
        assert "fake5, fake7 failed" in fleet.kvmctl.err
        assert sum(f.state.active != first for f in fleet.fakes) == 10
        for i in (5, 7):
            fleet.fakes[i].state.faults.clear()
        assert fleet("deploy", "--node", "fake5", "--node",
                     "fake7") == ExitCode.OK
        assert all(f.state.active != first for f in fleet.fakes)
        # The first node fails: no other is touched.
        fleet.fakes[0].state.faults["vcl.use"] = (0, None)
        fleet.write("c")
        assert fleet("deploy", "--json") == ExitCode.DEPLOY
        assert fleet.states() == ["failed"] + ["skipped"] * 11


def test_an_abort_goes_everywhere(kvmctl: Any, tmp_path: Path) -> None:
    """No node keeps its canary because another one fails, or has none."""
    with fleet_of(kvmctl, tmp_path, 5) as fleet:
        fleet.write("a")
        first = fleet.json("deploy")["nodes"][0]["outcome"]["release"]["name"]
        fleet.write("b")
        some = [w for i in (0, 1, 3, 4) for w in ("--node", f"fake{i}")]
        assert fleet("deploy", "--canary", "10%", *some) == ExitCode.OK
        for i in (0, 3):
            fleet.fakes[i].state.faults["vcl.use"] = (300, "no")
        assert fleet("abort", "--json") == ExitCode.FAILED
        assert "fake0, fake3 failed" in fleet.kvmctl.err
        assert "--node" in fleet.kvmctl.err
        assert fleet.states() == ["failed", "done", "unchanged", "failed",
                                  "done"]
        assert [f.state.active == first for f in fleet.fakes] == [
            False, True, True, False, True]
        for i in (0, 3):
            fleet.fakes[i].state.faults.clear()
        assert fleet("abort", "--json") == ExitCode.OK
        assert fleet.states() == ["done", "unchanged", "unchanged", "done",
                                  "unchanged"]
        assert {f.state.active for f in fleet.fakes} == {first}
        # One alone that has none is told so.
        assert fleet("abort", "--node", "fake2") == ExitCode.DEPLOY
        assert "no canary" in fleet.kvmctl.err


def test_an_error_of_this_side_counts_as_the_nodes(
        kvmctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk has against one node: the others are taken back."""
    put, asked = Depot.put_programs, []

    def put_programs(self: Depot, prepared: Prepared) -> None:
        asked.append(1)
        if len(asked) == 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        put(self, prepared)

    with fleet_of(kvmctl, tmp_path, 4) as fleet:
        fleet.write("a")
        first = fleet.json("deploy")["nodes"][0]["outcome"]["release"]["name"]
        monkeypatch.setattr(Depot, "put_programs", put_programs)
        fleet.write("b", "concurrency = 1")
        assert fleet("deploy", "--json") == ExitCode.DEPLOY
        assert fleet.states() == ["taken back"] * 2 + ["failed", "skipped"]
        assert "ulimit -n" in fleet.kvmctl.out
        assert {f.state.active for f in fleet.fakes} == {first}


def test_nor_does_it_hide_the_other_nodes(
        kvmctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = status.look

    def of_all_but_one(site: Any, node: Any, store: Any) -> Any:
        if str(node) == "fake1":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return look(site, node, store)

    with fleet_of(kvmctl, tmp_path, 3) as fleet:
        fleet.write("a")
        assert fleet("deploy") == ExitCode.OK
        monkeypatch.setattr(status, "look", of_all_but_one)
        assert fleet("status") == ExitCode.VARNISH
        assert "ulimit -n" in fleet.kvmctl.out
        assert fleet.kvmctl.out.count("as it should be") == 2
        assert fleet("metrics", "--once") == ExitCode.OK
        assert 'kvmctl_node_up{node="fake1"} 0.0' in fleet.kvmctl.out


def test_a_switch_that_cannot_be_noted_is_none(
        kvmctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when the history is to say who serves."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        for word in "ab":
            fleet.write(word)
            serving = fleet.json("deploy")["release"]["name"]

        def full(path: Path, data: bytes, mode: int = 0o644,
                 synced: bool = False) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

        monkeypatch.setattr(files, "write_whole", full)
        assert fleet("rollback") == ExitCode.DEPLOY
        assert "No space left" in fleet.kvmctl.err
        assert fleet.fakes[0].state.active == serving
        assert not fleet.json("status")["drift"]


def test_a_rollback_is_to_what_served(kvmctl: Any, tmp_path: Path) -> None:
    """Not to the newest older release, which was rolled back from itself."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        names = []
        for word in "abcdef":
            if word == "f":
                assert fleet("rollback", "--to", names[0]) == ExitCode.OK
            fleet.write(word)
            names.append(fleet.json("deploy")["release"]["name"])
        # The oldest of all that are kept, and the one that is needed.
        assert fleet("rollback") == ExitCode.OK
        assert fleet.fakes[0].state.active == names[0]
        assert fleet("rollback") == ExitCode.DEPLOY
        assert fleet.fakes[0].state.active == names[0]
        fleet.write("g")
        fleet.json("deploy")
        assert fleet("rollback") == ExitCode.OK
        assert fleet.fakes[0].state.active == names[0]


def test_the_word_of_probes_is_not_replaced(
        kvmctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by somebody who may write in the store, and not read the word."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        fleet.write("a")
        first = fleet.json("deploy")["release"]["name"]
        token = tmp_path / "store" / "fleet" / "token"
        word, read_text = token.read_text(), Path.read_text
        assert token.stat().st_mode & 0o777 == 0o640

        def denied(path: Path, *more: Any) -> str:
            if path == token:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES),
                                      str(path))
            return read_text(path, *more)

        monkeypatch.setattr(Path, "read_text", denied)
        fleet.write("b")
        for command in ("deploy", "status", "rollback"):
            assert fleet(command) == ExitCode.DEPLOY
            assert f"{token}: Permission denied" in fleet.kvmctl.err
        monkeypatch.undo()
        assert token.read_text() == word
        assert fleet.fakes[0].state.active == first


def test_nobody_else_holds_the_lock(tmp_path: Path) -> None:
    """Whoever may read a file may lock it, and so keep others out."""
    files_of_it = store.Store(tmp_path, "it")
    files_of_it.directory.mkdir()
    for _ in range(2):
        with files_of_it.locked():
            lock = files_of_it.directory / "lock"
            assert lock.stat().st_mode & 0o777 == 0o600
        lock.chmod(0o644)               # as it was once made


def test_what_is_over_is_no_failure(kvmctl: Any, tmp_path: Path) -> None:
    """A command is given up or done; what is left is for the next one."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        state = fleet.fakes[0].state
        first, name = fleet.canary()
        state.faults["vcl.discard"] = (300, "no")
        assert fleet("promote", "--force") == ExitCode.OK, fleet.kvmctl.err
        assert state.active == name and f"{name}-canary" in state.vcls
        state.faults.clear()
        fleet.write("c")
        assert fleet("deploy") == ExitCode.OK
        assert f"{name}-canary" not in state.vcls
        # Who hands on to labels is asked after the switch.
        state.faults["vcl.deps"] = (300, "no")
        assert fleet("rollback", "--to", first) == ExitCode.OK
        assert state.active == first


def test_a_canary_of_another_store(kvmctl: Any, tmp_path: Path) -> None:
    """Its history is on another machine; nothing ends it by the way."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        state = fleet.fakes[0].state
        first, name = fleet.canary()
        router, there = state.active, tmp_path / "store"
        there.rename(tmp_path / "elsewhere")
        for words in (("deploy",), ("deploy", "--canary", "1%"), ("rollback",)):
            assert fleet(*words) == ExitCode.DEPLOY
            assert f"{name}-canary" in fleet.kvmctl.err
            assert f"varnishadm vcl.use {first}" in fleet.kvmctl.err
            assert state.active == router
        state.active = first                    # as it says
        assert fleet("deploy") == ExitCode.OK


def test_a_store_that_varnish_cannot_read(kvmctl: Any,
                                          tmp_path: Path) -> None:
    """As under an umask of 027: the message says what to do."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        fleet.write()
        where = tmp_path / "store" / "fleet"
        fleet.fakes[0].state.faults["vcl.load"] = (
            106, "Message from VCC-compiler:\nCannot read file "
            f"'{where}/releases/x.vcl' (Permission denied)")
        assert fleet("deploy") == ExitCode.VARNISH
        assert f"chmod -R go+rX {where}" in fleet.kvmctl.err


def test_what_serves_outlives_its_history(kvmctl: Any,
                                          tmp_path: Path) -> None:
    """A history that was damaged is put aside; its releases serve on."""
    with fleet_of(kvmctl, tmp_path, 2) as fleet:
        there = tmp_path / "store" / "fleet"
        fleet.write("a")
        assert fleet("deploy") == ExitCode.OK
        kept = {p for room in ("programs", "releases")
                for p in (there / room).iterdir()}
        (there / "history.json").rename(there / "history.json.damaged-1")
        fleet.fakes[1].state.faults["vcl.load"] = (106, "no")
        fleet.write("b", "failures = 1")
        assert fleet("deploy") == ExitCode.FAILED
        # The second node serves them, and the first one may go back.
        assert all(p.exists() for p in kept)
        # What failed is gone, and so is what was half written.
        (there / "releases" / ".partial-x").touch()
        fleet.fakes[0].state.faults["vcl.load"] = (106, "no")
        before = set((there / "releases").iterdir())
        fleet.write("c")
        assert fleet("deploy") == ExitCode.DEPLOY
        assert set((there / "releases").iterdir()) == {
            p for p in before if not p.name.startswith(".")}


def test_the_first_vcl_of_a_node(kvmctl: Any, tmp_path: Path) -> None:
    """The child process starts with it; else it stays active, and its files."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        state = fleet.fakes[0].state
        state.vcls, state.active, state.child = {}, "", "stopped"
        state.faults["start"] = (300, "Child failed on launch")
        fleet.write("a")
        assert fleet("deploy") == ExitCode.VARNISH
        assert "Child failed on launch" in fleet.kvmctl.err
        failed, there = state.active, tmp_path / "store" / "fleet"
        files_of_it = {there / "releases" / f"{failed}.{kind}"
                       for kind in ("vcl", "json")}
        files_of_it |= set((there / "programs").iterdir())
        assert all(p.exists() for p in files_of_it) and len(files_of_it) == 3
        # The same again is no "serves already".
        assert fleet("deploy") == ExitCode.VARNISH
        assert state.active == failed
        assert all(p.exists() for p in files_of_it)
        state.faults.clear()
        name = fleet.json("deploy")["release"]["name"]
        assert (state.active, state.child) == (name, "running")
        # Who stopped it since then had reasons.
        state.child = "stopped"
        fleet.write("b")
        assert fleet("deploy") == ExitCode.DEPLOY
        assert "does not run" in fleet.kvmctl.err and state.active == name


def test_what_the_history_forgets_leaves_nothing(
        kvmctl: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_REMEMBERED", 2)
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        names = []
        for n in range(7):
            for fault in ({"vcl.use": (300, "no")}, {}):
                fleet.fakes[0].state.faults = fault
                fleet.write(f"{n} {len(fault)}")
                assert (fleet("deploy") == ExitCode.OK) == (not fault)
            names.append(fleet.fakes[0].state.active)
        there = tmp_path / "store" / "fleet" / "releases"
        assert {p.stem for p in there.iterdir()} == set(names[-5:])


def test_a_plan_tells_no_secret(kvmctl: Any, tmp_path: Path) -> None:
    """Those who review it need not be those who may update programs."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        for key, shown in (("hush", "+programs.hello.key = (secret)"),
                           ("other", "+programs.hello.key = (another secret)"),
                           ("", "-programs.hello.key = (secret)")):
            fleet.write()
            text = f'key = "{key}"\n' if key else ""
            fleet.site.write_text(fleet.site.read_text().replace(
                "[[routes]]", text + "[[routes]]"))
            for how in ((), ("--json",)):
                assert fleet("plan", *how) == ExitCode.OK
                assert shown in fleet.kvmctl.out
                assert not key or f'"{key}' not in fleet.kvmctl.out
                assert "hush" not in fleet.kvmctl.out
            assert fleet("deploy") == ExitCode.OK, fleet.kvmctl.err


def test_a_plan_tells_no_token_and_no_variable(kvmctl: Any,
                                               tmp_path: Path) -> None:
    """Of both, that is: of what serves, and of what is to come."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        def write(variables: str, path: str) -> None:
            fleet.write()
            fleet.site.write_text(fleet.site.read_text().replace(
                "[[routes]]", f"environment = {variables}\n[[routes]]").replace(
                'path = "/"', f'path = "{path}"'))

        write('["PASSWORD=hush", "HOST=a", "FLAG"]', "/")
        assert fleet("plan") == ExitCode.OK
        assert '== "(token)")' in kvmctl.out and '"(mark)"' in kvmctl.out
        token = (tmp_path / "store" / "fleet" / "token").read_text()
        name = fleet.json("deploy")["release"]["name"]
        marks = {mark_of(token, n) for n in (name, "RELEASE")}
        serves = (tmp_path / "store" / "fleet" / "releases"
                  / f"{name}.vcl").read_text()
        assert token in serves and mark_of(token, name) in serves
        write('["PASSWORD=hush", "HOST=b", "NEW=x=y"]', "/other")
        (tmp_path / "vcl.d").mkdir()
        for how in ((), ("--json",)):
            assert fleet("plan", *how) == ExitCode.OK
            text = kvmctl.out.replace('\\"', '"')
            assert '+programs.hello.environment = ["PASSWORD=(secret)", ' \
                '"HOST=(another secret)", "NEW=(secret)"]' in text
            assert '-programs.hello.environment = ["PASSWORD=(secret)", ' \
                '"HOST=(secret)", "FLAG"]' in text
            assert not any(word in text for word in
                           ("hush", token, *marks, "x=y", "HOST=b"))
        # Where the lines themselves are shown, they have words in their place.
        (tmp_path / "vcl.d" / "guard.vcl.j2").write_text(
            (ROOT / "vcl" / "guard.vcl.j2").read_text().replace(
                "X-Kvmctl-Route;", "X-Kvmctl-Route; # changed"))
        assert fleet("plan") == ExitCode.OK
        assert ' \tif (req.http.X-Kvmctl-Probe == "(token)")' in kvmctl.out
        assert token not in kvmctl.out


def test_a_canary_that_nothing_judges(kvmctl: Any, tmp_path: Path) -> None:
    """A node by its address alone has no counters."""
    with fleet_of(kvmctl, tmp_path, 1) as fleet:
        fleet.write("a")
        first = fleet.json("deploy")["release"]["name"]
        fleet.write("b")
        assert fleet("deploy", "--canary", "10%", "--watch",
                     "5") == ExitCode.DEPLOY
        assert "cannot be read" in fleet.kvmctl.err
        # It was not begun: nobody would end it.
        assert fleet.fakes[0].state.active == first
        assert len(fleet.json("history")) == 1
        name = fleet.json("deploy", "--canary", "10%")["release"]["name"]
        assert fleet("promote") == ExitCode.DEPLOY
        assert "cannot be read" in fleet.kvmctl.err
        assert fleet.json("status")["canary"]["release"] == name
        assert fleet("promote", "--force") == ExitCode.OK
        assert fleet.fakes[0].state.active == name


def test_nodes_that_are_not_there(kvmctl: Any, tmp_path: Path) -> None:
    with fleet_of(kvmctl, tmp_path, 3) as fleet:
        fleet.write()
        assert fleet("deploy") == ExitCode.OK
        fleet.fakes[1].close()
        assert fleet("status") == ExitCode.VARNISH
        assert "fake1" in fleet.kvmctl.err and "fake2" in fleet.kvmctl.out
        fleet.write("x")
        assert fleet("deploy") == ExitCode.DEPLOY
        assert "cannot reach fake1" in fleet.kvmctl.out
        assert fleet("plan") == ExitCode.FAILED
        assert fleet("deploy", "--node", "fake9") == ExitCode.USAGE
        assert fleet("deploy", "--concurrency", "0") == ExitCode.USAGE


@pytest.mark.kvm
def test_real_ones_among_fakes(kvmctl: Any, tmp_path: Path) -> None:
    with fleet_of(kvmctl, tmp_path, 10, _REAL) as fleet:
        fleet.write("a", probe="")
        # Fakes have no HTTP: their probes fail, which is said.
        assert fleet("deploy", "--failures", "10") == ExitCode.FAILED
        assert '"http" in [nodes]' in fleet.kvmctl.out
        first = fleet.real[0].admin.active()
        assert first != "boot" and fleet.fakes[0].state.active == "boot"
        fleet.write("b", probe='probe = { body = "Bonjour" }')
        assert fleet("deploy", "--failures", "11",
                     "--json") == ExitCode.DEPLOY
        assert [v.admin.active() for v in fleet.real] == [first] * _REAL
        fleet.write("b")
        plan = fleet.json("plan", "--node", "real1")["nodes"][0]
        assert plan["changes"] and plan["programs"] == {
            "hello": "has other settings"}
        assert '+programs.hello.main_arguments = ["b"]' in plan["lines"]
        assert fleet("deploy") == ExitCode.OK
        assert fleet.real[0].admin.active() == fleet.real[1].admin.active()
        assert not fleet.json("plan", "--node", "real1")["nodes"][0]["changes"]


@pytest.mark.kvm
@pytest.mark.long
def test_fifty_nodes_of_which_ten_are_real(kvmctl: Any,
                                           tmp_path: Path) -> None:
    with fleet_of(kvmctl, tmp_path, 40, 10) as fleet:
        for arguments in "ab":
            fleet.write(arguments, "concurrency = 8")
            assert fleet("deploy") == ExitCode.OK, fleet.kvmctl.out
        names = {f.state.active for f in fleet.fakes}
        names |= {v.admin.active() for v in fleet.real}
        assert len(names) == 1
        for varnish in fleet.real:
            with requests.Session() as session:
                session.trust_env = False
                assert session.get(varnish.url, timeout=20).status_code == 200
        fleet.fakes[30].state.faults["vcl.load"] = (106, "no")
        fleet.write("c", "concurrency = 8")
        assert fleet("deploy") == ExitCode.DEPLOY
        assert names == {f.state.active for f in fleet.fakes} | {
            v.admin.active() for v in fleet.real}


@pytest.mark.parametrize("text, words", [
    ('[nodes.a]\nname = "a"\naddress = "b:1"', "either"),
    ('[nodes.a]\naddress = "b"', "HOST:PORT"),
    ('[nodes.a]\nssh = "-oProxyCommand=x"', "destination"),
    ('[nodes.a]\nstore = "/x"', "ssh"),
    ('[nodes.a]\nssh = "a"\nstore = "x"', "absolute"),
    ('[nodes.a]\nadress = "b:1"', "did you mean"),
    ('[nodes."a b"]\nname = "a"', "no name"),
    ('[rollout]\nconcurrency = 0', "concurrency"),
    ('[rollout]\nfailures = -1', "failures"),
])
def test_inventories_that_are_wrong(text: str, words: str,
                                    tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(text)
    with pytest.raises(ManifestError, match=words):
        sites.load(tmp_path / "edge.toml")
