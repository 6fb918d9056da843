# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl abort."""

from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where, change
from kvmctl.deploy import canary
from kvmctl.environment import Environment


def run(env: Environment, path: Path, where: Where) -> None:
    """Nobody gets the canary any more."""
    site = sites.load(path)
    files = where.files(site)
    with files.locked():
        change(env, site, where, files,
               lambda deployer: canary.abort(deployer, "by kvmctl abort"),
               lambda deployer, outcome: None,
               lambda o: f"{o.release.name} is aborted; {o.replaced} serves")
