# SPDX-License-Identifier: BSD-2-Clause
"""TOML files, and what is wrong in them by file, line and key."""

import difflib
import functools
import re
import tomllib
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kvmctl import files
from kvmctl.errors import ManifestError
from kvmctl.toml_lines import Path as Keys
from kvmctl.toml_lines import lines

_SHOWN = 20                             # of the problems of one file
_DEEPEST = 32                           # tables and lists, one in another
_LONG_NUMBER = re.compile(r"[0-9_]{1000}")
_WIDE = "is a number of more than 64 bits"


def suggestion(word: str, known: Iterable[str]) -> str:
    """The likeliest one meant, as the end of a sentence; or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean \"{near[0]}\"?" if near else ""


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression. Raises ValueError, with words, when it is none."""
    try:
        with warnings.catch_warnings():
            # Of what a later Python may read otherwise: not for whoever asks.
            warnings.simplefilter("ignore")
            return re.compile(text)
    except (re.error, OverflowError) as e:
        raise ValueError(str(e)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def place(keys: Keys) -> str:
    """A path of keys as TOML has it: [a.b], [[routes]] number 1.synth."""
    text, numbered = "", False
    for key in keys:
        if isinstance(key, int) and text.startswith("[") and not numbered:
            text, numbered = f"[{text}] number {key + 1}", True
        elif isinstance(key, int):
            text += f" number {key + 1}"
        elif numbered:
            text += f".{key}"
        else:
            text = f"{text[:-1]}.{key}]" if text else f"[{key}]"
    return text


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. line is from 1, None when it is nowhere."""

    file: str
    line: int | None
    where: str
    message: str

    def __str__(self) -> str:
        at = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(filter(None, (at, self.where, self.message)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class DocumentError(ManifestError):
    """What is wrong in a file, all of it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        shown = [str(p) for p in self.problems[:_SHOWN]]
        more = len(self.problems) - len(shown)
        if more > 0:
            shown.append(f"and {more} more")
        super().__init__("\n".join(shown))


@dataclass(frozen=True)
class Document:
    """A file that was read. text is "" where a table came from elsewhere."""

    path: Path
    table: dict[str, Any]
    text: str = ""

    @functools.cached_property
    def _lines(self) -> dict[Keys, int]:
        return lines(self.text)

    def line(self, keys: Keys) -> int | None:
        """The line of a key, or of the nearest table around it."""
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys)

    def problem(self, keys: Keys, message: str,
                key: str | int | None = None) -> Problem:
        """Something wrong in the table `keys`, at its `key` if given."""
        at = keys if key is None else (*keys, key)
        return Problem(str(self.path), self.line(at), place(keys), message)

    @property
    def top(self) -> "Place":
        return Place(self, ())


@dataclass(frozen=True)
class Place:
    """A table in a document, for what a schema cannot say of it."""

    document: Document
    keys: Keys

    def __truediv__(self, key: str | int) -> "Place":
        return Place(self.document, (*self.keys, key))

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.document.path),
                                       place(self.keys))))

    def error(self, message: str,
              key: str | int | None = None) -> DocumentError:
        return DocumentError((self.document.problem(self.keys, message, key),))

    def pattern(self, key: str, text: str) -> re.Pattern[str]:
        """The regular expression that the value of the key is."""
        try:
            return pattern(text)
        except ValueError as e:
            raise self.error(f"\"{key}\" is no regular expression: {e}",
                             key) from None

    def known(self, what: str, name: str, names: Collection[str],
              key: str) -> str:
        """The name, which the value of the key is, or is among, if it is one."""
        if name not in names:
            raise self.error(f"there is no {what} \"{name}\""
                             + suggestion(name, sorted(names)), key)
        return name


def read(path: Path) -> Document:
    """Reads a TOML file. Raises ManifestError with file and line."""
    try:
        text = files.read(path).decode()
    except FileNotFoundError:
        raise ManifestError(f"there is no {path}") from None
    except OSError as e:
        raise ManifestError(f"cannot read {path}: {e.strerror}") from None
    except UnicodeDecodeError as e:
        raise ManifestError(f"{path} is no text in UTF-8: {e}") from None
    text = text.replace("\r\n", "\n")
    try:
        document = Document(path, tomllib.loads(text), text)
    except tomllib.TOMLDecodeError as e:
        raise _broken(path, text, str(e)) from None
    except RecursionError:
        raise ManifestError(f"{path}: nested too deeply") from None
    except ValueError:                  # of Python, for thousands of digits
        found = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else None
        raise DocumentError((Problem(str(path), line, "", "there " + _WIDE),)
                            ) from None
    _check_values(document)
    return document


def values(table: Any) -> Iterator[tuple[Keys, Any]]:
    """All that is in a table, and in what is in it; tables and lists too."""
    rest: list[tuple[Keys, Any]] = [((), table)]
    while rest:
        keys, value = rest.pop()
        yield keys, value
        if isinstance(value, dict):
            rest += [((*keys, k), v) for k, v in value.items()]
        elif isinstance(value, list):
            rest += [((*keys, n), v) for n, v in enumerate(value)]


def _check_values(document: Document) -> None:
    """What tomllib reads, and TOML need not have: nothing here expects it."""
    for keys, value in values(document.table):
        if len(keys) > _DEEPEST:
            raise ManifestError(f"{document.path}: nested too deeply")
        if isinstance(value, int) and not -2**63 <= value < 2**63:
            raise DocumentError((document.problem(
                keys[:-1], f"\"{keys[-1]}\" {_WIDE}", keys[-1]),))


def _broken(path: Path, text: str, error: str) -> DocumentError:
    """tomllib ends its errors with (at line 3, column 4)."""
    message, _, at = error.rpartition(" (at ")
    if at.startswith("line "):
        line = int(at[5:].split(",")[0])
    else:                               # (at end of document)
        line = text.rstrip("\n").count("\n") + 1
    return DocumentError((Problem(str(path), line, "", message or error),))
