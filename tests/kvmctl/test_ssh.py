# SPDX-License-Identifier: BSD-2-Clause
"""Nodes behind ssh: their files, their command line, their HTTP."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmctl.errors import ExitCode
from kvmctl.varnish.private import PrivateVarnish
from support import fake_ssh
from support.node import Node
from support.paths import guest

pytestmark = pytest.mark.kvm


class Far(Node):
    """The same varnishd, reached through ssh, with a store of its own."""

    def __init__(self, varnish: PrivateVarnish, kvmctl: Any,
                 directory: Path) -> None:
        super().__init__(varnish, kvmctl, directory)
        self.there = directory / "there"
        self.where = ("--store", str(self.store))
        self.destination = "far"
        self.log = directory / "ssh.log"

    def write(self, name: str, body: str = "", **settings: Any) -> None:
        super().write(name, body, **settings)
        self.site.write_text(
            self.site.read_text() + f'[nodes.far]\nssh = "{self.destination}"'
            f'\nname = "{self.varnish.node.name}"\nstore = "{self.there}"\n')


@pytest.fixture
def far(kvmctl: Any, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> Iterator[Far]:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {sys.executable} -SE '
                   f'{fake_ssh.__file__} "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("KVMCTL_SSH", str(ssh))
    monkeypatch.setenv("FAKE_SSH_LOG", str(tmp_path / "ssh.log"))
    with PrivateVarnish() as varnish:
        yield Far(varnish, kvmctl, tmp_path)
        assert varnish.admin.panics() is None


def test_deploy_status_rollback(far: Far) -> None:
    far.write("hello")
    first = far.deploy()
    assert far.ask() == "Hello, World!\n"
    digest = hashlib.sha256(guest("hello").read_bytes()).hexdigest()
    artefact = far.there / "it" / "programs" / digest
    assert artefact.read_bytes() == guest("hello").read_bytes()
    # The node reads its own copies, not those of this side's store.
    vcl = (far.there / "it" / "releases" / f"{first}.vcl").read_text()
    assert str(far.there) in vcl and str(far.store) not in vcl

    far.write("echo")
    second = far.deploy()
    assert '"url"' in far.ask()
    status = far.kvmctl.json("status", far.site, *far.where)
    assert status["active"] == second and status["programs"]
    assert far("rollback") == ExitCode.OK
    assert far.ask() == "Hello, World!\n"
    assert far("logs", "--past", "--errors") == ExitCode.OK
    assert far("metrics", "--once") == ExitCode.OK
    assert 'tinykvm_invocations_total{node="far"' in far.kvmctl.out
    assert far("deploy", "--canary", "50%") == ExitCode.OK, far.kvmctl.err
    assert far("abort") == ExitCode.OK, far.kvmctl.err
    # Old copies go when their releases do.
    for i in range(5):
        far.write("hello", main_arguments=[str(i)])
        far.deploy()
    kept = {p.name for p in (far.there / "it").rglob("*") if p.is_file()}
    assert f"{first}.vcl" not in kept and len(kept) == 5 * 2 + 1


def test_any_store_is_translated(far: Far) -> None:
    """The programs file writes its path in another way than VCL does."""
    far.store = far.store.with_name("Jörgs \\ store")
    far.where = ("--store", str(far.store))
    far.write("hello")
    name = far.deploy()
    releases = far.there / "it" / "releases"
    table = (releases / f"{name}.json").read_text().partition("\n")[2]
    (artefact,) = (far.there / "it" / "programs").iterdir()
    assert json.loads(table)["hello"]["filename"] == str(artefact)
    assert str(releases) in (releases / f"{name}.vcl").read_text()


def test_a_failure_leaves_what_another_store_deployed(far: Far) -> None:
    """Two machines deploy to one node, and each knows its own releases."""
    far.write("hello")
    first = far.deploy()
    kept = {p for p in (far.there / "it").rglob("*") if p.is_file()}
    far.where = ("--store", str(far.store.with_name("another")))
    far.write("echo", 'probe = { body = "Bonjour" }\n')
    assert far("deploy") == ExitCode.DEPLOY
    assert far.varnish.admin.active() == first
    assert {p for p in (far.there / "it").rglob("*") if p.is_file()} == kept
    # Its worker begins anew, and reads its files again.
    far.varnish.admin.command("stop")
    far.varnish.admin.command("start")
    assert far.ask() == "Hello, World!\n"
    # What is not loaded any more goes.
    far.write("echo")
    far.deploy()
    far.varnish.admin.discard(first)
    far.write("echo", main_arguments=["x"])
    far.deploy()
    assert not any(p.exists() for p in kept)


def test_a_damaged_copy_is_sent_again(far: Far) -> None:
    far.write("hello")
    far.deploy()
    (artefact,) = (far.there / "it" / "programs").iterdir()
    artefact.write_bytes(b"damaged")
    sent = far.log.read_text().count("mktemp")
    assert far("deploy", "--force") == ExitCode.OK
    assert artefact.read_bytes() == guest("hello").read_bytes()
    assert far.log.read_text().count("mktemp") == sent + 3
    # What is there whole is not sent.
    assert far("deploy", "--force") == ExitCode.OK
    assert far.log.read_text().count("mktemp") == sent + 5


def test_half_a_copy_is_none(far: Far) -> None:
    """The connection is lost: no file has its name that is not whole."""
    far.destination = "cut"
    far.write("hello")
    assert far("deploy") == ExitCode.DEPLOY
    assert "cannot write" in far.kvmctl.err
    assert "100 of " in far.kvmctl.err and "bytes came" in far.kvmctl.err
    assert not [p for p in far.there.rglob("*") if p.is_file()]


def test_what_another_deployment_writes_stays(far: Far) -> None:
    """Two nodes may share a store there; what was left goes after an hour."""
    far.write("hello")
    far.deploy()
    others = [far.there / "it" / room / f"x.partial-{age}"
              for room in ("programs", "releases") for age in ("new", "old")]
    for path in others:
        path.write_text("half")
        if path.name.endswith("old"):
            os.utime(path, (time.time() - 7200,) * 2)
    far.write("echo")
    far.deploy()
    assert [p.name for p in others if p.exists()] == ["x.partial-new"] * 2


def test_what_goes_wrong_is_told(far: Far) -> None:
    far.destination = "down"
    far.write("hello")
    assert far("deploy") == ExitCode.VARNISH
    assert "Connection refused" in far.kvmctl.err
    far.destination = "far"
    far.write("hello")
    (far.there.parent / "there").write_text("no directory")
    assert far("deploy") == ExitCode.DEPLOY
    assert "cannot write" in far.kvmctl.err and '"store"' in far.kvmctl.err
    assert far.varnish.admin.active() == "boot"
    (far.there.parent / "there").unlink()
    far.deploy()


def test_an_ssh_that_is_none(kvmctl: Any, tmp_path: Path,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no node that fails."""
    (tmp_path / "edge.toml").write_text('[nodes.far]\nssh = "far"\n'
                                        '[site]\nname = "it"\n')
    for program in (tmp_path, tmp_path / "none", tmp_path / "edge.toml"):
        monkeypatch.setenv("KVMCTL_SSH", str(program))
        for command in ("status", "deploy", "stats", "logs"):
            where = ("--store", tmp_path / "store")
            assert kvmctl(command, tmp_path / "edge.toml",
                          *where) == ExitCode.HOST
            assert f"KVMCTL_SSH names {program}" in kvmctl.err


def test_no_process_is_left(far: Far) -> None:
    far.write("hello")
    far.deploy()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True,
                          text=True, check=True).stdout
    assert fake_ssh.__file__ not in left
