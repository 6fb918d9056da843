# SPDX-License-Identifier: BSD-2-Clause
"""Tables of text, for pipes and for people."""

from collections.abc import Iterator, Sequence


def columns(head: Sequence[str], rows: Sequence[Sequence[str]],
            left: int = 1) -> Iterator[str]:
    """Lines; the first `left` columns begin at the left, others end right."""
    every = [head, *rows]
    widths = [max(len(row[i]) for row in every) for i in range(len(head))]
    for row in every:
        yield "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
