# SPDX-License-Identifier: BSD-2-Clause
"""What the neighbours of a program that is asked too much, or is bad, feel.

    python tests/bench/neighbours.py [SECONDS]      after `make`; 60 each

A varnishd of our own. One client asks for a page of Varnish's own and for a
program that answers at once, in turns: alone, then beside forty clients of
another program with two forks, each of which asks again 10 ms after its answer:

    asked too much      it computes for some 5 ms: ten times what it can do
    always too late     it spins until its time limit ends it
    always crashing     it writes to a null pointer
    always too large    it writes until its memory limit ends it
    always remapping    it takes the permission to write from 8 MiB and gives it
                        back, until its time limit ends it
    waiting             it fetches from a server that accepts and is silent

And its share: how many requests a second a program that computes for some 5 ms
answers two clients, alone, beside another such program, and beside one that
spins, each of them asked by ten clients with as many forks as the row says.
Writes build/bench/neighbours.json.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from kvmctl.varnish import stats                        # noqa: E402
from kvmctl.varnish.private import PrivateVarnish       # noqa: E402
from support import silent                              # noqa: E402
from support.live import configure                      # noqa: E402
from support.paths import settings                      # noqa: E402

from streaming import Client                            # noqa: E402

CLIENTS = 40
QUEUE = 8
#: Between two questions of the one who measures, in seconds.
PAUSE = 0.002
SHARE_SECONDS = 5
FORKS = (1, 2, 8)

#: What neighbours are asked for: program and URL.
NEIGHBOURS = {
    "asked too much": "/busy/compute?n=5000",
    "always too late": "/hostile/spin",
    "always crashing": "/hostile/null-write",
    "always too large": "/hostile/heap-hog",
    "always remapping": "/hostile/remap-storm",
    "waiting": "/apitest/fetch",
}

VCL = """
vcl 4.1;
import tinykvm;
backend default none;

sub vcl_init {
	%(programs)s
}

sub vcl_recv {
	if (req.url == "/own") {
		return (synth(200));
	}
	return (pass);
}

