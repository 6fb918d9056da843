# SPDX-License-Identifier: BSD-2-Clause
"""What the guest "counter" has saved in the file "state": its table."""

import struct
from pathlib import Path

#: struct entry of counter.c.
_ENTRY = struct.Struct("@64sl")


def saved_count(directory: Path) -> int:
    """The count of the first name; 0 while nothing is saved.

    Asked for by its name: what is being written beside it goes at any moment.
    """
    try:
        table = (directory / "counter.state").read_bytes()
    except FileNotFoundError:
        return 0
    _, count = _ENTRY.unpack_from(table)
    return int(count)
