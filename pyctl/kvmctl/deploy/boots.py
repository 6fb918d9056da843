# SPDX-License-Identifier: BSD-2-Clause
"""How long programs may take to boot, against how long Varnish waits for it.

vcl.load is done when the programs are up. A child process that has not answered
within the parameter cli_timeout is killed by Varnish's manager, with all that it
serves and keeps.
"""

from typing import Any

from kvmctl import schema
from kvmctl.errors import VarnishError

_USUAL: float = schema.load("settings")["$defs"]["limits"]["properties"][
    "max_boot_time"]["default"]


def longest(library: dict[str, Any]) -> list[tuple[float, str]]:
    """(seconds, program): those that one load may have to wait for.

    All boot at the same time. One that failed before its turn came is tried
    once more by that turn, so that two boots may be one after the other.
    """
    def of(values: dict[str, Any]) -> float:
        given = values.get("max_boot_time")
        return float(given) if isinstance(given, int | float) else _USUAL

    return sorted(((of(values), name) for name, values in library.items()),
                  reverse=True)[:2]


def fit(library: dict[str, Any], limit: float, node: str) -> None:
    """Raises VarnishError unless they may all boot within `limit` seconds."""
    times = longest(library)
    if not times or sum(seconds for seconds, _ in times) < limit:
        return
    words = " and, tried again, ".join(f"{seconds:g} s for {name}"
                                       for seconds, name in times)
    raise VarnishError(
        f"{node} waits {limit:g} s for a VCL (its parameter cli_timeout), then "
        "it kills its child process; the programs may take as long to boot "
        f"(max_boot_time: {words}). Raise the one, by varnishd -p cli_timeout="
        f"{int(sum(seconds for seconds, _ in times)) + 1} or param.set, or "
        "lower the other")
