# SPDX-License-Identifier: BSD-2-Clause
"""Programs in many languages: their answers, and a thousand of them each."""

import ctypes
import gzip
import json
import socket
from typing import Any

import pytest

from kvmctl import schema
from kvmctl.engine import Engine
from support.child import Child
from support.live import Live
from support.paths import guest, settings

from .cases import _TEXT, AGENT, GUESTS, NO_UTF8, Ask, Guest

pytestmark = [pytest.mark.kvm, pytest.mark.languages]

guests = pytest.mark.parametrize("it", GUESTS, ids=lambda g: g.name)


def ask(program: Any, it: Ask) -> Any:
    return program.request(it.method, it.url, it.arg,
                           [f"User-Agent: {AGENT}"], it.data)


@guests
def test_answers(it: Guest) -> None:
    """Every request twice, in one fork: the second sees nothing of others."""
    words: list[str] = []
    with Engine(lambda _program, _kind, text: words.append(text)) as engine:
        program = engine.define(it.name, settings(it.name))
        program.start()
        for one in (*it.asks, *it.asks):
            words.clear()
            answer = ask(program, one)
            wrong = one.wrong(answer.status, answer.body)
            assert wrong is None, wrong + "\n" + "".join(words)
            for header in one.headers:
                assert header in answer.headers
            assert one.log in "".join(words)


@guests
def test_a_request_writes_few_pages(it: Guest) -> None:
    """A reset puts back all that was ever written: another program again."""
    with Engine(lambda _program, _kind, text: print(text)) as engine:
        program = engine.define(it.name, settings(it.name))
        program.start()
        for _ in range(20):
            answer = ask(program, it.asks[0])
        assert answer.pages_written <= it.pages


@guests
def test_a_thousand_requests(it: Guest, site: Live) -> None:
    """Right each, by one fork, in memory that does not grow."""
    one = it.asks[0]
    headers = {"User-Agent": AGENT, "X-Arg": one.arg}
    early: dict[str, int] = {}
    memory = 0
    for n in range(it.load):
        answer = site.ask(f"/{it.name}{one.url}", one.method, data=one.data,
                          headers=headers, stream=True)
        wrong = one.wrong(answer.status_code, answer.raw.read())
        assert wrong is None, f"request {n}: {wrong}"
        if n == it.load // 4:
            early = site.program(it.name)
            memory = Child(site.varnish.process_id).rss_kib
    late = site.program(it.name)
    assert late["invocations"] == it.load == late["resets"]
    assert late["forks"] == early["forks"] <= 1
    assert late["boots"] == 1 and late["program_exception"] == 0
    assert late["working_set_bytes"] <= early["working_set_bytes"] + 65536
    assert late["master_bytes"] == early["master_bytes"]
    # malloc's own, a page table here and there; not a leak per request.
    assert Child(site.varnish.process_id).rss_kib <= memory + 1024


def test_bytes_that_are_no_text(site: Live) -> None:
    """An URL that is no UTF-8 is what it was in Python's answer."""
    with Engine() as engine:
        answer = engine.define("it", settings("python-hello")).request(
            url=f"/url/{NO_UTF8}")
    assert (answer.status, answer.body) == (200, b"/url/\xff")
    with socket.create_connection(("127.0.0.1", site.varnish.port),
                                  timeout=20) as s:
        s.sendall(b"GET /python-hello/url/\xff HTTP/1.1\r\nHost: it\r\n"
                  b"Connection: close\r\n\r\n")
        with s.makefile("rb") as file:
            head, body = file.read().split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 ") and body == b"/url/\xff"
    assert b"\r\nX-Url: /url/\xff\r\n" in head + b"\r\n"


def test_headers_that_are_no_text() -> None:
    """Python's texts of them are their bytes in the answer, too."""
    agent = "Zo\u00eb \u20ac" + NO_UTF8
    with Engine() as engine:
        answer = engine.define("it", settings("python-hello")).request(
            headers=[f"User-Agent: {agent}"])
    assert answer.body == (f"Hello from Python! {agent}\n".encode(
        "utf-8", "surrogateescape"))


@pytest.mark.parametrize("name", ["python-hello", "python-wsgi", "wasm-hello"])
def test_without_a_reset(name: str) -> None:
    """An interpreter serves on in what it has: nothing is left on its stack."""
    one = next(g for g in GUESTS if g.name == name).asks[0]
    with Engine(lambda _program, _kind, text: print(text)) as engine:
        program = engine.define(name, settings(name, ephemeral=False))
        for _ in range(1500):
            answer = ask(program, one)
            wrong = one.wrong(answer.status, answer.body)
            assert wrong is None, wrong


def test_compressed_bodies_are_the_body(site: Live) -> None:
    def compressed(coding: str) -> bytes:
        answer = site.ask("/compress/", "POST", data=_TEXT, stream=True,
                          headers={"X-Arg": coding})
        assert answer.headers["Content-Encoding"] == coding
        data: bytes = answer.raw.read(decode_content=False)
        assert len(data) < len(_TEXT) / 4
        return data

    assert gzip.decompress(compressed("gzip")) == _TEXT
    out = ctypes.create_string_buffer(len(_TEXT) + 1)
    zstd = ctypes.CDLL("libzstd.so.1")
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    data = compressed("zstd")
    assert zstd.ZSTD_decompress(
        out, ctypes.c_size_t(len(out)), data,
        ctypes.c_size_t(len(data))) == len(_TEXT)
    assert out.raw[:len(_TEXT)] == _TEXT
    brotli = ctypes.CDLL("libbrotlidec.so.1")
    data, size = compressed("br"), ctypes.c_size_t(len(out))
    assert brotli.BrotliDecoderDecompress(
        ctypes.c_size_t(len(data)), data, ctypes.byref(size), out) == 1
    assert out.raw[:size.value] == _TEXT


@pytest.mark.parametrize("name", ["lua-hello", "luajit-hello", "quickjs-hello",
                                  "python-wsgi", "wasm-hello"])
def test_random_numbers_differ(name: str, site: Live) -> None:
    """A generator that was frozen with the program is seeded anew."""
    seen = {site.ask(f"/{name}/dice").text for _ in range(20)}
    assert len(seen) == 20


def test_every_language_is_asked() -> None:
    asked = {json.loads((guest(g.name).parent / f"{g.name}.json").read_text())[
        "language"] for g in GUESTS}
    assert asked == set(schema.compiled())
