# SPDX-License-Identifier: BSD-2-Clause
"""What a whole varnishd does with many programs, or with one that asks it.

    cached      an object of Varnish's cache
    plain       program(), a guest that answers at once
    asking      program(), a guest that asks Varnish for the cached object,
                over a Unix socket, and passes it on
"""

import statistics
import time
from pathlib import Path

import requests

from kvmctl.varnish.private import PrivateVarnish
from support.live import configure

import load

PROGRAMS, FORKS = 32, 4
WAYS = ("cached", "plain", "asking")

_SELF = """\
vcl 4.1;
import tinykvm;
backend default none;

sub vcl_init {
	%(programs)s
	tinykvm.init_self_requests("%(socket)s", "http://127.0.0.1");
}

sub vcl_recv {
	if (req.url == "/cached") {
		return (hash);
	}
	return (pass);
}

sub vcl_backend_fetch {
	if (bereq.url == "/asking") {
		set bereq.http.X-Url = "/cached";
		set bereq.backend = tinykvm.program("apitest", "/fetch/self");
	} elseif (bereq.url == "/plain") {
		set bereq.backend = tinykvm.program("hello");
	} else {
		return (error(200));
	}
}

sub vcl_backend_error {
	set beresp.ttl = 1h;
	synthetic({"Hello, World!
"});
	return (deliver);
}
"""


class _Listening(PrivateVarnish):
    """One that listens at a Unix socket, too."""

    @property
    def socket(self) -> str:
        return str(self.directory / "self.sock")

    def _command(self) -> list[str]:
        return [*super()._command(), "-a", self.socket]


def self_requests(guests: Path, rounds: int, seconds: int) -> dict[str, float]:
    """way -> median latency in microseconds, one connection."""
    with _Listening() as varnish:
        vcl = varnish.directory / "self.vcl"
        vcl.write_text(_SELF % {"socket": varnish.socket, "programs": "".join(
            configure(name, {"filename": str(guests / name / name)})
            for name in ("apitest", "hello"))})
        varnish.admin.load("self", vcl)
        varnish.admin.use("self")
        runs: dict[str, list[float]] = {way: [] for way in WAYS}
        for way in WAYS:
            answer = requests.get(f"{varnish.url}/{way}", timeout=30)
            if answer.status_code != 200 or answer.text != "Hello, World!\n":
                raise load.BenchFailed(f"/{way} answered "
                                       f"{answer.status_code}: {answer.text}")
        for _ in range(rounds):
            for way, found in runs.items():
                found.append(load.wrk(f"{varnish.url}/{way}", 1,
                                      seconds)["p50_us"])
    return {way: statistics.median(found) for way, found in runs.items()}


def loading(guests: Path, rounds: int) -> float:
    """Seconds of vcl.load with PROGRAMS programs of FORKS forks, all up."""
    hello = str(guests / "hello" / "hello")
    names = [f"p{i}" for i in range(PROGRAMS)]
    took = []
    with PrivateVarnish() as varnish:
        vcl = varnish.directory / "many.vcl"
        vcl.write_text(
            "vcl 4.1;\nimport tinykvm;\nbackend default none;\n"
            "sub vcl_init {\n" + "".join(
                configure(name, {"filename": hello, "concurrency": FORKS})
                + f"tinykvm.start(\"{name}\", async = false);\n"
                for name in names) + "}\n")
        for i in range(rounds):
            began = time.monotonic()
            varnish.admin.load(f"v{i}", vcl)
            took.append(time.monotonic() - began)
    return statistics.median(took)
