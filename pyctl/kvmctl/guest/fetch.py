# SPDX-License-Identifier: BSD-2-Clause
"""Source packages from PyPI and npm, fetched once by their own clients.

Nothing of them is kept in the repository: a package is named with its version
and the SHA-256 of its file, and unpacked in the cache.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kvmctl import files, paths
from kvmctl.errors import BuildError
from kvmctl.guest.need import Need, program

_SECONDS = 600.0


@dataclass(frozen=True)
class Package:
    """registry: "pypi" (a source distribution) or "npm"."""

    registry: str
    name: str
    version: str
    sha256: str

    @property
    def identity(self) -> str:
        return f"{self.registry}:{self.name}=={self.version}:{self.sha256}"

    @property
    def directory(self) -> Path:
        """Where its files are once it was fetched."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", self.name)
        return (paths.cache() / f"{self.registry}-{name}-{self.version}-"
                f"{self.sha256[:12]}")

    def needs(self) -> tuple[Need, ...]:
        return (program("npm", "npm"),) if self.registry == "npm" else ()

    def fetch(self) -> Path:
        """Its directory, fetched when it is not there.

        Raises BuildError when the client fails or the file is another.
        """
        if self.directory.is_dir():
            return self.directory
        paths.cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=paths.cache()) as temporary:
            there = Path(temporary)
            self._download(there)
            archives = [p for p in there.iterdir() if p.is_file()]
            if len(archives) != 1:
                raise BuildError(f"{self.name} {self.version} is no single "
                                 "archive")
            found = hashlib.sha256(archives[0].read_bytes()).hexdigest()
            if found != self.sha256:
                raise BuildError(f"{self.name} {self.version}: the SHA-256 is "
                                 f"{found}, not {self.sha256}")
            self._unpack(archives[0], there / "unpacked")
        return self.directory

    def _unpack(self, archive: Path, where: Path) -> None:
        import lzma                     # 6 ms that most builds do not need
        import tarfile
        import zlib
        try:
            self._extract(archive, where)
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError,
                OSError, ValueError, OverflowError) as e:
            raise BuildError(f"{self.name} {self.version} is no tar archive "
                             f"that can be unpacked: {e}") from None
        inside = list(where.iterdir()) if where.is_dir() else []
        root = inside[0] if len(inside) == 1 else where
        if not root.is_dir():
            raise BuildError(f"{self.name} {self.version} has no directory in "
                             "its archive")
        try:
            files.name_whole(root, self.directory)
        except OSError:
            if not self.directory.is_dir():     # else another was faster
                raise

    def _extract(self, archive: Path, where: Path) -> None:
        import tarfile
        with tarfile.open(archive) as tar:
            # Python 3.11.4 and Debian's 3.11.2 differ in whether they have it.
            if hasattr(tarfile, "data_filter"):
                tar.extractall(where, filter="data")
            else:
                for member in tar.getmembers():
                    name = Path(member.name)
                    if (name.is_absolute() or ".." in name.parts
                            or not (member.isfile() or member.isdir())):
                        raise BuildError(f"{self.name}: the archive has "
                                         f"{member.name}")
                tar.extractall(where)

    def _download(self, there: Path) -> None:
        wanted = ""
        if self.registry == "npm":
            line = ["npm", "pack", "--silent", "--ignore-scripts",
                    f"{self.name}@{self.version}"]
        else:
            # pip runs what is in an sdist to hear of its name: it must know
            # the hash, which it takes from a file alone.
            line = [sys.executable, "-m", "pip", "download", "--quiet",
                    "--disable-pip-version-check", "--no-deps",
                    "--no-binary", ":all:", "--require-hashes", "-r",
                    "/dev/stdin"]
            wanted = (f"{self.name}=={self.version} "
                      f"--hash=sha256:{self.sha256}\n")
        try:
            done = subprocess.run(line, cwd=there, capture_output=True,
                                  text=True, check=False, timeout=_SECONDS,
                                  input=wanted)
        except subprocess.TimeoutExpired:
            raise BuildError(f"fetching {self.name} took longer than "
                             f"{_SECONDS:.0f} s") from None
        if done.returncode != 0:
            raise BuildError(f"cannot fetch {self.name} {self.version} "
                             f"({' '.join(line[:4])} ...):\n"
                             + (done.stderr or done.stdout).strip()[-1500:])
