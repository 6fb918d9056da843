# SPDX-License-Identifier: BSD-2-Clause
"""Numbers in words of others."""

import re

_DECIMAL = re.compile(r"[0-9]{1,18}")


def decimal(text: str) -> int | None:
    """The number, if the text is one: str.isdigit() takes a superscript for one,
    and int() nothing that is too long."""
    return int(text) if _DECIMAL.fullmatch(text) else None
