# SPDX-License-Identifier: BSD-2-Clause
"""Programs under a debugger: GDB itself, and a peer that says what it likes."""

import re
import socket
import subprocess
import threading
import time
from typing import Any

from kvmctl.engine.library import Program, Response
from kvmctl.errors import GuestError

SECONDS = 60


class Request(threading.Thread):
    """A request on a thread of its own, and what became of it."""

    def __init__(self, program: Program, log: list[Any], url: str = "/",
                 do: str = "request") -> None:
        super().__init__(daemon=True)
        self.answer: Response | None = None
        self.error = ""
        self._call = ((lambda: program.request("GET", url))
                      if do == "request" else
                      (lambda: program.start(debug=True)))
        self._log = log
        self._from = len(log)
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._call()  # type: ignore[func-returns-value]
        except GuestError as e:
            self.error = str(e)

    def words(self) -> str:
        return "\n".join(text for _, _, text in self._log[self._from:])

    def port(self, which: int = 0) -> int:
        """Where it waits for a debugger, for the which-th time."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found = re.findall(r'"target remote :(\d+)"', self.words())
            if len(found) > which:
                return int(found[which])
            time.sleep(0.005)
        raise AssertionError(f"waits for no debugger: {self.words()}")

    def ended(self) -> "Request":
        self.join(SECONDS)
        assert not self.is_alive(), self.words()
        return self

    @property
    def body(self) -> str:
        self.ended()
        assert self.answer is not None, self.error
        return self.answer.body.decode()


def gdb(port: int, file: str, *commands: str) -> str:
    """What GDB says to these commands."""
    line = ["gdb", "-nx", "-batch", "-ex", "set confirm off",
            "-ex", "set pagination off", "-ex", "set width 0",
            "-ex", f"target remote 127.0.0.1:{port}"]
    for command in commands:
        line += ["-ex", command]
    done = subprocess.run([*line, file], capture_output=True, text=True,
                          timeout=SECONDS, check=False,
                          stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


class Peer:
    """Speaks the protocol, or does not."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.buffer = b""

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def raw(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def send(self, packet: str) -> None:
        data = packet.encode("latin-1")
        self.raw(b"$" + data + b"#%02x" % (sum(data) & 255))

    def receive(self) -> str | None:
        """The next packet's data; None when the connection has ended."""
        while True:
            found = re.search(rb"\$([^#]*)#[0-9a-f]{2}", self.buffer)
            if found is not None:
                self.buffer = self.buffer[found.end():]
                return found.group(1).decode("latin-1")
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if data == b"":
                return None
            self.buffer += data

    def ends(self) -> None:
        """Says no more, and hears the rest."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return
        while self.receive() is not None:
            pass

    def ask(self, packet: str) -> str | None:
        self.send(packet)
        return self.receive()
