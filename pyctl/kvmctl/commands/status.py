# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl status."""

from dataclasses import asdict
from pathlib import Path

from kvmctl import site as sites
from kvmctl.deploy.store import DISCARDED, FAILED, Store
from kvmctl.environment import Environment
from kvmctl.varnish import stats
from kvmctl.varnish.admin import Admin, Node

_COLUMNS = (("invocations", "requests"), ("program_exception", "faults"),
            ("program_timeout", "timeouts"), ("program_memory", "memory"),
            ("reservation_timeouts", "queue full"), ("forks", "forks"),
            ("forks_busy", "busy"))


def run(env: Environment, path: Path, node: Node, store: Path | None) -> None:
    """Releases and counters of one site on one node."""
    site = sites.load(path)
    admin = Admin(node)
    admin.ping()
    child = admin.status()
    vcls = {v.name: v for v in admin.vcls()}
    releases = Store(store, site.name).releases(str(node))
    # varnishstat reads shared memory: only of a node on this machine.
    counters = stats.programs(node.name) if node.address is None else {}
    if env.as_json:
        env.result_json({
            "child": child,
            "active": next((v.name for v in vcls.values() if v.active), None),
            "vcls": [asdict(v) for v in vcls.values()],
            "releases": [asdict(r) for r in releases],
            "programs": counters,
        })
        return
    env.result(f"child process: {child}")
    known = {r.name for r in releases}
    for release in releases:
        vcl = vcls.get(release.name)
        if vcl is None and release.state in (DISCARDED, FAILED):
            continue
        state = "not loaded" if vcl is None else vcl.state
        word = "serving" if vcl is not None and vcl.active else release.state
        env.result(f"{word:9}  {release.name}  {release.created}  "
                   f"by {release.by}  {state}")
    for vcl in vcls.values():
        if vcl.name not in known:
            env.result(f"{'serving' if vcl.active else 'loaded':9}  "
                       f"{vcl.name}  (not by kvmctl)  {vcl.state}")
    for vcl_name, programs in counters.items():
        for program, values in programs.items():
            figures = ", ".join(f"{values.get(key, 0)} {word}"
                                for key, word in _COLUMNS)
            env.result(f"{vcl_name}  {program}: {figures}")
