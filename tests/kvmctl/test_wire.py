# SPDX-License-Identifier: BSD-2-Clause
"""What nodes and their programs say, whatever it is: read right, or words for it.

Whoever speaks may be another program, an older one, or one that is cut off; the
files of varnishd change while they are read.
"""

import contextlib
import http.client
import io
import json
import socket
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kvmctl.decimals import decimal
from kvmctl.dev.log import Reporter
from kvmctl.environment import Environment
from kvmctl.errors import ExitCode, VarnishError
from kvmctl.observe import log
from kvmctl.observe.prometheus import Figures
from kvmctl.trial.origin import Answer, Origin
from kvmctl.varnish import http as varnish_http
from kvmctl.varnish import reach, stats, vsm
from kvmctl.varnish.admin import Admin, Node, split_address
from kvmctl.varnish.http import Client
from kvmctl.varnish.reach import Local, Ssh, Stream
from support import origin as origins
from support.odd import changed, damaged

NODE = Node(title="here")


@given(st.text(max_size=30))
@example("\u00b2")
@example("1" * 5000)
@example("01")
def test_decimals(text: str) -> None:
    found = decimal(text)
    assert found is None or (text.isascii() and found == int(text) < 10**18)


@given(st.one_of(st.text(max_size=30), st.from_regex(
    r"(\[[0-9a-f:]*\]|[a-z.]*):[0-9\u00b2]{0,7}", fullmatch=True)))
@example("it:\u00b2")
def test_any_address(text: str) -> None:
    try:
        host, port = split_address(text)
        assert host and 0 <= port < 65536
    except VarnishError as e:
        assert text in str(e)


@pytest.mark.parametrize("host", ["a..b", "a" * 64, "", "\udcff", "a\0b"])
def test_hosts_that_cannot_be(kvmctl: Any, tmp_path: Path, host: str) -> None:
    """The name of a host has a form, which Python sees before it asks."""
    with pytest.raises(OSError):
        Local().connect(host, 65536 if not host else 1, 1)
    if "\0" in host or not host:
        return
    (tmp_path / "edge.toml").write_text('[site]\nname = "it"\n')
    for command in ("status", "plan", "deploy"):
        assert kvmctl(command, tmp_path / "edge.toml", "-T", f"{host}:1",
                      "--store", tmp_path) == ExitCode.VARNISH
        assert "cannot reach" in kvmctl.err


# -- varnishd ------------------------------------------------------------------

_INDEX = (b"# 12 1700000000\n+ _.Arg.1a 16 15 Arg -T\n+ _.Arg.2b 16 9 Arg -S\n"
          b"- _.Arg.1a\n+ _.Arg.1a 16 15 Arg -T\n")


@given(damaged(_INDEX), damaged(b"x" * 16 + b"127.0.0.1 6082\n\0"),
       damaged(b"x" * 16 + b"/a/secret\0"))
@example(_INDEX.replace(b"16 15", "16 \u00b2".encode()), b"", b"")
@example(_INDEX.replace(b"16 15", b"9" * 5000 + b" 1"), b"", b"")
@example(_INDEX, b"x" * 16 + "a \u00b2\n".encode(), b"")
def test_any_files_of_varnishd(index: bytes, where: bytes,
                               secret: bytes) -> None:
    class There:
        remote = False

        @staticmethod
        def read_all(*_: object) -> dict[str, bytes]:
            return {"_.index": index, "_.Arg.1a": where, "_.Arg.2b": secret}

    try:
        found = vsm.find(There(), "/it")    # type: ignore[arg-type]
        assert all(host and port >= 0 for host, port in found.addresses)
    except VarnishError as e:
        assert "/it" in str(e)


_LIST = [2, ["vcl.list", "-j"], 1.5,
         {"status": "available", "state": "auto", "temperature": "warm",
          "busy": 0, "name": "boot"},
         {"status": "active", "state": "label", "temperature": "warm",
          "busy": 0, "name": "l", "label": {"name": "boot", "refs": 0}}]


def _texts(sample: Any) -> st.SearchStrategy[str]:
    return st.one_of(
        changed(sample).map(json.dumps), st.just("[" * 100_000),
        damaged(json.dumps(sample).encode()).map(
            lambda it: it.decode(errors="replace")))


@given(_texts(_LIST))
def test_any_list_of_vcls(text: str) -> None:
    class Told(Admin):
        def command(self, *words: str, timeout: float | None = None) -> str:
            return text

    admin = Told(NODE)
    try:
        found = admin.listing()
        assert all(isinstance(v.name, str) for v in found.vcls)
    except VarnishError as e:
        assert "here" in str(e)
    admin.uses_labels("boot")
    admin.status()
    assert all(port >= 0 for _, port in admin.listen_addresses())


def test_a_word_that_is_no_utf_8(tmp_path: Path) -> None:
    """Names of files may hold anything; varnishd is told it as it is."""
    from kvmctl.varnish import protocol
    assert protocol.quoted("/x/\udcff") == '"/x/\\xff"'


