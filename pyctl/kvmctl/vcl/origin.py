# SPDX-License-Identifier: BSD-2-Clause
"""Which line of which template made a line of VCL.

While a template is parsed, each line of its text is given a mark; the marks
go through rendering with the text and are taken out of the result.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2.environment import Environment
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

# Noncharacters: no value of a user may hold them, see marked().
_BEGIN, _END = "\ufdd0", "\ufdd1"
#: A line's end inside of a user's words: it stays, as empty lines there do.
KEEP = "\ufdd2"
_MARK = re.compile(f"{_BEGIN}([^{_END}]*){_END}")
_ENTRY = re.compile(r"#.*?(\[\[?[A-Za-z0-9_.-]+\]?\](?: number \d+)?)")


@dataclass(frozen=True)
class Line:
    """A line of VCL. source: FILE:LINE; entry: of edge.toml, as commented."""

    text: str
    source: str
    entry: str


def mark(source: str, line: int) -> str:
    return f"{_BEGIN}{source}:{line}{_END}"


def unmarked(text: str) -> str:
    """A user's text without what marks may be taken for."""
    return re.sub("[\ufdd0-\ufdd2]", "", text)


def strip(text: str) -> str:
    """The text without marks, and with no two empty lines of templates."""
    plain = re.sub(r"\n{3,}", "\n\n", _MARK.sub("", text))
    return plain.replace(KEEP, "\n")


class Marks(Extension):
    """Marks the beginning of every line of a template's own text."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        for token in stream:
            if token.type != "data":
                yield token
                continue
            name = stream.name or "a template"
            lines = token.value.split("\n")
            out = [mark(name, token.lineno) + lines[0]]
            out += [(mark(name, token.lineno + i) if line else "") + line
                    for i, line in enumerate(lines[1:], 1)]
            yield Token(token.lineno, "data", "\n".join(out))


def _source(row: str, before: str) -> str:
    """The last mark before the row's own text; its first one without any."""
    parts = _MARK.split(row)
    for i in range(1, len(parts), 2):
        if parts[i + 1].strip():
            return parts[i]
    return parts[1] if len(parts) > 1 else before


def lines(text: str) -> list[Line]:
    """The lines of a marked text, as strip() makes them."""
    out: list[Line] = []
    source = entry = ""
    empty = False
    for row in text.split("\n"):
        if not _MARK.sub("", row):
            if empty:
                continue
            empty = True
        else:
            empty = False
        for part in row.split(KEEP):
            source = _source(part, source)
            plain = _MARK.sub("", part)
            named = _ENTRY.search(plain)
            if named:
                entry = named[1]
            elif plain.startswith(("sub ", "import ")) or not plain.strip():
                entry = ""
            out.append(Line(plain, source, entry))
    return out
