# SPDX-License-Identifier: BSD-2-Clause
"""Back to a release that is kept."""

from kvmctl.deploy import store
from kvmctl.deploy.deployer import Deployer, Outcome
from kvmctl.deploy.store import Release
from kvmctl.errors import DeployError, KvmctlError


def rollback(deployer: Deployer, to: str | None = None) -> Outcome:
    """Back to what served before the serving one, or to a named one."""
    deployer.admin.ping()
    deployer.put_away_leftovers()
    deployer.refuse_canary("roll back")
    serving = deployer.serving()
    target = _target(deployer, serving, to)
    _ready(deployer, target)
    deployer.switch(target, serving)
    try:
        deployer.rest(target.name)
    except KvmctlError as e:            # the next command's business
        deployer.say(f"could not tidy up: {e}")
    return Outcome(target, True, serving, ())


def _ready(deployer: Deployer, target: Release) -> None:
    """Loaded, and not cold by somebody's command."""
    for vcl in deployer.admin.vcls():
        if vcl.name == target.name:
            if vcl.state.startswith("cold/"):
                deployer.admin.command("vcl.state", target.name, "auto")
            return
    # After a restart of varnishd a kept release is loaded no more.
    deployer.depot.send_release(target.name, target.name)
    deployer.load(target.name)


def back(deployer: Deployer, outcome: Outcome) -> None:
    """Undoes a deployment that went well, for the sake of other nodes.

    Raises a KvmctlError where that cannot be.
    """
    if not outcome.changed:
        return
    if outcome.replaced is None:
        raise DeployError(f"{deployer.node} served nothing before: "
                          f"{outcome.release.name} serves on")
    kept = deployer.releases(store.KEPT)
    if any(r.name == outcome.replaced for r in kept):
        rollback(deployer, outcome.replaced)
        return
    deployer.give_up(outcome.release, outcome.replaced, "taken back",
                     store.ABORTED)
    now = deployer.serving()
    if now != outcome.replaced:
        raise DeployError(f"{deployer.node} serves {now}, not "
                          f"{outcome.replaced}")


def _target(deployer: Deployer, serving: str | None,
            to: str | None) -> Release:
    kept = deployer.releases(store.KEPT, store.SERVING)
    if to is not None:
        for release in kept:
            if release.name == to:
                return release
        raise DeployError(f"{deployer.node} keeps no release \"{to}\"; kept: "
                          + (", ".join(r.name for r in kept) or "none"))
    # The newest older one may be what a rollback has left for good reasons.
    before = [r.replaced for r in kept if r.name == serving]
    for release in kept:
        if release.name in before:
            return release
    names = [r.name for r in kept]
    older = kept[:names.index(serving)] if serving in names else kept
    if not older:
        raise DeployError(f"{deployer.node} keeps no release older than "
                          f"{serving}")
    return older[-1]
