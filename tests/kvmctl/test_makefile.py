# SPDX-License-Identifier: BSD-2-Clause
"""What make sets up, whichever targets are named; nothing is installed."""

import os
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A machine with no package and a ready virtual environment."""
    for name, text in (
            ("dpkg-query", "exit 1"), ("id", "echo 0"),
            ("apt-get", f'echo "$@" >>"{tmp_path}/asked"'),
            ("built", f'echo "$@" >>"{tmp_path}/made"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "venv").mkdir()
    for name in ("stamp", "stamp-languages"):
        (tmp_path / "venv" / name).touch()
    return tmp_path


@pytest.mark.parametrize("targets, wanted, not_wanted", [
    (["demo"], ["varnish", "wrk"], ["nim", "gdb"]),
    (["test"], ["varnish", "nim", "gdb", "openssl"], []),
    (["demo", "test"], ["varnish", "nim", "gdb", "openssl"], []),
    (["-j4", "bench", "demo", "languages"], ["wrk", "nim"], []),
])
def test_packages(bare: Path, targets: list[str], wanted: list[str],
                  not_wanted: list[str]) -> None:
    # As if no make had run this.
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("MAKE") and k not in ("MFLAGS", "TK_SET_UP")}
    subprocess.run(
        ["make", "-s", "-C", ROOT, f"B={bare}", f"VENV={bare}/venv",
         f"MAKE={bare}/built", *targets], check=True, capture_output=True,
        env=env | {"PATH": f"{bare}:{os.environ['PATH']}"})
    words = (bare / "asked").read_text().split()
    installed = words[words.index("install"):]
    assert [w for w in wanted if w not in installed] == []
    assert [w for w in not_wanted if w in installed] == []
    made = [line.split()[-1] for line in
            (bare / "made").read_text().splitlines()]
    assert made == [t for t in targets if not t.startswith("-")]
