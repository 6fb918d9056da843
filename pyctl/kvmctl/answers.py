# SPDX-License-Identifier: BSD-2-Clause
"""What a route of edge.toml answers, or adds to an answer, beside backends."""

import re
from dataclasses import dataclass
from typing import Any

from kvmctl import policy
from kvmctl.errors import ManifestError
from kvmctl.guest import settings

_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,100}")
_SYNTH: dict[str, tuple[type, ...]] = {
    "status": (int,), "program": (str,), "arg": (str,), "body": (str,),
    "type": (str,), "location": (str,)}
_HEADER: dict[str, tuple[type, ...]] = {
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
    settings.check(where, table, _HEADER)
    if not _HEADER_NAME.fullmatch(table.get("name", "")):
        raise ManifestError(f"{where}: \"name\" is no header name that VCL "
                            "can write: letters, digits, dashes and "
                            "underscores, a letter first")
    if "program" not in table:
        raise ManifestError(f"{where}: \"program\" is missing")
    policy.known(where, "program", table["program"], programs)
    return Header(table["name"], table["program"], table.get("arg", ""),
                  table.get("on_error", ""))


def synth(where: str, table: dict[str, Any],
          programs: set[str]) -> Synth | None:
    """A `synth`; None when a program makes it. Raises ManifestError."""
    settings.check(where, table, _SYNTH)
    status = table.get("status", 0)
    if status and not 200 <= status <= 599:
        raise ManifestError(f"{where}: \"status\" is 200 to 599, or 0 for "
                            "the program's own")
    fixed = [k for k in ("body", "type", "location") if k in table]
    if "program" in table:
        policy.known(where, "program", table["program"], programs)
        if fixed:
            raise ManifestError(f"{where}: \"{fixed[0]}\" is the program's "
                                "own")
        return None
    if not fixed:
        raise ManifestError(f"{where}: \"program\" is missing, or \"body\"")
    for key in ("type", "location"):
        policy.header_value(where, key, table.get(key, ""))
    return Synth(table.get("body", ""),
                 table.get("type", "text/html; charset=utf-8"),
                 table.get("location"))
