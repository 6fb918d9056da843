# SPDX-License-Identifier: BSD-2-Clause
"""Counters, through varnishstat."""

import json
import shutil
import subprocess

from kvmctl.errors import HostError, VarnishError

Counters = dict[str, dict[str, dict[str, int]]]


def counters(name: str | None, *fields: str) -> dict[str, int]:
    """Counters whose name matches a glob, as varnishstat -f takes them."""
    program = shutil.which("varnishstat")
    if program is None:
        raise HostError("varnishstat is missing: apt-get install varnish")
    line = [program, "-1", "-j", "-t", "5"]
    if name is not None:
        line += ["-n", name]
    for field in fields:
        line += ["-f", field]
    done = subprocess.run(line, capture_output=True, text=True, check=False,
                          timeout=30)
    if done.returncode != 0:
        # No counter of that name is an error for varnishstat only.
        if "No" in done.stderr and "match" in done.stderr:
            return {}
        raise VarnishError(f"varnishstat: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    return {key: int(value["value"])
            for key, value in found.get("counters", found).items()
            if isinstance(value, dict) and "value" in value}


def programs(name: str | None) -> Counters:
    """TINYKVM.<vcl>.<program>.<counter>, as nested dictionaries."""
    out: Counters = {}
    for key, value in counters(name, "TINYKVM.*").items():
        parts = key.split(".")
        if len(parts) >= 4:
            vcl, program = parts[1], ".".join(parts[2:-1])
            out.setdefault(vcl, {}).setdefault(program, {})[parts[-1]] = value
    return out
