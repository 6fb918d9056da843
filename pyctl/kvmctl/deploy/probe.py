# SPDX-License-Identifier: BSD-2-Clause
"""Asks a Varnish what the routes of a site promise."""

from dataclasses import dataclass

from kvmctl.errors import DeployError
from kvmctl.site import Route, Site
from kvmctl.varnish.http import Client, Reply

_SECONDS = 30.0
_WILDCARD_LABEL = "kvmctl-probe"
TOKEN_HEADER, RELEASE_HEADER = "X-Kvmctl-Probe", "x-kvmctl-release"


class NotTheRelease(Exception):
    """The answer is not of the release that was to be asked."""


@dataclass(frozen=True)
class Answer:
    """One probe that was answered as expected."""

    route: int
    method: str
    url: str
    status: int
    seconds: float


def host_of(route: Route) -> str:
    """A Host header that the route matches."""
    return (route.host or "localhost").replace("*", _WILDCARD_LABEL)


def probed(site: Site) -> list[Route]:
    """The routes that a release is asked for."""
    return [r for r in site.routes if r.probe is not None]


def _wrong(route: Route, reply: Reply) -> str | None:
    probe = route.probe
    assert probe is not None
    if probe.status is not None and reply.status != probe.status:
        return f"answered {reply.status}, not {probe.status}"
    if probe.status is None and reply.status >= 500:
        said = reply.text.strip().splitlines()
        return (f"answered {reply.status} {reply.reason}"
                + (f": {said[0][:200]}" if said else ""))
    if probe.body is not None and probe.body not in reply.text:
        return f"\"{probe.body}\" is not in the answer"
    return None


def ask(route: Route, client: Client, token: str) -> Reply:
    """The probe of one route. Raises OSError."""
    assert route.probe is not None
    method = route.probe.method
    headers = {"Host": host_of(route), TOKEN_HEADER: token}
    if method not in ("GET", "HEAD"):
        headers["Content-Length"] = "0"
    return client.ask(method, route.probe.url, headers, _SECONDS)


def probe(site: Site, client: Client, token: str,
          release: str) -> list[Answer]:
    """Probes every route that has one.

    Raises DeployError naming each route that did not answer as it should, and
    NotTheRelease when the first one does not reach the release at all.
    """
    answers: list[Answer] = []
    problems: list[str] = []
    for route in probed(site):
        assert route.probe is not None
        what = f"[[routes]] number {route.index}, {route.probe.method} " \
               f"{route.probe.url}"
        try:
            reply = ask(route, client, token)
        except OSError as e:
            if not answers and not problems:
                raise NotTheRelease(f"{what}: {e.strerror or e}") from None
            problems.append(f"{what}: {e.strerror or e}")
            continue
        # Varnish fails a request without vcl_deliver by a bare 503.
        if reply.headers.get(RELEASE_HEADER) != release and \
                not (reply.status == 503 and (answers or problems)):
            raise NotTheRelease(
                f"{what}: answered {reply.status}, not by {release}")
        wrong = _wrong(route, reply)
        if wrong is not None:
            problems.append(f"{what}: {wrong}")
        answers.append(Answer(route.index, route.probe.method,
                              route.probe.url, reply.status, reply.seconds))
    if problems:
        raise DeployError("the new release does not answer as it should:\n  "
                          + "\n  ".join(problems))
    return answers
