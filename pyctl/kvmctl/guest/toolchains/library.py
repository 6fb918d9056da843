# SPDX-License-Identifier: BSD-2-Clause
"""Static libraries of fetched sources, compiled once and kept in the cache."""

import hashlib
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kvmctl import files, paths
from kvmctl.errors import BuildError
from kvmctl.guest.fetch import Package


@dataclass(frozen=True)
class Library:
    """C sources of a package. Paths are inside it."""

    package: Package
    include: str
    sources: tuple[str, ...]
    cflags: tuple[str, ...]

    @property
    def identity(self) -> str:
        return " ".join((self.package.identity, *self.sources, *self.cflags))

    @property
    def include_directory(self) -> Path:
        return self.package.directory / self.include

    @property
    def archive(self) -> Path:
        key = hashlib.sha256(self.identity.encode()).hexdigest()[:12]
        return paths.cache() / f"lib{self.package.name}-{key}.a"

    def compile(self) -> Path:
        """The archive, compiled when it is not there. May raise BuildError."""
        if self.archive.exists():
            return self.archive
        root = self.package.fetch()
        with tempfile.TemporaryDirectory(dir=paths.cache()) as temporary:
            objects = []
            for source in self.sources:
                objects.append(Path(temporary) / (Path(source).stem + ".o"))
                self._run(["gcc", "-c", *self.cflags,
                           f"-ffile-prefix-map={root}=.",
                           f"-I{self.include_directory}", str(root / source),
                           "-o", str(objects[-1])])
            partial = Path(temporary) / "partial.a"
            self._run(["ar", "rcsD", str(partial), *map(str, objects)])
            files.name_whole(partial, self.archive)
        return self.archive

    def _run(self, line: list[str]) -> None:
        done = subprocess.run(line, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise BuildError(f"{self.package.name} does not compile:\n"
                             + done.stderr.strip()[-2000:])
