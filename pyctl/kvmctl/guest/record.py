# SPDX-License-Identifier: BSD-2-Clause
"""What a built program is: NAME.json beside the executable NAME.

    format          of this file
    name, language, libc, kind
    sha256, size    of the executable, in bytes
    abi_calls       of the guest API, as far as its code shows
    limits, permissions, main       of guest.toml; paths relative to it
    sdk             version, and the hash of the SDK's files that went in

There is no time and no directory of this machine in it: the same sources give
the same record. It is what a signature signs.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmctl import __version__, files, paths, schema
from kvmctl.guest.manifest import Manifest

if TYPE_CHECKING:
    from kvmctl.guest.inspect import Inspection

FORMAT = 1
_FIELDS = {"name": str, "sha256": str, "size": int, "language": str,
           "libc": str, "abi_calls": list, "sdk": dict, "limits": dict,
           "permissions": dict, "main": dict}
_DIGEST = re.compile(r"[0-9a-f]{64}")


def file(executable: Path) -> Path:
    """Where the record of an executable is."""
    return executable.parent / f"{executable.name}.json"


def encode(record: dict[str, Any]) -> bytes:
    """The bytes of the file; the same for the same record."""
    return (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()


def signature_file(executable: Path) -> Path:
    """Where the signature of that record is."""
    return executable.parent / f"{executable.name}.sig"


def parse(data: bytes) -> dict[str, Any]:
    """The record that is in the file. Raises ValueError when it is none."""
    found = files.json_of(data)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"it is no record of format {FORMAT}")
    for key, kind in _FIELDS.items():
        if not isinstance(found.get(key), kind):
            raise ValueError(f"its \"{key}\" is missing, or is another thing")
    if not _DIGEST.fullmatch(found["sha256"]):
        raise ValueError("its \"sha256\" is none")
    if not all(isinstance(found["sdk"].get(k), str)
               for k in ("version", "sha256")):
        raise ValueError("its \"sdk\" has no version or hash")
    return found


def load(path: Path) -> dict[str, Any] | None:
    """A record by its own path; None when it is none."""
    try:
        return parse(files.read(path))
    except (OSError, ValueError):
        return None


def read(executable: Path) -> dict[str, Any] | None:
    """The record beside an executable; None when there is none."""
    return load(file(executable))


def _relative(directory: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of allowed_paths, as somebody in `directory` would name it."""
    real = Path(str(entry.get("real", "/")))
    if real.is_relative_to(directory):
        return entry | {"real": str(real.relative_to(directory))}
    return entry


def _part(manifest: Manifest, name: str) -> dict[str, Any]:
    keys = schema.keys(schema.load("settings")["$defs"][name])
    part = {k: v for k, v in manifest.settings.items() if k in keys}
    if "allowed_paths" in part:
        part["allowed_paths"] = [_relative(manifest.directory, e)
                                 for e in part["allowed_paths"]]
    return part


def _sdk(inputs: Iterable[Path]) -> dict[str, str]:
    root, h = paths.sdk().resolve(), hashlib.sha256()
    for path in sorted(set(inputs)):
        if path.resolve().is_relative_to(root):
            name = str(path.resolve().relative_to(root))
            h.update(name.encode() + b"\0" + path.read_bytes())
    return {"version": __version__, "sha256": h.hexdigest()}


def _asked(manifest: Manifest) -> dict[str, Any]:
    """What guest.toml says of it."""
    return {"name": manifest.name, "language": manifest.language,
            "libc": manifest.libc} | {
                part: _part(manifest, part)
                for part in ("limits", "permissions", "main")}


def make(manifest: Manifest, seen: "Inspection",
         inputs: Iterable[Path]) -> dict[str, Any]:
    """The record of what was compiled out of these inputs."""
    return _asked(manifest) | {
        "format": FORMAT, "sha256": seen.sha256, "size": seen.size,
        "kind": seen.kind, "abi_calls": list(seen.abi_calls),
        "sdk": _sdk(inputs)}


def fits(record: dict[str, Any], manifest: Manifest) -> bool:
    """Is it one of what guest.toml asks for, and of nothing more?"""
    return all(record.get(key) == value
               for key, value in _asked(manifest).items())


def state(inputs: str, executable: Path) -> bytes:
    """What is kept to see later that nothing changed. Raises OSError."""
    seen = executable.stat()
    return f"{inputs} {seen.st_size} {seen.st_mtime_ns}\n".encode()


def unchanged(path: Path, inputs: str, executable: Path) -> bool:
    """Was the executable made of these inputs, and is it what it was?

    Looks at its size and time alone, like make: content is for `verify`.
    """
    try:
        return path.read_bytes() == state(inputs, executable)
    except OSError:
        return False
