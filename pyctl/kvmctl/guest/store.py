# SPDX-License-Identifier: BSD-2-Clause
"""What was built, by content.

    STORE/objects/SHA256        an executable, read-only
    STORE/inputs/HASH           of what went in: the record of what came out

Where a program is built that was built before, of the same sources, it is taken
from here. The newest of each program are kept.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from kvmctl import files
from kvmctl.guest import record

KEPT = 8                                # of each program


class Store:
    """A directory; made when something is added. Raises OSError."""

    def __init__(self, root: Path) -> None:
        self._objects, self._inputs = root / "objects", root / "inputs"

    def find(self, inputs: str) -> dict[str, Any] | None:
        """The record of what was made of these inputs, if it is here."""
        index = self._inputs / inputs
        found = record.load(index)
        if found is None or not self._is_whole(found["sha256"]):
            return None
        with contextlib.suppress(OSError):
            os.utime(index)             # used: among the newest
        return found

    def _is_whole(self, digest: str) -> bool:
        try:
            data = (self._objects / digest).read_bytes()
        except OSError:
            return False
        return hashlib.sha256(data).hexdigest() == digest

    def add(self, inputs: str, executable: Path,
            about: dict[str, Any]) -> None:
        """Takes the executable in."""
        digest: str = about["sha256"]
        if not self._is_whole(digest):
            files.write_whole(self._objects / digest, executable.read_bytes(),
                              0o555)
        files.write_whole(self._inputs / inputs, record.encode(about))
        self._tidy(about["name"])

    def put(self, about: dict[str, Any], executable: Path) -> None:
        """Makes the executable and its record what is stored.

        The signature of another record goes.
        """
        place, data = record.file(executable), record.encode(about)
        if not _same(place, data):
            record.signature_file(executable).unlink(missing_ok=True)
            place.unlink(missing_ok=True)
        files.write_whole(
            executable, (self._objects / about["sha256"]).read_bytes(), 0o755)
        if not place.exists():
            files.write_whole(place, data)

    def _tidy(self, name: str) -> None:
        """Forgets what is older than the newest of this name."""
        mine, used = [], set()
        for index in self._inputs.iterdir():
            about = record.load(index)
            if about is None:
                continue
            if about["name"] == name:
                mine.append((index.stat().st_mtime_ns, index, about["sha256"]))
            else:
                used.add(about["sha256"])
        mine.sort(reverse=True)
        used |= {digest for _, _, digest in mine[:KEPT]}
        for _, index, digest in mine[KEPT:]:
            index.unlink(missing_ok=True)
            if digest not in used:
                (self._objects / digest).unlink(missing_ok=True)


def _same(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False
