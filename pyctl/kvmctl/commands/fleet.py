# SPDX-License-Identifier: BSD-2-Clause
"""What commands that change nodes share: which nodes, and what is said."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kvmctl import interrupt, inventory
from kvmctl.deploy import rollout
from kvmctl.deploy.deployer import Deployer, Outcome
from kvmctl.deploy.rollout import Result, Undo, Work
from kvmctl.deploy.store import Store
from kvmctl.environment import Environment
from kvmctl.errors import DeployError, ExitCode, KvmctlError, UsageError
from kvmctl.inventory import Rollout
from kvmctl.site import Site
from kvmctl.varnish.admin import Node


@dataclass(frozen=True)
class Where:
    """-n, -T, -S, --node, --store, and how carefully."""

    name: str | None = None
    address: str | None = None
    secret: Path | None = None
    nodes: tuple[str, ...] = ()
    store: Path | None = None
    concurrency: int | None = None
    failures: int | None = None

    def targets(self, site: Site) -> tuple[Node, ...]:
        """The node of -n or -T; else those of [nodes]; else the local one."""
        if self.name is not None and self.address is not None:
            raise UsageError("either -n, or -T with -S")
        if self.name is not None or self.address is not None:
            if self.nodes:
                raise UsageError("either --node, or -n or -T")
            return (Node(self.name, self.address, self.secret),)
        if site.nodes or self.nodes:
            return inventory.chosen(site.nodes, self.nodes)
        return (Node(secret=self.secret),)

    def files(self, site: Site) -> Store:
        return Store(self.store, site.name)

    def limits(self, site: Site) -> Rollout:
        return Rollout(
            site.rollout.concurrency if self.concurrency is None
            else self.concurrency,
            site.rollout.failures if self.failures is None else self.failures)


class _Failed(KvmctlError):
    """As the one node failed."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.error)
        self.exit_code = ExitCode(result.exit_code)


def change(env: Environment, site: Site, where: Where, files: Store,
           work: Work, undo: Undo | None, said: Callable[[Outcome], str],
           **more: Any) -> list[Result]:
    """Does it on every node, and says what came of it.

    The store's lock is held by the caller. Raises the one node's error, or
    DeployError when a rollout was given up, or KvmctlError when nodes failed
    that were allowed to; KeyboardInterrupt when it was interrupted, and what
    was done has been taken back.
    """
    nodes, limits = where.targets(site), where.limits(site)
    many = len(nodes) > 1
    began = time.monotonic()
    with interrupt.heeded(env.note, "interrupted: waiting for what runs"
                          + (", then taking back what is done" if undo
                             else "")) as stop:

        def opened(node: Node) -> Deployer:
            say = ((lambda text: env.status(f"{node}: {text}")) if many
                   else env.status)
            return Deployer(site, node, files, say, stop)

        results = rollout.roll(nodes, limits, opened, work, undo,
                               env.status if many else lambda text: None, stop)
    seconds = time.monotonic() - began
    if not many and results[0].outcome is None and not stop.is_set():
        raise _Failed(results[0])
    _show(env, results, many or stop.is_set(), said, {"seconds": seconds} | more)
    if stop.is_set():
        raise KeyboardInterrupt
    _end(results, undo is not None and rollout.given_up(results, limits),
         limits)
    return results


def _show(env: Environment, results: list[Result], table: bool,
          said: Callable[[Outcome], str], more: dict[str, Any]) -> None:
    """A row for each node, or the one node's outcome alone."""
    if env.as_json:
        first = results[0].outcome
        env.result_json(
            ({"nodes": [asdict(r) for r in results]} if table or first is None
             else asdict(first)) | more)
        return
    for result in results:
        text = result.error
        if not text and result.outcome is not None:
            text = (f"{result.outcome.replaced} serves again"
                    if result.state == rollout.BACK
                    else said(result.outcome))
        env.result(f"{result.node:20} {result.state:12} {text}".rstrip()
                   if table else text)


def _end(results: list[Result], given_up: bool, limits: Rollout) -> None:
    failed = [r.node for r in results if r.state == rollout.FAILED]
    stuck = [r.node for r in results if r.state == rollout.STUCK]
    if given_up:
        raise DeployError(
            f"given up: {', '.join(failed)} failed, {limits.failures} may; "
            + (f"{', '.join(stuck)} could not be taken back: see `kvmctl "
               "status`" if stuck else "all others serve what they served"))
    if failed:
        raise KvmctlError(f"{', '.join(failed)} failed; again with --node "
                          "when mended")
