# SPDX-License-Identifier: BSD-2-Clause
"""What templates make of an edge.toml, in a varnishd."""

import json
from pathlib import Path

import requests

from kvmctl import site as sites
from kvmctl.varnish.private import PrivateVarnish
from kvmctl.vcl import render
from support.paths import guest

#: Programs, for the beginning of an edge.toml.
HELLO = f'[programs.hello]\nfile = "{guest("hello")}"\n'
ECHO = f'[programs.echo]\nfile = "{guest("echo")}"\n'
#: What kvmctl's own requests carry there.
TOKEN = "0123456789abcdef0123456789abcdef"


class Rendered:
    """An edge.toml in use, without a deployment, and requests to it."""

    count = 0

    def __init__(self, varnish: PrivateVarnish, directory: Path) -> None:
        self.varnish, self.directory = varnish, directory
        self.path = directory / "edge.toml"

    def use(self, text: str) -> str:
        """The name of its release."""
        self.path.write_text('[site]\nname = "it"\n' + text)
        parsed = sites.load(self.path)
        library = self.directory / "programs.json"
        library.write_text(json.dumps({p.name: {"filename": str(p.file)}
                                       for p in parsed.programs}))
        Rendered.count += 1
        name = f"site{Rendered.count}"
        self.varnish.admin.load_text(name, render(
            parsed, library if parsed.programs else None, name, token=TOKEN))
        self.varnish.admin.use(name)
        return name

    def ask(self, path: str, method: str = "GET",
            **headers: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, self.varnish.url + path, timeout=20,
                allow_redirects=False,
                headers={k.replace("_", "-"): v for k, v in headers.items()})
