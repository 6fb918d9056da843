# SPDX-License-Identifier: BSD-2-Clause
"""A small VCL that passes requests on to releases, by labels.

Varnish lets the active VCL, and no other, hand a request to a label:

    active: router --- kvmctl's own token ---> label probe  -> the new release
                  \\--- a canary's share -----> label canary -> its release
                   '-- everybody else -------> label stable -> the old release

It is active while a new release is probed, for some milliseconds, and as long
as there is a canary. Otherwise the release itself is. Labels are moved and
never discarded, since a request under way may be about to follow one.
"""

import hashlib
from dataclasses import dataclass

from kvmctl.errors import DeployError, VarnishError
from kvmctl.varnish.admin import Admin, Listing
from kvmctl.vcl.render import render_router


@dataclass(frozen=True)
class Share:
    """Who gets a canary: a share of the clients, a header, or both."""

    percent: float = 0                  # 0 to 100
    header: tuple[str, str] | None = None
    cookie: str = ""                    # its value decides, not the client

    def __str__(self) -> str:
        parts = []
        if self.percent:
            parts.append(f"{self.percent:g} % of the "
                         + (f"cookie {self.cookie}" if self.cookie
                            else "clients"))
        if self.header:
            parts.append(f"{self.header[0]}: {self.header[1]}")
        return " and ".join(parts)


class Router:
    """The routers and labels of one site on one node."""

    def __init__(self, site: str, token: str, admin: Admin) -> None:
        self._site, self._token, self._admin = site, token, admin
        self._prefix = f"kvmctl-{site}-"
        self.labels = {role: self._prefix + role
                       for role in ("stable", "probe", "canary")}

    def is_router(self, vcl: str | None) -> bool:
        return (vcl or "").startswith(self._prefix + "router-")

    def serving(self, listing: Listing) -> str | None:
        """The VCL that everybody gets, behind a router or not."""
        if self.is_router(listing.active):
            return listing.labels.get(self.labels["stable"])
        return listing.active

    def still(self, listing: Listing, serving: str | None) -> None:
        """Raises DeployError when that VCL serves no more."""
        now = self.serving(listing)
        if now != serving:
            raise DeployError(
                f"somebody else switched {self._admin.node} from {serving} to "
                f"{now} meanwhile; look at `kvmctl status`, then try again")

    def canary(self, listing: Listing) -> str | None:
        """The canary's VCL while one has a share."""
        if not self.is_router(listing.active) or \
                listing.active == self._name(self._text(None)):
            return None
        return listing.labels.get(self.labels["canary"])

    def possible(self, stable: str | None) -> bool:
        """A VCL that itself hands on to labels cannot be behind one."""
        return stable is not None and not self._admin.uses_labels(stable)

    def _text(self, share: Share | None) -> str:
        share = share or Share()
        return render_router(self._site, self._token, self.labels,
                             share.percent, share.header, share.cookie)

    def _name(self, text: str) -> str:
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"{self._prefix}router-{digest}"

    def use(self, stable: str, probe: str, share: Share | None = None,
            canary: str | None = None) -> None:
        """Makes the router active: stable for all, with these exceptions.

        Raises DeployError when stable is not what serves.
        """
        text = self._text(share)
        name = self._name(text)
        listing = self._admin.listing()
        self.still(listing, stable)
        for role, vcl in (("stable", stable), ("probe", probe),
                          ("canary", canary)):
            if vcl is not None and listing.labels.get(
                    self.labels[role]) != vcl:
                self._admin.label(self.labels[role], vcl)
        if not listing.loaded(name):
            self._admin.load_text(name, text)
        if listing.active != name:
            self._admin.use(name)

    def probe_through(self, candidate: str) -> None:
        """An active router hands probes to the candidate from now on."""
        self._admin.label(self.labels["probe"], candidate)

    def rest(self, serving: str) -> None:
        """All labels on the serving release; routers of old canaries gone.

        The plain router stays, for the next deployment's probes.
        """
        listing = self._admin.listing()
        for label in self.labels.values():
            if listing.labels.get(label, serving) != serving:
                self._admin.label(label, serving)
        plain = self._name(self._text(None))
        for vcl in listing.vcls:
            if self.is_router(vcl.name) and vcl.name != plain \
                    and not vcl.active:
                self._admin.discard(vcl.name)

    def close(self) -> str | None:
        """Whatever the router did, everybody gets the stable release."""
        listing = self._admin.listing()
        stable = self.serving(listing)
        if stable is not None and self.is_router(listing.active):
            self._admin.use(stable)
        if stable is not None:
            try:
                self.rest(stable)
            except VarnishError:
                # A VCL of somebody else's, with labels in it.
                pass
        return stable
