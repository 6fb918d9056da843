# SPDX-License-Identifier: BSD-2-Clause
"""A new release, step by step.

    build      every program of the site
    store      executables by content, the VCL and its programs file
    load       vcl.load under a name of its own: programs boot now
    probe      the same VCL in a private varnishd answers every route
    switch     vcl.use; the node itself answers; else back to the old one
    tidy       the newest releases are kept, older ones discarded

The history says `candidate` from before the load until after the switch, so
that whatever stopped in between is found and put away by the next deployment.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kvmctl.deploy import probe, store
from kvmctl.deploy.store import Release, Store
from kvmctl.errors import DeployError, KvmctlError, VarnishError
from kvmctl.guest import manifest, toolchains
from kvmctl.site import ProgramEntry, Site
from kvmctl.varnish.admin import Admin
from kvmctl.varnish.private import PrivateVarnish
from kvmctl.vcl import render

KEPT_RELEASES = 5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a deployment did."""

    release: Release
    changed: bool
    replaced: str | None                # the VCL that served before
    probes: tuple[probe.Answer, ...]


def program_settings(entry: ProgramEntry, out: Path,
                     files: Store) -> dict[str, Any]:
    """Builds it if it is a guest; its settings, its file in the store."""
    if entry.guest is not None:
        guest = manifest.load(entry.guest)
        built = toolchains.build(guest, out)
        executable, chosen = built.executable, guest.settings | entry.settings
    else:
        assert entry.file is not None
        executable, chosen = entry.file, dict(entry.settings)
    return chosen | {"filename": str(files.add_program(executable))}


def _programs_file(site: Site, programs: dict[str, Any]) -> bytes:
    text = json.dumps(programs, indent=1, sort_keys=True)
    return f"// The programs of {site.name}, by kvmctl\n{text}\n".encode()


def _content(site: Site, programs: bytes) -> str:
    """The hash of all that a release is, its probes among it."""
    probes = repr([route.probe for route in site.routes])
    return hashlib.sha256(b"\0".join((
        render(site, None, "").encode(), programs, probes.encode())
    )).hexdigest()


