# SPDX-License-Identifier: BSD-2-Clause
"""Reloads of VCL while requests run: nothing fails, nothing is kept."""

import threading
import time
from collections import Counter

import pytest
import requests

from support.child import Child
from support.live import Live, configure
from support.paths import settings
from support.wait import until

RELOADS = 500
# VMs of a program that is gone are kept for the next: the first reloads fill
# that store.
WARM_UP = 10
# 16 KiB a reload; the VMs of one that stays loaded are more than 1 MiB.
MOST_KIB = RELOADS * 16


def vcl() -> str:
    return "sub vcl_init {" + configure("hello", settings(
        "hello", max_memory=16)) + """
            tinykvm.start("hello", async = false);
        }
        sub vcl_recv { return (pass); }
        sub vcl_backend_fetch {
            set bereq.backend = tinykvm.program("hello", "/");
        }"""


class Client(threading.Thread):
    """Asks until told to stop."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self.url, self.answers = live.varnish.url, Counter[int]()
        self.done = threading.Event()

    def run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self.done.is_set():
                answer = session.get(self.url + "/", timeout=60)
                self.answers[answer.status_code] += 1


def settled(live: Live) -> Child:
    """The worker once only the active VCL and Varnish's own are there."""
    until(lambda: len(live.varnish.admin.vcls()) == 2, 70)
    time.sleep(1)
    return Child(live.varnish.process_id)


@pytest.mark.kvm
@pytest.mark.long
def test_reloads_leave_nothing(live: Live) -> None:
    live.use(vcl(), "v0")
    path = live.varnish.directory / "v0.vcl"
    admin, client = live.varnish.admin, Client(live)
    client.start()
    try:
        for n in range(1, WARM_UP + RELOADS + 1):
            admin.load(f"v{n}", path)
            admin.use(f"v{n}")
            admin.discard(f"v{n - 1}")
            if n == WARM_UP:
                before = settled(live)
        after = settled(live)
    finally:
        client.done.set()
        client.join()
    print(f"{RELOADS} reloads, {client.answers.total()} requests: "
          f"{after.rss_kib - before.rss_kib} KiB, "
          f"{after.descriptors - before.descriptors} descriptors, "
          f"{after.threads - before.threads} threads more")
    assert set(client.answers) == {200}
    assert after.descriptors <= before.descriptors
    assert after.threads <= before.threads + 5      # workers come and go
    assert after.rss_kib - before.rss_kib < MOST_KIB
