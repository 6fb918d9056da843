# SPDX-License-Identifier: BSD-2-Clause
"""The settings "server" and "websocket_server": clients beside Varnish."""

import json
import socket
import struct
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from kvmctl.engine.library import Engine
from kvmctl.errors import GuestError, KvmctlError, ManifestError
from support.chat import HANDSHAKE, Chat, Client, raw
from support.paths import guest, settings
from support.port import free_port
from support.wait import until

pytestmark = pytest.mark.kvm


@pytest.fixture
def chat(engine: Engine) -> Chat:
    return Chat(engine)


# What it is for

def test_what_one_says_all_hear(chat: Chat) -> None:
    with chat.client() as a, chat.client() as b:
        assert (a.ask("/who"), b.ask("/who")) in (("1", "2"), ("2", "2"))
        a.say("hello")
        assert a.hear() == b.hear() == "hello"
        assert a.ask("/said") == "1"
    chat.empty()
    counts = chat.counts()
    assert counts["socket_clients"] == 2
    assert counts["socket_events"] >= 8
    assert counts["input_bytes"] and counts["output_bytes"]


def test_a_round_is_two_exits(chat: Chat) -> None:
    """One for the write, one for the wait; all events of a batch share it."""
    with chat.client() as a:
        assert a.ask("/said") == "0"
        before = chat.counts()
        for _ in range(100):
            assert a.ask("/said") == "0"
        after = chat.counts()
    # Of the first and the last round a part may be counted on the other side.
    assert 2 * 99 <= after["exits"] - before["exits"] <= 2 * 101
    assert 99 <= after["invocations"] - before["invocations"] <= 101


def test_the_program_ends_it(chat: Chat) -> None:
    with chat.client() as a, chat.client() as b:
        assert a.ask("/bye") == "bye" and a.hear() == ""
        # Its descriptor is free for the next.
        with chat.client() as c:
            assert c.ask("/who") == "2"
        assert b.ask("/end") == "no more" and b.hear() == ""
        # It may still say something; nobody hears the answer.
        b.say("/who")


def test_the_client_ends_its_side_first(chat: Chat) -> None:
    """What is written after that still arrives."""
    with chat.client() as a:
        a.say("one")
        a.socket.shutdown(socket.SHUT_WR)
        assert a.hear() == "one" and a.hear() == ""
    chat.empty()


def test_nothing_is_left_when_the_last_has_gone(chat: Chat) -> None:
    for _ in range(3):
        with chat.client() as a:
            assert a.ask("/said") == "0"
            assert a.ask("x") == "x"
            assert a.ask("/said") == "1"
        chat.empty()
        until(lambda: chat.counts()["resets"] > 0)


def test_memory_lasts_where_the_settings_say_so(engine: Engine) -> None:
    chat = Chat(engine, ephemeral=False)
    for n in range(3):
        with chat.client() as a:
            assert a.ask("/said") == str(n)
            assert a.ask("x") == "x"
        chat.empty()


def test_machines_of_their_own(engine: Engine) -> None:
    """Each system has its memory: who is elsewhere hears nothing."""
    chat = Chat(engine, server={"systems": 3})
    clients: list[Client] = []
    numbers: set[str] = set()
    while numbers != {"0", "1", "2"}:
        clients.append(chat.client())
        numbers.add(clients[-1].ask("/number"))
        assert len(clients) < 500
    for c in clients:
        c.close()


def test_at_a_path(engine: Engine, tmp_path: Path) -> None:
    path = str(tmp_path / "chat")
    # As a worker that was killed leaves it.
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    engine.define("chat", settings("chat") | {"server": {"path": path}}
                  ).start()
    with Client(path) as a:
        assert a.ask("hello") == "hello"


def test_that_path_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "chat"
    with Engine() as engine:
        engine.define("chat", settings("chat") | {
            "server": {"path": str(path)}}).start()
        assert path.is_socket()
    assert not path.exists()


# More than fits

