# SPDX-License-Identifier: BSD-2-Clause
"""The tables of edge.toml that are about the site and not about one route."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.errors import ManifestError
from kvmctl.tables import check, known, seconds, strings

_NUMBER = (int, float)
_HEADER_VALUE = re.compile(r"[\x20-\x7e\x80-\U0010ffff]*")
_PARAMETER = re.compile(r"[A-Za-z0-9_.*\[\]-]{1,100}")
_DIRECTORS = ("round_robin", "random", "fallback", "hash")
#: Where error pages can be, and what a synthetic answer can say.
_STATUS = range(200, 600)

TABLES: dict[str, tuple[type, ...]] = {
    "acls": (dict,), "directors": (dict,), "errors": (list,),
    "purge": (dict,), "health": (dict,), "self_requests": (dict,),
    "cache": (dict,)}
_ACL: dict[str, tuple[type, ...]] = {"allow": (list,), "deny": (list,)}
_DIRECTOR: dict[str, tuple[type, ...]] = {
    "kind": (str,), "origins": (list,), "weights": (list,)}
_ERROR: dict[str, tuple[type, ...]] = {
    "status": (int, list), "program": (str,), "arg": (str,), "body": (str,),
    "type": (str,)}
_PURGE: dict[str, tuple[type, ...]] = {"acl": (str,)}
_HEALTH: dict[str, tuple[type, ...]] = {"path": (str,), "origins": (list,)}
_SELF: dict[str, tuple[type, ...]] = {
    "socket": (str,), "prefix": (str,), "max": (int,)}
_CACHE: dict[str, tuple[type, ...]] = {
    "ttl": _NUMBER, "grace": _NUMBER, "keep": _NUMBER, "strip_query": (list,)}


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


def header_value(where: str, key: str, value: str) -> str:
    """A string that a header can hold."""
    if not _HEADER_VALUE.fullmatch(value):
        raise ManifestError(f"{where}: \"{key}\" has a line break or another "
                            "control character")
    return value


def _acl(where: str, name: str, table: Any) -> Acl:
    check(where, table, _ACL)
    rows = []
    for allowed, key in ((True, "allow"), (False, "deny")):
        for text in strings(where, table, key):
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise ManifestError(f"{where}: \"{text}\" is no address or "
                                    "network: 10.0.0.0/8") from None
            rows.append((allowed, str(network.network_address),
                         network.prefixlen))
    return Acl(name, tuple(rows))


def _director(where: str, name: str, table: Any,
              origins: set[str]) -> Director:
    check(where, table, _DIRECTOR)
    kind = table.get("kind", "round_robin")
    if kind not in _DIRECTORS:
        raise ManifestError(f"{where}: \"kind\" is one of "
                            + ", ".join(_DIRECTORS))
    members = strings(where, table, "origins")
    if not members:
        raise ManifestError(f"{where}: \"origins\" names no origin")
    for member in members:
        known(where, "origin", member, origins)
    weights = table.get("weights", [1] * len(members))
    if len(weights) != len(members) or not all(
            isinstance(w, _NUMBER) and not isinstance(w, bool)
            and 0 < w <= 1e6 for w in weights):
        raise ManifestError(f"{where}: \"weights\" is a number above 0 for "
                            "each origin")
    if "weights" in table and kind not in ("random", "hash"):
        raise ManifestError(f"{where}: \"weights\" is nothing to {kind}")
    return Director(name, kind, members, tuple(weights))


def _error(where: str, index: int, table: Any,
           programs: set[str]) -> ErrorPage:
    check(where, table, _ERROR)
    status = table.get("status", [])
    status = [status] if isinstance(status, int) else status
    if not status or not all(isinstance(s, int) and s in _STATUS
                             for s in status):
        raise ManifestError(f"{where}: \"status\" is 200 to 599, or a list")
    if ("program" in table) == ("body" in table):
        raise ManifestError(f"{where}: either \"program\" or \"body\"")
    if "program" in table:
        known(where, "program", table["program"], programs)
    return ErrorPage(index, tuple(status), table.get("program"),
                     table.get("arg", ""), table.get("body", ""),
                     header_value(where, "type", table.get(
                         "type", "text/html; charset=utf-8")))


def _cache(where: str, table: Any) -> Cache:
    check(where, table, _CACHE)
    seconds(where, table, "ttl", "grace", "keep")
    names = strings(where, table, "strip_query")
    for name in names:
        if not _PARAMETER.fullmatch(name):
            raise ManifestError(f"{where}: \"{name}\" is no name of a "
                                "parameter; * at its end is any rest")
    return Cache(table.get("ttl"), table.get("grace"), table.get("keep"),
                 names)


def _self(where: str, table: Any) -> SelfRequests:
    check(where, table, _SELF)
    socket = table.get("socket", "")
    if socket and not Path(socket).is_absolute():
        raise ManifestError(f"{where}: \"socket\" is an absolute path")
    most = table.get("max", 50)
    if not 1 <= most <= 10000:
        raise ManifestError(f"{where}: \"max\" is 1 to 10000")
    return SelfRequests(socket, table.get("prefix", "http://127.0.0.1:6081"),
                        most)


def parse(where: str, table: dict[str, Any], programs: set[str],
          origins: set[str]) -> Policy:
    """Checks the tables. Raises ManifestError with place and key."""
    acls = tuple(_acl(f"{where} [acls.{n}]", n, t)
                 for n, t in table.get("acls", {}).items())
    names = {a.name for a in acls}
    purge, health = table.get("purge"), table.get("health", {})
    if purge is not None:
        check(f"{where} [purge]", purge, _PURGE)
        if "acl" not in purge:
            raise ManifestError(f"{where} [purge]: \"acl\" is missing: who "
                                "may purge")
        known(f"{where} [purge]", "acl", purge["acl"], names)
    check(f"{where} [health]", health, _HEALTH)
    path = health.get("path", "/healthz")
    if not re.fullmatch(r"/[!#-~]*", path):
        raise ManifestError(f"{where} [health]: \"{path}\" is no path")
    for origin in strings(f"{where} [health]", health, "origins"):
        known(f"{where} [health]", "origin", origin, origins)
    return Policy(
        acls=acls,
        directors=tuple(_director(f"{where} [directors.{n}]", n, t, origins)
                        for n, t in table.get("directors", {}).items()),
        errors=tuple(_error(f"{where} [[errors]] number {i}", i, t, programs)
                     for i, t in enumerate(table.get("errors", []), 1)),
        purge=None if purge is None else purge["acl"],
        health=path if "health" in table else None,
        health_origins=tuple(health.get("origins", ())),
        self_requests=(_self(f"{where} [self_requests]",
                             table["self_requests"])
                       if "self_requests" in table else None),
        cache=_cache(f"{where} [cache]", table.get("cache", {})))
