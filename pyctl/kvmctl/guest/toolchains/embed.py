# SPDX-License-Identifier: BSD-2-Clause
"""Files inside an executable: the table that guests/sdk/embed.h declares."""

import os
from collections.abc import Sequence
from pathlib import Path

_HEAD = """\
	.section .rodata
"""
_ENTRY = """\
name{n}:	.asciz "{name}"
	.balign 16
data{n}:	.incbin "{path}"
end{n}:	.byte 0
"""


def _quoted(text: str) -> str:
    """As the assembler reads strings: bytes that are not printable by number."""
    return "".join(
        f"\\{chr(byte)}" if byte in b'"\\' else
        chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
        for byte in os.fsencode(text))


def table(files: Sequence[tuple[str, Path]], symbol: str = "kvm_files") -> str:
    """Assembly with (name in the program, file) of each, a zero behind each.

    The paths do not get into the executable.
    """
    text = _HEAD
    for n, (name, path) in enumerate(files):
        text += _ENTRY.format(n=n, name=_quoted(name),
                              path=_quoted(str(path)))
    text += f"\t.balign 8\n\t.globl {symbol}\n{symbol}:\n"
    for n in range(len(files)):
        text += f"\t.quad name{n}, data{n}, end{n} - data{n}\n"
    return (text + "\t.quad 0, 0, 0\n"
            "\t.section .note.GNU-stack,\"\",@progbits\n")
