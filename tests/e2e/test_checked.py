# SPDX-License-Identifier: BSD-2-Clause
"""The quick form of `make checked`: some of it, under sanitizers."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

pytestmark = pytest.mark.kvm

SOME = {
    "core": [f"tests/core/test_{name}.c" for name in (
        "address_space", "elf", "faults", "guest_threads", "kept", "linux",
        "memory", "reset")],
    "compute": [f"tests/compute/test_{name}" for name in (
        "gdb_packets.c", "requests.py", "settings.py", "storage.py",
        "streaming.py")],
    "vtc": ["tests/vtc/calls", "tests/vtc/functions"],
}


def make(*words: str) -> list[str]:
    return ["make", "-C", str(ROOT), "TK_SET_UP=yes", *words]


class Run:
    def __init__(self, layer: str, log: Path, env: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as to:
            self.process = subprocess.Popen(
                make("checked", "PYTEST_OPTIONS=-x -p no:cacheprovider",
                     f"CHECKED_TESTS={' '.join(SOME[layer])}"),
                env=env, stdout=to, stderr=subprocess.STDOUT,
                start_new_session=True)

    def end(self) -> None:
        """With all that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """All of them at once: they wait more than they compute."""
    # As if no make had run this.
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("MAKE") and k != "MFLAGS"}
    logs = tmp_path_factory.mktemp("checked")
    built = subprocess.run(
        make(f"-j{os.cpu_count()}", "guests", "checked-build", "test-programs"),
        env=env, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    started = {layer: Run(layer, logs / layer, env) for layer in SOME}
    yield started
    for run in started.values():
        run.end()


@pytest.mark.parametrize("layer", SOME)
def test_under_sanitizers(runs: dict[str, Run], layer: str) -> None:
    status = runs[layer].process.wait()
    words = runs[layer].log.read_text(errors="replace")
    assert status == 0, words
    assert " passed" in words
