# SPDX-License-Identifier: BSD-2-Clause
"""Canaries: who gets them, what is compared, how they end."""

import collections
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from kvmctl.deploy import canary, judge
from kvmctl.deploy.canary import share
from kvmctl.deploy.judge import Figures
from kvmctl.errors import ExitCode, UsageError
from kvmctl.observe import rates
from kvmctl.varnish import stats
from kvmctl.varnish.private import PrivateVarnish
from support.node import Node

HELLO, ECHO = "Hello, World!\n", '"url"'


@pytest.fixture
def node(kvmctl: Any, tmp_path: Path) -> Iterator[Node]:
    with PrivateVarnish() as varnish:
        yield Node(varnish, kvmctl, tmp_path)
        assert varnish.admin.panics() is None


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as it:
        it.trust_env = False
        yield it


def test_requests_that_were_turned_away_are_errors() -> None:
    """A canary whose queue is full is worse, though its answers are right."""
    it = judge.figures({"v": {"p": {
        "invocations": 70, "program_exception": 5, "queue_refused": 20,
        "reservation_timeouts": 10}}}, "v")
    assert (it.requests, it.errors) == (100, 35)


@pytest.mark.parametrize("counters, errors", [
    ({"program_exception": 5, "program_timeout": 2, "program_memory": 1,
      "program_status_5xx": 4}, 12),
    # Its own handler answers its faults by 500, and then some more.
    ({"program_exception": 6, "program_timeout": 2,
      "program_error_handled": 8, "program_status_5xx": 8}, 8),
    ({"program_exception": 8, "program_error_handled": 8,
      "program_status_5xx": 9}, 9),
    # By 200; or that handler is not asked.
    ({"program_exception": 8, "program_error_handled": 8}, 8),
    ({"program_memory": 8, "program_error_handled": 2}, 8)])
def test_a_failed_request_is_one_error(counters: dict[str, int],
                                       errors: int) -> None:
    table = {"v": {"p": {"invocations": 100} | counters}}
    assert judge.figures(table, "v").errors == errors
    (rate,) = rates.rates({}, table, 1.0, rates.Latencies())
    assert rate.errors == errors


def begun(node: Node, *options: str) -> str:
    """hello serves, echo is the canary; its release."""
    node.write("hello")
    node.deploy()
    node.write("echo")
    result = node.kvmctl.json("deploy", node.site, *node.where, *options)
    name: str = result["release"]["name"]
    return name


@pytest.mark.kvm
def test_by_header_then_promoted(node: Node,
                                 session: requests.Session) -> None:
    name = begun(node, "--canary-header", "X-Canary: 1")
    url, chosen = node.varnish.url + "/", {"X-Canary": "1"}
    assert session.get(url).text == HELLO
    assert session.get(url, headers={"X-Canary": "2"}).text == HELLO
    assert ECHO in session.get(url, headers=chosen).text
    status = node.kvmctl.json("status", node.site, *node.where)
    assert status["canary"]["release"] == name
    assert status["canary"]["verdict"]["word"] == judge.FEW
    assert not status["drift"]

    # Nothing else goes on beside it, and it must have been asked enough.
    node.write("hello", main_arguments=["x"])
    for command in ("deploy", "rollback"):
        assert node(command) == ExitCode.DEPLOY
        assert "promote" in node.kvmctl.err and "abort" in node.kvmctl.err
    assert node("promote", "--force") == ExitCode.DEPLOY    # of other content
    node.write("echo")
    assert node("promote") == ExitCode.DEPLOY
    assert "too few" in node.kvmctl.err
    assert session.get(url).text == HELLO
    for _ in range(60):
        assert ECHO in session.get(url, headers=chosen).text
        session.get(url)
    assert node("promote") == ExitCode.OK, node.kvmctl.err
    assert ECHO in session.get(url).text
    assert node.varnish.admin.active() == name
    loaded = {v.name for v in node.varnish.admin.vcls()}
    assert name + "-canary" not in loaded
    assert node("rollback") == ExitCode.OK
    assert session.get(url).text == HELLO


