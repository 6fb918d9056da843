# SPDX-License-Identifier: BSD-2-Clause
"""Where a site's artefacts and releases are kept.

    STORE/SITE/programs/SHA256          executables, by content
    STORE/SITE/releases/NAME.vcl        what Varnish loads
    STORE/SITE/releases/NAME.json       the programs file that the VCL names
    STORE/SITE/history.json             every release: when, who, what, how far
    STORE/SITE/token                    what kvmctl's own requests carry
    STORE/SITE/lock                     held by whoever changes something

A file appears under its name only when it is whole (written beside, synced,
renamed), and nothing that a kept release names is ever changed.
"""

import contextlib
import fcntl
import getpass
import hashlib
import json
import math
import os
import re
import secrets
import threading
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kvmctl import files, paths
from kvmctl.errors import DeployError

CANDIDATE, CANARY, SERVING, KEPT, FAILED, DISCARDED, ABORTED = (
    "candidate", "canary", "serving", "kept", "failed", "discarded",
    "aborted")
#: States of a release that the node may still have.
LIVING = (CANDIDATE, CANARY, SERVING, KEPT)
#: A canary's VCL is called so, behind the name of its release.
CANARY_SUFFIX = "-canary"
_REMEMBERED = 200                       # past entries of history
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Release:
    """One entry of the history."""

    name: str                           # also the name of the VCL
    node: str
    state: str
    content: str                        # hash of all that it is made of
    programs: dict[str, str]            # name -> sha256
    created: str                        # ISO 8601, UTC
    by: str
    error: str = ""
    #: Of a canary: percent, header, cookie, since, baseline.
    canary: dict[str, Any] = field(default_factory=dict)
    replaced: str = ""                  # the VCL that served before it did

    @property
    def canary_vcl(self) -> str:
        """The name of its VCL as long as it is a canary."""
        return self.name + CANARY_SUFFIX


def default_root() -> Path:
    """The system's for root, else the user's own. Raises HostError."""
    if os.geteuid() == 0:
        return Path("/var/lib/tinykvm")
    return paths.of_user("XDG_STATE_HOME", ".local", "state") / "tinykvm"


def user() -> str:
    """Who deploys, as far as this machine knows."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes a file that is seen whole or not at all, also after a crash.

    Raises DeployError, with the reason, where that cannot be.
    """
    try:
        files.write_whole(path, data, mode, synced=True)
    except OSError as e:
        raise DeployError(
            f"cannot write {path}: {e.strerror}; make room there, or name "
            "another store by --store") from None


def _is_file_name(word: Any) -> bool:
    return isinstance(word, str) and _FILE_NAME.fullmatch(word) is not None


def _is_canary(table: Any) -> bool:
    """Is it what canary.py keeps of one?"""
    header = table.get("header") if isinstance(table, dict) else ()
    return (isinstance(table, dict)
            and isinstance(table.get("percent", 0), int | float)
            and (header is None or isinstance(header, list)
                 and len(header) == 2
                 and all(isinstance(word, str) for word in header))
            and all(isinstance(table.get(key, ""), str)
                    for key in ("cookie", "since", "beside"))
            and all(isinstance(value, int | float) and 0 <= value < math.inf
                    for key in ("baseline", "own")
                    for value in dict(table.get(key, {})).values()))


def _is_whole(release: Release) -> bool:
    """Are its fields what they are said to be?"""
    texts = (release.node, release.state, release.content, release.created,
             release.by, release.error, release.replaced)
    return (_is_file_name(release.name)
            and all(isinstance(text, str) for text in texts)
            and isinstance(release.programs, dict)
            and all(map(_is_file_name, release.programs.values()))
            and _is_canary(release.canary))


def _parsed(text: str) -> list[Release]:
    """Raises ValueError or TypeError when it is no history."""
    rows: list[dict[str, Any]] = files.json_of(text)
    if not isinstance(rows, list):
        raise ValueError("a list is expected")
    every = [Release(**row) for row in rows]
    for n, release in enumerate(every, 1):
        if not _is_whole(release):
            raise ValueError(f"something of its release {n} is missing, or is "
                             "another thing")
    return every


