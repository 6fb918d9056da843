# SPDX-License-Identifier: BSD-2-Clause
"""A release for some of the clients: begun, judged, promoted or aborted.

The canary is the release's VCL under NAME-canary, with a part of the cache for
itself, so that what it answers is seen by its own clients only. A promotion
loads the release under its own name, which then shares the cache as every
release does.
"""

import contextlib
import dataclasses
import re
import time
from typing import Any

from kvmctl.deploy import judge, store
from kvmctl.deploy.deployer import Deployer, Outcome
from kvmctl.deploy.judge import Figures, Verdict
from kvmctl.deploy.prepare import Prepared
from kvmctl.deploy.router import Share
from kvmctl.deploy.store import Release
from kvmctl.errors import DeployError, KvmctlError, UsageError
from kvmctl.varnish import stats

_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,100}): *([\x20-\x7e]*)")
_COOKIE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_LOOK_SECONDS = 1.0


def share(percent: str | None, header: str | None,
          cookie: str | None) -> Share:
    """What --canary, --canary-header and --canary-cookie say."""
    number = 0.0
    if percent is not None:
        try:
            number = float(percent.strip().removesuffix("%"))
        except ValueError:
            number = -1.0
        if not 0 < number <= 100:
            raise UsageError(f"--canary {percent}: a share above 0 and up to "
                             "100 is expected: 10%")
    pair = None
    if header is not None:
        found = _HEADER.fullmatch(header)
        # To VCL a header that is not there is an empty one: all would get it.
        if found is None or not found[2].rstrip():
            raise UsageError(f"--canary-header '{header}': 'NAME: VALUE' is "
                             "expected")
        pair = (found[1], found[2].rstrip())
    if cookie is not None and not _COOKIE.fullmatch(cookie):
        raise UsageError(f"--canary-cookie {cookie}: no name of a cookie")
    if cookie is not None and not number:
        raise UsageError("--canary-cookie is for --canary, a share")
    return Share(number, pair, cookie or "")


def of(deployer: Deployer) -> Release:
    """The node's canary. Raises DeployError when it has none."""
    for release in deployer.releases(store.CANARY):
        return release
    raise DeployError(f"{deployer.node} has no canary: `kvmctl deploy "
                      "--canary 10%` begins one")


def begin(deployer: Deployer, prepared: Prepared, wanted: Share) -> Outcome:
    """Loads and probes the release; then it has its share of the clients."""
    deployer.admin.ping()
    deployer.put_away_leftovers()
    deployer.refuse_canary("begin another one")
    old = deployer.serving()
    if old is None or not deployer.router.possible(old):
        raise DeployError(f"{deployer.node} serves nothing that a canary can "
                          "be compared with: deploy without one first")
    current = deployer.current(prepared.content)
    if current is not None:
        return Outcome(current, False, None, ())
    prepared = deployer.named(prepared)
    release = dataclasses.replace(deployer.release_of(prepared), replaced=old)
    vcl = release.canary_vcl
    deployer.files.record(release)
    try:
        deployer.put(prepared, vcl, space=release.name)
        deployer.load(vcl)
        deployer.say("probing ...")
        answers = deployer.trial.probes(vcl, old)
        # Probes are nobody's opinion.
        baseline, own = figures(deployer, old), figures(deployer, vcl)
        deployer.router.use(old, vcl, wanted, vcl)
        release = dataclasses.replace(
            release, state=store.CANARY, canary={
                "percent": wanted.percent, "header": wanted.header,
                "cookie": wanted.cookie, "since": store.now(), "beside": old,
                "baseline": dataclasses.asdict(baseline),
                "own": dataclasses.asdict(own)})
        deployer.files.record(release)
    except BaseException as e:
        deployer.give_up(release, old, str(e) or type(e).__name__)
        raise
    return Outcome(release, True, old, tuple(answers))


def figures(deployer: Deployer, vcl: str) -> Figures:
    """Counters of a VCL; zeros where they cannot be read."""
    if not deployer.admin.node.countable:
        return judge.NOTHING
    return judge.figures(stats.programs(deployer.admin.node), vcl)


