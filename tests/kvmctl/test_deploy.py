# SPDX-License-Identifier: BSD-2-Clause
"""Deployments to a real varnishd: what fails leaves everything as it was."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmctl.errors import ExitCode, VarnishError
from kvmctl.varnish import vsm
from kvmctl.varnish.private import PrivateVarnish
from support.node import Node
from support.paths import guest
from support.wait import until

pytestmark = pytest.mark.kvm


@pytest.fixture
def node(kvmctl: Any, tmp_path: Path) -> Iterator[Node]:
    with PrivateVarnish() as varnish:
        yield Node(varnish, kvmctl, tmp_path)
        assert varnish.admin.panics() is None


def test_deploy_change_rollback(node: Node) -> None:
    node.write("hello")
    first = node.deploy()
    assert node.ask() == "Hello, World!\n"
    assert node.varnish.admin.active() == first

    # Nothing changed: nothing is done. Forced: a new release.
    again = node.kvmctl.json("deploy", node.site, *node.where)
    assert not again["changed"] and again["release"]["name"] == first
    assert node("deploy", "--force") == ExitCode.OK

    node.write("echo")
    second = node.deploy()
    assert '"url":"/"' in node.ask()
    status = node.kvmctl.json("status", node.site, *node.where)
    assert status["active"] == second and status["child"] == "running"
    assert {r["state"] for r in status["releases"]} == {"serving", "kept"}

    assert node("rollback", "--to", first) == ExitCode.OK
    assert node.ask() == "Hello, World!\n"
    assert node.varnish.admin.active() == first
    # Older than the first there is nothing.
    assert node("rollback") == ExitCode.DEPLOY
    assert node.ask() == "Hello, World!\n"
    assert node("rollback", "--to", "no-such") == ExitCode.DEPLOY
    assert first in node.kvmctl.err


def failing(node: Node, code: int, *words: str) -> None:
    """The site's state fails to deploy; all is as it was."""
    before, files = node.varnish.admin.vcls(), node.files()
    active, answer = node.varnish.admin.active(), node.ask()
    assert node("deploy") == code, node.kvmctl.err
    for word in words:
        assert word in node.kvmctl.err
    assert "Traceback" not in node.kvmctl.err
    assert node.varnish.admin.active() == active
    assert node.ask() == answer
    assert {v.name for v in node.varnish.admin.vcls()} == {
        v.name for v in before}
    assert node.files() == files


def test_failures_leave_the_old_release(node: Node, tmp_path: Path) -> None:
    node.write("hello")
    node.deploy()

    # A program that does not boot: Varnish's words, with the reason.
    node.write("hostile-boot", main_arguments=["crash"])
    failing(node, ExitCode.VARNISH, "does not load", "null pointer", "main")

    # A route that does not answer as it should.
    node.write("hostile", '[[routes]]\npath = "/null-write"\n'
               'program = "hostile"\ncache = false\n')
    failing(node, ExitCode.DEPLOY, "number 2", "500")
    node.write("hello", 'probe = { body = "Bonjour" }\n')
    failing(node, ExitCode.DEPLOY, "number 1", "Bonjour")

    # Settings that the VMOD refuses although kvmctl let them through.
    node.write("hello", allowed_fetch=["ftp://x"])
    failing(node, ExitCode.VARNISH, "allowed_fetch", "only http and https")

    # A file that is not there; a file that is no program.
    node.site.write_text('[site]\nname = "it"\n[programs.x]\n'
                         'file = "/no/such"\n')
    failing(node, ExitCode.DEPLOY, "/no/such")
    node.site.write_text('[site]\nname = "it"\n[programs.x]\n'
                         'file = "/bin/true"\n[[routes]]\nprogram = "x"\n')
    failing(node, ExitCode.VARNISH, "dynamically linked")

    # VCL that does not compile: Varnish's message with the line.
    node.write("hello", '[[routes]]\npath_regex = "(?<n>a)(?<n>b)"\n'
               'program = "hello"\nprobe = false\n')
    failing(node, ExitCode.MANIFEST, "path_regex")
    node.write("hello", '[[routes]]\npath_regex = "a(?P<x>b)(?P=x)(?(x)c|d|e)"\n'
               'program = "hello"\nprobe = false\n')
    code = node("deploy")
    assert code in (ExitCode.VARNISH, ExitCode.MANIFEST)

    # And what is right deploys as if nothing had been.
    node.write("echo")
    node.deploy()
    assert '"url":"/"' in node.ask()


def test_old_releases_are_put_away(node: Node) -> None:
    names = []
    for i in range(8):
        node.write("hello", main_arguments=[str(i)])
        names.append(node.deploy())
    loaded = {v.name for v in node.varnish.admin.vcls()}
    assert set(names[-5:]) <= loaded and not loaded & set(names[:3])
    assert {Path(f).stem for f in node.files()
            if f.startswith("it/releases/")} == set(names[-5:])
    assert node.ask() == "Hello, World!\n"


