# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl status."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kvmctl import site as sites
from kvmctl.commands.fleet import Where
from kvmctl.deploy import canary
from kvmctl.deploy.deployer import Deployer
from kvmctl.deploy.router import Share
from kvmctl.deploy.store import CANARY, CANARY_SUFFIX, LIVING, SERVING, Store
from kvmctl.environment import Environment
from kvmctl.errors import KvmctlError, VarnishError
from kvmctl.files import sentence
from kvmctl.site import Site
from kvmctl.varnish import stats
from kvmctl.varnish.admin import Node

_COLUMNS = (("invocations", "requests"), ("program_exception", "faults"),
            ("program_timeout", "timeouts"), ("program_memory", "memory"),
            ("reservation_timeouts", "waited too long"),
            ("queue_refused", "queue full"), ("forks", "forks"),
            ("forks_busy", "busy"))
_AT_A_TIME = 8


def _canary(deployer: Deployer) -> dict[str, Any] | None:
    for release in deployer.releases(CANARY):
        table = release.canary
        header = table.get("header")
        share = Share(table.get("percent", 0),
                      tuple(header) if header else None,
                      table.get("cookie", ""))
        result: dict[str, Any] = {"release": release.name,
                                  "share": str(share),
                                  "since": table.get("since", "")}
        try:
            result["verdict"] = asdict(canary.verdict(deployer))
        except KvmctlError as e:
            result["verdict"] = {"word": "not judged", "reason": str(e)}
        return result
    return None


def _drift(deployer: Deployer, serving: str | None, child: str) -> str:
    """What is not as the history says; empty when all is."""
    should = next((r.name for r in reversed(deployer.releases(SERVING))), None)
    if should is None and not any(
            r.state in LIVING for r in deployer.releases()):
        return "nothing was deployed here by this store"
    if should is not None and serving != should:
        return f"{should} should serve, {serving} does: `kvmctl deploy`, or " \
               f"`kvmctl rollback --to {should}`"
    if child != "running":
        return f"the child process is {child}: varnishadm start"
    return ""


def look(site: Site, node: Node, files: Store) -> dict[str, Any]:
    """Everything about one node. Raises VarnishError."""
    with Deployer(site, node, files) as deployer:
        admin, router = deployer.admin, deployer.router
        admin.ping()
        child = admin.status()
        listing = admin.listing()
        serving = router.serving(listing)
        # varnishstat reads shared memory: not through -T alone.
        counters = stats.programs(node) if node.countable else {}
        return {
            "node": str(node), "child": child, "active": serving,
            "drift": _drift(deployer, serving, child),
            "canary": _canary(deployer),
            "vcls": [asdict(v) for v in listing.vcls
                     if not router.is_router(v.name)],
            "releases": [asdict(r) for r in deployer.releases()],
            "programs": counters}


def _canary_words(seen: dict[str, Any]) -> str:
    return (f"canary: {seen['release']} for {seen['share']} since "
            f"{seen['since']}: {seen['verdict']['word']}, "
            f"{seen['verdict']['reason']}")


def _show(env: Environment, found: dict[str, Any]) -> None:
    env.result(f"child process: {found['child']}")
    if found["drift"]:
        env.result(f"drift: {found['drift']}")
    if found["canary"]:
        env.result(_canary_words(found["canary"]))
    vcls = {v["name"]: v for v in found["vcls"]}
    known = set()
    for release in found["releases"]:
        name = release["name"]
        vcl = vcls.get(name) or vcls.get(name + CANARY_SUFFIX)
        known |= {name, name + CANARY_SUFFIX}
        if vcl is None and release["state"] not in LIVING:
            continue
        word = "serving" if name == found["active"] else release["state"]
        env.result(f"{word:9}  {name}  {release['created']}  by "
                   f"{release['by']}  {vcl['state'] if vcl else 'not loaded'}")
    for name, vcl in vcls.items():
        if name not in known:
            word = "serving" if name == found["active"] else "loaded"
            env.result(f"{word:9}  {name}  (not by kvmctl)  {vcl['state']}")
    for vcl_name, programs in found["programs"].items():
        for program, values in programs.items():
            figures = ", ".join(f"{values.get(key, 0)} {word}"
                                for key, word in _COLUMNS)
            env.result(f"{vcl_name}  {program}: {figures}")


def look_at_all(site: Site, nodes: Sequence[Node], files: Store,
                *counters: str) -> list[dict[str, Any]]:
    """look() at each, several at a time; "error" where one is not reached.

    counters: patterns of Varnish's own that "varnish" has then, too.
    """
    def one(node: Node) -> dict[str, Any]:
        try:
            found = look(site, node, files)
            if counters and node.countable:
                found["varnish"] = stats.counters(node, *counters)
            return found
        except (KvmctlError, OSError) as e:
            # Too many open files, say: no reason to hide the other nodes.
            return {"node": str(node), "error": sentence(e),
                    "drift": sentence(e)}

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(one, nodes))


def run(env: Environment, path: Path, where: Where) -> None:
    """Releases and counters of one site on its nodes."""
    site = sites.load(path)
    nodes = where.targets(site)
    files = where.files(site)
    every = ([look(site, nodes[0], files)] if len(nodes) == 1
             else look_at_all(site, nodes, files))
    if env.as_json:
        env.result_json(every[0] if len(nodes) == 1 else {"nodes": every})
    elif len(nodes) == 1:
        _show(env, every[0])
    else:
        for found in every:
            serves = found.get("active") or "-"
            env.result(f"{found['node']:20} {serves:40} "
                       f"{found['drift'] or 'as it should be'}")
            if found.get("canary"):
                env.result(" " * 21 + _canary_words(found["canary"]))
    lost = [f["node"] for f in every if "error" in f]
    if lost:
        raise VarnishError("not reached: " + ", ".join(lost))
