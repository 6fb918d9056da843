# SPDX-License-Identifier: BSD-2-Clause
"""How long calls take: samples, their quantiles and histogram."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvmctl import paths
from kvmctl.engine import Engine, Program
from kvmctl.errors import KvmctlError
from kvmctl.guest import toolchains
from kvmctl.guest.manifest import Manifest
from kvmctl.quantiles import quantile
from kvmctl.trial.request import Request
from kvmctl.trial.runner import ask

_IN_TURN = 50                           # requests, before the other's turn
_MOST_BUCKETS = 24
_QUANTILES = (0.5, 0.9, 0.99, 0.999)


@dataclass
class Samples:
    """Calls and their resets, in seconds; of the last call, exits and pages."""

    seconds: list[float] = field(default_factory=list)
    reset_seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    exits: int = 0
    pages_written: int = 0

    @property
    def whole(self) -> list[float]:
        """Call and reset: how long a fork is busy."""
        return [a + b for a, b in zip(self.seconds, self.reset_seconds,
                                      strict=True)]


def histogram(values: Sequence[float]) -> list[tuple[float, float, int]]:
    """(from, to, how many): buckets of equal width on a logarithmic scale.

    They reach to the 99th percentile; the last one has all beyond it, too.
    """
    low = max(min(values), 1e-9)
    high = max(low, quantile(values, 0.99))
    # Eight for each doubling, or fewer, so that they fit on a screen.
    fine = next((f for f in (8, 4, 2)
                 if math.log2(high / low) * f < _MOST_BUCKETS), 1)

    def bucket(value: float) -> int:
        return math.floor(math.log2(max(low, min(value, high))) * fine)

    first, last = bucket(low), bucket(high)
    counts = [0] * (last - first + 1)
    for value in values:
        counts[bucket(value) - first] += 1
    edges = [2 ** (n / fine) for n in range(first, last + 2)]
    edges[-1] = max(edges[-1], max(values))
    return list(zip(edges[:-1], edges[1:], counts, strict=True))


def summary(values: Sequence[float]) -> dict[str, float]:
    """Quantiles by name, in seconds."""
    return {f"p{q * 100:g}": quantile(values, q) for q in _QUANTILES} | {
        "min": min(values), "max": max(values)}


def _take(samples: Samples, program: Program,
          requests: Sequence[Request], n: int) -> None:
    for i in range(n):
        answer = ask(program, requests[i % len(requests)])
        samples.seconds.append(answer.seconds)
        samples.reset_seconds.append(answer.reset_seconds)
        samples.statuses[answer.status] = \
            samples.statuses.get(answer.status, 0) + 1
        samples.exits = answer.exits
        samples.pages_written = answer.pages_written


def _floor(engine: Engine) -> Program:
    """A program that only answers. Raises BuildError without a compiler."""
    source = paths.sdk() / "c" / "floor.c"
    built = toolchains.build(Manifest(
        path=source.parent / "guest.toml", name="floor", language="c",
        libc="glibc", sources=(source,), libraries=(), cflags=(), packages=(),
        fetch=None, settings={}), paths.cache() / "bench")
    return engine.define("kvmctl-floor", {"filename": str(built.executable),
                                          "concurrency": 1})


@dataclass(frozen=True)
class Measured:
    """floor is None, with the reason, where it could not be measured."""

    program: Samples
    floor: Samples | None
    no_floor: str
    boot_seconds: float

    @property
    def ratio(self) -> float | None:
        """The median call and reset, in those of an empty call."""
        if self.floor is None:
            return None
        return (quantile(self.program.whole, 0.5)
                / quantile(self.floor.whole, 0.5))

    def to_json(self) -> dict[str, Any]:
        it = self.program
        return {
            "requests": len(it.seconds), "boot_seconds": self.boot_seconds,
            "exits": it.exits, "pages_written": it.pages_written,
            "statuses": {str(k): n for k, n in sorted(it.statuses.items())},
            "seconds": summary(it.seconds),
            "reset_seconds": summary(it.reset_seconds),
            "whole_seconds": summary(it.whole),
            "floor_seconds": (summary(self.floor.whole) if self.floor
                              else None),
            "ratio": self.ratio,
            "histogram": [{"from": a, "to": b, "count": n}
                          for a, b, n in histogram(it.whole)]}


def measure(engine: Engine, name: str, settings: dict[str, Any],
            requests: Sequence[Request], n: int, warm: int) -> Measured:
    """n requests, in turns with empty calls; `warm` before them do not count.

    Raises GuestError when the program fails.
    """
    program = engine.define(name, settings)
    began = time.perf_counter()
    program.start()
    boot = time.perf_counter() - began
    floor, reason = None, ""
    try:
        floor = _floor(engine)
        floor.start()
    except KvmctlError as e:
        floor, reason = None, str(e)
    mine, empty = Samples(), Samples()
    _take(Samples(), program, requests, warm)
    if floor is not None:
        _take(Samples(), floor, [Request()], warm)
    while len(mine.seconds) < n:
        some = min(_IN_TURN, n - len(mine.seconds))
        _take(mine, program, requests, some)
        if floor is not None:
            _take(empty, floor, [Request()], some)
    return Measured(mine, empty if floor is not None else None, reason, boot)


def plot(measured: Measured, title: str, path: Path) -> None:
    """Both distributions as a picture. ImportError without matplotlib."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for samples, label in ((measured.floor, "empty call"),
                           (measured.program, title)):
        if samples is None:
            continue
        values = sorted(v * 1e6 for v in samples.whole)
        axes.plot(values, [(i + 1) / len(values) * 100
                           for i in range(len(values))], label=label)
    axes.set_xscale("log")
    axes.set_xlabel("call and reset (us)")
    axes.set_ylabel("of the requests (%)")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