_STATS = {"version": 1, "timestamp": "x", "counters": {
    f"TINYKVM.boot.it.{name}": {"description": "x", "flag": "c",
                                "format": "i", "value": 1}
    for name in ("invocations", "cpu_time", "forks", "program_exception")}}


@given(_texts(_STATS))
def test_any_counters(text: str) -> None:
    """Out of varnishstat, and on to Prometheus."""
    try:
        found = stats._by_program(stats._values(json.loads(text)))
    except (ValueError, TypeError, AttributeError, OverflowError,
            RecursionError):
        found = {}
    registry = CollectorRegistry()
    registry.register(Figures(lambda: [{
        "node": "a \"node\"\n\\", "programs": found, "varnish": {
            "MAIN.client_req": 7}}]))
    told = {(f.name, s.labels["program"]): s.value
            for f in text_string_to_metric_families(
                generate_latest(registry).decode())
            for s in f.samples if "program" in s.labels}
    assert len(told) <= sum(len(v) for p in found.values()
                            for v in p.values())
    for programs in found.values():
        for program, values in programs.items():
            if "forks" in values and len(found) == 1:
                assert told["tinykvm_forks", program] == values["forks"]


@pytest.mark.parametrize("text", [
    "", "[]", "{", '{"counters": 5}', '{"x": {"value": "many"}}',
    '{"x": {"value": 1e999}}', "[" * 100_000], ids=range(7))
def test_what_are_no_counters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                              text: str) -> None:
    (tmp_path / "it").write_bytes(text.encode() + b"\xff" * (text == "{"))
    monkeypatch.setattr(Local, "line", lambda *_: ["cat",
                                                   str(tmp_path / "it")])
    with pytest.raises(VarnishError, match="varnishstat of here"):
        stats.programs(NODE)


def test_any_directory_through_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, kind in (("_.index", tarfile.REGTYPE), (
                "_.Arg", tarfile.SYMTYPE), ("self", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, name
            member.size = 3 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"abc"))
    assert tarfile.BLOCKSIZE == 512

    @given(damaged(packed.getvalue()[:4 * 512]))
    @example(packed.getvalue())
    def any_directory(data: bytes) -> None:
        monkeypatch.setattr(Ssh, "run", lambda *_, **__: data)
        try:
            found = Ssh("it").read_all(Path("/x"), "*")
        except OSError:
            return
        assert sum(map(len, found.values())) <= len(data)
        if data == packed.getvalue():
            assert found == {"_.index": b"abc"}

    any_directory()


@pytest.mark.parametrize("script, words", [
    ("exec yes", "more than 1 MiB"), ("exec yes >&2", "more than 1 MiB"),
    ("exec sleep 60", "did not end"),
    ("exec sleep 60 >&- 2>&-", "did not end"),
    ("echo no >&2; exit 3", "no"), ("exit 3", "ended with 3")])
