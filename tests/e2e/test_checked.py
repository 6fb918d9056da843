# SPDX-License-Identifier: BSD-2-Clause
"""The quick form of `make checked`: some of it, under sanitizers."""

import os
import subprocess

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


@pytest.mark.parametrize("layer", SOME)
def test_under_sanitizers(layer: str) -> None:
    # As if no make had run this.
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("MAKE") and k != "MFLAGS"}
    done = subprocess.run(
        ["make", "-C", ROOT, "TK_SET_UP=yes", "checked", "PYTEST_OPTIONS=-x",
         f"CHECKED_TESTS={' '.join(SOME[layer])}"],
        env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
