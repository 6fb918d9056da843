# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl deploy."""

import time
from dataclasses import replace
from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where, change
from kvmctl.deploy import canary, judge, store
from kvmctl.deploy.deployer import Deployer, Outcome
from kvmctl.deploy.prepare import new_name, prepare
from kvmctl.deploy.rollback import back
from kvmctl.deploy.router import Share
from kvmctl.environment import Environment


def run(env: Environment, path: Path, where: Where, out: Path, force: bool,
        share: Share | None = None, watch: float | None = None,
        least: int = judge.MIN_REQUESTS) -> None:
    """Deploys, and says what serves now."""
    site = sites.load(path)
    began = time.monotonic()
    files = where.files(site)
    nodes = where.targets(site)
    with files.locked():
        if len(nodes) == 1:
            # Nothing is built for a node that is not there.
            with Deployer(site, nodes[0], files) as only:
                only.admin.ping()
        prepared = prepare(site, files, out, env.status)
        prepared = replace(prepared, name=new_name(
            prepared, (r.name for r in files.releases())))

        def work(deployer: Deployer) -> Outcome:
            if share is None:
                return deployer.deploy(prepared, force)
            if watch is None:
                return canary.begin(deployer, prepared, share)
            return canary.through(deployer, prepared, share, watch, least)

        def undo(deployer: Deployer, outcome: Outcome) -> None:
            if outcome.release.state == store.CANARY:
                canary.abort(deployer, "taken back")
            else:
                back(deployer, outcome)

        def said(outcome: Outcome) -> str:
            name = outcome.release.name
            if not outcome.changed:
                return f"{name} serves already; nothing changed"
            what = (f"{len(outcome.release.programs)} programs, "
                    f"{len(outcome.probes)} probes answered, "
                    f"{time.monotonic() - began:.1f} s")
            if outcome.release.state == store.CANARY:
                return (f"{name} is a canary for {share}: {what}; the others "
                        f"get {outcome.replaced}")
            return f"{name} serves: {what}; before: {outcome.replaced}"

        change(env, site, where, files, work, undo, said)