@pytest.mark.kvm
def test_by_share_of_a_cookie_then_aborted(
        node: Node, session: requests.Session) -> None:
    name = begun(node, "--canary", "30%", "--canary-cookie", "id")
    url = node.varnish.url + "/"
    got: collections.Counter[bool] = collections.Counter()
    for i in range(300):
        cookie = {"Cookie": f"a=b; id=user{i}"}
        first = ECHO in session.get(url, headers=cookie).text
        got[first] += 1
        # Who has it keeps it.
        if i % 10 == 0:
            assert first == (ECHO in session.get(url, headers=cookie).text)
    assert 50 < got[True] < 130
    before = {v.name for v in node.varnish.admin.vcls()}
    assert name + "-canary" in before
    assert node("abort") == ExitCode.OK, node.kvmctl.err
    assert all(session.get(url, headers={"Cookie": f"id=user{i}"}).text
               == HELLO for i in range(30))
    assert not any(name in v.name for v in node.varnish.admin.vcls())
    assert node("abort") == ExitCode.DEPLOY
    assert node("promote") == ExitCode.DEPLOY
    states = {r["name"]: r["state"] for r in node.kvmctl.json(
        "history", node.site, *node.where)}
    assert states[name] == "aborted"
    # It deploys as usual afterwards.
    node.deploy()
    assert ECHO in session.get(url).text


@pytest.mark.kvm
def test_a_worse_one_is_aborted_by_itself(node: Node) -> None:
    """The canary answers 500 where the old release does not."""
    import threading
    node.write("hello")
    first = node.deploy()
    node.site.write_text(node.site.read_text().replace(
        "[programs.hello]", f'[programs.hostile]\nfile = "'
        f'{node.program("hostile")}"\n[programs.hello]').replace(
        'program = "hello"', 'program = "hostile"\nprobe = false'))
    stop = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not stop.is_set():
                for chosen in ("0", "1"):
                    session.get(node.varnish.url + "/null-write"
                                if chosen == "1" else node.varnish.url + "/",
                                headers={"X-Canary": chosen})

    # The route takes every path, for the program's faults to be reached.
    node.site.write_text(node.site.read_text().replace('path = "/"',
                                                       'path_prefix = "/"'))
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        code = node("deploy", "--canary-header", "X-Canary: 1", "--watch",
                    "60")
    finally:
        stop.set()
        thread.join()
    assert code == ExitCode.DEPLOY
    assert "worse" in node.kvmctl.err and "fail" in node.kvmctl.err
    assert node.varnish.admin.active() == first


@pytest.mark.kvm
def test_a_canary_keeps_its_answers_to_itself(
        node: Node, session: requests.Session) -> None:
    node.write("hello")
    node.site.write_text(node.site.read_text().replace(
        "cache = false", "ttl = 1000"))
    node.deploy()
    node.write("echo")
    node.site.write_text(node.site.read_text().replace(
        "cache = false", "ttl = 1000"))
    assert node("deploy", "--canary-header", "X-Canary: 1") == ExitCode.OK
    url, chosen = node.varnish.url + "/", {"X-Canary": "1"}
    for _ in range(2):
        assert ECHO in session.get(url, headers=chosen).text
        assert session.get(url).text == HELLO


@pytest.mark.parametrize("percent, header, cookie", [
    ("0", None, None), ("101%", None, None), ("x", None, None),
    ("-1", None, None), ("nan", None, None), (None, "no colon", None),
    (None, "X-\u00e9: 1", None), (None, 'X: "\n', None),
    ("10%", None, "a b"), (None, "X: 1", "id"),
    # To VCL a header that is not there is an empty one.
    (None, "X:", None), (None, "X:  ", None)])
