# SPDX-License-Identifier: BSD-2-Clause
"""On which line of edge.toml an entry begins."""

import re
from collections import Counter
from pathlib import Path

_TABLE = re.compile(r"\s*\[([A-Za-z0-9_.\"' -]+)\]\s*(?:#.*)?")
_ARRAY = re.compile(r"\s*\[\[([A-Za-z0-9_-]+)\]\]\s*(?:#.*)?")


def where_is(path: Path) -> dict[str, int]:
    """ "[programs.x]" or "[[routes]] number 2" -> line, as comments have it.

    Tables written in one line, `x = {...}`, are found by their parent.
    """
    found: dict[str, int] = {}
    numbers: Counter[str] = Counter()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        array, table = _ARRAY.fullmatch(line), _TABLE.fullmatch(line)
        if array is not None:
            numbers[array[1]] += 1
            found[f"[[{array[1]}]] number {numbers[array[1]]}"] = number
        elif table is not None:
            name = re.sub(r"[\"' ]", "", table[1])
            found.setdefault(f"[{name}]", number)
            found.setdefault(f"[{name.partition('.')[0]}]", number)
    return found
