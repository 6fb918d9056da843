# SPDX-License-Identifier: BSD-2-Clause
"""Servers that know nothing of us: as guests they answer what they answer as
ordinary processes."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from kvmctl.engine import Engine
from kvmctl.errors import GuestError
from support.compiled import compiled
from support.live import Live, running
from support.paths import SOURCES, guest
from support.port import free_port
from support.wait import until

pytestmark = [pytest.mark.kvm, pytest.mark.languages]

SERVERS = ("c-server", "go-server", "python-server")
servers = pytest.mark.parametrize("name", SERVERS)


@dataclass(frozen=True)
class Ask:
    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


ASKS = (
    Ask("GET", "/hello?name=world"),
    Ask("GET", "/headers", headers=(("X-Test-A", "one"), ("X-Test-B", "two"))),
    Ask("POST", "/digest", b"some words"),
    Ask("POST", "/digest", bytes(range(256)) * 1000),
    Ask("GET", "/long"),
    Ask("GET", "/no/such/page"),
)
#: What Varnish, or the server's clock, adds of its own.
_PASSING = {"date", "x-varnish", "age", "via", "connection", "accept-ranges",
            "transfer-encoding", "content-length", "keep-alive"}


def _listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def natively(name: str) -> Iterator[str]:
    """The same server as a process of this machine; its base URL."""
    port = free_port()
    where = str(port) if name == "c-server" else f"127.0.0.1:{port}"
    line = [str(guest(name)), where]
    if name == "python-server":
        line = ["/usr/bin/python3.11",
                str(SOURCES / name / "app" / "server.py"), where]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with running() as it:
        it.use_guests(SERVERS)
        yield it


def fields(answer: requests.Response) -> dict[str, str]:
    return {k.lower(): v for k, v in answer.headers.items()
            if k.lower() not in _PASSING}


@servers
def test_the_same_answers(name: str, live: Live) -> None:
    with natively(name) as base, requests.Session() as session:
        session.trust_env = False
        for ask in ASKS:
            headers = dict(ask.headers)
            want = session.request(ask.method, base + ask.path,
                                   data=ask.body, headers=headers, timeout=20)
            for _ in range(2):
                have = live.ask(f"/{name}{ask.path}", ask.method,
                                data=ask.body, headers=headers)
                assert (have.status_code, have.content) == \
                    (want.status_code, want.content), ask.path
                assert fields(have) == fields(want), ask.path


@servers
def test_a_thousand_connections(name: str, live: Live) -> None:
    before = live.program(name)
    for n in range(1000):
        answer = live.ask(f"/{name}/hello?name={n}")
        assert answer.status_code == 200, n
        assert answer.text.endswith(f", {n}!\n")
        if n == 250:
            early = live.program(name)
    late = live.program(name)
    assert late["invocations"] - before["invocations"] == 1000
    assert late["program_exception"] == 0 == late["program_timeout"]
    assert late["boots"] == 1 and late["forks"] == 1
    assert late["working_set_bytes"] <= early["working_set_bytes"] + (1 << 20)


def test_more_headers_than_there_is_room_for(live: Live) -> None:
    """Of the server in C: it keeps what fits."""
    headers = {f"X-Test-{n}": str(n) * 1000 for n in range(8)}
    answer = live.ask("/c-server/headers", headers=headers)
    assert answer.status_code == 202 and answer.headers["X-Count"] == "8"
    lines = [f"{name}: {value}" for name, value in headers.items()]
    assert answer.text.splitlines() == lines[:4]


def test_what_is_no_http(tmp_path: Any) -> None:
    """A server that speaks something else, closes, or never answers."""
    program = compiled(tmp_path, "odd", r"""
        #include <arpa/inet.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/socket.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            struct sockaddr_in sin = { .sin_family = AF_INET };
            char buf[4096];
            int s = socket(AF_INET, SOCK_STREAM, 0), c;
            sin.sin_port = htons(80);
            bind(s, (void *)&sin, sizeof sin);
            listen(s, 1);
            c = accept(s, NULL, NULL);
            read(c, buf, sizeof buf);
            if (strstr(buf, "/garbage"))
                write(c, "220 smtp ready\r\n", 16);
            if (strstr(buf, "/half"))
                write(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 43);
            if (strstr(buf, "/status"))
                write(c, "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 39);
            if (strstr(buf, "/never"))
                pause();
            if (strstr(buf, "/until-close"))
                write(c, "HTTP/1.0 200 OK\r\n\r\nall of it", 28);
            if (strstr(buf, "/continue"))
                write(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n",
                    46);
            close(c);
            return 0;
        }""", "-w")
    with Engine() as engine:
        odd = engine.define("odd", {"filename": program,
                                    "max_request_time": 0.5})
        for url, words in (("/garbage", "no HTTP/1"), ("/half", "complete"),
                           ("/close", "complete"), ("/status", "999"),
                           ("/never", "slept|ran longer|can change")):
            for _ in range(3):
                with pytest.raises(GuestError, match=words):
                    odd.request("GET", url)
        assert odd.request("GET", "/until-close").body == b"all of it"
        assert odd.request("GET", "/continue").status == 204
        with pytest.raises(GuestError, match="blanks"):
            odd.request("GET", "/a b")
