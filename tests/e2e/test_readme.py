# SPDX-License-Identifier: BSD-2-Clause
"""README's first program, as it is written there."""

import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from support.paths import BUILD, ROOT
from support.port import free_port

pytestmark = pytest.mark.kvm


def test_a_first_program(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text().split("## A first program")[1]
    program, = re.findall(r"^```c\n(.*?)^```", text, re.M | re.S)
    guest, edge = re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S)
    commands = textwrap.dedent(re.search(
        r"^ {4}PATH=.*?(?=^\S)", text, re.M | re.S)[0])     # type: ignore[index]
    # A checkout in which nothing is left behind.
    (tmp_path / "build").symlink_to(BUILD)
    (tmp_path / "first").mkdir()
    for name, content in (("first.c", program), ("guest.toml", guest),
                          ("edge.toml", edge)):
        (tmp_path / "first" / name).write_text(content)
    script = "set -e\nexport KVMCTL_OUT=$PWD/out\n" + commands.replace(
        "8081", str(free_port()))
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, text=True,
                          capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("You asked for /hello\n") == 2
    assert "serves" in done.stdout
