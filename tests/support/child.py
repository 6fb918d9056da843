# SPDX-License-Identifier: BSD-2-Clause
"""What Varnish's worker process holds: memory, descriptors, threads."""

import re
from collections import Counter
from pathlib import Path


class Child:
    """Varnish's worker process: what it holds."""

    def __init__(self, manager: int) -> None:
        pid = next(p for p in Path("/proc").glob("[0-9]*")
                   if self._parent(p) == manager and self._caches(p))
        self.process_id = int(pid.name)
        lines = dict(line.split(":", 1) for line in
                     (pid / "status").read_text().splitlines())
        #: Anonymous memory, and that of the VMs' memory files.
        self.rss_kib = sum(int(lines[name].split()[0])
                           for name in ("RssAnon", "RssShmem"))
        self.threads = int(lines["Threads"])
        #: How many descriptors there are of each kind: "socket", a name of
        #: the kernel's ("anon_inode:[eventpoll]"), or a file's.
        self.kinds = Counter(self._kind(fd) for fd in (pid / "fd").iterdir())
        self.descriptors = self.kinds.total()

    @staticmethod
    def _kind(descriptor: Path) -> str:
        try:
            return re.sub(r":\[\d+\]$", "", str(descriptor.readlink()))
        except OSError:
            return "closed meanwhile"

    @staticmethod
    def _caches(process: Path) -> bool:
        """Not the manager's compiler of VCL."""
        try:
            return (process / "comm").read_text() == "cache-main\n"
        except OSError:
            return False

    @staticmethod
    def _parent(process: Path) -> int | None:
        try:
            return int((process / "stat").read_text()
                       .rpartition(")")[2].split()[1])
        except OSError:
            return None
