# SPDX-License-Identifier: BSD-2-Clause
"""A new release on one node, step by step.

    store      executables by content, the VCL and its programs file
    load       vcl.load under a name of its own: programs boot now
    probe      the new VCL answers every route, while the old one serves
    switch     vcl.use; the node itself answers; else back to the old one
    tidy       the newest releases are kept, older ones discarded

The history says `candidate` from before the load until after the switch, so
that whatever stopped in between is found and put away by the next deployment.
What the node says it serves is the truth; the history follows it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

from kvmctl.deploy import boots, store
from kvmctl.deploy.prepare import Prepared, library, new_name
from kvmctl.deploy.probe import Answer
from kvmctl.deploy.router import Router
from kvmctl.deploy.ship import Depot
from kvmctl.deploy.store import Release, Store
from kvmctl.deploy.trial import Trial
from kvmctl.errors import DeployError, KvmctlError, VarnishError
from kvmctl.site import Site
from kvmctl.varnish.admin import Admin, Node

KEPT_RELEASES = 5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a deployment did."""

    release: Release
    changed: bool
    replaced: str | None                # the VCL that served before
    probes: tuple[Answer, ...]


class Deployer:
    """One site on one node. The store's lock is held by whoever calls."""

    def __init__(self, site: Site, node: Node, files: Store,
                 say: Say = lambda text: None,
                 stop: Event | None = None) -> None:
        """stop: set when what waits for no one's answer is to wait no more."""
        self.admin = Admin(node)
        self.files = files
        self.node = str(node)
        token = files.token()
        self.router = Router(site.name, token, self.admin)
        self.depot = Depot(files, node.reach, node.store)
        self.trial = Trial(site, self.admin, self.router, self.depot, token)
        self.say = say
        self.stop = stop or Event()

    def __enter__(self) -> "Deployer":
        return self

    def __exit__(self, *_: object) -> None:
        self.admin.close()

    def releases(self, *states: str) -> list[Release]:
        """Of this node, oldest first; of all states when none is named."""
        return [r for r in self.files.releases(self.node)
                if not states or r.state in states]

    def serving(self) -> str | None:
        """The VCL that the node serves to everybody."""
        return self.router.serving(self.admin.listing())

    # -- deploy --------------------------------------------------------

    def deploy(self, prepared: Prepared, force: bool = False) -> Outcome:
        """Raises a KvmctlError; the old release then serves as before."""
        self.admin.ping()
        self.put_away_leftovers()
        self.refuse_canary("deploy")
        current = self.current(prepared.content)
        if current is not None and not force:
            return Outcome(current, False, None, ())
        prepared = self.named(prepared)
        release = self.release_of(prepared)
        return self.bring_up(prepared, release)

    def named(self, prepared: Prepared) -> Prepared:
        """The rollout's name; another one where the node has that already."""
        taken = {v.name for v in self.admin.vcls()}
        taken |= {v.removesuffix(store.CANARY_SUFFIX) for v in taken}
        if prepared.name and prepared.name not in taken:
            return prepared
        taken |= {r.name for r in self.files.releases()}
        return replace(prepared, name=new_name(prepared, taken))

    def release_of(self, prepared: Prepared) -> Release:
        return Release(prepared.name, self.node, store.CANDIDATE,
                       prepared.content, prepared.hashes, store.now(),
                       store.user())

    def current(self, content: str) -> Release | None:
        """The release that serves now, when it is of this content.

        One that failed may still be active, where nothing was before it.
        """
        serving = self.serving()
        for release in self.releases(store.SERVING, store.KEPT):
            if release.name == serving and release.content == content:
                return release
        return None

    def refuse_canary(self, what: str) -> None:
        for release in self.releases(store.CANARY):
            raise DeployError(f"{release.name} is a canary on {self.node}: "
                              f"`kvmctl promote` or `kvmctl abort` before "
                              f"you {what}")

    def bring_up(self, prepared: Prepared, release: Release) -> Outcome:
        """All steps; the release serves, or nothing of it is left."""
        old = self.serving()
        release = replace(release, replaced=old or "")
        self.files.record(release)
        try:
            self.put(prepared, release.name)
            self.load(release.name)
            self.say("probing ...")
            answers = self.trial.probes(release.name, old)
            self.switch(release, old)
        except BaseException as e:
            self.give_up(release, old, str(e) or type(e).__name__)
            raise
        self.tidy()
        return Outcome(release, True, old, tuple(answers))

    def put(self, prepared: Prepared, vcl: str, space: str = "") -> None:
        """The files that the VCL and its programs are."""
        self.depot.put_programs(prepared)
        self.depot.put_release(prepared, vcl, space)

    def load(self, vcl: str) -> None:
        boots.fit(self._programs(vcl), self.admin.cli_timeout(), self.node)
        self.say(f"loading {vcl} ...")
        try:
            self.admin.load(vcl, self.depot.vcl_file(vcl))
        except VarnishError as e:
            raise VarnishError(
                f"{self.node} does not load the new VCL; the old one serves "
                f"on. Varnish says:\n{e}{self._mend(str(e))}") from None

    def _programs(self, vcl: str) -> dict[str, Any]:
        """The programs file of a release's VCL; empty where it is lost."""
        release = vcl.removesuffix(store.CANARY_SUFFIX)
        try:
            return library(self.files.library_file(release).read_bytes())
        except (OSError, ValueError):
            return {}                   # Varnish will say what is wrong with it

    def _mend(self, said: str) -> str:
        """What to do about what Varnish says, where that is known."""
        if "Could not find VMOD" in said:
            return ("\nIts parameter vmod_path names the directories of VMODs: "
                    "that of tinykvm, and Varnish's own")
        if "Permission denied" in said and f"{self.depot.root}/" in said:
            return ("\nVarnish's user must be able to read the store: chmod -R "
                    f"go+rX {self.depot.root}, and what it is in")
        return ""

    def switch(self, release: Release, old: str | None) -> None:
        """vcl.use, and a look whether that is so; else back."""
        listing = self.admin.listing()
        if not listing.loaded(release.name):
            raise DeployError(f"{self.node} has lost {release.name}: varnishd "
                              "was restarted; deploy again")
        self.router.still(listing, old)
        back = listing.active           # a router, perhaps
        self.admin.use(release.name)
        try:
            if self.admin.active() != release.name:
                raise DeployError(f"{self.node} did not switch")
            self._start_the_first(back)
            if self.admin.status() != "running":
                raise DeployError(f"the child process of {self.node} does "
                                  "not run")
            if self.trial.answers(release.name) is False:
                raise DeployError(f"{self.node} does not answer by "
                                  f"{release.name} after the switch")
            self.serves(release)
        except KvmctlError:
            if back is not None:
                self.admin.use(back)
            raise

    def _start_the_first(self, back: str | None) -> None:
        """A varnishd without a VCL, as of -f '', waits for one to start with.

        A child process that had a VCL before was stopped by somebody.
        """
        never = back is None or any(r.name == back
                                    for r in self.releases(store.FAILED))
        if not never or self.admin.status() != "stopped":
            return
        try:
            self.admin.start()
        except VarnishError as e:
            raise VarnishError(f"the child process of {self.node} does not "
                               f"start with the new VCL. Varnish says:\n{e}"
                               ) from None

    def serves(self, release: Release) -> None:
        """The history's word for it."""
        for other in self.releases(store.SERVING):
            if other.name != release.name:
                self.files.mark(other, store.KEPT)
        self.files.mark(release, store.SERVING)

    # -- putting away --------------------------------------------------

    def give_up(self, release: Release, old: str | None, error: str,
                state: str = store.FAILED) -> None:
        """After a failure: nothing of the release stays on the node."""
        try:
            self.remove(release, old)
            self.files.mark(release, state, error[:2000])
            self.depot.clean(v.name for v in self.admin.vcls())
        except (KvmctlError, OSError) as e:
            self.say(f"could not tidy up: {e}")

    def remove(self, release: Release, old: str | None) -> None:
        """Everybody gets old; the release's VCLs are discarded."""
        listing = self.admin.listing()
        mine = {release.name, release.canary_vcl}
        if self.router.is_router(listing.active):
            self.router.close()
        elif old is not None and listing.active in mine:
            self.admin.use(old)
        self.discard(*mine)

    def discard(self, *vcls: str) -> None:
        """Those that are loaded, and not active; labels leave them first."""
        serving = self.serving()
        listing = self.admin.listing()
        if serving is not None and any(
                t in vcls for t in listing.labels.values()):
            self.router.rest(serving)
        for vcl in listing.vcls:
            if vcl.name in vcls and not vcl.active:
                self.admin.discard(vcl.name)

    def put_away_leftovers(self) -> None:
        """Whatever an interrupted command has left on the node."""
        listing = self.admin.listing()
        canary = self.router.canary(listing)
        self._refuse_foreign(canary, self.router.serving(listing))
        for release in self.releases(store.CANDIDATE, store.CANARY):
            if listing.active == release.name:
                self.serves(release)
                self.discard(release.canary_vcl)
            elif release.state == store.CANARY and \
                    canary == release.canary_vcl:
                # It goes on; a promotion may have stopped on its way.
                self.discard(release.name)
            else:
                self.remove(release, None)
                self.files.mark(release, store.FAILED, "interrupted")
        if not self.releases(store.CANARY) and \
                self.router.is_router(self.admin.listing().active):
            self.router.close()
        self._follow()

    def _refuse_foreign(self, canary: str | None, serving: str | None) -> None:
        """Of a canary that another store began nothing is left over."""
        if canary is not None and canary.endswith(store.CANARY_SUFFIX) \
                and canary not in {r.canary_vcl for r in self.releases()}:
            raise DeployError(
                f"{self.node} has a canary of another store, {canary}: promote "
                "or abort it from there, or take it away by `varnishadm "
                f"vcl.use {serving}`")

    def _follow(self) -> None:
        """The history says what the node says: who serves, who is kept."""
        serving = self.serving()
        for release in self.releases(store.SERVING, store.KEPT):
            if release.name == serving:
                if release.state != store.SERVING:
                    self.serves(release)
            elif release.state == store.SERVING:
                self.files.mark(release, store.KEPT)

    def tidy(self) -> None:
        """Discards what is older than the kept releases.

        The release serves by now: what fails here is for the next deployment.
        """
        try:
            self._tidy()
        except (KvmctlError, OSError) as e:
            self.say(f"could not tidy up: {e}")

    def _tidy(self) -> None:
        serving = self.serving()
        self.rest(serving)
        self.discard(*(r.canary_vcl for r in
                       self.releases(store.KEPT, store.SERVING)))
        kept = self.releases(store.KEPT, store.SERVING)
        needed = {serving, *(r.replaced for r in kept if r.name == serving)}
        for release in kept[:-KEPT_RELEASES]:
            if release.name in needed:
                continue
            self.discard(release.name)
            self.files.mark(release, store.DISCARDED)
        self.depot.clean(v.name for v in self.admin.vcls())

    def rest(self, serving: str | None) -> None:
        """Labels hold no other release than the one that serves."""
        if serving is not None and self.router.possible(serving):
            self.router.rest(serving)
