# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl stats."""

from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where
from kvmctl.environment import Environment
from kvmctl.observe.log import readable
from kvmctl.observe.tables import columns
from kvmctl.varnish import stats

_HEAD = ("node", "VCL", "program", "requests", "errors", "ms each",
         "pages each", "waited ms", "forks", "busy", "queue")


def run(env: Environment, path: Path, where: Where) -> None:
    """What programs have done since their VCL was loaded."""
    site = sites.load(path)
    found = {}
    for node in where.targets(site):
        readable(node)
        found[str(node)] = stats.programs(node)
    if env.as_json:
        env.result_json(found)
        return
    rows = []
    for node_name, vcls in found.items():
        for vcl, programs in vcls.items():
            for program, v in programs.items():
                n = max(1, v.get("invocations", 0))
                rows.append((
                    node_name, vcl, program, str(v.get("invocations", 0)),
                    str(stats.failed(v)),
                    f"{v.get('cpu_time', 0) / n / 1e3:.2f}",
                    f"{v.get('pages_written', 0) / n:.1f}",
                    f"{v.get('reservation_time', 0) / n / 1e3:.2f}",
                    str(v.get("forks", 0)), str(v.get("forks_busy", 0)),
                    str(v.get("queue_length", 0))))
    for line in columns(_HEAD, rows, left=3):
        env.result(line)
