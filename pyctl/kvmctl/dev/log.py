# SPDX-License-Identifier: BSD-2-Clause
"""Requests and errors of a varnishd as they happen, for people or machines."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kvmctl.decimals import decimal
from kvmctl.environment import Environment
from kvmctl.errors import HostError
from kvmctl.varnish.private import PrivateVarnish, mortal

_STOP_SECONDS = 5.0
#: Method, URL, status, bytes, microseconds, hit or miss.
_FORMAT = "%m\\t%U%q\\t%s\\t%O\\t%D\\t%{Varnish:handling}x"
_RECORD = re.compile(r"\s*\d+ (VCL_Error|VCL_Log)\s+\S+ (.*)")
_COLOURS = {"2": "32", "3": "36", "4": "33", "5": "31"}


class Reporter:
    """Writes events: lines for people, JSON lines with --json."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._lock = threading.Lock()

    def event(self, kind: str, text: str, colour: str = "",
              **fields: Any) -> None:
        """One event; fields are for machines, text is for people."""
        with self._lock:
            if self._env.as_json:
                line = json.dumps({"event": kind, **fields})
            elif colour:
                line = self._env.style(text, colour, self._env.stdout)
            else:
                line = text
            self._env.result(line)
            self._env.stdout.flush()

    def error(self, text: str) -> None:
        self.event("error", f"error: {text}", "31", message=text)

    def request(self, line: str) -> None:
        """A line of varnishncsa."""
        parts = line.rstrip("\n").split("\t")
        if len(parts) != 6:
            return
        method, url, status, size, taken, handling = parts
        micros = decimal(taken) or 0
        env = self._env
        told = env.style(status, _COLOURS.get(status[:1], ""), env.stdout) \
            if status[:1] in _COLOURS else status
        self.event(
            "request", f"{method:5} {told} {micros / 1e3:9.2f} ms "
            f"{size:>9}  {handling:4}  {url}", method=method, url=url,
            status=decimal(status) or 0, bytes=decimal(size) or 0,
            seconds=micros / 1e6, handling=handling)

    def record(self, line: str) -> None:
        """A line of varnishlog."""
        found = _RECORD.match(line)
        if found is None:
            return
        text = found[2].removeprefix("tinykvm: ")
        if found[1] == "VCL_Error":
            self.event("failure", f"  {text}", "31", message=text)
        else:
            self.event("log", f"  {text}", "2", message=text)


def _follow(line: Sequence[str], use: Callable[[str], None],
            ) -> tuple["subprocess.Popen[str]", threading.Thread]:
    process = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, errors="replace", bufsize=1,
        start_new_session=True)

    def read() -> None:
        assert process.stdout is not None
        for row in process.stdout:
            use(row)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return process, thread


@contextmanager
def following(varnish: PrivateVarnish, report: Reporter) -> Iterator[None]:
    """Reports requests, failures and the programs' words until the end."""
    lines = {
        "varnishncsa": ("-F", _FORMAT),
        "varnishlog": ("-g", "raw", "-i", "VCL_Error,VCL_Log"),
    }
    use = {"varnishncsa": report.request, "varnishlog": report.record}
    started = []
    try:
        for name, words in lines.items():
            program = shutil.which(name)
            if program is None:
                raise HostError(f"{name} is missing: apt-get install varnish")
            started.append(_follow(
                (*mortal(), program, "-n", str(varnish.node.name), "-t", "10",
                 *words),
                use[name]))
        yield
    finally:
        for process, _ in started:
            process.terminate()
        for process, thread in started:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            thread.join(_STOP_SECONDS)
