# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl deploy."""

import time
from dataclasses import asdict
from pathlib import Path

from kvmctl import site as sites
from kvmctl.deploy.deployer import Deployer
from kvmctl.deploy.prepare import prepare
from kvmctl.deploy.store import Store
from kvmctl.environment import Environment
from kvmctl.errors import UsageError
from kvmctl.varnish.admin import Node


def node(name: str | None, address: str | None, secret: Path | None) -> Node:
    """The node that -n, -T and -S name."""
    if name is not None and address is not None:
        raise UsageError("either -n, or -T with -S")
    return Node(name, address, secret)


def run(env: Environment, path: Path, to: Node, store: Path | None, out: Path,
        force: bool) -> None:
    """Deploys, and says what serves now."""
    site = sites.load(path)
    began = time.monotonic()
    files = Store(store, site.name)
    with files.locked(), Deployer(site, to, files, env.status) as deployer:
        deployer.admin.ping()
        prepared = prepare(site, files, out, env.status)
        outcome = deployer.deploy(prepared, force)
    seconds = time.monotonic() - began
    if env.as_json:
        env.result_json(asdict(outcome) | {"seconds": seconds})
    elif not outcome.changed:
        env.result(f"{outcome.release.name} serves already; nothing changed")
    else:
        env.result(f"{outcome.release.name} serves: "
                   f"{len(outcome.release.programs)} programs, "
                   f"{len(outcome.probes)} probes answered, {seconds:.1f} s; "
                   f"before: {outcome.replaced}")
