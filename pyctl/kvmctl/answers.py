# SPDX-License-Identifier: BSD-2-Clause
"""What routes and origins of edge.toml say beyond who answers.

site.py keeps who answers; each function here gives what a Route or an Origin
has besides, by the names of its fields.
"""

import re
from dataclasses import dataclass
from typing import Any

from kvmctl.errors import ManifestError
from kvmctl.policy import header_value
from kvmctl.tables import Types, check, known, seconds, strings

_NUMBER = (int, float)
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,255}")
_TIMEOUTS = ("connect_timeout", "first_byte_timeout", "between_bytes_timeout")
#: Keys of [[routes]] and of [origins.NAME] that are checked here.
ROUTE: Types = {
    "response_header": (dict,), "chain": (list,), "acl": (str,),
    "grace": _NUMBER, "keep": _NUMBER, "strip_cookies": (bool,),
    "ignore_query": (bool,), "esi": (bool,)}
ORIGIN: Types = {"host_header": (str,), "max_connections": (int,),
                 **dict.fromkeys(_TIMEOUTS, _NUMBER)}
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,100}")
_SYNTH: Types = {
    "status": (int,), "program": (str,), "arg": (str,), "body": (str,),
    "type": (str,), "location": (str,)}
_HEADER: Types = {
    "name": (str,), "program": (str,), "arg": (str,), "on_error": (str,)}


@dataclass(frozen=True)
class Header:
    """The answer of a program as a header."""

    name: str
    program: str
    arg: str
    on_error: str


@dataclass(frozen=True)
class Synth:
    """A synthetic answer of fixed words."""

    body: str
    type: str
    location: str | None


def header(where: str, table: Any, programs: set[str]) -> Header | None:
    """A `header` or `response_header`. Raises ManifestError."""
    if table is None:
        return None
    check(where, table, _HEADER)
    if not _HEADER_NAME.fullmatch(table.get("name", "")):
        raise ManifestError(f"{where}: \"name\" is no header name that VCL "
                            "can write: letters, digits, dashes and "
                            "underscores, a letter first")
    if "program" not in table:
        raise ManifestError(f"{where}: \"program\" is missing")
    known(where, "program", table["program"], programs)
    return Header(table["name"], table["program"], table.get("arg", ""),
                  table.get("on_error", ""))


def synth(where: str, table: dict[str, Any],
          programs: set[str]) -> Synth | None:
    """A `synth`; None when a program makes it. Raises ManifestError."""
    check(where, table, _SYNTH)
    status = table.get("status", 0)
    if status and not 200 <= status <= 599:
        raise ManifestError(f"{where}: \"status\" is 200 to 599, or 0 for "
                            "the program's own")
    fixed = [k for k in ("body", "type", "location") if k in table]
    if "program" in table:
        known(where, "program", table["program"], programs)
        if fixed:
            raise ManifestError(f"{where}: \"{fixed[0]}\" is the program's "
                                "own")
        return None
    if not fixed:
        raise ManifestError(f"{where}: \"program\" is missing, or \"body\"")
    for key in ("type", "location"):
        header_value(where, key, table.get(key, ""))
    return Synth(table.get("body", ""),
                 table.get("type", "text/html; charset=utf-8"),
                 table.get("location"))


def route(where: str, table: dict[str, Any], programs: set[str],
          acls: set[str]) -> dict[str, Any]:
    """Fields of a Route. Raises ManifestError."""
    chain = strings(where, table, "chain")
    if chain and "program" not in table:
        raise ManifestError(f"{where}: \"chain\" is for a route with "
                            "\"program\", the chain's last")
    if len(chain) > 16:
        raise ManifestError(f"{where}: \"chain\" is at most 16 programs")
    for name in chain:
        known(where, "program", name, programs)
    if "acl" in table:
        known(where, "acl", table["acl"], acls)
    seconds(where, table, "grace", "keep")
    return {
        "synth": (synth(f"{where}.synth", table["synth"], programs)
                  if "synth" in table else None),
        "response_header": header(f"{where}.response_header",
                                  table.get("response_header"), programs),
        "chain": chain, "acl": table.get("acl"), "grace": table.get("grace"),
        "keep": table.get("keep"),
        "strip_cookies": table.get("strip_cookies", False),
        "ignore_query": table.get("ignore_query", False),
        "esi": table.get("esi", False)}


def origin(where: str, table: dict[str, Any]) -> dict[str, Any]:
    """Fields of an Origin. Raises ManifestError."""
    seconds(where, table, *_TIMEOUTS)
    most = table.get("max_connections")
    if most is not None and not 1 <= most <= 1_000_000:
        raise ManifestError(f"{where}: \"max_connections\" is 1 to 1000000")
    name = table.get("host_header")
    if name is not None and not _HOST.fullmatch(name):
        raise ManifestError(f"{where}: \"host_header\" is no host name")
    return {"host_header": name, "max_connections": most,
            "timeouts": {k: table[k] for k in _TIMEOUTS if k in table}}
