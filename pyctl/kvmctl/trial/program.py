# SPDX-License-Identifier: BSD-2-Clause
"""What is to be asked: a directory that is built first, or an executable."""

from pathlib import Path
from typing import Any

from kvmctl import files
from kvmctl.environment import Environment
from kvmctl.guest import manifest, toolchains


def prepare(env: Environment, path: Path,
            out: Path) -> tuple[str, dict[str, Any]]:
    """A name and settings for the engine, of one fork; guests are built.

    An executable alone has the default settings.
    """
    if path.is_dir() or path.name == "guest.toml":
        guest = manifest.load(path)
        env.status(f"building {guest.name} ...")
        built = toolchains.build(guest, out)
        return guest.name, guest.settings | {
            "filename": str(built.executable), "concurrency": 1}
    return path.name, {"filename": str(files.real(path)), "concurrency": 1}
