# SPDX-License-Identifier: BSD-2-Clause
"""Hostile programs through a live varnishd: each answer is the expected one,
the child never restarts, and the forks are as many as they were."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from support.paths import SOURCES

pytestmark = pytest.mark.kvm

_SETTINGS = {"max_request_time": 1.5, "concurrency": 2}
_EXPECTED: dict[str, Any] = json.loads(
    (SOURCES / "hostile" / "expectations.json").read_text())
_SECRET = "hunter2-" + "correct-horse-battery-staple"


def thousandfold(outcome: str) -> dict[str, Any]:
    """Settings with which a thousand time limits take a minute, while nobody
    else is hurried on a busy machine."""
    return {"max_request_time": 0.05 if outcome == "timeout" else 5,
            "concurrency": 4}


def check(url: str, expected: dict[str, Any], answer: requests.Response,
          first: str | None = None) -> None:
    """first: the body of an earlier answer, which this one must repeat."""
    if expected["outcome"] == "any":
        assert 200 <= answer.status_code < 600
        return
    assert answer.status_code == expected["status"], (url, answer.text)
    if "body" in expected:
        assert answer.text.rstrip("\n") == expected["body"], url
    if expected.get("repeats") and first is not None:
        assert answer.text == first, url


def forks(live: Any) -> int:
    count: int = live.counter("TINYKVM.it.hostile.forks")
    return count


def test_each_misdeed(hostile: Callable[..., Any]) -> None:
    live = hostile(**_SETTINGS)
    before = forks(live)
    for url, expected in _EXPECTED.items():
        first = None
        for _ in range(4):
            answer = live.ask(url, headers={"X-Arg": _SECRET})
            check(url, expected, answer, first)
            first = answer.text
            assert live.ask("/ok").text == "ok\n", f"after {url}"
    assert forks(live) == before == 2
    assert live.counter("TINYKVM.it.hostile.forks_busy") == 0


def test_each_misdeed_counts_as_what_it_is(
        hostile: Callable[..., Any]) -> None:
    """Crash, time limit, memory limit: each in its own counter."""
    live = hostile(**_SETTINGS)
    names = {"exception": "program_exception", "timeout": "program_timeout",
             "memory": "program_memory"}
    want = dict.fromkeys(names.values(), 0)
    for url, expected in _EXPECTED.items():
        if expected["outcome"] == "any":
            continue
        live.ask(url, headers={"X-Arg": _SECRET})
        if expected["outcome"] in names:
            want[names[expected["outcome"]]] += 1
    have = {name: live.counter(f"TINYKVM.it.hostile.{name}")
            for name in want}
    assert have == want


def test_secrets_stay(hostile: Callable[..., Any]) -> None:
    """What one request leaves everywhere, none after it finds."""
    live = hostile(**_SETTINGS)
    for url in ("/plant-secret", "/ok", "/null-write", "/spin",
                "/plant-secret"):
        live.ask(url, headers={"X-Arg": _SECRET})
        for _ in range(4):
            found = live.ask("/find-secret", headers={"X-Arg": _SECRET})
            assert found.text == "clean\n", url


def hammer(live: Any, url: str, expected: dict[str, Any], times: int,
           wrong: list[str]) -> None:
    with requests.Session() as session:
        session.trust_env = False
        first = None
        for _ in range(times):
            answer = session.get(live.varnish.url + url, timeout=60,
                                 headers={"X-Arg": _SECRET})
            try:
                check(url, expected, answer, first)
                first = answer.text
            except AssertionError as e:
                wrong.append(str(e))


@pytest.mark.long
@pytest.mark.parametrize("url", sorted(_EXPECTED))
def test_a_thousand_times(hostile: Callable[..., Any], url: str) -> None:
    live = hostile(**thousandfold(_EXPECTED[url]["outcome"]))
    before = forks(live)
    wrong: list[str] = []
    threads = [threading.Thread(target=hammer, args=(
        live, url, _EXPECTED[url], 250, wrong)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:3]
    assert live.ask("/ok").text == "ok\n"
    assert forks(live) == before == 4
    assert live.counter("TINYKVM.it.hostile.forks_busy") == 0
