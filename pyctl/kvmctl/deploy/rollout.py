# SPDX-License-Identifier: BSD-2-Clause
"""The same over many nodes: the first alone, then several at a time.

When more nodes fail than may, or somebody interrupts, no further one is begun,
and those that were changed are taken back. Where nothing can be taken back, all
nodes have their turn, whatever fails.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, replace
from threading import Event
from time import monotonic

from kvmctl.deploy.deployer import Deployer, Outcome
from kvmctl.errors import ExitCode, KvmctlError
from kvmctl.files import sentence
from kvmctl.inventory import Rollout
from kvmctl.varnish.admin import Node

DONE, UNCHANGED, FAILED, BACK, STUCK, SKIPPED = (
    "done", "unchanged", "failed", "taken back", "not taken back", "skipped")

Open = Callable[[Node], Deployer]
Work = Callable[[Deployer], Outcome | None]     # None: there was nothing to do
Undo = Callable[[Deployer, Outcome], None]


@dataclass(frozen=True)
class Result:
    """What became of one node."""

    node: str
    state: str
    outcome: Outcome | None = None
    error: str = ""
    exit_code: int = 0
    seconds: float = 0.0


def _why(error: KvmctlError | OSError) -> tuple[str, int]:
    """Words and exit code: a disk's error on this side is one node's, too."""
    code = (error.exit_code if isinstance(error, KvmctlError)
            else ExitCode.FAILED)
    return sentence(error), int(code)


def _one(node: Node, open_: Open, work: Work) -> Result:
    began = monotonic()
    try:
        with open_(node) as deployer:
            outcome = work(deployer)
    except (KvmctlError, OSError) as e:
        return Result(str(node), FAILED, None, *_why(e), monotonic() - began)
    changed = outcome is not None and outcome.changed
    return Result(str(node), DONE if changed else UNCHANGED, outcome,
                  seconds=monotonic() - began)


def _back(node: Node, result: Result, open_: Open, undo: Undo) -> Result:
    assert result.outcome is not None
    try:
        with open_(node) as deployer:
            undo(deployer, result.outcome)
    except (KvmctlError, OSError) as e:
        words, code = _why(e)
        return replace(result, state=STUCK, error=words, exit_code=code)
    return replace(result, state=BACK)


def roll(nodes: Sequence[Node], limits: Rollout, open_: Open, work: Work,
         undo: Undo | None, say: Callable[[str], None],
         stop: Event) -> list[Result]:
    """One result for each node, in the nodes' order.

    undo is None where nothing is taken back. stop ends it as too many failures
    do; steps that run are waited for all the same.
    """
    results: dict[Node, Result] = {}
    waiting = list(nodes)
    failed = 0

    def over() -> bool:
        return stop.is_set() or (undo is not None
                                 and failed > limits.failures)

    with ThreadPoolExecutor(limits.concurrency) as pool:
        running: dict[Future[Result], Node] = {}
        while (waiting and not over()) or running:
            # Until the first node is through, it is the only one.
            room = limits.concurrency if results or undo is None else 1
            while waiting and len(running) < room and not over():
                node = waiting.pop(0)
                running[pool.submit(_one, node, open_, work)] = node
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                node = running.pop(future)
                result = results[node] = future.result()
                failed += result.state == FAILED
                say(f"{node}: {result.state} {result.error}".rstrip())
        if undo is not None and over():
            taking = undo
            changed = [n for n, r in results.items() if r.state == DONE]
            results |= zip(changed, pool.map(
                lambda n: _back(n, results[n], open_, taking), changed))
    return [results.get(n, Result(str(n), SKIPPED)) for n in nodes]


def given_up(results: Sequence[Result], limits: Rollout) -> bool:
    return sum(r.state == FAILED for r in results) > limits.failures
