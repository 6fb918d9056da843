# SPDX-License-Identifier: BSD-2-Clause
"""The wall clock jumps under a varnishd that serves."""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from support.compiled import compiled
from support.live import Live, running
from support.paths import ROOT, settings
from support.wait import until

pytestmark = pytest.mark.kvm

DAY = 86400

#: Answers with its wall clock; /sleep with the ms that it slept; /spin never.
CLOCK = """
#include "kvm_api.h"
#include <string.h>
#include <time.h>

static long
ms(int id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

static void
on_get(const char *url, const char *arg)
{
    struct timespec a_second = { .tv_sec = 1 };
    long start = ms(CLOCK_MONOTONIC);

    (void)arg;
    if (strcmp(url, "/spin") == 0)
        for (;;)
            ;
    if (strcmp(url, "/sleep") == 0) {
        (void)nanosleep(&a_second, NULL);
        respondf(200, "%ld", ms(CLOCK_MONOTONIC) - start);
    }
    respondf(200, "%ld", ms(CLOCK_REALTIME) / 1000);
}

int
main(void)
{
    set_backend_get(on_get);
    wait_for_requests();
}
"""

Jump = Callable[[int], None]


@pytest.fixture
def jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jump:
    """Puts the clock of processes that are started from now on off."""
    where = tmp_path / "off"
    where.write_bytes(bytes(4096))
    shim = compiled(tmp_path, "clock_jump.so",
                    [ROOT / "tests" / "support" / "clock_jump.c"],
                    "-shared", "-fPIC", static=False)
    monkeypatch.setenv("CLOCK_JUMP", str(where))
    monkeypatch.setenv("LD_PRELOAD", shim)

    def to(seconds: int) -> None:
        with where.open("r+b") as file:
            file.write(struct.pack("q", seconds))
    return to


@pytest.fixture
def clock(jump: Jump, tmp_path: Path) -> Iterator[Live]:
    own = {"filename": compiled(tmp_path, "clock", CLOCK)}
    # Varnish itself ends its worker when its clock goes back further.
    with running(clock_step="9999999999") as live:
        live.use_programs({
            "clock": own | {"max_request_time": 3, "concurrency": 4},
            "counter": settings("counter", state_directory=str(tmp_path))})
        assert live.ask("/clock/").status_code == 200
        yield live


@pytest.mark.parametrize("seconds", [DAY, -2 * DAY, 400 * DAY])
def test_requests_go_on(clock: Live, jump: Jump, seconds: int) -> None:
    """What runs has its time, neither more nor less; others see the new one."""
    answers: dict[str, Any] = {}

    def ask(path: str) -> None:
        start = time.monotonic()
        answer = requests.get(clock.varnish.url + path, timeout=60)
        answers[path] = (answer.status_code, answer.text,
                         time.monotonic() - start)

    threads = [threading.Thread(target=ask, args=(path,))
               for path in ("/clock/spin", "/clock/sleep")]
    for t in threads:
        t.start()
    until(lambda: clock.program("clock")["forks_busy"] == 2)
    jump(seconds)
    # The page of times follows by the second.
    until(lambda: abs(int(clock.ask("/clock/").text) - time.time() - seconds)
          < 30)
    for t in threads:
        t.join()
    status, text, took = answers["/clock/sleep"]
    assert status == 200 and int(text) >= 1000
    status, text, took = answers["/clock/spin"]
    assert status == 504 and took >= 2.9
    for n in range(1, 4):
        assert clock.ask("/counter/x", "POST").text == f"{n}\n"
        jump(-seconds if n == 1 else seconds)
    assert clock.ask("/clock/sleep").status_code == 200
