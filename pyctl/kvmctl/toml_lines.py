# SPDX-License-Identifier: BSD-2-Clause
"""On which line each key of a TOML file is.

tomllib forgets lines, and so does tomlkit, which keeps the text of a value but
not its place. So the text is read once more, and only when there is something
to complain about: it is TOML (tomllib has read it), so that keys, strings and
brackets need only to be told apart.
"""

import re
import tomllib

Path = tuple["str | int", ...]

_BLANK = re.compile(r"(?:[ \t]+|#[^\n]*)*")
_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = tuple(re.compile(p, re.S) for p in (
    r'"""(?:\\.|[^\\])*?"{3,5}', r"'''.*?'{3,5}",
    r'"(?:\\.|[^"\\])*"', r"'[^']*'"))
_SCALAR = re.compile(r"[^,\]}\n#]*")


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.lines: dict[Path, int] = {}
        self.line, self.counted = 1, 0          # the line of that place
        self.lists: dict[Path, int] = {}        # [[...]]: how many so far

    def note(self, path: Path) -> None:
        """The path is here; the tables around it too, if they are new."""
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        for n in range(len(path), 0, -1):
            self.lines.setdefault(path[:n], self.line)

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        assert found is not None, f"no TOML at {self.at}"
        self.at = found.end()
        return found.group()

    def string(self) -> str:
        pattern = next(p for p in _STRINGS if p.match(self.text, self.at))
        return self.take(pattern)

    def key(self) -> Path:
        """A dotted key."""
        parts: list[str | int] = []
        while True:
            self.take(_BLANK)
            if self.text[self.at] in "\"'":
                parts.append(tomllib.loads(f"x = {self.string()}")["x"])
            else:
                parts.append(self.take(_BARE_KEY))
            self.take(_BLANK)
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def within_lists(self, key: Path) -> Path:
        """The key with the numbers of the lists of tables that it is in."""
        path: Path = ()
        for step in key:
            path += (step,)
            if path in self.lists:
                path += (self.lists[path],)
        return path

    def header(self) -> Path:
        """[table] or [[list]]; the path that the keys below it have."""
        double = self.text.startswith("[[", self.at)
        begin = self.at
        self.at += 2 if double else 1
        key = self.key()
        self.at, end = begin, self.at
        if double:
            path = (*self.within_lists(key[:-1]), key[-1])
            self.lists[path] = self.lists.get(path, -1) + 1
            path += (self.lists[path],)
        else:
            path = self.within_lists(key)
        self.note(path)
        self.at = end + (2 if double else 1)
        return path

    def assignment(self, table: Path) -> None:
        begin = self.at
        key = self.key()
        self.at, end = begin, self.at
        self.note(table + key)
        self.at = end + 1                       # the =
        self.take(_BLANK)
        self.value(table + key)

    def value(self, path: Path) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self.string()
        elif first == "[":
            self.items(path, "]")
        elif first == "{":
            self.items(path, "}")
        else:
            self.take(_SCALAR)

    def items(self, path: Path, end: str) -> None:
        """What is inside a list or an inline table."""
        self.at += 1
        index = 0
        while True:
            self.take(_SPACE)
            if self.text[self.at] == end:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
            elif end == "}":
                self.assignment(path)
            else:
                self.note((*path, index))
                self.value((*path, index))
                index += 1

    def all(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self.take(_SPACE)
            if self.at >= len(self.text):
                return self.lines
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.assignment(table)


def lines(text: str) -> dict[Path, int]:
    """Path of keys and list positions to line, from 1, of valid TOML."""
    return _Scanner(text + "\n").all()
