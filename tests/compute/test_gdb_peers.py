# SPDX-License-Identifier: BSD-2-Clause
"""Peers of the debugger's port that are no debuggers, or bad ones.

Whatever they do, the request goes on or ends as the program would have, and the
next one is as if they had not been.
"""

import random
import socket
import struct
import threading
import time
from typing import Any

import pytest

from kvmctl.engine.library import Engine, Program
from support.compiled import compiled
from support.debugged import Peer, Request

pytestmark = pytest.mark.kvm

_PROGRAM = r"""
#include "kvm_api.h"
#include <stdio.h>

static long sum;

__attribute__((noinline)) static void
work(long n)
{
	for (long i = 0; i < n; i++)
		sum += i;
}

static void
on_get(const char *url, const char *arg)
{
	char text[32];

	(void)arg;
	if (url[1] == 'b')
		sys_breakpoint();
	work(url[1] == 'b' ? 200000000 : 100);
	snprintf(text, sizeof text, "%ld", sum);
	respond_text(200, text);
}

int
main(void)
{
	set_backend_get(on_get);
	wait_for_requests();
}
"""
_SHORT, _LONG = "4950", "19999999900000000"

Log = list[Any]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled(tmp_path_factory.mktemp("peers"), "it", _PROGRAM)


@pytest.fixture
def program(engine: Engine, file: str) -> Program:
    program = engine.define("it", {
        "filename": file, "concurrency": 1, "allow_debug": True,
        "debug_wait": 15})
    program.start(debug=True)
    return program


def clean(program: Program) -> None:
    assert program.request().body == _SHORT.encode()


def reset(peer: Peer) -> None:
    """Ends the connection with RST instead of FIN."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                           struct.pack("ii", 1, 0))
    peer.socket.close()


#: What a debugger has said so far when its connection ends.
_STATES: list[tuple[str, list[str], bytes]] = [
    ("nothing", [], b""),
    ("half a packet", [], b"$qSupp"),
    ("half a sum", [], b"$?#3"),
    ("a question", ["?"], b""),
    ("an unread answer", [], b"$?#3f$g#67$qfThreadInfo#bb"),
    ("a breakpoint", ["Z0,%x,1"], b""),
    ("a step", ["?", "s", "s"], b""),
    ("a step under way", ["?"], b"$s#73"),
    ("a run", ["?"], b"$c#63"),
    ("a run to a breakpoint", ["Z0,%x,1"], b"$c#63"),
    ("an interrupt", ["?"], b"$c#63\x03"),
]


def address(file: str, symbol: str) -> int:
    from elftools.elf.elffile import ELFFile

    with open(file, "rb") as f:
        table = ELFFile(f).get_section_by_name(".symtab")
        found = table.get_symbol_by_name(symbol)[0]
        return int(found["st_value"])


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("packets, rest", [s[1:] for s in _STATES],
                         ids=[s[0] for s in _STATES])
def test_it_leaves(program: Program, log: Log, file: str, packets: list[str],
                   rest: bytes, end: str) -> None:
    at = address(file, "work")
    r = Request(program, log, "/b")
    with Peer(r.port()) as peer:
        for packet in packets:
            assert peer.ask(packet % at if "%" in packet else packet)
        peer.raw(rest)
        if end == "rst":
            reset(peer)
    if not packets:
        # No debugger, unless its packets came before its end: the next one.
        try:
            with Peer(r.port()) as peer:
                assert peer.ask("D") in ("OK", None)
        except OSError:
            assert b"#" in rest
    assert r.body == _LONG
    clean(program)


@pytest.mark.parametrize("garbage", [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5000,
    b"-" * 100000, b"$" * 1000000, b"#" * 1000000,
    b"$" + b"a" * 10000000, b"\x03" * 1000000, b"$?#00" * 100000,
    bytes(1000000)])
def test_garbage(program: Program, log: Log, garbage: bytes) -> None:
    """Kept away before it is a debugger, thrown out after."""
    r = Request(program, log, "/b")
    with Peer(r.port()) as peer:
        peer.raw(garbage)
        with Peer(r.port()) as debugger:
            peer.socket.close()
            assert debugger.ask("?") == "T05thread:1;"
            # Its own garbage costs it the connection, or it was too little.
            debugger.raw(garbage)
            debugger.send("D")
            debugger.ends()
    assert r.body == _LONG
    clean(program)


def test_one_who_says_nothing(program: Program, log: Log) -> None:
    """... keeps a debugger out for some seconds only."""
    r = Request(program, log, "/b")
    with Peer(r.port()), Peer(r.port()) as debugger:
        assert debugger.ask("D") == "OK"
    assert r.body == _LONG


def test_one_who_never_reads(program: Program, log: Log) -> None:
    r = Request(program, log, "/b")
    peer = Peer(r.port())
    assert peer.ask("?") == "T05thread:1;"
    peer.socket.settimeout(15)
    try:
        for _ in range(200000):
            peer.socket.sendall(b"$g#67" * 20)
    except OSError:
        pass
    peer.socket.close()
    assert r.body == _LONG


def test_random_packets(program: Program, log: Log, file: str) -> None:
    """Hostile words to a real machine: none may end the process."""
    rng = random.Random(1)
    at = address(file, "work")
    kinds = ["g", "?", f"m{at:x},40", f"Z0,{at:x},1", f"z0,{at:x},1",
             "qfThreadInfo", "s", "P7=ffffffffffffffff",
             "P10=00000000000000ff", "P11=ffffffff", "P38=ffffffff",
             "P3a=ffffffffffffff7f", "P3b=00000000000000f0", "M0,1:00",
             f"M{at - 1:x},2:cccc", f"M{0x7ffffeffe000:x},8:" + "00" * 8,
             "G" + "ff" * 560, "vCont;s:1", "Hg1", "qXfer:auxv:read::0,100"]
    for _ in range(30):
        r = Request(program, log, "/b")
        with Peer(r.port()) as peer:
            for _ in range(30):
                packet = rng.choice(kinds)
                if rng.random() < 0.2:
                    place = rng.randrange(len(packet) + 1)
                    packet = (packet[:place] + rng.choice("0f,:;=-Zqv}")
                              + packet[place + 1:])
                if peer.ask(packet) is None:
                    break
            peer.send(rng.choice(["k", "D", "c"]))
            if rng.random() < 0.5:
                peer.ends()
        r.ended()
        clean(program)


def test_connections_from_everywhere(program: Program, log: Log) -> None:
    r = Request(program, log, "/b")
    port = r.port()

    def knock() -> None:
        for _ in range(50):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return

    knockers = [threading.Thread(target=knock) for _ in range(4)]
    for k in knockers:
        k.start()
    end = time.monotonic() + 15
    answer = None
    while answer is None and time.monotonic() < end:
        try:
            with Peer(port) as peer:
                answer = peer.ask("D")
        except OSError:
            time.sleep(0.01)
    for k in knockers:
        k.join()
    assert answer == "OK"
    assert r.body == _LONG
    clean(program)