sub vcl_backend_fetch {
	set bereq.http.X-Program = regsub(bereq.url, "^/([a-z0-9]+).*", "\\1");
	set bereq.http.X-Url = "%(silent)s/";
	set bereq.backend = tinykvm.program(bereq.http.X-Program,
	    regsub(bereq.url, "^/[a-z0-9]+", ""));
}
"""


@contextmanager
def varnish(silent_url: str) -> Iterator[PrivateVarnish]:
    """A varnishd with all of the programs, up."""
    limits = {"max_request_time": 1.0, "max_queue": QUEUE}
    programs = {
        "hello": settings("hello"),
        "busy": settings("bench", concurrency=2, **limits),
        "hostile": settings("hostile", max_memory=64, max_request_memory=16,
                            concurrency=2, **limits),
        "apitest": settings("apitest", concurrency=2,
                            allowed_fetch=[silent_url], **limits),
        "one": settings("bench", concurrency=2),
    }
    for n in FORKS:
        programs[f"fair{n}"] = settings("bench", concurrency=n)
        programs[f"spin{n}"] = settings("hostile", max_memory=64,
                                        max_request_memory=16, concurrency=n,
                                        max_request_time=1.0)
    with PrivateVarnish() as it:
        vcl = it.directory / "bench.vcl"
        vcl.write_text(VCL % {"silent": silent_url, "programs": "".join(
            configure(name, own) for name, own in programs.items())})
        it.admin.load("bench", vcl)
        it.admin.use("bench")
        client = Client(it.url)
        client.seconds("/own")
        for name in programs:
            if "bench" in programs[name]["filename"]:
                client.seconds(f"/{name}/compute?n=1")
        client.seconds("/hello/")
        yield it
        if it.admin.panics():
            raise SystemExit("varnishd panicked")


@contextmanager
def crowd(url: str, clients: int) -> Iterator[None]:
    """Clients that ask for this until the block ends."""
    with subprocess.Popen(
            ["wrk", "--threads", "1", "--connections", str(clients),
             "--duration", "3600s", "--timeout", "60s", "--script",
             Path(__file__).with_name("crowd.lua"), url],
            stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(0.5)
            yield
        finally:
            process.terminate()


def latencies(url: str, seconds: float) -> dict[str, dict[str, float]]:
    """Of both pages, in microseconds."""
    taken: dict[str, list[float]] = {"/own": [], "/hello/": []}
    client = Client(url)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path, each in taken.items():
            each.append(client.seconds(path) * 1e6)
            time.sleep(PAUSE)
    return {path: {"p50_us": statistics.median(each),
                   "p99_us": statistics.quantiles(each, n=100)[98],
                   "max_us": max(each)} for path, each in taken.items()}


def counter(path: str, name: str) -> str:
    """Its name, of the program that this path asks."""
    return f"TINYKVM.bench.{path.split('/')[1]}.{name}"


def recovery(it: PrivateVarnish, path: str) -> float:
    """Seconds until nothing of the crowd is left and it answers again."""
    start = time.monotonic()
    left = [counter(path, name) for name in ("forks_busy", "queue_length")]
    while sum(stats.counters(str(it.node.name), *left).values()) > 0:
        time.sleep(0.005)
    if path.startswith("/busy"):
        Client(it.url).seconds("/busy/compute?n=1")
    return time.monotonic() - start


def rate(url: str) -> float:
    """Requests of /one/ a second, by two clients."""
    done = subprocess.run(
        ["wrk", "--threads", "1", "--connections", "2", "--duration",
         f"{SHARE_SECONDS}s", url + "/one/compute?n=5000"],
        capture_output=True, text=True, check=True)
    return float(done.stdout.split("Requests/sec:")[1].split()[0])


def shares(url: str) -> dict[str, float]:
    """Of the rate alone, beside each; measured in turns."""
    beside = {f"{kind}{n}": f"/{kind}{n}/" + ("spin" if kind == "spin" else
                                            "compute?n=5000")
              for n in FORKS for kind in ("fair", "spin")}
    found: dict[str, list[float]] = {name: [] for name in beside}
    for _ in range(3):
        alone = rate(url)
        for name, path in beside.items():
            with crowd(url + path, 10):
                found[name].append(rate(url) / alone)
            time.sleep(1.2)
    return {name: statistics.median(each) for name, each in found.items()}


def main() -> None:
    """Measures, prints and writes."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    report: dict[str, Any] = {"seconds": seconds}
    with silent.serving() as silent_url, varnish(silent_url) as it:
        report["alone"] = latencies(it.url, min(seconds, 10.0))
        for name, path in NEIGHBOURS.items():
            with crowd(it.url + path, CLIENTS):
                found: dict[str, Any] = dict(latencies(it.url, seconds))
            found["recovery_s"] = recovery(it, path)
            found["counters"] = {
                key.rsplit(".", 1)[1]: value for key, value in stats.counters(
                    str(it.node.name), counter(path, "*")).items() if value}
            report[name] = found
        report["shares"] = shares(it.url)
    print(f"{'beside':17} own p50    p99    max  hello p50    p99    max"
          "  over in  refused")
    for name in ("alone", *NEIGHBOURS):
        row = report[name]
        print(f"{name:17}" + "".join(
            f" {row[path][key]:{width}.0f}" for path, width in (
                ("/own", 7), ("/hello/", 10))
            for key, width in (("p50_us", width), ("p99_us", 6),
                               ("max_us", 6)))
              + f" {row.get('recovery_s', 0):6.2f} s"
              + f" {row.get('counters', {}).get('queue_refused', 0):8}")
    print("share of the rate alone, beside one that computes / that spins:")
    for n in FORKS:
        print(f"{n} forks: {report['shares'][f'fair{n}']:.2f} / "
              f"{report['shares'][f'spin{n}']:.2f}")
    out = ROOT / "build" / "bench" / "neighbours.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