class Deployer:
    """Deploys one site to one node."""

    def __init__(self, site: Site, admin: Admin, files: Store, out: Path,
                 say: Say = lambda text: None) -> None:
        self._site = site
        self._admin = admin
        self._files = files
        self._out = out
        self._say = say
        self._node = str(admin.node)

    def deploy(self, force: bool = False) -> Outcome:
        """Raises a KvmctlError; the old release then serves as before."""
        with self._files.locked():
            self._admin.ping()
            self._put_away_leftovers()
            release, vcl, library = self._prepare()
            serving = self._serving(release.content)
            if serving is not None and not force:
                return Outcome(serving, False, None, ())
            return self._bring_up(release, vcl, library)

    def rollback(self, to: str | None = None) -> Outcome:
        """Back to the release before the serving one, or to a named one."""
        with self._files.locked():
            self._admin.ping()
            active = self._admin.active()
            target = self._rollback_target(active, to)
            self._load_again(target)
            self._switch(target, active)
            return Outcome(target, True, active, ())

    # -- before the load -----------------------------------------------

    def _prepare(self) -> tuple[Release, bytes, bytes]:
        """A release, its VCL and its programs file; none of it written."""
        programs = {}
        for entry in self._site.programs:
            self._say(f"building {entry.name} ...")
            programs[entry.name] = program_settings(entry, self._out,
                                                    self._files)
        library = _programs_file(self._site, programs)
        content = _content(self._site, library)
        name = self._new_name(content)
        vcl = render(self._site,
                     self._files.library_file(name) if programs else None, name)
        release = Release(
            name, self._node, store.CANDIDATE, content,
            {n: Path(p["filename"]).name for n, p in programs.items()},
            store.now(), store.user())
        return release, vcl.encode(), library

    def _serving(self, content: str) -> Release | None:
        """The release that serves now, when it is of this content."""
        active = self._admin.active()
        for release in self._files.releases(self._node):
            if release.name == active and release.content == content:
                return release
        return None

    def _new_name(self, content: str) -> str:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        base = f"{self._site.name}-{stamp}-{content[:8]}"
        taken = {v.name for v in self._admin.vcls()}
        taken |= {r.name for r in self._files.releases()}
        name, n = base, 1
        while name in taken:
            n += 1
            name = f"{base}-{n}"
        return name

    # -- load, probe, switch -------------------------------------------

    def _bring_up(self, release: Release, vcl: bytes,
                  library: bytes) -> Outcome:
        old = self._admin.active()
        self._files.record(release)
        try:
            store.write_whole(self._files.library_file(release.name), library)
            store.write_whole(self._files.vcl_file(release.name), vcl)
            self._say(f"loading {release.name} ...")
            self._load(release)
            self._say("probing ...")
            answers = self._probe(release)
            self._switch(release, old)
        except BaseException as e:
            self._give_up(release, str(e) or type(e).__name__)
            raise
        self._tidy()
        return Outcome(release, True, old, tuple(answers))

    def _load(self, release: Release) -> None:
        path = self._files.vcl_file(release.name)
        try:
            self._admin.load(release.name, path)
        except VarnishError as e:
            raise VarnishError(
                f"{self._node} does not load the new VCL; the old one serves "
                f"on. Varnish says:\n{e}") from None

    def _probe(self, release: Release) -> list[probe.Answer]:
        if not any(r.probe for r in self._site.routes):
            return []
        with PrivateVarnish() as private:
            try:
                private.admin.load(release.name,
                                   self._files.vcl_file(release.name))
                private.admin.use(release.name)
            except VarnishError as e:
                raise DeployError("the new VCL does not load for its "
                                  f"probes:\n{e}") from None
            answers = probe.probe(self._site, private.url)
            if private.admin.panics():
                raise DeployError("varnishd panicked under the probes")
        return answers

    def _switch(self, release: Release, old: str | None) -> None:
        self._admin.use(release.name)
        try:
            if self._admin.active() != release.name:
                raise DeployError(f"{self._node} did not switch")
            if self._admin.status() != "running":
                raise DeployError(f"the child process of {self._node} does "
                                  "not run")
        except KvmctlError:
            if old is not None:
                self._admin.use(old)
            raise
        for other in self._files.releases(self._node):
            if other.state == store.SERVING and other.name != release.name:
                self._files.mark(other, store.KEPT)
        self._files.mark(release, store.SERVING)

    # -- putting away --------------------------------------------------

    def _give_up(self, release: Release, error: str) -> None:
        """After a failure: nothing of the release stays on the node."""
        try:
            if any(v.name == release.name and not v.active
                   for v in self._admin.vcls()):
                self._admin.discard(release.name)
            self._files.mark(release, store.FAILED, error[:2000])
            self._files.clean()
        except (KvmctlError, OSError) as e:
            self._say(f"could not tidy up: {e}")

    def _put_away_leftovers(self) -> None:
        """Candidates of a deployment that was interrupted."""
        vcls = {v.name: v for v in self._admin.vcls()}
        for release in self._files.releases(self._node):
            if release.state != store.CANDIDATE:
                continue
            loaded = vcls.get(release.name)
            if loaded is not None and loaded.active:
                for other in self._files.releases(self._node):
                    if other.state == store.SERVING:
                        self._files.mark(other, store.KEPT)
                self._files.mark(release, store.SERVING)
                continue
            if loaded is not None:
                self._admin.discard(release.name)
            self._files.mark(release, store.FAILED, "interrupted")

    def _tidy(self) -> None:
        """Discards what is older than the kept releases."""
        kept = [r for r in self._files.releases(self._node)
                if r.state in (store.KEPT, store.SERVING)]
        loaded = {v.name: v for v in self._admin.vcls()}
        for release in kept[:-KEPT_RELEASES]:
            vcl = loaded.get(release.name)
            if vcl is not None and vcl.active:
                continue
            if vcl is not None:
                self._admin.discard(release.name)
            self._files.mark(release, store.DISCARDED)
        self._files.clean()

    # -- rollback ------------------------------------------------------

    def _rollback_target(self, active: str | None, to: str | None) -> Release:
        kept = [r for r in self._files.releases(self._node)
                if r.state in (store.KEPT, store.SERVING)]
        if to is not None:
            for release in kept:
                if release.name == to:
                    return release
            raise DeployError(f"{self._node} keeps no release \"{to}\"; kept: "
                              + (", ".join(r.name for r in kept) or "none"))
        names = [r.name for r in kept]
        older = kept[:names.index(active)] if active in names else kept
        if not older:
            raise DeployError(f"{self._node} keeps no release older than "
                              f"{active}")
        return older[-1]

    def _load_again(self, release: Release) -> None:
        """After a restart of varnishd a kept release is loaded no more."""
        if all(v.name != release.name for v in self._admin.vcls()):
            self._say(f"loading {release.name} ...")
            self._load(release)
