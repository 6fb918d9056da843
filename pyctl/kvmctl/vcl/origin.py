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


def strip(text: str) -> str:
    """The text without marks."""
    return _MARK.sub("", text)


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


def lines(text: str) -> list[Line]:
    """The lines of a marked text; the last mark before a line's own text."""
    out: list[Line] = []
    source = entry = ""
    for row in text.split("\n"):
        found = _MARK.findall(row)
        plain = strip(row)
        # A line that ends a block has no mark of its own before its text.
        source = found[0] if found else source
        # The first mark of a line may belong to the end of another template.
        if len(found) > 1:
            before = _MARK.split(row)
            for i in range(1, len(before), 2):
                if before[i + 1].strip():
                    source = before[i]
                    break
        named = _ENTRY.search(plain)
        if named:
            entry = named[1]
        elif plain.startswith(("sub ", "backend ", "acl ", "import ")) \
                or not plain.strip():
            entry = entry if plain.startswith(("backend ", "acl ")) else ""
        out.append(Line(plain, source, entry))
    return out
