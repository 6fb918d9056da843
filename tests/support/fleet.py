# SPDX-License-Identifier: BSD-2-Clause
"""Many nodes of one site, most of them fakes."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kvmctl.varnish.private import PrivateVarnish
from support.fake_varnish import FakeVarnish
from support.paths import guest


class Fleet:
    """Nodes of one site, most of them fakes."""

    def __init__(self, kvmctl: Any, directory: Path) -> None:
        self.kvmctl, self.directory = kvmctl, directory
        self.site = directory / "edge.toml"
        self.secret = directory / "secret"
        self.secret.write_bytes(b"secret\n")
        self.fakes: list[FakeVarnish] = []
        self.real: list[PrivateVarnish] = []
        self.extra = ""

    def write(self, arguments: str = "", rollout: str = "",
              probe: str = "probe = false") -> None:
        rows = [f'[site]\nname = "fleet"\n[rollout]\n{rollout}\n'
                f'[programs.hello]\nfile = "{guest("hello")}"\n'
                f'main_arguments = [{json.dumps(arguments)}]\n'
                f'[[routes]]\npath = "/"\nprogram = "hello"\n{probe}\n']
        for i, varnish in enumerate(self.real):
            rows.append(f'[nodes.real{i}]\nname = "{varnish.node.name}"\n')
        for i, fake in enumerate(self.fakes):
            rows.append(f'[nodes.fake{i}]\naddress = "{fake.address}"\n'
                        'secret = "secret"\n')
        self.site.write_text("".join(rows) + self.extra)

    def __call__(self, command: str, *more: str) -> int:
        code: int = self.kvmctl(command, self.site, "--store",
                                self.directory / "store", *more)
        return code

    def json(self, command: str, *more: str) -> Any:
        return self.kvmctl.json(command, self.site, "--store",
                                self.directory / "store", *more)

    def canary(self) -> tuple[str, str]:
        """One node's releases: what serves, and a canary of ten percent."""
        self.write("a")
        first: str = self.json("deploy")["release"]["name"]
        self.write("b")
        name: str = self.json("deploy", "--canary", "10%")["release"]["name"]
        return first, name

    def states(self) -> list[str]:
        """Of the last command, which wrote JSON."""
        return [n["state"] for n in json.loads(self.kvmctl.out)["nodes"]]


@contextlib.contextmanager
def fleet_of(kvmctl: Any, directory: Path, fakes: int,
             real: int = 0) -> Iterator[Fleet]:
    fleet = Fleet(kvmctl, directory)
    with contextlib.ExitStack() as stack:
        for _ in range(real):
            fleet.real.append(stack.enter_context(PrivateVarnish()))
        for _ in range(fakes):
            fake = FakeVarnish(fleet.secret)
            stack.callback(fake.close)
            fleet.fakes.append(fake)
        yield fleet
