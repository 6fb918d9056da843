# SPDX-License-Identifier: BSD-2-Clause
"""Settings of a program whose values depend on where guest.toml is."""

import os.path
from pathlib import Path
from typing import Any

from kvmctl import files


def allowed_paths(directory: Path, value: list[Any]) -> list[Any]:
    """The list with its relative paths made absolute.

    A relative "real" path is in the directory of guest.toml; the program sees
    a relative path below "/", where it starts unless told otherwise.
    """
    result: list[Any] = []
    for given in value:
        entry = dict(given) if isinstance(given, dict) else {"real": given}
        real = entry.get("real", "/")
        if isinstance(real, str) and real[:1] not in ("/", "$"):
            entry.setdefault("virtual", real)
            entry["real"] = str(files.real(directory / real))
        seen = entry.get("virtual", "/")
        if isinstance(seen, str) and seen[:1] not in ("/", "$"):
            entry["virtual"] = os.path.normpath("/" + seen)
        result.append(entry)
    return result
