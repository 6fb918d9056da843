# SPDX-License-Identifier: BSD-2-Clause
"""Counters, through varnishstat."""

import re
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from kvmctl import files
from kvmctl.errors import VarnishError
from kvmctl.varnish.admin import Node
from kvmctl.varnish.reach import captured

#: VCL -> program -> counter -> value
Counters = dict[str, dict[str, dict[str, int]]]
#: Counters of requests that got no fork, and of all that there were.
TURNED_AWAY = ("reservation_timeouts", "queue_refused")
REQUESTS = ("invocations", *TURNED_AWAY)
#: Counters of a program's faults: each request has one at most.
_FAULTS = ("program_exception", "program_timeout", "program_memory")
_SECONDS = 30
_TRIES = 20
_COUNTER = re.compile(r"[a-z][a-z0-9_]*")


def counters(node: Node | str | None, *fields: str) -> dict[str, int]:
    """Counters whose name matches a glob, as varnishstat -f takes them."""
    if not isinstance(node, Node):
        node = Node(node)
    words = ["varnishstat", "-1", "-j", "-t", "5"]
    if node.name is not None:
        words += ["-n", node.name]
    for field in fields:
        words += ["-f", field]
    try:
        for _ in range(_TRIES):
            done = captured(node.reach.line(*words), _SECONDS)
            said = done.stderr.decode(errors="replace")
            # varnishstat 7.1 asserts when counters go while it looks at them:
            # the worker begins anew, or a VCL is discarded.
            if "Assert error in vsc_" not in said:
                break
            time.sleep(0.1)
    except subprocess.TimeoutExpired:
        raise VarnishError(f"{node}: varnishstat did not end in {_SECONDS} s"
                           ) from None
    if done.returncode != 0:
        # No counter of that name is an error for varnishstat only.
        if "No" in said and "match" in said:
            return {}
        raise VarnishError(f"varnishstat of {node}: {said.strip()}")
    try:
        return _values(files.json_of(done.stdout.decode(errors="replace")))
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise VarnishError(f"varnishstat of {node} writes no counters as JSON"
                           ) from None


def failed(values: Mapping[str, int]) -> int:
    """How many requests of a program went wrong, by its counters.

    A fault that the program's own error handler answers by 5xx is counted as
    the fault, as handled, and as the status. How many of the handled ones were
    answered so the counters do not tell: as many as there can be, it is taken,
    so that no request counts twice. That is exact but for a program that has
    other answers of 5xx besides faults that it handles in another way.
    """
    def count(*keys: str) -> int:
        return sum(values.get(key, 0) for key in keys)

    return (count(*TURNED_AWAY, *_FAULTS)
            + max(0, count("program_status_5xx")
                  - count("program_error_handled")))


def _values(found: Any) -> dict[str, int]:
    """The counters; of Varnish 6 without a table around them."""
    return {key: int(value["value"])
            for key, value in found.get("counters", found).items()
            if isinstance(value, dict) and "value" in value}


def programs(node: Node | str | None) -> Counters:
    """TINYKVM.<vcl>.<program>.<counter>, as nested dictionaries."""
    return _by_program(counters(node, "TINYKVM.*"))


def _by_program(values: dict[str, int]) -> Counters:
    """Sorts counters of programs out of others."""
    out: Counters = {}
    for key, value in values.items():
        parts = key.split(".")
        if parts[0] == "TINYKVM" and len(parts) >= 4 \
                and _COUNTER.fullmatch(parts[-1]):
            vcl, program = parts[1], ".".join(parts[2:-1])
            out.setdefault(vcl, {}).setdefault(program, {})[parts[-1]] = value
    return out