def test_who_does_not_read_holds_up_himself_alone(chat: Chat) -> None:
    wanted = 20_000_000
    with chat.client() as a, chat.client() as b:
        a.say(f"/flood {wanted}")
        until(lambda: chat.counts()["output_bytes"] > 300_000)
        assert b.ask("/who") == "2"
        got = 0
        while got < wanted:
            data = a.socket.recv(1 << 20)
            assert data
            got += len(data)
        assert got == wanted
        assert a.ask("/who") == "2"


def test_a_client_that_goes_in_the_middle(chat: Chat) -> None:
    for _ in range(5):
        with chat.client() as a:
            a.say("/flood 20000000")
            assert a.socket.recv(1000)
        chat.empty()
    with chat.client() as a:
        assert a.ask("/who") == "1"


def test_many_clients_at_once(chat: Chat) -> None:
    clients = [chat.client() for _ in range(200)]
    for i, c in enumerate(clients):
        c.say(f"/bad-fd {i}"[:7])
    assert {c.hear() for c in clients} == {"-9"}
    clients[0].say("all")
    assert {c.hear() for c in clients} == {"all"}
    for c in clients:
        c.close()
    chat.empty()


def test_the_one_too_many_waits(engine: Engine) -> None:
    chat = Chat(engine, server={"max_connections": 2})
    with chat.client() as a, chat.client() as b, chat.client() as c:
        assert a.ask("/who") in ("1", "2") and b.ask("/who") == "2"
        c.say("/who")
        c.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            c.socket.recv(1)
        c.socket.settimeout(10)
        a.close()
        assert c.socket.recv(10) == b"2\n"


def test_who_is_silent_goes(engine: Engine) -> None:
    chat = Chat(engine, server={"idle_timeout": 0.5},
                ws={"idle_timeout": 0.5})
    with chat.client() as a, chat.web() as w:
        assert a.ask("/who") == "1"
        assert a.hear() == ""
        assert w.recv() == "/"
        with pytest.raises(ConnectionClosed):
            w.recv()
    chat.empty()


# What goes wrong

MISDEEDS = {
    "crash": "invalid write to address 0x10",
    "spin": "ran longer than 1 s",
    "deep": "(stack overflow) in deep",
    "exit": "the program ended with exit status 3",
    "respond": "host call 0x10010 while it serves connections",
    "wait": "the array of 4 events at 0x10 is not",
    "wait-0": "no room for an event",
    "write": "the element at 0x10 is not",
    "write-many": "at most 4096",
    "write-data": "sys_sockets_write: 100 bytes at 0x10 are not",
}


@pytest.mark.parametrize("what", MISDEEDS)
def test_a_misdeed_ends_that_machines_connections(
        chat: Chat, log: Any, what: str) -> None:
    with chat.client() as a, chat.client() as b, chat.web() as w:
        assert a.ask("x") == "x"
        a.say("/" + what)
        # b may have come before or after the "x".
        assert a.hear() == "" and b.hear() in ("x", "") and b.hear() == ""
        # The other server's machine is another.
        assert w.recv() == "/"
        w.send("/said")
        assert w.recv() == "0\n"
    assert MISDEEDS[what] in log.text()
    with chat.client() as a:
        assert a.ask("/said") == "0"
    counts = chat.counts()
    assert (counts["exceptions"], counts["timeouts"],
            counts["memory_exceeded"]) == (
                (0, 1, 0) if what == "spin" else (1, 0, 0))


def test_a_descriptor_of_nobody(chat: Chat) -> None:
    with chat.client() as a:
        assert a.ask("/bad-fd") == "-9"


def test_a_number_of_the_hosts_own(chat: Chat) -> None:
    """The call that completes an empty entry is no call of a guest."""
    with chat.client() as a:
        assert a.ask("/floor") == "-38"
        assert a.ask("x") == "x"


def test_requests_are_told_that_there_is_no_handler(chat: Chat) -> None:
    with pytest.raises(GuestError, match="serves sockets only"):
        chat.program.request()


