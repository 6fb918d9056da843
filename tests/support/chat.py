# SPDX-License-Identifier: BSD-2-Clause
"""The guest "chat" and its clients."""

import socket
from typing import Any

from websockets.sync.client import ClientConnection, connect

from kvmctl.engine.library import Engine, Program
from support.paths import settings
from support.port import free_port
from support.wait import until


class Client:
    """A TCP client that speaks lines."""

    def __init__(self, at: int | str) -> None:
        if isinstance(at, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(10)
            self.socket.connect(at)
        else:
            self.socket = socket.create_connection(("127.0.0.1", at), 10)
        self._file = self.socket.makefile("rb")

    def say(self, text: str) -> None:
        self.socket.sendall(text.encode() + b"\n")

    def hear(self) -> str:
        """The next line; "" at the end."""
        try:
            return self._file.readline().decode().rstrip("\n")
        except ConnectionResetError:
            return ""

    def ask(self, text: str) -> str:
        self.say(text)
        return self.hear()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Chat:
    """The guest "chat", with servers at free ports."""

    def __init__(self, engine: Engine, **more: Any) -> None:
        self.engine = engine
        self.tcp, self.ws = free_port(), free_port()
        self.program: Program = engine.define("chat", settings("chat") | {
            "server": {"port": self.tcp} | more.pop("server", {}),
            "websocket_server": {"port": self.ws} | more.pop("ws", {}),
        } | more)
        self.program.start()

    def client(self) -> Client:
        return Client(self.tcp)

    def web(self, path: str = "/") -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.ws}{path}", open_timeout=10,
                       close_timeout=10, max_size=None, compression=None)

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.stats()["programs"]["chat"]
        return found

    def empty(self) -> None:
        """Waits until all clients are gone."""
        until(lambda: self.counts()["sockets_open"] == 0)


HANDSHAKE = ("GET / HTTP/1.1\r\nHost: it\r\nUpgrade: websocket\r\n"
             "Connection: keep-alive, Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
             "Sec-WebSocket-Version: 13\r\n\r\n")


def raw(chat: Chat, *pieces: bytes) -> bytes:
    """All that the server says to these bytes, to the end."""
    with socket.create_connection(("127.0.0.1", chat.ws), 10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            s.sendall(piece)
        s.shutdown(socket.SHUT_WR)
        answer = b""
        while data := s.recv(65536):
            answer += data
        return answer