def test_a_node_that_does_not_end(monkeypatch: pytest.MonkeyPatch,
                                  tmp_path: Path, script: str,
                                  words: str) -> None:
    """Neither its words nor its silence are waited for."""
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("KVMCTL_SSH", str(program))
    monkeypatch.setattr(reach, "_MOST_BYTES", 1 << 20)
    monkeypatch.setattr(reach, "_RUN_SECONDS", 0.5)
    monkeypatch.setattr(stats, "_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(VarnishError, match=words):
        Ssh("it").run("cat", "it")
    with pytest.raises(VarnishError, match="it"):
        stats.programs(Node(title="it", ssh="it"))
    assert time.monotonic() - began < 20


def test_what_a_node_says_is_whole(monkeypatch: pytest.MonkeyPatch,
                                   tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\necho warning >&2\nexec cat\n")
    program.chmod(0o755)
    monkeypatch.setenv("KVMCTL_SSH", str(program))
    (tmp_path / "data").write_bytes(bytes(range(256)) * 4096)
    with (tmp_path / "data").open("rb") as source:
        assert Ssh("it").run("cat", source=source) == bytes(range(256)) * 4096


# -- HTTP ----------------------------------------------------------------------

class _Told:
    """A node that says these bytes to whoever connects, and hangs up."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def connect(self, *_: object) -> Stream:
        ours, theirs = socket.socketpair()
        theirs.sendall(self.data)
        theirs.shutdown(socket.SHUT_WR)
        self.theirs = theirs
        return Stream(ours)


_REPLY = (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kvmctl-Release: it-1\r\n"
          b"\r\nhello")
_CHUNKS = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"5\r\nhello\r\n0\r\n\r\n")


@given(st.sampled_from([_REPLY, _CHUNKS]).flatmap(damaged))
def test_any_reply(data: bytes) -> None:
    told = _Told(data)
    with Client(told, "x", 1) as client:    # type: ignore[arg-type]
        try:
            reply = client.ask("GET", "/", {"Host": "x"}, 5)
            assert len(reply.body) <= len(data) and reply.text is not None
        except OSError as e:
            assert str(e)
    told.theirs.close()


@pytest.mark.parametrize("url, host", [("/\u00fc", "x"), ("/", "a\nb"),
                                       ("/ x", "x"), ("/", "\u0100")])
def test_requests_that_cannot_be(url: str, host: str) -> None:
    told = _Told(_REPLY)
    client = Client(told, "x", 1)           # type: ignore[arg-type]
    with client, pytest.raises(OSError):
        client.ask("GET", url, {"Host": host}, 5)
    told.theirs.close()


def test_what_is_not_read_is_no_next_answer(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varnish_http, "_MOST_BYTES", 10)
    connections = set()

    def answer(it: BaseHTTPRequestHandler) -> None:
        connections.add(it.client_address)
        origins.body(b"0123456789" if it.path == "/short" else b"x" * 5000)(it)

    with origins.serving(answer) as url, Client(
            Local(), "127.0.0.1", int(url.rpartition(":")[2])) as client:
        for path in ("/short", "/long", "/short", "/short", "/long", "/long"):
            reply = client.ask("GET", path, {"Host": "x"}, 5)
            assert (reply.status, reply.body) == (
                200, b"0123456789" if path == "/short" else b"x" * 10)
    # Where all was read the connection is kept.
    assert len(connections) == 3


class _Trickling(_Told):
    """Says that, and goes on with a byte now and then."""

    def connect(self, *_: object) -> Stream:
        ours, self.theirs = socket.socketpair()
        self.theirs.sendall(self.data)
        threading.Thread(target=self._go_on, daemon=True).start()
        return Stream(ours)

    def _go_on(self) -> None:
        with contextlib.suppress(OSError), self.theirs:
            while self.theirs.send(b"x"):
                time.sleep(0.05)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n",
                                   b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_without_end(begin: bytes) -> None:
    """A stream of events, say: its probe ends when its time is over."""
    began = time.monotonic()
    client = Client(_Trickling(begin), "x", 1)  # type: ignore[arg-type]
    with client, pytest.raises(TimeoutError, match="no whole answer in 1 s"):
        client.ask("GET", "/", {}, 1)
    assert time.monotonic() - began < 10


# -- lines of the log ----------------------------------------------------------

_LOG = (b"*   << Request  >> 32770\n-   Begin          req 32769 rxreq\n"
        b"-   VCL_Log        kvmctl-program: it\n-   End\n"
        b"**  << BeReq    >> 32771\n--  VCL_Error      tinykvm: x\n--  End\n")


@given(damaged(_LOG))
@example(b"* << Request >> " + b"9" * 5000)
def test_any_log(data: bytes) -> None:
    rows = data.decode(errors="replace").splitlines(keepends=True)
    found = list(log.transactions(iter(rows)))
    assert len(found) <= len(rows)
    json.dumps([t.records for t in found])


@given(st.one_of(damaged(b"GET\t/x?y\t200\t13\t417\thit"),
                 st.lists(st.text(max_size=4), min_size=6, max_size=6).map(
                     lambda words: "\t".join(words).encode())))
@example("GET\t/\t\u00b2\t\u00b2\t\u00b2\tpass".encode())
@example(b"GET\t/\t200\t1\t" + b"1" * 5000 + b"\thit")
def test_any_line_while_serving(data: bytes) -> None:
    line, out = data.decode(errors="replace"), io.StringIO()
    for as_json in (False, True):
        out.seek(0)
        out.truncate()
        report = Reporter(Environment(out, io.StringIO(), io.BytesIO(),
                                      as_json))
        report.request(line)
        report.record("  5 VCL_Log  c " + line)
    for row in out.getvalue().splitlines():
        json.loads(row)


@pytest.mark.parametrize("word", ["nan", "inf", "-", "x"])
def test_times_that_are_none(word: str) -> None:
    rows = [f"it\t{word}\t-\tboot\n", "it\t0.5\t-\tboot\n"]
    watch = log.Watch.__new__(log.Watch)
    watch._guard, watch._seen = threading.Lock(), log.Latencies()

    class Process:
        stdout = iter(rows)

    watch._process = Process()              # type: ignore[assignment]
    watch._read()
    assert watch._seen.seconds == {("boot", "it"): [0.5]}


# -- an origin of a test, which programs ask -----------------------------------

@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin("it", [Answer(body=b"yes")]).serving() as it:
        yield it


@pytest.mark.parametrize("length", ["\u00b2", "9" * 15, "9" * 5000, "-1", "x"])
def test_any_length_that_a_program_says(
        origin: Origin, capfd: pytest.CaptureFixture[str],
        length: str) -> None:
    host, _, port = origin.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), 5) as asked:
        asked.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: "
                      + length.encode("latin-1") + b"\r\n\r\n")
        asked.shutdown(socket.SHUT_WR)
        reply = http.client.HTTPResponse(asked)
        reply.begin()
        assert reply.read() == b"yes"
    assert origin.take_asked() == ["POST /x"]
    with urllib.request.urlopen(origin.url, timeout=5) as answer:
        assert answer.read() == b"yes"
    assert "Traceback" not in capfd.readouterr().err