def test_a_program_without_the_handler(engine: Engine, log: Any) -> None:
    program = engine.define("hello", settings("hello") | {
        "server": {"port": free_port()}})
    with pytest.raises(KvmctlError, match="no handler for socket events"):
        program.start()


def test_an_address_that_is_taken(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        program = engine.define("chat", settings("chat") | {
            "server": {"port": port}})
        with pytest.raises(KvmctlError, match=f"cannot listen at "
                           f"127.0.0.1:{port}: Address already in use"):
            program.start()


@pytest.mark.parametrize(("value", "words"), [
    (7000, "an object with either"), ({}, "an object with either"),
    ({"port": 1, "path": "/x"}, "an object with either"),
    ({"port": 0}, "from 1 to 65535"), ({"port": "80"}, "from 1 to 65535"),
    ({"port": 1, "address": "localhost"}, "an address in numbers"),
    ({"path": "relative"}, "an absolute path"),
    ({"path": "/" + "x" * 200}, "an absolute path"),
    ({"path": "/x", "address": "::"}, "not both"),
    ({"port": 1, "systems": 17}, "from 1 to 16"),
    ({"port": 1, "max_connections": 0}, "from 1 to 1000"),
    ({"port": 1, "idle_timeout": -1}, "from 0 to"),
    ({"port": 1, "threads": 2}, "there is no \"threads\""),
])
@pytest.mark.parametrize("key", ["server", "websocket_server"])
def test_settings(engine: Engine, key: str, value: Any, words: str) -> None:
    with pytest.raises(ManifestError, match=words) as e:
        engine.define("chat", {"filename": str(guest("chat")), key: value})
    assert f"\"{key}\"" in str(e.value)


# WebSocket

def test_messages(chat: Chat) -> None:
    with chat.web("/room?7") as a, chat.web() as b:
        assert a.recv() == "/room?7" and b.recv() == "/"
        a.send("hällo")
        assert a.recv() == b.recv() == "hällo"
        b.send(b"\0\1")
        assert b.recv() == b"\0\1"
        # Told in the kind that each client speaks.
        assert a.recv() == "\0\1"
        a.send("")
        assert a.recv() == ""


@pytest.mark.parametrize("size", [125, 126, 65535, 65536, 200_000])
def test_sizes_of_messages(chat: Chat, size: int) -> None:
    with chat.web() as a:
        a.recv()
        text = "x" * size
        a.send(text)
        assert a.recv() == text


def test_a_message_in_fragments(chat: Chat) -> None:
    with chat.web() as a:
        a.recv()
        a.send(iter(["one ", "two ", "three"]))
        assert a.recv() == "one two three"
        assert a.ping().wait(10)


def test_a_message_that_is_too_large(chat: Chat) -> None:
    with chat.web() as a:
        a.recv()
        with pytest.raises(ConnectionClosed) as e:
            a.send(b"x" * (1024 * 1024 + 1))
            a.recv()
        assert e.value.rcvd is not None and e.value.rcvd.code == 1009
    with chat.web() as a:
        assert a.recv() == "/"


def test_good_byes(chat: Chat) -> None:
    with chat.web() as a:
        a.recv()
        a.send("/bye")
        assert a.recv() == "bye\n"
        with pytest.raises(ConnectionClosed) as e:
            a.recv()
        assert e.value.rcvd is not None and e.value.rcvd.code == 1000
    with chat.web() as a:
        a.recv()
        a.send("/crash")
        with pytest.raises(ConnectionClosed) as e:
            a.recv()
        assert e.value.rcvd is not None and e.value.rcvd.code == 1011
    chat.empty()


def test_the_handshake_of_the_standard(chat: Chat) -> None:
    """RFC 6455, 1.3; also byte by byte, and with a frame right behind."""
    for pieces in ([HANDSHAKE.encode()],
                   [HANDSHAKE[i:i + 1].encode()
                    for i in range(len(HANDSHAKE))]):
        answer = raw(chat, *pieces)
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" \
            in answer
    frame = b"\x81\x85\0\0\0\0hello"
    assert b"\x81\x05hello" in raw(chat, HANDSHAKE.encode() + frame)


@pytest.mark.parametrize(("change", "status"), [
    (("GET", "POST"), 426), (("Upgrade: websocket\r\n", ""), 426),
    (("keep-alive, Upgrade", "close"), 426),
    (("Version: 13", "Version: 8"), 426),
    (("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
    (("dGhlIHNhbXBsZSBub25jZQ==", "x" * 300), 400),
    (("GET / HTTP/1.1", "\x01\x02"), 400),
    (("Host: it", "Host: " + "x" * 20000), 431),
])
def test_no_handshake(chat: Chat, change: tuple[str, str],
                      status: int) -> None:
    answer = raw(chat, HANDSHAKE.replace(*change).encode())
    assert answer.split()[1] == str(status).encode()
    with chat.web() as a:
        assert a.recv() == "/"


@pytest.mark.parametrize("frame", [
    b"\x81\x05hello",                       # not masked
    b"\xf1\x85\0\0\0\0hello",               # reserved bits
    b"\x83\x85\0\0\0\0hello",               # an opcode that is none
    b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126,   # a ping that is too long
    b"\x80\x85\0\0\0\0hello",               # goes on with nothing
    b"\x81\xff" + struct.pack("!Q", 1 << 63) + b"\0\0\0\0",
    b"\x81\xff" + struct.pack("!Q", 1 << 40) + b"\0\0\0\0",
    b"\x81\x82\0\0\0\0\xff\xff",            # text that is none
])
def test_frames_that_are_none(chat: Chat, frame: bytes) -> None:
    answer = raw(chat, HANDSHAKE.encode(), frame, b"\x81\x85\0\0\0\0after")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"after" not in answer
    # A good-bye: 1002 protocol error, 1007 invalid data, 1009 too large; or
    # without a reason, for frames that libwslay cannot read.
    if not answer.endswith((b"\r\n\x88\x00", b"\x81\x01/\x88\x00")):
        assert answer[-4:-2] == b"\x88\x02"
        assert struct.unpack("!H", answer[-2:])[0] in (1002, 1007, 1009)


# Clients that mean no good: each alone is hurt

def flooding(chat: Chat, port: int, first: bytes, block: bytes) -> int:
    """Sends blocks while others are served; how many bytes went out."""
    sent = 0
    stop = threading.Event()

    def send() -> None:
        nonlocal sent
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            s.sendall(first)
            assert s.recv(4)
            try:
                while not stop.is_set():
                    sent += s.send(block)
            except OSError:
                pass

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with chat.client() as a, chat.web() as w:
            assert w.recv() == "/"
            until(lambda: sent > 1 << 24)
            before = sent
            for _ in range(60):
                assert a.ask("/bad-fd") == "-9"
                w.send("/bad-fd")
                assert w.recv(10) == "-9\n"
            # Each had its turn: it is not read for as long as it sends.
            assert sent - before < 4 << 30
    finally:
        stop.set()
        thread.join()
    return sent


def test_one_that_sends_on_after_its_end(chat: Chat) -> None:
    assert flooding(chat, chat.tcp, b"/bye\n", bytes(1 << 20)) > 1 << 24


def test_a_message_that_never_ends(chat: Chat) -> None:
    begin = HANDSHAKE.encode() + b"\x01\x80\0\0\0\0"
    more = b"\x00\x80\0\0\0\0" * 100_000
    assert flooding(chat, chat.ws, begin, more) > 1 << 24


def test_pings_whose_answers_nobody_reads(chat: Chat) -> None:
    """Answers are kept up to a limit; then the connection ends."""
    ping = b"\x89\xfd\0\0\0\0" + bytes(125)
    with socket.create_connection(("127.0.0.1", chat.ws), 10) as s:
        s.settimeout(2)
        s.sendall(HANDSHAKE.encode())
        with pytest.raises(OSError):
            for _ in range(2000):
                s.sendall(ping * 1000)
    with chat.web() as w:
        assert w.recv() == "/"


@pytest.mark.long
def test_a_handshake_byte_by_byte(chat: Chat) -> None:
    with socket.create_connection(("127.0.0.1", chat.ws), 10) as s:
        began = time.monotonic()
        with pytest.raises(OSError):
            for byte in HANDSHAKE.encode() * 4:
                s.sendall(bytes([byte]))
                time.sleep(0.2)
        assert time.monotonic() - began < 60


# Replaced while it serves

def test_a_live_update_takes_over(chat: Chat) -> None:
    """Clients are told to come again, and nobody is turned away."""
    stop = threading.Event()
    wrong: list[str] = []
    served = 0

    def work() -> None:
        nonlocal served
        while not stop.is_set():
            try:
                with chat.client() as c:
                    heard = c.ask("x")
                if heard == "x":
                    served += 1
                elif heard != "":
                    wrong.append(heard)
            except ConnectionRefusedError as e:
                wrong.append(str(e))
            except ConnectionError:
                pass

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            with chat.web() as w:
                assert w.recv() == "/"
                chat.program.live_update(guest("chat").read_bytes())
                with pytest.raises(ConnectionClosed) as e:
                    w.recv()
                assert e.value.rcvd is not None
                assert e.value.rcvd.code == 1001
            before = served
            until(lambda n=before: served > n + 3)  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
    assert not wrong


def test_another_registry_takes_over(chat: Chat) -> None:
    """As when a VCL is replaced: the newest serves; then the older again."""
    with Engine() as newer:
        again = newer.define("chat", settings("chat") | {
            "server": {"port": chat.tcp}})
        again.start()

        def newest_serves() -> bool:
            with chat.client() as c:
                c.ask("x")
            return bool(newer.stats()["programs"]["chat"]["socket_clients"])

        until(newest_serves)
        before = chat.counts()["socket_clients"]
        with chat.client() as c:
            assert c.ask("x") == "x"
        assert chat.counts()["socket_clients"] == before
    with chat.client() as c:
        assert c.ask("x") == "x"
    assert chat.counts()["socket_clients"] == before + 1


def test_ends_while_the_program_hangs(engine: Engine, log: Any) -> None:
    chat = Chat(engine, max_request_time=60)
    with chat.client() as a:
        a.say("/spin")
        until(lambda: "spins" in log.text())
        chat.engine.invalidate("")
        assert a.hear() == ""
    assert "its connections (1) are closed" in log.text()


def test_stats_are_json(chat: Chat) -> None:
    assert json.dumps(chat.counts())


def taken_by_the_kernel() -> int:
    """Bytes that a Unix socket takes of blocks like the guest's."""
    a, b = socket.socketpair(socket.AF_UNIX)
    a.setblocking(False)
    total = 0
    with a, b:
        while True:
            try:
                n = a.send(bytes(65536))
            except BlockingIOError:
                return total
            total += n
            if n < 65536:
                return total


def test_who_has_nothing_waiting_holds_nothing(engine: Engine,
                                               tmp_path: Path) -> None:
    """What was once not read counts no more when it has been."""
    at = str(tmp_path / "socket")
    program = engine.define("chat", settings("chat") | {
        "server": {"path": at}, "max_request_memory": 1})
    program.start()

    def events() -> int:
        n: int = engine.stats()["programs"]["chat"]["socket_events"]
        return n

    size = taken_by_the_kernel() + 12_000
    with ExitStack() as stack:
        for _ in range(300):
            before = events()
            c = stack.enter_context(Client(at))
            c.say(f"/flood {size}")
            until(lambda n=before: events() >= n + 2)  # type: ignore[misc]
            left = size
            while left > 0:
                data = c.socket.recv(65536)
                assert data
                left -= len(data)
        assert c.ask("/who") == "300"
