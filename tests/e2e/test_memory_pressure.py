# SPDX-License-Identifier: BSD-2-Clause
"""A worker whose group has little memory: up to the edge, and beyond it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.compiled import compiled
from support.live import Live, running
from support.memory_group import memory_group
from support.paths import settings
from support.saved import saved_count
from support.wait import until
from support.wrapped import wrap_varnishd

pytestmark = pytest.mark.kvm

FORKS = 4
#: MiB, as vmod/README.md has it, and what Varnish takes itself.
MEMORY, REQUEST = 160, 40
GROUP = MEMORY + FORKS * 2 * REQUEST + 160

#: Writes to as many MiB as the URL says, of SPACE.
TAKER = """
#include "kvm_api.h"
#include <stdlib.h>

static volatile char memory[SPACE << 20];

static void
on_get(const char *url, const char *arg)
{
    long i, mib = atol(url + 1);

    (void)arg;
    for (i = 0; i < mib << 20; i += 4096)
        memory[i] = 1;
    respondf(200, "%ld", mib);
}

int
main(void)
{
    set_backend_get(on_get);
    wait_for_requests();
}
"""


@pytest.fixture
def small(tmp_path: Path,
          monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    with memory_group(GROUP) as group:
        wrap_varnishd(tmp_path, monkeypatch,
                      f'echo $$ >{group}; exec "$VARNISHD" "$@"')
        with running() as live:
            yield live


def use(live: Live, tmp_path: Path, memory: int, request: int) -> None:
    state = tmp_path / "state"
    state.mkdir()
    taker = compiled(tmp_path, "taker", TAKER, f"-DSPACE={memory - 30}")
    live.use_programs({
        "taker": {"filename": taker, "max_memory": memory,
                  "max_request_memory": request, "max_request_time": 20,
                  "concurrency": FORKS},
        "hello": settings("hello"),
        "counter": settings("counter", state_directory=str(state))})
    assert live.ask("/hello/").status_code == 200
    assert live.ask("/taker/1").text == "1"
    for n in range(1, 4):
        assert live.ask("/counter/x", "POST").text == f"{n}\n"
    until(lambda: saved_count(state) == 3)


def all_at_once(live: Live, mib: int) -> list[int]:
    """The status of each; 0: the connection ended."""
    seen: list[int] = []

    def client() -> None:
        try:
            seen.append(requests.get(f"{live.varnish.url}/taker/{mib}",
                                     timeout=60).status_code)
        except requests.RequestException:
            seen.append(0)

    threads = [threading.Thread(target=client) for _ in range(FORKS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return seen


def test_up_to_the_edge(small: Live, tmp_path: Path) -> None:
    """Limits whose sum fits are what ends requests, again and again."""
    use(small, tmp_path, MEMORY, REQUEST)
    for _ in range(5):
        assert all_at_once(small, 20) == [200] * FORKS
        assert all_at_once(small, MEMORY - 40) == [500] * FORKS
    assert small.program("taker")["program_memory"] == 5 * FORKS
    assert small.ask("/hello/").status_code == 200


def test_beyond_it(small: Live, tmp_path: Path) -> None:
    """The kernel ends the worker; it comes back with what was saved."""
    use(small, tmp_path, GROUP + 100, GROUP + 50)
    small.deaths = 1
    assert 200 not in all_at_once(small, GROUP)
    until(lambda: small.varnish.admin.status() == "running"
          and small.counter("MGT.child_start") == 2)
    assert small.ask("/hello/").status_code == 200
    assert small.ask("/counter/x").text == "3\n"
    assert small.ask("/taker/1").text == "1"
