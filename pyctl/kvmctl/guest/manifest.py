# SPDX-License-Identifier: BSD-2-Clause
"""guest.toml: what a guest program is made of, and what it may."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.errors import ManifestError
from kvmctl.guest import settings

LANGUAGES = ("c", "c++")
LIBCS = ("glibc", "musl")

_KEYS: dict[str, tuple[type, ...]] = {
    "name": (str,), "language": (str,), "sources": (list,),
    "libraries": (list,), "libc": (str,), "cflags": (list,),
    "packages": (list,), "limits": (dict,), "permissions": (dict,),
    "main_arguments": (list,), "environment": (list,), "group": (str,),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


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
    for key in ("main_arguments", "environment"):
        if key in table:
            chosen[key] = list(_strings(where, table, key))
    if "group" in table:
        chosen["group"] = table["group"]
    return Manifest(
        path=path, name=name,
        language=_choice(where, table, "language", "c", LANGUAGES),
        libc=_choice(where, table, "libc", "glibc", LIBCS),
        sources=paths,
        libraries=_strings(where, table, "libraries"),
        cflags=_strings(where, table, "cflags"),
        packages=_strings(where, table, "packages"),
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
