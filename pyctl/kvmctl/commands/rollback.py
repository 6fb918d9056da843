# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl rollback."""

from dataclasses import asdict
from pathlib import Path

from kvmctl import site as sites
from kvmctl.deploy.deployer import Deployer
from kvmctl.deploy.store import Store
from kvmctl.environment import Environment
from kvmctl.varnish.admin import Node


def run(env: Environment, path: Path, to: Node, store: Path | None,
        release: str | None) -> None:
    """Switches back, and says what serves now."""
    site = sites.load(path)
    files = Store(store, site.name)
    with files.locked(), Deployer(site, to, files, env.status) as deployer:
        outcome = deployer.rollback(release)
    if env.as_json:
        env.result_json(asdict(outcome))
    else:
        env.result(f"{outcome.release.name} serves; "
                   f"before: {outcome.replaced}")
