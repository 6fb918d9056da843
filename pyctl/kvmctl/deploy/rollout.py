# SPDX-License-Identifier: BSD-2-Clause
"""The same over many nodes: the first alone, then several at a time.

When more nodes fail than may, no further one is begun, and those that were
changed are taken back.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, replace
from time import monotonic

from kvmctl.deploy.deployer import Deployer, Outcome
from kvmctl.errors import ExitCode, KvmctlError
from kvmctl.files import sentence
from kvmctl.inventory import Rollout
from kvmctl.varnish.admin import Node

DONE, UNCHANGED, FAILED, BACK, STUCK, SKIPPED = (
    "done", "unchanged", "failed", "taken back", "not taken back", "skipped")

Open = Callable[[Node], Deployer]
Work = Callable[[Deployer], Outcome]
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
    return Result(str(node), DONE if outcome.changed else UNCHANGED, outcome,
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
         undo: Undo, say: Callable[[str], None]) -> list[Result]:
    """One result for each node, in the nodes' order."""
    results: dict[Node, Result] = {}
    waiting = list(nodes)
    failed = 0
    with ThreadPoolExecutor(limits.concurrency) as pool:
        running: dict[Future[Result], Node] = {}
        while (waiting and failed <= limits.failures) or running:
            # Until the first node is through, it is the only one.
            room = limits.concurrency if results else 1
            while waiting and len(running) < room \
                    and failed <= limits.failures:
                node = waiting.pop(0)
                running[pool.submit(_one, node, open_, work)] = node
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                node = running.pop(future)
                result = results[node] = future.result()
                failed += result.state == FAILED
                say(f"{node}: {result.state} {result.error}".rstrip())
        if failed > limits.failures:
            changed = [n for n, r in results.items() if r.state == DONE]
            results |= zip(changed, pool.map(
                lambda n: _back(n, results[n], open_, undo), changed))
    return [results.get(n, Result(str(n), SKIPPED)) for n in nodes]


def given_up(results: Sequence[Result], limits: Rollout) -> bool:
    return sum(r.state == FAILED for r in results) > limits.failures
