# SPDX-License-Identifier: BSD-2-Clause
"""Where a command's words go: results to stdout, status to stderr."""

import json
import os
import re
import sys
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TextIO

#: What a terminal obeys, but for colours, which are ours: control characters,
#: and those that show a line's letters in another order (Unicode, UAX #9: the
#: explicit embeddings, overrides and isolates).
_ORDERS = re.compile("(?!\x1b\\[[0-9;]*m)"
                     "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text without what a terminal would obey."""
    return _ORDERS.sub("\ufffd", text)


def _write(stream: TextIO, text: str, end: str = "\n") -> None:
    """What programs, files and nodes may have put their words in."""
    stream.write((harmless(text) if stream.isatty() else text) + end)


@dataclass
class Environment:
    """The streams of one invocation; tests put their own in place."""

    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    stdin: BinaryIO = field(default_factory=lambda: sys.stdin.buffer)
    as_json: bool = False
    #: A machine has its result; an error then is on stderr alone.
    answered: bool = False

    @property
    def talkative(self) -> bool:
        """Progress is for people: on a terminal, and not as JSON."""
        return not self.as_json and self.stderr.isatty()

    def result(self, text: str) -> None:
        """One line of the command's result."""
        _write(self.stdout, text)

    def result_text(self, text: str) -> None:
        """The command's whole result, with the ends of its lines."""
        _write(self.stdout, text, "")

    def result_json(self, value: Any) -> None:
        """The command's whole result for a machine."""
        self.answered = True
        self.stdout.write(json.dumps(value, indent=2, sort_keys=True) + "\n")

    def result_bytes(self, data: bytes) -> None:
        """Result bytes: as they are, but on a terminal."""
        self.stdout.flush()
        buffer = getattr(self.stdout, "buffer", None)
        if buffer is None or self.stdout.isatty():
            self.result_text(data.decode("utf-8", "replace"))
            self.stdout.flush()
        else:
            buffer.write(data)
            buffer.flush()

    def status(self, text: str) -> None:
        """What is being done; only where a person looks on."""
        if self.talkative:
            _write(self.stderr, self.style(text, "2"))

    def note(self, text: str) -> None:
        """Figures and remarks beside the result."""
        if not self.as_json:
            _write(self.stderr, text)

    def warn(self, text: str) -> None:
        _write(self.stderr, self.style("warning: ", "33") + text)

    def error(self, text: str) -> None:
        _write(self.stderr, self.style("error: ", "31") + text)

    def style(self, text: str, code: str,
              stream: TextIO | None = None) -> str:
        """ANSI colour, on a terminal only, and not where NO_COLOR is set."""
        if os.environ.get("NO_COLOR") or not (stream or self.stderr).isatty():
            return text
        return f"\x1b[{code}m{text}\x1b[0m"
