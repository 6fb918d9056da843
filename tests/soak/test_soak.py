# SPDX-License-Identifier: BSD-2-Clause
"""What the soak fails for, and a short one."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import soak


def report(**other: Any) -> dict[str, Any]:
    return {"requests": 10000, "seconds": 60.0, "reloads": 19, "panics": 0,
            "child_died": 0, "leaked_forks": 0, "leaked_vcls": 0,
            "rss_growth_kib": 30000, "fd_growth": 3, "unclassified": 0,
            "answers": {"right": 9990, "busy": 10}, "busy": {"hello": 10},
            "right": dict.fromkeys(soak.KINDS, 800)} | other


def test_a_good_run() -> None:
    assert soak.wrong(report()) == []


@pytest.mark.parametrize("other, words", [
    ({"panics": 1}, "1 panics"),
    ({"child_died": 1}, "1 child died"),
    ({"leaked_forks": 2}, "2 leaked forks"),
    ({"leaked_vcls": 1}, "1 leaked vcls"),
    ({"rss_growth_kib": 70000}, "rss_growth_kib is 70000, more than"),
    ({"fd_growth": 100}, "fd_growth is 100, more than"),
    ({"unclassified": 1}, "1 unclassified"),
    ({"reloads": 0}, "nothing was reloaded"),
    ({"answers": {"right": 9000, "busy": 1000}}, "1000 of 10000 answers"),
    ({"right": {kind: 800 for kind in soak.KINDS if kind != "chain"}},
     "chain: no right answer"),
    ({"busy": {"parallel": 200}}, "parallel: busy too often"),
])
def test_a_bad_run(other: dict[str, Any], words: str) -> None:
    (wrong,) = soak.wrong(report(**other))
    assert wrong.startswith(words)


def test_a_short_run_may_have_missed_some() -> None:
    assert soak.wrong(report(seconds=3.0, reloads=0, right={})) == []


def test_a_thread_that_dies_ends_the_run() -> None:
    it = soak.Soak(60, 1)
    it.end = 1e12

    def work(_: str) -> None:
        raise OSError("dead")

    it.guarded(work, "word")
    assert [str(e) for e in it.failures] == ["dead"] and it.end == 0.0


@pytest.mark.kvm
@pytest.mark.languages
def test_a_short_soak() -> None:
    found = soak.Soak(12, random.randrange(1 << 30)).run()
    assert soak.wrong(found) == [], found
