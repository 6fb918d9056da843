# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl top."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where
from kvmctl.environment import Environment, harmless
from kvmctl.errors import UsageError
from kvmctl.observe.log import Watch, readable
from kvmctl.observe.rates import Rate, rates
from kvmctl.observe.tables import columns
from kvmctl.varnish import stats
from kvmctl.varnish.admin import Node

_HEAD = ("VCL", "program", "requests/s", "errors/s", "p50 ms", "p99 ms",
         "cpu ms", "pages", "queue", "busy", "forks")


def _figure(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _row(rate: Rate) -> tuple[str, ...]:
    return (rate.vcl, rate.program, _figure(rate.requests, 1),
            _figure(rate.errors, 1), _figure(rate.p50_ms),
            _figure(rate.p99_ms), _figure(rate.cpu_ms),
            _figure(rate.pages, 1), str(rate.queue), str(rate.busy),
            str(rate.forks))


def _samples(node: Node, seconds: float) -> Iterator[list[Rate]]:
    before, began = stats.programs(node), time.monotonic()
    with Watch(node) as watch:
        while True:
            time.sleep(seconds)
            after, now = stats.programs(node), time.monotonic()
            yield rates(before, after, now - began, watch.taken())
            before, began = after, now


def _live(env: Environment, node: Node, seconds: float) -> None:
    # Rich takes a tenth of a second to import: for this view alone.
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    def table(sample: list[Rate]) -> Table:
        # As Text: names of nodes and programs are no markup of Rich's either.
        out = Table(title=Text(harmless(
            f"{node}, every {seconds:g} s; Ctrl-C ends it")))
        for i, title in enumerate(_HEAD):
            out.add_column(title, justify="left" if i < 2 else "right")
        for rate in sample:
            out.add_row(*(Text(harmless(cell)) for cell in _row(rate)),
                        style="red" if rate.errors else "")
        return out

    console = Console(file=env.stdout)
    with contextlib.suppress(KeyboardInterrupt), \
            Live(table([]), console=console, auto_refresh=False) as live:
        for sample in _samples(node, seconds):
            live.update(table(sample), refresh=True)


def run(env: Environment, path: Path, where: Where, once: bool,
        seconds: float) -> None:
    """A table that lives on a terminal; one sample with --once, or piped."""
    site = sites.load(path)
    nodes = where.targets(site)
    if len(nodes) != 1:
        raise UsageError("top is of one node: name it by --node")
    readable(nodes[0])
    if not (once or env.as_json) and env.stdout.isatty():
        _live(env, nodes[0], seconds)
        return
    sample = next(_samples(nodes[0], seconds))
    if env.as_json:
        env.result_json([asdict(r) for r in sample])
        return
    for line in columns(_HEAD, [_row(r) for r in sample], left=2):
        env.result(line)
