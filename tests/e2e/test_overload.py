# SPDX-License-Identifier: BSD-2-Clause
"""A program that is asked ten times what it can do, or is always bad: who is
turned away, and who is not hurt."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from support import silent
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
        set bereq.http.X-Url = "%s/";
        set bereq.http.X-Program = regsub(bereq.url, "^/([a-z]+).*", "\\1");
        set bereq.backend = tinykvm.program(bereq.http.X-Program,
            regsub(bereq.url, "^/[a-z]+", ""));
    }"""


def overload(live: Live, seconds: float, path: str = "/bench/compute?n=5000",
             status: int = 200, full: bool = True) -> None:
    """Forty clients ask for path; status is what those get who are served.

    It lasts so many seconds, or until the bystanders have been answered often
    enough. full: they are too many for it.
    """
    name = f"TINYKVM.it.{path.split('/')[1]}."
    end = time.monotonic() + seconds
    answers: Counter[int] = Counter()
    guard, over = threading.Lock(), threading.Event()
    beside = {"/other": 0, "/hello/": 0}
    wrong: list[str] = []
    longest = 0

    def client() -> None:
        with requests.Session() as session:
            while not over.is_set():
                a = session.get(live.varnish.url + path, timeout=60)
                with guard:
                    answers[a.status_code] += 1
                if a.status_code == 503 and a.headers["Retry-After"] != "1":
                    wrong.append("no Retry-After")

    def bystander(path: str) -> None:
        with requests.Session() as session:
            while not over.is_set():
                a = session.get(live.varnish.url + path, timeout=60)
                beside[path] += 1
                if a.status_code != 200:
                    wrong.append(f"{path}: {a.status_code}")
                time.sleep(0.005)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)] + [
        threading.Thread(target=bystander, args=(path,)) for path in beside]
    for t in threads:
        t.start()
    try:
        while time.monotonic() < end:
            longest = max(longest, live.counter(name + "queue_length"))
        until(lambda: min(beside.values()) > 10, 60)
    finally:
        over.set()
        for t in threads:
            t.join()
    assert not wrong
    assert status in answers and set(answers) <= {status, 503}
    assert longest <= QUEUE
    assert not full or (longest > 0 and 503 in answers)
    assert live.counter(name + "queue_refused") == answers[503]
    # It is over when they are gone.
    until(lambda: live.counter(name + "forks_busy") == 0)
    assert live.counter(name + "queue_length") == 0
    assert live.ask("/bench/nop").status_code == 200
    assert live.counter("MGT.child_panic") == 0


@pytest.fixture
def busy(live: Live) -> Iterator[Live]:
    limits = {"max_queue": QUEUE, "concurrency": 2, "max_request_time": 0.5}
    with silent.serving() as url:
        live.use("sub vcl_init {\n"
                 # 5 ms of work, which here may wait for a CPU much longer.
                 + configure("bench", settings(
                     "bench", **(limits | {"max_request_time": 8})))
                 + configure("hostile", settings(
                     "hostile", max_memory=64, max_request_memory=16,
                     **limits))
                 # To write so much may take longer than the time limit.
                 + configure("hog", settings(
                     "hostile", max_memory=64, max_request_memory=16,
                     **(limits | {"max_request_time": 8})))
                 + configure("apitest", settings(
                     "apitest", allowed_fetch=[url], **limits))
                 + configure("hello", settings("hello")) + "}\n"
                 + VCL % url)
        assert live.ask("/bench/nop").status_code == 200
        assert live.ask("/hello/").status_code == 200
        yield live


def test_ten_times_as_much(busy: Live) -> None:
    overload(busy, 3)


@pytest.mark.parametrize("path, status", [
    ("/hostile/spin", 504), ("/hostile/null-write", 500),
    ("/hog/heap-hog", 500), ("/apitest/fetch", 500)])
def test_always_bad(busy: Live, path: str, status: int) -> None:
    """Too late, crashing, too large, or waiting for an origin that is dead."""
    overload(busy, 2, path, status, full=path != "/hostile/null-write")


@pytest.mark.long
def test_ten_times_as_much_for_a_minute(busy: Live) -> None:
    overload(busy, 60)
