# SPDX-License-Identifier: BSD-2-Clause
"""Where things are in the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
GUESTS = BUILD / "guests"               # NAME/NAME, by `make guests`
SOURCES = ROOT / "guests"
PHOTOS = SOURCES / "thumbnail" / "photos"


def guest(name: str) -> Path:
    """A built guest's executable."""
    path = GUESTS / name / name
    assert path.exists(), f"{path} is missing: run `make test`"
    return path
