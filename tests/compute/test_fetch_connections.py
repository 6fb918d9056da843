# SPDX-License-Identifier: BSD-2-Clause
"""What a fetch leaves behind on its connection is nobody else's answer."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kvmctl.engine.library import Engine, Program
from support.paths import settings
from support.wait import until

pytestmark = pytest.mark.kvm

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
DUMMY = "0,(0,0,0x100)"


@dataclass
class Wire:
    """An origin that plays a part of its own on each connection."""

    port: int
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    said: int = 0           # what nobody asked for

    @property
    def url(self) -> str:
        return f"http:%2f%2f127.0.0.1:{self.port}%2f"


def hear(s: socket.socket) -> bytes:
    """One request: its head, and the body behind it if it has a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        if not more:
            return b""
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.split(b":")[1]):
                body += s.recv(65536)
    return head


@contextmanager
def wire(play: Callable[[Wire, socket.socket], None]) -> Iterator[Wire]:
    listener = socket.create_server(("127.0.0.1", 0))
    it = Wire(listener.getsockname()[1])
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []

    def one(s: socket.socket) -> None:
        with suppress(OSError):
            play(it, s)
        it.closed += 1
        with suppress(OSError):
            s.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            sockets.append(s)
            it.connections += 1
            threads.append(threading.Thread(target=one, args=(s,)))
            threads[-1].start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield it
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for s in sockets:
            with suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for t in threads:
            t.join()
        for s in sockets:
            s.close()


def good(it: Wire, s: socket.socket) -> None:
    """Every request on it is answered."""
    while head := hear(s):
        it.heads.append(head)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                  if head.startswith(b"HEAD ") else GOOD)


def anycall(engine: Engine, *allowed: object, **more: object) -> Program:
    """One fork, so that each request finds what the one before left."""
    return engine.define("anycall", settings(
        "anycall", **{"allowed_fetch": [str(a) for a in allowed],
                      "concurrency": 1} | more))


def plain(it: Wire) -> str:
    """The call of an ordinary GET, its answer in the room."""
    return f"sys_fetch,={it.url},len,(0,0,0,0,room,60)"


def with_method(it: Wire, method: str, body: str = "",
                more: str = "") -> str:
    op = f"({len(body) << 32},={body})" if body else "op"
    return (f"sys_fetch_method,={method},={it.url},len,{op}"
            + (f",{more}" if more else ""))


# From one request to the next

@pytest.mark.parametrize("ephemeral", [True, False])
def test_a_connection_ends_with_its_request(engine: Engine,
                                            ephemeral: bool) -> None:
    with wire(good) as it:
        program = anycall(engine, f"127.0.0.1:{it.port}", ephemeral=ephemeral)
        for n in range(1, 4):
            assert b"good" in program.request(url=f"/{plain(it)}").body
            assert it.connections == n
            until(lambda n=n: it.closed == n)  # type: ignore[misc]


def test_and_with_its_call_of_storage(engine: Engine,
                                      tmp_path: Path) -> None:
    with wire(good) as it:
        program = anycall(engine, f"127.0.0.1:{it.port}", storage=True,
                          state_directory=str(tmp_path))
        for n in range(1, 4):
            program.request(url=f"/in-storage/{plain(it)}")
            assert (it.connections, len(it.heads)) == (n, n)
            until(lambda n=n: it.closed == n)  # type: ignore[misc]


def test_and_with_the_boot_of_storage(engine: Engine,
                                      tmp_path: Path) -> None:
    with wire(good) as it:
        program = anycall(engine, f"127.0.0.1:{it.port}", storage=True,
                          state_directory=str(tmp_path),
                          main_arguments=[f"storage:{plain(it)}"])
        program.start()
        assert len(it.heads) == 1
        until(lambda: it.closed == 1)
        program.request(url=f"/in-storage/{plain(it)}")
        assert (it.connections, len(it.heads)) == (2, 2)


def late(it: Wire, s: socket.socket) -> None:
    """Behind its answer comes one that nobody asked for."""
    if it.connections > 1:
        good(it, s)
        return
    hear(s)
    s.sendall(GOOD)
    # When the request has its answer, or the connection has ended.
    until(lambda: it.said == 1)
    with suppress(OSError):
        s.sendall(POISON)
    it.said = 2
    good(it, s)


def test_an_answer_that_nobody_asked_for(engine: Engine) -> None:
    with wire(late) as it:
        program = anycall(engine, f"127.0.0.1:{it.port}")
        for _ in range(3):
            body = program.request(url=f"/{plain(it)}").body
            assert b"good" in body and b"POISON" not in body
            it.said = max(it.said, 1)
            until(lambda: it.said == 2)


