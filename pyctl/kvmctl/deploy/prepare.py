# SPDX-License-Identifier: BSD-2-Clause
"""What a release is made of, before any node has heard of it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kvmctl import files
from kvmctl.deploy.store import Store
from kvmctl.errors import DeployError
from kvmctl.guest import manifest, signature, toolchains
from kvmctl.site import ProgramEntry, Site
from kvmctl.vcl import render

Say = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """A built program: its settings, its executable here and its hash."""

    settings: dict[str, Any]
    executable: Path
    sha256: str


def program(entry: ProgramEntry, out: Path,
            trusted: Sequence[signature.PublicKey] | None = None) -> Program:
    """Builds it if it is a guest; trusted: who must have signed it, if so.

    Raises BuildError, DeployError, SignatureError.
    """
    about = None
    if entry.guest is not None:
        guest = manifest.load(entry.guest)
        built = toolchains.build(guest, out)
        executable, chosen = built.executable, guest.settings | entry.settings
        about = built.record
    else:
        assert entry.file is not None
        executable, chosen = entry.file, dict(entry.settings)
    try:
        digest = hashlib.sha256(
            files.read(executable, files.DATA)).hexdigest()
    except OSError as e:
        raise DeployError(f"cannot read {executable}: {e.strerror}") from None
    if trusted is not None:
        signature.require(executable, trusted, digest=digest, about=about)
    return Program(chosen, executable, digest)


@dataclass(frozen=True)
class Prepared:
    """A release to be: the same for every node but for the store's path."""

    site: Site
    programs: dict[str, Program]
    token: str
    content: str                        # hash of all that it is made of
    name: str = ""

    @property
    def hashes(self) -> dict[str, str]:
        return {n: p.sha256 for n, p in self.programs.items()}

    def library(self, root: Path) -> bytes:
        """The programs file, for executables below root.

        With their hashes: the node itself looks at them whenever it boots one.
        """
        table = {n: {"sha256": p.sha256} | p.settings | {
                     "filename": str(root / "programs" / p.sha256)}
                 for n, p in self.programs.items()}
        text = json.dumps(table, indent=1, sort_keys=True)
        return (f"// The programs of {self.site.name}, by kvmctl\n{text}\n"
                ).encode()

    def vcl(self, root: Path, name: str, space: str = "") -> bytes:
        """The VCL called name; space keeps its part of the cache apart."""
        library = root / "releases" / f"{self.name}.json"
        return render(self.site, library if self.programs else None, name,
                      token=self.token, space=space).encode()


def library(data: bytes) -> dict[str, Any]:
    """A programs file as Prepared.library() writes it. Raises ValueError."""
    table = files.json_of(data.decode().partition("\n")[2])
    if not isinstance(table, dict) or not all(
            isinstance(it, dict) and isinstance(it.get("filename"), str)
            for it in table.values()):
        raise ValueError("it is no programs file")
    return table


def _content(site: Site, programs: dict[str, Program]) -> str:
    """Probes and settings are part of it, names and paths are not."""
    probes = repr([route.probe for route in site.routes])
    made = json.dumps({n: [p.settings, p.sha256]
                       for n, p in programs.items()}, sort_keys=True)
    return hashlib.sha256(b"\0".join((
        render(site, None, "").encode(), made.encode(), probes.encode())
    )).hexdigest()


def prepare(site: Site, files: Store, out: Path, say: Say) -> Prepared:
    """Builds every program. Nothing is written into the store but a token."""
    programs = {}
    trusted = None if site.trusted is None else signature.trusted(site.trusted)
    manifest.load_all(e.guest for e in site.programs if e.guest is not None)
    for entry in site.programs:
        say(f"building {entry.name} ...")
        programs[entry.name] = program(entry, out, trusted)
    return Prepared(site, programs, files.token(), _content(site, programs))


def new_name(prepared: Prepared, taken: Iterable[str]) -> str:
    """SITE-TIME-HASH, and a number when that is taken."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    base = f"{prepared.site.name}-{stamp}-{prepared.content[:8]}"
    used, name, n = set(taken), base, 1
    while name in used:
        n += 1
        name = f"{base}-{n}"
    return name
