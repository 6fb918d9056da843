# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl history."""

from dataclasses import asdict
from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where
from kvmctl.environment import Environment


def run(env: Environment, path: Path, where: Where, limit: int) -> None:
    """Who deployed what and when, the newest last; no node is asked."""
    site = sites.load(path)
    named = bool(where.name or where.address or where.nodes)
    wanted = {str(n) for n in where.targets(site)} if named else None
    rows = [r for r in where.files(site).releases()
            if wanted is None or r.node in wanted][-limit:]
    if env.as_json:
        env.result_json([asdict(r) for r in rows])
        return
    for row in rows:
        programs = ", ".join(f"{n} {h[:8]}" for n, h in row.programs.items())
        env.result(f"{row.created}  {row.by:10} {row.node:20} {row.state:9}  "
                   f"{row.name}  {programs}")
        if row.error:
            env.result(f"    {row.error.splitlines()[0]}")
