# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl abort."""

from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where, change
from kvmctl.deploy import canary, store
from kvmctl.deploy.deployer import Deployer, Outcome
from kvmctl.environment import Environment


def run(env: Environment, path: Path, where: Where) -> None:
    """Nobody gets the canary any more, on any node that can be reached."""
    site = sites.load(path)
    files = where.files(site)
    many = len(where.targets(site)) > 1

    def work(deployer: Deployer) -> Outcome | None:
        if many and not deployer.releases(store.CANARY):
            return None
        return canary.abort(deployer, "by kvmctl abort")

    with files.locked():
        # What one node did not do is no reason for another to keep a canary.
        change(env, site, where, files, work, None,
               lambda o: f"{o.release.name} is aborted; {o.replaced} serves")
