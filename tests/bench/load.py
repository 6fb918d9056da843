# SPDX-License-Identifier: BSD-2-Clause
"""HTTP: wrk against a varnishd of our own.

    synth       synthetic(): what Varnish needs without us
    fetch       an answer out of vcl_backend_error: the same, and the fetch
                thread that every backend needs
    program     a backend that is guests/hello
    to_string   the same guest, called from vcl_synth

All send the same bytes, none is cached.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from kvmctl.varnish.private import PrivateVarnish
from support.live import configure

import report

WAYS = ("synth", "fetch", "program", "to_string")
CONNECTIONS = (1, 2, 8)
SECONDS = 2                             # of one measurement
_BODY = "Hello, World!\n"

_VCL = """\
vcl 4.1;
import tinykvm;
backend default none;

sub vcl_init {
	%(hello)s
	tinykvm.start("hello", async = false);
}

sub vcl_recv {
	if (req.url == "/program" || req.url == "/fetch") {
		return (pass);
	}
	return (synth(200));
}

sub vcl_synth {
	if (req.url == "/to_string") {
		synthetic(tinykvm.to_string("hello", req.url));
	} else {
		synthetic({"%(body)s"});
	}
	return (deliver);
}

sub vcl_backend_fetch {
	if (bereq.url == "/fetch") {
		return (error(200));
	}
	set bereq.backend = tinykvm.program("hello");
}

sub vcl_backend_error {
	synthetic({"%(body)s"});
	return (deliver);
}
"""

#: latency in microseconds -> answers that took so long
Histogram = dict[int, int]


class BenchFailed(Exception):
    """Something that is measured does not work."""


def real_answers(found: dict[str, Any], connections: int) -> Histogram:
    """The histogram without the answers that wrk made up.

    For each answer that took n times the mean or more, wrk adds those that
    the connection would have got meanwhile, one for each mean: that estimates
    a load which does not wait, and here every connection does. The largest is
    taken out first, as wrk adds only below what it looks at.
    """
    histogram = {int(us): int(n) for us, n in found["latency"]}
    if sum(histogram.values()) == found["requests"]:
        return histogram
    mean = found["duration_us"] // max(1, found["requests"] // connections)
    for us in sorted(histogram, reverse=True):
        for lower in range(us - mean, mean, -mean) if us >= 2 * mean else ():
            histogram[lower] -= histogram[us]
    return {us: n for us, n in histogram.items() if n > 0}


def percentile(histogram: Histogram, percent: float) -> int:
    """By nearest rank."""
    rank = percent / 100 * sum(histogram.values())
    seen = 0
    for us in sorted(histogram):
        seen += histogram[us]
        if seen >= rank:
            return us
    raise BenchFailed("not one answer")


def wrk(url: str, connections: int, seconds: int) -> dict[str, float]:
    """One run. Raises BenchFailed when an answer is an error."""
    done = subprocess.run(
        ["wrk", "--threads", "1", "--connections", str(connections),
         "--duration", f"{seconds}s", "--latency", "--script",
         Path(__file__).with_name("wrk.lua"), url],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"wrk: {(done.stdout + done.stderr).strip()}")
    found = json.loads(done.stdout.splitlines()[-1])
    if found["errors"] or not found["requests"]:
        raise BenchFailed(f"{url}: {found['errors']} errors in "
                          f"{found['requests']} answers")
    histogram = real_answers(found, connections)
    return {"rps": found["requests"] / found["duration_us"] * 1e6,
            "p50_us": percentile(histogram, 50),
            "p99_us": percentile(histogram, 99)}


@contextmanager
def _varnish(hello: Path) -> Iterator[str]:
    """The URL of a varnishd that answers all ways, as was tried."""
    with PrivateVarnish() as varnish, requests.Session() as session:
        vcl = varnish.directory / "bench.vcl"
        vcl.write_text(_VCL % {"body": _BODY, "hello": configure("hello", {
            "filename": str(hello), "concurrency": max(CONNECTIONS)})})
        varnish.admin.load("bench", vcl)
        varnish.admin.use("bench")
        session.trust_env = False
        for way in WAYS:
            answer = session.get(f"{varnish.url}/{way}", timeout=30)
            if answer.status_code != 200 or answer.text != _BODY:
                raise BenchFailed(f"/{way} answered {answer.status_code}: "
                                  f"{answer.text[:200]}")
        yield varnish.url
        if varnish.admin.panics():
            raise BenchFailed("varnishd panicked")


Figures = dict[str, dict[str, dict[str, Any]]]


def in_turns(hello: Path, rounds: int, say: Callable[[str], None]) -> Figures:
    """Way -> connections -> figures: medians over the rounds."""
    runs: dict[tuple[str, int], list[dict[str, float]]] = {
        (way, n): [] for way in WAYS for n in CONNECTIONS}
    with _varnish(hello) as url:
        for i in range(rounds):
            say(f"  round {i + 1} of {rounds}")
            for (way, n), results in runs.items():
                results.append(wrk(f"{url}/{way}", n, SECONDS))
    return {way: {str(n): report.medians(runs[way, n]) for n in CONNECTIONS}
            for way in WAYS}


def all_at_once(hello: Path) -> Figures:
    """The same in two seconds, without meaning."""
    cells = [(way, n) for way in WAYS for n in CONNECTIONS]
    with _varnish(hello) as url, ThreadPoolExecutor(len(cells)) as pool:
        results = list(pool.map(lambda c: wrk(f"{url}/{c[0]}", c[1], 1),
                                cells))
    figures: Figures = {way: {} for way in WAYS}
    for (way, n), result in zip(cells, results):
        figures[way][str(n)] = result
    return figures
