# SPDX-License-Identifier: BSD-2-Clause
"""edge.toml: which requests go to which program or origin."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvmctl.errors import ManifestError
from kvmctl.guest import settings

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,40}")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,255}")
_PORT = re.compile(r"[0-9]{1,5}|[a-z][a-z0-9-]*")
_URL = re.compile(r"/[!#-~]*")          # no quote, no blank
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,100}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_SITE: dict[str, tuple[type, ...]] = {"name": (str,), "listen": (str,)}
_ORIGIN: dict[str, tuple[type, ...]] = {
    "host": (str,), "port": (int, str), "probe": (dict,)}
_PROBE: dict[str, tuple[type, ...]] = {
    "url": (str,), "interval": (int, float), "timeout": (int, float),
    "window": (int,), "threshold": (int,)}
_ROUTE: dict[str, tuple[type, ...]] = {
    "host": (str,), "path": (str,), "path_prefix": (str,),
    "path_regex": (str,), "methods": (list,), "program": (str,),
    "arg": (str,), "origin": (str,), "synth": (dict,), "stats": (bool,),
    "header": (dict,), "ttl": (int, float), "cache": (bool,),
    "probe": (dict, bool)}
_SYNTH: dict[str, tuple[type, ...]] = {
    "status": (int,), "program": (str,), "arg": (str,)}
_HEADER: dict[str, tuple[type, ...]] = {
    "name": (str,), "program": (str,), "arg": (str,), "on_error": (str,)}
_ROUTE_PROBE: dict[str, tuple[type, ...]] = {
    "url": (str,), "method": (str,), "status": (int,), "body": (str,)}
_TOP: dict[str, tuple[type, ...]] = {
    "site": (dict,), "origins": (dict,), "programs": (dict,),
    "routes": (list,)}


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

    @property
    def target(self) -> str | None:
        """What answers, in words; None for a header alone."""
        if self.program is not None:
            return f"program {self.program}"
        if self.origin is not None:
            return f"origin {self.origin}"
        if self.synth_program is not None:
            return f"synth by {self.synth_program}"
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


def _named(where: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ManifestError(f"{where}: a table is expected")
    for name in table:
        if not _NAME.fullmatch(name):
            raise ManifestError(f"{where}: \"{name}\" is no name: letters, "
                                "digits, dashes and underscores, a letter "
                                "first")
    return table


def _seconds(where: str, table: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if key in table and not 0 <= table[key] <= 1e9:
            raise ManifestError(f"{where}: \"{key}\" is seconds, from 0 on")


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
        _seconds(f"{where}.probe", probe, "interval", "timeout")
        _url(f"{where}.probe", probe.get("url", "/"))
        if not 0 <= probe.get("threshold", 3) <= probe.get("window", 8) <= 64:
            raise ManifestError(f"{where}.probe: \"threshold\" is at most "
                                "\"window\", and that at most 64")
    return Origin(name, host, port, probe)


def _program(where: str, base: Path, name: str, table: Any) -> ProgramEntry:
    known = settings.ALL | {"guest": (str,), "file": (str,)}
    settings.check(where, table, known)
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


def _route(where: str, index: int, table: Any, programs: set[str],
           origins: set[str]) -> Route:
    settings.check(where, table, _ROUTE)
    synth, header = table.get("synth"), table.get("header")
    if synth is not None:
        settings.check(f"{where}.synth", synth, _SYNTH)
    if header is not None:
        settings.check(f"{where}.header", header, _HEADER)
        if not _HEADER_NAME.fullmatch(header.get("name", "")):
            raise ManifestError(f"{where}.header: \"name\" is no header name "
                                "that VCL can write: letters, digits, dashes "
                                "and underscores, a letter first")
    targets = [k for k in ("program", "origin", "synth", "stats")
               if table.get(k)]
    if len(targets) > 1 or (not targets and header is None):
        raise ManifestError(f"{where}: exactly one of program, origin, synth, "
                            "stats (or a header alone)")
    used = [table.get("program"), (synth or {}).get("program"),
            (header or {}).get("program")]
    for name in used:
        if name is not None and name not in programs:
            raise ManifestError(f"{where}: there is no program \"{name}\"")
    if "origin" in table and table["origin"] not in origins:
        raise ManifestError(
            f"{where}: there is no origin \"{table['origin']}\"")
    for part, what in ((synth, "synth"), (header, "header")):
        if part is not None and "program" not in part:
            raise ManifestError(f"{where}.{what}: \"program\" is missing")
    methods = tuple(table.get("methods", ()))
    for method in methods:
        if not isinstance(method, str) or not _TOKEN.fullmatch(method):
            raise ManifestError(f"{where}: {method!r} is no method")
    if "path_regex" in table:
        try:
            re.compile(table["path_regex"])
        except re.error as e:
            raise ManifestError(f"{where}: path_regex: {e}") from None
    _seconds(where, table, "ttl")
    status = (synth or {}).get("status", 0)
    if status and not 200 <= status <= 599:
        raise ManifestError(f"{where}.synth: \"status\" is 200 to 599, or 0 "
                            "for the program's own")
    kind, path = _path(where, table)
    probed = "origin" not in table and bool(targets)
    probe = (_route_probe(where, table, kind, path, methods) if probed
             else None)
    return Route(
        index=index, host=table.get("host"), path_kind=kind, path=path,
        methods=methods, program=table.get("program"),
        arg=table.get("arg", ""), origin=table.get("origin"),
        synth_program=(synth or {}).get("program"),
        synth_status=status,
        synth_arg=(synth or {}).get("arg", ""),
        stats=table.get("stats", False),
        header_name=(header or {}).get("name"),
        header_program=(header or {}).get("program"),
        header_arg=(header or {}).get("arg", ""),
        header_on_error=(header or {}).get("on_error", ""),
        ttl=table.get("ttl"), cache=table.get("cache", True), probe=probe)


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
    routes = tuple(
        _route(f"{where} [[routes]] number {i}", i, t,
               {p.name for p in programs}, {o.name for o in origins})
        for i, t in enumerate(table.get("routes", []), 1))
    return Site(path=path.resolve(), name=name,
                listen=site.get("listen", "127.0.0.1:8080"), origins=origins,
                programs=programs, routes=routes)


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
