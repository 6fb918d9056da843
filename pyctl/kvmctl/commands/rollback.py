# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl rollback."""

from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where, change
from kvmctl.deploy import rollback
from kvmctl.environment import Environment


def run(env: Environment, path: Path, where: Where,
        release: str | None) -> None:
    """Switches back, and says what serves now."""
    site = sites.load(path)
    files = where.files(site)
    with files.locked():
        change(env, site, where, files,
               lambda deployer: rollback.rollback(deployer, release),
               rollback.back,
               lambda o: f"{o.release.name} serves; before: {o.replaced}")
