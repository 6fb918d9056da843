# SPDX-License-Identifier: BSD-2-Clause
"""[nodes] and [rollout] of edge.toml: where a site goes, and how carefully."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.document import Place
from kvmctl.errors import UsageError
from kvmctl.varnish.admin import Node


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


def node(place: Place, base: Path, name: str, table: dict[str, Any]) -> Node:
    """One of [nodes]. Raises ManifestError."""
    if "name" in table and "address" in table:
        raise place.error("either \"name\", or \"address\" with \"secret\"",
                          "address")
    ssh = table.get("ssh")
    if ssh is None and "store" in table:
        raise place.error("\"store\" is a directory of the other machine, with "
                          "\"ssh\"", "store")
    if not Path(table.get("store", "/")).is_absolute():
        # varnishd would look for it elsewhere than ssh does.
        raise place.error("\"store\" is an absolute path", "store")
    secret, instance = table.get("secret"), table.get("name")
    if secret is not None and ssh is None:
        secret = base / secret
    if instance is not None and "/" in instance and ssh is None:
        instance = str(base / instance)
    return Node(name=instance, address=table.get("address"),
                secret=Path(secret) if secret else None, ssh=ssh, title=name,
                store=Path(table["store"]) if "store" in table else None,
                http=table.get("http"))


def chosen(known: tuple[Node, ...], names: Iterable[str]) -> tuple[Node, ...]:
    """The nodes of these names; all of them for none."""
    wanted = list(dict.fromkeys(names))
    missing = [n for n in wanted if n not in {k.title for k in known}]
    if missing:
        raise UsageError(f"edge.toml has no node {', '.join(missing)}; it has "
                         + (", ".join(str(n) for n in known) or "none"))
    return tuple(n for n in known if not wanted or n.title in wanted)
