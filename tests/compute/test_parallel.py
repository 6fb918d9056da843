# SPDX-License-Identifier: BSD-2-Clause
"""More vCPUs for one request: they compute together, and end with it."""

import threading
from pathlib import Path
from typing import Any

import pytest

from kvmctl.engine import Engine
from kvmctl.engine.library import Program
from kvmctl.errors import GuestError
from support.paths import guest, settings

pytestmark = pytest.mark.kvm

_SUM = sum(i * i for i in range(2_000_000)) % 2**64


@pytest.fixture
def parallel(engine: Engine) -> Program:
    return engine.define("parallel", settings("parallel")
                         | {"concurrency": 2})


def text(program: Program, url: str) -> str:
    return program.request("GET", url).body.decode().strip()


def test_they_compute(parallel: Program) -> None:
    for _ in range(10):
        assert text(parallel, "/sum") == f"{_SUM} right"


def test_they_run_at_the_same_time(parallel: Program) -> None:
    for _ in range(5):
        assert text(parallel, "/together") == "0"


def test_memory_is_backed_for_all(parallel: Program) -> None:
    for _ in range(5):
        assert text(parallel, "/touch") == "0"
    assert text(parallel, "/sum") == f"{_SUM} right"


def test_clones_go_on_behind_the_call(parallel: Program) -> None:
    for _ in range(5):
        assert text(parallel, "/clone") == "0 6"


def test_what_goes_wrong(parallel: Program, log: Any) -> None:
    assert text(parallel, "/crash") == "-1"
    assert "null pointer" in log.text() and "vCPU 1" in log.text()
    assert text(parallel, "/linux") == "0 1"
    assert text(parallel, "/too-many") == "-1 -1 -1"
    with pytest.raises(GuestError, match="no function"):
        parallel.request("GET", "/no-function")
    assert text(parallel, "/sum") == f"{_SUM} right"


def test_they_end_with_the_request(parallel: Program) -> None:
    for _ in range(10):
        assert text(parallel, "/no-wait") == "answered"
    # Who waits for them learns that they were ended, or is ended as well.
    try:
        assert text(parallel, "/spin") == "-1"
    except GuestError as e:
        assert "ran longer" in str(e)
    assert text(parallel, "/sum") == f"{_SUM} right"
    assert threads() < 10


def threads() -> int:
    """Ours: the kernel has one for each machine, idle ones too."""
    return sum(not (task / "comm").read_text().startswith("kvm-")
               for task in Path("/proc/self/task").iterdir())


def test_many_requests_at_once(parallel: Program) -> None:
    wrong: list[str] = []

    def work() -> None:
        for url, want in (("/sum", f"{_SUM} right"), ("/no-wait", "answered"),
                          ("/touch", "0")) * 5:
            have = text(parallel, url)
            if have != want:
                wrong.append(have)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for t in workers:
        t.start()
    for t in workers:
        t.join()
    assert not wrong


def test_not_without_the_setting(engine: Engine) -> None:
    program = engine.define("one", {"filename": str(guest("parallel"))})
    assert text(program, "/sum") == "no more vCPUs"
