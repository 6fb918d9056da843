# SPDX-License-Identifier: BSD-2-Clause
"""A loaded release is asked before anybody else gets it.

In the node itself: its own worker, its own user, its own parameters; requests
with kvmctl's token pass through the router to the new release, all others go
on to the old one. Where that cannot be (the node serves nothing yet, or its
HTTP is not reached), the same VCL answers in a private varnishd.
"""

from dataclasses import dataclass

from kvmctl.deploy import probe
from kvmctl.deploy.probe import Answer, NotTheRelease
from kvmctl.deploy.router import Router
from kvmctl.deploy.ship import Depot
from kvmctl.errors import DeployError, VarnishError
from kvmctl.site import Site
from kvmctl.varnish.admin import Admin, split_address
from kvmctl.varnish.http import Client
from kvmctl.varnish.private import PrivateVarnish

_ANY = ("0.0.0.0", "::")


@dataclass
class Trial:
    """Of one site on one node."""

    site: Site
    admin: Admin
    router: Router
    depot: Depot
    token: str

    def client(self) -> Client | None:
        """HTTP of the node; None when it is not known where."""
        node = self.admin.node
        if node.http is not None:
            return Client(node.reach, *split_address(node.http))
        for host, port in self.admin.listen_addresses():
            if host in _ANY:
                # The command line's host is the node's, if it has one.
                named = (split_address(node.address)[0]
                         if node.address and not node.ssh else "")
                host = named or ("::1" if host == "::" else "127.0.0.1")
            return Client(node.reach, host, port)
        return None

    def probes(self, vcl: str, old: str | None) -> list[Answer]:
        """Raises DeployError when a route does not answer as it should."""
        if not probe.probed(self.site):
            return []
        problem = "it serves nothing yet"
        if old is not None and self.router.possible(old) \
                and self.admin.status() == "running":
            try:
                return self._in_the_node(vcl, old)
            except NotTheRelease as e:
                problem = str(e)
        if self.admin.node.ssh or self.admin.node.address:
            if old is None:
                return []
            raise DeployError(
                f"probes do not reach the new release on {self.admin.node} "
                f"({problem}): say where its HTTP is by \"http\" in [nodes], "
                "or take the probes away by probe = false")
        return self._in_private(vcl)

    def _in_the_node(self, vcl: str, old: str) -> list[Answer]:
        client = self.client()
        if client is None:
            raise NotTheRelease("it listens on no TCP port")
        with client:
            if self.router.serving(self.admin.listing()) == old and \
                    self.router.is_router(self.admin.listing().active):
                self.router.probe_through(vcl)
            else:
                self.router.use(old, vcl)
            return probe.probe(self.site, client, self.token, vcl)

    def _in_private(self, vcl: str) -> list[Answer]:
        patience = {"cli_timeout": f"{self.admin.cli_timeout():.3f}"}
        with PrivateVarnish(parameters=patience) as private:
            try:
                private.admin.load(vcl, self.depot.vcl_file(vcl))
                private.admin.use(vcl)
            except VarnishError as e:
                raise DeployError("the new VCL does not load for its "
                                  f"probes:\n{e}") from None
            with Client(private.node.reach, "127.0.0.1",
                        private.port) as client:
                try:
                    answers = probe.probe(self.site, client, self.token, vcl)
                except NotTheRelease as e:
                    raise DeployError(f"the new release does not answer: {e}"
                                      ) from None
            if private.admin.panics():
                raise DeployError("varnishd panicked under the probes")
        return answers

    def answers(self, vcl: str) -> bool | None:
        """Does the node, asked as everybody asks it, answer by this VCL?

        None when it is not known where, or there is no route to ask for.
        """
        routes = probe.probed(self.site)
        client = self.client()
        if not routes or client is None:
            return None
        with client:
            try:
                reply = probe.ask(routes[0], client, self.token)
            except OSError:
                return None
        return reply.headers.get(probe.RELEASE_HEADER) == vcl
