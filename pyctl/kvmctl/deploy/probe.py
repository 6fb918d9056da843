# SPDX-License-Identifier: BSD-2-Clause
"""Asks a Varnish what the routes of a site promise."""

from dataclasses import dataclass

import requests

from kvmctl.errors import DeployError
from kvmctl.site import Route, Site

_SECONDS = 30.0
_WILDCARD_LABEL = "kvmctl-probe"


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


def _wrong(route: Route, response: requests.Response) -> str | None:
    probe = route.probe
    assert probe is not None
    if probe.status is not None and response.status_code != probe.status:
        return f"answered {response.status_code}, not {probe.status}"
    if probe.status is None and response.status_code >= 500:
        said = response.text.strip().splitlines()
        return (f"answered {response.status_code} {response.reason}"
                + (f": {said[0][:200]}" if said else ""))
    if probe.body is not None and probe.body not in response.text:
        return f"\"{probe.body}\" is not in the answer"
    return None


def probe(site: Site, base: str) -> list[Answer]:
    """Probes every route that has one, at a base URL (http://host:port).

    Raises DeployError naming each route that did not answer as it should.
    """
    answers, problems = [], []
    with requests.Session() as session:
        session.trust_env = False       # no proxy stands in between
        for route in site.routes:
            if route.probe is None:
                continue
            what = f"[[routes]] number {route.index}, {route.probe.method} " \
                   f"{route.probe.url}"
            try:
                response = session.request(
                    route.probe.method, base + route.probe.url,
                    headers={"Host": host_of(route)}, timeout=_SECONDS,
                    allow_redirects=False)
            except requests.RequestException as e:
                problems.append(f"{what}: {e}")
                continue
            wrong = _wrong(route, response)
            if wrong is not None:
                problems.append(f"{what}: {wrong}")
            answers.append(Answer(route.index, route.probe.method,
                                  route.probe.url, response.status_code,
                                  response.elapsed.total_seconds()))
    if problems:
        raise DeployError("the new release does not answer as it should:\n  "
                          + "\n  ".join(problems))
    return answers
