# SPDX-License-Identifier: BSD-2-Clause
"""A varnishd that kvmctl deploys to."""

import json
from pathlib import Path
from typing import Any

import requests

from kvmctl.varnish.private import PrivateVarnish
from support.paths import guest


class Node:
    """A varnishd, a site and a store; kvmctl knows all three."""

    def __init__(self, varnish: PrivateVarnish, kvmctl: Any,
                 directory: Path) -> None:
        self.varnish, self.kvmctl = varnish, kvmctl
        self.site = directory / "edge.toml"
        self.store = directory / "store"
        self.where = ("-n", str(varnish.node.name), "--store",
                      str(self.store))

    def write(self, name: str, body: str = "", **settings: Any) -> None:
        """A site of one program at /, and what else body says."""
        rows = "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items())
        self.site.write_text(
            f'[site]\nname = "it"\n[programs.{name}]\n'
            f'file = "{guest(name)}"\n{rows}\n[[routes]]\npath = "/"\n'
            f'program = "{name}"\ncache = false\n{body}')

    @staticmethod
    def program(name: str) -> Path:
        return guest(name)

    def __call__(self, command: str, *more: str) -> int:
        code: int = self.kvmctl(command, self.site, *self.where, *more)
        return code

    def deploy(self) -> str:
        """The name of what was deployed."""
        result = self.kvmctl.json("deploy", self.site, *self.where)
        name: str = result["release"]["name"]
        return name

    def ask(self, path: str = "/") -> str:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.varnish.url + path, timeout=20).text

    def files(self) -> set[str]:
        return {str(p.relative_to(self.store)) for p in
                self.store.rglob("*") if p.is_file()}
