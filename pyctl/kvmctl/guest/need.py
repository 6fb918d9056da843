# SPDX-License-Identifier: BSD-2-Clause
"""What a build needs from this machine."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Need:
    """Something that must be on this machine, and how it gets there."""

    what: str
    mend: str
    there: Callable[[], bool]


def program(name: str, package: str) -> Need:
    """A command of a Debian package."""
    return Need(name, f"apt-get install {package}",
                lambda: shutil.which(name) is not None)


def file(path: str, package: str) -> Need:
    """A file of a Debian package; a pattern finds any that fits."""
    return Need(path.replace("*", "..."), f"apt-get install {package}",
                lambda: any(Path("/").glob(path.lstrip("/"))))