def _figures_of(table: dict[str, Any]) -> Figures:
    """As the history has them. Raises TypeError, KeyError."""
    return Figures(int(table["requests"]), int(table["errors"]),
                   float(table["seconds"]))


def judgeable(deployer: Deployer) -> None:
    """Raises DeployError where there are no counters to judge by."""
    if not deployer.admin.node.countable:
        raise DeployError(f"the counters of {deployer.node}, which judge a "
                          "canary, cannot be read through -T alone: name it by "
                          "-n, or by ssh")


def verdict(deployer: Deployer, least: int = judge.MIN_REQUESTS) -> Verdict:
    """The canary against what serves beside it, since it began."""
    release = of(deployer)
    judgeable(deployer)
    beside = str(release.canary.get("beside", ""))
    try:
        before = _figures_of(release.canary["baseline"])
        own = _figures_of(release.canary["own"])
    except (TypeError, KeyError):
        raise DeployError(f"the history does not say how {release.name} "
                          "began: `kvmctl abort`, and begin anew") from None
    counters = stats.programs(deployer.admin.node)
    stable = judge.figures(counters, beside)
    canary = judge.figures(counters, release.canary_vcl)
    if stable.anew(before) or canary.anew(own):
        # One worker has both; the busier one may have caught up already.
        before = own = judge.NOTHING
    return judge.judge(stable.since(before), canary.since(own), least)


def watch(deployer: Deployer, seconds: float, least: int) -> Verdict:
    """Looks until it is worse, the time is over, or somebody interrupts."""
    end = time.monotonic() + seconds
    while True:
        now = verdict(deployer, least)
        left = end - time.monotonic()
        if now.word == judge.WORSE or left <= 0 \
                or deployer.stop.wait(min(_LOOK_SECONDS, left)):
            return now


def through(deployer: Deployer, prepared: Prepared, wanted: Share,
            seconds: float, least: int) -> Outcome:
    """Begins a canary, watches it, and promotes it or aborts it.

    One of too few requests stays a canary, and so does one whose watch is
    interrupted, for the caller to take back. Raises DeployError for a worse one.
    """
    judgeable(deployer)
    outcome = begin(deployer, prepared, wanted)
    if not outcome.changed:
        return outcome
    deployer.say(f"watching for {seconds:.0f} s ...")
    said = watch(deployer, seconds, least)
    if deployer.stop.is_set():
        return outcome
    deployer.say(f"{said.word}: {said.reason}")
    if said.word == judge.WORSE:
        abort(deployer, said.reason)
        raise DeployError(f"{outcome.release.name} is worse than "
                          f"{outcome.replaced} and was aborted: {said.reason}")
    return promote(deployer, prepared) if said.word == judge.SOUND \
        else outcome


def promote(deployer: Deployer, prepared: Prepared) -> Outcome:
    """Everybody gets the canary's release. Its content must be the same."""
    deployer.admin.ping()
    deployer.put_away_leftovers()
    release = of(deployer)
    if prepared.content != release.content:
        raise DeployError(f"edge.toml or a program is not what {release.name} "
                          "was made of: `kvmctl abort`, then deploy anew")
    old = deployer.serving()
    prepared = dataclasses.replace(prepared, name=release.name)
    try:
        deployer.put(prepared, release.name)
        if not deployer.admin.listing().loaded(release.name):
            deployer.load(release.name)
        deployer.say("probing ...")
        answers = deployer.trial.probes(release.name, old)
        deployer.switch(dataclasses.replace(release, canary={}), old)
    except BaseException:
        # The canary goes on.
        with contextlib.suppress(KvmctlError):
            deployer.router.probe_through(release.canary_vcl)
            deployer.discard(release.name)
        raise
    deployer.tidy()
    done = dataclasses.replace(release, state=store.SERVING, canary={})
    return Outcome(done, True, old, tuple(answers))


def abort(deployer: Deployer, why: str = "") -> Outcome:
    """Everybody gets what served before; nothing of the canary is left."""
    deployer.admin.ping()
    release = of(deployer)
    stable = deployer.router.close()
    deployer.remove(release, stable)
    deployer.files.mark(release, store.ABORTED, why)
    deployer.tidy()
    return Outcome(dataclasses.replace(release, state=store.ABORTED), True,
                   deployer.serving(), ())
