# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl check."""

import os.path
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kvmctl import document as documents
from kvmctl import files
from kvmctl import site as sites
from kvmctl.document import DocumentError, Place, Problem
from kvmctl.environment import Environment
from kvmctl.errors import HostError, KvmctlError, ManifestError
from kvmctl.guest import manifest, toolchains
from kvmctl.guest.manifest import Manifest
from kvmctl.trial import cases


class _Checker:
    """Collects what is wrong; every file is looked at once."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}
        self.wrong: list[Problem] = []
        self.missing: list[Problem] = []        # on this machine

    def _fresh(self, path: Path) -> bool:
        name = str(files.real(path))
        known = name in self.files
        self.files[name] = None
        return not known

    def _add(self, path: Path, error: KvmctlError) -> None:
        if isinstance(error, DocumentError):
            self.wrong += error.problems
        else:
            self.wrong.append(Problem(str(path), None, "", str(error)))

    def path(self, path: Path) -> None:
        """A directory's files, or a file by what it is called."""
        if path.is_dir():
            there = [path / n for n in ("guest.toml", "edge.toml")
                     if (path / n).exists()]
            if not there:
                self._add(path, ManifestError(
                    "there is neither guest.toml nor edge.toml: kvmctl init "
                    "begins a program"))
            for file in there:
                self.path(file)
        elif path.name == "guest.toml":
            self.guest(path)
        elif path.parent.name == "tests":
            self.tests(path)
        else:
            self.site(path)

    def guest(self, path: Path) -> None:
        if not self._fresh(path):
            return
        try:
            guest = manifest.load(path)
        except KvmctlError as e:
            self._add(path, e)
        else:
            self._settings(path, guest.name, guest.settings)
            self._toolchain(guest)
        for file in sorted((path.parent / "tests").glob("*.toml")):
            self.tests(file)

    def tests(self, path: Path) -> None:
        if not self._fresh(path):
            return
        try:
            cases.load(path)
        except KvmctlError as e:
            self._add(path, e)

    def site(self, path: Path) -> None:
        if not self._fresh(path):
            return
        try:
            document = documents.read(path)
            site = sites.parse(path, document.table, document.text)
        except KvmctlError as e:
            self._add(path, e)
            return
        guests: list[Path] = []
        for entry in site.programs:
            place = document.top / "programs" / entry.name
            self._settings(path, f"[programs.{entry.name}]", entry.settings)
            if entry.file is not None:
                self._executable(place, entry.file,
                                 "allowed_paths" in entry.settings)
            if entry.guest is not None:
                if os.path.isfile(entry.guest / "guest.toml"):
                    self.guest(entry.guest / "guest.toml")
                    guests.append(entry.guest)
                else:
                    self.wrong += place.error(
                        f"there is no {entry.guest / 'guest.toml'}",
                        "guest").problems
        try:
            manifest.load_all(guests)
        except DocumentError:
            pass                        # told of already
        except ManifestError as e:
            self._add(path, e)

    def _executable(self, place: Place, file: Path, has_files: bool) -> None:
        """Is it there, and can it run as a guest?"""
        from kvmctl.guest.inspect import inspect
        if not os.path.isfile(file):
            self.wrong += place.error(f"there is no {file}", "file").problems
            return
        try:
            found = inspect(file, has_files).problems
        except KvmctlError as e:
            found = (str(e),)
        for text in found:
            self.wrong += place.error(f"{file.name}: {text}", "file").problems

    def _settings(self, path: Path, name: str,
                  settings: dict[str, Any]) -> None:
        """What only the engine knows: URLs, paths, how settings go together."""
        from kvmctl.engine import Engine
        try:
            with Engine() as engine:
                engine.define(name, settings)
        except ManifestError as e:
            self._add(path, e)
        except HostError as e:
            self.missing.append(Problem(str(path), None, "", str(e)))

    def _toolchain(self, guest: Manifest) -> None:
        try:
            for need in toolchains.lacking(guest):
                self.missing.append(Problem(
                    str(guest.path), None, "",
                    f"{need.what} is missing: {need.mend}"))
        except KvmctlError as e:
            self._add(guest.path, e)


def _lines(checker: _Checker) -> Iterator[str]:
    yield from map(str, (*checker.wrong, *checker.missing))


def run(env: Environment, paths: tuple[Path, ...]) -> None:
    """Shows every problem; fails when there is one."""
    checker = _Checker()
    for path in paths or (Path(),):
        checker.path(path)
    if env.as_json:
        env.result_json({
            "files": list(checker.files),
            "problems": [p.to_json() for p in checker.wrong],
            "missing": [p.to_json() for p in checker.missing]})
    else:
        for line in _lines(checker):
            env.result(line)
    n = len(checker.wrong)
    if n:
        raise ManifestError(f"{n} problem{'' if n == 1 else 's'} found")
    if checker.missing:
        raise HostError("this machine lacks what is needed to build it")
    n = len(checker.files)
    env.note("1 file is right" if n == 1 else f"{n} files are right")
