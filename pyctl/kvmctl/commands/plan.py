# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl plan."""

from dataclasses import asdict
from pathlib import Path

from kvmctl import site as sites
from kvmctl.commands.fleet import Where
from kvmctl.deploy import planning
from kvmctl.deploy.deployer import Deployer
from kvmctl.deploy.prepare import prepare
from kvmctl.environment import Environment
from kvmctl.errors import KvmctlError

_MARK = {"+": "32", "-": "31"}


def run(env: Environment, path: Path, where: Where, out: Path) -> None:
    """Builds, and says what a deployment would change. Changes nothing."""
    site = sites.load(path)
    files = where.files(site)
    prepared = prepare(site, files, out, env.status)
    plans = []
    nodes = where.targets(site)
    for node in nodes:
        try:
            with Deployer(site, node, files) as deployer:
                plans.append(planning.plan(deployer, prepared))
        except KvmctlError as e:
            if len(nodes) == 1:
                raise
            plans.append(planning.Plan(str(node), error=str(e)))
    if env.as_json:
        env.result_json({"content": prepared.content,
                         "nodes": [asdict(p) for p in plans]})
    else:
        shown: list[str] = []
        for plan in plans:
            env.result(f"{plan.node}: {plan.summary}")
            if plan.lines and plan.lines != shown:
                for line in plan.lines:
                    env.result(_coloured(env, line))
                shown = plan.lines
    problem = [p for p in plans if p.error]
    if problem:
        raise KvmctlError("no plan for " + ", ".join(p.node for p in problem))


def _coloured(env: Environment, line: str) -> str:
    code = _MARK.get(line[:1])
    return (f"\x1b[{code}m{line}\x1b[0m" if code and env.stdout.isatty()
            else line)
