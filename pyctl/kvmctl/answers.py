# SPDX-License-Identifier: BSD-2-Clause
"""What routes of edge.toml say beyond who answers."""

from dataclasses import dataclass
from typing import Any

from kvmctl.document import Place
from kvmctl.policy import TYPE, header_value


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


def header(place: Place, table: dict[str, Any] | None,
           programs: set[str]) -> Header | None:
    """A `header` or `response_header`. Raises ManifestError."""
    if table is None:
        return None
    place.known("program", table["program"], programs, "program")
    return Header(table["name"], table["program"], table.get("arg", ""),
                  table.get("on_error", ""))


def synth(place: Place, table: dict[str, Any] | None,
          programs: set[str]) -> Synth | None:
    """A `synth`; None when a program makes it. Raises ManifestError."""
    if table is None:
        return None
    fixed = [k for k in ("body", "type", "location") if k in table]
    if "program" in table:
        place.known("program", table["program"], programs, "program")
        if fixed:
            raise place.error(f"\"{fixed[0]}\" is the program's own",
                              fixed[0])
        return None
    if not fixed:
        raise place.error("\"program\" is missing, or \"body\"")
    for key in ("type", "location"):
        header_value(place, key, table.get(key, ""))
    return Synth(table.get("body", ""), table.get("type", TYPE),
                 table.get("location"))


def chain(place: Place, table: dict[str, Any],
          programs: set[str]) -> tuple[str, ...]:
    """A route's `chain`. Raises ManifestError."""
    names = tuple(table.get("chain", ()))
    if names and "program" not in table:
        raise place.error("\"chain\" is for a route with \"program\", the "
                          "chain's last", "chain")
    for name in names:
        place.known("program", name, programs, "chain")
    return names
