# SPDX-License-Identifier: BSD-2-Clause
"""Tables of edge.toml whose checks are beside what they become."""

import difflib
from typing import Any

from kvmctl.errors import ManifestError

Types = dict[str, tuple[type, ...]]


def unknown_key(where: str, key: str, known: list[str]) -> ManifestError:
    """The error for a key that nobody knows, with the likeliest one meant."""
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean \"{near[0]}\"?" if near else ""
    return ManifestError(f"{where}: there is no key \"{key}\"{hint}")


def check(where: str, table: Any, known: Types) -> dict[str, Any]:
    """The table, when every key is known and of its type."""
    if not isinstance(table, dict):
        raise ManifestError(f"{where}: a table is expected")
    for key, value in table.items():
        if key not in known:
            raise unknown_key(where, key, list(known))
        types = known[key]
        is_bool = isinstance(value, bool)
        if not isinstance(value, types) or (is_bool and bool not in types):
            names = " or ".join(t.__name__ for t in types)
            raise ManifestError(f"{where}: \"{key}\" is of type {names}")
    return table


def seconds(where: str, table: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if key in table and not 0 <= table[key] <= 1e9:
            raise ManifestError(f"{where}: \"{key}\" is seconds, from 0 on")


def strings(where: str, table: dict[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not all(isinstance(v, str) for v in value):
        raise ManifestError(f"{where}: \"{key}\" is a list of strings")
    return tuple(value)


def known(where: str, what: str, name: str, names: set[str]) -> str:
    """The name, when it is one of those."""
    if name not in names:
        raise ManifestError(f"{where}: there is no {what} \"{name}\"")
    return name
