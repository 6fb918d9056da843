# SPDX-License-Identifier: BSD-2-Clause
"""A file system that is soon full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.needed import lacking


@contextmanager
def small_disk(directory: Path, kib: int) -> Iterator[Path]:
    """directory/disk."""
    disk = directory / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k",
                              "tmpfs", disk], capture_output=True,
                             text=True, check=False)
    if mounted.returncode != 0:
        lacking(f"a small file system: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)