class Store:
    """The rooms of one site. Changes happen within locked()."""

    def __init__(self, root: Path | None, site: str) -> None:
        self.directory = files.real(root or default_root()) / site
        self._history = self.directory / "history.json"
        # Nodes are deployed to by threads of one process.
        self._guard = threading.RLock()
        # What was read last, and of which file: (inode, mtime, size).
        self._read: tuple[tuple[int, int, int], list[Release]] | None = None
        # What ended just now; the history may have forgotten it already.
        self._ended: set[str] = set()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One deployment at a time: a second one is told so."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # Who may open it may also hold it.
            lock = open(os.open(self.directory / "lock",    # noqa: SIM115
                                os.O_WRONLY | os.O_CREAT, 0o600), "wb")
            with contextlib.suppress(PermissionError):
                os.fchmod(lock.fileno(), 0o600)
        except OSError as e:
            raise DeployError(f"cannot use the store {self.directory}: "
                              f"{e.strerror}; another can be named by "
                              "--store") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DeployError(
                    f"another deployment is using {self.directory}: try "
                    "again when it has ended") from None
            yield

    def token(self) -> str:
        """The word that kvmctl's own requests to releases carry."""
        path = self.directory / "token"
        with self._guard:
            try:
                token = path.read_text().strip()
            except (FileNotFoundError, UnicodeDecodeError):
                token = ""
            except OSError as e:
                # Kept releases carry it: with another one no rollback would
                # know that they answer.
                raise DeployError(
                    f"cannot use the store: {files.sentence(e)}; another can "
                    "be named by --store") from None
            if len(token) != 32 or not (token.isascii() and token.isalnum()):
                token = secrets.token_hex(16)
                write_whole(path, token.encode(), 0o640)
            return token

    def add_program(self, executable: Path, digest: str) -> Path:
        """Copies by content; its path in the store."""
        path = self.program_file(digest)
        with self._guard:
            if self._is_whole(path, digest):
                return path
            try:
                data = executable.read_bytes()
            except OSError as e:
                raise DeployError(f"cannot read {executable}: "
                                  f"{e.strerror}") from None
            if hashlib.sha256(data).hexdigest() != digest:
                raise DeployError(f"{executable} was changed meanwhile: "
                                  "deploy again")
            write_whole(path, data, 0o755)
        return path

    @staticmethod
    def _is_whole(path: Path, digest: str) -> bool:
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() == digest
        except OSError:
            return False

    def write(self, path: Path, data: bytes) -> None:
        """A file of a release; clean() takes away what is half written."""
        with self._guard, contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == data:
                return              # written for another node
        with self._guard:
            write_whole(path, data)

    def program_file(self, digest: str) -> Path:
        return self.directory / "programs" / digest

    def vcl_file(self, release: str) -> Path:
        return self.directory / "releases" / f"{release}.vcl"

    def library_file(self, release: str) -> Path:
        return self.directory / "releases" / f"{release}.json"

    def releases(self, node: str | None = None) -> list[Release]:
        """The history, oldest first; of one node, or of all."""
        with self._guard:
            try:
                info = self._history.stat()
                stamp = (info.st_ino, info.st_mtime_ns, info.st_size)
                if self._read is None or self._read[0] != stamp:
                    self._read = (stamp,
                                  _parsed(self._history.read_text()))
            except FileNotFoundError:
                return []
            except (OSError, ValueError, TypeError) as e:
                raise DeployError(
                    f"{self._history} is damaged: {e}; `kvmctl doctor --fix` "
                    "puts it aside and begins a new history") from None
            return [r for r in self._read[1] if node is None or r.node == node]

    def record(self, release: Release) -> None:
        """Adds the release, or replaces the entry of that name and node."""
        with self._guard:
            every = self.releases()
            key = (release.name, release.node)
            if any((r.name, r.node) == key for r in every):
                every = [release if (r.name, r.node) == key else r
                         for r in every]
            else:
                every.append(release)
            past = [r for r in every if r.state not in LIVING]
            forgotten = {id(r) for r in past[:-_REMEMBERED]}
            rows = [asdict(r) for r in every if id(r) not in forgotten]
            write_whole(self._history,
                        json.dumps(rows, indent=1).encode() + b"\n")

    def mark(self, release: Release, state: str, error: str = "") -> None:
        if state not in LIVING:
            self._ended.add(release.name)
        self.record(replace(release, state=state, error=error))

    def living_files(self) -> set[str]:
        """The names of the files that living releases have."""
        living = [r for r in self.releases() if r.state in LIVING]
        names = {path.name for r in living
                 for path in (self.library_file(r.name), self.vcl_file(r.name),
                              self.vcl_file(r.canary_vcl))}
        return names | {h for r in living for h in r.programs.values()}

    def clean(self, there: Set[str] = frozenset()) -> None:
        """Removes the files of releases that live no more, and halves of others.

        Files of these names stay, whatever became of their release, and so does
        what the history does not know: a node may serve it, and the history be
        a new one in the place of one that was damaged.
        """
        with self._guard:
            keep = self.living_files() | there
            gone = self._ended | {r.name for r in self.releases()
                                  if r.state not in LIVING}
            # Whoever wrote these held the lock, and was killed.
            for path in (*self.directory.glob(".partial-*"),
                         *self.directory.glob("*/.partial-*")):
                path.unlink(missing_ok=True)
            named = ""
            for path in (self.directory / "releases").glob("*"):
                if path.stem.removesuffix(CANARY_SUFFIX) in gone \
                        and path.name not in keep:
                    path.unlink(missing_ok=True)
                elif path.suffix == ".json":
                    named += path.read_text(errors="replace")
            for path in (self.directory / "programs").glob("*"):
                if path.name not in keep and path.name not in named:
                    path.unlink(missing_ok=True)
