# SPDX-License-Identifier: BSD-2-Clause
"""The tables of edge.toml that are about the site and not about one route."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.document import Place

_HEADER_VALUE = re.compile(r"[\x20-\x7e\x80-\U0010ffff]*")
#: Of fixed words, unless they say another.
TYPE = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Acl:
    """Networks, the first of the longest prefix decides, as VCL has it."""

    name: str
    rows: tuple[tuple[bool, str, int], ...]     # allowed, address, prefix


@dataclass(frozen=True)
class Director:
    """Several origins as one."""

    name: str
    kind: str
    origins: tuple[str, ...]
    weights: tuple[float, ...]          # of random and hash


@dataclass(frozen=True)
class ErrorPage:
    """What is shown for statuses that Varnish makes itself."""

    index: int
    status: tuple[int, ...]
    program: str | None
    arg: str
    body: str
    type: str


@dataclass(frozen=True)
class Cache:
    """Defaults of all routes; seconds. None: Varnish's own."""

    ttl: float | None = None
    grace: float | None = None
    keep: float | None = None
    strip_query: tuple[str, ...] = ()


@dataclass(frozen=True)
class SelfRequests:
    """Where programs reach Varnish itself."""

    socket: str
    prefix: str
    max: int


@dataclass(frozen=True)
class Policy:
    """All of it."""

    acls: tuple[Acl, ...] = ()
    directors: tuple[Director, ...] = ()
    errors: tuple[ErrorPage, ...] = ()
    purge: str | None = None            # the ACL of those who may
    health: str | None = None           # a path
    health_origins: tuple[str, ...] = ()
    self_requests: SelfRequests | None = None
    cache: Cache = Cache()


def header_value(place: Place, key: str, value: str) -> str:
    """A string that a header can hold."""
    if not _HEADER_VALUE.fullmatch(value):
        raise place.error(f"\"{key}\" has a line break or another control "
                          "character", key)
    return value


def _acl(place: Place, name: str, table: dict[str, Any]) -> Acl:
    rows = []
    for allowed, key in ((True, "allow"), (False, "deny")):
        for text in table.get(key, ()):
            try:
                if "%" in text:         # a zone: ACLs of Varnish have none
                    raise ValueError
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise place.error(f"\"{text}\" is no address or network: "
                                  "10.0.0.0/8", key) from None
            rows.append((allowed, str(network.network_address),
                         network.prefixlen))
    return Acl(name, tuple(rows))


def _director(place: Place, name: str, table: dict[str, Any],
              origins: set[str]) -> Director:
    kind, members = table.get("kind", "round_robin"), table["origins"]
    for member in members:
        place.known("origin", member, origins, "origins")
    weights = table.get("weights", [1] * len(members))
    if len(weights) != len(members):
        raise place.error("\"weights\" is a number above 0 for each origin",
                          "weights")
    if "weights" in table and kind not in ("random", "hash"):
        raise place.error(f"\"weights\" is nothing to {kind}", "weights")
    return Director(name, kind, tuple(members), tuple(weights))


def _error(place: Place, index: int, table: dict[str, Any],
           programs: set[str]) -> ErrorPage:
    status = table["status"]
    if ("program" in table) == ("body" in table):
        raise place.error("either \"program\" or \"body\"")
    if "program" in table:
        place.known("program", table["program"], programs, "program")
    return ErrorPage(index,
                     tuple(status) if isinstance(status, list) else (status,),
                     table.get("program"), table.get("arg", ""),
                     table.get("body", ""),
                     header_value(place, "type", table.get("type", TYPE)))


def _self(place: Place, table: dict[str, Any]) -> SelfRequests:
    socket = table.get("socket", "")
    if socket and not Path(socket).is_absolute():
        raise place.error("\"socket\" is an absolute path", "socket")
    return SelfRequests(socket, table.get("prefix", "http://127.0.0.1:6081"),
                        table.get("max", 50))


def parse(top: Place, table: dict[str, Any], programs: set[str],
          origins: set[str]) -> Policy:
    """What the schema cannot say of the tables. Raises ManifestError."""
    acls = tuple(_acl(top / "acls" / n, n, t)
                 for n, t in table.get("acls", {}).items())
    purge, health = table.get("purge"), table.get("health", {})
    if purge is not None:
        (top / "purge").known("acl", purge["acl"], {a.name for a in acls},
                              "acl")
    for origin in health.get("origins", ()):
        (top / "health").known("origin", origin, origins, "origins")
    cache = table.get("cache", {})
    return Policy(
        acls=acls,
        directors=tuple(_director(top / "directors" / n, n, t, origins)
                        for n, t in table.get("directors", {}).items()),
        errors=tuple(_error(top / "errors" / i, i + 1, t, programs)
                     for i, t in enumerate(table.get("errors", []))),
        purge=None if purge is None else purge["acl"],
        health=(health.get("path", "/healthz") if "health" in table
                else None),
        health_origins=tuple(health.get("origins", ())),
        self_requests=(_self(top / "self_requests", table["self_requests"])
                       if "self_requests" in table else None),
        cache=Cache(cache.get("ttl"), cache.get("grace"), cache.get("keep"),
                    tuple(cache.get("strip_query", ()))))
