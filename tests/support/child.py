# SPDX-License-Identifier: BSD-2-Clause
"""What Varnish's worker process holds: memory, descriptors, threads."""

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
        self.descriptors = len(list((pid / "fd").iterdir()))

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
