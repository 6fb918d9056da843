# SPDX-License-Identifier: BSD-2-Clause
"""guest.toml: what a guest program is made of, and what it may."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.errors import ManifestError
from kvmctl.guest import settings
from kvmctl.guest.fetch import Package

#: Those that programs are written in for us; see guests/sdk.
COMPILED = ("c", "c++", "rust", "go", "zig", "nim", "pascal", "ocaml", "lua",
            "luajit", "javascript", "python", "wasm")
LANGUAGES = (*COMPILED, "executable")
LIBCS = ("glibc", "musl")
_WITHOUT_LIBRARIES = ("go", "pascal", "ocaml", "executable")

_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,), "language": (str,), "sources": (list,),
    "libraries": (list,), "libc": (str,), "cflags": (list,),
    "packages": (list,), "limits": (dict,), "permissions": (dict,),
    "main_arguments": (list,), "environment": (list,), "group": (str,),
    "fetch": (dict,),
    "current_working_directory": (str,),
}
_FETCH: dict[str, tuple[type, ...]] = {
    "pypi": (str,), "npm": (str,), "sha256": (str,), "sources": (list,),
    "include": (list,),
}
_PACKAGE = re.compile(r"(@?[A-Za-z0-9][A-Za-z0-9_./-]*)(?:==|@)([0-9][\w.+-]*)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


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


def _strings(where: str, table: dict[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not all(isinstance(v, str) for v in value):
        raise ManifestError(f"{where}: \"{key}\" is a list of strings")
    return tuple(value)


def _choice(where: str, table: dict[str, Any], key: str, default: str,
            choices: tuple[str, ...]) -> str:
    value = str(table.get(key, default))
    if value not in choices:
        raise ManifestError(
            f"{where}: \"{key}\" is one of {', '.join(choices)}")
    return value


def _inside(where: str, table: dict[str, Any], key: str) -> tuple[str, ...]:
    names = _strings(where, table, key)
    if any(name.startswith("/") or ".." in name.split("/") for name in names):
        raise ManifestError(f"{where}: \"{key}\" is inside the package")
    return names


def _fetch(where: str, table: dict[str, Any]) -> Fetch:
    settings.check(where, table, _FETCH)
    registry = [r for r in ("pypi", "npm") if r in table]
    if len(registry) != 1:
        raise ManifestError(f"{where}: either \"pypi\" or \"npm\"")
    found = _PACKAGE.fullmatch(table[registry[0]])
    if found is None:
        raise ManifestError(f"{where}: \"{registry[0]}\" is a name and a "
                            "version: NAME==1.2.3")
    if not _SHA256.fullmatch(table.get("sha256", "")):
        raise ManifestError(f"{where}: \"sha256\" is the SHA-256 of the "
                            "package's file, 64 digits")
    return Fetch(Package(registry[0], found[1], found[2], table["sha256"]),
                 _inside(where, table, "sources"),
                 _inside(where, table, "include"))


def parse(path: Path, table: dict[str, Any]) -> Manifest:
    """Checks a manifest's table. Raises ManifestError with file and key."""
    where = str(path)
    settings.check(where, table, _KEYS)
    name = table.get("name", path.parent.name)
    if not _NAME.fullmatch(name):
        raise ManifestError(f"{where}: \"name\" is of letters, digits, "
                            "dots, dashes and underscores")
    sources = _strings(where, table, "sources")
    if not sources:
        raise ManifestError(f"{where}: \"sources\" names no file")
    paths = tuple((path.parent / s).resolve() for s in sources)
    for source in paths:
        if not source.is_file():
            raise ManifestError(f"{where}: there is no source {source}")
    chosen = dict(settings.check(f"{where} [limits]",
                                 table.get("limits", {}), settings.LIMITS))
    chosen |= settings.check(f"{where} [permissions]",
                             table.get("permissions", {}),
                             settings.PERMISSIONS)
    if "allowed_paths" in chosen:
        chosen["allowed_paths"] = settings.allowed_paths(
            f"{where} [permissions]", path.parent, chosen["allowed_paths"])
    for key in ("main_arguments", "environment"):
        if key in table:
            chosen[key] = list(_strings(where, table, key))
    for key in ("group", "current_working_directory"):
        if key in table:
            chosen[key] = table[key]
    language = _choice(where, table, "language", "c", LANGUAGES)
    if "fetch" in table and language not in ("c", "c++"):
        raise ManifestError(f"{where}: [fetch] is for C and C++")
    libraries = _strings(where, table, "libraries")
    if libraries and language in _WITHOUT_LIBRARIES:
        raise ManifestError(f"{where}: \"libraries\" is nothing to "
                            f"{language}")
    if libraries and language == "rust" and paths[0].name == "Cargo.toml":
        raise ManifestError(f"{where}: \"libraries\" is nothing to cargo: "
                            "Cargo.toml and build.rs name them")
    return Manifest(
        path=path, name=name,
        language=language,
        libc=_choice(where, table, "libc", "glibc", LIBCS),
        sources=paths,
        libraries=libraries,
        cflags=_strings(where, table, "cflags"),
        packages=_strings(where, table, "packages"),
        fetch=(_fetch(f"{where} [fetch]", table["fetch"])
               if "fetch" in table else None),
        settings=chosen,
    )


def load(directory: Path) -> Manifest:
    """Reads DIR/guest.toml, or the file itself when it is one."""
    path = (directory / "guest.toml" if directory.is_dir()
            else directory).resolve()
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        raise ManifestError(f"there is no {path}") from None
    except OSError as e:
        raise ManifestError(f"cannot read {path}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ManifestError(f"{path}: {e}") from None
    return parse(path, table)
