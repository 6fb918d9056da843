# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl rollback."""

from dataclasses import asdict
from pathlib import Path

from kvmctl import site as sites
from kvmctl.deploy.deployer import Deployer
from kvmctl.deploy.store import Store
from kvmctl.environment import Environment
from kvmctl.varnish.admin import Admin, Node


def run(env: Environment, path: Path, to: Node, store: Path | None,
        release: str | None) -> None:
    """Switches back, and says what serves now."""
    site = sites.load(path)
    outcome = Deployer(site, Admin(to), Store(store, site.name), Path(),
                       env.status).rollback(release)
    if env.as_json:
        env.result_json(asdict(outcome))
    else:
        env.result(f"{outcome.release.name} serves; "
                   f"before: {outcome.replaced}")
