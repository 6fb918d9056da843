# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl as its users call it, with its words caught."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kvmctl import cli
from kvmctl.environment import Environment
from support.paths import GUESTS


@dataclass
class Kvmctl:
    """Runs commands; keeps what the last one wrote."""

    out: str = ""
    err: str = ""
    stdin: bytes = b""
    always: tuple[str, ...] = field(default_factory=tuple)

    def __call__(self, *words: str | Path) -> int:
        stdout, stderr = io.StringIO(), io.StringIO()
        code = cli.invoke([str(w) for w in words],
                          Environment(stdout, stderr, io.BytesIO(self.stdin)))
        self.out, self.err = stdout.getvalue(), stderr.getvalue()
        return code

    def json(self, *words: str | Path) -> Any:
        """The result of a command that must succeed."""
        code = self(*words, "--json")
        assert code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def kvmctl(monkeypatch: pytest.MonkeyPatch) -> Kvmctl:
    monkeypatch.setenv("KVMCTL_OUT", str(GUESTS))
    return Kvmctl()


@pytest.fixture(scope="module")
def kvmctl_module() -> Kvmctl:
    """For what is made once for all tests of a module."""
    return Kvmctl()
