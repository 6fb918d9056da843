# SPDX-License-Identifier: BSD-2-Clause
"""Where things are in the checkout."""

import os
from pathlib import Path
from typing import Any

from kvmctl.guest import manifest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
GUESTS = BUILD / "guests"               # NAME/NAME, by `make guests`
SOURCES = ROOT / "guests"
#: What is tested; `make checked` names what was built with sanitizers.
PROGRAMS = Path(os.environ.get("TK_PROGRAMS", BUILD / "tests"))
VMODS = Path(os.environ.get("KVMCTL_VMODS", BUILD / "vmods"))
PHOTOS = SOURCES / "thumbnail" / "photos"


def guest(name: str) -> Path:
    """A built guest's executable."""
    path = GUESTS / name / name
    assert path.exists(), f"{path} is missing: run `make test`"
    return path


def settings(name: str, **more: Any) -> dict[str, Any]:
    """Its program: the settings of its manifest, one fork, and more."""
    return manifest.load(SOURCES / name).settings | {
        "filename": str(guest(name)), "concurrency": 1} | more
