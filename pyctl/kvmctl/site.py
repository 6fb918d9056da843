# SPDX-License-Identifier: BSD-2-Clause
"""edge.toml: which requests go to which program or origin."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvmctl import answers, files, inventory, policy, schema
from kvmctl import document as documents
from kvmctl.answers import Header, Synth
from kvmctl.document import Document, Place
from kvmctl.inventory import Rollout
from kvmctl.policy import Policy
from kvmctl.schema import check as schema_check
from kvmctl.varnish.admin import Node

_NAME = re.compile(
    schema.load("edge")["properties"]["site"]["properties"]["name"]["pattern"])
_TIMEOUTS = ("connect_timeout", "first_byte_timeout", "between_bytes_timeout")


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
    header: Header | None               # of the request
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
    #: Whose programs alone are deployed: a key, or a directory of keys.
    trusted: Path | None = None


def _origin(place: Place, name: str, table: dict[str, Any]) -> Origin:
    probe = table.get("probe")
    if probe is not None and not (
            probe.get("threshold", 3) <= probe.get("window", 8)):
        raise (place / "probe").error("\"threshold\" is at most \"window\"")
    return Origin(name, table["host"], str(table.get("port", "80")), probe,
                  table.get("host_header"),
                  {k: table[k] for k in _TIMEOUTS if k in table},
                  table.get("max_connections"))


def _program(base: Path, name: str, table: dict[str, Any]) -> ProgramEntry:
    rest = {k: v for k, v in table.items() if k not in ("guest", "file")}
    guest, file = table.get("guest"), table.get("file")
    return ProgramEntry(
        name, files.real(base / guest) if guest is not None else None,
        files.real(base / file) if file is not None else None, rest)


def _path(place: Place, table: dict[str, Any]) -> tuple[str, str]:
    given = [k for k in ("path", "path_prefix", "path_regex") if k in table]
    if len(given) > 1:
        raise place.error(f"only one of {', '.join(given)}", given[1])
    if not given:
        return "any", ""
    kind = {"path": "exact", "path_prefix": "prefix",
            "path_regex": "regex"}[given[0]]
    if kind == "regex":
        place.pattern("path_regex", table["path_regex"])
    return kind, table[given[0]]


def _route_probe(place: Place, table: dict[str, Any], kind: str,
                 path: str, methods: tuple[str, ...]) -> Probe | None:
    probe = table.get("probe", True)
    usual = methods[0] if methods else "GET"
    if probe is False:
        return None
    if isinstance(probe, dict):
        if "url" not in probe and kind == "regex":
            raise (place / "probe").error("with path_regex it needs a \"url\"")
        return Probe(probe.get("url", path or "/"),
                     probe.get("method", usual), probe.get("status"),
                     probe.get("body"))
    return None if kind == "regex" else Probe(path or "/", usual)


def _check_targets(place: Place, table: dict[str, Any], programs: set[str],
                   origins: set[str]) -> bool:
    """Is there one? It is there, and there are not two."""
    targets = [k for k in ("program", "origin", "synth", "stats")
               if table.get(k)]
    alone = "header" in table or "response_header" in table
    if len(targets) > 1 or (not targets and not alone):
        raise place.error("exactly one of program, origin, synth, stats (or a "
                          "header alone)", targets[1] if targets else None)
    for what, names in (("program", programs), ("origin", origins)):
        if what in table:
            place.known(what, table[what], names, what)
    return bool(targets)


def _route(place: Place, index: int, table: dict[str, Any],
           programs: set[str], origins: set[str], acls: set[str]) -> Route:
    targeted = _check_targets(place, table, programs, origins)
    if "acl" in table:
        place.known("acl", table["acl"], acls, "acl")
        if not targeted:
            # It would keep nobody from what a later route answers.
            raise place.error("\"acl\" is for a route that answers: with "
                              "program, origin, synth or stats", "acl")
    synth = table.get("synth", {})
    methods = tuple(table.get("methods", ()))
    kind, path = _path(place, table)
    probed = "origin" not in table and targeted
    probe = (_route_probe(place, table, kind, path, methods) if probed
             else None)
    return Route(
        index=index, host=table.get("host"), path_kind=kind, path=path,
        methods=methods, program=table.get("program"),
        arg=table.get("arg", ""), origin=table.get("origin"),
        synth_program=synth.get("program"),
        synth_status=synth.get("status", 0), synth_arg=synth.get("arg", ""),
        stats=table.get("stats", False),
        header=answers.header(place / "header", table.get("header"), programs),
        ttl=table.get("ttl"), cache=table.get("cache", True), probe=probe,
        synth=answers.synth(place / "synth", table.get("synth"), programs),
        response_header=answers.header(
            place / "response_header", table.get("response_header"), programs),
        chain=answers.chain(place, table, programs), acl=table.get("acl"),
        grace=table.get("grace"), keep=table.get("keep"),
        strip_cookies=table.get("strip_cookies", False),
        ignore_query=table.get("ignore_query", False),
        esi=table.get("esi", False))


def parse(path: Path, table: dict[str, Any], text: str = "") -> Site:
    """Checks the table of an edge.toml; text is the file's, for lines.

    Raises DocumentError with file, line and key.
    """
    document = Document(path, table, text)
    schema_check.check("edge", document)
    top = document.top
    site = table.get("site", {})
    name = site.get("name", files.real(path).parent.name)
    if not _NAME.fullmatch(name):
        raise (top / "site").error(
            f"\"name\" is missing, and the directory's, \"{name}\", is none: "
            "letters, digits, dashes and underscores, a letter first")
    origins = tuple(_origin(top / "origins" / n, n, t)
                    for n, t in table.get("origins", {}).items())
    base = files.real(path).parent
    programs = tuple(_program(base, n, t)
                     for n, t in table.get("programs", {}).items())
    rules = policy.parse(top, table, {p.name for p in programs},
                         {o.name for o in origins})
    behind = {o.name for o in origins} | {d.name for d in rules.directors}
    if len(behind) < len(origins) + len(rules.directors):
        raise (top / "directors").error("an origin has the same name as a "
                                        "director")
    routes = tuple(
        _route(top / "routes" / i, i + 1, t, {p.name for p in programs},
               behind, {a.name for a in rules.acls})
        for i, t in enumerate(table.get("routes", [])))
    return Site(path=files.real(path), name=name,
                listen=site.get("listen", "127.0.0.1:8080"), origins=origins,
                programs=programs, routes=routes, policy=rules,
                nodes=tuple(inventory.node(top / "nodes" / n, base, n, t)
                            for n, t in table.get("nodes", {}).items()),
                rollout=Rollout(**table.get("rollout", {})),
                vcl=base / site.get("vcl", "vcl.d"),
                trusted=base / site["trusted"] if "trusted" in site else None)


def load(path: Path) -> Site:
    """Reads an edge.toml. Raises ManifestError with file, line and key."""
    document = documents.read(path)
    return parse(path, document.table, document.text)
