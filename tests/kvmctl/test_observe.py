# SPDX-License-Identifier: BSD-2-Clause
"""stats, top, logs, metrics: what they show of a real node."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from kvmctl.errors import ExitCode, VarnishError
from kvmctl.observe import log, rates, tables
from kvmctl.quantiles import quantile
from kvmctl.varnish import stats
from kvmctl.varnish.admin import Node as AdminNode
from kvmctl.varnish.private import PrivateVarnish
from support.node import Node
from support.paths import GUESTS, ROOT
from support.wait import until


@pytest.fixture
def node(kvmctl: Any, tmp_path: Path) -> Iterator[Node]:
    with PrivateVarnish() as varnish:
        it = Node(varnish, kvmctl, tmp_path)
        it.write("hello", f'[programs.hostile]\nfile = "'
                 f'{it.program("hostile")}"\n[[routes]]\n'
                 'path = "/null-write"\nprogram = "hostile"\ncache = false\n'
                 'probe = false\n')
        it.deploy()
        yield it
        assert varnish.admin.panics() is None


def environment() -> dict[str, str]:
    return os.environ | {"KVMCTL_OUT": str(GUESTS)}


def interruptible() -> None:
    """Who runs the tests in the background ignores SIGINT for all of them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.kvm
def test_stats(node: Node) -> None:
    for _ in range(3):
        node.ask()
    node.ask("/null-write")
    (vcls,) = node.kvmctl.json("stats", node.site, *node.where).values()
    (programs,) = vcls.values()
    assert programs["hello"]["invocations"] == 5
    # Three, the probe, and the look after the switch.
    assert programs["hostile"]["program_exception"] == 1
    assert node("stats") == ExitCode.OK
    head, *rows = node.kvmctl.out.splitlines()
    assert "requests" in head and len(rows) == 2


@pytest.mark.kvm
def test_top_once(node: Node) -> None:
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            node.ask()
            node.ask("/null-write")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        rows = node.kvmctl.json("top", node.site, *node.where, "--once",
                                "--interval", "1")
        assert node("top", "--interval", "0.3") == ExitCode.OK
    finally:
        stop.set()
        thread.join()
    found = {r["program"]: r for r in rows}
    hello, hostile = found["hello"], found["hostile"]
    assert hello["requests"] > 5 and hello["errors"] == 0
    assert hostile["errors"] > 5
    assert 0 < hello["p50_ms"] <= hello["p99_ms"] < 5000
    assert hello["forks"] >= 1 and hello["cpu_ms"] > 0
    assert "p99 ms" in node.kvmctl.out and "hello" in node.kvmctl.out


@pytest.mark.kvm
def test_top_on_a_terminal(node: Node) -> None:
    import pty
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kvmctl", "top", str(node.site), *node.where,
         "--interval", "0.2"], stdin=theirs, stdout=theirs, stderr=theirs,
        env=environment() | {"TERM": "xterm", "COLUMNS": "120"},
        preexec_fn=interruptible)
    os.close(theirs)
    said = b""
    try:
        while b"hello" not in said:
            said += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                said += os.read(ours, 65536)
            except OSError:
                break
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"requests/s" in said and b"Traceback" not in said


@pytest.mark.kvm
def test_logs(node: Node) -> None:
    node.ask("/?hello")
    node.ask("/null-write")
    assert node("logs", "--past", "--program", "hello") == ExitCode.OK
    assert "/?hello" in node.kvmctl.out
    assert "/null-write" not in node.kvmctl.out
    assert node("logs", "--past", "--errors") == ExitCode.OK
    assert "null pointer" in node.kvmctl.out
    assert "/?hello" not in node.kvmctl.out
    assert node("logs", "--past", "--program", "hostile",
                "--json") == ExitCode.OK
    rows = [json.loads(row) for row in node.kvmctl.out.splitlines()]
    assert {"Request", "BeReq"} <= {r["kind"] for r in rows}
    assert any(tag == "VCL_Error" for r in rows for tag, _ in r["records"])
    assert node("logs", "--past", "--program", "no") == ExitCode.USAGE
    assert "hello, hostile" in node.kvmctl.err
    assert node.kvmctl("logs", node.site, "-T", "127.0.0.1:1") == \
        ExitCode.USAGE


@pytest.mark.kvm
def test_metrics(node: Node) -> None:
    node.ask("/null-write")
    assert node("metrics", "--once") == ExitCode.OK
    families = {f.name: f for f in
                text_string_to_metric_families(node.kvmctl.out)}
    failed = {s.labels["program"]: s.value for s in
              families["tinykvm_exception"].samples}
    assert failed["hostile"] == 1 and failed["hello"] == 0
    assert families["kvmctl_node_up"].samples[0].value == 1
    assert families["kvmctl_release_info"].samples[0].labels[
        "release"].startswith("it-")
    assert families["varnish_client_requests"].samples[0].value >= 1
    assert families["tinykvm_forks"].type == "gauge"


