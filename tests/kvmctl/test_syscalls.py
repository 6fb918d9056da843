# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl syscalls: the document says what the code does."""

import json

import pytest

from kvmctl import cli
from kvmctl.commands import syscalls
from kvmctl.engine import Engine
from support.paths import ROOT


def test_the_document_is_the_table() -> None:
    with Engine() as engine:
        text = syscalls.markdown(engine.linux_calls())
    have = (ROOT / "vmod" / "core" / "linux" / "CALLS.md").read_text()
    assert have == text, \
        "run: kvmctl syscalls --markdown > vmod/core/linux/CALLS.md"


def test_every_row_is_complete() -> None:
    with Engine() as engine:
        calls = engine.linux_calls()
    assert {"read", "futex", "clone3", "epoll_wait"} <= {
        c["name"] for c in calls}
    for c in calls:
        assert c["support"] in ("full", "partial", "refused")
        # What is not all of it, says how far it goes.
        assert c["support"] == "full" or c["note"], c["name"]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    from kvmctl.environment import Environment
    assert cli.invoke(["syscalls", "--json"], Environment()) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
