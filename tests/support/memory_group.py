# SPDX-License-Identifier: BSD-2-Clause
"""A control group whose processes have only so much memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.needed import lacking
from support.wait import until

_ROOT = Path("/sys/fs/cgroup")


def _files() -> tuple[Path, str]:
    """Where groups are made, and the file of the limit."""
    if (_ROOT / "memory").is_dir():                             # version 1
        return _ROOT / "memory", "memory.limit_in_bytes"
    controllers = _ROOT / "cgroup.controllers"
    if not controllers.exists() or "memory" not in controllers.read_text():
        lacking("no control groups for memory in /sys/fs/cgroup")
    (_ROOT / "cgroup.subtree_control").write_text("+memory")
    return _ROOT, "memory.max"


@contextmanager
def memory_group(mib: int) -> Iterator[Path]:
    """The file into which a process writes its number to be one of it."""
    parent, limit = _files()
    group = parent / f"tinykvm-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(mib << 20))
    except OSError as e:
        lacking(f"a control group for memory: {e}")
    try:
        yield group / "cgroup.procs"
    finally:
        until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
