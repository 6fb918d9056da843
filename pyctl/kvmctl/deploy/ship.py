# SPDX-License-Identifier: BSD-2-Clause
"""Artefacts to where the node reads them.

On this machine that is the store. A node behind ssh has a copy of its own,
with the same rooms; a file appears there whole, too, and is checked by hash.
"""

import json
import os
import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from kvmctl.deploy.prepare import Prepared
from kvmctl.deploy.store import CANARY_SUFFIX, Store
from kvmctl.errors import DeployError, VarnishError
from kvmctl.varnish.reach import Reach, Ssh

_REMOTE_STORE = Path("/var/lib/tinykvm")
#: A connection that is lost looks like the end of the file: bytes are counted.
_PUT = ('set -e; umask 022; mkdir -p "$(dirname "$1")"; '
        'p=$(mktemp "$1.partial-XXXXXX"); trap \'rm -f "$p"\' EXIT; '
        'cat >"$p"; n=$(($(wc -c <"$p"))); [ "$n" -eq "$3" ] || '
        '{ echo "$n of $3 bytes came" >&2; exit 1; }; '
        'chmod "$2" "$p"; sync "$p"; mv "$p" "$1"')

#: What is half written may be another deployment's, which goes on with it.
_CLEAN = ('cd "$1" 2>/dev/null || exit 0; shift; '
          'for f in releases/* programs/*; do [ -f "$f" ] || continue; k=no; '
          'for n in "$@"; do [ "${f#*/}" = "$n" ] && k=yes; done; '
          'case $f in *.partial-*) '
          '[ -n "$(find "$f" -mmin +60 2>/dev/null)" ] || k=yes;; '
          'programs/*) '
          'grep -qsF -- "${f#*/}" releases/*.json && k=yes;; esac; '
          '[ $k = yes ] || rm -f -- "$f"; done')


class Depot:
    """The files of one site as a node sees them."""

    def __init__(self, files: Store, reach: Reach,
                 root: Path | None) -> None:
        self._files = files
        self._ssh = reach if isinstance(reach, Ssh) else None
        self.root = (files.directory if self._ssh is None
                     else (root or _REMOTE_STORE) / files.directory.name)

    def vcl_file(self, vcl: str) -> Path:
        return self.root / "releases" / f"{vcl}.vcl"

    def put_programs(self, prepared: Prepared) -> None:
        """Every executable that is not there whole."""
        for program in prepared.programs.values():
            self._files.add_program(program.executable, program.sha256)
        if self._ssh is None:
            return
        wanted = set(prepared.hashes.values())
        for digest in wanted - self._whole(wanted):
            path = self._files.program_file(digest)
            with path.open("rb") as source:
                self._put(f"programs/{digest}", source, "755")

    def put_release(self, prepared: Prepared, vcl: str,
                    space: str = "") -> None:
        """The programs file and the VCL."""
        here = self._files.directory
        self._files.write(self._files.library_file(prepared.name),
                          prepared.library(here))
        self._files.write(self._files.vcl_file(vcl),
                          prepared.vcl(here, vcl, space))
        self.send_release(prepared.name, vcl)

    def send_release(self, name: str, vcl: str) -> None:
        """What the store has of a release, to a node of another machine."""
        if self._ssh is None:
            return
        here, there = f"{self._files.directory}/", f"{self.root}/"
        for path, written in (
                (self._files.library_file(name), lambda s: json.dumps(s)[1:-1]),
                (self._files.vcl_file(vcl), str)):
            try:
                data = path.read_bytes()
            except OSError as e:
                raise DeployError(f"cannot read {path}: {e.strerror}: the "
                                  "store is damaged; deploy anew") from None
            # Only paths in the store begin so.
            data = data.replace(written(here).encode(),
                                written(there).encode())
            with tempfile.TemporaryFile() as file:
                file.write(data)
                file.seek(0)
                self._put(f"releases/{path.name}", file, "644")

    def _whole(self, wanted: set[str]) -> set[str]:
        assert self._ssh is not None
        if not wanted:
            return set()
        said = self._ssh.run(
            "sh", "-c", f"cd {shlex.quote(str(self.root / 'programs'))} "
            "2>/dev/null && sha256sum -- \"$@\" 2>/dev/null; true", "sh",
            *sorted(wanted)).decode(errors="replace")
        rows = [line.split() for line in said.splitlines()]
        return {row[1] for row in rows if len(row) == 2 and row[0] == row[1]}

    def _put(self, name: str, source: IO[bytes], mode: str) -> None:
        assert self._ssh is not None
        try:
            self._ssh.run("sh", "-c", _PUT, "sh", str(self.root / name), mode,
                          str(os.fstat(source.fileno()).st_size),
                          source=source)
        except VarnishError as e:
            raise DeployError(f"cannot write {self.root / name}: {e}; make "
                              "room there, or name another \"store\" in "
                              "[nodes]") from None

    def clean(self, loaded: Iterable[str]) -> None:
        """Removes what no living release of the node names.

        loaded: the VCLs that the node has; their files stay. Some may be of
        another machine's store, whose history is not known here, and one that
        failed may be active where nothing was before it.
        """
        there = {name for vcl in loaded for name in (
            f"{vcl}.vcl", f"{vcl.removesuffix(CANARY_SUFFIX)}.json")}
        self._files.clean(there)
        if self._ssh is not None:
            keep = self._files.living_files() | there
            self._ssh.run("sh", "-c", _CLEAN, "sh", str(self.root),
                          *sorted(keep))
