# SPDX-License-Identifier: BSD-2-Clause
"""WebSocket messages in pieces, and what they may cost."""

import socket
import struct
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from kvmctl.engine.library import Engine
from support.chat import HANDSHAKE, Chat, raw
from support.storage import held
from support.wait import until

pytestmark = pytest.mark.kvm


@pytest.fixture
def chat(engine: Engine) -> Chat:
    return Chat(engine)


FRAGMENT = b"\x00\x81\0\0\0\0x"


def heard(s: socket.socket, n: int) -> bytes:
    """That many bytes, or all that there are."""
    data = b""
    while len(data) < n and (more := s.recv(65536)):
        data += more
    return data


def unfinished(chat: Chat, block: bytes) -> socket.socket:
    """A client that has sent this of a message, and all of it is read."""
    s = socket.create_connection(("127.0.0.1", chat.ws), 10)
    s.sendall(HANDSHAKE.encode() + b"\x01\x80\0\0\0\0")
    for _ in range(4):
        s.sendall(block)
    s.sendall(b"\x89\x80\0\0\0\0")
    data = b""
    while not data.endswith(b"\x8a\x00"):
        data += s.recv(65536)
    return s


def test_fragments_cost_what_is_in_them(chat: Chat) -> None:
    """A million of one byte each, of messages that are not finished."""
    block = FRAGMENT * 50_000
    with ExitStack() as clients:
        before = held()[2]
        for _ in range(5):
            s = clients.enter_context(unfinished(chat, block))
        assert held()[2] - before < 24 * 1024
    chat.empty()
    with unfinished(chat, block) as s:
        s.sendall(b"\x80\x80\0\0\0\0")
        assert heard(s, 10 + 200_000) == b"\x81\x7f" + struct.pack(
            "!Q", 200_000) + b"x" * 200_000


def test_a_message_in_fragments_that_is_too_large(chat: Chat) -> None:
    mask = b"\0\0\0\0"
    first = b"\x02\xff" + struct.pack("!Q", 1 << 19) + mask + bytes(1 << 19)
    more = first.replace(b"\x02", b"\x00", 1)
    answer = raw(chat, HANDSHAKE.encode(), first, more, b"\x00\x80" + mask,
                 b"\x80\x81" + mask + b"x", b"\x81\x85" + mask + b"after")
    assert answer.endswith(b"\x88\x02" + struct.pack("!H", 1009))
    assert b"after" not in answer


def test_a_ping_between_fragments(chat: Chat) -> None:
    """And pieces that are empty, or end within a letter."""
    mask = b"\0\0\0\0"
    answer = raw(chat, HANDSHAKE.encode(), b"\x01\x82" + mask + b"h\xc3",
                 b"\x89\x81" + mask + b"?", b"\x00\x80" + mask,
                 b"\x00\x81" + mask + b"\xa4", b"\x8a\x80" + mask,
                 b"\x80\x81" + mask + b"!")
    assert answer.index(b"\x8a\x01?") < answer.index(b"\x81\x04h\xc3\xa4!")


def test_what_all_clients_hold_has_an_end(engine: Engine, log: Any) -> None:
    """Who holds most goes; who holds little stays."""
    chat = Chat(engine, max_request_memory=4)
    piece = b"\x01\xff" + struct.pack("!Q", 900_000) + bytes(4 + 900_000)
    with chat.web() as small, ExitStack() as clients:
        assert small.recv() == "/"
        for _ in range(20):
            s = clients.enter_context(socket.create_connection(
                ("127.0.0.1", chat.ws), 10))
            s.sendall(HANDSHAKE.encode() + piece + b"\x89\x80\0\0\0\0")
            data = b""
            with suppress(ConnectionResetError):
                while not data.endswith(b"\x8a\x00") and (
                        more := s.recv(65536)):
                    data += more
        until(lambda: chat.counts()["sockets_open"] <= 1 + 4)
        small.send("still here")
        assert small.recv() == "still here"
        assert "more than 4 MiB together: max_request_memory" in log.text()
    chat.empty()


def test_so_has_what_nobody_reads(engine: Engine) -> None:
    chat = Chat(engine, max_request_memory=4)
    with chat.client() as small, ExitStack() as clients:
        assert small.ask("/who") == "1"
        for _ in range(40):
            c = clients.enter_context(chat.client())
            c.say("/flood 20000000")
        until(lambda: chat.counts()["socket_clients"] == 1 + 40)
        # How many fit depends on how much the kernel takes of each.
        until(lambda: chat.counts()["sockets_open"] < 1 + 40)
        assert 1 <= int(small.ask("/who")) < 1 + 40


def test_those_who_are_closed_hold_nothing(engine: Engine) -> None:
    """Though the program has yet to be told what they sent."""
    chat = Chat(engine, max_request_memory=4)
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(
            ("127.0.0.1", chat.ws), 10)) for _ in range(200)]
        for s in clients:
            s.sendall(HANDSHAKE.encode())
            assert heard(s, 132).endswith(b"\x81\x01/")
        before = most = held()[2]
        for s in clients:
            s.sendall(b"\x82\x81\0\0\0\0/" * 2300)
        for _ in range(100):
            most = max(most, held()[2])
            time.sleep(0.01)
        assert most - before < 32 * 1024
    chat.empty()
