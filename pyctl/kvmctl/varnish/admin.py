# SPDX-License-Identifier: BSD-2-Clause
"""Speaks to a running Varnish through varnishadm, which knows the protocol."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.errors import HostError, VarnishError

_PING_SECONDS = 3.0


@dataclass(frozen=True)
class Node:
    """Which Varnish: by instance name or directory, or address and secret."""

    name: str | None = None             # varnishadm -n
    address: str | None = None          # varnishadm -T host:port
    secret: Path | None = None          # varnishadm -S

    def options(self) -> list[str]:
        out: list[str] = []
        if self.name is not None:
            out += ["-n", self.name]
        if self.address is not None:
            out += ["-T", self.address]
        if self.secret is not None:
            out += ["-S", str(self.secret)]
        return out

    def __str__(self) -> str:
        return self.address or self.name or "the local varnishd"


@dataclass(frozen=True)
class LoadedVcl:
    """A line of vcl.list."""

    name: str
    active: bool
    state: str                          # auto/warm, cold/cold ...
    busy: int


class Admin:
    """Commands to one node. Every failure is a VarnishError."""

    def __init__(self, node: Node, timeout: float = 60.0) -> None:
        self.node = node
        self.timeout = timeout          # seconds, per command

    def command(self, *words: str, timeout: float | None = None) -> str:
        """Runs one command; its output. Errors carry Varnish's own text."""
        timeout = timeout or self.timeout
        program = shutil.which("varnishadm")
        if program is None:
            raise HostError("varnishadm is missing: apt-get install varnish")
        line = [program, *self.node.options(), "-t", f"{timeout:.0f}",
                *words]
        try:
            done = subprocess.run(line, capture_output=True, text=True,
                                  timeout=timeout + 10, check=False)
        except subprocess.TimeoutExpired:
            raise VarnishError(f"{self.node} did not answer "
                               f"\"{words[0]}\" in time") from None
        if done.returncode != 0:
            text = (done.stdout + done.stderr).strip()
            raise VarnishError(text or f"{self.node} refused \"{words[0]}\"")
        return done.stdout.strip()

    def ping(self) -> None:
        """Raises VarnishError when nobody answers, and that soon."""
        self.command("ping", timeout=_PING_SECONDS)

    def load(self, name: str, path: Path) -> None:
        self.command("vcl.load", name, str(path))

    def use(self, name: str) -> None:
        self.command("vcl.use", name)

    def discard(self, name: str) -> None:
        self.command("vcl.discard", name)

    def vcls(self) -> list[LoadedVcl]:
        """What vcl.list knows, labels left out."""
        rows: list[Any] = json.loads(self.command("vcl.list", "-j"))
        return [
            LoadedVcl(row["name"], row["status"] == "active",
                      f"{row['state']}/{row['temperature']}",
                      int(row.get("busy", 0)))
            for row in rows
            if isinstance(row, dict) and row.get("state") != "label"
        ]

    def active(self) -> str | None:
        for vcl in self.vcls():
            if vcl.active:
                return vcl.name
        return None

    def status(self) -> str:
        """The child process: running, stopped, starting, ..."""
        return self.command("status").rpartition("state ")[2].strip()

    def listen_addresses(self) -> list[tuple[str, int]]:
        """Where it accepts HTTP."""
        out = []
        for line in self.command("debug.listen_address").splitlines():
            words = line.split()
            if len(words) >= 3 and words[2].isdigit():
                out.append((words[1], int(words[2])))
        return out

    def panics(self) -> str | None:
        """The last panic of the child, None when there was none."""
        try:
            return self.command("panic.show")
        except VarnishError as e:
            if "has not panicked" in str(e):
                return None
            raise
