# SPDX-License-Identifier: BSD-2-Clause
"""What happens around a program: killed workers, want of descriptors, no KVM."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from support.child import Child
from support.live import Live
from support.paths import ROOT, guest, settings
from support.saved import saved_count
from support.wait import until

pytestmark = pytest.mark.kvm


def test_a_killed_worker_comes_back_by_itself(live: Live,
                                              tmp_path: Path) -> None:
    """Programs too, and what storage had acknowledged and saved."""
    live.use_programs({
        "hello": settings("hello", start=True),
        "counter": settings("counter", state_directory=str(tmp_path))})
    for n in range(1, 4):
        assert live.ask("/counter/x", "POST").text == f"{n}\n"
    until(lambda: saved_count(tmp_path) == 3)
    end = time.monotonic() + 60
    seen: list[int] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set() and time.monotonic() < end:
            try:
                seen.append(requests.get(live.varnish.url + "/hello/",
                                         timeout=10).status_code)
            except requests.RequestException:
                seen.append(0)

    threads = [threading.Thread(target=client) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        until(lambda: seen.count(200) > 50)
        os.kill(Child(live.varnish.process_id).process_id,
                signal.SIGKILL)
        until(lambda: 0 in seen)
        # All clients again, and not those of before.
        until(lambda: len(seen) > 20 and set(seen[-20:]) == {200}, 30)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert set(seen) <= {0, 200, 503}
    assert live.ask("/counter/x").text == "3\n"
    live.deaths = 1


_FEW = """
import resource, sys
sys.path[:0] = [sys.argv[1]]
from kvmctl.engine.library import Engine
from kvmctl.errors import KvmctlError
with Engine() as engine:
    program = engine.define("hello", {"filename": sys.argv[2],
                                      "concurrency": 200})
    try:
        program.start()
        print(program.request().body, engine.stats()["programs"]["hello"]
              ["forks"])
    except KvmctlError as e:
        print("error:", e)
"""


@pytest.mark.parametrize("descriptors", [12, 16, 24, 64])
def test_few_descriptors(descriptors: int) -> None:
    """Fewer forks than wanted, or a boot that fails and says why."""
    done = subprocess.run(
        [sys.executable, "-c", _FEW, str(ROOT / "pyctl"), guest("hello")],
        capture_output=True, text=True, check=False, timeout=60,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (descriptors, descriptors)))
    assert done.returncode == 0, done.stderr
    word, *rest = done.stdout.split(maxsplit=1)
    assert (word == "error:" and "Too many open files" in rest[0]) or (
        word.startswith("b'Hello") and 0 < int(done.stdout.split()[-1]) < 200)
