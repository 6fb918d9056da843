# SPDX-License-Identifier: BSD-2-Clause
"""Nodes that only speak: varnishd's command line and HTTP, without Varnish.

What they answer was written down from Varnish 7.1.1: test_protocol.py asks a
real one the same, and compares.
"""

import hashlib
import json
import re
import secrets
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WORDS = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')


@dataclass
class State:
    """What a varnishd knows."""

    vcls: dict[str, str] = field(default_factory=lambda: {"boot": ""})
    labels: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, float] = field(
        default_factory=lambda: {"cli_timeout": 60.0})
    active: str = "boot"
    child: str = "running"
    #: command -> (status, text): answered so instead; text None hangs up.
    faults: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    #: command -> what its answer waits for, for 20 s at most.
    gates: dict[str, threading.Event] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def target(self, name: str) -> str:
        return self.labels.get(name, name)


def _list(state: State, words: list[str]) -> tuple[int, str]:
    rows: list[Any] = [2, ["vcl.list", "-j"], 1.5]
    rows += [{"status": "active" if state.active == name else "available",
              "state": "auto", "temperature": "warm", "busy": 0, "name": name}
             for name in state.vcls]
    rows += [{"status": "available", "state": "label", "temperature": "warm",
              "busy": 0, "name": label, "label": {"name": vcl, "refs": 1}}
             for label, vcl in state.labels.items()]
    return 200, json.dumps(rows)


def _shown(state: State, words: list[str]) -> tuple[int, str]:
    if words[-1] not in state.parameters:
        return 106, f"Unknown parameter \"{words[-1]}\"."
    return 200, json.dumps([2, words, 1.5, {
        "name": words[-1], "value": state.parameters[words[-1]]}])


def answer(state: State, words: list[str], body: str) -> tuple[int, str]:
    """One command, as a manager that never compiles answers it."""
    what = words[0]
    if what == "ping":
        return 200, "PONG 1500000000 1.0"
    if what == "status":
        return 200, f"Child in state {state.child}"
    if what == "start":
        state.child = "running"
        return 200, ""
    if what == "vcl.list":
        return _list(state, words)
    if what == "param.show":
        return _shown(state, words)
    if what == "vcl.deps":
        return 200, "\n".join(state.vcls)
    if what == "debug.listen_address":
        return 200, ""
    if what in ("vcl.load", "vcl.inline"):
        if words[1] in state.vcls:
            return 106, f"Already a VCL named {words[1]}"
        state.vcls[words[1]] = body or Path(words[2]).read_text()
        return 200, "VCL compiled."
    if what not in ("vcl.use", "vcl.label", "vcl.discard"):
        return 101, "Unknown request.\nType 'help' for more info."
    name = words[2] if what == "vcl.label" else words[1]
    if name not in state.vcls and name not in state.labels:
        return 106, f"No VCL named {name} known."
    if what == "vcl.label":
        state.labels[words[1]] = name
    elif what == "vcl.use":
        state.active = name
    elif name == state.active or name in state.labels.values():
        return 300, f"Cannot discard labeled VCL program {name}:"
    else:
        del state.vcls[name]
    return 200, ""


class _CommandLine(socketserver.StreamRequestHandler):
    server: "FakeVarnish"

    def _say(self, status: int, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%-3d %-8d\n" % (status, len(data)) + data + b"\n")

    def handle(self) -> None:
        challenge = secrets.token_hex(16)
        self._say(107, challenge + "\n\nAuthentication required.")
        word = challenge.encode() + b"\n"
        right = hashlib.sha256(word + self.server.secret + word).hexdigest()
        if self.rfile.readline().decode().strip() != f"auth {right}":
            self._say(500, "")
            return
        self._say(200, "-----------------------------\nVarnish Cache CLI 1.0\n")
        try:
            self._talk()
        except OSError:
            pass

    def _talk(self) -> None:
        state = self.server.state
        for raw in self.rfile:
            line, body = raw.decode().rstrip("\n"), ""
            found = re.search(r" << (\w+)$", line)
            if found is not None:
                for more in self.rfile:
                    if more.decode().rstrip("\n") == found[1]:
                        break
                    body += more.decode()
                line = line[:found.start()]
            words = [a or b for a, b in _WORDS.findall(line)]
            state.asked.append(words[0])
            if words[0] in state.gates:
                state.gates[words[0]].wait(20)
            with state.lock:
                fault = state.faults.get(words[0])
                if fault is not None and fault[1] is None:
                    return
                said = ((fault[0], fault[1] or "") if fault
                        else answer(state, words, body))
            self._say(*said)


class FakeVarnish(socketserver.ThreadingTCPServer):
    """A command line on a port of 127.0.0.1, until close()."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, secret_file: Path) -> None:
        super().__init__(("127.0.0.1", 0), _CommandLine)
        self.secret = secret_file.read_bytes()
        self.state = State()
        self._thread = threading.Thread(target=self.serve_forever,
                                        kwargs={"poll_interval": 0.02},
                                        daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hung up is no error of ours."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(10)


def raw_server(*answers: bytes) -> tuple[socket.socket, int]:
    """A port that sends these bytes to whoever connects, then is silent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            for data in answers:
                connection.sendall(data)
            try:
                while connection.recv(4096):
                    pass
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    return listener, listener.getsockname()[1]