class Bare(PrivateVarnish):
    """Without a VCL, as by -f '': its child process is not started."""

    def _is_ready(self) -> bool:
        return self.admin.status() == "stopped"

    def _command(self) -> list[str]:
        line = super()._command()
        at = line.index("-b")
        return [*line[:at], "-f", "", *line[at + 2:]]


def test_a_node_that_served_nothing(kvmctl: Any, tmp_path: Path) -> None:
    with Bare() as varnish:
        node = Node(varnish, kvmctl, tmp_path)
        node.write("hello", 'probe = { body = "Hello" }\n')
        assert varnish.admin.active() is None
        name = node.deploy()
        assert varnish.admin.active() == name
        assert varnish.admin.status() == "running"
        varnish.port = varnish.admin.listen_addresses()[0][1]
        assert node.ask() == "Hello, World!\n"


def test_an_interrupted_deployment_is_put_away(node: Node) -> None:
    node.write("hello")
    first = node.deploy()
    node.write("echo")
    second = node.deploy()
    assert node("rollback") == ExitCode.OK
    # As if the machine had stopped between the load and the switch.
    history = node.store / "it" / "history.json"
    rows = json.loads(history.read_text())
    for row in rows:
        if row["name"] == second:
            row["state"] = "candidate"
    history.write_text(json.dumps(rows))
    node.write("hello", main_arguments=["other"])
    third = node.deploy()
    states = {r["name"]: r["state"] for r in
              json.loads(history.read_text())}
    assert states == {first: "kept", second: "failed", third: "serving"}
    assert second not in {v.name for v in node.varnish.admin.vcls()}


def test_a_restarted_varnish_gets_a_kept_release_again(node: Node) -> None:
    node.write("hello")
    first = node.deploy()
    node.write("echo")
    node.deploy()
    node.varnish.admin.discard(first)
    assert node("rollback") == ExitCode.OK
    assert node.ask() == "Hello, World!\n"


def test_damaged_history_is_told(node: Node) -> None:
    node.write("hello")
    node.deploy()
    (node.store / "it" / "history.json").write_text("{")
    assert node("deploy") == ExitCode.DEPLOY
    assert "history.json" in node.kvmctl.err
    assert "doctor --fix" in node.kvmctl.err
    for command in ("status", "history", "plan", "rollback"):
        assert node(command) != ExitCode.OK
        assert "history.json" in node.kvmctl.err
    for damage in ("[1]", '[{"name": 1}]', "{}", "\0"):
        (node.store / "it" / "history.json").write_text(damage)
        assert node("deploy") == ExitCode.DEPLOY
    assert node.ask() == "Hello, World!\n"
    node.kvmctl("doctor", "--fix", "--store", node.store)
    assert "put aside" in node.kvmctl.out
    assert node("deploy") == ExitCode.OK, node.kvmctl.err
    assert list((node.store / "it").glob("history.json.damaged-*"))


def test_a_lost_store_is_no_obstacle(node: Node) -> None:
    """The node has releases of a name that the store would give again."""
    node.write("hello")
    names = {node.deploy()}
    for _ in range(3):
        shutil.rmtree(node.store)
        names.add(node.deploy())
    assert len(names) == 4
    assert node.ask() == "Hello, World!\n"
    # What a former store has left is shown.
    assert node("status") == ExitCode.OK
    assert node.kvmctl.out.count("(not by kvmctl)") == 4    # and boot


def test_a_damaged_artefact_is_written_again(node: Node) -> None:
    node.write("hello")
    node.deploy()
    artefact, = (node.store / "it" / "programs").iterdir()
    artefact.chmod(0o755)
    artefact.write_bytes(b"damaged")
    assert node("deploy", "--force") == ExitCode.OK
    assert artefact.read_bytes() == guest("hello").read_bytes()


def test_the_node_looks_at_hashes_too(node: Node) -> None:
    """Another file in the place of what was looked at here is not booted."""
    node.write("hello")
    name = node.deploy()
    artefact, = (node.store / "it" / "programs").iterdir()
    artefact.write_bytes(guest("echo").read_bytes())
    admin = node.varnish.admin
    with pytest.raises(VarnishError, match="SHA-256"):
        admin.load("again", node.store / "it" / "releases" / f"{name}.vcl")
    assert node("plan") == ExitCode.OK
    assert "nothing to do" in node.kvmctl.out
    node.write("hello", main_arguments=["x"])
    plan = node.kvmctl.json("plan", node.site, *node.where)["nodes"][0]
    assert not any("sha256" in line for line in plan["lines"])
    # A hash of edge.toml's is another matter: it is the one that counts.
    node.write("hello", sha256="0" * 64)
    assert node("deploy") == ExitCode.VARNISH
    assert "SHA-256" in node.kvmctl.err


