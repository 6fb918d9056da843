# SPDX-License-Identifier: BSD-2-Clause
"""Guests that tests compile for themselves."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.paths import SOURCES


def compiled(directory: Path, name: str, source: str | Sequence[Path],
             *flags: str, static: bool = True) -> str:
    """directory/name, of a text in C or of files; later flags win."""
    path = directory / name
    if isinstance(source, str):
        path.with_suffix(".c").write_text(source)
        source = [path.with_suffix(".c")]
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g",
                    *(["-static"] if static else []), f"-I{SOURCES / 'sdk'}",
                    *flags, "-o", path, *source], check=True)
    return str(path)
