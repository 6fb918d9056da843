# SPDX-License-Identifier: BSD-2-Clause
"""The log of a node, through varnishlog and varnishncsa."""

import math
import re
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from types import TracebackType

from kvmctl.errors import UsageError, VarnishError
from kvmctl.observe.rates import Latencies
from kvmctl.varnish.admin import Node

_FORMAT = ("%{VCL_Log:kvmctl-program}x\t%{VSL:Timestamp:Beresp[2]}x\t"
           "%{VSL:Timestamp:Resp[2]}x\t%{VSL:VCL_use}x")
_RECORD = re.compile(r"[-\d*]+ +(\w+) +(.*)")
_HEAD = re.compile(r"\*+ +<< +(\w+) +>> +([0-9]{1,20})(?![0-9])")
_END_SECONDS = 5.0


def readable(node: Node) -> None:
    """Raises UsageError when the node's shared memory is out of reach."""
    if not node.countable:
        raise UsageError(f"the log and counters of {node} cannot be read "
                         "through -T: name it by -n, or by ssh in [nodes]")


def line(node: Node, program: str, *words: str) -> list[str]:
    """The line that runs one of Varnish's readers for the node."""
    named = ["-n", node.name] if node.name is not None else []
    return node.reach.line(program, *named, *words)


def query(program: str | None, errors: bool) -> str | None:
    """A VSL query: vsl-query(7)."""
    if program is not None and not re.fullmatch(r"[A-Za-z0-9._-]+", program):
        raise UsageError(f"\"{program}\" is no name of a program")
    name = re.escape(program) if program is not None else None
    # "tinykvm: NAME: what it says"; of all programs, any.
    whose = f"tinykvm: {name}(:|$)" if name is not None else "tinykvm: "
    wrong = f'VCL_Error ~ "^{whose}" or FetchError ~ "^{whose}"'
    if errors:
        return wrong
    if name is None:
        return None
    return (f'VCL_Log ~ "^(kvmctl-program|tinykvm): {name}(:|$)" or {wrong}')


@dataclass
class Transaction:
    """One request or fetch."""

    kind: str
    vxid: int
    records: list[tuple[str, str]]


def transactions(rows: Iterator[str]) -> Iterator[Transaction]:
    """What varnishlog writes, by transaction."""
    current: Transaction | None = None
    for row in rows:
        head, record = _HEAD.match(row), _RECORD.match(row)
        if head is not None:
            if current is not None:
                yield current
            current = Transaction(head[1], int(head[2]), [])
        elif record is not None and current is not None:
            current.records.append((record[1], record[2].rstrip()))
            if record[1] == "End":
                yield current
                current = None
        # varnishlog's lines of groups of no interest are neither.
    if current is not None:
        yield current


class Watch:
    """Latencies of programs' requests while this is entered."""

    def __init__(self, node: Node) -> None:
        self._guard = threading.Lock()
        self._seen = Latencies()
        #: A file: nobody reads it while all is well.
        self._words = tempfile.TemporaryFile()      # noqa: SIM115
        self._process = subprocess.Popen(
            line(node, "varnishncsa", "-b", "-c", "-F", _FORMAT),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self._words, text=True, errors="replace")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for row in self._process.stdout:
            words = row.rstrip("\n").split("\t")
            if len(words) != 4 or words[0] in ("", "-"):
                continue
            # A fetch has the one time stamp, a synthetic answer the other.
            for text in words[1:3]:
                try:
                    seconds = float(text)
                except ValueError:
                    continue
                if not math.isfinite(seconds):
                    continue
                with self._guard:
                    self._seen.add(words[3], words[0], seconds)
                break

    def taken(self) -> Latencies:
        """What was seen since the last time.

        Raises VarnishError when varnishncsa has ended by itself.
        """
        if self._process.poll() is not None:
            self._words.seek(0)
            said = self._words.read().decode(errors="replace").strip()
            raise VarnishError(f"varnishncsa has ended: {said or 'silently'}")
        with self._guard:
            seen, self._seen = self._seen, Latencies()
        return seen

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 error: BaseException | None,
                 trace: TracebackType | None) -> None:
        end(self._process)
        self._thread.join(_END_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._words.close()


def end(process: "subprocess.Popen[str]") -> None:
    """Ends a reader that would go on for ever."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def follow(node: Node, wanted: str | None,
           past_only: bool) -> Generator[str]:
    """The lines of varnishlog. past_only: what the log has, and no more."""
    words = ["-g", "request", *(["-d"] if past_only else [])]
    if wanted is not None:
        words += ["-q", wanted]
    process = subprocess.Popen(
        line(node, "varnishlog", *words), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace")
    assert process.stdout is not None and process.stderr is not None
    try:
        yield from process.stdout
        process.wait(_END_SECONDS)
        if process.returncode:
            raise VarnishError(f"varnishlog of {node}: "
                               f"{process.stderr.read().strip()}")
    finally:
        end(process)
        process.stdout.close()
        process.stderr.close()