def test_status_for_people(node: Node) -> None:
    node.write("hello")
    name = node.deploy()
    node.ask()
    assert node("status") == ExitCode.OK
    assert f"serving    {name}" in node.kvmctl.out
    assert "hello: " in node.kvmctl.out and "requests" in node.kvmctl.out


def test_a_rollback_takes_less_than_a_second(node: Node) -> None:
    """Also to a release that Varnish has let go cold."""
    node.write("hello")
    first = node.deploy()
    node.write("echo")
    second = node.deploy()
    node.varnish.admin.command("param.set", "vcl_cooldown", "1")
    until(lambda: {v.name: v.state for v in node.varnish.admin.vcls()}[first]
          == "auto/cold", 60)
    began = time.monotonic()
    assert node("rollback") == ExitCode.OK
    # The promise is for a machine that has nothing else to do.
    assert time.monotonic() - began < 5
    assert node.ask() == "Hello, World!\n"
    node.varnish.admin.command("vcl.state", second, "cold")
    assert node("rollback", "--to", second) == ExitCode.OK, node.kvmctl.err
    assert '"url"' in node.ask()


def test_by_address_and_secret(node: Node, tmp_path: Path) -> None:
    found = vsm.find(node.varnish.node.reach, node.varnish.node.name)
    host, port = found.addresses[0]
    assert found.secret is not None
    where = ("-T", f"{host}:{port}", "--store", str(node.store))
    node.write("hello", 'probe = { body = "Hello" }\n')
    (tmp_path / "wrong").write_text("wrong")
    for secret, words in ((tmp_path / "wrong", "refuses the secret"),
                          (tmp_path / "none", "cannot read the secret")):
        assert node.kvmctl("deploy", node.site, *where, "-S",
                           secret) == ExitCode.VARNISH
        assert words in node.kvmctl.err
    assert node.kvmctl("deploy", node.site, *where) == ExitCode.VARNISH
    assert node.kvmctl("deploy", node.site, *where, "-S", found.secret,
                       "--json") == ExitCode.OK, node.kvmctl.err
    assert len(json.loads(node.kvmctl.out)["probes"]) == 1
    assert node.ask() == "Hello, World!\n"
    node.write("hello", 'probe = { body = "Bonjour" }\n')
    assert node.kvmctl("deploy", node.site, *where, "-S", found.secret,
                       "--json") == ExitCode.DEPLOY
    assert "Bonjour" in json.loads(node.kvmctl.out)["error"]
    assert node.kvmctl("promote", node.site, *where, "-S",
                       found.secret) == ExitCode.DEPLOY


def test_snippets_that_do_not_compile(node: Node) -> None:
    node.write("hello")
    first = node.deploy()
    (node.site.parent / "vcl.d").mkdir()
    snippet = node.site.parent / "vcl.d" / "recv.vcl"
    snippet.write_text("nonsense;\n")
    failing(node, ExitCode.VARNISH, "nonsense")
    snippet.write_text('set req.http.X-Mine = "1";\n')
    assert node("plan") == ExitCode.OK
    assert '+set req.http.X-Mine = "1";' in node.kvmctl.out
    assert node.deploy() != first


def test_only_signed_programs(node: Node, tmp_path: Path) -> None:
    """[site] trusted: what nobody signed, or was changed since, stays out."""
    program = tmp_path / "program" / "hello"
    program.parent.mkdir()
    for name in ("hello", "hello.json"):
        shutil.copy(guest("hello").with_name(name), program.with_name(name))
    key = tmp_path / "me.pem"
    assert node.kvmctl("key", key) == ExitCode.OK

    def write(extra: str = "") -> None:
        node.site.write_text(
            f'[site]\nname = "it"\ntrusted = "me.pub"\n[programs.hello]\n'
            f'file = "{program}"\n{extra}[[routes]]\npath = "/"\n'
            'program = "hello"\ncache = false\n')

    write()
    assert node("deploy") == ExitCode.SIGNATURE
    assert "is not signed: kvmctl sign" in node.kvmctl.err
    assert node("plan") == ExitCode.SIGNATURE
    assert node.kvmctl("sign", program, "--key", key) == ExitCode.OK
    first = node.deploy()
    assert node.ask() == "Hello, World!\n"
    with program.open("ab") as file:
        file.write(b"\0")
    assert node("deploy") == ExitCode.SIGNATURE
    assert "is not what its record says" in node.kvmctl.err
    # A key that is none trusts nobody.
    (tmp_path / "me.pub").unlink()
    assert node("deploy") == ExitCode.SIGNATURE
    assert node.varnish.admin.active() == first
    assert node.ask() == "Hello, World!\n"