def with_body(it: Wire, s: socket.socket) -> None:
    """The first answer's body comes late, and is an answer itself."""
    if it.connections > 1:
        good(it, s)
        return
    hear(s)
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(POISON))
    if hear(s):
        s.sendall(POISON)


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("method", ["GET", "PURGE", "HEAD"])
def test_a_body_that_was_not_wanted(engine: Engine, method: str,
                                    apart: bool) -> None:
    """Two requests, or two fetches of one."""
    with wire(with_body) as it:
        program = anycall(engine, f"127.0.0.1:{it.port}")
        first = with_method(it, method, more=DUMMY)
        if apart:
            assert program.request(url=f"/{first}").body == b"0\n"
            body = program.request(url=f"/{plain(it)}").body
        else:
            body = program.request(url=f"/{first}/{plain(it)}").body
        assert b"good" in body and b"POISON" not in body


# Within one request

@pytest.mark.parametrize(("method", "body", "kept"), [
    ("GET", "", True), ("DELETE", "", True), ("POST", "x", True),
    ("PUT", "x", True), ("PATCH", "x", True), ("null", "", True),
    ("HEAD", "", False), ("GET", "x", False), ("DELETE", "x", False),
    ("OPTIONS", "x", False), ("HEAD", "x", False), ("CONNECT", "", False),
    ("get", "", False), ("FRESH", "", False), ("POST", "", False),
])
def test_who_leaves_a_connection(engine: Engine, method: str, body: str,
                                 kept: bool) -> None:
    """Those whose end no server sees elsewhere than we do."""
    with wire(good) as it:
        program = anycall(engine, f"127.0.0.1:{it.port}")
        first = with_method(it, method, body).replace("=null", "null")
        answer = program.request(url=f"/{first}/{plain(it)}").body
        assert answer.startswith(b"0 0 ") and b"good" in answer
        assert it.connections == (1 if kept else 2)


def test_no_field_of_a_guest_frames(engine: Engine) -> None:
    """They are ours, or the connection's."""
    fields = ["Transfer-Encoding: chunked", "Content-Length: 5",
              "Connection: upgrade", "Upgrade: h2c", "Expect: 100-continue",
              "TE: trailers", "Trailer: X", "Keep-Alive: timeout=9",
              "content-length:5", "UPGRADE:\tx"]
    with wire(good) as it:
        program = anycall(engine, f"127.0.0.1:{it.port}")
        for text in fields:
            text = text.replace(" ", "%20").replace("\t", "%09")
            answer = program.request(
                url=f"/sys_fetch,={it.url},len,op,(={text},"
                    "0,0,0,0,0,0,0,0,0,0,0,len)").body
            assert answer == b"0\n"
        for text in ("Transfer-Encoding%20:%20chunked",
                     "%20Content-Length:%205", "Upgrade%09:%20x"):
            assert program.request(
                url=f"/sys_fetch,={it.url},len,op,(={text},"
                    "0,0,0,0,0,0,0,0,0,0,0,len)").from_error_handler
    for head in it.heads:
        names = {line.split(b":")[0].lower()
                 for line in head.split(b"\r\n")[1:]}
        assert names == {b"host", b"user-agent", b"accept"}
    assert len(it.heads) == len(fields)


def test_a_connection_serves_only_the_entry_that_allowed_it(
        engine: Engine) -> None:
    """Else an address that only one of them names is reached by the other."""
    with wire(good) as it:
        program = anycall(engine, f"http://localhost:{it.port}/only/",
                          f"*:{it.port}")
        at = f"http:%2f%2flocalhost:{it.port}%2f"
        one = f"sys_fetch,={at}only%2fx,len,op"
        other = f"sys_fetch,={at}other,len,op"
        assert program.request(url=f"/{other}").body == b"-9\n"
        assert program.request(url=f"/{one}/{other}/{one}").body == \
            b"0 -9 0\n"
    assert [h.split()[1] for h in it.heads] == [b"/only/x"] * 2


def cut(it: Wire, s: socket.socket) -> None:
    """An answer that ends before its end, and one that goes on behind it."""
    if hear(s):
        s.sendall(GOOD + POISON if it.connections == 1 else GOOD)
        good(it, s)


def test_more_than_the_answer(engine: Engine) -> None:
    with wire(cut) as it:
        program = anycall(engine, f"127.0.0.1:{it.port}")
        calls = "/".join([plain(it)] * 3)
        body = program.request(url=f"/{calls}").body
        assert body.startswith(b"0 0 0 ") and b"POISON" not in body


def test_a_fetch_that_failed(engine: Engine) -> None:
    """Its answer is larger than the room: what is left of it is no answer."""
    def play(it: Wire, s: socket.socket) -> None:
        if it.connections > 1:
            good(it, s)
        elif hear(s):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" +
                      bytes(1000 - len(POISON)) + POISON)
            good(it, s)

    with wire(play) as it:
        program = anycall(engine, f"127.0.0.1:{it.port}")
        body = program.request(url=f"/{plain(it)}/{plain(it)}").body
        assert body.startswith(b"-63 0 ") and b"good" in body
