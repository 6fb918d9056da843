# SPDX-License-Identifier: BSD-2-Clause
"""Ten times what a program can do: who is turned away, and who is not hurt."""

import threading
import time
from collections import Counter

import pytest
import requests

from support.live import Live, configure
from support.paths import settings
from support.wait import until

pytestmark = pytest.mark.kvm

QUEUE, CLIENTS = 8, 40
VCL = """
    sub vcl_recv {
        if (req.url == "/other") { return (synth(200)); }
        return (pass);
    }
    sub vcl_backend_fetch {
        set bereq.http.X-Program = regsub(bereq.url, "^/([a-z]+).*", "\\1");
        set bereq.backend = tinykvm.program(bereq.http.X-Program,
            regsub(bereq.url, "^/[a-z]+", ""));
    }"""


def overload(live: Live, seconds: float) -> None:
    name = "TINYKVM.it.bench."
    end = time.monotonic() + seconds
    answers: Counter[int] = Counter()
    guard = threading.Lock()
    beside: Counter[str] = Counter()
    wrong: list[str] = []
    longest = 0

    def client() -> None:
        with requests.Session() as session:
            while time.monotonic() < end:
                a = session.get(live.varnish.url + "/bench/compute?n=5000",
                                timeout=60)
                with guard:
                    answers[a.status_code] += 1
                if a.status_code == 503 and a.headers["Retry-After"] != "1":
                    wrong.append("no Retry-After")

    def bystander(path: str) -> None:
        with requests.Session() as session:
            while time.monotonic() < end:
                a = session.get(live.varnish.url + path, timeout=60)
                beside[path] += 1
                if a.status_code != 200:
                    wrong.append(f"{path}: {a.status_code}")
                time.sleep(0.005)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)] + [
        threading.Thread(target=bystander, args=(path,))
        for path in ("/other", "/hello/")]
    for t in threads:
        t.start()
    while time.monotonic() < end:
        longest = max(longest, live.counter(name + "queue_length"))
    for t in threads:
        t.join()
    assert not wrong
    assert set(answers) == {200, 503}
    assert 0 < longest <= QUEUE
    assert min(beside["/other"], beside["/hello/"]) > 10, beside
    assert live.counter(name + "queue_refused") == answers[503]
    # It is over when they are gone.
    until(lambda: live.counter(name + "forks_busy") == 0)
    assert live.counter(name + "queue_length") == 0
    assert live.ask("/bench/nop").status_code == 200
    assert live.counter("MGT.child_panic") == 0


@pytest.fixture
def busy(live: Live) -> Live:
    live.use("sub vcl_init {\n"
             + configure("bench", settings("bench", max_queue=QUEUE,
                                           concurrency=2))
             + configure("hello", settings("hello")) + "}\n" + VCL)
    assert live.ask("/bench/nop").status_code == 200
    assert live.ask("/hello/").status_code == 200
    return live


def test_ten_times_as_much(busy: Live) -> None:
    overload(busy, 3)


@pytest.mark.long
def test_ten_times_as_much_for_a_minute(busy: Live) -> None:
    overload(busy, 60)