def test_shares_that_make_no_sense(percent: str | None, header: str | None,
                                   cookie: str | None) -> None:
    with pytest.raises(UsageError):
        share(percent, header, cookie)


def test_judgement() -> None:
    good = Figures(1000, 1, 1.0)
    assert judge.judge(good, Figures(20, 20, 1.0)).word == judge.FEW
    assert judge.judge(good, Figures(200, 20, 0.2)).word == judge.WORSE
    assert judge.judge(good, Figures(200, 1, 0.2)).word == judge.SOUND
    assert judge.judge(good, Figures(200, 0, 2.0)).word == judge.WORSE
    assert judge.judge(good, Figures(200, 0, 0.21)).word == judge.SOUND
    # Both fail alike: the canary is not to blame.
    bad = Figures(1000, 300, 1.0)
    assert judge.judge(bad, Figures(200, 62, 0.2)).word == judge.SOUND


def test_judgement_of_few() -> None:
    """One of fifty may fail where one in a thousand does; four may not."""
    stable = Figures(100_000, 100, 100.0)
    for errors, word in ((0, judge.SOUND), (1, judge.SOUND), (2, judge.SOUND),
                         (4, judge.WORSE)):
        assert judge.judge(stable, Figures(50, errors, 0.05)).word == word
    assert judge.judge(Figures(50, 0, 1.0),
                       Figures(50, 10, 1.0)).word == judge.SOUND
    assert judge.judge(Figures(50, 0, 1.0),
                       Figures(50, 25, 1.0)).word == judge.WORSE


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 40),
       st.integers(0, 40))
def test_the_chance_is_exact(n: int, e: int, m: int, f: int) -> None:
    """As counted: how many ways to draw the canary's requests, of them all."""
    e, f = min(e, n), min(f, m)
    if f * (n + m) <= (e + f) * m:
        return                          # no more than its share
    ways = sum(math.comb(e + f, k) * math.comb(n + m - e - f, m - k)
               for k in range(f, min(e + f, m) + 1))
    assert judge.chance(Figures(n, e, 0.0), Figures(m, f, 0.0)) \
        == pytest.approx(ways / math.comb(n + m, m), rel=1e-6)


def test_a_worker_that_began_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its counters begin at zero, those of both VCLs."""
    assert Figures(5, 1, 0.1).since(Figures(100, 0, 1.0)) == Figures(5, 1, 0.1)
    assert Figures(9, 1, 1.0).since(Figures(5, 0, 0.5)) == Figures(4, 1, 0.5)
    # The one that serves has been asked more often than before by now.
    release = SimpleNamespace(canary_vcl="c", name="c", canary={
        "beside": "s", "own": {"requests": 1000, "errors": 0, "seconds": 1},
        "baseline": {"requests": 1000, "errors": 0, "seconds": 1}})
    monkeypatch.setattr(canary, "of", lambda deployer: release)
    monkeypatch.setattr(stats, "programs", lambda node: {
        "s": {"p": {"invocations": 1100, "program_exception": 550,
                    "cpu_time": 2_000_000}},
        "c": {"p": {"invocations": 100, "program_exception": 50,
                    "cpu_time": 200_000}}})
    said = canary.verdict(SimpleNamespace(              # type: ignore[arg-type]
        admin=SimpleNamespace(node=SimpleNamespace(countable=True))))
    assert (said.stable.requests, said.canary.requests) == (1100, 100)
    assert said.word == judge.SOUND


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e6),
       st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e6))
def test_judgement_of_anything(a: int, b: int, c: float, d: int, e: int,
                               f: float) -> None:
    said = judge.judge(Figures(a, min(a, b), c), Figures(d, min(d, e), f))
    assert said.word in (judge.SOUND, judge.WORSE, judge.FEW)
    same = judge.judge(Figures(a, min(a, b), c), Figures(a, min(a, b), c))
    assert same.word != judge.WORSE
