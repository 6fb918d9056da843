# SPDX-License-Identifier: BSD-2-Clause
"""A site in a private varnishd: built, loaded, switched to, in one go.

Unlike a deployment it probes nothing and keeps nothing: what does not load
leaves what serves.
"""

import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl import files
from kvmctl import site as sites
from kvmctl.deploy import prepare
from kvmctl.errors import VarnishError
from kvmctl.guest import manifest
from kvmctl.site import ProgramEntry, Site
from kvmctl.varnish.private import PrivateVarnish
from kvmctl.vcl import render


@dataclass(frozen=True)
class Change:
    """What one update did; times in seconds."""

    changed: bool
    build_seconds: float
    load_seconds: float


def load_site(path: Path) -> Site:
    """The site of a file or directory.

    A program without edge.toml gets all requests, and nothing is cached.
    """
    file = path / "edge.toml" if path.is_dir() else path
    if file.name != "guest.toml" and (file.exists()
                                      or not (path / "guest.toml").exists()):
        return sites.load(file)
    directory = manifest.file(path).parent
    guest = manifest.load(directory)
    name = re.sub(r"^[^A-Za-z]+|[^A-Za-z0-9_-]", "-", guest.name).lstrip("-")
    return sites.parse(directory / "edge.toml", {
        "site": {"name": name[:40] or "site"},
        "programs": {name[:40] or "site": {"guest": "."}},
        "routes": [{"program": name[:40] or "site", "cache": False}]})


def directories(site: Site) -> list[Path]:
    """Where its files are: what is to be watched."""
    found = {site.path.parent}
    found |= {p.guest for p in site.programs if p.guest is not None}
    found |= {p.file.parent for p in site.programs if p.file is not None}
    # What is inside another is watched with it.
    return sorted(d for d in found if d.is_dir() and not any(
        d != other and d.is_relative_to(other) for other in found))


class Live:
    """What serves in a private varnishd."""

    def __init__(self, varnish: PrivateVarnish, out: Path) -> None:
        self._varnish = varnish
        self._out = out
        self._number = 0
        self._serving: str | None = None
        self._content: tuple[str, str] | None = None

    def _program(self, entry: ProgramEntry) -> dict[str, Any]:
        """Its settings, and a copy of its file: the next build is another.

        Whoever develops has not signed it yet: nobody must have.
        """
        program = prepare.program(entry, self._out)
        copy = self._varnish.directory / "programs" / program.sha256
        if not copy.exists():
            files.write_whole(copy, program.executable.read_bytes(), 0o755)
        return program.settings | {"filename": str(copy)}

    def update(self, site: Site) -> Change:
        """Builds it, and serves it if it is another.

        Raises a KvmctlError; what served before then serves on.
        """
        began = time.monotonic()
        with files.problems(VarnishError, "the programs cannot be copied"):
            programs = {p.name: self._program(p) for p in site.programs}
        built = time.monotonic()
        text = json.dumps(programs, sort_keys=True)
        content = (render(site, None, ""), text)
        if content == self._content:
            return Change(False, built - began, 0)
        self._load(site, text if programs else None)
        self._content = content
        return Change(True, built - began, time.monotonic() - built)

    def _load(self, site: Site, programs: str | None) -> None:
        self._number += 1
        name = f"live-{self._number}"
        directory = self._varnish.directory / "releases"
        library = directory / f"{name}.json" if programs else None
        if library is not None and programs is not None:
            files.write_whole(library, programs.encode())
        vcl = directory / f"{name}.vcl"
        files.write_whole(vcl, render(site, library, name).encode())
        admin = self._varnish.admin
        try:
            admin.load(name, vcl)
        except VarnishError as e:
            raise VarnishError("it does not load; what served before serves "
                               f"on. Varnish says:\n{e}") from None
        admin.use(name)
        if self._serving is not None:
            admin.discard(self._serving)
        self._serving = name
        self._forget(programs or "")

    def _forget(self, programs: str) -> None:
        """Copies that nothing names any more."""
        for path in (self._varnish.directory / "programs").glob("*"):
            if path.name not in programs:
                path.unlink(missing_ok=True)
        for path in (self._varnish.directory / "releases").glob("*"):
            if path.stem != self._serving:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
