# SPDX-License-Identifier: BSD-2-Clause
"""[nodes] and [rollout] of edge.toml: where a site goes, and how carefully."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.errors import ManifestError, UsageError
from kvmctl.tables import check
from kvmctl.varnish.admin import Node

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):[0-9]{1,5}")
_DESTINATION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:+-]*")
_NODE: dict[str, tuple[type, ...]] = {
    "name": (str,), "address": (str,), "secret": (str,), "ssh": (str,),
    "store": (str,), "http": (str,)}
_ROLLOUT: dict[str, tuple[type, ...]] = {
    "concurrency": (int,), "failures": (int,)}
TABLES: dict[str, tuple[type, ...]] = {"nodes": (dict,), "rollout": (dict,)}


@dataclass(frozen=True)
class Rollout:
    """How a deployment goes over many nodes."""

    concurrency: int = 4                # nodes at a time, 1 to 64
    failures: int = 0                   # nodes that may fail

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= 64:
            raise UsageError("concurrency is 1 to 64 nodes at a time")
        if not 0 <= self.failures <= 10000:
            raise UsageError("failures is the number of nodes that may fail")


def _node(where: str, base: Path, name: str, table: Any) -> Node:
    check(where, table, _NODE)
    if "name" in table and "address" in table:
        raise ManifestError(f"{where}: either \"name\", or \"address\" with "
                            "\"secret\"")
    for key in ("address", "http"):
        if key in table and not _ADDRESS.fullmatch(table[key]):
            raise ManifestError(f"{where}: \"{key}\" is HOST:PORT")
    ssh = table.get("ssh")
    if ssh is not None and not _DESTINATION.fullmatch(ssh):
        raise ManifestError(f"{where}: \"ssh\" is a destination: USER@HOST")
    if ssh is None and "store" in table:
        raise ManifestError(f"{where}: \"store\" is a directory of the other "
                            "machine, with \"ssh\"")
    secret, instance = table.get("secret"), table.get("name")
    if secret is not None and ssh is None:
        secret = base / secret
    if instance is not None and "/" in instance and ssh is None:
        instance = str(base / instance)
    return Node(name=instance, address=table.get("address"),
                secret=Path(secret) if secret else None, ssh=ssh, title=name,
                store=Path(table["store"]) if "store" in table else None,
                http=table.get("http"))


def nodes(where: str, base: Path, table: Any) -> tuple[Node, ...]:
    """Checks [nodes]. Raises ManifestError."""
    return tuple(_node(f"{where} [nodes.{n}]", base, n, t)
                 for n, t in table.items())


def rollout(where: str, table: Any) -> Rollout:
    check(where, table, _ROLLOUT)
    try:
        return Rollout(**table)
    except UsageError as e:
        raise ManifestError(f"{where}: {e}") from None


def chosen(known: tuple[Node, ...], names: Iterable[str]) -> tuple[Node, ...]:
    """The nodes of these names; all of them for none."""
    wanted = list(dict.fromkeys(names))
    missing = [n for n in wanted if n not in {k.title for k in known}]
    if missing:
        raise UsageError(f"edge.toml has no node {', '.join(missing)}; it has "
                         + (", ".join(str(n) for n in known) or "none"))
    return tuple(n for n in known if not wanted or n.title in wanted)
