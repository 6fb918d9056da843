# SPDX-License-Identifier: BSD-2-Clause
"""Where a command's words go: results to stdout, status to stderr."""

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TextIO


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
        self.stdout.write(text + "\n")

    def result_json(self, value: Any) -> None:
        """The command's whole result for a machine."""
        self.answered = True
        self.stdout.write(json.dumps(value, indent=2, sort_keys=True) + "\n")

    def result_bytes(self, data: bytes) -> None:
        """Result bytes as they are."""
        self.stdout.flush()
        buffer = getattr(self.stdout, "buffer", None)
        if buffer is None:
            self.stdout.write(data.decode("utf-8", "replace"))
        else:
            buffer.write(data)
            buffer.flush()

    def status(self, text: str) -> None:
        """What is being done; only where a person looks on."""
        if self.talkative:
            self.stderr.write(self.style(text, "2") + "\n")

    def note(self, text: str) -> None:
        """Figures and remarks beside the result."""
        if not self.as_json:
            self.stderr.write(text + "\n")

    def warn(self, text: str) -> None:
        self.stderr.write(self.style("warning: ", "33") + text + "\n")

    def error(self, text: str) -> None:
        self.stderr.write(self.style("error: ", "31") + text + "\n")

    def style(self, text: str, code: str,
              stream: TextIO | None = None) -> str:
        """ANSI colour, on a terminal only, and not where NO_COLOR is set."""
        if os.environ.get("NO_COLOR") or not (stream or self.stderr).isatty():
            return text
        return f"\x1b[{code}m{text}\x1b[0m"
