# SPDX-License-Identifier: BSD-2-Clause
"""guest.toml: what a guest program is made of, and what it may."""

import os.path
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl import document as documents
from kvmctl import files, schema
from kvmctl.document import Document, DocumentError, Problem
from kvmctl.errors import ManifestError
from kvmctl.guest import settings
from kvmctl.guest.fetch import Package
from kvmctl.schema import check as schema_check

LIBCS = schema.choices("guest", "libc")
_WITHOUT_LIBRARIES = ("go", "pascal", "ocaml", "executable")
_PACKAGE = re.compile(r"(.*?)(?:==|(?<=.)@)(.*)")
_NAME = re.compile(schema.load("guest")["properties"]["name"]["pattern"])


@dataclass(frozen=True)
class Fetch:
    """Sources of a registry's package, compiled along. Paths inside it."""

    package: Package
    sources: tuple[str, ...]
    include: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """A checked guest.toml. Paths are absolute; lists hold strings."""

    path: Path
    name: str
    language: str
    libc: str
    sources: tuple[Path, ...]
    libraries: tuple[str, ...]
    cflags: tuple[str, ...]
    packages: tuple[str, ...]
    fetch: Fetch | None
    #: Program settings, by the VMOD's names.
    settings: dict[str, Any]

    @property
    def directory(self) -> Path:
        return self.path.parent


def _fetch(table: dict[str, Any]) -> Fetch:
    registry = "pypi" if "pypi" in table else "npm"
    found = _PACKAGE.fullmatch(table[registry])
    assert found is not None            # the schema's pattern is stricter
    return Fetch(Package(registry, found[1], found[2], table["sha256"]),
                 tuple(table.get("sources", ())),
                 tuple(table.get("include", ())))


def _settings(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    chosen: dict[str, Any] = (table.get("limits", {})
                              | table.get("permissions", {}))
    if "allowed_paths" in chosen:
        chosen["allowed_paths"] = settings.allowed_paths(
            path.parent, chosen["allowed_paths"])
    return chosen | {
        key: table[key] for key in
        ("main_arguments", "environment", "group", "current_working_directory")
        if key in table}


def parse(document: Document) -> Manifest:
    """Checks a guest.toml. Raises DocumentError with file, line and key."""
    table = schema_check.check("guest", document)
    top, path = document.top, document.path
    name = table.get("name", path.parent.name)
    if not _NAME.fullmatch(name):
        raise top.error(f"\"name\" is missing, and the directory's, "
                        f"\"{name}\", is none: letters, digits, dots, dashes "
                        "and underscores")
    paths = tuple(files.real(path.parent / s) for s in table["sources"])
    missing = [(n, s) for n, s in enumerate(paths) if not os.path.isfile(s)]
    if missing:
        raise DocumentError(
            Problem(str(path), document.line(("sources", n)), "",
                    f"there is no source {source}") for n, source in missing)
    language = table.get("language", "c")
    if "fetch" in table and language not in ("c", "c++"):
        raise (top / "fetch").error("it is for C and C++")
    libraries = tuple(table.get("libraries", ()))
    if libraries and language in _WITHOUT_LIBRARIES:
        raise top.error(f"\"libraries\" is nothing to {language}", "libraries")
    if libraries and language == "rust" and paths[0].name == "Cargo.toml":
        raise top.error("\"libraries\" is nothing to cargo: Cargo.toml and "
                        "build.rs name them", "libraries")
    return Manifest(
        path=path, name=name, language=language,
        libc=table.get("libc", "glibc"),
        sources=paths,
        libraries=libraries,
        cflags=tuple(table.get("cflags", ())),
        packages=tuple(table.get("packages", ())),
        fetch=_fetch(table["fetch"]) if "fetch" in table else None,
        settings=_settings(path, table),
    )


def file(directory: Path) -> Path:
    """DIR/guest.toml, or the file itself when it is one."""
    return files.real(directory / "guest.toml" if directory.is_dir()
                      else directory)


def load(directory: Path) -> Manifest:
    """Reads DIR/guest.toml, or the file itself when it is one."""
    return parse(documents.read(file(directory)))


def load_all(directories: Iterable[Path]) -> list[Manifest]:
    """What is to be built into one directory, each once.

    Raises ManifestError when two of one name would overwrite each other.
    """
    found: dict[str, Manifest] = {}
    for directory in directories:
        it = load(directory)
        other = found.setdefault(it.name, it)
        if other.path != it.path:
            raise ManifestError(
                f"{it.path} and {other.path} are both called \"{it.name}\": "
                "give one of them another \"name\"")
    return list(found.values())
