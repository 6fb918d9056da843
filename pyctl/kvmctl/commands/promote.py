# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl promote."""

from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where, change
from kvmctl.deploy import canary, judge
from kvmctl.deploy.deployer import Deployer, Outcome
from kvmctl.deploy.prepare import prepare
from kvmctl.deploy.rollback import back
from kvmctl.environment import Environment
from kvmctl.errors import DeployError


def run(env: Environment, path: Path, where: Where, out: Path, force: bool,
        least: int) -> None:
    """Everybody gets the canary, unless it is worse or hardly asked."""
    site = sites.load(path)
    files = where.files(site)
    with files.locked():
        prepared = prepare(site, files, out, env.status)

        def work(deployer: Deployer) -> Outcome:
            canary.of(deployer)
            if not force:
                said = canary.verdict(deployer, least)
                if said.word != judge.SOUND:
                    raise DeployError(
                        f"the canary is not promoted, {said.word}: "
                        f"{said.reason}; --force promotes it all the same")
            return canary.promote(deployer, prepared)

        change(env, site, where, files, work, back,
               lambda o: f"{o.release.name} serves; before: {o.replaced}")