@pytest.mark.kvm
def test_metrics_by_http(node: Node) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kvmctl", "metrics", str(node.site),
         *node.where, "--port", "0"], stdout=subprocess.PIPE, text=True,
        env=environment(), preexec_fn=interruptible)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(2):
                text = session.get(url, timeout=20).text
                assert "tinykvm_invocations_total{" in text
        node.varnish.admin.command("stop")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_metrics_of_a_node_that_is_down(kvmctl: Any, tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(
        f'[site]\nname = "x"\n[nodes.down]\nname = "{tmp_path}/none"\n')
    assert kvmctl("metrics", tmp_path / "edge.toml", "--once", "--store",
                  tmp_path / "store") == ExitCode.OK
    assert 'kvmctl_node_up{node="down"} 0.0' in kvmctl.out
    assert 'kvmctl_node_drift{node="down"} 1.0' in kvmctl.out


def test_the_dashboard_asks_for_what_there_is(kvmctl: Any) -> None:
    """Every figure that a panel names is one that `metrics` writes."""
    assert kvmctl("metrics", "--dashboard") == ExitCode.OK
    board = json.loads(kvmctl.out)
    assert board == json.loads(resources.files("kvmctl.observe").joinpath(
        "grafana.json").read_text())
    named = set(re.findall(r"\b(?:tinykvm|kvmctl|varnish)_[a-z0-9_]+",
                           json.dumps([p["targets"] for p in
                                       board["panels"]])))
    vsc = (Path(__file__).parents[2] / "vmod" / "varnish"
           / "tinykvm.vsc").read_text()
    from kvmctl.observe.prometheus import VARNISH, _name
    there = {"kvmctl_node_up", "kvmctl_node_drift", "kvmctl_release_info"}
    there |= {f"varnish_{n}_total" for n in VARNISH.values()}
    for counter in re.findall(r"varnish_vsc:: (\w+)", vsc):
        name = _name(counter)[0]
        there.add(name if counter in rates.GAUGES else f"{name}_total")
    assert len(named) > 10 and named <= there


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0.001, 1))
def test_quantiles(values: list[float], q: float) -> None:
    found = quantile(values, q)
    assert found in values
    assert sum(v <= found for v in values) >= q * len(values)


def test_rates_when_counters_begin_anew() -> None:
    seen = rates.Latencies()
    before = {"a": {"p": {"invocations": 100}}}
    after = {"a": {"p": {"invocations": 10}}, "b": {"p": {"invocations": 4}}}
    found = rates.rates(before, after, 2.0, seen)
    assert [(r.vcl, r.requests) for r in found] == [("b", 2.0), ("a", 0.0)]


def test_tables() -> None:
    rows = list(tables.columns(("a", "b"), [("xx", "1"), ("y", "22")]))
    assert rows == ["a    b", "xx   1", "y   22"]


def test_queries() -> None:
    assert log.query(None, False) is None
    from kvmctl.errors import UsageError
    with pytest.raises(UsageError):
        log.query('x" or ReqURL ~ "', False)


def test_a_name_is_no_beginning_of_another() -> None:
    """--program shop shows nothing of shop-cart."""
    for errors in (False, True):
        wanted = log.query("shop", errors)
        assert wanted is not None
        patterns = re.findall(r'(\w+) ~ "(.*?)"', wanted)
        assert {tag for tag, _ in patterns} >= {"VCL_Error", "FetchError"}
        for _, pattern in patterns:
            assert re.search(pattern, "tinykvm: shop: it fails")
            for other in ("shop-cart", "shop.x", "shopping", "a-shop"):
                assert not re.search(pattern, f"tinykvm: {other}: it fails")
    every = log.query(None, True)
    assert every is not None
    assert all(re.search(p, "tinykvm: any: it fails")
               for p in re.findall(r'"(.*?)"', every))


def test_a_reader_that_ends(tmp_path: Path) -> None:
    """Its words are told, instead of figures that never come."""
    with log.Watch(AdminNode(name=str(tmp_path / "nowhere"))) as watch:
        def ended() -> bool:
            try:
                watch.taken()
            except VarnishError as e:
                assert "varnishncsa has ended: " in str(e)
                return True
            return False

        until(ended)


def test_counters_that_go_while_they_are_read(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """varnishstat ends with an assertion then: it is asked again."""
    (tmp_path / "varnishstat").write_text(f"""#!/bin/sh
if mkdir {tmp_path}/asked 2>/dev/null; then
    echo 'Assert error in vsc_add_seg(), vsc.c line 369:' >&2; exit 134
fi
echo '{{"counters": {{"MGT.uptime": {{"value": 7}}}}}}'
""")
    (tmp_path / "varnishstat").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert stats.counters("here", "MGT.uptime") == {"MGT.uptime": 7}


def test_gauges_are_those_of_the_counters_file() -> None:
    """What goes down again is no counter for Prometheus."""
    text = (ROOT / "vmod/varnish/tinykvm.vsc").read_text()
    assert set(re.findall(r"varnish_vsc:: (\w+)\n\t:type:\t+gauge", text)) \
        == set(rates.GAUGES)


def test_requests_that_were_turned_away_are_requests() -> None:
    """There are never more errors than requests."""
    after = {"v": {"p": {"invocations": 10, "queue_refused": 30,
                         "reservation_timeouts": 20, "cpu_time": 50000}}}
    (it,) = rates.rates({}, after, 10.0, rates.Latencies())
    assert (it.requests, it.errors, it.cpu_ms) == (6.0, 5.0, 5.0)
