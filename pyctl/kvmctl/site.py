# SPDX-License-Identifier: BSD-2-Clause
"""edge.toml: which requests go to which program or origin."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvmctl import answers, inventory, policy
from kvmctl.answers import Header, Synth
from kvmctl.errors import ManifestError
from kvmctl.guest import settings
from kvmctl.inventory import Rollout
from kvmctl.policy import Policy
from kvmctl.tables import known, seconds
from kvmctl.varnish.admin import Node

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,255}")
_PORT = re.compile(r"[0-9]{1,5}|[a-z][a-z0-9-]*")
_URL = re.compile(r"/[!#-~]*")          # no quote, no blank
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_SITE: dict[str, tuple[type, ...]] = {
    "name": (str,), "listen": (str,), "vcl": (str,)}
_ORIGIN: dict[str, tuple[type, ...]] = {
    "host": (str,), "port": (int, str), "probe": (dict,)} | answers.ORIGIN
_PROBE: dict[str, tuple[type, ...]] = {
    "url": (str,), "interval": (int, float), "timeout": (int, float),
    "window": (int,), "threshold": (int,)}
_ROUTE: dict[str, tuple[type, ...]] = {
    "host": (str,), "path": (str,), "path_prefix": (str,),
    "path_regex": (str,), "methods": (list,), "program": (str,),
    "arg": (str,), "origin": (str,), "synth": (dict,), "stats": (bool,),
    "header": (dict,), "ttl": (int, float), "cache": (bool,),
    "probe": (dict, bool)} | answers.ROUTE
_ROUTE_PROBE: dict[str, tuple[type, ...]] = {
    "url": (str,), "method": (str,), "status": (int,), "body": (str,)}
_TOP: dict[str, tuple[type, ...]] = {
    "site": (dict,), "origins": (dict,), "programs": (dict,),
    "routes": (list,)} | policy.TABLES | inventory.TABLES


@dataclass(frozen=True)
class Probe:
    """A request that a new release must answer before it gets traffic."""

    url: str
    method: str = "GET"
    status: int | None = None           # None: anything below 500
    body: str | None = None             # a part of the answer


@dataclass(frozen=True)
class Route:
    """One [[routes]] entry. Exactly one target, or a header alone."""

    index: int
    host: str | None
    path_kind: str                      # exact, prefix, regex, any
    path: str
    methods: tuple[str, ...]
    program: str | None
    arg: str
    origin: str | None
    synth_program: str | None
    synth_status: int                   # 0: the program's
    synth_arg: str
    stats: bool                         # tinykvm.stats(), as JSON
    header_name: str | None
    header_program: str | None
    header_arg: str
    header_on_error: str
    ttl: float | None                   # seconds
    cache: bool
    probe: Probe | None
    synth: Synth | None = None          # one without a program
    response_header: Header | None = None
    chain: tuple[str, ...] = ()         # programs before the program
    acl: str | None = None              # who may; others get 403
    grace: float | None = None          # seconds
    keep: float | None = None           # seconds
    strip_cookies: bool = False
    ignore_query: bool = False
    esi: bool = False

    @property
    def target(self) -> str | None:
        """What answers, in words; None for a header alone."""
        if self.program is not None:
            return f"program {self.program}"
        if self.origin is not None:
            return f"origin {self.origin}"
        if self.synth_program is not None:
            return f"synth by {self.synth_program}"
        if self.synth is not None:
            return f"synth {self.synth_status or 200}"
        if self.stats:
            return "statistics of all programs"
        return None


@dataclass(frozen=True)
class Origin:
    """A backend that is a server."""

    name: str
    host: str
    port: str
    probe: dict[str, Any] | None
    host_header: str | None = None
    #: Seconds, by the name that VCL has.
    timeouts: dict[str, float] = field(default_factory=dict)
    max_connections: int | None = None


@dataclass(frozen=True)
class ProgramEntry:
    """A [programs.NAME] table: where it comes from, what it overrides."""

    name: str
    guest: Path | None                  # a directory with guest.toml
    file: Path | None                   # an executable
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """A checked edge.toml."""

    path: Path
    name: str
    listen: str
    origins: tuple[Origin, ...]
    programs: tuple[ProgramEntry, ...]
    routes: tuple[Route, ...]
    policy: Policy = Policy()
    nodes: tuple[Node, ...] = ()
    rollout: Rollout = Rollout()
    #: Templates and snippets of the user's own; may not exist.
    vcl: Path | None = None


def _named(where: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ManifestError(f"{where}: a table is expected")
    for name in table:
        if not _NAME.fullmatch(name):
            raise ManifestError(f"{where}: \"{name}\" is no name: letters, "
                                "digits, dashes and underscores, a letter "
                                "first")
    return table


def _url(where: str, url: str) -> str:
    if not _URL.fullmatch(url):
        raise ManifestError(f"{where}: \"{url}\" is no URL: / and printable "
                            "characters, quotes and blanks as %22 and %20")
    return url


def _origin(where: str, name: str, table: Any) -> Origin:
    settings.check(where, table, _ORIGIN)
    if "host" not in table:
        raise ManifestError(f"{where}: \"host\" is missing")
    host, port = table["host"], str(table.get("port", "80"))
    if not _HOST.fullmatch(host):
        raise ManifestError(f"{where}: \"host\" is no host name or address")
    if not _PORT.fullmatch(port):
        raise ManifestError(f"{where}: \"port\" is a number or a service")
    probe = table.get("probe")
    if probe is not None:
        settings.check(f"{where}.probe", probe, _PROBE)
        seconds(f"{where}.probe", probe, "interval", "timeout")
        _url(f"{where}.probe", probe.get("url", "/"))
        if not 0 <= probe.get("threshold", 3) <= probe.get("window", 8) <= 64:
            raise ManifestError(f"{where}.probe: \"threshold\" is at most "
                                "\"window\", and that at most 64")
    return Origin(name, host, port, probe, **answers.origin(where, table))


def _program(where: str, base: Path, name: str, table: Any) -> ProgramEntry:
    keys = settings.ALL | {"guest": (str,), "file": (str,)}
    settings.check(where, table, keys)
    if ("guest" in table) == ("file" in table):
        raise ManifestError(f"{where}: either \"guest\" (a directory with "
                            "guest.toml) or \"file\" (an executable)")
    rest = {k: v for k, v in table.items() if k not in ("guest", "file")}
    guest, file = table.get("guest"), table.get("file")
    return ProgramEntry(name, (base / guest).resolve() if guest else None,
                        (base / file).resolve() if file else None, rest)


def _path(where: str, table: dict[str, Any]) -> tuple[str, str]:
    given = [k for k in ("path", "path_prefix", "path_regex") if k in table]
    if len(given) > 1:
        raise ManifestError(f"{where}: only one of {', '.join(given)}")
    if not given:
        return "any", ""
    kind = {"path": "exact", "path_prefix": "prefix",
            "path_regex": "regex"}[given[0]]
    value: str = table[given[0]]
    if kind != "regex":
        _url(where, value)
    return kind, value


def _route_probe(where: str, table: dict[str, Any], kind: str,
                 path: str, methods: tuple[str, ...]) -> Probe | None:
    probe = table.get("probe", True)
    usual = methods[0] if methods else "GET"
    if probe is False:
        return None
    if isinstance(probe, dict):
        settings.check(f"{where}.probe", probe, _ROUTE_PROBE)
        if "url" not in probe and kind == "regex":
            raise ManifestError(f"{where}.probe: with path_regex it needs a "
                                "\"url\"")
        return Probe(_url(f"{where}.probe", probe.get("url", path or "/")),
                     probe.get("method", usual), probe.get("status"),
                     probe.get("body"))
    return None if kind == "regex" else Probe(path or "/", usual)


def _methods(where: str, table: dict[str, Any]) -> tuple[str, ...]:
    methods = tuple(table.get("methods", ()))
    for method in methods:
        if not isinstance(method, str) or not _TOKEN.fullmatch(method):
            raise ManifestError(f"{where}: {method!r} is no method")
    return methods


def _targets(where: str, table: dict[str, Any]) -> bool:
    """Is there one? More than one, or nothing to do, is an error."""
    targets = [k for k in ("program", "origin", "synth", "stats")
               if table.get(k)]
    alone = "header" in table or "response_header" in table
    if len(targets) > 1 or (not targets and not alone):
        raise ManifestError(f"{where}: exactly one of program, origin, synth, "
                            "stats (or a header alone)")
    return bool(targets)


def _route(where: str, index: int, table: Any, programs: set[str],
           origins: set[str], acls: set[str]) -> Route:
    settings.check(where, table, _ROUTE)
    targeted = _targets(where, table)
    header = answers.header(f"{where}.header", table.get("header"), programs)
    more = answers.route(where, table, programs, acls)
    synth = table.get("synth", {})
    for what, names in (("program", programs), ("origin", origins)):
        if what in table:
            known(where, what, table[what], names)
    methods = _methods(where, table)
    if "path_regex" in table:
        try:
            re.compile(table["path_regex"])
        except re.error as e:
            raise ManifestError(f"{where}: path_regex: {e}") from None
    seconds(where, table, "ttl")
    kind, path = _path(where, table)
    probed = "origin" not in table and targeted
    probe = (_route_probe(where, table, kind, path, methods) if probed
             else None)
    return Route(
        index=index, host=table.get("host"), path_kind=kind, path=path,
        methods=methods, program=table.get("program"),
        arg=table.get("arg", ""), origin=table.get("origin"),
        synth_program=synth.get("program"),
        synth_status=synth.get("status", 0), synth_arg=synth.get("arg", ""),
        stats=table.get("stats", False),
        header_name=header.name if header else None,
        header_program=header.program if header else None,
        header_arg=header.arg if header else "",
        header_on_error=header.on_error if header else "",
        ttl=table.get("ttl"), cache=table.get("cache", True), probe=probe,
        **more)


def parse(path: Path, table: dict[str, Any]) -> Site:
    """Checks the table of an edge.toml."""
    where = str(path)
    settings.check(where, table, _TOP)
    site = settings.check(f"{where} [site]", table.get("site", {}), _SITE)
    name = site.get("name", path.resolve().parent.name)
    if not _NAME.fullmatch(name):
        raise ManifestError(f"{where} [site]: \"{name}\" is no name: letters, "
                            "digits, dashes and underscores, a letter first")
    origins = tuple(
        _origin(f"{where} [origins.{n}]", n, t) for n, t in
        _named(f"{where} [origins]", table.get("origins", {})).items())
    programs = tuple(
        _program(f"{where} [programs.{n}]", path.resolve().parent, n, t)
        for n, t in
        _named(f"{where} [programs]", table.get("programs", {})).items())
    for key in ("acls", "directors", "nodes"):
        _named(f"{where} [{key}]", table.get(key, {}))
    rules = policy.parse(where, table, {p.name for p in programs},
                         {o.name for o in origins})
    behind = {o.name for o in origins} | {d.name for d in rules.directors}
    if len(behind) < len(origins) + len(rules.directors):
        raise ManifestError(f"{where} [directors]: an origin has the same "
                            "name as a director")
    routes = tuple(
        _route(f"{where} [[routes]] number {i}", i, t,
               {p.name for p in programs}, behind,
               {a.name for a in rules.acls})
        for i, t in enumerate(table.get("routes", []), 1))
    base = path.resolve().parent
    return Site(path=path.resolve(), name=name,
                listen=site.get("listen", "127.0.0.1:8080"), origins=origins,
                programs=programs, routes=routes, policy=rules,
                nodes=inventory.nodes(where, base, table.get("nodes", {})),
                rollout=inventory.rollout(f"{where} [rollout]",
                                          table.get("rollout", {})),
                vcl=base / site.get("vcl", "vcl.d"))


def load(path: Path) -> Site:
    """Reads an edge.toml. Raises ManifestError with file, place and key."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as e:
        raise ManifestError(f"cannot read {path}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ManifestError(f"{path}: {e}") from None
    return parse(path, table)
