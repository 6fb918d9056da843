# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl logs."""

import contextlib
import json
from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where
from kvmctl.environment import Environment
from kvmctl.errors import UsageError
from kvmctl.observe import log


def run(env: Environment, path: Path, where: Where, program: str | None,
        errors: bool, past: bool) -> None:
    """Requests of programs, as varnishlog groups them."""
    site = sites.load(path)
    nodes = where.targets(site)
    if len(nodes) != 1:
        raise UsageError("logs are of one node: name it by --node")
    log.readable(nodes[0])
    known = {p.name for p in site.programs}
    if program is not None and program not in known:
        raise UsageError(f"edge.toml has no program \"{program}\"; it has "
                         + (", ".join(sorted(known)) or "none"))
    rows = log.follow(nodes[0], log.query(program, errors), past)
    with contextlib.closing(rows), contextlib.suppress(KeyboardInterrupt):
        if not env.as_json:
            for row in rows:
                env.result(row.rstrip("\n"))
                env.stdout.flush()
            return
        for found in log.transactions(rows):
            env.answered = True
            env.stdout.write(json.dumps({
                "kind": found.kind, "vxid": found.vxid,
                "records": found.records}) + "\n")
            env.stdout.flush()
